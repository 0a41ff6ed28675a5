#include "crdt/rowkey.h"

#include "crdt/dot.h"

enum { ESCAPE = 0x00, ESCAPED = 0xff, TERMINATOR = 0x01 };

static bool has_members(sk_table table)
{
    return table == SK_TABLE_HASH || table == SK_TABLE_SET || table == SK_TABLE_MEMBER;
}

void sk_rowkey_pack_prefix(sk_buf *out, sk_table table, sk_bytes key)
{
    sk_buf_byte(out, (uint8_t)table);
    while (key.len) {
        const uint8_t *nul = memchr(key.data, ESCAPE, key.len);
        size_t run = nul ? (size_t)(nul - key.data) + 1 : key.len;
        sk_buf_append(out, key.data, run);
        if (nul) sk_buf_byte(out, ESCAPED);
        key = sk_bytes_of(key.data + run, key.len - run);
    }
    sk_buf_byte(out, ESCAPE);
    sk_buf_byte(out, TERMINATOR);
}

void sk_rowkey_pack(sk_buf *out, sk_table table, sk_bytes key, sk_bytes member)
{
    if (has_members(table)) {
        sk_rowkey_pack_prefix(out, table, key);
        sk_buf_bytes(out, member);
    } else {
        sk_buf_byte(out, (uint8_t)table);
        sk_buf_bytes(out, key);
    }
}

int sk_rowkey_parse(sk_bytes raw, sk_arena *arena, sk_rowkey *out)
{
    if (raw.len == 0) return SK_E_MALFORMED;
    sk_rowkey parsed = {.table = (sk_table)raw.data[0], .member = SK_BYTES_NONE};
    sk_bytes rest = {raw.data + 1, raw.len - 1};
    if (parsed.table == SK_TABLE_KEY || parsed.table == SK_TABLE_POLICY) {
        parsed.key = rest;
        *out = parsed;
        return 0;
    }
    if (!has_members(parsed.table)) return SK_E_MALFORMED;
    size_t at = 0, escapes = 0;
    for (;;) {
        const uint8_t *nul = at < rest.len ? memchr(rest.data + at, ESCAPE, rest.len - at) : NULL;
        if (!nul || nul + 1 == rest.data + rest.len) return SK_E_MALFORMED;
        at = (size_t)(nul - rest.data) + 2;
        if (nul[1] == TERMINATOR) break;
        if (nul[1] != ESCAPED) return SK_E_MALFORMED;
        escapes++;
    }
    parsed.key = sk_bytes_of(rest.data, at - 2);
    parsed.member = sk_bytes_of(rest.data + at, rest.len - at);
    if (escapes) {
        uint8_t *plain = sk_arena_take(arena, parsed.key.len);
        if (!plain) return SK_E_MEMORY;
        size_t len = 0;
        for (size_t i = 0; i < parsed.key.len; i++) {
            plain[len++] = parsed.key.data[i];
            if (parsed.key.data[i] == ESCAPE) i++;
        }
        parsed.key = sk_bytes_of(plain, len);
    }
    bool names_member = sk_region_name_valid(parsed.key) && parsed.member.len == SK_ROWKEY_PUBLIC_KEY;
    if (parsed.table == SK_TABLE_MEMBER && !names_member) return SK_E_MALFORMED;
    *out = parsed;
    return 0;
}

void sk_rowkey_successor(sk_buf *out)
{
    while (out->len && out->data[out->len - 1] == 0xff) out->len--;
    if (out->len) out->data[out->len - 1]++;
}
