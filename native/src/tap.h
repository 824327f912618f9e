/* A tap: complete access units for a reader in this process, a bounded few at a time.
 *
 * The tap outlives neither its stream nor its reader: whichever ends first tells the other under
 * the tap's lock, and the reader frees it. */
#ifndef PC_TAP_H
#define PC_TAP_H

#include "access_unit.h"
#include "core.h"

/* Media thread: offer a complete unit. False when the tap was full, or waits for an IDR that this
 * unit is not: an IDR is wanted. */
bool pc_tap_push(struct pc_tap *tap, struct pc_access_unit *au);

/* The stream ends: the reader sees -EPIPE when it has read what is left. */
void pc_tap_end(struct pc_tap *tap);

#endif
