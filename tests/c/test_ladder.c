#include "harness.h"

#include "clock.h"
#include "ladder.h"

#define M           1e6
#define MS          PC_NS_PER_MS
#define TICK_NS     (25 * MS)
#define LONG_ENOUGH 400 /* ticks */

static struct pc_ladder ladder;
static uint64_t now_ns;

static void begin(int width, int height, int rungs)
{
    const struct pc_ladder_settings settings = {.width = width,
                                                .height = height,
                                                .fps = 60,
                                                .floor_bps = 0.15 * M,
                                                .ceiling_bps = 12 * M,
                                                .rungs = rungs};
    now_ns = PC_NS_PER_S;
    pc_ladder_init(&ladder, &settings);
}

/* Let time pass. */
static void run(struct pc_ladder_viewer *viewers, int count, int ticks)
{
    struct pc_ladder_viewer *pointers[16];
    for (int i = 0; i < count; i++)
        pointers[i] = &viewers[i];
    for (int t = 0; t < ticks; t++) {
        pc_ladder_update(&ladder, pointers, count, now_ns);
        now_ns += TICK_NS;
    }
}

static void one_viewer_governs_the_first_rung(void)
{
    begin(1280, 720, 3);
    struct pc_ladder_viewer viewer = {.bps = 8 * M};
    run(&viewer, 1, 1);
    CHECK_EQ(viewer.rung, 0);
    CHECK_EQ((int)ladder.rungs[0].bps, 8000000);
    viewer.bps = 3 * M;
    run(&viewer, 1, 1);
    CHECK_EQ((int)ladder.rungs[0].bps, 3000000);
    viewer.bps = 30 * M;
    run(&viewer, 1, LONG_ENOUGH);
    CHECK_EQ((int)ladder.rungs[0].bps, 12000000);
    CHECK_EQ(viewer.rung, 0);
    viewer.bps = 1;
    run(&viewer, 1, LONG_ENOUGH);
    CHECK_EQ(viewer.rung, 0); /* there is nobody whom it would hold up */
    CHECK_EQ((int)ladder.rungs[0].bps, 150000);
}

static void the_slowest_viewer_does_not_govern_the_others(void)
{
    begin(1280, 720, 3);
    struct pc_ladder_viewer viewers[] = {{.bps = 10 * M}, {.bps = 9 * M}, {.bps = 1.5 * M}};
    run(viewers, 3, 1);
    CHECK_EQ(viewers[2].rung, 1); /* far behind: at once */
    run(viewers, 3, LONG_ENOUGH);
    CHECK_EQ(viewers[0].rung, 0);
    CHECK_EQ(viewers[1].rung, 0);
    CHECK_EQ(viewers[2].rung, 1);
    CHECK_EQ((int)ladder.rungs[0].bps, 9000000);
    CHECK_EQ((int)ladder.rungs[1].bps, 1500000);
    CHECK_EQ(ladder.rungs[2].viewers, 0);

    viewers[1].bps = 6 * M; /* a bit behind: not at once, but governing no more */
    run(viewers, 3, 2);
    CHECK_EQ(viewers[1].rung, 0);
    CHECK_EQ((int)ladder.rungs[0].bps, 10000000);
    run(viewers, 3, 30);
    CHECK_EQ(viewers[1].rung, 1);
    run(viewers, 3, LONG_ENOUGH);
    CHECK_EQ(viewers[2].rung, 2);
    CHECK_EQ((int)ladder.rungs[1].bps, 6000000);
    CHECK_EQ((int)ladder.rungs[2].bps, 1500000);
}

static void a_dip_moves_nobody(void)
{
    begin(1280, 720, 3);
    struct pc_ladder_viewer viewers[] = {{.bps = 10 * M}, {.bps = 10 * M}};
    run(viewers, 2, 10);
    for (int i = 0; i < 20; i++) {
        viewers[1].bps = 6 * M;
        run(viewers, 2, 10);
        viewers[1].bps = 10 * M;
        run(viewers, 2, 10);
        CHECK_EQ(viewers[1].rung, 0);
    }
}

static void a_spectator_never_governs_a_player(void)
{
    begin(1280, 720, 3);
    struct pc_ladder_viewer viewers[] = {
        {.bps = 5 * M, .player = true}, {.bps = 4 * M}, {.bps = 50 * M}};
    run(viewers, 3, 1);
    CHECK_EQ((int)ladder.rungs[0].bps, 5000000);
    run(viewers, 3, LONG_ENOUGH);
    CHECK_EQ(viewers[0].rung, 0);
    CHECK_EQ(viewers[1].rung, 1); /* cannot follow */
    CHECK_EQ(viewers[2].rung, 0); /* quick, but the player's link decides */
    CHECK_EQ((int)ladder.rungs[0].bps, 5000000);
    CHECK_EQ((int)ladder.rungs[1].bps, 4000000);
}

static void who_recovers_comes_back_after_a_while(void)
{
    begin(1280, 720, 2);
    struct pc_ladder_viewer viewers[] = {{.bps = 8 * M}, {.bps = 1 * M}};
    run(viewers, 2, 10);
    CHECK_EQ(viewers[1].rung, 1);
    viewers[1].bps = 8.5 * M; /* not enough ahead */
    run(viewers, 2, LONG_ENOUGH);
    CHECK_EQ(viewers[1].rung, 1);
    viewers[1].bps = 10 * M;
    run(viewers, 2, 100);
    CHECK_EQ(viewers[1].rung, 1);
    run(viewers, 2, 30);
    CHECK_EQ(viewers[1].rung, 0);
}

static void the_ceiling_is_enough_for_any_rung(void)
{
    begin(1280, 720, 2);
    struct pc_ladder_viewer viewers[] = {{.bps = 12 * M}, {.bps = 1 * M}};
    run(viewers, 2, 10);
    CHECK_EQ(viewers[1].rung, 1);
    viewers[1].bps = 11.9 * M; /* a path is never said to take more */
    run(viewers, 2, 130);
    CHECK_EQ(viewers[1].rung, 0);
}

static void an_empty_rung_is_filled_from_below(void)
{
    begin(1280, 720, 3);
    struct pc_ladder_viewer viewers[] = {{.bps = 8 * M}, {.bps = 1 * M}};
    run(viewers, 2, 10);
    CHECK_EQ(viewers[1].rung, 1);
    run(&viewers[1], 1, 2); /* the first one left */
    CHECK_EQ(viewers[1].rung, 0);
    CHECK_EQ(ladder.rungs[1].viewers, 0);
    CHECK_EQ((int)ladder.rungs[0].bps, 1000000);
}

static void with_one_rung_everyone_shares_it(void)
{
    begin(1280, 720, 1);
    struct pc_ladder_viewer viewers[] = {{.bps = 8 * M}, {.bps = 1 * M}};
    run(viewers, 2, LONG_ENOUGH);
    CHECK_EQ(viewers[1].rung, 0);
    CHECK_EQ((int)ladder.rungs[0].bps, 1000000);
    begin(1280, 720, 1);
    viewers[1].rung = 2; /* fewer rungs than there were */
    run(viewers, 2, 1);
    CHECK_EQ(viewers[1].rung, 0);
}

static void few_bits_take_pixels_then_frames(void)
{
    begin(1920, 1080, 1);
    struct pc_ladder_viewer viewer = {.bps = 12 * M};
    run(&viewer, 1, 1);
    CHECK_EQ(ladder.rungs[0].width, 1920);
    CHECK_EQ(ladder.rungs[0].fps, 60);
    viewer.bps = 4 * M; /* 0.032 bits per pixel */
    run(&viewer, 1, 1);
    CHECK_EQ(ladder.rungs[0].width, 1440);
    CHECK_EQ(ladder.rungs[0].height, 810);
    viewer.bps = 2 * M;
    run(&viewer, 1, 1);
    CHECK_EQ(ladder.rungs[0].width, 960);
    CHECK_EQ(ladder.rungs[0].fps, 60);
    viewer.bps = 0.8 * M;
    run(&viewer, 1, 1);
    CHECK_EQ(ladder.rungs[0].width, 960);
    CHECK_EQ(ladder.rungs[0].fps, 30);
    viewer.bps = 0.2 * M;
    run(&viewer, 1, 1);
    CHECK_EQ(ladder.rungs[0].width, 640);
    CHECK_EQ(ladder.rungs[0].height, 360);

    viewer.bps = 12 * M; /* back, a step at a time */
    run(&viewer, 1, 79);
    CHECK_EQ(ladder.rungs[0].width, 640);
    run(&viewer, 1, 3);
    CHECK_EQ(ladder.rungs[0].width, 960);
    run(&viewer, 1, LONG_ENOUGH);
    CHECK_EQ(ladder.rungs[0].width, 1920);
    CHECK_EQ(ladder.rungs[0].fps, 60);
}

/* Between the thresholds a step stays: no flapping. */
static void a_rate_at_a_threshold_does_not_flap(void)
{
    begin(1920, 1080, 1);
    struct pc_ladder_viewer viewer = {.bps = 5 * M};
    int changes = 0, width = 0;
    for (int i = 0; i < 2000; i++) {
        viewer.bps = (i / 10 % 2 == 0 ? 4.2 : 5.8) * M; /* 0.034 and 0.047 bits per pixel */
        run(&viewer, 1, 1);
        changes += ladder.rungs[0].width != width;
        width = ladder.rungs[0].width;
    }
    CHECK_EQ(changes, 1);
}

static void small_sources_stay_as_they_are(void)
{
    begin(320, 180, 1);
    struct pc_ladder_viewer viewer = {.bps = 1};
    run(&viewer, 1, LONG_ENOUGH);
    CHECK_EQ(ladder.rungs[0].width, 320);
    CHECK_EQ(ladder.rungs[0].fps, 60);
}

int main(void)
{
    RUN(one_viewer_governs_the_first_rung);
    RUN(the_slowest_viewer_does_not_govern_the_others);
    RUN(a_dip_moves_nobody);
    RUN(a_spectator_never_governs_a_player);
    RUN(who_recovers_comes_back_after_a_while);
    RUN(the_ceiling_is_enough_for_any_rung);
    RUN(an_empty_rung_is_filled_from_below);
    RUN(with_one_rung_everyone_shares_it);
    RUN(few_bits_take_pixels_then_frames);
    RUN(a_rate_at_a_threshold_does_not_flap);
    RUN(small_sources_stay_as_they_are);
    return HARNESS_RESULT();
}
