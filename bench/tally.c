/* What a tally looks like in a report. */
#include <stdio.h>

#include "bench/stream.h"
#include "common/base/mem.h"

void latency_report(struct report *r, const struct histogram *h) {
    static const struct {
        const char *name;
        double quantile;
    } points[] = {{"p50_ms", 0.5}, {"p90_ms", 0.9}, {"p99_ms", 0.99}, {"p999_ms", 0.999}};
    for (size_t i = 0; i < ARRAY_LEN(points); i++)
        report_real(r, points[i].name, (double)histogram_quantile(h, points[i].quantile) / 1e6);
    report_real(r, "max_ms", (double)histogram_max(h) / 1e6);
    report_real(r, "mean_ms", histogram_mean(h) / 1e6);
}

void tally_report(struct report *r, const struct tally *t) {
    report_count(r, "sent", t->sent);
    report_count(r, "answered", t->good);
    report_count(r, "given_up", t->given_up);
    report_count(r, "retries", t->retries);
    report_real(r, "body_bytes", t->good ? (double)t->bytes / (double)t->good : 0);
    report_open(r, "status");
    for (unsigned s = 0; s < ARRAY_LEN(t->status); s++) {
        char name[16];
        snprintf(name, sizeof(name), "%u", s);
        if (t->status[s]) report_count(r, name, t->status[s]);
    }
    report_close(r);
    report_count(r, "status_503_without_retry_after", t->bare_503);
    report_open(r, "errors");
    for (int e = 0; e < ERR_COUNT; e++)
        if (t->errors[e]) report_count(r, err_name((enum err)e), t->errors[e]);
    report_close(r);
    report_open(r, "latency");
    latency_report(r, t->latency);
    report_close(r);
}
