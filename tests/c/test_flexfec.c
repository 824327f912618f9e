/* The sender against a reference decoder that is written from the draft's text alone
 * (draft-ietf-payload-flexible-fec-scheme-03, 4.2 and 6.3), and against the receiver. */
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <time.h>

#include "flexfec.h"
#include "harness.h"

#define SSRC         0xCAFEBABEu
#define MAX_PAYLOAD  1080
#define PACKET_BYTES 1500

static const struct pc_rtp_extensions extensions = {
    .mid_id = 1,
    .abs_send_time_id = 2,
    .transport_cc_id = 3,
    .playout_delay_id = 4,
    .mid = "0",
};

/* ---- A stream of packets ---- */

struct packet {
    uint8_t data[PACKET_BYTES]; /* as sent */
    uint8_t kept[PACKET_BYTES]; /* mutable extensions zeroed: what a repair gives back */
    size_t header, size;
};

struct stream {
    struct packet packets[PC_FLEXFEC_MAX_PACKETS];
    int count;
    struct pc_flexfec_block block;
};

/* `seed` decides sizes, contents and gaps in the sequence numbers. */
static void make_stream(struct stream *stream, int count, uint16_t first, uint64_t seed, bool gaps)
{
    stream->count = count;
    pc_flexfec_begin(&stream->block);
    uint16_t sequence = first;
    for (int i = 0; i < count; i++) {
        struct packet *packet = &stream->packets[i];
        struct pc_rtp_fields fields = {
            .marker = i + 1 == count,
            .payload_type = 96,
            .sequence = sequence,
            .timestamp = (uint32_t)harness_random(&seed),
            .ssrc = SSRC,
            .send_ns = harness_random(&seed) >> 20,
            .transport_sequence = (uint16_t)harness_random(&seed),
        };
        packet->header =
            pc_rtp_write(packet->data, &fields, &extensions, harness_random(&seed) % 4 == 0);
        size_t payload = harness_random(&seed) % (MAX_PAYLOAD + 1);
        for (size_t k = 0; k < payload; k++)
            packet->data[packet->header + k] = (uint8_t)harness_random(&seed);
        packet->size = packet->header + payload;
        fields.send_ns = 0;
        fields.transport_sequence = 0;
        struct pc_rtp_packet parsed;
        CHECK_EQ(pc_rtp_parse(packet->data, packet->size, &parsed), 0);
        memcpy(packet->kept, packet->data, packet->size);
        for (uint8_t id = 2; id <= 3; id++) {
            size_t size = 0;
            const uint8_t *found = pc_rtp_extension(&parsed, id, &size);
            CHECK(found != NULL);
            memset(packet->kept + (found - packet->data), 0, size);
        }
        CHECK(pc_flexfec_protect(&stream->block, packet->data, packet->header,
                                 packet->data + packet->header, payload, &extensions));
        sequence = (uint16_t)(sequence + 1 + (gaps && harness_random(&seed) % 8 == 0 ? 2 : 0));
    }
}

/* ---- The reference decoder ---- */

struct reference {
    uint16_t sequences[128]; /* protected */
    int count;
    const uint8_t *fec;
    size_t fec_size, header;
};

static bool reference_bit(const uint8_t *data, size_t bit)
{
    return (data[bit / 8] & (1u << (7 - bit % 8))) != 0;
}

/* 4.2: R F P X CC M PT, length, TS | SSRCCount, reserved | SSRC | SN base, k, mask … */
static bool reference_parse(struct reference *out, const uint8_t *fec, size_t size)
{
    *out = (struct reference){.fec = fec, .fec_size = size};
    if (size < 20 || reference_bit(fec, 0) || reference_bit(fec, 1) || fec[8] != 1)
        return false;
    if (fec[9] != 0 || fec[10] != 0 || fec[11] != 0)
        return false;
    if (fec[12] != 0xCA || fec[13] != 0xFE || fec[14] != 0xBA || fec[15] != 0xBE)
        return false;
    unsigned base = fec[16] * 256u + fec[17];
    size_t bit = 18 * 8; /* of the first k */
    static const size_t word_bits[] = {16, 32, 64};
    unsigned offset = 0;
    for (int word = 0;; word++) {
        bool last = reference_bit(fec, bit);
        for (size_t i = 1; i < word_bits[word]; i++, offset++)
            if (reference_bit(fec, bit + i))
                out->sequences[out->count++] = (uint16_t)(base + offset);
        bit += word_bits[word];
        if (last)
            break;
        if (word == 2)
            return false;
    }
    out->header = bit / 8;
    return true;
}

static struct packet *by_sequence(struct stream *stream, uint16_t sequence)
{
    for (int i = 0; i < stream->count; i++)
        if (stream->packets[i].kept[2] == sequence >> 8 &&
            stream->packets[i].kept[3] == (sequence & 0xFF))
            return &stream->packets[i];
    return NULL;
}

/* 6.3.2: the packet that is missing, from the bit strings of all others. Returns its size. */
static size_t reference_recover(struct stream *stream, const struct reference *repair,
                                uint16_t missing, uint8_t *out)
{
    uint8_t head[10] = {0};
    memcpy(head, repair->fec, 8);
    memset(out, 0, PACKET_BYTES);
    memcpy(out + 12, repair->fec + repair->header, repair->fec_size - repair->header);
    for (int i = 0; i < repair->count; i++) {
        if (repair->sequences[i] == missing)
            continue;
        const struct packet *other = by_sequence(stream, repair->sequences[i]);
        unsigned length = (unsigned)other->size - 12;
        head[0] ^= other->kept[0];
        head[1] ^= other->kept[1];
        head[2] ^= (uint8_t)(length >> 8);
        head[3] ^= (uint8_t)length;
        for (int k = 4; k < 8; k++)
            head[k] ^= other->kept[k];
        for (size_t k = 12; k < other->size; k++)
            out[k] ^= other->kept[k];
    }
    out[0] = (uint8_t)(0x80 | (head[0] & 0x3F));
    out[1] = head[1];
    out[2] = (uint8_t)(missing >> 8);
    out[3] = (uint8_t)missing;
    memcpy(out + 4, head + 4, 4);
    memcpy(out + 8, repair->fec + 12, 4);
    return 12 + head[2] * 256u + head[3];
}

static void the_reference_decoder_recovers_any_packet(void)
{
    static struct stream stream;
    uint64_t seed = 1;
    for (int round = 0; round < 120; round++) {
        int count = 1 + (int)(harness_random(&seed) % (round % 2 ? 109 : 60));
        make_stream(&stream, count, (uint16_t)(65500 + round), seed, count <= 60);
        int repairs = 1 + (int)(harness_random(&seed) % (count < 32 ? (uint64_t)count : 32));
        bool covered[PC_FLEXFEC_MAX_PACKETS] = {false};
        for (int index = 0; index < repairs; index++) {
            uint8_t fec[PACKET_BYTES], recovered[PACKET_BYTES];
            struct reference repair;
            long size = pc_flexfec_write(&stream.block, index, repairs, fec, sizeof fec);
            CHECK(size > 0);
            CHECK(reference_parse(&repair, fec, (size_t)size));
            for (int i = 0; i < repair.count; i++) {
                struct packet *lost = by_sequence(&stream, repair.sequences[i]);
                CHECK(lost != NULL);
                if (lost == NULL)
                    return;
                covered[lost - stream.packets] = true;
                CHECK_EQ(reference_recover(&stream, &repair, repair.sequences[i], recovered),
                         lost->size);
                CHECK_BYTES(recovered, lost->kept, lost->size);
            }
        }
        for (int i = 0; i < count; i++)
            CHECK(covered[i]);
    }
}

static void the_header_is_as_long_as_the_mask_needs(void)
{
    static struct stream stream;
    static const struct {
        int packets;
        size_t header;
    } cases[] = {{1, 20}, {15, 20}, {16, 24}, {46, 24}, {47, 32}, {109, 32}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        uint8_t fec[PACKET_BYTES];
        struct reference repair;
        make_stream(&stream, cases[i].packets, 7, i + 1, false);
        size_t longest = 0;
        for (int k = 0; k < stream.count; k++)
            longest = stream.packets[k].size > longest ? stream.packets[k].size : longest;
        long size = pc_flexfec_write(&stream.block, 0, 1, fec, sizeof fec);
        CHECK_EQ(size, cases[i].header + longest - 12);
        CHECK(reference_parse(&repair, fec, (size_t)size));
        CHECK_EQ(repair.count, cases[i].packets);
        CHECK_EQ(pc_flexfec_write(&stream.block, 0, 1, fec, 32 + longest - 13), -ENOSPC);
    }
}

static void a_block_has_bounds(void)
{
    static struct stream stream;
    uint8_t header[PC_RTP_MAX_HEADER_BYTES];
    struct pc_rtp_fields fields = {.ssrc = SSRC, .sequence = 109};
    make_stream(&stream, 109, 0, 1, false);
    size_t bytes = pc_rtp_write(header, &fields, &extensions, false);
    CHECK(!pc_flexfec_protect(&stream.block, header, bytes, NULL, 0, &extensions));
    make_stream(&stream, 2, 0, 1, false); /* 0, 1 */
    CHECK(!pc_flexfec_protect(&stream.block, header, bytes, NULL, 0, &extensions));
    fields.sequence = 1;
    bytes = pc_rtp_write(header, &fields, &extensions, false);
    CHECK(!pc_flexfec_protect(&stream.block, header, bytes, NULL, 0, &extensions));
    fields.sequence = 108;
    fields.ssrc = 1;
    bytes = pc_rtp_write(header, &fields, &extensions, false);
    CHECK(!pc_flexfec_protect(&stream.block, header, bytes, NULL, 0, &extensions));
    fields.ssrc = SSRC;
    bytes = pc_rtp_write(header, &fields, &extensions, false);
    CHECK(pc_flexfec_protect(&stream.block, header, bytes, NULL, 0, &extensions));
}

/* ---- The receiver ---- */

struct heard {
    struct stream *stream;
    bool got[PC_FLEXFEC_MAX_PACKETS];
    int count, wrong;
};

static void on_recovered(void *context, const uint8_t *packet, size_t size)
{
    struct heard *heard = context;
    uint16_t sequence = (uint16_t)(packet[2] << 8 | packet[3]);
    struct packet *was = by_sequence(heard->stream, sequence);
    heard->count++;
    if (was == NULL || size != was->size || memcmp(packet, was->kept, size) != 0)
        heard->wrong++;
    else
        heard->got[was - heard->stream->packets] = true;
}

static void receive(struct pc_flexfec_receiver *receiver, const struct packet *packet)
{
    pc_flexfec_receive_media(receiver, packet->data, packet->size, false);
}

static void repair(struct pc_flexfec_receiver *receiver, struct stream *stream, int index,
                   int repairs)
{
    uint8_t fec[PACKET_BYTES];
    long size = pc_flexfec_write(&stream->block, index, repairs, fec, sizeof fec);
    pc_flexfec_receive_repair(receiver, fec, (size_t)size);
}

static void any_burst_as_long_as_the_repairs_is_repaired(void)
{
    static struct stream stream;
    static const int counts[] = {1, 2, 3, 5, 8, 20, 33, 60, 109};
    for (size_t c = 0; c < sizeof counts / sizeof counts[0]; c++) {
        int count = counts[c];
        make_stream(&stream, count, 65530, c + 1, false);
        for (int repairs = 1; repairs <= 8 && repairs <= count; repairs++)
            for (int start = 0; start < count; start += 1 + count / 20) {
                struct heard heard = {.stream = &stream};
                struct pc_flexfec_receiver *receiver =
                    pc_flexfec_receiver_create(SSRC, &extensions, on_recovered, &heard);
                for (int i = 0; i < count; i++)
                    if (i < start || i >= start + repairs)
                        receive(receiver, &stream.packets[i]);
                for (int index = 0; index < repairs; index++)
                    repair(receiver, &stream, index, repairs);
                CHECK_EQ(heard.wrong, 0);
                CHECK_EQ(heard.count, count - start < repairs ? count - start : repairs);
                pc_flexfec_receiver_destroy(receiver);
            }
    }
}

/* What peeling can recover, computed from the reference's masks. */
static int peel(const struct reference *repairs, int count, bool *lost, struct stream *stream)
{
    int recovered = 0;
    for (bool again = true; again;) {
        again = false;
        for (int r = 0; r < count; r++) {
            int missing = 0;
            ptrdiff_t which = 0;
            for (int i = 0; i < repairs[r].count; i++) {
                ptrdiff_t at = by_sequence(stream, repairs[r].sequences[i]) - stream->packets;
                if (lost[at]) {
                    missing++;
                    which = at;
                }
            }
            if (missing == 1) {
                lost[which] = false;
                recovered++;
                again = true;
            }
        }
    }
    return recovered;
}

/* Of all pairs (and triples) of losses in a block, how many cannot be repaired. */
static double unrepaired(struct stream *stream, const struct reference *repairs, int count,
                         bool triples)
{
    int all = 0, failed = 0;
    for (int i = 0; i < stream->count; i++)
        for (int j = i + 1; j < stream->count; j++)
            for (int k = triples ? j + 1 : j; k < (triples ? stream->count : j + 1); k++) {
                bool lost[PC_FLEXFEC_MAX_PACKETS] = {false};
                lost[i] = lost[j] = lost[k] = true;
                all++;
                failed += peel(repairs, count, lost, stream) < (triples ? 3 : 2);
            }
    return (double)failed / all;
}

/* The rows as they would be if no packet were in two of them. */
static void rows_alone(struct stream *stream, struct reference *rows, int count)
{
    for (int r = 0; r < count; r++) {
        rows[r].count = 0;
        for (int i = r; i < stream->count; i += count)
            rows[r].sequences[rows[r].count++] = (uint16_t)(7 + i);
    }
}

static void losses_that_meet_in_one_row_are_told_apart_by_another(void)
{
    static struct stream stream;
    static struct reference ours[8], rows[8];
    static const int blocks[][2] = {{6, 2}, {10, 2}, {10, 3}, {20, 2}, {20, 3}, {20, 4}, {40, 4}};
    for (size_t b = 0; b < sizeof blocks / sizeof blocks[0]; b++) {
        int repairs = blocks[b][1];
        make_stream(&stream, blocks[b][0], 7, 1, false);
        rows_alone(&stream, rows, repairs);
        for (int r = 0; r < repairs; r++) {
            uint8_t fec[PACKET_BYTES];
            long size = pc_flexfec_write(&stream.block, r, repairs, fec, sizeof fec);
            CHECK(reference_parse(&ours[r], fec, (size_t)size));
        }
        double two = unrepaired(&stream, ours, repairs, false);
        double two_alone = unrepaired(&stream, rows, repairs, false);
        double three = unrepaired(&stream, ours, repairs, true);
        double three_alone = unrepaired(&stream, rows, repairs, true);
        printf("  %2d packets, %d repairs: of 2 losses %4.1f %% stay (rows alone %4.1f %%), of 3 "
               "losses %5.1f %% (%5.1f %%)\n",
               blocks[b][0], repairs, 100 * two, 100 * two_alone, 100 * three, 100 * three_alone);
        CHECK(two < 0.9 * two_alone);
        CHECK(three <= three_alone);
    }
}

/* Losses at random, packets and repairs in any order: all that can be computed is. */
static void recovers_what_can_be_recovered_in_any_order(void)
{
    static struct stream stream;
    static uint8_t fec[8][PACKET_BYTES];
    uint64_t seed = 5;
    int total = 0, chained = 0;
    for (int round = 0; round < 300; round++) {
        int count = 2 + (int)(harness_random(&seed) % 40), repairs = 1 + round % 8;
        if (repairs > count)
            continue;
        make_stream(&stream, count, (uint16_t)(round * 300), seed, true);
        bool lost[PC_FLEXFEC_MAX_PACKETS] = {false};
        struct reference parsed[8];
        int order[PC_FLEXFEC_MAX_PACKETS + 8], arrivals = 0, arrived_repairs = 0;
        size_t sizes[8];
        for (int i = 0; i < count; i++) {
            lost[i] = harness_random(&seed) % 10 == 0;
            if (!lost[i])
                order[arrivals++] = i;
        }
        for (int r = 0; r < repairs; r++) {
            sizes[r] = (size_t)pc_flexfec_write(&stream.block, r, repairs, fec[r], PACKET_BYTES);
            if (harness_random(&seed) % 10 == 0)
                continue;
            CHECK(reference_parse(&parsed[arrived_repairs++], fec[r], sizes[r]));
            order[arrivals++] = 1000 + r;
        }
        for (int i = arrivals - 1; i > 0; i--) {
            int k = (int)(harness_random(&seed) % (uint64_t)(i + 1));
            int swap = order[i];
            order[i] = order[k];
            order[k] = swap;
        }
        struct heard heard = {.stream = &stream};
        struct pc_flexfec_receiver *receiver =
            pc_flexfec_receiver_create(SSRC, &extensions, on_recovered, &heard);
        for (int i = 0; i < arrivals; i++)
            if (order[i] < 1000)
                receive(receiver, &stream.packets[order[i]]);
            else
                pc_flexfec_receive_repair(receiver, fec[order[i] - 1000], sizes[order[i] - 1000]);
        bool left[PC_FLEXFEC_MAX_PACKETS];
        memcpy(left, lost, sizeof left);
        int expected = peel(parsed, arrived_repairs, left, &stream);
        int got = 0;
        for (int i = 0; i < count; i++)
            got += lost[i] && heard.got[i];
        CHECK_EQ(got, expected);
        CHECK_EQ(heard.wrong, 0);
        total += expected;
        chained += expected > 1;
        struct pc_flexfec_stats stats;
        pc_flexfec_receiver_get_stats(receiver, &stats);
        CHECK_EQ(stats.repairs, arrived_repairs);
        CHECK_EQ(stats.malformed, 0);
        CHECK_EQ(stats.recovered, heard.count);
        pc_flexfec_receiver_destroy(receiver);
    }
    CHECK(total > 200 && chained > 30);
}

static void repairs_across_a_long_session(void)
{
    static struct stream stream;
    struct heard heard = {.stream = &stream};
    struct pc_flexfec_receiver *receiver =
        pc_flexfec_receiver_create(SSRC, &extensions, on_recovered, &heard);
    uint16_t first = 60000;
    int lost = 0;
    for (int frame = 0; frame < 8000; frame++) { /* more than one turn of the numbers */
        make_stream(&stream, 12, first, (uint64_t)frame + 1, false);
        for (int i = 0; i < 12; i++)
            if (i == frame % 12)
                lost++;
            else
                receive(receiver, &stream.packets[i]);
        repair(receiver, &stream, 0, 1);
        first = (uint16_t)(first + 12);
    }
    CHECK_EQ(heard.count, lost);
    CHECK_EQ(heard.wrong, 0);
    pc_flexfec_receiver_destroy(receiver);
}

/* An RTX packet may lack an extension that the original had. */
static void what_came_by_rtx_helps_only_when_its_header_is_the_same(void)
{
    static struct stream stream;
    for (int other_header = 0; other_header < 2; other_header++)
        for (int count = 2; count <= 4; count++) {
            struct heard heard = {.stream = &stream};
            struct pc_flexfec_receiver *receiver =
                pc_flexfec_receiver_create(SSRC, &extensions, on_recovered, &heard);
            struct pc_flexfec_block *block = &stream.block;
            pc_flexfec_begin(block);
            stream.count = count;
            for (int i = 0; i < count; i++) {
                struct packet *packet = &stream.packets[i];
                struct pc_rtp_fields fields = {
                    .payload_type = 96, .sequence = (uint16_t)i, .ssrc = SSRC};
                packet->header = pc_rtp_write(packet->data, &fields, &extensions, true);
                memset(packet->data + packet->header, 17 * i, 100);
                packet->size = packet->header + 100;
                memcpy(packet->kept, packet->data, packet->size);
                CHECK(pc_flexfec_protect(block, packet->data, packet->header,
                                         packet->data + packet->header, 100, &extensions));
            }
            uint8_t resent[PACKET_BYTES];
            struct pc_rtp_fields fields = {.payload_type = 96, .sequence = 0, .ssrc = SSRC};
            size_t header = pc_rtp_write(resent, &fields, &extensions, other_header == 0);
            memset(resent + header, 0, 100);
            for (int i = 2; i < count; i++)
                receive(receiver, &stream.packets[i]);
            pc_flexfec_receive_media(receiver, resent, header + 100, true);
            repair(receiver, &stream, 0, 1);
            CHECK_EQ(heard.wrong, 0);
            CHECK_EQ(heard.count, other_header == 0 && count > 2 ? 1 : 0);
            pc_flexfec_receiver_destroy(receiver);
        }
}

/* ---- Bad input ---- */

static void malformed_repairs_are_counted_and_dropped(void)
{
    static struct stream stream;
    struct heard heard = {.stream = &stream};
    struct pc_flexfec_receiver *receiver =
        pc_flexfec_receiver_create(SSRC, &extensions, on_recovered, &heard);
    struct pc_flexfec_stats stats;
    uint8_t fec[PACKET_BYTES];
    uint64_t bad = 0;
    make_stream(&stream, 60, 100, 1, false);
    for (int i = 1; i < 60; i++)
        receive(receiver, &stream.packets[i]);
    long size = pc_flexfec_write(&stream.block, 0, 1, fec, sizeof fec);
    for (size_t cut = 0; cut < 32; cut++, bad++) /* within the header */
        pc_flexfec_receive_repair(receiver, fec, cut);
    static const struct {
        int at;
        uint8_t flip;
    } wrong[] = {{0, 0x80}, {0, 0x40}, {8, 0x03}, {8, 0x01}, {12, 0x01}, {24, 0x80}};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++, bad++) {
        fec[wrong[i].at] ^= wrong[i].flip;
        pc_flexfec_receive_repair(receiver, fec, (size_t)size);
        fec[wrong[i].at] ^= wrong[i].flip;
    }
    static const uint8_t nothing[40] = {[8] = 1, [12] = 0xCA, 0xFE, 0xBA, 0xBE, [18] = 0x80};
    pc_flexfec_receive_repair(receiver, nothing, sizeof nothing);
    bad++;
    pc_flexfec_receiver_get_stats(receiver, &stats);
    CHECK_EQ(stats.malformed, bad);
    CHECK_EQ(stats.repairs, bad);
    CHECK_EQ(heard.count, 0);

    pc_flexfec_receiver_destroy(receiver);

    receiver = pc_flexfec_receiver_create(SSRC, &extensions, on_recovered, &heard);
    for (int i = 1; i < 60; i++)
        receive(receiver, &stream.packets[i]);
    fec[2] ^= 0x40; /* a length that the parity has no room for */
    pc_flexfec_receive_repair(receiver, fec, (size_t)size);
    fec[2] ^= 0x40;
    CHECK_EQ(heard.count, 0);
    pc_flexfec_receive_repair(receiver, fec, (size_t)size);
    CHECK_EQ(heard.count, 1);
    CHECK_EQ(heard.wrong, 0);
    pc_flexfec_receive_repair(receiver, fec, (size_t)size);
    fec[16] ^= 0x40; /* far from here */
    pc_flexfec_receive_repair(receiver, fec, (size_t)size);
    pc_flexfec_receiver_get_stats(receiver, &stats);
    CHECK_EQ(stats.malformed, 1);
    CHECK_EQ(stats.useless, 2);
    CHECK_EQ(stats.recovered, 1);
    pc_flexfec_receiver_destroy(receiver);
}

static void more_repairs_than_are_kept_push_out_the_oldest(void)
{
    static struct stream stream;
    struct heard heard = {.stream = &stream};
    struct pc_flexfec_receiver *receiver =
        pc_flexfec_receiver_create(SSRC, &extensions, on_recovered, &heard);
    make_stream(&stream, 4, 100, 1, false);
    for (int i = 0; i < 1000; i++)
        repair(receiver, &stream, 0, 1); /* all four are missing */
    for (int i = 0; i < 3; i++)
        receive(receiver, &stream.packets[i]);
    struct pc_flexfec_stats stats;
    pc_flexfec_receiver_get_stats(receiver, &stats);
    CHECK_EQ(stats.recovered, 1);
    CHECK_EQ(stats.useless, 999);
    CHECK_EQ(heard.count, 1);
    CHECK_EQ(heard.wrong, 0);
    pc_flexfec_receiver_destroy(receiver);
}

/* ---- What it costs ---- */

static double now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec * 1e9 + (double)time.tv_nsec;
}

static void prints_what_a_packet_costs(void)
{
    static struct stream stream;
    static uint8_t payload[MAX_PAYLOAD], fec[PACKET_BYTES];
    enum { PACKETS = 20, REPAIRS = 2, ROUNDS = 5000 };
    double protect = 0, write = 0, receiving = 0;
    struct heard heard = {.stream = &stream};
    struct pc_flexfec_receiver *receiver =
        pc_flexfec_receiver_create(SSRC, &extensions, on_recovered, &heard);
    stream.count = 0;
    for (int round = 0; round < ROUNDS; round++) {
        uint8_t packet[PACKETS][PACKET_BYTES];
        size_t header = 0;
        for (int i = 0; i < PACKETS; i++) {
            struct pc_rtp_fields fields = {.sequence = (uint16_t)(round * PACKETS + i),
                                           .ssrc = SSRC};
            header = pc_rtp_write(packet[i], &fields, &extensions, false);
            memcpy(packet[i] + header, payload, MAX_PAYLOAD);
        }
        double begin = now();
        pc_flexfec_begin(&stream.block);
        for (int i = 0; i < PACKETS; i++)
            pc_flexfec_protect(&stream.block, packet[i], header, payload, MAX_PAYLOAD, &extensions);
        double protected = now();
        long size = 0;
        for (int i = 0; i < REPAIRS; i++)
            size += pc_flexfec_write(&stream.block, i, REPAIRS, fec, sizeof fec);
        double written = now();
        for (int i = 1; i < PACKETS; i++)
            pc_flexfec_receive_media(receiver, packet[i], header + MAX_PAYLOAD, false);
        pc_flexfec_receive_repair(receiver, fec, (size_t)size / REPAIRS);
        receiving += now() - written;
        write += written - protected;
        protect += protected - begin;
    }
    double packets = (double)ROUNDS * PACKETS;
    printf(
        "  per packet of %d bytes, %d repairs of %d packets: remembered %.0f ns, parity %.0f ns, "
        "received %.0f ns\n",
        MAX_PAYLOAD, REPAIRS, PACKETS, protect / packets, write / packets, receiving / packets);
    pc_flexfec_receiver_destroy(receiver);
}

int main(void)
{
    RUN(the_reference_decoder_recovers_any_packet);
    RUN(the_header_is_as_long_as_the_mask_needs);
    RUN(a_block_has_bounds);
    RUN(any_burst_as_long_as_the_repairs_is_repaired);
    RUN(losses_that_meet_in_one_row_are_told_apart_by_another);
    RUN(recovers_what_can_be_recovered_in_any_order);
    RUN(repairs_across_a_long_session);
    RUN(what_came_by_rtx_helps_only_when_its_header_is_the_same);
    RUN(malformed_repairs_are_counted_and_dropped);
    RUN(more_repairs_than_are_kept_push_out_the_oldest);
    RUN(prints_what_a_packet_costs);
    return HARNESS_RESULT();
}
