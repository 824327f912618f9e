/* UDP sockets that send many equal datagrams in one call and receive many in one call. */
#ifndef PC_UDP_H
#define PC_UDP_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#include "core.h"

#define PC_UDP_MAX_SEGMENTS 64    /* the kernel's UDP_MAX_SEGMENTS */
#define PC_UDP_MAX_BATCH    65000 /* bytes of one send, under the 16-bit IP length */
#define PC_UDP_DATAGRAM     2048  /* the largest datagram that is received whole */
#define PC_UDP_RECEIVE      32    /* datagrams of one receive call */

struct pc_endpoint { /* an address as the kernel takes it */
    struct sockaddr_storage address;
    socklen_t length;
    bool unsegmented; /* the kernel refused UDP_SEGMENT on the way there (a small MTU, IPsec) */
};

struct pc_udp {
    int fd;
    bool gso; /* UDP_SEGMENT is wanted, and known to the kernel */
    struct pc_address local;

    /* Instead of the kernel, where datagrams go to when it is set (virtual time): all are taken. */
    void (*sink)(void *context, const uint8_t *data, size_t size, size_t segment);
    void *sink_context;

    /* What the kernel's full buffer has not taken yet. It goes out first, as it is: protecting a
     * packet anew under the same index would use an AEAD nonce twice. */
    struct pc_endpoint held_to;
    size_t held_bytes, held_segment; /* 0 bytes: nothing is held */
    uint8_t held[PC_UDP_MAX_BATCH];
};

/* 0, or -EINVAL when the family is neither 4 nor 6. */
int pc_endpoint_from(struct pc_endpoint *endpoint, const struct pc_address *address);
void pc_endpoint_to(const struct pc_endpoint *endpoint, struct pc_address *address);

/* Bind a non-blocking socket to `address`. `udp->fd` is -1 on failure. Negative errno as bind(2).
 */
int pc_udp_open(struct pc_udp *udp, const struct pc_address *address, bool gso, int dscp);
void pc_udp_close(struct pc_udp *udp);

/* Try to send what is held. False while the kernel's buffer is full: nothing more can be sent now.
 */
bool pc_udp_flush(struct pc_udp *udp);

/* Send `size` bytes as datagrams of `segment` bytes each, the last one possibly shorter, at most
 * PC_UDP_MAX_SEGMENTS: by UDP_SEGMENT in one call, or by sendmmsg(2). Returns how many datagrams
 * were taken: all of them, by the kernel or held here. -EAGAIN when something was held already
 * (ask pc_udp_flush() before), other negative errno as sendmsg(2): nothing was taken. */
int pc_udp_send(struct pc_udp *udp, struct pc_endpoint *to, const uint8_t *data, size_t size,
                size_t segment);

/* Where datagrams are received to. */
struct pc_udp_inbox {
    int count;
    size_t sizes[PC_UDP_RECEIVE]; /* 0 for a datagram that was longer than PC_UDP_DATAGRAM */
    struct pc_endpoint from[PC_UDP_RECEIVE];
    uint8_t data[PC_UDP_RECEIVE][PC_UDP_DATAGRAM];
};

/* Receive what is there, without blocking. Returns the count (0 = nothing), or a negative errno. */
int pc_udp_receive(struct pc_udp *udp, struct pc_udp_inbox *inbox);

#endif
