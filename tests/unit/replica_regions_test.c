/* What a command in one region owes to what another has done: each a mistake that was planted and that nothing else saw. */
#include "node/context.h"
#include "node/fold.h"
#include "tests/unit/replica_harness.h"

static void an_old_context_leaves_what_it_has_not_seen(void **state)
{
    (void)state;
    region eu, us;
    char context[1024], request[2048];
    regions_open(&eu, &us);
    expect(&eu, "SET k a", "+OK");
    expect(&us, "SET k b", "+OK");
    expect(&eu, "HSET h f a", ":1");
    regions_meet(&eu, &us);
    assert_int_equal(sscanf(ask(&eu, "SIBLINGS GET k"), "*4 $7 context $%*d %1023s", context), 1);
    expect(&us, "SET k c", "+OK"); /* in the place of both, and unseen by the context */
    regions_meet(&eu, &us);
    expect(&eu, "GET k", "$1 c");
    snprintf(request, sizeof request, "SIBLINGS RESOLVE k %s x", context);
    expect(&eu, request, ":2");
    expect_begins(&eu, "GET k", "-CONFLICT");
    regions_meet(&eu, &us);
    expect_begins(&us, "GET k", "-CONFLICT");
    region_close(&eu);
    region_close(&us);
}

static void a_clock_far_ahead_drags_nobody_along(void **state)
{
    (void)state;
    region eu, us;
    regions_open(&eu, &us);
    sk_replica_time(us.replica, us.replica->now_ms, us.replica->wall_ms + 3600 * 1000);
    expect(&us, "SET k ahead", "+OK");
    regions_meet(&eu, &us);
    expect(&eu, "GET k", "$5 ahead"); /* it is taken as it came */
    assert_true(sk_hlc_ms(eu.replica->db.clock) <= eu.replica->wall_ms + SK_HLC_AHEAD_MS_MAX);
    expect(&eu, "SET k later", "+OK"); /* and does not win over what saw it */
    regions_meet(&eu, &us);
    expect(&us, "GET k", "$5 later");
    region_close(&eu);
    region_close(&us);
}

#define TEN_YEARS_MS (10ull * 365 * 86400 * 1000)

/* Once it has heard another, a region whose clock jumps ahead stamps as the other's clock allows, cut off or not; and it
 * takes no keys away whose deadline only it has reached. Set right, it goes on from there. */
static void a_clock_ten_years_ahead_wins_nothing(void **state)
{
    (void)state;
    region eu, us;
    regions_open(&eu, &us);
    expect(&eu, "SET k 1", "+OK");
    expect(&eu, "SET lives x EX 1000", "+OK");
    expect(&us, "SET too y EX 1000", "+OK");
    regions_meet(&eu, &us);
    assert_true(sk_engine_clock(us.replica->engine, us.replica->now_ms, us.replica->wall_ms).known);
    sk_replica_time(us.replica, us.replica->now_ms, us.replica->wall_ms + TEN_YEARS_MS);
    expect(&us, "SET k ahead", "+OK");
    expect(&us, "GET lives", "$-1"); /* by its clock it is gone */
    for (int i = 0; i < 40; i++) region_turn(&us, 100);
    assert_in_range(sk_hlc_ms(us.replica->db.clock), WALL_MS, WALL_MS + SK_HLC_AHEAD_MS_MAX + 60000);
    uint64_t minutes = 2 * SK_HLC_AHEAD_MS_MAX; /* go by */
    sk_replica_time(eu.replica, eu.replica->now_ms + minutes, eu.replica->wall_ms + minutes);
    expect(&eu, "SET k later", "+OK");
    expect(&eu, "POLICY SET k newest", "+OK");
    regions_meet(&eu, &us);
    expect(&eu, "GET k", "$5 later");
    expect(&us, "GET k", "$5 later");
    expect(&eu, "GET lives", "$1 x");
    expect(&eu, "GET too", "$1 y");
    expect(&us, "GET lives", "$-1");
    sk_replica_time(us.replica, us.replica->now_ms, eu.replica->wall_ms);
    expect(&us, "GET lives", "$1 x");
    expect(&us, "SET k right", "+OK");
    assert_in_range(sk_hlc_ms(us.replica->db.clock), WALL_MS, us.replica->wall_ms + SK_HLC_LEAD_MS_MAX);
    region_close(&eu);
    region_close(&us);
}

/* What its clock alone has reached is hidden there. What changes a key finds it as it stands, and takes away no more than
 * was asked for. */
static void a_clock_ahead_hides_keys_and_changes_them_as_they_stand(void **state)
{
    (void)state;
    static const char *const changes[][4] = {
        /* by us, whose clock is ahead     its reply  then in eu    shows */
        {"EXPIRE s 1800", ":1", "GET s", "$1 v"},
        {"EXPIRE s 1800 LT", ":0", "GET s", "$1 v"},
        {"PERSIST s", ":1", "TTL s", ":-1"},
        {"SET s x XX GET", "$-1", "GET s", "$1 x"},
        {"SETNX s x", ":0", "GET s", "$1 v"},
        {"SET s x NX", "$-1", "GET s", "$1 v"},
        {"MSETNX new 1 s x", ":0", "GET s", "$1 v"},
        {"GETEX s", "$1 v", "GET s", "$1 v"},
        {"GETDEL s", "$-1", "GET s", "$1 v"},
        {"APPEND s x", ":2", "GET s", "$2 vx"},
        {"INCR n", ":8", "GET n", "$1 8"},
        {"HSET h f 2", ":1", "HGET h e", "$1 1"},
        {"HDEL h none", ":0", "HGET h e", "$1 1"},
        {"SREM m none", ":0", "SCARD m", ":2"},
        {"SADD m c", ":1", "SCARD m", ":3"},
        {"SMOVE m to a", ":1", "SCARD m", ":1"},
        {"RENAMENX n m", ":0", "SCARD m", ":2"},
        {"EXPIREAT s 1700002700", ":1", "GET s", "$1 v"}, /* past by its clock */
        {"SET s x", "+OK", "TTL s", ":-1"},
        {"DEL s", ":1", "GET s", "$-1"},
        {"EXPIRE s -1", ":1", "GET s", "$-1"},
    };
    for (size_t i = 0; i < sizeof changes / sizeof *changes; i++) {
        region eu, us;
        regions_open(&eu, &us);
        expect(&eu, "SET s v EX 1800", "+OK");
        expect(&eu, "SET n 7 EX 1800", "+OK");
        expect(&eu, "HSET h e 1", ":1");
        expect(&eu, "SADD m a b", ":2");
        expect(&eu, "EXPIRE h 1800", ":1");
        expect(&eu, "EXPIRE m 1800", ":1");
        regions_meet(&eu, &us);
        sk_replica_time(us.replica, us.replica->now_ms, us.replica->wall_ms + 3600 * 1000);
        expect(&us, "EXISTS s n h m", ":0");
        expect(&us, changes[i][0], changes[i][1]);
        regions_meet(&eu, &us);
        expect(&eu, changes[i][2], changes[i][3]);
        region_close(&eu);
        region_close(&us);
    }
}

/* It was ahead before it had heard anybody: what it wrote then is stamped so, but nothing after. */
static void a_clock_that_began_ahead_comes_back(void **state)
{
    (void)state;
    region eu, us;
    regions_open(&eu, &us);
    sk_replica_time(us.replica, us.replica->now_ms, us.replica->wall_ms + TEN_YEARS_MS);
    expect(&us, "SET early us", "+OK");
    assert_true(sk_hlc_ms(us.replica->db.clock) >= WALL_MS + TEN_YEARS_MS);
    regions_meet(&eu, &us);
    expect(&us, "SET k us", "+OK");
    assert_in_range(sk_hlc_ms(us.replica->db.clock), WALL_MS, eu.replica->wall_ms + SK_HLC_AHEAD_MS_MAX + SK_HLC_LEAD_MS_MAX);
    expect(&us, "SET early later", "+OK"); /* it saw that one: no time matters */
    regions_meet(&eu, &us);
    expect(&eu, "GET early", "$5 later");
    region_close(&eu);
    region_close(&us);
}

static void watch_sees_a_change_within_a_member(void **state)
{
    (void)state;
    region eu, us;
    regions_open(&eu, &us);
    expect(&eu, "HSET h f 1", ":1");
    regions_meet(&eu, &us);
    for (int from_elsewhere = 0; from_elsewhere < 2; from_elsewhere++) {
        expect(&eu, "WATCH h", "+OK");
        expect(from_elsewhere ? &us : &eu, "HSET h f 2", ":0"); /* the hash keeps its size */
        regions_meet(&eu, &us);
        expect(&eu, "MULTI", "+OK");
        expect(&eu, "EXEC", "*-1");
    }
    region_close(&eu);
    region_close(&us);
}

enum { OTHER_KEYS = 1000 }; /* more than one step of the fold puts into place */

/* Two regions, of which eu has just been brought by a transfer what us wrote: nearly none of it is in its place yet. `z`, the
 * last of all keys, was "old" to both before, and is "new"; eu's client had watched it. */
static void regions_folding(region *eu, region *us)
{
    static const char *const peers[] = {"eu"};
    char request[32];
    regions_open(eu, us);
    expect(us, "SET z old", "+OK");
    regions_meet(eu, us);
    for (int i = 0; i < OTHER_KEYS; i++) {
        snprintf(request, sizeof request, "SET k%d v", i);
        expect(us, request, "+OK");
    }
    expect(us, "SET z new", "+OK");
    region_turn(us, 1);
    sk_replica_free(us->replica);
    region_boot(us, "us", peers, NULL); /* none of it is in its ring any more */
    expect(eu, "WATCH z", "+OK");
    sk_replica_link_up(eu->replica, 0);
    sk_replica_link_up(us->replica, 0);
    for (int i = 0; i < 100 && !sk_fold_active(&eu->replica->db); i++) {
        region_turn(us, 5);
        region_turn(eu, 5);
    }
    assert_true(sk_fold_active(&eu->replica->db));
}

/* What a transfer has brought is a change from the moment that it counts, also where its row is not in its place yet. */
static void watch_sees_what_a_transfer_brought(void **state)
{
    (void)state;
    region eu, us;
    regions_folding(&eu, &us);
    expect(&eu, "MULTI", "+OK");
    expect(&eu, "SET other mine", "+QUEUED");
    expect(&eu, "EXEC", "*-1");
    assert_true(sk_fold_active(&eu.replica->db));
    expect(&eu, "GET z", "$3 new");
    region_close(&eu);
    region_close(&us);
}

/* Who looks at everything has all of it brought into place first, and put to the disk meanwhile: not held in memory as one
 * batch. In a MULTI too, before it begins. */
static void a_whole_transfer_is_no_one_batch(void **state)
{
    (void)state;
    region eu, us;
    for (int multi = 0; multi < 2; multi++) {
        regions_folding(&eu, &us);
        uint64_t sealed = eu.replica->last_sealed;
        if (multi) {
            expect(&eu, "UNWATCH", "+OK");
            expect(&eu, "MULTI", "+OK");
            expect(&eu, "SET first v", "+QUEUED");
            expect(&eu, "DBSIZE", "+QUEUED");
            expect(&eu, "EXEC", "*2 +OK :1002");
        } else {
            expect(&eu, "DBSIZE", ":1001");
        }
        assert_false(sk_fold_active(&eu.replica->db));
        assert_int_equal(eu.replica->last_sealed, sealed + 2); /* 745 rows are left, 256 are put into place at a time */
        sk_db_check(&eu.replica->db);
        region_close(&eu);
        region_close(&us);
    }
}

/* It may rest on all that is there now, and on nothing that is yet to come. */
static void take_late_reply(void *owner, sk_client *client, sk_bytes reply)
{
    region *self = owner;
    assert_true(client->hold <= sk_replica_newest_batch(self->replica));
    sk_buf_reset(&self->reply);
    sk_buf_bytes(&self->reply, reply);
}

/* What a client waited for is here: it is told so once that is on the disk, whether anybody writes or not. */
static void a_session_that_waited_is_answered(void **state)
{
    (void)state;
    region eu, us;
    char request[2048];
    regions_open(&eu, &us);
    expect(&eu, "SET k 1", "+OK");
    regions_meet(&eu, &us);
    expect(&us, "SET k 2", "+OK");
    strcpy(request, "SESSION AFTER ");
    assert_int_equal(sscanf(ask(&us, "SESSION TOKEN"), "$%*d %1023s", request + strlen(request)), 1);
    eu.client->owner = &eu;
    eu.client->unblocked = take_late_reply;
    expect(&eu, request, "");
    regions_meet(&eu, &us);
    assert_true(sk_bytes_equal(sk_buf_view(&eu.reply), sk_bytes_str("+OK\r\n")));
    expect(&eu, "GET k", "$1 2");
    region_close(&eu);
    region_close(&us);
}

/* What it waited for is no origin here any more: its number may be another's soon. */
static void a_session_after_what_is_undone_is_behind(void **state)
{
    (void)state;
    region eu, us;
    char request[2048];
    sk_vv vv = {0};
    sk_arena arena = {0};
    uint32_t origin;
    regions_open(&eu, &us);
    expect(&eu, "SET k 1", "+OK");
    region_turn(&eu, 1);
    eu.client->owner = &eu;
    eu.client->unblocked = take_late_reply;
    assert_int_equal(sk_db_intern(&eu.replica->db, sk_bytes_str("zz"), 7, &origin), 0);
    sk_vv_set(&vv, origin, 5);
    sk_bytes token = sk_context_text(&eu.replica->db, &vv, SK_BYTES_NONE, NULL, &arena);
    snprintf(request, sizeof request, "SESSION AFTER %.*s TIMEOUT 100000", (int)token.len, (const char *)token.data);
    expect(&eu, request, "");
    sk_memory_fail(eu.store, 0, SK_E_IO);
    sk_replica_turn(eu.replica);
    (void)sk_memory_sync(eu.store, UINT64_MAX);
    sk_replica_reap(eu.replica);
    assert_true(eu.replica->db.origins.count <= origin);
    assert_int_equal(strncmp((char *)eu.reply.data, "-BEHIND", 7), 0);
    sk_vv_free(&vv);
    sk_arena_free(&arena);
    sk_memory_fail(eu.store, 0, SK_OK);
    region_close(&eu);
    region_close(&us);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_old_context_leaves_what_it_has_not_seen),
        cmocka_unit_test(a_clock_far_ahead_drags_nobody_along),
        cmocka_unit_test(a_clock_ten_years_ahead_wins_nothing),
        cmocka_unit_test(a_clock_ahead_hides_keys_and_changes_them_as_they_stand),
        cmocka_unit_test(a_clock_that_began_ahead_comes_back),
        cmocka_unit_test(watch_sees_a_change_within_a_member),
        cmocka_unit_test(watch_sees_what_a_transfer_brought),
        cmocka_unit_test(a_whole_transfer_is_no_one_batch),
        cmocka_unit_test(a_session_that_waited_is_answered),
        cmocka_unit_test(a_session_after_what_is_undone_is_behind),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
