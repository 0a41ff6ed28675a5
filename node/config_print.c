/* A configuration as text again: --print-config, the example file, CONFIG GET and SET. */
#include "node/config_field.h"

#include <stdio.h>

static const struct {
    const char *name, *about;
} sections[] = {
    {"join", "How a new node becomes part of a cluster."},
    {"listen", "Clients, which speak the Redis protocol."}, {"replication", "Links to the other regions."},
    {"storage", "What is kept on disk, and how."},          {"log", "Events: what the node has to say."},
    {"limits", "Bounds that hold for everybody."},
};

static void put_text(sk_buf *out, const char *text) { sk_buf_bytes(out, sk_bytes_str(text)); }

/* Kinds whose values may mean something else to YAML unless they are quoted. */
static bool needs_quotes(sk_config_kind kind) { return kind <= SK_CONFIG_HASH; }

static void put_quoted(sk_buf *out, sk_bytes text)
{
    sk_buf_byte(out, '"');
    for (size_t i = 0; i < text.len; i++) {
        if (text.data[i] == '"' || text.data[i] == '\\') sk_buf_byte(out, '\\');
        sk_buf_byte(out, text.data[i]);
    }
    sk_buf_byte(out, '"');
}

static void put_value(sk_buf *out, const sk_config_field *field, const sk_config *config)
{
    sk_buf value = {0};
    sk_config_field_value(field, config, &value);
    if (needs_quotes(field->kind))
        put_quoted(out, sk_buf_view(&value));
    else
        sk_buf_bytes(out, sk_buf_view(&value));
    sk_buf_free(&value);
}

/* Whether the field is the first of a section; if so, that section's place in `sections`. */
static bool begins_section(size_t index, size_t *section)
{
    const sk_config_field *field = &sk_config_fields[index];
    size_t len = sk_config_field_section(field);
    if (len == 0 ||
        (index > 0 && sk_config_field_section(field - 1) == len && strncmp(field[-1].path, field->path, len) == 0)) {
        return false;
    }
    *section = 0;
    while (strlen(sections[*section].name) != len || strncmp(sections[*section].name, field->path, len) != 0) {
        (*section)++;
        sk_assert(*section < sizeof sections / sizeof *sections);
    }
    return true;
}

static void print_peers(const sk_config *config, sk_buf *out)
{
    put_text(out, config->peer_count ? "peers:\n" : "peers: []\n");
    for (size_t i = 0; i < config->peer_count; i++) {
        put_text(out, "  - ");
        sk_config_peer_print(&config->peers[i], out);
        put_text(out, "\n");
    }
}

void sk_config_print(const sk_config *config, sk_buf *out)
{
    for (size_t i = 0, section = 0; i < sk_config_count(); i++) {
        const sk_config_field *field = &sk_config_fields[i];
        bool set = sk_config_field_is_set(field, config), hidden = field->kind == SK_CONFIG_HASH;
        if (begins_section(i, &section)) sk_buf_printf(out, "%s:\n", sections[section].name);
        if (field->kind == SK_CONFIG_PEERS) {
            print_peers(config, out);
            continue;
        }
        put_text(out, sk_config_field_section(field) ? "  " : "");
        put_text(out, set && !hidden ? "" : "# ");
        sk_buf_printf(out, "%s: ", sk_config_field_key(field));
        if (!set)
            put_text(out, "(not set)");
        else if (hidden)
            put_text(out, "(set, and not shown)");
        else
            put_value(out, field, config);
        put_text(out, "\n");
    }
}

/* -- the example -------------------------------------------------------------------------------------------------- */

static void put_comment(sk_buf *out, const char *indent, const char *text)
{
    while (*text) {
        size_t len = strcspn(text, "\n");
        sk_buf_printf(out, "%s# %.*s\n", indent, (int)len, text);
        text += len + (text[len] == '\n');
    }
}

static void example_peers(sk_buf *out)
{
    put_text(out, "# peers:\n"
                  "#   - region: us\n"
                  "#     address: \"10.0.0.2:7201\"\n"
                  "#     public_key: \"<64 hex digits>\"\n"
                  "#   - region: ap\n"
                  "#     address: [\"ap.example.net:7201\", \"[2001:db8::7]:7201\"]\n"
                  "#     public_key: \"<64 hex digits>\"\n");
}

static void example_field(sk_buf *out, const sk_config_field *field)
{
    const char *indent = sk_config_field_section(field) ? "  " : "";
    char variable[64];
    sk_buf range = {0};
    sk_config_field_range(field, &range);
    sk_config_field_variable(field, variable, sizeof variable);
    put_text(out, "\n");
    put_comment(out, indent, field->about);
    sk_buf_printf(out, "%s# (%s%.*s", indent, field->required ? "required; " : "", (int)range.len,
                  range.len ? (const char *)range.data : "");
    sk_buf_printf(out, "%s%s%s)\n", range.len ? "; " : "", variable, field->live ? "; CONFIG SET" : "");
    sk_buf_free(&range);
    if (field->kind == SK_CONFIG_PEERS) {
        example_peers(out);
        return;
    }
    const char *value = field->initial ? field->initial : field->sample;
    const char *quote = needs_quotes(field->kind) ? "\"" : "";
    put_text(out, indent);
    put_text(out, field->initial || field->required ? "" : "# ");
    sk_buf_printf(out, "%s: %s%s%s\n", sk_config_field_key(field), quote, value, quote);
}

void sk_config_example(sk_buf *out)
{
    put_text(out,
             "# Configuration of a skerry node: every field there is. What is not commented out is required, or shows\n"
             "# its default. Check a file with: skerryd --check-config FILE\n"
             "#\n"
             "# In parentheses: what may be written, and the environment variable that overrides the file. CONFIG SET\n"
             "# means that a running node can be told another value, until it stops.\n"
             "# Sizes are written as 64mb (b, kb, mb, gb; 1kb is 1024 bytes), durations as 500ms, 30s, 5m, 2h or 7d; a\n"
             "# field whose name ends in _ms takes a bare number of milliseconds too.\n");
    for (size_t i = 0, section = 0; i < sk_config_count(); i++) {
        if (begins_section(i, &section)) {
            sk_buf_printf(out, "\n# %s\n%s:", sections[section].about, sections[section].name);
        }
        example_field(out, &sk_config_fields[i]);
    }
}

/* -- CONFIG GET and SET ------------------------------------------------------------------------------------------- */

static const sk_config_field *find(const char *name)
{
    for (size_t i = 0; i < sk_config_count(); i++) {
        if (strcasecmp(sk_config_fields[i].path, name) == 0) return &sk_config_fields[i];
    }
    return NULL;
}

bool sk_config_get(const sk_config *config, const char *name, sk_buf *value)
{
    const sk_config_field *field = find(name);
    if (!field) return false;
    if (field->kind == SK_CONFIG_PEERS) {
        put_text(value, "[");
        for (size_t i = 0; i < config->peer_count; i++) {
            put_text(value, i > 0 ? ", " : "");
            sk_config_peer_print(&config->peers[i], value);
        }
        put_text(value, "]");
    } else if (field->kind == SK_CONFIG_HASH) {
        put_text(value, sk_config_field_is_set(field, config) ? "(set)" : "");
    } else {
        sk_config_field_value(field, config, value);
    }
    return true;
}

bool sk_config_set(sk_config *config, const char *name, const char *value, char error[SK_CONFIG_ERROR_MAX])
{
    const sk_config_field *field = find(name), *guilty;
    char why[SK_CONFIG_WHY_MAX], shown[256];
    if (!field) {
        sk_config_show(name, shown, sizeof shown);
        snprintf(error, SK_CONFIG_ERROR_MAX, "%s: unknown field", shown);
        return false;
    }
    if (!field->live) {
        snprintf(error, SK_CONFIG_ERROR_MAX, "%s: it cannot be changed while the node runs", field->path);
        return false;
    }
    sk_config changed = *config; /* a live field owns no memory, so a plain copy will do */
    guilty = sk_config_field_store(field, value, &changed, why) ? sk_config_conflict(&changed, why) : field;
    if (guilty) {
        snprintf(error, SK_CONFIG_ERROR_MAX, "%s: %s", guilty->path, why);
        return false;
    }
    *config = changed;
    return true;
}
