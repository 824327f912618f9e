#include "link.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

struct packet {
    struct packet *next; /* in the queue, or among the free ones */
    uint64_t id, sent_ns, began_ns, arrives_ns, order;
    size_t size, room;
    bool has_data, repeated;
    uint8_t *data;
};

/* One source of chance for each effect: to switch one on leaves the others as they were. */
enum chance { CHANCE_LOSS, CHANCE_BURST, CHANCE_JITTER, CHANCE_REORDER, CHANCE_DUPLICATE, CHANCES };

struct pc_link {
    struct pc_link_settings settings;
    uint64_t chances[CHANCES];
    bool bad; /* Gilbert-Elliott */

    uint64_t origin_ns, now_ns;
    uint64_t trace_start_ns;

    /* The queue; its head is being transmitted. */
    struct packet *head, **tail;
    uint64_t queued_bytes; /* on the wire, the head's in full */
    bool began;            /* the head's transmission */
    double head_bytes;     /* of the head, still to be transmitted */
    double served_ns; /* up to here, from the origin; with the fraction, or rounding would add up */
    uint64_t delivery; /* of a delivery trace: the first that is not used up */

    /* On its way: a heap by time of arrival. */
    struct packet **flying;
    size_t flying_count, flying_room;
    uint64_t last_arrival_ns, order;

    struct packet *free, *given;
    struct pc_link_stats stats;
};

static uint64_t earlier(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static uint64_t later(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

void pc_link_set_bursts(struct pc_link_settings *settings, double share, double length)
{
    settings->burst_leave = 1 / length;
    settings->burst_enter = share <= 0 ? 0 : fmin(1, share / ((1 - share) * length));
    settings->burst_loss = 1;
}

/* [0, 1): xorshift64*. */
static double chance(struct pc_link *link, enum chance which)
{
    uint64_t *state = &link->chances[which];
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    return (double)((*state * 2685821657736338717ull) >> 11) * 0x1p-53;
}

static uint64_t splitmix(uint64_t *state)
{
    uint64_t z = *state += 0x9e3779b97f4a7c15ull;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
    return z ^ (z >> 31);
}

struct pc_link *pc_link_create(const struct pc_link_settings *settings, uint64_t seed,
                               uint64_t now_ns)
{
    struct pc_link *link = calloc(1, sizeof *link);
    if (link == NULL)
        return NULL;
    for (int i = 0; i < CHANCES; i++)
        link->chances[i] = splitmix(&seed) | 1;
    link->tail = &link->head;
    link->origin_ns = link->now_ns = now_ns;
    pc_link_change(link, settings, now_ns);
    return link;
}

static void free_list(struct packet *packet)
{
    while (packet != NULL) {
        struct packet *next = packet->next;
        free(packet->data);
        free(packet);
        packet = next;
    }
}

void pc_link_destroy(struct pc_link *link)
{
    if (link == NULL)
        return;
    for (size_t i = 0; i < link->flying_count; i++) {
        link->flying[i]->next = link->free;
        link->free = link->flying[i];
    }
    free(link->flying);
    free_list(link->head);
    free_list(link->free);
    free_list(link->given);
    free(link);
}

const struct pc_link_settings *pc_link_settings(const struct pc_link *link)
{
    return &link->settings;
}

void pc_link_get_stats(const struct pc_link *link, struct pc_link_stats *out)
{
    *out = link->stats;
}

static struct packet *new_packet(struct pc_link *link, size_t size)
{
    struct packet *packet = link->free;
    if (packet != NULL)
        link->free = packet->next;
    else
        packet = calloc(1, sizeof *packet);
    if (packet == NULL)
        return NULL;
    if (packet->room < size) {
        uint8_t *data = realloc(packet->data, size);
        if (data == NULL) {
            packet->next = link->free;
            link->free = packet;
            return NULL;
        }
        packet->data = data;
        packet->room = size;
    }
    packet->next = NULL;
    return packet;
}

static void give_back(struct pc_link *link, struct packet *packet)
{
    packet->next = link->free;
    link->free = packet;
}

static uint64_t wire_bytes(const struct pc_link *link, const struct packet *packet)
{
    return packet->size + link->settings.overhead_bytes;
}

/* On its way. */

static bool before(const struct packet *a, const struct packet *b)
{
    return a->arrives_ns != b->arrives_ns ? a->arrives_ns < b->arrives_ns : a->order < b->order;
}

static bool fly(struct pc_link *link, struct packet *packet)
{
    if (link->flying_count == link->flying_room) {
        size_t room = link->flying_room == 0 ? 64 : 2 * link->flying_room;
        struct packet **flying = realloc(link->flying, room * sizeof *flying);
        if (flying == NULL)
            return false;
        link->flying = flying;
        link->flying_room = room;
    }
    packet->order = link->order++;
    size_t at = link->flying_count++;
    while (at > 0 && before(packet, link->flying[(at - 1) / 2])) {
        link->flying[at] = link->flying[(at - 1) / 2];
        at = (at - 1) / 2;
    }
    link->flying[at] = packet;
    return true;
}

static struct packet *land(struct pc_link *link)
{
    struct packet *first = link->flying[0], *last = link->flying[--link->flying_count];
    size_t at = 0;
    for (;;) {
        size_t child = 2 * at + 1;
        if (child >= link->flying_count)
            break;
        if (child + 1 < link->flying_count && before(link->flying[child + 1], link->flying[child]))
            child++;
        if (!before(link->flying[child], last))
            break;
        link->flying[at] = link->flying[child];
        at = child;
    }
    if (link->flying_count > 0)
        link->flying[at] = last;
    return first;
}

static bool is_lost(struct pc_link *link)
{
    const struct pc_link_settings *set = &link->settings;
    double turn = chance(link, CHANCE_BURST);
    link->bad = link->bad ? turn >= set->burst_leave : turn < set->burst_enter;
    if (set->burst_enter <= 0)
        link->bad = false;
    double loss = link->bad ? set->burst_loss : set->loss;
    return chance(link, CHANCE_LOSS) < loss || set->down;
}

/* The packet has been transmitted, at `at_ns`. */
static void depart(struct pc_link *link, struct packet *packet, uint64_t at_ns)
{
    const struct pc_link_settings *set = &link->settings;
    double jitter = 2 * chance(link, CHANCE_JITTER) - 1;
    bool late = chance(link, CHANCE_REORDER) < set->reorder;
    bool twice = chance(link, CHANCE_DUPLICATE) < set->duplicate;
    if (is_lost(link)) {
        link->stats.lost++;
        give_back(link, packet);
        return;
    }
    double delay = (double)set->delay_ns + jitter * (double)set->jitter_ns;
    packet->arrives_ns = at_ns + (delay > 0 ? (uint64_t)delay : 0);
    if (late) {
        packet->arrives_ns += set->reorder_ns;
        link->stats.reordered++;
    } else if (set->jitter_reorders) {
        link->last_arrival_ns = packet->arrives_ns;
    } else {
        packet->arrives_ns = later(packet->arrives_ns, link->last_arrival_ns);
        link->last_arrival_ns = packet->arrives_ns;
    }
    packet->repeated = false;
    if (!fly(link, packet)) {
        link->stats.lost++;
        give_back(link, packet);
        return;
    }
    if (!twice)
        return;
    struct packet *again = new_packet(link, packet->has_data ? packet->size : 0);
    if (again == NULL)
        return;
    uint8_t *data = again->data;
    size_t room = again->room;
    *again = *packet;
    again->data = data;
    again->room = room;
    again->repeated = true;
    if (packet->has_data && packet->size > 0)
        memcpy(again->data, packet->data, packet->size);
    if (fly(link, again))
        link->stats.duplicated++;
    else
        give_back(link, again);
}

/* The queue. */

static void pop_head(struct pc_link *link, uint64_t at_ns)
{
    struct packet *packet = link->head;
    link->head = packet->next;
    if (link->head == NULL)
        link->tail = &link->head;
    link->queued_bytes -= wire_bytes(link, packet);
    link->began = false;
    depart(link, packet, at_ns);
}

static void begin_head(struct pc_link *link, uint64_t at_ns)
{
    link->began = true;
    link->head->began_ns = later(at_ns, link->head->sent_ns);
    link->head_bytes = (double)wire_bytes(link, link->head);
}

/* Bits a second at `at_ns`, and until when that holds. Here and below times are from the origin. */
static double rate_at(const struct pc_link *link, uint64_t at_ns, uint64_t *until_ns)
{
    *until_ns = UINT64_MAX;
    if (link->settings.trace == NULL)
        return link->settings.rate_bps > 0 ? link->settings.rate_bps : HUGE_VAL;
    uint64_t start_ns = link->trace_start_ns - link->origin_ns;
    double bps = pc_trace_rate(link->settings.trace, at_ns - start_ns, until_ns);
    if (*until_ns != UINT64_MAX)
        *until_ns += start_ns;
    return bps;
}

/* When `bytes` that begin to be transmitted at `from_ns` are through. HUGE_VAL: not by `limit_ns`,
 * `*left` bytes remain then. */
static double transmit(const struct pc_link *link, double from_ns, double bytes, uint64_t limit_ns,
                       double *left)
{
    for (;;) {
        uint64_t until;
        double bps = rate_at(link, (uint64_t)from_ns, &until);
        double done = bps > 0 ? from_ns + bytes * 8e9 / bps : HUGE_VAL;
        uint64_t stop = earlier(until, limit_ns);
        if (done <= (double)stop) {
            *left = 0;
            return done;
        }
        bytes -= ((double)stop - from_ns) * bps / 8e9;
        if (stop == limit_ns) {
            *left = bytes;
            return HUGE_VAL;
        }
        from_ns = (double)until;
    }
}

static void serve_rate(struct pc_link *link, uint64_t now_ns)
{
    uint64_t limit_ns = now_ns - link->origin_ns;
    while (link->head != NULL) {
        if (!link->began) {
            link->served_ns =
                fmax(link->served_ns, (double)(link->head->sent_ns - link->origin_ns));
            begin_head(link, link->origin_ns + (uint64_t)link->served_ns);
        }
        double left, done = transmit(link, link->served_ns, link->head_bytes, limit_ns, &left);
        if (done == HUGE_VAL) {
            link->head_bytes = left;
            break;
        }
        link->served_ns = done;
        pop_head(link, link->origin_ns + (uint64_t)ceil(done));
    }
    link->served_ns = fmax(link->served_ns, (double)limit_ns);
}

static void serve_deliveries(struct pc_link *link, uint64_t now_ns)
{
    const struct pc_trace *trace = link->settings.trace;
    while (link->head != NULL) {
        uint64_t at = link->trace_start_ns + pc_trace_delivery_ns(trace, link->delivery);
        if (at > now_ns)
            break;
        double budget = PC_TRACE_DELIVERY_BYTES;
        while (link->head != NULL && budget > 0) {
            if (!link->began)
                begin_head(link, at);
            double used = fmin(budget, link->head_bytes);
            budget -= used;
            link->head_bytes -= used;
            if (link->head_bytes <= 0)
                pop_head(link, at);
        }
        link->delivery++;
    }
    link->served_ns = (double)(now_ns - link->origin_ns);
    if (link->head == NULL) /* what nobody used is gone */
        link->delivery = pc_trace_deliveries_before(trace, now_ns - link->trace_start_ns);
}

static bool delivers(const struct pc_link *link)
{
    return link->settings.trace != NULL && pc_trace_delivers(link->settings.trace);
}

static uint64_t advance(struct pc_link *link, uint64_t now_ns)
{
    link->now_ns = later(now_ns, link->now_ns);
    if (delivers(link))
        serve_deliveries(link, link->now_ns);
    else
        serve_rate(link, link->now_ns);
    return link->now_ns;
}

void pc_link_change(struct pc_link *link, const struct pc_link_settings *settings, uint64_t now_ns)
{
    now_ns = advance(link, now_ns);
    bool new_trace = settings->trace != link->settings.trace;
    link->settings = *settings;
    link->queued_bytes = 0;
    for (const struct packet *packet = link->head; packet != NULL; packet = packet->next)
        link->queued_bytes += wire_bytes(link, packet);
    if (!new_trace)
        return;
    link->trace_start_ns = now_ns;
    link->delivery = 0;
}

bool pc_link_send(struct pc_link *link, uint64_t now_ns, uint64_t id, const void *data, size_t size)
{
    now_ns = advance(link, now_ns);
    const struct pc_link_settings *set = &link->settings;
    uint64_t bytes = size + set->overhead_bytes;
    link->stats.sent++;
    link->stats.sent_bytes += bytes;
    bool full = link->head != NULL &&
                ((set->queue_bytes > 0 && link->queued_bytes + bytes > set->queue_bytes) ||
                 (set->queue_ns > 0 && pc_link_queue_ns(link, now_ns) > set->queue_ns));
    struct packet *packet = full ? NULL : new_packet(link, data != NULL ? size : 0);
    if (packet == NULL) {
        link->stats.dropped++;
        return false;
    }
    packet->id = id;
    packet->sent_ns = now_ns;
    packet->size = size;
    packet->has_data = data != NULL;
    if (data != NULL && size > 0)
        memcpy(packet->data, data, size);
    *link->tail = packet;
    link->tail = &packet->next;
    link->queued_bytes += bytes;
    advance(link, now_ns); /* without a limit it is through already */
    return true;
}

/* When the head has been transmitted: UINT64_MAX when never. */
static uint64_t head_departs(const struct pc_link *link)
{
    double bytes = link->began ? link->head_bytes : (double)wire_bytes(link, link->head);
    if (delivers(link)) {
        uint64_t more = (uint64_t)ceil(bytes / PC_TRACE_DELIVERY_BYTES);
        return link->trace_start_ns +
               pc_trace_delivery_ns(link->settings.trace,
                                    link->delivery + (more > 0 ? more - 1 : 0));
    }
    double left, done = transmit(link, link->served_ns, bytes, UINT64_MAX, &left);
    return done < 0x1p63 ? link->origin_ns + (uint64_t)ceil(done) : UINT64_MAX;
}

uint64_t pc_link_next(const struct pc_link *link)
{
    uint64_t next = link->flying_count > 0 ? link->flying[0]->arrives_ns : UINT64_MAX;
    if (link->head != NULL)
        next = earlier(next, head_departs(link));
    return next;
}

bool pc_link_receive(struct pc_link *link, uint64_t now_ns, struct pc_link_packet *out)
{
    now_ns = advance(link, now_ns);
    if (link->given != NULL)
        give_back(link, link->given);
    link->given = NULL;
    if (link->flying_count == 0 || link->flying[0]->arrives_ns > now_ns)
        return false;
    struct packet *packet = link->given = land(link);
    packet->next = NULL;
    *out = (struct pc_link_packet){
        .data = packet->has_data ? packet->data : NULL,
        .size = packet->size,
        .id = packet->id,
        .sent_ns = packet->sent_ns,
        .queued_ns = packet->began_ns - packet->sent_ns,
        .arrived_ns = packet->arrives_ns,
        .repeated = packet->repeated,
    };
    if (!packet->repeated) {
        link->stats.delivered++;
        link->stats.delivered_bytes += wire_bytes(link, packet);
    }
    return true;
}

uint64_t pc_link_queue_bytes(struct pc_link *link, uint64_t now_ns)
{
    advance(link, now_ns);
    if (link->head == NULL)
        return 0;
    double sent = link->began ? (double)wire_bytes(link, link->head) - link->head_bytes : 0;
    return link->queued_bytes - (sent > 0 ? (uint64_t)sent : 0);
}

double pc_link_rate_bps(const struct pc_link *link, uint64_t now_ns)
{
    if (delivers(link))
        return pc_trace_mean_bps(link->settings.trace);
    uint64_t until;
    return rate_at(link, later(now_ns, link->now_ns) - link->origin_ns, &until);
}

uint64_t pc_link_queue_ns(struct pc_link *link, uint64_t now_ns)
{
    uint64_t bytes = pc_link_queue_bytes(link, now_ns);
    if (bytes == 0)
        return 0;
    double bps = pc_link_rate_bps(link, now_ns);
    if (bps <= 0)
        bps = pc_trace_mean_bps(link->settings.trace);
    double wait = (double)bytes * 8e9 / bps;
    return wait < 0x1p63 ? (uint64_t)wait : UINT64_MAX;
}
