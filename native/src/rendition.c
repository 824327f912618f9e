#include "rendition.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "clock.h"
#include "hub.h"
#include "tap.h"

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
    pc_feed_init(&rendition->feed, codec, stream_id, epoch_ns, stream_wake_fd);
    atomic_store(&rendition->feed.bitrate, settings->bitrate);
    atomic_store(&rendition->feed.fps, settings->fps);
    pthread_mutex_init(&rendition->tap_lock, NULL);
    return 0;
}

void pc_rendition_free(struct pc_rendition *rendition)
{
    pthread_mutex_lock(&rendition->tap_lock);
    for (int i = 0; i < rendition->tap_count; i++)
        pc_tap_end(rendition->taps[i]);
    rendition->tap_count = 0;
    pthread_mutex_unlock(&rendition->tap_lock);
    if (rendition->encoder != NULL)
        rendition->encoder->ops->close(rendition->encoder);
    pc_feed_free(&rendition->feed);
    pc_au_pool_release(rendition->pool);
    pthread_mutex_destroy(&rendition->tap_lock);
}

static int packetize(struct pc_rendition *rendition, const uint8_t *data, size_t size, bool last)
{
    if (rendition->codec == PC_CODEC_H264)
        return pc_packetize_h264(&rendition->packetizer.h264, rendition->au, data, size, last);
    return pc_packetize_vp8(&rendition->packetizer.vp8, rendition->au, data, size);
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
    if (first) {
        if (au->clock != NULL)
            pc_frame_mark(au->clock, PC_STAGE_FIRST_SLICE, pc_now_ns());
        if (rendition->hub != NULL && pc_feed_push(&rendition->feed, au))
            rendition->handed_over = au->frame_id + 1;
        else if (rendition->hub != NULL)
            rendition->broken = true;
    }
    if (rendition->hub != NULL)
        pc_hub_wake(rendition->hub);
}

int pc_rendition_prepare(struct pc_rendition *rendition, int width, int height)
{
    struct pc_encoder_settings *settings = &rendition->settings;
    int bitrate = atomic_load(&rendition->feed.bitrate), fps = atomic_load(&rendition->feed.fps);
    bool resized = settings->width != width || settings->height != height;
    if (rendition->encoder != NULL && !resized) {
        if (settings->bitrate == bitrate && settings->fps == fps)
            return 0;
        settings->bitrate = bitrate;
        settings->fps = fps;
        return rendition->encoder->ops->set_rate(rendition->encoder, bitrate, fps);
    }
    if (rendition->encoder != NULL)
        rendition->encoder->ops->close(rendition->encoder);
    rendition->encoder = NULL;
    settings->width = width;
    settings->height = height;
    settings->bitrate = bitrate;
    settings->fps = fps;
    settings->on_unit = on_unit;
    settings->context = rendition;
    rendition->force_idr = true;
    if (rendition->codec == PC_CODEC_H264)
        memset(&rendition->packetizer, 0, sizeof rendition->packetizer);
    return rendition->codec == PC_CODEC_H264 ? pc_encoder_open_h264(settings, &rendition->encoder)
                                             : pc_encoder_open_vp8(settings, &rendition->encoder);
}

bool pc_rendition_wants_idr(struct pc_rendition *rendition)
{
    return rendition->force_idr || atomic_load(&rendition->feed.idr_wanted);
}

bool pc_rendition_drained(struct pc_rendition *rendition)
{
    struct pc_feed *feed = &rendition->feed;
    pthread_mutex_lock(&rendition->tap_lock);
    int taps = rendition->tap_count;
    pthread_mutex_unlock(&rendition->tap_lock);
    return atomic_load(&feed->receivers) <= taps ||
           atomic_load(&feed->drained) >= rendition->handed_over;
}

static void deliver_to_taps(struct pc_rendition *rendition)
{
    pthread_mutex_lock(&rendition->tap_lock);
    for (int i = 0; i < rendition->tap_count; i++)
        if (!pc_tap_push(rendition->taps[i], rendition->au))
            pc_feed_request_idr(&rendition->feed);
    pthread_mutex_unlock(&rendition->tap_lock);
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
    bool idr = idr_allowed && pc_rendition_wants_idr(rendition);
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
    rendition->au = au;
    rendition->broken = false;

    struct pc_encode_result result = {0};
    const struct pc_rect *changed = rendition->gap ? NULL : frame->rects;
    int error = rendition->encoder->ops->encode(
        rendition->encoder, picture, changed, rendition->gap ? 0 : frame->rect_count, idr, &result);
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
        if (rendition->hub != NULL)
            pc_hub_wake(rendition->hub);
    }
    if (rendition->broken)
        rendition->force_idr = true;
    else if (au->count > 0)
        deliver_to_taps(rendition);
    if (clock != NULL) {
        pc_frame_mark(clock, PC_STAGE_ENCODED, pc_now_ns());
        atomic_store_explicit(&clock->bytes, (uint32_t)result.bytes, memory_order_relaxed);
    }
    rendition->au = NULL;
    pc_au_unref(au);
    return error;
}

int pc_rendition_add_tap(struct pc_rendition *rendition, struct pc_tap *tap)
{
    pthread_mutex_lock(&rendition->tap_lock);
    bool room = rendition->tap_count < PC_RENDITION_TAPS;
    if (room)
        rendition->taps[rendition->tap_count++] = tap;
    pthread_mutex_unlock(&rendition->tap_lock);
    if (!room)
        return pc_fail(-ENOSPC, "a stream has at most %d taps of a codec", PC_RENDITION_TAPS);
    pc_feed_add_receiver(&rendition->feed);
    pc_feed_request_idr(&rendition->feed);
    return 0;
}

void pc_rendition_remove_tap(struct pc_rendition *rendition, struct pc_tap *tap)
{
    bool found = false;
    pthread_mutex_lock(&rendition->tap_lock);
    for (int i = 0; i < rendition->tap_count && !found; i++) {
        if (rendition->taps[i] == tap) {
            rendition->taps[i] = rendition->taps[--rendition->tap_count];
            found = true;
        }
    }
    pthread_mutex_unlock(&rendition->tap_lock);
    if (found)
        pc_feed_remove_receiver(&rendition->feed);
}
