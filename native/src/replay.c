#include "replay.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

void pc_replay_init(struct pc_replay *replay, uint32_t window)
{
    *replay = (struct pc_replay){.window = window};
}

void pc_replay_free(struct pc_replay *replay)
{
    free(replay->streams);
    pc_replay_init(replay, replay->window);
}

struct pc_replay_stream *pc_replay_find(const struct pc_replay *replay, uint32_t ssrc)
{
    for (uint32_t i = 0; i < replay->count; i++)
        if (replay->streams[i].ssrc == ssrc)
            return &replay->streams[i];
    return NULL;
}

uint64_t pc_replay_guess(const struct pc_replay_stream *stream, uint16_t sequence)
{
    if (stream == NULL)
        return sequence;
    uint64_t rollover = stream->highest >> 16;
    uint16_t last = (uint16_t)stream->highest;
    if (last < 0x8000) {
        /* Before the first rollover there is nothing to go back to. */
        if (sequence > last + 0x8000 && rollover > 0)
            rollover--;
    } else if (sequence < last - 0x8000) {
        rollover++;
    }
    return (rollover & 0xFFFFFFFFu) << 16 | sequence;
}

int pc_replay_check(const struct pc_replay *replay, const struct pc_replay_stream *stream,
                    uint64_t index)
{
    if (stream == NULL || index > stream->highest)
        return 0;
    if (stream->highest - index >= replay->window)
        return -EALREADY;
    uint64_t bit = index % replay->window;
    return (stream->window[bit / 64] >> bit % 64 & 1) != 0 ? -EALREADY : 0;
}

static int allocate(struct pc_replay *replay)
{
    size_t words = replay->window / 64;
    struct pc_replay_stream *streams =
        calloc(PC_REPLAY_MAX_STREAMS, sizeof *streams + words * sizeof(uint64_t));
    if (streams == NULL)
        return -ENOMEM;
    uint64_t *windows = (uint64_t *)(streams + PC_REPLAY_MAX_STREAMS);
    for (size_t i = 0; i < PC_REPLAY_MAX_STREAMS; i++)
        streams[i].window = windows + i * words;
    replay->streams = streams;
    return 0;
}

static struct pc_replay_stream *add_stream(struct pc_replay *replay)
{
    if (replay->count < PC_REPLAY_MAX_STREAMS)
        return &replay->streams[replay->count++];
    struct pc_replay_stream *oldest = &replay->streams[0];
    for (uint32_t i = 1; i < replay->count; i++)
        if (replay->streams[i].used < oldest->used)
            oldest = &replay->streams[i];
    return oldest;
}

/* Move the window's end to `index`: the packets between were not received. */
static void advance(const struct pc_replay *replay, struct pc_replay_stream *stream, uint64_t index)
{
    if (index - stream->highest >= replay->window) {
        memset(stream->window, 0, replay->window / 8);
    } else {
        for (uint64_t i = stream->highest + 1; i <= index; i++) {
            uint64_t bit = i % replay->window;
            stream->window[bit / 64] &= ~(1ull << bit % 64);
        }
    }
    stream->highest = index;
}

int pc_replay_accept(struct pc_replay *replay, struct pc_replay_stream *stream, uint32_t ssrc,
                     uint64_t index)
{
    if (stream == NULL) {
        if (replay->streams == NULL && allocate(replay) < 0)
            return -ENOMEM;
        stream = add_stream(replay);
        stream->ssrc = ssrc;
        stream->highest = index;
        memset(stream->window, 0, replay->window / 8);
    } else if (index > stream->highest) {
        advance(replay, stream, index);
    }
    uint64_t bit = index % replay->window;
    stream->window[bit / 64] |= 1ull << bit % 64;
    stream->used = ++replay->accepted;
    return 0;
}
