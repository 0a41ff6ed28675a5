/* The commands of hashes. A field is a row of its own, a register like a string key's (crdt/register_mv.h):
 * concurrent writes of one field become siblings, HINCRBY and HINCRBYFLOAT add up, and a removal takes only what it
 * saw, so that an update somewhere else survives it.
 *
 * - HSET writes also what the field holds already: to whoever removes the field elsewhere at the same time this
 *   write must be one that the removal had not seen. The reply is Redis' own (0 new fields).
 * - What needs a field's value is refused with -CONFLICT when the field has siblings (policy `siblings`): HGETALL,
 *   HVALS, HMGET, HSCAN and HRANDFIELD WITHVALUES as a whole, since a reply has one value for each. HKEYS, HLEN,
 *   HEXISTS, HDEL, HSET do not care.
 * - HLEN and the existence of a key come from the key's own row, which counts its fields; nothing else is read. */
#include "node/collection.h"
#include "node/sample.h"

#include "crdt/number.h"

#include <math.h>

/* -- one field ----------------------------------------------------------------------------------------------------- */

static bool has_content(const sk_row *row)
{
    return sk_row_live(row, SK_CLASS_CONTENT) != 0;
}

static bool field_row(sk_ctx *ctx, const sk_key *key, sk_bytes field, sk_row_name *name, sk_row *row)
{
    return sk_member_row(ctx, SK_TABLE_HASH, key->key, field, name, row);
}

/* The value of a field of a key that was looked up for reading. */
static bool read_field(sk_ctx *ctx, const sk_key *key, sk_bytes field, sk_bytes *value, bool *found)
{
    sk_row_name name;
    sk_row row;
    *found = false;
    if (key->type == SK_TYPE_NONE) return true;
    return field_row(ctx, key, field, &name, &row) && sk_value_read(ctx, key->key, field, &row, value, found);
}

static void hget(sk_ctx *ctx)
{
    sk_key key;
    sk_bytes value;
    bool found;
    if (!sk_key_read(ctx, ctx->argv[1], SK_TYPE_HASH, &key)) return;
    if (!read_field(ctx, &key, ctx->argv[2], &value, &found)) return;
    sk_reply_value(ctx->reply, value, found);
}

static void hstrlen(sk_ctx *ctx)
{
    sk_key key;
    sk_bytes value;
    bool found;
    if (!sk_key_read(ctx, ctx->argv[1], SK_TYPE_HASH, &key)) return;
    if (read_field(ctx, &key, ctx->argv[2], &value, &found)) sk_reply_int(ctx->reply, found ? (int64_t)value.len : 0);
}

static void hexists(sk_ctx *ctx)
{
    sk_key key;
    sk_row_name name;
    sk_row row = {0};
    if (!sk_key_read(ctx, ctx->argv[1], SK_TYPE_HASH, &key)) return;
    if (key.type == SK_TYPE_HASH && !field_row(ctx, &key, ctx->argv[2], &name, &row)) return;
    sk_reply_int(ctx->reply, has_content(&row));
}

static void hmget(sk_ctx *ctx)
{
    sk_key key;
    sk_collected values;
    if (!sk_key_read(ctx, ctx->argv[1], SK_TYPE_HASH, &key)) return;
    sk_collected_begin(&values, ctx);
    for (size_t i = 2; i < ctx->argc; i++) {
        sk_bytes value;
        bool found;
        if (!read_field(ctx, &key, ctx->argv[i], &value, &found)) {
            sk_collected_drop(&values);
            return;
        }
        if (found)
            sk_reply_bulk(&values.reply, value);
        else
            sk_reply_null(&values.reply);
        values.count++;
    }
    sk_collected_send(&values, sk_reply_array);
}

/* -- writing ------------------------------------------------------------------------------------------------------- */

static bool set_fields(sk_ctx *ctx, int64_t *created)
{
    sk_key key;
    *created = 0;
    if (ctx->argc % 2) {
        sk_reply_errorf(ctx->reply, "ERR wrong number of arguments for '%s' command", ctx->command->name);
        return false;
    }
    if (!sk_key_write(ctx, ctx->argv[1], SK_TYPE_HASH, &key)) return false;
    for (size_t i = 2; i < ctx->argc; i += 2) {
        sk_row_name name;
        sk_row row;
        if (!field_row(ctx, &key, ctx->argv[i], &name, &row)) return false;
        *created += !has_content(&row);
        if (!sk_value_write(ctx, &name, &row, ctx->argv[i + 1])) return false;
    }
    return true;
}

static void hset(sk_ctx *ctx)
{
    int64_t created;
    if (set_fields(ctx, &created)) sk_reply_int(ctx->reply, created);
}

static void hmset(sk_ctx *ctx)
{
    int64_t created;
    if (set_fields(ctx, &created)) sk_reply_ok(ctx->reply);
}

static void hsetnx(sk_ctx *ctx)
{
    sk_key key;
    sk_row_name name;
    sk_row row;
    if (!sk_key_write(ctx, ctx->argv[1], SK_TYPE_HASH, &key)) return;
    if (!field_row(ctx, &key, ctx->argv[2], &name, &row)) return;
    bool exists = has_content(&row);
    if (!exists && !sk_value_write(ctx, &name, &row, ctx->argv[3])) return;
    sk_reply_int(ctx->reply, !exists);
}

static void hdel(sk_ctx *ctx)
{
    sk_key key;
    int64_t removed = 0;
    if (!sk_key_write(ctx, ctx->argv[1], SK_TYPE_HASH, &key)) return;
    for (size_t i = 2; key.type == SK_TYPE_HASH && i < ctx->argc; i++) {
        sk_row_name name;
        sk_row row;
        if (!field_row(ctx, &key, ctx->argv[i], &name, &row)) return;
        if (!has_content(&row)) continue;
        if (!sk_member_remove(ctx, &name, &row)) return;
        removed++;
    }
    if (removed && !sk_collection_shrunk(ctx, &key)) return;
    sk_reply_int(ctx->reply, removed);
}

static bool add_to_field(sk_ctx *ctx, sk_number by, sk_number *sum)
{
    sk_key key;
    sk_row_name name;
    sk_row row;
    return sk_key_write(ctx, ctx->argv[1], SK_TYPE_HASH, &key) && field_row(ctx, &key, ctx->argv[2], &name, &row) &&
           sk_value_add(ctx, key.key, ctx->argv[2], &name, &row, by, sum);
}

static void hincrby(sk_ctx *ctx)
{
    int64_t by;
    sk_number sum;
    if (!sk_arg_int(ctx, ctx->argv[3], &by)) return;
    if (add_to_field(ctx, sk_number_whole(by), &sum)) sk_reply_int(ctx->reply, sum.whole);
}

static void hincrbyfloat(sk_ctx *ctx)
{
    long double by;
    sk_number sum;
    if (!sk_parse_long_double(ctx->argv[3], &by)) {
        sk_reply_error(ctx->reply, "ERR value is not a valid float");
        return;
    }
    if (isinf(by)) {
        sk_reply_error(ctx->reply, "ERR value is NaN or Infinity");
        return;
    }
    if (add_to_field(ctx, sk_number_real(by), &sum)) sk_reply_number(ctx, sum);
}

/* -- many fields --------------------------------------------------------------------------------------------------- */

static void hlen(sk_ctx *ctx)
{
    sk_key key;
    if (!sk_key_read(ctx, ctx->argv[1], SK_TYPE_HASH, &key)) return;
    sk_reply_int(ctx->reply, key.type == SK_TYPE_HASH ? (int64_t)key.row.fields : 0);
}

typedef struct {
    sk_key key;
    bool fields, values; /* what is wanted */
    bool refused;
    sk_ctx inner; /* the command's, with an arena that is emptied for each field */
    sk_arena arena;
    sk_collected found;
} listing;

static int list_field(void *self, sk_bytes field, const sk_row *row)
{
    listing *list = self;
    sk_bytes value;
    bool found;
    if (list->values) {
        sk_arena_reset(&list->arena);
        list->refused = !sk_value_read(&list->inner, list->key.key, field, row, &value, &found);
        if (list->refused) return 1;
        if (!found) return 0;
    }
    if (list->fields) sk_reply_bulk(&list->found.reply, field);
    if (list->values) sk_reply_bulk(&list->found.reply, value);
    list->found.count++;
    return list->found.buf.full;
}

static void reply_fields(sk_ctx *ctx, bool fields, bool values)
{
    listing list = {.fields = fields, .values = values, .inner = *ctx};
    list.inner.arena = &list.arena;
    if (!sk_key_read(ctx, ctx->argv[1], SK_TYPE_HASH, &list.key)) return;
    sk_collected_begin(&list.found, ctx);
    bool fine = list.key.type == SK_TYPE_NONE ||
                sk_members_each(ctx, SK_TABLE_HASH, list.key.key, SK_BYTES_NONE, list_field, &list);
    if (fine && !list.refused)
        sk_collected_send(&list.found, fields && values ? sk_reply_map : sk_reply_array);
    else
        sk_collected_drop(&list.found);
    sk_arena_free(&list.arena);
}

static void hgetall(sk_ctx *ctx)
{
    reply_fields(ctx, true, true);
}

static void hkeys(sk_ctx *ctx)
{
    reply_fields(ctx, true, false);
}

static void hvals(sk_ctx *ctx)
{
    reply_fields(ctx, false, true);
}

static void reply_random(sk_ctx *ctx, const sk_key *key, int64_t count, bool values)
{
    sk_bytes *fields = NULL;
    size_t picked = 0;
    sk_collected found;
    if (key->type == SK_TYPE_HASH && count &&
        !sk_sample(ctx, SK_TABLE_HASH, key->key, key->row.fields, count, &fields, &picked))
        return;
    sk_collected_begin(&found, ctx);
    bool nested = values && ctx->reply->proto >= 3;
    for (size_t i = 0; i < picked; i++) {
        sk_bytes value = SK_BYTES_NONE;
        bool there;
        if (values && !read_field(ctx, key, fields[i], &value, &there)) {
            sk_collected_drop(&found);
            return;
        }
        if (nested) sk_reply_array(&found.reply, 2);
        sk_reply_bulk(&found.reply, fields[i]);
        if (values) sk_reply_bulk(&found.reply, value);
        found.count += values && !nested ? 2 : 1;
    }
    sk_collected_send(&found, sk_reply_array);
}

static void hrandfield(sk_ctx *ctx)
{
    sk_key key;
    int64_t count;
    bool values = ctx->argc == 4;
    if (ctx->argc >= 3) {
        if (!sk_sample_count(ctx, ctx->argv[2], &count)) return;
        if (ctx->argc > 4 || (values && !sk_arg_is(ctx->argv[3], "withvalues"))) {
            sk_reply_syntax(ctx);
        } else if (values && (count < -INT64_MAX / 2 || count > INT64_MAX / 2)) {
            sk_reply_error(ctx->reply, "ERR value is out of range");
        } else if (sk_key_read(ctx, ctx->argv[1], SK_TYPE_HASH, &key)) {
            reply_random(ctx, &key, count, values);
        }
        return;
    }
    sk_bytes *field;
    size_t picked = 0;
    if (!sk_key_read(ctx, ctx->argv[1], SK_TYPE_HASH, &key)) return;
    if (key.type == SK_TYPE_HASH && !sk_sample(ctx, SK_TABLE_HASH, key.key, key.row.fields, 1, &field, &picked)) return;
    if (picked)
        sk_reply_bulk(ctx->reply, field[0]);
    else
        sk_reply_null(ctx->reply);
}

static void hscan(sk_ctx *ctx)
{
    sk_collection_scan(ctx, SK_TABLE_HASH);
}

/* -- the table ----------------------------------------------------------------------------------------------------- */

#define READS SK_CMD_READONLY
#define READS_FAST (READS | SK_CMD_FAST)
#define WRITES_FAST (SK_CMD_WRITE | SK_CMD_DENYOOM | SK_CMD_FAST)
#define HASH(name, run, arity, flags, since, args, summary) \
    {name, run, arity, flags, 1, 1, 1, "hash", "@hash", since, args, summary, NULL}

const sk_command sk_commands_hash[] = {
    HASH("hdel", hdel, -3, SK_CMD_WRITE | SK_CMD_FAST | SK_KEY_DELETES, "2.0.0", "key field [field ...]",
         "Delete one or more hash fields"),
    HASH("hexists", hexists, 3, READS_FAST | SK_KEY_PEEKS, "2.0.0", "key field",
         "Determine if a hash field exists"),
    HASH("hget", hget, 3, READS_FAST, "2.0.0", "key field",
         "Get the value of a hash field"),
    HASH("hgetall", hgetall, 2, READS, "2.0.0", "key",
         "Get all the fields and values in a hash"),
    HASH("hincrby", hincrby, 4, WRITES_FAST | SK_KEY_RENEWS, "2.0.0", "key field increment",
         "Increment the integer value of a hash field by the given number"),
    HASH("hincrbyfloat", hincrbyfloat, 4, WRITES_FAST | SK_KEY_RENEWS, "2.6.0", "key field increment",
         "Increment the float value of a hash field by the given amount"),
    HASH("hkeys", hkeys, 2, READS, "2.0.0", "key",
         "Get all the fields in a hash"),
    HASH("hlen", hlen, 2, READS_FAST | SK_KEY_PEEKS, "2.0.0", "key",
         "Get the number of fields in a hash"),
    HASH("hmget", hmget, -3, READS_FAST, "2.0.0", "key field [field ...]",
         "Get the values of all the given hash fields"),
    HASH("hmset", hmset, -4, WRITES_FAST, "2.0.0", "key field value [field value ...]",
         "Set multiple hash fields to multiple values"),
    HASH("hrandfield", hrandfield, -2, READS, "6.2.0", "key [count [WITHVALUES]]",
         "Get one or multiple random fields from a hash"),
    HASH("hscan", hscan, -3, READS, "2.8.0", "key cursor [MATCH pattern] [COUNT count]",
         "Incrementally iterate hash fields and associated values"),
    HASH("hset", hset, -4, WRITES_FAST, "2.0.0", "key field value [field value ...]",
         "Set the string value of a hash field"),
    HASH("hsetnx", hsetnx, 4, WRITES_FAST | SK_KEY_ADDS, "2.0.0", "key field value",
         "Set the value of a hash field, only if the field does not exist"),
    HASH("hstrlen", hstrlen, 3, READS_FAST | SK_KEY_PEEKS, "3.2.0", "key field",
         "Get the length of the value of a hash field"),
    HASH("hvals", hvals, 2, READS, "2.0.0", "key",
         "Get all the values in a hash"),
    {0},
};
