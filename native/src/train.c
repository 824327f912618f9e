#include "train.h"

#include <math.h>

#define PAIR_NS        100000
#define PAIR_BYTES     8000 /* so much makes a figure */
#define BASE_WINDOW_NS 10000000000ull

static const double noise_gain = 1.0 / 16;

/* Jitter is there with every train, a queue that grows or shrinks with a few. */
static const double step_gain_up = 1.0 / 40, step_gain_down = 1.0 / 10;
static const double step_most_us = 20000, jitter_most_us2 = 900e6;

/* Faster than this is the clock's resolution, not the path. */
static const double rate_most_bps = 10e9;

void pc_train_meter_init(struct pc_train_meter *meter)
{
    meter->count = 0;
    meter->jitter_us2 = meter->step_us = 0;
    pc_windowed_min_init(&meter->base, BASE_WINDOW_NS);
}

const struct pc_train *pc_train_meter_get(const struct pc_train_meter *meter, int back)
{
    if (back < 0 || back >= PC_TRAINS || (uint64_t)back >= meter->count)
        return NULL;
    return &meter->trains[(meter->count - 1 - (uint64_t)back) % PC_TRAINS];
}

int pc_train_meter_within(const struct pc_train_meter *meter, uint64_t window_ns)
{
    const struct pc_train *newest = pc_train_meter_get(meter, 0);
    int trains = 0;
    for (const struct pc_train *train = newest;
         train != NULL && train->sent_ns + window_ns >= newest->sent_ns;
         train = pc_train_meter_get(meter, trains))
        trains++;
    return trains;
}

static int64_t delay_us(const struct pc_packet_report *report)
{
    return report->arrived_us - (int64_t)(report->packet.sent_ns / 1000);
}

static void begin(struct pc_train *train, const struct pc_packet_report *report)
{
    *train = (struct pc_train){
        .frame = report->packet.frame,
        .sent_ns = report->packet.sent_ns,
        .last_sent_ns = report->packet.sent_ns,
        .packets = 1,
        .bytes = report->packet.bytes,
        .arrived_us = report->arrived_us,
        .last_arrived_us = report->arrived_us,
        .delay_us = delay_us(report),
        .last_delay_us = delay_us(report),
    };
}

/* Welford's update of the moments. `position`: bytes after the train's first packet. */
static void extend(struct pc_train *train, const struct pc_packet_report *report, double position)
{
    double x = position;
    double y = (double)(report->arrived_us - train->arrived_us);
    double z = ((double)report->packet.sent_ns - (double)train->sent_ns) / 1e3;
    train->packets++;
    double n = train->packets;
    double before_x = x - train->mean_x;
    train->mean_x += before_x / n;
    double before_y = y - train->mean_y;
    train->mean_y += before_y / n;
    train->yy += before_y * (y - train->mean_y);
    train->mean_z += (z - train->mean_z) / n;
    train->xx += before_x * (x - train->mean_x);
    train->xy += before_x * (y - train->mean_y);
    train->xz += before_x * (z - train->mean_z);

    bool pair = report->packet.sent_ns - train->last_sent_ns <= PAIR_NS && report[-1].received;
    if (pair) {
        train->pair_bytes += report->packet.bytes;
        train->pair_us += (double)(report->arrived_us - report[-1].arrived_us);
    }
    train->bytes += report->packet.bytes;
    train->last_sent_ns = report->packet.sent_ns;
    if (report->arrived_us > train->last_arrived_us)
        train->last_arrived_us = report->arrived_us;
    int64_t delay = delay_us(report);
    if (delay < train->delay_us)
        train->delay_us = delay;
    if (delay < train->last_delay_us)
        train->last_delay_us = delay;
}

static void finish(struct pc_train_meter *meter, const struct pc_train *train, uint64_t now_ns)
{
    const struct pc_train *middle = pc_train_meter_get(meter, 0);
    const struct pc_train *first = pc_train_meter_get(meter, 1);
    struct pc_train *kept = &meter->trains[meter->count % PC_TRAINS];
    pc_windowed_min_add(&meter->base, train->delay_us, now_ns);
    int64_t queue_us = train->delay_us - pc_windowed_min_get(&meter->base);
    if (first != NULL) {
        double line = ((double)first->queue_us + (double)queue_us) / 2;
        double step = fmin(fabs((double)middle->queue_us - line), step_most_us);
        double gain = step > meter->step_us ? step_gain_up : step_gain_down;
        meter->step_us += gain * (step - meter->step_us);
    }
    if (train->packets > 2 && train->xx > 0) {
        double variance =
            fmax(0, train->yy - train->xy * train->xy / train->xx) / (train->packets - 2);
        meter->jitter_us2 += noise_gain * (fmin(variance, jitter_most_us2) - meter->jitter_us2);
    }
    *kept = *train;
    kept->queue_us = queue_us;
    meter->count++;
}

int pc_train_meter_feedback(struct pc_train_meter *meter, const struct pc_packet_report *reports,
                            int count, uint64_t now_ns)
{
    int trains = 0;
    for (int i = 0; i < count;) {
        uint32_t frame = reports[i].packet.frame;
        int end = i;
        while (end < count && reports[end].packet.frame == frame)
            end++;
        struct pc_train train = {.packets = 0};
        int lost = 0;
        double position = 0;
        for (int at = i; at < end; at++) {
            const struct pc_packet_report *report = &reports[at];
            lost += !report->received;
            if (train.packets > 0)
                position += report->packet.bytes;
            if (!report->received)
                continue;
            if (at == i + (end - i) / 2)
                train.last_delay_us = INT64_MAX;
            if (train.packets == 0)
                begin(&train, report);
            else
                extend(&train, report, position);
        }
        train.lost = lost;
        if (train.packets > 0) {
            finish(meter, &train, now_ns);
            trains++;
        }
        i = end;
    }
    return trains;
}

struct pc_train_rate pc_train_meter_rate(const struct pc_train_meter *meter, int trains)
{
    struct pc_train_rate rate = {.error = 1};
    double xx = 0, xy = 0, xz = 0, bytes = 0, open_us = 0, pair_bytes = 0, pair_us = 0;
    double base = pc_windowed_min_any(&meter->base) ? (double)pc_windowed_min_get(&meter->base) : 0;
    const struct pc_train *train;
    for (int back = 0; back < trains && (train = pc_train_meter_get(meter, back)) != NULL; back++) {
        xx += train->xx;
        xy += train->xy;
        xz += train->xz;
        bytes += train->bytes;
        pair_bytes += train->pair_bytes;
        pair_us += train->pair_us;
        open_us += fmax(0, (double)train->last_arrived_us - (double)train->sent_ns / 1e3 - base);
    }
    if (pair_bytes > PAIR_BYTES && pair_us > pair_bytes * 8e6 / rate_most_bps)
        rate.pair_bps = 8e6 * pair_bytes / pair_us;
    if (xx <= 0)
        return rate;
    rate.bps = xy > xx * 8e6 / rate_most_bps ? 8e6 * xx / xy : rate_most_bps;
    rate.sent_bps = xz > xx * 8e6 / rate_most_bps ? 8e6 * xx / xz : rate_most_bps;
    rate.open_bps = open_us > bytes * 8e6 / rate_most_bps ? 8e6 * bytes / open_us : rate_most_bps;

    /* Scatter of the trains' own slopes about the common one. */
    double slope = xy / xx, scatter = 0;
    int used = 0;
    for (int back = 0; back < trains && (train = pc_train_meter_get(meter, back)) != NULL; back++) {
        if (train->xx <= 0)
            continue;
        double off = train->xy / train->xx - slope;
        scatter += train->xx * off * off;
        used++;
    }
    if (used > 1 && slope > 0)
        rate.error = fmin(1, sqrt(scatter / (used - 1) / xx) / slope);
    return rate;
}

int64_t pc_train_meter_queue_us(const struct pc_train_meter *meter, int trains)
{
    const struct pc_train *train = pc_train_meter_get(meter, 0);
    int64_t least = train != NULL ? train->queue_us : 0;
    for (int back = 1; back < trains && (train = pc_train_meter_get(meter, back)) != NULL; back++)
        if (train->queue_us < least)
            least = train->queue_us;
    return least;
}

double pc_train_meter_noise_us(const struct pc_train_meter *meter)
{
    return fmax(sqrt(meter->jitter_us2), meter->step_us);
}

void pc_train_meter_rebase(struct pc_train_meter *meter, int trains, uint64_t now_ns)
{
    pc_windowed_min_init(&meter->base, BASE_WINDOW_NS);
    int oldest = 0;
    while (oldest + 1 < trains && pc_train_meter_get(meter, oldest + 1) != NULL)
        oldest++;
    for (int back = oldest; back >= 0; back--) {
        const struct pc_train *train = pc_train_meter_get(meter, back);
        if (train != NULL)
            pc_windowed_min_add(&meter->base, train->delay_us, now_ns);
    }
    int64_t base = pc_windowed_min_any(&meter->base) ? pc_windowed_min_get(&meter->base) : 0;
    for (int i = 0; i < PC_TRAINS; i++)
        meter->trains[i].queue_us = meter->trains[i].delay_us - base;
}
