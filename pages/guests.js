// The guests' page: who there is, and one console or screen at a time, taken up again when its line breaks.
import RFB from "./vendor/novnc/core/rfb.js";

const KEY = "diskyard-session";
const EVERY = 3000; // milliseconds between two looks at the list
const AGAIN = 1500; // until a line that broke is taken up again
const PLAIN = "plain.kubevirt.io";
const BEARER = "base64url.bearer.authorization.k8s.io.";
const $ = (id) => document.getElementById(id);
let open = null; // what is looked at: { namespace, name, door, leave() }

async function ask(method, path) {
  const session = localStorage.getItem(KEY);
  if (!session) throw new Error("This browser has not been let in yet");
  const headers = { Authorization: `Bearer ${session}` };
  const answer = await fetch(path, { method, headers });
  const said = await answer.json();
  if (!answer.ok) throw new Error(said.message || answer.statusText);
  return said;
}

function tell(error) {
  $("problem").textContent = error ? `${error.message}. Open the link that \`diskyard up\` prints, then come back.` : "";
  $("problem").hidden = !error;
}

async function refresh() {
  try {
    show((await ask("GET", "page/guests")).guests);
    tell(null);
  } catch (error) {
    tell(error);
  }
  setTimeout(refresh, EVERY);
}

function show(guests) {
  $("list").hidden = !guests.length;
  $("none").hidden = guests.length > 0;
  $("list").tBodies[0].replaceChildren(...guests.map(row));
}

function row(guest) {
  const line = document.createElement("tr");
  for (const text of [guest.name, guest.namespace, guest.state, guest.address]) line.insertCell().textContent = text;
  const cell = line.insertCell();
  for (const [door, label] of [["console", "Serial"], ["vnc", "Screen"]]) {
    const button = document.createElement("button");
    button.textContent = label;
    button.disabled = !guest.running;
    button.dataset.door = `${guest.namespace}/${guest.name}/${door}`;
    button.onclick = () => join({ ...guest, door });
    cell.append(button);
  }
  return line;
}

function join(guest) {
  leave();
  open = { ...guest, left: false, end: () => {} };
  $("title").textContent = `${guest.name}: ${guest.door === "vnc" ? "screen" : "serial console"}`;
  $("terminal").hidden = guest.door !== "console";
  $("screen").hidden = guest.door !== "vnc";
  $("view").hidden = false;
  (guest.door === "vnc" ? screen : terminal)(open);
}

function leave() {
  if (!open) return;
  open.left = true;
  open.end();
  open = null;
  $("view").hidden = true;
  $("terminal").replaceChildren();
  $("screen").replaceChildren();
}

function state(viewing, text) {
  if (viewing === open) $("link").textContent = text;
}

// Where a guest's door is, and how it is asked for: a new token each time, for that door and a minute.
async function door(viewing) {
  const path = `page/guests/${viewing.namespace}/${viewing.name}/${viewing.door}`;
  const { token } = await ask("POST", `${path}/token`);
  const bearer = btoa(token).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
  return [new URL(path, location.href.replace(/^http/, "ws")).href, [PLAIN, BEARER + bearer]];
}

// Joins again and again until the viewer leaves; `once` resolves when a line has ended.
async function keep(viewing, once) {
  while (!viewing.left) {
    try {
      state(viewing, "connecting");
      await once(...(await door(viewing)));
    } catch (error) {
      state(viewing, error.message);
    }
    if (!viewing.left) {
      state(viewing, "the line broke, trying again");
      await new Promise((resolve) => setTimeout(resolve, AGAIN));
    }
  }
}

function terminal(viewing) {
  const shown = new Terminal({ scrollback: 5000, cursorBlink: true });
  const fit = new FitAddon.FitAddon();
  let socket = null;
  shown.loadAddon(fit);
  shown.open($("terminal"));
  fit.fit();
  shown.focus();
  shown.onData((keys) => socket?.readyState === WebSocket.OPEN && socket.send(new TextEncoder().encode(keys)));
  viewing.terminal = shown;
  viewing.end = () => (socket?.close(), shown.dispose());
  window.viewing = viewing;
  keep(viewing, (url, protocols) => new Promise((resolve) => {
    socket = new WebSocket(url, protocols);
    viewing.socket = socket;
    socket.binaryType = "arraybuffer";
    socket.onopen = () => state(viewing, "connected");
    socket.onmessage = (message) => shown.write(new Uint8Array(message.data));
    socket.onclose = resolve;
  }));
}

function screen(viewing) {
  let rfb = null;
  viewing.end = () => rfb?.disconnect();
  window.viewing = viewing;
  keep(viewing, (url, protocols) => new Promise((resolve) => {
    rfb = new RFB($("screen"), url, { wsProtocols: protocols, shared: true });
    rfb.scaleViewport = true;
    rfb.addEventListener("connect", () => (state(viewing, "connected"), rfb.focus()));
    rfb.addEventListener("disconnect", resolve);
    viewing.rfb = rfb;
  }));
}

$("leave").onclick = leave;
refresh();
