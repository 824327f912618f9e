/* Frames put together from packets that come in any order, taken out in decoding order. Pure: time
 * is an argument.
 *
 * A frame is its packets from the first to the one with the marker. Which one is the first is known
 * when the packet before it is there and ends a frame, or when the payload or the Dependency
 * Descriptor says so. Padding belongs to no frame, wherever it is.
 *
 * A whole frame is given out when everything that it refers to was: it follows directly on the last
 * one given out, or it is an IDR, or its descriptor names what it needs. What is before a frame
 * that was given out is let go, and is too late when it comes. */
#ifndef PC_JITTER_H
#define PC_JITTER_H

#include "frame_references.h"

#define PC_JITTER_PACKETS 4096 /* power of two: more than half a second at 60 Mbit/s */
#define PC_JITTER_FRAMES  256  /* whole ones that wait */
#define PC_JITTER_BYTES   1536 /* payload and descriptor of one packet */

struct pc_jitter_packet {
    int64_t sequence; /* extended */
    uint32_t timestamp;
    bool marker;
    bool begins, idr; /* as its payload says */
    bool recovered;   /* came by FEC or retransmission */
    uint64_t arrived_ns;
    const uint8_t *payload; /* no bytes: padding */
    size_t payload_bytes;
    const uint8_t *descriptor; /* Dependency Descriptor */
    size_t descriptor_bytes;   /* 0 = none */
};

struct pc_jitter_frame {
    int64_t first, last; /* packets */
    uint32_t timestamp;
    uint16_t packets; /* padding not counted */
    bool idr, recovered;
    bool described; /* the descriptor is here, and its structure was known */
    bool alone;     /* it refers to no other frame */
    uint64_t first_packet_ns, complete_ns;
    uint64_t quickest_ns; /* when the quickest way would have brought it */
    struct pc_dependency_descriptor descriptor;
};

struct pc_jitter;

/* `target_ns`: a frame is given out not sooner than so after the quickest one's way; 0 = at once.
 * NULL when out of memory. */
struct pc_jitter *pc_jitter_create(uint64_t target_ns);
void pc_jitter_destroy(struct pc_jitter *jitter);

void pc_jitter_set_target(struct pc_jitter *jitter, uint64_t target_ns);

/* Forget all packets and what was given out. */
void pc_jitter_reset(struct pc_jitter *jitter);

/* A packet came, for the first time; copied. 0; -EALREADY: too late, or it is there already;
 * -EMSGSIZE: larger than any path carries; -ENOMEM; -ENOSPC: take first what only waits for its
 * time. One that is far ahead pushes out the oldest. */
int pc_jitter_insert(struct pc_jitter *jitter, const struct pc_jitter_packet *packet);

/* The next frame that can be decoded and is due, or NULL. Valid until pc_jitter_release(), which
 * must follow. */
const struct pc_jitter_frame *pc_jitter_take(struct pc_jitter *jitter, uint64_t now_ns);

/* The payload of packet `sequence` of the frame that was taken; NULL for padding. */
const uint8_t *pc_jitter_payload(const struct pc_jitter *jitter, int64_t sequence, size_t *size);

/* Let go of the frame that was taken, and of everything before it. `used`: it was given out; else
 * it was not what it seemed, and what refers to it cannot be decoded. */
void pc_jitter_release(struct pc_jitter *jitter, bool used);

/* When a frame is due that only waits for its time; UINT64_MAX: none. */
uint64_t pc_jitter_due(const struct pc_jitter *jitter);

/* The first sequence number that is still of use. */
int64_t pc_jitter_next(const struct pc_jitter *jitter);

/* Nothing can be decoded but an IDR, or a frame whose descriptor says so. */
bool pc_jitter_lost(const struct pc_jitter *jitter);

/* Since when the oldest whole frame waits for one that it refers to; UINT64_MAX: none does. */
uint64_t pc_jitter_blocked_since(const struct pc_jitter *jitter);

/* When the last packet of an IDR came that was not given out yet; 0: none. */
uint64_t pc_jitter_idr_seen(const struct pc_jitter *jitter);

/* Frames of which something had come, and that were not given out. */
uint64_t pc_jitter_dropped(const struct pc_jitter *jitter);

#endif
