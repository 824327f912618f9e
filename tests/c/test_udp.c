#include "udp.h"

#include <dlfcn.h>
#include <errno.h>
#include <poll.h>
#include <unistd.h>

#include "harness.h"

/* The kernel's answers, made up when `refuse` is set: this program's sendmsg() and sendto() come
 * before the C library's. */
static int refuse;
static bool partly; /* sendmmsg() takes two and then no more */

ssize_t sendmsg(int fd, const struct msghdr *message, int flags)
{
    ssize_t (*real)(int, const struct msghdr *, int);
    *(void **)&real = dlsym(RTLD_NEXT, "sendmsg");
    if (refuse != 0 && message->msg_control != NULL) {
        errno = refuse;
        return -1;
    }
    return real(fd, message, flags);
}

ssize_t sendto(int fd, const void *data, size_t size, int flags, const struct sockaddr *to,
               socklen_t to_bytes)
{
    ssize_t (*real)(int, const void *, size_t, int, const struct sockaddr *, socklen_t);
    *(void **)&real = dlsym(RTLD_NEXT, "sendto");
    if (refuse != 0) {
        errno = refuse;
        return -1;
    }
    return real(fd, data, size, flags, to, to_bytes);
}

int sendmmsg(int fd, struct mmsghdr *messages, unsigned count, int flags)
{
    int (*real)(int, struct mmsghdr *, unsigned, int);
    *(void **)&real = dlsym(RTLD_NEXT, "sendmmsg");
    if (!partly)
        return real(fd, messages, count, flags);
    if (refuse != 0) {
        errno = refuse;
        return -1;
    }
    refuse = EAGAIN;
    return real(fd, messages, count < 2 ? count : 2, flags);
}

static const struct pc_address loopback4 = {.family = 4, .ip = {127, 0, 0, 1}};
static const struct pc_address loopback6 = {.family = 6, .ip = {[15] = 1}};
static struct pc_udp_inbox inbox;

static void wait_readable(int fd)
{
    struct pollfd wait = {.fd = fd, .events = POLLIN};
    CHECK_EQ(poll(&wait, 1, 5000), 1);
}

/* Send 7 datagrams of 1000 bytes and one of 10 in one call; they must arrive as they were. */
static void batch_arrives_whole(const struct pc_address *address, bool gso)
{
    struct pc_udp from, to;
    CHECK_EQ(pc_udp_open(&from, address, gso, 46), 0);
    CHECK_EQ(pc_udp_open(&to, address, gso, 0), 0);
    struct pc_endpoint endpoint;
    CHECK_EQ(pc_endpoint_from(&endpoint, &to.local), 0);
    uint8_t data[7010];
    for (size_t i = 0; i < sizeof data; i++)
        data[i] = (uint8_t)(i / 1000 + i % 251);
    CHECK_EQ(pc_udp_send(&from, &endpoint, data, sizeof data, 1000), 8);
    int received = 0;
    while (received < 8) {
        wait_readable(to.fd);
        CHECK(pc_udp_receive(&to, &inbox) > 0);
        for (int i = 0; i < inbox.count; i++, received++) {
            struct pc_address sender;
            pc_endpoint_to(&inbox.from[i], &sender);
            CHECK_EQ(sender.port, from.local.port);
            CHECK_EQ(inbox.sizes[i], received < 7 ? 1000 : 10);
            CHECK_BYTES(inbox.data[i], data + received * 1000, inbox.sizes[i]);
        }
        if (inbox.count == 0)
            break;
    }
    CHECK_EQ(received, 8);
    CHECK_EQ(pc_udp_receive(&to, &inbox), 0);
    pc_udp_close(&from);
    pc_udp_close(&to);
}

static void a_batch_arrives_by_segmentation(void)
{
    batch_arrives_whole(&loopback4, true);
}

static void a_batch_arrives_by_sendmmsg(void)
{
    batch_arrives_whole(&loopback4, false);
}

static void ipv6_works_alike(void)
{
    batch_arrives_whole(&loopback6, true);
}

static void a_kernel_that_refuses_segmentation_is_worked_around(void)
{
    struct pc_udp from, to;
    CHECK_EQ(pc_udp_open(&from, &loopback4, true, 0), 0);
    CHECK_EQ(pc_udp_open(&to, &loopback4, true, 0), 0);
    struct pc_endpoint endpoint;
    pc_endpoint_from(&endpoint, &to.local);
    /* UDP without checksums is what the kernel will not segment (EIO). */
    int on = 1;
    CHECK_EQ(setsockopt(from.fd, SOL_SOCKET, SO_NO_CHECK, &on, sizeof on), 0);
    uint8_t data[3000] = {0};
    CHECK_EQ(pc_udp_send(&from, &endpoint, data, sizeof data, 1000), 3);
    CHECK(endpoint.unsegmented);
    CHECK(from.gso); /* on other ways it may well segment */
    int received = 0;
    while (received < 3) {
        wait_readable(to.fd);
        int count = pc_udp_receive(&to, &inbox);
        CHECK(count > 0);
        if (count <= 0)
            break;
        received += count;
    }
    CHECK_EQ(received, 3);
    pc_udp_close(&from);
    pc_udp_close(&to);
}

static int receive_all(struct pc_udp *udp, uint8_t *first_bytes, int max)
{
    int received = 0;
    struct pollfd wait = {.fd = udp->fd, .events = POLLIN};
    while (poll(&wait, 1, 0) == 1 && pc_udp_receive(udp, &inbox) > 0)
        for (int i = 0; i < inbox.count && received < max; i++)
            first_bytes[received++] = inbox.data[i][0];
    return received;
}

static void what_is_taken_in_part_goes_on_where_it_stopped(void)
{
    struct pc_udp from, to;
    uint8_t batch[4500] = {0}, seen[16];
    for (int i = 0; i < 5; i++)
        batch[i * 1000] = (uint8_t)(i + 1);
    CHECK_EQ(pc_udp_open(&from, &loopback4, false, 0), 0);
    CHECK_EQ(pc_udp_open(&to, &loopback4, false, 0), 0);
    struct pc_endpoint endpoint;
    pc_endpoint_from(&endpoint, &to.local);
    partly = true;
    CHECK_EQ(pc_udp_send(&from, &endpoint, batch, sizeof batch, 1000), 5);
    refuse = 0;
    CHECK(!pc_udp_flush(&from)); /* two more */
    CHECK_EQ(receive_all(&to, seen, 16), 4);
    refuse = 0;
    CHECK(pc_udp_flush(&from));
    partly = false;
    CHECK_EQ(receive_all(&to, seen + 4, 12), 1);
    for (int i = 0; i < 5; i++)
        CHECK_EQ(seen[i], i + 1);
    CHECK_EQ(inbox.sizes[0], 500);
    pc_udp_close(&from);
    pc_udp_close(&to);
}

/* Loopback delivers before the sending call returns: there is nothing to wait for. */
static void a_full_buffer_delays_and_loses_nothing(void)
{
    struct pc_udp from, to;
    uint8_t batch[3000] = {0}, single[100] = {9}, seen[16];
    for (int i = 0; i < 3; i++)
        batch[i * 1000] = (uint8_t)(i + 1);
    CHECK_EQ(pc_udp_open(&from, &loopback4, true, 0), 0);
    CHECK_EQ(pc_udp_open(&to, &loopback4, true, 0), 0);
    struct pc_endpoint endpoint;
    pc_endpoint_from(&endpoint, &to.local);
    const int full[] = {EAGAIN, ENOBUFS};
    for (int i = 0; i < 2; i++) {
        refuse = full[i];
        CHECK_EQ(pc_udp_send(&from, &endpoint, batch, sizeof batch, 1000), 3);
        CHECK(!pc_udp_flush(&from));
        CHECK_EQ(pc_udp_send(&from, &endpoint, single, sizeof single, sizeof single), -EAGAIN);
        memset(batch, 0xaa, 10); /* what is held is a copy */
        refuse = 0;
        CHECK_EQ(pc_udp_send(&from, &endpoint, single, sizeof single, sizeof single), 1);
        CHECK_EQ(receive_all(&to, seen, 16), 4);
        CHECK(seen[0] == 1 && seen[1] == 2 && seen[2] == 3 && seen[3] == 9);
        CHECK(pc_udp_flush(&from));
        CHECK_EQ(receive_all(&to, seen, 16), 0);
        batch[0] = 1;
    }
    /* What can never be sent is not held for ever. */
    refuse = EAGAIN;
    CHECK_EQ(pc_udp_send(&from, &endpoint, single, sizeof single, sizeof single), 1);
    refuse = ENETUNREACH;
    CHECK(pc_udp_flush(&from));
    CHECK_EQ(pc_udp_send(&from, &endpoint, single, sizeof single, sizeof single), -ENETUNREACH);
    refuse = 0;
    CHECK(pc_udp_flush(&from));
    CHECK_EQ(receive_all(&to, seen, 16), 0);
    pc_udp_close(&from);
    pc_udp_close(&to);
}

static void one_way_without_segmentation_leaves_the_others_theirs(void)
{
    struct pc_udp from, to;
    uint8_t data[2000] = {0}, seen[4];
    CHECK_EQ(pc_udp_open(&from, &loopback4, true, 0), 0);
    CHECK_EQ(pc_udp_open(&to, &loopback4, true, 0), 0);
    struct pc_endpoint narrow, wide;
    pc_endpoint_from(&narrow, &to.local);
    pc_endpoint_from(&wide, &to.local);
    refuse = EINVAL; /* a segment is larger than the way's MTU */
    CHECK_EQ(pc_udp_send(&from, &narrow, data, sizeof data, 1000), 2);
    refuse = 0;
    CHECK_EQ(receive_all(&to, seen, 4), 2);
    CHECK(narrow.unsegmented && !wide.unsegmented && from.gso);
    pc_udp_close(&from);
    pc_udp_close(&to);
}

static void a_port_in_use_is_said(void)
{
    struct pc_udp first, second;
    CHECK_EQ(pc_udp_open(&first, &loopback4, true, 0), 0);
    CHECK_EQ(pc_udp_open(&second, &first.local, true, 0), -EADDRINUSE);
    CHECK_EQ(second.fd, -1);
    struct pc_address nonsense = {.family = 9};
    CHECK_EQ(pc_udp_open(&second, &nonsense, true, 0), -EINVAL);
    pc_udp_close(&first);
}

static void a_datagram_that_is_too_long_has_no_size(void)
{
    struct pc_udp from, to;
    CHECK_EQ(pc_udp_open(&from, &loopback4, true, 0), 0);
    CHECK_EQ(pc_udp_open(&to, &loopback4, true, 0), 0);
    struct pc_endpoint endpoint;
    pc_endpoint_from(&endpoint, &to.local);
    static uint8_t data[PC_UDP_DATAGRAM + 1];
    CHECK_EQ(pc_udp_send(&from, &endpoint, data, sizeof data, sizeof data), 1);
    wait_readable(to.fd);
    CHECK_EQ(pc_udp_receive(&to, &inbox), 1);
    CHECK_EQ(inbox.sizes[0], 0);
    pc_udp_close(&from);
    pc_udp_close(&to);
}

int main(void)
{
    RUN(a_batch_arrives_by_segmentation);
    RUN(a_batch_arrives_by_sendmmsg);
    RUN(ipv6_works_alike);
    RUN(a_kernel_that_refuses_segmentation_is_worked_around);
    RUN(a_full_buffer_delays_and_loses_nothing);
    RUN(what_is_taken_in_part_goes_on_where_it_stopped);
    RUN(one_way_without_segmentation_leaves_the_others_theirs);
    RUN(a_port_in_use_is_said);
    RUN(a_datagram_that_is_too_long_has_no_size);
    return HARNESS_RESULT();
}
