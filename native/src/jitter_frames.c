#include <assert.h>
#include <string.h>

#include "jitter_state.h"

void pc_jitter_empty(struct pc_jitter *jitter, struct pc_jitter_slot *slot)
{
    if (slot->memory != NULL)
        jitter->free_memory[jitter->free_count++] = slot->memory;
    slot->memory = NULL;
    slot->here = false;
}

static void remove_frames(struct pc_jitter *jitter, int count)
{
    jitter->frame_count -= count;
    memmove(jitter->frames, jitter->frames + count,
            (size_t)jitter->frame_count * sizeof jitter->frames[0]);
}

void pc_jitter_advance(struct pc_jitter *jitter, int64_t next, int64_t given)
{
    int64_t stop = next < jitter->end ? next : jitter->end;
    bool counted = false;
    uint32_t timestamp = 0;
    for (int64_t i = jitter->next; i < stop; i++) {
        struct pc_jitter_slot *slot = pc_jitter_find(jitter, i);
        if (slot == NULL)
            continue;
        if (i < given && !slot->padding && (!counted || slot->timestamp != timestamp)) {
            jitter->dropped++;
            counted = true;
            timestamp = slot->timestamp;
        }
        pc_jitter_empty(jitter, slot);
    }
    jitter->next = next;
    int gone = 0;
    while (gone < jitter->frame_count && jitter->frames[gone].first < next)
        gone++;
    remove_frames(jitter, gone);
}

static bool decodable(const struct pc_jitter *jitter, const struct pc_jitter_frame *frame)
{
    if (frame->alone)
        return true;
    if (frame->described)
        return pc_references_hold(&jitter->references, &frame->descriptor);
    return jitter->synchronised && frame->first == jitter->next;
}

int pc_jitter_first_decodable(const struct pc_jitter *jitter)
{
    for (int i = 0; i < jitter->frame_count; i++)
        if (decodable(jitter, &jitter->frames[i]))
            return i;
    return -1;
}

static uint64_t due(const struct pc_jitter *jitter, int i)
{
    return jitter->frames[i].quickest_ns + jitter->target_ns;
}

const struct pc_jitter_frame *pc_jitter_take(struct pc_jitter *jitter, uint64_t now_ns)
{
    assert(jitter->taken < 0);
    int i = pc_jitter_first_decodable(jitter);
    if (i < 0 || (jitter->target_ns > 0 && due(jitter, i) > now_ns))
        return NULL;
    jitter->taken = i;
    return &jitter->frames[i];
}

const uint8_t *pc_jitter_payload(const struct pc_jitter *jitter, int64_t sequence, size_t *size)
{
    const struct pc_jitter_slot *slot = &jitter->slots[(uint64_t)sequence % PC_JITTER_PACKETS];
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
    pc_jitter_advance(jitter, frame->last + 1, used ? frame->first : INT64_MAX);
    pc_jitter_skip_padding(jitter);
}

uint64_t pc_jitter_due(const struct pc_jitter *jitter)
{
    int i = pc_jitter_first_decodable(jitter);
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
    if (jitter->frame_count == 0 || pc_jitter_first_decodable(jitter) >= 0)
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
