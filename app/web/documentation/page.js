"use strict";

const base = location.pathname.replace(/\/docs\/?$/, "");

function element(tag, properties = {}, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
}

function laidOut(value) {
  const rows = /\[\n\s*([^[\]{}]*?)\n\s*\]/g;
  return JSON.stringify(value, null, 2).replace(rows, (_, row) => `[${row.replace(/\n\s*/g, " ")}]`);
}

function pretty(text) {
  try {
    return laidOut(JSON.parse(text));
  } catch {
    return text;
  }
}

function prose(tag, className, text) {
  const parts = text.split("`").map((part, index) => (index % 2 ? element("code", { textContent: part }) : part));
  return element(tag, { className }, ...parts);
}

function headersFor(inputs, hasBody) {
  const headers = hasBody ? { "Content-Type": "application/json" } : {};
  const token = document.getElementById("token").value.trim();
  if (token) headers.Authorization = `Bearer ${token}`;
  // What is tried out here is no evidence, unless somebody wants it to be.
  if (!document.getElementById("counts").checked) headers["X-Traffic-Kind"] = "synthetic";
  for (const { parameter, input } of inputs) {
    if (parameter.in === "header" && input.value) headers[parameter.name] = input.value;
  }
  return headers;
}

function addressFor(path, inputs) {
  const query = new URLSearchParams();
  let address = base + path;
  for (const { parameter, input } of inputs) {
    if (parameter.in === "path") address = address.replace(`{${parameter.name}}`, encodeURIComponent(input.value));
    if (parameter.in === "query" && input.value) query.set(parameter.name, input.value);
  }
  return query.size ? `${address}?${query}` : address;
}

async function send(method, path, inputs, body, output) {
  output.hidden = false;
  output.className = "";
  output.textContent = "…";
  const started = performance.now();
  try {
    const response = await fetch(addressFor(path, inputs), {
      method: method.toUpperCase(),
      headers: headersFor(inputs, body !== null),
      body: body === null ? undefined : body.value,
    });
    const text = await response.text();
    const took = (performance.now() - started).toFixed(1);
    output.className = response.ok ? "" : "bad";
    output.textContent = `${response.status} ${response.statusText} · ${took} ms\n\n${pretty(text)}`;
  } catch (error) {
    output.className = "bad";
    output.textContent = `No answer: ${error.message}`;
  }
}

function parameterField(parameter) {
  const choices = parameter.schema.enum;
  const input = choices ? element("select") : element("input", { value: parameter.example ?? "" });
  for (const choice of choices ? ["", ...choices] : []) input.append(element("option", { textContent: choice }));
  const label = element("label", { className: "field" }, element("span", { className: "path", textContent: parameter.name }));
  label.append(input, prose("small", "", parameter.description));
  return { parameter, input, label };
}

function bodyField(operation, inside) {
  const content = operation.requestBody?.content["application/json"];
  if (!content) return null;
  const examples = Object.values(content.examples ?? {});
  const text = element("textarea", { spellcheck: false, ariaLabel: "Body" });
  const show = (index) => { text.value = examples[index] ? laidOut(examples[index].value) : "{}"; };
  const choice = element("select", { ariaLabel: "Example" });
  examples.forEach((example, index) => choice.append(element("option", { value: index, textContent: example.summary })));
  choice.addEventListener("change", () => show(choice.value));
  show(0);
  if (examples.length > 1) inside.append(choice);
  inside.append(text);
  return text;
}

function call(path, method, operation) {
  const inside = element("div", { className: "inside" });
  if (operation.description) inside.append(prose("p", "said", operation.description));
  const body = bodyField(operation, inside);
  const inputs = operation.parameters.map(parameterField);
  inside.append(...inputs.map((field) => field.label));
  const output = element("pre", { hidden: true });
  output.setAttribute("aria-live", "polite");
  const button = element("button", { type: "button", textContent: "Send" });
  button.addEventListener("click", () => send(method, path, inputs, body, output));
  inside.append(element("div", {}, button), output);
  return element(
    "details",
    {},
    element(
      "summary",
      {},
      element("span", { className: `method ${method}`, textContent: method.toUpperCase() }),
      element("span", { className: "path", textContent: path }),
      element("span", { className: "said", textContent: operation.summary }),
    ),
    inside,
  );
}

function show(description) {
  document.getElementById("about").replaceChildren(...prose("p", "", description.info.description).childNodes);
  document.title = `${description.info.title} ${description.info.version}`;
  const calls = document.getElementById("calls");
  for (const { name } of description.tags) {
    calls.append(element("h2", { textContent: name }));
    for (const [path, methods] of Object.entries(description.paths)) {
      for (const [method, operation] of Object.entries(methods)) {
        if (operation.tags.includes(name)) calls.append(call(path, method, operation));
      }
    }
  }
}

for (const link of document.querySelectorAll('a[href="/openapi.json"]')) link.href = `${base}/openapi.json`;
fetch(`${base}/openapi.json`)
  .then((response) => response.json())
  .then(show)
  .catch((error) => { document.getElementById("about").textContent = `The description cannot be read: ${error.message}`; });
