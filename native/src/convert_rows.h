/* The arithmetic of convert.c and its row functions, private to the converter.
 *
 * BT.709-6: E'Y = 0.2126 R + 0.7152 G + 0.0722 B, E'Cb = (B - Y) / 1.8556, E'Cr = (R - Y) / 1.5748;
 * 8 bits, limited range: Y = 16 + 219 E'Y, Cb and Cr = 128 + 224 E'C, from R, G and B in 0..255.
 *
 * The fixed-point numbers are chosen so that SIMD can multiply bytes by bytes: whole-number ratios
 * of 8 bits that meet BT.709's within 0.1 %, times a scale. Y is in units of 2^-22, its blue and
 * green share one scale. Cb's and Cr's ratios add up to 0 (grey has no colour), in units of 2^-15.
 * Everything is rounded to the nearest; the result is never more than 0.6 from the exact value.
 *
 * Chroma belongs to 2 x 2 pixels: the mean of each column, then the mean of both columns, rounding
 * halves up, as SIMD's average instructions do (the bias is the same for R, G and B, so that it
 * cancels out in chroma). */
#ifndef PC_CONVERT_ROWS_H
#define PC_CONVERT_ROWS_H

#include <stdint.h>

#define PC_Y_B        22 /* 22 : 218 = 0.0722 : 0.7152 */
#define PC_Y_G        218
#define PC_Y_BG_SCALE 11818
#define PC_Y_R        218
#define PC_Y_R_SCALE  3513
#define PC_Y_SHIFT    22
#define PC_Y_OFFSET   ((16 << PC_Y_SHIFT) + (1 << (PC_Y_SHIFT - 1)))

#define PC_U_B     96
#define PC_U_G     (-74)
#define PC_U_R     (-22)
#define PC_U_SCALE 150

#define PC_V_B     (-10)
#define PC_V_G     (-99)
#define PC_V_R     109
#define PC_V_SCALE 132

#define PC_C_SHIFT  15
#define PC_C_OFFSET ((128 << PC_C_SHIFT) + (1 << (PC_C_SHIFT - 1)))

/* Convert two rows of `width` >= 1 BGRX pixels into two rows of luma and one of chroma. Where
 * `width` is odd, the last pixel counts twice. `top` and `bottom` may be the same row. */
typedef void (*pc_convert_rows_fn)(const uint8_t *top, const uint8_t *bottom, uint8_t *y_top,
                                   uint8_t *y_bottom, uint8_t *u, uint8_t *v, int width);

void pc_convert_rows_reference(const uint8_t *top, const uint8_t *bottom, uint8_t *y_top,
                               uint8_t *y_bottom, uint8_t *u, uint8_t *v, int width);

/* The fastest one that this processor has, or NULL. */
pc_convert_rows_fn pc_convert_rows_simd(void);

#endif
