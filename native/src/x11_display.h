/* A connection to an X display as capture needs it: extensions checked, replies awaited without
 * hanging for ever, memory shared with the server. Only xcb: unlike Xlib it never exits. */
#ifndef PC_X11_DISPLAY_H
#define PC_X11_DISPLAY_H

#include <signal.h>
#include <xcb/damage.h>
#include <xcb/randr.h>
#include <xcb/shm.h>
#include <xcb/xcb.h>
#include <xcb/xcbext.h>
#include <xcb/xfixes.h>

#include "core.h"

struct x11_display {
    xcb_connection_t *connection;
    int fd;
    xcb_window_t root;
    uint8_t damage_event, xfixes_event, randr_event; /* first event codes; randr 0 = none */
    uint8_t input_opcode;                            /* XInput2's; 0 = none */
    bool monitors;                                   /* RandR 1.5 */
    bool shm_fd;                                     /* shared memory can be passed as an fd */
    bool lost;
};

/* Connect, check the extensions and the pixel format. `name` NULL = $DISPLAY. On failure nothing is
 * left open: -ENOTCONN or -EOPNOTSUPP. */
int x11_display_open(struct x11_display *display, const char *name);
void x11_display_close(struct x11_display *display);

/* Flush, and wait for the reply to request `sequence`. The caller frees the reply. NULL: the server
 * answered with an error, or is lost (`display->lost`: the connection broke, or no answer in 10 s).
 */
void *x11_display_reply(struct x11_display *display, unsigned sequence);

/* -ENOTCONN with its text. */
int x11_display_lost(const struct x11_display *display);

/* Ask for raw pointer motion (XInput 2.1: also while another client has grabbed the pointer). */
void x11_display_select_motion(struct x11_display *display);
bool x11_display_is_motion(const struct x11_display *display, const xcb_generic_event_t *event);

/* Between these two, writing to a display that has gone raises no SIGPIPE on this thread. */
struct x11_quiet {
    sigset_t before;
    bool was_pending;
};
void x11_quiet_begin(struct x11_quiet *quiet);
void x11_quiet_end(const struct x11_quiet *quiet);

/* Memory that the server and we both see. It has no name: nothing is left behind, however the
 * process ends. */
struct x11_shm {
    xcb_shm_seg_t segment;
    uint8_t *memory; /* NULL = none */
    size_t bytes;
    bool mapped; /* of an fd, not System V's */
};

/* 0; -ENOMEM; -EOPNOTSUPP: the server cannot reach our memory (another machine or container). */
int x11_shm_open(struct x11_display *display, size_t bytes, struct x11_shm *shm);
void x11_shm_close(struct x11_display *display, struct x11_shm *shm);

#endif
