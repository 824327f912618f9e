#include "x11_area.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "damage_rects.h"

/* What to say when a request failed: the display is lost, or this. */
#define FAIL(display, ...)                                                                         \
    ((display)->lost ? x11_display_lost(display) : pc_fail(-EINVAL, __VA_ARGS__))

static int root_size(struct x11_display *display, struct pc_rect *root)
{
    xcb_get_geometry_reply_t *geometry =
        x11_display_reply(display, xcb_get_geometry(display->connection, display->root).sequence);
    if (!geometry)
        return FAIL(display, "The X display does not tell its size");
    *root = (struct pc_rect){0, 0, geometry->width, geometry->height};
    free(geometry);
    return 0;
}

static int find_window(struct x11_display *display, xcb_window_t window, struct pc_rect *view)
{
    xcb_connection_t *c = display->connection;
    unsigned attributes_request = xcb_get_window_attributes(c, window).sequence;
    unsigned place_request = xcb_translate_coordinates(c, window, display->root, 0, 0).sequence;
    xcb_get_geometry_reply_t *geometry =
        x11_display_reply(display, xcb_get_geometry(c, window).sequence);
    xcb_get_window_attributes_reply_t *attributes = x11_display_reply(display, attributes_request);
    xcb_translate_coordinates_reply_t *place = x11_display_reply(display, place_request);
    int result = 0;

    if (!geometry || !attributes || !place)
        result = FAIL(display, "There is no window 0x%x: xwininfo shows a window's id", window);
    else if (attributes->_class == XCB_WINDOW_CLASS_INPUT_ONLY)
        result = pc_fail(-EINVAL, "Window 0x%x takes input only and has no pixels", window);
    else {
        *view = (struct pc_rect){place->dst_x, place->dst_y, geometry->width, geometry->height};
        if (attributes->map_state != XCB_MAP_STATE_VIEWABLE)
            result = pc_fail(-EAGAIN, "Window 0x%x is not shown at present", window);
    }
    free(geometry);
    free(attributes);
    free(place);
    return result;
}

static bool output_is_named(struct x11_display *display, xcb_randr_output_t output,
                            const char *name)
{
    xcb_randr_get_output_info_reply_t *info = x11_display_reply(
        display, xcb_randr_get_output_info(display->connection, output, XCB_CURRENT_TIME).sequence);
    bool same = info && strlen(name) == info->name_len &&
                memcmp(name, xcb_randr_get_output_info_name(info), info->name_len) == 0;
    free(info);
    return same;
}

/* Whether the monitor or one of its outputs has this name; its own name goes to the list. */
static bool monitor_is_named(struct x11_display *display, xcb_randr_monitor_info_t *monitor,
                             const char *name, char *list, size_t list_bytes)
{
    size_t used = strlen(list);
    xcb_get_atom_name_reply_t *atom =
        x11_display_reply(display, xcb_get_atom_name(display->connection, monitor->name).sequence);
    bool same = false;

    if (atom) {
        int length = xcb_get_atom_name_name_length(atom);
        const char *own = xcb_get_atom_name_name(atom);
        same = strlen(name) == (size_t)length && memcmp(name, own, (size_t)length) == 0;
        snprintf(list + used, list_bytes - used, "%s%.*s", used ? ", " : "", length, own);
    }
    free(atom);
    for (int i = 0; !same && i < xcb_randr_monitor_info_outputs_length(monitor); i++)
        same = output_is_named(display, xcb_randr_monitor_info_outputs(monitor)[i], name);
    return same;
}

static int find_monitor(struct x11_display *display, const char *name, struct pc_rect *view)
{
    char list[256] = "";
    bool found = false;

    if (!display->monitors)
        return pc_fail(-EOPNOTSUPP,
                       "The X server has no RandR 1.5, so that monitors cannot be chosen; "
                       "give a region instead");
    xcb_randr_get_monitors_reply_t *monitors = x11_display_reply(
        display, xcb_randr_get_monitors(display->connection, display->root, true).sequence);
    if (!monitors)
        return FAIL(display, "The X server does not list its monitors");
    for (xcb_randr_monitor_info_iterator_t i = xcb_randr_get_monitors_monitors_iterator(monitors);
         i.rem && !found; xcb_randr_monitor_info_next(&i)) {
        found = monitor_is_named(display, i.data, name, list, sizeof list);
        if (found)
            *view = (struct pc_rect){i.data->x, i.data->y, i.data->width, i.data->height};
    }
    free(monitors);
    if (!found)
        return FAIL(display, "There is no monitor \"%s\"; there is: %s", name,
                    *list ? list : "none");
    return 0;
}

int x11_area_find(struct x11_display *display, const struct x11_choice *choice,
                  struct x11_area *area)
{
    struct pc_rect root, view;
    int result = root_size(display, &root), shown = 0;

    if (result < 0)
        return result;
    view = root;
    if (choice->window)
        shown = find_window(display, choice->window, &view);
    else if (choice->monitor)
        shown = find_monitor(display, choice->monitor, &view);
    else if (!pc_rect_empty(choice->region))
        view = pc_rect_intersect(root, choice->region);
    if (shown < 0 && shown != -EAGAIN)
        return shown;

    struct pc_rect on_screen = pc_rect_intersect(root, view);
    if (shown == 0 && pc_rect_empty(on_screen))
        shown = pc_fail(-EAGAIN, "What is to be captured is outside the screen of %d x %d pixels",
                        root.width, root.height);
    if (shown == 0 || choice->window)
        *area = (struct x11_area){
            .view = view,
            .visible = {on_screen.x - view.x, on_screen.y - view.y, on_screen.width,
                        on_screen.height},
        };
    return shown;
}
