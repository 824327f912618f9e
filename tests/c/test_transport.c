#include "transport.h"

#include <errno.h>

#include "harness.h"

#define T0 1000000000ull

static struct {
    struct pc_transport transport;
    struct pc_udp udp;
    struct pc_srtp *receive;
    struct pc_hub_stats hub;
    uint8_t out[4096], sent[4096];
    size_t sent_bytes, segment;
    int calls;
} t;

static const uint8_t key[28] = {1, 2, 3}, other_key[28] = {4, 5, 6};
static const struct pc_address far_away = {.family = 4, .ip = {127, 0, 0, 1}, .port = 9};

static void keep(void *context, const uint8_t *data, size_t size, size_t segment)
{
    (void)context;
    memcpy(t.sent, data, size);
    t.sent_bytes = size;
    t.segment = segment;
    t.calls++;
}

static int set_keys(const uint8_t *bytes)
{
    struct pc_srtp *outbound, *inbound;
    CHECK_EQ(pc_srtp_create(PC_SRTP_AEAD_AES_128_GCM, bytes, 28, &outbound), 0);
    CHECK_EQ(pc_srtp_create(PC_SRTP_AEAD_AES_128_GCM, bytes, 28, &inbound), 0);
    int error = pc_transport_set_keys(&t.transport, outbound, inbound);
    if (error < 0) { /* they stay the caller's */
        pc_srtp_destroy(outbound);
        pc_srtp_destroy(inbound);
    }
    return error;
}

static void set_path(uint16_t channel)
{
    struct pc_endpoint to;
    pc_endpoint_from(&to, &far_away);
    pc_transport_set_path(&t.transport, &t.udp, &to, &far_away, channel);
}

static void start(uint16_t channel)
{
    memset(&t, 0, sizeof t);
    t.udp = (struct pc_udp){.fd = -1, .gso = true, .sink = keep};
    pc_transport_init(&t.transport);
    set_path(channel);
    CHECK_EQ(pc_srtp_create(PC_SRTP_AEAD_AES_128_GCM, key, 28, &t.receive), 0);
}

static void finish(void)
{
    pc_transport_free(&t.transport);
    pc_srtp_destroy(t.receive);
}

static size_t protect(uint64_t index, const char *payload)
{
    uint8_t *room = pc_transport_room(&t.transport, t.out);
    const uint8_t header[12] = {0x80, 96, (uint8_t)(index >> 8), (uint8_t)index, [11] = 1};
    memcpy(room, header, 12);
    const struct pc_piece piece = {.data = (const uint8_t *)payload, .size = strlen(payload)};
    return pc_transport_protect(&t.transport, t.out, index, 12, &piece, 1);
}

static long write_rtcp(void)
{
    const uint8_t rtcp[8] = {0x80, 201, 0, 1, 0, 0, 0, 1};
    memcpy(pc_transport_room(&t.transport, t.out), rtcp, 8);
    return 8;
}

static void packets_are_protected_behind_their_channel(void)
{
    static const uint16_t channels[] = {0, 0x4001};
    for (int i = 0; i < 2; i++) {
        size_t head = i == 0 ? 0 : 4;
        start(channels[i]);
        CHECK_EQ(set_keys(key), 0);
        CHECK(pc_transport_room(&t.transport, t.out) == t.out + head);
        size_t size = protect(7, "payload");
        CHECK_EQ(size, head + 12 + 7 + 16);
        pc_transport_send(&t.transport, t.out, size, size, T0, &t.hub);
        CHECK_EQ(t.sent_bytes, size);
        CHECK_EQ(t.hub.sent_bytes, size);
        CHECK_EQ(t.hub.sent_packets, 1);
        if (head != 0) {
            CHECK_EQ(t.sent[0] << 8 | t.sent[1], 0x4001);
            CHECK_EQ(t.sent[2] << 8 | t.sent[3], size - 4);
        }
        CHECK_EQ(pc_srtp_unprotect(t.receive, t.sent + head, size - head), 12 + 7);
        CHECK_BYTES(t.sent + head + 12, "payload", 7);
        pc_transport_send_rtcp(&t.transport, t.out, write_rtcp(), T0, &t.hub);
        CHECK_EQ(t.sent_bytes, head + 8 + 20);
        if (head != 0)
            CHECK_EQ(t.sent[2] << 8 | t.sent[3], 28);
        CHECK_EQ(pc_srtp_unprotect_rtcp(t.receive, t.sent + head, t.sent_bytes - head), 8);
        finish();
    }
}

static void a_batch_is_one_call(void)
{
    start(0x4001);
    CHECK_EQ(set_keys(key), 0);
    pc_transport_send(&t.transport, t.out, 2500, 1000, T0, &t.hub);
    CHECK_EQ(t.calls, 1);
    CHECK_EQ(t.segment, 1000);
    CHECK_EQ(t.hub.send_calls, 1);
    CHECK_EQ(t.hub.sent_packets, 3);
    finish();
}

/* Keys may come again until something was sent with them: the counts of nonces begin anew. */
static void keys_stay_once_they_were_used(void)
{
    start(0);
    CHECK_EQ(set_keys(other_key), 0);
    CHECK_EQ(set_keys(key), 0);
    CHECK(protect(1, "a") > 0);
    CHECK_EQ(set_keys(other_key), -EINVAL);
    CHECK_EQ(set_keys(key), -EINVAL);
    finish();
    start(0);
    CHECK_EQ(set_keys(key), 0);
    pc_transport_send_rtcp(&t.transport, t.out, write_rtcp(), T0, &t.hub);
    CHECK_EQ(t.calls, 1);
    CHECK_EQ(set_keys(key), -EINVAL); /* RTCP has nonces too */
    pc_transport_send_rtcp(&t.transport, t.out, write_rtcp(), T0, &t.hub);
    CHECK_EQ(pc_srtp_unprotect_rtcp(t.receive, t.sent, t.sent_bytes), 8);
    finish();
}

static void without_keys_or_path_no_rtcp_is_sent(void)
{
    start(0);
    pc_transport_send_rtcp(&t.transport, t.out, write_rtcp(), T0, &t.hub);
    CHECK_EQ(set_keys(key), 0);
    pc_transport_send_rtcp(&t.transport, t.out, -ENOSPC, T0, &t.hub);
    pc_transport_set_path(&t.transport, NULL, NULL, NULL, 0);
    pc_transport_send_rtcp(&t.transport, t.out, write_rtcp(), T0, &t.hub);
    CHECK_EQ(t.calls, 0);
    CHECK_EQ(t.hub.send_calls, 0);
    CHECK_EQ(set_keys(other_key), 0); /* nothing was sent */
    finish();
}

static void after_a_failure_it_waits_for_a_moment(void)
{
    start(0);
    CHECK(pc_transport_ready(&t.transport, T0));
    t.udp.sink = NULL; /* there is no such socket */
    pc_transport_send(&t.transport, t.out, 100, 100, T0, &t.hub);
    CHECK_EQ(t.hub.send_errors, 1);
    CHECK_EQ(t.hub.sent_packets, 0);
    CHECK_EQ(t.hub.sent_bytes, 0);
    t.udp.sink = keep;
    CHECK(!pc_transport_ready(&t.transport, T0 + PC_TRANSPORT_RETRY_NS - 1));
    CHECK(pc_transport_ready(&t.transport, T0 + PC_TRANSPORT_RETRY_NS));
    CHECK(!pc_transport_ready(&t.transport, T0));
    set_path(0); /* another path has not failed yet */
    CHECK(pc_transport_ready(&t.transport, T0));
    finish();
}

/* What the kernel could not do on one path it may on another. */
static void a_new_path_is_a_new_endpoint(void)
{
    start(0x4001);
    t.transport.to.unsegmented = true;
    set_path(0);
    CHECK(!t.transport.to.unsegmented);
    CHECK_EQ(t.transport.channel, 0);
    CHECK_EQ(t.transport.remote.port, 9);
    finish();
}

int main(void)
{
    RUN(packets_are_protected_behind_their_channel);
    RUN(a_batch_is_one_call);
    RUN(keys_stay_once_they_were_used);
    RUN(without_keys_or_path_no_rtcp_is_sent);
    RUN(after_a_failure_it_waits_for_a_moment);
    RUN(a_new_path_is_a_new_endpoint);
    return HARNESS_RESULT();
}
