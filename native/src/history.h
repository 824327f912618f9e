/* What one peer has sent, for retransmission: references to the shared access units, no copies. */
#ifndef PC_HISTORY_H
#define PC_HISTORY_H

#include "access_unit.h"

#define PC_HISTORY_UNITS 128 /* access units kept per peer: 2 s at 60 fps */

/* How a unit went out: what a retransmission has to repeat. */
struct pc_history_label {
    uint32_t timestamp;              /* RTP */
    uint32_t frame;                  /* the sender's count of units */
    uint16_t number, reference_diff; /* of the dependency descriptor */
};

struct pc_history_entry {
    struct pc_access_unit *au;
    struct pc_history_label label;
    uint64_t first_index; /* 48-bit packet index (rollover << 16 | sequence) of payload 0 */
    uint32_t count;       /* payloads sent */
    uint64_t sent_ns;     /* when the last of them was */
};

struct pc_history {
    struct pc_history_entry entries[PC_HISTORY_UNITS];
    uint32_t head, length; /* oldest, how many */
};

void pc_history_init(struct pc_history *history);
void pc_history_clear(struct pc_history *history); /* drops every reference */

/* Payload `payload_index` of `au` went out as packet `index` at `now_ns`. Units arrive in order,
 * and payloads of a unit with consecutive indices. Takes a reference at a unit's first payload; the
 * oldest unit is let go when the ring is full or it is older than `max_age_ns`. */
void pc_history_add(struct pc_history *history, struct pc_access_unit *au,
                    const struct pc_history_label *label, uint32_t payload_index, uint64_t index,
                    uint64_t now_ns, uint64_t max_age_ns);

/* Let go of units whose last payload was sent more than `max_age_ns` ago, so that a peer to which
 * nothing is sent any more holds no memory. */
void pc_history_expire(struct pc_history *history, uint64_t now_ns, uint64_t max_age_ns);

/* Find the packet with this 16-bit sequence number; the newest one when the number has wrapped.
 * Returns its unit's entry, valid until the history changes, and sets the payload's index; NULL
 * when it is not kept. */
const struct pc_history_entry *pc_history_find(const struct pc_history *history, uint16_t sequence,
                                               uint32_t *payload_index);

/* The entry of the newest packet, NULL when there is none. */
const struct pc_history_entry *pc_history_newest(const struct pc_history *history);

#endif
