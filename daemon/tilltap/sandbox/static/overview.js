// The trainer's page: customers, faults, and what happened.

import { clock, follow, points } from "./live.js";

const $ = (id) => document.getElementById(id);
const copyOf = (id) => $(id).content.firstElementChild.cloneNode(true);
const cards = new Map(); // pass id -> element, kept so that typing in a form survives an update

function element(tag, text, className = "") {
  const made = document.createElement(tag);
  made.textContent = text;
  made.className = className;
  return made;
}

async function ask(method, url, body) {
  $("problem").hidden = true;
  try {
    const init = body === undefined ? { method } : { method, body: JSON.stringify(body) };
    const answer = await fetch(url, init);
    if (answer.ok) return answer.json();
    const said = await answer.json();
    throw new Error(said.errors[0].detail);
  } catch (error) {
    $("problem").textContent = `That did not work: ${error.message}.`;
    $("problem").hidden = false;
    return null;
  }
}

// --- customers -----------------------------------------------------------------------------------------------

function showPasses(passes) {
  for (const pass of passes) {
    const card = cards.get(pass.id) ?? newCard(pass);
    fillCard(card, pass);
  }
  for (const [id, card] of cards) {
    if (passes.some((pass) => pass.id === id)) continue;
    card.remove();
    cards.delete(id);
  }
}

function newCard(pass) {
  const card = copyOf("card");
  const url = `/sandbox/passes/${pass.id}`;
  const form = card.querySelector("form");
  for (const button of card.querySelectorAll("[data-delta]")) {
    button.setAttribute("aria-label", `${button.dataset.delta} for ${pass.name}`);
    button.addEventListener("click", () => ask("POST", `${url}/balance`, { delta: Number(button.dataset.delta) }));
  }
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    ask("POST", `${url}/balance`, { balance: Number(form.balance.value) });
    form.balance.value = "";
  });
  form.status.addEventListener("change", () => ask("POST", `${url}/status`, { status: form.status.value }));
  cards.set(pass.id, card);
  $("passes").append(card);
  return card;
}

function fillCard(card, pass) {
  const set = (selector, text) => {
    const target = card.querySelector(selector);
    if (target.textContent !== text) target.textContent = text;
  };
  const changed = card.dataset.balance !== undefined && card.dataset.balance !== String(pass.balance);
  card.dataset.balance = pass.balance;
  card.dataset.status = pass.status;
  set(".card-name", pass.name);
  set(".card-points b", String(pass.balance));
  set(".card-points span", points(pass.balance));
  set(".card-reward", pass.reward);
  set("code", pass.nfc);
  const last = pass.notifications.at(-1);
  set(".card-message", last ? `${clock(new Date(last.at))}  ${last.text}${last.shown ? "" : " (not pushed)"}` : "No message yet");
  card.querySelector(".card-message").classList.toggle("none", !last);
  card.querySelector("[data-copy]").dataset.copy = pass.nfc;
  card.querySelector("a").href = pass.phone;
  card.querySelector("select").value = pass.status;
  if (changed) {
    const face = card.querySelector(".card-face");
    face.classList.remove("changed");
    void face.offsetWidth;
    face.classList.add("changed");
  }
}

$("create").addEventListener("submit", async (event) => {
  event.preventDefault();
  const form = event.target;
  const body = { ext_id: form.ext_id.value, balance: Number(form.balance.value) };
  if (form.nfc.value) body.nfc = form.nfc.value;
  if (await ask("POST", "/sandbox/passes", body)) form.reset();
});

$("reset").addEventListener("click", () => {
  if (confirm("Start over? Points, messages, faults and the record of what happened are set back.")) {
    ask("POST", "/sandbox/reset", {});
  }
});

// --- faults --------------------------------------------------------------------------------------------------

async function showMenu() {
  const { menu, endpoints } = await ask("GET", "/sandbox/faults");
  for (const [name, meaning] of Object.entries(endpoints)) {
    const option = element("option", meaning === "this endpoint" ? name : meaning);
    option.value = name;
    $("endpoint").append(option);
  }
  const groups = new Map();
  for (const fault of menu) {
    if (!groups.has(fault.group)) groups.set(fault.group, []);
    groups.get(fault.group).push(faultRow(fault));
  }
  for (const [group, rows] of groups) {
    const box = document.createElement("details");
    box.open = groups.keys().next().value === group;
    box.append(element("summary", group), ...rows);
    $("menu").append(box);
  }
}

function faultRow(fault) {
  const row = copyOf("fault");
  row.querySelector(".fault-name").textContent = fault.fault;
  row.querySelector(".hint").textContent = fault.why;
  const seconds = row.querySelector("input");
  if (fault.seconds === null) row.querySelector(".seconds").remove();
  else {
    seconds.value = fault.seconds;
    seconds.setAttribute("aria-label", `seconds for ${fault.fault}`);
  }
  for (const button of row.querySelectorAll("button")) {
    button.setAttribute("aria-label", `${fault.fault}: ${button.dataset.count ? "once" : "until switched off"}`);
    button.addEventListener("click", () => {
      const body = { fault: fault.fault, count: button.dataset.count ? 1 : null };
      if ($("endpoint").value) body.endpoint = $("endpoint").value;
      if (fault.seconds !== null) body.seconds = Number(seconds.value);
      ask("POST", "/sandbox/faults", body);
    });
  }
  return row;
}

function showArmed(armed, late) {
  const chips = armed.map((a) => {
    const chip = element("p", "", "chip");
    const where = document.querySelector(`#endpoint [value="${a.endpoint}"]`)?.textContent ?? a.endpoint;
    const times = a.left === null ? "until switched off" : a.left === 1 ? "next time" : `next ${a.left} times`;
    const off = element("button", "Off");
    off.type = "button";
    off.setAttribute("aria-label", `switch off ${a.fault}`);
    off.addEventListener("click", () => ask("DELETE", `/sandbox/faults?number=${a.number}`));
    chip.append(element("b", a.fault), element("span", `${where}, ${times}`), off);
    return chip;
  });
  if (late) chips.push(element("p", `${late} late ${late === 1 ? "change" : "changes"} under way`, "chip"));
  $("armed").replaceChildren(...chips);
}

// --- what happened -------------------------------------------------------------------------------------------

function showLog(recent, names) {
  const requests = new Map(recent.filter((e) => e.kind === "request").map((e) => [e.seq, e]));
  const lines = recent.flatMap((entry) => line(entry, requests, names)).reverse();
  $("log").replaceChildren(...lines);
  $("log-empty").hidden = lines.length > 0;
}

const DEEDS = {
  "GET /loyalty/{id}": "balance read",
  "PATCH /loyalty/{id}": "balance write",
  "GET /passes/{id}": "pass read",
  "PATCH /passes/{id}": "pass write",
  "POST /passes/{id}/notification": "text",
  "GET /passes": "list of passes read",
  "POST /passes": "new pass",
};

function line(entry, requests, names) {
  const item = document.createElement("li");
  const time = element("time", new Date(entry.at).toLocaleTimeString([], { hour12: false }));
  time.dateTime = entry.at;
  item.append(time);
  const name = names.get(entry.pass) ?? "";
  if (entry.kind === "applied") {
    const [before, after] = entry.balance;
    const by = entry.request === null ? "from outside" : entry.copy ? "copy" : "till";
    item.className = "change";
    const what = element("span", "", "what");
    what.append(element("b", name), ` ${before === after ? after : `${before} → ${after}`} ${points(after)}`);
    const extra = Object.entries(entry.fields).map(([key, text]) => `${key}: ${text || "–"}`);
    if (entry.status) extra.push(entry.status);
    if (entry.message) extra.push(`“${entry.message}”${entry.shown ? "" : " not pushed"}`);
    if (extra.length) what.append(element("span", ` ${extra.join(" · ")}`, "hint"));
    item.append(what, element("span", by, `tag ${by === "till" ? "" : "odd"}`));
    return [item];
  }
  const request = requests.get(entry.request);
  if (entry.kind !== "answer" || !request || entry.late) return [];
  const fine = entry.status === 200 && !entry.fault;
  if (fine && !request.endpoint.startsWith("GET")) return []; // its change has a line of its own
  const told = entry.status === null ? "no answer" : fine ? "" : `answered ${entry.status}`;
  const what = element("span", "", "what");
  if (request.key) what.append(element("b", short(request.key, names)), " ");
  what.append([DEEDS[request.endpoint], told].filter(Boolean).join(", "));
  item.className = "request";
  item.append(what, entry.fault ? element("span", entry.fault, "tag odd") : element("span", "till", "tag"));
  return [item];
}

function short(key, names) {
  return names.get(key.toLowerCase()) ?? (key.length > 24 ? `${key.slice(0, 23)}…` : key);
}

await showMenu();
follow("/sandbox/live", (state) => {
  const names = new Map(state.passes.map((pass) => [pass.id, pass.name]));
  showPasses(state.passes);
  $("more").textContent = state.more ? `and ${state.more} more` : "";
  showArmed(state.armed, state.late);
  showLog(state.recent, names);
});
