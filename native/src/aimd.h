/* The rate controller of draft-ietf-rmcat-gcc-02 5.5: increases until the queue grows, then falls
 * below what came through, and remembers that as the link's capacity. Pure: time is an argument. */
#ifndef PC_AIMD_H
#define PC_AIMD_H

#include <stdbool.h>
#include <stdint.h>

#include "trendline.h"

struct pc_aimd {
    enum { PC_AIMD_HOLD, PC_AIMD_INCREASE, PC_AIMD_DECREASE } state;
    double bps;
    double link_bps, link_variance;    /* what came through at decreases; link_bps 0 = unknown */
    uint64_t updated_ns, decreased_ns; /* 0 = never */
};

void pc_aimd_init(struct pc_aimd *aimd, double bps);

/* `received_bps` 0 = unknown. `fps`: to guess the size of a packet. Returns the new rate. */
double pc_aimd_update(struct pc_aimd *aimd, enum pc_usage usage, double received_bps,
                      uint64_t rtt_ns, int fps, uint64_t now_ns);

#endif
