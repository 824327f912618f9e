#include "stream_schedule.h"

#include "clock.h"
#include "harness.h"

#define MS      PC_NS_PER_MS
#define T0      (1000 * MS)
#define PATIENT PC_SCHEDULE_PATIENCE_NS

static struct pc_schedule schedule;
static struct pc_schedule_news news;
static struct pc_schedule_encode *h264 = &news.encodes[0];
static struct pc_schedule_encode *vp8 = &news.encodes[PC_LADDER_RUNGS];

/* 50 fps, 2 fps when nothing changes, IDRs 300 ms apart; one H.264 viewer that keeps up. */
static void start(bool by_damage)
{
    pc_schedule_init(&schedule, 50, 2, 300 * MS);
    memset(&news, 0, sizeof news);
    news.by_damage = by_damage;
    h264->receiving = h264->drained = true;
}

static uint64_t due(uint64_t now_ns)
{
    return pc_schedule_due(&schedule, &news, now_ns);
}

static uint64_t try_start(uint64_t now_ns)
{
    return pc_schedule_start(&schedule, &news, now_ns);
}

/* A frame is due at `now_ns` and taken. */
static void take(uint64_t now_ns)
{
    CHECK(due(now_ns) <= now_ns);
    CHECK_EQ(try_start(now_ns), now_ns);
}

static void nobody_receives_nothing_is_due(void)
{
    start(false);
    h264->receiving = false;
    news.changed = true;
    h264->idr_wanted = true;
    CHECK(due(T0) == UINT64_MAX);
}

static void the_first_frame_comes_at_once(void)
{
    start(true);
    take(T0);
    CHECK(schedule.taking[0] && !schedule.taking[PC_LADDER_RUNGS]);
}

static void a_change_waits_for_its_slot_only(void)
{
    start(true);
    take(T0);
    news.changed = true;
    CHECK_EQ(due(T0 + MS), T0 + 10 * MS); /* half an interval after a frame that came late */
    take(T0 + 10 * MS);
    /* 31/32 of a whole one after one that came early */
    CHECK_EQ(due(T0 + 10 * MS), T0 + 10 * MS + 20 * MS / 32 * 31);
    take(T0 + 95 * MS);
    CHECK_EQ(due(T0 + 95 * MS), T0 + 105 * MS);
    CHECK_EQ(schedule.late, 0); /* nothing had changed meanwhile, as far as is known */
}

static void the_mean_rate_stays_near_the_cap(void)
{
    start(true);
    news.changed = true;
    uint64_t now = T0, seed = 1;
    int frames = 0;
    while (now < T0 + 2000 * MS) {
        take(now);
        frames++;
        uint64_t next = due(now);
        now = next + harness_random(&seed) % (5 * MS); /* the source is never quite punctual */
    }
    CHECK(frames >= 100 && frames <= 104);
}

static void stillness_is_refreshed_at_the_keep_alive_rate(void)
{
    start(true);
    take(T0);
    CHECK_EQ(due(T0 + MS), T0 + 500 * MS);
    take(T0 + 500 * MS);
    CHECK_EQ(due(T0 + 501 * MS), T0 + 1000 * MS);
}

static void a_source_without_damage_has_a_frame_in_every_slot(void)
{
    start(false);
    take(T0);
    CHECK_EQ(due(T0), T0 + 10 * MS);
    take(T0 + 10 * MS);
    CHECK_EQ(due(T0 + 10 * MS), T0 + 30 * MS);
    take(T0 + 85 * MS); /* 55 ms after its slot: two more have passed */
    CHECK_EQ(schedule.late, 2);
    CHECK_EQ(schedule.skipped, 0);
}

static void an_idr_that_is_wished_for_keeps_its_distance(void)
{
    start(true);
    take(T0);
    h264->idr_wanted = true;
    CHECK_EQ(due(T0 + MS), T0 + 10 * MS); /* there was none yet */
    CHECK(pc_schedule_idr_allowed(&schedule, 0, T0));
    h264->last_idr_ns = T0;
    CHECK_EQ(due(T0 + MS), T0 + 300 * MS);
    CHECK(!pc_schedule_idr_allowed(&schedule, T0, T0 + 300 * MS - 1));
    CHECK(pc_schedule_idr_allowed(&schedule, T0, T0 + 300 * MS));
    h264->receiving = false; /* … and nobody is left who wishes */
    vp8->receiving = true;
    CHECK_EQ(due(T0 + MS), T0 + 500 * MS);
}

static void the_network_is_waited_for_but_not_for_ever(void)
{
    start(false);
    take(T0);
    h264->drained = false;
    CHECK_EQ(due(T0 + 10 * MS), T0 + 10 * MS);
    CHECK_EQ(try_start(T0 + 10 * MS), T0 + 10 * MS + PATIENT);
    CHECK_EQ(try_start(T0 + 50 * MS), T0 + 10 * MS + PATIENT);
    h264->drained = true;
    take(T0 + 75 * MS); /* 65 ms: three slots were given up */
    CHECK_EQ(schedule.skipped, 3);
    CHECK_EQ(schedule.late, 0);

    uint64_t stuck = due(T0 + 75 * MS);
    h264->drained = false;
    CHECK_EQ(try_start(stuck), stuck + PATIENT);
    CHECK_EQ(try_start(stuck + PATIENT), stuck + PATIENT);
    CHECK(schedule.taking[0]);
    CHECK_EQ(schedule.skipped, 13);
    /* Each frame given to a stuck path is waited for anew. */
    uint64_t next = due(stuck + PATIENT);
    CHECK_EQ(try_start(next), next + PATIENT);
}

static void a_slow_path_of_one_codec_does_not_hold_up_the_other(void)
{
    start(true);
    vp8->receiving = vp8->drained = true;
    take(T0);
    CHECK(schedule.taking[PC_LADDER_RUNGS]);
    news.changed = true;
    vp8->drained = false;
    for (uint64_t now = T0 + 10 * MS; now < T0 + 190 * MS; now = due(now)) {
        take(now);
        CHECK(schedule.taking[0] && !schedule.taking[PC_LADDER_RUNGS]);
    }
    CHECK_EQ(schedule.skipped, 0);

    /* What it missed it gets when it is drained, and stillness is no reason to hurry the other. */
    news.changed = false;
    vp8->behind = true;
    uint64_t now = schedule.next_slot_ns;
    CHECK_EQ(due(T0 + 190 * MS), now);
    CHECK(now < T0 + 210 * MS);
    CHECK_EQ(try_start(now), T0 + 210 * MS); /* it is left out since 10 ms */
    vp8->drained = true;
    CHECK_EQ(try_start(now + MS), now + MS);
    CHECK(schedule.taking[PC_LADDER_RUNGS]);
}

static void a_pause_is_neither_late_nor_skipped(void)
{
    start(false);
    take(T0);
    h264->drained = false;
    CHECK(try_start(T0 + 20 * MS) > T0 + 20 * MS);
    h264->receiving = false;
    CHECK(due(T0 + 25 * MS) == UINT64_MAX);
    CHECK(due(T0 + 9000 * MS) == UINT64_MAX);
    h264->receiving = h264->drained = true;
    take(T0 + 10000 * MS);
    CHECK_EQ(schedule.late, 0);
    CHECK_EQ(schedule.skipped, 0);
    CHECK_EQ(due(T0 + 10000 * MS), T0 + 10010 * MS);
}

static void a_higher_rate_begins_at_once(void)
{
    pc_schedule_init(&schedule, 1, 1, 300 * MS);
    memset(&news, 0, sizeof news);
    h264->receiving = h264->drained = true;
    take(T0);
    take(T0 + 500 * MS);
    CHECK_EQ(due(T0 + 500 * MS), T0 + 1500 * MS);
    pc_schedule_set_fps(&schedule, 50);
    CHECK_EQ(due(T0 + 500 * MS), T0 + 520 * MS);
}

/* Frames of a source that draws every 20 ms, in steps over `drawing_ns`; each takes 4 ms. Returns
 * how many were taken before drawing was over. */
static int play(uint64_t *now_ns, int frames, uint64_t drawing_ns)
{
    int early = 0;
    for (int i = 0; i < frames; i++, *now_ns += 20 * MS) {
        news.changed = true;
        news.changed_ns = *now_ns;
        uint64_t at = due(*now_ns);
        CHECK(at >= *now_ns || schedule.settle_ns == 0);
        at = at < *now_ns ? *now_ns : at;
        CHECK_EQ(try_start(at), at);
        bool rest = at < *now_ns + drawing_ns;
        early += rest;
        news.changed = false;
        pc_schedule_finish(&schedule, rest, at + 4 * MS);
    }
    return early;
}

static void a_picture_in_one_step_is_never_waited_for(void)
{
    start(true);
    uint64_t now = T0;
    CHECK_EQ(play(&now, 2000, 0), 0);
    CHECK_EQ(schedule.settle_ns, 0);
}

static void a_picture_in_several_steps_is_waited_for(void)
{
    start(true);
    uint64_t now = T0;
    CHECK_EQ(play(&now, 100, 6 * MS / 10), 3); /* 0.25, 0.5, 0.75 ms */
    CHECK_EQ(schedule.settle_ns, 750000);
    /* Every 600 frames less is tried, and learnt again. */
    CHECK(play(&now, 6000, 6 * MS / 10) <= 20);
    /* The source has changed its ways: within three times as many frames nothing is waited for. */
    play(&now, 1900, 0);
    CHECK_EQ(schedule.settle_ns, 0);
}

static void waiting_in_vain_is_given_up(void)
{
    start(true);
    uint64_t now = T0;
    play(&now, 100, 15 * MS); /* it never stops drawing */
    CHECK_EQ(schedule.settle_ns, 0);
    play(&now, 3000, 15 * MS);
    CHECK_EQ(schedule.settle_ns, 0);
    play(&now, 700, 15 * MS); /* tried again, and given up again */
    CHECK_EQ(schedule.settle_ns, 0);
    CHECK(schedule.settle_frames < 0);
}

static void the_wait_has_a_bound(void)
{
    start(true);
    uint64_t now = T0;
    play(&now, 30, 15 * MS);
    CHECK_EQ(schedule.settle_ns, PC_SETTLE_MAX_NS);
    pc_schedule_init(&schedule, 240, 2, 300 * MS);
    for (int i = 0; i < 30; i++)
        pc_schedule_finish(&schedule, true, 0);
    CHECK_EQ(schedule.settle_ns, PC_NS_PER_S / 240 / 4);
}

static void a_frame_that_took_long_teaches_nothing(void)
{
    start(true);
    take(T0);
    pc_schedule_finish(&schedule, true, T0 + 10 * MS);
    CHECK_EQ(schedule.settle_ns, 0);
    pc_schedule_finish(&schedule, true, T0 + 9 * MS);
    CHECK_EQ(schedule.settle_ns, PC_SETTLE_STEP_NS);
}

/* One encode at half the frames of the other: it gets every second one, also when they jitter. */
static void an_encode_of_fewer_frames_is_left_out_in_between(void)
{
    start(true);
    struct pc_schedule_encode *second = &news.encodes[1];
    second->receiving = second->drained = true;
    second->fps = 25;
    int frames = 0, shared = 0;
    for (uint64_t now = T0; now < T0 + 2000 * MS; now += MS) {
        if (now % (20 * MS) == (now / (20 * MS) % 3) * MS) {
            news.changed = true;
            news.changed_ns = now;
        }
        if (due(now) > now || try_start(now) > now)
            continue;
        CHECK(schedule.taking[0]);
        frames++;
        shared += schedule.taking[1];
        second->behind = !schedule.taking[1];
        news.changed = false;
        pc_schedule_finish(&schedule, false, now);
    }
    CHECK(frames >= 98 && frames <= 106); /* what was left out is caught up with, too */
    CHECK(shared >= 48 && shared <= 54);
}

static void the_wish_for_fewer_frames_alone_is_a_lower_cap(void)
{
    start(false);
    h264->fps = 10; /* as a stream does: the cap is what the quickest encode wants */
    pc_schedule_set_fps(&schedule, 10);
    int frames = 0;
    for (uint64_t now = T0; now < T0 + 2000 * MS; now += MS)
        frames += due(now) <= now && try_start(now) <= now;
    CHECK(frames >= 19 && frames <= 21);
    CHECK_EQ(schedule.late, 0);
}

int main(void)
{
    RUN(nobody_receives_nothing_is_due);
    RUN(the_first_frame_comes_at_once);
    RUN(a_change_waits_for_its_slot_only);
    RUN(the_mean_rate_stays_near_the_cap);
    RUN(stillness_is_refreshed_at_the_keep_alive_rate);
    RUN(a_source_without_damage_has_a_frame_in_every_slot);
    RUN(an_idr_that_is_wished_for_keeps_its_distance);
    RUN(the_network_is_waited_for_but_not_for_ever);
    RUN(a_slow_path_of_one_codec_does_not_hold_up_the_other);
    RUN(a_pause_is_neither_late_nor_skipped);
    RUN(a_higher_rate_begins_at_once);
    RUN(a_picture_in_one_step_is_never_waited_for);
    RUN(a_picture_in_several_steps_is_waited_for);
    RUN(waiting_in_vain_is_given_up);
    RUN(the_wait_has_a_bound);
    RUN(a_frame_that_took_long_teaches_nothing);
    RUN(an_encode_of_fewer_frames_is_left_out_in_between);
    RUN(the_wish_for_fewer_frames_alone_is_a_lower_cap);
    return HARNESS_RESULT();
}
