/* The control against an encoder that is a formula: bits = complexity * 2^(-qp/6), with what the
 * real one adds: a frame that is finer than its reference costs more. */
#include "rate_control.h"

#include <math.h>
#include <stdlib.h>

#include "harness.h"

enum { WIDTH = 1280, HEIGHT = 720, FPS = 60, BITRATE = 6000000 };

static const double share = (double)BITRATE / FPS;

static const struct pc_activity still = {0, 0, 4}, typing = {0.02, 0, 4}, moving = {6, 0.1, 4},
                                turning = {12, 0.5, 4}, cut = {30, 0.95, 4}, first = {-1, 1, 4};

struct encoder {
    struct pc_rate_control_state rc;
    double last_qp;
    uint64_t random;
};

static struct encoder encoder_open(uint64_t seed)
{
    struct encoder encoder = {.last_qp = 30, .random = seed};
    pc_rate_control_init(&encoder.rc, WIDTH, HEIGHT, BITRATE, FPS, 1.25);
    return encoder;
}

/* Encode one frame whose inter complexity at QP 0 is `complexity`; returns its bits. */
static double encode(struct encoder *encoder, bool idr, const struct pc_activity *activity,
                     double complexity)
{
    int qp = pc_rate_control_decide(&encoder->rc, idr, activity);
    CHECK(qp >= 10 && qp <= 51);
    double noise = exp(((double)(harness_random(&encoder->random) >> 40) / (1 << 24) - 0.5) * 0.3);
    double finer = idr ? 0 : fmax(encoder->last_qp - qp, 0);
    double bits = complexity * exp2((0.3 * finer - qp) / 6.0) * noise + 800;
    pc_rate_control_update(&encoder->rc, idr, activity, qp, (size_t)(bits / 8));
    encoder->last_qp = qp;
    return bits;
}

static const double intra_complexity = 2e7, moving_complexity = 4e6;

static double settle(struct encoder *encoder, int frames)
{
    double bits = encode(encoder, true, &first, intra_complexity);
    for (int i = 0; i < frames; i++)
        bits = encode(encoder, false, &moving, moving_complexity);
    return bits;
}

static void test_steady_motion_uses_the_rate(void)
{
    struct encoder encoder = encoder_open(1);
    settle(&encoder, 60);
    double sum = 0;
    int over = 0, changes = 0, last = -1, before = 0;
    for (int i = 0; i < 600; i++) {
        double bits = encode(&encoder, false, &moving, moving_complexity);
        sum += bits;
        over += bits > 1.25 * share;
        int qp = (int)encoder.last_qp;
        changes += last >= 0 && (qp > last) != (last > before) && abs(qp - last) > 2;
        before = last >= 0 ? last : qp;
        last = qp;
    }
    CHECK(sum / 600 > 0.85 * share && sum / 600 < 1.05 * share);
    CHECK(over <= 30);    /* 5 %; the noise alone is 15 % */
    CHECK(changes <= 12); /* no swinging to and fro */
}

static void test_idr_is_bounded_and_paid_back(void)
{
    struct encoder encoder = encoder_open(2);
    settle(&encoder, 60);
    double idr = encode(&encoder, true, &moving, intra_complexity);
    CHECK(idr > 1.5 * share && idr < 4.5 * share);
    double sum = idr;
    for (int i = 0; i < 30; i++)
        sum += encode(&encoder, false, &moving, moving_complexity);
    CHECK(sum < 31 * share * 1.05);
}

static void test_first_idr_without_knowledge(void)
{
    for (double complexity = 0.3e7; complexity < 8e7; complexity *= 2) {
        struct encoder encoder = encoder_open(3);
        CHECK(encode(&encoder, true, &first, complexity) < 18 * share);
        double sum = 0;
        for (int i = 0; i < 60; i++)
            sum += encode(&encoder, false, &moving, complexity / 5);
        CHECK(sum < 62 * share);
    }
}

static void test_scene_cut(void)
{
    struct encoder encoder = encoder_open(4);
    settle(&encoder, 60);
    for (int scene = 0; scene < 10; scene++) {
        CHECK(encode(&encoder, false, &cut, intra_complexity) < 2.0 * share);
        for (int i = 0; i < 30; i++)
            encode(&encoder, false, &moving, moving_complexity);
        CHECK(encoder.last_qp < 36);
    }
}

static void test_turning_faster(void)
{
    struct encoder encoder = encoder_open(5);
    settle(&encoder, 60);
    int over = 0;
    for (int i = 0; i < 300; i++) {
        bool turn = i / 20 % 2 == 1;
        double bits = turn ? encode(&encoder, false, &turning, 2.2 * moving_complexity)
                           : encode(&encoder, false, &moving, moving_complexity);
        over += bits > 1.5 * share;
        CHECK(bits < 2.5 * share);
    }
    CHECK(over <= 6);
}

/* A long still picture is refined, saves up no right to burst, and unlearns no motion. */
static void test_motion_after_stillness(void)
{
    struct encoder encoder = encoder_open(6);
    settle(&encoder, 60);
    for (int i = 0; i < 300; i++)
        encode(&encoder, false, i % 3 ? &still : &typing, 2e4);
    CHECK(encoder.last_qp <= 20);
    CHECK(encoder.rc.bucket >= -2.01 * share);
    double sum = 0;
    for (int i = 0; i < 60; i++) {
        double bits = encode(&encoder, false, &moving, moving_complexity);
        CHECK(bits < 2 * share);
        sum += bits;
    }
    CHECK(sum < 62 * share);
}

static void test_motion_never_seen_before(void)
{
    struct encoder encoder = encoder_open(7);
    encode(&encoder, true, &first, intra_complexity);
    for (int i = 0; i < 200; i++)
        encode(&encoder, false, &typing, 2e4);
    CHECK(encode(&encoder, false, &moving, moving_complexity) < 2.5 * share);
}

static void test_rate_change(void)
{
    struct encoder encoder = encoder_open(8);
    settle(&encoder, 60);
    pc_rate_control_set_rate(&encoder.rc, BITRATE / 4, FPS);
    double sum = 0;
    for (int i = 0; i < 60; i++)
        sum += encode(&encoder, false, &moving, moving_complexity);
    CHECK(sum < 1.1 * BITRATE / 4);
    pc_rate_control_set_rate(&encoder.rc, BITRATE, FPS / 2);
    for (int i = 0; i < 30; i++)
        encode(&encoder, false, &moving, moving_complexity);
    sum = 0;
    for (int i = 0; i < 60; i++)
        sum += encode(&encoder, false, &moving, moving_complexity);
    CHECK(sum > 0.85 * 2 * BITRATE && sum < 1.05 * 2 * BITRATE);
}

static void test_what_cannot_be_reached_stays_bounded(void)
{
    struct encoder encoder = encoder_open(9);
    for (int i = 0; i < 100; i++)
        encode(&encoder, i == 0, i == 0 ? &first : &moving, 1e12);
    CHECK_EQ(encoder.last_qp, 51);
    CHECK(encoder.rc.bucket <= 8.01 * share);
    for (int i = 0; i < 300; i++)
        encode(&encoder, false, &still, 1);
    CHECK(encoder.last_qp < 20);
}

int main(void)
{
    RUN(test_steady_motion_uses_the_rate);
    RUN(test_idr_is_bounded_and_paid_back);
    RUN(test_first_idr_without_knowledge);
    RUN(test_scene_cut);
    RUN(test_turning_faster);
    RUN(test_motion_after_stillness);
    RUN(test_motion_never_seen_before);
    RUN(test_rate_change);
    RUN(test_what_cannot_be_reached_stays_bounded);
    return HARNESS_RESULT();
}
