/* What goes wrong. Each kind that a seed switched on strikes again and again, at drawn times; most are repaired after a
 * drawn time by an event of their own. Healing repairs everything at once. */
#include "gossip/engine_internal.h"
#include "tests/sim/world.h"

#include <stdio.h>
#include <stdlib.h>

#define HOUR_MS ((int64_t)3600 * 1000)

enum { STREAM_STRIKE = 'f' };

const char *sim_fault_name(sim_fault fault)
{
    static const char *const names[SIM_FAULT_COUNT] = {
        "cut",  "stall", "partition", "flap",  "kill",   "power", "stop",  "restore", "amnesia", "disk",
        "slow", "clock", "operator",  "clone", "midway", "loss",  "again", "members", "rewind"};
    return names[fault];
}

/* What the n-th strike of a kind does, and when the one after it comes, is drawn from a stream of its own. */
static void next_strike(sim_world *world, sim_fault fault)
{
    uint64_t mean = world->config.fault_mean_us[fault];
    sim_random_derive(&world->random, world->seed, STREAM_STRIKE, fault, ++world->strikes[fault]);
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

/* What is drawn is drawn of what the seed had; NULL or SIM_NOWHERE when that is left out. */
sim_region *sim_fault_region(sim_world *world)
{
    uint32_t place = world->config.place[sim_random_below(&world->random, world->config.drawn)];
    return place == SIM_NOWHERE ? NULL : &world->regions[place];
}

static uint32_t link_of(const sim_world *world, sim_pair ids)
{
    const sim_config *config = &world->config;
    uint32_t a = config->place[ids.a], b = config->place[ids.b];
    return a == SIM_NOWHERE || b == SIM_NOWHERE ? SIM_NOWHERE : sim_network_link(world, a, b);
}

static uint32_t any_link(sim_world *world)
{
    return link_of(world, world->config.links[sim_random_below(&world->random, world->config.link_count)]);
}

static const char *end_name(const sim_world *world, uint32_t link, uint32_t end)
{
    return world->regions[world->links[link].region[end]].name;
}

/* -- links --------------------------------------------------------------------------------------------------------- */

enum { STALL_FIRST = 1, STALL_SECOND = 2 };

static void stall(sim_world *world, uint32_t link, uint64_t ends)
{
    if (ends & STALL_FIRST) sim_network_stall(world, link, 0);
    if (ends & STALL_SECOND) sim_network_stall(world, link, 1);
    sim_tell(world, "the link between %s and %s goes silent%s%s", end_name(world, link, 0), end_name(world, link, 1),
             ends == 3 ? "" : " towards ", ends == 3 ? "" : end_name(world, link, ends == STALL_SECOND));
}

static void unstall(sim_world *world, uint32_t link, uint64_t ends)
{
    if (ends & STALL_FIRST) sim_network_unstall(world, link, 0);
    if (ends & STALL_SECOND) sim_network_unstall(world, link, 1);
}

/* One link goes until then: silently at these ends, or with a bang (0). */
static void sever(sim_world *world, uint32_t link, uint64_t ends, uint64_t until)
{
    if (ends)
        stall(world, link, ends);
    else
        sim_network_block(world, link);
    sim_event_push(world, until, SIM_EVENT_REPAIR, SIM_FAULT_PARTITION, link, ends);
}

/* Who is on which side, and which kinds of links between them go. */
typedef struct {
    sim_had kind;
    uint32_t at[SIM_REGIONS_MAX]; /* by id: a place in a random order */
    uint32_t regions, half;
} split;

static bool is_severed(sim_world *world, const split *by, sim_pair ids)
{
    uint32_t a = by->at[ids.a], b = by->at[ids.b], apart = a > b ? a - b : b - a;
    bool chosen = sim_random_chance(&world->random, 600); /* drawn for each, so that others stay as they are */
    switch (by->kind) {
    case SIM_HAD_PARTIAL: return (a < by->half) != (b < by->half) && chosen;
    case SIM_HAD_ISOLATED: return a == 0 || b == 0;
    case SIM_HAD_BRIDGE: /* place 0 is on both sides */ return a && b && (a < by->half) != (b < by->half);
    case SIM_HAD_RING: return apart != 1 && apart != by->regions - 1;
    default: return (a < by->half) != (b < by->half);
    }
}

/* Links go: between two groups or in another pattern, all of them or some, with a bang or silently. */
static void partition(sim_world *world)
{
    static const sim_had kinds[] = {SIM_HAD_COMPLETE, SIM_HAD_COMPLETE, SIM_HAD_PARTIAL, SIM_HAD_ONE_WAY,
                                    SIM_HAD_ISOLATED, SIM_HAD_BRIDGE,   SIM_HAD_RING};
    const sim_config *config = &world->config;
    split by = {.regions = config->drawn};
    for (uint32_t i = 0; i < by.regions; i++) {
        uint32_t k = (uint32_t)sim_random_below(&world->random, i + 1);
        by.at[i] = by.at[k];
        by.at[k] = i;
    }
    by.kind = kinds[sim_random_below(&world->random, sizeof kinds / sizeof *kinds)];
    by.half = (uint32_t)sim_random_between(&world->random, 1, by.regions - 1);
    bool silent = by.kind == SIM_HAD_ONE_WAY || sim_random_chance(&world->random, 400);
    uint64_t until = a_while(world);
    world->counts.partitions++;
    sim_mark(world, by.kind);
    for (uint32_t i = 0; i < config->link_count; i++) {
        sim_pair ids = config->links[i];
        bool severed = is_severed(world, &by, ids);
        uint32_t link = link_of(world, ids);
        if (!severed || link == SIM_NOWHERE) continue;
        uint64_t ends = silent ? STALL_FIRST | STALL_SECOND : 0;
        if (by.kind == SIM_HAD_ONE_WAY) ends = by.at[ids.a] < by.half ? STALL_FIRST : STALL_SECOND;
        sever(world, link, ends, until);
    }
}

static void flap(sim_world *world, uint32_t link)
{
    uint64_t at = world->now_us;
    for (uint64_t i = sim_random_between(&world->random, 3, 12); i; i--) {
        at += sim_random_delay(&world->random, 500000);
        sim_event_push(world, at, SIM_EVENT_REPAIR, SIM_FAULT_FLAP, link, 0);
    }
}

/* A region asks a peer for what may well be on its way, as it does when it had no room. */
static void ask_again(sim_world *world, uint32_t link, uint32_t end)
{
    sim_region *region = &world->regions[world->links[link].region[end]];
    sim_region *other = &world->regions[world->links[link].region[!end]];
    if (!region->replica || !world->links[link].up[end]) return;
    const sk_engine *engine = region->replica->engine;
    int number = sim_member_peer(region, other);
    if (number < 0) return;
    const sk_peer *peer = &engine->peers[number];
    if (peer->state != LINK_UP) return;
    sk_vv have = {0};
    for (uint32_t o = 0; o < peer->announced; o++) {
        uint64_t seq = sk_vv_get(&region->replica->durable_vv, o), less = sim_random_below(&world->random, 4);
        if (seq > less) sk_vv_set(&have, o, seq - less);
    }
    sk_buf message = {0};
    sk_message_begin(&message, SK_MESSAGE_RESEND);
    sk_vv_pack(&message, &have);
    sim_network_send(world, region->index, other->index, sk_buf_view(&message));
    world->counts.agains++;
    sk_buf_free(&message);
    sk_vv_free(&have);
}

static void operate(sim_world *world, sim_region *region, uint32_t other, bool up)
{
    if (!region->replica || sim_member_peer(region, &world->regions[other]) < 0) return;
    sk_client *client = sk_client_new(region->replica);
    sk_buf out = {0};
    sk_reply reply = {&out, 2};
    sk_bytes argv[] = {sk_bytes_str("REGION"), sk_bytes_str("LINK"), sk_bytes_str(world->regions[other].name),
                       sk_bytes_str(up ? "up" : "down")};
    sim_region_time(region);
    sk_command_execute(region->replica, client, argv, 4, &reply);
    sim_tell(world, "%s: REGION LINK %s %s", region->name, world->regions[other].name, up ? "up" : "down");
    if (!region->dead && !sk_bytes_equal(sk_buf_view(&out), sk_bytes_str("+OK\r\n")))
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
    sim_tell(region->world, "%s: a copy of its disk is taken", region->name);
}

/* The machine dies and comes back with another disk. */
static void change_disk(sim_region *region, sk_store *store)
{
    sim_check_lost(region);
    sim_region_crash(region, false);
    sk_store_close(region->store);
    region->store = store;
    if (region->disk_error) sk_memory_fail(region->store, 0, region->disk_error);
    sk_vv_free(&region->at_least);
}

/* What a new life begins with. */
static void begin_with(sim_world *world, sim_region *region, uint64_t less_of)
{
    region->new_life = !less_of;
    region->disks += !less_of;
    region->less_own = region->mute_own = less_of;
    region->less_losses = sim_check_losses(world);
}

void sim_fault_new_disk(sim_world *world, sim_region *region)
{
    change_disk(region, sk_memory_open(world->config.durability));
    begin_with(world, region, 0);
    world->counts.restores++;
    sim_tell(world, "%s: a new disk", region->name);
    sim_fault_restart_later(world, region);
}

/* The disk is as it was when the copy was made. Each copy is used once. */
static void restore(sim_world *world, sim_region *region, bool amnesia)
{
    bool fresh = !amnesia && sim_random_chance(&world->random, 150); /* drawn in any case */
    if (!region->replica || (!region->copy && !fresh)) {
        if (region->replica) take_copy(region);
        return;
    }
    uint32_t own = region->map[region->replica->db.own];
    uint64_t incarnation = region->replica->db.origins.list[region->replica->db.own].incarnation;
    if (amnesia && (region->copied_own != incarnation || !known_better(world, region, own, region->copied_seq))) return;
    if (fresh) {
        sim_fault_new_disk(world, region);
        return;
    }
    change_disk(region, region->copy);
    region->copy = NULL;
    begin_with(world, region, amnesia ? incarnation : 0);
    if (amnesia)
        world->counts.amnesias++;
    else
        world->counts.restores++;
    sim_tell(world, "%s: an old copy of its disk comes back%s", region->name, amnesia ? " unnoticed" : "");
    sim_fault_restart_later(world, region);
}

/* The machine is replaced by a copy of itself as its disk is now; the old disk is kept, and may come back. */
static void replace_by_clone(sim_world *world, sim_region *region)
{
    if (!region->replica || region->disk_error) return;
    uint32_t own = region->replica->db.own;
    uint64_t incarnation = region->replica->db.origins.list[own].incarnation;
    sim_check_durable(region, &region->at_least);
    uint64_t copied_seq = sk_vv_get(&region->at_least, region->map[own]);
    sim_region_crash(region, false);
    sk_store *clone = sk_memory_copy(region->store);
    if (region->copy) sk_store_close(region->copy);
    region->copy = region->store;
    region->copied_own = incarnation;
    region->copied_seq = copied_seq;
    region->store = clone;
    region->new_life = true;
    region->disks++;
    world->counts.clones++;
    sim_tell(world, "%s goes on as a clone of itself", region->name);
    sim_fault_restart_later(world, region);
}

static void fail_disk(sim_world *world, sim_region *region)
{
    bool full = sim_random_chance(&world->random, 500);
    bool nearly_full = sim_random_chance(&world->random, 300);
    uint64_t good = sim_random_below(&world->random, 6);
    if (region->disk_error) return;
    region->disk_error = full ? SK_E_DISK_FULL : SK_E_IO;
    region->nearly_full = nearly_full;
    sk_memory_fail(region->store, good, region->disk_error);
    world->counts.disk_failures++;
    if (full) sim_mark(world, SIM_HAD_FULL);
    sim_tell(world, "%s: its disk %s", region->name, full ? "is full" : "fails");
    repair_later(world, SIM_FAULT_DISK, region->index, 0);
}

/* At random, and now and then far ahead and back (clock.c). */
static void jump(sim_world *world, sim_region *region)
{
    if (sim_clock_far(world, region)) {
        repair_later(world, SIM_FAULT_CLOCK, region->index, 0);
        return;
    }
    int64_t by = (int64_t)sim_random_delay(&world->random, sim_random_of(&world->random, 50, 5000, HOUR_MS));
    region->wall_offset_ms += sim_random_chance(&world->random, 500) ? by : -by;
    if (region->wall_offset_ms > region->wall_most_ms) region->wall_most_ms = region->wall_offset_ms;
    world->counts.clock_jumps++;
    sim_tell(world, "%s: its clock jumps by %lld ms or back", region->name, (long long)by);
}

static void strike_region(sim_world *world, sim_fault fault, sim_region *region)
{
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
    case SIM_FAULT_MIDWAY: region->fuse = (uint32_t)sim_random_between(&world->random, 1, 15); return;
    case SIM_FAULT_RESTORE:
    case SIM_FAULT_AMNESIA: restore(world, region, fault == SIM_FAULT_AMNESIA); return;
    case SIM_FAULT_CLONE: replace_by_clone(world, region); return;
    case SIM_FAULT_DISK: fail_disk(world, region); return;
    case SIM_FAULT_SLOW:
        region->slow = sim_random_of(&world->random, 5, 50, 200);
        repair_later(world, fault, region->index, 0);
        return;
    case SIM_FAULT_CLOCK: jump(world, region); return;
    default: return;
    }
}

static void strike_link(sim_world *world, sim_fault fault, uint32_t link)
{
    uint64_t ends = sim_random_between(&world->random, 1, 3);
    switch (fault) {
    case SIM_FAULT_CUT: sim_network_cut(world, link); return;
    case SIM_FAULT_STALL:
        stall(world, link, ends);
        repair_later(world, fault, link, ends);
        return;
    case SIM_FAULT_FLAP: flap(world, link); return;
    case SIM_FAULT_LOSS:
        world->links[link].loss_permille = (uint32_t)sim_random_of(&world->random, 10, 100, 400);
        repair_later(world, fault, link, 0);
        return;
    case SIM_FAULT_AGAIN: ask_again(world, link, ends & 1); return;
    case SIM_FAULT_OPERATOR: {
        sim_region *region = &world->regions[world->links[link].region[ends & 1]];
        uint32_t other = world->links[link].region[!(ends & 1)];
        operate(world, region, other, false);
        repair_later(world, fault, region->index, other);
        return;
    }
    default: return;
    }
}

static bool is_of_links(sim_fault fault)
{
    return fault == SIM_FAULT_CUT || fault == SIM_FAULT_STALL || fault == SIM_FAULT_FLAP || fault == SIM_FAULT_LOSS ||
           fault == SIM_FAULT_AGAIN || fault == SIM_FAULT_OPERATOR;
}

void sim_fault_strike(sim_world *world, sim_fault fault)
{
    if (world->phase != SIM_CHAOS) return;
    uint64_t n = world->strikes[fault];
    next_strike(world, fault);
    if (!sim_world_happens(world, sim_atom_strike(fault, n))) return;
    sim_trace(world, "fault: %s", sim_fault_name(fault));
    sim_mark(world, SIM_HAD_FAULT + fault);
    if (fault == SIM_FAULT_PARTITION) {
        partition(world);
    } else if (is_of_links(fault)) {
        uint32_t link = any_link(world);
        if (link != SIM_NOWHERE) strike_link(world, fault, link);
    } else {
        sim_region *region = sim_fault_region(world);
        if (fault == SIM_FAULT_REWIND)
            sim_rewind_strike(world, region);
        else if (fault == SIM_FAULT_MEMBERS)
            sim_member_strike(world, region);
        else if (region)
            strike_region(world, fault, region);
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
    if (world->phase != SIM_CHAOS) return;
    sim_fault fault = (sim_fault)event->a;
    if (fault == SIM_FAULT_FLAP || fault == SIM_FAULT_REWIND)
        sim_trace(world, "goes on: %s", sim_fault_name(fault));
    else
        sim_tell(world, "over: %s", sim_fault_name(fault));
    switch (fault) {
    case SIM_FAULT_STALL: unstall(world, event->b, event->n); return;
    case SIM_FAULT_PARTITION:
        if (event->n)
            unstall(world, event->b, event->n);
        else
            sim_network_unblock(world, event->b);
        return;
    case SIM_FAULT_FLAP: sim_network_cut(world, event->b); return;
    case SIM_FAULT_REWIND: sim_port_step(&world->regions[event->b]); return;
    case SIM_FAULT_DISK: repair_disk(&world->regions[event->b]); return;
    case SIM_FAULT_LOSS: world->links[event->b].loss_permille = 0; return;
    case SIM_FAULT_SLOW: world->regions[event->b].slow = 1; return;
    case SIM_FAULT_CLOCK: world->regions[event->b].far_ms = 0; return;
    case SIM_FAULT_OPERATOR: operate(world, &world->regions[event->b], (uint32_t)event->n, true); return;
    default: return;
    }
}

void sim_fault_heal(sim_world *world)
{
    sim_config *config = &world->config;
    sim_member_retire(world);
    config->delay_tail_us = 0;
    for (uint32_t i = 0; i < config->regions; i++) {
        sim_region *region = &world->regions[i];
        repair_disk(region);
        region->slow = 1;
        region->far_ms = 0;
        region->fuse = 0;
        sim_port_finish(region);
        if (!region->replica) sim_event_push(world, world->now_us, SIM_EVENT_START, i, 0, 0);
        for (uint32_t k = 0; k < i; k++) {
            sim_link *link = &world->links[sim_network_link(world, i, k)];
            uint32_t index = sim_network_link(world, i, k);
            if (!config->graph[i][k]) continue;
            link->loss_permille = 0;
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
