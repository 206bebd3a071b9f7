/**
 * Throughput as in the paper's Table 21: how many tokens per second a batch of questions is answered with, 128 tokens in and
 * 128 out, without memory, with a recall of five memories at each chunk of 64, and with references as text (RAG); beside it
 * llama.cpp, which reads prompts of the same lengths from the same file.
 *
 * As in the paper the RAM cache is off and ids are made unique: each sequence searches, then loads memories that no other
 * recall of the batch has loaded, from the bank's file, whose copy in the system's RAM is dropped before each round. The
 * time of an answer begins with the question, so that embedding, searching and loading are in it. Reported are, from
 * medians over rounds that alternate between the modes:
 *
 *   tokens per second   new tokens of all sequences / time from the questions to the last token
 *   first token         time from the questions to the first token of every sequence
 *   FLOPs               of one answer, by Appendix A (`cost.ts`); search and embedder are not in it
 *
 * The tokens decoded are a given text rather than the model's own, so that every round does the same work. RAG retrieves
 * once, with the whole question. llama.cpp's rows have no retrieval in them: their prompts are there already.
 */
import { Memory3Error } from '../errors.ts';
import { referencesAsText } from '../generate/prompt.ts';
import { recalledMemories } from '../generate/recall.ts';
import { sample, samplingSchema, seededRandom } from '../generate/sampling.ts';
import type { OpenedModel } from '../generate/workspace.ts';
import { ReadingContext } from '../memory/context.ts';
import { parseMemory } from '../memory/format.ts';
import { chunkTokens, referenceTokens } from '../memory/profile.ts';
import { median } from '../quantile.ts';
import type { Embedder } from '../retrieval/embedder.ts';
import { answerFlops, memoryShape } from './cost.ts';
import { canCompare, LlamaCpp, llamaInstallCommand } from './llama-cpp.ts';
import { type ThroughputMaterial, type ThroughputText, throughputMaterial } from './throughput-material.ts';

/** What an answer is given beside its question. */
export type ThroughputMode =
  | { readonly kind: 'none' }
  | { readonly kind: 'memory' }
  | { readonly kind: 'rag'; readonly references: number };

export interface ThroughputRow {
  readonly batch: number;
  readonly engine: 'memory3' | 'llama.cpp';
  readonly mode: ThroughputMode;
  readonly tokensPerSecond: number;
  /** Of `tokensPerSecond` of the same engine and batch without memory and references. */
  readonly ratio: number;
  readonly firstTokenMs: number;
  /** Mean length of a prompt, references included. */
  readonly promptTokens: number;
  /** Of one answer. */
  readonly flops: number;
}

export interface ThroughputReport {
  readonly model: {
    readonly name: string;
    /** Whether an adapter is merged into it; llama.cpp reads it without. */
    readonly adapter: boolean;
  };
  readonly promptTokens: number;
  readonly newTokens: number;
  readonly rounds: number;
  /** References in the bank, and its bytes of memories. */
  readonly bank: { readonly references: number; readonly memoryBytes: number };
  /** False where the system cannot drop its copy of the bank's file from RAM. */
  readonly fromDisk: boolean;
  readonly rows: readonly ThroughputRow[];
}

export interface ThroughputOptions {
  readonly batches: readonly number[];
  /** Numbers of references as text. */
  readonly references: readonly number[];
  readonly promptTokens: number;
  readonly newTokens: number;
  readonly rounds: number;
  readonly threads: number;
  /** Compare with llama.cpp where it is installed and the model is a GGUF file. */
  readonly llamaCpp: boolean;
  readonly onNotice: (message: string) => void;
  /** Rows of a measurement that was interrupted: a batch that an engine has rows of is not measured again. */
  readonly earlier?: readonly ThroughputRow[];
  /** Told what there is so far, after each batch of an engine that was measured. */
  readonly onMeasured?: (report: ThroughputReport) => void;
}

/** What an engine measures at a time. */
interface OneBatch {
  readonly opened: OpenedModel;
  readonly options: ThroughputOptions;
  readonly material: ThroughputMaterial;
  readonly batch: number;
  readonly modes: readonly ThroughputMode[];
}

/** One batch answered; seconds. */
interface Sample {
  readonly firstToken: number;
  readonly total: number;
  readonly promptTokens: number;
}

/** Tokens of all sequences together that are read in one run, and of one sequence; large runs take memory, not time. */
const readAtOnce = { all: 4096, sequence: 256 };
/** Tokens that the round which compiles graphs decodes. */
const warmUpTokens = 2;
const greedy = samplingSchema.parse({});

/**
 * Measures every mode at every batch; at the paper's sizes it takes more than half an hour on two cores, llama.cpp included.
 * @throws Memory3Error "usage" if the longest prompt and its answer do not fit the model's context.
 */
export async function measureThroughput(
  opened: OpenedModel,
  embedder: Embedder,
  options: ThroughputOptions,
): Promise<ThroughputReport> {
  const { promptTokens, newTokens, rounds, onNotice, earlier = [], onMeasured } = options;
  checkContext(opened, options);
  const recalls = Math.ceil(promptTokens / chunkTokens) + Math.ceil(newTokens / chunkTokens);
  onNotice('Writing a bank ...');
  using material = await throughputMaterial(opened, embedder, {
    sequences: Math.max(...options.batches),
    promptTokens,
    newTokens,
    references: Math.max(recalls * recalledMemories, ...options.references),
  });
  const fromDisk = material.forget();
  if (!fromDisk) {
    onNotice(
      "The system cannot drop the bank's file from RAM: memories may be read from there (another TMPDIR may help).",
    );
  }
  const modes: readonly ThroughputMode[] = [
    { kind: 'none' },
    { kind: 'memory' },
    ...options.references.map((references) => ({ kind: 'rag', references }) as const),
  ];
  const { references, memoryBytes } = material.bank.stats();
  const model = { name: opened.file.name, adapter: opened.adapter !== null };
  const about = { model, promptTokens, newTokens, rounds, bank: { references, memoryBytes }, fromDisk };
  const engines = {
    memory3: measureOwn,
    ...(options.llamaCpp && canCompare(opened, onNotice) && { 'llama.cpp': measureLlama }),
  };
  const rows: ThroughputRow[] = [];
  for (const batch of options.batches) {
    for (const [engine, measure] of Object.entries(engines)) {
      const known = earlier.filter((row) => row.batch === batch && row.engine === engine);
      if (known.length > 0) {
        rows.push(...known);
        continue;
      }
      rows.push(...(await measure({ opened, options, material, batch, modes })));
      onMeasured?.({ ...about, rows: [...rows] });
    }
  }
  return { ...about, rows };
}

function checkContext({ model }: OpenedModel, { promptTokens, newTokens, references }: ThroughputOptions): void {
  // A reference as text: its tokens, "Reference:" and a blank line.
  const longest = promptTokens + newTokens + Math.max(0, ...references) * (referenceTokens + 16);
  if (longest <= model.config.contextLength) return;
  throw new Memory3Error(
    'usage',
    `Prompts and answers of up to ${longest} tokens do not fit the model's context of ${model.config.contextLength}.`,
    { remedy: 'Ask for fewer references, or for fewer tokens in and out.' },
  );
}

/** Rounds of every mode, in turns. */
async function measureOwn({ opened, options, material, batch, modes }: OneBatch): Promise<ThroughputRow[]> {
  const { newTokens, rounds, onNotice } = options;
  const samples = modes.map((): Sample[] => []);
  const texts = material.texts.slice(0, batch);
  for (let round = 0; round <= rounds; round++) {
    onNotice(`Batch ${batch}: ${round === 0 ? 'warming up' : `round ${round} of ${rounds}`} ...`);
    // Another order in each round: what runs after a large task pays for the memory that it left behind.
    for (const turn of modes.keys()) {
      const index = (turn + round) % modes.length;
      material.forget();
      const count = round === 0 ? Math.min(newTokens, warmUpTokens) : newTokens;
      const one = await answerBatch(opened, material, texts, modes[index] as ThroughputMode, count);
      if (round > 0) samples[index]?.push(one);
    }
  }
  return rowsOf(opened, options, 'memory3', batch, modes, samples);
}

/** Answers a batch of questions in one mode. */
async function answerBatch(
  { model, tokenizer, profile }: OpenedModel,
  material: ThroughputMaterial,
  texts: readonly ThroughputText[],
  mode: ThroughputMode,
  newTokens: number,
): Promise<Sample> {
  const batch = texts.length;
  const started = performance.now();
  const elapsed = () => (performance.now() - started) / 1000;
  const memory = mode.kind === 'memory' ? { profile, memories: recalledMemories } : null;
  await using context = await ReadingContext.open(model, { batch, memory });
  const recall = async (chunks: readonly (readonly number[])[]) => {
    const found = await material.find(
      chunks.map((chunk) => tokenizer.decode(chunk.filter((id) => id !== tokenizer.bosTokenId))),
      recalledMemories,
    );
    for (const [element, references] of found.entries()) {
      const memories = references.map(({ id }) => parseMemory(material.bank.memory(id) as Uint8Array));
      await context.useMemories(memories, element);
    }
  };

  const prompts =
    mode.kind === 'rag'
      ? await ragPrompts(tokenizer, material, texts, mode.references)
      : texts.map(({ prompt }) => prompt);
  const longest = Math.max(...prompts.map(({ length }) => length));
  const step =
    memory === null
      ? Math.min(readAtOnce.sequence, Math.max(chunkTokens, Math.floor(readAtOnce.all / batch)))
      : chunkTokens;
  let logits = new Float32Array();
  for (let read = 0; read < longest; read += step) {
    const next = prompts.map((prompt) => prompt.slice(read, read + step));
    if (memory !== null) await recall(next);
    logits = (await context.extend(next)).data;
  }
  choose(logits, batch);
  const firstToken = elapsed();

  // The last token is not read.
  for (let read = 0; read < newTokens - 1; read++) {
    // The first new chunk keeps the memories of the prompt's last.
    if (memory !== null && read > 0 && read % chunkTokens === 0) {
      await recall(texts.map(({ continuation }) => continuation.slice(read - chunkTokens, read)));
    }
    logits = (await context.extend(texts.map(({ continuation }) => [continuation[read] as number]))).data;
    choose(logits, batch);
  }
  const total = elapsed();
  return { firstToken, total, promptTokens: prompts.reduce((sum, { length }) => sum + length, 0) / batch };
}

/** References as text in front of each question. */
async function ragPrompts(
  { bosTokenId, decode, encode }: OpenedModel['tokenizer'],
  material: ThroughputMaterial,
  texts: readonly ThroughputText[],
  count: number,
): Promise<number[][]> {
  const found = await material.find(
    texts.map(({ prompt }) => decode(prompt.slice(1))),
    count,
  );
  return texts.map(({ prompt }, index) => {
    const references = referencesAsText((found[index] ?? []).map(({ text }) => text));
    return [bosTokenId, ...encode(references), ...prompt.slice(1)];
  });
}

/** Chooses the next token of each sequence, as an answer does. */
function choose(logits: Float32Array<ArrayBuffer>, batch: number): void {
  const random = seededRandom(0);
  const vocabulary = logits.length / batch;
  for (let element = 0; element < batch; element++) {
    sample(logits.subarray(element * vocabulary, (element + 1) * vocabulary), greedy, random, []);
  }
}

/** Rounds of llama.cpp with prompts of the same lengths, one process for each length. */
async function measureLlama({ opened, options, material, batch, modes }: OneBatch): Promise<ThroughputRow[]> {
  const { newTokens, rounds, threads, onNotice } = options;
  const compared = modes.filter(({ kind }) => kind !== 'memory');
  const samples = compared.map((): Sample[] => []);
  for (const [index, mode] of compared.entries()) {
    const references = mode.kind === 'rag' ? mode.references : 0;
    const promptTokens = options.promptTokens + Math.round(references * material.referenceTextTokens);
    onNotice(`Batch ${batch}: llama.cpp, prompts of ${promptTokens} tokens ...`);
    const sizes = { threads, promptTokens, newTokens, sequences: batch };
    await using llama = await LlamaCpp.start(opened.file.path, sizes);
    if (llama === null) {
      onNotice(`llama.cpp is not installed and left out; install it with: ${llamaInstallCommand}`);
      return [];
    }
    for (let round = 0; round <= rounds; round++) {
      const { prefill, decode } = await llama.round();
      const firstToken = (batch * promptTokens) / prefill;
      const total = firstToken + (batch * (newTokens - 1)) / decode;
      if (round > 0) samples[index]?.push({ firstToken, total, promptTokens });
    }
  }
  return rowsOf(opened, options, 'llama.cpp', batch, compared, samples);
}

function rowsOf(
  { model, profile }: OpenedModel,
  { newTokens }: ThroughputOptions,
  engine: ThroughputRow['engine'],
  batch: number,
  modes: readonly ThroughputMode[],
  samples: readonly (readonly Sample[])[],
): ThroughputRow[] {
  const rate = (index: number) => (batch * newTokens) / median((samples[index] ?? []).map(({ total }) => total));
  const plain = rate(modes.findIndex(({ kind }) => kind === 'none'));
  return modes.map((mode, index) => {
    const own = samples[index] ?? [];
    const promptTokens = median(own.map((one) => one.promptTokens));
    const memory = mode.kind === 'memory' ? { shape: memoryShape(profile), memories: recalledMemories } : null;
    return {
      batch,
      engine,
      mode,
      tokensPerSecond: rate(index),
      ratio: rate(index) / plain,
      firstTokenMs: median(own.map(({ firstToken }) => firstToken)) * 1000,
      promptTokens,
      flops: answerFlops(model.config, { promptTokens, newTokens, memory }),
    };
  });
}
