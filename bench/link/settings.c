#include "settings.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A number and what follows it; false when it is none. */
static bool number(const char *text, double *value, const char **rest)
{
    char *end;
    *value = strtod(text, &end);
    *rest = end;
    return end != text && isfinite(*value) && *value >= 0 && *value < 1e15;
}

bool pc_link_parse_time(const char *text, uint64_t *ns)
{
    double value, unit;
    const char *rest;
    if (!number(text, &value, &rest))
        return false;
    if (strcmp(rest, "us") == 0)
        unit = 1e3;
    else if (strcmp(rest, "ms") == 0)
        unit = 1e6;
    else if (strcmp(rest, "s") == 0)
        unit = 1e9;
    else
        return value == 0 && *rest == '\0' && (*ns = 0, true);
    if (value * unit > 1e18)
        return false;
    *ns = (uint64_t)llround(value * unit);
    return true;
}

static bool parse_share(const char *text, double *share)
{
    double value;
    const char *rest;
    if (!number(text, &value, &rest))
        return false;
    if (strcmp(rest, "%") == 0)
        value /= 100;
    else if (*rest != '\0')
        return false;
    *share = value;
    return value <= 1;
}

static bool parse_yes(const char *text, bool *yes)
{
    *yes = strcmp(text, "yes") == 0;
    return *yes || strcmp(text, "no") == 0;
}

static bool is_none(const char *text)
{
    return strcmp(text, "none") == 0;
}

static bool parse_rate(const char *text, struct pc_link_settings *settings)
{
    double bps = 0;
    if (!is_none(text) && (!pc_trace_parse_rate(text, &bps) || bps < 1000))
        return false;
    settings->rate_bps = bps;
    settings->trace = NULL;
    return true;
}

static bool parse_queue(const char *text, struct pc_link_settings *settings)
{
    uint64_t ns = 0, bytes = 0;
    double value;
    const char *rest;
    if (!is_none(text) && !(pc_link_parse_time(text, &ns) && ns > 0)) {
        if (!number(text, &value, &rest) || value < 1)
            return false;
        double unit = strcmp(rest, "B") == 0    ? 1
                      : strcmp(rest, "kB") == 0 ? 1e3
                      : strcmp(rest, "MB") == 0 ? 1e6
                                                : 0;
        if (unit <= 0)
            return false;
        bytes = (uint64_t)(value * unit);
    }
    settings->queue_ns = ns;
    settings->queue_bytes = bytes;
    return true;
}

static bool parse_burst(const char *text, struct pc_link_settings *settings)
{
    double share, length;
    const char *rest;
    if (is_none(text)) {
        pc_link_set_bursts(settings, 0, 1);
        return true;
    }
    if (!number(text, &share, &rest) || strncmp(rest, "%x", 2) != 0 || share >= 100 ||
        !number(rest + 2, &length, &rest) || *rest != '\0' || length < 1)
        return false;
    pc_link_set_bursts(settings, share / 100, length);
    return true;
}

static bool parse_overhead(const char *text, struct pc_link_settings *settings)
{
    double value;
    const char *rest;
    if (!number(text, &value, &rest) || *rest != '\0' || value > 1000)
        return false;
    settings->overhead_bytes = (uint32_t)value;
    return true;
}

static char *read_file(const char *path, char *error, size_t error_size)
{
    FILE *file = fopen(path, "r");
    char *text = NULL;
    size_t size = 0, got = 0;
    if (file == NULL) {
        snprintf(error, error_size, "%s: %s", path, strerror(errno));
        return NULL;
    }
    do {
        char *grown = realloc(text, (size = size == 0 ? 65536 : 2 * size) + 1);
        if (grown == NULL) {
            snprintf(error, error_size, "%s: out of memory", path);
            fclose(file);
            free(text);
            return NULL;
        }
        text = grown;
        got += fread(text + got, 1, size - got, file);
    } while (got == size);
    text[got] = '\0';
    fclose(file);
    return text;
}

static bool load_trace(const char *path, struct pc_link_settings *settings,
                       struct pc_trace_files *files, char *error, size_t error_size)
{
    struct pc_trace_file *file = files->first;
    while (file != NULL && strcmp(file->path, path) != 0)
        file = file->next;
    if (file == NULL) {
        char why[128] = "out of memory";
        char *text = read_file(path, error, error_size);
        if (text == NULL)
            return false;
        file = calloc(1, sizeof *file);
        if (file != NULL)
            file->trace = pc_trace_parse(text, why, sizeof why);
        free(text);
        if (file == NULL || file->trace == NULL) {
            snprintf(error, error_size, "%s, %s", path, why);
            free(file);
            return false;
        }
        snprintf(file->path, sizeof file->path, "%s", path);
        file->next = files->first;
        files->first = file;
    }
    settings->trace = file->trace;
    return true;
}

/* NULL: applied; otherwise what the key takes ("" when the error is written already). */
static const char *apply_word(const char *key, const char *value, struct pc_link_settings *settings,
                              struct pc_trace_files *files, char *error, size_t error_size)
{
    static const char time[] = "a time such as 20ms", share[] = "a share such as 1%",
                      yes[] = "yes or no";
    if (strcmp(key, "rate") == 0)
        return parse_rate(value, settings) ? NULL : "a rate of at least 1k such as 10M, or none";
    if (strcmp(key, "trace") == 0) {
        settings->trace = NULL;
        return is_none(value) || load_trace(value, settings, files, error, error_size) ? NULL : "";
    }
    if (strcmp(key, "delay") == 0)
        return pc_link_parse_time(value, &settings->delay_ns) ? NULL : time;
    if (strcmp(key, "jitter") == 0)
        return pc_link_parse_time(value, &settings->jitter_ns) ? NULL : time;
    if (strcmp(key, "jitter-reorders") == 0)
        return parse_yes(value, &settings->jitter_reorders) ? NULL : yes;
    if (strcmp(key, "loss") == 0)
        return parse_share(value, &settings->loss) ? NULL : share;
    if (strcmp(key, "burst") == 0)
        return parse_burst(value, settings) ? NULL
                                            : "a share and a mean length such as 2%x8, or none";
    if (strcmp(key, "reorder") == 0)
        return parse_share(value, &settings->reorder) ? NULL : share;
    if (strcmp(key, "reorder-by") == 0)
        return pc_link_parse_time(value, &settings->reorder_ns) ? NULL : time;
    if (strcmp(key, "duplicate") == 0)
        return parse_share(value, &settings->duplicate) ? NULL : share;
    if (strcmp(key, "queue") == 0)
        return parse_queue(value, settings) ? NULL
                                            : "a time or bytes such as 300ms, 200kB, or none";
    if (strcmp(key, "overhead") == 0)
        return parse_overhead(value, settings) ? NULL : "a number of bytes";
    if (strcmp(key, "down") == 0)
        return parse_yes(value, &settings->down) ? NULL : yes;
    return "no value: there is no such setting (rate, trace, delay, jitter, jitter-reorders, loss, "
           "burst, reorder, reorder-by, duplicate, queue, overhead, down)";
}

bool pc_link_parse(const char *text, struct pc_link_settings *settings,
                   struct pc_trace_files *files, char *error, size_t error_size)
{
    char words[PC_LINK_TEXT], *rest;
    if (strlen(text) >= sizeof words) {
        snprintf(error, error_size, "the line is too long");
        return false;
    }
    memcpy(words, text, strlen(text) + 1);
    struct pc_link_settings changed = *settings;
    for (char *key = strtok_r(words, " \t\r\n", &rest); key != NULL;
         key = strtok_r(NULL, " \t\r\n", &rest)) {
        char *value = strchr(key, '=');
        if (value == NULL) {
            snprintf(error, error_size, "%s: settings are key=value", key);
            return false;
        }
        *value++ = '\0';
        const char *takes = apply_word(key, value, &changed, files, error, error_size);
        if (takes != NULL) {
            if (*takes != '\0')
                snprintf(error, error_size, "%s takes %s, not %s", key, takes, value);
            return false;
        }
    }
    *settings = changed;
    return true;
}

const char *pc_link_parse_way(const char *line, enum pc_link_way *way)
{
    static const struct {
        const char *name;
        enum pc_link_way way;
    } ways[] = {{"forward", PC_LINK_FORWARD}, {"back", PC_LINK_BACK}, {"both", PC_LINK_BOTH}};
    line += strspn(line, " \t");
    size_t size = strcspn(line, " \t\r\n");
    for (size_t i = 0; i < sizeof ways / sizeof *ways; i++) {
        if (strlen(ways[i].name) == size && strncmp(line, ways[i].name, size) == 0) {
            *way = ways[i].way;
            return line + size;
        }
    }
    return NULL;
}

bool pc_link_schedule_add(struct pc_link_schedule *schedule, const char *line,
                          struct pc_trace_files *files, char *error, size_t error_size)
{
    struct pc_link_change change = {0};
    double seconds;
    const char *rest, *text;
    line += strspn(line, " \t\r\n");
    if (*line == '\0' || *line == '#')
        return true;
    if (!number(line, &seconds, &rest) || seconds > 1e9 ||
        (text = pc_link_parse_way(rest, &change.way)) == NULL) {
        snprintf(error, error_size, "a line is `SECONDS forward|back|both SETTINGS`");
        return false;
    }
    change.at_ns = (uint64_t)llround(seconds * 1e9);
    if (schedule->count > 0 && change.at_ns < schedule->changes[schedule->count - 1].at_ns) {
        snprintf(error, error_size, "time goes back");
        return false;
    }
    struct pc_link_settings checked = {0};
    if (!pc_link_parse(text, &checked, files, error, error_size))
        return false;
    snprintf(change.text, sizeof change.text, "%s", text);
    struct pc_link_change *grown =
        realloc(schedule->changes, (schedule->count + 1) * sizeof *schedule->changes);
    if (grown == NULL) {
        snprintf(error, error_size, "out of memory");
        return false;
    }
    schedule->changes = grown;
    schedule->changes[schedule->count++] = change;
    return true;
}

bool pc_link_schedule_load(struct pc_link_schedule *schedule, const char *path,
                           struct pc_trace_files *files, char *error, size_t error_size)
{
    char *text = read_file(path, error, error_size), *rest = text, *line, why[512];
    if (text == NULL)
        return false;
    for (int number_of_line = 1; (line = strsep(&rest, "\n")) != NULL; number_of_line++) {
        if (!pc_link_schedule_add(schedule, line, files, why, sizeof why)) {
            snprintf(error, error_size, "%s, line %d: %s", path, number_of_line, why);
            free(text);
            return false;
        }
    }
    free(text);
    return true;
}

uint64_t pc_link_schedule_next(const struct pc_link_schedule *schedule)
{
    return schedule->next < schedule->count ? schedule->changes[schedule->next].at_ns : UINT64_MAX;
}

bool pc_link_apply(struct pc_link *const links[2], enum pc_link_way way, const char *text,
                   struct pc_trace_files *files, uint64_t now_ns, char *error, size_t error_size)
{
    for (int i = 0; i < 2; i++) {
        if ((way & (1 << i)) == 0)
            continue;
        struct pc_link_settings settings = *pc_link_settings(links[i]);
        if (!pc_link_parse(text, &settings, files, error, error_size))
            return false;
        pc_link_change(links[i], &settings, now_ns);
    }
    return true;
}

void pc_link_schedule_apply(struct pc_link_schedule *schedule, struct pc_link *const links[2],
                            struct pc_trace_files *files, uint64_t offset_ns, uint64_t now_ns)
{
    while (pc_link_schedule_next(schedule) <= offset_ns) {
        const struct pc_link_change *change = &schedule->changes[schedule->next++];
        char error[128];
        pc_link_apply(links, change->way, change->text, files, now_ns, error, sizeof error);
    }
}
