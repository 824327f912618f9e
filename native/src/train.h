/* Packet trains: what the burst of a frame tells of the path. Pure: time is an argument.
 *
 * The packets of a frame leave faster than the path takes them, so that they arrive at the path's
 * own rate: the slope of arrival over bytes is the inverse of the capacity. The least one-way delay
 * of a train, over the least of the last seconds, is the queue that it met: jitter adds to single
 * packets, a queue to all of them. */
#ifndef PC_TRAIN_H
#define PC_TRAIN_H

#include "send_log.h"
#include "windowed_min.h"

#define PC_TRAINS 64 /* power of two: a second at 60 frames a second */

struct pc_train {
    uint64_t sent_ns, last_sent_ns; /* of the first packet and the last */
    uint32_t frame;
    int packets; /* received */
    int lost;
    uint32_t bytes; /* received */
    int64_t arrived_us, last_arrived_us;
    int64_t delay_us;      /* the least arrival minus sending: of two clocks */
    int64_t last_delay_us; /* … of the train's second half */
    int64_t queue_us;      /* `delay_us` over the path's own */

    /* Moments about the means of bytes after the first packet (x), arrival (y), sending (z). */
    /* Of packets that left back to back: bytes, and the time between their arrivals. */
    double pair_bytes, pair_us;

    double mean_x, mean_y, mean_z, xx, xy, xz, yy;
};

struct pc_train_meter {
    struct pc_windowed_min base; /* one-way delay, us, of two clocks */
    struct pc_train trains[PC_TRAINS];
    uint64_t count;    /* trains ever; the newest is trains[(count - 1) % PC_TRAINS] */
    double jitter_us2; /* of packets about the line of their train: a variance */
    double step_us;    /* how far a train's queue lies off the line between its neighbours' */
};

void pc_train_meter_init(struct pc_train_meter *meter);

/* Take the reports of one feedback. What it tells of a frame is a train, even if the next feedback
 * tells of the frame's other packets. Returns how many trains there were. */
int pc_train_meter_feedback(struct pc_train_meter *meter, const struct pc_packet_report *reports,
                            int count, uint64_t now_ns);

/* The `back`-th train before the newest, or NULL. */
const struct pc_train *pc_train_meter_get(const struct pc_train_meter *meter, int back);

/* How many of the newest trains were sent within `window_ns` of the newest one. */
int pc_train_meter_within(const struct pc_train_meter *meter, uint64_t window_ns);

struct pc_train_rate {
    double bps;   /* at which bytes arrived within trains: 0 = nothing to go by */
    double error; /* of bps, relative, one standard deviation; 1 = unknown */
    double sent_bps;
    double pair_bps; /* of packets that left back to back: nobody comes between them. 0 = unknown */
    double open_bps; /* bytes over the time from sending to the last arrival, less the path's own
                      * delay: what was free when they came */
};

/* The rate at which the newest `trains` trains came through. */
struct pc_train_rate pc_train_meter_rate(const struct pc_train_meter *meter, int trains);

/* The least queue that the newest `trains` trains met. */
int64_t pc_train_meter_queue_us(const struct pc_train_meter *meter, int trains);

/* How much a train's queue is blurred by what is no queue. */
double pc_train_meter_noise_us(const struct pc_train_meter *meter);

/* The path's own delay is what the newest `trains` trains saw: forget the lesser one. */
void pc_train_meter_rebase(struct pc_train_meter *meter, int trains, uint64_t now_ns);

#endif
