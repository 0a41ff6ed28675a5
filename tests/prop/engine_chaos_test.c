/* Anything may happen, in any order: links flap and get stuck, stores fail and go back, sinks are busy, old copies come
 * back as new lives, nodes take each other for members and no more, limits are tiny. After healing (for odd seeds to the poorest connected graph, a line) everything
 * converges, and everything becomes stable.
 *
 *   SK_SEED=n    runs that seed only, and prints the world if it does not converge
 *   SK_SEEDS=n   runs seeds 1 to n instead of 1 to 150 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "../unit/engine_world.h"

static uint64_t next_random(uint64_t *seed)
{
    *seed ^= *seed << 13;
    *seed ^= *seed >> 7;
    *seed ^= *seed << 17;
    return *seed;
}

static void world_print(const world *w)
{
    for (uint32_t a = 0; a < w->count; a++) {
        const world_node *node = &w->nodes[a];
        print_message("%s: own %u, staging %d busy %d\n", node->region, node->now.own, node->staging, node->busy);
        for (uint32_t o = 0; o < node->now.vv.count; o++)
            if (node->now.vv.seq[o])
                print_message("    %s/%llu: %llu, durable %llu\n", node->now.origins.list[o].region,
                              (unsigned long long)node->now.origins.list[o].incarnation,
                              (unsigned long long)node->now.vv.seq[o],
                              (unsigned long long)sk_vv_get(&node->durable, o));
        for (uint32_t b = 0; b < w->count; b++) {
            if (a == b) continue;
            sk_peer_status status = status_of(w, a, b);
            print_message("    to %s: up %d in %llu out %llu sending %d receiving %d closed %u (last %d) queued %zu\n",
                          status.region, status.up, (unsigned long long)status.transfers_in,
                          (unsigned long long)status.transfers_out, status.sending_transfer, status.receiving_transfer,
                          node->closed[b], node->last_error, w->queues[a][b].count);
        }
    }
}

/* Limits small enough that every path is taken. */
static sk_engine_limits random_limits(uint64_t *seed)
{
    sk_engine_limits limits = world_limits();
    limits.ring_txns_max = (uint32_t)(next_random(seed) % 60);
    limits.held_bytes_max = 200 + next_random(seed) % 3000;
    limits.send_queue_max = 200 + next_random(seed) % 3000;
    limits.batch_bytes = 1 + next_random(seed) % 500;
    limits.chunk_bytes = 1 + next_random(seed) % 300;
    limits.chunk_max = limits.chunk_bytes + 20; /* most go in pieces */
    limits.transfer_window = 1 + next_random(seed) % 4;
    limits.flush_ms = next_random(seed) % 10;
    limits.relay_ms = 50 + next_random(seed) % 500;
    return limits;
}

static void random_step(world *w, uint64_t *seed, world_disk *copies)
{
    uint32_t a = (uint32_t)(next_random(seed) % w->count), b = (uint32_t)(next_random(seed) % w->count);
    world_node *node = &w->nodes[a];
    switch (next_random(seed) % 24) {
    case 0:
        if (a != b) set_cut(w, a, b, true);
        break;
    case 1:
    case 2:
        if (a != b) set_cut(w, a, b, false);
        break;
    case 3:
        if (a != b) link_down(w, a, b);
        break;
    case 4: w->queues[a][b].stuck = !w->queues[a][b].stuck; break;
    case 5: node->holds_sync = !node->holds_sync; break;
    case 6: node->fail_apply = (int)(next_random(seed) % 3); break;
    case 7: node->fail_chunk = (int)(next_random(seed) % 6); break;
    case 8: node->fail_sink_end = (int)(next_random(seed) % 2); break;
    case 9: node->busy = !node->busy; break;
    case 10: node_roll_back(node); break;
    case 11:
        if (next_random(seed) % 4 == 0 && sk_vv_equal(&node->durable, &node->now.vv)) {
            disk_free(&copies[a]);
            copy_disk(&node->now, &copies[a]);
        }
        break;
    case 12:
        if (next_random(seed) % 8 == 0 && copies[a].origins.count) restart(w, a, &copies[a], true);
        break;
    case 14:
        if (a == b || next_random(seed) % 3) break;
        if (node->member[b])
            member_remove(w, a, b);
        else
            member_add(w, a, b);
        break;
    case 13: world_run(w, next_random(seed) % 1500); break;
    default: write_many(w, a, (uint32_t)(next_random(seed) % 12)); break;
    }
    world_run(w, next_random(seed) % 30);
}

static void anything_may_happen_and_it_converges(void **state)
{
    (void)state;
    const char *asked = getenv("SK_SEED"), *many = getenv("SK_SEEDS");
    uint64_t first = asked ? strtoull(asked, NULL, 10) : 1;
    uint64_t last = asked ? first : many ? strtoull(many, NULL, 10) : 150;
    for (uint64_t start = first; start <= last; start++) {
        if (asked || many) print_message("seed %llu\n", (unsigned long long)start);
        uint64_t seed = start * 0x9e3779b97f4a7c15U;
        for (int i = 0; i < 5; i++) next_random(&seed);
        sk_engine_limits limits = random_limits(&seed);
        world *w = world_new(2 + (uint32_t)(next_random(&seed) % 4), &limits);
        world_disk copies[NODES_MAX] = {0};
        uint64_t steps = 20 + next_random(&seed) % 100;
        for (uint64_t i = 0; i < steps; i++) random_step(w, &seed, copies);
        /* Heal, but for a line: the poorest graph that is connected. */
        for (uint32_t a = 0; a < w->count; a++)
            for (uint32_t b = 0; b < w->count; b++) {
                w->queues[a][b].stuck = false;
                w->nodes[a].holds_sync = w->nodes[a].busy = false;
                if (a != b && !w->nodes[a].member[b]) member_add(w, a, b);
                if (a < b) set_cut(w, a, b, start % 2 && b > a + 1);
            }
        bool good = false;
        for (int i = 0; i < 60 && !good; i++) {
            world_run(w, 1000);
            good = world_converged(w);
        }
        if (!good && asked) world_print(w);
        if (!good) fail_msg("seed %llu does not converge", (unsigned long long)start);
        world_run(w, 8000);
        for (uint32_t n = 0; n < w->count; n++)
            if (!sk_vv_equal(sk_engine_stable(w->nodes[n].engine), &w->nodes[n].now.vv))
                fail_msg("seed %llu is not stable", (unsigned long long)start);
        for (uint32_t n = 0; n < NODES_MAX; n++) disk_free(&copies[n]);
        world_free(w);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(anything_may_happen_and_it_converges),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
