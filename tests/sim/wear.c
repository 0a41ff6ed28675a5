/* A disk that goes on losing things while others write. In some runs, when all is at rest, the next seconds see writes in all
 * regions but one, to few keys, and that one stopped, damaged and started again and again: a row is lost or a byte of one is another,
 * mostly of what was written last; or a byte of its history. Links are out meanwhile, so that not all is stable at once. In some of
 * them another region has lost its disk before, and only the one that wears has its last writes.
 *
 * The region itself is not written to: what a row answers that is lost, and not missed yet, is anybody's guess. All else is as
 * after one byte that was flipped (flip.c): in the end all regions hold the same, or an operator has put back its disk. */
#include "tests/sim/world.h"

#ifndef SIM_WEAR_PERMILLE
#define SIM_WEAR_PERMILLE 400 /* of the seeds */
#endif

enum { WRITE, DAMAGE, LINK_BACK, WRITE_THERE, LOSE_DISK };

static void write_something(sim_world *world, sim_region *region)
{
    static const sim_write commands[] = {
        {{"INCRBY", NULL, "7"}, SK_TABLE_KEY},       {{"DECR", NULL}, SK_TABLE_KEY},
        {{"SET", NULL, "3"}, SK_TABLE_KEY},          {{"SET", NULL, "worn"}, SK_TABLE_KEY},
        {{"DEL", NULL}, SK_TABLE_KEY},               {{"HSET", NULL, "f0", "worn"}, SK_TABLE_HASH},
        {{"HINCRBY", NULL, "f1", "5"}, SK_TABLE_HASH}, {{"HDEL", NULL, "f1"}, SK_TABLE_HASH},
        {{"SADD", NULL, "m0"}, SK_TABLE_SET},        {{"SREM", NULL, "m0"}, SK_TABLE_SET},
    };
    static const uint32_t often[] = {6, 2, 2, 1, 2, 1, 3, 1, 1, 1};
    sim_wear *wear = &world->wear;
    if (!region) region = &world->regions[sim_random_below(&wear->random, world->config.regions)];
    const sim_write *what = &commands[sim_random_weighted(&wear->random, often, sizeof often / sizeof *often)];
    uint32_t number = sim_random_chance(&wear->random, 600) ? 0 : (uint32_t)sim_random_below(&wear->random, world->config.keys);
    if (region->index == world->flip.region || !sim_member_stays(world, region->index)) return;
    if (!region->replica || sim_client_is_mute(region)) return;
    (void)sim_flip_write(region, what, number, &wear->last);
}

static void damage(sim_world *world)
{
    sim_wear *wear = &world->wear;
    sim_region *region = &world->regions[world->flip.region];
    sk_cf cf = sim_random_chance(&wear->random, 850) ? SK_CF_ROW : SK_CF_HISTORY;
    bool whole = cf == SK_CF_ROW && sim_random_chance(&wear->random, 600), any = sim_random_chance(&wear->random, 250);
    uint64_t down_us = sim_random_delay(&wear->random, sim_random_of(&wear->random, 1000, 30000, 300000));
    if (world->flip.refused || region->disk_error) return;
    bool runs = region->replica != NULL;
    sim_region_stop(region);
    if (region->replica) return;
    sk_buf end = {0};
    sk_bytes first = any || cf != SK_CF_ROW ? SK_BYTES_NONE : sk_buf_view(&wear->last);
    sk_buf_bytes(&end, first);
    sk_rowkey_successor(&end);
    sim_flip_damage(region, &wear->random, cf, whole, first, end.len ? sk_buf_view(&end) : SK_BYTES_NONE);
    sk_buf_free(&end);
    if (runs) sim_event_push(world, world->now_us + down_us, SIM_EVENT_START, region->index, 0, 0);
}

static void push(sim_world *world, uint64_t after_us, uint32_t what, uint32_t of)
{
    sim_event_push(world, world->now_us + after_us, SIM_EVENT_WEAR, what, of, 0);
    world->wear.to_come++;
}

static void break_link(sim_world *world, uint32_t link, uint64_t back_after_us)
{
    sim_network_block(world, link);
    push(world, back_after_us, LINK_BACK, link);
}

/* One that is linked with the region that wears, which nobody else is linked with meanwhile, writes and loses its disk. True if there
 * is one: until then there is to be no damage. */
static bool plan_tail(sim_world *world, uint64_t before_us)
{
    sim_random random;
    const uint32_t worn = world->flip.region, count = world->config.regions;
    sim_random_seed(&random, world->seed ^ 0x7461696cu);
    uint32_t tail = (uint32_t)sim_random_below(&random, count);
    if (!sim_random_chance(&random, 400) || count < 3 || tail == worn || !world->config.graph[worn][tail]) return false;
    if (!sim_member_stays(world, tail) || !world->regions[tail].replica || world->regions[tail].disk_error) return false;
    for (uint32_t a = 0; a < count; a++)
        for (uint32_t b = a + 1; b < count; b++) {
            bool near = a == worn || b == worn || a == tail || b == tail, between = (a == worn || a == tail) && (b == worn || b == tail);
            if (!world->config.graph[a][b] || !near || between) continue;
            break_link(world, sim_network_link(world, a, b), before_us + sim_random_below(&random, before_us));
        }
    for (uint64_t i = sim_random_between(&random, 1, 4); i > 0; i--)
        push(world, sim_random_below(&random, before_us / 2), WRITE_THERE, tail);
    push(world, before_us / 2 + sim_random_below(&random, before_us / 2), LOSE_DISK, tail);
    world->counts.tails++;
    return true;
}

static void plan_events(sim_world *world)
{
    enum { TAIL_US = 1000000 };
    sim_wear *wear = &world->wear;
    uint64_t span_us = sim_random_of(&wear->random, 50000, 500000, 4000000);
    uint64_t writes = sim_random_between(&wear->random, 4, 24), damages = sim_random_between(&wear->random, 2, 4);
    uint64_t before_us = plan_tail(world, TAIL_US) ? TAIL_US : 0;
    for (uint64_t i = 0; i < writes + damages; i++)
        push(world, before_us + sim_random_below(&wear->random, span_us), i < writes ? WRITE : DAMAGE, 0);
    for (uint32_t a = 0; a < world->config.regions; a++)
        for (uint32_t b = a + 1; b < world->config.regions; b++) {
            if (!world->config.graph[a][b] || !sim_random_chance(&wear->random, 300)) continue;
            uint64_t back_us = sim_random_below(&wear->random, 2 * span_us);
            if (!before_us) break_link(world, sim_network_link(world, a, b), back_us);
        }
}

bool sim_wear_strike(sim_world *world)
{
    sim_wear *wear = &world->wear;
    if (wear->struck) return false;
    wear->struck = true;
    sim_random_seed(&wear->random, world->seed ^ 0x77656172u);
    if (!sim_random_chance(&wear->random, SIM_WEAR_PERMILLE) || world->config.regions < 2) return false;
    uint32_t index = (uint32_t)sim_random_below(&wear->random, world->config.regions);
    if (!sim_member_stays(world, index) || !world->regions[index].replica) return false;
    sim_flip_begin(world, index);
    sim_tell(world, "%s: its disk begins to wear", world->regions[index].name);
    world->counts.worn++;
    plan_events(world);
    return true;
}

void sim_wear_event(sim_world *world, const sim_event *event)
{
    world->wear.to_come--;
    switch (event->a) {
    case WRITE: write_something(world, NULL); break;
    case WRITE_THERE: write_something(world, &world->regions[event->b]); break;
    case LOSE_DISK:
        if (world->regions[event->b].replica && !world->regions[event->b].disk_error)
            sim_fault_new_disk(world, &world->regions[event->b]);
        break;
    case DAMAGE: damage(world); break;
    case LINK_BACK: sim_network_unblock(world, event->b); break;
    }
}

bool sim_wear_goes_on(const sim_world *world)
{
    return world->wear.to_come != 0;
}

void sim_wear_free(sim_world *world)
{
    sk_buf_free(&world->wear.last);
}
