#include "srtp_keys.h"

#include <errno.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <string.h>

/* Labels of RFC 3711 4.3.1 for RTP; RTCP's are three higher (4.3.2). */
enum { LABEL_CIPHER = 0, LABEL_AUTH = 1, LABEL_SALT = 2, LABEL_RTCP = 3 };

static const struct pc_srtp_parameters parameters[] = {
    {PC_SRTP_AES128_CM_SHA1_80, false, 16, 14, 10, "AES-128-CTR", "AES-128-CTR"},
    {PC_SRTP_AEAD_AES_128_GCM, true, 16, 12, 16, "AES-128-GCM", "AES-128-CTR"},
    {PC_SRTP_AEAD_AES_256_GCM, true, 32, 12, 16, "AES-256-GCM", "AES-256-CTR"},
};

const struct pc_srtp_parameters *pc_srtp_parameters(enum pc_srtp_profile profile)
{
    for (size_t i = 0; i < sizeof parameters / sizeof parameters[0]; i++)
        if (parameters[i].profile == profile)
            return &parameters[i];
    return NULL;
}

int pc_srtp_key_bytes(enum pc_srtp_profile profile)
{
    const struct pc_srtp_parameters *p = pc_srtp_parameters(profile);
    return p != NULL ? p->key_bytes : pc_fail(-EINVAL, "profile: %d is no SRTP profile", profile);
}

int pc_srtp_salt_bytes(enum pc_srtp_profile profile)
{
    const struct pc_srtp_parameters *p = pc_srtp_parameters(profile);
    return p != NULL ? p->salt_bytes : pc_fail(-EINVAL, "profile: %d is no SRTP profile", profile);
}

EVP_CIPHER_CTX *pc_srtp_cipher(const char *name, const uint8_t *key)
{
    EVP_CIPHER *cipher = EVP_CIPHER_fetch(NULL, name, NULL);
    EVP_CIPHER_CTX *context = EVP_CIPHER_CTX_new();
    if (cipher == NULL || context == NULL ||
        EVP_EncryptInit_ex(context, cipher, NULL, key, NULL) != 1) {
        EVP_CIPHER_CTX_free(context);
        context = NULL;
    }
    EVP_CIPHER_free(cipher);
    return context;
}

/* The first `size` bytes of the key stream at x = label * 2^48 xor salt (RFC 3711 4.3.3). A salt of
 * 12 bytes stands left-aligned in the 14 of the formula (RFC 7714 11). */
static bool key_stream(EVP_CIPHER_CTX *cipher, const uint8_t *salt, size_t salt_bytes,
                       unsigned label, uint8_t *out, size_t size)
{
    uint8_t iv[16] = {0};
    int written;
    memcpy(iv, salt, salt_bytes);
    iv[7] ^= (uint8_t)label;
    memset(out, 0, size);
    return EVP_EncryptInit_ex(cipher, NULL, NULL, NULL, iv) == 1 &&
           EVP_EncryptUpdate(cipher, out, &written, out, (int)size) == 1;
}

int pc_srtp_derive(enum pc_srtp_profile profile, const uint8_t *key, bool rtcp,
                   struct pc_srtp_session_keys *out)
{
    memset(out, 0, sizeof *out);
    const struct pc_srtp_parameters *p = pc_srtp_parameters(profile);
    if (p == NULL)
        return pc_fail(-EINVAL, "profile: %d is no SRTP profile", profile);
    EVP_CIPHER_CTX *cipher = pc_srtp_cipher(p->derivation_cipher, key);
    if (cipher == NULL)
        return pc_fail(-EIO, "OpenSSL does not provide %s", p->derivation_cipher);
    const uint8_t *salt = key + p->key_bytes;
    size_t salt_bytes = (size_t)p->salt_bytes;
    unsigned first = rtcp ? LABEL_RTCP : 0;
    bool done = key_stream(cipher, salt, salt_bytes, first + LABEL_CIPHER, out->cipher,
                           (size_t)p->key_bytes) &&
                (p->aead || key_stream(cipher, salt, salt_bytes, first + LABEL_AUTH, out->auth,
                                       sizeof out->auth)) &&
                key_stream(cipher, salt, salt_bytes, first + LABEL_SALT, out->salt, salt_bytes);
    EVP_CIPHER_CTX_free(cipher);
    if (!done) {
        OPENSSL_cleanse(out, sizeof *out);
        return pc_fail(-EIO, "OpenSSL failed to derive SRTP session keys");
    }
    return 0;
}
