/* What the sweeps do while something fails: two regions, and of one of them, eu, the n-th call of its store, or the n-th
 * allocation that may fail. Commands of all types, transactions, expiry, live exchange, transfers both ways, folding,
 * forgetting, also without a peer that is away for too long, a restart, damage found in the history. Checked: a command
 * answers as it should or with an error; one that answered with an error changed nothing; and when all works again the
 * database is sound, the regions hold the same, and nothing is lost that was acknowledged. */
#ifndef SK_TESTS_FAULT_STORY_H
#define SK_TESTS_FAULT_STORY_H

#include "tests/fault/faulty_store.h"
#include "tests/part.h"
#include "tests/unit/replica_harness.h"

#include <signal.h>
#include <unistd.h>

enum { ROUNDS = 8, MANY = 2 * ROUNDS };

/* How a request ended: not at all, perhaps (the reply was held when the store failed), for certain. */
typedef enum { NOT, PERHAPS, DONE } outcome;

typedef struct {
    region eu, us;
    faulty_store faults; /* before the disk of eu */
    sk_engine_limits limits;
    outcome added[MANY], set[MANY], removed[MANY], field[MANY], pair[MANY];
    int64_t counted_least, counted_most;
    uint64_t errors, restarts_refused, hung_up, laggards, renewed;
} story;

static uint64_t call;               /* that fails */
static void story_opened(story *s); /* of the test: eu has started, also anew */
static void story_heals(story *s);  /* of the test: nothing fails from now on */

static void say_which(int number)
{
    char text[64];
    int len = snprintf(text, sizeof text, "call %llu\n", (unsigned long long)call);
    ssize_t ignored = write(STDERR_FILENO, text, (size_t)len);
    (void)ignored, (void)number;
}

static void must_be(bool so, const char *condition)
{
    if (!so) fail_msg("call %llu: not so: %s", (unsigned long long)call, condition);
}
#define must(condition) must_be(condition, #condition)

/* -- requests ------------------------------------------------------------------------------------------------------- */

static bool is_error(const char *reply)
{
    return reply[0] == '-' || strstr(reply, " -") != NULL; /* within EXEC, too */
}

/* A turn of eu's loop; false if what waited for a commit is void. */
static bool turn(story *s)
{
    uint64_t epoch = s->eu.replica->epoch;
    region_turn(&s->eu, 150); /* a store that failed is tried again within the story */
    return s->eu.replica->epoch == epoch;
}

static outcome request(story *s, const char *text)
{
    bool failed = is_error(ask(&s->eu, text));
    s->errors += failed;
    bool held = turn(s);
    return failed ? NOT : held ? DONE : PERHAPS;
}

static outcome requestf(story *s, const char *format, int a, int b)
{
    char text[128];
    snprintf(text, sizeof text, format, a, b);
    return request(s, text);
}

static outcome pair(story *s, int i)
{
    char text[64];
    if (is_error(ask(&s->eu, "MULTI"))) return NOT;
    snprintf(text, sizeof text, "SET a x%d", i);
    (void)ask(&s->eu, text);
    snprintf(text, sizeof text, "SET b x%d", i);
    (void)ask(&s->eu, text);
    return request(s, "EXEC");
}

static void count(story *s, outcome is)
{
    s->counted_least += is == DONE;
    s->counted_most += is != NOT;
}

static void write_round(story *s, int i)
{
    s->added[i] = requestf(s, "SADD s m%d n%d", i, i);
    count(s, request(s, "INCR c"));
    s->set[i] = requestf(s, "SET k%d v%d", i, i);
    s->field[i] = requestf(s, "HSET h f%d v%d", i, i);
    s->pair[i] = pair(s, i);
    (void)requestf(s, "SET e%d v%d PX 7", i, i);
    if (i >= 3) s->removed[i - 3] = requestf(s, "DEL k%d none%d", i - 3, i);
}

/* A read answers with an error, or with what must be. */
static void expect_or_error(story *s, const char *text, const char *wanted)
{
    const char *reply = ask(&s->eu, text);
    s->errors += is_error(reply);
    if (!is_error(reply) && strncmp(reply, wanted, strlen(wanted)) != 0)
        fail_msg("call %llu: %s: %s instead of %s", (unsigned long long)call, text, reply, wanted);
    (void)turn(s);
}

static void read_round(story *s, int i)
{
    char text[64], wanted[64];
    snprintf(text, sizeof text, "GET k%d", i);
    snprintf(wanted, sizeof wanted, "$%d v%d", i < 10 ? 2 : 3, i);
    if (s->set[i] == DONE && s->removed[i] == NOT) expect_or_error(s, text, wanted);
    snprintf(text, sizeof text, "HGET h f%d", i);
    if (s->field[i] == DONE) expect_or_error(s, text, wanted);
    snprintf(text, sizeof text, "SISMEMBER s m%d", i);
    if (s->added[i] == DONE) expect_or_error(s, text, ":1");
    expect_or_error(s, "SCAN 0 COUNT 100", "*2");
    expect_or_error(s, "KEYS *", "*");
    expect_or_error(s, "HGETALL h", "*");
    expect_or_error(s, "SMEMBERS s", "*");
    expect_or_error(s, "SIBLINGS LIST", "*");
    expect_or_error(s, "DIGEST", "");
}

/* -- the two regions ------------------------------------------------------------------------------------------------ */

static void connect(story *s)
{
    sk_replica_link_down(s->eu.replica, 0);
    sk_replica_link_down(s->us.replica, 0);
    sk_buf_reset(&s->eu.inbox);
    sk_buf_reset(&s->us.inbox);
    sk_replica_link_up(s->eu.replica, 0);
    sk_replica_link_up(s->us.replica, 0);
}

static void exchange(story *s, int turns)
{
    connect(s);
    for (int i = 0; i < turns; i++) {
        uint32_t before = s->eu.hung_up + s->us.hung_up;
        region_turn(&s->eu, 5);
        region_turn(&s->us, 5);
        if (s->eu.hung_up + s->us.hung_up == before) continue;
        s->hung_up++;
        connect(s);
    }
    sk_replica_link_down(s->eu.replica, 0);
    sk_replica_link_down(s->us.replica, 0);
}

/* More than the ring holds: a transfer is needed. */
static void write_elsewhere(story *s, int i)
{
    char text[64];
    for (int j = 0; j < 8; j++) {
        snprintf(text, sizeof text, "SADD s u%d-%d", i, j);
        expect(&s->us, text, ":1");
        expect_begins(&s->us, "INCR c", ":");
        s->counted_least++;
        s->counted_most++;
        snprintf(text, sizeof text, "SET conflict u%d", i);
        (void)ask(&s->us, text); /* beside what eu says */
        region_turn(&s->us, 5);
    }
}

/* Live, with what makes an operation long: resets of the other's counts. */
static void take_back(story *s)
{
    expect_begins(&s->us, "INCR taken-back", ":");
    exchange(s, 20);
    (void)request(s, "DEL taken-back");
    exchange(s, 20);
}

/* us is away for longer than history is kept: from then on eu forgets without it, and reconciles it when it returns. */
static void leave_behind(story *s)
{
    expect_begins(&s->us, "INCR taken-back", ":");
    exchange(s, 20);
    (void)request(s, "DEL taken-back"); /* what speaks of it stays in the history */
    region_turn(&s->eu, 30000);         /* nobody is a laggard right after a start */
    s->eu.replica->retention.cap.bytes = 100;
    for (int i = 0; i < 6; i++) count(s, request(s, "INCR c"));
    for (int i = 0; i < 4; i++) (void)turn(s);
    s->laggards += s->eu.replica->retention.crossings;
    s->eu.replica->retention.cap.bytes = 0;
    exchange(s, 60);
}

/* A record is not what was put: the history begins anew. */
static void damage_history(story *s)
{
    sk_bytes key, value;
    for (int i = 0; i < 3; i++) count(s, request(s, "INCR c"));
    sk_store_iter *iter = sk_store_iterate(s->eu.disk, NULL, SK_CF_HISTORY, SK_BYTES_NONE, SK_BYTES_NONE);
    if (sk_store_next(s->eu.disk, iter, &key, &value) > 0)
        sk_store_put(s->eu.disk, SK_CF_HISTORY, key, sk_bytes_str("damage"));
    sk_store_iter_free(s->eu.disk, iter);
    expect_or_error(s, "REGION AUDIT START", "+OK");
    for (int i = 0; i < 8; i++) (void)turn(s);
    s->renewed += s->eu.replica->db.audit.history_renewed;
    exchange(s, 60);
}

static const char *const eu_peers[] = {"us"}, *const us_peers[] = {"eu"};

static void start(story *s)
{
    while (region_start(&s->eu, "eu", eu_peers, NULL, &s->limits)) {
        s->restarts_refused++;
        must(s->restarts_refused < 20);
        s->faults.broken = 0;
        (void)sk_store_reopen(s->eu.disk); /* as a new process would find it */
    }
    story_opened(s);
}

static void restart(story *s)
{
    uint64_t wall = s->eu.replica->wall_ms;
    sk_replica_free(s->eu.replica);
    sk_memory_crash(s->eu.disk, 0);
    s->faults.broken = 0;
    start(s);
    sk_replica_time(s->eu.replica, 1000, wall);
}

static void open_all(story *s)
{
    s->limits = sk_engine_limits_default();
    s->limits.ring_txns_max = 6;
    s->limits.chunk_bytes = 100;
    s->limits.transfer_window = 2;
    s->eu = (region){.disk = sk_memory_open(SK_DURABILITY_ALWAYS), .may_fail = true, .other = &s->us};
    s->us = (region){.disk = sk_memory_open(SK_DURABILITY_ALWAYS), .may_fail = true, .other = &s->eu};
    s->faults.store.ops = &faulty_ops;
    s->faults.inner = s->eu.disk;
    s->eu.store = &s->faults.store;
    s->us.store = s->us.disk;
    assert_int_equal(region_start(&s->us, "us", us_peers, NULL, &s->limits), 0);
    start(s);
}

/* -- the end -------------------------------------------------------------------------------------------------------- */

static void check_flag(story *s, const char *format, int i, outcome is, bool wanted)
{
    char text[64];
    snprintf(text, sizeof text, format, i);
    if (is == PERHAPS) return;
    const char *reply = ask(&s->eu, text);
    bool there = strcmp(reply, ":1") == 0;
    if (!there && strcmp(reply, ":0") != 0) fail_msg("call %llu: %s: %s", (unsigned long long)call, text, reply);
    if (there != wanted) fail_msg("call %llu: %s: %s, though %d", (unsigned long long)call, text, reply, is);
}

static void check_facts(story *s)
{
    for (int i = 0; i < MANY; i++) {
        check_flag(s, "SISMEMBER s m%d", i, s->added[i], s->added[i] == DONE);
        check_flag(s, "SISMEMBER s n%d", i, s->added[i], s->added[i] == DONE);
        check_flag(s, "HEXISTS h f%d", i, s->field[i], s->field[i] == DONE);
        if (s->removed[i] != PERHAPS) check_flag(s, "EXISTS k%d", i, s->set[i], s->set[i] == DONE && !s->removed[i]);
        check_flag(s, "EXISTS e%d", i, NOT, false);
    }
    long long total = 0;
    must(sscanf(ask(&s->eu, "INCRBY c 0"), ":%lld", &total) == 1);
    must(total >= s->counted_least && total <= s->counted_most);
    char a[32] = "", b[32] = "";
    int last = MANY - 1;
    while (last > 0 && s->pair[last] == NOT) last--;
    snprintf(a, sizeof a, "%s", ask(&s->eu, "GET a"));
    snprintf(b, sizeof b, "%s", ask(&s->eu, "GET b"));
    must(strcmp(a, b) == 0);
    if (s->pair[last] == DONE) must(atoi(strchr(a, 'x') + 1) == last);
}

static void heal_and_check(story *s)
{
    story_heals(s);
    for (int i = 0; i < 3; i++) region_turn(&s->eu, 1100);
    must(s->eu.replica->store_error == 0);
    for (int i = 0; i < 20; i++) {
        exchange(s, 100);
        if (s->eu.replica->db.digest == s->us.replica->db.digest &&
            sk_vv_equal(&s->eu.replica->durable_vv, &s->eu.replica->db.vv)) break;
    }
    sk_db_check(&s->eu.replica->db);
    sk_db_check(&s->us.replica->db);
    sk_engine_check(s->eu.replica->engine);
    must(!s->eu.replica->db.failed);
    must(s->eu.replica->db.digest == s->us.replica->db.digest);
    check_facts(s);
}

static void play(story *s)
{
    open_all(s);
    for (int i = 0; i < ROUNDS; i++) write_round(s, i);
    write_elsewhere(s, 0);
    exchange(s, 60);
    for (int i = 0; i < ROUNDS; i += 3) read_round(s, i);
    restart(s);
    write_elsewhere(s, 1);
    for (int i = ROUNDS; i < MANY; i++) write_round(s, i);
    exchange(s, 60);
    for (int i = ROUNDS; i < MANY; i += 3) read_round(s, i);
    for (int i = 0; i < 2; i++) take_back(s);
    leave_behind(s);
    damage_history(s);
    heal_and_check(s);
    region_close(&s->eu);
    region_close(&s->us);
}

#endif
