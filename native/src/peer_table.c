#include "peer_table.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

void pc_peer_table_init(struct pc_peer_table *table)
{
    memset(table, 0, sizeof *table);
}

void pc_peer_table_free(struct pc_peer_table *table)
{
    free(table->peers);
    free(table->slots);
    pc_peer_table_init(table);
}

static bool same_path(const struct pc_sender *peer, const struct pc_udp *udp,
                      const struct pc_address *remote, uint16_t channel)
{
    return peer->udp == udp && peer->channel == channel && peer->remote.port == remote->port &&
           peer->remote.family == remote->family &&
           memcmp(peer->remote.ip, remote->ip, sizeof remote->ip) == 0;
}

/* FNV-1a over what same_path() compares. */
static unsigned hash_path(const struct pc_address *remote, uint16_t channel)
{
    uint32_t hash = 2166136261u;
    for (size_t i = 0; i < sizeof remote->ip; i++)
        hash = (hash ^ remote->ip[i]) * 16777619u;
    hash = (hash ^ remote->port) * 16777619u;
    hash = (hash ^ channel) * 16777619u;
    return hash ^ hash >> 15;
}

/* Build the index anew: paths change a few times in a peer's life. */
static int reindex(struct pc_peer_table *table)
{
    unsigned wanted = 16;
    while (wanted < table->count * 2)
        wanted *= 2;
    if (wanted > table->slot_count) {
        struct pc_sender **slots = realloc(table->slots, wanted * sizeof *slots);
        if (slots == NULL)
            return -ENOMEM;
        table->slots = slots;
        table->slot_count = wanted;
    }
    memset(table->slots, 0, table->slot_count * sizeof *table->slots);
    for (unsigned i = 0; i < table->count; i++) {
        struct pc_sender *peer = table->peers[i];
        if (peer->udp == NULL)
            continue;
        unsigned slot = hash_path(&peer->remote, peer->channel);
        while (table->slots[slot & (table->slot_count - 1)] != NULL)
            slot++;
        table->slots[slot & (table->slot_count - 1)] = peer;
    }
    return 0;
}

struct pc_sender *pc_peer_table_add(struct pc_peer_table *table)
{
    if (table->count == table->capacity) {
        unsigned capacity = table->capacity == 0 ? 16 : table->capacity * 2;
        struct pc_sender **peers = realloc(table->peers, capacity * sizeof *peers);
        if (peers == NULL)
            return NULL;
        table->peers = peers;
        table->capacity = capacity;
    }
    struct pc_sender *peer = malloc(sizeof *peer);
    if (peer == NULL)
        return NULL;
    pc_sender_init(peer, ++table->last_id);
    table->peers[table->count++] = peer;
    return peer;
}

void pc_peer_table_remove(struct pc_peer_table *table, struct pc_sender *peer)
{
    for (unsigned i = 0; i < table->count; i++) {
        if (table->peers[i] != peer)
            continue;
        memmove(&table->peers[i], &table->peers[i + 1],
                (table->count - i - 1) * sizeof *table->peers);
        table->count--;
        break;
    }
    if (table->slots != NULL)
        reindex(table);
    pc_sender_free(peer);
    free(peer);
}

struct pc_sender *pc_peer_table_by_id(const struct pc_peer_table *table, uint32_t id)
{
    unsigned low = 0, high = table->count;
    while (low < high) {
        unsigned middle = (low + high) / 2;
        if (table->peers[middle]->id < id)
            low = middle + 1;
        else
            high = middle;
    }
    return low < table->count && table->peers[low]->id == id ? table->peers[low] : NULL;
}

struct pc_sender *pc_peer_table_by_address(const struct pc_peer_table *table,
                                           const struct pc_udp *udp,
                                           const struct pc_address *remote, uint16_t channel)
{
    if (table->slot_count == 0)
        return NULL;
    for (unsigned slot = hash_path(remote, channel);; slot++) {
        struct pc_sender *peer = table->slots[slot & (table->slot_count - 1)];
        if (peer == NULL || same_path(peer, udp, remote, channel))
            return peer;
    }
}

int pc_peer_table_set_path(struct pc_peer_table *table, struct pc_sender *peer, struct pc_udp *udp,
                           const struct pc_address *remote, uint16_t channel)
{
    struct pc_sender *before = pc_peer_table_by_address(table, udp, remote, channel);
    if (before != NULL && before != peer)
        before->udp = NULL;
    struct pc_endpoint to;
    if (pc_endpoint_from(&to, remote) < 0)
        return -EINVAL;
    peer->udp = udp;
    peer->to = to;
    peer->remote = *remote;
    peer->channel = channel;
    return reindex(table);
}
