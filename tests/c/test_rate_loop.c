/* The rate loop over a path of one queue, in virtual time. */
#include "rate_loop.h"

#include "clock.h"
#include "harness.h"

#define T0      (10 * PC_NS_PER_S)
#define FPS     50
#define PACKET  1200
#define PAYLOAD 1140
#define WAY_NS  (10 * PC_NS_PER_MS)

static struct {
    struct pc_rate_loop loop;
    uint64_t now_ns, free_ns; /* free_ns: the bottleneck has sent what it got */
    double capacity_bps;
    double loss;
    bool mute; /* no feedback */
    uint16_t sequence;
    uint32_t frame;
    uint64_t seed, bytes;
} p;

static struct pc_rate_loop_settings settings(void)
{
    return (struct pc_rate_loop_settings){
        .controller = PC_CONTROLLER_TRAIN,
        .start_bps = 2e6,
        .ceiling_bps = 8e6,
        .fps = FPS,
        .feedback = true,
        .resends = true,
    };
}

static void start(const struct pc_rate_loop_settings *wanted)
{
    memset(&p, 0, sizeof p);
    p.now_ns = T0;
    p.capacity_bps = 100e6;
    p.seed = 1;
    CHECK_EQ(pc_rate_loop_init(&p.loop, wanted, T0), 0);
}

static void finish(void)
{
    pc_rate_loop_free(&p.loop);
}

static void check_bounds(void)
{
    const struct pc_rate_loop_settings *wanted = &p.loop.settings;
    double least = wanted->min_bps > 0 ? wanted->min_bps : 150e3;
    CHECK(p.loop.media_bps >= least && p.loop.media_bps <= wanted->ceiling_bps);
    CHECK(p.loop.output.pacing_bps >= p.loop.output.target_bps);
}

/* One frame, sent at the pacing rate, with its feedback. */
static void send_frame(enum pc_packet_kind kind)
{
    int packets = (int)(p.loop.media_bps / 8 / FPS / PACKET) + 1;
    int64_t arrived[200];
    uint16_t first = p.sequence;
    uint64_t sent_ns = p.now_ns;
    for (int i = 0; i < packets && i < 200; i++) {
        const struct pc_sent_packet packet = {.sent_ns = sent_ns,
                                              .bytes = PACKET,
                                              .frame = p.frame,
                                              .sequence = p.sequence,
                                              .kind = kind};
        pc_rate_loop_sent(&p.loop, p.sequence++, &packet, PAYLOAD);
        p.bytes += PACKET;
        p.free_ns =
            (p.free_ns > sent_ns ? p.free_ns : sent_ns) + (uint64_t)(PACKET * 8e9 / p.capacity_bps);
        bool lost = (double)(harness_random(&p.seed) % 10000) < p.loss * 10000;
        arrived[i] = lost ? -1 : (int64_t)(p.free_ns + WAY_NS) / 1000;
        sent_ns += (uint64_t)(PACKET * 8e9 / (p.loop.output.pacing_bps + 1));
    }
    p.frame++;
    uint64_t told_ns = p.free_ns + 2 * WAY_NS;
    p.now_ns += PC_NS_PER_S / FPS;
    while (p.now_ns < told_ns) /* one frame at a time is enough here */
        p.now_ns += PC_NS_PER_S / FPS;
    if (p.mute)
        return;
    const struct pc_rtcp_transport_feedback feedback = {.base_sequence = first};
    pc_rate_loop_feedback(&p.loop, &feedback);
    int64_t before = 0;
    for (int i = 0; i < packets && i < 200; i++) {
        pc_rate_loop_status(&p.loop, (uint16_t)(first + i), arrived[i] >= 0,
                            arrived[i] >= 0 ? (int32_t)(arrived[i] - before) : 0);
        before = arrived[i] >= 0 ? arrived[i] : before;
    }
    const struct pc_packet_report *reports;
    CHECK_EQ(pc_rate_loop_end(&p.loop, p.now_ns, &reports), packets);
}

static void run(double seconds)
{
    for (uint64_t end = p.now_ns + (uint64_t)(seconds * 1e9); p.now_ns < end;) {
        send_frame(PC_PACKET_MEDIA);
        if (p.now_ns >= p.loop.next_ns)
            CHECK(pc_rate_loop_update(&p.loop, p.now_ns) > p.now_ns);
        CHECK(p.loop.next_ns > p.now_ns && p.loop.next_ns <= p.now_ns + PC_RATE_LOOP_STEP_NS);
        check_bounds();
    }
}

/* ---- Without a controller ---- */

static void a_fixed_rate_is_the_ceiling_whatever_is_heard(void)
{
    struct pc_rate_loop_settings wanted = settings();
    for (int how = 0; how < 2; how++) {
        wanted.controller = PC_CONTROLLER_FIXED;
        wanted.feedback = how == 0;
        start(&wanted);
        CHECK(!pc_rate_loop_controls(&p.loop));
        CHECK(p.loop.log == NULL); /* and nothing to remember */
        CHECK_EQ(p.loop.media_bps, 8e6);
        const struct pc_sent_packet packet = {.sent_ns = T0, .bytes = PACKET};
        const struct pc_packet_report *reports;
        const struct pc_rtcp_transport_feedback feedback = {0};
        pc_rate_loop_sent(&p.loop, 0, &packet, PAYLOAD);
        pc_rate_loop_feedback(&p.loop, &feedback);
        pc_rate_loop_status(&p.loop, 0, false, 0);
        CHECK_EQ(pc_rate_loop_end(&p.loop, T0, &reports), 0);
        pc_rate_loop_rtt(&p.loop, 50 * PC_NS_PER_MS, T0);
        pc_rate_loop_remb(&p.loop, 1e5, T0);
        pc_rate_loop_report_loss(&p.loop, 0.9, T0);
        pc_rate_loop_path_changed(&p.loop, T0);
        CHECK(pc_rate_loop_update(&p.loop, T0 + PC_NS_PER_S) == UINT64_MAX);
        CHECK(p.loop.next_ns == UINT64_MAX);
        CHECK_EQ(p.loop.hold_until_ns, 0);
        CHECK_EQ(p.loop.media_bps, 8e6);
        pc_rate_loop_set_ceiling(&p.loop, 3e6, 30);
        CHECK_EQ(p.loop.media_bps, 3e6);
        finish();
    }
}

/* Receivers without transport-wide feedback: what they report once a second is all there is. */
static void without_transport_wide_feedback_reports_decide(void)
{
    struct pc_rate_loop_settings wanted = settings();
    wanted.feedback = false;
    wanted.start_bps = 0;
    start(&wanted);
    CHECK(pc_rate_loop_controls(&p.loop));
    CHECK(p.loop.log == NULL);
    CHECK_EQ(p.loop.media_bps, 8e6); /* from the start */
    for (uint64_t ms = 0; ms < 1000; ms += 25) {
        const struct pc_sent_packet packet = {.sent_ns = T0 + ms * PC_NS_PER_MS, .bytes = PACKET};
        pc_rate_loop_sent(&p.loop, 0, &packet, PAYLOAD);
        pc_rate_loop_update(&p.loop, T0 + ms * PC_NS_PER_MS);
        CHECK_EQ(p.loop.media_bps, 8e6); /* nothing said yet is no silence */
    }
    uint64_t now_ns = T0 + PC_NS_PER_S;
    pc_rate_loop_remb(&p.loop, 2e6, now_ns);
    pc_rate_loop_update(&p.loop, now_ns);
    CHECK(p.loop.media_bps > 1.6e6 && p.loop.media_bps <= 2e6);
    pc_rate_loop_remb(&p.loop, 50e6, now_ns);
    for (int i = 0; i < 3; i++)
        pc_rate_loop_report_loss(&p.loop, 0.5, now_ns += PC_NS_PER_S);
    pc_rate_loop_update(&p.loop, now_ns);
    CHECK(p.loop.media_bps < 5e6);
    for (int i = 0; i < 20; i++)
        pc_rate_loop_report_loss(&p.loop, 0, now_ns += PC_NS_PER_S);
    pc_rate_loop_update(&p.loop, now_ns);
    CHECK_EQ(p.loop.media_bps, 8e6);
    finish();
}

/* ---- With one ---- */

static void it_starts_where_it_is_told_within_the_bounds(void)
{
    struct pc_rate_loop_settings wanted = settings();
    start(&wanted);
    CHECK(p.loop.output.target_bps == 2e6);
    CHECK(p.loop.media_bps > 1.8e6 && p.loop.media_bps < 2e6); /* headers */
    CHECK(p.loop.next_ns > T0 && p.loop.next_ns <= T0 + PC_RATE_LOOP_STEP_NS);
    finish();
    wanted.start_bps = 0; /* chosen, but the encoder may have less */
    wanted.ceiling_bps = 1e6;
    wanted.min_bps = 3e6;
    start(&wanted);
    CHECK_EQ(p.loop.media_bps, 1e6);
    finish();
    wanted = settings();
    wanted.start_bps = 1000;
    start(&wanted);
    CHECK_EQ(p.loop.media_bps, 150e3);
    finish();
}

/* A path that takes all: the encoder has its ceiling itself, not what shares of the moment leave.
 */
static void the_ceiling_is_reached_and_kept(void)
{
    struct pc_rate_loop_settings wanted = settings();
    start(&wanted);
    run(5);
    for (int i = 0; i < 100; i++) {
        CHECK_EQ(p.loop.media_bps, 8e6);
        run(0.02);
    }
    CHECK(p.loop.output.target_bps > 8e6); /* headers are beside it */
    pc_rate_loop_set_ceiling(&p.loop, 4e6, FPS);
    pc_rate_loop_update(&p.loop, p.now_ns);
    CHECK_EQ(p.loop.media_bps, 4e6);
    pc_rate_loop_set_ceiling(&p.loop, 8e6, FPS);
    run(5);
    CHECK_EQ(p.loop.media_bps, 8e6);
    finish();
}

/* What FEC and headers take is not the encoder's; but half of it always is. */
static void repair_takes_its_share(void)
{
    struct pc_rate_loop_settings wanted = settings();
    wanted.ceiling_bps = 50e6;
    start(&wanted);
    for (int i = 0; i < 200; i++) {
        const struct pc_sent_packet packet = {.sent_ns = T0,
                                              .bytes = 1000,
                                              .sequence = (uint16_t)i,
                                              .kind = i % 4 == 0 ? PC_PACKET_FEC : PC_PACKET_MEDIA};
        pc_rate_loop_sent(&p.loop, (uint16_t)i, &packet, 900);
    }
    pc_rate_loop_update(&p.loop, T0);
    double share = p.loop.media_bps / p.loop.output.target_bps;
    CHECK(share > 0.674 && share < 0.676); /* three quarters of it, nine tenths of these */
    for (int i = 200; i < 3000; i++) {
        const struct pc_sent_packet packet = {
            .sent_ns = T0, .bytes = 1000, .sequence = (uint16_t)i, .kind = PC_PACKET_RTX};
        pc_rate_loop_sent(&p.loop, (uint16_t)i, &packet, 900);
    }
    pc_rate_loop_update(&p.loop, T0);
    share = p.loop.media_bps / p.loop.output.target_bps;
    CHECK(share > 0.449 && share < 0.451);
    finish();
}

static void a_narrow_path_is_followed(void)
{
    struct pc_rate_loop_settings wanted = settings();
    start(&wanted);
    run(5);
    p.capacity_bps = 1e6;
    run(10);
    CHECK(p.loop.media_bps < 2e6);
    CHECK(p.loop.output.state != PC_CONGESTION_SILENT);
    finish();
}

static void loss_is_learnt_from_feedback(void)
{
    struct pc_rate_loop_settings wanted = settings();
    start(&wanted);
    p.loss = 0.05;
    run(5);
    CHECK(p.loop.loss.loss > 0.03 && p.loop.loss.loss < 0.07);
    CHECK(p.loop.loss.rtt_ns > 0);
    CHECK(p.loop.loss.deadline_ns > p.loop.loss.rtt_ns);
    finish();
    wanted.resends = false; /* then nothing is asked for in time */
    start(&wanted);
    run(2);
    CHECK_EQ(p.loop.loss.rtt_ns, 0);
    finish();
}

/* ---- Silence ---- */

/* Feedback was negotiated, and never comes: nothing may be known of the path, so that little is
 * sent; but always so much that an answer could come. Reports, if there are any, tell enough. */
static void without_feedback_it_goes_down_and_not_out(void)
{
    struct pc_rate_loop_settings wanted = settings();
    start(&wanted);
    p.mute = true;
    run(5);
    CHECK_EQ(p.loop.output.state, PC_CONGESTION_SILENT);
    CHECK_EQ(p.loop.media_bps, 150e3);
    p.bytes = 0;
    run(10);
    CHECK(p.bytes > 10 * 150e3 / 8 && p.bytes < 10 * 1e6 / 8);
    CHECK(p.loop.hold_until_ns <= p.now_ns);
    for (int i = 0; i < 60; i++) {
        pc_rate_loop_rtt(&p.loop, 20 * PC_NS_PER_MS, p.now_ns);
        pc_rate_loop_report_loss(&p.loop, 0, p.now_ns);
        run(1);
    }
    CHECK(p.loop.media_bps > 1e6);
    for (int i = 0; i < 20; i++) {
        pc_rate_loop_report_loss(&p.loop, 0.5, p.now_ns);
        run(1);
    }
    CHECK(p.loop.media_bps < 0.5e6);
    finish();
}

static void it_comes_back_after_a_silence(void)
{
    struct pc_rate_loop_settings wanted = settings();
    start(&wanted);
    run(5);
    p.mute = true;
    run(3);
    CHECK_EQ(p.loop.output.state, PC_CONGESTION_SILENT);
    CHECK(p.loop.media_bps < 1e6);
    p.mute = false;
    run(3);
    CHECK(p.loop.media_bps > 5e6);
    finish();
}

/* Whatever a receiver claims: the same packet twice, packets never sent, times that go back. */
static void feedback_that_lies_changes_no_bounds(void)
{
    struct pc_rate_loop_settings wanted = settings();
    start(&wanted);
    for (int i = 0; i < 500; i++) {
        send_frame(PC_PACKET_MEDIA);
        const struct pc_rtcp_transport_feedback feedback = {
            .reference_time = (int32_t)(harness_random(&p.seed) % (1 << 24)) - (1 << 23)};
        pc_rate_loop_feedback(&p.loop, &feedback);
        for (int n = 0; n < 300; n++)
            pc_rate_loop_status(&p.loop, (uint16_t)harness_random(&p.seed),
                                harness_random(&p.seed) % 2 == 0,
                                (int32_t)(harness_random(&p.seed) % 65536) - 32768);
        const struct pc_packet_report *reports;
        pc_rate_loop_end(&p.loop, p.now_ns, &reports);
        check_bounds();
        CHECK(p.loop.hold_until_ns <= p.now_ns + PC_NS_PER_S);
        CHECK(p.loop.loss.loss >= 0 && p.loop.loss.loss <= 1);
    }
    finish();
}

/* ---- Another path ---- */

static void another_path_knows_nothing_of_the_old_one(void)
{
    struct pc_rate_loop_settings wanted = settings();
    start(&wanted);
    run(5);
    p.loop.hold_until_ns = p.now_ns + PC_NS_PER_S / 2; /* it drains */
    for (int i = 0; i < 20; i++) {                     /* on their way over the old one */
        const struct pc_sent_packet packet = {
            .sent_ns = p.now_ns, .bytes = PACKET, .frame = p.frame, .sequence = p.sequence};
        pc_rate_loop_sent(&p.loop, p.sequence++, &packet, PAYLOAD);
    }
    p.frame++;
    p.now_ns += PC_NS_PER_MS;
    pc_rate_loop_path_changed(&p.loop, p.now_ns);
    CHECK(p.loop.hold_until_ns <= p.now_ns); /* the new one has no queue */
    CHECK_EQ(p.loop.output.rtt_ns, 0);
    double bps = p.loop.media_bps;
    const struct pc_rtcp_transport_feedback feedback = {0};
    const struct pc_packet_report *reports;
    pc_rate_loop_feedback(&p.loop, &feedback);
    for (int i = 20; i > 0; i--)
        pc_rate_loop_status(&p.loop, (uint16_t)(p.sequence - i), i == 1,
                            (int32_t)(p.now_ns / 1000));
    p.now_ns += PC_NS_PER_MS;
    CHECK_EQ(pc_rate_loop_end(&p.loop, p.now_ns, &reports), 20); /* the sender hears of them all */
    CHECK_EQ(p.loop.loss.loss, 0);
    CHECK_EQ(p.loop.output.rtt_ns, 0);
    CHECK_EQ(p.loop.media_bps, bps);
    p.capacity_bps = 100e6;
    p.free_ns = 0;
    run(5);
    CHECK_EQ(p.loop.media_bps, 8e6);
    finish();
}

int main(void)
{
    RUN(a_fixed_rate_is_the_ceiling_whatever_is_heard);
    RUN(without_transport_wide_feedback_reports_decide);
    RUN(it_starts_where_it_is_told_within_the_bounds);
    RUN(the_ceiling_is_reached_and_kept);
    RUN(repair_takes_its_share);
    RUN(a_narrow_path_is_followed);
    RUN(loss_is_learnt_from_feedback);
    RUN(without_feedback_it_goes_down_and_not_out);
    RUN(it_comes_back_after_a_silence);
    RUN(feedback_that_lies_changes_no_bounds);
    RUN(another_path_knows_nothing_of_the_old_one);
    return HARNESS_RESULT();
}
