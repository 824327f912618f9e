#include "arrivals.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>

#include "harness.h"
#include "rtcp.h"

#define MS    UINT64_C(1000000)
#define TICK  UINT64_C(250000)
#define START (5 * 1000 * MS)

static struct pc_arrivals arrivals;

/* ---- What is told, against what came ---- */

static struct {
    bool came[65536], told[65536];
    int64_t tick[65536];
    int packets, statuses, received;
    uint16_t first, next;
    int64_t clock;
    uint8_t feedback_count;
} model;

static void on_feedback(void *context, const struct pc_rtcp_transport_feedback *feedback)
{
    (void)context;
    if (model.packets > 0)
        CHECK_EQ(feedback->feedback_count, (uint8_t)(model.feedback_count + 1));
    CHECK_EQ(feedback->sender_ssrc, 0xAA);
    CHECK_EQ(feedback->media_ssrc, 0xBB);
    model.feedback_count = feedback->feedback_count;
    model.packets++;
    model.first = model.next = feedback->base_sequence;
    model.clock = (int64_t)feedback->reference_time * 256;
}

static void on_status(void *context, uint16_t sequence, bool received, int32_t delta_us)
{
    (void)context;
    CHECK_EQ(sequence, model.next);
    model.next++;
    model.statuses++;
    model.received += received;
    model.clock += delta_us / 250;
    CHECK_EQ(received, model.came[sequence]);
    if (!received)
        return;
    CHECK_EQ((uint32_t)model.clock, (uint32_t)model.tick[sequence]); /* the 24 bits wrap */
    model.told[sequence] = true;
}

static void begin(void)
{
    memset(&model, 0, sizeof model);
    pc_arrivals_init(&arrivals);
}

static void add(uint16_t sequence, bool ends_frame, uint64_t now_ns)
{
    if (!model.came[sequence]) {
        model.came[sequence] = true;
        model.told[sequence] = false;
        model.tick[sequence] = (int64_t)(now_ns / TICK);
    }
    pc_arrivals_add(&arrivals, sequence, ends_frame, now_ns);
}

/* All feedback there is; returns how many packets. */
static int tell(uint64_t now_ns)
{
    const struct pc_rtcp_handler handler = {.transport_feedback = on_feedback,
                                            .transport_status = on_status};
    uint8_t out[1200];
    int packets = 0;
    for (long size; (size = pc_arrivals_write(&arrivals, out, sizeof out, 0xAA, 0xBB, now_ns)) != 0;
         packets++) {
        CHECK(size > 0);
        if (size < 0 || packets > 100)
            break;
        CHECK_EQ(pc_rtcp_parse(out, (size_t)size, &handler), 1);
    }
    return packets;
}

/* ---- Tests ---- */

static void is_due_when_a_frame_ends_and_soon_in_any_case(void)
{
    begin();
    CHECK_EQ(pc_arrivals_due(&arrivals), UINT64_MAX);
    CHECK_EQ(tell(START), 0);
    add(10, false, START);
    add(11, false, START + 3 * MS);
    CHECK_EQ(pc_arrivals_due(&arrivals), START + 25 * MS);
    add(12, true, START + 4 * MS);
    CHECK_EQ(pc_arrivals_due(&arrivals), START + 4 * MS);
    CHECK_EQ(tell(START + 4 * MS), 1);
    CHECK_EQ(model.received, 3);
    CHECK_EQ(pc_arrivals_due(&arrivals), UINT64_MAX);
    /* Frames that follow each other more closely than feedback may. */
    add(13, true, START + 6 * MS);
    CHECK_EQ(pc_arrivals_due(&arrivals), START + 9 * MS);
    add(14, true, START + 8 * MS);
    CHECK_EQ(pc_arrivals_due(&arrivals), START + 9 * MS);
    CHECK_EQ(tell(START + 9 * MS), 1);
    add(15, true, START + 20 * MS);
    CHECK_EQ(pc_arrivals_due(&arrivals), START + 20 * MS);
    CHECK_EQ(tell(START + 20 * MS), 1);
    CHECK_EQ(model.received, 6);
    CHECK_EQ(model.statuses, 6);
}

static void what_is_lost_is_told_once_as_lost(void)
{
    begin();
    add(65534, false, START);
    add(2, true, START + MS);
    CHECK_EQ(tell(START + MS), 1);
    CHECK_EQ(model.statuses, 5);
    CHECK_EQ(model.received, 2);
    add(3, true, START + 17 * MS);
    CHECK_EQ(tell(START + 17 * MS), 1);
    CHECK_EQ(model.statuses, 6);
}

static void what_comes_late_is_told_with_all_since(void)
{
    begin();
    add(1, false, START);
    add(3, true, START);
    CHECK_EQ(tell(START), 1);
    add(2, false, START + 8 * MS);
    CHECK_EQ(pc_arrivals_due(&arrivals), START + 33 * MS);
    CHECK_EQ(tell(START + 33 * MS), 1);
    CHECK(model.told[2]);
    CHECK_EQ(model.first, 2);
    CHECK_EQ(model.statuses, 3 + 2);
}

static void copies_are_passed_over(void)
{
    begin();
    add(1, true, START);
    CHECK_EQ(tell(START), 1);
    add(1, true, START + 10 * MS);
    CHECK_EQ(pc_arrivals_due(&arrivals), UINT64_MAX);
    CHECK_EQ(tell(START + 10 * MS), 0);
}

static void what_comes_far_too_late_is_not_told(void)
{
    begin();
    add(0, false, START);
    for (uint16_t i = 2; i < 1100; i++)
        add(i, false, START + i * TICK);
    tell(START + 300 * MS);
    pc_arrivals_add(&arrivals, 1, false, START + 301 * MS);
    CHECK_EQ(pc_arrivals_due(&arrivals), UINT64_MAX);
}

static void numbers_from_elsewhere_begin_anew(void)
{
    begin();
    add(100, false, START);
    tell(START + 25 * MS);
    int told = model.statuses;
    add(30000, true, START + 50 * MS);
    CHECK_EQ(tell(START + 50 * MS), 1);
    CHECK_EQ(model.statuses, told + 1); /* nothing of what lies between */
    add(29000 - 2000, true, START + 60 * MS);
    CHECK_EQ(tell(START + 60 * MS), 1);
    CHECK_EQ(model.statuses, told + 2);
}

static void a_long_pause_makes_two_packets(void)
{
    begin();
    add(1, false, START);
    add(2, true, START + 9000 * MS); /* nobody asked for feedback meanwhile */
    CHECK_EQ(tell(START + 9000 * MS), 2);
    CHECK(model.told[1] && model.told[2]);
}

static void a_buffer_that_is_too_small(void)
{
    begin();
    add(1, true, START);
    uint8_t out[64];
    CHECK_EQ(pc_arrivals_write(&arrivals, out, 20, 0xAA, 0xBB, START), -ENOSPC);
    CHECK_EQ(tell(START), 1); /* it is still there to be told */
}

/* Loss, reordering and copies at random, over several rounds of the numbers and of the 24-bit
 * reference time: each arrival is told, with its time, when it is due and not later. */
static void everything_that_came_is_told(void)
{
    begin();
    uint64_t random = 3, now = UINT64_C(1073741824) * MS - 3000 * MS, told_ns = 0;
    uint16_t number = 65000;
    struct {
        uint16_t sequence;
        uint64_t ns;
    } late = {0};
    int came = 0;
    for (int i = 0; i < 200000; i++) {
        now += harness_random(&random) % 1000 * (harness_random(&random) % 100 == 0 ? 20000 : 1000);
        model.came[(uint16_t)(number + 20000)] = false; /* of the last round */
        unsigned what = harness_random(&random) % 100;
        if (what < 5) {
            number++; /* lost */
        } else if (what < 8 && late.ns == 0) {
            late.sequence = number++;
            late.ns = now + harness_random(&random) % 30 * MS;
        } else {
            add(number++, harness_random(&random) % 20 == 0, now);
            came++;
        }
        if (what == 50)
            add((uint16_t)(number - 1 - harness_random(&random) % 5), false, now);
        if (late.ns != 0 && late.ns < now) {
            came += !model.came[late.sequence];
            add(late.sequence, false, now);
            late.ns = 0;
        }
        uint64_t due = pc_arrivals_due(&arrivals);
        if (due != UINT64_MAX)
            CHECK(due <= now + 25 * MS);
        if (due <= now) {
            model.clock = 0;
            tell(now);
            CHECK(now - told_ns >= 5 * MS || told_ns == 0);
            told_ns = now;
            CHECK_EQ(pc_arrivals_due(&arrivals), UINT64_MAX);
        }
    }
    tell(now);
    int untold = 0;
    for (uint16_t i = 0; i < 5000; i++) {
        uint16_t sequence = (uint16_t)(number - 1 - i);
        untold += model.came[sequence] && !model.told[sequence];
    }
    CHECK_EQ(untold, 0);
    CHECK(model.received >= came);
}

int main(void)
{
    RUN(is_due_when_a_frame_ends_and_soon_in_any_case);
    RUN(what_is_lost_is_told_once_as_lost);
    RUN(what_comes_late_is_told_with_all_since);
    RUN(copies_are_passed_over);
    RUN(what_comes_far_too_late_is_not_told);
    RUN(numbers_from_elsewhere_begin_anew);
    RUN(a_long_pause_makes_two_packets);
    RUN(a_buffer_that_is_too_small);
    RUN(everything_that_came_is_told);
    return HARNESS_RESULT();
}
