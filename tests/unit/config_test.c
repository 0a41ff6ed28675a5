/* Every error's exact words and line, the environment, the way out (print, example, get) and back in, and CONFIG SET.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "crdt/error.h"
#include "node/config.h"

#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* Base points times small numbers: real public keys, all different. */
#define KEY_US "0900000000000000000000000000000000000000000000000000000000000000"
#define KEY_AP "2fe57da347cd62431528daac5fbb290730fff684afc4cfc2ed90995f58cb3b74"
#define KEY_NAT "0a00000000000000000000000000000000000000000000000000000000000000"
#define KEY_TWO "0b00000000000000000000000000000000000000000000000000000000000000"

#define REQUIRED "region: eu\ncluster: test\ndata_dir: /data\n" /* lines 1 to 3 */
#define KEY_FILE "replication: {key_file: /key}\n"
#define SMALLEST REQUIRED KEY_FILE

static sk_config config;
static char error[SK_CONFIG_ERROR_MAX];

static int clean_up(void **state)
{
    (void)state;
    sk_config_free(&config);
    return 0;
}

static int parse(const char *text, char *const *env)
{
    sk_config_free(&config);
    strcpy(error, "(none)");
    return sk_config_parse("skerry.yaml", sk_bytes_str(text), env, &config, error);
}

static void good(const char *text)
{
    if (parse(text, NULL) != 0) fail_msg("refused with %s: %s", error, text);
}

/* A refusal leaves nothing behind: the config stays zeroed. */
static void bad(const char *text, const char *expected)
{
    static const sk_config zero;
    assert_int_equal(parse(text, NULL), SK_E_CONFIG);
    assert_string_equal(error, expected);
    assert_memory_equal(&config, &zero, sizeof zero);
}

static void bad_with(const char *variable, const char *expected)
{
    char *env[] = {(char *)(uintptr_t)variable, NULL};
    assert_int_equal(parse(SMALLEST, env), SK_E_CONFIG);
    assert_string_equal(error, expected);
}

static void good_with(const char *variable)
{
    char *env[] = {(char *)(uintptr_t)variable, NULL};
    if (parse(SMALLEST, env) != 0) fail_msg("refused with %s: %s", error, variable);
}

static const char *hash_of_a_password(void)
{
    static char hash[crypto_pwhash_STRBYTES];
    if (!hash[0]) assert_int_equal(crypto_pwhash_str(hash, "tide", 4, 1, 8192), 0);
    return hash;
}

/* -- what is read ------------------------------------------------------------------------------------------------- */

static void defaults_fill_what_is_not_said(void **state)
{
    (void)state;
    good(SMALLEST);
    assert_string_equal(config.region, "eu");
    assert_string_equal(config.cluster, "test");
    assert_string_equal(config.data_dir, "/data");
    assert_string_equal(config.listen.address, "127.0.0.1");
    assert_int_equal(config.listen.port, 7101);
    assert_int_equal(config.listen.max_clients, 10000);
    assert_null(config.listen.password_hash);
    assert_false(config.listen.allow_public_without_password);
    assert_int_equal(config.listen.output_buffer_max, 64 << 20);
    assert_int_equal(config.listen.bulk_max, 32 << 20);
    assert_int_equal(config.listen.idle_timeout, 0);
    assert_int_equal(config.replication.port, 7201);
    assert_string_equal(config.replication.key_file, "/key");
    assert_int_equal(config.replication.flush_ms, 2);
    assert_int_equal(config.replication.heartbeat_ms, 500);
    assert_int_equal(config.peer_count, 0);
    assert_int_equal(config.storage.durability, SK_DURABILITY_ALWAYS);
    assert_int_equal(config.storage.interval_ms, 1000);
    assert_int_equal(config.storage.cache, 128 << 20);
    assert_int_equal(config.storage.row_cache, 320 << 20);
    assert_int_equal(config.storage.write_buffer, 256 << 20);
    assert_int_equal(config.log.level, SK_LOG_INFO);
    assert_int_equal(config.log.format, SK_LOG_AS_TEXT);
    assert_null(config.log.file);
    assert_int_equal(config.limits.transaction_max, 64 << 20);
}

static void every_field_is_read(void **state)
{
    (void)state;
    char text[2048];
    snprintf(text, sizeof text,
             REQUIRED "# a comment\n"
                      "listen:\n  address: '::'\n  port: 7000\n  password_hash: '%s'\n  idle_timeout: 5m\n"
                      "  max_clients: 7\n  output_buffer_max: 1MB\n  bulk_max: 1024\n  max_args: 20\n"
                      "replication: {address: 0.0.0.0, key_file: /key, flush_ms: 0, heartbeat_ms: 2s, ring_max: 2gb}\n"
                      "storage: {durability: os, interval_ms: 20, cache: 1024kb, row_cache: 3mb, min_free: 0}\n"
                      "log:\n  level: debug\n  format: json\n  file: /log\n"
                      "limits:\n"
                      "peers:\n- {region: us, address: 'us.example.net:7201', public_key: " KEY_US "}\n"
                      "- region: ap\n  address: '[fd00::1]:9'\n"
                      "  public_key: L+V9o0fNYkMVKNqsX7spBzD/9oSvxM/C7ZCZX1jLO3Q=\n",
             hash_of_a_password());
    good(text);
    assert_string_equal(config.listen.address, "::");
    assert_string_equal(config.listen.password_hash, hash_of_a_password());
    assert_int_equal(config.listen.idle_timeout, 300000);
    assert_int_equal(config.listen.max_clients, 7);
    assert_int_equal(config.listen.output_buffer_max, 1 << 20);
    assert_int_equal(config.listen.bulk_max, 1024);
    assert_int_equal(config.replication.flush_ms, 0);
    assert_int_equal(config.replication.heartbeat_ms, 2000);
    assert_int_equal(config.replication.ring_max, 2ull << 30);
    assert_int_equal(config.storage.durability, SK_DURABILITY_OS);
    assert_int_equal(config.storage.cache, 1 << 20);
    assert_int_equal(config.storage.row_cache, 3 << 20);
    assert_int_equal(config.log.level, SK_LOG_DEBUG);
    assert_int_equal(config.log.format, SK_LOG_AS_JSON);
    assert_string_equal(config.log.file, "/log");
    assert_int_equal(config.peer_count, 2);
    assert_int_equal(config.peers[0].address_count, 1);
    assert_string_equal(config.peers[0].addresses[0].host, "us.example.net");
    assert_int_equal(config.peers[0].addresses[0].port, 7201);
    assert_int_equal(config.peers[0].public_key[0], 9);
    assert_string_equal(config.peers[1].region, "ap");
    assert_string_equal(config.peers[1].addresses[0].host, "fd00::1");
    assert_int_equal(config.peers[1].addresses[0].port, 9);
    assert_int_equal(config.peers[1].public_key[31], 0x74);
}

/* -- errors in the file -------------------------------------------------------------------------------------------- */

static void unknown_fields(void **state)
{
    (void)state;
    bad(SMALLEST "listen:\n  prot: 1\n", "skerry.yaml:6: listen.prot: unknown field; did you mean listen.port?");
    bad(SMALLEST "lissen: {}\n", "skerry.yaml:5: lissen: unknown field");
    bad(SMALLEST "durability: os\n", "skerry.yaml:5: durability: unknown field; did you mean storage.durability?");
    bad(SMALLEST "listen.port: 7\n", "skerry.yaml:5: listen.port: unknown field; did you mean listen.port?");
    bad(SMALLEST "\"a\\tb\": 1\n", "skerry.yaml:5: \"a\\x09b\": unknown field");
    bad(SMALLEST "peers:\n- region: us\n  colour: red\n",
        "skerry.yaml:7: peers[0].colour: unknown field; a peer has region, address and public_key");
}

static void duplicates(void **state)
{
    (void)state;
    bad(REQUIRED "region: us\n", "skerry.yaml:4: region: given twice; the first is in line 1");
    bad(REQUIRED "log:\n  level: info\n  level: warn\n",
        "skerry.yaml:6: log.level: given twice; the first is in line 5");
    bad(REQUIRED "log: {level: info}\nlog: {format: json}\n",
        "skerry.yaml:5: log: given twice; the first is in line 4");
    bad("region: ~\nregion: eu\n", "skerry.yaml:2: region: given twice; the first is in line 1");
    bad(SMALLEST "peers:\n- region: us\n  region: us\n", "skerry.yaml:7: peers[0].region: given twice");
}

static void wrong_shapes(void **state)
{
    (void)state;
    bad("region: [eu]\n", "skerry.yaml:1: region: a single value belongs here, not a list");
    bad("region: {eu: 1}\n", "skerry.yaml:1: region: a single value belongs here, not a group of fields");
    bad("listen: 7101\n", "skerry.yaml:1: listen: a group of fields belongs here, such as listen.address");
    bad("listen: [7101]\n", "skerry.yaml:1: listen: a group of fields belongs here, such as listen.address");
    bad("peers: us\n", "skerry.yaml:1: peers: a list of peers belongs here");
    bad("peers:\n- us\n", "skerry.yaml:2: peers[0]: a peer is written as region, address and public_key");
    bad("peers:\n- region: [us]\n", "skerry.yaml:2: peers[0].region: a single value belongs here, not a list");
    bad("- region\n", "skerry.yaml:1: a configuration is written as fields, such as \"region: eu\"");
    bad("hello\n", "skerry.yaml:1: a configuration is written as fields, such as \"region: eu\"");
    bad("? [a]\n: b\n", "skerry.yaml:1: the name of a field: a single value belongs here, not a list");
    bad(SMALLEST "---\nregion: eu\n", "skerry.yaml:5: a second document begins here");
}

static void missing_fields(void **state)
{
    (void)state;
    bad("", "skerry.yaml: region: missing; set it in the file or with SKERRY_REGION");
    bad("# nothing\n", "skerry.yaml: region: missing; set it in the file or with SKERRY_REGION");
    bad("region: eu\ncluster:\n", "skerry.yaml:2: cluster: missing; set it in the file or with SKERRY_CLUSTER");
    bad(REQUIRED, "skerry.yaml: replication.key_file: missing; set it in the file or with SKERRY_REPLICATION_KEY_FILE");
}

static void values_that_are_wrong(void **state)
{
    (void)state;
    bad("\nlisten:\n  port: 70000\n", "skerry.yaml:3: listen.port: 70000 is not a port (1 to 65535)");
    bad("listen: {port: 0}\n", "skerry.yaml:1: listen.port: 0 is not a port (1 to 65535)");
    bad("listen: {port: -1}\n", "skerry.yaml:1: listen.port: -1 is not a port (1 to 65535)");
    bad("listen: {port: 71o1}\n", "skerry.yaml:1: listen.port: 71o1 is not a port (1 to 65535)");
    bad("listen: {port: ''}\n", "skerry.yaml:1: listen.port: \"\" is not a port (1 to 65535)");
    bad("region: EU\n", "skerry.yaml:1: region: EU is not a region's name (1 to 32 of a to z, 0 to 9 and -)");
    bad("region: ''\n", "skerry.yaml:1: region: \"\" is not a region's name (1 to 32 of a to z, 0 to 9 and -)");
    bad("region: 123456789012345678901234567890123\n",
        "skerry.yaml:1: region: 123456789012345678901234567890123 is not "
        "a region's name (1 to 32 of a to z, 0 to 9 and -)");
    bad("cluster: ''\n", "skerry.yaml:1: cluster: the value is empty");
    bad("cluster: 12345678901234567890123456789012345678901234567890123456789012345\n",
        "skerry.yaml:1: cluster: the value is longer than 64 bytes");
    bad("cluster: \"a\\nb\"\n", "skerry.yaml:1: cluster: \"a\\x0ab\" holds control characters or is not UTF-8");
    bad("data_dir: \"/a\\0b\"\n", "skerry.yaml:1: data_dir: the value holds a NUL character");
    bad("listen: {address: localhost}\n", "skerry.yaml:1: listen.address: localhost is not an IPv4 or IPv6 address");
    bad("listen: {allow_public_without_password: yes}\n",
        "skerry.yaml:1: listen.allow_public_without_password: yes is neither true nor false");
    bad("listen: {max_clients: 0}\n", "skerry.yaml:1: listen.max_clients: 0 is out of range (1 to 1000000)");
    bad("listen: {max_clients: many}\n", "skerry.yaml:1: listen.max_clients: many is not a number");
    bad("listen: {max_clients: 5kb}\n", "skerry.yaml:1: listen.max_clients: 5kb is not a number");
    bad("storage: {durability: sometimes}\n",
        "skerry.yaml:1: storage.durability: sometimes is not one of always, interval or os");
    bad("log: {level: loud}\n", "skerry.yaml:1: log.level: loud is not one of debug, info, warn or error");
}

static void sizes_and_durations_that_are_wrong(void **state)
{
    (void)state;
    static const char *const not_sizes[] = {"64m", "1.5gb", "-1", "kb", "18446744073709551616", "18014398509481984kb"};
    for (size_t i = 0; i < sizeof not_sizes / sizeof *not_sizes; i++) {
        char text[128], expected[256];
        snprintf(text, sizeof text, "storage: {cache: %s}\n", not_sizes[i]);
        snprintf(expected, sizeof expected,
                 "skerry.yaml:1: storage.cache: %s is not a size (such as 64mb; the units are b, kb, mb and gb)",
                 not_sizes[i]);
        bad(text, expected);
    }
    bad("storage: {cache: 1023kb}\n", "skerry.yaml:1: storage.cache: 1023kb is out of range (1mb to 1024gb)");
    bad("storage: {cache: 1025gb}\n", "skerry.yaml:1: storage.cache: 1025gb is out of range (1mb to 1024gb)");
    bad("listen: {idle_timeout: 300}\n",
        "skerry.yaml:1: listen.idle_timeout: 300 is not a duration (such as 500ms; the units are ms, s, m, h and d)");
    bad("replication: {flush_ms: 2mb}\n",
        "skerry.yaml:1: replication.flush_ms: 2mb is not a duration (such as 500ms; the units are ms, s, m, h and d)");
    bad("replication: {flush_ms: 2s}\n", "skerry.yaml:1: replication.flush_ms: 2s is out of range (0 to 1000)");
    bad("replication: {bytes_per_s: 16383b}\n",
        "skerry.yaml:1: replication.bytes_per_s: 16383b is out of range (0, or 16kb to 16gb)");
    good(REQUIRED "replication: {key_file: /key, bytes_per_s: 16kb}\n");
    good(REQUIRED "replication: {key_file: /key, bytes_per_s: 0}\n");
}

static void peers_that_are_wrong(void **state)
{
    (void)state;
#define US "region: us, address: 'a:1', public_key: " KEY_US
    bad("peers:\n- {region: us}\n", "skerry.yaml:2: peers[0].public_key: missing");
    bad("peers:\n- {" US "}\n- region: us\n  address: a:1\n", "skerry.yaml:3: peers[1].public_key: missing");
    bad("peers:\n- {region: U}\n",
        "skerry.yaml:2: peers[0].region: U is not a region's name (1 to 32 of a to z, 0 to 9 and -)");
    static const char *const addresses[] = {"a", "a:", ":1", "a:0", "a:65536", "a b:1", "::1:7", "[x]:1", "[::1]"};
    for (size_t i = 0; i < sizeof addresses / sizeof *addresses; i++) {
        char text[128], expected[256];
        const char *quote = strchr(addresses[i], ' ') ? "\"" : "";
        snprintf(text, sizeof text, "peers:\n- {address: '%s'}\n", addresses[i]);
        snprintf(expected, sizeof expected,
                 "skerry.yaml:2: peers[0].address: %s%s%s is not host:port (such as 10.0.0.2:7201 or [::1]:7201)",
                 quote, addresses[i], quote);
        bad(text, expected);
    }
    bad("peers:\n- {public_key: 09}\n",
        "skerry.yaml:2: peers[0].public_key: 09 is not a public key (32 bytes in hex or base64)");
    bad("peers:\n- {public_key: 'L+V9o0fNYkMVKNqsX7spBzD/9oSvxM/C7ZCZX1jLO3Q=='}\n",
        "skerry.yaml:2: peers[0].public_key: L+V9o0fNYkMVKNqsX7spBzD/9oSvxM/C7ZCZX1jLO3Q== is not a public key (32 "
        "bytes "
        "in hex or base64)");
    /* a point of small order: anybody could answer for it */
    assert_int_equal(parse("peers:\n- {public_key: '"
                           "0000000000000000000000000000000000000000000000000000000000000000"
                           "'}\n",
                           NULL),
                     SK_E_CONFIG);
    assert_non_null(strstr(error, "is not a public key that can be trusted"));
    bad(SMALLEST "peers:\n- {region: eu, address: 'a:1', public_key: " KEY_US "}\n",
        "skerry.yaml:6: peers[0]: eu is this node's own region");
    bad(SMALLEST "peers:\n- {" US "}\n- {region: us, address: 'b:1', public_key: " KEY_AP "}\n",
        "skerry.yaml:7: peers[1]: the same region as peers[0]");
    bad(SMALLEST "peers:\n- {" US "}\n- {region: ap, address: 'A:1', public_key: " KEY_AP "}\n",
        "skerry.yaml:7: peers[1]: the same address as peers[0]");
    bad(SMALLEST "peers:\n- {" US "}\n- {region: ap, address: ['b:1', 'a:1'], public_key: " KEY_AP "}\n",
        "skerry.yaml:7: peers[1]: the same address as peers[0]");
    bad("peers:\n- {address: ['a:1', 'A:1']}\n", "skerry.yaml:2: peers[0].address: A:1 is given twice");
    bad("peers:\n- {address: ['a:1', ['b:1']]}\n",
        "skerry.yaml:2: peers[0].address: a single value belongs here, not a list");
    bad("peers:\n- {address: [a:1, a:2, a:3, a:4, a:5, a:6, a:7, a:8, a:9]}\n",
        "skerry.yaml:2: peers[0].address: a:9 is one too many: a peer has at most 8 addresses");
    bad("peers:\n- {region: [us]}\n", "skerry.yaml:2: peers[0].region: a single value belongs here, not a list");
    bad(SMALLEST "peers:\n- {" US "}\n- {region: ap, address: 'b:1', public_key: " KEY_US "}\n",
        "skerry.yaml:7: peers[1]: the same public_key as peers[0]");
}

static void addresses_of_a_peer(void **state)
{
    (void)state;
    good(SMALLEST "peers:\n- {region: us, public_key: " KEY_US "}\n"
                  "- {region: ap, address: ['ap.example.net:7201', '[::1]:7201'], public_key: " KEY_AP "}\n");
    assert_int_equal(config.peers[0].address_count, 0);
    assert_int_equal(config.peers[1].address_count, 2);
    assert_string_equal(config.peers[1].addresses[0].host, "ap.example.net");
    assert_string_equal(config.peers[1].addresses[1].host, "::1");
    static const char *const none[] = {"", "~", "[]"};
    for (size_t i = 0; i < sizeof none / sizeof *none; i++) {
        char text[512];
        snprintf(text, sizeof text, SMALLEST "peers:\n- region: us\n  address: %s\n  public_key: " KEY_US "\n", none[i]);
        good(text);
        assert_int_equal(config.peers[0].address_count, 0);
    }
}

static void too_many_peers(void **state)
{
    (void)state;
    sk_buf text = {0};
    sk_buf_printf(&text, SMALLEST "peers:\n");
    for (int i = 0; i <= SK_CONFIG_PEERS_MAX; i++) {
        sk_buf_printf(&text, "- {region: r%d, address: 'a:%d', public_key: %02x%s}\n", i, i + 1, i + 2, &KEY_US[2]);
    }
    sk_buf_byte(&text, 0);
    bad((const char *)text.data, "skerry.yaml:69: peers: more than 63 peers");
    sk_buf_free(&text);
}

static void fields_that_do_not_go_together(void **state)
{
    (void)state;
    char text[1024];
    bad(SMALLEST "listen:\n  address: 0.0.0.0\n",
        "skerry.yaml:6: listen.address: other machines can reach 0.0.0.0: set listen.password_hash, or "
        "listen.allow_public_without_password: true");
    static const char *const closed[] = {"127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1"};
    static const char *const open[] = {"10.0.0.1", "::", "::ffff:10.0.0.1", "128.0.0.1", "fe80::1"};
    for (size_t i = 0; i < sizeof closed / sizeof *closed; i++) {
        snprintf(text, sizeof text, SMALLEST "listen: {address: '%s'}\n", closed[i]);
        good(text);
    }
    for (size_t i = 0; i < sizeof open / sizeof *open; i++) {
        snprintf(text, sizeof text, SMALLEST "listen: {address: '%s'}\n", open[i]);
        assert_int_equal(parse(text, NULL), SK_E_CONFIG);
        snprintf(text, sizeof text, SMALLEST "listen: {address: '%s', allow_public_without_password: true}\n", open[i]);
        good(text);
        snprintf(text, sizeof text, SMALLEST "listen: {address: '%s', password_hash: '%s'}\n", open[i],
                 hash_of_a_password());
        good(text);
    }
    bad(REQUIRED "replication:\n  key_file: /key\n  port: 7101\n",
        "skerry.yaml:6: replication.port: 7101 is also listen.port; clients and regions need a port each");
    good(REQUIRED "replication: {key_file: /key, port: 7101, address: 127.0.0.2}\n");
    good(SMALLEST "storage: {backup_dir: /backups}\n");
    bad(SMALLEST "storage: {backup_dir: backups}\n",
        "skerry.yaml:5: storage.backup_dir: backups is not a whole path, from / on");
    bad(SMALLEST "join:\n  region: us\n", "skerry.yaml:6: join.region: us is not one of the peers");
    bad(SMALLEST "join: {region: us, writes: maybe}\n",
        "skerry.yaml:5: join.writes: maybe is not one of refuse or accept");
    good(SMALLEST "peers: [{region: us, address: 'h:1', public_key: " KEY_US "}]\njoin: {region: us, writes: accept}\n");
    bad(SMALLEST "listen: {bulk_max: 65mb}\n",
        "skerry.yaml: listen.query_buffer_max: a command must have room for one argument: at least listen.bulk_max");
}

static void a_wrong_hash_is_not_shown(void **state)
{
    (void)state;
    bad("listen: {password_hash: hunter2}\n", "skerry.yaml:1: listen.password_hash: the value (not shown) is not an "
                                              "argon2id hash ($argon2id$v=19$...)");
    char hash[160], text[256];
    snprintf(hash, sizeof hash, "%s", hash_of_a_password());
    strcpy(strrchr(hash, '$'), "$??");
    snprintf(text, sizeof text, "listen: {password_hash: '%s'}\n", hash);
    assert_int_equal(parse(text, NULL), SK_E_CONFIG);
    bad_with("SKERRY_LISTEN_PASSWORD_HASH=hunter2",
             "SKERRY_LISTEN_PASSWORD_HASH: the value (not shown) is not an argon2id hash ($argon2id$v=19$...)");
}

static void what_is_not_our_yaml(void **state)
{
    (void)state;
    bad("region: eu\n\t- x\n", "skerry.yaml:2: this is not YAML: found a tab character that violates indentation");
    bad("region: eu\ncluster: \"abc\n", "skerry.yaml:3: this is not YAML: found unexpected end of stream");
    bad("region: eu\ncluster: \xff\n", "skerry.yaml:2: this is not YAML: invalid leading UTF-8 octet");
    bad("region: eu\ncluster: a\x01\n", "skerry.yaml:2: this is not YAML: control characters are not allowed");
    bad("region: &a eu\n", "skerry.yaml:1: anchors (&name) are not supported");
    bad("region: eu\ncluster: *a\n", "skerry.yaml:2: aliases (*name) are not supported");
    bad("region: !!str eu\n", "skerry.yaml:1: tags (!name) are not supported");
    bad("a: &a [x, x]\nb: &b [*a, *a]\nc: &c [*b, *b]\n", "skerry.yaml:1: a: unknown field");
    bad("peers: &a [*a]\n", "skerry.yaml:1: anchors (&name) are not supported");
}

static void large_and_deep_input(void **state)
{
    (void)state;
    size_t size = SK_CONFIG_FILE_MAX + 1;
    char *text = malloc(size + 1);
    memset(text, '[', size);
    text[size] = 0;
    bad(text, "skerry.yaml: the file is larger than 1 MiB");
    text[size - 1] = 0;
    assert_int_equal(parse(text, NULL), SK_E_CONFIG);
    memset(text, '{', size - 1);
    assert_int_equal(parse(text, NULL), SK_E_CONFIG);
    memset(text, '\n', size - 1);
    bad(text, "skerry.yaml: region: missing; set it in the file or with SKERRY_REGION");
    memset(text, 'x', size - 1);
    memcpy(text, "data_dir: ", 10);
    bad(text, "skerry.yaml:1: data_dir: the value is longer than 4096 bytes");
    memset(text, 'x', 4200);
    memcpy(text + 4200, ": 1", 4);
    assert_int_equal(parse(text, NULL), SK_E_CONFIG); /* libyaml takes no key as long as this */
    free(text);
}

/* -- files --------------------------------------------------------------------------------------------------------- */

static void files_are_loaded_and_named_in_errors(void **state)
{
    (void)state;
    char path[] = "/tmp/skerry-config-XXXXXX", expected[256];
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, SMALLEST, sizeof SMALLEST - 1), sizeof SMALLEST - 1);
    sk_config_free(&config);
    assert_int_equal(sk_config_load(path, NULL, &config, error), 0);
    assert_string_equal(config.region, "eu");
    sk_config_free(&config);
    assert_int_equal(write(fd, "x: 1\n", 5), 5);
    assert_int_equal(sk_config_load(path, NULL, &config, error), SK_E_CONFIG);
    snprintf(expected, sizeof expected, "%s:5: x: unknown field", path);
    assert_string_equal(error, expected);
    close(fd);
    unlink(path);
    assert_int_equal(sk_config_load("/no/skerry.yaml", NULL, &config, error), SK_E_CONFIG);
    assert_string_equal(error, "/no/skerry.yaml: the file cannot be read: No such file or directory");
    assert_int_equal(sk_config_load("/", NULL, &config, error), SK_E_CONFIG);
    assert_string_equal(error, "/: the file cannot be read: Is a directory");
    assert_int_equal(sk_config_load("/dev/zero", NULL, &config, error), SK_E_CONFIG);
    assert_string_equal(error, "/dev/zero: the file is larger than 1 MiB");
}

static void a_long_file_name_leaves_room_for_the_reason(void **state)
{
    (void)state;
    char name[2000];
    memset(name, 'd', sizeof name);
    strcpy(name + sizeof name - 6, "/last");
    assert_int_equal(sk_config_parse(name, sk_bytes_str("x: 1"), NULL, &config, error), SK_E_CONFIG);
    assert_non_null(strstr(error, "/last:1: x: unknown field"));
}

/* -- the environment ----------------------------------------------------------------------------------------------- */

static void the_environment_wins_over_the_file(void **state)
{
    (void)state;
    char *env[] = {"PATH=/bin",
                   "SKERRY_REGION=ap",
                   "SKERRY_LISTEN_PORT=7000",
                   "SKERRY_REPLICATION_FLUSH_MS=5ms",
                   "SKERRY_PEERS=[{\"region\": \"us\", \"address\": \"us:1\", \"public_key\": \"" KEY_US "\"}]",
                   NULL};
    assert_int_equal(parse(SMALLEST "listen: {port: 1}\n"
                                    "peers: [{region: ap, address: 'ap:1', public_key: " KEY_AP "}]\n",
                           env),
                     0);
    assert_string_equal(config.region, "ap");
    assert_int_equal(config.listen.port, 7000);
    assert_int_equal(config.replication.flush_ms, 5);
    assert_int_equal(config.peer_count, 1);
    assert_string_equal(config.peers[0].region, "us");
}

static void the_environment_alone_is_enough(void **state)
{
    (void)state;
    char *env[] = {"SKERRY_REGION=eu", "SKERRY_CLUSTER=c", "SKERRY_DATA_DIR=/d", "SKERRY_REPLICATION_KEY_FILE=/k",
                   NULL};
    sk_config_free(&config);
    assert_int_equal(sk_config_load(NULL, env, &config, error), 0);
    assert_string_equal(config.data_dir, "/d");
    sk_config_free(&config);
    env[3] = NULL;
    assert_int_equal(sk_config_load(NULL, env, &config, error), SK_E_CONFIG);
    assert_string_equal(error, "environment: replication.key_file: missing; set it in the file or with "
                               "SKERRY_REPLICATION_KEY_FILE");
}

static void an_empty_variable_takes_an_optional_field_away(void **state)
{
    (void)state;
    char *env[] = {"SKERRY_LOG_FILE=", "SKERRY_PEERS=", NULL};
    assert_int_equal(parse(SMALLEST "log: {file: /log}\npeers: [{" US "}]\n", env), 0);
    assert_null(config.log.file);
    assert_int_equal(config.peer_count, 0);
    bad_with("SKERRY_LISTEN_PORT=", "SKERRY_LISTEN_PORT: \"\" is not a port (1 to 65535)");
    bad_with("SKERRY_DATA_DIR=", "SKERRY_DATA_DIR: the value is empty");
}

static void errors_in_the_environment(void **state)
{
    (void)state;
    bad_with("SKERRY_LISTEN_PORT=70000", "SKERRY_LISTEN_PORT: 70000 is not a port (1 to 65535)");
    bad_with("SKERRY_LISTEN_PROT=1",
             "environment: SKERRY_LISTEN_PROT: unknown variable; did you mean SKERRY_LISTEN_PORT?");
    bad_with("SKERRY_=1", "environment: SKERRY_: unknown variable");
    bad_with("SKERRY_LISTEN_ADDRESS=0.0.0.0",
             "SKERRY_LISTEN_ADDRESS: other machines can reach 0.0.0.0: set listen.password_hash, or "
             "listen.allow_public_without_password: true");
    bad_with("SKERRY_CLUSTER=\xff", "SKERRY_CLUSTER: \"\\xff\" holds control characters or is not UTF-8");
    bad_with("SKERRY_PEERS=us", "SKERRY_PEERS: peers: a list of peers belongs here");
    bad_with("SKERRY_PEERS=[", "SKERRY_PEERS: this is not YAML: did not find expected node content");
    bad_with("SKERRY_PEERS=[{region: us}]", "SKERRY_PEERS: peers[0].public_key: missing");
    bad_with("SKERRY_PEERS=[{region: eu, address: 'a:1', public_key: " KEY_US "}]",
             "SKERRY_PEERS: peers[0]: eu is this node's own region");
}

static void what_kubernetes_adds_is_left_alone(void **state)
{
    (void)state;
    good_with("SKERRY_SERVICE_HOST=10.0.0.1");
    good_with("SKERRY_EU_SERVICE_PORT_RESP=7101");
    good_with("SKERRY_PORT=tcp://10.0.0.1:7101");
    good_with("SKERRY_PORT_7101_TCP_ADDR=10.0.0.1");
    bad_with("SKERRY_PORT=7101", "environment: SKERRY_PORT: unknown variable");
}

/* -- out and in again ---------------------------------------------------------------------------------------------- */

static void what_is_printed_loads_to_the_same(void **state)
{
    (void)state;
    char text[2048];
    sk_buf first = {0}, second = {0};
    snprintf(text, sizeof text,
             "region: 'null'\ncluster: \"a \\\" \\\\ # \xc3\xa4 : \"\ndata_dir: ' /d '\n"
             "replication: {key_file: /key, ring_max: 1025kb, flush_ms: 7}\n"
             "listen: {idle_timeout: 90s, password_hash: '%s'}\n"
             "storage: {durability: interval, cache: 1048577}\n"
             "peers: [{" US "}, {region: ap, address: '[::1]:2', public_key: " KEY_AP "},\n"
             "  {region: nat, public_key: " KEY_NAT "}, {region: two, address: [b:1, c:1], public_key: " KEY_TWO "}]\n",
             hash_of_a_password());
    good(text);
    sk_config_print(&config, &first);
    sk_buf_byte(&first, 0);
    assert_null(strstr((char *)first.data, "argon2"));
    assert_non_null(strstr((char *)first.data, "  # password_hash: (set, and not shown)\n"));
    assert_non_null(strstr((char *)first.data, "  idle_timeout: 90s\n"));
    assert_non_null(strstr((char *)first.data, "  ring_max: 1025kb\n"));
    assert_non_null(strstr((char *)first.data, "  cache: 1048577b\n"));
    good((char *)first.data);
    assert_string_equal(config.region, "null");
    assert_string_equal(config.cluster, "a \" \\ # \xc3\xa4 : ");
    assert_string_equal(config.data_dir, " /d ");
    assert_int_equal(config.storage.cache, 1048577);
    assert_string_equal(config.peers[1].addresses[0].host, "::1");
    assert_int_equal(config.peers[2].address_count, 0);
    assert_int_equal(config.peers[3].address_count, 2);
    assert_string_equal(config.peers[3].addresses[1].host, "c");
    assert_null(config.listen.password_hash); /* the one thing that is not printed */
    config.listen.password_hash = strdup(hash_of_a_password());
    sk_config_print(&config, &second);
    sk_buf_byte(&second, 0);
    assert_string_equal((char *)second.data, (char *)first.data);
    sk_buf_free(&first);
    sk_buf_free(&second);
}

static void the_example_is_current_and_loads(void **state)
{
    (void)state;
    sk_buf example = {0};
    char *kept = calloc(1, 64 * 1024);
    FILE *file = fopen(SK_TEST_DATA "/../../deploy/skerry.example.yaml", "r");
    assert_non_null(file);
    assert_true(fread(kept, 1, 64 * 1024 - 1, file) > 0);
    fclose(file);
    sk_config_example(&example);
    sk_buf_byte(&example, 0);
    assert_string_equal((char *)example.data, kept);
    good(kept);
    for (size_t i = 0; i < sk_config_count(); i++) { /* no field is left out */
        const char *name = sk_config_name(i), *dot = strrchr(name, '.');
        assert_non_null(strstr(kept, dot ? dot + 1 : name));
    }
    free(kept);
    sk_buf_free(&example);
}

/* -- CONFIG GET and SET -------------------------------------------------------------------------------------------- */

static void expect_told(const char *name, const char *expected)
{
    sk_buf value = {0};
    assert_true(sk_config_get(&config, name, &value));
    sk_buf_byte(&value, 0);
    assert_string_equal((char *)value.data, expected);
    sk_buf_free(&value);
}

static void values_are_told_by_name(void **state)
{
    (void)state;
    sk_buf value = {0};
    char text[512];
    snprintf(text, sizeof text, SMALLEST "listen: {password_hash: '%s'}\npeers: [{" US "}]\n", hash_of_a_password());
    good(text);
    expect_told("region", "eu");
    expect_told("LISTEN.Port", "7101");
    expect_told("listen.output_buffer_max", "64mb");
    expect_told("replication.flush_ms", "2");
    expect_told("storage.durability", "always");
    expect_told("listen.allow_public_without_password", "false");
    expect_told("log.file", "");
    expect_told("listen.password_hash", "(set)");
    expect_told("peers", "[{\"region\": \"us\", \"address\": \"a:1\", \"public_key\": \"" KEY_US "\"}]");
    assert_false(sk_config_get(&config, "listen", &value));
    assert_false(sk_config_get(&config, "", &value));
    assert_int_equal(value.len, 0);
    for (size_t i = 0; i < sk_config_count(); i++) {
        assert_true(sk_config_get(&config, sk_config_name(i), &value));
        for (size_t j = 0; j < i; j++) assert_string_not_equal(sk_config_name(i), sk_config_name(j));
    }
    sk_buf_free(&value);
}

static void live_fields_can_be_set(void **state)
{
    (void)state;
    good(SMALLEST);
    assert_true(sk_config_set(&config, "log.level", "debug", error));
    assert_int_equal(config.log.level, SK_LOG_DEBUG);
    assert_true(sk_config_set(&config, "Listen.Max_clients", "9", error));
    assert_int_equal(config.listen.max_clients, 9);
    assert_false(sk_config_set(&config, "replication.flush_ms", "9", error));
    assert_true(sk_config_set(&config, "listen.output_buffer_max", "2mb", error));
    assert_int_equal(config.listen.output_buffer_max, 2 << 20);
    assert_false(sk_config_set(&config, "log.level", "loud", error));
    assert_string_equal(error, "log.level: loud is not one of debug, info, warn or error");
    assert_int_equal(config.log.level, SK_LOG_DEBUG);
    assert_false(sk_config_set(&config, "storage.durability", "os", error));
    assert_string_equal(error, "storage.durability: it cannot be changed while the node runs");
    assert_false(sk_config_set(&config, "no\r\nsuch", "1", error));
    assert_string_equal(error, "\"no\\x0d\\x0asuch\": unknown field");
}

/* What lets a caller try several changes on a plain copy. */
static void no_live_field_owns_memory(void **state)
{
    (void)state;
    good(SMALLEST);
    size_t live = 0;
    for (size_t i = 0; i < sk_config_count(); i++) {
        sk_config copy = config;
        sk_buf value = {0};
        if (!sk_config_is_live(i)) continue;
        live++;
        assert_true(sk_config_get(&config, sk_config_name(i), &value));
        sk_buf_byte(&value, 0);
        assert_true(sk_config_set(&copy, sk_config_name(i), (char *)value.data, error));
        assert_memory_equal(&copy, &config, sizeof copy); /* pointers included */
        sk_buf_free(&value);
    }
    assert_true(live >= 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(defaults_fill_what_is_not_said, clean_up),
        cmocka_unit_test_teardown(every_field_is_read, clean_up),
        cmocka_unit_test_teardown(unknown_fields, clean_up),
        cmocka_unit_test_teardown(duplicates, clean_up),
        cmocka_unit_test_teardown(wrong_shapes, clean_up),
        cmocka_unit_test_teardown(missing_fields, clean_up),
        cmocka_unit_test_teardown(values_that_are_wrong, clean_up),
        cmocka_unit_test_teardown(sizes_and_durations_that_are_wrong, clean_up),
        cmocka_unit_test_teardown(peers_that_are_wrong, clean_up),
        cmocka_unit_test_teardown(addresses_of_a_peer, clean_up),
        cmocka_unit_test_teardown(too_many_peers, clean_up),
        cmocka_unit_test_teardown(fields_that_do_not_go_together, clean_up),
        cmocka_unit_test_teardown(a_wrong_hash_is_not_shown, clean_up),
        cmocka_unit_test_teardown(what_is_not_our_yaml, clean_up),
        cmocka_unit_test_teardown(large_and_deep_input, clean_up),
        cmocka_unit_test_teardown(files_are_loaded_and_named_in_errors, clean_up),
        cmocka_unit_test_teardown(a_long_file_name_leaves_room_for_the_reason, clean_up),
        cmocka_unit_test_teardown(the_environment_wins_over_the_file, clean_up),
        cmocka_unit_test_teardown(the_environment_alone_is_enough, clean_up),
        cmocka_unit_test_teardown(an_empty_variable_takes_an_optional_field_away, clean_up),
        cmocka_unit_test_teardown(errors_in_the_environment, clean_up),
        cmocka_unit_test_teardown(what_kubernetes_adds_is_left_alone, clean_up),
        cmocka_unit_test_teardown(what_is_printed_loads_to_the_same, clean_up),
        cmocka_unit_test_teardown(the_example_is_current_and_loads, clean_up),
        cmocka_unit_test_teardown(values_are_told_by_name, clean_up),
        cmocka_unit_test_teardown(live_fields_can_be_set, clean_up),
        cmocka_unit_test_teardown(no_live_field_owns_memory, clean_up),
    };
    return sodium_init() < 0 ? 1 : cmocka_run_group_tests(tests, NULL, NULL);
}
