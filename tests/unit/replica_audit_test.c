/* A region whose disk was damaged while it was down: it finds out, and is repaired by the other. */
#include "gossip/message.h"
#include "node/record.h"
#include "tests/unit/replica_harness.h"

static region eu, us;
static const char *const eu_peers[] = {"us"}, *const us_peers[] = {"eu"};

static int start(void **state)
{
    (void)state;
    regions_open(&eu, &us);
    expect(&eu, "SET k value", "+OK");
    expect(&eu, "INCRBY n 5", ":5");
    expect(&us, "HSET h f 1 g 2", ":2");
    expect(&us, "SADD s a b", ":2");
    regions_meet(&eu, &us);
    return 0;
}

static int end(void **state)
{
    (void)state;
    region_close(&eu);
    region_close(&us);
    return 0;
}

static void stop(region *self)
{
    sk_replica_free(self->replica);
    assert_int_equal(sk_memory_sync(self->disk, UINT64_MAX), 0);
}

static void change(region *self, sk_cf cf, const char *key, const char *value)
{
    if (value)
        sk_store_put(self->disk, cf, sk_bytes_str(key), sk_bytes_str(value));
    else
        sk_store_remove(self->disk, cf, sk_bytes_str(key));
    (void)sk_store_seal(self->disk);
    assert_int_equal(sk_memory_sync(self->disk, UINT64_MAX), 0);
}

static void run(int turns)
{
    for (int i = 0; i < turns; i++) {
        region_turn(&eu, 5);
        region_turn(&us, 5);
    }
}

static void link_and_run(int turns)
{
    sk_replica_link_up(eu.replica, 0);
    sk_replica_link_up(us.replica, 0);
    run(turns);
}

static bool says(region *self, const char *text)
{
    return strstr(ask(self, "INFO persistence"), text) != NULL;
}

static void damaged_rows_come_from_the_other(void **state)
{
    (void)state;
    stop(&eu);
    change(&eu, SK_CF_ROW, "kk", "\xc1");
    change(&eu, SK_CF_ROW, "kn", NULL);
    region_boot(&eu, "eu", eu_peers, NULL);
    for (int i = 0; i < 10; i++) region_turn(&eu, 5);
    assert_true(says(&eu, "audit:damaged"));
    expect_begins(&eu, "GET k", "-");
    expect_begins(&eu, "SET k other", "-");
    expect(&eu, "SET l other", "+OK"); /* others are not concerned */
    for (int i = 0; i < 10; i++) region_turn(&us, 5);
    link_and_run(400);
    assert_true(says(&eu, "audit:verified"));
    assert_true(eu.replica->db.digest == us.replica->db.digest);
    expect(&eu, "GET k", "$5 value");
    expect(&eu, "GET n", "$1 5");
    expect(&us, "GET l", "$5 other");
    expect(&eu, "DBSIZE", ":5");
    sk_db_check(&eu.replica->db);
    const char *audit = ask(&eu, "REGION AUDIT");
    assert_non_null(strstr(audit, "$5 state $8 verified"));
    assert_non_null(strstr(audit, "$7 repairs :1"));
    assert_non_null(strstr(audit, "$5 table $3 key $3 key $1 k $6 member $0  $5 state $7 damaged"));
    assert_non_null(strstr(audit, "$5 table $3 key $3 key $1 k $6 member $0  $5 state $8 repaired"));
    assert_non_null(strstr(audit, "$5 table $3 key $3 key $1 n $6 member $0  $5 state $8 repaired"));
    expect(&eu, "REGION AUDIT START", "+OK");
    assert_non_null(strstr(ask(&eu, "REGION AUDIT"), "$5 state $8 scanning"));
    for (int i = 0; i < 10; i++) region_turn(&eu, 5);
    audit = ask(&eu, "REGION AUDIT");
    assert_non_null(strstr(audit, "$5 state $8 verified"));
    assert_non_null(strstr(audit, "$5 named *0"));
    expect_begins(&eu, "REGION AUDIT STOP", "-ERR syntax");
    expect_begins(&eu, "REGION AUDIT START now", "-ERR syntax");
}

/* What us has written meanwhile does not come over: only that it has. */
static void lose_batches(void)
{
    sk_buf inbox = eu.inbox;
    eu.inbox = (sk_buf){0};
    for (size_t at = 0; at < inbox.len;) {
        size_t len;
        memcpy(&len, inbox.data + at, sizeof len);
        if (inbox.data[at + sizeof len] != SK_MESSAGE_BATCH) sk_buf_append(&eu.inbox, inbox.data + at, sizeof len + len);
        at += sizeof len + len;
    }
    sk_buf_free(&inbox);
}

/* The one that repaired it went away in the middle: what came can't be gone on with, and holds no history back. */
static void a_repair_that_was_cut_holds_nothing_back(void **state)
{
    (void)state;
    expect(&us, "SET unknown here", "+OK");
    stop(&eu);
    change(&eu, SK_CF_ROW, "kk", NULL);
    region_boot(&eu, "eu", eu_peers, NULL);
    for (int i = 0; i < 10; i++) region_turn(&us, 5);
    sk_replica_link_up(eu.replica, 0);
    sk_replica_link_up(us.replica, 0);
    for (int i = 0; i < 1000 && !sk_fold_waits_for_history(&eu.replica->db); i++) {
        region_turn(&us, 5);
        lose_batches();
        region_turn(&eu, 5);
    }
    assert_true(sk_fold_waits_for_history(&eu.replica->db));
    assert_false(sk_vv_at_most(sk_engine_peer_status(eu.replica->engine, 0).acked, &eu.replica->db.vv));
    sk_replica_link_down(eu.replica, 0);
    sk_replica_link_down(us.replica, 0);
    region_turn(&eu, 5);
    assert_false(sk_fold_waits_for_history(&eu.replica->db));
    assert_true(says(&eu, "audit:damaged"));
    sk_buf_reset(&eu.inbox);
    sk_buf_reset(&us.inbox);
    link_and_run(400);
    assert_true(says(&eu, "audit:verified"));
    expect(&eu, "GET k", "$5 value");
    expect(&eu, "GET unknown", "$4 here");
}

/* As many as take the audit some steps. */
static void write_many(void)
{
    enum { KEYS = 12000, EACH = 30 };
    for (int i = 0; i < KEYS; i += EACH) {
        char request[EACH * 10 + 8] = "MSET";
        for (int k = 0; k < EACH; k++) sprintf(request + strlen(request), " k%d v", i + k);
        expect(&eu, request, "+OK");
    }
    link_and_run(400);
    assert_true(eu.replica->db.digest == us.replica->db.digest);
    sk_replica_link_down(eu.replica, 0);
    sk_replica_link_down(us.replica, 0);
}

static void restart(void)
{
    stop(&eu);
    region_boot(&eu, "eu", eu_peers, NULL);
    sk_buf_reset(&eu.inbox);
    sk_buf_reset(&us.inbox);
}

/* With one that us has not seen, and waits for. */
static void write_many_and_restart(void)
{
    write_many();
    expect(&eu, "SET unseen yet", "+OK");
    restart();
    sk_replica_link_up(eu.replica, 0);
    sk_replica_link_up(us.replica, 0);
}

static bool has_come(void)
{
    return strcmp(ask(&us, "EXISTS unseen"), ":1") == 0;
}

/* Nothing is sent out of rows before they were added up… */
static void what_was_not_checked_is_not_sent(void **state)
{
    (void)state;
    write_many_and_restart();
    int turns = 0;
    for (; sk_audit_pending(&eu.replica->db); turns++) {
        assert_false(has_come());
        run(1);
    }
    assert_true(turns > 30);
    for (int i = 0; i < 400 && !has_come(); i++) run(1);
    assert_true(has_come());
    expect(&us, "GET unseen", "$3 yet");
}

/* … unless that takes too long. */
static void what_takes_long_to_check_is_sent(void **state)
{
    (void)state;
    write_many_and_restart();
    for (int second = 0; second < 12; second++) {
        assert_true(second > 9 || !has_come());
        region_turn(&eu, 1000);
        region_turn(&us, 1000);
    }
    assert_true(has_come() && sk_audit_pending(&eu.replica->db));
}

/* Does the audit get on without any time passing? */
static bool hurries(void)
{
    for (int i = 0; i < 1000 && sk_audit_pending(&eu.replica->db); i++) region_turn(&eu, 0);
    return !sk_audit_pending(&eu.replica->db);
}

static void checking_rests_unless_somebody_waits_for_it(void **state)
{
    (void)state;
    write_many();
    restart();
    for (int i = 0; i < 10; i++) region_turn(&eu, 1);
    assert_false(hurries());
    expect(&eu, "SET unseen yet", "+OK");
    region_turn(&eu, 1);
    restart();
    link_and_run(4);
    assert_true(sk_audit_pending(&eu.replica->db) && !has_come());
    assert_true(hurries());
}

/* A repair would go by it. */
static void nothing_is_forgotten_before_all_was_checked(void **state)
{
    (void)state;
    write_many();
    restart();
    expect(&eu, "SET k newer", "+OK");
    link_and_run(4);
    sk_db *db = &eu.replica->db;
    db->revisit = true; /* what is kept below the floor is to be gone through, too */
    int known = 0; /* for so long us has had it, and eu knew */
    for (; sk_audit_pending(db); known += sk_vv_at_most(&db->vv, sk_engine_stable(eu.replica->engine))) {
        assert_false(sk_vv_at_most(&db->vv, &db->floor));
        assert_true(db->revisit);
        run(1);
    }
    assert_true(known > 10);
    run(10);
    assert_true(sk_vv_at_most(&db->vv, &db->floor));
    assert_false(db->revisit);
}

/* Both have damage, of different rows: neither is to be believed. */
static void two_that_are_damaged_do_not_repair_each_other(void **state)
{
    (void)state;
    stop(&eu);
    stop(&us);
    change(&eu, SK_CF_ROW, "kk", NULL);
    change(&us, SK_CF_ROW, "kn", NULL);
    region_boot(&eu, "eu", eu_peers, NULL);
    region_boot(&us, "us", us_peers, NULL);
    link_and_run(400);
    assert_true(says(&eu, "audit:damaged") && says(&us, "audit:damaged"));
    expect(&us, "GET k", "$5 value");
    expect(&eu, "GET n", "$1 5");
}

static void a_peer_gets_a_reconcile_after_damaged_history(void **state)
{
    (void)state;
    expect(&eu, "SET k newer", "+OK");
    expect(&eu, "DEL n", ":1");
    stop(&eu);
    sk_bytes key, value;
    sk_store_iter *iter = sk_store_iterate(eu.disk, NULL, SK_CF_HISTORY, SK_BYTES_NONE, SK_BYTES_NONE);
    assert_int_equal(sk_store_next(eu.disk, iter, &key, &value), 1);
    char damaged[64] = "";
    assert_true(key.len < sizeof damaged);
    memcpy(damaged, key.data, key.len);
    damaged[11] ^= 0x20; /* of a seq that there is not */
    sk_store_put(eu.disk, SK_CF_HISTORY, sk_bytes_of(damaged, key.len), value);
    sk_store_remove(eu.disk, SK_CF_HISTORY, key);
    sk_store_iter_free(eu.disk, iter);
    (void)sk_store_seal(eu.disk);
    region_boot(&eu, "eu", eu_peers, NULL);
    link_and_run(400);
    assert_true(says(&eu, "audit:verified") && says(&eu, "audit_damaged_history:1"));
    expect(&us, "GET k", "$5 newer");
    expect(&us, "GET n", "$-1");
    assert_true(eu.replica->db.digest == us.replica->db.digest);
}

static void damaged_records_refuse_the_start(void **state)
{
    (void)state;
    static const char *const records[] = {"state", "own", "identity", "acked/us"};
    for (size_t i = 0; i < sizeof records / sizeof *records; i++) {
        sk_bytes value;
        region_turn(&eu, 5);
        stop(&eu);
        assert_int_equal(sk_store_get(eu.disk, SK_CF_META, sk_bytes_str(records[i]), &value, NULL), 1);
        uint8_t bytes[512];
        assert_true(value.len < sizeof bytes);
        size_t len = value.len;
        memcpy(bytes, value.data, len);
        bytes[len / 2] ^= 4;
        sk_store_put(eu.disk, SK_CF_META, sk_bytes_str(records[i]), sk_bytes_of(bytes, len));
        eu.may_fail = true;
        eu.replica = NULL;
        region_boot(&eu, "eu", eu_peers, NULL);
        assert_null(eu.replica);
        bytes[len / 2] ^= 4;
        sk_store_put(eu.disk, SK_CF_META, sk_bytes_str(records[i]), sk_bytes_of(bytes, len));
        region_boot(&eu, "eu", eu_peers, NULL);
        assert_non_null(eu.replica);
    }
}

/* What a read of the store met that is needed to go on: reads go on, writes are refused, and the next start looks first. */
static void what_the_store_cannot_read_ends_the_writing(void **state)
{
    (void)state;
    eu.replica->db.failed = SK_E_CORRUPT;
    for (int i = 0; i < 3; i++) region_turn(&eu, 2000);
    assert_int_equal(eu.replica->store_error, SK_E_CORRUPT);
    assert_true(says(&eu, "audit:damaged"));
    expect_begins(&eu, "SET k other", "-MISCONF");
    expect(&eu, "GET k", "$5 value");
    stop(&eu);
    region_boot(&eu, "eu", eu_peers, NULL);
    assert_true(says(&eu, "audit:verified")); /* it was gone through before anything else, and all is well */
    expect(&eu, "SET k other", "+OK");
    region_turn(&eu, 5);
    stop(&eu);
    region_boot(&eu, "eu", eu_peers, NULL);
    assert_true(says(&eu, "audit:scanning"));
}

/* As a mistake of the program would leave it: the row of a string has another value, and the digest is that of it. */
static void drift(region *self, const char *key, const char *value)
{
    sk_db *db = &self->replica->db;
    sk_arena arena = {0};
    sk_row row, old;
    sk_row_name name = sk_row_name_of(&arena, SK_TABLE_KEY, sk_bytes_str(key), SK_BYTES_NONE);
    assert_int_equal(sk_db_row(db, name.raw, &arena, &old), 0);
    assert_int_equal(sk_db_row(db, name.raw, &arena, &row), 0);
    assert_int_equal(row.count, 1);
    row.entries[0].value = sk_bytes_str(value);
    assert_int_equal(sk_db_row_put(db, &name, &old, &row), 0);
    sk_arena_free(&arena);
}

static bool audit_says(region *self, const char *text)
{
    return strstr(ask(self, "REGION AUDIT"), text) != NULL;
}

static void drift_is_told_by_both_and_kept_until_it_is_resolved(void **state)
{
    (void)state;
    link_and_run(20);
    drift(&us, "k", "drifted");
    run(500);
    assert_false(says(&eu, "audit:drift")); /* it may pass */
    run(600);
    region *sides[] = {&eu, &us};
    for (int i = 0; i < 2; i++) {
        assert_true(says(sides[i], "audit:drift"));
        assert_true(says(sides[i], "drift_regions:1") && says(sides[i], "drift_rows:1"));
        assert_true(audit_says(sides[i], "$5 state $5 drift"));
        assert_true(audit_says(sides[i], i ? "$6 region $2 eu $4 ours" : "$6 region $2 us $4 ours"));
        assert_true(audit_says(sides[i], "$5 table $3 key $3 key $1 k $6 member $0  $5 state $11 quarantined"));
    }
    expect(&eu, "GET k", "$5 value");
    expect(&us, "GET k", "$7 drifted");
    expect_begins(&eu, "REGION AUDIT RESOLVE k", "-ERR syntax");
    expect_begins(&eu, "REGION AUDIT RESOLVE k BY us", "-ERR syntax");
    expect_begins(&eu, "REGION AUDIT RESOLVE k FROM eu", "-ERR this is region eu itself");
    expect_begins(&eu, "REGION AUDIT RESOLVE k FROM ap", "-ERR no region of that name");
    expect_begins(&eu, "REGION AUDIT RESOLVE n FROM us", "-ERR no row of this key");
    expect(&eu, "SET l beside", "+OK"); /* the same drift at another vector */
    run(40);
    expect(&us, "REGION AUDIT RESOLVE k FROM eu", "+OK");
    assert_true(audit_says(&us, "$5 state $14 to be resolved"));
    run(1000);
    expect(&us, "GET k", "$5 value");
    for (int i = 0; i < 2; i++) {
        assert_true(says(sides[i], "audit:verified"));
        assert_true(says(sides[i], "drift_regions:0") && says(sides[i], "drift_rows:0"));
    }
    assert_true(eu.replica->db.digest == us.replica->db.digest);
    assert_true(audit_says(&us, "$5 state $8 repaired"));
    sk_db_check(&us.replica->db);
}

/* The names are taken by rows that differ from another region's: when that has said that it agrees, others get them. */
static void names_that_become_free_are_given_to_others(void **state)
{
    (void)state;
    sk_buf record = {0};
    sk_pack_uint(&record, 1);
    sk_pack_bytes(&record, sk_bytes_str("eu:1"));
    sk_pack_uint(&record, 2);
    sk_pack_bytes(&record, sk_bytes_str("eu:1"));
    sk_pack_bool(&record, false);
    stop(&eu);
    sk_record_put(eu.disk, SK_CF_META, sk_bytes_str("quarantine/ap/kother"), &record);
    sk_buf_free(&record);
    region_boot(&eu, "eu", eu_peers, NULL);
    sk_quarantine *quarantine = &eu.replica->db.quarantine;
    quarantine->names_max = 1;
    link_and_run(20);
    drift(&us, "k", "drifted");
    run(1500);
    assert_int_equal(quarantine->count, 1);
    assert_int_equal(quarantine->nameless, 1);
    assert_true(says(&eu, "drift_rows:2") && audit_says(&eu, "$9 not_named :1"));
    expect_begins(&eu, "REGION AUDIT RESOLVE k FROM us", "-ERR no row of this key");
    sk_quarantine_agree(&eu.replica->db, sk_bytes_str("ap"));
    assert_true(says(&eu, "audit:drift"));
    run(1500);
    assert_int_equal(quarantine->nameless, 0);
    expect(&eu, "REGION AUDIT RESOLVE k FROM us", "+OK");
    run(1500);
    expect(&eu, "GET k", "$7 drifted");
    assert_true(says(&eu, "audit:verified") && says(&us, "audit:verified"));
}

static void a_new_write_ends_drift(void **state)
{
    (void)state;
    link_and_run(20);
    drift(&us, "k", "drifted");
    run(1100);
    assert_true(says(&eu, "audit:drift") && says(&us, "audit:drift"));
    stop(&us); /* what it found is on its disk */
    region_boot(&us, "us", us_peers, NULL);
    sk_replica_link_down(eu.replica, 0);
    sk_buf_reset(&eu.inbox);
    for (int i = 0; i < 10; i++) region_turn(&us, 5);
    assert_true(says(&us, "audit:drift"));
    expect(&us, "SET k written", "+OK");
    link_and_run(1100);
    assert_true(says(&eu, "audit:verified") && says(&us, "audit:verified"));
    expect(&eu, "GET k", "$7 written");
    assert_true(eu.replica->db.digest == us.replica->db.digest);
}

/* While rows wait to be folded in, the digest is not that of the vector. */
static void nobody_drifts_while_rows_are_folded_in(void **state)
{
    (void)state;
    enum { KEYS = 1500 }; /* more than are folded in a turn */
    char request[64];
    sk_engine_limits limits = sk_engine_limits_default();
    limits.audit_ms = 0; /* no difference is passed over */
    limits.heartbeat_ms = 1;
    limits.ring_txns_max = 1; /* all comes by a transfer */
    region *both[] = {&eu, &us};
    for (int i = 0; i < 2; i++) {
        stop(both[i]);
        (void)region_start(both[i], i ? "us" : "eu", i ? us_peers : eu_peers, NULL, &limits);
    }
    for (int i = 0; i < KEYS; i++) {
        snprintf(request, sizeof request, "SET many%d %d", i, i);
        expect(&eu, request, "+OK");
    }
    sk_replica_link_up(eu.replica, 0);
    sk_replica_link_up(us.replica, 0);
    int folding = 0;
    for (int i = 0; i < 1000; i++) {
        region_turn(&eu, 2);
        region_turn(&us, 2);
        folding += sk_fold_active(&us.replica->db);
        assert_int_equal(sk_replica_drifts(eu.replica) + sk_replica_drifts(us.replica), 0);
    }
    assert_true(folding > 2);
    assert_true(eu.replica->db.digest == us.replica->db.digest);
    assert_true(says(&eu, "audit:verified") && says(&us, "audit:verified"));
}

/* Before all was gone through the digest may be wrong, as it is when rows are damaged. */
static void digests_are_told_only_when_they_are_right(void **state)
{
    (void)state;
    link_and_run(100);
    expect(&eu, "SET k newer", "+OK");
    expect(&us, "SET l other", "+OK");
    run(10);
    stop(&us);
    change(&us, SK_CF_ROW, "kk", NULL);
    region_boot(&us, "us", us_peers, NULL);
    sk_replica_link_down(eu.replica, 0);
    sk_buf_reset(&eu.inbox);
    link_and_run(1500); /* it is damaged, is repaired, looks again */
    assert_true(says(&eu, "audit:verified") && says(&us, "audit:verified"));
    assert_true(says(&us, "drift_settled:0"));
    assert_true(says(&us, "audit_repairs:1"));
    assert_true(eu.replica->db.digest == us.replica->db.digest);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, start, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(damaged_rows_come_from_the_other),
        TEST(a_repair_that_was_cut_holds_nothing_back),
        TEST(what_was_not_checked_is_not_sent),
        TEST(what_takes_long_to_check_is_sent),
        TEST(checking_rests_unless_somebody_waits_for_it),
        TEST(nothing_is_forgotten_before_all_was_checked),
        TEST(two_that_are_damaged_do_not_repair_each_other),
        TEST(a_peer_gets_a_reconcile_after_damaged_history),
        TEST(damaged_records_refuse_the_start),
        TEST(what_the_store_cannot_read_ends_the_writing),
        TEST(drift_is_told_by_both_and_kept_until_it_is_resolved),
        TEST(names_that_become_free_are_given_to_others),
        TEST(a_new_write_ends_drift),
        TEST(nobody_drifts_while_rows_are_folded_in),
        TEST(digests_are_told_only_when_they_are_right),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
