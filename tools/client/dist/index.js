// Everything that an application sees of this library.
export { Ringway } from "./client.js";
export { RingwayError } from "./error.js";
export { returnAfter } from "./closing.js";
