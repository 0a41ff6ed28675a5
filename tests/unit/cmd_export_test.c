/* EXPORT, IMPORT and BACKUP as clients see them. */
#include "tests/unit/replica_harness.h"

#include "node/export.h"

/* The whole stream of a region, by EXPORT. */
static void take_export(region *from, sk_buf *stream)
{
    expect(from, "EXPORT OPEN", "+OK");
    sk_bytes argv[] = {sk_bytes_str("EXPORT"), sk_bytes_str("READ")};
    for (;;) {
        sk_buf_reset(&from->reply);
        sk_reply reply = {&from->reply, 2};
        sk_command_execute(from->replica, from->client, argv, 2, &reply);
        assert_false(from->reply.full);
        assert_int_equal(from->reply.data[0], '$');
        char *end;
        size_t len = strtoul((char *)from->reply.data + 1, &end, 10);
        if (len == 0) return;
        sk_buf_append(stream, end + 2, len);
    }
}

static const char *import_write(region *to, sk_client *client, sk_bytes piece)
{
    sk_bytes argv[] = {sk_bytes_str("IMPORT"), sk_bytes_str("WRITE"), piece};
    sk_buf_reset(&to->reply);
    sk_reply reply = {&to->reply, 2};
    sk_command_execute(to->replica, client, argv, 3, &reply);
    sk_buf_byte(&to->reply, 0);
    return (const char *)to->reply.data;
}

static void a_stream_goes_from_one_region_to_another(void **state)
{
    (void)state;
    region a, b;
    sk_buf stream = {0};
    regions_open(&a, &b);
    ask(&a, "SET k of-a");
    ask(&a, "INCRBY n 5");
    ask(&b, "SET k of-b");
    ask(&b, "INCRBY n 7");
    region_turn(&a, 1);
    region_turn(&b, 1);
    take_export(&a, &stream);
    expect(&a, "EXPORT READ", "-ERR this connection has no export open (or the store failed meanwhile)");
    expect(&b, "IMPORT OPEN", "+OK");
    assert_string_equal(import_write(&b, b.client, sk_buf_view(&stream)), "+OK\r\n");
    expect(&b, "GET n", "$1 7");
    expect(&b, "IMPORT COMMIT", "*4 $4 rows :2 $7 history :0");
    expect(&b, "GET n", "$2 12");
    expect_begins(&b, "GET k", "-CONFLICT");
    region_turn(&b, 1);
    regions_meet(&a, &b); /* what came by the stream does not come again, the rest does */
    expect(&a, "GET n", "$2 12");
    assert_int_equal(sk_engine_peer_status(b.replica->engine, 0).received_txns, 0);
    sk_buf_free(&stream);
    region_close(&a);
    region_close(&b);
}

/* However little a connection may have unread (listen.output_buffer_max), the next piece fits. */
static void a_piece_fits_into_what_may_be_unread(void **state)
{
    (void)state;
    enum { LEAST = 32 << 10, KEYS = 40 };
    region a;
    sk_buf wide = {0}, narrow = {0};
    char command[2100];
    region_open(&a, "eu", NULL, NULL);
    for (int i = 0; i < KEYS; i++) {
        int len = snprintf(command, sizeof command, "SET k%d ", i);
        memset(command + len, 'v', 2000);
        command[len + 2000] = 0;
        ask(&a, command);
    }
    region_turn(&a, 1);
    take_export(&a, &wide);
    assert_true(wide.len > 2 * LEAST);
    a.reply.max = LEAST;
    take_export(&a, &narrow);
    assert_true(sk_bytes_equal(sk_buf_view(&wide), sk_buf_view(&narrow)));
    a.reply.max = 0;
    sk_buf_free(&wide);
    sk_buf_free(&narrow);
    region_close(&a);
}

static void an_import_is_one_connections(void **state)
{
    (void)state;
    region a;
    region_open(&a, "eu", NULL, NULL);
    sk_client *other = sk_client_new(a.replica);
    expect(&a, "IMPORT COMMIT",
           "-ERR this connection has no import open (or it was given up, and nothing was applied)");
    expect(&a, "IMPORT OPEN", "+OK");
    assert_int_equal(strncmp(ask_as(&a, other, "IMPORT OPEN"), "-BUSY", 5), 0);
    assert_int_equal(strncmp(ask_as(&a, other, "IMPORT WRITE x"), "-ERR this connection", 20), 0);
    assert_string_equal(ask_as(&a, other, "IMPORT ABORT"), "+OK");
    assert_non_null(a.replica->import);
    expect(&a, "IMPORT COMMIT", "-ERR the stream cannot be used: it ends before its end; nothing was applied");
    assert_null(a.replica->import);
    expect(&a, "IMPORT OPEN", "+OK");
    expect_begins(&a, "IMPORT WRITE x", "-ERR the stream cannot be used");
    assert_null(a.replica->import);
    assert_string_equal(ask_as(&a, other, "IMPORT OPEN"), "+OK");
    sk_client_free(other); /* its connection breaks */
    assert_null(a.replica->import);
    expect(&a, "IMPORT OPEN", "+OK");
    ask(&a, "EXPORT OPEN");
    assert_non_null(a.client->export);
    expect(&a, "RESET", "+RESET"); /* it goes back to a pool */
    assert_null(a.replica->import);
    assert_null(a.client->export);
    expect(&a, "IMPORT OPEN", "+OK");
    region_close(&a);
}

/* Both are staged in one place. */
static void imports_and_transfers_do_not_mix(void **state)
{
    (void)state;
    region a, b;
    sk_buf stream = {0};
    regions_open(&a, &b);
    ask(&a, "SET k 1");
    region_turn(&a, 1);
    take_export(&a, &stream);
    expect(&b, "IMPORT OPEN", "+OK");
    import_write(&b, b.client, sk_bytes_of(stream.data, stream.len - 1));
    region_turn(&b, 1); /* what is staged waits for its end, though no peer is known to have it */
    assert_non_null(b.replica->db.fold);
    import_write(&b, b.client, sk_bytes_of(stream.data + stream.len - 1, 1));
    expect_begins(&b, "IMPORT COMMIT", "*4");
    region_turn(&b, 1);
    expect(&b, "GET k", "$1 1");
    sk_buf_free(&stream);
    region_close(&a);
    region_close(&b);
}

/* A stream from a later time of the region itself: it goes on under another incarnation. */
static void a_stream_of_a_later_self_ends_the_incarnation(void **state)
{
    (void)state;
    region now, before;
    sk_buf stream = {0};
    region_open(&now, "eu", NULL, NULL);
    region_open(&before, "eu", NULL, NULL); /* the same seed: the same incarnation */
    ask(&now, "SET k later");
    region_turn(&now, 1);
    take_export(&now, &stream);
    uint32_t own = before.replica->db.own;
    expect(&before, "IMPORT OPEN", "+OK");
    assert_string_equal(import_write(&before, before.client, sk_buf_view(&stream)), "+OK\r\n");
    expect_begins(&before, "IMPORT COMMIT", "*4");
    assert_int_not_equal(before.replica->db.own, own);
    region_turn(&before, 1);
    expect(&before, "GET k", "$5 later");
    expect(&before, "SET k again", "+OK");
    region_turn(&before, 1);
    sk_buf_free(&stream);
    region_close(&now);
    region_close(&before);
}

static void exports_are_bounded_and_end_with_their_connection(void **state)
{
    (void)state;
    region a;
    sk_client *clients[9];
    region_open(&a, "eu", NULL, NULL);
    for (int i = 0; i < 9; i++) clients[i] = sk_client_new(a.replica);
    for (int i = 0; i < 8; i++) assert_string_equal(ask_as(&a, clients[i], "EXPORT OPEN"), "+OK");
    assert_int_equal(strncmp(ask_as(&a, clients[8], "EXPORT OPEN"), "-ERR other connections", 22), 0);
    sk_client_free(clients[0]);
    assert_string_equal(ask_as(&a, clients[8], "EXPORT OPEN"), "+OK");
    assert_string_equal(ask_as(&a, clients[8], "EXPORT CLOSE"), "+OK");
    region_close(&a);
}

/* No snapshot may outlive the reopening of a store, nor half an import. */
static void a_failing_store_ends_both(void **state)
{
    (void)state;
    region a, b;
    sk_buf stream = {0};
    regions_open(&a, &b);
    ask(&a, "SET k 1");
    region_turn(&a, 1);
    take_export(&a, &stream);
    expect(&b, "IMPORT OPEN", "+OK");
    import_write(&b, b.client, sk_bytes_of(stream.data, stream.len - 1));
    region_turn(&b, 1);
    expect(&b, "EXPORT OPEN", "+OK");
    sk_memory_fail(b.store, 0, SK_E_IO);
    ask(&b, "SET x 1");
    sk_replica_turn(b.replica);
    (void)sk_memory_sync(b.store, UINT64_MAX);
    sk_replica_reap(b.replica);
    assert_null(b.replica->import);
    assert_null(b.client->export);
    expect_begins(&b, "IMPORT OPEN", "-MISCONF");
    sk_memory_fail(b.store, 0, SK_OK);
    for (int i = 0; i < 3; i++) {
        sk_replica_time(b.replica, b.replica->now_ms + 2000, b.replica->wall_ms + 2000);
        sk_replica_turn(b.replica);
        (void)sk_memory_sync(b.store, UINT64_MAX);
        sk_replica_reap(b.replica);
    }
    assert_null(b.replica->db.fold);
    expect(&b, "GET k", "$-1");
    expect(&b, "IMPORT OPEN", "+OK");
    assert_string_equal(import_write(&b, b.client, sk_buf_view(&stream)), "+OK\r\n");
    expect_begins(&b, "IMPORT COMMIT", "*4");
    region_turn(&b, 1);
    expect(&b, "GET k", "$1 1");
    sk_buf_free(&stream);
    region_close(&a);
    region_close(&b);
}

/* What is staged of an import is nobody's after a crash: no peer may go on with it as with a transfer of its own. */
static void a_crash_ends_an_import(void **state)
{
    (void)state;
    region a;
    sk_buf stream = {0}, error = {0};
    region_open(&a, "eu", NULL, NULL);
    ask(&a, "SET k 1");
    region_turn(&a, 1);
    take_export(&a, &stream);
    expect(&a, "IMPORT OPEN", "+OK");
    import_write(&a, a.client, sk_bytes_of(stream.data, stream.len - 1));
    region_turn(&a, 1);
    assert_non_null(a.replica->db.fold);
    sk_memory_crash(a.store, UINT64_MAX);
    sk_replica_options options = a.replica->options;
    options.region = "eu";
    sk_replica_host host = a.replica->host;
    sk_replica_free(a.replica);
    sk_memory_crash(a.store, 0); /* what the end of the replica put there */
    assert_int_equal(sk_replica_new(a.store, &options, &host, 9000, WALL_MS, &error, &a.replica), 0);
    assert_null(a.replica->db.fold);
    a.client = sk_client_new(a.replica);
    expect(&a, "GET k", "$1 1");
    sk_buf_free(&stream);
    region_close(&a);
}

static void backups_are_the_owners_matter(void **state)
{
    (void)state;
    region a;
    region_open(&a, "eu", NULL, NULL);
    expect(&a, "BACKUP CREATE", "-ERR no backups can be made here");
    expect(&a, "BACKUP CREATE a b", "-ERR syntax error");
    expect_begins(&a, "BACKUP STATUS", "*18 $5 state $4 none");
    region_close(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_stream_goes_from_one_region_to_another),
        cmocka_unit_test(a_piece_fits_into_what_may_be_unread),
        cmocka_unit_test(an_import_is_one_connections),
        cmocka_unit_test(imports_and_transfers_do_not_mix),
        cmocka_unit_test(a_stream_of_a_later_self_ends_the_incarnation),
        cmocka_unit_test(exports_are_bounded_and_end_with_their_connection),
        cmocka_unit_test(a_failing_store_ends_both),
        cmocka_unit_test(a_crash_ends_an_import),
        cmocka_unit_test(backups_are_the_owners_matter),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
