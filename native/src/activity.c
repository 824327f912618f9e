#include "activity.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#if defined(__SSE2__)
#include <emmintrin.h>
#endif

/* A block of cells: 128 x 64 pixels. */
enum { BLOCK_COLUMNS = 16, BLOCK_ROWS = 8 };

/* How far a block is looked for, in cells: x264's presets for low delay search 16 pixels around a
 * predicted vector. */
enum { REACH_X = 3, REACH_Y = 2 };

int pc_activity_init(struct pc_activity_meter *meter, int width, int height)
{
    *meter = (struct pc_activity_meter){.columns = width / PC_CELL, .rows = height / PC_CELL};
    size_t cells = (size_t)meter->columns * (size_t)meter->rows;
    meter->now = calloc(cells, 1);
    meter->last = calloc(cells, 1);
    meter->row_detail = calloc((size_t)meter->rows, sizeof *meter->row_detail);
    if (meter->now && meter->last && meter->row_detail)
        return 0;
    pc_activity_free(meter);
    return -ENOMEM;
}

void pc_activity_free(struct pc_activity_meter *meter)
{
    free(meter->now);
    free(meter->last);
    free(meter->row_detail);
    *meter = (struct pc_activity_meter){0};
}

#if defined(__SSE2__)

static __m128i load_16(const uint8_t *bytes)
{
    return _mm_loadu_si128((const __m128i *)(const void *)bytes);
}

static uint32_t sum_of_halves(__m128i sums)
{
    return (uint32_t)(_mm_cvtsi128_si32(sums) + _mm_cvtsi128_si32(_mm_srli_si128(sums, 8)));
}

/* The means of two times eight bytes, rounded down. */
static void means_of_8(uint8_t *means, const uint8_t *pixels)
{
    __m128i sums = _mm_srli_epi64(_mm_sad_epu8(load_16(pixels), _mm_setzero_si128()), 3);
    means[0] = (uint8_t)_mm_cvtsi128_si32(sums);
    means[1] = (uint8_t)_mm_cvtsi128_si32(_mm_srli_si128(sums, 8));
}

static uint32_t sad_16(const uint8_t *a, const uint8_t *b)
{
    return sum_of_halves(_mm_sad_epu8(load_16(a), load_16(b)));
}

#else

static void means_of_8(uint8_t *means, const uint8_t *pixels)
{
    for (int half = 0; half < 2; half++) {
        uint32_t sum = 0;
        for (int i = 0; i < 8; i++)
            sum += pixels[8 * half + i];
        means[half] = (uint8_t)(sum / 8);
    }
}

static uint32_t sad_16(const uint8_t *a, const uint8_t *b)
{
    uint32_t sum = 0;
    for (int i = 0; i < 16; i++)
        sum += (uint32_t)abs(a[i] - b[i]);
    return sum;
}

#endif

static uint32_t read_row(uint8_t *cells, const uint8_t *pixels, int columns)
{
    for (int i = 0; i + 2 <= columns; i += 2)
        means_of_8(cells + i, pixels + i * PC_CELL);
    if (columns % 2 != 0) {
        uint8_t means[2];
        means_of_8(means, pixels + (columns - 2) * PC_CELL);
        cells[columns - 1] = means[1];
    }
    uint32_t detail = 0;
    int end = columns * PC_CELL - 1;
    for (int x = 0; x + 16 <= end; x += 16)
        detail += sad_16(pixels + x, pixels + x + 1);
    return detail;
}

static uint32_t block_sad(const uint8_t *a, const uint8_t *b, int stride, int columns, int rows)
{
    uint32_t sum = 0;
    for (int y = 0; y < rows; y++, a += stride, b += stride) {
        if (columns == BLOCK_COLUMNS) {
            sum += sad_16(a, b);
            continue;
        }
        for (int x = 0; x < columns; x++)
            sum += (uint32_t)abs(a[x] - b[x]);
    }
    return sum;
}

/* Sum of absolute differences to the block's own mean. */
static uint32_t block_deviation(const uint8_t *a, int stride, int columns, int rows)
{
    uint32_t sum = 0, deviation = 0;
    for (int y = 0; y < rows; y++) {
        for (int x = 0; x < columns; x++)
            sum += a[y * stride + x];
    }
    int mean = (int)(sum / (uint32_t)(columns * rows));
    for (int y = 0; y < rows; y++) {
        for (int x = 0; x < columns; x++)
            deviation += (uint32_t)abs(a[y * stride + x] - mean);
    }
    return deviation;
}

static uint32_t best_match(const struct pc_activity_meter *meter, int left, int top, int columns,
                           int rows, uint32_t best)
{
    int stride = meter->columns;
    const uint8_t *block = meter->now + top * stride + left;
    for (int dy = -REACH_Y; dy <= REACH_Y; dy++) {
        if (top + dy < 0 || top + dy + rows > meter->rows)
            continue;
        for (int dx = -REACH_X; dx <= REACH_X; dx++) {
            if (left + dx < 0 || left + dx + columns > meter->columns)
                continue;
            const uint8_t *there = meter->last + (top + dy) * stride + left + dx;
            uint32_t sad = block_sad(block, there, stride, columns, rows);
            best = sad < best ? sad : best;
        }
    }
    return best;
}

/* 0: found nearby; 1: the best match is no better than the block's own mean. A match of half the
 * deviation is still a good one: moved by parts of a cell, the small pictures differ. */
static double block_novelty(const struct pc_activity_meter *meter, int left, int top, int columns,
                            int rows, uint32_t *difference)
{
    int stride = meter->columns;
    const uint8_t *block = meter->now + top * stride + left;
    const uint8_t *before = meter->last + top * stride + left;
    *difference = block_sad(block, before, stride, columns, rows);
    uint32_t noise = (uint32_t)(columns * rows);
    if (*difference <= noise)
        return 0;
    uint32_t deviation = block_deviation(block, stride, columns, rows) + noise;
    if (*difference <= deviation / 4)
        return 0;
    uint32_t match = best_match(meter, left, top, columns, rows, *difference);
    double novelty = 2.0 * match / deviation - 1.0;
    return novelty < 0 ? 0 : novelty > 1 ? 1 : novelty;
}

static bool row_changed(int y, const struct pc_rect *changed, int changed_count)
{
    for (int i = 0; i < changed_count; i++) {
        if (y >= changed[i].y && y < changed[i].y + changed[i].height)
            return true;
    }
    return false;
}

static double read_picture(struct pc_activity_meter *meter, const struct pc_picture *picture,
                           const struct pc_rect *changed, int changed_count)
{
    int columns = meter->columns;
    uint64_t detail = 0;
    uint8_t *spare = meter->last;
    meter->last = meter->now;
    meter->now = spare;
    for (int row = 0; row < meter->rows; row++) {
        int y = row * PC_CELL + PC_CELL / 2;
        uint8_t *cells = meter->now + row * columns;
        if (meter->primed && changed && !row_changed(y, changed, changed_count))
            memcpy(cells, meter->last + row * columns, (size_t)columns);
        else
            meter->row_detail[row] = read_row(
                cells, picture->plane[0] + (size_t)y * (size_t)picture->stride[0], columns);
        detail += meter->row_detail[row];
    }
    return (double)detail / ((double)columns * PC_CELL * meter->rows);
}

struct pc_activity pc_activity_measure(struct pc_activity_meter *meter,
                                       const struct pc_picture *picture,
                                       const struct pc_rect *changed, int changed_count)
{
    bool primed = meter->primed;
    double detail = read_picture(meter, picture, changed, changed_count);
    meter->primed = true;
    if (!primed)
        return (struct pc_activity){.difference = -1, .novelty = 1, .detail = detail};

    double cells = (double)meter->columns * meter->rows;
    double novel_cells = 0;
    uint64_t difference = 0;
    for (int top = 0; top < meter->rows; top += BLOCK_ROWS) {
        int rows = meter->rows - top < BLOCK_ROWS ? meter->rows - top : BLOCK_ROWS;
        for (int left = 0; left < meter->columns; left += BLOCK_COLUMNS) {
            int columns =
                meter->columns - left < BLOCK_COLUMNS ? meter->columns - left : BLOCK_COLUMNS;
            uint32_t block_difference;
            novel_cells +=
                columns * rows * block_novelty(meter, left, top, columns, rows, &block_difference);
            difference += block_difference;
        }
    }
    return (struct pc_activity){
        .difference = (double)difference / cells, .novelty = novel_cells / cells, .detail = detail};
}
