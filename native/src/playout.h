/* From received access units to their readers, each at its own pace:
 *
 *   I/O thread ── offer ──▶ [queue] ──▶ decoder thread ──▶ [pictures] ── eventfd ──▶ reader
 *                  └──────▶ [kept units] ── eventfd ──▶ reader (recording)
 *
 * Nobody waits for a slower one: a decoder that is behind goes on at the next IDR, a reader misses
 * pictures that newer ones took the place of. Each frame's times are kept in a ring. */
#ifndef PC_PLAYOUT_H
#define PC_PLAYOUT_H

#include "receiver.h"

#define PC_PLAYOUT_QUEUE      32              /* access units that the decoder may be behind … */
#define PC_PLAYOUT_LATE_NS    (150 * 1000000) /* … and how long the oldest may wait */
#define PC_PLAYOUT_PICTURES   16              /* at most */
#define PC_PLAYOUT_KEPT       512             /* access units that wait for a recorder … */
#define PC_PLAYOUT_KEPT_BYTES (64 * 1024 * 1024) /* … and their bytes */

struct pc_playout;

/* Start the decoder's thread, if `decode` is set. `want_idr` is called on it, without a lock, when
 * the decoder cannot go on. 0, or a negative errno with pc_error_text(). */
int pc_playout_open(const struct pc_receive_settings *settings, void (*want_idr)(void *context),
                    void *context, struct pc_playout **out);

/* Stop and join the thread, and let go of what it and the readers had. What is offered from now on
 * goes nowhere. */
void pc_playout_stop(struct pc_playout *playout);

/* Likewise, and free it. NULL is fine. */
void pc_playout_close(struct pc_playout *playout);

/* A new access unit, copied. Blocks for no longer than another thread takes to move a pointer.
 * False when an IDR is wanted. */
bool pc_playout_offer(struct pc_playout *playout, const struct pc_received_unit *unit,
                      uint64_t now_ns);

/* Nothing more comes: readers see -EPIPE when they have read what is left. */
void pc_playout_end(struct pc_playout *playout);

/* Any thread, as in core.cdef.h. */
int pc_playout_fd(const struct pc_playout *playout);
int pc_playout_unit_fd(const struct pc_playout *playout);
int pc_playout_read_picture(struct pc_playout *playout, struct pc_received_picture *picture,
                            uint8_t *out, size_t capacity);
int pc_playout_read_unit(struct pc_playout *playout, struct pc_received_frame *frame, uint8_t *out,
                         size_t capacity);
int pc_playout_frames(struct pc_playout *playout, uint64_t from_id, struct pc_received_frame *out,
                      int max);

/* Everything but `receiver`. */
void pc_playout_get_stats(struct pc_playout *playout, struct pc_reception_stats *out);

#endif
