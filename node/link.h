/* Links to the other regions: who dials whom and when, which connection is kept, and what messages travel on.
 *
 *   per peer:  waiting --dial_at--> resolving --> dialing --handshake--> up --lost--> waiting (backoff)
 *                 ^                     ^            |                   ^
 *                 |                     '- failed, next address          |
 *                 '--- all failed -------------------'   accepted -------'
 *
 * A peer's addresses are tried in the order of the configuration, of a name every address that it has at that moment,
 * each for SK_LINK_HANDSHAKE_MS at most. A peer without an address (behind NAT) is never dialed, only accepted.
 *
 * Both sides dial where they can, so two connections between the same regions may come up. Both ends then keep the one
 * whose initiator has the smaller name; of two with the same initiator the newer, because an initiator dials only when
 * its own end of the old one is gone; and any one rather than one that has been silent, since its other end may have
 * crashed. (The side with the larger name begins to dial a little later, so that this is rare.)
 *
 * Two nodes with the key of one region, of which one is a copy of the other, thus take each other's links, or the one that
 * is dialed keeps out the other. It is told of where that is seen: by who is called, and by who is refused.
 *
 * Invariants:
 *  1. The engine sees at most one link per peer, and link_down before the next link_up. It is never called while it is
 *     calling: what it asks for is done at the turn's end (sk_links_turn).
 *  2. A link is up only once the peer has proved a key that its name has (node/member.h), in this very session, and
 *     only as long as it has it (link_member.c).
 *  3. Each peer has its own connection, queue and backoff: a slow or dead one delays nobody.
 *  4. A peer that breaks the protocol is let in again only after its backoff.
 *  5. Strangers (handshake not over) are at most SK_LINK_STRANGERS_MAX, the oldest goes first, each within 5 s. */
#ifndef SK_NODE_LINK_H
#define SK_NODE_LINK_H

#include "gossip/noise.h"
#include "node/config.h"
#include "node/replica.h"

#include <uv.h>

enum {
    SK_LINK_STRANGERS_MAX = 64,
    SK_LINK_HANDSHAKE_MS = 5000,     /* from the first packet to a proven peer */
    SK_LINK_BACKOFF_MS = 100,        /* doubled at each failure */
    SK_LINK_BACKOFF_MS_MAX = 10000,
    SK_LINK_GOOD_MS = 10000,         /* a link that lived so long starts the backoff anew */
    SK_LINK_TWIN_SIGNS = 8,          /* so often in a row one link was in the other's way: two nodes run with one key */
    SK_LINK_ALONE_MS = 30000,        /* a link that lives so long has none that takes it: the backoff is shorter */
};

typedef struct sk_links sk_links;

/** `event(self)` as in sk_server_new. Everything is borrowed. Owned by the caller: sk_links_close, run the loop until nothing is left, sk_links_free. */
sk_links *sk_links_new(uv_loop_t *loop, sk_replica *replica, const sk_config *config, const sk_noise_keypair *key,
                       void (*event)(void *self), void *self);
/** Listens on replication.address and replication.port. 0, or a libuv error. */
int sk_links_listen(sk_links *links);
/** Who is a member is not what it was: dials, allows and closes accordingly. Not within a call of the replica's to its
 *  host but members_changed. */
void sk_links_follow(sk_links *links);
/** Begins to dial. */
void sk_links_start(sk_links *links);
/** The end of a turn: links that the engine or an operator gave up are closed, and what was sent is written. */
void sk_links_turn(sk_links *links);
/** Whether messages are taken from peers: not while the store cannot keep up. */
void sk_links_pause(sk_links *links, bool paused);
/** No more dialing and accepting. Links that are up stay. */
void sk_links_stop(sk_links *links);
/** Whether all connections are gone. */
bool sk_links_idle(const sk_links *links);
/** Closes every handle, whatever is unsent. */
void sk_links_close(sk_links *links);
void sk_links_free(sk_links *links);

/* What the replica's host passes on (sk_replica_host). */
void sk_links_send(sk_links *links, uint32_t peer, sk_bytes message);
size_t sk_links_queued(const sk_links *links, uint32_t peer);
void sk_links_hang_up(sk_links *links, uint32_t peer, int error);
void sk_links_allow(sk_links *links, uint32_t peer, bool allowed);

/** Appends what keeps the link to a peer down, or why one who said to be it was refused, or that two nodes run with one key;
 *  nothing if none is known. */
void sk_links_note(const sk_links *links, uint32_t peer, sk_buf *text);
/** Appends a "link_<region>:…" line for each peer: state, address, initiator, bytes queued, and the last error. */
void sk_links_info(const sk_links *links, sk_buf *text);

#endif
