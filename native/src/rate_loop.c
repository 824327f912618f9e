#include "rate_loop.h"

#include <errno.h>
#include <string.h>

#include "clock.h"

#define DEFAULT_MIN_BPS   150000.0
#define DEFAULT_START_BPS 4000000.0
#define HEADER_SHARE      0.05 /* of the wire, before it was measured */
#define NEARLY            0.99
#define TOGETHER_NS       (5 * PC_NS_PER_MS) /* peers that wait for the same tick share a wake-up */
#define MEMORY_BYTES      250000.0           /* of the measured share of headers */
#define MIN_MEDIA_SHARE   0.5 /* the encoder keeps so much of the rate, whatever is lost */

static double clamp(double value, double least, double most)
{
    return value < least ? least : value > most ? most : value;
}

/* Payload bytes per byte on the wire. */
static double payload_share(const struct pc_rate_loop *loop)
{
    return loop->wire_bytes > 0 ? loop->payload_bytes / loop->wire_bytes : 1 - HEADER_SHARE;
}

/* What of the sending rate is the encoder's. */
static double media_share(const struct pc_rate_loop *loop)
{
    double repair = clamp(pc_loss_control_share(&loop->loss), 0, 1 - MIN_MEDIA_SHARE);
    return (1 - repair) * clamp(payload_share(loop), MIN_MEDIA_SHARE, 1);
}

static double least_bps(const struct pc_rate_loop *loop)
{
    double least = loop->settings.min_bps > 0 ? loop->settings.min_bps : DEFAULT_MIN_BPS;
    return least < loop->settings.ceiling_bps ? least : loop->settings.ceiling_bps;
}

static void set_bounds(struct pc_rate_loop *loop)
{
    double share = media_share(loop);
    pc_congestion_set_bounds(loop->congestion, least_bps(loop), loop->settings.ceiling_bps / share,
                             loop->settings.fps);
}

int pc_rate_loop_init(struct pc_rate_loop *loop, const struct pc_rate_loop_settings *settings,
                      uint64_t now_ns)
{
    memset(loop, 0, sizeof *loop);
    loop->settings = *settings;
    loop->media_bps = settings->ceiling_bps;
    loop->next_ns = UINT64_MAX;
    pc_loss_control_init(&loop->loss, now_ns);
    if (settings->controller == PC_CONTROLLER_FIXED)
        return 0;
    double least = least_bps(loop), most = settings->ceiling_bps / media_share(loop);
    /* Reports come once a second: to begin low would be to stay low for long. */
    double start = settings->feedback ? DEFAULT_START_BPS : most;
    if (settings->start_bps > 0)
        start = settings->start_bps;
    const struct pc_congestion_settings congestion = {
        .controller = settings->controller,
        .min_bps = least,
        .start_bps = clamp(start, least, most),
        .max_bps = most,
        .fps = settings->fps,
        .by_reports = !settings->feedback,
    };
    if (settings->feedback)
        loop->log = pc_send_log_create();
    loop->congestion = pc_congestion_create(&congestion, now_ns);
    if ((settings->feedback && loop->log == NULL) || loop->congestion == NULL) {
        pc_rate_loop_free(loop);
        return pc_fail(-ENOMEM, "out of memory");
    }
    pc_rate_loop_update(loop, now_ns);
    return 0;
}

void pc_rate_loop_free(struct pc_rate_loop *loop)
{
    pc_send_log_destroy(loop->log);
    pc_congestion_destroy(loop->congestion);
    loop->log = NULL;
    loop->congestion = NULL;
}

void pc_rate_loop_set_ceiling(struct pc_rate_loop *loop, double ceiling_bps, int fps)
{
    if (loop->settings.ceiling_bps == ceiling_bps && loop->settings.fps == fps)
        return;
    loop->settings.ceiling_bps = ceiling_bps;
    loop->settings.fps = fps;
    if (loop->congestion != NULL)
        set_bounds(loop);
    else
        loop->media_bps = ceiling_bps;
}

void pc_rate_loop_path_changed(struct pc_rate_loop *loop, uint64_t now_ns)
{
    pc_loss_control_init(&loop->loss, now_ns);
    loop->path_since_ns = now_ns;
    if (loop->congestion == NULL)
        return;
    pc_congestion_path_changed(loop->congestion, now_ns);
    pc_rate_loop_update(loop, now_ns);
}

void pc_rate_loop_sent(struct pc_rate_loop *loop, uint16_t transport_sequence,
                       const struct pc_sent_packet *packet, size_t payload_bytes)
{
    pc_loss_control_sent(&loop->loss, packet);
    if (loop->congestion == NULL)
        return;
    if (loop->log != NULL)
        pc_send_log_add(loop->log, transport_sequence, packet);
    pc_congestion_sent(loop->congestion, packet);
    if (packet->kind != PC_PACKET_MEDIA)
        return;
    loop->payload_bytes += (double)payload_bytes;
    loop->wire_bytes += packet->bytes;
    if (loop->wire_bytes > MEMORY_BYTES) {
        loop->payload_bytes /= 2;
        loop->wire_bytes /= 2;
    }
}

void pc_rate_loop_feedback(struct pc_rate_loop *loop,
                           const struct pc_rtcp_transport_feedback *feedback)
{
    if (loop->log != NULL)
        pc_send_log_feedback(loop->log, feedback);
}

void pc_rate_loop_status(struct pc_rate_loop *loop, uint16_t sequence, bool received,
                         int32_t delta_us)
{
    if (loop->log != NULL)
        pc_send_log_status(loop->log, sequence, received, delta_us);
}

int pc_rate_loop_end(struct pc_rate_loop *loop, uint64_t now_ns,
                     const struct pc_packet_report **reports)
{
    if (loop->log == NULL)
        return 0;
    int count = pc_send_log_take(loop->log, reports);
    int old = 0;
    while (old < count && (*reports)[old].packet.sent_ns < loop->path_since_ns)
        old++;
    if (old == count)
        return count;
    pc_loss_control_feedback(&loop->loss, *reports + old, count - old, now_ns);
    pc_congestion_feedback(loop->congestion, *reports + old, count - old, now_ns);
    pc_rate_loop_update(loop, now_ns);
    return count;
}

void pc_rate_loop_rtt(struct pc_rate_loop *loop, uint64_t rtt_ns, uint64_t now_ns)
{
    if (loop->congestion != NULL)
        pc_congestion_rtt(loop->congestion, rtt_ns, now_ns);
    else
        pc_loss_control_set_path(&loop->loss, rtt_ns, PC_NS_PER_S / (uint64_t)loop->settings.fps);
}

void pc_rate_loop_remb(struct pc_rate_loop *loop, double bps, uint64_t now_ns)
{
    if (loop->congestion != NULL)
        pc_congestion_remb(loop->congestion, bps, now_ns);
}

void pc_rate_loop_report_loss(struct pc_rate_loop *loop, double loss, uint64_t now_ns)
{
    if (loop->congestion != NULL)
        pc_congestion_report_loss(loop->congestion, loss, now_ns);
}

uint64_t pc_rate_loop_update(struct pc_rate_loop *loop, uint64_t now_ns)
{
    if (loop->congestion == NULL)
        return UINT64_MAX;
    set_bounds(loop);
    loop->output = pc_congestion_update(loop->congestion, now_ns);
    double bps = loop->output.target_bps * media_share(loop), ceiling = loop->settings.ceiling_bps;
    /* The shares move all the time: the encoder need not follow that at the ceiling. */
    loop->media_bps = bps > NEARLY * ceiling ? ceiling : clamp(bps, least_bps(loop), ceiling);
    loop->hold_until_ns = now_ns + loop->output.hold_ns;
    loop->next_ns = now_ns + PC_RATE_LOOP_STEP_NS;
    loop->next_ns -= loop->next_ns % TOGETHER_NS;
    /* A frame is late when it took half a round trip, one to repair it, and its own interval. */
    uint64_t rtt_ns = loop->output.rtt_ns;
    pc_loss_control_set_path(&loop->loss, loop->settings.resends ? rtt_ns : 0,
                             rtt_ns * 3 / 2 + PC_NS_PER_S / (uint64_t)loop->settings.fps);
    return loop->next_ns;
}
