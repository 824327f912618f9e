/* A sender for tests of what receives: frames of known bytes as RTP packets, H.264 or VP8. */
#ifndef PC_TEST_VIDEO_SENDER_H
#define PC_TEST_VIDEO_SENDER_H

#include <stdlib.h>

#include "harness.h"
#include "packetize.h"
#include "rtp.h"

#define VIDEO_SSRC        0x1234u
#define VIDEO_RTX_SSRC    0x1235u
#define VIDEO_PT          102
#define VIDEO_RTX_PT      103
#define VIDEO_CC_ID       3
#define VIDEO_MAX_PACKETS 256 /* of one frame */

struct video_packet {
    size_t size;
    uint16_t sequence;
    uint8_t data[1500];
};

struct video_frame {
    bool idr;
    int count;
    struct video_packet packets[VIDEO_MAX_PACKETS];
    size_t size; /* as it is to come out: Annex B, or the VP8 frame */
    uint8_t *data;
};

struct video_sender {
    struct pc_au_pool *pool;
    struct pc_h264_packetizer h264;
    struct pc_vp8_packetizer vp8;
    struct pc_rtp_extensions extensions;
    bool is_vp8;
    uint16_t sequence, rtx_sequence, transport_sequence;
    uint16_t frame_number, reference_diff; /* for descriptors: of the next frame, 0 = 1 */
    uint32_t timestamp;
    uint64_t random;
};

static inline void video_sender_init(struct video_sender *sender, uint16_t sequence)
{
    *sender = (struct video_sender){
        .pool = pc_au_pool_create(4),
        .extensions = {.transport_cc_id = VIDEO_CC_ID},
        .sequence = sequence,
        .random = 99,
    };
}

static inline void video_frame_free(struct video_frame *frame)
{
    free(frame->data);
    free(frame);
}

static inline void video_sender_free(struct video_sender *sender)
{
    pc_au_pool_release(sender->pool);
}

/* `in_frame`: the packet is the next one of this frame; NULL: of none. */
static inline void video_write(struct video_sender *sender, const struct video_frame *in_frame,
                               struct video_packet *packet, bool marker, uint8_t payload_type,
                               uint32_t ssrc, uint16_t sequence, const uint8_t *payload,
                               size_t size)
{
    const struct pc_rtp_fields fields = {
        .marker = marker,
        .payload_type = payload_type,
        .sequence = sequence,
        .timestamp = sender->timestamp,
        .ssrc = ssrc,
        .transport_sequence = sender->transport_sequence++,
        .in_frame = in_frame != NULL,
        .first_packet = in_frame != NULL && in_frame->count == 0,
        .frame_number = sender->frame_number,
        .reference_diff = in_frame != NULL && in_frame->idr ? 0 : sender->reference_diff,
    };
    size_t header = pc_rtp_write(packet->data, &fields, &sender->extensions, false);
    memcpy(packet->data + header, payload, size);
    packet->size = header + size;
    packet->sequence = sequence;
}

static inline void video_append_nal(struct video_sender *sender, struct pc_access_unit *au,
                                    struct video_frame *frame, uint8_t header, size_t size,
                                    bool last)
{
    uint8_t *nal = frame->data + frame->size + 4;
    memcpy(nal - 4, (const uint8_t[]){0, 0, 0, 1}, 4);
    for (size_t i = 0; i < size; i++)
        nal[i] = (uint8_t)harness_random(&sender->random);
    nal[0] = header;
    frame->size += 4 + size;
    pc_packetize_h264(&sender->h264, au, nal, size, last);
}

/* A frame of about `bytes`; the caller frees it. */
static inline struct video_frame *video_frame(struct video_sender *sender, bool idr, size_t bytes)
{
    struct video_frame *frame = calloc(1, sizeof *frame);
    frame->data = malloc(bytes + 200);
    struct pc_access_unit *au = pc_au_acquire(sender->pool);
    sender->timestamp += 1500;
    if (sender->is_vp8) {
        frame->size = bytes;
        for (size_t i = 0; i < bytes; i++)
            frame->data[i] = (uint8_t)harness_random(&sender->random);
        frame->data[0] = (uint8_t)((frame->data[0] & 0xFE) | !idr);
        pc_packetize_vp8(&sender->vp8, au, frame->data, bytes);
    } else {
        if (idr) {
            video_append_nal(sender, au, frame, 0x67, 20, false);
            video_append_nal(sender, au, frame, 0x68, 5, false);
        }
        video_append_nal(sender, au, frame, idr ? 0x65 : 0x41, bytes / 2, false);
        video_append_nal(sender, au, frame, idr ? 0x65 : 0x41, bytes - bytes / 2, true);
    }
    frame->idr = idr;
    if (sender->reference_diff == 0)
        sender->reference_diff = 1;
    for (uint32_t i = 0; i < au->count; i++, frame->count++)
        video_write(sender, frame, &frame->packets[i], i + 1 == au->count, VIDEO_PT, VIDEO_SSRC,
                    sender->sequence++, au->payloads[i].data, au->payloads[i].size);
    sender->frame_number++;
    sender->reference_diff = 1;
    pc_au_unref(au);
    return frame;
}

/* `packet` again, as RTX (RFC 4588). */
static inline void video_rtx(struct video_sender *sender, const struct video_packet *packet,
                             struct video_packet *out)
{
    struct pc_rtp_packet parsed;
    pc_rtp_parse(packet->data, packet->size, &parsed);
    uint8_t payload[1500] = {(uint8_t)(parsed.sequence >> 8), (uint8_t)parsed.sequence};
    memcpy(payload + 2, parsed.payload, parsed.payload_bytes);
    uint32_t now = sender->timestamp;
    sender->timestamp = parsed.timestamp;
    video_write(sender, NULL, out, parsed.marker, VIDEO_RTX_PT, VIDEO_RTX_SSRC,
                sender->rtx_sequence++, payload, parsed.payload_bytes + 2);
    sender->timestamp = now;
}

/* Padding alone, on the media's SSRC or RTX's. */
static inline void video_padding(struct video_sender *sender, bool rtx, struct video_packet *out)
{
    uint8_t padding[200] = {[199] = 200};
    video_write(sender, NULL, out, false, rtx ? VIDEO_RTX_PT : VIDEO_PT,
                rtx ? VIDEO_RTX_SSRC : VIDEO_SSRC,
                rtx ? sender->rtx_sequence++ : sender->sequence++, padding, sizeof padding);
    out->data[0] |= 0x20;
}

#endif
