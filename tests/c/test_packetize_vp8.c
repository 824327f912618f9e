#include <errno.h>
#include <stdlib.h>

#include "harness.h"
#include "packetize.h"

static struct pc_au_pool *pool;

/* RFC 7741 4.2: X, S on the first packet only, I with a 15-bit picture id, the same in all. */
static void check_payloads(const struct pc_access_unit *au, const uint8_t *frame, size_t size,
                           unsigned picture_id)
{
    size_t at = 0;
    for (uint32_t i = 0; i < au->count; i++) {
        const struct pc_payload *payload = &au->payloads[i];
        CHECK(payload->size <= PC_MAX_PAYLOAD);
        CHECK(payload->size > 4);
        CHECK_EQ(payload->data[0], i == 0 ? 0x90 : 0x80);
        CHECK_EQ(payload->data[1], 0x80);
        CHECK_EQ(payload->data[2] << 8 | payload->data[3], 0x8000u | picture_id);
        CHECK_BYTES(payload->data + 4, frame + at, payload->size - 4u);
        at += payload->size - 4u;
        if (i + 1 < au->count)
            CHECK_EQ(payload->size, au->payloads[0].size);
        else
            CHECK(payload->size <= au->payloads[0].size);
    }
    CHECK_EQ(at, size);
}

static void test_every_size(void)
{
    struct pc_vp8_packetizer packetizer = {.picture_id = 0x7ff0};
    static uint8_t frame[4 * PC_MAX_PAYLOAD], stream[sizeof frame];
    uint64_t random = 1;
    for (size_t i = 0; i < sizeof frame; i++)
        frame[i] = (uint8_t)harness_random(&random);
    for (size_t size = 1; size <= sizeof frame; size++) {
        struct pc_access_unit *au = pc_au_acquire(pool);
        au->codec = PC_CODEC_VP8;
        unsigned picture_id = (0x7ff0 + (unsigned)size - 1) & 0x7fff;
        int least = (int)((size + PC_MAX_PAYLOAD - 5) / (PC_MAX_PAYLOAD - 4));
        CHECK_EQ(pc_packetize_vp8(&packetizer, au, frame, size), least);
        bool complete;
        CHECK_EQ(pc_au_ready(au, &complete), least);
        CHECK(complete);
        check_payloads(au, frame, size, picture_id);
        CHECK_EQ(pc_au_bitstream(au, stream, size), size);
        CHECK_BYTES(stream, frame, size);
        CHECK_EQ(pc_au_bitstream(au, stream, size - 1), -ENOSPC);
        pc_au_unref(au);
    }
}

static void test_refusals(void)
{
    struct pc_vp8_packetizer packetizer = {0};
    struct pc_access_unit *au = pc_au_acquire(pool);
    static uint8_t frame[(PC_MAX_PAYLOADS + 1) * PC_MAX_PAYLOAD];
    CHECK_EQ(pc_packetize_vp8(&packetizer, au, frame, 0), -EINVAL);
    CHECK_EQ(packetizer.picture_id, 0);
    CHECK_EQ(pc_packetize_vp8(&packetizer, au, frame, sizeof frame), -ENOSPC);
    bool complete;
    CHECK_EQ(pc_au_ready(au, &complete), 0);
    CHECK(!complete);
    pc_au_unref(au);
}

int main(void)
{
    pool = pc_au_pool_create(4);
    RUN(test_every_size);
    RUN(test_refusals);
    pc_au_pool_release(pool);
    return HARNESS_RESULT();
}
