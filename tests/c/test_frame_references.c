#include "frame_references.h"

#include "harness.h"

static struct pc_frame_references references;

static bool hold(uint16_t number, int count, const uint16_t *diffs)
{
    struct pc_dependency_descriptor frame = {.frame_number = number, .diff_count = (uint8_t)count};
    memcpy(frame.diffs, diffs, (size_t)count * sizeof diffs[0]);
    return pc_references_hold(&references, &frame);
}

static bool holds(uint16_t number, uint16_t diff)
{
    return hold(number, 1, &diff);
}

static void what_was_given_out_is_held(void)
{
    pc_references_init(&references);
    CHECK(!holds(1, 1));
    pc_references_give(&references, 65534, true);
    pc_references_give(&references, 65535, false);
    pc_references_give(&references, 2, false);
    CHECK(holds(3, 1));
    CHECK(!holds(3, 2));
    CHECK(!holds(3, 3));
    CHECK(holds(3, 4));
    CHECK(holds(3, 5));
    CHECK(!holds(3, 6)); /* before the first */
    CHECK(hold(3, 2, (const uint16_t[]){1, 4}));
    CHECK(!hold(3, 2, (const uint16_t[]){1, 2}));
    CHECK(hold(3, 0, (const uint16_t[]){0})); /* it refers to nothing */
}

static void a_frame_that_stands_alone_ends_what_was(void)
{
    pc_references_init(&references);
    pc_references_give(&references, 10, true);
    pc_references_give(&references, 11, false);
    pc_references_give(&references, 12, true);
    CHECK(!holds(13, 2));
    CHECK(holds(13, 1));
    pc_references_give(&references, 5, true); /* a sender that begins anew */
    CHECK(holds(6, 1));
    CHECK(!holds(13, 1));
}

static void what_is_long_past_is_not_held(void)
{
    pc_references_init(&references);
    pc_references_give(&references, 0, true);
    CHECK(holds(PC_DEPENDENCY_MAX_DIFF, PC_DEPENDENCY_MAX_DIFF));
    pc_references_give(&references, PC_REFERENCES_KEPT, false);
    CHECK(!holds(PC_REFERENCES_KEPT + 1, PC_REFERENCES_KEPT + 1));
    CHECK(holds(PC_REFERENCES_KEPT + 1, 1));
}

/* At random, against a table of all numbers. */
static void agrees_with_a_table(void)
{
    static bool given[65536];
    pc_references_init(&references);
    memset(given, 0, sizeof given);
    uint64_t random = 8;
    uint16_t number = 60000;
    pc_references_give(&references, number, true);
    given[number] = true;
    for (int i = 0; i < 50000; i++) {
        uint16_t step = (uint16_t)(1 + (harness_random(&random) % 3 == 0) +
                                   (harness_random(&random) % 1000 == 0) * 500);
        for (uint16_t k = 1; k <= step; k++)
            given[(uint16_t)(number + k + 20000)] = false;
        number = (uint16_t)(number + step);
        pc_references_give(&references, number, false);
        given[number] = true;
        uint16_t diff = (uint16_t)(1 + harness_random(&random) % 4096);
        CHECK_EQ(holds((uint16_t)(number + 1), diff), given[(uint16_t)(number + 1 - diff)]);
    }
}

int main(void)
{
    RUN(what_was_given_out_is_held);
    RUN(a_frame_that_stands_alone_ends_what_was);
    RUN(what_is_long_past_is_not_held);
    RUN(agrees_with_a_table);
    return HARNESS_RESULT();
}
