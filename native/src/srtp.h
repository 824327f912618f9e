/* SRTP and SRTCP (RFC 3711) with AEAD_AES_128_GCM and AEAD_AES_256_GCM (RFC 7714) and
 * AES_CM_128_HMAC_SHA1_80. The functions that use a context are in core.cdef.h, section SRTP.
 *
 * OpenSSL's EVP does the ciphers: contexts are made and keyed once, a packet sets only the IV. */
#ifndef PC_SRTP_H
#define PC_SRTP_H

#include "core.h"
#include "srtp_keys.h"

#define PC_SRTP_MAX_OVERHEAD  16 /* tag bytes added to RTP */
#define PC_SRTCP_MAX_OVERHEAD 20 /* tag and index added to RTCP */

/* As pc_srtp_create(), from session keys. Copied. */
int pc_srtp_create_from_session(enum pc_srtp_profile profile,
                                const struct pc_srtp_session_keys *rtp,
                                const struct pc_srtp_session_keys *rtcp, struct pc_srtp **out);

#endif
