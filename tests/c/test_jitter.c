#include "jitter.h"

#include <errno.h>
#include <stdlib.h>

#include "harness.h"

#define MS    UINT64_C(1000000)
#define FRAME UINT64_C(16666666) /* ns from one to the next */

/* ---- Packets of frames whose payload is their sequence number ---- */

static struct pc_jitter *jitter;
static uint64_t now; /* ns */

struct frame {
    int64_t first;
    int packets; /* one at least */
    uint32_t timestamp;
    bool idr, no_marker;
    uint16_t number; /* with a descriptor */
    int diff;        /* … it refers to number - diff; -1: no descriptor */
};

static int put_packet(const struct frame *frame, int index)
{
    int64_t sequence = frame->first + index;
    uint8_t descriptor[PC_DEPENDENCY_MAX_BYTES];
    bool last = index + 1 == frame->packets;
    struct pc_jitter_packet packet = {
        .sequence = sequence,
        .timestamp = frame->timestamp,
        .marker = last && !frame->no_marker,
        .begins = frame->idr && index == 0 && frame->diff < 0,
        .idr = frame->idr,
        .arrived_ns = now,
        .payload = (const uint8_t *)&sequence,
        .payload_bytes = sizeof sequence,
    };
    if (frame->diff >= 0) {
        packet.descriptor = descriptor;
        packet.descriptor_bytes = pc_dependency_descriptor_write(descriptor, index == 0, last,
                                                                 frame->number, frame->diff);
    }
    return pc_jitter_insert(jitter, &packet);
}

static int put_padding(int64_t sequence, uint32_t timestamp)
{
    const struct pc_jitter_packet packet = {
        .sequence = sequence, .timestamp = timestamp, .arrived_ns = now};
    return pc_jitter_insert(jitter, &packet);
}

static void put(const struct frame *frame)
{
    for (int i = 0; i < frame->packets; i++)
        CHECK_EQ(put_packet(frame, i), 0);
}

static struct frame plain(int64_t first, int packets, bool idr)
{
    return (struct frame){.first = first,
                          .packets = packets,
                          .timestamp = (uint32_t)first * 10,
                          .idr = idr,
                          .diff = -1};
}

static struct frame described(int64_t first, uint16_t number, int diff)
{
    return (struct frame){.first = first,
                          .packets = 2,
                          .timestamp = (uint32_t)first * 10,
                          .idr = diff == 0,
                          .number = number,
                          .diff = diff};
}

/* Take the next frame, check that its payloads are its own, and let it go. Returns its first
 * sequence number; -1: there is none. */
static struct pc_jitter_frame taken;
static int64_t take(void)
{
    const struct pc_jitter_frame *frame = pc_jitter_take(jitter, now);
    if (frame == NULL)
        return -1;
    taken = *frame;
    int packets = 0;
    for (int64_t i = frame->first; i <= frame->last; i++) {
        size_t size;
        const uint8_t *payload = pc_jitter_payload(jitter, i, &size);
        if (payload == NULL)
            continue;
        packets++;
        CHECK_EQ(size, sizeof i);
        CHECK_BYTES(payload, &i, sizeof i);
    }
    CHECK_EQ(packets, frame->packets);
    pc_jitter_release(jitter, true);
    return taken.first;
}

static void begin(uint64_t target_ns)
{
    jitter = pc_jitter_create(target_ns);
    now = 1000 * MS;
}

static void end(void)
{
    pc_jitter_destroy(jitter);
}

/* ---- Tests ---- */

static void a_frame_is_given_out_when_its_last_packet_comes(void)
{
    begin(0);
    struct frame idr = plain(100, 3, true), next = plain(103, 1, false);
    for (int order = 0; order < 3; order++) {
        static const int orders[3][3] = {{0, 1, 2}, {2, 0, 1}, {2, 1, 0}};
        pc_jitter_reset(jitter);
        for (int i = 0; i < 3; i++) {
            CHECK_EQ(take(), -1);
            now += MS;
            CHECK_EQ(put_packet(&idr, orders[order][i]), 0);
        }
        CHECK_EQ(take(), 100);
        CHECK_EQ(taken.last, 102);
        CHECK_EQ(taken.timestamp, 1000);
        CHECK(taken.idr && !taken.recovered);
        CHECK_EQ(taken.complete_ns, now);
        CHECK_EQ(taken.first_packet_ns, now - 2 * MS);
        put(&next);
        CHECK_EQ(take(), 103);
        CHECK(!taken.idr);
        CHECK_EQ(take(), -1);
        CHECK_EQ(pc_jitter_dropped(jitter), 0);
    }
    end();
}

static void nothing_is_given_out_before_an_idr(void)
{
    begin(0);
    struct frame one = plain(10, 2, false), two = plain(12, 2, false), idr = plain(14, 2, true);
    put(&one);
    put(&two);
    CHECK_EQ(take(), -1);
    CHECK(pc_jitter_lost(jitter));
    CHECK_EQ(pc_jitter_blocked_since(jitter), now); /* `two` is seen to be whole */
    put(&idr);
    CHECK_EQ(take(), 14);
    CHECK(!pc_jitter_lost(jitter));
    CHECK_EQ(pc_jitter_dropped(jitter), 2);
    CHECK_EQ(pc_jitter_next(jitter), 16);
    end();
}

static void a_hole_holds_up_what_follows(void)
{
    begin(0);
    struct frame idr = plain(10, 2, true), holed = plain(12, 3, false), after = plain(15, 2, false);
    put(&idr);
    CHECK_EQ(take(), 10);
    put_packet(&holed, 0);
    put_packet(&holed, 2);
    put(&after);
    CHECK_EQ(take(), -1);
    put_packet(&holed, 1);
    CHECK_EQ(take(), 12);
    CHECK_EQ(take(), 15);
    end();
}

static void an_idr_passes_a_hole(void)
{
    begin(0);
    struct frame idr = plain(10, 2, true), holed = plain(12, 3, false), after = plain(15, 2, false),
                 second = plain(20, 2, true), third = plain(22, 1, false);
    put(&idr);
    CHECK_EQ(take(), 10);
    put_packet(&holed, 1);
    put(&after);
    put(&second);
    CHECK_EQ(take(), 20);
    CHECK_EQ(pc_jitter_dropped(jitter), 2); /* two of which something came */
    CHECK_EQ(put_packet(&holed, 0), -EALREADY);
    put(&third);
    CHECK_EQ(take(), 22);
    end();
}

static void the_packet_before_shows_where_a_frame_begins(void)
{
    begin(0);
    struct frame idr = plain(10, 2, true), lost = plain(12, 2, false), after = plain(14, 2, false);
    put(&idr);
    CHECK_EQ(take(), 10);
    put(&after); /* 13 may be of the same frame, for all that is known */
    CHECK_EQ(pc_jitter_blocked_since(jitter), UINT64_MAX);
    put_packet(&lost, 1);
    CHECK_EQ(pc_jitter_blocked_since(jitter), now);
    put_packet(&lost, 0);
    CHECK_EQ(take(), 12);
    CHECK_EQ(take(), 14);

    /* … with padding between them, too. */
    struct frame third = plain(16, 2, false), fourth = plain(19, 1, false);
    put_packet(&third, 1);
    put_padding(18, 0);
    put(&fourth);
    CHECK_EQ(pc_jitter_blocked_since(jitter), now);
    end();
}

static void without_markers_the_next_frame_ends_one(void)
{
    begin(0);
    struct frame frames[4];
    for (int i = 0; i < 4; i++) {
        frames[i] = plain(10 + 2 * i, 2, i == 0);
        frames[i].no_marker = true;
    }
    put(&frames[0]);
    CHECK_EQ(take(), -1);
    put_packet(&frames[1], 1);
    CHECK_EQ(take(), -1);
    put_packet(&frames[1], 0);
    CHECK_EQ(take(), 10);
    CHECK_EQ(take(), -1);
    CHECK_EQ(put_padding(14, frames[1].timestamp), 0);
    CHECK_EQ(take(), -1);
    frames[2].first = 15;
    put(&frames[2]);
    CHECK_EQ(take(), 12);
    CHECK_EQ(taken.packets, 2);
    end();
}

static void padding_belongs_to_no_frame(void)
{
    for (int order = 0; order < 2; order++) { /* in order, and from behind */
        begin(0);
        struct frame idr = plain(10, 2, true), second = plain(14, 1, false),
                     third = plain(15, 3, false);
        put(&idr);
        CHECK_EQ(take(), 10);
        if (order == 0) {
            put_padding(12, idr.timestamp);
            put_padding(13, second.timestamp);
            put(&second);
        } else {
            put(&second);
            put_padding(13, second.timestamp);
            put_padding(12, idr.timestamp);
        }
        CHECK_EQ(take(), 14);
        /* … also in the midst of one. */
        third.packets = 1;
        third.no_marker = true;
        put(&third);
        struct frame rest = third;
        rest.first = 18;
        rest.packets = 2;
        rest.no_marker = false;
        if (order == 0) {
            put_padding(16, third.timestamp);
            put_padding(17, 99);
            put(&rest);
        } else {
            put(&rest);
            put_padding(17, 99);
            put_padding(16, third.timestamp);
        }
        CHECK_EQ(take(), 15);
        CHECK_EQ(taken.last, 19);
        CHECK_EQ(taken.packets, 3);
        CHECK_EQ(put_padding(20, 5), 0);
        CHECK_EQ(pc_jitter_next(jitter), 21);
        CHECK_EQ(pc_jitter_dropped(jitter), 0);
        end();
    }
}

static void what_is_learnt_passes_through_padding(void)
{
    /* The frame's packets are 10, 11 and 13; what 10 shows is told to 13 through 12. */
    static const int orders[4][4] = {
        {13, 12, 11, 10}, {11, 12, 13, 10}, {12, 11, 13, 10}, {13, 11, 10, 12}};
    for (int order = 0; order < 4; order++) {
        begin(0);
        struct frame start = plain(10, 2, true), rest = plain(13, 1, false);
        start.no_marker = true;
        rest.timestamp = start.timestamp;
        for (int i = 0; i < 4; i++) {
            CHECK_EQ(take(), -1);
            int64_t sequence = orders[order][i];
            if (sequence == 12)
                put_padding(12, 0);
            else if (sequence == 13)
                put(&rest);
            else
                put_packet(&start, (int)sequence - 10);
        }
        CHECK_EQ(take(), 10);
        CHECK_EQ(taken.last, 13);
        end();
    }
}

static void copies_and_what_is_too_late_are_refused(void)
{
    begin(0);
    struct frame idr = plain(10, 2, true);
    CHECK_EQ(put_packet(&idr, 0), 0);
    CHECK_EQ(put_packet(&idr, 0), -EALREADY);
    CHECK_EQ(put_packet(&idr, 1), 0);
    CHECK_EQ(take(), 10);
    CHECK_EQ(put_packet(&idr, 1), -EALREADY);
    uint8_t payload[PC_JITTER_BYTES + 1] = {0};
    struct pc_jitter_packet large = {
        .sequence = 12, .payload = payload, .payload_bytes = sizeof payload};
    CHECK_EQ(pc_jitter_insert(jitter, &large), -EMSGSIZE);
    large.payload_bytes = 10;
    large.descriptor = payload;
    large.descriptor_bytes = 256;
    CHECK_EQ(pc_jitter_insert(jitter, &large), -EMSGSIZE);
    large.descriptor_bytes = 0;
    large.payload_bytes = PC_JITTER_BYTES;
    CHECK_EQ(pc_jitter_insert(jitter, &large), 0);
    end();
}

static void a_frame_that_was_not_what_it_seemed_breaks_the_chain(void)
{
    begin(0);
    struct frame idr = plain(10, 1, true), bad = plain(11, 1, false), after = plain(12, 1, false),
                 second = plain(13, 1, true);
    put(&idr);
    CHECK_EQ(take(), 10);
    put(&bad);
    CHECK(pc_jitter_take(jitter, now) != NULL);
    pc_jitter_release(jitter, false);
    CHECK(pc_jitter_lost(jitter));
    put(&after);
    CHECK_EQ(take(), -1);
    put(&second);
    CHECK_EQ(take(), 13);
    CHECK_EQ(pc_jitter_dropped(jitter), 2);
    end();
}

static void descriptors_tell_what_can_be_decoded(void)
{
    begin(0);
    struct frame idr = described(10, 100, 0), one = described(12, 101, 1),
                 lost = described(14, 102, 1), useless = described(16, 103, 1),
                 rescue = described(18, 104, 3), next = described(20, 105, 1);
    put(&idr);
    put(&one);
    CHECK_EQ(take(), 10);
    CHECK_EQ(take(), 12);
    put_packet(&lost, 0);
    now += MS;
    put(&useless);
    CHECK_EQ(take(), -1);
    CHECK_EQ(pc_jitter_blocked_since(jitter), now);
    put(&rescue); /* refers to 101, which was given out */
    CHECK_EQ(take(), 18);
    CHECK_EQ(pc_jitter_blocked_since(jitter), UINT64_MAX);
    CHECK_EQ(put_packet(&lost, 1), -EALREADY);
    put(&next);
    CHECK_EQ(take(), 20);
    CHECK_EQ(pc_jitter_dropped(jitter), 2);
    end();
}

static void a_descriptor_waits_for_its_structure(void)
{
    begin(0);
    struct frame idr = described(10, 7, 0), second = described(14, 9, 2);
    put(&second); /* 8, in 12 and 13, is lost */
    CHECK_EQ(take(), -1);
    put(&idr);
    CHECK_EQ(take(), 10);
    CHECK_EQ(take(), 14);
    end();
}

static void a_descriptor_shows_where_a_frame_begins_and_ends(void)
{
    begin(0);
    struct frame idr = described(10, 7, 0), one = described(12, 8, 1), two = described(15, 9, 2);
    idr.no_marker = one.no_marker = two.no_marker = true;
    put(&idr);
    CHECK_EQ(take(), 10);
    put(&two); /* 14 is missing, and of no interest */
    CHECK_EQ(take(), 15);
    CHECK_EQ(put_packet(&one, 0), -EALREADY);
    end();
}

static void the_target_smooths_the_way(void)
{
    begin(20 * MS);
    uint64_t start = now;
    uint64_t random = 6;
    for (int i = 0; i < 300; i++) {
        struct frame frame = plain(10 + i, 1, i == 0);
        frame.timestamp = (uint32_t)(1000 + 1500 * i);
        uint64_t captured = start + FRAME * (uint64_t)i;
        now = captured + (i == 0 ? 0 : harness_random(&random) % (15 * MS));
        put(&frame);
        CHECK_EQ(take(), -1);
        uint64_t due = pc_jitter_due(jitter);
        CHECK(due >= captured + 20 * MS - 1000 && due <= captured + 20 * MS + 1000);
        now = due - 1;
        CHECK_EQ(take(), -1);
        now = due;
        CHECK_EQ(take(), 10 + i);
    }
    CHECK_EQ(pc_jitter_due(jitter), UINT64_MAX);
    /* One that comes after its time is given out at once. */
    struct frame late = plain(310, 1, false);
    late.timestamp = 1000 + 1500 * 300;
    now = start + FRAME * 300 + 50 * MS;
    put(&late);
    CHECK_EQ(take(), 310);
    /* A timestamp from anywhere holds nothing up for longer than the target. */
    struct frame odd = plain(311, 1, false);
    odd.timestamp = late.timestamp + 0x70000000;
    put(&odd);
    CHECK(pc_jitter_due(jitter) <= now + 20 * MS);
    pc_jitter_set_target(jitter, 0);
    CHECK_EQ(take(), 311);
    end();
}

static void a_slower_way_becomes_the_usual_one(void)
{
    begin(10 * MS);
    uint64_t start = now;
    for (int i = 0; i < 1800; i++) {
        struct frame frame = plain(10 + i, 1, i == 0);
        frame.timestamp = (uint32_t)(1500 * i);
        uint64_t longer = i < 60 ? 0 : 100 * MS; /* the path changes after a second */
        now = start + FRAME * (uint64_t)i + longer;
        put(&frame);
        uint64_t due = pc_jitter_due(jitter);
        if (i >= 60 && i < 300)
            CHECK(due <= now);
        if (i > 1200)
            CHECK(due > now + 9 * MS && due < now + 11 * MS);
        now = due > now ? due : now;
        CHECK_EQ(take(), 10 + i);
    }
    end();
}

static void the_oldest_gives_way_when_there_is_no_room(void)
{
    begin(0);
    struct frame idr = plain(1, 2, true);
    put(&idr);
    CHECK_EQ(take(), 1);
    struct frame holed = plain(3, 2, false);
    put_packet(&holed, 0);
    for (int64_t i = 5; i < 20000; i += 50) {
        struct frame frame = plain(i, 50, false);
        put(&frame);
        CHECK_EQ(take(), -1);
    }
    CHECK(pc_jitter_lost(jitter));
    CHECK(pc_jitter_next(jitter) > 20000 - PC_JITTER_PACKETS);
    idr = plain(20005, 2, true);
    put(&idr);
    CHECK_EQ(take(), 20005);
    /* Far ahead. */
    idr = plain(INT64_C(1000000), 2, true);
    put(&idr);
    CHECK_EQ(take(), 1000000);
    /* Many small frames behind a hole. */
    for (int64_t i = 1000003; i < 1000003 + 2 * PC_JITTER_FRAMES; i++) {
        struct frame frame = plain(i, 1, false);
        put(&frame);
        CHECK_EQ(take(), -1);
    }
    CHECK(pc_jitter_lost(jitter));
    end();
}

static void what_waits_for_its_time_is_not_pushed_out(void)
{
    begin(1000 * MS);
    for (int64_t i = 0; i < PC_JITTER_FRAMES; i++) {
        struct frame frame = plain(10 + i, 1, i == 0);
        put(&frame);
    }
    CHECK_EQ(take(), -1);
    struct frame one_more = plain(10 + PC_JITTER_FRAMES, 1, false);
    CHECK_EQ(put_packet(&one_more, 0), -ENOSPC);
    now = UINT64_MAX;
    for (int64_t i = 0; i < PC_JITTER_FRAMES; i++)
        CHECK_EQ(take(), 10 + i);
    CHECK_EQ(put_packet(&one_more, 0), 0);
    end();
}

/* Frames of random sizes over a link that reorders, copies and loses packets, some of them for
 * good: what comes out is what a plain account says can. */
static void agrees_with_a_plain_account(void)
{
    enum { FRAMES = 2000, REACH = 40 };
    static struct frame frames[FRAMES];
    static struct {
        int frame, index;
        uint64_t key;
    } order[FRAMES * 8];
    static int left[FRAMES];
    uint64_t random = 21;
    for (int round = 0; round < 4; round++) {
        int count = 0;
        int64_t next = 65000;
        unsigned lossy = round % 3 == 0 ? 0 : 4 * (unsigned)round;
        for (int i = 0; i < FRAMES; i++) {
            bool idr = i == 0 || harness_random(&random) % 50 == 0;
            frames[i] = plain(next, 1 + (int)(harness_random(&random) % 7), idr);
            next += frames[i].packets + (harness_random(&random) % 10 == 0); /* padding follows */
            left[i] = frames[i].packets;
            for (int k = 0; k < frames[i].packets; k++) {
                if (i > 0 && harness_random(&random) % 1000 < lossy)
                    continue;
                uint64_t key =
                    (uint64_t)count * 4 +
                    harness_random(&random) % (harness_random(&random) % 4 == 0 ? REACH : 4);
                order[count].frame = i;
                order[count].index = k;
                order[count++].key = i == 0 ? 0 : key;
            }
        }
        for (int i = 1; i < count; i++) /* nearly sorted: insertion is quick */
            for (int k = i; k > 0 && order[k - 1].key > order[k].key; k--) {
                __typeof__(order[0]) swap = order[k];
                order[k] = order[k - 1];
                order[k - 1] = swap;
            }
        begin(0);
        int given = -1, expected = -1; /* frames: last given out, last that may be */
        int out = 0, seen = 0;         /* … the last of which something came */
        for (int i = 0; i < count; i++) {
            const struct frame *frame = &frames[order[i].frame];
            now += MS / 10;
            int result = put_packet(frame, order[i].index);
            CHECK_EQ(result, order[i].frame <= given ? -EALREADY : 0);
            if (harness_random(&random) % 30 == 0)
                CHECK_EQ(put_packet(frame, order[i].index), -EALREADY);
            /* Padding comes with the last packet of the frame before it. */
            if (order[i].index + 1 == frame->packets && order[i].frame + 1 < FRAMES)
                for (int64_t k = frame->first + frame->packets;
                     k < frames[order[i].frame + 1].first; k++)
                    put_padding(k, frame->timestamp);
            left[order[i].frame]--;
            seen = order[i].frame > seen ? order[i].frame : seen;
            /* What may be given out now: the next frame, or an IDR that is whole. */
            for (bool more = true; more;) {
                more = false;
                if (expected + 1 < FRAMES && left[expected + 1] == 0) {
                    expected++;
                    more = true;
                }
                for (int k = expected + 1; !more && k <= seen; k++)
                    if (frames[k].idr && left[k] == 0) {
                        expected = k;
                        more = true;
                    }
            }
            for (int64_t first; (first = take()) >= 0; out++) {
                int k = given + 1;
                while (k < FRAMES && frames[k].first < first)
                    k++;
                CHECK(k < FRAMES && frames[k].first == first);
                CHECK(k == given + 1 || frames[k].idr);
                given = k;
            }
            CHECK_EQ(given, expected);
            if (given != expected)
                return;
        }
        CHECK(out > FRAMES / (lossy == 0 ? 2 : 10));
        end();
    }
}

int main(void)
{
    RUN(a_frame_is_given_out_when_its_last_packet_comes);
    RUN(nothing_is_given_out_before_an_idr);
    RUN(a_hole_holds_up_what_follows);
    RUN(an_idr_passes_a_hole);
    RUN(the_packet_before_shows_where_a_frame_begins);
    RUN(without_markers_the_next_frame_ends_one);
    RUN(padding_belongs_to_no_frame);
    RUN(what_is_learnt_passes_through_padding);
    RUN(copies_and_what_is_too_late_are_refused);
    RUN(a_frame_that_was_not_what_it_seemed_breaks_the_chain);
    RUN(descriptors_tell_what_can_be_decoded);
    RUN(a_descriptor_waits_for_its_structure);
    RUN(a_descriptor_shows_where_a_frame_begins_and_ends);
    RUN(the_target_smooths_the_way);
    RUN(a_slower_way_becomes_the_usual_one);
    RUN(the_oldest_gives_way_when_there_is_no_room);
    RUN(what_waits_for_its_time_is_not_pushed_out);
    RUN(agrees_with_a_plain_account);
    return HARNESS_RESULT();
}
