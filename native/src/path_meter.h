/* What can be said of a path whatever the controller: round trip, loss, rates, silence. Pure: time
 * is an argument. */
#ifndef PC_PATH_METER_H
#define PC_PATH_METER_H

#include "rate_meter.h"
#include "send_log.h"

struct pc_path_meter {
    struct pc_rate_meter sent;     /* by the sender's clock */
    struct pc_rate_meter received; /* by the receiver's */
    double packets, lost;          /* of late, decaying */
    double report_loss;            /* of the last receiver report; < 0 = none */

    /* The least time from sending to feedback, in this period and the one before: what a receiver
     * waits before it tells is not the network's. */
    uint64_t feedback_rtt_ns[2], period_began_ns;
    uint64_t rtcp_rtt_ns, rtcp_rtt_at_ns; /* smoothed; 0 = none */

    uint64_t last_heard_ns;        /* feedback that told of an arrival; 0 = never */
    uint64_t last_sent_ns;         /* 0 = never */
    uint64_t oldest_unanswered_ns; /* sent after what was last heard of; 0 = nothing */
};

void pc_path_meter_init(struct pc_path_meter *meter);
void pc_path_meter_sent(struct pc_path_meter *meter, const struct pc_sent_packet *packet);
void pc_path_meter_feedback(struct pc_path_meter *meter, const struct pc_packet_report *reports,
                            int count, uint64_t now_ns);
void pc_path_meter_rtt(struct pc_path_meter *meter, uint64_t rtt_ns, uint64_t now_ns);

uint64_t pc_path_meter_rtt_ns(const struct pc_path_meter *meter, uint64_t now_ns); /* 0 = unknown */
double pc_path_meter_loss(const struct pc_path_meter *meter);                      /* 0..1 */

/* Since when something has been sent that no feedback answers; 0 = all is answered. */
uint64_t pc_path_meter_silence_ns(const struct pc_path_meter *meter, uint64_t now_ns);

/* … for longer than transport-wide feedback takes. */
bool pc_path_meter_silent(const struct pc_path_meter *meter, uint64_t now_ns);

#endif
