/* An RTP source as its receiver sees it: extended sequence numbers, and what a report block says of
 * it (RFC 3550 6.4.1, A.1, A.3, A.8). Pure. */
#ifndef PC_RTP_SOURCE_H
#define PC_RTP_SOURCE_H

#include "rtcp.h"
#include "rtp.h"

#define PC_RTP_MAX_DROPOUT 3000 /* a sequence number that is further off is not believed … */

struct pc_rtp_source {
    bool started;
    uint32_t ssrc;
    int64_t first, highest; /* extended sequence numbers */
    uint64_t received;      /* different packets */
    bool doubted;           /* … unless the one after it, `doubted_next`, comes next */
    uint16_t doubted_next;

    int64_t told_expected, told_received; /* at the last report */
    bool has_transit;
    uint32_t transit, jitter_16; /* timestamp units; the jitter's sixteenths */
    uint32_t last_sr;            /* middle 32 bits of its NTP time; 0 = none */
    uint64_t last_sr_ns;
};

enum pc_rtp_sequence { PC_SEQUENCE_FITS, PC_SEQUENCE_DOUBTED, PC_SEQUENCE_RESTARTED };

void pc_rtp_source_init(struct pc_rtp_source *source, uint32_t ssrc);

/* Extend the sequence number of a packet that came from the source itself. RESTARTED: two packets
 * in a row had numbers far from all before; counting has begun anew with this one. */
enum pc_rtp_sequence pc_rtp_source_extend(struct pc_rtp_source *source, uint16_t sequence,
                                          int64_t *extended);

/* … of one that was repaired. False when it is far off or nothing came yet. */
bool pc_rtp_source_relate(const struct pc_rtp_source *source, uint16_t sequence, int64_t *extended);

/* A packet came from the source itself, for the first time. */
void pc_rtp_source_received(struct pc_rtp_source *source, int64_t extended, uint32_t timestamp,
                            uint64_t now_ns);

void pc_rtp_source_sender_report(struct pc_rtp_source *source,
                                 const struct pc_rtcp_sender_info *info, uint64_t now_ns);

/* Packets that never came by themselves, so far. */
uint64_t pc_rtp_source_lost(const struct pc_rtp_source *source);

/* A report block since the last one; `reporter` is left to the caller. */
void pc_rtp_source_report(struct pc_rtp_source *source, struct pc_rtcp_report *out,
                          uint64_t now_ns);

#endif
