/* The generated test pattern. A picture depends on size, motion, seed and number alone, but for the
 * time in its code.
 *
 * Moving: a textured ground seen in perspective, each row scrolling at its own speed, below a
 * slower sky; patches of the texture bounce over it, and one patch is noise that is new each time.
 * All of it is copied from a texture made at the start, so that a benchmark measures the encoder
 * and not the generator.
 *
 * Still: a desktop of windows and lines of text, in which one line is being typed and a small
 * square turns. */
#include "source.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "pattern_code.h"

#define MIN_WIDTH      320
#define MIN_HEIGHT     180
#define MAX_SIDE       8192
#define TEXTURE_PERIOD 1024 /* pixels after which a texture row repeats; a power of two */
#define TEXTURE_ROWS   256  /* a power of two */
#define NOISE_BYTES    (1 << 20)
#define SPRITES        8
#define MAX_SPRITE     128
#define GLYPH_WIDTH    8
#define GLYPH_HEIGHT   14

struct sprite {
    int size;           /* pixels */
    int x_step, y_step; /* pixels for each picture */
    int x_start, y_start;
    int texture_row;
};

struct pattern {
    struct pc_source source;
    bool motion;
    uint64_t seed;
    uint64_t serial;
    size_t stride;
    uint8_t *pixels;
    size_t texture_stride;
    uint8_t *texture; /* rows of TEXTURE_PERIOD + width pixels, so that any offset has a whole row
                       */
    uint8_t *noise;
    struct sprite sprites[SPRITES];
    struct pc_rect typing, square; /* still: where things change */
};

/* xorshift64*. */
static uint64_t next_random(uint64_t *state)
{
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    return *state * 2685821657736338717ull;
}

static int random_below(uint64_t *state, int bound)
{
    return (int)(next_random(state) >> 33) % bound;
}

static uint8_t clamp_byte(int value)
{
    return (uint8_t)(value < 0 ? 0 : value > 255 ? 255 : value);
}

/* A wave of period 256 and height -64..64, made of parabolas: the same on every machine. */
static int wave(int phase)
{
    int p = phase & 255, half = p & 127;
    int height = half * (128 - half) / 64;
    return p < 128 ? height : -height;
}

static void paint_texture(struct pattern *pattern, uint64_t *random)
{
    for (int y = 0; y < TEXTURE_ROWS; y++) {
        uint8_t *row = pattern->texture + (size_t)y * pattern->texture_stride;

        for (int x = 0; x < TEXTURE_PERIOD; x++) {
            uint64_t bits = next_random(random);
            int grain = (int)(bits >> 60) - 8;
            int tile = ((x >> 6 ^ y >> 5) & 1) ? 24 : -24;
            int shade = wave(x / 2 + wave(y) / 2) / 2 + wave(y * 2 + x) / 4 + tile + grain;

            row[4 * x] = clamp_byte(96 + shade + wave(x / 4) / 2);
            row[4 * x + 1] = clamp_byte(112 + shade);
            row[4 * x + 2] = clamp_byte(104 + shade + wave(y + 64) / 2);
            row[4 * x + 3] = 255;
        }
        for (size_t done = TEXTURE_PERIOD * 4; done < pattern->texture_stride; done *= 2) {
            size_t left = pattern->texture_stride - done;
            memcpy(row + done, row, left < done ? left : done);
        }
    }
}

static void place_sprites(struct pattern *pattern, uint64_t *random)
{
    for (int i = 0; i < SPRITES; i++) {
        struct sprite *sprite = &pattern->sprites[i];

        sprite->size = 32 + random_below(random, MAX_SPRITE - 32);
        sprite->x_step = 3 + random_below(random, 9);
        sprite->y_step = 1 + random_below(random, 5);
        sprite->x_start = random_below(random, pattern->source.width);
        sprite->y_start = random_below(random, pattern->source.height);
        sprite->texture_row = random_below(random, TEXTURE_ROWS);
    }
}

static uint8_t *pixel_at(struct pattern *pattern, int x, int y)
{
    return pattern->pixels + (size_t)y * pattern->stride + (size_t)x * 4;
}

static const uint8_t *texture_at(const struct pattern *pattern, uint64_t x, uint64_t y)
{
    return pattern->texture + (size_t)(y % TEXTURE_ROWS) * pattern->texture_stride +
           (size_t)(x % TEXTURE_PERIOD) * 4;
}

/* There and back again between 0 and `limit`. */
static int bounce(uint64_t distance, int limit)
{
    if (limit < 1)
        return 0;
    int place = (int)(distance % (2u * (unsigned)limit));
    return place < limit ? place : 2 * limit - place;
}

static void paint_ground(struct pattern *pattern, uint64_t time)
{
    int width = pattern->source.width, height = pattern->source.height, horizon = height * 2 / 5;
    uint64_t pace = time * 2 + (uint64_t)(wave((int)(time & 255)) / 8 + 8); /* always onward */

    for (int y = 0; y < height; y++) {
        bool sky = y < horizon;
        uint64_t speed = sky ? 1 : 2 + (uint64_t)((y - horizon) * 16 / height);
        uint64_t row =
            sky ? (uint64_t)y + time : (uint64_t)y * 2 + TEXTURE_ROWS - pace % TEXTURE_ROWS;

        memcpy(pixel_at(pattern, 0, y), texture_at(pattern, pace * speed, row), (size_t)width * 4);
    }
}

static void paint_sprites(struct pattern *pattern, uint64_t time)
{
    for (int i = 0; i < SPRITES; i++) {
        const struct sprite *sprite = &pattern->sprites[i];
        int x = bounce((uint64_t)sprite->x_start + time * (uint64_t)sprite->x_step,
                       pattern->source.width - sprite->size);
        int y = bounce((uint64_t)sprite->y_start + time * (uint64_t)sprite->y_step,
                       pattern->source.height - sprite->size);

        for (int row = 0; row < sprite->size; row++)
            memcpy(pixel_at(pattern, x, y + row),
                   texture_at(pattern, (uint64_t)i * 128, (uint64_t)(sprite->texture_row + row)),
                   (size_t)sprite->size * 4);
    }
}

/* A sixteenth of the picture in width and height, new each time: what an encoder cannot predict. */
static void paint_noise(struct pattern *pattern, uint64_t time)
{
    uint64_t random = (pattern->seed ^ (time + 1) * 0x9e3779b97f4a7c15ull) | 1;
    int width = pattern->source.width / 16, height = pattern->source.height / 16;
    int x = bounce(time * 5, pattern->source.width - width);
    int y = pattern->source.height / 2 + bounce(time * 3, pattern->source.height / 2 - height);

    for (int row = 0; row < height; row++) {
        size_t bytes = (size_t)width * 4;
        size_t from = (size_t)(next_random(&random) >> 32) % (NOISE_BYTES - bytes) & ~(size_t)3;
        memcpy(pixel_at(pattern, x, y + row), pattern->noise + from, bytes);
    }
}

static void fill(struct pattern *pattern, struct pc_rect rect, uint32_t colour)
{
    for (int y = rect.y; y < rect.y + rect.height; y++)
        for (int x = rect.x; x < rect.x + rect.width; x++)
            memcpy(pixel_at(pattern, x, y), &colour, sizeof colour);
}

/* Something like a letter: strokes on a grid of 3 x 5. */
static void paint_glyph(struct pattern *pattern, int x, int y, uint32_t bits)
{
    for (int cell = 0; cell < 15; cell++)
        if (bits >> cell & 1)
            fill(pattern, (struct pc_rect){x + cell % 3 * 2, y + cell / 3 * 2, 2, 2}, 0xff202020);
}

static void paint_desktop(struct pattern *pattern, uint64_t *random)
{
    int width = pattern->source.width, height = pattern->source.height;
    struct pc_rect pane = {width / 16, height * 3 / 10, width * 7 / 8, height * 6 / 10};

    for (int y = 0; y < height; y++)
        fill(pattern, (struct pc_rect){0, y, width, 1},
             0xff000000 | (uint32_t)(40 + y * 40 / height) << 16 |
                 (uint32_t)(70 + y * 30 / height) << 8 | 120);
    fill(pattern, pane, 0xfff4f4f0);
    fill(pattern, (struct pc_rect){pane.x, pane.y, pane.width, 20}, 0xff505860);

    int lines = (pane.height - 60) / (GLYPH_HEIGHT + 4), columns = (pane.width - 100) / GLYPH_WIDTH;
    for (int line = 0; line < lines - 1; line++)
        for (int column = 0; column < columns; column++)
            if (random_below(random, 6) != 0)
                paint_glyph(pattern, pane.x + 8 + column * GLYPH_WIDTH,
                            pane.y + 28 + line * (GLYPH_HEIGHT + 4),
                            (uint32_t)(next_random(random) >> 40));
    pattern->typing = (struct pc_rect){pane.x + 8, pane.y + 28 + (lines - 1) * (GLYPH_HEIGHT + 4),
                                       columns * GLYPH_WIDTH, GLYPH_HEIGHT};
    pattern->square = (struct pc_rect){pane.x + pane.width - 72, pane.y + pane.height - 72, 64, 64};
}

/* One letter every fourth picture; the line is cleared when it is full. Returns what changed. */
static struct pc_rect paint_typing(struct pattern *pattern, uint64_t time)
{
    uint64_t columns = (uint64_t)(pattern->typing.width / GLYPH_WIDTH);
    int column = (int)(time / 4 % columns);
    struct pc_rect cell = {pattern->typing.x + column * GLYPH_WIDTH, pattern->typing.y, GLYPH_WIDTH,
                           GLYPH_HEIGHT};
    uint64_t random = (pattern->seed ^ (time / 4 + 1) * 0x9e3779b97f4a7c15ull) | 1;

    if (column == 0 && time % 4 == 0) {
        fill(pattern, pattern->typing, 0xfff4f4f0);
        cell = pattern->typing;
    }
    paint_glyph(pattern, pattern->typing.x + column * GLYPH_WIDTH, pattern->typing.y,
                (uint32_t)(next_random(&random) >> 40));
    return cell;
}

static void paint_square(struct pattern *pattern, uint64_t time)
{
    struct pc_rect square = pattern->square;

    for (int y = 0; y < square.height; y++)
        memcpy(pixel_at(pattern, square.x, square.y + y),
               texture_at(pattern, time * 4, (uint64_t)y + time * 2), (size_t)square.width * 4);
}

static int pattern_fd(struct pc_source *source)
{
    (void)source;
    return -1;
}

static int pattern_poll(struct pc_source *source, uint64_t now_ns, uint64_t *damage_ns)
{
    (void)source;
    *damage_ns = now_ns;
    return 1;
}

static int pattern_grab(struct pc_source *source, uint64_t now_ns, struct pc_source_frame *out)
{
    struct pattern *pattern = (struct pattern *)source;
    int edge = pc_pattern_edge(source->width);

    *out = (struct pc_source_frame){
        .pixels = pattern->pixels,
        .stride = pattern->stride,
        .width = source->width,
        .height = source->height,
        .damage_ns = now_ns,
        .serial = pattern->serial,
    };
    if (pattern->motion) {
        paint_ground(pattern, pattern->serial);
        paint_sprites(pattern, pattern->serial);
        paint_noise(pattern, pattern->serial);
    } else {
        out->rects[out->rect_count++] =
            (struct pc_rect){0, 0, edge * PC_PATTERN_COLUMNS, edge * PC_PATTERN_ROWS};
        out->rects[out->rect_count++] = paint_typing(pattern, pattern->serial);
        paint_square(pattern, pattern->serial);
        out->rects[out->rect_count++] = pattern->square;
    }
    if (pattern->motion || pattern->serial == 0) {
        out->rects[0] = (struct pc_rect){0, 0, source->width, source->height};
        out->rect_count = 1;
    }
    pc_pattern_write(pattern->pixels, source->width, source->height, pattern->stride,
                     (uint32_t)pattern->serial, now_ns / 1000);
    pattern->serial++;
    return 0;
}

static void pattern_close(struct pc_source *source)
{
    struct pattern *pattern = (struct pattern *)source;

    free(pattern->noise);
    free(pattern->texture);
    free(pattern->pixels);
    free(pattern);
}

static const struct pc_source_ops pattern_ops = {
    .name = "pattern",
    .fd = pattern_fd,
    .poll = pattern_poll,
    .grab = pattern_grab,
    .close = pattern_close,
};

int pc_source_open_pattern(const struct pc_pattern_settings *settings, struct pc_source **out)
{
    if (!settings || !out)
        return pc_fail(-EINVAL, "pc_source_open_pattern: settings and out must not be NULL");
    if (settings->width < MIN_WIDTH || settings->height < MIN_HEIGHT ||
        settings->width > MAX_SIDE || settings->height > MAX_SIDE || settings->width % 2 != 0 ||
        settings->height % 2 != 0)
        return pc_fail(
            -EINVAL, "A pattern of %d x %d pixels: both must be even, from %d x %d to %d x %d",
            settings->width, settings->height, MIN_WIDTH, MIN_HEIGHT, MAX_SIDE, MAX_SIDE);
    if (pc_pattern_edge(settings->width) * PC_PATTERN_ROWS > settings->height)
        return pc_fail(
            -EINVAL, "A pattern of %d x %d pixels: too flat for the code, which is %d high",
            settings->width, settings->height, pc_pattern_edge(settings->width) * PC_PATTERN_ROWS);

    struct pattern *pattern = calloc(1, sizeof *pattern);
    if (!pattern)
        return pc_fail(-ENOMEM, "Out of memory for the pattern");
    pattern->source = (struct pc_source){
        .ops = &pattern_ops, .width = settings->width, .height = settings->height};
    pattern->motion = settings->motion != 0;
    pattern->seed = settings->seed * 0x9e3779b97f4a7c15ull + 0x1234567ull;
    pattern->stride = ((size_t)settings->width * 4 + 63) & ~(size_t)63;
    pattern->texture_stride = ((size_t)settings->width + TEXTURE_PERIOD) * 4;
    pattern->pixels = aligned_alloc(64, pattern->stride * (size_t)settings->height);
    pattern->texture = malloc(pattern->texture_stride * TEXTURE_ROWS);
    pattern->noise = malloc(NOISE_BYTES);
    if (!pattern->pixels || !pattern->texture || !pattern->noise) {
        pattern_close(&pattern->source);
        return pc_fail(-ENOMEM, "Out of memory for a pattern of %d x %d pixels", settings->width,
                       settings->height);
    }

    uint64_t random = pattern->seed | 1;
    paint_texture(pattern, &random);
    place_sprites(pattern, &random);
    for (size_t i = 0; i < NOISE_BYTES; i += 8) {
        uint64_t bits = next_random(&random);
        memcpy(pattern->noise + i, &bits, 8);
    }
    memset(pattern->pixels, 0, pattern->stride * (size_t)settings->height);
    if (!pattern->motion)
        paint_desktop(pattern, &random);
    *out = &pattern->source;
    return 0;
}
