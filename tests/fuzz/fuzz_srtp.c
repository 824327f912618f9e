/* A receiver takes each genuine packet once and nothing else, whatever comes between.
 *
 * The input is a script: what genuine packets come in which order, which are tampered with, and raw
 * bytes in between. A model says what has to come out. */

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "fuzz.h"
#include "srtp.h"

#define MAX_STEPS   64
#define FIRST_INDEX 65000 /* scripts get over the rollover easily */

struct script {
    const uint8_t *data;
    size_t left;
};

struct model {
    uint64_t accepted[MAX_STEPS + 1];
    int count;
    uint64_t highest;
};

static uint32_t take(struct script *script, size_t bytes)
{
    uint32_t value = 0;
    for (; bytes > 0 && script->left > 0; bytes--, script->left--)
        value = value << 8 | *script->data++;
    return value;
}

static bool was_accepted(const struct model *model, uint64_t index)
{
    for (int i = 0; i < model->count; i++)
        if (model->accepted[i] == index)
            return true;
    return false;
}

static long genuine(struct pc_srtp *sender, uint64_t index, size_t payload_bytes, uint8_t *packet)
{
    uint8_t payload[256];
    struct pc_piece pieces[] = {{payload, payload_bytes / 3},
                                {payload + payload_bytes / 3, payload_bytes - payload_bytes / 3}};
    memset(payload, (uint8_t)index, sizeof payload);
    const uint8_t header[12] = {0x80, 96, (uint8_t)(index >> 8), (uint8_t)index, 0, 0, 0, 0, 1, 2,
                                3,    4};
    memcpy(packet, header, sizeof header);
    return pc_srtp_protect(sender, index, packet, sizeof header, pieces, 2);
}

static void receive_genuine(struct pc_srtp *sender, struct pc_srtp *receiver, struct model *model,
                            uint64_t index, size_t payload_bytes)
{
    uint8_t packet[300];
    long size = genuine(sender, index, payload_bytes, packet);
    REQUIRE(size == (long)(12 + payload_bytes + pc_srtp_overhead(sender)));
    bool replayed =
        index <= model->highest && (model->highest - index >= 1024 || was_accepted(model, index));
    long result = pc_srtp_unprotect(receiver, packet, (size_t)size);
    if (replayed) {
        REQUIRE(result == -EALREADY);
        return;
    }
    REQUIRE(result == (long)(12 + payload_bytes));
    for (size_t i = 0; i < payload_bytes; i++)
        REQUIRE(packet[12 + i] == (uint8_t)index);
    model->accepted[model->count++] = index;
    if (index > model->highest)
        model->highest = index;
}

static void receive_raw(struct pc_srtp *receiver, struct script *script, bool rtcp)
{
    size_t size = take(script, 1);
    if (size > script->left)
        size = script->left;
    uint8_t *packet = malloc(size > 0 ? size : 1);
    memcpy(packet, script->data, size);
    script->data += size;
    script->left -= size;
    long result = rtcp ? pc_srtp_unprotect_rtcp(receiver, packet, size)
                       : pc_srtp_unprotect(receiver, packet, size);
    REQUIRE(result == -EBADMSG || result == -EPERM || result == -EALREADY);
    free(packet);
}

static void receive_tampered(struct pc_srtp *sender, struct pc_srtp *receiver, uint64_t index,
                             uint32_t how)
{
    uint8_t packet[300];
    long size = genuine(sender, index, how % 100, packet);
    packet[(how >> 8) % (size_t)size] ^= (uint8_t)(1 << how % 8);
    REQUIRE(pc_srtp_unprotect(receiver, packet, (size_t)size) < 0);
}

static void receive_rtcp(struct pc_srtp *sender, struct pc_srtp *receiver, size_t body_bytes)
{
    uint8_t packet[400], again[400];
    memset(packet, 0xA5, sizeof packet);
    packet[0] = 0x80;
    long size = pc_srtp_protect_rtcp(sender, packet, 8 + body_bytes);
    REQUIRE(size > 0 && (size_t)size <= 8 + body_bytes + PC_SRTCP_MAX_OVERHEAD);
    memcpy(again, packet, (size_t)size);
    again[body_bytes % (size_t)size] ^= 0x10;
    REQUIRE(pc_srtp_unprotect_rtcp(receiver, again, (size_t)size) < 0);
    memcpy(again, packet, (size_t)size);
    REQUIRE(pc_srtp_unprotect_rtcp(receiver, packet, (size_t)size) == (long)(8 + body_bytes));
    for (size_t i = 1; i < 8 + body_bytes; i++)
        REQUIRE(packet[i] == 0xA5);
    REQUIRE(pc_srtp_unprotect_rtcp(receiver, again, (size_t)size) == -EALREADY);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const enum pc_srtp_profile profiles[] = {
        PC_SRTP_AES128_CM_SHA1_80, PC_SRTP_AEAD_AES_128_GCM, PC_SRTP_AEAD_AES_256_GCM};
    static const uint8_t key[44] = {1, 2, 3};
    struct script script = {data, size};
    struct pc_srtp *sender, *receiver;
    enum pc_srtp_profile profile = profiles[take(&script, 1) % 3];
    size_t key_bytes = (size_t)(pc_srtp_key_bytes(profile) + pc_srtp_salt_bytes(profile));
    REQUIRE(pc_srtp_create(profile, key, key_bytes, &sender) == 0);
    REQUIRE(pc_srtp_create(profile, key, key_bytes, &receiver) == 0);

    struct model model = {0};
    receive_genuine(sender, receiver, &model, FIRST_INDEX, 10);
    for (int step = 0; step < MAX_STEPS && script.left > 0; step++) {
        uint32_t kind = take(&script, 1);
        uint64_t near = model.highest - 1500 + take(&script, 1) * 8;
        if (kind % 8 < 3)
            receive_genuine(sender, receiver, &model, near, kind);
        else if (kind % 8 == 3)
            receive_genuine(sender, receiver, &model, model.highest + take(&script, 2) % 32768,
                            kind);
        else if (kind % 8 == 4)
            receive_tampered(sender, receiver, near, take(&script, 2));
        else if (kind % 8 == 5)
            receive_rtcp(sender, receiver, kind);
        else
            receive_raw(receiver, &script, kind % 8 == 6);
    }
    pc_srtp_destroy(sender);
    pc_srtp_destroy(receiver);
    return 0;
}
