/** What all commands have in common: `--json`, examples in `--help`, and what an action is given. */
import type { Command } from 'commander';
import { openTerminal, type Terminal } from './terminal.ts';

export interface CommandContext {
  readonly terminal: Terminal;
  /** Aborted by Ctrl+C. */
  readonly signal: AbortSignal;
}

/** A module of this folder: adds its command to the program. */
export type AddCommand = (program: Command, signal: AbortSignal) => void;

/**
 * @param name the command and its arguments, as commander writes them: "show <document>"
 * @param examples lines for `--help`, without "memory3"
 */
export function newCommand(program: Command, name: string, description: string, examples: readonly string[]): Command {
  return program
    .command(name)
    .description(description)
    .option('--json', 'print JSON only')
    .addHelpText('after', `\nExamples:\n${examples.map((example) => `  $ memory3 ${example}`).join('\n')}`);
}

/** The context of an action, from the command's own flags. */
export function contextOf(flags: { readonly json?: boolean }, signal: AbortSignal): CommandContext {
  return { terminal: openTerminal({ json: flags.json === true }), signal };
}
