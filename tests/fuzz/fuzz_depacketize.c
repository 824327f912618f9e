/* What comes out of payloads is no larger than what went in and its start codes, and begins with a
 * NAL unit of a type that may be there; what is cut into payloads comes out as it was. */

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "depacketize.h"
#include "fuzz.h"
#include "packetize.h"

static struct pc_unit_buffer buffer;

/* Payloads are read from memory of exactly their size. */
static uint8_t *copy(const uint8_t *data, size_t size)
{
    uint8_t *exact = malloc(size > 0 ? size : 1);
    if (size > 0)
        memcpy(exact, data, size);
    return exact;
}

/* Two bytes say how long the next payload is. */
static size_t next_piece(const uint8_t **data, size_t *size)
{
    if (*size < 2)
        return SIZE_MAX;
    size_t piece = (size_t)((*data)[0] << 8 | (*data)[1]) % 1500;
    *data += 2;
    *size -= 2;
    return piece < *size ? piece : *size;
}

static bool is_unit(const uint8_t *data)
{
    unsigned type = data[4] & 0x1F;
    return memcmp(data, (const uint8_t[]){0, 0, 0, 1}, 4) == 0 && type >= 1 && type <= 23 &&
           data[4] < 0x80;
}

static void check_h264(const uint8_t *data, size_t size)
{
    struct pc_h264_depacketizer depacketizer = {0};
    size_t went_in = 0;
    buffer.size = 0;
    for (size_t piece; (piece = next_piece(&data, &size)) != SIZE_MAX;) {
        uint8_t *payload = copy(data, piece);
        struct pc_payload_hints hints = pc_h264_hints(payload, piece);
        int result = pc_depacketize_h264(&depacketizer, &buffer, payload, piece);
        REQUIRE(result == 0 || result == -EBADMSG);
        REQUIRE(!hints.begins || result < 0 || !depacketizer.in_fragments);
        free(payload);
        if (result < 0)
            return;
        went_in += piece;
        REQUIRE(buffer.size <= 5 * went_in); /* a single byte gets a start code */
        REQUIRE(went_in == 0 || is_unit(buffer.data));
        data += piece;
        size -= piece;
    }
}

static void check_vp8(const uint8_t *data, size_t size)
{
    bool first = true;
    size_t went_in = 0;
    buffer.size = 0;
    for (size_t piece; (piece = next_piece(&data, &size)) != SIZE_MAX; first = false) {
        uint8_t *payload = copy(data, piece);
        struct pc_payload_hints hints = pc_vp8_hints(payload, piece);
        int result = pc_depacketize_vp8(&buffer, payload, piece, first);
        free(payload);
        REQUIRE(result == 0 || result == -EBADMSG);
        REQUIRE(!hints.idr || hints.begins);
        REQUIRE(!hints.begins || (result == 0) == first);
        if (result < 0)
            return;
        went_in += piece;
        REQUIRE(buffer.size < went_in);
        data += piece;
        size -= piece;
    }
}

static void check_round_trip(const uint8_t *data, size_t size)
{
    static struct pc_au_pool *pool;
    static uint8_t expected[64 * 1024];
    if (pool == NULL)
        pool = pc_au_pool_create(1);
    struct pc_h264_packetizer packetizer = {0};
    struct pc_h264_depacketizer depacketizer = {0};
    struct pc_access_unit *au = pc_au_acquire(pool);
    size_t written = 0;
    for (size_t piece; (piece = next_piece(&data, &size)) != SIZE_MAX;) {
        /* A NAL unit of up to 18 KB, of the bytes that are there over and over. */
        size_t bytes = piece * 12;
        if (bytes == 0 || written + 4 + bytes > sizeof expected - 8)
            break;
        memcpy(expected + written, (const uint8_t[]){0, 0, 0, 1}, 4);
        for (size_t i = 0; i < bytes; i++)
            expected[written + 4 + i] = data[i % piece];
        uint8_t *header = expected + written + 4;
        *header = (uint8_t)((*header & 0x60) | (1 + *header % 23));
        int added = pc_packetize_h264(&packetizer, au, header, bytes, false);
        REQUIRE(added >= 0);
        written += 4 + bytes;
        data += piece;
        size -= piece;
    }
    static const uint8_t last[] = {0, 0, 0, 1, 0x41, 0x99};
    memcpy(expected + written, last, sizeof last);
    REQUIRE(pc_packetize_h264(&packetizer, au, last + 4, 2, true) > 0);
    written += sizeof last;

    buffer.size = 0;
    for (uint32_t i = 0; i < au->count; i++)
        REQUIRE(pc_depacketize_h264(&depacketizer, &buffer, au->payloads[i].data,
                                    au->payloads[i].size) == 0);
    REQUIRE(pc_depacketize_h264_end(&depacketizer) == 0);
    REQUIRE(buffer.size == written && memcmp(buffer.data, expected, written) == 0);
    pc_au_unref(au);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    check_h264(data, size);
    check_vp8(data, size);
    check_round_trip(data, size);
    return 0;
}
