"use strict";
// The upload page: makes a DataVolume, waits for its server, sends the file by tus, and goes on after a reload.

const at = (id) => document.getElementById(id);
const KEY = "diskyard-session";
const PENDING = "diskyard-upload";
let sending = null;
let paused = false;
let image = null;

function tell(problem) {
  at("problem").textContent = problem;
  at("problem").hidden = !problem;
}

async function ask(method, path, body) {
  const answer = await fetch(path, {
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
  return `${bytes.toFixed(step ? 1 : 0)} ${units[step]}`;
}

// The size of the disk inside, where it shows: a qcow2 has it in its header, of other containers the user has to say it.
async function diskSize(file) {
  if (/\.(gz|xz|zst|bz2|tar|ova|vmdk|vdi|vhd|vhdx)$/i.test(file.name)) return "";
  const head = new DataView(await file.slice(0, 32).arrayBuffer());
  const qcow2 = head.byteLength === 32 && head.getUint32(0) === 0x514649fb;
  const bytes = qcow2 ? Number(head.getBigUint64(24)) : file.size;
  return `${Math.max(1, Math.ceil(bytes / 1048576))}Mi`;
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
  at("chosen").textContent = `${file.name}, ${human(file.size)}`;
  const left = isPending(file);
  if (left) {
    at("name").value = left.name;
    at("size").value = left.size;
    at("class").value = left.storageClass;
  } else {
    const name = file.name.toLowerCase().replace(/(\.(gz|xz|zst|bz2))?\.[a-z0-9]+$/, "");
    at("name").value = name.replace(/[^a-z0-9]+/g, "-").replace(/^-+|-+$/g, "") || "disk";
    at("size").value = await diskSize(file);
  }
  at("start").disabled = false;
  image = file;
}

async function ready(name) {
  for (;;) {
    const state = await ask("GET", `page/uploads/${name}`);
    if (state.ready || state.done) return state;
    at("state").textContent = `Waiting for the upload server: ${state.phase || "starting"} ${state.message}`;
    await pause(500);
  }
}

async function finished(name) {
  for (;;) {
    const state = await ask("GET", `page/uploads/${name}`);
    if (state.done) return;
    if (state.phase === "Failed") throw new Error(state.message);
    at("state").textContent = "All is sent. The disk is being completed ...";
    await pause(500);
  }
}

function send(file, name) {
  const begun = Date.now();
  let first = null;
  return new Promise((done, failed) => {
    sending = new tus.Upload(file, {
      endpoint: "v1/uploads",
      metadata: { filename: file.name },
      chunkSize: 64 * 1048576,
      retryDelays: [0, 500, 1000, 2000, 5000, 10000, 20000, 20000, 20000],
      removeFingerprintOnSuccess: true,
      fingerprint: async () => `diskyard-${name}-${file.name}-${file.size}-${file.lastModified}`,
      onBeforeRequest: async (request) => {
        const { token } = await ask("POST", `page/uploads/${name}/token`);
        request.setHeader("Authorization", `Bearer ${token}`);
      },
      onProgress: (sent, total) => {
        if (first === null) first = sent;
        const speed = (sent - first) / Math.max(0.001, (Date.now() - begun) / 1000);
        const left = speed ? `, ${Math.ceil((total - sent) / speed)} s left` : "";
        at("bar").value = (100 * sent) / total;
        at("state").textContent = `${human(sent)} of ${human(total)}, ${human(speed)}/s${left}`;
      },
      onError: (error) => {
        const answer = error.originalResponse;
        failed(new Error((answer && answer.getBody()) || error.message));
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
  at("form").hidden = true;
  at("running").hidden = false;
  at("more").hidden = true;
  const left = isPending(file);
  try {
    await ask("POST", "page/uploads", { name, size, storageClass, again: Boolean(left && left.name === name) });
    localStorage.setItem(PENDING, JSON.stringify({ name, size, storageClass, file: file.name, bytes: file.size }));
    if (!(await ready(name)).done) {
      at("pause").hidden = false;
      await send(file, name);
      at("pause").hidden = true;
    }
    await finished(name);
    localStorage.removeItem(PENDING);
    at("bar").value = 100;
    at("state").textContent = `The disk is complete: DataVolume ${name}`;
    at("more").hidden = false;
  } catch (error) {
    tell(String(error.message || error));
    at("form").hidden = false;
    at("running").hidden = true;
  }
  at("pause").hidden = true;
}

function hold() {
  paused = !paused;
  at("pause").textContent = paused ? "Go on" : "Pause";
  if (paused) sending.abort();
  else sending.start();
}

async function enter() {
  const link = location.hash.slice(1);
  if (link) {
    localStorage.setItem(KEY, link);
    history.replaceState(null, "", location.pathname);
  }
  try {
    const session = await ask("POST", "page/session");
    localStorage.setItem(KEY, session.token);
    for (const each of session.classes) {
      at("class").add(new Option(each.name, each.name, each.default, each.default));
    }
  } catch (error) {
    tell(`${error.message}\nOpen the link that “diskyard up” prints.`);
    return;
  }
  at("form").hidden = false;
  const left = pending();
  if (left) {
    at("again").textContent = `The upload of ${left.file} is not complete: give the same file again to go on.`;
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
at("more").addEventListener("click", () => location.reload());
enter();
