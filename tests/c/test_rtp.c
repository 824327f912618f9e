#include <errno.h>
#include <stdlib.h>

#include "harness.h"
#include "hex.h"
#include "rtp.h"

static const struct pc_rtp_fields fields = {
    .marker = true,
    .payload_type = 102,
    .sequence = 0x1234,
    .timestamp = 0xDEADBEEF,
    .ssrc = 0xCAFEBABE,
    .send_ns = 65500000000ull, /* 1.5 s after a wrap of abs-send-time */
    .transport_sequence = 0xABCD,
};

static void check_written(const struct pc_rtp_extensions *extensions, bool with_mid,
                          const char *expected)
{
    uint8_t out[PC_RTP_MAX_HEADER_BYTES], bytes[PC_RTP_MAX_HEADER_BYTES];
    size_t size = hex(expected, bytes);
    CHECK_EQ(pc_rtp_write(out, &fields, extensions, with_mid), size);
    CHECK_BYTES(out, bytes, size);
}

static void writes_a_header_without_extensions(void)
{
    struct pc_rtp_extensions none = {.mid = "0"}; /* a mid without an id is not sent */
    check_written(&none, true, "80E61234 DEADBEEF CAFEBABE");
}

static void writes_one_byte_extensions(void)
{
    struct pc_rtp_extensions all = {
        .mid_id = 4,
        .abs_send_time_id = 2,
        .transport_cc_id = 3,
        .playout_delay_id = 14,
        .playout_min = 0x123,
        .playout_max = 0x456,
        .mid = "v0",
    };
    check_written(&all, true,
                  "90E61234 DEADBEEF CAFEBABE BEDE0004 22060000 31ABCDE2 12345641 76300000");
    check_written(&all, false, "90E61234 DEADBEEF CAFEBABE BEDE0003 22060000 31ABCDE2 12345600");
    struct pc_rtp_extensions only_mid = {.mid_id = 4, .mid = "v0"};
    check_written(&only_mid, false, "80E61234 DEADBEEF CAFEBABE");
    struct pc_rtp_extensions no_mid_text = {.mid_id = 4};
    check_written(&no_mid_text, true, "80E61234 DEADBEEF CAFEBABE");
}

static void writes_two_byte_extensions(void)
{
    struct pc_rtp_extensions two_byte = {.mid_id = 15, .transport_cc_id = 3, .mid = "video"};
    check_written(&two_byte, true,
                  "90E61234 DEADBEEF CAFEBABE 10000003 0302ABCD 0F057669 64656F00");
    /* The form belongs to the negotiated set, not to the packet. */
    check_written(&two_byte, false, "90E61234 DEADBEEF CAFEBABE 10000001 0302ABCD");
}

static void writes_no_more_than_the_most(void)
{
    struct pc_rtp_extensions most = {15, 16, 17, 18, 0xFFFF, 0xFFFF, "0123456789abcdef", 19};
    uint8_t out[PC_RTP_MAX_HEADER_BYTES];
    CHECK_EQ(pc_rtp_write(out, &fields, &most, true), 48);
    memset(most.mid, 'x', sizeof most.mid); /* not terminated: 16 characters count */
    CHECK_EQ(pc_rtp_write(out, &fields, &most, true), 48);
    struct pc_rtp_fields first = fields;
    first.in_frame = first.first_packet = true;
    CHECK_EQ(pc_rtp_write(out, &first, &most, true), 60);
}

/* What a packet may have beside its payload (access_unit.h): everything that is offered, and a mid
 * of one character. */
static void a_whole_packet_keeps_within_its_bytes(void)
{
    struct pc_rtp_extensions usual = {1, 2, 3, 4, 0, 0, "0", 5};
    struct pc_rtp_fields first = fields;
    first.in_frame = first.first_packet = true;
    uint8_t out[PC_RTP_MAX_HEADER_BYTES];
    CHECK_EQ(pc_rtp_write(out, &first, &usual, true), 12 + 28);
}

static void describes_the_frame(void)
{
    struct pc_rtp_extensions extensions = {.transport_cc_id = 3, .dependency_id = 5};
    struct pc_rtp_fields packet = fields;
    packet.frame_number = 0x0102;
    packet.reference_diff = 1;
    uint8_t out[PC_RTP_MAX_HEADER_BYTES], bytes[PC_RTP_MAX_HEADER_BYTES];
    /* A packet without a frame has none: FEC, padding. */
    size_t size = hex("90E61234 DEADBEEF CAFEBABE BEDE0001 31ABCD00", bytes);
    CHECK_EQ(pc_rtp_write(out, &packet, &extensions, true), size);
    CHECK_BYTES(out, bytes, size);
    packet.in_frame = true;
    size = hex("90E61234 DEADBEEF CAFEBABE BEDE0002 31ABCD52 41010200", bytes);
    CHECK_EQ(pc_rtp_write(out, &packet, &extensions, true), size);
    CHECK_BYTES(out, bytes, size);
    packet.first_packet = true;
    packet.marker = false;
    packet.reference_diff = 0;
    size = hex("90661234 DEADBEEF CAFEBABE BEDE0004 31ABCD59 80010280 0003AA41 14800000", bytes);
    CHECK_EQ(pc_rtp_write(out, &packet, &extensions, true), size);
    CHECK_BYTES(out, bytes, size);
}

static void length_depends_on_extensions_only(void)
{
    struct pc_rtp_extensions extensions = {1, 2, 3, 4, 0, 0, "0", 0};
    uint64_t random = 1;
    uint8_t out[PC_RTP_MAX_HEADER_BYTES];
    for (int i = 0; i < 1000; i++) {
        struct pc_rtp_fields any;
        for (size_t k = 0; k < sizeof any; k++)
            ((uint8_t *)&any)[k] = (uint8_t)harness_random(&random);
        any.marker = (i & 1) != 0;
        CHECK_EQ(pc_rtp_write(out, &any, &extensions, true), 32);
    }
}

static void reads_back_what_it_writes(void)
{
    struct pc_rtp_extensions sets[] = {
        {1, 2, 3, 4, 1, 2, "a", 0}, {200, 2, 3, 4, 1, 2, "abcd", 0}, {0, 9, 0, 255, 1, 2, "", 0}};
    for (size_t i = 0; i < 3; i++) {
        uint8_t data[PC_RTP_MAX_HEADER_BYTES + 3];
        size_t header = pc_rtp_write(data, &fields, &sets[i], true);
        memcpy(data + header, "xyz", 3);
        struct pc_rtp_packet packet;
        CHECK_EQ(pc_rtp_header_bytes(data, header + 3), header);
        CHECK_EQ(pc_rtp_parse(data, header + 3, &packet), 0);
        CHECK(packet.marker);
        CHECK_EQ(packet.payload_type, 102);
        CHECK_EQ(packet.sequence, 0x1234);
        CHECK_EQ(packet.timestamp, 0xDEADBEEF);
        CHECK_EQ(packet.ssrc, 0xCAFEBABE);
        CHECK_EQ(packet.header_bytes, header);
        CHECK_EQ(packet.payload_bytes, 3);
        CHECK(packet.payload == data + header);
        size_t size = 99;
        const uint8_t *found = pc_rtp_extension(&packet, sets[i].abs_send_time_id, &size);
        CHECK(found != NULL && size == 3 && memcmp(found, "\x06\x00\x00", 3) == 0);
        found = pc_rtp_extension(&packet, sets[i].playout_delay_id, &size);
        CHECK(found != NULL && size == 3 && memcmp(found, "\x00\x10\x02", 3) == 0);
        if (sets[i].mid_id != 0) {
            found = pc_rtp_extension(&packet, sets[i].mid_id, &size);
            CHECK(found != NULL && size == strlen(sets[i].mid) &&
                  memcmp(found, sets[i].mid, size) == 0);
        }
        CHECK(pc_rtp_extension(&packet, 7, &size) == NULL);
        CHECK(pc_rtp_extension(&packet, 0, &size) == NULL);
    }
}

/* Parse from memory of exactly that size, so that a sanitizer sees a read past the end. */
static int parse_hex(const char *text, struct pc_rtp_packet *packet, uint8_t **memory)
{
    uint8_t bytes[256];
    size_t size = hex(text, bytes);
    *memory = malloc(size > 0 ? size : 1);
    memcpy(*memory, bytes, size);
    return pc_rtp_parse(*memory, size, packet);
}

static void reads_csrcs_padding_and_extension_elements(void)
{
    struct pc_rtp_packet packet;
    uint8_t *memory;
    size_t size;
    /* two CSRCs, padding of 3 */
    CHECK_EQ(
        parse_hex("A2600001 00000002 00000003 11111111 22222222 AABB 000003", &packet, &memory), 0);
    CHECK_EQ(packet.header_bytes, 20);
    CHECK_EQ(packet.payload_bytes, 2);
    CHECK_EQ(packet.extension_profile, 0);
    CHECK(!packet.marker);
    free(memory);
    /* padding only */
    CHECK_EQ(parse_hex("A0600001 00000002 00000003 0002", &packet, &memory), 0);
    CHECK_EQ(packet.payload_bytes, 0);
    free(memory);
    /* one-byte elements: padding between, id 15 ends the list */
    CHECK_EQ(parse_hex("90600001 00000002 00000003 BEDE0003 00 10AA 0000 31BBCC F0DD 20EE", &packet,
                       &memory),
             0);
    const uint8_t *found = pc_rtp_extension(&packet, 1, &size);
    CHECK(found != NULL && size == 1 && found[0] == 0xAA);
    found = pc_rtp_extension(&packet, 3, &size);
    CHECK(found != NULL && size == 2 && found[0] == 0xBB);
    CHECK(pc_rtp_extension(&packet, 2, &size) == NULL);
    CHECK(pc_rtp_extension(&packet, 15, &size) == NULL);
    free(memory);
    /* two-byte elements with appbits; an empty element is there, with no bytes */
    CHECK_EQ(parse_hex("90600001 00000002 00000003 10070002 0500 00 0F02AABB 00", &packet, &memory),
             0);
    CHECK(pc_rtp_extension(&packet, 5, &size) != NULL && size == 0);
    CHECK(pc_rtp_extension(&packet, 15, &size) != NULL && size == 2);
    free(memory);
    /* an element that runs over the block's end is not there */
    CHECK_EQ(parse_hex("90600001 00000002 00000003 BEDE0001 00001FAA", &packet, &memory), 0);
    CHECK(pc_rtp_extension(&packet, 1, &size) == NULL);
    free(memory);
    CHECK_EQ(parse_hex("90600001 00000002 00000003 10000001 00000009", &packet, &memory), 0);
    CHECK(pc_rtp_extension(&packet, 9, &size) == NULL);
    free(memory);
    /* another profile's extension is passed over */
    CHECK_EQ(parse_hex("90600001 00000002 00000003 ABCD0001 10AA10AA EE", &packet, &memory), 0);
    CHECK(pc_rtp_extension(&packet, 1, &size) == NULL);
    CHECK_EQ(packet.payload_bytes, 1);
    free(memory);
}

static void refuses_what_is_malformed(void)
{
    static const char *const malformed[] = {
        "",
        "40600001 00000002 00000003",             /* version 1 */
        "80600001 00000002 000000",               /* short */
        "81600001 00000002 00000003 000000",      /* CSRC cut off */
        "90600001 00000002 00000003 BEDE00",      /* extension head cut off */
        "90600001 00000002 00000003 BEDE0001 AA", /* extension cut off */
        "90600001 00000002 00000003 BEDEFFFF",    /* … by far */
        "A0600001 00000002 00000003",             /* padding without a byte */
        "A0600001 00000002 00000003 AA00",        /* padding of 0 */
        "A0600001 00000002 00000003 AA03",        /* padding of more than there is */
    };
    for (size_t i = 0; i < sizeof malformed / sizeof malformed[0]; i++) {
        struct pc_rtp_packet packet;
        uint8_t *memory;
        CHECK_EQ(parse_hex(malformed[i], &packet, &memory), -EBADMSG);
        free(memory);
    }
}

static void survives_every_length(void)
{
    struct pc_rtp_extensions extensions = {1, 2, 3, 4, 1, 2, "mid", 0};
    uint8_t whole[PC_RTP_MAX_HEADER_BYTES];
    size_t header = pc_rtp_write(whole, &fields, &extensions, true);
    for (size_t size = 0; size < header; size++) {
        uint8_t *data = malloc(size > 0 ? size : 1);
        struct pc_rtp_packet packet;
        memcpy(data, whole, size);
        CHECK_EQ(pc_rtp_parse(data, size, &packet), -EBADMSG);
        free(data);
    }
}

static void sequence_numbers_wrap(void)
{
    CHECK(pc_seq_newer(1, 0) && pc_seq_newer(0, 65535) && pc_seq_newer(0x7FFF, 0));
    CHECK(!pc_seq_newer(0, 0) && !pc_seq_newer(0, 1) && !pc_seq_newer(0x8000, 0));
}

int main(void)
{
    RUN(writes_a_header_without_extensions);
    RUN(writes_one_byte_extensions);
    RUN(writes_two_byte_extensions);
    RUN(writes_no_more_than_the_most);
    RUN(a_whole_packet_keeps_within_its_bytes);
    RUN(describes_the_frame);
    RUN(length_depends_on_extensions_only);
    RUN(reads_back_what_it_writes);
    RUN(reads_csrcs_padding_and_extension_elements);
    RUN(refuses_what_is_malformed);
    RUN(survives_every_length);
    RUN(sequence_numbers_wrap);
    return HARNESS_RESULT();
}
