#include "jitter.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "jitter_state.h"

#define SLACK 256 /* packets before the first one that may still come */

struct pc_jitter *pc_jitter_create(uint64_t target_ns)
{
    struct pc_jitter *jitter = calloc(1, sizeof *jitter);
    if (jitter == NULL)
        return NULL;
    jitter->target_ns = target_ns;
    jitter->taken = -1;
    return jitter;
}

void pc_jitter_set_target(struct pc_jitter *jitter, uint64_t target_ns)
{
    jitter->target_ns = target_ns;
}

void pc_jitter_reset(struct pc_jitter *jitter)
{
    for (int i = 0; i < PC_JITTER_PACKETS; i++)
        pc_jitter_empty(jitter, &jitter->slots[i]);
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

/* ---- Whole frames ---- */

static void describe(struct pc_jitter *jitter, struct pc_jitter_frame *frame)
{
    const struct pc_jitter_slot *slot = pc_jitter_find(jitter, frame->first);
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
        pc_jitter_advance(jitter, jitter->frames[0].last + 1, INT64_MAX);
        at--;
    }
    struct pc_jitter_frame frame = {
        .first = first,
        .last = last,
        .timestamp = pc_jitter_slot_at(jitter, first)->timestamp,
        .first_packet_ns = UINT64_MAX,
    };
    for (int64_t i = first; i <= last; i++) {
        const struct pc_jitter_slot *slot = pc_jitter_slot_at(jitter, i);
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
static bool follows_another_frame(const struct pc_jitter_slot *slot,
                                  const struct pc_jitter_slot *before)
{
    return before->ends || before->timestamp != slot->timestamp;
}

/* Take over what is known at the packet before. `begins`: it is the first one of its frame. Returns
 * whether anything new is known here. */
static bool link_to(struct pc_jitter_slot *slot, const struct pc_jitter_slot *before, bool begins)
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
    struct pc_jitter_slot *slot = pc_jitter_find(jitter, sequence),
                          *before = pc_jitter_find(jitter, sequence - 1);
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
        slot = pc_jitter_find(jitter, i + 1);
    }
}

void pc_jitter_skip_padding(struct pc_jitter *jitter)
{
    const struct pc_jitter_slot *slot = pc_jitter_find(jitter, jitter->next);
    if (slot == NULL || !slot->padding)
        return;
    for (; slot != NULL && slot->padding; slot = pc_jitter_find(jitter, jitter->next))
        pc_jitter_empty(jitter, pc_jitter_slot_at(jitter, jitter->next++));
    if (slot != NULL)
        spread(jitter, jitter->next);
}

/* ---- Packets ---- */

static int fill(struct pc_jitter *jitter, struct pc_jitter_slot *slot,
                const struct pc_jitter_packet *packet)
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
    *slot = (struct pc_jitter_slot){
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
    if (packet->sequence < jitter->next || pc_jitter_find(jitter, packet->sequence) != NULL)
        return -EALREADY;
    bool far_ahead = packet->sequence >= jitter->next + PC_JITTER_PACKETS;
    if ((far_ahead || jitter->frame_count == PC_JITTER_FRAMES) &&
        pc_jitter_first_decodable(jitter) >= 0)
        return -ENOSPC;
    if (far_ahead) {
        jitter->synchronised = jitter->at_frame = false;
        pc_jitter_advance(jitter, packet->sequence - PC_JITTER_PACKETS * 3 / 4, INT64_MAX);
    }
    int result = fill(jitter, pc_jitter_slot_at(jitter, packet->sequence), packet);
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
    pc_jitter_skip_padding(jitter);
    return 0;
}
