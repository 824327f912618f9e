#include "congestion_train.h"

#include <math.h>

#define MS 1000000ull

/* The target stays this far below the capacity, so that the queue is empty when a frame begins. */
static const double headroom = 0.95;

/* A queue of this much is one, plus what the path's noise and a packet's own time may be. */
static const double queue_us = 5000, queue_rest_us = 6000;
static const double noise_share = 2.5;
static const double packet_bits = 1200 * 8;

/* While the queue drains, of what comes through; and once it is empty. */
static const double alone_least = 0.95, shared_most = 0.92, alone_least_held = 0.75,
                    give_least = 0.05, give_part = 0.25;
static const double pause_share = 0.4;
static const double give_alone = 0.15, give_most = 0.6, drain_time_us = 700000;
static const double resume_share = 0.93;

/* Additive increase, bit/s a second, doubling with each so much time without a queue; at most so
 * much of the target. All flows of a bottleneck meet the queue at the same time: they add the same,
 * whatever the capacity, and give up in proportion. That makes them equal. */
static const double increase_bps = 100e3, increase_doubling_s = 0.5;
static const double increase_alone = 1.5, increase_shared = 0.12;
static const double crowded = 0.9, crowded_pairs = 0.8;
static const double sure_error = 0.05;

/* How long a capacity is remembered that other flows' packets hide. */
static const double link_memory_s = 3;

static const double start_doubling_s = 0.15, start_most = 3;

/* Against traffic that fills the queue: a share of what comes through within trains, which is more
 * than what is left. */
static const double compete_most = 0.6, compete_increase = 0.3;
static const double compete_queue_us = 30000, compete_sure_s = 4;
static const double compete_loss = 0.08, compete_decrease = 0.85;

/* Beyond so many frame intervals of queue, the next frame would only be late. */
static const double hold_intervals = 2.5;

static const double silence_decay = 0.8;

static const double base_slow = 0.5;
static const double flat_us = 3000;

#define FLAT_NS            800000000ull
#define BUSY_US            200000
#define QUEUE_WINDOW_NS    45000000ull
#define CAPACITY_WINDOW_NS 250000000ull
#define SILENCE_STEP_NS    100000000ull

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

/* What a packet sent at `now_ns` would wait, by what is known. */
static double predicted_queue_us(const struct pc_train_controller *controller, uint64_t now_ns)
{
    unsigned index = controller->heard_frame % PC_TRAIN_FRAMES;
    if (controller->heard_sent_ns == 0 || controller->capacity_bps <= 0 ||
        controller->frames[index].frame != controller->heard_frame)
        return 0;
    double after = (double)(controller->sent_bytes - controller->frames[index].end_bytes);
    double rate = controller->capacity_bps; /* of which ours may be a share */
    if (controller->state == PC_CONGESTION_DRAINING && controller->share_bps > 0)
        rate = fmin(rate, controller->share_bps * controller->excess);
    double since_us = ((double)now_ns - (double)controller->heard_sent_ns) / 1e3;
    double wait_us = (double)controller->heard_queue_us + after * 8e6 / rate - since_us;
    return fmax(0, wait_us);
}

static double noise_us(const struct pc_train_controller *controller)
{
    return pc_train_meter_noise_us(&controller->trains);
}

/* The larger a flow's share, the sooner it gives way: what a flow sees of others' bursts depends on
 * when its own frames are due, and must not decide. */
static double queue_limit_us(const struct pc_train_controller *controller)
{
    double packet_us = 0, rest = 0;
    if (controller->link_bps > 0) {
        packet_us = fmin(packet_bits * 1e6 / controller->link_bps, 30000);
        rest = fmax(0, 1 - controller->target_bps / controller->link_bps);
    }
    double noise = fmin(noise_us(controller), 25000);
    return queue_us + queue_rest_us * rest * rest + packet_us + noise_share * noise;
}

static int queue_trains(const struct pc_train_controller *controller)
{
    double window_ns = QUEUE_WINDOW_NS + 10e3 * noise_us(controller);
    return pc_train_meter_within(&controller->trains, (uint64_t)fmin(window_ns, 200e6));
}

static struct pc_train_rate capacity(const struct pc_train_controller *controller)
{
    int trains = pc_train_meter_within(&controller->trains, CAPACITY_WINDOW_NS);
    uint64_t fresh = controller->trains.count - controller->fresh_from;
    if (fresh < (uint64_t)trains)
        trains = fresh < 2 ? 2 : (int)fresh;
    return pc_train_meter_rate(&controller->trains, trains);
}

static void measure(struct pc_train_controller *controller, const struct pc_path_meter *path,
                    double dt)
{
    const struct pc_train *newest = pc_train_meter_get(&controller->trains, 0);
    controller->queue_us = pc_train_meter_queue_us(&controller->trains, queue_trains(controller));
    int64_t base = newest->delay_us - newest->queue_us;
    controller->heard_frame = newest->frame;
    controller->heard_sent_ns = newest->last_sent_ns;
    controller->heard_queue_us = newest->last_delay_us - base;

    struct pc_train_rate rate = capacity(controller);
    if (rate.bps > 0)
        controller->capacity_bps = rate.bps;
    bool quiet = noise_us(controller) < 2000;
    controller->link_bps = fmax(fmax(controller->capacity_bps, quiet ? rate.pair_bps : 0),
                                controller->link_bps * exp(-dt / link_memory_s));
    double received = pc_rate_meter_bps(&path->received, 200000) / controller->excess;
    controller->proven_bps = fmax(received, controller->proven_bps * exp(-dt / link_memory_s));
}

/* How many of the newest trains met the queue, at least two. */
static int queued_trains(const struct pc_train_controller *controller)
{
    int trains = 0;
    double limit_us = queue_limit_us(controller) / 2;
    const struct pc_train *train;
    while ((train = pc_train_meter_get(&controller->trains, trains)) != NULL &&
           (double)train->last_delay_us - (double)train->delay_us + (double)train->queue_us >
               limit_us)
        trains++;
    return trains < 2 ? 2 : trains;
}

/* How the queue grew from train to train, as a share of what was sent that came through. */
static double growth_share(const struct pc_train_controller *controller, int trains)
{
    const struct pc_train *newest = pc_train_meter_get(&controller->trains, 0);
    const struct pc_train *oldest = NULL;
    for (int back = trains < 8 ? trains : 8; back > 0 && oldest == NULL; back--)
        oldest = pc_train_meter_get(&controller->trains, back);
    if (oldest == NULL)
        return 1;
    double sent_us = (double)(newest->sent_ns - oldest->sent_ns) / 1e3;
    double grown_us = (double)(newest->queue_us - oldest->queue_us);
    return sent_us < 10000 || grown_us <= 0 ? 1 : sent_us / (sent_us + grown_us);
}

/* What of the target the path takes. By the queue's growth and by what arrived; but a path that
 * paused has done nothing else, so that the rate within trains bounds both ways. */
static double passing_rate(const struct pc_train_controller *controller,
                           const struct pc_path_meter *path)
{
    int trains = queued_trains(controller);
    if (trains > 15)
        trains = 15;
    double passing = controller->target_bps * growth_share(controller, trains);
    if (pc_rate_meter_bps(&path->sent, 200000) > 0.8 * controller->target_bps) {
        double received = pc_rate_meter_bps(&path->received, 160000);
        passing = fmin(passing, received / (0.9 * controller->excess));
    }
    struct pc_train_rate rate = pc_train_meter_rate(&controller->trains, trains);
    if (rate.bps <= 0 || rate.error >= 0.5)
        return passing;
    double within = rate.bps / controller->excess;
    return clamp(passing, pause_share * within, within);
}

/* Who has more of the link gives up more of it, and all of them more for a long queue. */
static double drain_rate(const struct pc_train_controller *controller)
{
    double give = give_alone;
    if (!controller->alone && controller->link_bps > 0)
        give = give_least + give_part * fmin(1, controller->share_bps / controller->link_bps);
    double queue = (double)controller->queue_us - queue_limit_us(controller);
    return (1 - fmax(give, fmin(queue / drain_time_us, give_most))) * controller->share_bps;
}

static void cut(struct pc_train_controller *controller, const struct pc_path_meter *path,
                uint64_t now_ns)
{
    controller->share_bps = fmin(controller->target_bps, passing_rate(controller, path));
    controller->target_bps = drain_rate(controller);
    controller->congested_ns = now_ns;
    controller->cut_ns = now_ns;
    controller->cuts++;
    if (controller->cuts == 1) {
        controller->held = false;
        controller->fresh_from = controller->trains.count - (uint64_t)queued_trains(controller);
        controller->link_bps = 0;
        measure(controller, path, 0);
    }
    double wait_us = predicted_queue_us(controller, now_ns);
    double drain_us = fmax(wait_us, (double)controller->queue_us) / give_alone;
    controller->drain_by_ns = now_ns + (uint64_t)(fmin(drain_us, 1e6) * 1e3) + 150 * MS +
                              pc_path_meter_rtt_ns(path, now_ns);
}

/* Retransmissions may come on top of the target: whatever they are, the target is what is moved. */
static void measure_excess(struct pc_train_controller *controller, const struct pc_path_meter *path,
                           double dt, uint64_t now_ns)
{
    if (now_ns - controller->cut_ns < 700 * MS)
        return;
    double ratio = pc_rate_meter_bps(&path->sent, 500000) / controller->target_bps;
    controller->excess += (clamp(ratio, 1, 4) - controller->excess) * fmin(1, dt / 0.3);
}

static void start(struct pc_train_controller *controller, const struct pc_path_meter *path,
                  double dt)
{
    struct pc_train_rate rate = pc_train_meter_rate(&controller->trains, 3);
    if (rate.bps <= 0) { /* frames of one packet: nothing but the queue to go by */
        controller->target_bps *= exp2(dt / start_doubling_s);
        return;
    }
    double open = 0.9 * rate.open_bps / controller->excess;
    double received = pc_rate_meter_bps(&path->received, 100000);
    if (open > controller->target_bps)
        controller->target_bps = fmax(controller->target_bps, fmin(open, start_most * received));
    if (rate.bps < 0.85 * rate.sent_bps)
        controller->full_trains++;
    else
        controller->full_trains = 0;
}

/* `demand`: what is sent, over the target. */
static void grow(struct pc_train_controller *controller, double demand, double dt, uint64_t now_ns)
{
    if (demand < 0.7)
        return;
    double clear_s =
        controller->congested_ns != 0 ? (double)(now_ns - controller->congested_ns) / 1e9 : 100;
    struct pc_train_rate rate = capacity(controller);
    bool sure = controller->alone && rate.bps > 0 && rate.error < sure_error;
    double most = sure ? increase_alone * controller->target_bps
                       : fmax(increase_bps, increase_shared * controller->link_bps);
    double step = fmin(increase_bps * exp2(fmin(clear_s / increase_doubling_s, 30)), most) * dt;
    double again =
        headroom * fmin(controller->proven_bps,
                        pc_train_meter_rate(&controller->trains, 4).open_bps / controller->excess);
    if (sure && again > controller->target_bps)
        controller->target_bps += (again - controller->target_bps) * fmin(1, dt / 0.1);
    double limit = headroom * controller->link_bps / controller->excess;
    if (controller->alone && rate.bps > 0)
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

/* So much later than the path's own delay was the end of the newest train that it is no use to wait
 * for others to say the same. */
static bool is_late(const struct pc_train_controller *controller, int fps)
{
    double late_us = queue_limit_us(controller) + 1.25e6 / fps + 2 * noise_us(controller);
    return (double)controller->heard_queue_us > late_us;
}

/* While the queue stood the path was busy: who got as much through over all as within trains is
 * alone, and knows what the path takes. */
static void resume(struct pc_train_controller *controller, const struct pc_path_meter *path,
                   uint64_t now_ns)
{
    double within_bps = capacity(controller).bps;
    int64_t busy_us = (int64_t)((now_ns - controller->state_since_ns) / 1000);
    double busy_bps = pc_rate_meter_bps(&path->received, busy_us < BUSY_US ? BUSY_US : busy_us);
    double shared = shared_most, alone = alone_least;
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
    double limit = queue_limit_us(controller);
    if ((double)controller->queue_us < limit / 2 && !is_late(controller, fps)) {
        resume(controller, path, now_ns);
        enter(controller, PC_CONGESTION_STEADY, now_ns);
        return;
    }
    if (controller->cuts == 1 && now_ns - controller->cut_ns < 200 * MS) {
        double share_bps =
            fmin(controller->share_bps, capacity(controller).bps / controller->excess);
        if (share_bps > 0) {
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
    if (controller->cuts < 3 || (double)controller->queue_us < limit + compete_queue_us) {
        cut(controller, path, now_ns);
        return;
    }
    enter(controller, PC_CONGESTION_COMPETING, now_ns);
    controller->clear_since_ns = 0;
    controller->usual_queue_us = (double)controller->queue_us;
}

static bool is_flat(const struct pc_train_controller *controller)
{
    int64_t least = INT64_MAX, most = INT64_MIN;
    int trains = pc_train_meter_within(&controller->trains, FLAT_NS);
    for (int back = 0; back < trains; back++) {
        const struct pc_train *train = pc_train_meter_get(&controller->trains, back);
        least = train->delay_us < least ? train->delay_us : least;
        most = train->delay_us > most ? train->delay_us : most;
    }
    return trains >= 5 && (double)(most - least) < flat_us + 0.5 * noise_us(controller);
}

static void compete(struct pc_train_controller *controller, const struct pc_path_meter *path,
                    double dt, uint64_t now_ns)
{
    if ((double)controller->queue_us < queue_limit_us(controller)) {
        if (controller->clear_since_ns == 0)
            controller->clear_since_ns = now_ns;
        if (now_ns - controller->clear_since_ns > 300 * MS) {
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
    if (!lossy && now_ns - controller->state_since_ns > FLAT_NS && is_flat(controller)) {
        int trains = pc_train_meter_within(&controller->trains, FLAT_NS);
        pc_train_meter_rebase(&controller->trains, trains, controller->base_clock_ns);
        controller->target_bps = fmax(controller->target_bps, resume_share * controller->share_bps);
        enter(controller, PC_CONGESTION_STEADY, now_ns);
    }
}

static void wake(struct pc_train_controller *controller, uint64_t now_ns)
{
    controller->target_bps = fmax(controller->target_bps, 0.75 * controller->resume_bps);
    enter(controller, PC_CONGESTION_STEADY, now_ns);
}

/* While a queue stands its delay must not become the path's own too soon. */
static void age_base(struct pc_train_controller *controller, double dt)
{
    bool queued =
        controller->state == PC_CONGESTION_DRAINING || controller->state == PC_CONGESTION_COMPETING;
    controller->base_clock_ns += (uint64_t)(fmin(dt, 10) * 1e9 * (queued ? base_slow : 1));
}

void pc_train_controller_feedback(struct pc_train_controller *controller,
                                  const struct pc_congestion_settings *settings,
                                  const struct pc_path_meter *path,
                                  const struct pc_packet_report *reports, int count,
                                  uint64_t now_ns)
{
    double dt = controller->heard_ns != 0 ? (double)(now_ns - controller->heard_ns) / 1e9 : 0;
    age_base(controller, dt);
    if (pc_train_meter_feedback(&controller->trains, reports, count, controller->base_clock_ns) ==
        0)
        return;
    dt = clamp(dt, 0, 0.2);
    controller->heard_ns = now_ns;
    measure(controller, path, dt);
    measure_excess(controller, path, dt, now_ns);
    if (controller->state == PC_CONGESTION_SILENT)
        wake(controller, now_ns);

    bool queued = (double)controller->queue_us > queue_limit_us(controller) ||
                  is_late(controller, settings->fps);
    double demand = pc_rate_meter_bps(&path->sent, 500000) / controller->target_bps;
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
    double wait_us = predicted_queue_us(controller, now_ns);
    double hold_us = wait_us - hold_intervals * interval_us - noise_us(controller);

    out->state = controller->state;
    out->target_bps = clamp(controller->target_bps, settings->min_bps, settings->max_bps);
    double factor = controller->state == PC_CONGESTION_STARTING ? 4 : controller->alone ? 1.5 : 4;
    out->pacing_bps =
        fmax(factor * out->target_bps, fmin(1.3 * controller->capacity_bps, 4 * out->target_bps));
    out->probe_bps = 0;
    out->queue_ns = (uint64_t)(fmax(0, (double)controller->queue_us) * 1e3);
    if (controller->state == PC_CONGESTION_DRAINING && hold_us > 0) {
        out->hold_ns = (uint64_t)(fmin(hold_us, 1e6) * 1e3);
        controller->held = true;
    }
}
