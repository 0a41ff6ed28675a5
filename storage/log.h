/* The commit log: what a commit appends, and what a start replays.
 *
 * A record is the changes of a group of batches in their order, as MessagePack values: head (family, kind, open end),
 * key, and for puts and ranges a value. Records stand in the segments of storage/journal.h. */
#ifndef SK_STORAGE_LOG_H
#define SK_STORAGE_LOG_H

#include "crdt/pack.h"
#include "storage/overlay.h"

/** Appends one change to a record. */
void sk_log_append(sk_buf *record, const sk_change *change);

/* What a record says, one change after the other; everything is borrowed from it. */
typedef struct {
    sk_change_kind kind;
    sk_cf cf;
    bool open_end;
    sk_bytes key, value;
} sk_logged;

/** 1 and the next change, 0 at the end, SK_E_CORRUPT for bytes that are no record. */
int sk_log_next(sk_reader *reader, sk_logged *logged);

#endif
