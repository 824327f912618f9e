#include "sender_repair.h"

#include "clock.h"
#include "sender_packet.h"

#define FEC_BYTES      1400
#define PROBE_PACKETS  16                   /* behind one frame, at most */
#define PROBE_PAUSE_NS (100 * PC_NS_PER_MS) /* after a longer one no more padding is due */
#define NEARLY         0.8                  /* of a round trip: the jitter of asking again */

/* ---- FEC ---- */

bool pc_sender_protects(const struct pc_sender *sender, uint64_t now_ns)
{
    return sender->fec != NULL &&
           pc_loss_control_repairs(&sender->rate.loss, PC_FLEXFEC_MAX_PACKETS, true, now_ns) > 0;
}

void pc_sender_protect(struct pc_sender *sender, const uint8_t *header,
                       const struct pc_payload *payload)
{
    long header_bytes = pc_rtp_header_bytes(header, PC_RTP_MAX_HEADER_BYTES);
    if (header_bytes > 0)
        pc_flexfec_protect(sender->fec, header, (size_t)header_bytes, payload->data, payload->size,
                           &sender->extensions);
}

bool pc_sender_block_is_full(const struct pc_sender *sender)
{
    return sender->fec->count == PC_FLEXFEC_MAX_PACKETS;
}

static size_t send_repair(struct pc_sender *sender, const uint8_t *repair, size_t bytes,
                          uint32_t timestamp, uint8_t *scratch, uint64_t now_ns,
                          struct pc_hub_stats *hub)
{
    if (!pc_transport_ready(sender->transport, now_ns))
        return 0; /* the kernel has not even taken what it protects */
    struct pc_rtp_fields fields = {
        .payload_type = sender->media.fec_payload_type,
        .timestamp = timestamp,
        .ssrc = sender->media.fec_ssrc,
        .send_ns = now_ns,
    };
    const struct pc_piece piece = {.data = repair, .size = bytes};
    size_t size = pc_sender_write_packet(sender, scratch, &fields, PC_PACKET_FEC,
                                         sender->next_fec_index++, &piece, 1);
    if (size == 0)
        return 0;
    pc_transport_send(sender->transport, scratch, size, size, now_ns, hub);
    pc_reference_loss_repair_sent(&sender->losses, sender->queue[sender->head].number);
    sender->stats.fec_packets++;
    sender->stats.fec_bytes += size;
    return size;
}

size_t pc_sender_finish_block(struct pc_sender *sender, bool idr, uint32_t timestamp,
                              uint8_t *scratch, uint64_t now_ns, struct pc_hub_stats *hub)
{
    struct pc_flexfec_block *block = sender->fec;
    size_t sent = 0;
    if (block == NULL || block->count == 0)
        return 0;
    int repairs = pc_loss_control_repairs(&sender->rate.loss, block->count, idr, now_ns);
    for (int i = 0; i < repairs; i++) {
        uint8_t repair[FEC_BYTES];
        long bytes = pc_flexfec_write(block, i, repairs, repair, sizeof repair);
        if (bytes > 0)
            sent += send_repair(sender, repair, (size_t)bytes, timestamp, scratch, now_ns, hub);
    }
    pc_flexfec_begin(block);
    return sent;
}

/* ---- RTX (RFC 4588) ---- */

/* A stream of its own whose payload starts with the original sequence number. Returns the bytes
 * sent. */
static size_t send_rtx(struct pc_sender *sender, const struct pc_history_entry *entry,
                       uint32_t payload_index, enum pc_packet_kind kind, uint8_t *scratch,
                       uint64_t now_ns, struct pc_hub_stats *hub)
{
    struct pc_access_unit *au = entry->au;
    uint16_t sequence = (uint16_t)(entry->first_index + payload_index);
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
        .timestamp = entry->label.timestamp,
        .ssrc = sender->media.rtx_ssrc,
        .send_ns = now_ns,
        .in_frame = true,
        .first_packet = payload_index == 0,
        .frame_number = entry->label.number,
        .reference_diff = entry->label.reference_diff,
    };
    size_t size =
        pc_sender_write_packet(sender, scratch, &fields, kind, sender->next_rtx_index++, pieces, 2);
    if (size == 0)
        return 0;
    pc_transport_send(sender->transport, scratch, size, size, now_ns, hub);
    pc_pacer_spend(&sender->pacer, size);
    return size;
}

/* Looked at before the history, which a flood of requests would have searched for nothing. */
static bool may_resend(struct pc_sender *sender, uint64_t now_ns)
{
    return sender->media.rtx_payload_type != 0 && sender->transport->udp != NULL &&
           pc_pacer_budget(&sender->rtx_budget, now_ns) > 0 && pc_udp_flush(sender->transport->udp);
}

/* Half the budget is for what is asked for. */
static bool may_copy(struct pc_sender *sender, uint64_t now_ns)
{
    return pc_pacer_budget(&sender->rtx_budget, now_ns) > sender->rtx_budget.burst / 2 &&
           may_resend(sender, now_ns);
}

static bool resend(struct pc_sender *sender, const struct pc_history_entry *entry,
                   uint32_t payload_index, uint8_t *scratch, uint64_t now_ns,
                   struct pc_hub_stats *hub)
{
    size_t size = send_rtx(sender, entry, payload_index, PC_PACKET_RTX, scratch, now_ns, hub);
    if (size == 0)
        return false;
    pc_reference_loss_resent(&sender->losses, (uint16_t)(entry->first_index + payload_index),
                             (uint16_t)(sender->next_rtx_index - 1));
    pc_pacer_spend(&sender->rtx_budget, size);
    sender->stats.rtx_packets++;
    sender->stats.rtx_bytes += size;
    return true;
}

/* Have it sent once more at `due_ns`. Where there is no room it is not: it would be one of many. */
static void copy_later(struct pc_sender *sender, uint16_t sequence, uint64_t due_ns)
{
    if (sender->copy_count == PC_RTX_COPIES)
        return;
    sender->copies[sender->copy_count].sequence = sequence;
    sender->copies[sender->copy_count++].due_ns = due_ns;
}

/* Without RTX nothing is resent: the same packet again would use an AEAD nonce twice. */
void pc_sender_resend(struct pc_sender *sender, uint16_t sequence, uint8_t *scratch,
                      uint64_t now_ns, struct pc_hub_stats *hub)
{
    struct pc_rtx_memory *memory = &sender->rtx_memory[sequence % PC_RTX_MEMORY];
    bool again = memory->sequence == sequence && memory->sent_ns != 0 &&
                 now_ns - memory->sent_ns < PC_HISTORY_AGE_NS;
    uint32_t payload_index;
    const struct pc_history_entry *entry = NULL;
    struct pc_resend wanted = {0};
    bool useful = pc_reference_loss_is_useful(&sender->losses, sequence);
    uint64_t since_ns = now_ns - memory->sent_ns;
    bool just_now = again && since_ns < PC_RTX_SPACING_NS;
    if (again && !just_now && (double)since_ns > NEARLY * (double)sender->rate.loss.rtt_ns)
        pc_reference_loss_asked_again(&sender->losses, sequence);
    if (useful && !just_now && may_resend(sender, now_ns))
        entry = pc_history_find(&sender->history, sequence, &payload_index);
    if (entry != NULL)
        wanted = pc_loss_control_resend(&sender->rate.loss, entry->sent_ns, now_ns, again);
    if (wanted.copies == 0 || !resend(sender, entry, payload_index, scratch, now_ns, hub)) {
        sender->stats.rtx_refused++;
        if (!just_now)
            pc_reference_loss_refused(&sender->losses, sequence);
        return;
    }
    memory->sequence = sequence;
    memory->sent_ns = now_ns;
    for (int i = 1; i < wanted.copies; i++)
        copy_later(sender, sequence, now_ns + wanted.spacing_ns * (uint64_t)i);
}

uint64_t pc_sender_send_copies(struct pc_sender *sender, uint8_t *scratch, uint64_t now_ns,
                               struct pc_hub_stats *hub)
{
    uint64_t next = UINT64_MAX;
    int left = 0;
    for (int i = 0; i < sender->copy_count; i++) {
        if (sender->copies[i].due_ns > now_ns) {
            next = sender->copies[i].due_ns < next ? sender->copies[i].due_ns : next;
            sender->copies[left++] = sender->copies[i];
            continue;
        }
        uint32_t payload_index;
        const struct pc_history_entry *entry =
            pc_history_find(&sender->history, sender->copies[i].sequence, &payload_index);
        if (entry != NULL && may_copy(sender, now_ns))
            resend(sender, entry, payload_index, scratch, now_ns, hub);
    }
    sender->copy_count = left;
    return next;
}

/* ---- Another reference ---- */

void pc_sender_ask_for_reference(struct pc_sender *sender)
{
    uint64_t first, last;
    if (sender->feed == NULL || sender->quiet ||
        !pc_reference_loss_wish(&sender->losses, &first, &last))
        return;
    if (sender->losses.described)
        pc_feed_report_losses(sender->feed, first, last);
    else
        pc_feed_request_idr(sender->feed);
}

/* ---- Probing ---- */

void pc_sender_probe(struct pc_sender *sender, uint8_t *scratch, uint64_t now_ns,
                     struct pc_hub_stats *hub)
{
    uint64_t since_ns = now_ns - sender->probed_ns;
    sender->probed_ns = now_ns;
    double bps = sender->rate.output.probe_bps;
    if (bps <= 0 || sender->media.rtx_payload_type == 0) {
        sender->probe_credit = 0;
        return;
    }
    sender->probe_credit += bps / 8e9 * (double)since_ns;
    double most = bps / 8e9 * PROBE_PAUSE_NS;
    if (sender->probe_credit > most)
        sender->probe_credit = most;
    /* Of a frame's packets the first is the longest. */
    const struct pc_history_entry *newest = pc_history_newest(&sender->history);
    for (int i = 0; i < PROBE_PACKETS && newest != NULL && sender->probe_credit > 0 &&
                    pc_transport_ready(sender->transport, now_ns);
         i++) {
        size_t size = send_rtx(sender, newest, 0, PC_PACKET_PADDING, scratch, now_ns, hub);
        if (size == 0)
            return;
        sender->probe_credit -= (double)size;
        sender->stats.padding_bytes += size;
    }
}
