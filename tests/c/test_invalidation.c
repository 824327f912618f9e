/* What the encoder says a frame refers to is what it refers to: a decoder that never gets the
 * frames in between shows the very same pictures as one that gets everything. */
#include "decode.h"
#include "encoded_units.h"
#include "uninstrumented.h"

enum { WIDTH = 320, HEIGHT = 180, PERIODS = 8, PERIOD = 41, BEGIN = 21 };

/* The picture of a unit as I420; the caller frees it. */
static uint8_t *decode(struct pc_decoder *decoder, const struct encoded_unit *unit, size_t *bytes)
{
    struct pc_decoded picture, second;
    CHECK_EQ(pc_decoder_decode(decoder, unit->data, unit->size, 0), 0);
    CHECK_EQ(pc_decoder_next(decoder, &picture), 1); /* nothing is held back */
    CHECK_EQ(pc_decoder_next(decoder, &second), 0);
    *bytes = pc_decoded_bytes(&picture);
    uint8_t *out = malloc(*bytes);
    pc_decoded_copy(&picture, out);
    pc_decoded_release(&picture);
    return out;
}

/* Of every 41 frames, so many are lost from the 21st on, and it is told `late` frames later, of
 * which none is of use. The period is none of 32, at which frame numbers wrap: the losses fall on
 * the wrap, too. libavcodec gets over that when it has seen 16 frames since the last time. */
static void check_exact(enum pc_profile profile, int lost, int late)
{
    struct unit_maker maker;
    struct pc_decoder *everything = NULL, *holes = NULL;
    CHECK_EQ(pc_decoder_open(PC_H264, 1, &everything), 0);
    CHECK_EQ(pc_decoder_open(PC_H264, 2, &holes), 0);
    unit_maker_open_profile(&maker, PC_H264, WIDTH, HEIGHT, profile);
    int differ = 0, idrs = 0;
    for (int i = 0; i < PERIODS * PERIOD; i++) {
        int phase = i % PERIOD;
        uint64_t reference = UINT64_MAX;
        if (phase == BEGIN + lost + late) {
            uint64_t first = (uint64_t)(i - lost - late) + 1; /* the maker counts from 1 */
            CHECK(maker.encoder->ops->invalidate(maker.encoder, first, first + (uint64_t)lost - 1));
            CHECK(maker.encoder->ops->reference(maker.encoder, &reference));
            CHECK_EQ(reference, first - 1);
        }
        struct encoded_unit unit = unit_maker_next(&maker, i == 0);
        idrs += unit.idr;
        size_t bytes, same;
        uint8_t *expected = decode(everything, &unit, &bytes);
        if (phase < BEGIN || phase >= BEGIN + lost + late) {
            uint8_t *shown = decode(holes, &unit, &same);
            differ += bytes != same || memcmp(expected, shown, bytes) != 0;
            free(shown);
        }
        free(expected);
        free(unit.data);
    }
    CHECK_EQ(differ, 0);
    CHECK_EQ(idrs, 1);
    unit_maker_close(&maker);
    pc_decoder_close(everything);
    pc_decoder_close(holes);
}

static void one_frame(void)
{
    check_exact(PC_PROFILE_CONSTRAINED_BASELINE, 1, 0);
    check_exact(PC_PROFILE_CONSTRAINED_BASELINE, 1, 5);
}

static void several_frames(void)
{
    check_exact(PC_PROFILE_CONSTRAINED_BASELINE, 3, 4);
    check_exact(PC_PROFILE_MAIN, 2, 3);
    check_exact(PC_PROFILE_HIGH, 2, 3);
}

static void as_many_as_are_kept(void)
{
    check_exact(PC_PROFILE_CONSTRAINED_BASELINE, 1, 13);
    check_exact(PC_PROFILE_CONSTRAINED_BASELINE, 14, 0);
}

int main(void)
{
    RUN(one_frame);
    RUN(several_frames);
    RUN(as_many_as_are_kept);
    return HARNESS_RESULT();
}
