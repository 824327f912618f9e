/* Taking the picture: what to get, one flush, one wait, and the pointer. See capture_x11.c.
 *
 * A large area is got in bands, all asked for at once: while the server copies one, whoever listens
 * (pc_source.on_area) works on the one before. */
#include "capture_x11.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define BANDS       4            /* of a large area */
#define BAND_PIXELS (128 * 1024) /* smaller bands cost more than they give */
#define GETS_MAX    (PC_DAMAGE_RECTS_MAX * BANDS)

/* One ShmGetImage. */
struct get {
    struct pc_rect rect; /* in the view */
    size_t offset;       /* in the shared memory */
    unsigned sequence;
};

static size_t view_stride(const struct x11_capture *capture)
{
    return (size_t)capture->area.view.width * 4;
}

static struct pc_rect whole_view(const struct x11_capture *capture)
{
    return (struct pc_rect){0, 0, capture->area.view.width, capture->area.view.height};
}

int x11_renew_area(struct x11_capture *capture)
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

/* Get full rows, which go straight into the picture, in bands. Returns how many gets that is. */
static int plan_rows(const struct x11_capture *capture, struct pc_rect rows, struct get *gets)
{
    int height = (rows.height + BANDS - 1) / BANDS, least = BAND_PIXELS / rows.width, count = 0;

    height = (height > least ? height : least) + 1;
    for (int y = rows.y, end = rows.y + rows.height; y < end; count++) {
        int next = (y + height) & ~1; /* bands meet between chroma samples */

        next = next > end || next <= y ? end : next;
        gets[count].rect = (struct pc_rect){rows.x, y, rows.width, next - y};
        gets[count].offset = (size_t)y * view_stride(capture);
        y = next;
    }
    return count;
}

/* Which images to get for the pending areas: rows as wide as the picture go straight into it. */
static int plan(struct x11_capture *capture, struct get gets[GETS_MAX])
{
    const struct pc_rect view = whole_view(capture), visible = capture->area.visible;
    bool full_rows = visible.width == view.width;
    size_t bytes = view_stride(capture) * (size_t)view.height, scratch = bytes;
    const struct pc_damage_rects *pending = &capture->pending;

    /* Most of the picture, in parts, costs more than all of it. */
    if (pc_damage_rects_area(pending) * 3 > (int64_t)visible.width * visible.height * 2) {
        if (full_rows)
            return plan_rows(capture, visible, gets);
        gets[0] = (struct get){.rect = visible, .offset = bytes};
        return 1;
    }
    int count = 0;
    for (int i = 0; i < pending->count; i++) {
        struct pc_rect rect = pending->rects[i];

        if (full_rows && rect.width * 2 >= view.width) {
            count += plan_rows(capture, (struct pc_rect){0, rect.y, view.width, rect.height},
                               gets + count);
        } else {
            gets[count++] = (struct get){.rect = rect, .offset = scratch};
            scratch += (size_t)rect.width * (size_t)rect.height * 4;
        }
    }
    return count;
}

static void announce(const struct x11_capture *capture, const struct pc_source_frame *frame,
                     struct pc_rect area)
{
    if (capture->source.on_area)
        capture->source.on_area(capture->source.area_context, frame, area);
}

static void send_gets(struct x11_capture *capture, struct get *gets, int count)
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
static bool receive_gets(struct x11_capture *capture, const struct get *gets, int count,
                         const struct pc_source_frame *frame)
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
        if (!complete)
            continue;
        if (gets[i].offset >= bytes)
            for (int y = 0; y < rect.height; y++)
                memcpy(capture->shm.memory + (size_t)(rect.y + y) * stride + (size_t)rect.x * 4,
                       capture->shm.memory + gets[i].offset + (size_t)y * row, row);
        announce(capture, frame, rect);
    }
    return complete;
}

static void receive_cursor_image(struct x11_capture *capture, unsigned sequence)
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
static void draw_pointer(struct x11_capture *capture, const xcb_query_pointer_reply_t *pointer,
                         bool undrawn, struct pc_source_frame *out)
{
    struct x11_cursor *cursor = capture->cursor;
    bool differs = x11_pointer_differs(capture, pointer);
    struct pc_rect before = cursor->drawn;

    if (!differs && !undrawn)
        return;
    if (!undrawn)
        x11_cursor_undraw(cursor, capture->shm.memory, view_stride(capture));
    x11_cursor_draw(cursor, capture->shm.memory, view_stride(capture),
                    pointer->root_x - capture->area.view.x, pointer->root_y - capture->area.view.y,
                    capture->area.visible);
    if (differs && !pc_rect_empty(before)) {
        out->rects[out->rect_count++] = before;
        announce(capture, out, before);
    }
    if (differs && !pc_rect_empty(cursor->drawn))
        out->rects[out->rect_count++] = cursor->drawn;
    if (!pc_rect_empty(cursor->drawn))
        announce(capture, out, cursor->drawn);
}

/* One flush, one wait. 0; -EAGAIN: the area has changed meanwhile; -ENOTCONN. */
static int fetch(struct x11_capture *capture, struct pc_source_frame *out)
{
    xcb_connection_t *connection = capture->display.connection;
    struct get gets[GETS_MAX];
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

    bool complete = receive_gets(capture, gets, count, out);
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
static int grab_area(struct x11_capture *capture, struct pc_source_frame *out)
{
    int result = -EAGAIN;

    for (int attempt = 0; attempt < 2 && result == -EAGAIN; attempt++) {
        out->rect_count = 0;
        if (capture->area_stale) {
            result = x11_renew_area(capture);
            if (result < 0)
                return result;
        }
        out->pixels = capture->shm.memory;
        out->stride = view_stride(capture);
        out->width = capture->area.view.width;
        out->height = capture->area.view.height;
        result = fetch(capture, out);
        if (result < 0)
            capture->area_stale = capture->whole = true;
    }
    return result;
}

int x11_grab(struct x11_capture *capture, uint64_t now_ns, struct pc_source_frame *out)
{
    x11_drain_events(capture);
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
        if (!pc_rect_equal(capture->area.visible, out->rects[0]))
            announce(capture, out, out->rects[0]); /* what hangs over the screen's edge, too */
    }
    out->announced = capture->source.on_area != NULL;
    out->serial = capture->serial++;
    if (out->rect_count > 0)
        out->damage_ns = capture->damage_ns ? capture->damage_ns : now_ns;
    capture->whole = false;

    capture->grabbing = capture->got.count > 0;
    x11_drain_events(capture); /* the fd does not show what came along with the answers */
    capture->grabbing = false;
    return 0;
}
