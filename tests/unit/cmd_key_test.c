/* Commands on whole keys (node/cmd_key.c), with RENAME and COPY (node/cmd_copy.c) and the walks (node/cmd_scan.c).
 * What is expected was asked of Redis 7.0. */
#include "tests/unit/replica_harness.h"

static void del_and_exists(void **state)
{
    region *eu = *state;
    expect(eu, "SET a 1", "+OK");
    expect(eu, "SADD s x y", ":2");
    expect(eu, "HSET h f v", ":1");
    expect(eu, "EXISTS a s h none a", ":4");
    expect(eu, "TOUCH a none", ":1");
    expect(eu, "TYPE a", "+string");
    expect(eu, "TYPE s", "+set");
    expect(eu, "TYPE h", "+hash");
    expect(eu, "TYPE none", "+none");
    expect(eu, "DBSIZE", ":3");
    expect(eu, "DEL a none a s", ":2");
    expect(eu, "UNLINK h", ":1");
    expect(eu, "DBSIZE", ":0");
    expect(eu, "SMEMBERS s", "*0");
    expect(eu, "DEL", "-ERR wrong number of arguments for 'del' command");
}

/* A command is looked for first in the place of the one before. */
static void one_name_may_begin_another(void **state)
{
    region *eu = *state;
    expect(eu, "SET a 1", "+OK");
    expect(eu, "GETDEL none", "$-1");
    expect(eu, "GET a", "$1 1");
    expect(eu, "Get a", "$1 1");
    expect(eu, "get a", "$1 1");
    expect(eu, "GETX a", "-ERR unknown command 'GETX', with args beginning with: 'a' ");
    expect(eu, "GET a", "$1 1");
    expect(eu, "GETDEL a", "$1 1");
    expect(eu, "GETX a", "-ERR unknown command 'GETX', with args beginning with: 'a' ");
    expect(eu, "GETX a", "-ERR unknown command 'GETX', with args beginning with: 'a' ");
}

static void deadlines_are_set(void **state)
{
    region *eu = *state;
    expect(eu, "EXPIRE a 10", ":0");
    expect(eu, "SET a 1", "+OK");
    expect(eu, "TTL a", ":-1");
    expect(eu, "PEXPIRETIME a", ":-1");
    expect(eu, "TTL none", ":-2");
    expect(eu, "EXPIRE a 10", ":1");
    expect(eu, "TTL a", ":10");
    expect(eu, "PTTL a", ":10000");
    expect(eu, "EXPIRETIME a", ":1700000010");
    expect(eu, "PEXPIRETIME a", ":1700000010000");
    region_turn(eu, 501);
    expect(eu, "TTL a", ":9");
    expect(eu, "PERSIST a", ":1");
    expect(eu, "PERSIST a", ":0");
    expect(eu, "PERSIST none", ":0");
    expect(eu, "TTL a", ":-1");
    expect(eu, "PEXPIREAT a 9223372036854775807", ":1");
    expect(eu, "PEXPIRETIME a", ":9223372036854775807");
    expect(eu, "EXPIRETIME a", ":9223372036854776");
    expect(eu, "EXPIREAT a 1700000001", ":1");
    expect(eu, "PTTL a", ":499");
    region_turn(eu, 499);
    expect(eu, "EXISTS a", ":0");
    expect(eu, "TTL a", ":-2");
    expect(eu, "SET b 1", "+OK");
    expect(eu, "PEXPIRE b 0", ":1");
    expect(eu, "EXISTS b", ":0");
    expect(eu, "SADD s x", ":1");
    expect(eu, "EXPIRE s -1", ":1");
    expect(eu, "SCARD s", ":0");
}

static void deadlines_have_conditions(void **state)
{
    region *eu = *state;
    expect(eu, "SET a 1", "+OK");
    expect(eu, "EXPIRE a 100 XX", ":0");
    expect(eu, "EXPIRE a 100 GT", ":0");
    expect(eu, "EXPIRE a 100 XX LT", ":0");
    expect(eu, "EXPIRE a 100 LT", ":1");
    expect(eu, "EXPIRE a 100 NX", ":0");
    expect(eu, "EXPIRE a 100 gt xx", ":0");
    expect(eu, "EXPIRE a 200 gt xx", ":1");
    expect(eu, "EXPIRE a 300 LT", ":0");
    expect(eu, "EXPIRE a 50 LT", ":1");
    expect(eu, "PERSIST a", ":1");
    expect(eu, "EXPIRE a 70 NX", ":1");
    expect(eu, "TTL a", ":70");
    expect(eu, "EXPIRE a -5 GT", ":0");
    expect(eu, "EXPIRE a -5 LT", ":1");
    expect(eu, "EXISTS a", ":0");
}

static void deadlines_have_errors(void **state)
{
    region *eu = *state;
    expect(eu, "SET a 1", "+OK");
    expect(eu, "EXPIRE a x", "-ERR value is not an integer or out of range");
    expect(eu, "EXPIRE none x", "-ERR value is not an integer or out of range");
    expect(eu, "EXPIRE a 10 NX XX", "-ERR NX and XX, GT or LT options at the same time are not compatible");
    expect(eu, "EXPIRE a 10 NX GT", "-ERR NX and XX, GT or LT options at the same time are not compatible");
    expect(eu, "EXPIRE a 10 GT LT", "-ERR GT and LT options at the same time are not compatible");
    expect(eu, "EXPIRE a 10 foo bar", "-ERR Unsupported option foo");
    expect(eu, "EXPIRE a 9223372036854775807", "-ERR invalid expire time in 'expire' command");
    expect(eu, "EXPIRE a -9223372036854775807", "-ERR invalid expire time in 'expire' command");
    expect(eu, "PEXPIRE a 9223372036854775807", "-ERR invalid expire time in 'pexpire' command");
    expect(eu, "EXPIREAT a 9223372036854775", ":1");
    expect(eu, "EXPIREAT a 9223372036854776", "-ERR invalid expire time in 'expireat' command");
    expect(eu, "EXISTS a", ":1");
}

static void rename_moves_everything(void **state)
{
    region *eu = *state;
    expect(eu, "RENAME none b", "-ERR no such key");
    expect(eu, "RENAME none none", "-ERR no such key");
    expect(eu, "RENAMENX none b", "-ERR no such key");
    expect(eu, "SET a 5 EX 100", "+OK");
    expect(eu, "INCR a", ":6");
    expect(eu, "RENAME a a", "+OK");
    expect(eu, "RENAMENX a a", ":0");
    expect(eu, "SADD old x y", ":2");
    expect(eu, "RENAME a old", "+OK");
    expect(eu, "GET old", "$1 6");
    expect(eu, "TTL old", ":100");
    expect(eu, "EXISTS a", ":0");
    expect(eu, "HSET h f 1 g 2", ":2");
    expect(eu, "HINCRBY h f 4", ":5");
    expect(eu, "RENAMENX h old", ":0");
    expect(eu, "RENAME h old", "+OK");
    expect(eu, "HGETALL old", "*4 $1 f $1 5 $1 g $1 2");
    expect(eu, "TTL old", ":-1");
    expect(eu, "SADD s x z", ":2");
    expect(eu, "EXPIRE s 50", ":1");
    expect(eu, "RENAMENX s t", ":1");
    expect(eu, "SMEMBERS t", "*2 $1 x $1 z");
    expect(eu, "TTL t", ":50");
    expect(eu, "DBSIZE", ":2");
}

static void rename_onto_the_same_members(void **state)
{
    region *eu = *state;
    expect(eu, "SADD s x y", ":2");
    expect(eu, "SADD t x z", ":2");
    expect(eu, "EXPIRE t 10", ":1");
    expect(eu, "RENAME s t", "+OK");
    expect(eu, "SMEMBERS t", "*2 $1 x $1 y");
    expect(eu, "SCARD t", ":2");
    expect(eu, "TTL t", ":-1");
}

static void copy_copies(void **state)
{
    region *eu = *state;
    expect(eu, "COPY a a", "-ERR source and destination objects are the same");
    expect(eu, "COPY a b", ":0");
    expect(eu, "HSET a f v", ":1");
    expect(eu, "EXPIRE a 20", ":1");
    expect(eu, "COPY a b DB 1x", "-ERR value is not an integer or out of range");
    expect(eu, "COPY a b DB 1", "-ERR DB index is out of range");
    expect(eu, "COPY a b DB", "-ERR syntax error");
    expect(eu, "COPY a b other", "-ERR syntax error");
    expect(eu, "COPY a b DB 0", ":1");
    expect(eu, "HSET b f w g x", ":1");
    expect(eu, "COPY a b", ":0");
    expect(eu, "HLEN b", ":2");
    expect(eu, "COPY a b REPLACE", ":1");
    expect(eu, "HGETALL b", "*2 $1 f $1 v");
    expect(eu, "TTL b", ":20");
    expect(eu, "HGETALL a", "*2 $1 f $1 v");
    expect(eu, "SET text v EX 30", "+OK");
    expect(eu, "COPY text other", ":1");
    expect(eu, "GET other", "$1 v");
    expect(eu, "TTL other", ":30");
}

static void a_conflict_is_not_copied(void **state)
{
    (void)state;
    region eu, us;
    regions_open(&eu, &us);
    expect(&eu, "SET k here", "+OK");
    expect(&us, "SET k there", "+OK");
    expect(&eu, "SADD typed x", ":1");
    expect(&us, "SET typed y EX 60", "+OK");
    expect(&eu, "HSET h f 1", ":1");
    expect(&us, "HSET h f 2", ":1");
    expect(&eu, "SET b 1", "+OK");
    regions_meet(&eu, &us);
    expect_begins(&eu, "RENAME k b", "-CONFLICT key 'k' has sibling values");
    expect_begins(&eu, "COPY k c", "-CONFLICT key 'k'");
    expect_begins(&eu, "COPY typed c", "-CONFLICT key 'typed' has values of several types");
    expect_begins(&eu, "COPY h c", "-CONFLICT field 'f' of key 'h'");
    expect_begins(&eu, "TYPE typed", "-CONFLICT");
    expect(&eu, "GET b", "$1 1");
    expect(&eu, "EXISTS k typed h c", ":3");
    expect(&eu, "TTL typed", ":60");
    expect(&eu, "EXPIRE typed 10", ":1");
    expect(&eu, "PERSIST typed", ":1");
    expect(&eu, "RENAME b k", "+OK");
    expect(&eu, "GET k", "$1 1");
    expect(&eu, "DEL typed h", ":2");
    expect(&eu, "DBSIZE", ":1");
    regions_meet(&eu, &us);
    expect(&us, "GET k", "$1 1");
    expect(&us, "DBSIZE", ":1");
    region_close(&eu);
    region_close(&us);
}

static void too_large_is_refused_whole(void **state)
{
    region *eu = *state;
    char request[512];
    for (int i = 0; i < 40; i++) {
        snprintf(request, sizeof request, "SADD big %0100d", i);
        expect(eu, request, ":1");
    }
    expect_begins(eu, "DEL big", "-ERR this would be a transaction larger than limits.transaction_max");
    expect_begins(eu, "RENAME big b", "-ERR this would be");
    expect_begins(eu, "EXPIRE big 0", "-ERR this would be");
    expect(eu, "SCARD big", ":40");
    expect(eu, "EXISTS b", ":0");
    expect(eu, "MULTI", "+OK");
    expect(eu, "FLUSHALL", "+QUEUED");
    expect_begins(eu, "EXEC", "-EXECABORT Transaction discarded because of: this would be");
    expect_begins(eu, "SET big 1", "-ERR this would be");
    expect_begins(eu, "SINTERSTORE big none", "-ERR this would be");
    expect(eu, "SCARD big", ":40");
    expect(eu, "FLUSHALL", "+OK");
    expect(eu, "DBSIZE", ":0");
    expect(eu, "SCARD big", ":0");
}

/* -- walks --------------------------------------------------------------------------------------------------------- */

static void fill(region *eu, int count)
{
    char request[64];
    for (int i = 0; i < count; i++) {
        snprintf(request, sizeof request, "SET key:%03d v", i);
        expect(eu, request, "+OK");
    }
}

/* Scans to the end; gives how many keys came, each of which must be one of key:000…, in order, none twice. */
static int scan_all(region *eu, const char *options)
{
    char request[256], cursor[32] = "0";
    int keys = 0, last = -1;
    do {
        snprintf(request, sizeof request, "SCAN %s%s%s", cursor, options[0] ? " " : "", options);
        const char *answer = ask(eu, request);
        assert_int_equal(sscanf(answer, "*2 $%*d %31s", cursor), 1);
        for (const char *at = answer; (at = strstr(at, "key:")); at++, keys++) {
            assert_true(atoi(at + 4) > last);
            last = atoi(at + 4);
        }
    } while (strcmp(cursor, "0") != 0);
    return keys;
}

static void scan_finds_each_once(void **state)
{
    region *eu = *state;
    expect(eu, "SCAN 0", "*2 $1 0 *0");
    fill(eu, 57);
    assert_int_equal(scan_all(eu, ""), 57);
    assert_int_equal(scan_all(eu, "COUNT 1"), 57);
    assert_int_equal(scan_all(eu, "COUNT 57"), 57);
    assert_int_equal(scan_all(eu, "COUNT 1000"), 57);
    assert_int_equal(scan_all(eu, "MATCH key:00* COUNT 3"), 10);
    assert_int_equal(scan_all(eu, "MATCH *5 COUNT 7"), 6);
    assert_int_equal(scan_all(eu, "MATCH none*"), 0);
    assert_int_equal(scan_all(eu, "TYPE set"), 0);
    assert_int_equal(scan_all(eu, "TYPE STRING MATCH key:04?"), 10);
    expect(eu, "SADD key:100 x", ":1");
    assert_int_equal(scan_all(eu, "TYPE set"), 1);
}

static void scan_goes_on_while_keys_change(void **state)
{
    region *eu = *state;
    char request[64], cursor[32];
    fill(eu, 30);
    const char *answer = ask(eu, "SCAN 0 COUNT 10");
    assert_int_equal(sscanf(answer, "*2 $%*d %31s", cursor), 1);
    expect(eu, "DEL key:009 key:010 key:000", ":3");
    snprintf(request, sizeof request, "SCAN %s COUNT 2", cursor);
    expect(eu, "EXISTS key:011", ":1");
    assert_non_null(strstr(ask(eu, request), "*2 $7 key:011 $7 key:012"));
    assert_non_null(strstr(ask(eu, request), "*2 $7 key:011 $7 key:012"));
}

static void scan_has_errors(void **state)
{
    region *eu = *state;
    expect(eu, "SCAN x", "-ERR invalid cursor");
    expect(eu, "SCAN 5", "-ERR invalid cursor");
    expect(eu, "SCAN 99999999999999999999999", "-ERR invalid cursor");
    expect(eu, "SCAN 0 COUNT 0", "-ERR syntax error");
    expect(eu, "SCAN 0 COUNT x", "-ERR value is not an integer or out of range");
    expect(eu, "SCAN 0 MATCH", "-ERR syntax error");
    expect(eu, "SCAN 0 foo bar", "-ERR syntax error");
}

static void keys_match(void **state)
{
    region *eu = *state;
    expect(eu, "KEYS *", "*0");
    expect(eu, "MSET one 1 two 2 three 3", "+OK");
    expect(eu, "HSET oh f v", ":1");
    expect(eu, "PSETEX gone 5 v", "+OK");
    region_turn(eu, 6);
    expect(eu, "KEYS *", "*4 $2 oh $3 one $5 three $3 two");
    expect(eu, "KEYS t*", "*2 $5 three $3 two");
    expect(eu, "KEYS o?", "*1 $2 oh");
    expect(eu, "KEYS one", "*1 $3 one");
    expect(eu, "KEYS ~", "*0");
}

static void randomkey_draws_all(void **state)
{
    region *eu = *state;
    expect(eu, "RANDOMKEY", "$-1");
    expect(eu, "PSETEX gone 5 v", "+OK");
    region_turn(eu, 6);
    expect(eu, "RANDOMKEY", "$-1");
    for (int count = 20; count <= 200; count += 180) {
        int seen[200] = {0}, different = 0;
        fill(eu, count);
        for (int i = 0; i < 30 * count; i++) {
            int key = -1;
            assert_int_equal(sscanf(ask(eu, "RANDOMKEY"), "$7 key:%d", &key), 1);
            assert_in_range(key, 0, count - 1);
            different += seen[key]++ == 0;
        }
        assert_int_equal(different, count);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define ONE(test) cmocka_unit_test_setup_teardown(test, open_one, close_one)
        ONE(del_and_exists), ONE(one_name_may_begin_another), ONE(deadlines_are_set), ONE(deadlines_have_conditions),
        ONE(deadlines_have_errors), ONE(rename_moves_everything), ONE(rename_onto_the_same_members), ONE(copy_copies),
        cmocka_unit_test(a_conflict_is_not_copied), ONE(too_large_is_refused_whole), ONE(scan_finds_each_once),
        ONE(scan_goes_on_while_keys_change), ONE(scan_has_errors), ONE(keys_match), ONE(randomkey_draws_all),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
