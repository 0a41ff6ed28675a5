/* Commands about the server: node/cmd_server.c, cmd_info.c, cmd_config.c, cmd_command.c, cmd_flush.c. What is expected
 * was asked of Redis 7.0. */
#include "tests/unit/replica_harness.h"

static void time_is_the_wall_clock(void **state)
{
    region *eu = *state;
    region_turn(eu, 1234);
    expect(eu, "TIME", "*2 $10 1700000001 $6 234000");
    expect(eu, "TIME x", "-ERR wrong number of arguments for 'time' command");
}

static void flush_removes_all(void **state)
{
    region *eu = *state;
    expect(eu, "MSET a 1 b 2", "+OK");
    expect(eu, "INCR n", ":1");
    expect(eu, "HSET h f v g w", ":2");
    expect(eu, "SADD s x", ":1");
    expect(eu, "EXPIRE s 100", ":1");
    uint64_t before = transactions(eu);
    expect(eu, "FLUSHALL foo", "-ERR syntax error");
    expect(eu, "FLUSHALL ASYNC SYNC", "-ERR syntax error");
    expect(eu, "DBSIZE", ":5");
    expect(eu, "FLUSHDB async", "+OK");
    assert_int_equal(transactions(eu), before + 1);
    expect(eu, "DBSIZE", ":0");
    expect(eu, "KEYS *", "*0");
    expect(eu, "HGETALL h", "*0");
    expect(eu, "SADD s y", ":1");
    expect(eu, "TTL s", ":-1");
    expect(eu, "FLUSHALL SYNC", "+OK");
    expect(eu, "FLUSHALL", "+OK");
    assert_int_equal(transactions(eu), before + 3);
    assert_true(eu->replica->db.digest == 0);
}

static void flush_in_parts(void **state)
{
    (void)state;
    region eu, us;
    char request[300];
    regions_open(&eu, &us);
    for (int i = 0; i < 100; i++) {
        snprintf(request, sizeof request, "SADD big %0100d", i);
        expect(&eu, request, ":1");
        snprintf(request, sizeof request, "SET k%d v", i);
        expect(&eu, request, "+OK");
    }
    expect(&us, "SET theirs 1", "+OK");
    region_turn(&eu, 1);
    uint64_t before = transactions(&eu), sealed = eu.replica->last_sealed;
    expect(&eu, "FLUSHALL", "+OK");
    uint64_t parts = transactions(&eu) - before;
    assert_int_equal(eu.replica->last_sealed, sealed + parts - 1); /* a part is not held until the others are made */
    assert_int_equal(sk_store_pending_bytes(eu.store), 0);
    assert_in_range(parts, 3, 5); /* 100 rows of 121 bytes and 100 of 20, 4096 each */
    assert_int_equal(eu.client->last_write.seq, before + parts);
    expect(&eu, "DBSIZE", ":0");
    regions_meet(&eu, &us);
    expect(&us, "KEYS *", "*1 $6 theirs");
    expect(&eu, "KEYS *", "*1 $6 theirs");
    region_close(&eu);
    region_close(&us);
}

/* Of small rows a part takes more memory than it may before it is as large as it may be: it ends there too. */
static void parts_of_small_rows(void **state)
{
    region *eu = *state;
    char request[64];
    enum { ROWS = 16000 };
    for (int i = 0; i < ROWS; i++) {
        snprintf(request, sizeof request, "SET %d v", i);
        expect(eu, request, "+OK");
        snprintf(request, sizeof request, "SADD set %d", i);
        expect(eu, request, ":1");
    }
    eu->replica->db.transaction_max = 256 << 10;
    expect(eu, "PEXPIRE set 50", ":1");
    sk_replica_time(eu->replica, eu->replica->now_ms + 60, eu->replica->wall_ms + 60);
    for (int i = 0; i < 5; i++) region_turn(eu, 100);
    expect(eu, "DBSIZE", ":16000"); /* the set has expired, and was removed */
    uint64_t before = transactions(eu);
    expect(eu, "FLUSHALL", "+OK");
    assert_in_range(transactions(eu) - before, 2, 4);
    expect(eu, "DBSIZE", ":0");
}

/* What another connection is shown of a write waits for the disk as the write's own reply does, and for nothing else. */
static void what_is_not_committed_is_waited_for(void **state)
{
    region *eu = *state;
    static const char *const requests[][2] = {
        {"SET new v", "DBSIZE"},           {"SET k v", "SIBLINGS COUNT"},        {"SET k w", "SIBLINGS LIST"},
        {"POLICY SET p newest", "POLICY GET p"}, {"POLICY SET p siblings", "POLICY LIST"},
    };
    for (size_t i = 0; i < sizeof requests / sizeof *requests; i++) {
        region_turn(eu, 1);
        sk_client *readers[3];
        for (int r = 0; r < 3; r++) readers[r] = sk_client_new(eu->replica);
        expect(eu, requests[i][0], "+OK");
        for (int r = 0; r < 2; r++) { /* also where it was shown before */
            (void)ask_as(eu, readers[r], requests[i][1]);
            if (readers[r]->hold <= eu->replica->durable) fail_msg("%s does not wait", requests[i][1]);
            assert_int_equal(readers[r]->hold, eu->client->hold);
        }
        region_turn(eu, 1);
        (void)ask_as(eu, readers[2], requests[i][1]);
        assert_true(readers[2]->hold <= eu->replica->durable);
        for (int r = 0; r < 3; r++) sk_client_free(readers[r]);
    }
}

static void info_has_sections(void **state)
{
    region *eu = *state;
    expect(eu, "INFO keyspace", "$12 # Keyspace ");
    expect(eu, "SET a 1", "+OK");
    expect(eu, "INFO Keyspace", "$24 # Keyspace db0:keys=1 ");
    expect(eu, "INFO foo", "$0 ");
    static const char *const all[] = {"INFO", "INFO everything", "INFO all", "INFO foo default"};
    for (int i = 0; i < 4; i++) {
        const char *text = ask(eu, all[i]);
        assert_non_null(strstr(text, "# Server redis_version:7.0.15 skerry_version:"));
        assert_non_null(strstr(text, "  # Clients connected_clients:1 "));
        assert_non_null(strstr(text, " maxclients:77 "));
        assert_non_null(strstr(text, "# Persistence loading:0 store_status:ok "));
        assert_non_null(strstr(text, "# Replication role:master region:eu cluster:test regions:1 "));
        assert_non_null(strstr(text, " conflicts:0 "));
    }
    const char *two = ask(eu, "INFO stats keyspace stats");
    assert_null(strstr(two, "# Server"));
    assert_null(strstr(strstr(two, "# Stats") + 1, "# Stats"));
    expect_begins(eu, "HELLO 3", "%7");
    expect(eu, "INFO keyspace", "=28 txt:# Keyspace db0:keys=1 ");
}

static void info_tells_whether_the_rows_are_what_was_committed(void **state)
{
    (void)state;
    region eu;
    region_open(&eu, "eu", NULL, NULL);
    expect(&eu, "SET k v", "+OK");
    region_turn(&eu, 5);
    region_turn(&eu, 5);
    assert_non_null(strstr(ask(&eu, "INFO persistence"), "digest_rows:1 audit:verified"));
    assert_null(strstr(ask(&eu, "INFO memory"), "memory_sums:0"));
    assert_int_equal(sk_db_reload(&eu.replica->db), 0);
    assert_non_null(strstr(ask(&eu, "INFO persistence"), "digest_rows:0 audit:scanning"));
    sk_store_put(eu.store, SK_CF_ROW, sk_bytes_str("kk"), sk_bytes_str("\xc1"));
    region_turn(&eu, 5);
    assert_non_null(strstr(ask(&eu, "INFO persistence"), "audit:damaged"));
    region_close(&eu);
}

static void info_shows_regions(void **state)
{
    (void)state;
    region eu, us;
    regions_open(&eu, &us);
    expect(&eu, "SET k 1", "+OK");
    expect(&us, "SET k 2", "+OK");
    region_turn(&eu, 1);
    assert_non_null(strstr(ask(&eu, "INFO replication"), "region0:name=us,link=down,lag=1,heard_ms_ago=-1,"));
    regions_meet(&eu, &us);
    const char *text = ask(&eu, "INFO replication");
    assert_non_null(strstr(text, "region0:name=us,link=down,lag=0,"));
    assert_non_null(strstr(text, " conflicts:1 "));
    expect(&eu, "REGION LINK us down", "+OK");
    assert_non_null(strstr(ask(&eu, "INFO replication"), ",link=out_of_service,"));
    region_close(&eu);
    region_close(&us);
}

static void config_gets_and_sets(void **state)
{
    region *eu = *state;
    expect(eu, "CONFIG GET level", "*2 $5 level $4 info");
    expect(eu, "CONFIG GET none", "*0");
    expect(eu, "CONFIG GET l* level *", "*4 $6 locked $0  $5 level $4 info");
    expect(eu, "CONFIG SET level debug", "+OK");
    expect(eu, "CONFIG GET level", "*2 $5 level $5 debug");
    expect(eu, "CONFIG SET locked x",
           "-ERR CONFIG SET failed (possibly related to argument 'locked') - it cannot be changed");
    expect(eu, "CONFIG SET level warn locked x",
           "-ERR CONFIG SET failed (possibly related to argument 'locked') - it cannot be changed");
    expect(eu, "CONFIG GET level", "*2 $5 level $5 debug");
    expect(eu, "CONFIG SET level warn none x", "-ERR Unknown option or number of arguments for CONFIG SET - 'none'");
    expect(eu, "CONFIG GET level", "*2 $5 level $5 debug");
    expect(eu, "CONFIG SET level a LEVEL b",
           "-ERR CONFIG SET failed (possibly related to argument 'LEVEL') - duplicate parameter");
    expect(eu, "CONFIG SET level a b", "-ERR syntax error");
    expect(eu, "CONFIG SET level", "-ERR wrong number of arguments for 'config|set' command");
    expect(eu, "CONFIG SET * x", "-ERR Unknown option or number of arguments for CONFIG SET - '*'");
    expect(eu, "CONFIG RESETSTAT", "+OK");
    assert_int_equal(eu->replica->stat_commands, 0);
    expect_begins(eu, "HELLO 3", "%7");
    expect(eu, "CONFIG GET level", "%1 $5 level $5 debug");
}

static void command_describes(void **state)
{
    region *eu = *state;
    expect_begins(eu, "HELLO 3", "%7");
    expect(eu, "COMMAND INFO time foo",
           "*2 *10 $4 time :1 ~3 +loading +stale +fast :0 :0 :0 ~1 +@fast ~0 ~0 ~0 _");
    expect(eu, "COMMAND INFO del",
           "*1 *10 $3 del :-2 ~1 +write :1 :-1 :1 ~3 +@keyspace +@write +@slow ~0 ~1 %3 $5 flags ~2 +RM +delete $12 "
           "begin_search %2 $4 type $5 index $4 spec %1 $5 index :1 $9 find_keys %2 $4 type $5 range $4 spec %3 $7 "
           "lastkey :-1 $7 keystep :1 $5 limit :0 ~0");
    expect(eu, "COMMAND INFO exec",
           "*1 *10 $4 exec :1 ~3 +noscript +loading +stale :0 :0 :0 ~2 +@transaction +@slow ~0 ~0 ~0");
    expect(eu, "COMMAND INFO CLIENT|Id",
           "*1 *10 $9 client|id :2 ~3 +noscript +loading +stale :0 :0 :0 ~2 +@connection +@slow ~0 ~0 ~0");
    expect(eu, "COMMAND INFO client|none none|id", "*2 _ _");
    /* what is done with the first key, and with those behind it; keys that are counted */
    const char *two = ask(eu, "COMMAND INFO sdiffstore");
    assert_non_null(strstr(two, " ~2 %3 $5 flags ~2 +OW +update $12 begin_search %2 $4 type $5 index $4 spec %1 $5 index "
                                ":1 $9 find_keys %2 $4 type $5 range $4 spec %3 $7 lastkey :0 "));
    assert_non_null(strstr(two, " %3 $5 flags ~2 +RO +access $12 begin_search %2 $4 type $5 index $4 spec %1 $5 index :2 $9 "
                                "find_keys %2 $4 type $5 range $4 spec %3 $7 lastkey :-1 "));
    assert_non_null(strstr(ask(eu, "COMMAND INFO sintercard"),
                           " $6 keynum $4 spec %3 $9 keynumidx :0 $8 firstkey :1 $7 keystep :1 "));
    expect_begins(eu, "COMMAND INFO config", "*1 *10 $6 config :-2 ~0 :0 :0 :0 ~1 +@slow ~0 ~0 *4 *10 $10 config|get");
    expect(eu, "COMMAND DOCS time none",
           "%1 $4 time %3 $7 summary $30 Return the current server time $5 since $5 2.6.0 $5 group $6 server");
    expect_begins(eu, "COMMAND DOCS config", "%1 $6 config %4 $7 summary");
    int count = 0, listed = 0;
    assert_int_equal(sscanf(ask(eu, "COMMAND COUNT"), ":%d", &count), 1);
    assert_true(count > 80);
    assert_int_equal(sscanf(ask(eu, "COMMAND"), "*%d", &listed), 1);
    assert_int_equal(listed, count);
    assert_int_equal(sscanf(ask(eu, "COMMAND LIST"), "*%d", &listed), 1);
    assert_int_equal(listed, count);
    assert_int_equal(sscanf(ask(eu, "COMMAND DOCS"), "%%%d", &listed), 1);
    assert_int_equal(listed, count);
}

/* As Redis has them, but for the names of choices. */
static void command_knows_arguments(void **state)
{
    region *eu = *state;
    expect_begins(eu, "HELLO 3", "%7");
    static const struct {
        const char *command, *arguments;
    } all[] = {
        {"strlen", "*1 %3 $4 name $3 key $4 type $3 key $14 key_spec_index :0"},
        {"mget", "*1 %4 $4 name $3 key $4 type $3 key $14 key_spec_index :0 $5 flags ~1 +multiple"},
        {"hset", "*2 %3 $4 name $3 key $4 type $3 key $14 key_spec_index :0 %4 $4 name $11 field_value $4 type $5 block $5 "
                 "flags ~1 +multiple $9 arguments *2 %2 $4 name $5 field $4 type $6 string %2 $4 name $5 value $4 type $6 "
                 "string"},
        {"rename", "*2 %3 $4 name $3 key $4 type $3 key $14 key_spec_index :0 %3 $4 name $6 newkey $4 type $3 key $14 "
                   "key_spec_index :1"},
        {"getex", "*2 %3 $4 name $3 key $4 type $3 key $14 key_spec_index :0 %4 $4 name $6 option $4 type $5 oneof $5 flags "
                  "~1 +optional $9 arguments *5 %3 $4 name $7 seconds $4 type $7 integer $5 token $2 EX %3 $4 name $12 "
                  "milliseconds $4 type $7 integer $5 token $2 PX %3 $4 name $17 unix-time-seconds $4 type $9 unix-time $5 "
                  "token $4 EXAT %3 $4 name $22 unix-time-milliseconds $4 type $9 unix-time $5 token $4 PXAT %3 $4 name $7 "
                  "persist $4 type $10 pure-token $5 token $7 PERSIST"},
        {"incrbyfloat", "*2 %3 $4 name $3 key $4 type $3 key $14 key_spec_index :0 %2 $4 name $9 increment $4 type $6 "
                        "double"},
        {"auth", "*2 %3 $4 name $8 username $4 type $6 string $5 flags ~1 +optional %2 $4 name $8 password $4 type $6 "
                 "string"},
        {"command|list", "*1 %5 $4 name $8 filterby $4 type $5 oneof $5 token $8 FILTERBY $5 flags ~1 +optional $9 arguments "
                         "*3 %3 $4 name $11 module-name $4 type $6 string $5 token $6 MODULE %3 $4 name $8 category $4 type "
                         "$6 string $5 token $6 ACLCAT %3 $4 name $7 pattern $4 type $7 pattern $5 token $7 PATTERN"},
        {"policy|set", "*2 %2 $4 name $6 prefix $4 type $6 string %3 $4 name $6 option $4 type $5 oneof $9 arguments *2 %3 "
                       "$4 name $8 siblings $4 type $10 pure-token $5 token $8 siblings %3 $4 name $6 newest $4 type $10 "
                       "pure-token $5 token $6 newest"},
    };
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        char request[64];
        snprintf(request, sizeof request, "COMMAND DOCS %s", all[i].command);
        const char *at = strstr(ask(eu, request), "$9 arguments ");
        if (!at) fail_msg("%s has no arguments", all[i].command);
        assert_string_equal(at + strlen("$9 arguments "), all[i].arguments);
    }
    assert_null(strstr(ask(eu, "COMMAND DOCS time"), "arguments"));
}

static void command_lists(void **state)
{
    region *eu = *state;
    expect(eu, "COMMAND LIST FILTERBY PATTERN *XEC*", "*1 $4 exec");
    expect(eu, "COMMAND LIST filterby aclcat transaction", "*5 $7 discard $4 exec $5 multi $7 unwatch $5 watch");
    expect(eu, "COMMAND LIST FILTERBY ACLCAT foo", "*0");
    expect(eu, "COMMAND LIST FILTERBY MODULE foo", "*0");
    expect(eu, "COMMAND LIST FILTERBY PATTERN config|?et", "*2 $10 config|get $10 config|set");
    expect(eu, "COMMAND LIST FILTERBY foo x", "-ERR syntax error");
    expect(eu, "COMMAND LIST foo", "-ERR syntax error");
    expect(eu, "COMMAND GETKEYS MSET a b c d", "*2 $1 a $1 c");
    expect(eu, "COMMAND GETKEYS foo bar", "-ERR Invalid command specified");
    expect(eu, "COMMAND GETKEYS COMMAND foo bar", "-ERR Invalid command specified");
    expect(eu, "COMMAND GETKEYS PING x", "-ERR The command has no key arguments");
    expect(eu, "COMMAND GETKEYS MSET a", "-ERR Invalid number of arguments specified for command");
    expect(eu, "COMMAND GETKEYS SINTERCARD 2 a b", "*2 $1 a $1 b");
    expect(eu, "COMMAND GETKEYS SINTERCARD 3 a b", "-ERR Invalid arguments specified for command");
    expect(eu, "COMMAND foo", "-ERR unknown subcommand 'foo'. Try COMMAND HELP.");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define ONE(test) cmocka_unit_test_setup_teardown(test, open_one, close_one)
        ONE(time_is_the_wall_clock), ONE(flush_removes_all), cmocka_unit_test(flush_in_parts), ONE(info_has_sections),
        ONE(what_is_not_committed_is_waited_for), ONE(parts_of_small_rows),
        cmocka_unit_test(info_shows_regions), cmocka_unit_test(info_tells_whether_the_rows_are_what_was_committed), ONE(config_gets_and_sets), ONE(command_describes),
        ONE(command_knows_arguments), ONE(command_lists),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
