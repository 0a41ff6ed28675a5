#include "tests/sim/oracle.h"

#include <stdio.h>
#include <stdlib.h>

/* -- origins and rows ---------------------------------------------------------------------------------------------- */

uint32_t sim_oracle_origin(sim_oracle *oracle, const sk_origin *origin)
{
    for (uint32_t i = 0; i < oracle->origin_count; i++)
        if (oracle->origins[i].incarnation == origin->incarnation &&
            strcmp(oracle->origins[i].region, origin->region) == 0)
            return i;
    oracle->origins = sk_realloc(oracle->origins, (oracle->origin_count + 1) * sizeof *oracle->origins);
    sim_origin *added = &oracle->origins[oracle->origin_count];
    *added = (sim_origin){.incarnation = origin->incarnation};
    memcpy(added->region, origin->region, sizeof added->region);
    return oracle->origin_count++;
}

static uint64_t hash_bytes(sk_bytes bytes)
{
    uint64_t hash = 14695981039346656037u;
    for (size_t i = 0; i < bytes.len; i++) hash = (hash ^ bytes.data[i]) * 1099511628211u;
    return hash ^ hash >> 29;
}

static uint32_t slot_of(const sim_oracle *oracle, sk_bytes raw)
{
    uint32_t mask = oracle->index_size - 1, slot = (uint32_t)hash_bytes(raw) & mask;
    while (oracle->index[slot] && !sk_bytes_equal(oracle->rows[oracle->index[slot] - 1].raw, raw))
        slot = (slot + 1) & mask;
    return slot;
}

sim_row *sim_oracle_row(sim_oracle *oracle, sk_bytes raw)
{
    if (oracle->index_size == 0) return NULL;
    uint32_t found = oracle->index[slot_of(oracle, raw)];
    return found ? &oracle->rows[found - 1] : NULL;
}

static sk_bytes copy_bytes(sk_bytes bytes)
{
    uint8_t *copy = sk_alloc(bytes.len + 1);
    if (bytes.len) memcpy(copy, bytes.data, bytes.len);
    return sk_bytes_of(copy, bytes.len);
}

static uint32_t add_row(sim_oracle *oracle, sk_bytes raw)
{
    sim_row *row = sim_oracle_row(oracle, raw);
    if (row) return (uint32_t)(row - oracle->rows);
    if (oracle->row_count == oracle->row_room) {
        oracle->row_room = oracle->row_room ? oracle->row_room * 2 : 32;
        oracle->rows = sk_realloc(oracle->rows, oracle->row_room * sizeof *oracle->rows);
    }
    oracle->rows[oracle->row_count++] = (sim_row){.raw = copy_bytes(raw)};
    if (oracle->row_count * 2 > oracle->index_size) {
        free(oracle->index);
        oracle->index_size = oracle->index_size ? oracle->index_size * 2 : 64;
        oracle->index = sk_alloc(oracle->index_size * sizeof *oracle->index);
        for (uint32_t i = 0; i < oracle->row_count; i++) oracle->index[slot_of(oracle, oracle->rows[i].raw)] = i + 1;
    } else {
        oracle->index[slot_of(oracle, raw)] = oracle->row_count;
    }
    return oracle->row_count - 1;
}

/* -- dropping what never happened ---------------------------------------------------------------------------------- */

static void free_txn(sim_txn *txn)
{
    for (uint32_t i = 0; i < txn->op_count; i++) {
        free((void *)(uintptr_t)txn->ops[i].content.value.data);
        free(txn->ops[i].removers[0]);
        free(txn->ops[i].removers[1]);
    }
    free(txn->ops);
    sk_vv_free(&txn->seen);
    free(txn);
}

static void drop_removers(sim_op *op, uint32_t origin, uint64_t from)
{
    for (int class = 0; class < 2; class ++) {
        uint32_t kept = 0;
        for (uint32_t i = 0; i < op->remover_count[class]; i++) {
            sk_dot dot = op->removers[class][i];
            if (dot.origin != origin || dot.seq < from) op->removers[class][kept++] = dot;
        }
        op->remover_count[class] = kept;
    }
}

static void truncate_origin(sim_oracle *oracle, uint32_t number, uint64_t from)
{
    sim_origin *origin = &oracle->origins[number];
    for (uint32_t r = 0; r < oracle->row_count; r++) {
        sim_row *row = &oracle->rows[r];
        uint32_t kept = 0;
        for (uint32_t i = 0; i < row->count; i++) {
            sim_op *op = row->ops[i];
            if (op->txn->dot.origin == number && op->txn->dot.seq >= from) continue;
            drop_removers(op, number, from);
            row->ops[kept++] = op;
        }
        row->count = kept;
    }
    for (uint64_t seq = from; seq <= origin->count; seq++) free_txn(origin->txns[seq - 1]);
    oracle->reused += origin->count - (from - 1);
    origin->count = from - 1;
}

void sim_oracle_free(sim_oracle *oracle)
{
    for (uint32_t o = 0; o < oracle->origin_count; o++) {
        for (uint64_t i = 0; i < oracle->origins[o].count; i++) free_txn(oracle->origins[o].txns[i]);
        free(oracle->origins[o].txns);
    }
    for (uint32_t r = 0; r < oracle->row_count; r++) {
        free((void *)(uintptr_t)oracle->rows[r].raw.data);
        free(oracle->rows[r].ops);
    }
    free(oracle->origins);
    free(oracle->rows);
    free(oracle->index);
    *oracle = (sim_oracle){0};
}

/* -- recording ----------------------------------------------------------------------------------------------------- */

typedef struct {
    sim_oracle *oracle;
    const uint32_t *map;
    uint32_t map_count;
} numbering;

static uint32_t canonical(const numbering *to, uint32_t origin)
{
    if (origin < to->map_count) return to->map[origin];
    snprintf(to->oracle->error, sizeof to->oracle->error, "an operation names origin %u, which its node does not know",
             origin);
    return 0;
}

/* An operation that knew of another remover adds nothing: whoever has the one has the other. */
static void add_remover(sim_op *removed, sk_entry_class class, const sim_txn *by)
{
    for (uint32_t i = 0; i < removed->remover_count[class]; i++)
        if (sk_vv_covers(&by->seen, removed->removers[class][i])) return;
    uint32_t count = removed->remover_count[class]++;
    removed->removers[class] = sk_realloc(removed->removers[class], (count + 1) * sizeof(sk_dot));
    removed->removers[class][count] = by->dot;
}

static bool lists_removed(const numbering *to, const sk_op *op, sk_dot dot, sk_entry_class class)
{
    for (uint32_t i = 0; i < op->removed_count; i++)
        if (op->removed[i].class == class && op->removed[i].dot.seq == dot.seq &&
            canonical(to, op->removed[i].dot.origin) == dot.origin)
            return true;
    return false;
}

static bool lists_reset(const numbering *to, const sk_op *op, const sim_op *increment)
{
    for (uint32_t i = 0; i < op->reset_count; i++)
        if (canonical(to, op->resets[i].dot.origin) == increment->txn->dot.origin &&
            op->resets[i].epoch == increment->content.count.epoch && op->resets[i].dot.seq >= increment->txn->dot.seq)
            return true;
    return false;
}

static void mark_removed(const numbering *to, const sk_op *op, const sim_txn *by, sim_op *earlier)
{
    sk_dot dot = earlier->txn->dot;
    bool seen = sk_vv_covers(&by->seen, dot);
    if (earlier->has_content) {
        bool listed = earlier->content.kind == SK_ENTRY_COUNT ? lists_reset(to, op, earlier)
                                                              : lists_removed(to, op, dot, SK_CLASS_CONTENT);
        if (listed && !seen)
            snprintf(to->oracle->error, sizeof to->oracle->error,
                     "an operation of origin %u removes %u:%llu, which it had not seen", by->dot.origin, dot.origin,
                     (unsigned long long)dot.seq);
        if (listed || (op->forgets_content && seen)) add_remover(earlier, SK_CLASS_CONTENT, by);
    }
    if (earlier->has_deadline && ((op->forgets_deadlines && seen) || lists_removed(to, op, dot, SK_CLASS_DEADLINE)))
        add_remover(earlier, SK_CLASS_DEADLINE, by);
}

/* What an increment added: its total against the one before it of the same epoch. */
static void work_out_delta(sim_oracle *oracle, const sim_row *row, sim_op *op)
{
    const sk_count *count = &op->content.count;
    const sim_op *before = NULL;
    for (uint32_t i = 0; i < row->count; i++)
        if (row->ops[i]->txn->dot.origin == op->txn->dot.origin && row->ops[i]->has_content &&
            row->ops[i]->content.kind == SK_ENTRY_COUNT && row->ops[i]->content.count.epoch == count->epoch)
            before = row->ops[i];
    op->delta = count->total;
    if (!before) {
        if (count->epoch != op->txn->dot.seq)
            snprintf(oracle->error, sizeof oracle->error, "an increment goes on with an epoch that never began");
        return;
    }
    sk_number old = before->content.count.total;
    old.whole = -old.whole;
    old.real = -old.real;
    if (!sk_number_add(count->total, old, &op->delta))
        snprintf(oracle->error, sizeof oracle->error, "an increment is too large");
}

static void record_op(const numbering *to, sim_txn *txn, uint32_t at, const sk_op *op)
{
    sim_oracle *oracle = to->oracle;
    sim_op *made = &txn->ops[at];
    *made = (sim_op){
        .txn = txn,
        .row = add_row(oracle, op->key),
        .has_content = op->has_content,
        .has_deadline = op->has_deadline,
        .forgets_content = op->forgets_content,
        .forgets_deadlines = op->forgets_deadlines,
        .content = op->content,
        .deadline = op->deadline,
    };
    made->content.dot = made->deadline.dot = txn->dot;
    made->content.hlc = made->deadline.hlc = txn->hlc;
    made->content.value = op->content.value.data ? copy_bytes(op->content.value) : SK_BYTES_NONE;
    sim_row *row = &oracle->rows[made->row];
    if (made->has_content && made->content.kind == SK_ENTRY_COUNT) work_out_delta(oracle, row, made);
    for (uint32_t i = 0; i < row->count; i++) mark_removed(to, op, txn, row->ops[i]);
    if (row->count == row->room) {
        row->room = row->room ? row->room * 2 : 8;
        row->ops = sk_realloc(row->ops, row->room * sizeof *row->ops);
    }
    row->ops[row->count++] = made;
}

/* What a later incarnation of the region wrote, that had seen the dot, went with the same loss, if it was not acknowledged either. */
static bool goes_with_it(sim_oracle *oracle, uint32_t other, sk_dot dot)
{
    const sim_origin *later = &oracle->origins[other];
    if (strcmp(later->region, oracle->origins[dot.origin].region) != 0) return false;
    uint64_t first = later->count;
    while (first > 1 && sk_vv_covers(&later->txns[first - 2]->seen, dot)) first--;
    if (first <= later->acked && !later->excused) return false;
    truncate_origin(oracle, other, first);
    return true;
}

/* Is there room for this dot at the end of its origin's history, or a voided tail that it replaces? */
static bool place(sim_oracle *oracle, sk_dot dot)
{
    sim_origin *origin = &oracle->origins[dot.origin];
    if (dot.seq == 0 || dot.seq > origin->count + 1) {
        snprintf(oracle->error, sizeof oracle->error, "origin %s:%llx goes on with seq %llu after %llu", origin->region,
                 (unsigned long long)origin->incarnation, (unsigned long long)dot.seq,
                 (unsigned long long)origin->count);
        return false;
    }
    if (dot.seq == origin->count + 1) return true;
    if (dot.seq <= origin->acked && !origin->excused) {
        snprintf(oracle->error, sizeof oracle->error, "dot %s:%llx:%llu was acknowledged and is used again",
                 origin->region, (unsigned long long)origin->incarnation, (unsigned long long)dot.seq);
        return false;
    }
    for (uint32_t o = 0; o < oracle->origin_count; o++) {
        const sim_origin *other = &oracle->origins[o];
        if (o == dot.origin || other->count == 0 || !sk_vv_covers(&other->txns[other->count - 1]->seen, dot)) continue;
        if (goes_with_it(oracle, o, dot)) continue;
        snprintf(oracle->error, sizeof oracle->error, "dot %s:%llx:%llu was seen by %s and is used again",
                 origin->region, (unsigned long long)origin->incarnation, (unsigned long long)dot.seq, other->region);
        return false;
    }
    truncate_origin(oracle, dot.origin, dot.seq);
    return true;
}

const sim_txn *sim_oracle_record(sim_oracle *oracle, const sk_txn *txn, const uint32_t *map, uint32_t map_count)
{
    numbering to = {oracle, map, map_count};
    sk_dot dot = {canonical(&to, txn->dot.origin), txn->dot.seq};
    if (oracle->error[0] || !place(oracle, dot)) return NULL;
    sim_txn *made = sk_alloc(sizeof *made);
    *made = (sim_txn){.dot = dot, .hlc = txn->hlc, .uid = ++oracle->next_uid, .op_count = txn->op_count};
    for (uint32_t o = 0; o < txn->seen.count; o++)
        if (txn->seen.seq[o]) sk_vv_set(&made->seen, canonical(&to, o), txn->seen.seq[o]);
    made->ops = sk_alloc((txn->op_count + 1) * sizeof *made->ops);
    if (sk_vv_get(&made->seen, dot.origin) != dot.seq - 1)
        snprintf(oracle->error, sizeof oracle->error, "a transaction has not seen its origin's one before");
    sim_origin *origin = &oracle->origins[dot.origin];
    if (origin->count == origin->room) {
        origin->room = origin->room ? origin->room * 2 : 16;
        origin->txns = sk_realloc(origin->txns, origin->room * sizeof(sim_txn *));
    }
    origin->txns[origin->count++] = made;
    sk_arena arena = {0};
    sk_reader reader = sk_reader_of(txn->ops);
    for (uint32_t i = 0; i < txn->op_count; i++) {
        sk_op op = {0};
        int status = sk_op_read(&reader, NULL, txn->dot, txn->hlc, &arena, &op);
        if (status) snprintf(oracle->error, sizeof oracle->error, "an operation is %s", sk_error_text(status));
        if (!status) record_op(&to, made, i, &op);
    }
    if (!sk_reader_done(&reader)) snprintf(oracle->error, sizeof oracle->error, "bytes follow the last operation");
    const char *open = sim_oracle_closed(oracle, &made->seen);
    if (open) snprintf(oracle->error, sizeof oracle->error, "a transaction's dependencies: %s", open);
    sk_arena_free(&arena);
    return made;
}

/* -- asking -------------------------------------------------------------------------------------------------------- */

static bool removed(const sim_op *op, sk_entry_class class, const sk_vv *vv)
{
    for (uint32_t i = 0; i < op->remover_count[class]; i++)
        if (sk_vv_covers(vv, op->removers[class][i])) return true;
    return false;
}

static sk_entry *put(sim_expected *out, const sk_entry *entry)
{
    sk_assert(out->count < SIM_ENTRIES_MAX);
    out->share[out->count] = (sk_sum){0};
    out->entries[out->count] = *entry;
    return &out->entries[out->count++];
}

/* Increments of one origin come in their order; what stands is a tail of its last epoch. */
static void expect_count(const sim_op *op, const sk_vv *vv, sim_expected *out)
{
    bool gone = removed(op, SK_CLASS_CONTENT, vv);
    for (uint32_t i = 0; i < out->count; i++) {
        sk_entry *entry = &out->entries[i];
        if (entry->kind != SK_ENTRY_COUNT || entry->dot.origin != op->txn->dot.origin) continue;
        bool same_epoch = entry->count.epoch == op->content.count.epoch;
        uint64_t base_seq = same_epoch ? entry->count.base_seq : 0;
        *entry = op->content;
        entry->count.base_seq = gone ? op->txn->dot.seq : base_seq;
        if (!gone) sk_sum_add(&out->share[i], op->delta);
        return;
    }
    sk_entry *entry = put(out, &op->content);
    entry->count.base_seq = gone ? op->txn->dot.seq : 0;
    if (!gone) sk_sum_add(&out->share[out->count - 1], op->delta);
}

void sim_oracle_expect(const sim_row *row, const sk_vv *vv, sim_expected *out)
{
    out->count = 0;
    for (uint32_t i = 0; i < row->count; i++) {
        const sim_op *op = row->ops[i];
        if (!sk_vv_covers(vv, op->txn->dot)) continue;
        if (op->has_content && op->content.kind == SK_ENTRY_COUNT)
            expect_count(op, vv, out);
        else if (op->has_content && !removed(op, SK_CLASS_CONTENT, vv))
            put(out, &op->content);
        if (op->has_deadline && !removed(op, SK_CLASS_DEADLINE, vv)) put(out, &op->deadline);
    }
    uint32_t kept = 0;
    for (uint32_t i = 0; i < out->count; i++) {
        if (!sk_entry_live(&out->entries[i])) continue;
        out->entries[kept] = out->entries[i];
        out->share[kept++] = out->share[i];
    }
    out->count = kept;
}

const char *sim_oracle_closed(const sim_oracle *oracle, const sk_vv *vv)
{
    for (uint32_t o = 0; o < vv->count; o++) {
        if (vv->seq[o] == 0) continue;
        const sim_txn *last = sim_oracle_txn(oracle, (sk_dot){o, vv->seq[o]});
        if (!last) return "a vector covers a transaction that never was";
        if (!sk_vv_at_most(&last->seen, vv)) return "a vector covers an effect and not its cause";
    }
    return NULL;
}

uint64_t sim_oracle_name(const sim_oracle *oracle, const sk_vv *vv)
{
    uint64_t name = 0;
    for (uint32_t o = 0; o < vv->count; o++) {
        const sim_txn *last = sim_oracle_txn(oracle, (sk_dot){o, vv->seq[o]});
        if (!last) continue;
        uint64_t z = last->uid * 0x9e3779b97f4a7c15u;
        z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
        name += (z ^ z >> 27) * 0x94d049bb133111ebu;
    }
    return name;
}
