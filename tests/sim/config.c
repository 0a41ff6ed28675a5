/* What a seed draws. Swarm testing (Groce et al. 2012): each seed switches on a random subset of everything, because
 * faults that always come together hide each other. Afterwards a plan may take away again (sim_config_reduce). */
#include "tests/sim/world.h"

/* -- which links there are ----------------------------------------------------------------------------------------- */

typedef struct {
    sim_config *config;
    sim_random *random;
    uint32_t at[SIM_REGIONS_MAX]; /* who stands where: names must not go with places */
} drawing;

static void connect_places(const drawing *of, uint32_t a, uint32_t b)
{
    if (a == b) return;
    of->config->graph[of->at[a]][of->at[b]] = of->config->graph[of->at[b]][of->at[a]] = true;
}

static void draw_mesh(const drawing *of, uint32_t from, uint32_t to)
{
    for (uint32_t a = from; a < to; a++)
        for (uint32_t b = from; b < a; b++) connect_places(of, a, b);
}

static void draw_line(const drawing *of, uint32_t from, uint32_t to)
{
    for (uint32_t i = from + 1; i < to; i++) connect_places(of, i, i - 1);
}

static void draw_ring(const drawing *of, uint32_t from, uint32_t to)
{
    draw_line(of, from, to);
    connect_places(of, from, to - 1);
}

static void draw_tree(const drawing *of, uint32_t regions)
{
    for (uint32_t i = 1; i < regions; i++) connect_places(of, i, (uint32_t)sim_random_below(of->random, i));
}

/* Two halves with one link between them. */
static void draw_bridge(const drawing *of, uint32_t regions)
{
    uint32_t half = (uint32_t)sim_random_between(of->random, 1, regions - 1);
    for (uint32_t side = 0; side < 2; side++) {
        uint32_t from = side ? half : 0, to = side ? regions : half;
        if (to - from > 6)
            draw_ring(of, from, to);
        else
            draw_mesh(of, from, to);
    }
    connect_places(of, half - 1, half);
}

static void draw_random(const drawing *of, uint32_t regions)
{
    draw_tree(of, regions);
    for (uint32_t i = 0; i < regions / 2; i++) {
        uint32_t a = (uint32_t)sim_random_below(of->random, regions); /* not within the call: no order there */
        connect_places(of, a, (uint32_t)sim_random_below(of->random, regions));
    }
}

static void list_links(sim_config *config)
{
    for (uint32_t a = 0; a < config->regions; a++)
        for (uint32_t b = a + 1; b < config->regions; b++)
            if (config->graph[a][b]) config->links[config->link_count++] = (sim_pair){(uint8_t)a, (uint8_t)b};
}

void sim_config_graph(sim_config *config, sim_shape shape, sim_random *random)
{
    drawing of = {.config = config, .random = random};
    uint32_t regions = config->regions;
    for (uint32_t i = 0; i < regions; i++) {
        uint32_t k = (uint32_t)sim_random_below(random, i + 1);
        of.at[i] = of.at[k];
        of.at[k] = i;
    }
    config->shape = shape;
    switch (shape) {
    case SIM_SHAPE_MESH: draw_mesh(&of, 0, regions); break;
    case SIM_SHAPE_LINE: draw_line(&of, 0, regions); break;
    case SIM_SHAPE_RING: draw_ring(&of, 0, regions); break;
    case SIM_SHAPE_STAR:
        for (uint32_t i = 1; i < regions; i++) connect_places(&of, 0, i);
        break;
    case SIM_SHAPE_TREE: draw_tree(&of, regions); break;
    case SIM_SHAPE_BRIDGE: draw_bridge(&of, regions); break;
    default: draw_random(&of, regions); break;
    }
    list_links(config);
}

const char *sim_shape_name(sim_shape shape)
{
    static const char *const names[] = {"mesh", "line", "ring", "star", "tree", "bridge", "random"};
    return names[shape];
}

/* -- the rest ------------------------------------------------------------------------------------------------------ */

static bool is_many(const sim_config *config) { return config->regions >= SIM_MANY; }

static void draw_limits(const sim_config *config, sk_engine_limits *limits, sim_random *random)
{
    *limits = sk_engine_limits_default();
    limits->ring_txns_max = (uint32_t)sim_random_of(random, 0, 3, 3, 20);
    limits->ring_bytes_max = (size_t)sim_random_of(random, 300, 4000, 1 << 20);
    limits->held_bytes_max = (size_t)sim_random_of(random, 200, 4000, 1 << 20);
    limits->send_queue_max = (size_t)sim_random_of(random, 1000, 20000, 1 << 20);
    limits->batch_bytes = (size_t)sim_random_of(random, 1, 200, 64 << 10);
    limits->chunk_bytes = (size_t)sim_random_of(random, 1, 60, 400, 64 << 10);
    limits->transfer_window = (uint32_t)sim_random_of(random, 1, 2, 16);
    limits->flush_ms = (uint32_t)sim_random_of(random, 0, 2, 10);
    limits->ack_ms = (uint32_t)sim_random_of(random, 0, 20, 100);
    limits->heartbeat_ms = (uint32_t)sim_random_of(random, 200, 500, 1000);
    limits->silence_ms = limits->heartbeat_ms * (uint32_t)sim_random_between(random, 4, 10);
    limits->relay_ms = (uint32_t)sim_random_of(random, 200, 500, 1000);
    limits->audit_ms = 0; /* no difference is passed over: check.c */
    if (!is_many(config)) {
        if (limits->chunk_bytes == 60) limits->chunk_max = 80; /* larger ones go in pieces */
        return;
    }
    limits->chunk_bytes = (size_t)sim_random_of(random, 400, 64 << 10);
    limits->heartbeat_ms = 1000;
    limits->silence_ms = 5000;
}

static void draw_faults(sim_config *config, sim_random *random)
{
    /* One run in twelve has no faults at all, one in eight a single kind; the others a subset. */
    uint32_t dice = (uint32_t)sim_random_below(random, 24);
    for (uint32_t i = 0; i < SIM_FAULT_MEMBERS; i++) {
        bool on = dice >= 5 && sim_random_chance(random, 350);
        if (on) config->faults |= 1u << i;
        config->fault_mean_us[i] = sim_random_between(random, 2000000, 12000000);
    }
    if (dice >= 2 && dice < 5) config->faults = 1u << sim_random_below(random, SIM_FAULT_MEMBERS);
    /* In one of six old copies come back all the time: reconciles, also of what was written since. */
    if (dice >= 20) {
        config->faults |= 1u << SIM_FAULT_RESTORE;
        config->fault_mean_us[SIM_FAULT_RESTORE] = sim_random_between(random, 500000, 2000000);
    }
    config->fault_mean_us[SIM_FAULT_FLAP] *= 2;
    config->clocks = sim_random_chance(random, 350);
    if (config->durability != SK_DURABILITY_ALWAYS) config->faults &= ~(1u << SIM_FAULT_AMNESIA);
}

static uint32_t draw_regions(sim_random *random)
{
    static const uint32_t few[] = {0, 0, 26, 34, 20, 8, 5, 3, 2, 2};
    uint32_t regions = sim_random_weighted(random, few, 10);
    if (sim_random_chance(random, 985)) return regions;
    return (uint32_t)sim_random_between(random, SIM_MANY, SIM_REGIONS_MAX);
}

static sim_shape draw_shape(const sim_config *config, sim_random *random)
{
    static const uint32_t few[] = {46, 10, 10, 8, 8, 9, 9}, many[] = {3, 12, 20, 15, 20, 15, 15};
    sim_shape shape = (sim_shape)sim_random_weighted(random, is_many(config) ? many : few, SIM_SHAPE_COUNT);
    return config->regions < 3 ? SIM_SHAPE_MESH : shape;
}

/* How long agreement may take: a row in a round trip is slow, and so are many hops that each need a relay first. */
static uint64_t patience_ms(const sim_config *config)
{
    bool slow = config->limits.chunk_bytes * config->limits.transfer_window <= 60;
    if (is_many(config)) return 2 * SIM_HEAL_SLOW_MS;
    return slow ? SIM_HEAL_SLOW_MS : SIM_HEAL_MS;
}

void sim_config_draw(sim_config *config, sim_random *random)
{
    *config = (sim_config){0};
    config->regions = config->drawn = draw_regions(random);
    config->retired = config->late = SIM_NOWHERE;
    for (uint32_t i = 0; i < SIM_REGIONS_MAX; i++) config->id[i] = config->place[i] = i;
    sim_config_graph(config, draw_shape(config, random), random);
    config->durability =
        sim_random_chance(random, 700) ? SK_DURABILITY_ALWAYS : (sk_durability)sim_random_between(random, 1, 2);
    draw_limits(config, &config->limits, random);
    config->heal_ms = patience_ms(config);
    config->foreign_expiry_ms = sim_random_of(random, 0, 500, 5000);
    draw_faults(config, random);
    config->chaos_us = sim_random_between(random, is_many(config) ? 3 : 6, is_many(config) ? 8 : 40) * 1000000;
    config->delay_us = sim_random_of(random, 200, 5000, 40000, 150000);
    config->delay_tail_us = config->delay_us * sim_random_of(random, 0, 1, 5, 40);
    config->turn_us = sim_random_of(random, 20, 500, 3000);
    config->disk_us = sim_random_of(random, 200, 3000, 30000);
    config->sync_us = sim_random_of(random, 100000, 1000000);
    config->clients = is_many(config) ? 1 : (uint32_t)sim_random_between(random, 1, SIM_CLIENTS_MAX);
    config->keys = (uint32_t)sim_random_between(random, 1, SIM_KEYS_MAX);
    /* The whole cluster's rate is about the same, however many clients there are. */
    config->think_us = sim_random_of(random, 30000, 80000, 250000) * config->clients * config->regions;
    config->pipeline = (uint32_t)sim_random_of(random, 1, 1, 4);
    config->large_permille = (uint32_t)sim_random_of(random, 0, 0, 30, 200);
    config->check_permille = is_many(config) ? 4 : 40;
    bool relays = config->shape != SIM_SHAPE_MESH;
    if (sim_random_chance(random, is_many(config) ? 1000 : 350) || !config->faults)
        config->calm_rounds = relays ? 5 : 2;
    config->retention.bytes = sim_random_of(random, 0, 100, 300, 1000);
    config->retention.age_ms = sim_random_of(random, 0, 0, 1000, 5000);
}

void sim_fold_draw(sim_config *config, uint64_t seed)
{
    sim_random random;
    sim_random_seed(&random, seed ^ 0x666f6c64u);
    config->fold_rows = (uint32_t)sim_random_of(&random, 0, 1, 1, 4);
}

/* -- taking away --------------------------------------------------------------------------------------------------- */

bool sim_config_connected(const sim_config *config, uint32_t without)
{
    uint64_t all = ((uint64_t)1 << config->regions) - 1, seen = 1, before = 0;
    if (without != SIM_NOWHERE) all &= ~((uint64_t)1 << without);
    if (without == 0) seen = 2;
    while (seen != before) {
        before = seen;
        for (uint32_t a = 0; a < config->regions; a++)
            for (uint32_t b = 0; b < config->regions; b++)
                if (seen >> a & 1 && config->graph[a][b]) seen |= ((uint64_t)1 << b) & all;
    }
    return seen == all;
}

static void leave_out(sim_config *config, uint32_t gone)
{
    for (uint32_t a = 0; a + 1 < config->regions; a++)
        for (uint32_t b = 0; b + 1 < config->regions; b++)
            if (a >= gone || b >= gone) config->graph[a][b] = config->graph[a + (a >= gone)][b + (b >= gone)];
    config->place[config->id[gone]] = SIM_NOWHERE;
    config->regions--;
    for (uint32_t i = gone; i < config->regions; i++) {
        config->id[i] = config->id[i + 1];
        config->place[config->id[i]] = i;
    }
}

static void make_plain(sim_config *config, sim_knob knob)
{
    sk_engine_limits plain = sk_engine_limits_default(), *limits = &config->limits;
    switch (knob) {
    case SIM_KNOB_RING: limits->ring_txns_max = 0, limits->ring_bytes_max = plain.ring_bytes_max; break;
    case SIM_KNOB_HELD: limits->held_bytes_max = plain.held_bytes_max; break;
    case SIM_KNOB_QUEUE: limits->send_queue_max = plain.send_queue_max; break;
    case SIM_KNOB_BATCH: limits->batch_bytes = plain.batch_bytes; break;
    case SIM_KNOB_CHUNK:
        limits->chunk_bytes = plain.chunk_bytes;
        limits->chunk_max = plain.chunk_max;
        limits->transfer_window = plain.transfer_window;
        config->fold_rows = 0;
        break;
    case SIM_KNOB_TIMES:
        limits->flush_ms = plain.flush_ms;
        limits->ack_ms = plain.ack_ms;
        limits->heartbeat_ms = plain.heartbeat_ms;
        limits->silence_ms = plain.silence_ms;
        limits->relay_ms = plain.relay_ms;
        break;
    case SIM_KNOB_DELAY: config->delay_us = 1000, config->delay_tail_us = 0; break;
    case SIM_KNOB_DISK: config->turn_us = 20, config->disk_us = 200; break;
    case SIM_KNOB_DURABILITY: config->durability = SK_DURABILITY_ALWAYS; break;
    case SIM_KNOB_MESH:
        for (uint32_t a = 0; a < config->regions; a++)
            for (uint32_t b = 0; b < config->regions; b++) config->graph[a][b] = a != b;
        config->shape = SIM_SHAPE_MESH;
        break;
    case SIM_KNOB_VALUES: config->large_permille = 0; break;
    case SIM_KNOB_CLOCKS: config->clocks = false; break;
    case SIM_KNOB_CALM: config->calm_rounds = 0; break;
    case SIM_KNOB_RETENTION: config->retention = (sk_retention_cap){0}; break;
    case SIM_KNOB_MEMBERS: config->retired = config->late = SIM_NOWHERE; break;
    case SIM_KNOB_COUNT: break;
    }
}

bool sim_config_reduce(sim_config *config, const sim_plan *plan)
{
    if (!plan->small) return true;
    for (uint32_t i = config->regions; i-- > 0;)
        if (!(plan->regions >> config->id[i] & 1)) leave_out(config, i);
    for (uint32_t knob = 0; knob < SIM_KNOB_COUNT; knob++)
        if (plan->plain >> knob & 1) make_plain(config, (sim_knob)knob);
    if (plan->chaos_ms) config->chaos_us = plan->chaos_ms * 1000;
    return config->regions >= 2 && sim_member_reduce(config);
}
