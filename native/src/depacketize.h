/* RTP payloads into access units: the reverse of packetize.h. Pure. Payloads come in order, those
 * of one frame whole. */
#ifndef PC_DEPACKETIZE_H
#define PC_DEPACKETIZE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Memory that a unit is written into; grows, and is kept from unit to unit. Starts zeroed. */
struct pc_unit_buffer {
    uint8_t *data;
    size_t size, capacity;
};

void pc_unit_buffer_free(struct pc_unit_buffer *buffer);

/* Append; -ENOMEM leaves the buffer as it was. */
int pc_unit_append(struct pc_unit_buffer *buffer, const uint8_t *data, size_t size);

/* What one payload says about its frame before the frame is whole. */
struct pc_payload_hints {
    bool begins; /* it is the frame's first one. Not said of every first one */
    bool idr;    /* it is of a frame that needs no other. VP8: said by the first one only */
};

/* H.264 (RFC 6184): single NAL units, STAP-A and FU-A become NAL units behind four-byte start
 * codes. Starts zeroed for each frame. */
struct pc_h264_depacketizer {
    bool in_fragments; /* an FU-A has begun and has not ended */
    uint8_t fragmented_header;
};

struct pc_payload_hints pc_h264_hints(const uint8_t *payload, size_t size);

/* Append what the payload holds. 0, -ENOMEM, or -EBADMSG: malformed, or of a kind that
 * packetization-mode 1 does not have. The buffer's contents are undefined after an error. */
int pc_depacketize_h264(struct pc_h264_depacketizer *depacketizer, struct pc_unit_buffer *buffer,
                        const uint8_t *payload, size_t size);

/* After the frame's last payload: 0, or -EBADMSG when a NAL unit was not ended. */
int pc_depacketize_h264_end(const struct pc_h264_depacketizer *depacketizer);

/* VP8 (RFC 7741). */
struct pc_payload_hints pc_vp8_hints(const uint8_t *payload, size_t size);

/* Append the payload without its descriptor; `first` of the frame's. 0, -ENOMEM or -EBADMSG. */
int pc_depacketize_vp8(struct pc_unit_buffer *buffer, const uint8_t *payload, size_t size,
                       bool first);

#endif
