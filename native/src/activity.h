/* What is new in a picture: a cheap look at it before it is encoded, for the rate control.
 *
 * Every eighth luma row is read and averaged over eight pixels, which gives a small picture of
 * cells. Blocks of cells are looked for in the last small picture within the reach of the encoder's
 * own motion search: what is not found there costs as much as in an intra picture. */
#ifndef PC_ACTIVITY_H
#define PC_ACTIVITY_H

#include "convert.h"

#define PC_CELL 8 /* luma pixels and rows that one cell stands for */

struct pc_activity {
    double difference; /* mean absolute difference to the last picture in the same place, 0..255;
                        * negative: there was none */
    double novelty;    /* share of the picture that is not found near its place, 0..1 */
    double detail;     /* mean absolute difference of neighbouring pixels, 0..255 */
};

struct pc_activity_meter {
    int columns, rows;    /* cells */
    uint8_t *now, *last;  /* cells of this and the last picture */
    uint32_t *row_detail; /* per row of cells */
    bool primed;          /* `now` holds a picture */
};

/* 0 or -ENOMEM. Width and height are at least 16. */
int pc_activity_init(struct pc_activity_meter *meter, int width, int height);
void pc_activity_free(struct pc_activity_meter *meter);

/* Compare the picture with that of the last call. Rows that `changed` does not touch are taken to
 * be as they were (NULL: all are read). */
struct pc_activity pc_activity_measure(struct pc_activity_meter *meter,
                                       const struct pc_picture *picture,
                                       const struct pc_rect *changed, int changed_count);

#endif
