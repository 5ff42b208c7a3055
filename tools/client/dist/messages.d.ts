/** What a client says, by `type`: the fields. They may stand beside `type` or in `payload`. */
export interface ClientMessages {
    auth: {
        token: string;
    };
    ping: {};
    heartbeat_ack: {
        timestamp?: number;
    };
    subscribe: {
        channels: string[];
    } | {
        conversation_ids: string[];
    };
    unsubscribe: {
        channels: string[];
    } | {
        conversation_ids: string[];
    };
    "presence.get": {
        channel: string;
    } | {
        conversation_id: Id;
    };
    /** Of a conversation, or of a clan. */
    typing: {
        conversation_id: Id;
    } | {
        clanId: Id;
        isTyping: boolean;
    };
    /** Of a driver, a user or a vendor. */
    location_update: Position;
    /** Takes or rejects a ride. For drivers. */
    dispatch_response: Payload;
    subscribe_notifications: {};
    unsubscribe_notifications: {};
    subscribe_clan_chat: {
        clanId: Id;
    };
    unsubscribe_clan_chat: {
        clanId: Id;
    };
    chat: {
        content: string;
        clanId: Id;
        messageType?: string;
    };
    notification_ack: {
        notificationId: Id;
    };
    subscribe_vendor: {
        vendorId: Id;
    };
    unsubscribe_vendor: {
        vendorId: Id;
    };
    subscribe_nearby: Circle;
    unsubscribe_nearby: {};
    "location.report": Position;
    "chat.send": {
        conversation_id: Id;
        content: string;
    };
    "notification.read": {
        notification_id: Id;
    };
}
/** What comes, by `type`: the message without its `type`. */
export interface ServerMessages {
    connected: {
        userId: string;
        message: string;
        payload: {
            user_id: string;
            session_id: string;
            server_id: string;
            heartbeat_interval: number;
        };
    };
    "auth.success": {
        payload: {
            user_id: string;
            session_id: string;
        };
    };
    /** In seconds, and in unix seconds. */
    token_expiring: {
        payload: {
            expires_in: number;
            expires_at: number;
        };
    };
    pong: {
        timestamp: string;
    };
    heartbeat: {
        payload: {
            timestamp: number;
        };
    };
    subscribed: {
        payload: Partial<Names>;
    };
    unsubscribed: {
        payload: Partial<Names>;
    };
    "presence.state": {
        payload: PresenceState;
    };
    error: {
        message: string;
        payload: Refused;
    };
    "message.new": {
        payload: {
            conversation_id?: Id;
            message?: Payload;
        } & Payload;
    };
    "typing.start": {
        payload: {
            conversation_id: Id;
            user_id: string;
        };
    };
    "typing.stop": {
        payload: {
            conversation_id: Id;
            user_id: string;
        };
    };
    "presence.update": {
        payload: PresenceUpdate;
    };
    ride_request: {
        payload: Payload;
    };
    ride_status: {
        payload: Payload;
    };
    driver_location: {
        payload: Payload;
    };
    eta_update: {
        payload: Payload;
    };
    order_status: {
        payload: Payload;
    };
    /** With an id it is acknowledged by this library, and repeated by the gateway until it is. */
    notification: {
        title?: string;
        message?: string;
        payload?: {
            id?: Id;
        } & Payload;
    } & Payload;
    subscription_confirmed: {
        service: string;
        status: "subscribed" | "unsubscribed";
        clanId?: Id;
        vendorId?: Id;
        radius?: number;
    };
    message_sent: {
        messageId: string;
    };
    chat: {
        messageId: string;
        userId: string;
        content: string;
        clanId: Id;
        messageType?: string;
        timestamp: string | number;
    };
    typing: {
        userId: string;
        clanId: Id;
        isTyping: boolean;
    };
    vendor_location: {
        payload: {
            vendorId: string;
        } & Position;
    };
    "location.accepted": {};
    "chat.accepted": {
        payload: {
            message_id: string;
        };
    };
    "notification.accepted": {};
    "location.position": {
        payload: {
            user_id: string;
        } & Position;
    };
    "chat.message": {
        payload: {
            conversation_id: string;
            message: {
                id: string;
                sender_id: string;
                content: string;
                created_at: string;
            };
        };
    };
}
/** What answers what, where there is an answer: {@link Ringway.request} waits for it. */
export interface Answers {
    auth: "auth.success";
    ping: "pong";
    subscribe: "subscribed";
    unsubscribe: "unsubscribed";
    "presence.get": "presence.state";
    subscribe_notifications: "subscription_confirmed";
    unsubscribe_notifications: "subscription_confirmed";
    subscribe_clan_chat: "subscription_confirmed";
    unsubscribe_clan_chat: "subscription_confirmed";
    chat: "message_sent";
    subscribe_vendor: "subscription_confirmed";
    unsubscribe_vendor: "subscription_confirmed";
    subscribe_nearby: "subscription_confirmed";
    unsubscribe_nearby: "subscription_confirmed";
    "location.report": "location.accepted";
    "chat.send": "chat.accepted";
    "notification.read": "notification.accepted";
}
/** Degrees, metres, metres a second; the time is in unix milliseconds. */
export interface Position {
    latitude: number;
    longitude: number;
    heading?: number;
    speed?: number;
    accuracy?: number;
    timestamp?: number;
    isAvailable?: boolean;
}
/** Degrees and metres. */
export interface Circle {
    latitude: number;
    longitude: number;
    radius: number;
}
export interface Names {
    channels: string[];
    conversation_ids: string[];
}
export interface PresenceState {
    channel?: string;
    conversation_id?: Id;
    /** Not all of them, where there are many. */
    users: {
        user_id: string;
        status: string;
    }[];
    count: number;
}
/** Of one user; of a large channel only how many there are. */
export interface PresenceUpdate {
    channel?: string;
    conversation_id?: Id;
    user_id?: string;
    status?: string;
    count?: number;
}
/** Decide by `code`; the sentence is for people. */
export interface Refused extends Partial<Names> {
    code: string;
    message: string;
    /** The `type` of what was refused. */
    request?: string;
}
/** Of a conversation, a clan, a vendor, a notification. */
export type Id = string | number;
/** Whatever a service says. */
export type Payload = {
    [field: string]: unknown;
};
/** A message to the gateway. Its `id` comes back in the answer. */
export type ClientMessage<T extends keyof ClientMessages = keyof ClientMessages> = {
    [K in T]: {
        type: K;
        id?: string | number;
    } & (ClientMessages[K] | {
        payload: ClientMessages[K];
    });
}[T];
/** A message from the gateway. */
export type ServerMessage<T extends keyof ServerMessages = keyof ServerMessages> = {
    [K in T]: {
        type: K;
        id?: string | number;
    } & ServerMessages[K];
}[T];
