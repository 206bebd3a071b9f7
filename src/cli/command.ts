/** What all commands have in common: `--json`, examples in `--help`, and the terminal of an action. */
import type { Command } from 'commander';
import type { Interrupt } from './interrupt.ts';
import { openTerminal, type Terminal } from './terminal.ts';

/** A module of this folder: adds its command to the program. */
export type AddCommand = (program: Command, interrupt: Interrupt) => void;

/**
 * @param name the command and its arguments, as commander writes them: "show <document>"
 * @param examples lines for `--help`, without the first "memory3"; a pipe from another program stands as it is
 */
export function newCommand(program: Command, name: string, description: string, examples: readonly string[]): Command {
  return program
    .command(name)
    .description(description)
    .option('--json', 'print JSON only')
    .addHelpText('after', `\nExamples:\n${examples.map(exampleLine).join('\n')}`);
}

function exampleLine(example: string): string {
  return example.includes('| memory3 ') ? `  $ ${example}` : `  $ memory3 ${example}`;
}

/** The terminal of an action, from the command's own flags. */
export function terminalOf(flags: { readonly json?: boolean }): Terminal {
  return openTerminal({ json: flags.json === true });
}
