/* Two parts. Arbitrary media and repairs: nothing breaks, every repair ends in one of the counters,
 * and what comes out is an RTP packet of the protected stream. And a block that was written by this
 * project's sender, of which any part arrives in any order: what is recovered is what was
 * protected, and a single loss always is. */
#include <errno.h>
#include <string.h>

#include "flexfec.h"
#include "fuzz.h"

#define SSRC 0x01020304u

struct input {
    const uint8_t *data;
    size_t size;
};

static uint8_t take(struct input *input)
{
    if (input->size == 0)
        return 0;
    input->size--;
    return *input->data++;
}

static const struct pc_rtp_extensions extensions = {
    .mid_id = 1, .abs_send_time_id = 2, .transport_cc_id = 3, .mid = "v"};

/* ---- Anything ---- */

static void check_packet(void *context, const uint8_t *packet, size_t size)
{
    struct pc_rtp_packet parsed;
    ++*(uint64_t *)context;
    REQUIRE(size <= 1500 && pc_rtp_header_bytes(packet, size) > 0);
    if ((packet[0] & 0x20) == 0) {
        REQUIRE(pc_rtp_parse(packet, size, &parsed) == 0);
        REQUIRE(parsed.ssrc == SSRC);
    }
}

static void feed_anything(struct input input)
{
    uint64_t recovered = 0, repairs = 0;
    struct pc_flexfec_receiver *receiver =
        pc_flexfec_receiver_create(SSRC, &extensions, check_packet, &recovered);
    REQUIRE(receiver != NULL);
    while (input.size > 2) {
        uint8_t packet[1600] = {0x80, 96, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4};
        uint8_t kind = take(&input);
        size_t size = take(&input) * (size_t)(kind & 4 ? 6 : 1);
        size_t given = size < input.size ? size : input.size;
        if ((kind & 1) != 0) { /* the SSRC is right, so that the rest is looked at */
            memcpy(packet, input.data, given);
            if (size >= 16 && (kind & 2) != 0) {
                packet[0] &= 0x3F;
                packet[8] = 1;
                memcpy(packet + 12, "\1\2\3\4", 4);
            }
            pc_flexfec_receive_repair(receiver, packet, size);
            repairs++;
        } else {
            packet[2] = take(&input) & 3;
            packet[3] = take(&input);
            given = size < input.size ? size : input.size;
            memcpy(packet + 12, input.data, given < sizeof packet - 12 ? given : 0);
            packet[0] |= kind & 0x38;
            pc_flexfec_receive_media(receiver, packet, 12 + (size < 1500 ? size : 1500),
                                     (kind & 0x40) != 0);
        }
        input.data += given;
        input.size -= given;
    }
    struct pc_flexfec_stats stats;
    pc_flexfec_receiver_get_stats(receiver, &stats);
    REQUIRE(stats.repairs == repairs);
    REQUIRE(stats.recovered == recovered);
    REQUIRE(stats.recovered + stats.malformed + stats.useless <= repairs);
    REQUIRE(stats.recovered + stats.malformed + stats.useless + 64 >= repairs);
    pc_flexfec_receiver_destroy(receiver);
}

/* ---- What was protected ---- */

struct protected
{
    uint8_t data[PC_FLEXFEC_MAX_PACKETS][256];
    size_t size[PC_FLEXFEC_MAX_PACKETS];
    int count;
    uint16_t first;
    int recovered;
};

static void check_recovered(void *context, const uint8_t *packet, size_t size)
{
    struct protected *protected = context;
    uint16_t sequence = (uint16_t)(packet[2] << 8 | packet[3]);
    int at = (uint16_t)(sequence - protected->first);
    REQUIRE(at < protected->count);
    REQUIRE(size == protected->size[at]);
    REQUIRE(memcmp(packet, protected->data[at], size) == 0);
    protected->recovered++;
}

static void recover_what_was_protected(struct input input)
{
    static struct protected protected;
    static struct pc_flexfec_block block;
    protected.count = 1 + take(&input) % PC_FLEXFEC_MAX_PACKETS;
    protected.first = (uint16_t)(take(&input) << 8 | take(&input));
    protected.recovered = 0;
    int most = protected.count < PC_FLEXFEC_MAX_REPAIRS ? protected.count : PC_FLEXFEC_MAX_REPAIRS;
    int repairs = 1 + take(&input) % most;
    pc_flexfec_begin(&block);
    for (int i = 0; i < protected.count; i++) {
        uint8_t *data = protected.data[i];
        struct pc_rtp_fields fields = {.payload_type = 96,
                                       .marker = take(&input) & 1,
                                       .sequence = (uint16_t)(protected.first + i),
                                       .ssrc = SSRC,
                                       .timestamp = take(&input)};
        size_t header = pc_rtp_write(data, &fields, &extensions, (take(&input) & 1) != 0);
        size_t payload = take(&input) % 180;
        for (size_t k = 0; k < payload; k++)
            data[header + k] = (uint8_t)(take(&input) + k * 31);
        protected.size[i] = header + payload;
        REQUIRE(pc_flexfec_protect(&block, data, header, data + header, payload, &extensions));
    }
    struct pc_flexfec_receiver *receiver =
        pc_flexfec_receiver_create(SSRC, &extensions, check_recovered, &protected);
    REQUIRE(receiver != NULL);
    bool arrived[PC_FLEXFEC_MAX_PACKETS] = {false};
    int distinct = 0, all_repairs = 0;
    for (int i = 0; i < protected.count; i++) {
        int at = take(&input) % protected.count; /* some twice, some never, in any order */
        if ((take(&input) & 3) == 0)
            at = i;
        pc_flexfec_receive_media(receiver, protected.data[at], protected.size[at], false);
        distinct += !arrived[at];
        arrived[at] = true;
    }
    for (int index = 0; index < repairs; index++) {
        uint8_t repair[PC_FLEXFEC_MAX_HEADER + 256];
        long size = pc_flexfec_write(&block, index, repairs, repair, sizeof repair);
        REQUIRE(size >= 20);
        if ((take(&input) & 7) == 1)
            continue;
        pc_flexfec_receive_repair(receiver, repair, (size_t)size);
        all_repairs++;
    }
    REQUIRE(distinct + protected.recovered <= protected.count);
    if (all_repairs == repairs && protected.count - distinct == 1)
        REQUIRE(protected.recovered == 1);
    pc_flexfec_receiver_destroy(receiver);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    feed_anything((struct input){data, size});
    recover_what_was_protected((struct input){data, size});
    return 0;
}
