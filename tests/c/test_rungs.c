#include "harness.h"

#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "clock.h"
#include "rungs.h"

enum { PEERS = 3 };

static struct {
    struct pc_rungs rungs;
    struct pc_feed feeds[PC_LADDER_RUNGS], elsewhere;
    struct pc_peer_table peers;
    struct pc_udp udp;
    struct pc_sender *senders[PEERS];
    struct pc_ladder_viewer *viewers[PEERS];
    int wake_fd;
    uint64_t now_ns;
} t;

static void start(int rungs)
{
    memset(&t, 0, sizeof t);
    t.wake_fd = eventfd(0, EFD_NONBLOCK);
    t.now_ns = PC_NS_PER_S;
    pc_rungs_init(&t.rungs, 1280, 720, 60, 8000000);
    for (int r = 0; r < rungs; r++) {
        pc_feed_init(&t.feeds[r], PC_CODEC_H264, 1, 0, t.wake_fd);
        pc_rungs_add(&t.rungs, &t.feeds[r]);
    }
    pc_feed_init(&t.elsewhere, PC_CODEC_VP8, 1, 0, t.wake_fd);
    pc_peer_table_init(&t.peers);
    for (int i = 0; i < PEERS; i++) {
        t.senders[i] = &pc_peer_table_add(&t.peers)->sender;
        t.senders[i]->transport->udp = &t.udp;
        t.senders[i]->feed = &t.feeds[0];
        t.senders[i]->rate.media_bps = 8e6;
    }
}

static void allot(int times)
{
    for (int i = 0; i < times; i++) {
        pc_rungs_allot(&t.rungs, &t.peers, t.viewers, t.now_ns);
        t.now_ns += 25 * PC_NS_PER_MS;
    }
}

static void finish(void)
{
    for (int i = 0; i < PEERS; i++) {
        if (t.senders[i]->feed != NULL)
            pc_sender_stop(t.senders[i]);
        pc_peer_table_remove(&t.peers, t.peers.peers[0]);
    }
    pc_peer_table_free(&t.peers);
    for (int r = 0; r < t.rungs.count; r++)
        pc_feed_free(&t.feeds[r]);
    pc_feed_free(&t.elsewhere);
    close(t.wake_fd);
}

static void the_encode_goes_at_the_rate_of_its_viewers(void)
{
    start(3);
    for (int i = 0; i < PEERS; i++)
        t.senders[i]->rate.media_bps = 3e6 + i;
    allot(2);
    CHECK_EQ(atomic_load(&t.feeds[0].bitrate), 3000000);
    CHECK_EQ(atomic_load(&t.feeds[0].ceiling), 8000000);
    CHECK_EQ(atomic_load(&t.feeds[0].fps), 60);
    CHECK_EQ(atomic_load(&t.feeds[0].step), 0);
    for (int i = 0; i < PEERS; i++)
        CHECK(t.senders[i]->next_feed == NULL);
    finish();
}

static void who_falls_behind_is_moved_and_asks_for_an_idr_there(void)
{
    start(3);
    t.senders[1]->rate.media_bps = 1e6;
    allot(1);
    CHECK(t.senders[1]->next_feed == &t.feeds[1]);
    CHECK(t.senders[1]->feed == &t.feeds[0]); /* until the IDR is there */
    CHECK(atomic_load(&t.feeds[1].idr_wanted));
    CHECK_EQ(atomic_load(&t.feeds[1].receivers), 1);
    CHECK_EQ(atomic_load(&t.feeds[0].bitrate), 8000000);
    CHECK_EQ(atomic_load(&t.feeds[1].bitrate), 1000000);
    CHECK(atomic_load(&t.feeds[1].step) > 0); /* fewer bits: fewer pixels */
    CHECK(t.senders[0]->next_feed == NULL && t.senders[2]->next_feed == NULL);
    allot(10);
    CHECK(t.senders[1]->next_feed == &t.feeds[1]);
    CHECK_EQ(atomic_load(&t.feeds[1].receivers), 1);
    finish();
    CHECK_EQ(atomic_load(&t.feeds[1].receivers), 0);
}

static void a_stream_of_one_encode_moves_nobody(void)
{
    start(1);
    t.senders[1]->rate.media_bps = 1e6;
    allot(100);
    CHECK(t.senders[1]->next_feed == NULL);
    CHECK_EQ(atomic_load(&t.feeds[0].bitrate), 1000000);
    finish();
}

static void other_encodes_are_left_alone(void)
{
    start(3);
    t.senders[2]->feed = &t.elsewhere;
    t.senders[2]->rate.media_bps = 1e5;
    allot(10);
    CHECK(t.senders[2]->next_feed == NULL);
    CHECK_EQ(atomic_load(&t.feeds[0].bitrate), 8000000);
    CHECK_EQ(atomic_load(&t.elsewhere.bitrate), 0);
    finish();
}

static void a_new_ceiling_and_size_are_followed(void)
{
    start(3);
    allot(1);
    atomic_store(&t.rungs.bitrate, 2000000);
    atomic_store(&t.rungs.fps, 30);
    allot(1);
    CHECK_EQ(atomic_load(&t.feeds[0].bitrate), 2000000);
    CHECK_EQ(atomic_load(&t.feeds[0].ceiling), 2000000);
    CHECK_EQ(atomic_load(&t.feeds[0].fps), 30);
    CHECK_EQ(atomic_load(&t.feeds[0].step), 0);
    atomic_store(&t.rungs.width, 3840); /* nine times the pixels for the same bits */
    atomic_store(&t.rungs.height, 2160);
    allot(1);
    CHECK(atomic_load(&t.feeds[0].step) > 0);
    finish();
}

/* It is sent nothing: its rate is of the path it had. */
static void who_has_no_path_holds_nobody_up(void)
{
    start(1);
    t.senders[1]->rate.media_bps = 1e6;
    t.senders[1]->transport->udp = NULL;
    allot(2);
    CHECK_EQ(atomic_load(&t.feeds[0].bitrate), 8000000);
    t.senders[1]->transport->udp = &t.udp;
    allot(1);
    CHECK_EQ(atomic_load(&t.feeds[0].bitrate), 1000000);
    finish();
}

static void who_leaves_or_joins_changes_the_rate_at_once(void)
{
    start(3);
    t.senders[2]->rate.media_bps = 6e6;
    allot(1);
    CHECK_EQ(atomic_load(&t.feeds[0].bitrate), 6000000);
    struct pc_feed *left = t.senders[2]->feed;
    t.senders[2]->feed = NULL;
    allot(1);
    CHECK_EQ(atomic_load(&t.feeds[0].bitrate), 8000000);
    t.senders[2]->feed = left;
    allot(1);
    CHECK_EQ(atomic_load(&t.feeds[0].bitrate), 6000000);
    finish();
}

/* A path that has gone away: its rate falls and falls. */
static void silence(int viewer)
{
    struct pc_rate_loop *rate = &t.senders[viewer]->rate;
    const struct pc_rate_loop_settings settings = {.ceiling_bps = 8e6, .fps = 60, .feedback = true};
    CHECK_EQ(pc_rate_loop_init(rate, &settings, t.now_ns), 0);
    rate->output.state = PC_CONGESTION_SILENT;
    rate->media_bps = 2e5;
}

static void who_is_not_heard_holds_up_nobody(void)
{
    start(3);
    silence(1);
    allot(100);
    CHECK_EQ(atomic_load(&t.feeds[0].bitrate), 8000000);
    CHECK(t.senders[1]->next_feed == NULL); /* no encode is begun for it */
    CHECK(t.senders[1]->quiet && !t.senders[0]->quiet);

    t.senders[1]->waiting_for_idr = true; /* it comes back */
    atomic_store(&t.feeds[0].idr_wanted, false);
    t.senders[1]->rate.output.state = PC_CONGESTION_STEADY;
    t.senders[1]->rate.media_bps = 6e6;
    allot(1);
    CHECK(!t.senders[1]->quiet);
    CHECK(atomic_load(&t.feeds[0].idr_wanted));
    CHECK_EQ(atomic_load(&t.feeds[0].bitrate), 6000000);
    finish();
}

static void where_nobody_is_heard_all_count(void)
{
    start(3);
    for (int i = 0; i < PEERS; i++)
        silence(i);
    allot(10);
    CHECK_EQ(atomic_load(&t.feeds[0].bitrate), 200000);
    for (int i = 0; i < PEERS; i++)
        CHECK(!t.senders[i]->quiet);
    finish();
}

int main(void)
{
    RUN(who_has_no_path_holds_nobody_up);
    RUN(who_leaves_or_joins_changes_the_rate_at_once);
    RUN(the_encode_goes_at_the_rate_of_its_viewers);
    RUN(who_falls_behind_is_moved_and_asks_for_an_idr_there);
    RUN(a_stream_of_one_encode_moves_nobody);
    RUN(other_encodes_are_left_alone);
    RUN(a_new_ceiling_and_size_are_followed);
    RUN(who_is_not_heard_holds_up_nobody);
    RUN(where_nobody_is_heard_all_count);
    return HARNESS_RESULT();
}
