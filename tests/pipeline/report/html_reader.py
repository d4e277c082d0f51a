"""What a browser would see of a page, without one."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser

VOID = {"meta", "link", "br", "img", "hr", "input"}


class Page(HTMLParser):
    """Tags with attributes, headings, ids, and whether tags are balanced."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.headings: list[str] = []
        self.open: list[str] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] == "h2":
            self.headings.append(data.strip())

    def values(self, attribute: str) -> list[str]:
        return [attributes[attribute] or "" for _, attributes in self.tags if attribute in attributes]


def without_scripts(html: str) -> str:
    """The page without Vega and our scripts, whose texts are no requests; embedded data stay."""
    return re.sub(r'(?s)<script type="module">.*?</script>', "", html)


def text_of(html: str) -> str:
    plain = re.sub(r"(?s)<(style|svg|script)\b.*?</\1>", " ", html)
    return " ".join(re.sub(r"<[^>]*>", " ", plain).split())


def embedded(html: str, name: str):
    """The value of an embedded JSON element."""
    found = re.search(rf'(?s)<script type="application/json" id="{name}">(.*?)</script>', html)
    return None if found is None else json.loads(found.group(1))
