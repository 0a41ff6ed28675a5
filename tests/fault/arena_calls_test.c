/* The n-th allocation that may fail does, for n = 1, 2, 3 … until there are fewer: those of arenas that have a limit
 * (crdt/memory.h), which are a command's and the engine's. A command answers OOM and has changed nothing, a link is closed;
 * afterwards all works, and nothing is lost (story.h). */
#include "tests/fault/story.h"

static struct {
    uint64_t counted, first; /* the call that fails, from 1; 0: none */
    uint64_t failed;
} allocations;

void *__wrap_sk_arena_take(sk_arena *arena, size_t bytes);
sk_bytes __wrap_sk_arena_copy(sk_arena *arena, sk_bytes bytes);
void *__real_sk_arena_take(sk_arena *arena, size_t bytes);

void *__wrap_sk_arena_take(sk_arena *arena, size_t bytes)
{
    bool fails = arena->max > 0 && ++allocations.counted == allocations.first;
    allocations.failed += fails;
    return fails ? NULL : __real_sk_arena_take(arena, bytes);
}

sk_bytes __wrap_sk_arena_copy(sk_arena *arena, sk_bytes bytes)
{
    uint8_t *copy = sk_arena_take(arena, bytes.len ? bytes.len : 1);
    if (copy && bytes.len) memcpy(copy, bytes.data, bytes.len);
    return (sk_bytes){copy, bytes.len};
}

static void limit(region *self)
{
    self->reply.max = SIZE_MAX / 4; /* as a connection says it: then a command's arena has a limit, too */
}

/* -- the story ------------------------------------------------------------------------------------------------------ */

static void story_opened(story *s)
{
    limit(&s->eu);
}

static void story_heals(story *s)
{
    (void)s;
    allocations.first = 0;
}

static void nothing_is_lost(void **state)
{
    (void)state;
    uint64_t errors = 0, hung_up = 0;
    for (call = 1;; call++) {
        story s = {0};
        allocations.counted = allocations.failed = 0;
        allocations.first = call;
        play(&s);
        if (!allocations.failed) break;
        errors += s.errors;
        hung_up += s.hung_up;
    }
    print_message("%llu calls: %llu requests refused, %llu links closed\n", (unsigned long long)call - 1,
                  (unsigned long long)errors, (unsigned long long)hung_up);
    assert_true(call > 100);
    assert_true(errors > 0);
}

/* -- each command by itself ----------------------------------------------------------------------------------------- */

/* What there is before each of them; `conflict` and `h` have siblings. */
static const char *const before[] = {
    "SET a apple", "SET n 12", "INCRBY n 30", "SET e x PX 60000", "HSET h f 1 g two i 7", "HINCRBY h i 3",
    "SADD s m1 m2 m3 m4", "SADD t m2 m3 x", "SADD big b1 b2 b3 b4 b5 b6 b7 b8 b9", "SET conflict eu", "POLICY SET new newest",
    "SET new eu",
};

/* "?": what it answers is drawn. "@" stands for the context of `conflict`, "#" for that of the field of `h`. */
static const char *const requests[] = {
    "GET a", "GET n", "SET a b", "SET a b GET", "SET a b XX KEEPTTL", "SETNX q r", "GETSET a b", "GETDEL a", "GETDEL n",
    "GETEX a EX 100", "GETEX e PERSIST", "APPEND a b", "APPEND n 5", "STRLEN n", "GETRANGE n 0 1", "SETRANGE a 3 xy", "INCR n",
    "INCRBY a 1", "DECRBY q 7", "INCRBYFLOAT n 1.5", "MGET a n q conflict", "MSET a 1 n 2 q 3", "MSETNX q 1 r 2", "DEL a n e q",
    "UNLINK h s", "EXISTS a n q", "TYPE h", "TYPE conflict", "EXPIRE a 100", "PEXPIREAT a 1800000000000", "PERSIST e", "TTL e",
    "EXPIRETIME e", "RENAME h q", "RENAMENX a q", "COPY s q", "COPY n q", "COPY h t REPLACE", "KEYS *", "SCAN 0 COUNT 3",
    "SCAN 0 MATCH *n* TYPE string", "?RANDOMKEY", "DBSIZE", "TOUCH a n", "HGET h f", "HMGET h f g q", "HGETALL h", "HKEYS h",
    "HVALS h", "HLEN h", "HSTRLEN h i", "HSET h f 2 q 3", "HSETNX h q 3", "HDEL h f g", "HINCRBY h i 5", "HINCRBYFLOAT h i 0.5",
    "HEXISTS h f", "HSCAN h 0 COUNT 1", "?HRANDFIELD h 2 WITHVALUES", "?HRANDFIELD h -5", "SADD s m5 m6", "SREM s m1 m2",
    "SMEMBERS s", "SISMEMBER s m1", "SMISMEMBER s m1 q", "SCARD s", "SMOVE s t m1", "?SPOP s", "?SPOP big 4", "?SRANDMEMBER s",
    "?SRANDMEMBER big 3", "?SRANDMEMBER s -6", "SINTER s t", "SINTERCARD 2 s t", "SUNION s t", "SDIFF s t big",
    "SINTERSTORE q s t", "SUNIONSTORE q s t", "SDIFFSTORE s s t", "SSCAN big 0 COUNT 2", "GET conflict", "SET conflict one",
    "DEL conflict", "GET new", "SIBLINGS LIST", "SIBLINGS GET conflict", "SIBLINGS COUNT", "HGET h f", "POLICY LIST",
    "SIBLINGS RESOLVE conflict @ one", "SIBLINGS RESOLVE conflict @ KEEP string", "SIBLINGS RESOLVE h # 3 FIELD f",
    "SIBLINGS GET h FIELD f", "SESSION AFTER @ 0", "SIBLINGS LIST 0 COUNT 1",
    "POLICY SET a newest", "POLICY DEL new", "FLUSHALL", "DIGEST", "OBJECT ENCODING s", "SESSION TOKEN", "REGION LIST",
    "REGION LAG", "COMMAND GETKEYS MSET a 1 b 2", "CONFIG GET l*", "CONFIG SET level debug", "CLIENT LIST",
    "CLIENT KILL ID 99 ID 98", "MEMORY USAGE h", "INFO", "SORT s",
};

typedef struct {
    region eu, us;
} world;

static void open_world(world *w)
{
    regions_open(&w->eu, &w->us);
    for (size_t i = 0; i < sizeof before / sizeof *before; i++) {
        const char *reply = ask(&w->eu, before[i]);
        if (*reply == '-') fail_msg("%s: %s", before[i], reply);
    }
    expect(&w->us, "SET conflict us", "+OK");
    expect(&w->us, "SET new us", "+OK");
    expect(&w->us, "HSET h f 2", ":1");
    regions_meet(&w->eu, &w->us);
    limit(&w->eu);
}

static void close_world(world *w)
{
    region_close(&w->eu);
    region_close(&w->us);
}

/* The request with contexts in it. Valid until the next. */
static const char *with_contexts(world *w, const char *request)
{
    static char text[512];
    const char *at = strpbrk(request, "@#"), *answer, *begin;
    if (!at) return request;
    answer = ask(&w->eu, *at == '@' ? "SIBLINGS GET conflict" : "SIBLINGS GET h FIELD f");
    begin = strchr(strstr(answer, "context $") + 9, ' ') + 1;
    snprintf(text, sizeof text, "%.*s%.*s%s", (int)(at - request), request, (int)strcspn(begin, " "), begin, at + 1);
    return text;
}

/* What a client can see of it. Owned by the caller. */
static char *dump(world *w)
{
    static const char *const looks[] = {
        "KEYS *", "MGET a n e q r new conflict", "HGETALL h", "HGETALL q", "SMEMBERS s", "SMEMBERS t", "SMEMBERS q",
        "SMEMBERS big", "TTL a", "TTL e", "TTL q", "POLICY LIST",
    };
    sk_buf text = {0};
    for (size_t i = 0; i < sizeof looks / sizeof *looks; i++) sk_buf_printf(&text, "%s\n", ask(&w->eu, looks[i]));
    sk_buf_byte(&text, 0);
    return (char *)text.data;
}

static void each_command_or_nothing_of_it(void **state)
{
    (void)state;
    uint64_t calls = 0, refused = 0;
    for (size_t i = 0; i < sizeof requests / sizeof *requests; i++) {
        bool drawn = *requests[i] == '?';
        world sound, w;
        open_world(&sound);
        const char *request = with_contexts(&sound, requests[i] + drawn);
        char *wanted = strdup(ask(&sound.eu, request)), *after = dump(&sound);
        open_world(&w);
        allocations.failed = 1;
        for (call = 1; allocations.failed; call++) {
            sk_digest digest = w.eu.replica->db.digest;
            allocations.counted = allocations.failed = 0;
            allocations.first = call;
            const char *reply = ask(&w.eu, request);
            allocations.first = 0;
            calls += allocations.failed;
            if (strncmp(reply, "-OOM ", 5) == 0) {
                refused++;
                if (digest != w.eu.replica->db.digest)
                    fail_msg("%s, call %llu: refused, and half done", request, (unsigned long long)call);
                continue;
            }
            if (!drawn && strcmp(reply, wanted) != 0)
                fail_msg("%s, call %llu: %s instead of %s", request, (unsigned long long)call, reply, wanted);
            char *found = dump(&w);
            if (!drawn && strcmp(found, after) != 0)
                fail_msg("%s, call %llu: then\n%sinstead of\n%s", request, (unsigned long long)call, found, after);
            free(found);
            region_turn(&w.eu, 5);
            sk_db_check(&w.eu.replica->db);
            close_world(&w);
            open_world(&w);
        }
        close_world(&w);
        close_world(&sound);
        free(wanted);
        free(after);
    }
    print_message("%llu calls: %llu requests refused\n", (unsigned long long)calls, (unsigned long long)refused);
    assert_true(refused > sizeof requests / sizeof *requests);
}

/* A transfer that is visible, and not yet in its place: the row of a key that cannot be looked for is not read as it was. */
static void what_is_not_in_its_place_is_not_read(void **state)
{
    (void)state;
    enum { KEYS = 1000 };
    story s = {0};
    char text[32];
    allocations.first = 0;
    open_all(&s);
    must(request(&s, "SET k999 old") == DONE);
    exchange(&s, 60);
    for (int i = 0; i < KEYS; i++) {
        snprintf(text, sizeof text, "SET k%03d new", i);
        expect(&s.us, text, "+OK");
    }
    connect(&s);
    for (int i = 0; i < 1000 && !sk_fold_active(&s.eu.replica->db); i++) {
        region_turn(&s.us, 5);
        region_turn(&s.eu, 5);
    }
    must(sk_fold_active(&s.eu.replica->db));
    allocations.counted = 0;
    allocations.first = 1;
    expect_begins(&s.eu, "GET k999", "-OOM ");
    allocations.first = 0;
    expect(&s.eu, "GET k999", "$3 new");
    region_close(&s.eu);
    region_close(&s.us);
}

/* The same value, many times: little is asked for, and much would be in memory at once. */
static void what_a_command_reads_has_a_limit(void **state)
{
    (void)state;
    enum { TIMES = 400, BYTES = 3000 };
    region eu;
    sk_bytes argv[TIMES + 1];
    char value[BYTES + 1], request[BYTES + 16];
    region_open(&eu, "eu", NULL, NULL);
    memset(value, 'v', BYTES);
    value[BYTES] = 0;
    snprintf(request, sizeof request, "SET big %s", value);
    expect(&eu, request, "+OK");
    argv[0] = sk_bytes_str("MGET");
    for (int i = 1; i <= TIMES; i++) argv[i] = sk_bytes_str("big");
    for (int limited = 0; limited < 2; limited++) {
        sk_buf out = {.max = limited ? 10000 : 0};
        sk_reply reply = {&out, 2};
        sk_command_execute(eu.replica, eu.client, argv, TIMES + 1, &reply);
        assert_memory_equal(out.data, limited ? "-OOM " : "*400\r", 5);
        sk_buf_free(&out);
    }
    region_close(&eu);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_command_or_nothing_of_it),
        cmocka_unit_test(nothing_is_lost),
        cmocka_unit_test(what_is_not_in_its_place_is_not_read),
        cmocka_unit_test(what_a_command_reads_has_a_limit),
    };
    signal(SIGABRT, say_which);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
