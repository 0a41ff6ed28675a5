/* When the keys whose deadline has passed are removed, and by whom. */
#include "tests/unit/replica_harness.h"

enum { KEYS = 500, FOREIGN_MS = 1000 /* as replica_harness.h sets it */ };

static void set_expiring(region *self, const char *prefix, unsigned ms)
{
    for (int i = 0; i < KEYS; i++) {
        char request[64];
        snprintf(request, sizeof request, "SET %s%d v PX %u", prefix, i, ms);
        expect(self, request, "+OK");
    }
}

/* Much that expires at once goes in one round after the other; each is small, and waits for the disk. */
static void a_full_round_is_followed_by_another(void **state)
{
    region *eu = *state;
    set_expiring(eu, "k", 50);
    expect(eu, "SET stays v", "+OK");
    region_turn(eu, 100);
    int rounds = 1;
    for (uint64_t left = eu->replica->db.keys; left > 1; rounds++) {
        assert_true(sk_replica_next_ms(eu->replica) <= eu->replica->now_ms);
        region_turn(eu, 0);
        assert_in_range(left - eu->replica->db.keys, 1, 100);
        left = eu->replica->db.keys;
    }
    assert_true(rounds > 5);
    assert_int_equal(eu->replica->stat_expired, KEYS);
    region_turn(eu, 0);
    assert_true(sk_replica_next_ms(eu->replica) > eu->replica->now_ms);
}

/* A disk that does not keep up is not given more to do. */
static void a_round_waits_for_the_one_before(void **state)
{
    region *eu = *state;
    set_expiring(eu, "k", 50);
    region_turn(eu, 0);
    sk_replica_time(eu->replica, eu->replica->now_ms + 60, eu->replica->wall_ms + 60);
    sk_replica_turn(eu->replica);
    sk_replica_time(eu->replica, eu->replica->now_ms + 60, eu->replica->wall_ms + 60);
    sk_replica_turn(eu->replica);
    uint64_t left = eu->replica->db.keys;
    assert_in_range(left, 1, KEYS - 1);
    for (int i = 0; i < 10; i++) {
        sk_replica_time(eu->replica, eu->replica->now_ms + 200, eu->replica->wall_ms + 200);
        sk_replica_turn(eu->replica);
        sk_replica_reap(eu->replica);
        assert_int_equal(eu->replica->db.keys, left);
        assert_true(sk_replica_next_ms(eu->replica) > eu->replica->now_ms);
    }
    region_turn(eu, 0);
    region_turn(eu, 0);
    assert_true(eu->replica->db.keys < left);
}

/* What another region is to remove does not keep a region from removing its own; and goes when that one does not come. */
static void keys_of_others_are_passed_over(void **state)
{
    (void)state;
    region eu, us;
    regions_open(&eu, &us);
    set_expiring(&us, "theirs", 2000);
    regions_meet(&eu, &us);
    set_expiring(&eu, "ours", 2000);
    region_turn(&eu, 2100);
    for (int i = 0; i < 20; i++) region_turn(&eu, 0);
    assert_int_equal(eu.replica->stat_expired, KEYS);
    for (int i = 0; i < 5; i++) region_turn(&eu, 100);
    assert_int_equal(eu.replica->stat_expired, KEYS);
    region_turn(&eu, FOREIGN_MS);
    for (int i = 0; i < 20; i++) region_turn(&eu, 0);
    assert_int_equal(eu.replica->stat_expired, 2 * KEYS);
    assert_int_equal(eu.replica->db.keys, 0);
    region_close(&eu);
    region_close(&us);
}

/* What a round has passed over may be set anew, with a deadline that lies behind. */
static void a_deadline_in_the_past_is_found(void **state)
{
    region *eu = *state;
    set_expiring(eu, "k", 50);
    region_turn(eu, 5000);
    for (int i = 0; i < 20; i++) region_turn(eu, 0);
    assert_int_equal(eu->replica->db.keys, 0);
    expect(eu, "SET late v PXAT 1000", "+OK");
    char request[64];
    snprintf(request, sizeof request, "SET later v PXAT %llu", (unsigned long long)eu->replica->wall_ms - 10);
    expect(eu, request, "+OK");
    expect(eu, "DBSIZE", ":2");
    region_turn(eu, 100);
    expect(eu, "DBSIZE", ":1");
    region_turn(eu, FOREIGN_MS);
    expect(eu, "DBSIZE", ":0");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define ONE(test) cmocka_unit_test_setup_teardown(test, open_one, close_one)
        ONE(a_full_round_is_followed_by_another),
        ONE(a_round_waits_for_the_one_before),
        cmocka_unit_test(keys_of_others_are_passed_over),
        ONE(a_deadline_in_the_past_is_found),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
