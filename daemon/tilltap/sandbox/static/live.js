// What both pages share: the live stream, and small words about time.

const RETRY_MS = 3000; // after an answer that ends an EventSource for good (sandbox restarted, too many pages)

/** Calls `show(state)` with every new state; tells the page whether it is connected. */
export function follow(url, show) {
  const mark = document.querySelector("[data-connection]");
  const say = (state, text) => {
    mark.dataset.connection = state;
    if (mark.textContent !== text) mark.textContent = text;
  };
  const open = () => {
    const source = new EventSource(url);
    source.onmessage = (event) => {
      say("live", "Live");
      show(JSON.parse(event.data));
    };
    source.onerror = () => {
      say("lost", "The sandbox does not answer. Trying again…");
      if (source.readyState === EventSource.CLOSED) setTimeout(open, RETRY_MS);
    };
    addEventListener("pagehide", () => source.close(), { once: true });
  };
  open();
}

export function clock(at) {
  return at.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", hour12: false });
}

export function ago(at) {
  return Date.now() - at < 60_000 ? "now" : clock(at);
}

export function points(n) {
  return n === 1 || n === -1 ? "point" : "points";
}

/** Buttons with data-copy put their text on the clipboard. */
document.addEventListener("click", async (event) => {
  const button = event.target.closest("[data-copy]");
  if (!button) return;
  try {
    await navigator.clipboard.writeText(button.dataset.copy);
    button.textContent = "Copied";
  } catch {
    getSelection().selectAllChildren(button.parentElement.querySelector("code"));
    button.textContent = "Press Ctrl+C";
  }
  setTimeout(() => (button.textContent = "Copy"), 1500);
});
