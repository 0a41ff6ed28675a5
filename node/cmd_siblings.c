/* SIBLINGS and POLICY: conflicts, seen and resolved. */
#include "node/collection.h"
#include "node/context.h"
#include "node/replica.h"

#include "crdt/number.h"

#include <sodium.h>

/* -- SIBLINGS GET ------------------------------------------------------------------------------------------------------------ */

static void reply_sibling(sk_ctx *ctx, const char *type, const sk_sibling *sibling, uint64_t size)
{
    const sk_origin *origin = &ctx->db->origins.list[sibling->dot.origin];
    bool is_string = sibling->value.data || strcmp(type, "string") == 0;
    sk_reply_map(ctx->reply, 4);
    sk_reply_bulk_str(ctx->reply, is_string ? "value" : "size");
    if (is_string)
        sk_reply_bulk(ctx->reply, sibling->value);
    else
        sk_reply_int(ctx->reply, (int64_t)size);
    sk_reply_bulk_str(ctx->reply, "type");
    sk_reply_bulk_str(ctx->reply, sibling->is_sum ? "counter" : type);
    sk_reply_bulk_str(ctx->reply, "region");
    sk_reply_bulk_str(ctx->reply, origin->region);
    sk_reply_bulk_str(ctx->reply, "time_ms");
    sk_reply_int(ctx->reply, (int64_t)sk_hlc_ms(sibling->hlc));
}

typedef struct {
    const sk_origins *origins;
    sk_sibling newest;
} newest_member;

static int take_newest(void *self, sk_bytes member, const sk_row *row)
{
    (void)member;
    newest_member *of = self;
    for (uint32_t i = 0; i < row->count; i++) {
        const sk_entry *entry = &row->entries[i];
        if (!sk_entry_live(entry) || !sk_newer(of->origins, entry->hlc, entry->dot, of->newest.hlc, of->newest.dot)) continue;
        of->newest.hlc = entry->hlc;
        of->newest.dot = entry->dot;
    }
    return 0;
}

/* The row that the request is about: the key's own, or a field's. Any of its types and conflicts are welcome here. */
static bool row_of(sk_ctx *ctx, sk_bytes name, sk_bytes field, sk_key *key, sk_row_name *row_name, sk_row *row)
{
    bool changes = ctx->command->flags & SK_CMD_WRITE;
    if (!(changes ? sk_key_overwrite : sk_key_peek)(ctx, name, key)) return false;
    *row_name = key->name;
    *row = key->row;
    if (!field.data) return true;
    if (!sk_member_row(ctx, SK_TABLE_HASH, name, field, row_name, row)) return false;
    if (!changes && key->type == SK_TYPE_NONE) *row = (sk_row){0}; /* what has expired is gone, removed by now or not */
    return true;
}

static bool field_arg(sk_ctx *ctx, size_t at, sk_bytes *field)
{
    *field = SK_BYTES_NONE;
    if (ctx->argc == at) return true;
    if (ctx->argc == at + 2 && sk_arg_is(ctx->argv[at], "field")) {
        *field = ctx->argv[at + 1].data ? ctx->argv[at + 1] : sk_bytes_of("", 0);
        return true;
    }
    sk_reply_syntax(ctx);
    return false;
}

static void siblings_get(sk_ctx *ctx)
{
    sk_key key;
    sk_row_name name;
    sk_row row;
    sk_bytes field;
    sk_register read;
    if (!field_arg(ctx, 3, &field) || !row_of(ctx, ctx->argv[2], field, &key, &name, &row)) return;
    if (sk_db_amid_changes(ctx->db)) { /* neither our vector nor the counts are what they will be */
        sk_reply_error(ctx->reply, "ERR SIBLINGS GET comes before all that writes in a MULTI: half a transaction has no context");
        return;
    }
    if (sk_register_read(&row, &ctx->db->origins, ctx->arena, &read)) {
        sk_reply_failure(ctx, SK_E_MEMORY);
        return;
    }
    newest_member hash = {.origins = &ctx->db->origins}, set = hash;
    if (!field.data && row.fields &&
        !sk_members_each(ctx, SK_TABLE_HASH, key.key, SK_BYTES_NONE, take_newest, &hash))
        return;
    if (!field.data && row.members &&
        !sk_members_each(ctx, SK_TABLE_SET, key.key, SK_BYTES_NONE, take_newest, &set))
        return;
    sk_bytes context = sk_context_text(ctx->db, &ctx->db->vv, name.raw, &row, ctx->arena);
    if (!context.data) {
        sk_reply_failure(ctx, SK_E_MEMORY);
        return;
    }
    ctx->db->read_batch = UINT64_MAX; /* the context tells of everything that we have */
    sk_reply_map(ctx->reply, 2);
    sk_reply_bulk_str(ctx->reply, "context");
    sk_reply_bulk(ctx->reply, context);
    sk_reply_bulk_str(ctx->reply, "siblings");
    sk_reply_array(ctx->reply, read.count + (hash.newest.dot.seq != 0) + (set.newest.dot.seq != 0));
    for (uint32_t i = 0; i < read.count; i++) reply_sibling(ctx, "string", &read.siblings[i], 0);
    if (hash.newest.dot.seq) reply_sibling(ctx, "hash", &hash.newest, row.fields);
    if (set.newest.dot.seq) reply_sibling(ctx, "set", &set.newest, row.members);
}

/* -- SIBLINGS RESOLVE ---------------------------------------------------------------------------------------------------------- */

/* Fills in what `op` removes of the row: what the context covers, and of the counts what its reader saw of them. */
static bool remove_seen(sk_ctx *ctx, const sk_row *row, const sk_context *context, sk_op *op)
{
    op->removed = sk_arena_take(ctx->arena, (row->count + 1) * sizeof *op->removed);
    if (!op->removed) return false;
    for (uint32_t i = 0; i < row->count; i++)
        if (row->entries[i].kind != SK_ENTRY_DEADLINE && row->entries[i].kind != SK_ENTRY_COUNT &&
            sk_vv_covers(&context->vv, row->entries[i].dot))
            op->removed[op->removed_count++] = (sk_removed){row->entries[i].dot, SK_CLASS_CONTENT};
    op->resets = sk_arena_take(ctx->arena, (context->reset_count + row->count + 1) * sizeof *op->resets);
    if (!op->resets) return false;
    for (uint32_t i = 0; i < context->reset_count; i++) {
        const sk_entry *count = sk_row_count_of(row, context->resets[i].dot.origin);
        if (count && count->count.epoch == context->resets[i].epoch && count->dot.seq >= context->resets[i].dot.seq)
            op->resets[op->reset_count++] = context->resets[i];
    }
    return true;
}

typedef struct {
    sk_ctx *ctx;
    sk_table table;
    sk_bytes key;
    const sk_context *context;
    bool failed;
} removal;

static int remove_seen_member(void *self, sk_bytes member, const sk_row *row)
{
    removal *of = self;
    sk_ctx *ctx = of->ctx;
    sk_op op = {0};
    sk_row_name name = sk_row_name_of(ctx->arena, of->table, of->key, member);
    int status = name.raw.data && remove_seen(ctx, row, of->context, &op) ? 0 : SK_E_MEMORY;
    if (!status && (op.removed_count || op.reset_count)) status = sk_db_change(ctx->db, &name, row, &op);
    if (status) sk_reply_failure(ctx, status);
    of->failed = status != 0;
    return of->failed;
}

static bool remove_seen_members(sk_ctx *ctx, sk_table table, sk_bytes key, const sk_context *context)
{
    removal of = {ctx, table, key, context, false};
    return sk_members_each(ctx, table, key, SK_BYTES_NONE, remove_seen_member, &of) && !of.failed;
}

/* Would the operation add one value too many? Only a context that covers none of those that stand there adds any. */
static bool is_full(const sk_row *row, const sk_op *op)
{
    uint32_t values = 0;
    for (uint32_t i = 0; i < row->count; i++) values += row->entries[i].kind == SK_ENTRY_VALUE;
    return op->has_content && op->removed_count == 0 && values >= SK_SIBLINGS_MAX;
}

/* A transaction has one content entry in a row: a value would take the place of what it has added itself, seen or not. */
static bool written_by_this_transaction(sk_ctx *ctx, const sk_row *row)
{
    for (uint32_t i = 0; i < row->count; i++)
        if (sk_entry_class_of(&row->entries[i]) == SK_CLASS_CONTENT && sk_entry_made_now(ctx, &row->entries[i]))
            return true;
    return false;
}

static int siblings_left(sk_ctx *ctx, const sk_row_name *name, uint32_t *left)
{
    sk_row row;
    sk_register read;
    int status = sk_db_row(ctx->db, name->raw, ctx->arena, &row);
    if (!status) status = sk_register_read(&row, &ctx->db->origins, ctx->arena, &read);
    *left = status ? 0 : read.count + (row.fields != 0) + (row.members != 0);
    return status;
}

/* Puts `value` (data NULL: nothing) in the place of what the context's reader saw; keeps the type `keep`, if any. */
static void resolve(sk_ctx *ctx, sk_bytes field, sk_bytes value, sk_type keep, const sk_context *context)
{
    sk_key key;
    sk_row_name name;
    sk_row row;
    sk_op op = {0};
    if (!row_of(ctx, ctx->argv[2], field, &key, &name, &row)) return;
    if (!sk_context_is_of(context, name.raw)) {
        sk_reply_error(ctx->reply, "ERR this context is of another key or field: take one from SIBLINGS GET of this one");
        return;
    }
    if (value.data && written_by_this_transaction(ctx, &row)) {
        sk_reply_error(ctx->reply, "ERR this transaction has written to the same key or field before: resolve it first");
        return;
    }
    if (keep != SK_TYPE_STRING && !remove_seen(ctx, &row, context, &op)) {
        sk_reply_failure(ctx, SK_E_MEMORY);
        return;
    }
    if (value.data) {
        op.has_content = true;
        op.content = (sk_entry){.kind = SK_ENTRY_VALUE, .value = value};
    }
    if (is_full(&row, &op)) {
        sk_reply_errorf(ctx->reply, "ERR there are %d siblings, as many as there may be, and this context covers none "
                                    "of them: take a new one from SIBLINGS GET", SK_SIBLINGS_MAX);
        return;
    }
    if (!field.data && row.fields && keep != SK_TYPE_HASH &&
        !remove_seen_members(ctx, SK_TABLE_HASH, key.key, context))
        return;
    if (!field.data && row.members && keep != SK_TYPE_SET && !remove_seen_members(ctx, SK_TABLE_SET, key.key, context))
        return;
    uint32_t left;
    int status = 0;
    if (op.has_content || op.removed_count || op.reset_count) status = sk_db_change(ctx->db, &name, NULL, &op);
    if (!status) status = siblings_left(ctx, &name, &left);
    if (status)
        sk_reply_failure(ctx, status);
    else
        sk_reply_int(ctx->reply, left);
}

static void siblings_resolve(sk_ctx *ctx)
{
    sk_context context;
    sk_bytes field = SK_BYTES_NONE, value = SK_BYTES_NONE;
    sk_type keep = SK_TYPE_NONE;
    if (ctx->argc == 6 && sk_arg_is(ctx->argv[4], "keep")) {
        for (sk_type type = SK_TYPE_STRING; type <= SK_TYPE_SET; type++)
            if (sk_arg_is(ctx->argv[5], sk_type_name(type))) keep = type;
        if (keep == SK_TYPE_NONE) {
            sk_reply_syntax(ctx);
            return;
        }
    } else {
        if (!field_arg(ctx, 5, &field)) return;
        value = ctx->argv[4].data ? ctx->argv[4] : sk_bytes_of("", 0);
    }
    int status = sk_context_parse(ctx->db, ctx->argv[3], ctx->arena, &context);
    if (status == SK_E_MEMORY)
        sk_reply_failure(ctx, status);
    else if (status)
        sk_reply_error(ctx->reply, "ERR this is not a context that SIBLINGS GET gave");
    else
        resolve(ctx, field, value, keep, &context);
    sk_vv_free(&context.vv);
}

/* -- SIBLINGS LIST, COUNT -------------------------------------------------------------------------------------------------------- */

enum { LIST_DEFAULT = 100, LIST_MOST = 10000, CURSOR_VARIANT = sodium_base64_VARIANT_URLSAFE_NO_PADDING };

typedef struct {
    sk_ctx *ctx;
    sk_bytes *raws;
    size_t count, most;
    sk_bytes next; /* the first one not shown */
    bool failed;
} conflict_list;

static int add_conflict(void *self, sk_bytes index_key, const sk_row *row)
{
    (void)row;
    conflict_list *list = self;
    sk_bytes raw = sk_arena_copy(list->ctx->arena, sk_bytes_of(index_key.data + 1, index_key.len - 1));
    list->failed = !raw.data;
    if (list->count == list->most) list->next = raw;
    if (list->failed || list->count == list->most) return 1;
    list->raws[list->count++] = raw;
    return 0;
}

static int reply_conflicted(sk_ctx *ctx, const sk_reply *reply, sk_bytes raw)
{
    sk_rowkey key = {0};
    sk_row_name name = {.raw = raw};
    uint32_t left;
    int status = sk_rowkey_parse(raw, ctx->arena, &key);
    if (!status) status = siblings_left(ctx, &name, &left);
    if (status) return status;
    sk_reply_map(reply, key.table == SK_TABLE_HASH ? 3 : 2);
    sk_reply_bulk_str(reply, "key");
    sk_reply_bulk(reply, key.key);
    if (key.table == SK_TABLE_HASH) {
        sk_reply_bulk_str(reply, "field");
        sk_reply_bulk(reply, key.member);
    }
    sk_reply_bulk_str(reply, "siblings");
    sk_reply_int(reply, left);
    return 0;
}

/* data NULL: no memory. */
static sk_bytes cursor_text(sk_ctx *ctx, sk_bytes next)
{
    if (!next.data) return sk_bytes_str("0");
    size_t room = sodium_base64_encoded_len(next.len, CURSOR_VARIANT);
    char *text = sk_arena_take(ctx->arena, room + 1);
    if (!text) return SK_BYTES_NONE;
    text[0] = '-'; /* a cursor that goes on never looks like 0 */
    sodium_bin2base64(text + 1, room, next.data, next.len, CURSOR_VARIANT);
    return sk_bytes_of(text, room);
}

/* The index key to begin at, from a cursor. */
static bool cursor_start(sk_ctx *ctx, sk_bytes cursor, sk_bytes *from)
{
    *from = SK_BYTES_NONE;
    if (sk_arg_is(cursor, "0")) return true;
    uint8_t *raw = sk_arena_take(ctx->arena, cursor.len + 1);
    size_t len = 0;
    if (!raw) {
        sk_reply_failure(ctx, SK_E_MEMORY);
        return false;
    }
    if (cursor.len < 2 || cursor.data[0] != '-' ||
        sodium_base642bin(raw + 1, cursor.len, (const char *)cursor.data + 1, cursor.len - 1, NULL, &len, NULL,
                          CURSOR_VARIANT)) {
        sk_reply_error(ctx->reply, "ERR invalid cursor");
        return false;
    }
    raw[0] = SK_INDEX_CONFLICT;
    *from = sk_bytes_of(raw, len + 1);
    return true;
}

static void siblings_list(sk_ctx *ctx)
{
    int64_t most = LIST_DEFAULT;
    sk_bytes from = SK_BYTES_NONE;
    size_t at = 2;
    if (at < ctx->argc && !sk_arg_is(ctx->argv[at], "count") && !cursor_start(ctx, ctx->argv[at++], &from)) return;
    if (at + 2 == ctx->argc && sk_arg_is(ctx->argv[at], "count")) {
        if (!sk_arg_int(ctx, ctx->argv[at + 1], &most)) return;
        at += 2;
    }
    if (at != ctx->argc || most < 1 || most > LIST_MOST) {
        sk_reply_syntax(ctx);
        return;
    }
    conflict_list list = {.ctx = ctx, .raws = sk_arena_take(ctx->arena, (size_t)most * sizeof(sk_bytes)), .most = (size_t)most};
    uint8_t index = SK_INDEX_CONFLICT;
    int status = list.raws ? sk_db_each_derived(ctx->db, sk_bytes_of(&index, 1), from, add_conflict, &list) : SK_E_MEMORY;
    if (list.failed) status = SK_E_MEMORY;
    sk_collected shown;
    sk_collected_begin(&shown, ctx);
    for (; shown.count < list.count && status >= 0 && !shown.buf.full; shown.count++)
        status = reply_conflicted(ctx, &shown.reply, list.raws[shown.count]);
    sk_bytes next = status >= 0 ? cursor_text(ctx, list.next) : SK_BYTES_NONE;
    if (status < 0 || !next.data) {
        sk_reply_failure(ctx, status < 0 ? status : SK_E_MEMORY);
        sk_collected_drop(&shown);
    } else {
        sk_reply_array(ctx->reply, 2);
        sk_reply_bulk(ctx->reply, next);
        sk_collected_send(&shown, sk_reply_array);
    }
}

static void siblings_count(sk_ctx *ctx)
{
    ctx->db->read_batch = UINT64_MAX; /* the number tells of everything that we have */
    sk_reply_int(ctx->reply, (int64_t)ctx->db->conflicts);
}

static void siblings_help(sk_ctx *ctx)
{
    static const char *const lines[] = {
        "SIBLINGS <subcommand> [<arg> ...]. Conflicts, seen and resolved:",
        "COUNT",
        "    How many keys and fields are in conflict.",
        "GET <key> [FIELD <field>]",
        "    The siblings with region and time, and an opaque context.",
        "LIST [<cursor>] [COUNT <n>]",
        "    Keys and fields in conflict; begin with cursor 0, go on until it is 0 again.",
        "RESOLVE <key> <context> <value> [FIELD <field>]",
        "    Put one value in the place of what the context covers. Returns how many siblings are left: 1 is resolved.",
        "RESOLVE <key> <context> KEEP <string|hash|set>",
        "    The same for a key that was given several types.",
    };
    sk_reply_lines(ctx->reply, lines, sizeof lines / sizeof *lines);
}

/* -- POLICY ------------------------------------------------------------------------------------------------------------------------ */

static const char *policy_name(sk_policy policy)
{
    return policy == SK_POLICY_NEWEST ? "newest" : "siblings";
}

static void policy_set(sk_ctx *ctx)
{
    sk_bytes prefix = ctx->argv[2], word = ctx->argv[3];
    const char *name = sk_arg_is(word, "newest") ? "newest" : sk_arg_is(word, "siblings") ? "siblings" : NULL;
    if (!name) {
        sk_reply_error(ctx->reply, "ERR a policy is 'siblings' or 'newest'");
        return;
    }
    (void)sk_db_policy(ctx->db, prefix); /* brings the rules up to date */
    if (ctx->db->rule_count >= SK_POLICIES_MAX) {
        sk_reply_error(ctx->reply, "ERR too many policies (1024)");
        return;
    }
    sk_row_name row_name = sk_row_name_of(ctx->arena, SK_TABLE_POLICY, prefix, SK_BYTES_NONE);
    sk_row row;
    int status = sk_db_row(ctx->db, row_name.raw, ctx->arena, &row);
    if (status)
        sk_reply_failure(ctx, status);
    else if (sk_value_write(ctx, &row_name, &row, sk_bytes_str(name)))
        sk_reply_ok(ctx->reply);
}

static void policy_get(sk_ctx *ctx)
{
    sk_reply_bulk_str(ctx->reply, policy_name(sk_db_policy(ctx->db, ctx->argv[2])));
}

static void policy_list(sk_ctx *ctx)
{
    (void)sk_db_policy(ctx->db, SK_BYTES_NONE);
    sk_reply_map(ctx->reply, ctx->db->rule_count);
    for (uint32_t i = 0; i < ctx->db->rule_count; i++) {
        sk_reply_bulk(ctx->reply, ctx->db->rules[i].prefix);
        sk_reply_bulk_str(ctx->reply, policy_name(ctx->db->rules[i].policy));
    }
}

/* -- the tables ---------------------------------------------------------------------------------------------------------------------- */

#define OWN(name, run, arity, flags, first, args, summary) \
    {name, run, arity, flags, first, first, first ? 1 : 0, "conflicts", "", "skerry 0.1", args, summary, NULL}

static const sk_command siblings_commands[] = {
    OWN("count", siblings_count, 2, SK_CMD_READONLY | SK_CMD_FAST | SK_CMD_ALL_KEYS, 0, "",
        "How many keys and fields are in conflict"),
    OWN("get", siblings_get, -3, SK_CMD_READONLY, 2, "key [FIELD field]",
        "The siblings of a key or field with region and time, and a context for RESOLVE"),
    OWN("help", siblings_help, 2, SK_CMD_READONLY | SK_CMD_FAST | SK_CMD_LOADING, 0, "", "The subcommands"),
    OWN("list", siblings_list, -2, SK_CMD_READONLY | SK_CMD_ALL_KEYS, 0, "[cursor] [COUNT count]",
        "Keys and fields in conflict"),
    OWN("resolve", siblings_resolve, -5, SK_CMD_WRITE, 2,
        "key context value [FIELD field] | key context KEEP string|hash|set",
        "Put one value in the place of the siblings that a context covers"),
    {0},
};

static const sk_command policy_commands[] = {
    OWN("get", policy_get, 3, SK_CMD_READONLY | SK_CMD_FAST, 0, "key", "The policy in force for a key"),
    OWN("list", policy_list, 2, SK_CMD_READONLY, 0, "", "All policies by key prefix"),
    OWN("set", policy_set, 4, SK_CMD_WRITE, 0, "prefix siblings|newest",
        "How keys with this prefix answer when regions have written them at the same time"),
    {0},
};

const sk_command sk_commands_siblings[] = {
    {"siblings", NULL, -2, SK_CMD_READONLY, 0, 0, 0, "conflicts", "", "skerry 0.1", "", "Conflicts, seen and resolved",
     siblings_commands},
    {"policy", NULL, -2, SK_CMD_READONLY, 0, 0, 0, "conflicts", "", "skerry 0.1", "",
     "What concurrent writes to a key look like to readers", policy_commands},
    {0},
};
