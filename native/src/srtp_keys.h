/* SRTP profiles and their session keys (RFC 3711 4.3, RFC 7714 11). */
#ifndef PC_SRTP_KEYS_H
#define PC_SRTP_KEYS_H

#include <openssl/evp.h>

#include "core.h"

struct pc_srtp_parameters {
    enum pc_srtp_profile profile;
    bool aead;
    int key_bytes, salt_bytes;
    size_t tag_bytes;              /* of RTP and of RTCP */
    const char *cipher;            /* OpenSSL's name */
    const char *derivation_cipher; /* AES in counter mode with a key of the same length */
};

/* NULL when there is no such profile. */
const struct pc_srtp_parameters *pc_srtp_parameters(enum pc_srtp_profile profile);

/* What is derived from a master key and salt, for RTP or for RTCP. The front of each array is used,
 * as far as the profile needs it. */
struct pc_srtp_session_keys {
    uint8_t cipher[32];
    uint8_t auth[20]; /* HMAC-SHA1; not used by AEAD */
    uint8_t salt[14];
};

/* Derive the session keys; `key` as for pc_srtp_create(), of the profile's length. Key derivation
 * rate 0. 0, or -EINVAL/-EIO with pc_error_text() set; `out` is zero on failure. */
int pc_srtp_derive(enum pc_srtp_profile profile, const uint8_t *key, bool rtcp,
                   struct pc_srtp_session_keys *out);

/* A cipher context with its key schedule set, or NULL. The caller owns it. */
EVP_CIPHER_CTX *pc_srtp_cipher(const char *name, const uint8_t *key);

#endif
