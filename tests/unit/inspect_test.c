/* A copy against what it says of itself. */
#include "node/inspect.h"
#include "tests/unit/db_harness.h"

static void write_key(database *with, const char *key, const char *value)
{
    sk_row_name name = sk_row_name_of(&with->arena, SK_TABLE_KEY, sk_bytes_str(key), SK_BYTES_NONE);
    sk_op op = {.has_content = true, .content.kind = SK_ENTRY_VALUE, .content.value = sk_bytes_str(value)};
    sk_db_begin(&with->db);
    assert_int_equal(sk_db_change(&with->db, &name, &op), 0);
    assert_int_equal(sk_db_commit(&with->db) != 0, true);
}

static void fill(database *with)
{
    database_start(with, "eu", 0xabc);
    write_key(with, "a", "1");
    write_key(with, "b", "2");
    sk_db_seal(&with->db);
    assert_int_equal(sk_memory_sync(with->store, UINT64_MAX), 0);
}

static int look(database *with, uint64_t *rows)
{
    sk_buf error = {0};
    int status = sk_inspect_all(with->store, rows, &error);
    assert_int_equal(error.len > 0, status != 0);
    sk_buf_free(&error);
    return status;
}

static void it_says_what_the_database_holds(void **state)
{
    database with;
    sk_inspection says, again;
    sk_buf packed = {0};
    uint64_t rows;
    (void)state;
    fill(&with);
    assert_int_equal(sk_inspect(with.store, &says), 0);
    assert_true(sk_bytes_equal(sk_buf_view(&says.region), sk_bytes_str("eu")));
    assert_true(sk_bytes_equal(sk_buf_view(&says.cluster), sk_bytes_str("test")));
    assert_true(sk_bytes_equal(sk_buf_view(&says.vector), sk_bytes_str("eu-0000000000000abc:2")));
    assert_int_equal(says.incarnation, 0xabc);
    assert_int_equal(says.keys, 2);
    assert_true(says.digest == with.db.digest);
    assert_int_equal(look(&with, &rows), 0);
    assert_int_equal(rows, 2);
    sk_inspection_pack(&packed, &says);
    assert_int_equal(sk_inspection_read(sk_buf_view(&packed), &again), 0);
    assert_true(again.digest == says.digest && again.keys == 2 && again.incarnation == 0xabc);
    assert_true(sk_bytes_equal(sk_buf_view(&again.vector), sk_buf_view(&says.vector)));
    sk_inspection_free(&again);
    for (size_t len = 0; len < packed.len; len++) {
        assert_int_equal(sk_inspection_read(sk_bytes_of(packed.data, len), &again), SK_E_CORRUPT);
        sk_inspection_free(&again);
    }
    sk_inspection_free(&says);
    sk_buf_free(&packed);
    database_end(&with);
}

/* What is wrong with one row: it is another one, gone, cut, or its key is none. */
static void a_wrong_row_is_found(void **state)
{
    (void)state;
    for (int kind = 0; kind < 7; kind++) {
        database with;
        uint64_t rows;
        sk_bytes value;
        fill(&with);
        sk_row_name a = sk_row_name_of(&with.arena, SK_TABLE_KEY, sk_bytes_str("a"), SK_BYTES_NONE);
        sk_row_name b = sk_row_name_of(&with.arena, SK_TABLE_KEY, sk_bytes_str("b"), SK_BYTES_NONE);
        assert_int_equal(sk_store_get(with.store, SK_CF_ROW, b.raw, &value, NULL), 1);
        value = sk_arena_copy(&with.arena, value);
        if (kind == 0) sk_store_put(with.store, SK_CF_ROW, a.raw, value);
        if (kind == 1) sk_store_remove(with.store, SK_CF_ROW, a.raw);
        if (kind == 2) sk_store_put(with.store, SK_CF_ROW, a.raw, sk_bytes_of(value.data, value.len - 1));
        if (kind == 3) sk_store_put(with.store, SK_CF_ROW, sk_bytes_str("?"), value);
        if (kind == 4) sk_store_put(with.store, SK_CF_ROW, sk_bytes_str("kc"), value);
        if (kind == 5) sk_store_put(with.store, SK_CF_ROW, sk_bytes_str("kc"), sk_bytes_of("\0\1\0", 3)); /* sizes */
        if (kind == 6) sk_store_put(with.store, SK_CF_HISTORY, sk_bytes_str("0123456789abc"), sk_bytes_of("\0\0\0\0\0", 5));
        assert_int_equal(look(&with, &rows), SK_E_CORRUPT);
        database_end(&with);
    }
}

static void an_empty_store_is_no_database(void **state)
{
    sk_inspection says;
    sk_store *store = sk_memory_open(SK_DURABILITY_ALWAYS);
    (void)state;
    assert_int_equal(sk_inspect(store, &says), SK_E_CORRUPT);
    sk_inspection_free(&says);
    sk_store_close(store);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_says_what_the_database_holds),
        cmocka_unit_test(a_wrong_row_is_found),
        cmocka_unit_test(an_empty_store_is_no_database),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
