/* Whole files: written so that they are there or not, read within limits, copied with a sum. */
#include "storage/file.h"
#include "tests/unit/store_harness.h"

#include <pthread.h>
#include <xxhash.h>

typedef struct {
    char path[64];
    char error[SK_FILE_ERROR];
} bench;

static void start(bench *with)
{
    *with = (bench){.path = "/tmp/skerry-file-XXXXXX"};
    assert_non_null(mkdtemp(with->path));
}

static void a_file_is_written_whole(void **state)
{
    bench with;
    sk_buf bytes = {0};
    (void)state;
    start(&with);
    char *path = sk_file_join(with.path, "name"), *aside = sk_file_join(with.path, "name.new");
    assert_int_equal(sk_file_read(path, 10, &bytes, with.error), 0);
    assert_int_equal(sk_file_write(with.path, "name", sk_bytes_str("first"), with.error), 0);
    assert_int_equal(sk_file_write(with.path, "name", sk_bytes_str("second"), with.error), 0);
    assert_int_equal(sk_file_read(path, 6, &bytes, with.error), 1);
    assert_true(sk_bytes_equal(sk_buf_view(&bytes), sk_bytes_str("second")));
    assert_int_equal(sk_file_read(path, 5, &bytes, with.error), SK_E_TOO_LARGE);
    assert_int_equal(access(aside, F_OK), -1);
    assert_int_equal(sk_file_write("/nowhere", "name", SK_BYTES_NONE, with.error), SK_E_IO);
    assert_true(strstr(with.error, "/nowhere/name"));
    sk_buf_free(&bytes);
    free(path);
    free(aside);
    remove_tree(with.path);
}

static void a_copy_has_the_sum_of_its_bytes(void **state)
{
    bench with;
    sk_file_sum sum, again;
    sk_file_work work = {0};
    (void)state;
    start(&with);
    size_t len = (3 << 20) + 17;
    uint8_t *data = sk_alloc(len);
    for (size_t i = 0; i < len; i++) data[i] = (uint8_t)(i * 7 + (i >> 9));
    char *from = sk_file_join(with.path, "from"), *to = sk_file_join(with.path, "to");
    assert_int_equal(sk_file_write(with.path, "from", sk_bytes_of(data, len), with.error), 0);
    assert_int_equal(sk_file_copy(from, to, 0, &sum, &work, with.error), 0);
    XXH128_hash_t expected = XXH3_128bits(data, len);
    assert_true(sum.high == expected.high64 && sum.low == expected.low64);
    assert_int_equal(sum.bytes, len);
    assert_int_equal(work.bytes, len);
    assert_int_equal(sk_file_sum_of(to, &again, NULL, with.error), 0);
    assert_true(sk_file_sum_equal(&sum, &again));
    assert_int_equal(sk_file_copy(from, to, 0, &sum, NULL, with.error), SK_E_IO); /* never over another */
    assert_int_equal(unlink(to), 0);
    assert_int_equal(sk_file_copy(from, to, UINT64_MAX, &sum, NULL, with.error), SK_E_DISK_FULL);
    work.stop = true;
    assert_int_equal(sk_file_copy(from, to, 0, &sum, &work, with.error), SK_E_SHUTDOWN);
    assert_int_equal(access(to, F_OK), -1);
    free(data);
    free(from);
    free(to);
    remove_tree(with.path);
}

typedef struct {
    char *from, *to;
    sk_file_work work;
    _Atomic int result;
} slow_copy;

static void *copy_slowly(void *self)
{
    slow_copy *copy = self;
    char error[SK_FILE_ERROR];
    sk_file_sum sum;
    atomic_store(&copy->result, sk_file_copy(copy->from, copy->to, 0, &sum, &copy->work, error));
    return NULL;
}

/* At a byte a second it waits after its first block, until that is lifted, or it is stopped. */
static void a_rate_is_kept_until_it_is_lifted(void **state)
{
    (void)state;
    enum { BYTES = 3 << 20, BUSY = 1 };
    bench with;
    start(&with);
    uint8_t *bytes = sk_alloc(BYTES);
    assert_int_equal(sk_file_write(with.path, "large", sk_bytes_of(bytes, BYTES), with.error), 0);
    for (int stops = 0; stops < 2; stops++) {
        pthread_t thread;
        slow_copy copy = {.from = sk_file_join(with.path, "large"), .to = sk_file_join(with.path, stops ? "b" : "a")};
        atomic_store(&copy.result, BUSY);
        atomic_store(&copy.work.bytes_per_s, 1);
        assert_int_equal(pthread_create(&thread, NULL, copy_slowly, &copy), 0);
        while (atomic_load(&copy.work.bytes) == 0) usleep(1000);
        usleep(50000);
        assert_int_equal(atomic_load(&copy.result), BUSY);
        assert_in_range(atomic_load(&copy.work.bytes), 1, BYTES - 1);
        if (stops)
            atomic_store(&copy.work.stop, true);
        else
            atomic_store(&copy.work.bytes_per_s, 0);
        assert_int_equal(pthread_join(thread, NULL), 0);
        assert_int_equal(atomic_load(&copy.result), stops ? SK_E_SHUTDOWN : SK_OK);
        free(copy.from);
        free(copy.to);
    }
    free(bytes);
    remove_tree(with.path);
}

static void folders_are_made_and_removed(void **state)
{
    bench with;
    (void)state;
    start(&with);
    char *path = sk_file_join(with.path, "folder");
    assert_int_equal(sk_file_remove_folder(path, with.error), 0);
    assert_int_equal(sk_file_make_folder(path, with.error), 0);
    assert_int_equal(sk_file_make_folder(path, with.error), 0);
    assert_int_equal(sk_file_write(path, "a", SK_BYTES_NONE, with.error), 0);
    assert_int_equal(sk_file_remove_folder(path, with.error), 0);
    assert_int_equal(access(path, F_OK), -1);
    assert_int_equal(sk_file_write(with.path, "folder", SK_BYTES_NONE, with.error), 0);
    assert_int_equal(sk_file_make_folder(path, with.error), SK_E_IO);
    free(path);
    remove_tree(with.path);
}

static void more_space_cures_what_it_cures(void **state)
{
    (void)state;
    assert_int_equal(sk_file_error(ENOSPC), SK_E_DISK_FULL);
    assert_int_equal(sk_file_error(EDQUOT), SK_E_DISK_FULL);
    assert_int_equal(sk_file_error(EIO), SK_E_IO);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_file_is_written_whole),
        cmocka_unit_test(a_copy_has_the_sum_of_its_bytes),
        cmocka_unit_test(a_rate_is_kept_until_it_is_lifted),
        cmocka_unit_test(folders_are_made_and_removed),
        cmocka_unit_test(more_space_cures_what_it_cures),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
