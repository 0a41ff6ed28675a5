/* sim: the deterministic simulator. See README.md beside this file. */
#include "tests/sim/world.h"

#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { JOBS_MAX = 64, SEEDS_FILE_MAX = 4096, STUCK_S = 600, TWICE_EVERY = 40 };

/* What the worker processes share. */
typedef struct {
    uint64_t next; /* index of the next seed to hand out */
    uint64_t passed, failed;
    uint64_t at[JOBS_MAX]; /* the seed that each is at */
    sim_counts counts[JOBS_MAX];
} board;

typedef struct {
    sim_options run;
    bool one;
    uint64_t seed, seeds, from;
    uint64_t minutes;
    uint32_t jobs;
    bool hash, twice;
    const char *file;
    uint64_t listed[SEEDS_FILE_MAX]; /* from the file: run first */
    uint32_t listed_count;
} job;

static const char usage[] =
    "usage: sim [--seed N | --seeds N | --minutes M] [--from N] [--jobs J] [--trace] [--check all|some]\n"
    "           [--file PATH] [--hash] [--twice]\n"
    "  --seed N      run one seed, in this process\n"
    "  --seeds N     run N seeds (default 1000), those of the file first\n"
    "  --minutes M   run seeds for so long\n"
    "  --from N      the first seed (default 1)\n"
    "  --jobs J      so many processes (default 2)\n"
    "  --trace       print a line for every event\n"
    "  --check all   the costly checks after every step, not on a sample of them\n"
    "  --file PATH   seeds to run first: a line each, then '#' and why it is there\n"
    "  --hash        print the hash of each seed's trace\n"
    "  --twice       run every seed twice and compare the hashes (otherwise: one seed in 40)\n";

/* -- reports of a process that dies -------------------------------------------------------------------------------- */

static void on_abort(int number)
{
    const char *what = number == SIGALRM ? "it hangs" : number == SIGABRT ? "an assertion failed" : "it crashed";
    signal(number, SIG_DFL);
    if (sim_world_current) sim_report(sim_world_current, what);
    if (number == SIGALRM) _exit(1);
    raise(number);
}

void __sanitizer_set_death_callback(void (*callback)(void)) __attribute__((weak));

static void on_death(void)
{
    if (sim_world_current) sim_report(sim_world_current, "the sanitizer stopped it");
}

static void watch_over_death(void)
{
    signal(SIGABRT, on_abort);
    signal(SIGALRM, on_abort);
    if (__sanitizer_set_death_callback)
        __sanitizer_set_death_callback(on_death);
    else
        signal(SIGSEGV, on_abort);
}

/* -- running ------------------------------------------------------------------------------------------------------- */

static uint64_t seed_at(const job *todo, uint64_t index)
{
    return index < todo->listed_count ? todo->listed[index] : todo->from + (index - todo->listed_count);
}

/* False if two runs of the seed differ. */
static bool run_seed(const job *todo, uint64_t seed, sim_counts *counts)
{
    alarm(STUCK_S);
    uint64_t hash = sim_world_run(seed, &todo->run, counts);
    if (todo->hash) printf("%llu %016llx\n", (unsigned long long)seed, (unsigned long long)hash);
    if (todo->one && !todo->twice) return true;
    if (!todo->twice && seed % TWICE_EVERY) return true;
    sim_options quiet = todo->run;
    quiet.trace = false;
    if (sim_world_run(seed, &quiet, NULL) == hash) return true;
    fprintf(stderr, "seed %llu: two runs of it differ\n", (unsigned long long)seed);
    return false;
}

static void work(const job *todo, board *shared, uint32_t worker, uint64_t end, time_t until)
{
    watch_over_death();
    for (;;) {
        uint64_t index = __atomic_fetch_add(&shared->next, 1, __ATOMIC_SEQ_CST);
        if (index >= end || (until && index >= todo->listed_count && time(NULL) >= until)) break;
        shared->at[worker] = seed_at(todo, index);
        if (!run_seed(todo, shared->at[worker], &shared->counts[worker])) _exit(1);
        __atomic_fetch_add(&shared->passed, 1, __ATOMIC_SEQ_CST);
    }
    exit(0);
}

static pid_t start(const job *todo, board *shared, uint32_t worker, uint64_t end, time_t until)
{
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) work(todo, shared, worker, end, until);
    return pid;
}

static void summary(const job *todo, const board *shared)
{
    sim_counts all = {0};
    for (uint32_t j = 0; j < todo->jobs; j++) {
        uint64_t *to = (uint64_t *)&all;
        const uint64_t *from = (const uint64_t *)&shared->counts[j];
        for (size_t i = 0; i < sizeof all / sizeof *to; i++) to[i] += from[i];
    }
#define N(field) (unsigned long long)all.field
    printf("%llu events, %.1f simulated hours; %llu requests, %llu replies, %llu void; %llu transactions\n", N(events),
           (double)all.simulated_ms / 3600000, N(requests), N(replies), N(voided), N(transactions));
    printf("%llu messages; transfers: %llu begun (%llu reconciles, %llu resumed; %llu questions, %llu lists of rows wanted), %llu ended; %llu resends, "
           "%llu duplicates\n",
           N(messages), N(transfers), N(transfers_reconcile), N(transfers_resumed), N(questions), N(wants), N(transfers_ended), N(resends),
           N(duplicates));
    printf(
        "faults: %llu cuts, %llu partitions, %llu kills, %llu power losses, %llu stops, %llu restores, %llu amnesias, %llu rewinds, %llu imports, "
        "%llu disk failures, %llu clock jumps; %llu rollbacks, %llu dots reused\n",
        N(cuts), N(partitions), N(kills), N(power_losses), N(stops), N(restores), N(amnesias), N(rewinds), N(imports), N(disk_failures),
        N(clock_jumps), N(rollbacks), N(dots_reused));
    printf("checks: %llu of all rows, %llu replies against the model, %llu reads for durability, %llu WAIT, %llu "
           "SESSION AFTER; %llu conflicts refused, %llu keys expired\n",
           N(checks), N(replies_checked), N(reads_checked), N(waits), N(tokens), N(conflicts), N(expired));
    printf("members: %llu forgotten, %llu added, %llu with a new key, %llu clashes, %llu retired, %llu joins\n",
           N(forgets), N(adds), N(rekeys), N(clashes), N(retirements), N(joins));
#undef N
    printf("%llu passed, %llu failed\n", (unsigned long long)shared->passed, (unsigned long long)shared->failed);
}

/* Workers take seeds until there are no more; one that dies has reported why, and another takes its place. */
static int run_all(const job *todo)
{
    board *shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (shared == MAP_FAILED) return perror("mmap"), 2;
    uint64_t end = todo->minutes ? UINT64_MAX : todo->listed_count + todo->seeds;
    time_t until = todo->minutes ? time(NULL) + (time_t)todo->minutes * 60 : 0;
    pid_t workers[JOBS_MAX];
    for (uint32_t j = 0; j < todo->jobs; j++) workers[j] = start(todo, shared, j, end, until);
    for (;;) {
        int status;
        pid_t pid = wait(&status);
        if (pid < 0 && errno == EINTR) continue;
        if (pid < 0) break;
        uint32_t j = 0;
        while (j < todo->jobs && workers[j] != pid) j++;
        if (j == todo->jobs || (WIFEXITED(status) && WEXITSTATUS(status) == 0)) continue;
        shared->failed++;
        fprintf(stderr, "seed %llu failed (%s %d); replay with: %s --seed %llu --trace\n",
                (unsigned long long)shared->at[j], WIFSIGNALED(status) ? "signal" : "exit",
                WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status), todo->run.program,
                (unsigned long long)shared->at[j]);
        workers[j] = start(todo, shared, j, end, until);
    }
    summary(todo, shared);
    return shared->failed ? 1 : 0;
}

/* -- arguments ----------------------------------------------------------------------------------------------------- */

static bool read_seeds(job *todo)
{
    if (!todo->file) return true;
    FILE *file = fopen(todo->file, "r");
    if (!file) return perror(todo->file), false;
    char line[400];
    while (fgets(line, sizeof line, file) && todo->listed_count < SEEDS_FILE_MAX) {
        char *end;
        unsigned long long seed = strtoull(line, &end, 10);
        if (end != line) todo->listed[todo->listed_count++] = seed;
    }
    fclose(file);
    return true;
}

static bool parse(int argc, char **argv, job *todo)
{
    static const struct option options[] = {
        {"seed", required_argument, NULL, 's'},  {"seeds", required_argument, NULL, 'n'},
        {"from", required_argument, NULL, 'f'},  {"minutes", required_argument, NULL, 'm'},
        {"jobs", required_argument, NULL, 'j'},  {"trace", no_argument, NULL, 't'},
        {"check", required_argument, NULL, 'c'}, {"file", required_argument, NULL, 'l'},
        {"hash", no_argument, NULL, 'x'},        {"twice", no_argument, NULL, '2'},
        {"help", no_argument, NULL, 'h'},        {0},
    };
    for (int option; (option = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        uint64_t number = optarg ? strtoull(optarg, NULL, 10) : 0;
        switch (option) {
        case 's': todo->one = true, todo->seed = number; break;
        case 'n': todo->seeds = number; break;
        case 'f': todo->from = number; break;
        case 'm': todo->minutes = number; break;
        case 'j': todo->jobs = number < 1 ? 1 : number > JOBS_MAX ? JOBS_MAX : (uint32_t)number; break;
        case 't': todo->run.trace = true; break;
        case 'c': todo->run.check_all = strcmp(optarg, "all") == 0; break;
        case 'l': todo->file = optarg; break;
        case 'x': todo->hash = true; break;
        case '2': todo->twice = true; break;
        case 'h': fputs(usage, stdout); exit(0);
        default: return false;
        }
    }
    return optind == argc;
}

int main(int argc, char **argv)
{
    static job todo = {.seeds = 1000, .from = 1, .jobs = 2};
    todo.run.program = argv[0];
    setvbuf(stdout, NULL, _IOFBF, 1 << 16);
    if (!parse(argc, argv, &todo)) {
        fputs(usage, stderr);
        return 2;
    }
    if (!read_seeds(&todo)) return 2;
    if (!todo.one) return run_all(&todo);
    sim_counts counts = {0};
    watch_over_death();
    if (!run_seed(&todo, todo.seed, &counts)) return 1;
    printf("%llu events, 1 passed, 0 failed\n", (unsigned long long)counts.events);
    return 0;
}
