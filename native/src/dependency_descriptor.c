#include "dependency_descriptor.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "bits.h"
#include "rtp.h"

enum {
    TEMPLATES = 4, /* of ours: a key frame, and frames that refer to the last, last but one, … */
    NO_MORE_TEMPLATES = 3,
    NEXT_TEMPORAL = 1,
    NEXT_SPATIAL = 2,
    SWITCH = 2, /* decode target indication: whoever has the references can begin here */
    MANDATORY_BYTES = 3,
    MAX_SPATIAL = 4, /* layers (A.3) */
    MAX_TEMPORAL = 8,
};

/* ---- Writing --------------------------------------------------------------------------------- */

static void write_structure(struct pc_bit_writer *writer)
{
    pc_bits_write(writer, 0, 6); /* template_id_offset */
    pc_bits_write(writer, 0, 5); /* dt_cnt_minus_one */
    for (int i = 1; i < TEMPLATES; i++)
        pc_bits_write(writer, 0, 2); /* the next template is of the same layer */
    pc_bits_write(writer, NO_MORE_TEMPLATES, 2);
    for (int i = 0; i < TEMPLATES; i++)
        pc_bits_write(writer, SWITCH, 2);
    for (int i = 0; i < TEMPLATES; i++) {
        if (i > 0) {
            pc_bits_write(writer, 1, 1); /* fdiff_follows_flag */
            pc_bits_write(writer, (uint32_t)i - 1, 4);
        }
        pc_bits_write(writer, 0, 1);
    }
    pc_bits_write(writer, 0, 1); /* chain_cnt, ns(2) */
    pc_bits_write(writer, 0, 1); /* resolutions_present_flag */
}

size_t pc_dependency_descriptor_write(uint8_t out[PC_DEPENDENCY_MAX_BYTES], bool first_packet,
                                      bool last_packet, uint16_t frame_number, int reference_diff)
{
    assert(reference_diff >= 0 && reference_diff <= PC_DEPENDENCY_MAX_DIFF);
    bool custom = reference_diff >= TEMPLATES, structure = first_packet && reference_diff == 0;
    memset(out, 0, PC_DEPENDENCY_MAX_BYTES);
    struct pc_bit_writer writer = {.data = out};
    pc_bits_write(&writer, first_packet, 1);
    pc_bits_write(&writer, last_packet, 1);
    pc_bits_write(&writer, custom ? 1 : (uint32_t)reference_diff, 6);
    pc_bits_write(&writer, frame_number, 16);
    if (!custom && !structure)
        return MANDATORY_BYTES;
    pc_bits_write(&writer, structure, 1);
    pc_bits_write(&writer, 0, 1); /* active_decode_targets_present_flag */
    pc_bits_write(&writer, 0, 1); /* custom_dtis_flag */
    pc_bits_write(&writer, custom, 1);
    pc_bits_write(&writer, 0, 1); /* custom_chains_flag */
    if (structure)
        write_structure(&writer);
    if (custom) {
        uint32_t nibbles = reference_diff <= 16 ? 1 : reference_diff <= 256 ? 2 : 3;
        pc_bits_write(&writer, nibbles, 2);
        pc_bits_write(&writer, (uint32_t)reference_diff - 1, 4 * (int)nibbles);
        pc_bits_write(&writer, 0, 2);
    }
    return (writer.at + 7) / 8;
}

/* ---- Reading --------------------------------------------------------------------------------- */

static bool read_layers(struct pc_bit_reader *reader, struct pc_dependency_structure *structure)
{
    uint8_t spatial = 0, temporal = 0;
    for (uint32_t next = 0; next != NO_MORE_TEMPLATES;) {
        if (structure->templates == PC_DEPENDENCY_MAX_TEMPLATES || reader->overrun ||
            spatial >= MAX_SPATIAL || temporal >= MAX_TEMPORAL)
            return false;
        structure->template[structure->templates].spatial = spatial;
        structure->template[structure->templates++].temporal = temporal;
        next = pc_bits_read(reader, 2);
        if (next == NEXT_TEMPORAL) {
            temporal++;
        } else if (next == NEXT_SPATIAL) {
            temporal = 0;
            spatial++;
        }
    }
    return true;
}

static bool read_template_diffs(struct pc_bit_reader *reader,
                                struct pc_dependency_structure *structure)
{
    for (int i = 0; i < structure->templates; i++) {
        while (pc_bits_read(reader, 1) != 0) {
            uint8_t diff = (uint8_t)(pc_bits_read(reader, 4) + 1);
            if (structure->template[i].diff_count == PC_DEPENDENCY_MAX_DIFFS)
                return false;
            structure->template[i].diffs[structure->template[i].diff_count++] = diff;
        }
    }
    return true;
}

static void read_chains(struct pc_bit_reader *reader, struct pc_dependency_structure *structure)
{
    structure->chains = (uint8_t)pc_bits_read_ns(reader, structure->targets + 1u);
    if (structure->chains == 0)
        return;
    for (int i = 0; i < structure->targets; i++)
        pc_bits_read_ns(reader, structure->chains); /* decode_target_protected_by */
    for (int i = 0; i < structure->templates * structure->chains; i++)
        pc_bits_read(reader, 4); /* template_chain_fdiff */
}

static bool read_structure(struct pc_bit_reader *reader, struct pc_dependency_structure *structure)
{
    structure->id_offset = (uint8_t)pc_bits_read(reader, 6);
    structure->targets = (uint8_t)(pc_bits_read(reader, 5) + 1);
    if (!read_layers(reader, structure))
        return false;
    for (int i = 0; i < structure->templates * structure->targets; i++)
        pc_bits_read(reader, 2); /* template_dti */
    if (!read_template_diffs(reader, structure))
        return false;
    read_chains(reader, structure);
    if (pc_bits_read(reader, 1) != 0) {
        int layers = structure->template[structure->templates - 1].spatial + 1;
        for (int i = 0; i < layers; i++)
            pc_bits_read(reader, 32); /* width and height less one */
    }
    structure->known = true;
    return !reader->overrun;
}

static bool read_custom_diffs(struct pc_bit_reader *reader, struct pc_dependency_descriptor *out)
{
    uint32_t nibbles;
    while ((nibbles = pc_bits_read(reader, 2)) != 0) {
        if (out->diff_count == PC_DEPENDENCY_MAX_DIFFS)
            return false;
        out->diffs[out->diff_count++] = (uint16_t)(pc_bits_read(reader, 4 * (int)nibbles) + 1);
    }
    return true;
}

int pc_dependency_descriptor_parse(const uint8_t *data, size_t size,
                                   struct pc_dependency_structure *structure,
                                   struct pc_dependency_descriptor *out)
{
    if (size < MANDATORY_BYTES)
        return -EBADMSG;
    struct pc_bit_reader reader = pc_bits_open(data, size);
    memset(out, 0, sizeof *out);
    out->first_packet = pc_bits_read(&reader, 1) != 0;
    out->last_packet = pc_bits_read(&reader, 1) != 0;
    uint32_t template_id = pc_bits_read(&reader, 6);
    out->frame_number = (uint16_t)pc_bits_read(&reader, 16);

    struct pc_dependency_structure brought = {.frame_number = out->frame_number};
    const struct pc_dependency_structure *used = structure;
    bool targets_follow = false, custom_indications = false, custom_diffs = false;
    if (size > MANDATORY_BYTES) {
        out->has_structure = pc_bits_read(&reader, 1) != 0;
        targets_follow = pc_bits_read(&reader, 1) != 0;
        custom_indications = pc_bits_read(&reader, 1) != 0;
        custom_diffs = pc_bits_read(&reader, 1) != 0;
        pc_bits_read(&reader, 1); /* custom chains: the last thing that there is */
        if (out->has_structure && (!out->first_packet || !read_structure(&reader, &brought)))
            return -EBADMSG;
        if (out->has_structure)
            used = &brought;
    }
    if (!used->known)
        return -ENOENT;
    uint32_t index =
        (template_id + PC_DEPENDENCY_MAX_TEMPLATES - used->id_offset) % PC_DEPENDENCY_MAX_TEMPLATES;
    if (index >= used->templates)
        return out->has_structure ? -EBADMSG : -ENOENT;
    out->spatial = used->template[index].spatial;
    out->temporal = used->template[index].temporal;
    if (targets_follow)
        pc_bits_read(&reader, used->targets);
    for (int i = 0; custom_indications && i < used->targets; i++)
        pc_bits_read(&reader, 2);
    if (custom_diffs) {
        if (!read_custom_diffs(&reader, out))
            return -EBADMSG;
    } else {
        out->diff_count = used->template[index].diff_count;
        for (int i = 0; i < out->diff_count; i++)
            out->diffs[i] = used->template[index].diffs[i];
    }
    if (reader.overrun)
        return -EBADMSG;
    bool newer = !structure->known || !pc_seq_newer(structure->frame_number, out->frame_number);
    if (out->has_structure && newer)
        *structure = brought;
    return 0;
}
