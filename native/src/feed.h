/* Where one encode of a stream meets its receivers: access units go from the media thread to the
 * I/O thread, wishes (an IDR, a reference that is held, "drained") come back. Nobody waits for
 * anybody here. */
#ifndef PC_FEED_H
#define PC_FEED_H

#include <pthread.h>
#include <stdatomic.h>

#include "access_unit.h"

#define PC_FEED_DEPTH 8 /* access units on their way to the I/O thread */

/* With more receivers than this, to give all of them a part of a frame takes longer than to encode
 * the rest of it: a frame goes out whole, in few and large system calls. */
#define PC_FEED_FEW 32

struct pc_feed {
    enum pc_codec codec;
    uint32_t stream_id;
    uint64_t epoch_ns;       /* capture time that RTP time 0 stands for */
    int stream_wake_fd;      /* eventfd of the media thread */
    atomic_int ceiling;      /* bits per second that the encoder may have at most */
    atomic_int bitrate, fps; /* what it is set to */
    atomic_int step;         /* how much smaller the picture is (ladder.h) */
    atomic_int receivers;    /* peers and taps: nobody = no encoding */
    atomic_bool idr_wanted;
    atomic_bool has_losses; /* first_lost and last_lost say something */
    atomic_bool announced;  /* something was published that the I/O thread has not looked at */
    atomic_bool blocked;    /* the media thread waits for `drained` */
    _Atomic uint64_t
        drained;          /* id + 1 of the newest access unit that some receiver has sent whole */
    pthread_mutex_t lock; /* of the rest */
    uint64_t first_lost, last_lost;
    struct pc_access_unit *incoming[PC_FEED_DEPTH];
    unsigned head, length;
};

void pc_feed_init(struct pc_feed *feed, enum pc_codec codec, uint32_t stream_id, uint64_t epoch_ns,
                  int stream_wake_fd);
void pc_feed_free(struct pc_feed *feed); /* drops what is on its way */

/* The bitrate that the encoder has, and may have at most. */
static inline void pc_feed_set_rate(struct pc_feed *feed, int bitrate, int fps)
{
    atomic_store(&feed->ceiling, bitrate);
    atomic_store(&feed->bitrate, bitrate);
    atomic_store(&feed->fps, fps);
}

/* Media thread: hand over a unit whose first payloads are published; a reference is taken. False
 * when PC_FEED_DEPTH units already wait (the I/O thread is stuck): the unit is not handed over. */
bool pc_feed_push(struct pc_feed *feed, struct pc_access_unit *au);

/* I/O thread: the oldest waiting unit (the caller owns the reference), or NULL. */
struct pc_access_unit *pc_feed_pop(struct pc_feed *feed);

/* Media thread: something was published. True when the I/O thread must be woken: it has looked at
 * what was announced before. */
bool pc_feed_announce(struct pc_feed *feed);

/* I/O thread: was something published since the last call? */
bool pc_feed_has_news(struct pc_feed *feed);

/* Any thread: somebody joins or leaves; wakes the media thread. */
void pc_feed_add_receiver(struct pc_feed *feed);
void pc_feed_remove_receiver(struct pc_feed *feed);

/* Any thread: more than PC_FEED_FEW receivers? */
static inline bool pc_feed_has_many(struct pc_feed *feed)
{
    return atomic_load(&feed->receivers) > PC_FEED_FEW;
}

/* Any thread: the next frame should be an IDR (the stream bounds how often). */
void pc_feed_request_idr(struct pc_feed *feed);

/* Any thread: some receiver does not hold the frames `first` to `last`, nor what refers to them:
 * the next frame should refer to an older one. Repeating it until that frame is seen costs nothing.
 */
void pc_feed_report_losses(struct pc_feed *feed, uint64_t first, uint64_t last);

/* Media thread: were losses reported since the last call? All of them together are these frames. */
bool pc_feed_take_losses(struct pc_feed *feed, uint64_t *first, uint64_t *last);

/* I/O thread: unit `frame_id` has left this machine, for the quickest receiver at least. */
void pc_feed_drain(struct pc_feed *feed, uint64_t frame_id);

#endif
