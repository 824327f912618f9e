#include "nal_order.h"

#include "harness.h"

enum { NALS = 24, MBS_PER_NAL = 10, THREADS = 4 };

/* What was handed on, and whether two calls ever overlapped. */
struct seen {
    int first_mb[NALS + 4];
    bool last[NALS + 4];
    int count;
    bool inside, overlapped;
};

static void on_unit(void *context, const uint8_t *data, size_t size, bool last)
{
    struct seen *seen = context;
    seen->overlapped |= seen->inside;
    seen->inside = true;
    int first_mb;
    CHECK_EQ(size, sizeof first_mb);
    memcpy(&first_mb, data, sizeof first_mb);
    seen->first_mb[seen->count] = first_mb;
    seen->last[seen->count++] = last;
    seen->inside = false;
}

static void submit(struct pc_nal_order *order, int first_mb, int last_mb)
{
    struct pc_nal_slot *slot = pc_nal_order_claim(order, sizeof first_mb);
    memcpy(slot->memory, &first_mb, sizeof first_mb);
    pc_nal_order_submit(order, slot, slot->memory, sizeof first_mb, first_mb, last_mb);
}

static void check_order(const struct pc_nal_order *order, const struct seen *seen)
{
    CHECK(pc_nal_order_complete(order));
    CHECK_EQ(order->bytes, NALS * sizeof(int));
    CHECK_EQ(seen->count, NALS);
    CHECK(!seen->overlapped);
    for (int i = 0; i < NALS; i++) {
        CHECK_EQ(seen->first_mb[i], i * MBS_PER_NAL);
        CHECK_EQ(seen->last[i], i + 1 == NALS);
    }
}

static void test_any_arrival_order(void)
{
    struct seen seen = {0};
    struct pc_nal_order order;
    pc_nal_order_init(&order, NALS * MBS_PER_NAL, on_unit, &seen);
    uint64_t random = 1;
    for (int round = 0; round < 200; round++) {
        int turn[NALS];
        for (int i = 0; i < NALS; i++) {
            int j = (int)(harness_random(&random) % (unsigned)(i + 1));
            turn[i] = turn[j];
            turn[j] = i;
        }
        seen = (struct seen){0};
        pc_nal_order_begin(&order);
        for (int i = 0; i < NALS; i++) {
            submit(&order, turn[i] * MBS_PER_NAL, turn[i] * MBS_PER_NAL + MBS_PER_NAL - 1);
            CHECK_EQ(pc_nal_order_complete(&order), i + 1 == NALS);
        }
        check_order(&order, &seen);
    }
    pc_nal_order_free(&order);
}

static void test_each_leaves_as_soon_as_it_can(void)
{
    struct seen seen = {0};
    struct pc_nal_order order;
    pc_nal_order_init(&order, 30, on_unit, &seen);
    pc_nal_order_begin(&order);
    submit(&order, -7, -1); /* a parameter set goes out at once */
    CHECK_EQ(seen.count, 1);
    submit(&order, 20, 29);
    CHECK_EQ(seen.count, 1);
    submit(&order, 0, 9);
    CHECK_EQ(seen.count, 2);
    CHECK(!pc_nal_order_complete(&order));
    submit(&order, 10, 19);
    CHECK_EQ(seen.count, 4);
    CHECK(!seen.last[0] && !seen.last[1] && !seen.last[2] && seen.last[3]);
    CHECK(pc_nal_order_complete(&order));
    pc_nal_order_free(&order);
}

static void test_out_of_slots_fails_the_frame_only(void)
{
    struct seen seen = {0};
    struct pc_nal_order order;
    pc_nal_order_init(&order, 10, on_unit, &seen);
    pc_nal_order_begin(&order);
    for (int i = 0; i < PC_NAL_SLOTS; i++)
        CHECK(pc_nal_order_claim(&order, 100) != NULL);
    CHECK(pc_nal_order_claim(&order, 100) == NULL);
    CHECK(!pc_nal_order_complete(&order));
    pc_nal_order_begin(&order);
    submit(&order, 0, 9);
    CHECK(pc_nal_order_complete(&order));
    pc_nal_order_free(&order);
}

struct worker {
    struct pc_nal_order *order;
    int index;
};

/* As x264's slice threads do: each its share of the picture, from top to bottom. */
static void *work(void *argument)
{
    struct worker *worker = argument;
    int each = NALS / THREADS;
    for (int i = worker->index * each; i < (worker->index + 1) * each; i++)
        submit(worker->order, i * MBS_PER_NAL, i * MBS_PER_NAL + MBS_PER_NAL - 1);
    return NULL;
}

static void test_threads(void)
{
    struct seen seen = {0};
    struct pc_nal_order order;
    pc_nal_order_init(&order, NALS * MBS_PER_NAL, on_unit, &seen);
    for (int round = 0; round < 100; round++) {
        seen = (struct seen){0};
        pc_nal_order_begin(&order);
        pthread_t threads[THREADS];
        struct worker workers[THREADS];
        for (int i = 0; i < THREADS; i++) {
            workers[i] = (struct worker){&order, i};
            pthread_create(&threads[i], NULL, work, &workers[i]);
        }
        for (int i = 0; i < THREADS; i++)
            pthread_join(threads[i], NULL);
        check_order(&order, &seen);
    }
    pc_nal_order_free(&order);
}

int main(void)
{
    RUN(test_any_arrival_order);
    RUN(test_each_leaves_as_soon_as_it_can);
    RUN(test_out_of_slots_fails_the_frame_only);
    RUN(test_threads);
    return HARNESS_RESULT();
}
