/* The encoder interface: pictures in, codec units out, in decoding order, as early as they exist.
 */
#ifndef PC_ENCODE_H
#define PC_ENCODE_H

#include "access_unit.h"
#include "convert.h"

/* A piece of the access unit, in decoding order: for H.264 one NAL unit without start code (SPS and
 * PPS come before an IDR's slices; no SEI, no AUD), for VP8 the whole frame. Calls for one encode
 * never overlap but may come from the encoder's own threads. `data` is valid during the call only.
 * `last`: this completes the access unit. */
typedef void (*pc_unit_fn)(void *context, const uint8_t *data, size_t size, bool last);

struct pc_encoder_settings {
    int width, height; /* pixels; H.264 codes the next even size, as it crops in chroma samples */
    int fps;           /* frames per second that the budget is computed for */
    int bitrate;       /* bits per second */
    int threads;       /* 0 = one per core, at most 4, for H.264; 1 for VP8 */
    int slices;        /* per frame, H.264; 0 = chosen from the frame budget, 1..16 */
    int references; /* past frames that are kept, so that after a loss a frame can refer to one that
                     * the receiver holds; H.264; 0 = chosen, 1..16 */
    enum pc_profile profile;
    enum pc_preset preset;
    enum pc_rate_control rate_control;
    double
        budget_frames; /* how much of a frame's share of the bitrate one frame may take; 1.0-1.5 */
    pc_unit_fn on_unit;
    void *context;
};

struct pc_encode_result {
    bool idr;
    int quantiser; /* of the frame: QP 0-51 (H.264), 0-127 (VP8) */
    size_t bytes;  /* codec bytes of the frame, before packetization */
    bool skipped;  /* the encoder dropped the frame (VP8 only); no unit was emitted */
};

struct pc_encoder;

struct pc_encoder_ops {
    const char *name;

    /* Encode one picture as frame `id`, higher than all before, blocking until its last unit was
     * emitted. `changed` lists the areas that differ from the picture of the previous call (NULL:
     * unknown), for skipping: whoever leaves a picture out joins its areas to the next one's.
     * `request_idr` makes this frame an IDR. 0, or -EIO when the library failed (the caller reopens
     * the encoder). */
    int (*encode)(struct pc_encoder *encoder, uint64_t id, const struct pc_picture *picture,
                  const struct pc_rect *changed, int changed_count, bool request_idr,
                  struct pc_encode_result *result);

    /* Between two encodes: some receiver does not hold the frames `first` to `last`, nor what
     * refers to them. The next frame refers to an older one. False when none is kept: it takes an
     * IDR, and nothing has changed. NULL: it always takes one. */
    bool (*invalidate)(struct pc_encoder *encoder, uint64_t first, uint64_t last);

    /* Between two encodes: the frame that the next one refers to, unless it is an IDR. False when
     * it has to be one. NULL: that is not known. */
    bool (*reference)(const struct pc_encoder *encoder, uint64_t *id);

    /* Change bitrate and frame rate in place: no IDR, no new encoder. 0 or -EINVAL. */
    int (*set_rate)(struct pc_encoder *encoder, int bitrate, int fps);

    /* Change how many slices a frame has (0 = chosen) in place, likewise. NULL: there are none. */
    int (*set_slices)(struct pc_encoder *encoder, int slices);

    void (*close)(struct pc_encoder *encoder);
};

struct pc_encoder {
    const struct pc_encoder_ops *ops;
};

/* 0, or -EINVAL/-ENOMEM/-EIO with pc_error_text() set; settings are copied. */
int pc_encoder_open_h264(const struct pc_encoder_settings *settings, struct pc_encoder **out);
int pc_encoder_open_vp8(const struct pc_encoder_settings *settings, struct pc_encoder **out);

#endif
