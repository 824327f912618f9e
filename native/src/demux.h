/* What kind of datagram this is, by its first byte (RFC 7983, RFC 9443), and which ICE connection a
 * STUN request is for. */
#ifndef PC_DEMUX_H
#define PC_DEMUX_H

#include <stddef.h>
#include <stdint.h>

enum pc_datagram {
    PC_DATAGRAM_STUN,
    PC_DATAGRAM_DTLS,
    PC_DATAGRAM_CHANNEL, /* TURN ChannelData, RFC 8656 12 */
    PC_DATAGRAM_RTP,
    PC_DATAGRAM_RTCP, /* RFC 5761 4: payload types 64-95 after the marker bit is taken off */
    PC_DATAGRAM_OTHER,
};

/* Anything shorter than its kind's fixed header is PC_DATAGRAM_OTHER. */
enum pc_datagram pc_demux(const uint8_t *data, size_t size);

/* The USERNAME attribute (RFC 8489 14.3) of a STUN message: pointer into `data` and `*size`, or
 * NULL when there is none ahead of MESSAGE-INTEGRITY or the message is malformed (length, magic
 * cookie, attribute bounds). */
const uint8_t *pc_stun_username(const uint8_t *data, size_t bytes, size_t *size);

#endif
