#include "record.h"

#include <math.h>
#include <stdlib.h>

#include "tool.h"

#define FREEZE_MS    150.0
#define UNCOUNTED_NS 1000000000ull

static void *must(void *memory)
{
    if (memory == NULL)
        tool_fail("session", "out of memory");
    return memory;
}

void samples_add(struct samples *samples, double value)
{
    if (samples->count == samples->room) {
        samples->room = samples->room == 0 ? 4096 : 2 * samples->room;
        samples->values = must(realloc(samples->values, samples->room * sizeof *samples->values));
    }
    samples->values[samples->count++] = (float)value;
}

static int ascending(const void *a, const void *b)
{
    float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

double samples_percentile(struct samples *samples, double share)
{
    if (samples->count == 0)
        return 0;
    qsort(samples->values, samples->count, sizeof *samples->values, ascending);
    return (double)samples->values[(size_t)(share * (double)(samples->count - 1) + 0.5)];
}

double samples_mean(const struct samples *samples)
{
    double sum = 0;
    for (size_t i = 0; i < samples->count; i++)
        sum += (double)samples->values[i];
    return samples->count > 0 ? sum / (double)samples->count : 0;
}

void record_init(struct record *record, uint64_t duration_ns, uint64_t settled_ns)
{
    *record = (struct record){
        .settled_ns = settled_ns,
        .until_ns = duration_ns > UNCOUNTED_NS ? duration_ns - UNCOUNTED_NS : duration_ns,
    };
    record->bin_count = (size_t)(duration_ns / RECORD_BIN_NS) + 1;
    record->bins = must(calloc(record->bin_count, sizeof *record->bins));
}

void record_free(struct record *record)
{
    free(record->bins);
    free(record->queue_ms.values);
    free(record->frame_ms.values);
    free(record->gaps_ms.values);
}

struct bin *record_bin(struct record *record, uint64_t now_ns)
{
    size_t index = (size_t)(now_ns / RECORD_BIN_NS);
    return &record->bins[index < record->bin_count ? index : record->bin_count - 1];
}

void record_share(struct record *record, enum record_kind kind, uint64_t bytes, uint64_t now_ns)
{
    struct bin *bin = record_bin(record, now_ns);
    double *const sums[] = {[RECORD_RTX] = &record->sent_rtx,
                            [RECORD_FEC] = &record->sent_fec,
                            [RECORD_PADDING] = &record->sent_padding};
    double *const bins[] = {[RECORD_RTX] = &bin->sent_rtx,
                            [RECORD_FEC] = &bin->sent_fec,
                            [RECORD_PADDING] = &bin->sent_padding};
    if (kind == RECORD_MEDIA)
        return;
    *bins[kind] += (double)bytes;
    if (now_ns >= record->settled_ns)
        *sums[kind] += (double)bytes;
}

void record_sent(struct record *record, enum record_kind kind, size_t wire_bytes, uint64_t now_ns)
{
    record_bin(record, now_ns)->sent += (double)wire_bytes;
    if (now_ns >= record->settled_ns)
        record->sent += (double)wire_bytes;
    record_share(record, kind, wire_bytes, now_ns);
}

void record_lost(struct record *record, uint64_t now_ns)
{
    record_bin(record, now_ns)->lost++;
    record->lost += now_ns >= record->settled_ns;
}

void record_received(struct record *record, size_t wire_bytes, uint64_t queued_ns, uint64_t now_ns)
{
    struct bin *bin = record_bin(record, now_ns);
    double queued_ms = (double)queued_ns / 1e6;
    bin->received += (double)wire_bytes;
    bin->packets++;
    bin->queue_ms += queued_ms;
    if (queued_ms > bin->queue_max_ms)
        bin->queue_max_ms = queued_ms;
    if (now_ns < record->settled_ns)
        return;
    record->received += (double)wire_bytes;
    record->packets++;
    samples_add(&record->queue_ms, queued_ms);
}

void record_captured(struct record *record, uint64_t now_ns)
{
    record->captured += now_ns >= record->settled_ns && now_ns < record->until_ns;
}

void record_pause(struct record *record)
{
    record->last_shown_ns = 0;
}

void record_frame(struct record *record, size_t bytes, uint64_t captured_ns, uint64_t now_ns)
{
    struct bin *bin = record_bin(record, now_ns);
    double delay_ms = (double)(now_ns - captured_ns) / 1e6;
    bin->frames++;
    if (delay_ms > bin->frame_ms)
        bin->frame_ms = delay_ms;
    if (now_ns < record->settled_ns) {
        record->last_shown_ns = now_ns;
        return;
    }
    if (captured_ns >= record->settled_ns && captured_ns < record->until_ns) {
        record->frames++;
        if (delay_ms < RECORD_DELAYS - 1)
            record->delays[(int)ceil(delay_ms)]++;
    }
    record->media_bytes += (double)bytes;
    samples_add(&record->frame_ms, delay_ms);
    if (record->last_shown_ns != 0) {
        double gap_ms = (double)(now_ns - record->last_shown_ns) / 1e6;
        if (record->interval_count > 0 && gap_ms > FREEZE_MS + record->mean_interval_ms) {
            record->freezes++;
            record->frozen_ms += gap_ms;
        }
        record->interval_count++;
        record->mean_interval_ms +=
            (gap_ms - record->mean_interval_ms) / (double)record->interval_count;
        samples_add(&record->gaps_ms, gap_ms);
    }
    record->last_shown_ns = now_ns;
}

/* One column of the series. */
#define COLUMN(out, record, name, format, value)                                                   \
    do {                                                                                           \
        fprintf(out, ", \"" name "\": [");                                                         \
        for (size_t i = 0; i < (record)->bin_count; i++) {                                         \
            const struct bin *bin = &(record)->bins[i];                                            \
            fprintf(out, "%s" format, i > 0 ? "," : "", value);                                    \
        }                                                                                          \
        fprintf(out, "]");                                                                         \
    } while (0)

void record_series(const struct record *record, FILE *out)
{
    double kbps = 8.0 / 1e3 / ((double)RECORD_BIN_NS / 1e9);
    fprintf(out, "\"series\": {\"bin_s\": %g", (double)RECORD_BIN_NS / 1e9);
    COLUMN(out, record, "sent_kbps", "%.0f", bin->sent * kbps);
    COLUMN(out, record, "repair_kbps", "%.0f", (bin->sent_rtx + bin->sent_fec) * kbps);
    COLUMN(out, record, "received_kbps", "%.0f", bin->received * kbps);
    COLUMN(out, record, "target_kbps", "%.0f", bin->target_bps / 1e3);
    COLUMN(out, record, "queue_ms", "%.1f", bin->packets > 0 ? bin->queue_ms / bin->packets : 0);
    COLUMN(out, record, "queue_max_ms", "%.1f", bin->queue_max_ms);
    COLUMN(out, record, "estimate_ms", "%.1f", bin->estimate_ms);
    COLUMN(out, record, "lost", "%.0f", bin->lost);
    COLUMN(out, record, "frame_ms", "%.1f", bin->frame_ms);
    COLUMN(out, record, "frames", "%.0f", bin->frames);
    COLUMN(out, record, "skipped", "%.0f", bin->skipped);
    COLUMN(out, record, "state", "%d", bin->state);
    fprintf(out, "}");
}

static void percentiles(FILE *out, const char *name, struct samples *samples)
{
    fprintf(out, ", \"%s\": {\"mean\": %.2f", name, samples_mean(samples));
    fprintf(out, ", \"p50\": %.2f", samples_percentile(samples, 0.5));
    fprintf(out, ", \"p95\": %.2f", samples_percentile(samples, 0.95));
    fprintf(out, ", \"p99\": %.2f", samples_percentile(samples, 0.99));
    fprintf(out, ", \"max\": %.2f}", samples_percentile(samples, 1));
}

void record_summary(struct record *record, FILE *out)
{
    fprintf(out, "\"sent_bytes\": %.0f, \"rtx_bytes\": %.0f, \"fec_bytes\": %.0f", record->sent,
            record->sent_rtx, record->sent_fec);
    fprintf(out, ", \"padding_bytes\": %.0f, \"received_bytes\": %.0f", record->sent_padding,
            record->received);
    fprintf(out, ", \"packets\": %.0f, \"lost\": %.0f", record->packets, record->lost);
    fprintf(out, ", \"captured\": %llu, \"frames\": %llu, \"skipped\": %llu",
            (unsigned long long)record->captured, (unsigned long long)record->frames,
            (unsigned long long)record->skipped);
    fprintf(out, ", \"media_bytes\": %.0f, \"delays\": [", record->media_bytes);
    for (int ms = 0; ms < RECORD_DELAYS; ms++)
        fprintf(out, "%s%u", ms > 0 ? "," : "", record->delays[ms]);
    fprintf(out, "]");
    fprintf(out, ", \"freezes\": %llu, \"frozen_ms\": %.1f", (unsigned long long)record->freezes,
            record->frozen_ms);
    percentiles(out, "queue_ms", &record->queue_ms);
    percentiles(out, "frame_ms", &record->frame_ms);
    percentiles(out, "gap_ms", &record->gaps_ms);
}
