#include "node/sample.h"

#include "node/replica.h"

#include <stdlib.h>

/* What is sampled. `scratch` holds copies for the length of one choice; results go to ctx->arena. */
typedef struct {
    sk_ctx *ctx;
    sk_table table;
    sk_bytes key;
    uint64_t size;
    sk_arena scratch;
} population;

static uint64_t below(const population *of, uint64_t bound)
{
    return (uint64_t)((unsigned __int128)sk_replica_random(of->ctx->replica) * bound >> 64);
}

static bool each(const population *of, sk_bytes from, sk_member_visit *visit, void *self)
{
    return sk_members_each(of->ctx, of->table, of->key, from, visit, self);
}

static bool out_of_memory(const population *of)
{
    sk_reply_failure(of->ctx, SK_E_MEMORY);
    return false;
}

/* -- one pass ------------------------------------------------------------------------------------------------------ */

typedef struct {
    const population *of;
    sk_bytes *members;
    size_t picked, wanted;
    uint64_t left; /* members not yet passed */
    bool failed;   /* no memory */
} selection;

/* Selection sampling (Knuth, The Art of Computer Programming 2, 3.4.2 S). */
static int select_member(void *self, sk_bytes member, const sk_row *row)
{
    (void)row;
    selection *chosen = self;
    if (chosen->left == 0 || chosen->picked == chosen->wanted) return 1;
    if (below(chosen->of, chosen->left--) < chosen->wanted - chosen->picked) {
        chosen->members[chosen->picked] = sk_arena_copy(chosen->of->ctx->arena, member);
        chosen->failed = !chosen->members[chosen->picked++].data;
    }
    return chosen->failed || chosen->picked == chosen->wanted;
}

static bool select_distinct(const population *of, sk_bytes *members, size_t wanted, size_t *picked)
{
    selection chosen = {of, members, 0, wanted, of->size, false};
    if (!each(of, SK_BYTES_NONE, select_member, &chosen)) return false;
    if (chosen.failed) return out_of_memory(of);
    *picked = chosen.picked;
    return true;
}

typedef struct {
    uint64_t at; /* which member, in their order */
    size_t slot; /* for which place of the result */
} draw;

typedef struct {
    const population *of;
    const draw *draws;
    size_t next, count;
    uint64_t at;
    sk_bytes *members;
    bool failed; /* no memory */
} drawing;

static int compare_draws(const void *a, const void *b)
{
    const draw *left = a, *right = b;
    return (left->at > right->at) - (left->at < right->at);
}

static int draw_member(void *self, sk_bytes member, const sk_row *row)
{
    (void)row;
    drawing *drawn = self;
    sk_bytes copy = SK_BYTES_NONE;
    for (; drawn->next < drawn->count && drawn->draws[drawn->next].at == drawn->at; drawn->next++) {
        if (!copy.data) copy = sk_arena_copy(drawn->of->ctx->arena, member);
        drawn->failed = !copy.data;
        if (drawn->failed) return 1;
        drawn->members[drawn->draws[drawn->next].slot] = copy;
    }
    drawn->at++;
    return drawn->next == drawn->count;
}

static bool draw_repeats(const population *of, sk_bytes *members, size_t wanted, size_t *picked)
{
    draw *draws = sk_arena_take(of->ctx->arena, wanted * sizeof *draws);
    if (!draws) return out_of_memory(of);
    for (size_t i = 0; i < wanted; i++) draws[i] = (draw){below(of, of->size), i};
    qsort(draws, wanted, sizeof *draws, compare_draws);
    drawing drawn = {.of = of, .draws = draws, .count = wanted, .members = members};
    if (!each(of, SK_BYTES_NONE, draw_member, &drawn)) return false;
    if (drawn.failed) return out_of_memory(of);
    *picked = drawn.next == wanted ? wanted : 0;
    return true;
}

/* -- one choice by going down the tree of prefixes ----------------------------------------------------------------- */

enum {
    WINDOW = 64,        /* so few members are chosen among by passing over them */
    LIST_MAX = 24,      /* branches of a fork that are counted one by one */
    GUESSES_MAX = 1024, /* for a branch that exists, at a fork of more */
    LEVELS_MAX = 64,    /* forks on the way down; at the next the window decides */
    TRIES_MAX = 16,     /* choices made before one is taken whatever its chance was */
};

/* The first members that begin with a prefix. */
typedef struct {
    const population *of;
    sk_arena *scratch;
    sk_bytes prefix, first, chosen;
    size_t shared; /* bytes that all of them begin with */
    uint32_t read;
    bool more;
} window;

static size_t shared_bytes(sk_bytes a, sk_bytes b, size_t most)
{
    size_t shared = 0;
    while (shared < most && shared < a.len && shared < b.len && a.data[shared] == b.data[shared]) shared++;
    return shared;
}

static int look_at(void *self, sk_bytes member, const sk_row *row)
{
    (void)row;
    window *seen = self;
    if (!sk_bytes_starts(member, seen->prefix)) return 1;
    if (seen->read == WINDOW) {
        seen->more = true;
        return 1;
    }
    seen->read++;
    if (seen->read == 1) {
        seen->first = seen->chosen = sk_arena_copy(seen->scratch, member);
        seen->shared = member.len;
        return 0;
    }
    seen->shared = shared_bytes(seen->first, member, seen->shared);
    if (below(seen->of, seen->read) == 0) seen->chosen = sk_arena_copy(seen->scratch, member);
    return 0;
}

typedef struct {
    sk_bytes prefix;
    bool found;
    int branch; /* the byte after the prefix; -1: the member is the prefix itself */
} branch_at;

static int look_branch(void *self, sk_bytes member, const sk_row *row)
{
    (void)row;
    branch_at *look = self;
    look->found = sk_bytes_starts(member, look->prefix);
    if (look->found) look->branch = member.len > look->prefix.len ? member.data[look->prefix.len] : -1;
    return 1;
}

/* The first member at or above prefix + byte, as long as it begins with prefix. */
static bool seek_branch(const population *of, sk_bytes prefix, int byte, branch_at *look)
{
    sk_buf from = {0};
    sk_buf_bytes(&from, prefix);
    sk_buf_byte(&from, (uint8_t)byte);
    *look = (branch_at){.prefix = prefix};
    bool fine = each(of, sk_buf_view(&from), look_branch, look);
    sk_buf_free(&from);
    return fine;
}

/* Of those that begin with `prefix`, is any above all that begin with `longer` (which begins with prefix)? */
static bool any_above(const population *of, sk_bytes prefix, sk_bytes longer, bool *any)
{
    sk_buf from = {0};
    sk_buf_bytes(&from, longer);
    sk_rowkey_successor(&from);
    branch_at look = {.prefix = prefix};
    bool fine = from.len == 0 || each(of, sk_buf_view(&from), look_branch, &look);
    sk_buf_free(&from);
    *any = look.found;
    return fine;
}

/* Takes a branch of a fork that has too many to list, from `low` (-1: the prefix itself) on: bytes are guessed until
 * one is there. How many guesses that took estimates how many there are. */
static bool guess_branch(const population *of, sk_bytes prefix, int low, int *branch, double *chance)
{
    int last = low, above = 256; /* a branch that is there; one that is not, nor any above it */
    branch_at look;
    while (above - last > 1) {
        int middle = last + (above - last) / 2;
        if (!seek_branch(of, prefix, middle, &look)) return false;
        if (look.found)
            last = look.branch;
        else
            above = middle;
    }
    uint64_t span = (uint64_t)(last - low) + 1;
    for (int guesses = 1; guesses <= GUESSES_MAX; guesses++) {
        int byte = low + (int)below(of, span);
        if (byte < 0) {
            look = (branch_at){.found = true, .branch = byte};
        } else if (!seek_branch(of, prefix, byte, &look)) {
            return false;
        }
        if (!look.found || look.branch != byte) continue;
        *branch = byte;
        *chance *= (double)guesses / (double)span;
        return true;
    }
    *branch = last;
    *chance /= (double)span;
    return true;
}

/* Takes a branch of the fork at `prefix`, whose first is `low`. */
static bool take_branch(const population *of, sk_bytes prefix, int low, int *branch, double *chance)
{
    branch_at look = {.branch = low};
    *branch = low;
    for (uint32_t count = 1; look.branch < 255; count++) {
        if (!seek_branch(of, prefix, look.branch + 1, &look)) return false;
        if (!look.found) {
            *chance /= count;
            return true;
        }
        if (count == LIST_MAX) return guess_branch(of, prefix, low, branch, chance);
        if (below(of, count + 1) == 0) *branch = look.branch;
        if (look.branch == 255) *chance /= count + 1;
    }
    return true;
}

/* A member and the chance that it had. */
static bool descend(population *of, sk_bytes *member, double *chance)
{
    sk_bytes prefix = sk_bytes_str("");
    *chance = 1;
    *member = SK_BYTES_NONE;
    for (uint32_t level = 0;; level++) {
        window seen = {.of = of, .scratch = &of->scratch, .prefix = prefix};
        if (!each(of, prefix, look_at, &seen)) return false;
        if (!seen.more || level == LEVELS_MAX) {
            *member = seen.chosen;
            if (seen.read) *chance /= seen.read;
            return true;
        }
        size_t low = prefix.len, high = seen.shared; /* how far are all below `prefix` the same? */
        while (low < high) {
            size_t middle = low + (high - low + 1) / 2;
            bool any;
            if (!any_above(of, prefix, sk_bytes_of(seen.first.data, middle), &any)) return false;
            if (any)
                high = middle - 1;
            else
                low = middle;
        }
        sk_bytes fork = sk_bytes_of(seen.first.data, low);
        int branch, lowest = seen.first.len > low ? seen.first.data[low] : -1;
        if (!take_branch(of, fork, lowest, &branch, chance)) return false;
        if (branch < 0) {
            *member = fork;
            return true;
        }
        uint8_t *longer = sk_arena_take(&of->scratch, low + 1);
        if (!longer) return out_of_memory(of);
        memcpy(longer, fork.data, low);
        longer[low] = (uint8_t)branch;
        prefix = sk_bytes_of(longer, low + 1);
    }
}

static bool choose(population *of, sk_bytes *member)
{
    sk_bytes found = SK_BYTES_NONE;
    for (uint32_t i = 0; i < TRIES_MAX; i++) {
        double chance;
        sk_arena_reset(&of->scratch);
        if (!descend(of, &found, &chance)) return false;
        double fair = 1 / (chance * (double)of->size);
        if (fair >= 1 || (double)below(of, 1u << 30) < fair * (1u << 30)) break;
    }
    *member = found.data ? sk_arena_copy(of->ctx->arena, found) : found;
    return !found.data || member->data || out_of_memory(of);
}

/* Puts a member into the sorted list, unless it is there. */
static void insert(sk_bytes *members, size_t *count, sk_bytes member)
{
    size_t low = 0, high = *count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = sk_bytes_compare(members[middle], member);
        if (order == 0) return;
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    memmove(members + low + 1, members + low, (*count - low) * sizeof *members);
    members[low] = member;
    ++*count;
}

static bool choose_many(population *of, bool distinct, sk_bytes *members, size_t wanted, size_t *picked)
{
    *picked = 0;
    for (size_t i = 0; i < 2 * wanted + TRIES_MAX && *picked < wanted; i++) {
        sk_bytes member;
        if (!choose(of, &member)) return false;
        if (!member.data) break;
        if (distinct)
            insert(members, picked, member);
        else
            members[(*picked)++] = member;
    }
    return *picked == wanted || select_distinct(of, members, wanted, picked);
}

/* -- what commands call -------------------------------------------------------------------------------------------- */

bool sk_sample(sk_ctx *ctx, sk_table table, sk_bytes key, uint64_t size, int64_t count, sk_bytes **members,
               size_t *picked)
{
    bool distinct = count >= 0;
    uint64_t wanted = distinct ? (uint64_t)count : -(uint64_t)count;
    if (distinct && wanted > size) wanted = size;
    if (!distinct && wanted > SK_SAMPLE_REPEATS_MAX) {
        sk_reply_errorf(ctx->reply, "ERR value is out of range, at most %d elements with repeats are returned",
                        (int)SK_SAMPLE_REPEATS_MAX);
        return false;
    }
    population of = {.ctx = ctx, .table = table, .key = key, .size = size};
    *members = sk_arena_take(ctx->arena, (wanted + 1) * sizeof **members);
    if (!*members) return out_of_memory(&of);
    bool fine;
    if (wanted * SK_SAMPLE_SCAN_MAX < size)
        fine = choose_many(&of, distinct, *members, wanted, picked);
    else if (distinct)
        fine = select_distinct(&of, *members, wanted, picked);
    else
        fine = draw_repeats(&of, *members, wanted, picked);
    sk_arena_free(&of.scratch);
    return fine;
}

bool sk_sample_count(sk_ctx *ctx, sk_bytes arg, int64_t *count)
{
    if (!sk_arg_int(ctx, arg, count)) return false;
    if (*count != INT64_MIN) return true;
    sk_reply_error(ctx->reply, "ERR value is out of range, value must between -9223372036854775807 and "
                               "9223372036854775807");
    return false;
}
