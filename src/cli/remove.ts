/** `memory3 remove`: take documents out of a bank. */
import type { Command } from 'commander';
import { openBank } from '../bank/sqlite.ts';
import { bankPath } from '../hub/home.ts';
import { newCommand, terminalOf } from './command.ts';
import { exitCodes } from './exit.ts';
import { findDocument } from './find-document.ts';
import { addBankFlag, type BankFlags } from './options.ts';

export function addRemove(program: Command): void {
  const command = newCommand(program, 'remove <documents...>', 'take documents and their memories out of a bank', [
    'remove notes/bees.md',
    'remove --bank notes a.txt b.txt',
  ]);
  addBankFlag(command).action((names: string[], flags: BankFlags & { json?: boolean }) => {
    const terminal = terminalOf(flags);
    using bank = openBank(bankPath(flags.bank), { mode: 'write' });
    for (const given of names) {
      const name = findDocument(bank, given)?.name ?? given;
      const removed = bank.removeDocument(name);
      terminal.result({ name, removed }, () => (removed ? `removed ${name}` : ''));
      if (removed) continue;
      terminal.notice(`The bank has no document "${name}". memory3 list shows their names.`);
      process.exitCode = exitCodes['not-found'];
    }
  });
}
