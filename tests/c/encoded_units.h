/* Access units of a moving scene, as a receiver gives them out: encoded by the core's encoders,
 * H.264 in Annex B. */
#ifndef PC_TEST_ENCODED_UNITS_H
#define PC_TEST_ENCODED_UNITS_H

#include "encode.h"
#include "moving_picture.h"
#include "receiver.h"

#define ENCODED_PADDING 64

struct encoded_unit {
    uint8_t *data; /* ENCODED_PADDING zero bytes behind */
    size_t size;
    bool idr;
};

struct unit_maker {
    enum pc_codec_id codec;
    struct pc_encoder *encoder;
    struct scene scene;
    struct pc_picture picture; /* the last one that was encoded */
    int step;
    struct encoded_unit *unit; /* being made */
};

static inline void unit_maker_add(void *context, const uint8_t *data, size_t size, bool last)
{
    static const uint8_t start_code[4] = {0, 0, 0, 1};
    struct unit_maker *maker = context;
    struct encoded_unit *unit = maker->unit;
    size_t head = maker->codec == PC_H264 ? sizeof start_code : 0;
    (void)last;
    unit->data = realloc(unit->data, unit->size + head + size + ENCODED_PADDING);
    memcpy(unit->data + unit->size, start_code, head);
    memcpy(unit->data + unit->size + head, data, size);
    unit->size += head + size;
    memset(unit->data + unit->size, 0, ENCODED_PADDING);
}

static inline void unit_maker_open_profile(struct unit_maker *maker, enum pc_codec_id codec,
                                           int width, int height, enum pc_profile profile)
{
    memset(maker, 0, sizeof *maker);
    maker->codec = codec;
    scene_make(&maker->scene, width, height, 5);
    CHECK_EQ(pc_picture_alloc(&maker->picture, width, height), 0);
    const struct pc_encoder_settings settings = {
        .width = width,
        .height = height,
        .fps = 60,
        .bitrate = width * height * 20,
        .threads = 1,
        .slices = 4,
        .profile = profile,
        .preset = PC_PRESET_ULTRAFAST,
        .budget_frames = 1.25,
        .on_unit = unit_maker_add,
        .context = maker,
    };
    CHECK_EQ(codec == PC_H264 ? pc_encoder_open_h264(&settings, &maker->encoder)
                              : pc_encoder_open_vp8(&settings, &maker->encoder),
             0);
}

static inline void unit_maker_open(struct unit_maker *maker, enum pc_codec_id codec, int width,
                                   int height)
{
    unit_maker_open_profile(maker, codec, width, height, PC_PROFILE_CONSTRAINED_BASELINE);
}

static inline void unit_maker_close(struct unit_maker *maker)
{
    maker->encoder->ops->close(maker->encoder);
    scene_free(&maker->scene);
    pc_picture_free(&maker->picture);
}

/* The next frame's. The caller frees its data. */
static inline struct encoded_unit unit_maker_next(struct unit_maker *maker, bool idr)
{
    struct encoded_unit unit = {0};
    struct pc_encode_result result = {0};
    maker->unit = &unit;
    scene_draw(&maker->scene, maker->step++, &maker->picture);
    CHECK_EQ(maker->encoder->ops->encode(maker->encoder, (uint64_t)maker->step, &maker->picture,
                                         NULL, 0, idr, &result),
             0);
    CHECK(!result.skipped);
    unit.idr = result.idr;
    return unit;
}

static inline struct pc_received_unit as_received(const struct encoded_unit *unit,
                                                  uint32_t rtp_time, uint64_t now_ns)
{
    return (struct pc_received_unit){.data = unit->data,
                                     .size = unit->size,
                                     .rtp_time = rtp_time,
                                     .idr = unit->idr,
                                     .first_packet_ns = now_ns,
                                     .complete_ns = now_ns};
}

#endif
