#include "receiver.h"

#include <stdlib.h>

#include "video_sender.h"

#define MS      UINT64_C(1000000)
#define MAX_OUT 2048

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
    if (said.nacks == MAX_OUT)
        return;
    said.nack_ns[said.nacks] = now;
    said.nacked[said.nacks++] = sequence;
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

int main(void)
{
    RUN(frames_come_out_at_once);
    RUN(a_lost_packet_is_asked_for_at_once_and_its_frame_waited_for);
    RUN(a_hole_that_stays_becomes_an_idr);
    return HARNESS_RESULT();
}
