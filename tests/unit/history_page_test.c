/* What the history is written as (node/history.h): pages of entries, singles, and what a reader makes of both. */
#include "node/record.h"
#include "tests/unit/two_databases.h"

static uint32_t records(database *with)
{
    sk_db_history_flush(&with->db);
    return pairs_in(with, SK_CF_HISTORY);
}

/* "origin:seq row flags", of all records in their order; '|' between them. */
static const char *history_text(database *with)
{
    sk_buf text = {0};
    sk_history_entry entry;
    sk_db_history_flush(&with->db);
    history_cursor cursor = history_cursor_begin(with->store, &with->db.floor);
    while (history_cursor_record(&cursor)) {
        sk_buf_printf(&text, "%s", text.len ? "| " : "");
        while (sk_history_next(&cursor.record, &entry))
            sk_buf_printf(&text, "%u:%llu %.*s%s%s ", entry.dot.origin, (unsigned long long)entry.dot.seq,
                          (int)entry.raw.len, (const char *)entry.raw.data, entry.flags & SK_HISTORY_REMOVES ? "-" : "",
                          entry.flags & SK_HISTORY_DEAD ? "+" : "");
    }
    sk_buf_byte(&text, 0);
    const char *copy = (const char *)sk_arena_copy(&with->arena, sk_buf_view(&text)).data;
    sk_buf_free(&text);
    return copy;
}

static bool has(database *with, uint64_t seq, const char *key)
{
    unsigned flags;
    sk_row_name name = row_name(with, SK_TABLE_KEY, key, NULL);
    int found = sk_db_history_find(&with->db, (sk_dot){with->db.own, seq}, name.raw, &flags);
    assert_true(found >= 0);
    return found;
}

static void forget(database *with, uint64_t first, uint64_t second)
{
    sk_vv stable = vv_of(first, second, 0);
    sk_db_forget(&with->db, &stable, &stable);
    assert_int_equal(with->db.failed, 0);
    sk_vv_free(&stable);
    commit(with);
}

static void a_turn_is_a_page(void **state)
{
    (void)state;
    txn(&a, put(&a, SK_TABLE_KEY, "x", NULL, "1"));
    txn(&a, (put(&a, SK_TABLE_KEY, "y", NULL, "1"), put(&a, SK_TABLE_KEY, "z", NULL, "1")));
    txn(&a, take_away(&a, SK_TABLE_KEY, "x", NULL));
    commit(&a);
    txn(&a, put(&a, SK_TABLE_KEY, "x", NULL, "2"));
    commit(&a);
    assert_string_equal(history_text(&a), "0:1 kx 0:2 ky 0:2 kz 0:3 kx- | 0:4 kx ");
    assert_int_equal(sk_db_reload(&a.db), 0);
    assert_string_equal(history_text(&a), "0:1 kx 0:2 ky 0:2 kz 0:3 kx- | 0:4 kx ");
}

static void what_others_wrote_has_its_own(void **state)
{
    (void)state;
    txn(&a, put(&a, SK_TABLE_KEY, "x", NULL, "1"));
    txn(&b, put(&b, SK_TABLE_KEY, "y", NULL, "1"));
    apply_last(&b, &a);
    txn(&b, put(&b, SK_TABLE_KEY, "z", NULL, "1"));
    apply_last(&b, &a);
    txn(&a, put(&a, SK_TABLE_KEY, "x", NULL, "2"));
    commit(&a);
    assert_string_equal(history_text(&a), "0:1 kx | 0:2 kx | 1:1 ky 1:2 kz ");
}

/* Rows whose names take more than a page. */
static void put_many(int count)
{
    char key[64];
    for (int i = 0; i < count; i++) {
        snprintf(key, sizeof key, "a key that has a name of fifty bytes, of number %d", i);
        put(&a, SK_TABLE_KEY, key, NULL, "1");
    }
}

/* The rest of a transaction stands in singles: a second page would have the first one's key. */
static void a_transaction_may_be_larger_than_a_page(void **state)
{
    (void)state;
    txn(&a, put(&a, SK_TABLE_KEY, "x", NULL, "1"));
    txn(&a, put_many(300));
    txn(&a, put(&a, SK_TABLE_KEY, "y", NULL, "1"));
    commit(&a);
    assert_int_equal(history_in(&a), 302);
    assert_true(records(&a) > 100 && records(&a) < 200);
    assert_true(has(&a, 2, "a key that has a name of fifty bytes, of number 0"));
    assert_true(has(&a, 2, "a key that has a name of fifty bytes, of number 299"));
    assert_true(has(&a, 3, "y") && !has(&a, 2, "y") && !has(&a, 1, "y"));
    forget(&a, 1, 0);
    assert_int_equal(history_in(&a), 301);
    forget(&a, 2, 0);
    assert_int_equal(history_in(&a), 1);
    forget(&a, 3, 0);
    assert_int_equal(records(&a), 0);
}

static void many_small_ones_take_several_pages(void **state)
{
    (void)state;
    char key[16];
    for (int i = 0; i < 3000; i++) {
        snprintf(key, sizeof key, "%d", i % 7);
        txn(&a, put(&a, SK_TABLE_KEY, key, NULL, "1"));
    }
    assert_int_equal(history_in(&a), 3000);
    assert_in_range(records(&a), 2, 9);
    for (uint64_t seq = 1; seq <= 3000; seq += 99) {
        snprintf(key, sizeof key, "%d", (int)(seq - 1) % 7);
        assert_true(has(&a, seq, key));
    }
    forget(&a, 1500, 0);
    assert_int_equal(history_in(&a), 1500);
    assert_false(has(&a, 1500, "1")); /* of 1499 % 7 */
    assert_true(has(&a, 1501, "2"));
}

static void what_is_not_yet_put_is_found(void **state)
{
    (void)state;
    txn(&a, put(&a, SK_TABLE_KEY, "x", NULL, "1"));
    assert_true(has(&a, 1, "x"));
    assert_false(has(&a, 1, "y") || has(&a, 2, "x"));
    assert_int_equal(pairs_in(&a, SK_CF_HISTORY), 0);
    commit(&a);
    assert_true(has(&a, 1, "x"));
    txn(&a, put(&a, SK_TABLE_KEY, "y", NULL, "1"));
    assert_true(has(&a, 1, "x") && has(&a, 2, "y"));
    assert_false(has(&a, 1, "y") || has(&a, 2, "x") || has(&a, 3, "x"));
}

static void reset_of(const char *key)
{
    txn(&b, add(&b, SK_TABLE_KEY, key, NULL, 5));
    apply_last(&b, &a);
    txn(&a, take_away(&a, SK_TABLE_KEY, key, NULL));
}

/* The floor comes to be within a page: what is at or below it is gone, but for what still speaks of a dead count. */
static void a_floor_may_cut_a_page(void **state)
{
    (void)state;
    txn(&b, (add(&b, SK_TABLE_KEY, "n", NULL, 5), add(&b, SK_TABLE_KEY, "m", NULL, 5)));
    apply_last(&b, &a);
    txn(&a, take_away(&a, SK_TABLE_KEY, "n", NULL));
    txn(&a, put(&a, SK_TABLE_KEY, "x", NULL, "1"));
    txn(&a, take_away(&a, SK_TABLE_KEY, "m", NULL));
    commit(&a);
    assert_string_equal(history_text(&a), "0:1 kn-+ 0:2 kx 0:3 km-+ | 1:1 kn 1:1 km ");
    sk_vv stable = vv_of(2, 1, 0), everywhere = vv_of(0, 1, 0);
    sk_db_forget(&a.db, &stable, &everywhere);
    commit(&a);
    assert_string_equal(history_text(&a), "0:1 kn-+ | 0:3 km-+ ");
    assert_string_equal(text_of_row(&a, SK_TABLE_KEY, "n", NULL), "1:1 c 5-5@1 from 1+");
    sk_vv_free(&stable);
    sk_vv_free(&everywhere);
    forget(&a, 3, 1);
    assert_string_equal(text_of_row(&a, SK_TABLE_KEY, "m", NULL), "");
    assert_string_equal(history_text(&a), "0:1 kn-+ "); /* it is looked at again when more is everywhere */
    sk_db_revisit_anew(&a.db);
    while (sk_db_revisit(&a.db, &a.db.vv, 1) > 0) continue;
    commit(&a);
    assert_string_equal(history_text(&a), "");
    assert_string_equal(text_of_row(&a, SK_TABLE_KEY, "n", NULL), "");
}

/* A transfer to a peer that has the beginning of a page brings what is behind it alone. */
static void a_peers_vector_may_cut_a_page(void **state)
{
    (void)state;
    txn(&a, put(&a, SK_TABLE_KEY, "x", NULL, "1"));
    apply_last(&a, &b);
    txn(&a, put(&a, SK_TABLE_KEY, "y", NULL, "1"));
    txn(&a, put(&a, SK_TABLE_KEY, "z", NULL, "1"));
    txn(&a, take_away(&a, SK_TABLE_KEY, "z", NULL));
    commit(&a);
    commit(&b);
    transfer cut = transfer_start(&a, &b);
    assert_int_equal(cut.begun, 0);
    while (transfer_chunk(&cut, 1000)) continue;
    assert_int_equal(pairs_in(&b, SK_CF_STAGED), 2); /* y, and z that is no more */
    assert_int_equal(sk_fold_end(&b.db), 0);
    transfer_stop(&cut);
    settle_staged(&b);
    assert_true(a.db.digest == b.db.digest);
    assert_true(sk_vv_get(&b.db.vv, 1) == 4);
}

/* What is applied while a transfer is staged may be in it, too: then each entry has its record, and it is there once. */
static void beside_a_transfer_there_are_singles(void **state)
{
    (void)state;
    txn(&b, put(&b, SK_TABLE_KEY, "own", NULL, "1")); /* not yet put when the transfer begins */
    txn(&a, put(&a, SK_TABLE_KEY, "x", NULL, "1"));
    commit(&a);
    transfer cut = transfer_start(&a, &b);
    while (transfer_chunk(&cut, 1000)) continue;
    assert_string_equal(history_text(&b), "0:1 kown | 1:1 kx ");
    apply_last(&a, &b);
    txn(&b, put(&b, SK_TABLE_KEY, "y", NULL, "1"));
    assert_true(has(&b, 1, "own") && has(&b, 2, "y") && !has(&b, 1, "y"));
    assert_string_equal(history_text(&b), "0:1 kown | 0:2 ky | 1:1 kx ");
    assert_int_equal(sk_fold_end(&b.db), 0);
    transfer_stop(&cut);
    settle_staged(&b);
    txn(&b, put(&b, SK_TABLE_KEY, "z", NULL, "1"));
    txn(&b, put(&b, SK_TABLE_KEY, "z", NULL, "2"));
    assert_string_equal(history_text(&b), "0:1 kown | 0:2 ky | 0:3 kz 0:4 kz | 1:1 kx ");
}

/* A transfer is folded in between two transactions of one turn: it has brought what is between them. */
static void what_comes_behind_a_gap_begins_a_page(void **state)
{
    (void)state;
    txn(&a, put(&a, SK_TABLE_KEY, "x", NULL, "1"));
    apply_last(&a, &b);
    txn(&a, put(&a, SK_TABLE_KEY, "x", NULL, "2"));
    commit(&a);
    transfer whole = transfer_start(&a, &b);
    while (transfer_chunk(&whole, 1000)) continue;
    txn(&a, put(&a, SK_TABLE_KEY, "x", NULL, "3"));
    assert_int_equal(sk_fold_end(&b.db), 0);
    assert_int_equal(sk_db_touch_all(&b.db), 0);
    apply_last(&a, &b);
    transfer_stop(&whole);
    assert_string_equal(history_text(&b), "1:1 kx | 1:2 kx | 1:3 kx ");
}

/* A repair brings a dead count that its reset had not met here: a record must speak of it, hide nothing beside it, and see to
 * it that the count goes in its time. */
static void what_a_repair_records_hides_no_page(void **state)
{
    (void)state;
    sk_row_keys rows = {0};
    sk_vv above = {0};
    txn(&b, put(&b, SK_TABLE_KEY, "z", NULL, "1"));
    apply_last(&b, &a);
    txn(&a, put(&a, SK_TABLE_KEY, "x", NULL, "1"));
    txn(&a, put(&a, SK_TABLE_KEY, "n", NULL, "1"));
    txn(&a, put(&a, SK_TABLE_KEY, "y", NULL, "1"));
    commit(&a);
    sk_row_name name = row_name(&a, SK_TABLE_KEY, "n", NULL);
    sk_row old = row_of(&a, SK_TABLE_KEY, "n", NULL);
    sk_entry dead = count_since(count_entry(1, 1, 1, 5), 1, 5);
    dead.count.reset_by = (sk_dot){a.db.own, 2};
    sk_row mended = ROW_OF(old.entries[0], dead);
    assert_int_equal(sk_db_row_put(&a.db, &name, &old, &mended), 0);
    assert_int_equal(sk_audit_record_dead(&a.db, name.raw, &mended), 0);
    assert_true(sk_db_history_speaks(&a.db, name.raw));
    assert_true(has(&a, 1, "x") && has(&a, 2, "n") && has(&a, 3, "y"));
    while (sk_db_history_rows(&a.db, &above, &rows, NULL, 1) > 0) continue;
    assert_int_equal(rows.count, 4);
    assert_int_equal(history_in(&a), 4);
    forget(&a, 3, 1);
    assert_int_equal(history_in(&a), 0);
    assert_int_equal(row_of(&a, SK_TABLE_KEY, "n", NULL).count, 1);
    sk_row_keys_free(&rows);
    sk_vv_free(&above);
}

/* In steps of a few entries, whatever records they stand in, nothing is left out. */
static void rows_are_named_in_steps(void **state)
{
    (void)state;
    for (uint32_t from = 0; from < 9; from++) {
        sk_row_keys rows = {0}, removed = {0};
        sk_vv above = vv_of(from, 0, 0);
        if (from) begin_anew();
        for (int i = 0; i < 10; i++) {
            char key[8];
            snprintf(key, sizeof key, "%d", i);
            txn(&a, put(&a, SK_TABLE_KEY, key, NULL, "1"));
            if (i % 4 == 3) commit(&a);
            if (i == 5) history_into_singles(&a);
        }
        int more, steps = 0;
        while ((more = sk_db_history_rows(&a.db, &above, &rows, &removed, 1)) > 0) steps++;
        assert_int_equal(more, 0);
        assert_true(sk_vv_equal(&above, &a.db.vv));
        assert_int_equal(rows.count, 10 - from);
        assert_int_equal(removed.count, 0);
        assert_true(from > 7 || steps > 0);
        sk_row_keys_free(&rows);
        sk_row_keys_free(&removed);
        sk_vv_free(&above);
    }
}

/* A crash in the middle of a renewal leaves pages below the floor: of those only what speaks of dead counts stays. */
static void pages_that_a_renewal_left_are_gone_through(void **state)
{
    (void)state;
    reset_of("n");
    txn(&a, put(&a, SK_TABLE_KEY, "x", NULL, "1"));
    commit(&a);
    assert_int_equal(sk_db_history_renew(&a.db), 0);
    commit(&a);
    assert_int_equal(sk_db_reload(&a.db), 0);
    assert_true(sk_db_history_speaks(&a.db, row_name(&a, SK_TABLE_KEY, "n", NULL).raw));
    sk_vv nothing = {0};
    assert_true(a.db.revisit);
    while (sk_db_revisit(&a.db, &nothing, 1) > 0) continue;
    commit(&a);
    assert_string_equal(history_text(&a), "0:1 kn-+ ");
    while (sk_db_revisit(&a.db, &nothing, 1) > 0) continue;
    sk_db_forget(&a.db, &a.db.vv, &a.db.vv);
    while (sk_db_revisit(&a.db, &a.db.vv, 1) > 0) continue;
    commit(&a);
    assert_string_equal(history_text(&a), "");
    assert_string_equal(text_of_row(&a, SK_TABLE_KEY, "n", NULL), "");
}

/* Records with a sound sum that nothing here writes. */
static void what_is_no_record_is_refused(void **state)
{
    (void)state;
    static const struct {
        uint64_t last;
        const char *bytes;
        size_t len;
        bool good;
    } pages[] = {
#define PAGE(last, bytes, good) {last, bytes, sizeof bytes - 1, good}
        PAGE(3, "\x02\x00\x02kx\x04\x02ky", true),
        PAGE(3, "\x02\x00\x02kx\x05\x02ky\x02\x02kz", true),
        PAGE(3, "\x03\x00\x02kx", true),
        PAGE(3, "", false),
        PAGE(3, "\x03", false),                                /* no entry */
        PAGE(3, "\x02\x00\x02kx", false),                      /* it ends before its last */
        PAGE(3, "\x04\x00\x02kx", false),                      /* or begins behind it */
        PAGE(3, "\x03\x00\x02kx\x04\x02ky", false),            /* or goes beyond it */
        PAGE(3, "\x02\x04\x02kx", false),                      /* not the first transaction comes first */
        PAGE(3, "\x03\x08\x02kx", false),                      /* a flag that there is not */
        PAGE(3, "\x03\x00\x00", false),                        /* of no row */
        PAGE(3, "\x03\x00\x03kx", false),                      /* longer than it is */
        PAGE(3, "\x03\x00\xffkx", false),
        PAGE(3, "\x03\x00\x02kx\x00", false),                  /* cut */
        PAGE(0, "\x00\x00\x02kx", false),                      /* seqs begin at 1 */
#undef PAGE
    };
    for (size_t i = 0; i < sizeof pages / sizeof *pages; i++) {
        uint8_t key[SK_HISTORY_DOT_BYTES];
        sk_bytes stored;
        sk_history_record record;
        sk_history_entry entry;
        sk_buf value = {0};
        sk_history_key(key, 0, pages[i].last);
        sk_buf_append(&value, pages[i].bytes, pages[i].len);
        sk_record_put(a.store, SK_CF_HISTORY, sk_bytes_of(key, sizeof key), &value);
        assert_int_equal(sk_store_get(a.store, SK_CF_HISTORY, sk_bytes_of(key, sizeof key), &stored, NULL), 1);
        int status = sk_history_open(sk_bytes_of(key, sizeof key), stored, NULL, &record);
        if (status != (pages[i].good ? 0 : SK_E_CORRUPT)) fail_msg("page %zu: %d", i, status);
        assert_int_equal(sk_history_next(&record, &entry), pages[i].good);
        sk_store_remove(a.store, SK_CF_HISTORY, sk_bytes_of(key, sizeof key));
        sk_buf_free(&value);
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, open_both_interned, close_both)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_turn_is_a_page),
        TEST(what_others_wrote_has_its_own),
        TEST(a_transaction_may_be_larger_than_a_page),
        TEST(many_small_ones_take_several_pages),
        TEST(what_is_not_yet_put_is_found),
        TEST(a_floor_may_cut_a_page),
        TEST(a_peers_vector_may_cut_a_page),
        TEST(beside_a_transfer_there_are_singles),
        TEST(what_comes_behind_a_gap_begins_a_page),
        TEST(what_a_repair_records_hides_no_page),
        TEST(rows_are_named_in_steps),
        TEST(pages_that_a_renewal_left_are_gone_through),
        TEST(what_is_no_record_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
