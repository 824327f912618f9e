#include "peer_table.h"

#include <errno.h>

#include "harness.h"

static struct pc_udp sockets[2] = {{.local.family = 4}, {.local.family = 4}};

static struct pc_address address(int n)
{
    struct pc_address result = {.family = 4, .ip = {10, 0, (uint8_t)(n / 200), (uint8_t)(n % 200)}};
    result.port = (uint16_t)(40000 + n % 3);
    return result;
}

static void peers_are_found_by_id_and_by_address(void)
{
    struct pc_peer_table table;
    struct pc_peer *peers[500];
    pc_peer_table_init(&table);
    CHECK(pc_peer_table_by_id(&table, 1) == NULL);
    struct pc_address nowhere = address(1);
    CHECK(pc_peer_table_by_address(&table, &sockets[0], &nowhere, 0) == NULL);
    for (int i = 0; i < 500; i++) {
        struct pc_address a = address(i);
        peers[i] = pc_peer_table_add(&table);
        CHECK(peers[i] != NULL);
        CHECK_EQ(pc_peer_table_set_path(&table, peers[i], &sockets[i % 2], &a, (uint16_t)(i % 5)),
                 0);
    }
    for (int i = 0; i < 500; i++) {
        struct pc_address a = address(i);
        CHECK(pc_peer_table_by_id(&table, peers[i]->id) == peers[i]);
        CHECK(pc_peer_table_by_address(&table, &sockets[i % 2], &a, (uint16_t)(i % 5)) == peers[i]);
        CHECK(pc_peer_table_by_address(&table, &sockets[(i + 1) % 2], &a, (uint16_t)(i % 5)) ==
              NULL);
        CHECK(pc_peer_table_by_address(&table, &sockets[i % 2], &a, 77) == NULL);
    }
    /* Take out every third; the others are still found. */
    for (int i = 0; i < 500; i += 3)
        pc_peer_table_remove(&table, peers[i]);
    for (int i = 0; i < 500; i++) {
        struct pc_address a = address(i);
        struct pc_peer *found =
            pc_peer_table_by_address(&table, &sockets[i % 2], &a, (uint16_t)(i % 5));
        CHECK(found == (i % 3 == 0 ? NULL : peers[i]));
    }
    while (table.count > 0)
        pc_peer_table_remove(&table, table.peers[0]);
    pc_peer_table_free(&table);
}

static void an_address_belongs_to_who_had_it_last(void)
{
    struct pc_peer_table table;
    pc_peer_table_init(&table);
    struct pc_peer *first = pc_peer_table_add(&table), *second = pc_peer_table_add(&table);
    struct pc_address a = address(1), b = address(2), none = {0};
    CHECK_EQ(pc_peer_table_set_path(&table, first, &sockets[0], &a, 0), 0);
    CHECK_EQ(pc_peer_table_set_path(&table, second, &sockets[0], &a, 0), 0);
    CHECK(pc_peer_table_by_address(&table, &sockets[0], &a, 0) == second);
    CHECK(first->transport.udp == NULL);
    CHECK_EQ(pc_peer_table_set_path(&table, second, &sockets[0], &b, 0), 0);
    CHECK(pc_peer_table_by_address(&table, &sockets[0], &a, 0) == NULL);
    CHECK_EQ(pc_peer_table_set_path(&table, second, &sockets[0], &none, 0), -EINVAL);
    CHECK(pc_peer_table_by_address(&table, &sockets[0], &b, 0) == second);
    /* A path that cannot be used takes nobody's away. */
    struct pc_address no_port = b, other_family = b;
    no_port.port = 0;
    other_family.family = 6;
    CHECK_EQ(pc_peer_table_set_path(&table, first, &sockets[0], &no_port, 0), -EINVAL);
    CHECK_EQ(pc_peer_table_set_path(&table, first, &sockets[0], &other_family, 0), -EINVAL);
    CHECK(first->transport.udp == NULL && second->transport.udp == &sockets[0]);
    /* Of an IPv4 address four bytes count, whatever is behind them. */
    struct pc_address c = address(3), plain = c;
    memset(c.ip + 4, 0xee, 12);
    c.scope = 7;
    CHECK_EQ(pc_peer_table_set_path(&table, first, &sockets[0], &c, 0), 0);
    CHECK(pc_peer_table_by_address(&table, &sockets[0], &plain, 0) == first);
    pc_peer_table_remove(&table, first);
    pc_peer_table_remove(&table, second);
    pc_peer_table_free(&table);
}

static void due_times_stay_with_their_peers(void)
{
    struct pc_peer_table table;
    struct pc_peer *peers[40];
    pc_peer_table_init(&table);
    for (unsigned i = 0; i < 40; i++) {
        peers[i] = pc_peer_table_add(&table);
        CHECK(table.due_ns[i] == UINT64_MAX); /* nothing to do without a path */
        table.due_ns[i] = 1000 + i;
    }
    pc_peer_table_remove(&table, peers[5]);
    CHECK_EQ(table.due_ns[4], 1004);
    CHECK_EQ(table.due_ns[5], 1006);
    CHECK_EQ(table.due_ns[38], 1039);
    pc_peer_table_wake(&table, peers[20]);
    CHECK_EQ(table.due_ns[18], 1019);
    CHECK_EQ(table.due_ns[19], 0);
    struct pc_address a = address(1);
    CHECK_EQ(pc_peer_table_set_path(&table, peers[30], &sockets[0], &a, 0), 0);
    CHECK_EQ(table.due_ns[29], 0);
    while (table.count > 0)
        pc_peer_table_remove(&table, table.peers[table.count - 1]);
    pc_peer_table_free(&table);
}

int main(void)
{
    RUN(peers_are_found_by_id_and_by_address);
    RUN(an_address_belongs_to_who_had_it_last);
    RUN(due_times_stay_with_their_peers);
    return HARNESS_RESULT();
}
