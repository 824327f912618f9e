/* Expected bytes as the RFCs print them. */
#ifndef PC_TEST_HEX_H
#define PC_TEST_HEX_H

#include <stddef.h>
#include <stdint.h>

/* Bytes written to `out` from hexadecimal digits; spaces are passed over. */
static inline size_t hex(const char *text, uint8_t *out)
{
    size_t digits = 0;
    for (; *text != '\0'; text++) {
        if (*text == ' ')
            continue;
        int value = *text <= '9' ? *text - '0' : (*text | 0x20) - 'a' + 10;
        if (digits % 2 == 0)
            out[digits / 2] = (uint8_t)(value << 4);
        else
            out[digits / 2] = (uint8_t)(out[digits / 2] | value);
        digits++;
    }
    return digits / 2;
}

#endif
