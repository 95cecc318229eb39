/**
 * `twinplane completion bash|zsh|fish`: a script for the user's shell, written from the commands themselves. After a
 * command its options are completed; after an option with fixed values those; else files.
 */
import { Argument, type Command } from "commander";

const SHELLS = ["bash", "zsh", "fish"] as const;
type Shell = (typeof SHELLS)[number];

interface CompletedOption {
  readonly flags: readonly string[];
  readonly values: readonly string[];
  readonly what: string;
}

interface CompletedCommand {
  readonly name: string;
  readonly what: string;
  readonly options: readonly CompletedOption[];
  /** Fixed values of its arguments. */
  readonly values: readonly string[];
}

export function completionCommand(program: Command, exit: (code: number) => void): void {
  program.command("completion").description("a completion script for your shell")
    .addArgument(new Argument("<shell>", "which shell").choices(SHELLS))
    .addHelpText("after", `
Examples:
  twinplane completion bash > ~/.local/share/bash-completion/completions/twinplane
  twinplane completion zsh > "\${fpath[1]}/_twinplane"
  twinplane completion fish > ~/.config/fish/completions/twinplane.fish`)
    .action((shell: Shell) => {
      const commands = program.commands.map(completed).sort((a, b) => (a.name < b.name ? -1 : 1));
      process.stdout.write(WRITERS[shell](commands));
      exit(0);
    });
}

function completed(command: Command): CompletedCommand {
  return {
    name: command.name(), what: sentence(command.description()),
    options: command.options.map((option) => ({
      flags: [option.short, option.long].filter((flag) => flag !== undefined && flag !== null),
      values: option.argChoices ?? [], what: sentence(option.description),
    })),
    values: command.registeredArguments.flatMap((argument) => argument.argChoices ?? []),
  };
}

const WRITERS: Readonly<Record<Shell, (commands: readonly CompletedCommand[]) => string>> = { bash, zsh, fish };

function bash(commands: readonly CompletedCommand[]): string {
  const cases = commands.map((one) => {
    const words = [...one.options.flatMap(({ flags }) => flags), ...one.values].join(" ");
    const valued = one.options.filter(({ values }) => values.length > 0)
      .map(({ flags, values }) => `      ${flags.join("|")}) COMPREPLY=($(compgen -W '${values.join(" ")}' -- "$word")); return ;;\n`);
    return `    ${one.name})\n${valued.length === 0 ? "" : `      case $before in\n${valued.join("")}      esac\n`}`
      + `      words='${words}' ;;\n`;
  });
  return `# twinplane completion for bash
_twinplane() {
  local word=\${COMP_WORDS[COMP_CWORD]} before=\${COMP_WORDS[COMP_CWORD-1]} words=
  if [ "$COMP_CWORD" = 1 ]; then
    COMPREPLY=($(compgen -W '${commands.map(({ name }) => name).join(" ")} --help --version' -- "$word"))
    return
  fi
  case \${COMP_WORDS[1]} in
${cases.join("")}  esac
  COMPREPLY=($(compgen -W "$words --help" -- "$word"))
}
complete -o bashdefault -o default -F _twinplane twinplane
`;
}

function zsh(commands: readonly CompletedCommand[]): string {
  const cases = commands.map(({ name, options, values }) => {
    const specs = options.flatMap((option) => option.flags.map((flag) =>
      `'${flag}[${zshText(option.what)}]${option.values.length === 0 ? "" : `:value:(${option.values.join(" ")})`}'`));
    const rest = values.length === 0 ? "'*:file:_files'" : `'1:value:(${values.join(" ")})'`;
    return `    ${name}) _arguments ${[...specs, rest].join(" ")} ;;\n`;
  });
  return `#compdef twinplane
_twinplane() {
  if (( CURRENT == 2 )); then
    local -a commands=(${commands.map(({ name, what }) => `'${name}:${zshText(what)}'`).join(" ")})
    _describe command commands
    return
  fi
  local command=$words[2]
  words=($words[2,-1]); (( CURRENT-- ))
  case $command in
${cases.join("")}  esac
}
_twinplane "$@"
`;
}

function fish(commands: readonly CompletedCommand[]): string {
  const lines = commands.flatMap(({ name, what, options, values }) => [
    `complete -c twinplane -n __fish_use_subcommand -a ${name} -d '${quoted(what)}'`,
    ...options.map((option) => {
      const flags = option.flags.map((flag) => (flag.startsWith("--") ? `-l ${flag.slice(2)}` : `-s ${flag.slice(1)}`)).join(" ");
      const of = option.values.length === 0 ? "" : ` -x -a '${option.values.join(" ")}'`;
      return `complete -c twinplane -n '__fish_seen_subcommand_from ${name}' ${flags}${of} -d '${quoted(option.what)}'`;
    }),
    ...(values.length === 0 ? [] : [`complete -c twinplane -n '__fish_seen_subcommand_from ${name}' -x -a '${values.join(" ")}'`]),
  ]);
  return `# twinplane completion for fish\n${lines.join("\n")}\n`;
}

/** Its first part: what stands before a colon, semicolon or bracket. */
function sentence(text: string): string {
  return text.split(/[:;(]/)[0].trim();
}

function quoted(text: string): string {
  return text.replace(/[\\']/g, "\\$&");
}

function zshText(text: string): string {
  return text.replaceAll("'", "’").replace(/[\\[\]:]/g, "\\$&");
}
