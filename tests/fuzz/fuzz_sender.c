/* Whatever a receiver says, and whatever becomes of path, clock, kernel and encodes: a sender
 * resends within its budget, its queue is bounded, each packet index protects one packet only, RTP
 * time does not go back, every refusal is counted, what is held is released, and it never asks to
 * be called in the past. */

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "clock.h"
#include "fuzz.h"
#include "sender.h"

#define SSRC      1u
#define RTX_SSRC  2u
#define FEC_SSRC  3u
#define STREAMS   3
#define FEEDS     2
#define MAX_UNITS 16

/* ---- The kernel's place: what is sent is looked at, and taken or refused as the input says ----
 */

static int refusal; /* an errno; 0: everything is taken */
static uint64_t total_packets;
static uint32_t newest_timestamp;
static bool any_timestamp;
static struct {
    uint64_t digest[0x10000]; /* of the last packet with this sequence number; 0 = none */
    uint16_t newest;
    bool any;
} wire[STREAMS];

static uint64_t digest_of(const uint8_t *data, size_t size)
{
    uint64_t digest = size + 1;
    for (size_t i = 0; i < size; i++)
        digest = (digest ^ data[i]) * 0x100000001B3u;
    return digest | 1;
}

/* The same number again must be the same bytes again: held back, or segmented another way. */
static void look_at(const uint8_t *packet, size_t size)
{
    REQUIRE(size >= 12 + 16 && size <= 1300);
    total_packets++;
    if (packet[1] >= 200 && packet[1] <= 207)
        return; /* RTCP */
    unsigned stream = packet[11] - SSRC;
    uint16_t sequence = (uint16_t)(packet[2] << 8 | packet[3]);
    REQUIRE(stream < STREAMS && (packet[1] & 0x7f) == 96 + stream);
    uint64_t digest = digest_of(packet, size);
    bool next = !wire[stream].any || sequence == (uint16_t)(wire[stream].newest + 1);
    REQUIRE(next || wire[stream].digest[sequence] == digest);
    if (next && stream == 0) {
        uint32_t timestamp = (uint32_t)packet[4] << 24 | (uint32_t)packet[5] << 16 |
                             (uint32_t)packet[6] << 8 | packet[7];
        REQUIRE(!any_timestamp || (int32_t)(timestamp - newest_timestamp) >= 0);
        newest_timestamp = timestamp;
        any_timestamp = true;
    }
    if (next)
        wire[stream].newest = sequence;
    wire[stream].any = true;
    wire[stream].digest[sequence] = digest;
}

ssize_t sendto(int fd, const void *data, size_t size, int flags, const struct sockaddr *to,
               socklen_t to_bytes)
{
    (void)fd, (void)flags, (void)to, (void)to_bytes;
    look_at(data, size);
    errno = refusal;
    return refusal != 0 ? -1 : (ssize_t)size;
}

ssize_t sendmsg(int fd, const struct msghdr *message, int flags)
{
    (void)fd, (void)flags;
    uint16_t segment;
    memcpy(&segment, CMSG_DATA(CMSG_FIRSTHDR(message)), sizeof segment);
    size_t size = message->msg_iov->iov_len;
    const uint8_t *data = message->msg_iov->iov_base;
    REQUIRE(size <= PC_UDP_MAX_BATCH && (size + segment - 1) / segment <= PC_UDP_MAX_SEGMENTS);
    for (size_t at = 0; at < size; at += segment)
        look_at(data + at, size - at < segment ? size - at : segment);
    errno = refusal;
    return refusal != 0 ? -1 : (ssize_t)size;
}

int sendmmsg(int fd, struct mmsghdr *messages, unsigned count, int flags)
{
    (void)fd, (void)flags;
    for (unsigned i = 0; i < count; i++)
        look_at(messages[i].msg_hdr.msg_iov->iov_base, messages[i].msg_hdr.msg_iov->iov_len);
    errno = refusal;
    if (refusal == 0)
        return (int)count;
    return count > 1 && refusal != EIO ? (int)count / 2 : -1;
}

/* ---- The sender, and what drives it ---- */

static struct {
    const uint8_t *data;
    size_t left;
    struct pc_transport transport;
    struct pc_sender sender;
    struct pc_udp udp;
    struct pc_endpoint to;
    struct pc_feed feeds[FEEDS]; /* two encodes of a stream */
    struct pc_au_pool *pool;
    struct pc_access_unit *units[MAX_UNITS]; /* the last ones, which may still grow */
    uint64_t next_frame, now_ns, drained[FEEDS];
    double rtx_allowed; /* bytes */
    struct pc_hub_stats hub;
    uint8_t scratch[PC_SENDER_SCRATCH];
} f;

static unsigned take(void)
{
    if (f.left == 0)
        return 0;
    f.left--;
    return *f.data++;
}

/* What may be resent at once: four frames' share of the bitrate, or of four packets each. */
static double rtx_burst(void)
{
    double share = atomic_load(&f.feeds[0].bitrate) / 8.0 / atomic_load(&f.feeds[0].fps);
    return 4 * (share > 4.0 * PC_MAX_PAYLOAD ? share : 4.0 * PC_MAX_PAYLOAD);
}

static void start(void)
{
    const struct pc_media_settings media = {
        .controller = (enum pc_controller)(take() % 3),
        .fec_payload_type = take() % 4 == 0 ? 0 : 98,
        .fec_ssrc = FEC_SSRC,
        .payload_type = 96,
        .rtx_payload_type = 97,
        .ssrc = SSRC,
        .rtx_ssrc = RTX_SSRC,
        .mid_id = 1,
        .abs_send_time_id = 2,
        .transport_cc_id = 3,
        .mid = "0",
        .cname = "fuzz",
    };
    any_timestamp = false;
    const uint8_t random[16] = {0x7f, 0xfe, 0x7f, 0xff, 0xff, 0xff};
    if (pc_sender_start(&f.sender, &f.feeds[0], &media, random, f.now_ns) == 0)
        f.rtx_allowed += rtx_burst() + 1300; /* … overdrawn by one packet */
}

static void pass_time(uint64_t ns)
{
    f.now_ns += ns;
    f.rtx_allowed += (double)ns * f.sender.paced_bitrate / 8e9 * 0.25;
}

static void append(struct pc_access_unit *au, unsigned payloads, size_t size, bool complete)
{
    bool ended;
    pc_au_ready(au, &ended);
    if (ended)
        return;
    for (unsigned i = 0; i < payloads; i++) {
        uint8_t *room = pc_au_reserve(au, size);
        if (room == NULL)
            break;
        memset(room, (int)i, size);
        pc_au_commit(au, size);
    }
    pc_au_publish(au, complete);
}

static void offer(void)
{
    unsigned shape = take();
    struct pc_access_unit *au = pc_au_acquire(f.pool);
    if (au == NULL)
        return;
    struct pc_access_unit **slot = &f.units[f.next_frame % MAX_UNITS];
    if (*slot != NULL) {
        append(*slot, 0, 1, true);
        pc_au_unref(*slot);
    }
    *slot = au;
    au->frame_id = f.next_frame++;
    au->rtp_time = (uint32_t)(f.now_ns * 9 / 100000);
    au->idr = (shape & 3) == 0;
    au->reference = au->idr || f.next_frame < 2 ? au->frame_id : au->frame_id - 1;
    append(au, take() + 1, 1 + take() * 4, (shape & 4) != 0);
    unsigned feed = shape >> 4 & 1;
    au->rtp_time -= feed * 1500; /* the second encode is a picture behind */
    if (f.sender.feed != NULL)
        pc_sender_offer(&f.sender, &f.feeds[feed], au, f.now_ns);
}

static void say_rtcp(void)
{
    uint8_t packet[512];
    size_t size = 8 + take() % 120 * 4;
    memset(packet, 0, sizeof packet);
    for (size_t i = 0; i < size; i++)
        packet[i] = (uint8_t)take();
    /* Most inputs should be about this sender, and long enough. */
    packet[0] = (uint8_t)(0x80 | (packet[0] & 0x3f));
    packet[2] = 0;
    packet[3] = (uint8_t)(size / 4 - 1);
    if (size >= 12 && packet[1] % 4 != 3)
        memcpy(packet + 8, (uint8_t[4]){0, 0, 0, SSRC}, 4);
    pc_sender_receive_rtcp(&f.sender, packet, size, f.scratch, f.now_ns, f.now_ns, &f.hub);
}

/* A feedback packet as a receiver would write it, of what was sent lately: some of it was lost. */
static void say_feedback(void)
{
    static int64_t arrivals[64];
    uint8_t packet[256];
    struct pc_rtcp_transport_feedback feedback = {
        .sender_ssrc = 9, .media_ssrc = SSRC, .status_count = (uint16_t)(1 + take() % 64)};
    feedback.base_sequence =
        (uint16_t)(f.transport.next_sequence - feedback.status_count - take() % 8);
    unsigned lost = take();
    for (unsigned i = 0; i < feedback.status_count; i++)
        arrivals[i] = i > 0 && (lost >> i % 8 & 1) != 0 ? PC_RTCP_NOT_RECEIVED
                                                        : (int64_t)(f.now_ns / PC_RTCP_TICK_NS) + i;
    long size = pc_rtcp_write_transport_feedback(packet, sizeof packet, &feedback, arrivals);
    if (size > 0)
        pc_sender_receive_rtcp(&f.sender, packet, (size_t)size, f.scratch, f.now_ns, f.now_ns,
                               &f.hub);
}

static void pump(void)
{
    uint64_t packets = total_packets;
    uint64_t next = pc_sender_pump(&f.sender, f.scratch, f.now_ns, &f.hub);
    REQUIRE(next > f.now_ns);
    REQUIRE(f.transport.udp != NULL || total_packets == packets);
    REQUIRE(f.sender.undrained == 0 || next <= f.sender.rate.hold_until_ns);
    if (refusal == 0 && next == UINT64_MAX && f.sender.length > 0 && f.transport.udp != NULL) {
        /* Nothing more to do for what is published: all of it went out. */
        bool complete;
        REQUIRE(f.sender.next_payload == pc_au_ready(f.sender.queue[f.sender.head].au, &complete));
        REQUIRE(!complete);
    }
}

static void find_path(void)
{
    pc_transport_set_path(&f.transport, &f.udp, &f.to, &f.udp.local, 0);
    pc_sender_find_path(&f.sender);
}

static void lose_path(void)
{
    pc_sender_lose_path(&f.sender);
    pc_transport_set_path(&f.transport, NULL, NULL, NULL, 0);
}

static void step(void)
{
    static const int refusals[] = {0, 0, 0, EAGAIN, ENOBUFS, EINVAL, EIO, ENETUNREACH};
    switch (take() % 16) {
    case 0:
        pass_time(take() * PC_NS_PER_MS / 8);
        break;
    case 1:
        pass_time(take() * 4 * PC_NS_PER_MS);
        break;
    case 2:
        offer();
        break;
    case 3:
        if (f.next_frame > 0 && f.units[(f.next_frame - 1) % MAX_UNITS] != NULL) {
            unsigned shape = take();
            append(f.units[(f.next_frame - 1) % MAX_UNITS], shape >> 1, 700, shape & 1);
        }
        break;
    case 4:
    case 5:
        pump();
        break;
    case 6:
    case 7:
        say_rtcp();
        break;
    case 8:
        REQUIRE(pc_sender_tick(&f.sender, f.scratch, f.now_ns, f.now_ns, &f.hub) > f.now_ns);
        break;
    case 9:
        refusal = refusals[take() % 8];
        break;
    case 10:
        if (f.transport.udp == NULL)
            find_path();
        else if (take() % 4 == 0)
            lose_path();
        else
            atomic_store(&f.feeds[0].bitrate, 100000 + (int)take() * 100000);
        break;
    case 11:
        if (f.sender.feed == NULL)
            start();
        else if (take() % 4 == 0)
            pc_sender_stop(&f.sender);
        break;
    case 12:
        say_feedback();
        break;
    case 13:
        if (f.sender.feed != NULL)
            pc_sender_move(&f.sender, &f.feeds[take() % FEEDS]);
        break;
    case 14:
        pc_sender_change_path(&f.sender, f.now_ns);
        break;
    case 15: /* the controller may want anything, until it is asked again */
        f.sender.rate.output.probe_bps = take() * 20000.0;
        f.sender.rate.hold_until_ns = f.now_ns + take() * 2 * PC_NS_PER_MS;
        break;
    }
}

static void check(void)
{
    const struct pc_peer_stats *stats = &f.sender.stats;
    REQUIRE(f.sender.length <= PC_SENDER_QUEUE && f.sender.history.length <= PC_HISTORY_UNITS);
    REQUIRE(f.transport.udp != NULL || (f.sender.length == 0 && f.sender.history.length == 0));
    /* A retransmission may have further copies. */
    REQUIRE(stats->nacked_packets <= stats->rtx_packets + stats->rtx_refused);
    REQUIRE((double)stats->rtx_bytes <= f.rtx_allowed);
    for (int i = 0; i < FEEDS; i++) {
        struct pc_feed *feed = &f.feeds[i];
        int receivers = (f.sender.feed == feed) + (f.sender.next_feed == feed);
        REQUIRE(atomic_load(&feed->receivers) == receivers);
        REQUIRE(atomic_load(&feed->drained) >= f.drained[i]);
        f.drained[i] = atomic_load(&feed->drained);
    }
    for (unsigned i = 0; i < f.sender.length; i++) {
        const struct pc_feed *feed = f.sender.queue[(f.sender.head + i) % PC_SENDER_QUEUE].feed;
        REQUIRE(feed == NULL || feed == f.sender.feed);
    }
    REQUIRE(f.sender.feed != NULL || (f.sender.undrained == 0 && f.sender.copy_count == 0));
    REQUIRE(stats->loss >= 0 && stats->loss <= 1 && stats->jitter_ms >= 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const uint8_t keys[2][28] = {{1, 2, 3}, {4, 5, 6}};
    memset(&f, 0, sizeof f);
    memset(wire, 0, sizeof wire);
    refusal = 0;
    any_timestamp = false;
    f.data = data;
    f.left = size;
    f.now_ns = PC_NS_PER_S;
    f.udp = (struct pc_udp){.fd = -1, .gso = true};
    f.udp.local = (struct pc_address){.family = 4, .ip = {127, 0, 0, 1}, .port = 9};
    REQUIRE(pc_endpoint_from(&f.to, &f.udp.local) == 0);
    for (int i = 0; i < FEEDS; i++) {
        pc_feed_init(&f.feeds[i], PC_CODEC_H264, 1, 0, -1);
        pc_feed_set_rate(&f.feeds[i], 4000000, 50);
    }
    f.pool = pc_au_pool_create(64);
    pc_transport_init(&f.transport);
    pc_sender_init(&f.sender, &f.transport);
    struct pc_srtp *outbound, *inbound;
    REQUIRE(pc_srtp_create(PC_SRTP_AEAD_AES_128_GCM, keys[0], 28, &outbound) == 0);
    REQUIRE(pc_srtp_create(PC_SRTP_AEAD_AES_128_GCM, keys[1], 28, &inbound) == 0);
    REQUIRE(pc_transport_set_keys(&f.transport, outbound, inbound) == 0);
    find_path();
    start();

    while (f.left > 0) {
        step();
        check();
    }
    pc_sender_bye(&f.sender, f.scratch, f.now_ns, &f.hub);
    pc_sender_stop(&f.sender);
    for (int i = 0; i < FEEDS; i++)
        REQUIRE(atomic_load(&f.feeds[i].receivers) == 0);
    for (int i = 0; i < MAX_UNITS; i++)
        if (f.units[i] != NULL) {
            REQUIRE(atomic_load(&f.units[i]->refs) == 1);
            pc_au_unref(f.units[i]);
        }
    pc_sender_free(&f.sender);
    pc_transport_free(&f.transport);
    for (int i = 0; i < FEEDS; i++)
        pc_feed_free(&f.feeds[i]);
    pc_au_pool_release(f.pool);
    return 0;
}
