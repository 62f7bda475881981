"""A link cut at every octet, in both directions: the server's ledger and the client's verdicts must agree each time.

The same few mails, one of them with a refused recipient and one refused altogether, go through a proxy that ends the
first connection after so many octets. What is certainly not taken goes on over a second connection. So in the end
nobody's verdict is DEFERRED, every ACCEPTED is in the ledger once, and doubt is left only about mails whose end had
left the client.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from robust_email.smtp import Credentials, Submission, TlsMode, TlsPolicy
from robust_email.testing import At, Close, Fault, Reply, Reset, Script, ScriptedServer
from robust_email.testing.proxy import Cut, CuttableProxy, Ending, Toward
from tests.submission.relay import AT_ONCE, TRANSPORTS, Fields, audit, client_of, envelope, in_windows_of, mail, words

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from typing_extensions import Unpack

    from robust_email.smtp import SubmissionReport
    from robust_email.testing import AcceptedMessage
    from robust_email.testing.certs import CertificateAuthority

REFUSALS = (
    Fault(At.RCPT, Reply("550 5.1.1 no such user"), subject="bad"),
    Fault(At.RCPT, Reply("451 4.7.1 greylisted"), subject="later"),
)
RECIPIENTS = (("ann",), ("bob", "bad"), ("bad",), ("cat",))
EXPECTED = (
    {"ann": "accepted"},
    {"bob": "accepted", "bad": "refused"},
    {"bad": "refused"},
    {"cat": "accepted"},
)


def cut_run(server: ScriptedServer, cut: Cut, first: int, **fields: Unpack[Fields]) -> list[SubmissionReport]:
    """Submit the four mails, numbered from ``first``, through a proxy with the cut; return their reports."""
    mails = [Submission(envelope(*names), mail(first + n), n) for n, names in enumerate(RECIPIENTS)]
    with CuttableProxy(server.host, server.port, cuts=[cut]) as proxy, client_of(proxy, **fields) as client:
        return [report for _, report in client.submit_many(mails)]


def judge(reports: Sequence[SubmissionReport], ledger: Sequence[AcceptedMessage], window: int) -> list[str]:
    """What is wrong about one run: nothing, as a rule."""
    wrong = audit(reports, ledger)
    doubtful = sum(bool(report.in_doubt) for report in reports)
    if doubtful > window:
        wrong.append(f"{doubtful} mails in doubt with a window of {window}")
    for report, expected in zip(reports, EXPECTED, strict=True):
        for name, state in words(report).items():
            if state not in {expected[name], "in-doubt"}:
                wrong.append(f"{report.message_id} for {name} is {state}")
    return wrong


def judge_all(runs: Mapping[int, list[SubmissionReport]], server: ScriptedServer, window: int) -> dict[int, list[str]]:
    """What is wrong about each run, once the server has read to the end what was cut off."""
    server.wait_for(lambda server: all(transcript.closed for transcript in server.transcripts))
    ledgers: dict[int, list[AcceptedMessage]] = {first: [] for first in runs}
    for message in server.accepted:
        number = int(message.message_id.strip("<").partition("@")[0])
        ledgers[number - number % 10].append(message)
    judged = {first: judge(reports, ledgers[first], window) for first, reports in runs.items()}
    return {first: wrong for first, wrong in judged.items() if wrong}


@pytest.mark.parametrize("toward", Toward)
@pytest.mark.parametrize(("transport", "window"), [("stepwise", 1), ("pipelined", 1), ("chunked", 1), ("chunked", 4)])
def test_a_cut_at_every_octet_leaves_only_true_verdicts(transport: str, window: int, toward: Toward) -> None:
    """For each n, the link breaks after n octets: verdicts and ledger agree, and the rest goes on elsewhere."""
    wire = in_windows_of(window)
    runs: dict[int, list[SubmissionReport]] = {}
    with ScriptedServer(Script(extensions=TRANSPORTS[transport], faults=REFUSALS)) as server:
        runs[0] = cut_run(server, Cut(toward, 1_000_000), 0, wire=wire)
        server.wait_for(lambda server: server.transcript().closed)
        whole = server.transcript()
        total = len(whole.received if toward is Toward.SERVER else whole.written)
        for after in range(total):
            # An end in good order and a broken one take turns: what differs is how the client sees it.
            ending = Ending.RST if after % 2 else Ending.FIN
            cut = Cut(toward, after, ending=ending, connection=1)
            runs[10 * (after + 1)] = cut_run(server, cut, 10 * (after + 1), wire=wire, retry=AT_ONCE)
        assert judge_all(runs, server, window) == {}
    assert total > 400
    assert any(report.in_doubt for reports in runs.values() for report in reports), "a cut behind the mark is in doubt"


@pytest.mark.parametrize("toward", Toward)
def test_cuts_inside_tls_records_leave_only_true_verdicts(toward: Toward, smtp_certs: CertificateAuthority) -> None:
    """The same over STARTTLS and AUTH, cut at every 23rd octet of the encrypted line: records are cut in the middle."""
    fields = Fields(
        retry=AT_ONCE,
        wire=in_windows_of(4),
        tls=TlsPolicy(TlsMode.STARTTLS, cafile=str(smtp_certs.ca_file)),
        credentials=Credentials("shop", "secret"),
    )
    script = Script(faults=REFUSALS, starttls=smtp_certs.server_context(), accounts={"shop": "secret"})
    runs: dict[int, list[SubmissionReport]] = {}
    with ScriptedServer(script) as server:
        for after in range(0, 4000, 23):
            cut = Cut(toward, after, connection=1)
            runs[10 * (after + 1)] = cut_run(server, cut, 10 * (after + 1), **fields)
        assert judge_all(runs, server, 4) == {}
        assert server.transcript(server.connections).tls_version
    assert any(report.in_doubt for reports in runs.values() for report in reports)


def _refusal(at: At) -> st.SearchStrategy[Fault]:
    codes = ["421 4.3.2 bye", "450 4.2.0 later", "451 4.3.0 later", "452 4.5.3 enough", "550 5.1.1 no", "554 5.0.0 no"]
    return st.builds(
        Fault,
        st.just(at),
        st.one_of(st.sampled_from(codes).map(Reply), st.sampled_from([Close(), Reset(), Reply(split=(1, 4), gap=0.0)])),
        message=st.one_of(st.none(), st.integers(1, 6)),
        subject=st.sampled_from(["", "ann", "bob"]) if at is At.RCPT else st.just(""),
        times=st.sampled_from([1, 2, None]),
    )


_MOMENTS = (At.MAIL, At.RCPT, At.DATA, At.BDAT, At.BODY, At.BEFORE_FINAL)
_FAULTS = st.lists(st.sampled_from(_MOMENTS).flatmap(_refusal), max_size=3)
_CUTS = st.builds(
    Cut,
    st.sampled_from(Toward),
    st.integers(0, 900),
    ending=st.sampled_from(Ending),
    connection=st.sampled_from([1, 2, None]),
)
_RECIPIENTS = st.sampled_from([("ann",), ("bob",), ("ann", "bob"), ("bob", "ann", "cat")])


@settings(max_examples=200)
@given(
    transport=st.sampled_from(sorted(TRANSPORTS)),
    window=st.sampled_from([1, 2, 3, 8]),
    recipients=st.lists(
        st.sampled_from([("ann",), ("bob",), ("ann", "bob"), ("bob", "ann", "cat")]), min_size=1, max_size=8
    ),
    faults=_FAULTS,
    cuts=st.lists(_CUTS, max_size=2),
)
def test_any_refusals_and_cuts_leave_only_true_verdicts(
    transport: str, window: int, recipients: list[tuple[str, ...]], faults: list[Fault], cuts: list[Cut]
) -> None:
    """Whatever is refused, closed or cut, in windows of any size: a report for each mail, and every verdict true."""
    script = Script(extensions=TRANSPORTS[transport], faults=faults)
    mails = [Submission(envelope(*names), mail(n), n) for n, names in enumerate(recipients)]
    with ScriptedServer(script) as server:
        with (
            CuttableProxy(server.host, server.port, cuts=cuts) as proxy,
            client_of(proxy, retry=AT_ONCE, wire=in_windows_of(window)) as client,
        ):
            finished = list(client.submit_many(mails))
            assert client.pool.stats().leased == 0
        server.wait_for(lambda server: all(transcript.closed for transcript in server.transcripts))
        assert sorted(int(str(submission.key)) for submission, _ in finished) == list(range(len(recipients)))
        assert audit([report for _, report in finished], server.accepted) == []
