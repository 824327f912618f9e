/* Who gets which encode of a stream, and what does each encode look like? Pure: time is an
 * argument.
 *
 * A stream has up to three rungs, each one encode. Everyone starts on the first. Its rate is that
 * of the players on it; where nobody plays, of the slowest viewer who is not left behind. Who
 * cannot follow steps down to the next rung; who could easily follow the one above steps up. So the
 * slowest viewer governs nobody but those on the last rung, and a spectator never a player.
 *
 *   steps down   its path takes less than 0.95 of what the rung's players get, or less than 0.7 of
 *                what the quickest on the rung takes, for 0.5 s; below 0.4 at once
 *   steps up     its path takes 1.15 of the rung above (or the ceiling), for 3 s; at once when that
 *                one is empty
 *
 * A rung that has fewer bits has fewer pixels, then fewer frames: each step is taken down when its
 * bits per pixel are too few, and up when the step above would have enough for 2 s. */
#ifndef PC_LADDER_H
#define PC_LADDER_H

#include <stdbool.h>
#include <stdint.h>

#define PC_LADDER_RUNGS 3

struct pc_ladder_settings {
    int width, height, fps;        /* of the source, and the cap */
    double floor_bps, ceiling_bps; /* of one encode; 0 < floor <= ceiling */
    int rungs;                     /* 1..PC_LADDER_RUNGS */
};

struct pc_ladder_viewer {
    double bps;  /* what its path takes of media */
    bool player; /* plays: governs its rung */
    int rung;    /* where it is, and after pc_ladder_update() where it should be; starts at 0 */
    uint64_t slow_since_ns, quick_since_ns; /* the ladder's memory of it; 0 = it is not */
};

struct pc_ladder_rung {
    int viewers;
    double bps;
    int width, height, fps; /* even sizes */
    int step;               /* 0 = as the source */
    uint64_t rich_since_ns; /* the step above would have enough bits since then; 0 = it has not */
};

struct pc_ladder {
    struct pc_ladder_settings settings;
    struct pc_ladder_rung rungs[PC_LADDER_RUNGS];
};

void pc_ladder_init(struct pc_ladder *ladder, const struct pc_ladder_settings *settings);

/* The source's size, the cap or the bounds changed. */
void pc_ladder_set(struct pc_ladder *ladder, const struct pc_ladder_settings *settings);

/* The size of a picture after so many steps; 0: as it is. */
void pc_ladder_size(int step, int width, int height, int *out_width, int *out_height);

/* What the viewers' paths take now. Sets their rungs, and what each rung is to be. */
void pc_ladder_update(struct pc_ladder *ladder, struct pc_ladder_viewer *const *viewers, int count,
                      uint64_t now_ns);

#endif
