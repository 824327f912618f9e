#include "rtp_source.h"

#include <string.h>

void pc_rtp_source_init(struct pc_rtp_source *source, uint32_t ssrc)
{
    memset(source, 0, sizeof *source);
    source->ssrc = ssrc;
}

static void start(struct pc_rtp_source *source, uint16_t sequence)
{
    source->started = true;
    source->doubted = source->has_transit = false;
    source->received = 0;
    source->told_expected = source->told_received = 0;
    source->first = source->highest = sequence;
}

bool pc_rtp_source_relate(const struct pc_rtp_source *source, uint16_t sequence, int64_t *extended)
{
    int16_t ahead = (int16_t)(sequence - (uint16_t)source->highest);
    *extended = source->highest + ahead;
    return source->started && ahead < PC_RTP_MAX_DROPOUT && ahead > -PC_RTP_MAX_DROPOUT;
}

enum pc_rtp_sequence pc_rtp_source_extend(struct pc_rtp_source *source, uint16_t sequence,
                                          int64_t *extended)
{
    enum pc_rtp_sequence result = PC_SEQUENCE_FITS;
    if (!source->started) {
        start(source, sequence);
    } else if (!pc_rtp_source_relate(source, sequence, extended)) {
        if (!source->doubted || sequence != source->doubted_next) {
            source->doubted = true;
            source->doubted_next = (uint16_t)(sequence + 1);
            return PC_SEQUENCE_DOUBTED;
        }
        start(source, sequence);
        result = PC_SEQUENCE_RESTARTED;
    }
    source->doubted = false;
    pc_rtp_source_relate(source, sequence, extended);
    if (*extended > source->highest)
        source->highest = *extended;
    return result;
}

void pc_rtp_source_received(struct pc_rtp_source *source, int64_t extended, uint32_t timestamp,
                            uint64_t now_ns)
{
    if (extended < source->first)
        source->first = extended;
    source->received++;
    uint32_t arrived = (uint32_t)(now_ns / 100000 * 9 + now_ns % 100000 * 9 / 100000);
    uint32_t transit = arrived - timestamp;
    int32_t difference = (int32_t)(transit - source->transit);
    source->transit = transit;
    if (!source->has_transit) {
        source->has_transit = true;
        return;
    }
    uint32_t distance = difference < 0 ? 0 - (uint32_t)difference : (uint32_t)difference;
    source->jitter_16 += distance - ((source->jitter_16 + 8) >> 4);
}

void pc_rtp_source_sender_report(struct pc_rtp_source *source,
                                 const struct pc_rtcp_sender_info *info, uint64_t now_ns)
{
    source->last_sr = (uint32_t)(info->ntp >> 16);
    source->last_sr_ns = now_ns;
}

static int64_t expected(const struct pc_rtp_source *source)
{
    return source->started ? source->highest - source->first + 1 : 0;
}

uint64_t pc_rtp_source_lost(const struct pc_rtp_source *source)
{
    int64_t lost = expected(source) - (int64_t)source->received;
    return lost > 0 ? (uint64_t)lost : 0;
}

void pc_rtp_source_report(struct pc_rtp_source *source, struct pc_rtcp_report *out, uint64_t now_ns)
{
    int64_t now_expected = expected(source), now_received = (int64_t)source->received;
    int64_t interval = now_expected - source->told_expected;
    int64_t lost = interval - (now_received - source->told_received);
    int64_t cumulative = now_expected - now_received;
    source->told_expected = now_expected;
    source->told_received = now_received;
    *out = (struct pc_rtcp_report){
        .ssrc = source->ssrc,
        .fraction_lost = (uint8_t)(lost <= 0 || interval <= 0 ? 0
                                   : lost >= interval         ? 255
                                                              : lost * 256 / interval),
        .cumulative_lost = (int32_t)(cumulative > 0x7FFFFF    ? 0x7FFFFF
                                     : cumulative < -0x800000 ? -0x800000
                                                              : cumulative),
        .highest_sequence = (uint32_t)source->highest,
        .jitter = source->jitter_16 >> 4,
        .last_sr = source->last_sr,
    };
    if (source->last_sr != 0) {
        uint64_t since = now_ns - source->last_sr_ns;
        uint64_t delay = since / 1000000000 * 65536 + since % 1000000000 * 65536 / 1000000000;
        out->delay_since_last_sr = delay > UINT32_MAX ? UINT32_MAX : (uint32_t)delay;
    }
}
