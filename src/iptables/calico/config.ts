/**
 * What Felix is configured to, as on AKS: its defaults, and the operator's environment for a cluster whose addresses
 * Calico hands out itself (kubenet).
 *
 * Source: projectcalico/calico v3.30.3, felix/config/config_params.go, felix/dataplane/driver.go (mark bits).
 */
import type { Family, Prefix } from "../../cluster/address.js";

/** A range of pod addresses (IPPool). */
export interface CalicoPool {
  readonly cidr: Prefix;
  /** Pods of the pool that talk to an address outside all pools get the node's (spec.natOutgoing). */
  readonly natOutgoing: boolean;
}

export interface CalicoConfig {
  /** Pools of a cluster that has no IPPool objects. */
  readonly assumedPools: readonly CalicoPool[];
}

export const CALICO_DEFAULTS: CalicoConfig = { assumedPools: [] };

/**
 * Bits of IptablesMarkMask 0xffff0000 in the order Felix takes them; none is kube-proxy's 0x4000 or 0x8000. The third
 * bit (0x40000) is taken for a deny that no NetworkPolicy makes.
 */
export const MARK = { accept: 0x10000, pass: 0x20000, scratch0: 0x80000, scratch1: 0x100000 } as const;
/** The bits that Felix clears before it judges. */
export const ALL_MARKS = MARK.accept | MARK.pass | MARK.scratch0 | MARK.scratch1;
/** VXLANPort: what a pod may not send, because tunnelled packets would pass by its policies. */
export const VXLAN_PORT = 4789;
/** MaxIpsetSize. */
export const MAX_SET_SIZE = 1048576;

/** `cali40` or `cali60`, before every set's id. */
export function setPrefix(family: Family): string {
  return `cali${family}0`;
}
