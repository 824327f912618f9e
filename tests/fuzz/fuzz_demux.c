/* Every datagram is of one kind, a USERNAME lies within its message, and one that is put into a
 * well-formed message is found. */

#include <stdlib.h>
#include <string.h>

#include "demux.h"
#include "fuzz.h"

static void check_kind(const uint8_t *data, size_t size)
{
    enum pc_datagram kind = pc_demux(data, size);
    REQUIRE(kind >= PC_DATAGRAM_STUN && kind <= PC_DATAGRAM_OTHER);
    if (kind == PC_DATAGRAM_STUN)
        REQUIRE(size >= 20 && data[0] <= 3);
    if (kind == PC_DATAGRAM_RTP || kind == PC_DATAGRAM_RTCP)
        REQUIRE(size >= 8 && data[0] >> 6 == 2);
}

static void check_username(const uint8_t *data, size_t size)
{
    size_t found_size = SIZE_MAX;
    const uint8_t *found = pc_stun_username(data, size, &found_size);
    if (found == NULL)
        return;
    REQUIRE(pc_demux(data, size) == PC_DATAGRAM_STUN);
    REQUIRE(found_size <= 508 && found >= data + 24);
    REQUIRE((size_t)(found - data) <= size - found_size);
    REQUIRE(found[-4] == 0 && found[-3] == 6);
    REQUIRE((size_t)found[-2] << 8 == (found_size & 0xFF00));

    uint8_t *other = malloc(size + 4);
    memcpy(other, data, size);
    memset(other + size, 0, 4);
    REQUIRE(pc_stun_username(other, size + 4, &found_size) == NULL); /* the length disagrees */
    REQUIRE(pc_stun_username(other, size - 4, &found_size) == NULL);
    other[4] ^= 1;
    REQUIRE(pc_stun_username(other, size, &found_size) == NULL);
    free(other);
}

static size_t put_attribute(uint8_t *out, uint16_t type, const uint8_t *value, size_t size)
{
    size_t padded = (size + 3) & ~(size_t)3;
    memset(out, 0, 4 + padded);
    out[0] = (uint8_t)(type >> 8);
    out[1] = (uint8_t)type;
    out[2] = (uint8_t)(size >> 8);
    out[3] = (uint8_t)size;
    memcpy(out + 4, value, size);
    return 4 + padded;
}

/* A message with another attribute before and behind the USERNAME, all from the input. */
static void check_built(const uint8_t *data, size_t size)
{
    uint8_t message[2048] = {0, 1, 0, 0, 0x21, 0x12, 0xA4, 0x42};
    if (size < 4 || size > 1000)
        return;
    uint16_t type = (uint16_t)(data[0] << 8 | data[1]);
    size_t first = data[2] % (size - 2);
    const uint8_t *rest = data + 2 + first;
    size_t rest_size = size - 2 - first;
    if (type == 0x0006 || type == 0x0008)
        type = 0x8022;
    size_t at = 20;
    at += put_attribute(message + at, type, data + 2, first);
    size_t username_at = at + 4;
    at += put_attribute(message + at, 0x0006, rest, rest_size);
    at += put_attribute(message + at, type, data, first);
    message[2] = (uint8_t)((at - 20) >> 8);
    message[3] = (uint8_t)(at - 20);
    size_t found_size = 0;
    const uint8_t *found = pc_stun_username(message, at, &found_size);
    if (rest_size > 508)
        REQUIRE(found == NULL);
    else
        REQUIRE(found == message + username_at && found_size == rest_size);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    check_kind(data, size);
    check_username(data, size);
    check_built(data, size);
    return 0;
}
