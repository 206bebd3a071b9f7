/**
 * The answering loop (paper 3.1, Fig. 9): prompt chunks, then tokens, with a recall every 64 of them.
 *
 *   memory   each prompt chunk of 64 tokens recalls its own memories and is read with them in sight; the first decoded
 *            chunk keeps those of the last prompt chunk; after every 64 generated tokens these are the next query
 *   rag      the references that the last prompt chunk would have recalled stand in the prompt as text: the yardstick
 *   none     the ordinary model
 *
 * The answer is a stream of events; what a reader needs at the end (citations, times, counts) comes with the last one.
 */
import { z } from 'zod';
import { checkOptions, Memory3Error } from '../errors.ts';
import { ReadingContext } from '../memory/context.ts';
import type { LanguageModel } from '../memory/model.ts';
import { chunkTokens, type MemoryProfile } from '../memory/profile.ts';
import { type ChatTemplate, encodeChat, type Message } from '../model/chat-template.ts';
import { createTextStream, type Tokenizer } from '../model/tokenizer.ts';
import { checkLength, cutPrompt, type PromptChunk, type PromptTokens, withReferences } from './prompt.ts';
import {
  countSources,
  type FoundReference,
  noCounts,
  type RecallCounts,
  type Recaller,
  type RecallTimes,
  recalledMemories,
} from './recall.ts';
import { sample, samplingSchema, seededRandom } from './sampling.ts';
import { StopStrings, stopStringsSchema } from './stop.ts';

const answerModes = ['memory', 'rag', 'none'] as const;

export const answerOptionsSchema = samplingSchema.extend({
  mode: z.enum(answerModes).default('memory'),
  /** Memories for each chunk, or references in the prompt. */
  memories: z.int().min(1).max(64).default(recalledMemories),
  maxTokens: z.int().min(1).default(256),
  stop: stopStringsSchema.default([]),
});
export type AnswerOptions = z.input<typeof answerOptionsSchema>;
type CheckedOptions = z.infer<typeof answerOptionsSchema>;

/** What answers: a model, and a bank to recall from. */
export interface Answerer {
  readonly model: LanguageModel;
  readonly profile: MemoryProfile;
  readonly tokenizer: Tokenizer;
  /** Null where the model's file has none: a plain "Question: ... Answer:" is used then. */
  readonly chatTemplate: ChatTemplate | null;
  /** Null without a bank; only the mode "none" can answer then. */
  readonly recall: Recaller | null;
}

/** A reference that was in the model's sight while it read some part of the prompt or wrote some part of the answer. */
export interface Citation {
  readonly document: string;
  readonly title: string | null;
  readonly referenceId: number;
  readonly text: string;
  /** Search score of its best recall. */
  readonly score: number;
  /** Chunks, of prompt and answer together, that recalled it. */
  readonly recalls: number;
}

export interface AnswerSummary {
  readonly text: string;
  readonly promptTokens: number;
  readonly answerTokens: number;
  /** 'end': the model ended its answer; 'stop': a stop string; 'length': maxTokens. */
  readonly finish: 'end' | 'stop' | 'length';
  /** Best first. */
  readonly citations: readonly Citation[];
  /** What the RAM cache did for this answer, and how many cold memories were written; null without a bank. */
  readonly memoryCounts: RecallCounts | null;
  /** Milliseconds and rates as they were measured, without what the caller did between events. */
  readonly times: {
    /** All recalls together. */
    readonly recall: RecallTimes;
    /** From the call to the first token, recall included. */
    readonly firstToken: number;
    /** From the first token to the last, recalls included; null for fewer than two tokens. */
    readonly decodeTokensPerSecond: number | null;
  };
}

export interface RecallEvent {
  readonly kind: 'recall';
  readonly stage: 'prompt' | 'answer';
  readonly query: string;
  readonly found: readonly FoundReference[];
}

/** Tokens that were read with the same memories in sight. */
export interface TracePiece {
  readonly stage: 'prompt' | 'answer';
  readonly tokens: readonly number[];
  /** What came into sight before the first of them; null where it stayed as it was. */
  readonly recall: RecallEvent | null;
}

/** What was read and written, in order: enough to read the answer again. */
export interface AnswerTrace {
  /** The template's words that were read before all else, without memories. */
  readonly opening: readonly number[];
  /** Of the prompt, then of the answer; the answer's last token was drawn but not always read. */
  readonly pieces: readonly TracePiece[];
}

export type AnswerEvent =
  | RecallEvent
  | { readonly kind: 'notice'; readonly message: string }
  | { readonly kind: 'text'; readonly text: string }
  | { readonly kind: 'end'; readonly summary: AnswerSummary; readonly trace: AnswerTrace };

/**
 * Answers the last of `messages`.
 * @param signal ends the answer before the next chunk or token is read.
 * @throws Memory3Error "usage" for wrong options, "too-long" for a prompt that does not fit; the signal's reason.
 * @example
 * for await (const event of answer(answerer, [{ role: 'user', content: 'Who wrote it?' }])) {
 *   if (event.kind === 'text') process.stdout.write(event.text);
 * }
 */
export async function* answer(
  answerer: Answerer,
  messages: readonly Message[],
  options: AnswerOptions = {},
  signal?: AbortSignal,
): AsyncGenerator<AnswerEvent, void> {
  const checked = checkOptions(answerOptionsSchema, options);
  if (checked.mode !== 'none' && answerer.recall === null) {
    throw new Memory3Error('usage', `The mode "${checked.mode}" needs a bank; without one use the mode "none".`);
  }
  // Compiling the graph is part of opening the model, not of the first answer's time.
  await answerer.model.readerSession();
  const run = new AnswerRun(answerer, checked, signal);
  yield* run.events(messages);
}

/** One answer in progress. */
class AnswerRun {
  readonly #answerer: Answerer;
  readonly #options: CheckedOptions;
  readonly #signal: AbortSignal | undefined;
  readonly #citations = new Map<number, Citation>();
  #memoryCounts = noCounts;
  readonly #recallTimes = { embed: 0, search: 0, load: 0 };
  readonly #started = performance.now();
  #callersTime = 0;

  constructor(answerer: Answerer, options: CheckedOptions, signal: AbortSignal | undefined) {
    this.#answerer = answerer;
    this.#options = options;
    this.#signal = signal;
  }

  async *events(messages: readonly Message[]): AsyncGenerator<AnswerEvent, void> {
    for await (const event of this.#answer(messages)) {
      const given = performance.now();
      yield event;
      this.#callersTime += performance.now() - given;
    }
  }

  /** Milliseconds since the call, without the caller's. */
  #elapsed(): number {
    return performance.now() - this.#started - this.#callersTime;
  }

  async *#answer(messages: readonly Message[]): AsyncGenerator<AnswerEvent, void> {
    const { model, recall, profile, tokenizer } = this.#answerer;
    let { mode } = this.#options;
    if (mode !== 'none' && recall?.references === 0) {
      yield { kind: 'notice', message: 'The bank holds no references: the model answers without memory.' };
      mode = 'none';
    }
    let prompt = this.#encode(messages);
    if (mode === 'rag') {
      const { found, event } = await this.#find(cutPrompt(prompt, tokenizer).chunks.at(-1)?.query ?? '');
      yield event;
      prompt = this.#encode(
        withReferences(
          messages,
          found.map(({ reference }) => reference.text),
        ),
      );
    }
    checkLength(model.config, prompt, this.#options.maxTokens, mode === 'memory');

    const memory = mode === 'memory' ? { profile, memories: this.#options.memories } : null;
    await using context = await ReadingContext.open(model, { memory });
    const { logits, trace } = yield* this.#readPrompt(context, prompt, mode === 'memory');
    yield* this.#decode(context, prompt, logits, trace, mode === 'memory');
  }

  get #recaller(): Recaller {
    if (this.#answerer.recall === null) throw new Error('a mode without a bank cannot recall');
    return this.#answerer.recall;
  }

  #encode(messages: readonly Message[]): PromptTokens {
    const { chatTemplate, tokenizer } = this.#answerer;
    return encodeChat(chatTemplate, tokenizer, messages, { addGenerationPrompt: true });
  }

  /** Reads the prompt, chunk by chunk where chunks recall; returns the logits after its last token, and what was read. */
  async *#readPrompt(
    context: ReadingContext,
    prompt: PromptTokens,
    recalls: boolean,
  ): AsyncGenerator<AnswerEvent, { readonly logits: Float32Array; readonly trace: AnswerTrace }> {
    let logits = new Float32Array();
    const pieces: TracePiece[] = [];
    const { opening, chunks } = cutPrompt(prompt, this.#answerer.tokenizer);
    await context.begin(opening);
    for (const { tokens, query } of recalls ? chunks : plainRuns(prompt.tokens.slice(opening.length))) {
      const recall = query === '' ? null : await this.#recall(context, query, 'prompt');
      if (recall !== null) yield recall;
      logits = await this.#read(context, tokens);
      pieces.push({ stage: 'prompt', tokens, recall });
    }
    return { logits, trace: { opening, pieces } };
  }

  /** Reads tokens; returns the logits after the last one. */
  async #read(context: ReadingContext, tokens: readonly number[]): Promise<Float32Array<ArrayBuffer>> {
    this.#signal?.throwIfAborted();
    return (await context.extend([tokens])).data;
  }

  async *#decode(
    context: ReadingContext,
    prompt: PromptTokens,
    firstLogits: Float32Array,
    { opening, pieces }: AnswerTrace,
    recalls: boolean,
  ): AsyncGenerator<AnswerEvent, void> {
    const { tokenizer } = this.#answerer;
    const random = seededRandom(this.#options.seed);
    const text = createTextStream(tokenizer);
    const stops = new StopStrings(this.#options.stop);
    const generated: number[] = [];
    /** Where the answer's pieces begin. */
    const begun: { readonly at: number; readonly recall: RecallEvent | null }[] = [{ at: 0, recall: null }];
    // What the repetition penalty looks at: prompt and answer.
    const history = [...prompt.tokens];
    let logits = firstLogits;
    let answerText = '';
    let finish: AnswerSummary['finish'] = 'length';
    let firstToken = 0;
    let lastToken = 0;
    const emit = (piece: string): AnswerEvent[] => {
      answerText += piece;
      return piece === '' ? [] : [{ kind: 'text', text: piece }];
    };
    while (generated.length < this.#options.maxTokens) {
      // An embedding padded to a round size has rows that stand for no token.
      const token = sample(logits.subarray(0, tokenizer.vocabularySize), this.#options, random, history);
      if (generated.length === 0) firstToken = this.#elapsed();
      if (tokenizer.endTokenIds.includes(token)) {
        finish = 'end';
        break;
      }
      lastToken = this.#elapsed();
      generated.push(token);
      history.push(token);
      yield* emit(stops.push(text.push(token)));
      if (stops.found !== null) {
        finish = 'stop';
        break;
      }
      if (generated.length === this.#options.maxTokens) break;
      // The token just drawn opens a new chunk when a whole number of chunks has been read before it.
      const read = generated.length - 1;
      if (recalls && read > 0 && read % chunkTokens === 0) {
        const query = tokenizer.decode(generated.slice(read - chunkTokens, read)).trim();
        if (query !== '') {
          const recall = await this.#recall(context, query, 'answer');
          begun.push({ at: read, recall });
          yield recall;
        }
      }
      logits = await this.#read(context, [token]);
    }
    if (finish !== 'stop') {
      yield* emit(stops.push(text.end()));
      yield* emit(stops.end());
    }
    const seconds = (lastToken - firstToken) / 1000;
    const written = begun.map(({ at, recall }, i): TracePiece => {
      return { stage: 'answer', tokens: generated.slice(at, begun[i + 1]?.at), recall };
    });
    yield {
      kind: 'end',
      summary: {
        text: answerText,
        promptTokens: prompt.tokens.length,
        answerTokens: generated.length,
        finish,
        citations: [...this.#citations.values()].sort((a, b) => b.score - a.score),
        memoryCounts: this.#answerer.recall === null ? null : this.#memoryCounts,
        times: {
          recall: { ...this.#recallTimes },
          firstToken,
          decodeTokensPerSecond: generated.length > 1 ? (generated.length - 1) / seconds : null,
        },
      },
      trace: { opening, pieces: [...pieces, ...written] },
    };
  }

  async #recall(context: ReadingContext, query: string, stage: 'prompt' | 'answer'): Promise<RecallEvent> {
    const { memories, times } = await this.#recaller.recall(query, this.#options.memories);
    this.#memoryCounts = countSources(memories, this.#memoryCounts);
    const started = performance.now();
    await context.useMemories(memories.map(({ memory }) => memory));
    this.#count(memories, { ...times, load: times.load + performance.now() - started });
    return { kind: 'recall', stage, query, found: memories.map(({ reference, score }) => ({ reference, score })) };
  }

  async #find(query: string): Promise<{ found: FoundReference[]; event: RecallEvent }> {
    const { hits: found, times } = await this.#recaller.find(query, this.#options.memories);
    this.#count(found, { ...times, load: 0 });
    return { found, event: { kind: 'recall', stage: 'prompt', query, found } };
  }

  #count(found: readonly FoundReference[], times: RecallTimes): void {
    for (const part of ['embed', 'search', 'load'] as const) this.#recallTimes[part] += times[part];
    for (const { reference, score } of found) {
      const earlier = this.#citations.get(reference.id);
      this.#citations.set(reference.id, {
        document: reference.documentName,
        title: reference.documentTitle,
        referenceId: reference.id,
        text: reference.text,
        score: Math.max(score, earlier?.score ?? score),
        recalls: (earlier?.recalls ?? 0) + 1,
      });
    }
  }
}

/** Tokens that are read in one run where nothing has to happen between them: wide enough to be fast, small in memory. */
const plainRun = 256;

function plainRuns(tokens: readonly number[]): PromptChunk[] {
  return Array.from({ length: Math.ceil(tokens.length / plainRun) }, (_, run) => ({
    tokens: tokens.slice(run * plainRun, (run + 1) * plainRun),
    query: '',
  }));
}
