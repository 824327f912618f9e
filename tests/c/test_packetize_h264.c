#include <errno.h>
#include <stdlib.h>

#include "harness.h"
#include "packetize.h"

static struct pc_au_pool *pool;

/* The unit's payloads as a byte stream must be the NAL units with start codes. */
struct expected {
    uint8_t *bytes;
    size_t size;
};

static void expect_nal(struct expected *expected, const uint8_t *nal, size_t size)
{
    static const uint8_t start_code[] = {0, 0, 0, 1};
    expected->bytes = realloc(expected->bytes, expected->size + 4 + size);
    memcpy(expected->bytes + expected->size, start_code, 4);
    memcpy(expected->bytes + expected->size + 4, nal, size);
    expected->size += 4 + size;
}

static void check_stream(struct pc_access_unit *au, struct expected *expected)
{
    uint8_t *stream = malloc(expected->size);
    CHECK_EQ(pc_au_bitstream(au, stream, expected->size), expected->size);
    CHECK_BYTES(stream, expected->bytes, expected->size);
    CHECK_EQ(pc_au_bitstream(au, stream, expected->size - 1), -ENOSPC);
    free(stream);
    free(expected->bytes);
}

static void fill(uint8_t *nal, size_t size, uint8_t header, uint64_t *random)
{
    for (size_t i = 0; i < size; i++)
        nal[i] = (uint8_t)harness_random(random);
    nal[0] = header;
}

static void test_small_slice_is_one_packet(void)
{
    struct pc_h264_packetizer packetizer = {0};
    struct pc_access_unit *au = pc_au_acquire(pool);
    uint8_t nal[PC_MAX_PAYLOAD];
    uint64_t random = 1;
    fill(nal, sizeof nal, 0x41, &random);
    CHECK_EQ(pc_packetize_h264(&packetizer, au, nal, sizeof nal, true), 1);
    CHECK_EQ(au->payloads[0].size, PC_MAX_PAYLOAD);
    CHECK_BYTES(au->payloads[0].data, nal, sizeof nal);
    bool complete;
    CHECK_EQ(pc_au_ready(au, &complete), 1);
    CHECK(complete);
    pc_au_unref(au);
}

/* RFC 6184 5.8: indicator with the NAL's F and NRI and type 28; S on the first, E on the last. */
static void check_fragments(const struct pc_access_unit *au, const uint8_t *nal, size_t size)
{
    size_t at = 1;
    for (uint32_t i = 0; i < au->count; i++) {
        const struct pc_payload *payload = &au->payloads[i];
        CHECK(payload->size <= PC_MAX_PAYLOAD);
        CHECK_EQ(payload->data[0], (nal[0] & 0xe0) | 28);
        CHECK_EQ(payload->data[1],
                 (nal[0] & 0x1f) | (i == 0 ? 0x80 : 0) | (i + 1 == au->count ? 0x40 : 0));
        CHECK_BYTES(payload->data + 2, nal + at, payload->size - 2u);
        at += payload->size - 2u;
        if (i + 1 < au->count)
            CHECK_EQ(payload->size, au->payloads[0].size);
        else
            CHECK(payload->size <= au->payloads[0].size);
    }
    CHECK_EQ(at, size);
}

static void test_fragments_at_every_size(void)
{
    struct pc_h264_packetizer packetizer = {0};
    uint64_t random = 2;
    static uint8_t nal[5 * PC_MAX_PAYLOAD];
    fill(nal, sizeof nal, 0x65, &random);
    for (size_t size = PC_MAX_PAYLOAD + 1; size <= sizeof nal; size++) {
        struct pc_access_unit *au = pc_au_acquire(pool);
        int least = (int)((size - 1 + PC_MAX_PAYLOAD - 3) / (PC_MAX_PAYLOAD - 2));
        CHECK_EQ(pc_packetize_h264(&packetizer, au, nal, size, true), least);
        check_fragments(au, nal, size);
        pc_au_unref(au);
    }
}

static void test_parameter_sets_travel_in_one_stap(void)
{
    struct pc_h264_packetizer packetizer = {0};
    struct pc_access_unit *au = pc_au_acquire(pool);
    static const uint8_t sps[] = {0x27, 0x42, 0xc0, 0x1f}, pps[] = {0x68, 0xce, 0x3c},
                         slice[] = {0x65, 0x88, 0x84};
    bool complete;
    CHECK_EQ(pc_packetize_h264(&packetizer, au, sps, sizeof sps, false), 0);
    CHECK_EQ(pc_packetize_h264(&packetizer, au, pps, sizeof pps, false), 0);
    CHECK_EQ(pc_au_ready(au, &complete), 0);
    CHECK_EQ(pc_packetize_h264(&packetizer, au, slice, sizeof slice, false), 2);
    CHECK_EQ(pc_au_ready(au, &complete), 2);
    CHECK(!complete);
    /* The header has the highest NRI of the two: 3. */
    static const uint8_t stap[] = {0x78, 0, 4, 0x27, 0x42, 0xc0, 0x1f, 0, 3, 0x68, 0xce, 0x3c};
    CHECK_EQ(au->payloads[0].size, sizeof stap);
    CHECK_BYTES(au->payloads[0].data, stap, sizeof stap);
    CHECK_EQ(pc_packetize_h264(&packetizer, au, slice, sizeof slice, true), 1);
    CHECK_EQ(pc_au_ready(au, &complete), 3);
    CHECK(complete);

    struct expected expected = {0};
    expect_nal(&expected, sps, sizeof sps);
    expect_nal(&expected, pps, sizeof pps);
    expect_nal(&expected, slice, sizeof slice);
    expect_nal(&expected, slice, sizeof slice);
    check_stream(au, &expected);
    pc_au_unref(au);
}

static void test_single_parameter_set_is_not_aggregated(void)
{
    struct pc_h264_packetizer packetizer = {0};
    struct pc_access_unit *au = pc_au_acquire(pool);
    static const uint8_t sps[] = {0x67, 0x42};
    CHECK_EQ(pc_packetize_h264(&packetizer, au, sps, sizeof sps, true), 1);
    CHECK_EQ(au->payloads[0].size, sizeof sps);
    CHECK_BYTES(au->payloads[0].data, sps, sizeof sps);
    bool complete;
    CHECK_EQ(pc_au_ready(au, &complete), 1);
    CHECK(complete);
    pc_au_unref(au);
}

static void test_parameter_sets_that_do_not_fit(void)
{
    struct pc_h264_packetizer packetizer = {0};
    struct pc_access_unit *au = pc_au_acquire(pool);
    uint64_t random = 3;
    uint8_t sets[3][600];
    fill(sets[0], 300, 0x67, &random);
    fill(sets[1], 300, 0x68, &random);
    fill(sets[2], 600, 0x68, &random);
    struct expected expected = {0};
    int added = 0;
    for (int i = 0; i < 3; i++) {
        size_t size = i == 2 ? 600 : 300;
        expect_nal(&expected, sets[i], size);
        added += pc_packetize_h264(&packetizer, au, sets[i], size, i == 2);
    }
    CHECK_EQ(added, 3);
    check_stream(au, &expected);
    pc_au_unref(au);
}

static void test_round_trip_of_random_units(void)
{
    struct pc_h264_packetizer packetizer = {0};
    uint64_t random = 4;
    static uint8_t nal[9000];
    for (int round = 0; round < 300; round++) {
        struct pc_access_unit *au = pc_au_acquire(pool);
        struct expected expected = {0};
        int nals = 1 + (int)(harness_random(&random) % 12);
        size_t total = 0;
        for (int i = 0; i < nals; i++) {
            static const uint8_t headers[] = {0x67, 0x68, 0x65, 0x41, 0x21, 0x06};
            uint8_t header = headers[harness_random(&random) % sizeof headers];
            size_t size =
                1 + (header == 0x67 || header == 0x68 ? harness_random(&random) % 200
                                                      : harness_random(&random) % (sizeof nal - 1));
            fill(nal, size, header, &random);
            expect_nal(&expected, nal, size);
            int added = pc_packetize_h264(&packetizer, au, nal, size, i + 1 == nals);
            CHECK(added >= 0);
            total += (size_t)added;
        }
        bool complete;
        CHECK_EQ(pc_au_ready(au, &complete), total);
        CHECK(complete);
        check_stream(au, &expected);
        pc_au_unref(au);
    }
}

static void test_refusals(void)
{
    struct pc_h264_packetizer packetizer = {0};
    struct pc_access_unit *au = pc_au_acquire(pool);
    static uint8_t nal[(PC_MAX_PAYLOADS + 1) * PC_MAX_PAYLOAD];
    nal[0] = 0x41;
    CHECK_EQ(pc_packetize_h264(&packetizer, au, nal, 0, true), -EINVAL);
    CHECK_EQ(pc_packetize_h264(&packetizer, au, nal, sizeof nal, true), -ENOSPC);
    bool complete;
    CHECK_EQ(pc_au_ready(au, &complete), 0);
    CHECK(!complete);
    pc_au_unref(au);
}

int main(void)
{
    pool = pc_au_pool_create(4);
    RUN(test_small_slice_is_one_packet);
    RUN(test_fragments_at_every_size);
    RUN(test_parameter_sets_travel_in_one_stap);
    RUN(test_single_parameter_set_is_not_aggregated);
    RUN(test_parameter_sets_that_do_not_fit);
    RUN(test_round_trip_of_random_units);
    RUN(test_refusals);
    pc_au_pool_release(pool);
    return HARNESS_RESULT();
}
