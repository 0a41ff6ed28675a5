/* Conflicts, seen and resolved (node/cmd_siblings.c): what a context may be used for, and how many siblings there may be. */
#include "tests/unit/replica_harness.h"

/* The context that SIBLINGS GET gives for the key (or "key FIELD field"). Borrowed from a static. */
static const char *context_of(region *at, const char *what)
{
    static char request[256], context[4][1024];
    static int next;
    char *out = context[next++ % 4];
    snprintf(request, sizeof request, "SIBLINGS GET %s", what);
    assert_int_equal(sscanf(ask(at, request), "*4 $7 context $%*d %1023s", out), 1);
    return out;
}

/* What RESOLVE answers, with a context in place of the %s. */
static const char *resolve(region *at, const char *format, const char *context)
{
    static char request[2048];
    snprintf(request, sizeof request, format, context);
    return ask(at, request);
}

static const char WRONG[] = "-ERR this context is of another key or field: take one from SIBLINGS GET of this one";

static void a_context_is_of_one_key(void **state)
{
    (void)state;
    region eu, us;
    regions_open(&eu, &us);
    for (int i = 0; i < 2; i++) {
        region *at = i ? &us : &eu;
        expect(at, i ? "SET a 1" : "SET a 2", "+OK");
        expect(at, i ? "SET b 1" : "SET b 2", "+OK");
        expect(at, i ? "HSET h f 1 g 1" : "HSET h f 2 g 2", ":2");
    }
    regions_meet(&eu, &us);
    expect(&eu, "SIBLINGS COUNT", ":4");
    const char *a = context_of(&eu, "a"), *f = context_of(&eu, "h FIELD f");
    assert_string_equal(resolve(&eu, "SIBLINGS RESOLVE b %s x", a), WRONG);
    assert_string_equal(resolve(&eu, "SIBLINGS RESOLVE h %s x FIELD f", a), WRONG);
    assert_string_equal(resolve(&eu, "SIBLINGS RESOLVE h %s x FIELD g", f), WRONG);
    assert_string_equal(resolve(&eu, "SIBLINGS RESOLVE h %s KEEP hash", f), WRONG);
    char token[1024];
    assert_int_equal(sscanf(ask(&eu, "SESSION TOKEN"), "$%*d %1023s", token), 1);
    assert_string_equal(resolve(&eu, "SIBLINGS RESOLVE a %s x", token), WRONG);
    expect(&eu, "SIBLINGS COUNT", ":4");
    assert_string_equal(resolve(&us, "SIBLINGS RESOLVE a %s x", a), ":1"); /* in any region */
    assert_string_equal(resolve(&eu, "SIBLINGS RESOLVE h %s x FIELD f", f), ":1");
    expect(&eu, "HGET h f", "$1 x");
    expect(&us, "GET a", "$1 x");
    region_close(&eu);
    region_close(&us);
}

static void siblings_have_a_limit_where_they_are_made(void **state)
{
    (void)state;
    region eu, us;
    char old[1024], format[64], wanted[16];
    regions_open(&eu, &us);
    for (int r = 0; r < 2; r++) {
        region *at = r ? &us : &eu;
        strcpy(old, context_of(at, "k"));
        for (int i = 1; i <= SK_SIBLINGS_MAX; i++) {
            snprintf(format, sizeof format, "SIBLINGS RESOLVE k %%s %s%d", r ? "us" : "eu", i);
            snprintf(wanted, sizeof wanted, ":%d", i);
            assert_string_equal(resolve(at, format, old), wanted);
        }
        assert_string_equal(resolve(at, "SIBLINGS RESOLVE k %s more", old),
                            "-ERR there are 64 siblings, as many as there may be, and this context covers none of them: "
                            "take a new one from SIBLINGS GET");
    }
    uint64_t before = sk_vv_get(&eu.replica->db.vv, eu.replica->db.own);
    regions_meet(&eu, &us); /* what is there merges, whatever it comes to */
    const char *siblings = strstr(ask(&eu, "SIBLINGS GET k"), " siblings ");
    assert_int_equal(strncmp(siblings, " siblings *128 ", 15), 0);
    assert_int_equal(strncmp(resolve(&eu, "SIBLINGS RESOLVE k %s more", old), "-ERR there are 64", 17), 0);
    assert_int_equal(sk_vv_get(&eu.replica->db.vv, eu.replica->db.own), before);
    const char *now = context_of(&eu, "k");
    assert_string_equal(resolve(&eu, "SIBLINGS RESOLVE k %s one", now), ":1");
    assert_string_equal(resolve(&eu, "SIBLINGS RESOLVE k %s two", now), ":2");
    regions_meet(&eu, &us);
    expect_begins(&us, "GET k", "-CONFLICT");
    expect(&us, "SET k v", "+OK");
    expect(&us, "GET k", "$1 v");
    region_close(&eu);
    region_close(&us);
}

/* A list that is too long for a reply is no reply, as anywhere: not one with fewer elements than it says. */
static void a_list_too_long_is_no_reply(void **state)
{
    (void)state;
    region eu, us;
    sk_bytes list[] = {sk_bytes_str("SIBLINGS"), sk_bytes_str("LIST")};
    regions_open(&eu, &us);
    expect(&eu, "MSET a-long-name-1 x a-long-name-2 x a-long-name-3 x", "+OK");
    expect(&us, "MSET a-long-name-1 y a-long-name-2 y a-long-name-3 y", "+OK");
    regions_meet(&eu, &us);
    for (size_t max = 40; max < 180; max += 20) {
        sk_buf_free(&eu.reply);
        eu.reply.max = max;
        sk_reply reply = {&eu.reply, 2};
        sk_command_execute(eu.replica, eu.client, list, 2, &reply);
        assert_true(eu.reply.full);
    }
    eu.reply.max = 0;
    expect_begins(&eu, "SIBLINGS LIST", "*2 $1 0 *3 *4 $3 key $13 a-long-name-1 $8 siblings :2 *4");
    region_close(&eu);
    region_close(&us);
}

/* A key that has expired is gone, with its fields. */
static void fields_of_an_expired_key_are_gone(void **state)
{
    region *eu = *state;
    expect(eu, "HSET h f v", ":1");
    expect(eu, "PEXPIRE h 50", ":1");
    assert_non_null(strstr(ask(eu, "SIBLINGS GET h FIELD f"), " siblings *1 "));
    sk_replica_time(eu->replica, eu->replica->now_ms + 60, eu->replica->wall_ms + 60); /* nobody has removed it yet */
    assert_non_null(strstr(ask(eu, "SIBLINGS GET h"), " siblings *0"));
    assert_non_null(strstr(ask(eu, "SIBLINGS GET h FIELD f"), " siblings *0"));
}

/* What RESOLVE refuses changes nothing, of the members of the key neither. */
static void what_is_refused_changes_nothing(void **state)
{
    (void)state;
    region eu, us;
    char none[1024], of_hash[1024], format[64];
    regions_open(&eu, &us);
    strcpy(none, context_of(&eu, "k"));
    for (int i = 1; i <= SK_SIBLINGS_MAX; i++) {
        snprintf(format, sizeof format, "SIBLINGS RESOLVE k %%s v%d", i);
        (void)resolve(&eu, format, none);
    }
    expect(&us, "HSET k f v", ":1");
    strcpy(of_hash, context_of(&us, "k"));
    regions_meet(&eu, &us);
    uint64_t before = transactions(&eu);
    assert_int_equal(strncmp(resolve(&eu, "SIBLINGS RESOLVE k %s more", of_hash), "-ERR there are 64", 17), 0);
    assert_int_equal(transactions(&eu), before);
    assert_non_null(strstr(ask(&eu, "SIBLINGS GET k"), " siblings *65 "));
    region_close(&eu);
    region_close(&us);
}

/* Which of two is newer has one answer everywhere, also of two that were written at the same time. */
static void regions_name_the_same_one(void **state)
{
    (void)state;
    region eu, us;
    regions_open(&eu, &us);
    expect(&eu, "HSET h f 1", ":1");
    expect(&us, "HSET h f 2", ":1");
    regions_meet(&eu, &us);
    const char *here = strstr(ask(&eu, "SIBLINGS GET h"), " siblings "), *there = strstr(ask(&us, "SIBLINGS GET h"), " siblings ");
    assert_string_equal(here, " siblings *1 *8 $4 size :1 $4 type $4 hash $6 region $2 us $7 time_ms :1700000000000");
    assert_string_equal(there, here);
    region_close(&eu);
    region_close(&us);
}

/* Under `newest` the last member takes with it what had lost to it: nothing comes back that nobody has seen. */
static void what_lost_does_not_come_back(void **state)
{
    static const char *const writes[][3] = {
        {"HSET k f v", "HDEL k f", ":1"}, {"SADD k m", "SREM k m", ":1"},
        {"SADD k m", "SPOP k", "$1 m"},   {"SADD k m", "SMOVE k to m", ":1"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof writes / sizeof *writes; i++) {
        region eu, us;
        regions_open(&eu, &us);
        expect(&eu, "POLICY SET k newest", "+OK");
        expect(&eu, "SET k old", "+OK");
        region_turn(&us, 1000);
        expect(&us, writes[i][0], ":1");
        regions_meet(&eu, &us);
        expect_begins(&eu, "TYPE k", i ? "+set" : "+hash");
        expect(&eu, writes[i][1], writes[i][2]);
        expect(&eu, "EXISTS k", ":0");
        regions_meet(&eu, &us);
        expect(&us, "GET k", "$-1");
        sk_db_check(&eu.replica->db);
        region_close(&eu);
        region_close(&us);
    }
}

/* One transaction has one value in a row: RESOLVE does not put its own in the place of what was not seen. */
static void resolve_comes_first_in_a_transaction(void **state)
{
    static const char REFUSED[] = "-ERR this transaction has written to the same key or field before: resolve it first";
    region *eu = *state;
    char wanted[256];
    expect(eu, "INCRBY k 3", ":3");
    const char *context = context_of(eu, "k");
    expect(eu, "MULTI", "+OK");
    expect(eu, "INCRBY k 5", "+QUEUED");
    assert_string_equal(resolve(eu, "SIBLINGS RESOLVE k %s 100", context), "+QUEUED");
    snprintf(wanted, sizeof wanted, "*2 :8 %s", REFUSED);
    expect(eu, "EXEC", wanted);
    expect(eu, "GET k", "$1 8");
    expect(eu, "MULTI", "+OK");
    assert_string_equal(resolve(eu, "SIBLINGS RESOLVE k %s 100", context), "+QUEUED");
    expect(eu, "INCRBY k 1", "+QUEUED");
    expect(eu, "EXEC", "*2 :1 :106"); /* 5 were not seen */
    expect(eu, "GET k", "$3 106");
    expect(eu, "HSET h f a", ":1");
    context = context_of(eu, "h FIELD f");
    expect(eu, "MULTI", "+OK");
    expect(eu, "HSET h f b", "+QUEUED");
    assert_string_equal(resolve(eu, "SIBLINGS RESOLVE h %s c FIELD f", context), "+QUEUED");
    expect(eu, "HDEL h f", "+QUEUED");
    assert_string_equal(resolve(eu, "SIBLINGS RESOLVE h %s c FIELD f", context), "+QUEUED");
    snprintf(wanted, sizeof wanted, "*4 :0 %s :1 :1", REFUSED);
    expect(eu, "EXEC", wanted);
    expect(eu, "HGET h f", "$1 c");
}

/* What is added to a value within the transaction that put it there is part of it; what others had added is not. */
static void an_addition_leaves_the_counts_of_others(void **state)
{
    (void)state;
    region eu, us;
    regions_open(&eu, &us);
    const char *context = context_of(&eu, "k");
    expect(&us, "INCRBY k 4", ":4");
    regions_meet(&eu, &us);
    expect(&eu, "MULTI", "+OK");
    assert_string_equal(resolve(&eu, "SIBLINGS RESOLVE k %s 20", context), "+QUEUED");
    expect(&eu, "INCRBY k 1", "+QUEUED");
    expect(&eu, "EXEC", "*2 :1 :25");
    expect(&us, "DEL k", ":1"); /* of what it has added */
    regions_meet(&eu, &us);
    expect(&eu, "GET k", "$2 21");
    expect(&us, "GET k", "$2 21");
    region_close(&eu);
    region_close(&us);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_context_is_of_one_key),
        cmocka_unit_test(siblings_have_a_limit_where_they_are_made),
        cmocka_unit_test(a_list_too_long_is_no_reply),
        cmocka_unit_test_setup_teardown(fields_of_an_expired_key_are_gone, open_one, close_one),
        cmocka_unit_test(what_is_refused_changes_nothing),
        cmocka_unit_test(regions_name_the_same_one),
        cmocka_unit_test(what_lost_does_not_come_back),
        cmocka_unit_test_setup_teardown(resolve_comes_first_in_a_transaction, open_one, close_one),
        cmocka_unit_test(an_addition_leaves_the_counts_of_others),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
