// What a close code says about coming back, and after how long. Every code of docs/PROTOCOL.md has its row.
const RETURNS = {
    1000: "soon",
    1001: "soon",
    1002: "never",
    1003: "never",
    1007: "never",
    1009: "never",
    1011: "later",
    1013: "later",
    4000: "never",
    4001: "soon",
    4002: "soon",
    4003: "later",
    4004: "never",
    4500: "token",
    4501: "token",
    4502: "token",
    4503: "never",
};
/** Whatever else it is, such as 1006 for a connection that broke, may be better the next time. */
export function returnAfter(code) {
    return RETURNS[code] ?? "soon";
}
/** A growing, random time, so that those who went together do not come together. `attempt` counts from 0. */
export function delayMs(way, attempt, delays, chance = Math.random()) {
    const most = Math.min(delays.mostMs, delays.firstMs * 2 ** attempt);
    return way === "later" ? delays.laterMs + chance * Math.max(delays.laterMs, most) : chance * most;
}
