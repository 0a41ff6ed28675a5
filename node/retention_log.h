/* Tells operators of history that is kept for members that lack it: warnings in the log when it comes to half of its cap, to
 * four fifths, and when members are not waited for any more.
 *
 * A warning is given once, and again only after the share has fallen well below: history that comes and goes at one of
 * the two does not fill the log. */
#ifndef SK_NODE_RETENTION_LOG_H
#define SK_NODE_RETENTION_LOG_H

#include "node/replica.h"

typedef struct {
    unsigned level;                   /* 0, 1: from half on, 2: from four fifths on */
    bool laggard[SK_RETENTION_PEERS]; /* by peer number, as it was logged */
    uint64_t look_at_ms;
} sk_retention_log;

/** Looks, if it is time again. */
void sk_retention_log_look(sk_retention_log *log, const sk_replica *replica);
/** The level for a share in percent, where `level` was the last one. */
unsigned sk_retention_level(unsigned level, uint64_t percent);

#endif
