#include "pattern_code.h"

#include <string.h>

#define SYNC        0xB2
#define CODE_BYTES  (PC_PATTERN_BITS / 8)
#define THRESHOLD   126 /* the middle of limited-range black (16) and white (235) */
#define MAX_SAMPLES 12  /* per block and direction: enough for a mean, and fast */

static uint8_t crc8(const uint8_t *data, int size)
{
    unsigned crc = 0;

    for (int i = 0; i < size; i++) {
        crc ^= data[i];
        for (int bit = 0; bit < 8; bit++)
            crc = (crc << 1) ^ (crc & 0x80 ? 0x107u : 0u);
    }
    return (uint8_t)crc;
}

/* One bit, or nothing to say: the caller has made sure that the block is inside the picture. */
static int read_bit(const uint8_t *luma, size_t stride, size_t step, int index, double edge)
{
    double left = (index % PC_PATTERN_COLUMNS) * edge, top = (index / PC_PATTERN_COLUMNS) * edge;
    int x0 = (int)(left + edge / 4), x1 = (int)(left + edge * 3 / 4);
    int y0 = (int)(top + edge / 4), y1 = (int)(top + edge * 3 / 4);
    int dx = (x1 - x0) / MAX_SAMPLES + 1, dy = (y1 - y0) / MAX_SAMPLES + 1;
    int sum = 0, count = 0;

    for (int y = y0; y < y1; y += dy)
        for (int x = x0; x < x1; x += dx) {
            sum += luma[(size_t)y * stride + (size_t)x * step];
            count++;
        }
    return sum > count * THRESHOLD;
}

static int read_code(const uint8_t *luma, int width, int height, size_t stride, size_t step,
                     double edge, uint32_t *frame, uint64_t *time_us)
{
    uint8_t code[CODE_BYTES] = {0};

    if (edge < 2 || edge * PC_PATTERN_COLUMNS > width || edge * PC_PATTERN_ROWS > height)
        return 0;
    for (int i = 0; i < PC_PATTERN_BITS; i++) {
        code[i / 8] = (uint8_t)(code[i / 8] | read_bit(luma, stride, step, i, edge) << (7 - i % 8));
        if (i == 7 && code[0] != SYNC)
            return 0;
    }
    if (crc8(code + 1, CODE_BYTES - 2) != code[CODE_BYTES - 1])
        return 0;

    uint64_t number = 0, time = 0;
    for (int i = 1; i <= 4; i++)
        number = number << 8 | code[i];
    for (int i = 5; i <= 10; i++)
        time = time << 8 | code[i];
    *frame = (uint32_t)number;
    *time_us = time;
    return 1;
}

int pc_pattern_read(const uint8_t *luma, int width, int height, size_t stride, int step,
                    uint32_t *frame, uint64_t *time_us)
{
    if (!luma || width < 1 || height < 1 || step < 1)
        return 0;

    /* As written; else as the receiver scaled it: a block is still about a fortieth of the width.
     */
    const double edges[] = {pc_pattern_edge(width), (double)width / PC_PATTERN_SCALE,
                            pc_pattern_edge(2 * width) / 2.0};
    for (size_t i = 0; i < sizeof edges / sizeof edges[0]; i++)
        if (read_code(luma, width, height, stride, (size_t)step, edges[i], frame, time_us))
            return 1;
    return 0;
}

void pc_pattern_write(uint8_t *bgrx, int width, int height, size_t stride, uint32_t frame,
                      uint64_t time_us)
{
    int edge = pc_pattern_edge(width);
    uint8_t code[CODE_BYTES] = {SYNC};

    if (!bgrx || edge < 2 || edge * PC_PATTERN_COLUMNS > width || edge * PC_PATTERN_ROWS > height)
        return;
    for (int i = 0; i < 4; i++)
        code[1 + i] = (uint8_t)(frame >> (24 - 8 * i));
    for (int i = 0; i < 6; i++)
        code[5 + i] = (uint8_t)(time_us >> (40 - 8 * i));
    code[CODE_BYTES - 1] = crc8(code + 1, CODE_BYTES - 2);

    for (int row = 0; row < PC_PATTERN_ROWS; row++) {
        uint8_t *first = bgrx + (size_t)(row * edge) * stride;
        size_t block_bytes = (size_t)edge * 4;

        for (int column = 0; column < PC_PATTERN_COLUMNS; column++) {
            int i = row * PC_PATTERN_COLUMNS + column;
            int bit = code[i / 8] >> (7 - i % 8) & 1;
            memset(first + (size_t)column * block_bytes, bit ? 255 : 0, block_bytes);
        }
        for (int y = 1; y < edge; y++)
            memcpy(first + (size_t)y * stride, first, block_bytes * PC_PATTERN_COLUMNS);
    }
}
