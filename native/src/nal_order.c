#include "nal_order.h"

#include <stdlib.h>
#include <string.h>

void pc_nal_order_init(struct pc_nal_order *order, int mb_count, pc_unit_fn on_unit, void *context)
{
    memset(order, 0, sizeof *order);
    pthread_mutex_init(&order->lock, NULL);
    order->mb_count = mb_count;
    order->on_unit = on_unit;
    order->context = context;
}

void pc_nal_order_free(struct pc_nal_order *order)
{
    for (int i = 0; i < PC_NAL_SLOTS; i++)
        free(order->slots[i].memory);
    pthread_mutex_destroy(&order->lock);
}

void pc_nal_order_begin(struct pc_nal_order *order)
{
    order->next_mb = 0;
    order->bytes = 0;
    order->failed = false;
    for (int i = 0; i < PC_NAL_SLOTS; i++)
        order->slots[i].state = PC_NAL_FREE;
}

struct pc_nal_slot *pc_nal_order_claim(struct pc_nal_order *order, size_t bytes)
{
    struct pc_nal_slot *slot = NULL;
    pthread_mutex_lock(&order->lock);
    for (int i = 0; i < PC_NAL_SLOTS && !slot; i++) {
        if (order->slots[i].state == PC_NAL_FREE)
            slot = &order->slots[i];
    }
    if (slot)
        slot->state = PC_NAL_CLAIMED;
    else
        order->failed = true;
    pthread_mutex_unlock(&order->lock);
    if (!slot || slot->capacity >= bytes)
        return slot;

    free(slot->memory);
    slot->memory = malloc(bytes + bytes / 2);
    slot->capacity = slot->memory ? bytes + bytes / 2 : 0;
    if (slot->memory)
        return slot;
    pthread_mutex_lock(&order->lock);
    slot->state = PC_NAL_FREE;
    order->failed = true;
    pthread_mutex_unlock(&order->lock);
    return NULL;
}

static void hand_on(struct pc_nal_order *order, struct pc_nal_slot *slot)
{
    if (slot->last_mb >= 0)
        order->next_mb = slot->last_mb + 1;
    order->bytes += slot->size;
    order->on_unit(order->context, slot->data, slot->size,
                   slot->last_mb >= 0 && order->next_mb == order->mb_count);
    slot->state = PC_NAL_FREE;
}

static struct pc_nal_slot *find_next(struct pc_nal_order *order)
{
    for (int i = 0; i < PC_NAL_SLOTS; i++) {
        struct pc_nal_slot *slot = &order->slots[i];
        if (slot->state == PC_NAL_WAITING &&
            (slot->last_mb < 0 || slot->first_mb == order->next_mb))
            return slot;
    }
    return NULL;
}

void pc_nal_order_submit(struct pc_nal_order *order, struct pc_nal_slot *slot, const uint8_t *data,
                         size_t size, int first_mb, int last_mb)
{
    pthread_mutex_lock(&order->lock);
    slot->data = data;
    slot->size = size;
    slot->first_mb = first_mb;
    slot->last_mb = last_mb;
    slot->state = PC_NAL_WAITING;
    while ((slot = find_next(order)))
        hand_on(order, slot);
    pthread_mutex_unlock(&order->lock);
}

bool pc_nal_order_complete(const struct pc_nal_order *order)
{
    return !order->failed && order->next_mb == order->mb_count;
}
