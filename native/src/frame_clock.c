#include "frame_clock.h"

#include <stdlib.h>
#include <string.h>

struct pc_frame *pc_frame_clock_begin(struct pc_frame_clock *clock, uint64_t id)
{
    struct pc_frame *frame = &clock->frames[id % PC_FRAME_CLOCK_SIZE];
    atomic_store_explicit(&frame->id, 0, memory_order_release);
    /* Released, so that who reads one of these also sees that the slot is being cleared. */
    for (int stage = 0; stage < PC_STAGE_COUNT; stage++)
        atomic_store_explicit(&frame->at[stage], 0, memory_order_release);
    atomic_store_explicit(&frame->bytes, 0, memory_order_release);
    atomic_store_explicit(&frame->id, id + 1, memory_order_release);
    return frame;
}

void pc_frame_mark(struct pc_frame *frame, enum pc_stage stage, uint64_t now_ns)
{
    uint64_t unset = 0;
    atomic_compare_exchange_strong_explicit(&frame->at[stage], &unset, now_ns, memory_order_release,
                                            memory_order_relaxed);
}

static int compare_u64(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

void pc_frame_clock_summary(struct pc_frame_clock *clock, enum pc_stage from, enum pc_stage to,
                            uint64_t since_ns, struct pc_percentiles *out)
{
    uint64_t durations[PC_FRAME_CLOCK_SIZE];
    uint32_t count = 0;
    memset(out, 0, sizeof *out);
    for (int i = 0; i < PC_FRAME_CLOCK_SIZE; i++) {
        struct pc_frame *frame = &clock->frames[i];
        uint64_t id = atomic_load_explicit(&frame->id, memory_order_acquire);
        uint64_t began =
            atomic_load_explicit(&frame->at[PC_STAGE_CAPTURE_START], memory_order_acquire);
        uint64_t a = atomic_load_explicit(&frame->at[from], memory_order_acquire);
        uint64_t b = atomic_load_explicit(&frame->at[to], memory_order_acquire);
        if (id == 0 || a == 0 || b < a || began < since_ns)
            continue;
        if (atomic_load_explicit(&frame->id, memory_order_relaxed) == id)
            durations[count++] = b - a;
    }
    if (count == 0)
        return;
    qsort(durations, count, sizeof *durations, compare_u64);
    out->count = count;
    out->p50 = durations[(count - 1) * 50 / 100];
    out->p95 = durations[(count - 1) * 95 / 100];
    out->p99 = durations[(count - 1) * 99 / 100];
    out->max = durations[count - 1];
}

int pc_frame_clock_read(struct pc_frame_clock *clock, uint64_t from_id, struct pc_frame_times *out,
                        int max)
{
    uint64_t newest = 0;
    for (int i = 0; i < PC_FRAME_CLOCK_SIZE; i++) {
        uint64_t id = atomic_load_explicit(&clock->frames[i].id, memory_order_acquire);
        if (id > newest)
            newest = id;
    }
    if (newest == 0)
        return 0;
    uint64_t oldest = newest > PC_FRAME_CLOCK_SIZE ? newest - PC_FRAME_CLOCK_SIZE : 0;
    if (from_id < oldest)
        from_id = oldest;

    int count = 0;
    for (uint64_t id = from_id; id < newest && count < max; id++) {
        struct pc_frame *frame = &clock->frames[id % PC_FRAME_CLOCK_SIZE];
        if (atomic_load_explicit(&frame->id, memory_order_acquire) != id + 1)
            continue;
        struct pc_frame_times *times = &out[count];
        times->id = id;
        for (int stage = 0; stage < PC_STAGE_COUNT; stage++)
            times->at[stage] = atomic_load_explicit(&frame->at[stage], memory_order_acquire);
        times->bytes = atomic_load_explicit(&frame->bytes, memory_order_acquire);
        if (atomic_load_explicit(&frame->id, memory_order_relaxed) == id + 1)
            count++;
    }
    return count;
}
