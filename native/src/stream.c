#include "stream.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "clock.h"
#include "hub.h"

#define DEFAULT_BUDGET_FRAMES   1.25
#define DEFAULT_IDR_INTERVAL_MS 300
#define SLOT_GAIN               32 /* slots are 1/32 shorter than the cap's interval */
#define BLOCKED_LIMIT_NS        (200 * PC_NS_PER_MS) /* a path that is stuck drops its queue then */

struct pc_stream {
    uint32_t id;
    struct pc_hub *hub;
    struct pc_source *source;
    struct pc_stream_settings settings;
    pthread_t thread;
    int wake_fd;
    atomic_bool stopping;
    struct pc_frame_clock clock;
    struct pc_rendition renditions[PC_CODEC_COUNT];

    /* media thread */
    struct pc_picture picture;
    bool lost, failed;     /* the display went away; the encoder failed for good */
    bool damaged;          /* the picture has changed since the last grab */
    uint64_t last_area_ns; /* when the last area of a grab had arrived */
    uint64_t damage_ns;
    uint64_t next_slot_ns; /* the frame-rate cap: no grab before */
    uint64_t last_frame_ns;
    uint64_t next_id;
    uint64_t blocked_since_ns; /* 0 = the network keeps up */

    atomic_int fps, width, height;
    _Atomic uint64_t captured, skipped, late;
};

static atomic_uint last_stream_id;

/* ---- When is the next frame due? ---- */

static bool receiving(struct pc_rendition *rendition)
{
    return atomic_load(&rendition->feed.receivers) > 0;
}

static uint64_t interval_ns(struct pc_stream *stream)
{
    return PC_NS_PER_S / (uint64_t)atomic_load(&stream->fps);
}

static uint64_t later(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

/* The earliest time at which a wished-for IDR may be sent; UINT64_MAX when nobody wishes one. */
static uint64_t idr_due(struct pc_stream *stream)
{
    uint64_t spacing = (uint64_t)stream->settings.idr_interval_ms * PC_NS_PER_MS;
    uint64_t due = UINT64_MAX;
    for (int i = 0; i < PC_CODEC_COUNT; i++) {
        struct pc_rendition *rendition = &stream->renditions[i];
        if (!receiving(rendition) || !pc_rendition_wants_idr(rendition))
            continue;
        uint64_t at = rendition->last_idr_ns == 0 ? 0 : rendition->last_idr_ns + spacing;
        if (at < due)
            due = at;
    }
    return due;
}

/* Does some encode still have its last frame on this machine? Asks to be woken when that ends. */
static bool blocked(struct pc_stream *stream)
{
    bool is_blocked = false;
    for (int i = 0; i < PC_CODEC_COUNT; i++) {
        struct pc_rendition *rendition = &stream->renditions[i];
        if (!receiving(rendition))
            continue;
        atomic_store(&rendition->feed.blocked, true);
        if (pc_rendition_drained(rendition))
            atomic_store(&rendition->feed.blocked, false);
        else
            is_blocked = true;
    }
    return is_blocked;
}

/* The network keeps up again, or is waited for no longer: the slots that have passed meanwhile are
 * skipped ones, not late ones. */
static void end_blockage(struct pc_stream *stream, uint64_t now_ns)
{
    if (stream->blocked_since_ns == 0)
        return;
    uint64_t interval = interval_ns(stream);
    uint64_t slots = (now_ns - stream->blocked_since_ns) / interval;
    atomic_fetch_add(&stream->skipped, slots);
    stream->next_slot_ns += slots * interval;
    stream->blocked_since_ns = 0;
}

static uint64_t next_due(struct pc_stream *stream, uint64_t now_ns)
{
    bool anyone = false;
    for (int i = 0; i < PC_CODEC_COUNT; i++)
        anyone = anyone || receiving(&stream->renditions[i]);
    if (!anyone || stream->lost || stream->failed) {
        stream->blocked_since_ns = 0;
        return UINT64_MAX;
    }

    uint64_t due = stream->next_slot_ns;
    if (stream->source->ops->fd(stream->source) >= 0 && !stream->damaged) {
        uint64_t keepalive =
            stream->last_frame_ns + PC_NS_PER_S / (uint64_t)stream->settings.keepalive_fps;
        uint64_t idr = idr_due(stream);
        due = later(due, keepalive < idr ? keepalive : idr);
    }
    if (due > now_ns || !blocked(stream)) {
        end_blockage(stream, now_ns);
        return due;
    }
    if (stream->blocked_since_ns == 0)
        stream->blocked_since_ns = now_ns;
    return stream->blocked_since_ns + BLOCKED_LIMIT_NS;
}

/* ---- One frame ---- */

static void emit(struct pc_stream *stream, enum pc_event_kind kind, uint32_t a, uint32_t b,
                 const char *text)
{
    struct pc_event event;
    if (stream->hub == NULL)
        return;
    memset(&event, 0, offsetof(struct pc_event, data));
    event.kind = kind;
    event.id = stream->id;
    event.a = a;
    event.b = b;
    event.size = (uint32_t)strnlen(text, sizeof event.data);
    memcpy(event.data, text, event.size);
    pc_hub_emit(stream->hub, &event);
}

static void lose_source(struct pc_stream *stream)
{
    stream->lost = true;
    emit(stream, PC_EVENT_SOURCE_LOST, 0, 0, "the display went away");
}

static void fail(struct pc_stream *stream)
{
    stream->failed = true;
    emit(stream, PC_EVENT_STREAM_FAILED, 0, 0, pc_error_text());
}

/* Make the picture fit the frame. 0, or -ENOMEM. */
static int follow_size(struct pc_stream *stream, const struct pc_source_frame *frame)
{
    if (stream->picture.width == frame->width && stream->picture.height == frame->height)
        return 0;
    pc_picture_free(&stream->picture);
    int error = pc_picture_alloc(&stream->picture, frame->width, frame->height);
    if (error < 0)
        return pc_fail(error, "no memory for a picture of %d x %d", frame->width, frame->height);
    int before = atomic_exchange(&stream->width, frame->width);
    int before_height = atomic_exchange(&stream->height, frame->height);
    if (before != frame->width || before_height != frame->height)
        emit(stream, PC_EVENT_SOURCE_RESIZED, (uint32_t)frame->width, (uint32_t)frame->height, "");
    return 0;
}

static void encode_all(struct pc_stream *stream, const struct pc_source_frame *frame,
                       struct pc_frame *clock, uint64_t frame_id, uint64_t capture_ns)
{
    uint64_t spacing = (uint64_t)stream->settings.idr_interval_ms * PC_NS_PER_MS;
    for (int i = 0; i < PC_CODEC_COUNT; i++) {
        struct pc_rendition *rendition = &stream->renditions[i];
        if (!receiving(rendition)) {
            rendition->gap = true;
            continue;
        }
        bool new_encoder = rendition->encoder == NULL;
        if (pc_rendition_prepare(rendition, frame->width, frame->height) < 0) {
            fail(stream);
            return;
        }
        bool idr_allowed = new_encoder || rendition->last_idr_ns == 0 || rendition->force_idr ||
                           capture_ns - rendition->last_idr_ns >= spacing;
        int error = pc_rendition_encode(rendition, &stream->picture, frame, clock, frame_id,
                                        idr_allowed, capture_ns);
        if (error == -EAGAIN)
            atomic_fetch_add(&stream->skipped, 1);
        clock = NULL; /* the frame's clock follows the first encode */
    }
}

/* From within a grab: convert what is there while the rest is on its way. */
static void convert_early(void *context, const struct pc_source_frame *frame, struct pc_rect area)
{
    struct pc_stream *stream = context;
    stream->last_area_ns = pc_now_ns();
    if (follow_size(stream, frame) == 0)
        pc_convert_area(frame, area, &stream->picture);
}

static void take_frame(struct pc_stream *stream, uint64_t now_ns)
{
    uint64_t interval = interval_ns(stream);
    bool by_the_clock = stream->source->ops->fd(stream->source) < 0;
    end_blockage(stream, now_ns);
    if (by_the_clock && now_ns > stream->next_slot_ns + interval && stream->next_slot_ns != 0)
        atomic_fetch_add(&stream->late, (now_ns - stream->next_slot_ns) / interval);
    /* A slot earlier than an interval from now makes up for jitter of the source's own rhythm. And
     * its slots come a little faster than the cap: a source that draws at the very cap would
     * otherwise keep for ever whatever distance its frames once had to their slots. */
    uint64_t slot = by_the_clock ? interval : interval - interval / SLOT_GAIN;
    stream->next_slot_ns = later(stream->next_slot_ns + slot, now_ns + interval / 2);
    stream->last_frame_ns = now_ns;

    struct pc_source_frame frame = {0};
    stream->last_area_ns = 0;
    int error = stream->source->ops->grab(stream->source, now_ns, &frame);
    if (error == -EAGAIN)
        return;
    if (error < 0) {
        lose_source(stream);
        return;
    }
    uint64_t frame_id = stream->next_id;
    struct pc_frame *clock = pc_frame_clock_begin(&stream->clock, frame_id);
    pc_frame_mark(clock, PC_STAGE_DAMAGE, stream->damaged ? stream->damage_ns : now_ns);
    pc_frame_mark(clock, PC_STAGE_CAPTURE_START, now_ns);
    pc_frame_mark(clock, PC_STAGE_CAPTURED,
                  stream->last_area_ns != 0 ? stream->last_area_ns : pc_now_ns());
    stream->damaged = false;
    atomic_fetch_add(&stream->captured, 1);

    if (follow_size(stream, &frame) < 0) {
        fail(stream);
        return;
    }
    if (!frame.announced)
        pc_convert(&frame, &stream->picture);
    pc_frame_mark(clock, PC_STAGE_CONVERTED, pc_now_ns());
    stream->next_id++;
    encode_all(stream, &frame, clock, frame_id, now_ns);
}

/* ---- The media thread ---- */

static void poll_source(struct pc_stream *stream, uint64_t now_ns)
{
    if (stream->lost || stream->source->ops->fd(stream->source) < 0)
        return;
    uint64_t damage_ns = 0;
    int changed = stream->source->ops->poll(stream->source, now_ns, &damage_ns);
    if (changed < 0) {
        lose_source(stream);
    } else if (changed > 0 && !stream->damaged) {
        stream->damaged = true;
        stream->damage_ns = damage_ns;
    }
}

static void wait_until(struct pc_stream *stream, uint64_t due_ns, uint64_t now_ns)
{
    int source_fd = stream->lost ? -1 : stream->source->ops->fd(stream->source);
    struct pollfd fds[2] = {
        {.fd = stream->wake_fd, .events = POLLIN},
        {.fd = source_fd, .events = POLLIN},
    };
    struct timespec timeout, *limit = NULL;
    if (due_ns != UINT64_MAX) {
        timeout.tv_sec = (time_t)((due_ns - now_ns) / PC_NS_PER_S);
        timeout.tv_nsec = (long)((due_ns - now_ns) % PC_NS_PER_S);
        limit = &timeout;
    }
    if (ppoll(fds, source_fd >= 0 ? 2 : 1, limit, NULL) > 0 && fds[0].revents != 0) {
        eventfd_t drained;
        eventfd_read(stream->wake_fd, &drained);
    }
}

static void *media_thread(void *context)
{
    struct pc_stream *stream = context;
    prctl(PR_SET_NAME, "playcast-media");
    prctl(PR_SET_TIMERSLACK, 1);
    /* Joining should not wait for the encoder to start. */
    if (pc_rendition_prepare(&stream->renditions[PC_CODEC_H264], stream->source->width,
                             stream->source->height) < 0)
        fail(stream);

    while (!atomic_load(&stream->stopping)) {
        uint64_t now_ns = pc_now_ns();
        poll_source(stream, now_ns);
        uint64_t due_ns = next_due(stream, now_ns);
        if (due_ns > now_ns)
            wait_until(stream, due_ns, now_ns);
        else
            take_frame(stream, now_ns);
    }
    return NULL;
}

/* ---- Opening and closing ---- */

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
        !(settings->budget_frames >= 1.0 && settings->budget_frames <= 4.0))
        return pc_fail(-EINVAL, "budget_frames is a number from 1 to 4");
    return 0;
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
    for (int i = 0; i < PC_CODEC_COUNT; i++) {
        int error = pc_rendition_init(&stream->renditions[i], (enum pc_codec)i, stream->hub,
                                      stream->id, epoch_ns, stream->wake_fd, &encoder);
        if (error < 0) {
            while (i-- > 0)
                pc_rendition_free(&stream->renditions[i]);
            return pc_fail(error, "out of memory");
        }
    }
    return 0;
}

static int attach_feeds(struct pc_stream *stream)
{
    for (int i = 0; i < PC_CODEC_COUNT && stream->hub != NULL; i++) {
        int error = pc_hub_attach_feed(stream->hub, &stream->renditions[i].feed);
        if (error < 0) {
            while (i-- > 0)
                pc_hub_detach_feed(stream->hub, &stream->renditions[i].feed);
            return error;
        }
    }
    return 0;
}

static void free_stream(struct pc_stream *stream)
{
    if (stream->hub != NULL)
        for (int i = 0; i < PC_CODEC_COUNT; i++)
            pc_hub_detach_feed(stream->hub, &stream->renditions[i].feed);
    for (int i = 0; i < PC_CODEC_COUNT; i++)
        pc_rendition_free(&stream->renditions[i]);
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
    source->on_area = convert_early;
    source->area_context = stream;
    stream->settings = *settings;
    if (settings->budget_frames == 0)
        stream->settings.budget_frames = DEFAULT_BUDGET_FRAMES;
    if (settings->idr_interval_ms <= 0)
        stream->settings.idr_interval_ms = DEFAULT_IDR_INTERVAL_MS;
    atomic_store(&stream->fps, settings->fps);
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
    error = attach_feeds(stream);
    if (error < 0) {
        stream->hub = NULL;
        free_stream(stream);
        return error;
    }
    error = -pthread_create(&stream->thread, NULL, media_thread, stream);
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
    return (unsigned)codec < PC_CODEC_COUNT ? &stream->renditions[codec] : NULL;
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
        atomic_store(&stream->renditions[i].feed.fps, fps);
        atomic_store(&stream->renditions[i].feed.bitrate, bitrate);
    }
    atomic_store(&stream->fps, fps);
    eventfd_write(stream->wake_fd, 1);
    return 0;
}

void pc_stream_request_idr(struct pc_stream *stream)
{
    for (int i = 0; i < PC_CODEC_COUNT; i++)
        pc_feed_request_idr(&stream->renditions[i].feed);
}

int pc_stream_get_stats(struct pc_stream *stream, struct pc_stream_stats *out)
{
    memset(out, 0, sizeof *out);
    out->width = atomic_load(&stream->width);
    out->height = atomic_load(&stream->height);
    out->captured = atomic_load(&stream->captured);
    out->skipped = atomic_load(&stream->skipped);
    out->late = atomic_load(&stream->late);
    for (int i = 0; i < PC_CODEC_COUNT; i++) {
        struct pc_rendition *rendition = &stream->renditions[i];
        out->viewers[i] = atomic_load(&rendition->feed.receivers);
        out->encoded[i] = atomic_load(&rendition->encoded);
        out->encoded_bytes[i] = atomic_load(&rendition->encoded_bytes);
        out->idrs[i] = atomic_load(&rendition->idrs);
        out->overshoots += atomic_load(&rendition->overshoots);
    }
    out->quantiser = atomic_load(&stream->renditions[PC_CODEC_H264].quantiser);
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
