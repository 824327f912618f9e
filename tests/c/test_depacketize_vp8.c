#include <errno.h>
#include <stdlib.h>

#include "depacketize.h"
#include "harness.h"
#include "hex.h"
#include "packetize.h"

static struct pc_unit_buffer buffer;

/* Append from memory of exactly that size, so that a sanitizer sees a read past the end. */
static int append(const uint8_t *bytes, size_t size, bool first)
{
    uint8_t *data = malloc(size > 0 ? size : 1);
    if (size > 0)
        memcpy(data, bytes, size);
    pc_vp8_hints(data, size);
    int result = pc_depacketize_vp8(&buffer, data, size, first);
    free(data);
    return result;
}

static int append_hex(const char *text, bool first)
{
    uint8_t bytes[64];
    return append(bytes, hex(text, bytes), first);
}

/* RFC 7741 4.2: the descriptor in each of its forms before the bytes AB CD. */
static void descriptors(void)
{
    static const char *const payloads[] = {
        "10 ABCD",              /* S alone */
        "90 00 ABCD",           /* X, nothing in it */
        "90 80 11 ABCD",        /* a 7-bit picture id */
        "90 80 9234 ABCD",      /* a 15-bit one */
        "90 40 07 ABCD",        /* TL0PICIDX */
        "90 20 40 ABCD",        /* TID */
        "90 10 01 ABCD",        /* KEYIDX */
        "90 30 41 ABCD",        /* TID and KEYIDX share a byte */
        "90 F0 9234 07 41 ABCD" /* all */
    };
    for (size_t i = 0; i < sizeof payloads / sizeof payloads[0]; i++) {
        buffer.size = 0;
        CHECK_EQ(append_hex(payloads[i], true), 0);
        CHECK_EQ(buffer.size, 2);
        CHECK_BYTES(buffer.data, ((const uint8_t[]){0xAB, 0xCD}), 2);
        CHECK_EQ(append_hex(payloads[i], false), -EBADMSG); /* a second beginning */
    }
    CHECK_EQ(append_hex("00 ABCD", false), 0);
    CHECK_EQ(append_hex("11 ABCD", false), 0); /* another partition begins, not the frame */
    CHECK_EQ(append_hex("00 ABCD", true), -EBADMSG);
}

static void malformed_payloads(void)
{
    static const char *const payloads[] = {
        "",         "10",         "90",       "90 00",         "90 80",
        "90 80 11", "90 80 9234", "90 40 07", "90 F0 9234 07", "90 F0 9234 07 41"};
    for (size_t i = 0; i < sizeof payloads / sizeof payloads[0]; i++) {
        uint8_t bytes[64];
        size_t size = hex(payloads[i], bytes);
        CHECK_EQ(append_hex(payloads[i], true), -EBADMSG);
        CHECK(!pc_vp8_hints(bytes, size).begins);
    }
}

static void check_hints(const char *payload, bool begins, bool idr)
{
    uint8_t bytes[64];
    struct pc_payload_hints hints = pc_vp8_hints(bytes, hex(payload, bytes));
    CHECK_EQ(hints.begins, begins);
    CHECK_EQ(hints.idr, idr);
}

static void hints(void)
{
    check_hints("10 10", true, true); /* bit 0 of the frame: 0 = a key frame */
    check_hints("10 11", true, false);
    check_hints("90 80 9234 10", true, true);
    check_hints("00 10", false, false);
    check_hints("11 10", false, false);
}

static void round_trips(void)
{
    struct pc_au_pool *pool = pc_au_pool_create(2);
    struct pc_vp8_packetizer packetizer = {0};
    static uint8_t frame[9000];
    uint64_t random = 4;
    for (size_t size = 1; size < sizeof frame; size += 1 + harness_random(&random) % 40) {
        struct pc_access_unit *au = pc_au_acquire(pool);
        for (size_t i = 0; i < size; i++)
            frame[i] = (uint8_t)harness_random(&random);
        CHECK(pc_packetize_vp8(&packetizer, au, frame, size) > 0);
        buffer.size = 0;
        for (uint32_t i = 0; i < au->count; i++)
            CHECK_EQ(append(au->payloads[i].data, au->payloads[i].size, i == 0), 0);
        CHECK_EQ(buffer.size, size);
        CHECK_BYTES(buffer.data, frame, size);
        CHECK_EQ(pc_vp8_hints(au->payloads[0].data, au->payloads[0].size).idr, (frame[0] & 1) == 0);
        pc_au_unref(au);
    }
    pc_au_pool_release(pool);
}

int main(void)
{
    RUN(descriptors);
    RUN(malformed_payloads);
    RUN(hints);
    RUN(round_trips);
    pc_unit_buffer_free(&buffer);
    return HARNESS_RESULT();
}
