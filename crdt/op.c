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

static int dot_compare(sk_entry_class class, sk_dot dot, const sk_entry *entry)
{
    int order = (int)class - (int)sk_entry_class_of(entry);
    if (order) return order;
    if (dot.origin != entry->dot.origin) return dot.origin < entry->dot.origin ? -1 : 1;
    return (dot.seq > entry->dot.seq) - (dot.seq < entry->dot.seq);
}

/* Which entries of the row the operation names, a mark for each; NULL if the arena is full. */
static bool *mark_listed(const sk_op *op, const sk_row *row, sk_arena *arena)
{
    bool *listed = sk_arena_take(arena, row->count + 1);
    if (!listed) return NULL;
    memset(listed, 0, row->count + 1);
    for (uint32_t i = 0; i < op->removed_count; i++) {
        uint32_t low = 0, high = row->count;
        while (low < high) {
            uint32_t middle = low + (high - low) / 2;
            int order = dot_compare(op->removed[i].class, op->removed[i].dot, &row->entries[middle]);
            if (order == 0) listed[middle] = true;
            if (order == 0) break;
            if (order < 0)
                high = middle;
            else
                low = middle + 1;
        }
    }
    return listed;
}

static bool forgets(const sk_op *op, const sk_vv *seen, const sk_entry *entry)
{
    bool forgotten = entry->kind == SK_ENTRY_DEADLINE ? op->forgets_deadlines : op->forgets_content;
    return forgotten && sk_vv_covers(seen, entry->dot);
}

/* Tells each count of the (ordered) row what the operation's resets saw of it, in place. */
static int apply_resets(const sk_op *op, sk_dot by, sk_row *row, sk_arena *arena)
{
    if (op->reset_count == 0) return 0;
    sk_entry **counts = sk_arena_take(arena, row->count * sizeof *counts + 1); /* by origin: one of each */
    uint32_t count = 0;
    if (!counts) return SK_E_MEMORY;
    for (uint32_t i = 0; i < row->count; i++)
        if (row->entries[i].kind == SK_ENTRY_COUNT) counts[count++] = &row->entries[i];
    for (uint32_t i = 0; i < op->reset_count; i++) {
        const sk_reset *reset = &op->resets[i];
        uint32_t low = 0, high = count;
        while (low < high) {
            uint32_t middle = low + (high - low) / 2;
            if (counts[middle]->dot.origin < reset->dot.origin)
                low = middle + 1;
            else
                high = middle;
        }
        /* What it saw came before it; only a damaged one says more than we have. */
        if (low < count && counts[low]->dot.origin == reset->dot.origin && reset->dot.seq <= counts[low]->dot.seq)
            sk_count_reset(&counts[low]->count, reset->epoch, reset->dot.seq, reset->total, by);
    }
    return 0;
}

/* Whether an entry, which the operation's resets have been told, stays. Dead counts do. */
static bool stays(const sk_op *op, const sk_vv *seen, const sk_entry *entry, bool listed)
{
    return !sk_entry_live(entry) || (!listed && !forgets(op, seen, entry));
}

int sk_op_apply(const sk_op *op, sk_dot dot, sk_hlc hlc, const sk_vv *seen, const sk_row *row, sk_arena *arena,
                sk_row *out, bool *left_dead)
{
    sk_row after = {.fields = row->fields, .members = row->members};
    bool adds_count = op->has_content && op->content.kind == SK_ENTRY_COUNT, *listed = NULL;
    after.entries = sk_arena_take(arena, ((size_t)row->count + op->has_content + op->has_deadline) * sizeof(sk_entry) + 1);
    if (op->removed_count) listed = mark_listed(op, row, arena);
    if (!after.entries || (op->removed_count && !listed)) return SK_E_MEMORY;
    if (row->count) memcpy(after.entries, row->entries, row->count * sizeof *row->entries);
    after.count = row->count;
    int status = apply_resets(op, dot, &after, arena);
    if (status) return status;
    sk_entry added = op->content;
    uint32_t kept = 0;
    for (uint32_t i = 0; i < row->count; i++) {
        const sk_entry *entry = &after.entries[i];
        if (adds_count && entry->kind == SK_ENTRY_COUNT && entry->dot.origin == dot.origin) {
            /* Its origin adds to it. A base stays, wherever it came from: one transaction may add, and then reset with a
             * context what stood before it. */
            sk_count_join_base(&added.count, &entry->count);
            continue;
        }
        /* A live count goes only by its own origin: nothing concurrent can come. */
        if (!stays(op, seen, entry, listed && listed[i])) continue;
        if (left_dead && !sk_entry_live(entry) && sk_entry_live(&row->entries[i])) *left_dead = true;
        after.entries[kept++] = *entry;
    }
    after.count = kept;
    for (int i = 0; i < 2; i++) {
        if (!(i ? op->has_deadline : op->has_content)) continue;
        after.entries[after.count] = i ? op->deadline : added;
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

enum {
    NUMBER_BYTES = 13, /* the longest of a number */
    UINT_BYTES = 9,
    HEAD_BYTES = 5, /* of bytes, or of an array */
};

size_t sk_op_size(const sk_op *op)
{
    size_t size = HEAD_BYTES + op->key.len + 2;
    if (op->has_content && op->content.kind == SK_ENTRY_VALUE) size += HEAD_BYTES + op->content.value.len;
    if (op->has_content && op->content.kind == SK_ENTRY_COUNT) size += 2 * (UINT_BYTES + NUMBER_BYTES);
    if (op->has_deadline) size += UINT_BYTES;
    if (op->reset_count) size += HEAD_BYTES + op->reset_count * (size_t)(3 * UINT_BYTES + NUMBER_BYTES);
    if (op->removed_count) size += HEAD_BYTES + op->removed_count * (size_t)(2 * UINT_BYTES);
    return size;
}

size_t sk_op_removal_size(sk_bytes key, const sk_row *row)
{
    return sk_op_size(&(sk_op){.key = key, .reset_count = row->count});
}

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
    if (op->reset_count > SK_ROW_ENTRIES_MAX) return SK_E_TOO_LARGE;
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
    if (op->removed_count > SK_ROW_ENTRIES_MAX) return SK_E_TOO_LARGE;
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
