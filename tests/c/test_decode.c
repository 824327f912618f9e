#include "decode.h"

#include <errno.h>
#include <math.h>
#include <vpx/vp8cx.h>
#include <vpx/vpx_encoder.h>
#include <x264.h>

#include "encoded_units.h"
#include "uninstrumented.h"

_Static_assert(ENCODED_PADDING >= PC_DECODE_PADDING, "the units are decoded as they are");

enum { WIDTH = 640, HEIGHT = 360 };

static struct pc_decoder *open_decoder(enum pc_codec_id codec)
{
    struct pc_decoder *decoder = NULL;
    CHECK_EQ(pc_decoder_open(codec, 2, &decoder), 0);
    return decoder;
}

/* The one picture of a unit. */
static struct pc_decoded decode_one(struct pc_decoder *decoder, const struct encoded_unit *unit,
                                    int64_t tag)
{
    struct pc_decoded picture, second;
    CHECK_EQ(pc_decoder_decode(decoder, unit->data, unit->size, tag), 0);
    CHECK_EQ(pc_decoder_next(decoder, &picture), 1);
    CHECK_EQ(pc_decoder_next(decoder, &second), 0);
    CHECK_EQ(picture.tag, tag);
    return picture;
}

/* Of one plane, against what was encoded. */
static double psnr(const struct pc_picture *from, const uint8_t *packed, int plane)
{
    int shift = plane > 0;
    int width = (from->width + shift) >> shift, height = (from->height + shift) >> shift;
    double sum = 0;
    for (int y = 0; y < height; y++)
        for (int x = 0; x < width; x++) {
            double d = from->plane[plane][y * from->stride[plane] + x] - packed[y * width + x];
            sum += d * d;
        }
    return 10 * log10(255 * 255 / (sum / (width * height) + 1e-9));
}

static void check_alike(const struct pc_picture *from, const struct pc_decoded *picture)
{
    CHECK_EQ(picture->width, from->width);
    CHECK_EQ(picture->height, from->height);
    uint8_t *packed = malloc(pc_decoded_bytes(picture)), *plane = packed;
    pc_decoded_copy(picture, packed);
    for (int i = 0; i < 3; i++) {
        int shift = i > 0;
        CHECK(psnr(from, plane, i) > 30);
        plane += ((picture->width + shift) >> shift) * ((picture->height + shift) >> shift);
    }
    CHECK_EQ(plane - packed, pc_decoded_bytes(picture));
    free(packed);
}

static void each_unit_gives_its_picture(enum pc_codec_id codec, enum pc_profile profile, int width,
                                        int height)
{
    struct unit_maker maker;
    struct pc_decoder *decoder = open_decoder(codec);
    unit_maker_open_profile(&maker, codec, width, height, profile);
    for (int i = 0; i < 12; i++) {
        struct encoded_unit unit = unit_maker_next(&maker, i == 7);
        struct pc_decoded picture = decode_one(decoder, &unit, 1000 + i);
        check_alike(&maker.picture, &picture);
        CHECK(!picture.full_range);
        if (codec == PC_H264)
            CHECK_EQ(picture.matrix, 1);
        pc_decoded_release(&picture);
        free(unit.data);
    }
    unit_maker_close(&maker);
    pc_decoder_close(decoder);
}

static void h264_comes_out_at_once(void)
{
    each_unit_gives_its_picture(PC_H264, PC_PROFILE_CONSTRAINED_BASELINE, WIDTH, HEIGHT);
}

static void so_does_high_profile(void)
{
    each_unit_gives_its_picture(PC_H264, PC_PROFILE_HIGH, WIDTH, HEIGHT);
}

static void vp8_comes_out_at_once_in_odd_sizes_too(void)
{
    each_unit_gives_its_picture(PC_VP8, PC_PROFILE_CONSTRAINED_BASELINE, 321, 181);
}

static void the_size_may_change_in_mid_stream(void)
{
    struct pc_decoder *decoder = open_decoder(PC_H264);
    const int sizes[3][2] = {{640, 360}, {320, 180}, {1280, 720}};
    for (int i = 0; i < 3; i++) {
        struct unit_maker maker;
        unit_maker_open(&maker, PC_H264, sizes[i][0], sizes[i][1]);
        for (int j = 0; j < 3; j++) {
            struct encoded_unit unit = unit_maker_next(&maker, false);
            struct pc_decoded picture = decode_one(decoder, &unit, j);
            check_alike(&maker.picture, &picture);
            pc_decoded_release(&picture);
            free(unit.data);
        }
        unit_maker_close(&maker);
    }
    pc_decoder_close(decoder);
}

static void a_picture_outlives_its_decoder(void)
{
    struct unit_maker maker;
    struct pc_decoder *decoder = open_decoder(PC_H264);
    unit_maker_open(&maker, PC_H264, WIDTH, HEIGHT);
    struct encoded_unit unit = unit_maker_next(&maker, true);
    struct pc_decoded picture = decode_one(decoder, &unit, 0);
    pc_decoder_close(decoder);
    check_alike(&maker.picture, &picture);
    pc_decoded_release(&picture);
    unit_maker_close(&maker);
    free(unit.data);
}

/* Frames that are lost for good, between frames that refer to older ones: what comes is decoded as
 * if nothing was missing. */
static void frames_that_refer_past_a_loss_decode(void)
{
    struct unit_maker maker;
    struct pc_decoder *decoder = open_decoder(PC_H264);
    unit_maker_open(&maker, PC_H264, WIDTH, HEIGHT);
    int referred = 0;
    for (int i = 0; i < 30; i++) {
        int first = maker.step;
        struct encoded_unit unit = unit_maker_next(&maker, i == 0);
        if (i % 6 == 5) { /* this one and the next are lost */
            struct encoded_unit second = unit_maker_next(&maker, false);
            free(second.data);
            CHECK(maker.encoder->ops->invalidate(maker.encoder, (uint64_t)first,
                                                 (uint64_t)first + 1));
        } else {
            struct pc_decoded picture = decode_one(decoder, &unit, i);
            check_alike(&maker.picture, &picture);
            pc_decoded_release(&picture);
            referred += i > 0 && i % 6 == 0 && !unit.idr;
        }
        free(unit.data);
    }
    CHECK_EQ(referred, 4);
    unit_maker_close(&maker);
    pc_decoder_close(decoder);
}

/* Returns how many pictures came out. */
static int drain(struct pc_decoder *decoder)
{
    struct pc_decoded picture;
    int got, count = 0;
    while ((got = pc_decoder_next(decoder, &picture)) != 0) {
        CHECK(got == 1 || got == -EBADMSG || got == -EOPNOTSUPP);
        count += got == 1;
        if (got == 1)
            pc_decoded_release(&picture);
    }
    return count;
}

/* Bits are turned over, units cut and joined; afterwards an IDR decodes as ever. */
static void whatever_comes_is_survived(enum pc_codec_id codec)
{
    struct unit_maker maker;
    struct pc_decoder *decoder = open_decoder(codec);
    uint64_t random = 77;
    unit_maker_open(&maker, codec, 320, 180);
    for (int i = 0; i < 200; i++) {
        struct encoded_unit unit = unit_maker_next(&maker, i % 10 == 0);
        size_t size = 1 + harness_random(&random) % unit.size;
        unsigned flips = (unsigned)(harness_random(&random) % 12);
        for (unsigned j = 0; j < flips; j++)
            unit.data[harness_random(&random) % (j % 2 == 0 ? unit.size : 40)] ^=
                (uint8_t)(1u << (harness_random(&random) & 7));
        memset(unit.data + size, 0, unit.size - size);
        int result = pc_decoder_decode(decoder, unit.data, size, i);
        CHECK(result == 0 || result == -EBADMSG);
        drain(decoder);
        free(unit.data);
    }
    struct encoded_unit unit = unit_maker_next(&maker, true);
    struct pc_decoded picture = decode_one(decoder, &unit, 1);
    check_alike(&maker.picture, &picture);
    pc_decoded_release(&picture);
    free(unit.data);
    unit_maker_close(&maker);
    pc_decoder_close(decoder);
}

static void hostile_h264_is_survived(void)
{
    whatever_comes_is_survived(PC_H264);
}

static void hostile_vp8_is_survived(void)
{
    whatever_comes_is_survived(PC_VP8);
}

static void junk_and_nothing_are_refused(void)
{
    struct pc_decoder *decoder = open_decoder(PC_H264);
    static const uint8_t junk[300 + PC_DECODE_PADDING] = {0, 0, 0, 1, 0x65, 0x88, 1, 2, 3, 4, 5};
    CHECK_EQ(pc_decoder_decode(decoder, junk, 0, 0), -EBADMSG);
    CHECK_EQ(pc_decoder_decode(decoder, junk, 300, 0), -EBADMSG);
    CHECK_EQ(drain(decoder), 0);
    pc_decoder_close(decoder);
}

/* One picture of 8208 x 16 pixels: libvpx's own limit is twice that. */
static void larger_pictures_are_refused(void)
{
    vpx_codec_enc_cfg_t config;
    vpx_codec_ctx_t codec;
    vpx_image_t image;
    vpx_codec_iter_t iterator = NULL;
    CHECK_EQ(vpx_codec_enc_config_default(vpx_codec_vp8_cx(), &config, 0), 0);
    config.g_w = PC_DECODE_MAX_EDGE + 16;
    config.g_h = 16;
    CHECK_EQ(vpx_codec_enc_init(&codec, vpx_codec_vp8_cx(), &config, 0), 0);
    CHECK(vpx_img_alloc(&image, VPX_IMG_FMT_I420, config.g_w, config.g_h, 1) != NULL);
    memset(image.img_data, 100, config.g_w * config.g_h * 3 / 2);
    CHECK_EQ(vpx_codec_encode(&codec, &image, 0, 1, VPX_EFLAG_FORCE_KF, VPX_DL_REALTIME), 0);
    const vpx_codec_cx_pkt_t *packet = vpx_codec_get_cx_data(&codec, &iterator);

    uint8_t *data = calloc(1, packet->data.frame.sz + PC_DECODE_PADDING);
    memcpy(data, packet->data.frame.buf, packet->data.frame.sz);
    struct pc_decoder *decoder = open_decoder(PC_VP8);
    struct pc_decoded picture;
    CHECK_EQ(pc_decoder_decode(decoder, data, packet->data.frame.sz, 9), 0);
    CHECK_EQ(pc_decoder_next(decoder, &picture), -EOPNOTSUPP);
    CHECK_EQ(picture.tag, 9);
    CHECK_EQ(pc_decoder_next(decoder, &picture), 0);
    pc_decoder_close(decoder);
    free(data);
    vpx_img_free(&image);
    vpx_codec_destroy(&codec);
}

static void other_than_420_is_refused(void)
{
    x264_param_t param;
    x264_picture_t picture, out;
    x264_nal_t *nals;
    int count;
    x264_param_default_preset(&param, "ultrafast", "zerolatency");
    param.i_width = 320;
    param.i_height = 180;
    param.i_csp = X264_CSP_I444;
    param.i_log_level = X264_LOG_NONE;
    x264_t *encoder = x264_encoder_open(&param);
    CHECK_EQ(x264_picture_alloc(&picture, X264_CSP_I444, 320, 180), 0);
    for (int i = 0; i < 3; i++)
        memset(picture.img.plane[i], 90, (size_t)picture.img.i_stride[i] * 180);
    int bytes = x264_encoder_encode(encoder, &nals, &count, &picture, &out);
    CHECK(bytes > 0);

    uint8_t *data = calloc(1, (size_t)bytes + PC_DECODE_PADDING);
    memcpy(data, nals[0].p_payload, (size_t)bytes);
    struct pc_decoder *decoder = open_decoder(PC_H264);
    struct pc_decoded decoded;
    CHECK_EQ(pc_decoder_decode(decoder, data, (size_t)bytes, 4), 0);
    CHECK_EQ(pc_decoder_next(decoder, &decoded), -EOPNOTSUPP);
    CHECK_EQ(pc_decoder_next(decoder, &decoded), 0);
    pc_decoder_close(decoder);
    free(data);
    x264_picture_clean(&picture);
    x264_encoder_close(encoder);
}

static void settings_out_of_range_are_named(void)
{
    struct pc_decoder *decoder = NULL;
    CHECK_EQ(pc_decoder_open((enum pc_codec_id)9, 0, &decoder), -EINVAL);
    CHECK_EQ(pc_decoder_open(PC_H264, -1, &decoder), -EINVAL);
    CHECK_EQ(pc_decoder_open(PC_H264, PC_DECODE_MAX_THREADS + 1, &decoder), -EINVAL);
    CHECK(strstr(pc_error_text(), "decode_threads") != NULL);
    CHECK(decoder == NULL);
    CHECK_EQ(pc_decoder_open(PC_VP8, 0, &decoder), 0);
    pc_decoder_close(decoder);
    pc_decoder_close(NULL);
}

int main(void)
{
    RUN(h264_comes_out_at_once);
    RUN(so_does_high_profile);
    RUN(vp8_comes_out_at_once_in_odd_sizes_too);
    RUN(the_size_may_change_in_mid_stream);
    RUN(a_picture_outlives_its_decoder);
    RUN(frames_that_refer_past_a_loss_decode);
    RUN(hostile_h264_is_survived);
    RUN(hostile_vp8_is_survived);
    RUN(junk_and_nothing_are_refused);
    RUN(larger_pictures_are_refused);
    RUN(other_than_420_is_refused);
    RUN(settings_out_of_range_are_named);
    return HARNESS_RESULT();
}
