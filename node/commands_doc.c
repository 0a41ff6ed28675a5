#include "node/commands_doc.h"

#include "node/command.h"

#include <ctype.h>
#include <stdlib.h>

enum { GROUPS_MAX = 16 };

typedef struct {
    const sk_command **list; /* owned */
    size_t count;
    const char *groups[GROUPS_MAX]; /* in the order of the tables */
    size_t group_count;
} collection;

static void collect(void *self, const sk_command *command)
{
    collection *all = self;
    size_t group = 0;
    all->list = sk_realloc(all->list, (all->count + 1) * sizeof *all->list);
    all->list[all->count++] = command;
    while (group < all->group_count && strcmp(all->groups[group], command->group) != 0) group++;
    if (group < all->group_count) return;
    sk_assert(all->group_count < GROUPS_MAX);
    all->groups[all->group_count++] = command->group;
}

static int by_name(const void *a, const void *b)
{
    return strcmp((*(const sk_command *const *)a)->name, (*(const sk_command *const *)b)->name);
}

static const char *title(const char *group)
{
    static const char *const titles[][2] = {
        {"string", "Strings and numbers"}, {"hash", "Hashes"},
        {"set", "Sets"},                   {"generic", "Keys of any type"},
        {"connection", "The connection"},  {"server", "The server"},
        {"transactions", "Transactions"},  {"conflicts", "Conflicts (skerry's own)"},
        {"replication", "Regions (skerry's own)"},
    };
    for (size_t i = 0; i < sizeof titles / sizeof *titles; i++)
        if (strcmp(titles[i][0], group) == 0) return titles[i][1];
    return group;
}

/* -- one line ------------------------------------------------------------------------------------------------------ */

static void add_upper(sk_buf *out, const char *text)
{
    for (; *text; text++) sk_buf_byte(out, (uint8_t)toupper((unsigned char)*text));
}

/* In a cell of a table, where a bar must not end it. */
static void add_cell(sk_buf *out, const char *text)
{
    for (; *text; text++) {
        if (*text == '|') sk_buf_byte(out, '\\');
        sk_buf_byte(out, (uint8_t)*text);
    }
}

static void add_flags(sk_buf *out, const sk_command *command)
{
    const struct {
        bool applies;
        const char *words;
    } flags[] = {
        {command->flags & SK_CMD_WRITE, "writes"},
        {command->flags & SK_CMD_DENYOOM, "needs room"},
        {command->flags & SK_CMD_ALL_KEYS, "whole keyspace"},
        {command->flags & SK_CMD_ADMIN, "admin"},
        {command->flags & SK_CMD_BLOCKING, "may wait"},
        {command->flags & SK_CMD_NO_MULTI, "not in MULTI"},
        {command->flags & SK_CMD_NO_AUTH, "before AUTH"},
    };
    bool first = true;
    for (size_t i = 0; i < sizeof flags / sizeof *flags; i++) {
        if (!flags[i].applies) continue;
        sk_buf_printf(out, "%s%s", first ? "" : ", ", flags[i].words);
        first = false;
    }
}

static void add_line(sk_buf *out, const sk_command *parent, const sk_command *command)
{
    sk_buf_printf(out, "| `");
    if (parent) add_upper(out, parent->name);
    if (parent) sk_buf_byte(out, ' ');
    add_upper(out, command->name);
    if (command->args[0]) sk_buf_byte(out, ' ');
    add_cell(out, command->args);
    if (!command->run && !command->args[0]) sk_buf_printf(out, " subcommand");
    sk_buf_printf(out, "` | ");
    add_cell(out, command->summary);
    sk_buf_printf(out, " | %s | ", command->since);
    if (command->run) add_flags(out, command);
    sk_buf_printf(out, " |\n");
    for (const sk_command *sub = command->subcommands; sub && sub->name; sub++) add_line(out, command, sub);
}

/* -- the part ------------------------------------------------------------------------------------------------------ */

void sk_commands_doc(sk_buf *out)
{
    collection all = {0};
    sk_command_each(collect, &all);
    qsort(all.list, all.count, sizeof *all.list, by_name);
    sk_buf_printf(out, "%s\n", SK_COMMANDS_DOC_BEGIN);
    sk_buf_printf(out,
                  "%zu commands. *Since* is the version of Redis that had a command first, or skerry's. *writes*: replies "
                  "when what\nit wrote is as durable as `storage.durability` says; *needs room*: refused while the disk is "
                  "nearly full; *whole\nkeyspace*: costs what there is, or works on all of it.\n",
                  all.count);
    for (size_t group = 0; group < all.group_count; group++) {
        sk_buf_printf(out, "\n### %s\n\n| command | what it does | since | flags |\n|---|---|---|---|\n",
                      title(all.groups[group]));
        for (size_t i = 0; i < all.count; i++)
            if (strcmp(all.list[i]->group, all.groups[group]) == 0) add_line(out, NULL, all.list[i]);
    }
    sk_buf_printf(out, "\n%s", SK_COMMANDS_DOC_END);
    free(all.list);
}
