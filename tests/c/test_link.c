#include "link.h"

#include <math.h>
#include <stdlib.h>

#include "harness.h"

#define MS 1000000ull
#define S  1000000000ull

static const struct pc_link_settings nothing;

static struct pc_trace *trace_of(const char *text)
{
    char error[128] = "";
    struct pc_trace *trace = pc_trace_parse(text, error, sizeof error);
    if (trace == NULL)
        printf("  %s\n", error);
    return trace;
}

/* Sends `size` bytes every `interval_ns`, `count` times from 0, and receives everything as it comes
 * out. What `seen` adds up is what the tests look at. */
struct seen {
    uint64_t packets, bytes, first_ns, last_ns, max_queued_ns, dropped, overtaken, repeated;
    double delays_ns;
};

static struct seen run(struct pc_link *link, uint64_t count, uint64_t interval_ns, size_t size)
{
    struct seen seen = {0};
    uint64_t last_id = 0;
    for (uint64_t sent = 0;;) {
        uint64_t send_at = sent < count ? sent * interval_ns : UINT64_MAX,
                 next = pc_link_next(link);
        if (send_at == UINT64_MAX && next == UINT64_MAX)
            return seen;
        if (send_at <= next) {
            seen.dropped += !pc_link_send(link, send_at, sent, NULL, size);
            sent++;
            continue;
        }
        struct pc_link_packet packet;
        while (pc_link_receive(link, next, &packet)) {
            CHECK_EQ(packet.arrived_ns, next);
            seen.first_ns = seen.packets == 0 ? packet.arrived_ns : seen.first_ns;
            seen.last_ns = packet.arrived_ns;
            seen.packets++;
            seen.bytes += packet.size;
            seen.repeated += packet.repeated;
            seen.overtaken += packet.id < last_id;
            last_id = packet.id > last_id ? packet.id : last_id;
            seen.delays_ns += (double)(packet.arrived_ns - packet.sent_ns);
            if (packet.queued_ns > seen.max_queued_ns)
                seen.max_queued_ns = packet.queued_ns;
        }
    }
}

static void a_packet_takes_its_transmission_and_the_delay(void)
{
    struct pc_link_settings settings = {.rate_bps = 8e6, .delay_ns = 20 * MS, .overhead_bytes = 28};
    struct pc_link *link = pc_link_create(&settings, 1, 5 * S);
    CHECK_EQ(pc_link_next(link), UINT64_MAX);
    CHECK(pc_link_send(link, 5 * S, 7, "hello", 5));
    CHECK(pc_link_send(link, 5 * S, 8, NULL, 972));

    struct pc_link_packet packet;
    uint64_t first = 5 * S + 33000 + 20 * MS, second = first + 1 * MS;
    CHECK(!pc_link_receive(link, first - 1, &packet));
    CHECK_EQ(pc_link_next(link), first);
    CHECK(pc_link_receive(link, first, &packet));
    CHECK_EQ(packet.id, 7);
    CHECK_EQ(packet.size, 5);
    CHECK_BYTES(packet.data, "hello", 5);
    CHECK_EQ(packet.queued_ns, 0);
    CHECK_EQ(pc_link_next(link), second);
    CHECK(pc_link_receive(link, second + 3 * S, &packet));
    CHECK_EQ(packet.arrived_ns, second);
    CHECK_EQ(packet.queued_ns, 33000);
    CHECK(packet.data == NULL);
    CHECK(!pc_link_receive(link, 10 * S, &packet));
    pc_link_destroy(link);
}

static void the_rate_is_kept_to_the_nanosecond(void)
{
    struct pc_link_settings settings = {.rate_bps = 7e6};
    struct pc_link *link = pc_link_create(&settings, 1, 0);
    struct seen seen = run(link, 10000, 0, 1111);
    CHECK_EQ(seen.packets, 10000);
    CHECK_EQ(seen.last_ns, (uint64_t)ceil(10000 * 1111 * 8e9 / 7e6));
    pc_link_destroy(link);
}

static void without_limits_nothing_waits(void)
{
    struct pc_link *link = pc_link_create(&nothing, 1, 0);
    struct seen seen = run(link, 100, 1, 100000);
    CHECK_EQ(seen.packets, 100);
    CHECK_EQ(seen.delays_ns, 0);
    pc_link_destroy(link);
}

static void a_full_queue_drops_what_comes_last(void)
{
    /* 1000 bytes a millisecond; twice as many are sent. */
    struct pc_link_settings in_time = {.rate_bps = 8e6, .queue_ns = 30 * MS};
    struct pc_link *link = pc_link_create(&in_time, 1, 0);
    struct seen seen = run(link, 10000, MS / 2, 1000);
    CHECK_EQ(seen.max_queued_ns, 30 * MS);
    CHECK(seen.dropped > 4900 && seen.dropped < 5000);
    struct pc_link_stats stats;
    pc_link_get_stats(link, &stats);
    CHECK_EQ(stats.dropped, seen.dropped);
    CHECK_EQ(stats.sent, 10000);
    CHECK_EQ(stats.delivered, 10000 - seen.dropped);
    CHECK_EQ(stats.delivered_bytes, seen.bytes);
    pc_link_destroy(link);

    struct pc_link_settings in_bytes = {.rate_bps = 8e6, .queue_bytes = 20000};
    link = pc_link_create(&in_bytes, 1, 0);
    seen = run(link, 10000, MS / 2, 1000);
    CHECK(seen.max_queued_ns >= 18 * MS && seen.max_queued_ns <= 20 * MS);
    CHECK(seen.dropped > 4900 && seen.dropped < 5000);
    pc_link_destroy(link);

    struct pc_link_settings tiny = {.rate_bps = 8e6, .queue_bytes = 10};
    link = pc_link_create(&tiny, 1, 0);
    CHECK_EQ(run(link, 100, 2 * MS, 1000).packets, 100); /* an idle link takes any packet */
    pc_link_destroy(link);
}

static void the_queue_is_told(void)
{
    struct pc_link_settings settings = {.rate_bps = 8e6};
    struct pc_link *link = pc_link_create(&settings, 1, 0);
    for (int i = 0; i < 10; i++)
        pc_link_send(link, 0, 0, NULL, 1000);
    CHECK_EQ(pc_link_queue_bytes(link, 0), 10000);
    CHECK_EQ(pc_link_queue_ns(link, 2500000), 7500000);
    CHECK_EQ(pc_link_queue_bytes(link, 9999000), 1);
    CHECK_EQ(pc_link_queue_ns(link, 1 * S), 0);
    pc_link_destroy(link);
}

static void a_change_applies_to_what_is_queued(void)
{
    struct pc_link_settings settings = {.rate_bps = 8e6};
    struct pc_link *link = pc_link_create(&settings, 1, 0);
    for (uint64_t i = 0; i < 10; i++)
        pc_link_send(link, 0, i, NULL, 1000);
    settings.rate_bps = 0.8e6; /* 4.5 packets are through, 5.5 take ten times as long */
    pc_link_change(link, &settings, 4500 * MS / 1000);
    struct pc_link_packet packet;
    for (uint64_t i = 0; i < 10; i++) {
        uint64_t at = i < 4 ? (i + 1) * MS : 4500 * MS / 1000 + 5 * MS + (i - 4) * 10 * MS;
        CHECK(pc_link_receive(link, 1 * S, &packet));
        CHECK_EQ(packet.id, i);
        CHECK_EQ(packet.arrived_ns, at);
    }
    pc_link_destroy(link);
}

static void rates_of_a_trace_hold_in_turn(void)
{
    struct pc_trace *trace = trace_of("# capacity\n0 8M\n1 2M # less\n\n2 0\n3 loop\n");
    struct pc_link_settings settings = {.trace = trace};
    struct pc_link *link = pc_link_create(&settings, 1, 100 * S);
    CHECK_EQ(pc_link_rate_bps(link, 100 * S + 1500 * MS), 2e6);
    /* 8 Mbit in the first second, 2 in the second, none in the third: 12 Mbit end in the fourth. */
    for (int i = 0; i < 1500; i++)
        CHECK(pc_link_send(link, 100 * S, 0, NULL, 1000));
    CHECK_EQ(pc_link_queue_bytes(link, 102 * S), 250000);
    CHECK_EQ(pc_link_queue_bytes(link, 103 * S), 250000);
    struct pc_link_packet packet = {0};
    int count = 0;
    for (uint64_t at; (at = pc_link_next(link)) != UINT64_MAX;)
        while (pc_link_receive(link, at, &packet))
            count++;
    CHECK_EQ(count, 1500);
    CHECK_EQ(packet.arrived_ns, 103 * S + 250 * MS);
    pc_link_destroy(link);
    pc_trace_destroy(trace);
}

static void deliveries_carry_1500_bytes_each(void)
{
    /* Two opportunities at 10 ms, one at 20, one at 25; every 25 ms: 1.92 Mbit/s. */
    struct pc_trace *trace = trace_of("10\n10\n20\n25\n");
    struct pc_link_settings settings = {.trace = trace};
    struct pc_link *link = pc_link_create(&settings, 1, 0);
    CHECK_EQ(pc_link_rate_bps(link, 0), 1920000);
    pc_link_send(link, 0, 0, NULL, 1000);
    pc_link_send(link, 0, 1, NULL, 1000); /* ends in the second one of 10 ms */
    pc_link_send(link, 11 * MS, 2, NULL, 1600);
    static const uint64_t arrives[] = {10 * MS, 10 * MS, 25 * MS};
    struct pc_link_packet packet;
    for (uint64_t i = 0; i < 3; i++) {
        CHECK_EQ(pc_link_next(link), arrives[i]);
        CHECK(pc_link_receive(link, arrives[i], &packet));
        CHECK_EQ(packet.id, i);
    }
    CHECK_EQ(packet.queued_ns, 9 * MS);
    /* What nobody uses is gone: one packet takes the next opportunity, not a saved one. */
    pc_link_send(link, 1001 * MS, 3, NULL, 100);
    CHECK_EQ(pc_link_next(link), 1010 * MS);
    pc_link_destroy(link);

    link = pc_link_create(&settings, 1, 0);
    CHECK_EQ(run(link, 4000, 0, 1500).last_ns, 25 * S);
    pc_link_destroy(link);
    pc_trace_destroy(trace);
}

static void what_is_no_trace_is_refused(void)
{
    static const char *const wrong[] = {"",
                                        "\n#\n",
                                        "0 10M 3\n",
                                        "0 10x\n",
                                        "0 -1\n",
                                        "1 10M\n",
                                        "0 1M\n0 2M\n",
                                        "0 1M\n5\n",
                                        "5\n4\n",
                                        "0\n",
                                        "0 loop\n",
                                        "0 0\n1 loop\n",
                                        "0 1M\n1 loop\n2 1M\n",
                                        "0 nan\n",
                                        "-5\n",
                                        "0 0.001\n",
                                        "1e3\n",
                                        "99999999999999999999999999999999999999 1M\n"};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        char error[128] = "";
        CHECK(pc_trace_parse(wrong[i], error, sizeof error) == NULL);
        CHECK(strncmp(error, "line ", 5) == 0);
    }
}

static struct seen run_with(const struct pc_link_settings *settings, uint64_t seed)
{
    struct pc_link *link = pc_link_create(settings, seed, 0);
    struct seen seen = run(link, 100000, MS, 1000);
    pc_link_destroy(link);
    return seen;
}

static void random_loss_has_its_share(void)
{
    struct pc_link_settings settings = {.loss = 0.05};
    uint64_t lost = 100000 - run_with(&settings, 1).packets;
    CHECK(lost > 4700 && lost < 5300);
    CHECK(run_with(&settings, 2).packets != 100000 - lost);
    CHECK_EQ(run_with(&settings, 1).packets, 100000 - lost);
}

static void bursts_have_their_share_and_length(void)
{
    struct pc_link_settings settings = {0};
    pc_link_set_bursts(&settings, 0.05, 8);
    struct pc_link *link = pc_link_create(&settings, 3, 0);
    struct pc_link_packet packet;
    int lost = 0, bursts = 0;
    bool before = false;
    for (uint64_t i = 0; i < 400000; i++) {
        pc_link_send(link, i, i, NULL, 1);
        bool gone = !pc_link_receive(link, i, &packet);
        lost += gone;
        bursts += gone && !before;
        before = gone;
    }
    CHECK(lost > 18500 && lost < 21500);
    CHECK(fabs((double)lost / bursts - 8) < 0.4);
    pc_link_destroy(link);
}

static void jitter_keeps_the_order_unless_told(void)
{
    struct pc_link_settings settings = {.delay_ns = 20 * MS, .jitter_ns = 5 * MS};
    struct seen seen = run_with(&settings, 1);
    CHECK_EQ(seen.overtaken, 0);
    CHECK_EQ(seen.packets, 100000);
    settings.jitter_reorders = true;
    seen = run_with(&settings, 1);
    CHECK(seen.overtaken > 10000);
    CHECK(fabs(seen.delays_ns / 100000 - 20e6) < 0.05e6);
}

static void reordered_packets_come_late_and_alone(void)
{
    struct pc_link_settings settings = {
        .delay_ns = 20 * MS, .reorder = 0.02, .reorder_ns = 10 * MS + MS / 2};
    struct pc_link *link = pc_link_create(&settings, 1, 0);
    struct seen seen = run(link, 100000, MS, 1000);
    CHECK(seen.overtaken > 1850 && seen.overtaken < 2150);
    struct pc_link_stats stats;
    pc_link_get_stats(link, &stats);
    CHECK(stats.reordered >= seen.overtaken);
    CHECK(fabs(seen.delays_ns - (100000 * 20e6 + (double)stats.reordered * 10.5e6)) < 1);
    pc_link_destroy(link);
}

static void duplicates_are_marked_and_alike(void)
{
    struct pc_link_settings settings = {.duplicate = 0.1};
    struct pc_link *link = pc_link_create(&settings, 1, 0);
    struct seen seen = run(link, 10000, MS, 1000);
    CHECK(seen.repeated > 900 && seen.repeated < 1100);
    CHECK_EQ(seen.packets, 10000 + seen.repeated);
    settings.duplicate = 1;
    pc_link_change(link, &settings, 20 * S);
    struct pc_link_packet packet;
    pc_link_send(link, 20 * S, 1, "twin", 4);
    for (int i = 0; i < 2; i++) {
        CHECK(pc_link_receive(link, 20 * S, &packet));
        CHECK_EQ(packet.repeated, i);
        CHECK_BYTES(packet.data, "twin", 4);
    }
    pc_link_destroy(link);
}

static void while_down_nothing_gets_through(void)
{
    struct pc_link_settings settings = {.delay_ns = 20 * MS};
    struct pc_link *link = pc_link_create(&settings, 1, 0);
    struct pc_link_packet packet;
    pc_link_send(link, 0, 1, NULL, 1);
    settings.down = true;
    pc_link_change(link, &settings, MS);
    pc_link_send(link, 2 * MS, 2, NULL, 1);
    settings.down = false;
    pc_link_change(link, &settings, 3 * MS);
    pc_link_send(link, 4 * MS, 3, NULL, 1);
    CHECK(pc_link_receive(link, S, &packet) && packet.id == 1);
    CHECK(pc_link_receive(link, S, &packet) && packet.id == 3);
    CHECK(!pc_link_receive(link, S, &packet));
    pc_link_destroy(link);
}

/* Any settings, any order of calls: every packet is delivered, dropped or lost, once, in time. */
static void nothing_is_lost_that_is_not_counted(void)
{
    uint64_t random = 11;
    struct pc_trace *traces[] = {NULL, trace_of("0 1M\n0.1 0\n0.2 40M\n0.3 loop\n"),
                                 trace_of("1\n1\n7\n19\n")};
    struct pc_link *link = pc_link_create(&nothing, 5, 0);
    uint64_t now = 0, received = 0;
    for (int i = 0; i < 60000; i++) {
        now += harness_random(&random) % (3 * MS);
        uint64_t turn = harness_random(&random) % 100;
        struct pc_link_packet packet;
        if (turn == 0) {
            struct pc_link_settings settings = {
                .rate_bps = (double)(harness_random(&random) % 20) * 1e6,
                .trace = traces[harness_random(&random) % 3],
                .overhead_bytes = (uint32_t)(harness_random(&random) % 50),
                .queue_ns = harness_random(&random) % (100 * MS),
                .queue_bytes = harness_random(&random) % 50000,
                .delay_ns = harness_random(&random) % (50 * MS),
                .jitter_ns = harness_random(&random) % (80 * MS),
                .jitter_reorders = harness_random(&random) % 2 == 0,
                .loss = 0.1,
                .reorder = 0.1,
                .reorder_ns = 5 * MS,
                .duplicate = 0.1};
            pc_link_change(link, &settings, now);
        } else if (turn < 60) {
            pc_link_send(link, now, 0, "", harness_random(&random) % 2);
            pc_link_send(link, now, 0, NULL, harness_random(&random) % 4000);
        } else {
            uint64_t next = pc_link_next(link);
            while (pc_link_receive(link, now, &packet)) {
                CHECK(packet.arrived_ns <= now && packet.sent_ns + packet.queued_ns <= now);
                received += !packet.repeated;
            }
            CHECK(next > now || pc_link_next(link) > now);
        }
    }
    pc_link_change(link, &nothing, now);
    for (uint64_t at; (at = pc_link_next(link)) != UINT64_MAX;)
        for (struct pc_link_packet packet; pc_link_receive(link, at, &packet);)
            received += !packet.repeated;
    struct pc_link_stats stats;
    pc_link_get_stats(link, &stats);
    CHECK_EQ(stats.delivered, received);
    CHECK_EQ(stats.sent, received + stats.dropped + stats.lost);
    pc_link_destroy(link);
    for (int i = 0; i < 3; i++)
        pc_trace_destroy(traces[i]);
}

int main(void)
{
    RUN(a_packet_takes_its_transmission_and_the_delay);
    RUN(the_rate_is_kept_to_the_nanosecond);
    RUN(without_limits_nothing_waits);
    RUN(a_full_queue_drops_what_comes_last);
    RUN(the_queue_is_told);
    RUN(a_change_applies_to_what_is_queued);
    RUN(rates_of_a_trace_hold_in_turn);
    RUN(deliveries_carry_1500_bytes_each);
    RUN(what_is_no_trace_is_refused);
    RUN(random_loss_has_its_share);
    RUN(bursts_have_their_share_and_length);
    RUN(jitter_keeps_the_order_unless_told);
    RUN(reordered_packets_come_late_and_alone);
    RUN(duplicates_are_marked_and_alike);
    RUN(while_down_nothing_gets_through);
    RUN(nothing_is_lost_that_is_not_counted);
    return HARNESS_RESULT();
}
