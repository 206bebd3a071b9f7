/**
 * How fast memory is: against decoding without it, against the same references as text (RAG), against llama.cpp.
 *
 * Everything is measured in one process and in rounds that alternate between the things compared, so that a noisy machine
 * is noisy for all of them; reported are medians and ratios of medians. Rates are tokens per second. The RAM cache is off
 * and memories come from the bank's file. While decoding, the tokens are a given text rather than the model's own, so that
 * every round does the same work; each chunk of 64 begins with a recall (embedding, search, loading), all of it counted.
 */
import type { StoredReference } from '../bank/bank.ts';
import type { Answerer } from '../generate/answer.ts';
import { answer } from '../generate/answer.ts';
import { referencesAsText } from '../generate/prompt.ts';
import { type MemoryRecall, recalledMemories } from '../generate/recall.ts';
import { sample, samplingSchema, seededRandom } from '../generate/sampling.ts';
import type { OpenedModel } from '../generate/workspace.ts';
import { ReadingContext } from '../memory/context.ts';
import { parseMemory } from '../memory/format.ts';
import type { MemoryProfile } from '../memory/profile.ts';
import { chunkTokens } from '../memory/profile.ts';
import { writeMemories } from '../memory/writer.ts';
import { median } from '../quantile.ts';
import type { Embedder } from '../retrieval/embedder.ts';
import { canCompare, LlamaCpp, llamaInstallCommand } from './llama-cpp.ts';
import { measurePeakMemory, type PeakMemoryOptions } from './peak-memory.ts';
import { measureRecall, type RecallSpeed } from './recall-speed.ts';
import { type SpeedMaterial, speedMaterial } from './speed-material.ts';

/** Kept tokens that are compared; "default" is the model's own profile. */
export type KeptName = '8' | '32' | 'all' | 'default';

export interface SpeedReport {
  readonly decode: {
    readonly plain: number;
    /** The default profile. */
    readonly memory: number;
    readonly ratio: number;
    /** Behind a prompt with five references as text. */
    readonly rag: number;
    readonly byKept: Readonly<Record<KeptName, number>>;
    readonly ratioByKept: Readonly<Record<KeptName, number>>;
  };
  /** Milliseconds from the question to the first token, recall included; the ratio says how many times RAG takes longer. */
  readonly firstToken: {
    readonly ragMs: number;
    readonly memoryMs: number;
    readonly ratio: number;
    readonly memoryMsByKept: Readonly<Record<KeptName, number>>;
    readonly ratioByKept: Readonly<Record<KeptName, number>>;
    readonly ragPromptTokens: number;
    readonly memoryPromptTokens: number;
  };
  readonly llamaCpp: {
    readonly decodeRatio: number;
    readonly prefillRatio: number;
    readonly decode: number;
    readonly prefill: number;
  } | null;
  /** From the bank's file into attention, the default profile. */
  readonly load: { readonly msPerMemory: number; readonly bytesPerMemory: number };
  readonly recall: RecallSpeed;
  /** Encode, select and store, against the rate of reading a prompt of the same length. */
  readonly write: {
    readonly tokensPerSecond: number;
    readonly prefillRatio: number;
    readonly byKept: Readonly<Record<KeptName, number>>;
  };
  readonly prefill: number;
  readonly peakMemoryMB: number;
  readonly rounds: number;
}

export interface SpeedOptions {
  readonly rounds: number;
  /** References in the bank that recall is measured with. */
  readonly recallReferences: number;
  /** How the model and the embedder were opened: peak memory is that of a process that opens them alike. */
  readonly opening: Omit<PeakMemoryOptions, 'bank'>;
  /** Compare with llama.cpp where it is installed and the model is a GGUF file. */
  readonly llamaCpp: boolean;
  readonly onNotice: (message: string) => void;
  /** Heard between what is measured. */
  readonly signal?: AbortSignal;
}

const promptTokens = 128;
const newTokens = 128;
const greedy = samplingSchema.parse({});

/**
 * Measures everything; takes a few minutes.
 * @throws the signal's reason
 */
export async function measureSpeed(
  opened: OpenedModel,
  embedder: Embedder,
  options: SpeedOptions,
): Promise<SpeedReport> {
  await using material = await speedMaterial(opened, embedder);
  const threads = options.opening.threads ?? 0;
  const isCompared = options.llamaCpp && canCompare(opened, options.onNotice);
  await using llama = isCompared ? await LlamaCpp.start(opened.file.path, { threads, promptTokens, newTokens }) : null;
  if (isCompared && llama === null)
    options.onNotice(`llama.cpp is not installed and left out; install it with: ${llamaInstallCommand}`);
  const times = new Times();
  const kept = Object.entries(material.profiles) as [KeptName, MemoryProfile][];
  const tasks: (() => Promise<void>)[] = [
    () => measurePlain(opened, material, times),
    ...(llama === null ? [] : [() => measureLlama(llama, times)]),
    () => measureRag(opened, material, times),
    ...kept.map(([name, profile]) => async () => {
      await measureMemory(opened, material, name, profile, times);
      await measureWriting(opened, material, name, profile, times);
    }),
  ];
  // The first round compiles graphs and writes the memories that recalls will load; it is not counted.
  for (let round = 0; round <= options.rounds; round++) {
    if (round === 1) times.clear();
    options.onNotice(round === 0 ? 'Warming up ...' : `Round ${round} of ${options.rounds} ...`);
    // Another order in each round: what runs after a large task pays for the memory that it left behind.
    for (const index of tasks.keys()) {
      options.signal?.throwIfAborted();
      await tasks[(index + round) % tasks.length]?.();
    }
  }
  const recall = await measureRecall(opened, embedder, material.chunks, options.recallReferences, options);
  options.signal?.throwIfAborted();
  const peakMemoryMB = await measurePeakMemory({
    ...options.opening,
    ...{ model: opened.file.path, adapter: opened.adapter?.path ?? null, bank: material.bankPath('default') },
  });
  const byKept = <T>(value: (name: KeptName) => T) =>
    Object.fromEntries(kept.map(([name]) => [name, value(name)])) as Record<KeptName, T>;
  const plain = times.median('plain decode');
  const prefill = times.median('plain prefill');
  const ragMs = times.median('rag first token');
  return {
    decode: {
      plain,
      memory: times.median('decode default'),
      ratio: times.median('decode default') / plain,
      rag: times.median('rag decode'),
      byKept: byKept((name) => times.median(`decode ${name}`)),
      ratioByKept: byKept((name) => times.median(`decode ${name}`) / plain),
    },
    firstToken: {
      ragMs,
      memoryMs: times.median('first token default'),
      ratio: ragMs / times.median('first token default'),
      memoryMsByKept: byKept((name) => times.median(`first token ${name}`)),
      ratioByKept: byKept((name) => ragMs / times.median(`first token ${name}`)),
      ragPromptTokens: times.median('rag prompt tokens'),
      memoryPromptTokens: times.median('memory prompt tokens'),
    },
    llamaCpp:
      llama === null
        ? null
        : {
            decodeRatio: plain / times.median('llama decode'),
            prefillRatio: prefill / times.median('llama prefill'),
            decode: times.median('llama decode'),
            prefill: times.median('llama prefill'),
          },
    load: { msPerMemory: times.median('load default'), bytesPerMemory: times.median('bytes default') },
    recall,
    write: {
      tokensPerSecond: times.median('write default'),
      prefillRatio: times.median('write default') / prefill,
      byKept: byKept((name) => times.median(`write ${name}`)),
    },
    prefill,
    peakMemoryMB,
    rounds: options.rounds,
  };
}

/** Named samples. */
export class Times {
  readonly #samples = new Map<string, number[]>();

  add(name: string, value: number): void {
    const samples = this.#samples.get(name) ?? [];
    samples.push(value);
    this.#samples.set(name, samples);
  }

  median(name: string): number {
    const samples = this.#samples.get(name);
    if (samples === undefined) throw new Error(`nothing was measured as "${name}"`);
    return median(samples);
  }

  clear(): void {
    this.#samples.clear();
  }
}

const elapsed = (since: number) => performance.now() - since;

/** Reads a text's first 128 tokens. @returns tokens per second */
export async function prefillRate(context: ReadingContext, text: readonly number[]): Promise<number> {
  const prompt = text.slice(0, promptTokens);
  const started = performance.now();
  await context.extend([prompt]);
  return prompt.length / (elapsed(started) / 1000);
}

/** Reads the ordinary model's prompt, then decodes. */
async function measurePlain({ model }: OpenedModel, material: SpeedMaterial, times: Times): Promise<void> {
  await using context = await ReadingContext.open(model, { memory: null });
  times.add('plain prefill', await prefillRate(context, material.text));
  times.add('plain decode', await decode(context, material, null));
}

async function measureLlama(llama: LlamaCpp, times: Times): Promise<void> {
  const { prefill, decode } = await llama.round();
  times.add('llama prefill', prefill);
  times.add('llama decode', decode);
}

async function measureRag(opened: OpenedModel, material: SpeedMaterial, times: Times): Promise<void> {
  const answerer = material.answerer('default');
  const { firstToken, promptTokens: count } = await firstTokenOf(answerer, material.question, 'rag');
  times.add('rag first token', firstToken);
  times.add('rag prompt tokens', count);
  const { hits } = await answerer.recall.find(material.question, recalledMemories);
  const text = referencesAsText(hits.map(({ reference }) => reference.text));
  const prompt = [opened.tokenizer.bosTokenId, ...opened.tokenizer.encode(text + material.question)];
  await using context = await ReadingContext.open(opened.model, { memory: null });
  await context.extend([prompt]);
  times.add('rag decode', await decode(context, material, null));
}

async function measureMemory(
  { model }: OpenedModel,
  material: SpeedMaterial,
  name: KeptName,
  profile: MemoryProfile,
  times: Times,
): Promise<void> {
  const answerer = material.answerer(name);
  const { firstToken, promptTokens: count } = await firstTokenOf(answerer, material.question, 'memory');
  times.add(`first token ${name}`, firstToken);
  times.add('memory prompt tokens', count);
  await using context = await ReadingContext.open(model, { memory: { profile, memories: recalledMemories } });
  await context.extend([material.text.slice(0, promptTokens)]);
  times.add(`decode ${name}`, await decode(context, material, answerer.recall));
  const { hits } = await answerer.recall.find(material.question, recalledMemories);
  const started = performance.now();
  let bytes = 0;
  const memories = hits.map(({ reference }) => {
    const stored = answerer.bank.memory(reference.id) as Uint8Array;
    bytes += stored.length;
    return parseMemory(stored);
  });
  await context.useMemories(memories);
  times.add(`load ${name}`, elapsed(started) / hits.length);
  times.add(`bytes ${name}`, bytes / hits.length);
}

async function measureWriting(
  { model, repeatPrompt }: OpenedModel,
  material: SpeedMaterial,
  name: KeptName,
  profile: MemoryProfile,
  times: Times,
): Promise<void> {
  const { bank } = material.answerer(name);
  const batch: StoredReference[] = material.writeBatch(name);
  const tokens = batch.reduce((sum, reference) => sum + profile.header.length + reference.tokens.length, 0);
  const started = performance.now();
  const written = await writeMemories(model, profile, batch, repeatPrompt);
  bank.putMemories(batch.map(({ id }, index) => ({ referenceId: id, bytes: written[index] as Uint8Array })));
  times.add(`write ${name}`, tokens / (elapsed(started) / 1000));
}

/** Decodes given tokens greedily, a recall before every 64 of them if `recall` is given. @returns tokens per second. */
async function decode(context: ReadingContext, material: SpeedMaterial, recall: MemoryRecall | null): Promise<number> {
  const tokens = material.text.slice(promptTokens, promptTokens + newTokens);
  const random = seededRandom(0);
  const started = performance.now();
  for (const [index, token] of tokens.entries()) {
    if (recall !== null && index % chunkTokens === 0) {
      const { memories } = await recall.recall(material.query(promptTokens + index), recalledMemories);
      await context.useMemories(memories.map(({ memory }) => memory));
    }
    sample((await context.extend([[token]])).data, greedy, random, []);
  }
  return tokens.length / (elapsed(started) / 1000);
}

async function firstTokenOf(answerer: Answerer, question: string, mode: 'rag' | 'memory') {
  for await (const event of answer(answerer, [{ role: 'user', content: question }], { mode, maxTokens: 1 })) {
    if (event.kind === 'end')
      return { firstToken: event.summary.times.firstToken, promptTokens: event.summary.promptTokens };
  }
  throw new Error('the answer ended without a summary');
}
