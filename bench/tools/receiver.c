/* An honest receiver without a screen: UDP with GRO, SRTP, RTP, H.264, and the code in the decoded
 * picture's pixels. It answers nothing: no RTCP, no retransmission.
 *
 * [--port N] [--profile 7] --key HEX [--threads 2] [--cpu N]; prints "port N" first, "first" with
 * the first decoded picture, and when stopped one JSON object whose "frames" are rows of
 * [number, drawn us, first packet ns, complete ns, decoded ns, bytes]. */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "clock.h"
#include "core.h"
#include "decode.h"
#include "depacketize.h"
#include "rtp.h"
#include "tool.h"

#ifndef UDP_GRO
#define UDP_GRO 104
#endif
#define SOCKET_BYTES (16 << 20)
#define IN_FLIGHT    64 /* access units that the decoder may hold */
#define POLL_MS      50

struct row {
    uint32_t number;
    uint64_t drawn_us, first_ns, complete_ns, decoded_ns;
    size_t bytes;
};

struct receiver {
    int fd;
    struct pc_srtp *srtp;
    struct pc_decoder *decoder;

    struct pc_h264_depacketizer depacketizer;
    struct pc_unit_buffer unit; /* the access unit being gathered, Annex B */
    bool broken;                /* … of which something is missing, or malformed */
    uint64_t first_ns;
    uint32_t timestamp;
    uint16_t sequence;
    bool started, gathering;

    struct row in_flight[IN_FLIGHT];
    int64_t units; /* handed to the decoder */
    struct row *rows;
    size_t row_count, row_room;
    uint64_t packets, lost, duplicates, refused, unreadable;
};

static void open_socket(struct receiver *receiver, long port)
{
    int on = 1, bytes = SOCKET_BYTES;
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons((uint16_t)port),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof address;

    receiver->fd = socket(AF_INET, SOCK_DGRAM, 0);
    setsockopt(receiver->fd, IPPROTO_UDP, UDP_GRO, &on, sizeof on);
    if (setsockopt(receiver->fd, SOL_SOCKET, SO_RCVBUFFORCE, &bytes, sizeof bytes) < 0)
        setsockopt(receiver->fd, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof bytes);
    if (bind(receiver->fd, (struct sockaddr *)&address, sizeof address) < 0 ||
        getsockname(receiver->fd, (struct sockaddr *)&address, &length) < 0)
        tool_fail("port", strerror(errno));
    printf("port %d\n", ntohs(address.sin_port));
    fflush(stdout);
}

static void open_srtp(struct receiver *receiver, long profile, const char *hex)
{
    uint8_t key[64];
    size_t bytes = strlen(hex) / 2;

    for (size_t i = 0; i < bytes && i < sizeof key; i++) {
        unsigned value;
        if (sscanf(hex + 2 * i, "%2x", &value) != 1)
            tool_fail("key", "takes hexadecimal digits");
        key[i] = (uint8_t)value;
    }
    if (pc_srtp_create((enum pc_srtp_profile)profile, key, bytes, &receiver->srtp) < 0)
        tool_fail("key", pc_error_text());
}

static void open_decoder(struct receiver *receiver, int threads)
{
    if (pc_decoder_open(PC_H264, threads, &receiver->decoder) < 0)
        tool_fail("decoder", pc_error_text());
}

static void keep_row(struct receiver *receiver, const struct row *row)
{
    if (receiver->row_count == receiver->row_room) {
        receiver->row_room = receiver->row_room ? 2 * receiver->row_room : 4096;
        receiver->rows = realloc(receiver->rows, receiver->row_room * sizeof *row);
        if (!receiver->rows)
            tool_fail("memory", "there is not enough");
    }
    receiver->rows[receiver->row_count++] = *row;
    if (receiver->row_count == 1) {
        printf("first\n");
        fflush(stdout);
    }
}

static void take_pictures(struct receiver *receiver)
{
    struct pc_decoded picture;
    int got;
    while ((got = pc_decoder_next(receiver->decoder, &picture)) != 0) {
        struct row row;
        if (got != 1) {
            receiver->unreadable++;
            continue;
        }
        row = receiver->in_flight[picture.tag % IN_FLIGHT];
        row.decoded_ns = pc_now_ns();
        if (pc_pattern_read(picture.planes[0], picture.width, picture.height, picture.strides[0], 1,
                            &row.number, &row.drawn_us) == 1)
            keep_row(receiver, &row);
        else
            receiver->unreadable++;
        pc_decoded_release(&picture);
    }
}

static void decode_unit(struct receiver *receiver, uint64_t now_ns)
{
    static const uint8_t padding[PC_DECODE_PADDING];
    struct pc_unit_buffer *unit = &receiver->unit;
    size_t bytes = unit->size;
    bool whole = !receiver->broken && pc_depacketize_h264_end(&receiver->depacketizer) == 0;
    receiver->in_flight[receiver->units % IN_FLIGHT] =
        (struct row){.first_ns = receiver->first_ns, .complete_ns = now_ns, .bytes = bytes};
    if (whole && pc_unit_append(unit, padding, sizeof padding) < 0)
        tool_fail("memory", "there is not enough");
    if (!whole || pc_decoder_decode(receiver->decoder, unit->data, bytes, receiver->units++) < 0)
        receiver->unreadable++;
    if (whole)
        take_pictures(receiver);
    receiver->depacketizer = (struct pc_h264_depacketizer){0};
    receiver->broken = receiver->gathering = false;
    unit->size = 0;
}

static bool is_rtcp(const uint8_t *data) /* RFC 5761 4 */
{
    return data[1] >= 192 && data[1] <= 223;
}

static void receive_packet(struct receiver *receiver, uint8_t *data, size_t size, uint64_t now_ns)
{
    struct pc_rtp_packet packet;
    if (size < PC_RTP_HEADER_BYTES || is_rtcp(data))
        return;
    long plain = pc_srtp_unprotect(receiver->srtp, data, size);
    if (plain == -EALREADY) {
        receiver->duplicates++;
        return;
    }
    if (plain < 0 || pc_rtp_parse(data, (size_t)plain, &packet) < 0 || packet.payload_bytes == 0) {
        receiver->refused++;
        return;
    }
    receiver->packets++;
    uint16_t step = (uint16_t)(packet.sequence - receiver->sequence);
    if (receiver->started && (step == 0 || step >= 0x8000)) {
        receiver->duplicates++;
        return;
    }
    bool missing = receiver->started && step != 1;
    if (missing)
        receiver->lost += step - 1u;
    if (receiver->gathering && packet.timestamp != receiver->timestamp)
        decode_unit(receiver, now_ns); /* its marker was lost */
    if (!receiver->gathering)
        receiver->first_ns = now_ns;
    receiver->started = receiver->gathering = true;
    receiver->sequence = packet.sequence;
    receiver->timestamp = packet.timestamp;
    receiver->broken = receiver->broken || missing ||
                       pc_depacketize_h264(&receiver->depacketizer, &receiver->unit, packet.payload,
                                           packet.payload_bytes) < 0;
    if (packet.marker)
        decode_unit(receiver, now_ns);
}

static size_t segment_bytes(struct msghdr *message, size_t size)
{
    int segment = 0;
    for (struct cmsghdr *c = CMSG_FIRSTHDR(message); c; c = CMSG_NXTHDR(message, c))
        if (c->cmsg_level == IPPROTO_UDP && c->cmsg_type == UDP_GRO)
            memcpy(&segment, CMSG_DATA(c), sizeof segment);
    return segment > 0 ? (size_t)segment : size;
}

static void receive_all(struct receiver *receiver)
{
    static uint8_t data[1 << 16];
    for (;;) {
        char control[CMSG_SPACE(sizeof(int))];
        struct iovec piece = {data, sizeof data};
        struct msghdr message = {.msg_iov = &piece,
                                 .msg_iovlen = 1,
                                 .msg_control = control,
                                 .msg_controllen = sizeof control};
        ssize_t got = recvmsg(receiver->fd, &message, MSG_DONTWAIT);
        if (got <= 0)
            return;
        uint64_t now_ns = pc_now_ns();
        size_t size = (size_t)got, segment = segment_bytes(&message, size);
        for (size_t at = 0; at < size; at += segment)
            receive_packet(receiver, data + at, size - at < segment ? size - at : segment, now_ns);
    }
}

static void print_result(const struct receiver *receiver)
{
    printf("{\"packets\": %llu, \"lost\": %llu, \"duplicates\": %llu, \"refused\": %llu, "
           "\"unreadable\": %llu, \"cpu_s\": %.4f, \"frames\": [",
           (unsigned long long)receiver->packets, (unsigned long long)receiver->lost,
           (unsigned long long)receiver->duplicates, (unsigned long long)receiver->refused,
           (unsigned long long)receiver->unreadable, tool_cpu_s());
    for (size_t i = 0; i < receiver->row_count; i++) {
        const struct row *row = &receiver->rows[i];
        printf("%s[%u, %llu, %llu, %llu, %llu, %zu]", i ? ", " : "", row->number,
               (unsigned long long)row->drawn_us, (unsigned long long)row->first_ns,
               (unsigned long long)row->complete_ns, (unsigned long long)row->decoded_ns,
               row->bytes);
    }
    printf("]}\n");
}

int main(int argc, char **argv)
{
    tool_begin(argc, argv);
    struct receiver receiver = {0};
    const char *key = tool_option(argc, argv, "key");
    if (!key)
        tool_fail("receiver", "takes --key");
    open_srtp(&receiver, tool_number(argc, argv, "profile", PC_SRTP_AEAD_AES_128_GCM), key);
    open_decoder(&receiver, (int)tool_number(argc, argv, "threads", 2));
    open_socket(&receiver, tool_number(argc, argv, "port", 0));

    while (!tool_stopped) {
        struct pollfd readable = {.fd = receiver.fd, .events = POLLIN};
        if (poll(&readable, 1, POLL_MS) > 0)
            receive_all(&receiver);
    }
    print_result(&receiver);
    return 0;
}
