"""Asserts about error answers."""


def is_problem(answer, status, code=None):
    """The answer is a problem document (RFC 9457) with this status and, when given, this code; returns it."""
    assert answer.status_code == status, f"status {answer.status_code} where {status} was due: {answer.text[:300]}"
    assert answer.headers["Content-Type"] == "application/problem+json", answer.headers["Content-Type"]
    problem = answer.json()
    assert problem["status"] == status, "the document's status is not the answer's"
    assert problem["detail"], "a problem without a sentence for people"
    if code:
        assert problem["code"] == code, f"code {problem['code']} where {code} was due: {problem['detail']}"
    return problem
