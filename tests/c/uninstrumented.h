/* For the tests that decode: what ThreadSanitizer cannot judge. FFmpeg is not instrumented, so that
 * only its calls of malloc and free are seen, not what its slice threads agree by. */
#ifndef PC_TEST_UNINSTRUMENTED_H
#define PC_TEST_UNINSTRUMENTED_H

/* Visible whatever -fvisibility says: a hidden one is never asked, without a word. */
__attribute__((visibility("default"))) const char *__tsan_default_suppressions(void);
const char *__tsan_default_suppressions(void)
{
    return "race:libavcodec.so\nrace:libavutil.so\n";
}

#endif
