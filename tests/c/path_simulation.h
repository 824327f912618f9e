/* A path in virtual time for tests of congestion control: flows of frames, each under a controller,
 * share one emulated link (bench/link). What is there: an encoder that follows its target within
 * noise, a pacer, and a receiver whose feedback comes every so often and knows 250 us. */
#ifndef PC_TEST_PATH_SIMULATION_H
#define PC_TEST_PATH_SIMULATION_H

#include <math.h>
#include <stdlib.h>

#include "congestion.h"
#include "harness.h"
#include "link.h"
#include "send_log.h"

#define SIMULATION_MS    1000000ull
#define SIMULATION_S     1000000000ull
#define SIMULATION_STEP  500000ull /* of time */
#define SIMULATION_FLOWS 3
#define SIMULATION_SENT  65536 /* packets remembered */

struct simulated_flow {
    /* Set before simulation_run(). */
    struct pc_congestion_settings settings;
    uint64_t start_ns, feedback_every_ns;
    double noise;       /* of frame sizes, relative */
    double encoder_bps; /* the encoder makes no more than this; 0 = no bound */
    double still_bps;   /* … between these times */
    uint64_t still_from_ns, still_until_ns;
    int64_t drift_ppm; /* of the receiver's clock */

    /* What the test looks at. */
    struct pc_congestion_output output;
    double received_bytes; /* since simulation_measure() */
    uint64_t frames, skipped;
    double least_target, most_target;
    bool states[PC_CONGESTION_SILENT + 1]; /* that it was in */

    /* Its own. */
    struct pc_congestion *congestion;
    struct pc_send_log *log;
    uint64_t random, next_frame_ns, next_update_ns, next_feedback_ns;
    double waiting_bytes, tokens;
    uint32_t frame;
    uint64_t sent; /* packets; the low 16 bits are the transport-wide number */
    int64_t arrived_us[SIMULATION_SENT];
    uint64_t reported_to, arrived_to;
    double padding;
};

struct simulation {
    struct pc_link *link;
    struct pc_link_settings path;
    uint64_t now_ns, back_ns; /* delay of the feedback */
    bool feedback_lost;
    int flow_count;
    struct simulated_flow flows[SIMULATION_FLOWS];
    /* Feedback on its way: up to which packet, and when it is there. */
    struct simulated_feedback {
        int flow;
        uint64_t from, to, at_ns;
    } feedback[256];
    unsigned feedback_head, feedback_tail;
    /* Since simulation_measure(): packets by their time in the queue, in steps of 1 ms. */
    uint64_t queued[2000], packets, measured_ns;
    double capacity_bits;
    uint64_t last_queue_ns; /* of the last packet that came out */
};

static inline double simulation_random(struct simulated_flow *flow)
{
    return (double)(harness_random(&flow->random) >> 11) * 0x1p-53;
}

static inline struct simulation *simulation_new(double rate_bps, uint64_t delay_ms,
                                                uint64_t queue_ms, uint64_t seed)
{
    struct simulation *simulation = calloc(1, sizeof *simulation);
    simulation->path = (struct pc_link_settings){.rate_bps = rate_bps,
                                                 .overhead_bytes = 28,
                                                 .delay_ns = delay_ms * SIMULATION_MS,
                                                 .queue_ns = queue_ms * SIMULATION_MS};
    simulation->back_ns = delay_ms * SIMULATION_MS;
    simulation->link = pc_link_create(&simulation->path, seed, 0);
    simulation->now_ns = SIMULATION_S;
    return simulation;
}

static inline struct simulated_flow *simulation_flow(struct simulation *simulation,
                                                     enum pc_controller controller,
                                                     double start_bps, double max_bps)
{
    struct simulated_flow *flow = &simulation->flows[simulation->flow_count++];
    flow->settings = (struct pc_congestion_settings){.controller = controller,
                                                     .min_bps = 150e3,
                                                     .start_bps = start_bps,
                                                     .max_bps = max_bps,
                                                     .fps = 60};
    flow->noise = 0.15;
    flow->feedback_every_ns = 25 * SIMULATION_MS;
    flow->random = 88172645463325252ull + (uint64_t)simulation->flow_count;
    return flow;
}

static inline void simulation_free(struct simulation *simulation)
{
    for (int i = 0; i < simulation->flow_count; i++) {
        pc_congestion_destroy(simulation->flows[i].congestion);
        pc_send_log_destroy(simulation->flows[i].log);
    }
    pc_link_destroy(simulation->link);
    free(simulation);
}

/* Change the path: edit simulation->path first. */
static inline void simulation_change(struct simulation *simulation)
{
    pc_link_change(simulation->link, &simulation->path, simulation->now_ns);
}

/* Count anew from here. */
static inline void simulation_measure(struct simulation *simulation)
{
    memset(simulation->queued, 0, sizeof simulation->queued);
    simulation->packets = 0;
    simulation->capacity_bits = 0;
    simulation->measured_ns = simulation->now_ns;
    for (int i = 0; i < simulation->flow_count; i++) {
        struct simulated_flow *flow = &simulation->flows[i];
        flow->received_bytes = 0;
        flow->frames = flow->skipped = 0;
        flow->least_target = HUGE_VAL;
        flow->most_target = 0;
        memset(flow->states, 0, sizeof flow->states);
    }
}

static inline double simulation_rate(const struct simulation *simulation, int flow)
{
    double seconds = (double)(simulation->now_ns - simulation->measured_ns) / 1e9;
    return simulation->flows[flow].received_bytes * 8 / seconds;
}

static inline double simulation_utilisation(const struct simulation *simulation)
{
    double bits = 0;
    for (int i = 0; i < simulation->flow_count; i++)
        bits += simulation->flows[i].received_bytes * 8;
    return bits / simulation->capacity_bits;
}

/* The queue that `share` of the packets stayed below, ms. */
static inline int simulation_queue_ms(const struct simulation *simulation, double share)
{
    uint64_t below = 0;
    for (int ms = 0; ms < 2000; ms++) {
        below += simulation->queued[ms];
        if ((double)below >= share * (double)simulation->packets)
            return ms + 1;
    }
    return 2000;
}

static inline void simulation_look(struct simulation *simulation, struct simulated_flow *flow)
{
    flow->output = pc_congestion_update(flow->congestion, simulation->now_ns);
    flow->next_update_ns = simulation->now_ns + 20 * SIMULATION_MS;
    flow->least_target = fmin(flow->least_target, flow->output.target_bps);
    flow->most_target = fmax(flow->most_target, flow->output.target_bps);
    flow->states[flow->output.state] = true;
}

static inline void simulation_send(struct simulation *simulation, int index, uint32_t bytes,
                                   enum pc_packet_kind kind)
{
    struct simulated_flow *flow = &simulation->flows[index];
    struct pc_sent_packet packet = {.sent_ns = simulation->now_ns,
                                    .bytes = bytes + 28,
                                    .frame = flow->frame,
                                    .sequence = (uint16_t)flow->sent,
                                    .kind = kind};
    pc_send_log_add(flow->log, (uint16_t)flow->sent, &packet);
    pc_congestion_sent(flow->congestion, &packet);
    flow->arrived_us[flow->sent % SIMULATION_SENT] = INT64_MIN;
    pc_link_send(simulation->link, simulation->now_ns, (uint64_t)index << 48 | flow->sent, NULL,
                 bytes);
    flow->sent++;
    flow->tokens -= bytes + 28;
}

static inline void simulation_sender(struct simulation *simulation, int index)
{
    struct simulated_flow *flow = &simulation->flows[index];
    uint64_t now_ns = simulation->now_ns;
    if (now_ns >= flow->next_update_ns)
        simulation_look(simulation, flow);
    if (now_ns >= flow->next_frame_ns) {
        flow->next_frame_ns += SIMULATION_S / (uint64_t)flow->settings.fps;
        double wait_s = flow->waiting_bytes * 8 / flow->output.pacing_bps;
        if (flow->output.hold_ns > 0 || wait_s > 0.016) {
            flow->skipped++;
        } else {
            double bps = flow->output.target_bps;
            if (flow->encoder_bps > 0)
                bps = fmin(bps, flow->encoder_bps);
            if (now_ns >= flow->still_from_ns && now_ns < flow->still_until_ns)
                bps = fmin(bps, flow->still_bps);
            double noise = 1 + flow->noise * 2 * (simulation_random(flow) - 0.5) * 1.7;
            flow->waiting_bytes += fmax(80, bps / 8 / flow->settings.fps * noise);
            flow->frame++;
            flow->frames++;
        }
    }
    double step_s = (double)SIMULATION_STEP / 1e9;
    flow->tokens = fmin(flow->tokens + flow->output.pacing_bps / 8 * step_s,
                        fmax(1500, flow->output.pacing_bps / 8 * step_s));
    while (flow->waiting_bytes > 0 && flow->tokens > 0) {
        double bytes = fmin(1150, flow->waiting_bytes);
        simulation_send(simulation, index, (uint32_t)bytes, PC_PACKET_MEDIA);
        flow->waiting_bytes = bytes < flow->waiting_bytes ? flow->waiting_bytes - bytes : 0;
    }
    double probe_bps = flow->output.probe_bps;
    flow->padding = probe_bps > 0 ? flow->padding + probe_bps / 8 * step_s : 0;
    if (flow->padding > 1000 && flow->tokens > 0) {
        simulation_send(simulation, index, 1000, PC_PACKET_PADDING);
        flow->padding -= 1000;
    }
}

static inline void simulation_receiver(struct simulation *simulation)
{
    struct pc_link_packet packet;
    while (pc_link_receive(simulation->link, simulation->now_ns, &packet)) {
        struct simulated_flow *flow = &simulation->flows[packet.id >> 48];
        uint64_t number = packet.id & ((1ull << 48) - 1);
        int64_t us = (int64_t)(packet.arrived_ns / 1000);
        us += us / 1000000 * flow->drift_ppm + us % 1000000 * flow->drift_ppm / 1000000;
        flow->arrived_us[number % SIMULATION_SENT] = us / 250 * 250;
        flow->arrived_to = number + 1 > flow->arrived_to ? number + 1 : flow->arrived_to;
        flow->received_bytes += (double)packet.size + 28;
        simulation->last_queue_ns = packet.queued_ns;
        uint64_t ms = packet.queued_ns / SIMULATION_MS;
        simulation->queued[ms < 2000 ? ms : 1999]++;
        simulation->packets++;
    }
    for (int i = 0; i < simulation->flow_count; i++) {
        struct simulated_flow *flow = &simulation->flows[i];
        if (simulation->now_ns < flow->next_feedback_ns || flow->arrived_to == flow->reported_to)
            continue;
        flow->next_feedback_ns = simulation->now_ns + flow->feedback_every_ns;
        if (!simulation->feedback_lost)
            simulation->feedback[simulation->feedback_tail++ % 256] = (struct simulated_feedback){
                i, flow->reported_to, flow->arrived_to, simulation->now_ns + simulation->back_ns};
        flow->reported_to = flow->arrived_to;
    }
}

static inline void simulation_feed_back(struct simulation *simulation)
{
    while (simulation->feedback_head != simulation->feedback_tail) {
        const struct simulated_feedback *feedback =
            &simulation->feedback[simulation->feedback_head % 256];
        if (feedback->at_ns > simulation->now_ns)
            return;
        simulation->feedback_head++;
        struct simulated_flow *flow = &simulation->flows[feedback->flow];
        uint64_t from = feedback->from > 64 ? feedback->from - 64 : 0; /* late ones as well */
        int64_t before_us = -1;
        for (uint64_t number = from; number < feedback->to; number++) {
            int64_t arrived_us = flow->arrived_us[number % SIMULATION_SENT];
            bool received = arrived_us != INT64_MIN;
            if (received && before_us < 0) {
                int32_t reference = (int32_t)(arrived_us / 64000);
                struct pc_rtcp_transport_feedback begin = {.base_sequence = (uint16_t)from,
                                                           .reference_time = reference};
                pc_send_log_feedback(flow->log, &begin);
                before_us = (int64_t)reference * 64000;
            }
            pc_send_log_status(flow->log, (uint16_t)number, received,
                               received ? (int32_t)(arrived_us - before_us) : 0);
            before_us = received ? arrived_us : before_us;
        }
        const struct pc_packet_report *reports;
        int count = pc_send_log_take(flow->log, &reports);
        pc_congestion_feedback(flow->congestion, reports, count, simulation->now_ns);
        simulation_look(simulation, flow);
    }
}

static inline void simulation_run(struct simulation *simulation, double seconds)
{
    uint64_t until_ns = simulation->now_ns + (uint64_t)(seconds * 1e9);
    for (; simulation->now_ns < until_ns; simulation->now_ns += SIMULATION_STEP) {
        simulation_receiver(simulation);
        simulation_feed_back(simulation);
        for (int i = 0; i < simulation->flow_count; i++) {
            struct simulated_flow *flow = &simulation->flows[i];
            if (simulation->now_ns < flow->start_ns)
                continue;
            if (flow->congestion == NULL) {
                flow->congestion = pc_congestion_create(&flow->settings, simulation->now_ns);
                flow->log = pc_send_log_create();
                flow->next_frame_ns = simulation->now_ns;
                simulation_look(simulation, flow);
            }
            simulation_sender(simulation, i);
        }
        simulation->capacity_bits +=
            pc_link_rate_bps(simulation->link, simulation->now_ns) * (double)SIMULATION_STEP / 1e9;
    }
}

#endif
