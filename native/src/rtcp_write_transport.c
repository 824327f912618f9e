/* Transport-wide feedback (draft-holmer-rmcat-transport-wide-cc-extensions-01, 3.1). */

#include <errno.h>

#include "rtcp.h"
#include "rtcp_types.h"

enum {
    HEAD_BYTES = 20,
    TICKS_PER_REFERENCE = 256, /* 64 ms */
    RUN_MAX = 0x1FFF,
    VECTOR_1BIT = 14, /* symbols of a status vector chunk */
    VECTOR_2BIT = 7,
};

static uint8_t *write16(uint8_t *p, uint32_t value)
{
    p[0] = (uint8_t)(value >> 8);
    p[1] = (uint8_t)value;
    return p + 2;
}

static uint8_t *write32(uint8_t *p, uint32_t value)
{
    return write16(write16(p, value >> 16), value);
}

/* What comes next in a packet that is being written. */
struct cursor {
    const int64_t *arrivals;
    int at, count;
    int64_t previous; /* tick of the last one received */
};

/* The next symbol and its delta; RESERVED when the delta is too large to be told. */
static enum pc_rtcp_status take(struct cursor *cursor, int64_t *delta)
{
    int64_t tick = cursor->arrivals[cursor->at++];
    if (tick == PC_RTCP_NOT_RECEIVED)
        return NOT_RECEIVED;
    *delta = tick - cursor->previous;
    cursor->previous = tick;
    if (*delta >= 0 && *delta <= UINT8_MAX)
        return SMALL_DELTA;
    return *delta >= INT16_MIN && *delta <= INT16_MAX ? LARGE_DELTA : RESERVED;
}

/* The chunk for what is next, and how many symbols of it count. The cursor does not move. */
struct chunk {
    uint16_t bits;
    int symbols;
};

static struct chunk choose_chunk(struct cursor next, int limit)
{
    enum pc_rtcp_status first = NOT_RECEIVED, symbols[VECTOR_1BIT];
    int known = 0, run = 0;
    bool large = false, same = true;
    int64_t delta;
    while (next.at < limit && (known < VECTOR_1BIT || same)) {
        enum pc_rtcp_status symbol = take(&next, &delta);
        if (known == 0)
            first = symbol;
        same = same && symbol == first && run < RUN_MAX;
        run += same;
        if (known < VECTOR_1BIT) {
            symbols[known++] = symbol;
            large = large || symbol == LARGE_DELTA;
        }
    }
    int vector = large ? VECTOR_2BIT : VECTOR_1BIT;
    if (run >= vector || run == known)
        return (struct chunk){(uint16_t)((unsigned)first << 13 | (unsigned)run), run};
    unsigned bits = large ? 0xC000 : 0x8000;
    int count = known < vector ? known : vector;
    for (int i = 0; i < count; i++)
        bits |= (unsigned)symbols[i] << (large ? 2 * (VECTOR_2BIT - 1 - i) : VECTOR_1BIT - 1 - i);
    return (struct chunk){(uint16_t)bits, count};
}

/* How many of the arrivals have deltas that can be told. */
static int tellable(struct cursor cursor)
{
    int64_t delta;
    while (cursor.at < cursor.count)
        if (take(&cursor, &delta) == RESERVED)
            return cursor.at - 1;
    return cursor.count;
}

/* Write chunks for as many as fit with their deltas; sets `*count` to how many. */
static uint8_t *write_chunks(uint8_t *p, const uint8_t *end, struct cursor cursor, int *count)
{
    size_t room = (size_t)(end - p);
    while (cursor.at < *count && room >= 2) {
        struct chunk chunk = choose_chunk(cursor, *count);
        struct cursor before = cursor;
        room -= 2;
        size_t left = room;
        for (int i = 0; i < chunk.symbols; i++) {
            int64_t delta;
            size_t bytes = (size_t)take(&cursor, &delta);
            if (bytes > left) { /* end before it, with a chunk of its own for those that fit */
                *count = before.at + i;
                if (i > 0)
                    p = write16(p, choose_chunk(before, *count).bits);
                return p;
            }
            left -= bytes;
        }
        room = left;
        p = write16(p, chunk.bits);
    }
    *count = cursor.at;
    return p;
}

static uint8_t *write_deltas(uint8_t *p, struct cursor cursor)
{
    while (cursor.at < cursor.count) {
        int64_t delta = 0;
        enum pc_rtcp_status symbol = take(&cursor, &delta);
        if (symbol == SMALL_DELTA)
            *p++ = (uint8_t)delta;
        else if (symbol == LARGE_DELTA)
            p = write16(p, (uint16_t)delta);
    }
    return p;
}

long pc_rtcp_write_transport_feedback(uint8_t *out, size_t capacity,
                                      struct pc_rtcp_transport_feedback *feedback,
                                      const int64_t *arrivals)
{
    int first = 0;
    while (first < feedback->status_count && arrivals[first] == PC_RTCP_NOT_RECEIVED)
        first++;
    if (first == feedback->status_count)
        return -EINVAL;
    capacity &= ~(size_t)3; /* it is padded to whole words */
    if (capacity < HEAD_BYTES)
        return -ENOSPC;
    /* Rounded down, also before zero. */
    int64_t tick = arrivals[first];
    int64_t reference =
        (tick - ((tick % TICKS_PER_REFERENCE + TICKS_PER_REFERENCE) % TICKS_PER_REFERENCE)) /
        TICKS_PER_REFERENCE;
    struct cursor cursor = {.arrivals = arrivals,
                            .count = feedback->status_count,
                            .previous = reference * TICKS_PER_REFERENCE};
    cursor.count = tellable(cursor);
    uint8_t *p = write_chunks(out + HEAD_BYTES, out + capacity, cursor, &cursor.count);
    if (cursor.count <= first)
        return -ENOSPC;
    p = write_deltas(p, cursor);
    while ((p - out) % 4 != 0)
        *p++ = 0;

    feedback->status_count = (uint16_t)cursor.count;
    uint32_t wrapped = (uint32_t)((uint64_t)reference & 0xFFFFFF);
    feedback->reference_time = wrapped < 0x800000 ? (int32_t)wrapped : (int32_t)wrapped - 0x1000000;
    uint8_t *head = out;
    head = write32(head, 2u << 30 | (unsigned)RTPFB_TRANSPORT_CC << 24 |
                             (unsigned)TYPE_RTPFB << 16 | (uint32_t)((p - out) / 4 - 1));
    head = write32(head, feedback->sender_ssrc);
    head = write32(head, feedback->media_ssrc);
    head = write16(head, feedback->base_sequence);
    head = write16(head, feedback->status_count);
    write32(head, wrapped << 8 | feedback->feedback_count);
    return p - out;
}
