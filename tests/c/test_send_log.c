#include "send_log.h"

#include <stdlib.h>

#include "harness.h"

#define MS 1000000ull

static void add(struct pc_send_log *log, uint16_t number, uint64_t sent_ns, uint32_t bytes)
{
    struct pc_sent_packet packet = {.sent_ns = sent_ns,
                                    .bytes = bytes,
                                    .frame = number / 4u,
                                    .sequence = (uint16_t)(number + 9)};
    pc_send_log_add(log, number, &packet);
}

static void feedback(struct pc_send_log *log, uint16_t base, uint16_t count, int32_t reference)
{
    struct pc_rtcp_transport_feedback packet = {
        .base_sequence = base, .status_count = count, .reference_time = reference};
    pc_send_log_feedback(log, &packet);
}

static struct pc_send_log_stats stats(const struct pc_send_log *log)
{
    struct pc_send_log_stats out;
    pc_send_log_get_stats(log, &out);
    return out;
}

static void each_packet_is_reported_with_its_arrival(void)
{
    struct pc_send_log *log = pc_send_log_create();
    const struct pc_packet_report *reports;
    for (uint16_t i = 0; i < 4; i++)
        add(log, (uint16_t)(65534 + i), 100 * MS + i * MS, 1000);
    CHECK_EQ(pc_send_log_in_flight(log, 104 * MS, 500 * MS), 4000);

    feedback(log, 65534, 4, 2); /* 128 ms */
    pc_send_log_status(log, 65534, true, 500);
    pc_send_log_status(log, 65535, false, 0);
    pc_send_log_status(log, 0, true, 1250);
    pc_send_log_status(log, 1, true, -250);
    CHECK_EQ(pc_send_log_take(log, &reports), 4);
    CHECK(reports[0].received && reports[0].arrived_us == 128500);
    CHECK_EQ(reports[0].packet.sequence, (uint16_t)(65534 + 9));
    CHECK_EQ(reports[0].packet.sent_ns, 100 * MS);
    CHECK(!reports[1].received && !reports[1].was_lost);
    CHECK_EQ(reports[1].transport_sequence, 65535);
    CHECK_EQ(reports[2].arrived_us, 129750);
    CHECK_EQ(reports[3].arrived_us, 129500);
    CHECK_EQ(pc_send_log_take(log, &reports), 0);
    CHECK_EQ(pc_send_log_in_flight(log, 104 * MS, 500 * MS), 0);
    pc_send_log_destroy(log);
}

static void what_was_lost_may_still_arrive_and_is_then_reported_once(void)
{
    struct pc_send_log *log = pc_send_log_create();
    const struct pc_packet_report *reports;
    add(log, 10, MS, 1000);
    add(log, 11, MS, 1000);
    feedback(log, 10, 2, 1);
    pc_send_log_status(log, 10, false, 0);
    pc_send_log_status(log, 11, true, 0);
    CHECK_EQ(pc_send_log_take(log, &reports), 2);

    feedback(log, 10, 2, 1);
    pc_send_log_status(log, 10, true, 750);
    pc_send_log_status(log, 11, true, 250);
    CHECK_EQ(pc_send_log_take(log, &reports), 1);
    CHECK(reports[0].received && reports[0].was_lost && reports[0].arrived_us == 64750);
    CHECK_EQ(stats(log).repeated, 1);

    feedback(log, 10, 1, 1);
    pc_send_log_status(log, 10, false, 0); /* too late to say so */
    CHECK_EQ(pc_send_log_take(log, &reports), 0);
    CHECK_EQ(stats(log).repeated, 2);
    CHECK_EQ(stats(log).feedback_packets, 3);
    pc_send_log_destroy(log);
}

static void lost_and_received_in_one_take_keep_their_order(void)
{
    struct pc_send_log *log = pc_send_log_create();
    const struct pc_packet_report *reports;
    for (uint16_t i = 0; i < 4; i++)
        add(log, i, MS, 1000);
    feedback(log, 2, 2, 1); /* the later numbers first */
    pc_send_log_status(log, 2, false, 0);
    pc_send_log_status(log, 3, true, 0);
    feedback(log, 0, 3, 1);
    pc_send_log_status(log, 0, true, 0);
    pc_send_log_status(log, 1, true, 250);
    pc_send_log_status(log, 2, true, 250);
    CHECK_EQ(pc_send_log_take(log, &reports), 5);
    static const uint16_t order[] = {0, 1, 2, 2, 3};
    for (int i = 0; i < 5; i++)
        CHECK_EQ(reports[i].transport_sequence, order[i]);
    CHECK(!reports[2].received && reports[3].received && reports[3].was_lost);
    pc_send_log_destroy(log);
}

static void numbers_that_were_never_sent_are_counted(void)
{
    struct pc_send_log *log = pc_send_log_create();
    const struct pc_packet_report *reports;
    feedback(log, 0, 3, 0);
    pc_send_log_status(log, 0, true, 0); /* nothing has been sent at all */
    add(log, 5, MS, 1000);
    pc_send_log_status(log, 4, true, 0);
    pc_send_log_status(log, 5 + PC_SEND_LOG_PACKETS, true, 0); /* same slot */
    CHECK_EQ(pc_send_log_take(log, &reports), 0);
    CHECK_EQ(stats(log).unknown, 3);
    for (uint32_t i = 6; i <= 5 + PC_SEND_LOG_PACKETS; i++)
        add(log, (uint16_t)i, MS, 1000);
    pc_send_log_status(log, 5, true, 0); /* forgotten meanwhile */
    CHECK_EQ(stats(log).unknown, 4);
    pc_send_log_destroy(log);
}

static void the_receivers_clock_is_unwrapped(void)
{
    struct pc_send_log *log = pc_send_log_create();
    const struct pc_packet_report *reports;
    add(log, 0, 0, 1000);
    feedback(log, 0, 1, 0x7fffff);
    pc_send_log_status(log, 0, true, 0);
    pc_send_log_take(log, &reports);
    int64_t before = reports[0].arrived_us;
    add(log, 1, 128 * MS, 1000);
    feedback(log, 1, 1, -0x7fffff);
    pc_send_log_status(log, 1, true, 0);
    CHECK_EQ(pc_send_log_take(log, &reports), 1);
    CHECK_EQ(reports[0].arrived_us - before, 128000);
    pc_send_log_destroy(log);
}

static void an_arrival_out_of_all_reason_is_left_out_until_all_say_so(void)
{
    struct pc_send_log *log = pc_send_log_create();
    const struct pc_packet_report *reports;
    for (uint16_t i = 0; i < 200; i++)
        add(log, i, i * MS, 1000);
    feedback(log, 0, 1, 0);
    pc_send_log_status(log, 0, true, 0);
    CHECK_EQ(pc_send_log_take(log, &reports), 1);
    feedback(log, 1, 1, -1000); /* 64 s before */
    pc_send_log_status(log, 1, true, 0);
    CHECK_EQ(pc_send_log_take(log, &reports), 0);
    CHECK_EQ(stats(log).nonsense, 1);
    feedback(log, 1, 2, 0); /* the truth can still be told */
    pc_send_log_status(log, 1, true, 1000);
    pc_send_log_status(log, 2, true, 1000);
    CHECK_EQ(pc_send_log_take(log, &reports), 2);

    for (uint16_t i = 3; i < 103; i++) { /* a receiver that has begun anew */
        feedback(log, i, 1, 5000);
        pc_send_log_status(log, i, true, 0);
    }
    int taken = pc_send_log_take(log, &reports);
    CHECK(taken > 30 && taken < 100);
    CHECK_EQ(reports[taken - 1].arrived_us, 5000 * 64000);
    pc_send_log_destroy(log);
}

static void a_flood_is_bounded(void)
{
    struct pc_send_log *log = pc_send_log_create();
    const struct pc_packet_report *reports;
    for (uint32_t i = 0; i < PC_SEND_LOG_PACKETS; i++)
        add(log, (uint16_t)i, MS, 1000);
    for (int round = 0; round < 4; round++) {
        for (uint32_t i = 65536; i > 0; i--) {
            if (i % 1000 == 0)
                feedback(log, (uint16_t)i, 1000, round);
            pc_send_log_status(log, (uint16_t)(i - 1), round > 0, 0);
        }
    }
    int count = pc_send_log_take(log, &reports);
    CHECK_EQ(count, 2 * PC_SEND_LOG_PACKETS); /* lost, and then there after all */
    for (int i = 1; i < count; i++)
        if (reports[i].transport_sequence < reports[i - 1].transport_sequence) {
            CHECK(false);
            break;
        }
    pc_send_log_destroy(log);
}

static void in_flight_is_what_no_feedback_has_told_of(void)
{
    struct pc_send_log *log = pc_send_log_create();
    CHECK_EQ(pc_send_log_in_flight(log, 5 * MS, 500 * MS), 0);
    for (uint16_t i = 0; i < 10; i++)
        add(log, i, (uint64_t)i * 100 * MS, 100);
    CHECK_EQ(pc_send_log_in_flight(log, 900 * MS, 450 * MS), 500);
    feedback(log, 6, 2, 0);
    pc_send_log_status(log, 6, true, 0);
    pc_send_log_status(log, 7, false, 0);
    CHECK_EQ(pc_send_log_in_flight(log, 900 * MS, 450 * MS), 300);
    pc_send_log_destroy(log);
}

/* Few packets a second need little memory; many are kept for as long. */
static void what_was_sent_lately_is_kept_however_much_it_is(void)
{
    struct pc_send_log *log = pc_send_log_create();
    const struct pc_rtcp_transport_feedback feedback = {0};
    const struct pc_packet_report *reports;
    for (uint32_t i = 0; i < 5000; i++) {
        struct pc_sent_packet packet = {.sent_ns = i * (PC_SEND_LOG_NS / 4000), .bytes = i};
        pc_send_log_add(log, (uint16_t)(65000 + i), &packet);
    }
    pc_send_log_feedback(log, &feedback);
    for (uint32_t i = 1001; i < 5000; i++)
        pc_send_log_status(log, (uint16_t)(65000 + i), false, 0);
    CHECK_EQ(pc_send_log_take(log, &reports), 3999);
    for (uint32_t i = 0; i < 3999; i++)
        CHECK_EQ(reports[i].packet.bytes, 1001 + i);
    pc_send_log_destroy(log);
}

int main(void)
{
    RUN(what_was_sent_lately_is_kept_however_much_it_is);
    RUN(each_packet_is_reported_with_its_arrival);
    RUN(what_was_lost_may_still_arrive_and_is_then_reported_once);
    RUN(lost_and_received_in_one_take_keep_their_order);
    RUN(numbers_that_were_never_sent_are_counted);
    RUN(the_receivers_clock_is_unwrapped);
    RUN(an_arrival_out_of_all_reason_is_left_out_until_all_say_so);
    RUN(a_flood_is_bounded);
    RUN(in_flight_is_what_no_feedback_has_told_of);
    return HARNESS_RESULT();
}
