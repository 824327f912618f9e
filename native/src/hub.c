#include "hub.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "clock.h"
#include "demux.h"

#define NTP_UNIX_OFFSET_S 2208988800ull /* 1900 to 1970 */
#define EPOLL_WAKE        PC_HUB_SOCKETS
#define EPOLL_TIMER       (PC_HUB_SOCKETS + 1)
#define EPOLL_EVENTS      (PC_HUB_SOCKETS + 2)
#define REALTIME_NICE     (-10)

struct pc_hub_call {
    int (*run)(struct pc_hub *hub, void *context);
    void *context;
    int result;
    bool done;
    char error[256];
    struct pc_hub_call *next;
};

void pc_hub_wake(struct pc_hub *hub)
{
    eventfd_write(hub->wake_fd, 1);
}

void pc_hub_emit(struct pc_hub *hub, const struct pc_event *event)
{
    pc_event_ring_push(&hub->events, event);
}

uint64_t pc_hub_ntp(const struct pc_hub *hub, uint64_t now_ns)
{
    uint64_t ns = now_ns + hub->ntp_offset_ns;
    uint64_t fraction = (ns % PC_NS_PER_S << 32) / PC_NS_PER_S;
    return ns / PC_NS_PER_S << 32 | fraction;
}

int pc_hub_call(struct pc_hub *hub, int (*run)(struct pc_hub *hub, void *context), void *context)
{
    struct pc_hub_call call = {.run = run, .context = context};
    assert(!pthread_equal(pthread_self(), hub->thread));
    pthread_mutex_lock(&hub->call_lock);
    struct pc_hub_call **tail = &hub->calls;
    while (*tail != NULL)
        tail = &(*tail)->next;
    *tail = &call;
    pc_hub_wake(hub);
    while (!call.done)
        pthread_cond_wait(&hub->call_done, &hub->call_lock);
    pthread_mutex_unlock(&hub->call_lock);
    if (call.result < 0)
        return pc_fail(call.result, "%s", call.error);
    return call.result;
}

static void run_calls(struct pc_hub *hub)
{
    pthread_mutex_lock(&hub->call_lock);
    while (hub->calls != NULL) {
        struct pc_hub_call *call = hub->calls;
        hub->calls = call->next;
        pthread_mutex_unlock(&hub->call_lock);
        call->result = call->run(hub, call->context);
        if (call->result < 0)
            snprintf(call->error, sizeof call->error, "%s", pc_error_text());
        pthread_mutex_lock(&hub->call_lock);
        call->done = true;
        pthread_cond_broadcast(&hub->call_done);
    }
    pthread_mutex_unlock(&hub->call_lock);
}

/* ---- Receiving ----------------------------------------------------------------------------------
 */

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

static void receive_media(struct pc_hub *hub, struct pc_sender *peer, enum pc_datagram kind,
                          uint8_t *data, size_t size, uint64_t now_ns)
{
    if (peer == NULL) {
        hub->stats.dropped_unknown++;
        return;
    }
    int result = -EPERM;
    if (kind == PC_DATAGRAM_RTCP)
        result = pc_sender_receive_rtcp(peer, data, size, hub->scratch, now_ns,
                                        pc_hub_ntp(hub, now_ns), &hub->stats);
    else if (peer->inbound != NULL)
        result = (int)pc_srtp_unprotect(peer->inbound, data, size);
    if (result == -EALREADY)
        hub->stats.dropped_replayed++;
    else if (result == -EPERM)
        hub->stats.dropped_unauthentic++;
    else if (result < 0)
        hub->stats.dropped_malformed++;

    if (peer->reported)
        emit_peer(hub, PC_EVENT_FIRST_REPORT, peer->id);
    if (peer->said_bye)
        emit_peer(hub, PC_EVENT_PEER_BYE, peer->id);
    peer->reported = peer->said_bye = false;
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
        struct pc_sender *peer = pc_peer_table_by_address(&hub->peers, udp, &address, channel);
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

static void receive_all(struct pc_hub *hub, int socket)
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

static void take_feeds(struct pc_hub *hub, uint64_t now_ns)
{
    for (int i = 0; i < hub->feed_count; i++) {
        struct pc_feed *feed = hub->feeds[i];
        struct pc_access_unit *au;
        while ((au = pc_feed_pop(feed)) != NULL) {
            bool taken = false;
            for (unsigned p = 0; p < hub->peers.count; p++) {
                struct pc_sender *peer = hub->peers.peers[p];
                if (peer->feed == feed && pc_sender_offer(peer, au, now_ns))
                    taken = true;
            }
            if (!taken)
                pc_feed_drain(feed, au->frame_id);
            pc_au_unref(au);
        }
    }
}

/* Everything that is due: returns when to come back. */
static uint64_t send_all(struct pc_hub *hub)
{
    uint64_t next = UINT64_MAX;
    uint64_t now_ns = pc_now_ns();
    take_feeds(hub, now_ns);
    for (unsigned p = 0; p < hub->peers.count; p++) {
        struct pc_sender *peer = hub->peers.peers[p];
        if (peer->feed == NULL || peer->udp == NULL)
            continue;
        if ((p & 15) == 15)
            now_ns = pc_now_ns();
        uint64_t report =
            pc_sender_tick(peer, hub->scratch, now_ns, pc_hub_ntp(hub, now_ns), &hub->stats);
        uint64_t media = pc_sender_pump(peer, hub->scratch, now_ns, &hub->stats);
        if (report < next)
            next = report;
        if (media < next)
            next = media;
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
}

/* Ahead of the encoder's threads, where the system lets us: a packet that waits for a core is late.
 */
static void raise_priority(void)
{
    if (getpriority(PRIO_PROCESS, 0) > REALTIME_NICE)
        setpriority(PRIO_PROCESS, 0, REALTIME_NICE);
}

static void *io_thread(void *context)
{
    struct pc_hub *hub = context;
    prctl(PR_SET_NAME, "playcast-io");
    prctl(PR_SET_TIMERSLACK, 1);
    if (hub->realtime)
        raise_priority();

    uint64_t timer_ns = UINT64_MAX;
    for (;;) {
        struct epoll_event ready[EPOLL_EVENTS];
        int count = epoll_wait(hub->epoll_fd, ready, EPOLL_EVENTS, -1);
        if (count < 0 && errno != EINTR)
            abort(); /* EBADF, EFAULT, EINVAL: our own mistake */
        for (int i = 0; i < count; i++) {
            uint32_t which = ready[i].data.u32;
            if (which == EPOLL_WAKE) {
                eventfd_t drained;
                eventfd_read(hub->wake_fd, &drained);
                run_calls(hub);
            } else if (which == EPOLL_TIMER) {
                uint64_t expired;
                if (read(hub->timer_fd, &expired, sizeof expired) == sizeof expired)
                    timer_ns = UINT64_MAX;
            } else {
                receive_all(hub, (int)which);
            }
        }
        pthread_mutex_lock(&hub->call_lock);
        bool stopping = hub->stopping;
        pthread_mutex_unlock(&hub->call_lock);
        if (stopping)
            return NULL;
        uint64_t next = send_all(hub);
        if (next != timer_ns) {
            timer_ns = next;
            set_timer(hub, next);
        }
    }
}

/* ---- Feeds ---- */

static int attach_feed(struct pc_hub *hub, void *context)
{
    if (hub->feed_count == PC_HUB_FEEDS)
        return pc_fail(-ENOSPC, "a hub carries at most %d encodes at a time", PC_HUB_FEEDS);
    hub->feeds[hub->feed_count++] = context;
    return 0;
}

static int detach_feed(struct pc_hub *hub, void *context)
{
    for (unsigned p = 0; p < hub->peers.count; p++) {
        if (hub->peers.peers[p]->feed != context)
            continue;
        pc_sender_bye(hub->peers.peers[p], hub->scratch, pc_now_ns(), &hub->stats);
        pc_sender_stop(hub->peers.peers[p]);
    }
    for (int i = 0; i < hub->feed_count; i++) {
        if (hub->feeds[i] == context) {
            hub->feeds[i] = hub->feeds[--hub->feed_count];
            break;
        }
    }
    return 0;
}

int pc_hub_attach_feed(struct pc_hub *hub, struct pc_feed *feed)
{
    return pc_hub_call(hub, attach_feed, feed);
}

void pc_hub_detach_feed(struct pc_hub *hub, struct pc_feed *feed)
{
    pc_hub_call(hub, detach_feed, feed);
}

/* ---- Opening and closing ---- */

static int watch(struct pc_hub *hub, int fd, uint32_t which)
{
    struct epoll_event event = {.events = EPOLLIN, .data.u32 = which};
    return epoll_ctl(hub->epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0 ? -errno : 0;
}

/* Bind every address to one port. With any port wanted, the first address's port decides; when
 * another address has it taken, a few others are tried. */
static int bind_all(struct pc_hub *hub, const struct pc_hub_settings *settings)
{
    for (int attempt = 0;; attempt++) {
        uint16_t port = settings->port;
        int error = 0;
        for (int i = 0; i < settings->bind_count && error == 0; i++) {
            struct pc_address address = settings->bind[i];
            address.port = port;
            error = pc_udp_open(&hub->sockets[i], &address, settings->gso, settings->dscp);
            if (error == 0) {
                hub->socket_count = i + 1;
                port = hub->sockets[i].local.port;
            }
        }
        if (error == 0)
            return 0;
        for (int i = 0; i < hub->socket_count; i++)
            pc_udp_close(&hub->sockets[i]);
        hub->socket_count = 0;
        if (error != -EADDRINUSE || settings->port != 0 || attempt == 8)
            return pc_fail(error, "cannot bind UDP port %u: %s", port, strerror(-error));
    }
}

static void release(struct pc_hub *hub)
{
    for (int i = 0; i < hub->socket_count; i++)
        pc_udp_close(&hub->sockets[i]);
    if (hub->epoll_fd >= 0)
        close(hub->epoll_fd);
    if (hub->wake_fd >= 0)
        close(hub->wake_fd);
    if (hub->timer_fd >= 0)
        close(hub->timer_fd);
    if (hub->events.events != NULL)
        pc_event_ring_free(&hub->events);
    pthread_mutex_destroy(&hub->call_lock);
    pthread_cond_destroy(&hub->call_done);
    pc_peer_table_free(&hub->peers);
    free(hub);
}

static int open_descriptors(struct pc_hub *hub)
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

int pc_hub_open(const struct pc_hub_settings *settings, struct pc_hub **out)
{
    if (settings->bind_count < 1 || settings->bind_count > PC_HUB_SOCKETS)
        return pc_fail(-EINVAL, "a hub binds 1 to %d addresses, not %d", PC_HUB_SOCKETS,
                       settings->bind_count);
    if (settings->dscp < 0 || settings->dscp > 63)
        return pc_fail(-EINVAL, "dscp is a number from 0 to 63, not %d", settings->dscp);

    struct pc_hub *hub = calloc(1, sizeof *hub);
    if (hub == NULL)
        return pc_fail(-ENOMEM, "out of memory");
    hub->epoll_fd = hub->wake_fd = hub->timer_fd = -1;
    hub->realtime = settings->realtime;
    pthread_mutex_init(&hub->call_lock, NULL);
    pthread_cond_init(&hub->call_done, NULL);
    pc_peer_table_init(&hub->peers);

    struct timespec wall;
    clock_gettime(CLOCK_REALTIME, &wall);
    hub->ntp_offset_ns = ((uint64_t)wall.tv_sec + NTP_UNIX_OFFSET_S) * PC_NS_PER_S +
                         (uint64_t)wall.tv_nsec - pc_now_ns();

    int error = bind_all(hub, settings);
    if (error == 0) {
        error = pc_event_ring_init(&hub->events);
        if (error == 0)
            error = open_descriptors(hub);
        if (error == 0)
            error = -pthread_create(&hub->thread, NULL, io_thread, hub);
        if (error < 0)
            pc_fail(error, "cannot start the I/O thread: %s", strerror(-error));
    }
    if (error < 0) {
        release(hub);
        return error;
    }
    *out = hub;
    return 0;
}

static int close_peers(struct pc_hub *hub, void *context)
{
    (void)context;
    while (hub->peers.count > 0) {
        struct pc_sender *peer = hub->peers.peers[hub->peers.count - 1];
        pc_sender_bye(peer, hub->scratch, pc_now_ns(), &hub->stats);
        pc_sender_stop(peer);
        pc_peer_table_remove(&hub->peers, peer);
    }
    return 0;
}

void pc_hub_close(struct pc_hub *hub)
{
    if (hub == NULL)
        return;
    pc_hub_call(hub, close_peers, NULL);
    pthread_mutex_lock(&hub->call_lock);
    hub->stopping = true;
    pthread_mutex_unlock(&hub->call_lock);
    pc_hub_wake(hub);
    pthread_join(hub->thread, NULL);
    release(hub);
}

int pc_hub_local_address(struct pc_hub *hub, int index, struct pc_address *out)
{
    if (index < 0 || index >= hub->socket_count)
        return pc_fail(-EINVAL, "the hub has %d sockets: there is no number %d", hub->socket_count,
                       index);
    *out = hub->sockets[index].local;
    return 0;
}

int pc_hub_event_fd(struct pc_hub *hub)
{
    return hub->events.fd;
}

int pc_hub_next_event(struct pc_hub *hub, struct pc_event *out)
{
    return pc_event_ring_pop(&hub->events, out);
}

int pc_hub_send(struct pc_hub *hub, int socket, const struct pc_address *to, const uint8_t *data,
                size_t size)
{
    struct pc_endpoint endpoint;
    if (socket < 0 || socket >= hub->socket_count)
        return pc_fail(-EINVAL, "the hub has %d sockets: there is no number %d", hub->socket_count,
                       socket);
    if (pc_endpoint_from(&endpoint, to) < 0 || size == 0 || size > PC_UDP_MAX_BATCH)
        return pc_fail(-EINVAL, "a datagram needs an IPv4 or IPv6 address and 1 to %d bytes",
                       PC_UDP_MAX_BATCH);
    ssize_t sent = sendto(hub->sockets[socket].fd, data, size, 0,
                          (const struct sockaddr *)&endpoint.address, endpoint.length);
    return sent < 0 ? pc_fail(-errno, "cannot send: %s", strerror(errno)) : 0;
}

static int copy_stats(struct pc_hub *hub, void *context)
{
    struct pc_hub_stats *out = context;
    *out = hub->stats;
    out->dropped_events = pc_event_ring_dropped(&hub->events);
    out->gso = hub->sockets[0].gso;
    return 0;
}

int pc_hub_get_stats(struct pc_hub *hub, struct pc_hub_stats *out)
{
    return pc_hub_call(hub, copy_stats, out);
}
