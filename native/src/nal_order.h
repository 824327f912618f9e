/* Slices leave x264's threads in any order; here they are handed on in decoding order, each at the
 * first moment at which all before it have been handed on.
 *
 * One frame at a time: begin, then per NAL unit, from any thread, claim room and submit what was
 * written there. Units are passed on under the lock, so that calls of `on_unit` never overlap; a
 * slice that is early stays in its slot. */
#ifndef PC_NAL_ORDER_H
#define PC_NAL_ORDER_H

#include <pthread.h>

#include "encode.h"

#define PC_NAL_SLOTS 32 /* NAL units of a frame that can be written or waiting at once */

struct pc_nal_slot {
    uint8_t *memory; /* kept from frame to frame, grown as needed */
    size_t capacity;
    const uint8_t *data; /* the NAL unit, within `memory` */
    size_t size;
    int first_mb, last_mb;
    enum { PC_NAL_FREE, PC_NAL_CLAIMED, PC_NAL_WAITING } state;
};

struct pc_nal_order {
    pthread_mutex_t lock;
    pc_unit_fn on_unit;
    void *context;
    int mb_count; /* macroblocks of a frame */
    int next_mb;  /* the first macroblock that was not handed on yet */
    size_t bytes; /* handed on in this frame */
    bool failed;  /* out of memory or slots: this frame is not complete */
    struct pc_nal_slot slots[PC_NAL_SLOTS];
};

void pc_nal_order_init(struct pc_nal_order *order, int mb_count, pc_unit_fn on_unit, void *context);
void pc_nal_order_free(struct pc_nal_order *order);

/* Start a frame; forgets what was left of the last one. No other call may run meanwhile. */
void pc_nal_order_begin(struct pc_nal_order *order);

/* Room of `bytes` for one NAL unit, or NULL when memory or slots are out: the frame has failed. */
struct pc_nal_slot *pc_nal_order_claim(struct pc_nal_order *order, size_t bytes);

/* The slot holds the slice of macroblocks `first_mb` to `last_mb` at `data`; or, with `last_mb` -1,
 * a NAL unit that is no slice and goes out at once. */
void pc_nal_order_submit(struct pc_nal_order *order, struct pc_nal_slot *slot, const uint8_t *data,
                         size_t size, int first_mb, int last_mb);

/* All macroblocks were handed on. To be asked when no other call runs. */
bool pc_nal_order_complete(const struct pc_nal_order *order);

#endif
