/* Which packets of each SSRC were received already (RFC 3711 3.3.1 and 3.3.2). Pure bookkeeping:
 * what is accepted must have been authenticated. */
#ifndef PC_REPLAY_H
#define PC_REPLAY_H

#include <stddef.h>
#include <stdint.h>

#define PC_REPLAY_MAX_STREAMS 64

struct pc_replay_stream {
    uint32_t ssrc;
    uint64_t used;    /* when it last accepted, in accepted packets */
    uint64_t highest; /* packet index */
    uint64_t *window; /* one bit per index, modulo the window's size; of `highest` and before */
};

struct pc_replay {
    uint32_t window; /* packets; a multiple of 64 */
    uint32_t count;
    uint64_t accepted;
    struct pc_replay_stream *streams; /* PC_REPLAY_MAX_STREAMS; NULL until the first packet */
};

/* `window`: how far behind the highest index a packet may be; a multiple of 64. */
void pc_replay_init(struct pc_replay *replay, uint32_t window);
void pc_replay_free(struct pc_replay *replay);

/* The state of `ssrc`, or NULL when nothing of it was accepted; valid until the next accept. */
struct pc_replay_stream *pc_replay_find(const struct pc_replay *replay, uint32_t ssrc);

/* The 48-bit packet index that `sequence` most probably stands for. `stream` may be NULL. */
uint64_t pc_replay_guess(const struct pc_replay_stream *stream, uint16_t sequence);

/* 0, or -EALREADY when `index` was accepted before or is behind the window. `stream` may be NULL.
 */
int pc_replay_check(const struct pc_replay *replay, const struct pc_replay_stream *stream,
                    uint64_t index);

/* Remember `index` of `ssrc`, which pc_replay_check() let pass; `stream` is what pc_replay_find()
 * returned. A new SSRC beyond PC_REPLAY_MAX_STREAMS takes the place of the longest unused one.
 * 0 or -ENOMEM. */
int pc_replay_accept(struct pc_replay *replay, struct pc_replay_stream *stream, uint32_t ssrc,
                     uint64_t index);

#endif
