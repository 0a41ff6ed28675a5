#include "storage/journal.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>
#include <xxhash.h>

static const char MAGIC[] = "skerrylog 2\n";

enum {
    MAGIC_BYTES = sizeof MAGIC - 1,
    HEADER_BYTES = MAGIC_BYTES + 8 + 4,
    RECORD_BYTES = 8 + 4 + 8 + 4, /* checksum, length, number, synced */
    NAME_DIGITS = 16,
    PAGE_BYTES = 4096,
    READ_BYTES = 1 << 20, /* of a segment in memory at a time, but for one record that is longer */
    SEARCH_BYTES = 64 << 20, /* at most so many are hashed to see whether a damaged record had been synced */
};

static void put_number(uint8_t *at, uint64_t number, int bytes)
{
    for (int i = 0; i < bytes; i++) at[i] = (uint8_t)(number >> (8 * (bytes - 1 - i)));
}

static uint64_t get_number(const uint8_t *at, int bytes)
{
    uint64_t number = 0;
    for (int i = 0; i < bytes; i++) number = number << 8 | at[i];
    return number;
}

static int say(char *error, const char *what, int number)
{
    snprintf(error, SK_FOLDER_ERROR, "the commit log: cannot %s: %s", what, strerror(number));
    return sk_file_error(number);
}

static char *path_of(const sk_journal *journal, uint64_t number)
{
    char name[NAME_DIGITS + 1];
    snprintf(name, sizeof name, "%016llx", (unsigned long long)number);
    return sk_file_join(journal->path, name);
}

static int sync_folder(const sk_journal *journal, char *error)
{
    return sk_file_sync_folder(journal->path) == 0 ? 0 : say(error, "sync its folder", errno);
}

void sk_journal_init(sk_journal *journal, const char *parent, size_t segment_bytes)
{
    *journal = (sk_journal){.fd = -1, .segment_bytes = segment_bytes};
    journal->path = sk_file_join(parent, "log");
    sk_spares_init(&journal->spares, journal->path, segment_bytes);
    sk_assert(pthread_mutex_init(&journal->syncing, NULL) == 0);
    sk_assert(pthread_mutex_init(&journal->lock, NULL) == 0);
}

void sk_journal_close(sk_journal *journal)
{
    if (journal->fd >= 0) close(journal->fd);
    journal->fd = -1;
    journal->sync_failed = 0;
    journal->count = 0;
}

void sk_journal_free(sk_journal *journal)
{
    sk_journal_close(journal);
    sk_spares_free(&journal->spares);
    pthread_mutex_destroy(&journal->lock);
    pthread_mutex_destroy(&journal->syncing);
    free(journal->segments);
    free(journal->path);
    *journal = (sk_journal){.fd = -1};
}

/* -- what is in the folder ---------------------------------------------------------------------------------------- */

static void add_segment(sk_journal *journal, sk_segment segment)
{
    if (journal->count == journal->room) {
        journal->room = journal->room ? journal->room * 2 : 16;
        journal->segments = sk_realloc(journal->segments, journal->room * sizeof *journal->segments);
    }
    journal->segments[journal->count++] = segment;
}

static int compare_segments(const void *a, const void *b)
{
    const sk_segment *x = a, *y = b;
    return x->number < y->number ? -1 : x->number > y->number;
}

/* All segments into the list, ascending. A missing folder has none. */
static int list_segments(sk_journal *journal, char *error)
{
    journal->count = 0;
    DIR *list = opendir(journal->path);
    if (!list) return errno == ENOENT ? 0 : say(error, "list its folder", errno);
    errno = 0;
    for (struct dirent *entry; (entry = readdir(list)); errno = 0) {
        if (strspn(entry->d_name, "0123456789abcdef") != NAME_DIGITS || entry->d_name[NAME_DIGITS]) continue;
        uint64_t number = strtoull(entry->d_name, NULL, 16);
        if (number) add_segment(journal, (sk_segment){number, 0});
    }
    int result = errno ? say(error, "list its folder", errno) : 0;
    closedir(list);
    if (journal->count) qsort(journal->segments, journal->count, sizeof *journal->segments, compare_segments);
    return result;
}

uint64_t sk_journal_bytes(const sk_journal *journal)
{
    uint64_t bytes = 0;
    DIR *list = opendir(journal->path);
    if (!list) return 0;
    for (struct dirent *entry; (entry = readdir(list));) {
        struct stat status;
        if (fstatat(dirfd(list), entry->d_name, &status, 0) == 0 && S_ISREG(status.st_mode))
            bytes += (uint64_t)status.st_size;
    }
    closedir(list);
    return bytes;
}

/* -- reading ------------------------------------------------------------------------------------------------------ */

typedef struct {
    int fd;
    sk_buf ahead; /* bytes of the file */
    size_t at;    /* those before were used */
    bool ended;
} segment_reader;

static sk_bytes view(const segment_reader *reader)
{
    if (reader->at == reader->ahead.len) return SK_BYTES_NONE;
    return sk_bytes_of(reader->ahead.data + reader->at, reader->ahead.len - reader->at);
}

/* Up to `wanted` bytes to view; fewer at the file's end. 0 or an errno. */
static int read_ahead(segment_reader *reader, size_t wanted)
{
    if (view(reader).len < wanted) {
        sk_buf_consume(&reader->ahead, reader->at);
        reader->at = 0;
    }
    while (reader->ahead.len - reader->at < wanted && !reader->ended) {
        size_t more = wanted > READ_BYTES ? wanted : READ_BYTES;
        uint8_t *at = sk_buf_reserve(&reader->ahead, more);
        if (!at) return ENOMEM;
        ssize_t got = read(reader->fd, at, more);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) return errno;
        reader->ahead.len += (size_t)got;
        reader->ended = got == 0;
    }
    return 0;
}

static uint64_t checksum(uint64_t segment, const uint8_t *record, sk_bytes bytes)
{
    uint64_t seed = XXH3_64bits_withSeed(record + 8, RECORD_BYTES - 8, segment);
    return XXH3_64bits_withSeed(bytes.data, bytes.len, seed);
}

/* Of a record. */
typedef struct {
    uint64_t number;
    size_t synced;
    sk_bytes bytes;
} sk_record;

/* The next record. 1, 0: none, or a file that ends within it, or one that is not of this segment; -errno. */
static int next_record(segment_reader *reader, uint64_t segment, size_t left, sk_record *found)
{
    int failed = read_ahead(reader, RECORD_BYTES);
    if (failed) return -failed;
    if (view(reader).len < RECORD_BYTES) return 0;
    size_t len = (size_t)get_number(view(reader).data + 8, 4);
    if (len > left) return 0; /* it says more than the file has: not read, and no memory taken for it */
    failed = read_ahead(reader, RECORD_BYTES + len);
    if (failed) return -failed;
    if (view(reader).len < RECORD_BYTES + len) return 0;
    const uint8_t *record = view(reader).data;
    *found = (sk_record){get_number(record + 12, 8), (size_t)get_number(record + 20, 4),
                         sk_bytes_of(record + RECORD_BYTES, len)};
    return get_number(record, 8) == checksum(segment, record, found->bytes);
}

/* What stands at `at` is no whole record of this segment. Is there a later one that was written after `at` had been synced?
 * 1, 0 or -errno. Bytes that look like one by chance, or since a client made them so, cost no more than SEARCH_BYTES. */
static int was_synced(segment_reader *reader, const sk_segment *segment, size_t at, size_t left)
{
    size_t budget = SEARCH_BYTES;
    for (size_t from = at; left > RECORD_BYTES; from++, reader->at++, left--) {
        int failed = read_ahead(reader, RECORD_BYTES);
        if (failed) return -failed;
        if (view(reader).len < RECORD_BYTES) return 0;
        const uint8_t *record = view(reader).data;
        size_t len = (size_t)get_number(record + 8, 4), synced = (size_t)get_number(record + 20, 4);
        if (get_number(record + 12, 8) <= segment->last || synced <= at || synced > from) continue;
        if (len > left - RECORD_BYTES || len > budget) continue;
        sk_record found;
        int some = next_record(reader, segment->number, left - RECORD_BYTES, &found);
        if (some) return some;
        budget -= len;
    }
    return 0;
}

/* Whether the header is not whole, or another segment's: then no record may follow, since it is synced before the first
 * one. `full` gets how long the segment had to become before the next one began. */
static int read_header(segment_reader *reader, uint64_t segment, bool *empty, size_t *full, char *error)
{
    int failed = read_ahead(reader, HEADER_BYTES);
    if (failed) return say(error, "read a segment", failed);
    sk_bytes header = view(reader);
    *empty = true;
    if (header.len < HEADER_BYTES) return 0;
    reader->at += HEADER_BYTES;
    if (memcmp(header.data, MAGIC, MAGIC_BYTES) == 0) {
        *empty = get_number(header.data + MAGIC_BYTES, 8) != segment;
        *full = (size_t)get_number(header.data + MAGIC_BYTES + 8, 4);
        return 0;
    }
    if (memcmp(header.data, MAGIC, MAGIC_BYTES - 2) != 0) return 0;
    snprintf(error, SK_FOLDER_ERROR, "the commit log: segment %016llx is of another version of skerry",
             (unsigned long long)segment);
    return SK_E_FORMAT;
}

static int say_damaged(char *error, const sk_segment *segment, const char *what)
{
    snprintf(error, SK_FOLDER_ERROR, "the commit log: %s of segment %016llx is damaged", what,
             (unsigned long long)segment->number);
    return SK_E_CORRUPT;
}

static int read_segment(const sk_journal *journal, sk_segment *segment, bool last, sk_journal_visit *visit, void *self,
                        char *error)
{
    char *path = path_of(journal, segment->number);
    segment_reader reader = {.fd = open(path, O_RDONLY | O_CLOEXEC)};
    struct stat status;
    bool empty = true;
    bool open_now = reader.fd >= 0 && fstat(reader.fd, &status) == 0 && fdatasync(reader.fd) == 0; /* read is durable, unless a sync failed before */
    int result = open_now ? 0 : say(error, "open a segment", errno);
    free(path);
    size_t full = 0;
    if (!result) result = read_header(&reader, segment->number, &empty, &full, error);
    size_t left = !result && status.st_size > HEADER_BYTES ? (size_t)status.st_size - HEADER_BYTES : 0;
    int some = 1;
    while (!result && left >= RECORD_BYTES) {
        sk_record record = {0};
        some = next_record(&reader, segment->number, left - RECORD_BYTES, &record);
        if (some <= 0) break;
        if (empty) {
            result = say_damaged(error, segment, "the header");
            break;
        }
        result = visit(self, record.number, record.bytes);
        segment->last = record.number;
        left -= RECORD_BYTES + record.bytes.len;
        reader.at += RECORD_BYTES + record.bytes.len;
    }
    if (!result && last && some == 0) {
        some = was_synced(&reader, segment, (size_t)status.st_size - left, left);
        if (some > 0) result = say_damaged(error, segment, "a record");
    }
    if (some < 0) result = say(error, "read a segment", -some);
    if (!result && !last && (empty || (size_t)status.st_size - left < full)) /* it is left only when it is full */
        result = say_damaged(error, segment, "a record");
    if (reader.fd >= 0) close(reader.fd);
    sk_buf_free(&reader.ahead);
    return result;
}

int sk_journal_read(sk_journal *journal, sk_journal_visit *visit, void *self, char *error)
{
    sk_assert(journal->fd < 0);
    int result = list_segments(journal, error);
    size_t first = 0;
    for (size_t i = 1; i < journal->count; i++)
        if (journal->segments[i].number != journal->segments[i - 1].number + 1) first = i;
    for (size_t i = first; i < journal->count && !result; i++)
        result = read_segment(journal, &journal->segments[i], i + 1 == journal->count, visit, self, error);
    return result;
}

/* -- writing ------------------------------------------------------------------------------------------------------ */

/* Writes all of it; 0 or an errno. */
static int write_whole(int fd, struct iovec *parts, int count)
{
    while (count) {
        ssize_t done = writev(fd, parts, count);
        if (done < 0 && errno == EINTR) continue;
        if (done < 0) return errno;
        while (count && (size_t)done >= parts->iov_len) {
            done -= (ssize_t)parts->iov_len;
            parts++;
            count--;
        }
        if (!count) break;
        parts->iov_base = (uint8_t *)parts->iov_base + done;
        parts->iov_len -= (size_t)done;
    }
    return 0;
}

/* Room on the disk beforehand, where the file system can: a full disk is then met here. */
static int allocate(int fd, size_t bytes)
{
    int failed = fallocate(fd, 0, 0, (off_t)bytes) == 0 ? 0 : errno;
    return failed == EOPNOTSUPP || failed == ENOSYS || failed == EINVAL ? 0 : failed;
}

/* Opens the segment with this number, made anew or out of a spare one, and makes it the current one. */
static int begin_segment(sk_journal *journal, uint64_t number, char *error)
{
    char *path = path_of(journal, number);
    int flags = O_RDWR | O_CREAT | O_CLOEXEC;
    bool spare = sk_spares_take(&journal->spares, path);
    int fd = open(path, spare ? flags : flags | O_TRUNC, 0600);
    int failed = fd < 0 ? errno : 0;
    /* The name first: under the one it had as a segment the new header would be damage in the midst of the log. */
    if (!failed && sk_file_sync_folder(journal->path) < 0) failed = errno;
    uint8_t header[HEADER_BYTES];
    memcpy(header, MAGIC, MAGIC_BYTES);
    put_number(header + MAGIC_BYTES, number, 8);
    put_number(header + MAGIC_BYTES + 8, journal->segment_bytes, 4);
    struct iovec part = {header, sizeof header};
    if (!failed && !spare) failed = allocate(fd, journal->segment_bytes);
    if (!failed) failed = write_whole(fd, &part, 1);
    if (!failed && fdatasync(fd) < 0) failed = errno;
    free(path);
    if (failed) {
        if (fd >= 0) close(fd);
        return say(error, "begin a segment", failed);
    }
    pthread_mutex_lock(&journal->syncing);
    pthread_mutex_lock(&journal->lock);
    if (journal->fd >= 0) close(journal->fd);
    journal->fd = fd;
    journal->at = journal->synced = HEADER_BYTES;
    journal->on_the_way = 0;
    journal->asked = false;
    journal->current = number;
    add_segment(journal, (sk_segment){number, 0});
    pthread_mutex_unlock(&journal->lock);
    pthread_mutex_unlock(&journal->syncing);
    return 0;
}

/* A segment that is not needed any more. */
static int put_away(sk_journal *journal, uint64_t number, char *error)
{
    char *path = path_of(journal, number);
    int failed = sk_spares_give(&journal->spares, path, number);
    free(path);
    return failed ? say(error, "remove a segment", failed) : 0;
}

int sk_journal_restart(sk_journal *journal, char *error)
{
    sk_journal_close(journal);
    int result = sk_file_make_folder(journal->path, error);
    uint64_t number = sk_spares_look(&journal->spares);
    if (!result) result = list_segments(journal, error);
    for (size_t i = 0; i < journal->count && !result; i++) {
        number = journal->segments[i].number > number ? journal->segments[i].number : number;
        /* Never older ones without the newest: they would be replayed over what came after them. Those that went before a
         * restart, too, are known to be gone only now. */
        if (i + 1 == journal->count) result = sync_folder(journal, error);
        if (!result) result = put_away(journal, journal->segments[i].number, error);
    }
    journal->count = 0;
    if (!result) result = sync_folder(journal, error);
    return result ? result : begin_segment(journal, number + 1, error);
}

static int next_segment(sk_journal *journal, char *error)
{
    int result = sk_journal_sync(journal, error);
    return result ? result : begin_segment(journal, journal->current + 1, error);
}

int sk_journal_append(sk_journal *journal, uint64_t number, sk_bytes bytes, char *error)
{
    sk_assert(journal->fd >= 0);
    sk_assert(bytes.len <= UINT32_MAX);
    if (sk_journal_is_full(journal)) {
        int result = next_segment(journal, error);
        if (result) return result;
    }
    uint8_t record[RECORD_BYTES];
    put_number(record + 8, bytes.len, 4);
    put_number(record + 12, number, 8);
    pthread_mutex_lock(&journal->lock);
    put_number(record + 20, journal->synced, 4);
    pthread_mutex_unlock(&journal->lock);
    put_number(record, checksum(journal->current, record, bytes), 8);
    struct iovec parts[] = {{record, sizeof record}, {(void *)(uintptr_t)bytes.data, bytes.len}};
    int failed = write_whole(journal->fd, parts, bytes.len ? 2 : 1);
    if (failed) return say(error, "append", failed);
    pthread_mutex_lock(&journal->lock);
    journal->at += sizeof record + bytes.len;
    journal->segments[journal->count - 1].last = number;
    pthread_mutex_unlock(&journal->lock);
    if (!journal->asked && journal->at >= journal->segment_bytes / 2) { /* the next one will be needed soon */
        journal->asked = true;
        sk_spares_ask(&journal->spares);
    }
    return 0;
}

void sk_journal_begin_writing(sk_journal *journal)
{
    size_t whole = journal->at / PAGE_BYTES * PAGE_BYTES, from = journal->on_the_way;
    (void)sync_file_range(journal->fd, (off_t)from, (off_t)(whole - from), SYNC_FILE_RANGE_WRITE);
    journal->on_the_way = whole;
}

/* One at a time, and none after one that failed: that a page could not be written the kernel tells one of those who ask, and
 * then takes it for written. */
int sk_journal_sync(sk_journal *journal, char *error)
{
    pthread_mutex_lock(&journal->syncing);
    pthread_mutex_lock(&journal->lock);
    size_t upto = journal->at;
    pthread_mutex_unlock(&journal->lock);
    bool any = journal->fd >= 0;
    if (any && !journal->sync_failed && fdatasync(journal->fd) < 0) journal->sync_failed = errno;
    int failed = any ? journal->sync_failed : 0;
    pthread_mutex_lock(&journal->lock);
    if (any && !failed) journal->synced = upto;
    pthread_mutex_unlock(&journal->lock);
    pthread_mutex_unlock(&journal->syncing);
    return failed ? say(error, "sync", failed) : 0;
}

bool sk_journal_has_done(sk_journal *journal, uint64_t upto)
{
    pthread_mutex_lock(&journal->lock);
    bool done = journal->count > 1 && journal->segments[0].last <= upto;
    pthread_mutex_unlock(&journal->lock);
    return done;
}

/* The oldest segment, if it is not needed: taken off the list. Its number, or 0. */
static uint64_t take_done(sk_journal *journal, uint64_t upto)
{
    uint64_t number = 0;
    pthread_mutex_lock(&journal->lock);
    if (journal->count > 1 && journal->segments[0].last <= upto) {
        number = journal->segments[0].number;
        journal->count--;
        memmove(journal->segments, journal->segments + 1, journal->count * sizeof *journal->segments);
    }
    pthread_mutex_unlock(&journal->lock);
    return number;
}

int sk_journal_remove(sk_journal *journal, uint64_t upto, char *error)
{
    int result = 0;
    uint64_t number; /* without the lock: who appends does not wait for what the folder takes */
    while (!result && (number = take_done(journal, upto))) result = put_away(journal, number, error);
    return result;
}
