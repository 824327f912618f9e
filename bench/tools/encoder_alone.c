/* The encoder alone: pictures converted beforehand, encoded at the given rate, the output counted
 * and thrown away. What a whole host costs is told over this.
 *
 * --width --height --fps --bitrate --content game|desktop [--seconds 5] [--warmup 1]
 * [--rate-control frame|vbv] [--preset 0..2] [--threads N] [--slices N] [--references N] [--cpu N]
 */
#include "clock.h"
#include "content.h"
#include "convert.h"
#include "encode.h"
#include "tool.h"

static struct pc_picture pictures[CONTENT_FRAMES];

static void count_unit(void *context, const uint8_t *data, size_t size, bool last)
{
    (void)data;
    (void)last;
    *(size_t *)context += size;
}

static void convert_all(struct content *content)
{
    uint8_t *memory = malloc(content->frame_bytes * CONTENT_FRAMES);
    if (!memory || content_paint(content, memory) < 0)
        tool_fail("content", memory ? pc_error_text() : "not enough memory");
    pc_convert_init(true);
    for (int i = 0; i < CONTENT_FRAMES; i++) {
        struct pc_source_frame frame = {
            .pixels = memory + (size_t)i * content->frame_bytes,
            .stride = content->stride,
            .width = content->width,
            .height = content->height,
            .rect_count = 1,
            .rects = {{0, 0, content->width, content->height}},
        };
        pc_pattern_write(memory + (size_t)i * content->frame_bytes, content->width, content->height,
                         content->stride, (uint32_t)i, pc_now_ns() / 1000);
        if (pc_picture_alloc(&pictures[i], content->width, content->height) < 0)
            tool_fail("memory", "there is not enough");
        pc_convert(&frame, &pictures[i]);
    }
    free(memory);
}

int main(int argc, char **argv)
{
    tool_begin(argc, argv);
    const char *kind = tool_option(argc, argv, "content");
    const char *control = tool_option(argc, argv, "rate-control");
    long fps = tool_number(argc, argv, "fps", 60);
    size_t bytes = 0;
    struct pc_encoder_settings settings = {
        .width = (int)tool_number(argc, argv, "width", 1920),
        .height = (int)tool_number(argc, argv, "height", 1080),
        .fps = (int)fps,
        .bitrate = (int)tool_number(argc, argv, "bitrate", 12000000),
        .threads = (int)tool_number(argc, argv, "threads", 0),
        .slices = (int)tool_number(argc, argv, "slices", 0),
        .references = (int)tool_number(argc, argv, "references", 0),
        .preset = (enum pc_preset)tool_number(argc, argv, "preset", PC_PRESET_ULTRAFAST),
        .rate_control =
            control && strcmp(control, "vbv") == 0 ? PC_RATE_CONTROL_VBV : PC_RATE_CONTROL_FRAME,
        .budget_frames = 1.25,
        .on_unit = count_unit,
        .context = &bytes,
    };
    struct pc_encoder *encoder;
    struct content content;
    content_init(&content, settings.width, settings.height, kind && strcmp(kind, "game") == 0);
    convert_all(&content);
    if (pc_encoder_open_h264(&settings, &encoder) < 0)
        tool_fail("encoder", pc_error_text());

    uint64_t warmup = (uint64_t)(tool_number(argc, argv, "warmup", 1) * fps);
    uint64_t total = warmup + (uint64_t)(tool_number(argc, argv, "seconds", 5) * fps);
    uint64_t interval = PC_NS_PER_S / (uint64_t)fps, due = pc_now_ns(), start = due, late = 0;
    double cpu = tool_cpu_s();
    printf("{\"frames\": [");
    for (uint64_t number = 0; number < total && !tool_stopped; number++, due += interval) {
        struct pc_rect changed[PC_MAX_RECTS];
        struct pc_encode_result result;
        tool_sleep_until(due);
        if (number == warmup) {
            start = pc_now_ns();
            cpu = tool_cpu_s();
        }
        int count = content_changes(&content, number, changed);
        uint64_t before = pc_now_ns();
        if (encoder->ops->encode(encoder, number, &pictures[content_index(number)], changed, count,
                                 false, &result) < 0)
            tool_fail("encoder", pc_error_text());
        uint64_t after = pc_now_ns();
        late += after > due + interval;
        if (number >= warmup)
            printf("%s[%llu, %zu, %d]", number == warmup ? "" : ", ",
                   (unsigned long long)(after - before), result.bytes, result.quantiser);
    }
    printf("], \"late\": %llu, \"seconds\": %.4f, \"cpu_s\": %.4f}\n", (unsigned long long)late,
           (double)(pc_now_ns() - start) / 1e9, tool_cpu_s() - cpu);
    encoder->ops->close(encoder);
    return 0;
}
