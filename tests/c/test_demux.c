#include <stdlib.h>

#include "demux.h"
#include "harness.h"
#include "hex.h"

static enum pc_datagram kind_of(uint8_t first, uint8_t second, size_t size)
{
    uint8_t *data = calloc(1, size > 0 ? size : 1);
    if (size > 0)
        data[0] = first;
    if (size > 1)
        data[1] = second;
    enum pc_datagram kind = pc_demux(data, size);
    free(data);
    return kind;
}

/* RFC 7983 7 as updated by RFC 9443 */
static void sorts_by_first_byte(void)
{
    for (int first = 0; first < 256; first++) {
        enum pc_datagram expected = PC_DATAGRAM_OTHER; /* ZRTP 16-19, QUIC 80-127 and 192-255 */
        if (first <= 3)
            expected = PC_DATAGRAM_STUN;
        else if (first >= 20 && first <= 63)
            expected = PC_DATAGRAM_DTLS;
        else if (first >= 64 && first <= 79)
            expected = PC_DATAGRAM_CHANNEL;
        else if (first >= 128 && first <= 191)
            expected = PC_DATAGRAM_RTP;
        CHECK_EQ(kind_of((uint8_t)first, 96, 100), expected);
    }
}

static void tells_rtcp_by_payload_type(void)
{
    for (int second = 0; second < 256; second++) {
        int payload_type = second & 0x7F;
        enum pc_datagram expected =
            payload_type >= 64 && payload_type < 96 ? PC_DATAGRAM_RTCP : PC_DATAGRAM_RTP;
        CHECK_EQ(kind_of(0x80, (uint8_t)second, 100), expected);
    }
    CHECK_EQ(kind_of(0x81, 200, 28), PC_DATAGRAM_RTCP); /* SR */
    CHECK_EQ(kind_of(0x8F, 205, 28), PC_DATAGRAM_RTCP); /* transport-wide feedback */
}

static void what_is_too_short_is_nothing(void)
{
    static const struct {
        uint8_t first, second;
        size_t least;
        enum pc_datagram kind;
    } kinds[] = {{0, 1, 20, PC_DATAGRAM_STUN},
                 {22, 0xFE, 13, PC_DATAGRAM_DTLS},
                 {0x40, 0, 4, PC_DATAGRAM_CHANNEL},
                 {0x80, 96, 12, PC_DATAGRAM_RTP},
                 {0x80, 201, 8, PC_DATAGRAM_RTCP}};
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++)
        for (size_t size = 0; size < 30; size++)
            CHECK_EQ(kind_of(kinds[i].first, kinds[i].second, size),
                     size >= kinds[i].least ? kinds[i].kind : PC_DATAGRAM_OTHER);
}

/* Look in memory of exactly that size, so that a sanitizer sees a read past the end. */
static long username_of(const uint8_t *bytes, size_t size, char *out)
{
    uint8_t *data = malloc(size > 0 ? size : 1);
    memcpy(data, bytes, size);
    size_t found_size = 0;
    const uint8_t *found = pc_stun_username(data, size, &found_size);
    if (found != NULL)
        memcpy(out, found, found_size);
    free(data);
    return found != NULL ? (long)found_size : -1;
}

static long username_in_hex(const char *text, char *out)
{
    uint8_t bytes[2048];
    return username_of(bytes, hex(text, bytes), out);
}

/* RFC 5769 2.1: a sample request with SOFTWARE, PRIORITY, ICE-CONTROLLED, USERNAME "evtj:h6vY",
 * MESSAGE-INTEGRITY and FINGERPRINT */
static const char *const sample_request =
    "00010058 2112A442 B7E7A701 BC34D686 FA87DFAE 80220010 5354554E 20746573 7420636C 69656E74"
    "00240004 6E0001FF 80290008 932FF9B1 51263B36 00060009 6576746A 3A683676 59202020 00080014"
    "9AEAA70C BFD8CB56 781EF2B5 B2D3F249 C1B571A2 80280004 E57A3BCF";

static void finds_the_username(void)
{
    char name[600];
    CHECK_EQ(username_in_hex(sample_request, name), 9);
    CHECK_BYTES(name, "evtj:h6vY", 9);
    /* the first one counts; an empty one is one */
    CHECK_EQ(username_in_hex("00010010 2112A442 000000000000000000000000 00060001 61000000"
                             "00060002 62620000",
                             name),
             1);
    CHECK_EQ(name[0], 'a');
    CHECK_EQ(username_in_hex("00010004 2112A442 000000000000000000000000 00060000", name), 0);
}

static void refuses_malformed_stun(void)
{
    static const char *const malformed[] = {
        "00010000 2112A442 000000000000000000000000",                   /* no attribute */
        "00010008 2112A442 000000000000000000000000 00070001 61000000", /* another one */
        "00010008 2112A443 000000000000000000000000 00060001 61000000", /* magic cookie */
        "0001000C 2112A442 000000000000000000000000 00060001 61000000", /* length over */
        "00010004 2112A442 000000000000000000000000 00060001 61000000", /* length under */
        "00010006 2112A442 000000000000000000000000 00060001 6100",     /* no multiple of four */
        "00010008 2112A442 000000000000000000000000 00060005 61616161", /* attribute too long */
        "00010008 2112A442 000000000000000000000000 0006FFFF 61616161",
        "0001000C 2112A442 000000000000000000000000 00060001 61000000 00070001", /* a later one */
        "40010008 2112A442 000000000000000000000000 00060001 61000000",          /* no STUN */
        "00010024 2112A442 000000000000000000000000 00080014 0000000000000000000000000000000000"
        "000000 00060001 61000000 00070000", /* behind MESSAGE-INTEGRITY */
    };
    char name[600];
    for (size_t i = 0; i < sizeof malformed / sizeof malformed[0]; i++)
        CHECK_EQ(username_in_hex(malformed[i], name), -1);
}

static void username_has_a_longest_size(void)
{
    for (size_t length = 505; length <= 512; length++) {
        uint8_t data[20 + 4 + 512] = {0};
        char name[600];
        size_t padded = (length + 3) / 4 * 4;
        hex("00010000 2112A442 000000000000000000000000 0006", data);
        data[2] = (uint8_t)((padded + 4) >> 8);
        data[3] = (uint8_t)(padded + 4);
        data[22] = (uint8_t)(length >> 8);
        data[23] = (uint8_t)length;
        CHECK_EQ(username_of(data, 24 + padded, name), length <= 508 ? (long)length : -1);
    }
}

static void survives_every_length(void)
{
    uint8_t whole[256];
    char name[600];
    size_t size = hex(sample_request, whole);
    for (size_t cut = 0; cut < size; cut++) {
        CHECK_EQ(username_of(whole, cut, name), -1);
        if (cut >= 20) { /* … and with a length field that agrees */
            uint8_t adjusted[256];
            memcpy(adjusted, whole, cut);
            adjusted[3] = (uint8_t)(cut - 20);
            CHECK(username_of(adjusted, cut, name) <= 9);
        }
    }
}

int main(void)
{
    RUN(sorts_by_first_byte);
    RUN(tells_rtcp_by_payload_type);
    RUN(what_is_too_short_is_nothing);
    RUN(finds_the_username);
    RUN(refuses_malformed_stun);
    RUN(username_has_a_longest_size);
    RUN(survives_every_length);
    return HARNESS_RESULT();
}
