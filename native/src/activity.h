/* How much a picture differs from the one before: every eighth luma row is kept and compared. */
#ifndef PC_ACTIVITY_H
#define PC_ACTIVITY_H

#include "convert.h"

#define PC_ACTIVITY_ROW_STEP 8

struct pc_activity {
    int width, height;
    uint8_t *kept; /* the sampled rows of the last picture, packed */
    bool primed;   /* `kept` holds a picture */
};

/* 0 or -ENOMEM. */
int pc_activity_init(struct pc_activity *activity, int width, int height);
void pc_activity_free(struct pc_activity *activity);

/* Mean absolute luma difference to the picture of the last call, 0..255; -1 on the first call.
 * Only rows that `changed` touches are read (NULL: all). */
double pc_activity_measure(struct pc_activity *activity, const struct pc_picture *picture,
                           const struct pc_rect *changed, int changed_count);

#endif
