/* skerryctl: keygen, status, region list|lag|link, digest. */
#include "node/ctl.h"

#include "node/key.h"

#include <inttypes.h>
#include <stdio.h>

int ctl_keygen(ctl_tool *ctl, int argc, char **argv)
{
    const char *path = argc ? argv[0] : "node.key";
    sk_noise_keypair pair;
    char error[SK_KEY_ERROR_MAX], hex[SK_KEY_HEX];
    if (sk_key_create(path, &pair, error)) {
        fprintf(stderr, "skerryctl: %s\n", error);
        return CTL_FAILED;
    }
    sk_key_hex(pair.public, hex);
    sk_noise_keypair_wipe(&pair);
    if (!ctl->json) {
        puts(hex);
        return CTL_OK;
    }
    ctl_json json = {.comma = false};
    ctl_json_open(&json, NULL, '{');
    ctl_json_text(&json, "file", sk_bytes_str(path));
    ctl_json_text(&json, "public_key", sk_bytes_str(hex));
    ctl_json_close(&json, '}');
    ctl_json_print(&json);
    return CTL_OK;
}

/* -- tables -------------------------------------------------------------------------------------------------------- */

enum { COLUMNS_MAX = 9, CELL_MAX = 512 };

/* Rows of cells, printed with every column but the last as wide as its widest cell. */
typedef struct {
    int columns;
    size_t width[COLUMNS_MAX];
    sk_buf cells; /* each with a NUL */
} ctl_table;

static void cell(ctl_table *table, int column, const char *text)
{
    size_t len = strlen(text);
    if (len > table->width[column]) table->width[column] = len;
    sk_buf_append(&table->cells, text, len + 1);
}

static void cell_int(ctl_table *table, int column, const redisReply *value, const char *unit)
{
    char text[64] = "-";
    if (value && ctl_int(value) >= 0) snprintf(text, sizeof text, "%" PRId64 "%s", ctl_int(value), unit);
    cell(table, column, text);
}

static void cell_clock(ctl_table *table, int column, const redisReply *offset)
{
    char text[32] = "-";
    if (offset) snprintf(text, sizeof text, "%+" PRId64 " ms", ctl_int(offset));
    cell(table, column, text);
}

static void cell_bytes(ctl_table *table, int column, const redisReply *value)
{
    char text[64] = "-";
    double bytes = value ? (double)ctl_int(value) : -1;
    if (bytes >= 1 << 20)
        snprintf(text, sizeof text, "%.1f MB", bytes / (1 << 20));
    else if (bytes >= 1 << 10)
        snprintf(text, sizeof text, "%.1f KB", bytes / (1 << 10));
    else if (bytes >= 0)
        snprintf(text, sizeof text, "%.0f B", bytes);
    cell(table, column, text);
}

static void cell_age(ctl_table *table, int column, const redisReply *value)
{
    char text[64] = "-";
    int64_t seconds = value ? ctl_int(value) / 1000 : -1;
    if (seconds >= 2 * 86400)
        snprintf(text, sizeof text, "%" PRId64 " d", seconds / 86400);
    else if (seconds >= 2 * 3600)
        snprintf(text, sizeof text, "%" PRId64 " h", seconds / 3600);
    else if (seconds >= 0)
        snprintf(text, sizeof text, "%" PRId64 " s", seconds);
    cell(table, column, text);
}

static void cell_text(ctl_table *table, int column, const redisReply *value)
{
    char text[CELL_MAX];
    sk_bytes bytes = ctl_text(value);
    snprintf(text, sizeof text, "%.*s", (int)bytes.len, (const char *)bytes.data);
    cell(table, column, bytes.len ? text : "-");
}

static void append_table(ctl_table *table, sk_buf *out)
{
    int column = 0;
    for (size_t at = 0; at < table->cells.len; column = (column + 1) % table->columns) {
        const char *text = (const char *)table->cells.data + at;
        bool last = column == table->columns - 1;
        sk_buf_printf(out, "%-*s%s", last ? 0 : (int)table->width[column], text, last ? "\n" : "  ");
        at += strlen(text) + 1;
    }
    sk_buf_free(&table->cells);
}

static void headings(ctl_table *table, const char *const *texts)
{
    for (int i = 0; i < table->columns; i++) cell(table, i, texts[i]);
}

/* -- one question to every node ------------------------------------------------------------------------------------ */

/* What a command does with one node's answer: prints it, and says CTL_OK or CTL_NO. */
typedef int show_fn(ctl_tool *ctl, ctl_node *node, const redisReply *answer, sk_buf *text, ctl_json *json);

/* Asks each node; the worst outcome is the command's. With --json: {"nodes": [{"node": …, …}, …]}. */
static int each_node(ctl_tool *ctl, const char *const *question, int words, show_fn *show)
{
    int worst = CTL_OK;
    sk_buf text = {0};
    ctl_json json = {.comma = false};
    ctl_json_open(&json, NULL, '{');
    ctl_json_open(&json, "nodes", '[');
    for (int i = 0; i < ctl->node_count; i++) {
        ctl_node *node = &ctl->nodes[i];
        redisReply *answer = ctl_ask(ctl, node, words, question);
        int outcome = CTL_FAILED;
        if (answer) {
            if (ctl->node_count > 1) sk_buf_printf(&text, "%s%s\n", i ? "\n" : "", node->name);
            ctl_json_open(&json, NULL, '{');
            ctl_json_text(&json, "node", sk_bytes_str(node->name));
            outcome = show(ctl, node, answer, &text, &json);
            ctl_json_close(&json, '}');
            freeReplyObject(answer);
        }
        if (outcome > worst) worst = outcome;
    }
    ctl_json_close(&json, ']');
    ctl_json_close(&json, '}');
    ctl_print_either(ctl, &json, &text);
    return worst;
}

static void json_regions(ctl_json *json, const redisReply *regions)
{
    ctl_json_open(json, "regions", '[');
    for (size_t i = 0; i < ctl_count(regions); i++) ctl_json_map(json, NULL, regions->element[i]);
    ctl_json_close(json, ']');
}

/* "eu: comparing: 1200 of 50000 rows gone through, 35 rows sent, about 12 s left" */
static void append_progress(const redisReply *region, sk_buf *text)
{
    sk_bytes name = ctl_text(ctl_field(region, "region")), transfer = ctl_text(ctl_field(region, "transfer"));
    int64_t rows = ctl_int(ctl_field(region, "transfer_rows")), left = ctl_int(ctl_field(region, "transfer_left_ms"));
    if (transfer.len == 0 || sk_bytes_equal(transfer, sk_bytes_str("none"))) return;
    sk_buf_printf(text, "%.*s: %.*s: ", (int)name.len, (const char *)name.data, (int)transfer.len,
                  (const char *)transfer.data);
    if (rows > 0)
        sk_buf_printf(text, "%" PRId64 " of %" PRId64 " rows gone through, ",
                      ctl_int(ctl_field(region, "transfer_rows_done")), rows);
    sk_buf_printf(text, "%" PRId64 " rows sent", ctl_int(ctl_field(region, "transfer_rows_sent")));
    if (left >= 0) sk_buf_printf(text, ", about %" PRId64 " s left", (left + 999) / 1000);
    sk_buf_printf(text, "\n");
}

/* Of one that is no member with its key: there may be several of one name, and a key says which is to be forgotten. */
static void append_note(const redisReply *region, sk_buf *text)
{
    sk_bytes name = ctl_text(ctl_field(region, "region")), note = ctl_text(ctl_field(region, "note"));
    sk_bytes key = ctl_text(ctl_field(region, "public_key"));
    if (note.len == 0) return;
    sk_buf_printf(text, "%.*s", (int)name.len, (const char *)name.data);
    if (ctl_field(region, "agreed")) sk_buf_printf(text, " (key %.*s)", (int)key.len, (const char *)key.data);
    sk_buf_printf(text, ": %.*s\n", (int)note.len, (const char *)note.data);
}

static void append_regions(const redisReply *regions, sk_buf *text)
{
    static const char *const names[] = {"REGION", "LINK", "LAG", "HEARD", "ROUND TRIP", "CLOCK", "TRANSFER", "HISTORY", "VECTOR"};
    ctl_table table = {.columns = 9};
    headings(&table, names);
    for (size_t i = 0; i < ctl_count(regions); i++) {
        const redisReply *region = regions->element[i];
        cell_text(&table, 0, ctl_field(region, "region"));
        cell_text(&table, 1, ctl_field(region, "link"));
        cell_int(&table, 2, ctl_field(region, "lag"), "");
        cell_int(&table, 3, ctl_field(region, "heard_ms_ago"), " ms ago");
        cell_int(&table, 4, ctl_field(region, "round_trip_ms"), " ms");
        cell_clock(&table, 5, ctl_field(region, "clock_offset_ms"));
        cell_text(&table, 6, ctl_field(region, "transfer"));
        cell_bytes(&table, 7, ctl_field(region, "history_bytes"));
        cell_text(&table, 8, ctl_field(region, "vector"));
    }
    append_table(&table, text);
    for (size_t i = 0; i < ctl_count(regions); i++) append_progress(regions->element[i], text);
    for (size_t i = 0; i < ctl_count(regions); i++) append_note(regions->element[i], text);
}

static int show_regions(ctl_tool *ctl, ctl_node *node, const redisReply *answer, sk_buf *text, ctl_json *json)
{
    (void)ctl, (void)node;
    append_regions(answer, text);
    json_regions(json, answer);
    return CTL_OK;
}

static bool links_up(const redisReply *regions)
{
    for (size_t i = 0; i < ctl_count(regions); i++)
        if (ctl_is_peer(regions->element[i]) && !ctl_is_up(regions->element[i])) return false;
    return true;
}

static int show_status(ctl_tool *ctl, ctl_node *node, const redisReply *answer, sk_buf *text, ctl_json *json)
{
    static const char *const question[] = {"DIGEST"};
    redisReply *digest = ctl_ask(ctl, node, 1, question);
    if (!digest) return CTL_FAILED;
    int64_t conflicts = 0;
    for (size_t i = 0; i < ctl_count(answer); i++) conflicts += ctl_int(ctl_field(answer->element[i], "conflicts"));
    sk_bytes hex = ctl_text(ctl_field(digest, "digest"));
    append_regions(answer, text);
    sk_buf_printf(text, "conflicts  %" PRId64 "\ndigest     %.*s\n", conflicts, (int)hex.len, (const char *)hex.data);
    json_regions(json, answer);
    ctl_json_int(json, "conflicts", conflicts);
    ctl_json_text(json, "digest", hex);
    ctl_json_bool(json, "links_up", links_up(answer));
    freeReplyObject(digest);
    return links_up(answer) ? CTL_OK : CTL_NO;
}

static int show_lag(ctl_tool *ctl, ctl_node *node, const redisReply *answer, sk_buf *text, ctl_json *json)
{
    static const char *const names[] = {"REGION", "IT LACKS", "WE LACK", "CLOCK", "HEARD", "HISTORY", "FOR", "LAGGARD"};
    (void)ctl, (void)node;
    ctl_table table = {.columns = 8};
    headings(&table, names);
    for (size_t i = 0; i < ctl_count(answer); i++) {
        cell_text(&table, 0, ctl_field(answer->element[i], "region"));
        cell_int(&table, 1, ctl_field(answer->element[i], "it_lacks"), "");
        cell_int(&table, 2, ctl_field(answer->element[i], "we_lack"), "");
        cell_clock(&table, 3, ctl_field(answer->element[i], "clock_offset_ms"));
        cell_int(&table, 4, ctl_field(answer->element[i], "heard_ms_ago"), " ms ago");
        cell_bytes(&table, 5, ctl_field(answer->element[i], "history_bytes"));
        cell_age(&table, 6, ctl_field(answer->element[i], "history_age_ms"));
        cell(&table, 7, ctl_int(ctl_field(answer->element[i], "laggard")) > 0 ? "yes" : "no");
    }
    append_table(&table, text);
    json_regions(json, answer);
    return CTL_OK;
}

static int show_digest(ctl_tool *ctl, ctl_node *node, const redisReply *answer, sk_buf *text, ctl_json *json)
{
    (void)ctl, (void)node;
    sk_bytes hex = ctl_text(ctl_field(answer, "digest")), vector = ctl_text(ctl_field(answer, "vector"));
    sk_buf_printf(text, "digest  %.*s\nvector  %.*s\n", (int)hex.len, (const char *)hex.data, (int)vector.len,
                  (const char *)vector.data);
    ctl_json_text(json, "digest", hex);
    ctl_json_text(json, "vector", vector);
    return CTL_OK;
}

int ctl_status(ctl_tool *ctl, int argc, char **argv)
{
    static const char *const question[] = {"REGION", "LIST"};
    (void)argc, (void)argv;
    return each_node(ctl, question, 2, show_status);
}

int ctl_region_list(ctl_tool *ctl, int argc, char **argv)
{
    static const char *const question[] = {"REGION", "LIST"};
    (void)argc, (void)argv;
    return each_node(ctl, question, 2, show_regions);
}

int ctl_region_lag(ctl_tool *ctl, int argc, char **argv)
{
    static const char *const question[] = {"REGION", "LAG"};
    (void)argc, (void)argv;
    return each_node(ctl, question, 2, show_lag);
}

int ctl_digest(ctl_tool *ctl, int argc, char **argv)
{
    static const char *const question[] = {"DIGEST"};
    (void)argc, (void)argv;
    return each_node(ctl, question, 1, show_digest);
}

static int show_ok(ctl_tool *ctl, ctl_node *node, const redisReply *answer, sk_buf *text, ctl_json *json)
{
    (void)ctl, (void)node, (void)answer;
    sk_buf_printf(text, "OK\n");
    ctl_json_bool(json, "ok", true);
    return CTL_OK;
}

int ctl_region_link(ctl_tool *ctl, int argc, char **argv)
{
    (void)argc;
    const char *question[] = {"REGION", "LINK", argv[0], argv[1]};
    return each_node(ctl, question, 4, show_ok);
}

static int show_audit(ctl_tool *ctl, ctl_node *node, const redisReply *answer, sk_buf *text, ctl_json *json)
{
    static const char *const counts[] = {"rows", "history", "damaged_history", "damaged_staged", "mended", "repairs",
                                         "drift_regions", "drift_settled", "not_named"};
    static const char *const names[] = {"STATE", "TABLE", "KEY", "MEMBER", "REGION", "OURS", "THEIRS"};
    (void)ctl, (void)node;
    sk_bytes state = ctl_text(ctl_field(answer, "state")), why = ctl_text(ctl_field(answer, "why"));
    const redisReply *rows = ctl_field(answer, "named");
    sk_buf_printf(text, "state            %.*s\n", (int)state.len, (const char *)state.data);
    if (why.len) sk_buf_printf(text, "why              %.*s\n", (int)why.len, (const char *)why.data);
    ctl_json_text(json, "state", state);
    ctl_json_text(json, "why", why);
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
        int64_t count = ctl_int(ctl_field(answer, counts[i]));
        sk_buf_printf(text, "%-15s  %" PRId64 "\n", counts[i], count);
        ctl_json_int(json, counts[i], count);
    }
    ctl_json_open(json, "named", '[');
    for (size_t i = 0; i < ctl_count(rows); i++) ctl_json_map(json, NULL, rows->element[i]);
    ctl_json_close(json, ']');
    ctl_table table = {.columns = sizeof names / sizeof *names};
    if (ctl_count(rows)) headings(&table, names);
    for (size_t i = 0; i < ctl_count(rows); i++) {
        cell_text(&table, 0, ctl_field(rows->element[i], "state"));
        cell_text(&table, 1, ctl_field(rows->element[i], "table"));
        cell_text(&table, 2, ctl_field(rows->element[i], "key"));
        cell_text(&table, 3, ctl_field(rows->element[i], "member"));
        cell_text(&table, 4, ctl_field(rows->element[i], "region"));
        cell_text(&table, 5, ctl_field(rows->element[i], "ours"));
        cell_text(&table, 6, ctl_field(rows->element[i], "theirs"));
    }
    append_table(&table, text);
    return sk_bytes_equal(state, sk_bytes_str("verified")) ? CTL_OK : CTL_NO;
}

int ctl_region_audit(ctl_tool *ctl, int argc, char **argv)
{
    const char *question[] = {"REGION", "AUDIT", NULL, NULL, NULL, NULL};
    for (int i = 0; i < argc; i++) question[2 + i] = argv[i];
    return each_node(ctl, question, 2 + argc, argc ? show_ok : show_audit);
}
