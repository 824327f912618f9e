#include "harness.h"
#include "history.h"

#define SECOND 1000000000ull

static struct pc_history history;

static unsigned references(struct pc_access_unit *au)
{
    return atomic_load(&au->refs);
}

/* A published unit of `count` payloads; payload i is one byte of value i. */
static struct pc_access_unit *make_unit(struct pc_au_pool *pool, uint32_t count)
{
    struct pc_access_unit *au = pc_au_acquire(pool);
    for (uint32_t i = 0; i < count; i++) {
        *pc_au_reserve(au, 1) = (uint8_t)i;
        pc_au_commit(au, 1);
    }
    pc_au_publish(au, true);
    return au;
}

static const struct pc_history_label label = {.timestamp = 90, .frame = 7};

static struct pc_access_unit *find(uint16_t sequence, uint32_t *payload)
{
    const struct pc_history_entry *entry = pc_history_find(&history, sequence, payload);
    if (entry == NULL)
        return NULL;
    CHECK_EQ(entry->label.timestamp, 90);
    CHECK_EQ(entry->label.frame, 7);
    return entry->au;
}

static void add_all(struct pc_access_unit *au, uint64_t first_index, uint64_t now_ns)
{
    for (uint32_t i = 0; i < au->count; i++)
        pc_history_add(&history, au, &label, i, first_index + i, now_ns, SECOND);
}

static void finds_every_packet_and_no_other(void)
{
    struct pc_au_pool *pool = pc_au_pool_create(8);
    struct pc_access_unit *units[3];
    static const uint32_t counts[] = {3, 1, 5};
    pc_history_init(&history);
    uint64_t index = 65533; /* the sequence number wraps within the first unit */
    for (int i = 0; i < 3; i++) {
        units[i] = make_unit(pool, counts[i]);
        add_all(units[i], index, 0);
        index += counts[i];
    }
    int found = 0;
    for (uint32_t sequence = 0; sequence < 65536; sequence++) {
        uint32_t payload = 99;
        struct pc_access_unit *au = find((uint16_t)sequence, &payload);
        if (au == NULL)
            continue;
        found++;
        uint32_t position = (uint16_t)(sequence - 65533);
        CHECK(position < 9);
        int unit = position < 3 ? 0 : position < 4 ? 1 : 2;
        CHECK(au == units[unit]);
        CHECK_EQ(payload, unit == 0 ? position : unit == 1 ? 0 : position - 4);
    }
    CHECK_EQ(found, 9);
    pc_history_clear(&history);
    for (int i = 0; i < 3; i++)
        pc_au_unref(units[i]);
    pc_au_pool_release(pool);
}

static void finds_only_what_was_sent_of_a_unit(void)
{
    struct pc_au_pool *pool = pc_au_pool_create(2);
    struct pc_access_unit *au = make_unit(pool, 4);
    uint32_t payload = 0;
    pc_history_init(&history);
    CHECK(find(10, &payload) == NULL);
    pc_history_add(&history, au, &label, 0, 10, 0, SECOND);
    pc_history_add(&history, au, &label, 1, 11, 0, SECOND);
    CHECK(find(9, &payload) == NULL);
    CHECK(find(11, &payload) == au && payload == 1);
    CHECK(find(12, &payload) == NULL);
    pc_history_clear(&history);
    pc_au_unref(au);
    pc_au_pool_release(pool);
}

static void numbers_between_units_are_not_found(void)
{
    struct pc_au_pool *pool = pc_au_pool_create(2);
    struct pc_access_unit *first = make_unit(pool, 2), *second = make_unit(pool, 2);
    uint32_t payload = 0;
    pc_history_init(&history);
    add_all(first, 10, 0);
    add_all(second, 14, 0);
    CHECK(find(11, &payload) == first);
    CHECK(find(12, &payload) == NULL);
    CHECK(find(13, &payload) == NULL);
    CHECK(find(14, &payload) == second);
    pc_history_clear(&history);
    pc_au_unref(first);
    pc_au_unref(second);
    pc_au_pool_release(pool);
}

static void holds_one_reference_a_unit(void)
{
    struct pc_au_pool *pool = pc_au_pool_create(2);
    struct pc_access_unit *au = make_unit(pool, 4);
    pc_history_init(&history);
    CHECK_EQ(references(au), 1);
    add_all(au, 0, 0);
    CHECK_EQ(references(au), 2);
    uint32_t payload;
    CHECK(find(0, &payload) == au);
    CHECK_EQ(references(au), 2);
    pc_history_clear(&history);
    CHECK_EQ(references(au), 1);
    CHECK(find(0, &payload) == NULL);
    pc_au_unref(au);
    pc_au_pool_release(pool);
}

static void lets_go_of_the_oldest_when_full(void)
{
    struct pc_au_pool *pool = pc_au_pool_create(PC_HISTORY_UNITS + 2);
    struct pc_access_unit *units[PC_HISTORY_UNITS + 1];
    uint32_t payload;
    pc_history_init(&history);
    for (int i = 0; i <= PC_HISTORY_UNITS; i++) {
        units[i] = make_unit(pool, 1);
        add_all(units[i], (uint64_t)i, 0);
    }
    CHECK_EQ(references(units[0]), 1);
    CHECK_EQ(references(units[1]), 2);
    CHECK(find(0, &payload) == NULL);
    CHECK(find(1, &payload) == units[1]);
    CHECK(find(PC_HISTORY_UNITS, &payload) == units[PC_HISTORY_UNITS]);
    pc_history_clear(&history);
    for (int i = 0; i <= PC_HISTORY_UNITS; i++) {
        CHECK_EQ(references(units[i]), 1);
        pc_au_unref(units[i]);
    }
    pc_au_pool_release(pool);
}

static void lets_go_of_what_is_too_old(void)
{
    struct pc_au_pool *pool = pc_au_pool_create(4);
    struct pc_access_unit *units[3];
    uint32_t payload;
    pc_history_init(&history);
    for (int i = 0; i < 3; i++)
        units[i] = make_unit(pool, 2);
    add_all(units[0], 0, 0);
    add_all(units[1], 2, 1);
    add_all(units[2], 4, SECOND);
    CHECK(find(0, &payload) == units[0]); /* just not too old */
    pc_history_expire(&history, SECOND + 1, SECOND);
    CHECK(find(0, &payload) == NULL);
    CHECK_EQ(references(units[0]), 1);
    CHECK(find(2, &payload) == units[1]);
    /* sending expires, too, and keeps what it just sent */
    add_all(units[0], 6, 5 * SECOND);
    CHECK(find(5, &payload) == NULL);
    CHECK(find(7, &payload) == units[0] && payload == 1);
    pc_history_expire(&history, 60 * SECOND, SECOND);
    for (int i = 0; i < 3; i++) {
        CHECK_EQ(references(units[i]), 1);
        pc_au_unref(units[i]);
    }
    pc_au_pool_release(pool);
}

static void the_newest_wins_when_the_number_has_wrapped(void)
{
    struct pc_au_pool *pool = pc_au_pool_create(PC_HISTORY_UNITS);
    struct pc_access_unit *units[60];
    pc_history_init(&history);
    for (uint64_t i = 0; i < 60; i++) { /* 60 units of 1200: more packets than numbers */
        units[i] = make_unit(pool, 1200);
        add_all(units[i], i * 1200, 0);
    }
    for (uint64_t index = 60 * 1200 - 65536; index < 60 * 1200; index++) {
        uint32_t payload = 0;
        CHECK(find((uint16_t)index, &payload) == units[index / 1200]);
        CHECK_EQ(payload, index % 1200);
    }
    pc_history_clear(&history);
    for (int i = 0; i < 60; i++)
        pc_au_unref(units[i]);
    pc_au_pool_release(pool);
}

int main(void)
{
    RUN(finds_every_packet_and_no_other);
    RUN(finds_only_what_was_sent_of_a_unit);
    RUN(numbers_between_units_are_not_found);
    RUN(holds_one_reference_a_unit);
    RUN(lets_go_of_the_oldest_when_full);
    RUN(lets_go_of_what_is_too_old);
    RUN(the_newest_wins_when_the_number_has_wrapped);
    return HARNESS_RESULT();
}
