/* What a datagram can set off is bounded by its size, feedback is delivered whole or not at all,
 * and a cut packet is never taken. */

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "fuzz.h"
#include "rtcp.h"

struct heard {
    size_t nacks, others, statuses;
    unsigned open; /* statuses that the last transport feedback still owes */
    uint16_t next;
    uint64_t digest;
};

static void mix(struct heard *heard, uint64_t value)
{
    heard->digest = (heard->digest ^ value) * 0x9E3779B97F4A7C15u;
    heard->digest ^= heard->digest >> 29;
}

static void on_report(void *context, const struct pc_rtcp_report *report)
{
    struct heard *heard = context;
    REQUIRE(report->cumulative_lost >= -0x800000 && report->cumulative_lost < 0x800000);
    heard->others++;
    mix(heard, report->ssrc ^ (uint64_t)report->jitter << 32);
}

static void on_sender_report(void *context, const struct pc_rtcp_sender_info *info)
{
    struct heard *heard = context;
    heard->others++;
    mix(heard, info->ntp);
}

static void on_nack(void *context, uint32_t ssrc, uint16_t sequence)
{
    struct heard *heard = context;
    REQUIRE(heard->open == 0);
    heard->nacks++;
    mix(heard, (uint64_t)ssrc << 16 | sequence);
}

static void on_ssrc(void *context, uint32_t ssrc)
{
    struct heard *heard = context;
    REQUIRE(heard->open == 0);
    heard->others++;
    mix(heard, ssrc);
}

static void on_fir(void *context, uint32_t ssrc, uint8_t sequence)
{
    (void)sequence;
    on_ssrc(context, ssrc);
}

static void on_remb(void *context, uint64_t bitrate)
{
    struct heard *heard = context;
    heard->others++;
    mix(heard, bitrate);
}

static void on_reference_time(void *context, uint32_t ssrc, uint64_t ntp)
{
    on_ssrc(context, ssrc);
    mix(context, ntp);
}

static void on_feedback(void *context, const struct pc_rtcp_transport_feedback *feedback)
{
    struct heard *heard = context;
    REQUIRE(heard->open == 0);
    REQUIRE(feedback->status_count > 0);
    REQUIRE(feedback->reference_time >= -0x800000 && feedback->reference_time < 0x800000);
    heard->open = feedback->status_count;
    heard->next = feedback->base_sequence;
}

static void on_status(void *context, uint16_t sequence, bool received, int32_t delta_us)
{
    struct heard *heard = context;
    REQUIRE(heard->open > 0 && sequence == heard->next);
    REQUIRE(received || delta_us == 0);
    REQUIRE(delta_us % 250 == 0 && delta_us >= -32768 * 250 && delta_us <= 32767 * 250);
    heard->open--;
    heard->next++;
    heard->statuses++;
    mix(heard, (uint64_t)(uint32_t)delta_us << 17 | (uint64_t)received << 16 | sequence);
}

static int parse(const uint8_t *data, size_t size, struct heard *heard)
{
    const struct pc_rtcp_handler handler = {
        .context = heard,
        .report = on_report,
        .sender_report = on_sender_report,
        .nack = on_nack,
        .pli = on_ssrc,
        .fir = on_fir,
        .remb = on_remb,
        .bye = on_ssrc,
        .xr_reference_time = on_reference_time,
        .transport_feedback = on_feedback,
        .transport_status = on_status,
    };
    memset(heard, 0, sizeof *heard);
    int result = pc_rtcp_parse(data, size, &handler);
    REQUIRE(result == -EBADMSG || (result > 0 && (size_t)result <= size / 4));
    REQUIRE(heard->open == 0);
    REQUIRE(heard->nacks <= 17 * (size / 4));
    REQUIRE(heard->statuses <= 65535);
    REQUIRE(heard->others <= size / 4);
    return result;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct heard heard, again;
    int result = parse(data, size, &heard);
    REQUIRE(parse(data, size, &again) == result && again.digest == heard.digest);
    if (result < 0)
        return 0;

    /* One byte less is malformed, and delivers no more than the packets before the last. */
    uint8_t *cut = malloc(size - 1);
    memcpy(cut, data, size - 1);
    REQUIRE(parse(cut, size - 1, &again) == -EBADMSG);
    REQUIRE(again.nacks + again.others + again.statuses <=
            heard.nacks + heard.others + heard.statuses);
    free(cut);

    const struct pc_rtcp_handler none = {0};
    REQUIRE(pc_rtcp_parse(data, size, &none) == result);
    return 0;
}
