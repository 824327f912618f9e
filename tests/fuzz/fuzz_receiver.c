/* Any packets at any time: what comes out is in order and whole, what is said to the sender can be
 * read, is of what is missing, and is bounded in rate; ticks do not spin.
 *
 * The input is a list of steps. Most of them are packets of a stream that is well-formed but for
 * loss, order, copies and contents, since bytes at random would never become a frame. */

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "flexfec.h"
#include "fuzz.h"
#include "receiver.h"

#define MS    UINT64_C(1000000)
#define STEPS 400

enum { MEDIA_PT = 100, RTX_PT = 101, FEC_PT = 102, SSRC = 7, CC_ID = 3, DESCRIPTOR_ID = 5 };

static struct {
    struct pc_receiver *receiver;
    enum pc_codec_id codec;
    bool described;
    uint64_t now_ns, pli_ns, feedback_ns;
    unsigned units, plis, feedback, nacked, packets;
    uint16_t last_sequence;
    bool restarted; /* numbers may have begun anew */
} run;

static void on_unit(void *context, const struct pc_received_unit *unit)
{
    (void)context;
    REQUIRE(unit->size > 0 && unit->packets > 0);
    REQUIRE(unit->first_packet_ns <= unit->complete_ns && unit->complete_ns <= run.now_ns);
    if (run.codec == PC_H264)
        REQUIRE(memcmp(unit->data, (const uint8_t[]){0, 0, 0, 1}, 4) == 0);
    if (run.units > 0 && !run.restarted)
        REQUIRE(pc_seq_newer(unit->first_sequence, run.last_sequence));
    REQUIRE(run.units > 0 || unit->idr || run.described); /* a descriptor may let any frame be */
    run.units++;
    run.last_sequence = unit->first_sequence;
    uint8_t sum = 0; /* a sanitizer sees what is not there */
    for (size_t i = 0; i < unit->size; i++)
        sum = (uint8_t)(sum + unit->data[i]);
    (void)*(volatile uint8_t *)&sum;
}

static void on_nack(void *context, uint32_t ssrc, uint16_t sequence)
{
    (void)context, (void)ssrc, (void)sequence;
    run.nacked++;
}

static void on_pli(void *context, uint32_t ssrc)
{
    (void)context, (void)ssrc;
    REQUIRE(run.plis == 0 || run.now_ns - run.pli_ns >= 100 * MS);
    run.plis++;
    run.pli_ns = run.now_ns;
}

static void on_feedback(void *context, const struct pc_rtcp_transport_feedback *feedback)
{
    (void)context, (void)feedback;
    REQUIRE(run.feedback == 0 || run.now_ns == run.feedback_ns ||
            run.now_ns - run.feedback_ns >= 5 * MS);
    run.feedback++;
    run.feedback_ns = run.now_ns;
}

static void on_rtcp(void *context, uint8_t *data, size_t size)
{
    (void)context;
    static const struct pc_rtcp_handler handler = {
        .nack = on_nack, .pli = on_pli, .transport_feedback = on_feedback};
    REQUIRE(size <= 1200 && pc_rtcp_parse(data, size, &handler) > 0);
    memset(data + size, 0xEE, 24);
}

/* ---- The input ---- */

static const uint8_t *input;
static size_t left;

static uint8_t next_byte(void)
{
    if (left == 0)
        return 0;
    left--;
    return *input++;
}

static uint16_t next_word(void)
{
    uint16_t high = next_byte();
    return (uint16_t)(high << 8 | next_byte());
}

/* ---- A sender ---- */

static struct {
    uint16_t sequence, transport_sequence, rtx_sequence, frame_number;
    uint32_t timestamp;
} sent;

static size_t write_payload(uint8_t *out, uint8_t kind)
{
    size_t size = 0;
    if (run.codec == PC_VP8) {
        out[size++] = (kind & 1) != 0 ? 0x10 : 0x00;
        out[size++] = (kind & 2) != 0 ? 0x00 : 0x01;
    } else if ((kind & 7) == 0) {
        static const uint8_t stap[] = {0x78, 0, 2, 0x67, 1, 0, 2, 0x68, 2};
        memcpy(out, stap, sizeof stap);
        size = sizeof stap;
    } else if ((kind & 7) < 4) {
        out[size++] = 0x7C;
        out[size++] = (uint8_t)((kind & 0xC0) | ((kind & 8) != 0 ? 5 : 1));
    } else {
        out[size++] = (kind & 8) != 0 ? 0x65 : 0x41;
    }
    for (int i = kind >> 4; i >= 0; i--)
        out[size++] = next_byte();
    return size;
}

static void give(const uint8_t *packet, size_t size)
{
    uint8_t *exact = malloc(size > 0 ? size : 1);
    if (size > 0)
        memcpy(exact, packet, size);
    run.packets++;
    pc_receiver_packet(run.receiver, exact, size, run.now_ns);
    free(exact);
}

static void give_media(uint8_t step)
{
    uint8_t flags = next_byte(), packet[256];
    if ((flags & 1) != 0)
        sent.timestamp += 1500;
    bool first = (flags & 2) != 0;
    sent.frame_number = (uint16_t)(sent.frame_number + first);
    const struct pc_rtp_extensions extensions = {.transport_cc_id = CC_ID,
                                                 .dependency_id = DESCRIPTOR_ID};
    const struct pc_rtp_fields fields = {
        .marker = (flags & 4) != 0,
        .payload_type = step == 1 ? RTX_PT : MEDIA_PT,
        .sequence = step == 1 ? sent.rtx_sequence++ : sent.sequence,
        .timestamp = sent.timestamp,
        .ssrc = step == 1 ? SSRC + 1 : SSRC,
        .transport_sequence = sent.transport_sequence++,
        .in_frame = (flags & 8) != 0,
        .first_packet = first,
        .frame_number = sent.frame_number,
        .reference_diff = flags >> 4 & 3,
    };
    size_t size = pc_rtp_write(packet, &fields, &extensions, false);
    if (step == 1) {
        uint16_t original = (uint16_t)(sent.sequence - next_byte() % 32);
        packet[size++] = (uint8_t)(original >> 8);
        packet[size++] = (uint8_t)original;
    } else {
        sent.sequence++;
    }
    if ((flags & 0xC0) == 0xC0) { /* padding alone */
        packet[0] |= 0x20;
        packet[size++] = 1;
    } else {
        size += write_payload(packet + size, next_byte());
    }
    give(packet, size);
    if ((flags & 0xC0) == 0x80)
        give(packet, size);
}

static void give_fec(void)
{
    uint8_t packet[128];
    const struct pc_rtp_extensions extensions = {.transport_cc_id = CC_ID};
    const struct pc_rtp_fields fields = {
        .payload_type = FEC_PT, .ssrc = SSRC + 2, .transport_sequence = sent.transport_sequence++};
    size_t size = pc_rtp_write(packet, &fields, &extensions, false);
    /* draft-ietf-payload-flexible-fec-scheme-03 4.2.2.1 as far as is needed to be believed. */
    uint8_t head[] = {0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, SSRC, 0, 0, 0x80, 0};
    uint16_t base = (uint16_t)(sent.sequence - next_byte() % 16);
    head[16] = (uint8_t)(base >> 8);
    head[17] = (uint8_t)base;
    head[18] = (uint8_t)(0x80 | next_byte());
    head[19] = next_byte();
    memcpy(packet + size, head, sizeof head);
    size += sizeof head;
    for (int i = next_byte() % 32; i >= 0; i--)
        packet[size++] = next_byte();
    give(packet, size);
}

static void give_bytes(bool rtcp)
{
    uint8_t packet[256];
    size_t size = next_byte();
    for (size_t i = 0; i < size; i++)
        packet[i] = next_byte();
    run.restarted = true;
    if (rtcp)
        pc_receiver_rtcp(run.receiver, packet, size, run.now_ns, 0);
    else
        give(packet, size);
}

static void pass_time(uint64_t ns)
{
    uint64_t until = run.now_ns + ns;
    for (int i = 0;; i++) {
        uint64_t due = pc_receiver_tick(run.receiver, run.now_ns, 0);
        REQUIRE(due > run.now_ns && i < 5000);
        if (due > until)
            break;
        run.now_ns = due;
    }
    run.now_ns = until;
}

static void step(void)
{
    uint8_t what = next_byte();
    switch (what & 15) {
    case 0:
        sent.sequence = (uint16_t)(sent.sequence + what / 16); /* lost */
        break;
    case 1:
        give_media(1);
        break;
    case 2:
        sent.sequence = (uint16_t)(sent.sequence - what / 16); /* sent again, and differently */
        break;
    case 3:
        pass_time((what >> 4) * 20 * MS);
        break;
    case 4:
        give_fec();
        break;
    case 5:
        give_bytes((what & 16) != 0);
        break;
    case 6:
        sent.sequence = (uint16_t)(sent.sequence + next_word());
        run.restarted = true;
        break;
    case 7:
        if ((what & 0x70) == 0)
            pc_receiver_request_idr(run.receiver, run.now_ns);
        else
            pc_receiver_set_jitter_target(run.receiver, (what >> 4) * 10 * MS);
        break;
    default:
        run.now_ns += (what >> 4) * MS / 4;
        give_media(0);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    input = data;
    left = size;
    memset(&run, 0, sizeof run);
    memset(&sent, 0, sizeof sent);
    uint8_t flags = next_byte();
    const struct pc_receiver_settings settings = {
        .codec = (flags & 1) != 0 ? PC_VP8 : PC_H264,
        .payload_type = MEDIA_PT,
        .rtx_payload_type = RTX_PT,
        .fec_payload_type = (flags & 2) != 0 ? FEC_PT : 0,
        .ssrc = (flags & 4) != 0 ? SSRC : 0,
        .transport_cc_id = CC_ID,
        .dependency_descriptor_id = (flags & 8) != 0 ? DESCRIPTOR_ID : 0,
        .nack = (flags & 16) == 0,
        .transport_feedback = (flags & 32) == 0,
        .jitter_target_ns = (flags & 64) != 0 ? 50 * MS : 0,
    };
    const struct pc_receiver_out out = {.unit = on_unit, .rtcp = on_rtcp};
    run.codec = settings.codec;
    run.described = settings.dependency_descriptor_id != 0;
    run.now_ns = 1000 * MS;
    sent.sequence = 65500;
    run.receiver = pc_receiver_create(&settings, &out, run.now_ns);
    REQUIRE(run.receiver != NULL);
    for (int i = 0; i < STEPS && left > 0; i++)
        step();
    pass_time(3000 * MS);

    struct pc_receiver_stats stats;
    pc_receiver_get_stats(run.receiver, &stats);
    REQUIRE(stats.units == run.units && stats.plis == run.plis);
    REQUIRE(stats.nacked_packets == run.nacked && stats.feedback_packets == run.feedback);
    REQUIRE(stats.packets + stats.rtx_packets + stats.fec_packets <= run.packets);
    REQUIRE(stats.units <= stats.packets + stats.recovered_rtx + stats.recovered_fec);
    REQUIRE(stats.recovered_rtx <= stats.rtx_packets);
    pc_receiver_destroy(run.receiver);
    return 0;
}
