/* Which part of the root window is captured: all of it, a region, a monitor, or where a window is
 * now. A window is captured as it is seen, with whatever covers it. */
#ifndef PC_X11_AREA_H
#define PC_X11_AREA_H

#include "source.h"
#include "x11_display.h"

struct x11_choice {
    char *monitor; /* owned; NULL = none */
    xcb_window_t window;
    struct pc_rect region; /* empty = none */
};

struct x11_area {
    struct pc_rect view;    /* of the picture, in the root; may hang over its edges (windows) */
    struct pc_rect visible; /* the part of the view that is on the screen, in the view */
};

/* Find the area now. 0; -EAGAIN: there is nothing to see at present (the window is unmapped, the
 * region or monitor is off the screen); -EINVAL: no such monitor or window; -EOPNOTSUPP: a monitor
 * on a server without RandR 1.5; -ENOTCONN. `area` is set for 0 and, with the window's size, for
 * -EAGAIN of a window. */
int x11_area_find(struct x11_display *display, const struct x11_choice *choice,
                  struct x11_area *area);

#endif
