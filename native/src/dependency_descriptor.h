/* The Dependency Descriptor (AV1 RTP specification, appendix A): which frame a packet belongs to,
 * and which frames that one refers to. Pure.
 *
 * Written for streams of one spatial and one temporal layer whose frames refer to one frame each.
 * An IDR's first packet carries the template structure (10 bytes); without it, a packet takes 3
 * bytes when the frame refers to one of the last three numbers, else up to 6. Read for any stream.
 */
#ifndef PC_DEPENDENCY_DESCRIPTOR_H
#define PC_DEPENDENCY_DESCRIPTOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PC_DEPENDENCY_DESCRIPTOR_URI                                                               \
    "https://aomediacodec.github.io/av1-rtp-spec/#dependency-descriptor-rtp-header-extension"

#define PC_DEPENDENCY_MAX_BYTES     10   /* that are written */
#define PC_DEPENDENCY_MAX_DIFF      4096 /* how far back a frame can refer */
#define PC_DEPENDENCY_MAX_DIFFS     16   /* of one frame; more are refused */
#define PC_DEPENDENCY_MAX_TEMPLATES 64
#define PC_DEPENDENCY_MAX_TARGETS   32 /* decode targets, and chains */

/* Write the descriptor of one packet. `reference_diff`: the frame refers to number `frame_number -
 * reference_diff`, 1..PC_DEPENDENCY_MAX_DIFF; 0 = it is an IDR. Returns its bytes: 3..6 with a
 * reference, the same for all packets of the frame; of an IDR PC_DEPENDENCY_MAX_BYTES for the first
 * packet and 3 for the others. */
size_t pc_dependency_descriptor_write(uint8_t out[PC_DEPENDENCY_MAX_BYTES], bool first_packet,
                                      bool last_packet, uint16_t frame_number, int reference_diff);

/* A template structure as received. Zeroed = none yet. */
struct pc_dependency_structure {
    bool known;
    uint16_t frame_number; /* of the frame that brought it */
    uint8_t id_offset;
    uint8_t templates, targets, chains;
    struct {
        uint8_t spatial, temporal;
        uint8_t diff_count;
        uint8_t diffs[PC_DEPENDENCY_MAX_DIFFS];
    } template[PC_DEPENDENCY_MAX_TEMPLATES];
};

struct pc_dependency_descriptor {
    bool first_packet, last_packet; /* of the frame */
    bool has_structure;             /* it brought one: this is a key frame's first packet */
    uint16_t frame_number;
    uint8_t spatial, temporal;
    uint8_t diff_count;                      /* 0: the frame stands alone */
    uint16_t diffs[PC_DEPENDENCY_MAX_DIFFS]; /* it refers to the numbers frame_number - diff */
};

/* Read a descriptor of 3 bytes or more. `structure` is replaced by one that the descriptor brings,
 * unless that is of an older frame. 0; -EBADMSG when malformed (`structure` is unchanged then), or
 * -ENOENT when the structure that it needs is not there: of `out` only packet flags and frame
 * number mean something. */
int pc_dependency_descriptor_parse(const uint8_t *data, size_t size,
                                   struct pc_dependency_structure *structure,
                                   struct pc_dependency_descriptor *out);

#endif
