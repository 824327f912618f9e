#include "playout.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "clock.h"
#include "decode.h"
#include "frame_log.h"
#include "unit_queue.h"

#define DEFAULT_PICTURES 4

struct picture {
    struct pc_received_frame frame;
    struct pc_decoded decoded;
};

struct pc_playout {
    struct pc_receive_settings settings;
    void (*want_idr)(void *context);
    void *context;
    int fd, unit_fd;
    pthread_t thread;
    bool running;
    struct pc_decoder *decoder; /* its thread's */

    pthread_mutex_t lock;
    pthread_cond_t news; /* for the decoder's thread */
    bool stopping, ended, decoding;
    struct pc_unit_queue queue, kept;
    struct picture pictures[PC_PLAYOUT_PICTURES];
    unsigned head, length, depth; /* of `pictures` */
    struct pc_reception_stats stats;
    struct pc_frame_log log;
};

/* ---- Pictures ---- */

static void drop_picture(struct pc_playout *playout)
{
    pc_decoded_release(&playout->pictures[playout->head].decoded);
    playout->head = (playout->head + 1) % PC_PLAYOUT_PICTURES;
    playout->length--;
}

/* Takes what `decoded` holds. */
static void add_picture(struct pc_playout *playout, struct pc_decoded *decoded)
{
    uint64_t decoded_ns = pc_now_ns(), pattern_us = 0;
    uint32_t pattern_frame = 0;
    bool has_pattern = playout->settings.read_pattern &&
                       pc_pattern_read(decoded->planes[0], decoded->width, decoded->height,
                                       decoded->strides[0], 1, &pattern_frame, &pattern_us) == 1;

    pthread_mutex_lock(&playout->lock);
    struct pc_received_frame unknown = {.id = UINT64_MAX};
    struct pc_received_frame *times = pc_frame_log_find(&playout->log, (uint64_t)decoded->tag);
    if (times == NULL)
        times = &unknown; /* of no id that there is */
    times->decoded_ns = decoded_ns;
    times->has_pattern = has_pattern;
    times->pattern_frame = pattern_frame;
    times->pattern_us = pattern_us;
    pc_frame_log_finish(&playout->log, times->id);
    if (playout->length == playout->depth) {
        drop_picture(playout);
        playout->stats.pictures_passed_over++;
    }
    struct picture *picture =
        &playout->pictures[(playout->head + playout->length++) % PC_PLAYOUT_PICTURES];
    picture->frame = *times;
    picture->decoded = *decoded;
    playout->stats.pictures++;
    playout->stats.pattern_unread += playout->settings.read_pattern && !has_pattern;
    playout->stats.width = decoded->width;
    playout->stats.height = decoded->height;
    pthread_mutex_unlock(&playout->lock);
    eventfd_write(playout->fd, 1);
}

static bool take_picture(struct pc_playout *playout, struct picture *out)
{
    if (playout->length == 0)
        return false;
    *out = playout->pictures[playout->head];
    playout->head = (playout->head + 1) % PC_PLAYOUT_PICTURES;
    playout->length--;
    return true;
}

static int nothing_to_read(const struct pc_playout *playout, bool more_comes, int fd)
{
    if (playout->ended && !more_comes)
        return pc_fail(-EPIPE, "the peer is gone: nothing more is received");
    eventfd_t drained;
    eventfd_read(fd, &drained);
    return 0;
}

int pc_playout_read_picture(struct pc_playout *playout, struct pc_received_picture *picture,
                            uint8_t *out, size_t capacity)
{
    struct picture taken;
    int result = 1;
    pthread_mutex_lock(&playout->lock);
    const struct picture *oldest = &playout->pictures[playout->head];
    if (playout->length > 0 && pc_decoded_bytes(&oldest->decoded) > capacity) {
        picture->bytes = (uint32_t)pc_decoded_bytes(&oldest->decoded);
        result = pc_fail(-ENOSPC, "the picture takes %u bytes", picture->bytes);
    } else if (!take_picture(playout, &taken)) {
        result =
            nothing_to_read(playout, playout->decoding || playout->queue.length > 0, playout->fd);
    }
    pthread_mutex_unlock(&playout->lock);
    if (result != 1)
        return result;

    *picture = (struct pc_received_picture){
        .frame = taken.frame,
        .width = taken.decoded.width,
        .height = taken.decoded.height,
        .matrix = taken.decoded.matrix,
        .full_range = taken.decoded.full_range,
        .bytes = (uint32_t)pc_decoded_bytes(&taken.decoded),
    };
    pc_decoded_copy(&taken.decoded, out);
    pc_decoded_release(&taken.decoded);
    return 1;
}

/* ---- Decoding ---- */

/* Nothing of what waits can be decoded but from an IDR on. Returns whether one is there. */
static bool skip_to_idr(struct pc_playout *playout, uint64_t *counter)
{
    struct pc_held_unit *unit;
    while ((unit = pc_unit_queue_drop(&playout->queue)) != NULL) {
        (*counter)++;
        pc_frame_log_finish(&playout->log, unit->id);
        pc_held_unit_unref(unit);
    }
    return playout->queue.length > 0;
}

/* False when the decoder cannot go on without an IDR. */
static bool decode(struct pc_playout *playout, const struct pc_held_unit *unit)
{
    bool good = pc_decoder_decode(playout->decoder, unit->data, unit->size, (int64_t)unit->id) == 0;
    struct pc_decoded decoded;
    int got;
    while ((got = pc_decoder_next(playout->decoder, &decoded)) != 0) {
        if (got == 1) {
            add_picture(playout, &decoded);
        } else if (got == -EOPNOTSUPP) {
            pthread_mutex_lock(&playout->lock);
            playout->stats.pictures_refused++;
            pthread_mutex_unlock(&playout->lock);
        } else {
            good = false;
        }
    }
    return good;
}

/* The next access unit, waited for. NULL: no more. */
static struct pc_held_unit *next_unit(struct pc_playout *playout)
{
    struct pc_held_unit *unit = NULL;
    pthread_mutex_lock(&playout->lock);
    while (!playout->stopping && (unit = pc_unit_queue_pop(&playout->queue)) == NULL)
        pthread_cond_wait(&playout->news, &playout->lock);
    playout->decoding = unit != NULL;
    pthread_mutex_unlock(&playout->lock);
    return unit;
}

static void *run(void *context)
{
    struct pc_playout *playout = context;
    struct pc_held_unit *unit;
    prctl(PR_SET_NAME, "playcast-decode");
    while ((unit = next_unit(playout)) != NULL) {
        bool good = decode(playout, unit), wanted = false;
        pthread_mutex_lock(&playout->lock);
        playout->decoding = false;
        pc_frame_log_finish(&playout->log, unit->id);
        if (!good) {
            playout->stats.decode_errors++;
            wanted = !skip_to_idr(playout, &playout->stats.units_useless);
        }
        bool ended = playout->ended;
        pthread_mutex_unlock(&playout->lock);
        pc_held_unit_unref(unit);
        if (wanted)
            playout->want_idr(playout->context);
        if (ended)
            eventfd_write(playout->fd, 1);
    }
    return NULL;
}

/* The decoder is behind by too much: it goes on at the next IDR. */
static void catch_up(struct pc_playout *playout, uint64_t now_ns)
{
    const struct pc_held_unit *oldest = pc_unit_queue_oldest(&playout->queue);
    if (oldest == NULL || (playout->queue.length < PC_PLAYOUT_QUEUE &&
                           now_ns - oldest->queued_ns <= PC_PLAYOUT_LATE_NS))
        return;
    struct pc_held_unit *unit = pc_unit_queue_pop(&playout->queue);
    playout->stats.units_late++;
    pc_frame_log_finish(&playout->log, unit->id);
    pc_held_unit_unref(unit);
    skip_to_idr(playout, &playout->stats.units_late);
}

/* ---- Kept access units ---- */

static bool keep(struct pc_playout *playout, struct pc_held_unit *unit)
{
    struct pc_unit_queue *kept = &playout->kept;
    if (kept->length == PC_PLAYOUT_KEPT || kept->bytes > PC_PLAYOUT_KEPT_BYTES) {
        struct pc_held_unit *dropped = pc_unit_queue_pop(kept);
        do {
            playout->stats.units_not_kept++;
            pc_held_unit_unref(dropped);
        } while ((dropped = pc_unit_queue_drop(kept)) != NULL);
    }
    bool taken = pc_unit_queue_push(kept, unit);
    playout->stats.units_not_kept += !taken;
    return taken;
}

int pc_playout_read_unit(struct pc_playout *playout, struct pc_received_frame *frame, uint8_t *out,
                         size_t capacity)
{
    if (!playout->settings.keep_units)
        return pc_fail(-EINVAL, "the reception was opened without keep_units");
    int result = 1;
    struct pc_held_unit *unit = NULL;
    pthread_mutex_lock(&playout->lock);
    const struct pc_held_unit *oldest = pc_unit_queue_oldest(&playout->kept);
    if (oldest == NULL)
        result = nothing_to_read(playout, false, playout->unit_fd);
    else if (oldest->size > capacity)
        result = pc_fail(-ENOSPC, "the access unit is larger than %zu bytes", capacity);
    else
        unit = pc_unit_queue_pop(&playout->kept);
    pthread_mutex_unlock(&playout->lock);
    if (unit == NULL)
        return result;

    *frame = (struct pc_received_frame){
        .id = unit->id,
        .rtp_time = unit->rtp_time,
        .bytes = (uint32_t)unit->size,
        .idr = unit->idr,
        .recovered = unit->recovered,
        .first_packet_ns = unit->first_packet_ns,
        .complete_ns = unit->complete_ns,
    };
    memcpy(out, unit->data, unit->size);
    pc_held_unit_unref(unit);
    return 1;
}

/* ---- The I/O thread's side ---- */

bool pc_playout_offer(struct pc_playout *playout, const struct pc_received_unit *unit,
                      uint64_t now_ns)
{
    bool good = true, queued = false, kept = false;
    uint64_t id = playout->log.next_id; /* only this thread changes it */
    struct pc_held_unit *held = pc_held_unit_create(unit, id, now_ns);
    pthread_mutex_lock(&playout->lock);
    pc_frame_log_begin(&playout->log, unit);
    bool read = !playout->stopping;
    if (read && playout->settings.decode) {
        catch_up(playout, now_ns);
        queued = held != NULL && pc_unit_queue_push(&playout->queue, held);
        if (!queued) {
            playout->stats.units_useless++;
            playout->queue.waiting_for_idr = true;
        }
        good = queued;
    }
    if (read && playout->settings.keep_units) {
        kept = held != NULL && keep(playout, held);
        playout->kept.waiting_for_idr = !kept;
        good = good && kept;
    }
    if (!queued)
        pc_frame_log_finish(&playout->log, id);
    pthread_mutex_unlock(&playout->lock);
    if (queued)
        pthread_cond_signal(&playout->news);
    if (kept)
        eventfd_write(playout->unit_fd, 1);
    pc_held_unit_unref(held);
    return good;
}

void pc_playout_end(struct pc_playout *playout)
{
    pthread_mutex_lock(&playout->lock);
    playout->ended = true;
    pthread_mutex_unlock(&playout->lock);
    eventfd_write(playout->fd, 1);
    eventfd_write(playout->unit_fd, 1);
}

void pc_playout_get_stats(struct pc_playout *playout, struct pc_reception_stats *out)
{
    pthread_mutex_lock(&playout->lock);
    struct pc_receiver_stats receiver = out->receiver;
    *out = playout->stats;
    out->receiver = receiver;
    pthread_mutex_unlock(&playout->lock);
}

int pc_playout_frames(struct pc_playout *playout, uint64_t from_id, struct pc_received_frame *out,
                      int max)
{
    pthread_mutex_lock(&playout->lock);
    int count = pc_frame_log_read(&playout->log, from_id, out, max);
    pthread_mutex_unlock(&playout->lock);
    return count;
}

int pc_playout_fd(const struct pc_playout *playout)
{
    return playout->fd;
}

int pc_playout_unit_fd(const struct pc_playout *playout)
{
    return playout->unit_fd;
}

/* ---- Opening and closing ---- */

static int start(struct pc_playout *playout)
{
    const struct pc_receive_settings *settings = &playout->settings;
    playout->fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    playout->unit_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (playout->fd < 0 || playout->unit_fd < 0)
        return pc_fail(-errno, "cannot make an eventfd: %s", strerror(errno));
    if (!pc_unit_queue_init(&playout->queue, PC_PLAYOUT_QUEUE) ||
        !pc_unit_queue_init(&playout->kept, PC_PLAYOUT_KEPT))
        return pc_fail(-ENOMEM, "out of memory");
    if (!settings->decode)
        return 0;
    int error = pc_decoder_open(settings->codec, settings->decode_threads, &playout->decoder);
    if (error < 0)
        return error;
    error = -pthread_create(&playout->thread, NULL, run, playout);
    if (error < 0)
        return pc_fail(error, "cannot start the decoder's thread: %s", strerror(-error));
    playout->running = true;
    return 0;
}

int pc_playout_open(const struct pc_receive_settings *settings, void (*want_idr)(void *context),
                    void *context, struct pc_playout **out)
{
    struct pc_playout *playout = calloc(1, sizeof *playout);
    if (playout == NULL)
        return pc_fail(-ENOMEM, "out of memory");
    playout->settings = *settings;
    playout->want_idr = want_idr;
    playout->context = context;
    playout->depth =
        settings->picture_depth != 0 ? (unsigned)settings->picture_depth : DEFAULT_PICTURES;
    playout->fd = playout->unit_fd = -1;
    pthread_mutex_init(&playout->lock, NULL);
    pthread_cond_init(&playout->news, NULL);
    int error = start(playout);
    if (error < 0) {
        pc_playout_close(playout);
        return error;
    }
    *out = playout;
    return 0;
}

void pc_playout_stop(struct pc_playout *playout)
{
    pthread_mutex_lock(&playout->lock);
    bool running = playout->running;
    playout->running = false;
    playout->stopping = true;
    pthread_mutex_unlock(&playout->lock);
    if (running) {
        pthread_cond_signal(&playout->news);
        pthread_join(playout->thread, NULL);
    }
    pc_decoder_close(playout->decoder);
    playout->decoder = NULL;
    while (playout->length > 0)
        drop_picture(playout);
}

void pc_playout_close(struct pc_playout *playout)
{
    if (playout == NULL)
        return;
    pc_playout_stop(playout);
    pc_unit_queue_free(&playout->queue);
    pc_unit_queue_free(&playout->kept);
    if (playout->fd >= 0)
        close(playout->fd);
    if (playout->unit_fd >= 0)
        close(playout->unit_fd);
    pthread_mutex_destroy(&playout->lock);
    pthread_cond_destroy(&playout->news);
    free(playout);
}
