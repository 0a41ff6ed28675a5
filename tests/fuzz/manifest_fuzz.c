/* A backup's manifest, from a disk that may hold anything: what is read is sound, and written again reads the same. The
 * sum at the end is mended first, so that the rest is reached. */
#include "crdt/pack.h"
#include "node/inspect.h"
#include "storage/manifest.h"

#include <stdlib.h>
#include <xxhash.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(sk_bytes bytes)
{
    sk_manifest manifest, again;
    int status = sk_manifest_read(bytes, &manifest);
    sk_assert(status == 0 || status == SK_E_CORRUPT || status == SK_E_FORMAT);
    if (status) {
        sk_assert(manifest.count == 0);
        return;
    }
    sk_assert(manifest.count <= bytes.len);
    for (size_t i = 0; i < manifest.count; i++) {
        sk_assert(sk_manifest_name_valid(sk_bytes_str(manifest.files[i].name)));
        if (i) sk_assert(strcmp(manifest.files[i - 1].name, manifest.files[i].name) < 0);
    }
    sk_inspection says;
    (void)sk_inspection_read(sk_buf_view(&manifest.about), &says);
    sk_inspection_free(&says);
    sk_buf packed = {0};
    sk_manifest_pack(&manifest, &packed);
    sk_assert(sk_manifest_read(sk_buf_view(&packed), &again) == 0);
    sk_assert(again.count == manifest.count);
    sk_assert(again.number == manifest.number);
    sk_manifest_free(&again);
    sk_manifest_free(&manifest);
    sk_buf_free(&packed);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    sk_buf mended = {0};
    check(sk_bytes_of(data, size));
    sk_buf_append(&mended, data, size);
    sk_pack_uint(&mended, XXH3_64bits(data, size));
    check(sk_buf_view(&mended));
    sk_buf_free(&mended);
    return 0;
}
