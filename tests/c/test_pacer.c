#include "pacer.h"

#include "harness.h"

/* 8 Mbit/s is one byte a microsecond: easy to count. */

static void a_burst_goes_at_once_and_then_the_rate_counts(void)
{
    struct pc_pacer pacer;
    pc_pacer_init(&pacer, 8e6, 3000, 1000000);
    CHECK_EQ(pc_pacer_budget(&pacer, 1000000), 3000);
    pc_pacer_spend(&pacer, 4000); /* one batch may overdraw */
    CHECK_EQ(pc_pacer_budget(&pacer, 1000000), -1000);
    CHECK_EQ(pc_pacer_next(&pacer, 1200, 1000000), 1000000 + 2200 * 1000 + 1);
    CHECK_EQ(pc_pacer_budget(&pacer, 1000000 + 2200 * 1000), 1200);
}

static void what_is_not_used_is_not_saved_up_beyond_the_burst(void)
{
    struct pc_pacer pacer;
    pc_pacer_init(&pacer, 8e6, 3000, 0);
    pc_pacer_spend(&pacer, 3000);
    CHECK_EQ(pc_pacer_budget(&pacer, 10000000000), 3000);
    CHECK_EQ(pc_pacer_next(&pacer, 100000, 10000000000), 10000000000);
}

static void a_new_rate_counts_from_now(void)
{
    struct pc_pacer pacer;
    pc_pacer_init(&pacer, 8e6, 3000, 0);
    pc_pacer_spend(&pacer, 3000);
    pc_pacer_set_rate(&pacer, 16e6, 4000, 1000000); /* 1000 bytes at the old rate until here */
    CHECK_EQ(pc_pacer_budget(&pacer, 1500000), 2000);
    CHECK_EQ(pc_pacer_budget(&pacer, 9000000), 4000);
    pc_pacer_set_rate(&pacer, 16e6, 500, 9000000); /* the new burst bounds what has gathered */
    CHECK_EQ(pc_pacer_budget(&pacer, 9000000), 500);
}

static void time_that_goes_back_changes_nothing(void)
{
    struct pc_pacer pacer;
    pc_pacer_init(&pacer, 8e6, 3000, 5000000);
    pc_pacer_spend(&pacer, 3000);
    CHECK_EQ(pc_pacer_budget(&pacer, 4000000), 0);
    CHECK_EQ(pc_pacer_budget(&pacer, 5001000), 1);
}

int main(void)
{
    RUN(a_burst_goes_at_once_and_then_the_rate_counts);
    RUN(what_is_not_used_is_not_saved_up_beyond_the_burst);
    RUN(a_new_rate_counts_from_now);
    RUN(time_that_goes_back_changes_nothing);
    return HARNESS_RESULT();
}
