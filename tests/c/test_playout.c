#include "playout.h"

#include <errno.h>
#include <poll.h>
#include <semaphore.h>
#include <stdatomic.h>

#include "clock.h"
#include "encoded_units.h"

enum { WIDTH = 320, HEIGHT = 180, PICTURE_BYTES = WIDTH * HEIGHT * 3 / 2 };

static uint8_t pixels[1920 * 1080 * 3 / 2];
static struct pc_received_picture picture;
static struct pc_received_frame frame;
static atomic_int idrs_wanted;
static atomic_bool holding; /* the decoder's thread is held up when it wants an IDR */
static sem_t held, released;

static void want_idr(void *context)
{
    (void)context;
    atomic_fetch_add(&idrs_wanted, 1);
    if (!atomic_load(&holding))
        return;
    sem_post(&held);
    sem_wait(&released);
}

static struct pc_playout *open_playout(struct pc_receive_settings settings)
{
    struct pc_playout *playout = NULL;
    settings.decode_threads = 1;
    atomic_store(&idrs_wanted, 0);
    CHECK_EQ(pc_playout_open(&settings, want_idr, NULL, &playout), 0);
    return playout;
}

static bool offer(struct pc_playout *playout, const struct encoded_unit *unit, uint32_t rtp_time)
{
    uint64_t now_ns = pc_now_ns();
    struct pc_received_unit received = as_received(unit, rtp_time, now_ns);
    return pc_playout_offer(playout, &received, now_ns);
}

static bool make_and_offer(struct pc_playout *playout, struct unit_maker *maker, bool idr)
{
    struct encoded_unit unit = unit_maker_next(maker, idr);
    bool good = offer(playout, &unit, (uint32_t)maker->step);
    free(unit.data);
    return good;
}

/* The next picture, waited for. */
static int read_picture(struct pc_playout *playout)
{
    struct pollfd wait = {.fd = pc_playout_fd(playout), .events = POLLIN};
    int got;
    while ((got = pc_playout_read_picture(playout, &picture, pixels, sizeof pixels)) == 0)
        if (poll(&wait, 1, 10000) != 1)
            return -ETIMEDOUT;
    return got;
}

/* Wait until `count` frames are done with: the decoder has nothing left to do then. */
static struct pc_reception_stats stats_after(struct pc_playout *playout, uint64_t count)
{
    struct pc_reception_stats stats = {0};
    struct pollfd wait = {.fd = pc_playout_fd(playout), .events = POLLIN};
    uint64_t limit = pc_now_ns() + 10 * PC_NS_PER_S;
    while (pc_playout_frames(playout, count - 1, &frame, 1) == 0 && pc_now_ns() < limit)
        poll(&wait, 1, 1);
    CHECK_EQ(pc_playout_frames(playout, count - 1, &frame, 1), 1);
    pc_playout_get_stats(playout, &stats);
    return stats;
}

static void pictures_come_in_order_with_their_times(void)
{
    struct pc_playout *playout = open_playout((struct pc_receive_settings){.decode = true});
    struct unit_maker maker;
    unit_maker_open(&maker, PC_H264, WIDTH, HEIGHT);
    for (uint64_t i = 0; i < 5; i++) {
        CHECK(make_and_offer(playout, &maker, i == 0));
        CHECK_EQ(read_picture(playout), 1);
        CHECK_EQ(picture.frame.id, i);
        CHECK_EQ(picture.frame.rtp_time, i + 1);
        CHECK_EQ(picture.width, WIDTH);
        CHECK_EQ(picture.height, HEIGHT);
        CHECK_EQ(picture.bytes, PICTURE_BYTES);
        CHECK(picture.frame.decoded_ns > picture.frame.complete_ns);
        CHECK(!picture.frame.has_pattern);
        long error = 0;
        for (int x = 0; x < WIDTH; x++)
            error += labs((long)pixels[x] - maker.picture.plane[0][x]);
        CHECK(error / WIDTH < 10);
    }
    struct pc_reception_stats stats = stats_after(playout, 5);
    CHECK_EQ(stats.pictures, 5);
    CHECK_EQ(stats.pictures_passed_over, 0);
    CHECK_EQ(stats.width, WIDTH);
    CHECK_EQ(stats.height, HEIGHT);
    CHECK_EQ(frame.decoded_ns, picture.frame.decoded_ns);
    struct pollfd readable = {.fd = pc_playout_fd(playout), .events = POLLIN};
    CHECK_EQ(pc_playout_read_picture(playout, &picture, pixels, sizeof pixels), 0);
    CHECK_EQ(poll(&readable, 1, 0), 0);
    unit_maker_close(&maker);
    pc_playout_close(playout);
}

static void the_newest_pictures_win(void)
{
    struct pc_playout *playout =
        open_playout((struct pc_receive_settings){.decode = true, .picture_depth = 2});
    struct unit_maker maker;
    unit_maker_open(&maker, PC_H264, WIDTH, HEIGHT);
    for (int i = 0; i < 6; i++)
        make_and_offer(playout, &maker, i == 0);
    CHECK_EQ(stats_after(playout, 6).pictures_passed_over, 4);
    CHECK_EQ(read_picture(playout), 1);
    CHECK_EQ(picture.frame.id, 4);
    CHECK_EQ(read_picture(playout), 1);
    CHECK_EQ(picture.frame.id, 5);
    unit_maker_close(&maker);
    pc_playout_close(playout);
}

static void a_picture_that_does_not_fit_stays(void)
{
    struct pc_playout *playout = open_playout((struct pc_receive_settings){.decode = true});
    struct unit_maker maker;
    unit_maker_open(&maker, PC_H264, WIDTH, HEIGHT);
    make_and_offer(playout, &maker, true);
    stats_after(playout, 1);
    CHECK_EQ(pc_playout_read_picture(playout, &picture, pixels, PICTURE_BYTES - 1), -ENOSPC);
    CHECK_EQ(picture.bytes, PICTURE_BYTES);
    CHECK_EQ(pc_playout_read_picture(playout, &picture, pixels, PICTURE_BYTES), 1);
    unit_maker_close(&maker);
    pc_playout_close(playout);
}

static void nothing_is_decoded_before_an_idr(void)
{
    struct pc_playout *playout = open_playout((struct pc_receive_settings){.decode = true});
    struct unit_maker maker;
    unit_maker_open(&maker, PC_H264, WIDTH, HEIGHT);
    struct encoded_unit first = unit_maker_next(&maker, true);
    CHECK(!make_and_offer(playout, &maker, false));
    CHECK(make_and_offer(playout, &maker, true));
    struct pc_reception_stats stats = stats_after(playout, 2);
    CHECK_EQ(stats.units_useless, 1);
    CHECK_EQ(stats.pictures, 1);
    CHECK_EQ(pc_playout_frames(playout, 0, &frame, 1), 1);
    CHECK_EQ(frame.decoded_ns, 0);
    free(first.data);
    unit_maker_close(&maker);
    pc_playout_close(playout);
}

static const struct encoded_unit damaged = {
    .data = (uint8_t[100]){0, 0, 0, 1, 0x41, 0xff, 0xff, 0xff}, .size = 100};

/* What cannot be decoded costs what refers to it, and an IDR is asked for. */
static void a_damaged_unit_is_got_over_at_an_idr(void)
{
    struct pc_playout *playout = open_playout((struct pc_receive_settings){.decode = true});
    struct unit_maker maker;
    unit_maker_open(&maker, PC_H264, WIDTH, HEIGHT);
    CHECK(make_and_offer(playout, &maker, true));
    CHECK(offer(playout, &damaged, 0));
    struct pc_reception_stats stats = stats_after(playout, 2);
    CHECK_EQ(stats.decode_errors, 1);
    CHECK(!make_and_offer(playout, &maker, false));
    CHECK(make_and_offer(playout, &maker, true));
    CHECK(make_and_offer(playout, &maker, false));
    stats = stats_after(playout, 5);
    CHECK_EQ(atomic_load(&idrs_wanted), 1);
    CHECK_EQ(stats.pictures, 3);
    CHECK_EQ(stats.units_useless, 1);
    CHECK_EQ(stats.decode_errors, 1);
    unit_maker_close(&maker);
    pc_playout_close(playout);
}

/* A playout that has given out one picture, and whose decoder is held up. */
static struct pc_playout *open_held(struct unit_maker *maker)
{
    struct pc_playout *playout = open_playout((struct pc_receive_settings){.decode = true});
    unit_maker_open(maker, PC_H264, WIDTH, HEIGHT);
    sem_init(&held, 0, 0);
    sem_init(&released, 0, 0);
    atomic_store(&holding, true);
    CHECK(make_and_offer(playout, maker, true));
    CHECK(offer(playout, &damaged, 0));
    sem_wait(&held);
    return playout;
}

static void release_and_close(struct pc_playout *playout, struct unit_maker *maker)
{
    unit_maker_close(maker);
    pc_playout_close(playout);
    sem_destroy(&held);
    sem_destroy(&released);
}

static void release(void)
{
    atomic_store(&holding, false);
    sem_post(&released);
}

static bool offer_at(struct pc_playout *playout, struct unit_maker *maker, bool idr,
                     uint64_t now_ns)
{
    struct encoded_unit unit = unit_maker_next(maker, idr);
    struct pc_received_unit received = as_received(&unit, 0, now_ns);
    bool good = pc_playout_offer(playout, &received, now_ns);
    free(unit.data);
    return good;
}

static void a_decoder_that_is_behind_goes_on_at_an_idr(void)
{
    struct unit_maker maker;
    struct pc_playout *playout = open_held(&maker);
    for (int i = 0; i < PC_PLAYOUT_QUEUE; i++)
        CHECK(offer_at(playout, &maker, i == 0, 0));
    CHECK(!offer_at(playout, &maker, false, 0)); /* one too many */
    CHECK(!offer_at(playout, &maker, false, 0));
    CHECK(offer_at(playout, &maker, true, 0));
    CHECK(offer_at(playout, &maker, false, 0));
    release();
    struct pc_reception_stats stats = stats_after(playout, 2 + PC_PLAYOUT_QUEUE + 4);
    CHECK_EQ(stats.units_late, PC_PLAYOUT_QUEUE);
    CHECK_EQ(stats.units_useless, 2);
    CHECK_EQ(stats.pictures, 3);
    CHECK_EQ(stats.decode_errors, 1);
    release_and_close(playout, &maker);
}

/* However few wait behind it. What waits from an IDR on is decoded. */
static void a_unit_that_waited_too_long_is_late(void)
{
    struct unit_maker maker;
    struct pc_playout *playout = open_held(&maker);
    for (int i = 0; i < 5; i++)
        CHECK(offer_at(playout, &maker, i == 0 || i == 3, 0));
    CHECK(offer_at(playout, &maker, false, PC_PLAYOUT_LATE_NS));
    CHECK(offer_at(playout, &maker, false, PC_PLAYOUT_LATE_NS + 1));
    release();
    struct pc_reception_stats stats = stats_after(playout, 2 + 7);
    CHECK_EQ(stats.units_late, 3);
    CHECK_EQ(stats.units_useless, 0);
    CHECK_EQ(stats.pictures, 1 + 4);
    release_and_close(playout, &maker);
}

static void units_are_kept_as_they_came(void)
{
    struct pc_playout *playout = open_playout((struct pc_receive_settings){.keep_units = true});
    struct unit_maker maker;
    unit_maker_open(&maker, PC_VP8, WIDTH, HEIGHT);
    struct pollfd readable = {.fd = pc_playout_unit_fd(playout), .events = POLLIN};
    CHECK_EQ(poll(&readable, 1, 0), 0);
    for (uint64_t i = 0; i < 3; i++) {
        struct encoded_unit unit = unit_maker_next(&maker, i == 0);
        CHECK(offer(playout, &unit, 77));
        CHECK_EQ(poll(&readable, 1, 0), 1);
        CHECK_EQ(pc_playout_read_unit(playout, &frame, pixels, unit.size - 1), -ENOSPC);
        CHECK_EQ(pc_playout_read_unit(playout, &frame, pixels, unit.size), 1);
        CHECK_EQ(frame.id, i);
        CHECK_EQ(frame.idr, i == 0);
        CHECK_EQ(frame.bytes, unit.size);
        CHECK_EQ(frame.rtp_time, 77);
        CHECK_BYTES(pixels, unit.data, unit.size);
        CHECK_EQ(pc_playout_read_unit(playout, &frame, pixels, sizeof pixels), 0);
        CHECK_EQ(poll(&readable, 1, 0), 0);
        free(unit.data);
    }
    struct pc_reception_stats stats = stats_after(playout, 3);
    CHECK_EQ(stats.pictures, 0); /* `decode` is off */
    unit_maker_close(&maker);
    pc_playout_close(playout);
}

static void a_slow_recorder_goes_on_at_an_idr(void)
{
    struct pc_playout *playout = open_playout((struct pc_receive_settings){.keep_units = true});
    static uint8_t data[8];
    struct encoded_unit unit = {.data = data, .size = sizeof data};
    for (int i = 0; i < PC_PLAYOUT_KEPT; i++) {
        unit.idr = i == 0 || i == 100;
        CHECK(offer(playout, &unit, 0));
    }
    CHECK(offer(playout, &unit, 0)); /* the first hundred make way */
    CHECK_EQ(pc_playout_read_unit(playout, &frame, pixels, sizeof pixels), 1);
    CHECK_EQ(frame.id, 100);
    CHECK(frame.idr);
    CHECK_EQ(stats_after(playout, PC_PLAYOUT_KEPT + 1).units_not_kept, 100);
    pc_playout_close(playout);

    playout = open_playout((struct pc_receive_settings){.keep_units = true});
    for (int i = 0; i <= PC_PLAYOUT_KEPT; i++) {
        unit.idr = i == 0;
        CHECK_EQ(offer(playout, &unit, 0), i < PC_PLAYOUT_KEPT); /* an IDR is wanted */
    }
    CHECK_EQ(pc_playout_read_unit(playout, &frame, pixels, sizeof pixels), 0);
    pc_playout_close(playout);
}

static void readers_read_to_the_end(void)
{
    struct pc_playout *playout =
        open_playout((struct pc_receive_settings){.decode = true, .keep_units = true});
    struct unit_maker maker;
    unit_maker_open(&maker, PC_H264, WIDTH, HEIGHT);
    make_and_offer(playout, &maker, true);
    make_and_offer(playout, &maker, false);
    pc_playout_end(playout);
    CHECK_EQ(read_picture(playout), 1);
    CHECK_EQ(read_picture(playout), 1);
    CHECK_EQ(read_picture(playout), -EPIPE);
    CHECK_EQ(pc_playout_read_unit(playout, &frame, pixels, sizeof pixels), 1);
    CHECK_EQ(pc_playout_read_unit(playout, &frame, pixels, sizeof pixels), 1);
    CHECK_EQ(pc_playout_read_unit(playout, &frame, pixels, sizeof pixels), -EPIPE);
    unit_maker_close(&maker);
    pc_playout_close(playout);
}

static void what_comes_after_the_stop_goes_nowhere(void)
{
    struct pc_playout *playout =
        open_playout((struct pc_receive_settings){.decode = true, .keep_units = true});
    struct unit_maker maker;
    unit_maker_open(&maker, PC_H264, WIDTH, HEIGHT);
    make_and_offer(playout, &maker, true);
    pc_playout_stop(playout);
    CHECK(make_and_offer(playout, &maker, true)); /* nobody wants an IDR */
    CHECK_EQ(pc_playout_read_picture(playout, &picture, pixels, sizeof pixels), 0);
    unit_maker_close(&maker);
    pc_playout_close(playout);
}

static void units_are_read_only_where_they_are_kept(void)
{
    struct pc_playout *playout = open_playout((struct pc_receive_settings){.decode = true});
    CHECK_EQ(pc_playout_read_unit(playout, &frame, pixels, sizeof pixels), -EINVAL);
    CHECK(strstr(pc_error_text(), "keep_units") != NULL);
    pc_playout_close(playout);
    struct pc_receive_settings settings = {.decode = true, .decode_threads = 99};
    CHECK_EQ(pc_playout_open(&settings, want_idr, NULL, &playout), -EINVAL);
}

int main(void)
{
    RUN(pictures_come_in_order_with_their_times);
    RUN(the_newest_pictures_win);
    RUN(a_picture_that_does_not_fit_stays);
    RUN(nothing_is_decoded_before_an_idr);
    RUN(a_damaged_unit_is_got_over_at_an_idr);
    RUN(a_decoder_that_is_behind_goes_on_at_an_idr);
    RUN(a_unit_that_waited_too_long_is_late);
    RUN(units_are_kept_as_they_came);
    RUN(a_slow_recorder_goes_on_at_an_idr);
    RUN(readers_read_to_the_end);
    RUN(what_comes_after_the_stop_goes_nowhere);
    RUN(units_are_read_only_where_they_are_kept);
    return HARNESS_RESULT();
}
