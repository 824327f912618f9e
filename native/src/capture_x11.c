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
#include "source.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "damage_rects.h"
#include "x11_area.h"
#include "x11_cursor.h"
#include "x11_display.h"

struct capture {
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

/* One ShmGetImage. */
struct get {
    struct pc_rect rect; /* in the view */
    size_t offset;       /* in the shared memory */
    unsigned sequence;
};

static size_t view_stride(const struct capture *capture)
{
    return (size_t)capture->area.view.width * 4;
}

static struct pc_rect whole_view(const struct capture *capture)
{
    return (struct pc_rect){0, 0, capture->area.view.width, capture->area.view.height};
}

static bool is_before(unsigned sequence, unsigned other)
{
    return (int)(sequence - other) < 0;
}

/* ---- Events ---------------------------------------------------------------------------------- */

static void handle_damage(struct capture *capture, const xcb_damage_notify_event_t *event,
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

static void handle_event(struct capture *capture, const xcb_generic_event_t *event)
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

/* Take what has arrived, and what came along with replies. Never waits. */
static void drain_events(struct capture *capture)
{
    xcb_generic_event_t *event;

    while ((event = xcb_poll_for_event(capture->display.connection)) != NULL) {
        handle_event(capture, event);
        free(event);
    }
    if (xcb_connection_has_error(capture->display.connection))
        capture->display.lost = true;
}

static bool pointer_differs(const struct capture *capture, const xcb_query_pointer_reply_t *pointer)
{
    return x11_cursor_differs(capture->cursor, pointer->root_x - capture->area.view.x,
                              pointer->root_y - capture->area.view.y, capture->area.visible);
}

/* Motion does not say where to. Ask, without waiting: the answer makes the fd readable again. */
static void follow_pointer(struct capture *capture)
{
    xcb_connection_t *connection = capture->display.connection;

    if (capture->pointer_asked) {
        void *reply = NULL;
        xcb_generic_error_t *error = NULL;
        if (!xcb_poll_for_reply(connection, capture->pointer_sequence, &reply, &error))
            return;
        capture->pointer_asked = false;
        if (reply && pointer_differs(capture, reply))
            capture->news = true;
        free(reply);
        free(error);
        drain_events(capture);
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
    return ((struct capture *)source)->display.fd;
}

static int capture_poll(struct pc_source *source, uint64_t now_ns, uint64_t *damage_ns)
{
    struct capture *capture = (struct capture *)source;
    struct x11_quiet quiet;

    x11_quiet_begin(&quiet);
    drain_events(capture);
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

/* ---- Grabbing -------------------------------------------------------------------------------- */

/* Find the area, with memory for it. Errors as x11_area_find() and x11_shm_open(). */
static int renew_area(struct capture *capture)
{
    struct x11_area area;

    capture->area_stale = false; /* events that arrive from here on count */
    int result = x11_area_find(&capture->display, &capture->choice, &area);
    if (result < 0) {
        capture->area_stale = capture->whole = true;
        return result;
    }
    bool same_place = pc_rect_equal(area.view, capture->area.view) &&
                      pc_rect_equal(area.visible, capture->area.visible);
    if (capture->shm.memory && same_place)
        return 0;

    size_t bytes = (size_t)area.view.width * (size_t)area.view.height * 4;
    capture->area = area;
    capture->whole = true;
    if (capture->cursor)
        capture->cursor->drawn = (struct pc_rect){0, 0, 0, 0};
    if (capture->shm.bytes != 2 * bytes) {
        x11_shm_close(&capture->display, &capture->shm);
        result = x11_shm_open(&capture->display, 2 * bytes, &capture->shm);
        if (result < 0) {
            capture->area_stale = true;
            return result;
        }
    }
    memset(capture->shm.memory, 0, bytes); /* what hangs over the screen's edge stays black */
    return 0;
}

/* Which images to get for the pending areas: rows as wide as the picture go straight into it. */
static int plan(struct capture *capture, struct get gets[PC_DAMAGE_RECTS_MAX])
{
    const struct pc_rect view = whole_view(capture), visible = capture->area.visible;
    bool full_rows = visible.width == view.width;
    size_t bytes = view_stride(capture) * (size_t)view.height, scratch = bytes;
    const struct pc_damage_rects *pending = &capture->pending;

    /* Most of the picture, in parts, costs more than all of it. */
    if (pc_damage_rects_area(pending) * 3 > (int64_t)visible.width * visible.height * 2) {
        gets[0].rect = visible;
        gets[0].offset = full_rows ? (size_t)visible.y * view_stride(capture) : bytes;
        return 1;
    }
    for (int i = 0; i < pending->count; i++) {
        struct pc_rect rect = pending->rects[i];

        if (full_rows && rect.width * 2 >= view.width) {
            gets[i].rect = (struct pc_rect){0, rect.y, view.width, rect.height};
            gets[i].offset = (size_t)rect.y * view_stride(capture);
        } else {
            gets[i].rect = rect;
            gets[i].offset = scratch;
            scratch += (size_t)rect.width * (size_t)rect.height * 4;
        }
    }
    return pending->count;
}

static void send_gets(struct capture *capture, struct get *gets, int count)
{
    xcb_connection_t *connection = capture->display.connection;

    for (int i = 0; i < count; i++) {
        struct pc_rect rect = gets[i].rect;
        gets[i].sequence =
            xcb_shm_get_image(connection, capture->display.root,
                              (int16_t)(rect.x + capture->area.view.x),
                              (int16_t)(rect.y + capture->area.view.y), (uint16_t)rect.width,
                              (uint16_t)rect.height, ~0u, XCB_IMAGE_FORMAT_Z_PIXMAP,
                              capture->shm.segment, (uint32_t)gets[i].offset)
                .sequence;
    }
}

/* Wait for the images and put the narrow ones in place. False: one was refused, or all is lost. */
static bool receive_gets(struct capture *capture, const struct get *gets, int count)
{
    size_t stride = view_stride(capture);
    size_t bytes = stride * (size_t)capture->area.view.height;
    bool complete = true;

    for (int i = 0; i < count; i++) {
        struct pc_rect rect = gets[i].rect;
        size_t row = (size_t)rect.width * 4;
        void *reply = x11_display_reply(&capture->display, gets[i].sequence);

        complete = complete && reply;
        free(reply);
        if (!complete || gets[i].offset < bytes)
            continue;
        for (int y = 0; y < rect.height; y++)
            memcpy(capture->shm.memory + (size_t)(rect.y + y) * stride + (size_t)rect.x * 4,
                   capture->shm.memory + gets[i].offset + (size_t)y * row, row);
    }
    return complete;
}

static void receive_cursor_image(struct capture *capture, unsigned sequence)
{
    xcb_xfixes_get_cursor_image_reply_t *image = x11_display_reply(&capture->display, sequence);

    capture->cursor_stale = false;
    if (image && image->length >= (uint32_t)image->width * image->height)
        x11_cursor_set(capture->cursor, xcb_xfixes_get_cursor_image_cursor_image(image),
                       image->width, image->height, image->xhot, image->yhot);
    free(image);
}

/* The pointer's part of a grab: draw it anew when it or the pixels below have changed. Adds to
 * `out` where it looks different. */
static void draw_pointer(struct capture *capture, const xcb_query_pointer_reply_t *pointer,
                         bool undrawn, struct pc_source_frame *out)
{
    struct x11_cursor *cursor = capture->cursor;
    bool differs = pointer_differs(capture, pointer);
    struct pc_rect before = cursor->drawn;

    if (!differs && !undrawn)
        return;
    if (!undrawn)
        x11_cursor_undraw(cursor, capture->shm.memory, view_stride(capture));
    x11_cursor_draw(cursor, capture->shm.memory, view_stride(capture),
                    pointer->root_x - capture->area.view.x, pointer->root_y - capture->area.view.y,
                    capture->area.visible);
    if (differs && !pc_rect_empty(before))
        out->rects[out->rect_count++] = before;
    if (differs && !pc_rect_empty(cursor->drawn))
        out->rects[out->rect_count++] = cursor->drawn;
}

/* One flush, one wait. 0; -EAGAIN: the area has changed meanwhile; -ENOTCONN. */
static int fetch(struct capture *capture, struct pc_source_frame *out)
{
    xcb_connection_t *connection = capture->display.connection;
    struct get gets[PC_DAMAGE_RECTS_MAX];
    unsigned place_request = 0, image_request = 0;
    xcb_translate_coordinates_reply_t *place = NULL;
    xcb_query_pointer_reply_t *pointer = NULL;

    if (capture->whole) {
        capture->pending.count = 0;
        pc_damage_rects_add(&capture->pending, capture->area.visible);
    }
    int count = plan(capture, gets);
    capture->got = capture->pending;
    capture->pending.count = 0;
    if (count == 0 && !capture->cursor && !capture->choice.window)
        return 0;

    if (count > 0) {
        if (capture->cursor)
            x11_cursor_undraw(capture->cursor, capture->shm.memory, view_stride(capture));
        capture->subtract_sequence =
            xcb_damage_subtract(connection, capture->damage, XCB_NONE, XCB_NONE).sequence;
        send_gets(capture, gets, count);
    }
    if (capture->choice.window)
        place_request = xcb_translate_coordinates(connection, capture->choice.window,
                                                  capture->display.root, 0, 0)
                            .sequence;
    if (capture->cursor) {
        capture->moved = false;
        capture->pointer_sequence = xcb_query_pointer(connection, capture->display.root).sequence;
        if (capture->cursor_stale)
            image_request = xcb_xfixes_get_cursor_image(connection).sequence;
    }

    bool complete = receive_gets(capture, gets, count);
    if (capture->choice.window) {
        place = x11_display_reply(&capture->display, place_request);
        complete = complete && place && place->dst_x == capture->area.view.x &&
                   place->dst_y == capture->area.view.y;
    }
    if (capture->cursor) {
        pointer = x11_display_reply(&capture->display, capture->pointer_sequence);
        if (capture->cursor_stale)
            receive_cursor_image(capture, image_request);
    }
    for (int i = 0; i < capture->got.count; i++)
        out->rects[out->rect_count++] = capture->got.rects[i];
    if (pointer && complete)
        draw_pointer(capture, pointer, count > 0, out);
    free(place);
    free(pointer);
    if (capture->display.lost)
        return x11_display_lost(&capture->display);
    return complete ? 0 : pc_fail(-EAGAIN, "The captured area is changing");
}

/* Grab with an area that is known, finding it again once when it turns out to have changed. */
static int grab_area(struct capture *capture, struct pc_source_frame *out)
{
    int result = -EAGAIN;

    for (int attempt = 0; attempt < 2 && result == -EAGAIN; attempt++) {
        out->rect_count = 0;
        if (capture->area_stale) {
            result = renew_area(capture);
            if (result < 0)
                return result;
        }
        result = fetch(capture, out);
        if (result < 0)
            capture->area_stale = capture->whole = true;
    }
    return result;
}

static int grab_now(struct capture *capture, uint64_t now_ns, struct pc_source_frame *out)
{
    drain_events(capture);
    if (capture->pointer_asked)
        xcb_discard_reply(capture->display.connection, capture->pointer_sequence);
    capture->pointer_asked = capture->news = false;
    if (capture->display.lost)
        return x11_display_lost(&capture->display);

    int result = grab_area(capture, out);
    if (capture->display.lost)
        return x11_display_lost(&capture->display);
    if (result == -EINVAL && capture->choice.window)
        return pc_fail(-ENOTCONN, "The captured window 0x%x was closed", capture->choice.window);
    if (result < 0)
        return -EAGAIN; /* a monitor may be plugged in again, memory may be freed */

    if (capture->whole) {
        out->rects[0] = whole_view(capture);
        out->rect_count = 1;
    }
    out->pixels = capture->shm.memory;
    out->stride = view_stride(capture);
    out->width = capture->area.view.width;
    out->height = capture->area.view.height;
    out->serial = capture->serial++;
    if (out->rect_count > 0)
        out->damage_ns = capture->damage_ns ? capture->damage_ns : now_ns;
    capture->whole = false;

    capture->grabbing = capture->got.count > 0;
    drain_events(capture); /* the fd does not show what came along with the answers */
    capture->grabbing = false;
    return 0;
}

static int capture_grab(struct pc_source *source, uint64_t now_ns, struct pc_source_frame *out)
{
    struct capture *capture = (struct capture *)source;
    struct x11_quiet quiet;

    memset(out, 0, sizeof *out);
    x11_quiet_begin(&quiet);
    int result = grab_now(capture, now_ns, out);
    x11_quiet_end(&quiet);
    capture->damage_ns = capture->news ? now_ns : 0;
    return result;
}

/* ---- Opening and closing --------------------------------------------------------------------- */

static void capture_close(struct pc_source *source)
{
    struct capture *capture = (struct capture *)source;
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
static int select_events(struct capture *capture)
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

static int open_capture(struct capture *capture, const struct pc_x11_settings *settings)
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
    return result == -EAGAIN ? 0 : renew_area(capture); /* the window may be shown later */
}

int pc_source_open_x11(const struct pc_x11_settings *settings, struct pc_source **out)
{
    struct x11_quiet quiet;

    if (!settings || !out)
        return pc_fail(-EINVAL, "pc_source_open_x11: settings and out must not be NULL");
    struct capture *capture = calloc(1, sizeof *capture);
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
