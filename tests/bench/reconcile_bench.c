/* Reconciles between two regions in one process, over RocksDB: what they cost as the database grows.
 *
 *   reconcile_bench FOLDER ROWS DIFFERENT ...
 *
 * The first region writes ROWS strings, forgets their history, and the second one gets them: a full copy. Then, each time
 * after the first has forgotten what it did: nothing differs; and for each DIFFERENT: so many rows, drawn at random, were
 * overwritten ("recent"); the same were removed ("random": they can only be found). They are there again before the next.
 * A line for each: what, rows that differ, bytes both ways, seconds, bytes of rows that went. */
#include "node/command.h"
#include "node/replica.h"
#include "storage/rocksdb.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { VALUE = 100, TURN = 1000 };

typedef struct region region;

struct region {
    sk_store *store;
    sk_replica *replica;
    sk_client *client;
    region *to;
    sk_member_seed seed; /* the other one */
    sk_buf inbox; /* messages, each after its length */
    uint64_t sent;
};

static uint64_t now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static void take_message(void *self, uint32_t peer, sk_bytes message)
{
    (void)peer;
    region *from = self, *to = from->to;
    from->sent += message.len;
    sk_buf_append(&to->inbox, &message.len, sizeof message.len);
    sk_buf_bytes(&to->inbox, message);
}

static size_t queued(void *self, uint32_t peer)
{
    (void)peer;
    return ((region *)self)->to->inbox.len;
}

static void hang_up(void *self, uint32_t peer, int error)
{
    (void)self, (void)peer;
    fprintf(stderr, "reconcile_bench: the link was closed: %s\n", sk_error_text(error));
    exit(1);
}

static void open_region(region *self, region *to, const char *folder, const char *name, const char *const *peer)
{
    char path[4000], error[SK_ROCKSDB_ERROR];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    (void)mkdir(path, 0700);
    static const uint8_t own_key[SK_MEMBER_KEY] = {1}, peer_key[SK_MEMBER_KEY] = {2};
    *self = (region){.to = to, .seed = {.region = *peer, .public_key = peer_key}};
    sk_rocksdb_options stored = {.path = path, .durability = SK_DURABILITY_OS, .cache_bytes = 64 << 20,
                                 .write_buffer_bytes = 64 << 20, .row_cache_bytes = 16 << 20};
    if (sk_rocksdb_open(&stored, &self->store, error) != SK_OK) {
        fprintf(stderr, "reconcile_bench: %s: %s\n", path, error);
        exit(1);
    }
    sk_replica_options options = {.region = name, .cluster = "bench", .life = sk_bytes_str("life"),
                                  .public_key = own_key, .peers = &self->seed, .peer_count = 1, .limits = sk_engine_limits_default(), .seed = 1};
    options.limits.ring_txns_max = 10;
    options.limits.silence_ms = 60000;
    options.transaction_bytes_max = 64 << 20;
    sk_replica_host host = {.self = self, .send = take_message, .queued = queued, .hang_up = hang_up};
    sk_buf text = {0};
    sk_assert(sk_replica_new(self->store, &options, &host, now_ms(), 1700000000000u, &text, &self->replica) == 0);
    self->client = sk_client_new(self->replica);
}

static void turn(region *self)
{
    uint64_t now = now_ms();
    sk_replica_time(self->replica, now, 1700000000000u + now);
    sk_buf inbox = self->inbox;
    self->inbox = (sk_buf){0};
    for (size_t at = 0, len; at < inbox.len; at += sizeof len + len) {
        memcpy(&len, inbox.data + at, sizeof len);
        sk_replica_message(self->replica, 0, sk_bytes_of(inbox.data + at + sizeof len, len));
    }
    bool drained = inbox.len > 0;
    sk_buf_free(&inbox);
    sk_replica_turn(self->replica);
    sk_replica_reap(self->replica);
    if (drained) sk_replica_writable(self->to->replica, 0);
}

/* So many SETs or DELs: of keys drawn from `rows` (by `draw`, the same ones each time), or of the first in order; then
 * nothing tells of them. */
static void work(region *self, const char *command, uint64_t count, uint64_t rows, uint64_t draw)
{
    static char value[VALUE + 1];
    bool in_order = draw == 0;
    sk_buf out = {0};
    sk_reply reply = {&out, 2};
    for (uint64_t i = 0; i < count; i++) {
        char key[32];
        draw = draw * 6364136223846793005u + 1442695040888963407u; /* Knuth's */
        uint64_t n = in_order ? i : i * rows / count + (draw >> 32) % (rows / count);
        snprintf(key, sizeof key, "key:%012llu", (unsigned long long)n);
        memset(value, 'a' + (int)(sk_replica_random(self->replica) % 26), VALUE);
        sk_bytes words[] = {sk_bytes_str(command), sk_bytes_str(key), sk_bytes_str(value)};
        sk_command_execute(self->replica, self->client, words, strcmp(command, "SET") == 0 ? 3 : 2, &reply);
        sk_assert(out.len > 0);
        sk_assert(out.data[0] != '-');
        sk_buf_reset(&out);
        if (i % TURN == TURN - 1) turn(self);
        while (sk_store_pending_bytes(self->store) > 8 << 20) {
            usleep(1000);
            turn(self);
        }
    }
    sk_buf_free(&out);
    turn(self);
    sk_db_forget(&self->replica->db, &self->replica->db.vv, &self->replica->db.vv);
    self->replica->db.dirty = true;
    turn(self);
    sk_assert(sk_store_flush(self->store) == 0);
    while (sk_sums_pending(&self->replica->db.sums) || !sk_vv_equal(&self->replica->durable_vv, &self->replica->db.vv)) {
        usleep(1000);
        turn(self);
    }
}

/* Transactions that it has, of all origins: the two number them differently. */
static uint64_t has(const region *self)
{
    uint64_t sum = 0;
    for (uint32_t o = 0; o < self->replica->db.vv.count; o++) sum += self->replica->db.vv.seq[o];
    return sum;
}

static void meet(region *a, region *b, const char *what, uint64_t different)
{
    uint64_t before = a->sent + b->sent, rows_before = sk_engine_peer_status(b->replica->engine, 0).received_rows_bytes;
    struct timespec begin, end;
    clock_gettime(CLOCK_MONOTONIC, &begin);
    sk_replica_link_up(a->replica, 0);
    sk_replica_link_up(b->replica, 0);
    while (a->replica->db.digest != b->replica->db.digest || sk_fold_active(&b->replica->db) ||
           has(a) != has(b)) {
        turn(a);
        turn(b);
        if (!a->inbox.len && !b->inbox.len) usleep(200);
    }
    clock_gettime(CLOCK_MONOTONIC, &end);
    double seconds = (double)(end.tv_sec - begin.tv_sec) + (double)(end.tv_nsec - begin.tv_nsec) / 1e9;
    uint64_t rows = sk_engine_peer_status(b->replica->engine, 0).received_rows_bytes - rows_before;
    if (what)
        printf("%s %llu %llu %.3f %llu\n", what, (unsigned long long)different,
               (unsigned long long)(a->sent + b->sent - before), seconds, (unsigned long long)rows);
    fflush(stdout);
    sk_replica_link_down(a->replica, 0);
    sk_replica_link_down(b->replica, 0);
    sk_buf_reset(&a->inbox);
    sk_buf_reset(&b->inbox);
    while (sk_sums_pending(&b->replica->db.sums)) turn(b);
}

static void close_region(region *self)
{
    sk_replica_free(self->replica);
    sk_store_close(self->store);
    sk_buf_free(&self->inbox);
}

int main(int argc, char **argv)
{
    static const char *const us[] = {"us"}, *const eu[] = {"eu"};
    if (argc < 4) {
        fprintf(stderr, "usage: reconcile_bench FOLDER ROWS DIFFERENT ...\n");
        return 2;
    }
    uint64_t rows = strtoull(argv[2], NULL, 10);
    for (int i = 3; i < argc; i++)
        if (strtoull(argv[i], NULL, 10) == 0 || rows < strtoull(argv[i], NULL, 10)) return 2;
    region a, b;
    open_region(&a, &b, argv[1], "eu", us);
    open_region(&b, &a, argv[1], "us", eu);
    work(&b, "SET", 1, 1, 0); /* both begin with something of their own */
    work(&a, "SET", rows, rows, 0);
    meet(&a, &b, "copy", rows);
    work(&a, "SET", 1, 1, 0);
    work(&a, "SET", 1, 1, 0);
    meet(&a, &b, "one", 1);
    for (int i = 3; i < argc; i++) {
        uint64_t different = strtoull(argv[i], NULL, 10), draw = (uint64_t)i;
        work(&a, "SET", different, rows, draw);
        meet(&a, &b, "recent", different);
        work(&a, "DEL", different, rows, draw);
        meet(&a, &b, "random", different);
        work(&a, "SET", different, rows, draw);
        meet(&a, &b, NULL, different);
    }
    close_region(&a);
    close_region(&b);
    return 0;
}
