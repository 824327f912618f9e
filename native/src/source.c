#include "source.h"

#include <errno.h>
#include <string.h>

#include "clock.h"

int pc_source_size(struct pc_source *source, int *width, int *height)
{
    if (!source || !width || !height)
        return pc_fail(-EINVAL, "pc_source_size: source, width and height must not be NULL");
    *width = source->width;
    *height = source->height;
    return 0;
}

void pc_source_close(struct pc_source *source)
{
    if (source)
        source->ops->close(source);
}

int pc_source_snapshot(struct pc_source *source, uint8_t *out, size_t capacity, int *width,
                       int *height)
{
    struct pc_source_frame frame;

    if (!source || !out || !width || !height)
        return pc_fail(-EINVAL,
                       "pc_source_snapshot: source, out, width and height must not be NULL");
    int result = source->ops->grab(source, pc_now_ns(), &frame);
    if (result < 0)
        return result;

    size_t row = (size_t)frame.width * 4;
    if (capacity < row * (size_t)frame.height)
        return pc_fail(-ENOSPC, "A picture of %d x %d pixels takes %zu bytes, not %zu", frame.width,
                       frame.height, row * (size_t)frame.height, capacity);
    for (int y = 0; y < frame.height; y++)
        memcpy(out + (size_t)y * row, frame.pixels + (size_t)y * frame.stride, row);
    *width = frame.width;
    *height = frame.height;
    return 0;
}
