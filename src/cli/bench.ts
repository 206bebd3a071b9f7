/** `memory3 bench speed` and `memory3 bench quality`: measure this machine, this model, its memories. */
import type { Command } from 'commander';
import { z } from 'zod';
import { measureQuality, type QualityRow } from '../evaluate/quality.ts';
import { readQuestions } from '../evaluate/questions.ts';
import { measureSpeed, type SpeedReport } from '../evaluate/speed.ts';
import { seededRandom } from '../generate/sampling.ts';
import { openModel } from '../generate/workspace.ts';
import { defaultEmbedder } from '../hub/catalogue.ts';
import { referenceTokens } from '../memory/profile.ts';
import { openEmbedder } from '../retrieval/embedder.ts';
import { newCommand, terminalOf } from './command.ts';
import type { Interrupt } from './interrupt.ts';
import { addModelFlags, kept, type ModelFlags, modelOptions, number } from './options.ts';
import { showFetching } from './pull.ts';
import { formatBytes, table } from './terminal.ts';

export function addBench(program: Command, interrupt: Interrupt): void {
  const bench = program.command('bench').description('measure speed or quality');
  bench.addHelpText(
    'after',
    '\nExamples:\n  $ memory3 bench speed --json\n  $ memory3 bench quality --contexts c.jsonl --questions q.jsonl --limit 100',
  );
  addSpeed(bench, interrupt);
  addQuality(bench, interrupt);
}

interface SpeedFlags extends ModelFlags {
  readonly rounds: number;
  readonly references: number;
  readonly json?: boolean;
}

function addSpeed(bench: Command, interrupt: Interrupt): void {
  const command = newCommand(bench, 'speed', 'decoding, first token, recall, writing, memory; takes minutes', [
    'bench speed',
    'bench speed --threads 2 --json',
  ])
    .addOption(number('--rounds <n>', 'rounds that are counted', z.int().min(1).max(100)).default(7))
    .addOption(
      number('--references <n>', 'references that recall searches', z.int().min(1000).max(1e7)).default(100_000),
    );
  addModelFlags(command).action(async (flags: SpeedFlags) => {
    const terminal = terminalOf(flags);
    const signal = interrupt.signal();
    using fetching = showFetching(terminal, signal, flags.offline);
    await using opened = await openModel({ ...modelOptions(flags), fetch: fetching.options });
    await using embedder = await openEmbedder(flags.embedder ?? defaultEmbedder, opened.model.device, fetching.options);
    const report = await measureSpeed(opened, embedder, {
      rounds: flags.rounds,
      recallReferences: flags.references,
      threads: flags.threads ?? 0,
      onNotice: (message) => {
        signal.throwIfAborted();
        terminal.notice(message);
      },
    });
    terminal.result(report, () => describeSpeed(report));
  });
}

function describeSpeed({
  decode,
  firstToken,
  llamaCpp,
  load,
  recall,
  write,
  prefill,
  peakMemoryMB,
}: SpeedReport): string {
  const rate = (value: number) => `${value.toFixed(1)} tok/s`;
  const rows: [string, string, string][] = [
    ['decode without memory', rate(decode.plain), ''],
    ['decode behind the RAG prompt', rate(decode.rag), ratio(decode.rag / decode.plain)],
    ...Object.entries(decode.byKept).map(([name, value]): [string, string, string] => [
      `decode with memory, kept ${name}`,
      rate(value),
      ratio(decode.ratioByKept[name as keyof typeof decode.ratioByKept]),
    ]),
    ['first token, RAG', `${firstToken.ragMs.toFixed(0)} ms`, ''],
    ...Object.entries(firstToken.memoryMsByKept).map(([name, value]): [string, string, string] => [
      `first token, memory, kept ${name}`,
      `${value.toFixed(0)} ms`,
      ratio(firstToken.ratioByKept[name as keyof typeof firstToken.ratioByKept]),
    ]),
    ['prefill', rate(prefill), ''],
    ['writing', rate(write.tokensPerSecond), ratio(write.prefillRatio)],
    ['loading a memory', `${load.msPerMemory.toFixed(2)} ms`, formatBytes(load.bytesPerMemory)],
    [
      `recall from ${recall.references} references`,
      `${recall.ms.toFixed(1)} ms`,
      `embedding ${recall.embedMs.toFixed(1)} ms`,
    ],
    ...(llamaCpp === null
      ? []
      : [
          ['llama.cpp decode', rate(llamaCpp.decode), ratio(llamaCpp.decodeRatio)] as [string, string, string],
          ['llama.cpp prefill', rate(llamaCpp.prefill), ratio(llamaCpp.prefillRatio)] as [string, string, string],
        ]),
    ['peak memory of ask', `${peakMemoryMB.toFixed(0)} MB`, ''],
  ];
  return table(['measured', 'value', 'ratio'], rows);
}

function ratio(value: number): string {
  return value.toFixed(2);
}

interface QualityFlags extends ModelFlags {
  readonly contexts: string;
  readonly questions: string;
  readonly limit: number;
  readonly distractors: number;
  readonly seed: number;
  readonly choices: string;
  readonly keep: readonly (number | 'all')[];
  readonly json?: boolean;
}

function addQuality(bench: Command, interrupt: Interrupt): void {
  const command = newCommand(bench, 'quality', 'likelihood and answers with memory, with RAG, with neither', [
    'bench quality --contexts contexts.jsonl.gz --questions qas.jsonl.gz --limit 200',
    'bench quality --contexts c.jsonl --questions q.jsonl --choices "first-half middle" --keep 8 --keep all',
  ])
    .requiredOption('--contexts <file>', 'JSON Lines with context_id and text, plain or gzip')
    .requiredOption('--questions <file>', 'JSON Lines with context_id, question, answers and answer_starts')
    .addOption(number('--limit <n>', 'questions', z.int().min(1)).default(100))
    .addOption(
      number('--distractors <n>', 'references of other passages beside the right one', z.int().min(0).max(63)).default(
        0,
      ),
    )
    .addOption(number('--seed <n>', 'orders the questions', z.int().min(0).max(0xffff_ffff)).default(0))
    .option(
      '--choices <layers>',
      'choices of memory layers, with spaces between them',
      'first-half middle last-half all',
    )
    .addOption(keepOption());
  addModelFlags(command).action(async (flags: QualityFlags) => {
    const terminal = terminalOf(flags);
    const signal = interrupt.signal();
    using fetching = showFetching(terminal, signal, flags.offline);
    await using opened = await openModel({ ...modelOptions(flags), fetch: fetching.options });
    const { header, scoring, storage } = opened.profile;
    const set = readQuestions(flags.contexts, flags.questions, opened.tokenizer, {
      limit: flags.limit,
      distractors: flags.distractors,
      random: seededRandom(flags.seed),
      maxTokens: referenceTokens - header.length,
    });
    terminal.notice(
      `${set.items.length} questions; left out: ${set.cut} whose answer is cut, ${set.unanswerable} without an answer`,
    );
    const rows: QualityRow[] = [];
    const layers = flags.choices.split(/\s+/).filter((choice) => choice !== '');
    const options = { layers, kept: flags.keep, scoring, storage, header, repeatPrompt: opened.repeatPrompt };
    for await (const row of measureQuality(opened.model, opened.tokenizer, set.items, options)) {
      signal.throwIfAborted();
      rows.push(row);
      if (terminal.json) terminal.result(row, () => '');
      else terminal.notice(`${row.mode} ${row.layers ?? ''} ${row.kept ?? ''}: nll ${row.nll.toFixed(3)}`);
    }
    if (!terminal.json) terminal.result(rows, () => describeQuality(rows));
  });
}

/** `--keep`, which may be given again; the first one replaces the default. */
function keepOption() {
  const defaults: (number | 'all')[] = [8, 16, 32, 64, 'all'];
  const option = kept('--keep <n>', 'kept tokens to compare; may be given again').default(defaults);
  const parse = option.parseArg as (value: string, earlier: unknown) => number | 'all';
  return option.argParser((value: string, earlier: typeof defaults) => [
    ...(earlier === defaults ? [] : earlier),
    parse(value, undefined),
  ]);
}

function describeQuality(rows: readonly QualityRow[]): string {
  return table(
    ['mode', 'layers', 'kept', 'references', 'nll', 'exact', 'f1', 'bytes/reference'],
    rows.map((row) => [
      row.mode,
      row.layers ?? '',
      String(row.kept ?? ''),
      row.memories.toFixed(0),
      row.nll.toFixed(3),
      row.exact.toFixed(3),
      row.f1.toFixed(3),
      row.bytesPerReference === null ? '' : formatBytes(row.bytesPerReference),
    ]),
  );
}
