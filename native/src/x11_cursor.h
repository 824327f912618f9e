/* The pointer's picture, drawn into a picture and taken out again. No X in here but the image. */
#ifndef PC_X11_CURSOR_H
#define PC_X11_CURSOR_H

#include "source.h"

#define X11_CURSOR_MAX 256 /* pixels in width and height; larger ones are cut off */

struct x11_cursor {
    /* The image: what of it is not transparent. */
    int width, height;      /* 0 = nothing to see */
    int offset_x, offset_y; /* from the pointer's place to the image's top left pixel */
    uint32_t serial;        /* of the image */
    uint32_t argb[X11_CURSOR_MAX * X11_CURSOR_MAX]; /* premultiplied, rows of `width` */

    /* In the picture now. */
    struct pc_rect drawn; /* empty = nothing */
    int drawn_x, drawn_y; /* for this place of the pointer */
    uint32_t drawn_serial;
    uint32_t under[X11_CURSOR_MAX * X11_CURSOR_MAX]; /* what `drawn` covers, rows of its width */
};

/* Take a new image of premultiplied ARGB, `width` x `height`, hotspot at (`hot_x`, `hot_y`). */
void x11_cursor_set(struct x11_cursor *cursor, const uint32_t *argb, int width, int height,
                    int hot_x, int hot_y);

/* Where the image is when the pointer is at (`x`, `y`), clipped to the picture. */
struct pc_rect x11_cursor_place(const struct x11_cursor *cursor, int x, int y,
                                struct pc_rect picture);

/* Whether drawing it there would look different from what was drawn last. */
bool x11_cursor_differs(const struct x11_cursor *cursor, int x, int y, struct pc_rect picture);

/* Draw it at the pointer's place (`x`, `y`); what was drawn before must be undrawn. */
void x11_cursor_draw(struct x11_cursor *cursor, uint8_t *bgrx, size_t stride, int x, int y,
                     struct pc_rect picture);

/* Put back what it covers. `drawn` stays, to compare with. */
void x11_cursor_undraw(struct x11_cursor *cursor, uint8_t *bgrx, size_t stride);

#endif
