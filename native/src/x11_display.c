#include "x11_display.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/shm.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define ANSWER_TIMEOUT_MS 10000

/* XInput2 by hand: two requests and one event are all we need of it. */
#define XI_SELECT_EVENTS      46
#define XI_QUERY_VERSION      47
#define XI_RAW_MOTION         17
#define XI_ALL_MASTER_DEVICES 1

static xcb_extension_t xinput = {"XInputExtension", 0};

struct xi_query_version {
    uint8_t major_opcode, minor_opcode;
    uint16_t length;
    uint16_t major_version, minor_version;
};

struct xi_select_events {
    uint8_t major_opcode, minor_opcode;
    uint16_t length;
    xcb_window_t window;
    uint16_t mask_count, pad;
    uint16_t device, mask_words;
    uint32_t mask;
};

static unsigned send_xinput(struct x11_display *display, uint8_t opcode, void *request,
                            size_t bytes, bool has_reply)
{
    xcb_protocol_request_t protocol = {1, &xinput, opcode, !has_reply};
    struct iovec parts[3] = {{NULL, 0}, {NULL, 0}, {request, bytes}}; /* xcb uses the first two */
    return xcb_send_request(display->connection, 0, parts + 2, &protocol);
}

void x11_display_select_motion(struct x11_display *display)
{
    const xcb_query_extension_reply_t *extension =
        xcb_get_extension_data(display->connection, &xinput);
    if (!extension || !extension->present)
        return;

    struct xi_query_version version = {.major_version = 2, .minor_version = 1};
    struct {
        uint8_t pad[8];
        uint16_t major, minor;
    } *reply = x11_display_reply(
        display, send_xinput(display, XI_QUERY_VERSION, &version, sizeof version, true));
    if (reply && reply->major >= 2) {
        struct xi_select_events select = {
            .window = display->root,
            .mask_count = 1,
            .device = XI_ALL_MASTER_DEVICES,
            .mask_words = 1,
            .mask = 1u << XI_RAW_MOTION,
        };
        send_xinput(display, XI_SELECT_EVENTS, &select, sizeof select, false);
        display->input_opcode = extension->major_opcode;
    }
    free(reply);
}

bool x11_display_is_motion(const struct x11_display *display, const xcb_generic_event_t *event)
{
    const xcb_ge_generic_event_t *generic = (const void *)event;
    return (event->response_type & 0x7f) == XCB_GE_GENERIC && display->input_opcode != 0 &&
           generic->extension == display->input_opcode && generic->event_type == XI_RAW_MOTION;
}

void *x11_display_reply(struct x11_display *display, unsigned sequence)
{
    void *reply = NULL;
    xcb_generic_error_t *error = NULL;

    xcb_flush(display->connection);
    while (!xcb_poll_for_reply(display->connection, sequence, &reply, &error)) {
        struct pollfd wait = {.fd = display->fd, .events = POLLIN};
        int ready = poll(&wait, 1, ANSWER_TIMEOUT_MS);
        if (ready == 0 || (ready < 0 && errno != EINTR)) {
            xcb_discard_reply(display->connection, sequence);
            display->lost = true;
            return NULL;
        }
    }
    if (xcb_connection_has_error(display->connection))
        display->lost = true;
    free(error);
    return reply;
}

void x11_quiet_begin(struct x11_quiet *quiet)
{
    sigset_t pipe, pending;

    sigemptyset(&pipe);
    sigaddset(&pipe, SIGPIPE);
    sigpending(&pending);
    quiet->was_pending = sigismember(&pending, SIGPIPE) == 1;
    pthread_sigmask(SIG_BLOCK, &pipe, &quiet->before);
}

void x11_quiet_end(const struct x11_quiet *quiet)
{
    const struct timespec at_once = {0, 0};
    sigset_t pipe;

    sigemptyset(&pipe);
    sigaddset(&pipe, SIGPIPE);
    if (!quiet->was_pending)
        while (sigtimedwait(&pipe, NULL, &at_once) < 0 && errno == EINTR)
            ;
    pthread_sigmask(SIG_SETMASK, &quiet->before, NULL);
}

int x11_display_lost(const struct x11_display *display)
{
    if (display->connection && !xcb_connection_has_error(display->connection))
        return pc_fail(-ENOTCONN, "The X display has not answered for %d s",
                       ANSWER_TIMEOUT_MS / 1000);
    return pc_fail(-ENOTCONN, "The X display has gone away: its server ended or was restarted");
}

/* Whether pixels of this depth are 32 bits of blue, green, red, unused in memory. */
static bool is_bgrx(const xcb_setup_t *setup, const xcb_screen_t *screen)
{
    bool format_fits = false, masks_fit = false;

    for (xcb_format_iterator_t i = xcb_setup_pixmap_formats_iterator(setup); i.rem;
         xcb_format_next(&i))
        if (i.data->depth == screen->root_depth)
            format_fits = i.data->bits_per_pixel == 32;
    for (xcb_depth_iterator_t d = xcb_screen_allowed_depths_iterator(screen); d.rem;
         xcb_depth_next(&d))
        for (xcb_visualtype_iterator_t v = xcb_depth_visuals_iterator(d.data); v.rem;
             xcb_visualtype_next(&v))
            if (v.data->visual_id == screen->root_visual)
                masks_fit = v.data->red_mask == 0xff0000 && v.data->green_mask == 0xff00 &&
                            v.data->blue_mask == 0xff;
    return format_fits && masks_fit && setup->image_byte_order == XCB_IMAGE_ORDER_LSB_FIRST;
}

static bool is_local_socket(int fd)
{
    struct sockaddr_storage address;
    socklen_t size = sizeof address;
    return getsockname(fd, (struct sockaddr *)&address, &size) == 0 && address.ss_family == AF_UNIX;
}

static int check_extensions(struct x11_display *display)
{
    xcb_connection_t *c = display->connection;
    const xcb_query_extension_reply_t *shm = xcb_get_extension_data(c, &xcb_shm_id);
    const xcb_query_extension_reply_t *damage = xcb_get_extension_data(c, &xcb_damage_id);
    const xcb_query_extension_reply_t *xfixes = xcb_get_extension_data(c, &xcb_xfixes_id);
    const xcb_query_extension_reply_t *randr = xcb_get_extension_data(c, &xcb_randr_id);

    if (xcb_connection_has_error(c))
        return x11_display_lost(display);
    if (!shm || !shm->present)
        return pc_fail(-EOPNOTSUPP, "The X server has no MIT-SHM extension, which capture needs");
    if (!damage || !damage->present)
        return pc_fail(-EOPNOTSUPP, "The X server has no DAMAGE extension, which capture needs");
    if (!xfixes || !xfixes->present)
        return pc_fail(-EOPNOTSUPP, "The X server has no XFIXES extension, which capture needs");
    display->damage_event = damage->first_event;
    display->xfixes_event = xfixes->first_event;

    /* The server speaks each extension's first version until it is asked for its version. */
    unsigned damage_query = xcb_damage_query_version(c, 1, 1).sequence;
    unsigned xfixes_query = xcb_xfixes_query_version(c, 4, 0).sequence;
    xcb_shm_query_version_reply_t *shm_version =
        x11_display_reply(display, xcb_shm_query_version(c).sequence);
    display->shm_fd = shm_version && is_local_socket(display->fd) &&
                      (shm_version->major_version > 1 || shm_version->minor_version >= 2);
    free(shm_version);
    free(x11_display_reply(display, damage_query));
    free(x11_display_reply(display, xfixes_query));
    if (randr && randr->present) {
        xcb_randr_query_version_reply_t *version =
            x11_display_reply(display, xcb_randr_query_version(c, 1, 5).sequence);
        display->randr_event = randr->first_event;
        display->monitors = version && (version->major_version > 1 || version->minor_version >= 5);
        free(version);
    }
    return display->lost ? x11_display_lost(display) : 0;
}

int x11_display_open(struct x11_display *display, const char *name)
{
    const char *shown = name ? name : getenv("DISPLAY");
    int screen_number = 0;

    memset(display, 0, sizeof *display);
    if (!shown || !*shown)
        return pc_fail(-ENOTCONN, "No X display: set $DISPLAY, or name one (such as \":0\")");
    display->connection = xcb_connect(shown, &screen_number);
    int error = xcb_connection_has_error(display->connection);
    if (error) {
        x11_display_close(display);
        if (error == XCB_CONN_CLOSED_PARSE_ERR)
            return pc_fail(-ENOTCONN, "\"%s\" is no X display's name; one looks like \":0\"",
                           shown);
        if (error == XCB_CONN_CLOSED_INVALID_SCREEN)
            return pc_fail(-ENOTCONN, "X display \"%s\" has no such screen", shown);
        return pc_fail(-ENOTCONN,
                       "Cannot connect to X display \"%s\": is it running, and does $XAUTHORITY "
                       "allow you?",
                       shown);
    }
    display->fd = xcb_get_file_descriptor(display->connection);

    const xcb_setup_t *setup = xcb_get_setup(display->connection);
    xcb_screen_iterator_t screen = xcb_setup_roots_iterator(setup);
    for (; screen.rem > 1 && screen_number > 0; screen_number--)
        xcb_screen_next(&screen);
    display->root = screen.data->root;
    int result = check_extensions(display);
    if (result == 0 && !is_bgrx(setup, screen.data))
        result = pc_fail(-EOPNOTSUPP,
                         "The X display's pixels have depth %d; capture reads 24 or 32 bits of "
                         "little-endian BGRX only: start the server with depth 24",
                         screen.data->root_depth);
    if (result < 0)
        x11_display_close(display);
    return result;
}

void x11_display_close(struct x11_display *display)
{
    if (display->connection)
        xcb_disconnect(display->connection);
    memset(display, 0, sizeof *display);
}

/* Pass an unnamed file's descriptor to the server. */
static int open_fd(struct x11_display *display, struct x11_shm *shm)
{
    int fd = memfd_create("playcast-capture", MFD_CLOEXEC);
    if (fd < 0)
        return pc_fail(-ENOMEM, "Cannot create shared memory: %s", strerror(errno));

    /* posix_fallocate: running out of memory must be an error here, not a SIGBUS later. */
    int error = posix_fallocate(fd, 0, (off_t)shm->bytes);
    void *memory = MAP_FAILED;
    if (error == 0)
        memory = mmap(NULL, shm->bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (memory == MAP_FAILED) {
        close(fd);
        return pc_fail(-ENOMEM, "Out of memory for %zu bytes shared with the X server", shm->bytes);
    }
    shm->memory = memory;
    shm->mapped = true;
    shm->segment = xcb_generate_id(display->connection);

    xcb_void_cookie_t attach = /* closes fd */
        xcb_shm_attach_fd_checked(display->connection, shm->segment, fd, false);
    xcb_generic_error_t *refused = xcb_request_check(display->connection, attach);
    int result = refused ? -EOPNOTSUPP : 0;
    free(refused);
    return result;
}

static int open_sysv(struct x11_display *display, struct x11_shm *shm)
{
    int id = shmget(IPC_PRIVATE, shm->bytes, IPC_CREAT | 0600);
    if (id < 0)
        return pc_fail(-ENOMEM, "Out of memory for %zu bytes shared with the X server", shm->bytes);

    void *memory = shmat(id, NULL, 0);
    if (memory == (void *)-1) {
        shmctl(id, IPC_RMID, NULL);
        return pc_fail(-ENOMEM, "Cannot attach shared memory: %s", strerror(errno));
    }
    /* Linux lets the server attach to a removed segment as long as somebody is attached. */
    shmctl(id, IPC_RMID, NULL);
    shm->memory = memory;
    shm->segment = xcb_generate_id(display->connection);
    xcb_void_cookie_t attach =
        xcb_shm_attach_checked(display->connection, shm->segment, (uint32_t)id, false);
    xcb_generic_error_t *refused = xcb_request_check(display->connection, attach);
    int result = refused ? -EOPNOTSUPP : 0;
    free(refused);
    return result;
}

static void release_memory(struct x11_shm *shm)
{
    if (shm->memory && shm->mapped)
        munmap(shm->memory, shm->bytes);
    else if (shm->memory)
        shmdt(shm->memory);
    memset(shm, 0, sizeof *shm);
}

int x11_shm_open(struct x11_display *display, size_t bytes, struct x11_shm *shm)
{
    *shm = (struct x11_shm){.bytes = bytes};
    int result = display->shm_fd ? open_fd(display, shm) : open_sysv(display, shm);
    if (result == 0 && !xcb_connection_has_error(display->connection))
        return 0;

    release_memory(shm);
    if (xcb_connection_has_error(display->connection)) {
        display->lost = true;
        return x11_display_lost(display);
    }
    if (result == -EOPNOTSUPP)
        return pc_fail(-EOPNOTSUPP, "The X server cannot share memory with this process: capture "
                                    "must run on the display's machine, in the same container");
    return result;
}

void x11_shm_close(struct x11_display *display, struct x11_shm *shm)
{
    if (shm->memory && !display->lost)
        xcb_shm_detach(display->connection, shm->segment);
    release_memory(shm);
}
