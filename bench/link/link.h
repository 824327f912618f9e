/* One direction of an emulated network path. Pure: time is an argument; no clock, no thread, no
 * I/O. The same settings, seed and calls give the same packets at the same nanoseconds.
 *
 *     pc_link_send ─▶ drop-tail queue ─▶ rate or trace ─▶ loss ─▶ delay, jitter ─▶ pc_link_receive
 *
 * A packet that is lost has used its share of the rate, as one that is lost on the air has. What is
 * queued is served at the rate of the moment: a change applies to it as well. */
#ifndef PC_LINK_H
#define PC_LINK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "trace.h"

/* All zero is a path without limits, delay and loss. */
struct pc_link_settings {
    double rate_bps; /* of bytes on the wire; 0 = unlimited */
    const struct pc_trace
        *trace;              /* instead of rate_bps when not NULL; borrowed, must outlive its use */
    uint32_t overhead_bytes; /* added to every packet on the wire: 28 for IPv4 and UDP */

    uint64_t queue_ns; /* a packet that would wait longer is dropped; 0 = no such bound */
    uint64_t
        queue_bytes; /* a packet that would make the queue longer is dropped; 0 = no such bound */

    uint64_t delay_ns;    /* propagation */
    uint64_t jitter_ns;   /* uniform in delay ± jitter, never below 0 */
    bool jitter_reorders; /* otherwise a packet also waits for those before it */

    double loss;        /* 0..1, each packet by itself */
    double burst_enter; /* Gilbert-Elliott: 0..1 a packet, good to bad state; 0 = never bad */
    double burst_leave; /* 0..1 a packet, bad to good */
    double burst_loss;  /* 0..1, in the bad state (`loss` is that of the good one) */

    double reorder; /* 0..1: such a packet arrives reorder_ns later, and none waits for it */
    uint64_t reorder_ns;
    double duplicate; /* 0..1: such a packet arrives twice */

    bool down; /* nothing that leaves the queue gets through; what is on its way arrives */
};

/* Gilbert-Elliott from what one measures: the share of packets lost (0..1, below 1) in bursts of
 * `length` (>= 1) packets on average, all packets of a burst being lost. A share of 0 switches it
 * off. */
void pc_link_set_bursts(struct pc_link_settings *settings, double share, double length);

struct pc_link_packet {
    const uint8_t *data; /* NULL when it was sent without */
    size_t size;         /* as sent, without overhead */
    uint64_t id;
    uint64_t sent_ns;
    uint64_t queued_ns;  /* how long it waited before its transmission began */
    uint64_t arrived_ns; /* when it came out: not after the `now_ns` of the call */
    bool repeated;       /* the second of two */
};

struct pc_link_stats {
    uint64_t sent, sent_bytes;           /* bytes on the wire, here and below */
    uint64_t delivered, delivered_bytes; /* without what is delivered again */
    uint64_t dropped;                    /* the queue was full */
    uint64_t lost;                       /* random and in bursts, and while down */
    uint64_t reordered, duplicated;
};

struct pc_link;

/* NULL when out of memory. */
struct pc_link *pc_link_create(const struct pc_link_settings *settings, uint64_t seed,
                               uint64_t now_ns);
void pc_link_destroy(struct pc_link *link);

/* From now on. A trace that was not in use before begins at `now_ns`. */
void pc_link_change(struct pc_link *link, const struct pc_link_settings *settings, uint64_t now_ns);
const struct pc_link_settings *pc_link_settings(const struct pc_link *link);

/* Copies `size` bytes of `data`; with data NULL the packet is a size and an id. False: the queue is
 * full (or memory is), the packet is gone. Time never goes back: a `now_ns` before that of an
 * earlier call counts as that one. */
bool pc_link_send(struct pc_link *link, uint64_t now_ns, uint64_t id, const void *data,
                  size_t size);

/* When to call pc_link_receive() again unless something is sent or changed before; then there may
 * be a packet, or not yet. UINT64_MAX: nothing is on its way. */
uint64_t pc_link_next(const struct pc_link *link);

/* The next packet that has come out by `now_ns`, in order of arrival; valid until the next call of
 * any function here. False: none. */
bool pc_link_receive(struct pc_link *link, uint64_t now_ns, struct pc_link_packet *out);

/* How long a packet sent now would wait; at the trace's mean rate when it is
 * one of deliveries or has no rate at the moment. */
uint64_t pc_link_queue_ns(struct pc_link *link, uint64_t now_ns);
uint64_t pc_link_queue_bytes(struct pc_link *link, uint64_t now_ns);

/* Bits a second at this moment: HUGE_VAL without a limit, a delivery trace's mean. */
double pc_link_rate_bps(const struct pc_link *link, uint64_t now_ns);

void pc_link_get_stats(const struct pc_link *link, struct pc_link_stats *out);

#endif
