#include "convert.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "convert_rows.h"

#define PLANE_ALIGNMENT 64
/* Above this share of the picture one pass over everything beats several over parts of it. */
#define WHOLE_NUMERATOR   3
#define WHOLE_DENOMINATOR 4

static pc_convert_rows_fn convert_rows = pc_convert_rows_reference;

static uint8_t luma(const uint8_t *pixel)
{
    int sum = PC_Y_BG_SCALE * (PC_Y_B * pixel[0] + PC_Y_G * pixel[1]) +
              PC_Y_R_SCALE * (PC_Y_R * pixel[2]);
    return (uint8_t)((sum + PC_Y_OFFSET) >> PC_Y_SHIFT);
}

static int mean(int a, int b)
{
    return (a + b + 1) >> 1;
}

void pc_convert_rows_reference(const uint8_t *top, const uint8_t *bottom, uint8_t *y_top,
                               uint8_t *y_bottom, uint8_t *u, uint8_t *v, int width)
{
    for (int x = 0; x < width; x += 2) {
        int left = 4 * x;
        int right = x + 1 < width ? left + 4 : left;
        int bgr[3];

        y_top[x] = luma(top + left);
        y_top[x + 1] = luma(top + right);
        y_bottom[x] = luma(bottom + left);
        y_bottom[x + 1] = luma(bottom + right);
        for (int i = 0; i < 3; i++)
            bgr[i] = mean(mean(top[left + i], bottom[left + i]),
                          mean(top[right + i], bottom[right + i]));
        int blueness = PC_U_B * bgr[0] + PC_U_G * bgr[1] + PC_U_R * bgr[2];
        int redness = PC_V_B * bgr[0] + PC_V_G * bgr[1] + PC_V_R * bgr[2];
        u[x / 2] = (uint8_t)((PC_U_SCALE * blueness + PC_C_OFFSET) >> PC_C_SHIFT);
        v[x / 2] = (uint8_t)((PC_V_SCALE * redness + PC_C_OFFSET) >> PC_C_SHIFT);
    }
}

void pc_convert_init(bool allow_simd)
{
    pc_convert_rows_fn simd = allow_simd ? pc_convert_rows_simd() : NULL;
    convert_rows = simd ? simd : pc_convert_rows_reference;
}

/* So that nobody can forget it; before main() there is no other thread. */
__attribute__((constructor)) static void choose_at_start(void)
{
    pc_convert_init(true);
}

int pc_picture_alloc(struct pc_picture *picture, int width, int height)
{
    memset(picture, 0, sizeof *picture);
    if (width < 1 || height < 1 || width > 16384 || height > 16384)
        return pc_fail(-EINVAL, "A picture of %d x %d pixels: must be 1 to 16384 each", width,
                       height);

    int even_width = (width + 1) & ~1, even_height = (height + 1) & ~1;
    int y_stride = (even_width + PLANE_ALIGNMENT - 1) & -PLANE_ALIGNMENT;
    int c_stride = (even_width / 2 + PLANE_ALIGNMENT - 1) & -PLANE_ALIGNMENT;
    size_t y_bytes = (size_t)y_stride * (size_t)even_height;
    size_t c_bytes = (size_t)c_stride * (size_t)(even_height / 2);
    uint8_t *memory = aligned_alloc(PLANE_ALIGNMENT, y_bytes + 2 * c_bytes);

    if (!memory)
        return pc_fail(-ENOMEM, "Out of memory for a picture of %d x %d pixels", width, height);
    memset(memory, 16, y_bytes);
    memset(memory + y_bytes, 128, 2 * c_bytes);
    *picture = (struct pc_picture){
        .width = width,
        .height = height,
        .stride = {y_stride, c_stride, c_stride},
        .plane = {memory, memory + y_bytes, memory + y_bytes + c_bytes},
        .memory = memory,
    };
    return 0;
}

void pc_picture_free(struct pc_picture *picture)
{
    free(picture->memory);
    memset(picture, 0, sizeof *picture);
}

static void convert_even(const struct pc_source_frame *frame, struct pc_rect area,
                         struct pc_picture *picture)
{
    for (int y = area.y; y < area.y + area.height; y += 2) {
        const uint8_t *top = frame->pixels + (size_t)y * frame->stride + (size_t)area.x * 4;
        const uint8_t *bottom = y + 1 < frame->height ? top + frame->stride : top;
        uint8_t *y_top = picture->plane[0] + (ptrdiff_t)y * picture->stride[0] + area.x;
        ptrdiff_t chroma = (ptrdiff_t)(y / 2) * picture->stride[1] + area.x / 2;

        convert_rows(top, bottom, y_top, y_top + picture->stride[0], picture->plane[1] + chroma,
                     picture->plane[2] + chroma, area.width);
    }
}

static int clamp(int value, int low, int high)
{
    return value < low ? low : value > high ? high : value;
}

/* Grown to whole chroma samples, within the frame. */
static struct pc_rect grow_to_even(const struct pc_source_frame *frame, struct pc_rect rect)
{
    int x0 = clamp(rect.x, 0, frame->width) & ~1;
    int y0 = clamp(rect.y, 0, frame->height) & ~1;
    int x1 = clamp((rect.x + rect.width + 1) & ~1, x0, frame->width);
    int y1 = clamp((rect.y + rect.height + 1) & ~1, y0, frame->height);

    return (struct pc_rect){x0, y0, x1 - x0, y1 - y0};
}

void pc_convert_area(const struct pc_source_frame *frame, struct pc_rect area,
                     struct pc_picture *picture)
{
    convert_even(frame, grow_to_even(frame, area), picture);
}

void pc_convert(const struct pc_source_frame *frame, struct pc_picture *picture)
{
    struct pc_rect areas[PC_MAX_RECTS];
    long long total = 0, whole = (long long)frame->width * frame->height;

    for (int i = 0; i < frame->rect_count; i++) {
        areas[i] = grow_to_even(frame, frame->rects[i]);
        total += (long long)areas[i].width * areas[i].height;
    }
    if (total * WHOLE_DENOMINATOR >= whole * WHOLE_NUMERATOR) {
        convert_even(frame, (struct pc_rect){0, 0, frame->width, frame->height}, picture);
        return;
    }
    for (int i = 0; i < frame->rect_count; i++)
        convert_even(frame, areas[i], picture);
}
