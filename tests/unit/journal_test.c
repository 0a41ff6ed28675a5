/* The commit log's files: what a crash, a damaged disk or a full one leaves of them, and that nothing else is read. */
#include "storage/journal.h"
#include "tests/unit/store_harness.h"

#include <signal.h>
#include <stdatomic.h>
#include <sys/resource.h>
#include <sys/wait.h>

enum { HEADER = 24, RECORD = 24 }; /* as journal.h has them */

typedef struct {
    char path[64];
    sk_journal journal;
    char error[SK_FOLDER_ERROR];
    uint64_t numbers[4096]; /* what the last read gave */
    size_t count;
    bool wrong; /* a record's bytes were not those of its number */
} bench;

/* A record's bytes follow from its number. */
static sk_bytes bytes_of(uint64_t number, size_t len)
{
    static uint8_t bytes[3 << 20];
    for (size_t i = 0; i < len; i++) bytes[i] = (uint8_t)(number * 31 + i * 7 + (i >> 8));
    return sk_bytes_of(bytes, len);
}

static int collect(void *self, uint64_t number, sk_bytes bytes)
{
    bench *with = self;
    sk_bytes expected = bytes_of(number, bytes.len);
    if (bytes.len && memcmp(bytes.data, expected.data, bytes.len) != 0) with->wrong = true;
    assert_true(with->count < 4096);
    with->numbers[with->count++] = number;
    return 0;
}

/* Not on the stack of a test, which may fail: the journal may have a thread. */
static bench *start(size_t segment_bytes)
{
    char error[SK_FOLDER_ERROR] = "";
    bench *with = sk_alloc(sizeof *with);
    strcpy(with->path, "/tmp/skerry-journal-XXXXXX");
    assert_non_null(mkdtemp(with->path));
    sk_journal_init(&with->journal, with->path, segment_bytes);
    assert_int_equal(sk_journal_restart(&with->journal, error), 0);
    return with;
}

static void end(bench *with)
{
    sk_journal_free(&with->journal);
    remove_tree(with->path);
    free(with);
}

static void append(bench *with, uint64_t number, size_t len)
{
    assert_int_equal(sk_journal_append(&with->journal, number, bytes_of(number, len), with->error), 0);
}

/* As the next start would: with a journal of its own, beside the one that is open. */
static int read_all(bench *with)
{
    sk_journal other;
    sk_journal_init(&other, with->path, 1 << 20);
    with->count = 0;
    with->wrong = false;
    with->error[0] = '\0';
    int result = sk_journal_read(&other, collect, with, with->error);
    sk_journal_free(&other);
    assert_false(with->wrong);
    return result;
}

static void expect(bench *with, uint64_t first, uint64_t last)
{
    assert_int_equal(read_all(with), 0);
    assert_int_equal(with->count, last + 1 - first);
    for (size_t i = 0; i < with->count; i++) assert_int_equal(with->numbers[i], first + i);
}

static char *name_of(const bench *with, uint64_t segment)
{
    static char name[128];
    snprintf(name, sizeof name, "%s/log/%016llx", with->path, (unsigned long long)segment);
    return name;
}

static size_t size_of(const char *path)
{
    struct stat status;
    return stat(path, &status) == 0 ? (size_t)status.st_size : 0;
}

static uint8_t byte_at(const char *path, size_t at)
{
    uint8_t byte;
    int fd = open(path, O_RDONLY);
    assert_int_equal(pread(fd, &byte, 1, (off_t)at), 1);
    close(fd);
    return byte;
}

static void write_at(const char *path, size_t at, const void *data, size_t len)
{
    int fd = open(path, O_WRONLY | O_CREAT, 0600);
    assert_true(fd >= 0);
    assert_int_equal(pwrite(fd, data, len, (off_t)at), (ssize_t)len);
    close(fd);
}

static void flip(const char *path, size_t at)
{
    uint8_t byte = (uint8_t)(byte_at(path, at) ^ 0x40);
    write_at(path, at, &byte, 1);
}

/* -- what is appended ----------------------------------------------------------------------------------------------- */

static void what_is_appended_is_read_in_order(void **state)
{
    (void)state;
    static const size_t segments[] = {1, 100, 4096, 8 << 20};
    for (size_t s = 0; s < sizeof segments / sizeof segments[0]; s++) {
        uint64_t seed = s;
        bench *with = start(segments[s]);
        expect(with, 1, 0);
        for (uint64_t number = 1; number <= 200; number++) {
            append(with, number, number == 70 ? 3 << 20 : number % 9 ? roll(&seed, 300) : 0);
            if (number % 50 == 0) assert_int_equal(sk_journal_sync(&with->journal, with->error), 0);
        }
        expect(with, 1, 200);
        sk_journal_close(&with->journal);
        expect(with, 1, 200);
        assert_true(sk_journal_bytes(&with->journal) >= 3 << 20);
        end(with);
    }
}

static int stop_at_five(void *self, uint64_t number, sk_bytes bytes)
{
    (void)bytes;
    ++*(int *)self;
    return number == 5 ? SK_E_MEMORY : 0;
}

static void a_visitor_can_end_the_reading(void **state)
{
    (void)state;
    sk_journal other;
    int count = 0;
    bench *with = start(200);
    for (uint64_t number = 1; number <= 20; number++) append(with, number, 50);
    sk_journal_init(&other, with->path, 1);
    assert_int_equal(sk_journal_read(&other, stop_at_five, &count, with->error), SK_E_MEMORY);
    assert_int_equal(count, 5);
    sk_journal_free(&other);
    end(with);
}

/* The bytes on disk: whoever changes them changes the format, and the number in MAGIC. */
static void the_bytes_are_the_ones_agreed_on(void **state)
{
    (void)state;
    static const uint8_t expected[] = {
        's', 'k', 'e', 'r', 'r', 'y', 'l', 'o', 'g', ' ', '2', '\n',
        0, 0, 0, 0, 0, 0, 0, 1, /* the segment */
        0, 0, 0x10, 0,          /* how long it must become */
        0x8a, 0xae, 0x93, 0x6f, 0x47, 0xc2, 0xa0, 0xbc, /* checksum */
        0, 0, 0, 3,                               /* length */
        0, 0, 0, 1, 0x23, 0x45, 0x67, 0x89,       /* number */
        0, 0, 0, 24,                              /* synced: the header */
        'a', 'b', 'c',
    };
    bench *with = start(4096);
    assert_int_equal(sk_journal_append(&with->journal, 0x123456789, sk_bytes_str("abc"), with->error), 0);
    for (size_t i = 0; i < sizeof expected; i++) assert_int_equal(byte_at(name_of(with, 1), i), expected[i]);
    assert_int_equal(size_of(name_of(with, 1)), 4096); /* its room is taken beforehand */
    for (size_t i = sizeof expected; i < 4096; i++) assert_int_equal(byte_at(name_of(with, 1), i), 0);
    end(with);
}

/* -- the end of the last segment ------------------------------------------------------------------------------------ */

static const size_t lengths[] = {0, 1, 30, 300, 7};
enum { RECORDS = 5 };

/* A segment with those; `ends` gets where each ends, the header first. */
static bench *write_some(size_t ends[RECORDS + 1])
{
    bench *with = start(1 << 16);
    ends[0] = HEADER;
    for (size_t i = 0; i < RECORDS; i++) {
        append(with, i + 1, lengths[i]);
        ends[i + 1] = ends[i] + RECORD + lengths[i];
    }
    return with;
}

static void a_torn_end_gives_what_is_before_it(void **state)
{
    (void)state;
    size_t ends[RECORDS + 1], whole = RECORDS;
    bench *with = write_some(ends);
    for (size_t len = size_of(name_of(with, 1)) - 1;; len = len > ends[RECORDS] ? ends[RECORDS] : len - 1) {
        assert_int_equal(truncate(name_of(with, 1), (off_t)len), 0);
        while (whole && len < ends[whole]) whole--;
        expect(with, 1, whole);
        if (len == 0) break;
    }
    end(with);
}

static void a_flipped_bit_gives_what_is_before_it(void **state)
{
    (void)state;
    size_t ends[RECORDS + 1], whole = 0;
    bench *with = write_some(ends);
    for (size_t at = HEADER; at < ends[RECORDS]; at++) {
        if (at == ends[whole + 1]) whole++;
        flip(name_of(with, 1), at);
        expect(with, 1, whole);
        flip(name_of(with, 1), at);
    }
    expect(with, 1, RECORDS);
    end(with);
}

/* Synced after every second record: damage in the last segment is a torn end only where nothing proves otherwise. */
static void damage_in_what_a_later_record_says_was_synced_is_corruption(void **state)
{
    (void)state;
    size_t ends[RECORDS + 1];
    bench *with = start(1 << 16);
    ends[0] = HEADER;
    for (size_t i = 0; i < RECORDS; i++) {
        append(with, i + 1, lengths[i]);
        ends[i + 1] = ends[i] + RECORD + lengths[i];
        if (i % 2) assert_int_equal(sk_journal_sync(&with->journal, with->error), 0);
    }
    for (size_t at = HEADER, whole = 0; at < ends[RECORDS]; at++) {
        if (at == ends[whole + 1]) whole++;
        flip(name_of(with, 1), at);
        if (whole < 4) { /* the fifth record says so of all four */
            assert_int_equal(read_all(with), SK_E_CORRUPT);
            assert_non_null(strstr(with->error, "a record of segment 0000000000000001 is damaged"));
            assert_int_equal(with->count, whole);
        } else {
            expect(with, 1, whole);
        }
        flip(name_of(with, 1), at);
    }
    /* Two in a row, and the fifth one as well: now only the third says of the first two. */
    flip(name_of(with, 1), ends[0]);
    flip(name_of(with, 1), ends[1]);
    flip(name_of(with, 1), ends[4]);
    assert_int_equal(read_all(with), SK_E_CORRUPT);
    flip(name_of(with, 1), ends[2]);
    flip(name_of(with, 1), ends[3]);
    expect(with, 1, 0); /* nobody is left to say */
    end(with);
}

/* The header is synced before the first record, so records after a damaged one were acknowledged. */
static void a_damaged_header_before_records_is_corruption(void **state)
{
    (void)state;
    size_t ends[RECORDS + 1];
    bench *with = write_some(ends);
    for (size_t at = 0; at < HEADER - 4; at++) { /* the last four say something about segments that are not the last */
        flip(name_of(with, 1), at);
        int expected = at == 10 || at == 11 ? SK_E_FORMAT : SK_E_CORRUPT;
        assert_int_equal(read_all(with), expected);
        assert_non_null(strstr(with->error, expected == SK_E_FORMAT ? "another version" : "damaged"));
        assert_int_equal(with->count, 0);
        flip(name_of(with, 1), at);
    }
    end(with);
}

static void another_version_is_refused(void **state)
{
    (void)state;
    for (uint64_t segment = 1; segment <= 2; segment++) {
        bench *with = start(100);
        for (uint64_t number = 1; number <= 2; number++) append(with, number, 200);
        write_at(name_of(with, segment), 10, "1", 1);
        assert_int_equal(read_all(with), SK_E_FORMAT);
        assert_non_null(strstr(with->error, "another version of skerry"));
        assert_non_null(strstr(with->error, segment == 1 ? "0000001 " : "0000002 "));
        end(with);
    }
}

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SHADOWED 1 /* sanitizers take terabytes of addresses for themselves */
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SHADOWED 1
#endif
#endif
#ifndef SHADOWED
#define SHADOWED 0
#endif

/* In a process that may not take that much. */
static void a_length_that_is_a_lie_takes_no_memory(void **state)
{
    (void)state;
    static const uint8_t lies[][4] = {{0xff, 0xff, 0xff, 0xff}, {0x7f, 0, 0, 0}, {0, 1, 0, 0}};
    for (size_t i = 0; i < sizeof lies / sizeof lies[0]; i++) {
        size_t ends[RECORDS + 1];
        bench *with = write_some(ends);
        write_at(name_of(with, 1), ends[2] + 8, lies[i], sizeof lies[i]);
        pid_t child = fork();
        if (child == 0) {
            struct rlimit limit = {256 << 20, 256 << 20};
            if (!SHADOWED && setrlimit(RLIMIT_AS, &limit) != 0) _exit(2);
            _exit(read_all(with) == 0 && with->count == 2 ? 0 : 1);
        }
        int status;
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_true(WIFEXITED(status));
        assert_int_equal(WEXITSTATUS(status), 0);
        end(with);
    }
}

/* -- several segments ----------------------------------------------------------------------------------------------- */

static void damage_before_the_last_segment_is_corruption(void **state)
{
    (void)state;
    bench *with = start(300);
    for (uint64_t number = 1; number <= 9; number++) append(with, number, 100); /* three a segment */
    expect(with, 1, 9);
    assert_int_equal(with->journal.current, 3);
    size_t whole = HEADER + 3 * (RECORD + 100);
    for (uint64_t segment = 1; segment <= 2; segment++) {
        for (size_t at = 0; at < whole; at++) {
            if (at >= HEADER - 4 && at < HEADER) continue;
            flip(name_of(with, segment), at);
            int expected = at == 10 || at == 11 ? SK_E_FORMAT : SK_E_CORRUPT;
            assert_int_equal(read_all(with), expected);
            assert_non_null(strstr(with->error, segment == 1 ? "segment 0000000000000001 is" : "segment 0000000000000002 is"));
            assert_in_range(with->count, 0, segment * 3 - 1);
            flip(name_of(with, segment), at);
        }
    }
    expect(with, 1, 9);
    for (size_t len = whole; len-- > 0;) {
        assert_int_equal(truncate(name_of(with, 2), (off_t)len), 0);
        assert_int_equal(read_all(with), SK_E_CORRUPT);
        assert_in_range(with->count, 3, 5);
    }
    end(with);
}

/* Records of one size, so that what is left of older ones stands exactly where the next would. */
static void recycled_segments_give_nothing_stale(void **state)
{
    (void)state;
    uint64_t number = 0, seed = 9;
    bench *with = start(1000);
    for (int round = 0; round < 400; round++) {
        append(with, ++number, 60);
        if (roll(&seed, 4) == 0) {
            uint64_t upto = number > 20 ? number - roll(&seed, 20) : 0;
            assert_int_equal(sk_journal_remove(&with->journal, upto, with->error), 0);
        }
        assert_int_equal(read_all(with), 0);
        assert_true(with->count > 0);
        for (size_t i = 0; i < with->count; i++) assert_int_equal(with->numbers[i], number + 1 - with->count + i);
    }
    assert_true(with->journal.current > 20);
    assert_true(sk_journal_bytes(&with->journal) < 20 * 1000); /* they were used again, or removed */
    assert_int_equal(size_of(name_of(with, 1)), 0);
    end(with);
}

/* Where a crash may come between the steps of using a segment again. */
static void a_crash_while_a_segment_begins_loses_nothing(void **state)
{
    (void)state;
    char old[128];
    bench *with = start(300);
    for (uint64_t number = 1; number <= 9; number++) append(with, number, 100);
    assert_int_equal(sk_journal_remove(&with->journal, 3, with->error), 0);
    expect(with, 4, 9);
    sk_journal_close(&with->journal);
    snprintf(old, sizeof old, "%s/log/spare-%016x", with->path, 1);
    assert_int_equal(rename(old, name_of(with, 1)), 0); /* that it was not needed did not come to the disk */
    expect(with, 1, 9);
    assert_int_equal(rename(name_of(with, 1), old), 0);
    assert_int_equal(rename(old, name_of(with, 4)), 0); /* it has its new name, and its old header */
    expect(with, 4, 9);
    assert_int_equal(truncate(name_of(with, 4), HEADER / 2), 0);
    expect(with, 4, 9);
    assert_int_equal(truncate(name_of(with, 4), 0), 0); /* a new one, and nothing in it */
    expect(with, 4, 9);
    assert_int_equal(truncate(name_of(with, 4), 300), 0);
    expect(with, 4, 9);
    end(with);
}

static void what_lies_before_a_gap_was_removed(void **state)
{
    (void)state;
    bench *with = start(300);
    for (uint64_t number = 1; number <= 15; number++) append(with, number, 100);
    sk_journal_close(&with->journal);
    assert_int_equal(unlink(name_of(with, 2)), 0);
    flip(name_of(with, 1), HEADER + 5); /* and nobody looks at it */
    expect(with, 7, 15);
    assert_int_equal(unlink(name_of(with, 4)), 0);
    expect(with, 13, 15);
    end(with);
}

static void removing_keeps_what_is_needed(void **state)
{
    (void)state;
    for (uint64_t upto = 0; upto <= 15; upto++) {
        bench *with = start(300);
        for (uint64_t number = 1; number <= 15; number++) append(with, number, 100);
        assert_int_equal(sk_journal_remove(&with->journal, upto, with->error), 0);
        assert_int_equal(read_all(with), 0);
        uint64_t segments = upto / 3 < 4 ? upto / 3 : 4; /* the current one stays, all of it not needed or not */
        assert_int_equal(with->journal.count, 5 - segments);
        assert_int_equal(with->journal.segments[0].number, segments + 1);
        assert_in_range(with->numbers[0], 1, upto + 1); /* nothing that is needed is missing */
        assert_int_equal(with->numbers[with->count - 1], 15);
        append(with, 16, 100);
        assert_int_equal(read_all(with), 0);
        assert_int_equal(with->numbers[with->count - 1], 16);
        end(with);
    }
}

static void a_large_record_does_not_keep_its_room(void **state)
{
    (void)state;
    bench *with = start(1000);
    append(with, 1, 1 << 20);
    append(with, 2, 2000);
    assert_int_equal(sk_journal_remove(&with->journal, 1, with->error), 0);
    append(with, 3, 10); /* out of the first one */
    assert_int_equal(with->journal.current, 3);
    assert_true(sk_journal_bytes(&with->journal) < 10000);
    expect(with, 2, 3);
    end(with);
}

static void a_restart_empties(void **state)
{
    (void)state;
    bench *with = start(300);
    for (int round = 0; round < 3; round++) {
        for (uint64_t number = 1; number <= 10; number++) append(with, number, 100);
        if (round == 1) assert_int_equal(sk_journal_remove(&with->journal, 5, with->error), 0);
        uint64_t before = with->journal.current;
        assert_int_equal(sk_journal_restart(&with->journal, with->error), 0);
        assert_int_equal(with->journal.current, before + 1); /* a number is not used again */
        expect(with, 1, 0);
        assert_true(sk_journal_bytes(&with->journal) <= (1 + SK_SPARES_MAX) * 450); /* segments become spares */
    }
    append(with, 1, 10);
    expect(with, 1, 1);
    end(with);
}

/* Whatever has become of it: it is not read, and a segment that is made of it has nothing of that. */
static void what_a_spare_holds_is_nobodys_business(void **state)
{
    (void)state;
    bench *with = start(300);
    char spare[128], other[400];
    memset(other, 0xa5, sizeof other);
    for (uint64_t number = 1; number <= 9; number++) append(with, number, 100);
    assert_int_equal(sk_journal_remove(&with->journal, 3, with->error), 0);
    snprintf(spare, sizeof spare, "%s/log/spare-%016x", with->path, 1);
    assert_true(size_of(spare) > 0);
    write_at(spare, 0, other, sizeof other);
    expect(with, 4, 9);
    assert_int_equal(sk_journal_restart(&with->journal, with->error), 0);
    for (uint64_t number = 1; number <= 30; number++) {
        append(with, number, 100);
        expect(with, 1, number);
    }
    end(with);
}

/* A crash within a restart: spares are all there is. What is left in them must stay that of other segments. */
static void no_number_of_a_spare_comes_back(void **state)
{
    (void)state;
    bench *with = start(300);
    for (uint64_t number = 1; number <= 30; number++) append(with, number, 100);
    assert_int_equal(sk_journal_restart(&with->journal, with->error), 0);
    sk_journal_close(&with->journal);
    assert_int_equal(unlink(name_of(with, with->journal.current)), 0);
    uint64_t highest = sk_spares_look(&with->journal.spares);
    assert_true(highest > 0);
    assert_int_equal(sk_journal_restart(&with->journal, with->error), 0);
    assert_int_equal(with->journal.current, highest + 1);
    for (uint64_t number = 1; number <= 30; number++) {
        append(with, number, 100);
        expect(with, 1, number);
    }
    end(with);
}

static void other_files_are_left_alone(void **state)
{
    (void)state;
    char name[160];
    static const char *const names[] = {"0", "zzzzzzzzzzzzzzzz", "0000000000000000", "00000000000000010", " 000000000000001"};
    bench *with = start(300);
    append(with, 1, 10);
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        snprintf(name, sizeof name, "%s/log/%s", with->path, names[i]);
        write_at(name, 0, "x", 1);
    }
    expect(with, 1, 1);
    assert_int_equal(sk_journal_restart(&with->journal, with->error), 0);
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        snprintf(name, sizeof name, "%s/log/%s", with->path, names[i]);
        assert_int_equal(size_of(name), 1);
    }
    end(with);
}

/* -- failures ------------------------------------------------------------------------------------------------------- */

static void limit_files(rlim_t bytes)
{
    struct rlimit limit;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit), 0);
    limit.rlim_cur = bytes ? bytes : limit.rlim_max;
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

/* Within a record, and at the beginning of a segment. */
static void a_full_disk_is_an_error_and_the_prefix_stays(void **state)
{
    (void)state;
    static const size_t record[] = {5000, 100, 1};
    for (size_t i = 0; i < sizeof record / sizeof record[0]; i++) {
        uint64_t number = 0;
        int result = 0;
        bench *with = start(20000);
        append(with, ++number, record[i]);
        limit_files(20010);
        for (; !result && number < 3000; number += !result)
            result = sk_journal_append(&with->journal, number + 1, bytes_of(number + 1, record[i]), with->error);
        if (!result) limit_files(15000);
        for (; !result && number < 3500; number += !result)
            result = sk_journal_append(&with->journal, number + 1, bytes_of(number + 1, record[i]), with->error);
        limit_files(0);
        assert_int_equal(result, SK_E_DISK_FULL);
        assert_non_null(strstr(with->error, "the commit log: cannot "));
        sk_journal_close(&with->journal);
        expect(with, 1, number);
        assert_int_equal(sk_journal_restart(&with->journal, with->error), 0);
        append(with, 1, record[i]);
        expect(with, 1, 1);
        end(with);
    }
}

static void a_folder_that_cannot_be_read_is_an_error(void **state)
{
    (void)state;
    bench *with = start(300);
    append(with, 1, 10);
    sk_journal_close(&with->journal);
    assert_int_equal(unlink(name_of(with, 1)), 0);
    assert_int_equal(mkdir(name_of(with, 1), 0700), 0);
    assert_int_equal(read_all(with), SK_E_IO);
    assert_non_null(strstr(with->error, "the commit log: cannot "));
    assert_true(sk_journal_restart(&with->journal, with->error) < 0);
    assert_non_null(strstr(with->error, "remove a segment"));
    end(with);
}

/* What was appended is with the operating system: a process that is killed loses none of it. */
static void a_killed_process_loses_nothing_that_was_appended(void **state)
{
    (void)state;
    uint64_t seed = 4;
    for (int round = 0; round < 6; round++) {
        int ends[2];
        bench *with = start(5000);
        assert_int_equal(pipe(ends), 0);
        pid_t child = fork();
        if (child == 0) {
            for (uint64_t number = 1;; number++) {
                if (sk_journal_append(&with->journal, number, bytes_of(number, number % 400), with->error)) _exit(1);
                if (write(ends[1], &number, sizeof number) != sizeof number) _exit(2);
                if (number > 300 && sk_journal_remove(&with->journal, number - 300, with->error)) _exit(3);
            }
        }
        close(ends[1]);
        uint64_t said = 0, some, kill_after = 20 + roll(&seed, 1500);
        while (read(ends[0], &some, sizeof some) == sizeof some) {
            said = some;
            if (some == kill_after) kill(child, SIGKILL);
        }
        close(ends[0]);
        int status;
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_true(WIFSIGNALED(status));
        sk_journal_close(&with->journal);
        assert_int_equal(read_all(with), 0);
        assert_true(with->count > 0);
        uint64_t last = with->numbers[with->count - 1], first = with->numbers[0];
        assert_true(last >= said);
        assert_true(first == 1 || first + 300 <= last + 1);
        for (size_t i = 0; i < with->count; i++) assert_int_equal(with->numbers[i], first + i);
        end(with);
    }
}

typedef struct {
    sk_journal *journal;
    _Atomic bool stop;
    _Atomic uint64_t appended;
    int failed;
} other_thread;

/* What the placing thread does beside the commit thread. */
static void *sync_and_remove(void *argument)
{
    other_thread *other = argument;
    char error[SK_FOLDER_ERROR];
    while (!atomic_load(&other->stop) && !other->failed) {
        uint64_t upto = atomic_load(&other->appended);
        other->failed = sk_journal_sync(other->journal, error);
        if (!other->failed && upto > 10) other->failed = sk_journal_remove(other->journal, upto - 10, error);
    }
    return NULL;
}

static void another_thread_may_sync_and_remove(void **state)
{
    (void)state;
    pthread_t thread;
    bench *with = start(2000);
    other_thread other = {.journal = &with->journal};
    assert_int_equal(pthread_create(&thread, NULL, sync_and_remove, &other), 0);
    for (uint64_t number = 1; number <= 3000; number++) {
        append(with, number, number % 300);
        atomic_store(&other.appended, number);
    }
    atomic_store(&other.stop, true);
    pthread_join(thread, NULL);
    assert_int_equal(other.failed, 0);
    assert_int_equal(read_all(with), 0);
    for (size_t i = 0; i < with->count; i++) assert_int_equal(with->numbers[i], 3001 - with->count + i);
    assert_true(with->count >= 10);
    end(with);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_appended_is_read_in_order),
        cmocka_unit_test(a_visitor_can_end_the_reading),
        cmocka_unit_test(the_bytes_are_the_ones_agreed_on),
        cmocka_unit_test(a_torn_end_gives_what_is_before_it),
        cmocka_unit_test(a_flipped_bit_gives_what_is_before_it),
        cmocka_unit_test(damage_in_what_a_later_record_says_was_synced_is_corruption),
        cmocka_unit_test(a_damaged_header_before_records_is_corruption),
        cmocka_unit_test(another_version_is_refused),
        cmocka_unit_test(a_length_that_is_a_lie_takes_no_memory),
        cmocka_unit_test(damage_before_the_last_segment_is_corruption),
        cmocka_unit_test(recycled_segments_give_nothing_stale),
        cmocka_unit_test(a_crash_while_a_segment_begins_loses_nothing),
        cmocka_unit_test(what_lies_before_a_gap_was_removed),
        cmocka_unit_test(removing_keeps_what_is_needed),
        cmocka_unit_test(a_large_record_does_not_keep_its_room),
        cmocka_unit_test(a_restart_empties),
        cmocka_unit_test(what_a_spare_holds_is_nobodys_business),
        cmocka_unit_test(no_number_of_a_spare_comes_back),
        cmocka_unit_test(other_files_are_left_alone),
        cmocka_unit_test(a_full_disk_is_an_error_and_the_prefix_stays),
        cmocka_unit_test(a_folder_that_cannot_be_read_is_an_error),
        cmocka_unit_test(a_killed_process_loses_nothing_that_was_appended),
        cmocka_unit_test(another_thread_may_sync_and_remove),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
