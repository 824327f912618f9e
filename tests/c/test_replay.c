#include <errno.h>
#include <stdbool.h>

#include "harness.h"
#include "replay.h"

#define SSRC 0xCAFEBABE

static int receive(struct pc_replay *replay, uint32_t ssrc, uint64_t index)
{
    struct pc_replay_stream *stream = pc_replay_find(replay, ssrc);
    int result = pc_replay_check(replay, stream, index);
    return result < 0 ? result : pc_replay_accept(replay, stream, ssrc, index);
}

/* Against a table of all indices that were accepted. */
static void accepts_once_within_the_window(void)
{
    enum { INDICES = 400000 };
    static const uint32_t windows[] = {64, 128, 1024};
    for (size_t w = 0; w < 3; w++) {
        static bool seen[INDICES];
        struct pc_replay replay;
        uint64_t random = w + 1, highest = 5000;
        int counts[2] = {0, 0};
        memset(seen, 0, sizeof seen);
        pc_replay_init(&replay, windows[w]);
        CHECK_EQ(receive(&replay, SSRC, highest), 0);
        seen[highest] = true;
        for (int i = 0; i < 30000; i++) {
            uint64_t draw = harness_random(&random);
            uint64_t index = highest - 1100 + draw % 1102;
            if (draw >> 32 & 1)
                index = highest - 100 + draw % 102;
            if ((draw >> 33) % 100 == 0)
                index = highest + draw % 1500;
            CHECK(index < INDICES);
            bool fresh = index > highest || (highest - index < windows[w] && !seen[index]);
            CHECK_EQ(receive(&replay, SSRC, index), fresh ? 0 : -EALREADY);
            seen[index] |= fresh;
            counts[fresh]++;
            if (fresh && index > highest)
                highest = index;
        }
        CHECK(counts[0] > 1000 && counts[1] > 1000);
        pc_replay_free(&replay);
    }
}

static void a_long_jump_forgets_the_window(void)
{
    struct pc_replay replay;
    pc_replay_init(&replay, 128);
    for (uint64_t i = 0; i < 128; i++)
        CHECK_EQ(receive(&replay, SSRC, i), 0);
    CHECK_EQ(receive(&replay, SSRC, 128 * 10 + 127), 0);
    for (uint64_t i = 128 * 10; i < 128 * 10 + 127; i++)
        CHECK_EQ(receive(&replay, SSRC, i), 0);
    CHECK_EQ(receive(&replay, SSRC, 128 * 10 - 1), -EALREADY);
    pc_replay_free(&replay);
}

static void guesses_the_index_that_is_nearest(void)
{
    static const uint64_t lasts[] = {0,       1,       0x7FFF,        0x8000,     0xFFFF,
                                     0x10000, 0x18000, 0x2FFFF,       0x12345678, 0xFFFFFFFE0000,
                                     0x17FFF, 0x27FFE, 0xFFFF00001234};
    for (size_t i = 0; i < sizeof lasts / sizeof lasts[0]; i++) {
        struct pc_replay_stream stream = {.highest = lasts[i]};
        for (int64_t distance = -32767; distance < 32768; distance++) {
            int64_t index = (int64_t)lasts[i] + distance;
            if (index < 0 || index >> 48 != 0)
                continue;
            CHECK_EQ(pc_replay_guess(&stream, (uint16_t)index), index);
        }
    }
    CHECK_EQ(pc_replay_guess(NULL, 0xFFFF), 0xFFFF);
    /* nothing lies before the first rollover: the number is taken as it is */
    struct pc_replay_stream first = {.highest = 5};
    CHECK_EQ(pc_replay_guess(&first, 0xFFF0), 0xFFF0);
}

static void forgets_the_longest_unused_stream(void)
{
    struct pc_replay replay;
    pc_replay_init(&replay, 64);
    CHECK(pc_replay_find(&replay, 0) == NULL);
    for (uint32_t ssrc = 0; ssrc < PC_REPLAY_MAX_STREAMS; ssrc++)
        CHECK_EQ(receive(&replay, ssrc, 100), 0);
    CHECK_EQ(receive(&replay, 0, 101), 0); /* now 1 is the longest unused */
    CHECK_EQ(receive(&replay, 1000, 7), 0);
    CHECK(pc_replay_find(&replay, 1) == NULL);
    for (uint32_t ssrc = 0; ssrc < PC_REPLAY_MAX_STREAMS; ssrc++)
        if (ssrc != 1)
            CHECK_EQ(receive(&replay, ssrc, 100), -EALREADY);
    CHECK_EQ(receive(&replay, 1000, 7), -EALREADY);
    CHECK_EQ(receive(&replay, 1000, 6), 0); /* nothing is left of 1's window */
    CHECK_EQ(replay.count, PC_REPLAY_MAX_STREAMS);
    pc_replay_free(&replay);
}

int main(void)
{
    RUN(accepts_once_within_the_window);
    RUN(a_long_jump_forgets_the_window);
    RUN(guesses_the_index_that_is_nearest);
    RUN(forgets_the_longest_unused_stream);
    return HARNESS_RESULT();
}
