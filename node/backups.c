#include "node/backups.h"

#include "node/inspect.h"
#include "storage/backup.h"
#include "storage/rocksdb.h"

#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

struct sk_backups {
    sk_store *store;
    const char *allowed;
    char *checkpoint; /* owned: its path */
    uint64_t keep_free;
    void (*done)(void *self);
    void *self;

    pthread_t thread;
    bool joinable; /* the loop's: a thread was started and not joined */
    sk_file_work work;
    pthread_mutex_t lock; /* guards what follows */
    sk_backup_status status;
};

static uint64_t wall_now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

/* -- where to ----------------------------------------------------------------------------------------------------- */

/* Names one after the other, none of them hidden or leading upwards. */
static bool leads_down(sk_bytes path)
{
    size_t start = 0;
    for (size_t i = 0; i <= path.len; i++) {
        if (i < path.len && path.data[i] != '/') {
            if (path.data[i] < ' ' || path.data[i] == 0x7f) return false;
            continue;
        }
        if (i == start || path.data[start] == '.') return false;
        start = i + 1;
    }
    return true;
}

bool sk_backup_path(const char *allowed, sk_bytes wanted, char path[SK_BACKUP_PATH_MAX])
{
    size_t base = strlen(allowed);
    while (base > 1 && allowed[base - 1] == '/') base--;
    while (wanted.len > 1 && wanted.data[wanted.len - 1] == '/') wanted.len--;
    if (wanted.len && wanted.data[0] == '/') {
        if (!sk_bytes_starts(wanted, sk_bytes_of(allowed, base))) return false;
        wanted = sk_bytes_of(wanted.data + base, wanted.len - base);
        if (wanted.len && wanted.data[0] != '/') return false;
        if (wanted.len) wanted = sk_bytes_of(wanted.data + 1, wanted.len - 1);
    }
    if (wanted.len && !leads_down(wanted)) return false;
    if (base + 1 + wanted.len >= SK_BACKUP_PATH_MAX) return false;
    memcpy(path, allowed, base);
    path[base] = '\0';
    if (!wanted.len) return true;
    path[base] = '/';
    memcpy(path + base + 1, wanted.data, wanted.len);
    path[base + 1 + wanted.len] = '\0';
    return true;
}

/* -- the thread --------------------------------------------------------------------------------------------------- */

/* What the checkpoint says of itself, for lists of backups. */
static int describe(const sk_backups *backups, sk_buf *about, char *error)
{
    sk_store *copy;
    sk_inspection says = {0};
    int status = sk_rocksdb_open_copy(backups->checkpoint, &copy, error);
    if (status) return status;
    status = sk_inspect(copy, &says);
    sk_store_close(copy);
    if (!status) sk_inspection_pack(about, &says);
    sk_inspection_free(&says);
    return status ? sk_file_say(error, status, "the checkpoint cannot be read: %s", sk_error_text(status)) : SK_OK;
}

static int back_up(sk_backups *backups, const char *directory, sk_manifest *made, char *error)
{
    sk_buf source = {0}, about = {0};
    uint64_t made_ms = wall_now_ms();
    int status = sk_rocksdb_name(backups->store, &source, error);
    if (!status) status = sk_rocksdb_checkpoint(backups->store, backups->checkpoint, error);
    if (!status) status = describe(backups, &about, error);
    sk_backup_plan plan = {
        .directory = directory,
        .from = backups->checkpoint,
        .source = sk_buf_view(&source),
        .about = sk_buf_view(&about),
        .made_ms = made_ms,
        .keep_free = backups->keep_free,
        .work = &backups->work,
    };
    if (!status) status = sk_backup_make(&plan, made, error);
    char ignored[SK_FILE_ERROR];
    sk_file_remove_folder(backups->checkpoint, ignored);
    sk_buf_free(&source);
    sk_buf_free(&about);
    return status;
}

static void *run(void *argument)
{
    sk_backups *backups = argument;
    char directory[SK_BACKUP_PATH_MAX], error[SK_FILE_ERROR] = "";
    pthread_mutex_lock(&backups->lock);
    strcpy(directory, backups->status.directory);
    pthread_mutex_unlock(&backups->lock);
    sk_manifest made = {0};
    int status = back_up(backups, directory, &made, error);
    pthread_mutex_lock(&backups->lock);
    sk_backup_status *says = &backups->status;
    says->state = status ? SK_BACKUP_FAILED : SK_BACKUP_DONE;
    says->ended_ms = wall_now_ms();
    says->error = status;
    snprintf(says->text, sizeof says->text, "%s", error);
    says->number = made.number;
    says->bytes = sk_manifest_bytes(&made);
    says->copied_bytes = made.copied_bytes;
    says->files = made.count;
    pthread_mutex_unlock(&backups->lock);
    sk_manifest_free(&made);
    backups->done(backups->self);
    return NULL;
}

/* -- the loop's side ---------------------------------------------------------------------------------------------- */

sk_backups *sk_backups_new(sk_store *store, const char *data_dir, const char *allowed, uint64_t keep_free,
                           void (*done)(void *self), void *self)
{
    sk_backups *backups = sk_alloc(sizeof *backups);
    *backups = (sk_backups){.store = store, .allowed = allowed, .keep_free = keep_free, .done = done, .self = self};
    backups->checkpoint = sk_file_join(data_dir, "checkpoint.tmp");
    sk_assert(pthread_mutex_init(&backups->lock, NULL) == 0);
    char ignored[SK_FILE_ERROR], *unfinished = sk_file_join(data_dir, "checkpoint.tmp.tmp"); /* RocksDB's name for it */
    sk_file_remove_folder(backups->checkpoint, ignored);
    sk_file_remove_folder(unfinished, ignored);
    free(unfinished);
    return backups;
}

static void join(sk_backups *backups)
{
    if (backups->joinable) pthread_join(backups->thread, NULL);
    backups->joinable = false;
}

void sk_backups_free(sk_backups *backups)
{
    if (!backups) return;
    atomic_store(&backups->work.stop, true);
    join(backups);
    pthread_mutex_destroy(&backups->lock);
    free(backups->checkpoint);
    free(backups);
}

int sk_backups_start(sk_backups *backups, sk_bytes directory, uint64_t wall_ms, sk_buf *error)
{
    char path[SK_BACKUP_PATH_MAX];
    sk_backup_status status;
    sk_backups_status(backups, &status);
    if (!backups->allowed) {
        sk_buf_printf(error, "no backups are allowed here: storage.backup_dir is not configured");
        return SK_E_CONFIG;
    }
    if (!sk_backup_path(backups->allowed, directory, path)) {
        sk_buf_printf(error, "backups are allowed in %s and directories below it only", backups->allowed);
        return SK_E_CONFIG;
    }
    if (status.state == SK_BACKUP_RUNNING) {
        sk_buf_printf(error, "a backup into %s is being made", status.directory);
        return SK_E_BUSY;
    }
    join(backups);
    backups->status = (sk_backup_status){.state = SK_BACKUP_RUNNING, .started_ms = wall_ms};
    strcpy(backups->status.directory, path);
    atomic_store(&backups->work.bytes, 0);
    sigset_t all, before; /* signals are for the loop's thread */
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    backups->joinable = pthread_create(&backups->thread, NULL, run, backups) == 0;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (backups->joinable) return SK_OK;
    backups->status.state = SK_BACKUP_FAILED;
    sk_buf_printf(error, "the system gives no thread for it");
    return SK_E_IO;
}

void sk_backups_set_rate(sk_backups *backups, uint64_t bytes_per_s)
{
    atomic_store(&backups->work.bytes_per_s, bytes_per_s);
}

void sk_backups_status(sk_backups *backups, sk_backup_status *status)
{
    pthread_mutex_lock(&backups->lock);
    *status = backups->status;
    pthread_mutex_unlock(&backups->lock);
    if (status->state == SK_BACKUP_RUNNING) status->copied_bytes = atomic_load(&backups->work.bytes);
}
