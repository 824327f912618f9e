/* What both ends of FlexFEC do: the parity of packets, and what of a packet is left out of it. */
#ifndef PC_FLEXFEC_PARITY_H
#define PC_FLEXFEC_PARITY_H

#include <string.h>

#include "flexfec.h"

#define PC_FLEXFEC_BASE_HEADER 18 /* up to the mask */

static inline uint16_t pc_flexfec_read16(const uint8_t *p)
{
    return (uint16_t)(p[0] << 8 | p[1]);
}

static inline void pc_flexfec_write16(uint8_t *p, uint16_t value)
{
    p[0] = (uint8_t)(value >> 8);
    p[1] = (uint8_t)value;
}

/* to ^= from. The inner loop's count is a constant: that is what gcc -O2 turns into vectors. */
static inline void pc_flexfec_xor(uint8_t *restrict to, const uint8_t *restrict from, size_t size)
{
    for (; size >= 64; size -= 64, to += 64, from += 64)
        for (int i = 0; i < 64; i++)
            to[i] ^= from[i];
    for (; size >= 8; size -= 8, to += 8, from += 8)
        for (int i = 0; i < 8; i++)
            to[i] ^= from[i];
    for (size_t i = 0; i < size; i++)
        to[i] ^= from[i];
}

/* to[0..7] ^= what the first 8 bytes of a FEC header hold of a packet of `size` bytes: its first
 * two bytes, its length behind the fixed header, its timestamp. */
static inline void pc_flexfec_xor_fixed(uint8_t *to, const uint8_t *header, size_t size)
{
    size_t length = size - PC_RTP_HEADER_BYTES;
    const uint8_t fixed[8] = {header[0],       header[1], (uint8_t)(length >> 8),
                              (uint8_t)length, header[4], header[5],
                              header[6],       header[7]};
    for (int i = 0; i < 8; i++)
        to[i] ^= fixed[i];
}

/* Zero the extensions that are written anew on each way out (libwebrtc's ZeroMutableExtensions()).
 * The header is a valid one. */
static inline void pc_flexfec_zero_mutable(uint8_t *header, size_t header_bytes,
                                           const struct pc_rtp_extensions *extensions)
{
    const uint8_t ids[] = {extensions->abs_send_time_id, extensions->transport_cc_id};
    struct pc_rtp_packet packet;
    uint8_t first = header[0];
    header[0] &= 0xDF; /* padding is behind what is looked at */
    if (pc_rtp_parse(header, header_bytes, &packet) == 0)
        for (size_t i = 0; i < sizeof ids; i++) {
            size_t size;
            const uint8_t *found = pc_rtp_extension(&packet, ids[i], &size);
            if (found != NULL)
                memset(header + (found - header), 0, size);
        }
    header[0] = first;
}

#endif
