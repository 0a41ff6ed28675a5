/* Conflicts are shown, never dropped: what GET and SIBLINGS GET must say of a key, worked out from the history alone.
 *
 * A register shows a sibling for each value that stands, increments added to those that are numbers (or one more for
 * their sum, if none is); a key that is also a hash, or a set, has one more for each. Under the policy `siblings` GET
 * refuses to choose between two; under `newest` it answers with the latest; SIBLINGS GET names them all. What is left
 * open: real numbers, and policies that are in conflict themselves. */
#include "tests/sim/world.h"

#include "crdt/number.h"

#include <stdio.h>
#include <stdlib.h>

enum { SHOWN_MAX = SIM_ENTRIES_MAX + 1 }; /* and the sum. A region refuses to add to 64, but regions that meet add up */

typedef struct {
    char text[SK_INT64_CHARS]; /* of a number */
    sk_bytes value;            /* borrowed, or `text` */
    const char *region;        /* that wrote it; NULL: several may have */
    sk_hlc hlc;
    bool listed;
} shown_sibling;

typedef struct {
    shown_sibling siblings[SHOWN_MAX];
    uint32_t count;
    bool counted; /* increments are part of it */
    bool expired;
} shown_register;

typedef enum { SIBLINGS, NEWEST, OPEN } policy;

typedef struct {
    sim_region *region;
    const sim_request *request;
    sk_vv vv; /* canonical; owned: what the region has */
    sim_expected row;
    shown_register shown;
} look;

/* -- what the history shows ---------------------------------------------------------------------------------------- */

static void read_row(look *at, sk_table table, sk_bytes key, sk_bytes member)
{
    sk_buf raw = {0};
    sim_oracle *oracle = &at->region->world->oracle;
    sk_rowkey_pack(&raw, table, key, member);
    const sim_row *row = sim_oracle_row(oracle, sk_buf_view(&raw));
    sk_buf_free(&raw);
    at->row.count = 0;
    if (row) sim_oracle_expect(row, &at->vv, &at->row);
}

/* The sibling's number with the increments added; without a value, the increments alone. False: too large. */
static bool add_up(shown_sibling *sibling, int64_t number, const sk_sum *sum)
{
    __int128 whole = sum->whole + number;
    if (whole > INT64_MAX || whole < INT64_MIN) return false;
    sibling->value = sk_bytes_of(sibling->text, sk_format_int64(sibling->text, (int64_t)whole));
    return true;
}

static shown_sibling *add_sibling(look *at, const sk_entry *entry)
{
    sk_assert(at->shown.count < SHOWN_MAX);
    shown_sibling *sibling = &at->shown.siblings[at->shown.count++];
    *sibling = (shown_sibling){.value = entry->value, .hlc = entry->hlc};
    sibling->region = at->region->world->oracle.origins[entry->dot.origin].region;
    return sibling;
}

/* The register of the row that was read. False if that is left open. */
static bool show_register(look *at)
{
    sk_sum sum = {0};
    bool numbers = false;
    at->shown.count = 0;
    at->shown.counted = at->shown.expired = false;
    uint64_t latest_ms = 0;
    for (uint32_t i = 0; i < at->row.count; i++) {
        const sk_entry *entry = &at->row.entries[i];
        if (entry->kind == SK_ENTRY_VALUE) add_sibling(at, entry);
        if (entry->kind == SK_ENTRY_DEADLINE && entry->deadline_ms > latest_ms) latest_ms = entry->deadline_ms;
        if (entry->kind != SK_ENTRY_COUNT) continue;
        if (at->row.share[i].is_real) return false;
        sum.whole += at->row.share[i].whole;
        at->shown.counted = true;
    }
    at->shown.expired = latest_ms && latest_ms <= at->region->replica->wall_ms;
    for (uint32_t i = 0; at->shown.counted && i < at->shown.count; i++) {
        shown_sibling *sibling = &at->shown.siblings[i];
        int64_t number;
        bool whole = sk_parse_int64(sibling->value, &number);
        if (!whole && sibling->value.len && sibling->value.data[0] < 'a') return false; /* perhaps a real number */
        if (whole && !add_up(sibling, number, &sum)) return false;
        numbers |= whole;
    }
    if (!at->shown.counted || numbers) return true;
    sk_assert(at->shown.count < SHOWN_MAX);
    shown_sibling *sibling = &at->shown.siblings[at->shown.count++];
    *sibling = (shown_sibling){0};
    return add_up(sibling, 0, &sum);
}

/* Is the key a hash (or a set) as well? */
static bool has_members(look *at, sk_table table, sk_bytes key)
{
    char member[3] = {table == SK_TABLE_SET ? 'm' : 'f', 0, 0};
    bool any = false;
    for (int m = 0; m < SIM_MEMBERS && !any; m++) {
        member[1] = (char)('0' + m);
        read_row(at, table, key, sk_bytes_str(member));
        any = at->row.count > 0;
    }
    return any;
}

/* The policy of the longest prefix of the key that has one. */
static policy policy_of(look *at, sk_bytes key)
{
    for (size_t len = key.len; len > 0; len--) {
        read_row(at, SK_TABLE_POLICY, sk_bytes_of(key.data, len), SK_BYTES_NONE);
        if (at->row.count == 0) continue;
        if (at->row.count > 1 || at->row.entries[0].kind != SK_ENTRY_VALUE) return OPEN;
        return sk_bytes_equal(at->row.entries[0].value, sk_bytes_str("newest")) ? NEWEST : SIBLINGS;
    }
    return SIBLINGS;
}

/* -- what is answered ---------------------------------------------------------------------------------------------- */

static void wrong(const look *at, sk_bytes key, const char *what)
{
    sim_fail(at->region->world, "%s: %.*s of %.*s %s", at->region->name, (int)at->request->argv[0].len,
             (const char *)at->request->argv[0].data, (int)key.len, (const char *)key.data, what);
}

static void check_newest(look *at, sk_bytes key, const sim_reply *reply)
{
    sk_hlc latest = 0;
    bool good = false;
    for (uint32_t i = 0; i < at->shown.count; i++)
        if (at->shown.siblings[i].hlc > latest) latest = at->shown.siblings[i].hlc;
    for (uint32_t i = 0; i < at->shown.count; i++)
        good |= at->shown.siblings[i].hlc == latest && sk_bytes_equal(at->shown.siblings[i].value, reply->text);
    if (!good) wrong(at, key, "is not answered with the newest of its siblings");
}

static void check_get(look *at, sk_bytes key, const sim_reply *reply)
{
    sim_counts *counts = &at->region->world->counts;
    bool refused = reply->kind == SIM_REPLY_ERROR && sk_bytes_starts(reply->text, sk_bytes_str("CONFLICT "));
    bool failed =
        reply->kind == SIM_REPLY_ERROR && !refused && !sk_bytes_starts(reply->text, sk_bytes_str("WRONGTYPE "));
    if (failed) return; /* it says nothing about the key */
    policy rule = policy_of(at, key);
    bool others = has_members(at, SK_TABLE_HASH, key);
    uint32_t types = (at->shown.count > 0) + others + has_members(at, SK_TABLE_SET, key);
    bool conflict = at->shown.count > 1 || types > 1;
    if (refused && (!conflict || rule == NEWEST)) wrong(at, key, "is refused for a conflict that is none");
    if (!conflict || rule == OPEN) return;
    if (rule == SIBLINGS && !refused) wrong(at, key, "does not say that it is in conflict");
    if (rule == NEWEST && types == 1 && !at->shown.counted) {
        check_newest(at, key, reply);
        counts->newest_shown++;
    }
    counts->conflicts_shown += rule == SIBLINGS;
}

/* One of the siblings in the reply: an array of names and what they stand for. */
static void check_listed(look *at, sk_bytes key, sk_bytes *rest)
{
    sim_reply part, name;
    sk_bytes value = SK_BYTES_NONE, writer = SK_BYTES_NONE;
    bool good = sim_reply_next(rest, &part) && part.kind == SIM_REPLY_ARRAY, is_value = false;
    for (int64_t i = 0; good && i < part.number; i += 2) {
        sim_reply what = {0};
        good = sim_reply_next(rest, &name) && sim_reply_next(rest, &what);
        if (sk_bytes_equal(name.text, sk_bytes_str("value"))) value = what.text, is_value = true;
        if (sk_bytes_equal(name.text, sk_bytes_str("region"))) writer = what.text;
    }
    if (!good) wrong(at, key, "lists no siblings that can be read");
    for (uint32_t i = 0; is_value && i < at->shown.count; i++) {
        shown_sibling *sibling = &at->shown.siblings[i];
        bool same = sk_bytes_equal(sibling->value, value) &&
                    (at->shown.counted || sk_bytes_equal(sk_bytes_str(sibling->region), writer));
        if (sibling->listed || !same) continue;
        sibling->listed = true;
        return;
    }
    if (is_value) wrong(at, key, "lists a sibling that there is not");
}

static void check_siblings(look *at, sk_bytes key, bool of_field, sk_bytes rest)
{
    sim_reply part;
    bool good = sim_reply_next(&rest, &part) && part.kind == SIM_REPLY_ARRAY && part.number == 4;
    for (int i = 0; i < 3; i++) good = good && sim_reply_next(&rest, &part); /* "context", it, "siblings" */
    good = good && sim_reply_next(&rest, &part) && part.kind == SIM_REPLY_ARRAY;
    if (!good) wrong(at, key, "is answered with something else");
    uint32_t more = of_field ? 0 : has_members(at, SK_TABLE_HASH, key);
    if (!of_field) more += has_members(at, SK_TABLE_SET, key);
    if (part.number != (int64_t)(at->shown.count + more)) wrong(at, key, "does not name each sibling once");
    for (int64_t i = part.number; i; i--) check_listed(at, key, &rest);
    at->region->world->counts.siblings_listed += at->shown.count;
}

void sim_conflict_check(sim_region *region, const sim_request *request, sk_bytes reply)
{
    const sk_replica *replica = region->replica;
    bool get = request->ask == SIM_ASK_READ, list = request->ask == SIM_ASK_SIBLINGS;
    sim_reply head;
    sk_bytes rest = reply;
    if ((!get && !list) || replica->db.failed || replica->store_error || !sim_reply_next(&rest, &head)) return;
    if (list && head.kind == SIM_REPLY_ERROR) return;
    bool of_field = list && request->argc == 5;
    sk_bytes key = request->argv[list ? 2 : 1];
    look *at = sk_realloc(NULL, sizeof *at); /* large: not zeroed */
    at->region = region;
    at->request = request;
    at->vv = (sk_vv){0};
    sim_region_canonical(region, &replica->db.vv, &at->vv);
    read_row(at, SK_TABLE_KEY, key, SK_BYTES_NONE);
    bool known = show_register(at) && !at->shown.expired;
    if (known && of_field) {
        read_row(at, SK_TABLE_HASH, key, request->argv[4]);
        known = show_register(at);
    }
    if (known && get) check_get(at, key, &head);
    if (known && list) check_siblings(at, key, of_field, reply);
    sk_vv_free(&at->vv);
    free(at);
}
