/* The arguments of a command as COMMAND DOCS tells them: worked out from the syntax in the command table, the one that
 * COMMANDS.md shows.
 *
 *   word            an argument of that name; what type it has follows from the name
 *   WORD            a word to be written so; what follows it in its group belongs to it
 *   a|b             in a line: one of these words
 *   [ … ]           may be left out; within, and between spaces, | separates what may stand here
 *   x [x ...]       one or more times, also of several words
 *
 * Redis' names for a choice ("condition", "expiration") are not in the syntax: here it is called "option". */
#ifndef SK_NODE_COMMAND_ARGS_H
#define SK_NODE_COMMAND_ARGS_H

#include "node/command.h"

/** Appends the array of a command's arguments. */
void sk_reply_arguments(const sk_reply *reply, const sk_command *command);

#endif
