/* What tells this life of a data directory from another: from a copy of it, a restored backup, and from itself after
 * the machine went down.
 *
 * A node may go on with its origin's dots only where its disk state is at least as new as all that it ever sent. A
 * process that dies takes nothing with it that was committed, under any durability: the operating system has it. A
 * machine that goes down can, under `interval` and `os`. And a copied or restored directory is old by nature. So a life
 * is
 *
 *     boot id of the kernel  +  the directory's mark (sk_folder_mark)
 *
 * and when it is not the one noted in the directory, the node takes a new incarnation, under every durability alike:
 * one rule, and an incarnation costs nothing. Where the boot id cannot be read, every start is a life of its own.
 * (A virtual machine set back to a snapshot keeps all three; its peers' handshakes find that out.)
 *
 * Where only the first two words differ, the directory is in its place and its disk has gone on: no break (crdt/dot.h).
 * An image of the whole disk that was put back looks the same; again its peers find that out. */
#ifndef SK_NODE_LIFE_H
#define SK_NODE_LIFE_H

#include "crdt/bytes.h"

enum { SK_LIFE_MAX = 136 }; /* characters, NUL included; room for a mark of 87 */

#define SK_LIFE_BOOT_ID "/proc/sys/kernel/random/boot_id"

/** Writes the life as readable text. `boot_id`: the file to read, SK_LIFE_BOOT_ID. False when it could not be read: the
 *  life is then a random one. */
bool sk_life_text(const char *boot_id, const char *mark, char text[SK_LIFE_MAX]);

#endif
