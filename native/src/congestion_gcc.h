/* Google congestion control (draft-ietf-rmcat-gcc-02), on the sender's side: the baseline, and the
 * fallback. Pure: time is an argument. */
#ifndef PC_CONGESTION_GCC_H
#define PC_CONGESTION_GCC_H

#include "aimd.h"
#include "congestion.h"
#include "path_meter.h"
#include "windowed_min.h"

struct pc_gcc_controller {
    struct pc_arrival_groups groups;
    struct pc_trendline trendline;
    struct pc_aimd aimd;
    struct pc_windowed_min base; /* one-way delay, us: only to report the queue */
    int64_t delay_us;

    double loss_bps;                     /* the bound of section 6 */
    double packets, lost;                /* since it was last moved */
    uint64_t loss_ns, loss_decreased_ns; /* 0 = never */
    uint64_t silence_cut_ns;
    bool silent, heard;
};

void pc_gcc_controller_init(struct pc_gcc_controller *controller, double start_bps);
void pc_gcc_controller_feedback(struct pc_gcc_controller *controller,
                                const struct pc_congestion_settings *settings,
                                const struct pc_path_meter *path,
                                const struct pc_packet_report *reports, int count, uint64_t now_ns);

/* Fills state, target, pacing and queue. */
void pc_gcc_controller_update(struct pc_gcc_controller *controller,
                              const struct pc_congestion_settings *settings,
                              const struct pc_path_meter *path, uint64_t now_ns,
                              struct pc_congestion_output *out);

#endif
