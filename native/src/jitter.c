#include "jitter.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "quickest_way.h"

#define SLACK 256 /* packets before the first one that may still come */

struct slot {
    bool here;
    bool padding, begins, ends, idr, recovered;
    /* What is known of the way from its frame's first packet to here. Padding repeats what is known
     * at the packet before it, once that is `anchored`. */
    bool anchored, continuous;
    uint8_t descriptor_bytes;
    uint16_t payload_bytes;
    uint32_t timestamp;
    int64_t sequence;
    int64_t first;
    uint64_t arrived_ns;
    uint8_t *memory; /* payload, then descriptor */
};

struct pc_jitter {
    bool started;
    bool synchronised; /* the frame before `next` was given out */
    int64_t next;      /* what is before was given out or let go */
    bool at_frame;     /* … and `next` begins a frame, or is padding before one */
    int64_t end;       /* after the last packet that came */
    struct pc_frame_references references;
    struct pc_quickest_way way;
    uint64_t target_ns;

    bool idr_seen;
    uint32_t idr_timestamp;
    uint64_t idr_seen_ns;
    uint64_t dropped;

    int taken; /* index of the frame that was taken, -1 = none */
    int frame_count;
    struct pc_jitter_frame frames[PC_JITTER_FRAMES]; /* whole, in order of sequence */

    int free_count;
    uint8_t *free_memory[PC_JITTER_PACKETS];
    struct slot slots[PC_JITTER_PACKETS];
};

static struct slot *slot_at(struct pc_jitter *jitter, int64_t sequence)
{
    return &jitter->slots[(uint64_t)sequence % PC_JITTER_PACKETS];
}

/* NULL when the packet is not here. */
static struct slot *find(struct pc_jitter *jitter, int64_t sequence)
{
    struct slot *slot = slot_at(jitter, sequence);
    return slot->here && slot->sequence == sequence ? slot : NULL;
}

struct pc_jitter *pc_jitter_create(uint64_t target_ns)
{
    struct pc_jitter *jitter = calloc(1, sizeof *jitter);
    if (jitter == NULL)
        return NULL;
    jitter->target_ns = target_ns;
    jitter->taken = -1;
    return jitter;
}

static void empty(struct pc_jitter *jitter, struct slot *slot)
{
    if (slot->memory != NULL)
        jitter->free_memory[jitter->free_count++] = slot->memory;
    slot->memory = NULL;
    slot->here = false;
}

void pc_jitter_set_target(struct pc_jitter *jitter, uint64_t target_ns)
{
    jitter->target_ns = target_ns;
}

void pc_jitter_reset(struct pc_jitter *jitter)
{
    for (int i = 0; i < PC_JITTER_PACKETS; i++)
        empty(jitter, &jitter->slots[i]);
    pc_references_init(&jitter->references);
    jitter->way = (struct pc_quickest_way){0};
    jitter->started = jitter->synchronised = jitter->at_frame = jitter->idr_seen = false;
    jitter->frame_count = 0;
    jitter->taken = -1;
}

void pc_jitter_destroy(struct pc_jitter *jitter)
{
    if (jitter == NULL)
        return;
    pc_jitter_reset(jitter);
    for (int i = 0; i < jitter->free_count; i++)
        free(jitter->free_memory[i]);
    free(jitter);
}

/* ---- Letting go ---- */

static void remove_frames(struct pc_jitter *jitter, int count)
{
    jitter->frame_count -= count;
    memmove(jitter->frames, jitter->frames + count,
            (size_t)jitter->frame_count * sizeof jitter->frames[0]);
}

/* Everything before `next` goes. The frames of which something was here count as dropped, but for
 * the one from `given` on. */
static void advance(struct pc_jitter *jitter, int64_t next, int64_t given)
{
    int64_t stop = next < jitter->end ? next : jitter->end;
    bool counted = false;
    uint32_t timestamp = 0;
    for (int64_t i = jitter->next; i < stop; i++) {
        struct slot *slot = find(jitter, i);
        if (slot == NULL)
            continue;
        if (i < given && !slot->padding && (!counted || slot->timestamp != timestamp)) {
            jitter->dropped++;
            counted = true;
            timestamp = slot->timestamp;
        }
        empty(jitter, slot);
    }
    jitter->next = next;
    int gone = 0;
    while (gone < jitter->frame_count && jitter->frames[gone].first < next)
        gone++;
    remove_frames(jitter, gone);
}

/* ---- Whole frames ---- */

static void describe(struct pc_jitter *jitter, struct pc_jitter_frame *frame)
{
    const struct slot *slot = find(jitter, frame->first);
    if (frame->described || slot->descriptor_bytes == 0)
        return;
    frame->described =
        pc_dependency_descriptor_parse(slot->memory + slot->payload_bytes, slot->descriptor_bytes,
                                       &jitter->references.structure, &frame->descriptor) == 0;
    frame->alone = frame->idr || (frame->described && frame->descriptor.diff_count == 0);
}

/* A frame with a new structure can make others understood that came before it. */
static void describe_all(struct pc_jitter *jitter)
{
    for (int i = 0; i < jitter->frame_count; i++)
        describe(jitter, &jitter->frames[i]);
}

/* All packets from `first` to `last` are here. */
static void add_frame(struct pc_jitter *jitter, int64_t first, int64_t last)
{
    int at = jitter->frame_count;
    while (at > 0 && jitter->frames[at - 1].first >= first)
        at--;
    if (at < jitter->frame_count && jitter->frames[at].first == first)
        return;
    if (jitter->frame_count == PC_JITTER_FRAMES) {
        if (at == 0)
            return; /* older than all that wait */
        jitter->synchronised = false;
        jitter->at_frame = true;
        advance(jitter, jitter->frames[0].last + 1, INT64_MAX);
        at--;
    }
    struct pc_jitter_frame frame = {
        .first = first,
        .last = last,
        .timestamp = slot_at(jitter, first)->timestamp,
        .first_packet_ns = UINT64_MAX,
    };
    for (int64_t i = first; i <= last; i++) {
        const struct slot *slot = slot_at(jitter, i);
        if (slot->padding)
            continue;
        frame.packets++;
        frame.idr = frame.idr || slot->idr;
        frame.recovered = frame.recovered || slot->recovered;
        if (slot->arrived_ns < frame.first_packet_ns)
            frame.first_packet_ns = slot->arrived_ns;
        if (slot->arrived_ns > frame.complete_ns)
            frame.complete_ns = slot->arrived_ns;
    }
    frame.alone = frame.idr;
    frame.quickest_ns = pc_quickest_way(&jitter->way, frame.timestamp, frame.complete_ns);
    memmove(&jitter->frames[at + 1], &jitter->frames[at],
            (size_t)(jitter->frame_count - at) * sizeof frame);
    jitter->frames[at] = frame;
    jitter->frame_count++;
    describe(jitter, &jitter->frames[at]);
    if (jitter->frames[at].described && jitter->frames[at].descriptor.has_structure)
        describe_all(jitter);
}

/* Is the packet in `slot` the first one of its frame, as the packet before it shows? */
static bool follows_another_frame(const struct slot *slot, const struct slot *before)
{
    return before->ends || before->timestamp != slot->timestamp;
}

/* Take over what is known at the packet before. `begins`: it is the first one of its frame. Returns
 * whether anything new is known here. */
static bool link_to(struct slot *slot, const struct slot *before, bool begins)
{
    if (before != NULL && !before->anchored)
        before = NULL;
    if (slot->padding) {
        if (before == NULL || (slot->anchored && slot->continuous == before->continuous &&
                               slot->first == before->first))
            return false;
        slot->anchored = true;
        slot->timestamp = before->timestamp;
        slot->ends = before->ends;
        slot->continuous = before->continuous;
        slot->first = before->first;
        return true;
    }
    if (slot->continuous)
        return false;
    if (before != NULL && !follows_another_frame(slot, before)) {
        slot->continuous = before->continuous;
        slot->first = before->first;
    } else if (before != NULL || begins) {
        slot->continuous = true;
        slot->first = slot->sequence;
    }
    return slot->continuous;
}

/* Packet `sequence` is new: what follows from that for it and for those behind it? */
static void spread(struct pc_jitter *jitter, int64_t sequence)
{
    struct slot *slot = find(jitter, sequence), *before = find(jitter, sequence - 1);
    bool more = true;
    for (int64_t i = sequence; more && slot != NULL; i++) {
        bool begins = slot->begins || (jitter->at_frame && i == jitter->next);
        bool changed = link_to(slot, before, begins);
        if (before != NULL && before->anchored && before->continuous && !before->ends &&
            !slot->padding && before->timestamp != slot->timestamp)
            add_frame(jitter, before->first, i - 1); /* it had no marker */
        if (changed && slot->continuous && slot->ends && !slot->padding)
            add_frame(jitter, slot->first, i);
        more = changed || i == sequence;
        before = slot;
        slot = find(jitter, i + 1);
    }
}

/* What is behind padding at `next` begins a frame if the padding did. */
static void skip_padding(struct pc_jitter *jitter)
{
    const struct slot *slot = find(jitter, jitter->next);
    if (slot == NULL || !slot->padding)
        return;
    for (; slot != NULL && slot->padding; slot = find(jitter, jitter->next))
        empty(jitter, slot_at(jitter, jitter->next++));
    if (slot != NULL)
        spread(jitter, jitter->next);
}

static bool decodable(const struct pc_jitter *jitter, const struct pc_jitter_frame *frame)
{
    if (frame->alone)
        return true;
    if (frame->described)
        return pc_references_hold(&jitter->references, &frame->descriptor);
    return jitter->synchronised && frame->first == jitter->next;
}

/* The first one that can be decoded; -1: none. */
static int first_decodable(const struct pc_jitter *jitter)
{
    for (int i = 0; i < jitter->frame_count; i++)
        if (decodable(jitter, &jitter->frames[i]))
            return i;
    return -1;
}

/* ---- Packets ---- */

static int fill(struct pc_jitter *jitter, struct slot *slot, const struct pc_jitter_packet *packet)
{
    uint8_t *memory = NULL;
    bool padding = packet->payload_bytes == 0;
    if (!padding) {
        memory = jitter->free_count > 0 ? jitter->free_memory[--jitter->free_count]
                                        : malloc(PC_JITTER_BYTES);
        if (memory == NULL)
            return -ENOMEM;
        memcpy(memory, packet->payload, packet->payload_bytes);
        if (packet->descriptor_bytes > 0)
            memcpy(memory + packet->payload_bytes, packet->descriptor, packet->descriptor_bytes);
    }
    bool described = packet->descriptor_bytes >= 3;
    *slot = (struct slot){
        .here = true,
        .padding = padding,
        .anchored = !padding,
        .begins = described ? (packet->descriptor[0] & 0x80) != 0 : packet->begins,
        .ends = packet->marker || (described && (packet->descriptor[0] & 0x40) != 0),
        .idr = packet->idr,
        .recovered = packet->recovered,
        .descriptor_bytes = described && !padding ? (uint8_t)packet->descriptor_bytes : 0,
        .payload_bytes = (uint16_t)packet->payload_bytes,
        .timestamp = packet->timestamp,
        .sequence = packet->sequence,
        .arrived_ns = packet->arrived_ns,
        .memory = memory,
    };
    return 0;
}

int pc_jitter_insert(struct pc_jitter *jitter, const struct pc_jitter_packet *packet)
{
    if (packet->payload_bytes + packet->descriptor_bytes > PC_JITTER_BYTES ||
        packet->descriptor_bytes > UINT8_MAX)
        return -EMSGSIZE;
    if (!jitter->started) {
        jitter->started = true;
        jitter->next = packet->sequence - SLACK;
        jitter->end = packet->sequence;
    }
    if (packet->sequence < jitter->next || find(jitter, packet->sequence) != NULL)
        return -EALREADY;
    bool far_ahead = packet->sequence >= jitter->next + PC_JITTER_PACKETS;
    if ((far_ahead || jitter->frame_count == PC_JITTER_FRAMES) && first_decodable(jitter) >= 0)
        return -ENOSPC;
    if (far_ahead) {
        jitter->synchronised = jitter->at_frame = false;
        advance(jitter, packet->sequence - PC_JITTER_PACKETS * 3 / 4, INT64_MAX);
    }
    int result = fill(jitter, slot_at(jitter, packet->sequence), packet);
    if (result < 0)
        return result;
    if (packet->sequence >= jitter->end)
        jitter->end = packet->sequence + 1;
    if (packet->idr || (jitter->idr_seen && packet->timestamp == jitter->idr_timestamp)) {
        jitter->idr_seen = true;
        jitter->idr_timestamp = packet->timestamp;
        jitter->idr_seen_ns = packet->arrived_ns;
    }
    spread(jitter, packet->sequence);
    skip_padding(jitter);
    return 0;
}

/* ---- Taking ---- */

static uint64_t due(const struct pc_jitter *jitter, int i)
{
    return jitter->frames[i].quickest_ns + jitter->target_ns;
}

const struct pc_jitter_frame *pc_jitter_take(struct pc_jitter *jitter, uint64_t now_ns)
{
    assert(jitter->taken < 0);
    int i = first_decodable(jitter);
    if (i < 0 || (jitter->target_ns > 0 && due(jitter, i) > now_ns))
        return NULL;
    jitter->taken = i;
    return &jitter->frames[i];
}

const uint8_t *pc_jitter_payload(const struct pc_jitter *jitter, int64_t sequence, size_t *size)
{
    const struct slot *slot = &jitter->slots[(uint64_t)sequence % PC_JITTER_PACKETS];
    *size = slot->payload_bytes;
    return slot->padding ? NULL : slot->memory;
}

void pc_jitter_release(struct pc_jitter *jitter, bool used)
{
    assert(jitter->taken >= 0);
    const struct pc_jitter_frame *frame = &jitter->frames[jitter->taken];
    jitter->taken = -1;
    jitter->synchronised = used;
    jitter->at_frame = true;
    if (used && frame->described)
        pc_references_give(&jitter->references, frame->descriptor.frame_number, frame->alone);
    if (jitter->idr_seen && frame->timestamp == jitter->idr_timestamp)
        jitter->idr_seen = false;
    advance(jitter, frame->last + 1, used ? frame->first : INT64_MAX);
    skip_padding(jitter);
}

uint64_t pc_jitter_due(const struct pc_jitter *jitter)
{
    int i = first_decodable(jitter);
    return i >= 0 ? due(jitter, i) : UINT64_MAX;
}

int64_t pc_jitter_next(const struct pc_jitter *jitter)
{
    return jitter->next;
}

bool pc_jitter_lost(const struct pc_jitter *jitter)
{
    return !jitter->synchronised;
}

uint64_t pc_jitter_blocked_since(const struct pc_jitter *jitter)
{
    if (jitter->frame_count == 0 || first_decodable(jitter) >= 0)
        return UINT64_MAX;
    return jitter->frames[0].complete_ns;
}

uint64_t pc_jitter_idr_seen(const struct pc_jitter *jitter)
{
    return jitter->idr_seen ? jitter->idr_seen_ns : 0;
}

uint64_t pc_jitter_dropped(const struct pc_jitter *jitter)
{
    return jitter->dropped;
}
