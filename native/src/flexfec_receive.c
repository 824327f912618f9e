/* Media packets are kept in a ring by sequence number, repairs until they are of use or too old.
 * A repair counts how many of its packets are missing. At one, that packet is computed, which may
 * in turn be what another repair waited for. */
#include "flexfec.h"

#include <errno.h>
#include <stdlib.h>

#include "flexfec_parity.h"

#define MEDIA_PACKETS    512 /* kept; power of two */
#define PENDING_REPAIRS  64
#define PACKET_BYTES     1500
#define MAX_PARITY_BYTES (PACKET_BYTES - PC_RTP_HEADER_BYTES)

struct media {
    int64_t index; /* sequence number, unwrapped; 0 = nothing here */
    uint16_t size, header_bytes;
    bool resent;
    uint8_t data[PACKET_BYTES];
};

struct repair {
    int64_t base;
    uint64_t mask[2]; /* bit d: base + d is protected */
    int missing;      /* 0 = nothing here */
    uint16_t parity_bytes;
    uint8_t fixed[8]; /* recovery fields of the FEC header */
    uint8_t parity[MAX_PARITY_BYTES];
};

struct pc_flexfec_receiver {
    uint32_t ssrc;
    struct pc_rtp_extensions extensions;
    void (*on_recovered)(void *context, const uint8_t *packet, size_t size);
    void *context;
    int64_t newest; /* index of the newest media packet, >= 65535 once there is one; 0 before */
    int pending;    /* repairs that wait */
    int next;       /* where the next repair goes */
    struct pc_flexfec_stats stats;
    struct media media[MEDIA_PACKETS];
    struct repair repairs[PENDING_REPAIRS];
};

struct pc_flexfec_receiver *
pc_flexfec_receiver_create(uint32_t protected_ssrc, const struct pc_rtp_extensions *extensions,
                           void (*on_recovered)(void *context, const uint8_t *packet, size_t size),
                           void *context)
{
    struct pc_flexfec_receiver *receiver = calloc(1, sizeof *receiver);
    if (receiver == NULL)
        return NULL;
    receiver->ssrc = protected_ssrc;
    receiver->extensions = *extensions;
    receiver->on_recovered = on_recovered;
    receiver->context = context;
    return receiver;
}

void pc_flexfec_receiver_destroy(struct pc_flexfec_receiver *receiver)
{
    free(receiver);
}

void pc_flexfec_receiver_get_stats(const struct pc_flexfec_receiver *receiver,
                                   struct pc_flexfec_stats *out)
{
    *out = receiver->stats;
}

/* ---- What is kept ---- */

static int64_t unwrap(const struct pc_flexfec_receiver *receiver, uint16_t sequence)
{
    return receiver->newest + (int16_t)(sequence - (uint16_t)receiver->newest);
}

static struct media *slot(struct pc_flexfec_receiver *receiver, int64_t index)
{
    return &receiver->media[index & (MEDIA_PACKETS - 1)];
}

static bool have(struct pc_flexfec_receiver *receiver, int64_t index)
{
    return slot(receiver, index)->index == index;
}

static bool covers(const struct repair *repair, int64_t index)
{
    int64_t d = index - repair->base;
    return d >= 0 && d < PC_FLEXFEC_MAX_PACKETS && (repair->mask[d / 64] >> d % 64 & 1) != 0;
}

static void drop(struct pc_flexfec_receiver *receiver, struct repair *repair)
{
    repair->missing = 0;
    receiver->pending--;
}

/* A packet has come, one way or the other. */
static void note_arrival(struct pc_flexfec_receiver *receiver, int64_t index)
{
    if (index > receiver->newest)
        receiver->newest = index;
    if (receiver->pending == 0)
        return;
    for (int i = 0; i < PENDING_REPAIRS; i++) {
        struct repair *repair = &receiver->repairs[i];
        if (repair->missing > 0 && covers(repair, index) && --repair->missing == 0) {
            receiver->stats.useless++;
            receiver->pending--;
        }
    }
}

/* ---- Repairing ---- */

/* Compute the one packet that the repair misses, into its place in the ring. Returns it, or NULL
 * when what comes out is no packet. */
static struct media *recover(struct pc_flexfec_receiver *receiver, const struct repair *repair)
{
    uint8_t fixed[8], data[PACKET_BYTES];
    uint8_t *parity = data + PC_RTP_HEADER_BYTES;
    int64_t missing = -1;
    size_t common_header = 0; /* of the packets that take part, 0 = they differ */
    bool first = true, original = false, resent = false;
    memcpy(fixed, repair->fixed, sizeof fixed);
    memcpy(parity, repair->parity, repair->parity_bytes);
    for (int64_t index = repair->base; index < repair->base + PC_FLEXFEC_MAX_PACKETS; index++) {
        if (!covers(repair, index))
            continue;
        if (!have(receiver, index)) {
            missing = index;
            continue;
        }
        const struct media *media = slot(receiver, index);
        size_t beyond = media->size - (size_t)PC_RTP_HEADER_BYTES;
        pc_flexfec_xor_fixed(fixed, media->data, media->size);
        pc_flexfec_xor(parity, media->data + PC_RTP_HEADER_BYTES,
                       beyond < repair->parity_bytes ? beyond : repair->parity_bytes);
        if (first || common_header != media->header_bytes)
            common_header = first ? media->header_bytes : 0;
        first = false;
        original |= !media->resent;
        resent |= media->resent;
    }
    size_t size = PC_RTP_HEADER_BYTES + (size_t)pc_flexfec_read16(fixed + 2);
    if (size > PC_RTP_HEADER_BYTES + (size_t)repair->parity_bytes)
        return NULL;
    data[0] = (uint8_t)((fixed[0] & 0x3F) | 0x80);
    data[1] = fixed[1];
    pc_flexfec_write16(data + 2, (uint16_t)missing);
    memcpy(data + 4, fixed + 4, 4);
    pc_flexfec_write16(data + 8, (uint16_t)(receiver->ssrc >> 16));
    pc_flexfec_write16(data + 10, (uint16_t)receiver->ssrc);
    long header = pc_rtp_header_bytes(data, size);
    /* What was unwrapped from RTX may have had other extensions when it was protected. Then its
     * payload began elsewhere, and what comes out here is noise: an original must vouch for it. */
    if (header < 0 || (resent && (!original || (size_t)header != common_header)))
        return NULL;
    struct media *to = slot(receiver, missing);
    *to =
        (struct media){.index = missing, .size = (uint16_t)size, .header_bytes = (uint16_t)header};
    memcpy(to->data, data, size);
    return to;
}

/* Do what the repairs allow until they allow no more. */
static void settle(struct pc_flexfec_receiver *receiver)
{
    for (int i = 0; i < PENDING_REPAIRS && receiver->pending > 0; i++) {
        struct repair *repair = &receiver->repairs[i];
        if (repair->missing != 1)
            continue;
        drop(receiver, repair);
        if (repair->base <= receiver->newest - MEDIA_PACKETS) {
            receiver->stats.useless++;
            continue;
        }
        const struct media *media = recover(receiver, repair);
        if (media == NULL) {
            receiver->stats.malformed++;
            continue;
        }
        receiver->stats.recovered++;
        note_arrival(receiver, media->index);
        receiver->on_recovered(receiver->context, media->data, media->size);
        i = -1; /* from the start: another repair may have waited for this one */
    }
}

/* ---- What comes in ---- */

void pc_flexfec_receive_media(struct pc_flexfec_receiver *receiver, const uint8_t *packet,
                              size_t size, bool resent)
{
    long header = pc_rtp_header_bytes(packet, size);
    if (header < 0 || size > PACKET_BYTES)
        return;
    uint32_t ssrc = (uint32_t)pc_flexfec_read16(packet + 8) << 16 | pc_flexfec_read16(packet + 10);
    if (ssrc != receiver->ssrc)
        return;
    uint16_t sequence = pc_flexfec_read16(packet + 2);
    if (receiver->newest == 0)
        receiver->newest = 0x10000 + (int64_t)sequence - 1;
    int64_t index = unwrap(receiver, sequence);
    if (index <= receiver->newest - MEDIA_PACKETS || have(receiver, index))
        return;
    struct media *media = slot(receiver, index);
    media->index = index;
    media->size = (uint16_t)size;
    media->header_bytes = (uint16_t)header;
    media->resent = resent;
    memcpy(media->data, packet, size);
    pc_flexfec_zero_mutable(media->data, (size_t)header, &receiver->extensions);
    note_arrival(receiver, index);
    settle(receiver);
}

/* The mask's words: 15, 31 and 63 bits, each behind a bit k that says whether it is the last one.
 * Returns the mask's bytes, or -EBADMSG. */
static long read_mask(const uint8_t *data, size_t size, uint64_t mask[2])
{
    static const struct {
        int at, bits, first;
    } words[] = {{0, 16, 0}, {2, 32, 15}, {6, 64, 46}};
    for (int w = 0; w < 3; w++) {
        size_t end = (size_t)(words[w].at + words[w].bits / 8);
        if (size < end)
            return -EBADMSG;
        for (int bit = 1; bit < words[w].bits; bit++) {
            int d = words[w].first + bit - 1;
            if ((data[words[w].at + bit / 8] >> (7 - bit % 8) & 1) != 0)
                mask[d / 64] |= UINT64_C(1) << d % 64;
        }
        if ((data[words[w].at] & 0x80) != 0)
            return (long)end;
    }
    return -EBADMSG;
}

/* -EBADMSG when it is nothing that this receiver can use. */
static int parse_repair(struct pc_flexfec_receiver *receiver, const uint8_t *payload, size_t size,
                        struct repair *out)
{
    if (size < PC_FLEXFEC_BASE_HEADER || (payload[0] & 0xC0) != 0 || payload[8] != 1)
        return -EBADMSG;
    uint32_t ssrc =
        (uint32_t)pc_flexfec_read16(payload + 12) << 16 | pc_flexfec_read16(payload + 14);
    out->mask[0] = out->mask[1] = 0;
    long mask_bytes =
        read_mask(payload + PC_FLEXFEC_BASE_HEADER, size - PC_FLEXFEC_BASE_HEADER, out->mask);
    if (ssrc != receiver->ssrc || mask_bytes < 0 || (out->mask[0] | out->mask[1]) == 0)
        return -EBADMSG;
    size_t header = PC_FLEXFEC_BASE_HEADER + (size_t)mask_bytes;
    if (size - header > MAX_PARITY_BYTES)
        return -EBADMSG;
    uint16_t base = pc_flexfec_read16(payload + 16);
    if (receiver->newest == 0)
        receiver->newest = 0x10000 + (int64_t)base - 1;
    out->base = unwrap(receiver, base);
    out->parity_bytes = (uint16_t)(size - header);
    memcpy(out->fixed, payload, sizeof out->fixed);
    memcpy(out->parity, payload + header, size - header);
    return 0;
}

int pc_flexfec_receive_repair(struct pc_flexfec_receiver *receiver, const uint8_t *payload,
                              size_t size)
{
    struct repair *repair = &receiver->repairs[receiver->next];
    receiver->stats.repairs++;
    if (repair->missing > 0) {
        receiver->stats.useless++;
        drop(receiver, repair);
    }
    if (parse_repair(receiver, payload, size, repair) < 0) {
        receiver->stats.malformed++;
        return -EBADMSG;
    }
    int missing = 0;
    uint16_t last = 0;
    for (int64_t index = repair->base; index < repair->base + PC_FLEXFEC_MAX_PACKETS; index++) {
        if (!covers(repair, index))
            continue;
        missing += !have(receiver, index);
        last = (uint16_t)index;
    }
    if (missing == 0 || repair->base <= receiver->newest - MEDIA_PACKETS ||
        repair->base > receiver->newest + MEDIA_PACKETS) {
        receiver->stats.useless++;
        return last;
    }
    repair->missing = missing;
    receiver->pending++;
    receiver->next = (receiver->next + 1) % PENDING_REPAIRS;
    settle(receiver);
    return last;
}
