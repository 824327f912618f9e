/* The one loop that decides how a peer is sent to: transport-wide feedback goes in; out come the
 * encoder's bitrate, the pacing rate, how much FEC a frame gets, whether a packet is worth sending
 * again, padding to probe with, and when the next frame may be taken. Pure: time is an argument. */
#ifndef PC_RATE_LOOP_H
#define PC_RATE_LOOP_H

#include "congestion.h"
#include "loss_control.h"

#define PC_RATE_LOOP_STEP_NS (25 * 1000000) /* time passes for the controller at least so often */

struct pc_rate_loop_settings {
    enum pc_controller controller;
    double min_bps, start_bps; /* of the encoder; 0 = chosen */
    double ceiling_bps;        /* of the encoder */
    int fps;
    bool feedback; /* transport-wide feedback was negotiated */
    bool resends;  /* RTX was */
};

struct pc_rate_loop {
    struct pc_rate_loop_settings settings;
    struct pc_send_log *log;          /* NULL: no packet is heard of by itself */
    struct pc_congestion *congestion; /* likewise */
    struct pc_loss_control loss;
    struct pc_congestion_output output; /* of the last update */
    double media_bps;                   /* what the encoder may produce */
    double payload_bytes, wire_bytes;   /* of media lately, decaying */
    uint64_t path_since_ns;             /* what was sent before tells of another path */
    uint64_t hold_until_ns;             /* the network drains: no new frame before */
    uint64_t next_ns;                   /* when the controller is to be updated */
};

/* 0, or -ENOMEM. */
int pc_rate_loop_init(struct pc_rate_loop *loop, const struct pc_rate_loop_settings *settings,
                      uint64_t now_ns);
void pc_rate_loop_free(struct pc_rate_loop *loop);

/* The stream's ceiling or frame rate changed. */
void pc_rate_loop_set_ceiling(struct pc_rate_loop *loop, double ceiling_bps, int fps);

/* Packets go another way from now on: what was learnt of the old one is void, also what is heard of
 * it only now. */
void pc_rate_loop_path_changed(struct pc_rate_loop *loop, uint64_t now_ns);

/* A packet was sent; `payload_bytes`: of it, what the encoder made. */
void pc_rate_loop_sent(struct pc_rate_loop *loop, uint16_t transport_sequence,
                       const struct pc_sent_packet *packet, size_t payload_bytes);

/* A feedback packet: begin, a status for each number, end. The reports are valid until the next
 * packet is sent. Returns how many. */
void pc_rate_loop_feedback(struct pc_rate_loop *loop,
                           const struct pc_rtcp_transport_feedback *feedback);
void pc_rate_loop_status(struct pc_rate_loop *loop, uint16_t sequence, bool received,
                         int32_t delta_us);
int pc_rate_loop_end(struct pc_rate_loop *loop, uint64_t now_ns,
                     const struct pc_packet_report **reports);

void pc_rate_loop_rtt(struct pc_rate_loop *loop, uint64_t rtt_ns, uint64_t now_ns);
void pc_rate_loop_remb(struct pc_rate_loop *loop, double bps, uint64_t now_ns);
void pc_rate_loop_report_loss(struct pc_rate_loop *loop, double loss, uint64_t now_ns);

/* Let time pass. Returns when to call again. */
uint64_t pc_rate_loop_update(struct pc_rate_loop *loop, uint64_t now_ns);

/* Is there a controller, or is everything sent at the encoder's rate? */
static inline bool pc_rate_loop_controls(const struct pc_rate_loop *loop)
{
    return loop->congestion != NULL;
}

#endif
