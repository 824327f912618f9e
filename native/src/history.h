/* What one peer has sent, for retransmission: references to the shared access units, no copies. */
#ifndef PC_HISTORY_H
#define PC_HISTORY_H

#include "access_unit.h"

#define PC_HISTORY_UNITS 128 /* access units kept per peer: 2 s at 60 fps */

struct pc_history_entry {
    struct pc_access_unit *au;
    uint64_t first_index; /* 48-bit packet index (rollover << 16 | sequence) of payload 0 */
    uint32_t count;       /* payloads sent */
    uint64_t sent_ns;
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
void pc_history_add(struct pc_history *history, struct pc_access_unit *au, uint32_t payload_index,
                    uint64_t index, uint64_t now_ns, uint64_t max_age_ns);

/* Let go of units whose last payload was sent more than `max_age_ns` ago, so that a peer to which
 * nothing is sent any more holds no memory. */
void pc_history_expire(struct pc_history *history, uint64_t now_ns, uint64_t max_age_ns);

/* Find the packet with this 16-bit sequence number; the newest one when the number has wrapped.
 * Returns the unit (no reference taken) and sets the payload's index and when the unit was last
 * sent of, or NULL when it is not kept. */
struct pc_access_unit *pc_history_find(struct pc_history *history, uint16_t sequence,
                                       uint32_t *payload_index, uint64_t *sent_ns);

/* The newest packet: its unit (no reference taken), or NULL when there is none. */
struct pc_access_unit *pc_history_newest(const struct pc_history *history, uint32_t *payload_index,
                                         uint16_t *sequence);

#endif
