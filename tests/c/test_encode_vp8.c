#include <errno.h>
#include <stdlib.h>

#include "encode.h"
#include "moving_picture.h"
#include "packetize.h"

enum { WIDTH = 480, HEIGHT = 270, FPS = 30, BITRATE = 1500000 };

static struct scene scene;
static struct pc_picture picture;

struct collected {
    uint8_t *bytes;
    size_t size;
    int count;
    bool last;
};

static void on_unit(void *context, const uint8_t *data, size_t size, bool last)
{
    struct collected *collected = context;
    collected->bytes = realloc(collected->bytes, size);
    memcpy(collected->bytes, data, size);
    collected->size = size;
    collected->count++;
    collected->last = last;
}

static const struct pc_encoder_settings usual = {
    .width = WIDTH,
    .height = HEIGHT,
    .fps = FPS,
    .bitrate = BITRATE,
    .on_unit = on_unit,
};

static struct pc_encoder *open_encoder(struct pc_encoder_settings settings,
                                       struct collected *collected)
{
    struct pc_encoder *encoder = NULL;
    *collected = (struct collected){0};
    settings.context = collected;
    CHECK_EQ(pc_encoder_open_vp8(&settings, &encoder), 0);
    return encoder;
}

/* RFC 6386 9.1: the frame tag's first bit is 0 for a key frame, which then has a start code and its
 * size. */
static struct pc_encode_result encode(struct pc_encoder *encoder, struct collected *collected,
                                      bool idr)
{
    struct pc_encode_result result = {0};
    collected->count = 0;
    CHECK_EQ(encoder->ops->encode(encoder, 0, &picture, NULL, 0, idr, &result), 0);
    CHECK(!result.skipped);
    CHECK_EQ(collected->count, 1);
    CHECK(collected->last);
    CHECK_EQ(collected->size, result.bytes);
    CHECK_EQ((collected->bytes[0] & 1) == 0, result.idr);
    CHECK(result.quantiser >= 0 && result.quantiser <= 127);
    if (result.idr) {
        CHECK_BYTES(collected->bytes + 3, "\x9d\x01\x2a", 3);
        CHECK_EQ(collected->bytes[6] | (collected->bytes[7] & 0x3f) << 8, picture.width);
        CHECK_EQ(collected->bytes[8] | (collected->bytes[9] & 0x3f) << 8, picture.height);
    }
    return result;
}

static void close_encoder(struct pc_encoder *encoder, struct collected *collected)
{
    encoder->ops->close(encoder);
    free(collected->bytes);
}

static void test_idr_first_and_on_demand_only(void)
{
    struct collected collected;
    struct pc_encoder *encoder = open_encoder(usual, &collected);
    for (int i = 0; i < 40; i++) {
        scene_draw(&scene, i, &picture);
        CHECK_EQ(encode(encoder, &collected, i == 25).idr, i == 0 || i == 25);
    }
    close_encoder(encoder, &collected);
}

static void test_rate_changes_in_place(void)
{
    static const int bitrates[] = {BITRATE, BITRATE / 3, BITRATE * 2};
    struct collected collected;
    struct pc_encoder *encoder = open_encoder(usual, &collected);
    encode(encoder, &collected, false);
    for (int i = 0; i < 3; i++) {
        CHECK_EQ(encoder->ops->set_rate(encoder, bitrates[i], FPS), 0);
        double bytes = 0;
        for (int frame = 0; frame < 2 * FPS; frame++) {
            scene_draw(&scene, frame, &picture);
            struct pc_encode_result result = encode(encoder, &collected, false);
            CHECK(!result.idr);
            bytes += frame >= FPS ? (double)result.bytes : 0; /* the first second adapts */
        }
        CHECK(bytes > 0.8 * bitrates[i] / 8 && bytes < 1.2 * bitrates[i] / 8);
    }
    CHECK_EQ(encoder->ops->set_rate(encoder, 0, FPS), -EINVAL);
    CHECK_EQ(encoder->ops->set_rate(encoder, BITRATE, 0), -EINVAL);
    close_encoder(encoder, &collected);
}

static void test_packets_rebuild_the_frame(void)
{
    struct pc_au_pool *pool = pc_au_pool_create(2);
    struct pc_vp8_packetizer packetizer = {0};
    struct collected collected;
    struct pc_encoder *encoder = open_encoder(usual, &collected);
    for (int i = 0; i < 3; i++) {
        scene_draw(&scene, i, &picture);
        encode(encoder, &collected, false);
        struct pc_access_unit *au = pc_au_acquire(pool);
        au->codec = PC_CODEC_VP8;
        CHECK(pc_packetize_vp8(&packetizer, au, collected.bytes, collected.size) > 0);
        uint8_t *frame = malloc(collected.size);
        CHECK_EQ(pc_au_bitstream(au, frame, collected.size), collected.size);
        CHECK_BYTES(frame, collected.bytes, collected.size);
        free(frame);
        pc_au_unref(au);
    }
    close_encoder(encoder, &collected);
    pc_au_pool_release(pool);
}

static void test_odd_sizes(void)
{
    static const int sizes[][2] = {{16, 16}, {17, 33}, {321, 181}};
    struct pc_picture whole = picture;
    for (int i = 0; i < 3; i++) {
        struct pc_encoder_settings settings = usual;
        settings.width = sizes[i][0];
        settings.height = sizes[i][1];
        settings.threads = i + 1;
        CHECK_EQ(pc_picture_alloc(&picture, settings.width, settings.height), 0);
        struct collected collected;
        struct pc_encoder *encoder = open_encoder(settings, &collected);
        for (int frame = 0; frame < 3; frame++) {
            scene_draw(&scene, frame, &picture);
            encode(encoder, &collected, frame == 2);
        }
        close_encoder(encoder, &collected);
        pc_picture_free(&picture);
    }
    picture = whole;
}

static void test_misuse_is_named(void)
{
#define REFUSED(field, value)                                                                      \
    do {                                                                                           \
        struct pc_encoder_settings settings = usual;                                               \
        struct pc_encoder *encoder;                                                                \
        settings.field = (value);                                                                  \
        CHECK_EQ(pc_encoder_open_vp8(&settings, &encoder), -EINVAL);                               \
        CHECK(strstr(pc_error_text(), #field) != NULL);                                            \
    } while (0)
    REFUSED(width, 15);
    REFUSED(height, 9000);
    REFUSED(fps, 0);
    REFUSED(bitrate, 0);
    REFUSED(threads, 5);
    REFUSED(on_unit, NULL);
#undef REFUSED
}

int main(void)
{
    scene_make(&scene, WIDTH, HEIGHT, 1);
    pc_picture_alloc(&picture, WIDTH, HEIGHT);
    RUN(test_idr_first_and_on_demand_only);
    RUN(test_rate_changes_in_place);
    RUN(test_packets_rebuild_the_frame);
    RUN(test_odd_sizes);
    RUN(test_misuse_is_named);
    pc_picture_free(&picture);
    scene_free(&scene);
    return HARNESS_RESULT();
}
