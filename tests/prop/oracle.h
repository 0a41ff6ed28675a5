/* What a row must hold: a formula over the set of operations, not a second implementation.
 *
 * Origins are canonical numbers, the same for the whole test. At a causally closed vector V
 *
 *   a value, membership or deadline with dot d is there   iff an operation d <= V added it and no e <= V removes it
 *   origin o's share of the sum is                        its increments <= V that no e <= V resets, added up
 *   and o has an entry at all                             iff there is such an increment
 *
 * where e removes (resets) d if it forgets the class and had seen d, if the causal context that it was made with covers
 * d, or if it lists d. */
#ifndef SK_TESTS_ORACLE_H
#define SK_TESTS_ORACLE_H

#include <math.h>
#include <stdlib.h>

#include "crdt/op.h"

typedef struct {
    sk_dot dot;
    sk_hlc hlc;
    sk_vv seen;    /* owned; its own origin at dot.seq - 1 */
    sk_vv context; /* owned; content that it covers is removed; empty: none */
    uint32_t row;
    bool forgets[2]; /* by class */
    bool adds[2];
    sk_entry entry[2]; /* in the arena */
    sk_number delta;   /* of a count */
    sk_removed *removed;
    sk_reset *resets; /* dot, and the epoch, by which increments are listed */
    uint32_t removed_count, reset_count;
} oracle_op;

typedef struct {
    oracle_op *ops; /* owned */
    uint32_t count, room;
    sk_arena arena;
} oracle;

static inline void oracle_free(oracle *all)
{
    for (uint32_t i = 0; i < all->count; i++) {
        sk_vv_free(&all->ops[i].seen);
        sk_vv_free(&all->ops[i].context);
    }
    free(all->ops);
    sk_arena_free(&all->arena);
}

/* Keeps only the operations that `keep` covers: the rest never happened. */
static inline void oracle_void(oracle *all, uint32_t origin, uint64_t above)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < all->count; i++) {
        if (all->ops[i].dot.origin == origin && all->ops[i].dot.seq > above) {
            sk_vv_free(&all->ops[i].seen);
            sk_vv_free(&all->ops[i].context);
        } else {
            all->ops[kept++] = all->ops[i];
        }
    }
    all->count = kept;
}

static inline void *oracle_copy(oracle *all, const void *from, size_t bytes)
{
    void *copy = sk_arena_take(&all->arena, bytes + 1);
    if (bytes) memcpy(copy, from, bytes);
    return copy;
}

/* Records an operation in canonical numbers. `context` may be NULL. */
static inline oracle_op *oracle_record(oracle *all, uint32_t row, const sk_op *op, sk_dot dot, sk_hlc hlc,
                                       const sk_vv *seen, const sk_vv *context)
{
    if (all->count == all->room) {
        all->room = all->room ? all->room * 2 : 64;
        all->ops = sk_realloc(all->ops, all->room * sizeof *all->ops);
    }
    oracle_op *made = &all->ops[all->count++];
    *made = (oracle_op){.dot = dot, .hlc = hlc, .row = row};
    sk_vv_copy(&made->seen, seen);
    sk_vv_set(&made->seen, dot.origin, dot.seq - 1);
    if (context) sk_vv_copy(&made->context, context);
    made->forgets[SK_CLASS_CONTENT] = op->forgets_content;
    made->forgets[SK_CLASS_DEADLINE] = op->forgets_deadlines;
    made->adds[SK_CLASS_CONTENT] = op->has_content;
    made->adds[SK_CLASS_DEADLINE] = op->has_deadline;
    made->entry[SK_CLASS_CONTENT] = op->content;
    made->entry[SK_CLASS_DEADLINE] = op->deadline;
    for (int class = 0; class < 2; class ++) {
        made->entry[class].dot = dot;
        made->entry[class].hlc = hlc;
    }
    made->entry[0].value = sk_arena_copy(&all->arena, op->has_content ? op->content.value : SK_BYTES_NONE);
    made->removed_count = op->removed_count;
    made->removed = oracle_copy(all, op->removed, op->removed_count * sizeof *op->removed);
    made->reset_count = op->reset_count;
    made->resets = oracle_copy(all, op->resets, op->reset_count * sizeof *op->resets);
    return made;
}

/* What an increment added: against the total that its origin had reached in the same epoch. */
static inline sk_number oracle_delta(const oracle *all, uint32_t row, sk_dot dot, const sk_count *count)
{
    const oracle_op *last = NULL;
    for (uint32_t i = 0; i < all->count; i++) {
        const oracle_op *op = &all->ops[i];
        if (op->row != row || op->dot.origin != dot.origin || op->dot.seq >= dot.seq) continue;
        if (!op->adds[0] || op->entry[0].kind != SK_ENTRY_COUNT || op->entry[0].count.epoch != count->epoch) continue;
        if (!last || op->dot.seq > last->dot.seq) last = op;
    }
    if (!last) return count->total;
    sk_number before = last->entry[0].count.total, delta = count->total;
    if (!count->total.is_real) return sk_number_whole(count->total.whole - before.whole);
    delta.real -= sk_number_as_real(before);
    return delta;
}

static inline bool oracle_removes(const oracle_op *by, const oracle_op *added, sk_entry_class class)
{
    if (by->row != added->row) return false;
    if (by->forgets[class] && sk_vv_covers(&by->seen, added->dot)) return true;
    if (class == SK_CLASS_CONTENT && sk_vv_covers(&by->context, added->dot)) return true;
    for (uint32_t i = 0; i < by->removed_count; i++)
        if (by->removed[i].class == class && by->removed[i].dot.origin == added->dot.origin &&
            by->removed[i].dot.seq == added->dot.seq)
            return true;
    if (class != SK_CLASS_CONTENT || added->entry[0].kind != SK_ENTRY_COUNT) return false;
    for (uint32_t i = 0; i < by->reset_count; i++)
        if (by->resets[i].dot.origin == added->dot.origin && by->resets[i].epoch == added->entry[0].count.epoch &&
            by->resets[i].dot.seq >= added->dot.seq)
            return true;
    return false;
}

static inline bool oracle_lives(const oracle *all, const oracle_op *added, sk_entry_class class, const sk_vv *vv)
{
    for (uint32_t i = 0; i < all->count; i++)
        if (sk_vv_covers(vv, all->ops[i].dot) && oracle_removes(&all->ops[i], added, class)) return false;
    return true;
}

/* The live entries of a row at V, in the arena. Counts: `total` is what origin's share must be, base none. */
static inline sk_row oracle_row(const oracle *all, uint32_t row, const sk_vv *vv, sk_arena *arena)
{
    sk_row out = {0};
    out.entries = sk_arena_take(arena, (2 * (size_t)all->count + 1) * sizeof *out.entries);
    for (uint32_t i = 0; i < all->count; i++) {
        const oracle_op *op = &all->ops[i];
        if (op->row != row || !sk_vv_covers(vv, op->dot)) continue;
        for (int class = 0; class < 2; class ++) {
            if (!op->adds[class] || !oracle_lives(all, op, (sk_entry_class)class, vv)) continue;
            sk_entry entry = op->entry[class];
            sk_entry *share = NULL;
            for (uint32_t k = 0; k < out.count && entry.kind == SK_ENTRY_COUNT; k++)
                if (out.entries[k].kind == SK_ENTRY_COUNT && out.entries[k].dot.origin == entry.dot.origin)
                    share = &out.entries[k];
            if (entry.kind == SK_ENTRY_COUNT) entry.count = (sk_count){.epoch = 1, .total = op->delta};
            if (!share) {
                out.entries[out.count++] = entry;
                continue;
            }
            (void)sk_number_add(share->count.total, entry.count.total, &share->count.total);
            if (entry.dot.seq < share->dot.seq) continue;
            share->dot = entry.dot;
            share->hlc = entry.hlc;
        }
    }
    sk_row_sort(&out);
    return out;
}

static inline bool oracle_same_entry(const sk_entry *have, const sk_entry *want)
{
    if (have->kind != want->kind || have->hlc != want->hlc) return false;
    if (have->dot.origin != want->dot.origin || have->dot.seq != want->dot.seq) return false;
    long double share = sk_number_as_real(have->count.total);
    if (have->count.base_seq) share -= sk_number_as_real(have->count.base);
    switch (have->kind) {
    case SK_ENTRY_VALUE: return sk_bytes_equal(have->value, want->value);
    case SK_ENTRY_COUNT: return fabsl(share - sk_number_as_real(want->count.total)) == 0;
    case SK_ENTRY_MEMBER: return true;
    case SK_ENTRY_DEADLINE: return have->deadline_ms == want->deadline_ms;
    }
    return false;
}

/* True if the live entries of `have` (canonical numbers) are those of `want`. */
static inline bool oracle_same(const sk_row *have, const sk_row *want)
{
    uint32_t at = 0;
    for (uint32_t i = 0; i < have->count; i++) {
        if (!sk_entry_live(&have->entries[i])) continue;
        if (at == want->count || !oracle_same_entry(&have->entries[i], &want->entries[at++])) return false;
    }
    return at == want->count;
}

static inline void oracle_tell_row(const sk_row *row, sk_buf *text)
{
    static const char *const kinds[] = {"?", "value", "count", "member", "deadline"};
    sk_buf_printf(text, "{");
    for (uint32_t i = 0; i < row->count; i++) {
        const sk_entry *entry = &row->entries[i];
        sk_buf_printf(text, "%s%s %u:%llu", i ? ", " : "", kinds[entry->kind], entry->dot.origin,
                      (unsigned long long)entry->dot.seq);
        if (entry->kind != SK_ENTRY_COUNT) continue;
        sk_buf_printf(text, " (%Lg", sk_number_as_real(entry->count.total));
        if (entry->count.base_seq)
            sk_buf_printf(text, " - %Lg at %llu", sk_number_as_real(entry->count.base),
                          (unsigned long long)entry->count.base_seq);
        sk_buf_printf(text, ", epoch %llu%s)", (unsigned long long)entry->count.epoch,
                      sk_entry_live(entry) ? "" : ", dead");
    }
    sk_buf_printf(text, "}");
}

#endif
