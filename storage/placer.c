#include "storage/placer.h"

#include "storage/log.h"

#include <stdio.h>
#include <stdlib.h>

enum { REPLAY_BYTES = 32 << 20 }; /* of the log held in memory at a time */

void sk_placer_init(sk_placer *placer, sk_database *database, sk_journal *journal)
{
    *placer = (sk_placer){.database = database, .journal = journal, .write = rocksdb_writebatch_create()};
}

void sk_placer_reset(sk_placer *placer)
{
    sk_run_free(&placer->run);
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
    placer->bytes += sk_batch_memory(batch);
}

void sk_placer_begin(sk_placer *placer)
{
    if (placer->active || placer->count == 0) return;
    sk_run_make(&placer->run, placer->queue, placer->count);
    placer->run_at = 0;
    placer->begun = false;
    placer->run_batches = placer->count;
    placer->run_upto = placer->queue[placer->count - 1]->number;
    placer->coalesced += placer->run.coalesced;
    placer->active = true;
}

/* -- writing a run -------------------------------------------------------------------------------------------------- */

/* A key above every one that the family has on disk, into `key`. 1, 0 if the family is empty, or an error. */
static int above_all(sk_placer *placer, sk_cf cf, sk_buf *key, char *error)
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
    char *message = NULL;
    if (!any) rocksdb_iter_get_error(last, &message);
    rocksdb_iter_destroy(last);
    int status = sk_database_error(message, error);
    return status ? status : any;
}

static int write_range(sk_placer *placer, const sk_change *range, char *error)
{
    sk_bytes from = sk_change_key(range), to = sk_change_value(range);
    sk_buf above = {0};
    int any = range->open_end ? above_all(placer, (sk_cf)range->cf, &above, error) : 1;
    if (range->open_end) to = sk_buf_view(&above);
    if (any > 0 && sk_bytes_compare(from, to) < 0)
        rocksdb_writebatch_delete_range_cf(placer->write, placer->database->family[range->cf], (const char *)from.data,
                                           from.len, (const char *)to.data, to.len);
    sk_buf_free(&above);
    return any < 0 ? any : 0;
}

/* A removal of what RocksDB does not have leaves nothing to be written: only a tombstone, which would stay for long. */
static bool is_idle(const sk_placer *placer, const sk_change *change)
{
    return change->kind != SK_CHANGE_PUT &&
           !sk_database_may_have(placer->database, (sk_cf)change->cf, sk_change_key(change));
}

static void write_point(sk_placer *placer, const sk_change *change)
{
    if (is_idle(placer, change)) return;
    rocksdb_column_family_handle_t *family = placer->database->family[change->cf];
    const char *key = (const char *)change->data;
    if (change->kind == SK_CHANGE_PUT)
        rocksdb_writebatch_put_cf(placer->write, family, key, change->key_len, key + change->key_len, change->value_len);
    else
        rocksdb_writebatch_delete_cf(placer->write, family, key, change->key_len);
}

static int write_now(sk_placer *placer, char *error)
{
    char *message = NULL;
    rocksdb_write(placer->database->db, placer->database->write_plain, placer->write, &message);
    rocksdb_writebatch_clear(placer->write);
    return sk_database_error(message, error);
}

/* The log first: nothing of a run may outlive it. */
static int step_begin(sk_placer *placer, char *error)
{
    const sk_run *run = &placer->run;
    int status = sk_journal_sync(placer->journal, error);
    for (size_t i = 0; i < run->range_count && !status; i++) status = write_range(placer, run->ranges[i], error);
    if (status) return status;
    placer->begun = true;
    return write_now(placer, error);
}

/* Points lie all over memory, in the order of their keys: what comes soon is fetched while RocksDB is busy with one (a
 * quarter of placing was waiting for memory). Always inline: gcc takes a call for one without effect and leaves it out. */
__attribute__((always_inline)) static inline void fetch_ahead(const sk_run *run, size_t at)
{
    enum { AHEAD = 8, LINE = 64, LINES = 3 };
    if (at + AHEAD >= run->begin[SK_CF_COUNT]) return;
    const char *change = (const char *)run->points[at + AHEAD];
    for (int line = 0; line < LINES; line++) __builtin_prefetch(change + line * LINE);
}

/* The whole part of a family, as a table. */
static int step_table(sk_placer *placer, sk_cf cf, char *error)
{
    const sk_run *run = &placer->run;
    sk_database *database = placer->database;
    int status = placer->in_memtable[cf] ? sk_database_flush(database, cf, error) : 0;
    if (!status) status = sk_database_table_begin(database, cf, error);
    if (status) return status;
    placer->in_memtable[cf] = false;
    for (size_t i = run->begin[cf]; i < run->begin[cf + 1]; i++) {
        fetch_ahead(run, i);
        const sk_change *change = run->points[i];
        if (is_idle(placer, change)) continue;
        const sk_bytes value = sk_change_value(change);
        sk_database_table_add(database, sk_change_key(change), change->kind == SK_CHANGE_PUT ? &value : NULL);
    }
    status = sk_database_table_take_in(database, cf, error);
    if (status) return status;
    placer->run_at = run->begin[cf + 1];
    placer->tables++;
    return 0;
}

static bool as_table(const sk_run *run, size_t at)
{
    sk_cf cf = (sk_cf)run->points[at]->cf;
    return at == run->begin[cf] && run->bytes[cf] >= SK_PLACER_TABLE;
}

/* Points up to the next family that becomes a table. */
static void fill_slice(sk_placer *placer)
{
    const sk_run *run = &placer->run;
    for (size_t bytes = 0; placer->run_at < run->begin[SK_CF_COUNT] && bytes < SK_PLACER_SLICE; placer->run_at++) {
        if (as_table(run, placer->run_at)) return;
        const sk_change *change = run->points[placer->run_at];
        bytes += change->key_len + change->value_len + 16;
        placer->in_memtable[change->cf] = true;
        write_point(placer, change);
    }
}

static void finish(sk_placer *placer)
{
    for (size_t i = 0; i < placer->run_batches; i++) placer->bytes -= sk_batch_memory(placer->queue[i]);
    placer->count -= placer->run_batches;
    memmove(placer->queue, placer->queue + placer->run_batches, placer->count * sizeof *placer->queue);
    placer->placed = placer->run_upto;
    placer->rows += placer->run.begin[SK_CF_COUNT];
    placer->runs++;
    sk_run_end(&placer->run);
    placer->active = false;
}

void sk_placer_trim(sk_placer *placer)
{
    if (!placer->active) sk_run_free(&placer->run);
}

/* 1: more of the run follows, 0: all of it is written. */
static int write_step(sk_placer *placer, char *error)
{
    sk_assert(placer->active);
    const sk_run *run = &placer->run;
    size_t end = run->begin[SK_CF_COUNT];
    int status;
    if (!placer->begun) {
        status = step_begin(placer, error);
    } else if (placer->run_at < end && as_table(run, placer->run_at)) {
        status = step_table(placer, (sk_cf)run->points[placer->run_at]->cf, error);
    } else {
        fill_slice(placer);
        status = write_now(placer, error);
    }
    return status ? status : placer->run_at < end;
}

/* What was written is on the disk before its log goes. */
int sk_placer_step(sk_placer *placer, char *error)
{
    int status = write_step(placer, error);
    if (status) return status;
    bool goes = sk_journal_has_done(placer->journal, placer->run_upto);
    if (goes) status = sk_database_sync_log(placer->database, error);
    if (goes && !status) status = sk_journal_remove(placer->journal, placer->run_upto, error);
    if (!status) finish(placer);
    return status;
}

/* Likewise; and all of it is in tables. Damage in its own log RocksDB takes for a torn end: with nothing of ours to replay
 * behind that, an older state would come up and pass for the last one. */
int sk_placer_restart_log(sk_placer *placer, char *error)
{
    sk_assert(!placer->active && !placer->count);
    int status = 0;
    for (int cf = 0; cf < SK_CF_COUNT && !status; cf++) status = sk_database_flush(placer->database, (sk_cf)cf, error);
    return status ? status : sk_journal_restart(placer->journal, error);
}

/* -- at the start ----------------------------------------------------------------------------------------------------- */

typedef struct {
    sk_placer *placer;
    sk_batch batch;
    sk_chunks chunks;
    char *error;
} replay;

static int place_all(replay *of)
{
    sk_placer *placer = of->placer;
    int status = 1;
    placer->half_replayed = true;
    sk_placer_add(placer, &of->batch);
    sk_placer_begin(placer);
    while (status > 0) status = write_step(placer, of->error);
    if (!status) finish(placer);
    sk_placer_reset(placer);
    sk_chunks_give_back(&of->chunks, &of->batch.memory);
    of->batch = (sk_batch){0};
    return status;
}

static int take_record(void *self, uint64_t number, sk_bytes bytes)
{
    replay *of = self;
    sk_reader reader = sk_reader_of(bytes);
    sk_logged logged;
    int status;
    of->batch.number = number;
    while ((status = sk_log_next(&reader, &logged)) > 0)
        sk_batch_record(&of->batch, &of->chunks, logged.kind, logged.cf, logged.key, logged.value)->open_end =
            logged.open_end;
    if (status) snprintf(of->error, SK_FOLDER_ERROR, "a record of the commit log is damaged");
    return !status && of->batch.memory.bytes > REPLAY_BYTES ? place_all(of) : status;
}

int sk_placer_replay(sk_placer *placer, uint64_t *last, char *error)
{
    replay of = {.placer = placer, .error = error};
    sk_assert(!placer->active);
    sk_chunks_init(&of.chunks, REPLAY_BYTES);
    int status = sk_journal_read(placer->journal, take_record, &of, error);
    if (!status && of.batch.first) status = place_all(&of);
    sk_chunks_give_back(&of.chunks, &of.batch.memory);
    sk_chunks_free(&of.chunks);
    *last = placer->placed;
    if (!status) placer->half_replayed = false;
    return status ? status : sk_placer_restart_log(placer, error);
}
