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

enum { JOBS_MAX = 256, SEEDS_FILE_MAX = 4096, STUCK_S = 600, TWICE_EVERY = 40, FAILURES_MAX = 20 };

/* What the worker processes share. */
typedef struct {
    uint64_t next; /* index of the next seed to hand out */
    uint64_t passed, failed;
    uint64_t first_failed; /* the least of them */
    bool stopped;          /* no more seeds */
    uint64_t at[JOBS_MAX]; /* the seed that each is at */
    sim_counts counts[JOBS_MAX];
} board;

typedef struct {
    sim_options run;
    bool one;
    uint64_t seed, seeds, from;
    uint64_t minutes;
    uint32_t jobs;
    bool hash, twice, forever, shrink, no_shrink, cost;
    sim_plan plan;
    const char *file;
    uint64_t listed[SEEDS_FILE_MAX]; /* from the file: run first */
    uint32_t listed_count;
} job;

static const char usage[] =
    "usage: sim [--seed N | --seeds N | --minutes M | --forever] [--from N] [--jobs J] [--trace | --story]\n"
    "           [--check all|some] [--file PATH] [--hash] [--twice] [--shrink | --no-shrink] [--plan TEXT]\n"
    "       sim --cost\n"
    "  --seed N      run one seed, in this process\n"
    "  --seeds N     run N seeds (default 1000), those of the file first\n"
    "  --minutes M   run seeds for so long\n"
    "  --forever     run seeds until one fails\n"
    "  --from N      the first seed (default 1)\n"
    "  --jobs J      so many processes (default: one for each core)\n"
    "  --trace       print a line for every event\n"
    "  --story       print a line for every request, fault and what regions learn\n"
    "  --check all   the costly checks after every step, not on a sample of them\n"
    "  --file PATH   seeds to run first: a line each, then '#' and why it is there\n"
    "  --hash        print the hash of each seed's trace\n"
    "  --twice       run every seed twice and compare the hashes (otherwise: one seed in 40)\n"
    "  --shrink      with --seed: make its failing run as small as it gets, and tell its story\n"
    "  --no-shrink   do not do so with the first seed that fails\n"
    "  --plan TEXT   with --seed: run only what a story was about (its last line)\n"
    "  --cost        messages and bytes of a write, for 2 to 50 regions\n";

/* -- reports of a process that dies -------------------------------------------------------------------------------- */

static void died(const char *what)
{
    if (!sim_world_current) return;
    sim_verdict_note(sim_world_current, what, what);
    sim_report(sim_world_current, what);
}

static void on_abort(int number)
{
    const char *what = number == SIGALRM ? "it hangs" : number == SIGABRT ? "an assertion failed" : "it crashed";
    signal(number, SIG_DFL);
    died(what);
    if (number == SIGALRM) _exit(1);
    raise(number);
}

void __sanitizer_set_death_callback(void (*callback)(void)) __attribute__((weak));

static void on_death(void) { died("the sanitizer stopped it"); }

void sim_watch_over_death(void)
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
    sim_watch_over_death();
    for (;;) {
        uint64_t index = __atomic_fetch_add(&shared->next, 1, __ATOMIC_SEQ_CST);
        if (__atomic_load_n(&shared->stopped, __ATOMIC_SEQ_CST) || index >= end ||
            (until && index >= todo->listed_count && time(NULL) >= until))
            break;
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

static void add_counts(sim_counts *into, const sim_counts *from)
{
    uint64_t *to = (uint64_t *)into;
    const uint64_t *each = (const uint64_t *)from;
    for (size_t i = 0; i < sizeof *into / sizeof *to; i++) to[i] += each[i];
}

static double now_s(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static void summary(const job *todo, const board *shared, double seconds)
{
    sim_counts all = {0};
    for (uint32_t j = 0; j < todo->jobs; j++) add_counts(&all, &shared->counts[j]);
    sim_report_counts(&all, seconds);
    printf("%llu passed, %llu failed\n", (unsigned long long)shared->passed, (unsigned long long)shared->failed);
    fflush(stdout);
}

/* A worker died: it has reported why. Enough of them, or one of a run without end, and no more seeds are handed out. */
static void note_death(const job *todo, board *shared, uint32_t worker, int status)
{
    if (shared->failed++ == 0 || shared->at[worker] < shared->first_failed) shared->first_failed = shared->at[worker];
    fprintf(stderr, "seed %llu failed (%s %d); replay with: %s --seed %llu --trace\n",
            (unsigned long long)shared->at[worker], WIFSIGNALED(status) ? "signal" : "exit",
            WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status), todo->run.program,
            (unsigned long long)shared->at[worker]);
    if (todo->forever || shared->failed >= FAILURES_MAX) __atomic_store_n(&shared->stopped, true, __ATOMIC_SEQ_CST);
}

/* Workers take seeds until there are no more; one that dies has reported why, and another takes its place. */
static int run_all(const job *todo)
{
    board *shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (shared == MAP_FAILED) return perror("mmap"), 2;
    uint64_t end = todo->minutes || todo->forever ? UINT64_MAX : todo->listed_count + todo->seeds;
    time_t until = todo->minutes ? time(NULL) + (time_t)todo->minutes * 60 : 0;
    double begin = now_s();
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
        note_death(todo, shared, j, status);
        if (!shared->stopped) workers[j] = start(todo, shared, j, end, until);
    }
    summary(todo, shared, now_s() - begin);
    if (shared->failed && !todo->no_shrink && !sim_shrink(shared->first_failed, &todo->run))
        printf("seed %llu does not fail when it runs alone\n", (unsigned long long)shared->first_failed);
    return shared->failed ? 1 : 0;
}

static int run_one(const job *todo)
{
    sim_counts counts = {0};
    if (todo->shrink) {
        if (sim_shrink(todo->seed, &todo->run)) return 1;
        printf("seed %llu passes\n", (unsigned long long)todo->seed);
        return 0;
    }
    sim_watch_over_death();
    if (!run_seed(todo, todo->seed, &counts)) return 1;
    printf("%llu events, 1 passed, 0 failed\n", (unsigned long long)counts.events);
    return 0;
}

/* -- arguments ----------------------------------------------------------------------------------------------------- */

/* Each line: a seed, then '#' and why it is there; or only '#' and words; or nothing. */
static bool read_line(job *todo, const char *line)
{
    const char *at = line + strspn(line, " \t");
    if (*at == '#' || *at == '\n' || *at == 0) return true;
    char *end;
    errno = 0;
    unsigned long long seed = strtoull(at, &end, 10);
    if (*at < '0' || *at > '9' || errno) return false;
    end += strspn(end, " \t");
    if (*end != '#' || end[1 + strspn(end + 1, " \t\n")] == 0) return false; /* no seed without a reason */
    if (todo->listed_count == SEEDS_FILE_MAX) return false;
    todo->listed[todo->listed_count++] = seed;
    return true;
}

static bool read_seeds(job *todo)
{
    if (!todo->file) return true;
    FILE *file = fopen(todo->file, "r");
    if (!file) return perror(todo->file), false;
    char line[400];
    bool good = true;
    for (unsigned number = 1; good && fgets(line, sizeof line, file); number++) {
        bool whole = strchr(line, '\n') != NULL && !memchr(line, 0, strcspn(line, "\n"));
        good = whole && read_line(todo, line);
        if (!good) fprintf(stderr, "%s:%u: not a seed, then '#' and why it is there\n", todo->file, number);
    }
    if (good && ferror(file)) good = (perror(todo->file), false);
    if (good && todo->listed_count == 0) good = (fprintf(stderr, "%s: there are no seeds in it\n", todo->file), false);
    fclose(file);
    return good;
}

static bool read_number(const char *text, uint64_t *number)
{
    char *end;
    errno = 0;
    *number = strtoull(text, &end, 10);
    return *text >= '0' && *text <= '9' && *end == 0 && !errno;
}

static bool take(job *todo, int option, const char *text, uint64_t number)
{
    switch (option) {
    case 's': todo->one = true, todo->seed = number; return true;
    case 'n': todo->seeds = number; return true;
    case 'f': todo->from = number; return true;
    case 'm': todo->minutes = number; return number > 0;
    case 'e': todo->forever = true; return true;
    case 'j': todo->jobs = number > JOBS_MAX ? JOBS_MAX : (uint32_t)number; return number > 0;
    case 't': todo->run.trace = true; return true;
    case 'y': todo->run.story = true; return true;
    case 'c': todo->run.check_all = strcmp(text, "all") == 0; return todo->run.check_all || strcmp(text, "some") == 0;
    case 'l': todo->file = text; return true;
    case 'x': todo->hash = true; return true;
    case '2': todo->twice = true; return true;
    case 'k': todo->shrink = true; return true;
    case 'o': todo->no_shrink = true; return true;
    case 'p': todo->run.plan = &todo->plan; return sim_plan_read(text, &todo->plan);
    case '$': todo->cost = true; return true;
    case 'h': fputs(usage, stdout); exit(0);
    default: return false;
    }
}

static bool parse(int argc, char **argv, job *todo)
{
    static const struct option options[] = {
        {"seed", required_argument, NULL, 's'},  {"seeds", required_argument, NULL, 'n'},
        {"from", required_argument, NULL, 'f'},  {"minutes", required_argument, NULL, 'm'},
        {"jobs", required_argument, NULL, 'j'},  {"trace", no_argument, NULL, 't'},
        {"check", required_argument, NULL, 'c'}, {"file", required_argument, NULL, 'l'},
        {"hash", no_argument, NULL, 'x'},        {"twice", no_argument, NULL, '2'},
        {"forever", no_argument, NULL, 'e'},     {"story", no_argument, NULL, 'y'},
        {"shrink", no_argument, NULL, 'k'},      {"no-shrink", no_argument, NULL, 'o'},
        {"plan", required_argument, NULL, 'p'},  {"cost", no_argument, NULL, '$'},
        {"help", no_argument, NULL, 'h'},        {0},
    };
    for (int option; (option = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        uint64_t number = 0;
        if (option == '?' || (strchr("snfmj", option) && !read_number(optarg, &number))) return false;
        if (!take(todo, option, optarg, number)) return false;
    }
    return optind == argc && !(todo->run.plan && !todo->one) && !(todo->shrink && !todo->one);
}

int main(int argc, char **argv)
{
    static job todo = {.seeds = 1000, .from = 1};
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    todo.jobs = cores < 1 ? 1 : cores > JOBS_MAX ? JOBS_MAX : (uint32_t)cores;
    todo.run.program = argv[0];
    setvbuf(stdout, NULL, _IOFBF, 1 << 16);
    if (!parse(argc, argv, &todo)) {
        fputs(usage, stderr);
        return 2;
    }
    if (todo.cost) {
        sim_cost(&todo.run);
        return 0;
    }
    if (!read_seeds(&todo)) return 2;
    return todo.one ? run_one(&todo) : run_all(&todo);
}
