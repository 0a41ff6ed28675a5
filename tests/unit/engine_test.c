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
    world *w = world_linked(2);
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
    world *w = world_linked(4);
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
    world *w = world_linked(2);
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
    world *w = world_linked(3);
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
    world *w = world_linked(2);
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

/* Of three nodes, where nothing gets from the first to the third, and nobody hangs up for that. */
static world *world_with_a_stuck_link(sk_engine_limits limits)
{
    limits.silence_ms = FAR_MS;
    world *w = world_new(3, &limits);
    world_run(w, 10);
    w->queues[0][2].stuck = true;
    return w;
}

static void a_slow_link_does_not_hold_up_others(void **state)
{
    (void)state;
    sk_engine_limits limits = world_limits();
    limits.send_queue_max = 20000;
    limits.batch_bytes = 1000;
    world *w = world_with_a_stuck_link(limits);
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

static void heartbeats_do_not_pile_up(void **state)
{
    (void)state;
    sk_engine_limits limits = world_limits();
    limits.send_queue_max = 1000;
    limits.heartbeat_ms = 1;
    world *w = world_with_a_stuck_link(limits);
    world_run(w, 10000);
    assert_in_range(w->queues[0][2].bytes, 66536, 67000);
    node_write(&w->nodes[0]);
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

/* A lenient world whose batches are so small that not all of a backlog of 1000 goes at once. */
static world *small_batches(uint32_t nodes)
{
    sk_engine_limits limits = world_limits();
    limits.batch_bytes = 2000;
    world *w = world_new(nodes, &limits);
    w->lenient = true;
    world_run(w, 100);
    return w;
}

/* `writer` sets 50 keys in 1000 transactions while `reader` is cut off from it. */
static world *mostly_overwritten(uint32_t nodes, uint32_t writer, uint32_t reader)
{
    world *w = small_batches(nodes);
    set_cut(w, writer, reader, true);
    for (int i = 0; i < 1000; i++) node_set(&w->nodes[writer], i % 50, 1);
    world_run(w, 100);
    return w;
}

/* b is cut off while `transactions` set `keys` keys in turn, `each` in one; c, while b is cut off from it too, writes
 * `of_c` other keys. Returns how many transactions, and in *transfers how many transfers, a sent b. */
static uint64_t sent_after_overwriting(int transactions, int keys, int each, int of_c, uint64_t *transfers)
{
    world *w = small_batches(3);
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
    world *w = mostly_overwritten(3, 2, 1);
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
    world *w = mostly_overwritten(2, 0, 1);
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

/* A sender that is damaged, or busy for long, sends what its ring has, overwritten or not: nothing waits for a transfer
 * that cannot be had. */
static void what_was_overwritten_goes_live_where_no_transfer_can_be_had(void **state)
{
    (void)state;
    static const int errors[] = {SK_E_CORRUPT, SK_E_BUSY};
    for (size_t i = 0; i < sizeof errors / sizeof *errors; i++) {
        world *w = mostly_overwritten(2, 0, 1);
        w->nodes[0].fail_open = INT32_MAX;
        w->nodes[0].open_error = errors[i];
        set_cut(w, 0, 1, false);
        world_must_converge(w, 1000);
        node_set(&w->nodes[0], 0, 1);
        world_must_converge(w, 1000);
        assert_int_equal(status_of(w, 0, 1).sent_txns, 1001);
        assert_int_equal(status_of(w, 0, 1).transfers_out, 0);
        int refused = INT32_MAX - w->nodes[0].fail_open;
        assert_int_equal(refused, 1);
        world_run(w, 5000);
        assert_int_equal(INT32_MAX - w->nodes[0].fail_open, refused); /* nothing is asked for any more */
        world_free(w);
    }
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
        cmocka_unit_test(heartbeats_do_not_pile_up),
        cmocka_unit_test(the_wire_costs_little),
        cmocka_unit_test(out_of_the_ring_a_transfer_helps),
        cmocka_unit_test(a_transfer_goes_on_under_load),
        cmocka_unit_test(an_interrupted_transfer_goes_on_where_it_stood),
        cmocka_unit_test(an_interrupted_transfer_goes_on_though_the_receiver_wrote),
        cmocka_unit_test(what_fails_in_a_transfer_is_tried_again),
        cmocka_unit_test(what_was_overwritten_is_sent_once),
        cmocka_unit_test(what_was_overwritten_is_relayed_once),
        cmocka_unit_test(what_was_overwritten_is_sent_once_though_it_fails),
        cmocka_unit_test(what_was_overwritten_goes_live_where_no_transfer_can_be_had),
        cmocka_unit_test(a_newcomer_gets_everything_once),
        cmocka_unit_test(a_stalled_transfer_is_given_up),
        cmocka_unit_test(a_silent_link_is_closed),
        cmocka_unit_test(heartbeats_measure),
        cmocka_unit_test(goodbye_is_heard),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
