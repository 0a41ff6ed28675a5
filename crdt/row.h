/* Rows: the unit of storage and of merging.
 *
 * A row holds entries; each was put there by one transaction (its dot) and stays until an operation that saw it
 * removes it. Entries are of two classes that are removed separately: content (a value, a count, a membership) and
 * deadline (expiry). A removal leaves no tombstone: with the version vector V of the node that holds the row, "d is not
 * here and V covers d" says that d was removed; "V does not cover d" says that d has not been seen.
 *
 * Invariants (sk_row_check):
 *  1. An entry (class, dot) stands in a row at a node exactly when the node's vector covers the dot and no operation
 *     that the vector covers has removed it. (Dead counts, see crdt/count.h, are not entries in this sense.)
 *  2. Entries are ordered by class, origin number, seq; no two have the same class and dot.
 *  3. Of counts there is at most one per origin. */
#ifndef SK_CRDT_ROW_H
#define SK_CRDT_ROW_H

#include "crdt/count.h"
#include "crdt/hlc.h"
#include "crdt/vv.h"

typedef enum {
    SK_ENTRY_VALUE = 1,    /* content: a register's bytes */
    SK_ENTRY_COUNT = 2,    /* content: one origin's share of a sum */
    SK_ENTRY_MEMBER = 3,   /* content: here */
    SK_ENTRY_DEADLINE = 4, /* deadline */
} sk_entry_kind;

typedef enum { SK_CLASS_CONTENT = 0, SK_CLASS_DEADLINE = 1 } sk_entry_class;

enum {
    /* Of one row that a peer sends, and of each list in an operation: far more than a row can come to in a cluster that
     * keeps its limits (one count for each origin, at most SK_SIBLINGS_MAX values added by each region). Not of a row as
     * it stands: what was merged must stay readable. A power of two. */
    SK_ROW_ENTRIES_MAX = 16384,
    SK_SIBLINGS_MAX = 64, /* values in a register beyond which a region adds none beside them */
};

#define SK_DEADLINE_NEVER UINT64_MAX /* PERSIST: later than every deadline */

typedef struct {
    sk_entry_kind kind;
    sk_dot dot;
    sk_hlc hlc;
    sk_bytes value;       /* VALUE; borrowed */
    sk_count count;       /* COUNT */
    uint64_t deadline_ms; /* DEADLINE; unix milliseconds, or SK_DEADLINE_NEVER */
} sk_entry;

typedef struct {
    sk_entry *entries; /* borrowed, usually from an arena */
    uint32_t count;
    uint64_t fields;  /* derived, a key's own row only: live fields of the hash */
    uint64_t members; /* derived, likewise: live members of the set */
} sk_row;

static inline sk_entry_class sk_entry_class_of(const sk_entry *entry)
{
    return entry->kind == SK_ENTRY_DEADLINE ? SK_CLASS_DEADLINE : SK_CLASS_CONTENT;
}
/** False for a count that a reset has seen wholly. */
static inline bool sk_entry_live(const sk_entry *entry)
{
    return entry->kind != SK_ENTRY_COUNT || entry->count.base_seq < entry->dot.seq;
}

/** Which of two entries is newer, of one row or not: the later one; of one time that of the later origin, then the later
 *  transaction. The same answer everywhere. Any is newer than one without a dot. */
bool sk_newer(const sk_origins *origins, sk_hlc a, sk_dot a_dot, sk_hlc b, sk_dot b_dot);
/** Live entries of a class. */
uint32_t sk_row_live(const sk_row *row, sk_entry_class class);
/** Nothing to keep: no entries, dead ones included, and no sizes. */
static inline bool sk_row_empty(const sk_row *row)
{
    return row->count == 0 && row->fields == 0 && row->members == 0;
}
/** Does the vector cover the dot of every entry, dead ones too? */
bool sk_row_covered(const sk_row *row, const sk_vv *vv);
/** And the resets of dead counts? A database whose vector that is has no other rows. */
bool sk_row_possible(const sk_row *row, const sk_vv *vv);
/** Is there a count that a reset has seen wholly? */
bool sk_row_has_dead(const sk_row *row);
/** The effective deadline: the latest of all; SK_DEADLINE_NEVER if there is none or one is PERSIST. */
uint64_t sk_row_deadline(const sk_row *row);
/** The live count entry of this origin, or NULL. Borrowed from the row. */
const sk_entry *sk_row_count_of(const sk_row *row, uint32_t origin);

/** Appends the stored form. `derived` false leaves the sizes out: what other nodes are sent. */
void sk_row_pack(sk_buf *buf, const sk_row *row, bool derived);
/** Reads a stored form; values point into `bytes`, entries are in the arena, origins go through `map` (NULL: ours).
 *  SK_E_MALFORMED, SK_E_MEMORY; through a map also SK_E_TOO_LARGE. */
int sk_row_read(sk_bytes bytes, const sk_origin_map *map, sk_arena *arena, sk_row *row);

/** The same row in the arena, values too. SK_E_MEMORY. */
int sk_row_copy(const sk_row *row, sk_arena *arena, sk_row *out);

/** The merge of a transferred row S, sent by a node whose vector was `vv_s`, with our row R, where `known` is our
 *  vector: keeps (S and R) or (S not known) or (R not covered by vv_s), and the later base of every count; R's dead ones stay,
 *  S's that are known and that R does not hold do not come back. Sizes are R's. Values stay borrowed from both. SK_E_MEMORY. */
int sk_row_merge(const sk_row *s, const sk_vv *vv_s, const sk_row *r, const sk_vv *known, sk_arena *arena, sk_row *out);

/** Drops the dead counts whose resets are stable (NULL: all), in place; not those of origins that are open-ended
 *  (sk_origins_open_ended; origins NULL: none is), nor of those that `held` is true for (by origin; NULL: none). True if
 *  there were any. */
bool sk_row_strip(sk_row *row, const sk_vv *stable, const sk_origins *origins, const bool *held);

/** Puts entries in order, in place (invariant 2), in O(n log n). */
void sk_row_sort(sk_row *row);
/** Asserts invariants 2 and 3. */
void sk_row_check(const sk_row *row);

/* -- digests -------------------------------------------------------------------------------------------------------- */

/* A sum modulo 2^128 over all live entries: the same for every order, so it is kept up to date entry by entry. */
typedef unsigned __int128 sk_digest;

/** What the live entries of one row add to the digest of a database. Sizes and dead counts do not enter. */
sk_digest sk_row_digest(const sk_origins *origins, sk_bytes row_key, const sk_row *row);
/** The same from a hash of the row's key, for who needs several of one row. */
uint64_t sk_row_key_hash(sk_bytes row_key);
sk_digest sk_row_digest_hashed(const sk_origins *origins, uint64_t key_hash, const sk_row *row);
/** What a row has that digests leave out, likewise to be added up: sizes and dead counts. They differ from node to node, and
 *  go by this one's numbers of the origins. 0 for nearly every row. */
uint64_t sk_row_rest(sk_bytes row_key, const sk_row *row);
/** May it be other than 0? */
static inline bool sk_row_has_rest(const sk_row *row)
{
    if (row->fields || row->members) return true;
    return sk_row_has_dead(row);
}

#endif
