/* Codec units into RTP payloads of an access unit. */
#ifndef PC_PACKETIZE_H
#define PC_PACKETIZE_H

#include "access_unit.h"

/* H.264, packetization-mode 1 (RFC 6184): parameter sets travel in one STAP-A (5.7.1), slices as
 * single NAL unit packets (5.6) or FU-A (5.8). Fragments of a NAL are of equal size, or full with a
 * short last one, whichever needs no more packets: equal sizes make the longest GSO batches.
 * Starts zeroed; zero it again when an access unit was abandoned halfway. */
struct pc_h264_packetizer {
    uint8_t parameter_sets[512]; /* a STAP-A being gathered: header, then size-prefixed NALs */
    size_t parameter_bytes;
};

/* Append one NAL unit (no start code) and publish. `last` completes the access unit. Returns the
 * number of payloads added, or -ENOSPC when the unit is full, -EINVAL for an empty NAL. */
int pc_packetize_h264(struct pc_h264_packetizer *packetizer, struct pc_access_unit *au,
                      const uint8_t *nal, size_t size, bool last);

#define PC_VP8_DESCRIPTOR_BYTES 4

/* VP8 (RFC 7741): S bit on the first packet, 15-bit picture id, no TL0PICIDX. */
struct pc_vp8_packetizer {
    uint16_t picture_id;
};

/* Append one whole frame and publish it as complete. Returns as above. */
int pc_packetize_vp8(struct pc_vp8_packetizer *packetizer, struct pc_access_unit *au,
                     const uint8_t *frame, size_t size);

#endif
