// Ribbons: a block for each chunk, opened by mouse or keyboard. Text of documents only ever becomes text of elements.
"use strict";

(() => {
  const SVG = "http://www.w3.org/2000/svg";
  const data = JSON.parse(document.getElementById("ribbons-data").textContent);
  const ROLES = ["meta", "negative", "document"];
  const META = 0, NEGATIVE = 1;
  const MANY = 100; // chunks that are too narrow for lines between them
  const HEIGHT = 40, BELOW = 10; // meta-chunks stand out by their height, too

  const number = (value) => value.toLocaleString("en-US");

  function element(name, attributes = {}, ...children) {
    const made = document.createElement(name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    made.append(...children);
    return made;
  }

  function chunksOf(sequence, texts) {
    return sequence.chunks.map(([role, text, group, rank, score, start, end]) => {
      const [documentId, position, content, leftOut] = texts[text];
      return { role, group, rank, score, start, end, documentId, position, content, leftOut };
    });
  }

  function named(chunk) {
    if (chunk.role === META) return `meta-chunk ${chunk.group + 1}`;
    if (chunk.role === NEGATIVE) return chunk.rank ? `negative of meta-chunk ${chunk.group + 1}, rank ${chunk.rank}` : `negative of meta-chunk ${chunk.group + 1}`;
    return `document ${chunk.group + 1}`;
  }

  function colour(chunk, highest) {
    if (chunk.role === META) return "var(--meta)";
    if (chunk.role !== NEGATIVE) return `var(--document-${chunk.group % 2})`;
    const share = chunk.rank ? Math.log2(chunk.rank) / Math.max(1, Math.log2(highest)) : 1;
    return `color-mix(in srgb, var(--near) ${Math.round(100 * (1 - share))}%, var(--far))`;
  }

  // The next (or the one before) of the same document: of meta-chunks, the next meta-chunk.
  function ofDocument(chunks, place, step) {
    const of = chunks[place];
    for (let at = place + step; at >= 0 && at < chunks.length; at += step) {
      if (chunks[at].documentId === of.documentId && chunks[at].role === of.role) return at;
    }
    return -1;
  }

  function nearestMeta(chunks, place, step) {
    for (let at = place + step; at >= 0 && at < chunks.length; at += step) if (chunks[at].role === META) return at;
    return -1;
  }

  function next(chunks, place, step) {
    return chunks[place].role === NEGATIVE ? nearestMeta(chunks, place, step) : ofDocument(chunks, place, step);
  }

  function ribbon(sequence, texts, label) {
    const chunks = chunksOf(sequence, texts);
    const highest = Math.max(1, ...chunks.map((chunk) => chunk.rank));
    const length = chunks[chunks.length - 1].end;
    const svg = document.createElementNS(SVG, "svg");
    const box = element("div", { class: "opened", "aria-live": "polite", hidden: "" });
    const attributes = { class: "ribbon", viewBox: `0 0 ${length} ${HEIGHT + BELOW}`, preserveAspectRatio: "none", tabindex: 0, role: "slider",
      "aria-label": label, "aria-valuemin": 1, "aria-valuemax": chunks.length, "aria-valuenow": 1, "aria-valuetext": named(chunks[0]) };
    for (const [key, value] of Object.entries(attributes)) svg.setAttribute(key, value);
    const blocks = chunks.map((chunk) => {
      const block = document.createElementNS(SVG, "rect");
      const meta = chunk.role === META;
      block.setAttribute("x", chunk.start);
      block.setAttribute("width", Math.max(1, chunk.end - chunk.start));
      block.setAttribute("y", meta ? 0 : BELOW);
      block.setAttribute("height", meta ? HEIGHT + BELOW : HEIGHT - BELOW);
      block.style.fill = colour(chunk, highest);
      if (meta) block.classList.add("meta");
      return block;
    });
    if (blocks.length > MANY) svg.classList.add("many");
    // However narrow they are, meta-chunks are seen: in front of their neighbours, and with a line of their own colour.
    svg.append(...blocks.filter((block) => !block.classList.contains("meta")), ...blocks.filter((block) => block.classList.contains("meta")));
    let chosen = -1;

    function show(place) {
      if (place < 0 || place >= chunks.length) return;
      if (chosen >= 0) blocks[chosen].classList.remove("chosen");
      chosen = place;
      const chunk = chunks[place];
      blocks[place].classList.add("chosen");
      svg.append(blocks[place]); // in front of its neighbours, for its outline
      svg.setAttribute("aria-valuenow", place + 1);
      svg.setAttribute("aria-valuetext", `${named(chunk)}, ${chunk.documentId}`);
      const facts = [["role", named(chunk)], ["document", chunk.documentId], ["chunk of it", String(chunk.position)],
        ["tokens", `${number(chunk.start)}–${number(chunk.end)}`], ["score", chunk.rank ? chunk.score.toFixed(4) : "none"]];
      const list = element("dl");
      for (const [name, value] of facts) list.append(element("div", {}, element("dt", {}, name), element("dd", {}, value)));
      const text = element("pre", { dir: "auto", tabindex: 0 }, chunk.content);
      const parts = [list, text];
      if (chunk.leftOut) parts.push(element("p", { class: "soft" }, `… and ${number(chunk.leftOut)} more characters, left out of this page`));
      const buttons = element("p", { class: "keys" });
      const what = chunk.role === META || chunk.role === NEGATIVE ? "meta-chunk" : "chunk of the document";
      for (const [step, words] of [[-1, `← ${what} before (p)`], [1, `next ${what} (n) →`]]) {
        const to = next(chunks, place, step);
        const button = element("button", { type: "button" }, words);
        button.disabled = to < 0;
        button.addEventListener("click", () => { show(to); svg.focus(); });
        buttons.append(button, " ");
      }
      box.replaceChildren(...parts, buttons);
      box.dataset.role = ROLES[chunk.role];
      box.hidden = false;
    }

    svg.addEventListener("click", (event) => {
      const place = blocks.indexOf(event.target);
      if (place >= 0) show(place);
    });
    svg.addEventListener("keydown", (event) => {
      if (event.ctrlKey || event.altKey || event.metaKey) return;
      const at = Math.max(0, chosen);
      const moves = { ArrowRight: at + (chosen >= 0), ArrowLeft: at - 1, Home: 0, End: chunks.length - 1, Enter: at, " ": at,
        n: next(chunks, at, 1), p: next(chunks, at, -1) };
      if (event.key === "Escape") {
        box.hidden = true;
      } else if (event.key in moves) {
        show(moves[event.key]);
      } else {
        return;
      }
      event.preventDefault();
    });
    return [svg, box];
  }

  document.querySelectorAll("[data-ribbons]").forEach((place) => {
    const dataset = data[Number(place.dataset.ribbons)];
    for (const sequence of dataset.sequences) {
      const about = sequence.topic ? `, ${sequence.topic}` : "";
      const title = element("h3", {}, sequence.id, element("span", { class: "soft" }, ` · begins with ${sequence.root}${about}`));
      place.append(title, ...ribbon(sequence, dataset.texts, `Chunks of ${sequence.id}`));
    }
  });
})();
