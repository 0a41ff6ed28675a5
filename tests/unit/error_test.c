#include "tests/unit/crdt_harness.h"

static void every_code_has_its_number_class_and_sentence(void **state)
{
    (void)state;
    static const struct {
        int code, number;
        sk_class class;
        const char *sentence;
    } all[] = {
#define ROW(name, number, class, sentence) {name, number, class, sentence},
        SK_ERRORS(ROW)
#undef ROW
    };
    int count = (int)(sizeof all / sizeof *all);
    for (int i = 0; i < count; i++) {
        assert_int_equal(all[i].code, -(i + 1)); /* numbers travel between nodes: none is skipped or given twice */
        assert_int_equal(all[i].number, all[i].code);
        assert_int_equal(sk_error_class(all[i].code), all[i].class);
        assert_string_equal(sk_error_text(all[i].code), all[i].sentence);
        assert_int_not_equal(all[i].class, SK_CLASS_OK);
    }
    assert_string_equal(sk_error_text(-(count + 1)), "unknown error");
    assert_int_equal(sk_error_class(-(count + 1)), SK_CLASS_FATAL);
    assert_string_equal(sk_error_text(1), "unknown error");
}

static void no_error_is_ok(void **state)
{
    (void)state;
    assert_int_equal(sk_error_class(SK_OK), SK_CLASS_OK);
    assert_string_equal(sk_error_text(SK_OK), "no error");
}

/* Numbers that left this process once: they must never change. */
static void numbers_stay(void **state)
{
    (void)state;
    assert_int_equal(SK_E_MEMORY, -1);
    assert_int_equal(SK_E_MALFORMED, -3);
    assert_int_equal(SK_E_PROTOCOL, -9);
    assert_int_equal(SK_E_CORRUPT, -12);
    assert_int_equal(SK_E_GAP, -20);
    assert_int_equal(SK_E_LINK_DOWN, -26);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_code_has_its_number_class_and_sentence),
        cmocka_unit_test(no_error_is_ok),
        cmocka_unit_test(numbers_stay),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
