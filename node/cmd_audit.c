/* REGION AUDIT: what the audit has found (node/audit.h). */
#include "node/cmd_region.h"

#include "node/keyspace.h"
#include "node/replica.h"

static void field_int(sk_ctx *ctx, const char *name, uint64_t value)
{
    sk_reply_bulk_str(ctx->reply, name);
    sk_reply_int(ctx->reply, (int64_t)value);
}

static void field_text(sk_ctx *ctx, const char *name, sk_bytes value)
{
    sk_reply_bulk_str(ctx->reply, name);
    sk_reply_bulk(ctx->reply, value);
}

static const char *table_of(const sk_rowkey *key)
{
    switch (key->table) {
    case SK_TABLE_KEY: return "key";
    case SK_TABLE_HASH: return "hash";
    case SK_TABLE_SET: return "set";
    case SK_TABLE_POLICY: return "policy";
    case SK_TABLE_MEMBER: return "member";
    }
    return "";
}

/* A row key that makes no sense is shown as it is. */
static void reply_row(sk_ctx *ctx, sk_bytes raw, bool repaired)
{
    sk_rowkey key;
    bool makes_sense = sk_rowkey_parse(raw, ctx->arena, &key) == 0;
    sk_reply_map(ctx->reply, 4);
    field_text(ctx, "table", sk_bytes_str(makes_sense ? table_of(&key) : "unknown"));
    field_text(ctx, "key", makes_sense ? key.key : raw);
    field_text(ctx, "member", makes_sense ? key.member : SK_BYTES_NONE);
    field_text(ctx, "state", sk_bytes_str(repaired ? "repaired" : "damaged"));
}

void sk_cmd_region_audit(sk_ctx *ctx)
{
    sk_db *db = ctx->db;
    const sk_audit *audit = &db->audit;
    if (ctx->argc > 3 || (ctx->argc == 3 && !sk_arg_is(ctx->argv[2], "start"))) {
        sk_reply_syntax(ctx);
        return;
    }
    if (ctx->argc == 3) {
        int status = sk_audit_again(db);
        if (status)
            sk_reply_failure(ctx, status);
        else
            sk_reply_ok(ctx->reply);
        return;
    }
    sk_reader names = sk_reader_of(sk_buf_view(&audit->names));
    sk_bytes raw;
    bool repaired;
    sk_reply_map(ctx->reply, 10);
    field_text(ctx, "region", sk_bytes_str(ctx->replica->region));
    field_text(ctx, "state", sk_bytes_str(sk_audit_text(db)));
    field_int(ctx, "rows", db->sums.rows);
    field_int(ctx, "history", audit->entries);
    field_int(ctx, "damaged_history", audit->damaged_history);
    field_int(ctx, "damaged_staged", audit->damaged_staged);
    field_int(ctx, "mended", audit->mended_derived + audit->mended_sizes);
    field_int(ctx, "repairs", audit->repairs);
    field_int(ctx, "not_named", audit->nameless);
    sk_reply_bulk_str(ctx->reply, "named");
    sk_reply_array(ctx->reply, audit->named);
    while (sk_audit_next_name(&names, &raw, &repaired)) reply_row(ctx, raw, repaired);
}
