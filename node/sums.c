#include "node/sums.h"

#include "node/audit.h"
#include "node/db.h"
#include "node/outline.h"

#include <endian.h>
#include <stdlib.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

enum {
    HEAD_WORDS = sizeof(sk_leaf_head) / sizeof(uint64_t),
    CUT_ABOVE = 2,  /* times leaf_rows */
    JOIN_BELOW = 4, /* leaf_rows over this */
    CHANGE_BYTES = 1 << 16, /* keys and dots of what waits, about, at most */
    FEW_LEAVES = 8, /* leaf_rows over this: they are at hand, and no change waits for others */
    CUT_READS = 4,  /* times leaf_rows: rows read for a cut at most; those without live entries do not count as a leaf's */
    PIECES = CUT_READS, /* that come off in a cut, at most: an iterator costs as much as a hundred rows */
};

/* -- leaves ------------------------------------------------------------------------------------------------------------ */

static size_t bytes_of(const sk_leaf *leaf)
{
    return sizeof *leaf + sizeof(sk_leaf *) + sizeof(sk_leaf_head) + leaf->low.len + leaf->vv.count * sizeof *leaf->vv.seq;
}

static void free_leaf(sk_leaf *leaf)
{
    free((void *)(uintptr_t)leaf->low.data);
    sk_vv_free(&leaf->vv);
    free(leaf);
}

static uint64_t word_at(const uint8_t *bytes)
{
    uint64_t word;
    memcpy(&word, bytes, sizeof word);
    return be64toh(word);
}

/* Word by word: bytes that were just stored one by one would have to be waited for. */
static sk_leaf_head head_of(sk_bytes key)
{
    sk_leaf_head head = {{0}};
    size_t len = key.len < sizeof head ? key.len : sizeof head, words = len / 8, rest = len % 8;
    for (size_t i = 0; i < words; i++) head.words[i] = word_at(key.data + 8 * i);
    if (rest && words) head.words[words] = word_at(key.data + len - 8) << 8 * (8 - rest);
    for (size_t i = 0; i < rest && !words; i++) head.words[0] |= (uint64_t)key.data[i] << 8 * (7 - i);
    return head;
}

static sk_leaf *insert_leaf(sk_sums *sums, uint32_t at, sk_bytes low)
{
    if (sums->count == sums->room) {
        sums->room = sums->room ? sums->room * 2 : 16;
        sums->leaves = sk_realloc(sums->leaves, sums->room * sizeof *sums->leaves);
        sums->heads = sk_realloc(sums->heads, sums->room * sizeof *sums->heads);
    }
    memmove(sums->leaves + at + 1, sums->leaves + at, (sums->count - at) * sizeof *sums->leaves);
    memmove(sums->heads + at + 1, sums->heads + at, (sums->count - at) * sizeof *sums->heads);
    sums->heads[at] = head_of(low);
    sk_leaf *leaf = sums->leaves[at] = sk_alloc(sizeof *leaf);
    uint8_t *copy = sk_alloc(low.len + 1);
    if (low.len) memcpy(copy, low.data, low.len);
    leaf->low = sk_bytes_of(copy, low.len);
    sums->count++;
    sums->bytes += bytes_of(leaf);
    return leaf;
}

/* What a leaf's vector is to cover of a row. Of one that makes no sense nobody's vector covers all: whoever compares looks at the
 * rows. */
static sk_leaf_dots dots_of(const sk_row *row, bool sense, sk_arena *arena)
{
    sk_leaf_dots dots = {sk_arena_take(arena, row->count * 2 * sizeof *dots.list), 0};
    for (uint32_t i = 0; i < row->count; i++) {
        const sk_entry *entry = &row->entries[i];
        dots.list[dots.count++] = sk_entry_live(entry) ? entry->dot : entry->count.reset_by;
        if (!sense) dots.list[dots.count++] = entry->dot;
    }
    return dots;
}

static void add_to_leaf(sk_leaf *leaf, uint64_t rows, sk_digest sum, sk_leaf_dots dots)
{
    leaf->rows += rows;
    leaf->sum += sum;
    for (uint32_t i = 0; i < dots.count; i++) sk_vv_raise(&leaf->vv, dots.list[i].origin, dots.list[i].seq);
}

/* One of those that are counted. */
static void change_leaf(sk_sums *sums, sk_leaf *leaf, uint64_t rows, sk_digest sum, sk_leaf_dots dots, uint64_t batch)
{
    uint32_t origins = leaf->vv.count;
    add_to_leaf(leaf, rows, sum, dots);
    leaf->changed = batch;
    sums->bytes += (leaf->vv.count - origins) * sizeof *leaf->vv.seq;
}

/* The leaf takes in its right neighbour. */
static void join_next(sk_sums *sums, uint32_t at)
{
    sk_leaf *leaf = sums->leaves[at], *next = sums->leaves[at + 1];
    sums->bytes -= bytes_of(leaf) + bytes_of(next);
    leaf->rows += next->rows;
    leaf->sum += next->sum;
    sk_vv_join(&leaf->vv, &next->vv);
    if (next->changed > leaf->changed) leaf->changed = next->changed;
    sums->bytes += bytes_of(leaf);
    free_leaf(next);
    sums->count--;
    memmove(sums->leaves + at + 1, sums->leaves + at + 2, (sums->count - at - 1) * sizeof *sums->leaves);
    memmove(sums->heads + at + 1, sums->heads + at + 2, (sums->count - at - 1) * sizeof *sums->heads);
}

/* Joins a leaf that has shrunk with the smaller of its neighbours, if both together are no more than one leaf. */
static void join_shrunk(sk_sums *sums, uint32_t at)
{
    uint64_t rows = sums->leaves[at]->rows;
    if (rows > sums->leaf_rows / JOIN_BELOW) return;
    uint64_t left = at ? sums->leaves[at - 1]->rows : UINT64_MAX;
    uint64_t right = at + 1 < sums->count ? sums->leaves[at + 1]->rows : UINT64_MAX;
    uint64_t least = left < right ? left : right;
    if (least > sums->leaf_rows || rows + least > sums->leaf_rows) return;
    join_next(sums, left < right ? at - 1 : at);
}

void sk_sums_init(sk_sums *sums, uint32_t leaf_rows)
{
    *sums = (sk_sums){.leaf_rows = leaf_rows};
}

void sk_sums_free(sk_sums *sums)
{
    for (uint32_t i = 0; i < sums->count; i++) free_leaf(sums->leaves[i]);
    free(sums->leaves);
    free(sums->heads);
    sk_arena_free(&sums->change_arena);
    sk_buf_free(&sums->cursor);
    sk_arena_free(&sums->arena);
}

void sk_sums_reset(sk_sums *sums)
{
    uint32_t leaf_rows = sums->leaf_rows;
    sk_sums_free(sums);
    sk_sums_init(sums, leaf_rows);
}

/* -- changes ----------------------------------------------------------------------------------------------------------- */

static sk_leaf_search search_of(sk_bytes key)
{
    return (sk_leaf_search){.head = head_of(key), .key = key};
}

/* Half of the leaves that are left in the range fall away. All keys between the two leaves that it lies between have the words in
 * common that both share with the one looked for, and are compared from there. */
static inline void search_step(const sk_sums *sums, sk_leaf_search *search, uint32_t half)
{
    uint32_t middle = search->at + half, same = search->same_at < search->same_end ? search->same_at : search->same_end;
    const uint64_t *low = sums->heads[middle].words, *key = search->head.words;
    while (same < HEAD_WORDS && low[same] == key[same]) same++;
    bool above = same < HEAD_WORDS ? low[same] > key[same] : sk_bytes_compare(sums->leaves[middle]->low, search->key) > 0;
    uint32_t moves = above - 1U; /* all bits or none: nobody could foretell a branch */
    search->at += half & moves;
    search->same_at ^= (search->same_at ^ same) & moves;
    search->same_end ^= (search->same_end ^ same) & ~moves;
}

uint32_t sk_sums_find(const sk_sums *sums, sk_bytes raw)
{
    sk_leaf_search search = search_of(raw);
    for (uint32_t left = sums->count; left > 1; left -= left / 2) search_step(sums, &search, left / 2);
    return search.at;
}

/* Their leaves are looked for side by side: the range that is left is as long for one as for the other. */
static void find_leaves(sk_sums *sums)
{
    for (uint32_t left = sums->count, half; left > 1; left -= half) {
        half = left / 2;
        uint32_t next = (left - half) / 2;
        for (uint32_t i = 0; i < sums->change_count; i++) {
            search_step(sums, &sums->changes[i].leaf, half);
            __builtin_prefetch(&sums->heads[sums->changes[i].leaf.at + next]);
        }
    }
    for (uint32_t i = 0; i < sums->change_count; i++) __builtin_prefetch(&sums->leaves[sums->changes[i].leaf.at]);
    for (uint32_t i = 0; i < sums->change_count; i++) {
        const sk_leaf *leaf = sums->leaves[sums->changes[i].leaf.at];
        __builtin_prefetch(&leaf->low, 1);
        __builtin_prefetch(&leaf->changed, 1);
    }
    for (uint32_t i = 0; i < sums->change_count; i++)
        __builtin_prefetch(sums->leaves[sums->changes[i].leaf.at]->vv.seq, 1);
}

static void settle_one(sk_sums *sums, const sk_leaf_change *change)
{
    sk_leaf *leaf = sums->leaves[change->leaf.at];
    change_leaf(sums, leaf, change->rows, change->sum, change->dots, change->batch);
    if (leaf->rows > (uint64_t)CUT_ABOVE * sums->leaf_rows) sums->outgrown = true;
}

void sk_sums_settle(sk_sums *sums)
{
    if (!sums->change_count) return;
    if (sums->count == 0) insert_leaf(sums, 0, SK_BYTES_NONE); /* the scan found none */
    find_leaves(sums);
    for (uint32_t i = 0; i < sums->change_count; i++) settle_one(sums, &sums->changes[i]);
    for (uint32_t i = 0; i < sums->change_count; i++) /* which moves leaves */
        if (sums->changes[i].empties) join_shrunk(sums, sk_sums_find(sums, sums->changes[i].leaf.key));
    sums->change_count = 0;
    sk_arena_reset(&sums->change_arena);
}

static void add_counts(sk_row_counts *to, const sk_row_counts *counts)
{
    to->rest += counts->rest;
    to->keys += counts->keys;
    to->conflicts += counts->conflicts;
}

void sk_sums_change(sk_sums *sums, sk_bytes raw, sk_digest before, sk_digest after, const sk_row_counts *counts,
                    const sk_row *row, uint64_t batch)
{
    if (sums->state == SK_SUMS_UNREADABLE) return;
    if (sums->state == SK_SUMS_SCANNING && sk_bytes_compare(raw, sk_buf_view(&sums->cursor)) > 0) return;
    add_counts(&sums->counts, counts);
    if (before == after && !sk_row_has_dead(row)) return;
    sk_arena *arena = &sums->change_arena;
    bool waits = sums->count >= sums->leaf_rows / FEW_LEAVES;
    sk_leaf_change *change = &sums->changes[sums->change_count++];
    *change = (sk_leaf_change){.leaf = search_of(waits ? sk_arena_copy(arena, raw) : raw),
                               .sum = after - before,
                               .rows = (after != 0) - (uint64_t)(before != 0),
                               .batch = batch,
                               .dots = dots_of(row, true, arena),
                               .empties = after == 0};
    sums->sum += change->sum;
    sums->rows += change->rows;
    if (!waits || sums->change_count == SK_LEAF_CHANGES || arena->used > CHANGE_BYTES) sk_sums_settle(sums);
}

/* -- steps ------------------------------------------------------------------------------------------------------------- */

int sk_sums_digest(sk_db *db, sk_bytes raw, sk_bytes value, sk_arena *arena, sk_row *row, sk_digest *digest, bool *sense)
{
    sk_rowkey key;
    int status = sk_rowkey_parse(raw, arena, &key);
    if (!status) status = sk_db_row_read(db, value, arena, row);
    bool readable = !status && !sk_row_empty(row); /* an empty one is not stored */
    *sense = readable && sk_row_possible(row, &db->vv); /* is every transaction there, as far as we know? */
    if (readable) *digest = sk_row_digest(&db->origins, raw, row);
    if (readable || status == SK_E_MEMORY) return status;
    XXH128_hash_t hash = XXH3_128bits_withSeed(value.data, value.len, XXH3_64bits(raw.data, raw.len));
    *digest = (sk_digest)hash.high64 << 64 | hash.low64;
    *row = (sk_row){0};
    return 0;
}

int sk_sums_take_out(sk_db *db, sk_bytes raw)
{
    static const sk_row_counts none;
    static const sk_row empty;
    sk_arena arena = {0};
    sk_bytes stored;
    sk_row row;
    sk_digest digest;
    bool sense;
    int found = sk_store_get(db->store, SK_CF_ROW, raw, &stored, NULL);
    int status = found > 0 ? sk_sums_digest(db, raw, stored, &arena, &row, &digest, &sense) : found;
    if (found > 0 && !status) sk_sums_change(&db->sums, raw, digest, 0, &none, &empty, db->sealed + 1);
    sk_arena_free(&arena);
    return status;
}

static int read_digest(sk_db *db, sk_bytes raw, sk_bytes value, sk_row *row, sk_digest *digest, bool *sense)
{
    sk_arena_reset(&db->sums.arena);
    return sk_sums_digest(db, raw, value, &db->sums.arena, row, digest, sense);
}

/* A row that the scan has come to. */
static int take_in(sk_db *db, sk_bytes raw, sk_bytes value)
{
    sk_sums *sums = &db->sums;
    sk_row row;
    sk_digest digest;
    bool sense;
    int status = read_digest(db, raw, value, &row, &digest, &sense);
    if (!status && sense) status = sk_audit_row(db, raw, &row, &sums->counts);
    if (status) return status;
    sums->senseless += !sense;
    if (!sense) sk_audit_name(db, raw, false);
    if (sums->count == 0) insert_leaf(sums, 0, SK_BYTES_NONE);
    sk_leaf *leaf = sums->leaves[sums->count - 1];
    if (leaf->rows >= sums->leaf_rows)
        leaf = insert_leaf(sums, sums->count, sk_key_between(sk_buf_view(&sums->cursor), raw));
    uint64_t batch = db->sealed + db->dirty; /* it may stand in the open batch */
    change_leaf(sums, leaf, digest != 0, digest, dots_of(&row, sense, &sums->arena), batch);
    sums->rows += digest != 0;
    sums->sum += digest;
    sk_buf_reset(&sums->cursor);
    sk_buf_bytes(&sums->cursor, raw);
    return 0;
}

static int scan(sk_db *db, uint32_t rows)
{
    sk_sums *sums = &db->sums;
    sk_buf from = {0};
    sk_buf_bytes(&from, sk_buf_view(&sums->cursor));
    if (from.len) sk_buf_byte(&from, 0); /* the least key above it */
    sk_store_iter *iter = sk_store_pass(db->store, SK_CF_ROW, sk_buf_view(&from), SK_BYTES_NONE);
    sk_bytes raw, value;
    int status = 1;
    while (rows-- > 0 && (status = sk_store_next(db->store, iter, &raw, &value)) > 0) {
        status = take_in(db, raw, value);
        if (status) break;
        status = 1;
    }
    sk_store_iter_free(db->store, iter);
    sk_buf_free(&from);
    if (status == 0)
        sums->state = sums->sum == db->digest && !sums->senseless ? SK_SUMS_VERIFIED : SK_SUMS_DIFFERENT;
    return status;
}

/* What comes off a leaf in a cut: leaves of its first rows. */
typedef struct {
    sk_leaf pieces[PIECES];
    sk_buf bounds[PIECES]; /* what parts each from the next, or from the rest */
    uint32_t count;
} sums_cut;

/* 1; 0 if nothing is left behind them; or an error. */
static int read_pieces(sk_db *db, uint32_t at, sums_cut *cut)
{
    const sk_sums *sums = &db->sums;
    const sk_leaf *leaf = sums->leaves[at];
    uint64_t reads = (uint64_t)CUT_READS * sums->leaf_rows, wanted = leaf->rows / sums->leaf_rows - 1;
    sk_bytes end = at + 1 < sums->count ? sums->leaves[at + 1]->low : SK_BYTES_NONE;
    sk_store_iter *iter = sk_store_pass(db->store, SK_CF_ROW, leaf->low, end);
    sk_buf last = {0};
    sk_bytes raw, value;
    int status;
    while ((status = sk_store_next(db->store, iter, &raw, &value)) > 0) {
        sk_row row;
        sk_digest digest;
        bool sense;
        if (cut->pieces[cut->count].rows == sums->leaf_rows || reads == 0) {
            sk_buf_bytes(&cut->bounds[cut->count++], sk_key_between(sk_buf_view(&last), raw));
            if (cut->count == PIECES || cut->count == wanted || reads == 0) break;
        }
        reads--;
        status = read_digest(db, raw, value, &row, &digest, &sense);
        if (status) break;
        add_to_leaf(&cut->pieces[cut->count], digest != 0, digest, dots_of(&row, sense, &db->sums.arena));
        sk_buf_reset(&last);
        sk_buf_bytes(&last, raw);
    }
    sk_store_iter_free(db->store, iter);
    sk_buf_free(&last);
    return status;
}

/* The first rows of a leaf become one of their own; what is left is what was there less that, and keeps the vector. */
static void cut_off(sk_sums *sums, uint32_t at, sk_leaf piece, sk_bytes bound)
{
    sk_leaf *rest = insert_leaf(sums, at + 1, bound), *first = sums->leaves[at];
    sums->bytes -= bytes_of(rest) + bytes_of(first);
    rest->rows = first->rows - piece.rows;
    rest->sum = first->sum - piece.sum;
    rest->vv = first->vv;
    rest->changed = piece.changed = first->changed;
    piece.low = first->low;
    *first = piece;
    sums->bytes += bytes_of(rest) + bytes_of(first);
}

static int cut(sk_db *db, uint32_t at)
{
    sums_cut made = {0};
    int status = read_pieces(db, at, &made);
    for (uint32_t i = 0; i < made.count && status > 0; i++)
        cut_off(&db->sums, at + i, made.pieces[i], sk_buf_view(&made.bounds[i]));
    for (uint32_t i = 0; i < PIECES; i++) {
        if (status <= 0) sk_vv_free(&made.pieces[i].vv);
        sk_buf_free(&made.bounds[i]);
    }
    return status ? status : SK_E_CORRUPT; /* fewer rows can be read than were put */
}

static int cut_one(sk_db *db)
{
    sk_sums *sums = &db->sums;
    uint32_t most = sums->count - (sums->state == SK_SUMS_SCANNING); /* the last one is still being made */
    for (uint32_t i = 0; i < most; i++) {
        uint32_t at = (sums->look + i) % most;
        if (sums->leaves[at]->rows <= (uint64_t)CUT_ABOVE * sums->leaf_rows) continue;
        sums->look = at;
        return cut(db, at);
    }
    sums->outgrown = false;
    return 0;
}

int sk_sums_step(sk_db *db, uint32_t rows)
{
    sk_sums *sums = &db->sums;
    sk_sums_settle(sums);
    int status = sums->outgrown ? cut_one(db) : 0;
    if (status == 0 && sums->state == SK_SUMS_SCANNING) status = scan(db, rows);
    if (status == SK_E_CORRUPT) {
        sk_sums_reset(sums);
        sums->state = SK_SUMS_UNREADABLE;
    } else if (status < 0) {
        return status;
    }
    return sk_sums_pending(sums);
}
