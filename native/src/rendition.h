/* One encode of a stream: an encoder, the packetizer of its codec, and who receives the result.
 *
 * The encoder calls back from its own threads, one call at a time; the access unit is handed to the
 * hub with its first slice and grows while the hub sends it. For many receivers it is handed over
 * when it is complete. */
#ifndef PC_RENDITION_H
#define PC_RENDITION_H

#include "encode.h"
#include "feed.h"
#include "packetize.h"
#include "tap.h"

#define PC_RENDITION_UNITS                                                                         \
    256 /* access units that may exist: history of every peer, and queues                          \
         */

struct pc_hub;

struct pc_rendition {
    enum pc_codec codec;
    struct pc_hub *hub; /* NULL: taps only */
    struct pc_feed feed;
    struct pc_au_pool *pool;

    /* media thread */
    struct pc_encoder *encoder;          /* NULL until somebody receives */
    struct pc_encoder_settings settings; /* as the encoder has them */
    int slices;                          /* … for few receivers; for many as few as possible */
    union {
        struct pc_h264_packetizer h264;
        struct pc_vp8_packetizer vp8;
    } packetizer;
    struct pc_access_unit *au; /* being encoded */
    bool whole;     /* … goes to the hub when it is complete, not with its first slice */
    bool offered;   /* … was offered to the hub */
    bool broken;    /* … does not fit into an access unit, or did not reach the hub */
    bool force_idr; /* the receivers miss something: the next frame must stand alone */
    bool gap;       /* a picture was not encoded: its changes are unknown to the encoder */
    uint64_t last_idr_ns;
    uint64_t handed_over; /* id + 1 of the newest access unit that the hub was given */

    struct pc_tap_list taps;

    /* for pc_stream_get_stats() */
    _Atomic uint64_t encoded, encoded_bytes, idrs, overshoots;
    atomic_int quantiser;
};

/* 0 or -ENOMEM. `settings`' size, callback and context are filled in here later. */
int pc_rendition_init(struct pc_rendition *rendition, enum pc_codec codec, struct pc_hub *hub,
                      uint32_t stream_id, uint64_t epoch_ns, int stream_wake_fd,
                      const struct pc_encoder_settings *settings);

/* Ends the taps. The media thread has ended and the hub has let go of the feed. */
void pc_rendition_free(struct pc_rendition *rendition);

/* Make the encoder exist, for pictures of this size; a new size means a new encoder. 0, or
 * pc_encoder_open_*()'s error. */
int pc_rendition_prepare(struct pc_rendition *rendition, int width, int height);

/* Encode one picture and hand it to the receivers. -EAGAIN: no access unit was free, nothing was
 * encoded; -EIO: the encoder failed and was closed. */
int pc_rendition_encode(struct pc_rendition *rendition, const struct pc_picture *picture,
                        const struct pc_source_frame *frame, struct pc_frame *clock,
                        uint64_t frame_id, bool idr_allowed, uint64_t capture_ns);

/* Media thread: a receiver cannot use what was encoded last, or anything that refers to it. */
bool pc_rendition_is_broken(struct pc_rendition *rendition);

/* Media thread: an IDR is wanted, by a receiver or by ourselves. */
bool pc_rendition_wants_idr(struct pc_rendition *rendition);

/* Has the network taken the last frame for somebody at least? (Also true when there is none, or
 * nobody watches by network.) */
bool pc_rendition_drained(struct pc_rendition *rendition);

#endif
