#include "access_unit.h"

#include <stdbool.h>

#include "harness.h"

static void fill(struct pc_access_unit *au, uint8_t value, size_t size)
{
    uint8_t *room = pc_au_reserve(au, size);
    CHECK(room != NULL);
    if (room == NULL)
        return;
    memset(room, value, size);
    pc_au_commit(au, size);
}

static void what_is_published_can_be_read_while_more_is_added(void)
{
    struct pc_au_pool *pool = pc_au_pool_create(2);
    struct pc_access_unit *au = pc_au_acquire(pool);
    bool complete = true;
    CHECK_EQ(pc_au_ready(au, &complete), 0);
    CHECK(!complete);
    fill(au, 1, 100);
    CHECK_EQ(pc_au_ready(au, &complete), 0);
    pc_au_publish(au, false);
    CHECK_EQ(pc_au_ready(au, &complete), 1);
    CHECK(!complete);
    const uint8_t *first = au->payloads[0].data;
    for (int i = 0; i < 200; i++)
        fill(au, (uint8_t)i, PC_MAX_PAYLOAD);
    pc_au_publish(au, true);
    CHECK_EQ(pc_au_ready(au, &complete), 201);
    CHECK(complete);
    CHECK(au->payloads[0].data == first);
    CHECK_EQ(first[99], 1);
    for (int i = 0; i < 200; i++) {
        CHECK_EQ(au->payloads[i + 1].size, PC_MAX_PAYLOAD);
        CHECK_EQ(au->payloads[i + 1].data[PC_MAX_PAYLOAD - 1], (uint8_t)i);
    }
    CHECK_EQ(au->total_bytes, 100 + 200 * PC_MAX_PAYLOAD);
    pc_au_unref(au);
    pc_au_pool_release(pool);
}

static void a_unit_has_an_end(void)
{
    struct pc_au_pool *pool = pc_au_pool_create(1);
    struct pc_access_unit *au = pc_au_acquire(pool);
    int count = 0;
    while (pc_au_reserve(au, PC_MAX_PAYLOAD) != NULL && count < 10000) {
        pc_au_commit(au, PC_MAX_PAYLOAD);
        count++;
    }
    CHECK_EQ(count, PC_MAX_PAYLOADS);
    pc_au_unref(au);
    pc_au_pool_release(pool);
}

static void the_pool_lends_so_many_and_takes_them_back(void)
{
    struct pc_au_pool *pool = pc_au_pool_create(2);
    struct pc_access_unit *a = pc_au_acquire(pool), *b = pc_au_acquire(pool);
    CHECK(a != NULL && b != NULL);
    CHECK(pc_au_acquire(pool) == NULL);
    fill(a, 7, 1000);
    pc_au_publish(a, true);
    const uint8_t *memory = a->payloads[0].data;
    pc_au_ref(a);
    pc_au_unref(a);
    CHECK(pc_au_acquire(pool) == NULL); /* one reference is left */
    pc_au_unref(a);
    struct pc_access_unit *again = pc_au_acquire(pool);
    CHECK(again != NULL);
    bool complete = true;
    CHECK_EQ(pc_au_ready(again, &complete), 0);
    CHECK(!complete);
    fill(again, 8, 1000);
    CHECK(again->payloads[0].data == memory); /* its chunk was kept for the next one */
    pc_au_unref(again);
    pc_au_unref(b);
    pc_au_pool_release(pool);
}

static void units_outlive_the_release_of_their_pool(void)
{
    struct pc_au_pool *pool = pc_au_pool_create(1);
    struct pc_access_unit *au = pc_au_acquire(pool);
    fill(au, 9, 10);
    pc_au_pool_release(pool);
    CHECK_EQ(au->payloads[0].data[9], 9);
    pc_au_unref(au); /* the sanitizer sees a leak if this does not destroy the pool */
}

int main(void)
{
    RUN(what_is_published_can_be_read_while_more_is_added);
    RUN(a_unit_has_an_end);
    RUN(the_pool_lends_so_many_and_takes_them_back);
    RUN(units_outlive_the_release_of_their_pool);
    return HARNESS_RESULT();
}
