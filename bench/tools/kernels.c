/* Nanoseconds for each packet of every step between an encoded slice and the wire, by CPU time of
 * the one thread that does them all.
 *
 * --to PORT [--cpu N] [--ms 200]: a drain listens on that port of 127.0.0.1. Prints one JSON object
 * {"name": ns, …, "sent": datagrams handed to the kernel}. */
#include <netinet/in.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "clock.h"
#include "congestion.h"
#include "packetize.h"
#include "sender.h"
#include "tool.h"

#define PACKET_BYTES  1200 /* UDP payload */
#define HEADER_BYTES  28   /* RTP header and extensions, as write_header() writes them */
#define BURST_PACKETS 48   /* a burst of sends: a frame of 28 Mbit/s at 60 fps */
#define UNITS         16
#define SLICE_BYTES   30000

static uint8_t payload[PACKET_BYTES * BURST_PACKETS];
static uint8_t burst[PACKET_BYTES * BURST_PACKETS];
static struct sockaddr_in sink;
static uint64_t budget_ns, sent;
static const char *separator = "{";

static uint64_t thread_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (uint64_t)t.tv_sec * PC_NS_PER_S + (uint64_t)t.tv_nsec;
}

/* Repeat `step`, which returns how many packets it did, for the time given; print ns per packet. */
static void measure(const char *name, uint64_t (*step)(void *context), void *context)
{
    uint64_t packets = 0, start, spent = 0;

    for (int i = 0; i < 8; i++)
        step(context);
    start = thread_ns();
    while (spent < budget_ns && !tool_stopped) {
        for (int i = 0; i < 8; i++)
            packets += step(context);
        spent = thread_ns() - start;
    }
    printf("%s\"%s\": %.2f", separator, name, (double)spent / (double)packets);
    separator = ", ";
}

/* ---- Packetizing ----------------------------------------------------------------------------- */

struct packetizing {
    struct pc_au_pool *pool;
    struct pc_h264_packetizer packetizer;
};

static uint64_t packetize(void *context)
{
    struct packetizing *packetizing = context;
    struct pc_access_unit *au = pc_au_acquire(packetizing->pool);
    payload[0] = 0x61; /* a slice of a P picture */
    int added = pc_packetize_h264(&packetizing->packetizer, au, payload, SLICE_BYTES, true);
    pc_au_unref(au);
    return added < 0 ? 0 : (uint64_t)added;
}

static void measure_packetizing(void)
{
    struct packetizing packetizing = {.pool = pc_au_pool_create(4)};
    measure("packetize", packetize, &packetizing);
    pc_au_pool_release(packetizing.pool);
}

/* ---- Protecting ------------------------------------------------------------------------------ */

struct protection {
    struct pc_srtp *out, *in;
    uint64_t index;
    size_t overhead;
};

static struct protection open_protection(enum pc_srtp_profile profile)
{
    static const uint8_t key[64] = {1, 2, 3};
    size_t bytes = (size_t)(pc_srtp_key_bytes(profile) + pc_srtp_salt_bytes(profile));
    struct protection protection = {.index = 1};
    if (pc_srtp_create(profile, key, bytes, &protection.out) < 0 ||
        pc_srtp_create(profile, key, bytes, &protection.in) < 0)
        tool_fail("srtp", pc_error_text());
    protection.overhead = pc_srtp_overhead(protection.out);
    return protection;
}

static void write_header(uint8_t *packet, uint64_t index)
{
    const struct pc_rtp_extensions extensions = {
        .abs_send_time_id = 2, .transport_cc_id = 3, .playout_delay_id = 4};
    const struct pc_rtp_fields fields = {
        .payload_type = 96, .sequence = (uint16_t)index, .ssrc = 1, .transport_sequence = 7};
    if (pc_rtp_write(packet, &fields, &extensions, false) != HEADER_BYTES)
        tool_fail("rtp", "a header is not of the expected size");
}

static long protect_one(struct protection *protection, uint8_t *packet)
{
    struct pc_piece piece = {payload, PACKET_BYTES - HEADER_BYTES - protection->overhead};
    write_header(packet, protection->index);
    long size =
        pc_srtp_protect(protection->out, protection->index++, packet, HEADER_BYTES, &piece, 1);
    if (size != PACKET_BYTES)
        tool_fail("srtp", "a packet is not of the expected size");
    return size;
}

static uint64_t protect(void *context)
{
    for (int i = 0; i < BURST_PACKETS; i++)
        protect_one(context, burst + i * PACKET_BYTES);
    return BURST_PACKETS;
}

static uint64_t protect_and_unprotect(void *context)
{
    struct protection *protection = context;
    for (int i = 0; i < BURST_PACKETS; i++) {
        long size = protect_one(protection, burst);
        if (pc_srtp_unprotect(protection->in, burst, (size_t)size) < 0)
            tool_fail("srtp", "a packet was refused");
    }
    return BURST_PACKETS;
}

static void measure_protection(enum pc_srtp_profile profile, const char *name)
{
    char label[48];
    struct protection protection = open_protection(profile);
    snprintf(label, sizeof label, "protect.%s", name);
    measure(label, protect, &protection);
    pc_srtp_destroy(protection.out);
    pc_srtp_destroy(protection.in);
    protection = open_protection(profile); /* a receiver follows from the first packet on */
    snprintf(label, sizeof label, "round_trip.%s", name);
    measure(label, protect_and_unprotect, &protection);
    pc_srtp_destroy(protection.out);
    pc_srtp_destroy(protection.in);
}

/* ---- Sending --------------------------------------------------------------------------------- */

static uint64_t send_each(void *context)
{
    int fd = *(int *)context;
    for (int i = 0; i < BURST_PACKETS; i++)
        sendto(fd, burst + i * PACKET_BYTES, PACKET_BYTES, 0, (struct sockaddr *)&sink,
               sizeof sink);
    sent += BURST_PACKETS;
    return BURST_PACKETS;
}

struct udp_sending {
    struct pc_udp udp;
    struct pc_endpoint to;
};

static uint64_t send_together(void *context)
{
    struct udp_sending *sending = context;
    pc_udp_send(&sending->udp, &sending->to, burst, sizeof burst, PACKET_BYTES);
    sent += BURST_PACKETS;
    return BURST_PACKETS;
}

static struct udp_sending open_udp(bool gso)
{
    struct udp_sending sending;
    const struct pc_address here = {.family = 4, .ip = {127, 0, 0, 1}};
    const struct pc_address there = {
        .family = 4, .ip = {127, 0, 0, 1}, .port = ntohs(sink.sin_port)};
    if (pc_udp_open(&sending.udp, &here, gso, 0) < 0 || pc_endpoint_from(&sending.to, &there) < 0)
        tool_fail("udp", "the socket does not open");
    return sending;
}

static void measure_sending(void)
{
    int fd = socket(AF_INET, SOCK_DGRAM, 0);
    measure("send.sendto", send_each, &fd);
    close(fd);
    struct udp_sending many = open_udp(false), segmented = open_udp(true);
    measure("send.sendmmsg", send_together, &many);
    measure("send.gso", send_together, &segmented);
    if (!segmented.udp.gso)
        tool_fail("gso", "the kernel refuses it");
    pc_udp_close(&many.udp);
    pc_udp_close(&segmented.udp);
}

/* ---- The whole path of one peer -------------------------------------------------------------- */

struct whole_path {
    struct udp_sending sending;
    struct pc_feed feed;
    struct pc_transport transport;
    struct pc_sender sender;
    struct pc_hub_stats stats;
    struct pc_access_unit *units[UNITS];
    unsigned next;
    uint64_t now_ns;
};

static uint8_t scratch[PC_SENDER_SCRATCH + 2048];

/* Frames of `packets` packets at 60 fps, as fast as the sender can. */
static void open_path(struct whole_path *path, enum pc_srtp_profile profile, uint32_t packets)
{
    static const uint8_t random[16] = {1};
    const struct pc_media_settings media = {.controller = PC_CONTROLLER_FIXED,
                                            .payload_type = 96,
                                            .ssrc = 1,
                                            .abs_send_time_id = 2,
                                            .transport_cc_id = 3,
                                            .playout_delay_id = 4,
                                            .pacing_factor = 1000};
    memset(path, 0, sizeof *path);
    path->sending = open_udp(true);
    pc_feed_init(&path->feed, PC_CODEC_H264, 1, 0, eventfd(0, EFD_NONBLOCK));
    pc_feed_set_rate(&path->feed, (int)packets * PACKET_BYTES * 8 * 60, 60);
    pc_transport_init(&path->transport);
    pc_sender_init(&path->sender, &path->transport);
    path->transport.udp = &path->sending.udp;
    path->transport.to = path->sending.to;
    struct protection protection = open_protection(profile);
    path->transport.outbound = protection.out;
    path->transport.inbound = protection.in;
    path->now_ns = pc_now_ns();
    if (pc_sender_start(&path->sender, &path->feed, &media, random, path->now_ns) < 0)
        tool_fail("sender", pc_error_text());
    path->sender.mid_wanted = false;

    struct pc_au_pool *pool = pc_au_pool_create(UNITS);
    for (int i = 0; i < UNITS; i++) {
        struct pc_access_unit *au = path->units[i] = pc_au_acquire(pool);
        au->idr = true;
        for (uint32_t n = 0; n < packets; n++) {
            memcpy(pc_au_reserve(au, PC_MAX_PAYLOAD), payload, PC_MAX_PAYLOAD);
            pc_au_commit(au, PC_MAX_PAYLOAD);
        }
        pc_au_publish(au, true);
    }
    pc_au_pool_release(pool);
}

static uint64_t send_frame(void *context)
{
    struct whole_path *path = context;
    uint64_t before = path->stats.sent_packets;
    path->now_ns += PC_NS_PER_S / 60;
    path->transport.retry_ns = 0;
    pc_sender_offer(&path->sender, &path->feed, path->units[path->next++ % UNITS], path->now_ns);
    for (uint64_t now_ns = path->now_ns; path->sender.length > 0; now_ns += PC_NS_PER_MS)
        pc_sender_pump(&path->sender, scratch, now_ns, &path->stats);
    sent += path->stats.sent_packets - before;
    return path->stats.sent_packets - before;
}

static void measure_path(enum pc_srtp_profile profile, const char *name, uint32_t packets)
{
    static struct whole_path path;
    open_path(&path, profile, packets);
    measure(name, send_frame, &path);
    pc_sender_stop(&path.sender);
    pc_sender_free(&path.sender);
    pc_transport_free(&path.transport);
    for (int i = 0; i < UNITS; i++)
        pc_au_unref(path.units[i]);
    close(path.feed.stream_wake_fd);
    pc_feed_free(&path.feed);
    pc_udp_close(&path.sending.udp);
}

/* ---- Congestion control: what one viewer's packets cost it ------------------------------------
 */

struct controlling {
    struct pc_congestion *congestion;
    uint32_t frame;
};

/* One frame at 60 a second: sent, reported as arrived, and what follows from that. */
static uint64_t control(void *context)
{
    struct controlling *controlling = context;
    struct pc_packet_report reports[BURST_PACKETS];
    uint64_t now_ns = PC_NS_PER_S + controlling->frame * (PC_NS_PER_S / 60);

    for (int i = 0; i < BURST_PACKETS; i++) {
        struct pc_sent_packet packet = {.sent_ns = now_ns + (uint64_t)i * 100000,
                                        .bytes = PACKET_BYTES,
                                        .frame = controlling->frame};
        pc_congestion_sent(controlling->congestion, &packet);
        reports[i] = (struct pc_packet_report){
            .packet = packet,
            .received = true,
            .arrived_us = (int64_t)(now_ns / 1000) + 20000 + i * 250,
        };
    }
    pc_congestion_feedback(controlling->congestion, reports, BURST_PACKETS,
                           now_ns + 15 * PC_NS_PER_MS);
    pc_congestion_update(controlling->congestion, now_ns + 16 * PC_NS_PER_MS);
    controlling->frame++;
    return BURST_PACKETS;
}

static void measure_controller(enum pc_controller controller, const char *name)
{
    struct pc_congestion_settings settings = {
        .controller = controller, .min_bps = 300e3, .start_bps = 8e6, .max_bps = 40e6, .fps = 60};
    struct controlling controlling = {.congestion = pc_congestion_create(&settings, PC_NS_PER_S)};
    if (controlling.congestion == NULL)
        tool_fail("controller", "is out of memory");
    measure(name, control, &controlling);
    pc_congestion_destroy(controlling.congestion);
}

int main(int argc, char **argv)
{
    tool_begin(argc, argv);
    long port = tool_number(argc, argv, "to", 0);
    budget_ns = (uint64_t)tool_number(argc, argv, "ms", 200) * PC_NS_PER_MS;
    if (port < 1 || port > 65535)
        tool_fail("to", "takes the port of a drain");
    sink = (struct sockaddr_in){.sin_family = AF_INET,
                                .sin_port = htons((uint16_t)port),
                                .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    uint32_t random = 1;
    for (size_t i = 0; i < sizeof payload; i++) {
        random = random * 1664525u + 1013904223u;
        payload[i] = (uint8_t)(random >> 24) | 1; /* no start codes */
    }

    measure_packetizing();
    measure_protection(PC_SRTP_AEAD_AES_128_GCM, "gcm");
    measure_protection(PC_SRTP_AEAD_AES_256_GCM, "gcm256");
    measure_protection(PC_SRTP_AES128_CM_SHA1_80, "cm");
    measure_sending();
    measure_path(PC_SRTP_AEAD_AES_128_GCM, "path.gcm", BURST_PACKETS);
    measure_path(PC_SRTP_AEAD_AES_128_GCM, "path.gcm_22", 22); /* 12 Mbit/s at 60 fps */
    measure_path(PC_SRTP_AES128_CM_SHA1_80, "path.cm", BURST_PACKETS);
    measure_controller(PC_CONTROLLER_TRAIN, "controller.train");
    measure_controller(PC_CONTROLLER_GCC, "controller.gcc");
    printf(", \"sent\": %llu}\n", (unsigned long long)sent);
    return 0;
}
