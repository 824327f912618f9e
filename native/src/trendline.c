#include "trendline.h"

#include <math.h>

/* libwebrtc's numbers for the filter, the draft's (5.4) for the detector. */
static const double smoothing = 0.9;
static const double gain = 4;
static const unsigned count_most = 60;
static const double threshold_first_ms = 12.5, threshold_least_ms = 6, threshold_most_ms = 600;
static const double threshold_up = 0.0087, threshold_down = 0.039;
static const double outlier_ms = 15;
static const double over_time_ms = 10;
static const double update_most_ms = 100;

void pc_trendline_init(struct pc_trendline *line)
{
    *line =
        (struct pc_trendline){.threshold_ms = threshold_first_ms, .over_ms = -1, .updated_ms = -1};
}

/* The slope of the line, ms of delay per ms of time. */
static double slope(const struct pc_trendline *line)
{
    double mean_x = 0, mean_y = 0;
    for (int i = 0; i < PC_TRENDLINE_POINTS; i++) {
        mean_x += line->points[i].arrival_ms / PC_TRENDLINE_POINTS;
        mean_y += line->points[i].delay_ms / PC_TRENDLINE_POINTS;
    }
    double xx = 0, xy = 0;
    for (int i = 0; i < PC_TRENDLINE_POINTS; i++) {
        double x = line->points[i].arrival_ms - mean_x;
        xx += x * x;
        xy += x * (line->points[i].delay_ms - mean_y);
    }
    return xx > 0 ? xy / xx : 0;
}

static void adapt_threshold(struct pc_trendline *line, double trend_ms, double now_ms)
{
    double dt = line->updated_ms < 0 ? 0 : now_ms - line->updated_ms;
    line->updated_ms = now_ms;
    double size = fabs(trend_ms);
    if (size > line->threshold_ms + outlier_ms)
        return;
    double k = size < line->threshold_ms ? threshold_down : threshold_up;
    line->threshold_ms += k * (size - line->threshold_ms) * fmin(dt, update_most_ms);
    line->threshold_ms = fmin(fmax(line->threshold_ms, threshold_least_ms), threshold_most_ms);
}

static void detect(struct pc_trendline *line, double trend, double send_delta_ms, double now_ms)
{
    double trend_ms = fmin(line->count, count_most) * trend * gain;
    if (trend_ms > line->threshold_ms) {
        line->over_ms = line->over_ms < 0 ? send_delta_ms / 2 : line->over_ms + send_delta_ms;
        line->over_count++;
        if (line->over_ms > over_time_ms && line->over_count > 1 && trend >= line->trend) {
            line->over_ms = 0;
            line->over_count = 0;
            line->usage = PC_USAGE_OVER;
        }
    } else {
        line->over_ms = -1;
        line->over_count = 0;
        line->usage = trend_ms < -line->threshold_ms ? PC_USAGE_UNDER : PC_USAGE_NORMAL;
    }
    line->trend = trend;
    adapt_threshold(line, trend_ms, now_ms);
}

enum pc_usage pc_trendline_add(struct pc_trendline *line,
                               const struct pc_delay_variation *variation)
{
    if (line->count == 0)
        line->first_arrival_ms = variation->arrival_ms;
    if (line->count < 1000)
        line->count++;
    line->accumulated_ms += variation->arrival_delta_ms - variation->send_delta_ms;
    line->smoothed_ms = smoothing * line->smoothed_ms + (1 - smoothing) * line->accumulated_ms;

    double now_ms = variation->arrival_ms - line->first_arrival_ms;
    line->points[line->next].arrival_ms = now_ms;
    line->points[line->next].delay_ms = line->smoothed_ms;
    line->next = (line->next + 1) % PC_TRENDLINE_POINTS;
    double trend = line->count >= PC_TRENDLINE_POINTS ? slope(line) : line->trend;
    detect(line, trend, variation->send_delta_ms, now_ms);
    return line->usage;
}
