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
/** @throws what the class throws, such as for a page that may not connect to this URL at all. */
export declare function open(Class: SocketClass, url: string, protocols: string[], events: SocketEvents): Socket;
export declare function leave(socket: Socket, code?: number): void;
/** Whether it can be sent something now. */
export declare function hasRoom(socket: Socket): boolean;
export declare function isOpen(socket: Socket): boolean;
