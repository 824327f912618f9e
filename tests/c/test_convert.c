#include <libyuv.h>
#include <math.h>
#include <stdbool.h>
#include <stdlib.h>

#include "clock.h"
#include "convert.h"
#include "convert_rows.h"
#include "harness.h"

static uint64_t seed = 0x5eed5eed5eedull;

static uint8_t *random_bytes(size_t size)
{
    uint8_t *bytes = malloc(size);

    for (size_t i = 0; i < size; i++)
        bytes[i] = (uint8_t)(harness_random(&seed) >> 56);
    return bytes;
}

static struct pc_source_frame whole_frame(const uint8_t *pixels, size_t stride, int width,
                                          int height)
{
    return (struct pc_source_frame){
        .pixels = pixels,
        .stride = stride,
        .width = width,
        .height = height,
        .rect_count = 1,
        .rects = {{0, 0, width, height}},
    };
}

static bool same_pictures(const struct pc_picture *a, const struct pc_picture *b)
{
    for (int plane = 0; plane < 3; plane++) {
        int width = (a->width + 1) / 2 * (plane ? 1 : 2);
        int height = (a->height + 1) / 2 * (plane ? 1 : 2);

        for (int y = 0; y < height; y++)
            if (memcmp(a->plane[plane] + (ptrdiff_t)y * a->stride[plane],
                       b->plane[plane] + (ptrdiff_t)y * b->stride[plane], (size_t)width) != 0)
                return false;
    }
    return true;
}

static void test_simd_equals_reference(void)
{
    static const int sizes[][2] = {{1, 1},   {2, 2},   {3, 5},    {31, 7},   {32, 2},
                                   {33, 3},  {34, 4},  {63, 63},  {64, 64},  {65, 9},
                                   {127, 5}, {322, 8}, {1366, 6}, {1919, 3}, {1920, 4}};

    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        int width = sizes[i][0], height = sizes[i][1];
        size_t stride = (size_t)width * 4 + (harness_random(&seed) % 5) * 4;
        uint8_t *pixels = random_bytes(stride * (size_t)height);
        struct pc_source_frame frame = whole_frame(pixels, stride, width, height);
        struct pc_picture reference, simd;

        CHECK_EQ(pc_picture_alloc(&reference, width, height), 0);
        CHECK_EQ(pc_picture_alloc(&simd, width, height), 0);
        pc_convert_init(false);
        pc_convert(&frame, &reference);
        pc_convert_init(true);
        pc_convert(&frame, &simd);
        CHECK(same_pictures(&reference, &simd));
        pc_picture_free(&reference);
        pc_picture_free(&simd);
        free(pixels);
    }
}

/* BT.709 written out in floating point. */
static void test_reference_is_bt709(void)
{
    for (int i = 0; i < 200000; i++) {
        uint64_t bits = harness_random(&seed);
        uint8_t pixel[4] = {(uint8_t)bits, (uint8_t)(bits >> 8), (uint8_t)(bits >> 16), 7};
        uint8_t y[4], u, v; /* the pixel counts four times */
        double b = pixel[0] / 255.0, g = pixel[1] / 255.0, r = pixel[2] / 255.0;
        double luma = 0.2126 * r + 0.7152 * g + 0.0722 * b;

        pc_convert_rows_reference(pixel, pixel, y, y + 2, &u, &v, 1);
        if (fabs(y[0] - (16 + 219 * luma)) > 0.6 ||
            fabs(u - (128 + 224 * (b - luma) / 1.8556)) > 0.6 ||
            fabs(v - (128 + 224 * (r - luma) / 1.5748)) > 0.6) {
            CHECK(!"within 0.6 of BT.709");
            return;
        }
        CHECK(y[0] == y[1] && y[0] == y[2] && y[0] == y[3]);
    }
}

static void test_known_colours(void)
{
    static const struct {
        uint8_t r, g, b, y, u, v;
    } colours[] = {
        {255, 255, 255, 235, 128, 128}, {0, 0, 0, 16, 128, 128},     {255, 0, 0, 63, 102, 240},
        {0, 255, 0, 173, 42, 26},       {0, 0, 255, 32, 240, 118},   {0, 255, 255, 188, 154, 16},
        {255, 0, 255, 78, 214, 230},    {255, 255, 0, 219, 16, 138}, {128, 128, 128, 126, 128, 128},
    };
    enum { WIDTH = 66, HEIGHT = 4 };
    uint8_t pixels[WIDTH * HEIGHT * 4];
    struct pc_source_frame frame = whole_frame(pixels, WIDTH * 4, WIDTH, HEIGHT);
    struct pc_picture picture;

    CHECK_EQ(pc_picture_alloc(&picture, WIDTH, HEIGHT), 0);
    for (size_t i = 0; i < sizeof colours / sizeof colours[0]; i++) {
        for (int p = 0; p < WIDTH * HEIGHT; p++)
            memcpy(pixels + 4 * p,
                   (uint8_t[]){colours[i].b, colours[i].g, colours[i].r, (uint8_t)p}, 4);
        pc_convert(&frame, &picture);
        CHECK_EQ(picture.plane[0][picture.stride[0] + 1], colours[i].y);
        CHECK_EQ(picture.plane[1][WIDTH / 2 - 1], colours[i].u);
        CHECK_EQ(picture.plane[2][WIDTH / 2 - 1], colours[i].v);
    }
    pc_picture_free(&picture);
}

/* 2 x 2 pixels of red, green, blue and black have the chroma of their mean. */
static void test_chroma_is_the_mean(void)
{
    const uint8_t pixels[16] = {0, 0, 255, 0, 0, 255, 0, 0, 255, 0, 0, 0, 0, 0, 0, 0};
    struct pc_source_frame frame = whole_frame(pixels, 8, 2, 2);
    struct pc_picture picture;

    CHECK_EQ(pc_picture_alloc(&picture, 2, 2), 0);
    pc_convert(&frame, &picture);
    CHECK_EQ(picture.plane[1][0], 128); /* of grey 63.75 */
    CHECK_EQ(picture.plane[2][0], 128);
    CHECK_EQ(picture.plane[0][0], 63);
    CHECK_EQ(picture.plane[0][1], 173);
    CHECK_EQ(picture.plane[0][picture.stride[0]], 32);
    CHECK_EQ(picture.plane[0][picture.stride[0] + 1], 16);
    pc_picture_free(&picture);
}

static void test_odd_edges_are_repeated(void)
{
    enum { WIDTH = 35, HEIGHT = 7 };
    uint8_t *pixels = random_bytes(WIDTH * HEIGHT * 4);
    struct pc_source_frame frame = whole_frame(pixels, WIDTH * 4, WIDTH, HEIGHT);
    struct pc_picture picture;

    CHECK_EQ(pc_picture_alloc(&picture, WIDTH, HEIGHT), 0);
    pc_convert(&frame, &picture);
    for (int y = 0; y < HEIGHT; y++)
        CHECK_EQ(picture.plane[0][y * picture.stride[0] + WIDTH],
                 picture.plane[0][y * picture.stride[0] + WIDTH - 1]);
    CHECK_BYTES(picture.plane[0] + HEIGHT * picture.stride[0],
                picture.plane[0] + (HEIGHT - 1) * picture.stride[0], WIDTH + 1);
    pc_picture_free(&picture);
    free(pixels);
}

/* Changing some areas and converting only these gives the same picture as converting it all, and
 * leaves everything else alone. */
static void test_areas(void)
{
    enum { WIDTH = 201, HEIGHT = 99, ROUNDS = 200 };
    uint8_t *pixels = random_bytes(WIDTH * HEIGHT * 4);
    struct pc_source_frame frame = whole_frame(pixels, WIDTH * 4, WIDTH, HEIGHT);
    struct pc_picture parts, all;

    CHECK_EQ(pc_picture_alloc(&parts, WIDTH, HEIGHT), 0);
    CHECK_EQ(pc_picture_alloc(&all, WIDTH, HEIGHT), 0);
    pc_convert(&frame, &parts);
    for (int round = 0; round < ROUNDS; round++) {
        struct pc_source_frame changed = frame;

        changed.rect_count = (int)(harness_random(&seed) % 4);
        for (int i = 0; i < changed.rect_count; i++) {
            struct pc_rect *rect = &changed.rects[i];

            rect->x = (int)(harness_random(&seed) % WIDTH);
            rect->y = (int)(harness_random(&seed) % HEIGHT);
            rect->width = 1 + (int)(harness_random(&seed) % (uint64_t)(WIDTH - rect->x));
            rect->height = 1 + (int)(harness_random(&seed) % (uint64_t)(HEIGHT - rect->y));
            for (int y = rect->y; y < rect->y + rect->height; y++)
                for (int b = rect->x * 4; b < (rect->x + rect->width) * 4; b++)
                    pixels[y * WIDTH * 4 + b] = (uint8_t)(harness_random(&seed) >> 56);
        }
        pc_convert(&changed, &parts);
        pc_convert(&frame, &all);
        CHECK(same_pictures(&parts, &all));
    }

    memset(parts.plane[0], 77, (size_t)parts.stride[0]);
    struct pc_source_frame below = frame;
    below.rects[0] = (struct pc_rect){0, 2, WIDTH, 4};
    pc_convert(&below, &parts);
    CHECK_EQ(parts.plane[0][0], 77);
    below.rects[0] = (struct pc_rect){-5, -5, 3 * WIDTH, 6}; /* hangs over: clipped */
    pc_convert(&below, &parts);
    CHECK(same_pictures(&parts, &all));
    pc_picture_free(&parts);
    pc_picture_free(&all);
    free(pixels);
}

static void test_picture_alloc(void)
{
    struct pc_picture picture;

    CHECK_EQ(pc_picture_alloc(&picture, 1921, 1), 0);
    for (int plane = 0; plane < 3; plane++) {
        CHECK_EQ((uintptr_t)picture.plane[plane] % 64, 0);
        CHECK_EQ(picture.stride[plane] % 64, 0);
    }
    CHECK(picture.stride[0] >= 1922 && picture.stride[1] >= 961);
    CHECK_EQ(picture.plane[0][picture.stride[0] + 1921], 16);
    CHECK_EQ(picture.plane[2][960], 128);
    pc_picture_free(&picture);
    CHECK(picture.memory == NULL);
    CHECK(pc_picture_alloc(&picture, 0, 100) < 0);
    CHECK(pc_picture_alloc(&picture, 100, 20000) < 0);
    CHECK(picture.memory == NULL);
}

/* Printed, not asserted: the machine may be busy. */
static void time_against_libyuv(void)
{
    enum { WIDTH = 1920, HEIGHT = 1080, ROUNDS = 30 };
    uint8_t *pixels = random_bytes(WIDTH * HEIGHT * 4);
    struct pc_source_frame frame = whole_frame(pixels, WIDTH * 4, WIDTH, HEIGHT);
    static const char *const names[] = {"reference", "simd", "libyuv (BT.601)", "simd 64x64"};
    struct pc_picture picture;

    CHECK_EQ(pc_picture_alloc(&picture, WIDTH, HEIGHT), 0);
    for (int i = 0; i < 4; i++) {
        uint64_t best = UINT64_MAX;

        pc_convert_init(i != 0);
        if (i == 3)
            frame.rects[0] = (struct pc_rect){640, 480, 64, 64};
        for (int round = 0; round < ROUNDS; round++) {
            uint64_t start = pc_now_ns();

            if (i == 2)
                ARGBToI420(pixels, WIDTH * 4, picture.plane[0], picture.stride[0], picture.plane[1],
                           picture.stride[1], picture.plane[2], picture.stride[2], WIDTH, HEIGHT);
            else
                pc_convert(&frame, &picture);
            uint64_t taken = pc_now_ns() - start;
            best = taken < best ? taken : best;
        }
        printf("  1920x1080 %-16s %7.3f ms\n", names[i], (double)best / 1e6);
    }
    pc_picture_free(&picture);
    free(pixels);
}

int main(void)
{
    RUN(test_simd_equals_reference);
    RUN(test_reference_is_bt709);
    RUN(test_known_colours);
    RUN(test_chroma_is_the_mean);
    RUN(test_odd_edges_are_repeated);
    RUN(test_areas);
    RUN(test_picture_alloc);
    RUN(time_against_libyuv);
    return HARNESS_RESULT();
}
