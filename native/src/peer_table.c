#include "peer_table.h"

#include <assert.h>
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
    free(table->due_ns);
    free(table->slots);
    pc_peer_table_init(table);
}

static bool same_path(const struct pc_peer *peer, const struct pc_udp *udp,
                      const struct pc_address *remote, uint16_t channel)
{
    return peer->transport.udp == udp && peer->transport.channel == channel &&
           peer->transport.remote.port == remote->port &&
           peer->transport.remote.family == remote->family &&
           memcmp(peer->transport.remote.ip, remote->ip, sizeof remote->ip) == 0;
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
static void reindex(struct pc_peer_table *table)
{
    memset(table->slots, 0, table->slot_count * sizeof *table->slots);
    for (unsigned i = 0; i < table->count; i++) {
        struct pc_peer *peer = table->peers[i];
        if (peer->transport.udp == NULL)
            continue;
        unsigned slot = hash_path(&peer->transport.remote, peer->transport.channel);
        while (table->slots[slot & (table->slot_count - 1)] != NULL)
            slot++;
        table->slots[slot & (table->slot_count - 1)] = peer;
    }
}

/* Make room for twice as many, and for an index that is at most half full. False when out of
 * memory; what there was stays. */
static bool grow(struct pc_peer_table *table)
{
    unsigned capacity = table->capacity == 0 ? 16 : table->capacity * 2;
    struct pc_peer **peers = realloc(table->peers, capacity * sizeof *peers);
    if (peers != NULL)
        table->peers = peers;
    uint64_t *due_ns = realloc(table->due_ns, capacity * sizeof *due_ns);
    if (due_ns != NULL)
        table->due_ns = due_ns;
    struct pc_peer **slots = calloc(capacity * 2, sizeof *slots);
    if (peers == NULL || due_ns == NULL || slots == NULL) {
        free(slots);
        return false;
    }
    free(table->slots);
    table->slots = slots;
    table->slot_count = capacity * 2;
    table->capacity = capacity;
    reindex(table);
    return true;
}

struct pc_peer *pc_peer_table_add(struct pc_peer_table *table)
{
    if (table->count == table->capacity && !grow(table))
        return NULL;
    struct pc_peer *peer = malloc(sizeof *peer);
    if (peer == NULL)
        return NULL;
    pc_peer_init(peer, ++table->last_id);
    table->due_ns[table->count] = UINT64_MAX;
    table->peers[table->count++] = peer;
    return peer;
}

/* Where the peer with this id is, or would be. */
static unsigned position(const struct pc_peer_table *table, uint32_t id)
{
    unsigned low = 0, high = table->count;
    while (low < high) {
        unsigned middle = (low + high) / 2;
        if (table->peers[middle]->id < id)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

void pc_peer_table_remove(struct pc_peer_table *table, struct pc_peer *peer)
{
    unsigned at = position(table, peer->id), behind = --table->count - at;
    assert(table->peers[at] == peer);
    memmove(&table->peers[at], &table->peers[at + 1], behind * sizeof *table->peers);
    memmove(&table->due_ns[at], &table->due_ns[at + 1], behind * sizeof *table->due_ns);
    reindex(table);
    pc_peer_free(peer);
    free(peer);
}

void pc_peer_table_wake(struct pc_peer_table *table, const struct pc_peer *peer)
{
    table->due_ns[position(table, peer->id)] = 0;
}

struct pc_peer *pc_peer_table_by_id(const struct pc_peer_table *table, uint32_t id)
{
    unsigned at = position(table, id);
    return at < table->count && table->peers[at]->id == id ? table->peers[at] : NULL;
}

struct pc_peer *pc_peer_table_by_address(const struct pc_peer_table *table,
                                         const struct pc_udp *udp, const struct pc_address *remote,
                                         uint16_t channel)
{
    if (table->slot_count == 0)
        return NULL;
    for (unsigned slot = hash_path(remote, channel);; slot++) {
        struct pc_peer *peer = table->slots[slot & (table->slot_count - 1)];
        if (peer == NULL || same_path(peer, udp, remote, channel))
            return peer;
    }
}

int pc_peer_table_set_path(struct pc_peer_table *table, struct pc_peer *peer, struct pc_udp *udp,
                           const struct pc_address *remote, uint16_t channel)
{
    struct pc_endpoint to;
    if (pc_endpoint_from(&to, remote) < 0 || remote->family != udp->local.family ||
        remote->port == 0)
        return -EINVAL;
    struct pc_address address; /* as a datagram's: without what the family does not use */
    pc_endpoint_to(&to, &address);
    struct pc_peer *before = pc_peer_table_by_address(table, udp, &address, channel);
    if (before != NULL && before != peer) {
        pc_sender_lose_path(&before->sender);
        pc_transport_set_path(&before->transport, NULL, NULL, NULL, 0);
    }
    bool had_none = peer->transport.udp == NULL;
    pc_transport_set_path(&peer->transport, udp, &to, &address, channel);
    if (had_none)
        pc_sender_find_path(&peer->sender);
    reindex(table);
    pc_peer_table_wake(table, peer);
    return 0;
}
