/* SRTP and SRTCP (RFC 3711) with AEAD_AES_128_GCM and AEAD_AES_256_GCM (RFC 7714) and
 * AES_CM_128_HMAC_SHA1_80. One context per direction. OpenSSL's EVP does the ciphers; contexts are
 * made once and reused. Not thread-safe: one thread per context. */
#ifndef PC_SRTP_H
#define PC_SRTP_H

#include "core.h"

#define PC_SRTP_MAX_OVERHEAD  16 /* tag bytes added to RTP */
#define PC_SRTCP_MAX_OVERHEAD 20 /* tag and index added to RTCP */

struct pc_srtp;

/* Key and salt lengths in bytes of a profile; -EINVAL when there is no such profile. */
int pc_srtp_key_bytes(enum pc_srtp_profile profile);
int pc_srtp_salt_bytes(enum pc_srtp_profile profile);

/* `key`: master key followed by master salt, as DTLS-SRTP exports them (RFC 5764 4.2). Copied.
 * 0, -EINVAL or -ENOMEM. */
int pc_srtp_create(enum pc_srtp_profile profile, const uint8_t *key, size_t key_bytes,
                   struct pc_srtp **out);
void pc_srtp_destroy(struct pc_srtp *srtp);

/* Bytes that protecting adds to an RTP packet. */
size_t pc_srtp_overhead(const struct pc_srtp *srtp);

/* Protect one RTP packet in one pass from shared memory: `packet` holds the header already
 * (`header_bytes`), the payload is read from up to two pieces and written encrypted behind it, then
 * the tag. `packet` needs room for all of it. `index` is the sender's own 48-bit packet index
 * (rollover counter << 16 | sequence number). Returns the packet's length; negative errno on an
 * OpenSSL failure. The pieces are not changed. */
struct pc_piece {
    const uint8_t *data;
    size_t size;
};
long pc_srtp_protect(struct pc_srtp *srtp, uint64_t index, uint8_t *packet, size_t header_bytes,
                     const struct pc_piece *pieces, int piece_count);

/* Check and decrypt in place. Per SSRC: rollover guess (RFC 3711 3.3.1) and a replay window of 1024
 * packets; at most 64 SSRCs, the longest unused one is forgotten. Returns the RTP packet's length,
 * or -EBADMSG (malformed), -EPERM (authentication failed), -EALREADY (replayed or too old). Nothing
 * is remembered of a packet that fails. */
long pc_srtp_unprotect(struct pc_srtp *srtp, uint8_t *packet, size_t size);

/* Protect RTCP in place; `packet` needs PC_SRTCP_MAX_OVERHEAD more bytes. Returns the new length.
 */
long pc_srtp_protect_rtcp(struct pc_srtp *srtp, uint8_t *packet, size_t size);

/* As pc_srtp_unprotect(), for SRTCP (replay window of 128). */
long pc_srtp_unprotect_rtcp(struct pc_srtp *srtp, uint8_t *packet, size_t size);

#endif
