#include "convert_rows.h"

#include <stddef.h>

#if defined(__x86_64__)

#include <immintrin.h>

#define AVX2 __attribute__((target("avx2")))
#define STEP 32 /* pixels at a time */

/* Four byte weights, repeated for each pixel. */
static inline AVX2 __m256i weights(int b, int g, int r)
{
    return _mm256_set1_epi32(
        (int)((unsigned)(b & 0xff) | (unsigned)(g & 0xff) << 8 | (unsigned)(r & 0xff) << 16));
}

static inline AVX2 __m256i load(const uint8_t *bytes)
{
    return _mm256_loadu_si256((const __m256i *)(const void *)bytes);
}

/* Packing works within 128-bit lanes: put the 32-bit parts back in order. */
static inline AVX2 __m256i in_order(__m256i packed)
{
    return _mm256_permutevar8x32_epi32(packed, _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7));
}

/* Eight pixels' luma in 32-bit lanes. The pixels are multiplied as signed bytes, less 128, so that
 * the sums of products fit 16 bits; the offset puts it back. */
static inline AVX2 __m256i luma(__m256i bgrx)
{
    const int centre = 128 * (PC_Y_BG_SCALE * (PC_Y_B + PC_Y_G) + PC_Y_R_SCALE * PC_Y_R);
    __m256i less_128 = _mm256_xor_si256(bgrx, _mm256_set1_epi8(-128));
    __m256i pairs = _mm256_maddubs_epi16(weights(PC_Y_B, PC_Y_G, PC_Y_R), less_128);
    __m256i sum = _mm256_madd_epi16(pairs, _mm256_set1_epi32(PC_Y_R_SCALE << 16 | PC_Y_BG_SCALE));
    return _mm256_srli_epi32(_mm256_add_epi32(sum, _mm256_set1_epi32(PC_Y_OFFSET + centre)),
                             PC_Y_SHIFT);
}

static inline AVX2 void store_luma(uint8_t *y, __m256i a, __m256i b, __m256i c, __m256i d)
{
    __m256i low = _mm256_packus_epi32(luma(a), luma(b));
    __m256i high = _mm256_packus_epi32(luma(c), luma(d));
    _mm256_storeu_si256((__m256i *)(void *)y, in_order(_mm256_packus_epi16(low, high)));
}

/* The means of neighbouring pixels. Numbering the results by twos: 0 2 1 3. */
static inline AVX2 __m256i halve(__m256i a, __m256i b)
{
    __m256 fa = _mm256_castsi256_ps(a), fb = _mm256_castsi256_ps(b);
    return _mm256_avg_epu8(_mm256_castps_si256(_mm256_shuffle_ps(fa, fb, 0x88)),
                           _mm256_castps_si256(_mm256_shuffle_ps(fa, fb, 0xdd)));
}

/* The chroma, less 128, of what halve() made of 16 pixels each. By twos again, the even ones are in
 * the low half, the odd ones in the high half. */
static inline AVX2 __m256i chroma(__m256i a, __m256i b, __m256i bgr, int scale)
{
    __m256i sum = _mm256_hadd_epi16(_mm256_maddubs_epi16(a, bgr), _mm256_maddubs_epi16(b, bgr));
    return _mm256_mulhrs_epi16(sum, _mm256_set1_epi16((short)scale));
}

static inline AVX2 void convert_step(const uint8_t *top, const uint8_t *bottom, uint8_t *y_top,
                                     uint8_t *y_bottom, uint8_t *u, uint8_t *v)
{
    __m256i t0 = load(top), t1 = load(top + 32), t2 = load(top + 64), t3 = load(top + 96);
    store_luma(y_top, t0, t1, t2, t3);
    __m256i b0 = load(bottom), b1 = load(bottom + 32), b2 = load(bottom + 64);
    __m256i b3 = load(bottom + 96);
    store_luma(y_bottom, b0, b1, b2, b3);

    __m256i first = halve(_mm256_avg_epu8(t0, b0), _mm256_avg_epu8(t1, b1));
    __m256i second = halve(_mm256_avg_epu8(t2, b2), _mm256_avg_epu8(t3, b3));
    __m256i uv =
        _mm256_packs_epi16(chroma(first, second, weights(PC_U_B, PC_U_G, PC_U_R), PC_U_SCALE),
                           chroma(first, second, weights(PC_V_B, PC_V_G, PC_V_R), PC_V_SCALE));
    uv = _mm256_xor_si256(uv, _mm256_set1_epi8(-128));
    __m128i even = _mm256_castsi256_si128(uv), odd = _mm256_extracti128_si256(uv, 1);
    _mm_storeu_si128((__m128i *)(void *)u, _mm_unpacklo_epi16(even, odd));
    _mm_storeu_si128((__m128i *)(void *)v, _mm_unpackhi_epi16(even, odd));
}

static AVX2 void convert_rows_avx2(const uint8_t *top, const uint8_t *bottom, uint8_t *y_top,
                                   uint8_t *y_bottom, uint8_t *u, uint8_t *v, int width)
{
    int even = width & ~1, x = 0;

    if (even >= STEP) {
        for (; x + STEP <= even; x += STEP)
            convert_step(top + 4 * x, bottom + 4 * x, y_top + x, y_bottom + x, u + x / 2,
                         v + x / 2);
        if (x < even) { /* once more over the last ones: cheaper than the rest one by one */
            x = even - STEP;
            convert_step(top + 4 * x, bottom + 4 * x, y_top + x, y_bottom + x, u + x / 2,
                         v + x / 2);
            x = even;
        }
    }
    if (x < width)
        pc_convert_rows_reference(top + 4 * x, bottom + 4 * x, y_top + x, y_bottom + x, u + x / 2,
                                  v + x / 2, width - x);
}

pc_convert_rows_fn pc_convert_rows_simd(void)
{
    __builtin_cpu_init();
    return __builtin_cpu_supports("avx2") ? convert_rows_avx2 : NULL;
}

#else

pc_convert_rows_fn pc_convert_rows_simd(void)
{
    return NULL;
}

#endif
