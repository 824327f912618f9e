/* What is read keeps within its bounds, and a refused descriptor changes nothing; what is written
 * is read back. */

#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include "dependency_descriptor.h"
#include "fuzz.h"

static void check_structure(const struct pc_dependency_structure *structure)
{
    if (!structure->known)
        return;
    REQUIRE(structure->templates >= 1 && structure->templates <= PC_DEPENDENCY_MAX_TEMPLATES);
    REQUIRE(structure->targets >= 1 && structure->targets <= PC_DEPENDENCY_MAX_TARGETS);
    REQUIRE(structure->chains <= structure->targets);
    for (int i = 0; i < structure->templates; i++) {
        REQUIRE(structure->template[i].spatial < 4 && structure->template[i].temporal < 8);
        REQUIRE(structure->template[i].diff_count <= PC_DEPENDENCY_MAX_DIFFS);
        for (int k = 0; k < structure->template[i].diff_count; k++)
            REQUIRE(structure->template[i].diffs[k] >= 1 && structure->template[i].diffs[k] <= 16);
    }
}

/* A descriptor of at most 255 bytes, as an element's size goes. */
static void check_parsing(const uint8_t *data, size_t size,
                          struct pc_dependency_structure *structure)
{
    struct pc_dependency_structure before = *structure;
    struct pc_dependency_descriptor read;
    int result = pc_dependency_descriptor_parse(data, size, structure, &read);
    REQUIRE(result == 0 || result == -EBADMSG || result == -ENOENT);
    check_structure(structure);
    if (result != 0)
        REQUIRE(memcmp(&before, structure, sizeof before) == 0);
    if (result == -EBADMSG)
        return;
    REQUIRE(read.first_packet == (data[0] >> 7 != 0));
    REQUIRE(read.last_packet == ((data[0] >> 6 & 1) != 0));
    REQUIRE(read.frame_number == (data[1] << 8 | data[2]));
    if (result != 0)
        return;
    REQUIRE(read.diff_count <= PC_DEPENDENCY_MAX_DIFFS);
    for (int i = 0; i < read.diff_count; i++)
        REQUIRE(read.diffs[i] >= 1 && read.diffs[i] <= PC_DEPENDENCY_MAX_DIFF);
    REQUIRE(!read.has_structure || (read.first_packet && size > 3));
    REQUIRE(structure->known && read.spatial < 4 && read.temporal < 8);
}

static void check_round_trip(const uint8_t *data, size_t size)
{
    struct pc_dependency_structure structure = {0};
    uint8_t out[PC_DEPENDENCY_MAX_BYTES];
    struct pc_dependency_descriptor read;
    size_t idr = pc_dependency_descriptor_write(out, true, false, 0, 0);
    REQUIRE(pc_dependency_descriptor_parse(out, idr, &structure, &read) == 0);
    for (; size >= 5; data += 5, size -= 5) {
        bool first = (data[0] & 1) != 0, last = (data[0] & 2) != 0;
        uint16_t number = (uint16_t)(data[1] << 8 | data[2]);
        int diff = (data[3] << 8 | data[4]) % (PC_DEPENDENCY_MAX_DIFF + 1);
        size_t bytes = pc_dependency_descriptor_write(out, first, last, number, diff);
        REQUIRE(bytes >= 3 && bytes <= PC_DEPENDENCY_MAX_BYTES);
        REQUIRE(pc_dependency_descriptor_parse(out, bytes, &structure, &read) == 0);
        REQUIRE(read.first_packet == first && read.last_packet == last);
        REQUIRE(read.frame_number == number && read.has_structure == (first && diff == 0));
        REQUIRE(read.diff_count == (diff > 0) && (diff == 0 || read.diffs[0] == diff));
    }
}

/* Descriptors one after the other, each behind its size. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct pc_dependency_structure structure;
    memset(&structure, 0, sizeof structure); /* padding too: it is compared */
    check_round_trip(data, size);
    while (size > 0) {
        size_t bytes = data[0] < size - 1 ? data[0] : size - 1;
        check_parsing(data + 1, bytes, &structure);
        data += 1 + bytes;
        size -= 1 + bytes;
    }
    return 0;
}
