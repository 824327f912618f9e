/* What the trains, and the rates of the path, tell the controller (congestion_train.c): is there a
 * queue, how fast do bytes come through, what of the target does the path take? */
#ifndef PC_CONGESTION_TRAIN_MEASURE_H
#define PC_CONGESTION_TRAIN_MEASURE_H

#include "congestion_train.h"

#define PC_TRAIN_FLAT_NS 800000000ull

/* Look at the newest trains. `dt`: seconds since the last time. */
void pc_train_measure(struct pc_train_controller *controller, const struct pc_path_meter *path,
                      double dt, uint64_t now_ns);

/* Begin anew: the trains that met the queue tell of another capacity than those before. */
void pc_train_measure_queued(struct pc_train_controller *controller,
                             const struct pc_path_meter *path);

/* The rate at which bytes come through within trains, of late. */
struct pc_train_rate pc_train_capacity(const struct pc_train_controller *controller);

/* Were the trains spread by the path? Otherwise their rate is the sender's. */
bool pc_train_shows_capacity(const struct pc_train_rate *rate);

/* What is no queue, but blurs it: jitter. */
double pc_train_noise_us(const struct pc_train_controller *controller);

/* More than this is a queue. */
double pc_train_queue_limit_us(const struct pc_train_controller *controller);

/* So much later than the path's own delay was the end of the newest train that it is no use to wait
 * for others to say the same. */
bool pc_train_is_late(const struct pc_train_controller *controller, int fps);

/* The delay has been the same for PC_TRAIN_FLAT_NS. */
bool pc_train_is_flat(const struct pc_train_controller *controller);

/* Take the delay of that time for the path's own. */
void pc_train_rebase(struct pc_train_controller *controller);

/* What a packet sent at `now_ns` would wait, by what is known. */
double pc_train_predicted_queue_us(const struct pc_train_controller *controller, uint64_t now_ns);

/* The time by which the base delay ages, `dt` seconds later. */
uint64_t pc_train_base_clock(const struct pc_train_controller *controller, double dt);

/* What of the target the path takes, while there is a queue. */
double pc_train_passing_rate(const struct pc_train_controller *controller,
                             const struct pc_path_meter *path);

/* What came through while the queue drained. */
double pc_train_busy_rate(const struct pc_train_controller *controller,
                          const struct pc_path_meter *path, uint64_t now_ns);

#endif
