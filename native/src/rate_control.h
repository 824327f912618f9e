/* Our own rate control: one quantiser decision a frame, held to a budget. Pure: no clock, no I/O.
 *
 * Model: bits = complexity * 2^(-qp/6) (the quantiser step doubles every 6 QP, ITU-T H.264 8.5.9).
 * The complexity is learnt from each encoded frame, in three classes: intra (IDR frames, and P
 * frames after a cut), moving and quiet. Beforehand it is scaled by what a look at the picture
 * says (activity.h). A leaky bucket carries what was overspent to the next frames. */
#ifndef PC_RATE_CONTROL_H
#define PC_RATE_CONTROL_H

#include <stdbool.h>
#include <stddef.h>

#include "activity.h"

struct pc_rate_control_state {
    int bitrate, fps;
    double budget_frames; /* cap of one P frame, in frame shares */
    int qp_min, qp_max;
    double pixels;
    double intra;   /* complexity per pixel and unit of detail */
    double moving;  /* complexity over the scale of the activity */
    double quiet;   /* the same for quiet pictures; 0 = not learnt, like `moving` */
    double spread;  /* mean absolute error of the predictions, as a natural logarithm */
    double bucket;  /* bits overspent (positive) or saved (negative, bounded) */
    double last_qp; /* -1: none */
};

void pc_rate_control_init(struct pc_rate_control_state *rc, int width, int height, int bitrate,
                          int fps, double budget_frames);
void pc_rate_control_set_rate(struct pc_rate_control_state *rc, int bitrate, int fps);

/* The QP for the next frame. */
int pc_rate_control_decide(struct pc_rate_control_state *rc, bool idr,
                           const struct pc_activity *activity);

/* What the frame really took at `qp`. */
void pc_rate_control_update(struct pc_rate_control_state *rc, bool idr,
                            const struct pc_activity *activity, int qp, size_t bytes);

#endif
