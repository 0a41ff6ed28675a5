/* A few sites that share one row: local operations, live delivery, staged transfers, forgetting; each step is held
 * against the oracle. Each site numbers the origins in its own way, so that every exchange goes through the packed
 * forms and an origin map. */
#ifndef SK_TESTS_ROW_WORLD_H
#define SK_TESTS_ROW_WORLD_H

#include "crdt/register_mv.h"
#include "tests/prop/oracle.h"
#include "tests/prop/prop.h"

enum { SITES_MAX = 4, SENT_MAX = 160 };

typedef struct {
    sk_vv vv;   /* in the site's own numbers, like all of it */
    sk_buf row; /* packed */
    sk_hlc clock;
    sk_vv context; /* what a client read some time ago */
    sk_reset resets[SITES_MAX];
    uint32_t reset_count;
    bool staged; /* a transfer is staged, not yet visible */
    sk_vv staged_vv;
    sk_buf staged_row;
    sk_vv acked[SITES_MAX]; /* canonical: what it knows that the others have */
} site;

typedef struct {
    sk_dot dot; /* canonical */
    sk_hlc hlc;
    sk_vv seen;    /* canonical */
    sk_buf packed; /* in the numbers of the site that made it */
} sent_op;

typedef struct {
    uint32_t count;
    site sites[SITES_MAX];
    sent_op sent[SENT_MAX];
    uint32_t sent_count;
    sk_origins origins; /* canonical */
    sk_origin_map maps[SITES_MAX + 1][SITES_MAX + 1]; /* [to][from]; the last one is canonical */
    oracle oracle;
    sk_arena arena;
} row_world;

static inline uint32_t world_own(const row_world *world, uint32_t at, uint32_t canonical)
{
    return at == SITES_MAX ? canonical : (canonical + at) % world->count;
}

static inline void world_start(row_world *world, uint32_t count)
{
    memset(world, 0, sizeof *world);
    world->count = count;
    for (uint32_t o = 0; o < count; o++) {
        char region[] = {(char)('a' + o), 0};
        uint32_t number;
        (void)sk_origins_intern(&world->origins, sk_bytes_str(region), o, &number);
    }
    for (uint32_t to = 0; to <= SITES_MAX; to++)
        for (uint32_t from = 0; from <= SITES_MAX; from++)
            for (uint32_t o = 0; o < count; o++)
                (void)sk_origin_map_set(&world->maps[to][from], world_own(world, from, o), world_own(world, to, o));
}

static inline void world_end(row_world *world)
{
    for (uint32_t s = 0; s < SITES_MAX; s++) {
        site *at = &world->sites[s];
        sk_vv_free(&at->vv);
        sk_buf_free(&at->row);
        sk_vv_free(&at->context);
        sk_vv_free(&at->staged_vv);
        sk_buf_free(&at->staged_row);
        for (uint32_t o = 0; o < SITES_MAX; o++) sk_vv_free(&at->acked[o]);
    }
    for (uint32_t i = 0; i < world->sent_count; i++) {
        sk_vv_free(&world->sent[i].seen);
        sk_buf_free(&world->sent[i].packed);
    }
    for (uint32_t to = 0; to <= SITES_MAX; to++)
        for (uint32_t from = 0; from <= SITES_MAX; from++) sk_origin_map_free(&world->maps[to][from]);
    sk_origins_free(&world->origins);
    oracle_free(&world->oracle);
    sk_arena_free(&world->arena);
}

/* A vector in the numbers of `to`. `out` is written over. */
static inline void world_vv(const row_world *world, uint32_t to, uint32_t from, const sk_vv *vv, sk_vv *out)
{
    for (uint32_t o = 0; o < out->count; o++) out->seq[o] = 0;
    for (uint32_t o = 0; o < vv->count; o++) sk_vv_set(out, sk_origin_map_get(&world->maps[to][from], o), vv->seq[o]);
}

static inline sk_row world_row(row_world *world, sk_bytes packed, const sk_origin_map *map)
{
    sk_row row;
    sk_assert(sk_row_read(packed, map, &world->arena, &row) == 0);
    return row;
}

static inline sk_row world_site_row(row_world *world, uint32_t at)
{
    return world_row(world, sk_buf_view(&world->sites[at].row), NULL);
}

/* A site's live row in canonical numbers. */
static inline sk_row world_canonical(row_world *world, uint32_t at)
{
    return world_row(world, sk_buf_view(&world->sites[at].row), &world->maps[SITES_MAX][at]);
}

/* Values may be borrowed from what is written over. */
static inline void world_put(row_world *world, uint32_t at, const sk_row *row)
{
    sk_buf packed = {0};
    sk_row_check(row);
    sk_row_pack(&packed, row, false);
    sk_buf_free(&world->sites[at].row);
    world->sites[at].row = packed;
}

/* -- events -------------------------------------------------------------------------------------------------------- */

typedef enum {
    EVENT_SET,      /* the first ones are operations */
    EVENT_DEL,
    EVENT_INCR,
    EVENT_INCR_REAL,
    EVENT_DEADLINE,
    EVENT_PERSIST,
    EVENT_MEMBER,
    EVENT_RESOLVE, /* a write in the place of what the context covers */
    EVENT_DROP,    /* a removal of that */
    EVENT_CONTEXT, /* a client reads */
    EVENT_DELIVER,
    EVENT_STAGE,
    EVENT_COMPLETE,
    EVENT_ACK,
    EVENT_FORGET,
    EVENT_KINDS
} event_kind;

static inline void world_tell(const prop_event *event, sk_buf *text)
{
    static const char *const names[] = {"SET",     "DEL",      "INCR",   "INCRBYFLOAT", "EXPIRE",
                                        "PERSIST", "SADD",     "RESOLVE", "RESOLVE to nothing", "reads a context",
                                        "receives the next operation of", "stages a transfer from", "completes it",
                                        "hears the acknowledgement of", "forgets"};
    sk_buf_printf(text, "%c %s", 'a' + (int)event->a, names[event->kind]);
    if (event->kind == EVENT_DELIVER || event->kind == EVENT_STAGE || event->kind == EVENT_ACK)
        sk_buf_printf(text, " %c", 'a' + (int)event->b);
    if (event->kind <= EVENT_DROP) sk_buf_printf(text, " (%u)", event->x);
}

static inline void world_context(row_world *world, uint32_t at)
{
    site *here = &world->sites[at];
    sk_row row = world_site_row(world, at);
    sk_vv_copy(&here->context, &here->vv);
    here->reset_count = 0;
    for (uint32_t i = 0; i < row.count; i++)
        if (row.entries[i].kind == SK_ENTRY_COUNT && sk_entry_live(&row.entries[i]))
            here->resets[here->reset_count++] =
                (sk_reset){row.entries[i].dot, row.entries[i].count.epoch, row.entries[i].count.total};
}

/* As a command does that was given an old context. */
static inline void world_remove_context(row_world *world, const site *here, const sk_row *row, sk_op *op)
{
    op->removed = sk_arena_take(&world->arena, (row->count + 1) * sizeof *op->removed);
    op->resets = sk_arena_take(&world->arena, SITES_MAX * sizeof *op->resets);
    for (uint32_t i = 0; i < row->count; i++)
        if (row->entries[i].kind != SK_ENTRY_DEADLINE && row->entries[i].kind != SK_ENTRY_COUNT &&
            sk_vv_covers(&here->context, row->entries[i].dot))
            op->removed[op->removed_count++] = (sk_removed){row->entries[i].dot, SK_CLASS_CONTENT};
    for (uint32_t i = 0; i < here->reset_count; i++) {
        const sk_entry *count = sk_row_count_of(row, here->resets[i].dot.origin);
        if (count && count->count.epoch == here->resets[i].epoch && count->dot.seq >= here->resets[i].dot.seq)
            op->resets[op->reset_count++] = here->resets[i];
    }
}

static inline void world_make(row_world *world, const prop_event *event, sk_dot dot, const sk_row *row, sk_op *op)
{
    site *here = &world->sites[event->a];
    char *text = sk_arena_take(&world->arena, 16);
    sk_bytes value = sk_bytes_of(text, (size_t)snprintf(text, 16, "v%u", event->x));
    switch ((event_kind)event->kind) {
    case EVENT_SET: (void)sk_register_write(op, row, dot.origin, value, &world->arena); break;
    case EVENT_DEL: (void)sk_register_remove(op, row, dot.origin, event->x & 1, &world->arena); break;
    case EVENT_INCR: (void)sk_register_add(op, row, dot, sk_number_whole((int64_t)event->x - 3)); break;
    case EVENT_INCR_REAL: (void)sk_register_add(op, row, dot, sk_number_real((event->x - 3.0L) / 4)); break;
    case EVENT_MEMBER:
        (void)sk_register_write(op, row, dot.origin, SK_BYTES_NONE, &world->arena);
        op->content.kind = SK_ENTRY_MEMBER;
        break;
    case EVENT_RESOLVE:
        op->has_content = true;
        op->content = (sk_entry){.kind = SK_ENTRY_VALUE, .value = value};
        world_remove_context(world, here, row, op);
        break;
    case EVENT_DROP: world_remove_context(world, here, row, op); break;
    default:
        op->forgets_deadlines = op->has_deadline = true;
        op->deadline = (sk_entry){.kind = SK_ENTRY_DEADLINE};
        op->deadline.deadline_ms = event->kind == EVENT_PERSIST ? SK_DEADLINE_NEVER : 1000 + event->x;
    }
}

/* A local operation, recorded with the oracle and kept for delivery. */
static inline void world_operate(row_world *world, const prop_event *event)
{
    uint32_t at = event->a;
    site *here = &world->sites[at];
    if (world->sent_count == SENT_MAX) return;
    sk_dot own = {world_own(world, at, at), sk_vv_get(&here->vv, world_own(world, at, at)) + 1}, dot = {at, own.seq};
    sk_row row = world_site_row(world, at), after;
    sk_op op = {.key = sk_bytes_str("kkey")};
    world_make(world, event, own, &row, &op);
    sk_hlc hlc = sk_hlc_tick(&here->clock, 1000 + event->x);
    sent_op *sent = &world->sent[world->sent_count++];
    sent->dot = dot;
    sent->hlc = hlc;
    world_vv(world, SITES_MAX, at, &here->vv, &sent->seen);
    sk_op_pack(&sent->packed, &op);
    sk_assert(sk_op_apply(&op, own, hlc, &here->vv, &row, &world->arena, &after, NULL) == 0);
    world_put(world, at, &after);
    sk_vv_set(&here->vv, own.origin, own.seq);

    sk_op plain = op; /* the oracle goes by what the client asked for, not by the lists that came of it */
    plain.reset_count = plain.removed_count = 0;
    bool scoped = event->kind == EVENT_RESOLVE || event->kind == EVENT_DROP;
    sk_vv context = {0};
    if (scoped) world_vv(world, SITES_MAX, at, &here->context, &context);
    oracle_op *made = oracle_record(&world->oracle, 0, &plain, dot, hlc, &sent->seen, scoped ? &context : NULL);
    if (event->kind == EVENT_INCR) made->delta = sk_number_whole((int64_t)event->x - 3);
    if (event->kind == EVENT_INCR_REAL) made->delta = sk_number_real((event->x - 3.0L) / 4);
    sk_vv_free(&context);
}

static inline const sent_op *world_sent(const row_world *world, uint32_t origin, uint64_t seq)
{
    for (uint32_t i = 0; i < world->sent_count; i++)
        if (world->sent[i].dot.origin == origin && world->sent[i].dot.seq == seq) return &world->sent[i];
    return NULL;
}

/* The next operation of `from` arrives; without effect if there is none or its causes are missing. */
static inline bool world_deliver(row_world *world, uint32_t at, uint32_t from)
{
    site *here = &world->sites[at];
    uint32_t origin = world_own(world, at, from);
    const sent_op *sent = world_sent(world, from, sk_vv_get(&here->vv, origin) + 1);
    sk_vv seen = {0};
    if (sent) world_vv(world, at, SITES_MAX, &sent->seen, &seen);
    bool ready = sent && sk_vv_at_most(&seen, &here->vv);
    if (ready) {
        sk_row row = world_site_row(world, at), after;
        sk_op op;
        sk_dot dot = {origin, sent->dot.seq};
        sk_reader reader = sk_reader_of(sk_buf_view(&sent->packed));
        sk_assert(sk_op_read(&reader, &world->maps[at][from], dot, sent->hlc, &world->arena, &op) == 0);
        sk_assert(sk_reader_done(&reader));
        sk_assert(sk_op_apply(&op, dot, sent->hlc, &seen, &row, &world->arena, &after, NULL) == 0);
        world_put(world, at, &after);
        sk_vv_set(&here->vv, origin, dot.seq);
    }
    sk_vv_free(&seen);
    return ready;
}

static inline void world_stage(row_world *world, uint32_t at, uint32_t from)
{
    site *here = &world->sites[at];
    sk_row row = world_row(world, sk_buf_view(&world->sites[from].row), &world->maps[at][from]);
    sk_buf_reset(&here->staged_row);
    sk_row_pack(&here->staged_row, &row, false);
    world_vv(world, at, from, &world->sites[from].vv, &here->staged_vv);
    here->staged = true;
}

static inline void world_complete(row_world *world, uint32_t at)
{
    site *here = &world->sites[at];
    if (!here->staged) return;
    sk_row r = world_site_row(world, at), s = world_row(world, sk_buf_view(&here->staged_row), NULL), merged;
    sk_assert(sk_row_merge(&s, &here->staged_vv, &r, &here->vv, &world->arena, &merged) == 0);
    world_put(world, at, &merged);
    sk_vv_join(&here->vv, &here->staged_vv);
    here->staged = false;
}

/* Forgets what is stable, when that is allowed: invariant 3 of gossip/engine.h. */
static inline void world_forget(row_world *world, uint32_t at)
{
    site *here = &world->sites[at];
    sk_vv stable = {0}, own = {0};
    world_vv(world, SITES_MAX, at, &here->vv, &stable);
    sk_vv_copy(&own, &stable);
    bool allowed = true;
    for (uint32_t o = 0; o < world->count; o++) {
        if (o == at) continue;
        sk_vv_meet(&stable, &here->acked[o]);
        allowed = allowed && sk_vv_get(&here->acked[o], o) <= sk_vv_get(&own, o);
    }
    if (allowed) {
        sk_vv ours = {0};
        world_vv(world, at, SITES_MAX, &stable, &ours);
        sk_row row = world_site_row(world, at);
        sk_row_strip(&row, &ours, NULL, NULL);
        world_put(world, at, &row);
        sk_vv_free(&ours);
    }
    sk_vv_free(&stable);
    sk_vv_free(&own);
}

static inline void world_do(row_world *world, const prop_event *event)
{
    sk_arena_reset(&world->arena);
    switch ((event_kind)event->kind) {
    case EVENT_CONTEXT: world_context(world, event->a); break;
    case EVENT_DELIVER: (void)world_deliver(world, event->a, event->b); break;
    case EVENT_STAGE: world_stage(world, event->a, event->b); break;
    case EVENT_COMPLETE: world_complete(world, event->a); break;
    case EVENT_ACK:
        world_vv(world, SITES_MAX, event->b, &world->sites[event->b].vv, &world->sites[event->a].acked[event->b]);
        break;
    case EVENT_FORGET: world_forget(world, event->a); break;
    default: world_operate(world, event);
    }
}

/* -- what must hold ------------------------------------------------------------------------------------------------ */

/* The site's row is what the history says. */
static inline bool world_holds(row_world *world, uint32_t at, sk_buf *why)
{
    sk_vv vv = {0};
    world_vv(world, SITES_MAX, at, &world->sites[at].vv, &vv);
    sk_row have = world_canonical(world, at), want = oracle_row(&world->oracle, 0, &vv, &world->arena);
    bool same = oracle_same(&have, &want);
    if (!same) {
        sk_buf_printf(why, "%c has ", 'a' + (int)at);
        oracle_tell_row(&have, why);
        sk_buf_printf(why, ", the history says ");
        oracle_tell_row(&want, why);
    }
    sk_vv_free(&vv);
    return same;
}

/* Equal vectors, equal bytes (of what lives) and digests. */
static inline bool world_agree(row_world *world, uint32_t a, uint32_t b, sk_buf *why)
{
    sk_vv first = {0}, second = {0};
    sk_buf packed[2] = {{0}, {0}};
    world_vv(world, SITES_MAX, a, &world->sites[a].vv, &first);
    world_vv(world, SITES_MAX, b, &world->sites[b].vv, &second);
    bool same = true;
    if (sk_vv_equal(&first, &second)) {
        sk_row one = world_canonical(world, a), two = world_canonical(world, b);
        sk_bytes key = sk_bytes_str("kkey");
        same = sk_row_digest(&world->origins, key, &one) == sk_row_digest(&world->origins, key, &two);
        sk_row_strip(&one, NULL, NULL, NULL);
        sk_row_strip(&two, NULL, NULL, NULL);
        sk_row_pack(&packed[0], &one, false);
        sk_row_pack(&packed[1], &two, false);
        same = same && sk_bytes_equal(sk_buf_view(&packed[0]), sk_buf_view(&packed[1]));
        if (!same) {
            sk_buf_printf(why, "the same vector, but %c has ", 'a' + (int)a);
            oracle_tell_row(&one, why);
            sk_buf_printf(why, " and %c ", 'a' + (int)b);
            oracle_tell_row(&two, why);
        }
    }
    sk_buf_free(&packed[0]);
    sk_buf_free(&packed[1]);
    sk_vv_free(&first);
    sk_vv_free(&second);
    return same;
}

static inline bool world_check(row_world *world, uint32_t at, sk_buf *why)
{
    if (!world_holds(world, at, why)) return false;
    for (uint32_t o = 0; o < world->count; o++)
        if (o != at && !world_agree(world, at, o, why)) return false;
    return true;
}

/* Everybody hears everything, and forgets: then nothing dead is left. */
static inline bool world_settle(row_world *world, sk_buf *why)
{
    for (uint32_t round = 0; round < world->count * world->sent_count; round++)
        for (uint32_t at = 0; at < world->count; at++)
            for (uint32_t from = 0; from < world->count; from++)
                if (at != from) (void)world_deliver(world, at, from);
    for (uint32_t at = 0; at < world->count; at++) {
        for (uint32_t o = 0; o < world->count; o++)
            world_do(world, &(prop_event){.kind = EVENT_ACK, .a = at, .b = o});
        if (!world_check(world, at, why)) return false;
        world_do(world, &(prop_event){.kind = EVENT_FORGET, .a = at});
        if (!world_check(world, at, why)) return false;
        sk_row row = world_site_row(world, at);
        for (uint32_t i = 0; i < row.count; i++) {
            if (sk_entry_live(&row.entries[i])) continue;
            sk_buf_printf(why, "%c still holds a dead count when all is stable: ", 'a' + (int)at);
            oracle_tell_row(&row, why);
            return false;
        }
    }
    return true;
}

#endif
