/* Access units into pictures, by libavcodec (H.264, VP8), with low delay: no frame threads, slices
 * of one picture in parallel, each picture given out by the call that brought its last slice. */
#ifndef PC_DECODE_H
#define PC_DECODE_H

#include "core.h"

#define PC_DECODE_PADDING     64 /* zero bytes behind each access unit, for readers that look ahead */
#define PC_DECODE_MAX_EDGE    8192 /* wider or higher pictures are refused */
#define PC_DECODE_MAX_THREADS 16   /* slices in parallel */

struct pc_decoder;

/* A decoded picture, 8 bits, 4:2:0. Reading needs no decoder: it may be closed before. */
struct pc_decoded {
    int width, height;
    const uint8_t *planes[3]; /* Y, Cb, Cr */
    size_t strides[3];        /* bytes from row to row */
    int matrix;               /* MatrixCoefficients of H.273 */
    bool full_range;
    int64_t tag; /* as given with the access unit */
    void *held;  /* what keeps the planes */
};

/* `threads`: 1..PC_DECODE_MAX_THREADS; 0 = one per core, 4 at most. 0, -EINVAL, -ENOMEM, or
 * -EOPNOTSUPP when libavcodec was built without the codec. On success the caller owns `*out`. */
int pc_decoder_open(enum pc_codec_id codec, int threads, struct pc_decoder **out);
void pc_decoder_close(struct pc_decoder *decoder);

/* Decode one access unit (H.264: Annex B) of at most 64 MiB with PC_DECODE_PADDING zero bytes
 * behind it. It is not kept. 0, -EBADMSG when it cannot be decoded, -ENOMEM. Call pc_decoder_next()
 * until it returns 0 before the next one, after a failure too. What follows a failure decodes from
 * an IDR on. */
int pc_decoder_decode(struct pc_decoder *decoder, const uint8_t *data, size_t size, int64_t tag);

/* The next picture: 1, and the caller owns what it holds (pc_decoded_release()). 0: there is none.
 * -EBADMSG: one that is damaged, or none for too long; -EOPNOTSUPP: one that is not of 8 bits and
 * 4:2:0, or too large; nothing is in `*out` then but its tag. */
int pc_decoder_next(struct pc_decoder *decoder, struct pc_decoded *out);

void pc_decoded_release(struct pc_decoded *picture);

/* Bytes of the picture as I420 without padding. */
size_t pc_decoded_bytes(const struct pc_decoded *picture);

/* Write that. `out` has pc_decoded_bytes(). */
void pc_decoded_copy(const struct pc_decoded *picture, uint8_t *out);

#endif
