/* What a seed draws. Swarm testing (Groce et al. 2012): each seed switches on a random subset of everything, because
 * faults that always come together hide each other. */
#include "tests/sim/world.h"

static void connect_regions(sim_config *config, uint32_t a, uint32_t b)
{
    if (a == b) return;
    config->graph[a][b] = config->graph[b][a] = true;
}

static void draw_graph(sim_config *config, sim_random *random)
{
    uint32_t regions = config->regions;
    static const uint32_t weights[] = {60, 10, 10, 10, 10};
    uint32_t shape = regions < 3 ? 0 : sim_random_weighted(random, weights, 5);
    static const char *const names[] = {"mesh", "line", "ring", "star", "random"};
    config->graph_name = names[shape];
    for (uint32_t i = 0; i < regions; i++) {
        if (shape == 0)
            for (uint32_t k = 0; k < i; k++) connect_regions(config, i, k);
        if ((shape == 1 || shape == 2) && i) connect_regions(config, i, i - 1);
        if (shape == 2) connect_regions(config, 0, regions - 1);
        if (shape == 3) connect_regions(config, 0, i);
        if (shape == 4 && i) connect_regions(config, i, (uint32_t)sim_random_below(random, i));
    }
    for (uint32_t i = 0; shape == 4 && i < regions / 2; i++) {
        uint32_t a = (uint32_t)sim_random_below(random, regions); /* not within the call: no order there */
        connect_regions(config, a, (uint32_t)sim_random_below(random, regions));
    }
}

static void draw_limits(sk_engine_limits *limits, sim_random *random)
{
    *limits = sk_engine_limits_default();
    limits->ring_txns_max = (uint32_t)sim_random_of(random, 0, 3, 3, 20);
    limits->ring_bytes_max = (size_t)sim_random_of(random, 300, 4000, 1 << 20);
    limits->held_bytes_max = (size_t)sim_random_of(random, 200, 4000, 1 << 20);
    limits->send_queue_max = (size_t)sim_random_of(random, 500, 20000, 1 << 20);
    limits->batch_bytes = (size_t)sim_random_of(random, 1, 200, 64 << 10);
    limits->chunk_bytes = (size_t)sim_random_of(random, 1, 60, 400, 64 << 10);
    limits->transfer_window = (uint32_t)sim_random_of(random, 1, 2, 16);
    limits->flush_ms = (uint32_t)sim_random_of(random, 0, 2, 10);
    limits->ack_ms = (uint32_t)sim_random_of(random, 0, 20, 100);
    limits->heartbeat_ms = (uint32_t)sim_random_of(random, 200, 500, 1000);
    limits->silence_ms = limits->heartbeat_ms * (uint32_t)sim_random_between(random, 4, 10);
    limits->relay_ms = (uint32_t)sim_random_of(random, 200, 500, 1000);
}

static void draw_faults(sim_config *config, sim_random *random)
{
    /* One run in twelve has no faults at all, one in eight a single kind; the others a subset. */
    uint32_t dice = (uint32_t)sim_random_below(random, 24);
    for (uint32_t i = 0; i < SIM_FAULT_REWIND; i++) {
        bool on = dice >= 5 && sim_random_chance(random, 350);
        if (on) config->faults |= 1u << i;
        config->fault_mean_us[i] = sim_random_between(random, 2000000, 12000000);
    }
    if (dice >= 2 && dice < 5) config->faults = 1u << sim_random_below(random, SIM_FAULT_REWIND);
    /* In one of six old copies come back all the time: reconciles, also of what was written since. */
    if (dice >= 20) {
        config->faults |= 1u << SIM_FAULT_RESTORE;
        config->fault_mean_us[SIM_FAULT_RESTORE] = sim_random_between(random, 500000, 2000000);
    }
    if (config->faults >> SIM_FAULT_FLAP & 1) config->fault_mean_us[SIM_FAULT_FLAP] *= 2;
    if (config->durability != SK_DURABILITY_ALWAYS) config->faults &= ~(1u << SIM_FAULT_AMNESIA);
}

/* Are all regions but one linked, some way or other? */
static bool is_connected_without(const sim_config *config, uint32_t without)
{
    uint32_t all = ((1u << config->regions) - 1) & ~(1u << without);
    uint32_t reached = 1u << (without == 0), before = 0;
    while (reached != before) {
        before = reached;
        for (uint32_t a = 0; a < config->regions; a++)
            for (uint32_t b = 0; b < config->regions; b++)
                if (b != without && reached >> a & 1 && config->graph[a][b]) reached |= 1u << b;
    }
    return reached == all;
}

static void draw_retired(sim_config *config, sim_random *random)
{
    config->retired = SIM_REGIONS_MAX;
    if (!(config->faults >> SIM_FAULT_MEMBERS & 1) || !sim_random_chance(random, 400)) return;
    uint32_t region = (uint32_t)sim_random_below(random, config->regions);
    if (is_connected_without(config, region)) config->retired = region;
}

static void draw_late(sim_config *config, sim_random *random)
{
    config->late = SIM_REGIONS_MAX;
    if (!(config->faults >> SIM_FAULT_MEMBERS & 1) || !sim_random_chance(random, 500)) return;
    uint32_t late = (uint32_t)sim_random_below(random, config->regions);
    if (late == config->retired) return;
    config->late = late;
    do config->through = (uint32_t)sim_random_below(random, config->regions);
    while (!config->graph[late][config->through]);
    if (config->through == config->retired) config->late = SIM_REGIONS_MAX; /* it could never come to an end */
}

void sim_config_draw(sim_config *config, sim_random *random)
{
    *config = (sim_config){0};
    static const uint32_t regions[] = {0, 0, 26, 34, 20, 8, 5, 3, 2, 2};
    config->regions = sim_random_weighted(random, regions, 10);
    draw_graph(config, random);
    config->durability =
        sim_random_chance(random, 700) ? SK_DURABILITY_ALWAYS : (sk_durability)sim_random_between(random, 1, 2);
    draw_limits(&config->limits, random);
    bool slow = config->limits.chunk_bytes * config->limits.transfer_window <= 60;
    config->heal_ms = slow ? SIM_HEAL_SLOW_MS : SIM_HEAL_MS;
    config->foreign_expiry_ms = sim_random_of(random, 0, 500, 5000);
    draw_faults(config, random);
    draw_retired(config, random);
    draw_late(config, random);
    config->chaos_us = sim_random_between(random, 6, 40) * 1000000;
    config->delay_us = sim_random_of(random, 200, 5000, 40000, 150000);
    config->delay_tail_us = config->delay_us * sim_random_of(random, 0, 1, 5, 40);
    config->turn_us = sim_random_of(random, 20, 500, 3000);
    config->disk_us = sim_random_of(random, 200, 3000, 30000);
    config->sync_us = sim_random_of(random, 100000, 1000000);
    config->clients = (uint32_t)sim_random_between(random, 1, SIM_CLIENTS_MAX);
    config->keys = (uint32_t)sim_random_between(random, 1, SIM_KEYS_MAX);
    /* The whole cluster's rate is about the same, however many clients there are. */
    config->think_us = sim_random_of(random, 30000, 80000, 250000) * config->clients * config->regions;
    config->pipeline = (uint32_t)sim_random_of(random, 1, 1, 4);
    config->large_permille = (uint32_t)sim_random_of(random, 0, 0, 30, 200);
    config->check_permille = 40;
}
