/* FlexFEC as Chromium speaks it: draft-ietf-payload-flexible-fec-scheme-03 (RFC 8627's forerunner),
 * one protected SSRC, masks of 15, 46 or 109 bits. Pure.
 *
 * What is protected is the RTP packet before SRTP, with the header extensions that change on the
 * way out (abs-send-time, transport-wide sequence number) zeroed on both sides. */
#ifndef PC_FLEXFEC_H
#define PC_FLEXFEC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "rtp.h"

#define PC_FLEXFEC_MAX_PACKETS 109 /* of one block */
#define PC_FLEXFEC_MAX_REPAIRS 32  /* of one block */
#define PC_FLEXFEC_MAX_HEADER  32

/* ---- Sending: packets of one block are remembered by reference, repairs written at its end ----
 */

struct pc_flexfec_block {
    int count;
    uint32_t ssrc;
    uint16_t first_sequence;
    struct {
        uint8_t header[PC_RTP_MAX_HEADER_BYTES]; /* mutable extensions zeroed */
        uint8_t header_bytes;
        uint16_t sequence;
        const uint8_t *payload; /* the caller keeps it until the block is written */
        uint16_t payload_bytes;
    } packets[PC_FLEXFEC_MAX_PACKETS];
};

void pc_flexfec_begin(struct pc_flexfec_block *block);

/* Protect one more packet: its plain header as written, its payload by reference. Returns false
 * when the block is full or the sequence number does not fit its mask: write the block first. The
 * ids say which extensions are mutable (0 = not there). */
bool pc_flexfec_protect(struct pc_flexfec_block *block, const uint8_t *header, size_t header_bytes,
                        const uint8_t *payload, size_t payload_bytes,
                        const struct pc_rtp_extensions *extensions);

/* Write payload `index` of `repairs` (1..PC_FLEXFEC_MAX_REPAIRS, at most one per packet): FlexFEC
 * header and parity. Each packet is covered by at least one repair; bursts of up to `repairs`
 * consecutive losses can be repaired. Returns bytes, or -ENOSPC when `capacity` is less than
 * PC_FLEXFEC_MAX_HEADER and the longest packet. */
long pc_flexfec_write(const struct pc_flexfec_block *block, int index, int repairs, uint8_t *out,
                      size_t capacity);

/* ---- Receiving ------------------------------------------------------------------------------- */

struct pc_flexfec_receiver;

struct pc_flexfec_stats {
    uint64_t repairs, malformed, recovered;
    uint64_t useless; /* all that it protects had arrived, or is too old or too far ahead */
};

/* `on_recovered` gets each packet that was repaired: a whole plain RTP packet, valid during the
 * call. NULL when out of memory. The ids of the mutable extensions are read from `extensions`. */
struct pc_flexfec_receiver *
pc_flexfec_receiver_create(uint32_t protected_ssrc, const struct pc_rtp_extensions *extensions,
                           void (*on_recovered)(void *context, const uint8_t *packet, size_t size),
                           void *context);
void pc_flexfec_receiver_destroy(struct pc_flexfec_receiver *receiver);

/* A media packet (plain; copied). `resent`: it was unwrapped from RTX, so that its header
 * extensions may not be those that were protected; it helps in repairs only where they must be. */
void pc_flexfec_receive_media(struct pc_flexfec_receiver *receiver, const uint8_t *packet,
                              size_t size, bool resent);

/* The payload of a packet of the repair stream. Malformed ones are counted and dropped. Returns the
 * last sequence number that it protects, which was sent before it; -EBADMSG when malformed. */
int pc_flexfec_receive_repair(struct pc_flexfec_receiver *receiver, const uint8_t *payload,
                              size_t size);

void pc_flexfec_receiver_get_stats(const struct pc_flexfec_receiver *receiver,
                                   struct pc_flexfec_stats *out);

#endif
