#include "sender.h"

#include "clock.h"
#include "sender_repair.h"

#define REPORT_INTERVAL_NS (1000 * PC_NS_PER_MS)
#define RTCP_BYTES         1200

/* ---- What the receiver says ---- */

static void on_nack(void *context, uint32_t media_ssrc, uint16_t sequence)
{
    struct pc_sender *sender = context;
    if (media_ssrc != sender->media.ssrc || sender->feed == NULL)
        return;
    sender->stats.nacked_packets++;
    pc_reference_loss_asked(&sender->losses, sequence);
    if (sender->asked_count < PC_RTX_ASKED)
        sender->asked[sender->asked_count++] = sequence;
    else
        sender->stats.rtx_refused++;
}

/* When all is known that is missing. */
static void answer_nacks(struct pc_sender *sender, struct pc_hub_stats *hub)
{
    for (int i = 0; i < sender->asked_count; i++)
        pc_sender_resend(sender, sender->asked[i], sender->scratch, sender->now_ns, hub);
    sender->asked_count = 0;
}

static void on_pli(void *context, uint32_t media_ssrc)
{
    struct pc_sender *sender = context;
    if (media_ssrc != sender->media.ssrc || sender->feed == NULL)
        return;
    sender->stats.plis++;
    pc_feed_request_idr(sender->feed);
}

static void on_fir(void *context, uint32_t media_ssrc, uint8_t command_sequence)
{
    struct pc_sender *sender = context;
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
    struct pc_sender *sender = context;
    sender->stats.remb_bps = bitrate;
    pc_rate_loop_remb(&sender->rate, (double)bitrate, sender->now_ns);
}

static void on_bye(void *context, uint32_t ssrc)
{
    struct pc_sender *sender = context;
    (void)ssrc;
    if (!sender->bye_heard) /* said once, however often it is repeated */
        sender->said_bye = true;
    sender->bye_heard = true;
}

static void on_transport_feedback(void *context, const struct pc_rtcp_transport_feedback *feedback)
{
    struct pc_sender *sender = context;
    sender->stats.feedback_packets++;
    pc_rate_loop_feedback(&sender->rate, feedback);
}

static void on_transport_status(void *context, uint16_t sequence, bool received, int32_t delta_us)
{
    struct pc_sender *sender = context;
    pc_rate_loop_status(&sender->rate, sequence, received, delta_us);
}

/* The middle 32 bits of an NTP time, as reports carry it (RFC 3550 4). */
static uint32_t middle_ntp(uint64_t ntp)
{
    return (uint32_t)(ntp >> 16);
}

static void on_report(void *context, const struct pc_rtcp_report *report)
{
    struct pc_sender *sender = context;
    if (sender->feed == NULL || report->ssrc != sender->media.ssrc)
        return;
    sender->reported = sender->reported || sender->stats.reports == 0;
    sender->stats.reports++;
    sender->mid_wanted = false;
    sender->stats.loss = report->fraction_lost / 256.0;
    sender->stats.jitter_ms = report->jitter / 90.0;
    if (report->last_sr != 0) {
        uint32_t rtt = middle_ntp(sender->ntp_now) - report->last_sr - report->delay_since_last_sr;
        if (rtt < 0x80000000u) {
            sender->stats.rtt_ms = rtt * 1000.0 / 65536.0;
            pc_rate_loop_rtt(&sender->rate, (uint64_t)rtt * PC_NS_PER_S / 65536, sender->now_ns);
        }
    }
    pc_rate_loop_report_loss(&sender->rate, sender->stats.loss, sender->now_ns);
}

void pc_sender_receive_rtcp(struct pc_sender *sender, const uint8_t *data, size_t size,
                            uint8_t *scratch, uint64_t now_ns, uint64_t ntp_now,
                            struct pc_hub_stats *hub)
{
    const struct pc_rtcp_handler handler = {
        .context = sender,
        .report = on_report,
        .nack = on_nack,
        .pli = on_pli,
        .fir = on_fir,
        .remb = on_remb,
        .bye = on_bye,
        .transport_feedback = on_transport_feedback,
        .transport_status = on_transport_status,
    };
    sender->now_ns = now_ns;
    sender->ntp_now = ntp_now;
    sender->scratch = scratch;
    sender->stats.rtcp_packets++;
    uint64_t nacked_before = sender->stats.nacked_packets;
    if (pc_rtcp_parse(data, size, &handler) < 0)
        sender->stats.rtcp_malformed++;
    sender->stats.nacks += sender->stats.nacked_packets != nacked_before;
    answer_nacks(sender, hub);
    const struct pc_packet_report *reports = NULL;
    int count = pc_rate_loop_end(&sender->rate, now_ns, &reports);
    pc_reference_loss_report(&sender->losses, reports, count);
    if (sender->losses.changed)
        pc_sender_ask_for_reference(sender);
    sender->scratch = NULL;
}

/* ---- What the sender says ---- */

static uint64_t earlier(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

uint64_t pc_sender_tick(struct pc_sender *sender, uint8_t *scratch, uint64_t now_ns,
                        uint64_t ntp_now, struct pc_hub_stats *hub)
{
    if (sender->feed == NULL || sender->transport->udp == NULL)
        return UINT64_MAX;
    if (now_ns >= sender->rate.next_ns)
        pc_rate_loop_update(&sender->rate, now_ns);
    if (now_ns < sender->next_report_ns)
        return earlier(sender->next_report_ns, sender->rate.next_ns);
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
    return earlier(sender->next_report_ns, sender->rate.next_ns);
}

void pc_sender_bye(struct pc_sender *sender, uint8_t *scratch, uint64_t now_ns,
                   struct pc_hub_stats *hub)
{
    if (sender->feed == NULL || sender->transport->udp == NULL ||
        sender->transport->outbound == NULL)
        return;
    uint32_t ssrcs[PC_SENDER_STREAMS] = {sender->media.ssrc};
    int count = 1;
    if (sender->media.rtx_payload_type != 0)
        ssrcs[count++] = sender->media.rtx_ssrc;
    if (sender->media.fec_payload_type != 0)
        ssrcs[count++] = sender->media.fec_ssrc;
    long size = pc_rtcp_write_bye(pc_transport_room(sender->transport, scratch), RTCP_BYTES, ssrcs,
                                  count, sender->media.cname);
    pc_transport_send_rtcp(sender->transport, scratch, size, now_ns, hub);
}
