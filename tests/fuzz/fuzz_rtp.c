/* Parsing stays within the packet and takes all of it; what is written is read back. */

#include <errno.h>
#include <string.h>

#include "fuzz.h"
#include "rtp.h"

static void check_extensions(const struct pc_rtp_packet *packet)
{
    for (unsigned id = 0; id < 256; id++) {
        size_t size = SIZE_MAX;
        const uint8_t *found = pc_rtp_extension(packet, (uint8_t)id, &size);
        if (found == NULL)
            continue;
        REQUIRE(id != 0 && packet->extension_profile != 0);
        REQUIRE(found > packet->extension);
        REQUIRE(size <= packet->extension_bytes);
        REQUIRE((size_t)(found - packet->extension) <= packet->extension_bytes - size);
    }
}

static void check_parsing(const uint8_t *data, size_t size)
{
    struct pc_rtp_packet packet;
    long header = pc_rtp_header_bytes(data, size);
    int result = pc_rtp_parse(data, size, &packet);
    REQUIRE(result == 0 || result == -EBADMSG);
    REQUIRE(header == -EBADMSG || (header >= PC_RTP_HEADER_BYTES && (size_t)header <= size));
    if (result < 0)
        return;
    size_t padding = (data[0] & 0x20) != 0 ? data[size - 1] : 0;
    REQUIRE((size_t)header == packet.header_bytes);
    REQUIRE(packet.payload == data + packet.header_bytes);
    REQUIRE(packet.header_bytes + packet.payload_bytes + padding == size);
    check_extensions(&packet);
}

static void check_element(const struct pc_rtp_packet *packet, uint8_t id, const void *bytes,
                          size_t size)
{
    size_t found_size = 0;
    const uint8_t *found = pc_rtp_extension(packet, id, &found_size);
    REQUIRE(found != NULL && found_size == size);
    REQUIRE(bytes == NULL || memcmp(found, bytes, size) == 0);
}

static void check_round_trip(const uint8_t *data, size_t size)
{
    struct pc_rtp_fields fields;
    struct pc_rtp_extensions extensions;
    uint8_t out[PC_RTP_MAX_HEADER_BYTES];
    if (size < 1 + sizeof fields + sizeof extensions)
        return;
    bool with_mid = (data[0] & 1) != 0;
    memcpy(&extensions, data + 1 + sizeof fields, sizeof extensions);
    memset(&fields, 0, sizeof fields);
    fields.marker = (data[0] & 2) != 0;
    fields.payload_type = data[1] & 0x7F;
    memcpy(&fields.sequence, data + 2, 2);
    memcpy(&fields.timestamp, data + 4, 4);
    memcpy(&fields.ssrc, data + 8, 4);
    memcpy(&fields.send_ns, data + 12, 8);
    memcpy(&fields.transport_sequence, data + 20, 2);

    struct pc_rtp_packet packet;
    size_t written = pc_rtp_write(out, &fields, &extensions, with_mid);
    REQUIRE(written <= sizeof out && written % 4 == 0);
    REQUIRE(pc_rtp_parse(out, written, &packet) == 0);
    REQUIRE(packet.header_bytes == written && packet.payload_bytes == 0);
    REQUIRE(packet.marker == fields.marker && packet.payload_type == fields.payload_type);
    REQUIRE(packet.sequence == fields.sequence && packet.timestamp == fields.timestamp);
    REQUIRE(packet.ssrc == fields.ssrc);

    const uint8_t ids[] = {extensions.abs_send_time_id, extensions.transport_cc_id,
                           extensions.playout_delay_id, extensions.mid_id};
    for (int i = 0; i < 4; i++)
        for (int k = 0; k < i; k++)
            if (ids[i] == ids[k])
                return; /* negotiation gives each extension an id of its own */
    if (ids[0] != 0)
        check_element(&packet, ids[0], NULL, 3);
    if (ids[1] != 0) {
        const uint8_t sequence[] = {(uint8_t)(fields.transport_sequence >> 8),
                                    (uint8_t)fields.transport_sequence};
        check_element(&packet, ids[1], sequence, 2);
    }
    if (ids[2] != 0)
        check_element(&packet, ids[2], NULL, 3);
    size_t mid_size = strnlen(extensions.mid, 16);
    if (ids[3] != 0 && mid_size > 0 && with_mid)
        check_element(&packet, ids[3], extensions.mid, mid_size);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    check_parsing(data, size);
    check_round_trip(data, size);
    return 0;
}
