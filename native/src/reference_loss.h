/* What does one receiver hold? The frames that were sent to it, each with the one it refers to, and
 * what became of their packets. A frame is lost to the receiver when a packet of it is missing and
 * will not be repaired, or when the frame it refers to is lost. Pure.
 *
 *   media lost ─▶ asked for ─▶ sent again ─▶ lost again, or asked for again ─▶ lost for good
 *                     └────▶ refused, and FEC cannot repair it ────────────────────▲
 *
 * With the Dependency Descriptor one round of retransmission is waited for: a frame that refers to
 * what the receiver holds is there as soon as a second one would be. Without it each frame is taken
 * to refer to the one before, nothing but an IDR helps, and retransmissions go on for as long as
 * the sender makes them. */
#ifndef PC_REFERENCE_LOSS_H
#define PC_REFERENCE_LOSS_H

#include "send_log.h"

#define PC_REFERENCE_LOSS_FRAMES  128
#define PC_REFERENCE_LOSS_PACKETS 4096 /* power of two; what is older counts as held */
#define PC_REFERENCE_LOSS_RESENT  256  /* power of two; retransmissions whose fate is waited for */

struct pc_reference_loss_frame {
    uint64_t id;             /* of the access unit */
    uint16_t number;         /* one after the other, as this receiver gets them */
    uint16_t reference_diff; /* how many numbers back its reference is; 0 = an IDR */
    bool begun, given_up;    /* given_up: it was not sent, or not whole */
    uint32_t count;          /* the sender's count of units; only when begun */
    uint16_t first_sequence, packets;
    uint16_t missing;               /* packets that were lost or asked for, and have not arrived */
    uint16_t final;                 /* … of them that are lost for good */
    uint16_t repairs, lost_repairs; /* FEC packets */
};

struct pc_reference_loss {
    bool described;  /* the receiver reads Dependency Descriptors */
    bool changed;    /* something was lost for good since pc_reference_loss_wish() was asked */
    bool can_resend; /* there is RTX */
    uint16_t next_number;
    uint32_t packets; /* of the frames in the ring */
    unsigned head, length;
    struct pc_reference_loss_frame frames[PC_REFERENCE_LOSS_FRAMES];
    uint8_t fates[PC_REFERENCE_LOSS_PACKETS]; /* by sequence number */
    struct {
        uint16_t rtx, media; /* sequence numbers */
        bool waiting, lost;  /* for its fate; it was told to be lost */
    } resent[PC_REFERENCE_LOSS_RESENT];
};

/* Forget all frames; numbers go on. */
void pc_reference_loss_reset(struct pc_reference_loss *loss, bool described, bool can_resend);

/* A unit is for the receiver; all before an IDR is forgotten. `id`, `idr` and `reference` as in the
 * access unit (without descriptors the reference is not looked at). Valid until the next add. */
const struct pc_reference_loss_frame *
pc_reference_loss_add(struct pc_reference_loss *loss, uint64_t id, bool idr, uint64_t reference);

/* Frame `number` is not sent, or no further than it was. */
void pc_reference_loss_give_up(struct pc_reference_loss *loss, uint16_t number);

/* Does the receiver hold frame `number`, or will it? Not when it is not known any more. */
bool pc_reference_loss_holds(const struct pc_reference_loss *loss, uint16_t number);

/* Media packet `sequence` of frame `number` was sent; `count` is the sender's count of units. */
void pc_reference_loss_sent(struct pc_reference_loss *loss, uint16_t number, uint32_t count,
                            uint16_t sequence);

/* A FEC packet for frame `number` was sent. */
void pc_reference_loss_repair_sent(struct pc_reference_loss *loss, uint16_t number);

/* Media packet `sequence` was asked for. To be told of all that are asked for at a time, before the
 * next question. */
void pc_reference_loss_asked(struct pc_reference_loss *loss, uint16_t sequence);

/* Is it of use to send media packet `sequence` again? With descriptors not when its frame is lost
 * for good, nor when so much of it is missing that another frame takes no more. */
bool pc_reference_loss_is_useful(const struct pc_reference_loss *loss, uint16_t sequence);

/* Media packet `sequence` was sent again as `rtx_sequence`; each copy is told. */
void pc_reference_loss_resent(struct pc_reference_loss *loss, uint16_t sequence,
                              uint16_t rtx_sequence);

/* Media packet `sequence` was not sent again: it is lost for good, unless FEC may repair it. Asked
 * for a second time, it did not. */
void pc_reference_loss_refused(struct pc_reference_loss *loss, uint16_t sequence);

/* Media packet `sequence` was asked for when its retransmission should have arrived: it is lost for
 * good, with descriptors. */
void pc_reference_loss_asked_again(struct pc_reference_loss *loss, uint16_t sequence);

/* What transport-wide feedback told. */
void pc_reference_loss_report(struct pc_reference_loss *loss,
                              const struct pc_packet_report *reports, int count);

/* Is the newest frame lost to the receiver? Then the units `first` to `last`, and what refers to
 * them, are of no use to it. */
bool pc_reference_loss_wish(struct pc_reference_loss *loss, uint64_t *first, uint64_t *last);

#endif
