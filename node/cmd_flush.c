/* FLUSHALL, FLUSHDB: removes every key that this region has seen. What other regions write at the same time stays, and
 * policies do too: they are not keys.
 *
 * It is one transaction where one is large enough. Where not, FLUSHALL alone among the commands is several: each part
 * is atomic, and nobody here sees one without the others, since they are all made before anything else is executed; but
 * another region may see the earlier ones first, and a crash there may leave just these. Inside MULTI that cannot be,
 * so there it is refused. The node answers nobody else while it lasts. */
#include "node/cmd_server.h"

#include "node/keyspace.h"
#include "node/replica.h"

static const uint8_t TABLES[] = {SK_TABLE_HASH, SK_TABLE_SET, SK_TABLE_KEY}; /* members before their key's own row */

typedef struct {
    sk_ctx ctx;  /* the command's, with an arena that is reset between the parts */
    bool failed; /* an error was replied */
} flush;

/* A new transaction if the open one is full. Never leaves an empty one at the end. */
static void make_room(sk_ctx *ctx, size_t bytes)
{
    if (ctx->client->in_multi || ctx->db->txn.count == 0 || sk_db_has_room(ctx->db, bytes)) return;
    sk_db_commit(ctx->db);
    sk_db_begin(ctx->db);
    sk_arena_reset(ctx->arena);
}

static int remove_row(void *self, sk_bytes raw, const sk_row *row)
{
    flush *flushing = self;
    sk_ctx *ctx = &flushing->ctx;
    make_room(ctx, sk_op_removal_size(raw, row));
    sk_row_name name = {.raw = sk_arena_copy(ctx->arena, raw)};
    int status = name.raw.data ? sk_rowkey_parse(name.raw, ctx->arena, &name.key) : SK_E_MEMORY;
    if (status) {
        sk_reply_failure(ctx, status);
        flushing->failed = true;
    } else if (name.key.table == SK_TABLE_KEY) {
        sk_key key;
        flushing->failed = !sk_key_overwrite(ctx, name.key.key, &key) ||
                           (key.type != SK_TYPE_NONE && !sk_key_remove(ctx, &key, false));
    } else if (sk_row_live(row, SK_CLASS_CONTENT)) {
        flushing->failed = !sk_member_remove(ctx, &name, row);
    }
    return flushing->failed;
}

static bool flush_all(sk_ctx *ctx, flush *flushing)
{
    int status = 0;
    for (size_t i = 0; i < sizeof TABLES && status == 0; i++)
        status = sk_db_each(ctx->db, sk_bytes_of(&TABLES[i], 1), SK_BYTES_NONE, remove_row, flushing);
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
}
