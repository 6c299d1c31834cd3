"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const body = document.querySelector("#all tbody"), count = document.getElementById("count");
  const more = document.getElementById("more"), search = document.getElementById("search");
  const pick = document.getElementById("class"), heads = [...document.querySelectorAll("#all th button")];
  const STEP = 100, names = data.rows[0], size = names.length;
  let sorted = -1, up = true, found = [], shown = 0;
  const order = names.map((_, row) => row), folded = names.map((name) => name.toLowerCase());
  const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
  const number = new Intl.NumberFormat("en", { maximumFractionDigits: 2 });

  function show(value, kind) {
    if (value === null) return "";
    if (kind === "text") return value;
    return (kind === "whole" ? whole : number).format(value);
  }

  function grow() {
    const end = Math.min(shown + STEP, found.length), rows = document.createDocumentFragment();
    for (; shown < end; shown++) {
      const line = document.createElement("tr");
      data.kinds.forEach((kind, column) => {
        const cell = document.createElement(column ? "td" : "th");
        if (kind !== "text") cell.className = "n";
        // A SKU may be long, or from right to left.
        const place = column ? cell : cell.appendChild(document.createElement("bdi"));
        place.textContent = show(data.rows[column][found[shown]], kind);
        line.append(cell);
      });
      rows.append(line);
    }
    body.append(rows);
    more.hidden = shown >= found.length;
    count.textContent = `${whole.format(shown)} of ${whole.format(found.length)} SKUs shown`;
  }

  function draw() {
    const text = search.value.trim().toLowerCase(), wanted = pick.value;
    found = order.filter((row) => (!text || folded[row].includes(text))
      && (!wanted || data.rows[1][row] === wanted));
    if (sorted >= 0) {
      const values = data.rows[sorted], sign = up ? 1 : -1;
      found.sort((a, b) => {
        const one = values[a], two = values[b];
        if (one === null || two === null) return (one === null) - (two === null) || a - b;
        return one < two ? -sign : one > two ? sign : a - b;
      });
    }
    body.textContent = "";
    shown = 0;
    grow();
  }

  heads.forEach((head, column) => head.addEventListener("click", () => {
    up = sorted === column ? !up : data.kinds[column] === "text";
    sorted = column;
    heads.forEach((each, other) => each.parentElement.setAttribute(
      "aria-sort", other === column ? (up ? "ascending" : "descending") : "none"));
    draw();
  }));
  search.addEventListener("input", draw);
  pick.addEventListener("change", draw);
  more.addEventListener("click", grow);
  if (size) draw();
})();
