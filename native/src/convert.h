/* BGRX to I420 in BT.709 limited range (ITU-R BT.709-6, table 4; 8 bit: Y 16-235, C 16-240).
 *
 * The scalar code is the reference; pc_convert_init() replaces the row functions by SIMD ones where
 * the processor has them, bit-exact with the reference. */
#ifndef PC_CONVERT_H
#define PC_CONVERT_H

#include "source.h"

/* An I420 picture with its own memory: planes 64-byte aligned, strides multiples of 64, dimensions
 * rounded up to even; rows and columns past width and height repeat the edge. */
struct pc_picture {
    int width, height; /* visible; odd sizes are allowed */
    int stride[3];     /* bytes */
    uint8_t *plane[3]; /* Y, U, V */
    void *memory;
};

/* Allocate for the given visible size, black. 0 or -ENOMEM; `picture` is zeroed on failure. */
int pc_picture_alloc(struct pc_picture *picture, int width, int height);
void pc_picture_free(struct pc_picture *picture);

/* Convert the frame's changed areas (grown to even coordinates; everything when areas cover most of
 * the picture, since long rows are cheaper). Sizes of frame and picture must be equal. */
void pc_convert(const struct pc_source_frame *frame, struct pc_picture *picture);

/* Convert one area of the frame (grown to even coordinates, clipped to the picture). */
void pc_convert_area(const struct pc_source_frame *frame, struct pc_rect area,
                     struct pc_picture *picture);

/* One-time choice of row functions; `allow_simd` false keeps the reference (tests). */
void pc_convert_init(bool allow_simd);

#endif
