#include <stdlib.h>

#include "harness.h"
#include "reference_loss.h"

static struct pc_reference_loss loss;
static uint16_t next_sequence;

static const struct pc_reference_loss_frame *newest(void)
{
    return &loss.frames[(loss.head + loss.length - 1) % PC_REFERENCE_LOSS_FRAMES];
}

/* A unit of so many packets, which refers to `reference`. Its number. */
static uint16_t send_unit(uint64_t id, uint64_t reference, int packets)
{
    uint16_t number = pc_reference_loss_add(&loss, id, id == reference, reference)->number;
    for (int i = 0; i < packets; i++)
        pc_reference_loss_sent(&loss, number, 1000 + (uint32_t)id, next_sequence++);
    return number;
}

/* Units 0 (an IDR) to `last`, of four packets each: unit n has the number n and the packets 4 n to
 * 4 n + 3. */
static void begin(bool described, bool can_resend, uint64_t last)
{
    memset(&loss, 0, sizeof loss);
    pc_reference_loss_reset(&loss, described, can_resend);
    next_sequence = 0;
    for (uint64_t id = 0; id <= last; id++)
        send_unit(id, id > 0 ? id - 1 : 0, 4);
}

static void report(enum pc_packet_kind kind, uint16_t sequence, uint32_t frame, bool received)
{
    const struct pc_packet_report told = {
        .packet = {.kind = kind, .sequence = sequence, .frame = frame}, .received = received};
    pc_reference_loss_report(&loss, &told, 1);
}

static void media(uint16_t sequence, bool received)
{
    report(PC_PACKET_MEDIA, sequence, 0, received);
}

static void check_wish(uint64_t expected_first, uint64_t expected_last)
{
    uint64_t first = 99999, last = 99999;
    CHECK(pc_reference_loss_wish(&loss, &first, &last));
    CHECK_EQ(first, expected_first);
    CHECK_EQ(last, expected_last);
}

static void check_no_wish(void)
{
    uint64_t first, last;
    CHECK(!pc_reference_loss_wish(&loss, &first, &last));
}

static void nothing_is_wished_for_without_loss(void)
{
    begin(true, true, 10);
    check_no_wish();
    for (uint16_t i = 0; i < 44; i++)
        media(i, true);
    check_no_wish();
    CHECK(!loss.changed);
    CHECK(pc_reference_loss_holds(&loss, 10));
    CHECK(!pc_reference_loss_holds(&loss, 11));
}

/* Lost, asked for, sent again, arrived: nobody has to do anything else. */
static void a_retransmission_repairs(void)
{
    begin(true, true, 10);
    media(21, false);
    pc_reference_loss_resent(&loss, 21, 7);
    check_no_wish();
    report(PC_PACKET_RTX, 7, 99, true);
    CHECK_EQ(loss.frames[5].missing, 0);
    check_no_wish();
}

static void a_refused_retransmission_loses_the_frame(void)
{
    begin(true, true, 10);
    pc_reference_loss_refused(&loss, 21);
    CHECK(loss.changed);
    check_wish(5, 10);
    CHECK(!loss.changed);
    CHECK(pc_reference_loss_holds(&loss, 4));
    for (uint16_t number = 5; number <= 10; number++)
        CHECK(!pc_reference_loss_holds(&loss, number));
    CHECK(pc_reference_loss_is_useful(&loss, 19));
    CHECK(!pc_reference_loss_is_useful(&loss, 20));
    CHECK(!pc_reference_loss_is_useful(&loss, 43));
}

static void a_retransmission_that_is_lost_loses_the_frame(void)
{
    begin(true, true, 10);
    pc_reference_loss_resent(&loss, 21, 7);
    report(PC_PACKET_RTX, 7, 99, false);
    check_wish(5, 10);
    /* It comes after all. */
    report(PC_PACKET_RTX, 7, 99, true);
    check_no_wish();
}

/* Two copies: one of them is enough. */
static void the_last_copy_decides(void)
{
    for (int second = 0; second < 2; second++) {
        begin(true, true, 10);
        pc_reference_loss_resent(&loss, 21, 7);
        pc_reference_loss_resent(&loss, 21, 8);
        report(PC_PACKET_RTX, 7, 99, false);
        check_no_wish();
        report(PC_PACKET_RTX, 8, 99, second != 0);
        if (second != 0)
            check_no_wish();
        else
            check_wish(5, 10);
    }
}

static void asked_for_again_it_is_lost(void)
{
    begin(true, true, 10);
    pc_reference_loss_resent(&loss, 21, 7);
    check_no_wish();
    pc_reference_loss_asked_again(&loss, 21);
    check_wish(5, 10);
}

/* A frame that is mostly missing costs as much as another one: it is not sent again. */
static void a_frame_that_is_mostly_missing_is_given_up(void)
{
    begin(true, true, 10);
    for (uint16_t i = 40; i < 43; i++)
        pc_reference_loss_asked(&loss, i);
    CHECK(pc_reference_loss_is_useful(&loss, 40)); /* three packets are few */
    pc_reference_loss_asked(&loss, 43);
    check_no_wish(); /* FEC may repair it */
    CHECK(!pc_reference_loss_is_useful(&loss, 40));
    pc_reference_loss_refused(&loss, 40);
    check_wish(10, 10);

    begin(true, true, 0);
    send_unit(1, 0, 20);
    for (uint16_t i = 4; i < 14; i++)
        pc_reference_loss_asked(&loss, i);
    CHECK(pc_reference_loss_is_useful(&loss, 4)); /* half of it is there */
    pc_reference_loss_asked(&loss, 14);
    CHECK(!pc_reference_loss_is_useful(&loss, 4));

    /* Without descriptors, and for an IDR, there is nothing better. */
    begin(false, true, 10);
    for (uint16_t i = 40; i < 44; i++)
        pc_reference_loss_asked(&loss, i);
    CHECK(pc_reference_loss_is_useful(&loss, 40));
    begin(true, true, 0);
    for (uint16_t i = 0; i < 4; i++)
        pc_reference_loss_asked(&loss, i);
    CHECK(pc_reference_loss_is_useful(&loss, 0));
}

/* The next frame refers to what is held: nothing more to wish for, whatever else becomes known of
 * the lost ones. */
static void the_answer_ends_the_wish(void)
{
    begin(true, true, 10);
    pc_reference_loss_refused(&loss, 21);
    check_wish(5, 10);
    send_unit(11, 4, 4);
    check_no_wish();
    pc_reference_loss_refused(&loss, 25);
    check_no_wish();
    send_unit(12, 11, 4);
    check_no_wish();
    CHECK(pc_reference_loss_holds(&loss, 12));
    /* What it refers to is lost too: that is another loss. */
    pc_reference_loss_refused(&loss, 16);
    check_wish(4, 12);
}

static void without_rtx_a_loss_is_final(void)
{
    begin(true, false, 10);
    media(21, false);
    check_wish(5, 10);
}

/* As many may be missing as there are FEC packets that were not lost. */
static void fec_is_waited_for(void)
{
    begin(true, true, 5);
    pc_reference_loss_repair_sent(&loss, 5);
    pc_reference_loss_repair_sent(&loss, 5);
    pc_reference_loss_refused(&loss, 21);
    pc_reference_loss_refused(&loss, 22);
    check_no_wish();
    report(PC_PACKET_FEC, 1, 1005, true);
    check_no_wish();
    report(PC_PACKET_FEC, 2, 1005, false);
    check_wish(5, 5);

    begin(true, true, 5);
    pc_reference_loss_repair_sent(&loss, 5);
    pc_reference_loss_refused(&loss, 21);
    check_no_wish();
    media(20, false); /* one more than can be repaired, and it may still be asked for: … */
    check_wish(5, 5);
    CHECK_EQ(loss.frames[5].final, 1); /* … the one that was refused is lost */

    begin(true, true, 5);
    pc_reference_loss_repair_sent(&loss, 5);
    pc_reference_loss_refused(&loss, 21);
    pc_reference_loss_refused(&loss, 21); /* asked for again: it was not repaired */
    check_wish(5, 5);
}

/* Without descriptors nothing but an IDR helps, and retransmissions go on. */
static void without_descriptors(void)
{
    begin(false, true, 5);
    pc_reference_loss_resent(&loss, 21, 7);
    report(PC_PACKET_RTX, 7, 99, false);
    pc_reference_loss_asked_again(&loss, 21);
    check_no_wish();
    pc_reference_loss_refused(&loss, 21);
    check_wish(5, 5);
    CHECK(pc_reference_loss_is_useful(&loss, 21));
    send_unit(6, 2, 4); /* whatever it refers to */
    check_wish(5, 6);
    CHECK(!pc_reference_loss_add(&loss, 7, false, 7)->given_up); /* nobody knows to what */
    check_wish(5, 7);
    send_unit(8, 8, 4);
    check_no_wish();
}

static void what_is_not_sent_is_not_held(void)
{
    begin(true, true, 5);
    pc_reference_loss_add(&loss, 6, false, 5);
    CHECK(pc_reference_loss_holds(&loss, 6)); /* it waits to be sent */
    pc_reference_loss_give_up(&loss, 6);
    pc_reference_loss_add(&loss, 7, false, 6);
    CHECK(!pc_reference_loss_holds(&loss, 7));
    check_wish(6, 7);
    pc_reference_loss_give_up(&loss, 77); /* nobody knows it */
    check_wish(6, 7);
}

static void a_new_idr_forgets(void)
{
    begin(true, true, 5);
    pc_reference_loss_refused(&loss, 21);
    send_unit(6, 6, 4);
    check_no_wish();
    CHECK_EQ(loss.length, 1);
    CHECK_EQ(loss.packets, 4);
    pc_reference_loss_refused(&loss, 22); /* of before */
    check_no_wish();
    CHECK(!pc_reference_loss_is_useful(&loss, 22));
}

/* Numbers are one after the other, from IDR to IDR and from stream to stream. */
static void numbers_go_on(void)
{
    begin(true, true, 5);
    CHECK_EQ(newest()->reference_diff, 1);
    CHECK_EQ(send_unit(20, 20, 1), 6);
    CHECK_EQ(newest()->reference_diff, 0);
    pc_reference_loss_reset(&loss, true, true);
    CHECK_EQ(send_unit(3, 3, 1), 7);
    CHECK_EQ(send_unit(9, 3, 1), 8);
    CHECK_EQ(send_unit(12, 3, 1), 9);
    CHECK_EQ(newest()->reference_diff, 2);
    loss.next_number = 65535;
    pc_reference_loss_reset(&loss, true, true);
    send_unit(0, 0, 1);
    CHECK_EQ(send_unit(1, 0, 1), 0);
    CHECK_EQ(newest()->reference_diff, 1);
    CHECK(pc_reference_loss_holds(&loss, 0));
    CHECK(pc_reference_loss_holds(&loss, 65535));
    CHECK(!pc_reference_loss_holds(&loss, 65534));
    CHECK(!pc_reference_loss_holds(&loss, 1));
}

/* A unit that refers to one that never was for this receiver. */
static void an_unknown_reference_is_not_held(void)
{
    begin(true, true, 5);
    send_unit(20, 19, 4);
    CHECK(!pc_reference_loss_holds(&loss, 6));
    check_wish(20, 20);
    begin(false, true, 5);
    send_unit(20, 19, 4);
    CHECK(pc_reference_loss_holds(&loss, 6));
}

/* Two encodes of one picture: the IDR to which the receiver moves has the id of the last unit. */
static void units_that_wait_behind_a_move(void)
{
    begin(true, true, 5);
    uint16_t waiting = pc_reference_loss_add(&loss, 6, false, 5)->number;
    uint16_t idr = pc_reference_loss_add(&loss, 6, true, 6)->number;
    pc_reference_loss_sent(&loss, waiting, 6, 500);
    CHECK(!newest()->begun);
    pc_reference_loss_sent(&loss, idr, 7, 501);
    pc_reference_loss_refused(&loss, 500);
    check_no_wish();
    pc_reference_loss_refused(&loss, 501);
    check_wish(6, 6);
}

/* What is out of the ring is not forgotten by those that refer to it. */
static void a_loss_outlives_the_ring(void)
{
    begin(true, true, 5);
    pc_reference_loss_refused(&loss, 21);
    for (uint64_t id = 6; id < 400; id++)
        send_unit(id, id - 1, 4);
    check_wish(399 - PC_REFERENCE_LOSS_FRAMES + 1, 399);
    CHECK(loss.packets <= PC_REFERENCE_LOSS_PACKETS);
    begin(true, true, 400);
    check_no_wish();
    CHECK(pc_reference_loss_holds(&loss, 400));
}

static void large_frames_push_out_old_ones(void)
{
    begin(true, true, 5);
    for (uint64_t id = 6; id < 20; id++)
        send_unit(id, id - 1, 1500);
    CHECK(loss.packets <= PC_REFERENCE_LOSS_PACKETS);
    CHECK_EQ(loss.length, 2);
    pc_reference_loss_refused(&loss, (uint16_t)(next_sequence - 1));
    check_wish(19, 19);
    pc_reference_loss_refused(&loss, 21); /* of unit 5, long gone */
    check_wish(19, 19);
}

/* Sequence numbers wrap in the middle of a frame. */
static void sequence_numbers_wrap(void)
{
    begin(true, true, 0);
    next_sequence = 65530;
    send_unit(1, 0, 4);
    send_unit(2, 1, 4);
    send_unit(3, 2, 4);
    pc_reference_loss_refused(&loss, 1);
    check_wish(2, 3);
    media(1, true);
    check_no_wish();
}

/* Against a model that knows everything: with losses, retransmissions and an encoder that follows
 * the wishes, what is wished for is what the receiver lacks. */
static void agrees_with_a_receiver(void)
{
    enum { UNITS = 3000, PACKETS = 3 };
    static bool held[UNITS];
    static uint64_t reference[UNITS];
    uint64_t random = 11, newest_good = 0;
    begin(true, true, 0);
    held[0] = true;
    int wishes = 0, wrong = 0;
    for (uint64_t id = 1; id < UNITS; id++) {
        reference[id] = newest_good;
        uint16_t first = next_sequence;
        uint16_t number = send_unit(id, reference[id], PACKETS);
        bool whole = true;
        for (uint16_t i = 0; i < PACKETS; i++) {
            uint16_t sequence = (uint16_t)(first + i);
            bool arrives = harness_random(&random) % 20 != 0;
            media(sequence, arrives);
            if (!arrives && harness_random(&random) % 2 == 0) {
                pc_reference_loss_resent(&loss, sequence, (uint16_t)id);
                arrives = harness_random(&random) % 3 != 0;
                report(PC_PACKET_RTX, (uint16_t)id, 0, arrives);
            } else if (!arrives) {
                pc_reference_loss_refused(&loss, sequence);
            }
            whole = whole && arrives;
        }
        held[id] = whole && held[reference[id]];
        uint64_t first_lost, last_lost;
        bool wished = pc_reference_loss_wish(&loss, &first_lost, &last_lost);
        wrong += wished == held[id];
        wrong += pc_reference_loss_holds(&loss, number) != held[id];
        wishes += wished;
        if (wished) {
            wrong += held[first_lost] || last_lost != id;
            for (newest_good = id; newest_good >= first_lost || !held[newest_good];)
                newest_good--;
        } else {
            newest_good = id;
        }
        if (id - newest_good > 14) { /* beyond what an encoder keeps */
            id++;
            if (id < UNITS) {
                send_unit(id, id, PACKETS);
                held[id] = true;
                newest_good = id;
            }
        }
    }
    CHECK_EQ(wrong, 0);
    CHECK(wishes > 100);
}

int main(void)
{
    RUN(nothing_is_wished_for_without_loss);
    RUN(a_retransmission_repairs);
    RUN(a_refused_retransmission_loses_the_frame);
    RUN(a_retransmission_that_is_lost_loses_the_frame);
    RUN(the_last_copy_decides);
    RUN(asked_for_again_it_is_lost);
    RUN(a_frame_that_is_mostly_missing_is_given_up);
    RUN(the_answer_ends_the_wish);
    RUN(without_rtx_a_loss_is_final);
    RUN(fec_is_waited_for);
    RUN(without_descriptors);
    RUN(what_is_not_sent_is_not_held);
    RUN(a_new_idr_forgets);
    RUN(numbers_go_on);
    RUN(an_unknown_reference_is_not_held);
    RUN(units_that_wait_behind_a_move);
    RUN(a_loss_outlives_the_ring);
    RUN(large_frames_push_out_old_ones);
    RUN(sequence_numbers_wrap);
    RUN(agrees_with_a_receiver);
    return HARNESS_RESULT();
}
