/* Capture of an X display, driven by damage.
 *
 * The DAMAGE object on the root reports every newly damaged rectangle as an event, so that a grab
 * knows its areas without asking. One grab is one flush and one wait:
 *
 *   subtract the damage │ get each area through shared memory │ pointer │ [cursor image]
 *
 * What is drawn after the subtraction is reported anew; what is drawn before it and lies in an area
 * that is got afterwards needs no second grab.
 *
 * Shared memory holds the complete picture, followed by as much room again for areas narrower than
 * the picture, which are copied into it. The pointer is drawn into the picture last, and taken out
 * again before the server writes to it. */
#include "capture_x11.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static bool is_before(unsigned sequence, unsigned other)
{
    return (int)(sequence - other) < 0;
}

/* ---- Events ---- */

static void handle_damage(struct x11_capture *capture, const xcb_damage_notify_event_t *event,
                          unsigned sequence)
{
    struct pc_rect rect = {event->area.x - capture->area.view.x,
                           event->area.y - capture->area.view.y, event->area.width,
                           event->area.height};

    rect = pc_rect_intersect(rect, capture->area.visible);
    if (pc_rect_empty(rect))
        return;
    if (capture->grabbing && is_before(sequence, capture->subtract_sequence) &&
        pc_damage_rects_contain(&capture->got, rect))
        return;
    pc_damage_rects_add(&capture->pending, rect);
    capture->news = true;
}

static void handle_event(struct x11_capture *capture, const xcb_generic_event_t *event)
{
    const struct x11_display *display = &capture->display;
    int type = event->response_type & 0x7f;

    if (type == display->damage_event + XCB_DAMAGE_NOTIFY) {
        handle_damage(capture, (const void *)event, event->full_sequence);
    } else if (x11_display_is_motion(display, event)) {
        if (!is_before(event->full_sequence, capture->pointer_sequence))
            capture->moved = true;
    } else if (type == display->xfixes_event + XCB_XFIXES_CURSOR_NOTIFY) {
        capture->cursor_stale = capture->news = true;
    } else if (type == XCB_CONFIGURE_NOTIFY || type == XCB_MAP_NOTIFY || type == XCB_UNMAP_NOTIFY ||
               type == XCB_DESTROY_NOTIFY || type == XCB_REPARENT_NOTIFY ||
               (display->randr_event &&
                (type == display->randr_event + XCB_RANDR_SCREEN_CHANGE_NOTIFY ||
                 type == display->randr_event + XCB_RANDR_NOTIFY))) {
        capture->area_stale = capture->news = true;
    }
}

void x11_drain_events(struct x11_capture *capture)
{
    xcb_generic_event_t *event;

    while ((event = xcb_poll_for_event(capture->display.connection)) != NULL) {
        handle_event(capture, event);
        free(event);
    }
    if (xcb_connection_has_error(capture->display.connection))
        capture->display.lost = true;
}

/* Motion does not say where to. Ask, without waiting: the answer makes the fd readable again. */
static void follow_pointer(struct x11_capture *capture)
{
    xcb_connection_t *connection = capture->display.connection;

    if (capture->pointer_asked) {
        void *reply = NULL;
        xcb_generic_error_t *error = NULL;
        if (!xcb_poll_for_reply(connection, capture->pointer_sequence, &reply, &error))
            return;
        capture->pointer_asked = false;
        if (reply && x11_pointer_differs(capture, reply))
            capture->news = true;
        free(reply);
        free(error);
        x11_drain_events(capture);
    }
    if (capture->moved && !capture->news && !capture->display.lost) {
        capture->moved = false;
        capture->pointer_asked = true;
        capture->pointer_sequence = xcb_query_pointer(connection, capture->display.root).sequence;
        xcb_flush(connection);
    }
}

static int capture_fd(struct pc_source *source)
{
    return ((struct x11_capture *)source)->display.fd;
}

static int capture_poll(struct pc_source *source, uint64_t now_ns, uint64_t *damage_ns)
{
    struct x11_capture *capture = (struct x11_capture *)source;
    struct x11_quiet quiet;

    x11_quiet_begin(&quiet);
    x11_drain_events(capture);
    if (capture->cursor)
        follow_pointer(capture);
    x11_quiet_end(&quiet);
    if (capture->display.lost)
        return x11_display_lost(&capture->display);
    if (!capture->news)
        return 0;
    if (capture->damage_ns == 0)
        capture->damage_ns = now_ns;
    *damage_ns = capture->damage_ns;
    return 1;
}

static int capture_grab(struct pc_source *source, uint64_t now_ns, struct pc_source_frame *out)
{
    struct x11_capture *capture = (struct x11_capture *)source;
    struct x11_quiet quiet;

    memset(out, 0, sizeof *out);
    x11_quiet_begin(&quiet);
    int result = x11_grab(capture, now_ns, out);
    x11_quiet_end(&quiet);
    capture->damage_ns = capture->news ? now_ns : 0;
    return result;
}

/* ---- Opening and closing ---- */

static void capture_close(struct pc_source *source)
{
    struct x11_capture *capture = (struct x11_capture *)source;
    struct x11_quiet quiet;

    x11_quiet_begin(&quiet);
    x11_shm_close(&capture->display, &capture->shm);
    x11_display_close(&capture->display);
    x11_quiet_end(&quiet);
    free(capture->cursor);
    free(capture->choice.monitor);
    free(capture);
}

static const struct pc_source_ops capture_ops = {
    .name = "x11",
    .fd = capture_fd,
    .poll = capture_poll,
    .grab = capture_grab,
    .close = capture_close,
};

static int choose(const struct pc_x11_settings *settings, struct x11_choice *choice)
{
    bool region = settings->width != 0 || settings->height != 0;

    if ((settings->monitor != NULL) + (settings->window != 0) + region > 1)
        return pc_fail(-EINVAL, "monitor, window and region (width, height): give one of them");
    if (region && (settings->width < 1 || settings->height < 1 || settings->width > UINT16_MAX ||
                   settings->height > UINT16_MAX || settings->x < INT16_MIN ||
                   settings->x > INT16_MAX || settings->y < INT16_MIN || settings->y > INT16_MAX))
        return pc_fail(-EINVAL, "The region %dx%d%+d%+d is empty or beyond any screen",
                       settings->width, settings->height, settings->x, settings->y);
    choice->window = settings->window;
    choice->region = (struct pc_rect){settings->x, settings->y, settings->width, settings->height};
    if (settings->monitor) {
        choice->monitor = strdup(settings->monitor);
        if (!choice->monitor)
            return pc_fail(-ENOMEM, "Out of memory");
    }
    return 0;
}

/* Ask for all events; what changes from here on is noticed. */
static int select_events(struct x11_capture *capture)
{
    struct x11_display *display = &capture->display;
    xcb_connection_t *connection = display->connection;
    const uint32_t structure = XCB_EVENT_MASK_STRUCTURE_NOTIFY;

    xcb_change_window_attributes(connection, display->root, XCB_CW_EVENT_MASK, &structure);
    if (capture->choice.window)
        xcb_change_window_attributes(connection, capture->choice.window, XCB_CW_EVENT_MASK,
                                     &structure);
    if (display->randr_event)
        xcb_randr_select_input(connection, display->root,
                               XCB_RANDR_NOTIFY_MASK_SCREEN_CHANGE |
                                   XCB_RANDR_NOTIFY_MASK_CRTC_CHANGE |
                                   XCB_RANDR_NOTIFY_MASK_OUTPUT_CHANGE);
    if (capture->cursor) {
        xcb_xfixes_select_cursor_input(connection, display->root,
                                       XCB_XFIXES_CURSOR_NOTIFY_MASK_DISPLAY_CURSOR);
        x11_display_select_motion(display);
    }

    capture->damage = xcb_generate_id(connection);
    xcb_generic_error_t *refused = xcb_request_check(
        connection, xcb_damage_create_checked(connection, capture->damage, display->root,
                                              XCB_DAMAGE_REPORT_LEVEL_DELTA_RECTANGLES));
    bool failed = refused != NULL;
    free(refused);
    if (xcb_connection_has_error(connection))
        display->lost = true;
    if (display->lost)
        return x11_display_lost(display);
    return failed ? pc_fail(-EOPNOTSUPP, "The X server refuses to report damage") : 0;
}

static int open_capture(struct x11_capture *capture, const struct pc_x11_settings *settings)
{
    int result = choose(settings, &capture->choice);
    if (result == 0)
        result = x11_display_open(&capture->display, settings->display);
    if (result == 0)
        result = select_events(capture);
    if (result < 0)
        return result;

    struct x11_area area;
    result = x11_area_find(&capture->display, &capture->choice, &area);
    if (result == -EAGAIN && !capture->choice.window)
        return -EINVAL; /* with x11_area_find()'s words */
    if (result < 0 && result != -EAGAIN)
        return result;
    capture->source.width = area.view.width;
    capture->source.height = area.view.height;
    return result == -EAGAIN ? 0 : x11_renew_area(capture); /* the window may be shown later */
}

int pc_source_open_x11(const struct pc_x11_settings *settings, struct pc_source **out)
{
    struct x11_quiet quiet;

    if (!settings || !out)
        return pc_fail(-EINVAL, "pc_source_open_x11: settings and out must not be NULL");
    struct x11_capture *capture = calloc(1, sizeof *capture);
    if (!capture)
        return pc_fail(-ENOMEM, "Out of memory");
    capture->source.ops = &capture_ops;
    capture->area_stale = capture->whole = capture->cursor_stale = true;
    if (settings->cursor && !(capture->cursor = calloc(1, sizeof *capture->cursor))) {
        free(capture);
        return pc_fail(-ENOMEM, "Out of memory");
    }

    x11_quiet_begin(&quiet);
    int result = open_capture(capture, settings);
    x11_quiet_end(&quiet);
    if (result < 0) {
        capture_close(&capture->source);
        return result;
    }
    capture->news = true;
    *out = &capture->source;
    return 0;
}
