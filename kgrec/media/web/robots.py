"""robots.txt says which paths of a host a program may read (RFC 9309); we read none that it disallows.

A host that answers 4xx has no rules. A host whose rules cannot be had disallows everything for now: that is a failure, so
it is tried again another time.
"""

from __future__ import annotations

from functools import lru_cache

from protego import Protego
from yarl import URL

from kgrec.media.sources.base import Outcome, Reply
from kgrec.media.web.store import Stored

#: the name rules are looked up under
AGENT = "kgrec"
#: seconds for which rules may be kept, and the longest file that is read, in bytes
MAX_AGE, MAX_BYTES = 86_400, 512_000


def robots_address(url: URL) -> str:
    """Where the rules for ``url`` are."""
    return str(url.origin() / "robots.txt")


def judge(stored: Stored | None, reply: Reply, url: URL) -> tuple[Outcome, str, float | None]:
    """Whether ``url`` may be read.

    :param stored: what is known of the host's robots.txt, ``reply`` the same as a reply
    :return: ``ok``, ``refused`` or ``failed``; the reason; and the seconds the host wants between requests, if it says
    :raises DamagedBody: if the stored rules are damaged
    """
    if reply.outcome == "ok":
        rules = _rules(reply.body())
        if not rules.can_fetch(str(url), AGENT):
            return "refused", f"robots: {url.path} is disallowed by {robots_address(url)}", None
        return "ok", "", rules.crawl_delay(AGENT)
    if stored is not None and stored.http is not None and 400 <= stored.http < 500 and stored.http != 429:
        return "ok", "", None
    return "failed", f"robots: {robots_address(url)} cannot be had ({reply.reason})", None


@lru_cache(maxsize=256)
def _rules(body: bytes) -> Protego:
    return Protego.parse(body.decode("utf-8-sig", errors="replace"))
