/* FLUSHALL, FLUSHDB: removes every key that this region has seen. What other regions write at the same time stays, and
 * policies do too: they are not keys.
 *
 * It is one transaction where one is large enough. Where not, FLUSHALL alone among the commands is several: each part
 * is atomic, and no client here sees one without the others, since they are all made before anything else is executed; but
 * each goes to the disk before the next is made, so that memory holds one of them. So another region may see the earlier
 * ones first, and a crash, here or there, may leave just these. Inside MULTI that cannot be, so there it is refused. The
 * node answers nobody else while it lasts, and is silent to other regions. */
#include "node/cmd_server.h"

#include "node/keyspace.h"
#include "node/replica.h"

static const uint8_t TABLES[] = {SK_TABLE_HASH, SK_TABLE_SET, SK_TABLE_KEY}; /* members before their key's own row */

typedef struct {
    sk_ctx ctx;  /* the command's, with an arena that is reset between the parts */
    sk_buf from; /* where the next part begins, if this one is full */
    bool full;
    bool failed; /* an error was replied */
} flush;

/* Ends a part, and begins the next. */
static void next_part(flush *flushing)
{
    sk_ctx *ctx = &flushing->ctx;
    sk_db_commit(ctx->db);
    int status = ctx->db->failed ? ctx->db->failed : sk_replica_commit(ctx->replica);
    sk_db_begin(ctx->db);
    sk_arena_reset(ctx->arena);
    flushing->full = false;
    flushing->failed = status != 0;
    if (status) sk_reply_failure(ctx, status);
}

static bool has_anything(const sk_row *row)
{
    return sk_key_row_exists(row) || sk_row_live(row, SK_CLASS_DEADLINE);
}

/* A part is full only where there is something for the next one: none is empty. */
static int remove_row(void *self, sk_bytes raw, const sk_row *row)
{
    flush *flushing = self;
    sk_ctx *ctx = &flushing->ctx;
    if (!has_anything(row)) return 0;
    if (!ctx->client->in_multi && ctx->db->txn.count && !sk_db_has_room(ctx->db, sk_op_removal_size(raw, row))) {
        sk_buf_reset(&flushing->from);
        sk_buf_bytes(&flushing->from, raw);
        flushing->full = true;
        return 1;
    }
    sk_row_name name = {.raw = sk_arena_copy(ctx->arena, raw)};
    int status = name.raw.data ? sk_rowkey_parse(name.raw, ctx->arena, &name.key) : SK_E_MEMORY;
    if (status) {
        sk_reply_failure(ctx, status);
        flushing->failed = true;
    } else if (name.key.table == SK_TABLE_KEY) {
        sk_key key;
        flushing->failed = !sk_key_overwrite(ctx, name.key.key, &key) ||
                           (key.type != SK_TYPE_NONE && !sk_key_remove(ctx, &key, false));
    } else {
        flushing->failed = !sk_member_remove(ctx, &name, row);
    }
    return flushing->failed;
}

static bool flush_all(sk_ctx *ctx, flush *flushing)
{
    int status = 0;
    for (size_t i = 0; i < sizeof TABLES && status >= 0 && !flushing->failed; i++) {
        sk_bytes table = {&TABLES[i], 1}, from = SK_BYTES_NONE;
        do {
            if (flushing->full) next_part(flushing);
            if (!flushing->failed) status = sk_db_each(ctx->db, table, from, remove_row, flushing);
            from = sk_buf_view(&flushing->from);
        } while (flushing->full);
    }
    if (status < 0) sk_reply_failure(ctx, status);
    return status >= 0 && !flushing->failed;
}

void sk_cmd_flush(sk_ctx *ctx)
{
    bool mode_known = ctx->argc == 2 && (sk_arg_is(ctx->argv[1], "sync") || sk_arg_is(ctx->argv[1], "async"));
    if (ctx->argc > 1 && !mode_known) {
        sk_reply_syntax(ctx);
        return;
    }
    sk_arena arena = {0};
    flush flushing = {.ctx = *ctx};
    flushing.ctx.arena = &arena;
    if (flush_all(ctx, &flushing)) sk_reply_ok(ctx->reply);
    sk_arena_free(&arena);
    sk_buf_free(&flushing.from);
}
