#include "transport.h"

#include <errno.h>
#include <string.h>

#define CHANNEL_HEADER_BYTES 4 /* RFC 8656 12.4 */

void pc_transport_init(struct pc_transport *transport)
{
    memset(transport, 0, sizeof *transport);
}

void pc_transport_free(struct pc_transport *transport)
{
    pc_srtp_destroy(transport->outbound);
    pc_srtp_destroy(transport->inbound);
    transport->outbound = transport->inbound = NULL;
}

int pc_transport_set_keys(struct pc_transport *transport, struct pc_srtp *outbound,
                          struct pc_srtp *inbound)
{
    if (transport->used)
        return pc_fail(-EINVAL, "a peer's keys stay once media was sent");
    pc_transport_free(transport);
    transport->outbound = outbound;
    transport->inbound = inbound;
    return 0;
}

void pc_transport_set_path(struct pc_transport *transport, struct pc_udp *udp,
                           const struct pc_endpoint *to, const struct pc_address *remote,
                           uint16_t channel)
{
    transport->udp = udp;
    transport->retry_ns = 0;
    if (udp == NULL)
        return;
    transport->to = *to;
    transport->remote = *remote;
    transport->channel = channel;
}

static size_t channel_bytes(const struct pc_transport *transport)
{
    return transport->channel != 0 ? CHANNEL_HEADER_BYTES : 0;
}

uint8_t *pc_transport_room(const struct pc_transport *transport, uint8_t *out)
{
    return out + channel_bytes(transport);
}

static void write_u16(uint8_t *p, size_t value)
{
    p[0] = (uint8_t)(value >> 8);
    p[1] = (uint8_t)value;
}

/* Returns the bytes on the wire. */
static size_t add_channel_header(const struct pc_transport *transport, uint8_t *out, size_t size)
{
    if (transport->channel == 0)
        return size;
    write_u16(out, transport->channel);
    write_u16(out + 2, size);
    return CHANNEL_HEADER_BYTES + size;
}

size_t pc_transport_protect(struct pc_transport *transport, uint8_t *out, uint64_t index,
                            size_t header_bytes, const struct pc_piece *pieces, int piece_count)
{
    transport->used = true;
    long size = pc_srtp_protect(transport->outbound, index, pc_transport_room(transport, out),
                                header_bytes, pieces, piece_count);
    return size <= 0 ? 0 : add_channel_header(transport, out, (size_t)size);
}

bool pc_transport_ready(struct pc_transport *transport, uint64_t now_ns)
{
    return now_ns >= transport->retry_ns && pc_udp_flush(transport->udp);
}

void pc_transport_send(struct pc_transport *transport, const uint8_t *data, size_t size,
                       size_t segment, uint64_t now_ns, struct pc_hub_stats *hub)
{
    hub->send_calls++;
    int sent = pc_udp_send(transport->udp, &transport->to, data, size, segment);
    if (sent < 0) {
        hub->send_errors++;
        transport->retry_ns = now_ns + PC_TRANSPORT_RETRY_NS;
        return;
    }
    hub->sent_packets += (uint64_t)sent;
    hub->sent_bytes += size;
}

void pc_transport_send_rtcp(struct pc_transport *transport, uint8_t *out, long size,
                            uint64_t now_ns, struct pc_hub_stats *hub)
{
    if (size < 0 || transport->outbound == NULL || transport->udp == NULL)
        return;
    transport->used = true;
    size =
        pc_srtp_protect_rtcp(transport->outbound, pc_transport_room(transport, out), (size_t)size);
    if (size < 0)
        return;
    size_t total = add_channel_header(transport, out, (size_t)size);
    pc_transport_send(transport, out, total, total, now_ns, hub);
}
