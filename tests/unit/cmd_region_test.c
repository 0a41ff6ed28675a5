/* REGION ADD, FORGET and REKEY: what they refuse, what they write, and that the engine's peers follow. */
#include "tests/unit/replica_harness.h"

#define KEY_A "aa00000000000000000000000000000000000000000000000000000000000001"
#define KEY_B "bb00000000000000000000000000000000000000000000000000000000000002"

static region eu;

static int start(void **state)
{
    (void)state;
    static const char *const peers[] = {"us"};
    region_open(&eu, "eu", peers, NULL);
    return 0;
}

static int stop(void **state)
{
    (void)state;
    region_close(&eu);
    return 0;
}

static bool is_peer(const char *name) { return sk_replica_peer(eu.replica, sk_bytes_str(name)) >= 0; }

/* After the turn in which it is followed. */
static void told(const char *request)
{
    expect(&eu, request, "+OK");
    region_turn(&eu, 1);
    sk_engine_check(eu.replica->engine);
}

static const sk_member *found(const char *name)
{
    const sk_member *member = sk_members_region(&eu.replica->members, sk_bytes_str(name));
    assert_non_null(member);
    return member;
}

static void a_region_is_added(void **state)
{
    (void)state;
    told("REGION ADD ap " KEY_A " 10.0.0.3:7201 [::1]:7202");
    assert_true(is_peer("ap"));
    assert_int_equal(found("ap")->record.addresses.count, 2);
    assert_true(sk_bytes_equal(found("ap")->record.addresses.text[1], sk_bytes_str("[::1]:7202")));
    /* With it everybody is written down who was a member by the configuration alone, and the region itself. */
    assert_true(found("us")->has_row);
    assert_true(found("eu")->has_row && found("eu")->is_own);
    told("REGION ADD ap " KEY_A " 10.0.0.4:7201"); /* it moves */
    assert_int_equal(found("ap")->record.addresses.count, 1);
    assert_int_equal(sk_engine_others(eu.replica->engine), 2);
    told("REGION ADD sa " KEY_B); /* it dials, as one behind NAT does */
    assert_int_equal(found("sa")->record.addresses.count, 0);
    expect_begins(&eu, "REGION LAG", "*3");
}

static void what_cannot_be_is_refused(void **state)
{
    (void)state;
    told("REGION ADD ap " KEY_A " h:1");
    uint64_t before = sk_vv_get(&eu.replica->db.vv, eu.replica->db.own);
    static const char *const requests[][2] = {
        {"REGION ADD eu " KEY_B " h:1", "-ERR this is the region itself"},
        {"REGION ADD us " KEY_B " h:1", "-ERR region us is a member with another key"},
        {"REGION ADD sa " KEY_A " h:1", "-ERR this is the key of region ap"},
        {"REGION ADD sa abc h:1", "-ERR abc is not a public key"},
        {"REGION ADD sa 0000000000000000000000000000000000000000000000000000000000000000 h:1", "-ERR"},
        {"REGION ADD sa " KEY_B " h", "-ERR h is not host:port"},
        {"REGION ADD sa " KEY_B " h:1 h:2 h:3 h:4 h:5 h:6 h:7 h:8 h:9", "-ERR a region has at most 8 addresses"},
        {"REGION ADD SA " KEY_B " h:1", "-ERR this is not a region's name"},
        {"REGION ADD sa", "-ERR wrong number of arguments"},
        {"REGION ADD sa " KEY_B " h:1 h:1", "-ERR h:1 is given twice"},
        {"REGION FORGET sa", "-ERR no region of that name"},
        {"REGION FORGET eu", "-ERR this is the region itself"},
        {"REGION FORGET ap " KEY_A " more", "-ERR syntax error"},
        {"REGION REKEY sa " KEY_B, "-ERR no region of that name"},
        {"REGION REKEY ap " KEY_A, "-ERR this is the key that it has"},
        {"REGION REKEY ap " KEY_B " KEEP -1", "-ERR KEEP"},
        {"REGION REKEY ap " KEY_B " KEEP", "-ERR syntax error"},
        {"REGION REKEY ap " KEY_B " KEEP x", "-ERR value is not an integer"},
    };
    for (size_t i = 0; i < sizeof requests / sizeof *requests; i++) expect_begins(&eu, requests[i][0], requests[i][1]);
    assert_int_equal(sk_vv_get(&eu.replica->db.vv, eu.replica->db.own), before);
}

static void no_more_than_fit_are_added(void **state)
{
    (void)state;
    char request[200];
    for (int i = 0; i < SK_MEMBERS_MAX - 2; i++) {
        snprintf(request, sizeof request, "REGION ADD r%d %02x%s h:1", i, i + 1, &KEY_A[2]);
        told(request);
    }
    assert_int_equal(sk_engine_others(eu.replica->engine), SK_MEMBERS_MAX - 1);
    expect_begins(&eu, "REGION ADD more " KEY_B " h:1", "-ERR a cluster has at most 64 regions");
    told("REGION FORGET r7");
    told("REGION ADD more " KEY_B " h:1");
    assert_true(is_peer("more"));
}

static void one_is_forgotten_and_added_again(void **state)
{
    (void)state;
    told("REGION ADD ap " KEY_A " h:1");
    told("REGION FORGET ap");
    assert_false(is_peer("ap"));
    assert_int_equal(eu.replica->members.forgotten, 1);
    assert_non_null(strstr(ask(&eu, "REGION LIST"), "forgotten by eu; every region has all that there is"));
    told("REGION FORGET ap"); /* nothing new */
    told("REGION ADD ap " KEY_A " h:1");
    assert_true(is_peer("ap"));
    assert_int_equal(eu.replica->members.forgotten, 0);
    assert_int_equal(found("ap")->record.forgets, 1);
    told("REGION FORGET us"); /* also one that only the configuration names */
    assert_false(is_peer("us"));
}

static bool may_return(uint32_t origin) { return eu.replica->db.may_return(eu.replica, origin); }

/* Of whom may a database that is no member have more than the members? Their dead counts are kept. */
static void what_may_return_is_known(void **state)
{
    (void)state;
    uint32_t first = eu.replica->db.own, theirs, strangers;
    assert_int_equal(sk_db_intern(&eu.replica->db, sk_bytes_str("us"), 7, &theirs), 0);
    assert_int_equal(sk_db_intern(&eu.replica->db, sk_bytes_str("ap"), 7, &strangers), 0);
    assert_int_equal(sk_engine_reincarnate(eu.replica->engine, eu.replica->now_ms, eu.replica->wall_ms), 0);
    assert_false(may_return(eu.replica->db.own) || may_return(first) || may_return(theirs));
    assert_true(may_return(strangers));
    told("REGION ADD ap " KEY_A " h:1");
    assert_false(may_return(strangers));
    told("REGION FORGET ap");
    assert_true(may_return(strangers));
    assert_true(may_return(first)); /* an earlier one of our own: the forgotten one may have more of it than is left here */
    assert_true(may_return(theirs)); /* not known to be what us writes under now */
    assert_false(may_return(eu.replica->db.own));
    told("REGION ADD ap " KEY_A " h:1");
    assert_false(may_return(first) || may_return(theirs));
}

static void a_key_is_replaced(void **state)
{
    (void)state;
    uint8_t old[SK_MEMBER_KEY], new[SK_MEMBER_KEY];
    told("REGION ADD ap " KEY_A " h:1");
    memcpy(old, found("ap")->public_key, sizeof old);
    told("REGION REKEY ap " KEY_B " KEEP 10");
    memcpy(new, found("ap")->public_key, sizeof new);
    assert_memory_not_equal(old, new, sizeof old);
    assert_int_equal(found("ap")->record.addresses.count, 1); /* it is where it was */
    const sk_members *members = &eu.replica->members;
    uint64_t now = eu.replica->wall_ms;
    sk_bytes ap = sk_bytes_str("ap");
    assert_int_equal(sk_members_judge(members, ap, new, now), SK_OK);
    assert_int_equal(sk_members_judge(members, ap, old, now + 9000), SK_OK);
    assert_int_equal(sk_members_judge(members, ap, old, now + 10001), SK_E_REPLACED);
}

static void ones_own_key_is_replaced(void **state)
{
    (void)state;
    told("REGION REKEY eu " KEY_B);
    const sk_members *members = &eu.replica->members;
    const sk_member *own = sk_members_find(members, sk_bytes_str("eu"), region_key("eu"));
    assert_non_null(own);
    assert_int_equal(own->record.state, SK_MEMBER_REPLACED);
    assert_int_equal(sk_engine_others(eu.replica->engine), 1); /* it is no peer of its own */
}

/* Two regions hear of each other's changes, and follow them. */
static void the_others_follow(void **state)
{
    (void)state;
    region a, b;
    regions_open(&a, &b);
    expect(&a, "REGION ADD ap " KEY_A " h:1", "+OK");
    region_turn(&a, 1);
    assert_int_equal(sk_replica_peer(b.replica, sk_bytes_str("ap")), -1);
    regions_meet(&a, &b);
    assert_true(sk_replica_peer(b.replica, sk_bytes_str("ap")) >= 0);
    /* At once, apart from each other: one forgets it, the other moves it. Forgotten counts. */
    expect(&a, "REGION FORGET ap", "+OK");
    expect(&b, "REGION ADD ap " KEY_A " elsewhere:1", "+OK");
    region_turn(&a, 1);
    region_turn(&b, 1);
    assert_true(sk_replica_peer(b.replica, sk_bytes_str("ap")) >= 0);
    regions_meet(&a, &b);
    assert_int_equal(sk_replica_peer(a.replica, sk_bytes_str("ap")), -1);
    assert_int_equal(sk_replica_peer(b.replica, sk_bytes_str("ap")), -1);
    /* Who knows that may add it again. */
    expect(&b, "REGION ADD ap " KEY_A " elsewhere:1", "+OK");
    region_turn(&b, 1);
    regions_meet(&a, &b);
    assert_true(sk_replica_peer(a.replica, sk_bytes_str("ap")) >= 0);
    assert_int_equal(sk_members_region(&a.replica->members, sk_bytes_str("ap"))->record.forgets, 1);
    region_close(&a);
    region_close(&b);
}

/* One name, two keys, at once on two sides: the same one counts on both. */
static void two_of_one_name(void **state)
{
    (void)state;
    region a, b;
    regions_open(&a, &b);
    expect(&a, "REGION ADD ap " KEY_A " h:1", "+OK");
    sk_replica_time(b.replica, b.replica->now_ms, b.replica->wall_ms + 50);
    expect(&b, "REGION ADD ap " KEY_B " h:2", "+OK");
    region_turn(&a, 1);
    region_turn(&b, 1);
    regions_meet(&a, &b);
    const sk_member *one = sk_members_region(&a.replica->members, sk_bytes_str("ap"));
    const sk_member *two = sk_members_region(&b.replica->members, sk_bytes_str("ap"));
    assert_memory_equal(one->public_key, two->public_key, SK_MEMBER_KEY);
    assert_int_equal(one->public_key[0], 0xbb); /* the later one */
    uint8_t other[SK_MEMBER_KEY] = {0xaa};
    other[SK_MEMBER_KEY - 1] = 1;
    assert_int_equal(sk_members_judge(&a.replica->members, sk_bytes_str("ap"), other, WALL_MS), SK_E_CLASH);
    assert_non_null(strstr(ask(&a, "REGION LIST"), "another database was added as region ap later"));
    expect(&a, "REGION FORGET ap " KEY_B, "+OK"); /* it was the wrong one */
    region_turn(&a, 1);
    regions_meet(&a, &b);
    assert_int_equal(sk_members_region(&b.replica->members, sk_bytes_str("ap"))->public_key[0], 0xaa);
    region_close(&a);
    region_close(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_region_is_added, start, stop),
        cmocka_unit_test_setup_teardown(what_cannot_be_is_refused, start, stop),
        cmocka_unit_test_setup_teardown(no_more_than_fit_are_added, start, stop),
        cmocka_unit_test_setup_teardown(one_is_forgotten_and_added_again, start, stop),
        cmocka_unit_test_setup_teardown(what_may_return_is_known, start, stop),
        cmocka_unit_test_setup_teardown(a_key_is_replaced, start, stop),
        cmocka_unit_test_setup_teardown(ones_own_key_is_replaced, start, stop),
        cmocka_unit_test(the_others_follow),
        cmocka_unit_test(two_of_one_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
