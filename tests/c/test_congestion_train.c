/* Plans: a path, what changes, and what must come of it. The bounds are those of the benchmark of
 * networks, with a margin. */
#include "path_simulation.h"

#define MS SIMULATION_MS
#define S  SIMULATION_S

static struct simulation *one_flow(double rate_bps, uint64_t delay_ms, uint64_t seed)
{
    struct simulation *simulation = simulation_new(rate_bps, delay_ms, 300, seed);
    simulation_flow(simulation, PC_CONTROLLER_TRAIN, fmin(2e6, rate_bps / 4), 40e6);
    return simulation;
}

static void a_steady_path_is_used_without_a_queue(void)
{
    static const struct {
        double rate_bps;
        uint64_t delay_ms, feedback_ms;
    } paths[] = {{1e6, 50, 50}, {2.5e6, 50, 100}, {10e6, 20, 25},
                 {20e6, 5, 16}, {20e6, 100, 100}, {30e6, 20, 50}};
    for (size_t i = 0; i < sizeof paths / sizeof *paths; i++) {
        struct simulation *simulation = one_flow(paths[i].rate_bps, paths[i].delay_ms, i + 1);
        simulation->flows[0].feedback_every_ns = paths[i].feedback_ms * MS;
        simulation_run(simulation, 5);
        simulation_measure(simulation);
        simulation_run(simulation, 20);
        CHECK(simulation_utilisation(simulation) >= 0.88);
        CHECK(simulation_utilisation(simulation) <= 0.99);
        CHECK(simulation_queue_ms(simulation, 0.95) <= 25);
        CHECK(!simulation->flows[0].states[PC_CONGESTION_COMPETING]);
        simulation_free(simulation);
    }
}

static void full_quality_is_there_within_a_second(void)
{
    struct simulation *simulation = simulation_new(20e6, 20, 300, 3);
    simulation_flow(simulation, PC_CONTROLLER_TRAIN, 4e6, 12.8e6);
    simulation_run(simulation, 0.6);
    CHECK(simulation->flows[0].output.target_bps >= 12.7e6);
    CHECK(simulation_queue_ms(simulation, 1) <= 30);
    simulation_free(simulation);
}

static void capacity_that_varies_is_followed(void)
{
    static const double rates[] = {10e6, 25e6, 6e6, 10e6};
    struct simulation *simulation = one_flow(rates[0], 20, 4);
    simulation_run(simulation, 5);
    simulation_measure(simulation);
    for (int i = 0; i < 4; i++) {
        simulation->path.rate_bps = rates[i];
        simulation_change(simulation);
        simulation_run(simulation, 20);
    }
    CHECK(simulation_utilisation(simulation) >= 0.87);
    CHECK(simulation_queue_ms(simulation, 0.95) <= 25);
    simulation_free(simulation);
}

static void a_drop_of_capacity_is_drained_within_a_second(void)
{
    static const double kept[] = {0.6, 0.2};
    for (int i = 0; i < 2; i++) {
        struct simulation *simulation = one_flow(20e6, 20, 5);
        simulation_run(simulation, 8);
        simulation->path.rate_bps *= kept[i];
        simulation_change(simulation);
        simulation_run(simulation, 0.9);
        simulation_measure(simulation);
        simulation_run(simulation, 10);
        CHECK(simulation_queue_ms(simulation, 1) < 50);
        CHECK(simulation_utilisation(simulation) >= 0.85);
        CHECK_EQ(simulation->flows[0].skipped, 0);
        simulation_free(simulation);
    }
}

static void while_a_queue_drains_no_frame_is_taken(void)
{
    struct simulation *simulation = one_flow(20e6, 20, 6);
    simulation_run(simulation, 8);
    simulation->path.rate_bps = 4e6;
    simulation_change(simulation);
    simulation_measure(simulation);
    simulation_run(simulation, 0.5);
    CHECK(simulation->flows[0].states[PC_CONGESTION_DRAINING]);
    CHECK(simulation->flows[0].skipped >= 5);
    CHECK(simulation->flows[0].output.target_bps < 4e6);
    simulation_free(simulation);
}

static void random_loss_is_no_congestion(void)
{
    static const double losses[] = {0.01, 0.05, 0.1};
    for (int i = 0; i < 3; i++) {
        struct simulation *simulation = one_flow(20e6, 25, 7);
        simulation->path.loss = losses[i];
        simulation_change(simulation);
        simulation_run(simulation, 5);
        simulation_measure(simulation);
        simulation_run(simulation, 30);
        CHECK(simulation_utilisation(simulation) >= 0.85 * (1 - losses[i]));
        CHECK(simulation_queue_ms(simulation, 0.95) <= 30);
        CHECK(fabs(simulation->flows[0].output.loss - losses[i]) < 0.04);
        simulation_free(simulation);
    }
}

static void jitter_does_not_starve(void)
{
    static const struct {
        uint64_t jitter_ms;
        bool reorders;
        double least;
    } paths[] = {{2, false, 0.8},  {2, true, 0.8},   {5, false, 0.75}, {5, true, 0.8},
                 {10, false, 0.6}, {10, true, 0.75}, {20, false, 0.5}, {20, true, 0.7}};
    for (size_t i = 0; i < sizeof paths / sizeof *paths; i++) {
        struct simulation *simulation = one_flow(20e6, 25, 8);
        simulation->path.jitter_ns = paths[i].jitter_ms * MS;
        simulation->path.jitter_reorders = paths[i].reorders;
        simulation->path.loss = 0.01;
        simulation_change(simulation);
        simulation_run(simulation, 5);
        simulation_measure(simulation);
        simulation_run(simulation, 30);
        CHECK(simulation_utilisation(simulation) >= paths[i].least);
        CHECK(simulation_queue_ms(simulation, 0.95) <= 120);
        simulation_free(simulation);
    }
}

static void a_still_picture_neither_starves_nor_inflates(void)
{
    struct simulation *simulation = one_flow(20e6, 20, 9);
    struct simulated_flow *flow = &simulation->flows[0];
    flow->still_from_ns = 10 * S;
    flow->still_until_ns = 70 * S;
    flow->still_bps = 60e3;
    simulation_run(simulation, 10);
    double before = flow->output.target_bps;
    simulation_measure(simulation);
    simulation_run(simulation, 59);
    CHECK(flow->least_target >= 0.8 * before);
    CHECK(flow->most_target <= 1.05 * before);
    simulation_measure(simulation);
    simulation_run(simulation, 5);
    CHECK(simulation_rate(simulation, 0) >= 0.85 * 20e6);
    CHECK(simulation_queue_ms(simulation, 1) <= 40);
    simulation_free(simulation);
}

static void a_path_that_became_slow_meanwhile_is_noticed_with_the_first_frames(void)
{
    struct simulation *simulation = one_flow(20e6, 20, 10);
    struct simulated_flow *flow = &simulation->flows[0];
    flow->still_from_ns = 10 * S;
    flow->still_until_ns = 40 * S;
    flow->still_bps = 60e3;
    simulation_run(simulation, 30);
    simulation->path.rate_bps = 8e6;
    simulation_change(simulation);
    simulation_run(simulation, 11); /* full motion for two seconds */
    simulation_measure(simulation);
    simulation_run(simulation, 5);
    CHECK(simulation_queue_ms(simulation, 0.99) <= 30);
    CHECK(simulation_utilisation(simulation) >= 0.85);
    simulation_free(simulation);
}

static void padding_finds_what_a_still_picture_cannot(void)
{
    struct simulation *simulation = one_flow(20e6, 20, 17);
    struct simulated_flow *flow = &simulation->flows[0];
    flow->still_from_ns = 16 * S;
    flow->still_until_ns = 100 * S;
    flow->still_bps = 60e3;
    simulation_run(simulation, 8);
    simulation->path.rate_bps = 4e6;
    simulation_change(simulation);
    simulation_run(simulation, 8);
    CHECK(flow->output.target_bps < 4e6);
    simulation->path.rate_bps = 20e6;
    simulation_change(simulation);
    simulation_measure(simulation);
    simulation_run(simulation, 60);
    CHECK(flow->output.target_bps > 8e6);
    CHECK(flow->states[PC_CONGESTION_PROBING]);
    CHECK(simulation_rate(simulation, 0) < 2e6); /* most of the time there is none */
    CHECK(simulation_queue_ms(simulation, 1) <= 60);
    simulation_free(simulation);
}

static void silence_cuts_step_by_step_and_ends_at_once(void)
{
    struct simulation *simulation = one_flow(20e6, 20, 11);
    struct simulated_flow *flow = &simulation->flows[0];
    simulation_run(simulation, 10);
    double before = flow->output.target_bps;
    simulation->path.down = true;
    simulation_change(simulation);
    simulation_measure(simulation);
    simulation_run(simulation, 0.4);
    CHECK(!flow->states[PC_CONGESTION_SILENT]);
    simulation_run(simulation, 0.6);
    CHECK_EQ(flow->output.state, PC_CONGESTION_SILENT);
    CHECK(flow->output.target_bps < 0.7 * before && flow->output.target_bps > 0.1 * before);
    simulation_run(simulation, 4);
    CHECK(flow->output.target_bps < 0.02 * before);
    simulation->path.down = false;
    simulation_change(simulation);
    simulation_run(simulation, 0.3);
    CHECK(flow->output.state != PC_CONGESTION_SILENT);
    CHECK(flow->output.target_bps >= 0.6 * before);
    simulation_run(simulation, 2);
    simulation_measure(simulation);
    simulation_run(simulation, 5);
    CHECK(simulation_utilisation(simulation) >= 0.85);
    simulation_free(simulation);
}

static void lost_feedback_alone_is_survived(void)
{
    struct simulation *simulation = one_flow(10e6, 20, 12);
    simulation_run(simulation, 5);
    for (int i = 0; i < 20; i++) {
        simulation->feedback_lost = i % 2 == 0;
        simulation_run(simulation, 0.3);
    }
    simulation->feedback_lost = false;
    simulation_measure(simulation);
    simulation_run(simulation, 5);
    CHECK(simulation_utilisation(simulation) >= 0.8);
    CHECK(simulation_queue_ms(simulation, 0.95) <= 30);
    simulation_free(simulation);
}

static void a_longer_path_is_not_taken_for_a_queue_for_long(void)
{
    struct simulation *simulation = one_flow(20e6, 20, 13);
    simulation_run(simulation, 10);
    simulation->path.delay_ns += 60 * MS;
    simulation_change(simulation);
    simulation_run(simulation, 8);
    simulation_measure(simulation);
    simulation_run(simulation, 10);
    CHECK(simulation_utilisation(simulation) >= 0.8);
    CHECK(simulation->flows[0].output.queue_ns < 20 * MS);
    simulation_free(simulation);
}

static void clocks_that_drift_apart_are_no_queue(void)
{
    for (int ppm = -200; ppm <= 200; ppm += 400) {
        struct simulation *simulation = one_flow(20e6, 20, 14);
        simulation->flows[0].drift_ppm = ppm;
        simulation_run(simulation, 10);
        simulation_measure(simulation);
        simulation_run(simulation, 60);
        CHECK(simulation_utilisation(simulation) >= 0.85);
        CHECK(simulation_queue_ms(simulation, 0.95) <= 25);
        simulation_free(simulation);
    }
}

static void three_flows_get_the_same(void)
{
    struct simulation *simulation = simulation_new(30e6, 15, 300, 15);
    for (int i = 0; i < 3; i++) {
        struct simulated_flow *flow = simulation_flow(simulation, PC_CONTROLLER_TRAIN, 4e6, 40e6);
        flow->start_ns = S + (uint64_t)i * (5 * S + 2 * MS);
    }
    simulation_run(simulation, 40);
    simulation_measure(simulation);
    simulation_run(simulation, 40);
    double sum = 0, squares = 0;
    for (int i = 0; i < 3; i++) {
        sum += simulation_rate(simulation, i);
        squares += simulation_rate(simulation, i) * simulation_rate(simulation, i);
    }
    CHECK(sum * sum / (3 * squares) >= 0.95);
    CHECK(simulation_utilisation(simulation) >= 0.82);
    CHECK(simulation_queue_ms(simulation, 0.95) <= 35);
    simulation_free(simulation);
}

static void another_path_begins_with_a_hint_of_the_old_rate(void)
{
    struct simulation *simulation = one_flow(20e6, 20, 16);
    struct simulated_flow *flow = &simulation->flows[0];
    simulation_run(simulation, 10);
    simulation->path.delay_ns = 5 * MS;
    simulation->path.rate_bps = 30e6;
    simulation_change(simulation);
    pc_congestion_path_changed(flow->congestion, simulation->now_ns);
    simulation_look(simulation, flow);
    CHECK_EQ(flow->output.state, PC_CONGESTION_STARTING);
    CHECK(flow->output.target_bps < 15e6);
    simulation_run(simulation, 1);
    CHECK(flow->output.target_bps > 18e6);
    simulation_free(simulation);
}

int main(void)
{
    RUN(a_steady_path_is_used_without_a_queue);
    RUN(full_quality_is_there_within_a_second);
    RUN(capacity_that_varies_is_followed);
    RUN(a_drop_of_capacity_is_drained_within_a_second);
    RUN(while_a_queue_drains_no_frame_is_taken);
    RUN(random_loss_is_no_congestion);
    RUN(jitter_does_not_starve);
    RUN(a_still_picture_neither_starves_nor_inflates);
    RUN(a_path_that_became_slow_meanwhile_is_noticed_with_the_first_frames);
    RUN(padding_finds_what_a_still_picture_cannot);
    RUN(silence_cuts_step_by_step_and_ends_at_once);
    RUN(lost_feedback_alone_is_survived);
    RUN(a_longer_path_is_not_taken_for_a_queue_for_long);
    RUN(clocks_that_drift_apart_are_no_queue);
    RUN(three_flows_get_the_same);
    RUN(another_path_begins_with_a_hint_of_the_old_rate);
    return HARNESS_RESULT();
}
