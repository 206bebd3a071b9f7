/** `memory3 list`: the documents of a bank. */
import type { Command } from 'commander';
import { openBank } from '../bank/sqlite.ts';
import { bankPath } from '../hub/home.ts';
import { newCommand, terminalOf } from './command.ts';
import { addBankFlag, type BankFlags } from './options.ts';
import { table } from './terminal.ts';

export function addList(program: Command): void {
  const command = newCommand(program, 'list', 'list the documents of a bank', ['list', 'list --bank notes --json']);
  addBankFlag(command).action((flags: BankFlags & { json?: boolean }) => {
    const terminal = terminalOf(flags);
    using bank = openBank(bankPath(flags.bank), { mode: 'read' });
    const documents = [...bank.documents()];
    const { model, profile } = bank.stats().identity;
    terminal.notice(`Memories of ${model.name}: ${profile.name}.`);
    terminal.results(documents, () =>
      documents.length === 0
        ? 'The bank is empty. Fill it with "memory3 add".'
        : table(
            ['name', 'references', 'memories', 'characters', 'added', 'title'],
            documents.map((document) => [
              [document.name, ...document.aliases].join(' = '),
              document.references,
              document.memories,
              document.characters,
              document.addedAt.slice(0, 10),
              document.title ?? '',
            ]),
          ),
    );
  });
}
