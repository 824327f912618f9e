#include "trace.h"

#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct step {
    uint64_t at_ns;
    double bps;
};

struct pc_trace {
    bool delivers;
    uint64_t period_ns; /* 0: does not start over */
    size_t count, room;
    union {
        struct step *steps;
        uint64_t *deliveries_ns;
    } at;
};

bool pc_trace_delivers(const struct pc_trace *trace)
{
    return trace->delivers;
}

void pc_trace_destroy(struct pc_trace *trace)
{
    if (trace == NULL)
        return;
    if (trace->delivers)
        free(trace->at.deliveries_ns);
    else
        free(trace->at.steps);
    free(trace);
}

bool pc_trace_parse_rate(const char *text, double *bps)
{
    char *end;
    double value = strtod(text, &end);
    if (end == text || !isfinite(value) || value < 0)
        return false;
    switch (*end) {
    case 'G':
        value *= 1e9;
        end++;
        break;
    case 'M':
        value *= 1e6;
        end++;
        break;
    case 'k':
        value *= 1e3;
        end++;
        break;
    default:
        break;
    }
    *bps = value;
    return *end == '\0';
}

static bool grow(struct pc_trace *trace)
{
    if (trace->count < trace->room)
        return true;
    size_t room = trace->room == 0 ? 256 : 2 * trace->room;
    void *grown = trace->delivers ? realloc(trace->at.deliveries_ns, room * sizeof(uint64_t))
                                  : realloc(trace->at.steps, room * sizeof(struct step));
    if (grown == NULL)
        return false;
    if (trace->delivers)
        trace->at.deliveries_ns = grown;
    else
        trace->at.steps = grown;
    trace->room = room;
    return true;
}

/* NULL: fine. */
static const char *add_delivery(struct pc_trace *trace, const char *word)
{
    char *end;
    unsigned long long ms = strtoull(word, &end, 10);
    if (!isdigit((unsigned char)*word) || *end != '\0' || ms > UINT64_MAX / 1000000 / 2)
        return "a delivery is a whole number of milliseconds";
    uint64_t at_ns = ms * 1000000;
    if (trace->count > 0 && at_ns < trace->at.deliveries_ns[trace->count - 1])
        return "time goes back";
    if (!grow(trace))
        return "out of memory";
    trace->at.deliveries_ns[trace->count++] = at_ns;
    trace->period_ns = at_ns;
    return NULL;
}

static const char *add_step(struct pc_trace *trace, const char *time, const char *rate)
{
    char *end;
    double seconds = strtod(time, &end);
    if (end == time || *end != '\0' || !(seconds >= 0 && seconds < 1e9))
        return "a time is in seconds, from 0";
    uint64_t at_ns = (uint64_t)llround(seconds * 1e9);
    if (trace->period_ns != 0)
        return "nothing follows `loop`";
    if (trace->count == 0 ? at_ns != 0 : at_ns <= trace->at.steps[trace->count - 1].at_ns)
        return "times rise from 0";
    if (strcmp(rate, "loop") == 0) {
        trace->period_ns = at_ns;
        return trace->count == 0 ? "there is no rate" : NULL;
    }
    double bps;
    if (!pc_trace_parse_rate(rate, &bps) || (bps > 0 && bps < 1000))
        return "a rate is 0 or a number of bit/s of at least 1k, with k, M or G";
    if (!grow(trace))
        return "out of memory";
    trace->at.steps[trace->count++] = (struct step){at_ns, bps};
    return NULL;
}

/* The words of the line at `*text`, which moves on to the next one; -1: a word too many or too
 * long. */
static int read_words(const char **text, char words[2][32])
{
    int count = 0;
    const char *at = *text, *end = at + strcspn(at, "\n");
    *text = *end == '\0' ? end : end + 1;
    while (at < end && *at != '#') {
        if (isspace((unsigned char)*at)) {
            at++;
            continue;
        }
        size_t size = 0;
        while (at + size < end && at[size] != '#' && !isspace((unsigned char)at[size]))
            size++;
        if (count == 2 || size >= sizeof words[0])
            return -1;
        memcpy(words[count], at, size);
        words[count++][size] = '\0';
        at += size;
    }
    return count;
}

struct pc_trace *pc_trace_parse(const char *text, char *error, size_t error_size)
{
    struct pc_trace *trace = calloc(1, sizeof *trace);
    const char *wrong = trace == NULL ? "out of memory" : NULL;
    int line = 0, columns = 0;
    while (wrong == NULL && *text != '\0') {
        char words[2][32];
        int count = read_words(&text, words);
        line++;
        if (count == 0)
            continue;
        if (count < 0 || (columns != 0 && count != columns)) {
            wrong = "a line is `SECONDS RATE`, or in all lines one number of milliseconds";
        } else {
            columns = count;
            trace->delivers = count == 1;
            wrong = trace->delivers ? add_delivery(trace, words[0])
                                    : add_step(trace, words[0], words[1]);
        }
    }
    if (wrong == NULL && trace->count == 0)
        wrong = "there is nothing in it";
    if (wrong == NULL && trace->delivers && trace->period_ns == 0)
        wrong = "the last delivery is at 0";
    if (wrong == NULL && !trace->delivers && trace->period_ns != 0 && pc_trace_mean_bps(trace) <= 0)
        wrong = "it starts over without ever having a rate";
    if (wrong == NULL)
        return trace;
    snprintf(error, error_size, "line %d: %s", line, wrong);
    pc_trace_destroy(trace);
    return NULL;
}

double pc_trace_rate(const struct pc_trace *trace, uint64_t offset_ns, uint64_t *until_ns)
{
    uint64_t base = 0, within = offset_ns;
    if (trace->period_ns != 0) {
        within = offset_ns % trace->period_ns;
        base = offset_ns - within;
    }
    size_t low = 0, high = trace->count;
    while (high - low > 1) {
        size_t middle = low + (high - low) / 2;
        if (trace->at.steps[middle].at_ns <= within)
            low = middle;
        else
            high = middle;
    }
    if (high < trace->count)
        *until_ns = base + trace->at.steps[high].at_ns;
    else
        *until_ns = trace->period_ns == 0 ? UINT64_MAX : base + trace->period_ns;
    return trace->at.steps[low].bps;
}

uint64_t pc_trace_deliveries_before(const struct pc_trace *trace, uint64_t offset_ns)
{
    uint64_t rounds = offset_ns / trace->period_ns, within = offset_ns % trace->period_ns;
    size_t low = 0, high = trace->count; /* the first that is not before */
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (trace->at.deliveries_ns[middle] < within)
            low = middle + 1;
        else
            high = middle;
    }
    /* Those at the period's end are before everything of the next round but its very beginning. */
    uint64_t at_end = 0;
    if (within == 0 && rounds > 0)
        for (size_t i = trace->count; i-- > 0 && trace->at.deliveries_ns[i] == trace->period_ns;)
            at_end++;
    return rounds * trace->count + low - at_end;
}

uint64_t pc_trace_delivery_ns(const struct pc_trace *trace, uint64_t index)
{
    return index / trace->count * trace->period_ns + trace->at.deliveries_ns[index % trace->count];
}

double pc_trace_mean_bps(const struct pc_trace *trace)
{
    if (trace->delivers)
        return (double)trace->count * PC_TRACE_DELIVERY_BYTES * 8e9 / (double)trace->period_ns;
    uint64_t end =
        trace->period_ns != 0 ? trace->period_ns : trace->at.steps[trace->count - 1].at_ns;
    if (end == 0)
        return trace->at.steps[0].bps;
    double bits = 0;
    for (size_t i = 0; i < trace->count; i++) {
        uint64_t until = i + 1 < trace->count ? trace->at.steps[i + 1].at_ns : end;
        bits += trace->at.steps[i].bps * (double)(until - trace->at.steps[i].at_ns) / 1e9;
    }
    return bits * 1e9 / (double)end;
}
