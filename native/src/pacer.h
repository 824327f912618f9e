/* Spreads a frame's packets over a share of the frame interval. Pure: time is an argument.
 *
 * A token bucket: `rate` refills it, `burst` bounds it. What is retransmitted or is no video asks
 * with pacing off and only draws the bucket down. */
#ifndef PC_PACER_H
#define PC_PACER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct pc_pacer {
    double rate;   /* bytes per nanosecond */
    double burst;  /* bytes */
    double tokens; /* bytes; may go negative by one packet batch */
    uint64_t updated_ns;
};

/* `bits_per_s` > 0; `burst_bytes` are sent at once after a pause. */
void pc_pacer_init(struct pc_pacer *pacer, double bits_per_s, double burst_bytes, uint64_t now_ns);

/* Change both. Gives nothing away: what has gathered stays, as far as the new burst allows. */
void pc_pacer_set_rate(struct pc_pacer *pacer, double bits_per_s, double burst_bytes,
                       uint64_t now_ns);

/* Bytes that may be sent now; 0 or less means wait. */
double pc_pacer_budget(struct pc_pacer *pacer, uint64_t now_ns);
void pc_pacer_spend(struct pc_pacer *pacer, size_t bytes);

/* When there will be room for `bytes` (capped at the burst): `now_ns` when there is already. */
uint64_t pc_pacer_next(struct pc_pacer *pacer, size_t bytes, uint64_t now_ns);

#endif
