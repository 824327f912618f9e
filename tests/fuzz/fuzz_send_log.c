/* Whatever feedback says, in any order with what is sent: a packet is reported as received at most
 * once and as lost at most once, in order of sending, as it was sent; nothing is reported that was
 * not sent; every status is accounted for. */

#include <stdlib.h>
#include <string.h>

#include "fuzz.h"
#include "send_log.h"

struct input {
    const uint8_t *at, *end;
};

static uint32_t take(struct input *input, int bytes)
{
    uint32_t value = 0;
    for (; bytes > 0; bytes--)
        value = value << 8 | (input->at < input->end ? *input->at++ : 0);
    return value;
}

#define SENT_MOST 200000u

static uint8_t told[SENT_MOST]; /* bit 0: lost, bit 1: received */
static uint32_t sent, statuses;
static uint64_t reported;

static void send(struct pc_send_log *log, uint32_t count, uint64_t now_ns)
{
    for (; count > 0 && sent < SENT_MOST; count--, sent++) {
        told[sent] = 0;
        struct pc_sent_packet packet = {.sent_ns = now_ns, .bytes = sent % 1400, .frame = sent};
        pc_send_log_add(log, (uint16_t)sent, &packet);
    }
}

static void look(struct pc_send_log *log)
{
    const struct pc_packet_report *reports;
    int count = pc_send_log_take(log, &reports);
    uint32_t before = 0;
    for (int i = 0; i < count; i++) {
        uint32_t frame = reports[i].packet.frame;
        uint8_t bit = reports[i].received ? 2 : 1;
        REQUIRE(frame < sent && sent - frame <= PC_SEND_LOG_PACKETS && frame >= before);
        REQUIRE(reports[i].transport_sequence == (uint16_t)frame);
        REQUIRE(reports[i].packet.bytes == frame % 1400);
        REQUIRE((told[frame] & (bit | 2)) == 0);
        REQUIRE(reports[i].was_lost == (told[frame] != 0));
        told[frame] |= bit;
        before = frame;
    }
    reported += (uint64_t)count;
    REQUIRE(pc_send_log_take(log, &reports) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input input = {data, data + size};
    struct pc_send_log *log = pc_send_log_create();
    uint64_t now_ns = take(&input, 4) * 1000ull;
    sent = statuses = 0;
    reported = 0;
    while (input.at < input.end) {
        uint32_t what = take(&input, 1), value = take(&input, 2);
        switch (what % 6) {
        case 0:
            look(log);
            send(log, value % 300, now_ns);
            break;
        case 1:
            now_ns += value * 100000ull;
            break;
        case 2: {
            struct pc_rtcp_transport_feedback feedback = {
                .base_sequence = (uint16_t)value,
                .reference_time = (int32_t)(take(&input, 3) << 8) / 256};
            pc_send_log_feedback(log, &feedback);
            break;
        }
        case 3: {
            uint32_t first = sent - value % 400, step = take(&input, 1);
            for (uint32_t i = 0; i < step; i++, statuses++) {
                bool received = (what >> (i % 5 + 3) & 1) != 0;
                pc_send_log_status(log, (uint16_t)(first + i), received,
                                   received ? (int32_t)(int16_t)(value * i) * 250 : 0);
            }
            break;
        }
        case 4:
            pc_send_log_status(log, (uint16_t)value, (what & 8) != 0, 0);
            statuses++;
            break;
        case 5:
            look(log);
            REQUIRE(pc_send_log_in_flight(log, now_ns, value * 1000000ull) <=
                    PC_SEND_LOG_PACKETS * 1400ull);
            break;
        }
    }
    look(log);
    struct pc_send_log_stats stats;
    pc_send_log_get_stats(log, &stats);
    REQUIRE(reported + stats.repeated + stats.unknown + stats.nonsense == statuses);
    pc_send_log_destroy(log);
    return 0;
}
