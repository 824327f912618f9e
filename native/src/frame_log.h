/* The times of the last received frames, by id. Not thread-safe. */
#ifndef PC_FRAME_LOG_H
#define PC_FRAME_LOG_H

#include "receiver.h"

#define PC_FRAME_LOG_SIZE 4096

struct pc_frame_log {
    struct {
        struct pc_received_frame frame;
        bool done;
    } frames[PC_FRAME_LOG_SIZE];
    uint64_t next_id;
};

/* Begin the next frame, whose id is next_id; the oldest one is forgotten. Zeroed when empty. */
void pc_frame_log_begin(struct pc_frame_log *log, const struct pc_received_unit *unit);

/* NULL when it never was, or is forgotten. */
struct pc_received_frame *pc_frame_log_find(struct pc_frame_log *log, uint64_t id);

/* Nothing more happens to the frame. */
void pc_frame_log_finish(struct pc_frame_log *log, uint64_t id);

/* The frames from `from_id` on up to the first that is not done with, oldest first. Returns how
 * many (0..max). */
int pc_frame_log_read(const struct pc_frame_log *log, uint64_t from_id,
                      struct pc_received_frame *out, int max);

#endif
