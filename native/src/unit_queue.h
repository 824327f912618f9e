/* Received access units that wait for a reader, a bounded few: shared, counted copies. A reader
 * that falls behind goes on at an IDR. Not thread-safe but for the references. */
#ifndef PC_UNIT_QUEUE_H
#define PC_UNIT_QUEUE_H

#include <stdatomic.h>

#include "receiver.h"

struct pc_held_unit {
    atomic_uint refs;
    uint64_t id;
    uint32_t rtp_time;
    bool idr, recovered;
    uint64_t first_packet_ns, complete_ns;
    uint64_t queued_ns;
    size_t size;
    uint8_t data[]; /* with PC_DECODE_PADDING zero bytes behind */
};

/* A copy with one reference, or NULL when out of memory. */
struct pc_held_unit *pc_held_unit_create(const struct pc_received_unit *unit, uint64_t id,
                                         uint64_t now_ns);
struct pc_held_unit *pc_held_unit_ref(struct pc_held_unit *unit);
void pc_held_unit_unref(struct pc_held_unit *unit); /* NULL is fine */

struct pc_unit_queue {
    struct pc_held_unit **units;
    unsigned capacity, head, length;
    size_t bytes;
    bool waiting_for_idr; /* at first, and after dropping */
};

/* False when out of memory. */
bool pc_unit_queue_init(struct pc_unit_queue *queue, unsigned capacity);
void pc_unit_queue_free(struct pc_unit_queue *queue);

/* Takes a reference: true. False when an IDR is awaited that this is not. There must be room. */
bool pc_unit_queue_push(struct pc_unit_queue *queue, struct pc_held_unit *unit);

/* The oldest, or NULL; the caller owns the reference. */
struct pc_held_unit *pc_unit_queue_pop(struct pc_unit_queue *queue);

/* The oldest one stays queued. NULL when there is none. */
const struct pc_held_unit *pc_unit_queue_oldest(const struct pc_unit_queue *queue);

/* The reader cannot go on with what is queued: as pc_unit_queue_pop(), but NULL as soon as the
 * oldest is an IDR, and when nothing is left an IDR is awaited. Call it until it returns NULL. */
struct pc_held_unit *pc_unit_queue_drop(struct pc_unit_queue *queue);

#endif
