/* Calls of the system that fail on demand: the n-th write to a file, or to a socket, since it was asked for.
 *
 * calls.c defines write, fdatasync and their like in the place of the C library's, for all of a process, its libraries
 * included: linked into a test, or as a library that LD_PRELOAD names (then fault_control is a mapping of the file that
 * SK_FAULT_CONTROL names, so that another process can set it). What does not fail goes to the kernel as it is.
 *
 * Counted are calls on regular files (not stdin, stdout, stderr) and on internet sockets, and those that make or rename
 * files; not those whose failure nobody is told of, as unlink of something that is already void. */
#ifndef SK_TESTS_FAULT_CALLS_H
#define SK_TESTS_FAULT_CALLS_H

#include <stdint.h>

enum { FAULT_DISK = 1, FAULT_SOCKET = 2 };

typedef struct {
    uint32_t kinds;   /* of calls that are counted; 0: none, nothing fails */
    int32_t error;    /* errno; 0: what writes bytes writes half of them, other calls do not fail */
    uint64_t first;   /* the first that fails, from 1; 0: none */
    uint64_t length;  /* so many fail, one after the other */
    uint64_t counted; /* calls since counted was zeroed */
    uint64_t failed;  /* likewise, of them that failed, or were short */
} fault_control;

extern fault_control *fault; /* never NULL */

#endif
