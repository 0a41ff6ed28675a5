/* Makes a failing run smaller, and tells its story.
 *
 * A run is a list of atoms (requests, strikes of faults, acts of operators) over a set of regions and some knobs. What
 * an atom draws comes from a stream of its own (world.h), so leaving one out leaves the others as they are. Taken away
 * are, again and again until nothing more can go: atoms, in halves, quarters and so on down to single ones (Zeller's
 * delta debugging, without its second half); regions; knobs, to their plainest values. What fails in the same way stays
 * away; each try is a process of its own. The number of tries and of their events is bounded, time is not asked: the
 * same seed gives the same story. */
#include "tests/sim/world.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

enum { TRIES_MAX = 1500, EVENTS_MAX = 6 * 1000 * 1000, TRY_S = 300, LATER_US = 20 * 1000 * 1000 };

typedef struct {
    uint64_t seed;
    sim_options options;  /* of a try */
    sim_verdict *verdict; /* shared with the tries */
    uint32_t failure;     /* the kind that is looked for */
    sim_plan best;
    sim_atom *order; /* owned; the atoms of `best` as they happened */
    uint32_t order_count;
    uint64_t last_us; /* when the last of them happened */
    uint64_t tries, events;
} shrinking;

/* -- one try ------------------------------------------------------------------------------------------------------- */

static _Noreturn void run_here(const shrinking *of)
{
    if (of->options.quiet) {
        int nowhere = open("/dev/null", O_WRONLY);
        if (nowhere >= 0) dup2(nowhere, 2);
    }
    sim_watch_over_death();
    alarm(TRY_S);
    sim_world_run(of->seed, &of->options, NULL);
    fflush(stdout);
    _exit(0);
}

/* Runs in a process of its own. The kind of its failure; 0: it passed. */
static uint32_t try_once(shrinking *of)
{
    of->verdict->failure = of->verdict->atom_count = 0;
    of->verdict->events = of->verdict->last_us = 0;
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) run_here(of);
    int status = 0;
    if (pid < 0 || waitpid(pid, &status, 0) != pid) return 0;
    of->tries++;
    of->events += of->verdict->events + 1000; /* a start is not free */
    return of->verdict->failure;
}

static bool is_spent(const shrinking *of) { return of->tries >= TRIES_MAX || of->events >= EVENTS_MAX; }

static void note_order(shrinking *of)
{
    of->order = sk_realloc(of->order, (of->verdict->atom_count + 1) * sizeof *of->order);
    memcpy(of->order, of->verdict->atoms, of->verdict->atom_count * sizeof *of->order);
    of->order_count = of->verdict->atom_count;
    of->last_us = of->verdict->last_us;
}

static int by_value(const void *a, const void *b)
{
    sim_atom left = *(const sim_atom *)a, right = *(const sim_atom *)b;
    return left < right ? -1 : left > right;
}

/* The best is what has happened in the last try. */
static void keep_what_happened(shrinking *of, sim_plan *plan)
{
    note_order(of);
    plan->small = true;
    plan->kept = sk_realloc(plan->kept, (of->order_count + 1) * sizeof *plan->kept);
    memcpy(plan->kept, of->order, of->order_count * sizeof *plan->kept);
    plan->kept_count = of->order_count;
    qsort(plan->kept, plan->kept_count, sizeof *plan->kept, by_value);
    sim_plan_copy(&of->best, plan);
}

/* If the plan fails in the same way, it is the best from now on. */
static bool improves(shrinking *of, sim_plan *plan)
{
    if (is_spent(of)) return false;
    of->options.plan = plan;
    if (try_once(of) != of->failure) return false;
    keep_what_happened(of, plan);
    return true;
}

/* -- what is taken away -------------------------------------------------------------------------------------------- */

/* Without the atoms from `from` on, `count` of them, in the order in which they happened. */
static bool without_atoms(shrinking *of, uint32_t from, uint32_t count)
{
    sim_plan plan = {0};
    sim_plan_copy(&plan, &of->best);
    plan.kept_count = 0;
    for (uint32_t i = 0; i < of->order_count; i++)
        if (i < from || i >= from + count) plan.kept[plan.kept_count++] = of->order[i];
    qsort(plan.kept, plan.kept_count, sizeof *plan.kept, by_value);
    bool better = improves(of, &plan);
    sim_plan_free(&plan);
    return better;
}

static bool fewer_atoms(shrinking *of)
{
    bool any = false;
    for (uint32_t count = of->order_count; count; count = count > 1 ? (count + 1) / 2 : 0) {
        for (uint32_t at = of->order_count;
             at > 0 && !is_spent(of);) { /* from the end: what came late is needed least */
            uint32_t from = at > count ? at - count : 0;
            any |= without_atoms(of, from, at - from);
            at = from < of->order_count ? from : of->order_count;
        }
    }
    return any;
}

/* Chaos ends soon after the last that is left of it. */
static bool shorter(shrinking *of)
{
    sim_plan plan = {0};
    sim_plan_copy(&plan, &of->best);
    plan.chaos_ms = of->last_us / 1000 + 1000;
    bool better = of->best.chaos_ms != plan.chaos_ms && improves(of, &plan);
    sim_plan_free(&plan);
    return better;
}

static bool fewer_regions(shrinking *of)
{
    bool any = false;
    for (uint32_t i = 0; i < SIM_REGIONS_MAX; i++) {
        if (!(of->best.regions >> i & 1)) continue;
        sim_plan plan = {0};
        sim_plan_copy(&plan, &of->best);
        plan.regions &= ~((uint64_t)1 << i);
        any |= improves(of, &plan);
        sim_plan_free(&plan);
    }
    return any;
}

static bool plainer(shrinking *of)
{
    bool any = false;
    for (uint32_t knob = 0; knob < SIM_KNOB_COUNT; knob++) {
        if (of->best.plain >> knob & 1) continue;
        sim_plan plan = {0};
        sim_plan_copy(&plan, &of->best);
        plan.plain |= 1u << knob;
        any |= improves(of, &plan);
        sim_plan_free(&plan);
    }
    return any;
}

/* -- the story ----------------------------------------------------------------------------------------------------- */

static void tell(shrinking *of, uint32_t atoms_before)
{
    sk_buf plan = {0};
    sim_plan_print(&of->best, &plan);
    sk_buf_byte(&plan, 0);
    uint32_t regions = (uint32_t)__builtin_popcountll(of->best.regions), requests = 0;
    for (uint32_t i = 0; i < of->best.kept_count; i++) requests += of->best.kept[i] >> 62 != 0;
    printf("\nThe story of seed %llu, made small in %llu tries: %u regions, %u requests, %u strikes (of %u)%s\n",
           (unsigned long long)of->seed, (unsigned long long)of->tries, regions, requests,
           of->best.kept_count - requests, atoms_before, is_spent(of) ? "; the tries are used up" : "");
    of->options.story = true;
    of->options.plan = &of->best;
    (void)try_once(of);
    printf("%llu.%06llu %s\n", (unsigned long long)(of->verdict->at_us / 1000000),
           (unsigned long long)(of->verdict->at_us % 1000000), of->verdict->what);
    printf("again: %s --seed %llu%s --plan %s\n", of->options.program, (unsigned long long)of->seed,
           of->options.check_all ? " --check all" : "", (const char *)plan.data);
    fflush(stdout);
    sk_buf_free(&plan);
}

/* The seed as it is, costly checks at every step if it fails in the same way under them: they tell earlier. */
static bool begin(shrinking *of)
{
    of->failure = try_once(of);
    if (!of->failure) return false;
    if (!of->options.check_all) {
        of->options.check_all = true;
        of->options.check_all = try_once(of) == of->failure;
        if (!of->options.check_all) (void)try_once(of);
    }
    sim_plan whole = {.regions = of->verdict->regions};
    keep_what_happened(of, &whole);
    sim_plan_free(&whole);
    of->options.events_max = 2 * of->verdict->events + 100000;
    of->options.until_us = of->verdict->at_us + LATER_US;
    return true;
}

bool sim_shrink(uint64_t seed, const sim_options *options)
{
    shrinking of = {.seed = seed, .options = *options};
    of.verdict = mmap(NULL, sizeof *of.verdict, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (of.verdict == MAP_FAILED) return false;
    of.options.verdict = of.verdict;
    of.options.trace = false;
    of.options.quiet = true;
    bool fails = begin(&of);
    if (fails) {
        uint32_t atoms = of.order_count;
        bool better = true;
        while (better && !is_spent(&of)) {
            better = fewer_atoms(&of);
            better |= shorter(&of);
            better |= plainer(&of);
            better |= fewer_regions(&of);
        }
        tell(&of, atoms);
    }
    munmap(of.verdict, sizeof *of.verdict);
    free(of.order);
    sim_plan_free(&of.best);
    return fails;
}
