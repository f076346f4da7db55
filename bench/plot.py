"""Bar charts as SVG, readable on light and dark pages."""

from html import escape

WIDTH, LABEL, VALUE, ROW = 720, 250, 70, 26


def bars(plot):
    """Draws a horizontal bar for each value, scaled to the largest."""
    found = sorted(plot["bars"], key=lambda bar: bar[1])
    most = max((value for _, value, _ in found), default=1) or 1
    height = 52 + ROW * len(found)
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" '
        f'width="{WIDTH}" height="{height}" role="img">',
        f"<title>{escape(plot['title'])}: {escape(plot['unit'])}</title>",
        "<style>text{font:13px system-ui,sans-serif;fill:#1f2328}.b{fill:#8c959f}.o{fill:#0969da}"
        "@media(prefers-color-scheme:dark){text{fill:#e6edf3}.b{fill:#6e7681}.o{fill:#4493f8}}"
        "</style>",
        f'<text x="8" y="20" font-weight="600">{escape(plot["title"])}</text>',
        f'<text x="8" y="38">{escape(plot["unit"])}, less is better</text>',
    ]
    for number, (name, value, own) in enumerate(found):
        y = 48 + ROW * number
        length = max(1, (WIDTH - LABEL - VALUE) * value / most)
        out.append(f'<text x="{LABEL - 8}" y="{y + 15}" text-anchor="end">{escape(name)}</text>')
        out.append(
            f'<rect class="{"o" if own else "b"}" x="{LABEL}" y="{y + 2}" '
            f'width="{length:.1f}" height="{ROW - 8}" rx="2"/>'
        )
        out.append(f'<text x="{LABEL + length + 6:.1f}" y="{y + 15}">{value:.2f}</text>')
    return "\n".join([*out, "</svg>", ""])
