#include "tests/unit/crdt_harness.h"

static sk_arena arena;

static int free_arena(void **state)
{
    (void)state;
    sk_arena_free(&arena);
    return 0;
}

static sk_row every_kind(void)
{
    static sk_entry entries[6];
    entries[0] = value_of(0, 5, "hello");
    entries[1] = count_since(count_entry(1, 9, 3, 12), 4, 5);
    entries[2] = count_since(count_entry(2, 9, 9, 12), 9, 12);
    entries[3] = member_of(3, 1);
    entries[4] = deadline_of(0, 5, 123456789);
    entries[5] = deadline_of(7, 1, SK_DEADLINE_NEVER);
    return (sk_row){.entries = entries, .count = 6, .fields = 3, .members = 1000};
}

static const char every_kind_text[] = "0:5 v hello, 1:9 c 12-5@4 from 3, 2:9 c 12-12@9 from 9+, 3:1 m, 0:5 d 123456789, "
                                      "7:1 d 18446744073709551615";

static void every_kind_comes_back(void **state)
{
    (void)state;
    sk_row row = every_kind(), back;
    sk_buf packed = {0}, again = {0};
    sk_row_check(&row);
    sk_row_pack(&packed, &row, true);
    assert_int_equal(sk_row_read(sk_buf_view(&packed), NULL, &arena, &back), 0);
    assert_string_equal(row_text(&back), every_kind_text);
    assert_int_equal(back.entries[2].count.reset_by.origin, 9);
    assert_int_equal(back.fields, 3);
    assert_int_equal(back.members, 1000);
    sk_row_pack(&again, &back, true);
    assert_bytes_equal(sk_buf_view(&again), sk_buf_view(&packed));
    sk_buf_reset(&again);
    sk_row_pack(&again, &back, false);
    assert_int_equal(sk_row_read(sk_buf_view(&again), NULL, &arena, &back), 0);
    assert_int_equal(back.fields + back.members, 0);
    sk_buf_free(&packed);
    sk_buf_free(&again);
}

static void every_cut_is_refused_or_a_shorter_row(void **state)
{
    (void)state;
    sk_row row = every_kind(), back;
    sk_buf packed = {0};
    sk_row_pack(&packed, &row, true);
    for (size_t cut = 0; cut < packed.len; cut++) {
        uint8_t *exact = malloc(cut ? cut : 1);
        memcpy(exact, packed.data, cut);
        int status = sk_row_read(sk_bytes_of(exact, cut), NULL, &arena, &back);
        assert_true(status == SK_E_MALFORMED || (status == 0 && back.count < 7));
        free(exact);
    }
    sk_buf_free(&packed);
}

/* Bytes that can be read one by one, and are no row. */
static void damaged_rows_are_refused(void **state)
{
    (void)state;
    const sk_row bad[] = {
        ROW_OF(value_of(0, 5, "a"), value_of(0, 5, "b")),             /* one dot twice */
        ROW_OF(value_of(0, 6, "a"), value_of(0, 5, "b")),             /* not in order */
        ROW_OF(count_entry(1, 5, 5, 1), count_entry(1, 6, 6, 1)),     /* two counts of an origin */
        ROW_OF(value_of(0, 0, "a")),                                  /* no dot */
        ROW_OF(value_of(SK_ORIGINS_MAX, 1, "a")),                     /* no origin */
        ROW_OF(count_entry(1, 5, 0, 1)),                              /* an epoch before the first */
        ROW_OF(count_entry(1, 5, 6, 1)),                              /* one after the entry */
        ROW_OF(count_since(count_entry(1, 5, 3, 1), 2, 1)),           /* a base before the epoch */
        ROW_OF(count_since(count_entry(1, 5, 3, 1), 6, 1)),           /* a base after the entry */
        ROW_OF(deadline_of(1, 5, 0)),                                 /* a deadline at no time */
        ROW_OF(deadline_of(1, 5, 1), value_of(0, 1, "a")),            /* classes not in order */
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        sk_buf packed = {0};
        sk_row back = {.count = 99};
        sk_row_pack(&packed, &bad[i], false);
        assert_int_equal(sk_row_read(sk_buf_view(&packed), NULL, &arena, &back), SK_E_MALFORMED);
        assert_int_equal(back.count, 99); /* left alone */
        sk_buf_free(&packed);
    }
}

/* What says the same as another form, or nothing: one row has one form. */
static void other_forms_are_refused(void **state)
{
    (void)state;
#define TIME "\x01\x02\x03\x04\x05\x07" /* milliseconds since 2020, counter */
#define RAW(text) {text, sizeof text - 1}
    static const struct {
        const char *data;
        size_t len;
    } good[] = {RAW("\x05\x01" TIME "abc"), RAW("\x05\x01" TIME), RAW("\x03\x01" TIME), RAW("\x1b\x00\x01" TIME),
                RAW("\x23\x01\x00" TIME), RAW("\x00\x00\x01"), RAW("\x01\x01" TIME "\x01" "a\x0d\x01" TIME),
                RAW("\x03\x01\x01\x02\x03\x04\x05\xc0\xff\xff") },
      bad[] = {
                  RAW("\x06\x01" TIME), RAW("\x07\x01" TIME),                  /* no kind */
                  RAW("\x01\x01" TIME "\x01" "a"),                              /* a last value with its length */
                  RAW("\x01\x01" TIME "\x02" "a"),                              /* one that is shorter */
                  RAW("\x03\x00" TIME),                                         /* no dot */
                  RAW("\x23\x00\x01" TIME),                                     /* a seq with a byte too many */
                  RAW("\x1b\x80\x01\x01" TIME),                                 /* an origin with one */
                  RAW("\x1b\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01" TIME),     /* one that comes around to 2 */
                  RAW("\x03\x01\x01\x02\x03\x04\x05\x80\x07"),                 /* a counter with one */
                  RAW("\x03\x01\x01\x02\x03\x04\x05\xc1\x00\x00"),             /* a counter beyond its bits */
                  RAW("\x03\x01\xff\xff\xff\xff\xff\x01\x80\x00\x00\x00\x00\x00\x00"), /* 2022 in the long form */
                  RAW("\x00\x00\x00"), RAW("\x00\x01"), RAW("\x00"),           /* no sizes; half of them */
                  RAW("\x03\x01" TIME "\x00\x01\x01"),                         /* sizes at the end */
              };
    sk_row back;
    for (size_t i = 0; i < sizeof good / sizeof *good; i++)
        assert_int_equal(sk_row_read(sk_bytes_of(good[i].data, good[i].len), NULL, &arena, &back), 0);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_equal(sk_row_read(sk_bytes_of(bad[i].data, bad[i].len), NULL, &arena, &back), SK_E_MALFORMED);
}

static void the_bounds_of_each_part_come_back(void **state)
{
    (void)state;
    static const uint32_t origins[] = {0, 2, 3, 130, 131, SK_ORIGINS_MAX - 1};
    static const uint64_t seqs[] = {1, 255, 256, 65535, 65536, UINT32_MAX, 1ull << 56, UINT64_MAX};
    const uint64_t begin = 1577836800000, end = begin + (1ull << 40) - 1;
    const sk_hlc times[] = {0, sk_hlc_of_ms(begin) - 1, sk_hlc_of_ms(begin), sk_hlc_of_ms(begin) + 127,
                            sk_hlc_of_ms(begin) + 128, sk_hlc_of_ms(end) - 1, sk_hlc_of_ms(end), UINT64_MAX};
    for (size_t i = 0; i < 6 * 8 * 8; i++) {
        sk_row row = ROW_OF(value_of(origins[i / 64], seqs[i / 8 % 8], "v")), back;
        sk_buf packed = {0};
        row.entries[0].hlc = times[i % 8];
        sk_row_pack(&packed, &row, false);
        assert_int_equal(sk_row_read(sk_buf_view(&packed), NULL, &arena, &back), 0);
        assert_int_equal(back.entries[0].dot.origin, row.entries[0].dot.origin);
        assert_true(back.entries[0].dot.seq == row.entries[0].dot.seq);
        assert_true(back.entries[0].hlc == row.entries[0].hlc);
        sk_buf_free(&packed);
    }
}

/* What a key has on the disk beside its table's letter, itself and its value. */
static void a_value_of_one_dot_takes_eleven_bytes(void **state)
{
    (void)state;
    sk_row row = ROW_OF(value_of(1, 4000000000, "a value"));
    sk_buf packed = {0};
    row.entries[0].hlc = sk_hlc_of_ms(1800000000000) + 100;
    sk_row_pack(&packed, &row, true);
    assert_int_equal(packed.len, 11 + 7);
    sk_buf_free(&packed);
}

/* A row of so many entries as a peer may send, in the worst order: read, in order, in memory that its bytes warrant. */
static void a_long_row_of_a_peer_has_a_limit(void **state)
{
    (void)state;
    static sk_entry entries[SK_ROW_ENTRIES_MAX + 1];
    sk_row row = {.entries = entries}, back, merged;
    sk_origin_map map = {0};
    sk_buf packed = {0};
    sk_vv none = {0};
    for (uint32_t o = 0; o < 4; o++) assert_int_equal(sk_origin_map_set(&map, o, o), 0);
    for (row.count = 0; row.count < SK_ROW_ENTRIES_MAX; row.count++) /* descending, then with every fourth moved */
        entries[row.count] = member_of(row.count * 7 % 4, SK_ROW_ENTRIES_MAX - row.count);
    sk_row_pack(&packed, &row, false);
    sk_arena_free(&arena);
    assert_int_equal(sk_row_read(sk_buf_view(&packed), &map, &arena, &back), 0);
    assert_int_equal(back.count, SK_ROW_ENTRIES_MAX);
    sk_row_check(&back);
    assert_in_range(arena.used, 0, 2 * (SK_ROW_ENTRIES_MAX + 64) * sizeof(sk_entry));
    assert_int_equal(sk_row_merge(&back, &none, &back, &none, &arena, &merged), 0);
    assert_int_equal(merged.count, SK_ROW_ENTRIES_MAX);
    sk_row_check(&merged);
    assert_int_equal(sk_row_read(sk_buf_view(&packed), NULL, &arena, &back), SK_E_MALFORMED); /* ours are in order */
    entries[row.count++] = member_of(0, SK_ROW_ENTRIES_MAX + 1);
    sk_row_sort(&row);
    sk_row_check(&row);
    sk_buf_reset(&packed);
    sk_row_pack(&packed, &row, false);
    assert_int_equal(sk_row_read(sk_buf_view(&packed), &map, &arena, &back), SK_E_TOO_LARGE);
    assert_int_equal(sk_row_read(sk_buf_view(&packed), NULL, &arena, &back), 0); /* what stands here stays readable */
    sk_origin_map_free(&map);
    sk_buf_free(&packed);
}

static void reading_through_a_map_sorts(void **state)
{
    (void)state;
    sk_row row = ROW_OF(value_of(0, 1, "a"), value_of(1, 1, "b"), count_since(count_entry(2, 4, 4, 1), 4, 1)), back;
    row.entries[2].count.reset_by = (sk_dot){0, 2};
    sk_origin_map map = {0};
    sk_buf packed = {0};
    sk_row_pack(&packed, &row, false);
    (void)sk_origin_map_set(&map, 0, 6);
    (void)sk_origin_map_set(&map, 1, 5);
    assert_int_equal(sk_row_read(sk_buf_view(&packed), &map, &arena, &back), SK_E_MALFORMED); /* 2 is unknown */
    (void)sk_origin_map_set(&map, 2, 4);
    assert_int_equal(sk_row_read(sk_buf_view(&packed), &map, &arena, &back), 0);
    assert_string_equal(row_text(&back), "4:4 c 1-1@4 from 4+, 5:1 v b, 6:1 v a");
    assert_int_equal(back.entries[0].count.reset_by.origin, 6);
    sk_origin_map_free(&map);
    sk_buf_free(&packed);
}

static void a_full_arena_is_an_error(void **state)
{
    (void)state;
    sk_row row = every_kind(), back, out;
    sk_vv none = {0};
    sk_buf packed = {0};
    sk_row_pack(&packed, &row, true);
    int refused = 0;
    for (size_t max = 16; max < 4096; max += 16) {
        sk_arena small = {.max = max};
        int status = sk_row_read(sk_buf_view(&packed), NULL, &small, &back);
        refused += status == SK_E_MEMORY;
        assert_true(status == 0 || status == SK_E_MEMORY);
        sk_arena_free(&small);
        small.max = max;
        status = sk_row_merge(&row, &none, &row, &none, &small, &out);
        assert_true(status == 0 || status == SK_E_MEMORY);
        sk_arena_free(&small);
        small.max = max;
        status = sk_row_copy(&row, &small, &out);
        assert_true(status == 0 || status == SK_E_MEMORY);
        sk_arena_free(&small);
    }
    assert_true(refused > 10);
    sk_buf_free(&packed);
}

static void a_copy_stands_by_itself(void **state)
{
    (void)state;
    sk_row row = every_kind(), copy;
    char hello[] = "hello";
    row.entries[0].value = sk_bytes_str(hello);
    assert_int_equal(sk_row_copy(&row, &arena, &copy), 0);
    memset(hello, 'x', sizeof hello - 1);
    memset(row.entries, 0, row.count * sizeof *row.entries);
    assert_string_equal(row_text(&copy), every_kind_text);
    assert_int_equal(copy.fields, 3);
    assert_int_equal(copy.members, 1000);
    assert_int_equal(sk_row_copy(&(sk_row){.members = 7}, &arena, &copy), 0);
    assert_true(copy.count == 0 && copy.members == 7);
}

static void what_lives_is_told_by_class(void **state)
{
    (void)state;
    sk_row row = every_kind(), empty = {0};
    assert_int_equal(sk_row_live(&row, SK_CLASS_CONTENT), 3); /* not the dead count */
    assert_int_equal(sk_row_live(&row, SK_CLASS_DEADLINE), 2);
    assert_non_null(sk_row_count_of(&row, 1));
    assert_null(sk_row_count_of(&row, 2));
    assert_null(sk_row_count_of(&row, 0));
    assert_true(sk_row_empty(&empty));
    assert_false(sk_row_empty(&(sk_row){.members = 1}));
}

static void a_vector_covers_a_row_that_it_covers_every_dot_of(void **state)
{
    (void)state;
    const sk_row empty = {0}, row = ROW_OF(value_of(0, 5, "a"), count_since(count_entry(1, 7, 7, 1), 7, 1), deadline_of(2, 3, 9));
    sk_vv none = {0}, all = vv_of(5, 7, 3);
    assert_true(sk_row_covered(&empty, &none));
    assert_false(sk_row_covered(&row, &none));
    assert_true(sk_row_covered(&row, &all)); /* though not 9:1, which has reset the count */
    assert_false(sk_row_possible(&row, &all));
    sk_vv_set(&all, 9, 1);
    assert_true(sk_row_possible(&row, &all));
    for (uint32_t i = 0; i < row.count; i++) {
        sk_vv less = vv_of(5 - (i == 0), 7 - (i == 1), 3 - (i == 2));
        assert_false(sk_row_covered(&row, &less));
        sk_vv_free(&less);
    }
    sk_vv_free(&all);
}

static void only_a_count_that_was_reset_wholly_is_dead(void **state)
{
    (void)state;
    const sk_entry dead = count_since(count_entry(1, 9, 3, 12), 9, 12), part = count_since(count_entry(2, 9, 3, 12), 8, 5);
    const sk_row none = {0}, live = ROW_OF(value_of(0, 5, "a"), part, deadline_of(0, 5, 9)),
                 last = ROW_OF(value_of(0, 5, "a"), dead), first = ROW_OF(dead, part);
    assert_false(sk_row_has_dead(&none));
    assert_false(sk_row_has_dead(&live));
    assert_true(sk_row_has_dead(&last));
    assert_true(sk_row_has_dead(&first));
}

static void the_latest_deadline_stands(void **state)
{
    (void)state;
    sk_row none = ROW_OF(value_of(0, 1, "a")), two = ROW_OF(deadline_of(0, 1, 50), deadline_of(1, 1, 40)),
           persist = ROW_OF(deadline_of(0, 1, 50), deadline_of(1, 1, SK_DEADLINE_NEVER));
    assert_true(sk_row_deadline(&none) == SK_DEADLINE_NEVER);
    assert_true(sk_row_deadline(&two) == 50);
    assert_true(sk_row_deadline(&persist) == SK_DEADLINE_NEVER);
}

/* Only those whose own reset is stable: a later increment may still need the base of the others. */
static void stripping_goes_by_the_reset(void **state)
{
    (void)state;
    sk_row row = ROW_OF(count_since(count_entry(0, 4, 4, 1), 4, 1), count_since(count_entry(1, 5, 5, 1), 5, 1),
                        count_entry(2, 6, 6, 1));
    row.entries[0].count.reset_by = (sk_dot){2, 3};
    row.entries[1].count.reset_by = (sk_dot){2, 4};
    sk_vv before = vv_of(9, 9, 2), first = vv_of(0, 0, 3);
    assert_false(sk_row_strip(&row, &before, NULL, NULL));
    assert_int_equal(row.count, 3);
    assert_true(sk_row_strip(&row, &first, NULL, NULL));
    assert_string_equal(row_text(&row), "1:5 c 1-1@5 from 5+, 2:6 c 1 from 6");
    assert_true(sk_row_strip(&row, NULL, NULL, NULL));
    assert_string_equal(row_text(&row), "2:6 c 1 from 6");
    sk_vv_free(&before);
    sk_vv_free(&first);
}

/* A backup may still bring an increment of theirs that the reset had not seen. */
static void open_ended_origins_keep_their_dead_counts(void **state)
{
    (void)state;
    sk_origins origins = {0};
    uint32_t origin;
    const uint64_t lives[] = {sk_incarnation_make(2, 1000, false), sk_incarnation_make(4, 2000, false),
                              sk_incarnation_make(6, 1000, true)};
    for (int i = 0; i < 3; i++)
        assert_int_equal(sk_origins_intern(&origins, sk_bytes_str("eu"), lives[i], &origin), 0);
    sk_row row = ROW_OF(count_since(count_entry(0, 4, 4, 1), 4, 1), count_since(count_entry(1, 5, 5, 1), 5, 1));
    row.entries[0].count.reset_by = row.entries[1].count.reset_by = (sk_dot){2, 3};
    sk_vv stable = vv_of(9, 9, 9);
    assert_true(sk_row_strip(&row, &stable, &origins, NULL));
    assert_string_equal(row_text(&row), "0:4 c 1-1@4 from 4+");
    assert_false(sk_row_strip(&row, &stable, &origins, NULL));
    sk_vv_free(&stable);
    sk_origins_free(&origins);
}

/* -- merge: single facts (the laws are in tests/prop/merge_test.c) ------------------------------------------------- */

static const char *merged(sk_row s, sk_vv vv_s, sk_row r, sk_vv known)
{
    sk_row out;
    assert_int_equal(sk_row_merge(&s, &vv_s, &r, &known, &arena, &out), 0);
    sk_row_check(&out);
    sk_vv_free(&vv_s);
    sk_vv_free(&known);
    return row_text(&out);
}

static void the_merge_keeps_what_nobody_removed(void **state)
{
    (void)state;
    const sk_row none = {0}, a = ROW_OF(value_of(0, 1, "a")), b = ROW_OF(value_of(1, 1, "b"));
    assert_string_equal(merged(a, vv_of(1, 0, 0), none, vv_of(0, 0, 0)), "0:1 v a");        /* new to us */
    assert_string_equal(merged(a, vv_of(1, 0, 0), none, vv_of(1, 0, 0)), "");               /* removed here */
    assert_string_equal(merged(none, vv_of(0, 0, 0), a, vv_of(1, 0, 0)), "0:1 v a");        /* new to them */
    assert_string_equal(merged(none, vv_of(1, 0, 0), a, vv_of(1, 0, 0)), "");               /* removed there */
    assert_string_equal(merged(a, vv_of(1, 0, 0), a, vv_of(1, 0, 0)), "0:1 v a");           /* both */
    assert_string_equal(merged(a, vv_of(1, 0, 0), b, vv_of(0, 1, 0)), "0:1 v a, 1:1 v b");  /* siblings */
    const sk_row two = ROW_OF(value_of(0, 1, "a"), deadline_of(0, 1, 7)), one = ROW_OF(deadline_of(0, 1, 7));
    assert_string_equal(merged(two, vv_of(1, 0, 0), one, vv_of(1, 0, 0)), "0:1 d 7"); /* by class, not by dot alone */
}

static void the_merge_of_counts_joins_their_bases(void **state)
{
    (void)state;
    const sk_row none = {0}, plain = ROW_OF(count_entry(0, 5, 2, 10)),
                 dead = ROW_OF(count_since(count_entry(0, 5, 2, 10), 5, 10)), later = ROW_OF(count_entry(0, 6, 2, 13)),
                 anew = ROW_OF(count_entry(0, 7, 7, 1)), dead_anew = ROW_OF(count_since(count_entry(0, 7, 7, 1), 7, 1));
    /* An increment that the reset had not seen, and the reset: in whichever way they meet. */
    assert_string_equal(merged(later, vv_of(6, 0, 0), dead, vv_of(5, 0, 1)), "0:6 c 13-10@5 from 2");
    assert_string_equal(merged(dead, vv_of(5, 0, 1), later, vv_of(6, 0, 0)), "0:6 c 13-10@5 from 2");
    assert_string_equal(merged(dead, vv_of(5, 0, 1), plain, vv_of(5, 0, 0)), "0:5 c 10-10@5 from 2+");
    assert_string_equal(merged(plain, vv_of(5, 0, 0), dead, vv_of(5, 0, 1)), "0:5 c 10-10@5 from 2+");
    assert_string_equal(merged(anew, vv_of(7, 0, 1), dead, vv_of(5, 0, 1)), "0:7 c 1 from 7");
    assert_string_equal(merged(dead, vv_of(5, 0, 1), none, vv_of(0, 0, 0)), "0:5 c 10-10@5 from 2+");
    /* Who has seen it and holds no record: it was removed by its own origin, or stripped. Theirs does not come back; ours
     * stays until we strip it: they may have told of live entries only. */
    assert_string_equal(merged(dead, vv_of(5, 0, 1), none, vv_of(5, 0, 1)), "");
    assert_string_equal(merged(none, vv_of(5, 0, 1), dead, vv_of(5, 0, 1)), "0:5 c 10-10@5 from 2+");
    assert_string_equal(merged(none, vv_of(5, 0, 1), plain, vv_of(5, 0, 0)), "");
    assert_string_equal(merged(plain, vv_of(5, 0, 0), none, vv_of(8, 0, 0)), "");
    /* The same where ours is an older one: we were told of the later by somebody who had stripped it. */
    assert_string_equal(merged(dead_anew, vv_of(7, 0, 2), dead, vv_of(7, 0, 2)), "0:5 c 10-10@5 from 2+");
    assert_string_equal(merged(dead, vv_of(7, 0, 2), dead_anew, vv_of(7, 0, 2)), "0:7 c 1-1@7 from 7+");
    assert_string_equal(merged(dead_anew, vv_of(7, 0, 2), dead, vv_of(5, 0, 1)), "0:7 c 1-1@7 from 7+");
}

/* -- digests ------------------------------------------------------------------------------------------------------- */

static void the_digest_is_of_what_lives(void **state)
{
    (void)state;
    sk_origins origins = {0}, swapped = {0};
    uint32_t number;
    (void)sk_origins_intern(&origins, sk_bytes_str("a"), 1, &number);
    (void)sk_origins_intern(&origins, sk_bytes_str("b"), 1, &number);
    (void)sk_origins_intern(&swapped, sk_bytes_str("b"), 1, &number);
    (void)sk_origins_intern(&swapped, sk_bytes_str("a"), 1, &number);
    sk_bytes key = sk_bytes_str("kx");
    sk_row one = ROW_OF(value_of(0, 1, "v")), two = ROW_OF(value_of(0, 1, "v"), value_of(1, 3, "w")),
           turned = ROW_OF(value_of(0, 3, "w"), value_of(1, 1, "v")), rest = ROW_OF(value_of(1, 3, "w")),
           dead = ROW_OF(value_of(0, 1, "v"), count_since(count_entry(1, 2, 2, 1), 2, 1)), empty = {.fields = 9};
    sk_digest of_two = sk_row_digest(&origins, key, &two);
    assert_true(of_two == sk_row_digest(&swapped, key, &turned)); /* whatever the numbers */
    assert_true(of_two == sk_row_digest(&origins, key, &one) + sk_row_digest(&origins, key, &rest));
    assert_true(sk_row_digest(&origins, key, &dead) == sk_row_digest(&origins, key, &one));
    assert_true(sk_row_digest(&origins, key, &empty) == 0);
    assert_true(sk_row_digest(&origins, sk_bytes_str("ky"), &one) != sk_row_digest(&origins, key, &one));
    sk_origins_free(&origins);
    sk_origins_free(&swapped);
}

static void every_part_of_an_entry_is_in_the_digest(void **state)
{
    (void)state;
    sk_origins origins = {0};
    uint32_t number;
    for (uint64_t i = 1; i < 4; i++) (void)sk_origins_intern(&origins, sk_bytes_str("a"), i, &number);
    sk_entry count = count_since(count_entry(0, 9, 3, 12), 4, 5);
    sk_entry all[] = {value_of(0, 9, "v"), value_of(0, 9, "w"), value_of(1, 9, "v"), value_of(0, 8, "v"),
                      member_of(0, 9),     deadline_of(0, 9, 1), deadline_of(0, 9, 2), count,
                      count,               count,                count,                count,
                      value_of(0, 9, "v")};
    all[8].count.total.whole++;
    all[9].count.base.whole++;
    all[10].count.base_seq++;
    all[11].count.epoch++;
    all[12].hlc++;
    enum { COUNT = sizeof all / sizeof *all };
    sk_digest digests[COUNT];
    for (int i = 0; i < COUNT; i++) {
        digests[i] = sk_row_digest(&origins, sk_bytes_str("k"), &(sk_row){.entries = &all[i], .count = 1});
        for (int k = 0; k < i; k++) assert_true(digests[i] != digests[k]);
    }
    sk_origins_free(&origins);
}

static void what_digests_leave_out_has_a_sum_too(void **state)
{
    (void)state;
    sk_bytes key = sk_bytes_str("k");
    sk_entry live[] = {value_of(0, 9, "v"), count_entry(1, 9, 3, 12), deadline_of(0, 9, 1)};
    assert_int_equal(sk_row_rest(key, &(sk_row){.entries = live, .count = 3}), 0);
    sk_entry dead = count_since(count_entry(0, 9, 3, 12), 9, 12), all[9];
    assert_false(sk_entry_live(&dead));
    for (int i = 0; i < 9; i++) all[i] = dead;
    all[1].count.total.whole++;
    all[2].count.base.whole++;
    all[3].count.base_seq++;
    all[4].count.epoch++;
    all[5].hlc++;
    all[6].dot.origin++;
    all[7].count.reset_by.seq++;
    all[8].count.reset_by.origin++;
    sk_row sized[] = {{.fields = 1}, {.members = 1}, {.fields = 1, .members = 1}};
    uint64_t sums[12];
    for (int i = 0; i < 12; i++) {
        sk_row one = {.entries = &all[i % 9], .count = 1};
        sums[i] = sk_row_rest(key, i < 9 ? &one : &sized[i - 9]);
        assert_true(sums[i] != 0);
        assert_true(sk_row_rest(sk_bytes_str("l"), i < 9 ? &one : &sized[i - 9]) != sums[i]);
        for (int k = 0; k < i; k++) assert_true(sums[i] != sums[k]);
    }
    sk_row two = {.entries = all, .count = 2, .fields = 1};
    assert_true(sk_row_rest(key, &two) == sums[0] + sums[1] + sums[9]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_kind_comes_back),
        cmocka_unit_test(every_cut_is_refused_or_a_shorter_row),
        cmocka_unit_test(damaged_rows_are_refused),
        cmocka_unit_test(other_forms_are_refused),
        cmocka_unit_test(the_bounds_of_each_part_come_back),
        cmocka_unit_test(a_value_of_one_dot_takes_eleven_bytes),
        cmocka_unit_test(a_long_row_of_a_peer_has_a_limit),
        cmocka_unit_test(reading_through_a_map_sorts),
        cmocka_unit_test(a_full_arena_is_an_error),
        cmocka_unit_test(a_copy_stands_by_itself),
        cmocka_unit_test(what_lives_is_told_by_class),
        cmocka_unit_test(a_vector_covers_a_row_that_it_covers_every_dot_of),
        cmocka_unit_test(only_a_count_that_was_reset_wholly_is_dead),
        cmocka_unit_test(the_latest_deadline_stands),
        cmocka_unit_test(stripping_goes_by_the_reset),
        cmocka_unit_test(open_ended_origins_keep_their_dead_counts),
        cmocka_unit_test(the_merge_keeps_what_nobody_removed),
        cmocka_unit_test(the_merge_of_counts_joins_their_bases),
        cmocka_unit_test(the_digest_is_of_what_lives),
        cmocka_unit_test(every_part_of_an_entry_is_in_the_digest),
        cmocka_unit_test(what_digests_leave_out_has_a_sum_too),
    };
    return cmocka_run_group_tests(tests, NULL, free_arena);
}
