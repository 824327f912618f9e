#include "content.h"

#include <string.h>

#include "pattern_code.h"

#define TILE_WIDTH  64
#define TILE_HEIGHT 16

void content_init(struct content *content, int width, int height, bool game)
{
    int edge = pc_pattern_edge(width);

    memset(content, 0, sizeof *content);
    content->width = width;
    content->height = height;
    content->game = game;
    content->stride = (size_t)width * 4;
    content->frame_bytes = content->stride * (size_t)height;
    content->strip = (struct pc_rect){0, 0, edge * PC_PATTERN_COLUMNS, edge * PC_PATTERN_ROWS};
}

static int smaller(int a, int b)
{
    return a < b ? a : b;
}

static int larger(int a, int b)
{
    return a > b ? a : b;
}

static bool tile_differs(const struct content *content, const uint8_t *a, const uint8_t *b, int x,
                         int y)
{
    int bottom = smaller(y + TILE_HEIGHT, content->height);
    size_t bytes = (size_t)(smaller(x + TILE_WIDTH, content->width) - x) * 4;

    for (int row = y; row < bottom; row++) {
        size_t at = (size_t)row * content->stride + (size_t)x * 4;
        if (memcmp(a + at, b + at, bytes) != 0)
            return true;
    }
    return false;
}

static void add_rect(struct content *content, int frame, struct pc_rect rect)
{
    struct pc_rect *last = &content->rects[frame][PC_MAX_RECTS - 2];

    if (content->rect_count[frame] < PC_MAX_RECTS - 1) { /* one place is the strip's */
        content->rects[frame][content->rect_count[frame]++] = rect;
        return;
    }
    int right = larger(last->x + last->width, rect.x + rect.width);
    int bottom = larger(last->y + last->height, rect.y + rect.height);
    last->x = smaller(last->x, rect.x);
    last->y = smaller(last->y, rect.y);
    last->width = right - last->x;
    last->height = bottom - last->y;
}

/* Runs of tiles in a row that differ between a frame and the next. */
static void find_changes(struct content *content, int frame)
{
    const uint8_t *a = content->memory + (size_t)frame * content->frame_bytes;
    const uint8_t *b = a + content->frame_bytes;

    for (int y = 0; y < content->height; y += TILE_HEIGHT) {
        int run = -1;
        for (int x = 0; x < content->width; x += TILE_WIDTH) {
            bool differs = tile_differs(content, a, b, x, y);
            if (differs && run < 0)
                run = x;
            int end = differs ? smaller(x + TILE_WIDTH, content->width) : x;
            if (run >= 0 && (!differs || end == content->width)) {
                add_rect(
                    content, frame,
                    (struct pc_rect){run, y, end - run, smaller(TILE_HEIGHT, content->height - y)});
                run = -1;
            }
        }
    }
}

static void clear_strip(const struct content *content, uint8_t *pixels)
{
    for (int y = 0; y < content->strip.height; y++)
        memset(pixels + (size_t)y * content->stride, 0, (size_t)content->strip.width * 4);
}

int content_paint(struct content *content, uint8_t *memory)
{
    struct pc_pattern_settings settings = {
        .width = content->width, .height = content->height, .motion = content->game, .seed = 1};
    struct pc_source *source;

    content->memory = memory;
    int error = pc_source_open_pattern(&settings, &source);
    for (int i = 0; i < CONTENT_FRAMES && error >= 0; i++) {
        uint8_t *pixels = memory + (size_t)i * content->frame_bytes;
        int width, height;
        error = pc_source_snapshot(source, pixels, content->frame_bytes, &width, &height);
        clear_strip(content, pixels);
        if (i > 0 && !content->game)
            find_changes(content, i - 1);
    }
    if (error >= 0)
        pc_source_close(source);
    return error;
}

int content_index(uint64_t number)
{
    int place = (int)(number % (2 * (CONTENT_FRAMES - 1)));
    return place < CONTENT_FRAMES ? place : 2 * (CONTENT_FRAMES - 1) - place;
}

uint8_t *content_pixels(const struct content *content, uint64_t number)
{
    return content->memory + (size_t)content_index(number) * content->frame_bytes;
}

int content_changes(const struct content *content, uint64_t number, struct pc_rect *rects)
{
    if (content->game || number == 0) {
        rects[0] = (struct pc_rect){0, 0, content->width, content->height};
        return 1;
    }
    int frame = smaller(content_index(number), content_index(number - 1));
    rects[0] = content->strip;
    memcpy(rects + 1, content->rects[frame], (size_t)content->rect_count[frame] * sizeof *rects);
    return 1 + content->rect_count[frame];
}
