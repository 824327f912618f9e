#include "path_meter.h"

#include <math.h>

/* Loss is counted over about so long. */
static const double loss_memory_s = 1.0;

#define RTT_PERIOD_NS   500000000ull
#define RTCP_RTT_AGE_NS 5000000000ull
#define SILENCE_NS      500000000ull

void pc_path_meter_init(struct pc_path_meter *meter)
{
    *meter = (struct pc_path_meter){.report_loss = -1};
}

void pc_path_meter_sent(struct pc_path_meter *meter, const struct pc_sent_packet *packet)
{
    pc_rate_meter_add(&meter->sent, (int64_t)(packet->sent_ns / 1000), packet->bytes);
    meter->last_sent_ns = packet->sent_ns;
    if (meter->oldest_unanswered_ns == 0)
        meter->oldest_unanswered_ns = packet->sent_ns;
}

static void measure_rtt(struct pc_path_meter *meter, uint64_t rtt_ns, uint64_t now_ns)
{
    if (now_ns - meter->period_began_ns >= RTT_PERIOD_NS) {
        meter->feedback_rtt_ns[1] = meter->feedback_rtt_ns[0];
        meter->feedback_rtt_ns[0] = 0;
        meter->period_began_ns = now_ns;
    }
    if (meter->feedback_rtt_ns[0] == 0 || rtt_ns < meter->feedback_rtt_ns[0])
        meter->feedback_rtt_ns[0] = rtt_ns;
}

void pc_path_meter_feedback(struct pc_path_meter *meter, const struct pc_packet_report *reports,
                            int count, uint64_t now_ns)
{
    uint64_t newest_ns = 0;
    double packets = 0, lost = 0;
    for (int i = 0; i < count; i++) {
        const struct pc_packet_report *report = &reports[i];
        packets += report->was_lost ? 0 : 1;
        if (!report->received) {
            lost++;
            continue;
        }
        lost -= report->was_lost ? 1 : 0;
        pc_rate_meter_add(&meter->received, report->arrived_us, report->packet.bytes);
        if (report->packet.sent_ns > newest_ns)
            newest_ns = report->packet.sent_ns;
    }
    if (newest_ns == 0)
        return;

    uint64_t before_ns = meter->last_heard_ns != 0 ? meter->last_heard_ns : now_ns;
    double kept = exp(-(double)(now_ns - before_ns) / 1e9 / loss_memory_s);
    meter->packets = meter->packets * kept + packets;
    meter->lost = fmax(0, meter->lost * kept + lost);
    meter->last_heard_ns = now_ns;
    meter->oldest_unanswered_ns = meter->last_sent_ns > newest_ns ? now_ns : 0;
    if (now_ns > newest_ns)
        measure_rtt(meter, now_ns - newest_ns, now_ns);
}

void pc_path_meter_rtt(struct pc_path_meter *meter, uint64_t rtt_ns, uint64_t now_ns)
{
    bool first = meter->rtcp_rtt_ns == 0 || now_ns - meter->rtcp_rtt_at_ns > RTCP_RTT_AGE_NS;
    meter->rtcp_rtt_ns = first ? rtt_ns : meter->rtcp_rtt_ns - meter->rtcp_rtt_ns / 4 + rtt_ns / 4;
    meter->rtcp_rtt_at_ns = now_ns;
}

uint64_t pc_path_meter_rtt_ns(const struct pc_path_meter *meter, uint64_t now_ns)
{
    uint64_t rtt_ns = meter->feedback_rtt_ns[0];
    if (rtt_ns == 0 || (meter->feedback_rtt_ns[1] != 0 && meter->feedback_rtt_ns[1] < rtt_ns))
        rtt_ns = meter->feedback_rtt_ns[1];
    bool fresh = meter->rtcp_rtt_ns != 0 && now_ns - meter->rtcp_rtt_at_ns <= RTCP_RTT_AGE_NS;
    if (rtt_ns == 0 || (fresh && meter->rtcp_rtt_ns < rtt_ns))
        rtt_ns = meter->rtcp_rtt_ns;
    return rtt_ns;
}

double pc_path_meter_loss(const struct pc_path_meter *meter)
{
    if (meter->packets < 1)
        return meter->report_loss > 0 ? meter->report_loss : 0;
    return fmin(1, meter->lost / meter->packets);
}

uint64_t pc_path_meter_silence_ns(const struct pc_path_meter *meter, uint64_t now_ns)
{
    if (meter->oldest_unanswered_ns == 0 || now_ns <= meter->oldest_unanswered_ns)
        return 0;
    return now_ns - meter->oldest_unanswered_ns;
}

bool pc_path_meter_silent(const struct pc_path_meter *meter, uint64_t now_ns)
{
    uint64_t patience_ns = 3 * pc_path_meter_rtt_ns(meter, now_ns);
    if (patience_ns < SILENCE_NS)
        patience_ns = SILENCE_NS;
    return pc_path_meter_silence_ns(meter, now_ns) > patience_ns;
}
