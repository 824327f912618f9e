/* A TCP that always has something to send, as a model: slow start, Reno or Cubic (RFC 9438),
 * SACK-like recovery of one window a loss. Enough to fill a queue as the real one does; where the
 * real one is what matters, the kernel's runs over the TUN front end.
 *
 *   flow tcp NAME [cc=cubic|reno] [bytes=100k]   bytes: ends (and begins again after rest=10s) */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "session.h"
#include "tool.h"

#define SEGMENT    1448
#define HEADERS    24 /* beyond the link's 28: TCP with timestamps, less UDP's */
#define SENT       65536
#define CUBIC_C    0.4
#define CUBIC_BETA 0.7

struct tcp {
    struct flow flow;
    bool cubic;
    double window, threshold, w_max, origin_window; /* segments */
    uint64_t epoch_ns, rest_ns, resume_ns;
    uint64_t next, acknowledged, recover, in_flight; /* segments; in_flight as the sender sees it */
    uint64_t limit, done;                            /* of one transfer; 0 = no end */
    uint64_t sent_ns[SENT], least_rtt_ns, rtt_ns, last_ack_ns;
    bool arrived[SENT], gone[SENT];
    uint64_t expected, highest; /* receiver's */
};

static struct tcp *tcp_of(const struct flow *flow)
{
    return (struct tcp *)(uintptr_t)flow;
}

static void begin_transfer(struct tcp *tcp, uint64_t now_ns)
{
    tcp->window = 10;
    tcp->threshold = 1e9;
    tcp->w_max = 0;
    tcp->done = 0;
    tcp->last_ack_ns = now_ns;
    tcp->resume_ns = 0;
}

static void pump(struct tcp *tcp, uint64_t now_ns)
{
    if (!flow_active(&tcp->flow, now_ns) || tcp->resume_ns > now_ns)
        return;
    while ((double)tcp->in_flight < tcp->window && (tcp->limit == 0 || tcp->done < tcp->limit)) {
        uint64_t sequence = tcp->next++;
        tcp->sent_ns[sequence % SENT] = now_ns;
        tcp->arrived[sequence % SENT] = tcp->gone[sequence % SENT] = false;
        tcp->in_flight++;
        tcp->done++;
        record_sent(&tcp->flow.record, RECORD_MEDIA, SEGMENT + HEADERS + 28, now_ns);
        if (!session_send(&tcp->flow, SENDER, sequence, NULL, SEGMENT + HEADERS, now_ns))
            record_lost(&tcp->flow.record, now_ns);
    }
}

static void lost(struct tcp *tcp, uint64_t sequence, uint64_t now_ns)
{
    tcp->in_flight--;
    tcp->done--; /* to be sent again: here as a new number */
    tcp->gone[sequence % SENT] = true;
    if (sequence < tcp->recover)
        return;
    tcp->recover = tcp->next;
    tcp->w_max =
        tcp->cubic && tcp->window < tcp->w_max ? tcp->window * (1 + CUBIC_BETA) / 2 : tcp->window;
    tcp->window = fmax(2, tcp->window * (tcp->cubic ? CUBIC_BETA : 0.5));
    tcp->threshold = tcp->origin_window = tcp->window;
    tcp->epoch_ns = now_ns;
}

static void grow(struct tcp *tcp, uint64_t now_ns)
{
    if (tcp->window < tcp->threshold) {
        tcp->window += 1;
        /* HyStart (RFC 9406), its delay half. */
        if (tcp->rtt_ns > tcp->least_rtt_ns + tcp->least_rtt_ns / 8 + 4000000 && tcp->window > 16)
            tcp->threshold = tcp->window;
        if (tcp->window >= tcp->threshold) {
            tcp->w_max = tcp->origin_window = tcp->window;
            tcp->epoch_ns = now_ns;
        }
        return;
    }
    double reno = tcp->window + 1 / tcp->window;
    if (!tcp->cubic) {
        tcp->window = reno;
        return;
    }
    double t = (double)(now_ns - tcp->epoch_ns) / 1e9, rtt = (double)tcp->rtt_ns / 1e9;
    double k = cbrt(fmax(tcp->w_max - tcp->origin_window, 0) / CUBIC_C);
    double aim = CUBIC_C * pow(t + rtt - k, 3) + tcp->w_max;
    double friendly =
        tcp->origin_window + 3 * (1 - CUBIC_BETA) / (1 + CUBIC_BETA) * t / fmax(rtt, 1e-3);
    aim = fmin(fmax(aim, tcp->window), 1.5 * tcp->window);
    tcp->window =
        fmax(tcp->window + (aim - tcp->window) / tcp->window, fmin(friendly, tcp->window + 1));
}

static void tcp_arrive(struct flow *flow, enum side at, const struct pc_link_packet *packet,
                       uint64_t now_ns)
{
    struct tcp *tcp = tcp_of(flow);
    uint64_t sequence = packet->id;
    if (at == RECEIVER) {
        session_send(flow, RECEIVER, sequence, NULL, HEADERS, now_ns); /* a SACK of each */
        return;
    }
    if (tcp->gone[sequence % SENT] || tcp->arrived[sequence % SENT])
        return;
    tcp->arrived[sequence % SENT] = true;
    tcp->in_flight--;
    tcp->last_ack_ns = now_ns;
    uint64_t rtt_ns = now_ns - tcp->sent_ns[sequence % SENT];
    tcp->rtt_ns = tcp->rtt_ns == 0 ? rtt_ns : (7 * tcp->rtt_ns + rtt_ns) / 8;
    if (tcp->least_rtt_ns == 0 || rtt_ns < tcp->least_rtt_ns)
        tcp->least_rtt_ns = rtt_ns;
    for (; tcp->acknowledged + 3 < sequence; tcp->acknowledged++) /* three later ones are there */
        if (!tcp->arrived[tcp->acknowledged % SENT] && !tcp->gone[tcp->acknowledged % SENT])
            lost(tcp, tcp->acknowledged, now_ns);
    grow(tcp, now_ns);
    if (tcp->limit > 0 && tcp->done >= tcp->limit && tcp->in_flight == 0) {
        begin_transfer(tcp, now_ns);
        tcp->resume_ns = now_ns + tcp->rest_ns;
    }
    pump(tcp, now_ns);
}

static uint64_t timeout_ns(const struct tcp *tcp)
{
    return tcp->last_ack_ns + 200000000 + (tcp->rtt_ns == 0 ? 1000000000 : 2 * tcp->rtt_ns);
}

static uint64_t tcp_next(const struct flow *flow)
{
    const struct tcp *tcp = tcp_of(flow);
    if (tcp->resume_ns > 0)
        return tcp->resume_ns;
    if (tcp->in_flight > 0)
        return timeout_ns(tcp);
    return flow->resume_ns > tcp->last_ack_ns ? flow->resume_ns : UINT64_MAX;
}

static void tcp_run(struct flow *flow, uint64_t now_ns)
{
    struct tcp *tcp = tcp_of(flow);
    if (tcp->resume_ns > 0 && tcp->resume_ns <= now_ns)
        begin_transfer(tcp, now_ns);
    if (tcp->in_flight > 0 && timeout_ns(tcp) <= now_ns) {
        for (uint64_t s = tcp->acknowledged; s < tcp->next; s++)
            if (!tcp->arrived[s % SENT] && !tcp->gone[s % SENT])
                lost(tcp, s, now_ns);
        tcp->acknowledged = tcp->next;
        tcp->threshold = fmax(2, tcp->window);
        tcp->window = 1;
        tcp->last_ack_ns = now_ns;
    }
    if (tcp->in_flight == 0)
        tcp->last_ack_ns = now_ns;
    pump(tcp, now_ns);
}

static void tcp_start(struct flow *flow, uint64_t now_ns)
{
    begin_transfer(tcp_of(flow), now_ns);
    pump(tcp_of(flow), now_ns);
}

static void tcp_summary(struct flow *flow, FILE *out)
{
    fprintf(out, ", \"rtt_ms\": %.1f", (double)tcp_of(flow)->rtt_ns / 1e6);
}

static void tcp_destroy(struct flow *flow)
{
    free(tcp_of(flow));
}

static const struct flow_class class = {"tcp",      tcp_start,   tcp_next,   tcp_run,
                                        tcp_arrive, tcp_summary, tcp_destroy};

struct flow *tcp_flow_create(const char *line, struct session *session)
{
    struct tcp *tcp = calloc(1, sizeof *tcp);
    char text[64];
    (void)session;
    if (tcp == NULL)
        tool_fail("flow", "out of memory");
    tcp->flow.class = &class;
    if (option(line, "cc", text) == NULL)
        strcpy(text, "cubic");
    tcp->cubic = strcmp(text, "cubic") == 0;
    if (!tcp->cubic && strcmp(text, "reno") != 0)
        tool_fail("cc", "takes cubic or reno");
    tcp->limit = (uint64_t)number_option(line, "bytes", 0) / SEGMENT;
    tcp->rest_ns = time_option(line, "rest", 10000000000ull);
    return &tcp->flow;
}
