#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "receiver_state.h"

#define QUIET_NS 500000000 /* an SSRC that was learnt, and is quiet so long, may be another */

static void on_recovered(void *context, const uint8_t *data, size_t size);

struct pc_receiver *pc_receiver_create(const struct pc_receiver_settings *settings,
                                       const struct pc_receiver_out *out, uint64_t now_ns)
{
    struct pc_receiver *receiver = calloc(1, sizeof *receiver);
    if (receiver == NULL)
        return NULL;
    receiver->settings = *settings;
    receiver->out = *out;
    receiver->media_ns = now_ns;
    receiver->jitter = pc_jitter_create(settings->jitter_target_ns);
    pc_nack_init(&receiver->nack);
    pc_arrivals_init(&receiver->arrivals);
    if (receiver->jitter == NULL) {
        free(receiver);
        return NULL;
    }
    return receiver;
}

void pc_receiver_destroy(struct pc_receiver *receiver)
{
    if (receiver == NULL)
        return;
    pc_jitter_destroy(receiver->jitter);
    pc_flexfec_receiver_destroy(receiver->flexfec);
    pc_unit_buffer_free(&receiver->unit);
    free(receiver);
}

/* ---- Units ---- */

static int assemble(struct pc_receiver *receiver, const struct pc_jitter_frame *frame)
{
    struct pc_h264_depacketizer h264 = {0};
    bool first = true;
    receiver->unit.size = 0;
    for (int64_t i = frame->first; i <= frame->last; i++) {
        size_t size;
        const uint8_t *payload = pc_jitter_payload(receiver->jitter, i, &size);
        if (payload == NULL)
            continue;
        int result = receiver->settings.codec == PC_H264
                         ? pc_depacketize_h264(&h264, &receiver->unit, payload, size)
                         : pc_depacketize_vp8(&receiver->unit, payload, size, first);
        if (result < 0)
            return result;
        first = false;
    }
    return pc_depacketize_h264_end(&h264);
}

void pc_receiver_give_out(struct pc_receiver *receiver, uint64_t now_ns)
{
    const struct pc_jitter_frame *frame;
    while ((frame = pc_jitter_take(receiver->jitter, now_ns)) != NULL) {
        bool whole = assemble(receiver, frame) == 0;
        struct pc_received_unit unit = {
            .data = receiver->unit.data,
            .size = receiver->unit.size,
            .rtp_time = frame->timestamp,
            .idr = frame->idr,
            .first_packet_ns = frame->first_packet_ns,
            .complete_ns = frame->complete_ns,
            .first_sequence = (uint16_t)frame->first,
            .packets = frame->packets,
            .recovered = frame->recovered,
        };
        pc_jitter_release(receiver->jitter, whole);
        if (!whole) {
            receiver->stats.malformed++;
            receiver->idr_wanted = true;
            continue;
        }
        if (unit.idr)
            receiver->idr_wanted = false;
        receiver->stats.units++;
        receiver->stats.idrs += unit.idr;
        receiver->out.unit(receiver->out.context, &unit);
    }
    pc_nack_forget_before(&receiver->nack, pc_jitter_next(receiver->jitter));
}

/* ---- Media ---- */

static void begin_anew(struct pc_receiver *receiver)
{
    uint64_t rtt_ns = receiver->nack.rtt_ns, deviation_ns = receiver->nack.rtt_deviation_ns;
    pc_jitter_reset(receiver->jitter);
    pc_nack_init(&receiver->nack);
    receiver->nack.rtt_ns = rtt_ns;
    receiver->nack.rtt_deviation_ns = deviation_ns;
    receiver->idr_wanted = false;
    receiver->lost_ns = 0;
}

static void set_source(struct pc_receiver *receiver, uint32_t ssrc)
{
    receiver->earlier_lost += pc_rtp_source_lost(&receiver->source);
    pc_rtp_source_init(&receiver->source, ssrc);
    begin_anew(receiver);
    receiver->known = true;
    receiver->report_ns = 0;
    pc_flexfec_receiver_destroy(receiver->flexfec);
    receiver->flexfec = NULL;
    if (receiver->settings.fec_payload_type == 0)
        return;
    const struct pc_rtp_extensions extensions = {
        .abs_send_time_id = receiver->settings.abs_send_time_id,
        .transport_cc_id = receiver->settings.transport_cc_id,
    };
    receiver->flexfec = pc_flexfec_receiver_create(ssrc, &extensions, on_recovered, receiver);
}

/* Is this SSRC the media's? */
static bool is_media(struct pc_receiver *receiver, uint32_t ssrc)
{
    if (receiver->known && receiver->source.ssrc == ssrc)
        return true;
    if (receiver->settings.ssrc != 0
            ? ssrc != receiver->settings.ssrc
            : receiver->known && receiver->now_ns - receiver->media_ns < QUIET_NS)
        return false;
    set_source(receiver, ssrc);
    return true;
}

/* Is this SSRC that of a stream which `configured` (0 = none) or the first packet names? */
static bool is_repair(uint32_t configured, bool *known, uint32_t *learnt, uint32_t ssrc)
{
    if (configured != 0)
        return ssrc == configured;
    if (!*known) {
        *known = true;
        *learnt = ssrc;
    }
    return ssrc == *learnt;
}

/* A media packet that was not here before. */
static void insert(struct pc_receiver *receiver, const struct pc_rtp_packet *packet,
                   int64_t sequence, bool recovered)
{
    struct pc_payload_hints hints = {0};
    if (packet->payload_bytes > 0)
        hints = receiver->settings.codec == PC_H264
                    ? pc_h264_hints(packet->payload, packet->payload_bytes)
                    : pc_vp8_hints(packet->payload, packet->payload_bytes);
    else
        receiver->stats.padding_packets++;
    struct pc_jitter_packet piece = {
        .sequence = sequence,
        .timestamp = packet->timestamp,
        .marker = packet->marker,
        .begins = hints.begins,
        .idr = hints.idr,
        .recovered = recovered,
        .arrived_ns = receiver->now_ns,
        .payload = packet->payload,
        .payload_bytes = packet->payload_bytes,
    };
    piece.descriptor = pc_rtp_extension(packet, receiver->settings.dependency_descriptor_id,
                                        &piece.descriptor_bytes);
    int result = pc_jitter_insert(receiver->jitter, &piece);
    if (result == -ENOSPC) {
        pc_receiver_give_out(receiver, UINT64_MAX);
        result = pc_jitter_insert(receiver->jitter, &piece);
    }
    receiver->stats.malformed += result == -EMSGSIZE;
    pc_receiver_give_out(receiver, receiver->now_ns);
    if (!pc_jitter_lost(receiver->jitter))
        receiver->lost_ns = 0;
    else if (receiver->lost_ns == 0)
        receiver->lost_ns = receiver->now_ns;
}

/* A media packet in whatever way it came; `sequence` is extended. Returns whether it is new. */
static bool take(struct pc_receiver *receiver, const struct pc_rtp_packet *packet, int64_t sequence,
                 enum pc_nack_origin origin)
{
    enum pc_nack_arrival arrival =
        pc_nack_arrived(&receiver->nack, sequence, origin, receiver->now_ns);
    if (origin == PC_ORIGIN_ITSELF && arrival != PC_ARRIVAL_REPEATED)
        pc_rtp_source_received(&receiver->source, sequence, packet->timestamp, receiver->now_ns);
    if (arrival != PC_ARRIVAL_FIRST) {
        receiver->stats.duplicates++;
        return false;
    }
    receiver->stats.recovered_rtx += origin == PC_ORIGIN_RTX;
    receiver->stats.recovered_fec += origin == PC_ORIGIN_FEC;
    insert(receiver, packet, sequence, origin != PC_ORIGIN_ITSELF);
    return true;
}

static void receive_media(struct pc_receiver *receiver, const uint8_t *data, size_t size,
                          const struct pc_rtp_packet *packet)
{
    if (!is_media(receiver, packet->ssrc)) {
        receiver->stats.unknown++;
        return;
    }
    int64_t sequence;
    uint64_t lost = pc_rtp_source_lost(&receiver->source);
    switch (pc_rtp_source_extend(&receiver->source, packet->sequence, &sequence)) {
    case PC_SEQUENCE_DOUBTED:
        receiver->stats.unknown++;
        return;
    case PC_SEQUENCE_RESTARTED:
        receiver->earlier_lost += lost;
        begin_anew(receiver);
        break;
    case PC_SEQUENCE_FITS:
        break;
    }
    receiver->media_ns = receiver->now_ns;
    receiver->stats.packets++;
    receiver->stats.bytes += size;
    if (take(receiver, packet, sequence, PC_ORIGIN_ITSELF) && receiver->flexfec != NULL &&
        packet->payload_bytes > 0)
        pc_flexfec_receive_media(receiver->flexfec, data, size, false);
}

/* RFC 4588 4: the payload begins with the original sequence number; the rest of the header is the
 * original's but for SSRC, payload type and sequence number. */
static void receive_rtx(struct pc_receiver *receiver, const uint8_t *data,
                        const struct pc_rtp_packet *rtx)
{
    uint8_t original[2048];
    if (rtx->payload_bytes == 0) {
        receiver->stats.padding_packets++; /* a probe */
        return;
    }
    if (rtx->payload_bytes < 3 || rtx->header_bytes + rtx->payload_bytes - 2 > sizeof original) {
        receiver->stats.malformed++;
        return;
    }
    size_t payload_bytes = rtx->payload_bytes - 2, size = rtx->header_bytes + payload_bytes;
    struct pc_rtp_packet packet = *rtx;
    packet.sequence = (uint16_t)(rtx->payload[0] << 8 | rtx->payload[1]);
    packet.payload = rtx->payload + 2;
    packet.payload_bytes = payload_bytes;
    int64_t sequence;
    if (!receiver->known || !pc_rtp_source_relate(&receiver->source, packet.sequence, &sequence)) {
        receiver->stats.unknown++;
        return;
    }
    if (!take(receiver, &packet, sequence, PC_ORIGIN_RTX) || receiver->flexfec == NULL)
        return;
    uint32_t ssrc = receiver->source.ssrc;
    memcpy(original, data, rtx->header_bytes);
    memcpy(original + rtx->header_bytes, packet.payload, payload_bytes);
    original[0] &= 0xDF; /* the padding is left out */
    original[1] = (uint8_t)((data[1] & 0x80) | receiver->settings.payload_type);
    memcpy(original + 2, rtx->payload, 2);
    for (int i = 0; i < 4; i++)
        original[8 + i] = (uint8_t)(ssrc >> (24 - 8 * i));
    pc_flexfec_receive_media(receiver->flexfec, original, size, true);
}

static void on_recovered(void *context, const uint8_t *data, size_t size)
{
    struct pc_receiver *receiver = context;
    struct pc_rtp_packet packet;
    int64_t sequence;
    if (pc_rtp_parse(data, size, &packet) < 0 ||
        packet.payload_type != receiver->settings.payload_type)
        receiver->stats.malformed++;
    else if (pc_rtp_source_relate(&receiver->source, packet.sequence, &sequence))
        take(receiver, &packet, sequence, PC_ORIGIN_FEC);
}

/* What is still missing of what it protects is asked for now: it may be the end of a frame, which
 * nothing else tells of before the next one. */
static void receive_repair(struct pc_receiver *receiver, const struct pc_rtp_packet *repair)
{
    int last = pc_flexfec_receive_repair(receiver->flexfec, repair->payload, repair->payload_bytes);
    int64_t sequence;
    if (last >= 0 && pc_rtp_source_relate(&receiver->source, (uint16_t)last, &sequence))
        pc_nack_announced(&receiver->nack, sequence, receiver->now_ns);
}

static void note_arrival(struct pc_receiver *receiver, const struct pc_rtp_packet *packet)
{
    size_t size;
    const uint8_t *number = pc_rtp_extension(packet, receiver->settings.transport_cc_id, &size);
    if (number == NULL || size != 2 || !receiver->settings.transport_feedback)
        return;
    bool ends_frame = packet->marker && packet->payload_type == receiver->settings.payload_type;
    pc_arrivals_add(&receiver->arrivals, (uint16_t)(number[0] << 8 | number[1]), ends_frame,
                    receiver->now_ns);
}

void pc_receiver_packet(struct pc_receiver *receiver, const uint8_t *data, size_t size,
                        uint64_t now_ns)
{
    const struct pc_receiver_settings *settings = &receiver->settings;
    struct pc_rtp_packet packet;
    if (pc_rtp_parse(data, size, &packet) < 0) {
        receiver->stats.malformed++;
        return;
    }
    receiver->now_ns = now_ns;
    note_arrival(receiver, &packet);
    if (packet.payload_type == settings->payload_type) {
        receive_media(receiver, data, size, &packet);
    } else if (settings->rtx_payload_type != 0 &&
               packet.payload_type == settings->rtx_payload_type &&
               is_repair(settings->rtx_ssrc, &receiver->rtx_known, &receiver->rtx_ssrc,
                         packet.ssrc)) {
        receiver->stats.rtx_packets++;
        receive_rtx(receiver, data, &packet);
    } else if (settings->fec_payload_type != 0 &&
               packet.payload_type == settings->fec_payload_type &&
               is_repair(settings->fec_ssrc, &receiver->fec_known, &receiver->fec_ssrc,
                         packet.ssrc)) {
        receiver->stats.fec_packets++;
        if (receiver->known && receiver->flexfec != NULL)
            receive_repair(receiver, &packet);
    } else {
        receiver->stats.unknown++;
    }
}

void pc_receiver_set_jitter_target(struct pc_receiver *receiver, uint64_t target_ns)
{
    pc_jitter_set_target(receiver->jitter, target_ns);
}

void pc_receiver_get_stats(const struct pc_receiver *receiver, struct pc_receiver_stats *out)
{
    *out = receiver->stats;
    out->lost = receiver->earlier_lost + pc_rtp_source_lost(&receiver->source);
    out->units_dropped = pc_jitter_dropped(receiver->jitter);
    out->rtt_ms = receiver->nack.rtt_ns > 0 ? (double)receiver->nack.rtt_ns / 1e6 : -1;
    out->jitter_ms = (receiver->source.jitter_16 >> 4) / 90.0;
    if (receiver->flexfec != NULL) {
        struct pc_flexfec_stats flexfec;
        pc_flexfec_receiver_get_stats(receiver->flexfec, &flexfec);
        out->malformed += flexfec.malformed;
    }
}
