/* What the engine asks of its database (gossip/engine.h, sk_engine_host). */
#include "node/replica.h"

enum { SEND_UNCHECKED_AFTER_MS = 10 * 1000 };

static void host_send(void *self, uint32_t peer, sk_bytes message)
{
    sk_replica *replica = self;
    replica->host.send(replica->host.self, peer, message);
}

static size_t host_queued(void *self, uint32_t peer)
{
    sk_replica *replica = self;
    return replica->host.queued(replica->host.self, peer);
}

static void host_hang_up(void *self, uint32_t peer, int error)
{
    sk_replica *replica = self;
    replica->host.hang_up(replica->host.self, peer, error);
}

/* While the store takes no writes the engine's are refused: there is no batch that could hold them. */

static int host_intern(void *self, sk_bytes region, uint64_t incarnation, uint32_t *origin)
{
    sk_replica *replica = self;
    if (replica->store_error && !sk_origins_find(&replica->db.origins, region, incarnation, origin))
        return replica->store_error;
    return sk_db_intern(&replica->db, region, incarnation, origin);
}

static void host_fetch(void *self, sk_bytes row_key)
{
    sk_store_fetch(((sk_replica *)self)->store, SK_CF_ROW, row_key);
}

static int host_apply(void *self, const sk_txn *txn)
{
    sk_replica *replica = self;
    if (replica->store_error) return replica->store_error;
    return sk_wanted_by_region(replica, txn) ? SK_E_BUSY : sk_db_apply(&replica->db, txn);
}

static void host_forget(void *self, const sk_vv *stable, const sk_vv *everywhere)
{
    sk_replica *replica = self;
    if (!replica->store_error) sk_replica_forget(replica, stable, everywhere);
}

static const sk_vv *host_floor(void *self)
{
    return &((sk_replica *)self)->db.floor;
}

static int host_new_incarnation(void *self)
{
    sk_replica *replica = self;
    if (replica->store_error) return replica->store_error;
    return sk_db_new_incarnation(&replica->db, sk_incarnation_make(sk_replica_random(replica), replica->wall_ms, true));
}

/* What transfers work at is timed. */

static int worked(sk_replica *replica, uint64_t since_us, int status)
{
    replica->worked_us += sk_replica_clock_us(replica) - since_us;
    return status;
}

static uint64_t host_worked_us(void *self)
{
    sk_replica *replica = self;
    uint64_t us = replica->worked_us;
    replica->worked_us = 0;
    return us;
}

/* After a start rows are not sent before they were added up, which somebody who asks makes faster: a damaged one would be
 * merged elsewhere. But where that takes long regions do not lag for it. And what was repaired is not
 * sent before that is on the disk: until then what is to be read there is what was damaged. */
static bool checks_first(sk_replica *replica)
{
    bool checks = sk_audit_pending(&replica->db) && replica->now_ms - replica->retention.began_ms < SEND_UNCHECKED_AFTER_MS;
    replica->hurries |= checks;
    return checks || replica->durable < replica->db.audit.adopted_by;
}

static int host_source_open(void *self, const sk_vv *known, const sk_transfer_progress *progress, sk_source **source,
                            sk_transfer_head *head)
{
    if (checks_first(self)) return SK_E_BUSY;
    return sk_source_open(&((sk_replica *)self)->db, known, progress, source, head);
}

static int host_source_chunk(void *self, sk_source *source, size_t max, sk_buf *out)
{
    uint64_t begin_us = sk_replica_clock_us(self);
    return worked(self, begin_us, sk_source_chunk(&((sk_replica *)self)->db, source, max, out));
}

static void host_source_compare(void *self, sk_source *source, uint64_t *rows, sk_digest *sum)
{
    sk_source_compare(&((sk_replica *)self)->db, source, rows, sum);
}

static int host_source_answer(void *self, sk_source *source, uint64_t number, sk_bytes from, sk_bytes to, sk_buf *out)
{
    uint64_t begin_us = sk_replica_clock_us(self);
    return worked(self, begin_us, sk_source_answer(&((sk_replica *)self)->db, source, number, from, to, out));
}

static void host_source_want(void *self, sk_source *source, sk_elements keys)
{
    sk_source_want(&((sk_replica *)self)->db, source, keys);
}

static sk_transfer_counts host_source_counts(void *self, const sk_source *source)
{
    return sk_source_counts(&((sk_replica *)self)->db, source);
}

static void host_source_close(void *self, sk_source *source)
{
    sk_source_close(&((sk_replica *)self)->db, source);
}

static int host_sink_progress(void *self, sk_transfer_progress *progress)
{
    return sk_fold_progress(&((sk_replica *)self)->db, progress);
}

static bool host_sink_busy(void *self)
{
    sk_replica *replica = self;
    return replica->import || sk_fold_active(&replica->db);
}

static int host_sink_begin(void *self, const sk_transfer_head *head)
{
    sk_replica *replica = self;
    if (replica->import) return SK_E_BUSY; /* it is staged in the same place */
    return replica->store_error ? replica->store_error : sk_fold_begin(&replica->db, head);
}

static int host_sink_chunk(void *self, sk_bytes rows, const sk_origin_map *map)
{
    sk_replica *replica = self;
    return replica->store_error ? replica->store_error : sk_fold_chunk(&replica->db, rows, map);
}

static int host_sink_compare(void *self)
{
    sk_replica *replica = self;
    uint64_t begin_us = sk_replica_clock_us(replica);
    return replica->store_error ? replica->store_error : worked(replica, begin_us, sk_fold_compare(&replica->db));
}

static int host_sink_sum(void *self, sk_bytes from, sk_bytes to, sk_digest *sum)
{
    uint64_t begin_us = sk_replica_clock_us(self);
    return worked(self, begin_us, sk_fold_sum(&((sk_replica *)self)->db, from, to, sum));
}

static int host_sink_settle(void *self, sk_buf *from, sk_bytes to, sk_elements rows, sk_buf *wanted, uint32_t *count)
{
    sk_replica *replica = self;
    uint64_t begin_us = sk_replica_clock_us(replica);
    if (replica->store_error) return replica->store_error;
    return worked(replica, begin_us, sk_fold_settle(&replica->db, from, to, rows, wanted, count));
}

static int host_sink_end(void *self)
{
    sk_replica *replica = self;
    uint64_t begin_us = sk_replica_clock_us(replica);
    return replica->store_error ? replica->store_error : worked(replica, begin_us, sk_fold_end(&replica->db));
}

/* Told only where nobody could doubt that it is that of the rows, and belongs to the vector: those on the disk were added up
 * and found right, and none waits to be folded in. */
static bool host_digest(void *self, const sk_vv *durable, sk_digest *digest)
{
    const sk_replica *replica = self;
    const sk_db *db = &replica->db;
    if (replica->store_error || db->failed || sk_audit_pending(db) || sk_audit_damaged(db)) return false;
    if (!replica->durable_whole || replica->durable < db->audit.adopted_by) return false;
    *digest = replica->durable_digest;
    return sk_vv_equal(durable, &replica->durable_vv);
}

static void host_drift(void *self, uint32_t peer, bool drifts)
{
    sk_replica *replica = self;
    if (drifts || replica->store_error || replica->db.failed) return;
    sk_quarantine_agree(&replica->db, sk_bytes_str(sk_engine_peer_status(replica->engine, peer).region));
}

sk_engine_host sk_replica_engine_host(sk_replica *replica)
{
    return (sk_engine_host){
        .self = replica,
        .send = host_send,
        .queued = host_queued,
        .hang_up = host_hang_up,
        .intern = host_intern,
        .apply = host_apply,
        .fetch = host_fetch,
        .forget = host_forget,
        .new_incarnation = host_new_incarnation,
        .floor = host_floor,
        .source_open = host_source_open,
        .source_chunk = host_source_chunk,
        .source_compare = host_source_compare,
        .source_answer = host_source_answer,
        .source_want = host_source_want,
        .source_counts = host_source_counts,
        .source_close = host_source_close,
        .sink_progress = host_sink_progress,
        .sink_busy = host_sink_busy,
        .sink_begin = host_sink_begin,
        .sink_chunk = host_sink_chunk,
        .sink_compare = host_sink_compare,
        .sink_sum = host_sink_sum,
        .sink_settle = host_sink_settle,
        .sink_end = host_sink_end,
        .digest = host_digest,
        .drift = host_drift,
        .worked_us = host_worked_us,
    };
}
