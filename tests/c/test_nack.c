#include "nack.h"

#include "harness.h"

#define MS    UINT64_C(1000000)
#define START (5 * 1000 * MS)

static struct pc_nack nack;
static uint16_t asked[PC_NACK_KEPT];

static enum pc_nack_arrival came(int64_t sequence, uint64_t now_ns)
{
    return pc_nack_arrived(&nack, sequence, PC_ORIGIN_ITSELF, now_ns);
}

static enum pc_nack_arrival resent(int64_t sequence, uint64_t now_ns)
{
    return pc_nack_arrived(&nack, sequence, PC_ORIGIN_RTX, now_ns);
}

static int take(uint64_t now_ns)
{
    return pc_nack_take(&nack, asked, PC_NACK_KEPT, now_ns);
}

/* When the next request goes out, which is for `sequence` alone. */
static uint64_t next_request(uint16_t sequence, uint64_t now_ns)
{
    int count;
    while ((count = take(now_ns)) == 0 && pc_nack_due(&nack) != UINT64_MAX) {
        CHECK(pc_nack_due(&nack) > now_ns);
        now_ns = pc_nack_due(&nack);
    }
    CHECK_EQ(count, 1);
    CHECK_EQ(asked[0], sequence);
    return now_ns;
}

static void what_is_missing_is_asked_for_at_once(void)
{
    pc_nack_init(&nack);
    CHECK_EQ(pc_nack_due(&nack), UINT64_MAX);
    CHECK_EQ(came(65533, START), PC_ARRIVAL_FIRST);
    CHECK_EQ(pc_nack_due(&nack), UINT64_MAX);
    CHECK_EQ(came(65538, START + MS), PC_ARRIVAL_FIRST);
    CHECK_EQ(pc_nack_due(&nack), START + MS);
    CHECK_EQ(pc_nack_missing_since(&nack), START + MS);
    CHECK_EQ(take(START + MS), 4);
    static const uint16_t expected[] = {65534, 65535, 0, 1};
    CHECK_BYTES(asked, expected, sizeof expected);
    CHECK_EQ(take(START + MS), 0);
    CHECK_EQ(pc_nack_due(&nack), START + 61 * MS); /* the round trip is not known */
}

static void copies_are_told_from_news(void)
{
    pc_nack_init(&nack);
    came(10, START);
    CHECK_EQ(came(10, START), PC_ARRIVAL_REPEATED);
    came(13, START);
    CHECK_EQ(came(12, START), PC_ARRIVAL_FIRST);
    CHECK_EQ(came(12, START), PC_ARRIVAL_REPEATED);
    CHECK_EQ(resent(11, START), PC_ARRIVAL_FIRST);
    CHECK_EQ(resent(11, START), PC_ARRIVAL_REPEATED);
    CHECK_EQ(came(11, START), PC_ARRIVAL_SUPERFLUOUS);
    CHECK_EQ(came(11, START), PC_ARRIVAL_REPEATED);
    CHECK_EQ(came(8, START), PC_ARRIVAL_FIRST); /* before the first */
    CHECK_EQ(came(8, START), PC_ARRIVAL_REPEATED);
    CHECK_EQ(pc_nack_due(&nack), UINT64_MAX);
    CHECK_EQ(pc_nack_missing_since(&nack), UINT64_MAX);
    came(10 + PC_NACK_KEPT, START);
    CHECK_EQ(came(10, START), PC_ARRIVAL_REPEATED); /* too old to be known */
}

static void the_round_trip_is_learnt_and_spaces_the_requests(void)
{
    pc_nack_init(&nack);
    came(0, START);
    uint64_t now = START;
    for (int i = 1; i <= 20; i++) {
        came(2 * i, now);
        CHECK_EQ(take(now), 1);
        now += 30 * MS;
        CHECK_EQ(resent(2 * i - 1, now), PC_ARRIVAL_FIRST);
    }
    CHECK(nack.rtt_ns > 29 * MS && nack.rtt_ns < 31 * MS);
    came(42, now);
    CHECK_EQ(next_request(41, now), now);
    uint64_t second = next_request(41, now);
    CHECK(second >= now + 30 * MS && second <= now + 36 * MS);
    uint64_t third = next_request(41, second);
    CHECK(third - second > second - now && third - second < 2 * (second - now));
}

static void a_longer_round_trip_is_found(void)
{
    /* 20 ms are known, 200 ms it is: each request is answered 200 ms later. */
    pc_nack_init(&nack);
    nack.rtt_ns = 20 * MS;
    uint64_t now = START;
    int64_t highest = 0;
    came(0, now);
    for (int round = 0; round < 30; round++) {
        uint64_t requests[PC_NACK_REQUESTS];
        int count = 0, answers = 0;
        came(highest += 2, now);
        uint64_t first = now;
        while (answers == 0 || answers < count) {
            uint64_t due = pc_nack_due(&nack);
            uint64_t answer = requests[answers] + 200 * MS;
            if (count == 0 || due < answer) {
                now = due;
                if (take(now) == 1)
                    requests[count++] = now;
            } else {
                now = answer;
                resent(highest - 1, now);
                answers++;
            }
        }
        now = first + 500 * MS;
    }
    CHECK(nack.rtt_ns > 150 * MS && nack.rtt_ns < 250 * MS);
}

static void the_first_answer_tells_the_round_trip_even_after_two_requests(void)
{
    pc_nack_init(&nack);
    came(0, START);
    came(2, START);
    CHECK_EQ(take(START), 1);
    CHECK_EQ(take(START + 60 * MS), 1);
    resent(1, START + 100 * MS);
    CHECK_EQ(nack.rtt_ns, 100 * MS);
}

static void requests_end(void)
{
    pc_nack_init(&nack);
    nack.rtt_ns = MS;
    came(0, START);
    came(2, START);
    uint64_t now = START;
    int requests = 0;
    while (pc_nack_due(&nack) != UINT64_MAX) {
        now = pc_nack_due(&nack);
        requests += take(now);
        if (requests > PC_NACK_REQUESTS)
            break;
    }
    CHECK_EQ(requests, PC_NACK_REQUESTS);
    CHECK(nack.gave_up);
    CHECK_EQ(pc_nack_missing_since(&nack), UINT64_MAX);
    CHECK_EQ(resent(1, now), PC_ARRIVAL_FIRST); /* and is welcome still */

    pc_nack_init(&nack);
    nack.rtt_ns = 400 * MS;
    came(0, START);
    came(2, START);
    for (requests = 0; pc_nack_due(&nack) != UINT64_MAX; requests += take(now))
        now = pc_nack_due(&nack);
    CHECK_EQ(requests, 3); /* nobody keeps packets for longer */
    CHECK(nack.gave_up);
}

static void reordering_is_learnt_and_unlearnt(void)
{
    pc_nack_init(&nack);
    uint64_t now = START;
    int64_t sequence = 0;
    came(sequence, now);
    int early = 0;
    for (int i = 0; i < 50; i++) { /* one packet in three comes 2 ms behind the next one */
        now += 10 * MS;
        came(sequence + 2, now);
        int taken = take(now);
        if (i >= 10)
            early += taken;
        came(sequence + 1, now + 2 * MS);
        came(sequence + 3, now + 3 * MS);
        sequence += 3;
    }
    CHECK_EQ(early, 0);
    came(sequence + 2, now += 10 * MS);
    uint64_t due = next_request((uint16_t)(sequence + 1), now);
    CHECK(due >= now + 2 * MS && due <= now + 8 * MS);
    resent(sequence + 1, due + 30 * MS);
    sequence += 2;
    int at_once = 0;
    for (int i = 0; i < 100; i++) { /* now they are lost in truth */
        came(sequence + 2, now += 100 * MS);
        at_once = take(now);
        if (at_once == 0)
            take(pc_nack_due(&nack));
        resent(sequence + 1, now + 40 * MS);
        sequence += 2;
    }
    CHECK_EQ(at_once, 1);
}

static void rare_reordering_delays_nothing(void)
{
    pc_nack_init(&nack);
    uint64_t now = START;
    int64_t sequence = 0;
    came(sequence, now);
    int at_once = 0;
    for (int i = 0; i < 300; i++) {
        came(sequence + 2, now += 100 * MS);
        at_once += take(now);
        if (i % 5 == 0)
            came(sequence + 1, now + 2 * MS);
        else
            resent(sequence + 1, now + 40 * MS);
        sequence += 2;
    }
    CHECK_EQ(at_once, 300);
}

static void superfluous_requests_count_as_reordering(void)
{
    pc_nack_init(&nack);
    uint64_t now = START;
    int64_t sequence = 0;
    came(sequence, now);
    for (int i = 0; i < 100; i++) {
        came(sequence + 2, now += 100 * MS);
        int at_once = take(now);
        if (at_once == 1)
            resent(sequence + 1, now + 4 * MS); /* the answer is quicker than the packet */
        came(sequence + 1, now + 5 * MS);
        CHECK(at_once == (i < 4)); /* four are enough to tell */
        sequence += 2;
    }
}

static void what_is_forgotten_is_not_asked_for(void)
{
    pc_nack_init(&nack);
    came(0, START);
    came(5, START + MS);
    came(10, START + 2 * MS);
    pc_nack_forget_before(&nack, 7);
    CHECK_EQ(pc_nack_missing_since(&nack), START + 2 * MS);
    CHECK_EQ(take(START + 2 * MS), 3);
    CHECK_EQ(asked[0], 7);
    CHECK_EQ(came(8, START + 3 * MS), PC_ARRIVAL_FIRST);
    CHECK_EQ(came(3, START + 3 * MS), PC_ARRIVAL_FIRST);
    CHECK_EQ(came(3, START + 3 * MS), PC_ARRIVAL_REPEATED);
    pc_nack_forget_before(&nack, 11);
    CHECK_EQ(pc_nack_due(&nack), UINT64_MAX);
    CHECK(!nack.gave_up);
    pc_nack_forget_before(&nack, 5);
    CHECK_EQ(pc_nack_due(&nack), UINT64_MAX);
}

static void too_much_is_not_asked_for(void)
{
    pc_nack_init(&nack);
    came(0, START);
    came(PC_NACK_MISSING + 1, START);
    CHECK_EQ(take(START), PC_NACK_MISSING);
    CHECK(!nack.gave_up);
    came(PC_NACK_MISSING + 3, START);
    CHECK(nack.gave_up);
    CHECK_EQ(pc_nack_due(&nack), UINT64_MAX);
    nack.gave_up = false;
    came(PC_NACK_MISSING + 5, START); /* and what is missing later is */
    CHECK_EQ(take(START), 1);
    CHECK_EQ(asked[0], PC_NACK_MISSING + 4);
    came(5 * PC_NACK_KEPT, START);
    CHECK(nack.gave_up);
    CHECK_EQ(pc_nack_due(&nack), UINT64_MAX);
    CHECK_EQ(came(5 * PC_NACK_KEPT - 1, START), PC_ARRIVAL_FIRST);
}

static void no_more_than_there_is_room_for(void)
{
    pc_nack_init(&nack);
    came(0, START);
    came(101, START);
    CHECK_EQ(pc_nack_take(&nack, asked, 64, START), 64);
    CHECK_EQ(pc_nack_due(&nack), START);
    CHECK_EQ(pc_nack_take(&nack, asked, 64, START), 36);
    CHECK_EQ(asked[0], 65);
    CHECK_EQ(pc_nack_due(&nack), START + 60 * MS);
}

static void what_is_announced_is_missing(void)
{
    pc_nack_init(&nack);
    pc_nack_announced(&nack, 12, START);
    CHECK_EQ(pc_nack_due(&nack), UINT64_MAX);
    came(10, START);
    pc_nack_announced(&nack, 12, START + MS);
    CHECK_EQ(pc_nack_missing_since(&nack), START + MS);
    CHECK_EQ(take(START + MS), 2);
    CHECK_EQ(asked[0], 11);
    CHECK_EQ(asked[1], 12);
    pc_nack_announced(&nack, 11, START + MS);
    pc_nack_announced(&nack, 12 + PC_NACK_KEPT, START + MS); /* is not believed */
    CHECK_EQ(came(13, START + MS), PC_ARRIVAL_FIRST);
    CHECK_EQ(take(START + MS), 0);
    CHECK_EQ(resent(12, START + 3 * MS), PC_ARRIVAL_FIRST);
    CHECK_EQ(resent(11, START + 3 * MS), PC_ARRIVAL_FIRST);
    CHECK_EQ(pc_nack_due(&nack), UINT64_MAX);
}

/* At random, against a plain account of what came. */
static void agrees_with_a_plain_account(void)
{
    static uint8_t seen[400000]; /* 1: came itself, 2: was repaired, 4: was asked for */
    memset(seen, 0, sizeof seen);
    pc_nack_init(&nack);
    uint64_t random = 17, now = START;
    int64_t highest = 1000, forgotten = 1000;
    came(highest, now);
    seen[highest] = 1;
    for (int i = 0; i < 200000; i++) {
        now += harness_random(&random) % (2 * MS);
        int64_t sequence = highest + 1 + (harness_random(&random) % 10 == 0) * 3;
        if (harness_random(&random) % 4 == 0)
            sequence = highest - (int64_t)(harness_random(&random) % 200);
        bool itself = harness_random(&random) % 2 == 0 || sequence > highest;
        enum pc_nack_arrival arrival = itself ? came(sequence, now) : resent(sequence, now);
        if (sequence > highest)
            highest = sequence;
        if ((seen[sequence] & 3) == 0)
            CHECK_EQ(arrival, PC_ARRIVAL_FIRST);
        else if (itself && (seen[sequence] & 1) == 0)
            CHECK_EQ(arrival, PC_ARRIVAL_SUPERFLUOUS);
        else
            CHECK_EQ(arrival, PC_ARRIVAL_REPEATED);
        seen[sequence] |= itself ? 1 : 2;
        if (i % 1000 == 999) {
            forgotten = highest - (int64_t)(harness_random(&random) % 100);
            pc_nack_forget_before(&nack, forgotten);
        }
        int count = take(now);
        for (int k = 0; k < count; k++) {
            sequence = highest + (int16_t)(asked[k] - (uint16_t)highest);
            CHECK(sequence >= forgotten && sequence < highest && (seen[sequence] & 3) == 0);
            CHECK(k == 0 || (int16_t)(asked[k] - asked[k - 1]) > 0);
            seen[sequence] |= 4;
        }
        for (int64_t k = forgotten; k < highest && nack.overtaken == 0; k++)
            CHECK(seen[k] != 0); /* came, or was asked for */
        CHECK((nack.wanted == 0) == (pc_nack_due(&nack) == UINT64_MAX));
    }
}

int main(void)
{
    RUN(what_is_missing_is_asked_for_at_once);
    RUN(copies_are_told_from_news);
    RUN(the_round_trip_is_learnt_and_spaces_the_requests);
    RUN(a_longer_round_trip_is_found);
    RUN(the_first_answer_tells_the_round_trip_even_after_two_requests);
    RUN(requests_end);
    RUN(reordering_is_learnt_and_unlearnt);
    RUN(rare_reordering_delays_nothing);
    RUN(superfluous_requests_count_as_reordering);
    RUN(what_is_forgotten_is_not_asked_for);
    RUN(too_much_is_not_asked_for);
    RUN(no_more_than_there_is_room_for);
    RUN(what_is_announced_is_missing);
    RUN(agrees_with_a_plain_account);
    return HARNESS_RESULT();
}
