/** `memory3 show`: one document with its references, its text, or one reference. */
import type { Command } from 'commander';
import { z } from 'zod';
import type { MemoryBank, StoredReference } from '../bank/bank.ts';
import { openBank } from '../bank/sqlite.ts';
import { counted } from '../counted.ts';
import { Memory3Error } from '../errors.ts';
import { bankPath } from '../hub/home.ts';
import { newCommand, terminalOf } from './command.ts';
import { findDocument } from './find-document.ts';
import { addBankFlag, type BankFlags, number, refuseIdle } from './options.ts';
import { formatBytes, formatHoldings, type Terminal } from './terminal.ts';

interface ShowFlags extends BankFlags {
  readonly text?: boolean;
  readonly reference?: number;
  readonly json?: boolean;
}

export function addShow(program: Command): void {
  const command = newCommand(program, 'show [document]', 'show a document and its references, or one reference', [
    'show notes/bees.md',
    'show notes/bees.md --text',
    'show --reference 17',
  ])
    .option('--text', "print the document's text")
    .addOption(number('--reference <id>', 'show the reference with this number', z.int().min(1)));
  addBankFlag(command).action((name: string | undefined, flags: ShowFlags) => {
    if (flags.reference !== undefined) {
      const other = 'one reference is shown with --reference';
      if (name !== undefined) {
        const remedy = 'Show the document and the reference one after the other.';
        throw new Memory3Error('usage', `"${name}": ${other}, no document.`, { remedy });
      }
      refuseIdle(command, ['text'], `${other}, with its text`, 'leave out --reference');
    }
    const terminal = terminalOf(flags);
    using bank = openBank(bankPath(flags.bank), { mode: 'read' });
    if (flags.reference !== undefined) showReference(bank, bank.reference(flags.reference), terminal);
    else if (name !== undefined) showDocument(bank, name, flags.text === true, terminal);
    else throw new Memory3Error('usage', 'Which document?', { remedy: 'memory3 list shows their names.' });
  });
}

function showDocument(bank: MemoryBank, name: string, withText: boolean, terminal: Terminal): void {
  const document = findDocument(bank, name)?.document;
  if (document === undefined) {
    throw new Memory3Error('not-found', `The bank has no document "${name}".`, {
      remedy: 'memory3 list shows their names.',
    });
  }
  if (withText) {
    const text = bank.documentText(document.id);
    terminal.result({ ...document, text }, () => text);
    return;
  }
  const references = bank.references(document.id);
  terminal.result({ ...document, references: references.map((reference) => withMemory(bank, reference)) }, () => {
    const { bold, dim } = terminal.colours;
    const head = `${bold(document.title ?? document.name)}\n${document.name}, ${document.mediaType}, ${counted(document.characters, 'character')}, ${formatHoldings(document)}`;
    return [head, ...references.map(({ id, text }) => `${dim(`[${id}]`)} ${text}`)].join('\n\n');
  });
}

function showReference(bank: MemoryBank, reference: StoredReference, terminal: Terminal): void {
  const value = withMemory(bank, reference);
  terminal.result(value, () => {
    const memory = value.memoryBytes === null ? 'no memory yet' : `memory of ${formatBytes(value.memoryBytes)}`;
    return `${terminal.colours.bold(reference.documentName)} characters ${reference.start} to ${reference.end}, ${reference.tokens.length} tokens, ${memory}\n\n${reference.text}`;
  });
}

function withMemory(bank: MemoryBank, reference: StoredReference): StoredReference & { memoryBytes: number | null } {
  return { ...reference, memoryBytes: bank.memory(reference.id)?.length ?? null };
}
