/* REGION: the regions of the cluster, seen and changed. The container is in the table of node/cmd_session.c. */
#ifndef SK_NODE_CMD_REGION_H
#define SK_NODE_CMD_REGION_H

#include "gossip/engine.h"
#include "node/command.h"

extern const sk_command sk_region_commands[];

/** Replies with a vector as text. */
void sk_reply_vector(sk_ctx *ctx, const sk_vv *vv);

/** The link to a peer as REGION LIST and INFO show it. */
const char *sk_region_link_state(const sk_replica *replica, uint32_t index, const sk_peer_status *peer);

/** REGION AUDIT: cmd_audit.c. */
void sk_cmd_region_audit(sk_ctx *ctx);

#endif
