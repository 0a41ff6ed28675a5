/* Traces: one line an event, hashed, the last ones kept for the report of a failure. */
#include "tests/sim/world.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static void add_line(sim_world *world, bool told, const char *format, va_list args)
{
    const sim_options *options = world->options;
    char *line = world->trace[world->trace_count++ % SIM_TRACE_LINES];
    int head = snprintf(line, SIM_TRACE_CHARS, "%llu.%06llu ", (unsigned long long)(world->now_us / 1000000),
                        (unsigned long long)(world->now_us % 1000000));
    vsnprintf(line + head, SIM_TRACE_CHARS - (size_t)head, format, args);
    uint64_t hash = world->trace_hash;
    for (const char *at = line; *at; at++) hash = (hash ^ (uint8_t)*at) * 1099511628211u;
    world->trace_hash = hash;
    if (options->trace || (told && options->story)) puts(line);
}

void sim_trace(sim_world *world, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    add_line(world, false, format, args);
    va_end(args);
}

void sim_tell(sim_world *world, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    add_line(world, true, format, args);
    va_end(args);
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
                (unsigned long long)replica->db.origins.list[o].incarnation & 0xffff);
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

static const char *phase_name(sim_phase phase)
{
    static const char *const names[] = {"", " (healing)", " (in a calm round)", ""};
    return names[phase];
}

void sim_report(const sim_world *world, const char *what)
{
    const sim_options *options = world->options;
    const sim_config *config = &world->config;
    unsigned long long seed = world->seed;
    fflush(stdout);
    if (options->quiet) return;
    fprintf(stderr, "\nseed %llu: %s\n", seed, what);
    fprintf(stderr, "%u regions (%s), after %llu events and %llu ms%s; the last lines of the trace:\n", config->regions,
            sim_shape_name(config->shape), (unsigned long long)world->counts.events,
            (unsigned long long)sim_now_ms(world), phase_name(world->phase));
    uint64_t first = world->trace_count > SIM_TRACE_LINES ? world->trace_count - SIM_TRACE_LINES : 0;
    for (uint64_t i = first; i < world->trace_count; i++) fprintf(stderr, "  %s\n", world->trace[i % SIM_TRACE_LINES]);
    for (uint32_t i = 0; i < config->regions; i++) print_region(&world->regions[i]);
    fprintf(stderr, "seed %llu: %s\nreplay with: %s --seed %llu --trace%s\n", seed, what, options->program, seed,
            options->check_all ? " --check all" : "");
}

void sim_verdict_note(const sim_world *world, const char *kind, const char *what)
{
    sim_verdict *verdict = world->options->verdict;
    if (!verdict || verdict->failure) return;
    uint32_t hash = 2166136261u;
    for (const char *at = kind; *at; at++) hash = (hash ^ (uint8_t)*at) * 16777619u;
    verdict->failure = hash | 1;
    verdict->at_us = world->now_us;
    verdict->events = world->counts.events;
    snprintf(verdict->what, sizeof verdict->what, "%s", what);
}

void sim_fail(sim_world *world, const char *format, ...)
{
    char what[600];
    va_list args;
    va_start(args, format);
    vsnprintf(what, sizeof what, format, args);
    va_end(args);
    sim_verdict_note(world, format, what);
    sim_report(world, what);
    _exit(1);
}
