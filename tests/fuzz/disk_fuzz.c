/* What stands in a database, whatever wrote it: a small one in which pairs are replaced by the input's, some with a sound sum
 * (node/record.h), so that what reads them must bear any content: state, origins, fold, retention's marks and notes, what
 * peers acknowledged; history, staged rows, rows, derived entries. It opens or is refused with a sentence; then everything
 * is gone through, asked for and folded in.
 *
 * The input: for each pair a byte (family in the lower three bits; 8: with a sound sum; 16: removed), a byte each for the
 * lengths of key and value, the key, the value. */
#include "node/command.h"
#include "node/record.h"
#include "node/replica.h"
#include "storage/memory.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { SUMMED = 8, REMOVED = 16, TURNS = 12 };
#define WALL_MS 1700000000000u

static void send(void *self, uint32_t peer, sk_bytes message)
{
    (void)self, (void)peer, (void)message;
}

static size_t queued(void *self, uint32_t peer)
{
    (void)self, (void)peer;
    return 0;
}

static void hang_up(void *self, uint32_t peer, int error)
{
    (void)self, (void)peer, (void)error;
}

static int open_replica(sk_store *store, sk_replica **replica)
{
    static const uint8_t keys[2][SK_MEMBER_KEY] = {{1}, {2}};
    static const sk_member_seed peer = {.region = "us", .public_key = keys[1]};
    sk_engine_limits limits = sk_engine_limits_default();
    sk_replica_options options = {
        .region = "eu", .cluster = "test", .life = sk_bytes_str("a b c"), .public_key = keys[0], .peers = &peer,
        .peer_count = 1, .limits = limits, .foreign_expiry_ms = 1000, .transaction_bytes_max = 4096,
        .retention = {.bytes = 1000, .age_ms = 3600000}, .leaf_rows = 4, .seed = 7,
    };
    sk_replica_host host = {.send = send, .queued = queued, .hang_up = hang_up};
    sk_buf error = {0};
    int status = sk_replica_new(store, &options, &host, 1000, WALL_MS, &error, replica);
    sk_assert((status != 0) == (error.len > 0));
    sk_buf_free(&error);
    return status;
}

static void turn(sk_replica *replica, sk_store *store, uint64_t ms)
{
    sk_replica_time(replica, replica->now_ms + ms, replica->wall_ms + ms);
    sk_replica_turn(replica);
    sk_assert(sk_memory_sync(store, UINT64_MAX) == 0);
    sk_replica_reap(replica);
}

static void ask(sk_replica *replica, sk_client *client, const char *text)
{
    sk_bytes argv[8];
    size_t argc = 0;
    sk_buf out = {0};
    sk_reply reply = {&out, 2};
    for (const char *at = text; *at; at += *at == ' ') {
        argv[argc++] = sk_bytes_of(at, strcspn(at, " "));
        at += strcspn(at, " ");
    }
    sk_command_execute(replica, client, argv, argc, &reply);
    sk_assert(out.len > 0);
    sk_buf_free(&out);
}

static void ask_all(sk_replica *replica)
{
    static const char *const requests[] = {"GET k", "GET n", "HGETALL h", "SMEMBERS s", "SIBLINGS LIST", "SET k v", "INCR n", "SADD s x",
                                           "HSET h f x", "DEL n", "DBSIZE", "REGION AUDIT", "REGION LIST", "REGION LAG", "INFO",
                                           "KEYS *", "DEL s h"};
    sk_client *client = sk_client_new(replica);
    for (size_t i = 0; i < sizeof requests / sizeof *requests; i++) ask(replica, client, requests[i]);
    sk_client_free(client);
}

/* A database with something of everything. */
static sk_store *make_base(void)
{
    static const char *const requests[] = {"SET k v PX 100000", "INCRBY n 5", "DEL n", "INCR n", "HSET h f 1 g 2", "SADD s a b",
                                           "POLICY SET p newest", "SET gone x", "DEL gone"};
    sk_store *store = sk_memory_open(SK_DURABILITY_ALWAYS);
    sk_replica *replica;
    sk_assert(open_replica(store, &replica) == 0);
    sk_client *client = sk_client_new(replica);
    for (size_t i = 0; i < sizeof requests / sizeof *requests; i++) {
        ask(replica, client, requests[i]);
        turn(replica, store, 5);
    }
    sk_client_free(client);
    sk_replica_free(replica);
    sk_assert(sk_memory_sync(store, UINT64_MAX) == 0);
    return store;
}

static void put_pairs(sk_store *store, const uint8_t *data, size_t size)
{
    while (size >= 3) {
        sk_cf cf = (sk_cf)((data[0] & 7) % SK_CF_COUNT);
        size_t key_len = data[1], value_len = data[2];
        if (key_len == 0 || key_len + value_len > size - 3) return;
        sk_bytes key = {data + 3, key_len}, value = {data + 3 + key_len, value_len};
        sk_buf packed = {0};
        sk_buf_bytes(&packed, value);
        if (data[0] & REMOVED)
            sk_store_remove(store, cf, key);
        else if (data[0] & SUMMED)
            sk_record_put(store, cf, key, &packed);
        else
            sk_store_put(store, cf, key, value);
        sk_buf_free(&packed);
        data += 3 + key_len + value_len;
        size -= 3 + key_len + value_len;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static sk_store *base;
    if (!base) base = make_base();
    sk_store *store = sk_memory_copy(base);
    sk_replica *replica;
    put_pairs(store, data, size);
    (void)sk_store_seal(store);
    sk_assert(sk_memory_sync(store, UINT64_MAX) == 0);
    if (open_replica(store, &replica) == 0) {
        for (int i = 0; i < TURNS; i++) turn(replica, store, i < TURNS / 2 ? 5 : 5000);
        ask_all(replica);
        for (int i = 0; i < TURNS; i++) turn(replica, store, i < TURNS / 2 ? 5 : 5000);
        sk_replica_free(replica);
    }
    sk_store_close(store);
    return 0;
}
