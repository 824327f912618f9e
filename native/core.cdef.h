/* Everything that Python may call. cffi reads this very file, and the C core includes it: there is
 * no second copy. No preprocessor lines in here.
 *
 * Return values: functions returning int give 0 or a positive result on success and a negative
 * errno on failure; pc_error_text() then says in words what is wrong, on the calling thread.
 * Times are nanoseconds of CLOCK_MONOTONIC unless the name says otherwise. Text is UTF-8.
 * Structs are copied; nobody keeps a caller's pointer after a call returns.
 *
 * Threads: every function may be called from any thread, but a handle must not be used while
 * another thread closes it. */

/* ---- General --------------------------------------------------------------------------------- */

/* What the last failing call on this thread had to say. Never NULL; valid until the next failure.
 */
const char *pc_error_text(void);

uint64_t pc_clock_ns(void);

/* Versions of the libraries that the core was built with, as "x264 164, libvpx 1.12.0, …". */
const char *pc_library_versions(void);

/* ---- Frame clock ----------------------------------------------------------------------------- */

enum pc_stage {
    PC_STAGE_DAMAGE, /* the change on the display became known; capture start if unknown */
    PC_STAGE_CAPTURE_START,
    PC_STAGE_CAPTURED,
    PC_STAGE_CONVERTED,
    PC_STAGE_FIRST_SLICE, /* the first slice left the encoder */
    PC_STAGE_ENCODED,
    PC_STAGE_FIRST_SENT, /* the first packet was handed to the kernel, for the first viewer */
    PC_STAGE_LAST_SENT,
    PC_STAGE_COUNT
};

struct pc_frame_times {
    uint64_t id;
    uint64_t at[8]; /* by enum pc_stage; 0 = not reached */
    uint32_t bytes; /* encoded */
};

struct pc_percentiles {
    uint32_t count;
    uint64_t p50, p95, p99, max; /* ns */
};

/* ---- Sources --------------------------------------------------------------------------------- */

struct pc_source;

struct pc_x11_settings {
    const char *display; /* e.g. ":0"; NULL = $DISPLAY */
    const char *monitor; /* RandR output or monitor name; NULL = no monitor chosen */
    uint32_t window;     /* X window id; 0 = the root window */
    int x, y;            /* region within the root; used when width and height are set */
    int width, height;   /* 0 = everything */
    bool cursor;         /* draw the pointer into the picture */
};

/* Open an X display for capture. -ENOTCONN: cannot connect; -EOPNOTSUPP: MIT-SHM or DAMAGE missing;
 * -EINVAL: no such monitor or window, or an empty region. On success the caller owns `*out`. */
int pc_source_open_x11(const struct pc_x11_settings *settings, struct pc_source **out);

struct pc_pattern_settings {
    int width, height; /* pixels, even, at least 320 x 180 */
    int motion;        /* 1: every pixel moves (game-like); 0: small changes (desktop-like) */
    uint32_t seed;
};

/* Open the generated test pattern, which carries its frame number and time in its pixels. */
int pc_source_open_pattern(const struct pc_pattern_settings *settings, struct pc_source **out);

int pc_source_size(struct pc_source *source, int *width, int *height);
void pc_source_close(struct pc_source *source);

/* Take one picture now (doctor, snapshots, benchmarks): BGRX rows of width * 4 bytes into `out`.
 * -ENOSPC when `capacity` is too small; -EBUSY never. Not for a source that a stream owns. */
int pc_source_snapshot(struct pc_source *source, uint8_t *out, size_t capacity, int *width,
                       int *height);

/* Read the pattern's code out of a picture's luma: 1 = found (`*frame` and `*time_us` are set;
 * time is CLOCK_MONOTONIC in microseconds, 48 bits), 0 = no valid code. `step` is the distance of
 * two luma samples in a row in bytes (1 for a Y plane, 4 for BGRX's green at +1). */
int pc_pattern_read(const uint8_t *luma, int width, int height, size_t stride, int step,
                    uint32_t *frame, uint64_t *time_us);

/* Paint the code into BGRX pixels (test painters). */
void pc_pattern_write(uint8_t *bgrx, int width, int height, size_t stride, uint32_t frame,
                      uint64_t time_us);

/* ---- Hub: sockets, peers, events ------------------------------------------------------------- */

struct pc_hub;
struct pc_stream;

struct pc_address {
    uint8_t family; /* 4 or 6; 0 = none */
    uint8_t ip[16]; /* network order; IPv4 uses the first four */
    uint16_t port;  /* host order */
    uint32_t scope; /* IPv6 scope id */
};

struct pc_hub_settings {
    const struct pc_address *bind; /* one UDP socket for each; all get the same port */
    int bind_count;                /* 1..16 */
    uint16_t port;                 /* 0 = any */
    bool gso;                      /* use UDP_SEGMENT where the kernel takes it */
    int dscp;                      /* 0..63; 0 = leave it */
    bool realtime; /* ask for a higher priority of the I/O thread, and of the media and encoder
                    * threads of its streams; not an error if refused */
};

/* Bind the sockets and start the I/O thread. -EADDRINUSE, -EADDRNOTAVAIL, -EACCES … as bind(2).
 * On success the caller owns `*out`. */
int pc_hub_open(const struct pc_hub_settings *settings, struct pc_hub **out);

/* Stop the I/O thread, say BYE for every peer, close the sockets. Streams must be closed before. */
void pc_hub_close(struct pc_hub *hub);

/* The address that socket `index` is bound to. -EINVAL past the last one. */
int pc_hub_local_address(struct pc_hub *hub, int index, struct pc_address *out);

enum pc_event_kind {
    PC_EVENT_NONE,
    PC_EVENT_DATAGRAM,       /* STUN, DTLS or TURN for Python, from `from` at socket `socket` */
    PC_EVENT_SOURCE_LOST,    /* the display went away; `id` = stream */
    PC_EVENT_SOURCE_RESIZED, /* `id` = stream; `a` x `b` pixels */
    PC_EVENT_STREAM_FAILED,  /* the encoder failed for good; `id` = stream; data = text */
    PC_EVENT_PEER_BYE,       /* the peer's RTCP said BYE; `id` = peer */
    PC_EVENT_FIRST_REPORT,   /* first receiver report of `id` = peer: media arrives there */
};

struct pc_event {
    enum pc_event_kind kind;
    uint32_t id;
    uint32_t a, b;
    int socket;
    struct pc_address from;
    uint32_t size;
    uint8_t data[2048];
};

/* An eventfd that is readable when there are events. Owned by the hub. */
int pc_hub_event_fd(struct pc_hub *hub);

/* Take the next event: 1, or 0 when there is none (the eventfd is drained then). */
int pc_hub_next_event(struct pc_hub *hub, struct pc_event *out);

/* Send a datagram from socket `socket` (STUN, DTLS, TURN). -EAGAIN when the kernel's buffer is
 * full; other negative errno as sendto(2). */
int pc_hub_send(struct pc_hub *hub, int socket, const struct pc_address *to, const uint8_t *data,
                size_t size);

struct pc_hub_stats {
    uint64_t sent_packets, sent_bytes, send_calls, send_errors;
    uint64_t received_packets, received_bytes;
    uint64_t dropped_malformed;   /* not of a known kind, or too short */
    uint64_t dropped_unknown;     /* media from an address that is no peer's */
    uint64_t dropped_unauthentic; /* failed SRTP or SRTCP authentication */
    uint64_t dropped_replayed;
    uint64_t dropped_events; /* the event ring was full */
    bool gso;                /* in use now */
};
int pc_hub_get_stats(struct pc_hub *hub, struct pc_hub_stats *out);

/* ---- Peers ----------------------------------------------------------------------------------- */

enum pc_srtp_profile {
    PC_SRTP_AES128_CM_SHA1_80 = 1, /* numbers of RFC 5764 4.1.2 and RFC 7714 14.2 */
    PC_SRTP_AEAD_AES_128_GCM = 7,
    PC_SRTP_AEAD_AES_256_GCM = 8
};

/* Create a peer: it has no path, no keys and no media yet. Returns its id (> 0). */
int pc_peer_open(struct pc_hub *hub);

/* Send from socket `socket` to `to`; media that comes from there belongs to this peer. `channel`
 * not 0: through the TURN server at `to`, in ChannelData of that number. May be called again. */
int pc_peer_set_path(struct pc_hub *hub, int peer, int socket, const struct pc_address *to,
                     uint16_t channel);

/* Master keys followed by master salts, as DTLS-SRTP exports them. Copied. */
int pc_peer_set_keys(struct pc_hub *hub, int peer, enum pc_srtp_profile profile,
                     const uint8_t *send_key, const uint8_t *receive_key, size_t key_bytes);

enum pc_codec_id { PC_H264 = 0, PC_VP8 = 1 };

/* How the sending rate is found. FIXED: it is the stream's bitrate, whatever the network says. */
enum pc_controller { PC_CONTROLLER_TRAIN = 0, PC_CONTROLLER_GCC = 1, PC_CONTROLLER_FIXED = 2 };

struct pc_media_settings {
    enum pc_codec_id codec;
    uint8_t payload_type, rtx_payload_type; /* rtx 0 = no retransmission */
    uint8_t fec_payload_type;               /* FlexFEC-03; 0 = none */
    uint32_t ssrc, rtx_ssrc, fec_ssrc;
    uint8_t mid_id, abs_send_time_id, transport_cc_id, playout_delay_id; /* 0 = not negotiated */
    uint8_t dependency_descriptor_id;                                    /* 0 = not negotiated */
    char mid[17];
    uint16_t playout_min_10ms, playout_max_10ms;
    char cname[64];
    double pacing_factor; /* of a fixed rate: how much faster a frame leaves; 0 = 4.0 */
    double rtx_share;     /* retransmissions' bound, as a share of the bitrate; 0 = 0.25 */
    enum pc_controller controller;
    int min_bitrate, start_bitrate; /* bits per second of the controller; 0 = chosen. Its ceiling is
                                     * the stream's bitrate, with what FEC and headers add */
    bool player;                    /* plays: its link goes first where viewers share an encode */
};

/* Start sending the stream to the peer, beginning with an IDR. -EINVAL without path or keys. */
int pc_peer_send(struct pc_hub *hub, int peer, struct pc_stream *stream,
                 const struct pc_media_settings *settings);

/* Whether the peer plays, from now on; see struct pc_media_settings. What
 * pc_peer_send() says counts anew. */
int pc_peer_set_player(struct pc_hub *hub, int peer, bool player);

/* What the controller of a peer's rate is doing. */
enum pc_congestion_state {
    PC_CONGESTION_FIXED,     /* there is none: the rate is the stream's */
    PC_CONGESTION_STARTING,  /* no feedback yet, or ramping up to find the capacity */
    PC_CONGESTION_STEADY,    /* at the capacity, or limited by what the encoder gives */
    PC_CONGESTION_PROBING,   /* trying more */
    PC_CONGESTION_DRAINING,  /* less than the capacity, until the queue is empty */
    PC_CONGESTION_COMPETING, /* against traffic that fills the queue */
    PC_CONGESTION_SILENT,    /* feedback has stopped: the network may be gone */
};

struct pc_peer_stats {
    uint64_t packets, bytes; /* RTP sent, with headers and tags; no retransmissions */
    uint64_t rtx_packets, rtx_bytes;
    uint64_t fec_packets, fec_bytes;
    uint64_t padding_bytes;         /* sent to find out how much the path takes */
    uint64_t frames;                /* access units sent whole */
    uint64_t frames_dropped;        /* access units given up because the path was too slow */
    uint64_t nacks, nacked_packets; /* NACK messages' lost packets asked for, and how many … */
    uint64_t rtx_refused;           /* … were over the budget or no longer kept */
    uint64_t plis, firs;
    uint64_t rtcp_packets, rtcp_malformed;
    uint64_t remb_bps;         /* the last one; 0 = none */
    uint64_t feedback_packets; /* transport-wide feedback */
    double rtt_ms;             /* from the last receiver report; < 0 = unknown */
    double loss;               /* fraction lost of the last report, 0..1 */
    double jitter_ms;
    uint64_t reports;
    uint32_t queued_frames; /* access units waiting or partly sent */
    enum pc_congestion_state congestion;
    double target_bps, pacing_bps; /* of the controller; 0 = the rate is fixed */
    double media_bps;              /* what of it the encoder may produce */
    double queue_ms;               /* estimated queueing delay on the way there */
    double network_loss;           /* 0..1, from transport-wide feedback */
    int rung;                      /* of the stream's encodes, which one it gets */
    bool player;                   /* it plays */
};
int pc_peer_get_stats(struct pc_hub *hub, int peer, struct pc_peer_stats *out);

/* Say BYE where media ran, and forget the peer. */
int pc_peer_close(struct pc_hub *hub, int peer);

/* ---- Streams --------------------------------------------------------------------------------- */

enum pc_profile { PC_PROFILE_CONSTRAINED_BASELINE, PC_PROFILE_MAIN, PC_PROFILE_HIGH };
enum pc_preset { PC_PRESET_ULTRAFAST, PC_PRESET_SUPERFAST, PC_PRESET_VERYFAST };
enum pc_rate_control { PC_RATE_CONTROL_FRAME, PC_RATE_CONTROL_VBV };

struct pc_stream_settings {
    int fps;             /* cap on the frame rate, 1..240; a display's may be 1/32 over it */
    int keepalive_fps;   /* frames per second of an unchanged picture; 1..fps */
    int bitrate;         /* bits per second */
    int threads, slices; /* 0 = chosen */
    enum pc_profile profile;
    enum pc_preset preset;
    enum pc_rate_control rate_control; /* ours (one decision a frame), or x264's VBV */
    double budget_frames;              /* 1.0-1.5; 0 = 1.25 */
    int idr_interval_ms; /* an IDR at most this often, however many are asked for; 0 = 300 */
    int rungs;           /* encodes of H.264 at most, for viewers whose paths differ: 1..3; 0 = 3 */
};

/* Start the media thread on a source. On success the stream owns the source; on failure the caller
 * still does. `hub` may be NULL: taps only. Encoding runs only while somebody receives. */
int pc_stream_open(struct pc_hub *hub, struct pc_source *source,
                   const struct pc_stream_settings *settings, struct pc_stream **out);

/* Stop and join the media thread, detach every peer and tap, close the source. */
void pc_stream_close(struct pc_stream *stream);

uint32_t pc_stream_id(struct pc_stream *stream);
int pc_stream_set_rate(struct pc_stream *stream, int bitrate, int fps);
void pc_stream_request_idr(struct pc_stream *stream);

/* One of the encodes that viewers of different paths are put on. */
struct pc_rung_stats {
    int viewers;       /* 0 = it is not encoded */
    int bitrate;       /* bits per second, now */
    int width, height; /* pixels */
    int fps;
    uint64_t encoded, encoded_bytes; /* access units, since the stream began */
};

struct pc_stream_stats {
    int width, height;
    int viewers[2];      /* by enum pc_codec_id: receivers of that encode, taps included */
    uint64_t captured;   /* pictures taken */
    uint64_t encoded[2]; /* access units by codec */
    uint64_t encoded_bytes[2];
    uint64_t idrs[2];
    uint64_t skipped;    /* frame slots that passed while the network drained the last frame */
    uint64_t late;       /* frame slots missed: a stage took longer than the interval */
    uint64_t overshoots; /* P frames over the budget */
    int quantiser;       /* of the last H.264 frame */
    char encoder[32];    /* "x264" */
    struct pc_rung_stats rungs[3]; /* of H.264 */
};
int pc_stream_get_stats(struct pc_stream *stream, struct pc_stream_stats *out);

/* Duration between two stages over frames that began at or after `since_ns`. */
int pc_stream_latency(struct pc_stream *stream, enum pc_stage from, enum pc_stage to,
                      uint64_t since_ns, struct pc_percentiles *out);

/* The kept frames from id `from_id` on, oldest first. Returns how many (0..max). */
int pc_stream_frames(struct pc_stream *stream, uint64_t from_id, struct pc_frame_times *out,
                     int max);

/* ---- Taps: encoded access units for Python (plain aiortc, recording) --------------------------
 */

struct pc_tap;

struct pc_tap_frame {
    uint64_t id;
    uint32_t rtp_time; /* 90 kHz from the stream's zero */
    uint64_t capture_ns;
    bool idr;
    uint32_t size; /* bytes written */
};

/* Receive the stream's access units of a codec. At most `depth` wait; when the reader is slower,
 * the waiting ones are dropped and the tap goes on at the next IDR. */
int pc_tap_open(struct pc_stream *stream, enum pc_codec_id codec, int depth, struct pc_tap **out);
int pc_tap_fd(struct pc_tap *tap);

/* Take the oldest one: 1; 0 = none (the fd is drained); -ENOSPC = `capacity` too small, nothing
 * taken; -EPIPE = the stream has ended. */
int pc_tap_read(struct pc_tap *tap, struct pc_tap_frame *frame, uint8_t *out, size_t capacity);
void pc_tap_close(struct pc_tap *tap);

/* ---- Receiving: what a peer sends us, repaired, decoded, and as it came ------------------------
 */

struct pc_reception;

struct pc_receive_settings {
    enum pc_codec_id codec;
    uint8_t payload_type, rtx_payload_type, fec_payload_type; /* rtx, fec: 0 = none */
    uint32_t ssrc, rtx_ssrc, fec_ssrc; /* 0 = learnt: the SSRC that brings the payload type */
    uint8_t transport_cc_id, abs_send_time_id, dependency_descriptor_id; /* 0 = not negotiated */
    bool nack;               /* ask for lost packets again */
    bool transport_feedback; /* say when each packet arrived */
    int jitter_target_ms;    /* a frame is given out not sooner than so after the quickest one's
                              * way, 0..2000; 0 = at once */
    int patience_ms;         /* a hole is waited for so long before an IDR is asked for, 0..10000;
                              * 0 = chosen */
    bool decode;             /* false: access units only */
    int decode_threads;      /* slices decoded at a time, 0..16; 0 = chosen */
    int picture_depth;       /* decoded pictures that wait for the reader, 0..16, the oldest makes
                              * way; 0 = 4 */
    bool keep_units;         /* for pc_reception_read_unit() */
    bool read_pattern;       /* look for the test pattern's code in each picture */
    char cname[64];
};

/* One access unit's way. */
struct pc_received_frame {
    uint64_t id; /* counts what the network side gave out, from 0 */
    uint32_t rtp_time;
    uint32_t bytes; /* H.264: with start codes */
    bool idr;
    bool recovered; /* retransmission or FEC brought a part of it */
    uint64_t first_packet_ns, complete_ns;
    uint64_t decoded_ns; /* 0 = no picture: dropped, not decodable, or `decode` is off */
    bool has_pattern;    /* the picture holds a code: */
    uint32_t pattern_frame;
    uint64_t pattern_us; /* CLOCK_MONOTONIC in microseconds, 48 bits */
};

struct pc_received_picture {
    struct pc_received_frame frame;
    int width, height;
    int matrix; /* MatrixCoefficients of ITU-T H.273: 1 = BT.709, 5 and 6 = BT.601, 2 = not said */
    bool full_range;
    uint32_t bytes; /* as I420 without padding */
};

struct pc_receiver_stats {
    uint64_t packets, bytes;           /* media, as first received */
    uint64_t rtx_packets, fec_packets; /* received of these kinds */
    uint64_t padding_packets;
    uint64_t lost;                         /* sequence numbers that never came by themselves */
    uint64_t recovered_rtx, recovered_fec; /* … and were repaired so */
    uint64_t duplicates, malformed, unknown;
    uint64_t units, idrs;   /* access units given out */
    uint64_t units_dropped; /* incomplete, or of no use */
    uint64_t nacks, nacked_packets, plis, feedback_packets, reports;
    double rtt_ms;    /* < 0 = unknown */
    double jitter_ms; /* RFC 3550 6.4.1 */
};

struct pc_reception_stats {
    struct pc_receiver_stats receiver;
    uint64_t pictures;             /* decoded */
    uint64_t pictures_passed_over; /* … but not read before newer ones came */
    uint64_t pictures_refused;     /* not 4:2:0 of 8 bits, or larger than 8192 pixels */
    uint64_t decode_errors;        /* access units that the decoder could not use */
    uint64_t units_late;           /* … dropped because the decoder was behind */
    uint64_t units_useless;        /* … passed over until an IDR came */
    uint64_t units_not_kept;       /* … that the reader did not take in time */
    uint64_t pattern_unread;       /* pictures without a valid code, with `read_pattern` */
    int width, height;             /* of the last picture; 0 = none yet */
};

/* Receive what the peer sends. It needs neither path nor keys yet: what comes before is dropped.
 * -EBUSY when the peer has a reception, -EINVAL for settings out of range. On success the caller
 * owns `*out`; it may be closed before or after the peer and the hub. */
int pc_peer_receive(struct pc_hub *hub, int peer, const struct pc_receive_settings *settings,
                    struct pc_reception **out);

/* Eventfds that are readable when there are pictures, and access units. Owned by the reception. */
int pc_reception_fd(struct pc_reception *reception);
int pc_reception_unit_fd(struct pc_reception *reception);

/* Take the oldest picture, as I420 without padding: 1; 0 = none (the fd is drained); -ENOSPC =
 * `capacity` is less than `picture->bytes`, which is set, and nothing was taken; -EPIPE = the peer
 * is gone. */
int pc_reception_read_picture(struct pc_reception *reception, struct pc_received_picture *picture,
                              uint8_t *out, size_t capacity);

/* Take the oldest access unit (H.264: Annex B; VP8: the frame), likewise; `frame->bytes` is its
 * size. A reader that is seconds behind goes on at an IDR. -EINVAL without `keep_units`. */
int pc_reception_read_unit(struct pc_reception *reception, struct pc_received_frame *frame,
                           uint8_t *out, size_t capacity);

/* The kept frames (4096) from id `from_id` on that are done with, oldest first. Returns how many
 * (0..max). */
int pc_reception_frames(struct pc_reception *reception, uint64_t from_id,
                        struct pc_received_frame *out, int max);

int pc_reception_get_stats(struct pc_reception *reception, struct pc_reception_stats *out);

/* Ask the sender for an IDR; how often is bounded. */
void pc_reception_request_idr(struct pc_reception *reception);

/* Change `jitter_target_ms`. -EINVAL: out of range. */
int pc_reception_set_jitter_target(struct pc_reception *reception, int milliseconds);

/* Say BYE, stop decoding, and forget it. */
void pc_reception_close(struct pc_reception *reception);

/* ---- SRTP: what the hub does to every media packet; Python's tests and benchmarks call it ------
 */

/* SRTP and SRTCP (RFC 3711, RFC 7714) for one direction. Not thread-safe: one thread per context.
 */
struct pc_srtp;

/* Key and salt lengths in bytes of a profile; -EINVAL when there is no such profile. */
int pc_srtp_key_bytes(enum pc_srtp_profile profile);
int pc_srtp_salt_bytes(enum pc_srtp_profile profile);

/* `key`: master key followed by master salt, as DTLS-SRTP exports them (RFC 5764 4.2). Copied.
 * 0, -EINVAL, -ENOMEM, or -EIO when OpenSSL refuses. On success the caller owns `*out`. */
int pc_srtp_create(enum pc_srtp_profile profile, const uint8_t *key, size_t key_bytes,
                   struct pc_srtp **out);
void pc_srtp_destroy(struct pc_srtp *srtp);

/* Bytes that protecting adds to an RTP packet, at most 16. */
size_t pc_srtp_overhead(const struct pc_srtp *srtp);

struct pc_piece {
    const uint8_t *data;
    size_t size;
};

/* Protect one RTP packet in one pass from shared memory: `packet` holds the header already
 * (`header_bytes`), the payload is read from the pieces (at most two) and written encrypted behind
 * it, then the tag. `packet` needs room for all of it. `index` is the sender's own 48-bit packet
 * index (rollover counter << 16 | sequence number). Returns the packet's length; -EINVAL when
 * `index` or `piece_count` is out of range, -EIO on an OpenSSL failure. The pieces are not changed.
 */
long pc_srtp_protect(struct pc_srtp *srtp, uint64_t index, uint8_t *packet, size_t header_bytes,
                     const struct pc_piece *pieces, int piece_count);

/* Check and decrypt in place. Per SSRC: rollover guess (RFC 3711 3.3.1) and a replay window of 1024
 * packets; at most 64 SSRCs, the longest unused one is forgotten. Returns the RTP packet's length,
 * or -EBADMSG (malformed), -EPERM (authentication failed), -EALREADY (replayed or too old). Nothing
 * is remembered of a packet that fails, and its contents are undefined then. */
long pc_srtp_unprotect(struct pc_srtp *srtp, uint8_t *packet, size_t size);

/* Protect RTCP in place; `packet` needs 20 more bytes. Returns the new length, -EINVAL when `size`
 * is less than 8, -EOVERFLOW after 2^31 packets, -EIO on an OpenSSL failure. */
long pc_srtp_protect_rtcp(struct pc_srtp *srtp, uint8_t *packet, size_t size);

/* As pc_srtp_unprotect(), for SRTCP (replay window of 128). */
long pc_srtp_unprotect_rtcp(struct pc_srtp *srtp, uint8_t *packet, size_t size);
