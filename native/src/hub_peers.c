/* What Python does with peers, each as one call on the I/O thread. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "clock.h"
#include "hub.h"
#include "reception.h"
#include "stream.h"

static struct pc_peer *find_peer(struct pc_hub *hub, int id)
{
    struct pc_peer *peer = id > 0 ? pc_peer_table_by_id(&hub->peers, (uint32_t)id) : NULL;
    if (peer == NULL)
        pc_fail(-ENOENT, "there is no peer %d: it was closed, or never opened", id);
    return peer;
}

static int open_peer(struct pc_hub *hub, void *context)
{
    (void)context;
    struct pc_peer *peer = pc_peer_table_add(&hub->peers);
    return peer == NULL ? pc_fail(-ENOMEM, "out of memory") : (int)peer->id;
}

int pc_peer_open(struct pc_hub *hub)
{
    return pc_hub_call(hub, open_peer, NULL);
}

struct set_path {
    int peer, socket;
    const struct pc_address *to;
    uint16_t channel;
};

static int set_path(struct pc_hub *hub, void *context)
{
    const struct set_path *wanted = context;
    struct pc_peer *peer = find_peer(hub, wanted->peer);
    if (peer == NULL)
        return -ENOENT;
    if (wanted->socket < 0 || wanted->socket >= hub->socket_count)
        return pc_fail(-EINVAL, "the hub has %d sockets: there is no number %d", hub->socket_count,
                       wanted->socket);
    struct pc_udp *udp = &hub->sockets[wanted->socket];
    bool same = pc_peer_table_by_address(&hub->peers, udp, wanted->to, wanted->channel) == peer;
    int error = pc_peer_table_set_path(&hub->peers, peer, udp, wanted->to, wanted->channel);
    if (error < 0)
        return pc_fail(error, "a path needs an address of the socket's family and a port");
    if (!same)
        pc_sender_change_path(&peer->sender, pc_now_ns());
    return 0;
}

int pc_peer_set_path(struct pc_hub *hub, int peer, int socket, const struct pc_address *to,
                     uint16_t channel)
{
    struct set_path wanted = {peer, socket, to, channel};
    return pc_hub_call(hub, set_path, &wanted);
}

struct set_keys {
    int peer;
    struct pc_srtp *outbound, *inbound;
};

static int set_keys(struct pc_hub *hub, void *context)
{
    struct set_keys *wanted = context;
    struct pc_peer *peer = find_peer(hub, wanted->peer);
    if (peer == NULL)
        return -ENOENT;
    return pc_transport_set_keys(&peer->transport, wanted->outbound, wanted->inbound);
}

int pc_peer_set_keys(struct pc_hub *hub, int peer, enum pc_srtp_profile profile,
                     const uint8_t *send_key, const uint8_t *receive_key, size_t key_bytes)
{
    struct set_keys wanted = {.peer = peer};
    int error = pc_srtp_create(profile, send_key, key_bytes, &wanted.outbound);
    if (error == 0)
        error = pc_srtp_create(profile, receive_key, key_bytes, &wanted.inbound);
    if (error == 0)
        error = pc_hub_call(hub, set_keys, &wanted);
    if (error < 0) {
        pc_srtp_destroy(wanted.outbound);
        pc_srtp_destroy(wanted.inbound);
    }
    return error;
}

struct send_media {
    int peer;
    struct pc_stream *stream;
    const struct pc_media_settings *settings;
};

static int send_media(struct pc_hub *hub, void *context)
{
    const struct send_media *wanted = context;
    struct pc_peer *peer = find_peer(hub, wanted->peer);
    if (peer == NULL)
        return -ENOENT;
    uint8_t random[16];
    if (getrandom(random, sizeof random, 0) != sizeof random)
        return pc_fail(-EIO, "the kernel gave no random bytes");
    struct pc_feed *feed = pc_stream_feed(wanted->stream, hub, wanted->settings->codec);
    if (feed == NULL)
        return pc_fail(-EINVAL, "the stream was opened without this hub, or has no such codec");
    int error = pc_sender_start(&peer->sender, feed, wanted->settings, random, pc_now_ns());
    if (error == 0)
        pc_peer_table_wake(&hub->peers, peer);
    return error;
}

int pc_peer_send(struct pc_hub *hub, int peer, struct pc_stream *stream,
                 const struct pc_media_settings *settings)
{
    struct send_media wanted = {peer, stream, settings};
    return pc_hub_call(hub, send_media, &wanted);
}

struct set_player {
    int peer;
    bool player;
};

static int set_player(struct pc_hub *hub, void *context)
{
    const struct set_player *wanted = context;
    struct pc_peer *peer = find_peer(hub, wanted->peer);
    if (peer == NULL)
        return -ENOENT;
    peer->sender.media.player = wanted->player; /* the next allotment of rungs goes by it */
    return 0;
}

int pc_peer_set_player(struct pc_hub *hub, int peer, bool player)
{
    struct set_player wanted = {peer, player};
    return pc_hub_call(hub, set_player, &wanted);
}

struct receive_media {
    int peer;
    struct pc_reception *reception;
};

static int receive_media(struct pc_hub *hub, void *context)
{
    const struct receive_media *wanted = context;
    struct pc_peer *peer = find_peer(hub, wanted->peer);
    if (peer == NULL)
        return -ENOENT;
    if (peer->reception != NULL) {
        if (!pc_reception_closed(peer->reception))
            return pc_fail(-EBUSY, "the peer has a reception already");
        pc_reception_leave(peer->reception, pc_now_ns());
    }
    peer->reception = wanted->reception;
    pc_reception_join(peer->reception, hub, &peer->transport);
    pc_peer_table_wake(&hub->peers, peer);
    return 0;
}

int pc_peer_receive(struct pc_hub *hub, int peer, const struct pc_receive_settings *settings,
                    struct pc_reception **out)
{
    uint32_t local_ssrc;
    if (getrandom(&local_ssrc, sizeof local_ssrc, 0) != sizeof local_ssrc)
        return pc_fail(-EIO, "the kernel gave no random bytes");
    struct receive_media wanted = {.peer = peer};
    int error = pc_reception_create(settings, local_ssrc, pc_now_ns(), &wanted.reception);
    if (error < 0)
        return error;
    error = pc_hub_call(hub, receive_media, &wanted);
    if (error < 0)
        pc_reception_close(wanted.reception);
    else
        *out = wanted.reception;
    return error;
}

struct get_stats {
    int peer;
    struct pc_peer_stats *out;
};

static int get_stats(struct pc_hub *hub, void *context)
{
    const struct get_stats *wanted = context;
    struct pc_peer *peer = find_peer(hub, wanted->peer);
    if (peer == NULL)
        return -ENOENT;
    pc_sender_get_stats(&peer->sender, wanted->out);
    return 0;
}

int pc_peer_get_stats(struct pc_hub *hub, int peer, struct pc_peer_stats *out)
{
    struct get_stats wanted = {peer, out};
    return pc_hub_call(hub, get_stats, &wanted);
}

void pc_hub_remove_peer(struct pc_hub *hub, struct pc_peer *peer)
{
    uint64_t now_ns = pc_now_ns();
    pc_sender_bye(&peer->sender, hub->scratch, now_ns, &hub->stats);
    pc_sender_stop(&peer->sender);
    if (peer->reception != NULL)
        pc_reception_leave(peer->reception, now_ns);
    peer->reception = NULL;
    pc_peer_table_remove(&hub->peers, peer);
}

static int close_peer(struct pc_hub *hub, void *context)
{
    struct pc_peer *peer = find_peer(hub, *(const int *)context);
    if (peer == NULL)
        return -ENOENT;
    pc_hub_remove_peer(hub, peer);
    return 0;
}

int pc_peer_close(struct pc_hub *hub, int peer)
{
    return pc_hub_call(hub, close_peer, &peer);
}
