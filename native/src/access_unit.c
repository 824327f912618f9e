#include "access_unit.h"

#include <assert.h>
#include <pthread.h>
#include <stdlib.h>

struct chunk {
    struct chunk *next;
};

struct pc_au_pool {
    pthread_mutex_t lock;
    struct pc_access_unit *free_units;
    struct chunk *free_chunks;
    unsigned max_units, made; /* units that exist, lent or free */
    unsigned lent;
    bool released; /* the owner has let go: destroy when the last unit comes back */
};

static void pool_destroy(struct pc_au_pool *pool)
{
    while (pool->free_units != NULL) {
        struct pc_access_unit *au = pool->free_units;
        pool->free_units = au->next_free;
        free(au);
    }
    while (pool->free_chunks != NULL) {
        struct chunk *chunk = pool->free_chunks;
        pool->free_chunks = chunk->next;
        free(chunk);
    }
    pthread_mutex_destroy(&pool->lock);
    free(pool);
}

struct pc_au_pool *pc_au_pool_create(unsigned max_units)
{
    struct pc_au_pool *pool = calloc(1, sizeof *pool);
    if (pool == NULL)
        return NULL;
    pthread_mutex_init(&pool->lock, NULL);
    pool->max_units = max_units;
    return pool;
}

void pc_au_pool_release(struct pc_au_pool *pool)
{
    pthread_mutex_lock(&pool->lock);
    pool->released = true;
    bool last = pool->lent == 0;
    pthread_mutex_unlock(&pool->lock);
    if (last)
        pool_destroy(pool);
}

struct pc_access_unit *pc_au_acquire(struct pc_au_pool *pool)
{
    pthread_mutex_lock(&pool->lock);
    struct pc_access_unit *au = pool->free_units;
    if (au != NULL) {
        pool->free_units = au->next_free;
    } else if (pool->made < pool->max_units) {
        au = malloc(sizeof *au);
        if (au != NULL)
            pool->made++;
    }
    if (au != NULL)
        pool->lent++;
    pthread_mutex_unlock(&pool->lock);
    if (au == NULL)
        return NULL;

    atomic_init(&au->refs, 1);
    atomic_init(&au->progress, 0);
    au->pool = pool;
    au->clock = NULL;
    au->frame_id = 0;
    au->rtp_time = 0;
    au->capture_ns = 0;
    au->codec = PC_CODEC_H264;
    au->idr = false;
    au->reference = 0;
    au->count = 0;
    au->chunk_count = 0;
    au->chunk_used = PC_AU_CHUNK_BYTES;
    au->total_bytes = 0;
    au->next_free = NULL;
    return au;
}

struct pc_access_unit *pc_au_ref(struct pc_access_unit *au)
{
    atomic_fetch_add_explicit(&au->refs, 1, memory_order_relaxed);
    return au;
}

void pc_au_unref(struct pc_access_unit *au)
{
    unsigned before = atomic_fetch_sub_explicit(&au->refs, 1, memory_order_acq_rel);
    assert(before > 0);
    if (before != 1)
        return;

    struct pc_au_pool *pool = au->pool;
    pthread_mutex_lock(&pool->lock);
    for (uint32_t i = 0; i < au->chunk_count; i++) {
        struct chunk *chunk = (struct chunk *)(void *)au->chunks[i];
        chunk->next = pool->free_chunks;
        pool->free_chunks = chunk;
    }
    au->next_free = pool->free_units;
    pool->free_units = au;
    pool->lent--;
    bool last = pool->released && pool->lent == 0;
    pthread_mutex_unlock(&pool->lock);
    if (last)
        pool_destroy(pool);
}

static uint8_t *take_chunk(struct pc_au_pool *pool)
{
    pthread_mutex_lock(&pool->lock);
    struct chunk *chunk = pool->free_chunks;
    if (chunk != NULL)
        pool->free_chunks = chunk->next;
    pthread_mutex_unlock(&pool->lock);
    if (chunk == NULL)
        chunk = malloc(PC_AU_CHUNK_BYTES);
    return (uint8_t *)chunk;
}

uint8_t *pc_au_reserve(struct pc_access_unit *au, size_t size)
{
    assert(size > 0 && size <= PC_MAX_PAYLOAD);
    assert((atomic_load_explicit(&au->progress, memory_order_relaxed) & 1u) == 0);
    if (au->count == PC_MAX_PAYLOADS)
        return NULL;
    if (au->chunk_used + size > PC_AU_CHUNK_BYTES) {
        if (au->chunk_count == PC_AU_MAX_CHUNKS)
            return NULL;
        uint8_t *chunk = take_chunk(au->pool);
        if (chunk == NULL)
            return NULL;
        au->chunks[au->chunk_count++] = chunk;
        au->chunk_used = 0;
    }
    return au->chunks[au->chunk_count - 1] + au->chunk_used;
}

void pc_au_commit(struct pc_access_unit *au, size_t size)
{
    assert(size > 0 && au->chunk_used + size <= PC_AU_CHUNK_BYTES);
    struct pc_payload *payload = &au->payloads[au->count++];
    payload->data = au->chunks[au->chunk_count - 1] + au->chunk_used;
    payload->size = (uint16_t)size;
    au->chunk_used += size;
    au->total_bytes += size;
}

void pc_au_publish(struct pc_access_unit *au, bool complete)
{
    atomic_store_explicit(&au->progress, au->count << 1 | (complete ? 1u : 0u),
                          memory_order_release);
}
