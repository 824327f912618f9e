#include "sender.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "clock.h"
#include "sender_media.h"
#include "sender_packet.h"
#include "sender_repair.h"

#define PACE_STEP_NS      (PC_NS_PER_MS / 4) /* waking more often costs more than it gives */
#define ORDINARY_FRAME    1.25 /* shares of the bitrate: the budget that the encoder is held to */
#define DEFAULT_PACING    4.0
#define SMALL_BURST       4.0          /* packets that may leave at once on any path … */
#define BURST_NS          PC_NS_PER_MS /* … and what it takes in so long */
#define DEFAULT_RTX_SHARE 0.25
#define RTX_BURST         4.0 /* frames: a burst of losses is resent at once, and its copies */

void pc_sender_init(struct pc_sender *sender, struct pc_transport *transport)
{
    memset(sender, 0, sizeof *sender);
    sender->transport = transport;
    sender->stats.rtt_ms = -1;
    pc_history_init(&sender->history);
}

/* The unit at the head has left: the next frame may be taken, unless the network has to drain
 * before. */
static void drain(struct pc_sender *sender, uint64_t now_ns)
{
    uint64_t frame_id = sender->queue[sender->head].au->frame_id;
    struct pc_feed *feed = sender->queue[sender->head].feed;
    if (feed == NULL)
        return;
    if (now_ns < sender->rate.hold_until_ns)
        sender->undrained = frame_id + 1;
    else
        pc_feed_drain(feed, frame_id);
}

static void release(struct pc_sender *sender)
{
    if (sender->undrained != 0)
        pc_feed_drain(sender->feed, sender->undrained - 1);
    sender->undrained = 0;
}

static void let_go_of_head(struct pc_sender *sender)
{
    pc_au_unref(sender->queue[sender->head].au);
    sender->head = (sender->head + 1) % PC_SENDER_QUEUE;
    sender->length--;
    sender->next_payload = 0;
    if (sender->fec != NULL)
        pc_flexfec_begin(sender->fec); /* what it remembers was the unit's */
}

/* What is in the queue is waited for no longer. */
static void drain_queue(struct pc_sender *sender)
{
    for (unsigned i = 0; i < sender->length; i++) {
        unsigned at = (sender->head + i) % PC_SENDER_QUEUE;
        if (sender->queue[at].feed != NULL)
            pc_feed_drain(sender->queue[at].feed, sender->queue[at].au->frame_id);
        sender->queue[at].feed = NULL;
    }
}

/* Give up what is in the queue. */
static void clear_queue(struct pc_sender *sender)
{
    sender->frame += sender->next_payload > 0; /* what comes is another unit */
    drain_queue(sender);
    while (sender->length > 0)
        let_go_of_head(sender);
}

void pc_sender_free(struct pc_sender *sender)
{
    assert(sender->feed == NULL);
    pc_rate_loop_free(&sender->rate);
    free(sender->fec);
    sender->fec = NULL;
}

/* What RTP time 0 of the feed is on the peer's wire: the same real time for every feed. */
static uint32_t rtp_offset(const struct pc_sender *sender, const struct pc_feed *feed)
{
    return sender->rtp_zero + (uint32_t)(feed->epoch_ns * 9 / 100000);
}

/* Without a controller an ordinary frame goes out as fast as its slices are ready; what is beyond
 * that, an IDR, is spread. With one, everything leaves at the rate that it gives. */
static void follow_rate(struct pc_sender *sender, bool anew, uint64_t now_ns)
{
    const struct pc_feed *feed = sender->feed;
    const struct pc_media_settings *media = &sender->media;
    int bitrate = atomic_load(&feed->bitrate), fps = atomic_load(&feed->fps);
    pc_rate_loop_set_ceiling(&sender->rate, atomic_load(&feed->ceiling), fps);
    bool controlled = pc_rate_loop_controls(&sender->rate);
    double pacing =
        controlled ? sender->rate.output.pacing_bps
                   : bitrate * (media->pacing_factor != 0 ? media->pacing_factor : DEFAULT_PACING);
    if (!anew && pacing == sender->paced_bps && bitrate == sender->paced_bitrate &&
        fps == sender->paced_fps)
        return;
    double resent = bitrate * (media->rtx_share != 0 ? media->rtx_share : DEFAULT_RTX_SHARE);
    double frame = bitrate / 8.0 / fps;
    if (frame < SMALL_BURST * PC_MAX_PAYLOAD)
        frame = SMALL_BURST * PC_MAX_PAYLOAD;
    double burst = frame * ORDINARY_FRAME;
    if (controlled) {
        burst = pacing / 8e9 * BURST_NS;
        if (burst < SMALL_BURST * PC_MAX_PAYLOAD)
            burst = SMALL_BURST * PC_MAX_PAYLOAD;
    }
    if (anew) {
        pc_pacer_init(&sender->pacer, pacing, burst, now_ns);
        pc_pacer_init(&sender->rtx_budget, resent, frame * RTX_BURST, now_ns);
    } else {
        pc_pacer_set_rate(&sender->pacer, pacing, burst, now_ns);
        pc_pacer_set_rate(&sender->rtx_budget, resent, frame * RTX_BURST, now_ns);
    }
    sender->paced_bps = pacing;
    sender->paced_bitrate = bitrate;
    sender->paced_fps = fps;
}

int pc_sender_start(struct pc_sender *sender, struct pc_feed *feed,
                    const struct pc_media_settings *media, const uint8_t random[16],
                    uint64_t now_ns)
{
    if (sender->transport->udp == NULL)
        return pc_fail(-EINVAL, "the peer has no path yet: set it before sending");
    if (sender->transport->outbound == NULL)
        return pc_fail(-EINVAL, "the peer has no keys yet: set them before sending");
    if (sender->feed != NULL)
        return pc_fail(-EINVAL, "the peer receives a stream already");
    int error = pc_sender_take_media(sender, feed, media, random, now_ns);
    if (error < 0)
        return error;
    sender->mid_wanted = true;
    sender->waiting_for_idr = true;
    pc_reference_loss_reset(&sender->losses, sender->extensions.dependency_id != 0,
                            media->rtx_payload_type != 0);
    sender->next_report_ns = now_ns;
    sender->feed = feed;
    sender->rtp_offset = rtp_offset(sender, feed);
    sender->any_timestamp = false;
    sender->on_ladder = (struct pc_ladder_viewer){.player = media->player};
    sender->quiet = false;
    follow_rate(sender, true, now_ns);
    /* In this order: a stream that begins to encode as soon as somebody receives begins with an
     * IDR, and would make a second one of a wish that came after it. */
    pc_feed_request_idr(feed);
    pc_feed_add_receiver(feed);
    return 0;
}

/* Move nowhere. */
static void stay(struct pc_sender *sender)
{
    if (sender->next_feed != NULL)
        pc_feed_remove_receiver(sender->next_feed);
    sender->next_feed = NULL;
}

void pc_sender_be_quiet(struct pc_sender *sender, bool quiet)
{
    bool ends = sender->quiet && !quiet;
    sender->quiet = quiet;
    if (!ends || sender->feed == NULL)
        return;
    if (sender->waiting_for_idr)
        pc_feed_request_idr(sender->feed);
    pc_sender_ask_for_reference(sender);
}

void pc_sender_move(struct pc_sender *sender, struct pc_feed *feed)
{
    if (feed == sender->next_feed || (feed == sender->feed && sender->next_feed == NULL))
        return;
    stay(sender);
    if (feed == sender->feed)
        return;
    sender->next_feed = feed;
    pc_feed_request_idr(feed);
    pc_feed_add_receiver(feed);
}

/* The feed that is moved to has an IDR: what waits of the old one still goes out before it. That
 * may be of the same picture, or of a later one: the IDR is a tick of the RTP clock behind it then,
 * for time does not go back for the receiver, and one time is one frame. */
static void arrive(struct pc_sender *sender, const struct pc_access_unit *idr)
{
    release(sender);
    drain_queue(sender);
    pc_feed_remove_receiver(sender->feed);
    sender->feed = sender->next_feed;
    sender->next_feed = NULL;
    sender->rtp_offset = rtp_offset(sender, sender->feed);
    uint32_t behind = sender->newest_timestamp + 1 - (idr->rtp_time + sender->rtp_offset);
    if (sender->any_timestamp && behind < 0x80000000u)
        sender->rtp_offset += behind;
}

/* Nothing more of what was offered goes out, or is sent again. */
static void forget_media(struct pc_sender *sender)
{
    clear_queue(sender);
    release(sender);
    sender->copy_count = 0;
    pc_history_clear(&sender->history);
    pc_reference_loss_reset(&sender->losses, sender->losses.described, sender->losses.can_resend);
    sender->waiting_for_idr = true;
}

void pc_sender_stop(struct pc_sender *sender)
{
    forget_media(sender);
    stay(sender);
    if (sender->feed != NULL)
        pc_feed_remove_receiver(sender->feed);
    sender->feed = NULL;
}

void pc_sender_find_path(struct pc_sender *sender)
{
    if (sender->feed != NULL)
        pc_feed_request_idr(sender->feed);
    if (sender->next_feed != NULL) /* what came of the wish for one was not taken */
        pc_feed_request_idr(sender->next_feed);
}

void pc_sender_change_path(struct pc_sender *sender, uint64_t now_ns)
{
    if (sender->feed == NULL)
        return;
    pc_rate_loop_path_changed(&sender->rate, now_ns);
    pc_feed_request_idr(sender->feed);
}

void pc_sender_lose_path(struct pc_sender *sender)
{
    forget_media(sender);
}

/* Give up what waits, and go on at a frame that refers to nothing of it. */
static void drop_queue(struct pc_sender *sender)
{
    sender->stats.frames_dropped += sender->length;
    for (unsigned i = 0; i < sender->length; i++)
        pc_reference_loss_give_up(&sender->losses,
                                  sender->queue[(sender->head + i) % PC_SENDER_QUEUE].number);
    clear_queue(sender);
    sender->waiting_for_idr = !sender->losses.described;
    pc_sender_ask_for_reference(sender);
}

bool pc_sender_offer(struct pc_sender *sender, struct pc_feed *feed, struct pc_access_unit *au,
                     uint64_t now_ns)
{
    if (sender->transport->udp == NULL)
        return false;
    if (feed == sender->next_feed && au->idr)
        arrive(sender, au);
    if (feed != sender->feed || (sender->waiting_for_idr && !au->idr))
        return false;
    if (sender->length == PC_SENDER_QUEUE ||
        (sender->length > 0 &&
         now_ns - sender->queue[sender->head].queued_ns > PC_SENDER_QUEUE_NS)) {
        drop_queue(sender);
        if (sender->waiting_for_idr && !au->idr)
            return false;
    }
    const struct pc_reference_loss_frame *frame =
        pc_reference_loss_add(&sender->losses, au->frame_id, au->idr, au->reference);
    if (sender->losses.described && !pc_reference_loss_holds(&sender->losses, frame->number)) {
        pc_reference_loss_give_up(&sender->losses, frame->number);
        pc_sender_ask_for_reference(sender);
        sender->stats.frames_dropped++;
        return false;
    }
    sender->waiting_for_idr = false;
    unsigned tail = (sender->head + sender->length++) % PC_SENDER_QUEUE;
    sender->queue[tail].au = pc_au_ref(au);
    sender->queue[tail].feed = feed;
    sender->queue[tail].timestamp = au->rtp_time + sender->rtp_offset;
    sender->newest_timestamp = sender->queue[tail].timestamp;
    sender->any_timestamp = true;
    sender->queue[tail].number = frame->number;
    sender->queue[tail].reference_diff = frame->reference_diff;
    sender->queue[tail].queued_ns = now_ns;
    return true;
}

/* Send one batch of the unit at the head: packets of one size, the last one possibly shorter.
 * Returns the bytes sent. */
static size_t send_batch(struct pc_sender *sender, struct pc_access_unit *au, uint32_t ready,
                         bool complete, uint8_t *scratch, double budget, uint64_t now_ns,
                         struct pc_hub_stats *hub)
{
    const struct pc_history_label label = {
        .timestamp = sender->queue[sender->head].timestamp,
        .frame = sender->frame,
        .number = sender->queue[sender->head].number,
        .reference_diff = sender->queue[sender->head].reference_diff,
    };
    struct pc_rtp_fields fields = {
        .payload_type = sender->media.payload_type,
        .timestamp = label.timestamp,
        .ssrc = sender->media.ssrc,
        .send_ns = now_ns,
        .in_frame = true,
        .frame_number = label.number,
        .reference_diff = label.reference_diff,
    };
    size_t used = 0, segment = 0;
    int packets = 0;
    bool protects = pc_sender_protects(sender, now_ns);
    while (sender->next_payload < ready && packets < PC_UDP_MAX_SEGMENTS &&
           !(protects && pc_sender_block_is_full(sender))) {
        const struct pc_payload *payload = &au->payloads[sender->next_payload];
        struct pc_piece piece = {.data = payload->data, .size = payload->size};
        size_t first = au->payloads[sender->next_payload - (uint32_t)packets].size;
        bool fits = used + segment <= PC_UDP_MAX_BATCH && (double)used < budget;
        if (packets > 0 && (payload->size > first || !fits))
            break;
        fields.first_packet = sender->next_payload == 0;
        fields.marker = complete && sender->next_payload + 1 == ready;
        size_t size = pc_sender_write_packet(sender, scratch + used, &fields, PC_PACKET_MEDIA,
                                             sender->next_index, &piece, 1);
        pc_history_add(&sender->history, au, &label, sender->next_payload, sender->next_index,
                       now_ns, PC_HISTORY_AGE_NS);
        pc_reference_loss_sent(&sender->losses, label.number, label.frame,
                               (uint16_t)sender->next_index);
        sender->next_index++;
        sender->next_payload++;
        if (size == 0)
            break;
        if (protects)
            pc_sender_protect(sender, pc_transport_room(sender->transport, scratch + used),
                              payload);
        used += size;
        packets++;
        sender->payload_bytes += payload->size;
        sender->stats.bytes += size;
        sender->stats.packets++;
        if (packets == 1)
            segment = size;
        if (size < segment)
            break;
    }
    if (packets > 0)
        pc_transport_send(sender->transport, scratch, used, segment, now_ns, hub);
    if (protects && pc_sender_block_is_full(sender))
        used += pc_sender_finish_block(sender, au->idr, fields.timestamp, scratch, now_ns, hub);
    return used;
}

/* When to go on sending the unit at the head: in batches of half a burst, or what is left of it. */
static uint64_t next_step(struct pc_sender *sender, const struct pc_access_unit *au, uint32_t ready,
                          uint64_t now_ns)
{
    size_t most = (size_t)(sender->pacer.burst / 2), left = 0;
    for (uint32_t i = sender->next_payload; i < ready && left < most; i++)
        left += au->payloads[i].size;
    uint64_t next = pc_pacer_next(&sender->pacer, left < most ? left : most, now_ns);
    /* Peers that wait for the same tick share a wake-up. */
    return next + PACE_STEP_NS - next % PACE_STEP_NS;
}

/* Send what is published of the unit at the head. Returns 0, or when to go on. */
static uint64_t pump_unit(struct pc_sender *sender, struct pc_access_unit *au, uint32_t ready,
                          bool complete, uint8_t *scratch, uint64_t now_ns,
                          struct pc_hub_stats *hub)
{
    while (sender->next_payload < ready) {
        if (!pc_transport_ready(sender->transport, now_ns)) {
            uint64_t retry_ns = sender->transport->retry_ns;
            return retry_ns > now_ns ? retry_ns : now_ns + PC_TRANSPORT_RETRY_NS;
        }
        double budget = pc_pacer_budget(&sender->pacer, now_ns);
        if (budget <= 0)
            return next_step(sender, au, ready, now_ns);
        size_t bytes = send_batch(sender, au, ready, complete, scratch, budget, now_ns, hub);
        pc_pacer_spend(&sender->pacer, bytes);
        if (au->clock != NULL && !pc_frame_reached(au->clock, PC_STAGE_FIRST_SENT))
            pc_frame_mark(au->clock, PC_STAGE_FIRST_SENT, pc_now_ns());
    }
    return 0;
}

/* The unit at the head has left whole: what goes behind it, and on to the next. */
static void finish_unit(struct pc_sender *sender, struct pc_access_unit *au, uint8_t *scratch,
                        uint64_t now_ns, struct pc_hub_stats *hub)
{
    size_t bytes = pc_sender_finish_block(sender, au->idr, sender->queue[sender->head].timestamp,
                                          scratch, now_ns, hub);
    pc_pacer_spend(&sender->pacer, bytes);
    if (au->clock != NULL && !pc_frame_reached(au->clock, PC_STAGE_LAST_SENT))
        pc_frame_mark(au->clock, PC_STAGE_LAST_SENT, pc_now_ns());
    pc_sender_probe(sender, scratch, now_ns, hub);
    sender->stats.frames++;
    sender->frame++;
    drain(sender, now_ns);
    let_go_of_head(sender);
}

static uint64_t pump_queue(struct pc_sender *sender, uint8_t *scratch, uint64_t now_ns,
                           struct pc_hub_stats *hub)
{
    while (sender->length > 0) {
        struct pc_access_unit *au = sender->queue[sender->head].au;
        bool complete;
        uint32_t ready = pc_au_ready(au, &complete);
        uint64_t next = pump_unit(sender, au, ready, complete, scratch, now_ns, hub);
        if (next != 0)
            return next;
        if (!complete)
            return UINT64_MAX;
        finish_unit(sender, au, scratch, now_ns, hub);
    }
    return UINT64_MAX;
}

uint64_t pc_sender_pump(struct pc_sender *sender, uint8_t *scratch, uint64_t now_ns,
                        struct pc_hub_stats *hub)
{
    if (sender->feed == NULL || sender->transport->udp == NULL)
        return UINT64_MAX;
    follow_rate(sender, false, now_ns);
    uint64_t copies = pc_sender_send_copies(sender, scratch, now_ns, hub);
    uint64_t next = pump_queue(sender, scratch, now_ns, hub);
    if (copies < next)
        next = copies;
    uint64_t held = sender->rate.hold_until_ns;
    if (sender->undrained == 0)
        return next;
    if (now_ns >= held)
        release(sender);
    else if (held < next)
        return held;
    return next;
}

void pc_sender_get_stats(const struct pc_sender *sender, struct pc_peer_stats *out)
{
    const struct pc_congestion_output *output = &sender->rate.output;
    *out = sender->stats;
    out->queued_frames = sender->length;
    out->media_bps = sender->rate.media_bps;
    out->rung = sender->on_ladder.rung;
    out->player = sender->media.player;
    if (!pc_rate_loop_controls(&sender->rate))
        return;
    out->congestion = output->state;
    out->target_bps = output->target_bps;
    out->pacing_bps = output->pacing_bps;
    out->queue_ms = (double)output->queue_ns / 1e6;
    out->network_loss = output->loss;
    if (output->rtt_ns != 0)
        out->rtt_ms = (double)output->rtt_ns / 1e6;
}
