#include "packetize.h"

#include <errno.h>
#include <string.h>

/* RFC 7741 4.2: X (extension follows) and, on the frame's first packet, S; the extension has I (a
 * picture id follows), and the id has M (it is of 15 bits). */
enum {
    DESCRIPTOR_X = 0x80,
    DESCRIPTOR_S = 0x10,
    EXTENSION_I = 0x80,
    PICTURE_ID_M = 0x80,
    PICTURE_ID_MASK = 0x7fff,
};

int pc_packetize_vp8(struct pc_vp8_packetizer *packetizer, struct pc_access_unit *au,
                     const uint8_t *frame, size_t size)
{
    if (size == 0)
        return -EINVAL;
    const size_t most = PC_MAX_PAYLOAD - PC_VP8_DESCRIPTOR_BYTES;
    uint16_t picture_id = packetizer->picture_id;
    packetizer->picture_id = (uint16_t)((picture_id + 1) & PICTURE_ID_MASK);
    size_t fragments = (size + most - 1) / most;
    size_t share = (size + fragments - 1) / fragments;
    int added = 0;
    for (size_t left = size; left > 0;) {
        size_t take = left < share ? left : share;
        uint8_t *room = pc_au_reserve(au, take + PC_VP8_DESCRIPTOR_BYTES);
        if (!room)
            return -ENOSPC;
        room[0] = (uint8_t)(DESCRIPTOR_X | (left == size ? DESCRIPTOR_S : 0));
        room[1] = EXTENSION_I;
        room[2] = (uint8_t)(PICTURE_ID_M | picture_id >> 8);
        room[3] = (uint8_t)picture_id;
        memcpy(room + PC_VP8_DESCRIPTOR_BYTES, frame, take);
        pc_au_commit(au, take + PC_VP8_DESCRIPTOR_BYTES);
        frame += take;
        left -= take;
        added++;
    }
    pc_au_publish(au, true);
    return added;
}
