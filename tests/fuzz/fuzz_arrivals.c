/* Whatever arrives in whatever order: feedback can be read, tells of what came and of nothing else,
 * with the time at which it came, is due within its time, and no more often than allowed. */

#include <stdbool.h>

#include "arrivals.h"
#include "fuzz.h"
#include "rtcp.h"

static struct {
    unsigned run;
    struct {
        unsigned run; /* … in which a packet of this number came last, and when */
        int64_t tick;
    } came[65536];
    int64_t clock;
    uint16_t next;
    unsigned statuses;
} told;

static void on_feedback(void *context, const struct pc_rtcp_transport_feedback *feedback)
{
    (void)context;
    told.clock = (int64_t)feedback->reference_time * 256;
    told.next = feedback->base_sequence;
    REQUIRE(feedback->status_count <= PC_ARRIVALS_KEPT);
}

static void on_status(void *context, uint16_t sequence, bool received, int32_t delta_us)
{
    (void)context;
    REQUIRE(sequence == told.next);
    told.next++;
    told.statuses++;
    told.clock += delta_us / 250;
    if (received)
        REQUIRE(told.came[sequence].run == told.run &&
                (uint32_t)told.came[sequence].tick == (uint32_t)told.clock);
}

static void tell(struct pc_arrivals *arrivals, uint64_t now_ns)
{
    const struct pc_rtcp_handler handler = {.transport_feedback = on_feedback,
                                            .transport_status = on_status};
    uint8_t out[1200];
    long size;
    unsigned before = told.statuses;
    while ((size = pc_arrivals_write(arrivals, out, sizeof out, 1, 2, now_ns)) != 0) {
        REQUIRE(size > 0 && size <= (long)sizeof out && size % 4 == 0);
        REQUIRE(pc_rtcp_parse(out, (size_t)size, &handler) == 1);
        REQUIRE(told.statuses - before <= PC_ARRIVALS_KEPT);
    }
    REQUIRE(pc_arrivals_due(arrivals) == UINT64_MAX);
}

/* Is a packet of this number kept, so that another one is a copy? */
static bool is_here(const struct pc_arrivals *arrivals, uint16_t sequence)
{
    int64_t ahead = (int16_t)(sequence - (uint16_t)arrivals->highest);
    uint64_t number = (uint64_t)(arrivals->highest + ahead);
    return arrivals->started && ahead <= 0 && ahead > -PC_ARRIVALS_KEPT &&
           arrivals->ticks[number % PC_ARRIVALS_KEPT] != PC_RTCP_NOT_RECEIVED;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct pc_arrivals arrivals;
    pc_arrivals_init(&arrivals);
    told.run++;
    uint64_t now_ns = UINT64_C(5000000000), told_ns = 0;
    uint16_t sequence = 65500;
    /* Four bytes an arrival: steps in sequence number and time, and what else. */
    for (int i = 0; i < 200 && size >= 4; i++, data += 4, size -= 4) {
        int16_t step = (int8_t)data[0];
        if ((data[3] & 0x70) == 0x70)
            step = (int16_t)(data[0] << 8 | data[1]);
        sequence = (uint16_t)(sequence + step);
        now_ns += (uint64_t)(data[1] << 8 | data[2]) * ((data[3] & 0x0F) == 15 ? 1000000 : 1000);
        bool copy = is_here(&arrivals, sequence);
        pc_arrivals_add(&arrivals, sequence, (data[3] & 0x80) != 0, now_ns);
        if (!copy) {
            told.came[sequence].run = told.run;
            told.came[sequence].tick = (int64_t)(now_ns / PC_RTCP_TICK_NS);
        }
        uint64_t due = pc_arrivals_due(&arrivals);
        REQUIRE(due == UINT64_MAX || due <= now_ns + PC_ARRIVALS_WAIT_NS);
        if (due > now_ns)
            continue;
        REQUIRE(told_ns == 0 || now_ns - told_ns >= PC_ARRIVALS_SPACING_NS);
        tell(&arrivals, now_ns);
        told_ns = now_ns;
    }
    return 0;
}
