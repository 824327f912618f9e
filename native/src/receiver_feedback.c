#include "receiver_state.h"

#define RTCP_BYTES         1200
#define RTCP_ROOM          24
#define NACK_BATCH         256 /* sequence numbers in one message */
#define REPORT_INTERVAL_NS UINT64_C(1000000000)
#define PATIENCE_NS        300000000
#define REORDERING_NS      30000000 /* what only reordering can mend is waited for so long */
#define PLI_SPACING_NS     200000000
#define PLI_QUIET_NS       1000000000 /* … while no media comes */
#define PLI_LEAST_NS       100000000

static uint64_t earlier(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static uint64_t later(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

static void send(struct pc_receiver *receiver, uint8_t *data, long size)
{
    if (size > 0)
        receiver->out.rtcp(receiver->out.context, data, (size_t)size);
}

/* ---- NACK ---- */

static uint64_t send_nacks(struct pc_receiver *receiver, uint64_t now_ns)
{
    if (!receiver->settings.nack)
        return UINT64_MAX;
    uint16_t sequences[NACK_BATCH];
    int count;
    while ((count = pc_nack_take(&receiver->nack, sequences, NACK_BATCH, now_ns)) > 0) {
        for (int at = 0; at < count;) {
            uint8_t out[RTCP_BYTES + RTCP_ROOM];
            int written = count - at;
            long size = pc_rtcp_write_nack(out, RTCP_BYTES, receiver->settings.local_ssrc,
                                           receiver->source.ssrc, sequences + at, &written);
            send(receiver, out, size);
            at += written;
            receiver->stats.nacks++;
        }
        receiver->stats.nacked_packets += (uint64_t)count;
    }
    return pc_nack_due(&receiver->nack);
}

/* ---- PLI ---- */

static uint64_t patience(const struct pc_receiver *receiver)
{
    uint64_t most =
        receiver->settings.patience_ns != 0 ? receiver->settings.patience_ns : PATIENCE_NS;
    bool repairable = receiver->settings.nack || receiver->flexfec != NULL;
    return repairable ? most : earlier(most, REORDERING_NS);
}

/* Between two PLIs: the answer to the last one must have had time to come. */
static uint64_t pli_spacing(const struct pc_receiver *receiver)
{
    if (receiver->media_ns <= receiver->pli_ns)
        return PLI_QUIET_NS;
    uint64_t rtt_ns = receiver->nack.rtt_ns;
    return rtt_ns != 0 ? later(2 * rtt_ns, PLI_LEAST_NS) : PLI_SPACING_NS;
}

/* When a PLI is due; UINT64_MAX: none is. */
static uint64_t pli_due(const struct pc_receiver *receiver)
{
    uint64_t blocked =
        earlier(pc_jitter_blocked_since(receiver->jitter), pc_nack_missing_since(&receiver->nack));
    uint64_t due = UINT64_MAX;
    if (receiver->idr_wanted)
        due = 0;
    if (blocked != UINT64_MAX)
        due = earlier(due, blocked + patience(receiver));
    if (receiver->lost_ns != 0 && pc_jitter_lost(receiver->jitter))
        due = earlier(due, receiver->lost_ns + REORDERING_NS);
    if (due == UINT64_MAX)
        return due;
    uint64_t idr_seen = pc_jitter_idr_seen(receiver->jitter);
    if (idr_seen != 0)
        due = later(due, idr_seen + patience(receiver)); /* it is on its way */
    return receiver->pli_sent ? later(due, receiver->pli_ns + pli_spacing(receiver)) : due;
}

static uint64_t send_pli(struct pc_receiver *receiver, uint64_t now_ns)
{
    uint64_t due = pli_due(receiver);
    if (now_ns < due)
        return due;
    uint8_t out[RTCP_BYTES + RTCP_ROOM];
    send(receiver, out,
         pc_rtcp_write_pli(out, RTCP_BYTES, receiver->settings.local_ssrc, receiver->source.ssrc));
    receiver->stats.plis++;
    receiver->pli_sent = true;
    receiver->pli_ns = now_ns;
    return pli_due(receiver);
}

void pc_receiver_request_idr(struct pc_receiver *receiver, uint64_t now_ns)
{
    (void)now_ns;
    receiver->idr_wanted = receiver->known;
}

/* ---- Transport-wide feedback and reports ---- */

static uint64_t send_arrivals(struct pc_receiver *receiver, uint64_t now_ns)
{
    if (now_ns < pc_arrivals_due(&receiver->arrivals))
        return pc_arrivals_due(&receiver->arrivals);
    uint8_t out[RTCP_BYTES + RTCP_ROOM];
    long size;
    while ((size = pc_arrivals_write(&receiver->arrivals, out, RTCP_BYTES,
                                     receiver->settings.local_ssrc, receiver->source.ssrc,
                                     now_ns)) > 0) {
        send(receiver, out, size);
        receiver->stats.feedback_packets++;
    }
    return pc_arrivals_due(&receiver->arrivals);
}

static uint64_t send_report(struct pc_receiver *receiver, uint64_t now_ns)
{
    if (now_ns < receiver->report_ns)
        return receiver->report_ns;
    struct pc_rtcp_report report;
    pc_rtp_source_report(&receiver->source, &report, now_ns);
    uint8_t out[RTCP_BYTES + RTCP_ROOM];
    send(receiver, out,
         pc_rtcp_write_rr(out, RTCP_BYTES, receiver->settings.local_ssrc, &report,
                          receiver->settings.cname));
    receiver->stats.reports++;
    receiver->report_ns = now_ns + REPORT_INTERVAL_NS;
    return receiver->report_ns;
}

uint64_t pc_receiver_tick(struct pc_receiver *receiver, uint64_t now_ns, uint64_t ntp_now)
{
    (void)ntp_now;
    pc_receiver_give_out(receiver, now_ns);
    uint64_t due = earlier(pc_jitter_due(receiver->jitter), send_arrivals(receiver, now_ns));
    if (!receiver->known)
        return due;
    due = earlier(due, send_nacks(receiver, now_ns));
    if (receiver->nack.gave_up) {
        receiver->nack.gave_up = false;
        /* With descriptors frames may come that do not need what is missing. */
        receiver->idr_wanted =
            receiver->idr_wanted || receiver->settings.dependency_descriptor_id == 0;
    }
    due = earlier(due, send_pli(receiver, now_ns));
    return earlier(due, send_report(receiver, now_ns));
}

/* ---- What the sender says ---- */

struct heard {
    struct pc_receiver *receiver;
    uint64_t now_ns;
};

static void on_sender_report(void *context, const struct pc_rtcp_sender_info *info)
{
    struct heard *heard = context;
    struct pc_receiver *receiver = heard->receiver;
    if (receiver->known && info->ssrc == receiver->source.ssrc)
        pc_rtp_source_sender_report(&receiver->source, info, heard->now_ns);
}

/* Nothing is asked for any more, until media comes again. */
static void on_bye(void *context, uint32_t ssrc)
{
    struct pc_receiver *receiver = ((struct heard *)context)->receiver;
    if (receiver->known && ssrc == receiver->source.ssrc)
        receiver->known = false;
}

int pc_receiver_rtcp(struct pc_receiver *receiver, const uint8_t *data, size_t size,
                     uint64_t now_ns, uint64_t ntp_now)
{
    (void)ntp_now;
    struct heard heard = {.receiver = receiver, .now_ns = now_ns};
    const struct pc_rtcp_handler handler = {
        .context = &heard,
        .sender_report = on_sender_report,
        .bye = on_bye,
    };
    return pc_rtcp_parse(data, size, &handler);
}
