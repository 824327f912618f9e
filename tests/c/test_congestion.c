/* The interface: bounds, what all controllers share, and what there is without feedback of single
 * packets. */
#include "path_simulation.h"

#define MS SIMULATION_MS
#define S  SIMULATION_S

static struct pc_congestion *create(enum pc_controller controller)
{
    const struct pc_congestion_settings settings = {
        .controller = controller, .min_bps = 200e3, .start_bps = 3e6, .max_bps = 20e6, .fps = 60};
    return pc_congestion_create(&settings, S);
}

static void fixed_is_fixed_and_still_measures(void)
{
    struct simulation *simulation = simulation_new(50e6, 20, 300, 1);
    struct simulated_flow *flow = simulation_flow(simulation, PC_CONTROLLER_FIXED, 1e6, 8e6);
    simulation->path.loss = 0.05;
    simulation_change(simulation);
    simulation_run(simulation, 20);
    CHECK_EQ(flow->output.state, PC_CONGESTION_FIXED);
    CHECK_EQ(flow->output.target_bps, 8e6);
    CHECK(fabs(flow->output.received_bps - 8e6 * 0.95) < 0.8e6);
    CHECK(flow->output.loss > 0.02 && flow->output.loss < 0.09);
    CHECK(flow->output.rtt_ns >= 40 * MS && flow->output.rtt_ns < 50 * MS);
    simulation_free(simulation);
}

static void new_bounds_count_at_once(void)
{
    for (int i = PC_CONTROLLER_TRAIN; i <= PC_CONTROLLER_FIXED; i++) {
        struct pc_congestion *congestion = create((enum pc_controller)i);
        pc_congestion_set_bounds(congestion, 100e3, 1e6, 30);
        struct pc_congestion_output output = pc_congestion_update(congestion, 2 * S);
        CHECK_EQ(output.target_bps, 1e6);
        CHECK(output.pacing_bps >= 1e6 && output.pacing_bps <= 30e6);
        pc_congestion_set_bounds(congestion, 30e6, 40e6, 60);
        output = pc_congestion_update(congestion, 2 * S);
        CHECK(output.target_bps >= 30e6 && output.target_bps <= 40e6);
        pc_congestion_destroy(congestion);
    }
}

static void without_feedback_the_rate_falls_step_by_step_to_its_least(void)
{
    for (int i = PC_CONTROLLER_TRAIN; i <= PC_CONTROLLER_GCC; i++) {
        struct pc_congestion *congestion = create((enum pc_controller)i);
        double before = 3e6;
        for (int ms = 0; ms < 8000; ms += 16) {
            struct pc_sent_packet packet = {.sent_ns = S + (uint64_t)ms * MS, .bytes = 1200};
            pc_congestion_sent(congestion, &packet);
            struct pc_congestion_output output = pc_congestion_update(congestion, packet.sent_ns);
            CHECK(output.target_bps <= before && output.target_bps >= 0.75 * before);
            CHECK(ms > 500 || output.target_bps == 3e6);
            before = output.target_bps;
        }
        CHECK_EQ(before, 200e3);
        CHECK_EQ(pc_congestion_update(congestion, 9 * S).state, PC_CONGESTION_SILENT);
        pc_congestion_destroy(congestion);
    }
}

static void who_sends_nothing_hears_nothing(void)
{
    for (int i = PC_CONTROLLER_TRAIN; i <= PC_CONTROLLER_GCC; i++) {
        struct pc_congestion *congestion = create((enum pc_controller)i);
        CHECK_EQ(pc_congestion_update(congestion, 100 * S).target_bps, 3e6);
        pc_congestion_destroy(congestion);
    }
}

static void a_remb_bounds_where_there_is_nothing_better(void)
{
    struct pc_congestion *congestion = create(PC_CONTROLLER_TRAIN);
    pc_congestion_remb(congestion, 1.5e6, S);
    CHECK_EQ(pc_congestion_update(congestion, S).target_bps, 1.5e6);
    pc_congestion_remb(congestion, 1, S);
    CHECK_EQ(pc_congestion_update(congestion, S).target_bps, 200e3);
    pc_congestion_destroy(congestion);
}

static void reports_move_the_rate(void)
{
    struct pc_congestion *congestion = create(PC_CONTROLLER_TRAIN);
    uint64_t now_ns = S;
    for (int i = 0; i < 15; i++, now_ns += S)
        pc_congestion_report_loss(congestion, 0, now_ns);
    CHECK_EQ(pc_congestion_update(congestion, now_ns).target_bps, 20e6);
    pc_congestion_report_loss(congestion, 0.5, now_ns);
    CHECK_EQ(pc_congestion_update(congestion, now_ns).target_bps, 15e6);
    pc_congestion_report_loss(congestion, 0.05, now_ns += S); /* neither up nor down */
    CHECK_EQ(pc_congestion_update(congestion, now_ns).target_bps, 15e6);
    pc_congestion_rtt(congestion, 20 * MS, now_ns);
    pc_congestion_report_loss(congestion, 0.05, now_ns += S);
    pc_congestion_rtt(congestion, 900 * MS, now_ns);
    pc_congestion_report_loss(congestion, 0, now_ns += S); /* a queue */
    CHECK(pc_congestion_update(congestion, now_ns).target_bps < 15e6);
    pc_congestion_destroy(congestion);
}

static void what_arrives_late_is_no_loss(void)
{
    struct pc_congestion *congestion = create(PC_CONTROLLER_TRAIN);
    struct pc_packet_report reports[20];
    for (int i = 0; i < 20; i++) {
        struct pc_sent_packet packet = {
            .sent_ns = S + (uint64_t)i * MS, .bytes = 1000, .frame = (uint32_t)i / 5};
        pc_congestion_sent(congestion, &packet);
        reports[i] = (struct pc_packet_report){
            .packet = packet, .received = i % 2 == 0, .arrived_us = 1000000 + i * 1000};
    }
    pc_congestion_feedback(congestion, reports, 20, S + 60 * MS);
    CHECK_EQ(pc_congestion_update(congestion, S + 60 * MS).loss * 100, 50);
    for (int i = 0; i < 10; i++) {
        reports[i] = reports[2 * i + 1];
        reports[i].received = reports[i].was_lost = true;
    }
    pc_congestion_feedback(congestion, reports, 10, S + 60 * MS);
    CHECK_EQ(pc_congestion_update(congestion, S + 60 * MS).loss * 100, 0);
    pc_congestion_destroy(congestion);
}

int main(void)
{
    RUN(fixed_is_fixed_and_still_measures);
    RUN(new_bounds_count_at_once);
    RUN(without_feedback_the_rate_falls_step_by_step_to_its_least);
    RUN(who_sends_nothing_hears_nothing);
    RUN(a_remb_bounds_where_there_is_nothing_better);
    RUN(reports_move_the_rate);
    RUN(what_arrives_late_is_no_loss);
    return HARNESS_RESULT();
}
