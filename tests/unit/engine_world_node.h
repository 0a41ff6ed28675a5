/* What the world of engine_world.h is made of, and its nodes' databases: logs of transactions. */
#ifndef SK_TESTS_ENGINE_WORLD_NODE_H
#define SK_TESTS_ENGINE_WORLD_NODE_H

#include <stdio.h>
#include <stdlib.h>

#include "gossip/engine.h"
#include "gossip/message.h"

enum { NODES_MAX = 6, KEY_BYTES = 80, QUEUE_MAX = 1 << 16, FAR_MS = 1000 * 1000 };

typedef struct {
    sk_bytes message; /* data owned */
} world_message;

/* One direction of a link. */
typedef struct {
    world_message *list;
    size_t head, count, cap, bytes;
    bool stuck; /* accepts, delivers nothing */
    bool full;  /* was over the queue's limit when last asked */
} world_queue;

typedef struct {
    char (*keys)[KEY_BYTES]; /* owned; index = seq - 1 */
    uint64_t count, cap;
} world_lane;

typedef struct {
    sk_dot dot; /* in the holder's numbers */
    char key[KEY_BYTES];
} world_row;

/* What a database is on disk, apart from the vector. */
typedef struct {
    sk_vv vv;
    sk_origins origins;
    uint32_t own;
    world_lane lanes[64];
} world_disk;

struct world;

typedef struct {
    struct world *world;
    uint32_t index;
    char region[8];
    sk_engine *engine;
    world_disk now; /* applied */
    sk_vv durable;
    uint32_t durable_origins, durable_own; /* how many origins are on the disk, and which was our own */
    uint32_t incarnations;
    bool member[NODES_MAX];   /* this node knows that one as a member… */
    uint32_t peer[NODES_MAX]; /* …under this number */
    sk_hlc clock;
    bool holds_sync; /* nothing becomes durable by itself */
    bool failed;     /* its store: node_store_failed */
    int fail_apply;  /* the next so many applies fail… */
    int good_applies, apply_error; /* …behind so many that do not; with SK_E_IO, or this */
    int fail_open;   /* the next so many transfers find it busy… */
    int open_error;  /* …or this */
    int fail_answer; /* the next so many answers fail */
    int fail_sink_end;
    int slow_audit; /* so many steps more until all that an audit has staged was gone through */
    int fail_incarnation; /* the next so many are refused */
    int fail_chunk; /* the chunk after so many fails; 0: none */
    bool busy;
    uint32_t closed[NODES_MAX]; /* hang_up calls */
    int last_error;
    sk_vv stable;    /* what it was last told */
    sk_vv forgotten; /* at least that */
    uint32_t forgets;
    /* staged */
    bool staging, reconcile;
    sk_vv staged_vv;
    sk_vv covered_vv; /* what all staged rows up to the cursor are of */
    char staged_cursor[KEY_BYTES];
    world_row *staged;
    size_t staged_count, staged_cap;
    uint32_t resumed, reconciled;
    uint64_t rows_in;
    uint32_t prepared; /* steps of comparing */
    bool begun;        /* a transfer that was asked for */
    bool audit;        /* … is to change nothing */
    uint32_t audits;
    int fail_audit;    /* the next so many have not found all */
    bool tells_digest;
    sk_digest wrong;   /* how much its digest is off */
    bool drifts[NODES_MAX]; /* as it was told; index = peer */
    uint32_t drift_calls;
    uint64_t works, works_told; /* calls that take world.work_us; of those, told by host_worked_us */
} world_node;

struct sk_source {
    world_row *rows; /* all there are, in order */
    size_t count, at;
    bool *pushed; /* goes without being asked for */
    bool reconcile, compares;
    sk_vv known;
    size_t *wanted;
    size_t wanted_count, wanted_at;
    uint64_t sent;
};

typedef struct world {
    world_node nodes[NODES_MAX];
    uint32_t count;
    world_queue queues[NODES_MAX][NODES_MAX];
    bool up[NODES_MAX][NODES_MAX];  /* symmetric */
    bool cut[NODES_MAX][NODES_MAX]; /* symmetric: no link wanted */
    uint64_t now_ms, wall_ms;
    uint64_t work_us; /* what a call that reads rows takes */
    sk_engine_limits limits;
    bool checks_stable;
    bool lenient; /* operations may be anything that reads well */
    uint64_t incarnation;
    void (*tap)(struct world *, uint32_t from, uint32_t to, sk_bytes message);
    void *tap_self;
} world;

#define must(condition) sk_assert(condition)

/* The number that a node's engine gave another one. */
static inline uint32_t peer_of(const world *w, uint32_t node, uint32_t other)
{
    must(w->nodes[node].member[other]);
    return w->nodes[node].peer[other];
}
static inline uint32_t node_of(const world_node *node, uint32_t peer)
{
    uint32_t other = 0;
    while (!node->member[other] || node->peer[other] != peer) must(++other < NODES_MAX);
    return other;
}

/* -- database ------------------------------------------------------------------------------------------------------ */

static inline void lane_put(world_node *node, sk_dot dot, const char *key)
{
    if (node->world->lenient) return;
    must(dot.origin < 64);
    world_lane *lane = &node->now.lanes[dot.origin];
    if (dot.seq > lane->cap) {
        uint64_t cap = lane->cap;
        lane->cap = dot.seq * 2;
        lane->keys = sk_realloc(lane->keys, lane->cap * KEY_BYTES);
        memset(lane->keys + cap, 0, (lane->cap - cap) * KEY_BYTES);
    }
    memcpy(lane->keys[dot.seq - 1], key, KEY_BYTES);
    if (dot.seq > lane->count) lane->count = dot.seq;
}

static inline void row_key(const world_node *node, sk_dot dot, char key[KEY_BYTES])
{
    memset(key, 0, KEY_BYTES);
    const sk_origin *origin = &node->now.origins.list[dot.origin];
    snprintf(key, KEY_BYTES, "%s/%llu/%08llu", origin->region, (unsigned long long)origin->incarnation,
             (unsigned long long)dot.seq);
}

/* Only a hint, but of a key that is one. */
static inline void host_fetch(void *self, sk_bytes key)
{
    (void)self;
    must(key.len > 0);
}

static inline int host_intern(void *self, sk_bytes region, uint64_t incarnation, uint32_t *origin)
{
    return sk_origins_intern(&((world_node *)self)->now.origins, region, incarnation, origin);
}

static inline int host_apply(void *self, const sk_txn *txn)
{
    world_node *node = self;
    bool receives = false;
    for (uint32_t m = 0; m + 1 < node->world->count; m++)
        receives |= sk_engine_is_peer(node->engine, m) && sk_engine_peer_status(node->engine, m).receiving_transfer;
    must(!(receives && node->begun && node->reconcile && sk_vv_covers(&node->staged_vv, txn->dot)));
    if (node->fail_apply > 0 && node->good_applies-- <= 0) {
        node->fail_apply--;
        return node->apply_error ? node->apply_error : SK_E_IO;
    }
    must(txn->dot.seq == sk_vv_get(&node->now.vv, txn->dot.origin) + 1);
    must(sk_vv_get(&txn->seen, txn->dot.origin) == txn->dot.seq - 1);
    must(sk_vv_at_most(&txn->seen, &node->now.vv));
    sk_arena arena = {0};
    sk_reader reader = sk_reader_of(txn->ops);
    sk_op op = {0};
    char key[KEY_BYTES];
    row_key(node, txn->dot, key);
    if (txn->op_count) must(sk_op_read(&reader, NULL, txn->dot, txn->hlc, &arena, &op) == 0);
    if (node->world->lenient) op.removed_count = 0;
    must(node->world->lenient || txn->op_count == 1);
    if (!node->world->lenient) must(op.key.len == strlen(key) && memcmp(op.key.data, key, op.key.len) == 0);
    for (uint32_t i = 0; i < op.removed_count; i++) { /* the value names what is removed: numbers were translated */
        char removed[KEY_BYTES];
        row_key(node, op.removed[i].dot, removed);
        must(op.content.value.len >= strlen(removed));
        must(memcmp(op.content.value.data, removed, strlen(removed)) == 0);
    }
    sk_arena_free(&arena);
    sk_vv_set(&node->now.vv, txn->dot.origin, txn->dot.seq);
    lane_put(node, txn->dot, key);
    return 0;
}

static inline int host_new_incarnation(void *self)
{
    world_node *node = self;
    if (node->fail_incarnation > 0) {
        node->fail_incarnation--;
        return SK_E_IO;
    }
    node->incarnations++;
    return sk_origins_intern(&node->now.origins, sk_bytes_str(node->region), ++node->world->incarnation,
                             &node->now.own);
}

/* By identity: what `b` has of origin `o` of `a`. */
static inline uint64_t theirs(const world_node *a, uint32_t o, const world_node *b, const sk_vv *vv)
{
    uint32_t other;
    const sk_origin *origin = &a->now.origins.list[o];
    bool known = sk_origins_find(&b->now.origins, sk_bytes_str(origin->region), origin->incarnation, &other);
    return known ? sk_vv_get(vv, other) : 0;
}

static inline void host_forget(void *self, const sk_vv *stable, const sk_vv *everywhere)
{
    world_node *node = self;
    must(sk_vv_at_most(everywhere, stable));
    must(sk_vv_at_most(&node->stable, stable));
    sk_vv_copy(&node->stable, stable);
    sk_vv_join(&node->forgotten, stable);
    node->forgets++;
    if (!node->world->checks_stable) return;
    for (uint32_t n = 0; n < node->world->count; n++)
        for (uint32_t o = 0; o < stable->count && (n == node->index || node->member[n]); o++)
            must(stable->seq[o] <= theirs(node, o, &node->world->nodes[n], &node->world->nodes[n].durable));
}
static inline const sk_vv *host_floor(void *self) { return &((world_node *)self)->forgotten; }

#endif
