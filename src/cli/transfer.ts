/** `memory3 export` and `memory3 import`: a whole bank as one portable file. */
import type { Command } from 'commander';
import { exportBank, importBank } from '../bank/transfer.ts';
import { counted } from '../counted.ts';
import { bankPath } from '../hub/home.ts';
import { newCommand, terminalOf } from './command.ts';
import { addBankFlag, type BankFlags } from './options.ts';
import { formatHoldings } from './terminal.ts';

export function addExport(program: Command): void {
  const command = newCommand(program, 'export <file>', 'back up a whole bank into one file (gzip, JSON Lines)', [
    'export notes.jsonl.gz --bank notes',
  ]);
  addBankFlag(command).action(async (file: string, flags: BankFlags & { json?: boolean }) => {
    const terminal = terminalOf(flags);
    const counts = await exportBank(bankPath(flags.bank), file);
    terminal.result(
      { file, ...counts },
      () => `${file}: ${counted(counts.documents, 'document')}, ${formatHoldings(counts)}`,
    );
  });
}

export function addImport(program: Command): void {
  const command = newCommand(program, 'import <file>', 'put an exported file into a bank, made if there is none', [
    'import notes.jsonl.gz --bank notes',
  ]);
  addBankFlag(command).action(async (file: string, flags: BankFlags & { json?: boolean }) => {
    const terminal = terminalOf(flags);
    const result = await importBank(file, bankPath(flags.bank));
    if (result.otherwiseCut > 0) {
      terminal.notice(
        `${counted(result.otherwiseCut, 'memory was', 'memories were')} left out, since the bank holds their documents cut otherwise; "memory3 add" or the first recall writes them.`,
      );
    }
    terminal.result({ file, ...result }, () => {
      const { added, replaced, unchanged, alias } = result.outcomes;
      return `${file}: ${counted(added, 'document')} added, ${replaced} replaced, ${unchanged + alias} known; ${formatHoldings(result)}`;
    });
  });
}
