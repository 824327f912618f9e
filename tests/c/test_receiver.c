#include "receiver.h"

#include <errno.h>
#include <stdlib.h>

#include "flexfec.h"
#include "video_sender.h"

#define MS      UINT64_C(1000000)
#define MAX_OUT 2048

#define FEC_PT        104
#define FEC_SSRC      0x1236u
#define DESCRIPTOR_ID 5

/* ---- What comes out ---- */

static struct video_sender sender;
static struct pc_receiver *receiver;
static uint64_t now; /* ns */

static struct {
    int count;
    struct pc_received_unit units[MAX_OUT];
    uint8_t *data[MAX_OUT];
    uint64_t given_ns[MAX_OUT];
} out;

static struct {
    uint64_t nack_ns[MAX_OUT];
    uint16_t nacked[MAX_OUT];
    int nacks;
    uint64_t pli_ns[MAX_OUT];
    int plis;
    struct pc_rtcp_report report;
    int reports;
    int feedback, told, told_lost;
} said;

static void on_unit(void *context, const struct pc_received_unit *unit)
{
    (void)context;
    if (out.count == MAX_OUT)
        return;
    out.units[out.count] = *unit;
    out.data[out.count] = malloc(unit->size);
    memcpy(out.data[out.count], unit->data, unit->size);
    out.given_ns[out.count++] = now;
}

static void on_nack(void *context, uint32_t ssrc, uint16_t sequence)
{
    (void)context;
    CHECK_EQ(ssrc, VIDEO_SSRC);
    said.nack_ns[said.nacks % MAX_OUT] = now;
    said.nacked[said.nacks++ % MAX_OUT] = sequence;
}

static void on_pli(void *context, uint32_t ssrc)
{
    (void)context;
    CHECK_EQ(ssrc, VIDEO_SSRC);
    if (said.plis < MAX_OUT)
        said.pli_ns[said.plis++] = now;
}

static void on_report(void *context, const struct pc_rtcp_report *report)
{
    (void)context;
    said.report = *report;
    said.reports++;
}

static void on_feedback(void *context, const struct pc_rtcp_transport_feedback *feedback)
{
    (void)context, (void)feedback;
    said.feedback++;
}

static void on_status(void *context, uint16_t sequence, bool received, int32_t delta_us)
{
    (void)context, (void)sequence, (void)delta_us;
    said.told += received;
    said.told_lost += !received;
}

static void on_rtcp(void *context, uint8_t *data, size_t size)
{
    (void)context;
    static const struct pc_rtcp_handler handler = {
        .nack = on_nack,
        .pli = on_pli,
        .report = on_report,
        .transport_feedback = on_feedback,
        .transport_status = on_status,
    };
    CHECK(pc_rtcp_parse(data, size, &handler) > 0);
    memset(data + size, 0xEE, 24); /* the room that is promised */
}

static const struct pc_receiver_settings defaults = {
    .codec = PC_H264,
    .payload_type = VIDEO_PT,
    .rtx_payload_type = VIDEO_RTX_PT,
    .transport_cc_id = VIDEO_CC_ID,
    .nack = true,
    .transport_feedback = true,
    .local_ssrc = 1,
    .cname = "test",
};

static void begin(const struct pc_receiver_settings *settings, uint16_t sequence)
{
    for (int i = 0; i < out.count; i++)
        free(out.data[i]);
    memset(&out, 0, sizeof out);
    memset(&said, 0, sizeof said);
    now = 1000 * MS;
    video_sender_init(&sender, sequence);
    sender.is_vp8 = settings->codec == PC_VP8;
    const struct pc_receiver_out callbacks = {.unit = on_unit, .rtcp = on_rtcp};
    receiver = pc_receiver_create(settings, &callbacks, now);
}

static void end(void)
{
    pc_receiver_destroy(receiver);
    video_sender_free(&sender);
    for (int i = 0; i < out.count; i++)
        free(out.data[i]);
    out.count = 0;
}

static struct pc_receiver_stats stats(void)
{
    struct pc_receiver_stats stats;
    pc_receiver_get_stats(receiver, &stats);
    return stats;
}

/* Let time pass as a shell does: whatever is due happens when it is due. */
static void wait_until(uint64_t until)
{
    for (uint64_t due; (due = pc_receiver_tick(receiver, now, 0)) <= until;) {
        CHECK(due > now); /* or it would spin */
        if (due <= now)
            break;
        now = due;
    }
    now = until;
}

static void give(const struct video_packet *packet)
{
    pc_receiver_packet(receiver, packet->data, packet->size, now);
}

static void give_frame(const struct video_frame *frame)
{
    for (int i = 0; i < frame->count; i++)
        give(&frame->packets[i]);
    pc_receiver_tick(receiver, now, 0);
}

static void check_unit(int index, const struct video_frame *frame)
{
    CHECK(index < out.count);
    if (index >= out.count)
        return;
    CHECK_EQ(out.units[index].size, frame->size);
    CHECK_EQ(out.units[index].packets, frame->count);
    CHECK_EQ(out.units[index].first_sequence, frame->packets[0].sequence);
    if (out.units[index].size == frame->size)
        CHECK_BYTES(out.data[index], frame->data, frame->size);
}

/* ---- Tests ---- */

static void frames_come_out_at_once(void)
{
    for (int codec = PC_H264; codec <= PC_VP8; codec++) {
        struct pc_receiver_settings settings = defaults;
        settings.codec = (enum pc_codec_id)codec;
        begin(&settings, 65500); /* sequence numbers wrap on the way */
        for (int i = 0; i < 20; i++) {
            struct video_frame *frame = video_frame(&sender, i == 0, i == 0 ? 20000 : 5000);
            uint64_t first_ns = now;
            for (int k = 0; k < frame->count; k++) {
                CHECK_EQ(out.count, i);
                now += MS / 10;
                give(&frame->packets[k]);
            }
            CHECK_EQ(out.count, i + 1);
            check_unit(i, frame);
            CHECK_EQ(out.units[i].idr, i == 0);
            CHECK_EQ(out.units[i].rtp_time, sender.timestamp);
            CHECK_EQ(out.units[i].first_packet_ns, first_ns + MS / 10);
            CHECK_EQ(out.units[i].complete_ns, now);
            CHECK(!out.units[i].recovered);
            wait_until(now + 10 * MS);
            video_frame_free(frame);
        }
        CHECK_EQ(said.nacks, 0);
        CHECK_EQ(said.plis, 0);
        CHECK_EQ(stats().units, 20);
        CHECK_EQ(stats().idrs, 1);
        CHECK_EQ(stats().lost, 0);
        CHECK_EQ(said.told, stats().packets);
        CHECK_EQ(said.told_lost, 0);
        end();
    }
}

static void a_lost_packet_is_asked_for_at_once_and_its_frame_waited_for(void)
{
    begin(&defaults, 10);
    struct video_frame *idr = video_frame(&sender, true, 10000);
    struct video_frame *second = video_frame(&sender, false, 5000);
    struct video_frame *third = video_frame(&sender, false, 5000);
    give_frame(idr);
    CHECK_EQ(out.count, 1);
    for (int i = 0; i < second->count; i++)
        if (i != 1)
            give(&second->packets[i]);
    pc_receiver_tick(receiver, now, 0);
    CHECK_EQ(said.nacks, 1);
    CHECK_EQ(said.nacked[0], second->packets[1].sequence);
    wait_until(now + 16 * MS);
    give_frame(third);
    CHECK_EQ(out.count, 1);
    wait_until(now + 14 * MS);
    struct video_packet rtx;
    video_rtx(&sender, &second->packets[1], &rtx);
    give(&rtx);
    CHECK_EQ(out.count, 3);
    check_unit(1, second);
    check_unit(2, third);
    CHECK(out.units[1].recovered);
    CHECK(!out.units[2].recovered);
    CHECK_EQ(stats().recovered_rtx, 1);
    CHECK_EQ(stats().lost, 1);
    CHECK(stats().rtt_ms > 29 && stats().rtt_ms < 31);
    wait_until(now + 1000 * MS);
    CHECK_EQ(said.nacks, 1);
    CHECK_EQ(said.plis, 0);
    end();
    video_frame_free(idr);
    video_frame_free(second);
    video_frame_free(third);
}

static void a_hole_that_stays_becomes_an_idr(void)
{
    begin(&defaults, 10);
    struct video_frame *frame = video_frame(&sender, true, 10000);
    give_frame(frame);
    video_frame_free(frame);
    frame = video_frame(&sender, false, 3000);
    video_frame_free(frame); /* lost as a whole */
    uint64_t lost_ns = now + 16 * MS;
    for (int i = 0; i < 60; i++) {
        wait_until(now + 16 * MS);
        frame = video_frame(&sender, false, 3000);
        give_frame(frame);
        video_frame_free(frame);
    }
    CHECK_EQ(out.count, 1);
    CHECK_EQ(said.pli_ns[0], lost_ns + 300 * MS);
    CHECK(said.plis >= 3 && said.plis <= 5); /* repeated, but not for every frame */
    frame = video_frame(&sender, true, 10000);
    give_frame(frame);
    CHECK_EQ(out.count, 2);
    check_unit(1, frame);
    video_frame_free(frame);
    int plis = said.plis, nacks = said.nacks;
    for (int i = 0; i < 30; i++) {
        wait_until(now + 16 * MS);
        frame = video_frame(&sender, false, 3000);
        give_frame(frame);
        video_frame_free(frame);
    }
    CHECK_EQ(out.count, 32);
    CHECK_EQ(said.plis, plis);
    CHECK_EQ(said.nacks, nacks);
    CHECK_EQ(stats().units_dropped, 60); /* of the 61st nothing came */
    end();
}

static void the_start_of_a_stream_that_was_missed_is_asked_for(void)
{
    begin(&defaults, 10);
    for (int i = 0; i < 12; i++) {
        struct video_frame *frame = video_frame(&sender, false, 3000);
        give_frame(frame);
        video_frame_free(frame);
        wait_until(now + 16 * MS);
    }
    CHECK_EQ(out.count, 0);
    CHECK(said.plis >= 1);
    CHECK_EQ(said.pli_ns[0], 1030 * MS); /* nothing is waited for but reordering */
    end();
}

static void an_idr_on_its_way_is_not_asked_for_again(void)
{
    begin(&defaults, 10);
    struct video_frame *idr = video_frame(&sender, true, 60000);
    uint64_t start = now;
    for (int i = 0; i < idr->count; i++) { /* half a second long */
        if (i != 5)
            give(&idr->packets[i]);
        wait_until(start + (uint64_t)(i + 1) * 500 * MS / (uint64_t)idr->count);
    }
    CHECK_EQ(said.plis, 0);
    struct video_packet rtx;
    video_rtx(&sender, &idr->packets[5], &rtx);
    give(&rtx);
    CHECK_EQ(out.count, 1);
    check_unit(0, idr);
    wait_until(now + 1000 * MS);
    CHECK_EQ(said.plis, 0);
    video_frame_free(idr);
    end();

    /* One that never becomes whole is. */
    begin(&defaults, 10);
    idr = video_frame(&sender, true, 10000);
    for (int i = 0; i < idr->count; i++)
        if (i != 1)
            give(&idr->packets[i]);
    wait_until(now + 3000 * MS);
    CHECK_EQ(said.pli_ns[0], 1300 * MS);
    CHECK(said.plis >= 2 && said.plis <= 4); /* nothing comes: once a second */
    end();
    video_frame_free(idr);
}

static void the_decoder_can_ask_for_an_idr(void)
{
    begin(&defaults, 10);
    pc_receiver_request_idr(receiver, now); /* of what? */
    wait_until(now + 1000 * MS);
    CHECK_EQ(said.plis, 0);
    struct video_frame *frame = video_frame(&sender, true, 3000);
    give_frame(frame);
    video_frame_free(frame);
    pc_receiver_request_idr(receiver, now);
    for (int i = 0; i < 20; i++) {
        frame = video_frame(&sender, false, 3000);
        give_frame(frame);
        video_frame_free(frame);
        wait_until(now + 20 * MS);
        pc_receiver_request_idr(receiver, now);
    }
    CHECK_EQ(out.count, 21); /* it is for the decoder to say what it can use */
    CHECK_EQ(said.plis, 3);
    for (int i = 1; i < said.plis; i++)
        CHECK(said.pli_ns[i] - said.pli_ns[i - 1] >= 200 * MS);
    int plis = said.plis;
    frame = video_frame(&sender, true, 3000);
    give_frame(frame);
    video_frame_free(frame);
    wait_until(now + 3000 * MS);
    CHECK_EQ(said.plis, plis);
    end();
}

static void without_repair_a_hole_is_not_waited_for_long(void)
{
    struct pc_receiver_settings settings = defaults;
    settings.nack = false;
    begin(&settings, 10);
    struct video_frame *frame = video_frame(&sender, true, 3000);
    give_frame(frame);
    video_frame_free(frame);
    frame = video_frame(&sender, false, 3000);
    give(&frame->packets[0]);
    give(&frame->packets[2]);
    video_frame_free(frame);
    wait_until(now + 60 * MS);
    CHECK_EQ(said.nacks, 0);
    CHECK_EQ(said.plis, 1);
    CHECK_EQ(said.pli_ns[0], 1030 * MS);
    end();
}

static void padding_makes_no_holes(void)
{
    begin(&defaults, 65530);
    for (int i = 0; i < 20; i++) {
        struct video_frame *frame = video_frame(&sender, i == 0, 4000);
        for (int k = 0; k < frame->count; k++)
            give(&frame->packets[k]);
        CHECK_EQ(out.count, i + 1);
        check_unit(i, frame);
        video_frame_free(frame);
        for (int k = 0; k < 3; k++) {
            struct video_packet padding;
            video_padding(&sender, k == 1, &padding);
            give(&padding);
        }
        wait_until(now + 16 * MS);
    }
    CHECK_EQ(said.nacks, 0);
    CHECK_EQ(said.plis, 0);
    CHECK_EQ(stats().padding_packets, 60);
    CHECK_EQ(said.told, stats().packets + stats().rtx_packets); /* probes are told of as well */
    CHECK_EQ(said.told_lost, 0);
    end();
}

static void reports(void)
{
    begin(&defaults, 65000);
    struct video_frame *frame = video_frame(&sender, true, 3000);
    give(&frame->packets[0]);
    pc_receiver_tick(receiver, now, 0);
    CHECK_EQ(said.reports, 1); /* at once: the sender knows that media arrives */
    CHECK_EQ(said.report.reporter, 1);
    CHECK_EQ(said.report.ssrc, VIDEO_SSRC);
    CHECK_EQ(said.report.highest_sequence, 65000);
    uint8_t sr[64];
    const struct pc_rtcp_sender_info info = {.ssrc = VIDEO_SSRC,
                                             .ntp = UINT64_C(0x1111222233334444)};
    long size = pc_rtcp_write_sr(sr, sizeof sr, &info, "a");
    CHECK_EQ(pc_receiver_rtcp(receiver, sr, (size_t)size, now, 0), 2);
    CHECK_EQ(pc_receiver_rtcp(receiver, sr, (size_t)size - 1, now, 0), -EBADMSG);
    for (uint16_t i = 1; i < 100; i++) {
        uint8_t packet[1500];
        memcpy(packet, frame->packets[0].data, frame->packets[0].size);
        packet[2] = (uint8_t)((65000 + i * 10) >> 8); /* nine of ten are lost */
        packet[3] = (uint8_t)(65000 + i * 10);
        pc_receiver_packet(receiver, packet, frame->packets[0].size, now);
    }
    wait_until(now + 1500 * MS);
    CHECK_EQ(said.reports, 2);
    CHECK_EQ(said.report.highest_sequence, 65000 + 990);
    CHECK_EQ(said.report.cumulative_lost, 991 - 100);
    CHECK_EQ(said.report.fraction_lost, 891 * 256 / 990);
    CHECK_EQ(said.report.last_sr, 0x22223333);
    CHECK_EQ(said.report.delay_since_last_sr, 65536);
    CHECK_EQ(stats().lost, 891);
    video_frame_free(frame);
    end();
}

static void after_a_bye_nothing_is_asked_for(void)
{
    begin(&defaults, 10);
    struct video_frame *frame = video_frame(&sender, false, 5000);
    give(&frame->packets[0]);
    give(&frame->packets[2]);
    uint8_t bye[64];
    uint32_t ssrc = VIDEO_SSRC;
    long size = pc_rtcp_write_bye(bye, sizeof bye, &ssrc, 1, "a");
    pc_receiver_rtcp(receiver, bye, (size_t)size, now, 0);
    wait_until(now + 5000 * MS);
    CHECK_EQ(said.nacks + said.plis + said.reports, 0);
    video_frame_free(frame);
    frame = video_frame(&sender, true, 5000); /* it comes back */
    give_frame(frame);
    CHECK_EQ(out.count, 1);
    CHECK_EQ(said.reports, 1);
    video_frame_free(frame);
    end();
}

static void give_as(const struct video_frame *frame, uint32_t ssrc)
{
    for (int i = 0; i < frame->count; i++) {
        struct video_packet packet = frame->packets[i];
        packet.data[11] = (uint8_t)ssrc;
        give(&packet);
    }
    pc_receiver_tick(receiver, now, 0);
}

static void the_ssrc_is_learnt(void)
{
    begin(&defaults, 10);
    struct video_frame *idr = video_frame(&sender, true, 3000);
    give_as(idr, VIDEO_SSRC);
    give_as(idr, 0x99);
    CHECK_EQ(out.count, 1);
    CHECK_EQ(stats().unknown, idr->count);
    now += 600 * MS; /* the first one is quiet */
    give_as(idr, 0x99);
    CHECK_EQ(out.count, 2);
    now += 600 * MS;
    give_as(idr, VIDEO_SSRC);
    CHECK_EQ(out.count, 3);
    end();

    struct pc_receiver_settings settings = defaults;
    settings.ssrc = VIDEO_SSRC;
    settings.rtx_ssrc = VIDEO_RTX_SSRC;
    begin(&settings, 10);
    now += 600 * MS;
    give_as(idr, 0x99);
    CHECK_EQ(out.count, 0);
    give_as(idr, VIDEO_SSRC);
    CHECK_EQ(out.count, 1);
    struct video_packet rtx;
    video_rtx(&sender, &idr->packets[0], &rtx);
    give(&rtx);
    CHECK_EQ(stats().rtx_packets, 1);
    CHECK_EQ(stats().duplicates, 1);
    rtx.data[11]++;
    give(&rtx);
    CHECK_EQ(stats().rtx_packets, 1);
    video_frame_free(idr);
    end();
}

static void a_sender_that_begins_anew_is_followed(void)
{
    begin(&defaults, 10);
    struct video_frame *idr = video_frame(&sender, true, 3000);
    give_frame(idr);
    video_frame_free(idr);
    sender.sequence = 40000;
    for (int i = 0; i < 2; i++) {
        idr = video_frame(&sender, true, 3000); /* the first packet of the first one is doubted */
        give_frame(idr);
        video_frame_free(idr);
    }
    CHECK_EQ(out.count, 2);
    CHECK_EQ(stats().lost, 0);
    end();
}

static void what_is_malformed_is_counted(void)
{
    begin(&defaults, 10);
    struct video_frame *idr = video_frame(&sender, true, 3000);
    struct video_packet packet = idr->packets[1];
    uint8_t other_type[1500];
    memcpy(other_type, packet.data, packet.size);
    other_type[1] = 99;
    pc_receiver_packet(receiver, packet.data, 11, now);
    CHECK_EQ(stats().malformed, 1);
    pc_receiver_packet(receiver, other_type, packet.size, now);
    CHECK_EQ(stats().unknown, 1);
    /* A frame whose payload is not H.264: it breaks the chain, so an IDR is asked for. */
    give_frame(idr);
    CHECK_EQ(out.count, 1);
    struct video_frame *bad = video_frame(&sender, false, 2000);
    for (int i = 0; i < bad->count; i++)
        bad->packets[i].data[20] = 0xFF;
    give_frame(bad);
    CHECK_EQ(out.count, 1);
    CHECK_EQ(stats().malformed, 2);
    CHECK_EQ(said.plis, 1);
    video_frame_free(bad);
    bad = video_frame(&sender, false, 2000);
    give_frame(bad);
    CHECK_EQ(out.count, 1);
    video_frame_free(bad);
    video_frame_free(idr);
    idr = video_frame(&sender, true, 2000);
    give_frame(idr);
    CHECK_EQ(out.count, 2);
    video_frame_free(idr);
    end();
}

static void units_wait_for_the_jitter_target(void)
{
    struct pc_receiver_settings settings = defaults;
    settings.jitter_target_ns = 40 * MS;
    begin(&settings, 10);
    for (int i = 0; i < 10; i++) {
        struct video_frame *frame = video_frame(&sender, i == 0, 2000);
        give_frame(frame);
        video_frame_free(frame);
        CHECK_EQ(out.count, i < 3 ? 0 : i - 2);
        wait_until(now + UINT64_C(16666667));
    }
    CHECK_EQ(out.given_ns[0], 1040 * MS);
    pc_receiver_set_jitter_target(receiver, 0);
    pc_receiver_tick(receiver, now, 0);
    CHECK_EQ(out.count, 10);
    end();
}

/* Repairs for a frame, as packets of their own. */
static void give_fec(const struct video_frame *frame, int repairs)
{
    static struct pc_flexfec_block block;
    pc_flexfec_begin(&block);
    for (int i = 0; i < frame->count; i++) {
        struct pc_rtp_packet packet;
        pc_rtp_parse(frame->packets[i].data, frame->packets[i].size, &packet);
        CHECK(pc_flexfec_protect(&block, frame->packets[i].data, packet.header_bytes,
                                 packet.payload, packet.payload_bytes, &sender.extensions));
    }
    for (int i = 0; i < repairs; i++) {
        uint8_t payload[1400];
        struct video_packet packet;
        long size = pc_flexfec_write(&block, i, repairs, payload, sizeof payload);
        CHECK(size > 0);
        video_write(&sender, NULL, &packet, false, FEC_PT, FEC_SSRC, (uint16_t)i, payload,
                    (size_t)size);
        give(&packet);
    }
    pc_receiver_tick(receiver, now, 0);
}

static void fec_repairs_frames(void)
{
    struct pc_receiver_settings settings = defaults;
    settings.fec_payload_type = FEC_PT;
    begin(&settings, 65530);
    for (int i = 0; i < 31; i++) {
        struct video_frame *frame = video_frame(&sender, i == 0, 6000);
        bool whole = i == 0 || i == 30;
        for (int k = 0; k < frame->count; k++)
            if (whole || k != i % frame->count) /* one of each is lost, the last one too */
                give(&frame->packets[k]);
        CHECK_EQ(out.count, whole ? i + 1 : i);
        give_fec(frame, 2);
        CHECK_EQ(out.count, i + 1);
        check_unit(i, frame);
        CHECK_EQ(out.units[i].recovered, !whole);
        wait_until(now + 16 * MS);
        video_frame_free(frame);
    }
    CHECK_EQ(stats().recovered_fec, 29);
    CHECK_EQ(stats().fec_packets, 62);
    CHECK_EQ(stats().lost, 29);
    CHECK_EQ(said.plis, 0);
    CHECK_EQ(said.nacks, 0); /* the repairs came before it was time to ask */
    end();
}

static void descriptors_let_frames_pass_a_loss(void)
{
    struct pc_receiver_settings settings = defaults;
    settings.dependency_descriptor_id = DESCRIPTOR_ID;
    begin(&settings, 10);
    sender.extensions.dependency_id = DESCRIPTOR_ID;
    for (int i = 0; i < 40; i++) {
        /* 10 is lost as a whole. 11 and 12 refer to it in a row, 13 to 9. */
        sender.reference_diff = i == 13 ? 4 : 1;
        struct video_frame *frame = video_frame(&sender, i == 0, 3000);
        if (i != 10)
            give_frame(frame);
        CHECK_EQ(out.count, i < 10 ? i + 1 : i < 13 ? 10 : i - 2);
        if (i > 12)
            check_unit(i - 3, frame);
        video_frame_free(frame);
        wait_until(now + 16 * MS);
    }
    CHECK_EQ(said.plis, 0);
    CHECK_EQ(stats().units_dropped, 2);
    int nacks = said.nacks;
    wait_until(now + 500 * MS);
    CHECK_EQ(said.nacks, nacks); /* what is of no use any more is not asked for */

    /* When nothing comes that can be decoded, an IDR is the last resort. */
    struct video_frame *frame = video_frame(&sender, false, 3000);
    video_frame_free(frame);
    uint64_t lost_ns = now;
    for (int i = 0; i < 30; i++) {
        frame = video_frame(&sender, false, 3000);
        give_frame(frame);
        video_frame_free(frame);
        wait_until(now + 16 * MS);
    }
    CHECK_EQ(said.pli_ns[0], lost_ns + 300 * MS);
    frame = video_frame(&sender, true, 3000);
    give_frame(frame);
    CHECK_EQ(out.units[out.count - 1].idr, true);
    check_unit(out.count - 1, frame);
    video_frame_free(frame);
    end();
}

/* A path of 40 ms round trip that loses 5 % of everything, in both directions, for a minute. */
static void a_lossy_path_is_mended(void)
{
    enum { FRAMES = 3600, WAITING = 512 };
    static struct {
        uint64_t ns;
        struct video_packet packet;
    } way[WAITING];
    int waiting = 0, asked = 0;
    begin(&defaults, 60000);
    uint64_t random = 77, start = now;
    struct video_frame *frames[64] = {0};
    for (int i = 0; i < FRAMES; i++) {
        struct video_frame *frame = video_frame(&sender, i == 0, i == 0 ? 20000 : 6000);
        if (frames[i % 64] != NULL)
            video_frame_free(frames[i % 64]);
        frames[i % 64] = frame;
        uint64_t sent = start + (uint64_t)i * 50 * MS / 3;
        for (int k = 0; k < frame->count; k++)
            if (i == 0 || harness_random(&random) % 20 != 0) {
                way[waiting].ns = sent + 20 * MS + (uint64_t)k * MS / 10;
                way[waiting++].packet = frame->packets[k];
            }
        for (uint64_t until = sent + 50 * MS / 3;;) {
            int first = 0;
            for (int k = 1; k < waiting; k++)
                if (way[k].ns < way[first].ns)
                    first = k;
            wait_until(waiting > 0 && way[first].ns < until ? way[first].ns : until);
            for (; asked < said.nacks; asked++) { /* the sender answers */
                if (harness_random(&random) % 20 == 0 || waiting == WAITING)
                    continue;
                for (int k = 0; k < 64; k++)
                    for (int p = 0; frames[k] != NULL && p < frames[k]->count; p++)
                        if (frames[k]->packets[p].sequence == said.nacked[asked % MAX_OUT] &&
                            harness_random(&random) % 20 != 0) {
                            way[waiting].ns = said.nack_ns[asked % MAX_OUT] + 40 * MS;
                            video_rtx(&sender, &frames[k]->packets[p], &way[waiting++].packet);
                        }
            }
            if (waiting == 0 || way[first].ns >= until)
                break;
            give(&way[first].packet);
            pc_receiver_tick(receiver, now, 0);
            way[first] = way[--waiting];
        }
    }
    for (int i = 0; i < 64; i++)
        video_frame_free(frames[i]);
    CHECK_EQ(said.plis, 0);
    CHECK(stats().units >= FRAMES - 10);
    CHECK_EQ(stats().units_dropped, 0);
    CHECK(stats().rtt_ms > 38 && stats().rtt_ms < 60);
    CHECK(stats().nacked_packets < stats().lost * 5 / 4);
    end();
}

int main(void)
{
    RUN(frames_come_out_at_once);
    RUN(a_lost_packet_is_asked_for_at_once_and_its_frame_waited_for);
    RUN(a_hole_that_stays_becomes_an_idr);
    RUN(the_start_of_a_stream_that_was_missed_is_asked_for);
    RUN(an_idr_on_its_way_is_not_asked_for_again);
    RUN(the_decoder_can_ask_for_an_idr);
    RUN(without_repair_a_hole_is_not_waited_for_long);
    RUN(padding_makes_no_holes);
    RUN(reports);
    RUN(after_a_bye_nothing_is_asked_for);
    RUN(the_ssrc_is_learnt);
    RUN(a_sender_that_begins_anew_is_followed);
    RUN(what_is_malformed_is_counted);
    RUN(units_wait_for_the_jitter_target);
    RUN(fec_repairs_frames);
    RUN(descriptors_let_frames_pass_a_loss);
    RUN(a_lossy_path_is_mended);
    return HARNESS_RESULT();
}
