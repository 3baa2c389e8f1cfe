/*
 * Problems: the table and its JSON. The type is always "about:blank", so the title is the phrase of the status (RFC
 * 9457, 4.2.1); what exactly went wrong is the member `code`, one word of PROBLEM_TABLE.
 */
#include "feedd/problem.h"

#include "common/base/mem.h"
#include "common/sys/json.h"

struct kind {
    unsigned status;
    const char *code;
};
#define PROBLEM_KIND(name, status, code) {status, code},
static const struct kind KINDS[PROBLEM_COUNT] = {{500, "internal"}, PROBLEM_TABLE(PROBLEM_KIND)};
#undef PROBLEM_KIND

static const struct {
    unsigned status;
    const char *title;
} TITLES[] = {
    {400, "Bad Request"},
    {401, "Unauthorized"},
    {403, "Forbidden"},
    {404, "Not Found"},
    {405, "Method Not Allowed"},
    {408, "Request Timeout"},
    {409, "Conflict"},
    {413, "Content Too Large"},
    {414, "URI Too Long"},
    {415, "Unsupported Media Type"},
    {422, "Unprocessable Content"},
    {429, "Too Many Requests"},
    {431, "Request Header Fields Too Large"},
    {500, "Internal Server Error"},
    {503, "Service Unavailable"},
};

unsigned problem_status(enum problem p) {
    return p < PROBLEM_COUNT ? KINDS[p].status : 500;
}

const char *problem_code(enum problem p) {
    return p < PROBLEM_COUNT ? KINDS[p].code : "internal";
}

const char *problem_title(unsigned status) {
    for (size_t i = 0; i < ARRAY_LEN(TITLES); i++)
        if (TITLES[i].status == status) return TITLES[i].title;
    return "Error";
}

enum problem problem_of_status(unsigned status) {
    switch (status) {
    case 408:
        return PROBLEM_REQUEST_TIMEOUT;
    case 413:
        return PROBLEM_BODY_TOO_LARGE;
    case 414:
        return PROBLEM_URI_TOO_LONG;
    case 431:
        return PROBLEM_HEADERS_TOO_LARGE;
    case 503:
        return PROBLEM_UNAVAILABLE;
    default:
        return status >= 500 ? PROBLEM_INTERNAL : PROBLEM_BAD_REQUEST;
    }
}

void problem_write(enum problem p, struct str detail, struct buf *to) {
    unsigned status = problem_status(p);
    buf_addf(to, "{\"type\":\"about:blank\",\"title\":\"%s\",\"status\":%u,\"code\":\"%s\",\"detail\":",
             problem_title(status), status, problem_code(p));
    json_write_string(to, detail);
    buf_add_char(to, '}');
}
