#include <errno.h>
#include <string.h>

#include "packetize.h"

struct writer {
    uint8_t *out;
    size_t size, capacity;
    bool full;
};

static void put(struct writer *writer, const uint8_t *data, size_t size)
{
    if (writer->full || size > writer->capacity - writer->size) {
        writer->full = true;
        return;
    }
    memcpy(writer->out + writer->size, data, size);
    writer->size += size;
}

static void put_start(struct writer *writer, uint8_t nal_header)
{
    const uint8_t start[5] = {0, 0, 0, 1, nal_header};
    put(writer, start, sizeof start);
}

/* RFC 6184: the inverse of pc_packetize_h264(), payload by payload. */
static void put_h264(struct writer *writer, const uint8_t *data, size_t size)
{
    enum { STAP_A = 24, FU_A = 28, FU_START = 0x80 };
    switch (data[0] & 0x1f) {
    case STAP_A:
        for (size_t at = 1; at + 2 < size;) {
            size_t nal_bytes = (size_t)data[at] << 8 | data[at + 1];
            at += 2;
            if (nal_bytes == 0 || nal_bytes > size - at)
                return;
            put_start(writer, data[at]);
            put(writer, data + at + 1, nal_bytes - 1);
            at += nal_bytes;
        }
        return;
    case FU_A:
        if (size < 2)
            return;
        if (data[1] & FU_START)
            put_start(writer, (uint8_t)((data[0] & 0xe0) | (data[1] & 0x1f)));
        put(writer, data + 2, size - 2);
        return;
    default:
        put_start(writer, data[0]);
        put(writer, data + 1, size - 1);
    }
}

long pc_au_bitstream(struct pc_access_unit *au, uint8_t *out, size_t capacity)
{
    bool complete;
    uint32_t count = pc_au_ready(au, &complete);
    struct writer writer = {.out = out, .capacity = capacity};
    for (uint32_t i = 0; i < count; i++) {
        const struct pc_payload *payload = &au->payloads[i];
        if (au->codec == PC_CODEC_H264)
            put_h264(&writer, payload->data, payload->size);
        else
            put(&writer, payload->data + PC_VP8_DESCRIPTOR_BYTES,
                (size_t)payload->size - PC_VP8_DESCRIPTOR_BYTES);
    }
    return writer.full ? -ENOSPC : (long)writer.size;
}
