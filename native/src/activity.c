#include "activity.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static size_t sampled_rows(int height)
{
    return (size_t)((height + PC_ACTIVITY_ROW_STEP - 1) / PC_ACTIVITY_ROW_STEP);
}

int pc_activity_init(struct pc_activity *activity, int width, int height)
{
    *activity = (struct pc_activity){.width = width, .height = height};
    activity->kept = calloc(sampled_rows(height), (size_t)width);
    return activity->kept ? 0 : -ENOMEM;
}

void pc_activity_free(struct pc_activity *activity)
{
    free(activity->kept);
    activity->kept = NULL;
}

/* Sum of absolute differences, and `kept` becomes `row`. The inner loop has a constant count so
 * that compilers turn it into SIMD at -O2. */
static uint64_t compare_row(uint8_t *restrict kept, const uint8_t *restrict row, int width)
{
    enum { BLOCK = 64 };
    uint64_t sum = 0;
    int x = 0;
    for (; x + BLOCK <= width; x += BLOCK) {
        uint32_t block = 0;
        for (int i = 0; i < BLOCK; i++)
            block += (uint32_t)abs(row[x + i] - kept[x + i]);
        sum += block;
        memcpy(kept + x, row + x, BLOCK);
    }
    for (; x < width; x++) {
        sum += (uint32_t)abs(row[x] - kept[x]);
        kept[x] = row[x];
    }
    return sum;
}

static bool row_changed(int y, const struct pc_rect *changed, int changed_count)
{
    for (int i = 0; i < changed_count; i++) {
        if (y >= changed[i].y && y < changed[i].y + changed[i].height)
            return true;
    }
    return false;
}

double pc_activity_measure(struct pc_activity *activity, const struct pc_picture *picture,
                           const struct pc_rect *changed, int changed_count)
{
    uint8_t *kept = activity->kept;
    uint64_t sum = 0;
    for (int y = 0; y < activity->height; y += PC_ACTIVITY_ROW_STEP) {
        if (!activity->primed || !changed || row_changed(y, changed, changed_count))
            sum += compare_row(kept, picture->plane[0] + (size_t)y * (size_t)picture->stride[0],
                               activity->width);
        kept += activity->width;
    }
    if (!activity->primed) {
        activity->primed = true;
        return -1;
    }
    return (double)sum / ((double)sampled_rows(activity->height) * activity->width);
}
