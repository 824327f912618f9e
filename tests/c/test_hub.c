#include "hub.h"

#include <errno.h>
#include <poll.h>
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
    RUN(ntp_counts_from_1900);
    return HARNESS_RESULT();
}
