#include "reference_frames.h"

#include <assert.h>
#include <string.h>

void pc_reference_frames_init(struct pc_reference_frames *frames, int size)
{
    assert(size >= 1 && size <= PC_REFERENCE_FRAMES_MAX);
    *frames = (struct pc_reference_frames){.size = size};
}

static const struct pc_reference_frame *find(const struct pc_reference_frames *frames, uint64_t id)
{
    for (int i = 0; i < frames->count; i++)
        if (frames->frames[i].id == id)
            return &frames->frames[i];
    return NULL;
}

int pc_reference_frames_lost(const struct pc_reference_frames *frames, uint64_t first,
                             uint64_t last)
{
    /* Along the references of what the next frame would refer to. */
    const struct pc_reference_frame *oldest = NULL;
    const struct pc_reference_frame *frame = pc_reference_frames_newest(frames);
    while (frame != NULL) {
        const struct pc_reference_frame *older = find(frames, frame->reference);
        bool is_lost = frame->id >= first && frame->id <= last;
        /* What has left the buffer is not known any more. */
        if (is_lost || (older == NULL && frame->reference >= first))
            oldest = frame;
        frame = older != frame ? older : NULL;
    }
    return oldest != NULL ? (int)(frames->frames + frames->count - oldest) : 0;
}

bool pc_reference_frames_drop(struct pc_reference_frames *frames, int count)
{
    int kept = frames->count - count;
    bool left = false;
    for (int i = 0; i < kept; i++)
        left |= !frames->frames[i].lost;
    for (int i = kept; left && i < frames->count; i++)
        frames->frames[i].lost = true;
    return left;
}

const struct pc_reference_frame *
pc_reference_frames_newest(const struct pc_reference_frames *frames)
{
    for (int i = frames->count - 1; i >= 0; i--)
        if (!frames->frames[i].lost)
            return &frames->frames[i];
    return NULL;
}

void pc_reference_frames_add(struct pc_reference_frames *frames, uint64_t id, bool idr)
{
    struct pc_reference_frame frame = {.id = id, .reference = id};
    assert(frames->count == 0 || frames->frames[frames->count - 1].id < id);
    if (idr) {
        frames->count = 0;
    } else {
        const struct pc_reference_frame *newest = pc_reference_frames_newest(frames);
        assert(newest != NULL);
        frame.reference = newest->id;
    }
    if (frames->count == frames->size) {
        frames->count--;
        memmove(frames->frames, frames->frames + 1, (size_t)frames->count * sizeof *frames->frames);
    }
    frames->frames[frames->count++] = frame;
}
