#include <errno.h>
#include <stdlib.h>

#include "depacketize.h"
#include "harness.h"
#include "hex.h"
#include "packetize.h"

static struct pc_unit_buffer buffer;
static struct pc_h264_depacketizer depacketizer;

static void begin(void)
{
    buffer.size = 0;
    depacketizer = (struct pc_h264_depacketizer){0};
}

/* Append from memory of exactly that size, so that a sanitizer sees a read past the end. */
static int append(const uint8_t *bytes, size_t size)
{
    uint8_t *data = malloc(size > 0 ? size : 1);
    if (size > 0)
        memcpy(data, bytes, size);
    pc_h264_hints(data, size);
    int result = pc_depacketize_h264(&depacketizer, &buffer, data, size);
    free(data);
    return result;
}

static int append_hex(const char *text)
{
    uint8_t bytes[256];
    return append(bytes, hex(text, bytes));
}

static void check_unit(const char *text)
{
    uint8_t bytes[512];
    size_t size = hex(text, bytes);
    CHECK_EQ(pc_depacketize_h264_end(&depacketizer), 0);
    CHECK_EQ(buffer.size, size);
    if (buffer.size == size)
        CHECK_BYTES(buffer.data, bytes, size);
}

static void single_units(void)
{
    begin();
    CHECK_EQ(append_hex("0910"), 0);
    CHECK_EQ(append_hex("4188"), 0);
    check_unit("00000001 0910 00000001 4188");
}

static void aggregated_units(void)
{
    begin();
    CHECK_EQ(append_hex("78 0004 2742C01F 0003 68CE3C"), 0);
    check_unit("00000001 2742C01F 00000001 68CE3C");
}

static void fragments(void)
{
    begin();
    CHECK_EQ(append_hex("7C 85 8884"), 0); /* indicator: NRI 3; header: S, type 5 */
    CHECK_EQ(pc_depacketize_h264_end(&depacketizer), -EBADMSG);
    CHECK_EQ(append_hex("7C 05 0102"), 0);
    CHECK_EQ(append_hex("7C 45 03"), 0);
    CHECK_EQ(append_hex("7C 85 77"), 0);
    CHECK_EQ(append_hex("7C 45 78"), 0);
    check_unit("00000001 65 8884 0102 03 00000001 65 7778");
}

static void malformed_payloads(void)
{
    static const char *const payloads[] = {
        "",                   /* nothing */
        "00",                 /* type 0 */
        "C1 00",              /* forbidden bit */
        "19 0000 0001 41",    /* STAP-B */
        "1A 0000 00 00 0001", /* MTAP16 */
        "1D 85 0000 01",      /* FU-B */
        "1E 00",              /* reserved */
        "78",                 /* STAP-A without units */
        "78 00",              /* … with half a size */
        "78 0000",            /* … with an empty one */
        "78 0002 41",         /* … with one that is too long */
        "78 0001 41 00",      /* … and something behind it */
        "78 0002 7C85",       /* … with a fragment in it */
        "7C 85",              /* FU-A without data */
        "7C C5 01",           /* … that begins and ends at once */
        "7C 05 01",           /* … that never began */
        "7C 80 01",           /* … of type 0 */
    };
    for (size_t i = 0; i < sizeof payloads / sizeof payloads[0]; i++) {
        begin();
        CHECK_EQ(append_hex(payloads[i]), -EBADMSG);
    }
    static const char *const after_a_start[] = {"4188", "7C 85 01", "7C 01 01", "5C 05 01",
                                                "78 0001 41"};
    for (size_t i = 0; i < sizeof after_a_start / sizeof after_a_start[0]; i++) {
        begin();
        CHECK_EQ(append_hex("7C 85 01"), 0);
        CHECK_EQ(append_hex(after_a_start[i]), -EBADMSG);
    }
}

static void check_hints(const char *payload, bool begins, bool idr)
{
    uint8_t bytes[256];
    struct pc_payload_hints hints = pc_h264_hints(bytes, hex(payload, bytes));
    CHECK_EQ(hints.begins, begins);
    CHECK_EQ(hints.idr, idr);
}

static void hints(void)
{
    check_hints("", false, false);
    check_hints("4188", false, false);
    check_hints("6588", false, true);
    check_hints("0910", true, false);
    check_hints("2742C01F", true, false);
    check_hints("68CE3C", false, false);
    check_hints("78 0004 2742C01F 0003 68CE3C", true, false);
    check_hints("78 0004 2742C01F 0002 6588", true, true);
    check_hints("78 0002 4188 0004 2742C01F", false, false);
    check_hints("78 0009 27", false, false);
    check_hints("7C 85 88", false, true);
    check_hints("7C 05 88", false, true);
    check_hints("5C 81 88", false, false);
    check_hints("7C", false, false);
}

/* The reverse of the packetizer, for units of all sizes. */
static void round_trips(void)
{
    struct pc_au_pool *pool = pc_au_pool_create(2);
    struct pc_h264_packetizer packetizer = {0};
    static uint8_t nal[9000], expected[80000];
    uint64_t random = 4;
    for (int round = 0; round < 500; round++) {
        struct pc_access_unit *au = pc_au_acquire(pool);
        int nals = 1 + (int)(harness_random(&random) % 8);
        size_t size = 0;
        for (int i = 0; i < nals; i++) {
            static const uint8_t headers[] = {0x67, 0x68, 0x65, 0x41, 0x01, 0x06};
            uint8_t header = headers[harness_random(&random) % sizeof headers];
            size_t bytes = 1 + harness_random(&random) %
                                   (header == 0x67 || header == 0x68 ? 200 : sizeof nal - 1);
            for (size_t k = 0; k < bytes; k++)
                nal[k] = (uint8_t)harness_random(&random);
            nal[0] = header;
            memcpy(expected + size, (const uint8_t[]){0, 0, 0, 1}, 4);
            memcpy(expected + size + 4, nal, bytes);
            size += 4 + bytes;
            CHECK(pc_packetize_h264(&packetizer, au, nal, bytes, i + 1 == nals) >= 0);
        }
        begin();
        for (uint32_t i = 0; i < au->count; i++)
            CHECK_EQ(append(au->payloads[i].data, au->payloads[i].size), 0);
        CHECK_EQ(pc_depacketize_h264_end(&depacketizer), 0);
        CHECK_EQ(buffer.size, size);
        if (buffer.size == size)
            CHECK_BYTES(buffer.data, expected, size);
        pc_au_unref(au);
    }
    pc_au_pool_release(pool);
}

int main(void)
{
    RUN(single_units);
    RUN(aggregated_units);
    RUN(fragments);
    RUN(malformed_payloads);
    RUN(hints);
    RUN(round_trips);
    pc_unit_buffer_free(&buffer);
    return HARNESS_RESULT();
}
