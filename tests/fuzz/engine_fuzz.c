/* The replication engine under any sequence of events: the input says what happens to two or three real engines, one byte
 * an event, its operands after it. After each event every engine is whole (sk_engine_check) and no queue has outgrown its
 * limit. At the end everything heals.
 *
 * Where nobody lied, the nodes must then have the same transactions, with the right rows, and all of it stable. Where the
 * last node was a liar (its messages were changed, repeated, reordered or made up on the way), it is cut off, and the
 * others must still come to have the same. */
#include "../unit/engine_world.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum {
    EVENTS_MAX = 300,
    RESTARTS_MAX = 20,             /* as old copies: each takes an incarnation, and the world has room for some */
    QUEUE_SLACK = 256 * 1024,      /* answers that do not ask whether the queue is full */
    HEALED_MS = 120 * 1000,        /* longer than any retry */
};

typedef struct {
    const uint8_t *data;
    size_t left;
} input;

typedef struct {
    world *w;
    input in;
    uint32_t liar; /* a node; NODES_MAX: none */
    uint32_t restarts;
    world_disk copies[NODES_MAX];
} fuzz;

static uint32_t take(input *in, uint32_t below)
{
    if (in->left == 0) return 0;
    in->left--;
    return *in->data++ % below;
}

static sk_bytes take_bytes(input *in, size_t len)
{
    if (len > in->left) len = in->left;
    sk_bytes bytes = sk_bytes_of(in->data, len);
    in->data += len;
    in->left -= len;
    return bytes;
}

/* As world_run, but from one moment at which an engine wants something to the next: what happens in between is nothing,
 * or sk_engine_next_ms is wrong. */
static void run(world *w, uint64_t ms)
{
    uint64_t end = w->now_ms + ms;
    while (w->now_ms < end) {
        uint64_t next = end;
        for (uint32_t n = 0; n < w->count; n++)
            if (sk_engine_next_ms(w->nodes[n].engine) < next) next = sk_engine_next_ms(w->nodes[n].engine);
        if (next <= w->now_ms) next = w->now_ms + 1;
        w->wall_ms += next - w->now_ms;
        w->now_ms = next;
        world_links(w);
        world_settle(w);
    }
}

static void check(const world *w)
{
    world_check(w);
    for (uint32_t a = 0; a < w->count; a++)
        for (uint32_t b = 0; b < w->count; b++)
            must(w->queues[a][b].bytes <= w->limits.send_queue_max + QUEUE_SLACK);
}

/* -- lies ---------------------------------------------------------------------------------------------------------- */

static void tell(world *w, uint32_t from, uint32_t to, const uint8_t *data, size_t len)
{
    uint8_t *copy = sk_alloc(len ? len : 1); /* exactly its size, so that a read beyond it is seen */
    if (len) memcpy(copy, data, len);
    sk_engine_message(w->nodes[to].engine, peer_of(w, to, from), sk_bytes_of(copy, len), w->now_ms, w->wall_ms);
    free(copy);
    if (!w->up[from][to]) link_down(w, from, to);
}

/* What is first in the liar's queue, or anything. */
static void lie(fuzz *f)
{
    world *w = f->w;
    uint32_t to = take(&f->in, w->count - 1);
    world_queue *queue = &w->queues[f->liar][to];
    uint32_t kind = take(&f->in, 6);
    if (kind == 0) {
        sk_bytes made_up = take_bytes(&f->in, take(&f->in, 256));
        if (w->up[f->liar][to]) tell(w, f->liar, to, made_up.data, made_up.len);
        return;
    }
    if (queue->count == 0) return;
    sk_bytes *first = &queue->list[queue->head].message;
    uint32_t at = take(&f->in, 256);
    uint8_t byte = (uint8_t)take(&f->in, 256);
    switch (kind) {
    case 1: /* a byte of it is another */
        if (at < first->len) ((uint8_t *)(uintptr_t)first->data)[at] = byte;
        break;
    case 2: /* … so many from its end on */
        if (at < first->len) ((uint8_t *)(uintptr_t)first->data)[first->len - 1 - at] = byte;
        break;
    case 3: /* its end is missing */
        if (at >= first->len) break;
        queue->bytes -= first->len - at;
        first->len = at;
        break;
    case 4: tell(w, f->liar, to, first->data, first->len); break; /* it comes twice */
    default:                                                       /* it comes later than others */
        if (queue->count < 2) break;
        sk_bytes *other = &queue->list[queue->head + 1 + at % (queue->count - 1)].message;
        sk_bytes kept = *first;
        *first = *other;
        *other = kept;
        break;
    }
}

/* -- events -------------------------------------------------------------------------------------------------------- */

static void restart_as_copy(fuzz *f, uint32_t n)
{
    if (!f->copies[n].origins.count || f->restarts == RESTARTS_MAX) return;
    f->restarts++;
    f->w->checks_stable = false; /* what it once had on its disk, it may lack now */
    restart(f->w, n, &f->copies[n], true);
}

/* It dies, and comes back with what the disk has. */
static void crash(fuzz *f, uint32_t n)
{
    world_disk disk;
    node_roll_back(&f->w->nodes[n]);
    copy_disk(&f->w->nodes[n].now, &disk);
    restart(f->w, n, &disk, false);
    disk_free(&disk);
}

/* It stops, as it should: some of what it still had to say arrives. */
static void stop(fuzz *f, uint32_t n, uint32_t at)
{
    world *w = f->w;
    sk_engine_goodbye(w->nodes[n].engine, w->now_ms, w->wall_ms);
    for (uint32_t i = take(&f->in, 8); i > 0; i--) deliver_one(w, n, at);
    crash(f, n);
}

static void write_some(world_node *node, uint32_t count, size_t extra)
{
    for (uint32_t i = 0; i < count && !sk_engine_must_not_write(node->engine); i++) node_write_bytes(node, extra);
}

static void store_event(fuzz *f, world_node *node, uint32_t event)
{
    world *w = f->w;
    switch (event) {
    case 0: node->holds_sync = !node->holds_sync; break;
    case 1: node->fail_apply = (int)take(&f->in, 4); break;
    case 2: node->fail_chunk = (int)take(&f->in, 8); break;
    case 3: node->fail_sink_end = (int)take(&f->in, 3); break;
    case 4: node->fail_incarnation = (int)take(&f->in, 3); break;
    case 5: node->busy = !node->busy; break;
    case 6: node_roll_back(node); break;
    case 7: node_store_failed(node, false); break;
    case 8:
        if (!sk_vv_equal(&node->durable, &node->now.vv)) break;
        disk_free(&f->copies[node->index]);
        copy_disk(&node->now, &f->copies[node->index]);
        break;
    case 9: restart_as_copy(f, node->index); break;
    case 10: crash(f, node->index); break;
    case 11: w->wall_ms += (uint64_t)take(&f->in, 256) << take(&f->in, 32); break;
    case 12: w->wall_ms -= w->wall_ms / (2 + take(&f->in, 256)); break;
    default: node_sync(node); break;
    }
}

static void event(fuzz *f)
{
    world *w = f->w;
    uint32_t kind = take(&f->in, 32), a = take(&f->in, w->count), b = (a + 1 + take(&f->in, w->count - 1)) % w->count;
    world_node *node = &w->nodes[a];
    switch (kind) {
    case 0: set_cut(w, a, b, !w->cut[a][b]); break;
    case 1: link_down(w, a, b); break;
    case 2: w->queues[a][b].stuck = !w->queues[a][b].stuck; break;
    case 3: sk_engine_writable(node->engine, peer_of(w, a, b), w->now_ms, w->wall_ms); break;
    case 4: sk_engine_tick(node->engine, w->now_ms, w->wall_ms); break;
    case 5: stop(f, a, b); break;
    case 6:
        if (!w->up[a][b] && !w->cut[a][b]) link_up(w, a, b);
        break;
    case 7:
    case 8: run(w, 1 + take(&f->in, 40)); break;
    case 9: run(w, 20 * (1 + take(&f->in, 250))); break;
    case 10: write_some(node, 1 + take(&f->in, 30), 0); break;
    case 11: write_some(node, 1, 16 * (size_t)take(&f->in, 256)); break;
    case 12:
    case 13: write_some(node, 1 + take(&f->in, 3), 0); break;
    case 14:
    case 15:
        for (uint32_t i = 1 + take(&f->in, 8); i > 0; i--) deliver_one(w, a, b);
        break;
    case 16:
    case 17:
    case 18:
    case 19:
        if (f->liar != NODES_MAX) lie(f);
        break;
    default: store_event(f, node, kind - 20); break;
    }
}

/* -- beginning and end --------------------------------------------------------------------------------------------- */

static sk_engine_limits small_limits(input *in)
{
    sk_engine_limits limits = world_limits();
    limits.ring_txns_max = take(in, 40);
    limits.held_bytes_max = 200 + 16 * take(in, 256);
    limits.send_queue_max = 200 + 16 * take(in, 256);
    limits.batch_bytes = 1 + 2 * take(in, 256);
    limits.chunk_bytes = 1 + 2 * take(in, 256);
    limits.chunk_max = limits.chunk_bytes + 20; /* most go in pieces */
    limits.transfer_window = 1 + take(in, 4);
    limits.flush_ms = take(in, 10);
    limits.relay_ms = 50 + 4 * take(in, 128);
    return limits;
}

/* As far as those go who did not lie. */
static bool converged(const fuzz *f)
{
    world *w = f->w;
    uint32_t count = w->count;
    if (f->liar != NODES_MAX) w->count--; /* the last */
    bool good = world_converged(w);
    w->count = count;
    return good;
}

static bool stable(const fuzz *f)
{
    for (uint32_t n = 0; n < f->w->count; n++)
        if (!sk_vv_equal(sk_engine_stable(f->w->nodes[n].engine), &f->w->nodes[n].now.vv)) return false;
    return true;
}

static void must_become(fuzz *f, bool (*so)(const fuzz *f))
{
    for (uint64_t end = f->w->now_ms + HEALED_MS; f->w->now_ms < end && !so(f);) run(f->w, 500);
    must(so(f));
    check(f->w);
}

static void heal(fuzz *f)
{
    world *w = f->w;
    for (uint32_t a = 0; a < w->count; a++) {
        world_node *node = &w->nodes[a];
        node->holds_sync = node->busy = false;
        node->fail_apply = node->fail_chunk = node->fail_sink_end = node->fail_incarnation = 0;
        if (node->failed) node_roll_back(node);
        for (uint32_t b = 0; b < w->count; b++) {
            w->queues[a][b].stuck = false;
            if (a < b) set_cut(w, a, b, b == f->liar);
        }
    }
    must_become(f, converged);
    if (f->liar == NODES_MAX) must_become(f, stable);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fuzz f = {.in = {data, size}, .liar = NODES_MAX};
    uint32_t shape = take(&f.in, 4);
    uint32_t count = 2 + shape % 2;
    sk_engine_limits limits = small_limits(&f.in);
    f.w = world_new(count, &limits);
    if (shape & 2) {
        f.liar = count - 1;
        f.w->lenient = true;
    }
    f.w->checks_stable = f.liar == NODES_MAX;
    for (int i = 0; i < EVENTS_MAX && f.in.left > 0; i++) {
        event(&f);
        check(f.w);
    }
    heal(&f);
    for (uint32_t n = 0; n < NODES_MAX; n++) disk_free(&f.copies[n]);
    world_free(f.w);
    return 0;
}
