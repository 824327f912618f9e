#include "congestion_train.h"

#include <math.h>

#include "congestion_train_measure.h"

#define MS 1000000ull

/* The target stays this far below the capacity, so that the queue is empty when a frame begins. */
static const double headroom = 0.95;

/* Starting: of what was free when the trains came, but no more than so many times what arrived. */
static const double start_share = 0.9, start_most = 3;
static const double start_doubling_s = 0.15; /* where trains tell nothing */
static const double start_full = 0.85;       /* trains that arrive so much slower fill the path */

/* Additive increase, bit/s a second, doubling with each so much time without a queue. All flows of
 * a bottleneck meet the queue at the same time: they add the same, whatever the capacity, and give
 * up in proportion. That makes them equal. At most so much a second: of the target when alone and
 * sure of the capacity, else of the link. */
static const double increase_bps = 100e3, increase_doubling_s = 0.5;
static const double increase_alone = 1.5, increase_shared = 0.12;
static const double sure_error = 0.05;
static const double demand_least = 0.7; /* of the target, is sent: less proves nothing */
static const double again_s = 0.1;      /* to return to what was proven */

/* While the queue drains a flow gives up this share of what comes through: alone; among others, by
 * its part of the link; and for a long queue as much as empties it in the time given. */
static const double give_alone = 0.15, give_least = 0.05, give_part = 0.25, give_most = 0.6;
static const double drain_time_us = 700000;
static const double resume_share = 0.93; /* of the capacity, once the queue is empty */
#define SETTLE_NS (200 * MS)             /* in which trains may still show a lower capacity */

/* Alone on the bottleneck: who gets as much through over all as within trains. */
static const double alone_least = 0.95, alone_most_shared = 0.92;
static const double alone_least_held = 0.75;
static const double crowded = 0.9, crowded_pairs = 0.8;

/* Beyond so many frame intervals of queue, the next frame would only be late. */
static const double hold_intervals = 2.5;

/* Against traffic that fills the queue: up to this share of what comes through within trains, which
 * is more than what is left. Slowly at first: the queue may be of flows like ours, on their way
 * back. */
static const double compete_most = 0.6, compete_increase = 0.3, compete_sure_s = 4;
static const double compete_loss = 0.08, compete_decrease = 0.85;
static const double compete_queue_us = 30000;
static const int compete_cuts = 3;
#define CLEAR_NS (300 * MS)

/* Padding, where for a while the encoder gives too little to prove what the path takes, and more
 * than the target may be had. */
static const double probe_demand = 0.5, probe_below = 0.85;
#define PROBE_AFTER_NS (2000 * MS)
#define PROBE_NS       (500 * MS)
#define PROBE_EVERY_NS (8000 * MS)

static const double silence_decay = 0.8, wake_share = 0.75;
#define SILENCE_STEP_NS (100 * MS)

/* Bursts: fast enough to show the capacity; among others so fast that they do not come between.
 * Where the path takes several times what the encoder gives, nothing is gained by waiting. */
static const double pace_starting = 4, pace_alone = 1.5, pace_shared = 4, pace_capacity = 1.3;
static const double pace_open = 2.5;

static double clamp(double value, double low, double high)
{
    return value < low ? low : value > high ? high : value;
}

static void enter(struct pc_train_controller *controller, enum pc_congestion_state state,
                  uint64_t now_ns)
{
    if (controller->state != state)
        controller->state_since_ns = now_ns;
    controller->state = state;
}

void pc_train_controller_init(struct pc_train_controller *controller, double start_bps)
{
    *controller = (struct pc_train_controller){
        .state = PC_CONGESTION_STARTING, .target_bps = start_bps, .excess = 1, .alone = true};
    pc_train_meter_init(&controller->trains);
}

void pc_train_controller_path_changed(struct pc_train_controller *controller, double hint_bps)
{
    pc_train_controller_init(controller, hint_bps);
}

void pc_train_controller_sent(struct pc_train_controller *controller,
                              const struct pc_sent_packet *packet)
{
    controller->sent_bytes += packet->bytes;
    unsigned index = packet->frame % PC_TRAIN_FRAMES;
    controller->frames[index].frame = packet->frame;
    controller->frames[index].end_bytes = controller->sent_bytes;
}

/* Who has more of the link gives up more of it, and all of them more for a long queue. */
static double drain_rate(const struct pc_train_controller *controller)
{
    double give = give_alone;
    if (!controller->alone && controller->link_bps > 0)
        give = give_least + give_part * fmin(1, controller->share_bps / controller->link_bps);
    double queue = (double)controller->queue_us - pc_train_queue_limit_us(controller);
    return (1 - fmax(give, fmin(queue / drain_time_us, give_most))) * controller->share_bps;
}

static void cut(struct pc_train_controller *controller, const struct pc_path_meter *path,
                uint64_t now_ns)
{
    controller->share_bps = fmin(controller->target_bps, pc_train_passing_rate(controller, path));
    controller->target_bps = drain_rate(controller);
    controller->congested_ns = now_ns;
    controller->cut_ns = now_ns;
    controller->cuts++;
    if (controller->cuts == 1) {
        controller->held = false;
        pc_train_measure_queued(controller, path);
    }
    double wait_us = pc_train_predicted_queue_us(controller, now_ns);
    double drain_us = fmax(wait_us, (double)controller->queue_us) / give_alone;
    controller->drain_by_ns = now_ns + (uint64_t)(fmin(drain_us, 1e6) * 1e3) + 150 * MS +
                              pc_path_meter_rtt_ns(path, now_ns);
}

static void start(struct pc_train_controller *controller, const struct pc_path_meter *path,
                  double dt)
{
    struct pc_train_rate rate = pc_train_meter_rate(&controller->trains, 3);
    if (rate.bps <= 0) { /* frames of one packet: nothing but the queue to go by */
        controller->target_bps *= exp2(dt / start_doubling_s);
        return;
    }
    double open = start_share * rate.open_bps / controller->excess;
    double received = pc_rate_meter_bps(&path->received, 100000);
    if (open > controller->target_bps)
        controller->target_bps = fmax(controller->target_bps, fmin(open, start_most * received));
    if (rate.bps < start_full * rate.sent_bps)
        controller->full_trains++;
    else
        controller->full_trains = 0;
}

/* `demand`: what is sent, over the target. */
static void grow(struct pc_train_controller *controller, double demand, double dt, uint64_t now_ns)
{
    if (demand < demand_least)
        return;
    double clear_s =
        controller->congested_ns != 0 ? (double)(now_ns - controller->congested_ns) / 1e9 : 100;
    struct pc_train_rate rate = pc_train_capacity(controller);
    bool sure = controller->alone && rate.bps > 0 && rate.error < sure_error;
    double most = sure ? increase_alone * controller->target_bps
                       : fmax(increase_bps, increase_shared * controller->link_bps);
    double step = fmin(increase_bps * exp2(fmin(clear_s / increase_doubling_s, 30)), most) * dt;
    double again =
        headroom * fmin(controller->proven_bps,
                        pc_train_meter_rate(&controller->trains, 4).open_bps / controller->excess);
    if (sure && again > controller->target_bps)
        controller->target_bps += (again - controller->target_bps) * fmin(1, dt / again_s);
    double limit = headroom * controller->link_bps / controller->excess;
    if (controller->alone && rate.bps > 0 && !pc_train_shows_capacity(&rate))
        limit = HUGE_VAL;
    else if (controller->alone && rate.bps > 0)
        limit = headroom * rate.bps / controller->excess / fmax(0.5, 1 - rate.error);
    else if (limit <= 0)
        limit = HUGE_VAL;
    if (controller->alone && limit < crowded * controller->target_bps)
        controller->alone = false; /* no queue, but others' packets between ours */
    else if (controller->target_bps + step <= limit)
        controller->target_bps += step;
    else if (controller->target_bps > limit)
        controller->target_bps += fmax(limit - controller->target_bps, -step);
    else
        controller->target_bps = limit;
}

/* While the queue stood the path was busy: who got as much through over all as within trains is
 * alone, and knows what the path takes. */
static void resume(struct pc_train_controller *controller, const struct pc_path_meter *path,
                   uint64_t now_ns)
{
    double within_bps = pc_train_capacity(controller).bps;
    double busy_bps = pc_train_busy_rate(controller, path, now_ns);
    double shared = alone_most_shared, alone = alone_least;
    if (controller->held) { /* then the path was not busy all the time: by what is known before */
        busy_bps = controller->share_bps * controller->excess;
        shared = alone = alone_least_held;
    }
    if (busy_bps < shared * within_bps || within_bps <= crowded_pairs * controller->link_bps)
        controller->alone = false;
    else if (busy_bps >= alone * within_bps)
        controller->alone = true;
    if (!controller->alone)
        return;
    double bps = fmin(within_bps, busy_bps);
    controller->target_bps = fmax(controller->target_bps, resume_share * bps / controller->excess);
}

static void drain(struct pc_train_controller *controller, const struct pc_path_meter *path, int fps,
                  uint64_t now_ns)
{
    double limit = pc_train_queue_limit_us(controller);
    if ((double)controller->queue_us < limit / 2 && !pc_train_is_late(controller, fps)) {
        resume(controller, path, now_ns);
        enter(controller, PC_CONGESTION_STEADY, now_ns);
        return;
    }
    if (controller->cuts == 1 && now_ns - controller->cut_ns < SETTLE_NS) {
        struct pc_train_rate rate = pc_train_capacity(controller);
        double share_bps = fmin(controller->share_bps, rate.bps / controller->excess);
        if (share_bps > 0) {
            controller->link_bps = fmin(controller->link_bps, fmax(rate.bps, rate.pair_bps));
            controller->share_bps = share_bps;
            controller->target_bps = fmin(controller->target_bps, drain_rate(controller));
        }
    }
    if (now_ns < controller->drain_by_ns)
        return;
    if ((double)controller->queue_us < limit) { /* as good as empty */
        enter(controller, PC_CONGESTION_STEADY, now_ns);
        return;
    }
    if (controller->cuts < compete_cuts ||
        (double)controller->queue_us < limit + compete_queue_us) {
        cut(controller, path, now_ns);
        return;
    }
    enter(controller, PC_CONGESTION_COMPETING, now_ns);
    controller->clear_since_ns = 0;
    controller->usual_queue_us = (double)controller->queue_us;
}

static void compete(struct pc_train_controller *controller, const struct pc_path_meter *path,
                    double dt, uint64_t now_ns)
{
    if ((double)controller->queue_us < pc_train_queue_limit_us(controller)) {
        if (controller->clear_since_ns == 0)
            controller->clear_since_ns = now_ns;
        if (now_ns - controller->clear_since_ns > CLEAR_NS) {
            controller->congested_ns = now_ns;
            enter(controller, PC_CONGESTION_STEADY, now_ns);
        }
    } else {
        controller->clear_since_ns = 0;
    }
    uint64_t patience_ns = pc_path_meter_rtt_ns(path, now_ns) + 200 * MS;
    double queue = (double)controller->queue_us;
    bool falling = queue < controller->usual_queue_us;
    controller->usual_queue_us += (queue - controller->usual_queue_us) * fmin(1, dt / 0.3);
    bool lossy = pc_path_meter_loss(path) > compete_loss;
    if (lossy && now_ns - controller->cut_ns > patience_ns) {
        double received = pc_rate_meter_bps(&path->received, 300000) / controller->excess;
        controller->target_bps = compete_decrease * fmin(controller->target_bps, received);
        controller->cut_ns = now_ns;
    } else if (!lossy && !falling) {
        double most = compete_most * controller->capacity_bps / controller->excess;
        double sure = fmin(1, (double)(now_ns - controller->state_since_ns) / 1e9 / compete_sure_s);
        double step = compete_increase * sure * controller->capacity_bps * dt;
        if (controller->target_bps < most)
            controller->target_bps = fmin(controller->target_bps + step, most);
    }

    /* At this rate a queue of ours would be gone, and that of others would move: the path is
     * longer than it was. */
    if (!lossy && now_ns - controller->state_since_ns > PC_TRAIN_FLAT_NS &&
        pc_train_is_flat(controller)) {
        pc_train_rebase(controller);
        controller->target_bps = fmax(controller->target_bps, resume_share * controller->share_bps);
        enter(controller, PC_CONGESTION_STEADY, now_ns);
    }
}

static bool is_probe_due(struct pc_train_controller *controller,
                         const struct pc_congestion_settings *settings, double demand,
                         uint64_t now_ns)
{
    if (demand >= probe_demand)
        controller->limited_since_ns = 0;
    else if (controller->limited_since_ns == 0)
        controller->limited_since_ns = now_ns;
    double known_bps = controller->capacity_bps > 0 ? controller->best_bps : HUGE_VAL;
    bool more = controller->target_bps < probe_below * fmin(known_bps, settings->max_bps);
    return more && controller->limited_since_ns != 0 &&
           now_ns - controller->limited_since_ns >= PROBE_AFTER_NS &&
           (controller->probed_ns == 0 || now_ns - controller->probed_ns >= PROBE_EVERY_NS);
}

static void wake(struct pc_train_controller *controller, uint64_t now_ns)
{
    controller->target_bps = fmax(controller->target_bps, wake_share * controller->resume_bps);
    enter(controller, PC_CONGESTION_STEADY, now_ns);
}

void pc_train_controller_feedback(struct pc_train_controller *controller,
                                  const struct pc_congestion_settings *settings,
                                  const struct pc_path_meter *path,
                                  const struct pc_packet_report *reports, int count,
                                  uint64_t now_ns)
{
    double dt = controller->heard_ns != 0 ? (double)(now_ns - controller->heard_ns) / 1e9 : 0;
    uint64_t base_clock_ns = pc_train_base_clock(controller, dt);
    if (pc_train_meter_feedback(&controller->trains, reports, count, base_clock_ns) == 0)
        return;
    dt = clamp(dt, 0, 0.2);
    controller->base_clock_ns = base_clock_ns;
    controller->heard_ns = now_ns;
    pc_train_measure(controller, path, dt, now_ns);
    if (controller->state == PC_CONGESTION_SILENT)
        wake(controller, now_ns);

    bool queued = (double)controller->queue_us > pc_train_queue_limit_us(controller) ||
                  pc_train_is_late(controller, settings->fps);
    bool probing = controller->state == PC_CONGESTION_PROBING;
    double demand =
        pc_rate_meter_bps(&path->sent, probing ? 200000 : 500000) / controller->target_bps;
    if (!probing && is_probe_due(controller, settings, demand, now_ns) && !queued &&
        (controller->state == PC_CONGESTION_STARTING ||
         controller->state == PC_CONGESTION_STEADY)) {
        controller->probed_ns = now_ns;
        enter(controller, PC_CONGESTION_PROBING, now_ns);
    }
    switch (controller->state) {
    case PC_CONGESTION_STARTING:
    case PC_CONGESTION_STEADY:
    case PC_CONGESTION_PROBING:
        if (queued) {
            controller->cuts = 0;
            cut(controller, path, now_ns);
            enter(controller, PC_CONGESTION_DRAINING, now_ns);
        } else if (controller->state == PC_CONGESTION_STARTING) {
            start(controller, path, dt);
            if (controller->full_trains >= 3 || controller->target_bps >= settings->max_bps)
                enter(controller, PC_CONGESTION_STEADY, now_ns);
        } else {
            grow(controller, demand, dt, now_ns);
        }
        break;
    case PC_CONGESTION_DRAINING:
        drain(controller, path, settings->fps, now_ns);
        break;
    case PC_CONGESTION_COMPETING:
        compete(controller, path, dt, now_ns);
        break;
    case PC_CONGESTION_SILENT:
    case PC_CONGESTION_FIXED:
        break;
    }
    controller->target_bps = clamp(controller->target_bps, settings->min_bps, settings->max_bps);
}

static void listen_for_silence(struct pc_train_controller *controller,
                               const struct pc_congestion_settings *settings,
                               const struct pc_path_meter *path, uint64_t now_ns)
{
    if (!pc_path_meter_silent(path, now_ns))
        return;
    if (controller->state != PC_CONGESTION_SILENT) {
        controller->resume_bps = controller->target_bps;
        enter(controller, PC_CONGESTION_SILENT, now_ns);
        controller->cut_ns = now_ns - SILENCE_STEP_NS;
    }
    while (now_ns - controller->cut_ns >= SILENCE_STEP_NS) {
        controller->cut_ns += SILENCE_STEP_NS;
        controller->target_bps *= silence_decay;
        if (controller->target_bps < settings->min_bps) {
            controller->target_bps = settings->min_bps;
            controller->cut_ns = now_ns;
        }
    }
}

void pc_train_controller_update(struct pc_train_controller *controller,
                                const struct pc_congestion_settings *settings,
                                const struct pc_path_meter *path, uint64_t now_ns,
                                struct pc_congestion_output *out)
{
    listen_for_silence(controller, settings, path, now_ns);
    double interval_us = 1e6 / settings->fps;
    double wait_us = pc_train_predicted_queue_us(controller, now_ns);
    double hold_us = wait_us - hold_intervals * interval_us - pc_train_noise_us(controller);

    out->state = controller->state;
    out->target_bps = clamp(controller->target_bps, settings->min_bps, settings->max_bps);
    double factor = pace_shared;
    if (controller->state == PC_CONGESTION_STARTING)
        factor = pace_starting;
    else if (controller->alone)
        factor = pace_alone;
    double open = pace_capacity * controller->capacity_bps;
    double most = controller->capacity_bps > pace_open * out->target_bps
                      ? HUGE_VAL
                      : pace_shared * out->target_bps;
    out->pacing_bps = fmax(factor * out->target_bps, fmin(open, most));
    if (controller->state == PC_CONGESTION_PROBING) {
        out->probe_bps = out->target_bps;
        if (now_ns - controller->state_since_ns >= PROBE_NS)
            enter(controller, PC_CONGESTION_STEADY, now_ns);
    }
    out->queue_ns = (uint64_t)(fmax(0, (double)controller->queue_us) * 1e3);
    if (controller->state == PC_CONGESTION_DRAINING && hold_us > 0) {
        out->hold_ns = (uint64_t)(fmin(hold_us, 1e6) * 1e3);
        controller->held = true;
    }
}
