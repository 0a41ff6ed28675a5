/* Tells operators of wall clocks that differ: a log line when it begins and when it is over, and lines of INFO.
 *
 * An alarm begins when a peer's clock surely differs by more than the limit (half of the round trip is allowed for), and
 * ends when it differs by less than half of it, so that a clock at the limit does not fill the log. What a node does
 * about its own clock is another matter: gossip/clock.h. */
#ifndef SK_NODE_CLOCKS_H
#define SK_NODE_CLOCKS_H

#include "node/replica.h"

typedef struct {
    bool alarmed[SK_MEMBERS_MAX]; /* by the peer's index */
    bool held_back;               /* our own stamps are */
    uint64_t look_at_ms;
    uint64_t alarms;              /* that have begun since the start */
} sk_clocks;

/** Looks, if it is time again. `limit_ms` 0: no alarms. */
void sk_clocks_look(sk_clocks *clocks, const sk_replica *replica, uint64_t limit_ms);
/** Appends lines of INFO replication. */
void sk_clocks_info(const sk_clocks *clocks, const sk_replica *replica, sk_buf *text);

#endif
