"use strict";
(() => {
  const read = (id) => JSON.parse(document.getElementById(id).textContent);
  const rows = read("rows");
  const fill = (part) => {
    if (Array.isArray(part)) { part.forEach(fill); return; }
    if (part === null || typeof part !== "object") { return; }
    const named = part.data && part.data.name;
    if (named) { part.data = { values: rows[named] }; }
    Object.values(part).forEach((inner) => { if (inner !== part.data) { fill(inner); } });
  };
  const dark = matchMedia("(prefers-color-scheme: dark)");
  // Lines and outlines by day, and what stands for them by night.
  const night = { "#33414d": "#c9d3db", "#b4bec6": "#5c6873", "#d9dde0": "#3a4650", "#000000": "#e6ebef" };
  const recolour = (part) => {
    if (part === null || typeof part !== "object") { return; }
    Object.entries(part).forEach(([key, value]) => {
      if (typeof value === "string" && night[value]) { part[key] = night[value]; } else { recolour(value); }
    });
  };
  const themed = (spec) => {
    if (!dark.matches) { return; }
    recolour(spec);
    const axis = { ...spec.config.axis, labelColor: "#c9d3db", titleColor: "#c9d3db", gridColor: "#2c363e",
      domainColor: "#5c6873", tickColor: "#5c6873" };
    spec.config = { ...spec.config, background: null, axis };
  };
  const options = () => ({ mode: "vega-lite", actions: false, renderer: "svg",
    tooltip: { theme: dark.matches ? "dark" : "light" } });
  const draw = async (place) => {
    try {
      const spec = read(`spec-${place.dataset.chart}`);
      themed(spec);
      fill(spec);
      await vegaEmbed(place, spec, options());
      // The place says what the chart shows, and tables hold its values: its parts need no names.
      place.querySelectorAll("svg").forEach((drawn) => drawn.setAttribute("aria-hidden", "true"));
      place.dataset.drawn = "yes";
    } catch (error) {
      place.dataset.drawn = "no";
      place.textContent = `This chart could not be drawn: ${error}`;
      console.error(place.dataset.chart, error);
    }
  };
  const drawAll = () => Promise.all(Array.from(document.querySelectorAll("[data-chart]"), draw))
    .then(() => { document.body.dataset.drawn = "yes"; });
  drawAll();
  dark.addEventListener("change", drawAll);
  document.querySelectorAll("input[data-filters]").forEach((input) => {
    const lines = document.querySelectorAll(`#${input.dataset.filters} tbody tr`);
    input.addEventListener("input", () => {
      const wanted = input.value.toLowerCase();
      lines.forEach((line) => { line.hidden = !line.textContent.toLowerCase().includes(wanted); });
    });
  });
})();
