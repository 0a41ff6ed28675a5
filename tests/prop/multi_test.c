/* A transaction does to the rows what its commands do one by one: the replies are the same, and so is what shows, here at
 * once and in both regions after they have met again, whatever the other one has done meanwhile. */
#include "tests/prop/prop.h"
#include "tests/unit/replica_harness.h"

enum { MAIN_MAX = 12, TEXT_MAX = 4096 };

enum { BEFORE_HERE, BEFORE_THERE, LOOK, WITHIN, BESIDE, PHASES };

/* %s is a context of the row. A row's content is written by those that say so: RESOLVE comes before them, or is refused. */
static const struct {
    const char *request;
    char row;
    bool writes;
} commands[] = {
    {"SET k 100", 'k', true},
    {"SET k text", 'k', true},
    {"SET k 7 KEEPTTL", 'k', true},
    {"INCRBY k 5", 'k', true},
    {"INCRBY k -2", 'k', true},
    {"INCRBYFLOAT k 0.5", 'k', true},
    {"APPEND k 3", 'k', true},
    {"GET k", 'k', false},
    {"GETDEL k", 'k', false},
    {"DEL k", 'k', false},
    {"PEXPIRE k 100000", 'k', false},
    {"PERSIST k", 'k', false},
    {"SIBLINGS RESOLVE k %s 100", 'k', true},
    {"SIBLINGS RESOLVE k %s other", 'k', true},
    {"COPY k j REPLACE", 'j', true},
    {"RENAME j k", 'k', true},
    {"HSET h f 10", 'h', true},
    {"HSET h g 1", 'h', true},
    {"HINCRBY h f 4", 'h', true},
    {"HDEL h f", 'h', false},
    {"DEL h", 'h', false},
    {"SIBLINGS RESOLVE h %s 20 FIELD f", 'h', true},
    {"SADD s a", 's', true},
    {"SADD s b", 's', true},
    {"SREM s a", 's', false},
    {"SMOVE s t a", 's', true},
    {"DEL s", 's', false},
};

/* What the other region does at the same time. It sets no number: what the transaction adds to one that it has written itself
 * is part of that, and is not added to others. */
static const char *const beside[] = {
    "SET k x",       "INCRBY k 7", "DEL k",    "PEXPIRE k 200000", "PERSIST k", "HINCRBY h f 3",
    "HSET h f word", "HDEL h f",   "SADD s a", "SREM s b",         "DEL s",
};

enum { COMMANDS = sizeof commands / sizeof *commands, BESIDES = sizeof beside / sizeof *beside };

static void draw(prop_random *random, prop_event *event)
{
    static const uint32_t weights[PHASES] = {4, 4, 1, 6, 2};
    *event = (prop_event){.kind = prop_weighted(random, weights, PHASES)};
    event->a = prop_below(random, event->kind == BESIDE ? BESIDES : COMMANDS);
}

static void tell(const prop_event *event, sk_buf *text)
{
    static const char *const when[PHASES] = {"eu", "us", "all meet, and a context is taken", "within", "us, beside"};
    sk_buf_printf(text, "%s: %s", when[event->kind],
                  event->kind == LOOK ? "" : event->kind == BESIDE ? beside[event->a] : commands[event->a].request);
}

typedef struct {
    region eu, us;
    char contexts[2][1024]; /* of k; of the field h f */
    sk_buf shown;
} world;

static void take_contexts(world *of)
{
    regions_meet(&of->eu, &of->us);
    const char *k = ask(&of->eu, "SIBLINGS GET k");
    if (sscanf(k, "*4 $7 context $%*d %1023s", of->contexts[0]) != 1) abort();
    const char *f = ask(&of->eu, "SIBLINGS GET h FIELD f");
    if (sscanf(f, "*4 $7 context $%*d %1023s", of->contexts[1]) != 1) abort();
}

static const char *ask_with_context(world *of, region *at, uint32_t command)
{
    static char request[2048];
    snprintf(request, sizeof request, commands[command].request, of->contexts[commands[command].row == 'h']);
    return ask(at, request);
}

static int compare_words(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* The values that SIBLINGS GET lists, in order: times and contexts are not the same. */
static void show_siblings(world *of, region *at, const char *request)
{
    static char reply[65536];
    char *values[64];
    uint32_t count = 0;
    snprintf(reply, sizeof reply, "%s", ask(at, request));
    for (char *word = strtok(reply, " "); word; word = strtok(NULL, " ")) {
        if (strcmp(word, "value") != 0 || count == 64) continue;
        (void)strtok(NULL, " ");
        values[count++] = strtok(NULL, " ");
    }
    qsort(values, count, sizeof *values, compare_words);
    for (uint32_t i = 0; i < count; i++) sk_buf_printf(&of->shown, "%s ", values[i]);
}

static void show(world *of, region *at)
{
    static const char *const reads[] = {"GET k", "PTTL k", "GET j", "HGETALL h", "SMEMBERS s", "SMEMBERS t", "SIBLINGS COUNT"};
    for (size_t i = 0; i < sizeof reads / sizeof *reads; i++)
        sk_buf_printf(&of->shown, "%s: %s\n", reads[i], ask(at, reads[i]));
    show_siblings(of, at, "SIBLINGS GET k");
    show_siblings(of, at, "SIBLINGS GET h FIELD f");
    sk_buf_printf(&of->shown, "\n");
}

static bool is_resolve(uint32_t command) { return strncmp(commands[command].request, "SIBLINGS", 8) == 0; }

/* The commands of the transaction: of RESOLVE only what stands before any other write of the row. */
static uint32_t list_within(const prop_event *events, uint32_t count, uint32_t within[MAIN_MAX])
{
    uint32_t listed = 0;
    bool written[128] = {false};
    for (uint32_t i = 0; i < count && listed < MAIN_MAX; i++) {
        if (events[i].kind != WITHIN) continue;
        uint32_t command = events[i].a;
        if (is_resolve(command) && written[(unsigned char)commands[command].row]) continue;
        written[(unsigned char)commands[command].row] |= commands[command].writes;
        within[listed++] = command;
    }
    return listed;
}

static void play(world *of, const prop_event *events, uint32_t count, bool multi)
{
    uint32_t within[MAIN_MAX], listed = list_within(events, count, within);
    regions_open(&of->eu, &of->us);
    take_contexts(of);
    for (uint32_t i = 0; i < count; i++) {
        if (events[i].kind == LOOK) take_contexts(of);
        if (events[i].kind <= BEFORE_THERE)
            (void)ask_with_context(of, events[i].kind == BEFORE_HERE ? &of->eu : &of->us, events[i].a);
    }
    regions_meet(&of->eu, &of->us);
    if (multi) (void)ask(&of->eu, "MULTI");
    for (uint32_t i = 0; i < listed; i++) {
        const char *reply = ask_with_context(of, &of->eu, within[i]);
        if (!multi) sk_buf_printf(&of->shown, " %s", reply);
    }
    if (multi) {
        char head[16];
        snprintf(head, sizeof head, "*%u", listed);
        const char *reply = ask(&of->eu, "EXEC");
        if (strncmp(reply, head, strlen(head)) != 0) abort();
        sk_buf_printf(&of->shown, "%s", reply + strlen(head));
    }
    sk_buf_printf(&of->shown, "\n");
    show(of, &of->eu);
    for (uint32_t i = 0; i < count; i++)
        if (events[i].kind == BESIDE) (void)ask(&of->us, beside[events[i].a]);
    regions_meet(&of->eu, &of->us);
    show(of, &of->eu);
    show(of, &of->us);
}

static bool run(uint64_t seed, const prop_event *events, uint32_t count, sk_buf *why)
{
    (void)seed;
    world at_once = {.shown = {0}}, singly = {.shown = {0}};
    play(&at_once, events, count, true);
    play(&singly, events, count, false);
    bool same = sk_bytes_equal(sk_buf_view(&at_once.shown), sk_buf_view(&singly.shown));
    if (!same)
        sk_buf_printf(why, "in a transaction\n%.*sone by one\n%.*s", (int)at_once.shown.len, (char *)at_once.shown.data,
                      (int)singly.shown.len, (char *)singly.shown.data);
    world *both[] = {&at_once, &singly};
    for (int i = 0; i < 2; i++) {
        region_close(&both[i]->eu);
        region_close(&both[i]->us);
        sk_buf_free(&both[i]->shown);
    }
    return same;
}

static void a_transaction_does_what_its_commands_do(void **state)
{
    (void)state;
    static const prop_test test = {"multi", 600, 30, draw, run, tell};
    prop_check(&test);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(a_transaction_does_what_its_commands_do)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
