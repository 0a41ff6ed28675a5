/* Lives of members that come back with less, and what may be forgotten meanwhile. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "engine_world.h"
#include "gossip/engine_internal.h"

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

enum { A_KNOWS = 1, B_KNOWS = 2 };

/* Three nodes or four; c has acknowledged 20 of a's, and comes back with 10, and cannot apply more. All links are cut. */
static world *world_with_an_old_copy(world_disk *copy, uint32_t count, unsigned who_knows, uint64_t clock_back_ms)
{
    sk_engine_limits limits = world_limits();
    world *w = world_new(count, &limits);
    for (int i = 0; i < 10; i++) node_write(&w->nodes[0]);
    world_must_converge(w, 1000);
    copy_disk(&w->nodes[2].now, copy);
    for (int i = 0; i < 10; i++) node_write(&w->nodes[0]);
    world_must_converge(w, 1000);
    world_run(w, 1000);
    for (uint32_t n = 0; n < count; n++)
        for (uint32_t other = 0; other < n; other++) set_cut(w, n, other, true);
    w->wall_ms -= clock_back_ms;
    restart(w, 2, copy, false);
    w->nodes[2].fail_apply = INT32_MAX;
    w->nodes[2].busy = true;
    for (uint32_t n = 0; n < count; n++) {
        world_disk now;
        if (n == 2 || who_knows >> n & 1) continue;
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
    world *w = world_with_an_old_copy(&copy, 3, A_KNOWS | B_KNOWS, 0);
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

/* The links are a - b - c, or with four nodes a - d - b - c, where a's comes last: it alone knows of c's former life. */
static void dispute(uint32_t count)
{
    world_disk copy;
    uint32_t next_to_a = count == 3 ? 1 : 3;
    world *w = world_with_an_old_copy(&copy, count, A_KNOWS, 3600 * 1000);
    assert_int_equal(believed(w, next_to_a, 2), 0);
    set_cut(w, 1, 2, false);
    if (next_to_a != 1) set_cut(w, 1, next_to_a, false);
    world_run(w, 1000);
    assert_int_equal(believed(w, next_to_a, 2), 10);
    assert_int_equal(w->nodes[2].incarnations, 0);
    set_cut(w, 0, next_to_a, false);
    world_run(w, 3000);
    assert_int_equal(w->nodes[2].incarnations, 1);
    for (uint32_t n = 0; n < count; n++)
        if (n != 2) assert_int_equal(believed(w, n, 2), 10);
    world_free(w);
}

/* b knows nothing of c's former life when c greets it, and hears of it only then, from a: in a higher term than the one
 * that c began, because its clock was set back. */
static void a_member_disputes_what_it_no_longer_has(void **state)
{
    (void)state;
    dispute(3);
}

/* The same, over a node between a and b: it tells b, though b hears of c from c itself. */
static void words_of_a_former_life_get_through_to_a_neighbour(void **state)
{
    (void)state;
    dispute(4);
}

static void a_store_that_goes_back_is_followed(void **state)
{
    (void)state;
    world *w = world_linked(2);
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
    sk_engine_rolled_back(b->engine, true, w->now_ms, w->wall_ms);
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
    world *w = world_linked(2);
    world_node *b = &w->nodes[1];
    write_many(w, 1, 20);
    world_must_converge(w, 100);
    sk_vv_set(&b->now.vv, b->now.own, 10); /* said to be durable, acknowledged, and gone */
    b->now.lanes[b->now.own].count = 10;
    sk_vv_copy(&b->durable, &b->now.vv);
    sk_engine_rolled_back(b->engine, true, w->now_ms, w->wall_ms);
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

static uint64_t of_a(const world *w, uint32_t n, const sk_vv *vv)
{
    const world_node *a = &w->nodes[0];
    return has_of(w, vv, n, 0, a->now.origins.list[a->now.own].incarnation);
}

/* A writer acknowledges nothing that it has written itself: who gets it from there knows that it is on its disk. */
static void history_does_not_wait_for_the_writers_heartbeats(void **state)
{
    (void)state;
    sk_engine_limits limits = world_limits();
    limits.heartbeat_ms = 10000;
    limits.silence_ms = 60000;
    world *w = world_new(3, &limits);
    w->checks_stable = true;
    world_run(w, 12000);
    write_many(w, 0, 10);
    world_run(w, 1000);
    for (uint32_t n = 0; n < 3; n++) assert_int_equal(of_a(w, n, sk_engine_stable(w->nodes[n].engine)), 10);
    world_free(w);
}

/* b may have written something before it had what it sends on, and that is still on its way. What it writes then says what
 * it had. */
static void what_a_peer_sends_on_is_no_acknowledgement_of_it(void **state)
{
    (void)state;
    sk_engine_limits limits = world_limits();
    limits.ack_ms = limits.heartbeat_ms = 100000;
    limits.silence_ms = 1000000;
    world *w = world_new(3, &limits);
    set_cut(w, 0, 2, true);
    world_run(w, 250000);
    write_many(w, 0, 10);
    world_run(w, 10000);
    assert_int_equal(of_a(w, 2, &w->nodes[2].now.vv), 10); /* through b */
    assert_int_equal(of_a(w, 2, status_of(w, 2, 1).acked), 0);
    assert_int_equal(of_a(w, 1, status_of(w, 1, 0).acked), 10);
    write_many(w, 1, 1);
    world_run(w, 1000);
    assert_int_equal(of_a(w, 2, status_of(w, 2, 1).acked), 10);
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
        sk_engine_message(w->nodes[1].engine, peer_of(w, 1, 2), sk_buf_view(&s->sent[i]), w->now_ms, w->wall_ms);
}

/* c has come back with less, and b has heard so from a; what is still on its way over b's old link covers everything that is
 * known of c, but is no word of its new life. (Found by tests/model/forget.pml.) */
static void last_words_of_a_life_do_not_count_for_the_next(void **state)
{
    (void)state;
    sk_engine_limits limits = world_limits();
    limits.silence_ms = 20000;
    world *w = world_new(3, &limits);
    session of_old_life = {0};
    w->tap = record;
    w->tap_self = &of_old_life;
    for (int i = 0; i < 10; i++) node_write(&w->nodes[0]);
    world_must_converge(w, 1000);
    world_run(w, 1000);
    world_disk copy;
    copy_disk(&w->nodes[2].now, &copy);
    uint32_t before = of_old_life.count;
    for (int i = 0; i < 10; i++) node_write(&w->nodes[0]);
    world_must_converge(w, 1000);
    world_run(w, 500);
    w->tap = NULL;
    set_cut(w, 0, 1, true);
    set_cut(w, 1, 2, true);
    set_cut(w, 0, 2, true);
    restart(w, 2, &copy, false);
    w->nodes[2].fail_apply = INT32_MAX;
    w->nodes[2].busy = true;
    set_cut(w, 0, 2, false);
    world_run(w, 1000);
    assert_int_equal(believed(w, 0, 2), 10);
    sk_engine_link_up(w->nodes[1].engine, peer_of(w, 1, 2), w->now_ms, w->wall_ms);
    replay(w, &of_old_life, 0, before);
    set_cut(w, 0, 1, false);
    world_run(w, 1000);
    assert_int_equal(believed(w, 1, 2), 10);
    replay(w, &of_old_life, before, of_old_life.count);
    assert_int_equal(believed(w, 1, 2), 10);
    sk_engine_link_down(w->nodes[1].engine, peer_of(w, 1, 2), w->now_ms, w->wall_ms);
    world_run(w, 1000);
    assert_int_equal(believed(w, 1, 2), 10);
    for (uint32_t i = 0; i < of_old_life.count; i++) sk_buf_free(&of_old_life.sent[i]);
    disk_free(&copy);
    world_free(w);
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
        sk_engine_link_up(b->engine, peer_of(w, 1, 2), w->now_ms, w->wall_ms);
        replay(w, &of_old_life, 0, before_the_tail);
    }
    set_cut(w, 0, 1, false);
    for (int i = 0; i < 12000; i++) {
        world_run(w, 1);
        if (i == 3000) b->holds_sync = false;
        if (i == 3000 && place == TAIL_ON_ITS_WAY) {
            replay(w, &of_old_life, before_the_tail, of_old_life.count);
            sk_engine_link_down(b->engine, peer_of(w, 1, 2), w->now_ms, w->wall_ms);
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
    sk_engine_rolled_back(b->engine, true, w->now_ms, w->wall_ms);
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

static size_t ring_of(const world *w, uint32_t node)
{
    sk_ring_check(&w->nodes[node].engine->ring);
    return w->nodes[node].engine->ring.bytes;
}

/* A region that is away holds it back; what is left for whoever lost its last second is a small part. */
static void the_ring_lets_go_of_what_everybody_has(void **state)
{
    (void)state;
    sk_engine_limits limits = world_limits();
    world *w = world_new(3, &limits);
    world_must_converge(w, 1000);
    for (uint32_t other = 0; other < 2; other++) set_cut(w, 2, other, true);
    for (uint32_t i = 0; i < 200; i++) node_write_bytes(&w->nodes[0], 1000);
    world_run(w, 3000);
    assert_true(ring_of(w, 0) > 200 * 1000 && ring_of(w, 1) > 200 * 1000);
    for (uint32_t other = 0; other < 2; other++) set_cut(w, 2, other, false);
    world_must_converge(w, 5000);
    world_run(w, 3000);
    for (uint32_t n = 0; n < 3; n++) assert_true(ring_of(w, n) <= limits.ring_bytes_max / 16);
    world_free(w);
}

/* b has staged what c sent it, and c has lost that with its disk. b asks a to go on, and then has all that there is: a waits for no more. */
static void what_is_staged_of_what_is_lost_holds_nothing_back(void **state)
{
    (void)state;
    world *w = world_linked(2);
    write_many(w, 0, 5);
    world_must_converge(w, 1000);
    sk_peer *b = &w->nodes[0].engine->peers[peer_of(w, 0, 1)];
    sk_vv_set(&b->staged, w->nodes[0].now.own, 5);
    sk_vv_set(&b->staged, w->nodes[0].now.own + 1, 1000);
    b->has_staged = true;
    write_many(w, 0, 5);
    world_must_converge(w, 1000);
    world_run(w, 2000);
    assert_true(sk_vv_equal(sk_engine_stable(w->nodes[0].engine), &w->nodes[0].now.vv));
    world_free(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_restart_changes_nothing),
        cmocka_unit_test(an_old_copy_takes_a_new_incarnation),
        cmocka_unit_test(a_copy_that_lost_only_what_others_wrote_is_found_out),
        cmocka_unit_test(an_acknowledgement_can_be_lowered_and_stays_so),
        cmocka_unit_test(a_member_disputes_what_it_no_longer_has),
        cmocka_unit_test(words_of_a_former_life_get_through_to_a_neighbour),
        cmocka_unit_test(a_store_that_goes_back_is_followed),
        cmocka_unit_test(a_disk_that_lied_means_a_new_incarnation),
        cmocka_unit_test(stability_needs_all_members),
        cmocka_unit_test(stability_advances_under_constant_load),
        cmocka_unit_test(history_does_not_wait_for_the_writers_heartbeats),
        cmocka_unit_test(what_a_peer_sends_on_is_no_acknowledgement_of_it),
        cmocka_unit_test(forgetting_waits_for_what_members_had_written),
        cmocka_unit_test(last_words_of_a_life_do_not_count_for_the_next),
        cmocka_unit_test(a_lost_tail_on_disk_holds_stability_back),
        cmocka_unit_test(a_lost_tail_holds_stability_back_whatever_the_clock_says),
        cmocka_unit_test(a_lost_tail_in_memory_holds_stability_back),
        cmocka_unit_test(a_lost_tail_on_its_way_holds_stability_back),
        cmocka_unit_test(nothing_is_written_under_a_spent_origin),
        cmocka_unit_test(alone_everything_durable_is_stable),
        cmocka_unit_test(the_ring_lets_go_of_what_everybody_has),
        cmocka_unit_test(what_is_staged_of_what_is_lost_holds_nothing_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
