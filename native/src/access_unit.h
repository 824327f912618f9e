/* An access unit: one encoded frame, split into RTP payloads once, shared by every viewer.
 *
 * One producer (the stream: its media thread, or x264's slice threads one at a time under the
 * encoder's lock) appends payloads and publishes them; any number of consumers read the published
 * ones while the rest of the frame is still being encoded. A published payload never changes.
 *
 * Memory comes from a pool: fixed-size chunks on a free list, so that what a large frame took is
 * there for the next one, and the total is the peak, never the sum. */
#ifndef PC_ACCESS_UNIT_H
#define PC_ACCESS_UNIT_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "frame_clock.h"

/* RTP payload bytes per packet, so that even a FEC packet over a whole one is 1200 bytes of UDP
 * payload at most: RTP header (12), extensions (28), FlexFEC header (32), AEAD tag (16), TURN
 * channel header (4), RTX original sequence number (2) and the protected packet's own extensions
 * (28). */
#define PC_MAX_PAYLOAD    1080
#define PC_MAX_PAYLOADS   1536 /* an access unit larger than this is refused (about 1.7 MB) */
#define PC_AU_CHUNK_BYTES (64 * 1024)
#define PC_AU_MAX_CHUNKS  32

enum pc_codec { PC_CODEC_H264 = 0, PC_CODEC_VP8 = 1, PC_CODEC_COUNT = 2 };

struct pc_payload {
    const uint8_t *data;
    uint16_t size;
};

struct pc_au_pool;

struct pc_access_unit {
    atomic_uint refs;
    atomic_uint progress; /* payloads published << 1 | complete; release/acquire */
    struct pc_au_pool *pool;
    struct pc_frame
        *clock;          /* stage times of this frame; lives as long as the stream's frame clock */
    uint64_t frame_id;   /* counts from 0 per stream */
    uint32_t rtp_time;   /* 90 kHz, from the stream's zero; each peer adds its own offset */
    uint64_t capture_ns; /* the capture time that rtp_time stands for */
    enum pc_codec codec;
    bool idr;           /* decodable without any earlier frame */
    uint64_t reference; /* frame id that it refers to; its own when it is an IDR, or that is not
                           known (VP8) */
    /* producer's side */
    uint32_t count; /* payloads appended, published or not */
    uint32_t chunk_count;
    size_t chunk_used;  /* bytes used in the last chunk */
    size_t total_bytes; /* sum of payload sizes */
    uint8_t *chunks[PC_AU_MAX_CHUNKS];
    struct pc_access_unit *next_free;
    struct pc_payload payloads[PC_MAX_PAYLOADS];
};

/* Make a pool that can lend up to `max_units` access units at once. NULL when out of memory. */
struct pc_au_pool *pc_au_pool_create(unsigned max_units);

/* Give up the pool. It goes away when the last lent unit has come back. */
void pc_au_pool_release(struct pc_au_pool *pool);

/* Borrow an empty unit with one reference. NULL when all are lent or memory is out: the caller
 * skips the frame. */
struct pc_access_unit *pc_au_acquire(struct pc_au_pool *pool);

struct pc_access_unit *pc_au_ref(struct pc_access_unit *au);
void pc_au_unref(struct pc_access_unit *au);

/* Producer: room for one payload of up to `size` <= PC_MAX_PAYLOAD bytes, or NULL when the unit is
 * full. The room is valid until the next reserve. */
uint8_t *pc_au_reserve(struct pc_access_unit *au, size_t size);

/* Producer: the reserved room now holds a payload of `size` bytes (<= reserved). */
void pc_au_commit(struct pc_access_unit *au, size_t size);

/* Producer: show everything committed so far to the consumers. `complete` marks the last payload:
 * nothing may be appended afterwards. */
void pc_au_publish(struct pc_access_unit *au, bool complete);

/* Consumer: how many payloads can be read now; `*complete` says whether these are all. */
static inline uint32_t pc_au_ready(struct pc_access_unit *au, bool *complete)
{
    unsigned progress = atomic_load_explicit(&au->progress, memory_order_acquire);
    *complete = (progress & 1u) != 0;
    return progress >> 1;
}

/* Rebuild the codec's own byte stream from a complete unit: Annex B (start codes of four bytes) for
 * H.264, the frame for VP8. Returns the bytes written, or -ENOSPC when `capacity` is too small. */
long pc_au_bitstream(struct pc_access_unit *au, uint8_t *out, size_t capacity);

#endif
