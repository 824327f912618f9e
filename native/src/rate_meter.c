#include "rate_meter.h"

#include <string.h>

/* A step of the clock this long, either way, begins anew. */
static const int64_t forgotten_slots = 2ll * PC_RATE_METER_SLOTS;

static int64_t slot_number(int64_t time_us)
{
    int64_t number = time_us / PC_RATE_METER_SLOT_US;
    return time_us % PC_RATE_METER_SLOT_US < 0 ? number - 1 : number;
}

static unsigned slot_index(int64_t number)
{
    return (unsigned)((uint64_t)number % PC_RATE_METER_SLOTS);
}

void pc_rate_meter_add(struct pc_rate_meter *meter, int64_t time_us, uint32_t bytes)
{
    int64_t number = slot_number(time_us);
    int64_t step = number - meter->newest;
    if (!meter->any || step >= forgotten_slots || step <= -forgotten_slots) {
        memset(meter->bytes, 0, sizeof meter->bytes);
        meter->first = meter->newest = number;
        meter->any = true;
    }
    while (meter->newest < number)
        meter->bytes[slot_index(++meter->newest)] = 0;
    if (number <= meter->newest - PC_RATE_METER_SLOTS)
        return;
    if (number < meter->first)
        meter->first = number;
    uint32_t *slot = &meter->bytes[slot_index(number)];
    *slot = *slot > UINT32_MAX - bytes ? UINT32_MAX : *slot + bytes;
}

double pc_rate_meter_bps_at(const struct pc_rate_meter *meter, int64_t time_us, int64_t window_us)
{
    if (!meter->any)
        return 0;
    int64_t end = slot_number(time_us);
    int64_t slots = window_us / PC_RATE_METER_SLOT_US;
    int64_t begin = end - slots;
    if (begin < meter->first)
        begin = meter->first;
    if (begin <= meter->newest - PC_RATE_METER_SLOTS)
        begin = meter->newest - PC_RATE_METER_SLOTS + 1;
    if (begin >= end)
        return 0;
    double bytes = 0;
    for (int64_t number = begin; number < end && number <= meter->newest; number++)
        bytes += meter->bytes[slot_index(number)];
    return bytes * 8e6 / ((double)(end - begin) * PC_RATE_METER_SLOT_US);
}

double pc_rate_meter_bps(const struct pc_rate_meter *meter, int64_t window_us)
{
    return pc_rate_meter_bps_at(meter, meter->newest * PC_RATE_METER_SLOT_US, window_us);
}
