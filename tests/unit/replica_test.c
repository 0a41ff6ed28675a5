/* What a replica does of itself, in turns of its loop. */
#include "tests/unit/replica_harness.h"

static void set_keys(region *self, const char *prefix, int count)
{
    for (int i = 0; i < count; i++) {
        char request[64];
        snprintf(request, sizeof request, "SET %s%d v", prefix, i);
        expect(self, request, "+OK");
    }
}

/* Cutting a leaf reads rows in order, and puts that nobody has asked for in order would have to be sorted first. */
static void leaves_are_cut_when_puts_pause(void **state)
{
    (void)state;
    region eu;
    region_open(&eu, "eu", NULL, NULL);
    for (int i = 0; i < 10; i++) region_turn(&eu, 20); /* there is nothing to scan */
    const sk_sums *sums = &eu.replica->db.sums;
    assert_int_equal(sums->state, SK_SUMS_VERIFIED);
    set_keys(&eu, "many", 2 * SK_LEAF_ROWS + 1);
    assert_true(sums->outgrown);
    assert_true(sk_store_unordered(eu.store) > 2 * SK_LEAF_ROWS);
    region_turn(&eu, 20);
    assert_true(sk_replica_next_ms(eu.replica) > eu.replica->now_ms); /* and the loop does not spin for it */
    assert_int_equal(sums->count, 1);
    assert_int_equal(sk_store_unordered(eu.store), 0);
    set_keys(&eu, "few", 10);
    for (int i = 0; i < 10 && sums->outgrown; i++) region_turn(&eu, 20);
    assert_false(sums->outgrown);
    assert_int_equal(sums->count, 2);
    region_close(&eu);
}

/* … four now and then while they do not, or while other commands come. */
static void few_leaves_are_cut_amid_commands(void **state)
{
    (void)state;
    enum { LEAVES = 40, TURNS = 20, TURN_MS = 5 };
    region eu;
    region_open(&eu, "eu", NULL, NULL);
    for (int i = 0; i < 10; i++) region_turn(&eu, 20);
    set_keys(&eu, "many", LEAVES * SK_LEAF_ROWS);
    region_turn(&eu, 20);
    const sk_sums *sums = &eu.replica->db.sums;
    for (int i = 0; i < 3 * TURNS; i++) {
        expect(&eu, i < TURNS ? "SET more v" : "GET more", i < TURNS ? "+OK" : "$1 v");
        region_turn(&eu, TURN_MS);
    }
    assert_in_range(sums->count, 9, 17); /* four in each of two to four cuts, in three tenths of a second */
    for (int i = 0; i < 3 * TURNS; i++) region_turn(&eu, TURN_MS);
    assert_false(sums->outgrown);
    assert_in_range(sums->count, LEAVES - 1, LEAVES);
    region_close(&eu);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(leaves_are_cut_when_puts_pause),
        cmocka_unit_test(few_leaves_are_cut_amid_commands),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
