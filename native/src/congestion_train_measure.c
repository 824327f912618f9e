#include "congestion_train_measure.h"

#include <math.h>

/* A queue of this much is one, and so much more where others have most of the link; what a packet
 * of the path's own takes, and what its jitter is, come on top. */
static const double queue_us = 5000, queue_rest_us = 6000;
static const double packet_bits = 1200 * 8, packet_most_us = 30000;
static const double noise_share = 2.5, noise_most_us = 25000;

/* The end of a train is late by more than this share of a frame's interval, and jitter. */
static const double late_intervals = 1.25, late_noise = 2;

/* Trains that arrive not slower than this, of how they were sent, do not fill the path. */
static const double dispersed = 0.9;

/* A path that paused lets through at least this much of its capacity afterwards. */
static const double pause_share = 0.4;

/* How long a capacity is remembered that other flows' packets hide. */
static const double link_memory_s = 3;
static const double best_memory_s = 300;

/* Over packets that left back to back jitter says more than the path does. */
static const double pair_noise_us = 2000;

/* A longer path shows the same delay over and over; a queue moves. */
static const double flat_us = 3000, flat_noise = 0.5;

/* The speed at which the base delay ages while a queue stands: that must not become the path's own
 * too soon. */
static const double base_slow = 0.5;

#define MS                 1000000ull
#define QUEUE_WINDOW_NS    (45 * MS)
#define QUEUE_MOST_NS      (200 * MS)
#define CAPACITY_WINDOW_NS (250 * MS)
#define EXCESS_NS          (700 * MS) /* after a cut the rate sent is still the old one */
#define BUSY_US            200000     /* less is a matter of which frames fell into it */
#define RECEIVED_US        160000
#define PROVEN_US          200000
#define TRAINS_MOST        15

static double clamp(double value, double low, double high)
{
    return value < low ? low : value > high ? high : value;
}

double pc_train_noise_us(const struct pc_train_controller *controller)
{
    return pc_train_meter_noise_us(&controller->trains);
}

/* The larger a flow's share, the sooner it gives way: what a flow sees of others' bursts depends on
 * when its own frames are due, and must not decide. */
double pc_train_queue_limit_us(const struct pc_train_controller *controller)
{
    double packet_us = 0, rest = 0;
    if (controller->link_bps > 0) {
        packet_us = fmin(packet_bits * 1e6 / controller->link_bps, packet_most_us);
        rest = fmax(0, 1 - controller->target_bps / controller->link_bps);
    }
    double noise = fmin(pc_train_noise_us(controller), noise_most_us);
    return queue_us + queue_rest_us * rest * rest + packet_us + noise_share * noise;
}

bool pc_train_is_late(const struct pc_train_controller *controller, int fps)
{
    double late_us = pc_train_queue_limit_us(controller) + late_intervals * 1e6 / fps +
                     late_noise * pc_train_noise_us(controller);
    return (double)controller->heard_queue_us > late_us;
}

double pc_train_predicted_queue_us(const struct pc_train_controller *controller, uint64_t now_ns)
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

static int queue_trains(const struct pc_train_controller *controller)
{
    double window_ns = QUEUE_WINDOW_NS + 10e3 * pc_train_noise_us(controller);
    return pc_train_meter_within(&controller->trains,
                                 (uint64_t)fmin(window_ns, (double)QUEUE_MOST_NS));
}

struct pc_train_rate pc_train_capacity(const struct pc_train_controller *controller)
{
    int trains = pc_train_meter_within(&controller->trains, CAPACITY_WINDOW_NS);
    uint64_t fresh = controller->trains.count - controller->fresh_from;
    if (fresh < (uint64_t)trains)
        trains = fresh < 2 ? 2 : (int)fresh;
    return pc_train_meter_rate(&controller->trains, trains);
}

/* Retransmissions may come on top of the target: whatever they are, the target is what is moved. */
static void measure_excess(struct pc_train_controller *controller, const struct pc_path_meter *path,
                           double dt, uint64_t now_ns)
{
    if (now_ns - controller->cut_ns < EXCESS_NS)
        return;
    double ratio = pc_rate_meter_bps(&path->sent, 500000) / controller->target_bps;
    controller->excess += (clamp(ratio, 1, 4) - controller->excess) * fmin(1, dt / 0.3);
}

static void look(struct pc_train_controller *controller, const struct pc_path_meter *path,
                 double dt)
{
    const struct pc_train *newest = pc_train_meter_get(&controller->trains, 0);
    controller->queue_us = pc_train_meter_queue_us(&controller->trains, queue_trains(controller));
    int64_t base = newest->delay_us - newest->queue_us;
    controller->heard_frame = newest->frame;
    controller->heard_sent_ns = newest->last_sent_ns;
    controller->heard_queue_us = newest->last_delay_us - base;

    struct pc_train_rate rate = pc_train_capacity(controller);
    if (rate.bps > controller->capacity_bps || pc_train_shows_capacity(&rate))
        controller->capacity_bps = rate.bps;
    bool quiet = pc_train_noise_us(controller) < pair_noise_us;
    controller->link_bps = fmax(fmax(controller->capacity_bps, quiet ? rate.pair_bps : 0),
                                controller->link_bps * exp(-dt / link_memory_s));
    double received = pc_rate_meter_bps(&path->received, PROVEN_US) / controller->excess;
    controller->proven_bps = fmax(received, controller->proven_bps * exp(-dt / link_memory_s));
    controller->best_bps =
        fmax(controller->proven_bps, controller->best_bps * exp(-dt / best_memory_s));
}

void pc_train_measure(struct pc_train_controller *controller, const struct pc_path_meter *path,
                      double dt, uint64_t now_ns)
{
    look(controller, path, dt);
    measure_excess(controller, path, dt, now_ns);
}

/* How many of the newest trains met the queue, at least two. */
static int queued_trains(const struct pc_train_controller *controller)
{
    int trains = 0;
    double limit_us = pc_train_queue_limit_us(controller) / 2;
    const struct pc_train *train;
    while ((train = pc_train_meter_get(&controller->trains, trains)) != NULL &&
           (double)train->last_delay_us - (double)train->delay_us + (double)train->queue_us >
               limit_us)
        trains++;
    return trains < 2 ? 2 : trains;
}

void pc_train_measure_queued(struct pc_train_controller *controller,
                             const struct pc_path_meter *path)
{
    controller->fresh_from = controller->trains.count - (uint64_t)queued_trains(controller);
    controller->link_bps = 0;
    look(controller, path, 0);
}

bool pc_train_shows_capacity(const struct pc_train_rate *rate)
{
    return rate->bps > 0 && rate->bps < dispersed * rate->sent_bps;
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
double pc_train_passing_rate(const struct pc_train_controller *controller,
                             const struct pc_path_meter *path)
{
    int trains = queued_trains(controller);
    if (trains > TRAINS_MOST)
        trains = TRAINS_MOST;
    double passing = controller->target_bps * growth_share(controller, trains);
    if (pc_rate_meter_bps(&path->sent, 200000) > 0.8 * controller->target_bps) {
        double received = pc_rate_meter_bps(&path->received, RECEIVED_US);
        passing = fmin(passing, received / (0.9 * controller->excess));
    }
    struct pc_train_rate rate = pc_train_meter_rate(&controller->trains, trains);
    if (rate.bps <= 0 || rate.error >= 0.5)
        return passing;
    double within = rate.bps / controller->excess;
    return clamp(passing, pause_share * within, within);
}

double pc_train_busy_rate(const struct pc_train_controller *controller,
                          const struct pc_path_meter *path, uint64_t now_ns)
{
    int64_t busy_us = (int64_t)((now_ns - controller->state_since_ns) / 1000);
    return pc_rate_meter_bps(&path->received, busy_us < BUSY_US ? BUSY_US : busy_us);
}

bool pc_train_is_flat(const struct pc_train_controller *controller)
{
    int64_t least = INT64_MAX, most = INT64_MIN;
    int trains = pc_train_meter_within(&controller->trains, PC_TRAIN_FLAT_NS);
    for (int back = 0; back < trains; back++) {
        const struct pc_train *train = pc_train_meter_get(&controller->trains, back);
        least = train->delay_us < least ? train->delay_us : least;
        most = train->delay_us > most ? train->delay_us : most;
    }
    return trains >= 5 &&
           (double)(most - least) < flat_us + flat_noise * pc_train_noise_us(controller);
}

void pc_train_rebase(struct pc_train_controller *controller)
{
    int trains = pc_train_meter_within(&controller->trains, PC_TRAIN_FLAT_NS);
    pc_train_meter_rebase(&controller->trains, trains, controller->base_clock_ns);
}

uint64_t pc_train_base_clock(const struct pc_train_controller *controller, double dt)
{
    bool queued =
        controller->state == PC_CONGESTION_DRAINING || controller->state == PC_CONGESTION_COMPETING;
    return controller->base_clock_ns + (uint64_t)(fmin(dt, 10) * 1e9 * (queued ? base_slow : 1));
}
