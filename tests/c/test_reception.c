#include "reception.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>

#include "clock.h"
#include "encoded_units.h"
#include "hub.h"
#include "packetize.h"

enum { WIDTH = 320, HEIGHT = 180, KEY_BYTES = 28, PAYLOAD_TYPE = 96, SSRC = 77 };

static const struct pc_address loopback = {.family = 4, .ip = {127, 0, 0, 1}};
static const uint8_t keys[2][KEY_BYTES] = {{1, 2, 3}, {4, 5, 6}}; /* to the hub, from it */
static const struct pc_receive_settings usual = {.codec = PC_H264,
                                                 .payload_type = PAYLOAD_TYPE,
                                                 .nack = true,
                                                 .transport_feedback = true,
                                                 .decode = true,
                                                 .decode_threads = 1,
                                                 .cname = "test"};
static struct pc_reception_stats stats;

/* A hub with a peer, and what sends to it: a socket that is none of a hub's. */
struct pair {
    struct pc_hub *hub;
    int peer;
    struct pc_udp socket;
    struct pc_endpoint to;
    struct pc_srtp *outbound, *inbound;
    struct pc_h264_packetizer packetizer;
    struct pc_au_pool *pool;
    uint64_t index;
    uint32_t timestamp;
};

static void open_pair(struct pair *pair)
{
    struct pc_hub_settings settings = {.bind = &loopback, .bind_count = 1};
    struct pc_address address;
    memset(pair, 0, sizeof *pair);
    CHECK_EQ(pc_hub_open(&settings, &pair->hub), 0);
    CHECK_EQ(pc_hub_local_address(pair->hub, 0, &address), 0);
    CHECK_EQ(pc_udp_open(&pair->socket, &loopback, true, 0), 0);
    pc_endpoint_from(&pair->to, &address);
    pair->peer = pc_peer_open(pair->hub);
    CHECK_EQ(pc_peer_set_path(pair->hub, pair->peer, 0, &pair->socket.local, 0), 0);
    CHECK_EQ(pc_peer_set_keys(pair->hub, pair->peer, PC_SRTP_AEAD_AES_128_GCM, keys[1], keys[0],
                              KEY_BYTES),
             0);
    pc_srtp_create(PC_SRTP_AEAD_AES_128_GCM, keys[0], KEY_BYTES, &pair->outbound);
    pc_srtp_create(PC_SRTP_AEAD_AES_128_GCM, keys[1], KEY_BYTES, &pair->inbound);
    pair->pool = pc_au_pool_create(2);
    pair->index = 1000;
}

static void close_pair(struct pair *pair)
{
    pc_hub_close(pair->hub);
    pc_udp_close(&pair->socket);
    pc_srtp_destroy(pair->outbound);
    pc_srtp_destroy(pair->inbound);
    pc_au_pool_release(pair->pool);
}

static struct pc_reception *receive(struct pair *pair, const struct pc_receive_settings *settings)
{
    struct pc_reception *reception = NULL;
    CHECK_EQ(pc_peer_receive(pair->hub, pair->peer, settings, &reception), 0);
    return reception;
}

static void send_packet(struct pair *pair, const uint8_t *payload, size_t size, bool marker)
{
    uint8_t packet[1500];
    const struct pc_rtp_fields fields = {.marker = marker,
                                         .payload_type = PAYLOAD_TYPE,
                                         .sequence = (uint16_t)pair->index,
                                         .timestamp = pair->timestamp,
                                         .ssrc = SSRC};
    const struct pc_rtp_extensions none = {0};
    const struct pc_piece piece = {.data = payload, .size = size};
    size_t header = pc_rtp_write(packet, &fields, &none, false);
    long bytes = pc_srtp_protect(pair->outbound, pair->index++, packet, header, &piece, 1);
    CHECK(bytes > 0);
    CHECK_EQ(pc_udp_send(&pair->socket, &pair->to, packet, (size_t)bytes, (size_t)bytes), 1);
}

/* `unit` is in Annex B, with start codes of four bytes. */
static void send_unit(struct pair *pair, const struct encoded_unit *unit)
{
    static const uint8_t start_code[4] = {0, 0, 0, 1};
    struct pc_access_unit *au = pc_au_acquire(pair->pool);
    for (size_t at = 4; at < unit->size;) {
        size_t end = at;
        while (end < unit->size &&
               (end + 4 > unit->size || memcmp(unit->data + end, start_code, 4) != 0))
            end++;
        CHECK(pc_packetize_h264(&pair->packetizer, au, unit->data + at, end - at,
                                end == unit->size) >= 0);
        at = end + 4;
    }
    pair->timestamp += 1500;
    for (uint32_t i = 0; i < au->count; i++)
        send_packet(pair, au->payloads[i].data, au->payloads[i].size, i + 1 == au->count);
    pc_au_unref(au);
}

static void make_and_send(struct pair *pair, struct unit_maker *maker, bool idr)
{
    struct encoded_unit unit = unit_maker_next(maker, idr);
    send_unit(pair, &unit);
    free(unit.data);
}

/* The next picture, waited for. */
static int read_picture(struct pc_reception *reception, struct pc_received_picture *picture)
{
    uint8_t pixels[WIDTH * HEIGHT * 3 / 2];
    struct pollfd wait = {.fd = pc_reception_fd(reception), .events = POLLIN};
    int got;
    while ((got = pc_reception_read_picture(reception, picture, pixels, sizeof pixels)) == 0)
        if (poll(&wait, 1, 10000) != 1)
            return -ETIMEDOUT;
    return got;
}

struct heard {
    int plis, byes;
};

static void on_pli(void *context, uint32_t media_ssrc)
{
    struct heard *heard = context;
    CHECK_EQ(media_ssrc, SSRC);
    heard->plis++;
}

static void on_bye(void *context, uint32_t ssrc)
{
    struct heard *heard = context;
    (void)ssrc;
    heard->byes++;
}

/* Read what the hub sends until that many PLIs and BYEs came. */
static void hear(struct pair *pair, struct heard *heard, int plis, int byes)
{
    static struct pc_udp_inbox inbox;
    const struct pc_rtcp_handler handler = {.context = heard, .pli = on_pli, .bye = on_bye};
    while (heard->plis < plis || heard->byes < byes) {
        struct pollfd wait = {.fd = pair->socket.fd, .events = POLLIN};
        CHECK_EQ(poll(&wait, 1, 10000), 1);
        int count = pc_udp_receive(&pair->socket, &inbox);
        if (count <= 0)
            return;
        for (int i = 0; i < count; i++) {
            long size = pc_srtp_unprotect_rtcp(pair->inbound, inbox.data[i], inbox.sizes[i]);
            CHECK(size > 0);
            CHECK(pc_rtcp_parse(inbox.data[i], (size_t)size, &handler) > 0);
        }
    }
}

static void packets_become_pictures(void)
{
    struct pair pair;
    struct unit_maker maker;
    struct pc_received_picture picture;
    open_pair(&pair);
    unit_maker_open(&maker, PC_H264, WIDTH, HEIGHT);
    struct pc_reception *reception = receive(&pair, &usual);
    for (uint64_t i = 0; i < 5; i++) {
        make_and_send(&pair, &maker, i == 0);
        CHECK_EQ(read_picture(reception, &picture), 1);
        CHECK_EQ(picture.frame.id, i);
        CHECK_EQ(picture.frame.idr, i == 0);
        CHECK_EQ(picture.frame.rtp_time, pair.timestamp);
        CHECK_EQ(picture.width, WIDTH);
    }
    CHECK_EQ(pc_reception_get_stats(reception, &stats), 0);
    CHECK_EQ(stats.pictures, 5);
    CHECK_EQ(stats.receiver.packets, pair.index - 1000);
    CHECK_EQ(stats.receiver.units, 5);
    CHECK_EQ(stats.receiver.lost, 0);
    pc_reception_close(reception);
    struct heard heard = {0};
    hear(&pair, &heard, 0, 1);
    CHECK_EQ(heard.plis, 0);
    unit_maker_close(&maker);
    close_pair(&pair);
}

/* What the network brought whole, and the decoder cannot use. */
static void what_does_not_decode_is_asked_for_anew(void)
{
    struct pair pair;
    struct unit_maker maker;
    struct pc_received_picture picture;
    struct heard heard = {0};
    static const uint8_t junk[60] = {0x41, 0xff, 0xff, 0xff};
    open_pair(&pair);
    unit_maker_open(&maker, PC_H264, WIDTH, HEIGHT);
    struct pc_reception *reception = receive(&pair, &usual);
    make_and_send(&pair, &maker, true);
    CHECK_EQ(read_picture(reception, &picture), 1);
    pair.timestamp += 1500;
    send_packet(&pair, junk, sizeof junk, true);
    hear(&pair, &heard, 1, 0);
    make_and_send(&pair, &maker, true);
    CHECK_EQ(read_picture(reception, &picture), 1);
    CHECK(picture.frame.idr);
    pc_reception_get_stats(reception, &stats);
    CHECK_EQ(stats.decode_errors, 1);
    CHECK_EQ(stats.receiver.plis, 1);
    pc_reception_close(reception);
    unit_maker_close(&maker);
    close_pair(&pair);
}

static void an_idr_is_asked_for_on_demand(void)
{
    struct pair pair;
    struct unit_maker maker;
    struct pc_received_picture picture;
    struct heard heard = {0};
    open_pair(&pair);
    unit_maker_open(&maker, PC_H264, WIDTH, HEIGHT);
    struct pc_reception *reception = receive(&pair, &usual);
    make_and_send(&pair, &maker, true);
    CHECK_EQ(read_picture(reception, &picture), 1);
    pc_reception_request_idr(reception);
    hear(&pair, &heard, 1, 0);
    pc_reception_close(reception);
    unit_maker_close(&maker);
    close_pair(&pair);
}

static void it_may_end_before_its_peer_and_after(void)
{
    struct pair pair;
    struct pc_received_picture picture;
    uint8_t nothing[1];
    open_pair(&pair);
    struct pc_reception *first = receive(&pair, &usual), *second = NULL;
    CHECK_EQ(pc_peer_receive(pair.hub, pair.peer, &usual, &second), -EBUSY);
    CHECK(second == NULL);
    pc_reception_close(first);
    second = receive(&pair, &usual);
    CHECK_EQ(pc_reception_read_picture(second, &picture, nothing, 0), 0);
    CHECK_EQ(pc_peer_close(pair.hub, pair.peer), 0);
    CHECK_EQ(pc_reception_read_picture(second, &picture, nothing, 0), -EPIPE);
    CHECK_EQ(pc_peer_receive(pair.hub, pair.peer, &usual, &first), -ENOENT);
    pair.peer = pc_peer_open(pair.hub);
    first = receive(&pair, &usual);
    close_pair(&pair);
    CHECK_EQ(pc_reception_read_picture(first, &picture, nothing, 0), -EPIPE);
    pc_reception_request_idr(first);
    pc_reception_close(first);
    pc_reception_close(second);
    pc_reception_close(NULL);
}

static void settings_out_of_range_are_refused(void)
{
    struct pair pair;
    struct pc_reception *reception = NULL;
    open_pair(&pair);
    struct pc_receive_settings wrong[7];
    for (int i = 0; i < 7; i++)
        wrong[i] = usual;
    wrong[0].codec = (enum pc_codec_id)5;
    wrong[1].payload_type = 128;
    wrong[2].fec_payload_type = PAYLOAD_TYPE;
    wrong[3].jitter_target_ms = 2001;
    wrong[4].patience_ms = -1;
    wrong[5].picture_depth = PC_PLAYOUT_PICTURES + 1;
    wrong[6].decode_threads = -1;
    for (int i = 0; i < 7; i++)
        CHECK_EQ(pc_peer_receive(pair.hub, pair.peer, &wrong[i], &reception), -EINVAL);
    CHECK(reception == NULL);
    close_pair(&pair);
}

/* ---- Everything at the same time ---- */

struct reader {
    struct pc_reception *reception;
    pthread_t thread;
    atomic_bool stop;
    int pictures;
};

static void *read_all(void *context)
{
    struct reader *reader = context;
    static uint8_t pixels[WIDTH * HEIGHT * 3 / 2], unit[1 << 20];
    struct pc_received_picture picture;
    struct pc_received_frame frame;
    struct pc_reception_stats seen;
    struct pollfd wait = {.fd = pc_reception_fd(reader->reception), .events = POLLIN};
    while (!atomic_load(&reader->stop)) {
        poll(&wait, 1, 5);
        if (pc_reception_read_picture(reader->reception, &picture, pixels, sizeof pixels) == 1)
            reader->pictures++;
        pc_reception_read_unit(reader->reception, &frame, unit, sizeof unit);
        pc_reception_get_stats(reader->reception, &seen);
        pc_reception_frames(reader->reception, 0, &frame, 1);
        pc_reception_request_idr(reader->reception);
        pc_reception_set_jitter_target(reader->reception, reader->pictures % 3);
    }
    return NULL;
}

static void readers_and_ends_meet_in_any_order(void)
{
    struct pair pair;
    struct unit_maker maker;
    struct pc_receive_settings settings = usual;
    settings.keep_units = true;
    open_pair(&pair);
    unit_maker_open(&maker, PC_H264, WIDTH, HEIGHT);
    int pictures = 0;
    for (int round = 0; round < 12; round++) {
        struct reader reader = {.reception = receive(&pair, &settings)};
        CHECK_EQ(pthread_create(&reader.thread, NULL, read_all, &reader), 0);
        for (int i = 0; i < 20; i++)
            make_and_send(&pair, &maker, i % 5 == 0);
        if (round % 3 == 1) { /* the peer goes first */
            pc_peer_close(pair.hub, pair.peer);
            pair.peer = pc_peer_open(pair.hub);
            pc_peer_set_path(pair.hub, pair.peer, 0, &pair.socket.local, 0);
            pc_peer_set_keys(pair.hub, pair.peer, PC_SRTP_AEAD_AES_128_GCM, keys[1], keys[0],
                             KEY_BYTES);
        }
        atomic_store(&reader.stop, true);
        pthread_join(reader.thread, NULL);
        pictures += reader.pictures;
        if (round % 3 == 2) /* while packets come */
            make_and_send(&pair, &maker, true);
        pc_reception_close(reader.reception);
    }
    CHECK(pictures > 0);
    unit_maker_close(&maker);
    close_pair(&pair);
}

int main(void)
{
    RUN(packets_become_pictures);
    RUN(what_does_not_decode_is_asked_for_anew);
    RUN(an_idr_is_asked_for_on_demand);
    RUN(it_may_end_before_its_peer_and_after);
    RUN(settings_out_of_range_are_refused);
    RUN(readers_and_ends_meet_in_any_order);
    return HARNESS_RESULT();
}
