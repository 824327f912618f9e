#include "feed.h"

#include <string.h>
#include <sys/eventfd.h>

void pc_feed_init(struct pc_feed *feed, enum pc_codec codec, uint32_t stream_id, uint64_t epoch_ns,
                  int stream_wake_fd)
{
    memset(feed, 0, sizeof *feed);
    feed->codec = codec;
    feed->stream_id = stream_id;
    feed->epoch_ns = epoch_ns;
    feed->stream_wake_fd = stream_wake_fd;
    pthread_mutex_init(&feed->lock, NULL);
}

void pc_feed_free(struct pc_feed *feed)
{
    struct pc_access_unit *au;
    while ((au = pc_feed_pop(feed)) != NULL)
        pc_au_unref(au);
    pthread_mutex_destroy(&feed->lock);
}

bool pc_feed_push(struct pc_feed *feed, struct pc_access_unit *au)
{
    pthread_mutex_lock(&feed->lock);
    bool room = feed->length < PC_FEED_DEPTH;
    if (room)
        feed->incoming[(feed->head + feed->length++) % PC_FEED_DEPTH] = pc_au_ref(au);
    pthread_mutex_unlock(&feed->lock);
    return room;
}

struct pc_access_unit *pc_feed_pop(struct pc_feed *feed)
{
    struct pc_access_unit *au = NULL;
    pthread_mutex_lock(&feed->lock);
    if (feed->length > 0) {
        au = feed->incoming[feed->head];
        feed->head = (feed->head + 1) % PC_FEED_DEPTH;
        feed->length--;
    }
    pthread_mutex_unlock(&feed->lock);
    return au;
}

bool pc_feed_announce(struct pc_feed *feed)
{
    return !atomic_exchange(&feed->announced, true);
}

bool pc_feed_has_news(struct pc_feed *feed)
{
    return atomic_load(&feed->announced) && atomic_exchange(&feed->announced, false);
}

static void wake_stream(struct pc_feed *feed)
{
    eventfd_write(feed->stream_wake_fd, 1);
}

void pc_feed_add_receiver(struct pc_feed *feed)
{
    atomic_fetch_add(&feed->receivers, 1);
    wake_stream(feed);
}

void pc_feed_remove_receiver(struct pc_feed *feed)
{
    atomic_fetch_sub(&feed->receivers, 1);
    wake_stream(feed);
}

void pc_feed_request_idr(struct pc_feed *feed)
{
    if (!atomic_exchange(&feed->idr_wanted, true))
        wake_stream(feed);
}

void pc_feed_report_losses(struct pc_feed *feed, uint64_t first, uint64_t last)
{
    pthread_mutex_lock(&feed->lock);
    bool joined = atomic_load(&feed->has_losses);
    feed->first_lost = joined && feed->first_lost < first ? feed->first_lost : first;
    feed->last_lost = joined && feed->last_lost > last ? feed->last_lost : last;
    atomic_store(&feed->has_losses, true);
    pthread_mutex_unlock(&feed->lock);
    if (!joined)
        wake_stream(feed);
}

bool pc_feed_take_losses(struct pc_feed *feed, uint64_t *first, uint64_t *last)
{
    if (!atomic_load(&feed->has_losses))
        return false;
    pthread_mutex_lock(&feed->lock);
    *first = feed->first_lost;
    *last = feed->last_lost;
    atomic_store(&feed->has_losses, false);
    pthread_mutex_unlock(&feed->lock);
    return true;
}

void pc_feed_drain(struct pc_feed *feed, uint64_t frame_id)
{
    if (atomic_load(&feed->drained) > frame_id)
        return;
    atomic_store(&feed->drained, frame_id + 1);
    if (atomic_load(&feed->blocked))
        wake_stream(feed);
}
