/* The I/O thread: it receives, sends what is due, and runs what other threads want of its peers. */
#include "hub_loop.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "clock.h"
#include "demux.h"
#include "priority.h"
#include "reception.h"

#define EPOLL_WAKE   PC_HUB_SOCKETS
#define EPOLL_TIMER  (PC_HUB_SOCKETS + 1)
#define EPOLL_EVENTS (PC_HUB_SOCKETS + 2)
#define IO_NICE      (-12) /* ahead of the encoder: a packet that waits for a core is late */

/* Peers are served for so long at a time, before the sockets are looked at again: what a receiver
 * asks for should not wait until hundreds of others had their frame. */
#define SERVE_NS       PC_NS_PER_MS
#define SERVE_PER_TIME 8 /* peers served between two looks at the clock */

/* Between two looks at what the viewers' paths take: at least, and for each peer. */
#define ALLOT_NS      (5 * PC_NS_PER_MS)
#define ALLOT_PEER_NS (PC_NS_PER_MS / 50)

/* ---- Receiving ---- */

static void emit_datagram(struct pc_hub *hub, int socket, const struct pc_address *from,
                          const uint8_t *data, size_t size)
{
    struct pc_event event;
    event.kind = PC_EVENT_DATAGRAM;
    event.id = 0;
    event.a = event.b = 0;
    event.socket = socket;
    event.from = *from;
    event.size = (uint32_t)size;
    memcpy(event.data, data, size);
    pc_hub_emit(hub, &event);
}

static void emit_peer(struct pc_hub *hub, enum pc_event_kind kind, uint32_t id)
{
    struct pc_event event;
    memset(&event, 0, offsetof(struct pc_event, data));
    event.kind = kind;
    event.id = id;
    pc_hub_emit(hub, &event);
}

static long unprotect(struct pc_peer *peer, enum pc_datagram kind, uint8_t *data, size_t size)
{
    struct pc_srtp *srtp = peer->transport.inbound;
    if (srtp == NULL)
        return -EPERM;
    return kind == PC_DATAGRAM_RTCP ? pc_srtp_unprotect_rtcp(srtp, data, size)
                                    : pc_srtp_unprotect(srtp, data, size);
}

static void receive_rtcp(struct pc_hub *hub, struct pc_peer *peer, const uint8_t *data, size_t size,
                         uint64_t now_ns)
{
    struct pc_sender *sender = &peer->sender;
    uint64_t ntp_now = pc_hub_ntp(hub, now_ns);
    pc_sender_receive_rtcp(sender, data, size, hub->scratch, now_ns, ntp_now, &hub->stats);
    if (peer->reception != NULL)
        pc_reception_rtcp(peer->reception, data, size, now_ns, ntp_now);
    if (sender->reported)
        emit_peer(hub, PC_EVENT_FIRST_REPORT, peer->id);
    if (sender->said_bye)
        emit_peer(hub, PC_EVENT_PEER_BYE, peer->id);
    sender->reported = sender->said_bye = false;
    /* Copies may be due sooner than it was to be served, and the network may have drained. */
    if (sender->copy_count > 0 || sender->undrained != 0)
        pc_peer_table_wake(&hub->peers, peer);
}

static void receive_media(struct pc_hub *hub, struct pc_peer *peer, enum pc_datagram kind,
                          uint8_t *data, size_t size, uint64_t now_ns)
{
    if (peer == NULL) {
        hub->stats.dropped_unknown++;
        return;
    }
    long plain = unprotect(peer, kind, data, size);
    if (plain == -EALREADY)
        hub->stats.dropped_replayed++;
    else if (plain == -EPERM)
        hub->stats.dropped_unauthentic++;
    else if (plain < 0)
        hub->stats.dropped_malformed++;
    if (plain < 0)
        return;
    if (kind == PC_DATAGRAM_RTCP)
        receive_rtcp(hub, peer, data, (size_t)plain, now_ns);
    else if (peer->reception != NULL)
        pc_reception_packet(peer->reception, data, (size_t)plain, now_ns);
    if (peer->reception != NULL)
        pc_peer_table_wake(&hub->peers, peer);
}

static void receive_datagram(struct pc_hub *hub, int socket, const struct pc_endpoint *from,
                             uint8_t *data, size_t size, uint64_t now_ns)
{
    struct pc_address address;
    pc_endpoint_to(from, &address);
    struct pc_udp *udp = &hub->sockets[socket];
    hub->stats.received_packets++;
    hub->stats.received_bytes += size;

    enum pc_datagram kind = pc_demux(data, size);
    if (kind == PC_DATAGRAM_CHANNEL) {
        /* Media from behind a TURN server; everything else in a channel is the TURN client's. */
        uint16_t channel = (uint16_t)(data[0] << 8 | data[1]);
        size_t inner = (size_t)(data[2] << 8 | data[3]);
        struct pc_peer *peer = pc_peer_table_by_address(&hub->peers, udp, &address, channel);
        if (peer != NULL && inner <= size - 4) {
            enum pc_datagram inner_kind = pc_demux(data + 4, inner);
            if (inner_kind == PC_DATAGRAM_RTP || inner_kind == PC_DATAGRAM_RTCP) {
                receive_media(hub, peer, inner_kind, data + 4, inner, now_ns);
                return;
            }
        }
    }
    switch (kind) {
    case PC_DATAGRAM_STUN:
    case PC_DATAGRAM_DTLS:
    case PC_DATAGRAM_CHANNEL:
        emit_datagram(hub, socket, &address, data, size);
        return;
    case PC_DATAGRAM_RTP:
    case PC_DATAGRAM_RTCP:
        receive_media(hub, pc_peer_table_by_address(&hub->peers, udp, &address, 0), kind, data,
                      size, now_ns);
        return;
    case PC_DATAGRAM_OTHER:
        hub->stats.dropped_malformed++;
        return;
    }
}

static void receive_some(struct pc_hub *hub, int socket)
{
    int count = pc_udp_receive(&hub->sockets[socket], &hub->inbox);
    uint64_t now_ns = pc_now_ns();
    for (int i = 0; i < count; i++) {
        if (hub->inbox.sizes[i] == 0)
            hub->stats.dropped_malformed++;
        else
            receive_datagram(hub, socket, &hub->inbox.from[i], hub->inbox.data[i],
                             hub->inbox.sizes[i], now_ns);
    }
}

/* ---- Sending ---- */

/* Offer what the feed has to its peers, and have them all served. */
static void take_news(struct pc_hub *hub, struct pc_feed *feed, uint64_t now_ns)
{
    struct pc_peer_table *peers = &hub->peers;
    struct pc_access_unit *au;
    while ((au = pc_feed_pop(feed)) != NULL) {
        bool taken = false;
        for (unsigned p = 0; p < peers->count; p++)
            if (pc_sender_offer(&peers->peers[p]->sender, feed, au, now_ns))
                taken = true;
        if (!taken)
            pc_feed_drain(feed, au->frame_id);
        pc_au_unref(au);
    }
    for (unsigned p = 0; p < peers->count; p++)
        if (peers->peers[p]->sender.feed == feed && peers->peers[p]->sender.length > 0)
            peers->due_ns[p] = 0;
}

static void allot(struct pc_hub *hub, uint64_t now_ns)
{
    uint64_t pause_ns = hub->peers.count * ALLOT_PEER_NS;
    hub->next_allot_ns = now_ns + (pause_ns > ALLOT_NS ? pause_ns : ALLOT_NS);
    if (hub->viewer_room < hub->peers.count) {
        unsigned room = hub->peers.capacity;
        struct pc_ladder_viewer **viewers = realloc(hub->viewers, room * sizeof *viewers);
        if (viewers == NULL)
            return; /* they stay where they are */
        hub->viewers = viewers;
        hub->viewer_room = room;
    }
    for (int i = 0; i < hub->rungs_count; i++)
        pc_rungs_allot(hub->rungs[i], &hub->peers, hub->viewers, now_ns);
}

/* Returns when it is due again. */
static uint64_t serve_reception(struct pc_hub *hub, struct pc_peer *peer, uint64_t now_ns)
{
    if (!pc_reception_closed(peer->reception))
        return pc_reception_tick(peer->reception, now_ns, pc_hub_ntp(hub, now_ns));
    pc_reception_leave(peer->reception, now_ns);
    peer->reception = NULL;
    return UINT64_MAX;
}

/* Reports and media of one peer. Returns when it is due again. */
static uint64_t serve(struct pc_hub *hub, struct pc_peer *peer, uint64_t now_ns)
{
    struct pc_sender *sender = &peer->sender;
    uint64_t ntp_now = now_ns >= sender->next_report_ns ? pc_hub_ntp(hub, now_ns) : 0;
    uint64_t report = pc_sender_tick(sender, hub->scratch, now_ns, ntp_now, &hub->stats);
    uint64_t media = pc_sender_pump(sender, hub->scratch, now_ns, &hub->stats);
    uint64_t next = report < media ? report : media;
    if (peer->reception == NULL)
        return next;
    uint64_t received = serve_reception(hub, peer, now_ns);
    return received < next ? received : next;
}

/* Serve the peers that are due, going on where the last call stopped. Returns when to come back. */
static uint64_t serve_peers(struct pc_hub *hub)
{
    struct pc_peer_table *peers = &hub->peers;
    uint64_t now_ns = pc_now_ns(), end_ns = now_ns + SERVE_NS, next = UINT64_MAX;
    for (int i = 0; i < hub->feed_count; i++)
        if (pc_feed_has_news(hub->feeds[i]))
            take_news(hub, hub->feeds[i], now_ns);
    if (now_ns >= hub->next_allot_ns)
        allot(hub, now_ns);

    unsigned served = 0;
    for (unsigned n = 0; n < peers->count; n++) {
        unsigned p = hub->next_peer < peers->count ? hub->next_peer : 0;
        hub->next_peer = p + 1;
        if (peers->due_ns[p] <= now_ns) {
            peers->due_ns[p] = serve(hub, peers->peers[p], now_ns);
            if (++served % SERVE_PER_TIME == 0)
                now_ns = pc_now_ns();
            if (now_ns >= end_ns)
                return now_ns;
        }
        if (peers->due_ns[p] < next)
            next = peers->due_ns[p];
    }
    return next;
}

static void set_timer(struct pc_hub *hub, uint64_t at_ns)
{
    struct itimerspec when = {0};
    if (at_ns != UINT64_MAX) {
        when.it_value.tv_sec = (time_t)(at_ns / PC_NS_PER_S);
        when.it_value.tv_nsec = (long)(at_ns % PC_NS_PER_S);
    }
    timerfd_settime(hub->timer_fd, TFD_TIMER_ABSTIME, &when, NULL);
    hub->timer_ns = at_ns;
}

static void wake_receptions(struct pc_hub *hub)
{
    for (unsigned p = 0; p < hub->peers.count; p++)
        if (hub->peers.peers[p]->reception != NULL)
            hub->peers.due_ns[p] = 0;
}

static void handle(struct pc_hub *hub, uint32_t which)
{
    if (which == EPOLL_WAKE) {
        eventfd_t drained;
        eventfd_read(hub->wake_fd, &drained);
        pc_hub_run_calls(hub);
        if (atomic_exchange(&hub->reception_news, false))
            wake_receptions(hub);
    } else if (which == EPOLL_TIMER) {
        uint64_t expired;
        if (read(hub->timer_fd, &expired, sizeof expired) == sizeof expired)
            hub->timer_ns = UINT64_MAX;
    } else {
        receive_some(hub, (int)which);
    }
}

void *pc_hub_run(void *context)
{
    struct pc_hub *hub = context;
    prctl(PR_SET_NAME, "playcast-io");
    prctl(PR_SET_TIMERSLACK, 1);
    if (hub->realtime)
        pc_raise_priority(IO_NICE);

    hub->timer_ns = UINT64_MAX;
    for (;;) {
        struct epoll_event ready[EPOLL_EVENTS];
        int count = epoll_wait(hub->epoll_fd, ready, EPOLL_EVENTS, -1);
        if (count < 0 && errno != EINTR)
            abort(); /* EBADF, EFAULT, EINVAL: our own mistake */
        for (int i = 0; i < count; i++)
            handle(hub, ready[i].data.u32);
        if (pc_hub_stops(hub))
            return NULL;
        uint64_t next = serve_peers(hub);
        if (next != hub->timer_ns)
            set_timer(hub, next); /* one in the past expires at once */
    }
}

static int watch(struct pc_hub *hub, int fd, uint32_t which)
{
    struct epoll_event event = {.events = EPOLLIN, .data.u32 = which};
    return epoll_ctl(hub->epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0 ? -errno : 0;
}

int pc_hub_watch(struct pc_hub *hub)
{
    hub->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    hub->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    hub->timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    if (hub->epoll_fd < 0 || hub->wake_fd < 0 || hub->timer_fd < 0)
        return -errno;
    int error = watch(hub, hub->wake_fd, EPOLL_WAKE);
    if (error == 0)
        error = watch(hub, hub->timer_fd, EPOLL_TIMER);
    for (int i = 0; i < hub->socket_count && error == 0; i++)
        error = watch(hub, hub->sockets[i].fd, (uint32_t)i);
    return error;
}
