/* The commit log's files: the input is the last segment as a crash or a bad disk left it, or, when its first byte is odd,
 * one before the last. Whatever the bytes: reading ends, gives only records whose checksum is right and which lie one after
 * the other from the header on (and takes no memory for what a length claims: libFuzzer's limit sees to that). */
#include "storage/journal.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { HEADER = 24, RECORD = 24, SEGMENT = 7 };

static char folder_path[64];

static void remove_file(int segment)
{
    char path[128];
    snprintf(path, sizeof path, "%s/log/%016x", folder_path, segment);
    unlink(path);
}

static void remove_folder(void)
{
    char path[128];
    remove_file(SEGMENT);
    remove_file(SEGMENT + 1);
    snprintf(path, sizeof path, "%s/log", folder_path);
    rmdir(path);
    rmdir(folder_path);
}

static void make_folder(void)
{
    char path[128];
    strcpy(folder_path, "/dev/shm/skerry-fuzz-XXXXXX");
    if (!mkdtemp(folder_path)) {
        strcpy(folder_path, "/tmp/skerry-fuzz-XXXXXX");
        sk_assert(mkdtemp(folder_path) != NULL);
    }
    snprintf(path, sizeof path, "%s/log", folder_path);
    sk_assert(mkdir(path, 0700) == 0);
    atexit(remove_folder);
}

static void write_file(int segment, const uint8_t *data, size_t size)
{
    char path[128];
    snprintf(path, sizeof path, "%s/log/%016x", folder_path, segment);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    sk_assert(fd >= 0);
    sk_assert(write(fd, data, size) == (ssize_t)size);
    close(fd);
}

typedef struct {
    const uint8_t *data;
    size_t size, at;
} expected;

/* The next record, by the file's bytes. */
static int check_record(void *self, uint64_t number, sk_bytes bytes)
{
    expected *of = self;
    sk_assert(of->at + RECORD + bytes.len <= of->size);
    const uint8_t *record = of->data + of->at;
    uint64_t said = 0, sum = 0;
    for (int i = 0; i < 8; i++) {
        sum = sum << 8 | record[i];
        said = said << 8 | record[12 + i];
    }
    sk_assert(said == number);
    sk_assert(bytes.len == 0 || memcmp(record + RECORD, bytes.data, bytes.len) == 0);
    uint64_t seed = XXH3_64bits_withSeed(record + 8, RECORD - 8, SEGMENT);
    sk_assert(XXH3_64bits_withSeed(record + RECORD, bytes.len, seed) == sum);
    of->at += RECORD + bytes.len;
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (!folder_path[0]) make_folder();
    if (size == 0) return 0;
    bool last = data[0] % 2 == 0;
    expected of = {data + 1, size - 1, HEADER};
    write_file(SEGMENT, of.data, of.size);
    if (last)
        remove_file(SEGMENT + 1);
    else
        write_file(SEGMENT + 1, NULL, 0);
    sk_journal journal;
    char error[SK_FOLDER_ERROR] = "";
    sk_journal_init(&journal, folder_path, 1 << 20);
    int result = sk_journal_read(&journal, check_record, &of, error);
    sk_journal_free(&journal);
    sk_assert(result == 0 || result == SK_E_CORRUPT || result == SK_E_FORMAT);
    sk_assert((result == 0) == (error[0] == '\0'));
    sk_assert(strnlen(error, SK_FOLDER_ERROR) < SK_FOLDER_ERROR);
    /* What a crash leaves behind a good header is no error, unless a later record says that it had been synced. */
    if (last && of.at > HEADER && result) sk_assert(result == SK_E_CORRUPT && strstr(error, "a record"));
    return 0;
}
