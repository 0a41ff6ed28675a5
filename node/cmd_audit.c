/* REGION AUDIT: what the audit has found (node/audit.h), and which rows are in quarantine (node/quarantine.h). */
#include "node/cmd_region.h"

#include "node/keyspace.h"
#include "node/replica.h"

#include <inttypes.h>

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

/* A row key that makes no sense is shown as it is. Three fields of a map. */
static void reply_name(sk_ctx *ctx, sk_bytes raw)
{
    sk_rowkey key;
    bool makes_sense = sk_rowkey_parse(raw, ctx->arena, &key) == 0;
    field_text(ctx, "table", sk_bytes_str(makes_sense ? table_of(&key) : "unknown"));
    field_text(ctx, "key", makes_sense ? key.key : raw);
    field_text(ctx, "member", makes_sense ? key.member : SK_BYTES_NONE);
}

static void reply_row(sk_ctx *ctx, sk_bytes raw, bool repaired)
{
    sk_reply_map(ctx->reply, 4);
    reply_name(ctx, raw);
    field_text(ctx, "state", sk_bytes_str(repaired ? "repaired" : "damaged"));
}

/* "none", or "3f5a…: eu:12 us:7": hash and dots. */
static void reply_side(sk_ctx *ctx, const char *name, const sk_quarantine_side *side)
{
    sk_buf text = {0};
    if (side->hash)
        sk_buf_printf(&text, "%016" PRIx64 ": %.*s", side->hash, (int)side->dots.len, (const char *)side->dots.data);
    else
        sk_buf_printf(&text, "none");
    field_text(ctx, name, sk_buf_view(&text));
    sk_buf_free(&text);
}

static void reply_quarantined(sk_ctx *ctx, const sk_quarantined *row)
{
    sk_reply_map(ctx->reply, 7);
    reply_name(ctx, row->raw);
    field_text(ctx, "state", sk_bytes_str(row->resolve ? "to be resolved" : "quarantined"));
    field_text(ctx, "region", row->region);
    reply_side(ctx, "ours", &row->ours);
    reply_side(ctx, "theirs", &row->theirs);
}

static void start(sk_ctx *ctx)
{
    int status = sk_audit_again(ctx->db);
    if (status)
        sk_reply_failure(ctx, status);
    else
        sk_reply_ok(ctx->reply);
}

/* RESOLVE key FROM region */
static void resolve(sk_ctx *ctx)
{
    sk_replica *replica = ctx->replica;
    sk_bytes key = ctx->argv[3], region = ctx->argv[5];
    int peer = sk_replica_peer(replica, region);
    if (sk_bytes_equal(region, sk_bytes_str(replica->region)))
        sk_reply_errorf(ctx->reply, "ERR this is region %s itself, and its row stays: say so in the regions that differ",
                        replica->region);
    else if (peer < 0)
        sk_reply_error(ctx->reply, "ERR no region of that name is a peer of this one");
    else if (replica->store_error)
        sk_reply_failure(ctx, replica->store_error);
    else if (sk_quarantine_resolve(ctx->db, key, region) == 0)
        sk_reply_error(ctx->reply, "ERR no row of this key is known to differ from that region's (REGION AUDIT)");
    else {
        sk_engine_compare_again(replica->engine, (uint32_t)peer, replica->now_ms, replica->wall_ms);
        sk_reply_ok(ctx->reply);
    }
}

void sk_cmd_region_audit(sk_ctx *ctx)
{
    sk_db *db = ctx->db;
    const sk_audit *audit = &db->audit;
    if (ctx->argc > 2) {
        if (ctx->argc == 3 && sk_arg_is(ctx->argv[2], "start"))
            start(ctx);
        else if (ctx->argc == 6 && sk_arg_is(ctx->argv[2], "resolve") && sk_arg_is(ctx->argv[4], "from"))
            resolve(ctx);
        else
            sk_reply_syntax(ctx);
        return;
    }
    const sk_quarantine *quarantine = &db->quarantine;
    sk_reader names = sk_reader_of(sk_buf_view(&audit->names));
    sk_bytes raw;
    bool repaired;
    sk_reply_map(ctx->reply, 13);
    field_text(ctx, "region", sk_bytes_str(ctx->replica->region));
    field_text(ctx, "state", sk_bytes_str(sk_replica_audit_text(ctx->replica)));
    field_text(ctx, "why", sk_bytes_str(sk_audit_why(db)));
    field_int(ctx, "rows", db->sums.rows);
    field_int(ctx, "history", audit->entries);
    field_int(ctx, "damaged_history", audit->damaged_history);
    field_int(ctx, "damaged_staged", audit->damaged_staged);
    field_int(ctx, "mended", audit->mended_derived + audit->mended_sizes);
    field_int(ctx, "repairs", audit->repairs);
    field_int(ctx, "drift_regions", sk_replica_drifts(ctx->replica));
    field_int(ctx, "drift_settled", quarantine->settled);
    field_int(ctx, "not_named", audit->nameless + quarantine->nameless);
    sk_reply_bulk_str(ctx->reply, "named");
    sk_reply_array(ctx->reply, audit->named + quarantine->count);
    while (sk_audit_next_name(&names, &raw, &repaired)) reply_row(ctx, raw, repaired);
    for (uint32_t i = 0; i < quarantine->count; i++) reply_quarantined(ctx, &quarantine->rows[i]);
}
