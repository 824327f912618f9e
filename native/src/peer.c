#include "peer.h"

#include <assert.h>
#include <string.h>

void pc_peer_init(struct pc_peer *peer, uint32_t id)
{
    memset(peer, 0, sizeof *peer);
    peer->id = id;
    pc_transport_init(&peer->transport);
    pc_sender_init(&peer->sender, &peer->transport);
}

void pc_peer_free(struct pc_peer *peer)
{
    assert(peer->reception == NULL);
    pc_sender_free(&peer->sender);
    pc_transport_free(&peer->transport);
}
