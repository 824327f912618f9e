#include "front.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "clock.h"
#include "tool.h"

static const char *const ways[] = {"forward", "back"};

static void start_time(struct front *front)
{
    front->zero_ns = pc_now_ns();
    front->next_log_ns = front->zero_ns + front->interval_ns;
    if (front->log != NULL)
        fprintf(front->log, "{\"zero_ns\": %llu}\n", (unsigned long long)front->zero_ns);
}

void front_begin(struct front *front, int argc, char **argv, uint32_t overhead_bytes,
                 const char *const *kinds)
{
    static const char *const options[] = {"both", "forward", "back"};
    static const enum pc_link_way option_ways[] = {PC_LINK_BOTH, PC_LINK_FORWARD, PC_LINK_BACK};
    struct pc_link_settings settings = {.overhead_bytes = overhead_bytes};
    uint64_t now_ns = pc_now_ns(), seed = (uint64_t)tool_number(argc, argv, "seed", 1);
    char error[512];
    *front = (struct front){.kinds = kinds, .input_open = true};
    for (int way = 0; way < 2; way++) {
        front->links[way] = pc_link_create(&settings, 2 * seed + (uint64_t)way, now_ns);
        if (front->links[way] == NULL)
            tool_fail("link", "out of memory");
    }
    for (int i = 0; i < 3; i++) {
        const char *text = tool_option(argc, argv, options[i]);
        if (text != NULL && !pc_link_apply(front->links, option_ways[i], text, &front->traces,
                                           now_ns, error, sizeof error))
            tool_fail(options[i], error);
    }
    const char *path = tool_option(argc, argv, "schedule");
    if (path != NULL &&
        !pc_link_schedule_load(&front->schedule, path, &front->traces, error, sizeof error))
        tool_fail("schedule", error);
    path = tool_option(argc, argv, "log");
    if (path != NULL && (front->log = fopen(path, "w")) == NULL)
        tool_fail(path, strerror(errno));
    long interval = tool_number(argc, argv, "interval", 100);
    if (interval < 1 || interval > 60000)
        tool_fail("interval", "takes 1 to 60000 milliseconds");
    front->interval_ns = (uint64_t)interval * 1000000;
    start_time(front);
}

void front_count(struct front *front, int way, int kind, const struct pc_link_packet *packet,
                 size_t wire_bytes)
{
    struct front_interval *interval = &front->intervals[way];
    if (front->log == NULL || packet->repeated)
        return;
    interval->delivered_bytes[kind] += (double)wire_bytes;
    if (kind != 0)
        return;
    if (interval->wait_count == interval->wait_room) {
        size_t room = interval->wait_room == 0 ? 1024 : 2 * interval->wait_room;
        uint32_t *waits = realloc(interval->waits_us, room * sizeof *waits);
        if (waits == NULL)
            return;
        interval->waits_us = waits;
        interval->wait_room = room;
    }
    interval->waits_us[interval->wait_count++] = (uint32_t)(packet->queued_ns / 1000);
}

static void log_interval(struct front *front, int way, uint64_t now_ns, double span_s)
{
    struct front_interval *interval = &front->intervals[way];
    struct pc_link *link = front->links[way];
    struct pc_link_stats stats, *before = &interval->before;
    pc_link_get_stats(link, &stats);
    double rate_bps = pc_link_rate_bps(link, now_ns);
    fprintf(front->log, "{\"t\": %.3f, \"way\": \"%s\", \"rate_bps\": %.0f, \"offered_bps\": %.0f",
            (double)(now_ns - front->zero_ns) / 1e9, ways[way], isinf(rate_bps) ? 0 : rate_bps,
            (double)(stats.sent_bytes - before->sent_bytes) * 8 / span_s);
    for (int kind = 0; kind < FRONT_KINDS; kind++)
        if (front->kinds[kind] != NULL)
            fprintf(front->log, ", \"%s_bps\": %.0f", front->kinds[kind],
                    interval->delivered_bytes[kind] * 8 / span_s);
    fprintf(front->log, ", \"queue_ms\": %.2f, \"dropped\": %llu, \"lost\": %llu, \"waits_us\": [",
            (double)pc_link_queue_ns(link, now_ns) / 1e6,
            (unsigned long long)(stats.dropped - before->dropped),
            (unsigned long long)(stats.lost - before->lost));
    for (size_t i = 0; i < interval->wait_count; i++)
        fprintf(front->log, "%s%u", i > 0 ? "," : "", interval->waits_us[i]);
    fprintf(front->log, "]}\n");
    interval->before = stats;
    interval->wait_count = 0;
    memset(interval->delivered_bytes, 0, sizeof interval->delivered_bytes);
}

static void log_when_due(struct front *front, uint64_t now_ns)
{
    if (front->log == NULL || now_ns < front->next_log_ns)
        return;
    uint64_t span_ns = now_ns - (front->next_log_ns - front->interval_ns);
    for (int way = 0; way < 2; way++)
        log_interval(front, way, now_ns, (double)span_ns / 1e9);
    fflush(front->log);
    front->next_log_ns = now_ns + front->interval_ns;
}

static void obey(struct front *front, const char *line, uint64_t now_ns)
{
    char error[512] = "a line is `forward|back|both SETTINGS`, or `zero`";
    enum pc_link_way way;
    const char *text = pc_link_parse_way(line, &way);
    bool good = false;
    if (strcmp(line, "zero") == 0) {
        front->schedule.next = 0;
        start_time(front);
        good = true;
    } else if (text != NULL) {
        good = pc_link_apply(front->links, way, text, &front->traces, now_ns, error, sizeof error);
    }
    if (good)
        puts("ok");
    else
        printf("error %s\n", error);
    fflush(stdout);
}

static void read_input(struct front *front, uint64_t now_ns)
{
    char *input = front->input, *end;
    size_t room = sizeof front->input - 1;
    ssize_t got = read(STDIN_FILENO, input + front->input_size, room - front->input_size);
    if (got <= 0) {
        front->input_open = false;
        return;
    }
    front->input_size += (size_t)got;
    input[front->input_size] = '\0';
    while ((end = strchr(input, '\n')) != NULL) {
        *end = '\0';
        obey(front, input, now_ns);
        front->input_size -= (size_t)(end + 1 - input);
        memmove(input, end + 1, front->input_size + 1);
    }
    if (front->input_size == room) {
        front->input_size = 0;
        puts("error the line is too long");
        fflush(stdout);
    }
}

void front_wait(struct front *front, struct pollfd *fds, nfds_t count)
{
    uint64_t next = pc_link_schedule_next(&front->schedule), now_ns = pc_now_ns();
    next = next == UINT64_MAX ? next : next + front->zero_ns;
    for (int way = 0; way < 2; way++) {
        uint64_t at = pc_link_next(front->links[way]);
        next = at < next ? at : next;
    }
    if (front->log != NULL && front->next_log_ns < next)
        next = front->next_log_ns;
    uint64_t wait_ns = next > now_ns ? next - now_ns : 0;
    struct timespec timeout = {(time_t)(wait_ns / 1000000000), (long)(wait_ns % 1000000000)};
    fds[0] = (struct pollfd){.fd = front->input_open ? STDIN_FILENO : -1, .events = POLLIN};
    if (ppoll(fds, count, next == UINT64_MAX ? NULL : &timeout, NULL) < 0 && errno != EINTR)
        tool_fail("poll", strerror(errno));
    now_ns = pc_now_ns();
    pc_link_schedule_apply(&front->schedule, front->links, &front->traces, now_ns - front->zero_ns,
                           now_ns);
    log_when_due(front, now_ns);
}

void front_obey(struct front *front, const struct pollfd *fds)
{
    if ((fds[0].revents & (POLLIN | POLLHUP)) != 0)
        read_input(front, pc_now_ns());
}

void front_end(struct front *front)
{
    printf("{");
    for (int way = 0; way < 2; way++) {
        struct pc_link_stats stats;
        pc_link_get_stats(front->links[way], &stats);
        printf("%s\"%s\": {\"sent\": %llu, \"delivered\": %llu, \"dropped\": %llu, \"lost\": %llu, "
               "\"delivered_bytes\": %llu}",
               way > 0 ? ", " : "", ways[way], (unsigned long long)stats.sent,
               (unsigned long long)stats.delivered, (unsigned long long)stats.dropped,
               (unsigned long long)stats.lost, (unsigned long long)stats.delivered_bytes);
        pc_link_destroy(front->links[way]);
        free(front->intervals[way].waits_us);
    }
    printf(", \"cpu_s\": %.3f}\n", tool_cpu_s());
    fflush(stdout);
    if (front->log != NULL)
        fclose(front->log);
    free(front->schedule.changes);
    for (struct pc_trace_file *file = front->traces.first, *rest; file != NULL; file = rest) {
        rest = file->next;
        pc_trace_destroy(file->trace);
        free(file);
    }
}
