#include "node/retention.h"

#include "node/record.h"
#include "node/replica.h"

#include <stdlib.h>

enum {
    LOOK_EVERY_MS = 200,
    MARK_EVERY_MS = 60 * 1000, /* at most so often; more often where the cap is short: */
    MARKS_IN_CAP = 32,
    GRACE_SILENCES = 4,        /* after the start, in times after which a link counts as dead */
};

_Static_assert(SK_RETENTION_PEERS >= SK_MEMBERS_MAX - 1, "every peer has a place");

/* -- on the disk --------------------------------------------------------------------------------------------------- */

static const sk_bytes MARKS = {(const uint8_t *)"mark/", 5}, MARKS_END = {(const uint8_t *)"mark0", 5};
enum { MARK_KEY = 5 + 8 };

static sk_bytes mark_key(uint8_t key[MARK_KEY], uint64_t wall_ms)
{
    memcpy(key, MARKS.data, MARKS.len);
    for (int i = 0; i < 8; i++) key[5 + i] = (uint8_t)(wall_ms >> (56 - 8 * i));
    return sk_bytes_of(key, MARK_KEY);
}

static sk_bytes laggard_key(sk_buf *buf, const char *region)
{
    sk_buf_reset(buf);
    sk_buf_printf(buf, "laggard/%s", region);
    return sk_buf_view(buf);
}

void sk_retention_free(sk_retention *retention)
{
    for (uint32_t i = 0; i < retention->mark_count; i++) sk_vv_free(&retention->marks[i].vv);
    retention->mark_count = 0;
}

static int read_mark(sk_replica *replica, sk_bytes key, sk_bytes value)
{
    sk_retention *retention = &replica->retention;
    if (key.len != MARK_KEY || retention->mark_count == SK_RETENTION_MARKS) return SK_E_CORRUPT;
    sk_retention_mark *mark = &retention->marks[retention->mark_count++];
    *mark = (sk_retention_mark){0};
    for (int i = 0; i < 8; i++) mark->wall_ms = mark->wall_ms << 8 | key.data[5 + i];
    sk_reader reader = sk_reader_of(value);
    sk_vv_read_own(&reader, &replica->db.origins, &mark->vv);
    return sk_reader_done(&reader) ? 0 : SK_E_CORRUPT;
}

int sk_retention_load(sk_replica *replica)
{
    sk_retention *retention = &replica->retention;
    sk_store_iter *iter = sk_store_iterate(replica->store, NULL, SK_CF_META, MARKS, MARKS_END);
    sk_bytes key, value;
    int status;
    sk_retention_free(retention);
    while ((status = sk_store_next(replica->store, iter, &key, &value)) > 0) {
        status = sk_record_open(SK_CF_META, key, value, &value);
        if (!status) status = read_mark(replica, key, value);
        if (status) break;
    }
    sk_store_iter_free(replica->store, iter);
    for (uint32_t i = 0; i < sk_engine_peers(replica->engine) && !status; i++)
        if (sk_engine_is_peer(replica->engine, i)) status = sk_retention_added(replica, i);
    return status;
}

static int is_noted(sk_replica *replica, const char *region)
{
    sk_buf key = {0};
    sk_bytes value;
    int found = sk_record_get(replica->store, SK_CF_META, laggard_key(&key, region), &value, NULL);
    sk_buf_free(&key);
    return found;
}

static void note(sk_replica *replica, const char *region, bool laggard)
{
    sk_buf key = {0};
    laggard_key(&key, region);
    sk_buf_reset(&replica->db.pack);
    if (laggard)
        sk_record_put(replica->store, SK_CF_META, sk_buf_view(&key), &replica->db.pack);
    else
        sk_store_remove(replica->store, SK_CF_META, sk_buf_view(&key));
    replica->db.dirty = true;
    sk_buf_free(&key);
}

int sk_retention_added(sk_replica *replica, uint32_t peer)
{
    int found = is_noted(replica, sk_engine_peer_status(replica->engine, peer).region);
    if (found < 0) return found;
    replica->retention.noted[peer] = found;
    if (found) sk_engine_set_laggard(replica->engine, peer, replica->now_ms, replica->wall_ms);
    return 0;
}

void sk_retention_removed(sk_replica *replica, uint32_t peer)
{
    if (replica->retention.noted[peer])
        note(replica, sk_engine_peer_status(replica->engine, peer).region, false);
    replica->retention.noted[peer] = false;
    replica->retention.lost[peer] = (sk_retained){0};
}

/* The engine says who is one no more. */
static void note_laggards(sk_replica *replica)
{
    sk_retention *retention = &replica->retention;
    for (uint32_t i = 0; i < sk_engine_peers(replica->engine); i++) {
        if (!sk_engine_is_peer(replica->engine, i)) continue;
        sk_peer_status peer = sk_engine_peer_status(replica->engine, i);
        if (retention->noted[i] == peer.laggard) continue;
        retention->noted[i] = peer.laggard;
        note(replica, peer.region, peer.laggard);
    }
}

/* -- marks --------------------------------------------------------------------------------------------------------- */

static void drop_mark(sk_replica *replica, uint32_t at)
{
    sk_retention *retention = &replica->retention;
    uint8_t key[MARK_KEY];
    sk_store_remove(replica->store, SK_CF_META, mark_key(key, retention->marks[at].wall_ms));
    replica->db.dirty = true;
    sk_vv_free(&retention->marks[at].vv);
    retention->mark_count--;
    memmove(retention->marks + at, retention->marks + at + 1,
            (retention->mark_count - at) * sizeof *retention->marks);
}

/* The one whose neighbours are nearest to each other, for their age. */
static uint32_t least_missed(const sk_retention *retention, uint64_t wall_ms)
{
    uint32_t least = 1;
    double least_gap = 0;
    for (uint32_t i = 1; i + 1 < retention->mark_count; i++) {
        uint64_t from = retention->marks[i - 1].wall_ms, to = retention->marks[i + 1].wall_ms;
        double gap = (double)(to - from) / (double)(wall_ms > from ? wall_ms - from : 1);
        if (i > 1 && gap >= least_gap) continue;
        least = i;
        least_gap = gap;
    }
    return least;
}

static void mark(sk_replica *replica)
{
    sk_retention *retention = &replica->retention;
    uint64_t now = sk_replica_believed_ms(replica), every = retention->cap.age_ms / MARKS_IN_CAP;
    if (every == 0 || every > MARK_EVERY_MS) every = MARK_EVERY_MS;
    /* Where the clock went back, a mark of a time that has not come yet says nothing. */
    while (retention->mark_count && retention->marks[retention->mark_count - 1].wall_ms > now)
        drop_mark(replica, retention->mark_count - 1);
    const sk_retention_mark *last = retention->mark_count ? &retention->marks[retention->mark_count - 1] : NULL;
    if (last && (now < last->wall_ms + every || sk_vv_at_most(&replica->db.vv, &last->vv))) return;
    if (retention->mark_count == SK_RETENTION_MARKS) drop_mark(replica, least_missed(retention, now));
    sk_retention_mark *made = &retention->marks[retention->mark_count++];
    *made = (sk_retention_mark){.wall_ms = now};
    sk_vv_copy(&made->vv, &replica->db.vv);
    uint8_t key[MARK_KEY];
    sk_buf_reset(&replica->db.pack);
    sk_vv_pack(&replica->db.pack, &made->vv);
    sk_record_put(replica->store, SK_CF_META, mark_key(key, now), &replica->db.pack);
    replica->db.dirty = true;
}

/* What may be forgotten needs no mark, but for the newest: it tells when there is something new. */
static void drop_covered(sk_replica *replica, const sk_vv *gone)
{
    sk_retention *retention = &replica->retention;
    while (retention->mark_count > 1 && sk_vv_at_most(&retention->marks[0].vv, gone)) drop_mark(replica, 0);
}

/* -- measures ------------------------------------------------------------------------------------------------------ */

/* What of the history `has` does not cover. */
static sk_retained measure(const sk_replica *replica, const sk_vv *has)
{
    const sk_retention *retention = &replica->retention;
    sk_retained kept = {.bytes = sk_db_kept(&replica->db, has)};
    uint64_t now = sk_replica_believed_ms(replica);
    uint32_t i = 0;
    while (i < retention->mark_count && sk_vv_at_most(&retention->marks[i].vv, has)) i++;
    if (i < retention->mark_count && retention->marks[i].wall_ms < now) kept.age_ms = now - retention->marks[i].wall_ms;
    return kept;
}

/* History at or below is gone, or is about to. */
static void gone(const sk_replica *replica, sk_vv *gone)
{
    sk_vv_copy(gone, &replica->db.floor);
    sk_vv_join(gone, sk_engine_stable(replica->engine));
}

/* What history is kept for: `has` gets what the peer has, as far as that counts. False: for nothing. */
static bool counts(const sk_replica *replica, uint32_t peer, sk_vv *has)
{
    if (!sk_engine_is_peer(replica->engine, peer)) return false;
    sk_peer_status status = sk_engine_peer_status(replica->engine, peer);
    if (status.laggard && !status.staged) return false;
    sk_vv_copy(has, status.laggard ? status.staged : status.acked);
    if (status.staged) sk_vv_meet(has, status.staged);
    return true;
}

sk_retained sk_retention_of(const sk_replica *replica, uint32_t peer)
{
    sk_vv has = {0}, least = {0};
    sk_retained kept = {0};
    if (counts(replica, peer, &has)) {
        gone(replica, &least);
        sk_vv_join(&has, &least);
        kept = measure(replica, &has);
    }
    sk_vv_free(&has);
    sk_vv_free(&least);
    return kept;
}

sk_retained sk_retention_all(const sk_replica *replica)
{
    sk_vv least = {0};
    gone(replica, &least);
    sk_retained kept = measure(replica, &least);
    sk_vv_free(&least);
    return kept;
}

uint64_t sk_retention_percent(const sk_retention *retention, sk_retained kept)
{
    const sk_retention_cap *cap = &retention->cap;
    uint64_t bytes = cap->bytes ? (uint64_t)((double)kept.bytes * 100 / (double)cap->bytes) : 0;
    uint64_t age = cap->age_ms ? (uint64_t)((double)kept.age_ms * 100 / (double)cap->age_ms) : 0;
    return bytes > age ? bytes : age;
}

uint32_t sk_retention_holder(const sk_replica *replica)
{
    uint32_t holder = SK_RETENTION_PEERS;
    sk_retained most = {0};
    for (uint32_t i = 0; i < sk_engine_peers(replica->engine); i++) {
        sk_retained kept = sk_retention_of(replica, i);
        uint64_t share = sk_retention_percent(&replica->retention, kept);
        uint64_t most_share = sk_retention_percent(&replica->retention, most);
        if (share < most_share || (share == most_share && kept.bytes <= most.bytes)) continue;
        holder = i;
        most = kept;
    }
    return holder;
}

/* -- the cap ------------------------------------------------------------------------------------------------------- */

static bool crosses(const sk_retention *retention, sk_retained kept)
{
    const sk_retention_cap *cap = &retention->cap;
    return (cap->bytes && kept.bytes > cap->bytes) || (cap->age_ms && kept.age_ms > cap->age_ms);
}

/* What is kept if history is kept for those alone that count. */
static sk_retained kept_for_members(const sk_replica *replica, const sk_vv *least, sk_vv *meet)
{
    sk_vv has = {0};
    sk_vv_copy(meet, &replica->durable_vv);
    for (uint32_t i = 0; i < sk_engine_peers(replica->engine); i++)
        if (counts(replica, i, &has)) sk_vv_meet(meet, &has);
    sk_vv_free(&has);
    sk_vv_join(meet, least);
    return measure(replica, meet);
}

static void cross(sk_replica *replica, const sk_vv *least)
{
    sk_retention *retention = &replica->retention;
    sk_vv meet = {0};
    uint32_t holder;
    while (crosses(retention, kept_for_members(replica, least, &meet)) &&
           (holder = sk_retention_holder(replica)) < SK_RETENTION_PEERS) {
        retention->lost[holder] = sk_retention_of(replica, holder);
        retention->crossings++;
        sk_engine_set_laggard(replica->engine, holder, replica->now_ms, replica->wall_ms);
    }
    /* Whatever else holds it back: that members do not agree on who is one, for instance. */
    if (!sk_vv_at_most(&meet, least)) sk_engine_release(replica->engine, replica->now_ms, replica->wall_ms);
    sk_vv_free(&meet);
}

void sk_retention_look(sk_replica *replica)
{
    sk_retention *retention = &replica->retention;
    if (replica->now_ms < retention->look_at_ms || replica->db.failed || replica->store_error) return;
    retention->look_at_ms = replica->now_ms + LOOK_EVERY_MS;
    sk_vv least = {0};
    gone(replica, &least);
    mark(replica);
    drop_covered(replica, &least);
    bool settled = replica->now_ms - retention->began_ms >= GRACE_SILENCES * replica->options.limits.silence_ms;
    bool keeps = sk_audit_pending(&replica->db) || sk_audit_needs_history(&replica->db);
    if (settled && !keeps && !replica->db.joining && crosses(retention, measure(replica, &least))) cross(replica, &least);
    note_laggards(replica);
    sk_vv_free(&least);
}

uint64_t sk_retention_next_ms(const sk_replica *replica)
{
    const sk_retention *retention = &replica->retention;
    bool capped = retention->cap.bytes || retention->cap.age_ms;
    return capped ? retention->look_at_ms : UINT64_MAX;
}
