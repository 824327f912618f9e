/* What was sent under which transport-wide sequence number, until feedback tells what became of it
 * (draft-holmer-rmcat-transport-wide-cc-extensions-01). Pure: time is an argument.
 *
 * The log turns feedback packets into reports, one per packet sent, each packet reported as
 * received at most once and as lost at most once (a packet that was taken for lost may still
 * arrive). Numbers that were never sent, and arrivals that make no sense, are counted and left out.
 */
#ifndef PC_SEND_LOG_H
#define PC_SEND_LOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "rtcp.h"

#define PC_SEND_LOG_PACKETS 8192                /* at most: more than a second at 60 Mbit/s */
#define PC_SEND_LOG_NS      (2000 * 1000000ull) /* what was sent so lately is kept, within that */

enum pc_packet_kind { PC_PACKET_MEDIA, PC_PACKET_RTX, PC_PACKET_FEC, PC_PACKET_PADDING };

struct pc_sent_packet {
    uint64_t sent_ns;
    uint32_t bytes;    /* UDP payload */
    uint32_t frame;    /* counts the access units of this sender: packets of one burst share it */
    uint16_t sequence; /* RTP sequence number, of its own SSRC */
    enum pc_packet_kind kind;
};

struct pc_packet_report {
    struct pc_sent_packet packet;
    int64_t arrived_us; /* receiver's clock, unwrapped; only differences mean something */
    uint16_t transport_sequence;
    bool received;
    bool was_lost; /* received, after an earlier report had it lost */
};

struct pc_send_log;

struct pc_send_log *pc_send_log_create(void); /* NULL when out of memory */
void pc_send_log_destroy(struct pc_send_log *log);

/* Numbers are given in ascending order (modulo 65536). */
void pc_send_log_add(struct pc_send_log *log, uint16_t transport_sequence,
                     const struct pc_sent_packet *packet);

/* Bytes sent that no feedback has told of yet, over the last `horizon_ns`. */
uint64_t pc_send_log_in_flight(const struct pc_send_log *log, uint64_t now_ns, uint64_t horizon_ns);

/* As pc_rtcp_handler has them: begin, then a status for each number. */
void pc_send_log_feedback(struct pc_send_log *log,
                          const struct pc_rtcp_transport_feedback *feedback);
void pc_send_log_status(struct pc_send_log *log, uint16_t sequence, bool received,
                        int32_t delta_us);

/* The reports of the feedback since the last call, in order of sending. Valid until the next call
 * of any function here. Returns how many. */
int pc_send_log_take(struct pc_send_log *log, const struct pc_packet_report **reports);

struct pc_send_log_stats {
    uint64_t feedback_packets;
    uint64_t repeated; /* statuses that told nothing new */
    uint64_t unknown;  /* … of numbers that were never sent, or too long ago */
    uint64_t nonsense; /* … whose arrival was left out */
};
void pc_send_log_get_stats(const struct pc_send_log *log, struct pc_send_log_stats *out);

#endif
