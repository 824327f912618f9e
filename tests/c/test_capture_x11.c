#include <stdio.h>

#include <xcb/randr.h>

#include "damage_rects.h"
#include "harness.h"
#include "source.h"
#include "x11_display.h"
#include "xvfb.h"

enum { WIDTH = 640, HEIGHT = 480 };

static uint64_t seed = 0xcafe;

static uint32_t pixel(const struct pc_source_frame *frame, int x, int y)
{
    const uint8_t *p = frame->pixels + (size_t)y * frame->stride + (size_t)x * 4;
    return (uint32_t)p[2] << 16 | (uint32_t)p[1] << 8 | p[0];
}

static bool is_whole(const struct pc_source_frame *frame)
{
    return frame->rect_count == 1 &&
           pc_rect_equal(frame->rects[0], (struct pc_rect){0, 0, frame->width, frame->height});
}

/* Until poll() says something else than "nothing": that, or 0 after five seconds. */
static int wait_news(struct pc_source *source, uint64_t now, uint64_t *damage_ns)
{
    for (;;) {
        int result = source->ops->poll(source, now, damage_ns);
        struct pollfd readable = {.fd = source->ops->fd(source), .events = POLLIN};
        if (result != 0 || poll(&readable, 1, 5000) <= 0)
            return result;
    }
}

static struct pc_source *open_with(const struct xvfb *xvfb, struct pc_x11_settings settings)
{
    struct pc_source *source = NULL;

    settings.display = xvfb->name;
    int result = pc_source_open_x11(&settings, &source);
    if (result < 0)
        printf("  %s\n", pc_error_text());
    CHECK_EQ(result, 0);
    return source;
}

/* Everything so far, seen: afterwards nothing is pending. */
static void settle(struct xvfb *xvfb, struct pc_source *source, struct pc_source_frame *frame)
{
    uint64_t damage_ns;

    xvfb_sync(xvfb);
    do
        CHECK_EQ(source->ops->grab(source, 1, frame), 0);
    while (source->ops->poll(source, 1, &damage_ns) == 1);
}

static void test_pixels_and_rects(void)
{
    struct xvfb xvfb;
    struct pc_source_frame frame;
    uint64_t damage_ns = 0;
    int width, height;

    CHECK(xvfb_start(&xvfb, WIDTH, HEIGHT, 24, false));
    xvfb_fill(&xvfb, xvfb.screen->root, 0, 0, WIDTH, HEIGHT, 0x102030);
    xvfb_sync(&xvfb);
    struct pc_source *source = open_with(&xvfb, (struct pc_x11_settings){0});
    CHECK_EQ(pc_source_size(source, &width, &height), 0);
    CHECK_EQ(width, WIDTH);
    CHECK_EQ(height, HEIGHT);

    CHECK_EQ(source->ops->grab(source, 100, &frame), 0);
    CHECK(is_whole(&frame));
    CHECK_EQ(frame.damage_ns, 100);
    CHECK_EQ(frame.serial, 0);
    CHECK_EQ(pixel(&frame, 0, 0), 0x102030);
    CHECK_EQ(pixel(&frame, WIDTH - 1, HEIGHT - 1), 0x102030);

    CHECK_EQ(source->ops->grab(source, 200, &frame), 0);
    CHECK_EQ(frame.rect_count, 0);
    CHECK_EQ(frame.damage_ns, 0);
    CHECK_EQ(frame.serial, 1);
    CHECK_EQ(source->ops->poll(source, 250, &damage_ns), 0);

    xvfb_fill(&xvfb, xvfb.screen->root, 100, 50, 64, 32, 0xff8040);
    xcb_flush(xvfb.client);
    CHECK_EQ(wait_news(source, 300, &damage_ns), 1);
    CHECK_EQ(damage_ns, 300);
    CHECK_EQ(source->ops->poll(source, 350, &damage_ns), 1);
    CHECK_EQ(damage_ns, 300);
    CHECK_EQ(source->ops->grab(source, 400, &frame), 0);
    CHECK_EQ(frame.damage_ns, 300);
    CHECK_EQ(frame.rect_count, 1);
    CHECK(pc_rect_equal(frame.rects[0], (struct pc_rect){100, 50, 64, 32}));
    CHECK_EQ(pixel(&frame, 100, 50), 0xff8040);
    CHECK_EQ(pixel(&frame, 163, 81), 0xff8040);
    CHECK_EQ(pixel(&frame, 99, 50), 0x102030);
    CHECK_EQ(pixel(&frame, 164, 81), 0x102030);

    uint8_t *copy = malloc(WIDTH * HEIGHT * 4);
    CHECK_EQ(pc_source_snapshot(source, copy, WIDTH * HEIGHT * 4 - 1, &width, &height), -ENOSPC);
    CHECK_EQ(pc_source_snapshot(source, copy, WIDTH * HEIGHT * 4, &width, &height), 0);
    CHECK_BYTES(copy, frame.pixels, WIDTH * HEIGHT * 4);
    free(copy);
    pc_source_close(source);
    xvfb_stop(&xvfb);
}

/* As an encoder sees it: the reported areas of one picture after another. */
static void copy_rects(uint8_t *to, const struct pc_source_frame *frame)
{
    for (int i = 0; i < frame->rect_count; i++) {
        const struct pc_rect *r = &frame->rects[i];
        for (int y = r->y; y < r->y + r->height; y++)
            memcpy(to + ((size_t)y * WIDTH + (size_t)r->x) * 4,
                   frame->pixels + (size_t)y * frame->stride + (size_t)r->x * 4,
                   (size_t)r->width * 4);
    }
}

static void copy_area(void *context, const struct pc_source_frame *frame, struct pc_rect area)
{
    for (int y = area.y; y < area.y + area.height; y++)
        memcpy((uint8_t *)context + ((size_t)y * WIDTH + (size_t)area.x) * 4,
               frame->pixels + (size_t)y * frame->stride + (size_t)area.x * 4,
               (size_t)area.width * 4);
}

/* Whatever is drawn, and whether or not it is complete when the picture is taken: in the end the
 * picture equals what the server has, and so do the reported areas put together. */
static void test_random_drawing(void)
{
    struct xvfb xvfb;
    struct pc_source_frame frame;
    uint64_t damage_ns;
    uint8_t *shadow = calloc(WIDTH * HEIGHT, 4);
    int wrong_pictures = 0, wrong_areas = 0, areas = 0;

    CHECK(xvfb_start(&xvfb, WIDTH, HEIGHT, 24, false));
    struct pc_source *source = open_with(&xvfb, (struct pc_x11_settings){0});
    CHECK_EQ(source->ops->grab(source, 1, &frame), 0);
    copy_rects(shadow, &frame);
    for (int round = 0; round < 500; round++) {
        int fills = 1 + (int)(harness_random(&seed) % 40);
        for (int i = 0; i < fills; i++) {
            int limit = harness_random(&seed) % 8 == 0 ? WIDTH : 60;
            xvfb_fill(&xvfb, xvfb.screen->root, (int)(harness_random(&seed) % WIDTH),
                      (int)(harness_random(&seed) % HEIGHT),
                      1 + (int)(harness_random(&seed) % (uint64_t)limit),
                      1 + (int)(harness_random(&seed) % (uint64_t)limit),
                      (uint32_t)harness_random(&seed) & 0xffffff);
            if (harness_random(&seed) % 4 == 0)
                xcb_flush(xvfb.client);
        }
        if (round % 2) {
            xvfb_sync(&xvfb);
            CHECK_EQ(wait_news(source, 1, &damage_ns), 1);
            CHECK_EQ(source->ops->grab(source, 1, &frame), 0);
            copy_rects(shadow, &frame);
            CHECK_EQ(source->ops->poll(source, 1, &damage_ns), 0);
        } else { /* several grabs while it is being drawn */
            xcb_get_input_focus_cookie_t done = xcb_get_input_focus(xvfb.client);
            void *reply = NULL;
            xcb_flush(xvfb.client);
            for (bool drawn = false; !drawn || source->ops->poll(source, 1, &damage_ns) == 1;) {
                drawn = drawn || xcb_poll_for_reply(xvfb.client, done.sequence, &reply, NULL);
                CHECK_EQ(source->ops->grab(source, 1, &frame), 0);
                copy_rects(shadow, &frame);
            }
            free(reply);
        }
        areas += frame.rect_count;
        xcb_get_image_reply_t *image =
            xcb_get_image_reply(xvfb.client,
                                xcb_get_image(xvfb.client, XCB_IMAGE_FORMAT_Z_PIXMAP,
                                              xvfb.screen->root, 0, 0, WIDTH, HEIGHT, ~0u),
                                NULL);
        wrong_pictures += memcmp(xcb_get_image_data(image), frame.pixels, WIDTH * HEIGHT * 4) != 0;
        wrong_areas += memcmp(xcb_get_image_data(image), shadow, WIDTH * HEIGHT * 4) != 0;
        free(image);
    }
    CHECK_EQ(wrong_pictures, 0);
    CHECK_EQ(wrong_areas, 0);
    CHECK(areas > 0);
    free(shadow);
    pc_source_close(source);
    xvfb_stop(&xvfb);
}

/* As old servers need it. */
static void test_sysv_memory(void)
{
    struct xvfb xvfb;
    struct x11_display display;
    struct x11_shm shm = {.memory = NULL};

    CHECK(xvfb_start(&xvfb, WIDTH, HEIGHT, 24, false));
    xvfb_fill(&xvfb, xvfb.screen->root, 0, 0, WIDTH, HEIGHT, 0x445566);
    xvfb_sync(&xvfb);
    CHECK_EQ(x11_display_open(&display, xvfb.name), 0);
    CHECK(display.shm_fd);
    display.shm_fd = false;
    CHECK_EQ(x11_shm_open(&display, 64 * 64 * 4, &shm), 0);
    free(x11_display_reply(&display,
                           xcb_shm_get_image(display.connection, display.root, 0, 0, 64, 64, ~0u,
                                             XCB_IMAGE_FORMAT_Z_PIXMAP, shm.segment, 0)
                               .sequence));
    CHECK_BYTES(shm.memory + 64 * 64 * 4 - 4, "\x66\x55\x44", 3);
    x11_shm_close(&display, &shm);
    x11_display_close(&display);
    xvfb_stop(&xvfb);
}

/* Servers share memory with clients on their own machine's socket only. */
static void test_tcp_is_refused_in_words(void)
{
    struct xvfb xvfb;
    struct pc_source *source = NULL;
    char name[32];

    CHECK(xvfb_start(&xvfb, WIDTH, HEIGHT, 24, true));
    snprintf(name, sizeof name, "127.0.0.1%s", xvfb.name);
    CHECK_EQ(pc_source_open_x11(&(struct pc_x11_settings){.display = name}, &source), -EOPNOTSUPP);
    CHECK(strstr(pc_error_text(), "share memory"));
    xvfb_stop(&xvfb);
}

/* A cursor that is a red square of 8 x 8 with its hotspot at (2, 3); or, `empty`, nothing. */
static void set_cursor(struct xvfb *xvfb, bool empty)
{
    xcb_connection_t *c = xvfb->client;
    xcb_pixmap_t mask = xcb_generate_id(c);
    xcb_gcontext_t gc = xcb_generate_id(c);
    xcb_cursor_t cursor = xcb_generate_id(c);
    const uint32_t bit = empty ? 0 : 1;

    xcb_create_pixmap(c, 1, mask, xvfb->screen->root, 8, 8);
    xcb_create_gc(c, gc, mask, XCB_GC_FOREGROUND, &bit);
    xcb_poly_fill_rectangle(c, mask, gc, 1, &(xcb_rectangle_t){0, 0, 8, 8});
    xcb_create_cursor(c, cursor, mask, mask, 0xffff, 0, 0, 0, 0, 0, 2, 3);
    xcb_change_window_attributes(c, xvfb->screen->root, XCB_CW_CURSOR, &cursor);
    xcb_free_pixmap(c, mask);
    xcb_free_gc(c, gc);
    xvfb_sync(xvfb);
}

static void check_square(const struct pc_source_frame *frame, int x, int y, uint32_t colour)
{
    CHECK_EQ(pixel(frame, x - 2, y - 3), colour);
    CHECK_EQ(pixel(frame, x + 5, y + 4), colour);
    CHECK_EQ(pixel(frame, x - 3, y), 0x336699);
    CHECK_EQ(pixel(frame, x, y + 5), 0x336699);
}

static void test_cursor(void)
{
    struct xvfb xvfb;
    struct pc_source_frame frame;
    uint64_t damage_ns;

    CHECK(xvfb_start(&xvfb, WIDTH, HEIGHT, 24, false));
    xvfb_fill(&xvfb, xvfb.screen->root, 0, 0, WIDTH, HEIGHT, 0x336699);
    set_cursor(&xvfb, false);
    xvfb_warp(&xvfb, 100, 100);
    struct pc_source *source = open_with(&xvfb, (struct pc_x11_settings){.cursor = true});
    settle(&xvfb, source, &frame);
    check_square(&frame, 100, 100, 0xff0000);

    /* It moves, and nothing else. */
    xvfb_move_mouse(&xvfb, 300, 200);
    CHECK_EQ(wait_news(source, 500, &damage_ns), 1);
    CHECK_EQ(source->ops->grab(source, 600, &frame), 0);
    CHECK_EQ(frame.damage_ns, 500);
    check_square(&frame, 300, 200, 0xff0000);
    check_square(&frame, 100, 100, 0x336699);
    CHECK_EQ(frame.rect_count, 2);
    CHECK(pc_rect_equal(frame.rects[0], (struct pc_rect){98, 97, 8, 8}));
    CHECK(pc_rect_equal(frame.rects[1], (struct pc_rect){298, 197, 8, 8}));

    /* Something is drawn below it. */
    xvfb_fill(&xvfb, xvfb.screen->root, 290, 190, 20, 20, 0x00ff00);
    xcb_flush(xvfb.client);
    CHECK_EQ(wait_news(source, 700, &damage_ns), 1);
    CHECK_EQ(source->ops->grab(source, 700, &frame), 0);
    CHECK_EQ(frame.rect_count, 1);
    CHECK_EQ(pixel(&frame, 300, 200), 0xff0000);
    CHECK_EQ(pixel(&frame, 307, 200), 0x00ff00);

    /* A jump that raw motion does not show is found by the next grab, in the corner. */
    xvfb_warp(&xvfb, WIDTH - 1, HEIGHT - 1);
    CHECK_EQ(source->ops->grab(source, 800, &frame), 0);
    CHECK_EQ(frame.rect_count, 2);
    CHECK_EQ(frame.damage_ns, 800);
    CHECK(pc_rect_equal(frame.rects[1], (struct pc_rect){WIDTH - 3, HEIGHT - 4, 3, 4}));
    CHECK_EQ(pixel(&frame, 300, 200), 0x00ff00);
    CHECK_EQ(pixel(&frame, WIDTH - 1, HEIGHT - 1), 0xff0000);

    /* An invisible cursor: one last change where it was, then moving it is no news. */
    xvfb_warp(&xvfb, 50, 50);
    settle(&xvfb, source, &frame);
    set_cursor(&xvfb, true);
    CHECK_EQ(wait_news(source, 900, &damage_ns), 1);
    CHECK_EQ(source->ops->grab(source, 900, &frame), 0);
    CHECK_EQ(frame.rect_count, 1);
    check_square(&frame, 50, 50, 0x336699);
    xvfb_move_mouse(&xvfb, 60, 60);
    xvfb_fill(&xvfb, xvfb.screen->root, 500, 400, 4, 4, 0);
    xcb_flush(xvfb.client);
    CHECK_EQ(wait_news(source, 1000, &damage_ns), 1);
    CHECK_EQ(source->ops->grab(source, 1000, &frame), 0);
    CHECK_EQ(frame.rect_count, 1);
    CHECK(pc_rect_equal(frame.rects[0], (struct pc_rect){500, 400, 4, 4}));
    pc_source_close(source);

    /* Not asked for: not drawn, not reported. */
    set_cursor(&xvfb, false);
    source = open_with(&xvfb, (struct pc_x11_settings){0});
    settle(&xvfb, source, &frame);
    xvfb_move_mouse(&xvfb, 200, 300);
    CHECK_EQ(source->ops->grab(source, 1, &frame), 0);
    CHECK_EQ(frame.rect_count, 0);
    check_square(&frame, 200, 300, 0x336699);
    pc_source_close(source);
    xvfb_stop(&xvfb);
}

static void test_region(void)
{
    struct xvfb xvfb;
    struct pc_source_frame frame;
    struct pc_source *none = NULL;
    uint64_t damage_ns;

    CHECK(xvfb_start(&xvfb, WIDTH, HEIGHT, 24, false));
    struct pc_source *source =
        open_with(&xvfb, (struct pc_x11_settings){.x = 101, .y = 33, .width = 57, .height = 45});
    CHECK_EQ(source->width, 57);
    settle(&xvfb, source, &frame);
    CHECK_EQ(frame.width, 57);
    CHECK_EQ(frame.height, 45);

    xvfb_fill(&xvfb, xvfb.screen->root, 0, 0, 101, HEIGHT, 0xffffff); /* beside it */
    xvfb_fill(&xvfb, xvfb.screen->root, 150, 70, 100, 100, 0xabcdef);
    xcb_flush(xvfb.client);
    CHECK_EQ(wait_news(source, 1, &damage_ns), 1);
    CHECK_EQ(source->ops->grab(source, 1, &frame), 0);
    CHECK_EQ(frame.rect_count, 1);
    CHECK(pc_rect_equal(frame.rects[0], (struct pc_rect){49, 37, 8, 8}));
    CHECK_EQ(pixel(&frame, 49, 37), 0xabcdef);
    CHECK_EQ(pixel(&frame, 48, 37), 0);
    CHECK_EQ(pixel(&frame, 0, 0), 0);
    pc_source_close(source);

    source = open_with(
        &xvfb, (struct pc_x11_settings){.x = WIDTH - 10, .y = -5, .width = 100, .height = 100});
    CHECK_EQ(source->width, 10); /* what is on the screen */
    CHECK_EQ(source->height, 95);
    pc_source_close(source);

    struct pc_x11_settings bad[] = {
        {.display = xvfb.name, .x = WIDTH, .width = 10, .height = 10},
        {.display = xvfb.name, .width = 10},
        {.display = xvfb.name, .width = -10, .height = 10},
        {.display = xvfb.name, .width = 10, .height = 10, .window = 5},
        {.display = xvfb.name, .window = 0x7654321},
        {.display = xvfb.name, .monitor = "HDMI-9"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        CHECK_EQ(pc_source_open_x11(&bad[i], &none), -EINVAL);
    CHECK(strstr(pc_error_text(), "HDMI-9") && strstr(pc_error_text(), "screen"));
    xvfb_stop(&xvfb);
}

static void configure(struct xvfb *xvfb, xcb_window_t window, int x, int y, int width, int height)
{
    const uint32_t values[] = {(uint32_t)x, (uint32_t)y, (uint32_t)width, (uint32_t)height};
    xcb_configure_window(xvfb->client, window,
                         XCB_CONFIG_WINDOW_X | XCB_CONFIG_WINDOW_Y | XCB_CONFIG_WINDOW_WIDTH |
                             XCB_CONFIG_WINDOW_HEIGHT,
                         values);
    xvfb_sync(xvfb);
}

static void test_window(void)
{
    struct xvfb xvfb;
    struct pc_source_frame frame;
    uint64_t damage_ns;
    const uint32_t background = 0xc08040;

    CHECK(xvfb_start(&xvfb, WIDTH, HEIGHT, 24, false));
    xcb_window_t window = xcb_generate_id(xvfb.client);
    xcb_create_window(xvfb.client, XCB_COPY_FROM_PARENT, window, xvfb.screen->root, 20, 30, 200,
                      100, 0, XCB_WINDOW_CLASS_INPUT_OUTPUT, XCB_COPY_FROM_PARENT,
                      XCB_CW_BACK_PIXEL, &background);
    xvfb_sync(&xvfb);

    struct pc_source *source = open_with(&xvfb, (struct pc_x11_settings){.window = window});
    CHECK_EQ(source->width, 200);
    CHECK_EQ(source->height, 100);
    CHECK_EQ(source->ops->grab(source, 1, &frame), -EAGAIN);
    CHECK(strstr(pc_error_text(), "not shown"));

    xcb_map_window(xvfb.client, window);
    xcb_flush(xvfb.client);
    CHECK_EQ(wait_news(source, 2, &damage_ns), 1);
    CHECK_EQ(source->ops->grab(source, 2, &frame), 0);
    CHECK(is_whole(&frame));
    CHECK_EQ(frame.width, 200);
    settle(&xvfb, source, &frame);
    CHECK_EQ(pixel(&frame, 0, 0), background);
    CHECK_EQ(pixel(&frame, 199, 99), background);

    xvfb_fill(&xvfb, window, 10, 20, 5, 6, 0x0000ff);
    xcb_flush(xvfb.client);
    CHECK_EQ(wait_news(source, 3, &damage_ns), 1);
    CHECK_EQ(source->ops->grab(source, 3, &frame), 0);
    CHECK(pc_rect_equal(frame.rects[0], (struct pc_rect){10, 20, 5, 6}));

    /* Half of it leaves the screen: same size, black where there is nothing. */
    configure(&xvfb, window, -100, 30, 200, 100);
    CHECK_EQ(source->ops->grab(source, 4, &frame), 0);
    CHECK(is_whole(&frame));
    CHECK_EQ(frame.width, 200);
    CHECK_EQ(pixel(&frame, 99, 50), 0);
    CHECK_EQ(pixel(&frame, 100, 50), background);
    settle(&xvfb, source, &frame);
    xvfb_fill(&xvfb, window, 90, 20, 20, 6, 0x00ff00);
    xcb_flush(xvfb.client);
    CHECK_EQ(wait_news(source, 5, &damage_ns), 1);
    CHECK_EQ(source->ops->grab(source, 5, &frame), 0);
    CHECK(pc_rect_equal(frame.rects[0], (struct pc_rect){100, 20, 10, 6}));
    CHECK_EQ(pixel(&frame, 100, 20), 0x00ff00);

    /* Off the screen: nothing to see; back, and larger. */
    configure(&xvfb, window, WIDTH + 10, 0, 200, 100);
    CHECK_EQ(source->ops->grab(source, 6, &frame), -EAGAIN);
    configure(&xvfb, window, 5, 6, 301, 222);
    CHECK_EQ(wait_news(source, 7, &damage_ns), 1);
    CHECK_EQ(source->ops->grab(source, 7, &frame), 0);
    CHECK(is_whole(&frame));
    CHECK_EQ(frame.width, 301);
    CHECK_EQ(frame.height, 222);
    settle(&xvfb, source, &frame);
    CHECK_EQ(pixel(&frame, 300, 221), background);

    xcb_unmap_window(xvfb.client, window);
    xcb_flush(xvfb.client);
    CHECK_EQ(wait_news(source, 8, &damage_ns), 1);
    CHECK_EQ(source->ops->grab(source, 8, &frame), -EAGAIN);
    xcb_destroy_window(xvfb.client, window);
    xvfb_sync(&xvfb);
    CHECK_EQ(wait_news(source, 9, &damage_ns), 1);
    CHECK_EQ(source->ops->grab(source, 9, &frame), -ENOTCONN);
    CHECK(strstr(pc_error_text(), "closed"));
    pc_source_close(source);
    xvfb_stop(&xvfb);
}

/* Make the screen smaller, as xrandr does: a new mode; controller off, screen size, controller on.
 */
static void resize_screen(struct xvfb *xvfb, int width, int height)
{
    xcb_connection_t *c = xvfb->client;
    xcb_window_t root = xvfb->screen->root;
    xcb_randr_get_screen_resources_reply_t *resources =
        xcb_randr_get_screen_resources_reply(c, xcb_randr_get_screen_resources(c, root), NULL);
    xcb_randr_crtc_t crtc = xcb_randr_get_screen_resources_crtcs(resources)[0];
    xcb_randr_output_t output = xcb_randr_get_screen_resources_outputs(resources)[0];
    char name[12];
    xcb_randr_mode_info_t info = {
        .width = (uint16_t)width,
        .height = (uint16_t)height,
        .dot_clock = 10000000,
        .hsync_start = (uint16_t)(width + 10),
        .hsync_end = (uint16_t)(width + 20),
        .htotal = (uint16_t)(width + 100),
        .vsync_start = (uint16_t)(height + 10),
        .vsync_end = (uint16_t)(height + 20),
        .vtotal = (uint16_t)(height + 100),
        .name_len = (uint16_t)snprintf(name, sizeof name, "%d", width),
    };
    xcb_randr_create_mode_reply_t *mode = xcb_randr_create_mode_reply(
        c, xcb_randr_create_mode(c, root, info, info.name_len, name), NULL);

    xcb_randr_add_output_mode(c, output, mode->mode);
    free(xcb_randr_set_crtc_config_reply(
        c, xcb_randr_set_crtc_config(c, crtc, 0, 0, 0, 0, 0, 1, 0, NULL), NULL));
    xcb_randr_set_screen_size(c, root, (uint16_t)width, (uint16_t)height, 100, 100);
    free(xcb_randr_set_crtc_config_reply(
        c, xcb_randr_set_crtc_config(c, crtc, 0, 0, 0, 0, mode->mode, 1, 1, &output), NULL));
    free(mode);
    free(resources);
}

static void test_resize(void)
{
    struct xvfb xvfb;
    struct pc_source_frame frame;
    uint64_t damage_ns;

    CHECK(xvfb_start(&xvfb, WIDTH, HEIGHT, 24, false));
    free(xcb_randr_query_version_reply(xvfb.client, xcb_randr_query_version(xvfb.client, 1, 5),
                                       NULL));
    struct pc_source *root = open_with(&xvfb, (struct pc_x11_settings){.cursor = true});
    struct pc_source *monitor = open_with(&xvfb, (struct pc_x11_settings){.monitor = "screen"});
    struct pc_source *region =
        open_with(&xvfb, (struct pc_x11_settings){.x = 400, .y = 300, .width = 200, .height = 100});
    settle(&xvfb, root, &frame);
    settle(&xvfb, monitor, &frame);
    CHECK_EQ(frame.width, WIDTH);
    settle(&xvfb, region, &frame);

    /* Damage that is known but not yet got, outside what will be left of the screen. */
    xvfb_fill(&xvfb, xvfb.screen->root, 500, 350, 100, 100, 0x123456);
    xvfb_sync(&xvfb);
    CHECK_EQ(wait_news(root, 1, &damage_ns), 1);
    resize_screen(&xvfb, 450, 333);
    CHECK_EQ(root->ops->grab(root, 2, &frame), 0);
    CHECK(is_whole(&frame));
    CHECK_EQ(frame.width, 450);
    CHECK_EQ(frame.height, 333);
    CHECK_EQ(wait_news(monitor, 2, &damage_ns), 1);
    CHECK_EQ(monitor->ops->grab(monitor, 2, &frame), 0);
    CHECK_EQ(frame.width, 450);
    CHECK_EQ(region->ops->grab(region, 2, &frame), 0);
    CHECK_EQ(frame.width, 50);
    CHECK_EQ(frame.height, 33);

    resize_screen(&xvfb, 350, 250);
    CHECK_EQ(region->ops->grab(region, 3, &frame), -EAGAIN);
    resize_screen(&xvfb, 640, 480);
    CHECK_EQ(region->ops->grab(region, 4, &frame), 0);
    CHECK_EQ(frame.width, 200);
    settle(&xvfb, root, &frame);
    CHECK_EQ(frame.width, 640);
    xvfb_fill(&xvfb, xvfb.screen->root, 0, 0, 640, 480, 0xfedcba);
    settle(&xvfb, root, &frame);
    CHECK_EQ(pixel(&frame, 639, 479), 0xfedcba);
    pc_source_close(root);
    pc_source_close(monitor);
    pc_source_close(region);
    xvfb_stop(&xvfb);
}

/* The server dies: an error, whichever call comes first. */
static void test_lost_display(void)
{
    for (int poll_first = 0; poll_first < 2; poll_first++) {
        struct xvfb xvfb;
        struct pc_source_frame frame;
        uint64_t damage_ns;

        CHECK(xvfb_start(&xvfb, WIDTH, HEIGHT, 24, false));
        struct pc_source *source = open_with(&xvfb, (struct pc_x11_settings){.cursor = true});
        settle(&xvfb, source, &frame);
        xvfb_kill(&xvfb);
        if (poll_first)
            CHECK_EQ(wait_news(source, 1, &damage_ns), -ENOTCONN);
        CHECK_EQ(source->ops->grab(source, 1, &frame), -ENOTCONN);
        CHECK(strstr(pc_error_text(), "gone away"));
        CHECK_EQ(source->ops->poll(source, 1, &damage_ns), -ENOTCONN);
        CHECK_EQ(source->ops->grab(source, 1, &frame), -ENOTCONN);
        pc_source_close(source);
        xvfb_stop(&xvfb);
    }
}

/* xcb reads before it writes, so that it seldom writes to a socket whose server has just died; when
 * it does, the signal must end neither this program nor wait for its thread afterwards. */
static void test_no_signal_when_writing(void)
{
    struct x11_quiet quiet;
    sigset_t pending;
    int fds[2];

    signal(SIGPIPE, SIG_DFL);
    CHECK_EQ(pipe(fds), 0);
    close(fds[0]);
    x11_quiet_begin(&quiet);
    CHECK_EQ(write(fds[1], "x", 1), -1);
    CHECK_EQ(errno, EPIPE);
    x11_quiet_end(&quiet);
    sigpending(&pending);
    CHECK(!sigismember(&pending, SIGPIPE));
    close(fds[1]);
}

static void test_unusable_displays(void)
{
    struct xvfb xvfb;
    struct pc_source *source = NULL;
    static const char *const names[] = {":4095", "nonsense", ""};

    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        CHECK_EQ(pc_source_open_x11(&(struct pc_x11_settings){.display = names[i]}, &source),
                 -ENOTCONN);
    CHECK_EQ(pc_source_open_x11(&(struct pc_x11_settings){.display = ":4095"}, &source), -ENOTCONN);
    CHECK(strstr(pc_error_text(), "\":4095\"") && strstr(pc_error_text(), "XAUTHORITY"));
    CHECK_EQ(pc_source_open_x11(NULL, &source), -EINVAL);

    CHECK(xvfb_start(&xvfb, WIDTH, HEIGHT, 16, false));
    CHECK_EQ(pc_source_open_x11(&(struct pc_x11_settings){.display = xvfb.name}, &source),
             -EOPNOTSUPP);
    CHECK(strstr(pc_error_text(), "depth 16"));
    CHECK(source == NULL);
    xvfb_stop(&xvfb);
}

/* A process that is killed while it captures leaves no shared memory behind: System V segments are
 * marked for removal while in use, and descriptors have no name. */
static void test_killed_process_leaves_nothing(void)
{
    struct xvfb xvfb;

    CHECK(xvfb_start(&xvfb, WIDTH, HEIGHT, 24, false));
    pid_t child = fork();
    if (child == 0) {
        struct x11_display display;
        struct x11_shm shm;
        if (x11_display_open(&display, xvfb.name) == 0) {
            display.shm_fd = false;
            if (x11_shm_open(&display, 1 << 20, &shm) == 0)
                raise(SIGKILL);
        }
        _exit(1);
    }
    int status = 0;
    waitpid(child, &status, 0);
    CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);

    FILE *segments = fopen("/proc/sysvipc/shm", "r");
    CHECK(segments != NULL);
    char line[512];
    while (segments && fgets(line, sizeof line, segments)) {
        unsigned mode;
        int creator;
        if (sscanf(line, "%*d %*d %o %*u %d", &mode, &creator) == 2 && creator == child)
            CHECK(mode & 01000); /* to be destroyed with the last user */
    }
    if (segments)
        fclose(segments);
    xvfb_stop(&xvfb);
}

static void test_damage_rects(void)
{
    for (int round = 0; round < 500; round++) {
        enum { SIDE = 400 };
        static uint8_t added[SIDE][SIDE], covered[SIDE][SIDE];
        struct pc_damage_rects list = {.count = 0};
        int missing = 0;

        memset(added, 0, sizeof added);
        memset(covered, 0, sizeof covered);
        int count = (int)(harness_random(&seed) % 60);
        for (int i = 0; i < count; i++) {
            struct pc_rect r = {(int)(harness_random(&seed) % (SIDE - 40)),
                                (int)(harness_random(&seed) % (SIDE - 40)),
                                (int)(harness_random(&seed) % 40),
                                (int)(harness_random(&seed) % 40)};
            pc_damage_rects_add(&list, r);
            CHECK(pc_rect_empty(r) || pc_damage_rects_contain(&list, r));
            for (int y = r.y; y < r.y + r.height && r.width > 0; y++)
                memset(&added[y][r.x], 1, (size_t)r.width);
        }
        CHECK(list.count >= 0 && list.count <= PC_DAMAGE_RECTS_MAX);
        for (int i = 0; i < list.count; i++)
            for (int y = list.rects[i].y; y < list.rects[i].y + list.rects[i].height; y++)
                memset(&covered[y][list.rects[i].x], 1, (size_t)list.rects[i].width);
        for (int i = 0; i < SIDE * SIDE; i++)
            missing += added[i / SIDE][i % SIDE] && !covered[i / SIDE][i % SIDE];
        CHECK_EQ(missing, 0);
    }

    /* Far apart: stay apart. Side by side: one. */
    struct pc_damage_rects list = {.count = 0};
    pc_damage_rects_add(&list, (struct pc_rect){0, 0, 10, 10});
    pc_damage_rects_add(&list, (struct pc_rect){1900, 1000, 10, 10});
    CHECK_EQ(list.count, 2);
    CHECK_EQ(pc_damage_rects_area(&list), 200);
    pc_damage_rects_add(&list, (struct pc_rect){10, 0, 10, 10});
    CHECK_EQ(list.count, 2);
    CHECK_EQ(pc_damage_rects_area(&list), 300);
}

/* What is announced while a grab is under way adds up to the picture, pointer included. */
static void test_announced_areas(void)
{
    struct xvfb xvfb;
    struct pc_source_frame frame;
    uint8_t *shadow = calloc(WIDTH * HEIGHT, 4);
    int wrong = 0;

    CHECK(xvfb_start(&xvfb, WIDTH, HEIGHT, 24, false));
    set_cursor(&xvfb, false);
    struct pc_source *source = open_with(&xvfb, (struct pc_x11_settings){.cursor = true});
    source->on_area = copy_area;
    source->area_context = shadow;
    for (int round = 0; round < 300; round++) {
        int limit = harness_random(&seed) % 3 == 0 ? WIDTH : 50;
        for (int i = (int)(harness_random(&seed) % 6); i > 0; i--)
            xvfb_fill(&xvfb, xvfb.screen->root, (int)(harness_random(&seed) % WIDTH),
                      (int)(harness_random(&seed) % HEIGHT),
                      1 + (int)(harness_random(&seed) % (uint64_t)limit),
                      1 + (int)(harness_random(&seed) % (uint64_t)limit),
                      (uint32_t)harness_random(&seed) & 0xffffff);
        if (harness_random(&seed) % 2)
            xvfb_warp(&xvfb, (int)(harness_random(&seed) % WIDTH),
                      (int)(harness_random(&seed) % HEIGHT));
        xvfb_sync(&xvfb);
        CHECK_EQ(source->ops->grab(source, 1, &frame), 0);
        CHECK(frame.announced);
        wrong += memcmp(shadow, frame.pixels, WIDTH * HEIGHT * 4) != 0;
    }
    CHECK_EQ(wrong, 0);
    free(shadow);
    pc_source_close(source);
    xvfb_stop(&xvfb);
}

int main(void)
{
    RUN(test_damage_rects);
    RUN(test_pixels_and_rects);
    RUN(test_random_drawing);
    RUN(test_announced_areas);
    RUN(test_sysv_memory);
    RUN(test_tcp_is_refused_in_words);
    RUN(test_cursor);
    RUN(test_region);
    RUN(test_window);
    RUN(test_resize);
    RUN(test_lost_display);
    RUN(test_no_signal_when_writing);
    RUN(test_unusable_displays);
    RUN(test_killed_process_leaves_nothing);
    return HARNESS_RESULT();
}
