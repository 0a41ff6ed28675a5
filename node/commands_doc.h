/* COMMANDS.md's generated part: the command table (node/command.h) as Markdown, so that the page can say nothing that the
 * node does not do. What stands before it in the page is written by hand; tests/unit/commands_doc_test.c holds the two
 * equal and writes the page anew when SK_GOLDEN_WRITE is set. */
#ifndef SK_NODE_COMMANDS_DOC_H
#define SK_NODE_COMMANDS_DOC_H

#include "crdt/memory.h"

#define SK_COMMANDS_DOC_BEGIN "<!-- generated from the command table: begin -->\n"
#define SK_COMMANDS_DOC_END "<!-- generated from the command table: end -->\n"

/** Appends the part, from its first marker to its last: a table for each group, a line for each command and
 *  subcommand. */
void sk_commands_doc(sk_buf *out);

#endif
