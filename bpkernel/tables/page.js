// The page of `bpkernel serve`: a field for each column, and the prediction.  Names and values are set as text only.
"use strict";

const form = document.getElementById("form");
const result = document.getElementById("result");

function add(parent, tag, text, attributes = {}) {
  const element = document.createElement(tag);
  if (text !== undefined) element.textContent = text;
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  parent.append(element);
  return element;
}

function field(column, number) {
  const label = add(document.getElementById("fields"), "label", column.name);
  const own = { name: String(number), id: `column-${number}` };
  if (column.values && column.values.length <= 200) {
    const select = add(label, "select", undefined, own);
    add(select, "option", "", { value: "" });
    for (const value of column.values) add(select, "option", value, { value });
  } else {
    const example = column.kind === "number" && column.typical !== null ? `typically ${Number(column.typical.toPrecision(4))}` : column.kind;
    add(label, "input", undefined, { ...own, type: "text", placeholder: example, inputmode: column.kind === "number" ? "decimal" : "text" });
  }
}

function rowOf(table, name, value, share) {
  const row = add(table, "tr");
  add(row, "td", name);
  add(row, "td", value, { class: "number" });
  if (share !== undefined) add(add(row, "td", undefined, { class: "bar" }), "meter", undefined, { min: 0, max: 1, value: share });
}

function show(answer, schema) {
  result.replaceChildren();
  for (const error of answer.errors || []) add(result, "p", error, { class: "error" });
  for (const found of answer.predictions || []) {
    const value = typeof found.prediction === "number" ? String(Number(found.prediction.toPrecision(6))) : found.prediction;
    add(result, "p", `${schema.target}: ${value}`, { class: "prediction" });
    const table = add(result, "table");
    const likely = Object.entries(found.probabilities || {}).sort((a, b) => b[1] - a[1]);
    for (const [name, share] of likely.slice(0, 20)) rowOf(table, name, `${(100 * share).toFixed(1)} %`, share);
    for (const [level, quantile] of Object.entries(found.quantiles || {}).sort((a, b) => a[0] - b[0])) {
      rowOf(table, `${(100 * level).toPrecision(3)} % quantile`, String(Number(quantile.toPrecision(6))));
    }
  }
  for (const note of answer.notes || []) add(result, "p", note, { class: "note" });
}

async function start() {
  const schema = await (await fetch("/schema")).json();
  document.title = `Predict ${schema.target}`;
  document.getElementById("target").textContent = schema.target;
  schema.columns.forEach(field);
  form.addEventListener("reset", () => result.replaceChildren());
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const row = {};
    schema.columns.forEach((column, number) => { row[column.name] = form.elements[String(number)].value.trim() || null; });
    try {
      const answer = await fetch("/predict", { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify({ rows: [row] }) });
      show(await answer.json(), schema);
    } catch (error) {
      show({ errors: [`the service does not answer: ${error.message}`] }, schema);
    }
  });
}

start();
