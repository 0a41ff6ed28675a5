/* A run: chaos for a drawn time; then everything is healed, and the world must come to rest in agreement. */
#include "tests/sim/world.h"

#include <assert.h>
#include <stdlib.h>

const sim_world *sim_world_current;

enum { LOOK_EVERY_US = 200000, CALM_ROUND_US = 1000000 };

static void begin_regions(sim_world *world)
{
    const sim_config *config = &world->config;
    for (uint32_t i = 0; i < config->regions; i++) sim_region_init(world, i);
    sim_member_init(world);
    for (uint32_t i = 0; i < config->regions; i++) {
        sim_random *random = &world->regions[i].random;
        uint64_t start_us = sim_random_below(random, 100000);
        if (!sim_member_waits(world, &world->regions[i])) sim_event_push(world, start_us, SIM_EVENT_START, i, 0, 0);
        if (config->durability != SK_DURABILITY_ALWAYS)
            sim_event_push(world, config->sync_us, SIM_EVENT_SYNC_TICK, i, 0, 0);
        for (uint32_t k = 0; k < config->clients; k++)
            sim_event_push(world, 100000 + sim_random_delay(random, config->think_us), SIM_EVENT_CLIENT, i, k, 0);
    }
}

static void note_config(sim_world *world)
{
    const sim_config *config = &world->config;
    sim_mark(world, SIM_HAD_SHAPE + config->shape);
    if (config->regions >= SIM_MANY) sim_mark(world, SIM_HAD_MANY);
    sim_mark(world, config->durability == SK_DURABILITY_ALWAYS ? SIM_HAD_ALWAYS : SIM_HAD_INTERVAL);
    sim_tell(world, "%u regions, %s, faults %x, durability %u, ring %u/%zu, chunk %zu, window %u", config->regions,
             sim_shape_name(config->shape), config->faults, (unsigned)config->durability, config->limits.ring_txns_max,
             config->limits.ring_bytes_max, config->limits.chunk_bytes, config->limits.transfer_window);
}

sim_world *sim_world_new(uint64_t seed, const sim_options *options, const sim_config *config)
{
    sim_world *world = sk_alloc(sizeof *world);
    world->seed = seed;
    world->options = options;
    world->trace_hash = 14695981039346656037u;
    sim_random_seed(&world->random, seed);
    if (config) {
        world->config = *config;
    } else {
        sim_config_draw(&world->config, &world->random);
        sim_fold_draw(&world->config, seed);
        sim_rewind_draw(&world->config, seed);
        sim_watch_draw(&world->config, seed);
        sim_member_draw(&world->config, seed);
    }
    if (options->verdict) options->verdict->regions = ((uint64_t)1 << world->config.drawn) - 1;
    if (options->plan && !sim_config_reduce(&world->config, options->plan)) {
        free(world);
        return NULL;
    }
    sim_workload_init(world);
    sim_expect_init(world);
    sim_network_init(world);
    note_config(world);
    begin_regions(world);
    sim_fault_init(world);
    sim_event_push(world, world->config.chaos_us, SIM_EVENT_LOOK, 0, 0, 0);
    return world;
}

bool sim_world_happens(sim_world *world, sim_atom atom)
{
    sim_verdict *verdict = world->options->verdict;
    if (world->options->plan && !sim_plan_keeps(world->options->plan, atom)) return false;
    if (verdict && verdict->atom_count < SIM_ATOMS_MAX) verdict->atoms[verdict->atom_count++] = atom;
    if (verdict) verdict->last_us = world->now_us;
    return true;
}

/* All that can be asked of a world at rest. */
static void check_end(sim_world *world)
{
    sim_flip_check_end(world);
    for (uint32_t i = 0; i < world->config.regions; i++) {
        sim_region *region = &world->regions[i];
        if (!sim_member_stays(world, i)) continue;
        region->dirty = true;
        sim_check_region(region, true);
        sim_rewind_check(region);
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

static void enter(sim_world *world, sim_phase phase)
{
    world->phase = phase;
    world->phase_us = world->now_us;
}

static void must_not_wait(sim_world *world, const char *missing)
{
    uint64_t patience = world->flip.was ? 3 : 1; /* twenty repairs in vain, before an operator is called, take a while */
    if (world->now_us - world->phase_us <= patience * world->config.heal_ms * 1000) return;
    sk_buf differs = {0};
    sim_rest_describe(world, &differs);
    sk_buf_byte(&differs, 0);
    sim_check_leftovers(world);
    sim_fail(world, "%u s after everything was healed: %s%s", (unsigned)(patience * world->config.heal_ms / 1000), missing,
             (const char *)differs.data);
}

/* Chaos is over, or: is it time for what comes next? */
static void look(sim_world *world)
{
    const char *missing = NULL, *astray;
    bool begins;
    switch (world->phase) {
    case SIM_CHAOS:
        sim_tell(world, "everything is healed");
        enter(world, SIM_HEALING);
        sim_fault_heal(world);
        break;
    case SIM_HEALING:
        sim_flip_look(world);
        begins = world->config.calm_rounds && world->round == 0;
        if (sim_member_heal(world))
            missing = "members differ";
        else
            missing = begins ? sim_check_agreed(world) : sim_check_converged(world);
        if (begins && !sim_network_whole(world)) missing = "links are down";
        astray = sim_stray_look(world);
        if (astray) missing = astray;
        if (sim_wear_goes_on(world)) missing = "a disk is wearing";
        if (missing) {
            must_not_wait(world, missing);
        } else if (begins && sim_crossing_round(world)) {
            enter(world, SIM_CALM);
        } else if (sim_flip_strike(world) || sim_wear_strike(world) || sim_stray_strike(world)) {
            enter(world, SIM_HEALING);
        } else {
            enter(world, SIM_DONE);
            check_end(world);
            return;
        }
        break;
    case SIM_CALM:
        missing = world->now_us - world->phase_us < CALM_ROUND_US ? "time" : sim_check_agreed(world);
        if (missing)
            must_not_wait(world, missing);
        else
            enter(world, sim_crossing_round(world) ? SIM_CALM : SIM_HEALING);
        break;
    case SIM_DONE: return;
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
    case SIM_EVENT_CALM: sim_crossing_write(world, event->a); break;
    case SIM_EVENT_WEAR: sim_wear_event(world, event); break;
    case SIM_EVENT_JOIN: sim_member_join(world, &world->regions[event->a]); break;
    }
}

static void add_counts(sim_counts *into, const sim_counts *from)
{
    uint64_t *to = (uint64_t *)into;
    const uint64_t *each = (const uint64_t *)from;
    for (size_t i = 0; i < sizeof *into / sizeof *to; i++) to[i] += each[i];
}

static void note_counts(sim_world *world, sim_counts *into)
{
    sim_counts *counts = &world->counts;
    counts->simulated_ms = sim_now_ms(world);
    counts->dots_reused = world->oracle.reused;
    counts->runs = 1;
    if (counts->rollbacks) sim_mark(world, SIM_HAD_ROLLBACK);
    if (counts->new_incarnations) sim_mark(world, SIM_HAD_INCARNATION);
    if (counts->calm_rounds) sim_mark(world, SIM_HAD_CALM);
    for (uint32_t i = 0; i < SIM_HAD_COUNT; i++) counts->runs_with[i] = world->had >> i & 1;
    if (into) add_counts(into, counts);
}

void sim_world_free(sim_world *world)
{
    for (uint32_t i = 0; i < world->config.regions; i++) sim_region_free(&world->regions[i]);
    sim_port_free(world);
    sim_flip_free(world);
    sim_wear_free(world);
    sim_stray_free(world);
    sim_network_free(world);
    sim_workload_free(world);
    sim_oracle_free(&world->oracle);
    sim_expect_free(world);
    free(world->events.heap);
    free(world->digests);
    free(world);
}

bool sim_world_step(sim_world *world)
{
    sim_event event;
    if (!sim_event_pop(world, &event)) return false;
    world->now_us = event.at_us;
    world->counts.events++;
    handle(world, &event);
    return true;
}

uint64_t sim_world_run(uint64_t seed, const sim_options *options, sim_counts *counts)
{
    static_assert(SIM_HAD_COUNT <= 64, "world->had is a set of them");
    sim_world *world = sim_world_new(seed, options, NULL);
    if (!world) return 0;
    sim_world_current = world;
    uint64_t events_max = options->events_max ? options->events_max : SIM_EVENTS_MAX;
    while (world->phase != SIM_DONE && sim_world_step(world)) {
        if (world->counts.events > events_max) sim_fail(world, "it does not come to rest");
        if (options->until_us && world->now_us > options->until_us) break;
    }
    if (world->phase == SIM_DONE)
        sim_tell(world, "the end: digest %016llx", (unsigned long long)sim_member_first(world)->replica->db.digest);
    note_counts(world, counts);
    if (options->verdict) options->verdict->events = world->counts.events;
    uint64_t hash = world->trace_hash;
    sim_world_free(world);
    sim_world_current = NULL;
    return hash;
}
