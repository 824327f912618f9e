/* Our congestion controller: each frame's burst is the probe. Pure: time is an argument.
 * docs/congestion.md tells the states and the reasons. */
#ifndef PC_CONGESTION_TRAIN_H
#define PC_CONGESTION_TRAIN_H

#include "congestion.h"
#include "path_meter.h"
#include "train.h"

#define PC_TRAIN_FRAMES 256 /* power of two: frames whose bytes are remembered */

struct pc_train_controller {
    struct pc_train_meter trains;
    enum pc_congestion_state state;
    uint64_t state_since_ns;
    double target_bps;
    double capacity_bps;                  /* at which trains come through, of late; 0 = unknown */
    double link_bps;                      /* the most of that for some seconds */
    double share_bps;                     /* what came through when the queue began to grow */
    double resume_bps;                    /* the target before the silence */
    uint64_t heard_ns;                    /* the last feedback; 0 = none */
    uint64_t base_clock_ns;               /* by which the base delay ages */
    uint64_t congested_ns;                /* when a queue was last met; 0 = never */
    uint64_t cut_ns;                      /* the last cut of the target */
    uint64_t drain_by_ns;                 /* when the queue should be empty, if it is ours */
    uint64_t clear_since_ns;              /* competing: no queue; 0 = there is one */
    uint64_t limited_since_ns, probed_ns; /* by the encoder; 0 = it is not, never */

    uint64_t fresh_from; /* trains before this one tell of another capacity */
    double excess;       /* what is sent over the target, >= 1 */
    double proven_bps;   /* the most that was received for some seconds */
    double best_bps;     /* the most of that for some minutes */
    int full_trains;     /* feedbacks in a row that showed the capacity, while starting */

    bool held;             /* frames were, while the queue drained */
    bool alone;            /* on the bottleneck, when the queue was last met */
    int cuts;              /* in this drain */
    int64_t queue_us;      /* that the last trains met, all of them */
    double usual_queue_us; /* while competing */

    /* What a packet sent now would wait: the newest packet heard of, and the bytes after it. */
    uint64_t sent_bytes;
    struct {
        uint32_t frame;
        uint64_t end_bytes; /* `sent_bytes` after it */
    } frames[PC_TRAIN_FRAMES];
    uint64_t heard_sent_ns;
    int64_t heard_queue_us;
    uint32_t heard_frame;
};

void pc_train_controller_init(struct pc_train_controller *controller, double start_bps);
void pc_train_controller_path_changed(struct pc_train_controller *controller, double hint_bps);
void pc_train_controller_sent(struct pc_train_controller *controller,
                              const struct pc_sent_packet *packet);
void pc_train_controller_feedback(struct pc_train_controller *controller,
                                  const struct pc_congestion_settings *settings,
                                  const struct pc_path_meter *path,
                                  const struct pc_packet_report *reports, int count,
                                  uint64_t now_ns);

/* Fills state, target, pacing, probe, queue and hold. */
void pc_train_controller_update(struct pc_train_controller *controller,
                                const struct pc_congestion_settings *settings,
                                const struct pc_path_meter *path, uint64_t now_ns,
                                struct pc_congestion_output *out);

#endif
