/* What the tests of the stores share: temporary directories, opening either store, and waiting for a commit. */
#ifndef SK_TESTS_STORE_HARNESS_H
#define SK_TESTS_STORE_HARNESS_H

#include "storage/memory.h"
#include "storage/rocksdb.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <semaphore.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

typedef struct {
    sk_store *store;
    bool on_disk;
    sk_durability durability;
    char path[64];
    sem_t woken;
    sk_rocksdb_options options;
} harness;

static inline int remove_entry(const char *path, const struct stat *status, int type, struct FTW *where)
{
    (void)status, (void)type, (void)where;
    return remove(path);
}

static inline void remove_tree(const char *path)
{
    nftw(path, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
}

static inline void harness_wake(void *context)
{
    sem_post(context);
}

static inline void harness_open(harness *with)
{
    char error[SK_ROCKSDB_ERROR];
    if (!with->on_disk) {
        with->store = sk_memory_open(with->durability);
        return;
    }
    with->options.path = with->path;
    with->options.durability = with->durability;
    with->options.wake = harness_wake;
    with->options.context = &with->woken;
    if (!with->options.write_buffer_bytes) with->options.write_buffer_bytes = 4 << 20;
    int result = sk_rocksdb_open(&with->options, &with->store, error);
    if (result != SK_OK) print_error("%s\n", error);
    assert_int_equal(result, SK_OK);
}

static inline void harness_start(harness *with, bool on_disk, sk_durability durability)
{
    *with = (harness){.on_disk = on_disk, .durability = durability};
    sem_init(&with->woken, 0, 0);
    strcpy(with->path, "/tmp/skerry-store-XXXXXX");
    if (on_disk) assert_non_null(mkdtemp(with->path));
    harness_open(with);
}

static inline void harness_end(harness *with)
{
    if (with->store) sk_store_close(with->store);
    if (with->on_disk) remove_tree(with->path);
    sem_destroy(&with->woken);
}

/* Until everything up to `number` is committed. Returns what reap returned in the end. */
static inline int harness_commit(harness *with, uint64_t number)
{
    uint64_t durable = 0;
    if (!with->on_disk) sk_memory_sync(with->store, number);
    for (;;) {
        int result = sk_store_reap(with->store, &durable);
        if (result != SK_OK || durable >= number) return result;
        assert_true(with->on_disk);
        while (sem_wait(&with->woken) < 0) assert_int_equal(errno, EINTR);
    }
}

static inline int harness_seal_commit(harness *with)
{
    return harness_commit(with, sk_store_seal(with->store));
}

/* A number of sk_store_stats. */
static inline uint64_t stat_of(sk_store *store, const char *name)
{
    sk_buf text = {0};
    sk_store_stats(store, &text);
    sk_buf_byte(&text, 0);
    const char *at = strstr((char *)text.data, name);
    assert_non_null(at);
    uint64_t value = strtoull(at + strlen(name) + 1, NULL, 10);
    sk_buf_free(&text);
    return value;
}

static inline uint32_t roll(uint64_t *seed, uint32_t sides)
{
    *seed = *seed * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(*seed >> 33) % sides;
}

static inline void put(sk_store *store, sk_cf cf, const char *key, const char *value)
{
    sk_store_put(store, cf, sk_bytes_str(key), sk_bytes_str(value));
}

/* The value of a key as text (static), NULL if there is none; and its batch. */
static inline const char *get_in(sk_store *store, sk_cf cf, const char *key, uint64_t *batch)
{
    static char text[4096];
    sk_bytes value;
    int found = sk_store_get(store, cf, sk_bytes_str(key), &value, batch);
    assert_in_range(found, 0, 1);
    if (!found) return NULL;
    assert_true(value.len < sizeof text);
    memcpy(text, value.data, value.len);
    text[value.len] = '\0';
    return text;
}

static inline const char *get(sk_store *store, sk_cf cf, const char *key)
{
    return get_in(store, cf, key, NULL);
}

static inline void assert_value(sk_store *store, sk_cf cf, const char *key, const char *expected)
{
    const char *value = get(store, cf, key);
    if (!expected) {
        if (value) print_error("%s is %s, expected nothing\n", key, value);
        assert_null(value);
        return;
    }
    if (!value) print_error("%s is missing, expected %s\n", key, expected);
    assert_non_null(value);
    assert_string_equal(value, expected);
}

#endif
