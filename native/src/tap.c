#include "tap.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "rendition.h"
#include "stream.h"

#define TAP_MAX_DEPTH 64

struct pc_tap {
    pthread_mutex_t lock;
    struct pc_rendition *rendition; /* NULL when the stream has ended; changes under `ends` too */
    int fd, depth;
    bool waiting_for_idr;
    unsigned head, length;
    struct pc_access_unit *units[TAP_MAX_DEPTH];
};

/* Taps and streams end one at a time: whoever comes second finds nothing left of the first. */
static pthread_mutex_t ends = PTHREAD_MUTEX_INITIALIZER;

static void clear(struct pc_tap *tap)
{
    while (tap->length > 0) {
        pc_au_unref(tap->units[tap->head]);
        tap->head = (tap->head + 1) % TAP_MAX_DEPTH;
        tap->length--;
    }
}

static bool add(struct pc_tap_list *list, struct pc_tap *tap)
{
    pthread_mutex_lock(&list->lock);
    bool room = list->count < PC_TAP_LIST_SIZE;
    if (room)
        list->taps[list->count++] = tap;
    pthread_mutex_unlock(&list->lock);
    return room;
}

static void take_out(struct pc_tap_list *list, struct pc_tap *tap)
{
    pthread_mutex_lock(&list->lock);
    int at = 0;
    while (list->taps[at] != tap)
        at++;
    list->taps[at] = list->taps[--list->count];
    pthread_mutex_unlock(&list->lock);
}

int pc_tap_open(struct pc_stream *stream, enum pc_codec_id codec, int depth, struct pc_tap **out)
{
    struct pc_rendition *rendition = pc_stream_rendition(stream, codec);
    if (rendition == NULL)
        return pc_fail(-EINVAL, "there is no codec %d", (int)codec);
    if (depth < 1 || depth > TAP_MAX_DEPTH)
        return pc_fail(-EINVAL, "a tap holds 1 to %d access units, not %d", TAP_MAX_DEPTH, depth);
    struct pc_tap *tap = calloc(1, sizeof *tap);
    if (tap == NULL)
        return pc_fail(-ENOMEM, "out of memory");
    tap->fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (tap->fd < 0) {
        int error = -errno;
        free(tap);
        return pc_fail(error, "cannot make an eventfd: %s", strerror(-error));
    }
    pthread_mutex_init(&tap->lock, NULL);
    tap->rendition = rendition;
    tap->depth = depth;
    tap->waiting_for_idr = true;
    if (!add(&rendition->taps, tap)) {
        tap->rendition = NULL;
        pc_tap_close(tap);
        return pc_fail(-ENOSPC, "a stream has at most %d taps of a codec", PC_TAP_LIST_SIZE);
    }
    pc_feed_request_idr(&rendition->feed); /* first: see pc_sender_start() */
    pc_feed_add_receiver(&rendition->feed);
    *out = tap;
    return 0;
}

int pc_tap_fd(struct pc_tap *tap)
{
    return tap->fd;
}

static bool push(struct pc_tap *tap, struct pc_access_unit *au)
{
    pthread_mutex_lock(&tap->lock);
    if ((int)tap->length == tap->depth) {
        clear(tap);
        tap->waiting_for_idr = true;
    }
    bool taken = au->idr || !tap->waiting_for_idr;
    if (taken) {
        tap->waiting_for_idr = false;
        tap->units[(tap->head + tap->length++) % TAP_MAX_DEPTH] = pc_au_ref(au);
        eventfd_write(tap->fd, 1);
    }
    pthread_mutex_unlock(&tap->lock);
    return taken;
}

void pc_tap_list_init(struct pc_tap_list *list)
{
    memset(list, 0, sizeof *list);
    pthread_mutex_init(&list->lock, NULL);
}

void pc_tap_list_free(struct pc_tap_list *list)
{
    pthread_mutex_lock(&ends);
    for (int i = 0; i < list->count; i++) {
        struct pc_tap *tap = list->taps[i];
        pthread_mutex_lock(&tap->lock);
        tap->rendition = NULL;
        eventfd_write(tap->fd, 1);
        pthread_mutex_unlock(&tap->lock);
    }
    list->count = 0;
    pthread_mutex_unlock(&ends);
    pthread_mutex_destroy(&list->lock);
}

int pc_tap_list_count(struct pc_tap_list *list)
{
    pthread_mutex_lock(&list->lock);
    int count = list->count;
    pthread_mutex_unlock(&list->lock);
    return count;
}

bool pc_tap_list_push(struct pc_tap_list *list, struct pc_access_unit *au)
{
    bool all = true;
    pthread_mutex_lock(&list->lock);
    for (int i = 0; i < list->count; i++)
        all = push(list->taps[i], au) && all;
    pthread_mutex_unlock(&list->lock);
    return all;
}

int pc_tap_read(struct pc_tap *tap, struct pc_tap_frame *frame, uint8_t *out, size_t capacity)
{
    int result;
    pthread_mutex_lock(&tap->lock);
    if (tap->length > 0) {
        struct pc_access_unit *au = tap->units[tap->head];
        long size = pc_au_bitstream(au, out, capacity);
        if (size >= 0) {
            frame->id = au->frame_id;
            frame->rtp_time = au->rtp_time;
            frame->capture_ns = au->capture_ns;
            frame->idr = au->idr;
            frame->size = (uint32_t)size;
            pc_au_unref(au);
            tap->head = (tap->head + 1) % TAP_MAX_DEPTH;
            tap->length--;
            result = 1;
        } else {
            result = pc_fail((int)size, "the access unit is larger than %zu bytes", capacity);
        }
    } else if (tap->rendition == NULL) {
        result = pc_fail(-EPIPE, "the stream has ended");
    } else {
        eventfd_t drained;
        eventfd_read(tap->fd, &drained);
        result = 0;
    }
    pthread_mutex_unlock(&tap->lock);
    return result;
}

void pc_tap_close(struct pc_tap *tap)
{
    if (tap == NULL)
        return;
    pthread_mutex_lock(&ends);
    if (tap->rendition != NULL) {
        take_out(&tap->rendition->taps, tap);
        pc_feed_remove_receiver(&tap->rendition->feed);
    }
    pthread_mutex_unlock(&ends);
    clear(tap);
    close(tap->fd);
    pthread_mutex_destroy(&tap->lock);
    free(tap);
}
