#include "congestion_reports.h"

#include <math.h>

#define MS 1000000ull

/* Receiver reports come about once a second, each with its own picture of the last second. */
static const double loss_low = 0.02, loss_high = 0.10;
static const double increase_a_second = 1.3, delay_decrease = 0.85;
static const double pacing_factor = 4; /* there are no trains to learn from */
static const double silence_decay = 0.7;

/* A round trip this much over the least one is a queue. */
#define QUEUE_RTT_NS (60 * MS)

/* RFC 3550's interval is five seconds; two may be lost. */
#define SILENCE_NS      (12000 * MS)
#define SILENCE_STEP_NS (1000 * MS)

void pc_reports_controller_init(struct pc_reports_controller *controller, double start_bps)
{
    *controller = (struct pc_reports_controller){.target_bps = start_bps};
}

void pc_reports_controller_remb(struct pc_reports_controller *controller, double bps,
                                uint64_t now_ns)
{
    controller->remb_bps = bps;
    controller->heard_ns = now_ns;
}

void pc_reports_controller_loss(struct pc_reports_controller *controller,
                                const struct pc_path_meter *path, double loss, uint64_t now_ns)
{
    uint64_t rtt_ns = path->rtcp_rtt_ns;
    if (rtt_ns != 0 && (controller->least_rtt_ns == 0 || rtt_ns < controller->least_rtt_ns))
        controller->least_rtt_ns = rtt_ns;
    bool queued = rtt_ns > controller->least_rtt_ns + QUEUE_RTT_NS;
    uint64_t before_ns = controller->moved_ns != 0 ? controller->moved_ns : now_ns;
    double dt = fmin((double)(now_ns - before_ns) / 1e9, 2);
    controller->heard_ns = controller->moved_ns = now_ns;
    if (loss > loss_high)
        controller->target_bps *= 1 - 0.5 * fmin(loss, 1);
    else if (queued)
        controller->target_bps *= delay_decrease;
    else if (loss < loss_low)
        controller->target_bps *= pow(increase_a_second, dt);
}

void pc_reports_controller_update(struct pc_reports_controller *controller,
                                  const struct pc_congestion_settings *settings,
                                  const struct pc_path_meter *path, uint64_t now_ns,
                                  struct pc_congestion_output *out)
{
    uint64_t since_ns = controller->heard_ns;
    if (pc_path_meter_silence_ns(path, now_ns) > SILENCE_NS && now_ns - since_ns > SILENCE_NS) {
        if (now_ns - controller->cut_ns >= SILENCE_STEP_NS) {
            controller->target_bps *= silence_decay;
            controller->cut_ns = now_ns;
        }
        out->state = PC_CONGESTION_SILENT;
    } else {
        out->state = since_ns == 0 ? PC_CONGESTION_STARTING : PC_CONGESTION_STEADY;
    }
    controller->target_bps =
        fmin(fmax(controller->target_bps, settings->min_bps), settings->max_bps);
    out->target_bps = controller->target_bps;
    if (controller->remb_bps > 0)
        out->target_bps = fmin(out->target_bps, controller->remb_bps);
    out->pacing_bps = pacing_factor * out->target_bps;
}
