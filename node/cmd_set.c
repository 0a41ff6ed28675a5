/* The commands of sets. A member is a row of its own, so adding to a set of a million members costs what adding to an
 * empty one costs, and only the addition travels.
 *
 * - Add wins: a removal takes the additions that it saw, and no other. So SADD writes also a member that is there
 *   already: its client asked for the member to be there, and a removal made elsewhere at the same time has not seen
 *   this addition. The reply is Redis' own (0 new members).
 * - SCARD and the existence of a key come from the key's own row, which counts its members; nothing else is read.
 * - Members are kept in the order of their bytes. Sets of like sizes are intersected and subtracted by passing over
 *   both side by side; where one is much larger, by looking into it.
 * - The STORE commands know their whole result before their first change. */
#include "node/cmd_key.h"
#include "node/collection.h"
#include "node/sample.h"

#include "crdt/number.h"

#include <stdlib.h>

static bool look(sk_ctx *ctx, sk_bytes key, sk_bytes member, sk_row_name *name, sk_row *row, bool *there)
{
    if (!sk_member_row(ctx, SK_TABLE_SET, key, member, name, row)) return false;
    *there = sk_row_live(row, SK_CLASS_CONTENT) != 0;
    return true;
}

static bool is_member(sk_ctx *ctx, sk_bytes key, sk_bytes member, bool *there)
{
    sk_row_name name;
    sk_row row;
    return look(ctx, key, member, &name, &row, there);
}

/* `was_there`: whether it was a member already. */
static bool add_member(sk_ctx *ctx, sk_bytes key, sk_bytes member, bool *was_there)
{
    sk_row_name name;
    sk_row row;
    return look(ctx, key, member, &name, &row, was_there) && sk_member_add(ctx, &name, &row);
}

/* Removes a member if it is there. */
static bool remove_member(sk_ctx *ctx, sk_bytes key, sk_bytes member, bool *there)
{
    sk_row_name name;
    sk_row row;
    return look(ctx, key, member, &name, &row, there) && (!*there || sk_member_remove(ctx, &name, &row));
}

/* -- members ------------------------------------------------------------------------------------------------------- */

static void sadd(sk_ctx *ctx)
{
    sk_key key;
    int64_t added = 0;
    if (!sk_key_write(ctx, ctx->argv[1], SK_TYPE_SET, &key)) return;
    for (size_t i = 2; i < ctx->argc; i++) {
        bool there;
        if (!add_member(ctx, key.key, ctx->argv[i], &there)) return;
        added += !there;
    }
    sk_reply_int(ctx->reply, added);
}

static void srem(sk_ctx *ctx)
{
    sk_key key;
    int64_t removed = 0;
    if (!sk_key_write(ctx, ctx->argv[1], SK_TYPE_SET, &key)) return;
    for (size_t i = 2; key.type == SK_TYPE_SET && i < ctx->argc; i++) {
        bool there;
        if (!remove_member(ctx, key.key, ctx->argv[i], &there)) return;
        removed += there;
    }
    if (removed && !sk_collection_shrunk(ctx, &key)) return;
    sk_reply_int(ctx->reply, removed);
}

static void sismember(sk_ctx *ctx)
{
    sk_key key;
    bool there = false;
    if (!sk_key_read(ctx, ctx->argv[1], SK_TYPE_SET, &key)) return;
    if (key.type == SK_TYPE_SET && !is_member(ctx, key.key, ctx->argv[2], &there)) return;
    sk_reply_int(ctx->reply, there);
}

static void smismember(sk_ctx *ctx)
{
    sk_key key;
    sk_collected answers;
    if (!sk_key_read(ctx, ctx->argv[1], SK_TYPE_SET, &key)) return;
    sk_collected_begin(&answers, ctx);
    for (size_t i = 2; i < ctx->argc; i++) {
        bool there = false;
        if (key.type == SK_TYPE_SET && !is_member(ctx, key.key, ctx->argv[i], &there)) {
            sk_collected_drop(&answers);
            return;
        }
        sk_reply_int(&answers.reply, there);
        answers.count++;
    }
    sk_collected_send(&answers, sk_reply_array);
}

static void scard(sk_ctx *ctx)
{
    sk_key key;
    if (!sk_key_read(ctx, ctx->argv[1], SK_TYPE_SET, &key)) return;
    sk_reply_int(ctx->reply, key.type == SK_TYPE_SET ? (int64_t)key.row.members : 0);
}

static int list_member(void *self, sk_bytes member, const sk_row *row)
{
    (void)row;
    sk_collected *found = self;
    sk_reply_bulk(&found->reply, member);
    found->count++;
    return found->buf.full;
}

static void smembers(sk_ctx *ctx)
{
    sk_key key;
    sk_collected found;
    if (!sk_key_read(ctx, ctx->argv[1], SK_TYPE_SET, &key)) return;
    sk_collected_begin(&found, ctx);
    if (key.type == SK_TYPE_NONE || sk_members_each(ctx, SK_TABLE_SET, key.key, SK_BYTES_NONE, list_member, &found))
        sk_collected_send(&found, sk_reply_set);
    else
        sk_collected_drop(&found);
}

static void smove(sk_ctx *ctx)
{
    sk_key from, to;
    bool there;
    if (!sk_key_write(ctx, ctx->argv[1], SK_TYPE_SET, &from)) return;
    if (from.type == SK_TYPE_NONE) {
        sk_reply_int(ctx->reply, 0);
        return;
    }
    if (!sk_key_write(ctx, ctx->argv[2], SK_TYPE_SET, &to)) return;
    bool same = sk_bytes_equal(from.key, to.key);
    if (same) {
        if (is_member(ctx, from.key, ctx->argv[3], &there)) sk_reply_int(ctx->reply, there);
        return;
    }
    if (!remove_member(ctx, from.key, ctx->argv[3], &there)) return;
    bool was_there;
    if (there && !(sk_collection_shrunk(ctx, &from) && add_member(ctx, to.key, ctx->argv[3], &was_there))) return;
    sk_reply_int(ctx->reply, there);
}

static void sscan(sk_ctx *ctx)
{
    sk_collection_scan(ctx, SK_TABLE_SET);
}

/* -- random members ------------------------------------------------------------------------------------------------ */

static void reply_list(sk_ctx *ctx, void (*header)(const sk_reply *, size_t), const sk_bytes *list, size_t count)
{
    header(ctx->reply, count);
    for (size_t i = 0; i < count; i++) sk_reply_bulk(ctx->reply, list[i]);
}

/* The reply to a command that asked for one member: it, or null. */
static void reply_one(sk_ctx *ctx, const sk_bytes *list, size_t count)
{
    if (count)
        sk_reply_bulk(ctx->reply, list[0]);
    else
        sk_reply_null(ctx->reply);
}

static void spop(sk_ctx *ctx)
{
    sk_key key;
    int64_t count = 1;
    sk_bytes *members = NULL;
    size_t picked = 0;
    if (ctx->argc > 3) {
        sk_reply_syntax(ctx);
        return;
    }
    bool many = ctx->argc == 3;
    if (many && (!sk_parse_int64(ctx->argv[2], &count) || count < 0)) {
        sk_reply_error(ctx->reply, "ERR value is out of range, must be positive");
        return;
    }
    if (!sk_key_write(ctx, ctx->argv[1], SK_TYPE_SET, &key)) return;
    if (key.type == SK_TYPE_SET && count &&
        !sk_sample(ctx, SK_TABLE_SET, key.key, key.row.members, count, &members, &picked))
        return;
    for (size_t i = 0; i < picked; i++) {
        bool there;
        if (!remove_member(ctx, key.key, members[i], &there)) return;
    }
    if (picked && !sk_collection_shrunk(ctx, &key)) return;
    if (many)
        reply_list(ctx, sk_reply_set, members, picked);
    else
        reply_one(ctx, members, picked);
}

static void srandmember(sk_ctx *ctx)
{
    sk_key key;
    int64_t count = 1;
    sk_bytes *members = NULL;
    size_t picked = 0;
    if (ctx->argc > 3) {
        sk_reply_syntax(ctx);
        return;
    }
    bool many = ctx->argc == 3;
    if (many && !sk_sample_count(ctx, ctx->argv[2], &count)) return;
    if (!sk_key_read(ctx, ctx->argv[1], SK_TYPE_SET, &key)) return;
    if (key.type == SK_TYPE_SET && count &&
        !sk_sample(ctx, SK_TABLE_SET, key.key, key.row.members, count, &members, &picked))
        return;
    if (many)
        reply_list(ctx, sk_reply_array, members, picked);
    else
        reply_one(ctx, members, picked);
}

/* -- several sets -------------------------------------------------------------------------------------------------- */

typedef struct {
    sk_bytes key;
    uint64_t size; /* 0: there is none */
} operand;

/* Looks all of them up; a wrong type among them refuses the command whatever the others are. */
static bool find_operands(sk_ctx *ctx, size_t first, size_t count, operand **operands)
{
    operand *found = sk_arena_take(ctx->arena, count * sizeof *found);
    if (!found) {
        sk_reply_failure(ctx, SK_E_MEMORY);
        return false;
    }
    for (size_t i = 0; i < count; i++) {
        sk_key key;
        if (!sk_key_read(ctx, ctx->argv[first + i], SK_TYPE_SET, &key)) return false;
        found[i] = (operand){key.key, key.type == SK_TYPE_SET ? key.row.members : 0};
    }
    *operands = found;
    return true;
}

enum { MUCH_LARGER = 16 }; /* passing over so many members costs about what looking one up does */

/* A sorted list on its way past a set in the same order. */
typedef struct {
    sk_bytes *list;
    size_t count, at, kept;
    bool keep_present; /* keep what the set has, or what it has not */
} passing;

static int pass_member(void *self, sk_bytes member, const sk_row *row)
{
    (void)row;
    passing *pass = self;
    int order = -1;
    while (pass->at < pass->count && (order = sk_bytes_compare(pass->list[pass->at], member)) < 0) {
        if (!pass->keep_present) pass->list[pass->kept++] = pass->list[pass->at];
        pass->at++;
    }
    if (pass->at == pass->count) return 1;
    if (order == 0) {
        if (pass->keep_present) pass->list[pass->kept++] = pass->list[pass->at];
        pass->at++;
    }
    return 0;
}

/* Keeps of a sorted list, in place, what the set has (or has not). */
static bool keep(sk_ctx *ctx, sk_bytes *list, size_t *count, const operand *set, bool present)
{
    passing pass = {list, *count, 0, 0, present};
    if (*count == 0) return true;
    if (set->size / MUCH_LARGER < *count) {
        if (set->size && !sk_members_each(ctx, SK_TABLE_SET, set->key, list[0], pass_member, &pass)) return false;
        while (!present && pass.at < pass.count) list[pass.kept++] = list[pass.at++];
        *count = pass.kept;
        return true;
    }
    sk_arena scratch = {0};
    sk_ctx inner = *ctx; /* with an arena that is emptied for each lookup */
    inner.arena = &scratch;
    bool fine = true;
    for (; fine && pass.at < pass.count; pass.at++) {
        bool there;
        sk_arena_reset(&scratch);
        fine = is_member(&inner, set->key, list[pass.at], &there);
        if (fine && there == present) list[pass.kept++] = list[pass.at];
    }
    sk_arena_free(&scratch);
    *count = pass.kept;
    return fine;
}

static int compare_sizes(const void *a, const void *b)
{
    const operand *left = a, *right = b;
    return (left->size > right->size) - (left->size < right->size);
}

static bool intersect(sk_ctx *ctx, size_t first, size_t sets, sk_bytes **list, size_t *count)
{
    operand *operands;
    *count = 0;
    if (!find_operands(ctx, first, sets, &operands)) return false;
    qsort(operands, sets, sizeof *operands, compare_sizes);
    if (operands[0].size == 0) return true;
    if (!sk_members_list(ctx, SK_TABLE_SET, operands[0].key, list, count)) return false;
    for (size_t i = 1; i < sets; i++)
        if (!keep(ctx, *list, count, &operands[i], true)) return false;
    return true;
}

static bool subtract(sk_ctx *ctx, size_t first, size_t sets, sk_bytes **list, size_t *count)
{
    operand *operands;
    *count = 0;
    if (!find_operands(ctx, first, sets, &operands)) return false;
    if (operands[0].size == 0) return true;
    if (!sk_members_list(ctx, SK_TABLE_SET, operands[0].key, list, count)) return false;
    for (size_t i = 1; i < sets; i++)
        if (!keep(ctx, *list, count, &operands[i], false)) return false;
    return true;
}

static int compare_members(const void *a, const void *b)
{
    return sk_bytes_compare(*(const sk_bytes *)a, *(const sk_bytes *)b);
}

/* The members of each. Their numbers are what was found: a size is derived, and may wait for the audit to mend it. */
static bool list_operands(sk_ctx *ctx, operand *operands, size_t sets, sk_bytes **lists, size_t *all)
{
    *all = 0;
    for (size_t i = 0; i < sets; i++) {
        size_t found = 0;
        if (operands[i].size && !sk_members_list(ctx, SK_TABLE_SET, operands[i].key, &lists[i], &found)) return false;
        operands[i].size = found;
        *all += found;
    }
    return true;
}

static bool unite(sk_ctx *ctx, size_t first, size_t sets, sk_bytes **list, size_t *count)
{
    operand *operands;
    size_t all, to = 0, unlike = 0;
    *count = 0;
    if (!find_operands(ctx, first, sets, &operands)) return false;
    sk_bytes **lists = sk_arena_take(ctx->arena, sets * sizeof *lists);
    if (lists && !list_operands(ctx, operands, sets, lists, &all)) return false;
    *list = lists ? sk_arena_take(ctx->arena, (all + 1) * sizeof **list) : NULL;
    if (!*list) {
        sk_reply_failure(ctx, SK_E_MEMORY);
        return false;
    }
    for (size_t i = 0; i < sets; to += operands[i++].size)
        if (operands[i].size) memcpy(*list + to, lists[i], operands[i].size * sizeof **list);
    qsort(*list, all, sizeof **list, compare_members);
    for (size_t i = 0; i < all; i++)
        if (unlike == 0 || !sk_bytes_equal((*list)[unlike - 1], (*list)[i])) (*list)[unlike++] = (*list)[i];
    *count = unlike;
    return true;
}

typedef bool algebra(sk_ctx *ctx, size_t first, size_t sets, sk_bytes **list, size_t *count);

static void reply_result(sk_ctx *ctx, algebra *compute)
{
    sk_bytes *list = NULL;
    size_t count;
    if (compute(ctx, 1, ctx->argc - 1, &list, &count)) reply_list(ctx, sk_reply_set, list, count);
}

static void store_result(sk_ctx *ctx, algebra *compute)
{
    sk_bytes *list = NULL;
    size_t count;
    sk_key key;
    if (!compute(ctx, 2, ctx->argc - 2, &list, &count)) return;
    if (!sk_key_overwrite(ctx, ctx->argv[1], &key) || !sk_key_remove(ctx, &key, false)) return;
    bool was_there;
    for (size_t i = 0; i < count; i++)
        if (!add_member(ctx, key.key, list[i], &was_there)) return;
    sk_reply_int(ctx->reply, (int64_t)count);
}

static void sinter(sk_ctx *ctx)
{
    reply_result(ctx, intersect);
}

static void sunion(sk_ctx *ctx)
{
    reply_result(ctx, unite);
}

static void sdiff(sk_ctx *ctx)
{
    reply_result(ctx, subtract);
}

static void sinterstore(sk_ctx *ctx)
{
    store_result(ctx, intersect);
}

static void sunionstore(sk_ctx *ctx)
{
    store_result(ctx, unite);
}

static void sdiffstore(sk_ctx *ctx)
{
    store_result(ctx, subtract);
}

/* -- SINTERCARD ---------------------------------------------------------------------------------------------------- */

/* Counts the members that all sets have, up to a limit, without keeping them. */
typedef struct {
    sk_ctx inner; /* the command's, with an arena that is emptied for each member */
    sk_arena scratch;
    const operand *operands;
    size_t sets;
    uint64_t limit, common;
    bool failed;
} counting;

static int count_member(void *self, sk_bytes member, const sk_row *row)
{
    (void)row;
    counting *counts = self;
    bool there = true;
    sk_arena_reset(&counts->scratch);
    for (size_t i = 1; i < counts->sets && there; i++) {
        counts->failed = !is_member(&counts->inner, counts->operands[i].key, member, &there);
        if (counts->failed) return 1;
    }
    counts->common += there;
    return counts->common == counts->limit;
}

static void reply_limited(sk_ctx *ctx, size_t sets, uint64_t limit)
{
    counting counts = {.inner = *ctx, .sets = sets, .limit = limit};
    operand *operands;
    if (!find_operands(ctx, 2, sets, &operands)) return;
    qsort(operands, sets, sizeof *operands, compare_sizes);
    counts.operands = operands;
    counts.inner.arena = &counts.scratch;
    bool fine = operands[0].size == 0 ||
                sk_members_each(ctx, SK_TABLE_SET, operands[0].key, SK_BYTES_NONE, count_member, &counts);
    if (fine && !counts.failed) sk_reply_int(ctx->reply, (int64_t)counts.common);
    sk_arena_free(&counts.scratch);
}

static void sintercard(sk_ctx *ctx)
{
    int64_t sets, limit = 0;
    sk_bytes *list;
    size_t count;
    if (!sk_parse_int64(ctx->argv[1], &sets) || sets < 1) {
        sk_reply_error(ctx->reply, "ERR numkeys should be greater than 0");
        return;
    }
    if ((uint64_t)sets > ctx->argc - 2) {
        sk_reply_error(ctx->reply, "ERR Number of keys can't be greater than number of args");
        return;
    }
    for (size_t i = 2 + (size_t)sets; i < ctx->argc; i += 2) {
        if (i + 1 == ctx->argc || !sk_arg_is(ctx->argv[i], "limit")) {
            sk_reply_syntax(ctx);
            return;
        }
        if (!sk_parse_int64(ctx->argv[i + 1], &limit) || limit < 0) {
            sk_reply_error(ctx->reply, "ERR LIMIT can't be negative");
            return;
        }
    }
    if (limit)
        reply_limited(ctx, (size_t)sets, (uint64_t)limit);
    else if (intersect(ctx, 2, (size_t)sets, &list, &count))
        sk_reply_int(ctx->reply, (int64_t)count);
}

/* -- the table ----------------------------------------------------------------------------------------------------- */

#define READS SK_CMD_READONLY
#define READS_FAST (READS | SK_CMD_FAST)
#define WRITES (SK_CMD_WRITE | SK_CMD_DENYOOM)
#define REMOVES_FAST (SK_CMD_WRITE | SK_CMD_FAST)
#define SET(name, run, arity, flags, first, last, since, args, summary) \
    {name, run, arity, flags, first, last, first, "set", "@set", since, args, summary, NULL}

const sk_command sk_commands_set[] = {
    SET("sadd", sadd, -3, WRITES | SK_CMD_FAST | SK_KEY_ADDS, 1, 1, "1.0.0", "key member [member ...]",
        "Add one or more members to a set"),
    SET("scard", scard, 2, READS_FAST | SK_KEY_PEEKS, 1, 1, "1.0.0", "key",
        "Get the number of members in a set"),
    SET("sdiff", sdiff, -2, READS, 1, -1, "1.0.0", "key [key ...]",
        "Subtract multiple sets"),
    SET("sdiffstore", sdiffstore, -3, WRITES | SK_KEY_REPLACES | SK_KEY_THEN(SK_KEY_READS), 1, -1, "1.0.0",
        "destination key [key ...]",
        "Subtract multiple sets and store the resulting set in a key"),
    SET("sinter", sinter, -2, READS, 1, -1, "1.0.0", "key [key ...]",
        "Intersect multiple sets"),
    SET("sintercard", sintercard, -3, READS | SK_CMD_NUMKEYS, 0, 0, "7.0.0", "numkeys key [key ...] [LIMIT limit]",
        "Intersect multiple sets and return the cardinality of the result"),
    SET("sinterstore", sinterstore, -3, WRITES | SK_KEY_UPDATES | SK_KEY_THEN(SK_KEY_READS), 1, -1, "1.0.0",
        "destination key [key ...]",
        "Intersect multiple sets and store the resulting set in a key"),
    SET("sismember", sismember, 3, READS_FAST | SK_KEY_PEEKS, 1, 1, "1.0.0", "key member",
        "Determine if a given value is a member of a set"),
    SET("smembers", smembers, 2, READS, 1, 1, "1.0.0", "key",
        "Get all the members in a set"),
    SET("smismember", smismember, -3, READS_FAST, 1, 1, "6.2.0", "key member [member ...]",
        "Returns the membership associated with the given elements for a set"),
    SET("smove", smove, 4, REMOVES_FAST | SK_KEY_TAKES | SK_KEY_THEN(SK_KEY_ADDS), 1, 2, "1.0.0",
        "source destination member",
        "Move a member from one set to another"),
    SET("spop", spop, -2, REMOVES_FAST | SK_KEY_TAKES, 1, 1, "1.0.0", "key [count]",
        "Remove and return one or multiple random members from a set"),
    SET("srandmember", srandmember, -2, READS, 1, 1, "1.0.0", "key [count]",
        "Get one or multiple random members from a set"),
    SET("srem", srem, -3, REMOVES_FAST | SK_KEY_DELETES, 1, 1, "1.0.0", "key member [member ...]",
        "Remove one or more members from a set"),
    SET("sscan", sscan, -3, READS, 1, 1, "2.8.0", "key cursor [MATCH pattern] [COUNT count]",
        "Incrementally iterate Set elements"),
    SET("sunion", sunion, -2, READS, 1, -1, "1.0.0", "key [key ...]",
        "Add multiple sets"),
    SET("sunionstore", sunionstore, -3, WRITES | SK_KEY_REPLACES | SK_KEY_THEN(SK_KEY_READS), 1, -1, "1.0.0",
        "destination key [key ...]",
        "Add multiple sets and store the resulting set in a key"),
    {0},
};
