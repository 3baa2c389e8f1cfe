/* Queued jobs: whatever decodes is within its limits and survives another trip. */
#include <string.h>

#include "common/base/mem.h"
#include "common/domain/id.h"
#include "common/domain/job.h"
#include "tests/fuzz/fuzz.h"

bool fuzz_seed(size_t index, struct buf *to) {
    static const struct job jobs[] = {
        {1, 2, ""},
        {ID_MAX, 300, "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"},
        {UINT64_C(1) << 33, 70000, "short"},
    };
    if (index >= ARRAY_LEN(jobs)) return false;
    job_encode(&jobs[index], to);
    return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct job job, again;
    if (job_decode(str_of((const char *)data, size), &job) != ERR_OK) return 0;
    FUZZ_CHECK(job.post_id && job.post_id <= ID_MAX && job.author_id && job.author_id <= ID_MAX);
    FUZZ_CHECK(strnlen(job.traceparent, sizeof(job.traceparent)) <= JOB_TRACEPARENT_MAX);
    CLEANUP(buf_fini) struct buf b = BUF_INIT;
    job_encode(&job, &b);
    FUZZ_CHECK(job_decode(buf_str(&b), &again) == ERR_OK);
    FUZZ_CHECK(again.post_id == job.post_id && again.author_id == job.author_id);
    FUZZ_CHECK(strcmp(again.traceparent, job.traceparent) == 0);
    return 0;
}
