#include "damage_rects.h"

/* What an area costs besides its pixels (a request, a conversion call), in pixels. */
#define OVERHEAD 4096

static int min(int a, int b)
{
    return a < b ? a : b;
}

static int max(int a, int b)
{
    return a > b ? a : b;
}

static int64_t area(struct pc_rect rect)
{
    return (int64_t)rect.width * rect.height;
}

static bool contains(struct pc_rect outer, struct pc_rect inner)
{
    return inner.x >= outer.x && inner.y >= outer.y &&
           inner.x + inner.width <= outer.x + outer.width &&
           inner.y + inner.height <= outer.y + outer.height;
}

static struct pc_rect join(struct pc_rect a, struct pc_rect b)
{
    int x = min(a.x, b.x), y = min(a.y, b.y);
    return (struct pc_rect){x, y, max(a.x + a.width, b.x + b.width) - x,
                            max(a.y + a.height, b.y + b.height) - y};
}

/* Pixels that joining two areas adds. */
static int64_t waste(struct pc_rect a, struct pc_rect b)
{
    return area(join(a, b)) - area(a) - area(b);
}

struct pc_rect pc_rect_intersect(struct pc_rect a, struct pc_rect b)
{
    int x = max(a.x, b.x), y = max(a.y, b.y);
    int width = min(a.x + a.width, b.x + b.width) - x;
    int height = min(a.y + a.height, b.y + b.height) - y;

    if (width <= 0 || height <= 0)
        return (struct pc_rect){0, 0, 0, 0};
    return (struct pc_rect){x, y, width, height};
}

/* The list's area that is cheapest to join with `rect`. */
static int cheapest(const struct pc_damage_rects *list, struct pc_rect rect)
{
    int best = 0;

    for (int i = 1; i < list->count; i++)
        if (waste(list->rects[i], rect) < waste(list->rects[best], rect))
            best = i;
    return best;
}

void pc_damage_rects_add(struct pc_damage_rects *list, struct pc_rect rect)
{
    if (pc_rect_empty(rect) || pc_damage_rects_contain(list, rect))
        return;

    /* A joined area may in turn swallow others, hence the loop; each turn takes one away. */
    while (list->count > 0) {
        int i = cheapest(list, rect);

        if (waste(list->rects[i], rect) > OVERHEAD && list->count < PC_DAMAGE_RECTS_MAX)
            break;
        rect = join(list->rects[i], rect);
        list->rects[i] = list->rects[--list->count];
    }
    list->rects[list->count++] = rect;
}

bool pc_damage_rects_contain(const struct pc_damage_rects *list, struct pc_rect rect)
{
    for (int i = 0; i < list->count; i++)
        if (contains(list->rects[i], rect))
            return true;
    return false;
}

int64_t pc_damage_rects_area(const struct pc_damage_rects *list)
{
    int64_t sum = 0;

    for (int i = 0; i < list->count; i++)
        sum += area(list->rects[i]);
    return sum;
}
