/* The hub: every UDP socket of the process and the one thread that reads and writes them.
 *
 *   Python ── pc_hub_call() ──▶ ┌────────────┐ ◀── feeds: access units ── media threads
 *   (control, blocks shortly)   │ I/O thread │ ──▶ feeds: IDR wanted, drained
 *   Python ◀── event ring ───── └─────┬──────┘
 *                                     │ sockets: SRTP, SRTCP here; STUN, DTLS, TURN to the ring
 *
 * Peers belong to the I/O thread alone: whoever wants something of them runs a function on it by
 * pc_hub_call(). So there is no lock on the media path. */
#ifndef PC_HUB_H
#define PC_HUB_H

#include <stdatomic.h>

#include "event_ring.h"
#include "peer_table.h"
#include "rungs.h"

#define PC_HUB_SOCKETS 16
#define PC_HUB_FEEDS   64

struct pc_hub_call;

struct pc_hub {
    struct pc_udp sockets[PC_HUB_SOCKETS];
    int socket_count;
    int epoll_fd, wake_fd, timer_fd;
    pthread_t thread;
    bool realtime;
    struct pc_event_ring events;

    pthread_mutex_t call_lock;
    pthread_cond_t call_done;
    struct pc_hub_call *calls; /* waiting to run, oldest first */
    bool stopping;
    atomic_bool reception_news; /* a reception has a wish */

    /* I/O thread only */
    struct pc_peer_table peers;
    struct pc_feed *feeds[PC_HUB_FEEDS];
    int feed_count;
    struct pc_rungs *rungs[PC_HUB_FEEDS];
    int rungs_count;
    struct pc_ladder_viewer **viewers; /* room for allotting */
    unsigned viewer_room;
    struct pc_hub_stats stats;
    uint64_t ntp_offset_ns; /* NTP time in ns less CLOCK_MONOTONIC, fixed at opening */
    unsigned next_peer;     /* the position in `peers` where serving goes on */
    uint64_t timer_ns;      /* what timer_fd is set to */
    uint64_t next_allot_ns; /* when the encoders' rates are next looked at */
    struct pc_udp_inbox inbox;
    uint8_t scratch[PC_SENDER_SCRATCH];
};

/* Run `run` on the I/O thread and return what it returns; an error text set there is set here too.
 * -ESHUTDOWN when the hub is being closed. Must not be called from the I/O thread. */
int pc_hub_call(struct pc_hub *hub, int (*run)(struct pc_hub *hub, void *context), void *context);

/* Any thread: a feed has something new. */
void pc_hub_wake(struct pc_hub *hub);

/* Any thread: a reception wants its turn. */
void pc_hub_wake_receptions(struct pc_hub *hub);

void pc_hub_emit(struct pc_hub *hub, const struct pc_event *event);

/* Watch a feed. 0, or -ENOSPC. After detaching (which also stops its peers) the hub holds nothing
 * of it any more. */
int pc_hub_attach_feed(struct pc_hub *hub, struct pc_feed *feed);
void pc_hub_detach_feed(struct pc_hub *hub, struct pc_feed *feed);

/* I/O thread: say BYE where media ran, and forget the peer. */
void pc_hub_remove_peer(struct pc_hub *hub, struct pc_peer *peer);

/* Watch the feeds of these rungs, and allot them to viewers, likewise. */
int pc_hub_attach_rungs(struct pc_hub *hub, struct pc_rungs *rungs);
void pc_hub_detach_rungs(struct pc_hub *hub, struct pc_rungs *rungs);

/* I/O thread: the wall clock of a monotonic time, as NTP 32.32. */
uint64_t pc_hub_ntp(const struct pc_hub *hub, uint64_t now_ns);

#endif
