// One customer's phone: what the pass shows, and notifications as they arrive.

import { ago, clock, follow, points } from "./live.js";

const GAIN_MS = 2600; // how long "+2" stays beside the points
const field = (name) => document.querySelector(`[data-field="${name}"]`);
const slot = document.querySelector(".banner-slot");
const earlier = document.querySelector(".earlier");
const gain = document.querySelector(".gain");

const FOOT = {
  active: "Hold near the reader",
  issued: "Not in a wallet yet",
  removed: "Removed from the wallet",
  deactivated: "Deactivated",
};

let known = null; // the state shown

follow(document.body.dataset.live, (state) => {
  showBalance(state);
  field("reward").textContent = state.reward || "–";
  field("reward").classList.toggle("won", Boolean(state.reward));
  field("status").textContent = FOOT[state.status];
  document.querySelector(".pass").dataset.status = state.status;
  showNotifications(state.notifications);
  known = state;
});

function showBalance(state) {
  if (known && known.balance === state.balance) return;
  field("unit").textContent = points(state.balance);
  field("spoken").textContent = `${state.balance} ${points(state.balance)} on the pass`;
  if (!known) {
    field("balance").textContent = state.balance;
    return;
  }
  const change = state.balance - known.balance;
  roll(field("balance"), state.balance, change > 0);
  gain.textContent = change > 0 ? `+${change}` : `−${-change}`;
  gain.classList.remove("show");
  void gain.offsetWidth; // starts the animation anew
  gain.classList.add("show");
  setTimeout(() => gain.classList.remove("show"), GAIN_MS);
}

/** The old number leaves, the new one takes its place. */
function roll(element, value, up) {
  const old = element.cloneNode(true);
  old.removeAttribute("data-field");
  old.className = up ? "leave-up" : "leave-down";
  old.setAttribute("aria-hidden", "true");
  old.addEventListener("animationend", () => old.remove());
  setTimeout(() => old.remove(), 1000);
  element.before(old);
  element.textContent = value;
  element.className = "";
  void element.offsetWidth;
  element.className = up ? "enter-up" : "enter-down";
}

function showNotifications(all) {
  if (known && JSON.stringify(known.notifications) === JSON.stringify(all)) return;
  const isNew = known !== null;
  const shown = all.findLastIndex((n) => n.shown);
  slot.replaceChildren(...(shown < 0 ? [] : [note(all[shown], isNew && shown === all.length - 1)]));
  const rest = all.filter((_, i) => i !== shown).reverse();
  earlier.hidden = rest.length === 0;
  earlier.querySelector("ol").replaceChildren(
    ...rest.map((n) => {
      const item = document.createElement("li");
      item.append(note(n, false));
      return item;
    }),
  );
}

function note(n, arriving) {
  const element = document.getElementById("note").content.firstElementChild.cloneNode(true);
  const at = new Date(n.at);
  const time = element.querySelector("time");
  time.dateTime = n.at;
  time.textContent = ago(at);
  element.querySelector(".note-text").textContent = n.text;
  element.querySelector(".note-why").textContent = n.shown ? "" : `Not pushed: ${n.reason}`;
  element.classList.toggle("silent", !n.shown);
  element.classList.toggle("arriving", arriving);
  return element;
}

function tick() {
  const now = new Date();
  const set = (name, text) => (document.querySelector(`[data-clock="${name}"]`).textContent = text);
  set("small", clock(now));
  set("large", clock(now));
  set("date", now.toLocaleDateString("en-GB", { weekday: "long", day: "numeric", month: "long" }));
  for (const time of document.querySelectorAll("time")) time.textContent = ago(new Date(time.dateTime));
}
tick();
setInterval(tick, 5000);
