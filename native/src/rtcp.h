/* RTCP: what senders and receivers write, and what they read (RFC 3550 6, RFC 4585, RFC 5104,
 * RFC 5506, RFC 3611, draft-alvestrand-rmcat-remb-03,
 * draft-holmer-rmcat-transport-wide-cc-extensions-01). */
#ifndef PC_RTCP_H
#define PC_RTCP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct pc_rtcp_sender_info {
    uint32_t ssrc;
    uint64_t ntp;           /* 32.32 fixed point seconds since 1900 */
    uint32_t rtp_timestamp; /* the RTP time of that same instant */
    uint32_t packets, octets;
};

/* Write SR + SDES CNAME as one compound packet. Returns bytes, or -ENOSPC. `cname` <= 255 bytes. */
long pc_rtcp_write_sr(uint8_t *out, size_t capacity, const struct pc_rtcp_sender_info *info,
                      const char *cname);

/* Write SR-less compound RR + SDES + BYE for the given SSRCs (1..31). Returns bytes, or -ENOSPC. */
long pc_rtcp_write_bye(uint8_t *out, size_t capacity, const uint32_t *ssrcs, int count,
                       const char *cname);

struct pc_rtcp_report { /* a report block of an RR or SR */
    uint32_t reporter, ssrc;
    uint8_t fraction_lost;                 /* of 256 */
    int32_t cumulative_lost;               /* 24 bits, signed */
    uint32_t highest_sequence;             /* extended */
    uint32_t jitter;                       /* timestamp units */
    uint32_t last_sr, delay_since_last_sr; /* 16.16 seconds */
};

struct pc_rtcp_transport_feedback { /* one transport-wide feedback packet */
    uint32_t sender_ssrc, media_ssrc;
    uint16_t base_sequence;
    uint16_t status_count;
    int32_t reference_time; /* multiples of 64 ms, signed 24 bits */
    uint8_t feedback_count;
};

/* Write RR with this report block (NULL: none; its reporter is not looked at) + SDES CNAME as one
 * compound packet. Returns bytes, or -ENOSPC. `cname` <= 255 bytes. */
long pc_rtcp_write_rr(uint8_t *out, size_t capacity, uint32_t reporter,
                      const struct pc_rtcp_report *report, const char *cname);

/* The next three are written alone, as RFC 5506 allows. */

/* Write a PLI (RFC 4585 6.3.1). Returns bytes, or -ENOSPC. */
long pc_rtcp_write_pli(uint8_t *out, size_t capacity, uint32_t sender_ssrc, uint32_t media_ssrc);

/* Write a NACK (RFC 4585 6.2.1) for `*count` (>= 1) sequence numbers, in ascending order. Returns
 * bytes and sets `*count` to how many fitted; -ENOSPC when none did. */
long pc_rtcp_write_nack(uint8_t *out, size_t capacity, uint32_t sender_ssrc, uint32_t media_ssrc,
                        const uint16_t *sequences, int *count);

#define PC_RTCP_TICK_NS      250000    /* unit of arrival times in transport-wide feedback */
#define PC_RTCP_NOT_RECEIVED INT64_MIN /* in place of an arrival time */

/* Write a transport-wide feedback packet. `arrivals`: when base_sequence and the numbers after it
 * came, status_count of them, in ticks of any clock, at least one of them received. As many are
 * written as fit into `capacity` and whose times fit into the deltas; status_count is set to how
 * many, and reference_time. Returns bytes; -EINVAL when nothing was received, -ENOSPC when not
 * even one received number fits. */
long pc_rtcp_write_transport_feedback(uint8_t *out, size_t capacity,
                                      struct pc_rtcp_transport_feedback *feedback,
                                      const int64_t *arrivals);

/* Called for what was found. Any of them may be NULL. Return value: none; they may not re-enter. */
struct pc_rtcp_handler {
    void *context;
    void (*report)(void *context, const struct pc_rtcp_report *report);
    void (*sender_report)(void *context, const struct pc_rtcp_sender_info *info);
    void (*nack)(void *context, uint32_t media_ssrc, uint16_t sequence); /* once per lost packet */
    void (*pli)(void *context, uint32_t media_ssrc);
    void (*fir)(void *context, uint32_t media_ssrc, uint8_t command_sequence);
    void (*remb)(void *context, uint64_t bitrate);
    void (*bye)(void *context, uint32_t ssrc);
    /* Receiver reference time / DLRR of XR: round-trip measurement of a receive-only peer. */
    void (*xr_reference_time)(void *context, uint32_t ssrc, uint64_t ntp);
    /* First transport_feedback, then transport_status once for each of its status_count sequence
     * numbers. `delta_us`: arrival after the previous received packet's, the first one's after
     * reference_time; negative when they were reordered; 0 when not received. */
    void (*transport_feedback)(void *context, const struct pc_rtcp_transport_feedback *feedback);
    void (*transport_status)(void *context, uint16_t sequence, bool received, int32_t delta_us);
};

/* Parse a compound or reduced-size (RFC 5506) packet. Unknown packet types are passed over. Returns
 * the number of RTCP packets read, or -EBADMSG for the first malformed one (what came before it was
 * delivered; a malformed transport feedback delivers nothing of itself). */
int pc_rtcp_parse(const uint8_t *data, size_t size, const struct pc_rtcp_handler *handler);

#endif
