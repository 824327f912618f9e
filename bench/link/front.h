/* What the front ends that work in real time share: options, two links, changes from a schedule and
 * from standard input, the log, and waiting for what is due next.
 *
 *   --forward, --back, --both SETTINGS   settings.h; `both` first
 *   --schedule FILE                      changes to come: `SECONDS forward|back|both SETTINGS`
 *   --log FILE                           JSON lines, one an interval and direction
 *   --interval MS                        100
 *   --seed N                             1
 *
 * A line on standard input, `forward|back|both SETTINGS`, changes the link at once: `ok` or
 * `error …` is the answer. Its end is no reason to stop. `zero` makes this moment time 0 of
 * schedule and log. */
#ifndef BENCH_FRONT_H
#define BENCH_FRONT_H

#include <poll.h>
#include <stdint.h>
#include <stdio.h>

#include "settings.h"

#define FRONT_BATCH  64
#define FRONT_PACKET 65536
#define FRONT_KINDS  3 /* of traffic, told apart in the log */

struct front_interval {
    struct pc_link_stats before;
    double delivered_bytes[FRONT_KINDS];
    uint32_t *waits_us; /* of kind 0 */
    size_t wait_count, wait_room;
};

struct front {
    struct pc_link *links[2]; /* forward, back */
    struct pc_link_schedule schedule;
    struct pc_trace_files traces;
    uint64_t zero_ns, interval_ns, next_log_ns;
    FILE *log;
    const char *const *kinds;
    struct front_interval intervals[2];
    bool input_open;
    size_t input_size;
    char input[PC_LINK_TEXT + 16];
};

/* From the program's options; fails it when they make no sense. `overhead_bytes` is the links'
 * unless they say otherwise; `kinds` are the FRONT_KINDS names in the log. */
void front_begin(struct front *front, int argc, char **argv, uint32_t overhead_bytes,
                 const char *const *kinds);

/* Wait until a descriptor is ready or something is due, and do what is due of the schedule and the
 * log. The first of `fds` is left to the front. */
void front_wait(struct front *front, struct pollfd *fds, nfds_t count);

/* Obey what was said on standard input. Last, after the packets: what was sent before a change is
 * treated as before the change. */
void front_obey(struct front *front, const struct pollfd *fds);

/* A packet has come out of links[way]: for the log. */
void front_count(struct front *front, int way, int kind, const struct pc_link_packet *packet,
                 size_t wire_bytes);

/* One JSON object to standard output: what the links did. */
void front_end(struct front *front);

#endif
