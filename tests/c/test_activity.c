#include "activity.h"

#include "moving_picture.h"

enum { WIDTH = 640, HEIGHT = 360 };

static struct scene scenes[2];
static struct pc_picture picture;

static void test_first_picture_has_no_difference(void)
{
    struct pc_activity_meter meter;
    CHECK_EQ(pc_activity_init(&meter, WIDTH, HEIGHT), 0);
    scene_draw(&scenes[0], 0, &picture);
    struct pc_activity activity = pc_activity_measure(&meter, &picture, NULL, 0);
    CHECK(activity.difference < 0);
    CHECK(activity.detail > 1 && activity.detail < 20);
    pc_activity_free(&meter);
}

static void test_still_pan_and_cut(void)
{
    struct pc_activity_meter meter;
    CHECK_EQ(pc_activity_init(&meter, WIDTH, HEIGHT), 0);
    scene_draw(&scenes[0], 0, &picture);
    pc_activity_measure(&meter, &picture, NULL, 0);
    struct pc_activity still = pc_activity_measure(&meter, &picture, NULL, 0);
    CHECK(still.difference == 0 && still.novelty == 0);
    for (int step = 1; step < 20; step++) {
        scene_draw(&scenes[0], step, &picture);
        struct pc_activity pan = pc_activity_measure(&meter, &picture, NULL, 0);
        CHECK(pan.difference > 1);
        CHECK(pan.novelty < 0.3);
    }
    scene_draw(&scenes[1], 20, &picture);
    struct pc_activity cut = pc_activity_measure(&meter, &picture, NULL, 0);
    CHECK(cut.novelty > 0.8);
    pc_activity_free(&meter);
}

static void test_difference_is_the_mean(void)
{
    struct pc_activity_meter meter;
    CHECK_EQ(pc_activity_init(&meter, WIDTH, HEIGHT), 0);
    for (int y = 0; y < HEIGHT; y++)
        memset(picture.plane[0] + y * picture.stride[0], 100, WIDTH);
    pc_activity_measure(&meter, &picture, NULL, 0);
    for (int y = 0; y < HEIGHT; y++)
        memset(picture.plane[0] + y * picture.stride[0], 110, WIDTH / 2);
    struct pc_activity activity = pc_activity_measure(&meter, &picture, NULL, 0);
    CHECK(activity.difference > 4.99 && activity.difference < 5.01);
    pc_activity_free(&meter);
}

static void test_only_changed_rows_are_read(void)
{
    struct pc_activity_meter meter;
    CHECK_EQ(pc_activity_init(&meter, WIDTH, HEIGHT), 0);
    scene_draw(&scenes[0], 0, &picture);
    double detail = pc_activity_measure(&meter, &picture, NULL, 0).detail;
    scene_draw(&scenes[1], 0, &picture);
    struct pc_activity none = pc_activity_measure(&meter, &picture, &(struct pc_rect){0}, 0);
    CHECK(none.difference == 0 && none.novelty == 0 && none.detail == detail);
    struct pc_rect tenth = {0, 0, WIDTH, HEIGHT / 10};
    struct pc_activity some = pc_activity_measure(&meter, &picture, &tenth, 1);
    CHECK(some.difference > 0.5);
    CHECK(some.novelty > 0 && some.novelty < 0.2);
    struct pc_activity rest = pc_activity_measure(&meter, &picture, NULL, 0);
    CHECK(rest.novelty > 0.7);
    pc_activity_free(&meter);
}

static void test_small_and_odd_sizes(void)
{
    for (int width = 16; width < 150; width += 7) {
        for (int height = 16; height < 90; height += 9) {
            struct pc_picture small;
            struct pc_activity_meter meter;
            CHECK_EQ(pc_picture_alloc(&small, width, height), 0);
            CHECK_EQ(pc_activity_init(&meter, width, height), 0);
            scene_draw(&scenes[0], 0, &small);
            pc_activity_measure(&meter, &small, NULL, 0);
            scene_draw(&scenes[1], 0, &small);
            struct pc_activity cut = pc_activity_measure(&meter, &small, NULL, 0);
            CHECK(cut.difference > 0 && cut.difference <= 255);
            CHECK(cut.novelty >= 0 && cut.novelty <= 1);
            pc_activity_free(&meter);
            pc_picture_free(&small);
        }
    }
}

int main(void)
{
    scene_make(&scenes[0], WIDTH, HEIGHT, 1);
    scene_make(&scenes[1], WIDTH, HEIGHT, 2);
    pc_picture_alloc(&picture, WIDTH, HEIGHT);
    RUN(test_first_picture_has_no_difference);
    RUN(test_still_pan_and_cut);
    RUN(test_difference_is_the_mean);
    RUN(test_only_changed_rows_are_read);
    RUN(test_small_and_odd_sizes);
    pc_picture_free(&picture);
    scene_free(&scenes[0]);
    scene_free(&scenes[1]);
    return HARNESS_RESULT();
}
