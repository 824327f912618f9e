/* The hub's peers, found by id (control) and by where their packets come from (every datagram). */
#ifndef PC_PEER_TABLE_H
#define PC_PEER_TABLE_H

#include "peer.h"

struct pc_peer_table {
    struct pc_peer **peers; /* in order of id */
    uint64_t *due_ns;       /* by position: when the I/O thread has something to do for the peer */
    unsigned count, capacity;
    struct pc_peer **slots; /* open addressing by socket, address and channel; power of two */
    unsigned slot_count;
    uint32_t last_id;
};

void pc_peer_table_init(struct pc_peer_table *table);
void pc_peer_table_free(struct pc_peer_table *table); /* the peers must be gone */

/* A new peer without a path, which is never due, or NULL when out of memory. */
struct pc_peer *pc_peer_table_add(struct pc_peer_table *table);

/* Forget and free a peer that was stopped. */
void pc_peer_table_remove(struct pc_peer_table *table, struct pc_peer *peer);

struct pc_peer *pc_peer_table_by_id(const struct pc_peer_table *table, uint32_t id);

/* The peer has something to do at once: it started, or its path changed. */
void pc_peer_table_wake(struct pc_peer_table *table, const struct pc_peer *peer);

/* Whose datagram is this? NULL when nobody's. */
struct pc_peer *pc_peer_table_by_address(const struct pc_peer_table *table,
                                         const struct pc_udp *udp, const struct pc_address *remote,
                                         uint16_t channel);

/* Set a peer's path. A path that another peer had is taken from it: an address belongs to who
 * proved it last (ICE). 0, or -EINVAL when the address is none, or of another family than the
 * socket. */
int pc_peer_table_set_path(struct pc_peer_table *table, struct pc_peer *peer, struct pc_udp *udp,
                           const struct pc_address *remote, uint16_t channel);

#endif
