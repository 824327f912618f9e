#include "pacer.h"

#include <assert.h>

static void refill(struct pc_pacer *pacer, uint64_t now_ns)
{
    if (now_ns <= pacer->updated_ns)
        return;
    pacer->tokens += pacer->rate * (double)(now_ns - pacer->updated_ns);
    if (pacer->tokens > pacer->burst)
        pacer->tokens = pacer->burst;
    pacer->updated_ns = now_ns;
}

void pc_pacer_init(struct pc_pacer *pacer, double bits_per_s, double burst_bytes, uint64_t now_ns)
{
    assert(bits_per_s > 0 && burst_bytes > 0);
    pacer->rate = bits_per_s / 8e9;
    pacer->burst = burst_bytes;
    pacer->tokens = burst_bytes;
    pacer->updated_ns = now_ns;
}

void pc_pacer_set_rate(struct pc_pacer *pacer, double bits_per_s, double burst_bytes,
                       uint64_t now_ns)
{
    assert(bits_per_s > 0 && burst_bytes > 0);
    refill(pacer, now_ns);
    pacer->rate = bits_per_s / 8e9;
    pacer->burst = burst_bytes;
    if (pacer->tokens > burst_bytes)
        pacer->tokens = burst_bytes;
}

double pc_pacer_budget(struct pc_pacer *pacer, uint64_t now_ns)
{
    refill(pacer, now_ns);
    return pacer->tokens;
}

void pc_pacer_spend(struct pc_pacer *pacer, size_t bytes)
{
    pacer->tokens -= (double)bytes;
}

uint64_t pc_pacer_next(struct pc_pacer *pacer, size_t bytes, uint64_t now_ns)
{
    double wanted = (double)bytes < pacer->burst ? (double)bytes : pacer->burst;
    refill(pacer, now_ns);
    if (pacer->tokens >= wanted)
        return now_ns;
    return now_ns + (uint64_t)((wanted - pacer->tokens) / pacer->rate) + 1;
}
