/* Reading a configuration: YAML events, then the environment, then what must hold of the whole.
 *
 * Why libyaml and not libcyaml, which is driven by a schema: libcyaml stops at "field X is unknown" in its log with the
 * positions on lines of their own, takes the second of two equal keys silently, and knows no sizes, durations or
 * environment, so our own table would be needed beside its schema. Over libyaml's events one table does everything, and
 * the grammar is small: fields, sections of fields, and a list of peers.
 *
 * Untrusted input: the file is bounded before it is read; events are taken one at a time and each that does not fit
 * ends the load, so nothing nests deeper than the grammar; aliases, anchors and tags are refused, so nothing expands.
 */
#include "node/config_field.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <yaml.h>

enum { VALUE_MAX = 4096, VARIABLE_MAX = 64 };

/* Where a field's value came from. */
typedef struct {
    size_t line;   /* in the file; 0: not from the file */
    bool variable; /* from the environment, which wins over the file */
} origin;

typedef struct {
    const char *file; /* borrowed; what errors call the file */
    char *error;      /* borrowed; SK_CONFIG_ERROR_MAX bytes */
    sk_config config; /* owned until it is handed out */
    origin origins[SK_CONFIG_FIELDS_MAX];
    size_t sections[SK_CONFIG_FIELDS_MAX]; /* the line of the section that begins with this field; 0: none */
    size_t peer_lines[SK_CONFIG_PEERS_MAX];
} loader;

/* One text under way through libyaml: the file, or the variable SKERRY_PEERS. */
typedef struct {
    loader *load;
    const char *source; /* borrowed; the file's name or the variable's */
    bool numbered;      /* errors tell the line */
    sk_bytes text;      /* borrowed */
    yaml_parser_t parser;
    yaml_event_t event; /* the current one */
} reader;

/* -- errors ------------------------------------------------------------------------------------------------------- */

/* "file:12: what"; line 0 is left out. Always false. */
__attribute__((format(printf, 4, 5))) static bool fail(loader *load, const char *source, size_t line,
                                                       const char *format, ...)
{
    char place[32] = "";
    if (line > 0) snprintf(place, sizeof place, ":%zu", line);
    /* A long name is cut at its front: the end of it says more, and what is wrong must stay readable. */
    size_t len = strlen(source), most = SK_CONFIG_ERROR_MAX / 3;
    int used = snprintf(load->error, SK_CONFIG_ERROR_MAX, "%s%s%s: ", len > most ? "..." : "",
                        len > most ? source + len - most : source, place);
    va_list args;
    va_start(args, format);
    vsnprintf(load->error + used, SK_CONFIG_ERROR_MAX - (size_t)used, format, args);
    va_end(args);
    return false;
}

/* An error of one field, told where its value was given. */
static bool fail_field(loader *load, size_t index, const char *why)
{
    const sk_config_field *field = &sk_config_fields[index];
    char variable[VARIABLE_MAX];
    if (!load->origins[index].variable) {
        return fail(load, load->file, load->origins[index].line, "%s: %s", field->path, why);
    }
    sk_config_field_variable(field, variable, sizeof variable);
    return fail(load, variable, 0, "%s", why);
}

__attribute__((format(printf, 2, 3))) static bool fail_here(reader *in, const char *format, ...)
{
    char what[SK_CONFIG_ERROR_MAX];
    va_list args;
    va_start(args, format);
    vsnprintf(what, sizeof what, format, args);
    va_end(args);
    return fail(in->load, in->source, in->numbered ? in->event.start_mark.line + 1 : 0, "%s", what);
}

/* Small slips of the keyboard: the edit distance of two names, or `most` + 1 when it is more. */
static size_t distance(const char *a, const char *b, size_t most)
{
    enum { LONGEST = 63 };
    size_t row[LONGEST + 1], len = strlen(b);
    if (strlen(a) > LONGEST || len > LONGEST) return most + 1;
    for (size_t j = 0; j <= len; j++) row[j] = j;
    for (size_t i = 1; a[i - 1]; i++) {
        size_t corner = row[0];
        row[0] = i;
        for (size_t j = 1; j <= len; j++) {
            size_t change = corner + (a[i - 1] != b[j - 1]);
            corner = row[j];
            if (row[j] + 1 < change) change = row[j] + 1;
            if (row[j - 1] + 1 < change) change = row[j - 1] + 1;
            row[j] = change;
        }
    }
    return row[len] <= most ? row[len] : most + 1;
}

/* "; did you mean listen.port?", or nothing. A key that exists in one other section is what is meant, too. */
static void suggest(const char *name, bool variable, char *hint, size_t cap)
{
    enum { MOST = 2 };
    size_t best = MOST + 1;
    const char *dot = strrchr(name, '.');
    hint[0] = 0;
    for (size_t i = 0; i < sk_config_count(); i++) {
        const sk_config_field *field = &sk_config_fields[i];
        char candidate[VARIABLE_MAX];
        sk_config_field_variable(field, candidate, sizeof candidate);
        size_t far = distance(name, variable ? candidate : field->path, MOST);
        if (!variable && strcmp(dot ? dot + 1 : name, sk_config_field_key(field)) == 0 && far > MOST) far = MOST;
        if (far >= best) continue;
        best = far;
        snprintf(hint, cap, "; did you mean %s?", variable ? candidate : field->path);
    }
}

/* -- YAML events -------------------------------------------------------------------------------------------------- */

/* libyaml says where a byte that is not UTF-8 stands only by its offset. */
static size_t line_of(sk_bytes text, size_t offset)
{
    size_t line = 1;
    for (size_t i = 0; i < offset && i < text.len; i++) line += text.data[i] == '\n';
    return line;
}

static bool fail_yaml(reader *in)
{
    const yaml_parser_t *parser = &in->parser;
    const char *problem = parser->problem ? parser->problem : "it cannot be read";
    size_t line =
        parser->error == YAML_READER_ERROR ? line_of(in->text, parser->problem_offset) : parser->problem_mark.line + 1;
    return fail(in->load, in->source, in->numbered ? line : 0, "this is not YAML: %s", problem);
}

/* Moves to the next event. */
static bool next(reader *in)
{
    yaml_event_delete(&in->event);
    if (!yaml_parser_parse(&in->parser, &in->event)) return fail_yaml(in);
    const yaml_char_t *anchor = NULL, *tag = NULL;
    switch (in->event.type) {
    case YAML_ALIAS_EVENT: return fail_here(in, "aliases (*name) are not supported");
    case YAML_SCALAR_EVENT:
        anchor = in->event.data.scalar.anchor;
        tag = in->event.data.scalar.tag;
        break;
    case YAML_SEQUENCE_START_EVENT:
        anchor = in->event.data.sequence_start.anchor;
        tag = in->event.data.sequence_start.tag;
        break;
    case YAML_MAPPING_START_EVENT:
        anchor = in->event.data.mapping_start.anchor;
        tag = in->event.data.mapping_start.tag;
        break;
    default: break;
    }
    if (anchor) return fail_here(in, "anchors (&name) are not supported");
    if (tag) return fail_here(in, "tags (!name) are not supported");
    return true;
}

/* The current event's scalar as a C string; an error says that `path` is not what it should be. */
static bool read_scalar(reader *in, const char *path, char text[VALUE_MAX + 1])
{
    if (in->event.type != YAML_SCALAR_EVENT) {
        const char *what = in->event.type == YAML_SEQUENCE_START_EVENT ? "a list" : "a group of fields";
        return fail_here(in, "%s: a single value belongs here, not %s", path, what);
    }
    size_t len = in->event.data.scalar.length;
    const char *value = (const char *)in->event.data.scalar.value;
    if (len > VALUE_MAX) return fail_here(in, "%s: the value is longer than %d bytes", path, VALUE_MAX);
    if (memchr(value, 0, len)) return fail_here(in, "%s: the value holds a NUL character", path);
    memcpy(text, value, len + 1);
    return true;
}

/* What YAML writes for "nothing": the field is as if it were not there. */
static bool is_null(const yaml_event_t *event)
{
    if (event->type != YAML_SCALAR_EVENT || event->data.scalar.style != YAML_PLAIN_SCALAR_STYLE) return false;
    const char *text = (const char *)event->data.scalar.value;
    return *text == 0 || strcmp(text, "~") == 0 || strcmp(text, "null") == 0;
}

/* -- peers -------------------------------------------------------------------------------------------------------- */

/* A member's value, which the current event begins: one scalar, or of addresses a list as well, or none. */
static bool read_member(reader *in, const char *path, const char *key, sk_config_peer *peer)
{
    char text[VALUE_MAX + 1], why[SK_CONFIG_WHY_MAX];
    bool addresses = strcmp(key, "address") == 0, list = addresses && in->event.type == YAML_SEQUENCE_START_EVENT;
    if (addresses && is_null(&in->event)) return true;
    do {
        if (list && !next(in)) return false;
        if (list && in->event.type == YAML_SEQUENCE_END_EVENT) return true;
        if (!read_scalar(in, path, text)) return false;
        if (!sk_config_peer_store(peer, key, text, why)) return fail_here(in, "%s: %s", path, why);
    } while (list);
    return true;
}

static bool read_peer(reader *in, size_t index, sk_config_peer *peer)
{
    static const char *const keys[] = {"region", "public_key", "address"}; /* the last one may be left out */
    char path[64], key[VALUE_MAX + 1], shown[256];
    bool given[3] = {false};
    size_t first = in->event.start_mark.line + 1;
    snprintf(path, sizeof path, "peers[%zu]", index);
    if (in->event.type != YAML_MAPPING_START_EVENT) {
        return fail_here(in, "%s: a peer is written as region, address and public_key", path);
    }
    for (;;) {
        if (!next(in)) return false;
        if (in->event.type == YAML_MAPPING_END_EVENT) break;
        if (!read_scalar(in, path, key)) return false;
        size_t which = 0;
        while (which < 3 && strcmp(keys[which], key) != 0) which++;
        sk_config_show(key, shown, sizeof shown);
        if (which == 3)
            return fail_here(in, "%s.%s: unknown field; a peer has region, address and public_key", path, shown);
        snprintf(path, sizeof path, "peers[%zu].%s", index, keys[which]);
        if (given[which]) return fail_here(in, "%s: given twice", path);
        given[which] = true;
        if (!next(in) || !read_member(in, path, key, peer)) return false;
        snprintf(path, sizeof path, "peers[%zu]", index);
    }
    for (size_t i = 0; i < 2; i++) {
        if (given[i]) continue;
        return fail(in->load, in->source, in->numbered ? first : 0, "%s.%s: missing", path, keys[i]);
    }
    return true;
}

/* The list that the current event begins takes the place of what peers there are. */
static bool read_peers(reader *in)
{
    loader *load = in->load;
    sk_config *config = &load->config;
    free(config->peers);
    config->peers = NULL;
    config->peer_count = 0;
    if (is_null(&in->event)) return true;
    if (in->event.type != YAML_SEQUENCE_START_EVENT) return fail_here(in, "peers: a list of peers belongs here");
    for (;;) {
        if (!next(in)) return false;
        if (in->event.type == YAML_SEQUENCE_END_EVENT) return true;
        size_t index = config->peer_count;
        if (index == SK_CONFIG_PEERS_MAX) return fail_here(in, "peers: more than %d peers", SK_CONFIG_PEERS_MAX);
        sk_config_peer peer = {.address_count = 0};
        load->peer_lines[index] = in->event.start_mark.line + 1;
        if (!read_peer(in, index, &peer)) return false;
        config->peers = sk_realloc(config->peers, (index + 1) * sizeof peer);
        config->peers[index] = peer;
        config->peer_count++;
    }
}

static bool share_address(const sk_config_peer *a, const sk_config_peer *b)
{
    for (size_t i = 0; i < a->address_count; i++)
        for (size_t j = 0; j < b->address_count; j++)
            if (sk_address_equal(&a->addresses[i], &b->addresses[j])) return true;
    return false;
}

static bool check_peers(loader *load, size_t peers_index)
{
    const sk_config *config = &load->config;
    bool numbered = !load->origins[peers_index].variable;
    for (size_t i = 0; i < config->peer_count; i++) {
        const sk_config_peer *peer = &config->peers[i];
        const char *source = numbered ? load->file : "SKERRY_PEERS";
        size_t line = numbered ? load->peer_lines[i] : 0;
        if (strcmp(peer->region, config->region) == 0) {
            return fail(load, source, line, "peers[%zu]: %s is this node's own region", i, peer->region);
        }
        for (size_t j = 0; j < i; j++) {
            const sk_config_peer *other = &config->peers[j];
            const char *same = NULL;
            if (strcmp(peer->region, other->region) == 0)
                same = "region";
            else if (memcmp(peer->public_key, other->public_key, sizeof peer->public_key) == 0)
                same = "public_key";
            else if (share_address(peer, other))
                same = "address";
            if (same) return fail(load, source, line, "peers[%zu]: the same %s as peers[%zu]", i, same, j);
        }
    }
    return true;
}

/* -- the file ----------------------------------------------------------------------------------------------------- */

/* The field of a section ("" at the top) with that key; sk_config_count() if there is none. */
static size_t find_field(const char *section, const char *key)
{
    size_t i = 0;
    for (; i < sk_config_count(); i++) {
        size_t len = sk_config_field_section(&sk_config_fields[i]);
        if (len == strlen(section) && strncmp(sk_config_fields[i].path, section, len) == 0 &&
            strcmp(sk_config_field_key(&sk_config_fields[i]), key) == 0) {
            break;
        }
    }
    return i;
}

/* The first field of the section with that name. */
static size_t find_section(const char *name)
{
    size_t i = 0, len = strlen(name);
    for (; i < sk_config_count(); i++) {
        const sk_config_field *field = &sk_config_fields[i];
        if (len > 0 && sk_config_field_section(field) == len && strncmp(field->path, name, len) == 0) break;
    }
    return i;
}

static bool fail_unknown(reader *in, const char *section, const char *key)
{
    char path[VALUE_MAX + VARIABLE_MAX], shown[256], hint[128];
    snprintf(path, sizeof path, "%s%s%s", section, *section ? "." : "", key);
    suggest(path, false, hint, sizeof hint);
    sk_config_show(path, shown, sizeof shown);
    return fail_here(in, "%s: unknown field%s", shown, hint);
}

/* The value of a field whose key is the current event. */
static bool read_field(reader *in, size_t index)
{
    loader *load = in->load;
    const sk_config_field *field = &sk_config_fields[index];
    char text[VALUE_MAX + 1], why[SK_CONFIG_WHY_MAX];
    origin *from = &load->origins[index];
    if (from->line > 0) return fail_here(in, "%s: given twice; the first is in line %zu", field->path, from->line);
    from->line = in->event.start_mark.line + 1;
    if (!next(in)) return false;
    if (field->kind == SK_CONFIG_PEERS) return read_peers(in);
    if (is_null(&in->event)) return true;
    if (!read_scalar(in, field->path, text)) return false;
    return sk_config_field_store(field, text, &load->config, why) || fail_here(in, "%s: %s", field->path, why);
}

/* The fields of a section whose name is the current event. */
static bool read_section(reader *in, const char *name, size_t index)
{
    char key[VALUE_MAX + 1];
    size_t *line = &in->load->sections[index];
    if (*line > 0) return fail_here(in, "%s: given twice; the first is in line %zu", name, *line);
    *line = in->event.start_mark.line + 1;
    if (!next(in)) return false;
    if (is_null(&in->event)) return true;
    if (in->event.type != YAML_MAPPING_START_EVENT) {
        return fail_here(in, "%s: a group of fields belongs here, such as %s", name, sk_config_fields[index].path);
    }
    for (;;) {
        if (!next(in)) return false;
        if (in->event.type == YAML_MAPPING_END_EVENT) return true;
        if (!read_scalar(in, name, key)) return false;
        size_t field = find_field(name, key);
        if (field == sk_config_count()) return fail_unknown(in, name, key);
        if (!read_field(in, field)) return false;
    }
}

static bool read_top(reader *in)
{
    char key[VALUE_MAX + 1];
    if (is_null(&in->event)) return true;
    if (in->event.type != YAML_MAPPING_START_EVENT) {
        return fail_here(in, "a configuration is written as fields, such as \"region: eu\"");
    }
    for (;;) {
        if (!next(in)) return false;
        if (in->event.type == YAML_MAPPING_END_EVENT) return true;
        if (!read_scalar(in, "the name of a field", key)) return false;
        size_t field = find_field("", key), section = find_section(key);
        if (section < sk_config_count()) {
            if (!read_section(in, key, section)) return false;
        } else if (field == sk_config_count()) {
            return fail_unknown(in, "", key);
        } else if (!read_field(in, field)) {
            return false;
        }
    }
}

/* Runs `read` on the one document of a text; a text without one is good and does nothing. */
static bool read_text(loader *load, const char *source, bool numbered, sk_bytes text, bool (*read)(reader *))
{
    reader in = {.load = load, .source = source, .numbered = numbered, .text = text};
    if (!yaml_parser_initialize(&in.parser)) return fail(load, source, 0, "out of memory");
    yaml_parser_set_encoding(&in.parser, YAML_UTF8_ENCODING);
    yaml_parser_set_input_string(&in.parser, text.len ? text.data : (const uint8_t *)"", text.len);
    bool good = next(&in) && next(&in); /* the stream's start, then the document's or the end */
    if (good && in.event.type == YAML_DOCUMENT_START_EVENT) {
        good = next(&in) && read(&in) && next(&in) && next(&in);
        if (good && in.event.type != YAML_STREAM_END_EVENT) good = fail_here(&in, "a second document begins here");
    }
    yaml_event_delete(&in.event);
    yaml_parser_delete(&in.parser);
    return good;
}

/* -- the environment ---------------------------------------------------------------------------------------------- */

/* For every service, Kubernetes tells each pod NAME_SERVICE_HOST, NAME_SERVICE_PORT[_…], NAME_PORT (a URL) and
 * NAME_PORT_n_TCP[_…]. */
static bool is_from_kubernetes(const char *name, const char *value)
{
    return strstr(name, "_SERVICE_HOST") || strstr(name, "_SERVICE_PORT") ||
           (strstr(name, "_PORT_") && (strstr(name, "_TCP") || strstr(name, "_UDP"))) ||
           strncmp(value, "tcp://", 6) == 0 || strncmp(value, "udp://", 6) == 0;
}

static bool read_variable(loader *load, const char *name, const char *value)
{
    char variable[VARIABLE_MAX], hint[128], shown[256], why[SK_CONFIG_WHY_MAX];
    size_t i = 0;
    for (; i < sk_config_count(); i++) {
        sk_config_field_variable(&sk_config_fields[i], variable, sizeof variable);
        if (strcmp(variable, name) == 0) break;
    }
    if (i == sk_config_count()) {
        if (is_from_kubernetes(name, value)) return true;
        suggest(name, true, hint, sizeof hint);
        sk_config_show(name, shown, sizeof shown);
        return fail(load, "environment", 0, "%s: unknown variable%s", shown, hint);
    }
    load->origins[i].variable = true;
    const sk_config_field *field = &sk_config_fields[i];
    if (field->kind == SK_CONFIG_PEERS) {
        if (strlen(value) > SK_CONFIG_FILE_MAX) return fail(load, name, 0, "it is longer than 1 MiB");
        free(load->config.peers);
        load->config.peers = NULL;
        load->config.peer_count = 0;
        return read_text(load, name, false, sk_bytes_str(value), read_peers);
    }
    return sk_config_field_store(field, value, &load->config, why) || fail_field(load, i, why);
}

static bool read_environment(loader *load, char *const *env)
{
    static const char prefix[] = "SKERRY_";
    for (; env && *env; env++) {
        const char *equals = strchr(*env, '=');
        if (!equals || strncmp(*env, prefix, sizeof prefix - 1) != 0) continue;
        size_t len = (size_t)(equals - *env);
        char *name = sk_alloc(len + 1);
        memcpy(name, *env, len);
        bool good = read_variable(load, name, equals + 1);
        free(name);
        if (!good) return false;
    }
    return true;
}

/* -- the whole ---------------------------------------------------------------------------------------------------- */

static bool check(loader *load)
{
    char why[SK_CONFIG_WHY_MAX], variable[VARIABLE_MAX];
    for (size_t i = 0; i < sk_config_count(); i++) {
        const sk_config_field *field = &sk_config_fields[i];
        if (!field->required || sk_config_field_is_set(field, &load->config)) continue;
        sk_config_field_variable(field, variable, sizeof variable);
        snprintf(why, sizeof why, "missing; set it in the file or with %s", variable);
        return fail_field(load, i, why);
    }
    if (!check_peers(load, find_field("", "peers"))) return false;
    const sk_config_field *guilty = sk_config_conflict(&load->config, why);
    return !guilty || fail_field(load, (size_t)(guilty - sk_config_fields), why);
}

int sk_config_parse(const char *name, sk_bytes text, char *const *env, sk_config *config,
                    char error[SK_CONFIG_ERROR_MAX])
{
    char why[SK_CONFIG_WHY_MAX];
    loader *load = sk_alloc(sizeof *load);
    load->file = name;
    load->error = error;
    for (size_t i = 0; i < sk_config_count(); i++) {
        const sk_config_field *field = &sk_config_fields[i];
        bool good = !field->initial || sk_config_field_store(field, field->initial, &load->config, why);
        sk_assert(good);
    }
    bool good = text.len <= SK_CONFIG_FILE_MAX || fail(load, name, 0, "the file is larger than 1 MiB");
    good = good && read_text(load, name, true, text, read_top) && read_environment(load, env) && check(load);
    if (good)
        *config = load->config;
    else
        sk_config_free(&load->config);
    free(load);
    return good ? 0 : SK_E_CONFIG;
}

/* At most one byte more than a file may have. */
static bool read_file(const char *path, sk_buf *text)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    if (fd < 0) return false;
    ssize_t got = 1;
    while (got > 0 && text->len <= SK_CONFIG_FILE_MAX) {
        size_t want = SK_CONFIG_FILE_MAX + 1 - text->len;
        if (want > 64 * 1024) want = 64 * 1024;
        got = read(fd, sk_buf_reserve(text, want), want);
        if (got < 0 && errno == EINTR)
            got = 1;
        else if (got > 0)
            text->len += (size_t)got;
    }
    int cause = errno;
    close(fd);
    errno = cause;
    return got >= 0;
}

int sk_config_load(const char *path, char *const *env, sk_config *config, char error[SK_CONFIG_ERROR_MAX])
{
    sk_buf text = {0};
    int result = SK_E_CONFIG;
    if (!path) {
        result = sk_config_parse("environment", SK_BYTES_NONE, env, config, error);
    } else if (!read_file(path, &text)) {
        loader load = {.error = error};
        fail(&load, path, 0, "the file cannot be read: %s", strerror(errno));
    } else {
        result = sk_config_parse(path, sk_buf_view(&text), env, config, error);
    }
    sk_buf_free(&text);
    return result;
}

void sk_config_free(sk_config *config)
{
    for (size_t i = 0; i < sk_config_count(); i++) sk_config_field_free(&sk_config_fields[i], config);
    *config = (sk_config){.region = NULL};
}
