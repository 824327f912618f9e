#include "rtcp.h"

#include <errno.h>
#include <string.h>

#include "rtcp_types.h"

static uint8_t *write32(uint8_t *p, uint32_t value)
{
    p[0] = (uint8_t)(value >> 24);
    p[1] = (uint8_t)(value >> 16);
    p[2] = (uint8_t)(value >> 8);
    p[3] = (uint8_t)value;
    return p + 4;
}

/* `bytes`: of the whole packet, head included. */
static uint8_t *write_head(uint8_t *p, unsigned count, enum pc_rtcp_type type, size_t bytes)
{
    return write32(p, 2u << 30 | count << 24 | (unsigned)type << 16 | (uint32_t)(bytes / 4 - 1));
}

/* Head, SSRC, item type and length, text, and at least one null octet that ends the list. */
static size_t sdes_bytes(size_t cname_bytes)
{
    return 4 + ((4 + 2 + cname_bytes + 1 + 3) & ~(size_t)3);
}

static uint8_t *write_sdes(uint8_t *p, uint32_t ssrc, const char *cname, size_t cname_bytes)
{
    size_t bytes = sdes_bytes(cname_bytes);
    uint8_t *end = p + bytes;
    p = write_head(p, 1, TYPE_SDES, bytes);
    p = write32(p, ssrc);
    *p++ = SDES_CNAME;
    *p++ = (uint8_t)cname_bytes;
    memcpy(p, cname, cname_bytes);
    p += cname_bytes;
    memset(p, 0, (size_t)(end - p));
    return end;
}

long pc_rtcp_write_sr(uint8_t *out, size_t capacity, const struct pc_rtcp_sender_info *info,
                      const char *cname)
{
    size_t cname_bytes = strlen(cname);
    if (cname_bytes > 255)
        return -EINVAL;
    if (capacity < 28 + sdes_bytes(cname_bytes))
        return -ENOSPC;
    uint8_t *p = write_head(out, 0, TYPE_SR, 28);
    p = write32(p, info->ssrc);
    p = write32(p, (uint32_t)(info->ntp >> 32));
    p = write32(p, (uint32_t)info->ntp);
    p = write32(p, info->rtp_timestamp);
    p = write32(p, info->packets);
    p = write32(p, info->octets);
    p = write_sdes(p, info->ssrc, cname, cname_bytes);
    return p - out;
}

long pc_rtcp_write_bye(uint8_t *out, size_t capacity, const uint32_t *ssrcs, int count,
                       const char *cname)
{
    size_t cname_bytes = strlen(cname);
    if (cname_bytes > 255 || count < 1 || count > 31)
        return -EINVAL;
    size_t bye_bytes = 4 + 4 * (size_t)count;
    if (capacity < 8 + sdes_bytes(cname_bytes) + bye_bytes)
        return -ENOSPC;
    uint8_t *p = write_head(out, 0, TYPE_RR, 8);
    p = write32(p, ssrcs[0]);
    p = write_sdes(p, ssrcs[0], cname, cname_bytes);
    p = write_head(p, (unsigned)count, TYPE_BYE, bye_bytes);
    for (int i = 0; i < count; i++)
        p = write32(p, ssrcs[i]);
    return p - out;
}

long pc_rtcp_write_rr(uint8_t *out, size_t capacity, uint32_t reporter,
                      const struct pc_rtcp_report *report, const char *cname)
{
    size_t cname_bytes = strlen(cname);
    if (cname_bytes > 255)
        return -EINVAL;
    size_t rr_bytes = report != NULL ? 8 + REPORT_BLOCK_BYTES : 8;
    if (capacity < rr_bytes + sdes_bytes(cname_bytes))
        return -ENOSPC;
    uint8_t *p = write_head(out, report != NULL, TYPE_RR, rr_bytes);
    p = write32(p, reporter);
    if (report != NULL) {
        p = write32(p, report->ssrc);
        p = write32(p, (uint32_t)report->fraction_lost << 24 |
                           ((uint32_t)report->cumulative_lost & 0xFFFFFF));
        p = write32(p, report->highest_sequence);
        p = write32(p, report->jitter);
        p = write32(p, report->last_sr);
        p = write32(p, report->delay_since_last_sr);
    }
    p = write_sdes(p, reporter, cname, cname_bytes);
    return p - out;
}

static uint8_t *write_feedback_head(uint8_t *p, unsigned format, enum pc_rtcp_type type,
                                    size_t bytes, uint32_t sender_ssrc, uint32_t media_ssrc)
{
    p = write_head(p, format, type, bytes);
    p = write32(p, sender_ssrc);
    return write32(p, media_ssrc);
}

long pc_rtcp_write_pli(uint8_t *out, size_t capacity, uint32_t sender_ssrc, uint32_t media_ssrc)
{
    if (capacity < 12)
        return -ENOSPC;
    return write_feedback_head(out, PSFB_PLI, TYPE_PSFB, 12, sender_ssrc, media_ssrc) - out;
}

/* RFC 4585 6.2.1: a packet id, and a bit mask of the 16 that follow it. */
long pc_rtcp_write_nack(uint8_t *out, size_t capacity, uint32_t sender_ssrc, uint32_t media_ssrc,
                        const uint16_t *sequences, int *count)
{
    if (*count < 1)
        return -EINVAL;
    if (capacity < 16)
        return -ENOSPC;
    uint8_t *p = out + 12;
    int i = 0;
    while (i < *count && p + 4 <= out + capacity) {
        uint16_t first = sequences[i++];
        uint32_t following = 0;
        for (; i < *count; i++) {
            uint16_t distance = (uint16_t)(sequences[i] - first);
            if (distance < 1 || distance > 16)
                break;
            following |= 1u << (distance - 1);
        }
        p = write32(p, (uint32_t)first << 16 | following);
    }
    *count = i;
    write_feedback_head(out, RTPFB_NACK, TYPE_RTPFB, (size_t)(p - out), sender_ssrc, media_ssrc);
    return p - out;
}
