#include "frame_references.h"

#include <string.h>

static uint8_t *byte_of(struct pc_frame_references *references, uint16_t number)
{
    return &references->given[number % PC_REFERENCES_KEPT / 8];
}

void pc_references_init(struct pc_frame_references *references)
{
    memset(references, 0, sizeof *references);
}

void pc_references_give(struct pc_frame_references *references, uint16_t number, bool alone)
{
    uint16_t ahead = (uint16_t)(number - references->last);
    if (alone || !references->any || ahead >= PC_REFERENCES_KEPT) {
        memset(references->given, 0, sizeof references->given);
    } else {
        for (uint16_t left_out = (uint16_t)(references->last + 1); left_out != number; left_out++)
            *byte_of(references, left_out) &= (uint8_t) ~(1u << left_out % 8);
    }
    references->any = true;
    references->last = number;
    *byte_of(references, number) |= (uint8_t)(1u << number % 8);
}

static bool was_given(const struct pc_frame_references *references, uint16_t number)
{
    if (!references->any || (uint16_t)(references->last - number) >= PC_REFERENCES_KEPT)
        return false;
    return (references->given[number % PC_REFERENCES_KEPT / 8] >> number % 8 & 1) != 0;
}

bool pc_references_hold(const struct pc_frame_references *references,
                        const struct pc_dependency_descriptor *frame)
{
    for (int i = 0; i < frame->diff_count; i++)
        if (!was_given(references, (uint16_t)(frame->frame_number - frame->diffs[i])))
            return false;
    return true;
}
