/* Every frame carries its own clock: the monotonic time of each stage it passed.
 *
 * A fixed ring of frames. Stages are written by whichever thread runs them, each exactly once;
 * anyone may read a summary at any time. Several viewers send the same frame: FIRST_SENT and
 * LAST_SENT belong to the first viewer that sent it, so that the figure does not depend on how
 * many watch. */
#ifndef PC_FRAME_CLOCK_H
#define PC_FRAME_CLOCK_H

#include <stdatomic.h>
#include <stdint.h>

#include "core.h"

#define PC_FRAME_CLOCK_SIZE 1024 /* frames kept: 17 s at 60 fps */

struct pc_frame {
    _Atomic uint64_t id;                 /* frame id + 1; 0 = never used */
    _Atomic uint64_t at[PC_STAGE_COUNT]; /* ns, CLOCK_MONOTONIC; 0 = not reached */
    _Atomic uint32_t bytes;              /* encoded size */
};

struct pc_frame_clock {
    struct pc_frame frames[PC_FRAME_CLOCK_SIZE];
};

/* Start frame `id`: clears its slot (of the frame PC_FRAME_CLOCK_SIZE earlier) and returns it. */
struct pc_frame *pc_frame_clock_begin(struct pc_frame_clock *clock, uint64_t id);

/* Set a stage's time if the frame does not have it yet. Safe from any thread. */
void pc_frame_mark(struct pc_frame *frame, enum pc_stage stage, uint64_t now_ns);

/* Is the stage's time set? Cheaper than reading a clock for a mark that is there already. */
static inline bool pc_frame_reached(struct pc_frame *frame, enum pc_stage stage)
{
    return atomic_load_explicit(&frame->at[stage], memory_order_relaxed) != 0;
}

/* p50/p95/p99 and maximum, in ns, of (to - from) over the kept frames that reached both stages and
 * began at or after `since_ns`. `out->count` is how many; the rest is 0 when that is 0. */
void pc_frame_clock_summary(struct pc_frame_clock *clock, enum pc_stage from, enum pc_stage to,
                            uint64_t since_ns, struct pc_percentiles *out);

/* Copy the kept frames with id >= `from_id`, oldest first, into `out` (at most `max`). Returns how
 * many. A frame that is overwritten meanwhile is left out. */
int pc_frame_clock_read(struct pc_frame_clock *clock, uint64_t from_id, struct pc_frame_times *out,
                        int max);

#endif
