#include "harness.h"

#include <string.h>

#include "scale.h"

static void fill(struct pc_picture *picture, int plane, uint8_t value)
{
    int rows = plane == 0 ? picture->height : (picture->height + 1) / 2;
    memset(picture->plane[plane], value, (size_t)picture->stride[plane] * (size_t)rows);
}

static void an_even_picture_stays_what_it_is(void)
{
    struct pc_picture from, to;
    CHECK_EQ(pc_picture_alloc(&from, 640, 360), 0);
    CHECK_EQ(pc_picture_alloc(&to, 480, 270), 0);
    for (int p = 0; p < 3; p++)
        fill(&from, p, (uint8_t)(40 + 50 * p));
    pc_scale(&from, &to);
    for (int p = 0; p < 3; p++) {
        int rows = p == 0 ? 270 : 135, columns = p == 0 ? 480 : 240;
        for (int y = 0; y < rows; y++)
            for (int x = 0; x < columns; x++)
                if (to.plane[p][y * to.stride[p] + x] != 40 + 50 * p)
                    CHECK_EQ(to.plane[p][y * to.stride[p] + x], 40 + 50 * p);
    }
    pc_picture_free(&from);
    pc_picture_free(&to);
}

/* A bright square keeps its place; everything that changed is within the areas that are told. */
static void what_changed_is_where_the_areas_say(void)
{
    static const struct {
        int width, height;
    } sizes[] = {{480, 270}, {320, 180}, {214, 120}};
    for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++) {
        struct pc_picture from, before, after;
        CHECK_EQ(pc_picture_alloc(&from, 640, 360), 0);
        CHECK_EQ(pc_picture_alloc(&before, sizes[s].width, sizes[s].height), 0);
        CHECK_EQ(pc_picture_alloc(&after, sizes[s].width, sizes[s].height), 0);
        fill(&from, 0, 30);
        pc_scale(&from, &before);
        const struct pc_rect changed = {.x = 101, .y = 51, .width = 33, .height = 17};
        for (int y = changed.y; y < changed.y + changed.height; y++)
            memset(from.plane[0] + y * from.stride[0] + changed.x, 220, (size_t)changed.width);
        pc_scale(&from, &after);
        struct pc_rect area;
        pc_scale_rects(&from, &after, &changed, 1, &area);
        CHECK(area.width < 50 && area.height < 30);
        int inside = 0;
        for (int y = 0; y < after.height; y++)
            for (int x = 0; x < after.width; x++) {
                if (after.plane[0][y * after.stride[0] + x] ==
                    before.plane[0][y * before.stride[0] + x])
                    continue;
                bool within = x >= area.x && x < area.x + area.width && y >= area.y &&
                              y < area.y + area.height;
                CHECK(within);
                inside++;
            }
        CHECK(inside > 20);
        pc_picture_free(&from);
        pc_picture_free(&before);
        pc_picture_free(&after);
    }
}

static void areas_stay_within_the_picture(void)
{
    const struct pc_picture from = {.width = 1280, .height = 720},
                            to = {.width = 640, .height = 360};
    const struct pc_rect all = {.width = 1280, .height = 720};
    struct pc_rect area;
    pc_scale_rects(&from, &to, &all, 1, &area);
    CHECK_EQ(area.x, 0);
    CHECK_EQ(area.y, 0);
    CHECK_EQ(area.width, 640);
    CHECK_EQ(area.height, 360);
}

int main(void)
{
    RUN(an_even_picture_stays_what_it_is);
    RUN(what_changed_is_where_the_areas_say);
    RUN(areas_stay_within_the_picture);
    return HARNESS_RESULT();
}
