/* Bytes that are on disks and on the wire: golden/NAME.hex says what they were, and what they must stay, or a database
 * and a peer of yesterday are not understood. Where a format is to change (with its version), SK_GOLDEN_WRITE=1 writes
 * the files anew. */
#include "node/context.h"
#include "tests/unit/db_harness.h"

static void file_path(char path[512], const char *name)
{
    snprintf(path, 512, "%s/golden/%s.hex", SK_TEST_DATA, name);
}

static void write_hex(const char *name, sk_bytes bytes)
{
    char path[512];
    file_path(path, name);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    for (size_t i = 0; i < bytes.len; i++) fprintf(file, "%02x%s", bytes.data[i], i % 32 == 31 ? "\n" : "");
    if (bytes.len % 32) fprintf(file, "\n");
    assert_int_equal(fclose(file), 0);
}

/* The bytes of a file, appended. */
static void read_hex(const char *name, sk_buf *bytes)
{
    char path[512];
    unsigned byte;
    int found;
    file_path(path, name);
    FILE *file = fopen(path, "r");
    if (!file) fail_msg("%s is not there", path);
    while ((found = fscanf(file, "%2x", &byte)) == 1) sk_buf_byte(bytes, (uint8_t)byte);
    if (found != EOF || ferror(file)) fail_msg("%s is damaged: it has what is no digit", path);
    fclose(file);
}

/* Holds what is made now against the file. Frees `made`. */
static void golden(const char *name, sk_buf *made)
{
    sk_buf want = {0};
    if (getenv("SK_GOLDEN_WRITE")) write_hex(name, sk_buf_view(made));
    read_hex(name, &want);
    if (!sk_bytes_equal(sk_buf_view(made), sk_buf_view(&want))) {
        print_error("golden/%s.hex is not what is written now:\n", name);
        for (size_t i = 0; i < made->len; i++) print_error("%02x", made->data[i]);
        print_error("\n");
        fail();
    }
    sk_buf_free(&want);
    sk_buf_free(made);
}

/* -- rows ---------------------------------------------------------------------------------------------------------- */

/* The file is read as a row that is packed to the same bytes. */
static void golden_row(const char *name, sk_row row)
{
    sk_buf made = {0}, file = {0}, again = {0};
    sk_arena arena = {0};
    sk_row back;
    sk_row_sort(&row);
    sk_row_pack(&made, &row, true);
    golden(name, &made);
    read_hex(name, &file);
    assert_int_equal(sk_row_read(sk_buf_view(&file), NULL, &arena, &back), 0);
    assert_int_equal(back.count, row.count);
    sk_row_pack(&again, &back, true);
    assert_bytes_equal(sk_buf_view(&again), sk_buf_view(&file));
    sk_buf_free(&file);
    sk_buf_free(&again);
    sk_arena_free(&arena);
}

static sk_entry timed(sk_entry entry)
{
    entry.hlc = sk_hlc_of_ms(1700000000000) + 7;
    return entry;
}

static void rows_of_every_kind(void **state)
{
    (void)state;
    golden_row("row_value", (sk_row)ROW_OF(timed(value_of(0, 1, "hello"))));
    golden_row("row_siblings", (sk_row)ROW_OF(timed(value_of(0, 300, "")), timed(value_of(40, 70000, "x"))));
    golden_row("row_count", (sk_row)ROW_OF(timed(count_entry(1, 9, 3, -12)), timed(count_entry(2, 5, 5, 1ll << 40))));
    golden_row("row_count_base", (sk_row)ROW_OF(timed(count_since(count_entry(1, 9, 3, 12), 4, 5))));
    golden_row("row_count_dead", (sk_row)ROW_OF(timed(count_since(count_entry(1, 9, 3, 12), 9, 12))));
    sk_entry real = timed(count_since(count_entry(1, 9, 3, 0), 4, 5));
    real.count.total = sk_number_real(-0.1L);
    golden_row("row_count_real", (sk_row)ROW_OF(real));
    golden_row("row_member", (sk_row)ROW_OF(timed(member_of(4095, UINT64_MAX))));
    golden_row("row_deadlines",
               (sk_row)ROW_OF(timed(value_of(0, 1, "v")), timed(deadline_of(0, 2, 1700000001000)),
                              timed(deadline_of(1, 2, SK_DEADLINE_NEVER))));
    golden_row("row_sizes", (sk_row){.fields = 3, .members = 1000000});
}

/* -- operations ---------------------------------------------------------------------------------------------------- */

static void golden_op(const char *name, const sk_op *op)
{
    sk_buf made = {0}, file = {0}, again = {0};
    sk_arena arena = {0};
    sk_op back;
    sk_op_pack(&made, op);
    golden(name, &made);
    read_hex(name, &file);
    sk_reader reader = sk_reader_of(sk_buf_view(&file));
    assert_int_equal(sk_op_read(&reader, NULL, (sk_dot){2, 9}, 1, &arena, &back), 0);
    assert_true(sk_reader_done(&reader));
    sk_op_pack(&again, &back);
    assert_bytes_equal(sk_buf_view(&again), sk_buf_view(&file));
    sk_buf_free(&file);
    sk_buf_free(&again);
    sk_arena_free(&arena);
}

static void operations_of_every_kind(void **state)
{
    (void)state;
    sk_reset resets[] = {{{1, 4}, 2, sk_number_whole(6)}, {{3, 700}, 9, sk_number_real(2.5L)}};
    sk_removed removed[] = {{{1, 4}, SK_CLASS_CONTENT}, {{3, 8}, SK_CLASS_DEADLINE}};
    sk_bytes key = sk_bytes_str("kmykey");
    sk_op set = {.key = key, .forgets_content = true, .has_content = true, .content = value_of(0, 0, "hello")},
          del = {.key = key, .forgets_content = true, .forgets_deadlines = true, .resets = resets, .reset_count = 2},
          incr = {.key = key, .has_content = true, .content = count_entry(0, 0, 3, 12)},
          based = {.key = key, .has_content = true, .content = count_since(count_entry(0, 0, 3, 12), 8, 11)},
          sadd = {.key = sk_bytes_of("ms\0\1m", 5), .forgets_content = true, .has_content = true},
          expire = {.key = key, .forgets_deadlines = true, .has_deadline = true},
          resolve = {.key = key, .has_content = true, .content = value_of(0, 0, ""), .removed = removed};
    sadd.content.kind = SK_ENTRY_MEMBER;
    expire.deadline.deadline_ms = 1700000001000;
    resolve.removed_count = 2;
    golden_op("op_set", &set);
    golden_op("op_del", &del);
    golden_op("op_incr", &incr);
    golden_op("op_incr_base", &based);
    incr.content.count.total = sk_number_real(0.1L);
    golden_op("op_incrbyfloat", &incr);
    golden_op("op_sadd", &sadd);
    golden_op("op_expire", &expire);
    expire.deadline.deadline_ms = SK_DEADLINE_NEVER;
    golden_op("op_persist", &expire);
    golden_op("op_resolve", &resolve);
}

/* -- the rest ------------------------------------------------------------------------------------------------------ */

static void keys_vectors_and_contexts(void **state)
{
    (void)state;
    sk_buf made = {0};
    sk_rowkey_pack(&made, SK_TABLE_HASH, sk_bytes_of("a\0\0b", 4), sk_bytes_of("\0f", 2));
    golden("rowkey_hash_nuls", &made);
    sk_rowkey_pack(&made, SK_TABLE_SET, SK_BYTES_NONE, SK_BYTES_NONE);
    golden("rowkey_set_empty", &made);
    sk_rowkey_pack(&made, SK_TABLE_KEY, sk_bytes_of("a\0b", 3), SK_BYTES_NONE);
    golden("rowkey_key_nul", &made);

    uint8_t history[SK_HISTORY_DOT_BYTES];
    sk_history_key(history, 258, 1ull << 40 | 7);
    sk_buf_append(&made, history, sizeof history);
    golden("history_key", &made);

    sk_vv vv = vv_of(7, 0, UINT64_MAX);
    sk_vv_pack(&made, &vv);
    golden("vv", &made);

    database with;
    uint32_t number;
    database_start(&with, "eu-1", 0x0123456789abcdef);
    for (int i = 0; i < 2; i++)
        assert_int_equal(sk_db_intern(&with.db, sk_bytes_str(i ? "us" : "ap"), UINT64_MAX, &number), 0);
    sk_row row = ROW_OF(count_entry(0, 7, 3, 12));
    sk_buf_bytes(&made, sk_context_text(&with.db, &vv, sk_bytes_str("kcity"), &row, &with.arena));
    golden("context", &made);
    sk_vv_free(&vv);
    database_end(&with);
}

/* Equal states have equal digests in regions that run other versions. */
static void digests(void **state)
{
    (void)state;
    sk_origins origins = {0};
    uint32_t number;
    sk_buf made = {0};
    (void)sk_origins_intern(&origins, sk_bytes_str("eu"), 5, &number);
    sk_entry real = count_entry(0, 9, 3, 0);
    real.count.total = sk_number_real(0.1L);
    sk_row rows[] = {ROW_OF(timed(value_of(0, 1, "hello"))), ROW_OF(count_since(count_entry(0, 9, 3, 12), 4, 5)),
                     ROW_OF(real), ROW_OF(member_of(0, 2), deadline_of(0, 3, 4))};
    for (int i = 0; i < 4; i++) {
        sk_digest digest = sk_row_digest(&origins, sk_bytes_str("kmykey"), &rows[i]);
        for (int byte = 15; byte >= 0; byte--) sk_buf_byte(&made, (uint8_t)(digest >> 8 * byte));
    }
    golden("digests", &made);
    sk_origins_free(&origins);
}

/* A whole small database, as the store holds it. */
static void a_database(void **state)
{
    (void)state;
    database with;
    sk_buf made = {0};
    database_start(&with, "eu", 5);
    txn(&with, put(&with, SK_TABLE_KEY, "x", NULL, "1"));
    txn(&with, (put(&with, SK_TABLE_HASH, "h", "f", "1"), add(&with, SK_TABLE_HASH, "h", "n", 5)));
    txn(&with, put(&with, SK_TABLE_SET, "s", "m", ""));
    txn(&with, expire(&with, "x", 5000));
    txn(&with, put(&with, SK_TABLE_POLICY, "p", NULL, "newest"));
    txn(&with, take_away(&with, SK_TABLE_HASH, "h", "n"));
    commit(&with);
    sk_memory_dump(with.store, &made);
    golden("database", &made);
    history_into_singles(&with); /* as with what has come with a transfer */
    commit(&with);
    sk_memory_dump(with.store, &made);
    golden("database_history_in_singles", &made);
    database_end(&with);
}

/* A transfer's chunk: rows, an empty row, a removal. */
static void a_chunk(void **state)
{
    (void)state;
    database with;
    sk_buf made = {0};
    sk_vv none = {0};
    sk_source *source;
    sk_transfer_head head = {0};
    database_start(&with, "eu", 5);
    txn(&with, put(&with, SK_TABLE_KEY, "x", NULL, "1"));
    txn(&with, put(&with, SK_TABLE_KEY, "y", NULL, "1"));
    txn(&with, take_away(&with, SK_TABLE_KEY, "x", NULL));
    commit(&with);
    assert_int_equal(sk_source_open(&with.db, &none, NULL, &source, &head), 0);
    assert_int_equal(sk_source_chunk(&with.db, source, 1000, &made), 0);
    golden("chunk", &made);
    sk_source_close(&with.db, source);
    sk_vv_free(&head.vv);
    sk_vv_free(&head.floor);
    database_end(&with);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_of_every_kind), cmocka_unit_test(operations_of_every_kind),
        cmocka_unit_test(keys_vectors_and_contexts), cmocka_unit_test(digests),
        cmocka_unit_test(a_database),         cmocka_unit_test(a_chunk),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
