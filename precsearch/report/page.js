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
  const options = { mode: "vega-lite", actions: false, renderer: "svg", tooltip: { theme: "light" } };
  const draw = async (place) => {
    try {
      const spec = read(`spec-${place.dataset.chart}`);
      fill(spec);
      await vegaEmbed(place, spec, options);
      place.dataset.drawn = "yes";
    } catch (error) {
      place.dataset.drawn = "no";
      place.textContent = `This chart could not be drawn: ${error}`;
      console.error(place.dataset.chart, error);
    }
  };
  Promise.all(Array.from(document.querySelectorAll("[data-chart]"), draw))
    .then(() => { document.body.dataset.drawn = "yes"; });
  document.querySelectorAll("input[data-filters]").forEach((input) => {
    const lines = document.querySelectorAll(`#${input.dataset.filters} tbody tr`);
    input.addEventListener("input", () => {
      const wanted = input.value.toLowerCase();
      lines.forEach((line) => { line.hidden = !line.textContent.toLowerCase().includes(wanted); });
    });
  });
})();
