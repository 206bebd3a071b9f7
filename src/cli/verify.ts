/** `memory3 verify`: read every row of a bank and its index; exit code 4 if something is wrong. */
import type { Command } from 'commander';
import type { MemoryBank } from '../bank/bank.ts';
import { withinVerify } from '../bank/failure.ts';
import { logBytes } from '../bank/open.ts';
import { openBank } from '../bank/sqlite.ts';
import { counted } from '../counted.ts';
import { bankPath } from '../hub/home.ts';
import { newCommand, terminalOf } from './command.ts';
import { exitCodes } from './exit.ts';
import { addBankFlag, type BankFlags, namedBank } from './options.ts';

export function addVerify(program: Command): void {
  const command = newCommand(program, 'verify [bank]', 'read every row of a bank and its index, name what is damaged', [
    'verify',
    'verify notes && memory3 export /backup/notes.jsonl.gz --bank notes',
  ]);
  addBankFlag(command).action((name: string | undefined, flags: BankFlags & { json?: boolean }) => {
    const terminal = terminalOf(flags);
    const path = bankPath(namedBank(name, flags, command));
    let problems = 0;
    using bank = openForVerifying(path);
    for (const problem of bank.verify()) {
      problems++;
      terminal.result(problem, () => `${terminal.colours.red(problem.where)}: ${problem.what}`);
    }
    const inLog = logBytes(bank.path);
    terminal.result({ path, problems, logBytes: inLog }, () =>
      problems === 0
        ? `${path} is sound.`
        : `${path}: ${counted(problems, 'problem')}. Restore a copy or an export, or add the documents to a new bank. If only memories are damaged, "memory3 remove" their documents by all their names, then "memory3 add" them.`,
    );
    if (inLog > 0) {
      terminal.notice(
        `${bank.path}-wal may hold what is not in the file yet, so a copy of the file alone is no backup: use "memory3 export".`,
      );
    }
    if (problems > 0) process.exitCode = exitCodes.damaged;
  });
}

function openForVerifying(path: string): MemoryBank {
  try {
    return openBank(path, { mode: 'read' });
  } catch (error) {
    throw withinVerify(error);
  }
}
