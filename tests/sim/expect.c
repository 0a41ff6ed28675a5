/* What a request must do and answer, by a small model of a keyspace without regions.
 *
 * Before a request the model is filled with what the history says this region shows; the request is run on it as plain
 * Redis would; afterwards the history must show just that, and the reply must be the model's. A key that is in
 * conflict, or holds a real number, is unsure (it may even be absent): nothing is asked of it until a request makes it
 * sure again (SET, DEL). What reads goes by the region's clock, what changes a key by the one that is to be believed. */
#include "tests/sim/world.h"

#include "crdt/number.h"

#include <stdio.h>
#include <stdlib.h>

typedef enum { NONE, STRING, HASH, SET, UNSURE } shape;

typedef struct {
    shape type;
    sk_buf value;               /* STRING */
    bool there[SIM_MEMBERS];    /* HASH, SET */
    bool unsure[SIM_MEMBERS];   /* HASH: a field in conflict */
    sk_buf fields[SIM_MEMBERS]; /* HASH */
    uint64_t deadline_ms;
} model_key;

struct sim_expect {
    model_key keys[SIM_KEYS_MAX], shown[SIM_KEYS_MAX];
    uint64_t wall_ms;
    sim_expected entries;
    model_key none;
};

void sim_expect_init(sim_world *world) { world->expect = sk_alloc(sizeof *world->expect); }

void sim_expect_free(sim_world *world)
{
    struct sim_expect *expect = world->expect;
    for (int i = 0; i < SIM_KEYS_MAX; i++) {
        model_key *both[] = {&expect->keys[i], &expect->shown[i]};
        for (int k = 0; k < 2; k++) {
            sk_buf_free(&both[k]->value);
            for (int m = 0; m < SIM_MEMBERS; m++) sk_buf_free(&both[k]->fields[m]);
        }
    }
    free(expect);
}

/* -- what the history shows ---------------------------------------------------------------------------------------- */

static void set_text(sk_buf *buf, sk_bytes text)
{
    sk_buf_reset(buf);
    sk_buf_bytes(buf, text);
}

/* What a register shows: NONE, STRING with `value`, or UNSURE. */
static shape show_register(const sim_expected *row, sk_buf *value)
{
    const sk_entry *only = NULL;
    uint32_t values = 0, counts = 0;
    sk_sum sum = {0};
    for (uint32_t i = 0; i < row->count; i++) {
        if (row->entries[i].kind == SK_ENTRY_VALUE) {
            values++;
            only = &row->entries[i];
        }
        if (row->entries[i].kind != SK_ENTRY_COUNT) continue;
        counts++;
        sum.whole += row->share[i].whole;
        if (row->share[i].is_real) return UNSURE;
    }
    int64_t number = 0;
    if (values > 1) return UNSURE;
    if (values == 0 && counts == 0) return NONE;
    if (counts == 0) {
        set_text(value, only->value);
        return STRING;
    }
    if (values && !sk_parse_int64(only->value, &number)) return UNSURE;
    sum.whole += number;
    if (sum.whole > INT64_MAX || sum.whole < INT64_MIN) return UNSURE;
    char digits[SK_INT64_CHARS];
    set_text(value, sk_bytes_of(digits, sk_format_int64(digits, (int64_t)sum.whole)));
    return STRING;
}

static bool expect_row(sim_region *region, sk_table table, const char *key, const char *member, const sk_vv *vv)
{
    struct sim_expect *expect = region->world->expect;
    sk_buf raw = {0};
    sk_rowkey_pack(&raw, table, sk_bytes_str(key), sk_bytes_str(member));
    const sim_row *row = sim_oracle_row(&region->world->oracle, sk_buf_view(&raw));
    sk_buf_free(&raw);
    expect->entries.count = 0;
    if (row) sim_oracle_expect(row, vv, &expect->entries);
    return expect->entries.count > 0;
}

static uint64_t latest_deadline(const sim_expected *row)
{
    uint64_t latest = 0;
    for (uint32_t i = 0; i < row->count; i++)
        if (row->entries[i].kind == SK_ENTRY_DEADLINE && row->entries[i].deadline_ms > latest)
            latest = row->entries[i].deadline_ms;
    return latest ? latest : SK_DEADLINE_NEVER;
}

static void show_key(sim_region *region, uint32_t number, const sk_vv *vv, uint64_t now_ms, model_key *key)
{
    struct sim_expect *expect = region->world->expect;
    char name[16], member[16];
    unsigned types = 0;
    snprintf(name, sizeof name, "k%u", number);
    key->type = NONE;
    key->deadline_ms = SK_DEADLINE_NEVER;
    if (expect_row(region, SK_TABLE_KEY, name, "", vv)) {
        key->type = show_register(&expect->entries, &key->value);
        key->deadline_ms = latest_deadline(&expect->entries);
        types += key->type != NONE;
    }
    for (int table = 0; table < 2; table++) {
        bool any = false;
        for (unsigned m = 0; m < SIM_MEMBERS; m++) {
            snprintf(member, sizeof member, "%c%u", table ? 'm' : 'f', m);
            bool there = expect_row(region, table ? SK_TABLE_SET : SK_TABLE_HASH, name, member, vv);
            if (types == 0 || any) key->there[m] = there;
            if (there && !any && types == 0)
                for (unsigned before = 0; before < m; before++) key->there[before] = false;
            if (there && table == 0) key->unsure[m] = show_register(&expect->entries, &key->fields[m]) == UNSURE;
            any |= there;
        }
        if (any && types == 0) key->type = table ? SET : HASH;
        types += any;
    }
    if (types > 1) key->type = UNSURE;
    if (key->deadline_ms <= now_ms) key->type = NONE;
    if (key->type == NONE) key->deadline_ms = SK_DEADLINE_NEVER;
}

static void show_all(sim_region *region, model_key *keys)
{
    sk_vv vv = {0};
    sim_region_canonical(region, &region->replica->db.vv, &vv);
    uint64_t believed_ms = sk_replica_believed_ms(region->replica);
    for (uint32_t i = 0; i < region->world->config.keys; i++) show_key(region, i, &vv, believed_ms, &keys[i]);
    sk_vv_free(&vv);
}

sim_presence sim_expect_presence(sim_region *region, uint32_t number)
{
    struct sim_expect *expect = region->world->expect;
    model_key *key = &expect->shown[number];
    sk_vv vv = {0};
    sim_region_canonical(region, &region->replica->db.vv, &vv);
    show_key(region, number, &vv, region->replica->wall_ms, key);
    sk_vv_free(&vv);
    return key->type == NONE ? SIM_ABSENT : key->type == UNSURE ? SIM_UNSURE : SIM_PRESENT;
}

/* -- the model ----------------------------------------------------------------------------------------------------- */

typedef struct {
    sim_region *region;
    struct sim_expect *expect;
    const sim_request *request;
    sk_bytes *reply; /* what is left of the real one */
    sim_reply got;   /* this command's part of it */
} run;

static model_key *key_at(const run *of, uint32_t arg)
{
    sk_bytes name = of->request->argv[arg];
    if (name.len != 2 || name.data[0] != 'k') return NULL;
    return &of->expect->keys[name.data[1] - '0'];
}

/* What a command that only reads finds there. */
static model_key *read_at(const run *of, uint32_t arg)
{
    model_key *key = key_at(of, arg);
    return key && key->deadline_ms <= of->expect->wall_ms ? &of->expect->none : key;
}

static uint32_t member_at(const run *of, uint32_t arg) { return (uint32_t)(of->request->argv[arg].data[1] - '0'); }

static bool arg_is(const run *of, uint32_t arg, const char *word)
{
    return arg < of->request->argc && sk_bytes_equal(of->request->argv[arg], sk_bytes_str(word));
}

static void wrong(const run *of, const char *wanted)
{
    sim_fail(of->region->world, "%s: %.*s %.*s is answered with %.*s, not %s", of->region->name,
             (int)of->request->argv[0].len, (const char *)of->request->argv[0].data,
             (int)(of->request->argc > 1 ? of->request->argv[1].len : 0), (const char *)of->request->argv[1].data,
             (int)(of->got.text.len < 80 ? of->got.text.len : 80), (const char *)of->got.text.data, wanted);
}

static void want_int(const run *of, int64_t number)
{
    char text[32];
    snprintf(text, sizeof text, "%lld", (long long)number);
    if (of->got.kind != SIM_REPLY_INT || of->got.number != number) wrong(of, text);
}

static void want_ok(const run *of)
{
    if (of->got.kind != SIM_REPLY_STATUS || !sk_bytes_equal(of->got.text, sk_bytes_str("OK"))) wrong(of, "OK");
}

static void want_null(const run *of)
{
    if (of->got.kind != SIM_REPLY_NULL) wrong(of, "nil");
}

static void want_text(const run *of, const sk_buf *text)
{
    if (of->got.kind != SIM_REPLY_TEXT || !sk_bytes_equal(of->got.text, sk_buf_view(text))) wrong(of, "another value");
}

static void want_error(const run *of, const char *code)
{
    if (of->got.kind != SIM_REPLY_ERROR || !sk_bytes_starts(of->got.text, sk_bytes_str(code))) wrong(of, code);
}

/* True if the key is sure and of this type or absent; else asks for the right error. */
static bool usable(const run *of, model_key *key, shape type)
{
    if (key->type == UNSURE) return false;
    if (key->type == NONE || key->type == type) return true;
    want_error(of, "WRONGTYPE");
    return false;
}

static void erase(model_key *key)
{
    key->type = NONE;
    key->deadline_ms = SK_DEADLINE_NEVER;
    memset(key->there, 0, sizeof key->there);
    memset(key->unsure, 0, sizeof key->unsure);
}

static void put_string(model_key *key, sk_bytes value)
{
    uint64_t deadline_ms = key->deadline_ms;
    erase(key);
    key->deadline_ms = deadline_ms;
    key->type = STRING;
    set_text(&key->value, value);
}

static void run_set(run *of)
{
    model_key *key = key_at(of, 1), *old = read_at(of, 1);
    bool nx = false, xx = false, get = false, keep = false;
    uint64_t deadline_ms = SK_DEADLINE_NEVER;
    for (uint32_t i = 3; i < of->request->argc; i++) {
        int64_t ms = 0;
        nx |= arg_is(of, i, "NX");
        xx |= arg_is(of, i, "XX");
        get |= arg_is(of, i, "GET");
        keep |= arg_is(of, i, "KEEPTTL");
        if (!arg_is(of, i, "PX")) continue;
        sk_parse_int64(of->request->argv[++i], &ms);
        deadline_ms = of->expect->wall_ms + (uint64_t)ms;
    }
    if (get && !usable(of, old, STRING)) return;
    if ((nx || xx) && key->type == UNSURE) return;
    if (get && old->type == STRING) want_text(of, &old->value);
    if (get && old->type == NONE) want_null(of);
    if ((nx && key->type != NONE) || (xx && key->type == NONE)) {
        if (!get) want_null(of);
        return;
    }
    if (!get) want_ok(of);
    if (!keep) key->deadline_ms = deadline_ms;
    put_string(key, of->request->argv[2]);
}

static void run_get(run *of)
{
    model_key *key = read_at(of, 1);
    if (!usable(of, key, STRING)) return;
    if (key->type == STRING)
        want_text(of, &key->value);
    else
        want_null(of);
    if (arg_is(of, 0, "GETDEL")) erase(key);
}

static void run_append(run *of)
{
    model_key *key = key_at(of, 1);
    if (!usable(of, key, STRING)) return;
    if (key->type == NONE) put_string(key, SK_BYTES_NONE);
    sk_buf_bytes(&key->value, of->request->argv[2]);
    want_int(of, (int64_t)key->value.len);
}

/* Adds to a number in `value`, or says which error there must be. */
static bool add_number(const run *of, bool there, sk_buf *value, sk_bytes by, const char *error)
{
    int64_t old = 0, added = 0;
    if (there && !sk_parse_int64(sk_buf_view(value), &old)) {
        want_error(of, error);
        return false;
    }
    sk_parse_int64(by, &added);
    char digits[SK_INT64_CHARS];
    set_text(value, sk_bytes_of(digits, sk_format_int64(digits, old + added)));
    want_int(of, old + added);
    return true;
}

static void run_incrby(run *of)
{
    model_key *key = key_at(of, 1);
    if (!usable(of, key, STRING)) return;
    if (add_number(of, key->type == STRING, &key->value, of->request->argv[2], "ERR value is not an integer"))
        key->type = STRING;
}

static void run_incrbyfloat(run *of)
{
    model_key *key = key_at(of, 1);
    if (usable(of, key, STRING)) key->type = UNSURE;
}

static void run_del(run *of)
{
    int64_t removed = 0;
    bool sure = true;
    for (uint32_t i = 1; i < of->request->argc; i++) {
        model_key *key = key_at(of, i);
        sure &= key->type != UNSURE;
        removed += key->type != NONE;
        erase(key);
    }
    if (sure) want_int(of, removed);
}

static void run_mset(run *of)
{
    for (uint32_t i = 1; i + 1 < of->request->argc; i += 2) {
        model_key *key = key_at(of, i);
        key->deadline_ms = SK_DEADLINE_NEVER;
        put_string(key, of->request->argv[i + 1]);
    }
    want_ok(of);
}

static void drop_if_empty(model_key *key)
{
    for (int m = 0; m < SIM_MEMBERS; m++)
        if (key->there[m]) return;
    erase(key);
}

static void begin_members(model_key *key, shape type)
{
    if (key->type == NONE) erase(key);
    key->type = type;
}

static void run_add(run *of, shape type)
{
    model_key *key = key_at(of, 1);
    int64_t added = 0;
    if (!usable(of, key, type)) return;
    begin_members(key, type);
    for (uint32_t i = 2; i < of->request->argc; i += type == HASH ? 2 : 1) {
        uint32_t m = member_at(of, i);
        added += !key->there[m];
        key->there[m] = true;
        key->unsure[m] = false;
        if (type == HASH) set_text(&key->fields[m], of->request->argv[i + 1]);
    }
    want_int(of, added);
}

static void run_remove(run *of, shape type)
{
    model_key *key = key_at(of, 1);
    int64_t removed = 0;
    if (!usable(of, key, type)) return;
    for (uint32_t i = 2; key->type == type && i < of->request->argc; i++) {
        uint32_t m = member_at(of, i);
        removed += key->there[m];
        key->there[m] = key->unsure[m] = false;
    }
    if (key->type == type) drop_if_empty(key);
    want_int(of, removed);
}

static void run_spop(run *of)
{
    model_key *key = key_at(of, 1);
    if (!usable(of, key, SET)) return;
    if (key->type == NONE) {
        want_null(of);
        return;
    }
    bool member = of->got.kind == SIM_REPLY_TEXT && of->got.text.len == 2 && of->got.text.data[0] == 'm';
    if (!member || !key->there[of->got.text.data[1] - '0']) wrong(of, "a member");
    key->there[of->got.text.data[1] - '0'] = false;
    drop_if_empty(key);
}

/* SMEMBERS, HGETALL: an array of what is there, in any order. */
static void run_members(run *of, shape type)
{
    model_key *key = read_at(of, 1);
    if (!usable(of, key, type)) return;
    int64_t want = 0;
    for (int m = 0; m < SIM_MEMBERS; m++) {
        if (key->type == NONE || !key->there[m]) continue;
        if (key->unsure[m]) return;
        want += type == HASH ? 2 : 1;
    }
    if (of->got.kind != SIM_REPLY_ARRAY || of->got.number != want) wrong(of, "all members");
    for (int64_t i = 0; i < want; i++) {
        sim_reply member, value = {0};
        bool good = sim_reply_next(of->reply, &member) && member.text.len == 2;
        uint32_t m = good ? (uint32_t)(member.text.data[1] - '0') : 0;
        if (!good || m >= SIM_MEMBERS || !key->there[m]) wrong(of, "members that are there");
        if (type != HASH) continue;
        i++;
        if (!sim_reply_next(of->reply, &value) || !sk_bytes_equal(value.text, sk_buf_view(&key->fields[m])))
            wrong(of, "the fields' values");
    }
}

static void run_hincrby(run *of)
{
    model_key *key = key_at(of, 1);
    if (!usable(of, key, HASH)) return;
    uint32_t m = member_at(of, 2);
    bool there = key->type == HASH && key->there[m];
    if (there && key->unsure[m]) return;
    if (!add_number(of, there, &key->fields[m], of->request->argv[3], "ERR hash value is not an integer")) return;
    begin_members(key, HASH);
    key->there[m] = true;
}

static void run_exists(run *of)
{
    model_key *key = read_at(of, 1);
    if (key->type != UNSURE) want_int(of, key->type != NONE);
}

static void run_expire(run *of)
{
    model_key *key = key_at(of, 1);
    int64_t ms = 0;
    sk_parse_int64(of->request->argv[2], &ms);
    uint64_t deadline_ms = of->expect->wall_ms + (uint64_t)ms;
    bool sets = key->type != NONE;
    if (arg_is(of, 3, "NX")) sets &= key->deadline_ms == SK_DEADLINE_NEVER;
    if (arg_is(of, 3, "GT")) sets &= deadline_ms > key->deadline_ms && key->deadline_ms != SK_DEADLINE_NEVER;
    if (key->type == UNSURE) {
        key->deadline_ms = SK_DEADLINE_NEVER; /* set or not: without one nothing is asked of it */
        return;
    }
    want_int(of, sets);
    if (sets) key->deadline_ms = deadline_ms;
}

static void run_persist(run *of)
{
    model_key *key = key_at(of, 1);
    if (key->type != UNSURE) want_int(of, key->type != NONE && key->deadline_ms != SK_DEADLINE_NEVER);
    key->deadline_ms = SK_DEADLINE_NEVER;
}

static void copy_key(model_key *to, const model_key *from)
{
    erase(to);
    to->type = from->type;
    to->deadline_ms = from->deadline_ms;
    set_text(&to->value, sk_buf_view(&from->value));
    for (int m = 0; m < SIM_MEMBERS; m++) {
        to->there[m] = from->there[m];
        to->unsure[m] = from->unsure[m];
        set_text(&to->fields[m], sk_buf_view(&from->fields[m]));
    }
}

static void run_rename(run *of)
{
    bool rename = arg_is(of, 0, "RENAME");
    model_key *from = rename ? key_at(of, 1) : read_at(of, 1), *to = key_at(of, 2);
    bool unsure = from->type == UNSURE, same = key_at(of, 1) == to;
    for (int m = 0; m < SIM_MEMBERS && from->type == HASH; m++) unsure |= from->there[m] && from->unsure[m];
    if (unsure) { /* it may be refused, or carry a conflict over */
        if (of->got.kind == SIM_REPLY_ERROR) return;
        if (!same) to->type = UNSURE;
        if (rename && !same) erase(from);
        return;
    }
    if (from->type == NONE) {
        if (rename) want_error(of, "ERR no such key");
        if (!rename && !same) want_int(of, 0);
        return;
    }
    if (same) return;
    if (rename)
        want_ok(of);
    else
        want_int(of, 1);
    copy_key(to, from);
    if (rename) erase(from);
}

static void run_resolve(run *of)
{
    model_key *key = arg_is(of, 1, "RESOLVE") ? key_at(of, 2) : NULL;
    if (key) key->type = UNSURE;
}

static void run_all(run *of)
{
    for (int i = 0; i < SIM_KEYS_MAX; i++) erase(&of->expect->keys[i]);
    want_ok(of);
}

static void run_sadd(run *of) { run_add(of, SET); }
static void run_hset(run *of) { run_add(of, HASH); }
static void run_srem(run *of) { run_remove(of, SET); }
static void run_hdel(run *of) { run_remove(of, HASH); }
static void run_smembers(run *of) { run_members(of, SET); }
static void run_hgetall(run *of) { run_members(of, HASH); }

static const struct {
    const char *name;
    void (*run)(run *of);
} commands[] = {
    {"GET", run_get},       {"GETDEL", run_get},     {"SET", run_set},          {"APPEND", run_append},
    {"INCRBY", run_incrby}, {"MSET", run_mset},      {"DEL", run_del},          {"INCRBYFLOAT", run_incrbyfloat},
    {"SADD", run_sadd},     {"SREM", run_srem},      {"SPOP", run_spop},        {"SMEMBERS", run_smembers},
    {"HSET", run_hset},     {"HDEL", run_hdel},      {"HINCRBY", run_hincrby},  {"HGETALL", run_hgetall},
    {"EXISTS", run_exists}, {"PEXPIRE", run_expire}, {"PERSIST", run_persist},  {"RENAME", run_rename},
    {"COPY", run_rename},   {"FLUSHALL", run_all},   {"SIBLINGS", run_resolve},
};

/* Takes one command's reply off the rest. */
static void run_one(run *of)
{
    if (!sim_reply_next(of->reply, &of->got)) sim_fail(of->region->world, "%s: a reply is cut short", of->region->name);
    of->region->world->counts.replies_checked++;
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++)
        if (arg_is(of, 0, commands[i].name)) {
            commands[i].run(of);
            return;
        }
}

/* -- before and after ---------------------------------------------------------------------------------------------- */

void sim_expect_before(sim_region *region)
{
    sim_world *world = region->world;
    world->expect->wall_ms = region->replica->wall_ms;
    show_all(region, world->expect->keys);
}

static bool same_key(const model_key *want, const model_key *have)
{
    if (want->type == UNSURE) return true;
    if (want->type != have->type || want->deadline_ms != have->deadline_ms) return false;
    if (want->type == STRING) return sk_bytes_equal(sk_buf_view(&want->value), sk_buf_view(&have->value));
    for (int m = 0; m < SIM_MEMBERS && want->type != NONE; m++) {
        if (want->there[m] != have->there[m]) return false;
        if (!want->there[m] || want->type == SET || want->unsure[m]) continue;
        if (have->unsure[m] || !sk_bytes_equal(sk_buf_view(&want->fields[m]), sk_buf_view(&have->fields[m])))
            return false;
    }
    return true;
}

/* The requests were refused as a whole: nothing may have changed. */
static bool refused(sk_bytes reply)
{
    static const char *const codes[] = {"-MISCONF", "-EXECABORT", "-ERR the disk", "-CONFLICT", "-BEHIND"};
    for (size_t i = 0; i < sizeof codes / sizeof *codes; i++)
        if (sk_bytes_starts(reply, sk_bytes_str(codes[i]))) return true;
    return false;
}

/* Is nothing that the request names in conflict? */
static bool all_sure(const run *of)
{
    for (uint32_t i = 1; i < of->request->argc; i++) {
        const model_key *key = key_at(of, i);
        if (key && key->type == UNSURE) return false;
        for (int m = 0; key && key->type == HASH && m < SIM_MEMBERS; m++)
            if (key->there[m] && key->unsure[m]) return false;
    }
    return true;
}

void sim_expect_after(sim_region *region, const sim_request *requests, uint32_t count, bool exec, sk_bytes reply)
{
    sim_world *world = region->world;
    struct sim_expect *expect = world->expect;
    sk_bytes rest = reply;
    run of = {.region = region, .expect = expect, .reply = &rest};
    const sk_replica *replica = region->replica;
    if (replica->db.failed || replica->store_error) return; /* what it did is void */
    of.request = requests;
    if (!exec && count && sk_bytes_starts(reply, sk_bytes_str("-CONFLICT")) && all_sure(&of))
        sim_fail(world, "%s: %.*s is refused for a conflict, and there is none", region->name,
                 (int)requests->argv[0].len, (const char *)requests->argv[0].data);
    if (!refused(reply) && reply.len) { /* no reply yet: it waits, and changes nothing */
        sim_reply head;
        bool is_void = exec && sim_reply_next(&rest, &head) && head.kind == SIM_REPLY_NULL; /* and changes nothing */
        for (uint32_t i = 0; !is_void && i < count; i++) {
            of.request = &requests[i];
            run_one(&of);
        }
    }
    show_all(region, expect->shown);
    for (uint32_t i = 0; i < world->config.keys; i++)
        if (!same_key(&expect->keys[i], &expect->shown[i]))
            sim_fail(world, "%s: key k%u is not what the last request should have made of it", region->name, i);
}
