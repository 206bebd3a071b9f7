/** `memory3 bench`: speed, and beside it quality, layers, heads, ability, likelihoods and throughput (`bench-*.ts`). */
import type { Command } from 'commander';
import { z } from 'zod';
import { measureSpeed, type SpeedReport } from '../evaluate/speed.ts';
import { openModel } from '../generate/workspace.ts';
import { defaultEmbedder } from '../hub/catalogue.ts';
import { openEmbedder } from '../retrieval/embedder.ts';
import { addAbility } from './bench-ability.ts';
import { addHeads } from './bench-heads.ts';
import { addLayers } from './bench-layers.ts';
import { addLikelihoods } from './bench-likelihoods.ts';
import { addQuality } from './bench-quality.ts';
import { addThroughput } from './bench-throughput.ts';
import { newCommand, terminalOf } from './command.ts';
import type { Interrupt } from './interrupt.ts';
import { addModelFlags, definedOnly, type ModelFlags, modelOptions, number } from './options.ts';
import { showFetching } from './pull.ts';
import { formatBytes, table } from './terminal.ts';

export function addBench(program: Command, interrupt: Interrupt): void {
  const bench = program.command('bench').description('measure speed, quality, or what attention heads do');
  bench.addHelpText(
    'after',
    '\nExamples:\n  $ memory3 bench speed --json\n  $ memory3 bench quality --contexts c.jsonl --questions q.jsonl --limit 100',
  );
  addSpeed(bench, interrupt);
  addQuality(bench, interrupt);
  addLayers(bench, interrupt);
  addAbility(bench, interrupt);
  addLikelihoods(bench, interrupt);
  addHeads(bench, interrupt);
  addThroughput(bench, interrupt);
}

interface SpeedFlags extends ModelFlags {
  readonly rounds: number;
  readonly references: number;
  readonly llamaCpp: boolean;
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
    )
    .option('--no-llama-cpp', 'without the comparison');
  addModelFlags(command).action(async (flags: SpeedFlags) => {
    const terminal = terminalOf(flags);
    const signal = interrupt.signal();
    using fetching = showFetching(terminal, signal, flags.offline);
    const opening = modelOptions(flags);
    const embedderName = flags.embedder ?? defaultEmbedder;
    await using opened = await openModel({ ...opening, fetch: fetching.options });
    await using embedder = await openEmbedder(embedderName, opened.model.device, fetching.options);
    const report = await measureSpeed(opened, embedder, {
      rounds: flags.rounds,
      recallReferences: flags.references,
      opening: { ...opening, embedder: embedderName, fetch: definedOnly({ offline: flags.offline }) },
      llamaCpp: flags.llamaCpp,
      onNotice: terminal.notice,
      signal,
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
