#include "event_ring.h"

#include <poll.h>

#include "harness.h"

static bool readable(int fd)
{
    struct pollfd wait = {.fd = fd, .events = POLLIN};
    return poll(&wait, 1, 0) == 1;
}

static struct pc_event event;

static void events_come_out_in_order_with_their_data(void)
{
    struct pc_event_ring ring;
    CHECK_EQ(pc_event_ring_init(&ring), 0);
    CHECK(!readable(ring.fd));
    for (uint32_t i = 0; i < 3; i++) {
        event.kind = PC_EVENT_DATAGRAM;
        event.id = i;
        event.size = 2048;
        memset(event.data, (int)i + 1, sizeof event.data);
        CHECK(pc_event_ring_push(&ring, &event));
    }
    CHECK(readable(ring.fd));
    for (uint32_t i = 0; i < 3; i++) {
        CHECK_EQ(pc_event_ring_pop(&ring, &event), 1);
        CHECK_EQ(event.id, i);
        CHECK_EQ(event.data[2047], i + 1);
    }
    CHECK_EQ(pc_event_ring_pop(&ring, &event), 0);
    CHECK(!readable(ring.fd));
    pc_event_ring_free(&ring);
}

static void a_flood_of_datagrams_leaves_room_for_the_core(void)
{
    struct pc_event_ring ring;
    CHECK_EQ(pc_event_ring_init(&ring), 0);
    event.kind = PC_EVENT_DATAGRAM;
    event.size = 10;
    int taken = 0;
    for (int i = 0; i < 2000; i++)
        taken += pc_event_ring_push(&ring, &event);
    CHECK_EQ(taken, PC_EVENT_RING_SIZE * 3 / 4);
    CHECK_EQ(pc_event_ring_dropped(&ring), 2000 - taken);
    event.kind = PC_EVENT_SOURCE_LOST;
    CHECK(pc_event_ring_push(&ring, &event));
    int last = PC_EVENT_NONE;
    while (pc_event_ring_pop(&ring, &event))
        last = (int)event.kind;
    CHECK_EQ(last, PC_EVENT_SOURCE_LOST);
    pc_event_ring_free(&ring);
}

int main(void)
{
    RUN(events_come_out_in_order_with_their_data);
    RUN(a_flood_of_datagrams_leaves_room_for_the_core);
    return HARNESS_RESULT();
}
