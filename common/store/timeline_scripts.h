/*
 * The Lua scripts of timeline.c: each is one atomic step on one timeline. Nobody else includes this.
 *
 * Ids are 64-bit and Lua's numbers are doubles, so an id is never one number: scripts compare two 32-bit halves.
 * Strings are never compared with < either: Redis sets LC_COLLATE from its environment and Lua follows it.
 */
#ifndef STORE_TIMELINE_SCRIPTS_H
#define STORE_TIMELINE_SCRIPTS_H

/* KEYS[1] timeline for all. Integer replies: 0 nothing applied, 1 applied. */
extern const char TIMELINE_BEGIN_LUA[];   /* building header, ttl ms */
extern const char TIMELINE_FILL_LUA[];    /* building header, complete header, ttl ms, cap, entry... (newest first) */
extern const char TIMELINE_ABANDON_LUA[]; /* building header */
extern const char TIMELINE_LATE_LUA[];    /* cap, slack, entry... */
extern const char TIMELINE_TRIM_LUA[];    /* cap, slack */
extern const char TIMELINE_REFRESH_LUA[]; /* ttl ms */

#endif
