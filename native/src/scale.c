#include "scale.h"

#include <libyuv/scale.h>

#define SMEAR                                                                                      \
    2 /* pixels of the smaller picture that one of the larger has a part in, to each side */

void pc_scale(const struct pc_picture *from, struct pc_picture *to)
{
    /* A box is what a reduction to less than half needs; libyuv takes the cheaper way above. */
    I420Scale(from->plane[0], from->stride[0], from->plane[1], from->stride[1], from->plane[2],
              from->stride[2], from->width, from->height, to->plane[0], to->stride[0], to->plane[1],
              to->stride[1], to->plane[2], to->stride[2], to->width, to->height, kFilterBox);
}

static int clamp(int value, int least, int most)
{
    return value < least ? least : value > most ? most : value;
}

/* From `begin` to `end` of `from` pixels, in `to` pixels. */
static void scale_span(int begin, int end, int from, int to, int *at, int *size)
{
    int first = (int)((int64_t)begin * to / from) - SMEAR;
    int last = (int)(((int64_t)end * to + from - 1) / from) + SMEAR;
    *at = clamp(first, 0, to);
    *size = clamp(last, 0, to) - *at;
}

void pc_scale_rects(const struct pc_picture *from, const struct pc_picture *to,
                    const struct pc_rect *areas, int count, struct pc_rect *out)
{
    for (int i = 0; i < count; i++) {
        const struct pc_rect *area = &areas[i];
        scale_span(area->x, area->x + area->width, from->width, to->width, &out[i].x,
                   &out[i].width);
        scale_span(area->y, area->y + area->height, from->height, to->height, &out[i].y,
                   &out[i].height);
    }
}
