#include "nack.h"

#include <string.h>

#define RTT_UNKNOWN_NS   60000000 /* between requests while no answer came */
#define RTT_MARGIN_NS    2000000
#define RTT_MAX_NS       2000000000
#define LATE_MAX_NS      20000000 /* a packet that was overtaken is not waited for longer */
#define REORDERING_GAPS  64       /* of which it is learnt whether packets overtake each other */
#define REORDERING_LEAST 4

static struct pc_nack_entry *entry_at(struct pc_nack *nack, int64_t sequence)
{
    return &nack->entries[(uint64_t)sequence % PC_NACK_KEPT];
}

void pc_nack_init(struct pc_nack *nack)
{
    memset(nack, 0, sizeof *nack);
    nack->due_ns = UINT64_MAX;
}

static uint64_t distance(uint64_t a, uint64_t b)
{
    return a > b ? a - b : b - a;
}

/* ---- Reordering ---- */

static void count_gap(struct pc_nack *nack, bool by_itself)
{
    if (by_itself)
        nack->overtaken++;
    else
        nack->lost++;
    if (nack->overtaken + nack->lost > REORDERING_GAPS) {
        nack->overtaken /= 2;
        nack->lost /= 2;
    }
}

static void learn_lateness(struct pc_nack *nack, uint64_t late_ns)
{
    if (late_ns > LATE_MAX_NS)
        late_ns = LATE_MAX_NS;
    nack->late_deviation_ns = (3 * nack->late_deviation_ns + distance(late_ns, nack->late_ns)) / 4;
    nack->late_ns = (7 * nack->late_ns + late_ns) / 8;
}

/* How long the first request waits for a packet that was only overtaken. */
static uint64_t allowance(const struct pc_nack *nack)
{
    if (nack->overtaken < REORDERING_LEAST || nack->overtaken <= nack->lost)
        return 0;
    uint64_t wait = nack->late_ns + 2 * nack->late_deviation_ns;
    return wait < LATE_MAX_NS ? wait : LATE_MAX_NS;
}

/* ---- Round trip ---- */

static void learn_rtt(struct pc_nack *nack, uint64_t sample_ns)
{
    if (sample_ns > RTT_MAX_NS)
        return;
    if (sample_ns == 0)
        sample_ns = 1; /* 0 is for "unknown" */
    if (nack->rtt_ns == 0) {
        nack->rtt_ns = sample_ns;
        nack->rtt_deviation_ns = sample_ns / 4;
        return;
    }
    nack->rtt_deviation_ns = (3 * nack->rtt_deviation_ns + distance(sample_ns, nack->rtt_ns)) / 4;
    nack->rtt_ns = (7 * nack->rtt_ns + sample_ns + 7) / 8;
}

/* With as many answers as requests, the last answer is the last request's (compare Karn's
 * algorithm). With fewer it may be an earlier one's: of use only while nothing is known. */
static void learn_from_answer(struct pc_nack *nack, struct pc_nack_entry *entry, uint64_t now_ns)
{
    if (entry->requests == 0 || entry->answers == UINT8_MAX)
        return;
    entry->answers++;
    if (entry->answers == entry->requests)
        learn_rtt(nack, now_ns - entry->asked_ns);
    else if (nack->rtt_ns == 0)
        learn_rtt(nack, now_ns - entry->first_asked_ns);
}

/* From one request to the next. Later ones come further apart: the round trip may have grown. */
static uint64_t spacing(const struct pc_nack *nack, unsigned requests)
{
    uint64_t base = nack->rtt_ns == 0 ? RTT_UNKNOWN_NS
                                      : nack->rtt_ns + 2 * nack->rtt_deviation_ns + RTT_MARGIN_NS;
    return base + base * (requests - 1) / 4;
}

/* ---- Numbers ---- */

static uint64_t due_of(const struct pc_nack *nack, const struct pc_nack_entry *entry)
{
    return entry->requests == 0 ? entry->missing_ns + allowance(nack)
                                : entry->asked_ns + spacing(nack, entry->requests);
}

static void leave(struct pc_nack *nack, struct pc_nack_entry *entry, int state)
{
    bool wanted = entry->state == PC_NACK_WANTED;
    entry->state = state;
    if (!wanted || --nack->wanted == 0 || entry->sequence != nack->lowest)
        return;
    do
        entry = entry_at(nack, ++nack->lowest);
    while (entry->state != PC_NACK_WANTED);
    nack->lowest = entry->sequence;
}

static void give_up(struct pc_nack *nack, struct pc_nack_entry *entry)
{
    leave(nack, entry, PC_NACK_GIVEN_UP);
    nack->gave_up = true;
    count_gap(nack, false);
}

static void add_missing(struct pc_nack *nack, int64_t from, int64_t to, uint64_t now_ns)
{
    if (from <= to - PC_NACK_KEPT)
        from = to - PC_NACK_KEPT + 1;
    for (int64_t sequence = from; sequence < to; sequence++) {
        struct pc_nack_entry *entry = entry_at(nack, sequence);
        if (entry->state == PC_NACK_WANTED)
            give_up(nack, entry); /* older by a whole round of the table */
        *entry = (struct pc_nack_entry){
            .sequence = sequence, .state = PC_NACK_WANTED, .missing_ns = now_ns};
        if (nack->wanted == 0)
            nack->lowest = sequence;
        nack->wanted++;
    }
    if (from < to && nack->due_ns > now_ns + allowance(nack))
        nack->due_ns = now_ns + allowance(nack);
    if (nack->wanted <= PC_NACK_MISSING)
        return;
    for (int i = 0; i < PC_NACK_KEPT; i++)
        if (nack->entries[i].state == PC_NACK_WANTED)
            leave(nack, &nack->entries[i], PC_NACK_GIVEN_UP);
    nack->gave_up = true;
}

static enum pc_nack_arrival came_again(struct pc_nack *nack, struct pc_nack_entry *entry,
                                       enum pc_nack_origin origin, uint64_t now_ns)
{
    if (origin == PC_ORIGIN_RTX)
        learn_from_answer(nack, entry, now_ns);
    if (origin != PC_ORIGIN_ITSELF || entry->state != PC_NACK_REPAIRED)
        return PC_ARRIVAL_REPEATED;
    entry->state = PC_NACK_CAME;
    if (nack->lost > 0)
        nack->lost--; /* it had not been lost */
    count_gap(nack, true);
    learn_lateness(nack, now_ns - entry->missing_ns);
    return PC_ARRIVAL_SUPERFLUOUS;
}

static enum pc_nack_arrival came_first(struct pc_nack *nack, int64_t sequence,
                                       enum pc_nack_origin origin, uint64_t now_ns)
{
    struct pc_nack_entry *entry = entry_at(nack, sequence);
    if (entry->state == PC_NACK_WANTED)
        give_up(nack, entry); /* older by a whole round of the table */
    *entry = (struct pc_nack_entry){
        .sequence = sequence,
        .state = origin == PC_ORIGIN_ITSELF ? PC_NACK_CAME : PC_NACK_REPAIRED,
        .missing_ns = now_ns,
    };
    return PC_ARRIVAL_FIRST;
}

enum pc_nack_arrival pc_nack_arrived(struct pc_nack *nack, int64_t sequence,
                                     enum pc_nack_origin origin, uint64_t now_ns)
{
    if (!nack->started) {
        nack->started = true;
        nack->lowest = nack->highest = sequence;
        return came_first(nack, sequence, origin, now_ns);
    }
    if (sequence > nack->highest) {
        add_missing(nack, nack->highest + 1, sequence, now_ns);
        nack->highest = sequence;
        return came_first(nack, sequence, origin, now_ns);
    }
    if (sequence <= nack->highest - PC_NACK_KEPT)
        return PC_ARRIVAL_REPEATED;
    struct pc_nack_entry *entry = entry_at(nack, sequence);
    if (entry->sequence != sequence || entry->state == PC_NACK_NONE)
        return came_first(nack, sequence, origin, now_ns); /* before the very first one */
    if (entry->state == PC_NACK_CAME || entry->state == PC_NACK_REPAIRED)
        return came_again(nack, entry, origin, now_ns);
    if (origin == PC_ORIGIN_RTX)
        learn_from_answer(nack, entry, now_ns);
    if (origin == PC_ORIGIN_ITSELF)
        learn_lateness(nack, now_ns - entry->missing_ns);
    if (entry->state == PC_NACK_WANTED)
        count_gap(nack, origin == PC_ORIGIN_ITSELF);
    leave(nack, entry, origin == PC_ORIGIN_ITSELF ? PC_NACK_CAME : PC_NACK_REPAIRED);
    return PC_ARRIVAL_FIRST;
}

void pc_nack_announced(struct pc_nack *nack, int64_t sequence, uint64_t now_ns)
{
    if (!nack->started || sequence <= nack->highest || sequence >= nack->highest + PC_NACK_KEPT)
        return;
    add_missing(nack, nack->highest + 1, sequence + 1, now_ns);
    nack->highest = sequence;
}

void pc_nack_forget_before(struct pc_nack *nack, int64_t sequence)
{
    while (nack->wanted > 0 && nack->lowest < sequence)
        leave(nack, entry_at(nack, nack->lowest), PC_NACK_GIVEN_UP);
}

uint64_t pc_nack_missing_since(const struct pc_nack *nack)
{
    if (nack->wanted == 0)
        return UINT64_MAX;
    return nack->entries[(uint64_t)nack->lowest % PC_NACK_KEPT].missing_ns;
}

uint64_t pc_nack_due(const struct pc_nack *nack)
{
    return nack->wanted > 0 ? nack->due_ns : UINT64_MAX;
}

int pc_nack_take(struct pc_nack *nack, uint16_t *sequences, int max, uint64_t now_ns)
{
    if (nack->wanted == 0 || now_ns < nack->due_ns)
        return 0;
    int count = 0;
    nack->due_ns = UINT64_MAX;
    for (int64_t i = nack->lowest; i <= nack->highest && nack->wanted > 0; i++) {
        struct pc_nack_entry *entry = entry_at(nack, i);
        if (entry->state != PC_NACK_WANTED)
            continue;
        if (due_of(nack, entry) <= now_ns) {
            if (entry->requests == PC_NACK_REQUESTS ||
                now_ns - entry->missing_ns > PC_NACK_AGE_NS) {
                give_up(nack, entry);
                continue;
            }
            if (count == max) {
                nack->due_ns = now_ns;
                break;
            }
            sequences[count++] = (uint16_t)i;
            if (entry->requests++ == 0)
                entry->first_asked_ns = now_ns;
            entry->asked_ns = now_ns;
        }
        uint64_t due = due_of(nack, entry);
        nack->due_ns = due < nack->due_ns ? due : nack->due_ns;
    }
    return count;
}
