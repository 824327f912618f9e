#include "x11_cursor.h"

#include <string.h>

#include "damage_rects.h"

static int min(int a, int b)
{
    return a < b ? a : b;
}

static int max(int a, int b)
{
    return a > b ? a : b;
}

/* The smallest area that holds all pixels which are not transparent. */
static struct pc_rect opaque_part(const uint32_t *argb, int width, int height, int row)
{
    int left = width, right = 0, top = height, bottom = 0;

    for (int y = 0; y < height; y++)
        for (int x = 0; x < width; x++)
            if (argb[y * row + x] >> 24) {
                left = min(left, x);
                right = max(right, x + 1);
                top = min(top, y);
                bottom = y + 1;
            }
    if (right == 0)
        return (struct pc_rect){0, 0, 0, 0};
    return (struct pc_rect){left, top, right - left, bottom - top};
}

void x11_cursor_set(struct x11_cursor *cursor, const uint32_t *argb, int width, int height,
                    int hot_x, int hot_y)
{
    struct pc_rect part =
        opaque_part(argb, min(width, X11_CURSOR_MAX), min(height, X11_CURSOR_MAX), width);

    cursor->serial++;
    cursor->width = part.width;
    cursor->height = part.height;
    cursor->offset_x = part.x - hot_x;
    cursor->offset_y = part.y - hot_y;
    for (int y = 0; y < part.height; y++)
        memcpy(cursor->argb + y * part.width, argb + (part.y + y) * width + part.x,
               (size_t)part.width * 4);
}

struct pc_rect x11_cursor_place(const struct x11_cursor *cursor, int x, int y,
                                struct pc_rect picture)
{
    return pc_rect_intersect(picture, (struct pc_rect){x + cursor->offset_x, y + cursor->offset_y,
                                                       cursor->width, cursor->height});
}

bool x11_cursor_differs(const struct x11_cursor *cursor, int x, int y, struct pc_rect picture)
{
    struct pc_rect place = x11_cursor_place(cursor, x, y, picture);

    if (pc_rect_empty(place) && pc_rect_empty(cursor->drawn))
        return false;
    return x != cursor->drawn_x || y != cursor->drawn_y || cursor->serial != cursor->drawn_serial ||
           !pc_rect_equal(place, cursor->drawn);
}

static uint32_t blend(uint32_t below, uint32_t above)
{
    uint32_t rest = 255 - (above >> 24), result = 0;

    for (int shift = 0; shift < 24; shift += 8) {
        uint32_t sum = (above >> shift & 0xff) + ((below >> shift & 0xff) * rest + 127) / 255;
        result |= (sum > 255 ? 255 : sum) << shift;
    }
    return result;
}

void x11_cursor_draw(struct x11_cursor *cursor, uint8_t *bgrx, size_t stride, int x, int y,
                     struct pc_rect picture)
{
    struct pc_rect place = x11_cursor_place(cursor, x, y, picture);
    int from_x = place.x - x - cursor->offset_x, from_y = place.y - y - cursor->offset_y;

    for (int row = 0; row < place.height; row++) {
        uint32_t *to =
            (uint32_t *)(void *)(bgrx + (size_t)(place.y + row) * stride + (size_t)place.x * 4);
        const uint32_t *from = cursor->argb + (from_y + row) * cursor->width + from_x;

        memcpy(cursor->under + row * place.width, to, (size_t)place.width * 4);
        for (int column = 0; column < place.width; column++)
            to[column] = blend(to[column], from[column]);
    }
    cursor->drawn = place;
    cursor->drawn_x = x;
    cursor->drawn_y = y;
    cursor->drawn_serial = cursor->serial;
}

void x11_cursor_undraw(struct x11_cursor *cursor, uint8_t *bgrx, size_t stride)
{
    struct pc_rect place = cursor->drawn;

    for (int row = 0; row < place.height; row++)
        memcpy(bgrx + (size_t)(place.y + row) * stride + (size_t)place.x * 4,
               cursor->under + row * place.width, (size_t)place.width * 4);
}
