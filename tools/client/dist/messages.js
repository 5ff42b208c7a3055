// Every message of the five vocabularies, in both directions. Types only: nothing of it is left in JavaScript.
//
// These are interfaces so that an application adds its own messages to them:
//
//   declare module "ringway-client" {
//     interface ClientMessages { wave: { to: string } }
//     interface ServerMessages { waved: { payload: { from: string } } }
//   }
export {};
