/* When would a frame have come, had its way been as quick as that of the quickest one of the last
 * seconds? Pure. Sender's and receiver's clocks may drift against each other: what is older than
 * two windows is forgotten. */
#ifndef PC_QUICKEST_WAY_H
#define PC_QUICKEST_WAY_H

#include <stdbool.h>
#include <stdint.h>

#define PC_QUICKEST_WINDOW_NS UINT64_C(8000000000)

struct pc_quickest_way { /* starts zeroed */
    bool started;
    uint32_t timestamp;                /* of the last frame … */
    uint64_t frame_ns;                 /* … and as extended time on the sender's clock; wraps */
    uint64_t window_ns;                /* when this window began */
    int64_t quickest, quickest_before; /* arrival less frame time, of this window and the last */
};

/* A frame with this 90 kHz timestamp came at `arrived_ns`. Returns when the quickest way would have
 * brought it; never later than `arrived_ns`. */
static inline uint64_t pc_quickest_way(struct pc_quickest_way *way, uint32_t timestamp,
                                       uint64_t arrived_ns)
{
    if (way->started)
        way->frame_ns += (uint64_t)((int64_t)(int32_t)(timestamp - way->timestamp) * 100000 / 9);
    way->timestamp = timestamp;
    int64_t took = (int64_t)(arrived_ns - way->frame_ns);
    if (!way->started) {
        way->started = true;
        way->window_ns = arrived_ns;
        way->quickest = way->quickest_before = took;
    }
    if (arrived_ns - way->window_ns > PC_QUICKEST_WINDOW_NS) {
        way->window_ns = arrived_ns;
        way->quickest_before = way->quickest;
        way->quickest = took;
    }
    if (took < way->quickest)
        way->quickest = took;
    int64_t quickest = way->quickest < way->quickest_before ? way->quickest : way->quickest_before;
    return way->frame_ns + (uint64_t)quickest;
}

#endif
