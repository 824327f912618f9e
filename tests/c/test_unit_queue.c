#include "unit_queue.h"

#include "decode.h"
#include "harness.h"

static struct pc_held_unit *make(uint64_t id, bool idr)
{
    const uint8_t data[3] = {1, 2, (uint8_t)id};
    struct pc_received_unit unit = {.data = data, .size = sizeof data, .idr = idr};
    return pc_held_unit_create(&unit, id, id * 10);
}

static bool push(struct pc_unit_queue *queue, uint64_t id, bool idr)
{
    struct pc_held_unit *unit = make(id, idr);
    bool taken = pc_unit_queue_push(queue, unit);
    pc_held_unit_unref(unit);
    return taken;
}

/* The id of the oldest, taken; -1 = none. */
static long pop(struct pc_unit_queue *queue)
{
    struct pc_held_unit *unit = pc_unit_queue_pop(queue);
    long id = unit != NULL ? (long)unit->id : -1;
    pc_held_unit_unref(unit);
    return id;
}

static int drop(struct pc_unit_queue *queue)
{
    struct pc_held_unit *unit;
    int count = 0;
    for (; (unit = pc_unit_queue_drop(queue)) != NULL; count++)
        pc_held_unit_unref(unit);
    return count;
}

static void a_copy_has_room_to_look_ahead(void)
{
    struct pc_held_unit *unit = make(7, true);
    const uint8_t nothing[PC_DECODE_PADDING] = {0};
    CHECK_EQ(unit->size, 3);
    CHECK_EQ(unit->data[2], 7);
    CHECK_EQ(unit->queued_ns, 70);
    CHECK_BYTES(unit->data + unit->size, nothing, sizeof nothing);
    pc_held_unit_unref(pc_held_unit_ref(unit));
    CHECK_EQ(unit->id, 7);
    pc_held_unit_unref(unit);
}

static void it_begins_with_an_idr_and_keeps_the_order(void)
{
    struct pc_unit_queue queue;
    CHECK(pc_unit_queue_init(&queue, 4));
    CHECK(pc_unit_queue_oldest(&queue) == NULL);
    CHECK(!push(&queue, 0, false));
    for (uint64_t round = 0; round < 3; round++) {
        CHECK(push(&queue, 1, round == 0));
        CHECK(push(&queue, 2, false));
        CHECK(push(&queue, 3, false));
        CHECK_EQ(queue.bytes, 9);
        CHECK_EQ(pc_unit_queue_oldest(&queue)->id, 1);
        for (long id = 1; id <= 3; id++)
            CHECK_EQ(pop(&queue), id);
        CHECK_EQ(pop(&queue), -1);
        CHECK_EQ(queue.bytes, 0);
    }
    pc_unit_queue_free(&queue);
}

static void dropping_stops_at_an_idr(void)
{
    struct pc_unit_queue queue;
    CHECK(pc_unit_queue_init(&queue, 8));
    push(&queue, 0, true);
    push(&queue, 1, false);
    push(&queue, 2, false);
    push(&queue, 3, true);
    push(&queue, 4, false);
    CHECK_EQ(drop(&queue), 0);
    CHECK_EQ(pop(&queue), 0);
    CHECK_EQ(drop(&queue), 2);
    CHECK(!queue.waiting_for_idr);
    CHECK_EQ(pop(&queue), 3);
    CHECK_EQ(drop(&queue), 1);
    CHECK(queue.waiting_for_idr);
    CHECK(!push(&queue, 5, false));
    CHECK(push(&queue, 6, true));
    CHECK(push(&queue, 7, false));
    pc_unit_queue_free(&queue); /* with what is left */
}

int main(void)
{
    RUN(a_copy_has_room_to_look_ahead);
    RUN(it_begins_with_an_idr_and_keeps_the_order);
    RUN(dropping_stops_at_an_idr);
    return HARNESS_RESULT();
}
