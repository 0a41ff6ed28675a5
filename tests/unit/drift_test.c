/* Equal vectors with unequal digests (gossip/drift.c), between databases that are logs. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include "gossip/engine_internal.h"
#include "tests/unit/engine_world.h"

#include <cmocka.h>

static world *settled_by(uint32_t count, const sk_engine_limits *limits)
{
    world *w = world_new(count, limits);
    for (uint32_t n = 0; n < count; n++) w->nodes[n].tells_digest = true;
    for (uint32_t n = 0; n < count; n++)
        for (int i = 0; i < 8; i++) node_write(&w->nodes[n]);
    world_must_converge(w, 5000);
    return w;
}

static world *settled(uint32_t count, uint32_t audit_ms)
{
    sk_engine_limits limits = world_limits();
    limits.audit_ms = audit_ms;
    return settled_by(count, &limits);
}

static void equal_ones_do_not_drift(void **state)
{
    (void)state;
    world *w = settled(3, 1000);
    world_run(w, 10000);
    for (int i = 0; i < 40; i++) {
        node_write(&w->nodes[1]);
        world_run(w, 73);
    }
    for (uint32_t n = 0; n < 3; n++) assert_int_equal(w->nodes[n].drift_calls + w->nodes[n].audits, 0);
    world_free(w);
}

/* All three learn of it, those that agree do not compare, and each compares once for what it knows. */
static void it_is_told_and_compared_once(void **state)
{
    (void)state;
    world *w = settled(3, 1000);
    w->nodes[1].wrong = 77;
    world_run(w, 900);
    for (uint32_t n = 0; n < 3; n++) assert_int_equal(w->nodes[n].drift_calls, 0); /* it may pass */
    world_run(w, 30000);
    assert_int_equal(w->nodes[1].drift_calls, 2);
    assert_int_equal(w->nodes[1].audits, 2);
    for (uint32_t n = 0; n < 3; n += 2) {
        assert_int_equal(w->nodes[n].drift_calls, 1);
        assert_int_equal(w->nodes[n].audits, 1);
        assert_true(w->nodes[n].drifts[peer_of(w, n, 1)]);
        assert_true(sk_engine_peer_status(w->nodes[n].engine, peer_of(w, n, 1)).drifts);
        assert_false(sk_engine_peer_status(w->nodes[n].engine, peer_of(w, n, 2 - n)).drifts);
    }
    node_write(&w->nodes[0]); /* the same difference at another vector */
    world_run(w, 10000);
    assert_int_equal(w->nodes[1].audits, 2);
    w->nodes[1].wrong = 78; /* one more row */
    world_run(w, 10000);
    assert_int_equal(w->nodes[1].audits, 4);
    sk_engine_compare_again(w->nodes[1].engine, peer_of(w, 1, 0), w->now_ms, w->wall_ms);
    world_run(w, 1000);
    assert_int_equal(w->nodes[1].audits, 5);
    w->nodes[1].wrong = 0;
    world_run(w, 2000);
    for (uint32_t n = 0; n < 3; n++)
        for (uint32_t m = 0; m < 2; m++) assert_false(w->nodes[n].drifts[m]);
    world_must_converge(w, 1000);
    world_free(w);
}

static void a_passing_difference_is_none(void **state)
{
    (void)state;
    world *w = settled(2, 3000);
    for (int i = 0; i < 10; i++) {
        w->nodes[0].wrong = (sk_digest)i + 1;
        world_run(w, 2000);
    }
    assert_int_equal(w->nodes[0].drift_calls + w->nodes[1].drift_calls, 0);
    world_free(w);
}

/* Nothing is compared between different vectors, nor where one does not vouch for its digest. */
static void unequal_vectors_say_nothing(void **state)
{
    (void)state;
    world *w = settled(2, 500);
    w->nodes[0].wrong = 5;
    w->nodes[1].holds_sync = true; /* it cannot catch up */
    node_write(&w->nodes[0]);
    world_run(w, 100);
    w->nodes[0].drift_calls = w->nodes[1].drift_calls = 0;
    world_run(w, 10000);
    assert_int_equal(w->nodes[0].drift_calls + w->nodes[1].drift_calls, 0);
    w->nodes[0].tells_digest = false;
    w->nodes[1].holds_sync = false;
    node_sync(&w->nodes[1]);
    world_run(w, 10000);
    assert_int_equal(w->nodes[0].drift_calls + w->nodes[1].drift_calls, 0);
    w->nodes[0].tells_digest = true;
    world_run(w, 10000);
    assert_int_equal(w->nodes[0].drift_calls, 1);
    assert_int_equal(w->nodes[1].drift_calls, 1);
    world_free(w);
}

/* What was not found is looked for again; live transactions arrive all the same, also such as were under way. */
static void it_goes_on_until_all_is_found(void **state)
{
    (void)state;
    world *w = settled(2, 500);
    w->nodes[0].fail_audit = 3;
    w->nodes[1].wrong = 5;
    for (int i = 0; i < 300; i++) {
        node_write(&w->nodes[i % 2]);
        world_run(w, 61);
    }
    world_run(w, 3000);
    assert_int_equal(w->nodes[0].audits, 4);
    assert_int_equal(w->nodes[1].audits, 1);
    assert_int_equal(w->nodes[0].fail_audit, 0);
    world_must_converge(w, 5000);
    world_free(w);
}

/* Very many rows differ: it takes a while to look at them, in steps, and nobody gives up, nor waits. */
static void it_is_looked_at_in_steps(void **state)
{
    (void)state;
    enum { STEPS = 4000 };
    world *w = settled(2, 500);
    w->nodes[0].slow_audit = STEPS;
    w->nodes[1].wrong = 5;
    world_run(w, 2000);
    assert_in_range(w->nodes[0].slow_audit, 1, STEPS - 1);
    for (int i = 0; i < 20; i++) node_write(&w->nodes[i % 2]);
    world_must_converge(w, 2000);
    assert_in_range(w->nodes[0].slow_audit, 1, STEPS - 1);
    world_run(w, 4 * STEPS);
    assert_int_equal(w->nodes[0].slow_audit, 0);
    assert_int_equal(w->nodes[0].audits, 1);
    assert_int_equal(w->nodes[1].audits, 1);
    world_free(w);
}

/* Nothing comes after END; and where the link goes meanwhile, all begins anew. */
static void nothing_comes_while_it_is_looked_at(void **state)
{
    (void)state;
    world *w = settled(2, 500);
    sk_buf message = {0};
    for (int chunk = 0; chunk < 2; chunk++) {
        w->nodes[0].slow_audit = 1000;
        w->nodes[1].wrong += 5;
        for (int ms = 0; ms < 5000 && w->nodes[0].slow_audit == 1000; ms++) world_run(w, 1);
        assert_in_range(w->nodes[0].slow_audit, 1, 999);
        uint32_t peer = peer_of(w, 0, 1);
        sk_buf_reset(&message);
        uint64_t number = w->nodes[0].engine->peers[peer].requested;
        if (chunk) {
            sk_chunk_pack(&message, number, &(sk_transfer_counts){0}, SK_BYTES_NONE);
        } else {
            sk_message_begin(&message, SK_MESSAGE_END);
            sk_pack_uint(&message, number);
        }
        sk_engine_message(w->nodes[0].engine, peer, sk_buf_view(&message), w->now_ms, w->wall_ms);
        assert_int_equal(w->nodes[0].last_error, SK_E_PROTOCOL);
        w->nodes[0].last_error = 0;
        set_cut(w, 0, 1, true);
        world_links(w);
        world_run(w, 1000);
        set_cut(w, 0, 1, false);
        world_links(w);
        w->nodes[0].slow_audit = 5;
        world_run(w, 5000);
        assert_int_equal(w->nodes[0].slow_audit, 0);
        assert_int_equal(w->nodes[0].audits, chunk + 1);
    }
    sk_buf_free(&message);
    world_free(w);
}

/* The asking side's vector stays as it was: what the snapshot has and had still waited to be sent goes all the same. */
static void what_waits_is_sent_though_rows_are_compared_meanwhile(void **state)
{
    (void)state;
    sk_engine_limits limits = world_limits();
    limits.audit_ms = 500;
    limits.flush_ms = 1000;
    world *w = settled_by(2, &limits);
    w->nodes[0].wrong = 77;
    world_run(w, 10000);
    assert_int_equal(w->nodes[1].audits, 1);
    node_write(&w->nodes[0]);
    sk_engine_compare_again(w->nodes[1].engine, peer_of(w, 1, 0), w->now_ms, w->wall_ms);
    for (int ms = 0; ms < 1000 && w->nodes[1].audits == 1; ms++) world_run(w, 1);
    assert_int_equal(w->nodes[1].audits, 2);
    assert_false(world_converged(w)); /* it still waits */
    world_run(w, 2000);
    assert_true(world_converged(w));
    world_free(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_is_looked_at_in_steps),
        cmocka_unit_test(nothing_comes_while_it_is_looked_at),
        cmocka_unit_test(equal_ones_do_not_drift),
        cmocka_unit_test(it_is_told_and_compared_once),
        cmocka_unit_test(a_passing_difference_is_none),
        cmocka_unit_test(unequal_vectors_say_nothing),
        cmocka_unit_test(it_goes_on_until_all_is_found),
        cmocka_unit_test(what_waits_is_sent_though_rows_are_compared_meanwhile),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
