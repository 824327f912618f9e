/* VP8 by libvpx in its real-time mode, for receivers that have no H.264. The frame leaves in one
 * piece: libvpx writes its token partitions only when the whole picture is analysed. */
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>

#include <vpx/vp8cx.h>
#include <vpx/vpx_encoder.h>

#include "encode.h"

enum {
    TICKS_PER_S = 90000,
    MAX_THREADS = 4,
    SPEED = -12,           /* negative: this speed, without libvpx's own adaption */
    STATIC_THRESHOLD = 1,  /* do not search where nothing changed */
    INTRA_FRAME_PCT = 350, /* an IDR's bits, in per cent of a frame's share */
    BUFFER_MS = 200,       /* how far libvpx lets the rate run away */
    MAX_QUANTISER = 60     /* of 63, libvpx's scale in the configuration */
};

struct vp8_encoder {
    struct pc_encoder base;
    struct pc_encoder_settings settings;
    vpx_codec_ctx_t codec;
    vpx_codec_enc_cfg_t config;
    vpx_codec_pts_t pts;
};

static void set_config_rate(vpx_codec_enc_cfg_t *config, int bitrate)
{
    config->rc_target_bitrate = (unsigned)(bitrate < 1000 ? 1 : bitrate / 1000);
}

static int encode(struct pc_encoder *base, uint64_t id, const struct pc_picture *picture,
                  const struct pc_rect *changed, int changed_count, bool request_idr,
                  struct pc_encode_result *result)
{
    struct vp8_encoder *encoder = (struct vp8_encoder *)base;
    (void)id;
    (void)changed;
    (void)changed_count;
    vpx_image_t image;
    vpx_img_wrap(&image, VPX_IMG_FMT_I420, (unsigned)picture->width, (unsigned)picture->height, 1,
                 picture->plane[0]);
    for (int i = 0; i < 3; i++) {
        image.planes[i] = picture->plane[i];
        image.stride[i] = picture->stride[i];
    }
    unsigned long duration = (unsigned long)(TICKS_PER_S / encoder->settings.fps);
    vpx_codec_err_t error = vpx_codec_encode(&encoder->codec, &image, encoder->pts, duration,
                                             request_idr ? VPX_EFLAG_FORCE_KF : 0, VPX_DL_REALTIME);
    if (error != VPX_CODEC_OK)
        return pc_fail(-EIO, "libvpx could not encode a frame: %s", vpx_codec_err_to_string(error));
    encoder->pts += (vpx_codec_pts_t)duration;

    *result = (struct pc_encode_result){.skipped = true};
    vpx_codec_iter_t iterator = NULL;
    const vpx_codec_cx_pkt_t *packet;
    while ((packet = vpx_codec_get_cx_data(&encoder->codec, &iterator))) {
        if (packet->kind != VPX_CODEC_CX_FRAME_PKT || packet->data.frame.sz == 0)
            continue;
        result->skipped = false;
        result->idr = (packet->data.frame.flags & VPX_FRAME_IS_KEY) != 0;
        result->bytes = packet->data.frame.sz;
        encoder->settings.on_unit(encoder->settings.context, packet->data.frame.buf,
                                  packet->data.frame.sz, true);
    }
    vpx_codec_control(&encoder->codec, VP8E_GET_LAST_QUANTIZER, &result->quantiser);
    return 0;
}

static int set_rate(struct pc_encoder *base, int bitrate, int fps)
{
    struct vp8_encoder *encoder = (struct vp8_encoder *)base;
    if (bitrate <= 0 || fps <= 0 || fps > TICKS_PER_S)
        return pc_fail(-EINVAL, "bitrate and fps must be above 0, not %d and %d", bitrate, fps);
    encoder->settings.bitrate = bitrate;
    encoder->settings.fps = fps;
    set_config_rate(&encoder->config, bitrate);
    if (vpx_codec_enc_config_set(&encoder->codec, &encoder->config) != VPX_CODEC_OK)
        return pc_fail(-EINVAL, "libvpx refuses %d bit/s", bitrate);
    return 0;
}

static void close_encoder(struct pc_encoder *base)
{
    struct vp8_encoder *encoder = (struct vp8_encoder *)base;
    vpx_codec_destroy(&encoder->codec);
    free(encoder);
}

static int check(const struct pc_encoder_settings *settings)
{
    if (settings->width < 16 || settings->height < 16 || settings->width > 8192 ||
        settings->height > 8192)
        return pc_fail(-EINVAL, "width and height must be 16 to 8192, not %d x %d", settings->width,
                       settings->height);
    if (settings->fps < 1 || settings->fps > 240)
        return pc_fail(-EINVAL, "fps must be 1 to 240, not %d", settings->fps);
    if (settings->bitrate < 1000)
        return pc_fail(-EINVAL, "bitrate must be at least 1000, not %d", settings->bitrate);
    if (settings->threads < 0 || settings->threads > MAX_THREADS)
        return pc_fail(-EINVAL, "threads must be 0 to %d, not %d", MAX_THREADS, settings->threads);
    if (!settings->on_unit)
        return pc_fail(-EINVAL, "on_unit must not be NULL");
    return 0;
}

static void configure(vpx_codec_enc_cfg_t *config, const struct pc_encoder_settings *settings)
{
    config->g_w = (unsigned)settings->width;
    config->g_h = (unsigned)settings->height;
    config->g_timebase.num = 1;
    config->g_timebase.den = TICKS_PER_S;
    config->g_threads = (unsigned)settings->threads;
    config->g_lag_in_frames = 0;
    config->g_error_resilient = VPX_ERROR_RESILIENT_DEFAULT;
    config->g_pass = VPX_RC_ONE_PASS;
    config->kf_mode = VPX_KF_DISABLED;
    config->rc_end_usage = VPX_CBR;
    config->rc_dropframe_thresh = 0;
    config->rc_resize_allowed = 0;
    config->rc_min_quantizer = 2;
    config->rc_max_quantizer = MAX_QUANTISER;
    config->rc_undershoot_pct = 100;
    config->rc_overshoot_pct = 15;
    config->rc_buf_initial_sz = BUFFER_MS / 2;
    config->rc_buf_optimal_sz = BUFFER_MS / 2;
    config->rc_buf_sz = BUFFER_MS;
    set_config_rate(config, settings->bitrate);
}

static vpx_codec_err_t set_controls(vpx_codec_ctx_t *codec, int threads)
{
    int log2_partitions = threads >= 4   ? VP8_FOUR_TOKENPARTITION
                          : threads >= 2 ? VP8_TWO_TOKENPARTITION
                                         : VP8_ONE_TOKENPARTITION;
    vpx_codec_err_t error = vpx_codec_control(codec, VP8E_SET_CPUUSED, SPEED);
    if (error == VPX_CODEC_OK)
        error = vpx_codec_control(codec, VP8E_SET_STATIC_THRESHOLD, STATIC_THRESHOLD);
    if (error == VPX_CODEC_OK)
        error = vpx_codec_control(codec, VP8E_SET_TOKEN_PARTITIONS, log2_partitions);
    if (error == VPX_CODEC_OK)
        error = vpx_codec_control(codec, VP8E_SET_MAX_INTRA_BITRATE_PCT, INTRA_FRAME_PCT);
    if (error == VPX_CODEC_OK)
        error = vpx_codec_control(codec, VP8E_SET_NOISE_SENSITIVITY, 0);
    return error;
}

int pc_encoder_open_vp8(const struct pc_encoder_settings *settings, struct pc_encoder **out)
{
    static const struct pc_encoder_ops ops = {
        .name = "libvpx", .encode = encode, .set_rate = set_rate, .close = close_encoder};
    int status = check(settings);
    if (status < 0)
        return status;
    struct vp8_encoder *encoder = calloc(1, sizeof *encoder);
    if (!encoder)
        return pc_fail(-ENOMEM, "out of memory");
    encoder->base.ops = &ops;
    encoder->settings = *settings;
    /* libvpx's row threads spin while they wait for one another: next to a game, which leaves them
     * no whole core, two are many times slower than one. */
    if (settings->threads == 0)
        encoder->settings.threads = 1;
    vpx_codec_iface_t *interface = vpx_codec_vp8_cx();
    vpx_codec_err_t error = vpx_codec_enc_config_default(interface, &encoder->config, 0);
    if (error == VPX_CODEC_OK) {
        configure(&encoder->config, &encoder->settings);
        error = vpx_codec_enc_init(&encoder->codec, interface, &encoder->config, 0);
    }
    if (error != VPX_CODEC_OK) {
        free(encoder);
        return pc_fail(-EIO, "libvpx does not open: %s", vpx_codec_err_to_string(error));
    }
    error = set_controls(&encoder->codec, encoder->settings.threads);
    if (error != VPX_CODEC_OK) {
        close_encoder(&encoder->base);
        return pc_fail(-EIO, "libvpx refuses a setting: %s", vpx_codec_err_to_string(error));
    }
    *out = &encoder->base;
    return 0;
}
