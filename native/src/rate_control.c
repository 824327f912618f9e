#include "rate_control.h"

#include <math.h>

/* Two to the power of 1/6 per QP. */
static const double nominal_slope = 0.1155;
static const double slope_least = 0.08, slope_most = 1.0, rise_slope = 0.17;

/* Before anything was learnt; game pictures lie around these: bits of an intra picture at QP 0, for
 * each pixel and unit of detail, and by how many QP a P frame may be finer. */
static const double first_intra_bits = 4.5;
static const double first_slope = 0.2;
static const double first_moving_qp = -12;
static const double first_spread = 0.15;

/* An IDR may take this many frame shares; the frames after it pay back. */
static const double idr_shares = 3.5;

/* Over how many frames a debt is paid back, and how much of its share a frame gives up at most. */
static const double payback_frames = 4.0;
static const double payback_most = 0.4;

/* What a quiet time may save up, in frame shares. */
static const double savings_most = 2.0;

/* A debt beyond this, in frame shares, is forgiven: whoever sends has skipped frames meanwhile. */
static const double debt_most = 8.0;

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
        .intra = {.bits = first_intra_bits, .slope = nominal_slope},
        .moving = {.slope = first_slope},
        .quiet = {.slope = first_slope},
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

/* Measured on games: bits grow with the root of the difference, and with what is new. */
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

/* The QP at which the model's frame takes `bits`. Upwards the line is taken to be flat, as it is
 * where no grain vanishes: what is in doubt must not be too large. */
static double model_qp(const struct pc_rate_model *model, double scale, double bits)
{
    double excess = log(model->bits * scale / bits);
    return model->qp + excess / (excess > 0 ? fmin(model->slope, rise_slope) : model->slope);
}

/* How far off the model is: the natural logarithm of seen over expected bits. */
static double model_error(const struct pc_rate_model *model, double scale, double qp, double bits)
{
    return log(bits / (model->bits * scale)) + model->slope * (qp - model->qp);
}

static void learn(struct pc_rate_model *model, double scale, double qp, double bits)
{
    if (model->bits <= 0) {
        model->qp = qp;
        model->bits = bits / scale;
        return;
    }
    double error = model_error(model, scale, qp, bits);
    model->bits *= exp(-model->slope * (qp - model->qp) + error * (error > 0 ? 0.6 : 0.4));
    model->qp = qp;
}

static void learn_slope(struct pc_rate_model *model, double scale, double qp, double bits)
{
    double step = qp - model->qp;
    if (model->bits <= 0 || step == 0)
        return;
    double seen = clamp(log(model->bits * scale / bits) / step, slope_least, slope_most);
    model->slope += (seen - model->slope) * fmin(fabs(step), 4) / 8;
}

static double target_bits(const struct pc_rate_control_state *rc, bool idr)
{
    double share = frame_share(rc);
    if (idr)
        return clamp((idr_shares - fmax(rc->bucket, 0) / share) * share, share, idr_shares * share);
    double pay = clamp(rc->bucket / payback_frames, -share, payback_most * share);
    return fmin(share - pay, rc->budget_frames * share * exp(-1.5 * rc->spread));
}

static double inter_qp(const struct pc_rate_control_state *rc, const struct pc_activity *activity,
                       double intra_qp, double target)
{
    if (is_quiet(activity) && rc->quiet.bits > 0)
        return model_qp(&rc->quiet, quiet_scale(activity), target);
    double moving_qp = rc->moving.bits > 0 ? model_qp(&rc->moving, moving_scale(activity), target)
                                           : intra_qp + first_moving_qp;
    double cut = cut_share(activity);
    return fmin(moving_qp, intra_qp) * (1 - cut) + intra_qp * cut;
}

int pc_rate_control_decide(struct pc_rate_control_state *rc, bool idr,
                           const struct pc_activity *activity)
{
    double target = target_bits(rc, idr);
    double qp = model_qp(&rc->intra, intra_scale(rc, activity), target);
    if (!idr)
        qp = inter_qp(rc, activity, qp, target);
    if (!idr && rc->last_qp >= 0)
        qp = fmax(qp, rc->last_qp - (is_quiet(activity) ? quiet_fall_most : moving_fall_most));
    return (int)lround(clamp(qp, rc->qp_min, rc->qp_max));
}

void pc_rate_control_update(struct pc_rate_control_state *rc, bool idr,
                            const struct pc_activity *activity, int qp, size_t bytes)
{
    double share = frame_share(rc);
    double bits = fmax(8.0 * (double)bytes, 1);
    if (idr || (!is_quiet(activity) && cut_share(activity) > 0.5)) {
        learn(&rc->intra, intra_scale(rc, activity), qp, bits);
    } else if (is_quiet(activity)) {
        learn_slope(&rc->quiet, quiet_scale(activity), qp, bits);
        learn(&rc->quiet, quiet_scale(activity), qp, bits);
    } else {
        double scale = moving_scale(activity);
        if (rc->moving.bits > 0) {
            double error = fabs(model_error(&rc->moving, scale, qp, bits));
            rc->spread += (fmin(error, 1) - rc->spread) / 16;
        }
        learn_slope(&rc->moving, scale, qp, bits);
        learn(&rc->moving, scale, qp, bits);
    }
    rc->last_qp = qp;
    rc->bucket = clamp(rc->bucket + bits - share, -savings_most * share, debt_most * share);
}
