/* How packets of one peer leave and arrive: its path (socket, address, TURN channel), its SRTP
 * keys, and what is counted over everything that is sent there. Lives on the I/O thread; time is an
 * argument. */
#ifndef PC_TRANSPORT_H
#define PC_TRANSPORT_H

#include "srtp.h"
#include "udp.h"

#define PC_TRANSPORT_RETRY_NS (500 * 1000) /* the kernel could not send: not before */

struct pc_transport {
    struct pc_udp *udp; /* NULL while there is no path */
    struct pc_endpoint to;
    struct pc_address remote;
    uint16_t channel;

    struct pc_srtp *outbound, *inbound; /* NULL while there are no keys */
    bool used;                          /* something was protected: the keys stay */

    uint16_t next_sequence; /* transport-wide */
    uint64_t retry_ns;      /* sending failed: not before */
};

void pc_transport_init(struct pc_transport *transport);
void pc_transport_free(struct pc_transport *transport); /* drops the keys */

/* Takes the keys: 0, or -EINVAL once something was sent (the caller keeps them then): packet
 * indices go on for as long as the peer lives, so that no AEAD nonce is ever used twice. */
int pc_transport_set_keys(struct pc_transport *transport, struct pc_srtp *outbound,
                          struct pc_srtp *inbound);

/* Send from `udp` to `to`; NULL: there is no path any more. */
void pc_transport_set_path(struct pc_transport *transport, struct pc_udp *udp,
                           const struct pc_endpoint *to, const struct pc_address *remote,
                           uint16_t channel);

/* Where a packet that pc_transport_protect() is to protect is written: behind the room of its
 * channel header. */
uint8_t *pc_transport_room(const struct pc_transport *transport, uint8_t *out);

/* Protect one RTP packet whose header is in the room of `out`, its payload in `pieces` (as
 * pc_srtp_protect()). `index` must never have been used with its SSRC. Returns its bytes on the
 * wire from `out` on, 0 when the cipher failed. */
size_t pc_transport_protect(struct pc_transport *transport, uint8_t *out, uint64_t index,
                            size_t header_bytes, const struct pc_piece *pieces, int piece_count);

/* May something be sent now? False while the kernel's buffer is full, or sending failed a moment
 * ago. */
bool pc_transport_ready(struct pc_transport *transport, uint64_t now_ns);

/* Hand datagrams of `segment` bytes to the kernel, and count. What cannot be sent is lost like any
 * other packet, and the peer is left alone for a moment. */
void pc_transport_send(struct pc_transport *transport, const uint8_t *data, size_t size,
                       size_t segment, uint64_t now_ns, struct pc_hub_stats *hub);

/* Protect the `size` bytes of RTCP in the room of `out` and send them. A negative size: nothing. */
void pc_transport_send_rtcp(struct pc_transport *transport, uint8_t *out, long size,
                            uint64_t now_ns, struct pc_hub_stats *hub);

#endif
