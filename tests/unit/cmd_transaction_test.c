/* MULTI, EXEC, WATCH (node/cmd_transaction.c). What is expected was asked of Redis 7.0. */
#include "tests/unit/replica_harness.h"

static void exec_is_one_transaction(void **state)
{
    region *eu = *state;
    uint64_t before = transactions(eu);
    expect(eu, "MULTI", "+OK");
    expect(eu, "SET a 1", "+QUEUED");
    expect(eu, "INCR a", "+QUEUED");
    expect(eu, "LPUSH a", "-ERR unknown command 'LPUSH', with args beginning with: 'a' ");
    expect(eu, "EXEC", "-EXECABORT Transaction discarded because of previous errors.");
    expect(eu, "GET a", "$-1");
    expect(eu, "MULTI", "+OK");
    expect(eu, "SET a 1", "+QUEUED");
    expect(eu, "INCR a", "+QUEUED");
    expect(eu, "HGET a f", "+QUEUED");
    expect(eu, "CLIENT ID", "+QUEUED");
    expect(eu, "SADD s x", "+QUEUED");
    expect(eu, "EXEC",
           "*5 +OK :2 -WRONGTYPE Operation against a key holding the wrong kind of value :1 :1");
    assert_int_equal(transactions(eu), before + 1);
    assert_int_equal(eu->client->last_write.seq, transactions(eu));
    expect(eu, "GET a", "$1 2");
    expect(eu, "MULTI", "+OK");
    expect(eu, "GET a", "+QUEUED");
    expect(eu, "EXEC", "*1 $1 2");
    assert_int_equal(transactions(eu), before + 1);
}

static void the_queue_has_rules(void **state)
{
    region *eu = *state;
    expect(eu, "EXEC", "-ERR EXEC without MULTI");
    expect(eu, "DISCARD", "-ERR DISCARD without MULTI");
    expect(eu, "MULTI", "+OK");
    expect(eu, "MULTI", "-ERR MULTI calls can not be nested");
    expect(eu, "WATCH a", "-ERR WATCH inside MULTI is not allowed");
    expect(eu, "EXEC", "*0");
    expect(eu, "MULTI", "+OK");
    expect(eu, "SET a 1", "+QUEUED");
    expect(eu, "DISCARD", "+OK");
    expect(eu, "GET a", "$-1");
    expect(eu, "MULTI", "+OK");
    expect(eu, "SET a", "-ERR wrong number of arguments for 'set' command");
    expect(eu, "DISCARD", "+OK");
    expect(eu, "MULTI", "+OK");
    expect(eu, "SET a 1", "+QUEUED");
    expect(eu, "RESET", "+RESET");
    expect(eu, "EXEC", "-ERR EXEC without MULTI");
    expect(eu, "MULTI", "+OK");
    expect(eu, "HGETALL none", "+QUEUED");
    expect(eu, "HELLO 3", "+QUEUED");
    expect(eu, "HGETALL none", "+QUEUED");
    expect(eu, "UNWATCH", "+QUEUED");
    const char *answer = ask(eu, "EXEC");
    assert_int_equal(strncmp(answer, "*4 *0 %7 ", 9), 0);
    assert_string_equal(strstr(answer, "modules"), "modules *0 %0 +OK");
}

static void watch_sees_changes(void **state)
{
    region *eu = *state;
    sk_client *second = sk_client_new(eu->replica);
    expect(eu, "WATCH a b", "+OK");
    assert_string_equal(ask_as(eu, second, "SET b 1"), "+OK");
    expect(eu, "MULTI", "+OK");
    expect(eu, "SET c 1", "+QUEUED");
    expect(eu, "EXEC", "*-1");
    expect(eu, "GET c", "$-1");
    expect(eu, "MULTI", "+OK");
    expect(eu, "SET c 1", "+QUEUED");
    expect(eu, "EXEC", "*1 +OK");
    expect(eu, "WATCH a", "+OK");
    expect(eu, "SADD a x", ":1");
    expect_begins(eu, "HELLO 3", "%7");
    expect(eu, "MULTI", "+OK");
    expect(eu, "EXEC", "_");
    expect(eu, "WATCH a", "+OK");
    assert_string_equal(ask_as(eu, second, "SADD a y"), ":1");
    expect(eu, "UNWATCH", "+OK");
    expect(eu, "MULTI", "+OK");
    expect(eu, "EXEC", "*0");
    assert_int_equal(eu->replica->watches.count, 0);
}

static void watch_sees_deadlines(void **state)
{
    region *eu = *state;
    expect(eu, "PSETEX a 50 v", "+OK");
    expect(eu, "WATCH a", "+OK");
    sk_replica_time(eu->replica, eu->replica->now_ms + 60, eu->replica->wall_ms + 60);
    expect(eu, "MULTI", "+OK");
    expect(eu, "EXEC", "*-1");
    /* it had expired before it was watched: its rows are still there, and that breaks nothing */
    expect(eu, "WATCH a", "+OK");
    expect(eu, "MULTI", "+OK");
    expect(eu, "EXEC", "*0");
}

/* A key that had expired before it was watched, and is removed then, here or elsewhere, is none before and after. */
static void watch_of_an_expired_key(void **state)
{
    (void)state;
    region eu, us;
    regions_open(&eu, &us);
    sk_client *second = sk_client_new(eu.replica);
    expect(&eu, "PSETEX a 1000 v", "+OK");
    expect(&eu, "HSET h f v", ":1");
    expect(&eu, "PEXPIRE h 1000", ":1");
    regions_meet(&eu, &us);
    uint64_t later_ms = eu.replica->wall_ms + 900; /* too early for the other region to remove them itself */
    for (int i = 0; i < 2; i++) {
        region *at = i ? &eu : &us;
        sk_replica_time(at->replica, at->replica->now_ms, later_ms);
        assert_int_equal(at->replica->db.keys, 2);
        expect(at, "EXISTS a h", ":0");
        expect(at, "WATCH a h none", "+OK");
    }
    for (int i = 0; i < 5; i++) region_turn(&eu, 100);
    assert_int_equal(eu.replica->db.keys, 0);
    regions_meet(&eu, &us);
    assert_int_equal(us.replica->db.keys, 0);
    for (int i = 0; i < 2; i++) {
        expect(i ? &eu : &us, "MULTI", "+OK");
        expect(i ? &eu : &us, "EXEC", "*0");
    }
    /* that it comes back is a change, even if it goes again; so is that it expires when it had not */
    expect(&eu, "WATCH a", "+OK");
    assert_string_equal(ask_as(&eu, second, "SET a 1"), "+OK");
    assert_string_equal(ask_as(&eu, second, "DEL a"), ":1");
    expect(&eu, "MULTI", "+OK");
    expect(&eu, "EXEC", "*-1");
    expect(&eu, "PSETEX a 50 v", "+OK");
    expect(&eu, "WATCH a", "+OK");
    for (int i = 0; i < 3; i++) region_turn(&eu, 100);
    assert_int_equal(eu.replica->db.keys, 0);
    expect(&eu, "MULTI", "+OK");
    expect(&eu, "EXEC", "*-1");
    region_close(&eu);
    region_close(&us);
}

#define TOO_LARGE "-ERR this would be a transaction larger than limits.transaction_max"

static bool not_writable(void *self)
{
    (void)self;
    return false;
}

/* EXEC may run when what was queued may: it is judged by that, once more, and not by itself. */
static void exec_is_refused_for_what_it_runs(void **state)
{
    static const char STOPPING[] = "EXECABORT Transaction discarded because of: ERR the node is shutting down";
    region *eu = *state;
    expect(eu, "SET a 1", "+OK");
    expect_begins(eu, "SETRANGE b 4095 x", "-ERR this would be a transaction larger");
    for (int writes = 0; writes < 2; writes++) {
        expect(eu, "WATCH a", "+OK");
        expect(eu, "MULTI", "+OK");
        expect(eu, "GET a", "+QUEUED");
        expect(eu, writes ? "DEL a" : "PING", "+QUEUED");
        eu->replica->stopping = true;
        if (writes)
            assert_string_equal(ask(eu, "EXEC") + 1, STOPPING);
        else
            expect(eu, "EXEC", "*2 $1 1 +PONG");
        expect(eu, "EXEC", "-ERR EXEC without MULTI");
        expect(eu, "GET a", "$1 1");
        eu->replica->stopping = false;
    }
    for (int grows = 0; grows < 2; grows++) {
        eu->replica->host.writable = NULL;
        expect(eu, "MULTI", "+OK");
        expect(eu, grows ? "SET b 1" : "DEL a", "+QUEUED");
        eu->replica->host.writable = not_writable;
        if (grows)
            expect_begins(eu, "EXEC", "-EXECABORT Transaction discarded because of: MISCONF the disk is nearly full");
        else
            expect(eu, "EXEC", "*1 :1");
    }
    expect(eu, "EXISTS a b", ":0");
}

/* What is queued is bounded by all that it takes, whatever it is; and after that nothing more is kept. */
static void the_queue_is_bounded(void **state)
{
    region *eu = *state;
    char request[1100] = "ECHO ";
    memset(request + 5, 'x', 1000);
    for (int pass = 0; pass < 2; pass++) {
        if (pass) strcpy(request, "PING");
        expect(eu, "MULTI", "+OK");
        int queued = 0;
        while (strcmp(ask(eu, request), "+QUEUED") == 0) assert_in_range(++queued, 0, pass ? 100 : 4);
        assert_in_range(queued, pass ? 60 : 3, 100);
        size_t bytes = eu->client->queue_bytes;
        assert_in_range(bytes, 3000, 4096);
        expect(eu, request, TOO_LARGE);
        expect(eu, "ECHO x", pass ? TOO_LARGE : "+QUEUED");
        assert_int_equal(eu->client->queue_bytes, bytes);
        expect(eu, "EXEC", "-EXECABORT Transaction discarded because of previous errors.");
        assert_int_equal(eu->client->queue_bytes, 0);
    }
    expect(eu, "WATCH a", "+OK");
    expect(eu, "SET a 1", "+OK");
    expect(eu, "MULTI", "+OK");
    expect(eu, "SET a 2", "+QUEUED");
    assert_int_equal(eu->client->queue_bytes, 0);
    expect(eu, "EXEC", "*-1");
}

/* What a client watches is bounded likewise, and the watches of many are kept apart. */
static void watches_are_bounded(void **state)
{
    region *eu = *state;
    sk_client *others[200];
    char request[32];
    int watched = 0;
    do snprintf(request, sizeof request, "WATCH key%d", watched);
    while (strcmp(ask(eu, request), "+OK") == 0 && ++watched < 100);
    assert_in_range(watched, 20, 60);
    expect(eu, request, "-ERR the watched keys would take more than limits.transaction_max");
    expect(eu, "WATCH key0", "+OK");
    for (int i = 0; i < 200; i++) {
        others[i] = sk_client_new(eu->replica);
        snprintf(request, sizeof request, "WATCH key%d mine%d", i % 2, i);
        assert_string_equal(ask_as(eu, others[i], request), "+OK");
    }
    assert_int_equal(eu->replica->watches.count, watched + 400);
    for (int i = 0; i < 200; i += 3) sk_client_free(others[i]);
    expect(eu, "SET mine4 x", "+OK");
    assert_string_equal(ask_as(eu, others[1], "SET key1 x"), "+OK");
    assert_true(eu->client->watch_broken);
    for (int i = 0; i < 200; i++)
        if (i % 3) assert_int_equal(others[i]->watch_broken, i % 2 || i == 4);
    expect(eu, "UNWATCH", "+OK");
    for (int i = 0; i < 200; i++)
        if (i % 3) sk_client_free(others[i]);
    assert_int_equal(eu->replica->watches.count, 0);
}

/* Each of these fits, all of them do not: whatever it grows by, nothing of it stays. */
static void exec_too_large_is_undone(void **state)
{
    region *eu = *state;
    static const char *const growing[] = {"COPY a %d", "APPEND b%d 1", "SETRANGE n%d 1400 x", "RENAME r%d s%d"};
    char request[64];
    expect(eu, "SETRANGE a 1499 x", ":1500");
    expect(eu, "SET b 1", "+OK");
    for (int i = 0; i < 4; i++) {
        snprintf(request, sizeof request, "COPY a r%d", i);
        expect(eu, request, ":1");
        snprintf(request, sizeof request, "COPY a b%d", i);
        expect(eu, request, ":1");
    }
    uint64_t before = transactions(eu);
    sk_digest digest = eu->replica->db.digest;
    for (size_t g = 0; g < sizeof growing / sizeof *growing; g++) {
        expect(eu, "MULTI", "+OK");
        expect(eu, "SET b 2", "+QUEUED");
        expect(eu, "SADD s x", "+QUEUED");
        for (int i = 0; i < 4; i++) {
            snprintf(request, sizeof request, growing[g], i, i);
            expect(eu, request, "+QUEUED");
        }
        expect(eu, "EXEC", "-EXECABORT Transaction discarded because of: this would be a transaction larger than "
                           "limits.transaction_max");
        assert_true(eu->replica->db.digest == digest);
        assert_int_equal(transactions(eu), before);
    }
    expect(eu, "MULTI", "+OK");
    expect(eu, "COPY a c", "+QUEUED");
    expect(eu, "COPY a d", "+QUEUED");
    expect(eu, "EXEC", "*2 :1 :1");
    expect(eu, "DBSIZE", ":12");
}

/* A key too large for one transaction goes in several when it has expired; a write to it must wait for that. */
static void a_large_key_expires_in_parts(void **state)
{
    region *eu = *state;
    char request[300];
    for (int i = 0; i < 100; i++) {
        snprintf(request, sizeof request, "HSET h %0100d 1", i);
        expect(eu, request, ":1");
        snprintf(request, sizeof request, "SADD h2 %0100d", i);
        expect(eu, request, ":1");
    }
    expect(eu, "PEXPIRE h 50", ":1");
    expect(eu, "PEXPIRE h2 50", ":1");
    uint64_t before = transactions(eu);
    sk_replica_time(eu->replica, eu->replica->now_ms + 60, eu->replica->wall_ms + 60);
    expect_begins(eu, "SET h 1", "-ERR this would be a transaction larger");
    expect(eu, "EXISTS h", ":0");
    for (int i = 0; i < 20 && eu->replica->db.keys; i++) {
        region_turn(eu, 100);
        sk_db_check(&eu->replica->db);
        expect(eu, "EXISTS h h2", ":0");
    }
    assert_in_range(transactions(eu) - before, 6, 12);
    assert_true(eu->replica->db.digest == 0);
    assert_int_equal(eu->replica->stat_expired, 2);
    expect(eu, "SET h 1", "+OK");
}

static void watch_sees_other_regions(void **state)
{
    (void)state;
    region eu, us;
    regions_open(&eu, &us);
    expect(&eu, "WATCH h", "+OK");
    expect(&us, "HSET h f 1", ":1");
    regions_meet(&eu, &us);
    expect(&eu, "MULTI", "+OK");
    expect(&eu, "EXEC", "*-1");
    expect(&eu, "MULTI", "+OK");
    expect(&eu, "SET x 1", "+QUEUED");
    expect(&eu, "SADD y 1", "+QUEUED");
    expect(&eu, "EXEC", "*2 +OK :1");
    regions_meet(&eu, &us);
    expect(&us, "EXISTS x y", ":2");
    region_close(&eu);
    region_close(&us);
}

/* What `format` answers with `token` in place of the %s. */
static const char *answer_to(region *at, const char *format, const char *token)
{
    static char request[2048];
    snprintf(request, sizeof request, format, token);
    return ask(at, request);
}

/* The token that SESSION TOKEN gives in a MULTI with a write before it and one behind it (NULL: none). */
static void token_within(region *at, const char *before, const char *behind, char token[1024])
{
    expect(at, "MULTI", "+OK");
    expect(at, before, "+QUEUED");
    expect(at, "SESSION TOKEN", "+QUEUED");
    if (behind) expect(at, behind, "+QUEUED");
    assert_int_equal(sscanf(strstr(ask(at, "EXEC"), " $"), " $%*d %1023s", token), 1);
}

/* A token stands for what its transaction has done too, whatever that comes to. */
static void a_token_covers_its_transaction(void **state)
{
    (void)state;
    region eu, us;
    char token[1024];
    regions_open(&eu, &us);
    expect(&eu, "SET old 1", "+OK");
    regions_meet(&eu, &us);
    token_within(&eu, "SET k v", NULL, token);
    assert_int_equal(strncmp(answer_to(&us, "SESSION AFTER %s TIMEOUT 0", token), "-BEHIND", 7), 0);
    regions_meet(&eu, &us);
    assert_string_equal(answer_to(&us, "SESSION AFTER %s TIMEOUT 0", token), "+OK");
    token_within(&eu, "SET fleeting v", "DEL fleeting", token);
    assert_string_equal(answer_to(&eu, "SESSION AFTER %s TIMEOUT 0", token), "+OK");
    regions_meet(&eu, &us);
    assert_string_equal(answer_to(&us, "SESSION AFTER %s TIMEOUT 0", token), "+OK");
    uint64_t made = transactions(&eu);
    token_within(&eu, "DEL none", NULL, token);
    assert_int_equal(transactions(&eu), made);
    assert_string_equal(answer_to(&eu, "SESSION AFTER %s TIMEOUT 0", token), "+OK");
    sk_db_check(&eu.replica->db);
    sk_db_check(&us.replica->db);
    region_close(&eu);
    region_close(&us);
}

/* A context tells of whole transactions: what the open one has done is not to be resolved before the rest is there. */
static void no_context_of_half_a_transaction(void **state)
{
    region *eu = *state;
    char context[1024];
    expect(eu, "INCR n", ":1");
    expect(eu, "MULTI", "+OK");
    expect(eu, "DEL none", "+QUEUED");
    expect(eu, "SIBLINGS GET n", "+QUEUED");
    expect(eu, "INCRBY n 10", "+QUEUED");
    expect(eu, "SIBLINGS GET n", "+QUEUED");
    const char *answer = ask(eu, "EXEC");
    assert_int_equal(sscanf(answer, "*4 :0 *4 $7 context $%*d %1023s", context), 1);
    assert_non_null(strstr(answer, " :11 -ERR SIBLINGS GET comes before all that writes in a MULTI"));
    assert_string_equal(answer_to(eu, "SIBLINGS RESOLVE n %s 100", context), ":1");
    expect(eu, "GET n", "$3 110");
}

/* Half a transaction has no vector that a digest could be shown with. */
static void no_digest_within_a_transaction(void **state)
{
    region *eu = *state;
    expect(eu, "MULTI", "+OK");
    expect(eu, "SET k v", "+QUEUED");
    expect(eu, "DIGEST", "-ERR this command is not allowed inside MULTI");
    expect(eu, "DISCARD", "+OK");
    expect_begins(eu, "DIGEST", "*4 $6 digest");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define ONE(test) cmocka_unit_test_setup_teardown(test, open_one, close_one)
        ONE(exec_is_one_transaction), ONE(the_queue_has_rules), ONE(watch_sees_changes), ONE(watch_sees_deadlines),
        ONE(exec_too_large_is_undone), ONE(the_queue_is_bounded), ONE(exec_is_refused_for_what_it_runs), ONE(watches_are_bounded),
        ONE(a_large_key_expires_in_parts), cmocka_unit_test(watch_of_an_expired_key),
        cmocka_unit_test(watch_sees_other_regions), cmocka_unit_test(a_token_covers_its_transaction),
        ONE(no_context_of_half_a_transaction), ONE(no_digest_within_a_transaction),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
