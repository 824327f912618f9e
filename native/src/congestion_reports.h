/* Without transport-wide feedback: a receiver's REMB and the loss of its reports. Pure: time is an
 * argument. */
#ifndef PC_CONGESTION_REPORTS_H
#define PC_CONGESTION_REPORTS_H

#include "congestion.h"
#include "path_meter.h"

struct pc_reports_controller {
    double target_bps;
    double remb_bps;                     /* 0 = none */
    uint64_t least_rtt_ns;               /* 0 = none */
    uint64_t heard_ns, moved_ns, cut_ns; /* 0 = never */
};

void pc_reports_controller_init(struct pc_reports_controller *controller, double start_bps);
void pc_reports_controller_remb(struct pc_reports_controller *controller, double bps,
                                uint64_t now_ns);
void pc_reports_controller_loss(struct pc_reports_controller *controller,
                                const struct pc_path_meter *path, double loss, uint64_t now_ns);

/* Fills state, target and pacing. */
void pc_reports_controller_update(struct pc_reports_controller *controller,
                                  const struct pc_congestion_settings *settings,
                                  const struct pc_path_meter *path, uint64_t now_ns,
                                  struct pc_congestion_output *out);

#endif
