#include "flexfec.h"

#include <assert.h>
#include <errno.h>

#include "flexfec_parity.h"

/* ---- The block ---- */

void pc_flexfec_begin(struct pc_flexfec_block *block)
{
    block->count = 0;
}

bool pc_flexfec_protect(struct pc_flexfec_block *block, const uint8_t *header, size_t header_bytes,
                        const uint8_t *payload, size_t payload_bytes,
                        const struct pc_rtp_extensions *extensions)
{
    assert(header_bytes >= PC_RTP_HEADER_BYTES && header_bytes <= PC_RTP_MAX_HEADER_BYTES);
    assert(payload_bytes <= UINT16_MAX - PC_RTP_MAX_HEADER_BYTES);
    uint16_t sequence = pc_flexfec_read16(header + 2);
    uint32_t ssrc = (uint32_t)pc_flexfec_read16(header + 8) << 16 | pc_flexfec_read16(header + 10);
    if (block->count == 0) {
        block->ssrc = ssrc;
        block->first_sequence = sequence;
    } else {
        uint16_t last = block->packets[block->count - 1].sequence;
        if (block->count == PC_FLEXFEC_MAX_PACKETS || ssrc != block->ssrc ||
            !pc_seq_newer(sequence, last) ||
            (uint16_t)(sequence - block->first_sequence) >= PC_FLEXFEC_MAX_PACKETS)
            return false;
    }
    int at = block->count++;
    memcpy(block->packets[at].header, header, header_bytes);
    pc_flexfec_zero_mutable(block->packets[at].header, header_bytes, extensions);
    block->packets[at].header_bytes = (uint8_t)header_bytes;
    block->packets[at].sequence = sequence;
    block->packets[at].payload = payload;
    block->packets[at].payload_bytes = (uint16_t)payload_bytes;
    return true;
}

/* ---- Which repair covers which packet ---- */

/* Packet j is in row j mod repairs and, from the second lap on, in a later row too, so that fewer
 * pairs of losses meet in the same rows alone. In any run of `repairs` packets row 0 has one
 * packet, and each further row one besides those that earlier rows have: a burst is repaired row by
 * row. docs/loss.md has the figures. */
static bool covers(int index, int repairs, int packet)
{
    int row = packet % repairs, lap = packet / repairs;
    return row == index || row + lap % (repairs / 2 + 1) == index;
}

/* ---- Repairs ---- */

/* Masks of 15, 46 and 109 bits: a bit k in front of each of the three words says that it is the
 * last one. `covered[d]`: sequence number base + d is protected. Returns the header's length. */
static size_t write_mask(uint8_t *mask, const bool *covered, int last)
{
    int words = last < 15 ? 1 : last < 46 ? 2 : 3;
    size_t bytes = words == 1 ? 2 : words == 2 ? 6 : 14;
    memset(mask, 0, bytes);
    for (int d = 0; d <= last; d++) {
        int bit = d + (d < 15 ? 1 : d < 46 ? 2 : 3);
        if (covered[d])
            mask[bit / 8] |= (uint8_t)(0x80 >> bit % 8);
    }
    mask[words == 1 ? 0 : words == 2 ? 2 : 6] |= 0x80;
    return PC_FLEXFEC_BASE_HEADER + bytes;
}

long pc_flexfec_write(const struct pc_flexfec_block *block, int index, int repairs, uint8_t *out,
                      size_t capacity)
{
    assert(repairs >= 1 && repairs <= PC_FLEXFEC_MAX_REPAIRS && repairs <= block->count);
    assert(index >= 0 && index < repairs);
    bool covered[PC_FLEXFEC_MAX_PACKETS] = {false};
    uint16_t base = block->packets[index].sequence; /* the first that row `index` covers */
    int last = 0;
    size_t longest = 0;
    for (int j = index; j < block->count; j++) {
        if (!covers(index, repairs, j))
            continue;
        last = (uint16_t)(block->packets[j].sequence - base);
        covered[last] = true;
        size_t bytes = (size_t)block->packets[j].header_bytes + block->packets[j].payload_bytes -
                       PC_RTP_HEADER_BYTES;
        longest = bytes > longest ? bytes : longest;
    }
    if (capacity < PC_FLEXFEC_MAX_HEADER + longest)
        return -ENOSPC;

    memset(out, 0, PC_FLEXFEC_BASE_HEADER);
    size_t header = write_mask(out + PC_FLEXFEC_BASE_HEADER, covered, last);
    uint8_t *parity = out + header;
    memset(parity, 0, longest);
    for (int j = index; j < block->count; j++) {
        if (!covers(index, repairs, j))
            continue;
        size_t beyond = block->packets[j].header_bytes - (size_t)PC_RTP_HEADER_BYTES;
        size_t payload = block->packets[j].payload_bytes;
        pc_flexfec_xor_fixed(out, block->packets[j].header, PC_RTP_HEADER_BYTES + beyond + payload);
        pc_flexfec_xor(parity, block->packets[j].header + PC_RTP_HEADER_BYTES, beyond);
        pc_flexfec_xor(parity + beyond, block->packets[j].payload, payload);
    }
    out[0] &= 0x3F; /* R, F: neither a retransmission nor an inflexible mask */
    out[8] = 1;     /* SSRCs protected */
    pc_flexfec_write16(out + 12, (uint16_t)(block->ssrc >> 16));
    pc_flexfec_write16(out + 14, (uint16_t)block->ssrc);
    pc_flexfec_write16(out + 16, base);
    return (long)(header + longest);
}
