/* What rows say about members, beside the configuration. */
#include "node/member.h"
#include "tests/unit/two_databases.h"

static const uint8_t KEY_1[SK_MEMBER_KEY] = {1}, KEY_2[SK_MEMBER_KEY] = {2}, OWN_KEY[SK_MEMBER_KEY] = {9};
static sk_members members;
static const char *trusted;

static int stop(void **state)
{
    sk_members_free(&members);
    trusted = NULL;
    return close_both(state);
}

static void load(database *with, const sk_member_seed *seeds, uint32_t count, uint32_t most)
{
    sk_member_self self = {"a", OWN_KEY, seeds, count, trusted};
    assert_int_equal(sk_members_load(&with->db, &self, most, &members), 0);
}

static void write_bytes(database *with, const char *region, const uint8_t *key, sk_bytes value)
{
    sk_row row;
    sk_op op = {0};
    sk_row_name name =
        sk_row_name_of(&with->arena, SK_TABLE_MEMBER, sk_bytes_str(region), sk_bytes_of(key, SK_MEMBER_KEY));
    sk_db_begin(&with->db);
    assert_int_equal(sk_db_row(&with->db, name.raw, &with->arena, &row), 0);
    assert_int_equal(sk_register_write(&op, &row, with->db.own, value, &with->arena), 0);
    assert_int_equal(sk_db_change(&with->db, &name, NULL, &op), 0);
    assert_int_not_equal(sk_db_commit(&with->db), 0);
    assert_true(with->db.members_stale);
    commit(with);
}

static void say(database *with, const char *region, const uint8_t *key, sk_member_record record)
{
    sk_buf value = {0};
    sk_member_pack(&value, &record);
    write_bytes(with, region, key, sk_buf_view(&value));
    sk_buf_free(&value);
}

static sk_member_state state_of(const char *region, const uint8_t *key)
{
    const sk_member *member = sk_members_find(&members, sk_bytes_str(region), key);
    assert_non_null(member);
    return member->record.state;
}

static bool chosen(const char *region, const uint8_t *key)
{
    const sk_member *member = sk_members_find(&members, sk_bytes_str(region), key);
    assert_non_null(member);
    return member->chosen;
}

static void a_record_reads_as_it_was_packed(void **state)
{
    (void)state;
    sk_member_record record = {.state = SK_MEMBER_REPLACED, .until_ms = 1700000000123, .forgets = 3}, read;
    record.addresses.text[0] = sk_bytes_str("h:1");
    record.addresses.text[1] = sk_bytes_str("[::1]:2");
    record.addresses.count = 2;
    sk_buf packed = {0};
    sk_member_pack(&packed, &record);
    assert_true(sk_member_read(sk_buf_view(&packed), &read));
    assert_int_equal(read.state, SK_MEMBER_REPLACED);
    assert_int_equal(read.until_ms, 1700000000123);
    assert_int_equal(read.forgets, 3);
    assert_int_equal(read.addresses.count, 2);
    assert_bytes_equal(read.addresses.text[1], sk_bytes_str("[::1]:2"));
    for (size_t len = 0; len < packed.len; len++) assert_false(sk_member_read(sk_bytes_of(packed.data, len), &read));
    sk_buf_byte(&packed, 0);
    assert_false(sk_member_read(sk_buf_view(&packed), &read)); /* bytes behind the end */
    sk_buf_free(&packed);
}

static void records_that_lie_are_not_read(void **state)
{
    (void)state;
    sk_member_record read;
    sk_buf packed = {0};
    for (int kind = 0; kind < 3; kind++) {
        sk_buf_reset(&packed);
        sk_pack_uint(&packed, kind == 0 ? SK_MEMBER_FORGOTTEN + 1 : SK_MEMBER_IN);
        sk_pack_uint(&packed, 0);
        sk_pack_uint(&packed, 0);
        sk_pack_array(&packed, kind == 1 ? SK_MEMBER_ADDRESSES_MAX + 1 : 1);
        for (int i = 0; i < (kind == 1 ? SK_MEMBER_ADDRESSES_MAX + 1 : 1); i++) {
            static const uint8_t text[SK_MEMBER_ADDRESS_BYTES + 1];
            sk_pack_bytes(&packed, sk_bytes_of(text, kind == 2 ? sizeof text : 3));
        }
        assert_false(sk_member_read(sk_buf_view(&packed), &read));
    }
    sk_buf_free(&packed);
    write_bytes(&a, "us", KEY_1, sk_bytes_str("what"));
    load(&a, NULL, 0, 63);
    assert_int_equal(members.count, 0); /* and a row of that sort says nothing */
}

static void a_row_counts_before_the_configuration(void **state)
{
    (void)state;
    sk_member_seed seeds[] = {{.region = "us", .public_key = KEY_1}, {.region = "ap", .public_key = KEY_2}};
    seeds[0].addresses.text[0] = sk_bytes_str("us:1");
    seeds[0].addresses.count = 1;
    load(&a, seeds, 2, 63);
    assert_true(chosen("us", KEY_1) && chosen("ap", KEY_2));
    say(&a, "us", KEY_1, (sk_member_record){.state = SK_MEMBER_FORGOTTEN, .forgets = 1});
    load(&a, seeds, 2, 63);
    assert_false(chosen("us", KEY_1));
    assert_int_equal(members.forgotten, 1);
    assert_null(sk_members_region(&members, sk_bytes_str("us")));
    say(&a, "us", KEY_2, (sk_member_record){.state = SK_MEMBER_IN});
    load(&a, seeds, 2, 63);
    assert_true(chosen("us", KEY_2)); /* the name with another key; it is where the configuration says */
    assert_bytes_equal(sk_members_region(&members, sk_bytes_str("us"))->record.addresses.text[0], sk_bytes_str("us:1"));
}

/* Who joins through a region hears that it was forgotten before it hears that it was added again. */
static void who_is_trusted_stays_whatever_rows_say(void **state)
{
    (void)state;
    sk_member_seed seed = {.region = "us", .public_key = KEY_1};
    say(&a, "us", KEY_1, (sk_member_record){.state = SK_MEMBER_FORGOTTEN, .forgets = 1});
    say(&a, "us", KEY_2, (sk_member_record){.state = SK_MEMBER_IN});
    trusted = "us";
    load(&a, &seed, 1, 63);
    assert_true(chosen("us", KEY_1) && !chosen("us", KEY_2));
    assert_int_equal(sk_members_judge(&members, sk_bytes_str("us"), KEY_1, 0), SK_OK);
    trusted = NULL;
    load(&a, &seed, 1, 63);
    assert_true(!chosen("us", KEY_1) && chosen("us", KEY_2));
}

/* b writes what a has not seen, and the other way round. */
static void at_once(sk_member_state first, sk_member_state second)
{
    say(&a, "us", KEY_1, (sk_member_record){.state = first, .forgets = 1});
    say(&b, "us", KEY_1, (sk_member_record){.state = second, .forgets = 2});
    apply_last(&b, &a);
    load(&a, NULL, 0, 63);
    assert_int_equal(state_of("us", KEY_1), first > second ? first : second);
    assert_int_equal(sk_members_find(&members, sk_bytes_str("us"), KEY_1)->record.forgets, 2);
}

static void forgotten_beats_replaced_beats_in(void **state)
{
    for (int first = 0; first < 3; first++)
        for (int second = 0; second < 3; second++) {
            at_once((sk_member_state)first, (sk_member_state)second);
            stop(state);
            open_both(state);
        }
    at_once(SK_MEMBER_FORGOTTEN, SK_MEMBER_IN);
    say(&a, "us", KEY_1, (sk_member_record){.state = SK_MEMBER_IN}); /* who has seen it may say otherwise */
    load(&a, NULL, 0, 63);
    assert_true(chosen("us", KEY_1));
}

static void of_two_keys_the_newer_is_the_region(void **state)
{
    (void)state;
    say(&a, "us", KEY_1, (sk_member_record){.state = SK_MEMBER_IN});
    b.db.wall_ms += 10;
    say(&b, "us", KEY_2, (sk_member_record){.state = SK_MEMBER_IN});
    apply_last(&b, &a);
    load(&a, NULL, 0, 63);
    assert_true(!chosen("us", KEY_1) && chosen("us", KEY_2));
    assert_int_equal(sk_members_judge(&members, sk_bytes_str("us"), KEY_1, 0), SK_E_CLASH);
    assert_int_equal(sk_members_judge(&members, sk_bytes_str("us"), KEY_2, 0), SK_OK);
    assert_int_equal(sk_members_judge(&members, sk_bytes_str("us"), OWN_KEY, 0), SK_E_AUTH);
    assert_int_equal(sk_members_judge(&members, sk_bytes_str("sa"), KEY_1, 0), SK_E_CLUSTER);
    assert_string_equal(sk_member_by(&a.db, sk_members_region(&members, sk_bytes_str("us"))), "b");
}

static void the_region_itself_is_never_chosen(void **state)
{
    (void)state;
    say(&a, "a", OWN_KEY, (sk_member_record){.state = SK_MEMBER_FORGOTTEN});
    say(&a, "a", KEY_1, (sk_member_record){.state = SK_MEMBER_IN});
    load(&a, NULL, 0, 63);
    assert_false(chosen("a", OWN_KEY) || chosen("a", KEY_1));
    assert_true(sk_members_region(&members, sk_bytes_str("a"))->is_own);
    assert_int_equal(members.forgotten, 0); /* nobody else may return */
}

static void of_too_many_the_oldest_stay(void **state)
{
    (void)state;
    sk_member_seed seed = {.region = "z", .public_key = KEY_1};
    for (int i = 5; i > 0; i--) {
        char name[8];
        snprintf(name, sizeof name, "r%d", i);
        a.db.wall_ms += 10;
        say(&a, name, KEY_2, (sk_member_record){.state = SK_MEMBER_IN});
    }
    load(&a, &seed, 1, 3);
    assert_true(chosen("z", KEY_1) && chosen("r5", KEY_2) && chosen("r4", KEY_2));
    assert_false(chosen("r3", KEY_2) || chosen("r2", KEY_2) || chosen("r1", KEY_2));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_record_reads_as_it_was_packed, open_both, stop),
        cmocka_unit_test_setup_teardown(records_that_lie_are_not_read, open_both, stop),
        cmocka_unit_test_setup_teardown(a_row_counts_before_the_configuration, open_both, stop),
        cmocka_unit_test_setup_teardown(who_is_trusted_stays_whatever_rows_say, open_both, stop),
        cmocka_unit_test_setup_teardown(forgotten_beats_replaced_beats_in, open_both, stop),
        cmocka_unit_test_setup_teardown(of_two_keys_the_newer_is_the_region, open_both, stop),
        cmocka_unit_test_setup_teardown(the_region_itself_is_never_chosen, open_both, stop),
        cmocka_unit_test_setup_teardown(of_too_many_the_oldest_stay, open_both, stop),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
