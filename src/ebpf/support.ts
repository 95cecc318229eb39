/**
 * What is modelled of a Cilium profile, as data: its options with the ground each value stands on, drop reasons, what
 * makes a packet undecided, and policy kinds. Gathered from the tables that the plane itself works by.
 */
import { DropReason, UndecidedReason } from "../contract/codes.js";
import { codeText } from "../contract/layout.js";
import { POLICY_KINDS, UNMODELLED_KINDS } from "./compile/policy/kinds.js";
import { fixedValue } from "./option-history.js";
import { OPTION_NAMES, type OptionName } from "./option-values.js";
import { ciliumOptions, type OptionGrade } from "./options.js";
import { type Preset, readPreset, RECORDED_RELEASES, sourceOf } from "./presets.js";
import { REASON_SUPPORT, type ReasonStatus } from "./reason-support.js";
import { dropReasonName } from "./reasons.js";
import { unmodelledValues } from "./unmodelled-options.js";

export interface OptionSupport {
  readonly name: OptionName;
  readonly value: unknown;
  readonly grade: OptionGrade;
  readonly source: string;
  /** `modelled`: every value of it; else some values leave packets undecided, or the agent refuses them. */
  readonly state: "modelled" | "undecided in part";
  /** Which packets such values leave undecided; empty where every value is modelled. */
  readonly limits: string;
}

export interface ProfileSupport {
  readonly profile: string;
  readonly version: string;
  /** What behaviour was recorded of, and what the profile's offer ships. */
  readonly recorded: string;
  readonly ships: string | null;
  readonly options: readonly OptionSupport[];
  readonly reasons: readonly { readonly name: string; readonly code: number; readonly status: ReasonStatus;
    readonly why: string; /** Folder of the story that shows it; null where there is none. */ readonly story: string | null }[];
  readonly undecided: readonly { readonly name: string; readonly meaning: string }[];
  readonly policies: readonly { readonly kind: string; readonly read: string }[];
}

/** Of a profile that readPreset knows. */
export function supportOf(profile: string): ProfileSupport | string {
  const preset = readPreset(profile);
  if (typeof preset === "string") return preset;
  return {
    profile, version: preset.version, recorded: RECORDED_RELEASES[preset.version], ships: preset.release,
    options: OPTION_NAMES.map((name) => optionSupport(profile, preset, name)),
    reasons: Object.entries(DropReason.values).map(([name, code]) => {
      const { status, why } = REASON_SUPPORT[name as keyof typeof DropReason.values];
      const title = dropReasonName(code);
      return { name: title, code, status, why, story: status === "modelled" ? `traces/reasons/${title}` : null };
    }),
    undecided: Object.entries(UndecidedReason.values).filter(([name]) => name !== "NONE")
      .map(([name, code]) => ({ name, meaning: codeText(UndecidedReason, code) })),
    policies: [...Object.entries(POLICY_KINDS).map(([kind, read]) => ({ kind, read: read(preset.version) })),
      ...Object.entries(UNMODELLED_KINDS).map(([kind, what]) => ({ kind, read: `not evaluated: ${what}` }))],
  };
}

function optionSupport(profile: string, preset: Preset, name: OptionName): OptionSupport {
  const { options } = ciliumOptions(profile, null);
  const absent = fixedValue(name, preset.version) !== undefined;
  const limits = absent ? "" : unmodelledValues(name);
  return {
    name, value: options[name], grade: options.grades[name], state: limits === "" ? "modelled" : "undecided in part",
    source: absent ? `Cilium ${preset.version} has no such option and behaves so` : sourceOf(preset, name), limits,
  };
}
