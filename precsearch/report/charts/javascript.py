"""The JavaScript that draws the charts, from the optional package `vl-convert-python`.

The package holds Vega, Vega-Lite and Vega-Embed and needs no network; see docs/adr/0007.
"""

from __future__ import annotations

from functools import cache

from precsearch.core.errors import OptionError

__all__ = ["javascript"]


@cache
def javascript() -> str:
    """Vega, Vega-Lite and Vega-Embed as one script, safe inside a ``script`` element.

    Raises:
        OptionError: The package is not installed; the message names the extra.
    """
    try:
        import vl_convert
    except ImportError as error:
        raise OptionError(
            "a report draws with Vega, which is not installed; "
            "run: pip install 'precsearch[report]'"
        ) from error
    script = vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;")
    # A script element ends at the first "</script", even inside a string.
    return script.replace("</script", "<\\/script").replace("<!--", "<\\!--")
