#include "rtcp.h"

#include <errno.h>
#include <string.h>

#include "rtcp_types.h"

/* Run-length chunks let a few bytes stand for thousands of sequence numbers. More than the whole
 * sequence number space in one datagram says nothing new: it is malformed. */
#define MAX_STATUSES 65535u

/* One RTCP packet: what lies behind the four-byte head, without padding. */
struct packet {
    uint8_t count; /* or format */
    uint8_t type;
    const uint8_t *body;
    size_t bytes;
};

struct parser {
    const struct pc_rtcp_handler *handler;
    uint32_t statuses; /* of transport feedback in this datagram */
};

static uint16_t read16(const uint8_t *p)
{
    return (uint16_t)(p[0] << 8 | p[1]);
}

static uint32_t read24(const uint8_t *p)
{
    return (uint32_t)p[0] << 16 | (uint32_t)p[1] << 8 | p[2];
}

static uint32_t read32(const uint8_t *p)
{
    return (uint32_t)p[0] << 24 | read24(p + 1);
}

static uint64_t read64(const uint8_t *p)
{
    return (uint64_t)read32(p) << 32 | read32(p + 4);
}

static int32_t read_signed24(const uint8_t *p)
{
    uint32_t value = read24(p);
    return value < 0x800000 ? (int32_t)value : (int32_t)value - 0x1000000;
}

/* Each function checks the whole packet before it delivers anything of it. */

static int parse_report_blocks(const struct pc_rtcp_handler *handler, uint32_t reporter,
                               const uint8_t *p, unsigned count)
{
    if (handler->report == NULL)
        return 0;
    for (; count > 0; count--, p += REPORT_BLOCK_BYTES) {
        struct pc_rtcp_report report = {
            .reporter = reporter,
            .ssrc = read32(p),
            .fraction_lost = p[4],
            .cumulative_lost = read_signed24(p + 5),
            .highest_sequence = read32(p + 8),
            .jitter = read32(p + 12),
            .last_sr = read32(p + 16),
            .delay_since_last_sr = read32(p + 20),
        };
        handler->report(handler->context, &report);
    }
    return 0;
}

static int parse_sr(const struct pc_rtcp_handler *handler, const struct packet *packet)
{
    if (packet->bytes < 24 + REPORT_BLOCK_BYTES * (size_t)packet->count)
        return -EBADMSG;
    struct pc_rtcp_sender_info info = {
        .ssrc = read32(packet->body),
        .ntp = read64(packet->body + 4),
        .rtp_timestamp = read32(packet->body + 12),
        .packets = read32(packet->body + 16),
        .octets = read32(packet->body + 20),
    };
    if (handler->sender_report != NULL)
        handler->sender_report(handler->context, &info);
    return parse_report_blocks(handler, info.ssrc, packet->body + 24, packet->count);
}

static int parse_rr(const struct pc_rtcp_handler *handler, const struct packet *packet)
{
    if (packet->bytes < 4 + REPORT_BLOCK_BYTES * (size_t)packet->count)
        return -EBADMSG;
    return parse_report_blocks(handler, read32(packet->body), packet->body + 4, packet->count);
}

static int parse_bye(const struct pc_rtcp_handler *handler, const struct packet *packet)
{
    if (packet->bytes < 4 * (size_t)packet->count)
        return -EBADMSG;
    for (size_t i = 0; i < packet->count && handler->bye != NULL; i++)
        handler->bye(handler->context, read32(packet->body + 4 * i));
    return 0;
}

/* RFC 4585 6.2.1: a packet id and a bit mask of the 16 that follow it. */
static int parse_nack(const struct pc_rtcp_handler *handler, const struct packet *packet)
{
    if (packet->bytes < 12)
        return -EBADMSG;
    if (handler->nack == NULL)
        return 0;
    uint32_t media_ssrc = read32(packet->body + 4);
    for (size_t at = 8; at + 4 <= packet->bytes; at += 4) {
        uint16_t first = read16(packet->body + at);
        uint16_t following = read16(packet->body + at + 2);
        handler->nack(handler->context, media_ssrc, first);
        for (unsigned bit = 0; bit < 16; bit++)
            if ((following >> bit & 1) != 0)
                handler->nack(handler->context, media_ssrc, (uint16_t)(first + 1 + bit));
    }
    return 0;
}

/* Reads the status symbols of a transport feedback packet one after the other. */
struct status_reader {
    const uint8_t *chunks, *end;
    uint16_t chunk;
    unsigned left; /* symbols left in `chunk` */
};

/* The next symbol, or RESERVED when the chunks end too early. */
static enum pc_rtcp_status next_status(struct status_reader *reader)
{
    while (reader->left == 0) {
        if (reader->end - reader->chunks < 2)
            return RESERVED;
        reader->chunk = read16(reader->chunks);
        reader->chunks += 2;
        if ((reader->chunk & 0x8000) == 0)
            reader->left = reader->chunk & 0x1FFF;
        else
            reader->left = (reader->chunk & 0x4000) != 0 ? 7 : 14;
    }
    reader->left--;
    if ((reader->chunk & 0x8000) == 0)
        return (enum pc_rtcp_status)(reader->chunk >> 13 & 3);
    if ((reader->chunk & 0x4000) != 0)
        return (enum pc_rtcp_status)(reader->chunk >> (2 * reader->left) & 3);
    return (enum pc_rtcp_status)(reader->chunk >> reader->left & 1);
}

static int parse_transport_feedback(struct parser *parser, const struct packet *packet)
{
    if (packet->bytes < 16)
        return -EBADMSG;
    const uint8_t *body = packet->body, *end = body + packet->bytes;
    struct pc_rtcp_transport_feedback feedback = {
        .sender_ssrc = read32(body),
        .media_ssrc = read32(body + 4),
        .base_sequence = read16(body + 8),
        .status_count = read16(body + 10),
        .reference_time = read_signed24(body + 12),
        .feedback_count = body[15],
    };
    if (feedback.status_count == 0 || feedback.status_count > MAX_STATUSES - parser->statuses)
        return -EBADMSG;
    parser->statuses += feedback.status_count;

    struct status_reader reader = {.chunks = body + 16, .end = end};
    size_t delta_bytes = 0;
    for (unsigned i = 0; i < feedback.status_count; i++) {
        enum pc_rtcp_status status = next_status(&reader);
        if (status == RESERVED)
            return -EBADMSG;
        delta_bytes += (size_t)status; /* the symbol is the size of its delta */
    }
    if ((size_t)(end - reader.chunks) < delta_bytes)
        return -EBADMSG;

    const struct pc_rtcp_handler *handler = parser->handler;
    if (handler->transport_feedback != NULL)
        handler->transport_feedback(handler->context, &feedback);
    if (handler->transport_status == NULL)
        return 0;
    const uint8_t *delta = reader.chunks;
    reader = (struct status_reader){.chunks = body + 16, .end = end};
    for (unsigned i = 0; i < feedback.status_count; i++) {
        enum pc_rtcp_status status = next_status(&reader);
        int32_t units = 0; /* of 250 us */
        if (status == SMALL_DELTA)
            units = delta[0];
        else if (status == LARGE_DELTA)
            units = (int16_t)read16(delta);
        delta += status;
        handler->transport_status(handler->context, (uint16_t)(feedback.base_sequence + i),
                                  status != NOT_RECEIVED, units * 250);
    }
    return 0;
}

/* RFC 5104 4.3.1: the media sources are in the entries, not in the common part. */
static int parse_fir(const struct pc_rtcp_handler *handler, const struct packet *packet)
{
    if (packet->bytes < 16)
        return -EBADMSG;
    for (size_t at = 8; at + 8 <= packet->bytes && handler->fir != NULL; at += 8)
        handler->fir(handler->context, read32(packet->body + at), packet->body[at + 4]);
    return 0;
}

/* draft-alvestrand-rmcat-remb-03 2.2. Other application layer feedback is passed over. */
static int parse_application_feedback(const struct pc_rtcp_handler *handler,
                                      const struct packet *packet)
{
    if (packet->bytes < 12 || memcmp(packet->body + 8, "REMB", 4) != 0)
        return 0;
    if (packet->bytes < 16 || packet->bytes < 16 + 4 * (size_t)packet->body[12])
        return -EBADMSG;
    unsigned exponent = packet->body[13] >> 2;
    uint64_t mantissa = read24(packet->body + 13) & 0x3FFFF;
    uint64_t bitrate = mantissa << exponent;
    if (bitrate >> exponent != mantissa)
        bitrate = UINT64_MAX;
    if (handler->remb != NULL)
        handler->remb(handler->context, bitrate);
    return 0;
}

static int parse_feedback(struct parser *parser, const struct packet *packet)
{
    if (packet->bytes < 8)
        return -EBADMSG;
    const struct pc_rtcp_handler *handler = parser->handler;
    if (packet->type == TYPE_RTPFB) {
        if (packet->count == RTPFB_NACK)
            return parse_nack(handler, packet);
        if (packet->count == RTPFB_TRANSPORT_CC)
            return parse_transport_feedback(parser, packet);
        return 0;
    }
    if (packet->count == PSFB_PLI && handler->pli != NULL)
        handler->pli(handler->context, read32(packet->body + 4));
    if (packet->count == PSFB_FIR)
        return parse_fir(handler, packet);
    if (packet->count == PSFB_APPLICATION)
        return parse_application_feedback(handler, packet);
    return 0;
}

/* RFC 3611 3 and 4.4. */
static int parse_xr(const struct pc_rtcp_handler *handler, const struct packet *packet)
{
    if (packet->bytes < 4)
        return -EBADMSG;
    const uint8_t *reference_time = NULL;
    for (size_t at = 4; at < packet->bytes;) {
        if (packet->bytes - at < 4)
            return -EBADMSG;
        const uint8_t *block = packet->body + at;
        size_t bytes = 4 + 4 * (size_t)read16(block + 2);
        if (bytes > packet->bytes - at || (block[0] == XR_REFERENCE_TIME && bytes != 12))
            return -EBADMSG;
        if (block[0] == XR_REFERENCE_TIME)
            reference_time = block + 4;
        at += bytes;
    }
    if (reference_time != NULL && handler->xr_reference_time != NULL)
        handler->xr_reference_time(handler->context, read32(packet->body), read64(reference_time));
    return 0;
}

static int parse_packet(struct parser *parser, const struct packet *packet)
{
    switch (packet->type) {
    case TYPE_SR:
        return parse_sr(parser->handler, packet);
    case TYPE_RR:
        return parse_rr(parser->handler, packet);
    case TYPE_BYE:
        return parse_bye(parser->handler, packet);
    case TYPE_RTPFB:
    case TYPE_PSFB:
        return parse_feedback(parser, packet);
    case TYPE_XR:
        return parse_xr(parser->handler, packet);
    default:
        return 0;
    }
}

int pc_rtcp_parse(const uint8_t *data, size_t size, const struct pc_rtcp_handler *handler)
{
    struct parser parser = {.handler = handler};
    int packets = 0;
    do {
        if (size < 4 || data[0] >> 6 != 2)
            return -EBADMSG;
        size_t bytes = 4 + 4 * (size_t)read16(data + 2);
        if (bytes > size)
            return -EBADMSG;
        struct packet packet = {
            .count = data[0] & 0x1F, .type = data[1], .body = data + 4, .bytes = bytes - 4};
        if ((data[0] & 0x20) != 0) {
            /* RFC 3550 6.4.1 wants padding in the last packet only and in multiples of four;
             * libwebrtc pads each transport feedback by one to three bytes. */
            uint8_t padding = packet.bytes > 0 ? data[bytes - 1] : 0;
            if (padding == 0 || padding > packet.bytes)
                return -EBADMSG;
            packet.bytes -= padding;
        }
        int result = parse_packet(&parser, &packet);
        if (result < 0)
            return result;
        packets++;
        data += bytes;
        size -= bytes;
    } while (size > 0);
    return packets;
}
