/* Lives: the same while the machine runs and the directory is the same one, another one otherwise. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "node/life.h"

#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char path[64];

static void write_boot_id(const char *text)
{
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
}

static int setup(void **state)
{
    (void)state;
    strcpy(path, "/tmp/skerry-life-XXXXXX");
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    return close(fd);
}

static int teardown(void **state)
{
    (void)state;
    return unlink(path);
}

#define BOOT_A "c0ffee00-1111-4222-8333-444455556666"
#define BOOT_B "c0ffee00-1111-4222-8333-444455556667"

static void test_same_life(void **state)
{
    (void)state;
    char a[SK_LIFE_MAX], b[SK_LIFE_MAX];
    write_boot_id(BOOT_A "\n");
    assert_true(sk_life_text(path, "801:4d", a));
    assert_true(sk_life_text(path, "801:4d", b));
    assert_string_equal(a, b);
    assert_string_equal(a, "boot " BOOT_A " 801:4d");
}

static void test_other_lives(void **state)
{
    (void)state;
    char first[SK_LIFE_MAX], other[SK_LIFE_MAX];
    write_boot_id(BOOT_A "\n");
    assert_true(sk_life_text(path, "1:2", first));
    assert_true(sk_life_text(path, "1:3", other)); /* a copy in the same file system */
    assert_string_not_equal(first, other);
    assert_true(sk_life_text(path, "3:2", other)); /* restored on another disk */
    assert_string_not_equal(first, other);
    write_boot_id(BOOT_B "\n"); /* the machine went down */
    assert_true(sk_life_text(path, "1:2", other));
    assert_string_not_equal(first, other);
}

static void test_largest(void **state)
{
    (void)state;
    char text[SK_LIFE_MAX];
    write_boot_id(BOOT_A "\n");
    char mark[88];
    memset(mark, 'f', sizeof mark - 1);
    mark[sizeof mark - 1] = 0;
    assert_true(sk_life_text(path, mark, text));
    assert_non_null(strstr(text, mark));
}

/* Without a boot id nothing says that the machine was not down: each start is another life. */
static void test_no_boot_id(void **state)
{
    (void)state;
    static const char *const bad[] = {"", "c0ffee00", "00000000-0000-0000-0000-000000000000\n",
                                      "not a boot id but just as long as one it is\n"};
    char a[SK_LIFE_MAX], b[SK_LIFE_MAX];
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        write_boot_id(bad[i]);
        assert_false(sk_life_text(path, "1:2", a));
        assert_false(sk_life_text(path, "1:2", b));
        assert_string_not_equal(a, b);
    }
    assert_false(sk_life_text("/nowhere/boot_id", "1:2", a));
    assert_memory_equal(a, "start ", 6);
}

static void test_real_one(void **state)
{
    (void)state;
    char a[SK_LIFE_MAX], b[SK_LIFE_MAX];
    if (access(SK_LIFE_BOOT_ID, R_OK) != 0) skip();
    assert_true(sk_life_text(SK_LIFE_BOOT_ID, "1:2", a));
    assert_true(sk_life_text(SK_LIFE_BOOT_ID, "1:2", b));
    assert_string_equal(a, b);
}

int main(void)
{
    if (sodium_init() < 0) return 1;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_same_life, setup, teardown),
        cmocka_unit_test_setup_teardown(test_other_lives, setup, teardown),
        cmocka_unit_test_setup_teardown(test_largest, setup, teardown),
        cmocka_unit_test_setup_teardown(test_no_boot_id, setup, teardown),
        cmocka_unit_test(test_real_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
