#include "event_ring.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define EVENT_HEAD_BYTES offsetof(struct pc_event, data)

int pc_event_ring_init(struct pc_event_ring *ring)
{
    memset(ring, 0, sizeof *ring);
    ring->events = calloc(PC_EVENT_RING_SIZE, sizeof *ring->events);
    if (ring->events == NULL)
        return -ENOMEM;
    ring->fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (ring->fd < 0) {
        int error = -errno;
        free(ring->events);
        ring->events = NULL;
        return error;
    }
    pthread_mutex_init(&ring->lock, NULL);
    return 0;
}

void pc_event_ring_free(struct pc_event_ring *ring)
{
    close(ring->fd);
    free(ring->events);
    pthread_mutex_destroy(&ring->lock);
}

static void copy_event(struct pc_event *to, const struct pc_event *from)
{
    assert(from->size <= sizeof from->data);
    memcpy(to, from, EVENT_HEAD_BYTES + from->size);
}

bool pc_event_ring_push(struct pc_event_ring *ring, const struct pc_event *event)
{
    uint32_t limit =
        event->kind == PC_EVENT_DATAGRAM ? PC_EVENT_RING_SIZE / 4 * 3 : PC_EVENT_RING_SIZE;
    pthread_mutex_lock(&ring->lock);
    bool room = ring->length < limit;
    bool was_empty = ring->length == 0;
    if (room) {
        copy_event(&ring->events[(ring->head + ring->length) % PC_EVENT_RING_SIZE], event);
        ring->length++;
    } else {
        ring->dropped++;
    }
    pthread_mutex_unlock(&ring->lock);
    if (room && was_empty)
        eventfd_write(ring->fd, 1);
    return room;
}

int pc_event_ring_pop(struct pc_event_ring *ring, struct pc_event *out)
{
    pthread_mutex_lock(&ring->lock);
    int got = ring->length > 0;
    if (got) {
        copy_event(out, &ring->events[ring->head]);
        ring->head = (ring->head + 1) % PC_EVENT_RING_SIZE;
        ring->length--;
    } else {
        eventfd_t drained;
        eventfd_read(ring->fd, &drained);
    }
    pthread_mutex_unlock(&ring->lock);
    return got;
}

uint64_t pc_event_ring_dropped(struct pc_event_ring *ring)
{
    pthread_mutex_lock(&ring->lock);
    uint64_t dropped = ring->dropped;
    pthread_mutex_unlock(&ring->lock);
    return dropped;
}
