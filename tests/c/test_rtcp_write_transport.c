#include <errno.h>
#include <stdlib.h>

#include "harness.h"
#include "hex.h"
#include "rtcp.h"

#define MAX          5000
#define LOST         PC_RTCP_NOT_RECEIVED
#define COUNT(array) ((int)(sizeof(array) / sizeof((array)[0])))

/* ---- What a packet tells, as read back ---- */

static struct {
    struct pc_rtcp_transport_feedback head;
    int count;
    int64_t ticks[MAX];
    int64_t clock; /* ticks */
} told;

static void on_feedback(void *context, const struct pc_rtcp_transport_feedback *feedback)
{
    (void)context;
    told.head = *feedback;
    told.count = 0;
    told.clock = (int64_t)feedback->reference_time * 256;
}

static void on_status(void *context, uint16_t sequence, bool received, int32_t delta_us)
{
    (void)context;
    CHECK_EQ(sequence, (uint16_t)(told.head.base_sequence + told.count));
    told.clock += delta_us / 250;
    told.ticks[told.count++] = received ? told.clock : LOST;
}

static long write(uint8_t *out, size_t capacity, uint16_t base, const int64_t *arrivals, int count,
                  int *written)
{
    struct pc_rtcp_transport_feedback feedback = {
        .sender_ssrc = 0xAA,
        .media_ssrc = 0xBB,
        .base_sequence = base,
        .status_count = (uint16_t)count,
        .feedback_count = 7,
    };
    uint8_t *exact = malloc(capacity > 0 ? capacity : 1); /* a sanitizer sees what is behind */
    long size = pc_rtcp_write_transport_feedback(exact, capacity, &feedback, arrivals);
    *written = size > 0 ? feedback.status_count : 0;
    if (size > 0)
        memcpy(out, exact, (size_t)size);
    free(exact);
    return size;
}

static void check_bytes(const int64_t *arrivals, int count, const char *expected)
{
    uint8_t out[4096], bytes[4096];
    size_t size = hex(expected, bytes);
    int written;
    CHECK_EQ(write(out, sizeof out, 5, arrivals, count, &written), size);
    CHECK_EQ(written, count);
    CHECK_BYTES(out, bytes, size);
}

/* ---- By hand from the draft's 3.1 ---- */

static void run_length(void)
{
    /* 0 | 01 | 3; reference time 2 * 64 ms; deltas 1, 0 and 255 ticks */
    static const int64_t arrivals[] = {513, 513, 768};
    check_bytes(arrivals, 3, "8FCD0006 000000AA 000000BB 00050003 00000207 20030100 FF000000");
}

static void one_bit_vector(void)
{
    /* 1 | 0 | 10110000000000 */
    static const int64_t arrivals[] = {0, LOST, 4, 4};
    check_bytes(arrivals, 4, "8FCD0006 000000AA 000000BB 00050004 00000007 AC000004 00000000");
}

static void two_bit_vector(void)
{
    /* 1 | 1 | 01 00 10 10 00 00 00: the second is 256 ticks after the first, the third one earlier
     */
    static const int64_t arrivals[] = {0, LOST, 256, 255};
    check_bytes(arrivals, 4, "8FCD0006 000000AA 000000BB 00050004 00000007 D2800001 00FFFF00");
}

static void long_runs(void)
{
    static int64_t arrivals[8300];
    for (int i = 0; i < 8300; i++)
        arrivals[i] = LOST;
    arrivals[0] = arrivals[8299] = 0;
    uint8_t out[64];
    int written;
    /* A vector of 14 that begins with the one; runs of 8191 and 94 lost; one received. */
    long size = write(out, sizeof out, 5, arrivals, 8300, &written);
    uint8_t expected[64];
    CHECK_EQ(size, hex("8FCD0007 000000AA 000000BB 0005206C 00000007 A0001FFF 005E2001 00000000",
                       expected));
    CHECK_BYTES(out, expected, (size_t)size);
    CHECK_EQ(written, 8300);
}

static void time_before_zero_and_past_24_bits(void)
{
    uint8_t out[64];
    int written;
    const struct pc_rtcp_handler handler = {.transport_feedback = on_feedback,
                                            .transport_status = on_status};
    static const int64_t early[] = {-1};
    long size = write(out, sizeof out, 5, early, 1, &written);
    CHECK_EQ(pc_rtcp_parse(out, (size_t)size, &handler), 1);
    CHECK_EQ(told.head.reference_time, -1);
    CHECK_EQ(told.ticks[0], -1);
    /* 24 days in: the reference time wraps to the negative, then to zero. */
    const int64_t half[] = {INT64_C(0x800000) * 256 + 3}, whole[] = {INT64_C(0x1000000) * 256 + 3};
    size = write(out, sizeof out, 5, half, 1, &written);
    CHECK_EQ(pc_rtcp_parse(out, (size_t)size, &handler), 1);
    CHECK_EQ(told.head.reference_time, -0x800000);
    size = write(out, sizeof out, 5, whole, 1, &written);
    CHECK_EQ(pc_rtcp_parse(out, (size_t)size, &handler), 1);
    CHECK_EQ(told.head.reference_time, 0);
    CHECK_EQ(told.ticks[0], 3);
}

static void refusals(void)
{
    uint8_t out[64];
    int written;
    static const int64_t none[] = {LOST, LOST}, one[] = {LOST, 9};
    CHECK_EQ(write(out, sizeof out, 5, none, 2, &written), -EINVAL);
    CHECK_EQ(write(out, sizeof out, 5, none, 0, &written), -EINVAL);
    for (size_t capacity = 0; capacity < 24; capacity++)
        CHECK_EQ(write(out, capacity, 5, one, 2, &written), -ENOSPC);
    CHECK_EQ(write(out, 24, 5, one, 2, &written), 24);
    CHECK_EQ(written, 2);
}

static void a_pause_that_no_delta_can_tell_ends_the_packet(void)
{
    uint8_t out[64];
    int written;
    static const int64_t arrivals[] = {10, LOST, 10 + 32768, 10 + 32768};
    CHECK_EQ(write(out, sizeof out, 5, arrivals, 4, &written), 24);
    CHECK_EQ(written, 2);
    static const int64_t largest[] = {10, LOST, 10 + 32767, 10 - 1};
    CHECK_EQ(write(out, sizeof out, 5, largest, 4, &written), 28);
    CHECK_EQ(written, 4);
}

/* Random arrivals of all kinds, into packets of all sizes, come back as they were. */
static void round_trips(void)
{
    const struct pc_rtcp_handler handler = {.transport_feedback = on_feedback,
                                            .transport_status = on_status};
    uint64_t random = 5;
    static int64_t arrivals[MAX];
    static uint8_t out[16384];
    for (int round = 0; round < 3000; round++) {
        int count = 1 + (int)(harness_random(&random) % (round % 50 == 0 ? MAX : 100));
        unsigned loss = (unsigned)(harness_random(&random) % 101);
        unsigned spread = 1u << harness_random(&random) % 11;
        int64_t tick = (int64_t)(harness_random(&random) % 1000000);
        for (int i = 0; i < count; i++) {
            tick += (int64_t)(harness_random(&random) % spread) - spread / 8;
            arrivals[i] = harness_random(&random) % 100 < loss ? LOST : tick;
        }
        arrivals[count - 1] = tick;
        size_t capacity = round % 3 == 0 ? sizeof out : 40 + harness_random(&random) % 200;
        for (int at = 0; at < count;) {
            int written;
            long size =
                write(out, capacity, (uint16_t)(65000 + at), arrivals + at, count - at, &written);
            CHECK(size > 0 && size % 4 == 0 && (size_t)size <= capacity);
            if (size <= 0)
                return;
            CHECK_EQ(pc_rtcp_parse(out, (size_t)size, &handler), 1);
            CHECK_EQ(told.count, written);
            CHECK_EQ(told.head.base_sequence, (uint16_t)(65000 + at));
            CHECK_BYTES(told.ticks, arrivals + at, (size_t)written * sizeof arrivals[0]);
            if (round % 3 == 0)
                CHECK_EQ(written, count - at);
            at += written;
        }
    }
}

/* 20 packets of a frame that come within 5 ms take 20 bytes and one chunk. */
static void a_frame_is_told_in_few_bytes(void)
{
    int64_t arrivals[20];
    for (int i = 0; i < COUNT(arrivals); i++)
        arrivals[i] = 1000 + i;
    uint8_t out[64];
    int written;
    CHECK_EQ(write(out, sizeof out, 5, arrivals, 20, &written), 20 + 2 + 20 + 2);
    arrivals[7] = LOST;
    CHECK_EQ(write(out, sizeof out, 5, arrivals, 20, &written), 20 + 4 + 19 + 1);
}

int main(void)
{
    RUN(run_length);
    RUN(one_bit_vector);
    RUN(two_bit_vector);
    RUN(long_runs);
    RUN(time_before_zero_and_past_24_bits);
    RUN(refusals);
    RUN(a_pause_that_no_delta_can_tell_ends_the_packet);
    RUN(round_trips);
    RUN(a_frame_is_told_in_few_bytes);
    return HARNESS_RESULT();
}
