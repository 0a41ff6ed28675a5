/* RENAME, RENAMENX, COPY: one key's rows written again under another name.
 *
 * There is nothing to move: a row's name is what regions merge by. So the new key gets, in one transaction, what a
 * reader of the old one sees now: values (a counter's sum becomes a plain value), fields, members, the deadline. What
 * another region writes to the old name at the same time stays there. A key in conflict has no one thing to copy and is
 * refused; everything is read before the first change. */
#include "node/cmd_key.h"
#include "node/replica.h"

typedef struct {
    sk_type type;
    uint64_t deadline_ms;
    sk_bytes value;    /* of a string */
    sk_bytes *members; /* of a hash or set */
    sk_bytes *values;  /* of a hash */
    size_t count;
} contents; /* everything in the command's arena */

static bool read_hash(sk_ctx *ctx, sk_bytes key, contents *out)
{
    if (!sk_members_list(ctx, SK_TABLE_HASH, key, &out->members, &out->count)) return false;
    out->values = sk_arena_take(ctx->arena, (out->count + 1) * sizeof *out->values);
    if (!out->values) {
        sk_reply_failure(ctx, SK_E_MEMORY);
        return false;
    }
    size_t kept = 0;
    for (size_t i = 0; i < out->count; i++) {
        sk_row_name name;
        sk_row row;
        bool found;
        if (!sk_member_row(ctx, SK_TABLE_HASH, key, out->members[i], &name, &row)) return false;
        if (!sk_value_read(ctx, key, out->members[i], &row, &out->values[kept], &found)) return false;
        if (found) out->members[kept++] = out->members[i]; /* where the disk is damaged, a field may be none */
    }
    out->count = kept;
    return true;
}

static bool read_contents(sk_ctx *ctx, const sk_key *key, contents *out)
{
    bool found;
    *out = (contents){.type = key->type, .deadline_ms = key->deadline_ms};
    switch (key->type) {
    case SK_TYPE_STRING: return sk_value_read(ctx, key->key, SK_BYTES_NONE, &key->row, &out->value, &found);
    case SK_TYPE_HASH: return read_hash(ctx, key->key, out);
    case SK_TYPE_SET: return sk_members_list(ctx, SK_TABLE_SET, key->key, &out->members, &out->count);
    case SK_TYPE_NONE: break;
    }
    return true;
}

static bool write_member(sk_ctx *ctx, sk_bytes key, const contents *from, size_t at)
{
    sk_row_name name;
    sk_row row;
    sk_table table = from->type == SK_TYPE_HASH ? SK_TABLE_HASH : SK_TABLE_SET;
    if (!sk_member_row(ctx, table, key, from->members[at], &name, &row)) return false;
    if (from->type == SK_TYPE_HASH) return sk_value_write(ctx, &name, &row, from->values[at]);
    return sk_member_add(ctx, &name, &row);
}

/* Replaces whatever the key is. */
static bool write_contents(sk_ctx *ctx, sk_key *key, const contents *from)
{
    if (from->type == SK_TYPE_STRING) return sk_key_set_string(ctx, key, from->value, from->deadline_ms, false);
    if (key->type != SK_TYPE_NONE && !sk_key_remove(ctx, key, false)) return false;
    for (size_t i = 0; i < from->count; i++)
        if (!write_member(ctx, key->key, from, i)) return false;
    return from->deadline_ms == SK_DEADLINE_NEVER || sk_key_set_deadline(ctx, key, from->deadline_ms);
}

/* Copies `source` over `target`, and removes it then if it is to be moved. False after replying with an error. */
static bool transfer(sk_ctx *ctx, sk_key *source, sk_key *target, bool move)
{
    contents what;
    if (!read_contents(ctx, source, &what)) return false;
    return write_contents(ctx, target, &what) && (!move || sk_key_remove(ctx, source, false));
}

/* 1: moved; 0: not, for `only_new` and a target that is there; -1: an error was replied. */
static int rename_key(sk_ctx *ctx, bool only_new)
{
    sk_key source, target;
    if (!sk_key_write(ctx, ctx->argv[1], SK_TYPE_NONE, &source)) return -1;
    if (source.type == SK_TYPE_NONE) {
        sk_reply_error(ctx->reply, "ERR no such key");
        return -1;
    }
    if (sk_bytes_equal(ctx->argv[1], ctx->argv[2])) return only_new ? 0 : 1;
    if (!sk_key_overwrite(ctx, ctx->argv[2], &target)) return -1;
    if (only_new && target.type != SK_TYPE_NONE) return 0;
    return transfer(ctx, &source, &target, true) ? 1 : -1;
}

void sk_cmd_rename(sk_ctx *ctx)
{
    if (rename_key(ctx, false) >= 0) sk_reply_ok(ctx->reply);
}

void sk_cmd_renamenx(sk_ctx *ctx)
{
    int moved = rename_key(ctx, true);
    if (moved >= 0) sk_reply_int(ctx->reply, moved);
}

static bool copy_options(sk_ctx *ctx, bool *replace)
{
    *replace = false;
    for (size_t i = 3; i < ctx->argc; i++) {
        if (sk_arg_is(ctx->argv[i], "replace")) {
            *replace = true;
            continue;
        }
        if (!sk_arg_is(ctx->argv[i], "db") || i + 1 == ctx->argc) {
            sk_reply_syntax(ctx);
            return false;
        }
        if (!sk_arg_database(ctx, ctx->argv[++i])) return false;
    }
    return true;
}

void sk_cmd_copy(sk_ctx *ctx)
{
    bool replace;
    sk_key source, target;
    if (!copy_options(ctx, &replace)) return;
    if (sk_bytes_equal(ctx->argv[1], ctx->argv[2])) {
        sk_reply_error(ctx->reply, "ERR source and destination objects are the same");
        return;
    }
    if (!sk_key_read(ctx, ctx->argv[1], SK_TYPE_NONE, &source)) return;
    if (source.type == SK_TYPE_NONE) {
        sk_reply_int(ctx->reply, 0);
        return;
    }
    if (!sk_key_overwrite(ctx, ctx->argv[2], &target)) return;
    if (target.type != SK_TYPE_NONE && !replace) {
        sk_reply_int(ctx->reply, 0);
        return;
    }
    if (transfer(ctx, &source, &target, false)) sk_reply_int(ctx->reply, 1);
}
