#include "node/keyspace.h"

#include "crdt/number.h"
#include "node/fold.h"
#include "node/replica.h"

#include <math.h>

const char *sk_type_name(sk_type type)
{
    static const char *const names[] = {"none", "string", "hash", "set"};
    return names[type];
}

/* -- looking up ----------------------------------------------------------------------------------------------------------- */

static void reply_conflict(sk_ctx *ctx, sk_bytes key, sk_bytes field, const char *what)
{
    ctx->replica->stat_conflicts_refused++;
    int key_len = (int)(key.len < 128 ? key.len : 128), field_len = (int)(field.len < 128 ? field.len : 128);
    if (field.data)
        sk_reply_errorf(ctx->reply,
                        "CONFLICT field '%.*s' of key '%.*s' has %s; see them with SIBLINGS GET key FIELD field, resolve "
                        "with SIBLINGS RESOLVE",
                        field_len, (const char *)field.data, key_len, (const char *)key.data, what);
    else
        sk_reply_errorf(ctx->reply,
                        "CONFLICT key '%.*s' has %s; see them with SIBLINGS GET key, resolve with SIBLINGS RESOLVE",
                        key_len, (const char *)key.data, what);
}

static bool newer(sk_db *db, const sk_entry *a, const sk_entry *b)
{
    return sk_newer(&db->origins, a->hlc, a->dot, b->hlc, b->dot);
}

typedef struct {
    sk_db *db;
    sk_entry newest;
} newest_of;

static int look_newest(void *self, sk_bytes member, const sk_row *row)
{
    (void)member;
    newest_of *look = self;
    for (uint32_t i = 0; i < row->count; i++)
        if (sk_entry_live(&row->entries[i]) && sk_entry_class_of(&row->entries[i]) == SK_CLASS_CONTENT &&
            (look->newest.dot.seq == 0 || newer(look->db, &row->entries[i], &look->newest))) {
            look->newest = row->entries[i];
            look->newest.value = SK_BYTES_NONE; /* only its time is wanted, and its bytes are borrowed */
        }
    return 0;
}

/* Of several types the one with the newest entry. A look at every member: only for keys in conflict. */
static bool newest_type(sk_ctx *ctx, sk_key *key)
{
    newest_of best = {ctx->db, {0}};
    for (int i = 0; i < 3; i++) {
        newest_of look = {ctx->db, {0}};
        if (i == 0) look_newest(&look, SK_BYTES_NONE, &key->row);
        if (i > 0 && !sk_members_each(ctx, i == 1 ? SK_TABLE_HASH : SK_TABLE_SET, key->key, SK_BYTES_NONE, look_newest,
                                      &look))
            return false;
        if (look.newest.dot.seq && (best.newest.dot.seq == 0 || newer(ctx->db, &look.newest, &best.newest))) {
            best = look;
            key->type = (sk_type)(SK_TYPE_STRING + i);
        }
    }
    return true;
}

static bool load(sk_ctx *ctx, sk_bytes name, sk_key *key)
{
    *key = (sk_key){.key = name, .name = sk_row_name_of(ctx->arena, SK_TABLE_KEY, name, SK_BYTES_NONE)};
    int status = sk_db_row(ctx->db, key->name.raw, ctx->arena, &key->row);
    if (status) {
        sk_reply_failure(ctx, status);
        return false;
    }
    key->deadline_ms = sk_row_deadline(&key->row);
    return true;
}

static unsigned types_of(const sk_key *key)
{
    return (sk_row_live(&key->row, SK_CLASS_CONTENT) != 0) + (key->row.fields != 0) + (key->row.members != 0);
}

static bool passed(const sk_key *key, uint64_t now_ms)
{
    return key->deadline_ms != SK_DEADLINE_NEVER && key->deadline_ms <= now_ms;
}

/* For readers, and for what changes the key: node/keyspace.h says by which clock, and why. */
static bool hidden(const sk_ctx *ctx, const sk_key *key)
{
    return passed(key, ctx->db->wall_ms);
}

static bool expired(const sk_ctx *ctx, const sk_key *key)
{
    return passed(key, sk_replica_believed_ms(ctx->replica));
}

static sk_type one_type(const sk_key *key)
{
    if (sk_row_live(&key->row, SK_CLASS_CONTENT)) return SK_TYPE_STRING;
    if (key->row.fields) return SK_TYPE_HASH;
    return key->row.members ? SK_TYPE_SET : SK_TYPE_NONE;
}

static bool judge(sk_ctx *ctx, sk_type want, sk_key *key)
{
    if (types_of(key) > 1) {
        if (sk_db_policy(ctx->db, key->key) == SK_POLICY_SIBLINGS) {
            reply_conflict(ctx, key->key, SK_BYTES_NONE, "values of several types, made in different regions");
            return false;
        }
        if (!newest_type(ctx, key)) return false;
    } else {
        key->type = one_type(key);
    }
    if (want == SK_TYPE_NONE || key->type == SK_TYPE_NONE || key->type == want) return true;
    sk_reply_error(ctx->reply, "WRONGTYPE Operation against a key holding the wrong kind of value");
    return false;
}

bool sk_key_peek(sk_ctx *ctx, sk_bytes name, sk_key *key)
{
    if (!load(ctx, name, key)) return false;
    if (hidden(ctx, key)) {
        key->row = (sk_row){0};
        key->deadline_ms = SK_DEADLINE_NEVER;
    }
    key->type = one_type(key);
    return true;
}

bool sk_key_read(sk_ctx *ctx, sk_bytes name, sk_type want, sk_key *key)
{
    return sk_key_peek(ctx, name, key) && judge(ctx, want, key);
}

/* What is left of a key that is gone (expired, or deadlines without content) must not touch what comes next. */
static bool sweep(sk_ctx *ctx, sk_key *key)
{
    bool orphan = types_of(key) == 0 && sk_row_live(&key->row, SK_CLASS_DEADLINE);
    if (!orphan && !expired(ctx, key)) return true;
    if (!sk_key_remove(ctx, key, false)) return false;
    ctx->replica->stat_expired += !orphan;
    return true;
}

bool sk_key_write(sk_ctx *ctx, sk_bytes name, sk_type want, sk_key *key)
{
    return load(ctx, name, key) && (expired(ctx, key) || judge(ctx, want, key)) && sweep(ctx, key);
}

bool sk_key_overwrite(sk_ctx *ctx, sk_bytes name, sk_key *key)
{
    if (!load(ctx, name, key) || !sweep(ctx, key)) return false;
    key->type = one_type(key);
    return true;
}

int sk_key_exists(sk_ctx *ctx, sk_bytes name)
{
    sk_row_name row_name = sk_row_name_of(ctx->arena, SK_TABLE_KEY, name, SK_BYTES_NONE);
    sk_key key = {.key = name};
    int status = sk_db_row(ctx->db, row_name.raw, ctx->arena, &key.row);
    if (status) return status;
    key.deadline_ms = sk_row_deadline(&key.row);
    return types_of(&key) != 0 && !hidden(ctx, &key);
}

/* -- changing a whole key ---------------------------------------------------------------------------------------------------- */

static bool change(sk_ctx *ctx, const sk_row_name *name, const sk_row *row, const sk_op *op)
{
    int status = sk_db_change(ctx->db, name, row, op);
    if (status) sk_reply_failure(ctx, status);
    return status == 0;
}

typedef struct {
    sk_ctx *ctx;
    sk_table table;
    sk_bytes key;
    bool in_parts; /* stop when the transaction has no more room */
    bool stopped, failed;
} removal;

static int remove_member(void *self, sk_bytes member, const sk_row *row)
{
    removal *of = self;
    sk_ctx *ctx = of->ctx;
    sk_row_name name = sk_row_name_of(ctx->arena, of->table, of->key, member);
    if (!name.raw.data) {
        sk_reply_failure(ctx, SK_E_MEMORY);
        of->failed = true;
        return 1;
    }
    of->stopped = of->in_parts && !sk_db_has_room(ctx->db, sk_op_removal_size(name.raw, row));
    if (!of->stopped) of->failed = !sk_member_remove(ctx, &name, row);
    return of->stopped || of->failed;
}

/* False after replying with a failure. A hash or set whose keys alone would not fit is refused before it is gone through. */
static bool remove_members(sk_ctx *ctx, sk_table table, sk_bytes key, uint64_t count)
{
    removal of = {ctx, table, key, false, false, false};
    if (count == 0) return true;
    if (!sk_db_has_room(ctx->db, count * (key.len + SK_OP_BYTES_LEAST))) {
        ctx->db->txn.refused = SK_E_LIMIT;
        sk_reply_failure(ctx, SK_E_LIMIT);
        return false;
    }
    return sk_members_each(ctx, table, key, SK_BYTES_NONE, remove_member, &of) && !of.failed;
}

/* Its own row again, after changes. */
static bool reread(sk_ctx *ctx, sk_key *key)
{
    int status = sk_db_row(ctx->db, key->name.raw, ctx->arena, &key->row);
    if (status) sk_reply_failure(ctx, status);
    return status == 0;
}

bool sk_key_remove(sk_ctx *ctx, sk_key *key, bool keep_deadlines)
{
    if (!remove_members(ctx, SK_TABLE_HASH, key->key, key->row.fields)) return false;
    if (!remove_members(ctx, SK_TABLE_SET, key->key, key->row.members)) return false;
    if (key->row.count) {
        sk_op op = {0};
        if (sk_register_remove(&op, &key->row, ctx->db->own, !keep_deadlines, ctx->arena)) {
            sk_reply_failure(ctx, SK_E_MEMORY);
            return false;
        }
        if (!change(ctx, &key->name, &key->row, &op)) return false;
    }
    key->type = SK_TYPE_NONE;
    if (!keep_deadlines) key->deadline_ms = SK_DEADLINE_NEVER;
    return reread(ctx, key);
}

bool sk_key_expire(sk_ctx *ctx, sk_bytes name, bool *some_left)
{
    sk_key key;
    *some_left = false;
    if (!load(ctx, name, &key)) return false;
    bool orphan = types_of(&key) == 0 && sk_row_live(&key.row, SK_CLASS_DEADLINE);
    if (!orphan && !expired(ctx, &key)) return true;
    for (int i = 0; i < 2; i++) {
        removal of = {ctx, i ? SK_TABLE_SET : SK_TABLE_HASH, name, true, false, false};
        if (*some_left || (i ? key.row.members : key.row.fields) == 0) continue;
        if (!sk_members_each(ctx, of.table, name, SK_BYTES_NONE, remove_member, &of) || of.failed) return false;
        *some_left |= of.stopped;
    }
    *some_left |= !sk_db_has_room(ctx->db, sk_op_removal_size(key.name.raw, &key.row));
    if (*some_left) return true;
    ctx->replica->stat_expired += !orphan;
    return reread(ctx, &key) && sk_key_remove(ctx, &key, false);
}

bool sk_key_set_string(sk_ctx *ctx, sk_key *key, sk_bytes value, uint64_t deadline_ms, bool keep_deadline)
{
    if (!remove_members(ctx, SK_TABLE_HASH, key->key, key->row.fields)) return false;
    if (!remove_members(ctx, SK_TABLE_SET, key->key, key->row.members)) return false;
    sk_op op = {.forgets_deadlines = !keep_deadline};
    if (sk_register_write(&op, &key->row, ctx->db->own, value, ctx->arena)) {
        sk_reply_failure(ctx, SK_E_MEMORY);
        return false;
    }
    if (!keep_deadline && deadline_ms != SK_DEADLINE_NEVER) {
        op.has_deadline = true;
        op.deadline = (sk_entry){.kind = SK_ENTRY_DEADLINE, .deadline_ms = deadline_ms};
    }
    return change(ctx, &key->name, &key->row, &op);
}

bool sk_key_set_deadline(sk_ctx *ctx, sk_key *key, uint64_t deadline_ms)
{
    sk_op op = {.forgets_deadlines = true, .has_deadline = true};
    op.deadline = (sk_entry){.kind = SK_ENTRY_DEADLINE, .deadline_ms = deadline_ms ? deadline_ms : 1};
    key->deadline_ms = deadline_ms;
    return change(ctx, &key->name, &key->row, &op);
}

/* -- registers ------------------------------------------------------------------------------------------------------------------ */

bool sk_value_read(sk_ctx *ctx, sk_bytes key, sk_bytes field, const sk_row *row, sk_bytes *value, bool *found)
{
    *found = false;
    if (row->count == 1 && row->entries[0].kind == SK_ENTRY_VALUE) { /* nearly always */
        *value = row->entries[0].value;
        *found = true;
        return true;
    }
    sk_register read;
    if (sk_register_read(row, &ctx->db->origins, ctx->arena, &read)) {
        sk_reply_failure(ctx, SK_E_MEMORY);
        return false;
    }
    if (read.count == 0) return true;
    if (read.count > 1 && sk_db_policy(ctx->db, key) == SK_POLICY_SIBLINGS) {
        reply_conflict(ctx, key, field, "sibling values, written in different regions");
        return false;
    }
    *value = read.siblings[read.newest].value;
    *found = true;
    return true;
}

bool sk_value_write(sk_ctx *ctx, const sk_row_name *name, const sk_row *row, sk_bytes value)
{
    sk_op op = {0};
    if (sk_register_write(&op, row, ctx->db->own, value, ctx->arena)) {
        sk_reply_failure(ctx, SK_E_MEMORY);
        return false;
    }
    return change(ctx, name, row, &op);
}

/* What is shown as a number, 0 if there is nothing; replies on error, as Redis does. */
static bool shown_whole(sk_ctx *ctx, sk_bytes key, sk_bytes field, const sk_row *row, int64_t *whole)
{
    bool found;
    sk_bytes shown;
    *whole = 0;
    if (sk_register_whole(row, whole)) return true;
    if (!sk_value_read(ctx, key, field, row, &shown, &found)) return false;
    if (!found || sk_parse_int64(shown, whole)) return true;
    sk_reply_error(ctx->reply,
                   field.data ? "ERR hash value is not an integer" : "ERR value is not an integer or out of range");
    return false;
}

static bool shown_real(sk_ctx *ctx, sk_bytes key, sk_bytes field, const sk_row *row, long double *real)
{
    bool found;
    sk_bytes shown;
    *real = 0;
    if (!sk_value_read(ctx, key, field, row, &shown, &found)) return false;
    if (!found || sk_parse_long_double(shown, real)) return true;
    sk_reply_error(ctx->reply, field.data ? "ERR hash value is not a float" : "ERR value is not a valid float");
    return false;
}

/* The sum of what is shown and `by`, as Redis computes and refuses it; replies on error. */
static bool add_shown(sk_ctx *ctx, sk_bytes key, sk_bytes field, const sk_row *row, sk_number by, sk_number *sum)
{
    int64_t whole;
    long double real;
    if (!by.is_real) {
        if (!shown_whole(ctx, key, field, row, &whole)) return false;
        if (sk_number_add(sk_number_whole(whole), by, sum)) return true;
        sk_reply_error(ctx->reply, "ERR increment or decrement would overflow");
        return false;
    }
    if (!shown_real(ctx, key, field, row, &real)) return false;
    *sum = sk_number_real(real + by.real);
    if (isfinite(sum->real)) return true;
    sk_reply_error(ctx->reply, "ERR increment would produce NaN or Infinity");
    return false;
}

/* In conflict (policy newest) an addition is to the newest: the values that lost are removed with it. */
static bool list_losers(sk_ctx *ctx, const sk_row *row, sk_op *op)
{
    sk_register read;
    if (row->count < 2) return true; /* nearly always */
    if (sk_register_read(row, &ctx->db->origins, ctx->arena, &read)) return false;
    if (read.count < 2) return true;
    op->removed = sk_arena_take(ctx->arena, row->count * sizeof *op->removed);
    if (!op->removed) return false;
    for (uint32_t i = 0; i < read.count; i++)
        if (i != read.newest && !read.siblings[i].is_sum)
            op->removed[op->removed_count++] = (sk_removed){read.siblings[i].dot, SK_CLASS_CONTENT};
    return true;
}

/* The value that the open transaction has itself written here; NULL: none. */
static const sk_entry *written_now(sk_ctx *ctx, const sk_row *row)
{
    for (uint32_t i = 0; i < row->count; i++)
        if (row->entries[i].kind == SK_ENTRY_VALUE && sk_entry_made_now(ctx, &row->entries[i])) return &row->entries[i];
    return NULL;
}

/* The sum of a text and `by`. False if the text is no such number, or the sum too large. */
static bool add_to_text(sk_bytes text, sk_number by, sk_number *sum)
{
    sk_number number = {.is_real = by.is_real};
    bool good = by.is_real ? sk_parse_long_double(text, &number.real) : sk_parse_int64(text, &number.whole);
    return good && sk_number_add(number, by, sum);
}

static sk_bytes text_of(sk_number number, char text[SK_SUM_TEXT_MAX])
{
    sk_sum sum = {0};
    sk_sum_add(&sum, number);
    return sk_bytes_of(text, sk_sum_text(&sum, text));
}

void sk_reply_number(sk_ctx *ctx, sk_number number)
{
    char text[SK_SUM_TEXT_MAX];
    sk_reply_bulk(ctx->reply, text_of(number, text));
}

/* The operation that makes of a row's shown value the sum; false if there is no memory for it. A transaction has one content
 * entry in a row: what it adds to a value that it has written becomes part of that, and what its count has no room for, or
 * goes to one of several values, makes a new value of all. */
static bool add_or_rewrite(sk_ctx *ctx, const sk_row *row, sk_number by, sk_number sum, sk_op *op)
{
    const sk_entry *written = written_now(ctx, row);
    if (!written && sk_register_add(op, row, sk_db_next_dot(ctx->db), by) == 0) return list_losers(ctx, row, op);
    sk_number own;
    char text[SK_SUM_TEXT_MAX];
    bool is_part = written && !sk_register_conflicted(row) && add_to_text(written->value, by, &own);
    sk_bytes value = sk_arena_copy(ctx->arena, text_of(is_part ? own : sum, text));
    if (!value.data) return false;
    if (!is_part) return sk_register_write(op, row, ctx->db->own, value, ctx->arena) == 0;
    op->has_content = true;
    op->content = (sk_entry){.kind = SK_ENTRY_VALUE, .value = value};
    return true;
}

bool sk_value_add(sk_ctx *ctx, sk_bytes key, sk_bytes field, const sk_row_name *name, const sk_row *row, sk_number by,
                  sk_number *sum)
{
    sk_op op = {0};
    if (!add_shown(ctx, key, field, row, by, sum)) return false;
    if (!add_or_rewrite(ctx, row, by, *sum, &op)) {
        sk_reply_failure(ctx, SK_E_MEMORY);
        return false;
    }
    return change(ctx, name, row, &op);
}

/* -- members -------------------------------------------------------------------------------------------------------------------- */

bool sk_member_row(sk_ctx *ctx, sk_table table, sk_bytes key, sk_bytes member, sk_row_name *name, sk_row *row)
{
    *name = sk_row_name_of(ctx->arena, table, key, member);
    int status = sk_db_row(ctx->db, name->raw, ctx->arena, row);
    if (status) sk_reply_failure(ctx, status);
    return status == 0;
}

bool sk_member_add(sk_ctx *ctx, const sk_row_name *name, const sk_row *row)
{
    sk_op op = {.forgets_content = true, .has_content = true, .content = {.kind = SK_ENTRY_MEMBER}};
    return change(ctx, name, row, &op);
}

bool sk_member_remove(sk_ctx *ctx, const sk_row_name *name, const sk_row *row)
{
    sk_op op = {0};
    if (sk_register_remove(&op, row, ctx->db->own, false, ctx->arena)) {
        sk_reply_failure(ctx, SK_E_MEMORY);
        return false;
    }
    return change(ctx, name, row, &op);
}

typedef struct {
    size_t prefix_len;
    sk_member_visit *visit;
    void *self;
} each_member;

static int visit_row(void *self, sk_bytes raw, const sk_row *row)
{
    each_member *each = self;
    if (sk_row_live(row, SK_CLASS_CONTENT) == 0) return 0;
    return each->visit(each->self, sk_bytes_of(raw.data + each->prefix_len, raw.len - each->prefix_len), row);
}

bool sk_members_each(sk_ctx *ctx, sk_table table, sk_bytes key, sk_bytes from, sk_member_visit *visit, void *self)
{
    sk_buf prefix = {0}, first = {0};
    sk_rowkey_pack_prefix(&prefix, table, key);
    if (from.data) {
        sk_buf_bytes(&first, sk_buf_view(&prefix));
        sk_buf_bytes(&first, from);
    }
    each_member each = {prefix.len, visit, self};
    int status =
        sk_db_each(ctx->db, sk_buf_view(&prefix), from.data ? sk_buf_view(&first) : SK_BYTES_NONE, visit_row, &each);
    sk_buf_free(&prefix);
    sk_buf_free(&first);
    if (status < 0) sk_reply_failure(ctx, status);
    return status >= 0;
}

typedef struct {
    sk_arena *arena;
    sk_bytes *list;
    size_t count, room;
    bool failed;
} member_list;

static int add_member(void *self, sk_bytes member, const sk_row *row)
{
    (void)row;
    member_list *list = self;
    if (list->count == list->room) {
        size_t room = list->room ? list->room * 2 : 16;
        sk_bytes *grown = sk_arena_take(list->arena, room * sizeof *grown);
        if (!grown) {
            list->failed = true;
            return 1;
        }
        if (list->count) memcpy(grown, list->list, list->count * sizeof *grown);
        list->list = grown;
        list->room = room;
    }
    sk_bytes copy = sk_arena_copy(list->arena, member);
    list->list[list->count++] = copy;
    list->failed = !copy.data;
    return list->failed;
}

bool sk_members_list(sk_ctx *ctx, sk_table table, sk_bytes key, sk_bytes **members, size_t *count)
{
    member_list list = {.arena = ctx->arena};
    if (!sk_members_each(ctx, table, key, SK_BYTES_NONE, add_member, &list)) return false;
    if (list.failed) sk_reply_failure(ctx, SK_E_MEMORY);
    *members = list.list;
    *count = list.count;
    return !list.failed;
}
