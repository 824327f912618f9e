#include "rendition.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "clock.h"
#include "dependency_descriptor.h"
#include "hub.h"

int pc_rendition_init(struct pc_rendition *rendition, enum pc_codec codec, struct pc_hub *hub,
                      uint32_t stream_id, uint64_t epoch_ns, int stream_wake_fd,
                      const struct pc_encoder_settings *settings)
{
    memset(rendition, 0, sizeof *rendition);
    rendition->pool = pc_au_pool_create(PC_RENDITION_UNITS);
    if (rendition->pool == NULL)
        return -ENOMEM;
    rendition->codec = codec;
    rendition->hub = hub;
    rendition->settings = *settings;
    rendition->slices = settings->slices;
    pc_feed_init(&rendition->feed, codec, stream_id, epoch_ns, stream_wake_fd);
    pc_feed_set_rate(&rendition->feed, settings->bitrate, settings->fps);
    pc_tap_list_init(&rendition->taps);
    return 0;
}

void pc_rendition_free(struct pc_rendition *rendition)
{
    pc_tap_list_free(&rendition->taps);
    if (rendition->encoder != NULL)
        rendition->encoder->ops->close(rendition->encoder);
    pc_feed_free(&rendition->feed);
    pc_au_pool_release(rendition->pool);
}

static int packetize(struct pc_rendition *rendition, const uint8_t *data, size_t size, bool last)
{
    if (rendition->codec == PC_CODEC_H264)
        return pc_packetize_h264(&rendition->packetizer.h264, rendition->au, data, size, last);
    return pc_packetize_vp8(&rendition->packetizer.vp8, rendition->au, data, size);
}

/* Hand the access unit to the hub, or tell that it has grown. */
static void show_hub(struct pc_rendition *rendition)
{
    if (!rendition->offered) {
        rendition->offered = true;
        if (pc_feed_push(&rendition->feed, rendition->au))
            rendition->handed_over = rendition->au->frame_id + 1;
        else
            rendition->broken = true;
    }
    if (pc_feed_announce(&rendition->feed))
        pc_hub_wake(rendition->hub);
}

/* From the encoder's threads: a unit of the frame is ready. */
static void on_unit(void *context, const uint8_t *data, size_t size, bool last)
{
    struct pc_rendition *rendition = context;
    struct pc_access_unit *au = rendition->au;
    bool first = au->count == 0;
    int added = packetize(rendition, data, size, last);
    if (added < 0) {
        rendition->broken = true;
        return;
    }
    if (added == 0)
        return; /* parameter sets wait for the slice that follows */
    if (first && au->clock != NULL)
        pc_frame_mark(au->clock, PC_STAGE_FIRST_SLICE, pc_now_ns());
    if (rendition->hub != NULL && (!rendition->whole || last))
        show_hub(rendition);
}

/* Rate and slices of the encoder that exists. */
static int adjust(struct pc_rendition *rendition, int bitrate, int fps, int slices)
{
    struct pc_encoder *encoder = rendition->encoder;
    struct pc_encoder_settings *settings = &rendition->settings;
    int error = 0;
    if (settings->slices != slices && encoder->ops->set_slices != NULL)
        error = encoder->ops->set_slices(encoder, slices);
    settings->slices = slices;
    if (error == 0 && (settings->bitrate != bitrate || settings->fps != fps))
        error = encoder->ops->set_rate(encoder, bitrate, fps);
    settings->bitrate = bitrate;
    settings->fps = fps;
    return error;
}

int pc_rendition_prepare(struct pc_rendition *rendition, int width, int height)
{
    struct pc_encoder_settings *settings = &rendition->settings;
    int bitrate = atomic_load(&rendition->feed.bitrate), fps = atomic_load(&rendition->feed.fps);
    int slices = pc_feed_has_many(&rendition->feed) ? 1 : rendition->slices;
    bool resized = settings->width != width || settings->height != height;
    if (rendition->encoder != NULL && !resized)
        return adjust(rendition, bitrate, fps, slices);
    if (rendition->encoder != NULL)
        rendition->encoder->ops->close(rendition->encoder);
    rendition->encoder = NULL;
    settings->width = width;
    settings->height = height;
    settings->bitrate = bitrate;
    settings->fps = fps;
    settings->slices = slices;
    settings->on_unit = on_unit;
    settings->context = rendition;
    rendition->force_idr = true;
    if (rendition->codec == PC_CODEC_H264)
        memset(&rendition->packetizer, 0, sizeof rendition->packetizer);
    return rendition->codec == PC_CODEC_H264 ? pc_encoder_open_h264(settings, &rendition->encoder)
                                             : pc_encoder_open_vp8(settings, &rendition->encoder);
}

bool pc_rendition_is_broken(struct pc_rendition *rendition)
{
    return atomic_load(&rendition->feed.has_losses);
}

bool pc_rendition_wants_idr(struct pc_rendition *rendition)
{
    return rendition->force_idr || atomic_load(&rendition->feed.idr_wanted);
}

bool pc_rendition_drained(struct pc_rendition *rendition)
{
    struct pc_feed *feed = &rendition->feed;
    return atomic_load(&feed->receivers) <= pc_tap_list_count(&rendition->taps) ||
           atomic_load(&feed->drained) >= rendition->handed_over;
}

static void count(struct pc_rendition *rendition, const struct pc_encode_result *result)
{
    double share = rendition->settings.bitrate / 8.0 / rendition->settings.fps;
    atomic_fetch_add(&rendition->encoded, 1);
    atomic_fetch_add(&rendition->encoded_bytes, result->bytes);
    atomic_store(&rendition->quantiser, result->quantiser);
    if (result->idr)
        atomic_fetch_add(&rendition->idrs, 1);
    else if ((double)result->bytes > share * rendition->settings.budget_frames)
        atomic_fetch_add(&rendition->overshoots, 1);
}

/* Have the encoder refer to what all receivers hold; where it cannot, an IDR is wanted. */
static void follow_losses(struct pc_rendition *rendition)
{
    const struct pc_encoder *encoder = rendition->encoder;
    uint64_t first, last;
    if (!pc_feed_take_losses(&rendition->feed, &first, &last))
        return;
    if (encoder->ops->invalidate == NULL ||
        !encoder->ops->invalidate(rendition->encoder, first, last))
        pc_feed_request_idr(&rendition->feed);
}

/* What frame `id` refers to, if it is no IDR. False: it has to be one. */
static bool find_reference(const struct pc_rendition *rendition, uint64_t id, uint64_t *reference)
{
    const struct pc_encoder *encoder = rendition->encoder;
    *reference = id;
    if (encoder->ops->reference != NULL && !encoder->ops->reference(encoder, reference))
        return false;
    return id - *reference <= PC_DEPENDENCY_MAX_DIFF;
}

int pc_rendition_encode(struct pc_rendition *rendition, const struct pc_picture *picture,
                        const struct pc_source_frame *frame, struct pc_frame *clock,
                        uint64_t frame_id, bool idr_allowed, uint64_t capture_ns)
{
    assert(rendition->encoder != NULL);
    struct pc_access_unit *au = pc_au_acquire(rendition->pool);
    if (au == NULL) {
        rendition->gap = true;
        return -EAGAIN;
    }
    follow_losses(rendition);
    uint64_t reference;
    bool idr = (idr_allowed && pc_rendition_wants_idr(rendition)) ||
               !find_reference(rendition, frame_id, &reference);
    if (idr) {
        atomic_store(&rendition->feed.idr_wanted, false);
        rendition->force_idr = false;
        rendition->last_idr_ns = capture_ns;
    }
    au->clock = clock;
    au->frame_id = frame_id;
    au->capture_ns = capture_ns;
    au->rtp_time = (uint32_t)((capture_ns - rendition->feed.epoch_ns) * 9 / 100000);
    au->codec = rendition->codec;
    au->idr = idr;
    au->reference = idr ? frame_id : reference;
    rendition->au = au;
    rendition->broken = false;
    rendition->offered = false;
    rendition->whole = pc_feed_has_many(&rendition->feed);

    struct pc_encode_result result = {0};
    const struct pc_rect *changed = rendition->gap ? NULL : frame->rects;
    int error =
        rendition->encoder->ops->encode(rendition->encoder, frame_id, picture, changed,
                                        rendition->gap ? 0 : frame->rect_count, idr, &result);
    rendition->gap = error < 0 || result.skipped;
    if (error < 0) {
        rendition->encoder->ops->close(rendition->encoder);
        rendition->encoder = NULL;
        rendition->broken = true;
    } else if (!result.skipped) {
        count(rendition, &result);
    }
    bool complete;
    pc_au_ready(au, &complete);
    if (!complete && au->count > 0) {
        /* Whoever sends it must not wait for the rest for ever. */
        pc_au_publish(au, true);
        if (rendition->offered)
            show_hub(rendition);
    }
    if (rendition->broken)
        rendition->force_idr = true;
    else if (au->count > 0 && !pc_tap_list_push(&rendition->taps, au))
        pc_feed_request_idr(&rendition->feed);
    if (clock != NULL) {
        pc_frame_mark(clock, PC_STAGE_ENCODED, pc_now_ns());
        atomic_store_explicit(&clock->bytes, (uint32_t)result.bytes, memory_order_relaxed);
    }
    rendition->au = NULL;
    pc_au_unref(au);
    return error;
}
