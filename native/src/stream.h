/* A stream: one source, and one encode per codec that somebody receives, on one media thread.
 *
 *   wait for damage / slot / IDR wish ─▶ grab ─▶ convert ─▶ encode ─▶ packetize ─▶ feed, taps
 *
 * A frame starts only when the network has taken the last one: what would be late is never
 * encoded. */
#ifndef PC_STREAM_H
#define PC_STREAM_H

#include "rendition.h"

struct pc_stream;

/* The feed of one codec, if the stream was opened on this hub; NULL otherwise. */
struct pc_feed *pc_stream_feed(struct pc_stream *stream, const struct pc_hub *hub,
                               enum pc_codec_id codec);

/* The encode of one codec; NULL when there is no such codec. */
struct pc_rendition *pc_stream_rendition(struct pc_stream *stream, enum pc_codec_id codec);

#endif
