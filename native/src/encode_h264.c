/* H.264 by x264, for low delay: no lookahead, no B-frames, slices that leave x264's threads through
 * nalu_process while the rest of the picture is still being encoded. A frame refers to one other:
 * the last one, or, after a loss, the newest one that the receivers hold. A decoder that never saw
 * what is between the two takes that for a gap in frame numbers, which the SPS allows.
 *
 * Two rate controls. PC_RATE_CONTROL_FRAME decides one quantiser a frame (rate_control.h) and runs
 * x264 with constant quantisers, its cheapest mode. PC_RATE_CONTROL_VBV is x264's own, which
 * watches every row of macroblocks. */
#include <errno.h>
#include <sched.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <x264.h>

#include "activity.h"
#include "encode.h"
#include "h264_sps.h"
#include "nal_order.h"
#include "rate_control.h"
#include "reference_frames.h"

enum {
    MAX_THREADS = 4,
    MAX_SLICES = 16,
    MAX_CHOSEN_SLICES = 8,
    PAYLOADS_PER_SLICE = 3, /* a chosen slice is worth this many packets */
    MB = 16,                /* a macroblock's width and height in pixels */
    LENGTH_PREFIX_BYTES = 4 /* what x264 puts before a NAL unit when b_annexb is off */
};

struct h264_encoder {
    struct pc_encoder base;
    struct pc_encoder_settings settings;
    x264_t *x264;
    x264_param_t param;
    int64_t pts;
    int mb_width, mb_height;
    int opened_fps; /* x264's idea of the frame rate: it cannot be changed in place */
    struct pc_rate_control_state rate_control;
    struct pc_activity_meter meter;
    struct pc_nal_order order;
    struct pc_reference_frames references;
    bool invalidated; /* the next frame refers to an older one than the last */
    uint8_t *mb_info;
};

static int available_cores(void)
{
    cpu_set_t cores;
    CPU_ZERO(&cores);
    return sched_getaffinity(0, sizeof cores, &cores) == 0 ? CPU_COUNT(&cores) : 1;
}

static int clamp(int value, int low, int high)
{
    return value < low ? low : value > high ? high : value;
}

static int div_up(int a, int b)
{
    return (a + b - 1) / b;
}

/* x264 divides the rows evenly among its threads, and each thread's share into slices of at most
 * this many macroblocks. */
static int slice_macroblocks(const struct h264_encoder *encoder)
{
    const struct pc_encoder_settings *settings = &encoder->settings;
    int slices = settings->slices;
    if (slices == 0) {
        int frame_bytes = settings->bitrate / settings->fps / 8;
        slices = clamp(div_up(frame_bytes, PAYLOADS_PER_SLICE * PC_MAX_PAYLOAD), settings->threads,
                       MAX_CHOSEN_SLICES);
    }
    int thread_rows = div_up(encoder->mb_height, settings->threads);
    int thread_slices = div_up(slices, settings->threads);
    return div_up(thread_rows, thread_slices) * encoder->mb_width;
}

/* Called by x264 from any of its threads with a finished NAL unit that is not yet escaped. */
static void on_nal(x264_t *x264, x264_nal_t *nal, void *opaque)
{
    struct h264_encoder *encoder = opaque;
    bool slice = nal->i_type == NAL_SLICE || nal->i_type == NAL_SLICE_IDR;
    if (!slice && nal->i_type != NAL_SPS && nal->i_type != NAL_PPS)
        return;
    if (nal->i_type == NAL_SPS)
        pc_h264_sps_allow_gaps(nal->p_payload, (size_t)nal->i_payload);
    size_t room = (size_t)nal->i_payload * 3 / 2 + 5 + 64; /* x264.h, at nalu_process */
    struct pc_nal_slot *slot = pc_nal_order_claim(&encoder->order, room);
    if (!slot)
        return;
    x264_nal_encode(x264, slot->memory, nal);
    pc_nal_order_submit(&encoder->order, slot, nal->p_payload + LENGTH_PREFIX_BYTES,
                        (size_t)nal->i_payload - LENGTH_PREFIX_BYTES, nal->i_first_mb,
                        slice ? nal->i_last_mb : -1);
}

/* Per frame, x264 reckons with the frame rate it was opened with. */
static void set_vbv(struct h264_encoder *encoder)
{
    const struct pc_encoder_settings *settings = &encoder->settings;
    double share = (double)settings->bitrate / settings->fps;
    int kbit = (int)(share * encoder->opened_fps / 1000);
    encoder->param.rc.i_bitrate = kbit > 1 ? kbit : 1;
    encoder->param.rc.i_vbv_max_bitrate = encoder->param.rc.i_bitrate;
    int buffer = (int)(share * settings->budget_frames / 1000);
    encoder->param.rc.i_vbv_buffer_size = buffer > 1 ? buffer : 1;
}

static void set_rate_control(struct h264_encoder *encoder)
{
    x264_param_t *param = &encoder->param;
    if (encoder->settings.rate_control == PC_RATE_CONTROL_VBV) {
        param->rc.i_rc_method = X264_RC_ABR;
        set_vbv(encoder);
        return;
    }
    /* x264 keeps forced quantisers within what it would use for I and B frames by itself: 20 below
     * and above the constant one with these factors. */
    param->rc.i_rc_method = X264_RC_CQP;
    param->rc.i_qp_constant = 31;
    param->rc.f_ip_factor = 10.0f;
    param->rc.f_pb_factor = 10.0f;
    param->rc.i_aq_mode = X264_AQ_NONE;
}

static void set_colours(x264_param_t *param)
{
    enum { BT709 = 1 };
    param->vui.b_fullrange = 0;
    param->vui.i_colorprim = BT709;
    param->vui.i_transfer = BT709;
    param->vui.i_colmatrix = BT709;
    param->vui.i_chroma_loc = 0;
}

static int set_parameters(struct h264_encoder *encoder)
{
    static const char *const presets[] = {"ultrafast", "superfast", "veryfast"};
    static const char *const profiles[] = {"baseline", "main", "high"};
    const struct pc_encoder_settings *settings = &encoder->settings;
    x264_param_t *param = &encoder->param;
    if (x264_param_default_preset(param, presets[settings->preset], "zerolatency") < 0)
        return -EIO;
    param->i_log_level = X264_LOG_NONE;
    param->i_width = settings->width + (settings->width & 1);
    param->i_height = settings->height + (settings->height & 1);
    param->i_csp = X264_CSP_I420;
    param->i_fps_num = (uint32_t)settings->fps;
    param->i_fps_den = 1;
    param->b_vfr_input = 0;
    param->i_threads = settings->threads;
    param->b_sliced_threads = settings->threads > 1;
    param->i_slice_max_mbs = slice_macroblocks(encoder);
    param->i_keyint_max = X264_KEYINT_MAX_INFINITE;
    param->i_scenecut_threshold = 0;
    param->i_bframe = 0;
    param->i_frame_reference = 1;
    param->i_dpb_size = encoder->references.size;
    param->b_repeat_headers = 1;
    param->b_annexb = 0;
    param->b_aud = 0;
    param->rc.b_mb_tree = 0;
    param->rc.i_lookahead = 0;
    param->analyse.i_weighted_pred = X264_WEIGHTP_NONE;
    param->analyse.b_mb_info = 1;
    param->nalu_process = on_nal;
    set_colours(param);
    set_rate_control(encoder);
    return x264_param_apply_profile(param, profiles[settings->profile]) < 0 ? -EIO : 0;
}

/* Mark the macroblocks outside of the changed areas as constant. */
static void mark_constant(struct h264_encoder *encoder, const struct pc_rect *changed, int count)
{
    int columns = encoder->mb_width, rows = encoder->mb_height;
    memset(encoder->mb_info, X264_MBINFO_CONSTANT, (size_t)columns * (size_t)rows);
    for (int i = 0; i < count; i++) {
        int left = clamp(changed[i].x / MB, 0, columns);
        int right = clamp(div_up(changed[i].x + changed[i].width, MB), left, columns);
        int top = clamp(changed[i].y / MB, 0, rows);
        int bottom = clamp(div_up(changed[i].y + changed[i].height, MB), top, rows);
        for (int y = top; y < bottom; y++)
            memset(encoder->mb_info + y * columns + left, 0, (size_t)(right - left));
    }
}

static int encode(struct pc_encoder *base, uint64_t id, const struct pc_picture *picture,
                  const struct pc_rect *changed, int changed_count, bool request_idr,
                  struct pc_encode_result *result)
{
    struct h264_encoder *encoder = (struct h264_encoder *)base;
    bool frame_control = encoder->settings.rate_control == PC_RATE_CONTROL_FRAME;
    bool idr = request_idr || pc_reference_frames_newest(&encoder->references) == NULL;
    if (encoder->invalidated) {
        changed = NULL; /* not known: they are those since the last frame */
        changed_count = 0;
    }
    x264_picture_t in, out;
    x264_picture_init(&in);
    in.i_type = idr ? X264_TYPE_IDR : X264_TYPE_P;
    in.i_pts = encoder->pts++;
    in.opaque = encoder;
    in.img.i_csp = X264_CSP_I420;
    in.img.i_plane = 3;
    for (int i = 0; i < 3; i++) {
        in.img.plane[i] = picture->plane[i];
        in.img.i_stride[i] = picture->stride[i];
    }
    if (changed && !idr) {
        mark_constant(encoder, changed, changed_count);
        in.prop.mb_info = encoder->mb_info;
    }
    struct pc_activity activity = {.difference = -1};
    if (frame_control) {
        activity = pc_activity_measure(&encoder->meter, picture, changed, changed_count);
        in.i_qpplus1 = pc_rate_control_decide(&encoder->rate_control, idr, &activity) + 1;
    }

    x264_nal_t *nals;
    int nal_count;
    pc_nal_order_begin(&encoder->order);
    int size = x264_encoder_encode(encoder->x264, &nals, &nal_count, &in, &out);
    if (size < 0 || !pc_nal_order_complete(&encoder->order))
        return pc_fail(-EIO, "x264 could not encode a frame");
    if ((out.i_type == X264_TYPE_IDR) != idr)
        return pc_fail(-EIO, "x264 has other references than it was told");
    pc_reference_frames_add(&encoder->references, id, idr);
    encoder->invalidated = false;

    *result = (struct pc_encode_result){
        .idr = idr,
        .quantiser = frame_control ? in.i_qpplus1 - 1 : out.i_qpplus1 - 1,
        .bytes = encoder->order.bytes,
    };
    if (frame_control)
        pc_rate_control_update(&encoder->rate_control, idr, &activity, result->quantiser,
                               result->bytes);
    return 0;
}

static bool invalidate(struct pc_encoder *base, uint64_t first, uint64_t last)
{
    struct h264_encoder *encoder = (struct h264_encoder *)base;
    int count = pc_reference_frames_lost(&encoder->references, first, last);
    if (count == 0)
        return true;
    if (!pc_reference_frames_drop(&encoder->references, count))
        return false;
    encoder->invalidated = true;
    x264_encoder_invalidate_reference(encoder->x264, encoder->pts - count);
    return true;
}

static bool reference(const struct pc_encoder *base, uint64_t *id)
{
    const struct h264_encoder *encoder = (const struct h264_encoder *)base;
    const struct pc_reference_frame *newest = pc_reference_frames_newest(&encoder->references);
    if (newest != NULL)
        *id = newest->id;
    return newest != NULL;
}

/* Have x264 follow the settings, where they differ from what it has. */
static int reconfigure(struct h264_encoder *encoder)
{
    int slice_max_mbs = slice_macroblocks(encoder);
    bool vbv = encoder->settings.rate_control == PC_RATE_CONTROL_VBV;
    if (!vbv && slice_max_mbs == encoder->param.i_slice_max_mbs)
        return 0;
    encoder->param.i_slice_max_mbs = slice_max_mbs;
    if (vbv)
        set_vbv(encoder);
    if (x264_encoder_reconfig(encoder->x264, &encoder->param) < 0)
        return pc_fail(-EINVAL, "x264 refuses %d bit/s at %d fps", encoder->settings.bitrate,
                       encoder->settings.fps);
    return 0;
}

static int set_rate(struct pc_encoder *base, int bitrate, int fps)
{
    struct h264_encoder *encoder = (struct h264_encoder *)base;
    if (bitrate <= 0 || fps <= 0)
        return pc_fail(-EINVAL, "bitrate and fps must be above 0, not %d and %d", bitrate, fps);
    encoder->settings.bitrate = bitrate;
    encoder->settings.fps = fps;
    pc_rate_control_set_rate(&encoder->rate_control, bitrate, fps);
    return reconfigure(encoder);
}

static int set_slices(struct pc_encoder *base, int slices)
{
    struct h264_encoder *encoder = (struct h264_encoder *)base;
    if (slices < 0 || slices > MAX_SLICES)
        return pc_fail(-EINVAL, "slices must be 0 to %d, not %d", MAX_SLICES, slices);
    encoder->settings.slices = slices;
    return reconfigure(encoder);
}

static void close_encoder(struct pc_encoder *base)
{
    struct h264_encoder *encoder = (struct h264_encoder *)base;
    if (encoder->x264)
        x264_encoder_close(encoder->x264);
    pc_nal_order_free(&encoder->order);
    pc_activity_free(&encoder->meter);
    free(encoder->mb_info);
    free(encoder);
}

static int check(const struct pc_encoder_settings *settings)
{
    if (settings->width < MB || settings->height < MB || settings->width > 8192 ||
        settings->height > 8192)
        return pc_fail(-EINVAL, "width and height must be 16 to 8192, not %d x %d", settings->width,
                       settings->height);
    if (settings->fps < 1 || settings->fps > 240)
        return pc_fail(-EINVAL, "fps must be 1 to 240, not %d", settings->fps);
    if (settings->bitrate < 1000)
        return pc_fail(-EINVAL, "bitrate must be at least 1000, not %d", settings->bitrate);
    if (settings->threads < 0 || settings->threads > MAX_THREADS)
        return pc_fail(-EINVAL, "threads must be 0 to %d, not %d", MAX_THREADS, settings->threads);
    if (settings->slices < 0 || settings->slices > MAX_SLICES)
        return pc_fail(-EINVAL, "slices must be 0 to %d, not %d", MAX_SLICES, settings->slices);
    if (settings->references < 0 || settings->references > PC_REFERENCE_FRAMES_MAX)
        return pc_fail(-EINVAL, "references must be 0 to %d, not %d", PC_REFERENCE_FRAMES_MAX,
                       settings->references);
    if (settings->budget_frames < 1.0 || settings->budget_frames > 1.5)
        return pc_fail(-EINVAL, "budget_frames must be 1.0 to 1.5, not %g",
                       settings->budget_frames);
    if (settings->profile > PC_PROFILE_HIGH)
        return pc_fail(-EINVAL, "profile must be one of enum pc_profile");
    if (settings->preset > PC_PRESET_VERYFAST)
        return pc_fail(-EINVAL, "preset must be one of enum pc_preset");
    if (settings->rate_control > PC_RATE_CONTROL_VBV)
        return pc_fail(-EINVAL, "rate_control must be one of enum pc_rate_control");
    if (!settings->on_unit)
        return pc_fail(-EINVAL, "on_unit must not be NULL");
    return 0;
}

int pc_encoder_open_h264(const struct pc_encoder_settings *settings, struct pc_encoder **out)
{
    static const struct pc_encoder_ops ops = {
        .name = "x264",
        .encode = encode,
        .invalidate = invalidate,
        .reference = reference,
        .set_rate = set_rate,
        .set_slices = set_slices,
        .close = close_encoder,
    };
    int status = check(settings);
    if (status < 0)
        return status;
    struct h264_encoder *encoder = calloc(1, sizeof *encoder);
    if (!encoder)
        return pc_fail(-ENOMEM, "out of memory");
    encoder->base.ops = &ops;
    encoder->settings = *settings;
    encoder->opened_fps = settings->fps;
    encoder->mb_width = div_up(settings->width, MB);
    encoder->mb_height = div_up(settings->height, MB);
    if (settings->threads == 0)
        encoder->settings.threads = clamp(available_cores(), 1, MAX_THREADS);
    /* x264 wants four rows of macroblocks for each slice thread. */
    encoder->settings.threads = clamp(encoder->settings.threads, 1, div_up(encoder->mb_height, 4));
    size_t mb_count = (size_t)encoder->mb_width * (size_t)encoder->mb_height;
    pc_reference_frames_init(&encoder->references, settings->references != 0
                                                       ? settings->references
                                                       : PC_REFERENCE_FRAMES_MAX);
    pc_nal_order_init(&encoder->order, (int)mb_count, settings->on_unit, settings->context);
    pc_rate_control_init(&encoder->rate_control, settings->width, settings->height,
                         settings->bitrate, settings->fps, settings->budget_frames);
    encoder->mb_info = malloc(mb_count);
    if (!encoder->mb_info ||
        pc_activity_init(&encoder->meter, settings->width, settings->height) < 0) {
        close_encoder(&encoder->base);
        return pc_fail(-ENOMEM, "out of memory");
    }
    status = set_parameters(encoder);
    if (status == 0)
        encoder->x264 = x264_encoder_open(&encoder->param);
    if (!encoder->x264) {
        close_encoder(&encoder->base);
        return pc_fail(-EIO, "x264 does not open at %d x %d, %d fps, %d bit/s", settings->width,
                       settings->height, settings->fps, settings->bitrate);
    }
    /* What x264 has made of it; reconfiguring starts from there. */
    x264_encoder_parameters(encoder->x264, &encoder->param);
    *out = &encoder->base;
    return 0;
}
