#include "sender.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "clock.h"

#define CHANNEL_HEADER_BYTES 4                     /* RFC 8656 12.4 */
#define HISTORY_AGE_NS       (1000 * PC_NS_PER_MS) /* older packets cannot arrive in time */
#define REPORT_INTERVAL_NS   (1000 * PC_NS_PER_MS)
#define RETRY_NS             (PC_NS_PER_MS / 2)
#define PACE_STEP_NS         (PC_NS_PER_MS / 4) /* waking more often costs more than it gives */
#define DEFAULT_PACING       4.0
#define DEFAULT_RTX_SHARE    0.25
#define ORDINARY_FRAME       1.25 /* shares of the bitrate: the budget that the encoder is held to */

void pc_sender_init(struct pc_sender *sender, uint32_t id)
{
    memset(sender, 0, sizeof *sender);
    sender->id = id;
    sender->stats.rtt_ms = -1;
    pc_history_init(&sender->history);
}

/* What is given up counts as taken: the stream must not wait for it. */
static void clear_queue(struct pc_sender *sender)
{
    while (sender->length > 0) {
        pc_feed_drain(sender->feed, sender->queue[sender->head]->frame_id);
        pc_au_unref(sender->queue[sender->head]);
        sender->head = (sender->head + 1) % PC_SENDER_QUEUE;
        sender->length--;
    }
    sender->next_payload = 0;
}

void pc_sender_free(struct pc_sender *sender)
{
    assert(sender->feed == NULL);
    pc_srtp_destroy(sender->outbound);
    pc_srtp_destroy(sender->inbound);
    sender->outbound = sender->inbound = NULL;
}

static uint32_t read_u32(const uint8_t *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static void write_u16(uint8_t *p, uint16_t value)
{
    p[0] = (uint8_t)(value >> 8);
    p[1] = (uint8_t)value;
}

static double frame_share_bytes(const struct pc_feed *feed)
{
    return (double)atomic_load(&feed->bitrate) / 8.0 / atomic_load(&feed->fps);
}

/* Rates follow the encoder's bitrate. An ordinary frame goes out as fast as its slices are ready;
 * what is beyond that, an IDR, is spread. */
static void follow_bitrate(struct pc_sender *sender, uint64_t now_ns)
{
    int bitrate = atomic_load(&sender->feed->bitrate);
    if (bitrate == sender->pacer_bitrate)
        return;
    double factor = sender->media.pacing_factor > 0 ? sender->media.pacing_factor : DEFAULT_PACING;
    double share = sender->media.rtx_share > 0 ? sender->media.rtx_share : DEFAULT_RTX_SHARE;
    double frame = frame_share_bytes(sender->feed);
    if (frame < 4.0 * PC_MAX_PAYLOAD)
        frame = 4.0 * PC_MAX_PAYLOAD;
    pc_pacer_init(&sender->pacer, bitrate * factor, frame * ORDINARY_FRAME, now_ns);
    pc_pacer_init(&sender->rtx_budget, bitrate * share, frame, now_ns);
    sender->pacer_bitrate = bitrate;
}

int pc_sender_start(struct pc_sender *sender, struct pc_feed *feed,
                    const struct pc_media_settings *media, const uint8_t random[16],
                    uint64_t now_ns)
{
    if (sender->udp == NULL)
        return pc_fail(-EINVAL, "the peer has no path yet: set it before sending");
    if (sender->outbound == NULL)
        return pc_fail(-EINVAL, "the peer has no keys yet: set them before sending");
    if (sender->feed != NULL)
        return pc_fail(-EINVAL, "the peer receives a stream already");
    if (media->payload_type > 127 || media->rtx_payload_type > 127)
        return pc_fail(-EINVAL, "a payload type is a number from 0 to 127");

    sender->media = *media;
    sender->extensions = (struct pc_rtp_extensions){
        .mid_id = media->mid_id,
        .abs_send_time_id = media->abs_send_time_id,
        .transport_cc_id = media->transport_cc_id,
        .playout_delay_id = media->playout_delay_id,
        .playout_min = media->playout_min_10ms,
        .playout_max = media->playout_max_10ms,
    };
    memcpy(sender->extensions.mid, media->mid, sizeof sender->extensions.mid);
    sender->extensions.mid[sizeof sender->extensions.mid - 1] = '\0';
    sender->media.cname[sizeof sender->media.cname - 1] = '\0';

    /* The first sequence number is below 2^15, so that a receiver that misses the first packets
     * still guesses the rollover counter right (RFC 3711 3.3.1). */
    sender->next_index = ((uint32_t)random[0] << 8 | random[1]) & 0x7fff;
    sender->next_rtx_index = ((uint32_t)random[2] << 8 | random[3]) & 0x7fff;
    sender->transport_sequence = (uint16_t)(random[4] << 8 | random[5]);
    sender->rtp_offset = read_u32(random + 6);
    sender->mid_wanted = true;
    sender->waiting_for_idr = true;
    sender->pacer_bitrate = 0;
    sender->next_report_ns = now_ns;
    sender->feed = feed;
    follow_bitrate(sender, now_ns);
    pc_feed_add_receiver(feed);
    pc_feed_request_idr(feed);
    return 0;
}

void pc_sender_stop(struct pc_sender *sender)
{
    clear_queue(sender);
    pc_history_clear(&sender->history);
    if (sender->feed != NULL)
        pc_feed_remove_receiver(sender->feed);
    sender->feed = NULL;
}

/* Give up what waits and go on at the next IDR. */
static void drop_queue(struct pc_sender *sender)
{
    sender->stats.frames_dropped += sender->length;
    clear_queue(sender);
    sender->waiting_for_idr = true;
    pc_feed_request_idr(sender->feed);
}

bool pc_sender_offer(struct pc_sender *sender, struct pc_access_unit *au, uint64_t now_ns)
{
    if (sender->waiting_for_idr && !au->idr)
        return false;
    if (sender->length == PC_SENDER_QUEUE ||
        (sender->length > 0 && now_ns - sender->queued_ns[sender->head] > PC_SENDER_QUEUE_NS)) {
        drop_queue(sender);
        if (!au->idr)
            return false;
    }
    sender->waiting_for_idr = false;
    unsigned tail = (sender->head + sender->length++) % PC_SENDER_QUEUE;
    sender->queue[tail] = pc_au_ref(au);
    sender->queued_ns[tail] = now_ns;
    return true;
}

/* Hand datagrams of `segment` bytes to the kernel, and count. What a full kernel buffer refuses is
 * lost like any other packet: sending it again under the same packet index with other extension
 * values would use an AEAD nonce twice. */
static void transmit(struct pc_sender *sender, const uint8_t *data, size_t size, size_t segment,
                     uint64_t now_ns, struct pc_hub_stats *hub)
{
    uint64_t count = (size + segment - 1) / segment;
    int sent = pc_udp_send(sender->udp, &sender->to, data, size, segment);
    hub->send_calls++;
    if (sent < 0 || (uint64_t)sent < count) {
        hub->send_errors++;
        sender->retry_ns = now_ns + RETRY_NS;
    }
    hub->sent_packets += count;
    hub->sent_bytes += size;
}

/* Write one protected packet at `out`, behind its channel header if there is one. Returns its bytes
 * on the wire, 0 when the cipher failed. */
static size_t write_packet(struct pc_sender *sender, uint8_t *out, struct pc_rtp_fields *fields,
                           uint64_t index, const struct pc_piece *pieces, int piece_count)
{
    uint8_t *packet = out + (sender->channel != 0 ? CHANNEL_HEADER_BYTES : 0);
    fields->sequence = (uint16_t)index;
    fields->transport_sequence = sender->transport_sequence;
    size_t header = pc_rtp_write(packet, fields, &sender->extensions, sender->mid_wanted);
    long size = pc_srtp_protect(sender->outbound, index, packet, header, pieces, piece_count);
    if (size <= 0)
        return 0;
    sender->transport_sequence++;
    if (sender->channel != 0) {
        write_u16(out, sender->channel);
        write_u16(out + 2, (uint16_t)size);
    }
    return (size_t)(packet - out) + (size_t)size;
}

/* Send one batch of the unit at the head: packets of one size, the last one possibly shorter.
 * Returns the bytes sent. */
static size_t send_batch(struct pc_sender *sender, struct pc_access_unit *au, uint32_t ready,
                         bool complete, uint8_t *scratch, double budget, uint64_t now_ns,
                         struct pc_hub_stats *hub)
{
    struct pc_rtp_fields fields = {
        .payload_type = sender->media.payload_type,
        .timestamp = au->rtp_time + sender->rtp_offset,
        .ssrc = sender->media.ssrc,
        .send_ns = now_ns,
    };
    size_t used = 0, segment = 0;
    int packets = 0;
    while (sender->next_payload < ready && packets < PC_UDP_MAX_SEGMENTS) {
        const struct pc_payload *payload = &au->payloads[sender->next_payload];
        struct pc_piece piece = {.data = payload->data, .size = payload->size};
        size_t first = au->payloads[sender->next_payload - (uint32_t)packets].size;
        bool fits = used + segment <= PC_UDP_MAX_BATCH && (double)used < budget;
        if (packets > 0 && (payload->size > first || !fits))
            break;
        fields.marker = complete && sender->next_payload + 1 == ready;
        size_t size = write_packet(sender, scratch + used, &fields, sender->next_index, &piece, 1);
        pc_history_add(&sender->history, au, sender->next_payload, sender->next_index, now_ns,
                       HISTORY_AGE_NS);
        sender->next_index++;
        sender->next_payload++;
        if (size == 0)
            break;
        used += size;
        packets++;
        sender->stats.bytes += size;
        sender->stats.packets++;
        if (packets == 1)
            segment = size;
        if (size < segment)
            break;
    }
    if (packets > 0)
        transmit(sender, scratch, used, segment, now_ns, hub);
    return used;
}

uint64_t pc_sender_pump(struct pc_sender *sender, uint8_t *scratch, uint64_t now_ns,
                        struct pc_hub_stats *hub)
{
    if (sender->feed == NULL || sender->length == 0)
        return UINT64_MAX;
    if (now_ns < sender->retry_ns)
        return sender->retry_ns;
    follow_bitrate(sender, now_ns);
    while (sender->length > 0) {
        struct pc_access_unit *au = sender->queue[sender->head];
        bool complete;
        uint32_t ready = pc_au_ready(au, &complete);
        while (sender->next_payload < ready) {
            double budget = pc_pacer_budget(&sender->pacer, now_ns);
            if (budget <= 0) {
                uint64_t next = pc_pacer_next(&sender->pacer, 2 * PC_MAX_PAYLOAD, now_ns);
                return next < now_ns + PACE_STEP_NS ? now_ns + PACE_STEP_NS : next;
            }
            size_t bytes = send_batch(sender, au, ready, complete, scratch, budget, now_ns, hub);
            pc_pacer_spend(&sender->pacer, bytes);
            if (au->clock != NULL)
                pc_frame_mark(au->clock, PC_STAGE_FIRST_SENT, pc_now_ns());
        }
        if (!complete)
            return UINT64_MAX;
        if (au->clock != NULL)
            pc_frame_mark(au->clock, PC_STAGE_LAST_SENT, pc_now_ns());
        sender->stats.frames++;
        pc_feed_drain(sender->feed, au->frame_id);
        pc_au_unref(au);
        sender->head = (sender->head + 1) % PC_SENDER_QUEUE;
        sender->length--;
        sender->next_payload = 0;
    }
    return UINT64_MAX;
}

/* ---- Feedback ----------------------------------------------------------------------------------
 */

static bool resent_just_now(struct pc_sender *sender, uint16_t sequence)
{
    unsigned slot = sequence % PC_RTX_MEMORY;
    if (sender->rtx_memory[slot].sequence == sequence && sender->rtx_memory[slot].sent_ns != 0 &&
        sender->now_ns - sender->rtx_memory[slot].sent_ns < PC_RTX_SPACING_NS)
        return true;
    sender->rtx_memory[slot].sequence = sequence;
    sender->rtx_memory[slot].sent_ns = sender->now_ns;
    return false;
}

struct feedback {
    struct pc_sender *sender;
    struct pc_hub_stats *hub;
};

/* Retransmit by RTX (RFC 4588): a stream of its own whose payload starts with the original sequence
 * number. Without RTX nothing is resent: the same packet again would use an AEAD nonce twice. */
static void on_nack(void *context, uint32_t media_ssrc, uint16_t sequence)
{
    struct feedback *feedback = context;
    struct pc_sender *sender = feedback->sender;
    if (media_ssrc != sender->media.ssrc || sender->feed == NULL)
        return;
    sender->stats.nacked_packets++;
    uint32_t payload_index;
    struct pc_access_unit *au = pc_history_find(&sender->history, sequence, &payload_index);
    if (au == NULL || sender->media.rtx_payload_type == 0 ||
        pc_pacer_budget(&sender->rtx_budget, sender->now_ns) <= 0 ||
        resent_just_now(sender, sequence)) {
        sender->stats.rtx_refused++;
        return;
    }
    bool complete;
    uint32_t ready = pc_au_ready(au, &complete);
    uint8_t original[2];
    write_u16(original, sequence);
    struct pc_piece pieces[2] = {
        {.data = original, .size = sizeof original},
        {.data = au->payloads[payload_index].data, .size = au->payloads[payload_index].size},
    };
    struct pc_rtp_fields fields = {
        .marker = complete && payload_index + 1 == ready,
        .payload_type = sender->media.rtx_payload_type,
        .timestamp = au->rtp_time + sender->rtp_offset,
        .ssrc = sender->media.rtx_ssrc,
        .send_ns = sender->now_ns,
    };
    size_t size =
        write_packet(sender, sender->scratch, &fields, sender->next_rtx_index++, pieces, 2);
    if (size == 0)
        return;
    transmit(sender, sender->scratch, size, size, sender->now_ns, feedback->hub);
    pc_pacer_spend(&sender->rtx_budget, size);
    pc_pacer_spend(&sender->pacer, size);
    sender->stats.rtx_packets++;
    sender->stats.rtx_bytes += size;
}

static void on_pli(void *context, uint32_t media_ssrc)
{
    struct pc_sender *sender = ((struct feedback *)context)->sender;
    if (media_ssrc != sender->media.ssrc || sender->feed == NULL)
        return;
    sender->stats.plis++;
    pc_feed_request_idr(sender->feed);
}

static void on_fir(void *context, uint32_t media_ssrc, uint8_t command_sequence)
{
    struct pc_sender *sender = ((struct feedback *)context)->sender;
    if (media_ssrc != sender->media.ssrc || sender->feed == NULL)
        return;
    /* A repeated command has the same number (RFC 5104 4.3.1.2). */
    if (sender->fir_seen && sender->fir_sequence == command_sequence)
        return;
    sender->fir_seen = true;
    sender->fir_sequence = command_sequence;
    sender->stats.firs++;
    pc_feed_request_idr(sender->feed);
}

static void on_remb(void *context, uint64_t bitrate)
{
    ((struct feedback *)context)->sender->stats.remb_bps = bitrate;
}

static void on_bye(void *context, uint32_t ssrc)
{
    (void)ssrc;
    ((struct feedback *)context)->sender->said_bye = true;
}

static void on_transport_feedback(void *context, const struct pc_rtcp_transport_feedback *feedback)
{
    (void)feedback;
    ((struct feedback *)context)->sender->stats.feedback_packets++;
}

/* The middle 32 bits of an NTP time, as reports carry it (RFC 3550 4). */
static uint32_t middle_ntp(uint64_t ntp)
{
    return (uint32_t)(ntp >> 16);
}

static void on_report(void *context, const struct pc_rtcp_report *report)
{
    struct pc_sender *sender = ((struct feedback *)context)->sender;
    if (sender->feed == NULL || report->ssrc != sender->media.ssrc)
        return;
    sender->reported = sender->reported || sender->stats.reports == 0;
    sender->stats.reports++;
    sender->mid_wanted = false;
    sender->stats.loss = report->fraction_lost / 256.0;
    sender->stats.jitter_ms = report->jitter / 90.0;
    if (report->last_sr != 0) {
        uint32_t rtt = middle_ntp(sender->ntp_now) - report->last_sr - report->delay_since_last_sr;
        if (rtt < 0x80000000u)
            sender->stats.rtt_ms = rtt * 1000.0 / 65536.0;
    }
}

int pc_sender_receive_rtcp(struct pc_sender *sender, uint8_t *data, size_t size, uint8_t *scratch,
                           uint64_t now_ns, uint64_t ntp_now, struct pc_hub_stats *hub)
{
    if (sender->inbound == NULL)
        return -EPERM;
    long length = pc_srtp_unprotect_rtcp(sender->inbound, data, size);
    if (length < 0)
        return (int)length;

    struct feedback feedback = {.sender = sender, .hub = hub};
    const struct pc_rtcp_handler handler = {
        .context = &feedback,
        .report = on_report,
        .nack = on_nack,
        .pli = on_pli,
        .fir = on_fir,
        .remb = on_remb,
        .bye = on_bye,
        .transport_feedback = on_transport_feedback,
    };
    sender->now_ns = now_ns;
    sender->ntp_now = ntp_now;
    sender->scratch = scratch;
    sender->stats.rtcp_packets++;
    if (pc_rtcp_parse(data, (size_t)length, &handler) < 0)
        sender->stats.rtcp_malformed++;
    sender->scratch = NULL;
    return 0;
}

static void transmit_rtcp(struct pc_sender *sender, uint8_t *out, uint8_t *packet, long size,
                          uint64_t now_ns, struct pc_hub_stats *hub)
{
    if (size < 0)
        return;
    size = pc_srtp_protect_rtcp(sender->outbound, packet, (size_t)size);
    if (size < 0)
        return;
    if (sender->channel != 0) {
        write_u16(out, sender->channel);
        write_u16(out + 2, (uint16_t)size);
    }
    size_t total = (size_t)(packet - out) + (size_t)size;
    transmit(sender, out, total, total, now_ns, hub);
}

uint64_t pc_sender_tick(struct pc_sender *sender, uint8_t *scratch, uint64_t now_ns,
                        uint64_t ntp_now, struct pc_hub_stats *hub)
{
    if (sender->feed == NULL)
        return UINT64_MAX;
    if (now_ns < sender->next_report_ns)
        return sender->next_report_ns;
    sender->next_report_ns = now_ns + REPORT_INTERVAL_NS;
    pc_history_expire(&sender->history, now_ns, HISTORY_AGE_NS);

    uint64_t since_epoch = now_ns - sender->feed->epoch_ns;
    struct pc_rtcp_sender_info info = {
        .ssrc = sender->media.ssrc,
        .ntp = ntp_now,
        .rtp_timestamp = (uint32_t)(since_epoch * 9 / 100000) + sender->rtp_offset,
        .packets = (uint32_t)sender->stats.packets,
        .octets = (uint32_t)sender->stats.bytes,
    };
    uint8_t *packet = scratch + (sender->channel != 0 ? CHANNEL_HEADER_BYTES : 0);
    long size = pc_rtcp_write_sr(packet, 1200, &info, sender->media.cname);
    transmit_rtcp(sender, scratch, packet, size, now_ns, hub);
    return sender->next_report_ns;
}

void pc_sender_bye(struct pc_sender *sender, uint8_t *scratch, uint64_t now_ns,
                   struct pc_hub_stats *hub)
{
    if (sender->feed == NULL || sender->udp == NULL || sender->outbound == NULL)
        return;
    uint32_t ssrcs[2] = {sender->media.ssrc, sender->media.rtx_ssrc};
    uint8_t *packet = scratch + (sender->channel != 0 ? CHANNEL_HEADER_BYTES : 0);
    int count = sender->media.rtx_payload_type != 0 ? 2 : 1;
    long size = pc_rtcp_write_bye(packet, 1200, ssrcs, count, sender->media.cname);
    transmit_rtcp(sender, scratch, packet, size, now_ns, hub);
}
