#include "hub.h"

#include <errno.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "clock.h"
#include "harness.h"

static const struct pc_address loopback = {.family = 4, .ip = {127, 0, 0, 1}};
static struct pc_event event;

static struct pc_hub *open_hub(void)
{
    const struct pc_address both[2] = {loopback, {.family = 6, .ip = {[15] = 1}}};
    struct pc_hub_settings settings = {.bind = both, .bind_count = 2, .gso = true};
    struct pc_hub *hub = NULL;
    CHECK_EQ(pc_hub_open(&settings, &hub), 0);
    return hub;
}

static bool next_event(struct pc_hub *hub)
{
    struct pollfd wait = {.fd = pc_hub_event_fd(hub), .events = POLLIN};
    while (poll(&wait, 1, 5000) == 1)
        if (pc_hub_next_event(hub, &event) == 1)
            return true;
    return false;
}

/* Wait until the hub has counted `count` received datagrams. */
static struct pc_hub_stats stats_after(struct pc_hub *hub, uint64_t count)
{
    struct pc_hub_stats stats;
    uint64_t limit = pc_now_ns() + 5 * PC_NS_PER_S;
    do {
        CHECK_EQ(pc_hub_get_stats(hub, &stats), 0);
    } while (stats.received_packets < count && pc_now_ns() < limit);
    CHECK_EQ(stats.received_packets, count);
    return stats;
}

static void all_addresses_share_one_port(void)
{
    struct pc_hub *hub = open_hub();
    struct pc_address first, second;
    CHECK_EQ(pc_hub_local_address(hub, 0, &first), 0);
    CHECK_EQ(pc_hub_local_address(hub, 1, &second), 0);
    CHECK(first.port != 0);
    CHECK_EQ(first.port, second.port);
    CHECK_EQ(second.family, 6);
    CHECK_EQ(pc_hub_local_address(hub, 2, &second), -EINVAL);
    pc_hub_close(hub);
}

static void a_port_that_is_taken_is_named(void)
{
    struct pc_hub *hub = open_hub(), *second = NULL;
    struct pc_address address;
    pc_hub_local_address(hub, 0, &address);
    struct pc_hub_settings settings = {.bind = &loopback, .bind_count = 1, .port = address.port};
    CHECK_EQ(pc_hub_open(&settings, &second), -EADDRINUSE);
    char port[16];
    snprintf(port, sizeof port, "%u", address.port);
    CHECK(strstr(pc_error_text(), port) != NULL);
    settings.bind_count = 0;
    CHECK_EQ(pc_hub_open(&settings, &second), -EINVAL);
    pc_hub_close(hub);
}

static void stun_and_dtls_go_up_and_the_rest_is_counted(void)
{
    struct pc_hub *hub = open_hub();
    struct pc_address to;
    pc_hub_local_address(hub, 0, &to);
    struct pc_udp other;
    struct pc_endpoint endpoint;
    CHECK_EQ(pc_udp_open(&other, &loopback, true, 0), 0);
    pc_endpoint_from(&endpoint, &to);
    const uint8_t stun[20] = {0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42};
    const uint8_t dtls[14] = {22, 254, 253};
    const uint8_t rtp[20] = {0x80, 96}, rtcp[20] = {0x80, 201}, junk[4] = {0xff};
    static const uint8_t long_one[3000] = {0x80};
    pc_udp_send(&other, &endpoint, rtp, sizeof rtp, sizeof rtp);
    pc_udp_send(&other, &endpoint, rtcp, sizeof rtcp, sizeof rtcp);
    pc_udp_send(&other, &endpoint, junk, sizeof junk, sizeof junk);
    pc_udp_send(&other, &endpoint, long_one, sizeof long_one, sizeof long_one);
    pc_udp_send(&other, &endpoint, stun, sizeof stun, sizeof stun);
    pc_udp_send(&other, &endpoint, dtls, sizeof dtls, sizeof dtls);
    CHECK(next_event(hub));
    CHECK_EQ(event.kind, PC_EVENT_DATAGRAM);
    CHECK_EQ(event.size, sizeof stun);
    CHECK_BYTES(event.data, stun, sizeof stun);
    CHECK_EQ(event.socket, 0);
    CHECK_EQ(event.from.port, other.local.port);
    CHECK(next_event(hub));
    CHECK_EQ(event.data[0], 22);
    struct pc_hub_stats stats = stats_after(hub, 5); /* the long one is not even a datagram */
    CHECK_EQ(stats.dropped_unknown, 2);
    CHECK_EQ(stats.dropped_malformed, 2);
    pc_udp_close(&other);
    pc_hub_close(hub);
}

static void the_hub_sends_for_python(void)
{
    struct pc_hub *hub = open_hub();
    struct pc_udp other;
    static struct pc_udp_inbox inbox;
    CHECK_EQ(pc_udp_open(&other, &loopback, true, 0), 0);
    const uint8_t data[3] = {1, 2, 3};
    CHECK_EQ(pc_hub_send(hub, 0, &other.local, data, 3), 0);
    struct pollfd wait = {.fd = other.fd, .events = POLLIN};
    CHECK_EQ(poll(&wait, 1, 5000), 1);
    CHECK_EQ(pc_udp_receive(&other, &inbox), 1);
    CHECK_BYTES(inbox.data[0], data, 3);
    CHECK_EQ(pc_hub_send(hub, 9, &other.local, data, 3), -EINVAL);
    CHECK_EQ(pc_hub_send(hub, 0, &other.local, data, 0), -EINVAL);
    pc_udp_close(&other);
    pc_hub_close(hub);
}

static void peers_that_are_gone_are_said_to_be(void)
{
    struct pc_hub *hub = open_hub();
    struct pc_peer_stats stats;
    uint8_t key[28] = {0};
    int peer = pc_peer_open(hub);
    CHECK(peer > 0);
    CHECK_EQ(pc_peer_get_stats(hub, peer, &stats), 0);
    CHECK(stats.rtt_ms < 0);
    CHECK_EQ(pc_peer_set_path(hub, peer, 5, &loopback, 0), -EINVAL);
    CHECK_EQ(pc_peer_set_keys(hub, peer, PC_SRTP_AEAD_AES_128_GCM, key, key, 27), -EINVAL);
    CHECK_EQ(pc_peer_set_keys(hub, peer, PC_SRTP_AEAD_AES_128_GCM, key, key, 28), 0);
    CHECK_EQ(pc_peer_set_keys(hub, peer, PC_SRTP_AEAD_AES_128_GCM, key, key, 28), 0);
    CHECK_EQ(pc_peer_close(hub, peer), 0);
    CHECK_EQ(pc_peer_close(hub, peer), -ENOENT);
    CHECK(strstr(pc_error_text(), "closed") != NULL);
    CHECK_EQ(pc_peer_get_stats(hub, peer, &stats), -ENOENT);
    CHECK_EQ(pc_peer_set_keys(hub, peer, PC_SRTP_AEAD_AES_128_GCM, key, key, 28), -ENOENT);
    CHECK_EQ(pc_peer_close(hub, -1), -ENOENT);
    CHECK(pc_peer_open(hub) > peer); /* ids are not used again */
    pc_hub_close(hub);
}

static void media_of_a_peer_is_checked(void)
{
    struct pc_hub *hub = open_hub();
    struct pc_address to;
    pc_hub_local_address(hub, 0, &to);
    struct pc_udp other;
    struct pc_endpoint endpoint;
    CHECK_EQ(pc_udp_open(&other, &loopback, true, 0), 0);
    pc_endpoint_from(&endpoint, &to);
    int peer = pc_peer_open(hub);
    uint8_t key[28] = {4, 5, 6};
    CHECK_EQ(pc_peer_set_path(hub, peer, 0, &other.local, 0), 0);
    CHECK_EQ(pc_peer_set_keys(hub, peer, PC_SRTP_AEAD_AES_128_GCM, key, key, 28), 0);

    struct pc_srtp *srtp;
    CHECK_EQ(pc_srtp_create(PC_SRTP_AEAD_AES_128_GCM, key, 28, &srtp), 0);
    uint8_t rtcp[12 + PC_SRTCP_MAX_OVERHEAD] = {0x80, 203, 0, 0};
    uint8_t bye[sizeof rtcp] = {0x81, 203, 0, 1, 0, 0, 0, 9};
    long size = pc_srtp_protect_rtcp(srtp, bye, 8);
    memcpy(rtcp, bye, sizeof rtcp);
    rtcp[size - 1] ^= 1;
    pc_udp_send(&other, &endpoint, rtcp, (size_t)size, (size_t)size);
    pc_udp_send(&other, &endpoint, bye, (size_t)size, (size_t)size);
    pc_udp_send(&other, &endpoint, bye, (size_t)size, (size_t)size);
    CHECK(next_event(hub));
    CHECK_EQ(event.kind, PC_EVENT_PEER_BYE);
    CHECK_EQ(event.id, peer);
    struct pc_hub_stats stats = stats_after(hub, 3);
    CHECK_EQ(stats.dropped_unauthentic + stats.dropped_malformed, 1);
    CHECK_EQ(stats.dropped_replayed, 1);
    pc_srtp_destroy(srtp);
    pc_udp_close(&other);
    pc_hub_close(hub);
}

/* ---- Who is served, and when ---- */

static const uint8_t any_key[28] = {7};

struct with_feed {
    struct pc_feed *feed;
    int peer;
};

static int start_peer(struct pc_hub *hub, void *context)
{
    const struct with_feed *wanted = context;
    const struct pc_media_settings media = {.controller = PC_CONTROLLER_FIXED,
                                            .payload_type = 96,
                                            .rtx_payload_type = 97,
                                            .ssrc = 1,
                                            .rtx_ssrc = 2,
                                            .cname = "x"};
    const uint8_t random[16] = {0};
    struct pc_peer *peer = pc_peer_table_by_id(&hub->peers, (uint32_t)wanted->peer);
    int error = pc_sender_start(&peer->sender, wanted->feed, &media, random, pc_now_ns());
    pc_peer_table_wake(&hub->peers, peer);
    return error;
}

/* A peer that sends the feed to `there`. */
static int sending_peer(struct pc_hub *hub, struct pc_feed *feed, const struct pc_udp *there)
{
    struct with_feed wanted = {feed, pc_peer_open(hub)};
    CHECK_EQ(pc_peer_set_path(hub, wanted.peer, 0, &there->local, 0), 0);
    CHECK_EQ(pc_peer_set_keys(hub, wanted.peer, PC_SRTP_AEAD_AES_128_GCM, any_key, any_key, 28), 0);
    CHECK_EQ(pc_hub_call(hub, start_peer, &wanted), 0);
    return wanted.peer;
}

/* How many datagrams of RTP arrive until `count` have; 0 after 5 s without one. */
static int receive_media(struct pc_udp *there, int count)
{
    static struct pc_udp_inbox inbox;
    int media = 0;
    struct pollfd wait = {.fd = there->fd, .events = POLLIN};
    while (media < count && poll(&wait, 1, 5000) == 1 && pc_udp_receive(there, &inbox) > 0)
        for (int i = 0; i < inbox.count; i++)
            media += (inbox.data[i][1] & 0x7f) == 96;
    return media;
}

static struct pc_access_unit *new_unit(struct pc_au_pool *pool, uint64_t id, int payloads)
{
    struct pc_access_unit *au = pc_au_acquire(pool);
    au->frame_id = id;
    au->idr = true;
    for (int i = 0; i < payloads; i++) {
        memset(pc_au_reserve(au, 100), 1, 100);
        pc_au_commit(au, 100);
    }
    return au;
}

static void init_feed(struct pc_feed *feed, int wake_fd)
{
    pc_feed_init(feed, PC_CODEC_H264, 1, 0, wake_fd);
    pc_feed_set_rate(feed, 8000000, 50);
}

/* What was sent to the old address is lost, and its rate means nothing. */
static void another_path_begins_with_an_idr(void)
{
    struct pc_hub *hub = open_hub();
    struct pc_feed feed;
    struct pc_udp there[2];
    int wake_fd = eventfd(0, EFD_NONBLOCK);
    init_feed(&feed, wake_fd);
    CHECK_EQ(pc_hub_attach_feed(hub, &feed), 0);
    for (int i = 0; i < 2; i++)
        CHECK_EQ(pc_udp_open(&there[i], &loopback, true, 0), 0);
    int peer = sending_peer(hub, &feed, &there[0]);
    CHECK(atomic_exchange(&feed.idr_wanted, false));
    CHECK_EQ(pc_peer_set_path(hub, peer, 0, &there[0].local, 0), 0);
    CHECK(!atomic_load(&feed.idr_wanted));
    CHECK_EQ(pc_peer_set_path(hub, peer, 0, &there[1].local, 0), 0);
    CHECK(atomic_exchange(&feed.idr_wanted, false));
    CHECK_EQ(pc_peer_set_path(hub, peer, 0, &there[1].local, 0x4000), 0);
    CHECK(atomic_load(&feed.idr_wanted));
    CHECK_EQ(pc_peer_close(hub, peer), 0);
    pc_hub_detach_feed(hub, &feed);
    pc_hub_close(hub);
    for (int i = 0; i < 2; i++)
        pc_udp_close(&there[i]);
    pc_feed_free(&feed);
    close(wake_fd);
}

static void every_peer_of_a_feed_is_given_what_is_published(void)
{
    enum { PEERS = 20 };
    struct pc_hub *hub = open_hub();
    struct pc_feed feed;
    struct pc_udp there[PEERS];
    struct pc_au_pool *pool = pc_au_pool_create(4);
    int wake_fd = eventfd(0, EFD_NONBLOCK);
    init_feed(&feed, wake_fd);
    CHECK_EQ(pc_hub_attach_feed(hub, &feed), 0);
    for (int i = 0; i < PEERS; i++) {
        CHECK_EQ(pc_udp_open(&there[i], &loopback, true, 0), 0);
        sending_peer(hub, &feed, &there[i]);
    }
    struct pc_access_unit *au = new_unit(pool, 0, 2);
    pc_au_publish(au, false);
    CHECK(pc_feed_push(&feed, au));
    CHECK(pc_feed_announce(&feed));
    pc_hub_wake(hub);
    for (int i = 0; i < PEERS; i++)
        CHECK_EQ(receive_media(&there[i], 2), 2);
    CHECK_EQ(atomic_load(&feed.drained), 0);
    /* The rest of the same frame. */
    memset(pc_au_reserve(au, 50), 1, 50);
    pc_au_commit(au, 50);
    pc_au_publish(au, true);
    CHECK(pc_feed_announce(&feed)); /* the hub had looked at the first part */
    pc_hub_wake(hub);
    for (int i = 0; i < PEERS; i++)
        CHECK_EQ(receive_media(&there[i], 1), 1);
    pc_au_unref(au);
    pc_hub_detach_feed(hub, &feed);
    CHECK_EQ(atomic_load(&feed.drained), 1);
    CHECK_EQ(atomic_load(&feed.receivers), 0);
    pc_hub_close(hub);
    pc_feed_free(&feed);
    pc_au_pool_release(pool);
    for (int i = 0; i < PEERS; i++)
        pc_udp_close(&there[i]);
    close(wake_fd);
}

static int make_overdue(struct pc_hub *hub, void *context)
{
    (void)context;
    hub->peers.peers[0]->sender.next_report_ns = 0;
    hub->peers.due_ns[0] = UINT64_MAX;
    return 0;
}

static int make_due(struct pc_hub *hub, void *context)
{
    (void)context;
    hub->peers.due_ns[0] = 0;
    return 0;
}

/* A datagram or a call is no reason to walk all peers. */
static void only_peers_that_are_due_are_served(void)
{
    struct pc_hub *hub = open_hub();
    struct pc_feed feed;
    struct pc_udp there;
    struct pc_endpoint endpoint;
    struct pc_address to;
    int wake_fd = eventfd(0, EFD_NONBLOCK);
    init_feed(&feed, wake_fd);
    CHECK_EQ(pc_udp_open(&there, &loopback, true, 0), 0);
    CHECK_EQ(pc_hub_attach_feed(hub, &feed), 0);
    sending_peer(hub, &feed, &there);
    struct pollfd wait = {.fd = there.fd, .events = POLLIN};
    static struct pc_udp_inbox inbox;
    CHECK_EQ(poll(&wait, 1, 5000), 1); /* its first report */
    CHECK_EQ(pc_udp_receive(&there, &inbox), 1);

    CHECK_EQ(pc_hub_call(hub, make_overdue, NULL), 0);
    pc_hub_local_address(hub, 0, &to);
    pc_endpoint_from(&endpoint, &to);
    const uint8_t stun[20] = {0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42};
    pc_udp_send(&there, &endpoint, stun, sizeof stun, sizeof stun);
    CHECK(next_event(hub));
    struct pc_hub_stats stats;
    CHECK_EQ(pc_hub_get_stats(hub, &stats), 0);
    CHECK_EQ(pc_hub_get_stats(hub, &stats), 0); /* a round later */
    CHECK_EQ(stats.sent_packets, 1);
    CHECK_EQ(pc_hub_call(hub, make_due, NULL), 0);
    CHECK_EQ(poll(&wait, 1, 5000), 1);
    pc_hub_detach_feed(hub, &feed);
    pc_hub_close(hub);
    pc_feed_free(&feed);
    pc_udp_close(&there);
    close(wake_fd);
}

static void reports_come_by_the_timer(void)
{
    struct pc_hub *hub = open_hub();
    struct pc_feed feed;
    struct pc_udp there;
    int wake_fd = eventfd(0, EFD_NONBLOCK);
    init_feed(&feed, wake_fd);
    CHECK_EQ(pc_udp_open(&there, &loopback, true, 0), 0);
    CHECK_EQ(pc_hub_attach_feed(hub, &feed), 0);
    sending_peer(hub, &feed, &there);
    static struct pc_udp_inbox inbox;
    struct pollfd wait = {.fd = there.fd, .events = POLLIN};
    for (int i = 0; i < 2; i++) { /* at once, and a second later without anybody's doing */
        CHECK_EQ(poll(&wait, 1, 5000), 1);
        CHECK_EQ(pc_udp_receive(&there, &inbox), 1);
        CHECK_EQ(inbox.data[0][1], 200);
    }
    pc_hub_detach_feed(hub, &feed);
    pc_hub_close(hub);
    pc_feed_free(&feed);
    pc_udp_close(&there);
    close(wake_fd);
}

/* The stream must not wait for a frame that nobody can use. */
static void what_nobody_takes_counts_as_drained(void)
{
    struct pc_hub *hub = open_hub();
    struct pc_feed feed;
    struct pc_udp there;
    struct pc_au_pool *pool = pc_au_pool_create(1);
    int wake_fd = eventfd(0, 0); /* reading waits */
    init_feed(&feed, wake_fd);
    CHECK_EQ(pc_udp_open(&there, &loopback, true, 0), 0);
    CHECK_EQ(pc_hub_attach_feed(hub, &feed), 0);
    sending_peer(hub, &feed, &there);
    eventfd_t woken;
    CHECK_EQ(eventfd_read(wake_fd, &woken), 0); /* somebody joined */
    atomic_store(&feed.blocked, true);
    struct pc_access_unit *au = new_unit(pool, 6, 1);
    au->idr = false;
    pc_au_publish(au, true);
    CHECK(pc_feed_push(&feed, au));
    pc_au_unref(au);
    CHECK(pc_feed_announce(&feed));
    pc_hub_wake(hub);
    struct pollfd wait = {.fd = wake_fd, .events = POLLIN};
    CHECK_EQ(poll(&wait, 1, 5000), 1);
    CHECK_EQ(atomic_load(&feed.drained), 7);
    pc_hub_detach_feed(hub, &feed);
    pc_hub_close(hub);
    pc_feed_free(&feed);
    pc_au_pool_release(pool);
    pc_udp_close(&there);
    close(wake_fd);
}

/* Many large frames at once: the hub answers in between, and everybody's turn comes. */
static void a_long_round_is_interrupted_and_goes_on(void)
{
    enum { PEERS = 200, PACKETS = 60 };
    struct pc_hub *hub = open_hub();
    struct pc_feed feed;
    struct pc_udp there;
    struct pc_au_pool *pool = pc_au_pool_create(4);
    int wake_fd = eventfd(0, EFD_NONBLOCK);
    init_feed(&feed, wake_fd);
    pc_feed_set_rate(&feed, 1000000000, 50); /* nothing is paced */
    CHECK_EQ(pc_udp_open(&there, &loopback, true, 0), 0);
    CHECK_EQ(pc_hub_attach_feed(hub, &feed), 0);
    for (int i = 0; i < PEERS; i++) {
        struct pc_udp elsewhere = {.local = there.local};
        elsewhere.local.ip[2] = (uint8_t)(1 + i / 200);
        elsewhere.local.ip[3] = (uint8_t)(1 + i % 200);
        sending_peer(hub, &feed, &elsewhere);
    }
    struct pc_hub_stats stats;
    uint64_t limit = pc_now_ns() + 20 * PC_NS_PER_S;
    do { /* everybody's first report */
        CHECK_EQ(pc_hub_get_stats(hub, &stats), 0);
    } while (stats.sent_packets < PEERS && pc_now_ns() < limit);
    struct pc_access_unit *au = new_unit(pool, 0, PACKETS);
    pc_au_publish(au, true);
    CHECK(pc_feed_push(&feed, au));
    pc_au_unref(au);
    CHECK(pc_feed_announce(&feed));
    pc_hub_wake(hub);
    bool interrupted = false;
    do {
        CHECK_EQ(pc_hub_get_stats(hub, &stats), 0);
        interrupted =
            interrupted || (stats.sent_packets > PEERS * 2 && stats.sent_packets < PEERS * PACKETS);
    } while (stats.sent_packets < PEERS * (PACKETS + 1) && pc_now_ns() < limit);
    CHECK(interrupted);
    CHECK(stats.sent_packets >= PEERS * (PACKETS + 1));
    pc_hub_detach_feed(hub, &feed);
    pc_hub_close(hub);
    pc_feed_free(&feed);
    pc_au_pool_release(pool);
    pc_udp_close(&there);
    close(wake_fd);
}

static int stop_by_hand(struct pc_hub *hub, void *context)
{
    (void)context;
    pthread_mutex_lock(&hub->call_lock);
    hub->stopping = true;
    pthread_mutex_unlock(&hub->call_lock);
    return 0;
}

static void a_call_to_a_hub_that_closes_is_refused_and_waits_for_nobody(void)
{
    struct pc_hub *hub = open_hub();
    CHECK_EQ(pc_hub_call(hub, stop_by_hand, NULL), 0);
    CHECK_EQ(pc_peer_open(hub), -ESHUTDOWN);
    CHECK(strstr(pc_error_text(), "closed") != NULL);
    pc_hub_close(hub);
}

static void ntp_counts_from_1900(void)
{
    struct pc_hub hub = {.ntp_offset_ns = 2208988800ull * PC_NS_PER_S};
    uint64_t ntp = pc_hub_ntp(&hub, 1500 * PC_NS_PER_MS);
    CHECK_EQ(ntp >> 32, 2208988801u);
    CHECK_EQ(ntp & 0xffffffffu, 0x80000000u);
}

int main(void)
{
    RUN(all_addresses_share_one_port);
    RUN(a_port_that_is_taken_is_named);
    RUN(stun_and_dtls_go_up_and_the_rest_is_counted);
    RUN(the_hub_sends_for_python);
    RUN(peers_that_are_gone_are_said_to_be);
    RUN(media_of_a_peer_is_checked);
    RUN(another_path_begins_with_an_idr);
    RUN(every_peer_of_a_feed_is_given_what_is_published);
    RUN(only_peers_that_are_due_are_served);
    RUN(reports_come_by_the_timer);
    RUN(what_nobody_takes_counts_as_drained);
    RUN(a_long_round_is_interrupted_and_goes_on);
    RUN(a_call_to_a_hub_that_closes_is_refused_and_waits_for_nobody);
    RUN(ntp_counts_from_1900);
    return HARNESS_RESULT();
}
