#include "node/expiry.h"

#include "node/keyspace.h"
#include "node/replica.h"

enum {
    EVERY_MS = 100,
    ROUND_KEYS = 64,
};

/* The keys of a round, as the index has them. */
typedef struct {
    sk_arena arena;
    uint64_t until_ms;
    sk_bytes entries[ROUND_KEYS];
    uint32_t count;
} due_keys;

static uint64_t deadline_of(sk_bytes entry)
{
    uint64_t deadline = 0;
    for (int i = 0; i < 8; i++) deadline = deadline << 8 | entry.data[1 + i];
    return deadline;
}

static sk_bytes key_of(sk_bytes entry)
{
    return sk_bytes_of(entry.data + SK_INDEX_DEADLINE_BYTES, entry.len - SK_INDEX_DEADLINE_BYTES);
}

static int collect_due(void *self, sk_bytes entry, const sk_row *row)
{
    (void)row;
    due_keys *due = self;
    if (entry.len < SK_INDEX_DEADLINE_BYTES) return 0;
    if (deadline_of(entry) > due->until_ms || due->count == ROUND_KEYS) return 1;
    sk_bytes copy = sk_arena_copy(&due->arena, entry);
    if (!copy.data) return 1;
    due->entries[due->count++] = copy;
    return 0;
}

static int collect(sk_replica *replica, due_keys *due, sk_bytes from, uint64_t until_ms)
{
    uint8_t index = SK_INDEX_DEADLINE;
    due->until_ms = until_ms;
    return sk_db_each_derived(&replica->db, sk_bytes_of(&index, 1), from, collect_due, due);
}

/* First what has been due for so long that anybody may remove it, then what has come to be due since it was last looked. */
static int collect_round(sk_replica *replica, due_keys *due)
{
    sk_expiry *expiry = &replica->expiry;
    uint64_t now_ms = sk_replica_believed_ms(replica), wait_ms = replica->options.foreign_expiry_ms;
    uint64_t anybodys_ms = now_ms > wait_ms ? now_ms - wait_ms : 0;
    if (expiry->seen_ms > now_ms) expiry->seen_ms = now_ms; /* the clock was set back */
    int status = collect(replica, due, sk_buf_view(&expiry->from), anybodys_ms);
    if (status < 0 || due->count == ROUND_KEYS) return status;
    uint64_t unseen_ms = (expiry->seen_ms > anybodys_ms ? expiry->seen_ms : anybodys_ms) + 1;
    uint8_t unseen[SK_INDEX_DEADLINE_BYTES] = {SK_INDEX_DEADLINE};
    for (int i = 0; i < 8; i++) unseen[1 + i] = (uint8_t)(unseen_ms >> (56 - 8 * i));
    sk_bytes from = sk_bytes_of(unseen, sizeof unseen);
    if (sk_bytes_compare(sk_buf_view(&expiry->from), from) > 0) from = sk_buf_view(&expiry->from);
    return collect(replica, due, from, now_ms);
}

static bool ours_to_remove(const sk_replica *replica, const sk_row *row)
{
    uint64_t deadline = sk_row_deadline(row);
    if (!sk_key_row_exists(row)) deadline = 0; /* deadlines that outlived their key */
    for (uint32_t i = 0; i < row->count; i++)
        if (row->entries[i].kind == SK_ENTRY_DEADLINE && row->entries[i].dot.origin == replica->db.own) return true;
    uint64_t set_ms = 0;
    for (uint32_t i = 0; i < row->count; i++)
        if (row->entries[i].kind == SK_ENTRY_DEADLINE && sk_hlc_ms(row->entries[i].hlc) > set_ms)
            set_ms = sk_hlc_ms(row->entries[i].hlc);
    if (deadline < set_ms && set_ms <= sk_replica_believed_ms(replica) + SK_HLC_LEAD_MS_MAX) deadline = set_ms;
    return deadline + replica->options.foreign_expiry_ms <= sk_replica_believed_ms(replica);
}

/* In a transaction of its own. True if that had no room for all of the key: some has gone, and some is left; or if not all of it
 * is in place yet (node/fold.h), but some more than before. */
static bool remove_key(sk_replica *replica, sk_bytes key)
{
    sk_buf out = {0};
    sk_reply reply = {&out, 2};
    sk_ctx ctx = {.replica = replica, .db = &replica->db, .reply = &reply, .arena = &replica->arena};
    sk_row_name name = sk_row_name_of(&replica->arena, SK_TABLE_KEY, key, SK_BYTES_NONE);
    sk_row row;
    bool some_left = false;
    uint32_t rows = replica->fold_rows;
    int folding = sk_db_touch_some(&replica->db, key, &rows);
    if (folding > 0) some_left = true;
    if (folding == 0 && sk_db_row(&replica->db, name.raw, &replica->arena, &row) == 0 &&
        ours_to_remove(replica, &row)) {
        sk_db_begin(&replica->db);
        (void)sk_key_expire(&ctx, key, &some_left);
        if (replica->db.txn.refused) {
            sk_db_abort(&replica->db);
            some_left = false;
        } else if (!sk_db_commit(&replica->db)) {
            some_left = false; /* nothing of it fits */
        }
    }
    sk_arena_reset(&replica->arena);
    sk_buf_free(&out);
    return some_left;
}

/* The next round goes on at this entry, or behind it. */
static void go_on(sk_expiry *expiry, sk_bytes entry, bool behind)
{
    sk_buf_reset(&expiry->from);
    sk_buf_bytes(&expiry->from, entry);
    if (behind) sk_buf_byte(&expiry->from, 0);
}

void sk_expiry_turn(sk_replica *replica)
{
    sk_expiry *expiry = &replica->expiry;
    if (replica->store_error || replica->db.failed) return;
    if (replica->now_ms < expiry->at_ms || replica->durable < expiry->batch) return;
    expiry->at_ms = replica->now_ms + EVERY_MS;
    if (sk_engine_must_not_write(replica->engine)) return;
    uint64_t begin_us = sk_replica_clock_us(replica);
    due_keys due = {0};
    int status = collect_round(replica, &due);
    bool full = due.count == ROUND_KEYS, some_left = false;
    for (uint32_t i = 0; i < due.count && status >= 0 && !some_left && !replica->db.failed; i++) {
        some_left = remove_key(replica, key_of(due.entries[i]));
        go_on(expiry, due.entries[i], !some_left);
    }
    sk_arena_free(&due.arena);
    if (full || some_left) {
        expiry->rest_us += sk_replica_clock_us(replica) - begin_us;
        expiry->at_ms = replica->now_ms + expiry->rest_us / 1000;
        expiry->rest_us %= 1000;
        expiry->batch = sk_replica_newest_batch(replica);
    } else if (status >= 0) {
        expiry->seen_ms = sk_replica_believed_ms(replica);
        sk_buf_reset(&expiry->from);
    }
}

uint64_t sk_expiry_next_ms(const sk_replica *replica)
{
    const sk_expiry *expiry = &replica->expiry;
    return replica->store_error || replica->durable < expiry->batch ? UINT64_MAX : expiry->at_ms;
}

void sk_expiry_reset(sk_expiry *expiry)
{
    sk_buf_free(&expiry->from);
    *expiry = (sk_expiry){.at_ms = expiry->at_ms};
}
