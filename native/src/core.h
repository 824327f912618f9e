/* core.cdef.h as a C header: what Python may call, and what the core shares with it. */
#ifndef PC_CORE_H
#define PC_CORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "../core.cdef.h"

/* Set the text that pc_error_text() returns on this thread, and return `code` (a negative errno).
 */
int pc_fail(int code, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
