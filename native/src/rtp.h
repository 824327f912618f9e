/* RTP headers (RFC 3550 5.1) with header extensions (RFC 8285). */
#ifndef PC_RTP_H
#define PC_RTP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PC_RTP_HEADER_BYTES     12
#define PC_RTP_MAX_HEADER_BYTES 64 /* the most that pc_rtp_write() writes */

/* What a sender puts into each packet; an id of 0 leaves the extension out, ids over 14 make the
 * whole block two-byte. */
struct pc_rtp_extensions {
    uint8_t mid_id;           /* urn:ietf:params:rtp-hdrext:sdes:mid (RFC 9143) */
    uint8_t abs_send_time_id; /* 24 bits, 6.18 fixed point seconds */
    uint8_t transport_cc_id;  /* draft-holmer-rmcat-transport-wide-cc-extensions-01 */
    uint8_t
        playout_delay_id; /* webrtc.org/experiments/rtp-hdrext/playout-delay: 12+12 bits of 10 ms */
    uint16_t playout_min, playout_max; /* units of 10 ms */
    char mid[17];                      /* at most 16 characters */
    uint8_t dependency_id;             /* dependency_descriptor.h */
};

struct pc_rtp_fields {
    bool marker;
    uint8_t payload_type;
    uint16_t sequence;
    uint32_t timestamp;
    uint32_t ssrc;
    uint64_t send_ns; /* for abs-send-time: any monotonic clock */
    uint16_t transport_sequence;
    /* for the dependency descriptor, which packets without a frame do not have: the packet's place
     * in its frame (`marker`: the last one), the frame's number, and how far back its reference is
     * (0: it has none) */
    bool in_frame, first_packet;
    uint16_t frame_number, reference_diff;
};

/* Write the header. `with_mid` false leaves the mid out (after the receiver has seen it). Returns
 * its length, at most PC_RTP_MAX_HEADER_BYTES; it is the same for all packets of a frame, but for
 * the first one of an IDR, so that packets of a batch are of one size. */
size_t pc_rtp_write(uint8_t *out, const struct pc_rtp_fields *fields,
                    const struct pc_rtp_extensions *extensions, bool with_mid);

struct pc_rtp_packet {
    bool marker;
    uint8_t payload_type;
    uint16_t sequence;
    uint32_t timestamp;
    uint32_t ssrc;
    size_t header_bytes; /* fixed header, CSRCs and extension: what SRTP leaves in the clear */
    uint16_t extension_profile; /* 0 = none */
    const uint8_t *extension;   /* extension data, without its 4-byte head */
    size_t extension_bytes;
    const uint8_t *payload;
    size_t payload_bytes; /* without padding */
};

/* Bytes of fixed header, CSRCs and extension. Looks at nothing behind them, so that it also fits
 * SRTP. -EBADMSG when malformed. */
long pc_rtp_header_bytes(const uint8_t *data, size_t size);

/* Parse a packet; pointers point into `data`. 0, or -EBADMSG for anything malformed. */
int pc_rtp_parse(const uint8_t *data, size_t size, struct pc_rtp_packet *out);

/* Find extension element `id` (one- or two-byte form). Returns its bytes and sets `*size`, or NULL.
 */
const uint8_t *pc_rtp_extension(const struct pc_rtp_packet *packet, uint8_t id, size_t *size);

/* a is later than b in sequence number order (RFC 3550 A.1, RFC 1982). */
static inline bool pc_seq_newer(uint16_t a, uint16_t b)
{
    return (uint16_t)(a - b) < 0x8000u && a != b;
}

#endif
