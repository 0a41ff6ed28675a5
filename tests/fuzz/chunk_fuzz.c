/* A transfer's chunks, from a peer that sends what it likes: all of a chunk is kept or nothing, and a database into
 * which it was folded still holds its invariants and can pass it on. The first byte draws the kind of transfer, and a local
 * state before; then come chunks, each a msgpack bin; from the first one that looks like a ROWS message on, such messages. */
#include "node/fold.h"
#include "storage/memory.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void write_some(sk_db *db)
{
    static const sk_table tables[] = {SK_TABLE_KEY, SK_TABLE_HASH, SK_TABLE_SET};
    sk_arena arena = {0};
    sk_db_begin(db);
    for (int i = 0; i < 3; i++) {
        sk_row_name name = sk_row_name_of(&arena, tables[i], sk_bytes_str("x"), sk_bytes_str("m"));
        sk_op op = {.has_content = true, .content.kind = i == 2 ? SK_ENTRY_MEMBER : SK_ENTRY_VALUE};
        sk_assert(sk_db_change(db, &name, NULL, &op) == 0);
    }
    (void)sk_db_commit(db);
    sk_arena_free(&arena);
}

static void commit(sk_db *db)
{
    sk_assert(db->failed == 0);
    (void)sk_db_seal(db);
    sk_assert(sk_memory_sync(db->store, UINT64_MAX) == 0);
}

static void pass_on(sk_db *db)
{
    sk_vv none = {0};
    sk_source *source;
    sk_transfer_head head = {0};
    sk_buf rows = {0};
    sk_assert(sk_source_open(db, &none, NULL, &source, &head) == 0);
    while (sk_source_chunk(db, source, 100, &rows) > 0) sk_buf_reset(&rows);
    sk_source_close(db, source);
    sk_buf_free(&rows);
    sk_vv_free(&head.vv);
    sk_vv_free(&head.floor);
}

static void receive(sk_db *db, uint8_t knobs, sk_reader *reader)
{
    sk_transfer_head head = {.reconcile = knobs & 1};
    sk_buf at = {0}, wanted = {0};
    uint64_t number;
    uint32_t count = 0;
    sk_elements rows;
    sk_origin_map map = {0};
    for (uint32_t o = 0; o < 4; o++) {
        uint32_t origin;
        sk_assert(sk_db_intern(db, sk_bytes_str("peer"), o, &origin) == 0);
        (void)sk_origin_map_set(&map, o, origin);
        sk_vv_set(&head.vv, origin, o < 3 ? 100u << 8 * o : UINT64_MAX >> 1);
        if (knobs & 2) sk_vv_set(&head.floor, origin, 50);
    }
    sk_assert(sk_fold_begin(db, &head) == 0);
    bool compares = false;
    while (sk_reader_left(reader)) {
        sk_bytes said = sk_read_bytes(reader);
        compares |= head.reconcile && said.len && said.data[0] == SK_MESSAGE_ROWS;
        if (!compares) {
            (void)sk_fold_chunk(db, said, &map);
            continue;
        }
        while (sk_fold_compare(db) > 0) {}
        /* A list of rows, as the sender may tell it: of the whole space, in any order. */
        sk_reader list = sk_reader_of(said);
        if (said.len == 0 || sk_message_type_read(&list) != SK_MESSAGE_ROWS || sk_rows_read(&list, &number, &rows)) continue;
        int more;
        sk_buf_reset(&at);
        do more = sk_fold_settle(db, &at, SK_BYTES_NONE, rows, &wanted, &count);
        while (more > 0);
        sk_assert(more == 0);
    }
    sk_buf_free(&at);
    sk_buf_free(&wanted);
    sk_assert(sk_fold_end(db) == 0);
    sk_origin_map_free(&map);
    sk_vv_free(&head.vv);
    sk_vv_free(&head.floor);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0) return 0;
    sk_db db;
    sk_buf error = {0};
    sk_store *store = sk_memory_open(SK_DURABILITY_ALWAYS);
    sk_db_identity identity = {"here", "fuzz", sk_bytes_str("1"), 1, false};
    sk_reader reader = sk_reader_of(sk_bytes_of(data + 1, size - 1));
    sk_assert(sk_db_open(&db, store, &identity, &error) == 0);
    if (data[0] & 4) write_some(&db);
    receive(&db, data[0], &reader);
    if (data[0] & 8) sk_assert(sk_db_touch(&db, sk_bytes_str("x")) == 0);
    if (data[0] & 8) write_some(&db);
    sk_assert(sk_db_touch_all(&db) == 0);
    commit(&db);
    sk_db_check(&db);
    pass_on(&db);
    sk_db_forget(&db, &db.vv, &db.vv);
    commit(&db);
    sk_db_check(&db);
    pass_on(&db);
    sk_db_close(&db);
    sk_store_close(store);
    sk_buf_free(&error);
    return 0;
}
