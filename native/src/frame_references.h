/* Which frames were given out, by the numbers of their Dependency Descriptors, and so whether a
 * frame can be decoded. Pure. */
#ifndef PC_FRAME_REFERENCES_H
#define PC_FRAME_REFERENCES_H

#include "dependency_descriptor.h"

#define PC_REFERENCES_KEPT 8192 /* frame numbers; power of two */

struct pc_frame_references {
    struct pc_dependency_structure structure; /* as last received */
    bool any;
    uint16_t last;                         /* number given out */
    uint8_t given[PC_REFERENCES_KEPT / 8]; /* bits, of the numbers up to `last` */
};

void pc_references_init(struct pc_frame_references *references);

/* The frame of this number was given out. One that needs no other makes all before it useless:
 * `alone`. */
void pc_references_give(struct pc_frame_references *references, uint16_t number, bool alone);

/* Was everything that the frame refers to given out? */
bool pc_references_hold(const struct pc_frame_references *references,
                        const struct pc_dependency_descriptor *frame);

#endif
