#include "loss_control.h"

#include <math.h>
#include <string.h>

#define NS_PER_S 1000000000.0

#define QUICK_S   0.5    /* memory of the loss that may rise */
#define SLOW_S    8.0    /* … and of the loss that falls, of bursts and of the shares */
#define QUICK_MIN 60     /* packets that the quick memory must hold to be believed */
#define LEAST     0.0005 /* less loss is none */
#define MOST_FEC  0.5    /* of a block */

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

static void note(struct pc_loss_window *window, bool lost, bool run_begins)
{
    window->packets++;
    window->lost += lost;
    window->runs += run_begins;
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
        bool run_begins = lost && !control->losing;
        control->losing = lost;
        note(&control->quick, lost, run_begins);
        note(&control->slow, lost, run_begins);
    }
    double slow = control->slow.packets >= 1 ? control->slow.lost / control->slow.packets : 0;
    double quick =
        control->quick.packets >= QUICK_MIN ? control->quick.lost / control->quick.packets : 0;
    control->loss = quick > slow ? quick : slow;
    control->burst = control->slow.runs >= 1 ? control->slow.lost / control->slow.runs : 1;
    if (control->burst < 1)
        control->burst = 1;
}

/* ---- What is done about it ---- */

/* So many times can a packet be asked for and sent again before its frame is late. */
static int rounds_left(const struct pc_loss_control *control, uint64_t waited_ns)
{
    uint64_t way_ns = control->rtt_ns / 2;
    if (control->rtt_ns == 0 || control->deadline_ns < waited_ns + way_ns)
        return 0;
    return (int)((control->deadline_ns - waited_ns - way_ns) / control->rtt_ns);
}

int pc_loss_control_repairs(const struct pc_loss_control *control, int packets, bool idr,
                            uint64_t now_ns)
{
    (void)now_ns;
    if (control->loss < LEAST || packets < 1)
        return 0;
    if (rounds_left(control, 0) > 0)
        return 0;
    double expected = control->loss * packets;
    int repairs = (int)ceil(1.5 * expected + (idr ? 1 : 0));
    int least = control->burst > 1.5 ? 2 : 1;
    int most = (int)ceil(MOST_FEC * packets);
    repairs = repairs < least ? least : repairs;
    repairs = repairs > most ? most : repairs;
    return repairs > 32 ? 32 : repairs;
}

bool pc_loss_control_worth_resending(const struct pc_loss_control *control, uint64_t sent_ns,
                                     uint64_t now_ns)
{
    (void)control;
    return now_ns - sent_ns < 300000000;
}

double pc_loss_control_share(const struct pc_loss_control *control)
{
    double extra = control->fec_bytes + control->rtx_bytes;
    double all = extra + control->media_bytes;
    return all > 0 ? extra / all : 0;
}
