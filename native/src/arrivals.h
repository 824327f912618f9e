/* When packets arrived, by transport-wide sequence number, told to the sender in feedback packets
 * (draft-holmer-rmcat-transport-wide-cc-extensions-01). Pure: time is an argument.
 *
 * Feedback is due directly after the last packet of a frame, so that the sender learns from each
 * frame before it sends the next one, and in any case soon after the first packet that was not told
 * of. */
#ifndef PC_ARRIVALS_H
#define PC_ARRIVALS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PC_ARRIVALS_KEPT       2048     /* numbers; power of two */
#define PC_ARRIVALS_RETOLD     1024     /* one that comes later than so many is not told of */
#define PC_ARRIVALS_WAIT_NS    25000000 /* after the first packet that was not told of, at most */
#define PC_ARRIVALS_SPACING_NS 5000000  /* of feedback, however many frames there are */

struct pc_arrivals {
    bool started;
    int64_t next, highest; /* extended numbers: the first to tell of, the last that came */
    bool pending;          /* something came that was not told of … */
    uint64_t pending_ns;   /* … first at */
    bool frame_ended;      /* … the last packet of a frame … */
    uint64_t ended_ns;     /* … first at */
    uint64_t told_ns;
    uint8_t feedback_count;
    int64_t ticks[PC_ARRIVALS_KEPT]; /* of the numbers up to `highest` */
};

void pc_arrivals_init(struct pc_arrivals *arrivals);

/* A packet with this number came. A second one of the same number is passed over. */
void pc_arrivals_add(struct pc_arrivals *arrivals, uint16_t sequence, bool ends_frame,
                     uint64_t now_ns);

/* When feedback is due; UINT64_MAX: there is nothing to tell. */
uint64_t pc_arrivals_due(const struct pc_arrivals *arrivals);

/* Write one feedback packet. Returns its bytes, 0 when all is told (call it until then), or -ENOSPC
 * when `capacity` is less than 64. */
long pc_arrivals_write(struct pc_arrivals *arrivals, uint8_t *out, size_t capacity,
                       uint32_t sender_ssrc, uint32_t media_ssrc, uint64_t now_ns);

#endif
