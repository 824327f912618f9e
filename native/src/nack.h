/* Which sequence numbers are missing, and which of them to ask for now (RFC 4585 6.2.1). Pure: time
 * is an argument.
 *
 * What is missing is asked for at once, and again about once per round trip, which is learnt from
 * how long the answers take. Where packets are seen to overtake each other more often than they are
 * lost, the first request waits as long as such a packet usually takes. */
#ifndef PC_NACK_H
#define PC_NACK_H

#include <stdbool.h>
#include <stdint.h>

#define PC_NACK_KEPT     2048       /* numbers that are remembered; power of two */
#define PC_NACK_MISSING  1000       /* when more are missing, none of them is asked for */
#define PC_NACK_REQUESTS 10         /* for one number */
#define PC_NACK_AGE_NS   1000000000 /* and no longer: senders keep packets for about so long */

enum pc_nack_origin { PC_ORIGIN_ITSELF, PC_ORIGIN_RTX, PC_ORIGIN_FEC };

enum pc_nack_arrival {
    PC_ARRIVAL_FIRST,      /* nothing of this number was here before */
    PC_ARRIVAL_REPEATED,   /* a copy of what was here */
    PC_ARRIVAL_SUPERFLUOUS /* comes by itself after it was repaired */
};

struct pc_nack_entry {
    int64_t sequence;
    enum { PC_NACK_NONE, PC_NACK_WANTED, PC_NACK_GIVEN_UP, PC_NACK_CAME, PC_NACK_REPAIRED } state;
    uint8_t requests, answers;
    uint64_t missing_ns, asked_ns, first_asked_ns;
};

struct pc_nack {
    bool started;
    int64_t highest; /* that came, or was heard of */
    int wanted;
    int64_t lowest;  /* of those that are wanted */
    bool gave_up;    /* a number that was wanted is not any more; the user takes it back */
    uint64_t due_ns; /* not later than the first request that is due */

    uint64_t rtt_ns, rtt_deviation_ns; /* 0 = unknown */

    /* reordering: of the last gaps, how many closed by themselves, and after what time */
    uint32_t overtaken, lost;
    uint64_t late_ns, late_deviation_ns;

    struct pc_nack_entry entries[PC_NACK_KEPT];
};

void pc_nack_init(struct pc_nack *nack);

/* A packet came; `sequence` is extended and not PC_NACK_KEPT or more from the highest one. What it
 * leaves out is missing from now on. */
enum pc_nack_arrival pc_nack_arrived(struct pc_nack *nack, int64_t sequence,
                                     enum pc_nack_origin origin, uint64_t now_ns);

/* This number was sent, as something tells that came after it: FEC that protects it. What has not
 * come up to there is missing from now on. Nothing happens before the first arrival. */
void pc_nack_announced(struct pc_nack *nack, int64_t sequence, uint64_t now_ns);

/* Nothing before `sequence` is of use any more. */
void pc_nack_forget_before(struct pc_nack *nack, int64_t sequence);

/* Since when the oldest wanted number is missing; UINT64_MAX: none is. */
uint64_t pc_nack_missing_since(const struct pc_nack *nack);

/* When something is to be asked for; UINT64_MAX: nothing is. May be too early. */
uint64_t pc_nack_due(const struct pc_nack *nack);

/* Take the numbers to ask for now, ascending, at most `max`: they count as asked for. */
int pc_nack_take(struct pc_nack *nack, uint16_t *sequences, int max, uint64_t now_ns);

#endif
