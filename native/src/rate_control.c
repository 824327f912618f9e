#include "rate_control.h"

#include <math.h>
#include <string.h>

/* Before an IDR was seen: bits per pixel at QP 0 of a busy picture. */
static const double prior_intra_bits_per_pixel = 10.0;

/* An IDR may take this many frame shares; the frames after it pay back. */
static const double idr_shares = 3.5;

/* Over how many frames a debt is paid back, and how much a frame gives up at most. */
static const double payback_frames = 8.0;
static const double payback_most = 0.4;

/* What a quiet time may save up, in frame shares. */
static const double savings_most = 2.0;

/* A difference this small (mean absolute, of 255) counts as still. */
static const double activity_floor = 0.25;

/* Bits grow with the difference to the last picture, but less than in proportion: motion is
 * predicted. */
static const double activity_exponent = 0.5;

/* The quantiser falls by this much a frame at most: a finer picture than its reference costs. */
static const double qp_fall_most = 2.0;

static double frame_share(const struct pc_rate_control_state *rc)
{
    return (double)rc->bitrate / rc->fps;
}

static double clamp(double value, double low, double high)
{
    return value < low ? low : value > high ? high : value;
}

void pc_rate_control_init(struct pc_rate_control_state *rc, int width, int height, int bitrate,
                          int fps, double budget_frames)
{
    *rc = (struct pc_rate_control_state){
        .bitrate = bitrate,
        .fps = fps,
        .budget_frames = budget_frames,
        .qp_min = 10,
        .qp_max = 51,
        .last_qp = -1,
        .width = width,
        .height = height,
    };
}

void pc_rate_control_set_rate(struct pc_rate_control_state *rc, int bitrate, int fps)
{
    double before = frame_share(rc);
    rc->bitrate = bitrate;
    rc->fps = fps;
    rc->bucket *= frame_share(rc) / before;
}

static double intra_complexity(const struct pc_rate_control_state *rc)
{
    return rc->complexity_i > 0 ? rc->complexity_i
                                : prior_intra_bits_per_pixel * rc->width * rc->height;
}

/* A P frame's complexity for this much change. */
static double inter_complexity(const struct pc_rate_control_state *rc, double activity)
{
    double intra = intra_complexity(rc);
    if (rc->complexity_p <= 0)
        return intra / 2;
    if (activity < 0)
        return rc->complexity_p;
    double ratio = (activity + activity_floor) / (rc->activity + activity_floor);
    return fmin(rc->complexity_p * pow(ratio, activity_exponent), fmax(intra, rc->complexity_p));
}

int pc_rate_control_decide(struct pc_rate_control_state *rc, bool idr, double activity)
{
    double share = frame_share(rc);
    double complexity = idr ? intra_complexity(rc) : inter_complexity(rc, activity);
    double target;
    if (idr) {
        target = clamp(idr_shares * share - fmax(rc->bucket, 0), share, idr_shares * share);
    } else {
        double pay = clamp(rc->bucket / payback_frames, -share, payback_most * share);
        target = fmin(share - pay, 0.9 * rc->budget_frames * share);
    }
    double qp = 6 * log2(fmax(complexity, 1) / target);
    if (!idr && rc->last_qp >= 0)
        qp = fmax(qp, rc->last_qp - qp_fall_most);
    return (int)lround(clamp(qp, rc->qp_min, rc->qp_max));
}

void pc_rate_control_update(struct pc_rate_control_state *rc, bool idr, double activity, int qp,
                            size_t bytes)
{
    double share = frame_share(rc);
    double bits = 8.0 * (double)bytes;
    double complexity = bits * exp2(qp / 6.0);
    rc->last_qp = qp;
    rc->bucket = fmax(rc->bucket + bits - share, -savings_most * share);
    if (idr) {
        rc->complexity_i = complexity;
        return;
    }
    double expected = inter_complexity(rc, activity);
    if (rc->complexity_p > 0) {
        double weight = complexity > expected ? 0.7 : 0.35;
        complexity = expected * pow(complexity / expected, weight);
    }
    rc->complexity_p = complexity;
    if (activity >= 0)
        rc->activity = activity;
}
