#include "arrival_groups.h"

static const double burst_ms = 5;
static const double burst_most_ms = 100;

/* A step of either clock like this begins anew. */
static const double jump_ms = 3000;

static void begin(struct pc_arrival_group *group, double sent_ms, double arrived_ms)
{
    *group = (struct pc_arrival_group){
        .sent_first_ms = sent_ms,
        .sent_last_ms = sent_ms,
        .arrived_first_ms = arrived_ms,
        .arrived_last_ms = arrived_ms,
        .any = true,
    };
}

static bool belongs(const struct pc_arrival_group *group, double sent_ms, double arrived_ms)
{
    if (sent_ms - group->sent_first_ms <= burst_ms)
        return true;
    /* 5.2: what a path held back and let go at once is one burst. */
    double arrival_delta = arrived_ms - group->arrived_last_ms;
    double variation = arrival_delta - (sent_ms - group->sent_last_ms);
    return variation < 0 && arrival_delta <= burst_ms &&
           arrived_ms - group->arrived_first_ms < burst_most_ms;
}

bool pc_arrival_groups_add(struct pc_arrival_groups *groups, const struct pc_packet_report *report,
                           struct pc_delay_variation *out)
{
    struct pc_arrival_group *current = &groups->current;
    double sent_ms = (double)report->packet.sent_ns / 1e6;
    double arrived_ms = (double)report->arrived_us / 1e3;
    double step_ms = arrived_ms - current->arrived_last_ms;
    if (!current->any || step_ms > jump_ms || step_ms < -jump_ms ||
        sent_ms - current->sent_last_ms > jump_ms) {
        groups->before.any = false;
        begin(current, sent_ms, arrived_ms);
        return false;
    }
    if (sent_ms < current->sent_first_ms)
        return false;
    if (belongs(current, sent_ms, arrived_ms)) {
        if (sent_ms > current->sent_last_ms)
            current->sent_last_ms = sent_ms;
        if (arrived_ms > current->arrived_last_ms)
            current->arrived_last_ms = arrived_ms;
        return false;
    }
    const struct pc_arrival_group *before = &groups->before;
    bool complete = before->any && current->arrived_last_ms >= before->arrived_last_ms;
    if (complete)
        *out = (struct pc_delay_variation){
            .arrival_ms = current->arrived_last_ms,
            .arrival_delta_ms = current->arrived_last_ms - before->arrived_last_ms,
            .send_delta_ms = current->sent_last_ms - before->sent_last_ms,
        };
    groups->before = *current;
    begin(current, sent_ms, arrived_ms);
    return complete;
}
