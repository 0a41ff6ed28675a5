/* What a peer lacks when its link comes up, and which way costs less: transaction by transaction out of the ring, or
 * each changed row once, by a transfer.
 *
 * The ring can bring what it has, but as often as it was overwritten. A transfer brings a row once, and with it what
 * changed under every other origin. So the question is what of all the operations that the peer lacks is the last one of
 * its row. It is asked once, of a backlog of more than a few batches, and costs a walk over that backlog and 8 to 32
 * bytes of memory for each row; the walk ends as soon as the answer is known. */
#include "gossip/engine_internal.h"

#include <stdlib.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

enum {
    BATCHES_MIN = 4, /* a backlog of fewer is not worth the question */
    WORTH_OF_6 = 5,  /* a transfer must cost at most so many sixths */
    SET_SLOTS_MIN = 1024,
};

/* Hashes of row keys; open addressing. Two rows with one hash make a backlog look a little smaller. */
typedef struct {
    uint64_t *slots; /* owned; 0: free */
    size_t size, used;
} key_set;

static size_t slot_of(const key_set *set, uint64_t hash)
{
    size_t slot = hash & (set->size - 1);
    while (set->slots[slot] && set->slots[slot] != hash) slot = (slot + 1) & (set->size - 1);
    return slot;
}

static void grow(key_set *set)
{
    key_set larger = {.size = set->size ? 2 * set->size : SET_SLOTS_MIN, .used = set->used};
    larger.slots = sk_alloc(larger.size * sizeof *larger.slots);
    for (size_t i = 0; i < set->size; i++)
        if (set->slots[i]) larger.slots[slot_of(&larger, set->slots[i])] = set->slots[i];
    free(set->slots);
    *set = larger;
}

/* False if it was there. */
static bool add_key(key_set *set, sk_bytes key)
{
    uint64_t hash = XXH3_64bits(key.data, key.len);
    if (hash == 0) hash = 1;
    if (set->used * 2 >= set->size) grow(set);
    size_t slot = slot_of(set, hash);
    if (set->slots[slot]) return false;
    set->slots[slot] = hash;
    set->used++;
    return true;
}

/* Bytes of a transaction's operations on rows that are not in the set yet. */
static uint64_t new_bytes(sk_engine *engine, sk_dot dot, const sk_ring_txn *txn, key_set *set)
{
    sk_reader reader = sk_reader_of(txn->ops);
    if (txn->op_count == 1) return add_key(set, sk_read_bytes(&reader)) ? txn->ops.len : 0;
    uint64_t bytes = 0;
    engine->arena.max = 0;
    for (uint32_t i = 0; i < txn->op_count; i++) {
        size_t left = sk_reader_left(&reader);
        sk_op op;
        sk_arena_reset(&engine->arena);
        int status = sk_op_read(&reader, NULL, dot, txn->hlc, &engine->arena, &op);
        sk_assert(status == 0);
        if (add_key(set, op.key)) bytes += left - sk_reader_left(&reader);
    }
    return bytes;
}

/* Where the peer's gap of an origin begins and ends. False if it has none, or the ring does not hold all of it. */
static bool gap_of(const sk_engine *engine, const sk_peer *to, uint32_t origin, sk_dot *from, uint64_t *end)
{
    *from = (sk_dot){origin, sk_send_next(to, origin)};
    *end = sk_vv_get(&engine->durable, origin);
    return from->seq <= *end && sk_ring_has(&engine->ring, origin, from->seq) &&
           sk_ring_has(&engine->ring, origin, *end);
}

bool sk_backlog_is_wasteful(sk_engine *engine, uint32_t peer, uint32_t origin)
{
    const sk_peer *to = &engine->peers[peer];
    sk_dot from;
    uint64_t end, unread = 0;
    if (!gap_of(engine, to, origin, &from, &end)) return false;
    uint64_t worth = sk_ring_wire_bytes(&engine->ring, origin, from.seq, end);
    if (worth <= (uint64_t)BATCHES_MIN * engine->limits.batch_bytes) return false;
    worth = worth / 6 * WORTH_OF_6; /* what a transfer may cost */
    for (uint32_t o = 0; o < engine->origins->count; o++) {
        if (sk_send_next(to, o) > sk_vv_get(&engine->durable, o)) continue;
        if (!gap_of(engine, to, o, &from, &end)) return false; /* nobody knows how much it would bring of that one */
        unread += sk_ring_wire_bytes(&engine->ring, o, from.seq, end);
    }

    key_set set = {0};
    uint64_t distinct = 0;
    for (uint32_t o = 0; o < engine->origins->count; o++) {
        if (!gap_of(engine, to, o, &from, &end)) continue;
        for (uint64_t seq = end; seq >= from.seq && distinct <= worth && distinct + unread > worth; seq--) {
            sk_ring_txn txn = sk_ring_get(&engine->ring, o, seq);
            distinct += new_bytes(engine, (sk_dot){o, seq}, &txn, &set);
            unread -= sk_ring_wire_bytes(&engine->ring, o, seq, seq);
        }
    }
    free(set.slots);
    return distinct <= worth;
}
