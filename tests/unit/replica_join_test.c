/* A new region that joins a cluster: what it answers until it has what there is. */
#include "tests/unit/replica_harness.h"

static const char *const eu_peers[] = {"us"}, *const us_peers[] = {"eu"};
static region eu, us;

static int start(void **state)
{
    (void)state;
    region_joins = NULL;
    region_accepts_writes = false;
    region_open(&eu, "eu", eu_peers, NULL);
    expect(&eu, "SET k old", "+OK");
    expect(&eu, "SADD s a b", ":2");
    expect(&eu, "INCRBY n 5", ":5");
    region_turn(&eu, 1);
    region_joins = "eu";
    region_open(&us, "us", us_peers, NULL);
    eu.other = &us;
    us.other = &eu;
    return 0;
}

static int stop(void **state)
{
    (void)state;
    region_joins = NULL;
    region_close(&eu);
    region_close(&us);
    return 0;
}

/* The process ends and starts again, with or without `join` in its configuration. */
static void reboot(const char *joins)
{
    sk_replica_free(us.replica);
    assert_int_equal(sk_memory_sync(us.disk, UINT64_MAX), 0);
    region_joins = joins;
    region_boot(&us, "us", us_peers, NULL);
}

static void reads_and_writes_wait_until_it_is_complete(void **state)
{
    (void)state;
    static const char *const requests[] = {"GET k", "SET k v", "SMEMBERS s", "DIGEST", "SESSION TOKEN", "SCAN 0",
                                           "REGION FORGET eu", "POLICY LIST"};
    for (size_t i = 0; i < sizeof requests / sizeof *requests; i++)
        expect_begins(&us, requests[i], "-LOADING this region joins through eu: there is no link to it yet");
    expect(&us, "PING", "+PONG");
    expect_begins(&us, "REGION LIST", "*2");
    assert_non_null(strstr(ask(&us, "REGION LIST"), "joins through eu"));
    assert_non_null(strstr(ask(&us, "INFO persistence"), "loading:1"));
    regions_meet(&eu, &us);
    expect(&us, "GET k", "$3 old");
    expect(&us, "INCRBY n 1", ":6");
    assert_non_null(strstr(ask(&us, "INFO persistence"), "loading:0"));
    assert_null(strstr(ask(&us, "REGION LIST"), "joins through"));
}

/* What it lacks when the link comes up is the goal: part of it is not enough. */
static void part_of_it_is_not_enough(void **state)
{
    (void)state;
    sk_replica_link_up(eu.replica, 0);
    sk_replica_link_up(us.replica, 0);
    bool seen = false;
    for (int i = 0; i < 40 && us.replica->db.joining; i++) {
        bool complete = sk_vv_at_most(&eu.replica->db.vv, &us.replica->db.vv);
        seen |= us.replica->has_join_goal && !complete;
        if (!complete) expect_begins(&us, "GET k", "-LOADING");
        region_turn(&eu, 5);
        region_turn(&us, 5);
    }
    assert_true(seen);
    assert_false(us.replica->db.joining);
    expect(&us, "SCARD s", ":2");
}

/* Its disk comes back as it was before, and a new link takes the place of the old one, which was never seen down. */
static void what_the_peer_has_lost_is_not_waited_for(void **state)
{
    (void)state;
    sk_store *before = sk_memory_copy(eu.disk);
    expect(&eu, "SET k lost", "+OK");
    region_turn(&eu, 1);
    sk_replica_link_up(eu.replica, 0);
    sk_replica_link_up(us.replica, 0);
    region_turn(&us, 5);
    assert_true(us.replica->has_join_goal);
    assert_true(us.replica->db.joining);
    sk_replica_free(eu.replica);
    sk_store_close(eu.disk);
    eu.disk = eu.store = before;
    sk_buf_reset(&eu.inbox);
    region_joins = NULL;
    region_boot(&eu, "eu", eu_peers, NULL);
    sk_replica_link_up(eu.replica, 0);
    sk_replica_link_up(us.replica, 0);
    for (int i = 0; i < 400 && us.replica->db.joining; i++) {
        region_turn(&eu, 5);
        region_turn(&us, 5);
    }
    expect(&us, "GET k", "$3 old");
}

/* eu has `rows` keys and starts anew: they are not in its ring. */
static void restart_with(int rows)
{
    char request[64];
    region_joins = NULL;
    for (int i = 0; i < rows; i++) {
        snprintf(request, sizeof request, "SET key%d %d", i, i);
        expect(&eu, request, "+OK");
        region_turn(&eu, 1);
    }
    sk_replica_free(eu.replica);
    assert_int_equal(sk_memory_sync(eu.disk, UINT64_MAX), 0);
    region_boot(&eu, "eu", eu_peers, NULL);
    sk_replica_link_up(eu.replica, 0);
    sk_replica_link_up(us.replica, 0);
}

/* By a transfer: also what has come must be in its place first. */
static void what_has_come_is_put_into_place_first(void **state)
{
    (void)state;
    int folding = 0;
    restart_with(2000);
    for (int i = 0; i < 100 && us.replica->db.joining; i++) {
        region_turn(&eu, 5);
        region_turn(&us, 5);
        if (!sk_fold_active(&us.replica->db)) continue;
        folding++;
        expect_begins(&us, "GET key7", "-LOADING this region joins through eu: everything has come");
    }
    assert_true(folding > 1);
    assert_false(us.replica->db.joining);
    expect(&us, "GET key1999", "$4 1999");
    expect(&us, "DBSIZE", ":2003");
}

/* A clock of a node on which every step takes 5 ms. */
static uint64_t slow_clock_us(void *self)
{
    static uint64_t told;
    (void)self;
    return told += 5000;
}

static void putting_into_place_keeps_its_share(void **state)
{
    (void)state;
    int folding = 0;
    sk_engine_limits limits = sk_engine_limits_default();
    limits.transfer_share = 20;
    restart_with(2000);
    us.replica->host.clock_us = slow_clock_us;
    sk_engine_set_limits(us.replica->engine, &limits);
    for (int i = 0; i < 400 && us.replica->db.joining; i++) {
        region_turn(&eu, 5);
        region_turn(&us, 5);
        if (!sk_fold_active(&us.replica->db)) continue;
        folding++;
        assert_true(sk_replica_next_ms(us.replica) <= us.replica->now_ms + 20);
    }
    assert_in_range(folding, 7 * 4, 9 * 5); /* 2003 rows, 256 in a step, 20 ms of rest after each */
    assert_false(us.replica->db.joining);
    expect(&us, "DBSIZE", ":2003");
}

static void a_restart_does_not_make_it_complete(void **state)
{
    (void)state;
    reboot("eu");
    assert_true(us.replica->db.joining);
    expect_begins(&us, "GET k", "-LOADING");
    regions_meet(&eu, &us);
    reboot("eu"); /* complete: it is asked no more */
    assert_false(us.replica->db.joining);
    expect(&us, "GET k", "$3 old");
}

static void who_takes_join_away_goes_on_with_what_there_is(void **state)
{
    (void)state;
    reboot(NULL);
    assert_false(us.replica->db.joining);
    expect(&us, "GET k", "$-1");
    region_turn(&us, 1);
    reboot("eu"); /* it is no new one any more */
    assert_false(us.replica->db.joining);
}

static void writes_may_be_accepted(void **state)
{
    (void)state;
    region_close(&us);
    region_accepts_writes = true;
    region_open(&us, "us", us_peers, NULL);
    eu.other = &us;
    us.other = &eu;
    expect(&us, "INCRBY n 2", ":2");
    expect_begins(&us, "GET n", "-LOADING");
    expect(&us, "MULTI", "+OK");
    expect(&us, "SADD s c", "+QUEUED");
    expect_begins(&us, "GET n", "-LOADING");
    expect_begins(&us, "EXEC", "-EXECABORT");
    expect(&us, "SADD s c", ":1");
    regions_meet(&eu, &us);
    regions_meet(&eu, &us);
    expect(&us, "GET n", "$1 7");
    expect(&eu, "SCARD s", ":3");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(reads_and_writes_wait_until_it_is_complete, start, stop),
        cmocka_unit_test_setup_teardown(part_of_it_is_not_enough, start, stop),
        cmocka_unit_test_setup_teardown(what_the_peer_has_lost_is_not_waited_for, start, stop),
        cmocka_unit_test_setup_teardown(what_has_come_is_put_into_place_first, start, stop),
        cmocka_unit_test_setup_teardown(putting_into_place_keeps_its_share, start, stop),
        cmocka_unit_test_setup_teardown(a_restart_does_not_make_it_complete, start, stop),
        cmocka_unit_test_setup_teardown(who_takes_join_away_goes_on_with_what_there_is, start, stop),
        cmocka_unit_test_setup_teardown(writes_may_be_accepted, start, stop),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
