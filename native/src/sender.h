/* The sending side of one peer: shared access units into protected packets of its own, feedback
 * into a rate, retransmissions and wishes to the encoder. Lives on the I/O thread; time is an
 * argument.
 *
 * sender_media.c takes the settings; sender.c queues, paces and sends; sender_repair.c adds FEC,
 * sends again and probes; sender_feedback.c reads and writes RTCP; sender_packet.c writes one
 * packet.
 *
 * One access unit costs a peer the RTP headers, one AEAD pass from the shared payload into the send
 * buffer, and its share of a GSO call. Units wait in a short queue; a path that falls behind drops
 * what waits and goes on at the next frame that refers to nothing of it, so that nothing late is
 * ever sent. */
#ifndef PC_SENDER_H
#define PC_SENDER_H

#include "feed.h"
#include "flexfec.h"
#include "history.h"
#include "ladder.h"
#include "pacer.h"
#include "rate_loop.h"
#include "reference_loss.h"
#include "rtcp.h"
#include "rtp.h"
#include "transport.h"

#define PC_SENDER_STREAMS  3                /* media, RTX, FEC: each an SSRC of its own */
#define PC_SENDER_QUEUE    8                /* access units waiting or partly sent */
#define PC_SENDER_QUEUE_NS (150 * 1000000)  /* … and how old the oldest may get */
#define PC_RTX_MEMORY      256              /* sequence numbers whose last resend is remembered */
#define PC_RTX_ASKED       256              /* packets that one RTCP packet may ask for */
#define PC_RTX_COPIES      64               /* further copies that may wait */
#define PC_RTX_SPACING_NS  (5 * 1000000)    /* the same packet is not sent again sooner */
#define PC_HISTORY_AGE_NS  (1000 * 1000000) /* older packets cannot arrive in time */

/* Room for one batch: the last packet may begin just under PC_UDP_MAX_BATCH less its size. */
#define PC_SENDER_SCRATCH (PC_UDP_MAX_BATCH + 2048)

struct pc_rtx_memory {
    uint16_t sequence;
    uint64_t sent_ns; /* 0 = never */
};

struct pc_sender {
    struct pc_transport *transport; /* the peer's */

    /* media; feed is NULL while nothing is sent */
    struct pc_feed *feed;
    struct pc_ladder_viewer on_ladder;
    bool quiet; /* it is not heard, and others watch: it wishes nothing of the encoder */
    struct pc_feed *next_feed; /* … goes on with this one's next IDR; NULL = it stays */
    struct pc_media_settings media;
    struct pc_rtp_extensions extensions;
    bool started; /* media was sent with these keys, once at least */
    struct {
        bool used;
        uint32_t ssrc;
    } streams[PC_SENDER_STREAMS]; /* what was started with these keys: media, RTX, FEC */
    bool mid_wanted;              /* until the receiver has reported once */
    uint64_t next_index; /* RTP packet index (rollover << 16 | sequence) of the next new packet */
    uint64_t next_rtx_index, next_fec_index;
    uint32_t rtp_zero;         /* RTP time of CLOCK_MONOTONIC's zero, random */
    uint32_t rtp_offset;       /* … of the feed's zero */
    uint32_t newest_timestamp; /* RTP, of what was queued since the start; … */
    bool any_timestamp;        /* … if something was */
    uint64_t payload_bytes;

    /* queue */
    struct {
        struct pc_access_unit *au;
        struct pc_feed *feed;            /* that waits for it; NULL: it was left meanwhile */
        uint32_t timestamp;              /* RTP */
        uint16_t number, reference_diff; /* of the dependency descriptor */
        uint64_t queued_ns;
    } queue[PC_SENDER_QUEUE];
    unsigned head, length;
    uint32_t next_payload; /* of the unit at the head */
    bool waiting_for_idr;
    uint32_t frame;     /* counts the units begun */
    uint64_t undrained; /* id + 1 of the unit that left, while the network drains; 0 = none */
    struct pc_pacer pacer;
    double paced_bps; /* what the pacer is set for */
    int paced_bitrate, paced_fps;
    struct pc_rate_loop rate;
    struct pc_flexfec_block *fec; /* NULL: no FEC was negotiated */

    /* feedback */
    struct pc_history history;
    struct pc_reference_loss losses;
    struct pc_pacer rtx_budget;
    double probe_credit; /* bytes of padding that are due */
    uint64_t probed_ns;  /* … as of then */
    struct pc_rtx_memory rtx_memory[PC_RTX_MEMORY];
    struct {
        uint16_t sequence;
        uint64_t due_ns;
    } copies[PC_RTX_COPIES]; /* retransmissions that are sent once more */
    int copy_count;
    uint16_t asked[PC_RTX_ASKED]; /* sequence numbers, by the RTCP being handled */
    int asked_count;
    uint64_t next_report_ns; /* when the next sender report is due */
    uint8_t fir_sequence;
    bool fir_seen;
    uint64_t now_ns, ntp_now; /* of the RTCP being handled */
    uint8_t *scratch;         /* during RTCP handling: PC_SENDER_SCRATCH bytes */
    bool bye_heard;
    bool said_bye, reported; /* edges for the hub to turn into events, which it clears */

    struct pc_peer_stats stats;
};

/* `transport` outlives the sender. */
void pc_sender_init(struct pc_sender *sender, struct pc_transport *transport);

/* The feed is left (pc_sender_stop()) before. */
void pc_sender_free(struct pc_sender *sender);

/* The transport has a path where there was none: begin with an IDR. */
void pc_sender_find_path(struct pc_sender *sender);

/* The path is another one: what was learnt of the old one is void, and what was sent there lost. */
void pc_sender_change_path(struct pc_sender *sender, uint64_t now_ns);

/* The path belongs to another peer now: nothing is sent or kept until there is a new one. */
void pc_sender_lose_path(struct pc_sender *sender);

/* Start on a feed; `random` seeds sequence numbers and the timestamp offset (RFC 3550 5.1), which
 * go on when a peer is stopped and started again. -EINVAL with pc_error_text() when path or keys
 * are missing or the settings make no sense. */
int pc_sender_start(struct pc_sender *sender, struct pc_feed *feed,
                    const struct pc_media_settings *media, const uint8_t random[16],
                    uint64_t now_ns);
void pc_sender_stop(struct pc_sender *sender);

/* Nothing is heard from the peer, and others watch the same stream: until that ends it wishes for
 * no IDR and no other reference, which would cost the others. At its end it does at once. */
void pc_sender_be_quiet(struct pc_sender *sender, bool quiet);

/* Go on with another encode of the same stream and codec, from its next IDR on; until then with the
 * present one. Called again: with that one instead. */
void pc_sender_move(struct pc_sender *sender, struct pc_feed *feed);

/* A new access unit of a feed: takes a reference and queues it (true), or passes it over because it
 * is of another feed, or refers to what the receiver does not hold (false). */
bool pc_sender_offer(struct pc_sender *sender, struct pc_feed *feed, struct pc_access_unit *au,
                     uint64_t now_ns);

/* Send what is published, as far as pacer and kernel allow. Returns when to call again (UINT64_MAX:
 * when something new is published). What was sent is counted in `hub`. */
uint64_t pc_sender_pump(struct pc_sender *sender, uint8_t *scratch, uint64_t now_ns,
                        struct pc_hub_stats *hub);

/* An RTCP packet from the peer, unprotected. `ntp_now`: the wall clock of `now_ns` as 32.32 seconds
 * since 1900, on the same clock as pc_sender_tick()'s. */
void pc_sender_receive_rtcp(struct pc_sender *sender, const uint8_t *data, size_t size,
                            uint8_t *scratch, uint64_t now_ns, uint64_t ntp_now,
                            struct pc_hub_stats *hub);

/* Sender reports when due, and letting go of old history. Returns when the next one is due. */
uint64_t pc_sender_tick(struct pc_sender *sender, uint8_t *scratch, uint64_t now_ns,
                        uint64_t ntp_now, struct pc_hub_stats *hub);

void pc_sender_get_stats(const struct pc_sender *sender, struct pc_peer_stats *out);

/* Say BYE (RFC 3550 6.6), if media ran. */
void pc_sender_bye(struct pc_sender *sender, uint8_t *scratch, uint64_t now_ns,
                   struct pc_hub_stats *hub);

#endif
