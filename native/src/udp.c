#include "udp.h"

#include <assert.h>
#include <errno.h>
#include <netinet/ip.h>
#include <netinet/udp.h>
#include <string.h>
#include <unistd.h>

#ifndef UDP_SEGMENT
#define UDP_SEGMENT 103
#endif

#define SOCKET_BUFFER (4 * 1024 * 1024)

int pc_endpoint_from(struct pc_endpoint *endpoint, const struct pc_address *address)
{
    memset(endpoint, 0, sizeof *endpoint);
    if (address->family == 4) {
        struct sockaddr_in *in = (struct sockaddr_in *)&endpoint->address;
        in->sin_family = AF_INET;
        in->sin_port = htons(address->port);
        memcpy(&in->sin_addr, address->ip, 4);
        endpoint->length = sizeof *in;
        return 0;
    }
    if (address->family == 6) {
        struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)&endpoint->address;
        in6->sin6_family = AF_INET6;
        in6->sin6_port = htons(address->port);
        memcpy(&in6->sin6_addr, address->ip, 16);
        in6->sin6_scope_id = address->scope;
        endpoint->length = sizeof *in6;
        return 0;
    }
    return -EINVAL;
}

void pc_endpoint_to(const struct pc_endpoint *endpoint, struct pc_address *address)
{
    memset(address, 0, sizeof *address);
    if (endpoint->address.ss_family == AF_INET) {
        const struct sockaddr_in *in = (const struct sockaddr_in *)&endpoint->address;
        address->family = 4;
        address->port = ntohs(in->sin_port);
        memcpy(address->ip, &in->sin_addr, 4);
    } else if (endpoint->address.ss_family == AF_INET6) {
        const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)&endpoint->address;
        address->family = 6;
        address->port = ntohs(in6->sin6_port);
        memcpy(address->ip, &in6->sin6_addr, 16);
        address->scope = in6->sin6_scope_id;
    }
}

int pc_udp_open(struct pc_udp *udp, const struct pc_address *address, bool gso, int dscp)
{
    struct pc_endpoint endpoint;
    udp->fd = -1;
    if (pc_endpoint_from(&endpoint, address) < 0)
        return -EINVAL;
    int fd = socket(endpoint.address.ss_family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;

    /* Larger buffers and DSCP marks are wishes: a kernel that refuses them still works. */
    int bytes = SOCKET_BUFFER, tos = dscp << 2, on = 1;
    setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &bytes, sizeof bytes);
    setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof bytes);
    if (address->family == 6) {
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on);
        setsockopt(fd, IPPROTO_IPV6, IPV6_TCLASS, &tos, sizeof tos);
    } else {
        setsockopt(fd, IPPROTO_IP, IP_TOS, &tos, sizeof tos);
    }

    struct pc_endpoint bound = {.length = sizeof bound.address};
    if (bind(fd, (struct sockaddr *)&endpoint.address, endpoint.length) < 0 ||
        getsockname(fd, (struct sockaddr *)&bound.address, &bound.length) < 0) {
        int error = -errno;
        close(fd);
        return error;
    }
    int unset = 0; /* a kernel that knows the option (4.18) takes it */
    udp->fd = fd;
    udp->sink = NULL;
    udp->gso = gso && setsockopt(fd, IPPROTO_UDP, UDP_SEGMENT, &unset, sizeof unset) == 0;
    udp->held_bytes = 0;
    pc_endpoint_to(&bound, &udp->local);
    return 0;
}

void pc_udp_close(struct pc_udp *udp)
{
    if (udp->fd >= 0)
        close(udp->fd);
    udp->fd = -1;
}

/* Whether the kernel's answer may mean that it cannot segment on this way, rather than that it
 * cannot send. */
static bool segmentation_refused(int error)
{
    return error == EIO || error == EINVAL || error == EMSGSIZE || error == EOPNOTSUPP;
}

static bool buffer_full(int error)
{
    return error == EAGAIN || error == EWOULDBLOCK || error == ENOBUFS;
}

static int send_segmented(struct pc_udp *udp, const struct pc_endpoint *to, const uint8_t *data,
                          size_t size, size_t segment)
{
    union {
        struct cmsghdr header;
        char room[CMSG_SPACE(sizeof(uint16_t))];
    } control = {0};
    struct iovec piece = {.iov_base = (void *)(uintptr_t)data, .iov_len = size};
    struct msghdr message = {
        .msg_name = (void *)(uintptr_t)&to->address,
        .msg_namelen = to->length,
        .msg_iov = &piece,
        .msg_iovlen = 1,
        .msg_control = control.room,
        .msg_controllen = sizeof control.room,
    };
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    uint16_t bytes = (uint16_t)segment;
    header->cmsg_level = IPPROTO_UDP;
    header->cmsg_type = UDP_SEGMENT;
    header->cmsg_len = CMSG_LEN(sizeof bytes);
    memcpy(CMSG_DATA(header), &bytes, sizeof bytes);
    if (sendmsg(udp->fd, &message, 0) < 0)
        return -errno;
    return (int)((size + segment - 1) / segment);
}

static int send_each(struct pc_udp *udp, const struct pc_endpoint *to, const uint8_t *data,
                     size_t size, size_t segment)
{
    struct mmsghdr messages[PC_UDP_MAX_SEGMENTS];
    struct iovec pieces[PC_UDP_MAX_SEGMENTS];
    unsigned count = 0;
    memset(messages, 0, sizeof messages);
    for (size_t offset = 0; offset < size; offset += segment, count++) {
        assert(count < PC_UDP_MAX_SEGMENTS);
        pieces[count].iov_base = (void *)(uintptr_t)(data + offset);
        pieces[count].iov_len = size - offset < segment ? size - offset : segment;
        messages[count].msg_hdr.msg_name = (void *)(uintptr_t)&to->address;
        messages[count].msg_hdr.msg_namelen = to->length;
        messages[count].msg_hdr.msg_iov = &pieces[count];
        messages[count].msg_hdr.msg_iovlen = 1;
    }
    int sent = sendmmsg(udp->fd, messages, count, 0);
    return sent < 0 ? -errno : sent;
}

/* Returns how many datagrams the kernel took, or a negative errno. */
static int send_now(struct pc_udp *udp, struct pc_endpoint *to, const uint8_t *data, size_t size,
                    size_t segment)
{
    if (udp->sink != NULL) {
        udp->sink(udp->sink_context, data, size, segment);
        return (int)((size + segment - 1) / segment);
    }
    if (size <= segment) {
        ssize_t sent =
            sendto(udp->fd, data, size, 0, (const struct sockaddr *)&to->address, to->length);
        return sent < 0 ? -errno : 1;
    }
    if (udp->gso && !to->unsegmented) {
        int sent = send_segmented(udp, to, data, size, segment);
        if (sent >= 0 || !segmentation_refused(-sent))
            return sent;
        to->unsegmented = true;
    }
    return send_each(udp, to, data, size, segment);
}

bool pc_udp_flush(struct pc_udp *udp)
{
    if (udp->held_bytes == 0)
        return true;
    int sent = send_now(udp, &udp->held_to, udp->held, udp->held_bytes, udp->held_segment);
    if (sent < 0 && buffer_full(-sent))
        return false;
    size_t gone = sent < 0 ? udp->held_bytes : (size_t)sent * udp->held_segment;
    if (gone >= udp->held_bytes) {
        udp->held_bytes = 0;
        return true;
    }
    udp->held_bytes -= gone;
    memmove(udp->held, udp->held + gone, udp->held_bytes);
    return false;
}

static void hold(struct pc_udp *udp, const struct pc_endpoint *to, const uint8_t *data, size_t size,
                 size_t segment)
{
    udp->held_to = *to;
    udp->held_bytes = size;
    udp->held_segment = segment;
    memcpy(udp->held, data, size);
}

int pc_udp_send(struct pc_udp *udp, struct pc_endpoint *to, const uint8_t *data, size_t size,
                size_t segment)
{
    assert(size > 0 && size <= PC_UDP_MAX_BATCH && segment > 0);
    if (!pc_udp_flush(udp))
        return -EAGAIN;
    int count = (int)((size + segment - 1) / segment);
    int sent = send_now(udp, to, data, size, segment);
    if (sent < 0 && !buffer_full(-sent))
        return sent;
    size_t gone = sent < 0 ? 0 : (size_t)sent * segment;
    if (gone < size)
        hold(udp, to, data + gone, size - gone, segment);
    return count;
}

int pc_udp_receive(struct pc_udp *udp, struct pc_udp_inbox *inbox)
{
    struct mmsghdr messages[PC_UDP_RECEIVE];
    struct iovec pieces[PC_UDP_RECEIVE];
    memset(messages, 0, sizeof messages);
    for (int i = 0; i < PC_UDP_RECEIVE; i++) {
        pieces[i].iov_base = inbox->data[i];
        pieces[i].iov_len = PC_UDP_DATAGRAM;
        messages[i].msg_hdr.msg_name = &inbox->from[i].address;
        messages[i].msg_hdr.msg_namelen = sizeof inbox->from[i].address;
        messages[i].msg_hdr.msg_iov = &pieces[i];
        messages[i].msg_hdr.msg_iovlen = 1;
    }
    inbox->count = 0;
    int count = recvmmsg(udp->fd, messages, PC_UDP_RECEIVE, MSG_DONTWAIT, NULL);
    if (count < 0)
        return errno == EAGAIN || errno == EWOULDBLOCK ? 0 : -errno;
    for (int i = 0; i < count; i++) {
        bool truncated = (messages[i].msg_hdr.msg_flags & MSG_TRUNC) != 0;
        inbox->sizes[i] = truncated ? 0 : messages[i].msg_len;
        inbox->from[i].length = messages[i].msg_hdr.msg_namelen;
    }
    inbox->count = count;
    return count;
}
