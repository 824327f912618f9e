/* A session in virtual time: flows over one emulated path, forward and back, minutes in moments.
 *
 *   flow's sender ─▶ forward link (shared) ─▶ flow's own delay ─▶ flow's receiver
 *                 ◀─ flow's own delay ◀───── back link (shared) ◀─
 *
 * A flow may also send the other way round (`way` back). Deterministic: a scenario and its seed
 * give the same output. */
#ifndef BENCH_SESSION_H
#define BENCH_SESSION_H

#include "link.h"
#include "record.h"

struct session;
struct flow;

enum side { SENDER, RECEIVER };

struct flow_class {
    const char *kind;
    /* What happens at flow->start_ns. */
    void (*start)(struct flow *flow, uint64_t now_ns);
    /* When run() is to be called next; UINT64_MAX: when something arrives. */
    uint64_t (*next)(const struct flow *flow);
    void (*run)(struct flow *flow, uint64_t now_ns);
    /* A packet has come to one of the flow's ends. */
    void (*arrive)(struct flow *flow, enum side at, const struct pc_link_packet *packet,
                   uint64_t now_ns);
    /* Members of the flow's summary: each begins with a comma. */
    void (*summary)(struct flow *flow, FILE *out);
    void (*destroy)(struct flow *flow);
};

struct flow {
    const struct flow_class *class;
    struct session *session;
    unsigned index;
    char name[32];
    uint64_t start_ns, stop_ns;   /* sends from, until */
    uint64_t pause_ns, resume_ns; /* and not in between; 0 = no pause */
    bool started;
    enum { FORWARD, BACK } way; /* of the link that its data takes */
    struct pc_link *own[2];     /* its own delay, to each side: [SENDER], [RECEIVER] */
    struct record record;
};

/* Does the flow send at this time? */
static inline bool flow_active(const struct flow *flow, uint64_t now_ns)
{
    return now_ns >= flow->start_ns && now_ns < flow->stop_ns &&
           !(now_ns >= flow->pause_ns && now_ns < flow->resume_ns);
}

/* A packet leaves one of the flow's ends: `id` below 2^48, `data` NULL or copied. False: the queue
 * was full. */
bool session_send(struct flow *flow, enum side from, uint64_t id, const void *data, size_t size,
                  uint64_t now_ns);

/* The value of `key` in the words of a scenario's line, or `otherwise`; NULL: there is none. */
const char *option(const char *line, const char *key, char out[64]);
double number_option(const char *line, const char *key, double otherwise);      /* 10M, 0.5, 5% */
uint64_t time_option(const char *line, const char *key, uint64_t otherwise_ns); /* 20ms, 5s */

/* Random numbers of a session: [0, 1), and normal with deviation 1. */
double session_random(struct session *session);
double session_normal(struct session *session);

/* From the rest of its line in the scenario. Fails the program when that makes no sense. */
struct flow *media_flow_create(const char *line, struct session *session);
struct flow *tcp_flow_create(const char *line, struct session *session);

#endif
