/* A backup's manifest: what it is of, and which files it consists of. One MessagePack record in a file NNNNNN.backup:
 *
 *   "skerry backup", 2 (the record's format), the data's format, number, wall ms, source, about, bytes copied, count of files,
 *   of each: its name in db/, bytes, time of change at the source (ns), XXH3-128 of its bytes (two numbers)
 *   at last the XXH3-64 of everything before
 *
 * The data's format is that of the data directory it was made of (SK_FOLDER_FORMAT then). `source` tells one database's file
 * names from another's, `about` is the caller's and means nothing here.
 *
 * Invariant: a manifest that was read is sound: names are plain, each once, and no number is out of its range. */
#ifndef SK_STORAGE_MANIFEST_H
#define SK_STORAGE_MANIFEST_H

#include "storage/file.h"

enum {
    SK_MANIFEST_MAX = 256 << 20, /* bytes of one */
    SK_MANIFEST_NAME_MAX = 64,   /* characters of a file's name */
    SK_MANIFEST_STORED_MAX = 32 + 1 + 20 + 1,
};

typedef struct {
    char *name; /* owned */
    uint64_t changed_ns;
    sk_file_sum sum;
} sk_manifest_file;

typedef struct {
    uint64_t number, data_format, made_ms, copied_bytes;
    sk_buf source, about;
    sk_manifest_file *files; /* owned */
    size_t count;
} sk_manifest;

/** Adds a file; the name is copied. */
void sk_manifest_add(sk_manifest *manifest, const char *name, uint64_t changed_ns, const sk_file_sum *sum);
/** Could that be the name of a file in db/? */
bool sk_manifest_name_valid(sk_bytes name);
/** Under which name a file's bytes are stored: the sum in hex and their length. */
void sk_manifest_stored_name(const sk_file_sum *sum, char name[SK_MANIFEST_STORED_MAX]);
/** Bytes of all files together. */
uint64_t sk_manifest_bytes(const sk_manifest *manifest);

void sk_manifest_pack(const sk_manifest *manifest, sk_buf *out);
/** 0, SK_E_FORMAT for another format, SK_E_CORRUPT; after an error the manifest is empty. */
int sk_manifest_read(sk_bytes bytes, sk_manifest *manifest);
void sk_manifest_free(sk_manifest *manifest);

#endif
