/*
 * node list, node add, node remove, node sync, rebuild, status: the placement tables and what the daemons left to do,
 * as the database has them.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/arena.h"
#include "common/base/mem.h"
#include "common/store/placement.h"
#include "common/sys/http_client.h"
#include "ctl/arguments.h"
#include "ctl/ctl.h"

#define SYNC_NODES_MAX 64

struct node_argument {
    enum tier tier;
    char name[NODE_NAME_MAX], kind[16], address[NODE_ADDRESS_MAX];
    uint64_t weight;
};

static bool tier_of(const char *text, size_t len, enum tier *ret) {
    for (int t = 0; t < TIER_COUNT; t++) {
        if (!str_eq_c(str_of(text, len), tier_name((enum tier)t))) continue;
        *ret = (enum tier)t;
        return true;
    }
    return false;
}

/* The next field up to ':' into a bounded copy. */
static const char *field(const char *p, char *ret, size_t size) {
    const char *colon = p ? strchr(p, ':') : NULL;
    if (!colon || (size_t)(colon - p) >= size || colon == p) return NULL;
    memcpy(ret, p, (size_t)(colon - p));
    ret[colon - p] = 0;
    return colon + 1;
}

/* TIER:NAME:KIND:ADDRESS[:WEIGHT]; an address is unix:/path or host:port. */
static bool parse_node(const char *text, struct node_argument *n) {
    char tier[16];
    *n = (struct node_argument){.weight = 100};
    const char *p = field(text, tier, sizeof tier);
    p = field(p, n->name, sizeof n->name);
    p = field(p, n->kind, sizeof n->kind);
    if (!p || !tier_of(tier, strlen(tier), &n->tier)) {
        ctl_usage("\"%s\" is no TIER:NAME:KIND:ADDRESS; tiers are timeline, content, users, graph, actions, counters",
                  text);
        return false;
    }
    if (strcmp(n->kind, "redis") && strcmp(n->kind, "memcached")) {
        ctl_usage("\"%s\": the kind is redis or memcached, not \"%s\"", text, n->kind);
        return false;
    }
    const char *second = strchr(p, ':');
    const char *weight = second ? strchr(second + 1, ':') : NULL;
    size_t len = weight ? (size_t)(weight - p) : strlen(p);
    if (!second || !second[1] || len >= sizeof n->address ||
        (weight && (!str_u64(str_c(weight + 1), &n->weight) || n->weight > 10000))) {
        ctl_usage("\"%s\": the address is host:port or unix:/path, the weight 0 to 10000", text);
        return false;
    }
    memcpy(n->address, p, len);
    return true;
}

static bool store_node(struct ctl *c, const struct node_argument *n) {
    CLEANUP(arena_fini) struct arena a;
    arena_init(&a, 0);
    struct pg_params p;
    pg_params_init(&p, &a);
    pg_param_int4(&p, (int32_t)n->tier);
    pg_param_text(&p, str_c(n->name));
    pg_param_text(&p, str_c(n->kind));
    pg_param_text(&p, str_c(n->address));
    pg_param_int4(&p, (int32_t)n->weight);
    return ctl_query(c,
                     "INSERT INTO cache_nodes (tier, name, kind, address, weight) VALUES ($1::integer, $2, $3, $4, $5) "
                     "ON CONFLICT (tier, name) DO UPDATE SET kind = excluded.kind, address = excluded.address, weight "
                     "= excluded.weight, "
                     "state = 'active', why = NULL, changed_at = clock_timestamp()",
                     &p, NULL);
}

/*
 * Every slot of the tier gets a new generation and, until the ring is laid again, no node: nothing cached before can be
 * read. At least the seconds since 2024: a database that was restored counts its generations from where the backup
 * stood, and one that was in use after the backup must not come again.
 */
static bool forget_tier(struct ctl *c, enum tier t) {
    CLEANUP(mem_free_charp)
    char *sql = mem_printf("WITH s AS (UPDATE cache_slots SET node_id = NULL, generation = greatest(generation + 1, "
                           "extract(epoch FROM clock_timestamp())::bigint - 1704067200)::integer WHERE tier = %d), "
                           "n AS (UPDATE cache_nodes SET state = 'removed' WHERE tier = %d) "
                           "UPDATE cache_tiers SET version = version + 1, changed_at = clock_timestamp() WHERE id = %d",
                           t, t, t);
    return ctl_query(c, sql, NULL, NULL);
}

static bool rebalance(struct ctl *c, enum tier t) {
    CLEANUP(mem_free_charp) char *message = NULL;
    size_t moved = 0;
    if (placement_rebalance_sync(c->db, t, &moved, &message) == ERR_OK) return true;
    ctl_fail("%s: %s", tier_name(t), message);
    return false;
}

int command_node_sync(struct ctl *c, int argc, char **argv) {
    struct node_argument nodes[SYNC_NODES_MAX];
    bool named[TIER_COUNT] = {false};
    if (argc < 2) return ctl_usage("name at least one node");
    if (argc - 1 > SYNC_NODES_MAX) return ctl_usage("at most %d nodes", SYNC_NODES_MAX);
    for (int i = 1; i < argc; i++) {
        if (!parse_node(argv[i], &nodes[i - 1])) return EXIT_USAGE;
        named[nodes[i - 1].tier] = true;
    }
    if (!ctl_database(c)) return EXIT_FAILED;
    for (int t = 0; t < TIER_COUNT; t++)
        if (named[t] && !forget_tier(c, (enum tier)t)) return EXIT_FAILED;
    for (int i = 0; i < argc - 1; i++)
        if (!store_node(c, &nodes[i])) return EXIT_FAILED;
    for (int t = 0; t < TIER_COUNT; t++)
        if (named[t] && !rebalance(c, (enum tier)t)) return EXIT_FAILED;
    return EXIT_DONE;
}

/* The same server under its old name keeps what it holds; another one behind that name could be asked for keys of the
 * generations in force while daemons still send deletes to the old one. */
static bool same_address(struct ctl *c, const struct node_argument *n) {
    CLEANUP(arena_fini) struct arena a;
    arena_init(&a, 0);
    struct pg_params p;
    pg_params_init(&p, &a);
    pg_param_int4(&p, (int32_t)n->tier);
    pg_param_text(&p, str_c(n->name));
    pg_param_text(&p, str_c(n->kind));
    pg_param_text(&p, str_c(n->address));
    CLEANUP(pg_result_free) struct pg_result *r = NULL;
    if (!ctl_query(c,
                   "SELECT address FROM cache_nodes WHERE tier = $1::integer AND name = $2 AND state <> 'removed' AND "
                   "(kind <> $3 OR address <> $4)",
                   &p, &r))
        return false;
    if (!pg_rows(r)) return true;
    struct str address = pg_text(r, 0, 0);
    ctl_fail("%s: there is a node %s at %.*s; remove it first", tier_name(n->tier), n->name, (int)address.len,
             address.data);
    return false;
}

static bool rebalance_and_tell(struct ctl *c, enum tier t) {
    CLEANUP(mem_free_charp) char *message = NULL;
    size_t moved = 0;
    if (placement_rebalance_sync(c->db, t, &moved, &message) != ERR_OK)
        return ctl_fail("%s: %s", tier_name(t), message), false;
    printf("%s: %zu of %d slots moved, in force everywhere after one lease (1 s)\n", tier_name(t), moved, RING_SLOTS);
    return true;
}

int command_node_add(struct ctl *c, int argc, char **argv) {
    struct node_argument nodes[SYNC_NODES_MAX];
    bool named[TIER_COUNT] = {false};
    if (argc < 2) return ctl_usage("name at least one node");
    if (argc - 1 > SYNC_NODES_MAX) return ctl_usage("at most %d nodes", SYNC_NODES_MAX);
    for (int i = 1; i < argc; i++) {
        if (!parse_node(argv[i], &nodes[i - 1])) return EXIT_USAGE;
        named[nodes[i - 1].tier] = true;
    }
    if (!ctl_database(c)) return EXIT_FAILED;
    for (int i = 0; i < argc - 1; i++)
        if (!same_address(c, &nodes[i])) return EXIT_FAILED;
    for (int i = 0; i < argc - 1; i++)
        if (!store_node(c, &nodes[i])) return EXIT_FAILED;
    for (int t = 0; t < TIER_COUNT; t++)
        if (named[t] && !rebalance_and_tell(c, (enum tier)t)) return EXIT_FAILED;
    return EXIT_DONE;
}

static bool mark_removed(struct ctl *c, enum tier t, const char *name) {
    CLEANUP(arena_fini) struct arena a;
    arena_init(&a, 0);
    struct pg_params p;
    pg_params_init(&p, &a);
    pg_param_int4(&p, (int32_t)t);
    pg_param_text(&p, str_c(name));
    CLEANUP(pg_result_free) struct pg_result *r = NULL;
    if (!ctl_query(c,
                   "UPDATE cache_nodes SET state = 'removed', why = NULL, changed_at = clock_timestamp() "
                   "WHERE tier = $1::integer AND name = $2 AND state <> 'removed' RETURNING id",
                   &p, &r))
        return false;
    if (!pg_rows(r)) ctl_fail("%s: there is no node \"%s\"", tier_name(t), name);
    return pg_rows(r) > 0;
}

int command_node_remove(struct ctl *c, int argc, char **argv) {
    if (argc < 2) return ctl_usage("name at least one node");
    for (int i = 1; i < argc; i++) {
        const char *colon = strchr(argv[i], ':');
        enum tier t;
        if (!colon || !colon[1] || !tier_of(argv[i], (size_t)(colon - argv[i]), &t))
            return ctl_usage("\"%s\" is no TIER:NAME; tiers are timeline, content, users, graph, actions, counters",
                             argv[i]);
        if (!ctl_database(c) || !mark_removed(c, t, colon + 1) || !rebalance_and_tell(c, t)) return EXIT_FAILED;
    }
    return EXIT_DONE;
}

int command_node_list(struct ctl *c, int argc, char **argv) {
    if (!arguments_parse(NULL, 0, argc, argv)) return EXIT_USAGE;
    if (!ctl_database(c)) return EXIT_FAILED;
    CLEANUP(pg_result_free) struct pg_result *r = NULL;
    if (!ctl_query(
            c,
            "SELECT t.name, n.name, n.kind, n.address, n.state, n.weight, count(s.slot), coalesce(n.why, '') FROM "
            "cache_nodes n "
            "JOIN cache_tiers t ON t.id = n.tier LEFT JOIN cache_slots s ON s.tier = n.tier AND s.node_id = n.id "
            "GROUP BY t.id, t.name, n.id ORDER BY t.id, n.name",
            NULL, &r))
        return EXIT_FAILED;
    printf("%-9s %-16s %-9s %-8s %6s %6s  %s\n", "tier", "node", "kind", "state", "weight", "slots", "address");
    for (int i = 0; i < pg_rows(r); i++) {
        struct str t[8];
        for (int k = 0; k < 8; k++) t[k] = k == 5 || k == 6 ? (struct str){0} : pg_text(r, i, k);
        printf("%-9.*s %-16.*s %-9.*s %-8.*s %6" PRIu64 " %6" PRIu64 "  %.*s %.*s\n", (int)t[0].len, t[0].data,
               (int)t[1].len, t[1].data, (int)t[2].len, t[2].data, (int)t[4].len, t[4].data, pg_int8(r, i, 5),
               pg_int8(r, i, 6), (int)t[3].len, t[3].data, (int)t[7].len, t[7].data);
    }
    return EXIT_DONE;
}

int command_rebuild(struct ctl *c, int argc, char **argv) {
    const char *user = NULL;
    bool all = false;
    const struct argument table[] = {ARGUMENT_TEXT("--user", &user), ARGUMENT_FLAG("--all", &all)};
    if (!arguments_parse(table, ARRAY_LEN(table), argc, argv)) return EXIT_USAGE;
    if (!user == !all) return ctl_usage("give either --user or --all");
    uint64_t id = 0;
    if (user && !ctl_id_argument("--user", user, &id)) return EXIT_USAGE;
    if (!ctl_database(c)) return EXIT_FAILED;
    if (all) {
        /* A new generation of every slot: what is resident cannot be found any more and expires. */
        if (!ctl_query(c,
                       "WITH s AS (UPDATE cache_slots SET generation = generation + 1 WHERE tier = 0) "
                       "UPDATE cache_tiers SET version = version + 1, changed_at = clock_timestamp() WHERE id = 0",
                       NULL, NULL))
            return EXIT_FAILED;
        puts("every timeline is cold from one lease (1 s) on");
        return EXIT_DONE;
    }
    CLEANUP(arena_fini) struct arena a;
    arena_init(&a, 0);
    struct pg_params p;
    pg_params_init(&p, &a);
    pg_param_int8(&p, id);
    CLEANUP(pg_result_free) struct pg_result *r = NULL;
    if (!ctl_query(c,
                   "SELECT add_invalidation($1, ARRAY[0, $1, 3, $1]) FROM users WHERE shard = shard_of($1) AND id = $1",
                   &p, &r))
        return EXIT_FAILED;
    if (!pg_rows(r)) return ctl_fail("there is no user %" PRIu64, id);
    puts("the timeline and relations are cold as soon as the sweeper has come by (2 to 4 s)");
    return EXIT_DONE;
}

static int print_one_line(struct ctl *c, const char *what, const char *sql) {
    CLEANUP(pg_result_free) struct pg_result *r = NULL;
    if (!ctl_query(c, sql, NULL, &r)) return EXIT_FAILED;
    struct str s = pg_text(r, 0, 0);
    printf("%-14s %.*s\n", what, (int)s.len, s.data);
    return EXIT_DONE;
}

struct health_call {
    struct loop *loop;
    unsigned status;
    char body[256];
};

static void on_health(void *ctx, enum err err, const struct http_reply *reply) {
    struct health_call *h = ctx;
    if (err == ERR_OK) {
        h->status = reply->status;
        snprintf(h->body, sizeof h->body, "%.*s", (int)(reply->body.len < 200 ? reply->body.len : 200),
                 reply->body.data);
        h->body[strcspn(h->body, "\n")] = 0;
    }
    loop_stop(h->loop);
}

static int print_feed_health(struct ctl *c) {
    if (!c->url) {
        printf("%-14s not asked (no --url)\n", "feedd");
        return EXIT_DONE;
    }
    struct health_call h = {.loop = loop_new()};
    struct http_client *http = NULL;
    if (http_client_new(h.loop, c->url, 1, 1, &http) == ERR_OK &&
        http_client_send(http, "GET", "/readyz", STR(""), STR(""), 2000, on_health, &h) == ERR_OK)
        loop_run(h.loop);
    http_client_free(&http);
    loop_free(&h.loop);
    if (h.status)
        printf("%-14s %s: %s (%u)\n", "feedd", c->url, h.status == 200 ? "ready" : h.body, h.status);
    else
        printf("%-14s %s: no answer\n", "feedd", c->url);
    return h.status == 200 ? EXIT_DONE : EXIT_FAILED;
}

int command_status(struct ctl *c, int argc, char **argv) {
    if (!arguments_parse(NULL, 0, argc, argv)) return EXIT_USAGE;
    if (!ctl_database(c)) return EXIT_FAILED;
    int code = print_one_line(
        c, "posts, users",
        "SELECT format('about %s posts, %s users', sum(greatest(reltuples, 0)) FILTER (WHERE relname LIKE 'posts_p%' "
        "AND relkind = 'r')::bigint, "
        "sum(greatest(reltuples, 0)) FILTER (WHERE relname LIKE 'users_p%' AND relkind = 'r')::bigint) FROM pg_class");
    code |= print_one_line(c, "outbox",
                           "SELECT format('%s jobs not done, oldest %s s', count(*), "
                           "coalesce(round(extract(epoch FROM clock_timestamp() - min(created_at))), 0)) FROM outbox");
    code |= print_one_line(
        c, "invalidations",
        "SELECT format('%s not confirmed, oldest %s s', count(*), "
        "coalesce(round(extract(epoch FROM clock_timestamp() - min(created_at))), 0)) FROM invalidations");
    char *none[] = {argv[0], NULL};
    code |= command_node_list(c, 1, none);
    code |= print_feed_health(c);
    return code;
}
