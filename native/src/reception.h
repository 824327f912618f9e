/* What one peer sends us: the shell around pc_receiver, on the hub's I/O thread, and the playout
 * that gives access units and pictures to readers on other threads.
 *
 * Two hold it: the peer, until the I/O thread leaves it, and the handle of core.cdef.h. Either may
 * go first. What other threads want of the I/O thread are flags that it sees at its next turn. */
#ifndef PC_RECEPTION_H
#define PC_RECEPTION_H

#include "playout.h"
#include "transport.h"

struct pc_hub;

/* Check the settings, and start. Not yet joined to a peer. `local_ssrc`: of our RTCP. 0, -EINVAL,
 * -ENOMEM … with pc_error_text(). The caller has the handle, and closes it. */
int pc_reception_create(const struct pc_receive_settings *settings, uint32_t local_ssrc,
                        uint64_t now_ns, struct pc_reception **out);

/* ---- I/O thread ---- */

/* The peer of `hub` whose transport this is holds it from now on. */
void pc_reception_join(struct pc_reception *reception, struct pc_hub *hub,
                       struct pc_transport *transport);

/* Say BYE; readers see the end; the peer holds it no more. */
void pc_reception_leave(struct pc_reception *reception, uint64_t now_ns);

/* The handle was closed: the peer is to leave it. */
bool pc_reception_closed(struct pc_reception *reception);

/* An RTP packet, unprotected. Call pc_reception_tick() after a batch. */
void pc_reception_packet(struct pc_reception *reception, const uint8_t *data, size_t size,
                         uint64_t now_ns);

void pc_reception_rtcp(struct pc_reception *reception, const uint8_t *data, size_t size,
                       uint64_t now_ns, uint64_t ntp_now);

/* What is due, and what other threads wish. Returns when to call again. */
uint64_t pc_reception_tick(struct pc_reception *reception, uint64_t now_ns, uint64_t ntp_now);

#endif
