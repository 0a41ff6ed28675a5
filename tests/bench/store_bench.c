/* How fast the store on disk is, through the interface, as the node uses it: random 17-byte keys with 120-byte values,
 * and an ascending history key with each, sealed every so many puts, reaped as it goes.
 *
 *   store_bench [directory [seconds]]      (a directory that may be removed; default: one below /tmp)
 */
#include "storage/rocksdb.h"

#include <errno.h>
#include <ftw.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { KEYS = 1000000, PENDING_MAX = 8 << 20, GETS = 400000 };

static sem_t woken;
static double seconds = 5;

static void wake(void *context)
{
    (void)context;
    sem_post(&woken);
}

static double now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static int remove_entry(const char *path, const struct stat *status, int type, struct FTW *where)
{
    (void)status, (void)type, (void)where;
    return remove(path);
}

static uint64_t roll(uint64_t *seed)
{
    *seed ^= *seed << 13;
    *seed ^= *seed >> 7;
    *seed ^= *seed << 17;
    return *seed;
}

static sk_bytes row_key(char *into, uint64_t number)
{
    return sk_bytes_of(into, (size_t)sprintf(into, "key:%013llu", (unsigned long long)number));
}

static void check(int result)
{
    if (result >= 0) return;
    fprintf(stderr, "%s\n", sk_error_text(result));
    exit(1);
}

static uint64_t reap(sk_store *store)
{
    uint64_t durable;
    check(sk_store_reap(store, &durable));
    return durable;
}

static void put_one(sk_store *store, uint64_t number, uint64_t seq)
{
    char key[32], value[120];
    memset(value, (int)('a' + seq % 26), sizeof value);
    memcpy(value, &seq, sizeof seq);
    sk_bytes row = row_key(key, number);
    char history[64] = {0, 1};
    for (int i = 0; i < 8; i++) history[2 + i] = (char)(seq >> (56 - 8 * i));
    memcpy(history + 10, row.data, row.len);
    sk_store_put(store, SK_CF_ROW, row, sk_bytes_of(value, sizeof value));
    sk_store_put(store, SK_CF_HISTORY, sk_bytes_of(history, 10 + row.len), SK_BYTES_NONE);
}

/* One run of puts; with `read` each asks for its row first, as a SET does. */
static void bench_puts(sk_store *store, const char *name, int per_batch, bool read)
{
    uint64_t seed = 88172645463325252u, done = 0, batch = 0, durable = 0;
    sk_bytes value;
    char key[32];
    double start = now(), busy = 0;
    while (now() - start < seconds) {
        double turn = now();
        for (int i = 0; i < per_batch; i++, done++) {
            uint64_t number = roll(&seed) % KEYS;
            if (read) check(sk_store_get(store, SK_CF_ROW, row_key(key, number), &value, NULL));
            put_one(store, number, done);
        }
        sk_store_put(store, SK_CF_META, sk_bytes_str("vv"), sk_bytes_of(&done, sizeof done));
        batch = sk_store_seal(store);
        durable = reap(store);
        busy += now() - turn;
        while (sk_store_pending_bytes(store) > PENDING_MAX) {
            while (sem_wait(&woken) < 0) continue;
            durable = reap(store);
        }
    }
    while (durable < batch) {
        while (sem_wait(&woken) < 0) continue;
        durable = reap(store);
    }
    double took = now() - start;
    printf("%-9s %4d a batch%s: %8.0f puts/s; the loop's thread alone %8.0f/s\n", name, per_batch,
           read ? ", read first" : "            ", (double)done / took, (double)done / busy);
    fflush(stdout);
}

static void bench_gets(sk_store *store)
{
    uint64_t seed = 88172645463325252u, found = 0;
    sk_bytes value;
    char key[32];
    for (int miss = 0; miss < 2; miss++) {
        double start = now();
        for (int i = 0; i < GETS; i++) {
            uint64_t number = roll(&seed) % KEYS + (miss ? KEYS : 0);
            found += (uint64_t)sk_store_get(store, SK_CF_ROW, row_key(key, number), &value, NULL);
        }
        printf("gets, %s: %8.0f/s\n", miss ? "misses" : "hits  ", GETS / (now() - start));
    }
    double start = now();
    uint64_t pairs = 0;
    sk_bytes at;
    sk_store_iter *iter = sk_store_iterate(store, NULL, SK_CF_ROW, SK_BYTES_NONE, SK_BYTES_NONE);
    while (sk_store_next(store, iter, &at, &value) == 1) pairs++;
    sk_store_iter_free(store, iter);
    printf("scan: %8.0f pairs/s (%llu pairs; %llu hits before)\n", (double)pairs / (now() - start),
           (unsigned long long)pairs, (unsigned long long)found);
}

static void bench_mode(const char *path, sk_durability durability, const char *name)
{
    char error[SK_ROCKSDB_ERROR];
    sk_store *store;
    sk_rocksdb_options options = {.path = path, .durability = durability, .wake = wake};
    if (sk_rocksdb_open(&options, &store, error) != SK_OK) {
        fprintf(stderr, "%s\n", error);
        exit(1);
    }
    bench_puts(store, name, 32, false);
    bench_puts(store, name, 256, false);
    bench_puts(store, name, 256, true);
    if (durability == SK_DURABILITY_ALWAYS) bench_gets(store);
    sk_buf text = {0};
    sk_store_stats(store, &text);
    if (getenv("SK_BENCH_STATS")) printf("%.*s", (int)text.len, text.data);
    sk_buf_free(&text);
    sk_store_close(store);
    nftw(path, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
}

int main(int argc, char **argv)
{
    char path[] = "/tmp/skerry-bench-XXXXXX";
    const char *folder = argc > 1 ? argv[1] : mkdtemp(path);
    if (argc > 2) seconds = atof(argv[2]);
    if (!folder) return 1;
    sem_init(&woken, 0, 0);
    bench_mode(folder, SK_DURABILITY_ALWAYS, "always");
    bench_mode(folder, SK_DURABILITY_INTERVAL, "interval");
    bench_mode(folder, SK_DURABILITY_OS, "os");
    return 0;
}
