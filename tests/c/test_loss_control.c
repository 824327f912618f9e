#include "loss_control.h"

#include "flexfec.h"
#include "harness.h"

#define MS    UINT64_C(1000000)
#define FRAME (UINT64_C(1000000000) / 60)
#define START (7 * 1000 * MS)

static struct pc_loss_control control;
static uint64_t now, seed;

static void begin(uint64_t rtt_ns)
{
    now = START;
    seed = 1;
    pc_loss_control_init(&control, now);
    pc_loss_control_set_path(&control, rtt_ns, rtt_ns * 3 / 2 + FRAME);
}

static double random_share(void)
{
    return (double)(harness_random(&seed) >> 11) * 0x1p-53;
}

/* A second of frames of `packets`, sent with the repairs that are asked for, each packet lost with
 * `loss` in runs of `burst` on average; what is lost of media is sent again. Returns the repairs.
 */
static int second(int packets, double loss, double burst)
{
    static bool losing;
    int all_repairs = 0;
    for (int frame = 0; frame < 60; frame++) {
        struct pc_packet_report reports[256];
        int repairs = pc_loss_control_repairs(&control, packets, false, now), count = 0;
        int lost = 0;
        all_repairs += repairs;
        for (int i = 0; i < packets + repairs + lost && count < 256; i++) {
            losing =
                losing ? random_share() >= 1 / burst : random_share() < loss / (1 - loss) / burst;
            struct pc_sent_packet sent = {
                .sent_ns = now,
                .bytes = 1200,
                .kind = i < packets             ? PC_PACKET_MEDIA
                        : i < packets + repairs ? PC_PACKET_FEC
                                                : PC_PACKET_RTX,
            };
            lost += losing && i < packets;
            pc_loss_control_sent(&control, &sent);
            reports[count++] = (struct pc_packet_report){.packet = sent, .received = !losing};
        }
        now += FRAME;
        pc_loss_control_feedback(&control, reports, count, now);
    }
    return all_repairs;
}

static void seconds(int count, int packets, double loss, double burst)
{
    while (count-- > 0)
        second(packets, loss, burst);
}

static void without_loss_nothing_is_spent(void)
{
    begin(30 * MS);
    CHECK_EQ(second(20, 0, 1), 0);
    CHECK(control.loss == 0 && control.burst == 1);
    CHECK(pc_loss_control_share(&control) == 0);
    struct pc_resend resend = pc_loss_control_resend(&control, now - 30 * MS, now, false);
    CHECK_EQ(resend.copies, 1); /* a single one may be lost all the same */
}

static void loss_and_bursts_are_measured(void)
{
    static const double cases[][2] = {{0.01, 1}, {0.05, 1}, {0.05, 4}, {0.1, 3}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        begin(30 * MS);
        seconds(60, 20, cases[i][0], cases[i][1]);
        double slow = control.slow.lost / control.slow.packets;
        CHECK(slow > 0.75 * cases[i][0] && slow < 1.3 * cases[i][0]);
        CHECK(control.loss >= slow);
        CHECK(control.burst > 0.8 * cases[i][1] && control.burst < 1.25 * cases[i][1] + 0.1);
    }
}

static void loss_that_begins_is_met_at_once_and_forgotten_slowly(void)
{
    begin(30 * MS);
    seconds(30, 20, 0, 1);
    second(20, 0.05, 1);
    CHECK(control.loss > 0.02);
    CHECK(second(20, 0.05, 1) >= 55); /* a repair packet with each frame */
    seconds(2, 20, 0, 1);
    CHECK(control.loss > 0.003);
    seconds(40, 20, 0, 1);
    CHECK(control.loss < 0.0005);
    CHECK_EQ(second(20, 0, 1), 0);
}

static void a_packet_that_was_only_late_was_not_lost(void)
{
    begin(30 * MS);
    for (int i = 0; i < 200; i++) {
        struct pc_packet_report lost = {.packet = {.sent_ns = now}};
        struct pc_packet_report here = {.packet = {.sent_ns = now}, .received = true};
        struct pc_packet_report late = {
            .packet = {.sent_ns = now}, .received = true, .was_lost = true};
        now += 5 * MS;
        pc_loss_control_feedback(&control, &lost, 1, now);
        pc_loss_control_feedback(&control, &here, 1, now);
        pc_loss_control_feedback(&control, &late, 1, now);
    }
    CHECK(control.loss < 0.001);
}

static void overhead_stays_within_its_bounds(void)
{
    static const int packets[] = {1, 3, 5, 20, 60};
    for (size_t i = 0; i < sizeof packets / sizeof packets[0]; i++) {
        begin(30 * MS);
        seconds(20, packets[i], 0.05, 1);
        CHECK(control.fec_bytes > 0.02 * control.media_bytes); /* small frames have some, too */
        CHECK(control.fec_bytes < 0.1 * control.media_bytes);
        double share = pc_loss_control_share(&control);
        CHECK(share > 0.05 && share < 0.17);
    }
}

static void where_nothing_can_be_resent_in_time_fec_follows_the_loss(void)
{
    begin(200 * MS); /* whoever waits for a retransmission sees a freeze */
    seconds(30, 20, 0.02, 1);
    int little = pc_loss_control_repairs(&control, 20, false, now);
    seconds(30, 20, 0.08, 1);
    int more = pc_loss_control_repairs(&control, 20, false, now);
    CHECK(little >= 1 && little <= 3);
    CHECK(more >= 3 && more > little);
    CHECK_EQ(pc_loss_control_repairs(&control, 1, false, now), 1);
    for (int block = 1; block <= PC_FLEXFEC_MAX_PACKETS; block++) {
        int repairs = pc_loss_control_repairs(&control, block, true, now);
        CHECK(repairs >= 1 && repairs <= block && repairs <= PC_FLEXFEC_MAX_REPAIRS);
    }
    begin(0); /* not known yet: as if it were long */
    seconds(2, 20, 0.08, 1);
    CHECK(pc_loss_control_repairs(&control, 20, false, now) >= 3);
}

static void what_is_resent_is_sent_twice(void)
{
    begin(30 * MS);
    seconds(30, 20, 0.05, 1);
    struct pc_resend resend = pc_loss_control_resend(&control, now - 30 * MS, now, false);
    CHECK_EQ(resend.copies, 2);
    CHECK(resend.spacing_ns < 3 * MS); /* losses come apart */

    seconds(60, 20, 0.05, 4);
    resend = pc_loss_control_resend(&control, now - 30 * MS, now, false);
    CHECK_EQ(resend.copies, 2);
    CHECK(resend.spacing_ns > 8 * MS && resend.spacing_ns <= FRAME);
    /* half the frame's time went by before it was asked for: the second one must still be in time
     */
    resend = pc_loss_control_resend(&control, now - 40 * MS, now, false);
    CHECK(resend.spacing_ns > 2 * MS && resend.spacing_ns <= FRAME - 10 * MS);

    resend = pc_loss_control_resend(&control, now - 70 * MS, now, true);
    CHECK_EQ(resend.copies, 3); /* late already: all that follows waits for it */
}

static void what_nobody_waits_for_is_not_resent(void)
{
    begin(100 * MS);
    seconds(10, 20, 0.05, 1);
    CHECK(pc_loss_control_resend(&control, now - 400 * MS, now, true).copies > 0);
    CHECK_EQ(pc_loss_control_resend(&control, now - 700 * MS, now, true).copies, 0);
    CHECK(pc_loss_control_resend(&control, now + MS, now, false).copies > 0); /* a clock's step */
}

/* Whatever is reported: shares are shares, repairs fit the block. */
static void any_feedback_keeps_the_bounds(void)
{
    begin(30 * MS);
    for (int i = 0; i < 20000; i++) {
        uint64_t draw = harness_random(&seed);
        struct pc_packet_report report = {
            .packet = {.sent_ns = now - draw % (100 * MS),
                       .bytes = (uint32_t)(draw >> 20 & 0xFFFF),
                       .kind = (enum pc_packet_kind)(draw >> 40 & 3)},
            .received = (draw >> 42 & 1) != 0,
            .was_lost = (draw >> 42 & 3) == 3,
        };
        if (draw >> 50 != 0)
            now += (draw >> 44) % (20 * MS);
        if ((draw >> 43 & 1) != 0)
            pc_loss_control_sent(&control, &report.packet);
        pc_loss_control_feedback(&control, &report, (int)(draw >> 45 & 1), now);
        if ((draw >> 46 & 0xFF) == 0)
            pc_loss_control_set_path(&control, draw % (3000 * MS), harness_random(&seed));
        CHECK(control.loss >= 0 && control.loss <= 1 && control.burst >= 1);
        double share = pc_loss_control_share(&control);
        CHECK(share >= 0 && share <= 1);
        int packets = 1 + (int)(draw % PC_FLEXFEC_MAX_PACKETS);
        int repairs = pc_loss_control_repairs(&control, packets, (draw & 1) != 0, now);
        CHECK(repairs >= 0 && repairs <= packets && repairs <= PC_FLEXFEC_MAX_REPAIRS);
        struct pc_resend resend =
            pc_loss_control_resend(&control, report.packet.sent_ns, now, (draw & 2) != 0);
        CHECK(resend.copies >= 0 && resend.copies <= 3 && resend.spacing_ns <= FRAME);
    }
}

int main(void)
{
    RUN(without_loss_nothing_is_spent);
    RUN(loss_and_bursts_are_measured);
    RUN(loss_that_begins_is_met_at_once_and_forgotten_slowly);
    RUN(a_packet_that_was_only_late_was_not_lost);
    RUN(overhead_stays_within_its_bounds);
    RUN(where_nothing_can_be_resent_in_time_fec_follows_the_loss);
    RUN(what_is_resent_is_sent_twice);
    RUN(what_nobody_waits_for_is_not_resent);
    RUN(any_feedback_keeps_the_bounds);
    return HARNESS_RESULT();
}
