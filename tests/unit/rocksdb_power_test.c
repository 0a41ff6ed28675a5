/* Power losses on the files of the real store, on the disk of tests/unit/power.h. Opened, what a loss left must hold a prefix of
 * the batches, with all that had been given as durable. */
#include "tests/unit/power.h"

#include "storage/journal.h"

enum {
    LOSSES = 8,  /* of one run, at most; the last one is at its end */
    EVERY = 100, /* calls between two of them, at most */
    BATCHES = 240,
    KEYS = 600,
    VALUE_BYTES = 900,
    CHANGES = 120, /* of one batch, at most */
    SMALL_PLACE = 200 << 10,  /* many runs, none with a table */
    LARGE_PLACE = 4 << 20,    /* a few, with tables */
    SMALL_SEGMENT = 96 << 10, /* many are used up */
    LARGE_SEGMENT = 2 << 20,  /* none is, in a run */
    JOURNAL_SEGMENT = 8 << 10,
    RECORDS = 50, /* some segments of those */
};

/* -- the batches -------------------------------------------------------------------------------------------------- */

static sk_bytes key_of(uint32_t number, char key[16])
{
    snprintf(key, 16, "key%05u", number);
    return sk_bytes_str(key);
}

/* The changes of a batch, which only its number and the seed decide, into any store. */
static void change(sk_store *store, uint64_t seed, uint64_t number)
{
    static char value[VALUE_BYTES];
    char text[32], key[16], end[16];
    uint64_t dice = seed * 1000 + number;
    snprintf(text, sizeof text, "%llu", (unsigned long long)number);
    for (uint32_t left = 1 + roll(&dice, CHANGES); left > 0; left--) {
        sk_cf cf = (sk_cf)roll(&dice, SK_CF_COUNT);
        uint32_t at = roll(&dice, KEYS), kind = roll(&dice, 40);
        if (kind == 0) {
            sk_store_remove_range(store, cf, key_of(at, key), roll(&dice, 2) ? key_of(at + 30, end) : SK_BYTES_NONE);
        } else if (kind < 6) {
            sk_store_remove(store, cf, key_of(at, key));
        } else {
            memset(value, 'a' + (int)roll(&dice, 26), sizeof value);
            memcpy(value, text, strlen(text) + 1);
            sk_store_put(store, cf, key_of(at, key), sk_bytes_of(value, 20 + roll(&dice, sizeof value - 20)));
        }
    }
    put(store, SK_CF_META, "number", text);
}

static void assert_equal_stores(sk_store *store, sk_store *model)
{
    for (int cf = 0; cf < SK_CF_COUNT; cf++) {
        sk_store_iter *a = sk_store_iterate(store, NULL, (sk_cf)cf, SK_BYTES_NONE, SK_BYTES_NONE);
        sk_store_iter *b = sk_store_iterate(model, NULL, (sk_cf)cf, SK_BYTES_NONE, SK_BYTES_NONE);
        sk_bytes key_a, value_a, key_b, value_b;
        for (int some = 1; some;) {
            some = sk_store_next(store, a, &key_a, &value_a);
            assert_int_equal(some, sk_store_next(model, b, &key_b, &value_b));
            if (!some) break;
            assert_true(sk_bytes_equal(key_a, key_b));
            assert_true(sk_bytes_equal(value_a, value_b));
        }
        sk_store_iter_free(store, a);
        sk_store_iter_free(model, b);
    }
}

/* RocksDB cannot tell damage in its log from the torn end of one, and takes what is before it for all there was. */
static void empty_logs(int loss)
{
    char path[2 * POWER_PATH], folder[POWER_PATH];
    lost_path(loss, path);
    assert_true(snprintf(folder, sizeof folder, "%s/db", path) < POWER_PATH);
    DIR *list = opendir(folder);
    assert_non_null(list);
    for (struct dirent *entry; (entry = readdir(list));) {
        size_t len = strlen(entry->d_name);
        if (len < 4 || strcmp(entry->d_name + len - 4, ".log") != 0) continue;
        assert_true((size_t)snprintf(path, sizeof path, "%s/%s", folder, entry->d_name) < sizeof path);
        assert_int_equal(truncate(path, 0), 0);
    }
    closedir(list);
}

/* -- runs --------------------------------------------------------------------------------------------------------- */

/* What a machine finds after a loss: batches up to some number, all of each. */
static void assert_prefix(harness *with, uint64_t seed, int loss)
{
    char path[POWER_PATH];
    lost_path(loss, path);
    harness found = {.on_disk = true, .durability = with->durability, .options = with->options};
    sem_init(&found.woken, 0, 0);
    assert_true(strlen(path) < sizeof found.path);
    strcpy(found.path, path);
    harness_open(&found);
    const char *text = get(found.store, SK_CF_META, "number");
    uint64_t number = text ? strtoull(text, NULL, 10) : 0;
    if (number < machine.durable[loss])
        print_error("loss %d: %llu batches, and %llu had been durable\n", loss, (unsigned long long)number,
                    (unsigned long long)machine.durable[loss]);
    assert_true(number >= machine.durable[loss]);
    sk_store *model = sk_memory_open(SK_DURABILITY_OS);
    for (uint64_t i = 1; i <= number; i++) change(model, seed, i);
    assert_equal_stores(found.store, model);
    sk_store_close(model);
    harness_end(&found);
}

static void start_machine(harness *with, uint64_t seed, sk_durability durability)
{
    *with = (harness){.on_disk = true, .durability = durability};
    with->options.segment_bytes = seed % 2 ? SMALL_SEGMENT : LARGE_SEGMENT;
    with->options.place_bytes = seed % 4 < 2 ? SMALL_PLACE : LARGE_PLACE;
    sem_init(&with->woken, 0, 0);
    strcpy(with->path, "/tmp/skerry-store-XXXXXX");
    assert_non_null(mkdtemp(with->path));
    power_start(with->path, seed);
    machine.most = LOSSES - 1;
    machine.every = EVERY;
    machine.next = 1 + roll(&machine.seed, EVERY);
    harness_open(with);
}

static void commit_batches(harness *with, uint64_t seed, uint64_t from, uint64_t upto)
{
    uint64_t dice = seed;
    for (uint64_t i = from; i <= upto; i++) {
        change(with->store, seed, i);
        uint64_t batch = sk_store_seal(with->store);
        if (with->durability == SK_DURABILITY_ALWAYS || roll(&dice, 8) == 0)
            assert_int_equal(harness_commit(with, batch), SK_OK);
        bool flushes = roll(&dice, 40) == 0;
        if (flushes) assert_int_equal(sk_store_flush(with->store), SK_OK);
        if (flushes || with->durability == SK_DURABILITY_ALWAYS) atomic_store(&durable, i);
    }
}

/* The power goes now and then, and once more at the end. */
static void end_machine(harness *with, uint64_t seed)
{
    power_off();
    lose_power();
    for (int i = 0; i < machine.losses; i++) assert_prefix(with, seed, i);
    power_end();
    remove_tree(with->path);
    sem_destroy(&with->woken);
}

static void a_loss_at_any_time(sk_durability durability)
{
    for (uint64_t seed = 1; seed <= 4; seed++) {
        harness with;
        start_machine(&with, seed, durability);
        commit_batches(&with, seed, 1, BATCHES);
        power_off();
        sk_store_close(with.store);
        end_machine(&with, seed);
    }
}

static void always_loses_nothing_that_was_durable(void **state)
{
    (void)state;
    a_loss_at_any_time(SK_DURABILITY_ALWAYS);
}

static void what_is_not_synced_is_lost_from_some_batch_on(void **state)
{
    (void)state;
    a_loss_at_any_time(SK_DURABILITY_INTERVAL);
    a_loss_at_any_time(SK_DURABILITY_OS);
}

/* A clean stop syncs everything, under every durability; and so does the start after it. */
static void after_a_clean_stop_nothing_is_lost(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 4; seed++) {
        harness with;
        uint64_t batches = seed * 20;
        start_machine(&with, seed, (sk_durability)(seed % 3));
        commit_batches(&with, seed, 1, batches / 2);
        sk_store_close(with.store);
        atomic_store(&durable, batches / 2);
        harness_open(&with);
        commit_batches(&with, seed, batches / 2 + 1, batches);
        sk_store_close(with.store);
        atomic_store(&durable, batches);
        end_machine(&with, seed);
    }
}

static void after_a_clean_stop_nothing_is_in_rocksdbs_log(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 2; seed++) {
        harness with;
        start_machine(&with, seed, SK_DURABILITY_ALWAYS);
        machine.most = 0;
        commit_batches(&with, seed, 1, 20);
        sk_store_close(with.store);
        atomic_store(&durable, 20);
        power_off();
        lose_power();
        empty_logs(0);
        assert_prefix(&with, seed, 0);
        power_end();
        remove_tree(with.path);
        sem_destroy(&with.woken);
    }
}

/* Its name may not be on the disk: the process that made it ended right there. */
static void a_folder_that_is_there_stays(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 8; seed++) {
        char root[] = "/tmp/skerry-store-XXXXXX", path[POWER_PATH], lost[POWER_PATH + 8], error[SK_FILE_ERROR];
        assert_non_null(mkdtemp(root));
        power_start(root, seed);
        snprintf(path, sizeof path, "%s/data", root);
        assert_int_equal(mkdir(path, 0700), 0);
        assert_int_equal(sk_file_make_folder(path, error), 0);
        power_off();
        lose_power();
        lost_path(0, path);
        snprintf(lost, sizeof lost, "%s/data", path);
        assert_int_equal(access(lost, F_OK), 0);
        power_end();
        remove_tree(root);
    }
}

/* -- the log alone ------------------------------------------------------------------------------------------------ */

static int note_number(void *self, uint64_t number, sk_bytes bytes)
{
    (void)bytes;
    *(uint64_t *)self = number;
    return 0;
}

/* The number of the last record in the log of a folder, 0: there is none. */
static uint64_t last_in_log(const char *folder)
{
    char error[SK_FOLDER_ERROR];
    uint64_t last = 0;
    sk_journal journal;
    sk_journal_init(&journal, folder, JOURNAL_SEGMENT);
    int result = sk_journal_read(&journal, note_number, &last, error);
    if (result) print_error("%s\n", error);
    assert_int_equal(result, 0);
    sk_journal_free(&journal);
    return last;
}

/* Segments of it were removed before, without a sync. */
static void a_log_that_begins_anew_has_its_end_or_nothing(void **state)
{
    static const char text[JOURNAL_SEGMENT / 8];
    (void)state;
    for (uint64_t seed = 1; seed <= 16; seed++) {
        char root[] = "/tmp/skerry-store-XXXXXX", path[POWER_PATH], error[SK_FOLDER_ERROR];
        sk_journal journal;
        assert_non_null(mkdtemp(root));
        power_start(root, seed);
        sk_journal_init(&journal, root, JOURNAL_SEGMENT);
        assert_int_equal(sk_journal_restart(&journal, error), 0);
        for (uint64_t i = 1; i <= RECORDS; i++)
            assert_int_equal(sk_journal_append(&journal, i, sk_bytes_of(text, sizeof text), error), 0);
        assert_int_equal(sk_journal_sync(&journal, error), 0);
        assert_int_equal(sk_journal_remove(&journal, seed % 2 ? RECORDS : RECORDS / 2, error), 0);
        machine.most = POWER_LOSSES;
        machine.every = 1;
        machine.next = machine.calls + 1;
        assert_int_equal(sk_journal_restart(&journal, error), 0);
        power_off();
        sk_journal_free(&journal);
        assert_true(machine.losses > 4);
        for (int i = 0; i < machine.losses; i++) {
            lost_path(i, path);
            uint64_t last = last_in_log(path);
            assert_true(last == 0 || last == RECORDS);
        }
        power_end();
        remove_tree(root);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(always_loses_nothing_that_was_durable),
        cmocka_unit_test(what_is_not_synced_is_lost_from_some_batch_on),
        cmocka_unit_test(after_a_clean_stop_nothing_is_lost),
        cmocka_unit_test(after_a_clean_stop_nothing_is_in_rocksdbs_log),
        cmocka_unit_test(a_folder_that_is_there_stays),
        cmocka_unit_test(a_log_that_begins_anew_has_its_end_or_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
