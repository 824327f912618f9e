#include "congestion.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>

#include "congestion_gcc.h"
#include "congestion_reports.h"
#include "congestion_train.h"

/* No clock of a living machine is beyond this: what is would only overflow. */
#define TIME_MOST_NS ((uint64_t)1 << 62)
#define TIME_MOST_US ((int64_t)1 << 52)

/* A burst faster than this is not paced at all. */
static const double pacing_most = 30;

#define RECEIVED_US       500000
#define RECEIVED_STALE_NS 1500000000ull

struct pc_congestion {
    struct pc_congestion_settings settings;
    struct pc_path_meter path;
    union {
        struct pc_train_controller train;
        struct pc_gcc_controller gcc;
    };
    struct pc_reports_controller reports;
    bool transport_wide; /* there has been feedback that tells of single packets */
    uint64_t now_ns;     /* the latest time given: it does not go back */
    double target_bps;
    double heard_bps; /* the target when there was feedback last: before any silence */
};

static double clamp(double value, double low, double high)
{
    return value >= low ? fmin(value, high) : low; /* NaN is `low` */
}

static uint64_t advance(struct pc_congestion *congestion, uint64_t now_ns)
{
    if (now_ns > congestion->now_ns && now_ns < TIME_MOST_NS)
        congestion->now_ns = now_ns;
    return congestion->now_ns;
}

static void start(struct pc_congestion *congestion, double bps)
{
    if (congestion->settings.controller == PC_CONTROLLER_GCC)
        pc_gcc_controller_init(&congestion->gcc, bps);
    else
        pc_train_controller_init(&congestion->train, bps);
    pc_reports_controller_init(&congestion->reports, bps);
    pc_path_meter_init(&congestion->path);
    congestion->transport_wide = false;
    congestion->target_bps = bps;
    congestion->heard_bps = bps;
}

struct pc_congestion *pc_congestion_create(const struct pc_congestion_settings *settings,
                                           uint64_t now_ns)
{
    assert(settings->min_bps > 0 && settings->min_bps <= settings->start_bps);
    assert(settings->start_bps <= settings->max_bps && settings->fps > 0);
    struct pc_congestion *congestion = calloc(1, sizeof *congestion);
    if (congestion == NULL)
        return NULL;
    congestion->settings = *settings;
    congestion->now_ns = now_ns;
    start(congestion, settings->start_bps);
    return congestion;
}

void pc_congestion_destroy(struct pc_congestion *congestion)
{
    free(congestion);
}

void pc_congestion_set_bounds(struct pc_congestion *congestion, double min_bps, double max_bps,
                              int fps)
{
    assert(min_bps > 0 && min_bps <= max_bps && fps > 0);
    struct pc_congestion_settings *settings = &congestion->settings;
    settings->min_bps = min_bps;
    settings->max_bps = max_bps;
    settings->start_bps = clamp(settings->start_bps, min_bps, max_bps);
    settings->fps = fps;
}

void pc_congestion_path_changed(struct pc_congestion *congestion, uint64_t now_ns)
{
    const struct pc_congestion_settings *settings = &congestion->settings;
    advance(congestion, now_ns);
    double hint = clamp(congestion->heard_bps / 2, settings->min_bps, settings->max_bps);
    start(congestion, fmin(hint, fmax(settings->start_bps, hint / 2)));
}

void pc_congestion_sent(struct pc_congestion *congestion, const struct pc_sent_packet *packet)
{
    if (packet->sent_ns >= TIME_MOST_NS)
        return;
    pc_path_meter_sent(&congestion->path, packet);
    if (congestion->settings.controller == PC_CONTROLLER_TRAIN)
        pc_train_controller_sent(&congestion->train, packet);
}

static bool makes_sense(const struct pc_packet_report *report)
{
    return report->packet.sent_ns < TIME_MOST_NS && report->arrived_us < TIME_MOST_US &&
           report->arrived_us > -TIME_MOST_US;
}

static void take(struct pc_congestion *congestion, const struct pc_packet_report *reports,
                 int count, uint64_t now_ns)
{
    const struct pc_congestion_settings *settings = &congestion->settings;
    struct pc_path_meter *path = &congestion->path;
    pc_path_meter_feedback(path, reports, count, now_ns);
    if (settings->controller == PC_CONTROLLER_TRAIN)
        pc_train_controller_feedback(&congestion->train, settings, path, reports, count, now_ns);
    else if (settings->controller == PC_CONTROLLER_GCC)
        pc_gcc_controller_feedback(&congestion->gcc, settings, path, reports, count, now_ns);
}

void pc_congestion_feedback(struct pc_congestion *congestion,
                            const struct pc_packet_report *reports, int count, uint64_t now_ns)
{
    now_ns = advance(congestion, now_ns);
    int begin = 0;
    while (begin < count) {
        int end = begin;
        while (end < count && makes_sense(&reports[end]))
            end++;
        if (end > begin) {
            congestion->transport_wide = true;
            take(congestion, reports + begin, end - begin, now_ns);
        }
        begin = end + 1;
    }
    congestion->heard_bps = congestion->target_bps;
}

void pc_congestion_rtt(struct pc_congestion *congestion, uint64_t rtt_ns, uint64_t now_ns)
{
    now_ns = advance(congestion, now_ns);
    if (rtt_ns > 0 && rtt_ns < 60000000000ull)
        pc_path_meter_rtt(&congestion->path, rtt_ns, now_ns);
}

void pc_congestion_remb(struct pc_congestion *congestion, double bps, uint64_t now_ns)
{
    now_ns = advance(congestion, now_ns);
    if (bps > 0)
        pc_reports_controller_remb(&congestion->reports, bps, now_ns);
}

void pc_congestion_report_loss(struct pc_congestion *congestion, double loss, uint64_t now_ns)
{
    now_ns = advance(congestion, now_ns);
    loss = clamp(loss, 0, 1);
    congestion->path.report_loss = loss;
    pc_reports_controller_loss(&congestion->reports, &congestion->path, loss, now_ns);
}

struct pc_congestion_output pc_congestion_update(struct pc_congestion *congestion, uint64_t now_ns)
{
    const struct pc_congestion_settings *settings = &congestion->settings;
    struct pc_path_meter *path = &congestion->path;
    now_ns = advance(congestion, now_ns);
    struct pc_congestion_output out = {
        .rtt_ns = pc_path_meter_rtt_ns(path, now_ns),
        .loss = pc_path_meter_loss(path),
    };
    if (path->last_heard_ns != 0 && now_ns - path->last_heard_ns < RECEIVED_STALE_NS)
        out.received_bps = pc_rate_meter_bps(&path->received, RECEIVED_US);

    if (settings->controller == PC_CONTROLLER_FIXED) {
        out.state = PC_CONGESTION_FIXED;
        out.target_bps = settings->max_bps;
        out.pacing_bps = pacing_most * out.target_bps;
    } else if (!congestion->transport_wide &&
               (settings->by_reports || congestion->reports.heard_ns != 0)) {
        pc_reports_controller_update(&congestion->reports, settings, path, now_ns, &out);
    } else if (settings->controller == PC_CONTROLLER_GCC) {
        pc_gcc_controller_update(&congestion->gcc, settings, path, now_ns, &out);
    } else {
        pc_train_controller_update(&congestion->train, settings, path, now_ns, &out);
    }
    out.target_bps = clamp(out.target_bps, settings->min_bps, settings->max_bps);
    out.pacing_bps = clamp(out.pacing_bps, out.target_bps, pacing_most * settings->max_bps);
    out.probe_bps = clamp(out.probe_bps, 0, settings->max_bps);
    congestion->target_bps = out.target_bps;
    return out;
}
