#include "rendition.h"

#include <errno.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "clock.h"
#include "harness.h"
#include "hub.h"

/* A rendition whose encoder the test plays: it emits `units` slices, and looks at the hub's end of
 * the feed after each. */
static struct {
    struct pc_rendition rendition;
    struct pc_hub hub; /* nothing of it but the descriptor that wakes it */
    struct pc_encoder encoder;
    struct pc_picture picture;
    struct pc_source_frame frame;
    int stream_fd;

    int units;
    size_t unit_bytes;
    int result;
    bool skip;
    struct pc_access_unit *seen; /* what the hub has taken from the feed */
    uint32_t ready_after[8];     /* payloads that it could send after each unit */
    bool known[8];               /* it was told of news */
    int rect_count;
    bool idr;
    int slices, rate_changes;
    uint64_t reference, first_lost, last_lost;
    bool can_refer, invalidates;
    int invalidations;
    uint64_t next_id;
} t;

static uint8_t huge[300000] = {0x41}; /* a slice */

static int fake_encode(struct pc_encoder *encoder, uint64_t id, const struct pc_picture *picture,
                       const struct pc_rect *changed, int changed_count, bool request_idr,
                       struct pc_encode_result *result)
{
    (void)encoder;
    (void)id;
    (void)picture;
    t.rect_count = changed == NULL ? -1 : changed_count;
    t.idr = request_idr;
    result->skipped = t.skip;
    result->idr = request_idr;
    for (int i = 0; i < t.units; i++) {
        t.rendition.settings.on_unit(&t.rendition, huge, t.unit_bytes, i == t.units - 1);
        result->bytes += t.unit_bytes;
        t.known[i] = pc_feed_has_news(&t.rendition.feed);
        struct pc_access_unit *au = pc_feed_pop(&t.rendition.feed);
        if (au != NULL) {
            if (t.seen != NULL)
                pc_au_unref(t.seen);
            t.seen = au;
        }
        bool complete;
        t.ready_after[i] = t.seen != NULL ? pc_au_ready(t.seen, &complete) : 0;
    }
    return t.result;
}

static int fake_set_rate(struct pc_encoder *encoder, int bitrate, int fps)
{
    (void)encoder;
    (void)bitrate;
    (void)fps;
    t.rate_changes++;
    return 0;
}

static int fake_set_slices(struct pc_encoder *encoder, int slices)
{
    (void)encoder;
    t.slices = slices;
    return 0;
}

static void fake_close(struct pc_encoder *encoder)
{
    (void)encoder;
}

static bool fake_invalidate(struct pc_encoder *encoder, uint64_t first, uint64_t last)
{
    (void)encoder;
    t.first_lost = first;
    t.last_lost = last;
    t.invalidations++;
    return t.invalidates;
}

static bool fake_reference(const struct pc_encoder *encoder, uint64_t *id)
{
    (void)encoder;
    *id = t.reference;
    return t.can_refer;
}

static const struct pc_encoder_ops referring_ops = {.name = "fake",
                                                    .encode = fake_encode,
                                                    .invalidate = fake_invalidate,
                                                    .reference = fake_reference,
                                                    .set_rate = fake_set_rate,
                                                    .close = fake_close};

static const struct pc_encoder_ops fake_ops = {.name = "fake",
                                               .encode = fake_encode,
                                               .set_rate = fake_set_rate,
                                               .set_slices = fake_set_slices,
                                               .close = fake_close};

static void start(void)
{
    const struct pc_encoder_settings settings = {
        .fps = 50, .bitrate = 2000000, .threads = 1, .slices = 5, .budget_frames = 1.25};
    memset(&t, 0, sizeof t);
    t.hub.wake_fd = eventfd(0, EFD_NONBLOCK);
    t.stream_fd = eventfd(0, EFD_NONBLOCK);
    t.slices = -1;
    t.units = 3;
    t.unit_bytes = 500;
    CHECK_EQ(pc_rendition_init(&t.rendition, PC_CODEC_H264, &t.hub, 1, 0, t.stream_fd, &settings),
             0);
    /* The real encoder brings the callback; then ours takes its place. */
    CHECK_EQ(pc_rendition_prepare(&t.rendition, 320, 180), 0);
    t.rendition.encoder->ops->close(t.rendition.encoder);
    t.encoder.ops = &fake_ops;
    t.rendition.encoder = &t.encoder;
    t.frame.rect_count = 1;
    pc_feed_add_receiver(&t.rendition.feed);
}

static int encode(bool idr_allowed)
{
    if (t.seen != NULL)
        pc_au_unref(t.seen);
    t.seen = NULL;
    uint64_t id = t.next_id++;
    return pc_rendition_encode(&t.rendition, &t.picture, &t.frame, NULL, id, idr_allowed,
                               PC_NS_PER_S + id * 20 * PC_NS_PER_MS);
}

static void finish(void)
{
    if (t.seen != NULL)
        pc_au_unref(t.seen);
    pc_rendition_free(&t.rendition);
    close(t.hub.wake_fd);
    close(t.stream_fd);
}

static void for_few_receivers_slices_leave_as_they_come(void)
{
    start();
    CHECK_EQ(encode(true), 0);
    for (uint32_t i = 0; i < 3; i++) {
        CHECK(t.known[i]);
        CHECK_EQ(t.ready_after[i], i + 1);
    }
    eventfd_t woken;
    CHECK_EQ(eventfd_read(t.hub.wake_fd, &woken), 0);
    CHECK_EQ(woken, 3); /* it had looked each time */
    CHECK_EQ(t.rendition.handed_over, 1);
    finish();
}

static void for_many_receivers_a_frame_leaves_whole_and_in_few_slices(void)
{
    start();
    for (int i = 1; i < PC_FEED_FEW; i++)
        pc_feed_add_receiver(&t.rendition.feed);
    CHECK_EQ(pc_rendition_prepare(&t.rendition, 320, 180), 0);
    CHECK_EQ(t.slices, -1); /* not yet many */
    pc_feed_add_receiver(&t.rendition.feed);
    CHECK_EQ(pc_rendition_prepare(&t.rendition, 320, 180), 0);
    CHECK_EQ(t.slices, 1);
    CHECK_EQ(encode(true), 0);
    CHECK(!t.known[0] && !t.known[1] && t.known[2]);
    CHECK_EQ(t.ready_after[1], 0);
    CHECK_EQ(t.ready_after[2], 3);
    pc_feed_remove_receiver(&t.rendition.feed);
    CHECK_EQ(pc_rendition_prepare(&t.rendition, 320, 180), 0);
    CHECK_EQ(t.slices, 5);
    CHECK_EQ(t.rate_changes, 0);
    finish();
}

static void a_new_rate_reaches_the_encoder_once(void)
{
    start();
    atomic_store(&t.rendition.feed.bitrate, 3000000);
    CHECK_EQ(pc_rendition_prepare(&t.rendition, 320, 180), 0);
    CHECK_EQ(pc_rendition_prepare(&t.rendition, 320, 180), 0);
    CHECK_EQ(t.rate_changes, 1);
    CHECK(t.rendition.encoder == &t.encoder);
    finish();
}

static void what_the_encoder_did_not_see_is_unknown_to_it(void)
{
    start();
    CHECK_EQ(encode(true), 0);
    CHECK_EQ(t.rect_count, 1);
    t.skip = true; /* as VP8 does */
    t.units = 0;
    CHECK_EQ(encode(true), 0);
    CHECK(t.rendition.gap);
    t.skip = false;
    t.units = 1;
    CHECK_EQ(encode(true), 0);
    CHECK_EQ(t.rect_count, -1);
    CHECK(!t.rendition.gap);
    finish();
}

static void without_a_free_unit_the_frame_is_left_out(void)
{
    static struct pc_access_unit *held[PC_RENDITION_UNITS];
    start();
    CHECK_EQ(encode(true), 0);
    pc_au_unref(t.seen);
    t.seen = NULL;
    for (int i = 0; i < PC_RENDITION_UNITS; i++) {
        held[i] = pc_au_acquire(t.rendition.pool);
        CHECK(held[i] != NULL);
    }
    pc_feed_request_idr(&t.rendition.feed);
    CHECK_EQ(encode(true), -EAGAIN);
    CHECK(t.rendition.gap);
    CHECK(pc_rendition_wants_idr(&t.rendition)); /* still */
    for (int i = 0; i < PC_RENDITION_UNITS; i++)
        pc_au_unref(held[i]);
    CHECK_EQ(encode(true), 0);
    CHECK(t.idr);
    finish();
}

static void an_idr_answers_the_wish_when_it_may(void)
{
    start();
    CHECK_EQ(encode(true), 0);
    CHECK(t.idr); /* a new encoder */
    CHECK_EQ(encode(true), 0);
    CHECK(!t.idr);
    pc_feed_request_idr(&t.rendition.feed);
    CHECK_EQ(encode(false), 0);
    CHECK(!t.idr);
    CHECK(pc_rendition_wants_idr(&t.rendition));
    CHECK_EQ(encode(true), 0);
    CHECK(t.idr && t.seen->idr);
    CHECK(!pc_rendition_wants_idr(&t.rendition));
    finish();
}

static void losses_reach_the_encoder_before_the_next_frame(void)
{
    start();
    t.encoder.ops = &referring_ops;
    t.can_refer = t.invalidates = true;
    CHECK_EQ(encode(true), 0);
    CHECK(t.seen->idr);
    CHECK_EQ(t.seen->reference, 0);
    t.reference = 0;
    CHECK_EQ(encode(true), 0);
    CHECK(!t.seen->idr);
    CHECK_EQ(t.seen->reference, 0);
    CHECK_EQ(t.invalidations, 0);
    pc_feed_report_losses(&t.rendition.feed, 1, 1);
    CHECK(pc_rendition_is_broken(&t.rendition));
    CHECK_EQ(encode(false), 0);
    CHECK(!pc_rendition_is_broken(&t.rendition));
    CHECK_EQ(t.invalidations, 1);
    CHECK_EQ(t.first_lost, 1);
    CHECK_EQ(t.last_lost, 1);
    CHECK(!t.idr && !t.seen->idr);
    CHECK_EQ(t.seen->frame_id, 2);
    CHECK_EQ(t.seen->reference, 0);
    CHECK(!pc_rendition_wants_idr(&t.rendition));
    finish();
}

static void losses_that_the_encoder_cannot_meet_take_an_idr(void)
{
    for (int can = 0; can < 2; can++) {
        start();
        CHECK_EQ(encode(true), 0);
        if (can != 0) /* it keeps no frame that old */
            t.encoder.ops = &referring_ops;
        t.can_refer = true;
        pc_feed_report_losses(&t.rendition.feed, 0, 0);
        CHECK_EQ(encode(false), 0); /* not yet */
        CHECK(!t.idr);
        CHECK(pc_rendition_wants_idr(&t.rendition));
        CHECK_EQ(encode(true), 0);
        CHECK(t.idr);
        CHECK_EQ(t.seen->reference, t.seen->frame_id);
        finish();
    }
}

static void a_frame_that_can_refer_to_none_is_an_idr(void)
{
    start();
    t.encoder.ops = &referring_ops;
    t.can_refer = true;
    CHECK_EQ(encode(true), 0);
    t.can_refer = false;
    CHECK_EQ(encode(false), 0);
    CHECK(t.idr && t.seen->idr);
    t.can_refer = true;
    t.reference = 1;
    t.next_id = 1 + 4096; /* as far back as a descriptor can tell */
    CHECK_EQ(encode(false), 0);
    CHECK(!t.idr);
    CHECK_EQ(encode(false), 0);
    CHECK(t.idr);
    finish();
}

static void a_frame_that_the_hub_does_not_take_is_followed_by_an_idr(void)
{
    struct pc_access_unit *before[PC_FEED_DEPTH];
    start();
    CHECK_EQ(encode(true), 0);
    for (int i = 0; i < PC_FEED_DEPTH; i++) {
        before[i] = pc_au_acquire(t.rendition.pool);
        CHECK(pc_feed_push(&t.rendition.feed, before[i]));
        pc_au_unref(before[i]);
    }
    CHECK_EQ(encode(true), 0);
    CHECK(pc_rendition_wants_idr(&t.rendition));
    CHECK_EQ(t.rendition.handed_over, 1); /* nobody will drain the second */
    finish();
}

static void a_frame_larger_than_a_unit_is_ended_and_followed_by_an_idr(void)
{
    start();
    t.units = 8;
    t.unit_bytes = sizeof huge;
    CHECK_EQ(encode(true), 0);
    CHECK(t.rendition.broken);
    CHECK(pc_rendition_wants_idr(&t.rendition));
    bool complete;
    CHECK(pc_au_ready(t.seen, &complete) > 0 && complete); /* who sends it does not wait */
    finish();
}

static void an_encoder_that_fails_is_closed_and_what_began_is_ended(void)
{
    start();
    CHECK_EQ(encode(true), 0);
    t.units = 2;
    t.result = -EIO;
    CHECK_EQ(encode(true), -EIO);
    CHECK(t.rendition.encoder == NULL);
    CHECK(t.rendition.gap && pc_rendition_wants_idr(&t.rendition));
    finish();
}

static void drained_is_what_some_receiver_has_sent(void)
{
    start();
    CHECK(pc_rendition_drained(&t.rendition));
    CHECK_EQ(encode(true), 0);
    CHECK(!pc_rendition_drained(&t.rendition));
    pc_feed_drain(&t.rendition.feed, 0);
    CHECK(pc_rendition_drained(&t.rendition));
    CHECK_EQ(encode(true), 0);
    CHECK(!pc_rendition_drained(&t.rendition));
    pc_feed_remove_receiver(&t.rendition.feed); /* nobody is left to send it */
    CHECK(pc_rendition_drained(&t.rendition));
    finish();
}

int main(void)
{
    RUN(for_few_receivers_slices_leave_as_they_come);
    RUN(for_many_receivers_a_frame_leaves_whole_and_in_few_slices);
    RUN(a_new_rate_reaches_the_encoder_once);
    RUN(what_the_encoder_did_not_see_is_unknown_to_it);
    RUN(without_a_free_unit_the_frame_is_left_out);
    RUN(an_idr_answers_the_wish_when_it_may);
    RUN(losses_reach_the_encoder_before_the_next_frame);
    RUN(losses_that_the_encoder_cannot_meet_take_an_idr);
    RUN(a_frame_that_can_refer_to_none_is_an_idr);
    RUN(a_frame_that_the_hub_does_not_take_is_followed_by_an_idr);
    RUN(a_frame_larger_than_a_unit_is_ended_and_followed_by_an_idr);
    RUN(an_encoder_that_fails_is_closed_and_what_began_is_ended);
    RUN(drained_is_what_some_receiver_has_sent);
    return HARNESS_RESULT();
}
