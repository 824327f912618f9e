#include <libavcodec/avcodec.h>
#include <libyuv/version.h>
#include <openssl/opensslv.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <vpx/vpx_codec.h>
#include <x264.h>

#include "core.h"

static char versions[160];
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void describe(void)
{
    const char *vpx = vpx_codec_version_str();
    snprintf(versions, sizeof versions,
             "x264 %d, libvpx %s, libyuv %d, libavcodec %d.%d.%d, OpenSSL %s", X264_BUILD,
             vpx + strspn(vpx, "v"), LIBYUV_VERSION, LIBAVCODEC_VERSION_MAJOR,
             LIBAVCODEC_VERSION_MINOR, LIBAVCODEC_VERSION_MICRO, OPENSSL_VERSION_STR);
}

const char *pc_library_versions(void)
{
    pthread_once(&once, describe);
    return versions;
}
