#include "h264_sps.h"

#include "bits.h"

/* Those whose chroma format and bit depths are written down (7.3.2.1.1). */
static bool is_high(uint32_t profile)
{
    return profile == 100 || profile == 110 || profile == 122 || profile == 244;
}

static bool pass_chroma(struct pc_bit_reader *reader)
{
    enum { YUV444 = 3 };
    if (pc_bits_read_ue(reader) == YUV444)
        return false;
    pc_bits_read_ue(reader);         /* bit_depth_luma_minus8 */
    pc_bits_read_ue(reader);         /* bit_depth_chroma_minus8 */
    pc_bits_read(reader, 1);         /* qpprime_y_zero_transform_bypass_flag */
    return !pc_bits_read(reader, 1); /* seq_scaling_matrix_present_flag */
}

bool pc_h264_sps_allow_gaps(uint8_t *rbsp, size_t size)
{
    struct pc_bit_reader reader = pc_bits_open(rbsp, size);
    uint32_t profile = pc_bits_read(&reader, 8);
    pc_bits_read(&reader, 16); /* constraints, level */
    pc_bits_read_ue(&reader);  /* seq_parameter_set_id */
    if (is_high(profile) && !pass_chroma(&reader))
        return false;
    pc_bits_read_ue(&reader); /* log2_max_frame_num_minus4 */
    uint32_t order_type = pc_bits_read_ue(&reader);
    if (order_type == 0)
        pc_bits_read_ue(&reader); /* log2_max_pic_order_cnt_lsb_minus4 */
    else if (order_type != 2)
        return false;
    pc_bits_read_ue(&reader); /* max_num_ref_frames */
    size_t flag = reader.at;
    pc_bits_read(&reader, 1);
    if (reader.overrun)
        return false;
    rbsp[flag / 8] |= (uint8_t)(0x80u >> flag % 8);
    return true;
}
