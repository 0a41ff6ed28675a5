#include "storage/overlay.h"

#include <stdlib.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

enum {
    CHANGE_BYTES = 16, /* what a change takes in a log besides key and value: none counts as nothing */
};

uint64_t sk_overlay_hash(sk_cf cf, sk_bytes key)
{
    return XXH3_64bits_withSeed(key.data, key.len, cf);
}

static bool in_range(sk_bytes key, sk_bytes from, sk_bytes to)
{
    return sk_bytes_compare(key, from) >= 0 && (!to.data || sk_bytes_compare(key, to) < 0);
}

static sk_bytes range_end(const sk_change *range)
{
    return range->open_end ? SK_BYTES_NONE : sk_change_value(range);
}

/* Nobody asks for history by its key but once in a while: it is found in the ordered list, into which it goes almost for
 * nothing, as its keys ascend. */
static bool is_hashed(int cf)
{
    return cf != SK_CF_HISTORY;
}

/* -- batches ------------------------------------------------------------------------------------------------------ */

static sk_batch *batch_new(uint64_t number)
{
    sk_batch *batch = sk_alloc(sizeof *batch);
    batch->number = number;
    return batch;
}

void sk_overlay_recycle(sk_overlay *overlay, sk_batch *batch)
{
    sk_chunks_give_back(&overlay->chunks, &batch->memory);
    free(batch);
}

static void append(sk_batch *batch, sk_change *change)
{
    if (batch->last)
        batch->last->next = change;
    else
        batch->first = change;
    batch->last = change;
    if (is_hashed(change->cf) || change->kind == SK_CHANGE_RANGE) return;
    change->chain = NULL;
    if (batch->unhashed)
        batch->unhashed_last->chain = change;
    else
        batch->unhashed = change;
    batch->unhashed_last = change;
}

sk_change *sk_batch_record(sk_batch *batch, sk_chunks *chunks, sk_change_kind kind, sk_cf cf, sk_bytes key, sk_bytes value)
{
    sk_assert(key.len <= UINT32_MAX);
    sk_assert(value.len <= UINT32_MAX);
    sk_change *change = sk_chunks_take(chunks, &batch->memory, offsetof(sk_change, data) + key.len + value.len);
    *change = (sk_change){.number = batch->number,
                          .key_len = (uint32_t)key.len,
                          .value_len = (uint32_t)value.len,
                          .cf = (uint8_t)cf,
                          .kind = (uint8_t)kind};
    if (key.len) memcpy(change->data, key.data, key.len);
    if (value.len) memcpy(change->data + key.len, value.data, value.len);
    append(batch, change);
    batch->count++;
    batch->points[cf] += kind != SK_CHANGE_RANGE;
    batch->bytes += key.len + value.len + CHANGE_BYTES;
    return change;
}

void sk_overlay_init(sk_overlay *overlay, uint64_t first, size_t budget)
{
    *overlay = (sk_overlay){.open = batch_new(first)};
    sk_chunks_init(&overlay->chunks, budget);
}

void sk_overlay_free(sk_overlay *overlay)
{
    sk_batch *lists[] = {overlay->sealed, overlay->open};
    for (size_t i = 0; i < sizeof lists / sizeof lists[0]; i++) {
        for (sk_batch *batch = lists[i]; batch;) {
            sk_batch *next = batch->next;
            sk_overlay_recycle(overlay, batch);
            batch = next;
        }
    }
    for (int cf = 0; cf < SK_CF_COUNT; cf++) sk_skiplist_free(&overlay->order[cf]);
    sk_index_free(&overlay->index);
    sk_chunks_free(&overlay->chunks);
    *overlay = (sk_overlay){0};
}

void sk_overlay_trim(sk_overlay *overlay)
{
    sk_chunks_trim(&overlay->chunks);
    sk_index_trim(&overlay->index);
}

/* -- the newest change of each key ----------------------------------------------------------------------------------- */

typedef struct {
    sk_cf cf;
    sk_bytes key;
} wanted;

static bool is_wanted(const void *item, const void *looked_for)
{
    const sk_change *change = item;
    const wanted *want = looked_for;
    return change->cf == want->cf && sk_bytes_equal(sk_change_key(change), want->key);
}

/* NULL for a family that is not hashed. */
static sk_index_slot *find_slot(const sk_overlay *overlay, uint64_t hash, sk_cf cf, sk_bytes key)
{
    if (!is_hashed(cf)) return NULL;
    return sk_index_find(&overlay->index, hash, is_wanted, &(wanted){cf, key});
}

/* Something newer, or the base, speaks for the key of a live point now. */
static void retire_point(sk_overlay *overlay, sk_change *change)
{
    if (is_hashed(change->cf)) sk_index_remove(&overlay->index, sk_index_slot_of(&overlay->index, change->hash, change));
    if (change->ordered) sk_skiplist_remove(&overlay->order[change->cf], sk_change_key(change));
    change->live = change->ordered = 0;
    overlay->live--;
}

/* A point that is now the newest word on its key; `slot` is where the index has the one before it, NULL: nowhere. */
static void enter_point(sk_overlay *overlay, sk_change *change, sk_index_slot *slot)
{
    change->live = 1;
    overlay->live++;
    if (!is_hashed(change->cf)) return;
    if (!slot) {
        sk_index_add(&overlay->index, change->hash, change);
        return;
    }
    sk_change *old = slot->item;
    slot->item = change;
    if (old->ordered) sk_skiplist_remove(&overlay->order[change->cf], sk_change_key(old));
    old->live = old->ordered = 0;
    overlay->live--;
}

/* A value put in the place of one as long, in the same batch: a size or a sum that many commands of one turn move is
 * recorded, logged and placed once. Nothing that the batch did to the key comes between the two. */
static bool put_over(sk_overlay *overlay, sk_change *old, sk_bytes value)
{
    if (old->number != overlay->open->number || old->kind != SK_CHANGE_PUT || old->value_len != value.len) return false;
    if (value.len) memmove(old->data + old->key_len, value.data, value.len); /* it may be what a get has given */
    return true;
}

uint64_t sk_overlay_change(sk_overlay *overlay, sk_change_kind kind, sk_cf cf, sk_bytes key, sk_bytes value)
{
    sk_assert(kind != SK_CHANGE_RANGE);
    uint64_t hash = is_hashed(cf) ? sk_overlay_hash(cf, key) : 0;
    sk_index_slot *slot = find_slot(overlay, hash, cf, key);
    if (slot && kind == SK_CHANGE_PUT && put_over(overlay, slot->item, value)) return hash;
    if (kind == SK_CHANGE_REMOVE) value = SK_BYTES_NONE;
    sk_change *change = sk_batch_record(overlay->open, &overlay->chunks, kind, cf, key, value);
    if (is_hashed(cf)) change->hash = hash;
    enter_point(overlay, change, slot);
    return hash;
}

/* -- order -------------------------------------------------------------------------------------------------------- */

/* The change of a batch that follows one (NULL: its first) and may be of this family. */
static sk_change *next_of(const sk_batch *batch, const sk_change *change, sk_cf cf)
{
    if (is_hashed(cf)) return change ? change->next : batch->first;
    return change ? change->chain : batch->unhashed;
}

/* What the range covers (NULL: no range), which is newer than all of it, is taken out and not put in order first: most of the
 * history goes that way. */
static void order_batch(sk_overlay *overlay, sk_batch *batch, sk_cf cf, const sk_change *range)
{
    for (sk_change *change = next_of(batch, batch->ordered[cf], cf); change; change = next_of(batch, change, cf)) {
        batch->ordered[cf] = change;
        if (change->cf != cf || change->kind == SK_CHANGE_RANGE || !change->live) continue;
        if (range && in_range(sk_change_key(change), sk_change_key(range), range_end(range))) {
            retire_point(overlay, change);
            continue;
        }
        sk_change *old = sk_skiplist_put(&overlay->order[cf], sk_change_key(change), change);
        change->ordered = 1;
        if (!old) continue;
        sk_assert(!is_hashed(cf)); /* the index tells of what is overwritten at once; here it is noticed late */
        old->live = old->ordered = 0;
        overlay->live--;
    }
}

/* Brings the ordered list of a family up to date. Going over all batches each time would cost more than the look that
 * asked: there may be a thousand. */
static sk_skiplist *bring_up(sk_overlay *overlay, sk_cf cf, const sk_change *range)
{
    sk_batch *batch = overlay->caught_up[cf];
    if (!batch) batch = overlay->sealed;
    for (; batch && batch != overlay->open; batch = batch->next) order_batch(overlay, batch, cf, range);
    order_batch(overlay, overlay->open, cf, range);
    overlay->caught_up[cf] = overlay->open;
    return &overlay->order[cf];
}

static sk_skiplist *order_of(sk_overlay *overlay, sk_cf cf)
{
    return bring_up(overlay, cf, NULL);
}

size_t sk_overlay_unordered(const sk_overlay *overlay)
{
    size_t ordered = 0;
    for (int cf = 0; cf < SK_CF_COUNT; cf++) ordered += overlay->order[cf].count;
    return overlay->live - ordered;
}

static void cut_out(void *self, void *item)
{
    sk_change *change = item;
    change->ordered = 0; /* it is out of the list already */
    retire_point(self, change);
}

/* A range that is now the newest word on what it covers. */
static void enter_range(sk_overlay *overlay, sk_change *range)
{
    sk_cf cf = (sk_cf)range->cf;
    range->live = 1;
    range->chain = NULL;
    sk_bytes start = sk_change_key(range), end = range_end(range);
    sk_skiplist_cut(bring_up(overlay, cf, range), start, end, cut_out, overlay);
    sk_change **link = &overlay->ranges[cf];
    while (*link) {
        sk_change *older = *link;
        bool covered = sk_bytes_compare(sk_change_key(older), start) >= 0 &&
                       (!end.data || (!older->open_end && sk_bytes_compare(sk_change_value(older), end) <= 0));
        if (covered) {
            older->live = 0;
            *link = older->chain;
        } else {
            link = &older->chain;
        }
    }
    *link = range;
}

void sk_overlay_remove_range(sk_overlay *overlay, sk_cf cf, sk_bytes from, sk_bytes to)
{
    if (to.data && sk_bytes_compare(from, to) >= 0) return;
    sk_change *range = sk_batch_record(overlay->open, &overlay->chunks, SK_CHANGE_RANGE, cf, from, to);
    range->open_end = !to.data;
    enter_range(overlay, range);
}

static const sk_change *find_point(sk_overlay *overlay, uint64_t hash, sk_cf cf, sk_bytes key)
{
    if (!is_hashed(cf)) return sk_skiplist_get(order_of(overlay, cf), key);
    sk_index_slot *slot = find_slot(overlay, hash, cf, key);
    return slot ? slot->item : NULL;
}

sk_overlay_answer sk_overlay_find(sk_overlay *overlay, uint64_t hash, sk_cf cf, sk_bytes key, sk_bytes *value,
                                  uint64_t *number)
{
    const sk_change *point = overlay->live ? find_point(overlay, hash, cf, key) : NULL;
    if (point) {
        *value = sk_change_value(point);
        *number = point->number;
        return point->kind == SK_CHANGE_PUT ? SK_OVERLAY_FOUND : SK_OVERLAY_REMOVED;
    }
    sk_overlay_answer answer = SK_OVERLAY_ELSEWHERE;
    for (const sk_change *range = overlay->ranges[cf]; range; range = range->chain) {
        if (!in_range(key, sk_change_key(range), range_end(range))) continue;
        *number = range->number; /* the last one that covers it is the newest */
        answer = SK_OVERLAY_REMOVED;
    }
    return answer;
}

/* -- the way of a batch ------------------------------------------------------------------------------------------- */

/* Behind the sealed ones. */
static void queue(sk_overlay *overlay, sk_batch *batch)
{
    if (overlay->sealed)
        overlay->sealed_last->next = batch;
    else
        overlay->sealed = batch;
    overlay->sealed_last = batch;
    overlay->sealed_bytes += batch->bytes;
}

sk_batch *sk_overlay_seal(sk_overlay *overlay)
{
    sk_batch *batch = overlay->open;
    overlay->open = batch_new(batch->number + 1);
    queue(overlay, batch);
    return batch;
}

sk_batch *sk_overlay_take(sk_overlay *overlay, uint64_t upto)
{
    sk_batch *batch = overlay->sealed;
    if (!batch || batch->number > upto) return NULL;
    for (sk_change *change = batch->first; change; change = change->next) {
        if (!change->live) continue;
        if (change->kind != SK_CHANGE_RANGE) {
            retire_point(overlay, change);
            continue;
        }
        sk_assert(overlay->ranges[change->cf] == change);
        overlay->ranges[change->cf] = change->chain;
        change->live = 0;
    }
    for (int cf = 0; cf < SK_CF_COUNT; cf++)
        if (overlay->caught_up[cf] == batch) overlay->caught_up[cf] = NULL;
    overlay->sealed = batch->next;
    if (!overlay->sealed) overlay->sealed_last = NULL;
    overlay->sealed_bytes -= batch->bytes;
    batch->next = NULL;
    return batch;
}

void sk_overlay_drop_all(sk_overlay *overlay)
{
    sk_overlay_seal(overlay);
    for (sk_batch *batch; (batch = sk_overlay_take(overlay, UINT64_MAX));) sk_overlay_recycle(overlay, batch);
}

/* Puts a batch that was taken out behind the sealed ones again. Its changes enter one after the other, as they did when
 * they came: a range brings the ordered list up to date, which must not know what follows it in the batch yet. */
static void enter_batch(sk_overlay *overlay, sk_batch *batch)
{
    sk_change *change = batch->first;
    batch->first = batch->last = batch->unhashed = batch->unhashed_last = NULL;
    memset(batch->ordered, 0, sizeof batch->ordered);
    queue(overlay, batch);
    while (change) {
        sk_change *next = change->next;
        change->next = NULL;
        append(batch, change);
        if (change->kind == SK_CHANGE_RANGE) {
            overlay->caught_up[change->cf] = NULL; /* it is past the sealed ones, of which this is the newest */
            enter_range(overlay, change);
        } else {
            enter_point(overlay, change, find_slot(overlay, change->hash, (sk_cf)change->cf, sk_change_key(change)));
        }
        change = next;
    }
    memset(overlay->caught_up, 0, sizeof overlay->caught_up);
}

void sk_overlay_keep(sk_overlay *overlay, uint64_t upto)
{
    sk_batch *batches = NULL, **last = &batches;
    sk_overlay_seal(overlay);
    while ((*last = sk_overlay_take(overlay, UINT64_MAX))) last = &(*last)->next;
    while (batches) {
        sk_batch *batch = batches;
        batches = batch->next;
        batch->next = NULL;
        if (batch->number > upto)
            sk_overlay_recycle(overlay, batch);
        else
            enter_batch(overlay, batch);
    }
}

void sk_overlay_check(const sk_overlay *overlay)
{
    size_t live = 0;
    uint64_t number = 0;
    for (const sk_batch *batch = overlay->sealed; batch; batch = batch->next) {
        sk_assert(batch->number > number);
        number = batch->number;
    }
    sk_assert(overlay->open->number > number);
    for (size_t i = 0; i < overlay->index.room; i++) {
        const sk_change *change = overlay->index.slots[i].item;
        if (!change) continue;
        sk_cf cf = (sk_cf)change->cf;
        sk_assert(change->live);
        sk_assert(overlay->index.slots[i].hash == change->hash);
        sk_assert(find_slot(overlay, change->hash, cf, sk_change_key(change)) == &overlay->index.slots[i]);
        void *ordered = sk_skiplist_get(&overlay->order[cf], sk_change_key(change));
        sk_assert(ordered == (change->ordered ? change : NULL));
    }
    for (const sk_batch *batch = overlay->sealed ? overlay->sealed : overlay->open; batch;
         batch = batch == overlay->open ? NULL : batch->next ? batch->next : overlay->open) {
        const sk_change *unhashed = batch->unhashed;
        for (const sk_change *change = batch->first; change; change = change->next) {
            if (change->kind == SK_CHANGE_RANGE) continue;
            live += change->live;
            if (is_hashed(change->cf)) continue;
            sk_assert(change == unhashed);
            unhashed = unhashed->chain;
        }
        sk_assert(!unhashed);
    }
    sk_assert(live == overlay->live);
    for (int cf = 0; cf < SK_CF_COUNT; cf++) {
        sk_skiplist_check(&overlay->order[cf]);
        number = 0;
        for (const sk_change *range = overlay->ranges[cf]; range; range = range->chain) {
            sk_assert(range->live);
            sk_assert(range->number >= number);
            number = range->number;
        }
    }
}

/* -- views -------------------------------------------------------------------------------------------------------- */

static sk_bytes copy(sk_arena *arena, sk_bytes bytes)
{
    return bytes.data ? sk_arena_copy(arena, bytes) : SK_BYTES_NONE;
}

/* May this range hide what is looked at from `from` on? */
static bool is_in_sight(const sk_overlay_view *view, const sk_change *range, sk_bytes from)
{
    sk_bytes end = range_end(range);
    return (!end.data || sk_bytes_compare(from, end) < 0) &&
           (!view->to.data || sk_bytes_compare(sk_change_key(range), view->to) < 0);
}

/* Those alone: who removes a stretch after the other, and looks at what comes behind, would otherwise hold each key against
 * all that was removed before. */
static void copy_ranges(sk_overlay_view *view, sk_bytes from)
{
    const sk_change *first = view->overlay->ranges[view->cf];
    view->range_count = 0;
    for (const sk_change *range = first; range; range = range->chain) view->range_count += is_in_sight(view, range, from);
    if (!view->range_count) return;
    view->ranges = sk_arena_take(&view->arena, view->range_count * sizeof *view->ranges);
    sk_overlay_pair *at = view->ranges;
    for (const sk_change *range = first; range; range = range->chain)
        if (is_in_sight(view, range, from))
            *at++ = (sk_overlay_pair){copy(&view->arena, sk_change_key(range)), copy(&view->arena, range_end(range)), true};
}

/* How many pairs the next piece has room for: more each time, so that a short look costs little and a long one few
 * seeks. */
static size_t next_room(const sk_overlay_view *view, const sk_skipnode *node, bool whole)
{
    enum { FIRST_PAIRS = 64, MOST_PAIRS = 65536 };
    size_t room = view->room ? view->room * 8 : FIRST_PAIRS;
    if (!whole) return room < MOST_PAIRS ? room : MOST_PAIRS;
    for (room = 0; node && (!view->to.data || sk_bytes_compare(node->key, view->to) < 0); node = node->next[0]) room++;
    return room;
}

/* The next pairs from `from` on. */
static void fill(sk_overlay_view *view, sk_bytes from, bool whole)
{
    sk_arena_reset(&view->arena);
    view->count = view->at = 0;
    view->more = false;
    copy_ranges(view, from);
    if (!view->overlay->live) return;
    sk_skipnode *node = sk_skiplist_seek(order_of(view->overlay, view->cf), from);
    size_t room = view->room = next_room(view, node, whole);
    view->pairs = sk_arena_take(&view->arena, room * sizeof *view->pairs);
    for (; node && in_range(node->key, from, view->to) && view->count < room; node = node->next[0]) {
        const sk_change *change = node->item;
        view->pairs[view->count++] =
            (sk_overlay_pair){copy(&view->arena, sk_change_key(change)), copy(&view->arena, sk_change_value(change)),
                              change->kind == SK_CHANGE_REMOVE};
    }
    view->more = node && in_range(node->key, from, view->to);
}

static void refill(sk_overlay_view *view)
{
    sk_buf next = {0};
    sk_buf_bytes(&next, view->pairs[view->count - 1].key);
    sk_buf_byte(&next, 0);
    fill(view, sk_buf_view(&next), false);
    sk_buf_free(&next);
}

void sk_overlay_view_take(sk_overlay *overlay, sk_cf cf, sk_bytes from, sk_bytes to, bool whole,
                          sk_overlay_view *view)
{
    *view = (sk_overlay_view){.overlay = overlay, .cf = cf};
    view->to = copy(&view->bounds, to);
    fill(view, from, whole);
}

/* Whether a range hides the key, and up to where. */
static bool hidden(const sk_overlay_view *view, sk_bytes key, sk_bytes *end)
{
    for (size_t i = 0; i < view->range_count; i++) {
        if (!in_range(key, view->ranges[i].key, view->ranges[i].value)) continue;
        *end = view->ranges[i].value;
        return true;
    }
    return false;
}

sk_view_step sk_overlay_view_next(sk_overlay_view *view, const sk_bytes *below, sk_bytes *key, sk_bytes *value)
{
    while (view->at < view->count || view->more) {
        if (view->at == view->count) refill(view);
        if (view->at == view->count) break;
        const sk_overlay_pair *pair = &view->pairs[view->at];
        int order = below ? sk_bytes_compare(pair->key, *below) : -1;
        if (order > 0) break;
        if (order == 0) return SK_VIEW_SKIP; /* the pair itself comes when the one below is out of the way */
        view->at++;
        if (pair->removed) continue;
        *key = pair->key;
        *value = pair->value;
        return SK_VIEW_PAIR;
    }
    if (!below) return SK_VIEW_END;
    return hidden(view, *below, key) ? SK_VIEW_SEEK : SK_VIEW_BASE;
}

void sk_overlay_view_free(sk_overlay_view *view)
{
    sk_arena_free(&view->arena);
    sk_arena_free(&view->bounds);
    *view = (sk_overlay_view){0};
}
