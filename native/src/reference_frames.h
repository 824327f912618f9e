/* Which earlier frames may an encoder refer to? A model of its decoded picture buffer: the last
 * frames since the newest IDR, each referring to one of them, some of which a receiver does not
 * hold. Pure. */
#ifndef PC_REFERENCE_FRAMES_H
#define PC_REFERENCE_FRAMES_H

#include <stdbool.h>
#include <stdint.h>

#define PC_REFERENCE_FRAMES_MAX 16 /* of H.264 (ITU-T H.264 A.3.1) */

struct pc_reference_frame {
    uint64_t id, reference; /* frame ids; `reference` of an IDR is its own */
    bool lost;              /* not to be referred to */
};

struct pc_reference_frames {
    int size;  /* of the buffer, 1..PC_REFERENCE_FRAMES_MAX */
    int count; /* frames in it */
    struct pc_reference_frame frames[PC_REFERENCE_FRAMES_MAX]; /* oldest first */
};

void pc_reference_frames_init(struct pc_reference_frames *frames, int size);

/* Some receiver does not hold the frames `first` to `last`, nor what refers to them. Returns how
 * many of the newest frames are not to be referred to any more; 0 when there is nothing to do,
 * because the next frame would not depend on what was lost. */
int pc_reference_frames_lost(const struct pc_reference_frames *frames, uint64_t first,
                             uint64_t last);

/* Refer to none of the newest `count` frames any more. False, and nothing has changed, when no
 * other would be left. */
bool pc_reference_frames_drop(struct pc_reference_frames *frames, int count);

/* What the next frame refers to, unless it is an IDR: the newest frame that is not lost. NULL:
 * there is none, it has to be an IDR. */
const struct pc_reference_frame *
pc_reference_frames_newest(const struct pc_reference_frames *frames);

/* Frame `id`, newer than all before, was encoded: as an IDR, or referring to
 * pc_reference_frames_newest(). */
void pc_reference_frames_add(struct pc_reference_frames *frames, uint64_t id, bool idr);

#endif
