/* How fast may a peer be sent to? One interface, two controllers. Pure: time is an argument; no
 * clock, no thread, no I/O.
 *
 *   PC_CONTROLLER_TRAIN   ours (congestion_train.c): each frame's burst is the probe
 *   PC_CONTROLLER_GCC     draft-ietf-rmcat-gcc-02 (congestion_gcc.c): baseline and fallback
 *
 * Whatever is fed in, target and pacing rate stay within the bounds of the settings. */
#ifndef PC_CONGESTION_H
#define PC_CONGESTION_H

#include "core.h"
#include "send_log.h"

struct pc_congestion_settings {
    enum pc_controller controller;
    double min_bps, start_bps, max_bps; /* 0 < min <= start <= max */
    int fps;                            /* bursts a second, at most */
    bool by_reports; /* there will be no transport-wide feedback: REMB and report loss decide */
};

struct pc_congestion_output {
    enum pc_congestion_state state;
    double target_bps;   /* everything together: media, FEC, retransmissions, RTP and UDP headers */
    double pacing_bps;   /* how fast a burst may leave; >= target */
    double probe_bps;    /* padding is wanted up to this rate; 0 = none */
    double received_bps; /* what arrived lately */
    uint64_t queue_ns;   /* estimated queueing delay on the way there, now */
    uint64_t rtt_ns;     /* smoothed; 0 = unknown */
    uint64_t hold_ns; /* the queue drains for so long: a frame taken now would be late; 0 = none */
    double loss;      /* 0..1, over the last second or so */
};

struct pc_congestion;

struct pc_congestion *pc_congestion_create(const struct pc_congestion_settings *settings,
                                           uint64_t now_ns); /* NULL when out of memory */
void pc_congestion_destroy(struct pc_congestion *congestion);

/* New bounds and frame rate; the estimate is kept within them. */
void pc_congestion_set_bounds(struct pc_congestion *congestion, double min_bps, double max_bps,
                              int fps);

/* The path is another one (ICE restart, Wi-Fi to mobile): what was learnt is void, except that the
 * old rate is a hint for the start. */
void pc_congestion_path_changed(struct pc_congestion *congestion, uint64_t now_ns);

/* A packet was sent. */
void pc_congestion_sent(struct pc_congestion *congestion, const struct pc_sent_packet *packet);

/* What feedback told, in order of sending. */
void pc_congestion_feedback(struct pc_congestion *congestion,
                            const struct pc_packet_report *reports, int count, uint64_t now_ns);

/* The round trip that RTCP measured. */
void pc_congestion_rtt(struct pc_congestion *congestion, uint64_t rtt_ns, uint64_t now_ns);

/* Without transport-wide feedback a receiver's REMB or report loss are all there is to go by. */
void pc_congestion_remb(struct pc_congestion *congestion, double bps, uint64_t now_ns);
void pc_congestion_report_loss(struct pc_congestion *congestion, double loss, uint64_t now_ns);

/* Let time pass (at least every 25 ms while something is sent), and read what is to be done. */
struct pc_congestion_output pc_congestion_update(struct pc_congestion *congestion, uint64_t now_ns);

#endif
