// One WebSocket, whoever made it: a browser, Node.js, Deno, or a library. After `leave` nothing of it is heard.

/** As much of a WebSocket as is needed. */
export interface Socket {
  readonly readyState: number;
  readonly bufferedAmount: number;
  onopen: ((event: any) => void) | null;
  onmessage: ((event: any) => void) | null;
  onclose: ((event: any) => void) | null;
  onerror: ((event: any) => void) | null;
  send(data: string): void;
  close(code?: number, reason?: string): void;
}

export type SocketClass = new (url: string, protocols?: string[]) => Socket;

export interface SocketEvents {
  opened: () => void;
  text: (text: string) => void;
  lost: (code: number, reason: string) => void;
}

const OPEN = 1;
/** What may wait in the WebSocket itself. What else there is waits where it is bounded and told of. */
const BUFFERED_BYTES_MAX = 65_536;

/** @throws what the class throws, such as for a page that may not connect to this URL at all. */
export function open(Class: SocketClass, url: string, protocols: string[], events: SocketEvents): Socket {
  const socket = new Class(url, protocols);
  let isOpened = false;
  socket.onopen = () => {
    isOpened = true;
    events.opened();
  };
  socket.onmessage = ({ data }: { data: unknown }) => events.text(String(data));
  socket.onclose = ({ code, reason }: { code: number; reason: string }) => events.lost(code, String(reason));
  // That it has not opened some only say with an error. Else a close event follows, and says more.
  socket.onerror = () => isOpened || events.lost(1006, "not connected");
  return socket;
}

export function leave(socket: Socket, code?: number): void {
  socket.onopen = socket.onmessage = socket.onclose = null;
  // One that is left while it connects makes an error of that.
  socket.onerror = () => {};
  code === undefined ? socket.close() : socket.close(code);
}

/** Whether it can be sent something now. */
export function hasRoom(socket: Socket): boolean {
  return isOpen(socket) && socket.bufferedAmount < BUFFERED_BYTES_MAX;
}

export function isOpen(socket: Socket): boolean {
  return socket.readyState === OPEN;
}
