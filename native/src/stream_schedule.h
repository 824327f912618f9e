/* When is a stream's next frame taken, and for which of its encodes? Pure: time is an argument.
 *
 *   pc_schedule_due()     when, if the network has taken the last frame? (sleep until then)
 *   pc_schedule_start()   due: now, or does the network have to take the last one first?
 *
 * 1. Nobody receives: never.
 * 2. The picture changed: at the frame-rate cap's next slot. A slot may come half an interval
 *    early, so that the jitter of the source's own rhythm costs no frames; the mean stays within
 *    1/32 of the cap. Where a picture is drawn in several steps, what was taken after the first
 *    step would wait a whole interval for the rest: how long drawing takes is learnt, and waited
 *    for (`settle_ns`; nothing for sources that draw in one step).
 * 3. Nothing changed: at the keep-alive rate.
 * 4. A receiver needs an IDR: at the next slot, within the IDR spacing.
 * 5. An encode that wants fewer frames than the cap is left out in between.
 * 6. An encode whose last frame has not left this machine is left out, and catches up when it has;
 *    the others do not wait for it. */
#ifndef PC_STREAM_SCHEDULE_H
#define PC_STREAM_SCHEDULE_H

#include "access_unit.h"
#include "ladder.h"

/* The encodes of a stream: the rungs of H.264, then VP8. */
#define PC_STREAM_ENCODES (PC_LADDER_RUNGS + 1)

/* A path that is stuck for longer is given frames again: its queue drops them then, and goes on at
 * an IDR. */
#define PC_SCHEDULE_PATIENCE_NS (200 * 1000000)

#define PC_SETTLE_STEP_NS 250000  /* the wait grows by this after a frame taken too early */
#define PC_SETTLE_MAX_NS  3000000 /* … to this, or a quarter of the interval */
#define PC_SETTLE_CALM    600     /* frames until less is tried */
#define PC_SETTLE_FUTILE  60      /* frames too early all the same: waiting is in vain */
#define PC_SETTLE_PAUSE   3600    /* frames until it is tried again */

/* What is known of one encode. */
struct pc_schedule_encode {
    bool receiving;       /* somebody receives it */
    bool behind;          /* a picture was taken that it did not get */
    bool idr_wanted;      /* … by a receiver */
    bool drained;         /* its last frame has left; only pc_schedule_start() asks */
    uint64_t last_idr_ns; /* 0 = none yet */
    int fps;              /* it wants fewer frames than the cap; 0 = all of them */
};

struct pc_schedule_news {
    bool by_damage;      /* the source tells of changes; otherwise every slot has a new picture */
    bool changed;        /* … and told of one since the last frame, … */
    uint64_t changed_ns; /* … at this time */
    struct pc_schedule_encode encodes[PC_STREAM_ENCODES];
};

struct pc_schedule {
    uint64_t interval_ns, keepalive_ns, idr_spacing_ns;
    uint64_t
        next_slot_ns; /* the cap: no frame before; 0 = there was none yet, or nobody received */
    uint64_t last_frame_ns; /* 0 = none yet */
    uint64_t settle_ns;     /* from the first change to when drawing is over, as learnt */
    int settle_frames;      /* since it was last changed; below 0: it is not learnt */
    int early_frames;       /* taken too early, one after the other, in spite of the longest wait */
    uint64_t waiting_since_ns;            /* all that is due waits for the network; 0 = no */
    uint64_t taken_ns[PC_STREAM_ENCODES]; /* the last frame that this encode got */
    uint64_t blocked_since_ns[PC_STREAM_ENCODES]; /* this encode has been left out; 0 = it is not */
    bool taking[PC_STREAM_ENCODES]; /* set by pc_schedule_start(): who gets the frame */
    uint64_t skipped;               /* slots that passed while the network took the last frame */
    uint64_t late; /* slots that passed for other reasons; sources without damage only */
};

/* `keepalive_fps` <= `fps`, both > 0; `idr_spacing_ns`: between IDRs that receivers wish for. */
void pc_schedule_init(struct pc_schedule *schedule, int fps, int keepalive_fps,
                      uint64_t idr_spacing_ns);

/* Change the cap; takes effect from the last frame on. */
void pc_schedule_set_fps(struct pc_schedule *schedule, int fps);

/* When a frame is due if the network has taken the last one; UINT64_MAX = for nobody. */
uint64_t pc_schedule_due(struct pc_schedule *schedule, const struct pc_schedule_news *news,
                         uint64_t now_ns);

/* A frame is due. `now_ns`: take it now, for the encodes in `taking`. Later: nobody who needs one
 * is drained; ask again then, or as soon as one is. */
uint64_t pc_schedule_start(struct pc_schedule *schedule, const struct pc_schedule_news *news,
                           uint64_t now_ns);

/* The frame that pc_schedule_start() let through is done at `now_ns`. `changed`: the source has
 * told of a change since it was taken. */
void pc_schedule_finish(struct pc_schedule *schedule, bool changed, uint64_t now_ns);

/* May a wished-for IDR be sent in a frame of `now_ns`? */
bool pc_schedule_idr_allowed(const struct pc_schedule *schedule, uint64_t last_idr_ns,
                             uint64_t now_ns);

#endif
