#include "decode.h"

#include <assert.h>
#include <errno.h>
#include <libavcodec/avcodec.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MAX_UNIT_BYTES (64 << 20)
#define MAX_PIXELS     (8192 * 4352) /* a hostile header reserves no more: 8K, in whole blocks */
#define CHOSEN_THREADS 4
#define MAX_SILENT     16  /* access units without a picture: more than any reordering takes */
#define SILENT         100 /* added to the level of what libavcodec prints; one byte holds it */

_Static_assert(PC_DECODE_PADDING >= AV_INPUT_BUFFER_PADDING_SIZE, "libavcodec reads further");

struct pc_decoder {
    AVCodecContext *context;
    AVPacket *packet;
    AVFrame *frame;
    bool failed; /* by the last access unit */
    bool given;  /* a picture, since it */
    int silent;  /* access units since the last picture */
};

static int chosen_threads(void)
{
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    return cores < 1 ? 1 : cores > CHOSEN_THREADS ? CHOSEN_THREADS : (int)cores;
}

int pc_decoder_open(enum pc_codec_id codec, int threads, struct pc_decoder **out)
{
    if (codec != PC_H264 && codec != PC_VP8)
        return pc_fail(-EINVAL, "there is no codec %d", (int)codec);
    if (threads < 0 || threads > PC_DECODE_MAX_THREADS)
        return pc_fail(-EINVAL, "decode_threads is a number from 0 to %d, not %d",
                       PC_DECODE_MAX_THREADS, threads);
    const AVCodec *found =
        avcodec_find_decoder(codec == PC_H264 ? AV_CODEC_ID_H264 : AV_CODEC_ID_VP8);
    if (found == NULL)
        return pc_fail(-EOPNOTSUPP, "libavcodec has no decoder for %s",
                       codec == PC_H264 ? "H.264" : "VP8");

    struct pc_decoder *decoder = calloc(1, sizeof *decoder);
    if (decoder == NULL)
        return pc_fail(-ENOMEM, "out of memory");
    decoder->context = avcodec_alloc_context3(found);
    decoder->packet = av_packet_alloc();
    decoder->frame = av_frame_alloc();
    if (decoder->context == NULL || decoder->packet == NULL || decoder->frame == NULL) {
        pc_decoder_close(decoder);
        return pc_fail(-ENOMEM, "out of memory");
    }
    AVCodecContext *context = decoder->context;
    context->flags |= AV_CODEC_FLAG_LOW_DELAY;
    context->thread_type = FF_THREAD_SLICE;
    context->thread_count = threads != 0 ? threads : chosen_threads();
    context->max_pixels = MAX_PIXELS;
    context->log_level_offset = SILENT;
    if (avcodec_open2(context, found, NULL) < 0) {
        pc_decoder_close(decoder);
        return pc_fail(-ENOMEM, "libavcodec's decoder does not open");
    }
    *out = decoder;
    return 0;
}

void pc_decoder_close(struct pc_decoder *decoder)
{
    if (decoder == NULL)
        return;
    avcodec_free_context(&decoder->context);
    av_packet_free(&decoder->packet);
    av_frame_free(&decoder->frame);
    free(decoder);
}

int pc_decoder_decode(struct pc_decoder *decoder, const uint8_t *data, size_t size, int64_t tag)
{
    if (decoder->failed) {
        /* What a damaged stream left behind would come out late, and delay what follows it. */
        avcodec_flush_buffers(decoder->context);
        decoder->context->has_b_frames = 0;
        decoder->failed = false;
        decoder->silent = 0;
    }
    decoder->given = false;
    if (size == 0 || size > MAX_UNIT_BYTES)
        return -EBADMSG;
    AVPacket *packet = decoder->packet;
    packet->data = (uint8_t *)(uintptr_t)data; /* libavcodec copies what nobody counts */
    packet->size = (int)size;
    packet->pts = tag;
    int result = avcodec_send_packet(decoder->context, packet);
    packet->data = NULL;
    packet->size = 0;
    assert(result != AVERROR(EAGAIN)); /* pictures were left in it */
    decoder->failed = result < 0;
    return result == AVERROR(ENOMEM) ? -ENOMEM : result < 0 ? -EBADMSG : 0;
}

static bool is_accepted(const AVFrame *frame)
{
    return (frame->format == AV_PIX_FMT_YUV420P || frame->format == AV_PIX_FMT_YUVJ420P) &&
           frame->width > 0 && frame->width <= PC_DECODE_MAX_EDGE && frame->height > 0 &&
           frame->height <= PC_DECODE_MAX_EDGE;
}

static bool is_damaged(const AVFrame *frame)
{
    return (frame->flags & AV_FRAME_FLAG_CORRUPT) != 0 || frame->decode_error_flags != 0;
}

/* All pictures of an access unit are out. One that was damaged may have made libavcodec expect
 * pictures that come out of order, after which it gives out none at all: -EBADMSG. */
static int finish_unit(struct pc_decoder *decoder)
{
    decoder->silent = decoder->given ? 0 : decoder->silent + 1;
    if (decoder->silent <= MAX_SILENT || decoder->failed)
        return 0;
    decoder->failed = true;
    return -EBADMSG;
}

int pc_decoder_next(struct pc_decoder *decoder, struct pc_decoded *out)
{
    AVFrame *frame = decoder->frame;
    *out = (struct pc_decoded){.tag = -1};
    int result = avcodec_receive_frame(decoder->context, frame);
    if (result == AVERROR(EAGAIN) || result == AVERROR_EOF)
        return finish_unit(decoder);
    decoder->given = true;
    if (result == 0)
        out->tag = frame->pts;
    bool damaged = result < 0 || is_damaged(frame);
    decoder->failed = decoder->failed || damaged;
    int refused = damaged ? -EBADMSG : !is_accepted(frame) ? -EOPNOTSUPP : 0;
    AVFrame *held = refused == 0 ? av_frame_alloc() : NULL;
    if (held == NULL) {
        av_frame_unref(frame);
        return refused != 0 ? refused : -EBADMSG;
    }
    av_frame_move_ref(held, frame);
    out->held = held;
    out->width = held->width;
    out->height = held->height;
    for (int i = 0; i < 3; i++) {
        out->planes[i] = held->data[i];
        out->strides[i] = (size_t)held->linesize[i];
    }
    out->matrix = (int)held->colorspace;
    out->full_range = held->color_range == AVCOL_RANGE_JPEG || held->format == AV_PIX_FMT_YUVJ420P;
    return 1;
}

void pc_decoded_release(struct pc_decoded *picture)
{
    AVFrame *held = picture->held;
    av_frame_free(&held);
    memset(picture, 0, sizeof *picture);
}

size_t pc_decoded_bytes(const struct pc_decoded *picture)
{
    size_t width = (size_t)picture->width, height = (size_t)picture->height;
    return width * height + 2 * ((width + 1) / 2) * ((height + 1) / 2);
}

void pc_decoded_copy(const struct pc_decoded *picture, uint8_t *out)
{
    for (int plane = 0; plane < 3; plane++) {
        int shift = plane > 0;
        size_t width = ((size_t)picture->width + (size_t)shift) >> shift;
        size_t height = ((size_t)picture->height + (size_t)shift) >> shift;
        for (size_t row = 0; row < height; row++, out += width)
            memcpy(out, picture->planes[plane] + row * picture->strides[plane], width);
    }
}
