/* An X server of a test's own: Xvfb on a display number that it chooses itself, and a client that
 * draws on it. */
#ifndef PC_TEST_XVFB_H
#define PC_TEST_XVFB_H

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>
#include <xcb/xcb.h>
#include <xcb/xcbext.h>

#include "harness.h"

struct xvfb {
    pid_t pid;
    char name[16]; /* ":7" */
    xcb_connection_t *client;
    xcb_screen_t *screen;
    xcb_gcontext_t gc;
};

/* False, with the reason printed, when there is no Xvfb. `depth` 24 for what capture can read;
 * `tcp`: can be reached as 127.0.0.1:N, too. */
static inline bool xvfb_start(struct xvfb *xvfb, int width, int height, int depth, bool tcp)
{
    int pipe_fds[2];
    char number[12] = "", screen[48], fd_text[12];

    memset(xvfb, 0, sizeof *xvfb);
    if (pipe(pipe_fds) < 0)
        return false;
    snprintf(screen, sizeof screen, "%dx%dx%d", width, height, depth);
    snprintf(fd_text, sizeof fd_text, "%d", pipe_fds[1]);
    xvfb->pid = fork();
    if (xvfb->pid == 0) {
        int null = open("/dev/null", O_WRONLY);
        dup2(null, 1);
        dup2(null, 2);
        prctl(PR_SET_PDEATHSIG, SIGTERM); /* a test that crashes leaves no server behind */
        close(pipe_fds[0]);
        execlp("Xvfb", "Xvfb", "-displayfd", fd_text, "-screen", "0", screen, "-noreset",
               tcp ? "-listen" : "-nolisten", "tcp", (char *)NULL);
        _exit(127);
    }
    close(pipe_fds[1]);
    size_t used = 0;
    ssize_t got;
    while (used < sizeof number - 1 && !memchr(number, '\n', used) &&
           ((got = read(pipe_fds[0], number + used, sizeof number - 1 - used)) > 0 ||
            (got < 0 && errno == EINTR)))
        used += got > 0 ? (size_t)got : 0;
    close(pipe_fds[0]);
    if (!memchr(number, '\n', used)) {
        printf("  Xvfb did not start: is it installed?\n");
        waitpid(xvfb->pid, NULL, 0);
        return false;
    }
    snprintf(xvfb->name, sizeof xvfb->name, ":%d", atoi(number));
    xvfb->client = xcb_connect(xvfb->name, NULL);
    if (xcb_connection_has_error(xvfb->client)) {
        printf("  cannot connect to Xvfb %s\n", xvfb->name);
        return false;
    }
    xvfb->screen = xcb_setup_roots_iterator(xcb_get_setup(xvfb->client)).data;
    xvfb->gc = xcb_generate_id(xvfb->client);
    xcb_create_gc(xvfb->client, xvfb->gc, xvfb->screen->root, 0, NULL);
    return true;
}

/* Wait until the server has done everything asked for so far. */
static inline void xvfb_sync(struct xvfb *xvfb)
{
    free(xcb_get_input_focus_reply(xvfb->client, xcb_get_input_focus(xvfb->client), NULL));
}

/* End the server at once, as a crash would. */
static inline void xvfb_kill(struct xvfb *xvfb)
{
    if (xvfb->pid > 0) {
        kill(xvfb->pid, SIGKILL);
        waitpid(xvfb->pid, NULL, 0);
    }
    xvfb->pid = 0;
}

static inline void xvfb_stop(struct xvfb *xvfb)
{
    if (xvfb->client)
        xcb_disconnect(xvfb->client);
    if (xvfb->pid > 0) {
        kill(xvfb->pid, SIGTERM); /* so that it removes its socket and lock */
        waitpid(xvfb->pid, NULL, 0);
    }
    memset(xvfb, 0, sizeof *xvfb);
}

static inline void xvfb_fill(struct xvfb *xvfb, xcb_drawable_t drawable, int x, int y, int width,
                             int height, uint32_t colour)
{
    xcb_rectangle_t rect = {(int16_t)x, (int16_t)y, (uint16_t)width, (uint16_t)height};

    xcb_change_gc(xvfb->client, xvfb->gc, XCB_GC_FOREGROUND, &colour);
    xcb_poly_fill_rectangle(xvfb->client, drawable, xvfb->gc, 1, &rect);
}

/* Move the pointer as a mouse would: XTEST's FakeInput (6 = motion, to an absolute place). */
static inline void xvfb_move_mouse(struct xvfb *xvfb, int x, int y)
{
    static xcb_extension_t xtest = {"XTEST", 0};
    struct {
        uint8_t major_opcode, minor_opcode;
        uint16_t length;
        uint8_t type, detail, pad1[2];
        uint32_t time, root, pad2[2];
        int16_t x, y;
        uint32_t pad3;
        uint8_t pad4[3], device;
    } request = {.type = 6, .root = xvfb->screen->root, .x = (int16_t)x, .y = (int16_t)y};
    xcb_protocol_request_t protocol = {1, &xtest, 2, 1};
    struct iovec parts[3] = {{NULL, 0}, {NULL, 0}, {&request, sizeof request}};

    xcb_send_request(xvfb->client, 0, parts + 2, &protocol);
    xvfb_sync(xvfb);
}

static inline void xvfb_warp(struct xvfb *xvfb, int x, int y)
{
    xcb_warp_pointer(xvfb->client, XCB_NONE, xvfb->screen->root, 0, 0, 0, 0, (int16_t)x,
                     (int16_t)y);
    xvfb_sync(xvfb);
}

#endif
