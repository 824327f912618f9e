/* The inside of the X11 source: capture_x11.c opens it and listens, x11_grab.c takes pictures. */
#ifndef PC_CAPTURE_X11_H
#define PC_CAPTURE_X11_H

#include "source.h"

#include "damage_rects.h"
#include "x11_area.h"
#include "x11_cursor.h"
#include "x11_display.h"

struct x11_capture {
    struct pc_source source;
    struct x11_display display;
    struct x11_choice choice;
    struct x11_area area;
    bool area_stale; /* find it anew before the next grab */
    xcb_damage_damage_t damage;
    bool whole; /* the picture holds nothing yet: get everything */
    struct x11_shm shm;
    struct pc_damage_rects pending; /* changed since the last grab; in the view */
    bool news;                      /* something has happened since the last grab … */
    uint64_t damage_ns;             /* … and was seen at this time; 0 = not yet */
    uint64_t serial;

    struct x11_cursor *cursor; /* NULL: do not draw it */
    bool cursor_stale;         /* ask for its image with the next grab */
    bool moved;                /* raw motion since `pointer_sequence` */
    bool pointer_asked;        /* a query of poll() is under way */
    unsigned pointer_sequence; /* of the last query */

    bool grabbing;              /* in the grab, after its answers: */
    unsigned subtract_sequence; /* its subtraction … */
    struct pc_damage_rects got; /* … and the areas got after it */
};

/* Find the captured area, with memory for it. Errors as x11_area_find() and x11_shm_open(). */
int x11_renew_area(struct x11_capture *capture);

/* The source's grab, but for the guard against SIGPIPE. */
int x11_grab(struct x11_capture *capture, uint64_t now_ns, struct pc_source_frame *out);

/* Take what has arrived, and what came along with replies. Never waits. */
void x11_drain_events(struct x11_capture *capture);

static inline bool x11_pointer_differs(const struct x11_capture *capture,
                                       const xcb_query_pointer_reply_t *pointer)
{
    return x11_cursor_differs(capture->cursor, pointer->root_x - capture->area.view.x,
                              pointer->root_y - capture->area.view.y, capture->area.visible);
}

#endif
