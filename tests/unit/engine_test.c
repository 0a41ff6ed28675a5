#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "engine_world.h"

/* -- live ---------------------------------------------------------------------------------------------------------- */

static void two_nodes_converge(void **state)
{
    (void)state;
    sk_engine_limits limits = world_limits();
    world *w = world_new(2, &limits);
    world_run(w, 10);
    write_many(w, 0, 300);
    write_many(w, 1, 200);
    world_must_converge(w, 100);
    world_run(w, 1000);
    sk_peer_status status = status_of(w, 0, 1);
    assert_true(status.up);
    assert_int_equal(status.sent_txns, 300);
    assert_int_equal(status.received_txns, 200);
    assert_int_equal(status.duplicate_txns, 0);
    assert_int_equal(status.transfers_out + status.transfers_in, 0);
    assert_int_equal(sk_engine_holders(w->nodes[0].engine, (sk_dot){w->nodes[0].now.own, 300}), 1);
    assert_int_equal(sk_engine_holders(w->nodes[0].engine, (sk_dot){w->nodes[0].now.own, 301}), 0);
    world_free(w);
}

static void many_nodes_write_on_each_others_writes(void **state)
{
    (void)state;
    sk_engine_limits limits = world_limits();
    world *w = world_new(4, &limits);
    world_run(w, 10);
    for (uint32_t i = 0; i < 400; i++) {
        node_write(&w->nodes[i % 4]);
        if (i % 3 == 0) world_run(w, 1);
    }
    world_must_converge(w, 200);
    for (uint32_t a = 0; a < 4; a++)
        for (uint32_t b = 0; b < 4; b++)
            if (a != b) assert_int_equal(status_of(w, a, b).sent_txns, 100);
    world_free(w);
}

static void nothing_leaves_before_it_is_durable(void **state)
{
    (void)state;
    sk_engine_limits limits = world_limits();
    world *w = world_new(2, &limits);
    world_run(w, 10);
    w->nodes[0].holds_sync = true;
    write_many(w, 0, 10);
    world_run(w, 2000);
    assert_int_equal(status_of(w, 0, 1).sent_txns, 0);
    node_sync(&w->nodes[0]);
    world_run(w, 10);
    assert_true(world_converged(w));
    /* And what is not durable at the receiver is not acknowledged. */
    w->nodes[1].holds_sync = true;
    write_many(w, 0, 10);
    node_sync(&w->nodes[0]);
    world_run(w, 2000);
    assert_true(world_converged(w));
    assert_int_equal(sk_engine_holders(w->nodes[0].engine, (sk_dot){w->nodes[0].now.own, 11}), 0);
    node_sync(&w->nodes[1]);
    world_run(w, 30);
    assert_int_equal(sk_engine_holders(w->nodes[0].engine, (sk_dot){w->nodes[0].now.own, 20}), 1);
    world_free(w);
}

static void an_effect_waits_for_its_cause(void **state)
{
    (void)state;
    sk_engine_limits limits = world_limits();
    world *w = world_new(3, &limits);
    world_run(w, 10);
    w->queues[0][2].stuck = true;
    write_many(w, 0, 5);
    world_run(w, 20);
    write_many(w, 1, 5); /* sees what c does not have */
    world_run(w, 100);
    assert_int_equal(sk_vv_get(&w->nodes[2].now.vv, w->nodes[2].now.own), 0);
    for (uint32_t o = 0; o < w->nodes[2].now.vv.count; o++) assert_int_equal(w->nodes[2].now.vv.seq[o], 0);
    assert_false(world_converged(w));
    w->queues[0][2].stuck = false;
    world_run(w, 1);
    assert_true(world_converged(w));
    assert_int_equal(status_of(w, 2, 1).received_txns, 5); /* held, not sent again */
    assert_int_equal(status_of(w, 1, 2).sent_txns, 5);
    world_free(w);
}

static void too_much_held_is_dropped_and_comes_again(void **state)
{
    (void)state;
    sk_engine_limits limits = world_limits();
    limits.held_bytes_max = 1000;
    world *w = world_new(3, &limits);
    world_run(w, 10);
    w->queues[0][2].stuck = true;
    write_many(w, 0, 1);
    world_run(w, 20);
    write_many(w, 1, 100);
    world_run(w, 300);
    assert_false(world_converged(w));
    w->queues[0][2].stuck = false;
    world_must_converge(w, 3000);
    assert_int_equal(status_of(w, 1, 2).transfers_out, 0);
    world_free(w);
}

static void a_failing_store_only_delays(void **state)
{
    (void)state;
    sk_engine_limits limits = world_limits();
    world *w = world_new(2, &limits);
    world_run(w, 10);
    w->nodes[1].fail_apply = 3;
    write_many(w, 0, 50);
    world_run(w, 50);
    assert_false(world_converged(w));
    world_must_converge(w, 10000);
    assert_int_equal(w->nodes[1].closed[0], 0);
    world_free(w);
}

static void little_waits_for_company_and_much_goes_at_once(void **state)
{
    (void)state;
    sk_engine_limits limits = world_limits();
    limits.flush_ms = 50;
    limits.batch_bytes = 2000;
    world *w = world_new(2, &limits);
    world_run(w, 100);
    node_write(&w->nodes[0]);
    world_run(w, 40);
    assert_int_equal(status_of(w, 0, 1).sent_txns, 0);
    write_many(w, 0, 100);
    world_run(w, 1);
    uint64_t sent = status_of(w, 0, 1).sent_txns;
    assert_in_range(sent, 50, 100); /* whole batches */
    world_run(w, 60);
    assert_true(world_converged(w));
    world_free(w);
}

static void a_slow_link_does_not_hold_up_others(void **state)
{
    (void)state;
    sk_engine_limits limits = world_limits();
    limits.send_queue_max = 20000;
    limits.batch_bytes = 1000;
    limits.silence_ms = FAR_MS;
    world *w = world_new(3, &limits);
    world_run(w, 10);
    w->queues[0][2].stuck = true;
    for (int i = 0; i < 100; i++) {
        write_many(w, 0, 30);
        world_run(w, 5);
        assert_in_range(w->queues[0][2].bytes, 0, 25000);
    }
    assert_int_equal(theirs(&w->nodes[0], w->nodes[0].now.own, &w->nodes[1], &w->nodes[1].now.vv), 3000);
    w->queues[0][2].stuck = false;
    world_must_converge(w, 1000);
    world_free(w);
}

static void the_wire_costs_little(void **state)
{
    (void)state;
    sk_engine_limits limits = world_limits();
    limits.ring_bytes_max = 16 << 20;
    world *w = world_new(3, &limits);
    world_run(w, 1000);
    uint64_t before = status_of(w, 0, 1).sent_bytes + status_of(w, 0, 1).received_bytes;
    uint32_t written = 0;
    for (int ms = 0; ms < 200; ms++) {
        for (int i = 0; i < 100; i++, written++) {
            world_node *node = &w->nodes[0];
            char key[KEY_BYTES] = {0};
            row_key(node, (sk_dot){node->now.own, sk_vv_get(&node->now.vv, node->now.own) + 1}, key);
            node_write_bytes(node, 117 - strlen(key)); /* row key and value: 1 + 16 + 100 bytes */
        }
        world_run(w, 1);
    }
    world_must_converge(w, 100);
    uint64_t cost = status_of(w, 0, 1).sent_bytes + status_of(w, 0, 1).received_bytes - before;
    assert_in_range(cost, written * 116, written * 116 * 112 / 100);
    world_free(w);
}

/* -- relays -------------------------------------------------------------------------------------------------------- */

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

/* -- transfers ----------------------------------------------------------------------------------------------------- */

static void out_of_the_ring_a_transfer_helps(void **state)
{
    (void)state;
    sk_engine_limits limits = world_limits();
    limits.ring_txns_max = 50;
    limits.chunk_bytes = 500;
    limits.transfer_window = 2;
    world *w = world_new(2, &limits);
    world_run(w, 10);
    set_cut(w, 0, 1, true);
    write_many(w, 0, 500);
    write_many(w, 1, 20);
    world_run(w, 10);
    set_cut(w, 0, 1, false);
    world_must_converge(w, 200);
    assert_int_equal(status_of(w, 0, 1).transfers_out, 1);
    assert_int_equal(status_of(w, 1, 0).transfers_in, 1);
    assert_int_equal(status_of(w, 1, 0).transfers_out, 0);
    assert_true(status_of(w, 0, 1).sent_rows_bytes > 5000);
    uint64_t sent = status_of(w, 0, 1).sent_txns;
    node_write(&w->nodes[0]); /* and goes over into live */
    world_run(w, 20);
    assert_true(world_converged(w));
    assert_int_equal(status_of(w, 0, 1).sent_txns, sent + 1);
    world_free(w);
}

static void a_transfer_goes_on_under_load(void **state)
{
    (void)state;
    sk_engine_limits limits = world_limits();
    limits.ring_txns_max = 100;
    limits.chunk_bytes = 200;
    limits.transfer_window = 1;
    world *w = world_new(3, &limits);
    set_cut(w, 0, 1, true);
    set_cut(w, 0, 2, true);
    write_many(w, 0, 1000);
    world_run(w, 10);
    set_cut(w, 0, 1, false);
    set_cut(w, 0, 2, false);
    for (int i = 0; i < 500; i++) {
        node_write(&w->nodes[i % 3]);
        world_run(w, 1);
    }
    world_must_converge(w, 2000);
    world_free(w);
}

/* What node `n` has of the origin that `of` writes under, or wrote under when `incarnation` was its. */
static uint64_t has_of(const world *w, const sk_vv *vv, uint32_t n, uint32_t of, uint64_t incarnation)
{
    uint32_t origin;
    sk_bytes region = sk_bytes_str(w->nodes[of].region);
    return sk_origins_find(&w->nodes[n].now.origins, region, incarnation, &origin) ? sk_vv_get(vv, origin) : 0;
}

/* Two nodes; b has staged some of 1000 rows of a, and the link has gone. */
static world *world_with_an_interrupted_transfer(void)
{
    sk_engine_limits limits = world_limits();
    limits.ring_txns_max = 10;
    limits.chunk_bytes = 500;
    limits.transfer_window = 1;
    world *w = world_new(2, &limits);
    world_run(w, 10);
    set_cut(w, 0, 1, true);
    write_many(w, 0, 1000);
    world_run(w, 1);
    w->cut[0][1] = w->cut[1][0] = false;
    link_up(w, 0, 1);
    w->now_ms += 3; /* behind the offer */
    for (int i = 0; i < 30; i++) {
        for (uint32_t n = 0; n < 2; n++) {
            sk_engine_tick(w->nodes[n].engine, w->now_ms, w->wall_ms);
            deliver_one(w, 1 - n, n);
        }
        world_check(w);
    }
    assert_in_range(w->nodes[1].rows_in, 100, 900);
    assert_true(status_of(w, 1, 0).receiving_transfer);
    assert_true(status_of(w, 0, 1).sending_transfer);
    link_down(w, 0, 1);
    assert_false(status_of(w, 1, 0).receiving_transfer);
    return w;
}

static void an_interrupted_transfer_goes_on_where_it_stood(void **state)
{
    (void)state;
    world *w = world_with_an_interrupted_transfer();
    write_many(w, 0, 5);
    world_must_converge(w, 1000);
    assert_int_equal(w->nodes[1].resumed, 1);
    assert_in_range(w->nodes[1].rows_in, 1005, 1050);
    world_free(w);
}

/* What b writes meanwhile is soon on both disks. a must not forget it: only with it can a bring b's staged rows forward. */
static void an_interrupted_transfer_goes_on_though_the_receiver_wrote(void **state)
{
    (void)state;
    world *w = world_with_an_interrupted_transfer();
    world_node *a = &w->nodes[0], *b = &w->nodes[1];
    uint64_t of_b = b->now.origins.list[b->now.own].incarnation;
    write_many(w, 1, 5);
    b->busy = true;
    world_run(w, 5000);
    assert_int_equal(has_of(w, status_of(w, 0, 1).acked, 0, 1, of_b), 5);
    b->busy = false;
    world_must_converge(w, 1000);
    assert_int_equal(b->resumed, 1);
    assert_in_range(b->rows_in, 1000, 1050);
    world_run(w, 2000);
    assert_true(sk_vv_equal(sk_engine_stable(a->engine), &a->now.vv)); /* and no longer than that */
    world_free(w);
}

static void what_fails_in_a_transfer_is_tried_again(void **state)
{
    (void)state;
    sk_engine_limits limits = world_limits();
    limits.ring_txns_max = 10;
    limits.chunk_bytes = 500;
    limits.transfer_window = 2;
    world *w = world_new(2, &limits);
    set_cut(w, 0, 1, true);
    write_many(w, 0, 300);
    world_run(w, 1);
    w->nodes[1].fail_chunk = 5;
    w->nodes[1].fail_sink_end = 2;
    w->nodes[1].busy = true;
    set_cut(w, 0, 1, false);
    world_run(w, 3000);
    assert_int_equal(w->nodes[1].rows_in, 0);
    w->nodes[1].busy = false;
    world_must_converge(w, 10000);
    assert_int_equal(status_of(w, 0, 1).transfers_out, 3); /* two whose last step failed at the other side */
    assert_int_equal(status_of(w, 1, 0).transfers_in, 1);
    assert_int_equal(w->nodes[1].closed[0] + w->nodes[0].closed[1], 0);
    world_free(w);
}

/* One local transaction that sets the keys `first` to `first + count - 1`, in a lenient world, where what the database
 * has is of no matter. */
static void node_set(world_node *node, int first, int count)
{
    sk_dot dot = {node->now.own, sk_vv_get(&node->now.vv, node->now.own) + 1};
    sk_buf ops = {0};
    uint8_t value[100] = {0};
    for (int i = first; i < first + count; i++) {
        char key[16];
        snprintf(key, sizeof key, "k%06d", i);
        sk_op op = {.key = sk_bytes_str(key), .has_content = true};
        op.content = (sk_entry){.kind = SK_ENTRY_VALUE, .dot = dot, .value = sk_bytes_of(value, sizeof value)};
        sk_op_pack(&ops, &op);
    }
    sk_txn txn = {.dot = dot, .hlc = sk_hlc_tick(&node->clock, node->world->wall_ms), .ops = sk_buf_view(&ops)};
    txn.op_count = (uint32_t)count;
    sk_vv_copy(&txn.seen, &node->now.vv);
    sk_vv_set(&node->now.vv, dot.origin, dot.seq);
    sk_engine_local(node->engine, &txn, node->world->now_ms, node->world->wall_ms);
    sk_vv_free(&txn.seen);
    sk_buf_free(&ops);
}

/* b is cut off while `transactions` set `keys` keys in turn, `each` in one; c, while b is cut off from it too, writes
 * `of_c` other keys. Returns how many transactions, and in *transfers how many transfers, a sent b. */
static uint64_t sent_after_overwriting(int transactions, int keys, int each, int of_c, uint64_t *transfers)
{
    sk_engine_limits limits = world_limits();
    limits.batch_bytes = 2000;
    world *w = world_new(3, &limits);
    w->lenient = true;
    world_run(w, 100);
    set_cut(w, 0, 1, true);
    set_cut(w, 1, 2, true);
    uint64_t before = status_of(w, 0, 1).sent_txns;
    for (int i = 0; i < transactions; i++) node_set(&w->nodes[0], i * each % keys, each);
    for (int i = 0; i < of_c; i++) node_set(&w->nodes[2], 100000 + i, 1);
    world_run(w, 1000);
    set_cut(w, 0, 1, false);
    if (of_c == 0) set_cut(w, 1, 2, false);
    world_must_converge(w, 10000);
    node_set(&w->nodes[0], 0, 1); /* the live tier goes on behind it */
    world_must_converge(w, 1000);
    *transfers = status_of(w, 0, 1).transfers_out;
    uint64_t sent = status_of(w, 0, 1).sent_txns - before;
    world_free(w);
    return sent;
}

static void what_was_overwritten_is_sent_once(void **state)
{
    (void)state;
    uint64_t transfers;
    assert_int_equal(sent_after_overwriting(1000, 50, 1, 0, &transfers), 1);
    assert_int_equal(transfers, 1);
    assert_int_equal(sent_after_overwriting(100, 50, 10, 0, &transfers), 1); /* several rows in a transaction */
    assert_int_equal(transfers, 1);
    assert_int_equal(sent_after_overwriting(1300, 1000, 1, 0, &transfers), 1); /* 1.3 times */
    assert_int_equal(transfers, 1);
    assert_int_equal(sent_after_overwriting(1100, 1000, 1, 0, &transfers), 1101); /* 1.1 times */
    assert_int_equal(transfers, 0);
    assert_int_equal(sent_after_overwriting(1000, 1000, 1, 0, &transfers), 1001);
    assert_int_equal(transfers, 0);
    assert_int_equal(sent_after_overwriting(20, 1, 1, 0, &transfers), 21); /* so little: not worth the question */
    assert_int_equal(transfers, 0);
    /* A transfer would bring as much of c's as it saves of ours: not worth it; and then, where it saves more, it is. */
    assert_int_equal(sent_after_overwriting(500, 50, 1, 2000, &transfers), 2501);
    assert_int_equal(transfers, 0);
    assert_int_equal(sent_after_overwriting(1500, 50, 1, 500, &transfers), 1);
    assert_int_equal(transfers, 1);
}

/* c's transactions, overwritten while a waited whether it must relay them to b, go by a transfer as well. */
static void what_was_overwritten_is_relayed_once(void **state)
{
    (void)state;
    sk_engine_limits limits = world_limits();
    limits.batch_bytes = 2000;
    world *w = world_new(3, &limits);
    w->lenient = true;
    world_run(w, 100);
    set_cut(w, 1, 2, true);
    for (int i = 0; i < 1000; i++) node_set(&w->nodes[2], i % 50, 1);
    world_must_converge(w, 10000);
    assert_int_equal(status_of(w, 0, 1).transfers_out, 1);
    assert_int_equal(status_of(w, 0, 1).sent_txns, 0);
    node_set(&w->nodes[2], 0, 1);
    world_must_converge(w, 5000);
    assert_int_equal(status_of(w, 0, 1).transfers_out, 1);
    assert_int_equal(status_of(w, 0, 1).sent_txns, 1);
    world_free(w);
}

/* The transfer fails at its last step, again and again: it is tried again, and what is new waits behind it. */
static void what_was_overwritten_is_sent_once_though_it_fails(void **state)
{
    (void)state;
    sk_engine_limits limits = world_limits();
    limits.batch_bytes = 2000;
    world *w = world_new(2, &limits);
    w->lenient = true;
    world_run(w, 100);
    set_cut(w, 0, 1, true);
    for (int i = 0; i < 1000; i++) node_set(&w->nodes[0], i % 50, 1);
    world_run(w, 100);
    w->nodes[1].fail_sink_end = INT32_MAX;
    set_cut(w, 0, 1, false);
    world_run(w, 5000);
    assert_true(INT32_MAX - w->nodes[1].fail_sink_end >= 2);
    node_set(&w->nodes[0], 0, 1);
    world_run(w, 1000);
    assert_int_equal(status_of(w, 0, 1).sent_txns, 0);
    w->nodes[1].fail_sink_end = 0;
    world_must_converge(w, 10000);
    assert_in_range(status_of(w, 0, 1).sent_txns, 0, 1); /* it may have come with the transfer */
    world_free(w);
}

static void a_newcomer_gets_everything_once(void **state)
{
    (void)state;
    sk_engine_limits limits = world_limits();
    limits.ring_txns_max = 10;
    world *w = world_new(5, &limits);
    for (uint32_t n = 0; n < 4; n++) set_cut(w, n, 4, true);
    world_run(w, 10);
    for (int i = 0; i < 400; i++) {
        node_write(&w->nodes[i % 4]);
        world_run(w, 5);
    }
    world_run(w, 3000);
    for (uint32_t n = 0; n < 4; n++) set_cut(w, n, 4, false);
    world_must_converge(w, 3000);
    assert_in_range(w->nodes[4].rows_in, 400, 450); /* not four times */
    world_free(w);
}

static void a_stalled_transfer_is_given_up(void **state)
{
    (void)state;
    sk_engine_limits limits = world_limits();
    limits.ring_txns_max = 10;
    limits.chunk_bytes = 500;
    limits.silence_ms = 2000;
    world *w = world_new(3, &limits);
    for (uint32_t n = 0; n < 2; n++) set_cut(w, n, 2, true);
    write_many(w, 0, 300);
    world_run(w, 100);
    write_many(w, 1, 300);
    world_run(w, 100);
    w->nodes[2].busy = true;
    set_cut(w, 0, 2, false);
    set_cut(w, 1, 2, false);
    world_run(w, 100); /* both have offered */
    w->queues[0][2].stuck = true;
    w->nodes[2].busy = false;
    world_run(w, 100);
    assert_true(status_of(w, 2, 0).receiving_transfer); /* c asked a, and the answer does not come */
    world_must_converge(w, 20000);
    assert_true(status_of(w, 2, 1).transfers_in >= 1);
    world_free(w);
}

/* -- life ---------------------------------------------------------------------------------------------------------- */

static void a_restart_changes_nothing(void **state)
{
    (void)state;
    sk_engine_limits limits = world_limits();
    world *w = world_new(3, &limits);
    for (int i = 0; i < 60; i++) {
        for (uint32_t n = 0; n < 3; n++) write_many(w, n, 3);
        world_run(w, 50);
        world_disk disk;
        copy_disk(&w->nodes[i % 3].now, &disk);
        restart(w, (uint32_t)i % 3, &disk, false);
        disk_free(&disk);
    }
    world_must_converge(w, 5000);
    for (uint32_t n = 0; n < 3; n++) assert_int_equal(w->nodes[n].incarnations, 0);
    world_free(w);
}

static void an_old_copy_takes_a_new_incarnation(void **state)
{
    (void)state;
    sk_engine_limits limits = world_limits();
    world *w = world_new(3, &limits);
    write_many(w, 0, 10);
    write_many(w, 1, 10);
    world_must_converge(w, 1000);
    world_disk disk;
    copy_disk(&w->nodes[0].now, &disk);
    write_many(w, 0, 10);
    write_many(w, 1, 10);
    world_must_converge(w, 1000);
    restart(w, 0, &disk, false);
    world_must_converge(w, 5000); /* its lost tail comes back from the others */
    assert_int_equal(w->nodes[0].incarnations, 1);
    write_many(w, 0, 10);
    world_must_converge(w, 5000);
    /* Once more: what others have heard of the first life must not count for the third. */
    restart(w, 0, &disk, false);
    world_must_converge(w, 5000);
    assert_int_equal(w->nodes[0].incarnations, 2);
    world_run(w, 3000);
    for (uint32_t n = 0; n < 3; n++)
        assert_true(sk_vv_equal(sk_engine_stable(w->nodes[n].engine), &w->nodes[n].now.vv));
    disk_free(&disk);
    world_free(w);
}

static void a_copy_that_lost_only_what_others_wrote_is_found_out(void **state)
{
    (void)state;
    sk_engine_limits limits = world_limits();
    world *w = world_new(3, &limits);
    write_many(w, 0, 10);
    world_must_converge(w, 1000);
    world_disk disk;
    copy_disk(&w->nodes[0].now, &disk);
    write_many(w, 1, 10);
    world_must_converge(w, 1000);
    world_run(w, 1000);
    w->checks_stable = true; /* from here on nobody may count on what it no longer has */
    set_cut(w, 0, 1, true);
    w->nodes[1].holds_sync = true;
    restart(w, 0, &disk, false);
    world_run(w, 300);
    assert_int_equal(w->nodes[0].incarnations, 1);
    w->nodes[1].holds_sync = false;
    world_must_converge(w, 5000);
    write_many(w, 1, 10);
    world_must_converge(w, 5000);
    disk_free(&disk);
    world_free(w);
}

/* What `at` believes that `of` has of a's first origin. */
static uint64_t believed(const world *w, uint32_t at, uint32_t of)
{
    uint32_t origin = 0;
    must(sk_origins_find(&w->nodes[at].now.origins, sk_bytes_str("a"), 1, &origin));
    return sk_vv_get(status_of(w, at, of).acked, origin);
}

/* Three nodes; c has acknowledged 20 of a's, and comes back with 10, and cannot apply more. */
static world *world_with_an_old_copy(world_disk *copy, bool a_knows, bool b_knows, uint64_t clock_back_ms)
{
    sk_engine_limits limits = world_limits();
    world *w = world_new(3, &limits);
    for (int i = 0; i < 10; i++) node_write(&w->nodes[0]);
    world_must_converge(w, 1000);
    copy_disk(&w->nodes[2].now, copy);
    for (int i = 0; i < 10; i++) node_write(&w->nodes[0]);
    world_must_converge(w, 1000);
    world_run(w, 1000);
    set_cut(w, 0, 2, true);
    set_cut(w, 1, 2, true);
    set_cut(w, 0, 1, true);
    w->wall_ms -= clock_back_ms;
    restart(w, 2, copy, false);
    w->nodes[2].fail_apply = INT32_MAX;
    w->nodes[2].busy = true;
    for (uint32_t n = 0; n < 2; n++) {
        world_disk now;
        if (n ? b_knows : a_knows) continue;
        copy_disk(&w->nodes[n].now, &now);
        restart(w, n, &now, false);
        disk_free(&now);
    }
    disk_free(copy);
    return w;
}

static void an_acknowledgement_can_be_lowered_and_stays_so(void **state)
{
    (void)state;
    world_disk copy;
    world *w = world_with_an_old_copy(&copy, true, true, 0);
    assert_int_equal(believed(w, 0, 2), 20);
    assert_int_equal(believed(w, 1, 2), 20);
    set_cut(w, 1, 2, false);
    world_run(w, 1000);
    assert_int_equal(believed(w, 1, 2), 10);
    set_cut(w, 1, 2, true);
    set_cut(w, 0, 1, false); /* a has not seen it, and tells b what it knew */
    world_run(w, 3000);
    assert_int_equal(believed(w, 1, 2), 10);
    assert_int_equal(believed(w, 0, 2), 10);
    assert_int_equal(w->nodes[2].incarnations, 1);
    world_free(w);
}

/* b knows nothing of c's former life when c greets it, and hears of it only then, from a: in a higher term than the one
 * that c began, because its clock was set back. */
static void a_member_disputes_what_it_no_longer_has(void **state)
{
    (void)state;
    world_disk copy;
    world *w = world_with_an_old_copy(&copy, true, false, 3600 * 1000);
    assert_int_equal(believed(w, 1, 2), 0);
    set_cut(w, 1, 2, false);
    world_run(w, 1000);
    assert_int_equal(believed(w, 1, 2), 10);
    assert_int_equal(w->nodes[2].incarnations, 0);
    set_cut(w, 0, 1, false);
    world_run(w, 3000);
    assert_int_equal(w->nodes[2].incarnations, 1);
    assert_int_equal(believed(w, 1, 2), 10);
    assert_int_equal(believed(w, 0, 2), 10);
    world_free(w);
}

static void a_store_that_goes_back_is_followed(void **state)
{
    (void)state;
    sk_engine_limits limits = world_limits();
    world *w = world_new(2, &limits);
    world_run(w, 10);
    write_many(w, 0, 20);
    write_many(w, 1, 20);
    world_must_converge(w, 100);
    world_run(w, 100);
    world_node *b = &w->nodes[1];
    b->holds_sync = true;
    write_many(w, 0, 20);
    write_many(w, 1, 20);
    world_run(w, 100);
    sk_vv_copy(&b->now.vv, &b->durable);
    for (uint32_t o = 0; o < 64; o++) b->now.lanes[o].count = sk_vv_get(&b->durable, o);
    sk_engine_rolled_back(b->engine, w->now_ms, w->wall_ms);
    world_check(w);
    b->holds_sync = false;
    write_many(w, 1, 5); /* under seqs that were used before, and never left */
    world_must_converge(w, 5000);
    assert_int_equal(sk_vv_get(&b->now.vv, b->now.own), 25);
    assert_int_equal(b->incarnations, 0);
    world_free(w);
}

static void a_disk_that_lied_means_a_new_incarnation(void **state)
{
    (void)state;
    sk_engine_limits limits = world_limits();
    world *w = world_new(2, &limits);
    world_run(w, 10);
    world_node *b = &w->nodes[1];
    write_many(w, 1, 20);
    world_must_converge(w, 100);
    sk_vv_set(&b->now.vv, b->now.own, 10); /* said to be durable, acknowledged, and gone */
    b->now.lanes[b->now.own].count = 10;
    sk_vv_copy(&b->durable, &b->now.vv);
    sk_engine_rolled_back(b->engine, w->now_ms, w->wall_ms);
    assert_int_equal(b->incarnations, 1);
    write_many(w, 1, 5);
    world_must_converge(w, 5000);
    world_free(w);
}

/* -- stability ----------------------------------------------------------------------------------------------------- */

static void stability_needs_all_members(void **state)
{
    (void)state;
    sk_engine_limits limits = world_limits();
    world *w = world_new(3, &limits);
    w->checks_stable = true;
    set_cut(w, 0, 2, true);
    set_cut(w, 1, 2, true);
    write_many(w, 0, 10);
    world_run(w, 2000);
    assert_int_equal(w->nodes[0].forgets, 0);
    set_cut(w, 1, 2, false); /* a hears of c through b */
    world_run(w, 5000);
    assert_true(world_converged(w));
    assert_int_equal(sk_vv_get(sk_engine_stable(w->nodes[0].engine), w->nodes[0].now.own), 10);
    world_free(w);
}

static void stability_advances_under_constant_load(void **state)
{
    (void)state;
    sk_engine_limits limits = world_limits();
    world *w = world_new(3, &limits);
    w->checks_stable = true;
    for (int i = 0; i < 3000; i++) {
        for (uint32_t n = 0; n < 3; n++) node_write(&w->nodes[n]);
        world_run(w, 1);
    }
    for (uint32_t n = 0; n < 3; n++) {
        uint64_t stable = sk_vv_get(sk_engine_stable(w->nodes[n].engine), w->nodes[n].now.own);
        assert_in_range(stable, 2000, 3000);
    }
    world_free(w);
}

/* a has all acknowledgements, but not yet what b had written when it acknowledged: it must not forget. */
static void forgetting_waits_for_what_members_had_written(void **state)
{
    (void)state;
    sk_engine_limits limits = world_limits();
    limits.flush_ms = 200;
    world *w = world_new(2, &limits);
    world_run(w, 1000);
    world_node *a = &w->nodes[0], *b = &w->nodes[1];
    write_many(w, 0, 1);
    world_run(w, 199);
    node_write(b); /* waits for company while the acknowledgement overtakes it */
    uint32_t of_b;
    assert_true(
        sk_origins_find(&a->now.origins, sk_bytes_str("b"), b->now.origins.list[b->now.own].incarnation, &of_b));
    bool overtaken = false;
    for (int i = 0; i < 1000; i++) {
        world_run(w, 1);
        const sk_vv *acked = status_of(w, 0, 1).acked;
        bool knows = sk_vv_get(acked, a->now.own) == 1, has = sk_vv_get(&a->now.vv, of_b) >= sk_vv_get(acked, of_b);
        if (knows && !has) {
            overtaken = true;
            assert_int_equal(sk_vv_get(sk_engine_stable(a->engine), a->now.own), 0);
        }
    }
    assert_true(overtaken);
    assert_int_equal(sk_vv_get(sk_engine_stable(a->engine), a->now.own), 1);
    world_free(w);
}

enum { SESSION_MAX = 64 };

/* What c sent b, for a connection that still brings it when c's process is gone. */
typedef struct {
    sk_buf sent[SESSION_MAX];
    uint32_t count;
} session;

static void record(world *w, uint32_t from, uint32_t to, sk_bytes message)
{
    session *s = w->tap_self;
    if (from != 2 || to != 1) return;
    must(s->count < SESSION_MAX);
    sk_buf_bytes(&s->sent[s->count++], message);
}

static void replay(world *w, const session *s, uint32_t from, uint32_t to)
{
    for (uint32_t i = from; i < to; i++)
        sk_engine_message(w->nodes[1].engine, peer_of(1, 2), sk_buf_view(&s->sent[i]), w->now_ms, w->wall_ms);
}

typedef enum { TAIL_ON_DISK, TAIL_ON_DISK_CLOCK_BACK, TAIL_IN_MEMORY, TAIL_ON_ITS_WAY } tail_place;

/* c writes a tail that only b gets, without having seen what b wrote; then c comes back as an old copy, without the tail,
 * and acknowledges what b wrote. a must not forget that before it has the tail: wherever at b that was, and also where
 * c's clock was set back, so that only the others know which of its lives is later. */
static void forgetting_waits_for_the_tail_of_a_lost_life(tail_place place)
{
    sk_engine_limits limits = world_limits();
    limits.silence_ms = 20000;
    world *w = world_new(3, &limits);
    session of_old_life = {0};
    w->tap = record;
    w->tap_self = &of_old_life;
    world_node *a = &w->nodes[0], *b = &w->nodes[1];
    world_run(w, 1000);
    write_many(w, 2, 10);
    world_must_converge(w, 1000);
    world_run(w, 1000);
    uint64_t of_b = b->now.origins.list[b->now.own].incarnation;
    uint64_t of_c = w->nodes[2].now.origins.list[w->nodes[2].now.own].incarnation;
    world_disk copy;
    copy_disk(&w->nodes[2].now, &copy);
    set_cut(w, 0, 2, true);
    w->queues[1][2].stuck = true;
    write_many(w, 1, 1);
    world_run(w, 500);
    assert_int_equal(has_of(w, &a->now.vv, 0, 1, of_b), 1);
    set_cut(w, 0, 1, true);
    w->queues[2][1].stuck = place == TAIL_ON_ITS_WAY;
    b->holds_sync = place == TAIL_IN_MEMORY;
    uint32_t before_the_tail = of_old_life.count;
    write_many(w, 2, 5);
    world_run(w, 500);
    assert_int_equal(has_of(w, &b->now.vv, 1, 2, of_c), place == TAIL_ON_ITS_WAY ? 10 : 15);
    w->queues[1][2].stuck = w->queues[2][1].stuck = false;
    w->tap = NULL;
    set_cut(w, 1, 2, true);
    if (place == TAIL_ON_DISK_CLOCK_BACK) w->wall_ms -= 3600 * 1000;
    restart(w, 2, &copy, false);
    set_cut(w, 0, 2, false);
    world_run(w, 4000);
    assert_int_equal(has_of(w, status_of(w, 0, 2).acked, 0, 1, of_b), 1); /* all have acknowledged it */
    if (place == TAIL_ON_ITS_WAY) {
        sk_engine_link_up(b->engine, peer_of(1, 2), w->now_ms, w->wall_ms);
        replay(w, &of_old_life, 0, before_the_tail);
    }
    set_cut(w, 0, 1, false);
    for (int i = 0; i < 12000; i++) {
        world_run(w, 1);
        if (i == 3000) b->holds_sync = false;
        if (i == 3000 && place == TAIL_ON_ITS_WAY) {
            replay(w, &of_old_life, before_the_tail, of_old_life.count);
            sk_engine_link_down(b->engine, peer_of(1, 2), w->now_ms, w->wall_ms);
        }
        if (has_of(w, sk_engine_stable(a->engine), 0, 1, of_b) == 1)
            assert_int_equal(has_of(w, &a->now.vv, 0, 2, of_c), 15);
    }
    assert_int_equal(has_of(w, sk_engine_stable(a->engine), 0, 1, of_b), 1);
    assert_true(world_converged(w));
    for (uint32_t i = 0; i < of_old_life.count; i++) sk_buf_free(&of_old_life.sent[i]);
    disk_free(&copy);
    world_free(w);
}

static void a_lost_tail_on_disk_holds_stability_back(void **state)
{
    (void)state;
    forgetting_waits_for_the_tail_of_a_lost_life(TAIL_ON_DISK);
}

static void a_lost_tail_holds_stability_back_whatever_the_clock_says(void **state)
{
    (void)state;
    forgetting_waits_for_the_tail_of_a_lost_life(TAIL_ON_DISK_CLOCK_BACK);
}

static void a_lost_tail_in_memory_holds_stability_back(void **state)
{
    (void)state;
    forgetting_waits_for_the_tail_of_a_lost_life(TAIL_IN_MEMORY);
}

static void a_lost_tail_on_its_way_holds_stability_back(void **state)
{
    (void)state;
    forgetting_waits_for_the_tail_of_a_lost_life(TAIL_ON_ITS_WAY);
}

/* The store takes no new incarnation when it is needed, and loses the one that it took. */
static void nothing_is_written_under_a_spent_origin(void **state)
{
    (void)state;
    sk_engine_limits limits = world_limits();
    world *w = world_new(2, &limits);
    world_node *b = &w->nodes[1];
    write_many(w, 1, 10);
    world_must_converge(w, 1000);
    world_disk copy;
    copy_disk(&b->now, &copy);
    write_many(w, 1, 10);
    world_must_converge(w, 1000);
    restart(w, 1, &copy, false);
    assert_false(sk_engine_must_not_write(b->engine)); /* nobody has told it */
    b->fail_incarnation = 1;
    uint32_t old = b->now.own;
    while (b->fail_incarnation) world_run(w, 1);
    assert_true(sk_engine_must_not_write(b->engine));
    set_cut(w, 0, 1, true); /* no hello tells it again */
    b->holds_sync = true;
    world_run(w, 1000);
    assert_int_equal(b->incarnations, 1);
    assert_false(sk_engine_must_not_write(b->engine));
    b->now.own = old;
    b->now.origins.count = copy.origins.count;
    sk_vv_copy(&b->now.vv, &b->durable);
    sk_engine_rolled_back(b->engine, w->now_ms, w->wall_ms);
    assert_true(sk_engine_must_not_write(b->engine));
    b->holds_sync = false;
    world_run(w, 1000);
    assert_int_equal(b->incarnations, 2);
    assert_false(sk_engine_must_not_write(b->engine));
    set_cut(w, 0, 1, false);
    write_many(w, 1, 5);
    world_must_converge(w, 5000);
    disk_free(&copy);
    world_free(w);
}

static void alone_everything_durable_is_stable(void **state)
{
    (void)state;
    sk_engine_limits limits = world_limits();
    world *w = world_new(1, &limits);
    write_many(w, 0, 10);
    world_run(w, 100);
    assert_int_equal(sk_vv_get(&w->nodes[0].forgotten, w->nodes[0].now.own), 10);
    world_free(w);
}

/* -- links --------------------------------------------------------------------------------------------------------- */

static void a_silent_link_is_closed(void **state)
{
    (void)state;
    sk_engine_limits limits = world_limits();
    world *w = world_new(2, &limits);
    world_run(w, 100);
    w->queues[0][1].stuck = true;
    world_run(w, limits.silence_ms - 1000);
    assert_int_equal(w->nodes[1].closed[0], 0);
    world_run(w, 2000);
    assert_int_equal(w->nodes[1].closed[0], 1);
    assert_int_equal(w->nodes[1].last_error, SK_E_TIMEOUT);
    w->queues[0][1].stuck = false;
    write_many(w, 0, 1);
    world_must_converge(w, 2000);
    world_free(w);
}

static void heartbeats_measure(void **state)
{
    (void)state;
    sk_engine_limits limits = world_limits();
    world *w = world_new(2, &limits);
    world_run(w, 100);
    for (int i = 0; i < 2000; i++) { /* 7 ms there, 0 back */
        w->queues[0][1].stuck = i % 8 != 0;
        world_run(w, 1);
    }
    assert_in_range(status_of(w, 0, 1).round_trip_ms, 0, 8);
    assert_in_range(status_of(w, 0, 1).clock_offset_ms + 8, 0, 16);
    assert_true(w->now_ms - status_of(w, 0, 1).last_heard_ms < 600);
    world_free(w);
}

static void goodbye_is_heard(void **state)
{
    (void)state;
    sk_engine_limits limits = world_limits();
    limits.flush_ms = 1000;
    world *w = world_new(2, &limits);
    world_run(w, 100);
    write_many(w, 0, 3);
    node_sync(&w->nodes[0]);
    sk_engine_goodbye(w->nodes[0].engine, w->now_ms, w->wall_ms);
    while (deliver_one(w, 0, 1)) continue;
    assert_int_equal(w->nodes[1].last_error, SK_E_SHUTDOWN);
    assert_int_equal(w->nodes[1].closed[0], 1);
    assert_true(world_converged(w)); /* what waited for company came before it */
    world_free(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(two_nodes_converge),
        cmocka_unit_test(many_nodes_write_on_each_others_writes),
        cmocka_unit_test(nothing_leaves_before_it_is_durable),
        cmocka_unit_test(an_effect_waits_for_its_cause),
        cmocka_unit_test(too_much_held_is_dropped_and_comes_again),
        cmocka_unit_test(a_failing_store_only_delays),
        cmocka_unit_test(little_waits_for_company_and_much_goes_at_once),
        cmocka_unit_test(a_slow_link_does_not_hold_up_others),
        cmocka_unit_test(the_wire_costs_little),
        cmocka_unit_test(a_line_relays_each_transaction_once),
        cmocka_unit_test(of_two_relays_one_works),
        cmocka_unit_test(a_relay_that_is_not_needed_is_told),
        cmocka_unit_test(what_was_held_for_a_lost_link_comes_again),
        cmocka_unit_test(a_long_line_converges),
        cmocka_unit_test(out_of_the_ring_a_transfer_helps),
        cmocka_unit_test(a_transfer_goes_on_under_load),
        cmocka_unit_test(an_interrupted_transfer_goes_on_where_it_stood),
        cmocka_unit_test(an_interrupted_transfer_goes_on_though_the_receiver_wrote),
        cmocka_unit_test(what_fails_in_a_transfer_is_tried_again),
        cmocka_unit_test(what_was_overwritten_is_sent_once),
        cmocka_unit_test(what_was_overwritten_is_relayed_once),
        cmocka_unit_test(what_was_overwritten_is_sent_once_though_it_fails),
        cmocka_unit_test(a_newcomer_gets_everything_once),
        cmocka_unit_test(a_stalled_transfer_is_given_up),
        cmocka_unit_test(a_restart_changes_nothing),
        cmocka_unit_test(an_old_copy_takes_a_new_incarnation),
        cmocka_unit_test(a_copy_that_lost_only_what_others_wrote_is_found_out),
        cmocka_unit_test(an_acknowledgement_can_be_lowered_and_stays_so),
        cmocka_unit_test(a_member_disputes_what_it_no_longer_has),
        cmocka_unit_test(a_store_that_goes_back_is_followed),
        cmocka_unit_test(a_disk_that_lied_means_a_new_incarnation),
        cmocka_unit_test(stability_needs_all_members),
        cmocka_unit_test(stability_advances_under_constant_load),
        cmocka_unit_test(forgetting_waits_for_what_members_had_written),
        cmocka_unit_test(a_lost_tail_on_disk_holds_stability_back),
        cmocka_unit_test(a_lost_tail_holds_stability_back_whatever_the_clock_says),
        cmocka_unit_test(a_lost_tail_in_memory_holds_stability_back),
        cmocka_unit_test(a_lost_tail_on_its_way_holds_stability_back),
        cmocka_unit_test(nothing_is_written_under_a_spent_origin),
        cmocka_unit_test(alone_everything_durable_is_stable),
        cmocka_unit_test(a_silent_link_is_closed),
        cmocka_unit_test(heartbeats_measure),
        cmocka_unit_test(goodbye_is_heard),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
