/* What the files of the receiver share: receiver.c takes packets and gives out units,
 * receiver_feedback.c says what is to be said to the sender. */
#ifndef PC_RECEIVER_STATE_H
#define PC_RECEIVER_STATE_H

#include "arrivals.h"
#include "depacketize.h"
#include "flexfec.h"
#include "jitter.h"
#include "nack.h"
#include "receiver.h"
#include "rtp_source.h"

struct pc_receiver {
    struct pc_receiver_settings settings;
    struct pc_receiver_out out;
    struct pc_receiver_stats stats; /* what is not counted elsewhere */

    bool known; /* the media's SSRC is */
    bool rtx_known, fec_known;
    uint32_t rtx_ssrc, fec_ssrc;
    struct pc_rtp_source source;
    uint64_t media_ns;     /* when media came last */
    uint64_t earlier_lost; /* of sources before this one */

    struct pc_jitter *jitter;
    struct pc_flexfec_receiver *flexfec; /* NULL while there is no FEC */
    struct pc_nack nack;
    struct pc_arrivals arrivals;
    struct pc_unit_buffer unit;
    uint64_t now_ns; /* of the packet being handled */

    /* feedback */
    bool idr_wanted;    /* nothing but an IDR helps */
    uint64_t lost_ns;   /* since when nothing but an IDR can be decoded; 0 = something can */
    bool pli_sent;      /* once, at least */
    uint64_t pli_ns;    /* the last one */
    uint64_t report_ns; /* the next report; 0 = at once */
};

/* Give out what can be given out. */
void pc_receiver_give_out(struct pc_receiver *receiver, uint64_t now_ns);

#endif
