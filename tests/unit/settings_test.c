/* CONFIG GET and SET under our names and Redis'. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "node/settings.h"

#include <stdio.h>
#include <string.h>

static sk_config config;

static int setup(void **state)
{
    (void)state;
    static const char text[] = "region: eu\ncluster: c\ndata_dir: /tmp/x\nreplication: {key_file: /tmp/k}\n";
    char error[SK_CONFIG_ERROR_MAX];
    return sk_config_parse("test", sk_bytes_of(text, sizeof text - 1), NULL, &config, error);
}

static int teardown(void **state)
{
    (void)state;
    sk_config_free(&config);
    return 0;
}

/* The answer to a pattern as one text, bulk headers and all. */
static void assert_get(const char *pattern, int count, const char *expected)
{
    sk_buf out = {0};
    sk_reply reply = {&out, 2};
    assert_int_equal(sk_settings_get(&config, sk_bytes_str(pattern), &reply), count);
    if (!sk_bytes_equal(sk_buf_view(&out), sk_bytes_str(expected)))
        fail_msg("%s gave %.*s", pattern, (int)out.len, (const char *)out.data);
    sk_buf_free(&out);
}

static int set(const char *name, const char *value)
{
    sk_buf error = {0};
    sk_bytes pair[] = {sk_bytes_str(name), sk_bytes_str(value)};
    size_t failed = 7;
    int status = sk_settings_set(&config, pair, 1, &failed, &error);
    assert_int_equal(failed, status ? 0 : 7);
    assert_true((status == 0 || strcmp(name, "nothing") == 0) == (error.len == 0));
    sk_buf_free(&error);
    return status;
}

static void test_get(void **state)
{
    (void)state;
    assert_get("save", 1, "$4\r\nsave\r\n$0\r\n\r\n");
    assert_get("appendonly", 1, "$10\r\nappendonly\r\n$3\r\nyes\r\n");
    assert_get("DATABASES", 1, "$9\r\ndatabases\r\n$1\r\n1\r\n");
    assert_get("listen.port", 1, "$11\r\nlisten.port\r\n$4\r\n7101\r\n");
    assert_get("port", 1, "$4\r\nport\r\n$4\r\n7101\r\n");
    assert_get("proto-max-bulk-len", 1, "$18\r\nproto-max-bulk-len\r\n$8\r\n33554432\r\n");
    assert_get("loglevel", 1, "$8\r\nloglevel\r\n$6\r\nnotice\r\n");
    assert_get("nothing", 0, "");
    assert_get("append*", 2, "$11\r\nappendfsync\r\n$6\r\nalways\r\n$10\r\nappendonly\r\n$3\r\nyes\r\n");
}

static void test_set(void **state)
{
    (void)state;
    assert_int_equal(set("maxclients", "77"), 0);
    assert_int_equal(config.listen.max_clients, 77);
    assert_int_equal(set("listen.max_clients", "78"), 0);
    assert_int_equal(config.listen.max_clients, 78);
    assert_int_equal(set("Timeout", "30"), 0);
    assert_int_equal(config.listen.idle_timeout, 30000);
    assert_get("timeout", 1, "$7\r\ntimeout\r\n$2\r\n30\r\n");
    assert_int_equal(set("loglevel", "warning"), 0);
    assert_int_equal(config.log.level, SK_LOG_WARN);
    assert_int_equal(set("log.level", "debug"), 0);
    assert_int_equal(config.log.level, SK_LOG_DEBUG);
}

static void test_refused(void **state)
{
    (void)state;
    static const char *const bad[][2] = {
        {"nothing", "1"},
        {"listen.port", "1"},
        {"port", "1"},
        {"save", "900 1"},
        {"maxclients", "-1"},
        {"maxclients", "x"},
        {"timeout", "-1"},
        {"timeout", "99999999999999999999"},
        {"timeout", "1s"},
        {"loglevel", "loud"},
        {"appendfsync", "no"},
        {"replication.flush_ms", "9"},
        {"storage.min_free", "1gb"},
    };
    sk_config before = config;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        if (set(bad[i][0], bad[i][1]) == 0) fail_msg("%s was set to %s", bad[i][0], bad[i][1]);
    assert_memory_equal(&before, &config, sizeof config);
}

/* Tools set what already is. */
static void test_same_value(void **state)
{
    (void)state;
    assert_int_equal(set("save", ""), 0);
    assert_int_equal(set("appendonly", "yes"), 0);
    assert_int_equal(set("appendfsync", "always"), 0);
    assert_int_equal(set("port", "7101"), 0);
    assert_int_equal(set("replication.flush_ms", "2"), 0);
}

/* Where a later one will not do, the first stays as it was, also where its alias tells it less exactly. */
static void test_all_or_none(void **state)
{
    (void)state;
    static const char *const last[][2] = {{"nothing", "1"}, {"port", "1"}, {"maxclients", "x"}};
    assert_int_equal(set("listen.idle_timeout", "500ms"), 0);
    assert_int_equal(set("log.level", "error"), 0);
    sk_config before = config;
    for (size_t i = 0; i < sizeof last / sizeof *last; i++) {
        sk_bytes pairs[] = {sk_bytes_str("timeout"), sk_bytes_str("5"),        sk_bytes_str("loglevel"),
                            sk_bytes_str("debug"),   sk_bytes_str(last[i][0]), sk_bytes_str(last[i][1]),
                            sk_bytes_str("nothing"), sk_bytes_str("1")};
        sk_buf error = {0};
        size_t failed = 7;
        assert_int_equal(sk_settings_set(&config, pairs, 4, &failed, &error), SK_E_CONFIG);
        assert_int_equal(failed, 2);
        assert_memory_equal(&before, &config, sizeof config);
        assert_int_equal(sk_settings_set(&config, pairs, 2, &failed, &error), 0);
        assert_true(config.listen.idle_timeout == 5000 && config.log.level == SK_LOG_DEBUG);
        sk_buf_free(&error);
        config = before;
    }
}

/* In whole seconds: what is less than one is not shown as never, and never can be set. */
static void test_below_a_second(void **state)
{
    (void)state;
    assert_int_equal(set("listen.idle_timeout", "500ms"), 0);
    assert_get("timeout", 1, "$7\r\ntimeout\r\n$1\r\n1\r\n");
    assert_int_equal(set("timeout", "0"), 0);
    assert_int_equal(config.listen.idle_timeout, 0);
}

/* What CONFIG GET says can be set again. */
static void test_round_trip(void **state)
{
    (void)state;
    assert_int_equal(set("timeout", "45"), 0);
    assert_int_equal(set("loglevel", "debug"), 0);
    assert_int_equal(set("timeout", "0"), 0);
    assert_int_equal(set("loglevel", "notice"), 0);
    assert_int_equal(config.listen.idle_timeout, 0);
    assert_int_equal(config.log.level, SK_LOG_INFO);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_get, setup, teardown),
        cmocka_unit_test_setup_teardown(test_set, setup, teardown),
        cmocka_unit_test_setup_teardown(test_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(test_same_value, setup, teardown),
        cmocka_unit_test_setup_teardown(test_all_or_none, setup, teardown),
        cmocka_unit_test_setup_teardown(test_below_a_second, setup, teardown),
        cmocka_unit_test_setup_teardown(test_round_trip, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
