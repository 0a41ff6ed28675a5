/* The derived index: which keys have a deadline, which rows show a conflict. Local, never replicated, and a function of the
 * rows: an entry that is not what its row says, or is not there, is mended from it.
 *
 *   'x' deadline (8 bytes, big-endian) key -> nothing    when the expiry cycle must look at a key
 *   'c' row key -> nothing                               the row's content is in conflict */
#ifndef SK_NODE_DERIVED_H
#define SK_NODE_DERIVED_H

#include "node/db.h"

/** Does this row show a conflict? */
bool sk_derived_conflicted(sk_table table, const sk_row *row);
/** The row was replaced; `conflicts` is 1, 0 or -1 (modulo 2^64): what it adds to their number. */
void sk_derived_change(sk_db *db, const sk_row_name *name, const sk_row *old, const sk_row *new, uint64_t conflicts);
/** Puts what a row's entries should be and are not. How many; or an error. */
int sk_derived_mend_row(sk_db *db, sk_bytes raw, const sk_row *row);
/** Removes an entry that its row does not bear out. 1: it did, 0: the entry is right; or an error. */
int sk_derived_mend_entry(sk_db *db, sk_bytes entry, sk_bytes value);

#endif
