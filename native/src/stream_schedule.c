#include "stream_schedule.h"

#include <string.h>

#include "clock.h"

#define SLOT_GAIN 32 /* a source that tells of changes has slots 1/32 shorter than the interval */

static uint64_t later(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

static uint64_t earlier(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

void pc_schedule_init(struct pc_schedule *schedule, int fps, int keepalive_fps,
                      uint64_t idr_spacing_ns)
{
    memset(schedule, 0, sizeof *schedule);
    schedule->interval_ns = PC_NS_PER_S / (uint64_t)fps;
    schedule->keepalive_ns = PC_NS_PER_S / (uint64_t)keepalive_fps;
    schedule->idr_spacing_ns = idr_spacing_ns;
}

void pc_schedule_set_fps(struct pc_schedule *schedule, int fps)
{
    uint64_t interval_ns = PC_NS_PER_S / (uint64_t)fps;
    if (interval_ns == schedule->interval_ns)
        return;
    schedule->interval_ns = interval_ns;
    schedule->next_slot_ns =
        earlier(schedule->next_slot_ns, schedule->last_frame_ns + schedule->interval_ns);
}

static uint64_t idr_due(const struct pc_schedule *schedule, uint64_t last_idr_ns)
{
    return last_idr_ns == 0 ? 0 : last_idr_ns + schedule->idr_spacing_ns;
}

bool pc_schedule_idr_allowed(const struct pc_schedule *schedule, uint64_t last_idr_ns,
                             uint64_t now_ns)
{
    return now_ns >= idr_due(schedule, last_idr_ns);
}

/* Before this, an encode of fewer frames wants none. A source's frames jitter: a quarter early is
 * still every second one. */
static uint64_t own_slot(const struct pc_schedule *schedule,
                         const struct pc_schedule_encode *encode, int index)
{
    if (encode->fps == 0 || schedule->taken_ns[index] == 0)
        return 0;
    uint64_t interval_ns = PC_NS_PER_S / (uint64_t)encode->fps;
    if (interval_ns <= schedule->interval_ns)
        return 0;
    return schedule->taken_ns[index] + interval_ns - interval_ns / 4;
}

static uint64_t encode_due(const struct pc_schedule *schedule, const struct pc_schedule_news *news,
                           int index)
{
    const struct pc_schedule_encode *encode = &news->encodes[index];
    if (!encode->receiving)
        return UINT64_MAX;
    uint64_t slot_ns = later(schedule->next_slot_ns, own_slot(schedule, encode, index));
    if (!news->by_damage || encode->behind || schedule->last_frame_ns == 0)
        return slot_ns;
    if (news->changed)
        return later(slot_ns, news->changed_ns + schedule->settle_ns);
    uint64_t due = schedule->last_frame_ns + schedule->keepalive_ns;
    if (encode->idr_wanted)
        due = earlier(due, idr_due(schedule, encode->last_idr_ns));
    return later(slot_ns, due);
}

/* The network is waited for no longer: the slots that have passed meanwhile are skipped ones, not
 * late ones. */
static void end_waiting(struct pc_schedule *schedule, uint64_t now_ns)
{
    if (schedule->waiting_since_ns == 0)
        return;
    uint64_t slots = (now_ns - schedule->waiting_since_ns) / schedule->interval_ns;
    schedule->skipped += slots;
    if (schedule->next_slot_ns != 0)
        schedule->next_slot_ns += slots * schedule->interval_ns;
    schedule->waiting_since_ns = 0;
}

uint64_t pc_schedule_due(struct pc_schedule *schedule, const struct pc_schedule_news *news,
                         uint64_t now_ns)
{
    uint64_t due = UINT64_MAX;
    for (int i = 0; i < PC_STREAM_ENCODES; i++)
        due = earlier(due, encode_due(schedule, news, i));
    if (due > now_ns)
        end_waiting(schedule, now_ns);
    if (due == UINT64_MAX) /* a pause: none of its slots is missed */
        schedule->next_slot_ns = 0;
    return due;
}

/* When may this encode have a frame? */
static uint64_t encode_free(struct pc_schedule *schedule, const struct pc_schedule_encode *encode,
                            int index, uint64_t now_ns)
{
    uint64_t *since_ns = &schedule->blocked_since_ns[index];
    if (!encode->receiving || encode->drained) {
        *since_ns = 0;
        return encode->receiving ? now_ns : UINT64_MAX;
    }
    if (*since_ns == 0)
        *since_ns = now_ns;
    return *since_ns + PC_SCHEDULE_PATIENCE_NS;
}

static void take_slot(struct pc_schedule *schedule, bool by_damage, uint64_t now_ns)
{
    uint64_t interval_ns = schedule->interval_ns;
    end_waiting(schedule, now_ns);
    if (!by_damage && schedule->next_slot_ns != 0 && now_ns > schedule->next_slot_ns)
        schedule->late += (now_ns - schedule->next_slot_ns) / interval_ns;
    /* A source that draws at the very cap would otherwise keep for ever whatever distance its
     * frames once had to their slots. */
    uint64_t slot_ns = by_damage ? interval_ns - interval_ns / SLOT_GAIN : interval_ns;
    schedule->next_slot_ns = later(schedule->next_slot_ns + slot_ns, now_ns + interval_ns / 2);
    schedule->last_frame_ns = now_ns;
    for (int i = 0; i < PC_STREAM_ENCODES; i++) {
        if (!schedule->taking[i])
            continue;
        schedule->blocked_since_ns[i] = 0;
        schedule->taken_ns[i] = now_ns;
    }
}

uint64_t pc_schedule_start(struct pc_schedule *schedule, const struct pc_schedule_news *news,
                           uint64_t now_ns)
{
    uint64_t start = UINT64_MAX;
    for (int i = 0; i < PC_STREAM_ENCODES; i++) {
        uint64_t free_ns = encode_free(schedule, &news->encodes[i], i, now_ns);
        schedule->taking[i] =
            free_ns <= now_ns && own_slot(schedule, &news->encodes[i], i) <= now_ns;
        start = earlier(start, later(free_ns, encode_due(schedule, news, i)));
    }
    if (start <= now_ns) {
        take_slot(schedule, news->by_damage, now_ns);
        return now_ns;
    }
    if (schedule->waiting_since_ns == 0)
        schedule->waiting_since_ns = now_ns;
    return start;
}

void pc_schedule_finish(struct pc_schedule *schedule, bool changed, uint64_t now_ns)
{
    uint64_t limit_ns = earlier(PC_SETTLE_MAX_NS, schedule->interval_ns / 4);
    schedule->settle_frames++;
    if (schedule->settle_frames <= 0) /* a pause after waiting was in vain */
        return;
    /* A frame that took long says nothing: the change may well be the next picture. */
    bool too_early = changed && now_ns - schedule->last_frame_ns < schedule->interval_ns / 2;
    bool longest = schedule->settle_ns >= limit_ns;
    schedule->early_frames = too_early && longest ? schedule->early_frames + 1 : 0;
    if (too_early && !longest) {
        schedule->settle_ns = earlier(schedule->settle_ns + PC_SETTLE_STEP_NS, limit_ns);
        schedule->settle_frames = 0;
    } else if (schedule->early_frames == PC_SETTLE_FUTILE) {
        schedule->settle_ns = 0;
        schedule->settle_frames = -PC_SETTLE_PAUSE;
        schedule->early_frames = 0;
    } else if (!too_early && schedule->settle_frames >= PC_SETTLE_CALM) {
        schedule->settle_ns /= 2;
        if (schedule->settle_ns < PC_SETTLE_STEP_NS)
            schedule->settle_ns = 0;
        schedule->settle_frames = 0;
    }
}
