/* A stream: one source, and the encodes that somebody receives, on one media thread: up to three of
 * H.264 (ladder.h), one of VP8.
 *
 *   wait for damage / slot / IDR wish ─▶ grab ─▶ convert ─▶ (scale) ─▶ encode ─▶ packetize ─▶ feed,
 *                                                                                          taps
 *
 * stream.c is what other threads call, stream_media.c the media thread, stream_schedule.c its
 * decision when a frame is taken. */
#ifndef PC_STREAM_H
#define PC_STREAM_H

#include "rendition.h"
#include "rungs.h"
#include "stream_schedule.h"

struct pc_stream {
    uint32_t id;
    struct pc_hub *hub; /* NULL: taps only */
    struct pc_source *source;
    struct pc_stream_settings settings; /* as opened */
    pthread_t thread;
    int wake_fd; /* eventfd: something that the schedule depends on has changed */
    atomic_bool stopping;
    struct pc_frame_clock clock;
    struct pc_rungs rungs[PC_CODEC_COUNT]; /* the feeds of the renditions, by codec */
    struct pc_rendition renditions[PC_STREAM_ENCODES];

    /* media thread */
    struct pc_picture picture;
    struct pc_picture scaled[PC_STREAM_ENCODES]; /* for encodes of fewer pixels */
    struct pc_schedule schedule;
    bool lost, failed; /* the display went away; the encoder failed for good */
    bool damaged;      /* the picture has changed since the last grab */
    uint64_t damage_ns;
    uint64_t last_area_ns; /* when the last area of this grab had arrived; 0 = none came early */
    uint64_t next_id;

    atomic_int width, height;
    _Atomic uint64_t captured, skipped, late; /* for pc_stream_get_stats() */
};

/* The media thread, until `stopping`. `context`: the stream. */
void *pc_stream_run(void *context);

/* The feed of a codec's first rung, if the stream was opened on this hub; NULL otherwise. */
struct pc_feed *pc_stream_feed(struct pc_stream *stream, const struct pc_hub *hub,
                               enum pc_codec_id codec);

/* The encode of a codec's first rung; NULL when there is no such codec. */
struct pc_rendition *pc_stream_rendition(struct pc_stream *stream, enum pc_codec_id codec);

#endif
