/* The bounded ring of events from the core's threads to Python, with one eventfd. */
#ifndef PC_EVENT_RING_H
#define PC_EVENT_RING_H

#include <pthread.h>

#include "core.h"

#define PC_EVENT_RING_SIZE 512

struct pc_event_ring {
    pthread_mutex_t lock;
    int fd;
    uint32_t head, length;
    uint64_t dropped;
    struct pc_event *events; /* PC_EVENT_RING_SIZE of them */
};

/* 0, or a negative errno. */
int pc_event_ring_init(struct pc_event_ring *ring);
void pc_event_ring_free(struct pc_event_ring *ring);

/* Copy an event into the ring. Datagrams may fill three quarters of it: a flood of them never keeps
 * out what the core itself has to say. False when there was no room (counted). */
bool pc_event_ring_push(struct pc_event_ring *ring, const struct pc_event *event);

/* Take the oldest: 1, or 0 when empty. */
int pc_event_ring_pop(struct pc_event_ring *ring, struct pc_event *out);

uint64_t pc_event_ring_dropped(struct pc_event_ring *ring);

#endif
