/* Packets sent within a few milliseconds are a group (draft-ietf-rmcat-gcc-02 5.2); how much more
 * time passed between the arrivals of two groups than between their sending is a delay variation.
 * Pure: time is an argument. */
#ifndef PC_ARRIVAL_GROUPS_H
#define PC_ARRIVAL_GROUPS_H

#include "send_log.h"

struct pc_arrival_group {
    double sent_first_ms, sent_last_ms, arrived_first_ms, arrived_last_ms;
    bool any;
};

struct pc_arrival_groups {
    struct pc_arrival_group current, before;
};

struct pc_delay_variation {
    double arrival_ms; /* when the later group was complete, receiver's clock */
    double arrival_delta_ms, send_delta_ms;
};

/* True: a group is complete, and so is `out`. Packets come in order of sending; those that are
 * older than their group are passed over. */
bool pc_arrival_groups_add(struct pc_arrival_groups *groups, const struct pc_packet_report *report,
                           struct pc_delay_variation *out);

#endif
