#include "rungs.h"

#include <assert.h>
#include <string.h>

#define FLOOR_BPS 100000.0 /* an encoder makes no picture of less */

static struct pc_ladder_settings read_settings(struct pc_rungs *rungs)
{
    double ceiling = atomic_load(&rungs->bitrate);
    return (struct pc_ladder_settings){
        .width = atomic_load(&rungs->width),
        .height = atomic_load(&rungs->height),
        .fps = atomic_load(&rungs->fps),
        .floor_bps = ceiling < FLOOR_BPS ? ceiling : FLOOR_BPS,
        .ceiling_bps = ceiling,
        .rungs = rungs->count > 0 ? rungs->count : 1,
    };
}

void pc_rungs_init(struct pc_rungs *rungs, int width, int height, int fps, int bitrate)
{
    memset(rungs, 0, sizeof *rungs);
    atomic_store(&rungs->width, width);
    atomic_store(&rungs->height, height);
    atomic_store(&rungs->fps, fps);
    atomic_store(&rungs->bitrate, bitrate);
    struct pc_ladder_settings settings = read_settings(rungs);
    pc_ladder_init(&rungs->ladder, &settings);
}

void pc_rungs_add(struct pc_rungs *rungs, struct pc_feed *feed)
{
    assert(rungs->count < PC_LADDER_RUNGS);
    rungs->feeds[rungs->count++] = feed;
}

bool pc_rungs_have(const struct pc_rungs *rungs, const struct pc_feed *feed)
{
    for (int r = 0; r < rungs->count; r++)
        if (rungs->feeds[r] == feed)
            return true;
    return false;
}

static void follow(struct pc_feed *feed, const struct pc_ladder_rung *rung, int ceiling)
{
    atomic_store(&feed->ceiling, ceiling);
    atomic_store(&feed->bitrate, (int)rung->bps);
    atomic_store(&feed->fps, rung->fps);
    atomic_store(&feed->step, rung->step);
}

/* Who has no path is sent nothing: it must not hold up the others. */
static bool is_viewer(const struct pc_rungs *rungs, const struct pc_sender *sender)
{
    return sender->feed != NULL && sender->transport->udp != NULL &&
           pc_rungs_have(rungs, sender->feed);
}

static bool is_silent(const struct pc_sender *sender)
{
    return pc_rate_loop_controls(&sender->rate) &&
           sender->rate.output.state == PC_CONGESTION_SILENT;
}

/* The viewers that count: those that are heard, or all where nobody is. Returns how many. */
static int find_viewers(const struct pc_rungs *rungs, const struct pc_peer_table *peers,
                        bool silent_too, struct pc_ladder_viewer **viewers)
{
    int count = 0;
    for (unsigned p = 0; p < peers->count; p++) {
        struct pc_sender *sender = &peers->peers[p]->sender;
        if (!is_viewer(rungs, sender) || (!silent_too && is_silent(sender)))
            continue;
        sender->on_ladder.bps = sender->rate.media_bps;
        sender->on_ladder.player = sender->media.player;
        viewers[count++] = &sender->on_ladder;
    }
    return count;
}

void pc_rungs_allot(struct pc_rungs *rungs, const struct pc_peer_table *peers,
                    struct pc_ladder_viewer **viewers, uint64_t now_ns)
{
    int count = find_viewers(rungs, peers, false, viewers);
    bool heard = count > 0;
    if (!heard)
        count = find_viewers(rungs, peers, true, viewers);
    struct pc_ladder_settings settings = read_settings(rungs);
    pc_ladder_set(&rungs->ladder, &settings);
    pc_ladder_update(&rungs->ladder, viewers, count, now_ns);
    for (int r = 0; r < rungs->count; r++)
        follow(rungs->feeds[r], &rungs->ladder.rungs[r], (int)settings.ceiling_bps);
    for (unsigned p = 0; p < peers->count; p++) {
        struct pc_sender *sender = &peers->peers[p]->sender;
        if (!is_viewer(rungs, sender))
            continue;
        pc_sender_be_quiet(sender, heard && is_silent(sender));
        pc_sender_move(sender, rungs->feeds[sender->on_ladder.rung]);
    }
}
