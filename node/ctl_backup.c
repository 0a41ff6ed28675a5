/* skerryctl: backups. A running node makes them; listing, purging, verifying and restoring read the files themselves,
 * on the machine where they are, without any node. So does verifying the data directory of a node that is stopped. */
#include "node/ctl.h"

#include "node/inspect.h"
#include "storage/backup.h"
#include "storage/rocksdb.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

enum { POLL_MS = 100, TIME_MAX = 32 };

static int complain(const char *text)
{
    fprintf(stderr, "skerryctl: %s\n", text);
    return CTL_FAILED;
}

static void time_text(uint64_t ms, char text[TIME_MAX])
{
    time_t seconds = (time_t)(ms / 1000);
    struct tm parts;
    if (!gmtime_r(&seconds, &parts) || !strftime(text, TIME_MAX, "%Y-%m-%dT%H:%M:%SZ", &parts)) strcpy(text, "?");
}

static void digest_text(sk_digest digest, char hex[33])
{
    snprintf(hex, 33, "%016" PRIx64 "%016" PRIx64, (uint64_t)(digest >> 64), (uint64_t)digest);
}

/* The number of a backup in an argument; 0 if there is no argument. False, after saying so, if it is none. */
static bool take_number(const char *text, uint64_t *number)
{
    *number = 0;
    if (!text) return true;
    char *end;
    errno = 0;
    *number = strtoull(text, &end, 10);
    if (*text >= '0' && *text <= '9' && !*end && !errno && *number) return true;
    fprintf(stderr, "skerryctl: '%s' is not the number of a backup\n", text);
    return false;
}

/* -- making one --------------------------------------------------------------------------------------------------- */

static int show_made(ctl_tool *ctl, const redisReply *status)
{
    if (ctl->json) {
        ctl_json json = {.comma = false};
        ctl_json_map(&json, NULL, status);
        ctl_json_print(&json);
        return CTL_OK;
    }
    sk_bytes directory = ctl_text(ctl_field(status, "directory"));
    printf("backup %" PRId64 " in %.*s: %" PRId64 " bytes in %" PRId64 " files, %" PRId64
           " bytes of them new, in %" PRId64 " ms\n",
           ctl_int(ctl_field(status, "number")), (int)directory.len, (const char *)directory.data,
           ctl_int(ctl_field(status, "bytes")), ctl_int(ctl_field(status, "files")),
           ctl_int(ctl_field(status, "copied_bytes")), ctl_int(ctl_field(status, "took_ms")));
    return CTL_OK;
}

/* Asks until it has ended. */
static int wait_for_backup(ctl_tool *ctl, ctl_node *node, int64_t started_ms)
{
    static const char *const question[] = {"BACKUP", "STATUS"};
    for (;;) {
        redisReply *status = ctl_ask(ctl, node, 2, question);
        if (!status) return CTL_FAILED;
        sk_bytes state = ctl_text(ctl_field(status, "state"));
        bool ours = started_ms == 0 || ctl_int(ctl_field(status, "started_ms")) == started_ms;
        started_ms = ctl_int(ctl_field(status, "started_ms"));
        int outcome = -1;
        if (!ours || sk_bytes_equal(state, sk_bytes_str("none")))
            outcome =
                ctl_complain(node, "it has forgotten the backup: it was started anew, or another backup followed");
        else if (sk_bytes_equal(state, sk_bytes_str("failed")))
            outcome = ctl_complain(node, (const char *)ctl_text(ctl_field(status, "error")).data);
        else if (!sk_bytes_equal(state, sk_bytes_str("running")))
            outcome = show_made(ctl, status);
        freeReplyObject(status);
        if (outcome >= 0) return outcome;
        usleep(POLL_MS * 1000);
    }
}

int ctl_backup(ctl_tool *ctl, int argc, char **argv)
{
    const char *question[] = {"BACKUP", "CREATE", argc ? argv[0] : ""};
    redisReply *answer = ctl_ask(ctl, &ctl->nodes[0], argc ? 3 : 2, question);
    if (!answer) return CTL_FAILED;
    freeReplyObject(answer);
    return wait_for_backup(ctl, &ctl->nodes[0], 0);
}

/* -- what there is ------------------------------------------------------------------------------------------------ */

static void json_backup(ctl_json *json, const sk_backup *backup)
{
    sk_inspection says = {0};
    char made[TIME_MAX], digest[33];
    ctl_json_open(json, NULL, '{');
    ctl_json_int(json, "number", (int64_t)backup->number);
    if (backup->status || sk_inspection_read(sk_buf_view(&backup->manifest.about), &says)) {
        ctl_json_text(json, "error", sk_bytes_str(sk_error_text(backup->status ? backup->status : SK_E_CORRUPT)));
    } else {
        time_text(backup->manifest.made_ms, made);
        digest_text(says.digest, digest);
        ctl_json_text(json, "made", sk_bytes_str(made));
        ctl_json_text(json, "region", sk_buf_view(&says.region));
        ctl_json_text(json, "cluster", sk_buf_view(&says.cluster));
        ctl_json_int(json, "format", (int64_t)backup->manifest.data_format);
        ctl_json_int(json, "keys", (int64_t)says.keys);
        ctl_json_int(json, "conflicts", (int64_t)says.conflicts);
        ctl_json_text(json, "digest", sk_bytes_str(digest));
        ctl_json_text(json, "vector", sk_buf_view(&says.vector));
        ctl_json_int(json, "files", (int64_t)backup->manifest.count);
        ctl_json_int(json, "bytes", (int64_t)sk_manifest_bytes(&backup->manifest));
        ctl_json_int(json, "copied_bytes", (int64_t)backup->manifest.copied_bytes);
    }
    sk_inspection_free(&says);
    ctl_json_close(json, '}');
}

static void print_backup(const sk_backup *backup, sk_buf *text)
{
    sk_inspection says = {0};
    char made[TIME_MAX];
    if (backup->status || sk_inspection_read(sk_buf_view(&backup->manifest.about), &says)) {
        sk_buf_printf(text, "%6" PRIu64 "  its record cannot be used: %s\n", backup->number,
                      sk_error_text(backup->status ? backup->status : SK_E_CORRUPT));
    } else {
        time_text(backup->manifest.made_ms, made);
        sk_buf_printf(text,
                      "%6" PRIu64 "  %s  %.*s of %.*s, %" PRIu64 " keys, %" PRIu64 " bytes, %" PRIu64
                      " new, format %" PRIu64 "\n",
                      backup->number, made, (int)says.region.len, (const char *)says.region.data, (int)says.cluster.len,
                      (const char *)says.cluster.data, says.keys, sk_manifest_bytes(&backup->manifest),
                      backup->manifest.copied_bytes, backup->manifest.data_format);
    }
    sk_inspection_free(&says);
}

int ctl_backups(ctl_tool *ctl, int argc, char **argv)
{
    (void)argc;
    char error[SK_FILE_ERROR] = "";
    sk_backup_list list;
    int outcome = sk_backup_list_read(argv[0], &list, error) ? complain(error) : CTL_OK;
    if (outcome == CTL_OK && ctl->json) {
        ctl_json json = {.comma = false};
        ctl_json_open(&json, NULL, '{');
        ctl_json_open(&json, "backups", '[');
        for (size_t i = 0; i < list.count; i++) json_backup(&json, &list.backups[i]);
        ctl_json_close(&json, ']');
        ctl_json_close(&json, '}');
        ctl_json_print(&json);
    } else if (outcome == CTL_OK) {
        sk_buf text = {0};
        for (size_t i = 0; i < list.count; i++) print_backup(&list.backups[i], &text);
        ctl_print(&text);
    }
    sk_backup_list_free(&list);
    return outcome;
}

int ctl_purge(ctl_tool *ctl, int argc, char **argv)
{
    (void)argc;
    char error[SK_FILE_ERROR] = "", *end = NULL;
    unsigned long keep = ctl->keep && *ctl->keep >= '0' && *ctl->keep <= '9' ? strtoul(ctl->keep, &end, 10) : 0;
    if (!end || *end || keep == 0) {
        fprintf(stderr, "skerryctl: purge wants --keep and a number from 1\n");
        return CTL_USAGE;
    }
    size_t removed;
    uint64_t bytes;
    if (sk_backup_purge(argv[0], keep, &removed, &bytes, error)) return complain(error);
    if (ctl->json) {
        ctl_json json = {.comma = false};
        ctl_json_open(&json, NULL, '{');
        ctl_json_int(&json, "removed", (int64_t)removed);
        ctl_json_int(&json, "bytes", (int64_t)bytes);
        ctl_json_close(&json, '}');
        ctl_json_print(&json);
    } else {
        printf("%zu backups removed, %" PRIu64 " bytes\n", removed, bytes);
    }
    return CTL_OK;
}

/* -- verifying ---------------------------------------------------------------------------------------------------- */

static void print_fault(void *self, const char *sentence)
{
    (void)self;
    complain(sentence);
}

/* Goes through everything in an open store, and closes it. 0 or an error; faults are printed. */
static int verify_store(sk_store *store, uint64_t *rows, sk_inspection *says)
{
    sk_buf faults = {0};
    int status = sk_inspect_all(store, rows, &faults);
    if (status && *sk_rocksdb_last_error(store)) complain(sk_rocksdb_last_error(store));
    for (size_t at = 0; at < faults.len;) {
        const char *line = (const char *)faults.data + at;
        const char *end = memchr(line, '\n', faults.len - at);
        size_t len = end ? (size_t)(end - line) : faults.len - at;
        fprintf(stderr, "skerryctl: %.*s\n", (int)len, line);
        at += len + 1;
    }
    if (!status && sk_inspect(store, says)) status = complain(sk_error_text(SK_E_CORRUPT));
    sk_store_close(store);
    sk_buf_free(&faults);
    return status;
}

/* What a backup holds, in a folder of links. 0 or an error that was printed. */
static int verify_rows(const sk_backup_list *list, const sk_backup *backup, const char *folder, uint64_t *rows)
{
    char error[SK_FILE_ERROR] = "";
    sk_store *store = NULL;
    sk_inspection says = {0}, noted = {0};
    int status = sk_backup_link(list, backup, folder, error);
    if (!status) status = sk_rocksdb_open_copy(folder, &store, error);
    if (status)
        complain(error);
    else
        status = verify_store(store, rows, &says);
    if (!status && (sk_inspection_read(sk_buf_view(&backup->manifest.about), &noted) || says.digest != noted.digest ||
                    says.keys != noted.keys))
        status = complain("it holds another state than was noted when it was made");
    sk_inspection_free(&says);
    sk_inspection_free(&noted);
    return status;
}

/* A folder of our own for as long as something is verified; NULL after saying why there is none. */
static char *make_folder(void)
{
    const char *temporary = getenv("TMPDIR");
    char *folder = sk_file_join(temporary && *temporary ? temporary : "/tmp", "skerry-verify-XXXXXX");
    if (mkdtemp(folder)) return folder;
    char error[SK_FILE_ERROR];
    sk_file_fail(error, folder, "make it", errno);
    complain(error);
    free(folder);
    return NULL;
}

static void drop_folder(char *folder)
{
    char ignored[SK_FILE_ERROR];
    sk_file_remove_folder(folder, ignored);
    free(folder);
}

static int verify(const sk_backup_list *list, const sk_backup *backup, uint64_t *rows)
{
    if (sk_backup_check(list, backup, NULL, print_fault, NULL)) return SK_E_CORRUPT;
    char *folder = make_folder();
    if (!folder) return SK_E_IO;
    int status = verify_rows(list, backup, folder, rows);
    drop_folder(folder);
    return status;
}

static void show_directory(ctl_tool *ctl, const char *directory, const sk_inspection *says, uint64_t rows)
{
    char hex[33];
    digest_text(says->digest, hex);
    if (!ctl->json) {
        printf("%s is good: region %.*s of cluster %.*s, %" PRIu64 " keys, %" PRIu64 " rows, digest %s\n", directory,
               (int)says->region.len, (const char *)says->region.data, (int)says->cluster.len,
               (const char *)says->cluster.data, says->keys, rows, hex);
        return;
    }
    ctl_json json = {.comma = false};
    ctl_json_open(&json, NULL, '{');
    ctl_json_text(&json, "region", sk_buf_view(&says->region));
    ctl_json_text(&json, "cluster", sk_buf_view(&says->cluster));
    ctl_json_int(&json, "keys", (int64_t)says->keys);
    ctl_json_int(&json, "rows", (int64_t)rows);
    ctl_json_text(&json, "digest", sk_bytes_str(hex));
    ctl_json_text(&json, "vector", sk_buf_view(&says->vector));
    ctl_json_close(&json, '}');
    ctl_json_print(&json);
}

/* The data directory of a node that is stopped. It is left as it is. */
static int verify_directory(ctl_tool *ctl, const char *directory)
{
    char error[SK_FILE_ERROR] = "", *folder = make_folder();
    sk_store *store = NULL;
    sk_inspection says = {0};
    uint64_t rows;
    if (!folder) return CTL_FAILED;
    int status = sk_rocksdb_open_stopped(directory, folder, &store, error);
    if (status) {
        complain(error);
    } else {
        status = sk_rocksdb_read_all(store, error);
        if (status) { /* and no further: what walks over a block that it cannot read may abort (an assertion of RocksDB's) */
            complain(error);
            sk_store_close(store);
        } else {
            status = verify_store(store, &rows, &says);
        }
    }
    if (!status) show_directory(ctl, directory, &says, rows);
    sk_inspection_free(&says);
    drop_folder(folder);
    return status ? CTL_FAILED : CTL_OK;
}

/* A directory of backups has a file SKERRY-BACKUPS. */
static bool is_data_directory(const char *directory)
{
    char *own = sk_file_join(directory, "SKERRY"), *database = sk_file_join(directory, "db");
    bool is = access(own, F_OK) == 0 || access(database, F_OK) == 0;
    free(own);
    free(database);
    return is;
}

static int show_verified(ctl_tool *ctl, const sk_backup *backup, uint64_t rows)
{
    sk_inspection says = {0};
    char hex[33];
    sk_inspection_read(sk_buf_view(&backup->manifest.about), &says);
    digest_text(says.digest, hex);
    if (ctl->json) {
        ctl_json json = {.comma = false};
        ctl_json_open(&json, NULL, '{');
        ctl_json_int(&json, "number", (int64_t)backup->number);
        ctl_json_int(&json, "files", (int64_t)backup->manifest.count);
        ctl_json_int(&json, "rows", (int64_t)rows);
        ctl_json_text(&json, "digest", sk_bytes_str(hex));
        ctl_json_close(&json, '}');
        ctl_json_print(&json);
    } else {
        printf("backup %" PRIu64 " is good: %zu files, %" PRIu64 " rows, digest %s\n", backup->number,
               backup->manifest.count, rows, hex);
    }
    sk_inspection_free(&says);
    return CTL_OK;
}

int ctl_verify(ctl_tool *ctl, int argc, char **argv)
{
    char error[SK_FILE_ERROR] = "";
    sk_backup_list list;
    uint64_t number, rows = 0;
    int status;
    if (!take_number(argc > 1 ? argv[1] : NULL, &number)) return CTL_USAGE;
    if (argc == 1 && is_data_directory(argv[0])) return verify_directory(ctl, argv[0]);
    status = sk_backup_list_read(argv[0], &list, error);
    const sk_backup *backup = status ? NULL : sk_backup_find(&list, number, &status, error);
    int outcome = CTL_FAILED;
    if (!backup)
        complain(error);
    else if (verify(&list, backup, &rows) == SK_OK)
        outcome = show_verified(ctl, backup, rows);
    sk_backup_list_free(&list);
    return outcome;
}

/* -- restoring ---------------------------------------------------------------------------------------------------- */

int ctl_restore(ctl_tool *ctl, int argc, char **argv)
{
    char error[SK_FILE_ERROR] = "";
    sk_backup_list list;
    uint64_t number;
    int status;
    if (!take_number(argc > 2 ? argv[2] : NULL, &number)) return CTL_USAGE;
    status = sk_backup_list_read(argv[0], &list, error);
    const sk_backup *backup = status ? NULL : sk_backup_find(&list, number, &status, error);
    if (backup) status = sk_backup_restore(&list, backup, argv[1], NULL, error);
    if (status) {
        complain(error);
    } else if (ctl->json) {
        ctl_json json = {.comma = false};
        ctl_json_open(&json, NULL, '{');
        ctl_json_int(&json, "number", (int64_t)backup->number);
        ctl_json_int(&json, "bytes", (int64_t)sk_manifest_bytes(&backup->manifest));
        ctl_json_close(&json, '}');
        ctl_json_print(&json);
    } else {
        printf("backup %" PRIu64 " is restored in %s: %" PRIu64 " bytes\n", backup->number, argv[1],
               sk_manifest_bytes(&backup->manifest));
    }
    sk_backup_list_free(&list);
    return status ? CTL_FAILED : CTL_OK;
}
