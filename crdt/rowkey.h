/* Row keys: which row of the database an operation touches.
 *
 * The first byte is the table; keys compare by memcmp, so a table is a range, and so is one client key's members.
 *
 *   'k' key                        the key's own row: string register, counter, expiry, and (derived) its sizes
 *   'h' escaped-key 00 01 field    one field of a hash
 *   'm' escaped-key 00 01 member   one member of a set
 *   'p' prefix                     policy of the client keys that begin with prefix
 *   'r' region 00 01 public key    what is said of the database with that key as the region of that name (node/member.h)
 *
 * The last two are not about client keys; node/fold.c relies on their being the last. In an escaped key each 00 byte is followed by ff, so that 00 01 ends it and order is kept. */
#ifndef SK_CRDT_ROWKEY_H
#define SK_CRDT_ROWKEY_H

#include "crdt/memory.h"

typedef enum {
    SK_TABLE_KEY = 'k',
    SK_TABLE_HASH = 'h',
    SK_TABLE_SET = 'm',
    SK_TABLE_POLICY = 'p',
    SK_TABLE_MEMBER = 'r',
} sk_table;

typedef struct {
    sk_table table;
    sk_bytes key;    /* the client's key (unescaped), the policy's prefix, or the region */
    sk_bytes member; /* field, member or public key; empty for the tables without */
} sk_rowkey;

/** Appends the row key to `out`. Tables without members ignore `member`. */
void sk_rowkey_pack(sk_buf *out, sk_table table, sk_bytes key, sk_bytes member);
/** Appends what every member row of `key` in `table` begins with. */
void sk_rowkey_pack_prefix(sk_buf *out, sk_table table, sk_bytes key);
enum { SK_ROWKEY_PUBLIC_KEY = 32 }; /* bytes of a public key */

/** Parses a row key. `member` points into `raw`; `key` too, or into the arena where it had to be unescaped.
 *  SK_E_MALFORMED, SK_E_MEMORY. */
int sk_rowkey_parse(sk_bytes raw, sk_arena *arena, sk_rowkey *out);
/** Makes `out` the least byte string above all that begin with what it holds; empty if there is none. */
void sk_rowkey_successor(sk_buf *out);

#endif
