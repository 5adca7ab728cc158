// Refresh, keys and dialogs. Without this script every page and every act works by links and forms.
"use strict";
(() => {
  const policy = window.trustedTypes
    ? trustedTypes.createPolicy("tasuki", { createHTML: (text) => text })
    : { createHTML: (text) => text };
  const body = document.body, root = body.dataset.root, every = Number(body.dataset.every);
  const live = document.getElementById("live"), dialog = document.getElementById("dialog");
  const silent = 20000;  // ms without a tick, which comes every two seconds, after which the stream is dead
  let paused = false, busy = false, ticks = 0, stream = null, opener = null, heard = 0;

  const parse = (text) => new DOMParser().parseFromString(policy.createHTML(text), "text/html");

  function localTimes(where) {
    for (const time of where.querySelectorAll("time[datetime]")) {
      const at = new Date(time.dateTime);
      if (isNaN(at)) continue;
      if (!time.dataset.utc) time.dataset.utc = time.textContent;
      time.textContent = at.toLocaleString(document.documentElement.lang, { dateStyle: "medium", timeStyle: "long" });
      if (!time.title.includes(time.dataset.utc)) time.title = [time.title, time.dataset.utc].filter(Boolean).join(" · ");
    }
    for (const each of where.querySelectorAll("[data-at]")) {
      each.textContent = new Date(each.dataset.at).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", hourCycle: "h23" });
    }
  }

  // Of a chart the exact values of one minute: from its table, which readers have too.
  const tip = document.createElement("div"), hair = document.createElement("div");
  tip.className = "tip";
  hair.className = "hair";
  const leave = () => { tip.remove(); hair.remove(); };
  let mark = 1;  // share of the width
  function point(plot, share) {
    const table = plot.closest("figure").querySelector("table"), rows = table.tBodies[0].rows;
    const at = Math.min(Math.max(Math.floor(share * rows.length), 0), rows.length - 1), box = plot.getBoundingClientRect();
    mark = (at + 0.5) / rows.length;
    tip.textContent = [...rows[at].cells].map((cell, n) => (n ? table.tHead.rows[0].cells[n].textContent + " " : "") + cell.textContent).join("\n");
    document.body.append(hair, tip);
    const x = box.left + box.width * mark;
    Object.assign(hair.style, { left: `${x + scrollX}px`, top: `${box.top + scrollY}px`, height: `${box.height * 0.9}px` });
    const left = x + 12 + tip.offsetWidth > innerWidth ? x - 12 - tip.offsetWidth : x + 12;
    Object.assign(tip.style, { left: `${left + scrollX}px`, top: `${box.top + scrollY}px` });
  }
  const plotOf = (event) => event.target.closest?.(".plot.main");
  document.addEventListener("pointermove", (event) => {
    const plot = plotOf(event);
    if (!plot) { if (!document.activeElement.matches(".plot.main")) leave(); return; }
    const box = plot.getBoundingClientRect();
    point(plot, (event.clientX - box.left) / box.width);
  });
  document.addEventListener("focusin", (event) => { const plot = plotOf(event); if (plot) point(plot, mark); else leave(); });
  document.addEventListener("keydown", (event) => {
    const plot = plotOf(event), step = { ArrowLeft: -1, ArrowRight: 1, PageUp: -10, PageDown: 10, Home: -999, End: 999 }[event.key];
    if (!plot || (!step && event.key !== "Escape")) return;
    event.preventDefault();
    if (!step) { leave(); return; }
    const slots = plot.closest("figure").querySelector("tbody").rows.length;
    point(plot, mark + step / slots);
  });

  const idOf = (node) => node.getAttribute?.("id");  // a form with a field "id" has another idea of node.id

  // Make the old node like the new one; a node that is kept keeps its focus. Rows are matched by their ids.
  function patch(old, fresh) {
    if (old.nodeType !== fresh.nodeType || old.nodeName !== fresh.nodeName) { old.replaceWith(fresh); return; }
    if (old.nodeType !== Node.ELEMENT_NODE) { if (old.data !== fresh.data) old.data = fresh.data; return; }
    if (old.isEqualNode(fresh)) return;
    for (const { name } of [...old.attributes]) {
      if (!fresh.hasAttribute(name) && !(name === "open" && old.nodeName === "DETAILS")) old.removeAttribute(name);
    }
    for (const { name, value } of [...fresh.attributes]) if (old.getAttribute(name) !== value) old.setAttribute(name, value);
    const known = new Map();
    for (const child of old.children) if (idOf(child)) known.set(idOf(child), child);
    const wanted = new Set([...fresh.children].map(idOf).filter(Boolean));
    let at = old.firstChild;
    for (const child of [...fresh.childNodes]) {
      const id = idOf(child), same = id ? known.get(id) : null;
      if (same) {
        // Remove what is gone before it, and do not move it: a node that moves loses the focus.
        while (at && at !== same && !wanted.has(idOf(at))) { const next = at.nextSibling; at.remove(); at = next; }
        if (same !== at) old.insertBefore(same, at); else at = at.nextSibling;
        patch(same, child);
      } else if (at && !idOf(at) && !id) {
        const next = at.nextSibling;
        patch(at, child);
        at = next;
      } else {
        old.insertBefore(child, at);
      }
    }
    while (at) { const next = at.nextSibling; at.remove(); at = next; }
  }

  function show(told) {
    const state = paused ? "paused" : told;
    live.textContent = every ? body.dataset[state] : "";
    live.className = "live " + (state === "live" ? "on" : state);
  }

  async function refresh() {
    const picked = getSelection();
    if (busy || paused || document.hidden || dialog.open || (picked && !picked.isCollapsed)) return;
    busy = true;
    try {
      const answer = await fetch(location.href, {
        headers: { "X-Fragment": "1" }, redirect: "error", signal: AbortSignal.timeout(30000),
      });
      if (answer.status === 401) { location.reload(); return; }
      // A message or queue that is not there any more is a page, which says so.
      if (!answer.ok && answer.status !== 404) { show("lost"); return; }
      const page = parse(await answer.text());
      localTimes(page);
      const marked = document.querySelector("tr.at");
      const markedId = marked && marked.id;
      for (const id of ["totals", "main", "dead-count"]) {
        const fresh = page.getElementById(id), old = document.getElementById(id);
        if (fresh && old) patch(old, fresh);
      }
      count();
      if (markedId) document.getElementById(markedId)?.classList.add("at");
      show("live");
    } catch { show("lost"); } finally { busy = false; }
  }

  function connect() {
    if (!every || stream || document.hidden) return;
    stream = new EventSource(root + "/events");
    heard = Date.now();
    stream.onopen = () => { heard = Date.now(); show("live"); };
    stream.onmessage = () => { heard = Date.now(); ticks += 1; if (ticks % every === 0) refresh(); };
    stream.onerror = () => {
      show("lost");
      if (stream.readyState === EventSource.CLOSED) { stream = null; setTimeout(() => { refresh(); connect(); }, 10000); }
    };
  }
  // A desk that stands still, or a network that swallows all, is no error to the browser.
  setInterval(() => {
    if (!stream || Date.now() - heard < silent) return;
    show("lost");
    stream.close();
    stream = null;
    connect();
  }, 5000);
  document.addEventListener("visibilitychange", () => {
    if (document.hidden) { stream?.close(); stream = null; } else { refresh(); connect(); }
  });
  addEventListener("pagehide", () => { stream?.close(); stream = null; });
  addEventListener("pageshow", connect);

  function openDialog(content, from) {
    opener = from || document.activeElement;
    dialog.replaceChildren(...content);
    if (!dialog.open) dialog.showModal();
    dialog.querySelector("input:not([type=hidden]), button")?.focus();
  }
  dialog.addEventListener("close", () => { dialog.replaceChildren(); if (opener?.isConnected) opener.focus(); });

  document.addEventListener("click", async (event) => {
    const link = event.target.closest("a");
    if (!link || event.button || event.metaKey || event.ctrlKey || event.shiftKey) return;
    if (link.closest("dialog") && link.classList.contains("close")) { event.preventDefault(); dialog.close(); return; }
    if (!link.classList.contains("act") || !link.pathname.endsWith("/confirm")) return;
    event.preventDefault();
    try {
      const answer = await fetch(link.href, { headers: { "X-Fragment": "1" } });
      const main = parse(await answer.text()).getElementById("main");
      if (!main) throw new Error("no dialog");
      openDialog(main.childNodes, link);
    } catch { location.href = link.href; }
  });

  function move(step) {
    const rows = [...document.querySelectorAll(".rows tbody tr, .notices li")].filter((row) => row.querySelector("a"));
    if (!rows.length) return;
    const at = rows.findIndex((row) => row.classList.contains("at"));
    const next = rows[Math.min(Math.max(at + step, 0), rows.length - 1)];
    rows[at]?.classList.remove("at");
    next.classList.add("at");
    (next.querySelector("a.open") || next.querySelector("a")).focus();
  }

  // How many rows are selected, beside the buttons for them or on them.
  function count() {
    for (const form of document.querySelectorAll("form:has(input[name=ids])")) {
      const chosen = form.querySelectorAll("input[name=ids]:checked").length, said = form.querySelector("[data-count]");
      if (said) said.textContent = chosen ? said.dataset.count.replace("{n}", chosen) : "";
      for (const each of form.querySelectorAll(".picked")) {
        each.textContent = chosen || "";
        each.parentNode.disabled = !chosen;
      }
    }
  }
  document.addEventListener("change", count);
  function choose(all) {
    const boxes = [...document.querySelectorAll(all ? "input[name=ids]" : "tr.at input[name=ids]")];
    const on = !boxes.every((box) => box.checked);
    for (const box of boxes) box.checked = on;
    count();
  }

  const keys = {
    "/": () => document.querySelector("input[type=search]").focus(),
    j: () => move(1),
    k: () => move(-1),
    x: () => choose(false),
    A: () => choose(true),
    r: () => { paused = !paused; show("live"); if (!paused) refresh(); },
    t: () => (document.querySelector("footer b ~ a.theme") || document.querySelector("footer a.theme"))?.click(),
    "?": () => openDialog([document.getElementById("keys").content.cloneNode(true)]),
  };
  document.addEventListener("keydown", (event) => {
    if (event.altKey || event.ctrlKey || event.metaKey || event.target.closest("input, textarea, select, dialog[open]")) {
      if (event.key === "Escape" && event.target.matches("input[type=search]")) event.target.blur();
      return;
    }
    const act = keys[event.key] || (/^[1-9]$/.test(event.key) &&
      (() => document.querySelector(`nav a[data-key="${event.key}"]`)?.click()));
    if (act) { event.preventDefault(); act(); }
  });

  localTimes(document);
  count();
  connect();
})();
