/** What a dataplane chose by chance, as its images show it: what pins offer. */
import { addressFromBytes } from "../cluster/address.js";
import type { Pin } from "../dataplane.js";
import { sameEnd, Tuple } from "./tuple.js";

/** The backend that is known, or backend and source port as the last view shows them; null where the packet was seen once. */
export function observedChoice(from: Uint8Array, to: Uint8Array, known: Pin["backend"] = null): Pin | null {
  if (known !== null) return { backend: known, sourcePort: null };
  if (from === to) return null;
  return { backend: sameEnd(from, to) ? null : backendOf(to), sourcePort: Tuple.sourcePort(to) };
}

/** The backend that a packet with this tuple was sent to. */
export function choiceOf(image: Uint8Array): Pin {
  return { backend: backendOf(image), sourcePort: null };
}

function backendOf(image: Uint8Array): Pin["backend"] {
  return { address: addressFromBytes(Tuple.destination(image)), port: Tuple.destinationPort(image) };
}
