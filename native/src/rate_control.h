/* Our own rate control: one quantiser decision a frame, held to a budget. Pure: no clock, no I/O.
 *
 * Model: the logarithm of a frame's bits falls linearly with its QP. Three classes of frames have a
 * model each: intra (IDR frames, and P frames after a cut), moving and quiet. The bits are learnt
 * from every encoded frame, and so are the slopes of P frames: the quantiser's step doubles every 6
 * QP (ITU-T H.264 8.5.9), but where fine grain just vanishes, one QP can halve a frame. Beforehand
 * the bits are scaled by what a look at the picture says (activity.h). A leaky bucket carries what
 * was overspent to the next frames. */
#ifndef PC_RATE_CONTROL_H
#define PC_RATE_CONTROL_H

#include <stdbool.h>
#include <stddef.h>

#include "activity.h"

struct pc_rate_model {
    double qp,
        bits;     /* a point of the line: this QP takes so many bits at scale 1; 0 = not learnt */
    double slope; /* by how much the natural logarithm of the bits falls per QP */
};

struct pc_rate_control_state {
    int bitrate, fps;
    double budget_frames; /* cap of one P frame, in frame shares */
    int qp_min, qp_max;
    double pixels;
    struct pc_rate_model intra, moving, quiet;
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
