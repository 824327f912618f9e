/* Runs one scenario from standard input in virtual time; prints one JSON object.
 *
 * A scenario's lines:
 *   seed N | duration TIME | settle TIME      (5s: what is earlier counts in no figure)
 *   link forward|back SETTINGS                (bench/link/settings.h)
 *   at SECONDS forward|back|both SETTINGS     a change; times never fall
 *   flow media|tcp NAME [start=5s] [stop=90s] [pause=40s resume=60s] [way=back] [delay=20ms] …
 *        delay: of its own, each way, beside the shared links'
 *        media, tcp: see flow_media.c and flow_tcp.c for the rest */
#include "session.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "settings.h"
#include "tool.h"

#define FLOWS      32
#define FLOW_SHIFT 48

struct session {
    uint64_t seed, random, duration_ns, settle_ns, now_ns;
    struct pc_link_settings settings[2];
    struct pc_link *links[2];
    struct record capacity[2]; /* of the links: received = what came through, target = capacity */
    struct pc_trace_files traces;
    struct pc_link_schedule schedule;
    struct flow *flows[FLOWS];
    unsigned flow_count;
};

const char *option(const char *line, const char *key, char out[64])
{
    size_t size = strlen(key);
    for (const char *at = line; (at = strstr(at, key)) != NULL; at += size) {
        if (at[size] != '=' || (at > line && at[-1] != ' '))
            continue;
        size_t length = strcspn(at + size + 1, " \n");
        if (length >= 64)
            tool_fail(key, "the value is too long");
        memcpy(out, at + size + 1, length);
        out[length] = '\0';
        return out;
    }
    return NULL;
}

double number_option(const char *line, const char *key, double otherwise)
{
    char text[64];
    double value;
    if (option(line, key, text) == NULL)
        return otherwise;
    size_t size = strlen(text);
    bool percent = size > 0 && text[size - 1] == '%';
    if (percent)
        text[size - 1] = '\0';
    if (!pc_trace_parse_rate(text, &value))
        tool_fail(key, "takes a number such as 10M, 0.5 or 5%");
    return percent ? value / 100 : value;
}

uint64_t time_option(const char *line, const char *key, uint64_t otherwise_ns)
{
    char text[64];
    if (option(line, key, text) == NULL)
        return otherwise_ns;
    if (!pc_link_parse_time(text, &otherwise_ns))
        tool_fail(key, "takes a time such as 20ms or 5s");
    return otherwise_ns;
}

double session_random(struct session *session)
{
    session->random ^= session->random >> 12;
    session->random ^= session->random << 25;
    session->random ^= session->random >> 27;
    return (double)((session->random * 2685821657736338717ull) >> 11) * 0x1p-53;
}

double session_normal(struct session *session)
{
    double u = 1 - session_random(session), v = session_random(session);
    return sqrt(-2 * log(u)) * cos(2 * 3.14159265358979 * v);
}

/* Data of a flow that sends back takes the back link, its acknowledgements the forward one. */
static unsigned link_from(const struct flow *flow, enum side from)
{
    return (from == SENDER) == (flow->way == FORWARD) ? 0 : 1;
}

bool session_send(struct flow *flow, enum side from, uint64_t id, const void *data, size_t size,
                  uint64_t now_ns)
{
    struct session *session = flow->session;
    return pc_link_send(session->links[link_from(flow, from)], now_ns,
                        (uint64_t)flow->index << FLOW_SHIFT | id, data, size);
}

/* What has come out of a shared link goes on to its flow's own. */
static void cross(struct session *session, unsigned way, uint64_t now_ns)
{
    struct pc_link_packet packet;
    while (pc_link_receive(session->links[way], now_ns, &packet)) {
        struct flow *flow = session->flows[packet.id >> FLOW_SHIFT];
        enum side to = link_from(flow, SENDER) == way ? RECEIVER : SENDER;
        size_t wire = packet.size + session->settings[way].overhead_bytes;
        if (to == RECEIVER)
            record_received(&flow->record, wire, packet.queued_ns, now_ns);
        record_received(&session->capacity[way], wire, packet.queued_ns, now_ns);
        pc_link_send(flow->own[to], now_ns, packet.id & ((1ull << FLOW_SHIFT) - 1), packet.data,
                     packet.size);
    }
}

static uint64_t sooner(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static uint64_t next_event(const struct session *session)
{
    uint64_t next = pc_link_schedule_next(&session->schedule);
    next = sooner(next, (session->now_ns / RECORD_BIN_NS + 1) * RECORD_BIN_NS);
    for (int way = 0; way < 2; way++)
        next = sooner(next, pc_link_next(session->links[way]));
    for (unsigned i = 0; i < session->flow_count; i++) {
        const struct flow *flow = session->flows[i];
        next = sooner(next, pc_link_next(flow->own[SENDER]));
        next = sooner(next, pc_link_next(flow->own[RECEIVER]));
        next = sooner(next, flow->started ? flow->class->next(flow) : flow->start_ns);
    }
    return next;
}

static void step(struct session *session, uint64_t now_ns)
{
    struct pc_link_packet packet;
    session->now_ns = now_ns;
    pc_link_schedule_apply(&session->schedule, session->links, &session->traces, now_ns, now_ns);
    for (unsigned way = 0; way < 2; way++)
        cross(session, way, now_ns);
    for (unsigned i = 0; i < session->flow_count; i++) {
        struct flow *flow = session->flows[i];
        if (!flow->started && now_ns >= flow->start_ns) {
            flow->started = true;
            flow->class->start(flow, now_ns);
        }
        if (!flow->started)
            continue;
        for (enum side at = SENDER; at <= RECEIVER; at++)
            while (pc_link_receive(flow->own[at], now_ns, &packet))
                flow->class->arrive(flow, at, &packet, now_ns);
        if (flow->class->next(flow) <= now_ns)
            flow->class->run(flow, now_ns);
    }
    if (now_ns % RECORD_BIN_NS != 0)
        return;
    for (unsigned way = 0; way < 2; way++) {
        double bps = pc_link_rate_bps(session->links[way], now_ns);
        record_bin(&session->capacity[way], now_ns)->target_bps = isinf(bps) ? 0 : bps;
    }
}

/* The scenario. */

static void add_flow(struct session *session, char *line)
{
    char kind[32], name[32], text[64];
    int end = 0;
    if (session->flow_count == FLOWS)
        tool_fail("flow", "there are too many");
    if (sscanf(line, "%31s %31s%n", kind, name, &end) != 2)
        tool_fail("flow", "takes a kind and a name");
    const char *options = line + end;
    struct flow *flow = strcmp(kind, "media") == 0 ? media_flow_create(options, session)
                        : strcmp(kind, "tcp") == 0 ? tcp_flow_create(options, session)
                                                   : NULL;
    if (flow == NULL)
        tool_fail("flow", "takes media or tcp");
    flow->session = session;
    flow->index = session->flow_count;
    memcpy(flow->name, name, sizeof name);
    flow->start_ns = time_option(options, "start", 0);
    flow->stop_ns = time_option(options, "stop", UINT64_MAX);
    flow->pause_ns = time_option(options, "pause", 0);
    flow->resume_ns = time_option(options, "resume", 0);
    flow->way = option(options, "way", text) != NULL && strcmp(text, "back") == 0 ? BACK : FORWARD;
    struct pc_link_settings own = {.delay_ns = time_option(options, "delay", 0)};
    for (int side = 0; side < 2; side++)
        flow->own[side] = pc_link_create(&own, 1, 0);
    session->flows[session->flow_count++] = flow;
}

static void read_line(struct session *session, char *line)
{
    char error[256] = "seed, duration, settle, link, at or flow begin a line", word[32];
    int end = 0;
    if (sscanf(line, "%31s%n", word, &end) != 1 || *word == '#')
        return;
    char *rest = line + end + strspn(line + end, " ");
    enum pc_link_way way;
    const char *text;
    bool good = false;
    if (strcmp(word, "seed") == 0) {
        session->seed = strtoull(rest, NULL, 10);
        good = true;
    } else if (strcmp(word, "duration") == 0) {
        good = pc_link_parse_time(rest, &session->duration_ns);
    } else if (strcmp(word, "settle") == 0) {
        good = pc_link_parse_time(rest, &session->settle_ns);
    } else if (strcmp(word, "link") == 0 && (text = pc_link_parse_way(rest, &way)) != NULL) {
        good = true;
        for (int i = 0; i < 2; i++)
            if (way & (1 << i))
                good = good && pc_link_parse(text, &session->settings[i], &session->traces, error,
                                             sizeof error);
    } else if (strcmp(word, "at") == 0) {
        good =
            pc_link_schedule_add(&session->schedule, rest, &session->traces, error, sizeof error);
    } else if (strcmp(word, "flow") == 0) {
        add_flow(session, rest);
        good = true;
    }
    if (!good)
        tool_fail(line, error);
}

static void print(struct session *session)
{
    static const char *const ways[] = {"forward", "back"};
    printf("{\"duration_s\": %g, \"links\": {", (double)session->duration_ns / 1e9);
    for (int way = 0; way < 2; way++) {
        struct pc_link_stats stats;
        pc_link_get_stats(session->links[way], &stats);
        printf(
            "%s\"%s\": {\"sent\": %llu, \"delivered\": %llu, \"dropped\": %llu, \"lost\": %llu, ",
            way > 0 ? ", " : "", ways[way], (unsigned long long)stats.sent,
            (unsigned long long)stats.delivered, (unsigned long long)stats.dropped,
            (unsigned long long)stats.lost);
        record_series(&session->capacity[way], stdout);
        printf(", \"summary\": {");
        record_summary(&session->capacity[way], stdout);
        printf("}}");
    }
    printf("}, \"flows\": [");
    for (unsigned i = 0; i < session->flow_count; i++) {
        struct flow *flow = session->flows[i];
        printf("%s{\"name\": \"%s\", \"kind\": \"%s\", \"way\": \"%s\", \"start_s\": %g, ",
               i > 0 ? ", " : "", flow->name, flow->class->kind, ways[flow->way],
               (double)flow->start_ns / 1e9);
        record_series(&flow->record, stdout);
        printf(", \"summary\": {");
        record_summary(&flow->record, stdout);
        flow->class->summary(flow, stdout);
        printf("}}");
    }
    printf("]}\n");
}

int main(int argc, char **argv)
{
    static struct session session = {
        .seed = 1, .duration_ns = 60 * 1000000000ull, .settle_ns = 5 * 1000000000ull};
    char *line = NULL;
    size_t room = 0;
    tool_begin(argc, argv);
    session.settings[0].overhead_bytes = session.settings[1].overhead_bytes = 28;
    while (getline(&line, &room, stdin) >= 0) {
        line[strcspn(line, "\n")] = '\0';
        read_line(&session, line);
    }
    free(line);
    session.random = session.seed * 0x9e3779b97f4a7c15ull | 1;
    for (unsigned way = 0; way < 2; way++) {
        session.links[way] = pc_link_create(&session.settings[way], 2 * session.seed + way, 0);
        record_init(&session.capacity[way], session.duration_ns, session.settle_ns);
    }
    for (unsigned i = 0; i < session.flow_count; i++) {
        struct flow *flow = session.flows[i];
        flow->stop_ns = sooner(flow->stop_ns, session.duration_ns);
        record_init(&flow->record, session.duration_ns, flow->start_ns + session.settle_ns);
    }
    step(&session, 0);
    for (uint64_t next; (next = next_event(&session)) <= session.duration_ns && !tool_stopped;)
        step(&session, next);
    print(&session);

    for (unsigned i = 0; i < session.flow_count; i++) {
        struct flow *flow = session.flows[i];
        pc_link_destroy(flow->own[SENDER]);
        pc_link_destroy(flow->own[RECEIVER]);
        record_free(&flow->record);
        flow->class->destroy(flow);
    }
    for (unsigned way = 0; way < 2; way++) {
        pc_link_destroy(session.links[way]);
        record_free(&session.capacity[way]);
    }
    free(session.schedule.changes);
    for (struct pc_trace_file *file = session.traces.first, *next; file != NULL; file = next) {
        next = file->next;
        pc_trace_destroy(file->trace);
        free(file);
    }
    return 0;
}
