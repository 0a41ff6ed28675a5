/* Keys as commands see them: one name, one type, one deadline, over the rows beneath.
 *
 * A key's own row ('k') holds its string register, its deadlines and the sizes of its hash and set; their members are
 * rows of their own. A key whose deadline has passed is read as absent at once, everywhere; removing its rows is a
 * transaction like any other, made by the next write to the key or by the node itself (node/expiry.h).
 *
 * What reads goes by this node's own clock, what changes a key by the one that is to be believed (sk_replica_believed_ms):
 * a key whose deadline only a clock far ahead has reached is hidden there, and is changed as it stands everywhere else.
 * Nothing of it goes but what the command itself removes or replaces.
 *
 * Two regions may have given one key two types, or one register two values, at the same time. Under the policy
 * `siblings` whatever needs one answer is refused with -CONFLICT, which says how to see and resolve it; under `newest`
 * the newest stands for all. */
#ifndef SK_NODE_KEYSPACE_H
#define SK_NODE_KEYSPACE_H

#include "node/command.h"

typedef enum { SK_TYPE_NONE, SK_TYPE_STRING, SK_TYPE_HASH, SK_TYPE_SET } sk_type;

typedef struct {
    sk_bytes key;
    sk_row_name name; /* of its own row */
    sk_row row;       /* its own row as it stands */
    sk_type type;     /* NONE: absent, hidden or expired. Of several types (policy newest) the newest */
    uint64_t deadline_ms; /* SK_DEADLINE_NEVER: none */
} sk_key;

const char *sk_type_name(sk_type type);

/** Is there a key, as a reader sees it now? */
static inline bool sk_key_row_visible(const sk_row *row, uint64_t wall_ms)
{
    return sk_key_row_exists(row) && sk_row_deadline(row) > wall_ms;
}

/** Looks a key up for reading. False after replying with an error: -WRONGTYPE if it is there with another type than
 *  `want` (NONE: any will do), -CONFLICT if it has several types, or a failure. */
bool sk_key_read(sk_ctx *ctx, sk_bytes key, sk_type want, sk_key *out);
/** The same before a change: what is left of an expired key is removed first. */
bool sk_key_write(sk_ctx *ctx, sk_bytes key, sk_type want, sk_key *out);
/** The same for commands that replace or remove whatever is there, of any type, conflicts included: `type` is NONE only
 *  if there is nothing. */
bool sk_key_overwrite(sk_ctx *ctx, sk_bytes key, sk_key *out);
/** Looks without judging: types, conflicts and all; an expired key is shown as absent. */
bool sk_key_peek(sk_ctx *ctx, sk_bytes key, sk_key *out);
/** Does the key exist, for a reader? Conflicts count as there. Negative after a failure (nothing replied). */
int sk_key_exists(sk_ctx *ctx, sk_bytes key);

/** Removes everything of the key, in the open transaction: content of every type, and deadlines (kept with
 *  `keep_deadlines`). False after replying with a failure. key->row is as it stands afterwards. */
bool sk_key_remove(sk_ctx *ctx, sk_key *key, bool keep_deadlines);
/** Removes what is left of an expired key, or as much of it as the open transaction has room for: nobody sees the rest,
 *  and it goes with the next ones (`some_left`). Does nothing to any other key. False after replying with a failure. */
bool sk_key_expire(sk_ctx *ctx, sk_bytes key, bool *some_left);
/** Replaces the key, of whatever type, by a string. `deadline_ms` NEVER clears an older deadline, unless keep. */
bool sk_key_set_string(sk_ctx *ctx, sk_key *key, sk_bytes value, uint64_t deadline_ms, bool keep_deadline);
/** Sets the deadline; SK_DEADLINE_NEVER is PERSIST. */
bool sk_key_set_deadline(sk_ctx *ctx, sk_key *key, uint64_t deadline_ms);

/** The value that a register shows: `row` is the key's own row or a field's, `key` the client key (for its policy).
 *  False after replying with -CONFLICT or a failure; `found` false if there is none. `field` (data NULL: none) is for
 *  the error's text. */
bool sk_value_read(sk_ctx *ctx, sk_bytes key, sk_bytes field, const sk_row *row, sk_bytes *value, bool *found);
/** Writes a register (a field, or a string within an existing string key: deadlines stay). `row`, here and below:
 *  as it stands. */
bool sk_value_write(sk_ctx *ctx, const sk_row_name *name, const sk_row *row, sk_bytes value);
/** Adds to a register whose shown value is a number (or absent): INCRBY and HINCRBY. `by` whole or real. Does the
 *  checks and errors of Redis (a field has its own words), replies on error, and gives the new value: whole, if `by` is. */
bool sk_value_add(sk_ctx *ctx, sk_bytes key, sk_bytes field, const sk_row_name *name, const sk_row *row, sk_number by,
                  sk_number *sum);
/** Has the open transaction made this entry? */
static inline bool sk_entry_made_now(const sk_ctx *ctx, const sk_entry *entry)
{
    sk_dot dot = sk_db_next_dot(ctx->db);
    return entry->dot.origin == dot.origin && entry->dot.seq == dot.seq;
}
/** A number as GET would show it. */
void sk_reply_number(sk_ctx *ctx, sk_number number);

/* -- members of hashes and sets --------------------------------------------------------------------------------------- */

/** The row of one field or member. False after replying with a failure. */
bool sk_member_row(sk_ctx *ctx, sk_table table, sk_bytes key, sk_bytes member, sk_row_name *name, sk_row *row);
/** Adds a set member's row, or removes a row's content (set member or hash field). */
bool sk_member_add(sk_ctx *ctx, const sk_row_name *name, const sk_row *row);
bool sk_member_remove(sk_ctx *ctx, const sk_row_name *name, const sk_row *row);
/** Calls visit(self, member, row) for each live member in key order from `from` (data NULL: the first); it returns 0 to
 *  go on, 1 to stop. Everything is borrowed for the call. False after replying with a failure. */
typedef int sk_member_visit(void *self, sk_bytes member, const sk_row *row);
bool sk_members_each(sk_ctx *ctx, sk_table table, sk_bytes key, sk_bytes from, sk_member_visit *visit, void *self);
/** All live members, copied into the arena; *count gets how many. */
bool sk_members_list(sk_ctx *ctx, sk_table table, sk_bytes key, sk_bytes **members, size_t *count);

#endif
