/* What goes wrong. Each kind that a seed switched on strikes again and again, at drawn times; most are repaired after a
 * drawn time by an event of their own. Healing repairs everything at once. */
#include "tests/sim/world.h"

#include <stdio.h>
#include <stdlib.h>

static const char *const names[SIM_FAULT_COUNT] = {"cut",   "stall", "partition", "flap",    "kill",
                                                   "power", "stop",  "restore",   "amnesia", "disk",
                                                   "slow",  "clock", "operator",  "members",
                                                   "rewind"};

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
    if (!region->replica || sim_region_peer(region, &world->regions[other]) < 0) return;
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

/* -- members ------------------------------------------------------------------------------------------------------- */

static const char *const nothing[2];

/* A region that came back with less than others have, and does not know it yet: who writes there now writes under dots
 * that are taken, and may. Nobody does it here. */
static bool is_mute(const sim_region *region)
{
    const sk_db *db = &region->replica->db;
    return region->mute_own && region->mute_own == db->origins.list[db->own].incarnation;
}

/* An operator's command at a region, that it may refuse. */
static bool command(sim_region *region, const char *word, const char *name, const uint8_t *key,
                    const char *const more[2])
{
    char hex[2 * SK_MEMBER_KEY + 1];
    sk_bytes argv[6] = {sk_bytes_str("REGION"), sk_bytes_str(word), sk_bytes_str(name)};
    size_t argc = 3;
    if (key) {
        for (int i = 0; i < SK_MEMBER_KEY; i++) snprintf(hex + 2 * i, 3, "%02x", key[i]);
        argv[argc++] = sk_bytes_str(hex);
    }
    for (int i = 0; i < 2 && more[i]; i++) argv[argc++] = sk_bytes_str(more[i]);
    sk_client *client = sk_client_new(region->replica);
    sk_buf out = {0};
    sk_reply reply = {&out, 2};
    sim_region_time(region);
    sk_command_execute(region->replica, client, argv, argc, &reply);
    bool done = sk_bytes_equal(sk_buf_view(&out), sk_bytes_str("+OK\r\n"));
    sim_trace(region->world, "%s: REGION %s %s %s: %.*s", region->name, word, name, key ? (const char *)key : "",
              (int)out.len - 2, (const char *)out.data);
    sk_buf_free(&out);
    sk_client_free(client);
    sim_region_after(region);
    return done;
}

static bool add(sim_region *region, const sim_region *other, const uint8_t *key)
{
    static const char *const address[2] = {"there:1"};
    bool done = command(region, "ADD", other->name, key, address);
    region->world->counts.adds += done;
    return done;
}

static void forget(sim_region *region, const sim_region *other)
{
    region->world->counts.forgets += command(region, "FORGET", other->name, NULL, nothing);
}

/* A new key: the region itself has it from its next start on. */
static void rekey(sim_world *world, sim_region *region, sim_region *other)
{
    uint8_t key[SK_MEMBER_KEY];
    char seconds[24];
    const char *keep[] = {"KEEP", seconds};
    snprintf(seconds, sizeof seconds, "%llu", (unsigned long long)sim_random_of(&world->random, 0, 5, 86400));
    if (memcmp(other->key, other->next_key, sizeof other->key) != 0) return;
    sim_region_make_key(world, key);
    if (!command(region, "REKEY", other->name, key, keep)) return;
    world->counts.rekeys++;
    memcpy(other->next_key, key, sizeof key);
    if (!other->replica) return;
    sim_region_stop(other);
    if (!other->replica) sim_fault_restart_later(world, other);
}

/* An operator at one region, and often another one at the same time elsewhere, about one and the same third. */
static void change_members(sim_world *world)
{
    sim_region *about = any_region(world);
    for (uint64_t operators = sim_random_between(&world->random, 1, 2); operators; operators--) {
        sim_region *at = any_region(world);
        uint8_t key[SK_MEMBER_KEY];
        if (!at->replica || at == about || is_mute(at)) continue;
        bool member = sk_members_region(&at->replica->members, sk_bytes_str(about->name)) != NULL;
        if (member && sim_random_chance(&world->random, 250)) {
            rekey(world, at, about);
        } else if (member) {
            forget(at, about);
        } else if (sim_random_chance(&world->random, 200)) { /* a key that nobody has: it must not stay so */
            sim_region_make_key(world, key);
            world->counts.clashes += add(at, about, key);
        } else {
            (void)add(at, about, about->key);
        }
    }
}

/* A new region: added somewhere, started somewhat before or later. */
static void join(sim_world *world, sim_region *region)
{
    sim_region *at = any_region(world);
    if (at != region && at->replica && !is_mute(at)) (void)add(at, region, region->next_key);
    sim_event_push(world, world->now_us + sim_random_below(&world->random, 500000), SIM_EVENT_START, region->index, 0, 0);
}

/* It reads its key and its configuration. */
static void restart(sim_world *world, sim_region *region)
{
    sim_region_stop(region);
    sim_event_push(world, world->now_us, SIM_EVENT_START, region->index, 0, 0);
}

/* Does `region` know in the end what it must about `other`? */
static bool is_settled(const sim_world *world, const sim_region *region, const sim_region *other)
{
    const sk_member *member = sk_members_region(&region->replica->members, sk_bytes_str(other->name));
    if (!sim_stays(world, other->index)) return !member;
    return member && memcmp(member->public_key, other->next_key, SK_MEMBER_KEY) == 0;
}

/* What an operator does about it. */
static void settle(sim_world *world, sim_region *region, const sim_region *other)
{
    if (is_mute(region)) { /* nobody may ever tell it, so whoever has to write there starts it as a new life */
        region->new_life = true;
        restart(world, region);
    } else if (!sim_stays(world, other->index)) {
        forget(region, other);
    } else if (sk_members_region(&region->replica->members, sk_bytes_str(other->name))) {
        (void)command(region, "REKEY", other->name, other->next_key, nothing);
    } else {
        (void)add(region, other, other->next_key);
    }
}

bool sim_fault_heal_members(sim_world *world)
{
    bool busy = false;
    for (uint32_t i = 0; i < world->config.regions; i++) {
        sim_region *region = &world->regions[i];
        if (!sim_stays(world, i)) continue;
        if (region->replica && memcmp(region->key, region->next_key, sizeof region->key) != 0) restart(world, region);
        if (region->replica && region->replica->db.joining) {
            if (!sim_region_accepts(region, &world->regions[world->config.through])) restart(world, region);
            busy = true;
            continue;
        }
        busy |= !region->replica;
        for (uint32_t k = 0; region->replica && k < world->config.regions; k++) {
            if (k == i || is_settled(world, region, &world->regions[k])) continue;
            settle(world, region, &world->regions[k]);
            busy = true;
        }
    }
    return busy;
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
    case SIM_FAULT_MEMBERS: change_members(world); return;
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
    case SIM_FAULT_MEMBERS: join(world, &world->regions[event->b]); return;
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
    if (config->retired < config->regions) { /* what only it has may be gone with it */
        sim_check_lost(&world->regions[config->retired]);
        world->counts.retirements++;
    }
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
