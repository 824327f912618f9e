#include "aimd.h"

#include <math.h>

static const double beta = 0.85;
static const double increase_a_second = 1.08;
static const double link_memory = 0.05; /* weight of a new sample */
static const double response_base_s = 0.1;
static const double packet_bits = 1200 * 8;
static const double received_most = 1.5; /* the rate, over what is received */

#define PATIENCE_LEAST_NS 10000000ull
#define PATIENCE_MOST_NS  200000000ull

void pc_aimd_init(struct pc_aimd *aimd, double bps)
{
    *aimd = (struct pc_aimd){.state = PC_AIMD_INCREASE, .bps = bps};
}

/* In kbit/s, the variance normalised by the mean, as libwebrtc counts. */
static double link_deviation_bps(const struct pc_aimd *aimd)
{
    return sqrt(aimd->link_variance * aimd->link_bps / 1e3) * 1e3;
}

static void learn_link(struct pc_aimd *aimd, double sample_bps)
{
    if (aimd->link_bps <= 0) {
        aimd->link_bps = sample_bps;
        aimd->link_variance = 0.4;
        return;
    }
    aimd->link_bps += link_memory * (sample_bps - aimd->link_bps);
    double error = (aimd->link_bps - sample_bps) / 1e3;
    double normal = fmax(aimd->link_bps / 1e3, 1);
    aimd->link_variance += link_memory * (error * error / normal - aimd->link_variance);
    aimd->link_variance = fmin(fmax(aimd->link_variance, 0.4), 2.5);
}

static double average_packet_bits(const struct pc_aimd *aimd, int fps)
{
    double frame_bits = aimd->bps / fps;
    return frame_bits / ceil(frame_bits / packet_bits);
}

static void increase(struct pc_aimd *aimd, double received_bps, uint64_t rtt_ns, int fps, double dt)
{
    if (aimd->link_bps > 0 && received_bps > aimd->link_bps + 3 * link_deviation_bps(aimd))
        aimd->link_bps = 0; /* it has become faster */
    double more;
    if (aimd->link_bps > 0) {
        double response_s = response_base_s + (double)rtt_ns / 1e9;
        more = fmax(1000 * dt, 0.5 * fmin(dt / response_s, 1) * average_packet_bits(aimd, fps));
    } else {
        more = fmax(1000 * dt, aimd->bps * (pow(increase_a_second, fmin(dt, 1)) - 1));
    }
    double most = received_bps > 0 ? received_most * received_bps : aimd->bps;
    if (aimd->bps < most)
        aimd->bps = fmin(aimd->bps + more, most);
}

/* One reduction has to be seen before the next. */
static bool may_decrease(const struct pc_aimd *aimd, double received_bps, uint64_t rtt_ns,
                         uint64_t now_ns)
{
    uint64_t patience_ns = rtt_ns < PATIENCE_LEAST_NS  ? PATIENCE_LEAST_NS
                           : rtt_ns > PATIENCE_MOST_NS ? PATIENCE_MOST_NS
                                                       : rtt_ns;
    return now_ns - aimd->decreased_ns >= patience_ns ||
           (received_bps > 0 && received_bps < 0.5 * aimd->bps);
}

static void decrease(struct pc_aimd *aimd, double received_bps, uint64_t now_ns)
{
    double came_through = received_bps > 0 ? received_bps : aimd->bps;
    double lower = beta * came_through;
    if (lower > aimd->bps && aimd->link_bps > 0)
        lower = beta * aimd->link_bps;
    aimd->bps = fmin(aimd->bps, lower);
    if (aimd->link_bps > 0 && came_through < aimd->link_bps - 3 * link_deviation_bps(aimd))
        aimd->link_bps = 0;
    learn_link(aimd, came_through);
    aimd->decreased_ns = now_ns;
}

double pc_aimd_update(struct pc_aimd *aimd, enum pc_usage usage, double received_bps,
                      uint64_t rtt_ns, int fps, uint64_t now_ns)
{
    double dt = aimd->updated_ns != 0 ? (double)(now_ns - aimd->updated_ns) / 1e9 : 0;
    aimd->updated_ns = now_ns;

    /* 5.5: over → decrease, under → hold, normal → increase, from hold and increase alike. */
    if (usage == PC_USAGE_OVER)
        aimd->state = PC_AIMD_DECREASE;
    else if (usage == PC_USAGE_UNDER)
        aimd->state = PC_AIMD_HOLD;
    else
        aimd->state = PC_AIMD_INCREASE;

    if (aimd->state == PC_AIMD_INCREASE) {
        increase(aimd, received_bps, rtt_ns, fps, dt);
    } else if (aimd->state == PC_AIMD_DECREASE) {
        if (may_decrease(aimd, received_bps, rtt_ns, now_ns))
            decrease(aimd, received_bps, now_ns);
        aimd->state = PC_AIMD_HOLD;
    }
    return aimd->bps;
}
