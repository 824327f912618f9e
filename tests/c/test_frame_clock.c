#include "frame_clock.h"

#include "harness.h"

static struct pc_frame_clock frames;

static void add(uint64_t id, uint64_t start, uint64_t duration)
{
    struct pc_frame *frame = pc_frame_clock_begin(&frames, id);
    pc_frame_mark(frame, PC_STAGE_CAPTURE_START, start);
    if (duration != 0)
        pc_frame_mark(frame, PC_STAGE_LAST_SENT, start + duration);
}

static void percentiles_are_exact(void)
{
    struct pc_percentiles out;
    memset(&frames, 0, sizeof frames);
    pc_frame_clock_summary(&frames, PC_STAGE_CAPTURE_START, PC_STAGE_LAST_SENT, 0, &out);
    CHECK_EQ(out.count, 0);
    CHECK_EQ(out.p50, 0);
    for (uint64_t i = 0; i < 101; i++)
        add(i, 1000 + i, 1 + (i * 37) % 101); /* 1..101 in some order */
    pc_frame_clock_summary(&frames, PC_STAGE_CAPTURE_START, PC_STAGE_LAST_SENT, 0, &out);
    CHECK_EQ(out.count, 101);
    CHECK_EQ(out.p50, 51);
    CHECK_EQ(out.p95, 96);
    CHECK_EQ(out.p99, 100);
    CHECK_EQ(out.max, 101);
}

static void frames_before_the_window_or_unfinished_do_not_count(void)
{
    struct pc_percentiles out;
    memset(&frames, 0, sizeof frames);
    add(0, 1000, 500);
    add(1, 2000, 10);
    add(2, 3000, 0);
    pc_frame_clock_summary(&frames, PC_STAGE_CAPTURE_START, PC_STAGE_LAST_SENT, 2000, &out);
    CHECK_EQ(out.count, 1);
    CHECK_EQ(out.max, 10);
}

static void a_stage_is_set_once(void)
{
    memset(&frames, 0, sizeof frames);
    struct pc_frame *frame = pc_frame_clock_begin(&frames, 5);
    CHECK(!pc_frame_reached(frame, PC_STAGE_FIRST_SENT));
    pc_frame_mark(frame, PC_STAGE_FIRST_SENT, 100);
    CHECK(pc_frame_reached(frame, PC_STAGE_FIRST_SENT));
    pc_frame_mark(frame, PC_STAGE_FIRST_SENT, 200);
    struct pc_frame_times times;
    CHECK_EQ(pc_frame_clock_read(&frames, 0, &times, 1), 1);
    CHECK_EQ(times.id, 5);
    CHECK_EQ(times.at[PC_STAGE_FIRST_SENT], 100);
    CHECK_EQ(times.at[PC_STAGE_LAST_SENT], 0);
}

static void reading_goes_from_old_to_new_and_over_the_ring(void)
{
    struct pc_frame_times times[8];
    memset(&frames, 0, sizeof frames);
    for (uint64_t id = 0; id < 3000; id++)
        add(id, id * 10 + 1, 1);
    CHECK_EQ(pc_frame_clock_read(&frames, 0, times, 8), 8);
    CHECK_EQ(times[0].id, 3000 - PC_FRAME_CLOCK_SIZE);
    CHECK_EQ(times[7].id, 3000 - PC_FRAME_CLOCK_SIZE + 7);
    CHECK_EQ(pc_frame_clock_read(&frames, 2998, times, 8), 2);
    CHECK_EQ(times[1].id, 2999);
    CHECK_EQ(pc_frame_clock_read(&frames, 3000, times, 8), 0);
}

int main(void)
{
    RUN(percentiles_are_exact);
    RUN(frames_before_the_window_or_unfinished_do_not_count);
    RUN(a_stage_is_set_once);
    RUN(reading_goes_from_old_to_new_and_over_the_ring);
    return HARNESS_RESULT();
}
