#include "arrivals.h"

#include <errno.h>
#include <string.h>

#include "rtcp.h"

static int64_t *tick_of(struct pc_arrivals *arrivals, int64_t number)
{
    return &arrivals->ticks[(uint64_t)number % PC_ARRIVALS_KEPT];
}

void pc_arrivals_init(struct pc_arrivals *arrivals)
{
    memset(arrivals, 0, sizeof *arrivals);
}

/* Numbers that are neither a little earlier nor a little later than the last: a sender that has
 * begun anew. */
static void restart(struct pc_arrivals *arrivals, int64_t number)
{
    for (int i = 0; i < PC_ARRIVALS_KEPT; i++)
        arrivals->ticks[i] = PC_RTCP_NOT_RECEIVED;
    arrivals->started = true;
    arrivals->pending = false;
    arrivals->next = number;
    arrivals->highest = number - 1;
}

void pc_arrivals_add(struct pc_arrivals *arrivals, uint16_t sequence, bool ends_frame,
                     uint64_t now_ns)
{
    int64_t ahead = (int16_t)(sequence - (uint16_t)arrivals->highest);
    if (!arrivals->started || ahead >= PC_ARRIVALS_KEPT || ahead <= -PC_ARRIVALS_KEPT) {
        restart(arrivals, sequence);
        ahead = 1;
    }
    int64_t number = arrivals->highest + ahead;
    if (ahead > 0) {
        for (int64_t lost = arrivals->highest + 1; lost < number; lost++)
            *tick_of(arrivals, lost) = PC_RTCP_NOT_RECEIVED;
        arrivals->highest = number;
        if (arrivals->next <= number - PC_ARRIVALS_KEPT)
            arrivals->next = number - PC_ARRIVALS_KEPT + 1;
    } else if (ahead <= -PC_ARRIVALS_RETOLD || *tick_of(arrivals, number) != PC_RTCP_NOT_RECEIVED) {
        return;
    } else if (number < arrivals->next) {
        arrivals->next = number; /* was told of as lost: the numbers since are told again */
    }
    *tick_of(arrivals, number) = (int64_t)(now_ns / PC_RTCP_TICK_NS);
    if (!arrivals->pending) {
        arrivals->pending = true;
        arrivals->pending_ns = now_ns;
        arrivals->frame_ended = false;
    }
    if (ends_frame && !arrivals->frame_ended) {
        arrivals->frame_ended = true;
        arrivals->ended_ns = now_ns;
    }
}

uint64_t pc_arrivals_due(const struct pc_arrivals *arrivals)
{
    if (!arrivals->pending)
        return UINT64_MAX;
    uint64_t due = arrivals->pending_ns + PC_ARRIVALS_WAIT_NS;
    if (arrivals->frame_ended) {
        uint64_t allowed = arrivals->told_ns + PC_ARRIVALS_SPACING_NS;
        uint64_t wished = arrivals->ended_ns > allowed ? arrivals->ended_ns : allowed;
        due = wished < due ? wished : due;
    }
    return due;
}

long pc_arrivals_write(struct pc_arrivals *arrivals, uint8_t *out, size_t capacity,
                       uint32_t sender_ssrc, uint32_t media_ssrc, uint64_t now_ns)
{
    if (!arrivals->pending)
        return 0;
    int64_t ticks[PC_ARRIVALS_KEPT];
    int count = (int)(arrivals->highest - arrivals->next + 1);
    for (int i = 0; i < count; i++)
        ticks[i] = *tick_of(arrivals, arrivals->next + i);
    struct pc_rtcp_transport_feedback feedback = {
        .sender_ssrc = sender_ssrc,
        .media_ssrc = media_ssrc,
        .base_sequence = (uint16_t)arrivals->next,
        .status_count = (uint16_t)count,
        .feedback_count = arrivals->feedback_count,
    };
    long size = pc_rtcp_write_transport_feedback(out, capacity, &feedback, ticks);
    if (size < 0)
        return size;
    arrivals->feedback_count++;
    arrivals->told_ns = now_ns;
    arrivals->next += feedback.status_count;
    arrivals->pending = arrivals->next <= arrivals->highest;
    return size;
}
