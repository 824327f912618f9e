/* A small harness: each tests/c/test_*.c is a program of its own that runs its tests in order and
 * exits with 1 when one failed. Seeds are fixed; time is an argument. */
#ifndef PC_TEST_HARNESS_H
#define PC_TEST_HARNESS_H

#include <stdint.h>
#include <stdio.h>
#include <string.h>

static int harness_failures;
static const char *harness_test;

#define CHECK(condition)                                                                           \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            printf("  FAILED %s:%d in %s: %s\n", __FILE__, __LINE__, harness_test, #condition);    \
            harness_failures++;                                                                    \
        }                                                                                          \
    } while (0)

#define CHECK_EQ(actual, expected)                                                                 \
    do {                                                                                           \
        long long harness_a = (long long)(actual), harness_b = (long long)(expected);              \
        if (harness_a != harness_b) {                                                              \
            printf("  FAILED %s:%d in %s: %s is %lld, not %lld\n", __FILE__, __LINE__,             \
                   harness_test, #actual, harness_a, harness_b);                                   \
            harness_failures++;                                                                    \
        }                                                                                          \
    } while (0)

#define CHECK_BYTES(actual, expected, size) CHECK(memcmp((actual), (expected), (size)) == 0)

#define RUN(test)                                                                                  \
    do {                                                                                           \
        int harness_before = harness_failures;                                                     \
        harness_test = #test;                                                                      \
        test();                                                                                    \
        printf("%s %s\n", harness_failures == harness_before ? "ok" : "not ok", #test);            \
    } while (0)

#define HARNESS_RESULT() (harness_failures == 0 ? 0 : 1)

/* xorshift64*: the same numbers everywhere. */
static inline uint64_t harness_random(uint64_t *state)
{
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    return *state * 2685821657736338717ull;
}

#endif
