/* A peer: a transport, with what is sent over it and what is received over it. Lives on the I/O
 * thread. */
#ifndef PC_PEER_H
#define PC_PEER_H

#include "sender.h"
#include "transport.h"

struct pc_reception;

struct pc_peer {
    uint32_t id;
    struct pc_transport transport;
    struct pc_sender sender;
    struct pc_reception *reception; /* NULL while nothing is received */
};

void pc_peer_init(struct pc_peer *peer, uint32_t id);

/* The feed and the reception are left before. */
void pc_peer_free(struct pc_peer *peer);

#endif
