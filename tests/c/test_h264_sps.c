#include "h264_sps.h"
#include "harness.h"
#include "hex.h"

/* The bit that differs, counted from the first; -1 none, -2 several. */
static int changed_bit(const uint8_t *before, const uint8_t *after, size_t size)
{
    int found = -1;
    for (size_t bit = 0; bit < 8 * size; bit++)
        if (((before[bit / 8] ^ after[bit / 8]) >> (7 - bit % 8) & 1) != 0)
            found = found == -1 ? (int)bit : -2;
    return found;
}

static int changed_in(const char *text)
{
    uint8_t before[64], after[64];
    size_t size = hex(text, before);
    memcpy(after, before, size);
    CHECK(pc_h264_sps_allow_gaps(after, size));
    return changed_bit(before, after, size);
}

static void sets_the_flag_and_nothing_else(void)
{
    /* Baseline 3.1: 1 | 010 | 011 | 000010001 | 0 …: id 0, order type 2, 16 references. */
    CHECK_EQ(changed_in("42C01F A61102 80BE9A80"), 24 + 16);
    /* High: 1 | 010 | 1 | 1 | 0 | 0 | 010 | 011 | 00101 | 0 …: 4:2:0, 8 bits, 4 references. */
    CHECK_EQ(changed_in("64001F AC4CA0 00"), 24 + 19);
    /* Order type 0 has a length behind it: 1 | 010 | 1 | 00101 | 010 | 0 … */
    CHECK_EQ(changed_in("4D001F A95000 00"), 24 + 13);
    CHECK_EQ(changed_in("42C01F A61182 80BE9A80"), -1); /* it is set */
}

static void leaves_alone_what_it_does_not_know(void)
{
    static const char *const others[] = {
        "",
        "42C0",
        "42C01F A6",           /* ends within */
        "64001F 9140 00",      /* 4:4:4 */
        "42C01F A4 00000000",  /* order type 1: 1 | 010 | 010 … */
        "64001F AE4C00 000000" /* a scaling matrix */
    };
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        uint8_t before[64] = {0}, after[64];
        size_t size = hex(others[i], before);
        memcpy(after, before, sizeof before);
        CHECK(!pc_h264_sps_allow_gaps(after, size));
        CHECK_EQ(changed_bit(before, after, size), -1);
    }
}

int main(void)
{
    RUN(sets_the_flag_and_nothing_else);
    RUN(leaves_alone_what_it_does_not_know);
    return HARNESS_RESULT();
}
