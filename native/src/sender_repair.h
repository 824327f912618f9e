/* What a sender does about loss, and to find out how much a path takes: FEC behind a frame, RTX for
 * what is asked for, another reference for what is not repaired, RTX of what was just sent as
 * padding to probe with. */
#ifndef PC_SENDER_REPAIR_H
#define PC_SENDER_REPAIR_H

#include "sender.h"

/* Is FEC wanted for what is sent now? */
bool pc_sender_protects(const struct pc_sender *sender, uint64_t now_ns);

/* The media packet whose plain header was just written goes into the block of its frame, which is
 * not full. */
void pc_sender_protect(struct pc_sender *sender, const uint8_t *header,
                       const struct pc_payload *payload);

bool pc_sender_block_is_full(const struct pc_sender *sender);

/* The block is full, or its frame complete: send its repair packets. Returns the bytes sent. */
size_t pc_sender_finish_block(struct pc_sender *sender, bool idr, uint32_t timestamp,
                              uint8_t *scratch, uint64_t now_ns, struct pc_hub_stats *hub);

/* Send packet `sequence` again, when there is a budget and it can still be of use. */
void pc_sender_resend(struct pc_sender *sender, uint16_t sequence, uint8_t *scratch,
                      uint64_t now_ns, struct pc_hub_stats *hub);

/* Send the further copies of retransmissions that are due. Returns when the next one is. */
uint64_t pc_sender_send_copies(struct pc_sender *sender, uint8_t *scratch, uint64_t now_ns,
                               struct pc_hub_stats *hub);

/* If the receiver cannot use what is sent: ask the encoder to refer to what it holds, or for an IDR
 * where packets do not tell what their frame refers to. */
void pc_sender_ask_for_reference(struct pc_sender *sender);

/* Send the padding that the rate loop wants, right behind a frame. */
void pc_sender_probe(struct pc_sender *sender, uint8_t *scratch, uint64_t now_ns,
                     struct pc_hub_stats *hub);

#endif
