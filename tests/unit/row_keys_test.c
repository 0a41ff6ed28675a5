/* Lists of row keys that are sorted again and again while they grow. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include "node/row_keys.h"

#include <cmocka.h>
#include <stdio.h>

enum { KEYS = 3000, NUMBERS = 2000 };

static void what_is_added_is_found_wherever_it_belongs(void **state)
{
    (void)state;
    sk_row_keys list = {0};
    bool added[NUMBERS] = {0};
    char key[16];
    uint64_t random = 1;
    sk_row_keys_sort(&list);
    for (uint32_t i = 0; i < KEYS; i++) {
        random = random * 6364136223846793005u + 1442695040888963407u;
        uint32_t number = (uint32_t)(random >> 33) % NUMBERS;
        added[number] = true;
        snprintf(key, sizeof key, "%u", number);
        sk_row_keys_add(&list, sk_bytes_str(key));
        if ((random >> 20) % 50 == 0 || i + 1 == KEYS) sk_row_keys_sort(&list);
    }
    assert_int_equal(list.count, KEYS);
    for (uint32_t i = 1; i < KEYS; i++) assert_true(sk_bytes_compare(list.keys[i - 1], list.keys[i]) <= 0);
    for (uint32_t number = 0; number < NUMBERS; number++) {
        snprintf(key, sizeof key, "%u", number);
        assert_int_equal(sk_row_keys_has(&list, sk_bytes_str(key)), added[number]);
    }
    sk_row_keys_free(&list);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(what_is_added_is_found_wherever_it_belongs)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
