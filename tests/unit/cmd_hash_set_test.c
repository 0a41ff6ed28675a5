/* Commands of hashes and sets over a replica in memory: replies byte for byte, and what Redis has no word for:
 * siblings, additions that win, scans and random members over an ordered store. (tests/diff compares
 * with Redis.) */
#include "node/collection.h"
#include "node/replica.h"
#include "node/sample.h"
#include "storage/memory.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

typedef struct {
    sk_store *store;
    sk_replica *replica;
    sk_client *client;
    sk_buf out;
    uint64_t seq; /* of the transactions of a region that is not there */
} node;

static void nothing(void *self)
{
    (void)self;
}

static void no_send(void *self, uint32_t peer, sk_bytes message)
{
    (void)peer, (void)message;
    nothing(self);
}

static size_t no_queue(void *self, uint32_t peer)
{
    (void)self, (void)peer;
    return 0;
}

static void no_hang_up(void *self, uint32_t peer, int error)
{
    (void)peer, (void)error;
    nothing(self);
}

static int setup(void **state)
{
    node *at = sk_alloc(sizeof *at);
    at->store = sk_memory_open(SK_DURABILITY_ALWAYS);
    sk_replica_options options = {.region = "here", .cluster = "test", .life = {(const uint8_t *)"1", 1}, .seed = 7,
                                  .limits = sk_engine_limits_default(), .foreign_expiry_ms = 1000,
                                  .transaction_bytes_max = 64 << 20};
    sk_replica_host host = {.send = no_send, .queued = no_queue, .hang_up = no_hang_up};
    assert_int_equal(sk_replica_new(at->store, &options, &host, 1, 1700000000000, &at->out, &at->replica), 0);
    at->client = sk_client_new(at->replica);
    at->client->authenticated = true;
    *state = at;
    return 0;
}

static int teardown(void **state)
{
    node *at = *state;
    sk_cursors_check(&at->replica->cursors);
    sk_client_free(at->client);
    sk_replica_free(at->replica);
    sk_store_close(at->store);
    sk_buf_free(&at->out);
    free(at);
    return 0;
}

static const char *ask(node *at, const sk_bytes *argv, size_t argc)
{
    sk_buf_reset(&at->out);
    sk_reply reply = {&at->out, at->client->proto};
    sk_command_execute(at->replica, at->client, argv, argc, &reply);
    sk_buf_byte(&at->out, 0);
    at->out.len--;
    return (const char *)at->out.data;
}

/* The raw reply to a request of words; "~" stands for an empty one. */
static const char *say(node *at, const char *request)
{
    char copy[512], *rest = copy, *word;
    sk_bytes argv[32];
    size_t argc = 0;
    assert_true(strlen(request) < sizeof copy);
    strcpy(copy, request);
    while ((word = strsep(&rest, " "))) argv[argc++] = sk_bytes_str(strcmp(word, "~") ? word : "");
    return ask(at, argv, argc);
}

/* The same with "|" for each line's end. */
static void expect(node *at, const char *request, const char *reply)
{
    char got[1024];
    size_t len = 0;
    for (const char *c = say(at, request); *c && len + 1 < sizeof got; c++)
        if (*c != '\r') got[len++] = *c == '\n' ? '|' : *c;
    got[len] = 0;
    if (strcmp(got, reply) != 0) print_error("%s\n", request);
    assert_string_equal(got, reply);
}

/* Everything to the disk: what is read next does not lie in the open batch. */
static void settle(node *at)
{
    sk_replica_turn(at->replica);
    sk_memory_sync(at->store, UINT64_MAX);
    sk_replica_reap(at->replica);
}

static bool gone(node *at, const char *key)
{
    sk_arena arena = {0};
    sk_row row;
    sk_row_name name = sk_row_name_of(&arena, SK_TABLE_KEY, sk_bytes_str(key), SK_BYTES_NONE);
    assert_int_equal(sk_db_row(&at->replica->db, name.raw, &arena, &row), 0);
    bool empty = sk_row_empty(&row);
    sk_arena_free(&arena);
    return empty;
}

/* A transaction of another region that has seen `seen` of ours. */
static void elsewhere(node *at, const sk_row_name *name, sk_op *op, const sk_vv *seen)
{
    sk_db *db = &at->replica->db;
    uint32_t origin;
    sk_buf ops = {0};
    assert_int_equal(sk_db_intern(db, sk_bytes_str("there"), 9, &origin), 0);
    op->key = name->raw;
    sk_op_pack(&ops, op);
    sk_txn txn = {.dot = {origin, ++at->seq}, .hlc = sk_hlc_of_ms(1700000000500), .ops = sk_buf_view(&ops),
                  .op_count = 1};
    sk_vv_copy(&txn.seen, seen);
    sk_vv_set(&txn.seen, origin, at->seq - 1);
    assert_int_equal(sk_db_apply(db, &txn), 0);
    sk_vv_free(&txn.seen);
    sk_buf_free(&ops);
}

static void sets_elsewhere(node *at, const char *key, const char *field, const char *value)
{
    sk_arena arena = {0};
    sk_vv none = {0};
    sk_row_name name = sk_row_name_of(&arena, SK_TABLE_HASH, sk_bytes_str(key), sk_bytes_str(field));
    sk_op op = {.forgets_content = true, .has_content = true,
                .content = {.kind = SK_ENTRY_VALUE, .value = sk_bytes_str(value)}};
    elsewhere(at, &name, &op, &none);
    sk_vv_free(&none);
    sk_arena_free(&arena);
}

static void removes_elsewhere(node *at, sk_table table, const char *key, const char *member, const sk_vv *seen)
{
    sk_arena arena = {0};
    sk_row_name name = sk_row_name_of(&arena, table, sk_bytes_str(key), sk_bytes_str(member));
    sk_op op = {.forgets_content = true};
    elsewhere(at, &name, &op, seen);
    sk_arena_free(&arena);
}

/* -- replies ------------------------------------------------------------------------------------------------------- */

static void test_hash_replies(void **state)
{
    node *at = *state;
    expect(at, "HSET h a 1 b ~ a 2", ":2|");
    expect(at, "HSET h a 2", ":0|");
    expect(at, "HMSET h c x", "+OK|");
    expect(at, "HSETNX h c y", ":0|");
    expect(at, "HSETNX h d 5", ":1|");
    expect(at, "HGET h b", "$0||");
    expect(at, "HGET h zz", "$-1|");
    expect(at, "HMGET h a zz c", "*3|$1|2|$-1|$1|x|");
    expect(at, "HMGET nope a b", "*2|$-1|$-1|");
    expect(at, "HGETALL h", "*8|$1|a|$1|2|$1|b|$0||$1|c|$1|x|$1|d|$1|5|");
    expect(at, "HKEYS h", "*4|$1|a|$1|b|$1|c|$1|d|");
    expect(at, "HVALS h", "*4|$1|2|$0||$1|x|$1|5|");
    expect(at, "HLEN h", ":4|");
    expect(at, "HSTRLEN h c", ":1|");
    expect(at, "HEXISTS h a", ":1|");
    expect(at, "HEXISTS h zz", ":0|");
    expect(at, "HINCRBY h a 40", ":42|");
    expect(at, "HINCRBY h new -1", ":-1|");
    expect(at, "HINCRBYFLOAT h a 0.5", "$4|42.5|");
    expect(at, "HINCRBY h a 1", "-ERR hash value is not an integer|");
    expect(at, "HDEL h a b zz a", ":2|");
    expect(at, "HSCAN h 0 MATCH [cd]", "*2|$1|0|*4|$1|c|$1|x|$1|d|$1|5|");
    at->client->proto = 3;
    expect(at, "HDEL h new", ":1|");
    expect(at, "HGETALL h", "%2|$1|c|$1|x|$1|d|$1|5|");
    expect(at, "HGETALL nope", "%0|");
    expect(at, "HGET h zz", "_|");
    expect(at, "HDEL h c", ":1|");
    expect(at, "HRANDFIELD h 3 WITHVALUES", "*1|*2|$1|d|$1|5|");
    expect(at, "HRANDFIELD h -2", "*2|$1|d|$1|d|");
    expect(at, "HRANDFIELD h", "$1|d|");
    expect(at, "HRANDFIELD nope", "_|");
    expect(at, "HRANDFIELD nope 1", "*0|");
}

static void test_set_replies(void **state)
{
    node *at = *state;
    expect(at, "SADD s a b a ~", ":3|");
    expect(at, "SADD s a", ":0|");
    expect(at, "SCARD s", ":3|");
    expect(at, "SMEMBERS s", "*3|$0||$1|a|$1|b|");
    expect(at, "SISMEMBER s ~", ":1|");
    expect(at, "SMISMEMBER s a zz", "*2|:1|:0|");
    expect(at, "SMISMEMBER nope a", "*1|:0|");
    expect(at, "SREM s ~ zz", ":1|");
    expect(at, "SADD t b c", ":2|");
    expect(at, "SINTER s t", "*1|$1|b|");
    expect(at, "SUNION s t nope", "*3|$1|a|$1|b|$1|c|");
    expect(at, "SDIFF s t", "*1|$1|a|");
    expect(at, "SINTERCARD 2 s t", ":1|");
    expect(at, "SINTERCARD 1 s LIMIT 1", ":1|");
    expect(at, "SINTERCARD 1 s LIMIT 2", ":2|");
    expect(at, "SUNIONSTORE s s t", ":3|");
    expect(at, "SDIFFSTORE t s t", ":1|");
    expect(at, "SMEMBERS t", "*1|$1|a|");
    expect(at, "SINTERSTORE t t nope", ":0|");
    expect(at, "EXISTS t", ":0|");
    expect(at, "SMOVE s t a", ":1|");
    expect(at, "SMOVE s t a", ":0|");
    expect(at, "SMOVE t t a", ":1|");
    at->client->proto = 3;
    expect(at, "SMEMBERS s", "~2|$1|b|$1|c|");
    expect(at, "SPOP t 5", "~1|$1|a|");
    expect(at, "SPOP t", "_|");
    expect(at, "SRANDMEMBER nope 3", "*0|");
    expect(at, "SSCAN s 0 MATCH b COUNT 1", "*2|$1|0|*1|$1|b|");
    expect(at, "SSCAN nope 5", "*2|$1|0|*0|");
}

static void test_errors(void **state)
{
    node *at = *state;
    static const char WRONG[] = "-WRONGTYPE Operation against a key holding the wrong kind of value|";
    expect(at, "HSET h f x", ":1|");
    expect(at, "SADD s m", ":1|");
    expect(at, "HSET h f", "-ERR wrong number of arguments for 'hset' command|");
    expect(at, "HMSET h f x g", "-ERR wrong number of arguments for 'hmset' command|");
    expect(at, "HGET s f", WRONG);
    expect(at, "SADD h f", WRONG);
    expect(at, "SINTER nope h", WRONG);
    expect(at, "SDIFFSTORE d nope h", WRONG);
    expect(at, "SMOVE s h m", WRONG);
    expect(at, "SISMEMBER s m", ":1|");
    expect(at, "HINCRBY h f 1", "-ERR hash value is not an integer|");
    expect(at, "HINCRBY h f x", "-ERR value is not an integer or out of range|");
    expect(at, "HINCRBYFLOAT h f x", "-ERR value is not a valid float|");
    expect(at, "HINCRBYFLOAT h f inf", "-ERR value is NaN or Infinity|");
    expect(at, "HINCRBYFLOAT h f 1", "-ERR hash value is not a float|");
    expect(at, "HSET h n 9223372036854775807", ":1|");
    expect(at, "HINCRBY h n 1", "-ERR increment or decrement would overflow|");
    expect(at, "SPOP s -1", "-ERR value is out of range, must be positive|");
    expect(at, "SPOP s 1 2", "-ERR syntax error|");
    expect(at, "SRANDMEMBER s -9223372036854775808",
           "-ERR value is out of range, value must between -9223372036854775807 and 9223372036854775807|");
    expect(at, "HRANDFIELD h -9223372036854775807 WITHVALUES", "-ERR value is out of range|");
    expect(at, "HRANDFIELD h 1 VALUES", "-ERR syntax error|");
    expect(at, "SRANDMEMBER s -9223372036854775807",
           "-ERR value is out of range, at most 1048576 elements with repeats are returned|");
    expect(at, "SINTERCARD 0 s", "-ERR numkeys should be greater than 0|");
    expect(at, "SINTERCARD 2 s", "-ERR Number of keys can't be greater than number of args|");
    expect(at, "SINTERCARD 1 s LIMIT -1", "-ERR LIMIT can't be negative|");
    expect(at, "SINTERCARD 1 s LIMIT", "-ERR syntax error|");
    expect(at, "SSCAN s x", "-ERR invalid cursor|");
    expect(at, "SSCAN s 0 COUNT 0", "-ERR syntax error|");
    expect(at, "SSCAN s 0 COUNT x", "-ERR value is not an integer or out of range|");
}

/* -- what differs from Redis, or could ----------------------------------------------------------------------------- */

static void test_a_key_without_members_has_no_deadline(void **state)
{
    node *at = *state;
    expect(at, "SADD s a b", ":2|");
    expect(at, "EXPIRE s 100", ":1|");
    expect(at, "SREM s a", ":1|");
    expect(at, "TTL s", ":100|");
    expect(at, "SREM s b", ":1|");
    assert_true(gone(at, "s"));
    expect(at, "SADD s c", ":1|");
    expect(at, "TTL s", ":-1|");
    expect(at, "HSET h f 1", ":1|");
    expect(at, "EXPIRE h 100", ":1|");
    expect(at, "HDEL h f", ":1|");
    assert_true(gone(at, "h"));
    assert_int_equal(at->replica->db.keys, 1);
    expect(at, "HSET h f 1", ":1|");
    expect(at, "TTL h", ":-1|");
    expect(at, "EXPIRE s 100", ":1|");
    expect(at, "SPOP s 9", "*1|$1|c|");
    assert_true(gone(at, "s"));
    expect(at, "SADD s d", ":1|");
    expect(at, "EXPIRE s 100", ":1|");
    expect(at, "SMOVE s t d", ":1|");
    assert_true(gone(at, "s"));
    expect(at, "TTL t", ":-1|");
    /* A deadline that has passed: the key is not there, for reading or writing. */
    expect(at, "EXPIRE t 1", ":1|");
    sk_replica_time(at->replica, 2, at->replica->wall_ms + 2000);
    expect(at, "SCARD t", ":0|");
    expect(at, "SISMEMBER t d", ":0|");
    expect(at, "SMEMBERS t", "*0|");
    expect(at, "SRANDMEMBER t", "$-1|");
    expect(at, "SUNION t", "*0|");
    expect(at, "SADD t e", ":1|");
    expect(at, "SMEMBERS t", "*1|$1|e|");
}

static void test_additions_win(void **state)
{
    node *at = *state;
    sk_vv seen = {0};
    expect(at, "SADD s a", ":1|");
    expect(at, "HSET h f 1", ":1|");
    sk_vv_copy(&seen, &at->replica->db.vv);
    /* There already, and asked for again: a removal that has seen only the first must not take it. */
    expect(at, "SADD s a", ":0|");
    expect(at, "HSET h f 1", ":0|");
    removes_elsewhere(at, SK_TABLE_SET, "s", "a", &seen);
    removes_elsewhere(at, SK_TABLE_HASH, "h", "f", &seen);
    expect(at, "SISMEMBER s a", ":1|");
    expect(at, "HGET h f", "$1|1|");
    sk_vv_copy(&seen, &at->replica->db.vv);
    removes_elsewhere(at, SK_TABLE_SET, "s", "a", &seen);
    expect(at, "EXISTS s", ":0|");
    sk_vv_free(&seen);
}

static void test_siblings_refuse_what_needs_one_value(void **state)
{
    node *at = *state;
    static const char *const refused[] = {"HGET h f", "HMGET h a f", "HGETALL h", "HVALS h", "HSTRLEN h f",
                                          "HINCRBY h f 1", "HSCAN h 0", "HRANDFIELD h 5 WITHVALUES"};
    expect(at, "HSET h a 1 f here", ":2|");
    sets_elsewhere(at, "h", "f", "there");
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
        const char *reply = say(at, refused[i]);
        assert_true(strncmp(reply, "-CONFLICT field 'f' of key 'h' has ", 34) == 0);
        assert_ptr_equal(strchr(reply, '\n'), reply + strlen(reply) - 1); /* one error, and nothing else */
    }
    expect(at, "HGET h a", "$1|1|");
    expect(at, "HLEN h", ":2|");
    expect(at, "HKEYS h", "*2|$1|a|$1|f|");
    expect(at, "HEXISTS h f", ":1|");
    expect(at, "HSETNX h f x", ":0|");
    expect(at, "HSCAN h 0 MATCH a", "*2|$1|0|*2|$1|a|$1|1|");
    expect(at, "HSET h f both", ":0|"); /* has seen both */
    expect(at, "HGETALL h", "*4|$1|a|$1|1|$1|f|$4|both|");
    sets_elsewhere(at, "h", "f", "again");
    expect(at, "HDEL h f", ":1|");
    expect(at, "HGETALL h", "*2|$1|a|$1|1|");
}

static void test_newest_answers(void **state)
{
    node *at = *state;
    expect(at, "POLICY SET h newest", "+OK|");
    expect(at, "HSET h f here", ":1|");
    sets_elsewhere(at, "h", "f", "there");
    expect(at, "HGETALL h", "*2|$1|f|$5|there|");
    expect(at, "HSTRLEN h f", ":5|");
}

/* -- scans --------------------------------------------------------------------------------------------------------- */

static void fill(node *at, const char *key, const char *format, int from, int to)
{
    for (int i = from; i < to; i++) {
        char member[64];
        snprintf(member, sizeof member, format, i);
        sk_bytes argv[] = {sk_bytes_str("SADD"), sk_bytes_str(key), sk_bytes_str(member)};
        ask(at, argv, 3);
    }
    settle(at);
}

static uint64_t scan_step(node *at, const char *key, uint64_t cursor, int count, unsigned *times, size_t most)
{
    char request[128];
    snprintf(request, sizeof request, "SSCAN %s %llu COUNT %d", key, (unsigned long long)cursor, count);
    const char *reply = say(at, request);
    assert_true(reply[0] == '*');
    uint64_t next = strtoull(strchr(strchr(reply, '$'), '\n') + 1, NULL, 10);
    for (const char *m = strstr(reply, "\nm"); m; m = strstr(m + 1, "\nm")) {
        unsigned long i = strtoul(m + 2, NULL, 10);
        assert_true(i < most);
        times[i]++;
    }
    return next;
}

static void test_a_scan_returns_what_stays(void **state)
{
    node *at = *state;
    enum { MEMBERS = 1500 };
    unsigned times[MEMBERS] = {0};
    fill(at, "s", "m%04d", 0, MEMBERS);
    uint64_t cursor = 0;
    int steps = 0;
    do {
        char request[64];
        cursor = scan_step(at, "s", cursor, 7, times, MEMBERS);
        /* Members with odd numbers come and go meanwhile. */
        int odd = (steps * 37 % MEMBERS) | 1;
        snprintf(request, sizeof request, "%s s m%04d", steps % 3 ? "SREM" : "SADD", odd);
        say(at, request);
        steps++;
    } while (cursor);
    for (int i = 0; i < MEMBERS; i += 2) assert_int_equal(times[i], 1);
    assert_true(steps > MEMBERS / 7 / 2);
}

static void test_unknown_cursors_of_large_sets_are_refused(void **state)
{
    node *at = *state;
    unsigned times[600] = {0};
    fill(at, "s", "m%04d", 0, SK_SCAN_WHOLE_MAX);
    assert_true(scan_step(at, "s", 12345, 5, times, 600) == 0); /* all of it */
    assert_int_equal(times[0] + times[SK_SCAN_WHOLE_MAX - 1], 2);
    fill(at, "s", "m%04d", SK_SCAN_WHOLE_MAX, SK_SCAN_WHOLE_MAX + 1);
    expect(at, "SSCAN s 12345 COUNT 5", "-ERR invalid cursor|");
    uint64_t cursor = scan_step(at, "s", 0, 500, times, 600);
    assert_true(cursor != 0);
    char request[64];
    snprintf(request, sizeof request, "SSCAN t %llu", (unsigned long long)cursor);
    fill(at, "t", "m%04d", 0, SK_SCAN_WHOLE_MAX + 1);
    expect(at, request, "-ERR invalid cursor|");
    assert_true(scan_step(at, "s", cursor, 500, times, 600) == 0);
    assert_int_equal(times[SK_SCAN_WHOLE_MAX], 1);
}

/* -- random members ------------------------------------------------------------------------------------------------ */

static void test_random_members_of_a_lopsided_set(void **state)
{
    node *at = *state;
    enum { MEMBERS = 3000, DRAWS = 6000 };
    fill(at, "s", "a%d", 0, 1); /* alone in its branch */
    fill(at, "s", "user:%05d", 0, MEMBERS);
    fill(at, "s", "user:0000", 0, 1); /* a member that others begin with */
    unsigned lone = 0, low = 0;
    for (int i = 0; i < DRAWS; i++) {
        const char *member = strchr(say(at, "SRANDMEMBER s"), '\n') + 1;
        lone += member[0] == 'a';
        if (member[0] == 'u') low += strtoul(member + 5, NULL, 10) < MEMBERS / 2;
    }
    assert_true(lone < 40); /* 2 expected; by branches alone it were 3000 */
    assert_in_range(low, DRAWS * 4 / 10, DRAWS * 6 / 10);
}

static void test_random_members_of_binary_sets(void **state)
{
    node *at = *state;
    enum { MEMBERS = 2000 };
    uint64_t x = 1;
    for (int i = 0; i < MEMBERS; i++) {
        uint8_t member[7];
        for (size_t k = 0; k < sizeof member; k++) member[k] = (uint8_t)((x = x * 6364136223846793005u + 13) >> 56);
        sk_bytes argv[] = {sk_bytes_str("SADD"), sk_bytes_str("s"), sk_bytes_of(member, i % 8 ? sizeof member : 2)};
        ask(at, argv, 3);
    }
    sk_bytes none[] = {sk_bytes_str("SADD"), sk_bytes_str("s"), SK_BYTES_NONE};
    ask(at, none, 3);
    settle(at);
    unsigned high = 0;
    for (int i = 0; i < 2000; i++) {
        say(at, "SRANDMEMBER s");
        const uint8_t *member = memchr(at->out.data, '\n', at->out.len);
        high += at->out.len > 6 && member[1] >= 128;
    }
    assert_in_range(high, 800, 1200);
    /* Popping ends with nothing, and nothing comes twice. */
    uint64_t size = strtoull(say(at, "SCARD s") + 1, NULL, 10), popped = 0;
    assert_true(size > MEMBERS * 9 / 10);
    while (strncmp(say(at, "SPOP s"), "$-1", 3) != 0)
        if (popped++ % 64 == 0) settle(at);
    assert_int_equal(popped, size);
    expect(at, "EXISTS s", ":0|");
}

static void test_counts_of_random_members(void **state)
{
    node *at = *state;
    enum { MEMBERS = 3000 };
    fill(at, "s", "m%d", 0, MEMBERS);
    static const int counts[] = {1, 5, 11, 12, 500, 2999, 3000, 4000};
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
        bool seen[MEMBERS] = {false};
        char request[64];
        snprintf(request, sizeof request, "SRANDMEMBER s %d", counts[i]);
        const char *reply = say(at, request);
        int got = 0;
        for (const char *m = strstr(reply, "\nm"); m; m = strstr(m + 1, "\nm")) {
            unsigned long at_member = strtoul(m + 2, NULL, 10);
            assert_false(seen[at_member]);
            seen[at_member] = true;
            got++;
        }
        assert_int_equal(got, counts[i] < MEMBERS ? counts[i] : MEMBERS);
        snprintf(request, sizeof request, "SRANDMEMBER s -%d", counts[i]);
        assert_int_equal(strtol(say(at, request) + 1, NULL, 10), counts[i]);
    }
    assert_int_equal(strtol(say(at, "SPOP s 2500") + 1, NULL, 10), 2500);
    expect(at, "SCARD s", ":500|");
    sk_db_check(&at->replica->db);
}

/* -- several sets: against sets of bits ---------------------------------------------------------------------------- */

static uint64_t roll(uint64_t *seed)
{
    *seed = *seed * 6364136223846793005u + 1442695040888963407u;
    return *seed >> 33;
}

static void expect_set(node *at, const char *request, const bool *want, size_t most)
{
    const char *reply = say(at, request);
    bool got[512] = {false};
    for (const char *m = strstr(reply, "\nm"); m; m = strstr(m + 1, "\nm")) got[strtoul(m + 2, NULL, 10)] = true;
    for (size_t i = 0; i < most; i++) assert_int_equal(got[i], want[i]);
}

static void test_algebra(void **state)
{
    node *at = *state;
    enum { SPACE = 400 };
    uint64_t seed = 3;
    for (int round = 0; round < 25; round++) {
        bool has[3][SPACE] = {{false}}, both[SPACE], any[SPACE], only[SPACE];
        size_t common = 0;
        say(at, "DEL 0 1 2");
        for (int s = 0; s < 3; s++) {
            static const uint64_t sizes[] = {0, 2, 10, 300};
            for (uint64_t n = sizes[roll(&seed) % 4]; n; n--) {
                char request[32];
                uint64_t m = roll(&seed) % SPACE;
                has[s][m] = true;
                snprintf(request, sizeof request, "SADD %d m%llu", s, (unsigned long long)m);
                say(at, request);
            }
        }
        for (int m = 0; m < SPACE; m++) {
            both[m] = has[0][m] && has[1][m] && has[2][m];
            any[m] = has[0][m] || has[1][m] || has[2][m];
            only[m] = has[0][m] && !has[1][m] && !has[2][m];
            common += both[m];
        }
        char card[64], limited[64];
        snprintf(card, sizeof card, ":%zu|", common);
        snprintf(limited, sizeof limited, ":%zu|", common < 3 ? common : 3);
        expect_set(at, "SINTER 0 1 2", both, SPACE);
        expect_set(at, "SUNION 0 1 2", any, SPACE);
        expect_set(at, "SDIFF 0 1 2", only, SPACE);
        expect(at, "SINTERCARD 3 0 1 2", card);
        expect(at, "SINTERCARD 3 0 1 2 LIMIT 3", limited);
        expect(at, "SINTERSTORE d 0 1 2", card);
        expect_set(at, "SMEMBERS d", both, SPACE);
        say(at, "SDIFFSTORE 0 0 1 2");
        expect_set(at, "SMEMBERS 0", only, SPACE);
    }
    sk_db_check(&at->replica->db);
}

/* A row that cannot be read: whoever gets so far is refused. */
static void damage(node *at, sk_table table, const char *key, const char *member)
{
    sk_arena arena = {0};
    sk_row_name name = sk_row_name_of(&arena, table, sk_bytes_str(key), sk_bytes_str(member));
    sk_store_put(at->store, SK_CF_ROW, name.raw, sk_bytes_str("\xc1"));
    sk_arena_free(&arena);
}

/* What does not fit any more is not read either: a reply may come to 64 bytes, and behind that a row is damaged. */
static void test_a_full_reply_reads_no_further(void **state)
{
    node *at = *state;
    static const char *const requests[][4] = {{"SMEMBERS", "s"}, {"HGETALL", "h"}, {"HKEYS", "h"}, {"HVALS", "h"},
                                              {"SSCAN", "s", "0"}, {"HSCAN", "h", "0"}};
    for (char name[] = "a-member"; name[0] < 'l'; name[0]++) {
        char request[64];
        snprintf(request, sizeof request, "HSET h %s a-value", name);
        say(at, request);
        snprintf(request, sizeof request, "SADD s %s", name);
        say(at, request);
    }
    damage(at, SK_TABLE_SET, "s", "z");
    damage(at, SK_TABLE_HASH, "h", "z");
    expect(at, "SMEMBERS s", "-ERR stored data is damaged|");
    for (size_t i = 0; i < sizeof requests / sizeof *requests; i++) {
        sk_buf_free(&at->out);
        at->out.max = 64;
        sk_bytes argv[4];
        size_t argc = 0;
        for (; argc < 4 && requests[i][argc]; argc++) argv[argc] = sk_bytes_str(requests[i][argc]);
        sk_reply reply = {&at->out, 2};
        sk_command_execute(at->replica, at->client, argv, argc, &reply);
        assert_true(at->out.full);
        assert_true(at->out.len == 0 || at->out.data[0] != '-');
    }
    at->out.max = 0;
}

static void adds_elsewhere(node *at, sk_table table, const char *key, const char *member)
{
    sk_arena arena = {0};
    sk_vv none = {0};
    sk_row_name name = sk_row_name_of(&arena, table, sk_bytes_str(key), sk_bytes_str(member));
    sk_op op = {.forgets_content = true, .has_content = true, .content = {.kind = SK_ENTRY_MEMBER}};
    elsewhere(at, &name, &op, &none);
    sk_arena_free(&arena);
}

/* Writes other sizes into a key's own row. */
static void damage_sizes(node *at, const char *key, uint64_t fields, uint64_t members)
{
    sk_arena arena = {0};
    sk_row row;
    sk_buf packed = {0};
    sk_row_name name = sk_row_name_of(&arena, SK_TABLE_KEY, sk_bytes_str(key), SK_BYTES_NONE);
    assert_int_equal(sk_db_row(&at->replica->db, name.raw, &arena, &row), 0);
    row.fields = fields;
    row.members = members;
    sk_row_pack(&packed, &row, true);
    sk_store_put(at->store, SK_CF_ROW, name.raw, sk_buf_view(&packed));
    sk_buf_free(&packed);
    sk_arena_free(&arena);
}

/* Sizes are derived: what a damaged disk says of them may be wrong until the audit mends it, and a field may hold what
 * is no value. Commands go by the members that there are. */
static void test_sizes_and_fields_may_be_damaged(void **state)
{
    node *at = *state;
    say(at, "SADD s a b c");
    damage_sizes(at, "s", 0, 1);
    expect(at, "SCARD s", ":1|");
    expect(at, "SUNION s", "*3|$1|a|$1|b|$1|c|");
    expect(at, "SUNION s s", "*3|$1|a|$1|b|$1|c|");

    say(at, "POLICY SET m newest");
    say(at, "SET m v");
    adds_elsewhere(at, SK_TABLE_SET, "m", "member");
    sets_elsewhere(at, "m", "field", "value");
    expect(at, "TYPE m", "+hash|");
    damage_sizes(at, "m", 0, 1);
    expect(at, "HRANDFIELD m 3", "*0|");
    expect(at, "HRANDFIELD m", "$-1|");

    say(at, "HSET h f v");
    adds_elsewhere(at, SK_TABLE_HASH, "h", "none");
    expect(at, "HSCAN h 0", "*2|$1|0|*2|$1|f|$1|v|");
    expect(at, "COPY h copy", ":1|");
    expect(at, "HGETALL copy", "*2|$1|f|$1|v|");
    expect(at, "RENAME h moved", "+OK|");
    expect(at, "HGETALL moved", "*2|$1|f|$1|v|");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_hash_replies),
        TEST(test_set_replies),
        TEST(test_errors),
        TEST(test_a_key_without_members_has_no_deadline),
        TEST(test_additions_win),
        TEST(test_siblings_refuse_what_needs_one_value),
        TEST(test_newest_answers),
        TEST(test_a_scan_returns_what_stays),
        TEST(test_unknown_cursors_of_large_sets_are_refused),
        TEST(test_random_members_of_a_lopsided_set),
        TEST(test_random_members_of_binary_sets),
        TEST(test_counts_of_random_members),
        TEST(test_algebra),
        TEST(test_a_full_reply_reads_no_further),
        TEST(test_sizes_and_fields_may_be_damaged),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
