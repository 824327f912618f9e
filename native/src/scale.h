/* Pictures made smaller, for an encode of fewer pixels. */
#ifndef PC_SCALE_H
#define PC_SCALE_H

#include "convert.h"

/* Scale `from` to the visible size of `to`, which is allocated. */
void pc_scale(const struct pc_picture *from, struct pc_picture *to);

/* Where areas of `from` are in `to`: `count` of them, grown by what scaling smears. */
void pc_scale_rects(const struct pc_picture *from, const struct pc_picture *to,
                    const struct pc_rect *areas, int count, struct pc_rect *out);

#endif
