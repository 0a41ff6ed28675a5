/* A run: chaos for a drawn time; then everything is healed, and the world must come to rest in agreement. */
#include "tests/sim/world.h"

#include <stdlib.h>

const sim_world *sim_world_current;

enum { LOOK_EVERY_US = 200000 };

static void begin(sim_world *world)
{
    sim_random_seed(&world->random, world->seed);
    sim_config_draw(&world->config, &world->random);
    sim_rewind_draw(&world->config, world->seed);
    sim_workload_init(world);
    sim_network_init(world);
    const sim_config *config = &world->config;
    sim_trace(world, "%u regions, %s, faults %x, durability %u, ring %u/%zu, chunk %zu, window %u", config->regions,
              config->graph_name, config->faults, (unsigned)config->durability, config->limits.ring_txns_max,
              config->limits.ring_bytes_max, config->limits.chunk_bytes, config->limits.transfer_window);
    for (uint32_t i = 0; i < config->regions; i++) sim_region_make_key(world, world->founders[i]);
    for (uint32_t i = 0; i < config->regions; i++) {
        sim_region_init(world, i);
        if (i == config->late)
            sim_event_push(world, sim_random_below(&world->random, config->chaos_us), SIM_EVENT_REPAIR,
                           SIM_FAULT_MEMBERS, i, 0);
        else
            sim_event_push(world, sim_random_below(&world->random, 100000), SIM_EVENT_START, i, 0, 0);
        if (config->durability != SK_DURABILITY_ALWAYS)
            sim_event_push(world, config->sync_us, SIM_EVENT_SYNC_TICK, i, 0, 0);
        for (uint32_t k = 0; k < config->clients; k++)
            sim_event_push(world, 100000 + sim_random_delay(&world->random, config->think_us), SIM_EVENT_CLIENT, i, k,
                           0);
    }
    sim_fault_init(world);
    sim_event_push(world, config->chaos_us, SIM_EVENT_LOOK, 0, 0, 0);
}

/* Operators are told that nothing is lacking of what forgotten regions wrote. */
static void check_agreed(sim_region *region)
{
    sk_client *client = sk_client_new(region->replica);
    sk_buf out = {0};
    sk_reply reply = {&out, 2};
    sk_bytes argv[] = {sk_bytes_str("REGION"), sk_bytes_str("LIST")};
    sim_region_time(region);
    sk_command_execute(region->replica, client, argv, 2, &reply);
    sk_buf_byte(&out, 0);
    if (strstr((const char *)out.data, "still on its way"))
        sim_fail(region->world, "%s: it says that history of a forgotten region is still on its way", region->name);
    sk_buf_free(&out);
    sk_client_free(client);
}

/* All that can be asked of a world at rest. */
static void check_end(sim_world *world)
{
    for (uint32_t i = 0; i < world->config.regions; i++) {
        sim_region *region = &world->regions[i];
        if (!sim_stays(world, i)) continue;
        region->dirty = true;
        sim_check_region(region, true);
        sim_rewind_check(region);
        check_agreed(region);
        const sk_db *db = &region->replica->db;
        if (region->less_own && region->less_own == db->origins.list[db->own].incarnation &&
            region->less_losses == sim_check_losses(world))
            sim_fail(world, "%s: it came back with less than others had, and took no new incarnation", region->name);
        for (uint32_t o = 0; o < world->oracle.origin_count; o++) {
            const sim_origin *origin = &world->oracle.origins[o];
            if (!origin->excused && sk_vv_get(&region->vv, o) < origin->acked)
                sim_fail(world, "%s: in the end it lacks acknowledged writes of %s", region->name, origin->region);
        }
        const sk_engine *engine = region->replica->engine;
        for (uint32_t p = 0; p < sk_engine_peers(engine); p++) {
            if (!sk_engine_is_peer(engine, p)) continue;
            sk_peer_status peer = sk_engine_peer_status(engine, p);
            world->counts.duplicates += peer.duplicate_txns;
        }
        world->counts.expired += region->replica->stat_expired;
        world->counts.conflicts += region->replica->stat_conflicts_refused;
        world->counts.new_incarnations += region->replica->db.origins.count > world->config.regions;
    }
}

static void look(sim_world *world)
{
    uint64_t since = world->now_us - world->config.chaos_us;
    if (!world->healing) {
        sim_trace(world, "everything is healed");
        world->healing = true;
        sim_fault_heal(world);
    } else {
        const char *missing = sim_fault_heal_members(world) ? "members differ" : sim_check_converged(world);
        if (!missing) {
            world->finished = true;
            check_end(world);
            return;
        }
        if (since > world->config.heal_ms * 1000) sim_check_leftovers(world);
        if (since > world->config.heal_ms * 1000)
            sim_fail(world, "%u s after everything was healed: %s", (unsigned)(world->config.heal_ms / 1000), missing);
    }
    sim_event_push(world, world->now_us + LOOK_EVERY_US, SIM_EVENT_LOOK, 0, 0, 0);
}

static void handle(sim_world *world, const sim_event *event)
{
    switch (event->kind) {
    case SIM_EVENT_TIMER: sim_region_timer(&world->regions[event->a]); break;
    case SIM_EVENT_TURN: sim_region_turn(&world->regions[event->a], event->b); break;
    case SIM_EVENT_WRITTEN:
    case SIM_EVENT_SYNCED: sim_region_disk(&world->regions[event->a], event); break;
    case SIM_EVENT_SYNC_TICK: sim_region_sync_tick(&world->regions[event->a]); break;
    case SIM_EVENT_MESSAGE: sim_network_message(world, event); break;
    case SIM_EVENT_CONNECT: sim_network_connect(world, event); break;
    case SIM_EVENT_CLOSED: sim_network_closed(world, event); break;
    case SIM_EVENT_CLIENT: sim_client_step(world, event->a, event->b); break;
    case SIM_EVENT_START: sim_region_start(&world->regions[event->a]); break;
    case SIM_EVENT_FAULT: sim_fault_strike(world, (sim_fault)event->a); break;
    case SIM_EVENT_REPAIR: sim_fault_repair(world, event); break;
    case SIM_EVENT_LOOK: look(world); break;
    }
}

static void add_counts(sim_counts *into, const sim_counts *from)
{
    uint64_t *to = (uint64_t *)into;
    const uint64_t *each = (const uint64_t *)from;
    for (size_t i = 0; i < sizeof *into / sizeof *to; i++) to[i] += each[i];
}

uint64_t sim_world_run(uint64_t seed, const sim_options *options, sim_counts *counts)
{
    sim_world *world = sk_alloc(sizeof *world);
    world->seed = seed;
    world->options = options;
    world->trace_hash = 14695981039346656037u;
    sim_world_current = world;
    begin(world);
    sim_event event;
    while (!world->finished && sim_event_pop(world, &event)) {
        world->now_us = event.at_us;
        if (++world->counts.events > SIM_EVENTS_MAX) sim_fail(world, "it does not come to rest");
        handle(world, &event);
    }
    sim_trace(world, "the end: digest %016llx", (unsigned long long)world->regions[0].replica->db.digest);
    world->counts.simulated_ms = sim_now_ms(world);
    world->counts.dots_reused = world->oracle.reused;
    if (counts) add_counts(counts, &world->counts);
    uint64_t hash = world->trace_hash;
    for (uint32_t i = 0; i < world->config.regions; i++) sim_region_free(&world->regions[i]);
    sim_port_free(world);
    sim_network_free(world);
    sim_workload_free(world);
    sim_oracle_free(&world->oracle);
    sim_expect_free(world);
    free(world->events.heap);
    free(world->digests);
    free(world);
    sim_world_current = NULL;
    return hash;
}
