/* The receiving side of one peer: plain RTP in, whole access units and RTCP out. Pure: time is an
 * argument; no clock, no thread, no I/O, no SRTP (the shell unprotects and protects).
 *
 *   RTP ─▶ (RTX unwrapped) ─▶ flexfec ─▶ jitter (frames) ─▶ depacketize ─▶ on_unit
 *    └────▶ arrivals (transport-wide feedback)   └▶ nack ─▶ on_rtcp
 *
 * Zero-delay by default: an access unit is given out as soon as it is complete and everything that
 * it refers to was given out before. */
#ifndef PC_RECEIVER_H
#define PC_RECEIVER_H

#include "core.h"
#include "rtcp.h"
#include "rtp.h"

struct pc_receiver_settings {
    enum pc_codec_id codec;
    uint8_t payload_type, rtx_payload_type, fec_payload_type; /* rtx, fec: 0 = none */
    uint32_t ssrc, rtx_ssrc, fec_ssrc; /* 0 = learnt: the SSRC that brings the payload type */
    uint32_t local_ssrc;               /* of our RTCP */
    uint8_t transport_cc_id, abs_send_time_id, dependency_descriptor_id; /* 0 = not negotiated */
    bool nack, transport_feedback;
    uint64_t jitter_target_ns; /* a frame is given out not sooner than so after the quickest one's
                                * way; 0 = at once */
    uint64_t patience_ns; /* a hole is waited for so long, then a PLI asks for an IDR; 0 = 300 ms */
    char cname[64];
};

/* An access unit, complete, in decoding order. Valid during the call. */
struct pc_received_unit {
    const uint8_t *data; /* H.264: Annex B; VP8: the frame */
    size_t size;
    uint32_t rtp_time;
    bool idr;
    uint64_t first_packet_ns, complete_ns;
    uint16_t first_sequence, packets;
    bool recovered; /* by FEC or retransmission, in part */
};

struct pc_receiver_out {
    void *context;
    void (*unit)(void *context, const struct pc_received_unit *unit);
    /* One RTCP packet (compound or reduced-size), plain; 24 bytes of room are behind it. */
    void (*rtcp)(void *context, uint8_t *data, size_t size);
};

struct pc_receiver;

/* NULL when out of memory. Settings and callbacks are copied. */
struct pc_receiver *pc_receiver_create(const struct pc_receiver_settings *settings,
                                       const struct pc_receiver_out *out, uint64_t now_ns);
void pc_receiver_destroy(struct pc_receiver *receiver);

/* An RTP packet, unprotected. Whatever is wrong with it is counted. */
void pc_receiver_packet(struct pc_receiver *receiver, const uint8_t *data, size_t size,
                        uint64_t now_ns);

/* An RTCP packet, unprotected: sender reports, BYE. `ntp_now`: as pc_sender_receive_rtcp(). Returns
 * as pc_rtcp_parse(). */
int pc_receiver_rtcp(struct pc_receiver *receiver, const uint8_t *data, size_t size,
                     uint64_t now_ns, uint64_t ntp_now);

/* What is due: NACK, feedback, reports, a PLI, frames that waited. Returns when to call again; call
 * after each batch of packets too. */
uint64_t pc_receiver_tick(struct pc_receiver *receiver, uint64_t now_ns, uint64_t ntp_now);

/* The decoder could not use a unit: the next tick asks for an IDR (throttled, repeated until one
 * comes). */
void pc_receiver_request_idr(struct pc_receiver *receiver, uint64_t now_ns);

/* From the next frame on. */
void pc_receiver_set_jitter_target(struct pc_receiver *receiver, uint64_t target_ns);

void pc_receiver_get_stats(const struct pc_receiver *receiver, struct pc_receiver_stats *out);

#endif
