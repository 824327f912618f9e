/* Our own rate control: one quantiser decision a frame, held to a budget. Pure: no clock, no I/O.
 *
 * Model: bits = complexity * 2^(-qp/6) (the quantiser step doubles every 6 QP, ITU-T H.264 8.5.9);
 * the complexity is learnt from each encoded frame, separately for IDR and P frames, and scaled
 * beforehand by how much the picture changed (`activity`). A leaky bucket of a few frames carries
 * what was over- or underspent. */
#ifndef PC_RATE_CONTROL_H
#define PC_RATE_CONTROL_H

#include <stdbool.h>
#include <stddef.h>

struct pc_rate_control_state {
    int bitrate, fps;
    double budget_frames; /* cap of one P frame, in frame shares */
    int qp_min, qp_max;
    double complexity_p, complexity_i; /* bits at QP 0; 0 = not learnt */
    double activity;                   /* of the last frame that was encoded */
    double bucket;                     /* bits overspent (positive) or saved (negative, bounded) */
    double last_qp;
    int width, height;
};

void pc_rate_control_init(struct pc_rate_control_state *rc, int width, int height, int bitrate,
                          int fps, double budget_frames);
void pc_rate_control_set_rate(struct pc_rate_control_state *rc, int bitrate, int fps);

/* The QP for the next frame. `activity`: mean absolute luma difference to the previous picture,
 * sampled (0 = still, 255 = everything); negative when unknown. */
int pc_rate_control_decide(struct pc_rate_control_state *rc, bool idr, double activity);

/* What the frame really took at `qp`. */
void pc_rate_control_update(struct pc_rate_control_state *rc, bool idr, double activity, int qp,
                            size_t bytes);

#endif
