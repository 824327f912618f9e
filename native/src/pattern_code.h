/* A frame number and a time in a picture's pixels, in blocks large enough to survive encoding.
 *
 * Layout: a strip of PC_PATTERN_COLUMNS x PC_PATTERN_ROWS square blocks, black or white, in the top
 * left corner. Block edge: width / 40 rounded down to even. Row-major, most significant bit first:
 * 8 bits sync 0xB2, 32 bits frame number, 48 bits time in microseconds, 8 bits CRC-8 (polynomial
 * 0x07, over the 10 bytes between). A bit is read as the mean of the middle quarter of its block
 * against the middle of black and white. Readers in other languages follow this comment. */
#ifndef PC_PATTERN_CODE_H
#define PC_PATTERN_CODE_H

#include "core.h"

#define PC_PATTERN_COLUMNS 32
#define PC_PATTERN_ROWS    3
#define PC_PATTERN_BITS    96
#define PC_PATTERN_SCALE   40 /* blocks that the picture's width would hold */

/* Pixels from one block to the next in a picture that is `width` pixels wide. */
static inline int pc_pattern_edge(int width)
{
    return (width / PC_PATTERN_SCALE) & ~1;
}

#endif
