/* The pictures that benchmarks stream, painted ahead so that showing them costs next to nothing:
 * a stretch of the test pattern, played forth and back. */
#ifndef BENCH_CONTENT_H
#define BENCH_CONTENT_H

#include "source.h"

#define CONTENT_FRAMES 24

struct content {
    int width, height;
    bool game; /* every pixel moves; else small changes */
    size_t stride, frame_bytes;
    struct pc_rect strip; /* where the code is: changes in every picture */
    uint8_t *memory;      /* CONTENT_FRAMES * frame_bytes, the caller's */
    int rect_count[CONTENT_FRAMES];
    struct pc_rect rects[CONTENT_FRAMES][PC_MAX_RECTS]; /* between a frame and the next one */
};

/* Fill in everything but the memory: how much of it content_paint() needs. */
void content_init(struct content *content, int width, int height, bool game);

/* Paint the frames into `memory`. Negative errno with pc_error_text() on failure. */
int content_paint(struct content *content, uint8_t *memory);

/* Which frame picture `number` shows. */
int content_index(uint64_t number);

uint8_t *content_pixels(const struct content *content, uint64_t number);

/* What picture `number` changes: `rects` gets up to PC_MAX_RECTS; the strip is the first one unless
 * everything changes. Returns how many. */
int content_changes(const struct content *content, uint64_t number, struct pc_rect *rects);

#endif
