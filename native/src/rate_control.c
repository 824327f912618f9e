#include "rate_control.h"

#include <math.h>

/* Before anything was learnt. Game pictures lie around these. */
static const double first_intra = 4.5;
static const double moving_over_intra = 0.25;
static const double first_spread = 0.15;

/* An IDR may take this many frame shares; the frames after it pay back. */
static const double idr_shares = 3.5;

/* Over how many frames a debt is paid back, and how much of its share a frame gives up at most. */
static const double payback_frames = 8.0;
static const double payback_most = 0.4;

/* What a quiet time may save up, in frame shares. */
static const double savings_most = 2.0;

/* Below this difference a picture is quiet: the change is small or covers little. */
static const double quiet_difference = 0.3;

/* A P frame whose picture is as new as this is coded like an intra frame: not at all, wholly. */
static const double cut_from = 0.6, cut_to = 0.9;

/* The quantiser falls by this much a frame at most: a picture finer than its reference costs, and
 * in a quiet one that is nearly all it costs. */
static const double moving_fall_most = 3.0;
static const double quiet_fall_most = 2.0;

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
        .pixels = (double)width * height,
        .intra = first_intra,
        .spread = first_spread,
        .last_qp = -1,
    };
}

void pc_rate_control_set_rate(struct pc_rate_control_state *rc, int bitrate, int fps)
{
    double before = frame_share(rc);
    rc->bitrate = bitrate;
    rc->fps = fps;
    rc->bucket *= frame_share(rc) / before;
}

static bool is_quiet(const struct pc_activity *activity)
{
    return activity->difference >= 0 && activity->difference < quiet_difference;
}

static double intra_scale(const struct pc_rate_control_state *rc,
                          const struct pc_activity *activity)
{
    return rc->pixels * (activity->detail + 0.1);
}

/* Measured on games: bits grow with the root of the difference, and linearly with what is new. */
static double moving_scale(const struct pc_activity *activity)
{
    return (1 + activity->novelty) * sqrt(fmax(activity->difference, 0) + 0.25);
}

/* A small change costs in proportion to its area; the rest is what is refined in a still one. */
static double quiet_scale(const struct pc_activity *activity)
{
    return activity->difference + 0.02;
}

static double cut_share(const struct pc_activity *activity)
{
    return clamp((activity->novelty - cut_from) / (cut_to - cut_from), 0, 1);
}

static double predict(const struct pc_rate_control_state *rc, bool idr,
                      const struct pc_activity *activity)
{
    double intra = rc->intra * intra_scale(rc, activity);
    if (idr)
        return intra;
    if (is_quiet(activity) && rc->quiet > 0)
        return rc->quiet * quiet_scale(activity);
    double inter = rc->moving > 0 ? rc->moving * moving_scale(activity) : moving_over_intra * intra;
    double cut = cut_share(activity);
    return fmin(inter, intra) * (1 - cut) + intra * cut;
}

static double target_bits(const struct pc_rate_control_state *rc, bool idr)
{
    double share = frame_share(rc);
    if (idr)
        return clamp((idr_shares - fmax(rc->bucket, 0) / share) * share, share, idr_shares * share);
    double pay = clamp(rc->bucket / payback_frames, -share, payback_most * share);
    return fmin(share - pay, rc->budget_frames * share * exp(-1.5 * rc->spread));
}

int pc_rate_control_decide(struct pc_rate_control_state *rc, bool idr,
                           const struct pc_activity *activity)
{
    double complexity = fmax(predict(rc, idr, activity), 1);
    double qp = 6 * log2(complexity / target_bits(rc, idr));
    if (!idr && rc->last_qp >= 0)
        qp = fmax(qp, rc->last_qp - (is_quiet(activity) ? quiet_fall_most : moving_fall_most));
    return (int)lround(clamp(qp, rc->qp_min, rc->qp_max));
}

/* Move `learnt` (0: nothing yet) towards what was seen; faster when it was too low. */
static void learn(double *learnt, double seen)
{
    if (*learnt <= 0) {
        *learnt = seen;
        return;
    }
    *learnt *= pow(seen / *learnt, seen > *learnt ? 0.5 : 0.4);
}

void pc_rate_control_update(struct pc_rate_control_state *rc, bool idr,
                            const struct pc_activity *activity, int qp, size_t bytes)
{
    double share = frame_share(rc);
    double bits = fmax(8.0 * (double)bytes, 1);
    double complexity = bits * exp2(qp / 6.0);
    bool quiet = is_quiet(activity);
    if (!idr && !quiet && rc->moving > 0) {
        double error = fabs(log(complexity / predict(rc, idr, activity)));
        rc->spread += (fmin(error, 1) - rc->spread) / 16;
    }
    if (idr)
        rc->intra = complexity / intra_scale(rc, activity);
    else if (quiet)
        learn(&rc->quiet, complexity / quiet_scale(activity));
    else if (cut_share(activity) > 0.5)
        learn(&rc->intra, complexity / intra_scale(rc, activity));
    else
        learn(&rc->moving, complexity / moving_scale(activity));
    rc->last_qp = qp;
    rc->bucket = fmax(rc->bucket + bits - share, -savings_most * share);
}
