/* An exported stream, from whoever made it. The first byte says how it is to be taken:
 *   1  what follows goes to an import as it is, in pieces
 *   0  it is msgpack bins, each the body of a frame, which are put into sound frames, so that their insides are reached
 * Whatever it holds, the import ends with an answer; only a whole one changes anything; and the database still holds
 * its invariants, and can be exported again. */
#include "node/export.h"
#include "storage/memory.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int known(void *self, uint64_t seq)
{
    const sk_db *db = self;
    return seq > sk_vv_get(&db->vv, db->own) ? SK_E_PROTOCOL : 0;
}

static void write_some(sk_db *db)
{
    sk_arena arena = {0};
    sk_db_begin(db);
    sk_row_name name = sk_row_name_of(&arena, SK_TABLE_KEY, sk_bytes_str("x"), SK_BYTES_NONE);
    sk_op op = {.has_content = true, .content.kind = SK_ENTRY_VALUE};
    sk_assert(sk_db_change(db, &name, NULL, &op) == 0);
    (void)sk_db_commit(db);
    sk_arena_free(&arena);
}

static void commit(sk_db *db)
{
    sk_assert(db->failed == 0);
    (void)sk_db_seal(db);
    sk_assert(sk_memory_sync(db->store, UINT64_MAX) == 0);
    sk_db_check(db);
}

/* Bodies in frames: the first is the head, what would be one more than there is ends it. */
static void frame(sk_bytes bodies, sk_buf *out)
{
    sk_reader reader = sk_reader_of(bodies);
    uint64_t sum;
    sk_stream_begin(out, &sum);
    for (int i = 0; sk_reader_left(&reader); i++) {
        sk_bytes body = sk_read_bytes(&reader);
        bool last = sk_reader_left(&reader) == 0 && body.len <= SK_STREAM_END_MAX; /* nobody writes a longer one */
        sk_stream_frame(out, &sum, i == 0 ? SK_STREAM_HEAD : last ? SK_STREAM_END : SK_STREAM_CHUNK, body);
    }
}

static void import(sk_db *db, sk_bytes stream, size_t piece)
{
    sk_buf error = {0};
    sk_stream_end end;
    sk_digest digest = db->digest;
    sk_import *taken = sk_import_open(db, "fuzz", known, db);
    int status = 0;
    for (size_t at = 0; at < stream.len && !status; at += piece)
        status = sk_import_write(
            taken, sk_bytes_of(stream.data + at, at + piece < stream.len ? piece : stream.len - at), &error);
    sk_assert((status != 0) == (error.len > 0));
    if (status)
        sk_import_abort(taken);
    else
        status = sk_import_commit(taken, &end, &error);
    sk_assert((status != 0) == (error.len > 0));
    if (status) sk_assert(db->digest == digest);
    if (status) sk_assert(db->fold == NULL);
    sk_buf_free(&error);
}

static void export(sk_db *db)
{
    sk_export *made;
    sk_buf stream = {0};
    sk_assert(sk_export_open(db, "fuzz", 1, &made) == 0);
    for (size_t before = 1; before != stream.len;) {
        before = stream.len;
        sk_assert(sk_export_read(made, 1000, &stream) == 0);
    }
    sk_export_close(made);
    sk_buf_free(&stream);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0) return 0;
    sk_db db;
    sk_buf error = {0}, stream = {0};
    sk_store *store = sk_memory_open(SK_DURABILITY_ALWAYS);
    sk_db_identity identity = {"here", "fuzz", sk_bytes_str("1"), 1, false};
    sk_assert(sk_db_open(&db, store, &identity, &error) == 0);
    write_some(&db);
    commit(&db);
    if (data[0] & 1)
        sk_buf_append(&stream, data + 1, size - 1);
    else
        frame(sk_bytes_of(data + 1, size - 1), &stream);
    import(&db, sk_buf_view(&stream), (data[0] >> 1) + 1u);
    sk_assert(sk_db_touch_all(&db) == 0);
    commit(&db);
    export(&db);
    sk_db_close(&db);
    sk_store_close(store);
    sk_buf_free(&error);
    sk_buf_free(&stream);
    return 0;
}
