#include "node/compare.h"

#include "node/fold.h"
#include "node/record.h"

#include <stdlib.h>

enum {
    ANSWER_BYTES_MAX = SK_MESSAGE_MAX / 2, /* of keys in an answer, about */
    MARKS_LEAST = 3, /* in a range that is parted at them; a smaller one is read, and parted at its rows */
    LEAF_COST = 4,   /* a leaf taken as a whole counts as so many rows read */
};

/* How many parts, rows in a list, and rows in a part at least: from the size of a leaf, so that tests can make all small. */
static uint32_t parts_of(const sk_db *db)
{
    uint32_t parts = db->sums.leaf_rows / 16;
    return parts < 2 ? 2 : parts > SK_PARTS_MAX ? SK_PARTS_MAX : parts;
}

static uint32_t listed_of(const sk_db *db)
{
    uint32_t listed = db->sums.leaf_rows / 8;
    return listed < 1 ? 1 : listed > SK_LISTED_MAX ? SK_LISTED_MAX : listed;
}

bool sk_row_has_news(const sk_row *row, const sk_vv *known, const sk_vv *floor)
{
    for (uint32_t i = 0; i < row->count; i++) {
        const sk_entry *entry = &row->entries[i];
        sk_dot dot = sk_entry_live(entry) ? entry->dot : entry->count.reset_by;
        if (sk_vv_covers(known, dot)) continue;
        if (!floor || sk_vv_covers(floor, dot)) return true;
    }
    return false;
}

/* -- the sender: rows of its snapshot ------------------------------------------------------------------------------ */

typedef struct {
    sk_bytes key; /* in the arena */
    sk_digest digest; /* 0: nothing but dead counts */
    bool news;
} told;

typedef struct {
    told *rows; /* owned */
    uint32_t count, room;
    size_t bytes; /* of keys */
    sk_arena arena;
} told_list;

static void told_free(told_list *list)
{
    free(list->rows);
    sk_arena_free(&list->arena);
}

static int read_rows(sk_db *db, sk_store_snapshot *snapshot, const sk_vv *known, sk_bytes from, sk_bytes to,
                     told_list *list)
{
    sk_store_iter *iter = sk_store_iterate(db->store, snapshot, SK_CF_ROW, from, to);
    sk_arena arena = {0};
    sk_bytes raw, value;
    int status;
    while ((status = sk_store_next(db->store, iter, &raw, &value)) > 0) {
        sk_row row;
        sk_arena_reset(&arena);
        status = sk_db_row_read(db, value, &arena, &row);
        if (status) break;
        sk_digest digest = sk_row_digest(&db->origins, raw, &row);
        if (row.count == 0) continue;
        if (list->count == list->room) {
            list->room = list->room ? list->room * 2 : 64;
            list->rows = sk_realloc(list->rows, list->room * sizeof *list->rows);
        }
        list->rows[list->count++] = (told){sk_arena_copy(&list->arena, raw), digest, sk_row_has_news(&row, known, NULL)};
        list->bytes += raw.len;
    }
    sk_store_iter_free(db->store, iter);
    sk_arena_free(&arena);
    return status;
}

static void add_told(sk_part *part, const told *row)
{
    part->rows += row->digest != 0;
    part->sum += row->digest;
}

static int sum_rows(sk_db *db, sk_store_snapshot *snapshot, const sk_vv *known, sk_bytes from, sk_bytes to, sk_part *part)
{
    told_list list = {0};
    int status = read_rows(db, snapshot, known, from, to, &list);
    for (uint32_t i = 0; i < list.count; i++) add_told(part, &list.rows[i]);
    told_free(&list);
    return status;
}

static sk_bytes end_of(sk_bytes to)
{
    return to.len ? to : SK_BYTES_NONE;
}

/* What is between two keys, of which each is a mark or lies outside of the marks `first` up to `last`. */
static int sum_around(sk_db *db, sk_store_snapshot *snapshot, const sk_outline *outline, sk_bytes from, uint32_t first,
                      uint32_t last, sk_bytes to, sk_part *part)
{
    static const sk_vv nothing;
    sk_part ends[2] = {0};
    int status = 0;
    sk_outline_between(outline, first, last, &part->rows, &part->sum);
    if (sk_bytes_compare(from, outline->marks[first].key) < 0)
        status = sum_rows(db, snapshot, &nothing, from, outline->marks[first].key, &ends[0]);
    if (!status && last < outline->count && (to.len == 0 || sk_bytes_compare(outline->marks[last].key, to) < 0))
        status = sum_rows(db, snapshot, &nothing, outline->marks[last].key, end_of(to), &ends[1]);
    part->rows += ends[0].rows + ends[1].rows;
    part->sum += ends[0].sum + ends[1].sum;
    return status;
}

/* Where the n-th of so many cuts, from 0, is among the marks inside. */
static uint32_t cut_at(uint32_t inside, uint32_t n, uint32_t cuts)
{
    return (uint32_t)((uint64_t)inside * (n + 1) / (cuts + 1));
}

/* So many cuts, or fewer, one at least, that their keys fit into an answer. */
static uint32_t cuts_that_fit(const sk_outline *outline, uint32_t first, uint32_t inside, uint32_t cuts)
{
    for (; cuts > 1; cuts /= 2) {
        size_t bytes = 0;
        for (uint32_t i = 0; i < cuts; i++) bytes += outline->marks[first + cut_at(inside, i, cuts)].key.len;
        if (bytes <= ANSWER_BYTES_MAX) break;
    }
    return cuts;
}

/* A range of many leaves: parted at some of the marks in it, `first` up to before `end`, which lie evenly. Only what is
 * beyond them at its ends is read. */
static int answer_by_marks(sk_db *db, sk_store_snapshot *snapshot, const sk_outline *outline, uint64_t number,
                           sk_bytes from, sk_bytes to, uint32_t first, uint32_t end, sk_buf *out)
{
    uint32_t inside = end - first, cuts = parts_of(db) - 1, at = 0;
    if (cuts > inside) cuts = inside;
    cuts = cuts_that_fit(outline, first, inside, cuts);
    bool from_is_mark = first > 0 && sk_bytes_equal(outline->marks[first - 1].key, from);
    bool to_is_mark = to.len == 0 || (end < outline->count && sk_bytes_equal(outline->marks[end].key, to));
    int status = 0;
    sk_message_begin_list(out, SK_MESSAGE_PARTS, number, cuts + 1);
    for (uint32_t i = 0; i <= cuts && !status; i++) {
        uint32_t next = first + cut_at(inside, i, cuts);
        sk_part part = {.from = i ? outline->marks[at].key : SK_BYTES_NONE};
        if (i == 0)
            status = sum_around(db, snapshot, outline, from, from_is_mark ? first - 1 : first, next,
                                outline->marks[next].key, &part);
        else if (i < cuts)
            sk_outline_between(outline, at, next, &part.rows, &part.sum);
        else
            status = sum_around(db, snapshot, outline, part.from, at, to_is_mark ? end : end - 1, to, &part);
        sk_part_pack(out, &part);
        at = next;
    }
    return status;
}

static void answer_with_rows(const told_list *list, uint64_t number, sk_buf *out)
{
    sk_message_begin_list(out, SK_MESSAGE_ROWS, number, list->count);
    for (uint32_t i = 0; i < list->count; i++) {
        const told *row = &list->rows[i];
        sk_listed_pack(out, &(sk_listed){row->key, (uint64_t)row->digest, row->news});
    }
}

/* A range of some rows, parted among them. */
static void answer_by_rows(const sk_db *db, const told_list *list, uint64_t number, sk_buf *out)
{
    uint32_t parts = parts_of(db), least = listed_of(db) / 2; /* so many or fewer would be another question each */
    if (list->bytes > ANSWER_BYTES_MAX) parts = 2;
    uint32_t each = (list->count + parts - 1) / parts;
    if (each < least && parts > 2) each = least;
    sk_message_begin_list(out, SK_MESSAGE_PARTS, number, (list->count + each - 1) / each);
    for (uint32_t i = 0; i < list->count; i += each) {
        sk_part part = {.from = i ? sk_key_between(list->rows[i - 1].key, list->rows[i].key) : SK_BYTES_NONE};
        for (uint32_t k = i; k < list->count && k < i + each; k++) add_told(&part, &list->rows[k]);
        sk_part_pack(out, &part);
    }
}

int sk_compare_answer(sk_db *db, sk_store_snapshot *snapshot, const sk_outline *outline, const sk_vv *known,
                      uint64_t number, sk_bytes from, sk_bytes to, sk_buf *out)
{
    if (to.len && sk_bytes_compare(from, to) >= 0) return SK_E_PROTOCOL;
    uint32_t first = sk_outline_at(outline, from), end = to.len ? sk_outline_at(outline, to) : outline->count;
    if (first < end && sk_bytes_equal(outline->marks[first].key, from)) first++;
    if (end >= first + MARKS_LEAST)
        return answer_by_marks(db, snapshot, outline, number, from, to, first, end, out);
    told_list list = {0};
    int status = read_rows(db, snapshot, known, from, end_of(to), &list);
    bool fits = list.count <= listed_of(db) && list.bytes <= ANSWER_BYTES_MAX;
    if (!status && (fits || list.count < 2))
        answer_with_rows(&list, number, out);
    else if (!status)
        answer_by_rows(db, &list, number, out);
    told_free(&list);
    return status;
}

/* -- the receiver: its own rows and staged ones, as one walk ------------------------------------------------------- */

typedef struct {
    sk_db *db;
    const sk_vv *vv;
    sk_purpose purpose;
    sk_store_iter *iters[2]; /* its own, staged */
    sk_bytes keys[2], values[2];
    int more[2]; /* what the last step of each said: 1, 0 or an error */
    sk_arena arena;
    /* the row that it stands at */
    sk_bytes raw;
    sk_digest digest;
    bool staged;
    bool counts; /* its own row has counts, live or dead */
    bool senseless; /* … cannot be read, or makes no sense: `digest` is one of its own */
} walk;

static void step(walk *at, int side)
{
    at->more[side] = sk_store_next(at->db->store, at->iters[side], &at->keys[side], &at->values[side]);
    if (side == 1 && at->more[1] > 0) at->keys[1] = sk_bytes_of(at->keys[1].data + 1, at->keys[1].len - 1);
}

static walk walk_begin(sk_db *db, const sk_belief *belief, const sk_vv *vv, sk_bytes from, sk_bytes to)
{
    walk at = {.db = db, .vv = vv, .purpose = belief->purpose};
    sk_buf staged_from = {0}, staged_to = {0};
    sk_buf_byte(&staged_from, SK_STAGED_ROW);
    sk_buf_bytes(&staged_from, from);
    sk_buf_byte(&staged_to, to.len ? SK_STAGED_ROW : SK_STAGED_ROW + 1);
    sk_buf_bytes(&staged_to, to);
    at.iters[0] = sk_store_iterate(db->store, NULL, SK_CF_ROW, from, end_of(to));
    at.iters[1] = sk_store_iterate(db->store, NULL, SK_CF_STAGED, sk_buf_view(&staged_from), sk_buf_view(&staged_to));
    step(&at, 0);
    step(&at, 1);
    sk_buf_free(&staged_from);
    sk_buf_free(&staged_to);
    return at;
}

static void walk_end(walk *at)
{
    for (int side = 0; side < 2; side++) sk_store_iter_free(at->db->store, at->iters[side]);
    sk_arena_free(&at->arena);
}

/* Of a row of our own only what the sender can have: the entries that its vector covers. Where rows are damaged an entry may
 * be above it that nobody has written: it stays, unless our history, which goes down to there, names it. */
static int keep_covered(const walk *at, sk_row *row)
{
    uint32_t kept = 0;
    int named = 0;
    for (uint32_t i = 0; i < row->count && named >= 0; i++) {
        const sk_entry *entry = &row->entries[i];
        unsigned flags;
        bool covered = sk_vv_covers(at->vv, entry->dot);
        if (!covered) named = at->purpose ? sk_db_history_find(at->db, entry->dot, at->raw, &flags) : 1;
        if (covered || named == 0) row->entries[kept++] = *entry;
    }
    row->count = kept;
    return named < 0 ? named : 0;
}

static bool has_counts(const sk_row *row)
{
    for (uint32_t i = 0; i < row->count; i++)
        if (row->entries[i].kind == SK_ENTRY_COUNT) return true;
    return false;
}

static int read_own(walk *at, sk_row *row)
{
    bool sense;
    int status = at->purpose ? sk_sums_digest(at->db, at->raw, at->values[0], &at->arena, row, &at->digest, &sense)
                            : sk_db_row_read(at->db, at->values[0], &at->arena, row);
    bool empty = sk_row_empty(row);
    at->senseless = at->purpose == SK_FOR_REPAIR ? !sense : at->purpose && empty;
    if (status) return status;
    if (at->senseless && !empty) at->digest++; /* a dead count, which is in no digest, may be what makes no sense of it */
    at->counts = has_counts(row);
    return at->purpose == SK_FOR_AUDIT ? 0 : keep_covered(at, row);
}

static int read_staged(walk *at, sk_row *row)
{
    sk_bytes raw = at->keys[1], key = {raw.data - 1, raw.len + 1}, packed;
    int status = sk_record_open(SK_CF_STAGED, key, at->values[1], &packed);
    return status ? status : sk_db_row_read(at->db, packed, &at->arena, row);
}

/* To the next row. 1, 0 at the end, or an error. What it stands at is good until the next call. */
static int walk_next(walk *at)
{
    for (int side = 0; side < 2; side++) /* what was given by the last call */
        if (at->raw.data && at->more[side] > 0 && sk_bytes_equal(at->keys[side], at->raw)) step(at, side);
    for (int side = 0; side < 2; side++)
        if (at->more[side] < 0) return at->more[side];
    if (!at->more[0] && !at->more[1]) return 0;
    int order = !at->more[0] ? 1 : !at->more[1] ? -1 : sk_bytes_compare(at->keys[0], at->keys[1]);
    at->staged = order >= 0;
    sk_arena_reset(&at->arena);
    at->raw = sk_arena_copy(&at->arena, at->keys[order > 0]);
    sk_row row = {0};
    at->counts = at->senseless = false;
    int status = 0;
    if (order <= 0) status = read_own(at, &row);
    if (!status && at->staged) status = read_staged(at, &row);
    if (!status && (at->staged || !at->senseless)) at->digest = sk_row_digest(&at->db->origins, at->raw, &row);
    return status ? status : 1;
}

/* -- the receiver: its belief -------------------------------------------------------------------------------------- */

void sk_belief_free(sk_belief *belief)
{
    sk_outline_free(&belief->outline);
    sk_buf_free(&belief->from);
}

/* The first staged row at or above a key: 1 and its key, 0, or an error. */
static int first_staged(sk_db *db, sk_bytes from, sk_buf *key)
{
    uint8_t end = SK_STAGED_ROW + 1;
    sk_buf staged_from = {0};
    sk_bytes staged, value;
    sk_buf_byte(&staged_from, SK_STAGED_ROW);
    sk_buf_bytes(&staged_from, from);
    sk_store_iter *iter =
        sk_store_iterate(db->store, NULL, SK_CF_STAGED, sk_buf_view(&staged_from), sk_bytes_of(&end, 1));
    int found = sk_store_next(db->store, iter, &staged, &value);
    sk_buf_reset(key);
    if (found > 0) sk_buf_append(key, staged.data + 1, staged.len - 1);
    sk_store_iter_free(db->store, iter);
    sk_buf_free(&staged_from);
    return found;
}

/* Is the sum of the leaf that begins here what is believed of it? `staged` is the first staged row at or above it. */
static bool leaf_is_believed(const sk_sums *sums, uint32_t at, sk_bytes from, const sk_vv *vv, const sk_buf *staged)
{
    if (at >= sums->count || (sums->state == SK_SUMS_SCANNING && at + 1 == sums->count)) return false;
    const sk_leaf *leaf = sums->leaves[at];
    if (!sk_bytes_equal(leaf->low, from) || !sk_vv_at_most(&leaf->vv, vv)) return false;
    if (staged->len == 0) return true;
    return at + 1 < sums->count && sk_bytes_compare(sums->leaves[at + 1]->low, sk_buf_view(staged)) <= 0;
}

/* Rows one by one from belief->from up to `to`. 1: the rows that may be read came to an end before. */
static int believe_rows(sk_db *db, sk_belief *belief, const sk_vv *vv, sk_bytes to, uint64_t *rows)
{
    walk at = walk_begin(db, belief, vv, sk_buf_view(&belief->from), to);
    int status;
    while ((status = walk_next(&at)) > 0) {
        sk_outline_row(&belief->outline, at.raw, at.digest, db->sums.leaf_rows);
        if (--*rows > 0) continue;
        sk_buf_reset(&belief->from);
        sk_buf_bytes(&belief->from, at.raw);
        sk_buf_byte(&belief->from, 0); /* the least key above it */
        break;
    }
    walk_end(&at);
    return status;
}

int sk_belief_step(sk_db *db, sk_belief *belief, const sk_vv *vv, uint64_t rows)
{
    sk_sums_settle(&db->sums);
    const sk_sums *sums = &db->sums;
    sk_arena arena = {0};
    sk_buf staged = {0};
    int status = first_staged(db, sk_buf_view(&belief->from), &staged);
    while (rows > 0 && !belief->complete && status >= 0) {
        sk_bytes from = sk_buf_view(&belief->from);
        uint32_t at = sums->count ? sk_sums_find(sums, from) : 0;
        sk_bytes to = at + 1 < sums->count ? sk_arena_copy(&arena, sums->leaves[at + 1]->low) : SK_BYTES_NONE;
        if (!belief->inside) sk_outline_mark(&belief->outline, from);
        if (!belief->inside && leaf_is_believed(sums, at, from, vv, &staged)) {
            sk_outline_add(&belief->outline, sums->leaves[at]->rows, sums->leaves[at]->sum);
            rows -= rows < LEAF_COST ? rows : LEAF_COST;
        } else {
            status = believe_rows(db, belief, vv, to, &rows);
            belief->inside = status > 0;
            if (status) break;
            status = first_staged(db, to, &staged);
        }
        sk_buf_reset(&belief->from);
        sk_buf_bytes(&belief->from, to);
        belief->complete = to.len == 0;
    }
    sk_arena_free(&arena);
    sk_buf_free(&staged);
    return status < 0 ? status : !belief->complete;
}

static int believed_sum(sk_db *db, const sk_belief *belief, const sk_vv *vv, sk_bytes from, sk_bytes to, sk_digest *sum)
{
    walk at = walk_begin(db, belief, vv, from, to);
    int status;
    while ((status = walk_next(&at)) > 0) *sum += at.digest;
    walk_end(&at);
    return status;
}

int sk_belief_sum(sk_db *db, const sk_belief *belief, const sk_vv *vv, sk_bytes from, sk_bytes to, sk_digest *sum)
{
    const sk_outline *outline = &belief->outline;
    *sum = 0;
    uint32_t first = sk_outline_at(outline, from), end = to.len ? sk_outline_at(outline, to) : outline->count;
    bool to_is_mark = to.len == 0 || (end < outline->count && sk_bytes_equal(outline->marks[end].key, to));
    uint32_t last = to_is_mark ? end : end - 1; /* the first mark, the empty key, is below every other */
    if (first >= outline->count || first > last) return believed_sum(db, belief, vv, from, to, sum);
    uint64_t rows;
    sk_outline_between(outline, first, last, &rows, sum);
    bool from_is_mark = sk_bytes_equal(outline->marks[first].key, from);
    int status = from_is_mark ? 0 : believed_sum(db, belief, vv, from, outline->marks[first].key, sum);
    if (!status && !to_is_mark) status = believed_sum(db, belief, vv, outline->marks[last].key, to, sum);
    return status;
}

static void want(sk_bytes key, sk_buf *wanted, uint32_t *count)
{
    sk_pack_bytes(wanted, key);
    ++*count;
}

/* What is found out of one row: nothing; it must come from the sender; the sender has none. One with nothing but dead counts
 * is there: were it taken for absent, ours of the same counts would be taken for stripped. */
typedef enum { ALIKE, WANTED, ABSENT } finding;

/* Must a row come that we have nothing of? Dead counts alone only if they are news. */
static bool is_missed(const sk_belief *belief, const sk_listed *row)
{
    return row->news || (belief->purpose && row->digest);
}

static finding look(const walk *at, const sk_listed *row)
{
    if (!row) return at->digest ? ABSENT : ALIKE;
    bool believed = at->staged || at->digest || at->counts || at->purpose;
    return (row->news || believed) && (uint64_t)at->digest != row->digest ? WANTED : ALIKE;
}

int sk_belief_settle(sk_db *db, const sk_belief *belief, const sk_vv *vv, sk_buf *from, sk_bytes to, sk_elements listed, uint64_t rows,
                     sk_buf *wanted, uint32_t *count)
{
    sk_listed row = {0};
    sk_arena arena = {0};
    sk_bytes *absent = sk_alloc(rows * sizeof *absent);
    uint64_t absents = 0;
    bool more = sk_listed_next(&listed, &row);
    while (more && sk_bytes_compare(row.key, sk_buf_view(from)) < 0) more = sk_listed_next(&listed, &row);
    walk at = walk_begin(db, belief, vv, sk_buf_view(from), to);
    int status;
    while ((status = walk_next(&at)) > 0) {
        for (; more && sk_bytes_compare(row.key, at.raw) < 0; more = sk_listed_next(&listed, &row))
            if (is_missed(belief, &row)) want(row.key, wanted, count);
        bool in_both = more && sk_bytes_equal(row.key, at.raw);
        finding found = look(&at, in_both ? &row : NULL);
        if (found == WANTED) want(at.raw, wanted, count);
        if (found == ABSENT) absent[absents++] = sk_arena_copy(&arena, at.raw);
        if (in_both) more = sk_listed_next(&listed, &row);
        if (--rows > 0) continue;
        sk_buf_reset(from);
        sk_buf_bytes(from, at.raw);
        sk_buf_byte(from, 0);
        break;
    }
    walk_end(&at);
    for (; status == 0 && more; more = sk_listed_next(&listed, &row))
        if (is_missed(belief, &row)) want(row.key, wanted, count);
    for (uint64_t i = 0; i < absents; i++) sk_fold_stage_absent(db, absent[i]);
    free(absent);
    sk_arena_free(&arena);
    return status;
}
