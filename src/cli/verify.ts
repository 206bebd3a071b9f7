/** `memory3 verify`: read every row of a bank and its index; exit code 4 if something is wrong. */
import type { Command } from 'commander';
import { openBank } from '../bank/sqlite.ts';
import { bankPath } from '../hub/home.ts';
import { newCommand, terminalOf } from './command.ts';
import { exitCodes } from './exit.ts';
import { addBankFlag, type BankFlags } from './options.ts';

export function addVerify(program: Command): void {
  const command = newCommand(program, 'verify [bank]', 'read every row of a bank and its index, name what is damaged', [
    'verify',
    'verify notes && cp ~/.local/share/memory3/banks/notes.memory3 /backup',
  ]);
  addBankFlag(command).action((name: string | undefined, flags: BankFlags & { json?: boolean }) => {
    const terminal = terminalOf(flags);
    const path = bankPath(name ?? flags.bank);
    let problems = 0;
    using bank = openBank(path, { mode: 'read' });
    for (const problem of bank.verify()) {
      problems++;
      terminal.result(problem, () => `${terminal.colours.red(problem.where)}: ${problem.what}`);
    }
    terminal.result({ path, problems }, () =>
      problems === 0
        ? `${path} is sound.`
        : `${path}: ${problems} problems. Restore a copy or an export, or add the documents to a new bank.`,
    );
    if (problems > 0) process.exitCode = exitCodes.damaged;
  });
}
