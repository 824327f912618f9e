/* Takes whatever arrives on one UDP port of every loopback address, and throws it away in the
 * kernel: the cheapest receiver there can be, so that a benchmark measures the sender.
 *
 * [--port N] [--cpu N]; prints "port N" first, and what arrived when it is stopped. */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <sys/socket.h>
#include <unistd.h>

#include "clock.h"
#include "tool.h"

#ifndef UDP_GRO
#define UDP_GRO 104
#endif
#define BATCH        64
#define BUFFER_BYTES (256 << 20)
#define REST_NS      2000000 /* what arrives meanwhile fits the socket's buffer many times */

static int open_socket(long port)
{
    int fd = socket(AF_INET, SOCK_DGRAM, 0), on = 1, bytes = BUFFER_BYTES;
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    socklen_t length = sizeof address;

    setsockopt(fd, IPPROTO_UDP, UDP_GRO, &on, sizeof on);
    if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &bytes, sizeof bytes) < 0)
        setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof bytes);
    if (bind(fd, (struct sockaddr *)&address, sizeof address) < 0 ||
        getsockname(fd, (struct sockaddr *)&address, &length) < 0)
        tool_fail("port", strerror(errno));
    printf("port %d\n", ntohs(address.sin_port));
    fflush(stdout);
    return fd;
}

/* Datagrams in what the kernel handed over as one. */
static uint64_t datagrams(struct mmsghdr *message)
{
    int segment = 0;
    for (struct cmsghdr *c = CMSG_FIRSTHDR(&message->msg_hdr); c;
         c = CMSG_NXTHDR(&message->msg_hdr, c))
        if (c->cmsg_level == IPPROTO_UDP && c->cmsg_type == UDP_GRO)
            memcpy(&segment, CMSG_DATA(c), sizeof segment);
    return segment > 0 ? (message->msg_len + (unsigned)segment - 1) / (unsigned)segment : 1;
}

int main(int argc, char **argv)
{
    tool_begin(argc, argv);
    int fd = open_socket(tool_number(argc, argv, "port", 0));
    uint64_t packets = 0, bytes = 0, calls = 0;
    uint8_t byte;
    struct iovec piece = {&byte, 1};
    static struct mmsghdr messages[BATCH];
    static char control[BATCH][CMSG_SPACE(sizeof(int))];

    for (;;) {
        for (int i = 0; i < BATCH; i++)
            messages[i].msg_hdr = (struct msghdr){.msg_iov = &piece,
                                                  .msg_iovlen = 1,
                                                  .msg_control = control[i],
                                                  .msg_controllen = sizeof control[i]};
        int count = recvmmsg(fd, messages, BATCH, MSG_DONTWAIT | MSG_TRUNC, NULL);
        calls++;
        for (int i = 0; i < count; i++) {
            packets += datagrams(&messages[i]);
            bytes += messages[i].msg_len;
        }
        if (count == BATCH)
            continue;
        if (tool_stopped)
            break;
        tool_sleep_until(pc_now_ns() + REST_NS);
    }
    printf("{\"packets\": %llu, \"bytes\": %llu, \"calls\": %llu, \"cpu_s\": %.4f}\n",
           (unsigned long long)packets, (unsigned long long)bytes, (unsigned long long)calls,
           tool_cpu_s());
    return 0;
}
