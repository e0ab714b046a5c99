// The booth: pictures side by side, put in order by drag, click or keyboard, or the best one taken by a click. The
// server says what is shown; order, ties and what can be undone live here until the vote is sent.
const LETTERS = "ABCDEFGH";
const GRACE_MS = 2000; // a click can be taken back so long
const AGAIN_MS = 2500; // without an answer for so long, what was sent is sent again
const DRAG_PX = 8; // less is a click
const TIE_PART = 0.25; // of a picture's width or height at either end: dropped there it goes beside, else it ties

export default function ({ parentElement, data, setTriggerValue }) {
  const host = parentElement.host ?? parentElement;
  const booth = (host.kwBooth ??= new Booth(parentElement));
  // Numbered, so that no act equals the one before it: an equal value is no change, and nobody would be told.
  booth.send = (act) => setTriggerValue("act", { ...act, n: ++booth.sent });
  booth.show(data);
  return () => booth.rest();
}

class Booth {
  constructor(root) {
    this.root = root;
    this.box = root.querySelector(".booth");
    this.live = root.querySelector(".live");
    this.dialog = root.querySelector("dialog");
    this.pictures = new Map(); // by matchup: what the server sends once
    this.media = new Map(); // by slot: nodes that stay what they are while all around them is drawn anew
    this.state = null;
    this.drawn = null; // what is shown, in one string
    this.hasActed = false; // the reader, who waits for what comes of it
    this.timer = 0;
    this.sent = 0;
    this.dialog.addEventListener("keydown", (event) => this.turn({ ArrowLeft: -1, ArrowRight: 1 }[event.key]));
    this.dialog.addEventListener("close", () => this.state?.opener?.focus());
    this.box.addEventListener("keydown", (event) => this.nextByKey(event));
  }

  rest() {
    clearTimeout(this.timer);
  }

  show(data) {
    clearTimeout(this.timer);
    this.data = data;
    keepCookie(data.cookie);
    if (data.matchup && data.pictures) this.pictures = new Map([[data.matchup, data.pictures]]);
    if (data.matchup && !this.pictures.has(data.matchup)) return this.ask({ act: "resend" });
    if (data.poll_ms) this.timer = setTimeout(() => this.ask({ act: "look" }), data.poll_ms);
    const isNew = data.matchup && this.state?.matchup !== data.matchup;
    if (isNew) this.begin(data);
    if (data.stage !== "vote") this.cancel();
    if (this.drawn === shownOf(data)) return; // drawn anew, a click that has begun would be lost, and all said again
    this.draw();
    if (isNew || data.stage === "done" || data.trouble?.retry === false) this.goOn(isNew ? ".prompt" : ".send");
  }

  /** Gives the focus to what comes after an act of the reader, unless they are elsewhere by now. */
  goOn(where) {
    if (this.hasActed && document.activeElement === document.body) this.root.querySelector(where)?.focus({ preventScroll: true });
    this.hasActed = false;
  }

  /** Sends an act; again, if no answer comes: what is sent while the server is busy may be lost. */
  ask(act) {
    clearTimeout(this.timer);
    if (!this.box.isConnected) return; // the reader has left the page: what was chosen at last is not sent
    this.send(act);
    this.timer = setTimeout(() => this.ask(act), AGAIN_MS);
  }

  begin(data) {
    this.cancel();
    this.media.clear();
    if (this.dialog.open) this.dialog.close();
    const slots = data.slots.map((slot) => slot.slot);
    const modes = ["rank", "best"].filter((mode) => data.modes.includes(mode));
    const kept = recall("kwise-mode");
    this.state = {
      matchup: data.matchup, order: slots, tied: slots.map(() => false), placed: 0, undo: [], began: performance.now(),
      mode: modes.includes(kept) ? kept : modes[0], modes, pending: null, sent: null, opener: null, said: "",
    };
    this.say(`New matchup of ${slots.length}. ${data.prompt ? "Prompt: " + data.prompt : ""}`);
  }

  // ------------------------------------------------------------------------------------------ what the voter does

  /** Changes order and ties, so that it can be undone. `change` gets a copy of the state. */
  edit(slot, change) {
    const before = { order: [...this.state.order], tied: [...this.state.tied], placed: this.state.placed };
    const after = { order: [...before.order], tied: [...before.tied], placed: before.placed };
    change(after);
    after.tied[0] = false;
    if (JSON.stringify(after) === JSON.stringify(before)) return;
    this.cancel(); // who goes on has not meant it
    this.state.undo.push(before);
    Object.assign(this.state, after);
    this.draw();
    const isWhole = after.placed === after.order.length && before.placed < after.placed;
    this.say(`Picture ${LETTERS[slot]}: ${this.placeInWords(slot)}.${isWhole ? " All have a place: send it, or change it." : ""}`);
  }

  /** Gives the next place to a picture: the order by clicks, best first. */
  pick(slot) {
    this.edit(slot, (s) => {
      const at = s.order.indexOf(slot);
      s.order.splice(at, 1);
      s.order.splice(s.placed, 0, slot);
      placeUpTo(s, s.placed + 1);
    });
  }

  /** Moves a picture by one place, past those that tie with its neighbour; out of its own tie first. */
  move(slot, step) {
    this.edit(slot, (s) => {
      const groups = groupsOf(s);
      const at = groups.findIndex((group) => group.includes(slot));
      if (groups[at].length > 1) {
        groups[at] = groups[at].filter((each) => each !== slot);
        groups.splice(step < 0 ? at : at + 1, 0, [slot]);
      } else {
        const to = at + step;
        if (to < 0 || to >= groups.length) return;
        [groups[at], groups[to]] = [groups[to], groups[at]];
      }
      setGroups(s, groups, slot);
    });
  }

  /** Ties a picture with the one before it, or parts them again. */
  tie(slot) {
    this.edit(slot, (s) => {
      const at = s.order.indexOf(slot);
      if (at > 0) {
        s.tied[at] = !s.tied[at];
        placeUpTo(s, at + 1);
      }
    });
  }

  /** Drops a picture beside another, or on it: then they tie. */
  drop(slot, target) {
    this.edit(slot, (s) => {
      const groups = groupsOf(s).map((group) => group.filter((each) => each !== slot)).filter((group) => group.length);
      const at = groups.findIndex((group) => group.includes(target.slot));
      if (target.where === "on") groups[at].push(slot);
      else groups.splice(target.where === "before" ? at : at + 1, 0, [slot]);
      setGroups(s, groups, slot);
    });
  }

  undo() {
    const state = this.state;
    if (state.pending) {
      this.cancel();
      this.draw();
      this.say("Taken back.");
      this.focusPrompt();
      return;
    }
    if (!state.undo.length) return;
    Object.assign(state, state.undo.pop());
    this.draw();
    this.say("Taken back.");
    if (!state.undo.length) this.focusPrompt();
  }

  /** Gives the focus to where all begins, and where Enter does nothing. */
  focusPrompt() {
    this.root.querySelector(".prompt")?.focus({ preventScroll: true });
  }

  /** Chooses an answer of one click. By mouse or touch it goes after a moment; by keyboard when it is sent. */
  choose(mode, slot, byPointer) {
    this.cancel();
    if (this.dialog.open) this.dialog.close();
    this.state.pending = { mode, slot, byPointer };
    this.draw();
    const what = { best: `Best: picture ${LETTERS[slot]}.`, all_bad: "All bad.", skip: "Skip." }[mode];
    this.say(`${what} ${byPointer ? "It is sent in two seconds, unless you undo." : "Send it, or undo."}`);
    if (byPointer) this.state.pending.timer = setTimeout(() => this.submit(), GRACE_MS);
    else this.root.querySelector(".send")?.focus();
  }

  cancel() {
    if (!this.state) return;
    clearTimeout(this.state.pending?.timer);
    this.state.pending = null;
  }

  submit() {
    const { pending, matchup, began } = this.state;
    const mode = pending?.mode ?? "rank";
    const ranks = mode === "rank" ? ranksOf(this.state) : mode === "best" ? this.data.slots.map((slot) => (slot.slot === pending.slot ? 1 : null)) : null;
    this.state.sent = { mode, slot: pending?.slot };
    this.hasActed = true;
    this.cancel();
    this.data = { ...this.data, stage: "sending" };
    this.draw();
    this.say("Sending.");
    this.ask({ act: "vote", matchup, mode, ranks, duration_ms: Math.round(performance.now() - began) });
  }

  next() {
    this.hasActed = true;
    this.data = { ...this.data, stage: "leaving" };
    this.draw();
    this.ask({ act: "next", matchup: this.data.matchup });
  }

  nextByKey(event) {
    if (event.key !== "n" || event.ctrlKey || event.metaKey || event.altKey || this.data?.stage !== "done") return;
    this.next();
  }

  setMode(mode) {
    this.say(this.state.pending ? "Taken back." : "");
    this.cancel();
    this.state.mode = mode;
    remember("kwise-mode", mode);
    this.draw();
    this.root.querySelector(`.modes input[value="${mode}"]`)?.focus();
  }

  // ------------------------------------------------------------------------------------------ what is drawn

  draw() {
    const { data } = this;
    this.drawn = shownOf(data);
    const focused = this.noteFocus();
    const moved = [...this.media.values()].map(noteMotion);
    this.box.dataset.stage = data.stage;
    this.box.setAttribute("aria-busy", String(["wait", "sending", "leaving"].includes(data.stage)));
    const parts = [];
    if (data.trouble) parts.push(this.drawTrouble());
    if (data.matchup) parts.push(...this.drawMatchup());
    else if (data.stage === "wait") parts.push(this.drawWait());
    this.box.replaceChildren(...parts);
    moved.forEach((restore) => restore());
    this.restoreFocus(focused);
    if (data.stage === "done") this.tellResult();
  }

  drawTrouble() {
    const { title, text, retry } = this.data.trouble;
    const box = make("section", { class: "notice", role: "alert" }, make("h2", {}, title), make("p", {}, text));
    if (!retry) box.append(this.button("Next matchup", "next send", () => this.next()));
    return box;
  }

  drawWait() {
    const isOwn = this.data.own;
    const cards = [0, 1, 2, 3].map(() => make("li", { class: "card", "aria-hidden": "true" }, make("div", { class: "picture ghost" })));
    const text = isOwn ? "Pictures are being made for your prompt. This takes as long as the models take." : "Pictures are being made. They are shown as soon as all are ready.";
    this.say(text);
    const box = make("div", {}, make("p", { class: "hint" }, text), make("ol", { class: "cards", style: "--count:4" }, ...cards));
    if (isOwn) box.append(make("div", { class: "actions" }, this.button("Vote on others instead", "other", () => this.next())));
    return box;
  }

  drawMatchup() {
    const { data, state } = this;
    const isOpen = data.stage === "vote";
    const head = make("div", { class: "head" }, make("p", { class: "prompt", tabindex: "-1" }, make("span", {}, "Prompt"), data.prompt ?? "without a prompt"));
    if (isOpen && state.modes.length > 1) head.append(this.drawModes());
    const order = state.mode === "best" || (data.stage === "done" && data.reveal && state.sent?.mode !== "rank") ? data.slots.map((slot) => slot.slot) : state.order;
    const list = make("ol", { class: "cards", style: `--count:${order.length}` }, ...order.map((slot) => this.drawCard(slot, isOpen)));
    return [head, make("p", { class: "hint" }, this.hint()), list, this.drawActions()];
  }

  hint() {
    const { state, data } = this;
    if (data.stage === "done") return this.resultInWords();
    if (data.trouble) return data.trouble.retry ? "Your vote is kept here, and goes again by itself." : "";
    if (data.stage !== "vote") return data.stage === "leaving" ? "One moment …" : "Sending your vote …";
    if (state.mode === "best") return "Which is best? One click is a vote.";
    if (!state.placed) return "Which is best, which comes next? Click them in order, or drag them; dropped on each other, they tie.";
    return state.placed < state.order.length ? "And next?" : "Best first. Move pictures until the order is yours, then send it.";
  }

  drawModes() {
    const box = make("fieldset", { class: "modes" }, make("legend", { class: "said" }, "How to vote"));
    for (const mode of this.state.modes) {
      const input = make("input", { type: "radio", name: "mode", value: mode });
      input.checked = mode === this.state.mode;
      input.onchange = () => this.setMode(mode);
      box.append(make("label", {}, input, make("span", {}, mode === "rank" ? "Rank all" : "Best only")));
    }
    return box;
  }

  drawCard(slot, isOpen) {
    const { state, data } = this;
    const name = `Picture ${LETTERS[slot]}`;
    const isRank = state.mode === "rank";
    const card = make("li", { class: "card", "data-slot": slot });
    card.append(this.drawPicture(slot, name));
    card.append(make("span", { class: "letter", "aria-hidden": "true" }, LETTERS[slot]));
    const place = this.place(slot);
    if (place) card.append(make("span", { class: place.tied ? "place tied" : "place", "aria-hidden": "true" }, place.text));
    if (state.pending?.slot === slot || (data.stage !== "vote" && state.sent?.slot === slot)) card.classList.add("chosen");
    if (data.stage === "done") card.append(this.drawReveal(slot));
    if (isOpen && isRank) this.armCard(card, slot, name);
    if (isOpen && isRank) card.append(this.drawTools(slot, name));
    if (isOpen && !isRank) card.append(make("div", { class: "tools" }, this.button("Best", "pick", (event) => this.choose("best", slot, event.detail > 0), `${name} is best`)));
    return card;
  }

  drawPicture(slot, name) {
    if (!this.media.has(slot)) this.media.set(slot, this.makePicture(slot, name));
    return this.media.get(slot);
  }

  makePicture(slot, name) {
    const source = this.pictures.get(this.data.matchup)?.[slot];
    const kind = this.data.slots[slot].media_type ?? "";
    if (!source) return make("div", { class: "picture none" }, make("p", {}, "The model would not answer this prompt."));
    if (kind.startsWith("text/")) return make("div", { class: "picture text", tabindex: "0", role: "region", "aria-label": name }, make("pre", {}, decodeText(source)));
    if (kind.startsWith("video/")) {
      const film = make("video", { src: source, controls: "", loop: "", playsinline: "", "aria-label": name });
      film.muted = true;
      return make("div", { class: "picture" }, film);
    }
    const look = make("button", { type: "button", class: "picture", "aria-label": `${name}, show it large` }, make("img", { src: source, alt: "", draggable: "false" }));
    look.onclick = () => this.enlarge(slot, look);
    return look;
  }

  drawTools(slot, name) {
    const { state } = this;
    const tools = make("div", { class: "tools" });
    const at = state.order.indexOf(slot);
    if (at >= state.placed) {
      const text = `Make it ${ordinal(state.placed + 1)}`;
      tools.append(this.button(text, "pick", () => this.pick(slot), `${text}: ${name}`));
    } else {
      const tied = state.tied[at];
      const isFirst = groupsOf(state)[0][0] === slot && groupsOf(state)[0].length === 1;
      const isLast = groupsOf(state).at(-1).length === 1 && groupsOf(state).at(-1)[0] === slot;
      const better = this.button("←", "step", () => this.move(slot, -1), `${name}: better`);
      const tie = this.button("=", "step", () => this.tie(slot), tied ? `${name}: no tie with the one before` : `${name}: tie with the one before`);
      const worse = this.button("→", "step", () => this.move(slot, 1), `${name}: worse`);
      better.disabled = isFirst;
      tie.disabled = at === 0;
      tie.setAttribute("aria-pressed", String(tied));
      worse.disabled = isLast;
      tools.append(better, tie, worse);
    }
    tools.append(make("span", { class: "grip", "aria-hidden": "true" }, "⠿"));
    return tools;
  }

  drawActions() {
    const { data, state } = this;
    const box = make("div", { class: "actions" });
    if (data.stage === "done") box.append(this.button("Next matchup", "send", () => this.next()));
    if (data.stage !== "vote") return box;
    if (state.pending) {
      const { mode, slot, byPointer } = state.pending;
      const what = { best: `Best: ${LETTERS[slot]}`, all_bad: "All bad", skip: "Skip" }[mode];
      box.append(make("span", { class: byPointer ? "chosen-words soon" : "chosen-words" }, what), this.button("Send now", "send", () => this.submit()), this.button("Undo", "undo", () => this.undo()));
      return box;
    }
    if (state.mode === "rank") {
      const send = this.button("Send", "send", () => this.submit());
      send.disabled = state.placed < state.order.length;
      const undo = this.button("Undo", "undo", () => this.undo());
      undo.disabled = !state.undo.length;
      box.append(send, undo);
    }
    const rest = make("span", { class: "rest" });
    if (data.modes.includes("all_bad")) rest.append(this.button("All bad", "other", (event) => this.choose("all_bad", null, event.detail > 0)));
    if (data.modes.includes("skip")) rest.append(this.button("Skip", "other", (event) => this.choose("skip", null, event.detail > 0)));
    box.append(rest);
    return box;
  }

  drawReveal(slot) {
    const model = this.data.reveal.models.find((each) => each.slot === slot);
    const box = make("div", { class: "reveal" });
    if (!model) return box;
    const link = make("a", { href: `model?${new URLSearchParams({ arena: this.data.arena, model: model.model })}`, "data-kw-page": "model" }, model.name ?? model.model);
    box.append(make("b", {}, link));
    if (model.organization) box.append(make("span", { class: "muted" }, model.organization));
    box.append(make("span", { class: "moved" }, this.movedInWords(model)));
    return box;
  }

  // ------------------------------------------------------------------------------------------ drag

  armCard(card, slot, name) {
    card.tabIndex = 0;
    card.setAttribute("aria-label", `${name}, ${this.placeInWords(slot)}`);
    card.onkeydown = (event) => {
      if (event.target !== card) return;
      const step = { ArrowLeft: -1, ArrowUp: -1, ArrowRight: 1, ArrowDown: 1 }[event.key];
      if (step) this.move(slot, step);
      else if (event.key === "=" || event.key === "t") this.tie(slot);
      else if ((event.key === "Enter" || event.key === " ") && this.state.order.indexOf(slot) >= this.state.placed) this.pick(slot);
      else return;
      event.preventDefault();
    };
    card.onpointerdown = (event) => {
      if (event.button || !event.isPrimary) return;
      const target = event.composedPath()[0];
      // A finger on a picture scrolls the page; on the grip it drags. A mouse drags anywhere but on buttons with words.
      if (event.pointerType === "touch" ? !target.closest(".grip") : target.closest(".step, .pick")) return;
      this.startDrag(event, card, slot);
    };
  }

  startDrag(start, card, slot) {
    const places = [...this.root.querySelectorAll(".card")].filter((each) => each !== card).map((each) => ({ node: each, slot: Number(each.dataset.slot), box: each.getBoundingClientRect() }));
    const scroll = { x: window.scrollX, y: scrolled(card) };
    let isDragged = false;
    let target = null;
    const clear = () => places.forEach(({ node }) => node.classList.remove("before", "after", "on"));
    const move = (event) => {
      const dx = event.clientX - start.clientX;
      const dy = event.clientY - start.clientY;
      if (!isDragged && Math.hypot(dx, dy) < DRAG_PX) return;
      if (!isDragged) {
        isDragged = true;
        card.setPointerCapture(start.pointerId);
        card.classList.add("dragged");
      }
      event.preventDefault();
      card.style.transform = `translate(${dx}px, ${dy}px)`;
      clear();
      target = findTarget(places, event.clientX, event.clientY + scrolled(card) - scroll.y);
      if (target) target.node.classList.add(target.where);
    };
    const end = (event) => {
      card.removeEventListener("pointermove", move);
      card.removeEventListener("pointerup", end);
      card.removeEventListener("pointercancel", end);
      card.classList.remove("dragged");
      card.style.transform = "";
      clear();
      if (!isDragged) return;
      // The click that follows a drag of the mouse is none.
      card.addEventListener("click", (click) => (click.preventDefault(), click.stopPropagation()), { capture: true, once: true });
      setTimeout(() => {
        if (event.type === "pointerup" && target) this.drop(slot, target);
      });
    };
    card.addEventListener("pointermove", move);
    card.addEventListener("pointerup", end);
    card.addEventListener("pointercancel", end);
  }

  // ------------------------------------------------------------------------------------------ large

  enlarge(slot, opener) {
    this.state.opener = opener ?? this.state.opener;
    this.large = slot;
    const source = this.pictures.get(this.data.matchup)[slot];
    const name = `Picture ${LETTERS[slot]}`;
    const close = this.button("Close", "close", () => this.dialog.close());
    const bar = make("div", { class: "bar" }, this.button("←", "step back", () => this.turn(-1), "Picture before"), make("b", {}, name), this.button("→", "step on", () => this.turn(1), "Next picture"), close);
    const image = make("img", { src: source, alt: name });
    image.onclick = () => this.dialog.close();
    this.dialog.replaceChildren(bar, image);
    this.dialog.setAttribute("aria-label", `${name}, large`);
    if (!this.dialog.open) this.dialog.showModal();
  }

  turn(step) {
    if (!step || !this.dialog.open) return;
    const all = this.data.slots.map((slot) => slot.slot).filter((slot) => (this.data.slots[slot].media_type ?? "").startsWith("image/"));
    this.enlarge(all[(all.indexOf(this.large) + step + all.length) % all.length]);
    this.dialog.querySelector(step < 0 ? ".back" : ".on")?.focus();
  }

  // ------------------------------------------------------------------------------------------ words

  place(slot) {
    const { state, data } = this;
    const isRank = state.sent ? state.sent.mode === "rank" : state.mode === "rank";
    if (data.stage === "done" ? state.sent?.mode !== "rank" : !isRank) return null;
    if (state.order.indexOf(slot) >= state.placed) return null;
    const group = groupsOf(state).find((each) => each.includes(slot));
    return { text: `${group.length > 1 ? "=" : ""}${ranksOf(state)[slot]}`, tied: group.length > 1 };
  }

  placeInWords(slot) {
    const { state } = this;
    const at = state.order.indexOf(slot);
    if (at >= state.placed) return `no place yet; Enter makes it ${ordinal(state.placed + 1)}`;
    const others = groupsOf(state).find((each) => each.includes(slot)).filter((each) => each !== slot);
    const tie = others.length ? `, tied with ${others.map((each) => LETTERS[each]).join(" and ")}` : "";
    return `place ${ranksOf(state)[slot]} of ${state.order.length}${tie}`;
  }

  resultInWords() {
    const { data } = this;
    if (this.isSkipped) return "You have passed on this one. These were the models:";
    if (data.reveal?.in_board) return "Your vote is on the board. These were the models:";
    return data.waiting ? "Your vote is in. The board follows in a moment; these were the models:" : "Your vote is in, and the board has not caught up yet. These were the models:";
  }

  tellResult() {
    const { data, state } = this;
    const key = `${state.matchup} ${data.reveal.in_board}`;
    if (state.said === key) return;
    state.said = key;
    const isTold = data.reveal.in_board && !this.isSkipped;
    const names = data.reveal.models.map((each) => `${LETTERS[each.slot]} was ${each.name ?? each.model}${isTold ? ", " + this.movedInWords(each) : ""}`);
    this.say(`${this.isSkipped ? "Passed. " : isTold ? "The board has your vote. " : "Your vote is in. "}${names.join("; ")}.`);
  }

  get isSkipped() {
    return this.state.sent?.mode === "skip";
  }

  movedInWords(model) {
    // Who passes moves nothing.
    return movedInWords(model, this.isSkipped ? { reveal: { in_board: false }, waiting: false } : this.data);
  }

  say(text) {
    this.live.textContent = text;
  }

  /** Returns what has the focus, in words that find it again after all has been drawn anew. */
  noteFocus() {
    const node = this.root.activeElement;
    if (!node || !this.box.contains(node)) return null;
    return { slot: node.closest(".card")?.dataset.slot, kind: node.classList[0] ?? node.localName, label: labelOf(node) };
  }

  /** Gives the focus back: to the same button, else to one of its kind, else to its picture. */
  restoreFocus(focused) {
    if (!focused) return;
    const card = focused.slot === undefined ? null : this.root.querySelector(`.card[data-slot="${focused.slot}"]`);
    const near = [...(card ?? this.box).querySelectorAll("button, a, input, [tabindex]")].filter((node) => !node.disabled);
    const same = near.find((node) => labelOf(node) === focused.label) ?? near.find((node) => node.classList[0] === focused.kind);
    (focused.kind === "card" ? card : same ?? card)?.focus({ preventScroll: true });
  }

  button(text, kind, act, label) {
    const button = make("button", { type: "button", class: kind }, text);
    if (label) button.setAttribute("aria-label", label);
    button.onclick = act;
    return button;
  }
}

// ---------------------------------------------------------------------------------------------- without the page

function groupsOf({ order, tied }) {
  const groups = [];
  order.forEach((slot, at) => (at && tied[at] ? groups.at(-1).push(slot) : groups.push([slot])));
  return groups;
}

/** Puts groups in this order. The slot that moved has a place then, and all that lies before it. */
function setGroups(state, groups, moved) {
  const placed = new Set([...state.order.slice(0, state.placed), moved]);
  state.order = groups.flat();
  state.tied = groups.flatMap((group) => group.map((_, at) => at > 0));
  placeUpTo(state, state.order.findLastIndex((slot) => placed.has(slot)) + 1);
}

/** Gives places to the first `count`, and to what ties with them; the last one left has the last place. */
function placeUpTo(state, count) {
  state.placed = Math.max(state.placed, count);
  while (state.tied[state.placed]) state.placed += 1;
  if (state.placed >= state.order.length - 1) state.placed = state.order.length;
}

/** Returns ranks by slot; tied pictures share the best of their places. */
function ranksOf(state) {
  const ranks = [];
  let place = 1;
  for (const group of groupsOf(state)) {
    group.forEach((slot) => (ranks[slot] = place));
    place += group.length;
  }
  return ranks;
}

/** Returns the nearest picture, and whether a drop there ties with it or goes before or after it. */
function findTarget(places, x, y) {
  const near = places
    .map((place) => ({ ...place, away: Math.hypot(x - (place.box.left + place.box.width / 2), y - (place.box.top + place.box.height / 2)) }))
    .sort((a, b) => a.away - b.away)[0];
  if (!near || near.away > 1.2 * Math.max(near.box.width, near.box.height)) return null;
  const part = (x - near.box.left) / near.box.width;
  return { ...near, where: part < TIE_PART ? "before" : part > 1 - TIE_PART ? "after" : "on" };
}

function labelOf(node) {
  return node.getAttribute("aria-label") ?? (node.localName === "input" ? node.value : node.textContent);
}

function scrolled(node) {
  return node.closest?.("[data-testid=stMain]")?.scrollTop ?? node.getRootNode().host?.closest("[data-testid=stMain]")?.scrollTop ?? 0;
}

function movedInWords(model, { reveal, waiting }) {
  const now = (rating) => (rating == null ? "" : `, rating ${Math.round(rating).toLocaleString("en")}`);
  if (!reveal.in_board) return model.rank_before == null ? "new" : `rank ${model.rank_before}${now(model.rating_before)}${waiting ? " …" : ""}`;
  if (model.rank_after == null) return "not on the board";
  if (model.rank_before == null) return `new on rank ${model.rank_after}${now(model.rating_after)}`;
  const by = model.rank_before - model.rank_after;
  const rank = by ? `rank ${model.rank_before} → ${model.rank_after}` : `rank ${model.rank_after}, as before`;
  if (model.rating_after == null) return rank;
  const change = model.rating_before == null ? 0 : Math.round(model.rating_after) - Math.round(model.rating_before);
  return `${rank}${now(model.rating_after)}${change ? ` (${change > 0 ? "+" : "−"}${Math.abs(change)})` : ""}`;
}

function ordinal(place) {
  return `${place}${["th", "st", "nd", "rd"][place] ?? "th"}`;
}

/** Returns what a view shows: two that differ in the rest only look the same. */
function shownOf({ taken, cookie, poll_ms, pictures, ...shown }) {
  return JSON.stringify(shown);
}

/** Notes how far a text is scrolled, and whether a film plays; returns what restores it once the node is back. */
function noteMotion(node) {
  const top = node.scrollTop;
  const film = node.querySelector("video");
  const isPlaying = film !== null && !film.paused;
  return () => {
    node.scrollTop = top;
    if (isPlaying) film.play().catch(() => {}); // its node has gone again
  };
}

function decodeText(source) {
  return new TextDecoder().decode(Uint8Array.from(atob(source.split(",")[1]), (char) => char.charCodeAt(0)));
}

function make(tag, attributes, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children);
  return node;
}

/** Keeps who this voter is, so that the arena knows them again; it is the gateway's own cookie. */
function keepCookie(value) {
  if (!value || document.cookie.includes(`kwise_voter=${value}`)) return;
  const secure = location.protocol === "https:" ? "; secure" : "";
  document.cookie = `kwise_voter=${value}; path=/; max-age=${400 * 86_400}; samesite=lax${secure}`;
}

function recall(name) {
  try { return localStorage.getItem(name); } catch { return null; }
}

function remember(name, value) {
  try { localStorage.setItem(name, value); } catch { /* private windows may not keep anything */ }
}
