#include "frame_log.h"

void pc_frame_log_begin(struct pc_frame_log *log, const struct pc_received_unit *unit)
{
    uint64_t id = log->next_id++;
    log->frames[id % PC_FRAME_LOG_SIZE].done = false;
    log->frames[id % PC_FRAME_LOG_SIZE].frame = (struct pc_received_frame){
        .id = id,
        .rtp_time = unit->rtp_time,
        .bytes = (uint32_t)unit->size,
        .idr = unit->idr,
        .recovered = unit->recovered,
        .first_packet_ns = unit->first_packet_ns,
        .complete_ns = unit->complete_ns,
    };
}

struct pc_received_frame *pc_frame_log_find(struct pc_frame_log *log, uint64_t id)
{
    bool kept = id < log->next_id && log->next_id - id <= PC_FRAME_LOG_SIZE;
    return kept ? &log->frames[id % PC_FRAME_LOG_SIZE].frame : NULL;
}

void pc_frame_log_finish(struct pc_frame_log *log, uint64_t id)
{
    if (pc_frame_log_find(log, id) != NULL)
        log->frames[id % PC_FRAME_LOG_SIZE].done = true;
}

int pc_frame_log_read(const struct pc_frame_log *log, uint64_t from_id,
                      struct pc_received_frame *out, int max)
{
    uint64_t oldest = log->next_id > PC_FRAME_LOG_SIZE ? log->next_id - PC_FRAME_LOG_SIZE : 0;
    int count = 0;
    for (uint64_t id = from_id > oldest ? from_id : oldest;
         id < log->next_id && count < max && log->frames[id % PC_FRAME_LOG_SIZE].done; id++)
        out[count++] = log->frames[id % PC_FRAME_LOG_SIZE].frame;
    return count;
}
