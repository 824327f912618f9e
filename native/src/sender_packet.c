#include "sender_packet.h"

static size_t payload_bytes(const struct pc_piece *pieces, int count)
{
    size_t bytes = 0;
    for (int i = 0; i < count; i++)
        bytes += pieces[i].size;
    return bytes;
}

size_t pc_sender_write_packet(struct pc_sender *sender, uint8_t *out, struct pc_rtp_fields *fields,
                              enum pc_packet_kind kind, uint64_t index,
                              const struct pc_piece *pieces, int piece_count)
{
    struct pc_transport *transport = sender->transport;
    fields->sequence = (uint16_t)index;
    fields->transport_sequence = transport->next_sequence;
    size_t header = pc_rtp_write(pc_transport_room(transport, out), fields, &sender->extensions,
                                 sender->mid_wanted);
    size_t size = pc_transport_protect(transport, out, index, header, pieces, piece_count);
    if (size == 0)
        return 0;
    const struct pc_sent_packet packet = {
        .sent_ns = fields->send_ns,
        .bytes = (uint32_t)size,
        .frame = sender->frame,
        .sequence = fields->sequence,
        .kind = kind,
    };
    pc_rate_loop_sent(&sender->rate, transport->next_sequence, &packet,
                      payload_bytes(pieces, piece_count));
    transport->next_sequence++;
    return size;
}
