#include "srtp.h"

#include <errno.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <stdlib.h>
#include <string.h>

#include "replay.h"
#include "rtp.h"

#define RTP_WINDOW        1024 /* packets */
#define RTCP_WINDOW       128
#define RTCP_HEADER_BYTES 8 /* in the clear: the head and the sender's SSRC */
#define INDEX_BYTES       4 /* SRTCP: E flag and 31-bit index */
#define ENCRYPTED_FLAG    0x80000000u
#define MAX_IV_BYTES      16
#define SHA1_BYTES        20

/* One keyed direction of RTP or of RTCP. */
struct transform {
    EVP_CIPHER_CTX *cipher;
    EVP_MAC_CTX *mac; /* NULL for AEAD */
    uint8_t salt[14];
};

struct pc_srtp {
    const struct pc_srtp_parameters *parameters;
    struct transform rtp, rtcp;
    struct pc_replay rtp_received, rtcp_received;
    uint32_t rtcp_index; /* of the next SRTCP packet sent */
};

static uint16_t read16(const uint8_t *p)
{
    return (uint16_t)(p[0] << 8 | p[1]);
}

static uint32_t read32(const uint8_t *p)
{
    return (uint32_t)read16(p) << 16 | read16(p + 2);
}

static void write32(uint8_t *p, uint32_t value)
{
    p[0] = (uint8_t)(value >> 24);
    p[1] = (uint8_t)(value >> 16);
    p[2] = (uint8_t)(value >> 8);
    p[3] = (uint8_t)value;
}

/* The IV of RFC 3711 4.1.1 (counter mode: salt, SSRC and index at bytes 0, 4 and 8) or of RFC 7714
 * 8.1 and 9.1 (AEAD: SSRC at 2, index at 6). SRTCP's index takes the last four of the six bytes. */
static void make_iv(const struct pc_srtp *srtp, const struct transform *transform, uint32_t ssrc,
                    uint64_t index, uint8_t iv[MAX_IV_BYTES])
{
    size_t at = srtp->parameters->aead ? 2 : 4;
    memset(iv, 0, MAX_IV_BYTES);
    memcpy(iv, transform->salt, (size_t)srtp->parameters->salt_bytes);
    for (size_t i = 0; i < 4; i++)
        iv[at + i] ^= (uint8_t)(ssrc >> (24 - 8 * i));
    for (size_t i = 0; i < 6; i++)
        iv[at + 4 + i] ^= (uint8_t)(index >> (40 - 8 * i));
}

/* ---- Ciphers ---- */

/* Run the pieces through the cipher, one behind the other, to `out`; NULL authenticates only. */
static bool update(EVP_CIPHER_CTX *cipher, uint8_t *out, const struct pc_piece *pieces, int count)
{
    for (int i = 0; i < count; i++) {
        int written = 0;
        if (pieces[i].size > 0 &&
            EVP_CipherUpdate(cipher, out, &written, pieces[i].data, (int)pieces[i].size) != 1)
            return false;
        if (out != NULL)
            out += written;
    }
    return true;
}

static int aead_seal(EVP_CIPHER_CTX *cipher, const uint8_t *iv, const struct pc_piece *aad,
                     int aad_count, const struct pc_piece *pieces, int count, uint8_t *out,
                     uint8_t *tag, size_t tag_bytes)
{
    int written;
    /* The tag is asked for by parameter: EVP_CIPHER_CTX_ctrl() would only translate to this, which
     * costs some 20 ns a packet. */
    OSSL_PARAM get_tag[] = {
        OSSL_PARAM_construct_octet_string(OSSL_CIPHER_PARAM_AEAD_TAG, tag, tag_bytes),
        OSSL_PARAM_construct_end()};
    return EVP_EncryptInit_ex(cipher, NULL, NULL, NULL, iv) == 1 &&
                   update(cipher, NULL, aad, aad_count) && update(cipher, out, pieces, count) &&
                   EVP_EncryptFinal_ex(cipher, tag, &written) == 1 &&
                   EVP_CIPHER_CTX_get_params(cipher, get_tag) == 1
               ? 0
               : -EIO;
}

static int aead_open(EVP_CIPHER_CTX *cipher, const uint8_t *iv, const struct pc_piece *aad,
                     int aad_count, uint8_t *data, size_t size, uint8_t *tag, size_t tag_bytes)
{
    int written;
    uint8_t none[EVP_MAX_BLOCK_LENGTH];
    const struct pc_piece piece = {data, size};
    const OSSL_PARAM set_tag[] = {
        OSSL_PARAM_construct_octet_string(OSSL_CIPHER_PARAM_AEAD_TAG, tag, tag_bytes),
        OSSL_PARAM_construct_end()};
    if (EVP_DecryptInit_ex(cipher, NULL, NULL, NULL, iv) != 1 ||
        EVP_CIPHER_CTX_set_params(cipher, set_tag) != 1 || !update(cipher, NULL, aad, aad_count) ||
        !update(cipher, data, &piece, 1))
        return -EIO;
    return EVP_DecryptFinal_ex(cipher, none, &written) == 1 ? 0 : -EPERM;
}

static int counter_mode(EVP_CIPHER_CTX *cipher, const uint8_t *iv, const struct pc_piece *pieces,
                        int count, uint8_t *out)
{
    return EVP_EncryptInit_ex(cipher, NULL, NULL, NULL, iv) == 1 &&
                   update(cipher, out, pieces, count)
               ? 0
               : -EIO;
}

/* HMAC-SHA1 over `data` and then the big-endian `suffix` (the rollover counter). */
static int authenticate(EVP_MAC_CTX *mac, const uint8_t *data, size_t size, const uint32_t *suffix,
                        uint8_t out[SHA1_BYTES])
{
    uint8_t bytes[4];
    size_t written;
    if (EVP_MAC_init(mac, NULL, 0, NULL) != 1 || EVP_MAC_update(mac, data, size) != 1)
        return -EIO;
    if (suffix != NULL) {
        write32(bytes, *suffix);
        if (EVP_MAC_update(mac, bytes, sizeof bytes) != 1)
            return -EIO;
    }
    return EVP_MAC_final(mac, out, &written, SHA1_BYTES) == 1 ? 0 : -EIO;
}

/* ---- Making contexts ---- */

static EVP_MAC_CTX *make_mac(const uint8_t key[SHA1_BYTES])
{
    const OSSL_PARAM settings[] = {
        OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, (char *)"SHA1", 0),
        OSSL_PARAM_construct_end()};
    EVP_MAC *hmac = EVP_MAC_fetch(NULL, "HMAC", NULL);
    EVP_MAC_CTX *mac = hmac != NULL ? EVP_MAC_CTX_new(hmac) : NULL;
    EVP_MAC_free(hmac);
    if (mac != NULL && EVP_MAC_init(mac, key, SHA1_BYTES, settings) != 1) {
        EVP_MAC_CTX_free(mac);
        mac = NULL;
    }
    return mac;
}

static bool transform_init(struct transform *transform, const struct pc_srtp_parameters *parameters,
                           const struct pc_srtp_session_keys *keys)
{
    memcpy(transform->salt, keys->salt, (size_t)parameters->salt_bytes);
    transform->cipher = pc_srtp_cipher(parameters->cipher, keys->cipher);
    if (!parameters->aead)
        transform->mac = make_mac(keys->auth);
    return transform->cipher != NULL && (parameters->aead || transform->mac != NULL);
}

static void transform_free(struct transform *transform)
{
    EVP_CIPHER_CTX_free(transform->cipher);
    EVP_MAC_CTX_free(transform->mac);
    OPENSSL_cleanse(transform->salt, sizeof transform->salt);
}

int pc_srtp_create_from_session(enum pc_srtp_profile profile,
                                const struct pc_srtp_session_keys *rtp,
                                const struct pc_srtp_session_keys *rtcp, struct pc_srtp **out)
{
    *out = NULL;
    const struct pc_srtp_parameters *parameters = pc_srtp_parameters(profile);
    if (parameters == NULL)
        return pc_fail(-EINVAL, "profile: %d is no SRTP profile", profile);
    struct pc_srtp *srtp = calloc(1, sizeof *srtp);
    if (srtp == NULL)
        return pc_fail(-ENOMEM, "out of memory");
    srtp->parameters = parameters;
    pc_replay_init(&srtp->rtp_received, RTP_WINDOW);
    pc_replay_init(&srtp->rtcp_received, RTCP_WINDOW);
    if (!transform_init(&srtp->rtp, parameters, rtp) ||
        !transform_init(&srtp->rtcp, parameters, rtcp)) {
        pc_srtp_destroy(srtp);
        return pc_fail(-EIO, "OpenSSL does not provide %s", parameters->cipher);
    }
    *out = srtp;
    return 0;
}

int pc_srtp_create(enum pc_srtp_profile profile, const uint8_t *key, size_t key_bytes,
                   struct pc_srtp **out)
{
    *out = NULL;
    const struct pc_srtp_parameters *parameters = pc_srtp_parameters(profile);
    if (parameters == NULL)
        return pc_fail(-EINVAL, "profile: %d is no SRTP profile", profile);
    size_t expected = (size_t)(parameters->key_bytes + parameters->salt_bytes);
    if (key_bytes != expected)
        return pc_fail(-EINVAL, "key_bytes: profile %d needs %zu, not %zu", profile, expected,
                       key_bytes);
    struct pc_srtp_session_keys rtp, rtcp = {0};
    int result = pc_srtp_derive(profile, key, false, &rtp);
    if (result == 0)
        result = pc_srtp_derive(profile, key, true, &rtcp);
    if (result == 0)
        result = pc_srtp_create_from_session(profile, &rtp, &rtcp, out);
    OPENSSL_cleanse(&rtp, sizeof rtp);
    OPENSSL_cleanse(&rtcp, sizeof rtcp);
    return result;
}

void pc_srtp_destroy(struct pc_srtp *srtp)
{
    if (srtp == NULL)
        return;
    transform_free(&srtp->rtp);
    transform_free(&srtp->rtcp);
    pc_replay_free(&srtp->rtp_received);
    pc_replay_free(&srtp->rtcp_received);
    free(srtp);
}

size_t pc_srtp_overhead(const struct pc_srtp *srtp)
{
    return srtp->parameters->tag_bytes;
}

/* ---- RTP ---- */

long pc_srtp_protect(struct pc_srtp *srtp, uint64_t index, uint8_t *packet, size_t header_bytes,
                     const struct pc_piece *pieces, int piece_count)
{
    if (index >> 48 != 0 || piece_count < 0 || piece_count > 2 ||
        header_bytes < PC_RTP_HEADER_BYTES)
        return -EINVAL;
    size_t tag_bytes = srtp->parameters->tag_bytes, size = header_bytes;
    for (int i = 0; i < piece_count; i++)
        size += pieces[i].size;
    uint8_t iv[MAX_IV_BYTES];
    make_iv(srtp, &srtp->rtp, read32(packet + 8), index, iv);

    int result;
    if (srtp->parameters->aead) {
        const struct pc_piece aad = {packet, header_bytes};
        result = aead_seal(srtp->rtp.cipher, iv, &aad, 1, pieces, piece_count,
                           packet + header_bytes, packet + size, tag_bytes);
    } else {
        uint8_t tag[SHA1_BYTES];
        uint32_t rollover = (uint32_t)(index >> 16);
        result = counter_mode(srtp->rtp.cipher, iv, pieces, piece_count, packet + header_bytes);
        if (result == 0)
            result = authenticate(srtp->rtp.mac, packet, size, &rollover, tag);
        if (result == 0)
            memcpy(packet + size, tag, tag_bytes);
    }
    return result < 0 ? result : (long)(size + tag_bytes);
}

static int open_rtp(struct pc_srtp *srtp, uint32_t ssrc, uint64_t index, uint8_t *packet,
                    size_t header_bytes, size_t size)
{
    size_t tag_bytes = srtp->parameters->tag_bytes;
    const struct pc_piece header = {packet, header_bytes};
    const struct pc_piece payload = {packet + header_bytes, size - header_bytes};
    uint8_t iv[MAX_IV_BYTES];
    make_iv(srtp, &srtp->rtp, ssrc, index, iv);
    if (srtp->parameters->aead)
        return aead_open(srtp->rtp.cipher, iv, &header, 1, packet + header_bytes, payload.size,
                         packet + size, tag_bytes);
    uint8_t tag[SHA1_BYTES];
    uint32_t rollover = (uint32_t)(index >> 16);
    int result = authenticate(srtp->rtp.mac, packet, size, &rollover, tag);
    if (result < 0)
        return result;
    if (CRYPTO_memcmp(tag, packet + size, tag_bytes) != 0)
        return -EPERM;
    return counter_mode(srtp->rtp.cipher, iv, &payload, 1, packet + header_bytes);
}

long pc_srtp_unprotect(struct pc_srtp *srtp, uint8_t *packet, size_t size)
{
    size_t tag_bytes = srtp->parameters->tag_bytes;
    long header_bytes = pc_rtp_header_bytes(packet, size);
    if (header_bytes < 0 || size < (size_t)header_bytes + tag_bytes)
        return -EBADMSG;
    size -= tag_bytes;
    uint32_t ssrc = read32(packet + 8);
    struct pc_replay_stream *stream = pc_replay_find(&srtp->rtp_received, ssrc);
    uint64_t index = pc_replay_guess(stream, read16(packet + 2));
    int result = pc_replay_check(&srtp->rtp_received, stream, index);
    if (result == 0)
        result = open_rtp(srtp, ssrc, index, packet, (size_t)header_bytes, size);
    if (result == 0)
        result = pc_replay_accept(&srtp->rtp_received, stream, ssrc, index);
    return result < 0 ? result : (long)size;
}

/* ---- RTCP: the index travels behind the ciphertext, ahead of a counter mode tag (RFC 3711 3.4)
 * and behind an AEAD tag (RFC 7714 9.2) ---- */

long pc_srtp_protect_rtcp(struct pc_srtp *srtp, uint8_t *packet, size_t size)
{
    if (size < RTCP_HEADER_BYTES)
        return -EINVAL;
    if (srtp->rtcp_index >= ENCRYPTED_FLAG)
        return -EOVERFLOW;
    size_t tag_bytes = srtp->parameters->tag_bytes;
    uint8_t iv[MAX_IV_BYTES];
    make_iv(srtp, &srtp->rtcp, read32(packet + 4), srtp->rtcp_index, iv);
    const struct pc_piece body = {packet + RTCP_HEADER_BYTES, size - RTCP_HEADER_BYTES};
    uint8_t word[INDEX_BYTES];
    write32(word, srtp->rtcp_index | ENCRYPTED_FLAG);

    int result;
    if (srtp->parameters->aead) {
        const struct pc_piece aad[] = {{packet, RTCP_HEADER_BYTES}, {word, INDEX_BYTES}};
        result = aead_seal(srtp->rtcp.cipher, iv, aad, 2, &body, 1, packet + RTCP_HEADER_BYTES,
                           packet + size, tag_bytes);
        memcpy(packet + size + tag_bytes, word, INDEX_BYTES);
    } else {
        uint8_t tag[SHA1_BYTES];
        result = counter_mode(srtp->rtcp.cipher, iv, &body, 1, packet + RTCP_HEADER_BYTES);
        memcpy(packet + size, word, INDEX_BYTES);
        if (result == 0)
            result = authenticate(srtp->rtcp.mac, packet, size + INDEX_BYTES, NULL, tag);
        if (result == 0)
            memcpy(packet + size + INDEX_BYTES, tag, tag_bytes);
    }
    if (result < 0)
        return result;
    srtp->rtcp_index++;
    return (long)(size + INDEX_BYTES + tag_bytes);
}

/* `size`: without index and tag. */
static int open_rtcp(struct pc_srtp *srtp, uint32_t ssrc, uint32_t word, uint8_t *packet,
                     size_t size)
{
    size_t tag_bytes = srtp->parameters->tag_bytes;
    bool encrypted = (word & ENCRYPTED_FLAG) != 0;
    const struct pc_piece body = {packet + RTCP_HEADER_BYTES, size - RTCP_HEADER_BYTES};
    uint8_t iv[MAX_IV_BYTES];
    make_iv(srtp, &srtp->rtcp, ssrc, word & ~ENCRYPTED_FLAG, iv);
    if (srtp->parameters->aead) {
        const struct pc_piece aad[] = {{packet, encrypted ? RTCP_HEADER_BYTES : size},
                                       {packet + size + tag_bytes, INDEX_BYTES}};
        return aead_open(srtp->rtcp.cipher, iv, aad, 2, packet + RTCP_HEADER_BYTES,
                         encrypted ? body.size : 0, packet + size, tag_bytes);
    }
    uint8_t tag[SHA1_BYTES];
    int result = authenticate(srtp->rtcp.mac, packet, size + INDEX_BYTES, NULL, tag);
    if (result < 0)
        return result;
    if (CRYPTO_memcmp(tag, packet + size + INDEX_BYTES, tag_bytes) != 0)
        return -EPERM;
    return encrypted ? counter_mode(srtp->rtcp.cipher, iv, &body, 1, packet + RTCP_HEADER_BYTES)
                     : 0;
}

long pc_srtp_unprotect_rtcp(struct pc_srtp *srtp, uint8_t *packet, size_t size)
{
    size_t tag_bytes = srtp->parameters->tag_bytes;
    if (size < RTCP_HEADER_BYTES + INDEX_BYTES + tag_bytes || packet[0] >> 6 != 2)
        return -EBADMSG;
    size -= INDEX_BYTES + tag_bytes;
    uint32_t ssrc = read32(packet + 4);
    uint32_t word = read32(packet + size + (srtp->parameters->aead ? tag_bytes : 0));
    uint32_t index = word & ~ENCRYPTED_FLAG;
    struct pc_replay_stream *stream = pc_replay_find(&srtp->rtcp_received, ssrc);
    int result = pc_replay_check(&srtp->rtcp_received, stream, index);
    if (result == 0)
        result = open_rtcp(srtp, ssrc, word, packet, size);
    if (result == 0)
        result = pc_replay_accept(&srtp->rtcp_received, stream, ssrc, index);
    return result < 0 ? result : (long)size;
}
