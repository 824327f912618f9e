/* One RTP packet of a sender on its way out. Shared by what sends media (sender.c) and what repairs
 * it (sender_repair.c). */
#ifndef PC_SENDER_PACKET_H
#define PC_SENDER_PACKET_H

#include "sender.h"

/* Write one protected packet at `out`, behind its channel header if there is one; sequence numbers
 * are filled into `fields`, and the rate loop is told. `index` must never have been used with this
 * SSRC and key. Returns its bytes on the wire, 0 when the cipher failed. */
size_t pc_sender_write_packet(struct pc_sender *sender, uint8_t *out, struct pc_rtp_fields *fields,
                              enum pc_packet_kind kind, uint64_t index,
                              const struct pc_piece *pieces, int piece_count);

#endif
