/* Relays, and where a link's cursors stand: who passes on whose transactions, and that each goes over a link once. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "engine_world.h"

static void a_line_relays_each_transaction_once(void **state)
{
    (void)state;
    sk_engine_limits limits = world_limits();
    world *w = world_new(3, &limits);
    set_cut(w, 0, 2, true);
    world_run(w, 100);
    for (int i = 0; i < 100; i++) {
        node_write(&w->nodes[0]);
        node_write(&w->nodes[2]);
        world_run(w, 30);
    }
    world_must_converge(w, 3000);
    assert_int_equal(status_of(w, 0, 1).sent_txns, 100);
    assert_int_equal(status_of(w, 1, 2).sent_txns, 100);
    assert_int_equal(status_of(w, 2, 1).sent_txns, 100);
    assert_int_equal(status_of(w, 1, 0).sent_txns, 100);
    /* In steady state a relay is as fast as the links. */
    node_write(&w->nodes[0]);
    world_run(w, 10);
    assert_true(world_converged(w));
    /* And it ends when there is a link. */
    set_cut(w, 0, 2, false);
    world_run(w, 1000);
    uint64_t relayed = status_of(w, 1, 2).sent_txns;
    write_many(w, 0, 50);
    world_run(w, 2000);
    assert_true(world_converged(w));
    assert_int_equal(status_of(w, 1, 2).sent_txns, relayed);
    assert_int_equal(status_of(w, 2, 1).duplicate_txns, 0);
    world_free(w);
}

static void of_two_relays_one_works(void **state)
{
    (void)state;
    sk_engine_limits limits = world_limits();
    world *w = world_new(4, &limits);
    set_cut(w, 0, 3, true); /* b and c can relay between a and d */
    world_run(w, 1000);
    for (int i = 0; i < 200; i++) {
        node_write(&w->nodes[0]);
        world_run(w, 20);
    }
    world_must_converge(w, 3000);
    assert_int_equal(status_of(w, 1, 3).sent_txns, 200);
    assert_int_equal(status_of(w, 2, 3).sent_txns, 0);
    set_cut(w, 1, 3, true); /* the one that worked is gone */
    for (int i = 0; i < 200; i++) {
        node_write(&w->nodes[0]);
        world_run(w, 20);
    }
    world_must_converge(w, 5000);
    assert_in_range(status_of(w, 2, 3).sent_txns, 200, 230);
    world_free(w);
}

static void a_relay_that_is_not_needed_is_told(void **state)
{
    (void)state;
    sk_engine_limits limits = world_limits();
    world *w = world_new(4, &limits);
    set_cut(w, 0, 3, true);
    w->queues[1][3].stuck = true; /* b would be first; c takes over before its link is closed */
    for (int i = 0; i < 100; i++) {
        node_write(&w->nodes[0]);
        world_run(w, 40);
    }
    assert_true(status_of(w, 2, 3).sent_txns > 0);
    w->queues[1][3].stuck = false; /* both relay now */
    world_run(w, 500);
    uint64_t before = status_of(w, 1, 3).sent_txns + status_of(w, 2, 3).sent_txns;
    for (int i = 0; i < 100; i++) {
        node_write(&w->nodes[0]);
        world_run(w, 40);
    }
    world_must_converge(w, 3000);
    assert_in_range(status_of(w, 1, 3).sent_txns + status_of(w, 2, 3).sent_txns - before, 100, 130);
    world_free(w);
}

/* In a ring a, x, b, c, y first c relays a's to b, then b to c, then again c to b: what has come from c is not sent back. */
static void what_came_over_a_link_does_not_go_back(void **state)
{
    (void)state;
    enum { A, X, B, C, Y };
    sk_engine_limits limits = world_limits();
    world *w = world_new(5, &limits);
    for (uint32_t i = 0; i < 5; i++) set_cut(w, i, (i + 2) % 5, true);
    for (int stage = 0; stage < 3; stage++) {
        bool by_c = stage != 1;
        set_cut(w, X, B, by_c);
        set_cut(w, Y, C, !by_c);
        for (int i = 0; i < 100; i++) {
            node_write(&w->nodes[A]);
            world_run(w, 40);
        }
        world_must_converge(w, 5000);
        assert_true(by_c ? status_of(w, C, B).sent_txns > 0 : status_of(w, B, C).sent_txns > 0);
    }
    assert_int_equal(status_of(w, C, B).duplicate_txns, 0);
    assert_int_equal(status_of(w, B, C).duplicate_txns, 0);
    world_free(w);
}

/* b brings c the writes of a, who is no member any more, and says long afterwards that it has them on disk. When c has more
 * of them, from d, it sends b what came later, and not what came from b. */
static void what_came_over_a_link_does_not_go_back_though_not_acknowledged(void **state)
{
    (void)state;
    enum { A, B, C, D };
    sk_engine_limits limits = world_limits();
    limits.ack_ms = limits.heartbeat_ms = 100000;
    limits.silence_ms = 1000000;
    world *w = world_new(4, &limits);
    for (uint32_t i = 0; i < 4; i++)
        for (uint32_t k = 0; k < i; k++) set_cut(w, i, k, true);
    member_remove(w, B, A);
    member_remove(w, C, A);
    set_cut(w, A, D, false);
    set_cut(w, B, C, false);
    world_run(w, 10);
    write_many(w, A, 10);
    world_run(w, 10);
    set_cut(w, B, D, false);
    world_run(w, 5000);
    assert_int_equal(status_of(w, C, B).received_txns, 10);
    w->queues[D][B].stuck = true;
    write_many(w, A, 10);
    set_cut(w, C, D, false);
    world_run(w, 5000);
    assert_int_equal(status_of(w, B, C).received_txns, 10);
    assert_int_equal(status_of(w, B, C).duplicate_txns, 0);
    world_free(w);
}

/* Who asks again gets what it lacks, and nothing that it has. */
static void what_is_asked_for_again_begins_where_it_was_lost(void **state)
{
    (void)state;
    world *w = world_linked(2);
    write_many(w, 0, 50);
    world_must_converge(w, 1000);
    w->nodes[1].fail_apply = 1;
    write_many(w, 0, 50);
    world_must_converge(w, 3000);
    assert_int_equal(w->nodes[1].fail_apply, 0);
    assert_int_equal(status_of(w, 1, 0).duplicate_txns, 0);
    world_free(w);
}

/* What one link brought and others therefore did not is held, and is lost with that link: the others bring it. */
static void what_was_held_for_a_lost_link_comes_again(void **state)
{
    (void)state;
    sk_engine_limits limits = world_limits();
    world *w = world_new(4, &limits);
    set_cut(w, 0, 2, true);
    node_write(&w->nodes[0]);
    world_must_converge(w, 5000); /* b relays a's to c */
    world_run(w, 1000);
    w->queues[3][2].stuck = true;
    node_write(&w->nodes[3]);
    world_run(w, 10);
    set_cut(w, 0, 3, true); /* so that d cannot help */
    set_cut(w, 1, 3, true);
    set_cut(w, 0, 2, false);
    world_links(w);
    world_settle(w);
    node_write(&w->nodes[0]); /* sees d's, which c lacks */
    world_run(w, 8);
    assert_int_equal(status_of(w, 2, 1).duplicate_txns, 1);
    set_cut(w, 0, 2, true);
    w->queues[3][2].stuck = false;
    world_must_converge(w, 5000);
    world_free(w);
}

static void a_long_line_converges(void **state)
{
    (void)state;
    sk_engine_limits limits = world_limits();
    world *w = world_new(6, &limits);
    for (uint32_t a = 0; a < 6; a++)
        for (uint32_t b = a + 2; b < 6; b++) set_cut(w, a, b, true);
    world_run(w, 100);
    for (uint32_t n = 0; n < 6; n++) write_many(w, n, 20);
    world_must_converge(w, 20000);
    w->checks_stable = true;
    world_run(w, 10000); /* acknowledgements cross the line, too */
    for (uint32_t n = 0; n < 6; n++)
        assert_true(sk_vv_equal(sk_engine_stable(w->nodes[n].engine), &w->nodes[n].now.vv));
    world_free(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_line_relays_each_transaction_once),
        cmocka_unit_test(of_two_relays_one_works),
        cmocka_unit_test(a_relay_that_is_not_needed_is_told),
        cmocka_unit_test(what_came_over_a_link_does_not_go_back),
        cmocka_unit_test(what_came_over_a_link_does_not_go_back_though_not_acknowledged),
        cmocka_unit_test(what_is_asked_for_again_begins_where_it_was_lost),
        cmocka_unit_test(what_was_held_for_a_lost_link_comes_again),
        cmocka_unit_test(a_long_line_converges),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
