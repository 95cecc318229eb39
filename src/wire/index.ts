/** The host's own reading and rewriting of frames. */
export { addressText, sameBytes } from "./address.js";
export {
  checksumState,
  crc32c,
  Csum,
  fold,
  internetChecksum,
  ipv4ChecksumRight,
  sctpChecksum,
  sum16,
} from "./checksum.js";
export { CopyKey, copyKey } from "./copykey.js";
export {
  DECODE_STATUS_TEXT,
  Decoded,
  DecodeStatus,
  decode,
  decodeEmbedded,
  L4Status,
  Protocol,
} from "./decode.js";
export { hashBytes } from "./hash.js";
export { be16, be32, DestinationKind, decodeLink, EtherType, LinkInfo, LinkStatus } from "./link.js";
export { completeChecksum, Endpoints, rewriteEmbedded, turnAround } from "./rewrite.js";
export { decodeTunnel, TunnelInfo, TunnelKind } from "./tunnel.js";
