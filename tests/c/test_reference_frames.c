#include "harness.h"
#include "reference_frames.h"

static uint64_t newest(const struct pc_reference_frames *frames)
{
    const struct pc_reference_frame *frame = pc_reference_frames_newest(frames);
    return frame != NULL ? frame->id : UINT64_MAX;
}

/* An IDR and frames that refer to the last one each. */
static struct pc_reference_frames of(int size, uint64_t first, uint64_t last)
{
    struct pc_reference_frames frames;
    pc_reference_frames_init(&frames, size);
    for (uint64_t id = first; id <= last; id++)
        pc_reference_frames_add(&frames, id, id == first);
    return frames;
}

static bool lose(struct pc_reference_frames *frames, uint64_t first, uint64_t last)
{
    return pc_reference_frames_drop(frames, pc_reference_frames_lost(frames, first, last));
}

static void refers_to_the_last_frame(void)
{
    struct pc_reference_frames frames;
    pc_reference_frames_init(&frames, 4);
    CHECK(pc_reference_frames_newest(&frames) == NULL);
    frames = of(4, 100, 110);
    CHECK_EQ(newest(&frames), 110);
    CHECK_EQ(frames.count, 4);
    CHECK_EQ(frames.frames[0].id, 107);
    CHECK_EQ(frames.frames[3].reference, 109);
}

static void refers_to_what_is_before_a_loss(void)
{
    struct pc_reference_frames frames = of(16, 100, 110);
    CHECK_EQ(pc_reference_frames_lost(&frames, 108, 110), 3);
    CHECK(lose(&frames, 108, 110));
    CHECK_EQ(newest(&frames), 107);
    pc_reference_frames_add(&frames, 111, false);
    CHECK_EQ(frames.frames[frames.count - 1].reference, 107);
    CHECK_EQ(newest(&frames), 111);
}

/* What came after a lost frame refers to it, whether a receiver has it or not. */
static void what_refers_to_a_lost_frame_is_lost(void)
{
    struct pc_reference_frames frames = of(16, 100, 110);
    CHECK_EQ(pc_reference_frames_lost(&frames, 105, 105), 6);
    CHECK(lose(&frames, 105, 105));
    CHECK_EQ(newest(&frames), 104);
}

/* The answer is on its way: the next frames do not depend on what was lost. */
static void a_loss_is_answered_once(void)
{
    struct pc_reference_frames frames = of(16, 100, 110);
    CHECK(lose(&frames, 108, 110));
    CHECK_EQ(pc_reference_frames_lost(&frames, 108, 110), 0);
    pc_reference_frames_add(&frames, 111, false);
    pc_reference_frames_add(&frames, 112, false);
    CHECK_EQ(pc_reference_frames_lost(&frames, 108, 110), 0);
    CHECK_EQ(pc_reference_frames_lost(&frames, 109, 109), 0); /* another receiver */
    CHECK_EQ(newest(&frames), 112);
    /* That one has lost the answer too. */
    CHECK_EQ(pc_reference_frames_lost(&frames, 108, 111), 2);
    CHECK(lose(&frames, 108, 111));
    CHECK_EQ(newest(&frames), 107);
    /* And a third what the answer refers to. */
    pc_reference_frames_add(&frames, 113, false);
    CHECK(lose(&frames, 107, 107));
    CHECK_EQ(newest(&frames), 106);
}

static void losses_before_an_idr_do_not_matter(void)
{
    struct pc_reference_frames frames = of(16, 100, 110);
    pc_reference_frames_add(&frames, 111, true);
    CHECK_EQ(frames.count, 1);
    CHECK_EQ(pc_reference_frames_lost(&frames, 90, 110), 0);
    pc_reference_frames_add(&frames, 112, false);
    CHECK_EQ(pc_reference_frames_lost(&frames, 90, 110), 0);
    CHECK_EQ(newest(&frames), 112);
}

static void without_a_frame_that_is_held_nothing_changes(void)
{
    struct pc_reference_frames frames = of(16, 100, 110);
    CHECK(!lose(&frames, 100, 110));
    CHECK_EQ(newest(&frames), 110);
    frames = of(4, 100, 110);
    CHECK(!lose(&frames, 107, 107)); /* the oldest that is kept */
    CHECK_EQ(newest(&frames), 110);
    CHECK(lose(&frames, 108, 108));
    CHECK_EQ(newest(&frames), 107);
    CHECK(!lose(&frames, 107, 107));
    CHECK_EQ(newest(&frames), 107);
}

/* What has left the buffer was lost: all that is in it depends on it. */
static void a_loss_may_be_older_than_what_is_kept(void)
{
    struct pc_reference_frames frames = of(4, 100, 110);
    CHECK_EQ(pc_reference_frames_lost(&frames, 103, 103), 4);
    CHECK(!lose(&frames, 103, 103));
    CHECK_EQ(newest(&frames), 110);
}

/* Against a model without bounds: every frame's reference, and who cannot be decoded. */
static void agrees_with_a_model(void)
{
    enum { FRAMES = 400, SIZE = 16 };
    uint64_t random = 7;
    struct pc_reference_frames frames;
    pc_reference_frames_init(&frames, SIZE);
    int reference[FRAMES];
    bool held[FRAMES];
    int answered = 0;
    for (int id = 0; id < FRAMES; id++) {
        bool idr = id == 0 || harness_random(&random) % 64 == 0;
        reference[id] = idr ? id : (int)newest(&frames);
        pc_reference_frames_add(&frames, (uint64_t)id, idr);
        bool arrives = harness_random(&random) % 8 != 0;
        held[id] = arrives && (reference[id] == id || held[reference[id]]);
        if (held[id] || harness_random(&random) % 2 == 0)
            continue; /* not noticed yet */
        int first = id;
        while (reference[first] != first && !held[reference[first]])
            first = reference[first];
        if (lose(&frames, (uint64_t)first, (uint64_t)id)) {
            CHECK(held[newest(&frames)]);
            answered++;
        } else {
            CHECK(id - first >= SIZE - 1 || reference[first] == first);
            pc_reference_frames_add(&frames, (uint64_t)++id, true);
            if (id < FRAMES) {
                reference[id] = id;
                held[id] = true;
            }
        }
    }
    CHECK(answered > 20);
}

int main(void)
{
    RUN(refers_to_the_last_frame);
    RUN(refers_to_what_is_before_a_loss);
    RUN(what_refers_to_a_lost_frame_is_lost);
    RUN(a_loss_is_answered_once);
    RUN(losses_before_an_idr_do_not_matter);
    RUN(without_a_frame_that_is_held_nothing_changes);
    RUN(a_loss_may_be_older_than_what_is_kept);
    RUN(agrees_with_a_model);
    return HARNESS_RESULT();
}
