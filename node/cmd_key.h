/* The commands on whole keys, and what their files share. The table is in node/cmd_key.c. */
#ifndef SK_NODE_CMD_KEY_H
#define SK_NODE_CMD_KEY_H

#include "node/keyspace.h"

sk_command_fn sk_cmd_rename, sk_cmd_renamenx, sk_cmd_copy; /* node/cmd_copy.c */
sk_command_fn sk_cmd_scan, sk_cmd_keys, sk_cmd_randomkey;  /* node/cmd_scan.c */

/** Is there a key, as a reader sees it now? */
static inline bool sk_key_row_visible(const sk_row *row, uint64_t wall_ms)
{
    return sk_key_row_exists(row) && sk_row_deadline(row) > wall_ms;
}

enum { SK_ROW_BYTES = 16 }; /* what an operation takes beside its row key and value, about */

/** Adds to `bytes` what removing a key's rows puts into a transaction, about. False after replying with a failure. */
bool sk_key_removal_bytes(sk_ctx *ctx, const sk_key *key, size_t *bytes);
/** False after replying that a transaction of so many bytes is larger than one may be. */
bool sk_transaction_fits(sk_ctx *ctx, size_t bytes);

#endif
