// What makes the pages quicker to use; every page works without it.
"use strict";

(() => {
  const root = document.documentElement;
  root.classList.add("has-script");

  const $ = (selector, from = document) => from.querySelector(selector);
  const $$ = (selector, from = document) => [...from.querySelectorAll(selector)];
  const wide = window.matchMedia("(min-width: 1200px)");

  // Times are shown in the reader's own zone; the server learns it from this cookie.
  const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
  if (zone && !document.cookie.includes(`mailkeep-zone=${zone}`)) {
    const secure = location.protocol === "https:" ? "; secure" : "";
    document.cookie = `mailkeep-zone=${zone}; path=/; max-age=31536000; samesite=lax${secure}`;
  }

  // An invitation's code comes in the fragment, which is never sent; take it into the form and out of the address.
  const codeField = $("[data-fragment]");
  if (codeField && location.hash.length > 1) {
    codeField.value = decodeURIComponent(location.hash.slice(1));
    history.replaceState(null, "", location.pathname);
    $("#f-password")?.focus();
  }

  // -- the reading pane ------------------------------------------------------------------------------------------

  const hits = () => $$("[data-hit]");

  async function openInPane(address, pageAddress, hit) {
    for (const other of hits()) other.removeAttribute("aria-current");
    hit?.setAttribute("aria-current", "true");
    $(".main-split").classList.add("has-open");
    await htmx.ajax("GET", address, { target: "#reading", swap: "innerHTML show:none" });
    $("#reading").scrollTop = 0;
    if (pageAddress) history.replaceState(null, "", pageAddress);
  }

  function openHit(hit) {
    const link = $(".hit-link", hit);
    if (wide.matches && $("#reading")) openInPane(link.getAttribute("href"), hit.dataset.pane, hit);
    else link.click();
  }

  document.addEventListener("click", (event) => {
    if (event.defaultPrevented || event.button || event.metaKey || event.ctrlKey || event.shiftKey) return;
    const pane = wide.matches && $("#reading");
    const link = event.target.closest(".hit-link, [data-in-pane]");
    if (!link || !pane) return;
    event.preventDefault();
    const hit = link.closest("[data-hit]");
    openInPane(link.getAttribute("href"), hit?.dataset.pane, hit);
  });

  // -- selecting -------------------------------------------------------------------------------------------------

  const ticks = () => $$(".hit-tick input");
  let lastTick = null;

  function showSelection() {
    const bar = $("[data-selection]");
    if (!bar) return;
    const count = ticks().filter((tick) => tick.checked).length;
    bar.hidden = count === 0;
    $("[data-selected]", bar).textContent = count;
  }

  document.addEventListener("click", (event) => {
    const tick = event.target.closest(".hit-tick input");
    if (tick) {
      const all = ticks();
      if (event.shiftKey && lastTick) {
        const [from, to] = [all.indexOf(lastTick), all.indexOf(tick)].sort((a, b) => a - b);
        for (const between of all.slice(from, to + 1)) between.checked = tick.checked;
      }
      lastTick = tick;
      showSelection();
    }
    if (event.target.closest("[data-clear]")) {
      for (const each of ticks()) each.checked = false;
      showSelection();
    }
  });

  // -- small things ----------------------------------------------------------------------------------------------

  document.addEventListener("click", async (event) => {
    if (event.target.closest("[data-print]")) window.print();
    const button = event.target.closest("[data-copy]");
    if (button) {
      const source = document.getElementById(button.dataset.copy);
      const steps = $$("li", source).map((step, index) => `${index + 1}. ${step.textContent.trim()}`);
      const label = $("[data-copy-label]", button);
      const before = label.textContent;
      try {
        await navigator.clipboard.writeText(steps.length ? steps.join("\n") : source.textContent.trim());
        label.textContent = "Copied";
      } catch {
        getSelection().selectAllChildren(source);
        label.textContent = "Selected: press Ctrl C";
      }
      setTimeout(() => { label.textContent = before; }, 2500);
    }
    for (const menu of $$(".menu[open]")) if (!menu.contains(event.target)) menu.open = false;
  });

  document.addEventListener("submit", (event) => {
    // Two quick clicks must not make two of anything.
    const form = event.target;
    if (form.method !== "post") return;
    if (form.dataset.sent) event.preventDefault();
    form.dataset.sent = "1";
    setTimeout(() => { delete form.dataset.sent; }, 3000);
  });

  document.addEventListener("htmx:beforeSwap", (event) => {
    // Problems come as a piece of page with their status; they are shown where the answer was expected.
    if (event.detail.xhr.status >= 400 && event.detail.target.matches("#reading, [data-outcome]")) event.detail.shouldSwap = true;
  });

  // -- keys ------------------------------------------------------------------------------------------------------

  function focusedIndex(all) {
    const focused = all.findIndex((hit) => hit.contains(document.activeElement));
    return focused >= 0 ? focused : all.findIndex((hit) => hit.hasAttribute("aria-current"));
  }

  function move(step) {
    const all = hits();
    if (!all.length) return;
    const at = focusedIndex(all);
    const hit = all[at < 0 ? 0 : Math.min(Math.max(at + step, 0), all.length - 1)];
    $(".hit-link", hit).focus({ focusVisible: true });
    hit.scrollIntoView({ block: "nearest" });
    if (wide.matches && $(".main-split.has-open")) openHit(hit);
  }

  const keys = {
    "/": () => { const box = $("#q") ?? $("#find"); box?.focus(); box?.select(); },
    "?": () => $("#keys")?.togglePopover(),
    j: () => move(1),
    k: () => move(-1),
    x: () => {
      const hit = hits()[focusedIndex(hits())];
      if (hit) $(".hit-tick input", hit).click();
    },
    o: () => {
      const hit = hits()[focusedIndex(hits())];
      const link = hit ? $(".hit-link", hit) : $("[data-own-page]");
      if (link) location.assign(link.href);
    },
    Enter: () => {
      const hit = hits()[focusedIndex(hits())];
      if (hit) openHit(hit);
      return Boolean(hit);
    },
    Escape: () => { for (const menu of $$(".menu[open]")) menu.open = false; return false; },
  };

  document.addEventListener("keydown", (event) => {
    const inField = event.target.closest("input:not([type=checkbox], [type=radio]), textarea, select");
    if (event.altKey || event.ctrlKey || event.metaKey) return;
    if (inField) {
      if (event.key === "Escape") event.target.blur();
      return;
    }
    const act = keys[event.key];
    if (!act || (event.key === "Enter" && event.target.closest("a:not(.hit-link), button, summary"))) return;
    if (act() !== false) event.preventDefault();
  });
})();
