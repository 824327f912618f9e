/* The emulated link as a UDP relay on loopback: what comes to --listen goes on to --to, and back.
 * Each client has a socket of its own towards --to; all of them share the link.
 *
 * --listen [ADDRESS:]PORT (0: any) --to ADDRESS:PORT [--cpu N], and the options of front.h. Prints
 * "port N" first, and what the links did when it is stopped. */
#include <arpa/inet.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "clock.h"
#include "front.h"
#include "tool.h"

#define CLIENTS      32
#define BUFFER_BYTES (8 << 20)
#define OVERHEAD     28 /* IPv4, UDP */

struct client {
    struct sockaddr_in address;
    int fd; /* towards --to */
};

struct relay {
    struct front front;
    int listener;
    struct sockaddr_in to;
    struct client clients[CLIENTS];
    int client_count;
    uint64_t refused; /* clients beyond the table */
    struct pollfd fds[2 + CLIENTS];
};

static struct sockaddr_in address_option(int argc, char **argv, const char *name)
{
    const char *text = tool_option(argc, argv, name), *colon = text ? strrchr(text, ':') : NULL;
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    char host[64] = "";
    if (text == NULL)
        tool_fail(name, "is missing: [ADDRESS:]PORT");
    if (colon != NULL && (size_t)(colon - text) < sizeof host)
        memcpy(host, text, (size_t)(colon - text));
    char *end;
    long port = strtol(colon != NULL ? colon + 1 : text, &end, 10);
    if (*end != '\0' || port < 0 || port > 65535 ||
        (colon != NULL && inet_pton(AF_INET, host, &address.sin_addr) != 1))
        tool_fail(name, "takes [ADDRESS:]PORT, the address in numbers");
    address.sin_port = htons((uint16_t)port);
    return address;
}

static int open_socket(void)
{
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), bytes = BUFFER_BYTES;
    if (fd < 0)
        tool_fail("socket", strerror(errno));
    if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &bytes, sizeof bytes) < 0)
        setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof bytes);
    return fd;
}

/* The index of the client at `from`, -1 when there are too many. */
static int client_of(struct relay *relay, const struct sockaddr_in *from)
{
    for (int i = 0; i < relay->client_count; i++)
        if (relay->clients[i].address.sin_port == from->sin_port &&
            relay->clients[i].address.sin_addr.s_addr == from->sin_addr.s_addr)
            return i;
    if (relay->client_count == CLIENTS) {
        relay->refused++;
        return -1;
    }
    struct client *client = &relay->clients[relay->client_count];
    *client = (struct client){*from, open_socket()};
    if (connect(client->fd, (struct sockaddr *)&relay->to, sizeof relay->to) < 0)
        tool_fail("to", strerror(errno));
    relay->fds[2 + relay->client_count] = (struct pollfd){.fd = client->fd, .events = POLLIN};
    return relay->client_count++;
}

static void take(struct relay *relay, int fd, int way, int client)
{
    static uint8_t data[FRONT_PACKET];
    for (int i = 0; i < FRONT_BATCH; i++) {
        struct sockaddr_in from;
        socklen_t length = sizeof from;
        ssize_t size = recvfrom(fd, data, sizeof data, 0, (struct sockaddr *)&from, &length);
        if (size < 0)
            return; /* nothing more; or the other end is not there, which UDP does not mind */
        int of = way == 0 ? client_of(relay, &from) : client;
        if (of >= 0)
            pc_link_send(relay->front.links[way], pc_now_ns(), (uint64_t)of, data, (size_t)size);
    }
}

static void deliver(struct relay *relay, int way)
{
    struct pc_link_packet packet;
    while (pc_link_receive(relay->front.links[way], pc_now_ns(), &packet)) {
        const struct client *client = &relay->clients[packet.id];
        if (way == 0)
            send(client->fd, packet.data, packet.size, 0);
        else
            sendto(relay->listener, packet.data, packet.size, 0,
                   (const struct sockaddr *)&client->address, sizeof client->address);
        front_count(&relay->front, way, 0, &packet, packet.size + OVERHEAD);
    }
}

int main(int argc, char **argv)
{
    static struct relay relay;
    static const char *const kinds[FRONT_KINDS] = {"udp"};
    tool_begin(argc, argv);
    front_begin(&relay.front, argc, argv, OVERHEAD, kinds);
    relay.to = address_option(argc, argv, "to");
    struct sockaddr_in listen_at = address_option(argc, argv, "listen");
    socklen_t length = sizeof listen_at;
    relay.listener = open_socket();
    if (bind(relay.listener, (struct sockaddr *)&listen_at, sizeof listen_at) < 0 ||
        getsockname(relay.listener, (struct sockaddr *)&listen_at, &length) < 0)
        tool_fail("listen", strerror(errno));
    relay.fds[1] = (struct pollfd){.fd = relay.listener, .events = POLLIN};
    printf("port %d\n", ntohs(listen_at.sin_port));
    fflush(stdout);

    while (!tool_stopped) {
        front_wait(&relay.front, relay.fds, 2 + (nfds_t)relay.client_count);
        if (relay.fds[1].revents != 0)
            take(&relay, relay.listener, 0, -1);
        for (int i = 0; i < relay.client_count; i++)
            if (relay.fds[2 + i].revents != 0)
                take(&relay, relay.clients[i].fd, 1, i);
        deliver(&relay, 0);
        deliver(&relay, 1);
        front_obey(&relay.front, relay.fds);
    }
    front_end(&relay.front);
    return 0;
}
