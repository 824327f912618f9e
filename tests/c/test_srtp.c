#include <errno.h>
#include <stdlib.h>

#include "harness.h"
#include "hex.h"
#include "srtp.h"

static const enum pc_srtp_profile profiles[] = {PC_SRTP_AES128_CM_SHA1_80, PC_SRTP_AEAD_AES_128_GCM,
                                                PC_SRTP_AEAD_AES_256_GCM};

static const uint8_t master[44] = {0xE1, 0xF9, 0x7A, 0x0D, 0x3E, 0x01, 0x8B, 0xE0, 0xD6, 0x4F};

static struct pc_srtp *make(enum pc_srtp_profile profile)
{
    struct pc_srtp *srtp;
    size_t bytes = (size_t)(pc_srtp_key_bytes(profile) + pc_srtp_salt_bytes(profile));
    CHECK_EQ(pc_srtp_create(profile, master, bytes, &srtp), 0);
    return srtp;
}

/* A packet without extension; the payload is `size` bytes that depend on `index`. */
static long protect(struct pc_srtp *srtp, uint32_t ssrc, uint64_t index, size_t size, uint8_t *out)
{
    uint8_t payload[1500];
    struct pc_piece piece = {payload, size};
    memset(payload, (uint8_t)index, sizeof payload);
    memset(out, 0, 12);
    out[0] = 0x80;
    out[1] = 96;
    out[2] = (uint8_t)(index >> 8);
    out[3] = (uint8_t)index;
    for (int i = 0; i < 4; i++)
        out[8 + i] = (uint8_t)(ssrc >> (24 - 8 * i));
    return pc_srtp_protect(srtp, index, out, 12, &piece, 1);
}

static long receive(struct pc_srtp *sender, struct pc_srtp *receiver, uint32_t ssrc, uint64_t index)
{
    uint8_t packet[200];
    long size = protect(sender, ssrc, index, 20, packet);
    return pc_srtp_unprotect(receiver, packet, (size_t)size);
}

/* ---- Vectors ---- */

/* RFC 3711 B.3 */
static void derives_session_keys(void)
{
    uint8_t key[30], expected[32];
    struct pc_srtp_session_keys rtp, rtcp;
    hex("E1F97A0D3E018BE0D64FA32C06DE4139 0EC675AD498AFEEBB6960B3AABE6", key);
    CHECK_EQ(pc_srtp_derive(PC_SRTP_AES128_CM_SHA1_80, key, false, &rtp), 0);
    hex("C61E7A93744F39EE10734AFE3FF7A087", expected);
    CHECK_BYTES(rtp.cipher, expected, 16);
    hex("30CBBC08863D8C85D49DB34A9AE1", expected);
    CHECK_BYTES(rtp.salt, expected, 14);
    hex("CEBE321F6FF7716B6FD4AB49AF256A156D38BAA4", expected);
    CHECK_BYTES(rtp.auth, expected, 20);
    CHECK_EQ(pc_srtp_derive(PC_SRTP_AES128_CM_SHA1_80, key, true, &rtcp), 0);
    CHECK(memcmp(rtp.cipher, rtcp.cipher, 16) != 0 && memcmp(rtp.auth, rtcp.auth, 20) != 0 &&
          memcmp(rtp.salt, rtcp.salt, 14) != 0);
}

/* RFC 3711 B.2: SSRC, rollover and sequence number 0, so that the IV is the salt */
static void makes_the_counter_mode_key_stream(void)
{
    struct pc_srtp_session_keys keys = {0};
    struct pc_srtp *srtp;
    uint8_t expected[48];
    static uint8_t packet[12 + 1500 + 10], zero[1500];
    hex("2B7E151628AED2A6ABF7158809CF4F3C", keys.cipher);
    hex("F0F1F2F3F4F5F6F7F8F9FAFBFCFD", keys.salt);
    hex("E03EAD0935C95E80E166B16DD92B4EB4 D23513162B02D0F72A43A2FE4A5F97AB"
        "41E95B3BB0A2E8DD477901E4FCA894C0",
        expected);
    CHECK_EQ(pc_srtp_create_from_session(PC_SRTP_AES128_CM_SHA1_80, &keys, &keys, &srtp), 0);
    packet[0] = 0x80;
    struct pc_piece piece = {zero, sizeof zero};
    CHECK_EQ(pc_srtp_protect(srtp, 0, packet, 12, &piece, 1), sizeof packet);
    CHECK_BYTES(packet + 12, expected, sizeof expected);
    pc_srtp_destroy(srtp);
}

/* The packets of libsrtp's own test driver, for the master key of RFC 3711 B.3 */
static void protects_as_libsrtp_does_in_counter_mode(void)
{
    uint8_t key[30], expected[64], packet[64], plain[64];
    struct pc_srtp *sender, *receiver;
    hex("E1F97A0D3E018BE0D64FA32C06DE4139 0EC675AD498AFEEBB6960B3AABE6", key);
    CHECK_EQ(pc_srtp_create(PC_SRTP_AES128_CM_SHA1_80, key, sizeof key, &sender), 0);
    CHECK_EQ(pc_srtp_create(PC_SRTP_AES128_CM_SHA1_80, key, sizeof key, &receiver), 0);

    size_t size = hex("800F1234 DECAFBAD CAFEBABE ABABABAB ABABABAB ABABABAB ABABABAB", plain);
    hex("800F1234 DECAFBAD CAFEBABE 4E55DC4C E79978D8 8CA4D215 949D2402 B78D6ACC 99EA179B 8DBB",
        expected);
    memcpy(packet, plain, 12);
    struct pc_piece piece = {plain + 12, size - 12};
    CHECK_EQ(pc_srtp_protect(sender, 0x1234, packet, 12, &piece, 1), size + 10);
    CHECK_BYTES(packet, expected, size + 10);
    CHECK_EQ(pc_srtp_unprotect(receiver, packet, size + 10), size);
    CHECK_BYTES(packet, plain, size);

    size = hex("81C8000B CAFEBABE ABABABAB ABABABAB ABABABAB ABABABAB", plain);
    hex("81C8000B CAFEBABE 7128035B E487B9BD BEF89041 F977A5A8 80000001 993E08CD 54D6C123 0798",
        expected);
    for (int i = 0; i < 2; i++) { /* the vector's index is 1 */
        memcpy(packet, plain, size);
        CHECK_EQ(pc_srtp_protect_rtcp(sender, packet, size), size + 14);
    }
    CHECK_BYTES(packet, expected, size + 14);
    CHECK_EQ(pc_srtp_unprotect_rtcp(receiver, packet, size + 14), size);
    CHECK_BYTES(packet, plain, size);
    pc_srtp_destroy(sender);
    pc_srtp_destroy(receiver);
}

static void aead_keys(struct pc_srtp_session_keys *keys)
{
    memset(keys, 0, sizeof *keys);
    for (uint8_t i = 0; i < 32; i++)
        keys->cipher[i] = i;
    memcpy(keys->salt, "Quid pro quo", 12);
}

/* RFC 7714 16.1 and 16.2 */
static void protects_rtp_as_rfc_7714(void)
{
    static const struct {
        enum pc_srtp_profile profile;
        const char *expected;
    } vectors[] = {
        {PC_SRTP_AEAD_AES_128_GCM,
         "8040F17B 8041F8D3 5501A0B2 F24DE3A3 FB34DE6C ACBA861C 9D7E4BCA BE633BD5 0D294E6F"
         "42A5F47A 51C7D19B 36DE3ADF 8833899D 7F27BEB1 6A9152CF 765EE439 0CCE"},
        {PC_SRTP_AEAD_AES_256_GCM,
         "8040F17B 8041F8D3 5501A0B2 32B1DE78 A822FE12 EF9F78FA 332E33AA B1801238 9A58E2F3"
         "B50B2A02 76FFAE0F 1BA63799 B87B7AA3 DB36DFFF D6B0F9BB 7878D7A7 6C13"},
    };
    static const char text[] = "Gallia est omnis divisa in partes tres";
    for (size_t i = 0; i < 2; i++) {
        struct pc_srtp_session_keys keys;
        struct pc_srtp *srtp;
        uint8_t packet[100], expected[100];
        size_t size = hex(vectors[i].expected, expected);
        aead_keys(&keys);
        CHECK_EQ(pc_srtp_create_from_session(vectors[i].profile, &keys, &keys, &srtp), 0);
        memcpy(packet, expected, 12);
        struct pc_piece pieces[] = {{(const uint8_t *)text, 7}, {(const uint8_t *)text + 7, 31}};
        CHECK_EQ(pc_srtp_protect(srtp, 0xF17B, packet, 12, pieces, 2), size);
        CHECK_BYTES(packet, expected, size);
        CHECK_EQ(pc_srtp_unprotect(srtp, packet, size), 12 + 38);
        CHECK_BYTES(packet + 12, text, 38);
        pc_srtp_destroy(srtp);
    }
}

/* RFC 7714 17.1 to 17.4 */
static void protects_rtcp_as_rfc_7714(void)
{
    static const struct {
        enum pc_srtp_profile profile;
        const char *encrypted, *tagged;
    } vectors[] = {
        {PC_SRTP_AEAD_AES_128_GCM,
         "81C8000D 4D617273 63E94885 DCDAB67C A727D766 2F6B7E99 7FF5C0F7 6C06F32D C676A5F1"
         "730D6FDA 4CE09B46 86303DED 0BB9275B C84AA458 96CF4D2F C5ABF872 45D9EADE 800005D4",
         "841DD968 3DD78EC9 2AE58790 125F62B3 000005D4"},
        {PC_SRTP_AEAD_AES_256_GCM,
         "81C8000D 4D617273 D50AE4D1 F5CE5D30 4BA297E4 7D470C28 2C3ECE5D BFFE0A50 A2EAA5C1"
         "110555BE 8415F658 C61DE047 6F1B6FAD 1D1EB30C 4446839F 57FF6F6C B26AC3BE 800005D4",
         "91DB4AFB FEEE5A97 8FAB4393 ED2615FE 000005D4"},
    };
    for (size_t i = 0; i < 2; i++) {
        struct pc_srtp_session_keys keys;
        struct pc_srtp *sender, *receiver;
        uint8_t plain[100], packet[100], expected[100];
        size_t size = hex("81C8000D 4D617273 4E545031 4E545032 52545020 0000042A 0000E930"
                          "4C756E61 DEADBEEF DEADBEEF DEADBEEF DEADBEEF DEADBEEF",
                          plain);
        aead_keys(&keys);
        CHECK_EQ(pc_srtp_create_from_session(vectors[i].profile, &keys, &keys, &sender), 0);
        CHECK_EQ(pc_srtp_create_from_session(vectors[i].profile, &keys, &keys, &receiver), 0);
        for (int sent = 0; sent <= 0x5D4; sent++) {
            memcpy(packet, plain, size);
            CHECK_EQ(pc_srtp_protect_rtcp(sender, packet, size), size + 20);
        }
        CHECK_EQ(hex(vectors[i].encrypted, expected), size + 20);
        CHECK_BYTES(packet, expected, size + 20);
        CHECK_EQ(pc_srtp_unprotect_rtcp(receiver, packet, size + 20), size);
        CHECK_BYTES(packet, plain, size);
        pc_srtp_destroy(receiver);

        /* authenticated but not encrypted */
        CHECK_EQ(pc_srtp_create_from_session(vectors[i].profile, &keys, &keys, &receiver), 0);
        memcpy(packet, plain, size);
        hex(vectors[i].tagged, packet + size);
        packet[size - 1] ^= 1;
        CHECK_EQ(pc_srtp_unprotect_rtcp(receiver, packet, size + 20), -EPERM);
        packet[size - 1] ^= 1;
        CHECK_EQ(pc_srtp_unprotect_rtcp(receiver, packet, size + 20), size);
        CHECK_BYTES(packet, plain, size);
        pc_srtp_destroy(sender);
        pc_srtp_destroy(receiver);
    }
}

/* ---- Behaviour, for every profile ---- */

static void two_pieces_are_as_good_as_one(enum pc_srtp_profile profile)
{
    struct pc_srtp *sender = make(profile), *receiver = make(profile);
    uint8_t payload[1300], header[28] = {0x90, 96, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4, 0xBE, 0xDE, 0, 3};
    uint64_t random = 7;
    for (size_t i = 0; i < sizeof payload; i++)
        payload[i] = (uint8_t)harness_random(&random);
    for (size_t size = 0; size <= sizeof payload; size += size < 70 ? 1 : 41) {
        uint8_t whole[1400], split[1400];
        uint64_t index = 3 << 16 | size;
        size_t first = harness_random(&random) % (size + 1);
        struct pc_piece one = {payload, size};
        struct pc_piece two[] = {{payload, first}, {payload + first, size - first}};
        header[2] = (uint8_t)(size >> 8);
        header[3] = (uint8_t)size;
        memcpy(whole, header, sizeof header);
        memcpy(split, header, sizeof header);
        long length = pc_srtp_protect(sender, index, whole, sizeof header, &one, 1);
        CHECK_EQ(length, sizeof header + size + pc_srtp_overhead(sender));
        CHECK_EQ(pc_srtp_protect(sender, index, split, sizeof header, two, 2), length);
        CHECK_BYTES(whole, split, (size_t)length);
        CHECK_BYTES(whole, header, sizeof header);
        CHECK(size < 16 || memcmp(whole + sizeof header, payload, size) != 0);
        if (size == 0) { /* the receiver learns the rollover counter 3 by going there */
            CHECK_EQ(pc_srtp_unprotect(receiver, split, (size_t)length), -EPERM);
            for (uint64_t step = 1; step <= 6; step++)
                CHECK(receive(sender, receiver, 0x01020304, step * 0x7FFF) > 0);
        }
        CHECK_EQ(pc_srtp_unprotect(receiver, whole, (size_t)length), sizeof header + size);
        CHECK_BYTES(whole + sizeof header, payload, size);
    }
    struct pc_piece none = {payload, 0};
    uint8_t packet[64] = {0x80};
    CHECK_EQ(pc_srtp_protect(sender, 0, packet, 12, NULL, 0), 12 + pc_srtp_overhead(sender));
    CHECK_EQ(pc_srtp_protect(sender, 1ull << 48, packet, 12, &none, 1), -EINVAL);
    CHECK_EQ(pc_srtp_protect(sender, 0, packet, 11, &none, 1), -EINVAL);
    CHECK_EQ(pc_srtp_protect(sender, 0, packet, 12, &none, 3), -EINVAL);
    CHECK_EQ(pc_srtp_protect(sender, 0, packet, 12, &none, -1), -EINVAL);
    pc_srtp_destroy(sender);
    pc_srtp_destroy(receiver);
}

static void follows_the_rollover(enum pc_srtp_profile profile)
{
    struct pc_srtp *sender = make(profile), *receiver = make(profile);
    /* pairs in swapped order over two rollovers, then in leaps just under half the number space */
    for (uint64_t index = 65530; index < 65546; index += 2) {
        CHECK_EQ(receive(sender, receiver, 1, index + 1), 32);
        CHECK_EQ(receive(sender, receiver, 1, index), 32);
    }
    for (uint64_t index = 65545 + 0x7FFF; index < 1 << 20; index += 0x7FFF)
        CHECK_EQ(receive(sender, receiver, 1, index), 32);
    CHECK_EQ(receive(sender, receiver, 1, 5), -EPERM); /* long gone: taken for a later one */
    pc_srtp_destroy(sender);
    pc_srtp_destroy(receiver);
}

static void refuses_replays(enum pc_srtp_profile profile)
{
    struct pc_srtp *sender = make(profile), *receiver = make(profile);
    CHECK_EQ(receive(sender, receiver, 1, 2000), 32);
    CHECK_EQ(receive(sender, receiver, 1, 2000), -EALREADY);
    CHECK_EQ(receive(sender, receiver, 1, 2000 - 1023), 32);
    CHECK_EQ(receive(sender, receiver, 1, 2000 - 1023), -EALREADY);
    CHECK_EQ(receive(sender, receiver, 1, 2000 - 1024), -EALREADY);
    CHECK_EQ(receive(sender, receiver, 2, 2000 - 1024), 32); /* another SSRC, another window */
    CHECK_EQ(receive(sender, receiver, 1, 2001), 32);
    pc_srtp_destroy(sender);
    pc_srtp_destroy(receiver);
}

static void refuses_rtcp_replays(enum pc_srtp_profile profile)
{
    enum { PACKETS = 200 };
    struct pc_srtp *sender = make(profile), *receiver = make(profile);
    uint8_t sent[PACKETS][64], plain[28] = {0x81, 200, 0, 6, 1, 2, 3, 4};
    size_t size = 0;
    for (int i = 0; i < PACKETS; i++) {
        memcpy(sent[i], plain, sizeof plain);
        size = (size_t)pc_srtp_protect_rtcp(sender, sent[i], sizeof plain);
        CHECK(size <= sizeof plain + PC_SRTCP_MAX_OVERHEAD);
        CHECK(memcmp(sent[i] + 8, plain + 8, 20) != 0);
    }
    for (int i = 0; i < PACKETS; i++) {
        uint8_t packet[64];
        memcpy(packet, sent[i ^ 1], size); /* swapped pairs */
        CHECK_EQ(pc_srtp_unprotect_rtcp(receiver, packet, size), sizeof plain);
        CHECK_BYTES(packet, plain, sizeof plain);
        memcpy(packet, sent[i ^ 1], size);
        CHECK_EQ(pc_srtp_unprotect_rtcp(receiver, packet, size), -EALREADY);
    }
    CHECK_EQ(pc_srtp_unprotect_rtcp(receiver, sent[0], size), -EALREADY);
    struct pc_srtp *late = make(profile);
    CHECK_EQ(pc_srtp_unprotect_rtcp(late, sent[180], size), sizeof plain);
    CHECK_EQ(pc_srtp_unprotect_rtcp(late, sent[180 - 127], size), sizeof plain);
    CHECK_EQ(pc_srtp_unprotect_rtcp(late, sent[180 - 128], size), -EALREADY);
    pc_srtp_destroy(sender);
    pc_srtp_destroy(receiver);
    pc_srtp_destroy(late);
}

/* Every bit of a packet and every shorter length is refused, and leaves nothing behind. */
static void forged_packets_leave_no_trace(enum pc_srtp_profile profile)
{
    struct pc_srtp *sender = make(profile), *receiver = make(profile);
    uint8_t good[128], packet[128];
    CHECK_EQ(receive(sender, receiver, 1, 100), 32);
    size_t size = (size_t)protect(sender, 1, 101, 20, good);
    for (size_t bit = 0; bit < size * 8; bit++) {
        memcpy(packet, good, size);
        packet[bit / 8] ^= (uint8_t)(1 << bit % 8);
        long result = pc_srtp_unprotect(receiver, packet, size);
        bool replayed = bit / 8 == 2 || bit / 8 == 3; /* another sequence number */
        bool malformed = bit / 8 == 0;                /* version, extension, CSRCs */
        CHECK(result == -EPERM || (replayed && result == -EALREADY) ||
              (malformed && result == -EBADMSG));
    }
    for (size_t cut = 0; cut < size; cut++) {
        uint8_t *shorter = malloc(cut > 0 ? cut : 1);
        memcpy(shorter, good, cut);
        long result = pc_srtp_unprotect(receiver, shorter, cut);
        CHECK_EQ(result, cut < 12 + pc_srtp_overhead(receiver) ? -EBADMSG : -EPERM);
        free(shorter);
    }
    memcpy(packet, good, size);
    CHECK_EQ(pc_srtp_unprotect(receiver, packet, size), 32);
    CHECK_EQ(receive(sender, receiver, 1, 99), 32);
    pc_srtp_destroy(sender);
    pc_srtp_destroy(receiver);
}

static void forged_rtcp_leaves_no_trace(enum pc_srtp_profile profile)
{
    struct pc_srtp *sender = make(profile), *receiver = make(profile);
    uint8_t good[64] = {0x80, 201, 0, 3, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12}, packet[64];
    size_t size = (size_t)pc_srtp_protect_rtcp(sender, good, 16);
    for (size_t bit = 0; bit < size * 8; bit++) {
        memcpy(packet, good, size);
        packet[bit / 8] ^= (uint8_t)(1 << bit % 8);
        long result = pc_srtp_unprotect_rtcp(receiver, packet, size);
        CHECK(result == -EPERM || (bit < 8 && result == -EBADMSG));
    }
    for (size_t cut = 0; cut < size; cut++) {
        uint8_t *shorter = malloc(cut > 0 ? cut : 1);
        memcpy(shorter, good, cut);
        long result = pc_srtp_unprotect_rtcp(receiver, shorter, cut);
        CHECK_EQ(result, cut < 8 + 4 + pc_srtp_overhead(receiver) ? -EBADMSG : -EPERM);
        free(shorter);
    }
    CHECK_EQ(pc_srtp_unprotect_rtcp(receiver, good, size), 16);
    for (size_t cut = 0; cut < 8; cut++)
        CHECK_EQ(pc_srtp_protect_rtcp(sender, good, cut), -EINVAL);
    pc_srtp_destroy(sender);
    pc_srtp_destroy(receiver);
}

static void forgets_the_longest_unused_ssrc(enum pc_srtp_profile profile)
{
    struct pc_srtp *sender = make(profile), *receiver = make(profile);
    for (uint32_t ssrc = 0; ssrc < 64; ssrc++)
        CHECK_EQ(receive(sender, receiver, ssrc, 10), 32);
    uint8_t forged[64];
    long size = protect(sender, 64, 10, 20, forged);
    forged[20] ^= 1;
    CHECK_EQ(pc_srtp_unprotect(receiver, forged, (size_t)size), -EPERM);
    for (uint32_t ssrc = 0; ssrc < 64; ssrc++)
        CHECK_EQ(receive(sender, receiver, ssrc, 10), -EALREADY);
    CHECK_EQ(receive(sender, receiver, 64, 10), 32);
    CHECK_EQ(receive(sender, receiver, 1, 10), -EALREADY);
    CHECK_EQ(receive(sender, receiver, 0, 10), 32);
    pc_srtp_destroy(sender);
    pc_srtp_destroy(receiver);
}

static void refuses_bad_keys(void)
{
    struct pc_srtp *srtp;
    for (size_t i = 0; i < 3; i++) {
        size_t right = (size_t)(pc_srtp_key_bytes(profiles[i]) + pc_srtp_salt_bytes(profiles[i]));
        CHECK_EQ(right, i == 0 ? 30 : i == 1 ? 28 : 44);
        for (size_t bytes = 0; bytes <= 44; bytes++) {
            int result = pc_srtp_create(profiles[i], master, bytes, &srtp);
            CHECK_EQ(result, bytes == right ? 0 : -EINVAL);
            CHECK((srtp != NULL) == (result == 0));
            CHECK(result == 0 || strstr(pc_error_text(), "key_bytes") != NULL);
            pc_srtp_destroy(srtp);
        }
    }
    CHECK_EQ(pc_srtp_create((enum pc_srtp_profile)2, master, 30, &srtp), -EINVAL);
    CHECK(strstr(pc_error_text(), "profile") != NULL);
    CHECK_EQ(pc_srtp_key_bytes((enum pc_srtp_profile)0), -EINVAL);
    CHECK_EQ(pc_srtp_salt_bytes((enum pc_srtp_profile)9), -EINVAL);
}

#define FOR_EACH_PROFILE(test)                                                                     \
    static void every_profile_##test(void)                                                         \
    {                                                                                              \
        for (size_t i = 0; i < 3; i++)                                                             \
            test(profiles[i]);                                                                     \
    }

FOR_EACH_PROFILE(two_pieces_are_as_good_as_one)
FOR_EACH_PROFILE(follows_the_rollover)
FOR_EACH_PROFILE(refuses_replays)
FOR_EACH_PROFILE(refuses_rtcp_replays)
FOR_EACH_PROFILE(forged_packets_leave_no_trace)
FOR_EACH_PROFILE(forged_rtcp_leaves_no_trace)
FOR_EACH_PROFILE(forgets_the_longest_unused_ssrc)

int main(void)
{
    RUN(derives_session_keys);
    RUN(makes_the_counter_mode_key_stream);
    RUN(protects_as_libsrtp_does_in_counter_mode);
    RUN(protects_rtp_as_rfc_7714);
    RUN(protects_rtcp_as_rfc_7714);
    RUN(every_profile_two_pieces_are_as_good_as_one);
    RUN(every_profile_follows_the_rollover);
    RUN(every_profile_refuses_replays);
    RUN(every_profile_refuses_rtcp_replays);
    RUN(every_profile_forged_packets_leave_no_trace);
    RUN(every_profile_forged_rtcp_leaves_no_trace);
    RUN(every_profile_forgets_the_longest_unused_ssrc);
    RUN(refuses_bad_keys);
    return HARNESS_RESULT();
}
