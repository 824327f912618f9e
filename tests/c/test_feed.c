#include "feed.h"

#include <sys/eventfd.h>
#include <unistd.h>

#include "harness.h"

static bool woken(int fd)
{
    eventfd_t value;
    return eventfd_read(fd, &value) == 0;
}

static void units_pass_in_order_and_no_more_than_fit(void)
{
    int fd = eventfd(0, EFD_NONBLOCK);
    struct pc_feed feed;
    pc_feed_init(&feed, PC_CODEC_H264, 1, 0, fd);
    struct pc_au_pool *pool = pc_au_pool_create(PC_FEED_DEPTH + 1);
    struct pc_access_unit *units[PC_FEED_DEPTH + 1];
    for (int i = 0; i <= PC_FEED_DEPTH; i++) {
        units[i] = pc_au_acquire(pool);
        CHECK_EQ(pc_feed_push(&feed, units[i]), i < PC_FEED_DEPTH);
        pc_au_unref(units[i]);
    }
    for (int i = 0; i < 3; i++) {
        struct pc_access_unit *au = pc_feed_pop(&feed);
        CHECK(au == units[i]);
        pc_au_unref(au);
    }
    pc_feed_free(&feed); /* lets go of the five that are left: the sanitizer would see them */
    pc_au_pool_release(pool);
    close(fd);
}

static void wishes_wake_the_stream_once(void)
{
    int fd = eventfd(0, EFD_NONBLOCK);
    struct pc_feed feed;
    pc_feed_init(&feed, PC_CODEC_H264, 1, 0, fd);
    pc_feed_request_idr(&feed);
    CHECK(woken(fd));
    pc_feed_request_idr(&feed);
    CHECK(!woken(fd)); /* it is wished for already */
    CHECK(atomic_load(&feed.idr_wanted));
    pc_feed_add_receiver(&feed);
    CHECK(woken(fd));
    CHECK_EQ(atomic_load(&feed.receivers), 1);
    pc_feed_remove_receiver(&feed);
    CHECK(woken(fd));
    pc_feed_free(&feed);
    close(fd);
}

static void losses_of_several_receivers_are_joined(void)
{
    int fd = eventfd(0, EFD_NONBLOCK);
    struct pc_feed feed;
    uint64_t first = 0, last = 0;
    pc_feed_init(&feed, PC_CODEC_H264, 1, 0, fd);
    CHECK(!pc_feed_take_losses(&feed, &first, &last));
    pc_feed_report_losses(&feed, 20, 22);
    CHECK(woken(fd));
    pc_feed_report_losses(&feed, 18, 21);
    pc_feed_report_losses(&feed, 19, 25);
    CHECK(!woken(fd)); /* it is told already */
    CHECK(pc_feed_take_losses(&feed, &first, &last));
    CHECK_EQ(first, 18);
    CHECK_EQ(last, 25);
    CHECK(!pc_feed_take_losses(&feed, &first, &last));
    pc_feed_report_losses(&feed, 30, 30);
    CHECK(woken(fd));
    CHECK(pc_feed_take_losses(&feed, &first, &last));
    CHECK_EQ(first, 30);
    CHECK_EQ(last, 30);
    pc_feed_free(&feed);
    close(fd);
}

static void draining_goes_forward_and_wakes_only_who_waits(void)
{
    int fd = eventfd(0, EFD_NONBLOCK);
    struct pc_feed feed;
    pc_feed_init(&feed, PC_CODEC_H264, 1, 0, fd);
    pc_feed_drain(&feed, 4);
    CHECK(!woken(fd));
    CHECK_EQ(atomic_load(&feed.drained), 5);
    pc_feed_drain(&feed, 2); /* a slower receiver */
    CHECK_EQ(atomic_load(&feed.drained), 5);
    atomic_store(&feed.blocked, true);
    pc_feed_drain(&feed, 5);
    CHECK(woken(fd));
    pc_feed_free(&feed);
    close(fd);
}

static void news_are_announced_once_until_they_are_looked_at(void)
{
    struct pc_feed feed;
    pc_feed_init(&feed, PC_CODEC_H264, 1, 0, -1);
    CHECK(!pc_feed_has_news(&feed));
    CHECK(pc_feed_announce(&feed));
    CHECK(!pc_feed_announce(&feed)); /* the I/O thread was woken, and will see both */
    CHECK(pc_feed_has_news(&feed));
    CHECK(!pc_feed_has_news(&feed));
    CHECK(pc_feed_announce(&feed));
    pc_feed_free(&feed);
}

int main(void)
{
    RUN(units_pass_in_order_and_no_more_than_fit);
    RUN(wishes_wake_the_stream_once);
    RUN(news_are_announced_once_until_they_are_looked_at);
    RUN(losses_of_several_receivers_are_joined);
    RUN(draining_goes_forward_and_wakes_only_who_waits);
    return HARNESS_RESULT();
}
