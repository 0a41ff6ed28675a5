/* A small world for the engine: nodes whose database is a log of transactions, and a network that keeps order and loses
 * everything when a link goes down. Deterministic; time moves only in world_run. */
#ifndef SK_TESTS_ENGINE_WORLD_H
#define SK_TESTS_ENGINE_WORLD_H

#include "tests/unit/engine_world_node.h"

/* -- transfers ----------------------------------------------------------------------------------------------------- */

static inline int compare_rows(const void *a, const void *b)
{
    return strcmp(((const world_row *)a)->key, ((const world_row *)b)->key);
}

/* In a reconcile every third row is left out of what is pushed: it has to be found. (Not where the peer has nothing that
 * we have: it may do without comparing.) */
static inline int host_source_open(void *self, const sk_vv *known, const sk_transfer_progress *progress,
                                   sk_source **out, sk_transfer_head *head)
{
    world_node *node = self;
    if (node->fail_open > 0 && node->fail_open--) return node->open_error ? node->open_error : SK_E_BUSY;
    sk_source *source = sk_alloc(sizeof *source);
    head->reconcile = source->reconcile = head->purpose || !sk_vv_at_most(&node->forgotten, known);
    head->resumed = progress && progress->reconcile == head->reconcile &&
                    sk_vv_at_most(&progress->vv, &node->durable) && sk_vv_at_most(&node->forgotten, &progress->vv);
    for (uint32_t o = 0; o < node->durable.count && !node->world->lenient; o++)
        for (uint64_t seq = 1; seq <= node->durable.seq[o]; seq++) {
            world_row row = {.dot = {o, seq}};
            memcpy(row.key, node->now.lanes[o].keys[seq - 1], KEY_BYTES);
            source->rows = sk_realloc(source->rows, (source->count + 1) * sizeof row);
            source->rows[source->count++] = row;
        }
    if (source->count) qsort(source->rows, source->count, sizeof *source->rows, compare_rows);
    bool in_common = false;
    for (uint32_t o = 0; o < node->durable.count; o++) in_common |= node->durable.seq[o] && sk_vv_get(known, o);
    source->pushed = sk_alloc(source->count + 1);
    source->wanted = sk_alloc((source->count + 1) * sizeof *source->wanted);
    for (size_t i = 0; i < source->count; i++) {
        const world_row *row = &source->rows[i];
        bool staged = head->resumed && sk_vv_covers(&progress->vv, row->dot) &&
                      strcmp(row->key, (const char *)progress->cursor.data) <= 0;
        source->pushed[i] = !staged && !sk_vv_covers(known, row->dot) && !(source->reconcile && in_common && i % 3 == 0);
    }
    sk_vv_copy(&source->known, known);
    sk_vv_copy(&head->vv, &node->durable);
    sk_vv_copy(&head->floor, &node->forgotten);
    *out = source;
    return 0;
}

static inline int host_source_chunk(void *self, sk_source *source, size_t max, sk_buf *out)
{
    ((world_node *)self)->works++;
    size_t start = out->len;
    while (source->compares ? source->wanted_at < source->wanted_count : source->at < source->count) {
        if (out->len - start >= max) return 1;
        size_t at = source->compares ? source->wanted[source->wanted_at++] : source->at++;
        const world_row *row = &source->rows[at];
        if (!source->compares && !source->pushed[at]) continue;
        sk_pack_uint(out, row->dot.origin);
        sk_pack_uint(out, row->dot.seq);
        sk_pack_bytes(out, sk_bytes_str(row->key));
        source->sent++;
    }
    return 0;
}

static inline sk_transfer_counts host_source_counts(void *self, const sk_source *source)
{
    (void)self;
    return (sk_transfer_counts){source->count, source->at, source->sent};
}

static inline uint64_t host_worked_us(void *self)
{
    world_node *node = self;
    uint64_t works = node->works - node->works_told;
    node->works_told = node->works;
    return works * node->world->work_us;
}

static inline void host_source_close(void *self, sk_source *source)
{
    (void)self;
    sk_vv_free(&source->known);
    free(source->rows);
    free(source->pushed);
    free(source->wanted);
    free(source);
}

static inline sk_digest digest_of(const char *key)
{
    sk_digest digest = 1;
    for (; *key; key++) digest = (digest ^ (uint8_t)*key) * (((sk_digest)0x9e3779b97f4a7c15 << 64) + 0xff51afd7ed558ccd);
    return digest;
}

static inline bool key_between(const char *key, sk_bytes from, sk_bytes to)
{
    sk_bytes bytes = sk_bytes_str(key);
    return sk_bytes_compare(bytes, from) >= 0 && (to.len == 0 || sk_bytes_compare(bytes, to) < 0);
}

static inline void host_source_compare(void *self, sk_source *source, uint64_t *rows, sk_digest *sum)
{
    (void)self;
    must(source->reconcile);
    source->compares = true;
    *rows = source->count;
    *sum = 0;
    for (size_t i = 0; i < source->count; i++) *sum += digest_of(source->rows[i].key);
}

static inline bool host_digest(void *self, const sk_vv *durable, sk_digest *digest)
{
    const world_node *node = self;
    if (!node->tells_digest) return false;
    *digest = node->wrong;
    for (uint32_t o = 0; o < durable->count; o++)
        for (uint64_t seq = 1; seq <= durable->seq[o]; seq++) *digest += digest_of(node->now.lanes[o].keys[seq - 1]);
    return true;
}

static inline void host_drift(void *self, uint32_t peer, bool drifts)
{
    world_node *node = self;
    node->drift_calls += drifts;
    node->drifts[peer] = drifts;
}

/* Lists of at most two, else three parts. */
static inline int host_source_answer(void *self, sk_source *source, uint64_t number, sk_bytes from, sk_bytes to,
                                     sk_buf *out)
{
    world_node *node = self;
    node->works++;
    if (node->fail_answer > 0 && node->fail_answer--) return SK_E_IO;
    if (to.len && sk_bytes_compare(from, to) >= 0) return SK_E_PROTOCOL;
    size_t first = 0, count = 0;
    while (first < source->count && !key_between(source->rows[first].key, from, to)) first++;
    while (first + count < source->count && key_between(source->rows[first + count].key, from, to)) count++;
    sk_message_begin_list(out, count > 2 ? SK_MESSAGE_PARTS : SK_MESSAGE_ROWS, number, count > 2 ? 3 : (uint32_t)count);
    for (size_t i = 0; i < count && count <= 2; i++) {
        const world_row *row = &source->rows[first + i];
        sk_listed listed = {sk_bytes_str(row->key), (uint64_t)digest_of(row->key), !sk_vv_covers(&source->known, row->dot)};
        sk_listed_pack(out, &listed);
    }
    for (size_t p = 0; p < 3 && count > 2; p++) {
        sk_part part = {.from = p ? sk_bytes_str(source->rows[first + count * p / 3].key) : SK_BYTES_NONE};
        for (size_t i = count * p / 3; i < count * (p + 1) / 3; i++, part.rows++)
            part.sum += digest_of(source->rows[first + i].key);
        sk_part_pack(out, &part);
    }
    return 0;
}

static inline void host_source_want(void *self, sk_source *source, sk_elements keys)
{
    const world_node *node = self;
    sk_bytes key;
    source->wanted_at = source->wanted_count = 0;
    while (sk_wanted_next(&keys, &key))
        for (size_t i = 0; i < source->count && source->wanted_count < source->count; i++)
            if (sk_bytes_equal(sk_bytes_str(source->rows[i].key), key)) source->wanted[source->wanted_count++] = i;
    must(node->world->lenient || source->wanted_count > 0);
}

static inline int host_sink_progress(void *self, sk_transfer_progress *progress)
{
    world_node *node = self;
    node->begun = false;
    if (!node->staging || node->staged_count == 0) return 0;
    sk_vv_copy(&progress->vv, &node->covered_vv);
    progress->reconcile = node->reconcile;
    sk_buf_append(&progress->cursor, node->staged_cursor, strlen(node->staged_cursor) + 1);
    return 1;
}

static inline bool host_sink_busy(void *self)
{
    return ((world_node *)self)->busy;
}

static inline int host_sink_begin(void *self, const sk_transfer_head *head)
{
    world_node *node = self;
    if (!head->resumed) {
        sk_vv_copy(&node->covered_vv, &head->vv);
        node->staged_count = 0;
        node->staged_cursor[0] = 0;
    }
    node->resumed += head->resumed;
    node->prepared = 0;
    node->begun = true;
    node->staging = true;
    node->reconcile = head->reconcile;
    node->audit = head->purpose == SK_FOR_AUDIT;
    sk_vv_copy(&node->staged_vv, &head->vv);
    return 0;
}

static inline int host_sink_chunk(void *self, sk_bytes rows, const sk_origin_map *map)
{
    world_node *node = self;
    if (node->fail_chunk > 0 && --node->fail_chunk == 0) return SK_E_DISK_FULL;
    sk_reader reader = sk_reader_of(rows);
    while (sk_reader_left(&reader)) {
        world_row row = {.dot.origin = sk_read_origin(&reader, map)};
        row.dot.seq = sk_read_uint(&reader);
        sk_bytes key = sk_read_bytes(&reader);
        if (reader.bad || key.len >= KEY_BYTES || row.dot.seq == 0) return SK_E_MALFORMED;
        memcpy(row.key, key.data, key.len);
        if (node->staged_count == node->staged_cap) {
            node->staged_cap = node->staged_cap ? node->staged_cap * 2 : 64;
            node->staged = sk_realloc(node->staged, node->staged_cap * sizeof row);
        }
        node->staged[node->staged_count++] = row;
        node->rows_in++;
        if (strcmp(row.key, node->staged_cursor) <= 0) continue;
        memcpy(node->staged_cursor, row.key, KEY_BYTES); /* rows come in order: all up to here are of this vector */
        sk_vv_copy(&node->covered_vv, &node->staged_vv);
    }
    return reader.bad ? SK_E_MALFORMED : 0;
}

static inline int host_sink_compare(void *self)
{
    world_node *node = self;
    must(node->staging && node->reconcile);
    return ++node->prepared < 4; /* some steps */
}

/* Rows of its own, as far as the sender's vector goes, and staged ones: the keys, in order, each once. */
static inline size_t believed_rows(const world_node *node, sk_bytes from, sk_bytes to, world_row **rows)
{
    size_t count = 0, kept = 0;
    size_t room = node->staged_count;
    for (uint32_t o = 0; o < node->now.vv.count; o++) room += node->now.vv.seq[o];
    world_row *list = sk_alloc((room + 1) * sizeof *list);
    for (uint32_t o = 0; o < node->now.vv.count && !node->world->lenient; o++)
        for (uint64_t seq = 1; seq <= node->now.vv.seq[o] && seq <= sk_vv_get(&node->staged_vv, o); seq++)
            if (key_between(node->now.lanes[o].keys[seq - 1], from, to))
                memcpy(list[count++].key, node->now.lanes[o].keys[seq - 1], KEY_BYTES);
    for (size_t i = 0; i < node->staged_count; i++)
        if (key_between(node->staged[i].key, from, to)) list[count++] = node->staged[i];
    if (count) qsort(list, count, sizeof *list, compare_rows);
    for (size_t i = 0; i < count; i++)
        if (kept == 0 || strcmp(list[kept - 1].key, list[i].key) != 0) list[kept++] = list[i];
    *rows = list;
    return kept;
}

static inline int host_sink_sum(void *self, sk_bytes from, sk_bytes to, sk_digest *sum)
{
    world_node *node = self;
    must(node->prepared == 4);
    node->works++;
    world_row *rows;
    size_t count = believed_rows(node, from, to, &rows);
    *sum = 0;
    for (size_t i = 0; i < count; i++) *sum += digest_of(rows[i].key);
    free(rows);
    return 0;
}

/* A row in a step. */
static inline int host_sink_settle(void *self, sk_buf *from, sk_bytes to, sk_elements listed, sk_buf *wanted,
                                   uint32_t *count)
{
    world_node *node = self;
    node->works++;
    world_row *rows;
    size_t own = believed_rows(node, sk_buf_view(from), to, &rows), at = 0;
    sk_listed row;
    int more = 0;
    while (!more && sk_listed_next(&listed, &row)) {
        if (sk_bytes_compare(row.key, sk_buf_view(from)) < 0) continue;
        while (at < own && sk_bytes_compare(sk_bytes_str(rows[at].key), row.key) < 0) at++;
        bool here = at < own && sk_bytes_equal(sk_bytes_str(rows[at].key), row.key);
        must(node->world->lenient || here || row.news);
        if (!here) {
            sk_pack_bytes(wanted, row.key);
            ++*count;
        }
        sk_buf copy = {0};
        sk_buf_bytes(&copy, row.key);
        sk_buf_byte(&copy, 0);
        sk_buf_free(from);
        *from = copy;
        more = listed.count > 0;
    }
    free(rows);
    return more;
}

static inline int host_sink_end(void *self)
{
    world_node *node = self;
    if (node->fail_sink_end > 0) {
        node->fail_sink_end--;
        return SK_E_IO;
    }
    if (node->audit && node->slow_audit > 0) {
        node->slow_audit--;
        return 1;
    }
    if (node->audit) {
        node->staging = false;
        node->staged_count = 0;
        node->audits++;
        if (node->fail_audit == 0) return 0;
        node->fail_audit--;
        return SK_E_BUSY;
    }
    for (size_t i = 0; i < node->staged_count; i++)
        if (sk_vv_covers(&node->staged_vv, node->staged[i].dot))
            lane_put(node, node->staged[i].dot, node->staged[i].key);
    sk_vv_join(&node->now.vv, &node->staged_vv);
    for (uint32_t o = 0; o < node->now.vv.count && !node->world->lenient; o++)
        for (uint64_t seq = 1; seq <= node->now.vv.seq[o]; seq++) must(node->now.lanes[o].keys[seq - 1][0] != 0);
    node->reconciled += node->reconcile;
    node->staging = false;
    node->staged_count = 0;
    return 0;
}

/* -- network ------------------------------------------------------------------------------------------------------- */

static inline void queue_clear(world_queue *queue)
{
    for (size_t i = 0; i < queue->count; i++) free((void *)(uintptr_t)queue->list[queue->head + i].message.data);
    queue->head = queue->count = queue->bytes = 0;
    queue->full = false;
}

static inline void host_send(void *self, uint32_t peer, sk_bytes message)
{
    world_node *node = self;
    uint32_t to = node_of(node, peer);
    if (node->world->tap) node->world->tap(node->world, node->index, to, message);
    if (!node->world->up[node->index][to]) return;
    world_queue *queue = &node->world->queues[node->index][to];
    if (queue->head + queue->count == queue->cap) {
        if (queue->head) memmove(queue->list, queue->list + queue->head, queue->count * sizeof *queue->list);
        queue->head = 0;
        queue->cap = queue->cap ? queue->cap * 2 : 16;
        queue->list = sk_realloc(queue->list, queue->cap * sizeof *queue->list);
    }
    uint8_t *copy = sk_alloc(message.len);
    memcpy(copy, message.data, message.len);
    queue->list[queue->head + queue->count++].message = sk_bytes_of(copy, message.len);
    queue->bytes += message.len;
}

static inline size_t host_queued(void *self, uint32_t peer)
{
    world_node *node = self;
    world_queue *queue = &node->world->queues[node->index][node_of(node, peer)];
    if (queue->bytes > node->world->limits.send_queue_max) queue->full = true;
    return queue->bytes;
}

static inline void host_hang_up(void *self, uint32_t peer, int error)
{
    world_node *node = self;
    uint32_t to = node_of(node, peer);
    node->closed[to]++;
    node->last_error = error;
    node->world->up[node->index][to] = node->world->up[to][node->index] = false; /* both notice in world_links */
}

/* -- world --------------------------------------------------------------------------------------------------------- */

static inline sk_engine_limits world_limits(void)
{
    sk_engine_limits limits = sk_engine_limits_default();
    limits.ring_bytes_max = 1 << 20;
    return limits;
}

static inline uint32_t must_add(sk_engine *engine, const char *region)
{
    int peer = sk_engine_add_peer(engine, region, NULL);
    must(peer >= 0);
    return (uint32_t)peer;
}

static inline void node_start(world_node *node)
{
    sk_engine_host host = {node,
                           host_send,
                           host_queued,
                           host_hang_up,
                           host_intern,
                           host_fetch,
                           host_apply,
                           host_forget,
                           host_new_incarnation, host_floor,
                           host_source_open,
                           host_source_chunk,
                           host_source_compare,
                           host_source_answer,
                           host_source_want,
                           host_source_counts,
                           host_source_close,
                           host_sink_progress,
                           host_sink_busy,
                           host_sink_begin,
                           host_sink_chunk,
                           host_sink_compare,
                           host_sink_sum,
                           host_sink_settle,
                           host_sink_end,
                           host_digest,
                           host_drift,
                           host_worked_us};
    sk_vv_copy(&node->durable, &node->now.vv);
    node->durable_origins = node->now.origins.count;
    node->durable_own = node->now.own;
    node->engine =
        sk_engine_new(node->region, &host, &node->world->limits, &node->now.vv, &node->now.origins, &node->now.own);
    for (uint32_t n = 0; n < node->world->count; n++)
        if (node->member[n]) node->peer[n] = must_add(node->engine, node->world->nodes[n].region);
}

static inline world *world_new(uint32_t count, const sk_engine_limits *limits)
{
    world *w = sk_alloc(sizeof *w);
    w->count = count;
    w->limits = *limits;
    w->now_ms = 1;
    w->wall_ms = (uint64_t)1700000000 * 1000;
    for (uint32_t n = 0; n < count; n++) {
        world_node *node = &w->nodes[n];
        node->world = w;
        node->index = n;
        for (uint32_t other = 0; other < count; other++) node->member[other] = other != n;
        snprintf(node->region, sizeof node->region, "%c", 'a' + (int)n);
        for (uint32_t i = 0; i < n; i++) { /* so that numbers differ between nodes */
            uint32_t ignored;
            sk_origins_intern(&node->now.origins, sk_bytes_str("old"), i, &ignored);
        }
        host_new_incarnation(node);
        node->incarnations = 0;
    }
    for (uint32_t n = 0; n < count; n++) node_start(&w->nodes[n]);
    return w;
}

static inline void node_free(world_node *node)
{
    sk_engine_free(node->engine);
    sk_vv *vectors[] = {&node->now.vv, &node->durable, &node->stable, &node->forgotten, &node->staged_vv, &node->covered_vv};
    for (size_t i = 0; i < sizeof vectors / sizeof *vectors; i++) sk_vv_free(vectors[i]);
    sk_origins_free(&node->now.origins);
    for (uint32_t o = 0; o < 64; o++) free(node->now.lanes[o].keys);
    free(node->staged);
}

static inline void world_free(world *w)
{
    for (uint32_t a = 0; a < w->count; a++) {
        node_free(&w->nodes[a]);
        for (uint32_t b = 0; b < w->count; b++) {
            queue_clear(&w->queues[a][b]);
            free(w->queues[a][b].list);
        }
    }
    free(w);
}

static inline void node_sync(world_node *node)
{
    sk_vv_copy(&node->durable, &node->now.vv);
    node->durable_origins = node->now.origins.count;
    node->durable_own = node->now.own;
    sk_engine_durable(node->engine, &node->durable, node->world->now_ms, node->world->wall_ms);
}

/* The store failed, and went back to what the disk has; `back`: it takes writes again. */
static inline void node_store_failed(world_node *node, bool back)
{
    sk_vv_copy(&node->now.vv, &node->durable);
    node->now.origins.count = node->durable_origins;
    node->now.own = node->durable_own;
    for (uint32_t o = 0; o < 64 && !node->world->lenient; o++) node->now.lanes[o].count = sk_vv_get(&node->durable, o);
    node->staging = false;
    node->staged_count = 0;
    node->failed = !back;
    sk_engine_store_failed(node->engine);
    sk_engine_rolled_back(node->engine, back, node->world->now_ms, node->world->wall_ms);
}

static inline void node_roll_back(world_node *node)
{
    node_store_failed(node, true);
}

/* One local transaction; it removes the newest foreign dot it knows, so that it names other origins. */
static inline void node_write_bytes(world_node *node, size_t extra)
{
    sk_dot dot = {node->now.own, sk_vv_get(&node->now.vv, node->now.own) + 1};
    char key[KEY_BYTES], value[KEY_BYTES] = {0};
    row_key(node, dot, key);
    sk_removed removed = {0};
    for (uint32_t o = 0; o < node->now.vv.count; o++)
        if (o != dot.origin && node->now.vv.seq[o]) removed.dot = (sk_dot){o, node->now.vv.seq[o]};
    if (removed.dot.seq) row_key(node, removed.dot, value);
    sk_buf payload = {0};
    sk_buf_append(&payload, value, strlen(value));
    for (size_t i = 0; i < extra; i++) sk_buf_byte(&payload, 'x');
    sk_op op = {
        .key = sk_bytes_str(key), .has_content = true, .removed = &removed, .removed_count = removed.dot.seq != 0};
    op.content = (sk_entry){.kind = SK_ENTRY_VALUE, .dot = dot, .value = sk_buf_view(&payload)};
    sk_buf ops = {0};
    sk_op_pack(&ops, &op);
    sk_txn txn = {.dot = dot, .hlc = sk_hlc_tick(&node->clock, node->world->wall_ms), .op_count = 1};
    sk_vv_copy(&txn.seen, &node->now.vv);
    txn.ops = sk_buf_view(&ops);
    sk_vv_set(&node->now.vv, dot.origin, dot.seq);
    lane_put(node, dot, key);
    sk_engine_local(node->engine, &txn, node->world->now_ms, node->world->wall_ms);
    sk_vv_free(&txn.seen);
    sk_buf_free(&ops);
    sk_buf_free(&payload);
}

static inline void node_write(world_node *node)
{
    node_write_bytes(node, 0);
}

static inline void link_down(world *w, uint32_t a, uint32_t b)
{
    w->up[a][b] = w->up[b][a] = false;
    queue_clear(&w->queues[a][b]);
    queue_clear(&w->queues[b][a]);
    for (int i = 0; i < 2; i++)
        if (w->nodes[i ? b : a].member[i ? a : b])
            sk_engine_link_down(w->nodes[i ? b : a].engine, peer_of(w, i ? b : a, i ? a : b), w->now_ms, w->wall_ms);
}

static inline void link_up(world *w, uint32_t a, uint32_t b)
{
    link_down(w, a, b);
    w->up[a][b] = w->up[b][a] = true;
    sk_engine_link_up(w->nodes[a].engine, peer_of(w, a, b), w->now_ms, w->wall_ms);
    sk_engine_link_up(w->nodes[b].engine, peer_of(w, b, a), w->now_ms, w->wall_ms);
}

/* Node `n` takes `other` for a member from now on, or no more. */
static inline void member_add(world *w, uint32_t n, uint32_t other)
{
    must(!w->nodes[n].member[other]);
    w->nodes[n].peer[other] = must_add(w->nodes[n].engine, w->nodes[other].region);
    w->nodes[n].member[other] = true;
}

static inline void member_remove(world *w, uint32_t n, uint32_t other)
{
    sk_engine_remove_peer(w->nodes[n].engine, peer_of(w, n, other), SK_E_FORGOTTEN, w->now_ms, w->wall_ms);
    w->nodes[n].member[other] = false;
    link_down(w, n, other);
}

static inline void set_cut(world *w, uint32_t a, uint32_t b, bool cut)
{
    w->cut[a][b] = w->cut[b][a] = cut;
    if (cut) link_down(w, a, b);
}

/* Links are where they are wanted. */
static inline void world_links(world *w)
{
    for (uint32_t a = 0; a < w->count; a++)
        for (uint32_t b = a + 1; b < w->count; b++)
            if (!w->up[a][b] && !w->cut[a][b] && w->nodes[a].member[b] && w->nodes[b].member[a]) link_up(w, a, b);
}

static inline bool deliver_one(world *w, uint32_t from, uint32_t to)
{
    world_queue *queue = &w->queues[from][to];
    if (queue->count == 0 || queue->stuck) return false;
    sk_bytes message = queue->list[queue->head].message;
    queue->head++;
    queue->count--;
    queue->bytes -= message.len;
    if (w->nodes[to].member[from])
        sk_engine_message(w->nodes[to].engine, peer_of(w, to, from), message, w->now_ms, w->wall_ms);
    free((void *)(uintptr_t)message.data);
    if (!w->up[from][to]) link_down(w, from, to);
    if (queue->full && queue->bytes < w->limits.send_queue_max / 2) {
        queue->full = false;
        sk_engine_writable(w->nodes[from].engine, peer_of(w, from, to), w->now_ms, w->wall_ms);
    }
    return true;
}

static inline void world_check(const world *w)
{
    for (uint32_t n = 0; n < w->count; n++) sk_engine_check(w->nodes[n].engine);
}

/* Everything that happens within this millisecond. */
static inline void world_settle(world *w)
{
    bool moved = true;
    while (moved) {
        moved = false;
        for (uint32_t n = 0; n < w->count; n++) {
            world_node *node = &w->nodes[n];
            if (!node->holds_sync && !sk_vv_equal(&node->durable, &node->now.vv)) node_sync(node);
            if (w->now_ms >= sk_engine_next_ms(node->engine)) sk_engine_tick(node->engine, w->now_ms, w->wall_ms);
            for (uint32_t other = 0; other < w->count; other++) moved |= deliver_one(w, other, n);
        }
    }
}

static inline void world_run(world *w, uint64_t ms)
{
    for (uint64_t i = 0; i < ms; i++) {
        w->now_ms++;
        w->wall_ms++;
        world_links(w);
        world_settle(w);
    }
    world_check(w);
}

/* Of the usual limits, with every link up. */
static inline world *world_linked(uint32_t count)
{
    sk_engine_limits limits = world_limits();
    world *w = world_new(count, &limits);
    world_run(w, 10);
    return w;
}

static inline bool world_converged(const world *w)
{
    for (uint32_t a = 0; a < w->count; a++)
        for (uint32_t b = 0; b < w->count; b++)
            for (uint32_t o = 0; o < w->nodes[a].now.vv.count; o++) {
                uint64_t has = w->nodes[a].now.vv.seq[o];
                if (has && theirs(&w->nodes[a], o, &w->nodes[b], &w->nodes[b].now.vv) < has) return false;
            }
    return true;
}

static inline void world_must_converge(world *w, uint64_t ms)
{
    for (uint64_t i = 0; i < ms / 10 && !world_converged(w); i++) world_run(w, 10);
    must(world_converged(w));
    world_check(w);
}

static inline sk_peer_status status_of(const world *w, uint32_t at, uint32_t of)
{
    return sk_engine_peer_status(w->nodes[at].engine, peer_of(w, at, of));
}

/* What node `n` has of the origin that `of` writes under, or wrote under when `incarnation` was its. */
static inline uint64_t has_of(const world *w, const sk_vv *vv, uint32_t n, uint32_t of, uint64_t incarnation)
{
    uint32_t origin;
    sk_bytes region = sk_bytes_str(w->nodes[of].region);
    return sk_origins_find(&w->nodes[n].now.origins, region, incarnation, &origin) ? sk_vv_get(vv, origin) : 0;
}

/* -- lives --------------------------------------------------------------------------------------------------------- */

static inline void copy_disk(const world_disk *from, world_disk *to)
{
    memset(to, 0, sizeof *to);
    sk_vv_copy(&to->vv, &from->vv);
    to->own = from->own;
    to->origins.count = from->origins.count;
    to->origins.list = sk_alloc(from->origins.count * sizeof *from->origins.list);
    memcpy(to->origins.list, from->origins.list, from->origins.count * sizeof *from->origins.list);
    for (uint32_t o = 0; o < 64; o++) {
        const world_lane *lane = &from->lanes[o];
        if (!lane->count) continue;
        to->lanes[o] = (world_lane){sk_alloc(lane->count * KEY_BYTES), lane->count, lane->count};
        memcpy(to->lanes[o].keys, lane->keys, lane->count * KEY_BYTES);
    }
}

/* The node goes down and comes back with this disk; `aware`: it knows that it is an old copy. */
static inline void restart(world *w, uint32_t n, const world_disk *disk, bool aware)
{
    world_node *node = &w->nodes[n];
    for (uint32_t other = 0; other < w->count; other++)
        if (other != n) link_down(w, n, other);
    world_disk copy;
    copy_disk(disk, &copy);
    sk_hlc clock = node->clock;
    uint32_t incarnations = node->incarnations;
    char region[8];
    bool member[NODES_MAX];
    memcpy(region, node->region, sizeof region);
    memcpy(member, node->member, sizeof member);
    node_free(node);
    *node = (world_node){.world = w, .index = n, .now = copy, .clock = clock, .incarnations = incarnations};
    memcpy(node->region, region, sizeof region);
    memcpy(node->member, member, sizeof member);
    if (aware) host_new_incarnation(node);
    node_start(node);
}

static inline void disk_free(world_disk *disk)
{
    sk_vv_free(&disk->vv);
    sk_origins_free(&disk->origins);
    for (uint32_t o = 0; o < 64; o++) free(disk->lanes[o].keys);
}

static inline void write_many(world *w, uint32_t node, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) node_write(&w->nodes[node]);
}

#endif
