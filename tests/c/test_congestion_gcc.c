/* Google's controller, as its draft has it: plans in virtual time, and its parts. */
#include "congestion_gcc.h"
#include "path_simulation.h"

#define MS SIMULATION_MS
#define S  SIMULATION_S

static struct simulation *one_flow(double rate_bps, uint64_t seed)
{
    struct simulation *simulation = simulation_new(rate_bps, 20, 300, seed);
    simulation_flow(simulation, PC_CONTROLLER_GCC, rate_bps / 2, 40e6);
    return simulation;
}

static void it_finds_the_capacity_and_stays_below(void)
{
    struct simulation *simulation = one_flow(4e6, 1);
    simulation_run(simulation, 20);
    simulation_measure(simulation);
    simulation_run(simulation, 40);
    CHECK(simulation_utilisation(simulation) >= 0.7);
    CHECK(simulation_utilisation(simulation) <= 1);
    CHECK(simulation_queue_ms(simulation, 0.95) <= 60);
    simulation_free(simulation);
}

static void it_gives_way_when_the_capacity_falls(void)
{
    struct simulation *simulation = one_flow(8e6, 2);
    simulation_run(simulation, 15);
    simulation->path.rate_bps = 4e6;
    simulation_change(simulation);
    simulation_run(simulation, 6);
    simulation_measure(simulation);
    simulation_run(simulation, 10);
    CHECK(simulation->flows[0].most_target < 4.4e6);
    CHECK(simulation_queue_ms(simulation, 0.9) <= 80);
    simulation_free(simulation);
}

static void loss_over_a_tenth_bounds_it(void)
{
    static const double losses[] = {0.01, 0.2};
    double rates[2];
    for (int i = 0; i < 2; i++) {
        struct simulation *simulation = one_flow(20e6, 3);
        simulation->path.loss = losses[i];
        simulation_change(simulation);
        simulation_run(simulation, 20);
        rates[i] = simulation->flows[0].output.target_bps;
        simulation_free(simulation);
    }
    CHECK(rates[0] > 10e6);
    CHECK(rates[1] < 1e6);
}

static void a_silence_is_noticed_and_over_with_the_first_feedback(void)
{
    struct simulation *simulation = one_flow(10e6, 4);
    simulation_run(simulation, 10);
    simulation->feedback_lost = true;
    simulation_run(simulation, 2);
    CHECK_EQ(simulation->flows[0].output.state, PC_CONGESTION_SILENT);
    simulation->feedback_lost = false;
    simulation_run(simulation, 0.3);
    CHECK(simulation->flows[0].output.state != PC_CONGESTION_SILENT);
    simulation_free(simulation);
}

static struct pc_packet_report arrival(double sent_ms, double arrived_ms)
{
    return (struct pc_packet_report){.packet = {.sent_ns = (uint64_t)(sent_ms * 1e6)},
                                     .arrived_us = (int64_t)(arrived_ms * 1e3),
                                     .received = true};
}

static void bursts_are_groups(void)
{
    struct pc_arrival_groups groups = {0};
    struct pc_delay_variation variation;
    static const double packets[][2] = {{100, 500}, {102, 505}, {104, 508}, /* one burst */
                                        {120, 530},                         /* another */
                                        {140, 560}, {143, 563}};
    int complete = 0;
    for (int i = 0; i < 6; i++) {
        struct pc_packet_report report = arrival(packets[i][0], packets[i][1]);
        complete += pc_arrival_groups_add(&groups, &report, &variation);
    }
    CHECK_EQ(complete, 1); /* with the beginning of the third */
    CHECK_EQ(variation.send_delta_ms, 16);
    CHECK_EQ(variation.arrival_delta_ms, 22);
}

static void what_a_path_held_back_is_one_group(void)
{
    struct pc_arrival_groups groups = {0};
    struct pc_delay_variation variation;
    int complete = 0;
    for (int i = 0; i < 6; i++) { /* sent 16 ms apart, let go at once */
        struct pc_packet_report report = arrival(100 + 16 * i, 600 + 0.5 * i);
        complete += pc_arrival_groups_add(&groups, &report, &variation);
    }
    CHECK_EQ(complete, 0);
}

static enum pc_usage trend(struct pc_trendline *line, int groups, double variation_ms, double *now)
{
    bool over = false, under = false;
    for (int i = 0; i < groups; i++) {
        *now += 16 + variation_ms;
        struct pc_delay_variation variation = {
            .arrival_ms = *now, .arrival_delta_ms = 16 + variation_ms, .send_delta_ms = 16};
        enum pc_usage usage = pc_trendline_add(line, &variation);
        over |= usage == PC_USAGE_OVER;
        under |= usage == PC_USAGE_UNDER;
    }
    return over ? PC_USAGE_OVER : under ? PC_USAGE_UNDER : PC_USAGE_NORMAL;
}

static void a_growing_queue_is_overuse_and_a_shrinking_one_underuse(void)
{
    struct pc_trendline line;
    double now = 1000;
    pc_trendline_init(&line);
    CHECK_EQ(trend(&line, 100, 0, &now), PC_USAGE_NORMAL);
    CHECK_EQ(trend(&line, 40, 1.5, &now), PC_USAGE_OVER);
    trend(&line, 40, 0, &now);
    CHECK_EQ(trend(&line, 40, -1.5, &now), PC_USAGE_UNDER);
    CHECK(line.threshold_ms >= 6 && line.threshold_ms <= 600);
}

static void the_rate_rises_by_shares_and_then_by_steps(void)
{
    struct pc_aimd aimd;
    pc_aimd_init(&aimd, 1e6);
    uint64_t now_ns = S;
    pc_aimd_update(&aimd, PC_USAGE_NORMAL, 1e6, 50 * MS, 60, now_ns);
    double before = aimd.bps;
    for (int i = 0; i < 10; i++)
        pc_aimd_update(&aimd, PC_USAGE_NORMAL, 1e6, 50 * MS, 60, now_ns += 100 * MS);
    CHECK(fabs(aimd.bps / before - 1.08) < 0.001); /* no link capacity is known */

    CHECK_EQ(pc_aimd_update(&aimd, PC_USAGE_OVER, 1e6, 50 * MS, 60, now_ns += 100 * MS), 850e3);
    CHECK_EQ(pc_aimd_update(&aimd, PC_USAGE_UNDER, 1e6, 50 * MS, 60, now_ns += 100 * MS), 850e3);
    before = aimd.bps;
    for (int i = 0; i < 10; i++)
        pc_aimd_update(&aimd, PC_USAGE_NORMAL, 0.9e6, 50 * MS, 60, now_ns += 100 * MS);
    CHECK(aimd.bps > before && aimd.bps < before * 1.08); /* half a packet in 150 ms */

    for (int i = 0; i < 500; i++)
        pc_aimd_update(&aimd, PC_USAGE_NORMAL, 0.9e6, 50 * MS, 60, now_ns += 100 * MS);
    CHECK(aimd.bps <= 1.5 * 0.9e6); /* what is not sent proves nothing */
}

int main(void)
{
    RUN(it_finds_the_capacity_and_stays_below);
    RUN(it_gives_way_when_the_capacity_falls);
    RUN(loss_over_a_tenth_bounds_it);
    RUN(a_silence_is_noticed_and_over_with_the_first_feedback);
    RUN(bursts_are_groups);
    RUN(what_a_path_held_back_is_one_group);
    RUN(a_growing_queue_is_overuse_and_a_shrinking_one_underuse);
    RUN(the_rate_rises_by_shares_and_then_by_steps);
    return HARNESS_RESULT();
}
