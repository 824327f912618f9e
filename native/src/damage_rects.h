/* A short list of areas that covers everything added to it. It may cover more: close areas are
 * joined when that is cheaper than copying them apart. */
#ifndef PC_DAMAGE_RECTS_H
#define PC_DAMAGE_RECTS_H

#include "source.h"

/* Leaves room for the pointer, at its old and its new place. */
#define PC_DAMAGE_RECTS_MAX (PC_MAX_RECTS - 2)

struct pc_damage_rects {
    int count;
    struct pc_rect rects[PC_DAMAGE_RECTS_MAX];
};

/* Add an area; an empty one changes nothing. */
void pc_damage_rects_add(struct pc_damage_rects *list, struct pc_rect rect);

/* Whether one of the list's areas contains `rect` whole. */
bool pc_damage_rects_contain(const struct pc_damage_rects *list, struct pc_rect rect);

/* Pixels in all areas; overlaps count twice. */
int64_t pc_damage_rects_area(const struct pc_damage_rects *list);

/* The common part; width and height are 0 when there is none. */
struct pc_rect pc_rect_intersect(struct pc_rect a, struct pc_rect b);

static inline bool pc_rect_empty(struct pc_rect rect)
{
    return rect.width <= 0 || rect.height <= 0;
}

static inline bool pc_rect_equal(struct pc_rect a, struct pc_rect b)
{
    return a.x == b.x && a.y == b.y && a.width == b.width && a.height == b.height;
}

#endif
