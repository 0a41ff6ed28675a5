/* INFO: what the replica knows of itself, in Redis' sections and, where the thing is the same, under Redis' names.
 *
 * Each section ends with what the owner knows of it (sockets, process, memory; sk_replica_host.info), so that the
 * replica itself asks neither the operating system nor the clock. */
#include "node/cmd_region.h"
#include "node/cmd_server.h"

#include "node/context.h"
#include "node/fold.h"
#include "node/replica.h"
#include "node/version.h"

#include <inttypes.h>

typedef struct {
    const char *name;  /* as it is asked for */
    const char *title; /* as it is printed */
    void (*append)(sk_replica *replica, sk_buf *text);
} section;

static void line_uint(sk_buf *text, const char *name, uint64_t value)
{
    sk_buf_printf(text, "%s:%" PRIu64 "\r\n", name, value);
}

static void append_server(sk_replica *replica, sk_buf *text)
{
    uint64_t up_ms = replica->wall_ms > replica->started_ms ? replica->wall_ms - replica->started_ms : 0;
    sk_buf_printf(text, "redis_version:%s\r\nskerry_version:%s\r\nredis_mode:standalone\r\n", SK_REDIS_VERSION,
                  SK_VERSION);
    line_uint(text, "arch_bits", 8 * sizeof(void *));
    line_uint(text, "server_time_usec", replica->wall_ms * 1000);
    line_uint(text, "uptime_in_seconds", up_ms / 1000);
    line_uint(text, "uptime_in_days", up_ms / 1000 / 86400);
}

static void append_clients(sk_replica *replica, sk_buf *text)
{
    line_uint(text, "connected_clients", replica->client_count);
    line_uint(text, "blocked_clients", replica->blocked_count);
    line_uint(text, "watched_keys", replica->watches.count);
}

static void append_memory(sk_replica *replica, sk_buf *text)
{
    line_uint(text, "memory_sums", replica->db.sums.bytes);
}

static void append_audit(const sk_replica *replica, sk_buf *text)
{
    const sk_db *db = &replica->db;
    const sk_audit *audit = &db->audit;
    sk_buf_printf(text, "audit:%s\r\n", sk_replica_audit_text(replica));
    line_uint(text, "audit_history_entries", audit->entries);
    line_uint(text, "audit_damaged_history", audit->damaged_history);
    line_uint(text, "audit_damaged_staged", audit->damaged_staged);
    line_uint(text, "audit_damaged_rows", db->sums.senseless);
    line_uint(text, "audit_repairs", audit->repairs);
    line_uint(text, "audit_mended", audit->mended_derived + audit->mended_sizes);
    line_uint(text, "drift_regions", sk_replica_drifts(replica));
    line_uint(text, "drift_rows", db->quarantine.count + db->quarantine.nameless);
    line_uint(text, "drift_settled", db->quarantine.settled);
}

static void append_persistence(sk_replica *replica, sk_buf *text)
{
    sk_buf_printf(text, "loading:%d\r\nstore_status:%s\r\n", replica->db.joining,
                  replica->store_error ? sk_error_text(replica->store_error) : "ok");
    line_uint(text, "batches_sealed", replica->last_sealed);
    line_uint(text, "batches_durable", replica->durable);
    line_uint(text, "open_batch_bytes", sk_store_open_bytes(replica->store));
    line_uint(text, "pending_batch_bytes", sk_store_pending_bytes(replica->store));
    line_uint(text, "folding_transfer", sk_fold_active(&replica->db));
    const sk_sums *sums = &replica->db.sums;
    line_uint(text, "digest_rows", sums->rows);
    append_audit(replica, text);
    sk_store_stats(replica->store, text);
}

static void append_stats(sk_replica *replica, sk_buf *text)
{
    line_uint(text, "total_commands_processed", replica->stat_commands);
    line_uint(text, "total_write_transactions", replica->stat_writes);
    line_uint(text, "expired_keys", replica->stat_expired);
    line_uint(text, "conflicts_refused", replica->stat_conflicts_refused);
    uint64_t sent = 0, received = 0;
    for (uint32_t i = 0; i < sk_engine_peers(replica->engine); i++) {
        if (!sk_engine_is_peer(replica->engine, i)) continue;
        sk_peer_status peer = sk_engine_peer_status(replica->engine, i);
        sent += peer.sent_bytes;
        received += peer.received_bytes;
    }
    line_uint(text, "total_net_repl_input_bytes", received);
    line_uint(text, "total_net_repl_output_bytes", sent);
}

/* Durable transactions here that the peer has not acknowledged. */
static uint64_t lag(const sk_replica *replica, const sk_vv *acked)
{
    uint64_t txns = 0;
    for (uint32_t o = 0; o < replica->durable_vv.count; o++)
        if (replica->durable_vv.seq[o] > sk_vv_get(acked, o)) txns += replica->durable_vv.seq[o] - sk_vv_get(acked, o);
    return txns;
}

static void append_peer(const sk_replica *replica, uint32_t index, sk_buf *text)
{
    sk_peer_status peer = sk_engine_peer_status(replica->engine, index);
    int64_t heard = peer.last_heard_ms ? (int64_t)(replica->now_ms - peer.last_heard_ms) : -1;
    sk_buf_printf(text, "region%" PRIu32 ":name=%s,link=%s,lag=%" PRIu64 ",heard_ms_ago=%" PRId64, index, peer.region,
                  sk_region_link_state(replica, index, &peer), lag(replica, peer.acked), heard);
    sk_buf_printf(text, ",round_trip_ms=%" PRIu64 ",clock_offset_ms=%" PRId64 ",sent_bytes=%" PRIu64
                        ",received_bytes=%" PRIu64 ",sent_transactions=%" PRIu64 ",received_transactions=%" PRIu64,
                  peer.round_trip_ms, peer.clock_offset_ms, peer.sent_bytes, peer.received_bytes, peer.sent_txns,
                  peer.received_txns);
    sk_buf_printf(text, ",duplicate_transactions=%" PRIu64 ",transfers_out=%" PRIu64 ",transfers_in=%" PRIu64
                        ",transfer_bytes_out=%" PRIu64 ",transfer_bytes_in=%" PRIu64 ",transfer=%s",
                  peer.duplicate_txns, peer.transfers_out, peer.transfers_in, peer.sent_rows_bytes,
                  peer.received_rows_bytes, sk_peer_transfer(&peer));
    sk_retained kept = sk_retention_of(replica, index);
    sk_buf_printf(text, ",transfer_rows=%" PRIu64 ",transfer_rows_done=%" PRIu64 ",transfer_rows_sent=%" PRIu64
                        ",transfer_left_ms=%" PRId64,
                  peer.transfer.rows, peer.transfer.done, peer.transfer.sent, peer.transfer_left_ms);
    sk_buf_printf(text, ",history_bytes=%" PRIu64 ",history_age_ms=%" PRIu64 ",laggard=%d\r\n", kept.bytes, kept.age_ms,
                  peer.laggard);
}

static void append_vector(sk_replica *replica, const char *name, const sk_vv *vv, sk_buf *text)
{
    sk_buf_printf(text, "%s:", name);
    sk_vv_text(&replica->db, vv, text);
    sk_buf_append(text, "\r\n", 2);
}

static void append_history(sk_replica *replica, sk_buf *text)
{
    const sk_retention *retention = &replica->retention;
    sk_retained kept = sk_retention_all(replica);
    uint32_t holder = sk_retention_holder(replica), laggards = 0;
    for (uint32_t i = 0; i < sk_engine_peers(replica->engine); i++)
        laggards += sk_engine_is_peer(replica->engine, i) && sk_engine_peer_status(replica->engine, i).laggard;
    line_uint(text, "history_bytes", kept.bytes);
    line_uint(text, "history_bytes_max", retention->cap.bytes);
    line_uint(text, "history_age_ms", kept.age_ms);
    line_uint(text, "history_age_max_ms", retention->cap.age_ms);
    line_uint(text, "history_percent", sk_retention_percent(retention, kept));
    sk_buf_printf(text, "history_held_by:%s\r\n",
                  holder < SK_RETENTION_PEERS ? sk_engine_peer_status(replica->engine, holder).region : "");
    line_uint(text, "history_laggards", laggards);
    line_uint(text, "history_crossings_total", retention->crossings);
}

static void append_replication(sk_replica *replica, sk_buf *text)
{
    uint32_t peers = sk_engine_peers(replica->engine), up = 0;
    for (uint32_t i = 0; i < peers; i++)
        up += sk_engine_is_peer(replica->engine, i) && sk_engine_peer_status(replica->engine, i).up;
    sk_buf_printf(text, "role:master\r\nregion:%s\r\ncluster:%s\r\n", replica->region, replica->options.cluster);
    line_uint(text, "regions", sk_engine_others(replica->engine) + 1);
    line_uint(text, "forgotten_regions", replica->members.forgotten);
    line_uint(text, "links_up", up);
    for (uint32_t i = 0; i < peers; i++)
        if (sk_engine_is_peer(replica->engine, i)) append_peer(replica, i, text);
    append_vector(replica, "vector", &replica->db.vv, text);
    append_vector(replica, "durable_vector", &replica->durable_vv, text);
    append_vector(replica, "stable_vector", sk_engine_stable(replica->engine), text);
    line_uint(text, "conflicts", replica->db.conflicts);
    append_history(replica, text);
}

static void append_keyspace(sk_replica *replica, sk_buf *text)
{
    if (replica->db.keys) sk_buf_printf(text, "db0:keys=%" PRIu64 "\r\n", replica->db.keys);
}

static const section SECTIONS[] = {
    {"server", "Server", append_server},
    {"clients", "Clients", append_clients},
    {"memory", "Memory", append_memory},
    {"persistence", "Persistence", append_persistence},
    {"stats", "Stats", append_stats},
    {"replication", "Replication", append_replication},
    {"keyspace", "Keyspace", append_keyspace},
};

static bool asked_for(const sk_ctx *ctx, const char *name)
{
    static const char *const all[] = {"default", "all", "everything"};
    for (size_t i = 1; i < ctx->argc; i++) {
        if (sk_arg_is(ctx->argv[i], name)) return true;
        for (size_t k = 0; k < sizeof all / sizeof *all; k++)
            if (sk_arg_is(ctx->argv[i], all[k])) return true;
    }
    return ctx->argc == 1;
}

void sk_cmd_info(sk_ctx *ctx)
{
    const sk_replica_host *host = &ctx->replica->host;
    sk_buf text = {0};
    for (size_t i = 0; i < sizeof SECTIONS / sizeof *SECTIONS; i++) {
        if (!asked_for(ctx, SECTIONS[i].name)) continue;
        sk_buf_printf(&text, "%s# %s\r\n", text.len ? "\r\n" : "", SECTIONS[i].title);
        SECTIONS[i].append(ctx->replica, &text);
        if (host->info) host->info(host->self, SECTIONS[i].name, &text);
    }
    sk_reply_verbatim(ctx->reply, "txt", sk_buf_view(&text));
    sk_buf_free(&text);
}
