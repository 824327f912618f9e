#include "depacketize.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

void pc_unit_buffer_free(struct pc_unit_buffer *buffer)
{
    free(buffer->data);
    *buffer = (struct pc_unit_buffer){0};
}

int pc_unit_append(struct pc_unit_buffer *buffer, const uint8_t *data, size_t size)
{
    if (size > buffer->capacity - buffer->size) {
        size_t capacity = 2 * (buffer->size + size) + 4096;
        uint8_t *grown = realloc(buffer->data, capacity);
        if (grown == NULL)
            return -ENOMEM;
        buffer->data = grown;
        buffer->capacity = capacity;
    }
    memcpy(buffer->data + buffer->size, data, size);
    buffer->size += size;
    return 0;
}
