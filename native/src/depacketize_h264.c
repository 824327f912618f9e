#include <errno.h>

#include "depacketize.h"

enum {
    NAL_SINGLE_MAX = 23,
    NAL_IDR = 5,
    NAL_SPS = 7,
    NAL_ACCESS_UNIT_DELIMITER = 9,
    NAL_STAP_A = 24,
    NAL_FU_A = 28,
    NAL_TYPE_MASK = 0x1f,
    NAL_FORBIDDEN = 0x80,
    FU_START = 0x80,
    FU_END = 0x40,
};

/* The size of the NAL unit at the front of a STAP-A's remainder; 0 when malformed. */
static size_t aggregated_size(const uint8_t *p, size_t left)
{
    if (left < 2)
        return 0;
    size_t size = (size_t)p[0] << 8 | p[1];
    return size <= left - 2 ? size : 0;
}

struct pc_payload_hints pc_h264_hints(const uint8_t *payload, size_t size)
{
    struct pc_payload_hints hints = {0};
    if (size < 1)
        return hints;
    unsigned type = payload[0] & NAL_TYPE_MASK;
    if (type == NAL_FU_A && size >= 2) {
        hints.idr = (payload[1] & NAL_TYPE_MASK) == NAL_IDR;
    } else if (type == NAL_STAP_A) {
        for (size_t at = 1, one; (one = aggregated_size(payload + at, size - at)) > 0;
             at += 2 + one) {
            unsigned inner = payload[at + 2] & NAL_TYPE_MASK;
            hints.idr = hints.idr || inner == NAL_IDR;
            if (at == 1)
                hints.begins = inner == NAL_SPS || inner == NAL_ACCESS_UNIT_DELIMITER;
        }
    } else {
        hints.idr = type == NAL_IDR;
        hints.begins = type == NAL_SPS || type == NAL_ACCESS_UNIT_DELIMITER;
    }
    return hints;
}

static int append_start_code(struct pc_unit_buffer *buffer)
{
    static const uint8_t start_code[] = {0, 0, 0, 1};
    return pc_unit_append(buffer, start_code, sizeof start_code);
}

static int append_nal(struct pc_unit_buffer *buffer, const uint8_t *nal, size_t size)
{
    unsigned type = nal[0] & NAL_TYPE_MASK;
    if (type == 0 || type > NAL_SINGLE_MAX || (nal[0] & NAL_FORBIDDEN) != 0)
        return -EBADMSG;
    int result = append_start_code(buffer);
    return result < 0 ? result : pc_unit_append(buffer, nal, size);
}

/* RFC 6184 5.7.1. */
static int append_aggregated(struct pc_unit_buffer *buffer, const uint8_t *payload, size_t size)
{
    size_t at = 1;
    do {
        size_t one = aggregated_size(payload + at, size - at);
        if (one == 0)
            return -EBADMSG;
        int result = append_nal(buffer, payload + at + 2, one);
        if (result < 0)
            return result;
        at += 2 + one;
    } while (at < size);
    return 0;
}

/* RFC 6184 5.8. */
static int append_fragment(struct pc_h264_depacketizer *depacketizer, struct pc_unit_buffer *buffer,
                           const uint8_t *payload, size_t size)
{
    if (size < 3)
        return -EBADMSG;
    uint8_t header = (uint8_t)((payload[0] & ~NAL_TYPE_MASK) | (payload[1] & NAL_TYPE_MASK));
    bool start = (payload[1] & FU_START) != 0, end = (payload[1] & FU_END) != 0;
    if (start == depacketizer->in_fragments || (start && end) ||
        (!start && header != depacketizer->fragmented_header))
        return -EBADMSG;
    int result = start ? append_nal(buffer, &header, 1) : 0;
    if (result < 0)
        return result;
    depacketizer->in_fragments = !end;
    depacketizer->fragmented_header = header;
    return pc_unit_append(buffer, payload + 2, size - 2);
}

int pc_depacketize_h264(struct pc_h264_depacketizer *depacketizer, struct pc_unit_buffer *buffer,
                        const uint8_t *payload, size_t size)
{
    if (size < 1)
        return -EBADMSG;
    unsigned type = payload[0] & NAL_TYPE_MASK;
    if (type == NAL_FU_A)
        return append_fragment(depacketizer, buffer, payload, size);
    if (depacketizer->in_fragments)
        return -EBADMSG;
    return type == NAL_STAP_A ? append_aggregated(buffer, payload, size)
                              : append_nal(buffer, payload, size);
}

int pc_depacketize_h264_end(const struct pc_h264_depacketizer *depacketizer)
{
    return depacketizer->in_fragments ? -EBADMSG : 0;
}
