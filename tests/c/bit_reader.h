/* Reads H.264 syntax: fixed-length and Exp-Golomb codes (ITU-T H.264 7.2, 9.1) of a NAL unit,
 * without its emulation prevention bytes (7.4.1). */
#ifndef PC_TEST_BIT_READER_H
#define PC_TEST_BIT_READER_H

#include <stddef.h>
#include <stdint.h>

struct bit_reader {
    uint8_t bytes[256]; /* the beginning is all that tests look at */
    size_t size, at;    /* bytes; bits */
};

static inline void bits_open(struct bit_reader *bits, const uint8_t *nal, size_t size)
{
    bits->size = 0;
    bits->at = 8; /* the NAL header */
    for (size_t i = 0; i < size && bits->size < sizeof bits->bytes; i++) {
        if (i >= 2 && nal[i] == 3 && nal[i - 1] == 0 && nal[i - 2] == 0)
            continue;
        bits->bytes[bits->size++] = nal[i];
    }
}

static inline unsigned bits_u(struct bit_reader *bits, int count)
{
    unsigned value = 0;
    for (; count > 0; count--, bits->at++) {
        unsigned bit = bits->at / 8 < bits->size
                           ? (unsigned)bits->bytes[bits->at / 8] >> (7 - bits->at % 8) & 1
                           : 0;
        value = value << 1 | bit;
    }
    return value;
}

static inline unsigned bits_ue(struct bit_reader *bits)
{
    int zeros = 0;
    while (zeros < 31 && bits_u(bits, 1) == 0)
        zeros++;
    return (1u << zeros) - 1 + bits_u(bits, zeros);
}

#endif
