/* Members that history is not kept for: what goes on without them, what does not, and how they come back. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "engine_world.h"

static void set_laggard(world *w, uint32_t at, uint32_t of)
{
    sk_engine_set_laggard(w->nodes[at].engine, peer_of(w, at, of), w->now_ms, w->wall_ms);
}

static uint64_t own_of(const world *w, uint32_t n, const sk_vv *vv)
{
    return sk_vv_get(vv, w->nodes[n].now.own);
}

/* Three nodes that agree on 5 writes; c is away since, and a and b have written 10 more. */
static world *world_without_c(const sk_engine_limits *limits)
{
    world *w = world_new(3, limits);
    write_many(w, 0, 5);
    world_must_converge(w, 1000);
    world_run(w, 1000);
    set_cut(w, 0, 2, true);
    set_cut(w, 1, 2, true);
    write_many(w, 0, 10);
    world_run(w, 2000);
    assert_int_equal(own_of(w, 0, sk_engine_stable(w->nodes[0].engine)), 5);
    return w;
}

static void history_goes_on_without_a_laggard_and_nothing_else_does(void **state)
{
    (void)state;
    sk_engine_limits limits = world_limits();
    world *w = world_without_c(&limits);
    const sk_engine *a = w->nodes[0].engine;
    set_laggard(w, 0, 2);
    world_run(w, 1000);
    assert_int_equal(own_of(w, 0, sk_engine_stable(a)), 15);
    assert_int_equal(own_of(w, 0, sk_engine_everywhere(a)), 5);
    assert_true(status_of(w, 0, 2).laggard);
    write_many(w, 0, 3); /* and so it goes on */
    world_run(w, 1000);
    assert_int_equal(own_of(w, 0, sk_engine_stable(a)), 18);
    assert_int_equal(own_of(w, 0, sk_engine_everywhere(a)), 5);
    assert_int_equal(own_of(w, 1, sk_engine_stable(w->nodes[1].engine)), 0); /* its own decision */
    world_free(w);
}

static void history_still_waits_for_those_that_are_none(void **state)
{
    (void)state;
    sk_engine_limits limits = world_limits();
    world *w = world_without_c(&limits);
    set_cut(w, 0, 1, true);
    write_many(w, 0, 10);
    set_laggard(w, 0, 2);
    world_run(w, 1000);
    assert_int_equal(own_of(w, 0, sk_engine_stable(w->nodes[0].engine)), 15); /* what b has */
    set_laggard(w, 0, 1);
    world_run(w, 1000);
    assert_int_equal(own_of(w, 0, sk_engine_stable(w->nodes[0].engine)), 25);
    world_free(w);
}

/* The ring is too small for what it lacks. */
static void a_laggard_is_reconciled_and_counts_again(void **state)
{
    (void)state;
    sk_engine_limits limits = world_limits();
    limits.ring_txns_max = 3;
    world *w = world_without_c(&limits);
    set_laggard(w, 0, 2);
    set_laggard(w, 1, 2);
    world_run(w, 1000);
    write_many(w, 2, 20); /* of its own, meanwhile */
    world_run(w, 100);
    set_cut(w, 0, 2, false);
    set_cut(w, 1, 2, false);
    world_must_converge(w, 5000);
    world_run(w, 1000);
    assert_true(w->nodes[2].reconciled > 0);
    assert_false(status_of(w, 0, 2).laggard);
    assert_false(status_of(w, 1, 2).laggard);
    for (uint32_t n = 0; n < 3; n++) {
        assert_true(sk_vv_equal(sk_engine_stable(w->nodes[n].engine), &w->nodes[n].now.vv));
        assert_true(sk_vv_equal(sk_engine_everywhere(w->nodes[n].engine), &w->nodes[n].now.vv));
    }
    set_cut(w, 0, 2, true); /* it is waited for again */
    set_cut(w, 1, 2, true);
    uint64_t before = own_of(w, 0, sk_engine_stable(w->nodes[0].engine));
    write_many(w, 0, 10);
    world_run(w, 2000);
    assert_int_equal(own_of(w, 0, sk_engine_stable(w->nodes[0].engine)), before);
    world_free(w);
}

/* b has restarted, and c, which is away, has not heard of its new life: there is no agreement on anything. */
static void history_goes_though_no_agreement_is_to_be_had(void **state)
{
    (void)state;
    sk_engine_limits limits = world_limits();
    world *w = world_without_c(&limits);
    world_disk disk;
    copy_disk(&w->nodes[1].now, &disk);
    restart(w, 1, &disk, false);
    write_many(w, 0, 10);
    world_run(w, 2000);
    set_laggard(w, 0, 2);
    world_run(w, 1000);
    assert_int_equal(own_of(w, 0, sk_engine_stable(w->nodes[0].engine)), 25);
    assert_int_equal(own_of(w, 0, sk_engine_everywhere(w->nodes[0].engine)), 5);
    disk_free(&disk);
    world_free(w);
}

/* Nobody lacks anything, as far as is known, but c has not heard of a's new life. */
static void history_is_released_though_nobody_is_to_blame(void **state)
{
    (void)state;
    sk_engine_limits limits = world_limits();
    world *w = world_new(3, &limits);
    write_many(w, 0, 5);
    world_must_converge(w, 1000);
    world_run(w, 1000);
    set_cut(w, 0, 2, true);
    set_cut(w, 1, 2, true);
    world_disk disk;
    copy_disk(&w->nodes[0].now, &disk);
    restart(w, 0, &disk, false);
    world_run(w, 2000);
    const sk_engine *a = w->nodes[0].engine;
    assert_int_equal(own_of(w, 0, sk_engine_stable(a)), 0);
    sk_engine_release(w->nodes[0].engine, w->now_ms, w->wall_ms);
    world_run(w, 100);
    assert_int_equal(own_of(w, 0, sk_engine_stable(a)), 5);
    assert_int_equal(own_of(w, 0, sk_engine_everywhere(a)), 0);
    write_many(w, 0, 1); /* once, not from now on */
    world_run(w, 2000);
    assert_int_equal(own_of(w, 0, sk_engine_stable(a)), 5);
    disk_free(&disk);
    world_free(w);
}

/* Two nodes; b gets a transfer, and has taken some of it. */
static world *world_in_mid_transfer(void)
{
    sk_engine_limits limits = world_limits();
    limits.ring_txns_max = 10;
    limits.chunk_bytes = 500;
    limits.transfer_window = 1;
    world *w = world_new(2, &limits);
    write_many(w, 0, 5);
    world_must_converge(w, 1000);
    world_run(w, 1000);
    set_cut(w, 0, 1, true);
    write_many(w, 0, 1000);
    world_run(w, 1);
    w->cut[0][1] = w->cut[1][0] = false;
    link_up(w, 0, 1);
    w->now_ms += 3; /* behind the offer */
    for (int i = 0; i < 30; i++)
        for (uint32_t n = 0; n < 2; n++) {
            sk_engine_tick(w->nodes[n].engine, w->now_ms, w->wall_ms);
            deliver_one(w, 1 - n, n);
        }
    assert_true(status_of(w, 0, 1).sending_transfer);
    assert_in_range(w->nodes[1].rows_in, 100, 900);
    assert_int_equal(own_of(w, 0, sk_engine_stable(w->nodes[0].engine)), 5);
    return w;
}

/* It is read from a snapshot, which has what has gone from the history meanwhile. */
static void a_crossing_in_mid_transfer_lets_it_finish(void **state)
{
    (void)state;
    world *w = world_in_mid_transfer();
    set_laggard(w, 0, 1);
    for (int i = 0; i < 30; i++) {
        w->now_ms++;
        world_settle(w);
        uint64_t has = has_of(w, &w->nodes[1].now.vv, 1, 0, w->nodes[0].now.origins.list[w->nodes[0].now.own].incarnation);
        assert_true(has == 5 || has >= 1005); /* nothing in part */
    }
    world_must_converge(w, 1000);
    assert_int_equal(w->nodes[1].reconciled, 0);
    world_run(w, 1000);
    assert_int_equal(own_of(w, 0, sk_engine_stable(w->nodes[0].engine)), 1005);
    assert_false(status_of(w, 0, 1).laggard);
    world_free(w);
}

/* What was staged cannot be brought forward by a history that is gone: it is dropped, and all starts over. */
static void a_transfer_that_was_cut_off_before_a_crossing_starts_over_as_a_reconcile(void **state)
{
    (void)state;
    world *w = world_in_mid_transfer();
    link_down(w, 0, 1);
    w->cut[0][1] = w->cut[1][0] = true;
    write_many(w, 0, 100);
    set_laggard(w, 0, 1);
    world_run(w, 1000);
    assert_int_equal(own_of(w, 0, sk_engine_stable(w->nodes[0].engine)), 1105);
    set_cut(w, 0, 1, false);
    world_must_converge(w, 5000);
    assert_int_equal(w->nodes[1].resumed, 0);
    assert_true(w->nodes[1].reconciled > 0);
    world_run(w, 1000);
    assert_false(status_of(w, 0, 1).laggard);
    world_free(w);
}

/* While a reconcile goes to a laggard, what it has staged is waited for: it would be below the floor again at its end. */
static void what_a_laggard_has_staged_is_waited_for(void **state)
{
    (void)state;
    sk_engine_limits limits = world_limits();
    limits.ring_txns_max = 3;
    limits.chunk_bytes = 100;
    limits.transfer_window = 1;
    world *w = world_without_c(&limits);
    set_laggard(w, 0, 2);
    world_run(w, 1000);
    set_cut(w, 0, 2, false);
    for (int i = 0; i < 5000 && !status_of(w, 0, 2).staged; i++) world_run(w, 1);
    assert_non_null(status_of(w, 0, 2).staged);
    w->queues[0][2].stuck = true;
    write_many(w, 0, 20);
    world_run(w, 300);
    assert_true(status_of(w, 0, 2).laggard);
    assert_int_equal(own_of(w, 0, sk_engine_stable(w->nodes[0].engine)), 15);
    set_laggard(w, 0, 2); /* unless that is too much, too */
    world_run(w, 300);
    assert_int_equal(own_of(w, 0, sk_engine_stable(w->nodes[0].engine)), 35);
    w->queues[0][2].stuck = false;
    world_must_converge(w, 5000);
    world_run(w, 1000);
    assert_false(status_of(w, 0, 2).laggard);
    world_free(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(history_goes_on_without_a_laggard_and_nothing_else_does),
        cmocka_unit_test(history_still_waits_for_those_that_are_none),
        cmocka_unit_test(a_laggard_is_reconciled_and_counts_again),
        cmocka_unit_test(history_goes_though_no_agreement_is_to_be_had),
        cmocka_unit_test(history_is_released_though_nobody_is_to_blame),
        cmocka_unit_test(a_crossing_in_mid_transfer_lets_it_finish),
        cmocka_unit_test(a_transfer_that_was_cut_off_before_a_crossing_starts_over_as_a_reconcile),
        cmocka_unit_test(what_a_laggard_has_staged_is_waited_for),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
