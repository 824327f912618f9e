#include "packetize.h"

#include <errno.h>
#include <string.h>

enum {
    NAL_SPS = 7,
    NAL_PPS = 8,
    NAL_STAP_A = 24,
    NAL_FU_A = 28,
    NAL_TYPE_MASK = 0x1f,
    NAL_NRI_MASK = 0x60,
    FU_HEADER_BYTES = 2, /* FU indicator and FU header, RFC 6184 5.8 */
    FU_START = 0x80,
    FU_END = 0x40,
};

static int append(struct pc_access_unit *au, const uint8_t *data, size_t size)
{
    uint8_t *room = pc_au_reserve(au, size);
    if (!room)
        return -ENOSPC;
    memcpy(room, data, size);
    pc_au_commit(au, size);
    return 1;
}

/* RFC 6184 5.8: the NAL header's bits are spread over the indicator and the FU header; the NAL's
 * other bytes are split evenly. */
static int append_fragments(struct pc_access_unit *au, const uint8_t *nal, size_t size)
{
    const size_t most = PC_MAX_PAYLOAD - FU_HEADER_BYTES;
    const uint8_t *body = nal + 1;
    size_t left = size - 1;
    size_t fragments = (left + most - 1) / most;
    size_t share = (left + fragments - 1) / fragments;
    int added = 0;
    uint8_t start = FU_START;
    while (left > 0) {
        size_t take = left < share ? left : share;
        uint8_t *room = pc_au_reserve(au, take + FU_HEADER_BYTES);
        if (!room)
            return -ENOSPC;
        room[0] = (uint8_t)((nal[0] & ~NAL_TYPE_MASK) | NAL_FU_A);
        room[1] = (uint8_t)((nal[0] & NAL_TYPE_MASK) | start | (take == left ? FU_END : 0));
        memcpy(room + FU_HEADER_BYTES, body, take);
        pc_au_commit(au, take + FU_HEADER_BYTES);
        body += take;
        left -= take;
        start = 0;
        added++;
    }
    return added;
}

static int append_nal(struct pc_access_unit *au, const uint8_t *nal, size_t size)
{
    return size <= PC_MAX_PAYLOAD ? append(au, nal, size) : append_fragments(au, nal, size);
}

/* Send what was gathered: as a STAP-A, or plainly when it is a single NAL unit. */
static int flush_parameter_sets(struct pc_h264_packetizer *packetizer, struct pc_access_unit *au)
{
    const uint8_t *gathered = packetizer->parameter_sets;
    size_t bytes = packetizer->parameter_bytes;
    if (bytes == 0)
        return 0;
    packetizer->parameter_bytes = 0;
    size_t first = (size_t)gathered[1] << 8 | gathered[2];
    if (3 + first == bytes)
        return append_nal(au, gathered + 3, first);
    return append(au, gathered, bytes);
}

/* RFC 6184 5.7.1: one byte of header with the highest NRI of all, then each NAL after its size. */
static void gather(struct pc_h264_packetizer *packetizer, const uint8_t *nal, size_t size)
{
    uint8_t *sets = packetizer->parameter_sets;
    if (packetizer->parameter_bytes == 0) {
        sets[0] = NAL_STAP_A;
        packetizer->parameter_bytes = 1;
    }
    if ((nal[0] & NAL_NRI_MASK) > (sets[0] & NAL_NRI_MASK))
        sets[0] = (uint8_t)((nal[0] & NAL_NRI_MASK) | NAL_STAP_A);
    uint8_t *end = sets + packetizer->parameter_bytes;
    end[0] = (uint8_t)(size >> 8);
    end[1] = (uint8_t)size;
    memcpy(end + 2, nal, size);
    packetizer->parameter_bytes += 2 + size;
}

int pc_packetize_h264(struct pc_h264_packetizer *packetizer, struct pc_access_unit *au,
                      const uint8_t *nal, size_t size, bool last)
{
    if (size == 0)
        return -EINVAL;
    int type = nal[0] & NAL_TYPE_MASK;
    bool gathers =
        (type == NAL_SPS || type == NAL_PPS) && size <= sizeof packetizer->parameter_sets - 1 - 2;
    int added = 0;
    if (!gathers || packetizer->parameter_bytes + 2 + size > sizeof packetizer->parameter_sets) {
        added = flush_parameter_sets(packetizer, au);
        if (added < 0)
            return added;
    }
    if (gathers)
        gather(packetizer, nal, size);
    if (!gathers || last) {
        int more = gathers ? flush_parameter_sets(packetizer, au) : append_nal(au, nal, size);
        if (more < 0)
            return more;
        added += more;
    }
    if (added > 0)
        pc_au_publish(au, last);
    return added;
}
