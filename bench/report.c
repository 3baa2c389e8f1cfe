/* Writing the report: members in the order of the calls. What a figure means is written by who measured it. */
#include "bench/report.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>

#include "common/base/mem.h"
#include "common/sys/json.h"

void report_init(struct report *r) {
    *r = (struct report){.text = BUF_INIT};
    buf_add_char(&r->text, '{');
}

void report_fini(struct report *r) {
    buf_fini(&r->text);
}

static void name_it(struct report *r, const char *name) {
    if (r->separate) buf_add_char(&r->text, ',');
    r->separate = true;
    json_write_string(&r->text, str_c(name));
    buf_add_char(&r->text, ':');
}

void report_text(struct report *r, const char *name, const char *value) {
    name_it(r, name);
    json_write_string(&r->text, str_c(value));
}

void report_id(struct report *r, const char *name, uint64_t id) {
    name_it(r, name);
    json_write_id(&r->text, id);
}

void report_count(struct report *r, const char *name, uint64_t value) {
    name_it(r, name);
    buf_add_u64(&r->text, value);
}

void report_real(struct report *r, const char *name, double value) {
    name_it(r, name);
    if (!isfinite(value))
        buf_add_c(&r->text, "null");
    else
        buf_addf(&r->text, "%.6g", value);
}

void report_open(struct report *r, const char *name) {
    name_it(r, name);
    buf_add_char(&r->text, '{');
    r->separate = false;
}

void report_close(struct report *r) {
    buf_add_char(&r->text, '}');
    r->separate = true;
}

void report_figure(struct report *r, const char *name, double value, const char *workload, ...) {
    report_real(r, name, value);
    va_list args;
    va_start(args, workload);
    char text[1024];
    vsnprintf(text, sizeof(text), workload, args);
    va_end(args);
    CLEANUP(mem_free_charp) char *beside = mem_printf("%s_workload", name);
    report_text(r, beside, text);
}

void report_print(struct report *r) {
    buf_add_c(&r->text, "}\n");
    fwrite(r->text.data, 1, r->text.len, stdout);
    fflush(stdout);
}
