/* Bytes over a sliding window of time. Pure: time is an argument, of any clock. */
#ifndef PC_RATE_METER_H
#define PC_RATE_METER_H

#include <stdbool.h>
#include <stdint.h>

#define PC_RATE_METER_SLOTS   64
#define PC_RATE_METER_SLOT_US 16000 /* a window is at most about a second */

struct pc_rate_meter {
    uint32_t bytes[PC_RATE_METER_SLOTS];
    int64_t first, newest; /* slot numbers since the meter began */
    bool any;
};

/* Time that goes back is counted where it belongs, or nowhere when that is no longer kept. */
void pc_rate_meter_add(struct pc_rate_meter *meter, int64_t time_us, uint32_t bytes);

/* Bits per second over the `window_us` before the newest time; less where there is less. The slot
 * that is still being filled does not count. 0 = nothing to go by. */
double pc_rate_meter_bps(const struct pc_rate_meter *meter, int64_t window_us);

/* … before `time_us`. */
double pc_rate_meter_bps_at(const struct pc_rate_meter *meter, int64_t time_us, int64_t window_us);

#endif
