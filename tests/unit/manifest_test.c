/* A backup's manifest: what was written is read, and nothing else is believed. */
#include "storage/manifest.h"
#include "tests/unit/crdt_harness.h"

#include <stdlib.h>
#include <xxhash.h>

static sk_manifest some(void)
{
    sk_manifest manifest = {.number = 7, .data_format = 3, .made_ms = 1700000000000, .copied_bytes = 5};
    sk_buf_bytes(&manifest.source, sk_bytes_str("a database"));
    sk_buf_bytes(&manifest.about, sk_bytes_str("something"));
    sk_manifest_add(&manifest, "000012.sst", 42, &(sk_file_sum){1, 2, 300});
    sk_manifest_add(&manifest, "CURRENT", 43, &(sk_file_sum){UINT64_MAX, 0, 16});
    return manifest;
}

static void pack(const sk_manifest *manifest, sk_buf *out)
{
    sk_buf_reset(out);
    sk_manifest_pack(manifest, out);
}

static int read_status(sk_bytes bytes)
{
    sk_manifest manifest;
    int status = sk_manifest_read(bytes, &manifest);
    if (status) assert_true(manifest.count == 0 && manifest.files == NULL && manifest.about.data == NULL);
    sk_manifest_free(&manifest);
    return status;
}

static void what_was_written_is_read(void **state)
{
    (void)state;
    sk_manifest manifest = some(), got;
    sk_buf packed = {0};
    pack(&manifest, &packed);
    assert_int_equal(sk_manifest_read(sk_buf_view(&packed), &got), 0);
    assert_int_equal(got.number, 7);
    assert_int_equal(got.data_format, 3);
    assert_int_equal(got.made_ms, 1700000000000);
    assert_int_equal(got.copied_bytes, 5);
    assert_int_equal(got.count, 2);
    assert_int_equal(sk_manifest_bytes(&got), 316);
    assert_string_equal(got.files[0].name, "000012.sst");
    assert_int_equal(got.files[0].changed_ns, 42);
    assert_true(sk_file_sum_equal(&got.files[1].sum, &manifest.files[1].sum));
    assert_true(sk_bytes_equal(sk_buf_view(&got.source), sk_bytes_str("a database")));
    assert_true(sk_bytes_equal(sk_buf_view(&got.about), sk_bytes_str("something")));
    sk_manifest_free(&got);
    sk_manifest_free(&manifest);
    sk_buf_free(&packed);
}

static void any_cut_and_any_flipped_bit_is_seen(void **state)
{
    (void)state;
    sk_manifest manifest = some();
    sk_buf packed = {0};
    pack(&manifest, &packed);
    for (size_t len = 0; len < packed.len; len++) assert_int_not_equal(read_status(sk_bytes_of(packed.data, len)), 0);
    for (size_t bit = 0; bit < packed.len * 8; bit++) {
        packed.data[bit / 8] ^= (uint8_t)(1 << bit % 8);
        assert_int_not_equal(read_status(sk_buf_view(&packed)), 0);
        packed.data[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    sk_buf_byte(&packed, 0);
    assert_int_equal(read_status(sk_buf_view(&packed)), SK_E_CORRUPT);
    sk_manifest_free(&manifest);
    sk_buf_free(&packed);
}

static void names_that_lead_elsewhere_are_refused(void **state)
{
    static const char *const names[] = {
        "",        ".",   "..",
        ".hidden", "a/b", "/etc",
        "a\nb",    "a b", "0123456789012345678901234567890123456789012345678901234567890123x"};
    (void)state;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        sk_manifest manifest = some();
        sk_buf packed = {0};
        sk_manifest_add(&manifest, names[i], 1, &(sk_file_sum){0});
        pack(&manifest, &packed);
        assert_int_equal(read_status(sk_buf_view(&packed)), SK_E_CORRUPT);
        sk_manifest_free(&manifest);
        sk_buf_free(&packed);
    }
    assert_true(sk_manifest_name_valid(sk_bytes_str("MANIFEST-000004")));
}

static void a_name_twice_is_refused(void **state)
{
    (void)state;
    sk_manifest manifest = some();
    sk_buf packed = {0};
    sk_manifest_add(&manifest, "CURRENT", 1, &(sk_file_sum){0});
    pack(&manifest, &packed);
    assert_int_equal(read_status(sk_buf_view(&packed)), SK_E_CORRUPT);
    sk_manifest_free(&manifest);
    sk_buf_free(&packed);
}

static void another_format_is_told_from_damage(void **state)
{
    (void)state;
    sk_manifest manifest = some();
    sk_buf packed = {0};
    pack(&manifest, &packed);
    assert_int_equal(packed.data[15], 2); /* after a bin of 13 bytes */
    packed.data[15] = 1;
    assert_int_equal(read_status(sk_buf_view(&packed)), SK_E_FORMAT);
    sk_manifest_free(&manifest);
    sk_buf_free(&packed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_written_is_read),
        cmocka_unit_test(any_cut_and_any_flipped_bit_is_seen),
        cmocka_unit_test(names_that_lead_elsewhere_are_refused),
        cmocka_unit_test(a_name_twice_is_refused),
        cmocka_unit_test(another_format_is_told_from_damage),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
