#include "sender_packet.h"

#define CHANNEL_HEADER_BYTES 4 /* RFC 8656 12.4 */

static size_t channel_bytes(const struct pc_sender *sender)
{
    return sender->channel != 0 ? CHANNEL_HEADER_BYTES : 0;
}

static void write_u16(uint8_t *p, size_t value)
{
    p[0] = (uint8_t)(value >> 8);
    p[1] = (uint8_t)value;
}

static void write_channel_header(const struct pc_sender *sender, uint8_t *out, size_t size)
{
    if (sender->channel == 0)
        return;
    write_u16(out, sender->channel);
    write_u16(out + 2, size);
}

size_t pc_sender_write_packet(struct pc_sender *sender, uint8_t *out, struct pc_rtp_fields *fields,
                              uint64_t index, const struct pc_piece *pieces, int piece_count)
{
    uint8_t *packet = out + channel_bytes(sender);
    fields->sequence = (uint16_t)index;
    fields->transport_sequence = sender->transport_sequence;
    size_t header = pc_rtp_write(packet, fields, &sender->extensions, sender->mid_wanted);
    long size = pc_srtp_protect(sender->outbound, index, packet, header, pieces, piece_count);
    if (size <= 0)
        return 0;
    sender->transport_sequence++;
    write_channel_header(sender, out, (size_t)size);
    return channel_bytes(sender) + (size_t)size;
}

void pc_sender_transmit(struct pc_sender *sender, const uint8_t *data, size_t size, size_t segment,
                        uint64_t now_ns, struct pc_hub_stats *hub)
{
    hub->send_calls++;
    int sent = pc_udp_send(sender->udp, &sender->to, data, size, segment);
    if (sent < 0) {
        hub->send_errors++;
        sender->retry_ns = now_ns + PC_SENDER_RETRY_NS;
        return;
    }
    hub->sent_packets += (uint64_t)sent;
    hub->sent_bytes += size;
}

uint8_t *pc_sender_rtcp_room(const struct pc_sender *sender, uint8_t *out)
{
    return out + channel_bytes(sender);
}

void pc_sender_transmit_rtcp(struct pc_sender *sender, uint8_t *out, long size, uint64_t now_ns,
                             struct pc_hub_stats *hub)
{
    if (size >= 0)
        size =
            pc_srtp_protect_rtcp(sender->outbound, pc_sender_rtcp_room(sender, out), (size_t)size);
    if (size < 0)
        return;
    write_channel_header(sender, out, (size_t)size);
    size_t total = channel_bytes(sender) + (size_t)size;
    pc_sender_transmit(sender, out, total, total, now_ns, hub);
}
