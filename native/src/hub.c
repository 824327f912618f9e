#include "hub_loop.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "clock.h"

#define NTP_UNIX_OFFSET_S 2208988800ull /* 1900 to 1970 */

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

void pc_hub_wake_receptions(struct pc_hub *hub)
{
    atomic_store(&hub->reception_news, true);
    pc_hub_wake(hub);
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
    if (hub->stopping) {
        pthread_mutex_unlock(&hub->call_lock);
        return pc_fail(-ESHUTDOWN, "the hub is closed");
    }
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

void pc_hub_run_calls(struct pc_hub *hub)
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

bool pc_hub_stops(struct pc_hub *hub)
{
    pthread_mutex_lock(&hub->call_lock);
    bool stops = hub->stopping && hub->calls == NULL;
    pthread_mutex_unlock(&hub->call_lock);
    return stops;
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
        struct pc_sender *sender = &hub->peers.peers[p]->sender;
        if (sender->next_feed == context)
            pc_sender_move(sender, sender->feed);
        if (sender->feed != context)
            continue;
        pc_sender_bye(sender, hub->scratch, pc_now_ns(), &hub->stats);
        pc_sender_stop(sender);
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

static int attach_rungs(struct pc_hub *hub, void *context)
{
    struct pc_rungs *rungs = context;
    if (hub->feed_count + rungs->count > PC_HUB_FEEDS || hub->rungs_count == PC_HUB_FEEDS)
        return pc_fail(-ENOSPC, "a hub carries at most %d encodes at a time", PC_HUB_FEEDS);
    for (int r = 0; r < rungs->count; r++)
        attach_feed(hub, rungs->feeds[r]);
    hub->rungs[hub->rungs_count++] = rungs;
    return 0;
}

static int detach_rungs(struct pc_hub *hub, void *context)
{
    struct pc_rungs *rungs = context;
    for (int i = 0; i < hub->rungs_count; i++) {
        if (hub->rungs[i] == rungs) {
            hub->rungs[i] = hub->rungs[--hub->rungs_count];
            break;
        }
    }
    for (int r = 0; r < rungs->count; r++)
        detach_feed(hub, rungs->feeds[r]);
    return 0;
}

int pc_hub_attach_rungs(struct pc_hub *hub, struct pc_rungs *rungs)
{
    return pc_hub_call(hub, attach_rungs, rungs);
}

void pc_hub_detach_rungs(struct pc_hub *hub, struct pc_rungs *rungs)
{
    pc_hub_call(hub, detach_rungs, rungs);
}

/* ---- Opening and closing ---- */

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
    free(hub->viewers);
    free(hub);
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
            error = pc_hub_watch(hub);
        if (error == 0)
            error = -pthread_create(&hub->thread, NULL, pc_hub_run, hub);
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
    while (hub->peers.count > 0)
        pc_hub_remove_peer(hub, hub->peers.peers[hub->peers.count - 1]);
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
    assert(hub->feed_count == 0); /* a stream's thread would go on to use the hub */
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
