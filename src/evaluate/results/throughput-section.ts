/** The section of the results page about throughput. */
import { counted } from '../../counted.ts';
import { blocks, markdownTable } from './markdown.ts';
import type { ThroughputPart } from './plan.ts';
import type { StoredThroughput, ThroughputCell } from './stored-throughput.ts';
import { paperWords } from './words.ts';

export function throughputSection(part: ThroughputPart, stored: StoredThroughput | null): string {
  return blocks(
    `## ${part.title}`,
    part.about,
    ...(stored === null ? ['Not measured yet.'] : measured(stored)),
    paperWords(part.paper),
  );
}

function measured({ complete, machine, report }: StoredThroughput): string[] {
  const { model, promptTokens, newTokens, rounds, fromDisk, rows } = report;
  const { processor, cores, threads } = machine;
  const head = ['batch', 'engine', 'given', 'prompt tokens', 'tokens/s', 'of without', 'first token, ms', 'GFLOPs'];
  const lines = rows.map((row) => [
    `${row.batch}`,
    row.engine,
    givenWords(row),
    `${Math.round(row.promptTokens)}`,
    row.tokensPerSecond.toFixed(1),
    row.ratio.toFixed(3),
    row.firstTokenMs.toFixed(0),
    (row.flops / 1e9).toPrecision(3),
  ]);
  const has = (engine: ThroughputCell['engine']) => rows.some((row) => row.engine === engine);
  const notes = [
    ...(complete ? [] : ['Not all of it is measured yet.']),
    `${promptTokens} tokens in and ${newTokens} out; ${model.name} ${model.adapter ? 'with' : 'without'} adapter; ${processor}, ${counted(cores, 'core')}, ${threads === 0 ? 'all of them used' : counted(threads, 'thread')}; medians of ${counted(rounds, 'round')}.`,
    ...(fromDisk
      ? []
      : ['The system could not drop its copy of the bank from RAM: memories may have been read from there.']),
    ...(has('llama.cpp')
      ? ['llama.cpp reads the file without the adapter, and its rows have no retrieval in them.']
      : []),
    ...(complete && !has('llama.cpp') ? ['llama.cpp was not there to compare with.'] : []),
  ];
  const batches = [...new Set(rows.map(({ batch }) => batch))];
  const says = batches.flatMap((batch) => batchSentence(rows.filter((row) => row.batch === batch)));
  return [notes.join(' '), markdownTable(head, lines, [1, 2]), says.join(' ')];
}

/** What recall leaves of the rate, and how many references as text leave less. */
function batchSentence(rows: readonly ThroughputCell[]): string[] {
  const own = rows.filter(({ engine }) => engine === 'memory3');
  const memory = own.find(({ mode }) => mode.kind === 'memory');
  if (memory === undefined) return [];
  const rag = own.filter(({ mode }) => mode.kind === 'rag');
  const others = rag.map((row) => `${givenWords(row)} ${row.ratio.toFixed(3)}`);
  const slower = rag.filter(({ tokensPerSecond }) => tokensPerSecond < memory.tokensPerSecond).length;
  const text =
    rag.length === 0 ? '' : `; ${others.join(', ')}: ${slower} of ${rag.length} of these are slower than recall`;
  return [`Batch ${memory.batch}: recall leaves ${memory.ratio.toFixed(3)} of the rate without${text}.`];
}

function givenWords({ mode }: ThroughputCell): string {
  if (mode.kind === 'none') return 'nothing';
  if (mode.kind === 'memory') return 'five memories a chunk';
  return `RAG ${'references' in mode ? mode.references : ''}`.trim();
}
