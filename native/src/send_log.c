#include "send_log.h"

#include <stdlib.h>

/* The one-way delay, in both clocks, moves by no more than this from one packet to the next … */
#define DELAY_JUMP_US 10000000

/* … unless so many in a row say the same: then the receiver's clock is another one. */
#define JUMPS_BELIEVED 64

/* 24 bits of 64 ms. */
#define REFERENCE_TIME_US   64000
#define REFERENCE_TIME_WRAP (1 << 24)
#define REFERENCE_TIME_MOST ((int64_t)1 << 40) /* unwrapped; two thousand years */

#define FIRST_SLOTS   256 /* power of two, like PC_SEND_LOG_PACKETS */
#define FIRST_REPORTS 256
#define MOST_REPORTS  (2 * PC_SEND_LOG_PACKETS) /* lost and then received after all */

enum fate { NEVER_SENT, IN_FLIGHT, LOST, RECEIVED };

struct slot {
    struct pc_sent_packet packet;
    uint16_t transport_sequence;
    uint8_t fate;
};

struct pc_send_log {
    struct pc_send_log_stats stats;
    uint16_t newest; /* transport-wide sequence number */

    /* The arrival times of the feedback packet that is being read. */
    int64_t reference; /* unwrapped, of 64 ms */
    int64_t arrived_us;
    bool any_reference;

    /* Arrival minus sending of the last packet that was believed, and of the last that was not. */
    int64_t delay_us, doubted_delay_us;
    bool any_delay;
    int doubted;

    struct pc_packet_report *reports;
    int count, capacity;
    bool taken, unordered;

    struct slot *slots; /* by sequence number */
    unsigned slot_count;
};

static struct slot *slot_of(struct pc_send_log *log, uint16_t sequence)
{
    return &log->slots[sequence % log->slot_count];
}

struct pc_send_log *pc_send_log_create(void)
{
    struct pc_send_log *log = calloc(1, sizeof *log);
    if (log == NULL)
        return NULL;
    log->reports = malloc(FIRST_REPORTS * sizeof *log->reports);
    log->slots = calloc(FIRST_SLOTS, sizeof *log->slots);
    if (log->reports == NULL || log->slots == NULL) {
        pc_send_log_destroy(log);
        return NULL;
    }
    log->capacity = FIRST_REPORTS;
    log->slot_count = FIRST_SLOTS;
    return log;
}

void pc_send_log_destroy(struct pc_send_log *log)
{
    if (log == NULL)
        return;
    free(log->reports);
    free(log->slots);
    free(log);
}

/* Without memory the oldest are forgotten sooner. */
static void grow(struct pc_send_log *log)
{
    unsigned count = 2 * log->slot_count;
    struct slot *slots = calloc(count, sizeof *slots);
    if (slots == NULL)
        return;
    for (unsigned i = 0; i < log->slot_count; i++)
        if (log->slots[i].fate != NEVER_SENT)
            slots[log->slots[i].transport_sequence % count] = log->slots[i];
    free(log->slots);
    log->slots = slots;
    log->slot_count = count;
}

void pc_send_log_add(struct pc_send_log *log, uint16_t transport_sequence,
                     const struct pc_sent_packet *packet)
{
    const struct slot *before = slot_of(log, transport_sequence);
    if (before->fate != NEVER_SENT && log->slot_count < PC_SEND_LOG_PACKETS &&
        packet->sent_ns < before->packet.sent_ns + PC_SEND_LOG_NS)
        grow(log);
    *slot_of(log, transport_sequence) = (struct slot){
        .packet = *packet, .transport_sequence = transport_sequence, .fate = IN_FLIGHT};
    log->newest = transport_sequence;
}

uint64_t pc_send_log_in_flight(const struct pc_send_log *log, uint64_t now_ns, uint64_t horizon_ns)
{
    uint64_t bytes = 0;
    for (unsigned back = 0; back < log->slot_count; back++) {
        uint16_t sequence = (uint16_t)(log->newest - back);
        const struct slot *slot = &log->slots[sequence % log->slot_count];
        if (slot->fate == NEVER_SENT || slot->transport_sequence != sequence)
            continue;
        if (slot->packet.sent_ns + horizon_ns < now_ns)
            break;
        if (slot->fate == IN_FLIGHT)
            bytes += slot->packet.bytes;
    }
    return bytes;
}

static int64_t distance(int64_t a, int64_t b)
{
    return a > b ? a - b : b - a;
}

void pc_send_log_feedback(struct pc_send_log *log,
                          const struct pc_rtcp_transport_feedback *feedback)
{
    log->stats.feedback_packets++;
    int64_t step = (feedback->reference_time - log->reference) & (REFERENCE_TIME_WRAP - 1);
    if (step >= REFERENCE_TIME_WRAP / 2)
        step -= REFERENCE_TIME_WRAP;
    log->reference += step;
    if (!log->any_reference || distance(log->reference, 0) > REFERENCE_TIME_MOST)
        log->reference = feedback->reference_time;
    log->any_reference = true;
    log->arrived_us = log->reference * REFERENCE_TIME_US;
}

/* Is this arrival one to go by? */
static bool believe(struct pc_send_log *log, const struct pc_sent_packet *packet)
{
    int64_t delay_us = log->arrived_us - (int64_t)(packet->sent_ns / 1000);
    if (log->any_delay && distance(delay_us, log->delay_us) > DELAY_JUMP_US) {
        bool again = log->doubted > 0 && distance(delay_us, log->doubted_delay_us) <= DELAY_JUMP_US;
        log->doubted = again ? log->doubted + 1 : 1;
        log->doubted_delay_us = delay_us;
        if (log->doubted < JUMPS_BELIEVED)
            return false;
    }
    log->doubted = 0;
    log->delay_us = delay_us;
    log->any_delay = true;
    return true;
}

/* Room for one report more, or NULL. */
static struct pc_packet_report *new_report(struct pc_send_log *log)
{
    if (log->taken) {
        log->taken = log->unordered = false;
        log->count = 0;
    }
    if (log->count == log->capacity) {
        if (log->capacity == MOST_REPORTS)
            return NULL;
        int capacity = 2 * log->capacity;
        struct pc_packet_report *reports =
            realloc(log->reports, (size_t)capacity * sizeof *reports);
        if (reports == NULL)
            return NULL;
        log->reports = reports;
        log->capacity = capacity;
    }
    return &log->reports[log->count++];
}

static unsigned age(const struct pc_send_log *log, uint16_t sequence)
{
    return (uint16_t)(log->newest - sequence);
}

void pc_send_log_status(struct pc_send_log *log, uint16_t sequence, bool received, int32_t delta_us)
{
    if (received)
        log->arrived_us += delta_us;
    struct slot *slot = slot_of(log, sequence);
    if (slot->fate == NEVER_SENT || slot->transport_sequence != sequence ||
        age(log, sequence) >= PC_SEND_LOG_PACKETS) {
        log->stats.unknown++;
        return;
    }
    if (slot->fate == RECEIVED || (slot->fate == LOST && !received)) {
        log->stats.repeated++;
        return;
    }
    if (received && !believe(log, &slot->packet)) {
        log->stats.nonsense++;
        return;
    }
    struct pc_packet_report *report = new_report(log);
    if (report == NULL) {
        log->stats.nonsense++;
        return;
    }
    *report = (struct pc_packet_report){
        .packet = slot->packet,
        .arrived_us = received ? log->arrived_us : 0,
        .transport_sequence = sequence,
        .received = received,
        .was_lost = slot->fate == LOST,
    };
    if (log->count > 1 && age(log, report[-1].transport_sequence) < age(log, sequence))
        log->unordered = true;
    slot->fate = received ? RECEIVED : LOST;
}

/* Oldest first; the two reports that one packet may have keep their order. */
static int compare(const void *a, const void *b, void *context)
{
    const struct pc_packet_report *first = a, *second = b;
    const struct pc_send_log *log = context;
    unsigned first_age = age(log, first->transport_sequence);
    unsigned second_age = age(log, second->transport_sequence);
    if (first_age != second_age)
        return first_age > second_age ? -1 : 1;
    return (int)first->received - (int)second->received;
}

int pc_send_log_take(struct pc_send_log *log, const struct pc_packet_report **reports)
{
    *reports = log->reports;
    if (log->taken)
        return 0;
    if (log->unordered)
        qsort_r(log->reports, (size_t)log->count, sizeof *log->reports, compare, log);
    log->taken = true;
    return log->count;
}

void pc_send_log_get_stats(const struct pc_send_log *log, struct pc_send_log_stats *out)
{
    *out = log->stats;
}
