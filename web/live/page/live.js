// The page of the live stream: the camera's picture, and who is in it.
// The messages are those of docs/reference/live.md.

const PROTOCOL = "facebatch.live.v1";
const BEARER = "facebatch.bearer.";
const LONGEST_SIDE_PX = 960;
const QUALITY = 0.8;
const SHORTEST_PAUSE_MS = 100;
const LONGEST_PAUSE_MS = 1000;
const STALE_MS = 2000; // After that boxes are of another moment than the picture.
const RETRY_MS = [500, 1000, 2000, 5000, 10000];
const GREEN = "#7fe0a7";
const AMBER = "#f4c277";
const INK = "#101418";

const WORDS = {
  too_busy: "The server takes no more live streams at the moment. It is tried again.",
  gallery_not_found: "This gallery is not there any more. Choose another.",
  host_untrusted: "The server does not answer to this address. Open the page by the name it has.",
  origin_untrusted: "The server takes streams from its own pages only.",
  still_working: "The workers did not look at a frame in time. They may be busy, or not running.",
  database_unavailable: "The server's database does not answer at the moment.",
  storage_unavailable: "The server's bucket does not answer at the moment.",
  server_closing: "The server stops. The page connects again when it is back.",
  frame_too_large: "This camera's pictures are too large. Choose another.",
  internal_error: "Something went wrong on the server, which has logged it.",
};
const FINAL = new Set([
  "frame_too_large",
  "gallery_not_found",
  "host_untrusted",
  "invalid_request",
  "origin_untrusted",
]);
const CAMERA_WORDS = {
  NotAllowedError: "The camera was not allowed. Allow it for this page in the browser, and start again.",
  NotFoundError: "No camera was found. Plug one in, and start again.",
  NotReadableError: "The camera cannot be read. Another program may be using it.",
  OverconstrainedError: "This camera is not there any more. Choose another.",
};

const at = (id) => document.getElementById(id);
const view = at("view");
const video = at("video");
const paper = view.getContext("2d");
const shot = document.createElement("canvas");

const now = {
  camera: null, // The stream of the camera, while it is on.
  socket: null,
  ready: false,
  failures: 0,
  answer: null,
  answeredAt: 0,
  answers: [], // When the latest came.
  sentAt: new Map(), // By the frame's number.
  sent: 0,
  dropped: 0, // By connections before this one.
  pauseMs: SHORTEST_PAUSE_MS,
  timer: 0,
  capturing: false,
};

// What is told to the person.

function notice(text) {
  at("notice").textContent = text ?? "";
  at("notice").hidden = !text;
}

function tell(state, placeholder) {
  at("state").textContent = state;
  at("stage").dataset.state = now.camera ? "live" : "stopped";
  if (placeholder) at("placeholder").textContent = placeholder;
}

function inWords(code, detail) {
  return WORDS[code] ?? (detail ? `${detail[0].toUpperCase()}${detail.slice(1)}.` : `Error: ${code}`);
}

function showNumbers() {
  const since = performance.now() - 3000;
  now.answers = now.answers.filter((moment) => moment > since);
  at("rate").textContent = now.camera ? (now.answers.length / 3).toFixed(1) : "–";
  if (!now.answer) return;
  at("dropped").textContent = now.dropped + now.answer.dropped;
  at("delay").textContent = `${now.answer.delayMs} ms`;
  at("delay").title = `${now.answer.latency_ms} ms of it in the server`;
  at("threshold").textContent = now.answer.threshold.distance.toFixed(3);
  at("threshold").title = now.answer.threshold.meaning;
}

function showSeen(faces) {
  const items = faces.map((face) => {
    const item = document.createElement("li");
    const name = document.createElement("b");
    const distance = document.createElement("span");
    item.className = face.subject ? "known" : "unknown";
    name.textContent = face.subject?.name ?? "Not known";
    distance.textContent = face.distance?.toFixed(3) ?? "";
    item.append(name, distance);
    return item;
  });
  if (!items.length) {
    const nobody = document.createElement("li");
    nobody.className = "nobody";
    nobody.textContent = now.camera ? "Nobody" : "Nobody yet";
    items.push(nobody);
  }
  const list = at("seen");
  const told = (nodes) => [...nodes].map((node) => node.firstChild.textContent).join("\n");
  // Read aloud only where people come or go; their distances change all the time.
  if (told(list.children) === told(items)) {
    items.forEach((item, n) => {
      if (item.lastChild !== item.firstChild) {
        list.children[n].lastChild.textContent = item.lastChild.textContent;
      }
    });
  } else {
    list.replaceChildren(...items);
  }
}

// The picture.

function draw() {
  if (!now.camera) return;
  requestAnimationFrame(draw);
  if (!video.videoWidth) return;
  if (view.width !== video.videoWidth || view.height !== video.videoHeight) {
    view.width = video.videoWidth;
    view.height = video.videoHeight;
  }
  paper.drawImage(video, 0, 0);
  if (!now.answer || performance.now() - now.answeredAt > STALE_MS) return;
  const scale = view.width / now.answer.width;
  for (const face of now.answer.faces) drawFace(face, scale);
}

function drawFace(face, scale) {
  const px = view.width / (view.clientWidth || view.width); // One of the screen's.
  const [left, top, right, bottom] = face.box.map((side) => side * scale);
  const colour = face.subject ? GREEN : AMBER;
  const strokes = [[INK, 6], [colour, 3]];
  paper.setLineDash(face.subject ? [] : [10 * px, 6 * px]);
  for (const [stroke, width] of strokes) {
    paper.strokeStyle = stroke;
    paper.lineWidth = width * px;
    paper.strokeRect(left, top, right - left, bottom - top);
  }
  paper.setLineDash([]);
  drawLabel(face, left, top, bottom, colour, px);
}

function drawLabel(face, left, top, bottom, colour, px) {
  const height = 26 * px;
  paper.font = `600 ${16 * px}px system-ui, sans-serif`;
  paper.textBaseline = "middle";
  const text = shortened(face.subject?.name ?? "not known", view.width - 16 * px);
  const width = paper.measureText(text).width + 16 * px;
  const x = Math.max(0, Math.min(left, view.width - width));
  const above = top - height - 2 * px;
  const y = above >= 0 ? above : Math.min(bottom + 2 * px, view.height - height);
  paper.fillStyle = INK;
  paper.fillRect(x, y, width, height);
  paper.fillStyle = colour;
  paper.fillText(text, x + 8 * px, y + height / 2);
}

function shortened(text, most) {
  if (paper.measureText(text).width <= most) return text;
  const letters = [...text];
  while (letters.length && paper.measureText(`${letters.join("")}…`).width > most) letters.pop();
  return `${letters.join("")}…`;
}

// Frames, on their way.

function isOpen() {
  return now.ready && now.socket?.readyState === WebSocket.OPEN;
}

function sendLater() {
  clearTimeout(now.timer);
  now.timer = setTimeout(sendFrame, now.pauseMs);
}

async function sendFrame() {
  const socket = now.socket;
  // A line that is slow gets no second frame before it has taken the first.
  const may = isOpen() && !document.hidden && video.videoWidth && !socket.bufferedAmount;
  if (may && !now.capturing) {
    now.capturing = true;
    const frame = await capture();
    now.capturing = false;
    if (frame && socket === now.socket && isOpen()) {
      now.sent += 1;
      now.sentAt.set(now.sent, performance.now());
      socket.send(frame);
    }
  }
  if (now.camera) sendLater();
}

function capture() {
  const scale = Math.min(1, LONGEST_SIDE_PX / Math.max(video.videoWidth, video.videoHeight));
  shot.width = Math.round(video.videoWidth * scale);
  shot.height = Math.round(video.videoHeight * scale);
  shot.getContext("2d").drawImage(video, 0, 0, shot.width, shot.height);
  return new Promise((done) => shot.toBlob(done, "image/jpeg", QUALITY));
}

// Answers.

function onAnswer(answer) {
  const moment = performance.now();
  const sentAt = now.sentAt.get(answer.frame) ?? moment;
  for (const number of now.sentAt.keys()) if (number <= answer.frame) now.sentAt.delete(number);
  answer.delayMs = Math.round(moment - sentAt);
  now.answer = answer;
  now.answeredAt = moment;
  now.answers.push(moment);
  now.failures = 0;
  // Two frames for each answer: one is looked at, and one is fresh when that is done.
  now.pauseMs = Math.min(LONGEST_PAUSE_MS, Math.max(SHORTEST_PAUSE_MS, answer.delayMs / 2));
  notice("");
  showSeen(answer.faces);
  showNumbers();
}

function onMessage(event) {
  const message = JSON.parse(event.data);
  if (message.type === "faces") return onAnswer(message);
  if (message.type === "error") {
    now.reason = message.frame === null ? message.code : null;
    if (message.code !== "live_over" && message.code !== "live_idle") {
      notice(inWords(message.code, message.detail));
    }
    return undefined;
  }
  now.ready = true;
  tell("live");
  return sendLater();
}

// The connection.

function connect() {
  close();
  const gallery = at("gallery").value;
  const scheme = location.protocol === "https:" ? "wss:" : "ws:";
  const url = `${scheme}//${location.host}/v1/live?gallery=${encodeURIComponent(gallery)}`;
  const key = at("key").value.trim();
  const socket = new WebSocket(url, key ? [PROTOCOL, BEARER + key] : [PROTOCOL]);
  now.dropped += now.answer?.dropped ?? 0;
  Object.assign(now, { socket, ready: false, reason: null, sent: 0, answer: null });
  now.sentAt.clear();
  tell("connecting…");
  socket.onmessage = onMessage;
  socket.onclose = () => {
    if (socket === now.socket) onClose();
  };
}

function close() {
  const socket = now.socket;
  now.socket = null;
  now.ready = false;
  socket?.close(1000);
}

async function onClose() {
  const opened = now.ready;
  now.socket = null;
  now.ready = false;
  if (!now.camera) return;
  const { reason } = now;
  const isFinal = opened || reason ? FINAL.has(reason) : await whyNot();
  if (!now.camera || now.socket) return;
  if (reason === "live_idle" && document.hidden) {
    tell("paused");
    return;
  }
  if (isFinal) {
    stop();
    return;
  }
  const wait = reason === "live_over" ? 0 : RETRY_MS[Math.min(now.failures, RETRY_MS.length - 1)];
  now.failures += reason === "live_over" ? 0 : 1;
  tell("connecting again…");
  setTimeout(() => now.camera && !now.socket && connect(), wait);
}

// Whether there is no use in trying again. A browser does not say why a WebSocket was refused; a
// plain request is told.
async function whyNot() {
  let isFinal = false;
  try {
    const gallery = encodeURIComponent(at("gallery").value);
    const answer = await ask(`/v1/live?gallery=${gallery}`);
    const problem = await answer.json();
    if (problem.code === "upgrade_required") {
      notice("The stream does not open. Something between here and the server takes no WebSockets.");
      return false;
    }
    if (answer.status === 401) at("key-field").hidden = false;
    notice(inWords(problem.code, problem.detail));
    isFinal = answer.status < 500;
  } catch {
    notice("The server does not answer. It is tried again.");
  }
  return isFinal;
}

function ask(path) {
  const key = at("key").value.trim();
  return fetch(path, { headers: key ? { Authorization: `Bearer ${key}` } : {}, cache: "no-store" });
}

// The camera.

async function start() {
  notice("");
  if (!window.isSecureContext || !navigator.mediaDevices) {
    notice("Browsers give the camera to pages on https or on localhost only. Open this page there.");
    return;
  }
  at("start").disabled = true;
  await openCamera().finally(() => (at("start").disabled = false));
}

async function openCamera() {
  const chosen = at("camera").value;
  const wanted = { width: { ideal: 1280 }, height: { ideal: 720 } };
  try {
    const device = chosen ? { deviceId: { exact: chosen } } : {};
    now.camera = await navigator.mediaDevices.getUserMedia({ video: { ...wanted, ...device } });
  } catch (error) {
    notice(CAMERA_WORDS[error.name] ?? `The camera does not start: ${error.message}`);
    return;
  }
  const [track] = now.camera.getVideoTracks();
  track.onended = () => {
    stop();
    notice("The camera has stopped.");
  };
  video.srcObject = now.camera;
  await video.play();
  Object.assign(now, { failures: 0, dropped: 0, answer: null, answers: [] });
  mark(true);
  await listCameras(track.getSettings().deviceId);
  connect();
  draw();
}

function stop() {
  close();
  clearTimeout(now.timer);
  for (const track of now.camera?.getTracks() ?? []) {
    track.onended = null;
    track.stop();
  }
  now.camera = null;
  now.answer = null;
  video.srcObject = null;
  paper.clearRect(0, 0, view.width, view.height);
  mark(false);
  tell("stopped", "The camera is off.");
  showSeen([]);
  for (const id of ["rate", "delay", "dropped", "threshold"]) at(id).textContent = "–";
}

function mark(running) {
  at("start").dataset.running = String(running);
  at("start").textContent = running ? "Stop the camera" : "Start the camera";
}

async function listCameras(current) {
  const devices = await navigator.mediaDevices.enumerateDevices();
  const cameras = devices.filter((device) => device.kind === "videoinput" && device.deviceId);
  const options = cameras.map((one, n) => {
    const name = one.label || `Camera ${n + 1}`;
    return new Option(name, one.deviceId, false, one.deviceId === current);
  });
  at("camera").replaceChildren(...options);
  at("camera-field").hidden = cameras.length < 2;
}

// The galleries.

async function loadGalleries() {
  const found = [];
  let cursor = null;
  do {
    const more = cursor ? `&cursor=${encodeURIComponent(cursor)}` : "";
    const answer = await ask(`/v1/galleries?limit=1000${more}`);
    const body = await answer.json();
    if (!answer.ok) {
      if (answer.status === 401) at("key-field").hidden = false;
      throw new Error(answer.status === 401 ? "Enter an API key of this server." : inWords(body.code, body.detail));
    }
    found.push(...body.galleries);
    cursor = body.next_cursor;
  } while (cursor);
  return found;
}

async function showGalleries() {
  try {
    const galleries = await loadGalleries();
    const asked = new URLSearchParams(location.hash.slice(1)).get("gallery");
    const options = galleries.map((one) => {
      const people = one.subjects === 1 ? "1 person" : `${one.subjects} people`;
      return new Option(`${one.name} (${people})`, one.id, false, one.id === asked);
    });
    const select = at("gallery");
    select.replaceChildren(...(options.length ? options : [new Option("There is none yet", "")]));
    select.disabled = at("start").disabled = !options.length;
    notice(options.length ? "" : "There is no gallery yet. Make one and enrol somebody; the API's page shows how.");
  } catch (error) {
    notice(error instanceof TypeError ? "The server does not answer. Load this page again." : error.message);
  }
}

at("controls").addEventListener("submit", (event) => {
  event.preventDefault();
  if (now.camera) stop();
  else if (at("gallery").value) start();
  else showGalleries();
});
at("gallery").addEventListener("change", () => now.camera && connect());
at("camera").addEventListener("change", async () => {
  if (!now.camera) return;
  stop();
  await start();
});
at("key").addEventListener("change", showGalleries);
document.addEventListener("visibilitychange", () => {
  if (!document.hidden && now.camera && !now.socket) connect();
});
window.addEventListener("pagehide", () => now.camera && stop());
setInterval(showNumbers, 500);
showGalleries();
