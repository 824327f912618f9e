#include "rtp.h"

#include <errno.h>
#include <string.h>

#include "dependency_descriptor.h"

#define PROFILE_ONE_BYTE 0xBEDEu
#define PROFILE_TWO_BYTE 0x1000u /* the low four bits are "appbits" */

static uint16_t read16(const uint8_t *p)
{
    return (uint16_t)(p[0] << 8 | p[1]);
}

static uint32_t read32(const uint8_t *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static void write16(uint8_t *p, uint16_t value)
{
    p[0] = (uint8_t)(value >> 8);
    p[1] = (uint8_t)value;
}

static void write24(uint8_t *p, uint32_t value)
{
    p[0] = (uint8_t)(value >> 16);
    p[1] = (uint8_t)(value >> 8);
    p[2] = (uint8_t)value;
}

static void write32(uint8_t *p, uint32_t value)
{
    write16(p, (uint16_t)(value >> 16));
    write16(p + 2, (uint16_t)value);
}

/* RFC 8285 4.2 and 4.3. Returns where the element's data goes. */
static uint8_t *write_element_head(uint8_t *out, bool two_byte, uint8_t id, size_t size)
{
    if (two_byte) {
        *out++ = id;
        *out++ = (uint8_t)size;
    } else {
        *out++ = (uint8_t)(id << 4 | (size - 1));
    }
    return out;
}

/* 6.18 fixed point seconds, modulo 64 s. */
static uint32_t abs_send_time(uint64_t ns)
{
    return (uint32_t)(((ns % 64000000000ull) << 18) / 1000000000ull);
}

static uint8_t *write_elements(uint8_t *p, bool two_byte, const struct pc_rtp_fields *fields,
                               const struct pc_rtp_extensions *extensions, size_t mid_size)
{
    if (extensions->abs_send_time_id != 0) {
        p = write_element_head(p, two_byte, extensions->abs_send_time_id, 3);
        write24(p, abs_send_time(fields->send_ns));
        p += 3;
    }
    if (extensions->transport_cc_id != 0) {
        p = write_element_head(p, two_byte, extensions->transport_cc_id, 2);
        write16(p, fields->transport_sequence);
        p += 2;
    }
    if (extensions->playout_delay_id != 0) {
        p = write_element_head(p, two_byte, extensions->playout_delay_id, 3);
        write24(p, (uint32_t)(extensions->playout_min & 0xFFFu) << 12 |
                       (extensions->playout_max & 0xFFFu));
        p += 3;
    }
    if (extensions->dependency_id != 0 && fields->in_frame) {
        uint8_t descriptor[PC_DEPENDENCY_MAX_BYTES];
        size_t size =
            pc_dependency_descriptor_write(descriptor, fields->first_packet, fields->marker,
                                           fields->frame_number, fields->reference_diff);
        p = write_element_head(p, two_byte, extensions->dependency_id, size);
        memcpy(p, descriptor, size);
        p += size;
    }
    if (mid_size != 0) {
        p = write_element_head(p, two_byte, extensions->mid_id, mid_size);
        memcpy(p, extensions->mid, mid_size);
        p += mid_size;
    }
    return p;
}

size_t pc_rtp_write(uint8_t *out, const struct pc_rtp_fields *fields,
                    const struct pc_rtp_extensions *extensions, bool with_mid)
{
    out[0] = 2 << 6;
    out[1] = (uint8_t)((fields->marker ? 0x80 : 0) | (fields->payload_type & 0x7F));
    write16(out + 2, fields->sequence);
    write32(out + 4, fields->timestamp);
    write32(out + 8, fields->ssrc);

    bool two_byte = extensions->mid_id > 14 || extensions->abs_send_time_id > 14 ||
                    extensions->transport_cc_id > 14 || extensions->playout_delay_id > 14 ||
                    extensions->dependency_id > 14;
    size_t mid_size = with_mid && extensions->mid_id != 0
                          ? strnlen(extensions->mid, sizeof extensions->mid - 1)
                          : 0;
    uint8_t *elements = out + PC_RTP_HEADER_BYTES + 4;
    uint8_t *end = write_elements(elements, two_byte, fields, extensions, mid_size);
    if (end == elements)
        return PC_RTP_HEADER_BYTES;
    while ((end - elements) % 4 != 0)
        *end++ = 0;
    out[0] |= 0x10;
    write16(elements - 4, two_byte ? PROFILE_TWO_BYTE : PROFILE_ONE_BYTE);
    write16(elements - 2, (uint16_t)((end - elements) / 4));
    return (size_t)(end - out);
}

long pc_rtp_header_bytes(const uint8_t *data, size_t size)
{
    if (size < PC_RTP_HEADER_BYTES || data[0] >> 6 != 2)
        return -EBADMSG;
    size_t bytes = PC_RTP_HEADER_BYTES + 4 * (size_t)(data[0] & 0x0F);
    if ((data[0] & 0x10) != 0) {
        if (size < bytes + 4)
            return -EBADMSG;
        bytes += 4 + 4 * (size_t)read16(data + bytes + 2);
    }
    return bytes <= size ? (long)bytes : -EBADMSG;
}

int pc_rtp_parse(const uint8_t *data, size_t size, struct pc_rtp_packet *out)
{
    long header = pc_rtp_header_bytes(data, size);
    if (header < 0)
        return (int)header;
    *out = (struct pc_rtp_packet){
        .marker = (data[1] & 0x80) != 0,
        .payload_type = data[1] & 0x7F,
        .sequence = read16(data + 2),
        .timestamp = read32(data + 4),
        .ssrc = read32(data + 8),
        .header_bytes = (size_t)header,
        .payload = data + header,
        .payload_bytes = size - (size_t)header,
    };
    if ((data[0] & 0x10) != 0) {
        const uint8_t *head = data + PC_RTP_HEADER_BYTES + 4 * (size_t)(data[0] & 0x0F);
        out->extension_profile = read16(head);
        out->extension = head + 4;
        out->extension_bytes = 4 * (size_t)read16(head + 2);
    }
    if ((data[0] & 0x20) != 0) {
        if (out->payload_bytes == 0)
            return -EBADMSG;
        uint8_t padding = data[size - 1];
        if (padding == 0 || padding > out->payload_bytes)
            return -EBADMSG;
        out->payload_bytes -= padding;
    }
    return 0;
}

const uint8_t *pc_rtp_extension(const struct pc_rtp_packet *packet, uint8_t id, size_t *size)
{
    bool two_byte = (packet->extension_profile & 0xFFF0u) == PROFILE_TWO_BYTE;
    if (id == 0 || (!two_byte && packet->extension_profile != PROFILE_ONE_BYTE))
        return NULL;
    const uint8_t *p = packet->extension;
    size_t left = packet->extension_bytes;
    while (left > 0) {
        uint8_t found = two_byte ? p[0] : p[0] >> 4;
        if (p[0] == 0) { /* padding */
            p++;
            left--;
            continue;
        }
        if (!two_byte && found == 15) /* RFC 8285 4.2: stop processing here */
            return NULL;
        if (two_byte && left < 2)
            return NULL;
        size_t head = two_byte ? 2 : 1;
        size_t bytes = two_byte ? p[1] : (size_t)(p[0] & 0x0F) + 1;
        if (left < head + bytes)
            return NULL;
        if (found == id) {
            *size = bytes;
            return p + head;
        }
        p += head + bytes;
        left -= head + bytes;
    }
    return NULL;
}
