#include "frame_log.h"

#include "harness.h"

static struct pc_frame_log log_;
static struct pc_received_frame frames[PC_FRAME_LOG_SIZE];

static void begin(uint32_t rtp_time)
{
    struct pc_received_unit unit = {.size = 100 + rtp_time,
                                    .rtp_time = rtp_time,
                                    .idr = rtp_time == 0,
                                    .recovered = rtp_time == 1,
                                    .first_packet_ns = 1000,
                                    .complete_ns = 2000};
    pc_frame_log_begin(&log_, &unit);
}

static void only_what_is_done_with_is_read(void)
{
    memset(&log_, 0, sizeof log_);
    for (uint32_t i = 0; i < 4; i++)
        begin(i);
    CHECK_EQ(pc_frame_log_read(&log_, 0, frames, 10), 0);
    pc_frame_log_finish(&log_, 1);
    CHECK_EQ(pc_frame_log_read(&log_, 0, frames, 10), 0); /* in order */
    CHECK_EQ(pc_frame_log_read(&log_, 1, frames, 10), 1);
    pc_frame_log_finish(&log_, 0);
    pc_frame_log_find(&log_, 1)->decoded_ns = 3000;
    CHECK_EQ(pc_frame_log_read(&log_, 0, frames, 10), 2);
    CHECK_EQ(frames[0].id, 0);
    CHECK_EQ(frames[0].bytes, 100);
    CHECK(frames[0].idr && !frames[0].recovered);
    CHECK_EQ(frames[1].id, 1);
    CHECK_EQ(frames[1].rtp_time, 1);
    CHECK_EQ(frames[1].complete_ns, 2000);
    CHECK_EQ(frames[1].decoded_ns, 3000);
    CHECK(frames[1].recovered);
    CHECK_EQ(pc_frame_log_read(&log_, 0, frames, 1), 1);
    CHECK_EQ(pc_frame_log_read(&log_, 2, frames, 10), 0);
    CHECK_EQ(pc_frame_log_read(&log_, 99, frames, 10), 0);
}

static void the_oldest_are_forgotten(void)
{
    memset(&log_, 0, sizeof log_);
    for (uint32_t i = 0; i < PC_FRAME_LOG_SIZE + 5; i++) {
        begin(i);
        pc_frame_log_finish(&log_, i);
    }
    CHECK(pc_frame_log_find(&log_, 4) == NULL);
    CHECK(pc_frame_log_find(&log_, 5) != NULL);
    CHECK(pc_frame_log_find(&log_, PC_FRAME_LOG_SIZE + 5) == NULL);
    CHECK_EQ(pc_frame_log_read(&log_, 0, frames, PC_FRAME_LOG_SIZE), PC_FRAME_LOG_SIZE);
    CHECK_EQ(frames[0].id, 5);
    pc_frame_log_finish(&log_, 4); /* its place is another's now */
    begin(0);
    pc_frame_log_finish(&log_, 5);
    CHECK_EQ(pc_frame_log_read(&log_, PC_FRAME_LOG_SIZE + 5, frames, 1), 0);
}

int main(void)
{
    RUN(only_what_is_done_with_is_read);
    RUN(the_oldest_are_forgotten);
    return HARNESS_RESULT();
}
