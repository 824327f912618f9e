/* What the files of the jitter buffer share: jitter.c puts frames together, jitter_frames.c gives
 * them out and lets them go. */
#ifndef PC_JITTER_STATE_H
#define PC_JITTER_STATE_H

#include "jitter.h"
#include "quickest_way.h"

struct pc_jitter_slot {
    bool here;
    bool padding, begins, ends, idr, recovered;
    /* What is known of the way from its frame's first packet to here. Padding repeats what is known
     * at the packet before it, once that is `anchored`. */
    bool anchored, continuous;
    uint8_t descriptor_bytes;
    uint16_t payload_bytes;
    uint32_t timestamp;
    int64_t sequence;
    int64_t first;
    uint64_t arrived_ns;
    uint8_t *memory; /* payload, then descriptor */
};

struct pc_jitter {
    bool started;
    bool synchronised; /* the frame before `next` was given out */
    int64_t next;      /* what is before was given out or let go */
    bool at_frame;     /* … and `next` begins a frame, or is padding before one */
    int64_t end;       /* after the last packet that came */
    struct pc_frame_references references;
    struct pc_quickest_way way;
    uint64_t target_ns;

    bool idr_seen;
    uint32_t idr_timestamp;
    uint64_t idr_seen_ns;
    uint64_t dropped;

    int taken; /* index of the frame that was taken, -1 = none */
    int frame_count;
    struct pc_jitter_frame frames[PC_JITTER_FRAMES]; /* whole, in order of sequence */

    int free_count;
    uint8_t *free_memory[PC_JITTER_PACKETS];
    struct pc_jitter_slot slots[PC_JITTER_PACKETS];
};

static inline struct pc_jitter_slot *pc_jitter_slot_at(struct pc_jitter *jitter, int64_t sequence)
{
    return &jitter->slots[(uint64_t)sequence % PC_JITTER_PACKETS];
}

/* NULL when the packet is not here. */
static inline struct pc_jitter_slot *pc_jitter_find(struct pc_jitter *jitter, int64_t sequence)
{
    struct pc_jitter_slot *slot = pc_jitter_slot_at(jitter, sequence);
    return slot->here && slot->sequence == sequence ? slot : NULL;
}

/* Let go of what is in the slot. */
void pc_jitter_empty(struct pc_jitter *jitter, struct pc_jitter_slot *slot);

/* Everything before `next` goes. The frames of which something was here count as dropped, but for
 * the one from `given` on. */
void pc_jitter_advance(struct pc_jitter *jitter, int64_t next, int64_t given);

/* Padding at `next` goes. What is behind it begins a frame if the padding did. */
void pc_jitter_skip_padding(struct pc_jitter *jitter);

/* The first whole frame that can be decoded; -1: none. */
int pc_jitter_first_decodable(const struct pc_jitter *jitter);

#endif
