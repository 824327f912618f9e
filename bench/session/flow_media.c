/* A stream of the core's: the real frame schedule, sender (queue, pacing, controller, FEC, RTX) and
 * receiver (feedback, NACK, repair, frames), with SRTP between them. Only the encoder is a model:
 * it makes access units of about the size that it is asked for, IDRs and references as it is told.
 *
 *   flow media NAME [controller=train|gcc|fixed] [max=20M] [min=0] [begin=0] [fps=60] [fec=no]
 *                   [rtx=no] [encode=4ms] [noise=0.15] [idr=3] [fixed-fec=20%]
 *                   [still=20s-30s:200k]   between these times the picture needs only so much
 *        max: the encoder's ceiling; min, begin: of the controller, 0 = chosen
 *        fixed-fec: repair packets as a share of every frame's, instead of what losses ask for, and
 *        every retransmission is sent: what others do, to compare with */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "demux.h"
#include "packetize.h"
#include "receiver.h"
#include "sender.h"
#include "session.h"
#include "settings.h"
#include "stream_schedule.h"
#include "tool.h"

#define EPOCH_NS      1000000000000ull /* the core's time of the session's zero */
#define NTP_EPOCH     3900000000ull    /* seconds since 1900 at the session's zero */
#define WIRE_OVERHEAD 28               /* IPv4, UDP */
#define FRAMES        1024             /* power of two; captured and not yet forgotten */
#define SLICES        4
#define ALLOT_NS      5000000
#define IDR_SPACING   300000000 /* as pc_stream_settings has it by default */
#define BUDGET        1.25      /* frames: what the rate control holds a P frame to */
#define KEY_BYTES     28

enum { PT = 96, RTX_PT = 97, FEC_PT = 98, CC_ID = 3, DESCRIPTOR_ID = 5 };

struct captured {
    uint32_t timestamp; /* RTP, on the wire */
    uint64_t captured_ns;
};

struct media {
    struct flow flow;
    struct pc_media_settings settings;
    int ceiling, fps;
    double noise, idr_factor, still_bps, debt, fixed_fec;
    uint64_t still_from_ns, still_until_ns, encode_ns;

    /* sender's side */
    struct pc_udp udp;
    struct pc_transport transport;
    struct pc_sender sender;
    struct pc_feed feed;
    struct pc_au_pool *pool;
    struct pc_h264_packetizer packetizer;
    struct pc_schedule schedule;
    struct pc_access_unit *encoding; /* until encoded_ns */
    uint64_t encoded_ns, frame_id, handed_over, last_idr_ns, reference;
    uint64_t next_slot_ns, next_pump_ns, next_tick_ns, next_allot_ns;
    struct pc_hub_stats hub;
    struct pc_peer_stats before;
    uint64_t skipped_before;
    uint8_t scratch[PC_SENDER_SCRATCH];
    uint8_t nal[PC_MAX_PAYLOADS * PC_MAX_PAYLOAD];
    struct captured captured[FRAMES];

    /* receiver's side */
    struct pc_receiver *receiver;
    struct pc_srtp *inbound, *outbound;
    uint64_t next_receive_ns, now_ns;
};

static struct media *media_of(const struct flow *flow)
{
    return (struct media *)(uintptr_t)flow;
}

static uint64_t core_ns(uint64_t now_ns)
{
    return EPOCH_NS + now_ns;
}

static uint64_t ntp(uint64_t now_ns)
{
    uint64_t s = now_ns / 1000000000, rest = now_ns % 1000000000;
    return (NTP_EPOCH + s) << 32 | (rest << 32) / 1000000000;
}

static uint64_t session_time(uint64_t core)
{
    return core == UINT64_MAX ? core : core > EPOCH_NS ? core - EPOCH_NS : 0;
}

/* What others do, instead of loss_control.c's judgement (the linker puts these in its place). The
 * struct is the sender's: where it belongs to a flow with a fixed share, that counts. */

int __real_pc_loss_control_repairs(const struct pc_loss_control *control, int packets, bool idr,
                                   uint64_t now_ns);
int __wrap_pc_loss_control_repairs(const struct pc_loss_control *control, int packets, bool idr,
                                   uint64_t now_ns);
struct pc_resend __real_pc_loss_control_resend(const struct pc_loss_control *control,
                                               uint64_t sent_ns, uint64_t now_ns, bool again);
struct pc_resend __wrap_pc_loss_control_resend(const struct pc_loss_control *control,
                                               uint64_t sent_ns, uint64_t now_ns, bool again);

static const struct media *owner(const struct pc_loss_control *control)
{
    return (const struct media *)(const void *)((const char *)control -
                                                offsetof(struct media, sender.rate.loss));
}

int __wrap_pc_loss_control_repairs(const struct pc_loss_control *control, int packets, bool idr,
                                   uint64_t now_ns)
{
    double share = owner(control)->fixed_fec;
    if (share > 0)
        return (int)ceil(share * packets);
    return __real_pc_loss_control_repairs(control, packets, idr, now_ns);
}

struct pc_resend __wrap_pc_loss_control_resend(const struct pc_loss_control *control,
                                               uint64_t sent_ns, uint64_t now_ns, bool again)
{
    if (owner(control)->fixed_fec > 0)
        return (struct pc_resend){.copies = 1};
    return __real_pc_loss_control_resend(control, sent_ns, now_ns, again);
}

/* The encoder. */

static void append_nal(struct media *media, uint8_t header, size_t size, bool last)
{
    media->nal[0] = header;
    pc_packetize_h264(&media->packetizer, media->encoding, media->nal, size, last);
}

static size_t frame_bytes(struct media *media, bool idr, uint64_t now_ns)
{
    double bps = atomic_load(&media->feed.bitrate);
    if (now_ns >= media->still_from_ns && now_ns < media->still_until_ns)
        bps = fmin(bps, media->still_bps);
    double ideal = bps / 8 / media->fps;
    double size = ideal * exp(media->noise * session_normal(media->flow.session));
    size = fmin(size - 0.2 * media->debt, BUDGET * ideal);
    if (idr)
        size = ideal * media->idr_factor;
    size = fmax(size, 200);
    media->debt = fmin(fmax(media->debt + size - ideal, -2 * ideal), 2 * ideal);
    return (size_t)fmin(size, sizeof media->nal * 0.9);
}

/* What the frame refers to, after what receivers say that they lack. */
static void follow_losses(struct media *media)
{
    uint64_t first, last;
    if (!pc_feed_take_losses(&media->feed, &first, &last))
        return;
    if (first > 0 && first + 16 > media->frame_id)
        media->reference = first - 1;
    else
        pc_feed_request_idr(&media->feed);
}

static void encode(struct media *media, uint64_t now_ns)
{
    struct pc_access_unit *au = pc_au_acquire(media->pool);
    if (au == NULL)
        return;
    follow_losses(media);
    bool idr = media->frame_id == 0 ||
               (atomic_load(&media->feed.idr_wanted) &&
                pc_schedule_idr_allowed(&media->schedule, media->last_idr_ns, core_ns(now_ns)));
    if (idr) {
        atomic_store(&media->feed.idr_wanted, false);
        media->last_idr_ns = core_ns(now_ns);
    }
    au->clock = NULL;
    au->frame_id = media->frame_id;
    au->capture_ns = core_ns(now_ns);
    au->rtp_time = (uint32_t)(now_ns * 9 / 100000);
    au->codec = PC_CODEC_H264;
    au->idr = idr;
    au->reference = idr ? media->frame_id : media->reference;
    media->reference = media->frame_id++;
    media->encoding = au;
    media->encoded_ns = now_ns + media->encode_ns;

    size_t size = frame_bytes(media, idr, now_ns);
    if (idr) {
        append_nal(media, 0x67, 20, false);
        append_nal(media, 0x68, 5, false);
    }
    for (int i = 0; i < SLICES; i++)
        append_nal(media, idr ? 0x65 : 0x41, size / SLICES, i + 1 == SLICES);
    uint32_t timestamp = au->rtp_time + media->sender.rtp_offset;
    media->captured[au->frame_id % FRAMES] = (struct captured){timestamp, now_ns};
    record_captured(&media->flow.record, now_ns);
}

static void hand_over(struct media *media, uint64_t now_ns)
{
    struct pc_access_unit *au = media->encoding;
    media->encoding = NULL;
    media->handed_over = au->frame_id + 1;
    if (!pc_sender_offer(&media->sender, &media->feed, au, core_ns(now_ns)))
        pc_feed_drain(&media->feed, au->frame_id);
    pc_au_unref(au);
    media->next_pump_ns = now_ns;
}

/* Take a frame if one is due, as the stream does. */
static void frame_slot(struct media *media, uint64_t now_ns)
{
    media->next_slot_ns = UINT64_MAX;
    if (media->encoding != NULL)
        return;
    if (!flow_active(&media->flow, now_ns)) {
        record_pause(&media->flow.record);
        if (now_ns < media->flow.resume_ns)
            media->next_slot_ns = media->flow.resume_ns;
        return;
    }
    uint64_t now = core_ns(now_ns);
    struct pc_schedule_news news = {0};
    news.encodes[0] = (struct pc_schedule_encode){
        .receiving = true,
        .behind = atomic_load(&media->feed.has_losses),
        .idr_wanted = atomic_load(&media->feed.idr_wanted),
        .drained = atomic_load(&media->feed.drained) >= media->handed_over,
        .last_idr_ns = media->last_idr_ns,
    };
    uint64_t due = pc_schedule_due(&media->schedule, &news, now);
    if (due <= now)
        due = pc_schedule_start(&media->schedule, &news, now);
    if (due <= now) {
        encode(media, now_ns);
        pc_schedule_finish(&media->schedule, false, now);
    } else {
        media->next_slot_ns = session_time(due);
    }
}

/* The sender. */

/* In place of the kernel: `size` bytes as datagrams of `segment` bytes each. */
static void on_sent(void *context, const uint8_t *data, size_t size, size_t segment)
{
    struct media *media = context;
    for (size_t at = 0; at < size; at += segment) {
        size_t bytes = size - at < segment ? size - at : segment;
        record_sent(&media->flow.record, RECORD_MEDIA, bytes + WIRE_OVERHEAD, media->now_ns);
        if (!session_send(&media->flow, SENDER, 0, data + at, bytes, media->now_ns))
            record_lost(&media->flow.record, media->now_ns);
    }
}

static void watch(struct media *media, uint64_t now_ns)
{
    struct pc_peer_stats stats, *before = &media->before;
    struct record *record = &media->flow.record;
    struct bin *bin = record_bin(record, now_ns);
    pc_sender_get_stats(&media->sender, &stats);
    record_share(record, RECORD_RTX, stats.rtx_bytes - before->rtx_bytes, now_ns);
    record_share(record, RECORD_FEC, stats.fec_bytes - before->fec_bytes, now_ns);
    record_share(record, RECORD_PADDING, stats.padding_bytes - before->padding_bytes, now_ns);
    bin->skipped += (double)(stats.frames_dropped - before->frames_dropped);
    bin->skipped += (double)(media->schedule.skipped - media->skipped_before);
    media->skipped_before = media->schedule.skipped;
    *before = stats;
    bin->target_bps = stats.target_bps;
    bin->estimate_ms = stats.queue_ms;
    bin->state = (int)stats.congestion;
}

static void allot(struct media *media, uint64_t now_ns)
{
    double bps = fmin(media->sender.rate.media_bps, atomic_load(&media->feed.ceiling));
    atomic_store(&media->feed.bitrate, (int)bps);
    media->next_allot_ns = now_ns + ALLOT_NS;
    watch(media, now_ns);
}

static void serve(struct media *media, uint64_t now_ns)
{
    uint64_t now = core_ns(now_ns);
    media->now_ns = now_ns;
    if (media->encoding != NULL && media->encoded_ns <= now_ns)
        hand_over(media, now_ns);
    if (media->next_allot_ns <= now_ns)
        allot(media, now_ns);
    media->next_tick_ns =
        session_time(pc_sender_tick(&media->sender, media->scratch, now, ntp(now_ns), &media->hub));
    media->next_pump_ns =
        session_time(pc_sender_pump(&media->sender, media->scratch, now, &media->hub));
    frame_slot(media, now_ns);
}

/* The receiver. */

static void on_unit(void *context, const struct pc_received_unit *unit)
{
    struct media *media = context;
    for (int i = 0; i < FRAMES; i++) {
        const struct captured *captured = &media->captured[i];
        if (captured->timestamp == unit->rtp_time && captured->captured_ns <= media->now_ns) {
            record_frame(&media->flow.record, unit->size, captured->captured_ns, media->now_ns);
            return;
        }
    }
}

static void on_rtcp(void *context, uint8_t *data, size_t size)
{
    struct media *media = context;
    long protected_bytes = pc_srtp_protect_rtcp(media->outbound, data, size);
    if (protected_bytes > 0)
        session_send(&media->flow, RECEIVER, 0, data, (size_t)protected_bytes, media->now_ns);
}

static void receive(struct media *media, uint64_t now_ns)
{
    media->now_ns = now_ns;
    media->next_receive_ns =
        session_time(pc_receiver_tick(media->receiver, core_ns(now_ns), ntp(now_ns)));
}

static void arrive_at_receiver(struct media *media, uint8_t *data, size_t size, uint64_t now_ns)
{
    if (pc_demux(data, size) == PC_DATAGRAM_RTCP) {
        long plain = pc_srtp_unprotect_rtcp(media->inbound, data, size);
        if (plain > 0)
            pc_receiver_rtcp(media->receiver, data, (size_t)plain, core_ns(now_ns), ntp(now_ns));
    } else {
        long plain = pc_srtp_unprotect(media->inbound, data, size);
        if (plain > 0)
            pc_receiver_packet(media->receiver, data, (size_t)plain, core_ns(now_ns));
    }
    receive(media, now_ns);
}

static void arrive_at_sender(struct media *media, uint8_t *data, size_t size, uint64_t now_ns)
{
    long plain = pc_srtp_unprotect_rtcp(media->transport.inbound, data, size);
    if (plain > 0)
        pc_sender_receive_rtcp(&media->sender, data, (size_t)plain, media->scratch, core_ns(now_ns),
                               ntp(now_ns), &media->hub);
    serve(media, now_ns);
}

static void media_arrive(struct flow *flow, enum side at, const struct pc_link_packet *packet,
                         uint64_t now_ns)
{
    struct media *media = media_of(flow);
    uint8_t data[PC_UDP_DATAGRAM];
    if (packet->size > sizeof data)
        return;
    memcpy(data, packet->data, packet->size);
    media->now_ns = now_ns;
    if (at == RECEIVER)
        arrive_at_receiver(media, data, packet->size, now_ns);
    else
        arrive_at_sender(media, data, packet->size, now_ns);
}

static uint64_t media_next(const struct flow *flow)
{
    const struct media *media = media_of(flow);
    uint64_t next = media->encoding != NULL ? media->encoded_ns : media->next_slot_ns;
    const uint64_t others[] = {media->next_pump_ns, media->next_tick_ns, media->next_allot_ns,
                               media->next_receive_ns};
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        next = others[i] < next ? others[i] : next;
    return next;
}

static void media_run(struct flow *flow, uint64_t now_ns)
{
    struct media *media = media_of(flow);
    serve(media, now_ns);
    if (media->next_receive_ns <= now_ns)
        receive(media, now_ns);
}

static void must(const char *what, bool good)
{
    if (!good)
        tool_fail(what, pc_error_text());
}

static void start_receiver(struct media *media, uint64_t now)
{
    struct pc_receiver_settings settings = {
        .codec = PC_H264,
        .payload_type = PT,
        .rtx_payload_type = media->settings.rtx_payload_type,
        .fec_payload_type = media->settings.fec_payload_type,
        .ssrc = media->settings.ssrc,
        .rtx_ssrc = media->settings.rtx_ssrc,
        .fec_ssrc = media->settings.fec_ssrc,
        .local_ssrc = 1,
        .transport_cc_id = CC_ID,
        .nack = media->settings.rtx_payload_type != 0,
        .transport_feedback = true,
        .cname = "viewer",
    };
    const struct pc_receiver_out out = {.context = media, .unit = on_unit, .rtcp = on_rtcp};
    media->receiver = pc_receiver_create(&settings, &out, now);
    must("receiver", media->receiver != NULL);
}

static void media_start(struct flow *flow, uint64_t now_ns)
{
    static const uint8_t key_out[KEY_BYTES] = {1, 2, 3}, key_in[KEY_BYTES] = {4, 5, 6};
    static const uint8_t random_start[16] = {0x12, 0x34, 0, 1, 0x7f, 0, 9, 9, 9, 9, 0x23};
    static const struct pc_address nowhere = {.family = 4, .ip = {127, 0, 0, 1}, .port = 9};
    struct media *media = media_of(flow);
    uint64_t now = core_ns(now_ns);
    media->udp.fd = -1;
    media->udp.sink = on_sent;
    media->udp.sink_context = media;
    media->pool = pc_au_pool_create(256);
    pc_feed_init(&media->feed, PC_CODEC_H264, 1, EPOCH_NS, -1);
    pc_feed_set_rate(&media->feed, media->ceiling, media->fps);
    pc_schedule_init(&media->schedule, media->fps, media->fps, IDR_SPACING);
    pc_transport_init(&media->transport);
    pc_sender_init(&media->sender, &media->transport);
    struct pc_srtp *outbound, *inbound;
    enum pc_srtp_profile profile = PC_SRTP_AEAD_AES_128_GCM;
    must("keys", pc_srtp_create(profile, key_out, KEY_BYTES, &outbound) == 0 &&
                     pc_srtp_create(profile, key_in, KEY_BYTES, &inbound) == 0 &&
                     pc_srtp_create(profile, key_out, KEY_BYTES, &media->inbound) == 0 &&
                     pc_srtp_create(profile, key_in, KEY_BYTES, &media->outbound) == 0 &&
                     pc_transport_set_keys(&media->transport, outbound, inbound) == 0);
    struct pc_endpoint to;
    pc_endpoint_from(&to, &nowhere);
    pc_transport_set_path(&media->transport, &media->udp, &to, &nowhere, 0);
    media->now_ns = now_ns;
    must("sender",
         pc_sender_start(&media->sender, &media->feed, &media->settings, random_start, now) == 0);
    start_receiver(media, now);
    media->next_receive_ns = now_ns;
    media_run(flow, now_ns);
}

static void media_summary(struct flow *flow, FILE *out)
{
    struct media *media = media_of(flow);
    struct pc_receiver_stats got;
    struct pc_peer_stats sent;
    if (media->receiver == NULL)
        return;
    pc_receiver_get_stats(media->receiver, &got);
    pc_sender_get_stats(&media->sender, &sent);
    fprintf(out, ", \"fps\": %d, \"slots_skipped\": %llu, \"frames_dropped\": %llu", media->fps,
            (unsigned long long)media->schedule.skipped, (unsigned long long)sent.frames_dropped);
    fprintf(out, ", \"idrs\": %llu, \"plis\": %llu, \"nacked\": %llu, \"rtx_refused\": %llu",
            (unsigned long long)got.idrs, (unsigned long long)got.plis,
            (unsigned long long)got.nacked_packets, (unsigned long long)sent.rtx_refused);
    fprintf(out, ", \"recovered_rtx\": %llu, \"recovered_fec\": %llu, \"units_dropped\": %llu",
            (unsigned long long)got.recovered_rtx, (unsigned long long)got.recovered_fec,
            (unsigned long long)got.units_dropped);
}

static void media_destroy(struct flow *flow)
{
    struct media *media = media_of(flow);
    if (media->receiver != NULL) {
        if (media->encoding != NULL)
            pc_au_unref(media->encoding);
        pc_sender_stop(&media->sender);
        pc_sender_free(&media->sender);
        pc_transport_free(&media->transport);
        pc_feed_free(&media->feed);
        pc_au_pool_release(media->pool);
        pc_receiver_destroy(media->receiver);
        pc_srtp_destroy(media->inbound);
        pc_srtp_destroy(media->outbound);
    }
    free(media);
}

static const struct flow_class class = {"media",      media_start,   media_next,   media_run,
                                        media_arrive, media_summary, media_destroy};

static bool no(const char *line, const char *key)
{
    char text[64];
    return option(line, key, text) != NULL && strcmp(text, "no") == 0;
}

static enum pc_controller controller_option(const char *line)
{
    char text[64];
    if (option(line, "controller", text) == NULL || strcmp(text, "train") == 0)
        return PC_CONTROLLER_TRAIN;
    if (strcmp(text, "gcc") == 0)
        return PC_CONTROLLER_GCC;
    if (strcmp(text, "fixed") != 0)
        tool_fail("controller", "takes train, gcc or fixed");
    return PC_CONTROLLER_FIXED;
}

static void still_option(const char *line, struct media *media)
{
    char text[64];
    if (option(line, "still", text) == NULL)
        return;
    char *until = strchr(text, '-'), *rate = strchr(text, ':');
    if (until == NULL || rate == NULL)
        tool_fail("still", "takes FROM-UNTIL:RATE such as 20s-30s:200k");
    *until++ = *rate++ = '\0';
    if (!pc_link_parse_time(text, &media->still_from_ns) ||
        !pc_link_parse_time(until, &media->still_until_ns) ||
        !pc_trace_parse_rate(rate, &media->still_bps))
        tool_fail("still", "takes FROM-UNTIL:RATE such as 20s-30s:200k");
}

struct flow *media_flow_create(const char *line, struct session *session)
{
    struct media *media = calloc(1, sizeof *media);
    (void)session;
    if (media == NULL)
        tool_fail("flow", "out of memory");
    bool rtx = !no(line, "rtx"), fec = !no(line, "fec");
    media->flow.class = &class;
    media->ceiling = (int)number_option(line, "max", 20e6);
    media->fps = (int)number_option(line, "fps", 60);
    media->noise = number_option(line, "noise", 0.15);
    media->idr_factor = number_option(line, "idr", 3);
    media->fixed_fec = number_option(line, "fixed-fec", 0);
    media->encode_ns = time_option(line, "encode", 4000000);
    still_option(line, media);
    media->settings = (struct pc_media_settings){
        .codec = PC_H264,
        .payload_type = PT,
        .rtx_payload_type = rtx ? RTX_PT : 0,
        .fec_payload_type = fec ? FEC_PT : 0,
        .ssrc = 0x1000,
        .rtx_ssrc = rtx ? 0x1001 : 0,
        .fec_ssrc = fec ? 0x1002 : 0,
        .transport_cc_id = CC_ID,
        .cname = "host",
        .controller = controller_option(line),
        .min_bitrate = (int)number_option(line, "min", 0),
        .start_bitrate = (int)number_option(line, "begin", 0),
        .player = true,
    };
    return &media->flow;
}
