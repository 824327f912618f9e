#include "sender_packet.h"

size_t pc_sender_write_packet(struct pc_sender *sender, uint8_t *out, struct pc_rtp_fields *fields,
                              uint64_t index, const struct pc_piece *pieces, int piece_count)
{
    struct pc_transport *transport = sender->transport;
    fields->sequence = (uint16_t)index;
    fields->transport_sequence = transport->next_sequence;
    size_t header = pc_rtp_write(pc_transport_room(transport, out), fields, &sender->extensions,
                                 sender->mid_wanted);
    size_t size = pc_transport_protect(transport, out, index, header, pieces, piece_count);
    if (size > 0)
        transport->next_sequence++;
    return size;
}
