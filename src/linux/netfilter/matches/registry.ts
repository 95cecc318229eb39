/** The matches of this folder by their names after `-m`. */
import type { Family } from "../../../cluster/address.js";
import type { Extension } from "../extension.js";
import { readAddressType } from "./address-type.js";
import { readIpRange } from "./iprange.js";
import { readLength } from "./length.js";
import { readLimit } from "./limit.js";
import { readMac } from "./mac.js";
import type { Option } from "./options.js";
import { readOwner } from "./owner.js";
import { readPacketType } from "./packet-type.js";
import { readPhysdev } from "./physdev.js";
import { readRpfilter } from "./rpfilter.js";
import { readDscp, readTos } from "./tos.js";
import { readTtl } from "./ttl.js";
import { readU32 } from "./u32.js";

/** A match; what iptables would refuse, as a sentence; or null where an option is not known here. */
export type ExtensionReader = (options: readonly Option[], family: Family, name: string) => Extension | string | null;

export const extensionReaders: ReadonlyMap<string, ExtensionReader> = new Map<string, ExtensionReader>([
  ["addrtype", readAddressType],
  ["dscp", readDscp],
  ["hl", readTtl],
  ["iprange", readIpRange],
  ["length", readLength],
  ["limit", readLimit],
  ["mac", readMac],
  ["owner", readOwner],
  ["physdev", readPhysdev],
  ["pkttype", readPacketType],
  ["rpfilter", readRpfilter],
  ["tos", readTos],
  ["ttl", readTtl],
  ["u32", readU32],
]);
