#include "reference_loss.h"

#include <string.h>

/* What is known of a media packet. */
enum {
    MISSING = 1, /* lost or asked for, and not arrived */
    ARRIVED = 2, /* by itself or as RTX */
    REFUSED = 4, /* asked for in vain */
    FINAL = 8    /* missing for good */
};

#define FEW 4 /* packets that are sent again even if a frame has no more */

void pc_reference_loss_reset(struct pc_reference_loss *loss, bool described, bool can_resend)
{
    uint16_t next_number = loss->next_number;
    memset(loss, 0, sizeof *loss);
    loss->next_number = next_number;
    loss->described = described;
    loss->can_resend = can_resend;
}

static struct pc_reference_loss_frame *frame_at(struct pc_reference_loss *loss, unsigned position)
{
    return &loss->frames[(loss->head + position) % PC_REFERENCE_LOSS_FRAMES];
}

static const struct pc_reference_loss_frame *frame_of(const struct pc_reference_loss *loss,
                                                      unsigned position)
{
    return &loss->frames[(loss->head + position) % PC_REFERENCE_LOSS_FRAMES];
}

/* The position of frame `number`, or -1. */
static int position_of(const struct pc_reference_loss *loss, uint16_t number)
{
    uint16_t position = (uint16_t)(number - frame_of(loss, 0)->number);
    return position < loss->length ? position : -1;
}

static struct pc_reference_loss_frame *find(struct pc_reference_loss *loss, uint16_t number)
{
    int position = position_of(loss, number);
    return position >= 0 ? frame_at(loss, (unsigned)position) : NULL;
}

/* How many numbers before the next one unit `id` is, or 0. */
static uint16_t distance_to(const struct pc_reference_loss *loss, uint64_t id)
{
    for (unsigned back = 1; back <= loss->length; back++)
        if (frame_of(loss, loss->length - back)->id == id)
            return (uint16_t)back;
    return 0;
}

/* Along the references from the frame at `position`: the oldest that is lost by itself, or -1. What
 * is out of the ring is held: else drop_oldest() has noted it. */
static int oldest_lost(const struct pc_reference_loss *loss, int position)
{
    int oldest = -1;
    while (position >= 0) {
        const struct pc_reference_loss_frame *frame = frame_of(loss, (unsigned)position);
        if (frame->given_up || frame->final > 0)
            oldest = position;
        if (frame->reference_diff == 0)
            break;
        position -= frame->reference_diff;
    }
    return oldest;
}

static void drop_oldest(struct pc_reference_loss *loss)
{
    bool lost = oldest_lost(loss, 0) >= 0;
    for (unsigned i = 1; lost && i < loss->length; i++)
        if (frame_at(loss, i)->reference_diff == i)
            frame_at(loss, i)->given_up = true;
    loss->packets -= frame_at(loss, 0)->packets;
    loss->head = (loss->head + 1) % PC_REFERENCE_LOSS_FRAMES;
    loss->length--;
}

const struct pc_reference_loss_frame *
pc_reference_loss_add(struct pc_reference_loss *loss, uint64_t id, bool idr, uint64_t reference)
{
    if (idr) {
        loss->length = 0;
        loss->packets = 0;
    }
    if (loss->length == PC_REFERENCE_LOSS_FRAMES)
        drop_oldest(loss);
    uint16_t diff = loss->described ? distance_to(loss, reference) : loss->length > 0;
    struct pc_reference_loss_frame *frame = frame_at(loss, loss->length++);
    *frame = (struct pc_reference_loss_frame){
        .id = id,
        .number = loss->next_number++,
        .reference_diff = idr ? 0 : diff,
        .given_up = !idr && diff == 0, /* it refers to what was never for this receiver */
    };
    return frame;
}

void pc_reference_loss_give_up(struct pc_reference_loss *loss, uint16_t number)
{
    struct pc_reference_loss_frame *frame = find(loss, number);
    if (frame == NULL)
        return;
    frame->given_up = true;
    loss->changed = true;
}

bool pc_reference_loss_holds(const struct pc_reference_loss *loss, uint16_t number)
{
    int position = position_of(loss, number);
    return position >= 0 && oldest_lost(loss, position) < 0;
}

/* ---- Packets ---- */

static uint8_t *fate_of(struct pc_reference_loss *loss, uint16_t sequence)
{
    return &loss->fates[sequence % PC_REFERENCE_LOSS_PACKETS];
}

/* The frame of a media packet, or NULL. */
static struct pc_reference_loss_frame *owner_of(struct pc_reference_loss *loss, uint16_t sequence)
{
    for (unsigned i = loss->length; i-- > 0;) {
        struct pc_reference_loss_frame *frame = frame_at(loss, i);
        if (frame->begun && (uint16_t)(sequence - frame->first_sequence) < frame->packets)
            return frame;
    }
    return NULL;
}

void pc_reference_loss_sent(struct pc_reference_loss *loss, uint16_t number, uint32_t count,
                            uint16_t sequence)
{
    struct pc_reference_loss_frame *frame = find(loss, number);
    if (frame == NULL)
        return;
    if (!frame->begun) {
        frame->begun = true;
        frame->count = count;
        frame->first_sequence = sequence;
    }
    while (loss->packets >= PC_REFERENCE_LOSS_PACKETS && frame_at(loss, 0) != frame)
        drop_oldest(loss);
    frame->packets++;
    loss->packets++;
    *fate_of(loss, sequence) = 0;
}

void pc_reference_loss_repair_sent(struct pc_reference_loss *loss, uint16_t number)
{
    struct pc_reference_loss_frame *frame = find(loss, number);
    if (frame != NULL)
        frame->repairs++;
}

static void miss(struct pc_reference_loss *loss, struct pc_reference_loss_frame *frame,
                 uint16_t sequence)
{
    uint8_t *fate = fate_of(loss, sequence);
    if ((*fate & (MISSING | ARRIVED)) != 0)
        return;
    *fate |= MISSING;
    frame->missing++;
}

static void finish(struct pc_reference_loss *loss, struct pc_reference_loss_frame *frame,
                   uint16_t sequence)
{
    uint8_t *fate = fate_of(loss, sequence);
    if ((*fate & (FINAL | ARRIVED)) != 0)
        return;
    *fate |= FINAL;
    frame->final++;
    loss->changed = true;
}

static void arrive(struct pc_reference_loss *loss, struct pc_reference_loss_frame *frame,
                   uint16_t sequence)
{
    uint8_t *fate = fate_of(loss, sequence);
    if ((*fate & MISSING) != 0)
        frame->missing--;
    if ((*fate & FINAL) != 0)
        frame->final--;
    *fate = ARRIVED;
}

static bool is_beyond_fec(const struct pc_reference_loss_frame *frame)
{
    return frame->missing > frame->repairs - frame->lost_repairs;
}

/* More is missing, or fewer repairs are there: what was refused may be lost for good now. */
static void review(struct pc_reference_loss *loss, struct pc_reference_loss_frame *frame)
{
    if (!is_beyond_fec(frame))
        return;
    for (uint16_t i = 0; i < frame->packets; i++) {
        uint16_t sequence = (uint16_t)(frame->first_sequence + i);
        uint8_t fate = *fate_of(loss, sequence);
        if ((fate & MISSING) != 0 && ((fate & REFUSED) != 0 || !loss->can_resend))
            finish(loss, frame, sequence);
    }
}

void pc_reference_loss_asked(struct pc_reference_loss *loss, uint16_t sequence)
{
    struct pc_reference_loss_frame *frame = owner_of(loss, sequence);
    if (frame != NULL)
        miss(loss, frame, sequence);
}

/* Most of it would have to be sent again, and another frame can take its place. */
static bool is_mostly_missing(const struct pc_reference_loss_frame *frame)
{
    return frame->reference_diff != 0 && frame->missing >= FEW &&
           2 * frame->missing > frame->packets;
}

bool pc_reference_loss_is_useful(const struct pc_reference_loss *loss, uint16_t sequence)
{
    if (!loss->described)
        return true;
    for (unsigned i = loss->length; i-- > 0;) {
        const struct pc_reference_loss_frame *frame = frame_of(loss, i);
        if (frame->begun && (uint16_t)(sequence - frame->first_sequence) < frame->packets)
            return oldest_lost(loss, (int)i) < 0 && !is_mostly_missing(frame);
    }
    return false;
}

void pc_reference_loss_resent(struct pc_reference_loss *loss, uint16_t sequence,
                              uint16_t rtx_sequence)
{
    struct pc_reference_loss_frame *frame = owner_of(loss, sequence);
    if (frame == NULL)
        return;
    miss(loss, frame, sequence);
    unsigned slot = rtx_sequence % PC_REFERENCE_LOSS_RESENT;
    loss->resent[slot].rtx = rtx_sequence;
    loss->resent[slot].media = sequence;
    loss->resent[slot].waiting = true;
    loss->resent[slot].lost = false;
}

void pc_reference_loss_refused(struct pc_reference_loss *loss, uint16_t sequence)
{
    struct pc_reference_loss_frame *frame = owner_of(loss, sequence);
    if (frame == NULL || (*fate_of(loss, sequence) & ARRIVED) != 0)
        return;
    bool again = (*fate_of(loss, sequence) & REFUSED) != 0;
    miss(loss, frame, sequence);
    *fate_of(loss, sequence) |= REFUSED;
    if (again)
        finish(loss, frame, sequence);
    else
        review(loss, frame);
}

void pc_reference_loss_asked_again(struct pc_reference_loss *loss, uint16_t sequence)
{
    struct pc_reference_loss_frame *frame = owner_of(loss, sequence);
    if (frame == NULL || !loss->described)
        return;
    miss(loss, frame, sequence);
    finish(loss, frame, sequence);
}

/* Is another copy of media packet `sequence` on its way? */
static bool has_copy(const struct pc_reference_loss *loss, uint16_t sequence)
{
    for (int i = 0; i < PC_REFERENCE_LOSS_RESENT; i++)
        if (loss->resent[i].waiting && loss->resent[i].media == sequence)
            return true;
    return false;
}

static void report_rtx(struct pc_reference_loss *loss, const struct pc_packet_report *report)
{
    unsigned slot = report->packet.sequence % PC_REFERENCE_LOSS_RESENT;
    bool expected = loss->resent[slot].waiting || (loss->resent[slot].lost && report->received);
    if (!expected || loss->resent[slot].rtx != report->packet.sequence)
        return;
    loss->resent[slot].waiting = false;
    loss->resent[slot].lost = !report->received;
    uint16_t sequence = loss->resent[slot].media;
    struct pc_reference_loss_frame *frame = owner_of(loss, sequence);
    if (frame == NULL)
        return;
    if (report->received)
        arrive(loss, frame, sequence);
    else if (loss->described && !has_copy(loss, sequence))
        finish(loss, frame, sequence);
}

static void report_media(struct pc_reference_loss *loss, const struct pc_packet_report *report)
{
    struct pc_reference_loss_frame *frame = owner_of(loss, report->packet.sequence);
    if (frame == NULL)
        return;
    if (report->received) {
        arrive(loss, frame, report->packet.sequence);
    } else {
        miss(loss, frame, report->packet.sequence);
        review(loss, frame);
    }
}

static void report_repair(struct pc_reference_loss *loss, const struct pc_packet_report *report)
{
    for (unsigned i = loss->length; i-- > 0;) {
        struct pc_reference_loss_frame *frame = frame_at(loss, i);
        if (!frame->begun || frame->count != report->packet.frame)
            continue;
        if (!report->received && frame->lost_repairs < frame->repairs)
            frame->lost_repairs++;
        else if (report->was_lost && frame->lost_repairs > 0)
            frame->lost_repairs--;
        review(loss, frame);
        return;
    }
}

void pc_reference_loss_report(struct pc_reference_loss *loss,
                              const struct pc_packet_report *reports, int count)
{
    for (int i = 0; i < count; i++) {
        if (reports[i].packet.kind == PC_PACKET_MEDIA)
            report_media(loss, &reports[i]);
        else if (reports[i].packet.kind == PC_PACKET_FEC)
            report_repair(loss, &reports[i]);
        else
            report_rtx(loss, &reports[i]); /* padding repeats packets too */
    }
}

bool pc_reference_loss_wish(struct pc_reference_loss *loss, uint64_t *first, uint64_t *last)
{
    loss->changed = false;
    if (loss->length == 0)
        return false;
    int oldest = oldest_lost(loss, (int)loss->length - 1);
    if (oldest < 0)
        return false;
    *first = frame_of(loss, (unsigned)oldest)->id;
    *last = frame_of(loss, loss->length - 1)->id;
    return true;
}
