#include "core.h"

#include <stdarg.h>
#include <stdio.h>

#include "clock.h"

static _Thread_local char error_text[512];

int pc_fail(int code, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(error_text, sizeof error_text, format, arguments);
    va_end(arguments);
    return code;
}

const char *pc_error_text(void)
{
    return error_text;
}

uint64_t pc_clock_ns(void)
{
    return pc_now_ns();
}
