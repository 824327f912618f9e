/* RTCP: what a sender writes, and what it reads from receivers (RFC 3550 6, RFC 4585, RFC 5104,
 * RFC 5506, RFC 3611, draft-alvestrand-rmcat-remb-03, draft-holmer-rmcat-transport-wide-cc-01). */
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
