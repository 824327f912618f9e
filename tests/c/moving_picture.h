/* Pictures that cost about as much to encode as a game's: a textured ground that is panned over,
 * with detail at several scales, and grain. A scene is a seed; a cut is another scene. */
#ifndef PC_TEST_MOVING_PICTURE_H
#define PC_TEST_MOVING_PICTURE_H

#include <stdlib.h>
#include <string.h>

#include "convert.h"
#include "harness.h"

#define SCENE_MARGIN 256 /* pixels to pan over */

struct scene {
    int width, height; /* of the luma plane; chroma is half of it */
    uint8_t *plane[3];
};

/* Interpolated random values on a grid of `cell` pixels, added to the plane. */
static inline void scene_add_noise(uint8_t *plane, int width, int height, int cell, int amplitude,
                                   uint64_t *random)
{
    int columns = width / cell + 2, rows = height / cell + 2;
    int *grid = malloc(sizeof *grid * (size_t)(columns * rows));
    for (int i = 0; i < columns * rows; i++)
        grid[i] = (int)(harness_random(random) >> 33) % (2 * amplitude + 1) - amplitude;
    for (int y = 0; y < height; y++) {
        for (int x = 0; x < width; x++) {
            const int *g = grid + y / cell * columns + x / cell;
            int fx = x % cell, fy = y % cell;
            int above = g[0] * (cell - fx) + g[1] * fx;
            int below = g[columns] * (cell - fx) + g[columns + 1] * fx;
            int value = plane[y * width + x] + (above * (cell - fy) + below * fy) / (cell * cell);
            plane[y * width + x] = (uint8_t)(value < 16 ? 16 : value > 235 ? 235 : value);
        }
    }
    free(grid);
}

static inline void scene_make(struct scene *scene, int width, int height, uint64_t seed)
{
    uint64_t random = seed * 0x9e3779b97f4a7c15ull + 1;
    scene->width = (width + SCENE_MARGIN + 1) & ~1;
    scene->height = (height + SCENE_MARGIN + 1) & ~1;
    for (int i = 0; i < 3; i++) {
        int w = i ? scene->width / 2 : scene->width, h = i ? scene->height / 2 : scene->height;
        scene->plane[i] = malloc((size_t)(w * h));
        memset(scene->plane[i], i ? 128 : 110, (size_t)(w * h));
        scene_add_noise(scene->plane[i], w, h, 96, 50, &random);
        scene_add_noise(scene->plane[i], w, h, 24, 30, &random);
        if (i == 0)
            scene_add_noise(scene->plane[i], w, h, 6, 25, &random);
    }
}

static inline void scene_free(struct scene *scene)
{
    for (int i = 0; i < 3; i++)
        free(scene->plane[i]);
}

/* Eight levels of noise, other for each step, eight pixels at a time: the pixels must not be above
 * 235. */
static inline void scene_add_grain(struct pc_picture *picture, int step)
{
    uint64_t random = (uint64_t)step + 1;
    for (int y = 0; y < picture->height; y++) {
        uint8_t *row = picture->plane[0] + y * picture->stride[0];
        for (int x = 0; x + 8 <= picture->width; x += 8) {
            uint64_t pixels;
            memcpy(&pixels, row + x, 8);
            pixels += harness_random(&random) & 0x0707070707070707u;
            memcpy(row + x, &pixels, 8);
        }
    }
}

/* Draw the scene as seen at `step`: five pixels to the side a step, back and forth. */
static inline void scene_draw(const struct scene *scene, int step, struct pc_picture *picture)
{
    int travel = step * 5 % (2 * (SCENE_MARGIN - 2));
    int x = travel < SCENE_MARGIN - 2 ? travel : 2 * (SCENE_MARGIN - 2) - travel;
    int y = x / 3;
    for (int i = 0; i < 3; i++) {
        int shift = i ? 1 : 0;
        int w = (picture->width + 1) / 2 * 2 >> shift, h = (picture->height + 1) / 2 * 2 >> shift;
        for (int row = 0; row < h; row++)
            memcpy(picture->plane[i] + row * picture->stride[i],
                   scene->plane[i] + (row + (y >> shift)) * (scene->width >> shift) + (x >> shift),
                   (size_t)w);
    }
    scene_add_grain(picture, step);
}

#endif
