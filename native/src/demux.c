#include "demux.h"

#include <stdbool.h>

#define STUN_HEADER_BYTES       20
#define STUN_MAGIC_COOKIE       0x2112A442u
#define STUN_USERNAME           0x0006u
#define STUN_MESSAGE_INTEGRITY  0x0008u
#define STUN_MAX_USERNAME_BYTES 508 /* RFC 8489 14.3: fewer than 509 bytes */

#define DTLS_RECORD_HEADER_BYTES  13
#define CHANNEL_DATA_HEADER_BYTES 4
#define RTP_HEADER_BYTES          12
#define RTCP_HEADER_BYTES         8

static unsigned read16(const uint8_t *p)
{
    return (unsigned)p[0] << 8 | p[1];
}

enum pc_datagram pc_demux(const uint8_t *data, size_t size)
{
    if (size == 0)
        return PC_DATAGRAM_OTHER;
    uint8_t first = data[0];
    enum pc_datagram kind = PC_DATAGRAM_OTHER;
    size_t least = 0;
    if (first <= 3) {
        kind = PC_DATAGRAM_STUN;
        least = STUN_HEADER_BYTES;
    } else if (first >= 20 && first <= 63) {
        kind = PC_DATAGRAM_DTLS;
        least = DTLS_RECORD_HEADER_BYTES;
    } else if (first >= 64 && first <= 79) {
        kind = PC_DATAGRAM_CHANNEL;
        least = CHANNEL_DATA_HEADER_BYTES;
    } else if (first >= 128 && first <= 191 && size >= 2) {
        uint8_t payload_type = data[1] & 0x7F;
        bool rtcp = payload_type >= 64 && payload_type <= 95;
        kind = rtcp ? PC_DATAGRAM_RTCP : PC_DATAGRAM_RTP;
        least = rtcp ? RTCP_HEADER_BYTES : RTP_HEADER_BYTES;
    }
    return size >= least ? kind : PC_DATAGRAM_OTHER;
}

const uint8_t *pc_stun_username(const uint8_t *data, size_t bytes, size_t *size)
{
    if (bytes < STUN_HEADER_BYTES || data[0] > 3 || bytes % 4 != 0 ||
        read16(data + 2) != bytes - STUN_HEADER_BYTES ||
        ((uint32_t)read16(data + 4) << 16 | read16(data + 6)) != STUN_MAGIC_COOKIE)
        return NULL;

    const uint8_t *username = NULL;
    bool protected_part = true; /* what follows MESSAGE-INTEGRITY is not to be used (14.5) */
    for (size_t at = STUN_HEADER_BYTES; at < bytes;) {
        unsigned type = read16(data + at);
        size_t length = read16(data + at + 2);
        size_t padded = (length + 3) & ~(size_t)3;
        at += 4;
        if (padded > bytes - at)
            return NULL;
        if (type == STUN_USERNAME && protected_part && username == NULL) {
            if (length > STUN_MAX_USERNAME_BYTES)
                return NULL;
            username = data + at;
            *size = length;
        }
        if (type == STUN_MESSAGE_INTEGRITY)
            protected_part = false;
        at += padded;
    }
    return username;
}
