/* What a flow did: sums in bins of 100 ms, and every packet's and frame's delay for percentiles. */
#ifndef BENCH_RECORD_H
#define BENCH_RECORD_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#define RECORD_BIN_NS 100000000ull
#define RECORD_DELAYS 1000 /* frames that take longer are only counted */

struct samples {
    float *values;
    size_t count, room;
};

void samples_add(struct samples *samples, double value);

/* `share` 0..1; 0 when there are none. Sorts. */
double samples_percentile(struct samples *samples, double share);
double samples_mean(const struct samples *samples);

struct bin {
    double sent, sent_rtx, sent_fec, sent_padding; /* bytes on the wire */
    double received;                               /* bytes on the wire that came through */
    double target_bps, estimate_ms;                /* last known; 0 = unknown */
    double queue_ms, queue_max_ms, packets; /* of packets that came through: sum, max, count */
    double lost;                            /* packets that did not */
    double frame_ms;                        /* the slowest frame's delay; 0 = none */
    double frames, skipped;
    int state;
};

struct record {
    struct bin *bins;
    size_t bin_count;
    uint64_t until_ns;   /* frames taken later are not counted: they may not have come */
    uint64_t settled_ns; /* what is earlier is not in the samples and sums */
    struct samples queue_ms, frame_ms, gaps_ms;
    double sent, sent_rtx, sent_fec, sent_padding, received, lost, packets;
    uint64_t captured, frames, skipped, freezes;
    uint32_t delays[RECORD_DELAYS]; /* frames by their delay in milliseconds, rounded up */
    double media_bytes;             /* of the frames */
    double frozen_ms;
    uint64_t last_shown_ns, interval_count;
    double mean_interval_ms;
};

void record_init(struct record *record, uint64_t duration_ns, uint64_t settled_ns);
void record_free(struct record *record);
struct bin *record_bin(struct record *record, uint64_t now_ns);

enum record_kind { RECORD_MEDIA, RECORD_RTX, RECORD_FEC, RECORD_PADDING };
void record_sent(struct record *record, enum record_kind kind, size_t wire_bytes, uint64_t now_ns);
/* So many bytes of what was sent were of that kind. */
void record_share(struct record *record, enum record_kind kind, uint64_t bytes, uint64_t now_ns);
void record_lost(struct record *record, uint64_t now_ns);
void record_received(struct record *record, size_t wire_bytes, uint64_t queued_ns, uint64_t now_ns);

/* A frame was taken. */
void record_captured(struct record *record, uint64_t now_ns);

/* A frame of `bytes` is there, complete and decodable. Keeps the account of freezes: gaps of more
 * than 150 ms over the mean interval (Chromium's definition). */
void record_frame(struct record *record, size_t bytes, uint64_t captured_ns, uint64_t now_ns);

/* Nothing is shown from here on until the next frame, and that is no freeze (a pause). */
void record_pause(struct record *record);

/* Members of an object: "series": {…}, "summary" members. */
void record_series(const struct record *record, FILE *out);
void record_summary(struct record *record, FILE *out);

#endif
