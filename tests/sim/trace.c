/* Traces: one line an event, hashed, the last ones kept for the report of a failure. */
#include "tests/sim/world.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

void sim_trace(sim_world *world, const char *format, ...)
{
    char *line = world->trace[world->trace_count++ % SIM_TRACE_LINES];
    int head = snprintf(line, SIM_TRACE_CHARS, "%llu.%06llu ", (unsigned long long)(world->now_us / 1000000),
                        (unsigned long long)(world->now_us % 1000000));
    va_list args;
    va_start(args, format);
    vsnprintf(line + head, SIM_TRACE_CHARS - (size_t)head, format, args);
    va_end(args);
    uint64_t hash = world->trace_hash;
    for (const char *at = line; *at; at++) hash = (hash ^ (uint8_t)*at) * 1099511628211u;
    world->trace_hash = hash;
    if (world->options->trace) puts(line);
}

static void print_vector(const char *name, const sk_vv *vv)
{
    fprintf(stderr, " %s", name);
    for (uint32_t o = 0; o < vv->count; o++)
        if (vv->seq[o]) fprintf(stderr, " %u:%llu", o, (unsigned long long)vv->seq[o]);
    fputc(';', stderr);
}

/* Where a region stands, in its own numbers of origins. */
static void print_region(const sim_region *region)
{
    const sk_replica *replica = region->replica;
    if (!replica) {
        fprintf(stderr, "%s is down\n", region->name);
        return;
    }
    fprintf(stderr, "%s: origins", region->name);
    for (uint32_t o = 0; o < replica->db.origins.count; o++)
        fprintf(stderr, " %u=%s:%04llx", o, replica->db.origins.list[o].region,
                (unsigned long long)replica->db.origins.list[o].incarnation >> 48);
    fprintf(stderr, "; own %u;", replica->db.own);
    print_vector("applied", &replica->db.vv);
    print_vector("durable", &replica->durable_vv);
    print_vector("floor", &replica->db.floor);
    print_vector("stable", sk_engine_stable(replica->engine));
    fprintf(stderr, " error %d failed %d%s\n", replica->store_error, replica->db.failed,
            replica->db.fold ? "; a transfer is staged or being folded in" : "");
    for (uint32_t p = 0; p < sk_engine_peers(replica->engine); p++) {
        if (!sk_engine_is_peer(replica->engine, p)) continue;
        sk_peer_status peer = sk_engine_peer_status(replica->engine, p);
        fprintf(stderr, "    %s %s%s%s;", peer.region, peer.up ? "up" : "down",
                peer.sending_transfer ? ", a transfer goes out" : "", peer.receiving_transfer ? ", one comes in" : "");
        print_vector("acked", peer.acked);
        fputc('\n', stderr);
    }
}

void sim_report(const sim_world *world, const char *what)
{
    fflush(stdout);
    fprintf(stderr, "\nseed %llu: %s\n", (unsigned long long)world->seed, what);
    const sim_config *config = &world->config;
    fprintf(stderr, "%u regions (%s), after %llu events and %llu ms%s; the last lines of the trace:\n", config->regions,
            config->graph_name ? config->graph_name : "", (unsigned long long)world->counts.events,
            (unsigned long long)sim_now_ms(world), world->healing ? " (healing)" : "");
    uint64_t first = world->trace_count > SIM_TRACE_LINES ? world->trace_count - SIM_TRACE_LINES : 0;
    for (uint64_t i = first; i < world->trace_count; i++) fprintf(stderr, "  %s\n", world->trace[i % SIM_TRACE_LINES]);
    for (uint32_t i = 0; i < config->regions; i++) print_region(&world->regions[i]);
    fprintf(stderr, "seed %llu: %s\nreplay with: %s --seed %llu --trace%s\n", (unsigned long long)world->seed, what,
            world->options->program, (unsigned long long)world->seed, world->options->check_all ? " --check all" : "");
}

void sim_fail(sim_world *world, const char *format, ...)
{
    char what[600];
    va_list args;
    va_start(args, format);
    vsnprintf(what, sizeof what, format, args);
    va_end(args);
    sim_report(world, what);
    _exit(1);
}
