/* Export and import: the whole state of a database as a stream (node/stream.h), and a stream merged into a database.
 *
 * An export reads one snapshot: every row as a transfer of everything would bring it, siblings, dots and dead counts
 * included, and the removals that a third database may still need.
 *
 * An import is such a transfer, from a peer that is no node: staged where nobody looks, checked to the last byte, and
 * made visible in one step by the row merge (node/fold.h). What the database has and the stream does not know stays.
 *
 *   open -> write* -> commit      any error, a closed connection, a failed store or a crash: all of it is dropped
 *
 * One import at a time, and no incoming transfer beside it: both are staged in the same place. */
#ifndef SK_NODE_EXPORT_H
#define SK_NODE_EXPORT_H

#include "node/fold.h"
#include "node/stream.h"

typedef struct sk_export sk_export;
typedef struct sk_import sk_import;

/** Opens over a snapshot of what is committed. SK_E_BUSY while a transfer is being folded in. `cluster` is copied. */
int sk_export_open(sk_db *db, const char *cluster, uint64_t wall_ms, sk_export **out);
/** Appends at most `max` bytes of the stream; none: that was its end. An error ends it: SK_E_CORRUPT also when the rows
 * are not what the database's digest says. */
int sk_export_read(sk_export *export, size_t max, sk_buf *out);
/** Gives the snapshot back: before the store is reopened or closed. */
void sk_export_close(sk_export *export);

/** Asked before a stream is taken that knows our own origin up to `seq`: 0, or an error (see
 * sk_engine_known_elsewhere). */
typedef int sk_import_known(void *self, uint64_t seq);

/** Begins one; nothing is staged before the first frame has come. `cluster` and `self` are borrowed until the end. */
sk_import *sk_import_open(sk_db *db, const char *cluster, sk_import_known *known, void *self);
/** The next piece of the stream. 0, or an error with a sentence; then only sk_import_abort is left. */
int sk_import_write(sk_import *import, sk_bytes piece, sk_buf *error);
/** The stream has come to its end: all of it counts from here on, and the import is gone (also after an error, when
 * nothing does). `end` gets what it brought. */
int sk_import_commit(sk_import *import, sk_stream_end *end, sk_buf *error);
void sk_import_abort(sk_import *import);
/** Drops what an import left that a crash or a rollback ended. */
int sk_import_drop_left(sk_db *db);

#endif
