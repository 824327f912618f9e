#include <errno.h>

#include "depacketize.h"

/* RFC 7741 4.2. */
enum {
    DESCRIPTOR_X = 0x80,
    DESCRIPTOR_S = 0x10,
    DESCRIPTOR_PARTITION = 0x07,
    EXTENSION_I = 0x80,
    EXTENSION_L = 0x40,
    EXTENSION_T = 0x20,
    EXTENSION_K = 0x10,
    PICTURE_ID_M = 0x80,
    FRAME_NOT_KEY = 0x01, /* of the frame's first byte, RFC 6386 9.1 */
};

/* Bytes of the payload descriptor, 0 when nothing is behind it. */
static size_t descriptor_bytes(const uint8_t *payload, size_t size)
{
    size_t bytes = 1;
    if (size > 1 && (payload[0] & DESCRIPTOR_X) != 0) {
        uint8_t extension = payload[1];
        bytes++;
        if ((extension & EXTENSION_I) != 0 && size > 2)
            bytes += (payload[2] & PICTURE_ID_M) != 0 ? 2 : 1;
        bytes += (extension & EXTENSION_L) != 0;
        bytes += (extension & (EXTENSION_T | EXTENSION_K)) != 0;
    }
    return bytes < size ? bytes : 0;
}

static bool is_first(uint8_t descriptor)
{
    return (descriptor & DESCRIPTOR_S) != 0 && (descriptor & DESCRIPTOR_PARTITION) == 0;
}

struct pc_payload_hints pc_vp8_hints(const uint8_t *payload, size_t size)
{
    size_t descriptor = descriptor_bytes(payload, size);
    bool begins = descriptor > 0 && is_first(payload[0]);
    return (struct pc_payload_hints){.begins = begins,
                                     .idr = begins && (payload[descriptor] & FRAME_NOT_KEY) == 0};
}

int pc_depacketize_vp8(struct pc_unit_buffer *buffer, const uint8_t *payload, size_t size,
                       bool first)
{
    size_t descriptor = descriptor_bytes(payload, size);
    if (descriptor == 0 || is_first(payload[0]) != first)
        return -EBADMSG;
    return pc_unit_append(buffer, payload + descriptor, size - descriptor);
}
