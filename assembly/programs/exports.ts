/** What of the programs belongs to the module's ABI; assembly/index.ts re-exports it. */
export { at_stack, emission_count, resume, run, walk_arena } from "./walk";
export {
  program_backend, program_chance, program_frame, program_input, program_length, program_mark, program_redirect,
  program_remote, program_target, program_tunnel, program_vlan, program_vni, run_program,
} from "./program";
