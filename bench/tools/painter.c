/* Paints on an X display at a given rate, as a game or a desktop would: pictures made beforehand,
 * put through MIT-SHM from a window of its own. Each carries its number and the moment just before
 * it was put: that is what "drawn" means in the benchmarks.
 *
 * --display :N --fps 60 --content game|desktop [--cpu N]; prints "ready" once the first picture is
 * on the display, and what it did when it is stopped. */
#include <sys/ipc.h>
#include <sys/shm.h>
#include <xcb/shm.h>
#include <xcb/xcb.h>

#include "clock.h"
#include "content.h"
#include "tool.h"

struct painter {
    xcb_connection_t *connection;
    xcb_window_t window;
    xcb_gcontext_t gc;
    xcb_shm_seg_t segment;
    uint8_t completion_event;
    struct content content;
    unsigned outstanding; /* pictures that the server has not finished */
};

static void open_window(struct painter *painter, const char *display, bool game)
{
    int number;
    painter->connection = xcb_connect(display, &number);
    if (xcb_connection_has_error(painter->connection))
        tool_fail(display, "cannot connect to this display");
    xcb_screen_t *screen = xcb_setup_roots_iterator(xcb_get_setup(painter->connection)).data;
    const xcb_query_extension_reply_t *shm =
        xcb_get_extension_data(painter->connection, &xcb_shm_id);
    if (!shm || !shm->present)
        tool_fail(display, "has no MIT-SHM");
    painter->completion_event = (uint8_t)(shm->first_event + XCB_SHM_COMPLETION);

    content_init(&painter->content, screen->width_in_pixels & ~1, screen->height_in_pixels & ~1,
                 game);
    painter->window = xcb_generate_id(painter->connection);
    const uint32_t override_redirect = 1;
    xcb_create_window(painter->connection, XCB_COPY_FROM_PARENT, painter->window, screen->root, 0,
                      0, (uint16_t)painter->content.width, (uint16_t)painter->content.height, 0,
                      XCB_WINDOW_CLASS_INPUT_OUTPUT, screen->root_visual, XCB_CW_OVERRIDE_REDIRECT,
                      &override_redirect);
    xcb_map_window(painter->connection, painter->window);
    painter->gc = xcb_generate_id(painter->connection);
    xcb_create_gc(painter->connection, painter->gc, painter->window, 0, NULL);
}

static void share_pictures(struct painter *painter)
{
    int id = shmget(IPC_PRIVATE, painter->content.frame_bytes * CONTENT_FRAMES, IPC_CREAT | 0600);
    uint8_t *memory = id < 0 ? NULL : shmat(id, NULL, 0);
    if (!memory || memory == (uint8_t *)-1)
        tool_fail("shared memory", strerror(errno));
    painter->segment = xcb_generate_id(painter->connection);
    xcb_generic_error_t *error = xcb_request_check(
        painter->connection,
        xcb_shm_attach_checked(painter->connection, painter->segment, (uint32_t)id, true));
    shmctl(id, IPC_RMID, NULL);
    if (error)
        tool_fail("shared memory", "the X server cannot attach it");
    if (content_paint(&painter->content, memory) < 0)
        tool_fail("content", pc_error_text());
}

static void wait_for_server(struct painter *painter, unsigned allowed)
{
    while (painter->outstanding > allowed) {
        xcb_generic_event_t *event = xcb_wait_for_event(painter->connection);
        if (!event)
            tool_fail("display", "the X server is gone");
        if ((event->response_type & 0x7f) == painter->completion_event)
            painter->outstanding--;
        free(event);
    }
}

/* The strip with the code goes last: what shows the number shows the whole picture. */
static void put(struct painter *painter, uint64_t number)
{
    struct content *content = &painter->content;
    struct pc_rect rects[PC_MAX_RECTS];
    uint8_t *pixels = content_pixels(content, number);
    int count = content_changes(content, number, rects);

    pc_pattern_write(pixels, content->width, content->height, content->stride, (uint32_t)number,
                     pc_now_ns() / 1000);
    for (int i = count - 1; i >= 0; i--)
        xcb_shm_put_image(painter->connection, painter->window, painter->gc,
                          (uint16_t)content->width, (uint16_t)content->height, (uint16_t)rects[i].x,
                          (uint16_t)rects[i].y, (uint16_t)rects[i].width, (uint16_t)rects[i].height,
                          (int16_t)rects[i].x, (int16_t)rects[i].y, 24, XCB_IMAGE_FORMAT_Z_PIXMAP,
                          i == 0, painter->segment, (uint32_t)(pixels - content->memory));
    xcb_flush(painter->connection);
    painter->outstanding++;
}

int main(int argc, char **argv)
{
    tool_begin(argc, argv);
    const char *display = tool_option(argc, argv, "display");
    const char *content = tool_option(argc, argv, "content");
    long fps = tool_number(argc, argv, "fps", 60);
    if (!display || fps < 1 || fps > 240)
        tool_fail("painter", "takes --display, and --fps from 1 to 240");
    if (!content || (strcmp(content, "game") != 0 && strcmp(content, "desktop") != 0))
        tool_fail("content", "takes game or desktop");

    struct painter painter = {0};
    open_window(&painter, display, strcmp(content, "game") == 0);
    share_pictures(&painter);
    put(&painter, 0);
    wait_for_server(&painter, 0);
    printf("ready\n");
    fflush(stdout);

    uint64_t interval = PC_NS_PER_S / (uint64_t)fps, due = pc_now_ns() + interval;
    uint64_t number = 1, late = 0, start = pc_now_ns();
    double cpu = tool_cpu_s();
    for (;; number++, due += interval) {
        tool_sleep_until(due);
        wait_for_server(&painter, 1);
        if (tool_stopped)
            break;
        uint64_t now = pc_now_ns();
        if (now > due + interval) {
            late += (now - due) / interval;
            due += (now - due) / interval * interval;
        }
        put(&painter, number);
    }
    printf("{\"frames\": %llu, \"late\": %llu, \"seconds\": %.3f, \"cpu_s\": %.4f}\n",
           (unsigned long long)number, (unsigned long long)late,
           (double)(pc_now_ns() - start) / 1e9, tool_cpu_s() - cpu);
    xcb_disconnect(painter.connection);
    return 0;
}
