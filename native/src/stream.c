#include "stream.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "clock.h"
#include "hub.h"

#define DEFAULT_BUDGET_FRAMES   1.25
#define DEFAULT_IDR_INTERVAL_MS 300

static atomic_uint last_stream_id;

static int check_settings(const struct pc_stream_settings *settings)
{
    if (settings->fps < 1 || settings->fps > 240)
        return pc_fail(-EINVAL, "fps is a number from 1 to 240, not %d", settings->fps);
    if (settings->keepalive_fps < 1 || settings->keepalive_fps > settings->fps)
        return pc_fail(-EINVAL, "keepalive_fps is a number from 1 to fps (%d), not %d",
                       settings->fps, settings->keepalive_fps);
    if (settings->bitrate < 50000 || settings->bitrate > 1000000000)
        return pc_fail(-EINVAL, "bitrate is a number from 50 kbit/s to 1 Gbit/s, not %d bit/s",
                       settings->bitrate);
    if (settings->threads < 0 || settings->threads > 16 || settings->slices < 0 ||
        settings->slices > 16)
        return pc_fail(-EINVAL, "threads and slices are numbers from 0 (chosen) to 16");
    if (settings->budget_frames != 0 &&
        !(settings->budget_frames >= 1.0 && settings->budget_frames <= 1.5))
        return pc_fail(-EINVAL, "budget_frames is a number from 1 to 1.5");
    if (settings->rungs < 0 || settings->rungs > PC_LADDER_RUNGS)
        return pc_fail(-EINVAL, "rungs is a number from 0 (chosen) to %d, not %d", PC_LADDER_RUNGS,
                       settings->rungs);
    return 0;
}

static enum pc_codec codec_of(int encode)
{
    return encode < PC_LADDER_RUNGS ? PC_CODEC_H264 : PC_CODEC_VP8;
}

static int init_renditions(struct pc_stream *stream, uint64_t epoch_ns)
{
    const struct pc_stream_settings *settings = &stream->settings;
    const struct pc_encoder_settings encoder = {
        .fps = settings->fps,
        .bitrate = settings->bitrate,
        .threads = settings->threads,
        .slices = settings->slices,
        .profile = settings->profile,
        .preset = settings->preset,
        .rate_control = settings->rate_control,
        .budget_frames = settings->budget_frames,
    };
    for (int i = 0; i < PC_CODEC_COUNT; i++)
        pc_rungs_init(&stream->rungs[i], stream->source->width, stream->source->height,
                      settings->fps, settings->bitrate);
    for (int i = 0; i < PC_STREAM_ENCODES; i++) {
        struct pc_rungs *rungs = &stream->rungs[codec_of(i)];
        int error = pc_rendition_init(&stream->renditions[i], codec_of(i), stream->hub, stream->id,
                                      epoch_ns, stream->wake_fd, &encoder);
        if (error < 0) {
            while (i-- > 0)
                pc_rendition_free(&stream->renditions[i]);
            return pc_fail(error, "out of memory");
        }
        if (rungs->count < settings->rungs)
            pc_rungs_add(rungs, &stream->renditions[i].feed);
    }
    return 0;
}

static int attach_rungs(struct pc_stream *stream)
{
    for (int i = 0; i < PC_CODEC_COUNT && stream->hub != NULL; i++) {
        int error = pc_hub_attach_rungs(stream->hub, &stream->rungs[i]);
        if (error < 0) {
            while (i-- > 0)
                pc_hub_detach_rungs(stream->hub, &stream->rungs[i]);
            return error;
        }
    }
    return 0;
}

static void free_stream(struct pc_stream *stream)
{
    if (stream->hub != NULL)
        for (int i = 0; i < PC_CODEC_COUNT; i++)
            pc_hub_detach_rungs(stream->hub, &stream->rungs[i]);
    for (int i = 0; i < PC_STREAM_ENCODES; i++) {
        pc_rendition_free(&stream->renditions[i]);
        pc_picture_free(&stream->scaled[i]);
    }
    pc_picture_free(&stream->picture);
    close(stream->wake_fd);
    free(stream);
}

int pc_stream_open(struct pc_hub *hub, struct pc_source *source,
                   const struct pc_stream_settings *settings, struct pc_stream **out)
{
    int error = check_settings(settings);
    if (error < 0)
        return error;
    struct pc_stream *stream = calloc(1, sizeof *stream);
    if (stream == NULL)
        return pc_fail(-ENOMEM, "out of memory");
    stream->id = atomic_fetch_add(&last_stream_id, 1) + 1;
    stream->hub = hub;
    stream->source = source;
    stream->settings = *settings;
    if (settings->budget_frames == 0)
        stream->settings.budget_frames = DEFAULT_BUDGET_FRAMES;
    if (settings->rungs == 0)
        stream->settings.rungs = PC_LADDER_RUNGS;
    if (settings->idr_interval_ms <= 0)
        stream->settings.idr_interval_ms = DEFAULT_IDR_INTERVAL_MS;
    pc_schedule_init(&stream->schedule, settings->fps, settings->keepalive_fps,
                     (uint64_t)stream->settings.idr_interval_ms * PC_NS_PER_MS);
    atomic_store(&stream->width, source->width);
    atomic_store(&stream->height, source->height);

    stream->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (stream->wake_fd < 0) {
        error = -errno;
        free(stream);
        return pc_fail(error, "cannot make an eventfd: %s", strerror(-error));
    }
    error = init_renditions(stream, pc_now_ns());
    if (error < 0) {
        close(stream->wake_fd);
        free(stream);
        return error;
    }
    error = attach_rungs(stream);
    if (error < 0) {
        stream->hub = NULL;
        free_stream(stream);
        return error;
    }
    error = -pthread_create(&stream->thread, NULL, pc_stream_run, stream);
    if (error < 0) {
        free_stream(stream);
        return pc_fail(error, "cannot start the media thread: %s", strerror(-error));
    }
    *out = stream;
    return 0;
}

void pc_stream_close(struct pc_stream *stream)
{
    if (stream == NULL)
        return;
    atomic_store(&stream->stopping, true);
    eventfd_write(stream->wake_fd, 1);
    pthread_join(stream->thread, NULL);
    struct pc_source *source = stream->source;
    free_stream(stream);
    source->ops->close(source);
}

/* ---- Control and statistics ---- */

struct pc_rendition *pc_stream_rendition(struct pc_stream *stream, enum pc_codec_id codec)
{
    if ((unsigned)codec >= PC_CODEC_COUNT)
        return NULL;
    return &stream->renditions[codec == PC_H264 ? 0 : PC_LADDER_RUNGS];
}

struct pc_feed *pc_stream_feed(struct pc_stream *stream, const struct pc_hub *hub,
                               enum pc_codec_id codec)
{
    struct pc_rendition *rendition = pc_stream_rendition(stream, codec);
    return rendition != NULL && stream->hub == hub ? &rendition->feed : NULL;
}

uint32_t pc_stream_id(struct pc_stream *stream)
{
    return stream->id;
}

/* The hub allots the rest; where there is none, or nobody watches, this is it. What has less than
 * all keeps that: its viewers take no more. */
static void set_feed_rate(struct pc_feed *feed, int before, int fps_before, int bitrate, int fps)
{
    int has = atomic_load(&feed->bitrate), has_fps = atomic_load(&feed->fps);
    if (has >= before || has > bitrate)
        has = bitrate;
    if (has_fps >= fps_before || has_fps > fps)
        has_fps = fps;
    atomic_store(&feed->ceiling, bitrate);
    atomic_store(&feed->bitrate, has);
    atomic_store(&feed->fps, has_fps);
}

int pc_stream_set_rate(struct pc_stream *stream, int bitrate, int fps)
{
    struct pc_stream_settings wanted = stream->settings;
    wanted.bitrate = bitrate;
    wanted.fps = fps;
    if (wanted.keepalive_fps > fps)
        wanted.keepalive_fps = fps;
    int error = check_settings(&wanted);
    if (error < 0)
        return error;
    for (int i = 0; i < PC_CODEC_COUNT; i++) {
        struct pc_rungs *rungs = &stream->rungs[i];
        int fps_before = atomic_exchange(&rungs->fps, fps);
        int before = atomic_exchange(&rungs->bitrate, bitrate);
        for (int r = 0; r < rungs->count; r++)
            set_feed_rate(rungs->feeds[r], before, fps_before, bitrate, fps);
    }
    eventfd_write(stream->wake_fd, 1);
    return 0;
}

void pc_stream_request_idr(struct pc_stream *stream)
{
    for (int i = 0; i < PC_STREAM_ENCODES; i++)
        pc_feed_request_idr(&stream->renditions[i].feed);
}

static void read_rung(struct pc_stream *stream, struct pc_rendition *rendition, int viewers,
                      struct pc_rung_stats *out)
{
    out->viewers = viewers;
    out->bitrate = atomic_load(&rendition->feed.bitrate);
    out->fps = atomic_load(&rendition->feed.fps);
    out->encoded = atomic_load(&rendition->encoded);
    out->encoded_bytes = atomic_load(&rendition->encoded_bytes);
    pc_ladder_size(atomic_load(&rendition->feed.step), atomic_load(&stream->width),
                   atomic_load(&stream->height), &out->width, &out->height);
}

int pc_stream_get_stats(struct pc_stream *stream, struct pc_stream_stats *out)
{
    memset(out, 0, sizeof *out);
    out->width = atomic_load(&stream->width);
    out->height = atomic_load(&stream->height);
    out->captured = atomic_load(&stream->captured);
    out->skipped = atomic_load(&stream->skipped);
    out->late = atomic_load(&stream->late);
    for (int i = 0; i < PC_STREAM_ENCODES; i++) {
        struct pc_rendition *rendition = &stream->renditions[i];
        int viewers = atomic_load(&rendition->feed.receivers);
        out->viewers[codec_of(i)] += viewers;
        out->encoded[codec_of(i)] += atomic_load(&rendition->encoded);
        out->encoded_bytes[codec_of(i)] += atomic_load(&rendition->encoded_bytes);
        out->idrs[codec_of(i)] += atomic_load(&rendition->idrs);
        out->overshoots += atomic_load(&rendition->overshoots);
        if (i < PC_LADDER_RUNGS)
            read_rung(stream, rendition, viewers, &out->rungs[i]);
    }
    out->quantiser = atomic_load(&stream->renditions[0].quantiser);
    bool vp8_only = out->viewers[PC_VP8] > 0 && out->viewers[PC_H264] == 0;
    strcpy(out->encoder, vp8_only ? "libvpx" : "x264");
    return 0;
}

int pc_stream_latency(struct pc_stream *stream, enum pc_stage from, enum pc_stage to,
                      uint64_t since_ns, struct pc_percentiles *out)
{
    if ((unsigned)from >= PC_STAGE_COUNT || (unsigned)to >= PC_STAGE_COUNT)
        return pc_fail(-EINVAL, "there are %d stages, numbered from 0", (int)PC_STAGE_COUNT);
    pc_frame_clock_summary(&stream->clock, from, to, since_ns, out);
    return 0;
}

int pc_stream_frames(struct pc_stream *stream, uint64_t from_id, struct pc_frame_times *out,
                     int max)
{
    return pc_frame_clock_read(&stream->clock, from_id, out, max);
}
