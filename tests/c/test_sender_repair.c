/* What a sender does about loss, as it is on the wire. */
#include "sender.h"

#include <errno.h>

#include "clock.h"
#include "flexfec_parity.h"
#include "harness.h"

#define SSRC     0x11223344u
#define RTX_SSRC 0x55667788u
#define FEC_SSRC 0x99aabbccu
#define BITRATE  8000000
#define T0       (1000 * PC_NS_PER_MS)

struct packet {
    struct pc_rtp_packet rtp;
    size_t bytes, wire_bytes;
    uint16_t transport_sequence;
    uint8_t data[1500];
};

/* A sender whose socket is a list, decrypted. */
static struct {
    struct pc_udp udp;
    struct pc_feed feed, other;
    struct pc_transport transport;
    struct pc_sender sender;
    struct pc_srtp *receive;
    struct pc_au_pool *pool;
    struct pc_hub_stats hub;
    uint8_t scratch[PC_SENDER_SCRATCH];
    uint64_t next_frame;
    uint32_t seed;
    struct packet sent[1000];
    int count;
} s;

static const uint8_t key[28] = {1, 2, 3, 4};
static const uint8_t random_start[16] = {0x7f, 0xf0, 0, 1, 0xff, 0xf8, 0, 0, 0x10, 0, 0x12, 0x34};
static const struct pc_address far_away = {.family = 4, .ip = {127, 0, 0, 1}, .port = 9};

static void keep(void *context, const uint8_t *data, size_t size, size_t segment)
{
    (void)context;
    size_t head = s.transport.channel != 0 ? 4 : 0;
    for (size_t at = 0; at < size; at += segment) {
        size_t wire = size - at < segment ? size - at : segment;
        struct packet *packet = &s.sent[s.count++];
        CHECK(s.count < 1000 && wire <= sizeof packet->data);
        if (head != 0) {
            CHECK_EQ(data[at] << 8 | data[at + 1], s.transport.channel);
            CHECK_EQ(data[at + 2] << 8 | data[at + 3], wire - head);
        }
        memcpy(packet->data, data + at + head, wire - head);
        packet->wire_bytes = wire;
        if (packet->data[1] >= 200 && packet->data[1] <= 207) {
            s.count--;
            continue;
        }
        long plain = pc_srtp_unprotect(s.receive, packet->data, wire - head);
        CHECK(plain > 0); /* a nonce that was used before is refused as replayed */
        if (plain <= 0)
            continue;
        packet->bytes = (size_t)plain;
        CHECK_EQ(pc_rtp_parse(packet->data, packet->bytes, &packet->rtp), 0);
        size_t length;
        const uint8_t *number = pc_rtp_extension(&packet->rtp, 3, &length);
        CHECK(number != NULL);
        if (number != NULL)
            packet->transport_sequence = (uint16_t)(number[0] << 8 | number[1]);
    }
}

static struct pc_media_settings media(void)
{
    return (struct pc_media_settings){
        .codec = PC_H264,
        .payload_type = 96,
        .rtx_payload_type = 97,
        .fec_payload_type = 98,
        .ssrc = SSRC,
        .rtx_ssrc = RTX_SSRC,
        .fec_ssrc = FEC_SSRC,
        .mid_id = 1,
        .abs_send_time_id = 2,
        .transport_cc_id = 3,
        .mid = "0",
        .cname = "host",
        .controller = PC_CONTROLLER_TRAIN,
        .start_bitrate = BITRATE,
    };
}

static void find_path(uint16_t channel)
{
    struct pc_endpoint to;
    pc_endpoint_from(&to, &far_away);
    pc_transport_set_path(&s.transport, &s.udp, &to, &far_away, channel);
    pc_sender_find_path(&s.sender);
}

static void start_as(const struct pc_media_settings *settings)
{
    CHECK_EQ(pc_sender_start(&s.sender, &s.feed, settings, random_start, T0), 0);
    s.sender.next_report_ns = UINT64_MAX;
    atomic_store(&s.feed.idr_wanted, false);
}

static void open_path(uint16_t channel)
{
    memset(&s, 0, sizeof s);
    s.udp = (struct pc_udp){.fd = -1, .gso = true, .sink = keep};
    pc_feed_init(&s.feed, PC_CODEC_H264, 1, 0, -1);
    pc_feed_init(&s.other, PC_CODEC_H264, 1, 0, -1);
    pc_feed_set_rate(&s.feed, BITRATE, 50);
    pc_feed_set_rate(&s.other, BITRATE / 4, 50);
    s.pool = pc_au_pool_create(300);
    pc_transport_init(&s.transport);
    pc_sender_init(&s.sender, &s.transport);
    struct pc_srtp *outbound, *inbound;
    CHECK_EQ(pc_srtp_create(PC_SRTP_AEAD_AES_128_GCM, key, 28, &outbound), 0);
    CHECK_EQ(pc_srtp_create(PC_SRTP_AEAD_AES_128_GCM, key, 28, &inbound), 0);
    CHECK_EQ(pc_srtp_create(PC_SRTP_AEAD_AES_128_GCM, key, 28, &s.receive), 0);
    CHECK_EQ(pc_transport_set_keys(&s.transport, outbound, inbound), 0);
    find_path(channel);
}

static void start(uint16_t channel)
{
    struct pc_media_settings settings = media();
    open_path(channel);
    start_as(&settings);
}

static void finish(void)
{
    pc_sender_stop(&s.sender);
    CHECK_EQ(atomic_load(&s.feed.receivers), 0);
    CHECK_EQ(atomic_load(&s.other.receivers), 0);
    pc_sender_free(&s.sender);
    pc_transport_free(&s.transport);
    pc_srtp_destroy(s.receive);
    pc_feed_free(&s.feed);
    pc_feed_free(&s.other);
    pc_au_pool_release(s.pool);
}

static void append(struct pc_access_unit *au, int count, size_t size, bool complete)
{
    for (int i = 0; i < count; i++) {
        uint8_t *room = pc_au_reserve(au, size);
        for (size_t at = 0; at < size; at++)
            room[at] = (uint8_t)((s.seed = s.seed * 1664525 + 1013904223) >> 24);
        pc_au_commit(au, size);
    }
    pc_au_publish(au, complete);
}

/* A unit of `count` payloads of noise. */
static struct pc_access_unit *unit(bool idr, int count, size_t size, bool complete)
{
    struct pc_access_unit *au = pc_au_acquire(s.pool);
    au->frame_id = s.next_frame++;
    au->rtp_time = (uint32_t)au->frame_id * 1800;
    au->idr = idr;
    au->reference = idr ? au->frame_id : au->frame_id - 1;
    append(au, count, size, complete);
    return au;
}

static void offer(struct pc_access_unit *au, uint64_t now_ns)
{
    CHECK(pc_sender_offer(&s.sender, &s.feed, au, now_ns));
    pc_au_unref(au);
}

static uint64_t pump(uint64_t now_ns)
{
    return pc_sender_pump(&s.sender, s.scratch, now_ns, &s.hub);
}

/* Until all that is published has gone. Returns when that was. */
static uint64_t pump_all(uint64_t now_ns)
{
    for (uint64_t next; (next = pump(now_ns)) != UINT64_MAX; now_ns = next)
        CHECK(next > now_ns);
    return now_ns;
}

/* Much is lost, and there is no time to send it again. */
static void lose_much(void)
{
    s.sender.rate.loss.loss = 0.1;
    s.sender.rate.loss.rtt_ns = 0;
}

static int sent_by(uint32_t ssrc)
{
    int count = 0;
    for (int i = 0; i < s.count; i++)
        count += s.sent[i].rtp.ssrc == ssrc;
    return count;
}

static void send_nack(uint16_t sequence, uint16_t following, uint64_t now_ns)
{
    const uint8_t packet[16] = {0x81,
                                205,
                                0,
                                3,
                                0,
                                0,
                                0,
                                1,
                                0x11,
                                0x22,
                                0x33,
                                0x44,
                                (uint8_t)(sequence >> 8),
                                (uint8_t)sequence,
                                (uint8_t)(following >> 8),
                                (uint8_t)following};
    pc_sender_receive_rtcp(&s.sender, packet, sizeof packet, s.scratch, now_ns, 0, &s.hub);
}

/* ---- FEC ---- */

static struct {
    int count;
    struct {
        size_t size;
        uint8_t data[1500];
    } packets[50];
} recovered;

static void on_recovered(void *context, const uint8_t *packet, size_t size)
{
    (void)context;
    recovered.packets[recovered.count].size = size;
    memcpy(recovered.packets[recovered.count++].data, packet, size);
}

/* As a receiver that misses every `nth` media packet from `first` on: how many it has to repair.
 * What it repairs is as it was, but for what is written anew on the way out. */
static int repair_all_but(int from, int first, int nth)
{
    int missing = 0;
    const struct pc_rtp_extensions mutable = {.abs_send_time_id = 2, .transport_cc_id = 3};
    recovered.count = 0;
    struct pc_flexfec_receiver *receiver =
        pc_flexfec_receiver_create(SSRC, &mutable, on_recovered, NULL);
    for (int i = from, m = 0; i < s.count; i++) {
        const struct packet *packet = &s.sent[i];
        if (packet->rtp.ssrc == SSRC && m++ % nth != first)
            pc_flexfec_receive_media(receiver, packet->data, packet->bytes, false);
        else if (packet->rtp.ssrc == SSRC)
            missing++;
        else if (packet->rtp.ssrc == FEC_SSRC)
            CHECK(pc_flexfec_receive_repair(receiver, packet->rtp.payload,
                                            packet->rtp.payload_bytes) >= 0);
    }
    struct pc_flexfec_stats stats;
    pc_flexfec_receiver_get_stats(receiver, &stats);
    CHECK_EQ(stats.malformed, 0);
    for (int r = 0; r < recovered.count; r++) {
        bool found = false;
        for (int i = from; i < s.count && !found; i++) {
            struct packet original = s.sent[i];
            pc_flexfec_zero_mutable(original.data, original.rtp.header_bytes, &mutable);
            found = original.rtp.ssrc == SSRC && original.bytes == recovered.packets[r].size &&
                    memcmp(original.data, recovered.packets[r].data, original.bytes) == 0;
        }
        CHECK(found);
    }
    pc_flexfec_receiver_destroy(receiver);
    return missing;
}

static void any_lost_packet_is_repaired_over(uint16_t channel)
{
    start(channel);
    lose_much();
    offer(unit(true, 5, 1000, true), T0);
    pump_all(T0);
    CHECK_EQ(sent_by(SSRC), 5);
    int repairs = sent_by(FEC_SSRC);
    CHECK(repairs >= 1 && repairs <= 2);
    CHECK_EQ(s.sender.stats.fec_packets, repairs);
    for (int i = 0; i < s.count; i++) {
        size_t size;
        const uint8_t *mid = pc_rtp_extension(&s.sent[i].rtp, 1, &size);
        CHECK(mid != NULL && size == 1 && *mid == '0');
        CHECK_EQ(s.sent[i].rtp.ssrc, i < 5 ? SSRC : FEC_SSRC); /* behind its frame */
        CHECK_EQ(s.sent[i].rtp.payload_type, i < 5 ? 96 : 98);
        CHECK_EQ(s.sent[i].transport_sequence, (uint16_t)(0xfff8 + i));
        CHECK(s.sent[i].wire_bytes <= 1200);
        if (i >= 5)
            CHECK_EQ(s.sent[i].rtp.sequence, 0x1234 + i - 5);
    }
    for (int lost = 0; lost < 5; lost++) {
        CHECK_EQ(repair_all_but(0, lost, 5), 1);
        CHECK_EQ(recovered.count, 1);
    }
    finish();
}

static void any_lost_packet_is_repaired(void)
{
    any_lost_packet_is_repaired_over(0);
    any_lost_packet_is_repaired_over(0x4001);
}

/* Packets of unequal sizes, published in slices, with a Dependency Descriptor in some. */
static void slices_of_any_size_are_repaired(void)
{
    start(0);
    lose_much();
    struct pc_access_unit *au = unit(true, 3, 700, false);
    CHECK(pc_sender_offer(&s.sender, &s.feed, au, T0));
    pump(T0);
    append(au, 1, 33, false);
    pump(T0 + PC_NS_PER_MS);
    append(au, 4, 1010, true);
    pc_au_unref(au);
    pump_all(T0 + 2 * PC_NS_PER_MS);
    CHECK_EQ(sent_by(SSRC), 8);
    for (int lost = 0; lost < 8; lost++) {
        CHECK_EQ(repair_all_but(0, lost, 8), 1);
        CHECK_EQ(recovered.count, 1);
    }
    finish();
}

/* More packets than a block has: the blocks are one behind the other, and none is of two frames. */
static void a_frame_of_several_blocks_is_repaired(void)
{
    start(0);
    lose_much();
    offer(unit(true, 250, 1000, true), T0);
    offer(unit(false, 3, 1000, true), T0);
    pump_all(T0);
    CHECK_EQ(sent_by(SSRC), 253);
    int media_before = 0, blocks = 0;
    for (int i = 1; i < s.count; i++) {
        media_before += s.sent[i - 1].rtp.ssrc == SSRC;
        if (s.sent[i].rtp.ssrc == FEC_SSRC && s.sent[i - 1].rtp.ssrc == SSRC) {
            static const int ends[] = {109, 218, 250, 253};
            CHECK(blocks < 4 && media_before == ends[blocks]);
            blocks++;
        }
    }
    CHECK_EQ(blocks, 4);
    for (int lost = 0; lost < 40; lost += 3) {
        int missing = repair_all_but(0, lost, 40);
        CHECK_EQ(recovered.count, missing);
    }
    finish();
}

/* What a block remembers are payloads of a unit: it ends with it. */
static void a_unit_that_was_let_go_is_in_no_block(void)
{
    start(0);
    lose_much();
    struct pc_access_unit *au = unit(true, 5, 1000, false);
    offer(au, T0);
    pump(T0);
    CHECK_EQ(sent_by(SSRC), 5);
    pc_sender_lose_path(&s.sender);
    pc_transport_set_path(&s.transport, NULL, NULL, NULL, 0);
    CHECK_EQ(s.sender.fec->count, 0);
    find_path(0);
    s.count = 0;
    offer(unit(true, 5, 1000, true), T0);
    pump_all(T0);
    CHECK_EQ(sent_by(SSRC), 5);
    CHECK(sent_by(FEC_SSRC) >= 1);
    for (int lost = 0; lost < 5; lost++) {
        CHECK_EQ(repair_all_but(0, lost, 5), 1);
        CHECK_EQ(recovered.count, 1);
    }
    finish();
}

static void without_loss_there_is_no_fec(void)
{
    start(0);
    offer(unit(true, 50, 1000, true), T0);
    pump_all(T0);
    CHECK_EQ(s.count, 50);
    finish();
}

/* One stream has FEC, the next has not, the third has it again: its numbers go on. */
static void fec_ends_with_its_negotiation(void)
{
    start(0);
    struct pc_media_settings settings = media();
    lose_much();
    offer(unit(true, 5, 1000, true), T0);
    uint64_t now = pump_all(T0);
    int first = sent_by(FEC_SSRC);
    CHECK(first > 0);
    pc_sender_stop(&s.sender);
    settings.fec_payload_type = 0;
    start_as(&settings);
    lose_much();
    offer(unit(true, 5, 1000, true), now);
    now = pump_all(now);
    CHECK_EQ(s.count, 10 + first);
    pc_sender_stop(&s.sender);
    settings.fec_payload_type = 98;
    start_as(&settings);
    lose_much();
    offer(unit(true, 5, 1000, true), now);
    pump_all(now);
    CHECK(sent_by(FEC_SSRC) > first);
    CHECK_EQ(s.sent[s.count - 1].rtp.sequence, 0x1234 + sent_by(FEC_SSRC) - 1);
    finish();
}

/* The frame could not be sent: neither can what protects it, and it is not lost by the network. */
static void what_the_kernel_does_not_take_has_no_fec(void)
{
    start(0);
    lose_much();
    s.udp.sink = NULL; /* there is no such socket */
    offer(unit(true, 5, 1000, true), T0);
    pump(T0);
    CHECK_EQ(s.hub.send_calls, 1);
    CHECK_EQ(s.hub.send_errors, 1);
    CHECK_EQ(s.sender.stats.fec_packets, 0);
    s.udp.sink = keep;
    finish();
}

/* ---- Which stream is which ---- */

/* FEC counts from elsewhere than RTX: on one SSRC the two would meet. */
static void no_ssrc_is_ever_of_two_streams(void)
{
    open_path(0);
    struct pc_media_settings settings = media();
    const struct pc_media_settings good = settings;
    settings.fec_ssrc = RTX_SSRC;
    CHECK_EQ(pc_sender_start(&s.sender, &s.feed, &settings, random_start, T0), -EINVAL);
    settings = good;
    settings.fec_payload_type = 0;
    settings.fec_ssrc = RTX_SSRC; /* of no meaning … */
    start_as(&settings);
    pc_sender_stop(&s.sender);
    settings.rtx_payload_type = 0;
    settings.fec_payload_type = 98; /* … until now */
    CHECK_EQ(pc_sender_start(&s.sender, &s.feed, &settings, random_start, T0), -EINVAL);
    settings = good;
    settings.fec_ssrc = SSRC;
    CHECK_EQ(pc_sender_start(&s.sender, &s.feed, &settings, random_start, T0), -EINVAL);
    settings = good;
    settings.rtx_payload_type = 0;
    settings.rtx_ssrc = 7;
    start_as(&settings);
    pc_sender_stop(&s.sender);
    settings = good;
    start_as(&settings); /* RTX was its own all the time */
    finish();
}

static void bye_is_said_for_every_stream(void)
{
    static uint8_t last[200];
    start(0);
    struct pc_srtp *rtcp;
    CHECK_EQ(pc_srtp_create(PC_SRTP_AEAD_AES_128_GCM, key, 28, &rtcp), 0);
    pc_sender_bye(&s.sender, s.scratch, T0, &s.hub);
    memcpy(last, s.scratch, sizeof last); /* as it was sent */
    long size = pc_srtp_unprotect_rtcp(rtcp, last, s.hub.sent_bytes);
    CHECK(size >= 16);
    const uint8_t expected[16] = {0x83, 203,  0,    3,    0x11, 0x22, 0x33, 0x44,
                                  0x55, 0x66, 0x77, 0x88, 0x99, 0xaa, 0xbb, 0xcc};
    CHECK_BYTES(last + size - 16, expected, 16);
    pc_srtp_destroy(rtcp);
    finish();
}

/* ---- RTX ---- */

/* Losses come in bursts: the copy leaves when one should be over. */
static void lose_in_bursts(void)
{
    s.sender.rate.loss.loss = 0.02;
    s.sender.rate.loss.burst = 4;
    s.sender.rate.loss.rtt_ns = 20 * PC_NS_PER_MS;
    s.sender.rate.loss.deadline_ns = 100 * PC_NS_PER_MS;
}

static void a_copy_is_sent_after_its_spacing(void)
{
    start(0);
    struct pc_media_settings settings = media();
    pc_sender_stop(&s.sender);
    settings.fec_payload_type = 0;
    start_as(&settings);
    offer(unit(true, 5, 1000, true), T0);
    pump_all(T0);
    s.count = 0;
    lose_in_bursts();
    uint64_t asked = T0 + 20 * PC_NS_PER_MS, due = asked + 12 * PC_NS_PER_MS;
    send_nack(0x7ff1, 0, asked);
    CHECK_EQ(s.count, 1);
    CHECK_EQ(pump(asked), due);
    CHECK_EQ(pump(due - 1), due);
    CHECK_EQ(s.count, 1);
    CHECK_EQ(pump(due), UINT64_MAX);
    CHECK_EQ(s.count, 2);
    CHECK_EQ(pump(due + PC_NS_PER_S), UINT64_MAX);
    CHECK_EQ(s.count, 2);
    for (int i = 0; i < 2; i++) {
        CHECK_EQ(s.sent[i].rtp.ssrc, RTX_SSRC);
        CHECK_EQ(s.sent[i].rtp.sequence, 1 + i);
        CHECK_EQ(s.sent[i].rtp.payload[0] << 8 | s.sent[i].rtp.payload[1], 0x7ff1);
        CHECK_BYTES(s.sent[i].rtp.payload, s.sent[0].rtp.payload, 1002);
    }
    CHECK_EQ(s.sender.stats.rtx_packets, 2);
    finish();
}

static void no_copy_is_sent_after_a_stop(void)
{
    start(0);
    struct pc_media_settings settings = media();
    offer(unit(true, 5, 1000, true), T0);
    pump_all(T0);
    s.count = 0;
    lose_in_bursts();
    send_nack(0x7ff1, 0xf, T0 + 20 * PC_NS_PER_MS);
    CHECK_EQ(s.count, 4);
    CHECK_EQ(s.sender.copy_count, 4);
    pc_sender_stop(&s.sender);
    start_as(&settings);
    CHECK_EQ(pump(T0 + 20 * PC_NS_PER_MS), UINT64_MAX); /* nor waited for */
    CHECK_EQ(pump(T0 + PC_NS_PER_S / 10), UINT64_MAX);
    CHECK_EQ(s.count, 4);
    finish();
}

/* Each is answered or refused, however many there are in one RTCP packet. */
static void every_request_is_counted(void)
{
    start(0);
    offer(unit(true, 5, 1000, true), T0);
    pump_all(T0);
    uint8_t packet[12 + 4 * 60] = {0x81, 205, 0, 62, 0, 0, 0, 1, 0x11, 0x22, 0x33, 0x44};
    for (size_t i = 12; i < sizeof packet; i += 4) {
        packet[i] = 0x7f;
        packet[i + 1] = 0xf0;
        packet[i + 2] = packet[i + 3] = 0xff;
    }
    pc_sender_receive_rtcp(&s.sender, packet, sizeof packet, s.scratch, T0, 0, &s.hub);
    CHECK_EQ(s.sender.stats.nacked_packets, 60 * 17);
    CHECK_EQ(s.sender.stats.rtx_packets, 5);
    CHECK_EQ(s.sender.stats.rtx_refused, 60 * 17 - 5);
    finish();
}

/* ---- Probing ---- */

static void padding_stays_within_its_rate(void)
{
    start(0);
    uint64_t now = T0;
    for (int i = 0; i < 50; i++) {
        s.count = 0;
        s.sender.rate.output.probe_bps = 2000000;
        offer(unit(i == 0, 3, i == 10 ? 20 : 900, true), now);
        pump_all(now);
        CHECK(s.count <= 3 + 16);
        CHECK_EQ(sent_by(SSRC), 3);
        CHECK_EQ(sent_by(RTX_SSRC), s.count - 3);
        for (int p = 3; p < s.count; p++) {
            uint16_t original =
                (uint16_t)(s.sent[p].rtp.payload[0] << 8 | s.sent[p].rtp.payload[1]);
            CHECK_EQ(original, s.sent[0].rtp.sequence);
            CHECK_BYTES(s.sent[p].rtp.payload + 2, s.sent[0].rtp.payload,
                        s.sent[0].rtp.payload_bytes);
        }
        now += 20 * PC_NS_PER_MS;
    }
    /* 250 kB a second; one second, the first frame's due of 100 ms, and one packet over it. */
    CHECK(s.sender.stats.padding_bytes > 240000);
    CHECK(s.sender.stats.padding_bytes < 250000 * 11 / 10 + 1300);
    CHECK_EQ(s.sender.stats.rtx_packets, 0);
    now += 10 * PC_NS_PER_S; /* a pause gives nothing */
    s.count = 0;
    uint64_t before = s.sender.stats.padding_bytes;
    offer(unit(false, 3, 900, true), now);
    pump_all(now);
    CHECK(s.sender.stats.padding_bytes - before <= 16 * 1000);
    s.sender.rate.output.probe_bps = 0;
    s.count = 0;
    offer(unit(false, 3, 900, true), now + PC_NS_PER_MS);
    pump_all(now + PC_NS_PER_MS);
    CHECK_EQ(s.count, 3);
    finish();
}

static void without_rtx_there_is_no_padding(void)
{
    start(0);
    struct pc_media_settings settings = media();
    pc_sender_stop(&s.sender);
    settings.rtx_payload_type = 0;
    start_as(&settings);
    s.sender.rate.output.probe_bps = 2000000;
    offer(unit(true, 3, 900, true), T0);
    pump_all(T0);
    CHECK_EQ(s.count, 3);
    finish();
}

/* ---- What is waited for ---- */

static void a_frame_is_drained_when_the_network_has_drained(void)
{
    start(0);
    uint64_t until = T0 + 30 * PC_NS_PER_MS;
    s.sender.rate.hold_until_ns = until;
    offer(unit(true, 3, 900, true), T0);
    CHECK_EQ(pump(T0), until);
    CHECK_EQ(s.count, 3);
    CHECK_EQ(atomic_load(&s.feed.drained), 0);
    offer(unit(false, 3, 900, true), T0 + 1); /* its patience was at an end */
    CHECK_EQ(pump(until - 1), until);
    CHECK_EQ(atomic_load(&s.feed.drained), 0);
    CHECK_EQ(pump(until), UINT64_MAX);
    CHECK_EQ(atomic_load(&s.feed.drained), 2);
    finish();
}

static void what_is_held_is_released_by_whatever_ends_it(void)
{
    for (int how = 0; how < 5; how++) {
        start(0);
        s.sender.rate.hold_until_ns = T0 + 500 * PC_NS_PER_MS;
        offer(unit(true, 3, 900, true), T0);
        CHECK_EQ(pump(T0), T0 + 500 * PC_NS_PER_MS);
        CHECK_EQ(atomic_load(&s.feed.drained), 0);
        struct pc_access_unit *au = NULL;
        switch (how) {
        case 0:
            pc_sender_stop(&s.sender);
            break;
        case 1:
            pc_sender_lose_path(&s.sender);
            break;
        case 2:
            pc_sender_move(&s.sender, &s.other);
            au = unit(true, 1, 100, true);
            CHECK(pc_sender_offer(&s.sender, &s.other, au, T0 + 1));
            pc_au_unref(au);
            break;
        case 3:
            pc_sender_change_path(&s.sender, T0 + 1);
            pump(T0 + 1);
            break;
        case 4: /* the next look says that it has drained */
            pc_sender_tick(&s.sender, s.scratch, s.sender.rate.next_ns, 0, &s.hub);
            pump(s.sender.rate.next_ns - PC_RATE_LOOP_STEP_NS + 5 * PC_NS_PER_MS);
            break;
        }
        CHECK_EQ(atomic_load(&s.feed.drained), 1);
        finish();
    }
}

/* ---- What the controller is told ---- */

static void the_log_has_what_was_on_the_wire(void)
{
    start(0x4001);
    lose_much();
    offer(unit(true, 3, 900, true), T0);
    pump_all(T0);
    struct pc_access_unit *cut = unit(false, 2, 800, false); /* its end never comes */
    offer(cut, T0);
    pump(T0 + 1);
    pc_sender_lose_path(&s.sender);
    find_path(0x4002);
    offer(unit(true, 4, 700, true), T0 + 2);
    uint64_t now = pump_all(T0 + 2);
    s.sender.rate.loss.loss = 0;
    send_nack(s.sent[s.count - 2].rtp.ssrc == SSRC ? s.sent[s.count - 2].rtp.sequence : 0x7ff5, 0,
              now);
    CHECK_EQ(sent_by(RTX_SSRC), 1);

    const struct pc_rtcp_transport_feedback feedback = {.reference_time = 100};
    pc_rate_loop_feedback(&s.sender.rate, &feedback);
    for (int i = 0; i < s.count; i++)
        pc_rate_loop_status(&s.sender.rate, s.sent[i].transport_sequence, true, 1);
    const struct pc_packet_report *reports;
    CHECK_EQ(pc_send_log_take(s.sender.rate.log, &reports), s.count);
    for (int i = 0; i < s.count; i++) {
        const struct packet *packet = &s.sent[i];
        enum pc_packet_kind kind = packet->rtp.ssrc == SSRC       ? PC_PACKET_MEDIA
                                   : packet->rtp.ssrc == RTX_SSRC ? PC_PACKET_RTX
                                                                  : PC_PACKET_FEC;
        uint32_t frame = kind == PC_PACKET_RTX                                     ? 3
                         : packet->rtp.timestamp == s.sent[0].rtp.timestamp        ? 0
                         : packet->rtp.timestamp == s.sent[0].rtp.timestamp + 1800 ? 1
                                                                                   : 2;
        CHECK_EQ(reports[i].packet.kind, kind);
        CHECK_EQ(reports[i].packet.bytes, packet->wire_bytes);
        CHECK_EQ(reports[i].packet.sequence, packet->rtp.sequence);
        CHECK_EQ(reports[i].packet.frame, frame);
        CHECK(reports[i].packet.sent_ns >= T0 && reports[i].packet.sent_ns <= now);
    }
    finish();
}

/* ---- Moves ---- */

/* The other feed's IDR is of picture 1 while the old one's picture 2 waits already. */
static void time_never_goes_back(void)
{
    start(0);
    offer(unit(true, 2, 900, true), T0);
    offer(unit(false, 2, 900, true), T0);
    offer(unit(false, 2, 900, true), T0);
    pc_sender_move(&s.sender, &s.other);
    for (s.next_frame = 1; s.next_frame < 5;) {
        struct pc_access_unit *au = unit(s.next_frame == 1, 1, 100, true);
        CHECK(pc_sender_offer(&s.sender, &s.other, au, T0));
        pc_au_unref(au);
    }
    CHECK_EQ(atomic_load(&s.feed.drained), 3); /* nobody waits for what was left */
    for (unsigned i = 0; i < 3; i++)
        CHECK(s.sender.queue[i].feed == NULL);
    pump_all(T0);
    static const uint32_t ticks[] = {0, 0, 1800, 1800, 3600, 3600, 3601, 5401, 7201, 9001};
    CHECK_EQ(s.count, 10);
    for (int i = 0; i < s.count && i < 10; i++)
        CHECK_EQ(s.sent[i].rtp.timestamp - s.sent[0].rtp.timestamp, ticks[i]);

    /* A later move is at its own time again, and the reports say the same. */
    pc_sender_move(&s.sender, &s.feed);
    s.next_frame = 10;
    offer(unit(true, 1, 100, true), T0);
    pump_all(T0);
    CHECK_EQ(s.sent[10].rtp.timestamp - s.sent[0].rtp.timestamp, 18000);
    finish();
}

/* The IDR that was wished for came while there was no path: another one is needed. */
static void a_move_goes_on_after_the_path_was_lost(void)
{
    start(0);
    offer(unit(true, 2, 900, true), T0);
    pump_all(T0);
    pc_sender_move(&s.sender, &s.other);
    CHECK(atomic_load(&s.other.idr_wanted));
    pc_sender_lose_path(&s.sender);
    pc_transport_set_path(&s.transport, NULL, NULL, NULL, 0);
    struct pc_access_unit *au = unit(true, 1, 100, true);
    atomic_store(&s.other.idr_wanted, false); /* it is */
    CHECK(!pc_sender_offer(&s.sender, &s.other, au, T0));
    pc_au_unref(au);
    find_path(0);
    CHECK(atomic_load(&s.other.idr_wanted));
    CHECK(atomic_load(&s.feed.idr_wanted));
    finish();
}

int main(void)
{
    RUN(any_lost_packet_is_repaired);
    RUN(slices_of_any_size_are_repaired);
    RUN(a_frame_of_several_blocks_is_repaired);
    RUN(a_unit_that_was_let_go_is_in_no_block);
    RUN(without_loss_there_is_no_fec);
    RUN(fec_ends_with_its_negotiation);
    RUN(what_the_kernel_does_not_take_has_no_fec);
    RUN(no_ssrc_is_ever_of_two_streams);
    RUN(bye_is_said_for_every_stream);
    RUN(a_copy_is_sent_after_its_spacing);
    RUN(no_copy_is_sent_after_a_stop);
    RUN(every_request_is_counted);
    RUN(padding_stays_within_its_rate);
    RUN(without_rtx_there_is_no_padding);
    RUN(a_frame_is_drained_when_the_network_has_drained);
    RUN(what_is_held_is_released_by_whatever_ends_it);
    RUN(the_log_has_what_was_on_the_wire);
    RUN(time_never_goes_back);
    RUN(a_move_goes_on_after_the_path_was_lost);
    return HARNESS_RESULT();
}
