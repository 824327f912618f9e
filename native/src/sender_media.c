#include "sender_media.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static uint32_t read_u32(const uint8_t *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

/* Written so that NaN fails. */
static bool is_share(double value, double least, double most)
{
    return value == 0 || (value >= least && value <= most);
}

/* Each stream counts packet indices of its own: no two may ever meet on an SSRC, even one after the
 * other. Remembers those of `media`. */
static int choose_streams(struct pc_sender *sender, const struct pc_media_settings *media)
{
    const uint32_t ssrcs[PC_SENDER_STREAMS] = {media->ssrc, media->rtx_ssrc, media->fec_ssrc};
    const bool wanted[PC_SENDER_STREAMS] = {true, media->rtx_payload_type != 0,
                                            media->fec_payload_type != 0};
    for (int i = 0; i < PC_SENDER_STREAMS; i++) {
        if (wanted[i] && sender->streams[i].used && sender->streams[i].ssrc != ssrcs[i])
            return pc_fail(-EINVAL,
                           "a peer keeps its ssrc, rtx_ssrc and fec_ssrc for as long as it lives");
        for (int j = 0; wanted[i] && j < PC_SENDER_STREAMS; j++) {
            bool taken = wanted[j] ? ssrcs[j] == ssrcs[i]
                                   : sender->streams[j].used && sender->streams[j].ssrc == ssrcs[i];
            if (j != i && taken)
                return pc_fail(-EINVAL, "ssrc, rtx_ssrc and fec_ssrc are to differ: two streams of "
                                        "one would use the same nonces");
        }
    }
    for (int i = 0; i < PC_SENDER_STREAMS; i++) {
        if (!wanted[i])
            continue;
        sender->streams[i].used = true;
        sender->streams[i].ssrc = ssrcs[i];
    }
    return 0;
}

static int check_media(const struct pc_media_settings *media)
{
    if (media->payload_type > 127 || media->rtx_payload_type > 127 || media->fec_payload_type > 127)
        return pc_fail(-EINVAL, "a payload type is a number from 0 to 127");
    if ((unsigned)media->controller > PC_CONTROLLER_FIXED)
        return pc_fail(-EINVAL, "controller is one of enum pc_controller");
    if (media->min_bitrate < 0 || media->start_bitrate < 0)
        return pc_fail(-EINVAL, "min_bitrate and start_bitrate are 0 (chosen), or bits per second");
    if (!is_share(media->pacing_factor, 0.01, 1000))
        return pc_fail(-EINVAL, "pacing_factor is 0 (chosen), or a number from 0.01 to 1000");
    if (!is_share(media->rtx_share, 0.01, 10))
        return pc_fail(-EINVAL, "rtx_share is 0 (chosen), or a number from 0.01 to 10");
    return 0;
}

/* RFC 3550 5.1. The first sequence numbers are below 2^15, so that a receiver that misses the first
 * packets still guesses the rollover counter right (RFC 3711 3.3.1). */
static void choose_numbers(struct pc_sender *sender, const uint8_t random[16])
{
    sender->next_index = ((uint32_t)random[0] << 8 | random[1]) & 0x7fff;
    sender->next_rtx_index = ((uint32_t)random[2] << 8 | random[3]) & 0x7fff;
    sender->transport->next_sequence = (uint16_t)(random[4] << 8 | random[5]);
    sender->rtp_zero = read_u32(random + 6);
    sender->next_fec_index = ((uint32_t)random[10] << 8 | random[11]) & 0x7fff;
}

/* What a start needs memory for. */
static int prepare(struct pc_sender *sender, const struct pc_feed *feed,
                   const struct pc_media_settings *media, uint64_t now_ns)
{
    const struct pc_rate_loop_settings settings = {
        .controller = media->controller,
        .min_bps = media->min_bitrate,
        .start_bps = media->start_bitrate,
        .ceiling_bps = atomic_load(&feed->ceiling),
        .fps = atomic_load(&feed->fps),
        .feedback = media->transport_cc_id != 0,
        .resends = media->rtx_payload_type != 0,
    };
    free(sender->fec);
    sender->fec = NULL;
    if (media->fec_payload_type != 0) {
        sender->fec = malloc(sizeof *sender->fec);
        if (sender->fec == NULL)
            return pc_fail(-ENOMEM, "out of memory");
        pc_flexfec_begin(sender->fec);
    }
    pc_rate_loop_free(&sender->rate);
    return pc_rate_loop_init(&sender->rate, &settings, now_ns);
}

/* Do packets tell what their frame refers to? */
static bool describes(const struct pc_feed *feed, const struct pc_media_settings *media)
{
    return feed->codec == PC_CODEC_H264 && media->dependency_descriptor_id != 0;
}

int pc_sender_take_media(struct pc_sender *sender, const struct pc_feed *feed,
                         const struct pc_media_settings *media, const uint8_t random[16],
                         uint64_t now_ns)
{
    int error = check_media(media);
    if (error == 0)
        error = choose_streams(sender, media);
    if (error == 0)
        error = prepare(sender, feed, media, now_ns);
    if (error < 0)
        return error;

    sender->media = *media;
    sender->extensions = (struct pc_rtp_extensions){
        .mid_id = media->mid_id,
        .abs_send_time_id = media->abs_send_time_id,
        .transport_cc_id = media->transport_cc_id,
        .playout_delay_id = media->playout_delay_id,
        .dependency_id = describes(feed, media) ? media->dependency_descriptor_id : 0,
        .playout_min = media->playout_min_10ms,
        .playout_max = media->playout_max_10ms,
    };
    memcpy(sender->extensions.mid, media->mid, sizeof sender->extensions.mid);
    sender->extensions.mid[sizeof sender->extensions.mid - 1] = '\0';
    sender->media.cname[sizeof sender->media.cname - 1] = '\0';

    /* Numbers go on where an earlier stream left them: the keys are the same. */
    if (!sender->started)
        choose_numbers(sender, random);
    sender->started = true;
    return 0;
}
