/* What goes wrong. Each kind that a seed switched on strikes again and again, at drawn times; most are repaired after a
 * drawn time by an event of their own. Healing repairs everything at once. */
#include "tests/sim/world.h"

#include <stdlib.h>

static const char *const names[SIM_FAULT_COUNT] = {"cut",   "stall", "partition", "flap",    "kill",
                                                   "power", "stop",  "restore",   "amnesia", "disk",
                                                   "slow",  "clock", "operator",  "rewind"};

static void next_strike(sim_world *world, sim_fault fault)
{
    uint64_t mean = world->config.fault_mean_us[fault];
    sim_event_push(world, world->now_us + sim_random_delay(&world->random, mean), SIM_EVENT_FAULT, fault, 0, 0);
}

void sim_fault_init(sim_world *world)
{
    for (uint32_t i = 0; i < SIM_FAULT_COUNT; i++)
        if (world->config.faults >> i & 1) next_strike(world, (sim_fault)i);
}

/* In how long a fault is over. */
static uint64_t a_while(sim_world *world)
{
    return world->now_us + sim_random_delay(&world->random, sim_random_of(&world->random, 300000, 2000000, 6000000));
}

static void repair_later(sim_world *world, sim_fault fault, uint32_t what, uint64_t n)
{
    sim_event_push(world, a_while(world), SIM_EVENT_REPAIR, fault, what, n);
}

static sim_region *any_region(sim_world *world)
{
    return &world->regions[sim_random_below(&world->random, world->config.regions)];
}

/* A link of the graph. */
static uint32_t any_link(sim_world *world)
{
    for (;;) {
        uint32_t a = (uint32_t)sim_random_below(&world->random, world->config.regions);
        uint32_t b = (uint32_t)sim_random_below(&world->random, world->config.regions);
        if (world->config.graph[a][b]) return sim_network_link(world, a, b);
    }
}

/* -- links --------------------------------------------------------------------------------------------------------- */

enum { STALL_FIRST = 1, STALL_SECOND = 2 };

static void stall(sim_world *world, uint32_t link, uint64_t ends)
{
    if (ends & STALL_FIRST) sim_network_stall(world, link, 0);
    if (ends & STALL_SECOND) sim_network_stall(world, link, 1);
}

static void unstall(sim_world *world, uint32_t link, uint64_t ends)
{
    if (ends & STALL_FIRST) sim_network_unstall(world, link, 0);
    if (ends & STALL_SECOND) sim_network_unstall(world, link, 1);
}

/* Between two groups of regions links go: all of them or some, with a bang or silently. */
static void partition(sim_world *world)
{
    uint32_t regions = world->config.regions,
             side = (uint32_t)sim_random_between(&world->random, 1, (1u << regions) - 2);
    uint32_t permille = (uint32_t)sim_random_of(&world->random, 1000, 1000, 600);
    bool silent = sim_random_chance(&world->random, 400);
    uint64_t until = a_while(world);
    world->counts.partitions++;
    for (uint32_t a = 0; a < regions; a++)
        for (uint32_t b = a + 1; b < regions; b++) {
            uint32_t link = sim_network_link(world, a, b);
            if (!world->config.graph[a][b] || (side >> a & 1) == (side >> b & 1)) continue;
            if (!sim_random_chance(&world->random, permille)) continue;
            if (silent)
                stall(world, link, STALL_FIRST | STALL_SECOND);
            else
                sim_network_block(world, link);
            sim_event_push(world, until, SIM_EVENT_REPAIR, SIM_FAULT_PARTITION, link, silent);
        }
}

static void flap(sim_world *world)
{
    uint32_t link = any_link(world);
    uint64_t at = world->now_us;
    for (uint64_t i = sim_random_between(&world->random, 3, 12); i; i--) {
        at += sim_random_delay(&world->random, 500000);
        sim_event_push(world, at, SIM_EVENT_REPAIR, SIM_FAULT_FLAP, link, 0);
    }
}

static void operate(sim_world *world, sim_region *region, uint32_t other, bool up)
{
    if (!region->replica) return;
    sk_client *client = sk_client_new(region->replica);
    sk_buf out = {0};
    sk_reply reply = {&out, 2};
    sk_bytes argv[] = {sk_bytes_str("REGION"), sk_bytes_str("LINK"), sk_bytes_str(world->regions[other].name),
                       sk_bytes_str(up ? "up" : "down")};
    sim_region_time(region);
    sk_command_execute(region->replica, client, argv, 4, &reply);
    if (!sk_bytes_equal(sk_buf_view(&out), sk_bytes_str("+OK\r\n")))
        sim_fail(world, "REGION LINK is answered with %.*s", (int)out.len, (const char *)out.data);
    sk_buf_free(&out);
    sk_client_free(client);
    sim_region_after(region);
}

/* -- processes and disks ------------------------------------------------------------------------------------------- */

void sim_fault_restart_later(sim_world *world, sim_region *region)
{
    uint64_t down = sim_random_delay(&world->random, sim_random_of(&world->random, 20000, 500000, 4000000));
    sim_event_push(world, world->now_us + down, SIM_EVENT_START, region->index, 0, 0);
}

/* Does another region's disk know more of this one's origin than `has`? */
static bool known_better(sim_world *world, const sim_region *region, uint32_t origin, uint64_t has)
{
    sk_vv durable = {0};
    bool better = false;
    for (uint32_t i = 0; i < world->config.regions; i++) {
        sim_region *other = &world->regions[i];
        if (other == region || !other->replica) continue;
        sim_check_durable(other, &durable);
        better |= sk_vv_get(&durable, origin) > has;
    }
    sk_vv_free(&durable);
    return better;
}

static void take_copy(sim_region *region)
{
    const sk_db *db = &region->replica->db;
    sk_vv durable = {0};
    if (region->copy) sk_store_close(region->copy);
    region->copy = sk_memory_copy(region->store);
    sim_check_durable(region, &durable);
    uint64_t sealed, synced;
    sk_memory_progress(region->store, &sealed, NULL, &synced);
    bool all = sealed == synced && !db->dirty; /* else its incarnation may be younger than the copy */
    region->copied_own = all ? db->origins.list[db->own].incarnation : 0;
    region->copied_seq = sk_vv_get(&durable, region->map[db->own]);
    sk_vv_free(&durable);
    sim_trace(region->world, "%s: a backup is taken", region->name);
}

/* The disk is as it was when the copy was made. Each copy is used once. */
static void restore(sim_world *world, sim_region *region, bool amnesia)
{
    bool fresh = !amnesia && sim_random_chance(&world->random, 150);
    if (!region->replica || (!region->copy && !fresh)) {
        if (region->replica) take_copy(region);
        return;
    }
    uint32_t own = region->map[region->replica->db.own];
    uint64_t incarnation = region->replica->db.origins.list[region->replica->db.own].incarnation;
    if (amnesia && (region->copied_own != incarnation || !known_better(world, region, own, region->copied_seq))) return;
    sim_check_lost(region);
    sim_region_crash(region, false);
    sk_store_close(region->store);
    region->store = fresh ? sk_memory_open(world->config.durability) : region->copy;
    if (!fresh) region->copy = NULL;
    if (region->disk_error) sk_memory_fail(region->store, 0, region->disk_error);
    sk_vv_free(&region->at_least);
    region->new_life = !amnesia;
    region->disks += !amnesia;
    region->less_own = region->mute_own = amnesia ? incarnation : 0;
    region->less_losses = sim_check_losses(world);
    if (amnesia)
        world->counts.amnesias++;
    else
        world->counts.restores++;
    sim_trace(world, "%s: %s", region->name,
              amnesia ? "an old copy comes back unnoticed"
              : fresh ? "a new disk"
                      : "an old copy comes back");
    sim_fault_restart_later(world, region);
}

static void strike_region(sim_world *world, sim_fault fault)
{
    sim_region *region = any_region(world);
    switch (fault) {
    case SIM_FAULT_KILL:
    case SIM_FAULT_POWER:
    case SIM_FAULT_STOP:
        if (!region->replica) return;
        if (fault == SIM_FAULT_STOP)
            sim_region_stop(region);
        else
            sim_region_crash(region, fault == SIM_FAULT_KILL);
        if (!region->replica) sim_fault_restart_later(world, region);
        return;
    case SIM_FAULT_RESTORE:
    case SIM_FAULT_AMNESIA: restore(world, region, fault == SIM_FAULT_AMNESIA); return;
    case SIM_FAULT_DISK:
        if (region->disk_error) return;
        region->disk_error = sim_random_chance(&world->random, 500) ? SK_E_DISK_FULL : SK_E_IO;
        region->nearly_full = sim_random_chance(&world->random, 300);
        sk_memory_fail(region->store, sim_random_below(&world->random, 6), region->disk_error);
        world->counts.disk_failures++;
        break;
    case SIM_FAULT_SLOW: region->slow = sim_random_of(&world->random, 5, 50, 200); break;
    case SIM_FAULT_CLOCK: {
        if (sim_clock_far(world, region)) break;
        int64_t jump = (int64_t)sim_random_delay(&world->random, sim_random_of(&world->random, 50, 5000, 3600000));
        region->wall_offset_ms += sim_random_chance(&world->random, 500) ? jump : -jump;
        if (region->wall_offset_ms > region->wall_most_ms) region->wall_most_ms = region->wall_offset_ms;
        world->counts.clock_jumps++;
        return;
    }
    default: return;
    }
    repair_later(world, fault, region->index, 0);
}

void sim_fault_strike(sim_world *world, sim_fault fault)
{
    if (world->healing) return;
    next_strike(world, fault);
    sim_trace(world, "fault: %s", names[fault]);
    uint32_t link = any_link(world);
    uint64_t ends;
    switch (fault) {
    case SIM_FAULT_CUT: sim_network_cut(world, link); return;
    case SIM_FAULT_STALL:
        ends = sim_random_between(&world->random, 1, 3);
        stall(world, link, ends);
        repair_later(world, fault, link, ends);
        return;
    case SIM_FAULT_PARTITION: partition(world); return;
    case SIM_FAULT_FLAP: flap(world); return;
    case SIM_FAULT_REWIND: sim_rewind_strike(world); return;
    case SIM_FAULT_OPERATOR: {
        sim_region *region = &world->regions[world->links[link].region[sim_random_below(&world->random, 2)]];
        uint32_t other = world->links[link].region[world->links[link].region[0] == region->index];
        operate(world, region, other, false);
        repair_later(world, fault, region->index, other);
        return;
    }
    default: strike_region(world, fault);
    }
}

/* -- repairs ------------------------------------------------------------------------------------------------------- */

static void repair_disk(sim_region *region)
{
    region->disk_error = 0;
    region->nearly_full = false;
    sk_memory_fail(region->store, 0, SK_OK);
}

void sim_fault_repair(sim_world *world, const sim_event *event)
{
    if (world->healing) return;
    sim_fault fault = (sim_fault)event->a;
    sim_trace(world, "over: %s", names[fault]);
    switch (fault) {
    case SIM_FAULT_STALL: unstall(world, event->b, event->n); return;
    case SIM_FAULT_PARTITION:
        if (event->n)
            unstall(world, event->b, STALL_FIRST | STALL_SECOND);
        else
            sim_network_unblock(world, event->b);
        return;
    case SIM_FAULT_FLAP: sim_network_cut(world, event->b); return;
    case SIM_FAULT_REWIND: sim_port_step(&world->regions[event->b]); return;
    case SIM_FAULT_DISK: repair_disk(&world->regions[event->b]); return;
    case SIM_FAULT_SLOW: world->regions[event->b].slow = 1; return;
    case SIM_FAULT_CLOCK: world->regions[event->b].far_ms = 0; return;
    case SIM_FAULT_OPERATOR: operate(world, &world->regions[event->b], (uint32_t)event->n, true); return;
    default: return;
    }
}

void sim_fault_heal(sim_world *world)
{
    sim_config *config = &world->config;
    config->delay_tail_us = 0;
    for (uint32_t i = 0; i < config->regions; i++) {
        sim_region *region = &world->regions[i];
        repair_disk(region);
        region->slow = 1;
        region->far_ms = 0;
        sim_port_finish(region);
        if (!region->replica) sim_event_push(world, world->now_us, SIM_EVENT_START, i, 0, 0);
        for (uint32_t k = 0; k < i; k++) {
            sim_link *link = &world->links[sim_network_link(world, i, k)];
            uint32_t index = sim_network_link(world, i, k);
            if (!config->graph[i][k]) continue;
            for (uint32_t end = 0; end < 2; end++)
                while (link->to[end].stalls) sim_network_unstall(world, index, end);
            while (link->blocks) sim_network_unblock(world, index);
        }
    }
    for (uint32_t i = 0; i < config->regions; i++)
        for (uint32_t k = 0; k < config->regions; k++)
            if (config->graph[i][k] && world->regions[i].replica &&
                world->links[sim_network_link(world, i, k)].refused[i > k])
                operate(world, &world->regions[i], k, true);
}
