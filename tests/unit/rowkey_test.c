#include "tests/unit/crdt_harness.h"

#include "crdt/rowkey.h"

static const sk_bytes PARTS[] = {
    {(const uint8_t *)"", 0},         {(const uint8_t *)"\0", 1},   {(const uint8_t *)"\0\0", 2},
    {(const uint8_t *)"\0\1", 2},     {(const uint8_t *)"\0\xff", 2}, {(const uint8_t *)"\1", 1},
    {(const uint8_t *)"a", 1},        {(const uint8_t *)"a\0", 2},  {(const uint8_t *)"a\0b", 3},
    {(const uint8_t *)"a\1", 2},      {(const uint8_t *)"b", 1},    {(const uint8_t *)"\xff", 1},
};
enum { PART_COUNT = sizeof PARTS / sizeof *PARTS };

static void every_key_comes_back(void **state)
{
    (void)state;
    static const sk_table tables[] = {SK_TABLE_KEY, SK_TABLE_HASH, SK_TABLE_SET, SK_TABLE_POLICY};
    sk_arena arena = {0};
    for (int t = 0; t < 4; t++)
        for (int k = 0; k < PART_COUNT; k++)
            for (int m = 0; m < PART_COUNT; m++) {
                sk_buf raw = {0};
                sk_rowkey key;
                sk_rowkey_pack(&raw, tables[t], PARTS[k], PARTS[m]);
                assert_int_equal(sk_rowkey_parse(sk_buf_view(&raw), &arena, &key), 0);
                assert_int_equal(key.table, tables[t]);
                assert_bytes_equal(key.key, PARTS[k]);
                bool members = t == 1 || t == 2;
                assert_bytes_equal(key.member, members ? PARTS[m] : SK_BYTES_NONE);
                sk_buf_free(&raw);
            }
    sk_arena_free(&arena);
}

/* A client key's members are one range, in order, and no other key's rows lie within it. */
static void the_members_of_a_key_are_a_range(void **state)
{
    (void)state;
    for (int a = 0; a < PART_COUNT; a++)
        for (int b = 0; b < PART_COUNT; b++)
            for (int m = 0; m < PART_COUNT; m++) {
                sk_buf prefix = {0}, row = {0}, end = {0};
                sk_rowkey_pack_prefix(&prefix, SK_TABLE_HASH, PARTS[a]);
                sk_rowkey_pack(&row, SK_TABLE_HASH, PARTS[b], PARTS[m]);
                assert_int_equal(sk_bytes_starts(sk_buf_view(&row), sk_buf_view(&prefix)), a == b);
                sk_buf_bytes(&end, sk_buf_view(&prefix));
                sk_rowkey_successor(&end);
                bool within = sk_bytes_compare(sk_buf_view(&row), sk_buf_view(&prefix)) >= 0 &&
                              sk_bytes_compare(sk_buf_view(&row), sk_buf_view(&end)) < 0;
                assert_int_equal(within, a == b);
                sk_buf_free(&prefix);
                sk_buf_free(&row);
                sk_buf_free(&end);
            }
}

static void keys_keep_their_order(void **state)
{
    (void)state;
    for (int a = 0; a < PART_COUNT; a++)
        for (int b = 0; b < PART_COUNT; b++) {
            sk_buf one = {0}, two = {0};
            sk_rowkey_pack(&one, SK_TABLE_SET, PARTS[a], SK_BYTES_NONE);
            sk_rowkey_pack(&two, SK_TABLE_SET, PARTS[b], SK_BYTES_NONE);
            int raw = sk_bytes_compare(sk_buf_view(&one), sk_buf_view(&two));
            int plain = sk_bytes_compare(PARTS[a], PARTS[b]);
            assert_int_equal((raw > 0) - (raw < 0), (plain > 0) - (plain < 0));
            sk_buf_free(&one);
            sk_buf_free(&two);
        }
}

static void damaged_ones_are_refused(void **state)
{
    (void)state;
    static const char *const bad[] = {"", "x", "h", "ha", "ha\0", "ha\0\2", "h\0\xff", "ha\0\xff\0", "m\0",
                                      "reu\0\1" "0123456789012345678901234567890", /* a byte short of a key */
                                      "reu\0\1" "012345678901234567890123456789012",
                                      "rEU\0\1" "01234567890123456789012345678901"}; /* no region's name */
    static const size_t lens[] = {0, 1, 1, 2, 3, 4, 3, 5, 2, 36, 38, 37};
    sk_arena arena = {0};
    sk_rowkey key;
    for (int i = 0; i < 12; i++)
        assert_int_equal(sk_rowkey_parse(sk_bytes_of(bad[i], lens[i]), &arena, &key), SK_E_MALFORMED);
    sk_bytes good = sk_bytes_of("reu\0\1" "01234567890123456789012345678901", 37);
    assert_int_equal(sk_rowkey_parse(good, &arena, &key), 0);
    assert_int_equal(key.table, SK_TABLE_MEMBER);
    assert_bytes_equal(key.key, sk_bytes_str("eu"));
    assert_int_equal(key.member.len, SK_ROWKEY_PUBLIC_KEY);
    sk_arena small = {.max = 16};
    (void)sk_arena_take(&small, 16);
    assert_int_equal(sk_rowkey_parse(sk_bytes_of("h\0\xff\0\1", 5), &small, &key), SK_E_MEMORY);
    sk_arena_free(&arena);
    sk_arena_free(&small);
}

static void the_successor_is_the_least_above(void **state)
{
    (void)state;
    sk_buf buf = {0};
    sk_buf_append(&buf, "a\xff\xff", 3);
    sk_rowkey_successor(&buf);
    assert_bytes_equal(sk_buf_view(&buf), sk_bytes_str("b"));
    sk_buf_reset(&buf);
    sk_buf_append(&buf, "\xff", 1);
    sk_rowkey_successor(&buf);
    assert_int_equal(buf.len, 0);
    sk_rowkey_successor(&buf);
    assert_int_equal(buf.len, 0);
    sk_buf_free(&buf);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_key_comes_back),
        cmocka_unit_test(the_members_of_a_key_are_a_range),
        cmocka_unit_test(keys_keep_their_order),
        cmocka_unit_test(damaged_ones_are_refused),
        cmocka_unit_test(the_successor_is_the_least_above),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
