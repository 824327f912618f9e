/* A stream of access units under a controller of the core (congestion.h): bursts, pacing, feedback
 * and retransmission as the core does them, without the packets' contents.
 *
 *   flow media NAME [controller=train|gcc|fixed] [min=300k] [max=50M] [begin=2M] [fps=60]
 *                   [feedback=16ms] [noise=0.15] [idr=3]
 *                   [still=20s-30s:200k]   between these times the encoder makes only so much */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "congestion.h"
#include "pacer.h"
#include "session.h"
#include "settings.h"
#include "tool.h"

#define WIRE_OVERHEAD 28 /* IPv4, UDP */
#define RTP_OVERHEAD  44 /* header, extensions, tag */
#define PAYLOAD       1080
#define SENT          65536 /* power of two */
#define FRAMES        4096  /* power of two */
#define QUEUE         8192  /* power of two */
#define FEEDBACK_ID   (1ull << 40)
#define GIVE_UP_NS    400000000ull /* a frame that is not there by then needs an IDR */
#define SKIP_NS       16000000ull  /* what waits to be paced for longer makes the next frame skip */

struct entry { /* by transport-wide sequence number */
    struct pc_sent_packet packet;
    uint64_t original; /* the same content's first number */
    int64_t arrived_us;
    bool arrived, reported, told;
};

struct frame {
    uint64_t captured_ns;
    uint32_t packets, arrived; /* distinct ones */
    bool idr, shown, given_up;
};

struct waiting {
    uint32_t bytes, frame;
    enum pc_packet_kind kind;
    uint64_t original; /* of a retransmission */
};

struct media {
    struct flow flow;
    struct pc_congestion_settings settings;
    struct pc_congestion *congestion;
    struct pc_congestion_output output;
    double noise, idr_factor, still_bps, debt;
    uint64_t still_from_ns, still_until_ns, feedback_ns;

    /* sender */
    uint64_t next_frame_ns, next_update_ns, next_probe_ns;
    uint32_t frame;
    bool idr_wanted;
    struct pc_pacer pacer;
    struct waiting queue[QUEUE];
    uint64_t head, tail, queued_bytes;
    struct entry sent[SENT];
    uint64_t next_sequence, reported_to;
    bool content[SENT]; /* of an original: arrived, one way or another */

    /* receiver */
    uint64_t highest, next_feedback_ns; /* first number above all that arrived */
    uint64_t fresh_from;
    bool fresh; /* something arrived that was not reported */
    struct frame frames[FRAMES];
    uint32_t next_shown;
    bool broken; /* until an IDR */
    uint64_t feedback_to[1024], feedback_count;
};

static struct media *media_of(const struct flow *flow)
{
    return (struct media *)(uintptr_t)flow;
}

static struct entry *entry(struct media *media, uint64_t sequence)
{
    return &media->sent[sequence % SENT];
}

static void enqueue(struct media *media, const struct waiting *waiting, bool first)
{
    if (media->tail - media->head == QUEUE)
        return;
    if (first)
        media->queue[--media->head % QUEUE] = *waiting;
    else
        media->queue[media->tail++ % QUEUE] = *waiting;
    media->queued_bytes += waiting->bytes;
}

static double encoder_bps(const struct media *media, uint64_t now_ns)
{
    double bps = media->output.target_bps * PAYLOAD / (PAYLOAD + RTP_OVERHEAD + WIRE_OVERHEAD);
    bool still = now_ns >= media->still_from_ns && now_ns < media->still_until_ns;
    return still ? fmin(bps, media->still_bps) : bps;
}

static void take_frame(struct media *media, uint64_t now_ns)
{
    struct session *session = media->flow.session;
    double ideal = encoder_bps(media, now_ns) / 8 / media->settings.fps;
    double size = ideal * exp(media->noise * session_normal(session)) - 0.2 * media->debt;
    bool idr = media->idr_wanted;
    if (idr)
        size = ideal * media->idr_factor;
    size = fmax(size, 60);
    media->debt = fmin(fmax(media->debt + size - ideal, -5 * ideal), 5 * ideal);
    media->idr_wanted = false;

    uint32_t packets = (uint32_t)ceil(size / PAYLOAD);
    struct frame *frame = &media->frames[media->frame % FRAMES];
    *frame = (struct frame){.captured_ns = now_ns, .packets = packets, .idr = idr};
    for (uint32_t i = 0; i < packets; i++) {
        uint32_t bytes = (uint32_t)(size / packets) + RTP_OVERHEAD;
        enqueue(media, &(struct waiting){bytes, media->frame, PC_PACKET_MEDIA, 0}, false);
    }
    media->frame++;
}

/* A slot of the frame clock. */
static void frame_slot(struct media *media, uint64_t now_ns)
{
    double waits_ns = (double)media->queued_bytes * 8e9 / fmax(media->output.pacing_bps, 1);
    media->next_frame_ns += 1000000000u / (unsigned)media->settings.fps;
    if (!flow_active(&media->flow, now_ns)) {
        record_pause(&media->flow.record);
        media->idr_wanted = true;
        return;
    }
    if (media->output.hold_ns > 0 || waits_ns > SKIP_NS) {
        record_bin(&media->flow.record, now_ns)->skipped++;
        media->flow.record.skipped++;
        return;
    }
    take_frame(media, now_ns);
}

static void send(struct media *media, const struct waiting *waiting, uint64_t now_ns)
{
    static const enum record_kind kinds[] = {[PC_PACKET_MEDIA] = RECORD_MEDIA,
                                             [PC_PACKET_RTX] = RECORD_RTX,
                                             [PC_PACKET_FEC] = RECORD_FEC,
                                             [PC_PACKET_PADDING] = RECORD_PADDING};
    uint64_t sequence = media->next_sequence++;
    struct entry *to = entry(media, sequence);
    *to = (struct entry){
        .packet = {now_ns, waiting->bytes, waiting->frame, (uint16_t)sequence, waiting->kind},
        .original = waiting->kind == PC_PACKET_RTX ? waiting->original : sequence};
    media->content[sequence % SENT] = false;
    pc_congestion_sent(media->congestion, &to->packet);
    pc_pacer_spend(&media->pacer, waiting->bytes + WIRE_OVERHEAD);
    record_sent(&media->flow.record, kinds[waiting->kind], waiting->bytes + WIRE_OVERHEAD, now_ns);
    if (!session_send(&media->flow, SENDER, sequence, NULL, waiting->bytes, now_ns))
        record_lost(&media->flow.record, now_ns);
}

static void pump(struct media *media, uint64_t now_ns)
{
    while (media->head < media->tail &&
           pc_pacer_budget(&media->pacer, now_ns) >= fmin(1200, media->pacer.burst)) {
        struct waiting waiting = media->queue[media->head++ % QUEUE];
        media->queued_bytes -= waiting.bytes;
        send(media, &waiting, now_ns);
    }
}

/* Padding to probe with: what the media leaves of the rate that is wanted. */
static void probe(struct media *media, uint64_t now_ns)
{
    double bps = media->output.probe_bps;
    media->next_probe_ns = UINT64_MAX;
    if (bps <= 0 || !flow_active(&media->flow, now_ns))
        return;
    if (media->head == media->tail && pc_pacer_budget(&media->pacer, now_ns) > 0)
        send(media, &(struct waiting){1000, media->frame - 1, PC_PACKET_PADDING, 0}, now_ns);
    media->next_probe_ns = now_ns + (uint64_t)((1000 + WIRE_OVERHEAD) * 8e9 / bps) + 1;
}

static void update(struct media *media, uint64_t now_ns)
{
    media->output = pc_congestion_update(media->congestion, now_ns);
    media->next_update_ns = now_ns + 20000000;
    double burst = fmax(1500, media->output.pacing_bps / 8 * 0.5e-3);
    pc_pacer_set_rate(&media->pacer, media->output.pacing_bps, burst, now_ns);
    if (media->output.probe_bps <= 0)
        media->next_probe_ns = UINT64_MAX;
    else if (media->next_probe_ns == UINT64_MAX)
        media->next_probe_ns = now_ns;
    struct bin *bin = record_bin(&media->flow.record, now_ns);
    bin->target_bps = media->output.target_bps;
    bin->estimate_ms = (double)media->output.queue_ns / 1e6;
    bin->state = (int)media->output.state;
}

static void media_run(struct flow *flow, uint64_t now_ns);

static uint64_t media_next(const struct flow *flow)
{
    struct media *media = media_of(flow);
    uint64_t next = media->next_frame_ns;
    if (media->next_update_ns < next)
        next = media->next_update_ns;
    if (media->next_probe_ns < next)
        next = media->next_probe_ns;
    if (media->fresh && media->next_feedback_ns < next)
        next = media->next_feedback_ns;
    if (media->head < media->tail) {
        struct pc_pacer pacer = media->pacer;
        uint64_t at = pc_pacer_next(&pacer, 1200, pacer.updated_ns);
        next = at < next ? at : next;
    }
    return next;
}

/* The receiver. */

static void send_feedback(struct media *media, uint64_t now_ns)
{
    uint64_t packets = media->highest - media->fresh_from;
    uint64_t id = media->feedback_count++;
    media->feedback_to[id % 1024] = media->highest;
    media->fresh = false;
    media->fresh_from = media->highest;
    media->next_feedback_ns = now_ns + media->feedback_ns;
    for (uint64_t s = media->highest > 1000 ? media->highest - 1000 : 0; s < media->highest; s++)
        entry(media, s)->told |= entry(media, s)->arrived;
    session_send(&media->flow, RECEIVER, FEEDBACK_ID | id, NULL, 40 + (size_t)packets * 3 / 2,
                 now_ns);
}

static void show(struct media *media, uint64_t now_ns)
{
    while (media->next_shown < media->frame) {
        struct frame *frame = &media->frames[media->next_shown % FRAMES];
        if (frame->arrived >= frame->packets) {
            if (frame->idr)
                media->broken = false;
            if (media->broken)
                media->flow.record.frames_lost++;
            else
                record_frame(&media->flow.record, frame->captured_ns, now_ns);
        } else if (now_ns - frame->captured_ns > GIVE_UP_NS) {
            media->flow.record.frames_lost++;
            media->broken = true;
            media->idr_wanted = true;
        } else {
            return;
        }
        media->next_shown++;
    }
}

static void arrive_at_receiver(struct media *media, uint64_t sequence, uint64_t now_ns)
{
    struct entry *packet = entry(media, sequence);
    if (packet->arrived)
        return;
    packet->arrived = true;
    packet->arrived_us = (int64_t)(now_ns / 250000 * 250); /* as the feedback's format has it */
    if (sequence >= media->highest)
        media->highest = sequence + 1;
    media->fresh = true;
    if (packet->packet.kind == PC_PACKET_PADDING || media->content[packet->original % SENT])
        return;
    media->content[packet->original % SENT] = true;
    media->frames[packet->packet.frame % FRAMES].arrived++;
    show(media, now_ns);
}

/* Back at the sender. */
static void arrive_feedback(struct media *media, uint64_t id, uint64_t now_ns)
{
    static struct pc_packet_report reports[SENT];
    uint64_t to = media->feedback_to[id % 1024];
    uint64_t from = media->reported_to > 1000 ? media->reported_to - 1000 : 0;
    int count = 0;
    for (uint64_t s = from; s < to; s++) {
        struct entry *packet = entry(media, s);
        bool late = s < media->reported_to;
        if (packet->reported || (late && !packet->told))
            continue;
        packet->reported = packet->told;
        reports[count++] = (struct pc_packet_report){.packet = packet->packet,
                                                     .arrived_us = packet->arrived_us,
                                                     .transport_sequence = (uint16_t)s,
                                                     .received = packet->told,
                                                     .was_lost = packet->told && late};
        const struct frame *frame = &media->frames[packet->packet.frame % FRAMES];
        if (packet->told || packet->packet.kind == PC_PACKET_PADDING ||
            media->content[packet->original % SENT] || now_ns - frame->captured_ns > GIVE_UP_NS)
            continue;
        enqueue(media,
                &(struct waiting){packet->packet.bytes, packet->packet.frame, PC_PACKET_RTX,
                                  packet->original},
                true);
    }
    if (to > media->reported_to)
        media->reported_to = to;
    pc_congestion_feedback(media->congestion, reports, count, now_ns);
    if (count > 0)
        pc_congestion_rtt(media->congestion, now_ns - reports[count - 1].packet.sent_ns, now_ns);
    update(media, now_ns);
}

static void media_arrive(struct flow *flow, enum side at, const struct pc_link_packet *packet,
                         uint64_t now_ns)
{
    struct media *media = media_of(flow);
    if (at == RECEIVER)
        arrive_at_receiver(media, packet->id, now_ns);
    else
        arrive_feedback(media, packet->id & ~FEEDBACK_ID, now_ns);
    pump(media, now_ns);
}

static void media_run(struct flow *flow, uint64_t now_ns)
{
    struct media *media = media_of(flow);
    if (media->next_update_ns <= now_ns)
        update(media, now_ns);
    if (media->next_frame_ns <= now_ns)
        frame_slot(media, now_ns);
    if (media->next_probe_ns <= now_ns)
        probe(media, now_ns);
    if (media->fresh && media->next_feedback_ns <= now_ns)
        send_feedback(media, now_ns);
    show(media, now_ns);
    pump(media, now_ns);
}

static void media_start(struct flow *flow, uint64_t now_ns)
{
    struct media *media = media_of(flow);
    media->congestion = pc_congestion_create(&media->settings, now_ns);
    if (media->congestion == NULL)
        tool_fail(flow->name, "out of memory");
    pc_pacer_init(&media->pacer, media->settings.start_bps, 1500, now_ns);
    media->next_frame_ns = now_ns;
    media->next_probe_ns = UINT64_MAX;
    media->idr_wanted = true;
    update(media, now_ns);
}

static void media_summary(struct flow *flow, FILE *out)
{
    fprintf(out, ", \"fps\": %d", media_of(flow)->settings.fps);
}

static void media_destroy(struct flow *flow)
{
    struct media *media = media_of(flow);
    pc_congestion_destroy(media->congestion);
    free(media);
}

static const struct flow_class class = {"media",      media_start,   media_next,   media_run,
                                        media_arrive, media_summary, media_destroy};

struct flow *media_flow_create(const char *line, struct session *session)
{
    struct media *media = calloc(1, sizeof *media);
    char text[64], *rest;
    (void)session;
    if (media == NULL)
        tool_fail("flow", "out of memory");
    media->flow.class = &class;
    if (option(line, "controller", text) != NULL)
        media->settings.controller = strcmp(text, "gcc") == 0 ? PC_CONTROLLER_GCC
                                     : strcmp(text, "train") == 0
                                         ? PC_CONTROLLER_TRAIN
                                         : (tool_fail(text, "train, gcc"), 0);
    media->settings.min_bps = number_option(line, "min", 300e3);
    media->settings.max_bps = number_option(line, "max", 50e6);
    media->settings.start_bps = number_option(line, "begin", 2e6);
    media->settings.fps = (int)number_option(line, "fps", 60);
    media->noise = number_option(line, "noise", 0.15);
    media->idr_factor = number_option(line, "idr", 3);
    media->feedback_ns = time_option(line, "feedback", 16000000);
    if (option(line, "still", text) != NULL) {
        char *until = strchr(text, '-'), *rate = strchr(text, ':');
        if (until == NULL || rate == NULL)
            tool_fail(text, "still takes FROM-UNTIL:RATE such as 20s-30s:200k");
        *until++ = *rate++ = '\0';
        rest = rate;
        if (!pc_link_parse_time(text, &media->still_from_ns) ||
            !pc_link_parse_time(until, &media->still_until_ns) ||
            !pc_trace_parse_rate(rest, &media->still_bps))
            tool_fail(rest, "still takes FROM-UNTIL:RATE such as 20s-30s:200k");
    }
    return &media->flow;
}
