/* What a row says of a member: whatever the bytes, a record that is read packs to one that reads the same. */
#include "node/member.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    sk_member_record record, again;
    sk_buf packed = {0};
    if (!sk_member_read(sk_bytes_of(data, size), &record)) return 0;
    sk_assert(record.state <= SK_MEMBER_FORGOTTEN && record.addresses.count <= SK_MEMBER_ADDRESSES_MAX);
    sk_member_pack(&packed, &record);
    sk_assert(sk_member_read(sk_buf_view(&packed), &again));
    sk_assert(again.state == record.state && again.until_ms == record.until_ms && again.forgets == record.forgets);
    sk_assert(again.addresses.count == record.addresses.count);
    for (uint32_t i = 0; i < record.addresses.count; i++)
        sk_assert(sk_bytes_equal(again.addresses.text[i], record.addresses.text[i]));
    sk_buf_free(&packed);
    return 0;
}
