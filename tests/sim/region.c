/* One region: the replica, as the node runs it, over a disk, a clock and a loop of its own.
 *
 *   an event (a request, a message, a timer)
 *     -> sk_replica_time, then the replica's own function
 *     -> sim_region_after: a turn is due soon -> sk_replica_turn seals -> the disk is busy for a while
 *     -> WRITTEN or SYNCED -> sk_replica_reap -> replies and deltas leave */
#include "tests/sim/world.h"

#include <stdio.h>
#include <stdlib.h>

enum { STREAM_REGION = 'r' };
#define HOUR_MS ((int64_t)3600 * 1000)

/* -- what the replica asks of its owner ---------------------------------------------------------------------------- */

static void host_send(void *self, uint32_t peer, sk_bytes message)
{
    sim_region *region = self;
    if (!sim_region_effect(region)) return;
    sim_network_send(region->world, region->index, sim_member_region(region, peer), message);
}

static size_t host_queued(void *self, uint32_t peer)
{
    sim_region *region = self;
    return sim_network_queued(region->world, region->index, sim_member_region(region, peer));
}

static void host_hang_up(void *self, uint32_t peer, int error)
{
    sim_region *region = self;
    if (!sim_region_effect(region)) return;
    sim_network_hang_up(region->world, region->index, sim_member_region(region, peer), error);
}

static void host_link_allowed(void *self, uint32_t peer, bool allowed)
{
    sim_region *region = self;
    if (!sim_region_effect(region)) return;
    sim_network_allow(region->world, region->index, sim_member_region(region, peer), allowed);
}

static void host_members_changed(void *self)
{
    sim_region *region = self;
    if (!region->replica || !sim_region_effect(region)) return; /* it is just starting, or dead */
    sim_network_members(region->world, region->index);
}

static void host_audit(void *self, const sk_txn *txn)
{
    sim_region *region = self;
    sim_world *world = region->world;
    if (!sim_region_effect(region)) return;
    sk_vv none = {0}, canonical = {0};
    sim_region_canonical(region, &none, &canonical); /* brings the map up to date */
    sk_vv_free(&canonical);
    const sim_txn *made = sim_oracle_record(&world->oracle, txn, region->map, region->map_count);
    if (world->oracle.error[0]) sim_fail(world, "%s: %s", region->name, world->oracle.error);
    region->last_txn = made->dot;
    sim_check_dot(region, made->dot);
    sim_clock_check(region, txn->hlc);
    world->counts.transactions++;
}

static bool host_writable(void *self) { return !((sim_region *)self)->nearly_full; }

/* -- life ---------------------------------------------------------------------------------------------------------- */

/* Like a name that a region has, for each number that one may be drawn under. */
static const char *name_of(uint32_t id)
{
    static const char *const names[] = {"eu",  "us",  "ap",  "sa",  "af",  "me",  "oc",  "ca",  "in",  "n9",
                                        "n10", "n11", "n12", "n13", "n14", "n15", "n16", "n17", "n18", "n19",
                                        "n20", "n21", "n22", "n23", "n24", "n25", "n26", "n27", "n28", "n29",
                                        "n30", "n31", "n32", "n33", "n34", "n35", "n36", "n37", "n38", "n39",
                                        "n40", "n41", "n42", "n43", "n44", "n45", "n46", "n47", "n48", "n49"};
    return names[id];
}

static void set_clocks(sim_region *region)
{
    sim_world *world = region->world;
    int64_t off = (int64_t)sim_random_of(&region->random, 100, 10000, 10000, HOUR_MS);
    if (sim_random_chance(&region->random, 500)) off = 0;
    bool behind = sim_random_chance(&region->random, 500);
    region->wall_offset_ms = behind ? -off : off;
    region->drift_ppm = (int64_t)sim_random_of(&region->random, 0, 50, 400);
    if (sim_random_chance(&region->random, 500)) region->drift_ppm = -region->drift_ppm;
    if (region->drift_ppm) sim_mark(world, SIM_HAD_DRIFT);
    if (off >= HOUR_MS) sim_mark(world, SIM_HAD_HOUR);
}

void sim_region_init(sim_world *world, uint32_t index)
{
    sim_region *region = &world->regions[index];
    *region = (sim_region){.world = world, .index = index, .slow = 1, .timer_us = UINT64_MAX};
    sim_random_derive(&region->random, world->seed, STREAM_REGION, world->config.id[index], 0);
    snprintf(region->name, sizeof region->name, "%s", name_of(world->config.id[index]));
    region->store = sk_memory_open(world->config.durability);
    region->new_life = true;
    if (world->config.clocks) set_clocks(region);
    region->wall_most_ms = region->wall_offset_ms;
}

void sim_region_free(sim_region *region)
{
    sim_client_free(region);
    if (region->replica) sk_replica_free(region->replica);
    sk_store_close(region->store);
    if (region->copy) sk_store_close(region->copy);
    for (int i = 0; i < SIM_BACKUPS_MAX; i++) {
        if (region->kept[i].store) sk_store_close(region->kept[i].store);
        sk_vv_free(&region->kept[i].vv);
    }
    free(region->map);
    sk_vv_free(&region->vv);
    sk_vv_free(&region->join_goal);
    sk_vv_free(&region->at_least);
    sk_vv_free(&region->durable);
}

uint64_t sim_region_wall_ms(const sim_region *region)
{
    return (uint64_t)((int64_t)(SIM_WALL_MS + sim_region_now_ms(region)) + region->wall_offset_ms + region->far_ms);
}

uint64_t sim_region_now_ms(const sim_region *region)
{
    int64_t now_us = (int64_t)region->world->now_us;
    return (uint64_t)(now_us + now_us / 1000 * region->drift_ppm / 1000) / 1000;
}

/* When the region's clock will show this time, or a little later. */
static uint64_t when_it_is(const sim_region *region, uint64_t now_ms)
{
    if (now_ms > SIM_WALL_MS) return UINT64_MAX; /* never */
    if (region->drift_ppm == 0) return now_ms * 1000;
    return now_ms * 1000 * 1000000 / (uint64_t)(1000000 + region->drift_ppm) + 2000;
}

void sim_region_time(sim_region *region)
{
    sk_replica_time(region->replica, sim_region_now_ms(region), sim_region_wall_ms(region));
}

void sim_region_start(sim_region *region)
{
    sim_world *world = region->world;
    if (region->replica) return;
    if (region->new_life)
        snprintf(region->life, sizeof region->life, "boot %llu disk %llu", (unsigned long long)++region->lives,
                 (unsigned long long)region->disks);
    region->new_life = false;
    memcpy(region->key, region->next_key, sizeof region->key);
    sk_replica_options options = {
        .region = region->name,
        .cluster = "sim",
        .life = sk_bytes_str(region->life),
        .public_key = region->key,
        .peers = region->seeds,
        .peer_count = region->seed_count,
        .join = sim_member_joins(region),
        .limits = world->config.limits,
        .foreign_expiry_ms = world->config.foreign_expiry_ms,
        .retention = world->config.retention,
        .transaction_bytes_max = 1 << 20,
        .leaf_rows = 4,
        .fold_rows = world->config.fold_rows,
        .seed = sim_random_next(&region->random),
    };
    sk_replica_host host = {
        .self = region,
        .send = host_send,
        .queued = host_queued,
        .hang_up = host_hang_up,
        .link_allowed = host_link_allowed,
        .members_changed = host_members_changed,
        .audit = host_audit,
        .writable = host_writable,
    };
    sk_buf error = {0};
    region->map_count = 0;
    region->dead = false;
    region->fuse = 0;
    int status = sk_replica_new(region->store, &options, &host, sim_region_now_ms(region), sim_region_wall_ms(region),
                                &error, &region->replica);
    if (status) {
        sim_trace(world, "%s cannot start: %.*s", region->name, (int)error.len, (const char *)error.data);
        if (!region->disk_error && !sim_flip_refused(region)) sim_fail(world, "%s does not start: %s", region->name, sk_error_text(status));
        region->replica = NULL;
        sk_memory_crash(region->store, 0);
        sim_event_push(world, world->now_us + 1000000, SIM_EVENT_START, region->index, 0, 0);
    } else {
        region->run++;
        region->rows_due = true;
        region->was_joining = region->replica->db.joining;
        region->last_epoch = region->replica->epoch;
        region->turn_pending = region->disk_busy = false;
        sk_memory_progress(region->store, NULL, NULL, &region->disk_upto);
        const sk_db *db = &region->replica->db;
        sim_tell(world, "%s starts as %s, incarnation %llx", region->name, region->life,
                 (unsigned long long)db->origins.list[db->own].incarnation);
        if (region->less_own == db->origins.list[db->own].incarnation) region->mute_own = region->less_own;
        sim_region_canonical(region, &db->vv, &region->vv);
        if (!sk_vv_at_most(&region->at_least, &region->vv))
            sim_fail(world, "%s starts with less than was durable there", region->name);
        sim_client_connect(region);
        for (uint32_t i = 0; i < world->config.regions; i++)
            if (i != region->index && world->config.graph[region->index][i])
                world->links[sim_network_link(world, region->index, i)].refused[region->index > i] =
                    false; /* an operator's word does not outlive the process */
        sim_network_dial(world, region->index);
        sim_region_after(region);
    }
    sk_buf_free(&error);
}

/* The process is gone: what it held in memory with it. */
static void end_process(sim_region *region)
{
    sim_world *world = region->world;
    sim_client_disconnect(region);
    sim_network_gone(world, region->index);
    sk_replica_free(region->replica);
    region->replica = NULL;
    region->run++;
    region->disk_busy = region->turn_pending = false;
}

void sim_region_crash(sim_region *region, bool kill)
{
    sim_world *world = region->world;
    uint64_t sealed, written, synced;
    if (!region->replica) return;
    sim_check_durable(region, &region->at_least);
    sk_memory_progress(region->store, &sealed, &written, &synced);
    if (region->dead) sealed = region->dead_sealed;
    uint64_t keep = sim_random_between(&region->random, kill ? written : synced, sealed);
    if (!kill && region->disk_busy && keep < region->disk_upto) sim_mark(world, SIM_HAD_TORN);
    if (!kill && world->config.durability != SK_DURABILITY_ALWAYS) {
        region->new_life = true; /* another boot of the machine */
        sim_check_lost(region);
    }
    if (sim_random_chance(&region->random, 200)) region->new_life = true;
    sim_tell(world, "%s %s: sealed %llu, written %llu, synced %llu, kept %llu", region->name,
             kill ? "is killed" : "loses power", (unsigned long long)sealed, (unsigned long long)written,
             (unsigned long long)synced, (unsigned long long)keep);
    sk_memory_crash(region->store, keep);
    end_process(region);
    sk_memory_crash(region->store, 0); /* what the end of the replica put there */
    if (kill)
        world->counts.kills++;
    else
        world->counts.power_losses++;
}

bool sim_region_effect(sim_region *region)
{
    if (!region->dead && region->fuse && --region->fuse == 0) {
        region->dead = true;
        sk_memory_progress(region->store, &region->dead_sealed, NULL, NULL);
    }
    return !region->dead;
}

/* It has died in the middle of a step. */
static void bury(sim_region *region)
{
    sim_world *world = region->world;
    sim_tell(world, "%s dies between two effects", region->name);
    world->counts.midways++;
    sim_region_crash(region, sim_random_chance(&region->random, 500));
    sim_event_push(world, world->now_us + sim_random_delay(&region->random, 300000), SIM_EVENT_START, region->index, 0,
                   0);
}

void sim_region_stop(sim_region *region)
{
    sim_world *world = region->world;
    if (!region->replica || region->disk_error) return;
    sim_tell(world, "%s stops", region->name);
    sim_region_time(region);
    sk_engine_goodbye(region->replica->engine, sim_region_now_ms(region), sim_region_wall_ms(region));
    if (region->dead) {
        sim_region_after(region);
        return;
    }
    sim_check_durable(region, &region->at_least);
    end_process(region);
    bool synced = sk_memory_sync(region->store, UINT64_MAX) == 0;
    sk_memory_crash(region->store, synced ? UINT64_MAX : 0); /* whoever opens it next does so anew */
    world->counts.stops++;
}

/* -- the loop ------------------------------------------------------------------------------------------------------ */

static void start_disk(sim_region *region)
{
    sim_world *world = region->world;
    uint64_t sealed, reached;
    if (region->disk_busy || region->replica->store_error) return;
    bool always = world->config.durability == SK_DURABILITY_ALWAYS;
    sk_memory_progress(region->store, &sealed, always ? NULL : &reached, always ? &reached : NULL);
    if (sealed <= reached) return;
    region->disk_busy = true;
    region->disk_upto = sealed;
    uint64_t delay = sim_random_delay(&region->random, (always ? world->config.disk_us : 50) * region->slow);
    sim_event_push(world, world->now_us + delay, always ? SIM_EVENT_SYNCED : SIM_EVENT_WRITTEN, region->index,
                   (uint32_t)region->run, sealed);
}

static void wake_timer(sim_region *region)
{
    sim_world *world = region->world;
    uint64_t next_ms = sk_replica_next_ms(region->replica);
    uint64_t next_us = when_it_is(region, next_ms);
    if (next_us <= world->now_us) {
        if (++region->spins > 500) sim_fail(world, "%s: it wants to be called at once, again and again", region->name);
        next_us = world->now_us + 200;
    } else {
        region->spins = 0;
    }
    if (next_us == UINT64_MAX || (region->timer_us != UINT64_MAX && region->timer_us <= next_us)) return;
    region->timer_us = next_us;
    sim_event_push(world, next_us, SIM_EVENT_TIMER, region->index, 0, 0);
}

void sim_region_after(sim_region *region)
{
    sim_world *world = region->world;
    if (!region->replica) return;
    if (region->dead) {
        bury(region);
        return;
    }
    if (region->replica->epoch != region->last_epoch) region->map_count = 0; /* numbers may mean other origins now */
    region->dirty = true;
    if (region->replica->wanted.by_region.waits) sim_mark(world, SIM_HAD_HELD_FOR_ROWS);
    bool sampled =
        sim_random_chance(&region->random, world->config.check_permille); /* drawn also where all are asked for */
    sim_check_region(region, sampled || world->options->check_all);
    if (!region->turn_pending && (region->replica->db.dirty || region->replica->more_to_do)) {
        region->turn_pending = true;
        sim_event_push(world, world->now_us + sim_random_below(&region->random, world->config.turn_us), SIM_EVENT_TURN,
                       region->index, (uint32_t)region->run, 0);
    }
    start_disk(region);
    sim_client_release(region);
    wake_timer(region);
}

static void note_laggards(sim_region *region, uint64_t crossings)
{
    const sk_replica *replica = region->replica;
    if (replica->retention.crossings == crossings) return;
    sim_mark(region->world, SIM_HAD_LAGGARD);
    sim_trace(region->world, "%s goes on without a laggard", region->name);
    for (uint32_t i = 0; i < sk_engine_peers(replica->engine); i++) {
        if (!sk_engine_is_peer(replica->engine, i)) continue;
        sk_peer_status peer = sk_engine_peer_status(replica->engine, i);
        if (peer.laggard && peer.sending_transfer) sim_mark(region->world, SIM_HAD_LAGGARD_MID);
    }
}

static void turn_and_reap(sim_region *region)
{
    uint64_t crossings = region->replica->retention.crossings;
    sim_region_time(region);
    sk_replica_turn(region->replica);
    note_laggards(region, crossings);
    sk_replica_reap(region->replica);
    sim_region_after(region);
}

void sim_region_turn(sim_region *region, uint64_t run)
{
    if (!region->replica || run != (uint32_t)region->run) return;
    region->turn_pending = false;
    turn_and_reap(region);
}

void sim_region_command(sim_region *region, const sk_bytes *argv, size_t argc, sk_buf *out)
{
    sk_client *client = sk_client_new(region->replica);
    sk_reply reply = {out, 2};
    sim_region_time(region);
    sk_command_execute(region->replica, client, argv, argc, &reply);
    sk_client_free(client);
    sim_region_after(region);
}

void sim_region_timer(sim_region *region)
{
    if (region->timer_us != region->world->now_us) return; /* an earlier one took its place */
    region->timer_us = UINT64_MAX;
    if (!region->replica) return;
    if (sk_replica_next_ms(region->replica) > sim_region_now_ms(region))
        wake_timer(region);
    else
        turn_and_reap(region);
}

void sim_region_disk(sim_region *region, const sim_event *event)
{
    if (!region->replica || event->b != (uint32_t)region->run) return;
    region->disk_busy = false;
    int status = event->kind == SIM_EVENT_SYNCED ? sk_memory_sync(region->store, event->n)
                                                 : sk_memory_write(region->store, event->n);
    sim_trace(region->world, "%s %s %llu%s%s", region->name, event->kind == SIM_EVENT_SYNCED ? "synced" : "wrote",
              (unsigned long long)event->n, status ? ": " : "", status ? sk_error_text(status) : "");
    sim_region_time(region);
    sk_replica_reap(region->replica);
    sim_region_after(region);
}

int sim_region_sync(sim_region *region)
{
    uint64_t written;
    sk_memory_progress(region->store, NULL, &written, NULL);
    return sk_memory_sync(region->store, written);
}

void sim_region_sync_tick(sim_region *region)
{
    sim_world *world = region->world;
    if (region->replica) (void)sim_region_sync(region);
    sim_event_push(world, world->now_us + world->config.sync_us, SIM_EVENT_SYNC_TICK, region->index, 0, 0);
}

/* -- numbers ------------------------------------------------------------------------------------------------------- */

void sim_region_canonical(sim_region *region, const sk_vv *vv, sk_vv *out)
{
    sim_world *world = region->world;
    const sk_origins *origins = &region->replica->db.origins;
    if (region->map_count != origins->count) {
        region->map = sk_realloc(region->map, (origins->count + 1) * sizeof *region->map);
        for (uint32_t i = region->map_count < origins->count ? region->map_count : 0; i < origins->count; i++)
            region->map[i] = sim_oracle_origin(&world->oracle, &origins->list[i]);
        region->map_count = origins->count;
    }
    for (uint32_t o = 0; o < out->count; o++) out->seq[o] = 0;
    for (uint32_t o = vv->count; o-- > 0;) /* later ones have higher numbers, mostly: it grows once */
        if (vv->seq[o]) sk_vv_set(out, region->map[o], vv->seq[o]);
}
