#include "sender_packet.h"

#include "clock.h"

#define REPORT_INTERVAL_NS (1000 * PC_NS_PER_MS)
#define RTCP_BYTES         1200

/* ---- What the receiver says ---- */

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

/* Looked at before the history, which a flood of requests would have searched for nothing. */
static bool may_resend(struct pc_sender *sender)
{
    return sender->media.rtx_payload_type != 0 && sender->transport->udp != NULL &&
           pc_pacer_budget(&sender->rtx_budget, sender->now_ns) > 0 &&
           pc_udp_flush(sender->transport->udp);
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
    struct pc_access_unit *au = NULL;
    if (may_resend(sender))
        au = pc_history_find(&sender->history, sequence, &payload_index);
    if (au == NULL || resent_just_now(sender, sequence)) {
        sender->stats.rtx_refused++;
        return;
    }
    bool complete;
    uint32_t ready = pc_au_ready(au, &complete);
    const uint8_t original[2] = {(uint8_t)(sequence >> 8), (uint8_t)sequence};
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
    size_t size = pc_sender_write_packet(sender, sender->scratch, &fields, sender->next_rtx_index++,
                                         pieces, 2);
    if (size == 0)
        return;
    pc_transport_send(sender->transport, sender->scratch, size, size, sender->now_ns,
                      feedback->hub);
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
    struct pc_sender *sender = ((struct feedback *)context)->sender;
    if (!sender->bye_heard) /* said once, however often it is repeated */
        sender->said_bye = true;
    sender->bye_heard = true;
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

void pc_sender_receive_rtcp(struct pc_sender *sender, const uint8_t *data, size_t size,
                            uint8_t *scratch, uint64_t now_ns, uint64_t ntp_now,
                            struct pc_hub_stats *hub)
{
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
    uint64_t nacked_before = sender->stats.nacked_packets;
    if (pc_rtcp_parse(data, size, &handler) < 0)
        sender->stats.rtcp_malformed++;
    sender->stats.nacks += sender->stats.nacked_packets != nacked_before;
    sender->scratch = NULL;
}

/* ---- What the sender says ---- */

uint64_t pc_sender_tick(struct pc_sender *sender, uint8_t *scratch, uint64_t now_ns,
                        uint64_t ntp_now, struct pc_hub_stats *hub)
{
    if (sender->feed == NULL || sender->transport->udp == NULL)
        return UINT64_MAX;
    if (now_ns < sender->next_report_ns)
        return sender->next_report_ns;
    sender->next_report_ns = now_ns + REPORT_INTERVAL_NS;
    pc_history_expire(&sender->history, now_ns, PC_HISTORY_AGE_NS);

    uint64_t since_epoch = now_ns - sender->feed->epoch_ns;
    struct pc_rtcp_sender_info info = {
        .ssrc = sender->media.ssrc,
        .ntp = ntp_now,
        .rtp_timestamp = (uint32_t)(since_epoch * 9 / 100000) + sender->rtp_offset,
        .packets = (uint32_t)sender->stats.packets,
        .octets = (uint32_t)sender->payload_bytes,
    };
    long size = pc_rtcp_write_sr(pc_transport_room(sender->transport, scratch), RTCP_BYTES, &info,
                                 sender->media.cname);
    pc_transport_send_rtcp(sender->transport, scratch, size, now_ns, hub);
    return sender->next_report_ns;
}

void pc_sender_bye(struct pc_sender *sender, uint8_t *scratch, uint64_t now_ns,
                   struct pc_hub_stats *hub)
{
    if (sender->feed == NULL || sender->transport->udp == NULL ||
        sender->transport->outbound == NULL)
        return;
    uint32_t ssrcs[2] = {sender->media.ssrc, sender->media.rtx_ssrc};
    int count = sender->media.rtx_payload_type != 0 ? 2 : 1;
    long size = pc_rtcp_write_bye(pc_transport_room(sender->transport, scratch), RTCP_BYTES, ssrcs,
                                  count, sender->media.cname);
    pc_transport_send_rtcp(sender->transport, scratch, size, now_ns, hub);
}
