/* Clients that wait: WAIT for regions, SESSION AFTER for causality. */
#ifndef SK_NODE_SESSION_H
#define SK_NODE_SESSION_H

#include "node/replica.h"

/** Answers a blocked client if what it waits for has come, or its time is over. */
void sk_session_poll(sk_replica *replica, sk_client *client);

#endif
