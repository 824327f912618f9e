/* Whatever is sent, fed back, measured and set, at whatever times: target, pacing and padding stay
 * within the bounds, every figure is a number, and the same story has the same end. */

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "congestion.h"
#include "fuzz.h"

struct input {
    const uint8_t *at, *end;
};

static uint64_t take(struct input *input, int bytes)
{
    uint64_t value = 0;
    for (; bytes > 0; bytes--)
        value = value << 8 | (input->at < input->end ? *input->at++ : 0);
    return value;
}

#define RECENT 64

struct story {
    struct pc_congestion *congestion;
    struct pc_congestion_settings settings;
    struct pc_sent_packet recent[RECENT];
    uint32_t sent;
    uint64_t now_ns;
    int64_t offset_us; /* of the receiver's clock, the path's delay included */
    double digest;
};

static void look(struct story *story)
{
    const struct pc_congestion_settings *settings = &story->settings;
    struct pc_congestion_output out = pc_congestion_update(story->congestion, story->now_ns);
    REQUIRE(out.target_bps >= settings->min_bps && out.target_bps <= settings->max_bps);
    REQUIRE(out.pacing_bps >= out.target_bps && out.pacing_bps <= 30 * settings->max_bps);
    REQUIRE(out.probe_bps >= 0 && out.probe_bps <= settings->max_bps);
    REQUIRE(isfinite(out.received_bps) && out.received_bps >= 0);
    REQUIRE(out.loss >= 0 && out.loss <= 1);
    REQUIRE(out.state >= PC_CONGESTION_FIXED && out.state <= PC_CONGESTION_SILENT);
    REQUIRE(out.hold_ns <= 1000000000);
    story->digest = story->digest * 0.5 + out.target_bps + out.pacing_bps;
}

/* A frame, and feedback of it as a path and a receiver would have it, more or less. */
static void plausible(struct story *story, struct input *input)
{
    struct pc_packet_report reports[16];
    uint32_t frame = (uint32_t)take(input, 1);
    int packets = 1 + (int)(take(input, 1) % 16);
    uint64_t gap_us = take(input, 2), lost = take(input, 2);
    for (int i = 0; i < packets; i++) {
        struct pc_sent_packet packet = {.sent_ns = story->now_ns + (uint64_t)i * 100000,
                                        .bytes = 1200,
                                        .frame = story->sent + frame};
        pc_congestion_sent(story->congestion, &packet);
        reports[i] = (struct pc_packet_report){.packet = packet,
                                               .received = (lost >> i & 1) == 0,
                                               .arrived_us = story->offset_us +
                                                             (int64_t)(packet.sent_ns / 1000) +
                                                             (int64_t)(gap_us * (uint64_t)i)};
    }
    story->sent++;
    story->now_ns += 16000000;
    pc_congestion_feedback(story->congestion, reports, packets, story->now_ns);
}

static void wild(struct story *story, struct input *input)
{
    struct pc_packet_report reports[8];
    int count = (int)(take(input, 1) % 8) + 1;
    for (int i = 0; i < count; i++) {
        uint64_t flags = take(input, 1);
        reports[i] = (struct pc_packet_report){
            .packet = story->recent[take(input, 1) % RECENT],
            .arrived_us = (flags & 1) != 0 ? (int64_t)take(input, 8) : (int64_t)take(input, 3),
            .received = (flags & 2) != 0,
            .was_lost = (flags & 4) != 0,
        };
        if ((flags & 8) != 0)
            reports[i].packet.sent_ns = take(input, 8);
    }
    pc_congestion_feedback(story->congestion, reports, count, story->now_ns);
}

static void happen(struct story *story, struct input *input)
{
    struct pc_congestion *congestion = story->congestion;
    double value;
    uint64_t bits;
    switch (take(input, 1) % 14) {
    case 0:
        story->now_ns += take(input, 4);
        break;
    case 1:
        story->now_ns = take(input, 8);
        break;
    case 2:
    case 3:
    case 4:
        plausible(story, input);
        break;
    case 5:
        story->offset_us = (int64_t)take(input, 3);
        break;
    case 6: {
        struct pc_sent_packet packet = {.sent_ns = story->now_ns,
                                        .bytes = (uint32_t)take(input, 4),
                                        .frame = (uint32_t)take(input, 2)};
        pc_congestion_sent(congestion, &packet);
        story->recent[story->sent++ % RECENT] = packet;
        break;
    }
    case 7:
        wild(story, input);
        break;
    case 8:
        pc_congestion_rtt(congestion, take(input, 8), story->now_ns);
        break;
    case 9:
        bits = take(input, 8);
        memcpy(&value, &bits, 8);
        pc_congestion_remb(congestion, value, story->now_ns);
        break;
    case 10:
        bits = take(input, 8);
        memcpy(&value, &bits, 8);
        pc_congestion_report_loss(congestion, value, story->now_ns);
        break;
    case 11:
        pc_congestion_path_changed(congestion, story->now_ns);
        break;
    case 12:
        story->settings.min_bps = 1e3 * (double)(take(input, 2) + 1);
        story->settings.max_bps = story->settings.min_bps + 1e3 * (double)take(input, 2);
        story->settings.fps = (int)(take(input, 1) % 240) + 1;
        pc_congestion_set_bounds(congestion, story->settings.min_bps, story->settings.max_bps,
                                 story->settings.fps);
        break;
    case 13:
        break;
    }
}

static double tell(const uint8_t *data, size_t size)
{
    struct input input = {data, data + size};
    struct story story = {.settings = {.min_bps = 150e3, .start_bps = 2e6, .max_bps = 30e6},
                          .now_ns = 1000000000,
                          .offset_us = 50000};
    story.settings.controller = (enum pc_controller)(take(&input, 1) % 3);
    story.settings.fps = (int)(take(&input, 1) % 240) + 1;
    story.congestion = pc_congestion_create(&story.settings, story.now_ns);
    while (input.at < input.end) {
        happen(&story, &input);
        look(&story);
    }
    pc_congestion_destroy(story.congestion);
    return story.digest;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    double digest = tell(data, size);
    REQUIRE(tell(data, size) == digest);
    return 0;
}
