#include <errno.h>

#include "dependency_descriptor.h"
#include "harness.h"
#include "hex.h"

static int parse(const char *text, struct pc_dependency_structure *structure,
                 struct pc_dependency_descriptor *out)
{
    uint8_t bytes[256];
    size_t size = hex(text, bytes);
    return pc_dependency_descriptor_parse(bytes, size, structure, out);
}

static void check_written(bool first, bool last, uint16_t number, int diff, const char *expected)
{
    uint8_t out[PC_DEPENDENCY_MAX_BYTES], bytes[PC_DEPENDENCY_MAX_BYTES];
    size_t size = hex(expected, bytes);
    CHECK_EQ(pc_dependency_descriptor_write(out, first, last, number, diff), size);
    CHECK_BYTES(out, bytes, size);
}

/* By hand from the syntax in A.8: an IDR is template 0 and brings
 * 10000 | 000000 00000 | 00 00 00 11 | 10 10 10 10 | 0 100000 100010 100100 | 0 | 0. */
static void writes_what_the_specification_says(void)
{
    check_written(true, false, 0x1234, 0, "801234 800003AA 411480");
    check_written(true, true, 0x1234, 0, "C01234 800003AA 411480");
    check_written(false, true, 0x1234, 0, "401234");
    check_written(true, true, 0x1235, 1, "C11235");
    check_written(false, false, 0xFFFF, 3, "03FFFF");
    /* 00010 | 01 | 0011 | 00 and 00010 | 10 | 00010000 | 00 and 00010 | 11 | 111111111111 | 00 */
    check_written(false, false, 1, 4, "010001 1260");
    check_written(false, false, 1, 17, "010001 1420 00");
    check_written(false, false, 1, 4096, "010001 17FF E0");
}

static void reads_what_was_written(void)
{
    struct pc_dependency_structure structure = {0};
    for (int diff = 0; diff <= PC_DEPENDENCY_MAX_DIFF; diff++) {
        for (int flags = 3; flags >= 0; flags--) {
            uint8_t out[PC_DEPENDENCY_MAX_BYTES];
            struct pc_dependency_descriptor read;
            bool first = (flags & 1) != 0, last = (flags & 2) != 0;
            uint16_t number = (uint16_t)(diff * 31);
            size_t size = pc_dependency_descriptor_write(out, first, last, number, diff);
            CHECK_EQ(pc_dependency_descriptor_parse(out, size, &structure, &read), 0);
            CHECK_EQ(read.first_packet, first);
            CHECK_EQ(read.last_packet, last);
            CHECK_EQ(read.has_structure, diff == 0 && first);
            CHECK_EQ(read.frame_number, number);
            CHECK_EQ(read.diff_count, diff > 0);
            CHECK(diff == 0 || read.diffs[0] == diff);
        }
    }
    CHECK_EQ(structure.templates, 4);
    CHECK_EQ(structure.targets, 1);
}

/* All packets of a frame are of one size, but for an IDR's first: batches depend on it. */
static void packets_of_a_frame_have_one_size(void)
{
    uint8_t out[PC_DEPENDENCY_MAX_BYTES];
    for (int diff = 1; diff <= PC_DEPENDENCY_MAX_DIFF; diff++) {
        size_t size = pc_dependency_descriptor_write(out, true, false, 7, diff);
        CHECK_EQ(size, diff < 4 ? 3 : diff <= 16 ? 5 : 6);
        CHECK_EQ(pc_dependency_descriptor_write(out, false, false, 7, diff), size);
        CHECK_EQ(pc_dependency_descriptor_write(out, false, true, 7, diff), size);
    }
}

static void needs_a_structure(void)
{
    struct pc_dependency_structure structure = {0};
    struct pc_dependency_descriptor read;
    CHECK_EQ(parse("C11235", &structure, &read), -ENOENT);
    CHECK(read.first_packet && read.last_packet);
    CHECK_EQ(read.frame_number, 0x1235);
    CHECK_EQ(parse("801234 800003AA 411480", &structure, &read), 0);
    CHECK_EQ(parse("C11235", &structure, &read), 0);
    CHECK_EQ(read.diffs[0], 1);
    CHECK_EQ(parse("C41235", &structure, &read), -ENOENT); /* there are four templates */
}

int main(void)
{
    RUN(writes_what_the_specification_says);
    RUN(reads_what_was_written);
    RUN(packets_of_a_frame_have_one_size);
    RUN(needs_a_structure);
    return HARNESS_RESULT();
}
