/* Key files: made once, read back, and refused whenever they could be no secret or no key. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "crdt/memory.h"
#include "node/key.h"

#include <fcntl.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static char folder[64], path[96];

static int setup(void **state)
{
    (void)state;
    strcpy(folder, "/tmp/skerry-key-XXXXXX");
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/node.key", folder);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    unlink(path);
    return rmdir(folder);
}

static void write_file(const char *text, size_t len, mode_t mode)
{
    unlink(path);
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, len), len);
    assert_int_equal(fchmod(fd, mode), 0);
    close(fd);
}

static void assert_refused(const char *text, size_t len, mode_t mode, const char *word)
{
    char error[SK_KEY_ERROR_MAX] = "";
    sk_noise_keypair pair, before;
    memset(&pair, 7, sizeof pair);
    before = pair;
    write_file(text, len, mode);
    assert_int_equal(sk_key_load(path, &pair, error), SK_E_CONFIG);
    if (!strstr(error, word) || !strstr(error, path)) fail_msg("%s: %s is not in it", error, word);
    assert_memory_equal(&pair, &before, sizeof pair);
}

static void test_create_and_load(void **state)
{
    (void)state;
    char error[SK_KEY_ERROR_MAX] = "";
    sk_noise_keypair made, loaded;
    struct stat status;
    umask(0);
    assert_int_equal(sk_key_create(path, &made, error), SK_OK);
    assert_int_equal(stat(path, &status), 0);
    assert_int_equal(status.st_mode & 07777, 0600);
    assert_int_equal(sk_key_load(path, &loaded, error), SK_OK);
    assert_memory_equal(&made, &loaded, sizeof made);

    uint8_t public[SK_NOISE_KEY];
    crypto_scalarmult_base(public, made.secret);
    assert_memory_equal(public, made.public, sizeof public);
}

static void test_never_overwritten(void **state)
{
    (void)state;
    char error[SK_KEY_ERROR_MAX] = "";
    sk_noise_keypair first, second, loaded;
    assert_int_equal(sk_key_create(path, &first, error), SK_OK);
    assert_int_equal(sk_key_create(path, &second, error), SK_E_CONFIG);
    assert_non_null(strstr(error, "never overwritten"));
    assert_int_equal(sk_key_load(path, &loaded, error), SK_OK);
    assert_memory_equal(&first, &loaded, sizeof first);
}

static void test_where_it_cannot_be(void **state)
{
    (void)state;
    char error[SK_KEY_ERROR_MAX] = "", nowhere[128];
    sk_noise_keypair pair;
    snprintf(nowhere, sizeof nowhere, "%s/none/node.key", folder);
    assert_int_equal(sk_key_create(nowhere, &pair, error), SK_E_IO);
    assert_int_equal(sk_key_load(nowhere, &pair, error), SK_E_CONFIG);
    assert_non_null(strstr(error, "skerryctl keygen"));
    assert_int_equal(sk_key_load(folder, &pair, error), SK_E_CONFIG);
    assert_non_null(strstr(error, "regular"));
}

static void test_hand_written(void **state)
{
    (void)state;
    char error[SK_KEY_ERROR_MAX], hex[SK_KEY_HEX], base64[SK_KEY_BASE64], text[512];
    uint8_t secret[SK_NOISE_KEY];
    sk_noise_keypair pair;
    for (size_t i = 0; i < sizeof secret; i++) secret[i] = (uint8_t)(i * 7 + 1);
    sk_key_hex(secret, hex);
    sk_key_base64(secret, base64);
    const char *const forms[] = {"%s", "%s\n", "\n# a comment\n\t%s \r\n\n# and one more", "  %s"};
    for (size_t i = 0; i < sizeof forms / sizeof *forms; i++) {
        for (int b = 0; b < 2; b++) {
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
            int len = snprintf(text, sizeof text, forms[i], b ? base64 : hex);
#pragma GCC diagnostic pop
            write_file(text, (size_t)len, 0400);
            assert_int_equal(sk_key_load(path, &pair, error), SK_OK);
            assert_memory_equal(pair.secret, secret, sizeof secret);
        }
    }
}

static void test_refused(void **state)
{
    (void)state;
    static const char good[] = "4444444444444444444444444444444444444444444444444444444444444444";
    static const char zeros[] = "0000000000000000000000000000000000000000000000000000000000000000";
    char long_text[5000];
    memset(long_text, '#', sizeof long_text);
    assert_refused("", 0, 0600, "no key");
    assert_refused("# only a comment\n", 17, 0600, "no key");
    assert_refused(good, 63, 0600, ":1: a key file has one line");
    assert_refused("\n\nnonsense", 10, 0600, ":3: a key file has one line");
    assert_refused(zeros, 64, 0600, "zeros");
    assert_refused(long_text, sizeof long_text, 0600, "longer than");
    assert_refused(good, 64, 0640, "chmod 600");
    assert_refused(good, 64, 0604, "chmod 600");
    assert_refused(good, 64, 0610, "chmod 600");
    char twice[140];
    int len = snprintf(twice, sizeof twice, "%s\n%s\n", good, good);
    assert_refused(twice, (size_t)len, 0600, ":2: a key file has one line");
    char with_nul[64];
    memcpy(with_nul, good, 64);
    with_nul[10] = 0;
    assert_refused(with_nul, 64, 0600, ":1: a key file has one line");
}

static void test_error_holds_no_secret(void **state)
{
    (void)state;
    char error[SK_KEY_ERROR_MAX];
    sk_noise_keypair pair;
    static const char almost[] = "5ecre75ecre75ecre75ecre75ecre75ecre75ecre75ecre75ecre75ecre75ecr!";
    write_file(almost, sizeof almost - 1, 0600);
    assert_int_equal(sk_key_load(path, &pair, error), SK_E_CONFIG);
    assert_null(strstr(error, "5ecre7"));
}

static void test_text(void **state)
{
    (void)state;
    uint8_t key[SK_NOISE_KEY];
    char hex[SK_KEY_HEX], base64[SK_KEY_BASE64];
    for (size_t i = 0; i < sizeof key; i++) key[i] = (uint8_t)i;
    sk_key_hex(key, hex);
    sk_key_base64(key, base64);
    assert_string_equal(hex, "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f");
    assert_string_equal(base64, "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=");
}

int main(void)
{
    if (sodium_init() < 0) return 1;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_create_and_load, setup, teardown),
        cmocka_unit_test_setup_teardown(test_never_overwritten, setup, teardown),
        cmocka_unit_test_setup_teardown(test_where_it_cannot_be, setup, teardown),
        cmocka_unit_test_setup_teardown(test_hand_written, setup, teardown),
        cmocka_unit_test_setup_teardown(test_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(test_error_holds_no_secret, setup, teardown),
        cmocka_unit_test(test_text),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
