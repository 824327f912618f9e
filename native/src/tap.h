/* Taps: complete access units for readers in this process, a bounded few at a time.
 *
 * A tap and its stream may end in either order, and at the same time. */
#ifndef PC_TAP_H
#define PC_TAP_H

#include <pthread.h>

#include "access_unit.h"
#include "core.h"

#define PC_TAP_LIST_SIZE 8

/* The taps of one encode. Zeroed but for the lock when empty. */
struct pc_tap_list {
    pthread_mutex_t lock;
    struct pc_tap *taps[PC_TAP_LIST_SIZE];
    int count;
};

void pc_tap_list_init(struct pc_tap_list *list);

/* The stream ends: each reader sees -EPIPE when it has read what is left. */
void pc_tap_list_free(struct pc_tap_list *list);

int pc_tap_list_count(struct pc_tap_list *list);

/* Media thread: offer a complete unit to all. False when a tap was full, or waits for an IDR that
 * this unit is not: an IDR is wanted. */
bool pc_tap_list_push(struct pc_tap_list *list, struct pc_access_unit *au);

#endif
