/* A copy against what it says of itself. */
#include "node/inspect.h"
#include "tests/unit/db_harness.h"

static void write_key(database *with, const char *key, const char *value)
{
    sk_row_name name = sk_row_name_of(&with->arena, SK_TABLE_KEY, sk_bytes_str(key), SK_BYTES_NONE);
    sk_op op = {.has_content = true, .content.kind = SK_ENTRY_VALUE, .content.value = sk_bytes_str(value)};
    sk_db_begin(&with->db);
    assert_int_equal(sk_db_change(&with->db, &name, NULL, &op), 0);
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

static char told[4096];

static int look(database *with, uint64_t *rows)
{
    sk_buf faults = {0};
    int status = sk_inspect_all(with->store, rows, &faults);
    assert_int_equal(faults.len > 0, status != 0);
    snprintf(told, sizeof told, "%.*s", (int)faults.len, faults.len ? (const char *)faults.data : "");
    sk_buf_free(&faults);
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
        fill(&with);
        sk_row_name a = sk_row_name_of(&with.arena, SK_TABLE_KEY, sk_bytes_str("a"), SK_BYTES_NONE);
        sk_row_name b = sk_row_name_of(&with.arena, SK_TABLE_KEY, sk_bytes_str("b"), SK_BYTES_NONE);
        sk_bytes value = stored_row(&with, b.raw);
        if (kind == 0) sk_store_put(with.store, SK_CF_ROW, a.raw, value);
        if (kind == 1) sk_store_remove(with.store, SK_CF_ROW, a.raw);
        if (kind == 2) sk_store_put(with.store, SK_CF_ROW, a.raw, sk_bytes_of(value.data, value.len - 1));
        if (kind == 3) sk_store_put(with.store, SK_CF_ROW, sk_bytes_str("?"), value);
        if (kind == 4) sk_store_put(with.store, SK_CF_ROW, sk_bytes_str("kc"), value);
        if (kind == 5) sk_store_put(with.store, SK_CF_ROW, sk_bytes_str("kc"), sk_bytes_of("\0\1\0", 3)); /* sizes */
        if (kind == 6) sk_store_put(with.store, SK_CF_HISTORY, sk_bytes_str("0123456789abc"), sk_bytes_of("\0\0\0\0\0", 5));
        assert_int_equal(look(&with, &rows), SK_E_CORRUPT);
        static const char *const sentences[] = {
            "the 2 rows are not those that were committed: ",
            "the 1 rows are not those that were committed: ",
            "the 2 rows are not those that were committed: ",
            "the row \"?\" makes no sense: ",
            "the 3 rows are not those that were committed: ",
            "hashes and sets with another size than was noted: 1; ",
            "damaged records of the history: 1; ",
        };
        if (strncmp(told, sentences[kind], strlen(sentences[kind])) != 0) fail_msg("%d: %s", kind, told);
        assert_ptr_equal(strchr(told, '\n'), told + strlen(told) - 1); /* one line */
        database_end(&with);
    }
}

static void meta_derived_and_staged_are_looked_at(void **state)
{
    (void)state;
    for (int kind = 0; kind < 4; kind++) {
        database with;
        uint64_t rows;
        fill(&with);
        if (kind == 0) sk_store_put(with.store, SK_CF_META, sk_bytes_str("own"), sk_bytes_str("another"));
        if (kind == 1) sk_store_put(with.store, SK_CF_DERIVED, sk_bytes_str("ckx"), SK_BYTES_NONE);
        if (kind == 2) sk_store_put(with.store, SK_CF_STAGED, sk_bytes_str("rkx"), sk_bytes_str("staged"));
        if (kind == 3) sk_audit_lost(&with.db);
        assert_int_equal(look(&with, &rows), SK_E_CORRUPT);
        static const char *const sentences[] = {
            "the record \"own\" of the database is damaged: ",
            "entries of indexes, or counts, that the rows belie: 1; ",
            "damaged rows of an unfinished transfer: 1; ",
            "rows of a transfer are lost: ",
        };
        if (strncmp(told, sentences[kind], strlen(sentences[kind])) != 0) fail_msg("%d: %s", kind, told);
        database_end(&with);
    }
}

/* The history is not begun anew while something is folded in; nor does one wait for that here. */
static void damaged_history_is_told_while_a_transfer_is_folded_in(void **state)
{
    (void)state;
    database from, to;
    uint64_t rows;
    fill(&from);
    database_start(&to, "us", 0xdef);
    write_key(&to, "c", "3");
    transfer_all(&from, &to);
    assert_true(sk_fold_active(&to.db));
    (void)sk_db_seal(&to.db);
    assert_int_equal(sk_memory_sync(to.store, UINT64_MAX), 0);
    assert_int_equal(look(&to, &rows), 0);
    sk_store_put(to.store, SK_CF_HISTORY, sk_bytes_str("0123456789abc"), sk_bytes_of("\0\0\0\0\0", 5));
    assert_int_equal(look(&to, &rows), SK_E_CORRUPT);
    assert_non_null(strstr(told, "damaged records of the history: 1; "));
    database_end(&from);
    database_end(&to);
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
        cmocka_unit_test(meta_derived_and_staged_are_looked_at),
        cmocka_unit_test(damaged_history_is_told_while_a_transfer_is_folded_in),
        cmocka_unit_test(an_empty_store_is_no_database),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
