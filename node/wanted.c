#include "node/wanted.h"

#include "node/replica.h"

void sk_wanted_free(sk_wanted *wanted)
{
    sk_buf_free(&wanted->by_client.key);
    sk_buf_free(&wanted->by_region.key);
    *wanted = (sk_wanted){0};
}

static bool is_waited_for(const sk_wanted_key *wanted, sk_bytes key)
{
    return wanted->waits && sk_bytes_equal(sk_buf_view(&wanted->key), key);
}

/* Another one is dealt with before. */
static void wait_for(sk_wanted_key *wanted, sk_bytes key)
{
    if (wanted->waits) return;
    wanted->waits = true;
    sk_buf_reset(&wanted->key);
    sk_buf_bytes(&wanted->key, key);
}

/* -- who waits ----------------------------------------------------------------------------------------------------- */

static bool may_wait(const sk_replica *replica, const sk_client *client)
{
    return client->unblocked && !replica->db.failed && !replica->store_error;
}

static int block(sk_replica *replica, sk_client *client, sk_bytes key)
{
    client->block = SK_BLOCK_FOLD;
    client->block_until_ms = UINT64_MAX;
    sk_buf_reset(&client->block_key);
    sk_buf_bytes(&client->block_key, key);
    replica->blocked_count++;
    replica->more_to_do = true;
    return 1;
}

/* The key that is dealt with now gets on by itself, however many ask for it. */
int sk_wanted_by_client(sk_replica *replica, sk_client *client, sk_bytes key, uint32_t *rows)
{
    sk_wanted *wanted = &replica->wanted;
    if (!may_wait(replica, client)) return sk_db_touch(&replica->db, key);
    bool known = is_waited_for(&wanted->by_client, key) || is_waited_for(&wanted->by_region, key);
    int more = known ? 1 : sk_db_touch_some(&replica->db, key, rows);
    if (more <= 0) return more;
    wait_for(&wanted->by_client, key);
    client->block_all = false;
    return block(replica, client, key);
}

int sk_wanted_all_by_client(sk_replica *replica, sk_client *client)
{
    if (!may_wait(replica, client)) return sk_replica_fold_all(replica);
    client->block_all = replica->wanted.all = true;
    return block(replica, client, SK_BYTES_NONE);
}

/* One that cannot be read is refused when it is applied. */
bool sk_wanted_by_region(sk_replica *replica, const sk_txn *txn)
{
    sk_wanted_key *wanted = &replica->wanted.by_region;
    if (!sk_fold_active(&replica->db) || replica->db.failed) return false;
    sk_reader reader = sk_reader_of(txn->ops);
    sk_arena arena = {0};
    uint32_t rows = replica->fold_rows;
    bool waits = false;
    for (uint32_t i = 0; i < txn->op_count && !waits; i++) {
        sk_rowkey key;
        sk_op op;
        sk_arena_reset(&arena);
        if (sk_op_read(&reader, NULL, txn->dot, txn->hlc, &arena, &op) || sk_rowkey_parse(op.key, &arena, &key)) break;
        rows += i > 0; /* it is as long as that anyway */
        waits = is_waited_for(wanted, key.key) || sk_db_touch_row_some(&replica->db, &key, &rows) > 0;
        if (waits) wait_for(wanted, key.key);
    }
    replica->more_to_do |= waits;
    sk_arena_free(&arena);
    return waits;
}

/* -- a turn -------------------------------------------------------------------------------------------------------- */

bool sk_wanted_is_there(const sk_replica *replica, const sk_client *client)
{
    return replica->now_ms >= client->block_until_ms || !sk_fold_active(&replica->db) || replica->store_error;
}

static bool waits_for_a_key(const sk_client *client)
{
    return client->block == SK_BLOCK_FOLD && !client->block_all && client->block_until_ms == UINT64_MAX;
}

static void release_all(sk_replica *replica)
{
    for (sk_client *client = replica->blocked_count ? replica->clients : NULL; client; client = client->next)
        if (client->block == SK_BLOCK_FOLD) client->block_until_ms = replica->now_ms;
    replica->wanted.by_client.waits = replica->wanted.by_region.waits = replica->wanted.all = false;
}

/* All who waited for this key, and the key of who came first of the others: it is the next. */
static void release(sk_replica *replica, sk_bytes key)
{
    const sk_client *next = NULL;
    for (sk_client *client = replica->blocked_count ? replica->clients : NULL; client; client = client->next) {
        if (!waits_for_a_key(client)) continue;
        if (sk_bytes_equal(sk_buf_view(&client->block_key), key))
            client->block_until_ms = replica->now_ms;
        else
            next = client;
    }
    if (next) wait_for(&replica->wanted.by_client, sk_buf_view(&next->block_key));
}

static bool bring(sk_replica *replica, sk_wanted_key *wanted)
{
    uint32_t rows = replica->fold_rows;
    if (!wanted->waits || sk_db_touch_some(&replica->db, sk_buf_view(&wanted->key), &rows)) return false;
    wanted->waits = false;
    release(replica, sk_buf_view(&wanted->key));
    return true;
}

bool sk_wanted_any(const sk_wanted *wanted)
{
    return wanted->by_client.waits || wanted->by_region.waits || wanted->all;
}

bool sk_wanted_turn(sk_replica *replica)
{
    sk_wanted *wanted = &replica->wanted;
    bool any = wanted->by_client.waits || wanted->by_region.waits;
    if (!sk_fold_active(&replica->db)) {
        if (sk_wanted_any(wanted)) release_all(replica);
        return false;
    }
    (void)bring(replica, &wanted->by_client);
    if (bring(replica, &wanted->by_region)) sk_engine_retry(replica->engine, replica->now_ms, replica->wall_ms);
    return any;
}
