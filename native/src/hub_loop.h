/* Between the hub's two files: hub_loop.c is its thread, hub.c what other threads call. */
#ifndef PC_HUB_LOOP_H
#define PC_HUB_LOOP_H

#include "hub.h"

/* Make epoll, eventfd and timer, and watch them and the sockets. 0, or a negative errno. */
int pc_hub_watch(struct pc_hub *hub);

/* The I/O thread, until pc_hub_stops(). `context`: the hub. */
void *pc_hub_run(void *context);

/* I/O thread: run what waits in `calls`. */
void pc_hub_run_calls(struct pc_hub *hub);

/* I/O thread: has the hub been closed? No call waits any more, and none will. */
bool pc_hub_stops(struct pc_hub *hub);

#endif
