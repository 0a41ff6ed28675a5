/* Patterns and answers were recorded from Redis 7.0.15 (KEYS), except those that node/glob.h says differ. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "node/glob.h"

static bool hit(const char *pattern, const char *text)
{
    return sk_glob_match(sk_bytes_str(pattern), sk_bytes_str(text));
}

static bool hit_nocase(const char *pattern, const char *text)
{
    return sk_glob_match_nocase(sk_bytes_str(pattern), sk_bytes_str(text));
}

static void patterns_match_as_in_redis(void **state)
{
    (void)state;
    static const struct {
        const char *pattern, *yes[4], *no[4];
    } cases[] = {
        {"", {""}, {"a"}},
        {"*", {"", "a", "abc", "*"}, {NULL}},
        {"**", {"", "a"}, {NULL}},
        {"?", {"a", "?"}, {"", "ab"}},
        {"a", {"a"}, {"", "A", "aa", "b"}},
        {"a*", {"a", "abc"}, {"", "ba"}},
        {"*a", {"a", "bca", "aa"}, {"", "ab"}},
        {"a*b*c", {"abc", "aXbYc", "abbcc"}, {"ab", "acb", "abcd"}},
        {"*a?", {"ab", "aab", "xaaa"}, {"a", "b", "abb"}},
        {"h?llo", {"hello", "hallo"}, {"hllo", "heello"}},
        {"h[ae]llo", {"hello", "hallo"}, {"hillo", "h[ae]llo"}},
        {"h[^e]llo", {"hallo", "h^llo"}, {"hello", "hllo"}},
        {"h[a-c]llo", {"hallo", "hbllo", "hcllo"}, {"hdllo", "h-llo"}},
        {"[c-a]", {"a", "b", "c"}, {"d", "-"}},
        {"[a-]", {"a", "]", "^"}, {"-", "b"}}, /* a range up to ']', closed by the end */
        {"[a-c", {"a", "c"}, {"-", "d"}},
        {"[abc", {"a", "c"}, {"[", "d", "[abc"}},
        {"[a-", {"a", "-"}, {"b"}},
        {"[", {NULL}, {"[", "", "a"}},
        {"[^", {"a", "^"}, {""}},
        {"[]", {NULL}, {"[", "]", "[]"}},
        {"[]a", {NULL}, {"a", "]a"}},
        {"[^]", {"a", "]"}, {"", "aa"}},
        {"[\\]]", {"]"}, {"\\", "a"}},
        {"[\\a-c]", {"a", "-", "c"}, {"b", "\\"}}, /* an escaped byte begins no range */
        {"[\\", {"\\"}, {"a"}},
        {"\\*", {"*"}, {"a", "\\*", ""}},
        {"\\?a", {"?a"}, {"ba"}},
        {"\\", {"\\"}, {"", "a"}},
        {"a\\", {"a\\"}, {"a"}},
        {"\\\\", {"\\"}, {"\\\\"}},
        {"*[0-9]", {"a1", "9"}, {"a", "1a"}},
        {"*[ab]*[cd]", {"xaxd", "bc", "abcdc"}, {"cda", "ab"}},
        {"user:*:name", {"user:1:name", "user::name"}, {"user:1:names", "user:name"}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        for (size_t j = 0; j < 4 && cases[i].yes[j]; j++)
            if (!hit(cases[i].pattern, cases[i].yes[j])) fail_msg("%s misses %s", cases[i].pattern, cases[i].yes[j]);
        for (size_t j = 0; j < 4 && cases[i].no[j]; j++)
            if (hit(cases[i].pattern, cases[i].no[j])) fail_msg("%s hits %s", cases[i].pattern, cases[i].no[j]);
    }
}

static void case_is_folded_only_when_asked(void **state)
{
    (void)state;
    assert_true(hit_nocase("HeLLo", "hEllO"));
    assert_true(hit_nocase("*b[C-E]", "aBd"));
    assert_true(hit_nocase("[xyz]", "Y"));
    assert_true(hit_nocase("[A-z]", "m"));
    assert_false(hit_nocase("[Z-a]", "m")); /* ordered before it is folded: empty */
    assert_false(hit_nocase("[\\a]", "A"));
    assert_true(hit_nocase("\\a", "A"));
    assert_false(hit("[a-c]", "B"));
    assert_false(hit_nocase("[", "{")); /* only letters have case */
    assert_false(hit_nocase("@", "`"));
}

static void any_byte_goes(void **state)
{
    (void)state;
    assert_true(sk_glob_match(sk_bytes_of("a\0*", 3), sk_bytes_of("a\0b", 3)));
    assert_false(sk_glob_match(sk_bytes_of("a\0b", 3), sk_bytes_of("a\0c", 3)));
    assert_true(hit("[\x80-\xff]", "\xc3"));
    assert_true(hit("[a-\xff]", "z"));
    assert_false(hit("[a-\xff]", "A"));
    assert_true(sk_glob_match(SK_BYTES_NONE, SK_BYTES_NONE));
    assert_false(sk_glob_match(SK_BYTES_NONE, sk_bytes_str("a")));
    assert_true(sk_glob_match(sk_bytes_str("*"), SK_BYTES_NONE));
}

static void adversarial_patterns_end(void **state)
{
    (void)state;
    enum { STARS = 500, TEXT = 20000 };
    static char pattern[2 * STARS + 1], text[TEXT];
    for (size_t i = 0; i < STARS; i++) memcpy(pattern + 2 * i, "a*", 2);
    pattern[2 * STARS] = 'b';
    memset(text, 'a', sizeof text);
    assert_false(sk_glob_match(sk_bytes_of(pattern, sizeof pattern), sk_bytes_of(text, sizeof text)));
    text[TEXT - 1] = 'b';
    assert_true(sk_glob_match(sk_bytes_of(pattern, sizeof pattern), sk_bytes_of(text, sizeof text)));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(patterns_match_as_in_redis),
        cmocka_unit_test(case_is_folded_only_when_asked),
        cmocka_unit_test(any_byte_goes),
        cmocka_unit_test(adversarial_patterns_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
