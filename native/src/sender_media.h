/* What a sender is asked to send: settings that make sense, SSRCs and packet numbers that no other
 * stream of the peer ever had, and what they need memory for. */
#ifndef PC_SENDER_MEDIA_H
#define PC_SENDER_MEDIA_H

#include "sender.h"

/* Take the settings for a start on the feed; `random` as pc_sender_start(). 0, or -EINVAL with
 * pc_error_text(), or -ENOMEM; the sender can be started otherwise then. */
int pc_sender_take_media(struct pc_sender *sender, const struct pc_feed *feed,
                         const struct pc_media_settings *media, const uint8_t random[16],
                         uint64_t now_ns);

#endif
