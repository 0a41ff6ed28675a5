/* How much history is kept, and for whom; who becomes a laggard when, and what becomes of it. */
#include "tests/history_cursor.h"
#include "tests/unit/replica_harness.h"

#define HOUR_MS (3600ull * 1000)

static region eu, us;

static int start(void **state)
{
    (void)state;
    regions_open(&eu, &us);
    return 0;
}

static int stop(void **state)
{
    (void)state;
    region_close(&eu);
    region_close(&us);
    return 0;
}

static sk_retention *of(region *self) { return &self->replica->retention; }

static uint32_t peer_of(region *self) { return (uint32_t)sk_replica_peer(self->replica, sk_bytes_str(self == &eu ? "us" : "eu")); }

static bool is_laggard(region *self) { return sk_engine_peer_status(self->replica->engine, peer_of(self)).laggard; }

/* Time in small turns. */
static void passes(region *self, uint64_t ms)
{
    for (uint64_t at = 0; at < ms; at += 200) region_turn(self, 200);
}

/* The start is over. */
static void settled(region *self) { passes(self, 4 * sk_engine_limits_default().silence_ms + 1000); }

static uint32_t in_history(region *self)
{
    uint32_t count = 0;
    sk_history_entry entry;
    history_cursor cursor = history_cursor_begin(self->store, &self->replica->db.floor);
    while (history_cursor_entry(&cursor, &entry)) count++;
    return count;
}

static void write_keys(region *self, int from, int to)
{
    char request[64];
    for (int i = from; i < to; i++) {
        snprintf(request, sizeof request, "SET key%d %d", i, i);
        expect(self, request, "+OK");
    }
}

static void restart(region *self, const char *name, const char *peer)
{
    static const char *peers[1];
    peers[0] = peer;
    sk_replica_free(self->replica);
    assert_int_equal(sk_memory_sync(self->disk, UINT64_MAX), 0);
    region_boot(self, name, peers, NULL);
}

static void it_is_told_what_is_kept_for_whom(void **state)
{
    (void)state;
    of(&eu)->cap = (sk_retention_cap){.bytes = 1000};
    assert_int_equal(sk_retention_holder(eu.replica), SK_RETENTION_PEERS);
    write_keys(&eu, 0, 10);
    passes(&eu, 1000);
    sk_retained kept = sk_retention_all(eu.replica);
    assert_int_equal(kept.bytes, 12 + 1 + 10 * (1 + 1 + 5) + 4); /* a page of ten */
    assert_int_equal(sk_retention_percent(of(&eu), kept), 8);
    assert_int_equal(sk_retention_holder(eu.replica), peer_of(&eu));
    assert_int_equal(sk_retention_of(eu.replica, peer_of(&eu)).bytes, kept.bytes);
    assert_non_null(strstr(ask(&eu, "INFO replication"), "history_bytes:87 history_bytes_max:1000 "));
    assert_non_null(strstr(ask(&eu, "INFO replication"), "history_percent:8 history_held_by:us "));
    regions_meet(&eu, &us);
    passes(&eu, 1000);
    assert_int_equal(sk_retention_all(eu.replica).bytes, 0);
    assert_int_equal(sk_retention_holder(eu.replica), SK_RETENTION_PEERS);
}

static void too_many_bytes_make_a_laggard(void **state)
{
    (void)state;
    of(&eu)->cap = (sk_retention_cap){.bytes = 450};
    settled(&eu);
    write_keys(&eu, 0, 50); /* 7 or 8 bytes each */
    passes(&eu, 1000);
    assert_false(is_laggard(&eu));
    assert_int_equal(in_history(&eu), 50);
    write_keys(&eu, 50, 60);
    passes(&eu, 1000);
    assert_true(is_laggard(&eu));
    assert_int_equal(in_history(&eu), 0);
    assert_int_equal(of(&eu)->crossings, 1);
    assert_true(of(&eu)->lost[peer_of(&eu)].bytes > 400);
    assert_int_equal(sk_retention_holder(eu.replica), SK_RETENTION_PEERS);
    expect_begins(&eu, "REGION LAG", "*1 *28 $6 region $2 us ");
    assert_non_null(strstr(ask(&eu, "REGION LAG"), "$7 laggard :1"));
    assert_non_null(strstr(ask(&eu, "REGION LIST"), "it lacks more than history is kept for"));
    write_keys(&eu, 60, 200); /* from now on nothing is kept for it */
    passes(&eu, 1000);
    assert_int_equal(in_history(&eu), 0);
    assert_int_equal(of(&eu)->crossings, 1);
}

static void nobody_is_a_laggard_right_after_the_start(void **state)
{
    (void)state;
    of(&eu)->cap = (sk_retention_cap){.bytes = 100};
    write_keys(&eu, 0, 50);
    passes(&eu, 4 * sk_engine_limits_default().silence_ms - 1000);
    assert_false(is_laggard(&eu));
    passes(&eu, 2000);
    assert_true(is_laggard(&eu));
}

static void without_a_cap_nobody_ever_is(void **state)
{
    (void)state;
    write_keys(&eu, 0, 100);
    for (int i = 0; i < 100; i++) region_turn(&eu, 24 * HOUR_MS);
    passes(&eu, 1000);
    assert_false(is_laggard(&eu));
    assert_int_equal(in_history(&eu), 100);
}

static void a_cap_counts_from_when_it_is_set(void **state)
{
    (void)state;
    write_keys(&eu, 0, 100);
    settled(&eu);
    assert_false(is_laggard(&eu));
    of(&eu)->cap = (sk_retention_cap){.bytes = 100};
    passes(&eu, 1000);
    assert_true(is_laggard(&eu));
}

/* A repair goes by the history of what others lack. */
static void nobody_becomes_one_while_rows_are_damaged(void **state)
{
    (void)state;
    write_keys(&eu, 0, 100);
    settled(&eu);
    eu.replica->db.audit.lost = true;
    of(&eu)->cap = (sk_retention_cap){.bytes = 100};
    passes(&eu, 10 * 1000);
    assert_false(is_laggard(&eu));
    eu.replica->db.audit.lost = false;
    passes(&eu, 1000);
    assert_true(is_laggard(&eu));
}

static void too_long_makes_a_laggard(void **state)
{
    (void)state;
    of(&eu)->cap = (sk_retention_cap){.age_ms = 24 * HOUR_MS};
    settled(&eu);
    write_keys(&eu, 0, 3);
    passes(&eu, 61000);
    for (int i = 0; i < 23; i++) region_turn(&eu, HOUR_MS);
    passes(&eu, 1000);
    assert_false(is_laggard(&eu));
    assert_in_range(sk_retention_all(eu.replica).age_ms, 23 * HOUR_MS - 60000, 23 * HOUR_MS + 61000);
    restart(&eu, "eu", "us"); /* on the wall clock it was long ago, too: nothing is younger for it */
    of(&eu)->cap = (sk_retention_cap){.age_ms = 24 * HOUR_MS};
    sk_replica_time(eu.replica, 2000, WALL_MS + 23 * HOUR_MS + 30000);
    settled(&eu);
    assert_in_range(sk_retention_all(eu.replica).age_ms, 23 * HOUR_MS - 120000, 23 * HOUR_MS + 120000);
    assert_false(is_laggard(&eu));
    for (int i = 0; i < 2; i++) region_turn(&eu, HOUR_MS);
    passes(&eu, 1000);
    assert_true(is_laggard(&eu));
    assert_int_equal(in_history(&eu), 0);
}

/* Years of it: the marks stay few, and the age of the oldest is as true as ever. */
static void marks_are_few(void **state)
{
    (void)state;
    passes(&eu, 1000);
    uint64_t began = eu.replica->wall_ms;
    for (int i = 0; i < 5000; i++) {
        if (i % 5 == 0) expect(&eu, "SET k x", "+OK");
        region_turn(&eu, HOUR_MS);
        assert_true(of(&eu)->mark_count <= SK_RETENTION_MARKS);
        for (uint32_t m = 1; m < of(&eu)->mark_count; m++) {
            assert_true(of(&eu)->marks[m].wall_ms > of(&eu)->marks[m - 1].wall_ms);
            assert_true(sk_vv_at_most(&of(&eu)->marks[m - 1].vv, &of(&eu)->marks[m].vv));
        }
    }
    assert_int_equal(of(&eu)->mark_count, SK_RETENTION_MARKS);
    uint64_t age = eu.replica->wall_ms - began;
    assert_in_range(sk_retention_all(eu.replica).age_ms, age - 2 * HOUR_MS, age);
    for (uint32_t m = 2; m < of(&eu)->mark_count; m++) { /* gaps are a small part of an age */
        uint64_t from = of(&eu)->marks[m - 1].wall_ms, gap = of(&eu)->marks[m].wall_ms - from;
        assert_true(gap <= 5 * HOUR_MS || gap <= (eu.replica->wall_ms - from) / 4);
    }
    sk_retention_mark before[SK_RETENTION_MARKS];
    uint32_t count = of(&eu)->mark_count;
    memcpy(before, of(&eu)->marks, sizeof before);
    uint64_t last = before[count - 1].wall_ms;
    restart(&eu, "eu", "us");
    assert_int_equal(of(&eu)->mark_count, count);
    assert_int_equal(of(&eu)->marks[count - 1].wall_ms, last);
}

static void a_clock_that_goes_back_takes_its_marks_with_it(void **state)
{
    (void)state;
    write_keys(&eu, 0, 3);
    passes(&eu, 1000);
    region_turn(&eu, 1000 * HOUR_MS);
    write_keys(&eu, 3, 6);
    passes(&eu, 1000);
    assert_int_equal(of(&eu)->mark_count, 2);
    sk_replica_time(eu.replica, eu.replica->now_ms + 1000, WALL_MS + HOUR_MS);
    sk_replica_turn(eu.replica);
    assert_true(of(&eu)->marks[of(&eu)->mark_count - 1].wall_ms <= WALL_MS + HOUR_MS);
    assert_in_range(sk_retention_all(eu.replica).age_ms, HOUR_MS - 60000, HOUR_MS);
}

/* us is away, and a laggard; it is reconciled, and counts again. */
static void make_laggard(region *self)
{
    of(self)->cap = (sk_retention_cap){.bytes = 500};
    settled(self);
    write_keys(self, 0, 100);
    passes(self, 1000);
    assert_true(is_laggard(self));
    assert_int_equal(in_history(self), 0);
}

static bool is_noted(region *self, const char *name)
{
    char key[64];
    sk_bytes value;
    snprintf(key, sizeof key, "laggard/%s", name);
    return sk_store_get(self->store, SK_CF_META, sk_bytes_str(key), &value, NULL) > 0;
}

static void a_start_goes_on_without_it(void **state)
{
    (void)state;
    make_laggard(&eu);
    assert_true(is_noted(&eu, "us"));
    restart(&eu, "eu", "us");
    assert_true(is_laggard(&eu));
    write_keys(&eu, 100, 110);
    passes(&eu, 1000);
    assert_int_equal(in_history(&eu), 0);
}

static void one_that_is_forgotten_is_noted_no_more(void **state)
{
    (void)state;
    make_laggard(&eu);
    eu.may_fail = true;
    expect(&eu, "REGION FORGET us", "+OK");
    passes(&eu, 1000);
    assert_false(is_noted(&eu, "us"));
}

/* What was removed stays so, what only one has comes over, whoever has forgotten what: one of them, or both. */
static void what_comes_back(bool both)
{
    expect(&eu, "SET both 1", "+OK");
    expect(&eu, "SET seen 1", "+OK");
    expect(&eu, "SADD set x y", ":2");
    expect(&eu, "INCRBY n 10", ":10");
    regions_meet(&eu, &us);
    expect(&us, "DEL seen", ":1");
    expect(&us, "SET own us", "+OK");
    expect(&us, "SADD set z", ":1");
    expect(&us, "INCRBY n 5", ":15");
    expect(&eu, "DEL both", ":1");
    expect(&eu, "SREM set x", ":1");
    expect(&eu, "DEL n", ":1"); /* it has not seen the 5 */
    make_laggard(&eu);
    if (both) make_laggard(&us);
    regions_meet(&eu, &us);
    regions_meet(&eu, &us);
    assert_true(eu.replica->db.digest == us.replica->db.digest);
    for (int i = 0; i < 2; i++) {
        region *at = i ? &us : &eu;
        expect(at, "GET both", "$-1");
        expect(at, "GET seen", "$-1");
        expect(at, "GET own", "$2 us");
        expect(at, "SCARD set", ":2");
        expect(at, "SISMEMBER set x", ":0");
        expect(at, "GET n", "$1 5");
        passes(at, 1000);
        assert_false(is_laggard(at));
        assert_int_equal(in_history(at), 0);
        assert_false(is_noted(at, i ? "eu" : "us"));
    }
    expect(&us, "INCR n", ":6");
    expect(&eu, "INCR n", ":6");
    regions_meet(&eu, &us);
    expect(&eu, "GET n", "$1 7");
    expect(&us, "GET n", "$1 7");
}

static void a_laggard_comes_back(void **state)
{
    (void)state;
    what_comes_back(false);
}

static void two_that_were_laggards_to_each_other_come_back(void **state)
{
    (void)state;
    what_comes_back(true);
}

#define test(name) cmocka_unit_test_setup_teardown(name, start, stop)

int main(void)
{
    const struct CMUnitTest tests[] = {
        test(it_is_told_what_is_kept_for_whom),
        test(too_many_bytes_make_a_laggard),
        test(nobody_is_a_laggard_right_after_the_start),
        test(without_a_cap_nobody_ever_is),
        test(a_cap_counts_from_when_it_is_set),
        test(nobody_becomes_one_while_rows_are_damaged),
        test(too_long_makes_a_laggard),
        test(marks_are_few),
        test(a_clock_that_goes_back_takes_its_marks_with_it),
        test(a_start_goes_on_without_it),
        test(one_that_is_forgotten_is_noted_no_more),
        test(a_laggard_comes_back),
        test(two_that_were_laggards_to_each_other_come_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
