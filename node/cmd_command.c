/* COMMAND: the command table, as clients ask for it. Reply shapes are those of Redis 7.0.
 *
 * What the table does not have is left out: tips, complexity, and when an argument came. */
#include "node/cmd_server.h"

#include "node/command_args.h"
#include "node/glob.h"
#include "node/replica.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

enum { WORDS_MAX = 24 };

/* -- lists of words ------------------------------------------------------------------------------------------------ */

typedef struct {
    char words[WORDS_MAX][16];
    size_t count;
} word_list;

static void add_word(word_list *list, bool applies, const char *word, size_t len)
{
    if (!applies || list->count == WORDS_MAX || len >= sizeof list->words[0]) return;
    for (size_t i = 0; i < list->count; i++)
        if (strlen(list->words[i]) == len && memcmp(list->words[i], word, len) == 0) return;
    memcpy(list->words[list->count], word, len);
    list->words[list->count++][len] = 0;
}

static void add(word_list *list, bool applies, const char *word)
{
    add_word(list, applies, word, strlen(word));
}

static void reply_words(const sk_reply *reply, const word_list *list)
{
    sk_reply_set(reply, list->count);
    for (size_t i = 0; i < list->count; i++) sk_reply_simple(reply, list->words[i]);
}

static word_list flags_of(const sk_command *command)
{
    word_list list = {.count = 0};
    unsigned flags = command->flags;
    add(&list, command->flags & SK_CMD_WRITE, "write");
    add(&list, flags & SK_CMD_READONLY, "readonly");
    add(&list, flags & SK_CMD_DENYOOM, "denyoom");
    add(&list, flags & SK_CMD_ADMIN, "admin");
    add(&list, flags & SK_CMD_NOSCRIPT, "noscript");
    add(&list, flags & SK_CMD_BLOCKING, "blocking");
    add(&list, flags & SK_CMD_LOADING, "loading");
    add(&list, flags & SK_CMD_LOADING, "stale");
    add(&list, flags & SK_CMD_FAST, "fast");
    add(&list, flags & SK_CMD_NO_AUTH, "no_auth");
    add(&list, flags & SK_CMD_ALLOW_BUSY, "allow_busy");
    add(&list, flags & SK_CMD_NUMKEYS, "movablekeys");
    add(&list, flags & SK_CMD_NO_MULTI, "no_multi");
    return list;
}

/* Those named in the table and those that follow from the flags. */
static word_list categories_of(const sk_command *command)
{
    word_list list = {.count = 0};
    bool container = !command->run;
    unsigned flags = command->flags;
    for (const char *at = command->acl; *at;) {
        size_t len = strcspn(at, " ");
        add_word(&list, len > 0, at, len);
        at += len + (at[len] == ' ');
    }
    add(&list, command->flags & SK_CMD_WRITE, "@write");
    add(&list, flags & SK_CMD_READONLY && !container, "@read");
    add(&list, flags & SK_CMD_ADMIN, "@admin");
    add(&list, flags & SK_CMD_ADMIN, "@dangerous");
    add(&list, flags & SK_CMD_BLOCKING, "@blocking");
    add(&list, true, flags & SK_CMD_FAST ? "@fast" : "@slow");
    return list;
}

/* -- INFO ---------------------------------------------------------------------------------------------------------- */

static void reply_pair(const sk_reply *reply, const char *name, int value)
{
    sk_reply_bulk_str(reply, name);
    sk_reply_int(reply, value);
}

/* One key specification: what is done with the keys from argument `first` on. `find` is "range" with the last of them
 * relative to the first and a step, or "keynum" if that argument says how many follow. */
static void reply_key_spec(const sk_reply *reply, unsigned use, int first, bool counted, int last, int step)
{
    static const char *const uses[][2] = {{"RO", "access"}, {"RO", NULL}, {"RW", "update"}, {"RW", "insert"},
                                          {"RW", "delete"}, {"RW", "access update"}, {"RW", "access delete"},
                                          {"OW", "update"}, {"OW", "insert"}, {"RM", "delete"}};
    word_list words = {.count = 0};
    add(&words, true, uses[use - 1][0]);
    for (const char *at = uses[use - 1][1]; at && *at; at += strspn(at, " ")) {
        add_word(&words, true, at, strcspn(at, " "));
        at += strcspn(at, " ");
    }
    sk_reply_map(reply, 3);
    sk_reply_bulk_str(reply, "flags");
    reply_words(reply, &words);
    sk_reply_bulk_str(reply, "begin_search");
    sk_reply_map(reply, 2);
    sk_reply_bulk_str(reply, "type");
    sk_reply_bulk_str(reply, "index");
    sk_reply_bulk_str(reply, "spec");
    sk_reply_map(reply, 1);
    reply_pair(reply, "index", first);
    sk_reply_bulk_str(reply, "find_keys");
    sk_reply_map(reply, 2);
    sk_reply_bulk_str(reply, "type");
    sk_reply_bulk_str(reply, counted ? "keynum" : "range");
    sk_reply_bulk_str(reply, "spec");
    sk_reply_map(reply, 3);
    reply_pair(reply, counted ? "keynumidx" : "lastkey", counted ? 0 : last);
    reply_pair(reply, counted ? "firstkey" : "keystep", counted ? 1 : step);
    reply_pair(reply, counted ? "keystep" : "limit", counted ? 1 : 0);
}

static void reply_key_specs(const sk_reply *reply, const sk_command *command)
{
    bool counted = command->flags & SK_CMD_NUMKEYS;
    unsigned use = (command->flags & SK_KEY_USE) / SK_KEY_READS;
    unsigned then = (command->flags / SK_KEY_THEN(1u) & SK_KEY_USE) / SK_KEY_READS;
    int first = command->first_key, last = command->last_key;
    if (use == 0) use = (command->flags & SK_CMD_WRITE ? SK_KEY_UPDATES : SK_KEY_READS) / SK_KEY_READS;
    sk_reply_set(reply, (first || counted) + (then != 0));
    if (counted) reply_key_spec(reply, use, 1, true, 0, 0);
    if (first == 0) return;
    int rest = first + (then != 0); /* where the last ones begin */
    if (then) reply_key_spec(reply, use, first, false, 0, 1);
    reply_key_spec(reply, then ? then : use, rest, false, last < 0 ? last : last - rest, command->key_step);
}

static size_t subcommand_count(const sk_command *command)
{
    size_t count = 0;
    if (command->subcommands)
        while (command->subcommands[count].name) count++;
    return count;
}

static void reply_info(const sk_reply *reply, const sk_command *command)
{
    char name[SK_COMMAND_NAME_MAX];
    sk_command_full_name(command, name);
    word_list flags = flags_of(command), categories = categories_of(command);
    size_t subs = subcommand_count(command);
    sk_reply_array(reply, 10);
    sk_reply_bulk_str(reply, name);
    sk_reply_int(reply, command->arity);
    reply_words(reply, &flags);
    sk_reply_int(reply, command->first_key);
    sk_reply_int(reply, command->last_key);
    sk_reply_int(reply, command->key_step);
    reply_words(reply, &categories);
    sk_reply_set(reply, 0); /* tips */
    reply_key_specs(reply, command);
    if (subs)
        sk_reply_array(reply, subs);
    else
        sk_reply_set(reply, 0);
    for (size_t i = 0; i < subs; i++) reply_info(reply, &command->subcommands[i]);
}

/* "get" or "config|get", in any case; NULL if there is none of that name. */
static const sk_command *find(sk_bytes name)
{
    const uint8_t *bar = name.len ? memchr(name.data, '|', name.len) : NULL;
    size_t len = bar ? (size_t)(bar - name.data) : name.len;
    const sk_command *command = sk_command_find(sk_bytes_of(name.data, len));
    if (!bar || !command) return command;
    for (size_t i = 0; i < subcommand_count(command); i++)
        if (sk_arg_is(sk_bytes_of(bar + 1, name.len - len - 1), command->subcommands[i].name))
            return &command->subcommands[i];
    return NULL;
}

static void count_command(void *self, const sk_command *command)
{
    (void)command;
    ++*(size_t *)self;
}

static size_t command_count(void)
{
    size_t count = 0;
    sk_command_each(count_command, &count);
    return count;
}

static void visit_info(void *self, const sk_command *command)
{
    reply_info(self, command);
}

static void reply_all(const sk_reply *reply)
{
    sk_reply_array(reply, command_count());
    sk_command_each(visit_info, (void *)(uintptr_t)reply);
}

void sk_cmd_command(sk_ctx *ctx)
{
    reply_all(ctx->reply);
}

static void command_info(sk_ctx *ctx)
{
    if (ctx->argc == 2) {
        reply_all(ctx->reply);
        return;
    }
    sk_reply_array(ctx->reply, ctx->argc - 2);
    for (size_t i = 2; i < ctx->argc; i++) {
        const sk_command *found = find(ctx->argv[i]);
        if (found)
            reply_info(ctx->reply, found);
        else
            sk_reply_null(ctx->reply);
    }
}

static void command_count_reply(sk_ctx *ctx)
{
    sk_reply_int(ctx->reply, (int64_t)command_count());
}

/* -- DOCS ---------------------------------------------------------------------------------------------------------- */

static void reply_docs(const sk_reply *reply, const sk_command *command)
{
    char name[SK_COMMAND_NAME_MAX];
    sk_command_full_name(command, name);
    size_t subs = subcommand_count(command);
    sk_reply_bulk_str(reply, name);
    bool has_args = command->run && command->args[0];
    sk_reply_map(reply, 3 + (size_t)has_args + (subs > 0));
    sk_reply_bulk_str(reply, "summary");
    sk_reply_bulk_str(reply, command->summary);
    sk_reply_bulk_str(reply, "since");
    sk_reply_bulk_str(reply, command->since);
    sk_reply_bulk_str(reply, "group");
    sk_reply_bulk_str(reply, command->group);
    if (has_args) {
        sk_reply_bulk_str(reply, "arguments");
        sk_reply_arguments(reply, command);
    }
    if (!subs) return;
    sk_reply_bulk_str(reply, "subcommands");
    sk_reply_map(reply, subs);
    for (size_t i = 0; i < subs; i++) reply_docs(reply, &command->subcommands[i]);
}

static void visit_docs(void *self, const sk_command *command)
{
    reply_docs(self, command);
}

static void command_docs(sk_ctx *ctx)
{
    if (ctx->argc == 2) {
        sk_reply_map(ctx->reply, command_count());
        sk_command_each(visit_docs, (void *)(uintptr_t)ctx->reply);
        return;
    }
    size_t known = 0;
    for (size_t i = 2; i < ctx->argc; i++) known += find(ctx->argv[i]) != NULL;
    sk_reply_map(ctx->reply, known);
    for (size_t i = 2; i < ctx->argc; i++) {
        const sk_command *found = find(ctx->argv[i]);
        if (found) reply_docs(ctx->reply, found);
    }
}

/* -- LIST ---------------------------------------------------------------------------------------------------------- */

typedef struct {
    sk_bytes pattern, category; /* data NULL: not asked for */
    bool filtered;              /* then subcommands are looked at too */
    sk_reply reply;
    size_t count;
} listing;

static bool wanted(const listing *list, const sk_command *command, const char *name)
{
    if (list->pattern.data) return sk_glob_match_nocase(list->pattern, sk_bytes_str(name));
    if (!list->category.data) return true;
    word_list categories = categories_of(command);
    for (size_t i = 0; i < categories.count; i++)
        if (sk_arg_is(list->category, categories.words[i] + 1)) return true;
    return false;
}

static void list_entry(listing *list, const sk_command *command)
{
    char name[SK_COMMAND_NAME_MAX];
    sk_command_full_name(command, name);
    if (!wanted(list, command, name)) return;
    sk_reply_bulk_str(&list->reply, name);
    list->count++;
}

static void visit_list(void *self, const sk_command *command)
{
    listing *list = self;
    list_entry(list, command);
    for (size_t i = 0; list->filtered && i < subcommand_count(command); i++)
        list_entry(list, &command->subcommands[i]);
}

static void command_list(sk_ctx *ctx)
{
    sk_buf names = {0};
    listing list = {.reply = {&names, ctx->reply->proto}, .filtered = ctx->argc == 5};
    bool known = ctx->argc == 2;
    if (ctx->argc == 5 && sk_arg_is(ctx->argv[2], "filterby")) {
        if (sk_arg_is(ctx->argv[3], "pattern")) list.pattern = ctx->argv[4];
        if (sk_arg_is(ctx->argv[3], "aclcat")) list.category = ctx->argv[4];
        known = list.pattern.data || list.category.data || sk_arg_is(ctx->argv[3], "module");
    }
    if (!known) {
        sk_reply_syntax(ctx);
        return;
    }
    bool of_module = list.filtered && !list.pattern.data && !list.category.data; /* there are no modules */
    if (!of_module) sk_command_each(visit_list, &list);
    sk_reply_array(ctx->reply, list.count);
    sk_buf_bytes(ctx->reply->out, sk_buf_view(&names));
    sk_buf_free(&names);
}

/* -- GETKEYS, HELP ------------------------------------------------------------------------------------------------- */

static void command_getkeys(sk_ctx *ctx)
{
    const sk_bytes *argv = ctx->argv + 2;
    size_t argc = ctx->argc - 2, count = 0, least;
    sk_bytes *keys;
    const sk_command *command = sk_command_named(argv, argc);
    if (!command) {
        sk_reply_error(ctx->reply, "ERR Invalid command specified");
        return;
    }
    least = (size_t)(command->arity < 0 ? -command->arity : command->arity);
    bool fits = command->arity < 0 ? argc >= least : argc == least;
    int status = fits ? sk_command_keys(command, argv, argc, ctx->arena, &keys, &count) : 0;
    bool found = !status && count > 0;
    if (status)
        sk_reply_failure(ctx, status);
    else if (!found && command->first_key == 0 && !(command->flags & SK_CMD_NUMKEYS))
        sk_reply_error(ctx->reply, "ERR The command has no key arguments");
    else if (!fits)
        sk_reply_error(ctx->reply, "ERR Invalid number of arguments specified for command");
    else if (!found)
        sk_reply_error(ctx->reply, "ERR Invalid arguments specified for command");
    if (!found) return;
    sk_reply_array(ctx->reply, count);
    for (size_t i = 0; i < count; i++) sk_reply_bulk(ctx->reply, keys[i]);
}

static void command_help(sk_ctx *ctx)
{
    static const char *const lines[] = {
        "COMMAND <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
        "(no subcommand)",
        "    Return details about all commands.",
        "COUNT",
        "    Return the total number of commands in this server.",
        "LIST",
        "    Return a list of all commands in this server.",
        "INFO [<command-name> ...]",
        "    Return details about multiple commands.",
        "    If no command names are given, details for all commands are returned.",
        "DOCS [<command-name> ...]",
        "    Return documentation details about multiple commands.",
        "    If no command names are given, documentation details for all",
        "    commands are returned.",
        "GETKEYS <full-command>",
        "    Return the keys from a full command.",
        "HELP",
        "    Prints this help.",
    };
    sk_reply_lines(ctx->reply, lines, sizeof lines / sizeof *lines);
}

#define ABOUT .flags = SK_CMD_LOADING, .group = "server", .acl = "@connection"

const sk_command sk_command_subcommands[] = {
    {.name = "count", .run = command_count_reply, .arity = 2, ABOUT, .since = "2.8.13", .args = "",
     .summary = "Get total number of Redis commands"},
    {.name = "docs", .run = command_docs, .arity = -2, ABOUT, .since = "7.0.0",
     .args = "[command-name [command-name ...]]", .summary = "Get array of specific Redis command documentation"},
    {.name = "getkeys", .run = command_getkeys, .arity = -4, ABOUT, .since = "2.8.13",
     .args = "command [arg [arg ...]]", .summary = "Extract keys given a full Redis command"},
    {.name = "help", .run = command_help, .arity = 2, ABOUT, .since = "5.0.0", .args = "",
     .summary = "Show helpful text about the different subcommands"},
    {.name = "info", .run = command_info, .arity = -2, ABOUT, .since = "2.8.13",
     .args = "[command-name [command-name ...]]",
     .summary = "Get array of specific Redis command details, or all when no argument is given."},
    {.name = "list", .run = command_list, .arity = -2, ABOUT, .since = "7.0.0",
     .args = "[FILTERBY MODULE module-name | ACLCAT category | PATTERN pattern]",
     .summary = "Get an array of Redis command names"},
    {.name = NULL},
};
