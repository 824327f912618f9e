/* The emulated link between two network namespaces: a TUN device in each, this program between
 * them, and peers that know nothing of it. Needs root.
 *
 *   namespace a, 10.77.0.1 ── link ─▶ forward ─▶ back ◀─ link ── 10.77.0.2, namespace b
 *
 * Both namespaces live as long as this program or a process in them does; nothing is left behind,
 * however it ends. [--mtu 1500] [--cpu N], and the options of front.h. Prints "ready A B" first:
 * what `nsenter --net=` takes; and what the links did when it is stopped. */
#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "clock.h"
#include "front.h"
#include "tool.h"

#define DEVICE  "link0"
#define QUEUE   5000 /* packets between the kernel and us: we are never to drop there */
#define NETMASK "255.255.255.252"
#define NO_IPV6 "/proc/sys/net/ipv6/conf/all/disable_ipv6"

enum { KIND_UDP, KIND_TCP, KIND_OTHER };

static const char *const addresses[2] = {"10.77.0.1", "10.77.0.2"};

static void request(int fd, unsigned long what, const char *name, struct ifreq *interface)
{
    snprintf(interface->ifr_name, sizeof interface->ifr_name, "%s", name);
    if (ioctl(fd, what, interface) < 0)
        tool_fail(name, strerror(errno));
}

static void set_address(int fd, unsigned long what, const char *text)
{
    struct ifreq interface = {0};
    struct sockaddr_in address = {.sin_family = AF_INET};
    inet_pton(AF_INET, text, &address.sin_addr);
    memcpy(&interface.ifr_addr, &address, sizeof address);
    request(fd, what, DEVICE, &interface);
}

static void bring_up(int fd, const char *name)
{
    struct ifreq interface = {0};
    request(fd, SIOCGIFFLAGS, name, &interface);
    interface.ifr_flags |= IFF_UP | IFF_RUNNING;
    request(fd, SIOCSIFFLAGS, name, &interface);
}

/* Kernels without IPv6 have nothing to switch off. */
static void switch_off_ipv6(void)
{
    int fd = open(NO_IPV6, O_WRONLY | O_CLOEXEC);
    if (fd < 0)
        return;
    if (write(fd, "1", 1) != 1)
        tool_fail(NO_IPV6, strerror(errno));
    close(fd);
}

/* Move into a new network namespace with a device in it. Returns the device; `*space` holds the
 * namespace. */
static int open_side(int side, int mtu, int *space)
{
    struct ifreq interface = {0};
    if (unshare(CLONE_NEWNET) < 0)
        tool_fail("network namespaces", errno == EPERM ? "need root" : strerror(errno));
    *space = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
    int device = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (*space < 0 || device < 0 || fd < 0)
        tool_fail("/dev/net/tun", strerror(errno));
    interface.ifr_flags = IFF_TUN | IFF_NO_PI;
    request(device, TUNSETIFF, DEVICE, &interface);
    switch_off_ipv6();
    interface = (struct ifreq){.ifr_mtu = mtu};
    request(fd, SIOCSIFMTU, DEVICE, &interface);
    interface = (struct ifreq){.ifr_qlen = QUEUE};
    request(fd, SIOCSIFTXQLEN, DEVICE, &interface);
    set_address(fd, SIOCSIFADDR, addresses[side]);
    set_address(fd, SIOCSIFNETMASK, NETMASK);
    bring_up(fd, DEVICE);
    bring_up(fd, "lo");
    close(fd);
    return device;
}

static int kind_of(const struct pc_link_packet *packet)
{
    if (packet->size < 20)
        return KIND_OTHER;
    uint8_t protocol = packet->data[9];
    return protocol == IPPROTO_UDP ? KIND_UDP : protocol == IPPROTO_TCP ? KIND_TCP : KIND_OTHER;
}

static void take(struct front *front, int device, int way)
{
    static uint8_t data[FRONT_PACKET];
    for (int i = 0; i < FRONT_BATCH; i++) {
        ssize_t size = read(device, data, sizeof data);
        if (size <= 0)
            return;
        pc_link_send(front->links[way], pc_now_ns(), 0, data, (size_t)size);
    }
}

static void deliver(struct front *front, int device, int way)
{
    struct pc_link_packet packet;
    while (pc_link_receive(front->links[way], pc_now_ns(), &packet)) {
        if (write(device, packet.data, packet.size) < 0 && errno != EAGAIN && errno != EIO)
            tool_fail(DEVICE, strerror(errno));
        front_count(front, way, kind_of(&packet), &packet, packet.size);
    }
}

int main(int argc, char **argv)
{
    static struct front front;
    static const char *const kinds[FRONT_KINDS] = {"udp", "tcp", "other"};
    int devices[2], spaces[2], mtu = (int)tool_number(argc, argv, "mtu", 1500);
    tool_begin(argc, argv);
    if (mtu < 576 || mtu > 9000)
        tool_fail("mtu", "takes 576 to 9000");
    front_begin(&front, argc, argv, 0, kinds);
    for (int side = 0; side < 2; side++)
        devices[side] = open_side(side, mtu, &spaces[side]);
    printf("ready /proc/%d/fd/%d /proc/%d/fd/%d\n", (int)getpid(), spaces[0], (int)getpid(),
           spaces[1]);
    fflush(stdout);

    struct pollfd fds[3] = {
        [1] = {.fd = devices[0], .events = POLLIN}, [2] = {.fd = devices[1], .events = POLLIN}};
    while (!tool_stopped) {
        front_wait(&front, fds, 3);
        for (int side = 0; side < 2; side++) {
            if (fds[1 + side].revents != 0)
                take(&front, devices[side], side);
            deliver(&front, devices[1 - side], side);
        }
        front_obey(&front, fds);
    }
    front_end(&front);
    return 0;
}
