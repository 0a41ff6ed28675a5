/* skerryctl: text for people and JSON. Values are whatever bytes clients stored: a terminal is never sent control
 * characters, and a JSON document is always UTF-8. */
#include "node/ctl.h"

#include "node/utf8.h"

#include <inttypes.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>

void ctl_print(sk_buf *out)
{
    if (out->len) fwrite(out->data, 1, out->len, stdout);
    sk_buf_free(out);
}

static bool plain(sk_bytes text)
{
    for (size_t i = 0; i < text.len;) {
        uint32_t character;
        size_t size = sk_utf8_next(text.data + i, text.len - i, &character);
        if (size == 0 || sk_utf8_is_control(character)) return false;
        i += size;
    }
    return true;
}

static bool valid_utf8(sk_bytes text)
{
    for (size_t i = 0; i < text.len;) {
        uint32_t character;
        size_t size = sk_utf8_next(text.data + i, text.len - i, &character);
        if (size == 0) return false;
        i += size;
    }
    return true;
}

void ctl_show(sk_buf *out, sk_bytes text)
{
    if (text.len && plain(text)) {
        sk_buf_bytes(out, text);
        return;
    }
    sk_buf_byte(out, '"');
    for (size_t i = 0; i < text.len; i++) {
        uint8_t byte = text.data[i];
        if (byte == '"' || byte == '\\')
            sk_buf_printf(out, "\\%c", byte);
        else if (byte == '\n')
            sk_buf_printf(out, "\\n");
        else if (byte < ' ' || byte >= 0x7f)
            sk_buf_printf(out, "\\x%02x", byte);
        else
            sk_buf_byte(out, byte);
    }
    sk_buf_byte(out, '"');
}

/* -- JSON ---------------------------------------------------------------------------------------------------------- */

static void quote(sk_buf *out, sk_bytes text)
{
    sk_buf_byte(out, '"');
    for (size_t i = 0; i < text.len; i++) {
        uint8_t byte = text.data[i];
        if (byte == '"' || byte == '\\')
            sk_buf_printf(out, "\\%c", byte);
        else if (byte < ' ' || byte == 0x7f)
            sk_buf_printf(out, "\\u%04x", byte);
        else
            sk_buf_byte(out, byte);
    }
    sk_buf_byte(out, '"');
}

static void begin(ctl_json *json, const char *name)
{
    if (json->comma) sk_buf_byte(&json->out, ',');
    json->comma = true;
    if (!name) return;
    quote(&json->out, sk_bytes_str(name));
    sk_buf_byte(&json->out, ':');
}

void ctl_json_open(ctl_json *json, const char *name, char bracket)
{
    begin(json, name);
    sk_buf_byte(&json->out, (uint8_t)bracket);
    json->comma = false;
}

void ctl_json_close(ctl_json *json, char bracket)
{
    sk_buf_byte(&json->out, (uint8_t)bracket);
    json->comma = true;
}

void ctl_json_text(ctl_json *json, const char *name, sk_bytes text)
{
    begin(json, name);
    if (valid_utf8(text)) {
        quote(&json->out, text);
        return;
    }
    size_t room = sodium_base64_encoded_len(text.len, sodium_base64_VARIANT_ORIGINAL);
    char *base64 = sk_alloc(room);
    sodium_bin2base64(base64, room, text.data, text.len, sodium_base64_VARIANT_ORIGINAL);
    sk_buf_printf(&json->out, "{\"base64\":\"");
    sk_buf_append(&json->out, base64, strlen(base64));
    sk_buf_printf(&json->out, "\"}");
    free(base64);
}

void ctl_json_int(ctl_json *json, const char *name, int64_t value)
{
    begin(json, name);
    sk_buf_printf(&json->out, "%" PRId64, value);
}

void ctl_json_bool(ctl_json *json, const char *name, bool value)
{
    begin(json, name);
    sk_buf_printf(&json->out, "%s", value ? "true" : "false");
}

void ctl_json_map(ctl_json *json, const char *name, const redisReply *map)
{
    char field[64];
    ctl_json_open(json, name, '{');
    for (size_t i = 0; i + 1 < ctl_count(map); i += 2) {
        sk_bytes text = ctl_text(map->element[i]);
        const redisReply *value = map->element[i + 1];
        snprintf(field, sizeof field, "%.*s", (int)text.len, (const char *)text.data);
        if (value->type == REDIS_REPLY_INTEGER)
            ctl_json_int(json, field, value->integer);
        else
            ctl_json_text(json, field, ctl_text(value));
    }
    ctl_json_close(json, '}');
}

void ctl_json_print(ctl_json *json)
{
    sk_buf_byte(&json->out, '\n');
    ctl_print(&json->out);
}

void ctl_print_either(const ctl_tool *ctl, ctl_json *json, sk_buf *text)
{
    if (ctl->json)
        ctl_json_print(json);
    else
        ctl_print(text);
    sk_buf_free(ctl->json ? text : &json->out);
}
