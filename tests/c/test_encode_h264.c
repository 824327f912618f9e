#include <errno.h>
#include <stdlib.h>

#include "bit_reader.h"
#include "encode.h"
#include "moving_picture.h"
#include "packetize.h"

enum { WIDTH = 640, HEIGHT = 360, FPS = 60, BITRATE = 3000000, SCENES = 3 };
enum { NAL_SLICE = 1, NAL_IDR = 5, NAL_SPS = 7, NAL_PPS = 8 };

static struct scene scenes[SCENES];
static struct pc_picture picture;
static uint64_t next_id;

/* The units of the last frame, and every rule about them that holds for any frame. */
struct collected {
    uint8_t *bytes;
    size_t size, capacity;
    size_t offset[40], sizes[40];
    int count;
    bool inside, complete;
};

static void on_unit(void *context, const uint8_t *data, size_t size, bool last)
{
    struct collected *collected = context;
    CHECK(!collected->inside);
    collected->inside = true;
    CHECK(!collected->complete);
    CHECK(collected->count < 40);
    if (collected->size + size > collected->capacity) {
        collected->capacity = 2 * (collected->size + size);
        collected->bytes = realloc(collected->bytes, collected->capacity);
    }
    memcpy(collected->bytes + collected->size, data, size);
    collected->offset[collected->count] = collected->size;
    collected->sizes[collected->count++] = size;
    collected->size += size;
    collected->complete = last;
    collected->inside = false;
}

static const struct pc_encoder_settings usual = {
    .width = WIDTH,
    .height = HEIGHT,
    .fps = FPS,
    .bitrate = BITRATE,
    .threads = 2,
    .slices = 6,
    .profile = PC_PROFILE_CONSTRAINED_BASELINE,
    .preset = PC_PRESET_ULTRAFAST,
    .rate_control = PC_RATE_CONTROL_FRAME,
    .budget_frames = 1.25,
    .on_unit = on_unit,
};

static struct pc_encoder *open_encoder(struct pc_encoder_settings settings,
                                       struct collected *collected)
{
    struct pc_encoder *encoder = NULL;
    *collected = (struct collected){0};
    settings.context = collected;
    CHECK_EQ(pc_encoder_open_h264(&settings, &encoder), 0);
    return encoder;
}

static void close_encoder(struct pc_encoder *encoder, struct collected *collected)
{
    encoder->ops->close(encoder);
    free(collected->bytes);
}

static int unit_type(const struct collected *collected, int index)
{
    return collected->bytes[collected->offset[index]] & 0x1f;
}

static unsigned first_mb(const struct collected *collected, int index)
{
    struct bit_reader bits;
    bits_open(&bits, collected->bytes + collected->offset[index], collected->sizes[index]);
    return bits_ue(&bits);
}

/* SPS and PPS before an IDR's slices, nothing else; slices from macroblock 0 on, upwards. Returns
 * how many slices there were. */
static int check_units(const struct collected *collected, bool idr, size_t bytes)
{
    int slices = 0;
    unsigned last_mb = 0;
    CHECK(collected->complete);
    CHECK_EQ(collected->size, bytes);
    for (int i = 0; i < collected->count; i++) {
        CHECK((collected->bytes[collected->offset[i]] & 0x80) == 0);
        int parameter_sets = idr ? 2 : 0;
        if (i < parameter_sets) {
            CHECK_EQ(unit_type(collected, i), i == 0 ? NAL_SPS : NAL_PPS);
            continue;
        }
        CHECK_EQ(unit_type(collected, i), idr ? NAL_IDR : NAL_SLICE);
        unsigned mb = first_mb(collected, i);
        CHECK(slices == 0 ? mb == 0 : mb > last_mb);
        last_mb = mb;
        slices++;
    }
    return slices;
}

static struct pc_encode_result encode_changed(struct pc_encoder *encoder,
                                              struct collected *collected,
                                              const struct pc_rect *changed, int changed_count,
                                              bool idr)
{
    struct pc_encode_result result = {0};
    collected->size = 0;
    collected->count = 0;
    collected->complete = false;
    CHECK_EQ(
        encoder->ops->encode(encoder, next_id++, &picture, changed, changed_count, idr, &result),
        0);
    CHECK(!result.skipped);
    check_units(collected, result.idr, result.bytes);
    return result;
}

static struct pc_encode_result encode(struct pc_encoder *encoder, struct collected *collected,
                                      bool idr)
{
    return encode_changed(encoder, collected, NULL, 0, idr);
}

static void test_idr_first_and_on_demand_only(void)
{
    struct collected collected;
    struct pc_encoder *encoder = open_encoder(usual, &collected);
    for (int i = 0; i < 60; i++) {
        scene_draw(&scenes[i / 25 % SCENES], i, &picture);
        struct pc_encode_result result = encode(encoder, &collected, i == 40);
        CHECK_EQ(result.idr, i == 0 || i == 40);
        CHECK(result.quantiser >= 10 && result.quantiser <= 51);
    }
    close_encoder(encoder, &collected);
}

static void test_slice_counts(void)
{
    /* 23 rows of macroblocks. One thread: rows per slice are rounded up; two: 12 and 11 rows. */
    static const struct {
        int threads, slices, expected;
    } cases[] = {{1, 1, 1}, {1, 2, 2}, {1, 4, 4}, {1, 8, 8}, {2, 1, 2}, {2, 4, 4}, {2, 8, 8}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct pc_encoder_settings settings = usual;
        settings.threads = cases[i].threads;
        settings.slices = cases[i].slices;
        struct collected collected;
        struct pc_encoder *encoder = open_encoder(settings, &collected);
        for (int frame = 0; frame < 2; frame++) {
            scene_draw(&scenes[0], frame, &picture);
            struct pc_encode_result result = encode(encoder, &collected, false);
            CHECK_EQ(check_units(&collected, result.idr, result.bytes), cases[i].expected);
        }
        close_encoder(encoder, &collected);
    }
}

/* A slice is worth several packets: few at a low rate, up to eight at a high one, chosen anew when
 * the rate changes, without an IDR. */
static void test_chosen_slices_follow_the_rate(void)
{
    struct pc_encoder_settings settings = usual;
    settings.slices = 0;
    settings.bitrate = 500000;
    struct collected collected;
    struct pc_encoder *encoder = open_encoder(settings, &collected);
    struct pc_encode_result result = encode(encoder, &collected, false);
    CHECK_EQ(check_units(&collected, true, result.bytes), 2);
    CHECK_EQ(encoder->ops->set_rate(encoder, 40000000, FPS), 0);
    result = encode(encoder, &collected, false);
    CHECK(!result.idr);
    CHECK_EQ(check_units(&collected, false, result.bytes), 8);
    close_encoder(encoder, &collected);
}

/* ITU-T H.264 7.3.2.1.1 and E.1.1, as far as a baseline stream of ours goes. */
static void check_sps(const struct collected *collected, int min_level)
{
    struct bit_reader bits;
    bits_open(&bits, collected->bytes + collected->offset[0], collected->sizes[0]);
    CHECK_EQ(bits_u(&bits, 8), 66); /* baseline … */
    CHECK_EQ(bits_u(&bits, 2), 3);  /* … constrained: sets 0 and 1 */
    bits_u(&bits, 6);
    CHECK((int)bits_u(&bits, 8) >= min_level);
    bits_ue(&bits);          /* id */
    bits_ue(&bits);          /* frame number's length */
    if (bits_ue(&bits) == 0) /* picture order count type */
        bits_ue(&bits);
    CHECK_EQ(bits_ue(&bits), 16);  /* reference frames */
    CHECK_EQ(bits_u(&bits, 1), 1); /* gaps in frame numbers */
    CHECK_EQ(bits_ue(&bits), WIDTH / 16 - 1);
    CHECK_EQ(bits_ue(&bits), (HEIGHT + 15) / 16 - 1);
    CHECK_EQ(bits_u(&bits, 1), 1); /* frames only */
    bits_u(&bits, 1);              /* direct 8x8 */
    CHECK_EQ(bits_u(&bits, 1), 1); /* cropping: 360 = 368 - 2 * 4 */
    CHECK_EQ(bits_ue(&bits), 0);
    CHECK_EQ(bits_ue(&bits), 0);
    CHECK_EQ(bits_ue(&bits), 0);
    CHECK_EQ(bits_ue(&bits), 4);
    CHECK_EQ(bits_u(&bits, 1), 1); /* VUI */
    CHECK_EQ(bits_u(&bits, 2), 0); /* no aspect ratio, no overscan */
    CHECK_EQ(bits_u(&bits, 1), 1); /* video signal type: */
    CHECK_EQ(bits_u(&bits, 3), 5); /* unspecified format, */
    CHECK_EQ(bits_u(&bits, 1), 0); /* limited range, */
    CHECK_EQ(bits_u(&bits, 1), 1);
    CHECK_EQ(bits_u(&bits, 24), 0x010101); /* BT.709 thrice */
    CHECK_EQ(bits_u(&bits, 1), 0);         /* chroma lies where it does by default */
    if (bits_u(&bits, 1)) {                /* timing */
        bits_u(&bits, 32);
        bits_u(&bits, 32);
        bits_u(&bits, 1);
    }
    CHECK_EQ(bits_u(&bits, 2), 0); /* no HRD */
    bits_u(&bits, 1);
    CHECK_EQ(bits_u(&bits, 1), 1); /* restrictions: */
    bits_u(&bits, 1);
    for (int i = 0; i < 4; i++)
        bits_ue(&bits);
    CHECK_EQ(bits_ue(&bits), 0);  /* nothing is reordered, */
    CHECK_EQ(bits_ue(&bits), 16); /* all references are buffered */
}

static void test_parameter_sets(void)
{
    for (int rate_control = 0; rate_control <= PC_RATE_CONTROL_VBV; rate_control++) {
        struct pc_encoder_settings settings = usual;
        settings.rate_control = (enum pc_rate_control)rate_control;
        struct collected collected;
        struct pc_encoder *encoder = open_encoder(settings, &collected);
        encode(encoder, &collected, false);
        check_sps(&collected, 30);
        close_encoder(encoder, &collected);
    }
}

/* Bytes of a second of motion, from `step` on. */
static double second(struct pc_encoder *encoder, struct collected *collected, int step)
{
    double sum = 0;
    for (int i = 0; i < FPS; i++) {
        scene_draw(&scenes[0], step + i, &picture);
        struct pc_encode_result result = encode(encoder, collected, false);
        CHECK(!result.idr);
        sum += (double)result.bytes;
    }
    return sum;
}

static void check_rates(enum pc_rate_control rate_control, double least)
{
    struct pc_encoder_settings settings = usual;
    settings.rate_control = rate_control;
    struct collected collected;
    struct pc_encoder *encoder = open_encoder(settings, &collected);
    scene_draw(&scenes[0], 0, &picture);
    CHECK(encode(encoder, &collected, false).idr);
    second(encoder, &collected, 1);
    static const int bitrates[] = {BITRATE, BITRATE / 3, BITRATE * 2, BITRATE / 4};
    for (size_t i = 0; i < sizeof bitrates / sizeof *bitrates; i++) {
        CHECK_EQ(encoder->ops->set_rate(encoder, bitrates[i], FPS), 0);
        double bytes = second(encoder, &collected, (int)i * FPS);
        CHECK(bytes < 1.1 * bitrates[i] / 8);
        CHECK(bytes > least * bitrates[i] / 8);
    }
    /* Twice the share for each frame at half the frame rate: a second is two seconds' worth. */
    CHECK_EQ(encoder->ops->set_rate(encoder, BITRATE, FPS / 2), 0);
    second(encoder, &collected, 0);
    double bytes = second(encoder, &collected, FPS);
    CHECK(bytes < 2 * 1.1 * BITRATE / 8);
    CHECK(bytes > 2 * least * BITRATE / 8);
    close_encoder(encoder, &collected);
}

static void test_rate_changes_in_place(void)
{
    check_rates(PC_RATE_CONTROL_FRAME, 0.6); /* one QP is a factor of three in this grain */
    check_rates(PC_RATE_CONTROL_VBV, 0.5);
}

static void test_cuts_stay_near_the_budget(void)
{
    struct collected collected;
    struct pc_encoder *encoder = open_encoder(usual, &collected);
    const double share = BITRATE / 8.0 / FPS;
    int over = 0;
    double sum = 0;
    for (int i = 0; i < 240; i++) {
        scene_draw(&scenes[i / 30 % SCENES], i, &picture);
        double bytes = (double)encode(encoder, &collected, false).bytes;
        if (i < 30)
            continue; /* it gets to know the content */
        CHECK(bytes < 2.0 * share);
        over += bytes > 1.25 * share;
        sum += bytes;
    }
    CHECK(over <= 16); /* of 210 */
    CHECK(sum < 210 * share);
    close_encoder(encoder, &collected);
}

/* Nothing changed: next to nothing to send, until a better quantiser is worth it. */
static void test_still_picture_costs_little_and_gets_better(void)
{
    struct collected collected;
    struct pc_encoder *encoder = open_encoder(usual, &collected);
    scene_draw(&scenes[0], 0, &picture);
    int before = encode(encoder, &collected, false).quantiser, after = before;
    double sum = 0;
    for (int i = 0; i < 60; i++) {
        struct pc_encode_result result =
            encode_changed(encoder, &collected, &(struct pc_rect){0}, 0, false);
        sum += (double)result.bytes;
        after = result.quantiser;
    }
    CHECK(sum < 0.5 * BITRATE / 8);
    CHECK(after < before);
    close_encoder(encoder, &collected);
}

/* What lies outside of the changed areas is skipped, whatever is in it, once it is as fine as the
 * quantiser can make it. */
static void test_only_changed_areas_are_encoded(void)
{
    const struct pc_rect corner = {WIDTH - 100, HEIGHT - 60, 100, 60};
    size_t bytes[2];
    for (int told = 0; told < 2; told++) {
        struct collected collected;
        struct pc_encoder *encoder = open_encoder(usual, &collected);
        scene_draw(&scenes[0], 0, &picture);
        for (int i = 0; i < 60; i++)
            encode(encoder, &collected, false);
        scene_draw(&scenes[1], 0, &picture);
        bytes[told] = encode_changed(encoder, &collected, told ? &corner : NULL, told, false).bytes;
        close_encoder(encoder, &collected);
    }
    CHECK(bytes[1] * 2 < bytes[0]);
}

static void test_areas_beyond_the_picture(void)
{
    struct collected collected;
    struct pc_encoder *encoder = open_encoder(usual, &collected);
    const struct pc_rect areas[] = {{-50, -50, 60, 60},
                                    {WIDTH - 1, HEIGHT - 1, 500, 500},
                                    {WIDTH + 100, 0, 10, 10},
                                    {-500, 20, 10, 10}};
    for (int i = 0; i < 4; i++) {
        scene_draw(&scenes[0], i, &picture);
        encode_changed(encoder, &collected, areas, 4, false);
    }
    close_encoder(encoder, &collected);
}

static void test_packets_rebuild_the_stream(void)
{
    struct pc_au_pool *pool = pc_au_pool_create(2);
    struct pc_h264_packetizer packetizer = {0};
    struct collected collected;
    struct pc_encoder *encoder = open_encoder(usual, &collected);
    for (int frame = 0; frame < 5; frame++) {
        scene_draw(&scenes[0], frame, &picture);
        encode(encoder, &collected, frame == 3);
        struct pc_access_unit *au = pc_au_acquire(pool);
        for (int i = 0; i < collected.count; i++)
            CHECK(pc_packetize_h264(&packetizer, au, collected.bytes + collected.offset[i],
                                    collected.sizes[i], i + 1 == collected.count) >= 0);
        size_t expected = collected.size + 4 * (size_t)collected.count;
        uint8_t *stream = malloc(expected), *at = stream;
        CHECK_EQ(pc_au_bitstream(au, stream, expected), expected);
        for (int i = 0; i < collected.count; i++) {
            CHECK_BYTES(at, "\0\0\0\1", 4);
            CHECK_BYTES(at + 4, collected.bytes + collected.offset[i], collected.sizes[i]);
            at += 4 + collected.sizes[i];
        }
        free(stream);
        pc_au_unref(au);
    }
    close_encoder(encoder, &collected);
    pc_au_pool_release(pool);
}

static void test_sizes_profiles_presets(void)
{
    static const int sizes[][2] = {{16, 16}, {17, 33}, {63, 65}, {321, 181}, {640, 16}};
    struct pc_picture whole = picture;
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        struct pc_encoder_settings settings = usual;
        settings.width = sizes[i][0];
        settings.height = sizes[i][1];
        settings.profile = (enum pc_profile)(i % 3);
        settings.preset = (enum pc_preset)(i % 3);
        settings.threads = 4;
        settings.slices = 16;
        CHECK_EQ(pc_picture_alloc(&picture, settings.width, settings.height), 0);
        struct collected collected;
        struct pc_encoder *encoder = open_encoder(settings, &collected);
        for (int frame = 0; frame < 3; frame++) {
            scene_draw(&scenes[0], frame, &picture);
            encode(encoder, &collected, frame == 2);
        }
        close_encoder(encoder, &collected);
        pc_picture_free(&picture);
    }
    picture = whole;
}

static void check_refused(struct pc_encoder_settings settings, const char *argument)
{
    struct pc_encoder *encoder;
    CHECK_EQ(pc_encoder_open_h264(&settings, &encoder), -EINVAL);
    CHECK(strstr(pc_error_text(), argument) != NULL);
}

static void test_misuse_is_named(void)
{
#define REFUSED(field, value)                                                                      \
    do {                                                                                           \
        struct pc_encoder_settings settings = usual;                                               \
        settings.field = (value);                                                                  \
        check_refused(settings, #field);                                                           \
    } while (0)
    REFUSED(width, 15);
    REFUSED(height, 9000);
    REFUSED(fps, 0);
    REFUSED(fps, 241);
    REFUSED(bitrate, 0);
    REFUSED(threads, 5);
    REFUSED(slices, -1);
    REFUSED(slices, 17);
    REFUSED(budget_frames, 0.5);
    REFUSED(budget_frames, 2);
    REFUSED(profile, (enum pc_profile)7);
    REFUSED(preset, (enum pc_preset)7);
    REFUSED(rate_control, (enum pc_rate_control)7);
    REFUSED(on_unit, NULL);
#undef REFUSED
    struct collected collected;
    struct pc_encoder *encoder = open_encoder(usual, &collected);
    CHECK_EQ(encoder->ops->set_rate(encoder, 0, FPS), -EINVAL);
    CHECK_EQ(encoder->ops->set_rate(encoder, BITRATE, 0), -EINVAL);
    CHECK(encode(encoder, &collected, false).idr);
    close_encoder(encoder, &collected);
}

int main(void)
{
    for (unsigned i = 0; i < SCENES; i++)
        scene_make(&scenes[i], WIDTH, HEIGHT, i);
    pc_picture_alloc(&picture, WIDTH, HEIGHT);
    RUN(test_idr_first_and_on_demand_only);
    RUN(test_slice_counts);
    RUN(test_chosen_slices_follow_the_rate);
    RUN(test_parameter_sets);
    RUN(test_rate_changes_in_place);
    RUN(test_cuts_stay_near_the_budget);
    RUN(test_still_picture_costs_little_and_gets_better);
    RUN(test_only_changed_areas_are_encoded);
    RUN(test_areas_beyond_the_picture);
    RUN(test_packets_rebuild_the_stream);
    RUN(test_sizes_profiles_presets);
    RUN(test_misuse_is_named);
    pc_picture_free(&picture);
    for (int i = 0; i < SCENES; i++)
        scene_free(&scenes[i]);
    return HARNESS_RESULT();
}
