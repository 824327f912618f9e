/* A stream with bytes changed, cut, repeated and left out: whatever is decoded of it is a picture
 * that can be read to its last pixel, and afterwards a good stream decodes as ever. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "convert.h"
#include "decode.h"
#include "encode.h"
#include "fuzz.h"

enum { UNITS = 6, WIDTH = 96, HEIGHT = 64, PICTURE_BYTES = WIDTH * HEIGHT * 3 / 2, PATIENCE = 40 };

struct unit {
    uint8_t data[32768];
    size_t size;
};

static struct unit units[2][UNITS]; /* by codec; the first one is an IDR */
static uint8_t expected[2][PICTURE_BYTES];

static void add(void *context, const uint8_t *data, size_t size, bool last)
{
    static const uint8_t start_code[4] = {0, 0, 0, 1};
    struct unit **unit = context;
    size_t head = *unit < units[PC_VP8] ? sizeof start_code : 0;
    (void)last;
    REQUIRE((*unit)->size + head + size + PC_DECODE_PADDING <= sizeof(*unit)->data);
    memcpy((*unit)->data + (*unit)->size, start_code, head);
    memcpy((*unit)->data + (*unit)->size + head, data, size);
    (*unit)->size += head + size;
}

static void encode(enum pc_codec_id codec)
{
    struct unit *unit;
    struct pc_encoder *encoder;
    struct pc_picture picture;
    const struct pc_encoder_settings settings = {.width = WIDTH,
                                                 .height = HEIGHT,
                                                 .fps = 30,
                                                 .bitrate = 400000,
                                                 .threads = 1,
                                                 .slices = 2,
                                                 .budget_frames = 1.25,
                                                 .on_unit = add,
                                                 .context = &unit};
    REQUIRE(pc_picture_alloc(&picture, WIDTH, HEIGHT) == 0);
    REQUIRE((codec == PC_H264 ? pc_encoder_open_h264(&settings, &encoder)
                              : pc_encoder_open_vp8(&settings, &encoder)) == 0);
    for (int i = 0; i < UNITS; i++) {
        struct pc_encode_result result;
        unit = &units[codec][i];
        for (int y = 0; y < HEIGHT; y++)
            for (int x = 0; x < WIDTH; x++)
                picture.plane[0][y * picture.stride[0] + x] =
                    (uint8_t)(16 + (x * 3 + y * 5 + i * 11 + (x ^ y)) % 200);
        REQUIRE(encoder->ops->encode(encoder, (uint64_t)i, &picture, NULL, 0, i == 0, &result) ==
                0);
    }
    encoder->ops->close(encoder);
    pc_picture_free(&picture);
}

static void take(struct pc_decoder *decoder, uint8_t *out, bool *taken)
{
    struct pc_decoded picture;
    int got;
    while ((got = pc_decoder_next(decoder, &picture)) != 0) {
        REQUIRE(got == 1 || got == -EBADMSG || got == -EOPNOTSUPP);
        if (got != 1)
            continue;
        REQUIRE(picture.width > 0 && picture.width <= PC_DECODE_MAX_EDGE);
        REQUIRE(picture.height > 0 && picture.height <= PC_DECODE_MAX_EDGE);
        size_t size = pc_decoded_bytes(&picture);
        uint8_t *pixels = malloc(size);
        REQUIRE(pixels != NULL);
        pc_decoded_copy(&picture, pixels);
        if (out != NULL && size == PICTURE_BYTES)
            memcpy(out, pixels, size);
        if (taken != NULL)
            *taken = size == PICTURE_BYTES;
        free(pixels);
        pc_decoded_release(&picture);
    }
}

static void prepare(void)
{
    for (int codec = 0; codec < 2; codec++) {
        struct pc_decoder *decoder;
        bool taken = false;
        encode((enum pc_codec_id)codec);
        REQUIRE(pc_decoder_open((enum pc_codec_id)codec, 1, &decoder) == 0);
        REQUIRE(pc_decoder_decode(decoder, units[codec][0].data, units[codec][0].size, 0) == 0);
        take(decoder, expected[codec], &taken);
        REQUIRE(taken);
        pc_decoder_close(decoder);
    }
}

/* Each six bytes of input are one edit of one unit, which is then decoded. */
static void decode_edited(struct pc_decoder *decoder, const struct unit *from, const uint8_t *edit)
{
    static struct unit unit;
    const struct unit *one = &from[edit[0] % UNITS];
    memcpy(unit.data, one->data, one->size);
    size_t at = (size_t)(edit[1] << 8 | edit[2]) % one->size, size = one->size;
    unit.data[at] = edit[3];
    unit.data[(at + edit[4]) % one->size] ^= edit[5];
    if (edit[0] & 0x80)
        size = at + 1;
    memset(unit.data + size, 0, PC_DECODE_PADDING);
    int result = pc_decoder_decode(decoder, unit.data, size, edit[0]);
    REQUIRE(result == 0 || result == -EBADMSG);
    take(decoder, NULL, NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct pc_decoder *decoder;
    uint8_t pixels[PICTURE_BYTES];
    bool good = false;
    if (units[0][0].size == 0)
        prepare();
    if (size < 1)
        return 0;
    enum pc_codec_id codec = data[0] & 1 ? PC_VP8 : PC_H264;
    REQUIRE(pc_decoder_open(codec, 1, &decoder) == 0);
    for (size_t at = 1; at + 6 <= size && at < 6 * 12; at += 6)
        decode_edited(decoder, units[codec], data + at);

    /* A damaged header may have spoken of pictures that come out of order, and late. */
    for (int i = 0; i < PATIENCE && !good; i++) {
        bool taken = false;
        int result = pc_decoder_decode(decoder, units[codec][0].data, units[codec][0].size, i);
        REQUIRE(result == 0 || result == -EBADMSG);
        take(decoder, pixels, &taken);
        good = taken && memcmp(pixels, expected[codec], PICTURE_BYTES) == 0;
    }
    REQUIRE(good);
    pc_decoder_close(decoder);
    return 0;
}
