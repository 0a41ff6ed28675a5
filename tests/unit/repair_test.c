#include "node/repair.h"

#include "tests/unit/repair_harness.h"

/* So that a has nothing that b has not. */
static void b_has_seen_all_and_repairs_a(void)
{
    settles_with_the_last_of(&b, &a, "count");
    assert_true(a.db.digest == b.db.digest);
}

/* Whatever byte of whatever row it is, it is as it was again: of one that nobody else has, too. */
static void every_damaged_row_is_repaired(void **state)
{
    (void)state;
    sk_bytes key, value;
    uint32_t repairs = 0;
    fill_both();
    txn(&a, put(&a, SK_TABLE_KEY, "only here", NULL, "yet")); /* b has seen nothing of all this */
    txn(&a, put(&a, SK_TABLE_KEY, "string", NULL, "changed"));
    txn(&a, add(&a, SK_TABLE_KEY, "count", NULL, 3));
    txn(&a, put(&a, SK_TABLE_HASH, "hash", "new", "field"));
    txn(&a, put(&a, SK_TABLE_HASH, "hash", "other", "3"));
    commit(&a);
    for (uint32_t n = 0; pair(&a, SK_CF_ROW, n, &key, &value); n++) {
        for (size_t at = 0; at < key.len + value.len; at += 1) {
            database copy = {.store = sk_memory_copy(a.store)};
            assert_int_equal(open_as(&copy, "a", "test", "1", 1), 0);
            sk_digest digest = copy.db.digest;
            assert_true(flip(&copy, SK_CF_ROW, key, value, at, (uint8_t)(1u << (at % 8))));
            commit_unchecked(&copy);
            for (uint32_t tries = 0; tries < 2 && strcmp(audited(&copy), "damaged") == 0; tries++, repairs++) repair(&b, &copy);
            if (strcmp(audited(&copy), "verified") != 0 || copy.db.digest != digest)
                fail_msg("byte %zu of row %u, of %zu and %zu bytes", at, n, key.len, value.len);
            assert_true(copy.db.digest == digest);
            sk_db_check(&copy.db);
            sk_sums_reset(&copy.db.sums);
            database_end(&copy);
        }
    }
    assert_true(repairs > 100);
}

/* Rows that are gone, and rows that nobody wrote. */
static void rows_come_and_go_in_a_repair(void **state)
{
    (void)state;
    fill_both();
    damage(&a, "string", NULL);
    damage(&a, "made up", "\xc1");
    sk_row_name count = row_name(&a, SK_TABLE_KEY, "count", NULL);
    sk_bytes value = stored_row(&a, count.raw);
    sk_store_put(a.store, SK_CF_ROW, sk_bytes_str("?"), value); /* no row key */
    sk_store_put(a.store, SK_CF_ROW, sk_bytes_str("kcopy"), value);
    commit_unchecked(&a);
    b_repairs_a();
    assert_true(a.db.digest == b.db.digest);
    sk_db_check(&b.db);
}

/* b has removed a row meanwhile. It goes with the repair, which is no repair of it. */
static void what_the_sender_has_removed_is_news(void **state)
{
    (void)state;
    fill_both();
    damage(&a, "count", "\xc1");
    txn(&b, take_away(&b, SK_TABLE_HASH, "hash", "field"));
    commit(&b);
    assert_string_equal(audited(&a), "damaged");
    repair(&b, &a);
    go_through(&a);
    assert_int_equal(row_of(&a, SK_TABLE_HASH, "hash", "field").count, 0);
    sk_reader names = sk_reader_of(sk_buf_view(&a.db.audit.names));
    sk_bytes raw;
    bool repaired;
    uint32_t count = 0;
    while (sk_audit_next_name(&names, &raw, &repaired)) count += repaired;
    assert_int_equal(count, 1);
    assert_true(a.db.digest == b.db.digest);
}

/* What was written or removed here since is not the sender's to say. */
static void what_is_newer_here_survives_a_repair(void **state)
{
    (void)state;
    fill_both();
    damage(&a, "count", "\xc1");
    assert_string_equal(audited(&a), "damaged");
    txn(&a, put(&a, SK_TABLE_KEY, "string", NULL, "newer"));
    txn(&a, take_away(&a, SK_TABLE_HASH, "hash", "field"));
    repair(&b, &a);
    assert_int_equal(sk_db_touch_all(&a.db), 0);
    assert_string_equal(audited(&a), "verified");
    sk_row row = row_of(&a, SK_TABLE_KEY, "string", NULL);
    assert_true(sk_bytes_equal(row.entries[0].value, sk_bytes_str("newer")));
    assert_int_equal(row_of(&a, SK_TABLE_HASH, "hash", "field").count, 0);
    assert_int_equal(row_of(&a, SK_TABLE_KEY, "count", NULL).count, 1);
    sk_db_check(&a.db);
    txn(&b, put(&b, SK_TABLE_KEY, "there", NULL, "x"));
    commit(&b);
    transfer_all(&a, &b);
    assert_int_equal(sk_db_touch_all(&b.db), 0);
    transfer_all(&b, &a);
    assert_int_equal(sk_db_touch_all(&a.db), 0);
    assert_true(a.db.digest == b.db.digest);
}

/* What nobody can judge stays, but what the sender brings that is new comes all the same: nothing would ever send it again. */
static void what_is_new_in_a_row_in_doubt_comes_with_the_repair(void **state)
{
    (void)state;
    static const char *const stored[] = {NULL, "\xc1"};
    for (size_t nonsense = 0; nonsense < 2; nonsense++) {
        if (nonsense) begin_anew();
        fill_both();
        txn(&a, (add(&a, SK_TABLE_KEY, "count", NULL, 3), expire(&a, "string", 7000)));
        txn(&b, (add(&b, SK_TABLE_KEY, "count", NULL, 1), put(&b, SK_TABLE_KEY, "string", NULL, "theirs")));
        commit(&b);
        sk_row row = row_of(&a, SK_TABLE_KEY, "count", NULL);
        sk_row_name name = damage(&a, "count", stored[nonsense]);
        row.entries[0].count.total.whole = 1000000;
        if (!nonsense) store_row(&a, &name, &row);
        damage(&a, "string", stored[nonsense]);
        assert_string_equal(audited(&a), "damaged");
        repair(&b, &a);
        assert_int_equal(row_of(&a, SK_TABLE_KEY, "count", NULL).count, nonsense ? 1 : 2);
        assert_int_equal(row_of(&a, SK_TABLE_KEY, "string", NULL).count, 1);
        assert_string_equal(audited(&a), "damaged");
        b_has_seen_all_and_repairs_a();
    }
}

/* The sums know of it at once, and of what made no sense and is gone: the rows that follow are judged by them. */
static void what_is_new_is_added_up(void **state)
{
    (void)state;
    fill_both();
    sk_row_name name = damage(&a, "string", "\xc1");
    txn(&b, put(&b, SK_TABLE_KEY, "string", NULL, "theirs"));
    commit(&b);
    sk_row theirs = row_translated(&a, &b, SK_TABLE_KEY, "string", NULL);
    assert_string_equal(audited(&a), "damaged");
    sk_repair_row row = {.name = name, .is_key = true, .theirs = &theirs};
    sk_repair_vectors vectors = {.known = &a.db.vv};
    sk_digest before = a.db.sums.sum;
    assert_int_equal(sk_repair_bring_news(&a.db, &vectors, &row, &a.arena), 0);
    sk_digest sum = a.db.sums.sum;
    assert_true(sum != before);
    commit_unchecked(&a);
    (void)audited(&a);
    assert_true(a.db.sums.sum == sum);
}

/* One that the sender has removed meanwhile was there all the same: our history says so. */
static void what_the_sender_has_removed_meanwhile_was_there(void **state)
{
    (void)state;
    database c;
    fill_both();
    txn(&b, put(&b, SK_TABLE_KEY, "string", NULL, "seen by both"));
    apply_last(&b, &a);
    database_start(&c, "c", 3);
    txn(&c, put(&c, SK_TABLE_KEY, "string", NULL, "beside it"));
    apply_last(&c, &a); /* and b never hears of it */
    txn(&b, put(&b, SK_TABLE_KEY, "string", NULL, "over it"));
    commit(&b);
    commit(&a);
    damage(&a, "zzz", "\xc1"); /* it stands behind: all does not add up before */
    b_repairs_a();
    sk_row row = row_of(&a, SK_TABLE_KEY, "string", NULL);
    assert_int_equal(sk_row_live(&row, SK_CLASS_CONTENT), 2);
    database_end(&c);
}

/* A row that is damaged and was written to since: another repair is asked for, when the sender has seen that. */
static void a_row_in_doubt_waits_for_the_next_repair(void **state)
{
    (void)state;
    fill_both();
    sk_row row = row_of(&a, SK_TABLE_KEY, "count", NULL);
    sk_row_name name = row_name(&a, SK_TABLE_KEY, "count", NULL);
    row.entries[0].count.total.whole = 1000000; /* in more than one byte */
    store_row(&a, &name, &row);
    assert_string_equal(audited(&a), "damaged");
    txn(&a, expire(&a, "count", 7000));
    repair(&b, &a);
    assert_string_equal(audited(&a), "damaged");
    b_has_seen_all_and_repairs_a();
}

/* Damage put a row where none is, under a dot of ours that b has not seen: our history knows that it was another row's. */
static void what_our_history_does_not_know_of_goes(void **state)
{
    (void)state;
    fill_both();
    txn(&a, put(&a, SK_TABLE_KEY, "newer", NULL, "x"));
    commit(&a);
    sk_row row = row_of(&a, SK_TABLE_KEY, "newer", NULL);
    sk_row_name name = row_name(&a, SK_TABLE_KEY, "ghost", NULL);
    store_row(&a, &name, &row);
    b_repairs_a();
    assert_string_equal(text_of_row(&a, SK_TABLE_KEY, "ghost", NULL), "");
    assert_string_equal(text_of_row(&a, SK_TABLE_KEY, "newer", NULL), "0:9 v x");
}

/* A dead count of a transaction that nobody made: in no digest, and yet it is asked for. And one that damage brought to life,
 * where b has nothing but dead counts: they are there again, and so is what speaks of them. */
static void damaged_dead_counts_that_make_no_sense_are_repaired(void **state)
{
    (void)state;
    for (int alive = 0; alive < 2; alive++) {
        if (alive) begin_anew();
        remove_count_at_both();
        sk_row row = row_of(&a, SK_TABLE_KEY, "n", NULL);
        const char *text = "1:1 c 5-5@1 from 1+";
        assert_string_equal(text_of_row(&a, SK_TABLE_KEY, "n", NULL), text);
        sk_row_name name = row_name(&a, SK_TABLE_KEY, "n", NULL);
        row.entries[0].dot.seq += 1000;
        if (!alive) row.entries[0].count.base_seq += 1000;
        store_row(&a, &name, &row);
        assert_string_equal(audited(&a), "damaged");
        assert_false(a.db.audit.beyond);
        repair(&b, &a);
        assert_string_equal(audited(&a), "verified");
        assert_string_equal(text_of_row(&a, SK_TABLE_KEY, "n", NULL), text);
        sk_db_check(&a.db);
        sk_db_forget(&a.db, &a.db.vv, &a.db.vv);
        commit(&a);
        assert_string_equal(text_of_row(&a, SK_TABLE_KEY, "n", NULL), "");
    }
}

/* One in a row that has none elsewhere: no digest tells, and b, which sends rows with dead counts, has no reason to. */
static void a_dead_count_that_nobody_else_has_is_damage(void **state)
{
    (void)state;
    fill_both();
    remove_count_at_both();
    sk_entry entries[8] = {row_of(&a, SK_TABLE_KEY, "n", NULL).entries[0]};
    entries[0].dot.seq += 1000;
    entries[0].count.base_seq += 1000;
    sk_row row = row_of(&a, SK_TABLE_KEY, "string", NULL);
    assert_in_range(row.count, 1, 7);
    memcpy(entries + 1, row.entries, row.count * sizeof *entries);
    row.entries = entries;
    row.count++;
    sk_row_sort(&row);
    sk_row_name name = row_name(&a, SK_TABLE_KEY, "string", NULL);
    store_row(&a, &name, &row);
    b_repairs_a();
    assert_same_row(&a, &b, SK_TABLE_KEY, "string", NULL);
}

static void reset_count_at_both(void)
{
    reset_count_of_b();
    apply_last(&a, &b);
    commit(&b);
}

/* A dead count, left by a transaction that nobody has made: peers would refuse the row, and it would stay for ever. */
static void a_reset_that_never_was_is_damage(void **state)
{
    (void)state;
    remove_count_at_both();
    sk_row row = row_of(&a, SK_TABLE_KEY, "n", NULL);
    sk_row_name name = row_name(&a, SK_TABLE_KEY, "n", NULL);
    row.entries[0].count.reset_by.seq += 1000;
    store_row(&a, &name, &row);
    assert_string_equal(audited(&a), "damaged");
    assert_false(a.db.audit.beyond);
    repair(&b, &a);
    assert_string_equal(audited(&a), "verified");
    assert_string_equal(text_of_row(&a, SK_TABLE_KEY, "n", NULL), "1:1 c 5-5@1 from 1+");
}

/* A row was lost, and so its dead count's record went as that of a row that has none. A repair brings both again. */
static void dead_counts_that_a_repair_brings_are_stripped_one_day(void **state)
{
    (void)state;
    reset_count_at_both();
    damage(&a, "n", NULL);
    sk_db_forget(&a.db, &a.db.vv, &a.db.vv);
    commit_unchecked(&a);
    assert_int_equal(history_in(&a), 0);
    b_repairs_a();
    assert_true(a.db.digest == b.db.digest);
    assert_int_equal(row_of(&a, SK_TABLE_KEY, "n", NULL).count, 2);
    for (int i = 0; i < 5; i++) (void)sk_db_revisit(&a.db, &a.db.vv, 100);
    assert_int_equal(row_of(&a, SK_TABLE_KEY, "n", NULL).count, 1);
    assert_int_equal(history_in(&a), 0);
}

/* What was kept of the history speaks of a row that is not there just now. */
static void old_history_stays_until_the_repair(void **state)
{
    (void)state;
    static const sk_vv nowhere;
    reset_count_at_both();
    sk_db_forget(&a.db, &a.db.vv, &nowhere);
    commit(&a);
    assert_int_equal(history_in(&a), 1);
    damage(&a, "n", NULL);
    assert_string_equal(audited(&a), "damaged");
    a.db.revisit = true;
    for (int i = 0; i < 5; i++) assert_int_equal(sk_db_revisit(&a.db, &a.db.vv, 100), 0);
    assert_int_equal(history_in(&a), 1);
    assert_true(a.db.revisit);
    b_repairs_a();
    for (int i = 0; i < 5; i++) (void)sk_db_revisit(&a.db, &a.db.vv, 100);
    assert_int_equal(history_in(&a), 0);
    assert_int_equal(row_of(&a, SK_TABLE_KEY, "n", NULL).count, 1);
}

static void a_repair_is_asked_of_a_sound_database_that_has_enough(void **state)
{
    (void)state;
    fill_both();
    txn(&a, put(&a, SK_TABLE_KEY, "string", NULL, "newer"));
    commit(&a);
    sk_db_forget(&a.db, &a.db.vv, &a.db.vv); /* what we removed above its vector would not be known */
    damage(&a, "count", "\xc1");
    assert_string_equal(audited(&a), "damaged");
    assert_int_equal(sk_db_reload(&b.db), 0);
    transfer early = transfer_start_as(&b, &a, SK_FOR_REPAIR);
    assert_int_equal(early.begun, SK_E_BUSY); /* its own audit is not done */
    transfer_stop(&early);
    assert_string_equal(audited(&b), "verified");
    transfer behind = transfer_start_as(&b, &a, SK_FOR_REPAIR);
    assert_int_equal(behind.begun, SK_E_GAP);
    transfer_stop(&behind);
    damage(&b, "string", NULL);
    assert_string_equal(audited(&b), "damaged");
    transfer damaged = transfer_start_as(&b, &a, SK_FOR_REPAIR);
    assert_int_equal(damaged.begun, SK_E_CORRUPT);
    transfer_stop(&damaged);
}

static void nothing_is_forgotten_in_a_repair(void **state)
{
    (void)state;
    fill_both();
    damage(&a, "count", "\xc1");
    assert_string_equal(audited(&a), "damaged");
    assert_string_equal(audited(&b), "verified");
    transfer whole = transfer_start_as(&b, &a, SK_FOR_REPAIR);
    txn(&a, put(&a, SK_TABLE_KEY, "string", NULL, "newer"));
    sk_vv floor = {0};
    sk_vv_copy(&floor, &a.db.floor);
    sk_db_forget(&a.db, &a.db.vv, &a.db.vv);
    assert_true(sk_vv_equal(&floor, &a.db.floor));
    sk_vv_free(&floor);
    transfer_finish(&whole);
    assert_int_equal(sk_db_touch_all(&a.db), 0);
    commit_unchecked(&a);
    assert_string_equal(audited(&a), "verified");
    assert_true(sk_bytes_equal(row_of(&a, SK_TABLE_KEY, "string", NULL).entries[0].value, sk_bytes_str("newer")));
}

static void lost_rows_are_repaired_too(void **state)
{
    (void)state;
    sk_bytes key, value;
    fill(&b);
    transfer_all(&b, &a);
    commit_unchecked(&a);
    assert_true(pair(&a, SK_CF_STAGED, 1, &key, &value));
    flip(&a, SK_CF_STAGED, key, value, key.len, 1);
    commit_unchecked(&a);
    assert_int_equal(sk_db_touch_all(&a.db), 0);
    commit_unchecked(&a);
    b_repairs_a();
    assert_true(a.db.digest == b.db.digest);
}

/* One row that only we have changed last is wrong in one byte, and so are others, which the sender makes good first. */
static void among_others_a_row_that_only_we_know_is_corrected(void **state)
{
    (void)state;
    fill_both();
    txn(&a, put(&a, SK_TABLE_KEY, "string", NULL, "newer"));
    commit(&a);
    sk_digest digest = a.db.digest;
    sk_row_name name = row_name(&a, SK_TABLE_KEY, "string", NULL);
    sk_bytes value = stored_row(&a, name.raw);
    const uint8_t *written = memmem(value.data, value.len, "newer", 5);
    assert_non_null(written);
    flip(&a, SK_CF_ROW, name.raw, value, name.raw.len + (size_t)(written - value.data), 0x5a);
    damage(&a, "count", "\xc1");
    damage(&a, "made up", "\xc1");
    for (uint32_t tries = 0; tries < 3 && strcmp(audited(&a), "damaged") == 0; tries++) repair(&b, &a);
    assert_string_equal(audited(&a), "verified");
    assert_true(a.db.digest == digest);
    assert_true(sk_bytes_equal(row_of(&a, SK_TABLE_KEY, "string", NULL).entries[0].value, sk_bytes_str("newer")));
    sk_db_check(&a.db);
}

/* Its record went, as that of a row that is not there, while it could not be found. */
static void of_a_corrected_row_a_record_speaks_again(void **state)
{
    (void)state;
    for (size_t in_key = 0; in_key < 2; in_key++) {
        if (in_key) begin_anew();
        fill_both();
        reset_count_of_b();
        commit(&b);
        sk_row_name name = row_name(&a, SK_TABLE_KEY, "n", NULL);
        assert_true(sk_db_history_speaks(&a.db, name.raw));
        history_into_singles(&a);
        sk_db_history_single(&a.db, (sk_dot){a.db.own, sk_vv_get(&a.db.vv, a.db.own)}, name.raw,
                             in_key ? 0 : SK_HISTORY_REMOVES);
        flip(&a, SK_CF_ROW, name.raw, stored_row(&a, name.raw), name.raw.len - in_key, 4);
        b_repairs_a();
        assert_true(sk_db_history_speaks(&a.db, name.raw));
    }
}

/* That it is not there does not say that it was removed: nothing that only removes was done to it. */
static void a_missing_row_is_not_taken_for_a_removed_one(void **state)
{
    (void)state;
    fill_both();
    txn(&a, put(&a, SK_TABLE_KEY, "string", NULL, "newer"));
    txn(&a, take_away(&a, SK_TABLE_HASH, "hash", "field"));
    commit(&a);
    damage(&a, "string", NULL);
    assert_string_equal(audited(&a), "damaged");
    repair(&b, &a);
    assert_int_equal(a.db.audit.in_vain, 1);
    assert_string_equal(audited(&a), "damaged");
    assert_true(a.db.audit.lost);
    assert_int_equal(row_of(&a, SK_TABLE_HASH, "hash", "field").count, 0);
}

/* Whoever could bear them out is not there: it is noted, and the next start refuses. Until then it asks, and forgets nothing. */
static void repairs_in_vain_are_noted(void **state)
{
    (void)state;
    for (int asks = 0; asks < 2; asks++) {
        if (asks) begin_anew();
        fill_both();
        txn(&a, expire(&a, "count", 7000));
        commit(&a);
        sk_row row = row_of(&a, SK_TABLE_KEY, "count", NULL);
        sk_row_name name = row_name(&a, SK_TABLE_KEY, "count", NULL);
        sk_bytes sound = stored_row(&a, name.raw);
        row.entries[0].count.total.whole = 1000000;
        store_row(&a, &name, &row);
        assert_string_equal(audited(&a), "damaged");
        sk_vv floor = {0};
        sk_vv_copy(&floor, &a.db.floor);
        for (uint32_t i = 0; i < SK_AUDIT_PATIENCE; i++) {
            assert_false(a.db.audit.unproven);
            if (asks)
                sk_audit_not_repaired(&a.db);
            else
                repair(&b, &a);
            go_through(&a);
            sk_db_forget(&a.db, &a.db.vv, &a.db.vv);
            assert_true(sk_vv_equal(&a.db.floor, &floor));
        }
        sk_vv_free(&floor);
        assert_true(a.db.audit.unproven);
        assert_true(sk_audit_wants_repair(&a.db)); /* all the same */
        sk_db_close(&a.db);
        assert_int_equal(open_as(&a, "a", "test", "1", 1), SK_E_CORRUPT);
        sk_store_put(a.store, SK_CF_ROW, name.raw, sound); /* restored: it is looked through */
        bool repair_failed;
        int status = open_as(&a, "a", "test", "1", 1);
        if (!asks) { /* a repair was not through */
            assert_int_equal(status, SK_E_CORRUPT);
            continue;
        }
        assert_int_equal(status, 0);
        assert_string_equal(sk_audit_text(&a.db), "verified");
        assert_int_equal(sk_audit_noted(&a.db, &repair_failed), 0);
    }
}

/* Of a row that b finds nothing wrong with, what only a had put is missing: damage took it, and not b's write, which had not seen it. */
static void what_only_we_had_put_is_missed(void **state)
{
    (void)state;
    fill_both();
    txn(&a, put(&a, SK_TABLE_KEY, "k", NULL, "ours"));
    commit(&a);
    damage(&a, "k", NULL);
    txn(&b, put(&b, SK_TABLE_KEY, "k", NULL, "theirs"));
    apply_last(&b, &a);
    commit(&b);
    commit_unchecked(&a);
    assert_string_equal(audited(&a), "damaged");
    repair(&b, &a);
    assert_int_equal(a.db.audit.in_vain, 1);
    assert_string_equal(audited(&a), "damaged");
    assert_int_equal(row_of(&a, SK_TABLE_KEY, "k", NULL).count, 1);
}

/* A row of nothing but a dead count, put under another key by damage: no digest tells of it, but it goes one day. */
static void dead_counts_that_damage_moved_are_stripped_one_day(void **state)
{
    (void)state;
    fill_both();
    reset_count_at_both();
    sk_row row = row_of(&a, SK_TABLE_KEY, "n", NULL);
    for (uint32_t i = 0; i < row.count; i++)
        if (!sk_entry_live(&row.entries[i])) row.entries[0] = row.entries[i];
    row.count = 1;
    sk_row_name ghost = row_name(&a, SK_TABLE_KEY, "ghost", NULL);
    store_row(&a, &ghost, &row);
    damage(&a, "string", NULL);
    b_repairs_a();
    assert_true(sk_db_history_speaks(&a.db, ghost.raw));
    sk_db_forget(&a.db, &a.db.vv, &a.db.vv);
    commit_unchecked(&a);
    assert_int_equal(row_of(&a, SK_TABLE_KEY, "ghost", NULL).count, 0);
}

/* Nobody has watched the disk since: what a repair brought before the stop is not taken for what was committed. */
static void a_repair_settles_nothing_beyond_a_stop(void **state)
{
    (void)state;
    fill_both();
    damage(&a, "string", NULL);
    assert_string_equal(audited(&a), "damaged");
    repair(&b, &a);
    assert_true(a.db.audit.adopt);
    database copy = {.store = sk_memory_copy(a.store)};
    assert_int_equal(open_as(&copy, "a", "test", "1", 1), 0);
    assert_false(copy.db.audit.adopt);
    go_through(&copy);
    assert_true(sk_audit_wants_repair(&copy.db));
    database_end(&copy);
}

/* A value under a dot that nobody has written yet: a write that comes in, or what a transfer brings, takes it for nothing, and not
 * for one beside it. */
static void a_write_over_nonsense_stands_alone(void **state)
{
    (void)state;
    for (int transferred = 0; transferred < 2; transferred++) {
        if (transferred) begin_anew();
        fill_both();
        move_dot_of("string", 1000);
        assert_string_equal(audited(&a), "damaged");
        txn(&b, put(&b, SK_TABLE_KEY, "string", NULL, "new"));
        commit(&b);
        if (transferred)
            transfer_all(&b, &a);
        else
            apply_last(&b, &a);
        assert_int_equal(sk_db_touch_all(&a.db), 0);
        commit_unchecked(&a);
        sk_row row = row_of(&a, SK_TABLE_KEY, "string", NULL);
        assert_int_equal(row.count, 1);
        assert_true(sk_bytes_equal(row.entries[0].value, sk_bytes_str("new")));
        sk_digest sum = a.db.sums.sum;
        assert_string_equal(audited(&a), "damaged");
        assert_true(a.db.sums.sum == sum);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(every_damaged_row_is_repaired),
        TEST(rows_come_and_go_in_a_repair),
        TEST(what_the_sender_has_removed_is_news),
        TEST(what_is_newer_here_survives_a_repair),
        TEST(a_row_in_doubt_waits_for_the_next_repair),
        TEST(what_is_new_in_a_row_in_doubt_comes_with_the_repair),
        TEST(what_is_new_is_added_up),
        TEST(what_the_sender_has_removed_meanwhile_was_there),
        TEST(what_our_history_does_not_know_of_goes),
        TEST(damaged_dead_counts_that_make_no_sense_are_repaired),
        TEST(a_dead_count_that_nobody_else_has_is_damage),
        TEST(dead_counts_that_a_repair_brings_are_stripped_one_day),
        TEST(old_history_stays_until_the_repair),
        TEST(a_repair_is_asked_of_a_sound_database_that_has_enough),
        TEST(nothing_is_forgotten_in_a_repair),
        TEST(lost_rows_are_repaired_too),
        TEST(among_others_a_row_that_only_we_know_is_corrected),
        TEST(of_a_corrected_row_a_record_speaks_again),
        TEST(a_missing_row_is_not_taken_for_a_removed_one),
        TEST(repairs_in_vain_are_noted),
        TEST(what_only_we_had_put_is_missed),
        TEST(a_reset_that_never_was_is_damage),
        TEST(dead_counts_that_damage_moved_are_stripped_one_day),
        TEST(a_repair_settles_nothing_beyond_a_stop),
        TEST(a_write_over_nonsense_stands_alone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
