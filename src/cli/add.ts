/** `memory3 add` and `memory3 rewrite`: fill a bank with documents and their memories. */
import type { Command } from 'commander';
import { counted } from '../counted.ts';
import { addSources, type LibraryEvent, type RewriteEvent, rewriteLibrary } from '../generate/library.ts';
import { openWorkspace } from '../generate/workspace.ts';
import { listInputs } from '../retrieval/inputs.ts';
import { newCommand, terminalOf } from './command.ts';
import { exitCodes } from './exit.ts';
import type { Interrupt } from './interrupt.ts';
import {
  addBankFlag,
  addModelFlags,
  type BankFlags,
  type ModelFlags,
  namedBank,
  refuseIdle,
  workspaceOptions,
} from './options.ts';
import { showFetching } from './pull.ts';
import { formatDuration, formatHoldings, type Terminal } from './terminal.ts';

interface AddFlags extends BankFlags, ModelFlags {
  readonly cold?: boolean;
  readonly stdinName?: string;
  readonly textField?: string;
  readonly titleField?: string;
  readonly idField?: string;
  readonly json?: boolean;
}

export function addAdd(program: Command, interrupt: Interrupt): void {
  const command = newCommand(
    program,
    'add <sources...>',
    'put files, folders, globs or standard input (-) into a bank: text, Markdown, HTML, PDF, Word, JSON Lines (plain or gzip)',
    [
      'add notes/ "papers/*.pdf"',
      'add --bank wiki articles.jsonl --text-field body',
      'git log | memory3 add - --stdin-name history',
      'add notes/ --cold   # memories are written when they are first recalled',
    ],
  )
    .option('--cold', 'write no memories now')
    .option('--stdin-name <name>', 'what standard input is called in the bank')
    .option('--text-field <name>', 'field of JSON Lines that holds the text')
    .option('--title-field <name>', 'field of JSON Lines that holds the title')
    .option('--id-field <name>', 'field of JSON Lines that names the document');
  addModelFlags(addBankFlag(command)).action(async (sources: string[], flags: AddFlags) => {
    if (!sources.includes('-')) {
      refuseIdle(command, ['stdinName'], 'standard input is none of the sources', 'name it as "-"');
    }
    const terminal = terminalOf(flags);
    const signal = interrupt.signal();
    // A wrong name makes no bank, and fetches no model.
    await listInputs(sources, process.cwd());
    using fetching = showFetching(terminal, signal, flags.offline);
    await using workspace = await openWorkspace({
      ...workspaceOptions(flags),
      bankMode: 'write',
      fetch: fetching.options,
      onNotice: (message) => terminal.notice(message),
    });
    const { stdinName, textField, titleField, idField } = flags;
    await report(
      addSources(workspace, sources, {
        signal,
        memories: flags.cold !== true,
        ...(stdinName !== undefined && { stdinName }),
        ...(textField !== undefined && { textField }),
        ...(titleField !== undefined && { titleField }),
        ...(idField !== undefined && { idField }),
      }),
      terminal,
    );
  });
}

export function addRewrite(program: Command, interrupt: Interrupt): void {
  const command = newCommand(program, 'rewrite [bank]', 'write a bank again for another model, profile or embedder', [
    'rewrite notes --model hf:Qwen/Qwen2.5-0.5B-Instruct-GGUF/qwen2.5-0.5b-instruct-q4_0.gguf',
    'rewrite notes --kept 8 --layers first-half',
  ]).option('--cold', 'write no memories now');
  addModelFlags(addBankFlag(command)).action(async (name: string | undefined, flags: AddFlags) => {
    const bank = namedBank(name, flags, command);
    const terminal = terminalOf(flags);
    const signal = interrupt.signal();
    using fetching = showFetching(terminal, signal, flags.offline);
    const options = { ...workspaceOptions(flags), bank, fetch: fetching.options };
    await report(rewriteLibrary(options, { signal, memories: flags.cold !== true }), terminal);
  });
}

/** Shows events as they come, each a line with `--json`, and sums them up at the end. */
async function report(events: AsyncIterable<LibraryEvent | RewriteEvent>, terminal: Terminal): Promise<void> {
  const counts = { added: 0, replaced: 0, unchanged: 0, alias: 0, skipped: 0, references: 0, memories: 0 };
  const started = performance.now();
  using bar = terminal.progress('memories');
  for await (const event of events) {
    if (terminal.json) terminal.result(event, () => '');
    if (event.kind === 'document') {
      counts[event.outcome]++;
      // Of a known document they were written before.
      if (event.outcome === 'added' || event.outcome === 'replaced') counts.references += event.references;
      if (!terminal.json && event.outcome !== 'unchanged') {
        terminal.notice(`${event.outcome} ${event.name} (${counted(event.references, 'reference')})`);
      }
    } else if (event.kind === 'skipped') {
      counts.skipped++;
      terminal.notice(`${event.name} was skipped: ${event.reason}`);
    } else if (event.kind === 'memories') {
      counts.memories += event.referenceIds.length;
      const rate = `${event.tokensPerSecond.toFixed(0)} tokens/s`;
      bar.update(event.done, event.total, `${rate}, ${formatDuration(event.secondsLeft)} left`);
    } else if (event.changed.length > 0) {
      terminal.notice(`Written again because of another ${event.changed.join(', ')}.`);
    } else {
      terminal.notice(
        'The bank is as it was asked for: only what is missing is written. --kept, --layers, --model and others ask for another.',
      );
    }
  }
  bar[Symbol.dispose]();
  const seconds = (performance.now() - started) / 1000;
  terminal.result({ kind: 'end', ...counts, seconds }, () => {
    const { added, replaced, unchanged, alias, skipped, references, memories } = counts;
    const documents = `${counted(added, 'document')} added, ${replaced} replaced, ${unchanged + alias} known, ${skipped} skipped`;
    return `${documents}; ${formatHoldings({ references, memories })} written in ${formatDuration(seconds)}`;
  });
  const stored = counts.added + counts.replaced + counts.unchanged + counts.alias;
  if (counts.skipped > 0 && stored === 0) process.exitCode = exitCodes.failure;
}
