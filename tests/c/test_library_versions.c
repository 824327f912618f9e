#include "core.h"
#include "harness.h"

static void names_every_library(void)
{
    const char *versions = pc_library_versions();
    CHECK(strstr(versions, "x264 1") == versions);
    CHECK(strstr(versions, ", libvpx 1.") != NULL);
    CHECK(strstr(versions, ", libyuv 1") != NULL);
    CHECK(strstr(versions, ", libavcodec ") != NULL);
    CHECK(strstr(versions, ", OpenSSL 3.") != NULL);
    CHECK(pc_library_versions() == versions);
}

int main(void)
{
    RUN(names_every_library);
    return HARNESS_RESULT();
}
