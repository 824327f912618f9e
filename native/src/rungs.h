/* The encodes of one codec of a stream, as the hub allots them: a ladder, and the feed of each
 * rung. The I/O thread decides; the media thread reads from each feed what its encode is to be. */
#ifndef PC_RUNGS_H
#define PC_RUNGS_H

#include "feed.h"
#include "ladder.h"
#include "peer_table.h"

struct pc_rungs {
    struct pc_feed *feeds[PC_LADDER_RUNGS];
    int count;
    atomic_int width, height; /* of the source, now */
    atomic_int fps, bitrate;  /* the most that an encode may have */

    struct pc_ladder ladder; /* I/O thread */
};

void pc_rungs_init(struct pc_rungs *rungs, int width, int height, int fps, int bitrate);

/* One more rung, below those there are. */
void pc_rungs_add(struct pc_rungs *rungs, struct pc_feed *feed);

bool pc_rungs_have(const struct pc_rungs *rungs, const struct pc_feed *feed);

/* I/O thread: by what the viewers' paths take now, put each on its rung, and say what each encode
 * is to be. `viewers`: room for as many pointers as there are peers. */
void pc_rungs_allot(struct pc_rungs *rungs, const struct pc_peer_table *peers,
                    struct pc_ladder_viewer **viewers, uint64_t now_ns);

#endif
