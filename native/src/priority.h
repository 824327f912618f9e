/* Threads ahead of the rest of the machine, where the system lets us. */
#ifndef PC_PRIORITY_H
#define PC_PRIORITY_H

#include <sys/resource.h>

/* Give the calling thread, and those that it starts, at least this priority (a nice value). Without
 * the right to (CAP_SYS_NICE, RLIMIT_NICE) it keeps the one it has. */
static inline void pc_raise_priority(int nice)
{
    if (getpriority(PRIO_PROCESS, 0) > nice)
        setpriority(PRIO_PROCESS, 0, nice);
}

#endif
