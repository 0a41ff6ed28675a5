/* Passwords: the right one, whatever was asked before. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "node/password.h"

#include <sodium.h>

static void test_check(void **state)
{
    (void)state;
    char one[SK_PASSWORD_HASH_MAX], two[SK_PASSWORD_HASH_MAX], none[SK_PASSWORD_HASH_MAX];
    assert_true(sk_password_hash(sk_bytes_str("secret"), one));
    assert_true(sk_password_hash(sk_bytes_str("other"), two));
    assert_true(sk_password_hash(SK_BYTES_NONE, none));
    assert_memory_equal(one, "$argon2id$", 10);
    for (int again = 0; again < 3; again++) { /* from the hash, then as remembered */
        assert_true(sk_password_check(one, sk_bytes_str("secret")));
        assert_false(sk_password_check(one, sk_bytes_str("other")));
        assert_false(sk_password_check(two, sk_bytes_str("secret")));
    }
    assert_true(sk_password_check(two, sk_bytes_str("other")));
    assert_true(sk_password_check(one, sk_bytes_str("secret")));
    assert_false(sk_password_check(one, SK_BYTES_NONE));
    assert_true(sk_password_check(none, SK_BYTES_NONE));
    assert_false(sk_password_check(one, sk_bytes_of("secret\0", 7)));
    assert_false(sk_password_check("nonsense", sk_bytes_str("secret")));
}

/* What belongs to the hash cannot be moved into the password. */
static void test_boundary(void **state)
{
    (void)state;
    char hash[SK_PASSWORD_HASH_MAX], shorter[SK_PASSWORD_HASH_MAX];
    assert_true(sk_password_hash(sk_bytes_str("secret"), hash));
    assert_true(sk_password_check(hash, sk_bytes_str("secret")));
    size_t len = strlen(hash);
    memcpy(shorter, hash, len);
    shorter[len - 1] = 0;
    char moved[8] = {hash[len - 1], 's', 'e', 'c', 'r', 'e', 't'};
    assert_false(sk_password_check(shorter, sk_bytes_of(moved, 7)));
}

int main(void)
{
    if (sodium_init() < 0) return 1;
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_check), cmocka_unit_test(test_boundary)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
