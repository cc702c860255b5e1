"""What a person is told whose proxy is named wrong: what is wrong, and what to do, not that the peer is."""

import payloads
from cases.proxy import PASSWORD, Proxy
from clients.peerless import Exit
from runner import case


def _told(kind, wrong_kind):
    @case(f"proxy/named-wrong-{kind}", cost=3)
    def told(lab):
        torrent = payloads.make(lab.directory, "far.bin", 100_000)
        proxy = Proxy(lab, kind, {})
        peerless = lab.peerless()
        login = proxy.url.replace(PASSWORD, f"not-{PASSWORD}")
        scheme = proxy.url.split(":")[0]
        words = ["handshake", torrent.path, f"{lab.ip()}:6881", "--proxy"]
        known = [(login, "refused the user or the password")]
        known += [(f"{scheme}://{lab.ip()}:1", "can't reach the proxy")]
        other = proxy.url.replace(scheme, wrong_kind)
        if kind == "dante":
            known += [(other, "check the kind of proxy")]
        else:  # which waits for more, as for a peer that is silent
            shaken = peerless.run(*words, other, "--timeout", 3, code=Exit.TIMED_OUT)
            assert f"through the proxy {wrong_kind}://" in shaken.err, shaken
        for url, says in known:
            shaken = peerless.run(*words, url, code=Exit.CANNOT_CONNECT)
            assert says in shaken.err and "the peer was not asked" in shaken.err, shaken
            assert f":{PASSWORD}@" not in shaken.err + shaken.out, shaken
        shown = peerless.run("network", "--proxy", f"{scheme}://{lab.ip()}:1")
        assert "can't reach the proxy" in shown.out and "looked up by the proxy" in shown.out, shown
        if kind == "dante":
            shown = peerless.run("network", "--proxy", login)
            assert "refused the user or the password" in shown.out, shown
        right = peerless.json("network", "--proxy", proxy.url).json["proxy"]
        assert right["problem"] is None and f":{PASSWORD}@" not in right["url"], right

    return told


_told("dante", "http")
_told("tinyproxy", "socks5")
