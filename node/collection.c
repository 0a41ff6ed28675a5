#include "node/collection.h"

#include "crdt/number.h"
#include "node/glob.h"
#include "node/replica.h"

/* -- collected replies --------------------------------------------------------------------------------------------- */

void sk_collected_begin(sk_collected *collected, sk_ctx *ctx)
{
    *collected = (sk_collected){.ctx = ctx, .buf.max = ctx->reply->out->max};
    collected->reply = (sk_reply){&collected->buf, ctx->reply->proto};
}

void sk_collected_send(sk_collected *collected, void (*header)(const sk_reply *reply, size_t count))
{
    const sk_reply *reply = collected->ctx->reply;
    if (collected->buf.full) {
        reply->out->full = true;
    } else {
        header(reply, collected->count);
        sk_buf_bytes(reply->out, sk_buf_view(&collected->buf));
    }
    sk_buf_free(&collected->buf);
}

void sk_collected_drop(sk_collected *collected)
{
    sk_buf_free(&collected->buf);
}

/* -- the end of a key ---------------------------------------------------------------------------------------------- */

bool sk_collection_shrunk(sk_ctx *ctx, sk_key *key)
{
    const sk_row *row = &key->row;
    bool lost = sk_row_live(row, SK_CLASS_CONTENT) || (row->fields && row->members);
    if (!lost && sk_row_live(row, SK_CLASS_DEADLINE) == 0) return true;
    int status = sk_db_row(ctx->db, key->name.raw, ctx->arena, &key->row);
    if (status) {
        sk_reply_failure(ctx, status);
        return false;
    }
    bool left = key->type == SK_TYPE_HASH ? key->row.fields : key->row.members;
    return left || sk_key_remove(ctx, key, false);
}

/* -- scans --------------------------------------------------------------------------------------------------------- */

typedef struct {
    sk_ctx *ctx;
    sk_table table;
    sk_bytes key;
    bool matches; /* against `pattern` */
    sk_bytes pattern;
    int64_t count;
    int64_t visited;
    bool whole, more, failed;
    sk_bytes last; /* visited; in the arena */
    sk_collected items;
} scan;

static bool parse_options(sk_ctx *ctx, scan *options)
{
    options->count = 10;
    for (size_t i = 3; i < ctx->argc; i += 2) {
        bool has_value = i + 1 < ctx->argc;
        if (has_value && sk_arg_is(ctx->argv[i], "count")) {
            if (!sk_arg_int(ctx, ctx->argv[i + 1], &options->count)) return false;
            if (options->count >= 1) continue;
        } else if (has_value && sk_arg_is(ctx->argv[i], "match")) {
            options->pattern = ctx->argv[i + 1];
            options->matches = true;
            continue;
        }
        sk_reply_syntax(ctx);
        return false;
    }
    return true;
}

static int scan_member(void *self, sk_bytes member, const sk_row *row)
{
    scan *at = self;
    if (!at->whole && at->visited == at->count) {
        at->more = true;
        return 1;
    }
    at->visited++;
    if (!at->whole && at->visited == at->count) {
        at->last = sk_arena_copy(at->ctx->arena, member);
        at->failed = !at->last.data;
        if (at->failed) sk_reply_failure(at->ctx, SK_E_MEMORY);
        if (at->failed) return 1;
    }
    if (at->matches && !sk_glob_match(at->pattern, member)) return 0;
    sk_bytes value;
    bool found = true;
    if (at->table == SK_TABLE_HASH && !sk_value_read(at->ctx, at->key, member, row, &value, &found)) {
        at->failed = true;
        return 1;
    }
    if (!found) return 0;
    sk_reply_bulk(&at->items.reply, member);
    at->items.count++;
    if (at->table == SK_TABLE_HASH) {
        sk_reply_bulk(&at->items.reply, value);
        at->items.count++;
    }
    return at->items.buf.full;
}

static void reply_scan(sk_ctx *ctx, uint64_t cursor)
{
    char digits[SK_INT64_CHARS];
    sk_reply_array(ctx->reply, 2);
    sk_reply_bulk(ctx->reply, sk_bytes_of(digits, sk_format_int64(digits, (int64_t)cursor)));
}

/* Where to go on, strictly after the cursor's position. */
static bool find_position(sk_ctx *ctx, uint64_t cursor, sk_bytes scope, sk_bytes *from)
{
    sk_bytes position;
    *from = SK_BYTES_NONE;
    if (cursor == 0) return true;
    if (!sk_cursor_find(&ctx->replica->cursors, cursor, scope, &position)) {
        sk_reply_error(ctx->reply, "ERR invalid cursor");
        return false;
    }
    uint8_t *after = sk_arena_take(ctx->arena, position.len + 1);
    if (!after) {
        sk_reply_failure(ctx, SK_E_MEMORY);
        return false;
    }
    memcpy(after, position.data, position.len);
    after[position.len] = 0; /* the least that is above it */
    *from = sk_bytes_of(after, position.len + 1);
    return true;
}

void sk_collection_scan(sk_ctx *ctx, sk_table table)
{
    scan at = {.ctx = ctx, .table = table, .key = ctx->argv[1]};
    sk_key key;
    uint64_t cursor;
    sk_bytes from;
    if (!sk_cursor_parse(ctx->argv[2], &cursor)) {
        sk_reply_error(ctx->reply, "ERR invalid cursor");
        return;
    }
    if (!sk_key_read(ctx, at.key, table == SK_TABLE_HASH ? SK_TYPE_HASH : SK_TYPE_SET, &key)) return;
    if (key.type == SK_TYPE_NONE) {
        reply_scan(ctx, 0);
        sk_reply_array(ctx->reply, 0);
        return;
    }
    if (!parse_options(ctx, &at)) return;
    uint64_t size = table == SK_TABLE_HASH ? key.row.fields : key.row.members;
    at.whole = size <= SK_SCAN_WHOLE_MAX; /* whatever the cursor: all of it is never too little */
    sk_row_name scope = sk_row_name_of(ctx->arena, table, at.key, SK_BYTES_NONE);
    if (!find_position(ctx, at.whole ? 0 : cursor, scope.raw, &from)) return;
    sk_collected_begin(&at.items, ctx);
    if (!sk_members_each(ctx, table, at.key, from, scan_member, &at) || at.failed) {
        sk_collected_drop(&at.items);
        return;
    }
    reply_scan(ctx, at.more ? sk_cursor_save(&ctx->replica->cursors, cursor, at.last, scope.raw) : 0);
    sk_collected_send(&at.items, sk_reply_array);
}
