/* The one clock: CLOCK_MONOTONIC in nanoseconds. Only the shell (stream, hub, sources) reads it;
 * everything else takes the time as an argument. */
#ifndef PC_CLOCK_H
#define PC_CLOCK_H

#include <stdint.h>
#include <time.h>

#define PC_NS_PER_MS UINT64_C(1000000)
#define PC_NS_PER_S  UINT64_C(1000000000)

static inline uint64_t pc_now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * PC_NS_PER_S + (uint64_t)t.tv_nsec;
}

#endif
