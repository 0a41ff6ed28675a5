#include "storage/placer.h"

#include "storage/log.h"

#include <stdio.h>
#include <stdlib.h>

enum {
    BATCH_BYTES = 16 << 10,   /* what even the smallest batch holds in memory: its arena's first block */
    REPLAY_BYTES = 32 << 20,  /* of the log held in memory at a time */
};

void sk_placer_init(sk_placer *placer, sk_database *database)
{
    *placer = (sk_placer){.database = database, .write = rocksdb_writebatch_create()};
}

void sk_placer_reset(sk_placer *placer)
{
    free(placer->run);
    free(placer->ranges);
    placer->run = placer->ranges = NULL;
    placer->active = false;
    placer->count = placer->bytes = placer->run_batches = 0;
    rocksdb_writebatch_clear(placer->write);
}

void sk_placer_free(sk_placer *placer)
{
    sk_placer_reset(placer);
    free(placer->queue);
    rocksdb_writebatch_destroy(placer->write);
}

void sk_placer_add(sk_placer *placer, sk_batch *batch)
{
    if (placer->count == placer->cap) {
        placer->cap = placer->cap ? placer->cap * 2 : 256;
        placer->queue = sk_realloc(placer->queue, placer->cap * sizeof *placer->queue);
    }
    placer->queue[placer->count++] = batch;
    placer->bytes += batch->bytes + BATCH_BYTES;
}

/* -- sorting a run -------------------------------------------------------------------------------------------------- */

typedef struct {
    uint64_t prefix; /* the eight bytes of the key after what all keys of the family begin with, big-endian */
    const sk_change *change;
    size_t order; /* of coming */
} item;

static int item_compare(const void *a, const void *b)
{
    const item *x = a, *y = b;
    if (x->prefix != y->prefix) return x->prefix < y->prefix ? -1 : 1;
    int order = sk_bytes_compare(sk_change_key(x->change), sk_change_key(y->change));
    if (order) return order;
    return x->order < y->order ? -1 : 1;
}

/* How many bytes every key begins with. */
static size_t shared_prefix(const item *items, size_t count)
{
    sk_bytes first = sk_change_key(items[0].change);
    size_t shared = first.len;
    for (size_t i = 1; i < count && shared; i++) {
        sk_bytes key = sk_change_key(items[i].change);
        if (key.len < shared) shared = key.len;
        while (shared && memcmp(first.data, key.data, shared) != 0) shared--;
    }
    return shared;
}

static void sort_items(item *items, size_t count)
{
    size_t shared = count ? shared_prefix(items, count) : 0;
    for (size_t i = 0; i < count; i++) {
        sk_bytes key = sk_change_key(items[i].change);
        for (size_t k = 0; k < 8; k++)
            items[i].prefix = items[i].prefix << 8 | (shared + k < key.len ? key.data[shared + k] : 0);
    }
    if (count) qsort(items, count, sizeof *items, item_compare);
}

typedef struct {
    const sk_change *change;
    size_t order;
} ranged;

/* A range removal that came after the point took it out again. */
static bool removed_later(const item *point, const ranged *ranges, size_t count)
{
    sk_bytes key = sk_change_key(point->change);
    for (size_t i = 0; i < count; i++) {
        const sk_change *range = ranges[i].change;
        if (ranges[i].order < point->order || range->cf != point->change->cf) continue;
        if (sk_bytes_compare(key, sk_change_key(range)) < 0) continue;
        if (range->open_end || sk_bytes_compare(key, sk_change_value(range)) < 0) return true;
    }
    return false;
}

/* Sorts the points of one family and appends to the run the newest of each key that nothing removed later. */
static void add_family(sk_placer *placer, item *items, size_t count, const ranged *ranges, size_t range_count)
{
    sort_items(items, count);
    for (size_t i = 0; i < count; i++) {
        bool newest = i + 1 == count || !sk_bytes_equal(sk_change_key(items[i].change), sk_change_key(items[i + 1].change));
        if (newest && !removed_later(&items[i], ranges, range_count))
            placer->run[placer->run_count++] = items[i].change;
        else
            placer->coalesced++;
    }
}

void sk_placer_begin(sk_placer *placer)
{
    if (placer->active || placer->count == 0) return;
    size_t total = 0, order = 0, range_count = 0, per_family[SK_CF_COUNT] = {0};
    for (size_t b = 0; b < placer->count; b++) total += placer->queue[b]->count;
    item *items = sk_alloc((total + 1) * sizeof *items);
    ranged *ranges = sk_alloc((total + 1) * sizeof *ranges);
    for (size_t b = 0; b < placer->count; b++)
        for (const sk_change *change = placer->queue[b]->first; change; change = change->next)
            if (change->kind != SK_CHANGE_RANGE) per_family[change->cf]++;
    size_t start[SK_CF_COUNT], fill[SK_CF_COUNT], at = 0;
    for (int cf = 0; cf < SK_CF_COUNT; cf++) {
        start[cf] = fill[cf] = at;
        at += per_family[cf];
    }
    for (size_t b = 0; b < placer->count; b++)
        for (const sk_change *change = placer->queue[b]->first; change; change = change->next, order++) {
            if (change->kind == SK_CHANGE_RANGE)
                ranges[range_count++] = (ranged){change, order};
            else
                items[fill[change->cf]++] = (item){0, change, order};
        }
    placer->run = sk_alloc((total + 1) * sizeof *placer->run);
    placer->ranges = sk_alloc((range_count + 1) * sizeof *placer->ranges);
    placer->run_count = placer->run_at = placer->ranges_at = 0;
    for (int cf = 0; cf < SK_CF_COUNT; cf++)
        add_family(placer, items + start[cf], per_family[cf], ranges, range_count);
    for (size_t i = 0; i < range_count; i++) placer->ranges[i] = ranges[i].change;
    placer->range_count = range_count;
    placer->run_batches = placer->count;
    placer->run_upto = placer->queue[placer->count - 1]->number;
    placer->active = true;
    free(items);
    free(ranges);
}

/* -- writing a run -------------------------------------------------------------------------------------------------- */

/* A key above every one that the family has on disk, into `key`. False: the family is empty. */
static bool above_all(sk_placer *placer, sk_cf cf, sk_buf *key)
{
    sk_database *database = placer->database;
    rocksdb_iterator_t *last = rocksdb_create_iterator_cf(database->db, database->read, database->family[cf]);
    rocksdb_iter_seek_to_last(last);
    bool any = rocksdb_iter_valid(last);
    if (any) {
        size_t len;
        const char *data = rocksdb_iter_key(last, &len);
        sk_buf_append(key, data, len);
        sk_buf_byte(key, 0);
    }
    rocksdb_iter_destroy(last);
    return any;
}

static void write_range(sk_placer *placer, const sk_change *range)
{
    sk_bytes from = sk_change_key(range), to = sk_change_value(range);
    sk_buf above = {0};
    bool any = !range->open_end || above_all(placer, (sk_cf)range->cf, &above);
    if (range->open_end) to = sk_buf_view(&above);
    if (any && sk_bytes_compare(from, to) < 0)
        rocksdb_writebatch_delete_range_cf(placer->write, placer->database->family[range->cf], (const char *)from.data,
                                           from.len, (const char *)to.data, to.len);
    sk_buf_free(&above);
}

static void write_point(sk_placer *placer, const sk_change *change)
{
    rocksdb_column_family_handle_t *family = placer->database->family[change->cf];
    const char *key = (const char *)change->data;
    if (change->kind == SK_CHANGE_PUT)
        rocksdb_writebatch_put_cf(placer->write, family, key, change->key_len, key + change->key_len, change->value_len);
    else
        rocksdb_writebatch_delete_cf(placer->write, family, key, change->key_len);
}

static void remove_log(sk_placer *placer)
{
    uint8_t from[SK_LOG_KEY], to[SK_LOG_KEY];
    sk_log_key(from, 0);
    sk_log_key(to, placer->run_upto + 1);
    rocksdb_writebatch_delete_range_cf(placer->write, placer->database->log, (const char *)from, sizeof from,
                                       (const char *)to, sizeof to);
}

static void finish(sk_placer *placer)
{
    for (size_t i = 0; i < placer->run_batches; i++) placer->bytes -= placer->queue[i]->bytes + BATCH_BYTES;
    placer->count -= placer->run_batches;
    memmove(placer->queue, placer->queue + placer->run_batches, placer->count * sizeof *placer->queue);
    placer->placed = placer->run_upto;
    placer->rows += placer->run_count;
    placer->runs++;
    free(placer->run);
    free(placer->ranges);
    placer->run = placer->ranges = NULL;
    placer->active = false;
}

int sk_placer_step(sk_placer *placer, char *error)
{
    sk_assert(placer->active);
    size_t bytes = 0;
    rocksdb_writebatch_clear(placer->write);
    while (placer->ranges_at < placer->range_count) write_range(placer, placer->ranges[placer->ranges_at++]);
    while (placer->run_at < placer->run_count && bytes < SK_PLACER_SLICE) {
        const sk_change *change = placer->run[placer->run_at++];
        bytes += change->key_len + change->value_len + 16;
        write_point(placer, change);
    }
    bool last = placer->run_at == placer->run_count;
    if (last) remove_log(placer);
    char *message = NULL;
    rocksdb_write(placer->database->db, placer->database->write_plain, placer->write, &message);
    if (message) return sk_database_error(message, error);
    if (last) finish(placer);
    return !last;
}

/* -- at the start ----------------------------------------------------------------------------------------------------- */

static sk_change *copy_change(sk_batch *batch, const sk_logged *logged)
{
    sk_change *change = sk_arena_take(&batch->arena, sizeof *change + logged->key.len + logged->value.len);
    *change = (sk_change){.kind = (uint8_t)logged->kind, .cf = (uint8_t)logged->cf, .open_end = logged->open_end};
    change->key_len = (uint32_t)logged->key.len;
    change->value_len = (uint32_t)logged->value.len;
    if (logged->key.len) memcpy(change->data, logged->key.data, logged->key.len);
    if (logged->value.len) memcpy(change->data + logged->key.len, logged->value.data, logged->value.len);
    if (batch->last)
        batch->last->next = change;
    else
        batch->first = change;
    batch->last = change;
    batch->count++;
    batch->bytes += sizeof *change + logged->key.len + logged->value.len;
    return change;
}

static int read_record(sk_batch *batch, rocksdb_iterator_t *iter)
{
    size_t key_len, len;
    const uint8_t *key = (const uint8_t *)rocksdb_iter_key(iter, &key_len);
    const char *data = rocksdb_iter_value(iter, &len);
    if (key_len != SK_LOG_KEY || len == 0) return SK_E_CORRUPT; /* every group has a change */
    batch->number = 0;
    for (size_t i = 0; i < SK_LOG_KEY; i++) batch->number = batch->number << 8 | key[i];
    sk_reader reader = sk_reader_of(sk_bytes_of(data, len));
    sk_logged logged;
    int status;
    while ((status = sk_log_next(&reader, &logged)) > 0) copy_change(batch, &logged);
    return status;
}

static int place_all(sk_placer *placer, sk_batch *batch, char *error)
{
    int status = 1;
    sk_placer_add(placer, batch);
    sk_placer_begin(placer);
    while (status > 0) status = sk_placer_step(placer, error);
    sk_arena_free(&batch->arena);
    *batch = (sk_batch){0};
    return status;
}

int sk_placer_replay(sk_placer *placer, uint64_t *last, char *error)
{
    sk_database *database = placer->database;
    rocksdb_iterator_t *iter = rocksdb_create_iterator_cf(database->db, database->read, database->log);
    sk_batch batch = {0};
    int status = 0;
    *last = 0;
    for (rocksdb_iter_seek_to_first(iter); !status && rocksdb_iter_valid(iter); rocksdb_iter_next(iter)) {
        status = read_record(&batch, iter);
        *last = batch.number;
        if (!status && batch.bytes > REPLAY_BYTES) status = place_all(placer, &batch, error);
    }
    char *message = NULL;
    rocksdb_iter_get_error(iter, &message);
    rocksdb_iter_destroy(iter);
    if (status == SK_E_CORRUPT) snprintf(error, SK_FOLDER_ERROR, "a record of the commit log is damaged");
    if (!status)
        status = sk_database_error(message, error);
    else
        free(message);
    if (!status && batch.first) status = place_all(placer, &batch, error);
    sk_arena_free(&batch.arena);
    return status;
}
