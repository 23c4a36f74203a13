"use strict";
// Links everything that belongs to one call: pointing at it lights it up everywhere, clicking keeps it lit.
(() => {
  const byCall = new Map();
  for (const element of document.querySelectorAll("[data-call]")) {
    for (const call of element.dataset.call.split(" ").filter(Boolean)) {
      if (!byCall.has(call)) byCall.set(call, []);
      byCall.get(call).push(element);
    }
  }
  const tip = document.getElementById("tip");
  const status = document.getElementById("status");
  let pinned = [];
  let focused = [];
  let shown = [];

  const callsOf = (element) => (element?.dataset.call ?? "").split(" ").filter(Boolean);
  const same = (a, b) => a.length === b.length && a.every((item, index) => item === b[index]);

  const rest = () => (pinned.length ? pinned : focused);

  function light(calls) {
    if (same(calls, shown)) return;
    for (const element of document.querySelectorAll(".hot")) element.classList.remove("hot");
    for (const call of calls) for (const element of byCall.get(call) ?? []) element.classList.add("hot");
    document.body.classList.toggle("lit", calls.length > 0);
    shown = calls;
  }

  function pin(element) {
    const calls = callsOf(element);
    pinned = same(calls, pinned) ? [] : calls;
    for (const each of document.querySelectorAll("[aria-pressed]")) {
      const own = callsOf(each);
      each.setAttribute("aria-pressed", String(own.length > 0 && pinned.length > 0 && own.some((call) => pinned.includes(call))));
    }
    document.body.classList.toggle("pinned", pinned.length > 0);
    light(pinned);
    status.textContent = pinned.length ? `Kept: ${element.dataset.tip ?? pinned.join(", ")}` : "Nothing is kept";
    if (pinned.length) showSource(element);
  }

  function showSource(from) {
    if (from.closest("#source")) return;
    const marks = pinned.flatMap((call) => (byCall.get(call) ?? []).filter((e) => e.matches("#source .site")));
    const mark = marks.find((e) => e.classList.contains("call")) ?? marks[0];
    const files = document.querySelector("#source .files");
    if (!mark || !files) return;
    const calm = matchMedia("(prefers-reduced-motion: reduce)").matches;
    const top = mark.getBoundingClientRect().top - files.getBoundingClientRect().top;
    files.scrollTo({ top: files.scrollTop + top - files.clientHeight / 3, behavior: calm ? "auto" : "smooth" });
  }

  function showTip(element, x, y) {
    const text = element?.dataset.tip;
    if (!text) { tip.hidden = true; return; }
    tip.textContent = text;
    tip.hidden = false;
    const box = tip.getBoundingClientRect();
    const left = Math.min(x + 14, innerWidth - box.width - 8);
    const top = y + 18 + box.height > innerHeight ? y - box.height - 12 : y + 18;
    tip.style.left = `${Math.max(8, left)}px`;
    tip.style.top = `${Math.max(8, top)}px`;
  }

  document.addEventListener("pointerover", (event) => {
    const call = event.target.closest("[data-call]");
    light(call && callsOf(call).length ? callsOf(call) : rest());
  });
  document.addEventListener("pointermove", (event) => {
    showTip(event.target.closest("[data-tip]"), event.clientX, event.clientY);
  });
  document.addEventListener("pointerleave", () => { light(rest()); tip.hidden = true; });
  document.addEventListener("focusin", (event) => {
    const call = event.target.matches(":focus-visible") ? event.target.closest("[data-call]") : null;
    focused = callsOf(call);
    light(focused.length ? focused : pinned);
    const told = event.target.closest("[data-tip]");
    if (told && focused.length) {
      const box = told.getBoundingClientRect();
      showTip(told, box.left, box.bottom - 12);
    }
  });
  document.addEventListener("focusout", () => { focused = []; light(pinned); tip.hidden = true; });
  document.addEventListener("click", (event) => {
    const call = event.target.closest("[data-call]");
    if (call && callsOf(call).length) pin(call);
  });
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape") {
      pinned = focused = [];
      for (const each of document.querySelectorAll("[aria-pressed]")) each.setAttribute("aria-pressed", "false");
      document.body.classList.remove("pinned");
      light([]);
      tip.hidden = true;
      status.textContent = "Nothing is kept";
    } else if (event.key === "Enter" || event.key === " ") {
      const call = event.target.closest("[data-call]");
      if (call && call === event.target && callsOf(call).length && !call.matches("a")) {
        event.preventDefault();
        pin(call);
      }
    }
  });
})();
