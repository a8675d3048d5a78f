"use strict";
// The upload page: makes a DataVolume, waits for its server, sends the file by tus, and goes on after a reload.

const at = (id) => document.getElementById(id);
const KEY = "diskyard-session";
const PENDING = "diskyard-upload";
const PACKED = /\.(gz|xz|zst|bz2|tar|ova|vmdk|vdi|vhd|vhdx)$/i;
let sending = null;
let paused = false;
let image = null;

function tell(problem) {
  at("problem").textContent = problem;
  at("problem").hidden = !problem;
}

function show(card) {
  for (const each of ["form", "running", "done"]) at(each).hidden = each !== card;
}

// Asks up to three times: browsers give up what is on its way whenever a network of the machine changes.
async function fetched(path, options, left = 2) {
  try {
    return await fetch(path, options);
  } catch (error) {
    if (!left) throw error;
    await pause(300);
    return fetched(path, options, left - 1);
  }
}

async function ask(method, path, body) {
  const answer = await fetched(path, {
    method,
    headers: { Authorization: `Bearer ${localStorage.getItem(KEY)}`, "Content-Type": "application/json" },
    body: body && JSON.stringify(body),
  });
  const said = await answer.json().catch(() => ({}));
  if (!answer.ok) throw new Error(said.message || `${answer.status} ${answer.statusText}`);
  return said;
}

const pause = (milliseconds) => new Promise((done) => setTimeout(done, milliseconds));

function human(bytes) {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let step = 0;
  for (; bytes >= 1024 && step < 4; step++) bytes /= 1024;
  return `${bytes.toFixed(step && bytes < 100 ? 1 : 0)} ${units[step]}`;
}

function duration(seconds) {
  if (seconds < 60) return `${Math.ceil(seconds)} s`;
  return seconds < 5400 ? `${Math.round(seconds / 60)} min` : `${(seconds / 3600).toFixed(1)} h`;
}

// What the file is, and the size of the disk inside where it shows: of packed images the user has to say it.
async function looked(file) {
  const head = new DataView(await file.slice(0, 32).arrayBuffer());
  const qcow2 = head.byteLength === 32 && head.getUint32(0) === 0x514649fb;
  if (!qcow2 && PACKED.test(file.name)) return { size: "", kind: "say how large the disk inside is" };
  const bytes = qcow2 ? Number(head.getBigUint64(24)) : file.size;
  const kind = qcow2 ? `qcow2 with a disk of ${human(bytes)}` : `a disk of ${human(bytes)}`;
  return { size: `${Math.max(1, Math.ceil(bytes / 1048576))}Mi`, kind };
}

function pending() {
  try {
    return JSON.parse(localStorage.getItem(PENDING) || "null");
  } catch {
    return null;
  }
}

function isPending(file) {
  const left = pending();
  return left && left.file === file.name && left.bytes === file.size ? left : null;
}

async function choose(file) {
  tell("");
  const found = await looked(file);
  at("chosen").textContent = file.name;
  at("kind").textContent = `${human(file.size)} · ${found.kind}`;
  const left = isPending(file);
  if (left) {
    at("name").value = left.name;
    at("size").value = left.size;
    at("class").value = left.storageClass;
  } else {
    const name = file.name.toLowerCase().replace(/(\.(gz|xz|zst|bz2))?\.[a-z0-9]+$/, "");
    at("name").value = name.replace(/[^a-z0-9]+/g, "-").replace(/^-+|-+$/g, "") || "disk";
    at("size").value = found.size;
  }
  at("start").textContent = left ? "Go on" : "Upload";
  at("start").disabled = false;
  image = file;
}

async function ready(name) {
  for (;;) {
    const state = await ask("GET", `page/uploads/${name}`);
    if (state.ready || state.done) return state;
    at("state").textContent = `Waiting for the upload server. ${state.message || state.phase || ""}`;
    await pause(500);
  }
}

// Until the disk is there; `before` is the failure that was known when the upload began.
async function finished(name, before) {
  for (;;) {
    const state = await ask("GET", `page/uploads/${name}`).catch((error) => ({ lost: error }));
    if (state.done) return;
    if (state.phase === "Failed") throw new Error(state.message);
    if (state.failure && state.failure !== before) throw new Error(state.failure);
    at("state").textContent = state.lost ? "The line is down." : "All is sent. The disk is being completed.";
    await pause(500);
  }
}

function shown(sent, total, speed) {
  const percent = total ? (100 * sent) / total : 100;
  at("bar").value = percent;
  at("percent").textContent = `${Math.floor(percent)} %`;
  if (paused) return;
  const left = speed && sent < total ? ` · ${duration((total - sent) / speed)} left` : "";
  at("state").textContent = `${human(sent)} of ${human(total)} · ${human(speed)}/s${left}`;
}

// The speed of the last seconds, smoothed.
function meter() {
  let last = null;
  let speed = 0;
  return (sent) => {
    const now = Date.now();
    if (last === null || sent < last.sent) last = { sent, now };
    const seconds = (now - last.now) / 1000;
    if (seconds > 0.5) {
      const newest = (sent - last.sent) / seconds;
      speed = speed ? 0.7 * speed + 0.3 * newest : newest;
      last = { sent, now };
    }
    return speed;
  };
}

// Whether an error is of the line, or of something that passes: it is tried again for as long as it takes.
function passes(error) {
  const answer = error.originalResponse;
  const status = answer ? answer.getStatus() : 0;
  return status === 0 || status >= 500 || [408, 409, 423, 429].includes(status);
}

function send(file, name) {
  const speed = meter();
  return new Promise((done, failed) => {
    sending = new tus.Upload(file, {
      endpoint: "v1/uploads",
      metadata: { filename: file.name },
      chunkSize: 64 * 1048576,
      retryDelays: [0, 500, 1000, 2000, 5000],
      removeFingerprintOnSuccess: true,
      fingerprint: async () => `diskyard-${name}-${file.name}-${file.size}-${file.lastModified}`,
      onBeforeRequest: async (request) => {
        const { token } = await ask("POST", `page/uploads/${name}/token`);
        request.setHeader("Authorization", `Bearer ${token}`);
      },
      onProgress: (sent, total) => shown(sent, total, speed(sent)),
      onError: async (error) => {
        if (!passes(error)) {
          const answer = error.originalResponse;
          failed(new Error((answer && answer.getBody()) || error.message));
          return;
        }
        at("state").textContent = "The line is down. It goes on as soon as it is back.";
        await pause(2000);
        if (!paused) sending.start();
      },
      onSuccess: done,
    });
    sending.findPreviousUploads().then((found) => {
      if (found.length) sending.resumeFromPreviousUpload(found[0]);
      sending.start();
    });
  });
}

async function run(event) {
  event.preventDefault();
  const file = image;
  const [name, size, storageClass] = ["name", "size", "class"].map((id) => at(id).value);
  tell("");
  at("again").hidden = true;
  at("title").textContent = `${file.name} → ${name}`;
  shown(0, file.size, 0);
  at("state").textContent = "";
  show("running");
  const left = isPending(file);
  try {
    await ask("POST", "page/uploads", { name, size, storageClass, again: Boolean(left && left.name === name) });
    localStorage.setItem(PENDING, JSON.stringify({ name, size, storageClass, file: file.name, bytes: file.size }));
    const begun = await ready(name);
    if (!begun.done) {
      at("pause").hidden = false;
      await send(file, name);
      at("pause").hidden = true;
    }
    await finished(name, begun.failure);
    localStorage.removeItem(PENDING);
    at("made").textContent = name;
    at("use").textContent = `volumes:\n- name: root\n  dataVolume:\n    name: ${name}`;
    show("done");
  } catch (error) {
    tell(String(error.message || error));
    show("form");
  }
  at("pause").hidden = true;
}

function hold() {
  paused = !paused;
  at("pause").textContent = paused ? "Go on" : "Pause";
  at("running").classList.toggle("paused", paused);
  if (paused) {
    sending.abort();
    at("state").textContent = "Paused. What was sent is kept.";
  } else {
    sending.start();
  }
}

async function other() {
  const { code } = await ask("POST", "page/code");
  at("address").textContent = `${location.origin}${location.pathname}#${code}`;
  at("other").hidden = false;
}

async function enter() {
  const code = location.hash.slice(1);
  if (code) history.replaceState(null, "", location.pathname);
  const opener = crypto.randomUUID();
  let session;
  try {
    session = await ask("POST", "page/session", { code, opener }).catch((error) => {
      if (code && localStorage.getItem(KEY)) return ask("POST", "page/session", {});
      throw error;
    });
  } catch (error) {
    tell(`${error.message}.\nOpen the link that “diskyard up” prints when it starts.`);
    return;
  }
  localStorage.setItem(KEY, session.token);
  for (const each of session.classes) {
    at("class").add(new Option(each.name, each.name, each.default, each.default));
  }
  show("form");
  at("link").hidden = false;
  const left = pending();
  if (left) {
    at("again").textContent = `The upload of ${left.file} is not complete. Give the same file again, and it goes on.`;
    at("again").hidden = false;
  }
}

const drop = at("drop");
drop.addEventListener("dragover", (event) => {
  event.preventDefault();
  drop.classList.add("over");
});
drop.addEventListener("dragleave", () => drop.classList.remove("over"));
drop.addEventListener("drop", (event) => {
  event.preventDefault();
  drop.classList.remove("over");
  if (event.dataTransfer.files.length) choose(event.dataTransfer.files[0]);
});
at("file").addEventListener("change", (event) => event.target.files.length && choose(event.target.files[0]));
at("form").addEventListener("submit", run);
at("pause").addEventListener("click", hold);
at("link").addEventListener("click", () => other().catch((error) => tell(error.message)));
at("more").addEventListener("click", () => location.reload());
enter();
