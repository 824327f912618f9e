/* What the benchmarks' programs share: options, pinning, the signal to stop, their own cost.
 *
 * Each program takes "--name value" pairs, prints one JSON object when it ends, and ends on SIGTERM
 * or when its parent does. Wrong options are one sentence and status 2. */
#ifndef BENCH_TOOL_H
#define BENCH_TOOL_H

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <time.h>

static volatile sig_atomic_t tool_stopped;

static inline void tool_on_signal(int number)
{
    (void)number;
    tool_stopped = 1;
}

_Noreturn static inline void tool_fail(const char *what, const char *why)
{
    fprintf(stderr, "%s: %s\n", what, why);
    exit(2);
}

/* The value of option `name`, or NULL. Fails when the options are no pairs. */
static inline const char *tool_option(int argc, char **argv, const char *name)
{
    const char *value = NULL;

    for (int i = 1; i < argc; i += 2) {
        if (strncmp(argv[i], "--", 2) != 0 || i + 1 == argc)
            tool_fail(argv[i], "options are pairs of --name and value");
        if (strcmp(argv[i] + 2, name) == 0)
            value = argv[i + 1];
    }
    return value;
}

static inline long tool_number(int argc, char **argv, const char *name, long otherwise)
{
    const char *text = tool_option(argc, argv, name);
    if (!text)
        return otherwise;
    char *end;
    errno = 0;
    long value = strtol(text, &end, 10);
    if (errno != 0 || end == text || *end != '\0')
        tool_fail(name, "takes a whole number");
    return value;
}

/* Every program begins with this: stop on signals and with the parent; sharp timers; `--cpu`. */
static inline void tool_begin(int argc, char **argv)
{
    struct sigaction action = {.sa_handler = tool_on_signal};
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGINT, &action, NULL);
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    prctl(PR_SET_TIMERSLACK, 1);

    long cpu = tool_number(argc, argv, "cpu", -1);
    if (cpu >= 0) {
        cpu_set_t set;
        CPU_ZERO(&set);
        CPU_SET((size_t)cpu, &set);
        if (sched_setaffinity(0, sizeof set, &set) < 0)
            tool_fail("cpu", strerror(errno));
    }
}

/* CPU seconds of this process so far, all threads. */
static inline double tool_cpu_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* Sleep until `at_ns` of CLOCK_MONOTONIC, or until stopped. */
static inline void tool_sleep_until(uint64_t at_ns)
{
    struct timespec t = {(time_t)(at_ns / 1000000000u), (long)(at_ns % 1000000000u)};
    while (!tool_stopped && clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL) == EINTR)
        ;
}

#endif
