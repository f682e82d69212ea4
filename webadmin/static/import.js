// Sends the files of an import in pieces. Where the connection is cut, or the archive has to read the files before, it
// waits and goes on; a file that is chosen again after the page was closed goes on where it was.
"use strict";

(() => {
  const panel = document.querySelector("[data-import]");
  if (!panel) return;

  const MB = 1024 * 1024;
  const SMALLEST = MB / 4;
  const LARGEST = 4 * MB; // of one request, as the server takes it
  const QUICK = 700; // milliseconds of a request, under which the next one is larger
  const SLOW = 4000; // over which it is smaller
  const PATIENCE = 120_000; // milliseconds for one request
  const LONGEST_WAIT = 5000; // between two tries
  const TRIES = 3; // of a file that does not arrive as it is
  const HEAD = 64 * 1024; // first bytes by which a file is known again

  const base = panel.dataset.import;
  const words = panel.querySelector("[data-upload-words]");
  const list = panel.querySelector("[data-uploads]");
  const chooser = panel.querySelector("[data-files]");
  const drop = panel.querySelector("[data-drop]");
  const password = panel.querySelector("#f-upload-password");
  const queue = [];
  let busy = false;

  class Refused extends Error {
    constructor(status, message) {
      super(message);
      this.status = status;
    }
  }

  const pause = (milliseconds) => new Promise((resolve) => {
    const timer = setTimeout(resolve, milliseconds);
    addEventListener("online", () => { clearTimeout(timer); resolve(); }, { once: true });
  });

  function say(text) {
    words.textContent = text;
    words.hidden = !text;
  }

  // -- asking the server ---------------------------------------------------------------------------------------

  async function once(path, options) {
    const answer = await fetch(`${base}${path}`, {
      redirect: "manual", signal: AbortSignal.timeout(PATIENCE), ...options,
      headers: { "x-form-token": panel.dataset.token, ...options.headers },
    });
    if (answer.type === "opaqueredirect" || answer.status === 401 || answer.status === 403) {
      throw new Refused(403, "You are signed out by now. Sign in, open this page again and choose the same files: they go on where they were.");
    }
    if (answer.ok) return answer.json();
    const said = await answer.json().catch(() => ({}));
    throw new Refused(answer.status, said.message ?? `The server answered ${answer.status}.`);
  }

  // The answer, however long it takes: without a connection, and while the server asks for patience.
  async function ask(path, options = {}) {
    for (let wait = 500; ; wait = Math.min(wait * 2, LONGEST_WAIT)) {
      try {
        const answer = await once(path, options);
        say("");
        return answer;
      } catch (error) {
        if (error instanceof Refused && ![429, 502, 503, 504].includes(error.status)) throw error;
        say(error instanceof Refused ? `${error.message} It goes on by itself.`
          : "There is no connection to the archive. It goes on as soon as there is one.");
        await pause(wait);
      }
    }
  }

  const tell = (path, value) => ask(path, {
    method: "POST", body: JSON.stringify(value), headers: { "content-type": "application/json" },
  });

  // -- one file ------------------------------------------------------------------------------------------------

  const bytesOf = async (file, from, to) => {
    try {
      return new Uint8Array(await file.slice(from, to).arrayBuffer());
    } catch {
      throw new Refused(0, "It cannot be read: it is a folder, was changed, or is gone. Choose it again; a folder comes as a ZIP file.");
    }
  };

  // What a file is known again by beside its name and size, for as long as it has not arrived.
  const keyOf = (number) => `mailkeep-import ${base} ${number}`;

  async function headOf(file) {
    const hash = new Sha256();
    hash.update(await bytesOf(file, 0, HEAD));
    return hash.hex();
  }

  async function wholeOf({ file, show }) {
    const hash = new Sha256();
    for (let at = 0; at < file.size; at += LARGEST) {
      hash.update(await bytesOf(file, at, at + LARGEST));
      show("being compared with what is here", Math.min(at + LARGEST, file.size) / file.size);
    }
    return hash.hex();
  }

  // The file as the archive knows it: one that was begun before, else a new one. Null where it is here already.
  async function known(entry) {
    const { file } = entry;
    const { files } = await ask("/files");
    const same = files.filter((one) => one.name === file.name && one.size === file.size);
    const head = await headOf(file);
    for (const one of same.filter((other) => other.state === "arriving")) {
      const before = localStorage.getItem(keyOf(one.number));
      if (!before || before === head) return one;
    }
    if (same.some((one) => one.sha256)) {
      const whole = await wholeOf(entry);
      if (same.some((one) => one.sha256 === whole)) return null;
    }
    const made = await register(entry);
    localStorage.setItem(keyOf(made.number), head);
    return made;
  }

  // Saying that a file is to come is the one thing that must not be said twice: where the answer was lost, the archive
  // is asked which files it has.
  async function register({ file, password: secret }) {
    const body = JSON.stringify({ name: file.name, size: file.size, password: secret });
    const had = new Set((await ask("/files")).files.map((one) => one.number));
    for (;;) {
      try {
        const made = await once("/files", { method: "POST", body, headers: { "content-type": "application/json" } });
        say("");
        return made;
      } catch (error) {
        if (error instanceof Refused && ![429, 502, 503, 504].includes(error.status)) throw error;
        say(error instanceof Refused ? error.message : "There is no connection to the archive. It goes on as soon as there is one.");
        await pause(2000);
        const made = (await ask("/files")).files.find((one) => !had.has(one.number) && one.name === file.name);
        if (made) return made;
      }
    }
  }

  async function send(entry) {
    const { file } = entry;
    entry.show("", 0);
    if (!file.size) throw new Refused(0, "It is empty.");
    let one = await known(entry);
    for (let left = TRIES; one; left -= 1) {
      try {
        await sendBytes(entry, one);
        localStorage.removeItem(keyOf(one.number));
        break;
      } catch (error) {
        if (!(error instanceof Refused) || error.status !== 409 || left === 1) throw error;
        const { number } = one;
        one = (await ask("/files")).files.find((other) => other.number === number);
        if (!one || one.state !== "arriving") {
          if (one && ["waiting", "running", "done"].includes(one.state)) break; // only the answer was lost
          throw error;
        }
      }
    }
    entry.show("here", 1, "tag-good");
  }

  // Bytes that belong at a place. A request whose answer was lost may still be at work: then it is looked how far it came.
  async function put(number, at, bytes) {
    for (let left = TRIES; ; left -= 1) {
      try {
        const answer = await ask(`/files/${number}/bytes?offset=${at}`, {
          method: "POST", body: bytes, headers: { "content-type": "application/octet-stream" },
        });
        if (answer.arrived >= at + bytes.length) return;
        throw new Refused(409, "Bytes of it are missing.");
      } catch (error) {
        if (!(error instanceof Refused) || error.status !== 409) throw error;
        await pause(1000);
        const now = (await ask("/files")).files.find((one) => one.number === number);
        if (now?.arrived >= at + bytes.length) return;
        if (left === 1 || now?.state !== "arriving" || now.arrived < at) throw error;
      }
    }
  }

  async function sendBytes(entry, { number, arrived }) {
    const { file } = entry;
    const hash = new Sha256();
    const begun = performance.now();
    const before = arrived;
    let size = MB;
    for (let at = 0; at < file.size;) {
      const end = Math.min(at < arrived ? Math.min(arrived, at + LARGEST) : at + size, file.size);
      const bytes = await bytesOf(file, at, end);
      hash.update(bytes);
      if (at < arrived) {
        entry.show("being compared with what is here", end / file.size);
      } else {
        const sent = performance.now();
        await put(number, at, bytes);
        const took = performance.now() - sent;
        if (took < QUICK) size = Math.min(size * 2, LARGEST);
        if (took > SLOW) size = Math.max(size / 2, SMALLEST);
        const rate = (end - before) / (performance.now() - begun) * 1000;
        entry.show(`${inWords(end)} of ${inWords(file.size)}, ${inWords(rate)} a second`, end / file.size);
      }
      at = end;
    }
    await tell(`/files/${number}/arrived`, { sha256: hash.hex() });
  }

  function inWords(count) {
    const units = ["bytes", "KB", "MB", "GB", "TB"];
    let unit = 0;
    let value = count;
    for (; value >= 1024 && unit < units.length - 1; unit += 1) value /= 1024;
    return `${unit && value < 10 ? value.toFixed(1) : Math.round(value)} ${units[unit]}`;
  }

  // -- all of them ---------------------------------------------------------------------------------------------

  function listed(file) {
    const item = document.createElement("li");
    const name = document.createElement("b");
    const state = document.createElement("span");
    const bar = document.createElement("progress");
    name.textContent = file.name;
    state.textContent = `${inWords(file.size)}, waits`;
    bar.max = 1;
    bar.value = 0;
    bar.setAttribute("aria-label", file.name);
    item.append(name, state, bar);
    list.append(item);
    return {
      file,
      password: password.value,
      show(text, share, kind = "") {
        state.textContent = text;
        state.className = kind && `tag ${kind}`;
        bar.value = share;
        bar.hidden = share === 1;
      },
      fail(text) {
        item.className = "upload-bad";
        state.textContent = text;
        bar.hidden = true;
      },
    };
  }

  async function work() {
    if (busy) return;
    busy = true;
    let failed = false;
    while (queue.length) {
      const entry = queue.shift();
      try {
        await send(entry);
      } catch (error) {
        failed = true;
        entry.fail(error.message);
      }
    }
    if (!failed) await complete();
    busy = false;
  }

  // All that was chosen is here: the import needs no more, unless something that was begun before is missing.
  async function complete() {
    const { state, files } = await ask("/files");
    const missing = files.filter((one) => one.state === "arriving");
    if (queue.length) return work();
    if (missing.length) {
      say(`Not here whole yet: ${missing.map((one) => one.name).join(", ")}. Choose the same again, or say that that was all.`);
    } else if (state === "arriving" && files.length) {
      busy = false;
      panel.querySelector("[data-complete]").closest("form").requestSubmit();
    }
  }

  function take(files) {
    for (const file of files) queue.push(listed(file));
    work().catch((error) => { busy = false; say(error.message); });
  }

  chooser.addEventListener("change", () => {
    take([...chooser.files]);
    chooser.value = "";
  });
  for (const name of ["dragenter", "dragover"]) {
    drop.addEventListener(name, (event) => { event.preventDefault(); drop.classList.add("drop-over"); });
  }
  drop.addEventListener("dragleave", () => drop.classList.remove("drop-over"));
  drop.addEventListener("drop", (event) => {
    event.preventDefault();
    drop.classList.remove("drop-over");
    take([...event.dataTransfer.files]);
  });
  addEventListener("beforeunload", (event) => { if (busy) event.preventDefault(); });
})();
