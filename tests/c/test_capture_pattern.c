#include <errno.h>
#include <stdlib.h>

#include "clock.h"
#include "harness.h"
#include "pattern_code.h"
#include "source.h"

static struct pc_source *open_pattern(int width, int height, int motion, uint32_t seed)
{
    struct pc_source *source = NULL;
    struct pc_pattern_settings settings = {width, height, motion, seed};

    CHECK_EQ(pc_source_open_pattern(&settings, &source), 0);
    return source;
}

static uint8_t *copy(const struct pc_source_frame *frame)
{
    size_t row = (size_t)frame->width * 4;
    uint8_t *pixels = malloc(row * (size_t)frame->height);

    for (int y = 0; y < frame->height; y++)
        memcpy(pixels + (size_t)y * row, frame->pixels + (size_t)y * frame->stride, row);
    return pixels;
}

/* Grabs up to picture `number`, the same time for all. */
static uint8_t *picture(struct pc_source *source, uint64_t number)
{
    struct pc_source_frame frame;

    do
        CHECK_EQ(source->ops->grab(source, 5000, &frame), 0);
    while (frame.serial < number);
    return copy(&frame);
}

static void test_code_counts_grabs(void)
{
    for (int motion = 0; motion < 2; motion++) {
        struct pc_source *source = open_pattern(640, 360, motion, 1);
        uint64_t damage_ns = 0;

        CHECK_EQ(source->ops->fd(source), -1);
        CHECK_EQ(source->ops->poll(source, 77, &damage_ns), 1);
        CHECK_EQ(damage_ns, 77);
        for (uint32_t n = 0; n < 20; n++) {
            struct pc_source_frame frame;
            uint32_t number = 0;
            uint64_t time = 0, now = 123456789012345ull + n * 16666667ull;

            CHECK_EQ(source->ops->grab(source, now, &frame), 0);
            CHECK_EQ(frame.serial, n);
            CHECK_EQ(frame.damage_ns, now);
            CHECK_EQ(frame.width, 640);
            CHECK_EQ(frame.height, 360);
            CHECK_EQ(pc_pattern_read(frame.pixels + 1, 640, 360, frame.stride, 4, &number, &time),
                     1);
            CHECK_EQ(number, n);
            CHECK_EQ(time, now / 1000);
        }
        pc_source_close(source);
    }
}

static void test_deterministic(void)
{
    for (int motion = 0; motion < 2; motion++) {
        uint8_t *pictures[3];
        for (int i = 0; i < 3; i++) {
            struct pc_source *source = open_pattern(480, 270, motion, i < 2 ? 42 : 43);
            pictures[i] = picture(source, 17);
            pc_source_close(source);
        }
        CHECK_BYTES(pictures[0], pictures[1], 480 * 270 * 4);
        CHECK(memcmp(pictures[0], pictures[2], 480 * 270 * 4) != 0);
        for (int i = 0; i < 3; i++)
            free(pictures[i]);
    }
}

/* Moving: hardly any pixel keeps its colour from one picture to the next, at all times. */
static void test_everything_moves(void)
{
    struct pc_source *source = open_pattern(640, 360, 1, 3);
    uint8_t *before = picture(source, 0);
    int below_code = PC_PATTERN_ROWS * pc_pattern_edge(640);

    for (uint64_t n = 1; n < 600; n++) {
        uint8_t *after = picture(source, n);
        int same = 0;

        for (int i = below_code * 640; i < 640 * 360; i++)
            same += memcmp(before + 4 * i, after + 4 * i, 3) == 0;
        CHECK(same * 100 < 640 * (360 - below_code) * 12);
        free(before);
        before = after;
    }
    free(before);
    pc_source_close(source);
}

/* Still: what changes is in the reported areas, and is little. */
static void test_changes_are_reported(void)
{
    struct pc_source *source = open_pattern(1280, 720, 0, 9);
    struct pc_source_frame frame;
    int unreported = 0;
    long long reported = 0;

    CHECK_EQ(source->ops->grab(source, 1000, &frame), 0);
    CHECK_EQ(frame.rect_count, 1);
    CHECK_EQ(frame.rects[0].width, 1280);
    CHECK_EQ(frame.rects[0].height, 720);
    uint8_t *before = copy(&frame);
    for (int n = 1; n < 700; n++) {
        CHECK_EQ(source->ops->grab(source, 1000000ull * (uint64_t)n, &frame), 0);
        uint8_t *after = copy(&frame);
        for (int i = 0; i < frame.rect_count; i++) {
            struct pc_rect r = frame.rects[i];
            reported += (long long)r.width * r.height;
            CHECK(r.x >= 0 && r.y >= 0 && r.x + r.width <= 1280 && r.y + r.height <= 720);
            for (int y = r.y; y < r.y + r.height; y++)
                memcpy(before + (y * 1280 + r.x) * 4, after + (y * 1280 + r.x) * 4,
                       (size_t)r.width * 4);
        }
        unreported += memcmp(before, after, 1280 * 720 * 4) != 0;
        free(after);
    }
    CHECK_EQ(unreported, 0);
    CHECK(reported / 699 < 1280 * 720 / 8);
    free(before);
    pc_source_close(source);
}

static void test_bad_settings(void)
{
    static const int sizes[][2] = {{318, 180}, {320, 178}, {641, 360},     {640, 361},
                                   {0, 0},     {-2, -2},   {100000, 1000}, {8192, 180}};
    struct pc_source *source = NULL;

    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        struct pc_pattern_settings settings = {sizes[i][0], sizes[i][1], 1, 0};
        CHECK_EQ(pc_source_open_pattern(&settings, &source), -EINVAL);
    }
    CHECK_EQ(pc_source_open_pattern(NULL, &source), -EINVAL);
    CHECK(source == NULL);
}

/* Odd shapes, for the sanitizers. */
static void test_extreme_sizes(void)
{
    static const int sizes[][2] = {{320, 180}, {320, 4096}, {4096, 320}, {322, 182}};

    for (int i = 0; i < 8; i++) {
        struct pc_source *source =
            open_pattern(sizes[i / 2][0], sizes[i / 2][1], i % 2, (uint32_t)i);
        for (int n = 0; n < 300; n++) {
            struct pc_source_frame frame;
            CHECK_EQ(source->ops->grab(source, (uint64_t)n, &frame), 0);
        }
        pc_source_close(source);
    }
}

/* Printed, not asserted: the machine may be busy. */
static void time_generation(void)
{
    for (int i = 0; i < 4; i++) {
        int width = i < 2 ? 1280 : 1920, height = i < 2 ? 720 : 1080;
        struct pc_source *source = open_pattern(width, height, i % 2, 1);
        struct pc_source_frame frame;
        uint64_t best = UINT64_MAX;

        for (int n = 0; n < 50; n++) {
            uint64_t start = pc_now_ns();
            source->ops->grab(source, start, &frame);
            uint64_t taken = pc_now_ns() - start;
            best = taken < best ? taken : best;
        }
        printf("  %dx%d motion %d %6.3f ms\n", width, height, i % 2, (double)best / 1e6);
        pc_source_close(source);
    }
}

int main(void)
{
    RUN(test_code_counts_grabs);
    RUN(test_deterministic);
    RUN(test_everything_moves);
    RUN(test_changes_are_reported);
    RUN(test_bad_settings);
    RUN(test_extreme_sizes);
    RUN(time_generation);
    return HARNESS_RESULT();
}
