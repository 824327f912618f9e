#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>

#include "harness.h"
#include "hex.h"
#include "rtcp.h"

/* ---- What was delivered, as text ---- */

static char heard[8192];
static int calls;

static void note(const char *format, ...) __attribute__((format(printf, 1, 2)));
static void note(const char *format, ...)
{
    size_t used = strlen(heard);
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(heard + used, sizeof heard - used, format, arguments);
    va_end(arguments);
    calls++;
}

static void on_report(void *context, const struct pc_rtcp_report *r)
{
    (void)context;
    note("report %x %x %u %d %x %u %x %x; ", r->reporter, r->ssrc, r->fraction_lost,
         r->cumulative_lost, r->highest_sequence, r->jitter, r->last_sr, r->delay_since_last_sr);
}

static void on_sender_report(void *context, const struct pc_rtcp_sender_info *info)
{
    (void)context;
    note("sr %x %" PRIx64 " %x %u %u; ", info->ssrc, info->ntp, info->rtp_timestamp, info->packets,
         info->octets);
}

static void on_nack(void *context, uint32_t ssrc, uint16_t sequence)
{
    (void)context;
    note("nack %x %u; ", ssrc, sequence);
}

static void on_pli(void *context, uint32_t ssrc)
{
    (void)context;
    note("pli %x; ", ssrc);
}

static void on_fir(void *context, uint32_t ssrc, uint8_t sequence)
{
    (void)context;
    note("fir %x %u; ", ssrc, sequence);
}

static void on_remb(void *context, uint64_t bitrate)
{
    (void)context;
    note("remb %" PRIu64 "; ", bitrate);
}

static void on_bye(void *context, uint32_t ssrc)
{
    (void)context;
    note("bye %x; ", ssrc);
}

static void on_reference_time(void *context, uint32_t ssrc, uint64_t ntp)
{
    (void)context;
    note("rrtr %x %" PRIx64 "; ", ssrc, ntp);
}

static void on_feedback(void *context, const struct pc_rtcp_transport_feedback *f)
{
    (void)context;
    note("twcc %x %x %u %u %d %u:", f->sender_ssrc, f->media_ssrc, f->base_sequence,
         f->status_count, f->reference_time, f->feedback_count);
}

static void on_status(void *context, uint16_t sequence, bool received, int32_t delta_us)
{
    (void)context;
    if (received)
        note(" %u+%d", sequence, delta_us);
    else
        note(" %u-", sequence);
}

static const struct pc_rtcp_handler handler = {
    .report = on_report,
    .sender_report = on_sender_report,
    .nack = on_nack,
    .pli = on_pli,
    .fir = on_fir,
    .remb = on_remb,
    .bye = on_bye,
    .xr_reference_time = on_reference_time,
    .transport_feedback = on_feedback,
    .transport_status = on_status,
};

/* Parse from memory of exactly that size, so that a sanitizer sees a read past the end. */
static int parse(const uint8_t *bytes, size_t size)
{
    uint8_t *data = malloc(size > 0 ? size : 1);
    if (size > 0)
        memcpy(data, bytes, size);
    heard[0] = '\0';
    calls = 0;
    int result = pc_rtcp_parse(data, size, &handler);
    free(data);
    return result;
}

static int parse_hex(const char *text)
{
    uint8_t bytes[2048];
    return parse(bytes, hex(text, bytes));
}

static void check_heard(const char *packets, int count, const char *expected)
{
    CHECK_EQ(parse_hex(packets), count);
    if (strcmp(heard, expected) != 0) {
        printf("  heard \"%s\", not \"%s\"\n", heard, expected);
        CHECK(!"what was heard");
    }
}

/* ---- Writers ---- */

static const struct pc_rtcp_sender_info info = {0x11223344, 0xE000000180000000, 0xAABBCCDD, 1000,
                                                1234567};

static void writes_sender_report_with_cname(void)
{
    static const struct {
        const char *cname, *sdes;
    } cases[] = {
        {"", "81CA0002 11223344 01000000"},
        {"a", "81CA0002 11223344 01016100"},
        {"ab", "81CA0003 11223344 01026162 00000000"}, /* the list's end needs an octet */
        {"abcde", "81CA0003 11223344 01056162 63646500"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        uint8_t out[512], expected[512];
        size_t size =
            hex("80C80006 11223344 E0000001 80000000 AABBCCDD 000003E8 0012D687", expected);
        size += hex(cases[i].sdes, expected + size);
        CHECK_EQ(pc_rtcp_write_sr(out, sizeof out, &info, cases[i].cname), size);
        CHECK_BYTES(out, expected, size);
        CHECK_EQ(pc_rtcp_write_sr(out, size, &info, cases[i].cname), size);
        CHECK_EQ(pc_rtcp_write_sr(out, size - 1, &info, cases[i].cname), -ENOSPC);
        CHECK_EQ(parse(expected, size), 2);
        CHECK(strcmp(heard, "sr 11223344 e000000180000000 aabbccdd 1000 1234567; ") == 0);
    }
}

static void writes_bye(void)
{
    uint8_t out[512], expected[512];
    uint32_t ssrcs[32] = {0x11223344, 0x55667788};
    size_t size =
        hex("80C90001 11223344 81CA0002 11223344 01016100 82CB0002 11223344 55667788", expected);
    CHECK_EQ(pc_rtcp_write_bye(out, sizeof out, ssrcs, 2, "a"), size);
    CHECK_BYTES(out, expected, size);
    CHECK_EQ(pc_rtcp_write_bye(out, size - 1, ssrcs, 2, "a"), -ENOSPC);
    CHECK_EQ(parse(out, size), 3);
    CHECK(strcmp(heard, "bye 11223344; bye 55667788; ") == 0);
    CHECK_EQ(pc_rtcp_write_bye(out, sizeof out, ssrcs, 31, "a"), 20 + 4 + 4 * 31);
    CHECK_EQ(pc_rtcp_write_bye(out, sizeof out, ssrcs, 0, "a"), -EINVAL);
    CHECK_EQ(pc_rtcp_write_bye(out, sizeof out, ssrcs, 32, "a"), -EINVAL);
}

static void cname_has_a_longest_size(void)
{
    uint8_t out[1024];
    char cname[257];
    uint32_t ssrc = 1;
    memset(cname, 'x', 256);
    cname[256] = '\0';
    CHECK_EQ(pc_rtcp_write_sr(out, sizeof out, &info, cname), -EINVAL);
    CHECK_EQ(pc_rtcp_write_bye(out, sizeof out, &ssrc, 1, cname), -EINVAL);
    cname[255] = '\0';
    CHECK_EQ(pc_rtcp_write_sr(out, sizeof out, &info, cname), 28 + 4 + 4 + 2 + 255 + 3);
    CHECK_EQ(out[28 + 9], 255);
}

static void writes_receiver_report(void)
{
    static const struct pc_rtcp_report report = {
        .ssrc = 0x0BADCAFE,
        .fraction_lost = 64,
        .cumulative_lost = -2,
        .highest_sequence = 0x0001FFFE,
        .jitter = 77,
        .last_sr = 0x12345678,
        .delay_since_last_sr = 0x00018000,
    };
    uint8_t out[512], expected[512];
    size_t size = hex("81C90007 11223344 0BADCAFE 40FFFFFE 0001FFFE 0000004D 12345678 00018000"
                      " 81CA0002 11223344 01016100",
                      expected);
    CHECK_EQ(pc_rtcp_write_rr(out, size, 0x11223344, &report, "a"), size);
    CHECK_BYTES(out, expected, size);
    CHECK_EQ(pc_rtcp_write_rr(out, size - 1, 0x11223344, &report, "a"), -ENOSPC);
    CHECK_EQ(parse(expected, size), 2);
    CHECK(strcmp(heard, "report 11223344 badcafe 64 -2 1fffe 77 12345678 18000; ") == 0);

    size = hex("80C90001 11223344 81CA0002 11223344 01016100", expected);
    CHECK_EQ(pc_rtcp_write_rr(out, sizeof out, 0x11223344, NULL, "a"), size);
    CHECK_BYTES(out, expected, size);
}

static void writes_picture_loss(void)
{
    uint8_t out[12], expected[12];
    hex("81CE0002 000000AA 000000BB", expected);
    CHECK_EQ(pc_rtcp_write_pli(out, sizeof out, 0xAA, 0xBB), 12);
    CHECK_BYTES(out, expected, 12);
    CHECK_EQ(pc_rtcp_write_pli(out, 11, 0xAA, 0xBB), -ENOSPC);
}

static void writes_nack(void)
{
    /* 65534 and, 1, 4 and 16 after it; 17 after it is an entry of its own. */
    static const uint16_t sequences[] = {65534, 65535, 2, 14, 15};
    uint8_t out[64], expected[64];
    size_t size = hex("81CD0004 000000AA 000000BB FFFE8009 000F0000", expected);
    int count = 5;
    CHECK_EQ(pc_rtcp_write_nack(out, sizeof out, 0xAA, 0xBB, sequences, &count), size);
    CHECK_EQ(count, 5);
    CHECK_BYTES(out, expected, size);
    CHECK_EQ(parse(out, size), 1);
    CHECK(strcmp(heard, "nack bb 65534; nack bb 65535; nack bb 2; nack bb 14; nack bb 15; ") == 0);
    CHECK_EQ(pc_rtcp_write_nack(out, size - 1, 0xAA, 0xBB, sequences, &count), size - 4);
    CHECK_EQ(count, 4);
    CHECK_EQ(pc_rtcp_write_nack(out, 15, 0xAA, 0xBB, sequences, &count), -ENOSPC);
    count = 0;
    CHECK_EQ(pc_rtcp_write_nack(out, sizeof out, 0xAA, 0xBB, sequences, &count), -EINVAL);
}

/* ---- Readers ---- */

static void reads_reports(void)
{
    check_heard("82C9000D 000000AA"
                " 000000BB 40FFFFFF 00012345 00000010 11112222 00008000"
                " 000000CC 007FFFFF 00000001 00000000 00000000 00000000",
                1,
                "report aa bb 64 -1 12345 16 11112222 8000; "
                "report aa cc 0 8388607 1 0 0 0; ");
    check_heard("81C8000C 000000AA E0000001 80000000 AABBCCDD 00000001 00000002"
                " 000000BB 01800000 00000003 00000004 00000005 00000006",
                1,
                "sr aa e000000180000000 aabbccdd 1 2; "
                "report aa bb 1 -8388608 3 4 5 6; ");
    check_heard("80C90001 000000AA", 1, "");
    check_heard("80C90002 000000AA DEADBEEF", 1, ""); /* a profile-specific extension */
}

static void reads_nack(void)
{
    check_heard("81CD0004 000000AA 000000BB FFFE8005 00010000", 1,
                "nack bb 65534; nack bb 65535; nack bb 1; nack bb 14; nack bb 1; ");
}

static void a_nack_asks_for_17_an_entry_at_most(void)
{
    uint8_t data[12 + 4 * 300];
    memset(data, 0xFF, sizeof data);
    hex("81CD012E 000000AA 000000BB", data);
    CHECK_EQ(parse(data, sizeof data), 1);
    CHECK_EQ(calls, 17 * 300);
}

static void reads_picture_loss_and_intra_request(void)
{
    check_heard("81CE0002 000000AA 000000BB", 1, "pli bb; ");
    check_heard("84CE0006 000000AA 00000000 000000BB 07000000 000000CC FF000000", 1,
                "fir bb 7; fir cc 255; ");
}

static void reads_remb(void)
{
    /* the draft's layout: mantissa 18 bits, exponent 6 */
    check_heard("8FCE0005 000000AA 00000000 52454D42 010BFFFF 000000BB", 1, "remb 1048572; ");
    check_heard("8FCE0005 000000AA 00000000 52454D42 01000001 000000BB", 1, "remb 1; ");
    check_heard("8FCE0004 000000AA 00000000 52454D42 00FC0001", 1, "remb 9223372036854775808; ");
    check_heard("8FCE0004 000000AA 00000000 52454D42 00FC0002", 1, "remb 18446744073709551615; ");
    check_heard("8FCE0004 000000AA 00000000 41424344 00FC0002", 1, ""); /* somebody else's */
    CHECK_EQ(parse_hex("8FCE0004 000000AA 00000000 52454D42 010BFFFF"), -EBADMSG);
    CHECK_EQ(parse_hex("8FCE0003 000000AA 00000000 52454D42"), -EBADMSG);
}

static void reads_extended_reports(void)
{
    check_heard("80CF0004 000000AA 04000002 E0000001 80000000", 1, "rrtr aa e000000180000000; ");
    /* behind another block */
    check_heard("80CF0008 000000AA 05000003 000000BB 00000001 00000002 04000002 00000003 00000004",
                1, "rrtr aa 300000004; ");
    check_heard("80CF0001 000000AA", 1, "");
    CHECK_EQ(parse_hex("80CF0003 000000AA 04000001 E0000001"), -EBADMSG); /* short block */
    CHECK_EQ(parse_hex("80CF0003 000000AA 04000002 E0000001"), -EBADMSG); /* over the end */
    CHECK_EQ(parse_hex("80CF0000"), -EBADMSG);
}

static void reads_bye(void)
{
    check_heard("82CB0002 000000AA 000000BB", 1, "bye aa; bye bb; ");
    check_heard("81CB0002 000000AA 03627965", 1, "bye aa; "); /* with a reason */
    check_heard("80CB0000", 1, "");
    CHECK_EQ(parse_hex("82CB0001 000000AA"), -EBADMSG);
}

static void reads_transport_feedback_run_length(void)
{
    /* 3 received with small deltas, 2 lost, one with a large negative delta; then one byte of
     * padding as libwebrtc writes it. The sequence numbers wrap. */
    check_heard("AFCD0007 000000AA 000000BB FFFD0006 00000309 2003 0002 4001 04 00 FF FF38 01", 1,
                "twcc aa bb 65533 6 3 9: 65533+1000 65534+0 65535+63750 0- 1- 2+-50000");
}

static void reads_transport_feedback_vectors(void)
{
    /* one-bit vector of 14: 10000000000001; two-bit vector of 7: small, none, large, and what is
     * beyond the count is passed over */
    check_heard("AFCD0007 000000AA 000000BB 00640011 FFFFFF00 A001 D200 01 02 03 7FFF"
                " 000000",
                -EBADMSG, ""); /* padding of 0 */
    check_heard("8FCD0007 000000AA 000000BB 00640011 FFFFFF00 A001 D200 01 02 03 7FFF"
                " 000000",
                1,
                "twcc aa bb 100 17 -1 0: 100+250 101- 102- 103- 104- 105- 106- 107- 108- 109- 110-"
                " 111- 112- 113+500 114+750 115- 116+8191750");
    /* a run longer than the count is cut */
    check_heard("8FCD0005 000000AA 000000BB 00010002 00000000 3FFF 01 02", 1,
                "twcc aa bb 1 2 0 0: 1+250 2+500");
}

static void malformed_transport_feedback_delivers_nothing(void)
{
    static const char *const malformed[] = {
        "8FCD0003 000000AA 000000BB 00010001",                    /* no reference time */
        "8FCD0004 000000AA 000000BB 00010001 00000000",           /* no chunk */
        "8FCD0004 000000AA 000000BB 00010000 00000000",           /* no status */
        "8FCD0005 000000AA 000000BB 00010003 00000000 2003 0102", /* a delta is missing */
        "8FCD0005 000000AA 000000BB 00010001 00000000 6001 0102", /* reserved symbol */
        "8FCD0005 000000AA 000000BB 00010001 00000000 F000 0102",
        "8FCD0005 000000AA 000000BB 00010010 00000000 0003 0003", /* too few symbols */
    };
    for (size_t i = 0; i < sizeof malformed / sizeof malformed[0]; i++) {
        CHECK_EQ(parse_hex(malformed[i]), -EBADMSG);
        CHECK_EQ(calls, 0);
    }
}

static int statuses;

static void count_status(void *context, uint16_t sequence, bool received, int32_t delta_us)
{
    (void)context;
    (void)sequence;
    (void)received;
    (void)delta_us;
    statuses++;
}

static void transport_feedback_is_bounded(void)
{
    /* 36 bytes stand for 65535 lost packets; one such packet a datagram is all that is taken */
    const struct pc_rtcp_handler counting = {.transport_status = count_status};
    uint8_t data[2 * 36];
    for (size_t at = 0; at < sizeof data; at += 36) {
        hex("8FCD0008 000000AA 000000BB 0001FFFF 00000000", data + at);
        for (size_t chunk = 0; chunk < 8; chunk++)
            hex("1FFF", data + at + 20 + 2 * chunk);
    }
    hex("1FFF 1FFF", data + 32);
    statuses = 0;
    CHECK_EQ(pc_rtcp_parse(data, 36, &counting), -EBADMSG); /* 8 * 8191 = 65528 */
    CHECK_EQ(statuses, 0);
    hex("FFF8", data + 14);
    hex("FFF8", data + 36 + 14);
    hex("0000FFF8", data + 12); /* base 0, count 65528 */
    hex("0000FFF8", data + 36 + 12);
    CHECK_EQ(pc_rtcp_parse(data, 36, &counting), 1);
    CHECK_EQ(statuses, 65528);
    statuses = 0;
    CHECK_EQ(pc_rtcp_parse(data, 72, &counting), -EBADMSG);
    CHECK_EQ(statuses, 65528);
}

static void reads_compound_and_reduced_size(void)
{
    check_heard("80C90001 000000AA"
                " 81CA0002 000000AA 01016100"
                " 81CE0002 000000AA 000000BB"
                " 80CC0003 000000AA 4E414D45 00000000" /* APP: passed over */
                " 8FCD0005 000000AA 000000BB 00010001 00000000 20010400"
                " 81CD0003 000000AA 000000BB 00050000",
                6, "pli bb; twcc aa bb 1 1 0 0: 1+1000nack bb 5; ");
    check_heard("8ACE0002 000000AA 000000BB", 1, ""); /* an unknown format */
    check_heard("8ACD0002 000000AA 000000BB", 1, "");
    check_heard("80FF0000", 1, ""); /* an unknown type */
}

static void reads_padding(void)
{
    check_heard("A1CE0003 000000AA 000000BB 00000004", 1, "pli bb; ");
    CHECK_EQ(parse_hex("A1CE0003 000000AA 000000BB 00000000"), -EBADMSG);
    CHECK_EQ(parse_hex("A1CE0003 000000AA 000000BB 0000000D"), -EBADMSG);
    CHECK_EQ(parse_hex("A1CE0003 000000AA 000000BB 00000008"), -EBADMSG); /* eats the body */
    CHECK_EQ(parse_hex("A0CB0000"), -EBADMSG);
}

static void what_came_before_a_malformed_packet_was_delivered(void)
{
    check_heard("81CE0002 000000AA 000000BB 81CE0001 000000AA", -EBADMSG, "pli bb; ");
    check_heard("81CE0002 000000AA 000000BB 41CE0002 000000AA 000000BB", -EBADMSG, "pli bb; ");
    check_heard("81CE0002 000000AA 000000BB 81", -EBADMSG, "pli bb; ");
    check_heard("81CE0002 000000AA 000000BB 81CE0003 000000AA 000000BB", -EBADMSG, "pli bb; ");
    check_heard("", -EBADMSG, "");
}

/* Each kind cut at every length, with the length field as it was and made to agree. */
static void survives_every_length(void)
{
    static const char *const packets[] = {
        "82C9000D 000000AA 000000BB 40FFFFFF 00012345 00000010 11112222 00008000"
        " 000000CC 007FFFFF 00000001 00000000 00000000 00000000",
        "81C8000C 000000AA E0000001 80000000 AABBCCDD 00000001 00000002"
        " 000000BB 01800000 00000003 00000004 00000005 00000006",
        "81CD0003 000000AA 000000BB FFFE8005",
        "81CE0002 000000AA 000000BB",
        "84CE0004 000000AA 00000000 000000BB 07000000",
        "8FCE0005 000000AA 00000000 52454D42 010BFFFF 000000BB",
        "80CF0004 000000AA 04000002 E0000001 80000000",
        "8FCD0007 000000AA 000000BB 00640011 FFFFFF00 A001 D200 01 02 03 7FFF 000000",
        "82CB0002 000000AA 000000BB",
    };
    for (size_t i = 0; i < sizeof packets / sizeof packets[0]; i++) {
        uint8_t whole[256];
        size_t size = hex(packets[i], whole);
        CHECK_EQ(parse(whole, size), 1);
        CHECK(calls > 0);
        for (size_t cut = 0; cut < size; cut++) {
            CHECK_EQ(parse(whole, cut), -EBADMSG);
            CHECK_EQ(calls, 0);
        }
        for (size_t cut = 4; cut < size; cut += 4) {
            uint8_t adjusted[256];
            memcpy(adjusted, whole, cut);
            adjusted[3] = (uint8_t)(cut / 4 - 1);
            bool accepted = parse(adjusted, cut) > 0;
            /* Without its name a REMB is any application's, and an XR needs no block. */
            CHECK(!accepted || i == 5 || i == 6);
            CHECK_EQ(calls, 0);
        }
    }
}

static void handlers_may_be_missing(void)
{
    const struct pc_rtcp_handler none = {0};
    uint8_t data[512];
    size_t size = hex("81C8000C 000000AA E0000001 80000000 AABBCCDD 00000001 00000002"
                      " 000000BB 01800000 00000003 00000004 00000005 00000006"
                      " 81CD0003 000000AA 000000BB FFFE8005"
                      " 81CE0002 000000AA 000000BB"
                      " 84CE0004 000000AA 00000000 000000BB 07000000"
                      " 8FCE0005 000000AA 00000000 52454D42 010BFFFF 000000BB"
                      " 80CF0004 000000AA 04000002 E0000001 80000000"
                      " 8FCD0005 000000AA 000000BB 00010001 00000000 20010400"
                      " 82CB0002 000000AA 000000BB",
                      data);
    CHECK_EQ(pc_rtcp_parse(data, size, &none), 8);
}

int main(void)
{
    RUN(writes_sender_report_with_cname);
    RUN(writes_bye);
    RUN(cname_has_a_longest_size);
    RUN(writes_receiver_report);
    RUN(writes_picture_loss);
    RUN(writes_nack);
    RUN(reads_reports);
    RUN(reads_nack);
    RUN(a_nack_asks_for_17_an_entry_at_most);
    RUN(reads_picture_loss_and_intra_request);
    RUN(reads_remb);
    RUN(reads_extended_reports);
    RUN(reads_bye);
    RUN(reads_transport_feedback_run_length);
    RUN(reads_transport_feedback_vectors);
    RUN(malformed_transport_feedback_delivers_nothing);
    RUN(transport_feedback_is_bounded);
    RUN(reads_compound_and_reduced_size);
    RUN(reads_padding);
    RUN(what_came_before_a_malformed_packet_was_delivered);
    RUN(survives_every_length);
    RUN(handlers_may_be_missing);
    return HARNESS_RESULT();
}
