#include "congestion_gcc.h"

#include <math.h>

#define MS 1000000ull

/* Section 6, and when it is applied: the draft leaves that to the feedback's interval. */
static const double loss_low = 0.02, loss_high = 0.10;
static const double loss_increase = 1.05;
#define LOSS_INTERVAL_NS (1000 * MS)
#define LOSS_DECREASE_NS (300 * MS)
#define LOSS_PACKETS     20
#define RECEIVED_US      500000
#define BASE_WINDOW_NS   10000000000ull
#define SILENCE_STEP_NS  (100 * MS)

static const double pacing_factor = 2.5; /* libwebrtc's */
static const double silence_decay = 0.8;

void pc_gcc_controller_init(struct pc_gcc_controller *controller, double start_bps)
{
    *controller = (struct pc_gcc_controller){.loss_bps = HUGE_VAL};
    pc_trendline_init(&controller->trendline);
    pc_aimd_init(&controller->aimd, start_bps);
    pc_windowed_min_init(&controller->base, BASE_WINDOW_NS);
}

static void bound_by_loss(struct pc_gcc_controller *controller,
                          const struct pc_congestion_settings *settings,
                          const struct pc_path_meter *path, uint64_t now_ns)
{
    if (controller->packets < LOSS_PACKETS)
        return;
    double loss = fmax(0, controller->lost / controller->packets);
    uint64_t patience_ns = LOSS_DECREASE_NS + pc_path_meter_rtt_ns(path, now_ns);
    if (loss > loss_high) {
        if (now_ns - controller->loss_decreased_ns < patience_ns)
            return;
        double current = fmin(controller->loss_bps, controller->aimd.bps);
        controller->loss_bps = current * (1 - 0.5 * fmin(loss, 1));
        controller->loss_decreased_ns = now_ns;
    } else {
        if (now_ns - controller->loss_ns < LOSS_INTERVAL_NS)
            return;
        if (loss < loss_low)
            controller->loss_bps = fmax(controller->loss_bps, controller->aimd.bps) * loss_increase;
    }
    controller->loss_bps = fmin(fmax(controller->loss_bps, settings->min_bps), settings->max_bps);
    controller->loss_ns = now_ns;
    controller->packets = controller->lost = 0;
}

void pc_gcc_controller_feedback(struct pc_gcc_controller *controller,
                                const struct pc_congestion_settings *settings,
                                const struct pc_path_meter *path,
                                const struct pc_packet_report *reports, int count, uint64_t now_ns)
{
    bool received = false;
    int64_t least_us = INT64_MAX;
    for (int i = 0; i < count; i++) {
        const struct pc_packet_report *report = &reports[i];
        controller->packets += report->was_lost ? 0 : 1;
        controller->lost += report->received ? (report->was_lost ? -1 : 0) : 1;
        if (!report->received)
            continue;
        received = true;
        int64_t delay_us = report->arrived_us - (int64_t)(report->packet.sent_ns / 1000);
        least_us = delay_us < least_us ? delay_us : least_us;
        struct pc_delay_variation variation;
        if (pc_arrival_groups_add(&controller->groups, report, &variation))
            pc_trendline_add(&controller->trendline, &variation);
    }
    if (!received)
        return;
    controller->heard = true;
    controller->silent = false;
    controller->delay_us = least_us;
    pc_windowed_min_add(&controller->base, least_us, now_ns);

    struct pc_aimd *aimd = &controller->aimd;
    pc_aimd_update(aimd, controller->trendline.usage,
                   pc_rate_meter_bps(&path->received, RECEIVED_US),
                   pc_path_meter_rtt_ns(path, now_ns), settings->fps, now_ns);
    aimd->bps = fmin(fmax(aimd->bps, settings->min_bps), settings->max_bps);
    bound_by_loss(controller, settings, path, now_ns);
}

static void listen_for_silence(struct pc_gcc_controller *controller,
                               const struct pc_congestion_settings *settings,
                               const struct pc_path_meter *path, uint64_t now_ns)
{
    if (!pc_path_meter_silent(path, now_ns))
        return;
    if (controller->silent && now_ns - controller->silence_cut_ns < SILENCE_STEP_NS)
        return;
    controller->silent = true;
    controller->silence_cut_ns = now_ns;
    controller->aimd.bps = fmax(controller->aimd.bps * silence_decay, settings->min_bps);
}

void pc_gcc_controller_update(struct pc_gcc_controller *controller,
                              const struct pc_congestion_settings *settings,
                              const struct pc_path_meter *path, uint64_t now_ns,
                              struct pc_congestion_output *out)
{
    listen_for_silence(controller, settings, path, now_ns);
    struct pc_aimd *aimd = &controller->aimd;
    aimd->bps = fmin(fmax(aimd->bps, settings->min_bps), settings->max_bps);
    out->target_bps = fmin(aimd->bps, fmax(controller->loss_bps, settings->min_bps));
    out->pacing_bps = pacing_factor * out->target_bps;
    if (pc_windowed_min_any(&controller->base)) {
        int64_t queue_us = controller->delay_us - pc_windowed_min_get(&controller->base);
        out->queue_ns = queue_us > 0 ? (uint64_t)queue_us * 1000 : 0;
    }
    if (controller->silent)
        out->state = PC_CONGESTION_SILENT;
    else if (!controller->heard)
        out->state = PC_CONGESTION_STARTING;
    else if (aimd->state == PC_AIMD_HOLD)
        out->state = PC_CONGESTION_DRAINING;
    else
        out->state = aimd->link_bps > 0 ? PC_CONGESTION_STEADY : PC_CONGESTION_PROBING;
}
