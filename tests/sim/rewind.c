/* All regions restored at once, each from a backup of its own age; or one of them. What any of the backups held must
 * come back everywhere, and every row be what the history says. Also from backups of a past that was left since: a
 * region that went back to an older one may go forward again to a later one. */
#include "tests/sim/world.h"

#ifndef SIM_REWIND_PERMILLE
#define SIM_REWIND_PERMILLE 250 /* of the seeds */
#endif

enum { STREAM_CHOICE = 'b', STREAM_RETURN = 'u' };

void sim_rewind_draw(sim_config *config, uint64_t seed)
{
    sim_random random;
    sim_random_seed(&random, seed ^ 0x7265776e64u);
    if (config->faults == 0 || !sim_random_chance(&random, SIM_REWIND_PERMILLE)) return;
    config->faults |= 1u << SIM_FAULT_REWIND;
    config->fault_mean_us[SIM_FAULT_REWIND] = sim_random_between(&random, 300000, 3000000);
}

static void back_up(sim_region *region)
{
    sim_kept_backup *to = &region->kept[sim_random_below(&region->world->random, SIM_BACKUPS_MAX)];
    sk_vv durable = {0};
    if (!region->replica) return;
    /* What is committed, and no more, is brought to the disk first, whatever the durability: a checkpoint does so. */
    if (region->world->config.durability != SK_DURABILITY_ALWAYS && sim_region_sync(region)) return;
    if (to->store) sk_store_close(to->store);
    to->store = sk_memory_copy(region->store);
    sim_check_durable(region, &durable);
    sk_vv_free(&to->vv);
    to->vv = durable;
    sim_tell(region->world, "%s: a backup is kept", region->name);
}

static const sim_kept_backup *any_backup(sim_region *region)
{
    uint64_t first = sim_random_below(&region->world->random, SIM_BACKUPS_MAX);
    for (uint64_t i = 0; i < SIM_BACKUPS_MAX; i++) {
        const sim_kept_backup *backup = &region->kept[(first + i) % SIM_BACKUPS_MAX];
        if (backup->store) return backup;
    }
    return NULL;
}

/* The backup stays: it may be put back once more. */
static void restore(sim_region *region, const sim_kept_backup *backup)
{
    sim_world *world = region->world;
    bool was_up = region->replica != NULL;
    sim_check_lost(region);
    if (was_up) sim_region_crash(region, false);
    sk_store_close(region->store);
    region->store = sk_memory_copy(backup->store);
    if (region->disk_error) sk_memory_fail(region->store, 0, region->disk_error);
    sk_vv_copy(&region->at_least, &backup->vv);
    region->new_life = true;
    region->disks++;
    region->less_own = region->mute_own = 0;
    if (was_up) sim_fault_restart_later(world, region);
}

/* Each region's backup, and its way up again, are drawn apart from the others'. */
static void rewind_all(sim_world *world)
{
    const sim_config *config = &world->config;
    const sim_kept_backup *chosen[SIM_REGIONS_MAX];
    uint64_t streams = sim_random_next(&world->random);
    for (uint32_t i = 0; i < config->regions; i++) {
        sim_random_derive(&world->random, streams, STREAM_CHOICE, config->id[i], 0);
        chosen[i] = any_backup(&world->regions[i]);
        if (!chosen[i]) return;
    }
    sk_vv_free(&world->rewound);
    for (uint32_t i = 0; i < config->regions; i++) {
        sim_random_derive(&world->random, streams, STREAM_RETURN, config->id[i], 0);
        sk_vv_join(&world->rewound, &chosen[i]->vv);
        restore(&world->regions[i], chosen[i]);
    }
    world->rewound_losses = sim_check_losses(world);
    world->counts.rewinds++;
    sim_mark(world, SIM_HAD_REWOUND);
    sim_tell(world, "all regions come back from backups");
}

void sim_rewind_strike(sim_world *world, sim_region *region)
{
    uint64_t dice = sim_random_below(&world->random, 100);
    if (dice < 10) {
        rewind_all(world);
    } else if (!region) {
        return;
    } else if (dice < 60) {
        back_up(region);
    } else if (dice < 75) {
        sim_port_export(region);
    } else if (dice < 90) {
        sim_port_import(region);
    } else {
        const sim_kept_backup *backup = any_backup(region);
        if (!backup) return;
        restore(region, backup);
        world->counts.restores++;
        sim_tell(world, "%s: comes back from a backup", region->name);
    }
}

void sim_rewind_check(sim_region *region)
{
    sim_world *world = region->world;
    if (world->rewound_losses != sim_check_losses(world)) return;
    if (!sk_vv_at_most(&world->rewound, &region->vv))
        sim_fail(world, "%s: it lacks what a backup had when all regions were restored", region->name);
}
