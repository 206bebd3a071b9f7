/** `memory3 bench throughput`: tokens per second of whole batches (the paper's Table 21). */
import type { Command } from 'commander';
import { z } from 'zod';
import { measureThroughput, type ThroughputMode, type ThroughputReport } from '../evaluate/throughput.ts';
import { openModel } from '../generate/workspace.ts';
import { defaultEmbedder } from '../hub/catalogue.ts';
import { openEmbedder } from '../retrieval/embedder.ts';
import { newCommand, terminalOf } from './command.ts';
import type { Interrupt } from './interrupt.ts';
import { addModelFlags, checked, type ModelFlags, modelOptions, number } from './options.ts';
import { showFetching } from './pull.ts';
import { table } from './terminal.ts';

interface ThroughputFlags extends ModelFlags {
  readonly batches: readonly number[];
  readonly references: readonly number[];
  readonly input: number;
  readonly output: number;
  readonly rounds: number;
  readonly llamaCpp: boolean;
  readonly json?: boolean;
}

/** "1,32" */
const numbers = z
  .string()
  .regex(/^\d+(,\d+)*$/, 'Whole numbers with commas between them are expected.')
  .transform((text) => text.split(',').map(Number))
  .pipe(z.array(z.int().min(1).max(256)));
const length = z.int().min(1).max(4096);

export function addThroughput(bench: Command, interrupt: Interrupt): void {
  const command = newCommand(
    bench,
    'throughput',
    'batches of questions: without memory, with it, with RAG, llama.cpp',
    ['bench throughput --threads 2 --json', 'bench throughput --batches 1,8 --references 5 --rounds 1 --no-llama-cpp'],
  )
    .addOption(checked('--batches <list>', 'questions answered at once', numbers).default([1, 32], '1,32'))
    .addOption(checked('--references <list>', 'references as text', numbers).default([1, 3, 5], '1,3,5'))
    .addOption(number('--input <n>', 'tokens of a question', length).default(128))
    .addOption(number('--output <n>', 'tokens of an answer', length).default(128))
    .addOption(number('--rounds <n>', 'rounds that are counted', z.int().min(1).max(100)).default(3))
    .option('--no-llama-cpp', 'without the comparison');
  addModelFlags(command).action(async (flags: ThroughputFlags) => {
    const terminal = terminalOf(flags);
    const signal = interrupt.signal();
    using fetching = showFetching(terminal, signal, flags.offline);
    await using opened = await openModel({ ...modelOptions(flags), fetch: fetching.options });
    await using embedder = await openEmbedder(flags.embedder ?? defaultEmbedder, opened.model.device, fetching.options);
    const report = await measureThroughput(opened, embedder, {
      batches: flags.batches,
      references: flags.references,
      promptTokens: flags.input,
      newTokens: flags.output,
      rounds: flags.rounds,
      threads: flags.threads ?? 0,
      llamaCpp: flags.llamaCpp,
      onNotice: (message) => {
        signal.throwIfAborted();
        terminal.notice(message);
      },
    });
    terminal.result(report, () => describeThroughput(report));
  });
}

function describeThroughput({ rows }: ThroughputReport): string {
  return table(
    ['batch', 'engine', 'given', 'prompt', 'tok/s', 'of without', 'first token', 'GFLOPs an answer'],
    rows.map(({ batch, engine, mode, promptTokens, tokensPerSecond, ratio, firstTokenMs, flops }) => [
      batch,
      engine,
      describeMode(mode),
      Math.round(promptTokens),
      tokensPerSecond.toFixed(1),
      ratio.toFixed(3),
      `${firstTokenMs.toFixed(0)} ms`,
      (flops / 1e9).toPrecision(3),
    ]),
  );
}

function describeMode(mode: ThroughputMode): string {
  if (mode.kind === 'none') return 'nothing';
  return mode.kind === 'memory' ? 'five memories a chunk' : `${mode.references} as text`;
}
