/* A link's settings as text: `rate=10M delay=20ms loss=1%`, on command lines, on standard input and
 * in schedules.
 *
 *   rate=10M | none            capacity in bit/s on the wire (k, M, G)
 *   trace=FILE | none          capacity that changes (trace.h), in place of the rate
 *   delay=20ms                 propagation (us, ms, s)
 *   jitter=5ms                 uniform in delay ± jitter; jitter-reorders=yes: in any order
 *   loss=1%                    each packet by itself
 *   burst=2%x8 | none          in bursts: share of the packets, mean length (Gilbert-Elliott)
 *   reorder=1% reorder-by=10ms so many packets come so much later
 *   duplicate=1%
 *   queue=300ms | 200kB | none drop-tail, bounded in time or in bytes
 *   overhead=28                bytes on the wire that a packet has in addition
 *   down=yes | no              nothing gets through
 *
 * What is not named stays as it is. */
#ifndef PC_LINK_SETTINGS_H
#define PC_LINK_SETTINGS_H

#include "link.h"

#define PC_LINK_TEXT 256 /* bytes of a line of settings, at most */

/* Where traces are kept once they were read; each path is read once. Zero it before the first use.
 * They stay as long as the program. */
struct pc_trace_files {
    struct pc_trace_file {
        struct pc_trace_file *next;
        char path[PC_LINK_TEXT];
        struct pc_trace *trace;
    } * first;
};

/* Apply words of `text` to `settings`. False: `error` names the word and what it takes, and
 * `settings` are as before. */
bool pc_link_parse(const char *text, struct pc_link_settings *settings,
                   struct pc_trace_files *files, char *error, size_t error_size);

/* "20ms", "1.5s", "250us": nanoseconds. */
bool pc_link_parse_time(const char *text, uint64_t *ns);

/* Which direction a line is about. */
enum pc_link_way { PC_LINK_FORWARD = 1, PC_LINK_BACK = 2, PC_LINK_BOTH = 3 };

/* Changes to come: lines of `SECONDS forward|back|both SETTINGS`, times never falling. */
struct pc_link_schedule {
    struct pc_link_change {
        uint64_t at_ns;
        enum pc_link_way way;
        char text[PC_LINK_TEXT];
    } * changes;
    size_t count, next;
};

/* `forward|back|both SETTINGS`: where the settings begin, NULL when it is not that. */
const char *pc_link_parse_way(const char *line, enum pc_link_way *way);

/* Add a line of a schedule; its settings are checked. False: `error` says why. */
bool pc_link_schedule_add(struct pc_link_schedule *schedule, const char *line,
                          struct pc_trace_files *files, char *error, size_t error_size);

/* A whole file; the error has the line's number. */
bool pc_link_schedule_load(struct pc_link_schedule *schedule, const char *path,
                           struct pc_trace_files *files, char *error, size_t error_size);

/* When the next change is due, counted from the schedule's beginning; UINT64_MAX: none is left. */
uint64_t pc_link_schedule_next(const struct pc_link_schedule *schedule);

/* Apply to the links ([0] forward, [1] back) what is due `offset_ns` after the beginning. */
void pc_link_schedule_apply(struct pc_link_schedule *schedule, struct pc_link *const links[2],
                            struct pc_trace_files *files, uint64_t offset_ns, uint64_t now_ns);

/* Apply one checked line of settings to those of the links that `way` names. False as above. */
bool pc_link_apply(struct pc_link *const links[2], enum pc_link_way way, const char *text,
                   struct pc_trace_files *files, uint64_t now_ns, char *error, size_t error_size);

#endif
