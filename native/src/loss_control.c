#include "loss_control.h"

#include <math.h>
#include <string.h>

#include "flexfec.h"

#define NS_PER_S 1000000000.0

#define QUICK_S   0.5    /* memory of the loss that may rise */
#define SLOW_S    8.0    /* … of the loss that falls, of bursts and of shares */
#define QUICK_MIN 8      /* losses that the quick memory must hold to be believed */
#define LEAST     0.0005 /* less loss is none */

/* docs/loss.md has the figures that these come from. */
#define FEC_LOSS        0.01 /* from here on a repair packet helps the retransmissions */
#define FEC_SPACING     24   /* media packets per such repair packet */
#define FEC_SHARE       0.08 /* of media bytes, at most, lately: small frames take turns */
#define FEC_SHARE_ALONE 0.25 /* of a block, when there is no time to send again */
#define COPY_LOSS       0.005
#define COPIES          2
#define COPIES_LATE     3    /* once it is late, every frame behind waits for it */
#define COPY_SHARE      0.40 /* FEC and RTX of what is sent: from here on no copies */
#define COPY_MARGIN_NS  2000000
#define COPY_SPACING_NS 16000000 /* where losses come in long bursts; apart they need none */
#define LATE_SPACING_NS 4000000
#define WAIT_NS         130000000 /* who waits longer than this for a repair sees a freeze */
#define GIVE_UP_NS      500000000

void pc_loss_control_init(struct pc_loss_control *control, uint64_t now_ns)
{
    memset(control, 0, sizeof *control);
    control->burst = 1;
    control->updated_ns = now_ns;
}

void pc_loss_control_set_path(struct pc_loss_control *control, uint64_t rtt_ns,
                              uint64_t deadline_ns)
{
    control->rtt_ns = rtt_ns;
    control->deadline_ns = deadline_ns;
}

/* ---- What is lost ---- */

static void fade(struct pc_loss_window *window, double seconds, double memory_s)
{
    double keep = exp(-seconds / memory_s);
    window->packets *= keep;
    window->lost *= keep;
    window->runs *= keep;
}

static void let_time_pass(struct pc_loss_control *control, uint64_t now_ns)
{
    if (now_ns <= control->updated_ns)
        return;
    double seconds = (double)(now_ns - control->updated_ns) / NS_PER_S;
    double keep = exp(-seconds / SLOW_S);
    control->updated_ns = now_ns;
    fade(&control->quick, seconds, QUICK_S);
    fade(&control->slow, seconds, SLOW_S);
    control->media_bytes *= keep;
    control->fec_bytes *= keep;
    control->rtx_bytes *= keep;
}

static void note(struct pc_loss_window *window, double packets, double lost, double runs)
{
    window->packets += packets;
    window->lost = window->lost + lost > 0 ? window->lost + lost : 0;
    window->runs += runs;
}

void pc_loss_control_sent(struct pc_loss_control *control, const struct pc_sent_packet *packet)
{
    let_time_pass(control, packet->sent_ns);
    switch (packet->kind) {
    case PC_PACKET_MEDIA:
        control->media_bytes += packet->bytes;
        break;
    case PC_PACKET_FEC:
        control->fec_bytes += packet->bytes;
        break;
    case PC_PACKET_RTX:
        control->rtx_bytes += packet->bytes;
        break;
    case PC_PACKET_PADDING:
        break;
    }
}

void pc_loss_control_feedback(struct pc_loss_control *control,
                              const struct pc_packet_report *reports, int count, uint64_t now_ns)
{
    let_time_pass(control, now_ns);
    for (int i = 0; i < count; i++) {
        bool lost = !reports[i].received;
        if (reports[i].was_lost) { /* only late: that was counted before */
            note(&control->quick, 0, -1, 0);
            note(&control->slow, 0, -1, 0);
            continue;
        }
        bool run_begins = lost && !control->losing;
        control->losing = lost;
        note(&control->quick, 1, lost, run_begins);
        note(&control->slow, 1, lost, run_begins);
    }
    double slow = control->slow.packets >= 1 ? control->slow.lost / control->slow.packets : 0;
    double quick =
        control->quick.lost >= QUICK_MIN ? control->quick.lost / control->quick.packets : 0;
    control->loss = quick > slow ? quick : slow;
    control->burst = control->slow.runs >= 1 ? control->slow.lost / control->slow.runs : 1;
    if (control->burst < 1)
        control->burst = 1;
}

/* ---- What is done about it ---- */

/* The time left after the next arrival of what is sent again now, when the packet has been under
 * way for `age_ns`; negative: it would be late. */
static int64_t slack_ns(const struct pc_loss_control *control, uint64_t age_ns)
{
    uint64_t way_ns = control->rtt_ns / 2, longest_ns = way_ns + WAIT_NS;
    uint64_t deadline_ns = control->deadline_ns < longest_ns ? control->deadline_ns : longest_ns;
    return (int64_t)deadline_ns - (int64_t)(age_ns + way_ns);
}

/* Can what is lost now be asked for and arrive in time? */
static bool time_to_resend(const struct pc_loss_control *control)
{
    return control->rtt_ns != 0 && slack_ns(control, control->rtt_ns) >= 0;
}

int pc_loss_control_repairs(const struct pc_loss_control *control, int packets, bool idr,
                            uint64_t now_ns)
{
    (void)now_ns;
    if (control->loss < LEAST || packets < 1)
        return 0;
    if (!time_to_resend(control)) {
        /* A standard deviation over what is lost of a block on average. */
        double mean = control->loss * packets;
        int wanted = (int)ceil(mean + sqrt(mean * (2 * control->burst - 1)));
        int most = (int)ceil(FEC_SHARE_ALONE * packets);
        most = most < PC_FLEXFEC_MAX_REPAIRS ? most : PC_FLEXFEC_MAX_REPAIRS;
        return wanted < most ? wanted : most;
    }
    if (control->loss < FEC_LOSS)
        return 0;
    if (control->fec_bytes > FEC_SHARE * control->media_bytes && !idr)
        return 0;
    int repairs = (packets + FEC_SPACING / 2) / FEC_SPACING;
    return (repairs > 1 ? repairs : 1) * (idr && packets > 1 ? 2 : 1);
}

struct pc_resend pc_loss_control_resend(const struct pc_loss_control *control, uint64_t sent_ns,
                                        uint64_t now_ns, bool again)
{
    uint64_t age_ns = now_ns > sent_ns ? now_ns - sent_ns : 0;
    if (age_ns > GIVE_UP_NS + control->rtt_ns)
        return (struct pc_resend){0};
    if (control->loss < COPY_LOSS || pc_loss_control_share(control) > COPY_SHARE)
        return (struct pc_resend){.copies = 1};
    int64_t slack = slack_ns(control, age_ns) - COPY_MARGIN_NS;
    if (again || slack < 0)
        return (struct pc_resend){.copies = COPIES_LATE, .spacing_ns = LATE_SPACING_NS};
    uint64_t wanted_ns = (uint64_t)(COPY_SPACING_NS * (1 - 1 / control->burst));
    return (struct pc_resend){
        .copies = COPIES,
        .spacing_ns = (uint64_t)slack < wanted_ns ? (uint64_t)slack : wanted_ns,
    };
}

double pc_loss_control_share(const struct pc_loss_control *control)
{
    double extra = control->fec_bytes + control->rtx_bytes;
    double all = extra + control->media_bytes;
    return all > 0 ? extra / all : 0;
}
