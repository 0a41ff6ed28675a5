/* The data directory: made, locked, and known to be ours before RocksDB touches anything in it.
 *
 *   SKERRY        what this is: "skerry\nformat 3\n"; or "skerry\na restore, not finished\n"
 *   skerry.lock   flock'd by the process that has the directory open
 *   db/           RocksDB's files; IDENTITY is among them from the database's making on. In log/ the commit log's
 *
 * Invariants:
 *  1. The order is: lock, identity, database. A directory of another format is left exactly as it was, but for the lock
 *     file.
 *  2. SKERRY appears whole or not at all (written aside, synced, renamed), and before the database does. A database
 *     without it is refused.
 *  3. A database that has tables or logs but has lost its CURRENT file is refused: RocksDB would begin an empty one in
 *     its place and delete the rest. */
#ifndef SK_STORAGE_FOLDER_H
#define SK_STORAGE_FOLDER_H

#include "storage/file.h"

enum {
    SK_FOLDER_FORMAT = 3, /* what this binary writes, and the only one that it reads */
    SK_FOLDER_ERROR = SK_FILE_ERROR, /* bytes that a sentence about an error needs */
    SK_FOLDER_MARK = 88    /* characters, NUL included */
};

typedef struct {
    char *path;    /* owned */
    char *db_path; /* owned: path/db */
    int lock;      /* file descriptor; -1: not open */
} sk_folder;

/** Opens the directory at `path`, making it (mode 0700) if it is missing. 0 or SK_E_LOCKED, SK_E_FORMAT, SK_E_CORRUPT,
 *  SK_E_IO, SK_E_DISK_FULL with a sentence in `error` (SK_FOLDER_ERROR bytes). After an error nothing is held. */
int sk_folder_open(sk_folder *folder, const char *path, char *error);
/** The same for a directory that is to be filled with a database from elsewhere: SK_E_FORMAT if anything is in it. SKERRY says
 *  so before anything comes, and then sk_folder_open refuses it, until sk_folder_declare, which comes last. */
int sk_folder_open_empty(sk_folder *folder, const char *path, char *error);
int sk_folder_declare(sk_folder *folder, char *error);
/** Removes what it was filled with, and closes it. */
void sk_folder_abandon(sk_folder *folder);
/** The same for one whose node is stopped, to be read alone: nothing is made, and nothing changed. SK_E_FORMAT also if it is
 *  no data directory. */
int sk_folder_open_stopped(sk_folder *folder, const char *path, char *error);
/** 0 if this binary reads data of that format, or SK_E_FORMAT and a sentence that says so of `what`. */
int sk_folder_check_format(uint64_t format, const char *what, char *error);
void sk_folder_close(sk_folder *folder);
/** Whether what stands at the path is still the directory that was locked: nobody has removed it, or put another one, which
 *  another process may use, in its place. */
bool sk_folder_is_there(const sk_folder *folder);

/** What tells this directory from a copy of it, and from itself after a copy was put in its place, in whole or in part:
 *  device, inode and time of change of SKERRY, inode and time of change of db/IDENTITY. Inodes alone do not: a file system
 *  gives the number of a removed file to the next one, and copying over a file keeps it. The time of change cannot be set,
 *  so that no copy has it (a chown or chmod moves it too). To be asked for when the database is open. */
void sk_folder_mark(const sk_folder *folder, char text[SK_FOLDER_MARK]);

/** Bytes that this user may still write there; UINT64_MAX if the system does not tell. Any thread. */
uint64_t sk_folder_space(const sk_folder *folder);
/** Writes, syncs and removes a file of `bytes` zeros: whether writing works at all just now. 0 or a negative error. */
int sk_folder_probe(const sk_folder *folder, size_t bytes);
/** Bytes of the logs (db/NNNNNN.log) that opening the database would read, and write again as tables. */
uint64_t sk_folder_log_bytes(const sk_folder *folder);

#endif
