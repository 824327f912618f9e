/* Reading and writing bit by bit, most significant bit first. Beyond the end a reader gives zeros
 * and says so; a writer's caller has made room. */
#ifndef PC_BITS_H
#define PC_BITS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct pc_bit_reader {
    const uint8_t *data;
    size_t bits; /* in `data` */
    size_t at;
    bool overrun; /* more was read than there is */
};

static inline struct pc_bit_reader pc_bits_open(const uint8_t *data, size_t size)
{
    return (struct pc_bit_reader){.data = data, .bits = 8 * size};
}

/* `count` <= 32. */
static inline uint32_t pc_bits_read(struct pc_bit_reader *reader, int count)
{
    uint32_t value = 0;
    for (; count > 0; count--) {
        uint32_t bit = 0;
        if (reader->at < reader->bits) {
            bit = reader->data[reader->at / 8] >> (7 - reader->at % 8) & 1u;
            reader->at++;
        } else {
            reader->overrun = true;
        }
        value = value << 1 | bit;
    }
    return value;
}

/* ue(v) of ITU-T H.264 9.1, up to 2^31 - 2. */
static inline uint32_t pc_bits_read_ue(struct pc_bit_reader *reader)
{
    int zeros = 0;
    while (zeros < 30 && !reader->overrun && pc_bits_read(reader, 1) == 0)
        zeros++;
    return (1u << zeros) - 1 + pc_bits_read(reader, zeros);
}

/* ns(n) of the AV1 specification 4.10.10: one of 0..n-1. `n` >= 1. */
static inline uint32_t pc_bits_read_ns(struct pc_bit_reader *reader, uint32_t n)
{
    int width = 0;
    while (n >> width != 0)
        width++;
    uint32_t shorter = (1u << width) - n;
    uint32_t value = pc_bits_read(reader, width - 1);
    return value < shorter ? value : (value << 1) - shorter + pc_bits_read(reader, 1);
}

struct pc_bit_writer {
    uint8_t *data; /* as much as is written, zeroed before */
    size_t at;
};

/* The low `count` bits of `value`. */
static inline void pc_bits_write(struct pc_bit_writer *writer, uint32_t value, int count)
{
    while (count-- > 0) {
        writer->data[writer->at / 8] |= (uint8_t)((value >> count & 1u) << (7 - writer->at % 8));
        writer->at++;
    }
}

#endif
