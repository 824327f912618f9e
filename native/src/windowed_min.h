/* The least value of a sliding window of time, in a fixed number of periods. Pure. */
#ifndef PC_WINDOWED_MIN_H
#define PC_WINDOWED_MIN_H

#include <stdbool.h>
#include <stdint.h>

#define PC_WINDOWED_MIN_PERIODS 10

struct pc_windowed_min {
    int64_t least[PC_WINDOWED_MIN_PERIODS]; /* [0] is the period that runs */
    uint64_t period_ns, began_ns;
    int periods; /* that hold something */
};

static inline void pc_windowed_min_init(struct pc_windowed_min *window, uint64_t window_ns)
{
    *window = (struct pc_windowed_min){.period_ns = window_ns / PC_WINDOWED_MIN_PERIODS};
}

/* A period begins with a value: a window without values keeps the last ones. */
static inline void pc_windowed_min_add(struct pc_windowed_min *window, int64_t value,
                                       uint64_t now_ns)
{
    if (window->periods == 0 || now_ns - window->began_ns >= window->period_ns) {
        for (int i = PC_WINDOWED_MIN_PERIODS - 1; i > 0; i--)
            window->least[i] = window->least[i - 1];
        window->least[0] = value;
        window->began_ns = now_ns;
        if (window->periods < PC_WINDOWED_MIN_PERIODS)
            window->periods++;
    }
    if (value < window->least[0])
        window->least[0] = value;
}

static inline bool pc_windowed_min_any(const struct pc_windowed_min *window)
{
    return window->periods > 0;
}

static inline int64_t pc_windowed_min_get(const struct pc_windowed_min *window)
{
    int64_t least = window->least[0];
    for (int i = 1; i < window->periods; i++)
        if (window->least[i] < least)
            least = window->least[i];
    return least;
}

#endif
