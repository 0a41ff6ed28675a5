#include "storage/manifest.h"

#include "crdt/pack.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <xxhash.h>

enum { FORMAT = 2, FILE_BYTES_MIN = 6 /* that one file takes in the record */ };
static const char MAGIC[] = "skerry backup";

void sk_manifest_add(sk_manifest *manifest, const char *name, uint64_t changed_ns, const sk_file_sum *sum)
{
    manifest->files = sk_realloc(manifest->files, (manifest->count + 1) * sizeof *manifest->files);
    char *copy = sk_alloc(strlen(name) + 1);
    strcpy(copy, name);
    manifest->files[manifest->count++] = (sk_manifest_file){copy, changed_ns, *sum};
}

bool sk_manifest_name_valid(sk_bytes name)
{
    if (name.len == 0 || name.len > SK_MANIFEST_NAME_MAX || name.data[0] == '.') return false;
    for (size_t i = 0; i < name.len; i++) {
        uint8_t c = name.data[i];
        bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
        if (!plain && c != '.' && c != '-' && c != '_') return false;
    }
    return true;
}

void sk_manifest_stored_name(const sk_file_sum *sum, char name[SK_MANIFEST_STORED_MAX])
{
    snprintf(name, SK_MANIFEST_STORED_MAX, "%016" PRIx64 "%016" PRIx64 "-%" PRIu64, sum->high, sum->low, sum->bytes);
}

uint64_t sk_manifest_bytes(const sk_manifest *manifest)
{
    uint64_t bytes = 0;
    for (size_t i = 0; i < manifest->count; i++) bytes += manifest->files[i].sum.bytes;
    return bytes;
}

void sk_manifest_pack(const sk_manifest *manifest, sk_buf *out)
{
    size_t start = out->len;
    sk_pack_bytes(out, sk_bytes_str(MAGIC));
    sk_pack_uint(out, FORMAT);
    sk_pack_uint(out, manifest->data_format);
    sk_pack_uint(out, manifest->number);
    sk_pack_uint(out, manifest->made_ms);
    sk_pack_bytes(out, sk_buf_view(&manifest->source));
    sk_pack_bytes(out, sk_buf_view(&manifest->about));
    sk_pack_uint(out, manifest->copied_bytes);
    sk_pack_array(out, (uint32_t)manifest->count);
    for (size_t i = 0; i < manifest->count; i++) {
        const sk_manifest_file *file = &manifest->files[i];
        sk_pack_bytes(out, sk_bytes_str(file->name));
        sk_pack_uint(out, file->sum.bytes);
        sk_pack_uint(out, file->changed_ns);
        sk_pack_uint(out, file->sum.high);
        sk_pack_uint(out, file->sum.low);
    }
    sk_pack_uint(out, XXH3_64bits(out->data + start, out->len - start));
}

/* -- reading ------------------------------------------------------------------------------------------------------ */

static int compare_files(const void *a, const void *b)
{
    return strcmp(((const sk_manifest_file *)a)->name, ((const sk_manifest_file *)b)->name);
}

static bool read_file(sk_reader *reader, sk_manifest_file *file)
{
    sk_bytes name = sk_read_bytes(reader);
    file->sum.bytes = sk_read_uint(reader);
    file->changed_ns = sk_read_uint(reader);
    file->sum.high = sk_read_uint(reader);
    file->sum.low = sk_read_uint(reader);
    if (reader->bad || !sk_manifest_name_valid(name)) return false;
    file->name = sk_alloc(name.len + 1);
    memcpy(file->name, name.data, name.len);
    return true;
}

static bool read_files(sk_reader *reader, sk_manifest *manifest)
{
    uint32_t count = sk_read_array(reader);
    if (reader->bad || count > sk_reader_left(reader) / FILE_BYTES_MIN) return false;
    manifest->files = sk_alloc((count + (size_t)1) * sizeof *manifest->files);
    for (uint32_t i = 0; i < count; i++) {
        if (!read_file(reader, &manifest->files[i])) return false;
        manifest->count++;
    }
    qsort(manifest->files, count, sizeof *manifest->files, compare_files);
    for (uint32_t i = 1; i < count; i++)
        if (compare_files(&manifest->files[i], &manifest->files[i - 1]) == 0) return false;
    return true;
}

static int read_all(sk_bytes bytes, sk_manifest *manifest)
{
    sk_reader reader = sk_reader_of(bytes);
    if (!sk_bytes_equal(sk_read_bytes(&reader), sk_bytes_str(MAGIC))) return SK_E_CORRUPT;
    uint64_t format = sk_read_uint(&reader);
    if (reader.bad) return SK_E_CORRUPT;
    if (format != FORMAT) return SK_E_FORMAT;
    manifest->data_format = sk_read_uint(&reader);
    manifest->number = sk_read_uint(&reader);
    manifest->made_ms = sk_read_uint(&reader);
    sk_buf_bytes(&manifest->source, sk_read_bytes(&reader));
    sk_buf_bytes(&manifest->about, sk_read_bytes(&reader));
    manifest->copied_bytes = sk_read_uint(&reader);
    if (!read_files(&reader, manifest)) return SK_E_CORRUPT;
    size_t signed_bytes = (size_t)(reader.at - bytes.data);
    uint64_t sum = sk_read_uint(&reader);
    bool sound = sk_reader_done(&reader) && sum == XXH3_64bits(bytes.data, signed_bytes);
    return sound && manifest->number ? SK_OK : SK_E_CORRUPT;
}

int sk_manifest_read(sk_bytes bytes, sk_manifest *manifest)
{
    *manifest = (sk_manifest){0};
    int status = read_all(bytes, manifest);
    if (status) sk_manifest_free(manifest);
    return status;
}

void sk_manifest_free(sk_manifest *manifest)
{
    for (size_t i = 0; i < manifest->count; i++) free(manifest->files[i].name);
    free(manifest->files);
    sk_buf_free(&manifest->source);
    sk_buf_free(&manifest->about);
    *manifest = (sk_manifest){0};
}
