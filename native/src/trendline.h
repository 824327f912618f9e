/* Is the queue growing? A line through the smoothed, accumulated delay variations of late (the
 * filter that libwebrtc has put in the place of draft-ietf-rmcat-gcc-02's 5.3), and the overuse
 * detector with adaptive threshold of 5.4. Pure: time is an argument. */
#ifndef PC_TRENDLINE_H
#define PC_TRENDLINE_H

#include "arrival_groups.h"

#define PC_TRENDLINE_POINTS 20

enum pc_usage { PC_USAGE_NORMAL, PC_USAGE_OVER, PC_USAGE_UNDER };

struct pc_trendline {
    struct {
        double arrival_ms, delay_ms;
    } points[PC_TRENDLINE_POINTS];
    unsigned count; /* delay variations ever, as far as it matters */
    unsigned next;
    double first_arrival_ms, accumulated_ms, smoothed_ms;
    double trend, threshold_ms;
    double over_ms; /* how long the trend has been over the threshold; < 0 = it is not */
    int over_count;
    double updated_ms; /* the threshold, receiver's clock; < 0 = never */
    enum pc_usage usage;
};

void pc_trendline_init(struct pc_trendline *line);

/* The new usage. */
enum pc_usage pc_trendline_add(struct pc_trendline *line,
                               const struct pc_delay_variation *variation);

#endif
