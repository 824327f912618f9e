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
    uint64_t rtt_ns;      /* 0 = unknown, or nothing can be sent again */
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

/* Repair packets for a block of `packets` media packets: 0 when nothing is lost or retransmission
 * alone will do; else at least 1, as long as FEC stays within its share of what is sent. `idr`: to
 * lose it costs more. */
int pc_loss_control_repairs(const struct pc_loss_control *control, int packets, bool idr,
                            uint64_t now_ns);

struct pc_resend {
    int copies;          /* 0 = it is not worth it: the receiver has given up */
    uint64_t spacing_ns; /* from one copy to the next, the first goes at once: so that one burst
                          * does not take both */
};

/* A packet that was first sent at `sent_ns` is asked for at `now_ns`. `again`: not for the first
 * time. */
struct pc_resend pc_loss_control_resend(const struct pc_loss_control *control, uint64_t sent_ns,
                                        uint64_t now_ns, bool again);

/* The share of the sending rate that FEC and retransmissions take at present, 0..1: the encoder
 * gets the rest. */
double pc_loss_control_share(const struct pc_loss_control *control);

#endif
