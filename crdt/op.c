#include "crdt/op.h"

/* The bits of a packed operation's flags. */
enum {
    CONTENT_MASK = 3, /* 0: none, else an sk_entry_kind up to SK_ENTRY_MEMBER */
    HAS_DEADLINE = 4,
    FORGETS_CONTENT = 8,
    FORGETS_DEADLINES = 16,
    HAS_RESETS = 32,
    HAS_REMOVED = 64,
    FLAGS_END = 128,
};

/* -- applying --------------------------------------------------------------------------------------------------------- */

static bool lists(const sk_op *op, const sk_entry *entry)
{
    for (uint32_t i = 0; i < op->removed_count; i++)
        if (op->removed[i].dot.origin == entry->dot.origin && op->removed[i].dot.seq == entry->dot.seq &&
            op->removed[i].class == sk_entry_class_of(entry))
            return true;
    return false;
}

static bool removes(const sk_op *op, const sk_vv *seen, const sk_entry *entry)
{
    bool forgets = entry->kind == SK_ENTRY_DEADLINE ? op->forgets_deadlines : op->forgets_content;
    return (forgets && sk_vv_covers(seen, entry->dot)) || lists(op, entry);
}

static void apply_resets(const sk_op *op, sk_dot by, sk_dot last, sk_count *count)
{
    for (uint32_t i = 0; i < op->reset_count; i++) {
        const sk_reset *reset = &op->resets[i];
        /* What it saw came before it; only a damaged one says more than we have. */
        if (reset->dot.origin == last.origin && reset->dot.seq <= last.seq)
            sk_count_reset(count, reset->epoch, reset->dot.seq, reset->total, by);
    }
}

/* The count that the operation's own origin adds, over the one that it had: a base that came from elsewhere stays. One
 * transaction may add, and then reset with a context what stood before it. */
static sk_entry renew_count(const sk_op *op, sk_dot dot, const sk_entry *old)
{
    sk_entry renewed = op->content;
    if (!old) return renewed;
    sk_count_join_base(&renewed.count, &old->count);
    apply_resets(op, dot, old->dot, &renewed.count);
    return renewed;
}

int sk_op_apply(const sk_op *op, sk_dot dot, sk_hlc hlc, const sk_vv *seen, const sk_row *row, sk_arena *arena,
                sk_row *out, bool *left_dead)
{
    sk_row after = {.fields = row->fields, .members = row->members};
    after.entries = sk_arena_take(arena, ((size_t)row->count + 2) * sizeof *after.entries);
    if (!after.entries) return SK_E_MEMORY;
    bool adds_count = op->has_content && op->content.kind == SK_ENTRY_COUNT;
    const sk_entry *own_count = NULL;
    for (uint32_t i = 0; i < row->count; i++) {
        const sk_entry *entry = &row->entries[i];
        if (entry->kind != SK_ENTRY_COUNT) {
            if (!removes(op, seen, entry)) after.entries[after.count++] = *entry;
            continue;
        }
        if (adds_count && entry->dot.origin == dot.origin) {
            own_count = entry;
            continue;
        }
        sk_entry count = *entry;
        bool was_live = sk_entry_live(entry);
        apply_resets(op, dot, count.dot, &count.count);
        bool live = sk_entry_live(&count);
        if (live && removes(op, seen, &count)) continue; /* only ever its own origin's: nothing concurrent can come */
        if (was_live && !live && left_dead) *left_dead = true;
        after.entries[after.count++] = count;
    }
    if (op->has_content) {
        sk_entry added = op->content;
        if (adds_count) added = renew_count(op, dot, own_count);
        added.dot = dot;
        added.hlc = hlc;
        after.entries[after.count++] = added;
    }
    if (op->has_deadline) {
        after.entries[after.count] = op->deadline;
        after.entries[after.count].dot = dot;
        after.entries[after.count++].hlc = hlc;
    }
    sk_row_sort(&after);
    *out = after;
    return 0;
}

int sk_op_list_resets(sk_op *op, const sk_row *row, uint32_t own, sk_arena *arena)
{
    op->reset_count = 0;
    for (uint32_t i = 0; i < row->count; i++) {
        const sk_entry *entry = &row->entries[i];
        if (entry->kind != SK_ENTRY_COUNT || entry->dot.origin == own || !sk_entry_live(entry)) continue;
        if (op->reset_count == 0) {
            op->resets = sk_arena_take(arena, row->count * sizeof *op->resets);
            if (!op->resets) return SK_E_MEMORY;
        }
        op->resets[op->reset_count++] = (sk_reset){entry->dot, entry->count.epoch, entry->count.total};
    }
    return 0;
}

/* -- packed form ------------------------------------------------------------------------------------------------------ */

static void pack_number_at(sk_buf *buf, uint64_t seq, sk_number total)
{
    sk_pack_uint(buf, seq);
    sk_number_pack(buf, total);
}

static void pack_content(sk_buf *buf, const sk_op *op)
{
    if (op->content.kind == SK_ENTRY_VALUE) sk_pack_bytes(buf, op->content.value);
    if (op->content.kind != SK_ENTRY_COUNT) return;
    const sk_count *count = &op->content.count;
    pack_number_at(buf, count->epoch, count->total);
    pack_number_at(buf, count->base_seq, count->base);
}

void sk_op_pack(sk_buf *buf, const sk_op *op)
{
    unsigned flags = op->has_content ? op->content.kind : 0;
    if (op->has_deadline) flags |= HAS_DEADLINE;
    if (op->forgets_content) flags |= FORGETS_CONTENT;
    if (op->forgets_deadlines) flags |= FORGETS_DEADLINES;
    if (op->reset_count) flags |= HAS_RESETS;
    if (op->removed_count) flags |= HAS_REMOVED;
    sk_pack_bytes(buf, op->key);
    sk_pack_uint(buf, flags);
    if (op->has_content) pack_content(buf, op);
    if (op->has_deadline) sk_pack_uint(buf, op->deadline.deadline_ms);
    if (op->reset_count) sk_pack_array(buf, op->reset_count);
    for (uint32_t i = 0; i < op->reset_count; i++) {
        sk_pack_uint(buf, op->resets[i].dot.origin);
        sk_pack_uint(buf, op->resets[i].epoch);
        pack_number_at(buf, op->resets[i].dot.seq, op->resets[i].total);
    }
    if (op->removed_count) sk_pack_array(buf, op->removed_count);
    for (uint32_t i = 0; i < op->removed_count; i++) {
        sk_pack_uint(buf, (uint64_t)op->removed[i].dot.origin << 1 | op->removed[i].class);
        sk_pack_uint(buf, op->removed[i].dot.seq);
    }
}

static void read_content(sk_reader *reader, sk_op *op)
{
    if (op->content.kind == SK_ENTRY_VALUE) op->content.value = sk_read_bytes(reader);
    if (op->content.kind != SK_ENTRY_COUNT) return;
    sk_count *count = &op->content.count;
    count->epoch = sk_read_uint(reader);
    count->total = sk_number_read(reader);
    count->base_seq = sk_read_uint(reader);
    count->base = sk_number_read(reader);
    uint64_t seq = op->content.dot.seq;
    if (count->epoch == 0 || count->epoch > seq || count->base_seq >= seq) reader->bad = true;
    if (count->base_seq && count->base_seq < count->epoch) reader->bad = true;
}

static int read_resets(sk_reader *reader, const sk_origin_map *map, sk_arena *arena, sk_op *op)
{
    op->reset_count = sk_read_array(reader);
    op->resets = sk_arena_take(arena, op->reset_count * sizeof *op->resets);
    if (!op->resets) return SK_E_MEMORY;
    for (uint32_t i = 0; i < op->reset_count && !reader->bad; i++) {
        sk_reset *reset = &op->resets[i];
        reset->dot.origin = sk_read_origin(reader, map);
        reset->epoch = sk_read_uint(reader);
        reset->dot.seq = sk_read_uint(reader);
        reset->total = sk_number_read(reader);
        if (reset->epoch == 0 || reset->epoch > reset->dot.seq) reader->bad = true;
    }
    return 0;
}

static int read_removed(sk_reader *reader, const sk_origin_map *map, sk_arena *arena, sk_op *op)
{
    op->removed_count = sk_read_array(reader);
    op->removed = sk_arena_take(arena, op->removed_count * sizeof *op->removed);
    if (!op->removed) return SK_E_MEMORY;
    for (uint32_t i = 0; i < op->removed_count && !reader->bad; i++) {
        uint64_t head = sk_read_uint(reader);
        sk_removed *removed = &op->removed[i];
        removed->class = (sk_entry_class)(head & 1);
        removed->dot.origin = sk_origin_map_get(map, head >> 1);
        removed->dot.seq = sk_read_uint(reader);
        if (removed->dot.origin == SK_ORIGIN_UNKNOWN) reader->bad = true;
    }
    return 0;
}

int sk_op_read(sk_reader *reader, const sk_origin_map *map, sk_dot dot, sk_hlc hlc, sk_arena *arena, sk_op *op)
{
    *op = (sk_op){.key = sk_read_bytes(reader)};
    uint64_t flags = sk_read_uint(reader);
    if (reader->bad || flags >= FLAGS_END) return SK_E_MALFORMED;
    op->has_content = flags & CONTENT_MASK;
    op->has_deadline = flags & HAS_DEADLINE;
    op->forgets_content = flags & FORGETS_CONTENT;
    op->forgets_deadlines = flags & FORGETS_DEADLINES;
    if (op->has_content) op->content = (sk_entry){.kind = (sk_entry_kind)(flags & CONTENT_MASK), .dot = dot, .hlc = hlc};
    read_content(reader, op);
    if (op->has_deadline)
        op->deadline =
            (sk_entry){.kind = SK_ENTRY_DEADLINE, .dot = dot, .hlc = hlc, .deadline_ms = sk_read_uint(reader)};
    if (op->has_deadline && op->deadline.deadline_ms == 0) reader->bad = true;
    int status = 0;
    if (flags & HAS_RESETS) status = read_resets(reader, map, arena, op);
    if (!status && flags & HAS_REMOVED) status = read_removed(reader, map, arena, op);
    if (status) return status;
    return reader->bad ? SK_E_MALFORMED : 0;
}
