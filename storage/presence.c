#include "storage/presence.h"

#include "storage/overlay.h"

#include <stdlib.h>

enum {
    BITS_A_KEY = 8,       /* with so few it says "maybe" to one absent key in twenty */
    LEARN_MOST = 1 << 30, /* bytes of tables: some seconds of reading */
    LOOK_EVERY = 1024,    /* keys between looks at whether to stop */
    READAHEAD = 2 << 20,
};

void sk_presence_init(sk_presence *presence, sk_cf cf, size_t bytes)
{
    *presence = (sk_presence){.cf = cf, .count = bytes / sizeof(uint64_t) + 1};
    presence->words = sk_alloc(presence->count * sizeof *presence->words);
    sk_worker_init(&presence->worker);
}

void sk_presence_free(sk_presence *presence)
{
    sk_presence_stop(presence);
    sk_worker_free(&presence->worker);
    free((void *)presence->words);
    *presence = (sk_presence){0};
}

static uint64_t property(const sk_presence *presence, const char *name)
{
    uint64_t value = 0;
    rocksdb_t *db = presence->database->db;
    return rocksdb_property_int_cf(db, presence->database->family[presence->cf], name, &value) == 0 ? value : UINT64_MAX;
}

static bool worth_reading(const sk_presence *presence)
{
    return property(presence, "rocksdb.estimate-live-data-size") <= LEARN_MOST &&
           property(presence, "rocksdb.estimate-num-keys") <= presence->count * 64 / BITS_A_KEY;
}

static void *learn(void *argument)
{
    sk_presence *presence = argument;
    sk_database_thread_begin();
    if (!worth_reading(presence)) return NULL;
    rocksdb_readoptions_t *options = rocksdb_readoptions_create();
    rocksdb_readoptions_set_fill_cache(options, 0);
    rocksdb_readoptions_set_readahead_size(options, READAHEAD);
    const sk_database *database = presence->database;
    rocksdb_iterator_t *iter = rocksdb_create_iterator_cf(database->db, options, database->family[presence->cf]);
    size_t keys = 0;
    bool stopped = false;
    for (rocksdb_iter_seek_to_first(iter); rocksdb_iter_valid(iter) && !stopped; rocksdb_iter_next(iter)) {
        size_t len;
        const char *key = rocksdb_iter_key(iter, &len);
        sk_presence_add(presence, sk_overlay_hash(presence->cf, sk_bytes_of(key, len)));
        if (++keys % LOOK_EVERY == 0) stopped = atomic_load(&presence->stopping);
    }
    char *error = NULL;
    rocksdb_iter_get_error(iter, &error);
    if (!error && !stopped) atomic_store_explicit(&presence->complete, true, memory_order_release);
    free(error); /* whoever reads there meets it, too */
    rocksdb_iter_destroy(iter);
    rocksdb_readoptions_destroy(options);
    return NULL;
}

void sk_presence_learn(sk_presence *presence, const sk_database *database)
{
    presence->database = database;
    atomic_store(&presence->stopping, false);
    (void)sk_worker_start(&presence->worker, "sk-learn", learn, presence); /* without a thread it stays "maybe" */
}

void sk_presence_stop(sk_presence *presence)
{
    atomic_store(&presence->stopping, true);
    sk_worker_stop(&presence->worker, true);
    atomic_store(&presence->complete, false);
}
