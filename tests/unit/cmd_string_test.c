/* Commands on strings (node/cmd_string.c): replies byte for byte. What is expected was asked of Redis 7.0, but for what our limits
 * are called. (tests/diff compares with Redis what chance brings.) */
#include "tests/unit/replica_harness.h"

static void parts_of_texts(void **state)
{
    region *eu = *state;
    expect(eu, "SET a Hello", "+OK");
    expect(eu, "GETRANGE a 1 3", "$3 ell");
    expect(eu, "GETRANGE a -3 -2", "$2 ll");
    expect(eu, "GETRANGE a 0 -1", "$5 Hello");
    expect(eu, "GETRANGE a 3 99", "$2 lo");
    expect(eu, "GETRANGE a 5 9", "$0 ");
    expect(eu, "GETRANGE a 3 1", "$0 ");
    expect(eu, "GETRANGE a -2 -3", "$0 ");
    expect(eu, "GETRANGE a -99 1", "$2 He");
    expect(eu, "GETRANGE a -99 -98", "$1 H");
    expect(eu, "GETRANGE a -98 -99", "$0 ");
    expect(eu, "GETRANGE none 0 1", "$0 ");
    expect(eu, "GETRANGE a x 1", "-ERR value is not an integer or out of range");
    expect(eu, "SUBSTR a 0 0", "$1 H");
    expect(eu, "SETRANGE a 1 ipp", ":5");
    expect(eu, "GET a", "$5 Hippo");
    expect(eu, "SETRANGE a 5 ~", ":5");
    expect(eu, "SETRANGE a 99 ~", ":5");
    expect(eu, "GET a", "$5 Hippo");
    expect(eu, "SETRANGE none 5 ~", ":0");
    expect(eu, "EXISTS none", ":0");
    expect(eu, "SETRANGE a 4 oes", ":7");
    expect(eu, "GET a", "$7 Hippoes");
    expect(eu, "STRLEN a", ":7");
    expect(eu, "SETRANGE a -1 x", "-ERR offset is out of range");
    expect(eu, "SETRANGE a x y", "-ERR value is not an integer or out of range");
    expect(eu, "SETRANGE a 9223372036854775807 x", "-ERR string exceeds maximum allowed size (limits.transaction_max)");
    expect(eu, "SADD s m", ":1");
    expect(eu, "SETRANGE s 0 x", "-WRONGTYPE Operation against a key holding the wrong kind of value");
    expect(eu, "GETRANGE s 0 1", "-WRONGTYPE Operation against a key holding the wrong kind of value");
    expect(eu, "STRLEN s", "-WRONGTYPE Operation against a key holding the wrong kind of value");
    expect(eu, "STRLEN none", ":0");
}

static void texts_grow(void **state)
{
    region *eu = *state;
    expect(eu, "APPEND a x", ":1");
    expect(eu, "APPEND a yz", ":3");
    expect(eu, "GET a", "$3 xyz");
    expect(eu, "APPEND a ~", ":3");
    expect(eu, "APPEND none ~", ":0");
    expect(eu, "EXISTS none", ":1");
    expect(eu, "STRLEN none", ":0");
    expect(eu, "SADD s m", ":1");
    expect(eu, "APPEND s x", "-WRONGTYPE Operation against a key holding the wrong kind of value");
}

static void conditions_of_a_set(void **state)
{
    region *eu = *state;
    expect(eu, "SET a 1 XX", "$-1");
    expect(eu, "SET a 1 NX", "+OK");
    expect(eu, "SET a 2 NX", "$-1");
    expect(eu, "SET a 3 XX GET", "$1 1");
    expect(eu, "GET a", "$1 3");
    expect(eu, "SET a 4 NX GET", "$1 3");
    expect(eu, "GET a", "$1 3");
    expect(eu, "SET b 1 NX GET", "$-1");
    expect(eu, "GET b", "$1 1");
    expect(eu, "SET a 5 NX XX", "-ERR syntax error");
    expect(eu, "SET a 5 EX 10 PX 10", "-ERR syntax error");
    expect(eu, "SET a 5 EX", "-ERR syntax error");
    expect(eu, "SET a 5 EX 0", "-ERR invalid expire time in 'set' command");
    expect(eu, "SET a 5 PX -1", "-ERR invalid expire time in 'set' command");
    expect(eu, "SET a 5 EX x", "-ERR value is not an integer or out of range");
    expect(eu, "SET a 5 EX 10 KEEPTTL", "-ERR syntax error");
    expect(eu, "SET a 5 foo", "-ERR syntax error");
    expect(eu, "SET a 6 EX 100", "+OK");
    expect(eu, "TTL a", ":100");
    expect(eu, "SET a 7 KEEPTTL", "+OK");
    expect(eu, "TTL a", ":100");
    expect(eu, "SET a 8", "+OK");
    expect(eu, "TTL a", ":-1");
    expect(eu, "SADD s m", ":1");
    expect(eu, "SET s x GET", "-WRONGTYPE Operation against a key holding the wrong kind of value");
    expect(eu, "SET s x NX", "$-1");
    expect(eu, "SET s x XX", "+OK");
    expect(eu, "GET s", "$1 x");
    expect(eu, "SETNX a 1", ":0");
    expect(eu, "SETNX c 1", ":1");
    expect(eu, "SETEX a 50 x", "+OK");
    expect(eu, "TTL a", ":50");
    expect(eu, "PSETEX a 60000 x", "+OK");
    expect(eu, "TTL a", ":60");
    expect(eu, "SETEX a 0 x", "-ERR invalid expire time in 'setex' command");
    expect(eu, "PSETEX a x x", "-ERR value is not an integer or out of range");
    expect(eu, "SETEX a 9223372036854775807 x", "-ERR invalid expire time in 'setex' command");
}

static void what_a_get_does_beside(void **state)
{
    region *eu = *state;
    expect(eu, "SET a 1 EX 100", "+OK");
    expect(eu, "GETSET a 2", "$1 1");
    expect(eu, "TTL a", ":-1");
    expect(eu, "GETSET none x", "$-1");
    expect(eu, "GET none", "$1 x");
    expect(eu, "GETDEL a", "$1 2");
    expect(eu, "GETDEL a", "$-1");
    expect(eu, "SET a 1", "+OK");
    expect(eu, "GETEX a EX 100", "$1 1");
    expect(eu, "TTL a", ":100");
    expect(eu, "GETEX a", "$1 1");
    expect(eu, "TTL a", ":100");
    expect(eu, "GETEX a PERSIST", "$1 1");
    expect(eu, "TTL a", ":-1");
    expect(eu, "GETEX none EX 10", "$1 x");
    expect(eu, "GETEX a EX 0", "-ERR invalid expire time in 'getex' command");
    expect(eu, "GETEX a EX 10 PERSIST", "-ERR syntax error");
    expect(eu, "GETEX a foo", "-ERR syntax error");
    expect(eu, "SADD s m", ":1");
    expect(eu, "GETSET s x", "-WRONGTYPE Operation against a key holding the wrong kind of value");
    expect(eu, "GETDEL s", "-WRONGTYPE Operation against a key holding the wrong kind of value");
    expect(eu, "GETEX s", "-WRONGTYPE Operation against a key holding the wrong kind of value");
    expect(eu, "MGET a s none", "*3 $1 1 $-1 $1 x");
}

static void many_at_once(void **state)
{
    region *eu = *state;
    expect(eu, "MSET a 1 b 2 a 3", "+OK");
    expect(eu, "MGET a b c", "*3 $1 3 $1 2 $-1");
    expect(eu, "MSETNX b 9 d 1", ":0");
    expect(eu, "EXISTS d", ":0");
    expect(eu, "MSETNX d 1 e 2 d 3", ":1");
    expect(eu, "MGET d e", "*2 $1 3 $1 2");
    expect(eu, "MSET a", "-ERR wrong number of arguments for 'mset' command");
    expect(eu, "MSETNX a 1 b", "-ERR wrong number of arguments for 'msetnx' command");
    expect(eu, "SADD s m", ":1");
    expect(eu, "MSET s x", "+OK");
    expect(eu, "GET s", "$1 x");
}

static void numbers(void **state)
{
    region *eu = *state;
    expect(eu, "INCR a", ":1");
    expect(eu, "INCRBY a 9223372036854775806", ":9223372036854775807");
    expect(eu, "INCR a", "-ERR increment or decrement would overflow");
    expect(eu, "GET a", "$19 9223372036854775807");
    expect(eu, "DECRBY a 9223372036854775807", ":0");
    expect(eu, "DECR a", ":-1");
    expect(eu, "GET a", "$2 -1");
    expect(eu, "DECRBY a -9223372036854775808", "-ERR decrement would overflow");
    expect(eu, "INCRBY a x", "-ERR value is not an integer or out of range");
    expect(eu, "INCRBY a 1.5", "-ERR value is not an integer or out of range");
    expect(eu, "SET t text", "+OK");
    expect(eu, "INCR t", "-ERR value is not an integer or out of range");
    expect(eu, "INCRBYFLOAT t 1", "-ERR value is not a valid float");
    expect(eu, "SET f 10.5", "+OK");
    expect(eu, "INCRBYFLOAT f 0.1", "$4 10.6");
    expect(eu, "INCRBYFLOAT f -10.6", "$1 0");
    expect(eu, "INCR f", ":1");
    expect(eu, "SET g 10.5", "+OK");
    expect(eu, "INCR g", "-ERR value is not an integer or out of range");
    expect(eu, "SET h 5.0e3", "+OK");
    expect(eu, "INCRBYFLOAT h 200", "$4 5200");
    expect(eu, "INCRBYFLOAT h x", "-ERR value is not a valid float");
    expect(eu, "INCRBYFLOAT h nan", "-ERR value is not a valid float");
    expect(eu, "SADD s m", ":1");
    expect(eu, "INCR s", "-WRONGTYPE Operation against a key holding the wrong kind of value");
    expect(eu, "INCRBYFLOAT s 1", "-WRONGTYPE Operation against a key holding the wrong kind of value");
    expect(eu, "SET sp 0012", "+OK");
    expect(eu, "INCR sp", "-ERR value is not an integer or out of range");
    expect(eu, "SET a 1 EX 100", "+OK");
    expect(eu, "INCR a", ":2");
    expect(eu, "TTL a", ":100");
}

#define ONE(test) cmocka_unit_test_setup_teardown(test, open_one, close_one)

int main(void)
{
    const struct CMUnitTest tests[] = {
        ONE(parts_of_texts),         ONE(texts_grow),   ONE(conditions_of_a_set),
        ONE(what_a_get_does_beside), ONE(many_at_once), ONE(numbers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
