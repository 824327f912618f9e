#include "sender.h"

#include <errno.h>
#include <math.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "clock.h"
#include "dependency_descriptor.h"
#include "harness.h"

/* A sender on one loopback socket, and the receiver's end of it on another. */
static struct {
    struct pc_udp here, there;
    struct pc_feed feed;
    struct pc_transport transport;
    struct pc_sender sender;
    struct pc_srtp *receive;
    struct pc_au_pool *pool;
    struct pc_hub_stats hub;
    uint8_t scratch[PC_SENDER_SCRATCH];
    struct pc_udp_inbox inbox;
    uint64_t next_frame;
    int wake_fd;
} s;

static const uint8_t key_out[28] = {1, 2, 3, 4}, key_in[28] = {9, 8, 7};
static const uint8_t random_start[16] = {0x7f, 0xf0, 0, 1, 0xff, 0xf8, 0, 0, 0x10, 0};

#define SSRC     0x11223344u
#define RTX_SSRC 0x55667788u
#define BITRATE  8000000 /* one byte a microsecond; pacing at 4 x that */
#define T0       (1000 * PC_NS_PER_MS)

static struct pc_media_settings media(void)
{
    return (struct pc_media_settings){
        .codec = PC_H264,
        .payload_type = 96,
        .rtx_payload_type = 97,
        .ssrc = SSRC,
        .rtx_ssrc = RTX_SSRC,
        .mid_id = 1,
        .transport_cc_id = 3,
        .mid = "0",
        .cname = "host",
        .controller = PC_CONTROLLER_FIXED,
    };
}

static void open_path(uint16_t channel)
{
    static const struct pc_address loopback = {.family = 4, .ip = {127, 0, 0, 1}};
    memset(&s, 0, sizeof s);
    s.wake_fd = eventfd(0, EFD_NONBLOCK);
    CHECK_EQ(pc_udp_open(&s.here, &loopback, true, 0), 0);
    CHECK_EQ(pc_udp_open(&s.there, &loopback, true, 0), 0);
    pc_feed_init(&s.feed, PC_CODEC_H264, 1, 0, s.wake_fd);
    pc_feed_set_rate(&s.feed, BITRATE, 50);
    s.pool = pc_au_pool_create(200);
    pc_transport_init(&s.transport);
    pc_sender_init(&s.sender, &s.transport);
    s.transport.udp = &s.here;
    s.transport.channel = channel;
    pc_endpoint_from(&s.transport.to, &s.there.local);
    CHECK_EQ(pc_srtp_create(PC_SRTP_AEAD_AES_128_GCM, key_out, 28, &s.transport.outbound), 0);
    CHECK_EQ(pc_srtp_create(PC_SRTP_AEAD_AES_128_GCM, key_in, 28, &s.transport.inbound), 0);
    CHECK_EQ(pc_srtp_create(PC_SRTP_AEAD_AES_128_GCM, key_out, 28, &s.receive), 0);
}

static void start(uint16_t channel)
{
    open_path(channel);
    struct pc_media_settings settings = media();
    CHECK_EQ(pc_sender_start(&s.sender, &s.feed, &settings, random_start, T0), 0);
    s.sender.next_report_ns = UINT64_MAX;
    atomic_store(&s.feed.idr_wanted, false);
}

static void finish(void)
{
    pc_sender_stop(&s.sender);
    pc_sender_free(&s.sender);
    pc_transport_free(&s.transport);
    pc_srtp_destroy(s.receive);
    pc_feed_free(&s.feed);
    pc_au_pool_release(s.pool);
    pc_udp_close(&s.here);
    pc_udp_close(&s.there);
    close(s.wake_fd);
}

/* A unit of `count` payloads of `size` bytes, the first byte of each its number. */
static struct pc_access_unit *unit(bool idr, int count, size_t size, bool complete)
{
    struct pc_access_unit *au = pc_au_acquire(s.pool);
    au->frame_id = s.next_frame++;
    au->rtp_time = (uint32_t)au->frame_id * 1800;
    au->idr = idr;
    au->reference = idr ? au->frame_id : au->frame_id - 1;
    for (int i = 0; i < count; i++) {
        uint8_t *room = pc_au_reserve(au, size);
        memset(room, i, size);
        pc_au_commit(au, size);
    }
    pc_au_publish(au, complete);
    return au;
}

static bool offer(struct pc_access_unit *au, uint64_t now_ns)
{
    bool taken = pc_sender_offer(&s.sender, &s.feed, au, now_ns);
    pc_au_unref(au);
    return taken;
}

struct received {
    struct pc_rtp_packet rtp;
    uint8_t data[1500];
};

/* Take what has arrived, decrypted. */
static int receive(struct received *out, int max, size_t skip)
{
    int count = 0;
    while (pc_udp_receive(&s.there, &s.inbox) > 0) {
        for (int i = 0; i < s.inbox.count && count < max; i++) {
            size_t size = s.inbox.sizes[i] - skip;
            memcpy(out[count].data, s.inbox.data[i] + skip, size);
            long plain = pc_srtp_unprotect(s.receive, out[count].data, size);
            CHECK(plain > 0);
            if (plain > 0)
                CHECK_EQ(pc_rtp_parse(out[count].data, (size_t)plain, &out[count].rtp), 0);
            count++;
        }
    }
    return count;
}

static struct received got[300];

static void send_rtcp(const uint8_t *packet, size_t size, uint64_t now_ns)
{
    pc_sender_receive_rtcp(&s.sender, packet, size, s.scratch, now_ns, 0, &s.hub);
}

static size_t write_u32(uint8_t *p, uint32_t value)
{
    for (int i = 0; i < 4; i++)
        p[i] = (uint8_t)(value >> (24 - 8 * i));
    return 4;
}

static void send_nack(uint32_t ssrc, uint16_t sequence, uint16_t following, uint64_t now_ns)
{
    uint8_t packet[16] = {0x81, 205, 0, 3};
    write_u32(packet + 4, 1);
    write_u32(packet + 8, ssrc);
    write_u32(packet + 12, (uint32_t)sequence << 16 | following);
    send_rtcp(packet, sizeof packet, now_ns);
}

static void starting_needs_a_path_and_keys(void)
{
    open_path(0);
    struct pc_media_settings settings = media();
    struct pc_udp *udp = s.transport.udp;
    s.transport.udp = NULL;
    CHECK_EQ(pc_sender_start(&s.sender, &s.feed, &settings, random_start, T0), -EINVAL);
    CHECK(strstr(pc_error_text(), "path") != NULL);
    s.transport.udp = udp;
    struct pc_srtp *outbound = s.transport.outbound;
    s.transport.outbound = NULL;
    CHECK_EQ(pc_sender_start(&s.sender, &s.feed, &settings, random_start, T0), -EINVAL);
    CHECK(strstr(pc_error_text(), "keys") != NULL);
    s.transport.outbound = outbound;
    CHECK_EQ(atomic_load(&s.feed.receivers), 0);
    CHECK_EQ(pc_sender_start(&s.sender, &s.feed, &settings, random_start, T0), 0);
    CHECK_EQ(atomic_load(&s.feed.receivers), 1);
    CHECK(atomic_load(&s.feed.idr_wanted)); /* nothing can be shown before one */
    CHECK_EQ(pc_sender_start(&s.sender, &s.feed, &settings, random_start, T0), -EINVAL);
    finish();
}

static void nothing_is_sent_before_an_idr(void)
{
    start(0);
    CHECK(!offer(unit(false, 2, 100, true), T0));
    CHECK(offer(unit(true, 2, 100, true), T0));
    CHECK(offer(unit(false, 2, 100, true), T0));
    CHECK_EQ(pc_sender_pump(&s.sender, s.scratch, T0, &s.hub), UINT64_MAX);
    CHECK_EQ(receive(got, 300, 0), 4);
    CHECK_EQ(atomic_load(&s.feed.drained), 3);
    finish();
}

static void packets_are_numbered_marked_and_carry_the_payload(void)
{
    start(0);
    offer(unit(true, 5, 1000, true), T0);
    offer(unit(false, 3, 500, true), T0);
    pc_sender_pump(&s.sender, s.scratch, T0, &s.hub);
    CHECK_EQ(receive(got, 300, 0), 8);
    uint32_t offset = got[0].rtp.timestamp;
    for (int i = 0; i < 8; i++) {
        const struct pc_rtp_packet *rtp = &got[i].rtp;
        CHECK_EQ(rtp->sequence, (uint16_t)(0x7ff0 + i));
        CHECK_EQ(rtp->ssrc, SSRC);
        CHECK_EQ(rtp->payload_type, 96);
        CHECK_EQ(rtp->marker, i == 4 || i == 7);
        CHECK_EQ(rtp->timestamp - offset, i < 5 ? 0 : 1800);
        CHECK_EQ(rtp->payload_bytes, i < 5 ? 1000 : 500);
        CHECK_EQ(rtp->payload[0], i < 5 ? i : i - 5);
        size_t size;
        const uint8_t *transport = pc_rtp_extension(rtp, 3, &size);
        CHECK(transport != NULL && size == 2);
        if (transport != NULL)
            CHECK_EQ(transport[0] << 8 | transport[1], (0xfff8 + i) & 0xffff);
        const uint8_t *mid = pc_rtp_extension(rtp, 1, &size);
        CHECK(mid != NULL && size == 1 && mid[0] == '0');
    }
    CHECK_EQ(s.hub.send_calls, 2); /* a frame of equal packets is one call */
    CHECK_EQ(s.sender.stats.packets, 8);
    CHECK_EQ(s.sender.stats.frames, 2);
    finish();
}

/* One call segments packets of one size, the last one shorter: what grows begins another. */
static void payloads_of_any_sizes_arrive_as_they_are(void)
{
    static const uint16_t sizes[] = {500, 900, 900, 200, 200, 1080, 1, 1080, 1080};
    enum { COUNT = sizeof sizes / sizeof *sizes };
    start(0);
    struct pc_access_unit *au = unit(true, 0, 1, false);
    for (int i = 0; i < COUNT; i++) {
        memset(pc_au_reserve(au, sizes[i]), i, sizes[i]);
        pc_au_commit(au, sizes[i]);
    }
    pc_au_publish(au, true);
    offer(au, T0);
    pc_sender_pump(&s.sender, s.scratch, T0, &s.hub);
    CHECK_EQ(receive(got, 300, 0), COUNT);
    for (int i = 0; i < COUNT; i++) {
        CHECK_EQ(got[i].rtp.payload_bytes, sizes[i]);
        CHECK_EQ(got[i].rtp.payload[0], i);
    }
    CHECK_EQ(s.hub.send_calls, 5); /* 500 | 900 900 200 | 200 | 1080 1 | 1080 1080 */
    finish();
}

static void slices_leave_before_the_frame_is_complete(void)
{
    start(0);
    struct pc_access_unit *au = unit(true, 2, 800, false);
    pc_sender_offer(&s.sender, &s.feed, au, T0);
    CHECK_EQ(pc_sender_pump(&s.sender, s.scratch, T0, &s.hub), UINT64_MAX);
    CHECK_EQ(receive(got, 300, 0), 2);
    CHECK(!got[1].rtp.marker);
    CHECK_EQ(atomic_load(&s.feed.drained), 0);
    memset(pc_au_reserve(au, 300), 7, 300);
    pc_au_commit(au, 300);
    pc_au_publish(au, true);
    pc_au_unref(au);
    pc_sender_pump(&s.sender, s.scratch, T0, &s.hub);
    CHECK_EQ(receive(got, 300, 0), 1);
    CHECK(got[0].rtp.marker);
    CHECK_EQ(got[0].rtp.sequence, (uint16_t)(0x7ff0 + 2));
    CHECK_EQ(atomic_load(&s.feed.drained), 1);
    finish();
}

static void a_large_frame_is_spread_at_the_pacing_rate(void)
{
    start(0);
    offer(unit(true, 100, 1000, true), T0);
    uint64_t now = T0;
    int total = 0, wakes = 0;
    for (;;) {
        uint64_t next = pc_sender_pump(&s.sender, s.scratch, now, &s.hub);
        total += receive(got, 300, 0);
        if (next == UINT64_MAX)
            break;
        CHECK(next > now && next % (PC_NS_PER_MS / 4) == 0); /* peers share wake-ups */
        now = next;
        if (++wakes > 1000)
            break;
    }
    CHECK_EQ(total, 100);
    CHECK(wakes > 3 && wakes < 12); /* half a burst each */
    /* 100 packets of 1028 bytes or so, less the burst of 1.25 frame shares (25 kB) and the last
     * batch, at 4 bytes a microsecond. */
    CHECK(now - T0 > 15 * PC_NS_PER_MS && now - T0 < 20 * PC_NS_PER_MS);
    finish();
}

static void a_path_that_falls_behind_goes_on_at_the_next_idr(void)
{
    start(0);
    for (int i = 0; i < PC_SENDER_QUEUE; i++)
        CHECK(offer(unit(i == 0, 100, 1000, true), T0));
    CHECK(!atomic_load(&s.feed.idr_wanted));
    CHECK(!offer(unit(false, 1, 100, true), T0));
    CHECK(atomic_load(&s.feed.idr_wanted));
    CHECK_EQ(s.sender.stats.frames_dropped, PC_SENDER_QUEUE);
    CHECK(!offer(unit(false, 1, 100, true), T0));
    CHECK(offer(unit(true, 1, 100, true), T0));
    pc_sender_pump(&s.sender, s.scratch, T0, &s.hub);
    CHECK_EQ(receive(got, 300, 0), 1);
    CHECK_EQ(got[0].rtp.sequence, 0x7ff0);
    finish();
}

static void who_leaves_with_frames_waiting_holds_up_nobody(void)
{
    start(0);
    CHECK(offer(unit(true, 100, 1000, true), T0));
    CHECK(offer(unit(false, 100, 1000, true), T0));
    pc_sender_pump(&s.sender, s.scratch, T0, &s.hub);
    CHECK_EQ(atomic_load(&s.feed.drained), 0);
    pc_sender_stop(&s.sender);
    CHECK_EQ(atomic_load(&s.feed.drained), 2);
    finish();
}

static void a_frame_that_is_late_is_not_sent(void)
{
    start(0);
    CHECK(offer(unit(true, 2, 100, true), T0));
    CHECK(offer(unit(false, 2, 100, true), T0 + PC_SENDER_QUEUE_NS));
    CHECK(!offer(unit(false, 2, 100, true), T0 + PC_SENDER_QUEUE_NS + 1));
    CHECK_EQ(s.sender.length, 0);
    CHECK(atomic_load(&s.feed.idr_wanted));
    finish();
}

/* Somebody else has proven the address. What is sent to nobody must neither gather, nor be wished
 * for again and again, nor be kept from the others. */
static void a_peer_without_a_path_takes_nothing_and_begins_anew(void)
{
    start(0);
    CHECK(offer(unit(true, 2, 100, true), T0));
    pc_sender_pump(&s.sender, s.scratch, T0, &s.hub);
    CHECK(offer(unit(false, 2, 100, false), T0));
    pc_sender_pump(&s.sender, s.scratch, T0, &s.hub);
    CHECK_EQ(receive(got, 300, 0), 4);
    pc_sender_lose_path(&s.sender);
    pc_transport_set_path(&s.transport, NULL, NULL, NULL, 0);
    CHECK_EQ(s.sender.length, 0);
    CHECK_EQ(s.sender.history.length, 0);
    CHECK_EQ(atomic_load(&s.feed.drained), 2);
    for (int i = 0; i < 3 * PC_SENDER_QUEUE; i++)
        CHECK(!offer(unit(i % 2 == 0, 2, 100, true), T0 + (uint64_t)i * 20 * PC_NS_PER_MS));
    CHECK(!atomic_load(&s.feed.idr_wanted));
    s.sender.next_report_ns = T0;
    CHECK(pc_sender_pump(&s.sender, s.scratch, T0, &s.hub) == UINT64_MAX);
    CHECK(pc_sender_tick(&s.sender, s.scratch, T0, 0, &s.hub) == UINT64_MAX);
    send_nack(SSRC, 0x7ff0, 0, T0);
    pc_sender_bye(&s.sender, s.scratch, T0, &s.hub);

    struct pc_endpoint to;
    pc_endpoint_from(&to, &s.there.local);
    pc_transport_set_path(&s.transport, &s.here, &to, &s.there.local, 0);
    pc_sender_find_path(&s.sender);
    CHECK(atomic_exchange(&s.feed.idr_wanted, false));
    CHECK(!offer(unit(false, 2, 100, true), T0));
    CHECK(offer(unit(true, 2, 100, true), T0));
    pc_sender_pump(&s.sender, s.scratch, T0, &s.hub);
    CHECK_EQ(receive(got, 300, 0), 2);
    CHECK_EQ(got[0].rtp.sequence, 0x7ff4);
    /* Another path for the same media changes nothing else. */
    pc_transport_set_path(&s.transport, &s.here, &to, &s.there.local, 0);
    CHECK(!atomic_load(&s.feed.idr_wanted));
    CHECK(offer(unit(false, 2, 100, true), T0));
    finish();
}

/* The keys are the same after a stop: a packet index must not come again, whatever is drawn. */
static void a_second_stream_never_uses_a_nonce_again(void)
{
    start(0);
    struct pc_media_settings settings = media();
    offer(unit(true, 20, 100, true), T0);
    pc_sender_pump(&s.sender, s.scratch, T0, &s.hub);
    CHECK_EQ(receive(got, 300, 0), 20); /* over 0x7fff: … 0x8003 */
    uint32_t before = got[0].rtp.timestamp;
    send_nack(SSRC, 0x7ff0, 0, T0);
    CHECK_EQ(receive(got, 300, 0), 1);
    CHECK_EQ(got[0].rtp.sequence, 1);
    pc_sender_stop(&s.sender);

    struct pc_srtp *keys[2];
    CHECK_EQ(pc_srtp_create(PC_SRTP_AEAD_AES_128_GCM, key_out, 28, &keys[0]), 0);
    CHECK_EQ(pc_srtp_create(PC_SRTP_AEAD_AES_128_GCM, key_in, 28, &keys[1]), 0);
    CHECK_EQ(pc_transport_set_keys(&s.transport, keys[0], keys[1]), -EINVAL);
    pc_srtp_destroy(keys[0]);
    pc_srtp_destroy(keys[1]);

    /* A stream that was opened 10 s later: RTP time goes on by that. */
    s.feed.epoch_ns = 10 * PC_NS_PER_S;
    settings.ssrc++;
    CHECK_EQ(pc_sender_start(&s.sender, &s.feed, &settings, random_start, T0), -EINVAL);
    settings.ssrc--;
    settings.rtx_ssrc++;
    CHECK_EQ(pc_sender_start(&s.sender, &s.feed, &settings, random_start, T0), -EINVAL);
    settings.rtx_ssrc--;
    CHECK_EQ(pc_sender_start(&s.sender, &s.feed, &settings, random_start, T0), 0);
    s.next_frame = 0;
    offer(unit(true, 2, 100, true), T0);
    pc_sender_pump(&s.sender, s.scratch, T0, &s.hub);
    CHECK_EQ(receive(got, 300, 0), 2); /* receive() refuses what is replayed */
    CHECK_EQ(got[0].rtp.sequence, 0x8004);
    CHECK_EQ(got[0].rtp.timestamp - before, 900000);
    send_nack(SSRC, 0x8004, 0, T0);
    CHECK_EQ(receive(got, 300, 0), 1);
    CHECK_EQ(got[0].rtp.sequence, 2);
    finish();
}

static void a_move_waits_for_an_idr_of_the_other_feed(void)
{
    start(0);
    struct pc_feed other;
    pc_feed_init(&other, PC_CODEC_H264, 1, 0, s.wake_fd);
    pc_feed_set_rate(&other, BITRATE / 4, 50);
    CHECK(offer(unit(true, 2, 100, true), T0));
    pc_sender_move(&s.sender, &other);
    CHECK_EQ(atomic_load(&s.feed.receivers), 1);
    CHECK_EQ(atomic_load(&other.receivers), 1);
    CHECK(atomic_load(&other.idr_wanted));

    struct pc_access_unit *early = unit(false, 1, 100, true);
    CHECK(!pc_sender_offer(&s.sender, &other, early, T0));
    pc_au_unref(early);
    CHECK(offer(unit(false, 2, 100, true), T0)); /* until then the old one goes on */
    s.next_frame--;                              /* the IDR is of the same picture */
    struct pc_access_unit *idr = unit(true, 3, 100, true), *next = unit(false, 1, 100, true);
    CHECK(pc_sender_offer(&s.sender, &other, idr, T0));
    CHECK_EQ(atomic_load(&s.feed.receivers), 0);
    CHECK(!offer(unit(false, 2, 100, true), T0));
    CHECK(pc_sender_offer(&s.sender, &other, next, T0));
    pc_sender_pump(&s.sender, s.scratch, T0, &s.hub);
    CHECK_EQ(receive(got, 300, 0), 8);
    for (int i = 1; i < 8; i++)
        CHECK_EQ((uint16_t)(got[i].rtp.sequence - got[i - 1].rtp.sequence), 1);
    CHECK_EQ(got[4].rtp.timestamp - got[3].rtp.timestamp, 1); /* two frames for the receiver */
    CHECK_EQ(got[7].rtp.timestamp - got[4].rtp.timestamp, 1800);
    CHECK_EQ(atomic_load(&s.feed.drained), 3);
    CHECK_EQ(atomic_load(&other.drained), 4);

    uint32_t before =
        got[2].rtp.timestamp; /* what was sent before the move is sent again as it was */
    send_nack(SSRC, got[2].rtp.sequence, 0, T0);
    CHECK_EQ(receive(got, 300, 0), 1);
    CHECK_EQ(got[0].rtp.timestamp, before);
    pc_au_unref(idr);
    pc_au_unref(next);
    finish();
    CHECK_EQ(atomic_load(&other.receivers), 0);
    pc_feed_free(&other);
}

static void a_move_can_be_taken_back(void)
{
    start(0);
    struct pc_feed other;
    pc_feed_init(&other, PC_CODEC_H264, 1, 0, s.wake_fd);
    pc_feed_set_rate(&other, BITRATE / 4, 50);
    pc_sender_move(&s.sender, &other);
    pc_sender_move(&s.sender, &other);
    CHECK_EQ(atomic_load(&other.receivers), 1);
    pc_sender_move(&s.sender, &s.feed);
    CHECK_EQ(atomic_load(&other.receivers), 0);
    struct pc_access_unit *idr = unit(true, 3, 100, true);
    CHECK(!pc_sender_offer(&s.sender, &other, idr, T0));
    CHECK(pc_sender_offer(&s.sender, &s.feed, idr, T0));
    pc_au_unref(idr);
    pc_sender_move(&s.sender, &other);
    finish(); /* who leaves in the middle of a move leaves both */
    CHECK_EQ(atomic_load(&other.receivers), 0);
    pc_feed_free(&other);
}

static void settings_that_make_no_sense_are_refused(void)
{
    open_path(0);
    struct pc_media_settings good = media(), wrong = good;
    wrong.rtx_ssrc = wrong.ssrc; /* two streams of the same nonces */
    CHECK_EQ(pc_sender_start(&s.sender, &s.feed, &wrong, random_start, T0), -EINVAL);
    const double shares[] = {-1, 1e-300, 1e300, NAN, INFINITY};
    for (size_t i = 0; i < sizeof shares / sizeof *shares; i++) {
        wrong = good;
        wrong.pacing_factor = shares[i];
        CHECK_EQ(pc_sender_start(&s.sender, &s.feed, &wrong, random_start, T0), -EINVAL);
        CHECK(strstr(pc_error_text(), "pacing_factor") != NULL);
        wrong = good;
        wrong.rtx_share = shares[i];
        CHECK_EQ(pc_sender_start(&s.sender, &s.feed, &wrong, random_start, T0), -EINVAL);
        CHECK(strstr(pc_error_text(), "rtx_share") != NULL);
    }
    wrong = good;
    wrong.payload_type = 128;
    CHECK_EQ(pc_sender_start(&s.sender, &s.feed, &wrong, random_start, T0), -EINVAL);
    CHECK_EQ(atomic_load(&s.feed.receivers), 0);
    wrong = good; /* without retransmission the other SSRC does not matter */
    wrong.rtx_payload_type = 0;
    wrong.rtx_ssrc = wrong.ssrc;
    CHECK_EQ(pc_sender_start(&s.sender, &s.feed, &wrong, random_start, T0), 0);
    finish();
}

static void a_socket_that_cannot_send_is_left_alone_for_a_moment(void)
{
    start(0);
    struct pc_endpoint to = s.transport.to;
    s.transport.to.length = 1; /* EINVAL */
    offer(unit(true, 100, 1000, true), T0);
    CHECK_EQ(pc_sender_pump(&s.sender, s.scratch, T0, &s.hub), T0 + PC_TRANSPORT_RETRY_NS);
    CHECK_EQ(s.hub.send_calls, 1);
    CHECK_EQ(s.hub.send_errors, 1);
    CHECK_EQ(s.hub.sent_packets, 0);
    uint64_t lost = s.sender.stats.packets;
    s.transport.to = to;
    CHECK_EQ(pc_sender_pump(&s.sender, s.scratch, T0 + 1, &s.hub), T0 + PC_TRANSPORT_RETRY_NS);
    CHECK_EQ(s.hub.send_calls, 1);
    pc_sender_pump(&s.sender, s.scratch, T0 + PC_TRANSPORT_RETRY_NS, &s.hub);
    CHECK(receive(got, 300, 0) > 0);
    CHECK_EQ(got[0].rtp.sequence, (uint16_t)(0x7ff0 + lost));
    finish();
}

/* The kernel's buffer is full: nothing is protected that could not be sent. */
static void a_full_socket_is_waited_for(void)
{
    start(0);
    s.here.held_to = s.transport.to;
    s.here.held_bytes = s.here.held_segment = 1;
    int fd = s.here.fd;
    int ends[2];
    CHECK_EQ(socketpair(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0, ends), 0);
    while (send(ends[0], "x", 1, 0) == 1) {
    }
    s.here.held_to.length = 0; /* the other end of the pair, which is full: EAGAIN */
    s.here.fd = ends[0];
    offer(unit(true, 3, 1000, true), T0);
    CHECK_EQ(pc_sender_pump(&s.sender, s.scratch, T0, &s.hub), T0 + PC_TRANSPORT_RETRY_NS);
    CHECK_EQ(s.hub.send_calls, 0);
    CHECK_EQ(s.sender.stats.packets, 0);
    s.here.fd = fd;
    s.here.held_bytes = 0;
    CHECK(pc_sender_pump(&s.sender, s.scratch, T0 + 1, &s.hub) == UINT64_MAX);
    CHECK_EQ(receive(got, 300, 0), 3);
    close(ends[0]);
    close(ends[1]);
    finish();
}

static void a_new_bitrate_gives_no_burst_away(void)
{
    start(0);
    offer(unit(true, 100, 1000, true), T0);
    pc_sender_pump(&s.sender, s.scratch, T0, &s.hub);
    int burst = receive(got, 300, 0);
    CHECK(burst >= 24 && burst <= 26);
    for (int i = 1; i <= 20; i++) {
        atomic_store(&s.feed.bitrate, BITRATE + i);
        pc_sender_pump(&s.sender, s.scratch, T0, &s.hub);
    }
    CHECK_EQ(receive(got, 300, 0), 0);
    CHECK_EQ(s.sender.paced_bitrate, BITRATE + 20);
    finish();
}

static void a_nack_is_answered_by_rtx_with_the_original_number(void)
{
    start(0);
    offer(unit(true, 5, 1000, true), T0);
    pc_sender_pump(&s.sender, s.scratch, T0, &s.hub);
    CHECK_EQ(receive(got, 300, 0), 5);
    send_nack(SSRC, 0x7ff1, 0x4, T0 + PC_NS_PER_MS); /* 0x7ff1 and 0x7ff4 */
    CHECK_EQ(receive(got, 300, 0), 2);
    for (int i = 0; i < 2; i++) {
        CHECK_EQ(got[i].rtp.ssrc, RTX_SSRC);
        CHECK_EQ(got[i].rtp.payload_type, 97);
        CHECK_EQ(got[i].rtp.sequence, 1 + i);
        CHECK_EQ(got[i].rtp.payload_bytes, 1002);
        CHECK_EQ(got[i].rtp.payload[0] << 8 | got[i].rtp.payload[1], i == 0 ? 0x7ff1 : 0x7ff4);
        CHECK_EQ(got[i].rtp.payload[2], i == 0 ? 1 : 4);
        CHECK_EQ(got[i].rtp.marker, i == 1);
    }
    CHECK_EQ(s.sender.stats.rtx_packets, 2);
    CHECK_EQ(s.sender.stats.nacks, 1);
    CHECK_EQ(s.sender.stats.nacked_packets, 2);
    finish();
}

static void the_same_packet_is_not_resent_at_once(void)
{
    start(0);
    offer(unit(true, 5, 1000, true), T0);
    pc_sender_pump(&s.sender, s.scratch, T0, &s.hub);
    CHECK_EQ(receive(got, 300, 0), 5);
    const uint64_t again[] = {0, 1, PC_RTX_SPACING_NS - 1, PC_RTX_SPACING_NS};
    const int resent[] = {1, 0, 0, 1};
    for (int i = 0; i < 4; i++) {
        send_nack(SSRC, 0x7ff2, 0, T0 + again[i]);
        CHECK_EQ(receive(got, 300, 0), resent[i]);
    }
    send_nack(SSRC, 0x7ff3, 0, T0 + PC_RTX_SPACING_NS); /* another one */
    CHECK_EQ(receive(got, 300, 0), 1);
    finish();
}

static void a_flood_of_nacks_stays_within_the_budget(void)
{
    start(0);
    offer(unit(true, 50, 1000, true), T0);
    uint64_t now = T0;
    while ((now = pc_sender_pump(&s.sender, s.scratch, now, &s.hub)) != UINT64_MAX) {
    }
    receive(got, 300, 0);
    /* For a second, every millisecond, everything that was sent. */
    for (int ms = 0; ms < 500; ms++)
        for (int i = 0; i < 50; i += 17)
            send_nack(SSRC, (uint16_t)(0x7ff0 + i), 0xffff, T0 + (uint64_t)ms * PC_NS_PER_MS);
    uint64_t share = BITRATE / 8 / 4 / 2; /* a quarter of the bitrate, for half a second */
    CHECK(s.sender.stats.rtx_bytes >= share / 2);
    CHECK(s.sender.stats.rtx_bytes <= share + 4 * 20000 + 1500); /* and 4 frames */
    CHECK(s.sender.stats.rtx_refused > 20000);
    while (receive(got, 300, 0) > 0) {
    }
    finish();
}

static void what_was_never_sent_or_is_not_ours_is_not_resent(void)
{
    start(0);
    offer(unit(true, 5, 1000, true), T0);
    pc_sender_pump(&s.sender, s.scratch, T0, &s.hub);
    receive(got, 300, 0);
    send_nack(SSRC, 0x1000, 0xffff, T0);
    send_nack(SSRC, 0x7ff5, 0, T0);
    send_nack(0xdeadbeef, 0x7ff1, 0, T0);
    CHECK_EQ(receive(got, 300, 0), 0);
    CHECK_EQ(s.sender.stats.rtx_refused, 18);
    finish();
}

#define DESCRIPTOR_ID 4

static void start_described(uint8_t rtx_payload_type)
{
    open_path(0);
    struct pc_media_settings settings = media();
    settings.dependency_descriptor_id = DESCRIPTOR_ID;
    settings.rtx_payload_type = rtx_payload_type;
    CHECK_EQ(pc_sender_start(&s.sender, &s.feed, &settings, random_start, T0), 0);
    s.sender.next_report_ns = UINT64_MAX;
    atomic_store(&s.feed.idr_wanted, false);
    s.next_frame = 500; /* the receiver's count is its own */
}

/* A P frame that refers to `reference`: offered and sent. */
static bool send_referring(uint64_t reference, int count, uint64_t now_ns)
{
    struct pc_access_unit *au = unit(false, count, 400, true);
    au->reference = reference;
    bool taken = offer(au, now_ns);
    pc_sender_pump(&s.sender, s.scratch, now_ns, &s.hub);
    return taken;
}

static struct pc_dependency_descriptor descriptor_of(const struct received *packet)
{
    static struct pc_dependency_structure structure;
    struct pc_dependency_descriptor read = {0};
    size_t size;
    const uint8_t *data = pc_rtp_extension(&packet->rtp, DESCRIPTOR_ID, &size);
    CHECK(data != NULL);
    if (data != NULL)
        CHECK_EQ(pc_dependency_descriptor_parse(data, size, &structure, &read), 0);
    return read;
}

static void check_losses(uint64_t expected_first, uint64_t expected_last)
{
    uint64_t first = 0, last = 0;
    CHECK(pc_feed_take_losses(&s.feed, &first, &last));
    CHECK_EQ(first, expected_first);
    CHECK_EQ(last, expected_last);
    CHECK(!atomic_load(&s.feed.idr_wanted));
}

static void packets_describe_their_frame(void)
{
    start_described(97);
    offer(unit(true, 3, 400, true), T0);
    pc_sender_pump(&s.sender, s.scratch, T0, &s.hub);
    CHECK(send_referring(500, 2, T0));
    CHECK(send_referring(500, 1, T0));
    CHECK_EQ(receive(got, 300, 0), 6);
    static const struct {
        bool first, last;
        uint16_t number, diff;
    } expected[6] = {{true, false, 0, 0}, {false, false, 0, 0}, {false, true, 0, 0},
                     {true, false, 1, 1}, {false, true, 1, 1},  {true, true, 2, 2}};
    for (int i = 0; i < 6; i++) {
        struct pc_dependency_descriptor read = descriptor_of(&got[i]);
        CHECK_EQ(read.first_packet, expected[i].first);
        CHECK_EQ(read.last_packet, expected[i].last);
        CHECK_EQ(read.frame_number, expected[i].number);
        CHECK_EQ(read.diff_count > 0 ? read.diffs[0] : 0, expected[i].diff);
        CHECK_EQ(read.has_structure, i == 0);
    }
    send_nack(SSRC, got[5].rtp.sequence, 0, T0 + 10 * PC_NS_PER_MS);
    CHECK_EQ(receive(got, 300, 0), 1);
    CHECK_EQ(got[0].rtp.ssrc, RTX_SSRC);
    struct pc_dependency_descriptor again = descriptor_of(&got[0]);
    CHECK(again.first_packet && again.last_packet);
    CHECK_EQ(again.frame_number, 2);
    CHECK_EQ(again.diffs[0], 2);
    finish();
}

/* What cannot be sent again is lost for good: the encoder is told, what refers to it is not sent,
 * and the answer is. */
static void a_loss_that_is_not_repaired_asks_for_another_reference(void)
{
    start_described(0);
    offer(unit(true, 1, 400, true), T0);
    pc_sender_pump(&s.sender, s.scratch, T0, &s.hub);
    CHECK(send_referring(500, 1, T0));
    CHECK(send_referring(501, 1, T0));
    CHECK_EQ(receive(got, 300, 0), 3);
    uint64_t first, last;
    CHECK(!pc_feed_take_losses(&s.feed, &first, &last));
    send_nack(SSRC, got[1].rtp.sequence, 0, T0 + 10 * PC_NS_PER_MS);
    check_losses(501, 502);
    CHECK(!send_referring(502, 1, T0 + 15 * PC_NS_PER_MS));
    check_losses(501, 503);
    CHECK(send_referring(500, 1, T0 + 30 * PC_NS_PER_MS));
    CHECK(send_referring(504, 1, T0 + 45 * PC_NS_PER_MS));
    CHECK(!pc_feed_take_losses(&s.feed, &first, &last));
    CHECK_EQ(receive(got, 300, 0), 2);
    struct pc_dependency_descriptor answer = descriptor_of(&got[0]);
    CHECK_EQ(answer.frame_number, 4);
    CHECK_EQ(answer.diffs[0], 4);
    CHECK_EQ(s.sender.stats.frames_dropped, 1);
    finish();
}

static void without_descriptors_a_loss_takes_an_idr(void)
{
    open_path(0);
    struct pc_media_settings settings = media();
    settings.rtx_payload_type = 0;
    CHECK_EQ(pc_sender_start(&s.sender, &s.feed, &settings, random_start, T0), 0);
    atomic_store(&s.feed.idr_wanted, false);
    offer(unit(true, 1, 400, true), T0);
    offer(unit(false, 1, 400, true), T0);
    pc_sender_pump(&s.sender, s.scratch, T0, &s.hub);
    CHECK_EQ(receive(got, 300, 0), 2);
    send_nack(SSRC, got[1].rtp.sequence, 0, T0 + 10 * PC_NS_PER_MS);
    CHECK(atomic_load(&s.feed.idr_wanted));
    uint64_t first, last;
    CHECK(!pc_feed_take_losses(&s.feed, &first, &last));
    CHECK(offer(unit(false, 1, 400, true), T0));
    finish();
}

/* Asked for when the retransmission should have been there: it is sent once more, and not waited
 * for. */
static void a_second_request_gives_the_frame_up(void)
{
    start_described(97);
    offer(unit(true, 1, 400, true), T0);
    pc_sender_pump(&s.sender, s.scratch, T0, &s.hub);
    CHECK(send_referring(500, 1, T0));
    CHECK_EQ(receive(got, 300, 0), 2);
    uint16_t sequence = got[1].rtp.sequence;
    uint64_t first, last;
    send_nack(SSRC, sequence, 0, T0 + 10 * PC_NS_PER_MS);
    CHECK(!pc_feed_take_losses(&s.feed, &first, &last));
    send_nack(SSRC, sequence, 0, T0 + 60 * PC_NS_PER_MS);
    check_losses(501, 501);
    CHECK_EQ(s.sender.stats.rtx_packets, 2);
    send_nack(SSRC, sequence, 0, T0 + 110 * PC_NS_PER_MS); /* of no use any more */
    CHECK_EQ(s.sender.stats.rtx_packets, 2);
    finish();
}

static void a_frame_that_is_mostly_missing_is_not_resent(void)
{
    start_described(97);
    offer(unit(true, 1, 400, true), T0);
    pc_sender_pump(&s.sender, s.scratch, T0, &s.hub);
    CHECK(send_referring(500, 10, T0));
    CHECK_EQ(receive(got, 300, 0), 11);
    send_nack(SSRC, got[1].rtp.sequence, 0x1f, T0 + 10 * PC_NS_PER_MS); /* six of ten */
    check_losses(501, 501);
    CHECK_EQ(s.sender.stats.rtx_packets, 0);
    CHECK_EQ(s.sender.stats.rtx_refused, 6);
    finish();
}

/* A path that falls behind goes on at a frame that refers to what was sent. */
static void what_is_dropped_is_not_referred_to(void)
{
    start_described(97);
    offer(unit(true, 1, 400, true), T0);
    pc_sender_pump(&s.sender, s.scratch, T0, &s.hub);
    for (int i = 0; i < 3; i++)
        CHECK(offer(unit(false, 1, 400, true), T0));
    uint64_t late = T0 + PC_SENDER_QUEUE_NS + PC_NS_PER_MS;
    CHECK(!send_referring(503, 1, late));
    check_losses(501, 504);
    CHECK(!atomic_load(&s.feed.idr_wanted));
    CHECK(!send_referring(504, 1, late));
    CHECK(send_referring(500, 1, late));
    CHECK_EQ(receive(got, 300, 0), 2);
    CHECK_EQ(s.sender.stats.frames_dropped, 5);
    finish();
}

static void pli_and_fir_wish_for_an_idr(void)
{
    start(0);
    uint8_t pli[12] = {0x81, 206, 0, 2};
    write_u32(pli + 8, SSRC);
    send_rtcp(pli, sizeof pli, T0);
    CHECK(atomic_exchange(&s.feed.idr_wanted, false));
    write_u32(pli + 8, 77);
    send_rtcp(pli, sizeof pli, T0);
    CHECK(!atomic_load(&s.feed.idr_wanted));
    uint8_t fir[20] = {0x84, 206, 0, 4};
    write_u32(fir + 12, SSRC);
    fir[16] = 5;
    send_rtcp(fir, sizeof fir, T0);
    CHECK(atomic_exchange(&s.feed.idr_wanted, false));
    send_rtcp(fir, sizeof fir, T0); /* the same command again */
    CHECK(!atomic_load(&s.feed.idr_wanted));
    finish();
}

static void a_bye_is_said_once(void)
{
    start(0);
    const uint8_t bye[12] = {0x82, 203, 0, 2, 0, 0, 0, 1, 0, 0, 0, 2}; /* of two sources */
    send_rtcp(bye, sizeof bye, T0);
    CHECK(s.sender.said_bye);
    s.sender.said_bye = false; /* as the hub does */
    send_rtcp(bye, sizeof bye, T0);
    CHECK(!s.sender.said_bye);
    finish();
}

static void a_receiver_report_measures_the_path(void)
{
    start(0);
    const uint64_t ntp = 1000ull << 32;
    uint8_t report[32] = {0x81, 201, 0, 7};
    write_u32(report + 8, SSRC);
    report[12] = 64;                                        /* a quarter lost */
    write_u32(report + 20, 900);                            /* jitter: 10 ms */
    write_u32(report + 24, (uint32_t)(ntp >> 16) - 0x8000); /* sent half a second ago, */
    write_u32(report + 28, 0x4000);                         /* a quarter of which it waited there */
    pc_sender_receive_rtcp(&s.sender, report, sizeof report, s.scratch, T0, ntp, &s.hub);
    CHECK_EQ(s.sender.stats.reports, 1);
    CHECK_EQ((int)s.sender.stats.rtt_ms, 250);
    CHECK_EQ((int)(s.sender.stats.loss * 100), 25);
    CHECK_EQ((int)s.sender.stats.jitter_ms, 10);
    CHECK(s.sender.reported);
    CHECK(!s.sender.mid_wanted); /* it knows the stream now */
    offer(unit(true, 1, 100, true), T0);
    pc_sender_pump(&s.sender, s.scratch, T0, &s.hub);
    CHECK_EQ(receive(got, 300, 0), 1);
    size_t length;
    CHECK(pc_rtp_extension(&got[0].rtp, 1, &length) == NULL);
    finish();
}

static void sender_reports_come_every_second_and_bye_at_the_end(void)
{
    start(0);
    s.sender.next_report_ns = T0;
    CHECK_EQ(pc_sender_tick(&s.sender, s.scratch, T0, 5ull << 32, &s.hub),
             T0 + 1000 * PC_NS_PER_MS);
    pc_sender_tick(&s.sender, s.scratch, T0 + PC_NS_PER_MS, 5ull << 32, &s.hub);
    CHECK_EQ(pc_udp_receive(&s.there, &s.inbox), 1);
    long size = pc_srtp_unprotect_rtcp(s.receive, s.inbox.data[0], s.inbox.sizes[0]);
    CHECK(size > 28);
    CHECK_EQ(s.inbox.data[0][1], 200);
    CHECK_EQ(s.inbox.data[0][11], 5); /* NTP seconds */
    pc_sender_bye(&s.sender, s.scratch, T0, &s.hub);
    CHECK_EQ(pc_udp_receive(&s.there, &s.inbox), 1);
    size = pc_srtp_unprotect_rtcp(s.receive, s.inbox.data[0], s.inbox.sizes[0]);
    bool found = false;
    for (long at = 0; at + 4 <= size;
         at += ((s.inbox.data[0][at + 2] << 8 | s.inbox.data[0][at + 3]) + 1) * 4)
        found = found || s.inbox.data[0][at + 1] == 203;
    CHECK(found);
    finish();
}

static void through_turn_every_packet_has_a_channel_header(void)
{
    start(0x4001);
    offer(unit(true, 3, 700, true), T0);
    pc_sender_pump(&s.sender, s.scratch, T0, &s.hub);
    struct pollfd wait = {.fd = s.there.fd, .events = POLLIN};
    CHECK_EQ(poll(&wait, 1, 5000), 1);
    CHECK_EQ(pc_udp_receive(&s.there, &s.inbox), 3);
    for (int i = 0; i < s.inbox.count; i++) {
        uint8_t *data = s.inbox.data[i];
        CHECK_EQ(data[0] << 8 | data[1], 0x4001);
        CHECK_EQ(data[2] << 8 | data[3], s.inbox.sizes[i] - 4);
        CHECK(pc_srtp_unprotect(s.receive, data + 4, s.inbox.sizes[i] - 4) > 0);
    }
    finish();
}

int main(void)
{
    RUN(starting_needs_a_path_and_keys);
    RUN(nothing_is_sent_before_an_idr);
    RUN(packets_are_numbered_marked_and_carry_the_payload);
    RUN(payloads_of_any_sizes_arrive_as_they_are);
    RUN(slices_leave_before_the_frame_is_complete);
    RUN(a_large_frame_is_spread_at_the_pacing_rate);
    RUN(a_path_that_falls_behind_goes_on_at_the_next_idr);
    RUN(who_leaves_with_frames_waiting_holds_up_nobody);
    RUN(a_frame_that_is_late_is_not_sent);
    RUN(a_peer_without_a_path_takes_nothing_and_begins_anew);
    RUN(a_second_stream_never_uses_a_nonce_again);
    RUN(a_move_waits_for_an_idr_of_the_other_feed);
    RUN(a_move_can_be_taken_back);
    RUN(settings_that_make_no_sense_are_refused);
    RUN(a_socket_that_cannot_send_is_left_alone_for_a_moment);
    RUN(a_full_socket_is_waited_for);
    RUN(a_new_bitrate_gives_no_burst_away);
    RUN(a_nack_is_answered_by_rtx_with_the_original_number);
    RUN(the_same_packet_is_not_resent_at_once);
    RUN(a_flood_of_nacks_stays_within_the_budget);
    RUN(what_was_never_sent_or_is_not_ours_is_not_resent);
    RUN(packets_describe_their_frame);
    RUN(a_loss_that_is_not_repaired_asks_for_another_reference);
    RUN(without_descriptors_a_loss_takes_an_idr);
    RUN(a_second_request_gives_the_frame_up);
    RUN(a_frame_that_is_mostly_missing_is_not_resent);
    RUN(what_is_dropped_is_not_referred_to);
    RUN(pli_and_fir_wish_for_an_idr);
    RUN(a_bye_is_said_once);
    RUN(a_receiver_report_measures_the_path);
    RUN(sender_reports_come_every_second_and_bye_at_the_end);
    RUN(through_turn_every_packet_has_a_channel_header);
    return HARNESS_RESULT();
}
