#include "tests/unit/replica_harness.h"

enum { FIELDS = 2000, AT_ONCE = 2 * SK_FOLD_ROWS }; /* rows that a turn brings into place at most: a command's part, and its own */

static int again; /* how often a client was told to ask again */

static void count_again(void *owner, sk_client *client, sk_bytes reply)
{
    (void)owner;
    assert_int_equal(client->block, SK_BLOCK_NONE);
    assert_int_equal(reply.len, 0);
    again++;
}

static uint32_t staged_rows(region *self)
{
    uint32_t count = 0;
    sk_bytes key, value;
    uint8_t from = SK_STAGED_ROW, to = SK_STAGED_ROW + 1;
    sk_store_iter *iter =
        sk_store_iterate(self->store, NULL, SK_CF_STAGED, sk_bytes_of(&from, 1), sk_bytes_of(&to, 1));
    while (sk_store_next(self->store, iter, &key, &value) > 0) count++;
    sk_store_iter_free(self->store, iter);
    return count;
}

/* Two regions, of which eu has just been brought by a transfer what us wrote: nearly none of it is in its place yet. `big` is a
 * large hash, `z` the last of all keys. eu's client can wait. */
static const char *value = "v"; /* of each field of `big` */

static void regions_folding(region *eu, region *us)
{
    static const char *const peers[] = {"eu"};
    static char request[2048];
    regions_open(eu, us);
    expect(eu, "HSET big own v", ":1");
    expect(eu, "PEXPIRE big 3000", ":1");
    regions_meet(eu, us);
    expect(us, "SET z new", "+OK");
    for (int i = 0; i < FIELDS; i++) {
        snprintf(request, sizeof request, "HSET big f%d %s", i, value);
        expect(us, request, ":1");
    }
    region_turn(us, 1);
    sk_replica_free(us->replica);
    region_boot(us, "us", peers, NULL); /* none of it is in its ring any more */
    sk_replica_link_up(eu->replica, 0);
    sk_replica_link_up(us->replica, 0);
    for (int i = 0; i < 100 && !sk_fold_active(&eu->replica->db); i++) {
        region_turn(us, 5);
        region_turn(eu, 5);
    }
    assert_true(sk_fold_active(&eu->replica->db));
    eu->client->unblocked = count_again;
    again = 0;
}

/* A turn of eu's: no more than some rows are brought into place in it. */
static void turn_in_steps(region *eu)
{
    uint32_t before = staged_rows(eu);
    region_turn(eu, 1);
    assert_true(before - staged_rows(eu) <= AT_ONCE);
}

/* Until the client is to ask again. */
static void wait_for_rows(region *eu)
{
    int turns = 0;
    assert_int_equal(eu->client->block, SK_BLOCK_FOLD);
    for (; again == 0; turns++) {
        assert_true(turns < 100);
        turn_in_steps(eu);
    }
    again = 0;
    assert_true(turns > 2);
}

static void close_equal(region *eu, region *us)
{
    for (int i = 0; i < 100; i++) {
        region_turn(us, 5);
        region_turn(eu, 5);
    }
    assert_false(sk_fold_active(&eu->replica->db));
    assert_true(eu->replica->db.digest == us->replica->db.digest);
    assert_int_equal(eu->replica->blocked_count, 0);
    sk_db_check(&eu->replica->db);
    region_close(eu);
    region_close(us);
}

static void a_command_waits_for_a_large_key_and_others_do_not(void **state)
{
    (void)state;
    region eu, us;
    regions_folding(&eu, &us);
    uint32_t before = staged_rows(&eu);
    expect(&eu, "HLEN big", "");
    assert_true(before - staged_rows(&eu) <= SK_FOLD_ROWS);
    before = staged_rows(&eu);
    sk_client *other = sk_client_new(eu.replica), *same = sk_client_new(eu.replica);
    same->unblocked = count_again;
    assert_string_equal(ask_as(&eu, other, "GET z"), "$3 new");
    assert_string_equal(ask_as(&eu, same, "HGET big f1"), "");
    assert_int_equal(before - staged_rows(&eu), 1); /* who asks for the same key does nothing for it */
    wait_for_rows(&eu);
    assert_int_equal(same->block, SK_BLOCK_NONE);
    expect(&eu, "HLEN big", ":2001");
    sk_client_free(other);
    sk_client_free(same);
    close_equal(&eu, &us);
}

static void a_multi_waits_before_it_begins(void **state)
{
    (void)state;
    region eu, us;
    regions_folding(&eu, &us);
    expect(&eu, "MULTI", "+OK");
    expect(&eu, "SET first v", "+QUEUED");
    expect(&eu, "HSET big f0 mine", "+QUEUED");
    uint64_t made = transactions(&eu);
    expect(&eu, "EXEC", "");
    wait_for_rows(&eu);
    assert_int_equal(transactions(&eu), made);
    expect(&eu, "EXEC", "*2 +OK :0");
    assert_int_equal(transactions(&eu), made + 1);
    close_equal(&eu, &us);
}

static void a_watched_key_is_waited_for(void **state)
{
    (void)state;
    region eu, us;
    regions_folding(&eu, &us);
    expect(&eu, "WATCH big", "");
    wait_for_rows(&eu);
    expect(&eu, "WATCH big", "+OK");
    expect(&eu, "MULTI", "+OK");
    expect(&eu, "EXEC", "*0");
    close_equal(&eu, &us);
}

static void who_looks_at_all_keys_waits_for_the_end(void **state)
{
    (void)state;
    region eu, us;
    regions_folding(&eu, &us);
    expect(&eu, "DBSIZE", "");
    wait_for_rows(&eu);
    assert_false(sk_fold_active(&eu.replica->db));
    expect(&eu, "DBSIZE", ":2");
    close_equal(&eu, &us);
}

/* Two large keys: one after the other. */
static void each_who_waits_gets_its_turn(void **state)
{
    (void)state;
    region eu, us;
    regions_folding(&eu, &us);
    sk_client *other = sk_client_new(eu.replica);
    expect(&eu, "HLEN big", "");
    eu.replica->fold_rows = 1; /* of z there is no more than one, and what comes behind it is not known */
    other->unblocked = count_again;
    assert_string_equal(ask_as(&eu, other, "GET z"), "");
    eu.replica->fold_rows = SK_FOLD_ROWS;
    wait_for_rows(&eu);
    for (int i = 0; i < 3 && other->block; i++) turn_in_steps(&eu);
    assert_string_equal(ask_as(&eu, other, "GET z"), "$3 new");
    expect(&eu, "HLEN big", ":2001");
    sk_client_free(other);
    close_equal(&eu, &us);
}

/* It is held back by the engine, with what follows it. */
static void a_transaction_of_another_region_waits_for_a_large_key(void **state)
{
    (void)state;
    region eu, us;
    int turns = 0;
    regions_folding(&eu, &us);
    expect(&us, "HSET big f0 later", ":0");
    expect(&us, "SET z later", "+OK");
    region_turn(&us, 1);
    region_turn(&us, 5);
    uint32_t origin = us.replica->db.own;
    uint64_t all = sk_vv_get(&us.replica->db.vv, origin);
    assert_true(sk_origins_find(&eu.replica->db.origins, sk_bytes_str("us"),
                                us.replica->db.origins.list[origin].incarnation, &origin));
    assert_int_equal(sk_vv_get(&eu.replica->db.vv, origin), all - 2);
    for (; sk_vv_get(&eu.replica->db.vv, origin) < all; turns++) {
        assert_true(turns < 100);
        turn_in_steps(&eu);
        region_turn(&us, 1);
    }
    assert_true(turns > 2);
    expect(&eu, "HGET big f0", "$5 later");
    expect(&eu, "GET z", "$5 later");
    assert_int_equal(sk_engine_peer_status(eu.replica->engine, 0).duplicate_txns, 0);
    close_equal(&eu, &us);
}

/* Then nothing gets on: reads go on all the same. */
static void nobody_waits_for_a_disk_that_fails(void **state)
{
    (void)state;
    region eu, us;
    regions_folding(&eu, &us);
    expect(&eu, "HLEN big", "");
    sk_memory_fail(eu.store, 0, SK_E_IO);
    sk_replica_turn(eu.replica);
    (void)sk_memory_sync(eu.store, UINT64_MAX);
    sk_replica_reap(eu.replica);
    assert_true(eu.replica->store_error);
    assert_int_equal(again, 1);
    expect(&eu, "HLEN big", ":2001");
    sk_memory_fail(eu.store, 0, SK_OK);
    sk_replica_time(eu.replica, eu.replica->now_ms + 2000, eu.replica->wall_ms + 2000);
    sk_replica_reap(eu.replica);
    assert_false(eu.replica->store_error);
    close_equal(&eu, &us);
}

/* What is put into place is to be on the disk before much more is: others write there too. */
static void it_does_not_run_ahead_of_the_disk(void **state)
{
    (void)state;
    region eu, us;
    static char large[1025];
    memset(large, 'v', sizeof large - 1);
    value = large;
    regions_folding(&eu, &us);
    value = "v";
    expect(&eu, "HLEN big", "");
    for (int slow = 0; slow < 2; slow++) { /* a disk that takes its time, twice */
        uint32_t before = staged_rows(&eu);
        for (int i = 0; i < 20; i++) sk_replica_turn(eu.replica);
        assert_in_range(before - staged_rows(&eu), 1, 1024 + SK_FOLD_ROWS); /* a megabyte, about */
        sk_replica_reap(eu.replica);
        assert_true(sk_replica_next_ms(eu.replica) > eu.replica->now_ms);
        assert_int_equal(sk_memory_sync(eu.disk, UINT64_MAX), 0);
        sk_replica_reap(eu.replica);
        if (!slow) assert_int_equal(sk_replica_next_ms(eu.replica), eu.replica->now_ms);
    }
    while (again == 0) region_turn(&eu, 1);
    expect(&eu, "HLEN big", ":2001");
    close_equal(&eu, &us);
}

/* A key that has expired is brought into place in steps too, and then removed. */
static void a_large_key_that_expires_goes_in_steps(void **state)
{
    (void)state;
    region eu, us;
    regions_folding(&eu, &us);
    eu.replica->fold_rows = 1;
    for (int i = 0; i < 7; i++) {
        region_turn(&us, 500);
        region_turn(&eu, 500);
    }
    assert_true(staged_rows(&eu) > FIELDS / 2);
    eu.replica->fold_rows = SK_FOLD_ROWS;
    uint64_t made = transactions(&eu);
    for (int turns = 0; transactions(&eu) == made; turns++) {
        assert_true(turns < 100);
        turn_in_steps(&eu);
        region_turn(&us, 1);
    }
    expect(&eu, "EXISTS big", ":0");
    close_equal(&eu, &us);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_command_waits_for_a_large_key_and_others_do_not),
        cmocka_unit_test(a_multi_waits_before_it_begins),
        cmocka_unit_test(a_watched_key_is_waited_for),
        cmocka_unit_test(who_looks_at_all_keys_waits_for_the_end),
        cmocka_unit_test(each_who_waits_gets_its_turn),
        cmocka_unit_test(a_transaction_of_another_region_waits_for_a_large_key),
        cmocka_unit_test(nobody_waits_for_a_disk_that_fails),
        cmocka_unit_test(it_does_not_run_ahead_of_the_disk),
        cmocka_unit_test(a_large_key_that_expires_goes_in_steps),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
