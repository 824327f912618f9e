#include "rtp_source.h"

#include "harness.h"

#define MS    UINT64_C(1000000)
#define START (5 * 1000 * MS)

static struct pc_rtp_source source;

static void begin(void)
{
    pc_rtp_source_init(&source, 0xBB);
}

static int64_t receive(uint16_t sequence)
{
    int64_t extended = -1;
    CHECK_EQ(pc_rtp_source_extend(&source, sequence, &extended), PC_SEQUENCE_FITS);
    pc_rtp_source_received(&source, extended, 0, START);
    return extended;
}

static void numbers_are_extended(void)
{
    begin();
    int64_t extended;
    CHECK(!pc_rtp_source_relate(&source, 7, &extended));
    CHECK_EQ(receive(65534), 65534);
    CHECK_EQ(receive(1), 65537);
    CHECK_EQ(receive(65535), 65535);
    CHECK(pc_rtp_source_relate(&source, 65533, &extended));
    CHECK_EQ(extended, 65533);
    CHECK(pc_rtp_source_relate(&source, 3, &extended));
    CHECK_EQ(extended, 65539);
    CHECK(!pc_rtp_source_relate(&source, 30000, &extended));
    struct pc_rtcp_report report;
    pc_rtp_source_report(&source, &report, START);
    CHECK_EQ(report.ssrc, 0xBB);
    CHECK_EQ(report.highest_sequence, 65537);
}

static void a_number_from_elsewhere_is_doubted_until_the_next_one_comes(void)
{
    begin();
    int64_t extended;
    receive(100);
    CHECK_EQ(pc_rtp_source_extend(&source, 30000, &extended), PC_SEQUENCE_DOUBTED);
    CHECK_EQ(receive(101), 101);
    CHECK_EQ(pc_rtp_source_extend(&source, 30001, &extended), PC_SEQUENCE_DOUBTED);
    CHECK_EQ(pc_rtp_source_extend(&source, 30003, &extended), PC_SEQUENCE_DOUBTED);
    CHECK_EQ(pc_rtp_source_extend(&source, 30004, &extended), PC_SEQUENCE_RESTARTED);
    CHECK_EQ(extended, 30004);
    CHECK_EQ(receive(30005), 30005);
    CHECK_EQ(pc_rtp_source_extend(&source, 102, &extended), PC_SEQUENCE_DOUBTED);
}

static void loss_is_reported_as_the_rfc_says(void)
{
    begin();
    struct pc_rtcp_report report;
    pc_rtp_source_report(&source, &report, START);
    CHECK_EQ(report.fraction_lost, 0);
    for (uint16_t i = 1000; i < 1100; i++)
        if (i % 4 != 1)
            receive(i);
    CHECK_EQ(pc_rtp_source_lost(&source), 25);
    pc_rtp_source_report(&source, &report, START);
    CHECK_EQ(report.fraction_lost, 64); /* a quarter of 256 */
    CHECK_EQ(report.cumulative_lost, 25);
    CHECK_EQ(report.highest_sequence, 1099);
    for (uint16_t i = 1100; i < 1200; i++)
        receive(i);
    receive(1001); /* late, in the second interval: it makes up for a loss */
    pc_rtp_source_report(&source, &report, START);
    CHECK_EQ(report.fraction_lost, 0);
    CHECK_EQ(report.cumulative_lost, 24);
    pc_rtp_source_report(&source, &report, START);
    CHECK_EQ(report.fraction_lost, 0); /* nothing came */
    for (uint16_t i = 1200; i < 1300; i++)
        if (i % 2 == 1)
            receive(i);
    pc_rtp_source_report(&source, &report, START);
    CHECK_EQ(report.fraction_lost, 128);
    CHECK_EQ(report.cumulative_lost, 74);
    receive(1300);
    for (int i = 0; i < 200; i++)
        receive(1300); /* the caller leaves copies out; if not, nothing breaks */
    CHECK_EQ(pc_rtp_source_lost(&source), 0);
    pc_rtp_source_report(&source, &report, START);
    CHECK_EQ(report.fraction_lost, 0);
    CHECK_EQ(report.cumulative_lost, 74 - 200);
}

/* RFC 3550 A.8 by hand: each second packet is 10 ms (900 units) late, so the jitter tends to 900.
 */
static void jitter(void)
{
    begin();
    int64_t extended;
    for (uint16_t i = 0; i < 500; i++) {
        pc_rtp_source_extend(&source, i, &extended);
        pc_rtp_source_received(&source, extended, 1800u * i,
                               START + 20 * MS * i + (i % 2 ? 10 * MS : 0));
        if (i == 1) {
            CHECK_EQ(source.jitter_16, 900);
            struct pc_rtcp_report report;
            pc_rtp_source_report(&source, &report, START);
            CHECK_EQ(report.jitter, 56);
        }
    }
    struct pc_rtcp_report report;
    pc_rtp_source_report(&source, &report, START);
    CHECK(report.jitter >= 890 && report.jitter <= 900);
}

static void the_time_since_the_sender_report(void)
{
    begin();
    struct pc_rtcp_report report;
    receive(1);
    pc_rtp_source_report(&source, &report, START);
    CHECK_EQ(report.last_sr, 0);
    CHECK_EQ(report.delay_since_last_sr, 0);
    const struct pc_rtcp_sender_info info = {.ntp = UINT64_C(0x1122334455667788)};
    pc_rtp_source_sender_report(&source, &info, START);
    pc_rtp_source_report(&source, &report, START + 2500 * MS);
    CHECK_EQ(report.last_sr, 0x33445566);
    CHECK_EQ(report.delay_since_last_sr, 5 * 65536 / 2);
    pc_rtp_source_report(&source, &report, START + UINT64_C(100000) * 1000 * MS);
    CHECK_EQ(report.delay_since_last_sr, UINT32_MAX);
}

int main(void)
{
    RUN(numbers_are_extended);
    RUN(a_number_from_elsewhere_is_doubted_until_the_next_one_comes);
    RUN(loss_is_reported_as_the_rfc_says);
    RUN(jitter);
    RUN(the_time_since_the_sender_report);
    return HARNESS_RESULT();
}
