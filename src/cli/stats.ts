/** `memory3 stats`: what a bank holds and what it was written with. */
import type { Command } from 'commander';
import { openBank } from '../bank/sqlite.ts';
import { bankPath } from '../hub/home.ts';
import { newCommand, terminalOf } from './command.ts';
import { addBankFlag, type BankFlags, namedBank } from './options.ts';
import { formatBytes, formatCount } from './terminal.ts';

export function addStats(program: Command): void {
  const command = newCommand(program, 'stats [bank]', 'what a bank holds and what it was written with', [
    'stats',
    'stats notes --json',
  ]);
  addBankFlag(command).action((name: string | undefined, flags: BankFlags & { json?: boolean }) => {
    const terminal = terminalOf(flags);
    using bank = openBank(bankPath(namedBank(name, flags, command)), { mode: 'read' });
    const stats = bank.stats();
    terminal.result({ path: bank.path, ...stats }, () => {
      const { model, profile, embedder } = stats.identity;
      const rows: [string, string][] = [
        ['bank', bank.path],
        ['documents', formatCount(stats.documents)],
        ...(stats.pending > 0
          ? [['pending', `${formatCount(stats.pending)}: run memory3 rewrite`] as [string, string]]
          : []),
        ['references', formatCount(stats.references)],
        ['memories', `${formatCount(stats.memories)}, ${formatBytes(stats.memoryBytes)}`],
        ['file', formatBytes(stats.fileBytes)],
        ['model', model.name],
        ['profile', profile.name],
        ['embedder', `${embedder.name}, ${embedder.dimensions} dimensions`],
      ];
      return rows.map(([label, value]) => `${terminal.colours.dim(label.padEnd(11))}${value}`).join('\n');
    });
  });
}
