#include "peer_table.h"

#include <errno.h>

#include "harness.h"

static struct pc_udp sockets[2];

static struct pc_address address(int n)
{
    struct pc_address result = {.family = 4, .ip = {10, 0, (uint8_t)(n / 200), (uint8_t)(n % 200)}};
    result.port = (uint16_t)(40000 + n % 3);
    return result;
}

static void peers_are_found_by_id_and_by_address(void)
{
    struct pc_peer_table table;
    struct pc_sender *peers[500];
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
        struct pc_sender *found =
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
    struct pc_sender *first = pc_peer_table_add(&table), *second = pc_peer_table_add(&table);
    struct pc_address a = address(1), b = address(2), none = {0};
    CHECK_EQ(pc_peer_table_set_path(&table, first, &sockets[0], &a, 0), 0);
    CHECK_EQ(pc_peer_table_set_path(&table, second, &sockets[0], &a, 0), 0);
    CHECK(pc_peer_table_by_address(&table, &sockets[0], &a, 0) == second);
    CHECK(first->udp == NULL);
    CHECK_EQ(pc_peer_table_set_path(&table, second, &sockets[0], &b, 0), 0);
    CHECK(pc_peer_table_by_address(&table, &sockets[0], &a, 0) == NULL);
    CHECK_EQ(pc_peer_table_set_path(&table, second, &sockets[0], &none, 0), -EINVAL);
    CHECK(pc_peer_table_by_address(&table, &sockets[0], &b, 0) == second);
    pc_peer_table_remove(&table, first);
    pc_peer_table_remove(&table, second);
    pc_peer_table_free(&table);
}

int main(void)
{
    RUN(peers_are_found_by_id_and_by_address);
    RUN(an_address_belongs_to_who_had_it_last);
    return HARNESS_RESULT();
}
