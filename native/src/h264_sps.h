/* One change to a sequence parameter set (ITU-T H.264 7.3.2.1.1). */
#ifndef PC_H264_SPS_H
#define PC_H264_SPS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Set gaps_in_frame_num_value_allowed_flag in place, so that a stream of which frames are missing
 * that nothing else refers to is a valid one (8.2.5.2). `rbsp`: what follows the NAL unit's header
 * byte, without emulation prevention. False, and nothing is changed, for what is no SPS. */
bool pc_h264_sps_allow_gaps(uint8_t *rbsp, size_t size);

#endif
