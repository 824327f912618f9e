#include "history.h"

#include <assert.h>
#include <string.h>

static struct pc_history_entry *entry_at(struct pc_history *history, uint32_t position)
{
    return &history->entries[(history->head + position) % PC_HISTORY_UNITS];
}

static void drop_oldest(struct pc_history *history)
{
    struct pc_history_entry *oldest = entry_at(history, 0);
    pc_au_unref(oldest->au);
    oldest->au = NULL;
    history->head = (history->head + 1) % PC_HISTORY_UNITS;
    history->length--;
}

void pc_history_init(struct pc_history *history)
{
    memset(history, 0, sizeof *history);
}

void pc_history_clear(struct pc_history *history)
{
    while (history->length > 0)
        drop_oldest(history);
}

void pc_history_add(struct pc_history *history, struct pc_access_unit *au,
                    const struct pc_history_label *label, uint32_t payload_index, uint64_t index,
                    uint64_t now_ns, uint64_t max_age_ns)
{
    struct pc_history_entry *newest =
        history->length > 0 ? entry_at(history, history->length - 1) : NULL;
    if (payload_index == 0 || newest == NULL || newest->au != au) {
        if (history->length == PC_HISTORY_UNITS)
            drop_oldest(history);
        history->length++;
        newest = entry_at(history, history->length - 1);
        newest->au = pc_au_ref(au);
        newest->label = *label;
        newest->first_index = index - payload_index;
    }
    assert(newest->first_index + payload_index == index);
    newest->count = payload_index + 1;
    newest->sent_ns = now_ns;
    pc_history_expire(history, now_ns, max_age_ns);
}

void pc_history_expire(struct pc_history *history, uint64_t now_ns, uint64_t max_age_ns)
{
    while (history->length > 0 && now_ns - entry_at(history, 0)->sent_ns > max_age_ns)
        drop_oldest(history);
}

const struct pc_history_entry *pc_history_newest(const struct pc_history *history)
{
    if (history->length == 0)
        return NULL;
    return &history->entries[(history->head + history->length - 1) % PC_HISTORY_UNITS];
}

const struct pc_history_entry *pc_history_find(const struct pc_history *history, uint16_t sequence,
                                               uint32_t *payload_index)
{
    const struct pc_history_entry *newest = pc_history_newest(history);
    if (newest == NULL)
        return NULL;
    uint64_t last = newest->first_index + newest->count - 1;
    uint64_t back = (uint16_t)((uint16_t)last - sequence);
    if (back > last)
        return NULL;
    uint64_t index = last - back;

    /* The last entry that begins at or before `index`: entries are in ascending order. */
    uint32_t low = 0, high = history->length;
    while (low < high) {
        uint32_t middle = (low + high) / 2;
        if (history->entries[(history->head + middle) % PC_HISTORY_UNITS].first_index <= index)
            low = middle + 1;
        else
            high = middle;
    }
    if (low == 0)
        return NULL;
    const struct pc_history_entry *entry =
        &history->entries[(history->head + low - 1) % PC_HISTORY_UNITS];
    if (index - entry->first_index >= entry->count)
        return NULL;
    *payload_index = (uint32_t)(index - entry->first_index);
    return entry;
}
