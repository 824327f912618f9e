/* A source of pictures: the X display, the test pattern. All functions of one source are called
 * from one thread (the stream's media thread), except open and close. */
#ifndef PC_SOURCE_H
#define PC_SOURCE_H

#include "core.h"

#define PC_MAX_RECTS 16

struct pc_rect {
    int x, y, width, height;
};

/* One captured picture. 8-bit BGRX, top row first. Valid until the next grab or close. */
struct pc_source_frame {
    const uint8_t *pixels;
    size_t stride; /* bytes per row; may exceed width * 4 */
    int width, height;
    uint64_t damage_ns; /* when the change became known (0: there was none, a keep-alive) */
    uint64_t serial;    /* pattern: the number painted into it; others: counts grabs */
    bool announced;     /* every changed area went to the on_area of the source during the grab */
    int rect_count;     /* changed areas since the last grab, cursor included; 0 = nothing changed.
                         * rects[0] covers everything after a resize and on the first grab */
    struct pc_rect rects[PC_MAX_RECTS];
};

struct pc_source;

struct pc_source_ops {
    const char *name;

    /* A file descriptor that is readable when there may be news, or -1: the source is paced by
     * the clock alone and always has a new picture (the pattern). */
    int (*fd)(struct pc_source *source);

    /* Read what is pending, without blocking. 1: the picture has changed since the last grab
     * (`*damage_ns` = the time the first change was seen, `now_ns` for a new one);
     * 0: it has not; -ENOTCONN: the display is gone for good. */
    int (*poll)(struct pc_source *source, uint64_t now_ns, uint64_t *damage_ns);

    /* Take the picture. 0, or -ENOTCONN (gone for good), -EAGAIN (not now, e.g. the window is
     * unmapped or the screen is changing size: try again at the next frame). A change of size is
     * seen in `out`. */
    int (*grab)(struct pc_source *source, uint64_t now_ns, struct pc_source_frame *out);

    void (*close)(struct pc_source *source);
};

/* Told of an area as soon as its pixels are there, while others are still on their way: what
 * follows need not wait for the whole picture. `frame` has pixels, stride, width and height. An
 * area may come twice; the later one counts. */
typedef void (*pc_area_fn)(void *context, const struct pc_source_frame *frame, struct pc_rect area);

/* Embedded as the first member of each source. */
struct pc_source {
    const struct pc_source_ops *ops;
    int width, height;  /* at opening */
    pc_area_fn on_area; /* set by who grabs; NULL = nobody wants to know */
    void *area_context;
};

#endif
