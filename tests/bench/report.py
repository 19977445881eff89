# SPDX-License-Identifier: Apache-2.0
"""Medians, their ratios to nginx's, and which aims they meet."""

import statistics

MIB = 1024 * 1024


def median(samples, figure):
    return statistics.median(s[figure] for s in samples)


def row(*cells):
    return "| " + " | ".join(str(c) for c in cells) + " |"


FIGURES = {  # figure: (heading, format)
    "rate": ("{unit}", "{:.0f}"), "cpu": ("CPU {per}", "{:.3g}"), "first": ("first byte, ms", "{:.1f}"),
    "gets": ("upstream GETs", "{:.0f}"), "done": ("all done after, s", "{:.2f}"),
    "spread": ("first bytes within, ms", "{:.1f}"),
}
UNITS = {"Requests": ("requests/s", "µs a request"), "Stored": ("MiB/s", "s a GiB"), "Cold": ("MiB/s", "s a GiB")}


def headings(work, figures):
    unit, per = UNITS.get(type(work).__name__, ("", ""))
    return [FIGURES[f][0].format(unit=unit, per=per) for f in figures]


def tables(works, results):
    """One table a kind of work: figures and their ratio to nginx's."""
    kind = None
    for work in works:
        figures = [f for f in FIGURES if f in next(iter(results[work].values()))[0]]
        if kind != figures + headings(work, figures):
            kind = figures + headings(work, figures)
            cells = [c for h in headings(work, figures) for c in (h, "of nginx")]
            yield ""
            yield row("", "", *cells)
            yield "|---|---|" + "---|" * len(cells)
        nginx = results[work].get("nginx")
        for name, samples in results[work].items():
            cells = []
            for figure in figures:
                mine = median(samples, figure)
                theirs = median(nginx, figure) if nginx else 0
                cells += [FIGURES[figure][1].format(mine), f"{mine / theirs:.2f}" if theirs > 0 else ""]
            yield row(work.title, name, *cells)


def each_round(works, results):
    for work in works:
        for name, samples in results[work].items():
            yield f"{work.title}, {name}: " + "; ".join(
                f"{figure} " + " ".join(FIGURES[figure][1].format(s[figure]) for s in samples) for figure in samples[0])


# --- aims: (held, what was wanted, what is) ---


def ratio(results, work, figure):
    theirs = median(results[work]["nginx"], figure)
    return median(results[work]["pullgate"], figure) / theirs if theirs > 0 else 0


def at_least(title, value, aim):
    return value >= aim, f"{title}: {value:.2f} × nginx (aim: at least {aim})"


def at_most(title, value, aim):
    return value <= aim, f"{title}: {value:.2f} × nginx (aim: at most {aim})"


def stored_aims(work, results):
    kind = type(work).__name__
    tls = getattr(work, "tls", False)
    rate, cpu = ratio(results, work, "rate"), ratio(results, work, "cpu")
    if kind == "Requests":
        yield at_least(f"{work.title}, requests/s", rate, 1.2)
        if "manifest" in work.title:
            yield at_most(f"{work.title}, CPU a request", cpu, 0.8)
    else:
        yield at_least(f"{work.title}, MiB/s", rate, 1.0)
        yield at_most(f"{work.title}, CPU a GiB", cpu, 0.85 if tls else 1.0)


def first_byte_aim(work, results):
    mine, direct = median(results[work]["pullgate"], "first"), median(results[work]["direct"], "first")
    return mine <= 1.2 * direct, (f"{work.title}, first byte: {mine:.2f} ms, direct {direct:.2f} ms: "
                                  f"{mine / direct:.2f} (aim: at most 1.2)")


def cold_aims(work, results, sha):
    yield at_least(f"{work.title}, MiB/s", ratio(results, work, "rate"), 0.75)
    mine, limit = median(results[work]["pullgate"], "cpu"), median(results[work]["nginx"], "cpu") + sha
    yield mine <= limit, (f"{work.title}, CPU a GiB: {mine:.2f} s "
                          f"(aim: at most nginx's plus SHA-256's {sha:.2f} s: {limit:.2f} s)")
    yield first_byte_aim(work, results)


def crowd_aims(work, results):
    mine = results[work]["pullgate"]
    gets, spread = max(s["gets"] for s in mine), median(mine, "spread")
    yield gets == 1, f"{work.title}, upstream GETs: {gets} (aim: 1)"
    yield at_most(f"{work.title}, all done", ratio(results, work, "done"), 1.0)
    yield spread <= 20, f"{work.title}, first bytes within {spread:.1f} ms (aim: 20 ms)"


def aims(works, results, sha):
    for work in works:
        if "nginx" not in results[work] or "pullgate" not in results[work]:
            continue
        kind = type(work).__name__
        if kind in ("Requests", "Stored"):
            yield from stored_aims(work, results)
        elif kind == "Cold":
            yield from cold_aims(work, results, sha)
        elif kind == "FirstByte":
            yield first_byte_aim(work, results)
        else:
            yield from crowd_aims(work, results)


def alone(figures):
    """The aims that need no rival: pullgate's memory, decisions and start."""
    if "memory" in figures:
        value = figures["memory"] / MIB
        yield value <= 40, f"anonymous memory after all that: {value:.1f} MiB (aim: 40 MiB)"
    if "slow" in figures:
        value = figures["slow"]["bytes"] / MIB
        yield value <= 64, f"anonymous memory with 1,000 slow readers, plain: {value:.1f} MiB (aim: 64 MiB)"
        plain, tls = figures["slow"], figures["slow_tls"]
        yield None, (f"anonymous memory with 1,000 slow readers, TLS: {tls['bytes'] / MIB:.1f} MiB (no aim); "
                     f"the readers got {plain['read']:.0%} of their rate, by TLS {tls['read']:.0%}")
    if "decision" in figures:
        value = figures["decision"] / 1000
        yield value <= 2, f"a decision among 10,000 rules: {value:.2f} µs (aim: 2 µs)"
    if "start" in figures:
        value = figures["start"] * 1000
        yield value <= 50, f"start to first answer, 100,000 blobs in the store: {value:.1f} ms (aim: 50 ms)"
