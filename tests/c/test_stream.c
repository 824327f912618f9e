#include "stream.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "clock.h"
#include "harness.h"
#include "hub.h"

/* A source whose news the test makes: it draws, resizes and loses the display on command. */
struct fake {
    struct pc_source base;
    int fd;
    atomic_int width, height;
    atomic_bool changed, lost, closed;
    atomic_int grabs;
    uint8_t pixels[640 * 360 * 4];
};

static int fake_fd(struct pc_source *source)
{
    return ((struct fake *)source)->fd;
}

static int fake_poll(struct pc_source *source, uint64_t now_ns, uint64_t *damage_ns)
{
    struct fake *fake = (struct fake *)source;
    eventfd_t drained;
    eventfd_read(fake->fd, &drained);
    *damage_ns = now_ns;
    return atomic_load(&fake->lost) ? -ENOTCONN : atomic_load(&fake->changed);
}

static int fake_grab(struct pc_source *source, uint64_t now_ns, struct pc_source_frame *out)
{
    (void)now_ns;
    struct fake *fake = (struct fake *)source;
    if (atomic_load(&fake->lost))
        return -ENOTCONN;
    int serial = atomic_fetch_add(&fake->grabs, 1) + 1;
    memset(out, 0, sizeof *out);
    out->width = atomic_load(&fake->width);
    out->height = atomic_load(&fake->height);
    out->pixels = fake->pixels;
    out->stride = (size_t)out->width * 4;
    out->serial = (uint64_t)serial;
    if (atomic_exchange(&fake->changed, false) || serial == 1) {
        memset(fake->pixels, serial * 11, sizeof fake->pixels / 2);
        out->rect_count = 1;
        out->rects[0] = (struct pc_rect){0, 0, out->width, out->height};
    }
    return 0;
}

static void fake_close(struct pc_source *source)
{
    struct fake *fake = (struct fake *)source;
    close(fake->fd);
    atomic_store(&fake->closed, true);
}

static const struct pc_source_ops fake_ops = {
    .name = "fake", .fd = fake_fd, .poll = fake_poll, .grab = fake_grab, .close = fake_close};

static struct fake fake;

static struct pc_source *new_fake(void)
{
    memset(&fake, 0, sizeof fake);
    fake.base = (struct pc_source){.ops = &fake_ops, .width = 320, .height = 180};
    fake.fd = eventfd(0, EFD_NONBLOCK);
    atomic_store(&fake.width, 320);
    atomic_store(&fake.height, 180);
    return &fake.base;
}

static void draw(void)
{
    atomic_store(&fake.changed, true);
    eventfd_write(fake.fd, 1);
}

static struct pc_stream_settings settings(void)
{
    return (struct pc_stream_settings){.fps = 100,
                                       .keepalive_fps = 1,
                                       .bitrate = 2000000,
                                       .threads = 2,
                                       .idr_interval_ms = 1,
                                       .budget_frames = 1.25};
}

static uint8_t bytes[2000000];

/* The next access unit of a tap, waiting for it. */
static int next_frame(struct pc_tap *tap, struct pc_tap_frame *frame, int timeout_ms)
{
    for (;;) {
        int got = pc_tap_read(tap, frame, bytes, sizeof bytes);
        if (got != 0)
            return got;
        struct pollfd wait = {.fd = pc_tap_fd(tap), .events = POLLIN};
        if (poll(&wait, 1, timeout_ms) <= 0)
            return 0;
    }
}

static bool is_idr(void)
{
    /* Parameter sets come first. */
    return bytes[0] == 0 && bytes[3] == 1 && (bytes[4] & 0x1f) == 7;
}

static void settings_that_make_no_sense_are_refused(void)
{
    struct pc_stream *stream;
    struct pc_stream_settings wrong = settings();
    wrong.fps = 0;
    CHECK_EQ(pc_stream_open(NULL, new_fake(), &wrong, &stream), -EINVAL);
    CHECK(strstr(pc_error_text(), "fps") != NULL);
    wrong = settings();
    wrong.bitrate = 1;
    CHECK_EQ(pc_stream_open(NULL, &fake.base, &wrong, &stream), -EINVAL);
    CHECK(strstr(pc_error_text(), "bitrate") != NULL);
    CHECK(!atomic_load(&fake.closed)); /* still the caller's */
    fake_close(&fake.base);
}

static void nothing_is_captured_while_nobody_receives(void)
{
    struct pc_stream *stream;
    struct pc_stream_settings wanted = settings();
    CHECK_EQ(pc_stream_open(NULL, new_fake(), &wanted, &stream), 0);
    draw();
    struct pc_tap *tap;
    struct pc_tap_frame frame;
    CHECK_EQ(atomic_load(&fake.grabs), 0);
    CHECK_EQ(pc_tap_open(stream, PC_H264, 4, &tap), 0);
    CHECK_EQ(next_frame(tap, &frame, 5000), 1);
    CHECK(frame.idr && is_idr());
    pc_tap_close(tap);
    pc_stream_close(stream);
    CHECK(atomic_load(&fake.closed));
}

static void a_change_is_encoded_at_once_and_stillness_costs_nothing(void)
{
    struct pc_stream *stream;
    struct pc_stream_settings wanted = settings();
    struct pc_tap *tap;
    struct pc_tap_frame frame;
    CHECK_EQ(pc_stream_open(NULL, new_fake(), &wanted, &stream), 0);
    CHECK_EQ(pc_tap_open(stream, PC_H264, 16, &tap), 0);
    CHECK_EQ(next_frame(tap, &frame, 5000), 1);
    uint64_t last = frame.id;
    for (int i = 0; i < 20; i++) {
        uint64_t drawn = pc_now_ns();
        draw();
        do {
            CHECK_EQ(next_frame(tap, &frame, 5000), 1);
        } while (frame.capture_ns < drawn); /* a keep-alive may lie between */
        CHECK(frame.id > last);
        CHECK(!frame.idr);
        CHECK(frame.rtp_time != 0);
        last = frame.id;
    }
    /* Now nothing changes: at most the keep-alive of one frame a second. */
    int grabs = atomic_load(&fake.grabs);
    CHECK(next_frame(tap, &frame, 300) <= 1);
    CHECK(atomic_load(&fake.grabs) - grabs <= 1);
    /* … which does come. */
    CHECK_EQ(next_frame(tap, &frame, 5000), 1);
    pc_tap_close(tap);
    pc_stream_close(stream);
}

static void the_frame_rate_has_a_cap(void)
{
    struct pc_stream *stream;
    struct pc_stream_settings wanted = settings();
    struct pc_tap *tap;
    struct pc_tap_frame frame;
    uint64_t first = 0, last = 0;
    wanted.fps = 50;
    CHECK_EQ(pc_stream_open(NULL, new_fake(), &wanted, &stream), 0);
    CHECK_EQ(pc_tap_open(stream, PC_H264, 16, &tap), 0);
    for (int i = 0; i < 21; i++) {
        draw(); /* always something new */
        CHECK_EQ(next_frame(tap, &frame, 5000), 1);
        draw();
        if (i == 0)
            first = frame.capture_ns;
        last = frame.capture_ns;
    }
    /* 20 intervals of 20 ms, shorter by 1/32; one may be made up for. */
    CHECK(last - first >= 375 * PC_NS_PER_MS);
    pc_tap_close(tap);
    pc_stream_close(stream);
}

static void an_idr_comes_when_wished_for_and_not_too_often(void)
{
    struct pc_stream *stream;
    struct pc_stream_settings wanted = settings();
    struct pc_tap *tap;
    struct pc_tap_frame frame;
    wanted.idr_interval_ms = 400;
    CHECK_EQ(pc_stream_open(NULL, new_fake(), &wanted, &stream), 0);
    CHECK_EQ(pc_tap_open(stream, PC_H264, 64, &tap), 0);
    CHECK_EQ(next_frame(tap, &frame, 5000), 1);
    uint64_t first = frame.capture_ns;
    int idrs = 0;
    do { /* wishing all the time */
        pc_stream_request_idr(stream);
        draw();
        CHECK_EQ(next_frame(tap, &frame, 5000), 1);
        idrs += frame.idr;
    } while (frame.capture_ns - first < 1000 * PC_NS_PER_MS);
    CHECK(idrs >= 1 && idrs <= 2);
    pc_tap_close(tap);
    pc_stream_close(stream);
}

static void a_slow_tap_goes_on_at_an_idr(void)
{
    struct pc_stream *stream;
    struct pc_stream_settings wanted = settings();
    struct pc_tap *slow, *quick;
    struct pc_tap_frame frame;
    CHECK_EQ(pc_stream_open(NULL, new_fake(), &wanted, &stream), 0);
    CHECK_EQ(pc_tap_open(stream, PC_H264, 2, &slow), 0);
    CHECK_EQ(pc_tap_open(stream, PC_H264, 64, &quick), 0);
    CHECK_EQ(next_frame(quick, &frame, 5000), 1);
    for (int i = 0; i < 10; i++) {
        draw();
        CHECK_EQ(next_frame(quick, &frame, 5000), 1);
    }
    int got = 0;
    for (int i = 0; i < 20 && (got = pc_tap_read(slow, &frame, bytes, sizeof bytes)) != 1; i++) {
        draw();
        CHECK_EQ(next_frame(quick, &frame, 5000), 1);
    }
    CHECK_EQ(got, 1);
    CHECK(frame.idr && is_idr());
    for (uint64_t id = frame.id; pc_tap_read(slow, &frame, bytes, sizeof bytes) == 1; id++)
        CHECK_EQ(frame.id, id + 1);
    CHECK_EQ(pc_tap_read(slow, &frame, bytes, 10), 0);
    pc_tap_close(slow);
    pc_tap_close(quick);
    pc_stream_close(stream);
}

static void a_lost_display_and_a_new_size_are_said(void)
{
    const struct pc_address loopback = {.family = 4, .ip = {127, 0, 0, 1}};
    struct pc_hub_settings hub_settings = {.bind = &loopback, .bind_count = 1};
    struct pc_hub *hub;
    struct pc_stream *stream;
    struct pc_stream_settings wanted = settings();
    struct pc_tap *tap;
    struct pc_tap_frame frame;
    static struct pc_event event;
    CHECK_EQ(pc_hub_open(&hub_settings, &hub), 0);
    CHECK_EQ(pc_stream_open(hub, new_fake(), &wanted, &stream), 0);
    CHECK_EQ(pc_tap_open(stream, PC_H264, 16, &tap), 0);
    CHECK_EQ(next_frame(tap, &frame, 5000), 1);

    atomic_store(&fake.width, 640);
    atomic_store(&fake.height, 360);
    draw();
    do {
        CHECK_EQ(next_frame(tap, &frame, 5000), 1);
    } while (!frame.idr);
    CHECK(is_idr());
    struct pollfd wait = {.fd = pc_hub_event_fd(hub), .events = POLLIN};
    CHECK_EQ(poll(&wait, 1, 5000), 1);
    CHECK_EQ(pc_hub_next_event(hub, &event), 1);
    CHECK_EQ(event.kind, PC_EVENT_SOURCE_RESIZED);
    CHECK_EQ(event.id, pc_stream_id(stream));
    CHECK_EQ(event.a, 640);
    CHECK_EQ(event.b, 360);

    atomic_store(&fake.lost, true);
    draw();
    while (poll(&wait, 1, 5000) == 1 && pc_hub_next_event(hub, &event) == 0) {
    }
    CHECK_EQ(event.kind, PC_EVENT_SOURCE_LOST);
    pc_stream_close(stream);
    CHECK_EQ(pc_tap_read(tap, &frame, bytes, sizeof bytes), -EPIPE);
    pc_tap_close(tap);
    pc_hub_close(hub);
}

static void a_peer_receives_the_stream_and_its_end(void)
{
    const struct pc_address loopback = {.family = 4, .ip = {127, 0, 0, 1}};
    struct pc_hub_settings hub_settings = {.bind = &loopback, .bind_count = 1, .gso = true};
    struct pc_hub *hub;
    struct pc_stream *stream;
    struct pc_stream_settings wanted = settings();
    struct pc_udp there;
    static struct pc_udp_inbox inbox;
    uint8_t key[28] = {1, 2, 3};
    struct pc_srtp *srtp;
    CHECK_EQ(pc_hub_open(&hub_settings, &hub), 0);
    CHECK_EQ(pc_stream_open(hub, new_fake(), &wanted, &stream), 0);
    CHECK_EQ(pc_udp_open(&there, &loopback, true, 0), 0);
    CHECK_EQ(pc_srtp_create(PC_SRTP_AEAD_AES_128_GCM, key, 28, &srtp), 0);
    int peer = pc_peer_open(hub);
    CHECK_EQ(pc_peer_set_path(hub, peer, 0, &there.local, 0), 0);
    CHECK_EQ(pc_peer_set_keys(hub, peer, PC_SRTP_AEAD_AES_128_GCM, key, key, 28), 0);
    struct pc_media_settings media = {
        .codec = PC_H264, .payload_type = 96, .ssrc = 1, .mid = "0", .cname = "host"};
    CHECK_EQ(pc_peer_send(hub, peer, stream, &media), 0);

    int frames = 0;
    bool bye = false;
    uint16_t sequence = 0;
    bool started = false, closing = false;
    while (!bye) {
        struct pollfd wait = {.fd = there.fd, .events = POLLIN};
        if (poll(&wait, 1, 5000) != 1)
            break;
        int count = pc_udp_receive(&there, &inbox);
        for (int i = 0; i < count; i++) {
            if (inbox.data[i][1] >= 200 && inbox.data[i][1] <= 206) {
                long size = pc_srtp_unprotect_rtcp(srtp, inbox.data[i], inbox.sizes[i]);
                CHECK(size > 0);
                for (long at = 0; at + 4 <= size;
                     at += ((inbox.data[i][at + 2] << 8 | inbox.data[i][at + 3]) + 1) * 4)
                    bye = bye || inbox.data[i][at + 1] == 203;
                continue;
            }
            long size = pc_srtp_unprotect(srtp, inbox.data[i], inbox.sizes[i]);
            struct pc_rtp_packet rtp;
            CHECK(size > 0 && pc_rtp_parse(inbox.data[i], (size_t)size, &rtp) == 0);
            CHECK(!started || rtp.sequence == (uint16_t)(sequence + 1));
            started = true;
            sequence = rtp.sequence;
            if (rtp.marker) {
                frames++;
                draw();
            }
        }
        if (frames >= 20 && !closing) {
            closing = true;
            pc_stream_close(stream);
        }
    }
    CHECK(bye);
    CHECK(frames >= 20);
    struct pc_peer_stats stats;
    CHECK_EQ(pc_peer_get_stats(hub, peer, &stats), 0);
    CHECK_EQ(stats.frames_dropped, 0);
    CHECK_EQ(pc_peer_close(hub, peer), 0);
    pc_srtp_destroy(srtp);
    pc_udp_close(&there);
    pc_hub_close(hub);
}

/* A path that takes about ten frame intervals for a frame: each slot of them is accounted for. */
static void slots_given_up_for_a_slow_path_are_counted(void)
{
    const struct pc_address loopback = {.family = 4, .ip = {127, 0, 0, 1}};
    const struct pc_hub_settings hub_settings = {.bind = &loopback, .bind_count = 1};
    const struct pc_pattern_settings pattern = {.width = 640, .height = 360, .motion = 1};
    const struct pc_stream_settings wanted = settings();
    const uint64_t interval = PC_NS_PER_S / (uint64_t)wanted.fps;
    struct pc_media_settings media = {.codec = PC_H264,
                                      .payload_type = 96,
                                      .ssrc = 1,
                                      .mid = "0",
                                      .cname = "host",
                                      .controller = PC_CONTROLLER_FIXED,
                                      .pacing_factor = 0.1};
    uint8_t key[28] = {1, 2, 3};
    struct pc_hub *hub;
    struct pc_source *source;
    struct pc_stream *stream;
    struct pc_udp there;
    static struct pc_frame_times frames[64];
    CHECK_EQ(pc_hub_open(&hub_settings, &hub), 0);
    CHECK_EQ(pc_source_open_pattern(&pattern, &source), 0);
    CHECK_EQ(pc_stream_open(hub, source, &wanted, &stream), 0);
    CHECK_EQ(pc_udp_open(&there, &loopback, true, 0), 0);
    int peer = pc_peer_open(hub);
    CHECK_EQ(pc_peer_set_path(hub, peer, 0, &there.local, 0), 0);
    CHECK_EQ(pc_peer_set_keys(hub, peer, PC_SRTP_AEAD_AES_128_GCM, key, key, 28), 0);
    CHECK_EQ(pc_peer_send(hub, peer, stream, &media), 0);

    struct pc_stream_stats stats = {0};
    uint64_t deadline = pc_now_ns() + 20 * PC_NS_PER_S;
    while (stats.captured < 20 && pc_now_ns() < deadline) {
        struct pollfd wait = {.fd = there.fd, .events = POLLIN};
        static struct pc_udp_inbox inbox;
        if (poll(&wait, 1, 1000) == 1)
            pc_udp_receive(&there, &inbox);
        CHECK_EQ(pc_stream_get_stats(stream, &stats), 0);
    }
    int count = pc_stream_frames(stream, 0, frames, 64);
    CHECK(count >= 20);
    uint64_t first = frames[0].at[PC_STAGE_CAPTURE_START];
    uint64_t last = frames[count - 1].at[PC_STAGE_CAPTURE_START];
    uint64_t slots = (last - first) / interval;
    uint64_t counted = (uint64_t)count - 1 + stats.skipped + stats.late;
    CHECK(stats.skipped > slots / 2);
    CHECK(counted > slots * 3 / 4 && counted < slots * 5 / 4);

    pc_stream_close(stream);
    CHECK_EQ(pc_peer_close(hub, peer), 0);
    pc_udp_close(&there);
    pc_hub_close(hub);
}

static void *close_tap(void *tap)
{
    pc_tap_close(tap);
    return NULL;
}

static void a_tap_and_its_stream_may_end_at_the_same_time(void)
{
    for (int i = 0; i < 20; i++) {
        struct pc_stream *stream;
        struct pc_stream_settings wanted = settings();
        struct pc_tap *tap;
        pthread_t thread;
        CHECK_EQ(pc_stream_open(NULL, new_fake(), &wanted, &stream), 0);
        CHECK_EQ(pc_tap_open(stream, PC_H264, 16, &tap), 0);
        CHECK_EQ(pthread_create(&thread, NULL, close_tap, tap), 0);
        pc_stream_close(stream);
        pthread_join(thread, NULL);
    }
}

/* VP8's only viewer is on a path that takes nothing: H.264 goes on. */
static void a_stuck_codec_holds_up_no_other(void)
{
    const struct pc_address loopback = {.family = 4, .ip = {127, 0, 0, 1}};
    struct pc_hub_settings hub_settings = {.bind = &loopback, .bind_count = 1};
    struct pc_hub *hub;
    struct pc_stream *stream;
    struct pc_stream_settings wanted = settings();
    struct pc_tap *tap;
    struct pc_tap_frame frame;
    CHECK_EQ(pc_hub_open(&hub_settings, &hub), 0);
    CHECK_EQ(pc_stream_open(hub, new_fake(), &wanted, &stream), 0);
    /* A receiver that never says that it has sent anything. */
    struct pc_rendition *vp8 = pc_stream_rendition(stream, PC_VP8);
    pc_hub_detach_feed(hub, &vp8->feed);
    pc_feed_add_receiver(&vp8->feed);
    CHECK_EQ(pc_tap_open(stream, PC_H264, 64, &tap), 0);
    CHECK_EQ(next_frame(tap, &frame, 5000), 1);
    uint64_t first = frame.capture_ns;
    int frames = 0;
    do {
        draw();
        CHECK_EQ(next_frame(tap, &frame, 5000), 1);
        frames++;
    } while (frame.capture_ns - first < 1000 * PC_NS_PER_MS && frames < 1000);
    struct pc_stream_stats stats;
    CHECK_EQ(pc_stream_get_stats(stream, &stats), 0);
    CHECK(stats.encoded[PC_VP8] >= 1 && stats.encoded[PC_VP8] <= 8); /* one in 200 ms */
    CHECK(stats.encoded[PC_H264] >= 20);

    /* What VP8 missed it gets as soon as its path is free, with no further change: well before the
     * keep-alive after a second. */
    CHECK(atomic_load(&vp8->feed.blocked));
    uint64_t before = stats.encoded[PC_VP8];
    do { /* until it was given one in spite of all; the next it does not get for 200 ms */
        draw();
        CHECK_EQ(next_frame(tap, &frame, 5000), 1);
        CHECK_EQ(pc_stream_get_stats(stream, &stats), 0);
    } while (stats.encoded[PC_VP8] == before);
    before = stats.encoded[PC_VP8];
    draw();
    CHECK_EQ(next_frame(tap, &frame, 5000), 1);
    uint64_t last = frame.capture_ns;
    pc_feed_drain(&vp8->feed, UINT64_MAX - 1);
    do {
        CHECK_EQ(pc_stream_get_stats(stream, &stats), 0);
    } while (stats.encoded[PC_VP8] == before && pc_now_ns() - last < 5 * PC_NS_PER_S);
    CHECK(pc_now_ns() - last < 900 * PC_NS_PER_MS);
    pc_feed_remove_receiver(&vp8->feed);
    pc_tap_close(tap);
    pc_stream_close(stream);
    pc_hub_close(hub);
}

int main(void)
{
    RUN(settings_that_make_no_sense_are_refused);
    RUN(nothing_is_captured_while_nobody_receives);
    RUN(a_change_is_encoded_at_once_and_stillness_costs_nothing);
    RUN(the_frame_rate_has_a_cap);
    RUN(an_idr_comes_when_wished_for_and_not_too_often);
    RUN(a_slow_tap_goes_on_at_an_idr);
    RUN(a_lost_display_and_a_new_size_are_said);
    RUN(a_peer_receives_the_stream_and_its_end);
    RUN(slots_given_up_for_a_slow_path_are_counted);
    RUN(a_tap_and_its_stream_may_end_at_the_same_time);
    RUN(a_stuck_codec_holds_up_no_other);
    return HARNESS_RESULT();
}
