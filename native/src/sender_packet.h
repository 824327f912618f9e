/* One packet of a peer on its way out: header, protection, TURN channel, the kernel. Shared by what
 * sends media (sender.c) and what answers feedback (sender_feedback.c). */
#ifndef PC_SENDER_PACKET_H
#define PC_SENDER_PACKET_H

#include "sender.h"

/* Write one protected packet at `out`, behind its channel header if there is one; sequence numbers
 * are filled into `fields`. `index` must never have been used with this SSRC and key. Returns its
 * bytes on the wire, 0 when the cipher failed. */
size_t pc_sender_write_packet(struct pc_sender *sender, uint8_t *out, struct pc_rtp_fields *fields,
                              uint64_t index, const struct pc_piece *pieces, int piece_count);

/* Hand datagrams of `segment` bytes to the kernel, and count. What cannot be sent is lost like any
 * other packet, and the peer is left alone for a moment. */
void pc_sender_transmit(struct pc_sender *sender, const uint8_t *data, size_t size, size_t segment,
                        uint64_t now_ns, struct pc_hub_stats *hub);

/* Where an RTCP packet for pc_sender_transmit_rtcp() is to be written. */
uint8_t *pc_sender_rtcp_room(const struct pc_sender *sender, uint8_t *out);

/* Protect the `size` bytes of RTCP in the room of `out` and send them. A negative size: nothing. */
void pc_sender_transmit_rtcp(struct pc_sender *sender, uint8_t *out, long size, uint64_t now_ns,
                             struct pc_hub_stats *hub);

#endif
