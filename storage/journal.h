/* The commit log's files: records appended one after the other, synced when asked, read back at a start.
 *
 *   db/log/0000000000000007   a segment: its header, then records; the next ones have the numbers that follow
 *
 *   header   "skerrylog 2\n", the segment's number, how long it must be before the next begins
 *   record   checksum (XXH3 of the bytes, seeded with that of the next three, seeded with the segment's number), length,
 *            number, how much of the segment was synced before it was written, bytes
 *
 * Within db/, since the one is worth nothing without the other: whoever copies or brings back db/ has both.
 *
 * Numbers are eight bytes, big-endian, lengths and the synced length four. A segment is made of a file that was written before,
 * if there is one (storage/spares.h): what is left of its older records has checksums of another seed, so that reading ends at
 * the first of them.
 *
 * Invariants:
 *  1. A record is there whole or not at all; what is there after a crash is a prefix of what was appended, and everything
 *     that was synced.
 *  2. Segments are removed oldest first; a gap in their numbers says that what lies before it was removed.
 *  3. A segment is synced before the next one begins, and its header before its first record. So only the last may end early;
 *     damage in another one, or a header that is damaged before a record, is corruption. So is damage in the last one when a
 *     later record says that it had been synced: what a crash tears was not. (Of the last thing that was synced nobody
 *     says so: damage there cannot be told from a torn end.)
 *  4. A segment has its new name, durably, before its new header; the newest goes last when all are removed. So whatever a
 *     power loss keeps of this is read as what was there before it or after it.
 *
 * Threads: appending is one thread's; syncing and removing may be another's. */
#ifndef SK_STORAGE_JOURNAL_H
#define SK_STORAGE_JOURNAL_H

#include "storage/folder.h"
#include "storage/spares.h"

#include <pthread.h>

typedef struct {
    uint64_t number; /* in its name and header */
    uint64_t last;   /* the number of its last record; 0: none */
} sk_segment;

typedef struct {
    char *path;           /* owned: of the folder with the segments */
    size_t segment_bytes; /* a segment that is longer is followed by another */
    int fd;               /* of the current segment; -1: none */
    uint64_t current;     /* its number */
    size_t at;            /* bytes in use of it; written with the lock */
    size_t on_the_way;    /* bytes of it that the system was told to write */
    pthread_mutex_t syncing; /* held through a sync: the segment stays the current one meanwhile. Taken before `lock` */
    int sync_failed;         /* the errno of a sync, guarded by `syncing`; 0: none failed */
    pthread_mutex_t lock;    /* guards what follows */
    size_t synced;        /* bytes of the current segment that are on the disk */
    sk_segment *segments; /* owned; ascending, the current one last */
    size_t count, room;
    bool asked;       /* for a file for the next one; of the thread that appends */
    sk_spares spares; /* has a lock of its own */
} sk_journal;

/** The folder log/ within `parent` (a path, copied). Nothing is read or written yet. */
void sk_journal_init(sk_journal *journal, const char *parent, size_t segment_bytes);
void sk_journal_free(sk_journal *journal);

/** Called with each record, in order; bytes borrowed. Other than 0 ends the reading. */
typedef int sk_journal_visit(void *self, uint64_t number, sk_bytes bytes);
/** Reads every record. The visit's answer if not 0; SK_E_CORRUPT for damage in what was synced, SK_E_FORMAT for
 *  another version's segment, SK_E_IO, with a sentence in `error` (SK_FOLDER_ERROR bytes). No segment may be current. */
int sk_journal_read(sk_journal *journal, sk_journal_visit *visit, void *self, char *error);
/** Removes what there is and begins an empty segment. After it appending works. 0 or an error with a sentence. */
int sk_journal_restart(sk_journal *journal, char *error);
/** Closes the current segment. */
void sk_journal_close(sk_journal *journal);

/** Appends a record: it is with the operating system, not on the disk. Numbers ascend. 0 or an error with a sentence; then
 *  nothing more may be appended until the journal was read and restarted. */
int sk_journal_append(sk_journal *journal, uint64_t number, sk_bytes bytes, char *error);
/** The next append closes the segment, which takes a sync, and begins another. For the thread that appends. */
static inline bool sk_journal_is_full(const sk_journal *journal)
{
    return journal->at >= journal->segment_bytes;
}
/** So much was appended that the system should be told to write it (sk_journal_begin_writing). */
static inline bool sk_journal_has_much(const sk_journal *journal)
{
    enum { WRITE_BYTES = 1 << 20 };
    return journal->at - journal->on_the_way >= WRITE_BYTES;
}
/** Tells the system to write what was appended, and does not wait for it, unless the disk has too much to do: not for the
 *  thread that clients wait for. Left to itself it keeps all of a segment in memory, and whoever then waits for a sync waits
 *  for all of it. An error is met again, and told, by that sync. While nobody appends. */
void sk_journal_begin_writing(sk_journal *journal);
/** What was appended is on the disk (fdatasync). Nothing to do if no segment is current: what was read was synced. After an
 *  error every sync is one, until the journal was read and restarted. */
int sk_journal_sync(sk_journal *journal, char *error);
/** Whether there is a segment that sk_journal_remove would take. */
bool sk_journal_has_done(sk_journal *journal, uint64_t upto);
/** Records up to this number are not needed any more. 0 or an error with a sentence. */
int sk_journal_remove(sk_journal *journal, uint64_t upto, char *error);
/** Bytes of all segments on the disk, and of spare ones. */
uint64_t sk_journal_bytes(const sk_journal *journal);

#endif
