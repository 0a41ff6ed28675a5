/* Which version this is, and which Redis it behaves like. */
#ifndef SK_NODE_VERSION_H
#define SK_NODE_VERSION_H

#define SK_VERSION "0.1.0"
#define SK_REDIS_VERSION "7.0.15" /* whose commands, errors and reply types are followed: clients look at this one */

#endif
