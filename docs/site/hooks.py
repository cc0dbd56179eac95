"""Pages of the site that are made from the code, and links that leave the site.

MkDocs calls the functions of this file by their names (https://www.mkdocs.org/user-guide/plugins/).
"""

from __future__ import annotations

import posixpath
import re
import subprocess
import sys
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parents[2]
_LINK = re.compile(r"\[([^\]]*)\]\(((?!https?:|mailto:|#)[^)\s]+)\)")


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Put all benchmarks and decisions into the navigation, before the changelog."""
    nav = config.nav or []
    for title, folder in (("Benchmarks", "benchmarks"), ("Decisions", "adr")):
        pages = sorted((ROOT / "docs" / folder).glob("*.md"))
        nav.insert(-1, {title: [f"{folder}/{page.name}" for page in pages]})
    config.nav = nav
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the changelog, and the reference of the commands as Typer writes it."""
    command = [sys.executable, "-m", "typer", "precsearch.cli.main", "utils", "docs"]
    done = subprocess.run(
        [*command, "--name", "precsearch", "--title", "Commands"],
        check=True,
        capture_output=True,
        text=True,
        cwd=ROOT,
    )
    made = {
        "reference/commands.md": done.stdout,
        "changelog.md": (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"),
    }
    for path, content in made.items():
        files.append(File.generated(config, path, content=content))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Turn links to code, which is not a part of the site, into the path of the file."""
    folder = posixpath.dirname(page.file.src_uri)
    if page.file.src_uri == "changelog.md":  # its links are relative to the repository
        markdown = markdown.replace("](docs/", "](")

    def inside(link: re.Match[str]) -> str:
        target = posixpath.normpath(posixpath.join(folder, link[2].partition("#")[0]))
        if not target.startswith(".."):
            return link[0]
        return f"{link[1]} (`{target.removeprefix('../')}`)"

    return _LINK.sub(inside, markdown)
