#include "stream.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>

#include "clock.h"
#include "hub.h"
#include "priority.h"
#include "scale.h"

#define MEDIA_NICE                                                                                 \
    (-10) /* ahead of the game that is streamed: it has a frame, this has half of one */

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
    for (int i = 0; i < PC_CODEC_COUNT; i++) {
        atomic_store(&stream->rungs[i].width, frame->width);
        atomic_store(&stream->rungs[i].height, frame->height);
    }
    if (before != frame->width || before_height != frame->height)
        emit(stream, PC_EVENT_SOURCE_RESIZED, (uint32_t)frame->width, (uint32_t)frame->height, "");
    return 0;
}

static bool receiving(struct pc_rendition *rendition)
{
    return atomic_load(&rendition->feed.receivers) > 0;
}

/* The picture for an encode, and where it has changed: smaller, when the ladder says so. NULL: out
 * of memory. */
static const struct pc_picture *fit(struct pc_stream *stream, int encode,
                                    const struct pc_source_frame *frame,
                                    struct pc_source_frame *fitted)
{
    struct pc_picture *scaled = &stream->scaled[encode];
    int step = atomic_load(&stream->renditions[encode].feed.step);
    *fitted = *frame;
    if (step == 0)
        return &stream->picture;
    pc_ladder_size(step, frame->width, frame->height, &fitted->width, &fitted->height);
    if (scaled->width != fitted->width || scaled->height != fitted->height) {
        pc_picture_free(scaled);
        if (pc_picture_alloc(scaled, fitted->width, fitted->height) < 0) {
            pc_fail(-ENOMEM, "no memory for a picture of %d x %d", fitted->width, fitted->height);
            return NULL;
        }
    }
    pc_scale(&stream->picture, scaled);
    pc_scale_rects(&stream->picture, scaled, frame->rects, frame->rect_count, fitted->rects);
    return scaled;
}

static bool encode_one(struct pc_stream *stream, int encode, const struct pc_source_frame *frame,
                       struct pc_frame *clock, uint64_t frame_id, uint64_t capture_ns)
{
    struct pc_rendition *rendition = &stream->renditions[encode];
    struct pc_source_frame fitted;
    const struct pc_picture *picture = fit(stream, encode, frame, &fitted);
    bool new_encoder = rendition->encoder == NULL;
    if (picture == NULL || pc_rendition_prepare(rendition, fitted.width, fitted.height) < 0) {
        fail(stream);
        return false;
    }
    bool idr_allowed =
        new_encoder || rendition->force_idr ||
        pc_schedule_idr_allowed(&stream->schedule, rendition->last_idr_ns, capture_ns);
    int error =
        pc_rendition_encode(rendition, picture, &fitted, clock, frame_id, idr_allowed, capture_ns);
    if (error == -EAGAIN)
        stream->schedule.skipped++;
    return true;
}

static void encode_all(struct pc_stream *stream, const struct pc_source_frame *frame,
                       struct pc_frame *clock, uint64_t frame_id, uint64_t capture_ns)
{
    for (int i = 0; i < PC_STREAM_ENCODES; i++) {
        if (!stream->schedule.taking[i]) {
            stream->renditions[i].gap = true;
            continue;
        }
        if (!encode_one(stream, i, frame, clock, frame_id, capture_ns))
            return;
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

/* False when there was no picture to be had. */
static bool take_frame(struct pc_stream *stream, uint64_t now_ns)
{
    struct pc_source_frame frame = {0};
    stream->last_area_ns = 0;
    int error = stream->source->ops->grab(stream->source, now_ns, &frame);
    if (error == -EAGAIN)
        return false;
    if (error < 0) {
        lose_source(stream);
        return false;
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
        return false;
    }
    if (!frame.announced)
        pc_convert(&frame, &stream->picture);
    pc_frame_mark(clock, PC_STAGE_CONVERTED, pc_now_ns());
    stream->next_id++;
    encode_all(stream, &frame, clock, frame_id, now_ns);
    return true;
}

static bool by_damage(struct pc_stream *stream)
{
    return stream->source->ops->fd(stream->source) >= 0;
}

static void poll_source(struct pc_stream *stream, uint64_t now_ns)
{
    if (stream->lost || !by_damage(stream))
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

static struct pc_schedule_news read_news(struct pc_stream *stream)
{
    struct pc_schedule_news news = {.by_damage = by_damage(stream),
                                    .changed = stream->damaged,
                                    .changed_ns = stream->damage_ns};
    for (int i = 0; i < PC_STREAM_ENCODES; i++) {
        struct pc_rendition *rendition = &stream->renditions[i];
        news.encodes[i] = (struct pc_schedule_encode){
            .receiving = receiving(rendition),
            .behind = rendition->gap || pc_rendition_is_broken(rendition),
            .idr_wanted = pc_rendition_wants_idr(rendition),
            .last_idr_ns = rendition->last_idr_ns,
            .fps = atomic_load(&rendition->feed.fps),
        };
    }
    return news;
}

/* Has the network taken the encode's last frame? If not, it wakes this thread when it has. The flag
 * goes up before the look, so that what happens in between is not missed. */
static bool drained(struct pc_rendition *rendition)
{
    atomic_store(&rendition->feed.blocked, true);
    bool is_drained = pc_rendition_drained(rendition);
    if (is_drained)
        atomic_store(&rendition->feed.blocked, false);
    return is_drained;
}

/* The most that an encode wants. */
static int wanted_fps(struct pc_stream *stream, const struct pc_schedule_news *news)
{
    int fps = 0;
    for (int i = 0; i < PC_STREAM_ENCODES; i++)
        if (news->encodes[i].receiving && news->encodes[i].fps > fps)
            fps = news->encodes[i].fps;
    return fps > 0 ? fps : atomic_load(&stream->rungs[PC_CODEC_H264].fps);
}

/* Take a frame if one is due. Returns when to come back. */
static uint64_t step(struct pc_stream *stream, uint64_t now_ns)
{
    struct pc_schedule *schedule = &stream->schedule;
    if (stream->lost || stream->failed)
        return UINT64_MAX;
    struct pc_schedule_news news = read_news(stream);
    pc_schedule_set_fps(schedule, wanted_fps(stream, &news));
    uint64_t due_ns = pc_schedule_due(schedule, &news, now_ns);
    if (due_ns <= now_ns) {
        for (int i = 0; i < PC_STREAM_ENCODES; i++)
            news.encodes[i].drained = news.encodes[i].receiving && drained(&stream->renditions[i]);
        due_ns = pc_schedule_start(schedule, &news, now_ns);
    }
    if (due_ns <= now_ns && take_frame(stream, now_ns)) {
        uint64_t done_ns = pc_now_ns();
        poll_source(stream, done_ns);
        pc_schedule_finish(schedule, stream->damaged, done_ns);
    }
    atomic_store(&stream->skipped, schedule->skipped);
    atomic_store(&stream->late, schedule->late);
    return due_ns;
}

void *pc_stream_run(void *context)
{
    struct pc_stream *stream = context;
    prctl(PR_SET_NAME, "playcast-media");
    prctl(PR_SET_TIMERSLACK, 1);
    if (stream->hub != NULL && stream->hub->realtime)
        pc_raise_priority(MEDIA_NICE); /* the encoder's threads inherit it */
    stream->source->on_area = convert_early;
    stream->source->area_context = stream;
    /* Joining should not wait for the encoder to start. */
    if (pc_rendition_prepare(&stream->renditions[0], stream->source->width,
                             stream->source->height) < 0)
        fail(stream);

    while (!atomic_load(&stream->stopping)) {
        uint64_t now_ns = pc_now_ns();
        poll_source(stream, now_ns);
        uint64_t due_ns = step(stream, now_ns);
        if (due_ns > now_ns)
            wait_until(stream, due_ns, now_ns);
    }
    return NULL;
}
