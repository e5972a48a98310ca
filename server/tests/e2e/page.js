// Follows one discussion by EventSource and by WebSocket, as docs/streams.md tells a page to, and keeps what it saw.
"use strict";

const TYPES = [
  "discussion.created", "discussion.started", "discussion.waiting", "discussion.pausing", "discussion.paused",
  "discussion.resumed", "discussion.updated", "discussion.forked", "discussion.ended", "participant.joined",
  "participant.left", "limit.warning", "turn.started", "turn.retried", "turn.failed", "turn.passed",
  "message.completed", "message.withheld", "message.delta", "stream.reset", "stream.lagged",
];
const LIVE_ONLY = new Set(["message.delta", "stream.reset", "stream.lagged"]);
const COME_BACK_MS = 300;

/** What one viewer has been told, and the transcript that it made of it. */
class Transcript {
  ids = [];
  seqs = [];
  types = [];
  messages = [];
  /** The ids it came back with, one for each time that it lost its connection. */
  returns = [];
  hasEnded = false;
  #texts = new Map();
  #list;

  constructor(list) {
    this.#list = list;
  }

  get lastId() {
    return this.ids.at(-1);
  }

  /** Whether a message of that turn is being spoken, and so many code points of it are here. */
  isWithin(turn, length) {
    return [...this.#texts.values()].some((open) => open.turn === turn && [...open.text].length >= length);
  }

  take(id, type, data) {
    this.ids.push(id);
    this.types.push(type);
    if (!LIVE_ONLY.has(type)) this.seqs.push(Number(id));
    if (type === "message.delta") this.#extend(data);
    else if (["turn.retried", "turn.failed", "turn.passed"].includes(type)) this.#texts.delete(data.message_id);
    else if (type === "stream.reset") this.#texts.clear();
    else if (type === "message.completed") this.#complete(data);
    else if (type === "discussion.ended") this.hasEnded = true;
  }

  #extend({ message_id, turn, offset, text }) {
    const open = this.#texts.get(message_id) ?? { turn, text: "" };
    if (offset !== [...open.text].length) throw new Error(`a delta at ${offset} does not join ${open.text}`);
    open.text += text;
    this.#texts.set(message_id, open);
  }

  /** A message that was seen as it was spoken is kept as its deltas joined to, any other as it came. */
  #complete({ id, content }) {
    const spoken = this.#texts.get(id);
    this.#texts.delete(id);
    this.messages.push({ id, content: spoken?.text ?? content, spoken: spoken !== undefined });
    this.#list.append(Object.assign(document.createElement("li"), { textContent: this.messages.at(-1).content }));
  }
}

/** The browser reconnects by itself, and says in Last-Event-ID where it was. */
function followByEventSource(discussionId, streamToken, transcript) {
  const source = new EventSource(`/api/v1/discussions/${discussionId}/events?stream_token=${streamToken}`);
  source.onopen = () => {
    if (transcript.lastId !== undefined) transcript.returns.push(transcript.lastId);
  };
  for (const type of TYPES) {
    source.addEventListener(type, ({ lastEventId, data }) => {
      transcript.take(lastEventId, type, JSON.parse(data));
      if (transcript.hasEnded) source.close();
    });
  }
}

/** A socket does not come back by itself: each takes a new ticket, and the last id of the one before. */
async function followByWebSocket(discussionId, post, transcript) {
  while (!transcript.hasEnded) {
    try {
      const { ticket } = await post("/api/v1/auth/ws-ticket");
      await readSocket(new WebSocket(`/api/v1/ws?ticket=${ticket}`, "arena.v1"), `discussion:${discussionId}`, transcript);
    } catch (error) {
      if (!(error instanceof TypeError)) throw error; // what fetch throws when there is no connection
    }
    await new Promise((resolve) => setTimeout(resolve, COME_BACK_MS));
  }
}

/** Show the channel until the socket is closed. */
function readSocket(socket, channel, transcript) {
  socket.onopen = () => {
    if (transcript.lastId !== undefined) transcript.returns.push(transcript.lastId);
    socket.send(JSON.stringify({ type: "subscribe", channel, after: transcript.lastId }));
  };
  socket.onmessage = ({ data: text }) => {
    const { type, id, event, data, ...rest } = JSON.parse(text);
    if (type === "error") throw new Error(JSON.stringify(rest));
    if (type === "event") transcript.take(id, event, data);
    if (transcript.hasEnded) socket.close();
  };
  return new Promise((resolve) => {
    socket.onclose = resolve;
  });
}

const viewers = ["by-event-source", "by-web-socket"].map((name) => new Transcript(document.getElementById(name)));

/** Begin to watch, in both ways. */
async function follow({ discussionId, accessToken }) {
  const post = async (path) => {
    const response = await fetch(path, { method: "POST", headers: { Authorization: `Bearer ${accessToken}` } });
    if (!response.ok) throw new Error(`${path} answered ${response.status}`);
    return response.json();
  };
  const { token } = await post("/api/v1/auth/stream-token");
  followByEventSource(discussionId, token, viewers[0]);
  followByWebSocket(discussionId, post, viewers[1]); // not awaited: it ends with the discussion
}
