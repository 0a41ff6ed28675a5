/* What RocksDB, the cipher and the network allow at best on this machine: the floor under skerry's numbers.
 *
 *   floor_bench put  FOLDER [name=number ...]   writes of rows straight into RocksDB, one thread, the store's own options
 *       keys=1000000   random keys out of so many
 *       batch=1        rows a write
 *       ascending=0    1: keys that ascend, as a log's do
 *       sync=0         1: each write is synced
 *       seconds=3
 *   floor_bench get  FOLDER [name=number ...]   random point reads of rows that are there
 *       keys=1000000  cache=536870912 (bytes of block cache)  seconds=3
 *   floor_bench aead [bytes=1400] [seconds=1]   ChaCha20-Poly1305 of libsodium over frames of so many bytes, sealed and opened
 *   floor_bench echo [bytes=1400] [depth=32] [seconds=1]
 *                                               frames over loopback TCP and back through libuv, so many on the way at a time
 *
 * A row is 17 bytes of key and 112 of value, random ones, as a SET of 16 + 100 bytes comes to. Each prints one line:
 * operations (rows, frames) a second, and CPU microseconds each, of all threads. */
#include "storage/database.h"

#include <errno.h>
#include <ftw.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <uv.h>

enum { KEY = 17, VALUE = 112, BYTES_MAX = 1 << 20, DEPTH_MAX = 1024 };

typedef struct {
    uint64_t keys, batch, ascending, sync, seconds, cache, bytes, depth;
} settings;

static double now(clockid_t clock)
{
    struct timespec time;
    clock_gettime(clock, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static uint64_t roll(uint64_t *seed)
{
    *seed ^= *seed << 13;
    *seed ^= *seed >> 7;
    *seed ^= *seed << 17;
    return *seed;
}

static void die(const char *what)
{
    fprintf(stderr, "floor_bench: %s\n", what);
    exit(1);
}

/* -- a measured stretch --------------------------------------------------------------------------------------------- */

typedef struct {
    double began, cpu, until;
    uint64_t done;
} stretch;

static stretch begin(const settings *set)
{
    double time = now(CLOCK_MONOTONIC);
    return (stretch){time, now(CLOCK_PROCESS_CPUTIME_ID), time + (double)set->seconds, 0};
}

static void finish(const stretch *of)
{
    double took = now(CLOCK_MONOTONIC) - of->began, cpu = now(CLOCK_PROCESS_CPUTIME_ID) - of->cpu;
    if (of->done == 0) die("nothing was done");
    printf("%.0f %.3f\n", (double)of->done / took, cpu / (double)of->done * 1e6);
}

/* -- RocksDB -------------------------------------------------------------------------------------------------------- */

static sk_folder folder;
static sk_database database;

static int remove_entry(const char *path, const struct stat *status, int type, struct FTW *where)
{
    (void)status, (void)type, (void)where;
    return remove(path);
}

static void open_database(const char *path, const settings *set)
{
    char error[SK_FOLDER_ERROR];
    sk_rocksdb_options options = {.path = path, .cache_bytes = set->cache, .write_buffer_bytes = 256 << 20,
                                  .max_open_files = 512};
    if (nftw(path, remove_entry, 16, FTW_DEPTH | FTW_PHYS) != 0 && errno != ENOENT) die("cannot empty the folder");
    if (sk_folder_open(&folder, path, error) != 0) die(error);
    sk_database_init(&database, &options);
    if (sk_database_open(&database, &folder, false, error) != 0) die(error);
    sk_database_thread_begin();
}

static void close_database(void)
{
    sk_database_free(&database);
    sk_folder_close(&folder);
}

static void check(char *message)
{
    char error[SK_FOLDER_ERROR];
    if (sk_database_error(message, error) != 0) die(error);
}

/* As the row of a SET of key:%012u is named. */
static void make_key(char key[KEY + 1], uint64_t number)
{
    snprintf(key, KEY + 1, "kkey:%012llu", (unsigned long long)(number % 1000000000000));
}

static void write_rows(const settings *set, rocksdb_writeoptions_t *options, uint64_t first, uint64_t count, uint64_t *seed)
{
    char key[KEY + 1];
    uint64_t value[VALUE / 8];
    rocksdb_writebatch_t *batch = rocksdb_writebatch_create();
    for (uint64_t i = 0; i < count; i++) {
        make_key(key, set->ascending ? first + i : roll(seed) % set->keys);
        for (size_t word = 0; word < VALUE / 8; word++) value[word] = roll(seed);
        rocksdb_writebatch_put_cf(batch, database.family[SK_CF_ROW], key, KEY, (char *)value, VALUE);
    }
    char *message = NULL;
    rocksdb_write(database.db, options, batch, &message);
    rocksdb_writebatch_destroy(batch);
    check(message);
}

static void put(const char *path, const settings *set)
{
    uint64_t seed = 88172645463325252ULL;
    open_database(path, set);
    rocksdb_writeoptions_t *options = rocksdb_writeoptions_create();
    rocksdb_writeoptions_set_sync(options, set->sync != 0);
    stretch of = begin(set);
    while (now(CLOCK_MONOTONIC) < of.until) {
        write_rows(set, options, of.done, set->batch, &seed);
        of.done += set->batch;
    }
    finish(&of);
    rocksdb_writeoptions_destroy(options);
    close_database();
}

static void get(const char *path, const settings *set)
{
    enum { LOAD = 1000, STEP = 256 };
    uint64_t seed = 88172645463325252ULL, found = 0;
    char key[KEY + 1];
    settings load = *set;
    open_database(path, set);
    load.ascending = 1;
    rocksdb_writeoptions_t *options = rocksdb_writeoptions_create();
    for (uint64_t at = 0; at < set->keys; at += LOAD) write_rows(&load, options, at, LOAD, &seed);
    rocksdb_writeoptions_destroy(options);
    rocksdb_compact_range_cf(database.db, database.family[SK_CF_ROW], NULL, 0, NULL, 0);
    stretch of = {0};
    for (int warm = 1; warm >= 0; warm--) {
        for (of = begin(set); now(CLOCK_MONOTONIC) < of.until; of.done += STEP) {
            for (unsigned i = 0; i < STEP; i++) {
                char *message = NULL;
                make_key(key, roll(&seed) % set->keys);
                rocksdb_pinnableslice_t *value = rocksdb_get_pinned_cf(database.db, database.read,
                                                                       database.family[SK_CF_ROW], key, KEY, &message);
                check(message);
                found += value != NULL;
                if (value) rocksdb_pinnableslice_destroy(value);
            }
        }
    }
    finish(&of);
    if (found == 0) die("no row was found");
    close_database();
}

/* -- the cipher ----------------------------------------------------------------------------------------------------- */

static void aead(const settings *set)
{
    static unsigned char plain[BYTES_MAX], sealed[BYTES_MAX + crypto_aead_chacha20poly1305_ietf_ABYTES];
    unsigned char key[crypto_aead_chacha20poly1305_ietf_KEYBYTES], nonce[crypto_aead_chacha20poly1305_ietf_NPUBBYTES] = {0};
    unsigned long long len;
    randombytes_buf(key, sizeof key);
    randombytes_buf(plain, set->bytes);
    stretch of = begin(set);
    for (; now(CLOCK_MONOTONIC) < of.until; of.done++) {
        memcpy(nonce, &of.done, sizeof of.done);
        crypto_aead_chacha20poly1305_ietf_encrypt(sealed, &len, plain, set->bytes, NULL, 0, NULL, nonce, key);
        if (crypto_aead_chacha20poly1305_ietf_decrypt(plain, NULL, NULL, sealed, len, NULL, 0, nonce, key) != 0)
            die("a frame did not open");
    }
    finish(&of);
}

/* -- the network ---------------------------------------------------------------------------------------------------- */

typedef struct {
    uv_loop_t loop;
    uv_tcp_t listener, server, client;
    const settings *set;
    stretch of;
    uint64_t came; /* bytes that are back */
    char in[2][65536];
} echo_bench;

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
    (void)suggested;
    echo_bench *with = handle->data;
    char *in = with->in[handle == (uv_handle_t *)&with->server];
    *buf = uv_buf_init(in, sizeof with->in[0]);
}

static void on_written(uv_write_t *write, int status)
{
    if (status < 0 && status != UV_ECANCELED) die(uv_strerror(status));
    free(write);
}

static void send_bytes(uv_tcp_t *tcp, const char *data, size_t len)
{
    uv_buf_t buf = uv_buf_init((char *)(uintptr_t)data, (unsigned)len);
    int sent = uv_try_write((uv_stream_t *)tcp, &buf, 1);
    if (sent == UV_EAGAIN) sent = 0;
    if (sent < 0) die(uv_strerror(sent));
    if ((size_t)sent == len) return;
    uv_write_t *write = sk_alloc(sizeof *write + len);
    memcpy(write + 1, data + sent, len - (size_t)sent);
    buf = uv_buf_init((char *)(write + 1), (unsigned)(len - (size_t)sent));
    if (uv_write(write, (uv_stream_t *)tcp, &buf, 1, on_written) != 0) die("cannot write");
}

static void send_frames(echo_bench *with, uint64_t count)
{
    static char frames[65536];
    while (count--)
        for (uint64_t left = with->set->bytes; left;) {
            size_t part = left < sizeof frames ? left : sizeof frames;
            send_bytes(&with->client, frames, part);
            left -= part;
        }
}

static void on_echo(uv_stream_t *stream, ssize_t len, const uv_buf_t *buf)
{
    echo_bench *with = stream->data;
    if (len < 0) die(uv_strerror((int)len));
    if (stream == (uv_stream_t *)&with->server) {
        send_bytes(&with->server, buf->base, (size_t)len);
        return;
    }
    uint64_t before = with->came / with->set->bytes;
    with->came += (uint64_t)len;
    uint64_t whole = with->came / with->set->bytes - before;
    with->of.done += whole;
    if (now(CLOCK_MONOTONIC) >= with->of.until)
        uv_stop(&with->loop);
    else
        send_frames(with, whole);
}

static void on_accept(uv_stream_t *stream, int status)
{
    echo_bench *with = stream->data;
    if (status < 0 || uv_accept(stream, (uv_stream_t *)&with->server) != 0) die("cannot accept");
    uv_tcp_nodelay(&with->server, 1);
    uv_read_start((uv_stream_t *)&with->server, on_alloc, on_echo);
}

static void on_connect(uv_connect_t *connect, int status)
{
    echo_bench *with = connect->handle->data;
    if (status < 0) die(uv_strerror(status));
    uv_tcp_nodelay(&with->client, 1);
    uv_read_start((uv_stream_t *)&with->client, on_alloc, on_echo);
    with->of = begin(with->set);
    send_frames(with, with->set->depth);
}

static void echo(const settings *set)
{
    static echo_bench with;
    struct sockaddr_in address;
    int len = sizeof address;
    uv_connect_t connect;
    with.set = set;
    uv_loop_init(&with.loop);
    uv_tcp_t *all[] = {&with.listener, &with.server, &with.client};
    for (size_t i = 0; i < 3; i++) {
        uv_tcp_init(&with.loop, all[i]);
        all[i]->data = &with;
    }
    uv_ip4_addr("127.0.0.1", 0, &address);
    if (uv_tcp_bind(&with.listener, (struct sockaddr *)&address, 0) != 0 ||
        uv_listen((uv_stream_t *)&with.listener, 1, on_accept) != 0 ||
        uv_tcp_getsockname(&with.listener, (struct sockaddr *)&address, &len) != 0 ||
        uv_tcp_connect(&connect, &with.client, (struct sockaddr *)&address, on_connect) != 0)
        die("no loopback");
    uv_run(&with.loop, UV_RUN_DEFAULT);
    finish(&with.of);
}

/* -- what is asked -------------------------------------------------------------------------------------------------- */

static void take_settings(settings *set, int argc, char **argv)
{
    const struct {
        const char *name;
        uint64_t *value, least, most;
    } known[] = {
        {"keys", &set->keys, 1, 1000000000},  {"batch", &set->batch, 1, 100000}, {"ascending", &set->ascending, 0, 1},
        {"sync", &set->sync, 0, 1},           {"seconds", &set->seconds, 1, 3600}, {"cache", &set->cache, 1 << 20, 1ULL << 40},
        {"bytes", &set->bytes, 1, BYTES_MAX}, {"depth", &set->depth, 1, DEPTH_MAX},
    };
    for (int i = 0; i < argc; i++) {
        char *equals = strchr(argv[i], '='), *end;
        size_t at = 0, count = sizeof known / sizeof known[0];
        while (equals && at < count && (strncmp(argv[i], known[at].name, (size_t)(equals - argv[i])) != 0 ||
                                        known[at].name[equals - argv[i]]))
            at++;
        if (!equals || at == count) die("floor_bench put|get FOLDER, aead, echo [name=number ...]; see the head of its source");
        *known[at].value = strtoull(equals + 1, &end, 10);
        if (!equals[1] || *end || *known[at].value < known[at].least || *known[at].value > known[at].most)
            die("a number is out of its range");
    }
}

int main(int argc, char **argv)
{
    settings set = {.keys = 1000000, .batch = 1, .seconds = 3, .cache = 512 << 20, .bytes = 1400, .depth = 32};
    const char *what = argc > 1 ? argv[1] : "";
    bool on_disk = strcmp(what, "put") == 0 || strcmp(what, "get") == 0;
    int from = on_disk ? 3 : 2;
    if (sodium_init() < 0) die("no libsodium");
    take_settings(&set, argc > from ? argc - from : 0, argv + from);
    if (strcmp(what, "put") == 0 && argc > 2)
        put(argv[2], &set);
    else if (strcmp(what, "get") == 0 && argc > 2)
        get(argv[2], &set);
    else if (strcmp(what, "aead") == 0)
        aead(&set);
    else if (strcmp(what, "echo") == 0)
        echo(&set);
    else
        die("floor_bench put|get FOLDER, aead, echo [name=number ...]; see the head of its source");
    return 0;
}
