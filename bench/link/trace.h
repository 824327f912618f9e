/* A capacity that changes with time: read from text, in one of two formats. Pure.
 *
 * Rates: lines of `SECONDS RATE`, the rate in bit/s with k, M or G; it holds from that time on.
 * Times rise from 0. A last line `SECONDS loop` starts over at that time; without one the last rate
 * stays.
 *
 *     0   10M
 *     40  25M
 *     60  loop
 *
 * Deliveries (mahimahi): lines of one whole number of milliseconds that never falls, each an
 * opportunity to deliver 1500 bytes; the last one's time is the period after which it starts over.
 *
 * Empty lines and what follows a # are ignored. */
#ifndef PC_TRACE_H
#define PC_TRACE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PC_TRACE_DELIVERY_BYTES 1500

struct pc_trace;

/* `text` ends with a zero byte. NULL: `error` says why, with the line's number. */
struct pc_trace *pc_trace_parse(const char *text, char *error, size_t error_size);
void pc_trace_destroy(struct pc_trace *trace);

/* True for deliveries, false for rates. */
bool pc_trace_delivers(const struct pc_trace *trace);

/* `offset_ns` counts from the trace's beginning. */

/* Rates: what holds at `offset_ns`, in bit/s, and until when (UINT64_MAX: for ever). */
double pc_trace_rate(const struct pc_trace *trace, uint64_t offset_ns, uint64_t *until_ns);

/* Deliveries: how many opportunities there are before `offset_ns`, and the time of the `index`-th.
 */
uint64_t pc_trace_deliveries_before(const struct pc_trace *trace, uint64_t offset_ns);
uint64_t pc_trace_delivery_ns(const struct pc_trace *trace, uint64_t index);

/* Over one period; of rates without a loop, up to the last change. Bit/s. */
double pc_trace_mean_bps(const struct pc_trace *trace);

/* "10M", "2.5M", "600k", "1000": bit/s. False: not a rate. */
bool pc_trace_parse_rate(const char *text, double *bps);

#endif
