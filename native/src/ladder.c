#include "ladder.h"

#include <assert.h>
#include <string.h>

#include "clock.h"

#define BEHIND_PLAYERS  0.95 /* of what the rung's players get: cannot follow */
#define BEHIND_QUICKEST 0.7  /* of what the quickest on the rung takes: holds it up */
#define FAR_BEHIND      0.4  /* … and not for a moment longer */
#define AHEAD           1.15 /* of the rung above: can follow that */
#define AT_CEILING      0.95 /* of the ceiling: a path is never said to take more */
#define SLOW_NS         (500 * PC_NS_PER_MS)
#define QUICK_NS        (3000 * PC_NS_PER_MS)

/* ---- Steps ---- */

#define FEW_BITS   0.035 /* per pixel: too few for a moving picture */
#define GOOD_BITS  0.050 /* … enough to try */
#define RICH_NS    (2000 * PC_NS_PER_MS)
#define LEAST_SIDE 180 /* pixels of the shorter side */

static const struct {
    double scale; /* of each side */
    int divisor;  /* of the frame rate */
} steps[] = {{1, 1}, {0.75, 1}, {0.5, 1}, {0.5, 2}, {1.0 / 3, 2}};

enum { STEPS = sizeof steps / sizeof *steps };

static int even(double pixels)
{
    int size = (int)(pixels / 2 + 0.5) * 2;
    return size < 2 ? 2 : size;
}

void pc_ladder_size(int step, int width, int height, int *out_width, int *out_height)
{
    *out_width = step == 0 ? width : even(width * steps[step].scale);
    *out_height = step == 0 ? height : even(height * steps[step].scale);
}

static void shape(const struct pc_ladder_settings *settings, int step, struct pc_ladder_rung *rung)
{
    rung->step = step;
    pc_ladder_size(step, settings->width, settings->height, &rung->width, &rung->height);
    rung->fps = settings->fps / steps[step].divisor;
    if (rung->fps < 1)
        rung->fps = 1;
}

static double bits_per_pixel(const struct pc_ladder_settings *settings, int step, double bps)
{
    struct pc_ladder_rung rung = {0};
    shape(settings, step, &rung);
    return bps / ((double)rung.width * rung.height * rung.fps);
}

static bool exists(const struct pc_ladder_settings *settings, int step)
{
    struct pc_ladder_rung rung = {0};
    if (step >= STEPS)
        return false;
    shape(settings, step, &rung);
    return step == 0 || (rung.width < rung.height ? rung.width : rung.height) >= LEAST_SIDE;
}

static void choose_step(const struct pc_ladder_settings *settings, struct pc_ladder_rung *rung,
                        uint64_t now_ns)
{
    int step = rung->step;
    while (exists(settings, step + 1) && bits_per_pixel(settings, step, rung->bps) < FEW_BITS)
        step++;
    bool rich = step > 0 && bits_per_pixel(settings, step - 1, rung->bps) >= GOOD_BITS;
    if (!rich)
        rung->rich_since_ns = 0;
    else if (rung->rich_since_ns == 0)
        rung->rich_since_ns = now_ns;
    if (rich && now_ns - rung->rich_since_ns >= RICH_NS) {
        step--;
        rung->rich_since_ns = 0;
    }
    shape(settings, step, rung);
}

void pc_ladder_init(struct pc_ladder *ladder, const struct pc_ladder_settings *settings)
{
    memset(ladder, 0, sizeof *ladder);
    pc_ladder_set(ladder, settings);
}

void pc_ladder_set(struct pc_ladder *ladder, const struct pc_ladder_settings *settings)
{
    assert(settings->rungs >= 1 && settings->rungs <= PC_LADDER_RUNGS);
    assert(settings->floor_bps > 0 && settings->floor_bps <= settings->ceiling_bps);
    ladder->settings = *settings;
    for (int r = 0; r < PC_LADDER_RUNGS; r++) {
        struct pc_ladder_rung *rung = &ladder->rungs[r];
        if (rung->viewers == 0)
            rung->bps = settings->ceiling_bps;
        shape(settings, exists(settings, rung->step) ? rung->step : 0, rung);
    }
}

/* ---- Rungs ---- */

/* What the viewers of a rung take: of its players where there are some, else of all. */
struct census {
    int viewers, players;
    double slowest, quickest;
    double followers; /* the slowest one who is not slow for the rung */
};

static void take_census(struct pc_ladder_viewer *const *viewers, int count, struct census *census)
{
    memset(census, 0, PC_LADDER_RUNGS * sizeof *census);
    for (int i = 0; i < count; i++) {
        census[viewers[i]->rung].viewers++;
        census[viewers[i]->rung].players += viewers[i]->player;
    }
    for (int i = 0; i < count; i++) {
        const struct pc_ladder_viewer *viewer = viewers[i];
        struct census *c = &census[viewer->rung];
        if (c->players > 0 && !viewer->player)
            continue;
        if (c->slowest == 0 || viewer->bps < c->slowest)
            c->slowest = viewer->bps;
        if (viewer->bps > c->quickest)
            c->quickest = viewer->bps;
        if (viewer->slow_since_ns == 0 && (c->followers == 0 || viewer->bps < c->followers))
            c->followers = viewer->bps;
    }
}

/* A player holds others up when it is far slower than the quickest; who only watches beside players
 * cannot follow when it takes less than what they get. */
static bool is_slow(struct pc_ladder_viewer *viewer, const struct census *c, uint64_t now_ns)
{
    bool watches_players = c->players > 0 && !viewer->player;
    double least = watches_players ? c->slowest * BEHIND_PLAYERS : c->quickest * BEHIND_QUICKEST;
    if (viewer->bps >= least) {
        viewer->slow_since_ns = 0;
        return false;
    }
    if (viewer->slow_since_ns == 0)
        viewer->slow_since_ns = now_ns;
    double far = (watches_players ? c->slowest : c->quickest) * FAR_BEHIND;
    return viewer->bps < far || now_ns - viewer->slow_since_ns >= SLOW_NS;
}

static bool is_quick(struct pc_ladder_viewer *viewer, const struct pc_ladder_rung *above,
                     double ceiling_bps, uint64_t now_ns)
{
    double least = above->bps * AHEAD, enough = ceiling_bps * AT_CEILING;
    if (enough < least)
        least = enough;
    if (above->viewers > 0 && viewer->bps < least) {
        viewer->quick_since_ns = 0;
        return false;
    }
    if (viewer->quick_since_ns == 0)
        viewer->quick_since_ns = now_ns;
    return above->viewers == 0 || now_ns - viewer->quick_since_ns >= QUICK_NS;
}

static void move_viewers(struct pc_ladder *ladder, struct pc_ladder_viewer *const *viewers,
                         int count, const struct census *census, uint64_t now_ns)
{
    int last = ladder->settings.rungs - 1;
    for (int i = 0; i < count; i++) {
        struct pc_ladder_viewer *viewer = viewers[i];
        int rung = viewer->rung;
        if (rung < last && is_slow(viewer, &census[rung], now_ns))
            viewer->rung++;
        else if (rung > 0 &&
                 is_quick(viewer, &ladder->rungs[rung - 1], ladder->settings.ceiling_bps, now_ns))
            viewer->rung--;
        if (viewer->rung != rung)
            viewer->slow_since_ns = viewer->quick_since_ns = 0;
    }
}

static double clamp(double value, double least, double most)
{
    return value < least ? least : value > most ? most : value;
}

void pc_ladder_update(struct pc_ladder *ladder, struct pc_ladder_viewer *const *viewers, int count,
                      uint64_t now_ns)
{
    const struct pc_ladder_settings *settings = &ladder->settings;
    struct census census[PC_LADDER_RUNGS];
    for (int i = 0; i < count; i++)
        if (viewers[i]->rung >= settings->rungs)
            viewers[i]->rung = settings->rungs - 1;
    take_census(viewers, count, census);
    move_viewers(ladder, viewers, count, census, now_ns);
    take_census(viewers, count, census);
    for (int r = 0; r < PC_LADDER_RUNGS; r++) {
        const struct census *c = &census[r];
        struct pc_ladder_rung *rung = &ladder->rungs[r];
        rung->viewers = c->viewers;
        if (c->viewers == 0)
            continue;
        /* Who is about to step down governs no longer; from the last rung nobody can. */
        bool last = r == settings->rungs - 1;
        rung->bps = clamp(last || c->followers == 0 ? c->slowest : c->followers,
                          settings->floor_bps, settings->ceiling_bps);
        choose_step(settings, rung, now_ns);
    }
}
