/* How is loss met: how much FEC, and is a retransmission worth it? Pure: time is an argument.
 *
 * Learns the loss rate and the length of bursts from transport-wide feedback, and weighs them
 * against the round trip and the delay that a frame may have. FEC is spent where a retransmission
 * cannot arrive in time, and for the packets of a retransmission that must not be lost again. */
#ifndef PC_LOSS_CONTROL_H
#define PC_LOSS_CONTROL_H

#include "send_log.h"

/* Decaying counts. */
struct pc_loss_window {
    double packets, lost, runs; /* runs: of lost packets, however long */
};

struct pc_loss_control {
    double loss;          /* quick to rise, slow to fall; 0..1 */
    double burst;         /* mean length of a run of lost packets, >= 1 */
    uint64_t rtt_ns;      /* 0 = unknown */
    uint64_t deadline_ns; /* a frame may be so late after it was sent */
    uint64_t updated_ns;
    bool losing; /* the packet sent last of those reported was lost */
    struct pc_loss_window quick, slow;
    double fec_bytes, rtx_bytes, media_bytes; /* over the last seconds, decaying */
};

void pc_loss_control_init(struct pc_loss_control *control, uint64_t now_ns);
void pc_loss_control_set_path(struct pc_loss_control *control, uint64_t rtt_ns,
                              uint64_t deadline_ns);
void pc_loss_control_sent(struct pc_loss_control *control, const struct pc_sent_packet *packet);
void pc_loss_control_feedback(struct pc_loss_control *control,
                              const struct pc_packet_report *reports, int count, uint64_t now_ns);

/* Repair packets for a block of `packets` media packets: 0 when retransmission will do or nothing
 * is lost; else at least 1, 2 where bursts are seen, never so many that the overhead passes its
 * bound for long. `idr`: to lose it costs more. */
int pc_loss_control_repairs(const struct pc_loss_control *control, int packets, bool idr,
                            uint64_t now_ns);

/* A packet sent at `sent_ns` is asked for again at `now_ns`: can it still arrive in time? */
bool pc_loss_control_worth_resending(const struct pc_loss_control *control, uint64_t sent_ns,
                                     uint64_t now_ns);

/* The share of the sending rate that FEC and retransmissions take at present, 0..1: the encoder
 * gets the rest. */
double pc_loss_control_share(const struct pc_loss_control *control);

#endif
