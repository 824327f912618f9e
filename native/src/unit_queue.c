#include "unit_queue.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "decode.h"

struct pc_held_unit *pc_held_unit_create(const struct pc_received_unit *unit, uint64_t id,
                                         uint64_t now_ns)
{
    struct pc_held_unit *held = malloc(sizeof *held + unit->size + PC_DECODE_PADDING);
    if (held == NULL)
        return NULL;
    atomic_init(&held->refs, 1);
    held->id = id;
    held->rtp_time = unit->rtp_time;
    held->idr = unit->idr;
    held->recovered = unit->recovered;
    held->first_packet_ns = unit->first_packet_ns;
    held->complete_ns = unit->complete_ns;
    held->queued_ns = now_ns;
    held->size = unit->size;
    memcpy(held->data, unit->data, unit->size);
    memset(held->data + unit->size, 0, PC_DECODE_PADDING);
    return held;
}

struct pc_held_unit *pc_held_unit_ref(struct pc_held_unit *unit)
{
    atomic_fetch_add_explicit(&unit->refs, 1, memory_order_relaxed);
    return unit;
}

void pc_held_unit_unref(struct pc_held_unit *unit)
{
    if (unit != NULL && atomic_fetch_sub_explicit(&unit->refs, 1, memory_order_acq_rel) == 1)
        free(unit);
}

bool pc_unit_queue_init(struct pc_unit_queue *queue, unsigned capacity)
{
    memset(queue, 0, sizeof *queue);
    queue->units = calloc(capacity, sizeof *queue->units);
    queue->capacity = capacity;
    queue->waiting_for_idr = true;
    return queue->units != NULL;
}

void pc_unit_queue_free(struct pc_unit_queue *queue)
{
    struct pc_held_unit *unit;
    while ((unit = pc_unit_queue_pop(queue)) != NULL)
        pc_held_unit_unref(unit);
    free(queue->units);
    queue->units = NULL;
}

bool pc_unit_queue_push(struct pc_unit_queue *queue, struct pc_held_unit *unit)
{
    if (queue->waiting_for_idr && !unit->idr)
        return false;
    assert(queue->length < queue->capacity);
    queue->waiting_for_idr = false;
    queue->units[(queue->head + queue->length++) % queue->capacity] = pc_held_unit_ref(unit);
    queue->bytes += unit->size;
    return true;
}

struct pc_held_unit *pc_unit_queue_pop(struct pc_unit_queue *queue)
{
    if (queue->length == 0)
        return NULL;
    struct pc_held_unit *unit = queue->units[queue->head];
    queue->head = (queue->head + 1) % queue->capacity;
    queue->length--;
    queue->bytes -= unit->size;
    return unit;
}

const struct pc_held_unit *pc_unit_queue_oldest(const struct pc_unit_queue *queue)
{
    return queue->length > 0 ? queue->units[queue->head] : NULL;
}

struct pc_held_unit *pc_unit_queue_drop(struct pc_unit_queue *queue)
{
    const struct pc_held_unit *oldest = pc_unit_queue_oldest(queue);
    if (oldest == NULL)
        queue->waiting_for_idr = true;
    return oldest == NULL || oldest->idr ? NULL : pc_unit_queue_pop(queue);
}
