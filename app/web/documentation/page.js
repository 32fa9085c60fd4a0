"use strict";

const base = location.pathname.replace(/\/docs\/?$/, "");
const quoted = (text) => `'${text.replaceAll("'", "'\\''")}'`;

/** The headers that let a prediction count or not: what is tried out here is no evidence, unless somebody wants it. */
function kindOfTraffic() {
  return document.getElementById("counts").checked ? {} : { "X-Traffic-Kind": "synthetic" };
}

/** The path with the examples of its parameters; a parameter without an example stays as {name}. */
function exampleOf(path, parameters) {
  return parameters
    .filter((parameter) => parameter.in === "path" && parameter.example !== undefined)
    .reduce((address, { name, example }) => address.replace(`{${name}}`, encodeURIComponent(example)), path);
}

/** Where the value of a parameter without an example comes from: a call, and the field of its answer. */
const SOURCES = {
  id: ["/config", "experiment_id"],
  prediction_id: ["/predictions/history?limit=1", "prediction_id"],
  request_id: ["/predictions/history?limit=1", "request_id"],
};

/** The curl of an address for a shell; a line before it asks for what the address needs and has no example of. */
function asked(path, operation) {
  // One of two queries is needed there, so neither is required.
  const called = path === "/predictions" ? `${path}?request_id={request_id}` : path;
  const address = location.origin + base + exampleOf(called, operation.parameters);
  const name = Object.keys(SOURCES).find((each) => address.includes(`{${each}}`));
  if (!name) return `curl -s ${quoted(address)}`;
  const [call, field] = SOURCES[name];
  const token = operation.security.length ? ` -H "Authorization: Bearer $TOKEN"` : "";
  const found = `curl -s ${quoted(location.origin + base + call)}${token} | sed 's/.*"${field}":"\\([^"]*\\)".*/\\1/'`;
  return `ID=$(${found})\ncurl -s "${address.replace(`{${name}}`, "$ID")}"`;
}

/** The call with its first example, for a shell. */
function curl(path, method, operation) {
  const parts = [asked(path, operation)];
  if (method !== "get") parts[0] += ` -X ${method.toUpperCase()}`;
  if (operation.security.length) parts.push(`-H "Authorization: Bearer $TOKEN"`);
  const content = operation.requestBody?.content["application/json"];
  if (content) {
    const [example] = Object.values(content.examples ?? {});
    // Rows of a model that is not loaded have no example.
    parts.push("-H 'Content-Type: application/json'", example ? `-d ${quoted(JSON.stringify(example.value))}` : "-d @body.json");
  }
  return parts.join(" \\\n  ");
}

/** The address of a call on this page. */
function linkTo(operation) {
  return `#/${encodeURIComponent(operation.tags[0])}/${operation.operationId}`;
}

/**
 * A plugin of Swagger UI: each call has its curl and its link before its responses; there is no other server to choose.
 * Its path in the heading is no link, because the heading is a button, and a button may not have a link in it.
 */
function curlOf(description) {
  return ({ React: { createElement } }) => ({
    components: {
      ServersContainer: () => null,
      OperationSummaryPath: ({ operationProps }) => {
        const path = operationProps.get("path");
        return createElement("span", { className: "opblock-summary-path", "data-path": path }, path);
      },
    },
    wrapComponents: {
      responses: (Responses) => (props) => {
        const operation = description.paths[props.path][props.method];
        const text = curl(props.path, props.method, operation);
        const heading = createElement("h4", { className: "opblock-title" }, "From a program of yours");
        const link = createElement("a", { href: linkTo(operation) }, "Link to this call");
        const header = createElement("div", { className: "opblock-section-header" }, heading, link);
        const code = createElement("pre", { tabIndex: 0, "aria-label": "curl" }, text);
        const section = createElement("div", { className: "curl" }, header, code);
        return createElement("div", null, section, createElement(Responses, props));
      },
    },
  });
}

/** What an input is for: Swagger UI has the words beside it, and does not tie them to it. */
function nameOf(input) {
  const parameter = input.closest("[data-param-name]");
  if (parameter) return parameter.dataset.paramName;
  if (input.matches(".examples-select-element")) return "Example";
  return input.closest(".opblock-section-request-body") ? "Request body" : "Value";
}

/** Lets the keyboard and screen readers use what Swagger UI has drawn: inputs get a name, code that scrolls the focus. */
function mend() {
  for (const code of document.querySelectorAll("#calls pre:not([tabindex])")) code.tabIndex = 0;
  for (const input of document.querySelectorAll("#calls :is(input, select, textarea):not([aria-label])")) {
    if (!input.labels.length) input.setAttribute("aria-label", nameOf(input));
  }
}

function show(description) {
  document.title = document.querySelector("h1").textContent = `${description.info.title} ${description.info.version}`;
  SwaggerUIBundle({
    domNode: document.getElementById("calls"),
    spec: { ...description, servers: [{ url: base || "/" }] },
    plugins: [curlOf(description)],
    deepLinking: true,
    displayRequestDuration: true,
    tryItOutEnabled: true,
    validatorUrl: null,
    requestInterceptor: (request) => {
      request.headers = { ...kindOfTraffic(), ...request.headers };
      return request;
    },
  });
}

new MutationObserver(mend).observe(document.getElementById("calls"), { childList: true, subtree: true });

function follow(scheme) {
  document.documentElement.classList.toggle("dark-mode", scheme.matches);
}

const dark = matchMedia("(prefers-color-scheme: dark)");
follow(dark);
dark.addEventListener("change", follow);
document.getElementById("description").href = `${base}/openapi.json`;
fetch(`${base}/openapi.json`)
  .then((response) => response.json())
  .then(show)
  .catch((error) => {
    document.getElementById("problem").textContent = `The description cannot be read: ${error.message}. Reload the page.`;
  });
