/* What replication costs: messages and bytes of a write, as the engine makes them (before encryption), with the default
 * limits, ways of 20 ms and nothing that fails. Written out as a table for tests/bench/RESULTS.md; the same on every
 * machine. */
#include "tests/sim/world.h"

#include <stdio.h>

enum {
    SECOND_US = 1000000,
    WARM_UP_ROUNDS = 3,
    ROUND_US = 20 * SECOND_US, /* the first write needs a relay at each hop */
    IDLE_S = 20,
    ALONE = 40, /* writes, one a second */
    BUSY_S = 2,
    BUSY_RATE = 20, /* writes a second, in each region */
    VALUE = 100,
};

typedef struct {
    double messages, bytes, batches;
} cost;

static void run_until(sim_world *world, uint64_t us)
{
    while (world->events.count && world->events.heap[0].at_us <= us) sim_world_step(world);
    world->now_us = us;
}

static cost since(const sim_world *world, const sim_counts *before)
{
    const sim_counts *now = &world->counts;
    return (cost){(double)(now->messages - before->messages), (double)(now->bytes - before->bytes),
                  (double)(now->batches - before->batches)};
}

static void write_one(sim_world *world, uint32_t index)
{
    char key[32], value[VALUE + 1];
    snprintf(key, sizeof key, "key:%012u", index);
    memset(value, 'v', VALUE);
    value[VALUE] = 0;
    const char *const words[] = {"SET", key, value};
    (void)sim_client_ask(&world->regions[index], 0, words, 3, false);
}

static void warm_up(sim_world *world)
{
    run_until(world, 5 * SECOND_US);
    uint64_t hops = world->config.shape == SIM_SHAPE_MESH ? 0 : world->config.regions; /* each first needs a relay */
    for (uint32_t round = 0; round < WARM_UP_ROUNDS; round++) {
        for (uint32_t i = 0; i < world->config.regions; i++) write_one(world, i);
        run_until(world, world->now_us + ROUND_US + hops * SECOND_US);
        for (uint32_t i = 0; i < world->config.regions; i++) sim_check_region(&world->regions[i], false);
        const char *missing = sim_check_agreed(world);
        if (missing) sim_fail(world, "before anything is measured: %s", missing);
    }
}

/* Of so many writes, without what goes over idle links in that time. */
static cost per_write(cost all, cost idle, double seconds, double writes)
{
    return (cost){(all.messages - idle.messages * seconds) / writes, (all.bytes - idle.bytes * seconds) / writes,
                  all.batches / writes};
}

static cost measure_alone(sim_world *world, cost idle)
{
    sim_counts before = world->counts;
    for (uint32_t i = 0; i < ALONE; i++) {
        write_one(world, i % world->config.regions);
        run_until(world, world->now_us + SECOND_US);
    }
    run_until(world, world->now_us + 5 * SECOND_US);
    return per_write(since(world, &before), idle, ALONE + 5, ALONE);
}

static cost measure_busy(sim_world *world, cost idle)
{
    sim_counts before = world->counts;
    uint32_t regions = world->config.regions;
    for (uint32_t i = 0; i < BUSY_S * BUSY_RATE * regions; i++) {
        write_one(world, i % regions);
        run_until(world, world->now_us + SECOND_US / (BUSY_RATE * regions));
    }
    run_until(world, world->now_us + 5 * SECOND_US);
    return per_write(since(world, &before), idle, BUSY_S + 5, BUSY_S * BUSY_RATE * regions);
}

static void configure(sim_config *config, uint32_t regions, sim_shape shape)
{
    sim_random random;
    sim_random_seed(&random, 1);
    *config = (sim_config){
        .regions = regions,
        .drawn = regions,
        .retired = SIM_NOWHERE,
        .late = SIM_NOWHERE,
        .limits = sk_engine_limits_default(),
        .heal_ms = SIM_HEAL_MS,
        .chaos_us = UINT64_MAX / 2, /* no event of the kind that ends it comes */
        .delay_us = 20000,
        .turn_us = 100,
        .disk_us = 200,
        .clients = 1,
        .keys = 1,
        .think_us = SECOND_US,
        .pipeline = UINT32_MAX,
    };
    for (uint32_t i = 0; i < SIM_REGIONS_MAX; i++) config->id[i] = config->place[i] = i;
    sim_config_graph(config, shape, &random);
}

static void measure(const sim_options *options, uint32_t regions, sim_shape shape)
{
    sim_config config;
    sim_options unchecked = *options;
    unchecked.unchecked = true;
    configure(&config, regions, shape);
    sim_world *world = sim_world_new(1, &unchecked, &config);
    sim_world_current = world;
    world->phase = SIM_CALM; /* clients do nothing by themselves */
    sim_network_calm(world, config.delay_us);
    warm_up(world);
    sim_counts before = world->counts;
    run_until(world, world->now_us + IDLE_S * SECOND_US);
    cost idle = since(world, &before);
    idle = (cost){idle.messages / IDLE_S, idle.bytes / IDLE_S, idle.batches / IDLE_S};
    cost alone = measure_alone(world, idle), busy = measure_busy(world, idle);
    double links = config.link_count, others = regions - 1;
    printf("| %u | %s | %u | %.1f | %.1f | %.0f | %.1f | %.0f | %.1f | %.1f | %.0f |\n", regions, sim_shape_name(shape),
           config.link_count, alone.batches, alone.messages, alone.bytes, busy.batches / others, busy.bytes / others,
           busy.messages, idle.messages / links, idle.bytes / links);
    fflush(stdout);
    sim_world_free(world);
    sim_world_current = NULL;
}

void sim_cost(const sim_options *options)
{
    static const uint32_t regions[] = {2, 8, 16, 50};
    static const sim_shape shapes[] = {SIM_SHAPE_MESH, SIM_SHAPE_RING, SIM_SHAPE_STAR, SIM_SHAPE_TREE};
    printf("| regions | links | how many | alone: deltas sent | messages | bytes | busy: batches per copy | bytes per "
           "copy "
           "| messages per write | idle: messages/s and link | bytes/s and link |\n"
           "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |\n");
    for (uint32_t i = 0; i < sizeof regions / sizeof *regions; i++)
        for (uint32_t k = 0; k < sizeof shapes / sizeof *shapes; k++)
            if (regions[i] > 2 || shapes[k] == SIM_SHAPE_MESH) measure(options, regions[i], shapes[k]);
}
