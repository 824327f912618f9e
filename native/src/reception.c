#include "reception.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "clock.h"
#include "hub.h"

#define MAX_JITTER_TARGET_MS 2000
#define MAX_PATIENCE_MS      10000
#define RTCP_BYTES           1200

struct pc_reception {
    atomic_uint holders;
    struct pc_receive_settings settings;
    struct pc_playout *playout;

    /* what other threads want */
    atomic_bool closed, idr_wanted;
    atomic_int jitter_target_ms; /* -1: unchanged */

    pthread_mutex_t lock;
    struct pc_hub *hub; /* NULL before it was joined, and once it was left */
    struct pc_receiver_stats stats;

    /* I/O thread */
    struct pc_receiver *receiver;
    struct pc_transport *transport;
    uint32_t local_ssrc;
    uint64_t now_ns; /* of this turn */
};

/* ---- Between the threads ---- */

static void let_go(struct pc_reception *reception)
{
    if (atomic_fetch_sub(&reception->holders, 1) != 1)
        return;
    pc_receiver_destroy(reception->receiver);
    pc_playout_close(reception->playout);
    pthread_mutex_destroy(&reception->lock);
    free(reception);
}

static void wake(struct pc_reception *reception)
{
    pthread_mutex_lock(&reception->lock);
    if (reception->hub != NULL)
        pc_hub_wake_receptions(reception->hub);
    pthread_mutex_unlock(&reception->lock);
}

void pc_reception_request_idr(struct pc_reception *reception)
{
    atomic_store(&reception->idr_wanted, true);
    wake(reception);
}

static void want_idr(void *context)
{
    pc_reception_request_idr(context);
}

static int check_jitter_target(int milliseconds)
{
    if (milliseconds < 0 || milliseconds > MAX_JITTER_TARGET_MS)
        return pc_fail(-EINVAL, "jitter_target_ms is a number from 0 to %d, not %d",
                       MAX_JITTER_TARGET_MS, milliseconds);
    return 0;
}

int pc_reception_set_jitter_target(struct pc_reception *reception, int milliseconds)
{
    int error = check_jitter_target(milliseconds);
    if (error < 0)
        return error;
    atomic_store(&reception->jitter_target_ms, milliseconds);
    wake(reception);
    return 0;
}

int pc_reception_get_stats(struct pc_reception *reception, struct pc_reception_stats *out)
{
    pthread_mutex_lock(&reception->lock);
    out->receiver = reception->stats;
    pthread_mutex_unlock(&reception->lock);
    pc_playout_get_stats(reception->playout, out);
    return 0;
}

int pc_reception_fd(struct pc_reception *reception)
{
    return pc_playout_fd(reception->playout);
}

int pc_reception_unit_fd(struct pc_reception *reception)
{
    return pc_playout_unit_fd(reception->playout);
}

int pc_reception_read_picture(struct pc_reception *reception, struct pc_received_picture *picture,
                              uint8_t *out, size_t capacity)
{
    return pc_playout_read_picture(reception->playout, picture, out, capacity);
}

int pc_reception_read_unit(struct pc_reception *reception, struct pc_received_frame *frame,
                           uint8_t *out, size_t capacity)
{
    return pc_playout_read_unit(reception->playout, frame, out, capacity);
}

int pc_reception_frames(struct pc_reception *reception, uint64_t from_id,
                        struct pc_received_frame *out, int max)
{
    return pc_playout_frames(reception->playout, from_id, out, max);
}

/* ---- Opening and closing ---- */

static int check(const struct pc_receive_settings *settings)
{
    uint8_t media = settings->payload_type, rtx = settings->rtx_payload_type,
            fec = settings->fec_payload_type;
    if (settings->codec != PC_H264 && settings->codec != PC_VP8)
        return pc_fail(-EINVAL, "there is no codec %d", (int)settings->codec);
    if (media > 127 || rtx > 127 || fec > 127)
        return pc_fail(-EINVAL, "a payload type is a number from 0 to 127");
    if (media == rtx || media == fec || (rtx != 0 && rtx == fec))
        return pc_fail(-EINVAL, "payload_type, rtx_payload_type and fec_payload_type must differ");
    if (settings->patience_ms < 0 || settings->patience_ms > MAX_PATIENCE_MS)
        return pc_fail(-EINVAL, "patience_ms is a number from 0 to %d, not %d", MAX_PATIENCE_MS,
                       settings->patience_ms);
    if (settings->picture_depth < 0 || settings->picture_depth > PC_PLAYOUT_PICTURES)
        return pc_fail(-EINVAL, "picture_depth is a number from 0 to %d, not %d",
                       PC_PLAYOUT_PICTURES, settings->picture_depth);
    return check_jitter_target(settings->jitter_target_ms);
}

static void on_unit(void *context, const struct pc_received_unit *unit)
{
    struct pc_reception *reception = context;
    if (!pc_playout_offer(reception->playout, unit, reception->now_ns))
        atomic_store(&reception->idr_wanted, true); /* the receiver must not be called from here */
}

static void on_rtcp(void *context, uint8_t *data, size_t size)
{
    struct pc_reception *reception = context;
    if (reception->hub == NULL)
        return;
    uint8_t *out = reception->hub->scratch;
    memcpy(pc_transport_room(reception->transport, out), data, size);
    pc_transport_send_rtcp(reception->transport, out, (long)size, reception->now_ns,
                           &reception->hub->stats);
}

static struct pc_receiver *create_receiver(struct pc_reception *reception, uint64_t now_ns)
{
    const struct pc_receive_settings *settings = &reception->settings;
    struct pc_receiver_settings wanted = {
        .codec = settings->codec,
        .payload_type = settings->payload_type,
        .rtx_payload_type = settings->rtx_payload_type,
        .fec_payload_type = settings->fec_payload_type,
        .ssrc = settings->ssrc,
        .rtx_ssrc = settings->rtx_ssrc,
        .fec_ssrc = settings->fec_ssrc,
        .local_ssrc = reception->local_ssrc,
        .transport_cc_id = settings->transport_cc_id,
        .abs_send_time_id = settings->abs_send_time_id,
        .dependency_descriptor_id = settings->dependency_descriptor_id,
        .nack = settings->nack,
        .transport_feedback = settings->transport_feedback,
        .jitter_target_ns = (uint64_t)settings->jitter_target_ms * PC_NS_PER_MS,
        .patience_ns = (uint64_t)settings->patience_ms * PC_NS_PER_MS,
    };
    memcpy(wanted.cname, settings->cname, sizeof wanted.cname);
    const struct pc_receiver_out out = {.context = reception, .unit = on_unit, .rtcp = on_rtcp};
    return pc_receiver_create(&wanted, &out, now_ns);
}

int pc_reception_create(const struct pc_receive_settings *settings, uint32_t local_ssrc,
                        uint64_t now_ns, struct pc_reception **out)
{
    int error = check(settings);
    if (error < 0)
        return error;
    struct pc_reception *reception = calloc(1, sizeof *reception);
    if (reception == NULL)
        return pc_fail(-ENOMEM, "out of memory");
    atomic_init(&reception->holders, 1);
    atomic_init(&reception->jitter_target_ms, -1);
    pthread_mutex_init(&reception->lock, NULL);
    reception->settings = *settings;
    reception->settings.cname[sizeof reception->settings.cname - 1] = '\0';
    reception->local_ssrc = local_ssrc;
    error = pc_playout_open(settings, want_idr, reception, &reception->playout);
    if (error == 0 && (reception->receiver = create_receiver(reception, now_ns)) == NULL)
        error = pc_fail(-ENOMEM, "out of memory");
    if (error < 0) {
        let_go(reception);
        return error;
    }
    pc_receiver_get_stats(reception->receiver, &reception->stats);
    *out = reception;
    return 0;
}

void pc_reception_close(struct pc_reception *reception)
{
    if (reception == NULL)
        return;
    pc_playout_stop(reception->playout);
    atomic_store(&reception->closed, true);
    wake(reception);
    let_go(reception);
}

/* ---- I/O thread ---- */

void pc_reception_join(struct pc_reception *reception, struct pc_hub *hub,
                       struct pc_transport *transport)
{
    atomic_fetch_add(&reception->holders, 1);
    reception->transport = transport;
    pthread_mutex_lock(&reception->lock);
    reception->hub = hub;
    pthread_mutex_unlock(&reception->lock);
}

static void say_bye(struct pc_reception *reception, uint64_t now_ns)
{
    uint8_t *out = reception->hub->scratch;
    long size = pc_rtcp_write_bye(pc_transport_room(reception->transport, out), RTCP_BYTES,
                                  &reception->local_ssrc, 1, reception->settings.cname);
    pc_transport_send_rtcp(reception->transport, out, size, now_ns, &reception->hub->stats);
}

void pc_reception_leave(struct pc_reception *reception, uint64_t now_ns)
{
    say_bye(reception, now_ns);
    pthread_mutex_lock(&reception->lock);
    reception->hub = NULL;
    pthread_mutex_unlock(&reception->lock);
    pc_playout_end(reception->playout);
    let_go(reception);
}

bool pc_reception_closed(struct pc_reception *reception)
{
    return atomic_load(&reception->closed);
}

void pc_reception_packet(struct pc_reception *reception, const uint8_t *data, size_t size,
                         uint64_t now_ns)
{
    reception->now_ns = now_ns;
    pc_receiver_packet(reception->receiver, data, size, now_ns);
}

void pc_reception_rtcp(struct pc_reception *reception, const uint8_t *data, size_t size,
                       uint64_t now_ns, uint64_t ntp_now)
{
    reception->now_ns = now_ns;
    pc_receiver_rtcp(reception->receiver, data, size, now_ns, ntp_now);
}

uint64_t pc_reception_tick(struct pc_reception *reception, uint64_t now_ns, uint64_t ntp_now)
{
    reception->now_ns = now_ns;
    int target_ms = atomic_exchange(&reception->jitter_target_ms, -1);
    if (target_ms >= 0)
        pc_receiver_set_jitter_target(reception->receiver, (uint64_t)target_ms * PC_NS_PER_MS);
    uint64_t next = pc_receiver_tick(reception->receiver, now_ns, ntp_now);
    if (atomic_exchange(&reception->idr_wanted, false)) {
        pc_receiver_request_idr(reception->receiver, now_ns);
        next = pc_receiver_tick(reception->receiver, now_ns, ntp_now);
    }
    pthread_mutex_lock(&reception->lock);
    pc_receiver_get_stats(reception->receiver, &reception->stats);
    pthread_mutex_unlock(&reception->lock);
    return next;
}
