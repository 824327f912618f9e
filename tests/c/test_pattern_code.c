#include <stdlib.h>

#include "clock.h"
#include "convert.h"
#include "harness.h"
#include "pattern_code.h"

#include <x264.h>

static uint64_t seed = 0xc0de;

#define TIME_BITS 48

/* Random pixels with a code over them. */
static uint8_t *painted(int width, int height, uint32_t frame, uint64_t time_us)
{
    size_t bytes = (size_t)width * (size_t)height * 4;
    uint8_t *pixels = malloc(bytes);

    for (size_t i = 0; i < bytes; i++)
        pixels[i] = (uint8_t)(harness_random(&seed) >> 56);
    pc_pattern_write(pixels, width, height, (size_t)width * 4, frame, time_us);
    return pixels;
}

static void test_layout(void)
{
    enum { WIDTH = 320, HEIGHT = 180, EDGE = 8 };
    /* The header's words, with CRC-8 of 00 00 00 01 00 00 00 00 00 02 worked out by hand. */
    static const uint8_t expected[12] = {0xB2, 0, 0, 0, 1, 0, 0, 0, 0, 0, 2, 0xD1};
    uint8_t *pixels = painted(WIDTH, HEIGHT, 1, 2);

    for (int bit = 0; bit < PC_PATTERN_BITS; bit++) {
        const uint8_t *block =
            pixels + ((size_t)(bit / 32 * EDGE) * WIDTH + (size_t)(bit % 32 * EDGE)) * 4;
        int want = expected[bit / 8] >> (7 - bit % 8) & 1 ? 255 : 0;
        CHECK_EQ(block[0], want);
        CHECK_EQ(block[((EDGE - 1) * WIDTH + EDGE - 1) * 4 + 2], want);
    }
    free(pixels);
}

static void test_round_trip(void)
{
    static const int sizes[][2] = {{320, 180}, {640, 480}, {1280, 720}, {1366, 768}, {1920, 1080}};

    for (int i = 0; i < 100; i++) {
        int width = sizes[i % 5][0], height = sizes[i % 5][1];
        uint32_t want_frame = (uint32_t)harness_random(&seed), frame = 0;
        uint64_t want_time = harness_random(&seed) & ((1ull << TIME_BITS) - 1), time = 0;
        uint8_t *pixels = painted(width, height, want_frame, want_time);

        CHECK_EQ(pc_pattern_read(pixels + 1, width, height, (size_t)width * 4, 4, &frame, &time),
                 1);
        CHECK_EQ(frame, want_frame);
        CHECK_EQ(time, want_time);
        free(pixels);
    }
}

/* Time is taken modulo 2^48 and cannot spill into the frame number. */
static void test_time_wraps(void)
{
    uint32_t frame;
    uint64_t time;
    uint8_t *pixels = painted(320, 180, UINT32_MAX, UINT64_MAX);

    CHECK_EQ(pc_pattern_read(pixels + 1, 320, 180, 320 * 4, 4, &frame, &time), 1);
    CHECK_EQ(frame, UINT32_MAX);
    CHECK_EQ(time, (1ull << TIME_BITS) - 1);
    free(pixels);
}

/* A block that shows the wrong colour makes the code invalid: never a wrong number. */
static void test_every_wrong_block_is_noticed(void)
{
    enum { WIDTH = 640, HEIGHT = 360, EDGE = 16 };

    for (int bit = 0; bit < PC_PATTERN_BITS; bit++) {
        uint8_t *pixels = painted(WIDTH, HEIGHT, 12345, 678901234);
        uint32_t frame = 7;
        uint64_t time = 8;

        for (int y = 0; y < EDGE; y++)
            for (int b = 0; b < EDGE * 4; b++)
                pixels[((bit / 32 * EDGE + y) * WIDTH + bit % 32 * EDGE) * 4 + b] ^= 0xff;
        CHECK_EQ(pc_pattern_read(pixels + 1, WIDTH, HEIGHT, WIDTH * 4, 4, &frame, &time), 0);
        CHECK_EQ(frame, 7);
        CHECK_EQ(time, 8);
        free(pixels);
    }
}

static void test_hostile_sizes(void)
{
    uint8_t *pixels = calloc(320 * 180, 4);
    uint32_t frame;
    uint64_t time;

    for (int width = 0; width < 320; width += 7)
        for (int height = 0; height < 180; height += 5) {
            pc_pattern_write(pixels, width, height, 320 * 4, 1, 1);
            pc_pattern_read(pixels + 1, width, height, 320 * 4, 4, &frame, &time);
        }
    CHECK_EQ(pc_pattern_read(NULL, 320, 180, 320, 1, &frame, &time), 0);
    CHECK_EQ(pc_pattern_read(pixels, -1, -1, 320, 1, &frame, &time), 0);
    CHECK_EQ(pc_pattern_read(pixels, 320, 180, 320, 0, &frame, &time), 0);
    free(pixels);
}

/* As a receiver does that shows the picture smaller. */
static void test_scaled(void)
{
    static const int sizes[][4] = {{1920, 1080, 960, 540},
                                   {1280, 720, 640, 360},
                                   {1366, 768, 683, 384},
                                   {1920, 1080, 1280, 720}};

    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        int width = sizes[i][0], height = sizes[i][1];
        int small_width = sizes[i][2], small_height = sizes[i][3];
        uint8_t *pixels = painted(width, height, 99, 1234567890123);
        uint8_t *small = malloc((size_t)(small_width * small_height));
        uint32_t frame = 0;
        uint64_t time = 0;

        for (int y = 0; y < small_height; y++)
            for (int x = 0; x < small_width; x++)
                small[y * small_width + x] =
                    pixels[((size_t)(y * height / small_height) * (size_t)width +
                            (size_t)(x * width / small_width)) *
                               4 +
                           1];
        CHECK_EQ(pc_pattern_read(small, small_width, small_height, (size_t)small_width, 1, &frame,
                                 &time),
                 1);
        CHECK_EQ(frame, 99);
        CHECK_EQ(time, 1234567890123);
        free(pixels);
        free(small);
    }
}

static x264_t *open_encoder(int width, int height, int bitrate_kbps)
{
    x264_param_t param;

    x264_param_default_preset(&param, "ultrafast", "zerolatency");
    param.i_width = width;
    param.i_height = height;
    param.i_threads = 1;
    param.i_log_level = X264_LOG_NONE;
    param.b_full_recon = 1; /* the picture as a decoder has it */
    param.rc.i_rc_method = X264_RC_ABR;
    param.rc.i_bitrate = bitrate_kbps;
    param.rc.i_vbv_max_bitrate = bitrate_kbps;
    param.rc.i_vbv_buffer_size = bitrate_kbps / 10;
    param.i_fps_num = 60;
    param.i_fps_den = 1;
    return x264_encoder_open(&param);
}

/* Through x264 at bitrates far too low for the content: the code can be read out of what the
 * encoder reconstructs, which is what every decoder shows. */
static void test_survives_low_bitrates(void)
{
    static const struct {
        int width, height, kbps;
    } runs[] = {{1280, 720, 800}, {1920, 1080, 1500}};

    for (size_t i = 0; i < sizeof runs / sizeof runs[0]; i++) {
        struct pc_source *source = NULL;
        struct pc_pattern_settings settings = {runs[i].width, runs[i].height, 1, 5};
        struct pc_picture picture;
        x264_t *encoder = open_encoder(runs[i].width, runs[i].height, runs[i].kbps);
        int read = 0;
        double quantiser = 0;

        CHECK_EQ(pc_source_open_pattern(&settings, &source), 0);
        CHECK_EQ(pc_picture_alloc(&picture, runs[i].width, runs[i].height), 0);
        for (int n = 0; n < 30; n++) {
            struct pc_source_frame frame;
            x264_picture_t in, out;
            x264_nal_t *nals;
            int nal_count;
            uint32_t number = 0;
            uint64_t time = 0, now = 1000000ull * (uint64_t)(n + 1) * 16;

            source->ops->grab(source, now, &frame);
            pc_convert(&frame, &picture);
            x264_picture_init(&in);
            in.i_pts = n;
            in.img.i_csp = X264_CSP_I420;
            in.img.i_plane = 3;
            for (int p = 0; p < 3; p++) {
                in.img.plane[p] = picture.plane[p];
                in.img.i_stride[p] = picture.stride[p];
            }
            CHECK(x264_encoder_encode(encoder, &nals, &nal_count, &in, &out) > 0);
            quantiser += out.i_qpplus1 - 1;
            read += pc_pattern_read(out.img.plane[0], runs[i].width, runs[i].height,
                                    (size_t)out.img.i_stride[0], 1, &number, &time) == 1 &&
                    number == (uint32_t)n && time == now / 1000;
        }
        CHECK_EQ(read, 30);
        CHECK(quantiser / 30 > 40); /* or the test is too easy */
        x264_encoder_close(encoder);
        pc_picture_free(&picture);
        pc_source_close(source);
    }
}

/* Printed, not asserted: the machine may be busy. */
static void time_reading(void)
{
    uint8_t *pixels = painted(1920, 1080, 1, 1);
    uint64_t best = UINT64_MAX, time;
    uint32_t frame;

    for (int i = 0; i < 50; i++) {
        uint64_t start = pc_now_ns();
        pc_pattern_read(pixels + 1, 1920, 1080, 1920 * 4, 4, &frame, &time);
        uint64_t taken = pc_now_ns() - start;
        best = taken < best ? taken : best;
    }
    printf("  read at 1920x1080 %5.1f us\n", (double)best / 1e3);
    free(pixels);
}

int main(void)
{
    RUN(test_layout);
    RUN(test_round_trip);
    RUN(test_time_wraps);
    RUN(test_every_wrong_block_is_noticed);
    RUN(test_hostile_sizes);
    RUN(test_scaled);
    RUN(test_survives_low_bitrates);
    RUN(time_reading);
    return HARNESS_RESULT();
}
